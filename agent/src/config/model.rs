//! Every key, its default and its bounds. The comments on the fields are the reference.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Glob, Listen, Period, RoutePattern, Share, Size};
use crate::probe::Choice;

/// Configuration of vigie. Every key is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where vigie keeps what must survive a restart, and its control socket. An absolute path.
    pub state_dir: PathBuf,
    /// What vigie says of itself, on standard error.
    pub log: Log,
    /// The Prometheus endpoint; `/healthz` and `/readyz` are served at the same address.
    pub prometheus: Prometheus,
    /// Export over OTLP. Off until an endpoint is given. The standard `OTEL_*` variables override
    /// the file; `VIGIE_OTLP_*` override those.
    pub otlp: Otlp,
    /// Which processes are watched. vigie itself never is.
    pub watch: Watch,
    /// Names and routes for services, by what their processes are. The first entry whose rule
    /// matches and that has the key in question decides.
    pub services: Vec<ServiceRule>,
    /// How URL paths become routes.
    pub routes: Routes,
    /// The aggregation store behind metrics, reports and SLOs.
    pub metrics: Metrics,
    /// The graph of who calls whom.
    pub graph: Graph,
    /// What the kernel programs copy, and the bounds of their tables.
    pub capture: Capture,
    /// Databases, caches and name servers, whose protocols are told by content.
    pub protocols: Protocols,
    /// Look-ups of names.
    pub dns: Dns,
    /// Service level objectives.
    pub slo: Slo,
    /// What vigie itself may cost, and the bounds of its own memory.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/vigie"),
            log: Log::default(),
            prometheus: Prometheus::default(),
            otlp: Otlp::default(),
            watch: Watch::default(),
            services: Vec::new(),
            routes: Routes::default(),
            metrics: Metrics::default(),
            graph: Graph::default(),
            capture: Capture::default(),
            protocols: Protocols::default(),
            dns: Dns::default(),
            slo: Slo::default(),
            limits: Limits::default(),
        }
    }
}

/// What vigie says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important messages that are written.
    pub level: Level,
    /// How messages are written.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text }
    }
}

/// Importance of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What it could not do.
    Error,
    /// What it could do only in part.
    Warn,
    /// Beginning, end and change.
    Info,
    /// What a developer follows.
    Debug,
    /// Everything.
    Trace,
}

/// How messages are written: lines for people, or one JSON object per line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prometheus {
    /// Address and port to listen at, or `off`.
    pub address: Listen,
}

impl Default for Prometheus {
    fn default() -> Self {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9464));
        Self { address: Listen::At(address) }
    }
}

/// Export over OTLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// URL of the receiver for traces and metrics. With `http/protobuf`, `/v1/traces` and
    /// `/v1/metrics` are appended. Variable `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<Endpoint>,
    /// URL for traces, used as it is, instead of `endpoint`. Variable
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
    pub traces_endpoint: Option<Endpoint>,
    /// URL for metrics, used as it is, instead of `endpoint`. Variable
    /// `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`.
    pub metrics_endpoint: Option<Endpoint>,
    /// Protocol; where none is given, `grpc` for an endpoint on port 4317, else `http/protobuf`.
    /// Variable `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Option<OtlpProtocol>,
    /// Headers that go with each request. Never shown. Variable `OTEL_EXPORTER_OTLP_HEADERS`
    /// (`name=value,name=value`, values percent-encoded).
    pub headers: BTreeMap<String, String>,
    /// Compression of requests. Variable `OTEL_EXPORTER_OTLP_COMPRESSION`.
    pub compression: Compression,
    /// Longest wait for an answer to one request, 1ms to 10m. Variable
    /// `OTEL_EXPORTER_OTLP_TIMEOUT` (in milliseconds).
    pub timeout: Period,
    /// Time between two exports of metrics, 100ms to 1d. Variable `OTEL_METRIC_EXPORT_INTERVAL`
    /// (in milliseconds).
    pub interval: Period,
    /// Spans that wait for the receiver, 1 to 16777216; the oldest go.
    pub queue_spans: u32,
    /// Memory of the spans that wait, 64KiB to 16GiB, estimated; the oldest go.
    pub queue_bytes: Size,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            traces_endpoint: None,
            metrics_endpoint: None,
            protocol: None,
            headers: BTreeMap::new(),
            compression: Compression::None,
            timeout: Period(Duration::from_secs(10)),
            interval: Period(Duration::from_mins(1)),
            queue_spans: 65_536,
            queue_bytes: Size(48 << 20),
        }
    }
}

