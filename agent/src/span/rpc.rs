//! gRPC calls by the OpenTelemetry semantic conventions for RPC.

use super::http::{HttpError, ServerAddress, attribute_address, server_end};
use super::{Span, SpanKind, Status, Value};

/// How a gRPC call went over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrpcTransport {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web: the trailers are in the body.
    Web,
    /// Connect, gRPC's sister over plain HTTP.
    Connect,
}

impl GrpcTransport {
    /// `rpc.system.name`.
    pub fn system(self) -> &'static str {
        match self {
            Self::Grpc | Self::Web => "grpc",
            Self::Connect => "connectrpc",
        }
    }
}

/// Status of a gRPC call, 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    /// The call succeeded.
    pub const OK: Self = Self(0);
    /// The client gave the call up.
    pub const CANCELLED: Self = Self(1);
    /// What no other code says.
    pub const UNKNOWN: Self = Self(2);
    /// The client's time was over.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// Not allowed.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// Too much.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// No such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// Broken.
    pub const INTERNAL: Self = Self(13);
    /// Nobody there.
    pub const UNAVAILABLE: Self = Self(14);
    /// Lost.
    pub const DATA_LOSS: Self = Self(15);
    /// Who are you.
    pub const UNAUTHENTICATED: Self = Self(16);

    /// From the number in `grpc-status`. Codes that gRPC does not know are `UNKNOWN`, as its own
    /// libraries take them.
    pub fn from_code(code: u32) -> Self {
        match u8::try_from(code) {
            Ok(code) if usize::from(code) < Self::NAMES.len() => Self(code),
            _ => Self::UNKNOWN,
        }
    }

    /// What stands for the status of a call whose response ended without one, by the status of HTTP
    /// (gRPC's `http-grpc-status-mapping.md`).
    pub fn of_http(status: u16) -> Self {
        match status {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }

    /// The name: `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN")
    }

    /// Whether a call of this kind failed: for clients all but OK; for servers what is the server's
    /// fault.
    pub fn is_error(self, kind: SpanKind) -> bool {
        match kind {
            SpanKind::Server | SpanKind::Consumer => matches!(
                self,
                Self::UNKNOWN
                    | Self::DEADLINE_EXCEEDED
                    | Self::UNIMPLEMENTED
                    | Self::INTERNAL
                    | Self::UNAVAILABLE
                    | Self::DATA_LOSS
            ),
            SpanKind::Client | SpanKind::Producer => self != Self::OK,
        }
    }
}

/// One gRPC call.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcCall {
    /// How it went over HTTP.
    pub transport: GrpcTransport,
    /// Full name without the leading slash, `package.Service/Method`; empty where it was not seen.
    pub method: Box<str>,
    /// `:authority` or `Host`.
    pub authority: Option<Box<str>>,
    /// How it ended, told or by gRPC's rules for what ended it instead.
    pub status: Option<GrpcStatus>,
    /// Status of the HTTP response.
    pub http_status: Option<u16>,
    /// What went wrong below gRPC.
    pub error: Option<HttpError>,
    /// Messages that the client sent; absent where they could not all be told apart.
    pub request_messages: Option<u64>,
    /// Messages that the server sent; absent where they could not all be told apart.
    pub response_messages: Option<u64>,
    /// From the start to the first message of the response, in nanoseconds.
    pub first_message_ns: Option<u64>,
    /// `grpc-encoding` of the request.
    pub encoding: Option<Box<str>>,
    /// `grpc-timeout` of the request, in nanoseconds.
    pub timeout_ns: Option<u64>,
    /// Value of `User-Agent`.
    pub user_agent: Option<Box<str>>,
}

impl GrpcCall {
    /// `protocol` in span lines and reports.
    pub const PROTOCOL: &'static str = "grpc";

    /// `error.type`: the status where it is an error, else what went wrong below.
    pub fn error_type(&self, kind: SpanKind) -> Option<&'static str> {
        match self.status {
            Some(status) if status.is_error(kind) => Some(status.name()),
            Some(_) => None,
            None => self.error.map(HttpError::name),
        }
    }

    /// Host and port that the client asked for, else where the connection goes.
    pub fn server_address<'a>(&'a self, span: &'a Span) -> (ServerAddress<'a>, Option<u16>) {
        server_end(self.authority.as_deref(), span)
    }
}

/// `package.Service/Method`; the system's name where the method is not known.
pub(super) fn span_name(call: &GrpcCall) -> String {
    if call.method.is_empty() {
        call.transport.system().to_owned()
    } else {
        call.method.to_string()
    }
}

pub(super) fn status(call: &GrpcCall, kind: SpanKind) -> Status {
    if call.error_type(kind).is_some() {
        Status::Error
    } else if call.status.is_some() {
        Status::Ok
    } else {
        Status::Unset
    }
}

pub(super) fn attributes<'a>(
    call: &'a GrpcCall,
    span: &'a Span,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    each("rpc.system.name", Value::Str(call.transport.system()));
    if !call.method.is_empty() {
        each("rpc.method", Value::Str(&call.method));
    }
    if let Some(status) = call.status {
        each("rpc.response.status_code", Value::Str(status.name()));
    }
    if let Some(status) = call.http_status.filter(|status| *status != 200) {
        each("http.response.status_code", Value::Int(status.into()));
    }
    attribute_address(call.authority.as_deref(), each);
    if let Some(agent) = &call.user_agent {
        each("user_agent.original", Value::Str(agent));
    }
    // The conventions have no names for these.
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    if let Some(messages) = call.request_messages {
        each("vigie.rpc.request.messages", number(messages));
    }
    if let Some(messages) = call.response_messages {
        each("vigie.rpc.response.messages", number(messages));
    }
    if let Some(encoding) = &call.encoding {
        each("vigie.rpc.encoding", Value::Str(encoding));
    }
    if let Some(timeout_ns) = call.timeout_ns {
        each("vigie.rpc.timeout", Value::Double(timeout_ns as f64 / 1e9));
    }
    if let Some(first_ns) = call.first_message_ns.filter(|_| span.duration_is_trusted()) {
        each("vigie.rpc.time_to_first_message", Value::Double(first_ns as f64 / 1e9));
    }
    if let Some(error) = call.error_type(span.kind) {
        each("error.type", Value::Str(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_names_and_blame() {
        assert_eq!(GrpcStatus::from_code(5).name(), "NOT_FOUND");
        assert_eq!(GrpcStatus::from_code(16), GrpcStatus::UNAUTHENTICATED);
        assert_eq!(GrpcStatus::from_code(17), GrpcStatus::UNKNOWN);
        assert_eq!(GrpcStatus::of_http(404).name(), "UNIMPLEMENTED");
        assert_eq!(GrpcStatus::of_http(200).name(), "UNKNOWN");
        assert_eq!(GrpcStatus::from_code(u32::MAX), GrpcStatus::UNKNOWN);
        for (code, server, client) in [
            (0, false, false),
            (1, false, true),
            (5, false, true),
            (13, true, true),
            (14, true, true),
        ] {
            let status = GrpcStatus::from_code(code);
            assert_eq!(status.is_error(SpanKind::Server), server, "{}", status.name());
            assert_eq!(status.is_error(SpanKind::Client), client, "{}", status.name());
        }
    }
}
