//! What the store holds at one time, as an owned value: the one source of OTLP metrics, the
//! Prometheus endpoint, the live view and the report.
//!
//! All values are cumulative since the `start_unix_nano` beside them. A series or edge that expires
//! and comes back starts anew with a later start.

use std::sync::Arc;

use vigie_slo::suggest::BUCKETS;

use super::durations::{Bounds, Durations};
use super::getaddrinfo;
use super::own::SelfMetrics;
use crate::span::database::{self, System};
use crate::span::dns::DnsCall;
use crate::span::http::{self, ErrorType};
use crate::span::messaging::{self, MessagingCall};
use crate::span::rpc::{GrpcCall, GrpcStatus};
use crate::span::{Process, Service, SpanId, SpanKind, TraceId, Value};

/// Everything at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the store was made.
    pub start_unix_nano: u64,
    /// When the snapshot was made.
    pub time_unix_nano: u64,
    /// Bounds of the explicit buckets of every [`Durations`] in it.
    pub bounds: Bounds,
    /// By service, in the order of namespace and name.
    pub services: Vec<ServiceSnapshot>,
    /// Who calls whom, in the order of client, server, protocol.
    pub edges: Vec<Edge>,
    /// Names that were looked up.
    pub lookups: Vec<LookupPoint>,
    /// Names that were looked for with a search list.
    pub searches: Vec<SearchPoint>,
    /// vigie's own figures, those of the store included.
    pub own: SelfMetrics,
}

impl Snapshot {
    /// Edges as the `traces_service_graph_*` metrics tell them apart: by the type of connection, and not
    /// by protocol. Those of one type stand together in the order of their names.
    pub fn service_graph(&self) -> Vec<Edge> {
        let mut graph: Vec<Edge> = Vec::with_capacity(self.edges.len());
        // Those of one pair stand together.
        for edge in &self.edges {
            match graph.last_mut() {
                Some(last)
                    if last.client == edge.client
                        && last.server == edge.server
                        && last.connection_type() == edge.connection_type() =>
                {
                    last.start_unix_nano = last.start_unix_nano.min(edge.start_unix_nano);
                    last.count += edge.count;
                    last.errors += edge.errors;
                    last.client_durations.merge(&edge.client_durations);
                    last.server_durations.merge(&edge.server_durations);
                }
                _ => graph.push(edge.clone()),
            }
        }
        graph
    }
}

/// One service: a resource in OTLP.
#[derive(Clone, Debug)]
pub struct ServiceSnapshot {
    /// Which one.
    pub service: Arc<Service>,
    /// Its processes that were seen to do something, the latest to appear last; the older ones are
    /// forgotten past a bound.
    pub processes: Vec<Arc<Process>>,
    /// Its series, in a stable order.
    pub points: Vec<Point>,
}

impl ServiceSnapshot {
    /// The process that stands for the service in resource attributes: the latest to appear.
    pub fn representative(&self) -> Option<&Arc<Process>> {
        self.processes.last()
    }
}

/// A metric of calls; its values are [`Durations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// `http.server.request.duration`.
    HttpServerRequestDuration,
    /// `http.client.request.duration`.
    HttpClientRequestDuration,
    /// `rpc.server.call.duration`.
    RpcServerCallDuration,
    /// `rpc.client.call.duration`.
    RpcClientCallDuration,
    /// `db.server.operation.duration`.
    DatabaseServerOperationDuration,
    /// `db.client.operation.duration`.
    DatabaseClientOperationDuration,
    /// `messaging.client.operation.duration`.
    MessagingClientOperationDuration,
    /// `vigie.messaging.server.operation.duration`, of brokers.
    MessagingServerOperationDuration,
    /// `dns.lookup.duration`, of those who ask.
    DnsLookupDuration,
    /// `vigie.dns.server.lookup.duration`, of those who answer.
    DnsServerLookupDuration,
    /// `vigie.dns.getaddrinfo.duration`.
    GetaddrinfoDuration,
}

