//! Environment and flags over the file: each replaces one value and is checked by itself.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::Value;

use super::error::{nearest, nearest_in_message};
use super::{Config, ConfigError, Invalid, Origin, outline, reference};

/// Values given on the command line, as text; `None` where the flag was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--prometheus`.
    pub prometheus: Option<String>,
    /// `--otlp-endpoint`.
    pub otlp_endpoint: Option<String>,
    /// `--state`.
    pub state_dir: Option<String>,
}

impl Overrides {
    fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        [
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
            ("--prometheus", "prometheus.address", &self.prometheus),
            ("--otlp-endpoint", "otlp.endpoint", &self.otlp_endpoint),
            ("--state", "state_dir", &self.state_dir),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| value.as_deref().map(|value| (flag, key, value)))
    }
}

/// What the variables of the OpenTelemetry specification set. Durations are in milliseconds there.
const STANDARD: [(&str, &str, Form); 8] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp.endpoint", Form::Text),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otlp.traces_endpoint", Form::Text),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "otlp.metrics_endpoint", Form::Text),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "otlp.protocol", Form::Text),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otlp.headers", Form::Pairs),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "otlp.compression", Form::Text),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "otlp.timeout", Form::Millis),
    ("OTEL_METRIC_EXPORT_INTERVAL", "otlp.interval", Form::Millis),
];

/// Standard variables that a user would expect to work and that do nothing yet.
const WITHOUT_EFFECT: &[&str] = &["OTEL_TRACES_SAMPLER"];

/// How a standard variable is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Millis,
    Pairs,
}

/// A configuration with everything laid over it.
pub(super) struct Layered {
    pub(super) config: Config,
    pub(super) warnings: Vec<String>,
    /// Who set a key last, in order.
    set: Vec<(String, Origin)>,
}

impl Layered {
    /// Who set a key, or what it is a part of, if not the file.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        let covers = |set: &str| {
            key.strip_prefix(set)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.set.iter().rev().find(|(set, _)| covers(set)).map(|(_, origin)| origin.clone())
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let whole = serde_json::to_value(&self.config).and_then(|mut tree| {
            put(&mut tree, key, value);
            serde_json::from_value(tree)
        });
        match whole {
            Ok(config) => {
                self.config = config;
                self.set.push((key.to_owned(), origin));
                Ok(())
            }
            Err(error) => {
                let message = error.to_string();
                let advice = nearest_in_message(&message);
                Err(Invalid::new(origin, message).key(key).maybe_advice(advice).into())
            }
        }
    }
}

/// Lays the environment, then the flags, over a configuration.
pub(super) fn apply(
    base: Config,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &Overrides,
) -> Result<Layered, ConfigError> {
    let mut layered = Layered { config: base, warnings: Vec::new(), set: Vec::new() };
    let variables = relevant(environment)?;
    for (name, key, form) in STANDARD {
        let Some(text) = variables.get(name) else { continue };
        let origin = Origin::Environment(name.to_owned());
        let value = standard_value(text, form)
            .map_err(|message| Invalid::new(origin.clone(), message).key(key))?;
        layered.set(key, value, origin)?;
    }
    let own = reference::variables();
    for (name, text) in &variables {
        if let Some(leaf) = own.get(name) {
            let origin = Origin::Environment(name.clone());
            let value = leaf
                .value(text)
                .map_err(|message| Invalid::new(origin.clone(), message).key(leaf.key.clone()))?;
            layered.set(&leaf.key, value, origin)?;
        } else if WITHOUT_EFFECT.contains(&name.as_str()) {
            layered.warnings.push(format!("environment variable {name} has no effect yet"));
        } else if name.starts_with("VIGIE_") && !is_foreign(name) {
            let advice = nearest(name, own.keys().map(String::as_str))
                .map(|right| format!(", did you mean {right}?"));
            let advice = advice.unwrap_or_default();
            layered.warnings.push(format!("environment variable {name} is unknown{advice}"));
        }
    }
    for (flag, key, text) in flags.each() {
        layered.set(key, Value::String(text.to_owned()), Origin::Flag(flag))?;
    }
    Ok(layered)
}

/// The variables that may concern vigie. Empty ones count as not set, as OpenTelemetry asks.
fn relevant(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    for (name, value) in environment {
        let Ok(name) = name.into_string() else { continue };
        if value.is_empty() || !(name.starts_with("VIGIE_") || name.starts_with("OTEL_")) {
            continue;
        }
        match value.into_string() {
            Ok(value) => drop(variables.insert(name, value)),
            Err(_) => return Err(Invalid::new(Origin::Environment(name), "not UTF-8").into()),
        }
    }
    Ok(variables)
}

/// Kubernetes sets variables such as `VIGIE_SERVICE_HOST` and `VIGIE_PORT_9464_TCP` in every pod
/// when there is a service of that name; nobody meant them for vigie. `VIGIE_BLESS` and the switches
/// that refuse probes and stop the reader are the tests'.
fn is_foreign(name: &str) -> bool {
    ["VIGIE_BLESS", "VIGIE_REFUSE", crate::watch::pause::VARIABLE].contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name == "VIGIE_PORT"
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

fn standard_value(text: &str, form: Form) -> Result<Value, String> {
    match form {
        Form::Text => Ok(Value::String(text.to_owned())),
        Form::Millis => {
            let millis: u64 =
                text.parse().map_err(|_| format!("`{text}` is not a number of milliseconds"))?;
            Ok(Value::String(format!("{millis}ms")))
        }
        Form::Pairs => {
            let pairs = crate::discover::attributes::pairs(text)
                .map_err(|_| "not of the form name=value,name=value".to_owned())?;
            Ok(Value::Object(
                pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect(),
            ))
        }
    }
}

/// Sets a value below a tree of maps. Every key of the environment and the flags exists in it.
fn put(tree: &mut Value, key: &str, value: Value) {
    let pointer = format!("/{}", key.replace('.', "/"));
    if let Some(place) = tree.pointer_mut(&pointer) {
        *place = value;
    }
}

/// A key that one variable sets.
pub(super) struct Leaf {
    /// The key, as in `prometheus.address`.
    pub(super) key: String,
    /// Whether the schema says `string` (or one of several strings).
    pub(super) is_text: bool,
    /// Its schema.
    pub(super) schema: Value,
}

impl Leaf {
    /// The value of a variable: text as it is, everything else as YAML.
    fn value(&self, text: &str) -> Result<Value, String> {
        if self.is_text {
            return Ok(Value::String(text.to_owned()));
        }
        if let Err(problem) = outline::check(text, &self.schema) {
            let key = problem.key.map(|key| format!("{key}: ")).unwrap_or_default();
            let advice = problem.advice.map(|advice| format!(", {advice}")).unwrap_or_default();
            return Err(format!("{key}{}{advice}", problem.message));
        }
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
    }
}
