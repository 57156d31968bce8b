//! HTTP calls by the OpenTelemetry semantic conventions for HTTP, stable since 1.23.

use std::net::IpAddr;

use super::{Endpoint, Span, SpanKind, Status, Value};

/// `protocol` of span lines and reports for HTTP/1.0 and 1.1.
pub const HTTP_1: &str = "http/1.1";

/// `protocol` of span lines and reports for HTTP/2.
pub const HTTP_2: &str = "http/2";

/// Version of HTTP as the network saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// Request method. Those that the conventions know are kept, others are `_OTHER` in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// One of the well-known methods.
    Known(&'static str),
    /// Any other token, as sent.
    Other(Box<str>),
}

impl Method {
    /// The methods that the conventions know.
    pub const KNOWN: [&'static str; 10] =
        ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

    /// From the token of the request line, case-sensitive (RFC 9110, section 9.1).
    pub fn from_token(token: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| *known == token)
            .map_or_else(|| Self::Other(token.into()), Self::Known)
    }

    /// `http.request.method`: a known method or `_OTHER`.
    pub fn attribute(&self) -> &'static str {
        match self {
            Self::Known(known) => known,
            Self::Other(_) => "_OTHER",
        }
    }

    /// As sent.
    pub fn original(&self) -> &str {
        match self {
            Self::Known(known) => known,
            Self::Other(other) => other,
        }
    }
}

/// Why a call failed without, or in spite of, a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpError {
    /// The connection was reset or broken before the response was whole.
    ConnectionReset,
    /// The connection was closed in an orderly way before the response was whole.
    ConnectionClosed,
    /// The stream of HTTP/2 was reset before the response was whole; the name of the code as in
    /// RFC 9113, section 7.
    StreamReset(&'static str),
}

impl HttpError {
    /// `error.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionReset => "connection_reset",
            Self::ConnectionClosed => "connection_closed",
            Self::StreamReset(code) => code,
        }
    }
}

/// One HTTP request and its response.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCall {
    /// Version.
    pub version: HttpVersion,
    /// Method.
    pub method: Method,
    /// Path of the target without query and fragment; `*` for the asterisk form; empty for
    /// CONNECT and where it was not seen.
    pub path: Box<str>,
    /// Value of `Host`, or authority of an absolute-form or CONNECT target.
    pub host: Option<Box<str>>,
    /// Status of the final response.
    pub status: Option<u16>,
    /// Bytes of the request's body as framed, where known.
    pub request_body: Option<u64>,
    /// Bytes of the response's body as framed, where known.
    pub response_body: Option<u64>,
    /// Value of `User-Agent`.
    pub user_agent: Option<Box<str>>,
    /// What went wrong below HTTP.
    pub error: Option<HttpError>,
}

impl HttpCall {
    /// `protocol` in span lines and reports.
    pub fn protocol(&self) -> &'static str {
        match self.version {
            HttpVersion::Http10 | HttpVersion::Http11 => HTTP_1,
            HttpVersion::Http2 => HTTP_2,
        }
    }

    /// `network.protocol.version`.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            HttpVersion::Http10 => "1.0",
            HttpVersion::Http11 => "1.1",
            HttpVersion::Http2 => "2",
        }
    }

    /// `error.type`: what went wrong below HTTP, else the status where it is an error.
    pub fn error_type(&self, kind: SpanKind) -> Option<ErrorType> {
        error_type(self.error, self.status, kind)
    }
}

/// `error.type`: what went wrong below HTTP, else the status where it is an error for this kind.
pub fn error_type(
    error: Option<HttpError>,
    status: Option<u16>,
    kind: SpanKind,
) -> Option<ErrorType> {
    let limit = if kind == SpanKind::Server { 500 } else { 400 };
    match (error, status) {
        (Some(error), _) => Some(ErrorType::Named(error.name())),
        (None, Some(status)) if status >= limit => Some(ErrorType::Status(status)),
        _ => None,
    }
}

/// `error.type` of an HTTP call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorType {
    /// A name from vigie's list.
    Named(&'static str),
    /// The status code.
    Status(u16),
}

