//! From a configuration to a running watch: everything that `run` and `profile` share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vigie_slo::model::Slo;

use crate::config::Config;
use crate::discover::{Discoverer, Selection};
use crate::export::otlp::{self, SettingsError};
use crate::flow;
use crate::governor::Budget;
use crate::identities::Live;
use crate::metrics::own::SelfMetrics;
use crate::metrics::snapshot::Snapshot;
use crate::metrics::{Limits, Store};
use crate::own::Own;
use crate::pipeline::{Outputs, Pipeline, TakeSpans};
use crate::probe::load::{self, LoadError, LoadOptions};
use crate::protocol;
use crate::slo::Objectives;
use crate::span::assemble::Assembler;
use crate::span::route::{RouteLimits, Routes, Unmatched};
use crate::watch::pause::Pause;
use crate::watch::{Parts, Recording, Watch, WatchError};

/// Why a watch could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The probes cannot run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The watch could not begin.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// What differs between the commands.
pub struct Wishes {
    /// Which processes are watched.
    pub selection: Selection,
    /// Whether processes that nothing is known of are captured until they are known. Off only where
    /// none but the children of this process are wanted.
    pub watch_unknown: bool,
    /// Whether the children of this process are watched, whatever they are.
    pub watch_children: bool,
    /// Service level objectives.
    pub slo: Option<Arc<Objectives>>,
    /// Takers of spans beside the store.
    pub takers: Vec<Box<dyn TakeSpans>>,
    /// Time between two measurements of what the programs cost.
    pub meter_pause: Duration,
    /// Where the event stream is recorded, if it is.
    pub recording: Option<Recording>,
}

/// Loads the probes and begins to watch.
pub fn start(
    config: &Config,
    store: Arc<Mutex<Store>>,
    wishes: Wishes,
) -> Result<Watch, SessionError> {
    let capture = &config.capture;
    let routes = routes(config);
    let probes = load::load(&load_options(config, wishes.watch_unknown))?;
    let connections = capture.max_connections as usize;
    let limits = &config.limits;
    let flow_limits = flow::Limits {
        connections: connections.saturating_mul(2),
        parser_bytes: in_memory(limits.parser_memory.0),
        protocol: protocol::Limits {
            head_bytes: in_memory(limits.head_bytes.0),
            in_flight: limits.in_flight as usize,
            query_text: in_memory(config.protocols.query_text.0),
        },
        ..flow::Limits::default()
    };
    let outputs = Outputs { store, slo: wishes.slo, takers: wishes.takers };
    // Both ends of every connection may be on this machine.
    let assembler = Assembler::new(routes, connections.saturating_mul(2));
    let mut pipeline = Pipeline::new(flow_limits, assembler, outputs);
    pipeline.set_ports(ports(config));
    let processes = capture.max_processes as usize;
    let discoverer = Discoverer::new(&config.services, wishes.selection, processes);
    Ok(Watch::start(Parts {
        probes,
        pipeline,
        identities: Live::new(discoverer, processes),
        watch_children: wishes.watch_children,
        interval: capture.poll_interval.0,
        meter_pause: wishes.meter_pause,
        budget: Budget {
            cpu: limits.cpu.part(),
            memory: limits.memory.0,
            shed_after: limits.shed_after.0,
            return_after: limits.return_after.0,
        },
        recording: wishes.recording,
        pause: Pause::from_environment().map_err(WatchError::from)?,
    })?)
}

/// How the probes are set up.
pub fn load_options(config: &Config, watch_by_default: bool) -> LoadOptions {
    let capture = &config.capture;
    LoadOptions {
        backend: capture.backend,
        attach_all: false,
        ring_bytes: bytes(capture.ring_bytes.0),
        max_connections: capture.max_connections,
        max_processes: capture.max_processes,
        request_bytes: bytes(capture.request_bytes.0),
        response_bytes: bytes(capture.response_bytes.0),
        watch_by_default,
        getaddrinfo: config.dns.getaddrinfo,
    }
}

fn bytes(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn in_memory(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// The common set of routes, then one for each entry of `services`.
pub fn routes(config: &Config) -> Vec<Routes> {
    let limits = RouteLimits {
        per_service: config.routes.max_per_service as usize,
        ..RouteLimits::default()
    };
    let unmatched = if config.routes.heuristic { Unmatched::Heuristic } else { Unmatched::NoRoute };
    let common = &config.routes.patterns;
    let of_services = config.services.iter().map(|service| service.routes.iter().chain(common));
    std::iter::once(Routes::new(common, unmatched, limits))
        .chain(of_services.map(|patterns| Routes::new(patterns, unmatched, limits)))
        .collect()
}

/// Ports whose protocol is configured.
pub fn ports(config: &Config) -> flow::Ports {
    config.protocols.ports.iter().map(|rule| (rule.port, rule.protocol.name())).collect()
}

/// An empty store as the configuration asks for, with the thresholds of SLOs among its bounds.
pub fn store(config: &Config, slos: &[Slo]) -> Store {
    let limits = Limits {
        services: config.metrics.max_services as usize,
        sets_per_metric: config.metrics.max_series as usize,
        series: config.metrics.max_series_total as usize,
        expiry: config.metrics.expiry.0,
        edges: config.graph.max_edges as usize,
        ..Limits::default()
    };
    let thresholds = slos.iter().flat_map(|slo| slo.indicator.limits_ms());
    let thresholds: Vec<Duration> = thresholds.map(Duration::from_millis).collect();
    Store::new(limits, &thresholds, unix_now())
}

/// A snapshot of the store, with vigie's own figures.
pub fn snapshot(store: &Mutex<Store>, own: &Own) -> Snapshot {
    let figures = own.gather();
    lock(store, figures)
}

/// A snapshot of the store alone.
pub fn bare_snapshot(store: &Mutex<Store>) -> Snapshot {
    lock(store, SelfMetrics::default())
}

fn lock(store: &Mutex<Store>, own: SelfMetrics) -> Snapshot {
    store.lock().unwrap_or_else(PoisonError::into_inner).snapshot(unix_now(), own)
}

/// Now, in nanoseconds of Unix time.
pub fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What the configuration says of OTLP, with the standard variables for what it does not say.
pub fn otlp_settings(config: &Config) -> Result<otlp::Settings, SettingsError> {
    let otlp = &config.otlp;
    let quoted = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned))
    };
    let mut settings = otlp::Settings::from_env(
        |name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => {
                otlp.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned())
            }
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => {
                otlp.traces_endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned())
            }
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" => {
                otlp.metrics_endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned())
            }
            "OTEL_EXPORTER_OTLP_PROTOCOL" => {
                otlp.protocol.and_then(|protocol| quoted(serde_json::to_value(protocol)))
            }
            "OTEL_EXPORTER_OTLP_COMPRESSION" => quoted(serde_json::to_value(otlp.compression)),
            "OTEL_EXPORTER_OTLP_TIMEOUT" => Some(otlp.timeout.0.as_millis().to_string()),
            "OTEL_METRIC_EXPORT_INTERVAL" => Some(otlp.interval.0.as_millis().to_string()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some(headers(&otlp.headers)),
            _ => std::env::var(name).ok(),
        },
        None,
    )?;
    settings.queue.spans = otlp.queue_spans as usize;
    settings.queue.bytes = in_memory(otlp.queue_bytes.0);
    Ok(settings)
}

/// Headers as the standard variable has them.
fn headers(headers: &std::collections::BTreeMap<String, String>) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let pairs: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    pairs.join(",")
}