impl Metric {
    /// The metric of calls of a kind and a protocol.
    pub(super) fn of(kind: SpanKind, protocol: &str) -> Self {
        let answers = kind == SpanKind::Server;
        match protocol {
            http::HTTP_1 | http::HTTP_2 if answers => Self::HttpServerRequestDuration,
            http::HTTP_1 | http::HTTP_2 => Self::HttpClientRequestDuration,
            GrpcCall::PROTOCOL if answers => Self::RpcServerCallDuration,
            GrpcCall::PROTOCOL => Self::RpcClientCallDuration,
            DnsCall::PROTOCOL if answers => Self::DnsServerLookupDuration,
            DnsCall::PROTOCOL => Self::DnsLookupDuration,
            getaddrinfo::PROTOCOL => Self::GetaddrinfoDuration,
            MessagingCall::PROTOCOL if answers => Self::MessagingServerOperationDuration,
            MessagingCall::PROTOCOL => Self::MessagingClientOperationDuration,
            _ if answers => Self::DatabaseServerOperationDuration,
            _ => Self::DatabaseClientOperationDuration,
        }
    }

    /// Name by the semantic conventions.
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpServerRequestDuration => "http.server.request.duration",
            Self::HttpClientRequestDuration => "http.client.request.duration",
            Self::RpcServerCallDuration => "rpc.server.call.duration",
            Self::RpcClientCallDuration => "rpc.client.call.duration",
            Self::DatabaseServerOperationDuration => "db.server.operation.duration",
            Self::DatabaseClientOperationDuration => "db.client.operation.duration",
            Self::MessagingClientOperationDuration => "messaging.client.operation.duration",
            Self::MessagingServerOperationDuration => "vigie.messaging.server.operation.duration",
            Self::DnsLookupDuration => "dns.lookup.duration",
            Self::DnsServerLookupDuration => "vigie.dns.server.lookup.duration",
            Self::GetaddrinfoDuration => "vigie.dns.getaddrinfo.duration",
        }
    }

    /// UCUM unit.
    pub fn unit(self) -> &'static str {
        "s"
    }

    /// Description by the semantic conventions.
    pub fn description(self) -> &'static str {
        match self {
            Self::HttpServerRequestDuration => "Duration of HTTP server requests.",
            Self::HttpClientRequestDuration => "Duration of HTTP client requests.",
            Self::RpcServerCallDuration => "Duration of remote procedure calls that were answered.",
            Self::RpcClientCallDuration => "Duration of remote procedure calls that were made.",
            Self::DatabaseServerOperationDuration => {
                "Duration of database operations that were answered."
            }
            Self::DatabaseClientOperationDuration => "Duration of database client operations.",
            Self::MessagingClientOperationDuration => {
                "Duration of messaging operations initiated by a producer or consumer client."
            }
            Self::MessagingServerOperationDuration => {
                "Duration of messaging operations that a broker answered."
            }
            Self::DnsLookupDuration => "Duration of DNS look-ups that were made.",
            Self::DnsServerLookupDuration => "Duration of DNS look-ups that were answered.",
            Self::GetaddrinfoDuration => "Duration of calls of getaddrinfo in the C library.",
        }
    }
}

/// One series: calls that share all attributes.
#[derive(Clone, Debug)]
pub struct Point {
    /// Which metric it belongs to.
    pub metric: Metric,
    /// What its calls share.
    pub labels: Arc<Labels>,
    /// When it began, never before an earlier snapshot that lacked it.
    pub start_unix_nano: u64,
    /// Calls, exactly.
    pub count: u64,
    /// Calls that failed, exactly.
    pub errors: u64,
    /// Calls whose duration was not seen whole. They are in `count` and not in `durations`, so that
    /// `count == untrusted + durations.count()`.
    pub untrusted: u64,
    /// Durations that were seen whole.
    pub durations: Durations,
    /// The latest traced call of each bucket, in no order.
    pub exemplars: Vec<Exemplar>,
    /// Client kind: who answered last, service name or address.
    pub peer: Option<Arc<str>>,
}

/// What one series has counted since it began: less than a [`Point`].
#[derive(Clone, Debug)]
pub struct Counts {
    /// Its service.
    pub service: Arc<Service>,
    /// What its calls share. The same `Arc` each time while the series lives: one that expired and came
    /// back has another.
    pub labels: Arc<Labels>,
    /// Client kind: who answered last, by service, by name, or by address without port.
    pub peer: Option<Arc<str>>,
    /// Calls, exactly.
    pub count: u64,
    /// Calls that failed, exactly.
    pub errors: u64,
    /// Durations that were seen whole, by the edges of [`vigie_slo::suggest::EDGES_MS`], each bucket by
    /// itself.
    pub buckets: [u64; BUCKETS],
}

