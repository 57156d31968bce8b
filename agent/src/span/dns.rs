//! Look-ups of names, by the OpenTelemetry semantic conventions for DNS.

use std::net::IpAddr;
use std::sync::Arc;

use super::http::{ServerAddress, server_end};
use super::{Endpoint, Span, SpanKind, Status, Value};

/// What a look-up went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsTransport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
}

/// One question and its answer. Retries of the same question on the way are one call.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsCall {
    /// `dns.question.name`, lower case, without the dot at its end; `.` for the root.
    pub name: Box<str>,
    /// Type of the question: `A`, `AAAA`, `TYPE65280`.
    pub kind: Box<str>,
    /// Code of the answer by name (`NOERROR`, `NXDOMAIN`); `None` without an answer.
    pub code: Option<&'static str>,
    /// Answers in the response.
    pub answers: Option<u16>,
    /// Times that the question was sent or read.
    pub attempts: u32,
    /// What the answer came over, else the question.
    pub transport: DnsTransport,
    /// The answer over UDP was cut.
    pub truncated: bool,
    /// No answer came in time.
    pub timed_out: bool,
    /// What it goes on with, where another suffix of a search list was tried before.
    pub search: Option<Box<Search>>,
    /// Addresses in an answer over TCP, with the seconds for which they hold; they are taken out on the
    /// way to a span ([`Answer`](crate::protocol::dns::lookup::Answer)).
    pub addresses: Vec<(IpAddr, u32)>,
}

/// What a look-up is a part of that is not the first try of a search list.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// What all tries begin with: the name as it was looked for, unless suffixes begin alike.
    pub name: Arc<str>,
    /// The name that was tried just before.
    pub before: Arc<str>,
    /// Tries so far, this one included.
    pub attempts: u32,
    /// From the start of the first try to the end of this one, in nanoseconds.
    pub duration_ns: u64,
}

impl DnsCall {
    /// `protocol` in span lines and reports.
    pub const PROTOCOL: &'static str = "dns";

    /// `error.type`: the code in its usual spelling, or `timeout`.
    pub fn error_type(&self) -> Option<&'static str> {
        match self.code {
            Some("NOERROR") => None,
            Some(code) => Some(code),
            None => self.timed_out.then_some("timeout"),
        }
    }

    /// Whether this was asked of the local stub of systemd-resolved (127.0.0.53, 127.0.0.54), which
    /// asks somebody else unless it knows the answer.
    pub fn asks_stub(&self, span: &Span) -> bool {
        let at = if span.kind == SpanKind::Server { &span.local } else { &span.peer };
        matches!(at, Endpoint::Inet(IpAddr::V4(address), 53)
            if matches!(address.octets(), [127, 0, 0, 53 | 54]))
    }

    /// Where the resolver is.
    pub fn server_address<'a>(&'a self, span: &'a Span) -> (ServerAddress<'a>, Option<u16>) {
        server_end(None, span)
    }
}

/// `A example.org`.
pub(super) fn span_name(call: &DnsCall) -> String {
    format!("{} {}", call.kind, call.name)
}

pub(super) fn status(call: &DnsCall) -> Status {
    match (call.error_type(), call.code) {
        (Some(_), _) => Status::Error,
        (None, Some(_)) => Status::Ok,
        (None, None) => Status::Unset,
    }
}

pub(super) fn attributes<'a>(
    call: &'a DnsCall,
    span: &'a Span,
    each: &mut impl FnMut(&'static str, Value<'a>),
) {
    each("dns.question.name", Value::Str(&call.name));
    // The conventions have no names for these.
    each("vigie.dns.question.type", Value::Str(&call.kind));
    if let Some(code) = call.code {
        each("vigie.dns.response.code", Value::Str(code));
    }
    if let Some(answers) = call.answers {
        each("vigie.dns.answers", Value::Int(answers.into()));
    }
    if call.attempts > 1 {
        each("vigie.dns.attempts", Value::Int(call.attempts.into()));
    }
    let transport = match call.transport {
        DnsTransport::Udp => "udp",
        DnsTransport::Tcp => "tcp",
    };
    each("network.transport", Value::Str(transport));
    if call.asks_stub(span) {
        each("vigie.dns.stub", Value::Bool(true));
    }
    if let Some(search) = &call.search {
        each("vigie.dns.search.name", Value::Str(&search.name));
        each("vigie.dns.search.attempts", Value::Int(search.attempts.into()));
        let duration = std::time::Duration::from_nanos(search.duration_ns);
        each("vigie.dns.search.duration", Value::Double(duration.as_secs_f64()));
    }
    if call.truncated {
        each("vigie.dns.truncated", Value::Bool(true));
    }
    if let Some(error) = call.error_type() {
        each("error.type", Value::Str(error));
    }
}
