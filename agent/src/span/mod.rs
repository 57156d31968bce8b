//! A finished call with everything that is known of it: the value that metrics, graph and exporters
//! take.
//!
//! A span is typed, not a bag of strings: names and attributes are derived from its call by the
//! semantic conventions, when an exporter asks.

pub mod assemble;
pub mod database;
pub mod dns;
pub mod http;
pub mod messaging;
pub mod names;
pub mod peers;
pub mod route;
pub mod rpc;
pub mod searches;
#[cfg(test)]
pub(crate) mod testing;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::protocol::in_flight::CallId;
use crate::protocol::{Call, Role};
use dns::DnsCall;
use messaging::MessagingCall;
use rpc::GrpcCall;

/// SPAN KIND of OpenTelemetry, without INTERNAL: vigie sees calls only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanKind {
    /// Answers a call.
    Server,
    /// Makes a call.
    Client,
    /// Puts a message.
    Producer,
    /// Takes a message.
    Consumer,
}

impl SpanKind {
    /// Name in span lines and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

impl From<Role> for SpanKind {
    fn from(role: Role) -> Self {
        match role {
            Role::Server => Self::Server,
            Role::Client => Self::Client,
        }
    }
}

/// Status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It went well.
    Ok,
    /// It failed.
    Error,
    /// That cannot be said.
    Unset,
}

impl Status {
    /// Name in span lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Unset => "unset",
        }
    }
}

/// What was not seen whole. A span without flags was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// The connection was older than vigie and something could not be known.
    pub const MID_STREAM: Self = Self(1);
    /// A part was not captured.
    pub const TRUNCATED: Self = Self(2);
    /// Records were dropped on this connection.
    pub const LOSSY: Self = Self(4);
    /// The duration was not seen whole; it stays out of histograms and SLOs.
    pub const DURATION_UNTRUSTED: Self = Self(8);
    /// The connection ended before the response.
    pub const NO_RESPONSE: Self = Self(16);
    /// More than one parent was possible; none was taken.
    pub const AMBIGUOUS_PARENT: Self = Self(32);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::MID_STREAM, "mid_stream"),
        (Self::TRUNCATED, "truncated"),
        (Self::LOSSY, "lossy"),
        (Self::DURATION_UNTRUSTED, "duration_untrusted"),
        (Self::NO_RESPONSE, "no_response"),
        (Self::AMBIGUOUS_PARENT, "ambiguous_parent"),
    ];

    /// No flags.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Adds a flag.
    pub fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    /// Whether a flag is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A trace id of W3C Trace Context, never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// A span id of W3C Trace Context, never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Display for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Trace context that came with a request (W3C Trace Context, `traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span of the caller.
    pub parent_span_id: SpanId,
    /// The `sampled` bit.
    pub sampled: bool,
}

/// One end of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Address and port.
    Inet(IpAddr, u16),
    /// Path of a unix socket; a name of the abstract namespace starts with `@`; may be empty.
    Unix(Arc<str>),
}

impl std::fmt::Display for Endpoint {
    /// `10.0.0.1:80`, `[::1]:80`, the path of a unix socket, `unix` for an unnamed one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address, port) => SocketAddr::new(*address, *port).fmt(f),
            Self::Unix(path) if path.is_empty() => f.write_str("unix"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// The service that a process belongs to, shared by all that its processes do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// `service.name`.
    pub name: Arc<str>,
    /// `service.namespace`, empty where there is none.
    pub namespace: Arc<str>,
}

/// Identity of a watched process, found once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start, nanoseconds since boot.
    pub start_ns: u64,
    /// Its service.
    pub service: Arc<Service>,
    /// `telemetry.sdk.language` value, where it is known.
    pub language: Option<&'static str>,
    /// Path of the executable, empty where it is not known.
    pub executable: Arc<str>,
    /// Container id, 64 hex digits, where there is one.
    pub container: Option<Arc<str>>,
    /// `service.version` where known.
    pub version: Option<Arc<str>>,
    /// Further resource attributes that the process asked for (`OTEL_RESOURCE_ATTRIBUTES`).
    pub resource: Vec<(Arc<str>, Arc<str>)>,
    /// What its resolver library appends to names, in the order in which it tries (`search` in
    /// `resolv.conf`), lower case; `None` where that is not known.
    pub search: Option<Arc<[Box<str>]>>,
}