/// Protocol of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// OTLP over gRPC, usually port 4317.
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP over HTTP in protobuf, usually port 4318.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// Compression of OTLP requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
}

/// Which processes are watched: those that match a rule of `include` (all, where it is empty) and
/// none of `exclude`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// Rules for processes to watch. Empty: all.
    pub include: Vec<Rule>,
    /// Rules for processes to leave alone, whatever `include` says.
    pub exclude: Vec<Rule>,
}

/// What a process must be. It matches when every key that is given does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Path of the executable, as a glob. Without a `/` in it, only the file's name is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Glob>,
    /// Command line, its arguments joined by blanks, as a glob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Glob>,
    /// Name of the service, as a glob. Under `services`, the name that the process would have
    /// without this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Glob>,
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pid: Option<u32>,
    /// TCP port on which the process listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// Names and routes for the processes that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRule {
    /// The processes.
    #[serde(rename = "match")]
    pub rule: Rule,
    /// `service.name` of these processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `service.namespace` of these processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Routes of these processes, tried before those of `routes.patterns`, first match wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RoutePattern>,
}

/// How URL paths become routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Routes {
    /// Routes of all services, first match wins: literal segments, `{name}` or `*` for one
    /// segment, a last `**` or `{name*}` for all that follow.
    pub patterns: Vec<RoutePattern>,
    /// Whether paths without a pattern get a route by replacing what looks like an identifier.
    pub heuristic: bool,
    /// Routes per service, 1 to 10000, some 100B each; past them, segments become `*`.
    pub max_per_service: u32,
}

impl Default for Routes {
    fn default() -> Self {
        Self { patterns: Vec::new(), heuristic: true, max_per_service: 200 }
    }
}

/// The aggregation store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Series per metric of a service, 10 to 1000000; what comes past them is summed into one
    /// series with `otel.metric.overflow=true`.
    pub max_series: u32,
    /// Series of all metrics and services, 10 to 10000000, 0.5 to 2KiB each; past them as above.
    pub max_series_total: u32,
    /// Services, 1 to 100000; calls of further ones go to the service `other`.
    pub max_services: u32,
    /// Time after which a series without calls is forgotten, 10s to 30d.
    pub expiry: Period,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            max_series: 2000,
            max_series_total: 10_000,
            max_services: 500,
            expiry: Period(Duration::from_mins(5)),
        }
    }
}

/// The graph of who calls whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Graph {
    /// Edges, 10 to 100000, 1 to 4KiB each; calls on further ones are summed into one and counted.
    pub max_edges: u32,
}

impl Default for Graph {
    fn default() -> Self {
        Self { max_edges: 2000 }
    }
}

/// Service level objectives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Files of SLOs: OpenSLO, or the short form (docs/slo.md). `--slo` replaces them. They are read
    /// again on SIGHUP.
    pub files: Vec<PathBuf>,
}