/// A call that stands for its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Position in [`Durations::buckets`].
    pub bucket: usize,
    /// Its duration in seconds.
    pub value_s: f64,
    /// When it ended.
    pub time_unix_nano: u64,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: SpanId,
}

/// What the calls of one series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Labels {
    /// HTTP calls.
    Http(HttpLabels),
    /// gRPC calls.
    Rpc(RpcLabels),
    /// Calls of databases.
    Database(DatabaseLabels),
    /// Calls of message brokers.
    Messaging(MessagingLabels),
    /// Look-ups of names.
    Dns(DnsLabels),
    /// Calls of `getaddrinfo`.
    Getaddrinfo {
        /// `error.type`.
        error: Option<&'static str>,
    },
    /// All that found no room: `otel.metric.overflow` = true, and nothing else.
    Overflow {
        /// Kind of the calls.
        kind: SpanKind,
        /// `protocol` of span lines and reports.
        protocol: &'static str,
    },
}

/// What the HTTP calls of one series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpLabels {
    /// Server or client.
    pub kind: SpanKind,
    /// `protocol` of span lines and reports. HTTP/2 is told by `network.protocol.version`, or two
    /// points would share one identity.
    pub protocol: &'static str,
    /// `http.route`.
    pub route: Option<Arc<str>>,
    /// `http.request.method`: a known one or `_OTHER`.
    pub method: &'static str,
    /// `http.response.status_code`.
    pub status: Option<u16>,
    /// `error.type`.
    pub error: Option<ErrorType>,
    /// `error.type` as text.
    pub error_text: Option<Arc<str>>,
    /// `url.scheme`.
    pub scheme: &'static str,
    /// `server.address`. Server kind: of the local end of the connection, as a client can put
    /// anything into `Host`. Client kind: as the client named it.
    pub server_address: Option<Arc<str>>,
    /// `server.port`, from the same source.
    pub server_port: Option<u16>,
}

/// What the gRPC calls of one series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RpcLabels {
    /// Server or client.
    pub kind: SpanKind,
    /// `rpc.system.name`.
    pub system: &'static str,
    /// `rpc.method`: `package.Service/Method`.
    pub method: Option<Arc<str>>,
    /// `rpc.response.status_code`.
    pub status: Option<GrpcStatus>,
    /// `server.address`, as in [`HttpLabels::server_address`].
    pub server_address: Option<Arc<str>>,
    /// `server.port`, from the same source.
    pub server_port: Option<u16>,
}

/// What the calls of a database of one series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatabaseLabels {
    /// Server or client.
    pub kind: SpanKind,
    /// `db.system.name`.
    pub system: System,
    /// `db.operation.name`, empty where it is not known.
    pub operation: Arc<str>,
    /// `db.collection.name`, empty where there is none.
    pub collection: Arc<str>,
    /// `error.type`.
    pub error: Option<Arc<str>>,
    /// `server.address`: where the connection goes.
    pub server_address: Option<Arc<str>>,
    /// `server.port`, from the same source.
    pub server_port: Option<u16>,
}

/// What the calls of a message broker of one series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessagingLabels {
    /// Server, client, producer or consumer.
    pub kind: SpanKind,
    /// `messaging.operation.name`.
    pub operation: &'static str,
    /// `messaging.destination.name`.
    pub destination: Option<Arc<str>>,
    /// `error.type`.
    pub error: Option<Arc<str>>,
    /// `server.address`: where the connection goes.
    pub server_address: Option<Arc<str>>,
    /// `server.port`, from the same source.
    pub server_port: Option<u16>,
}

/// What the look-ups of one series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsLabels {
    /// Server or client.
    pub kind: SpanKind,
    /// `error.type`.
    pub error: Option<&'static str>,
}

impl Labels {
    /// Server, client, …
    pub fn kind(&self) -> SpanKind {
        match self {
            Self::Http(labels) => labels.kind,
            Self::Rpc(labels) => labels.kind,
            Self::Database(labels) => labels.kind,
            Self::Messaging(labels) => labels.kind,
            Self::Dns(labels) => labels.kind,
            Self::Getaddrinfo { .. } => SpanKind::Client,
            Self::Overflow { kind, .. } => *kind,
        }
    }