/// A finished call.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The same while the call is in flight and when it has ended; not exported.
    pub id: CallId,
    /// Kind.
    pub kind: SpanKind,
    /// The process that answered or made the call.
    pub process: Arc<Process>,
    /// Its thread.
    pub tid: u32,
    /// Start, nanoseconds of Unix time.
    pub start_unix_nano: u64,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// From the start to the first byte of the response, in nanoseconds.
    pub first_byte_ns: Option<u64>,
    /// Trace.
    pub trace_id: TraceId,
    /// This span.
    pub span_id: SpanId,
    /// Parent, only where it is known for certain.
    pub parent_span_id: Option<SpanId>,
    /// This end.
    pub local: Endpoint,
    /// The other end.
    pub peer: Endpoint,
    /// Service at the other end, where it is on this node and watched.
    pub peer_service: Option<Arc<Service>>,
    /// Client: name by which the address of the other end was looked up, where the other end is no
    /// watched service of this node.
    pub peer_name: Option<Arc<str>>,
    /// The call.
    pub call: Call,
    /// `http.route`: low-cardinality form of the path, where the protocol has one.
    pub route: Option<Arc<str>>,
    /// What was not seen whole.
    pub flags: Flags,
}

/// Value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Str(&'a str),
    /// Integer.
    Int(i64),
    /// A finite real number.
    Double(f64),
    /// Truth.
    Bool(bool),
    /// A whole number that the conventions want as text (`error.type` of a status).
    Digits(u16),
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            Self::Int(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
            Self::Digits(number) => number.fmt(f),
        }
    }
}

impl Span {
    /// Name by the semantic conventions: `GET /users/{id}`.
    pub fn name(&self) -> String {
        match &self.call {
            Call::Http(call) => http::span_name(call, self.route.as_deref()),
            Call::Grpc(call) => rpc::span_name(call),
            Call::Database(call) => database::span_name(call),
            Call::Messaging(call) => messaging::span_name(call),
            Call::Dns(call) => dns::span_name(call),
        }
    }

    /// `protocol` in span lines and reports.
    pub fn protocol(&self) -> &'static str {
        match &self.call {
            Call::Http(call) => call.protocol(),
            Call::Grpc(_) => GrpcCall::PROTOCOL,
            Call::Database(call) => call.system.name(),
            Call::Messaging(_) => MessagingCall::PROTOCOL,
            Call::Dns(_) => DnsCall::PROTOCOL,
        }
    }

    /// Status by the conventions for this kind and call.
    pub fn status(&self) -> Status {
        match &self.call {
            Call::Http(call) => http::status(call, self.kind),
            Call::Grpc(call) => rpc::status(call, self.kind),
            Call::Database(call) => database::status(call),
            Call::Messaging(call) => messaging::status(call),
            Call::Dns(call) => dns::status(call),
        }
    }

    /// Attributes of the call by the semantic conventions, given to `each` in a fixed order.
    /// Unknown ones are absent.
    pub fn attributes<'a>(&'a self, mut each: impl FnMut(&'static str, Value<'a>)) {
        match &self.call {
            Call::Http(call) => http::attributes(call, self, &mut each),
            Call::Grpc(call) => rpc::attributes(call, self, &mut each),
            Call::Database(call) => database::attributes(call, self, &mut each),
            Call::Messaging(call) => messaging::attributes(call, self, &mut each),
            Call::Dns(call) => dns::attributes(call, self, &mut each),
        }
    }

    /// The end of the connection that answers.
    pub fn server_end(&self) -> &Endpoint {
        if self.kind == SpanKind::Server { &self.local } else { &self.peer }
    }

    /// Whether the duration may go into histograms and SLOs.
    pub fn duration_is_trusted(&self) -> bool {
        let waits = match &self.call {
            Call::Database(call) => call.waits,
            Call::Messaging(call) => call.waits,
            _ => false,
        };
        !waits && !self.flags.has(Flags::DURATION_UNTRUSTED)
    }
}