/// What the kernel programs copy, and the bounds of their tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Which hooks see the calls that move bytes.
    pub backend: Choice,
    /// Bytes copied of each request, 1KiB to 64KiB. A head that is longer is flagged `truncated`.
    pub request_bytes: Size,
    /// Bytes copied of each response, 1KiB to 64KiB.
    pub response_bytes: Size,
    /// Size of each ring between kernel and agent, 64KiB to 256MiB, a power of two. There are as many
    /// as CPUs, rounded up to a power of two, at most 4; the memory is taken at the start.
    pub ring_bytes: Size,
    /// Longest time that a record waits in a ring, 1ms to 1s.
    pub poll_interval: Period,
    /// Connections followed at once, 64 to 1048576. Each takes 184B in the kernel, whether in use or
    /// not, and about 1KiB in vigie, which keeps up to twice as many, while it is known.
    pub max_connections: u32,
    /// Processes known at once, 64 to 1048576. Each takes 88B in the kernel, whether in use or not,
    /// and about 1KiB in vigie while it is known.
    pub max_processes: u32,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            backend: Choice::Auto,
            request_bytes: Size(64 << 10),
            response_bytes: Size(16 << 10),
            ring_bytes: Size(4 << 20),
            poll_interval: Period(Duration::from_millis(20)),
            max_connections: 16_384,
            max_processes: 8192,
        }
    }
}

/// Databases, caches and name servers, whose protocols are told by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Protocols {
    /// Bytes of a statement's text that spans carry as `db.query.text`, its literals removed, 0 (none)
    /// to 64KiB.
    pub query_text: Size,
    /// Ports whose protocol is known. Connections to or from them are taken for nothing else.
    pub ports: Vec<PortRule>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self { query_text: Size(0), ports: Vec::new() }
    }
}

/// Look-ups of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Measure the time that programs spend in their C library's `getaddrinfo`
    /// (`vigie.dns.getaddrinfo.duration`): a probe in each C library that watched processes use, which costs
    /// each of those calls some microseconds.
    pub getaddrinfo: bool,
}

/// A port and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortRule {
    /// The server's port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Spoken,
}

/// Protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Spoken {
    /// PostgreSQL.
    Postgresql,
    /// MySQL and MariaDB.
    Mysql,
    /// Redis and Valkey.
    Redis,
    /// memcached, text and meta protocol.
    Memcached,
    /// DNS over TCP.
    Dns,
}

impl Spoken {
    /// Name of the protocol, as span lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Dns => "dns",
        }
    }
}

/// What vigie itself may cost, and the bounds of its own memory. Past `cpu` or `memory` for
/// `shed_after`, vigie does without one thing more, in this order: most of the payload
/// (`capture.request_bytes` becomes at most 4KiB, `capture.response_bytes` 1KiB), spans, all but what
/// the kernel counts. When it uses less than 70 % of `cpu` and 90 % of `memory` for `return_after`, the
/// last of them comes back; where that is soon followed by the next excess, after twice that time, up
/// to 20 times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// CPU time of vigie and of its kernel programs, as a share of all CPUs of the machine, 0.01% to
    /// 100% (no limit). The time of the programs counts where the kernel tells it (`CAP_SYS_ADMIN`).
    pub cpu: Share,
    /// Resident memory of vigie, 16MiB to 64GiB.
    pub memory: Size,
    /// How long `cpu` or `memory` must be passed before the next thing is given up, 1s to 1h.
    pub shed_after: Period,
    /// How long vigie must use little before something comes back, 1s to 1h.
    pub return_after: Period,
    /// Memory of all parsers together (incomplete heads, requests in flight), 1MiB to 4GiB; one that
    /// would pass it forgets what it has.
    pub parser_memory: Size,
    /// Longest head of a message, 1KiB to 64KiB: what one direction of a connection may keep while a
    /// head is incomplete. A longer one is cut and flagged `truncated`.
    pub head_bytes: Size,
    /// Requests in flight on one connection, 1 to 65536, some 400B each; further ones are counted
    /// without their responses.
    pub in_flight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Share(5000),
            memory: Size(512 << 20),
            shed_after: Period(Duration::from_secs(10)),
            return_after: Period(Duration::from_secs(30)),
            parser_memory: Size(32 << 20),
            head_bytes: Size(64 << 10),
            in_flight: 1024,
        }
    }
}

impl Rule {
    /// Whether no key is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
