//! Where and how to export, from the standard environment variables.
//!
//! OpenTelemetry specification, "OpenTelemetry Protocol Exporter": a variable of one signal goes
//! before the common one; an empty variable counts as unset. Where no protocol is named, an
//! endpoint on port 4317 gets `grpc`, any other `http/protobuf`.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::{Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::queue::QueueLimits;
use super::resource::OwnResource;
use super::retry::RetryPolicy;
use crate::discover::attributes;

/// `OTEL_EXPORTER_OTLP_TIMEOUT` where it is not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// `OTEL_METRIC_EXPORT_INTERVAL` where it is not set.
const DEFAULT_METRIC_INTERVAL: Duration = Duration::from_mins(1);
/// How long a span waits at most for others to be sent with.
const DEFAULT_TRACE_DELAY: Duration = Duration::from_secs(1);
/// Port by which OTLP over gRPC is known.
const GRPC_PORT: u16 = 4317;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}; {remedy}")]
pub struct SettingsError {
    /// The environment variable, or `--otlp-endpoint`.
    pub name: String,
    /// What is wrong with its value.
    pub problem: String,
    /// What to write instead.
    pub remedy: &'static str,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in POST requests.
    HttpProtobuf,
}

/// How request bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
}

/// How distributions are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramForm {
    /// Counts between fixed bounds.
    #[default]
    Explicit,
    /// Counts between powers of a base that fits the values.
    Exponential,
}

/// Files for TLS, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// Certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// vigie's own certificate chain, where the receiver asks for one.
    pub client_certificate: Option<PathBuf>,
    /// The key to it.
    pub client_key: Option<PathBuf>,
}

/// Where and how one signal is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalSettings {
    /// `http` or `https`, host, port; for [`Protocol::HttpProtobuf`] with the signal's path.
    pub endpoint: Uri,
    /// How requests travel.
    pub protocol: Protocol,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// For one request with its response.
    pub timeout: Duration,
    /// Of request bodies.
    pub compression: Compression,
    /// For `https`.
    pub tls: TlsFiles,
}

/// Everything that the exporter can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Traces, where they are to be exported.
    pub traces: Option<SignalSettings>,
    /// Metrics, where they are to be exported.
    pub metrics: Option<SignalSettings>,
    /// How long a span waits at most for others to be sent with. Default 1 s.
    pub trace_delay: Duration,
    /// Time between two exports of metrics (`OTEL_METRIC_EXPORT_INTERVAL`, in ms). Default 60 s.
    pub metric_interval: Duration,
    /// Form of histograms (`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`).
    pub histogram_form: HistogramForm,
    /// vigie's own resource (`OTEL_SERVICE_NAME`, default `vigie`; `OTEL_RESOURCE_ATTRIBUTES`).
    pub own: OwnResource,
    /// Bounds of the queue of spans.
    pub queue: QueueLimits,
    /// Waits between tries.
    pub retry: RetryPolicy,
}

impl Settings {
    /// From the environment. `endpoint` (flag or configuration) goes before every endpoint there.
    /// Without an endpoint nothing is exported, and other variables are not looked at.
    pub fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
        endpoint: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let env = Environment { lookup: &|name| lookup(name).filter(|v| !v.trim().is_empty()) };
        let interval = env.milliseconds("OTEL_METRIC_EXPORT_INTERVAL")?;
        Ok(Self {
            traces: env.signal(Signal::Traces, endpoint)?,
            metrics: env.signal(Signal::Metrics, endpoint)?,
            trace_delay: DEFAULT_TRACE_DELAY,
            metric_interval: interval.unwrap_or(DEFAULT_METRIC_INTERVAL),
            histogram_form: env.histogram_form()?,
            own: env.own_resource(),
            queue: QueueLimits::default(),
            retry: RetryPolicy::default(),
        })
    }

    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        self.traces.is_some() || self.metrics.is_some()
    }
}

#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// A value with the variable that it came from, for errors.
struct Setting {
    name: String,
    value: String,
}

impl Setting {
    fn error(&self, remedy: &'static str) -> SettingsError {
        let problem = format!("`{}` cannot be used", self.value);
        SettingsError { name: self.name.clone(), problem, remedy }
    }
}

struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Environment<'_> {
    fn get(&self, name: String) -> Option<Setting> {
        (self.lookup)(&name).map(|value| Setting { value: value.trim().to_owned(), name })
    }

    /// The signal's own variable, else the common one.
    fn of(&self, signal: Signal, what: &str) -> Option<Setting> {
        self.get(format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name()))
            .or_else(|| self.get(format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    /// A list of attributes with an error in it is left out as a whole, and the error reported
    /// (OpenTelemetry specification, "Resource SDK").
    fn own_resource(&self) -> OwnResource {
        const LIST: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let list = (self.lookup)(LIST).unwrap_or_default();
        let attributes = attributes::pairs(&list).unwrap_or_else(|error| {
            tracing::warn!("{LIST} has no effect: {error}");
            Vec::new()
        });
        let named = || attributes.iter().find(|(key, _)| key == "service.name");
        let service_name = (self.lookup)("OTEL_SERVICE_NAME")
            .or_else(|| named().map(|(_, name)| name.clone()))
            .unwrap_or_else(|| "vigie".to_owned());
        OwnResource { service_name, attributes }
    }

    fn signal(
        &self,
        signal: Signal,
        flag: Option<&str>,
    ) -> Result<Option<SignalSettings>, SettingsError> {
        if let Some(exporter) = self.get(format!("OTEL_{}_EXPORTER", signal.name())) {
            match exporter.value.as_str() {
                "none" => return Ok(None),
                "otlp" => {}
                _ => return Err(exporter.error("write `otlp` or `none`")),
            }
        }
        let own = self.get(format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name()));
        let base = flag
            .map(|value| Setting { name: "--otlp-endpoint".to_owned(), value: value.to_owned() });
        let (setting, is_base) = match (base, own) {
            (Some(base), _) => (base, true),
            (None, Some(own)) => (own, false),
            (None, None) => match self.get("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned()) {
                Some(base) => (base, true),
                None => return Ok(None),
            },
        };
        let mut endpoint = endpoint(&setting)?;
        let protocol = self.protocol(signal, &endpoint)?;
        if is_base && protocol == Protocol::HttpProtobuf {
            endpoint = with_path(&endpoint, signal.path())
                .ok_or_else(|| setting.error("write it like `http://127.0.0.1:4318`"))?;
        }
        let file = |what| self.of(signal, what).map(|setting| PathBuf::from(setting.value));
        Ok(Some(SignalSettings {
            endpoint,
            protocol,
            headers: self.headers(signal)?,
            timeout: self.timeout(signal)?,
            compression: self.compression(signal)?,
            tls: TlsFiles {
                certificate: file("CERTIFICATE"),
                client_certificate: file("CLIENT_CERTIFICATE"),
                client_key: file("CLIENT_KEY"),
            },
        }))
    }

    fn protocol(&self, signal: Signal, endpoint: &Uri) -> Result<Protocol, SettingsError> {
        let Some(setting) = self.of(signal, "PROTOCOL") else {
            let is_grpc = endpoint.port_u16() == Some(GRPC_PORT);
            return Ok(if is_grpc { Protocol::Grpc } else { Protocol::HttpProtobuf });
        };
        match setting.value.as_str() {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            _ => Err(setting.error("write `grpc` or `http/protobuf`")),
        }
    }

    fn compression(&self, signal: Signal) -> Result<Compression, SettingsError> {
        let Some(setting) = self.of(signal, "COMPRESSION") else { return Ok(Compression::None) };
        match setting.value.as_str() {
            "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            _ => Err(setting.error("write `gzip` or `none`")),
        }
    }

    fn histogram_form(&self) -> Result<HistogramForm, SettingsError> {
        let name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        let Some(setting) = self.get(name.to_owned()) else { return Ok(HistogramForm::Explicit) };
        match setting.value.as_str() {
            "explicit_bucket_histogram" => Ok(HistogramForm::Explicit),
            "base2_exponential_bucket_histogram" => Ok(HistogramForm::Exponential),
            _ => Err(setting.error(
                "write `explicit_bucket_histogram` or `base2_exponential_bucket_histogram`",
            )),
        }
    }

    fn timeout(&self, signal: Signal) -> Result<Duration, SettingsError> {
        let own = self.milliseconds(&format!("OTEL_EXPORTER_OTLP_{}_TIMEOUT", signal.name()))?;
        let common = || self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT");
        Ok(own.map_or_else(common, |own| Ok(Some(own)))?.unwrap_or(DEFAULT_TIMEOUT))
    }

    fn milliseconds(&self, name: &str) -> Result<Option<Duration>, SettingsError> {
        let Some(setting) = self.get(name.to_owned()) else { return Ok(None) };
        match setting.value.parse() {
            Ok(number @ 1..) => Ok(Some(Duration::from_millis(number))),
            _ => Err(setting.error("write a number of milliseconds above 0, like `10000`")),
        }
    }

    /// `key=value` pairs with commas between, values percent-encoded (as in W3C Baggage).
    fn headers(&self, signal: Signal) -> Result<HeaderMap, SettingsError> {
        let mut headers = HeaderMap::new();
        let Some(setting) = self.of(signal, "HEADERS") else { return Ok(headers) };
        for pair in setting.value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let header = pair.split_once('=').and_then(|(key, value)| {
                let value: Vec<u8> = percent_encoding::percent_decode_str(value.trim()).collect();
                let mut value = HeaderValue::from_bytes(&value).ok()?;
                // Headers carry credentials: they stay out of debug output.
                value.set_sensitive(true);
                Some((key.trim().parse::<HeaderName>().ok()?, value))
            });
            // The value is not repeated in the error: it may be a credential.
            let (key, value) = header.ok_or_else(|| SettingsError {
                name: setting.name.clone(),
                problem: "it is not a list of headers".to_owned(),
                remedy: "write `key=value`, with commas between pairs and `%2C` for a comma within",
            })?;
            headers.insert(key, value);
        }
        Ok(headers)
    }
}

fn endpoint(setting: &Setting) -> Result<Uri, SettingsError> {
    const REMEDY: &str = "write it with its scheme, like `http://127.0.0.1:4317`";
    let uri: Uri = setting.value.parse().map_err(|_| setting.error(REMEDY))?;
    let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    if scheme.is_none() || uri.host().is_none_or(str::is_empty) {
        return Err(setting.error(REMEDY));
    }
    Ok(uri)
}

/// The endpoint with a signal's path behind its own.
fn with_path(base: &Uri, path: &str) -> Option<Uri> {
    let path = format!("{}{path}", base.path().trim_end_matches('/'));
    Uri::builder()
        .scheme(base.scheme()?.clone())
        .authority(base.authority()?.clone())
        .path_and_query(path)
        .build()
        .ok()
}