impl std::fmt::Display for ErrorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

/// `GET /route`, or the method alone where there is no route.
pub(super) fn span_name(call: &HttpCall, route: Option<&str>) -> String {
    // The conventions replace an unknown method by `HTTP` in names.
    let method = match &call.method {
        Method::Known(known) => known,
        Method::Other(_) => "HTTP",
    };
    match route {
        Some(route) if !route.is_empty() => format!("{method} {route}"),
        _ => method.to_owned(),
    }
}

/// Servers fail from 500, clients from 400.
pub(super) fn status(call: &HttpCall, kind: SpanKind) -> Status {
    if call.error_type(kind).is_some() {
        Status::Error
    } else if call.status.is_some() {
        Status::Ok
    } else {
        Status::Unset
    }
}

/// Host and port that the client asked for: from `Host`, else where the connection goes.
pub fn server_address<'a>(call: &'a HttpCall, span: &'a Span) -> (ServerAddress<'a>, Option<u16>) {
    server_end(call.host.as_deref(), span)
}

/// Host and port from `host`, else where the connection goes.
pub(super) fn server_end<'a>(
    host: Option<&'a str>,
    span: &'a Span,
) -> (ServerAddress<'a>, Option<u16>) {
    let server_end = span.server_end();
    let end_port = match server_end {
        Endpoint::Inet(_, port) => Some(*port),
        Endpoint::Unix(_) => None,
    };
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        let (name, port) = split_host(host);
        return (ServerAddress::Name(name), port.or(end_port));
    }
    match server_end {
        Endpoint::Inet(address, port) => (ServerAddress::Ip(*address), Some(*port)),
        Endpoint::Unix(path) => (ServerAddress::Name(path), None),
    }
}

/// `server.address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress<'a> {
    /// As the client named it.
    Name(&'a str),
    /// Where the connection goes.
    Ip(IpAddr),
}

impl std::fmt::Display for ServerAddress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Splits `name:port` and `[v6]:port` (RFC 3986, section 3.2). Brackets are removed.
pub fn split_host(host: &str) -> (&str, Option<u16>) {
    if let Some(rest) = host.strip_prefix('[')
        && let Some((address, after)) = rest.split_once(']')
    {
        return (address, after.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

/// `server.address` and `server.port` as the client named them.
pub(super) fn attribute_address<'a>(
    host: Option<&'a str>,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        let (name, port) = split_host(host);
        each("server.address", Value::Str(name));
        if let Some(port) = port {
            each("server.port", Value::Int(port.into()));
        }
    }
}

pub(super) fn attributes<'a>(
    call: &'a HttpCall,
    span: &'a Span,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    each("http.request.method", Value::Str(call.method.attribute()));
    if let Method::Other(original) = &call.method {
        each("http.request.method_original", Value::Str(original));
    }
    if !call.path.is_empty() {
        each("url.path", Value::Str(&call.path));
    }
    if let Some(route) = &span.route {
        each("http.route", Value::Str(route));
    }
    if let Some(status) = call.status {
        each("http.response.status_code", Value::Int(status.into()));
    }
    each("network.protocol.version", Value::Str(call.version_name()));
    each("url.scheme", Value::Str("http"));
    attribute_address(call.host.as_deref(), each);
    if let Some(agent) = &call.user_agent {
        each("user_agent.original", Value::Str(agent));
    }
    if let Some(size) = call.request_body.filter(|size| *size > 0) {
        each("http.request.body.size", Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
    }
    if let Some(size) = call.response_body {
        each("http.response.body.size", Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
    }
    // The conventions have no name for it.
    if let Some(first_byte_ns) = span.first_byte_ns.filter(|_| span.duration_is_trusted()) {
        each("vigie.http.time_to_first_byte", Value::Double(first_byte_ns as f64 / 1e9));
    }
    match call.error_type(span.kind) {
        Some(ErrorType::Named(name)) => each("error.type", Value::Str(name)),
        Some(ErrorType::Status(status)) => each("error.type", Value::Digits(status)),
        None => {}
    }
}