    /// `protocol` of span lines and reports.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Http(labels) => labels.protocol,
            Self::Rpc(_) => GrpcCall::PROTOCOL,
            Self::Database(labels) => labels.system.name(),
            Self::Messaging(_) => MessagingCall::PROTOCOL,
            Self::Dns(_) => DnsCall::PROTOCOL,
            Self::Getaddrinfo { .. } => getaddrinfo::PROTOCOL,
            Self::Overflow { protocol, .. } => protocol,
        }
    }

    /// Whether this is the series of all that found no room.
    pub fn is_overflow(&self) -> bool {
        matches!(self, Self::Overflow { .. })
    }

    /// Name of the endpoint, as spans have it: `GET /users/{id}`. `other` for the overflow.
    pub fn endpoint(&self) -> String {
        match self {
            Self::Http(labels) => {
                let method = if labels.method == "_OTHER" { "HTTP" } else { labels.method };
                match labels.route.as_deref() {
                    Some(route) if !route.is_empty() => format!("{method} {route}"),
                    _ => method.to_owned(),
                }
            }
            Self::Rpc(labels) => labels.method.as_deref().unwrap_or(labels.system).to_owned(),
            Self::Database(labels) => {
                database::endpoint(labels.system, &labels.operation, &labels.collection)
            }
            Self::Messaging(labels) => {
                messaging::endpoint(labels.operation, labels.destination.as_deref())
            }
            Self::Dns(_) => "lookup".to_owned(),
            Self::Getaddrinfo { .. } => getaddrinfo::PROTOCOL.to_owned(),
            Self::Overflow { .. } => "other".to_owned(),
        }
    }

    /// Status as reports tell it: `404`, `NOT_FOUND`.
    pub fn status(&self) -> Option<String> {
        match self {
            Self::Http(labels) => labels.status.map(|status| status.to_string()),
            Self::Rpc(labels) => labels.status.map(|status| status.name().to_owned()),
            Self::Database(labels) => labels.error.as_deref().map(ToOwned::to_owned),
            Self::Messaging(labels) => labels.error.as_deref().map(ToOwned::to_owned),
            Self::Dns(labels) => labels.error.map(ToOwned::to_owned),
            Self::Getaddrinfo { error } => error.map(ToOwned::to_owned),
            Self::Overflow { .. } => None,
        }
    }

    /// Metric attributes by the semantic conventions, given to `each` in a fixed order. Unknown
    /// ones are absent.
    pub fn attributes<'a>(&'a self, mut each: impl FnMut(&'static str, Value<'a>)) {
        match self {
            Self::Http(labels) => labels.attributes(each),
            Self::Rpc(labels) => labels.attributes(each),
            Self::Database(labels) => labels.attributes(each),
            Self::Messaging(labels) => labels.attributes(each),
            Self::Dns(DnsLabels { error, .. }) | Self::Getaddrinfo { error } => {
                if let Some(error) = error {
                    each("error.type", Value::Str(error));
                }
            }
            Self::Overflow { .. } => each("otel.metric.overflow", Value::Bool(true)),
        }
    }
}

impl HttpLabels {
    fn attributes<'a>(&'a self, mut each: impl FnMut(&'static str, Value<'a>)) {
        each("http.request.method", Value::Str(self.method));
        if let Some(status) = self.status {
            each("http.response.status_code", Value::Int(status.into()));
        }
        if let Some(route) = &self.route {
            each("http.route", Value::Str(route));
        }
        if let Some(error) = &self.error_text {
            each("error.type", Value::Str(error));
        }
        if self.protocol == http::HTTP_2 {
            each("network.protocol.version", Value::Str("2"));
        }
        server(self.server_address.as_deref(), self.server_port, &mut each);
        each("url.scheme", Value::Str(self.scheme));
    }
}

impl RpcLabels {
    fn attributes<'a>(&'a self, mut each: impl FnMut(&'static str, Value<'a>)) {
        if let Some(method) = &self.method {
            each("rpc.method", Value::Str(method));
        }
        each("rpc.system.name", Value::Str(self.system));
        if let Some(status) = self.status {
            each("rpc.response.status_code", Value::Str(status.name()));
        }
        server(self.server_address.as_deref(), self.server_port, &mut each);
    }
}

impl DatabaseLabels {
    fn attributes<'a>(&'a self, mut each: impl FnMut(&'static str, Value<'a>)) {
        if !self.collection.is_empty() {
            each("db.collection.name", Value::Str(&self.collection));
        }
        if !self.operation.is_empty() {
            each("db.operation.name", Value::Str(&self.operation));
        }
        each("db.system.name", Value::Str(self.system.name()));
        if let Some(error) = &self.error {
            each("error.type", Value::Str(error));
        }
        server(self.server_address.as_deref(), self.server_port, &mut each);
    }
}

impl MessagingLabels {
    fn attributes<'a>(&'a self, mut each: impl FnMut(&'static str, Value<'a>)) {
        if let Some(error) = &self.error {
            each("error.type", Value::Str(error));
        }
        if let Some(destination) = &self.destination {
            each("messaging.destination.name", Value::Str(destination));
        }
        each("messaging.operation.name", Value::Str(self.operation));
        each("messaging.system", Value::Str(MessagingCall::PROTOCOL));
        server(self.server_address.as_deref(), self.server_port, &mut each);
    }
}

fn server<'a>(
    address: Option<&'a str>,
    port: Option<u16>,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    if let Some(address) = address {
        each("server.address", Value::Str(address));
    }
    if let Some(port) = port {
        each("server.port", Value::Int(port.into()));
    }
}

/// Look-ups of one name and type, each once even when both ends were seen.
#[derive(Clone, Debug)]
pub struct LookupPoint {
    /// Name; `other` for all that found no room.
    pub name: Box<str>,
    /// Type of the record; `*` for all that found no room.
    pub record_type: Box<str>,
    /// Asked of the local stub of systemd-resolved, which asks somebody else.
    pub stub: bool,
    /// When it began, never before an earlier snapshot that lacked it.
    pub start_unix_nano: u64,
    /// Look-ups.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Times that the question was asked, retries included.
    pub queries: u64,
    /// Look-ups that were tries of a search list.
    pub search_attempts: u64,
    /// Durations that were seen whole.
    pub durations: Durations,
}

/// Look-ups of a name with the suffixes of a search list, each once with all its tries.
#[derive(Clone, Debug)]
pub struct SearchPoint {
    /// What was looked for; `other` for all that found no room.
    pub name: Arc<str>,
    /// `A`, `AAAA`; `*` for all that found no room.
    pub record_type: &'static str,
    /// The name that there is, `None` if there is none.
    pub found: Option<Arc<str>>,
    /// When it began, never before an earlier snapshot that lacked it.
    pub start_unix_nano: u64,
    /// Searches.
    pub count: u64,
    /// Look-ups that they took.
    pub attempts: u64,
    /// From the start of the first try to the end of the last one.
    pub durations: Durations,
}

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// A service on this node.
    Service(Arc<Service>),
    /// Somebody else, by address: `10.0.0.7:5432` for a server, without port for a client.
    Address(Arc<str>),
    /// All that found no room.
    Other,
}

impl Party {
    /// Service name, address, or `other`.
    pub fn name(&self) -> &str {
        match self {
            Self::Service(service) => &service.name,
            Self::Address(address) => address,
            Self::Other => "other",
        }
    }

    /// Namespace of a service, else empty.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Service(service) => &service.namespace,
            Self::Address(_) | Self::Other => "",
        }
    }
}

/// Who calls whom.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Who calls.
    pub client: Party,
    /// Who answers.
    pub server: Party,
    /// `protocol` of span lines and reports.
    pub protocol: &'static str,
    /// When it began, never before an earlier snapshot that lacked it.
    pub start_unix_nano: u64,
    /// Calls, each once even when both ends were seen.
    pub count: u64,
    /// Calls that failed, as counted by the end that counts the call.
    pub errors: u64,
    /// As the client saw them.
    pub client_durations: Durations,
    /// As the server saw them.
    pub server_durations: Durations,
}

impl Edge {
    /// `connection_type` of the service graph: `database` or `messaging_system` for one, else `virtual_node` where one end is
    /// known by address only, else absent.
    pub fn connection_type(&self) -> Option<&'static str> {
        if System::ALL.iter().any(|system| system.name() == self.protocol) {
            return Some("database");
        }
        if self.protocol == MessagingCall::PROTOCOL {
            return Some("messaging_system");
        }
        let known = |party: &Party| matches!(party, Party::Service(_));
        (!known(&self.client) || !known(&self.server)).then_some("virtual_node")
    }
}
