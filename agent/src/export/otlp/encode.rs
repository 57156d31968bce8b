//! Spans to the bytes of an `ExportTraceServiceRequest`.
//!
//! One resource per process identity, spans of one process together, in the order in which they
//! came.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::resource::{self, Host, SCOPE_ITEMS};
use super::wire;
use crate::span::{Endpoint, Flags, Span, SpanKind, Status, Value};

// `opentelemetry.proto.trace.v1.Span`.
const TRACE_ID: u32 = 1;
const SPAN_ID: u32 = 2;
const PARENT_SPAN_ID: u32 = 4;
const NAME: u32 = 5;
const KIND: u32 = 6;
const START: u32 = 7;
const END: u32 = 8;
const ATTRIBUTES: u32 = 9;
const STATUS: u32 = 15;
const FLAGS: u32 = 16;
// `Status`.
const STATUS_CODE: u32 = 3;
const STATUS_CODE_ERROR: u64 = 2;

/// W3C trace flags: a span that is exported was sampled.
const FLAG_SAMPLED: u32 = 1;

/// Bytes of a usual span beside its own strings, in memory and on the wire alike.
const SPAN_BASE: usize = 640;
/// Estimate of the bytes that a span takes: in memory, and an upper bound on the wire.
pub(super) fn size_estimate(span: &Span) -> usize {
    let texts = match &span.call {
        crate::protocol::Call::Http(call) => {
            let agent = call.user_agent.as_ref().map_or(0, |agent| agent.len());
            let host = call.host.as_ref().map_or(0, |host| host.len());
            call.path.len() + host + agent + call.method.original().len()
        }
        crate::protocol::Call::Grpc(call) => {
            let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
            let rest = [&call.authority, &call.user_agent, &call.encoding];
            // The method stands in the name and in an attribute.
            2 * call.method.len() + rest.into_iter().map(length).sum::<usize>()
        }
        crate::protocol::Call::Database(call) => {
            let statement = &*call.statement;
            let text = statement.text.as_ref().map_or(0, |text| text.len());
            let rest = [&statement.operation, &statement.collection, &statement.summary];
            // Operation and collection stand in the name, too.
            text + 2 * rest.into_iter().map(|text| text.len()).sum::<usize>()
        }
        crate::protocol::Call::Messaging(call) => {
            let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
            2 * (length(&call.destination) + call.operation.len()) + length(&call.group)
        }
        crate::protocol::Call::Dns(call) => 2 * (call.name.len() + call.kind.len()),
    };
    // The route stands in the name and in an attribute.
    SPAN_BASE + texts + 2 * span.route.as_ref().map_or(0, |route| route.len())
}

/// The body of a request with these spans.
pub(super) fn request<'a>(spans: impl Iterator<Item = &'a Span>, host: &Host) -> Vec<u8> {
    let mut request = Vec::new();
    let mut items = Vec::new();
    let mut scratch = Vec::new();
    let mut text = String::new();
    for group in by_process(spans) {
        items.clear();
        for span in &group {
            scratch.clear();
            message(&mut scratch, span, &mut text);
            wire::bytes(&mut items, SCOPE_ITEMS, &scratch);
        }
        if let Some(first) = group.first() {
            let resource = resource::of_process(&first.process, host);
            resource::group(&mut request, &resource, &items);
        }
    }
    request
}

/// Spans by process identity, in order of first appearance.
fn by_process<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Vec<&'a Span>> {
    let mut groups: Vec<Vec<&Span>> = Vec::new();
    let mut known: HashMap<usize, usize> = HashMap::new();
    for span in spans {
        // One identity is one allocation: the address saves comparing it.
        let at = *known.entry(Arc::as_ptr(&span.process).addr()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            group.push(span);
        }
    }
    groups
}

/// The `Span` message. `text` is room for addresses.
fn message(out: &mut Vec<u8>, span: &Span, text: &mut String) {
    wire::bytes(out, TRACE_ID, &span.trace_id.0);
    wire::bytes(out, SPAN_ID, &span.span_id.0);
    if let Some(parent) = &span.parent_span_id {
        wire::bytes(out, PARENT_SPAN_ID, &parent.0);
    }
    wire::bytes(out, NAME, span.name().as_bytes());
    wire::integer(out, KIND, kind(span.kind));
    wire::fixed64(out, START, span.start_unix_nano);
    wire::fixed64(out, END, span.start_unix_nano.saturating_add(span.duration_ns));
    span.attributes(|key, value| wire::attribute(out, ATTRIBUTES, key, value));
    network(out, span, text);
    if let Some(service) = &span.peer_service {
        wire::attribute(out, ATTRIBUTES, "peer.service", Value::Str(&service.name));
    }
    if let Some(name) = &span.peer_name {
        wire::attribute(out, ATTRIBUTES, "vigie.peer.name", Value::Str(name));
    }
    if span.flags != Flags::none() {
        wire::string_list(out, ATTRIBUTES, "vigie.flags", || span.flags.names());
    }
    // Instrumentation leaves the status unset unless the call failed; the message of an error
    // would only repeat `error.type`.
    if span.status() == Status::Error {
        let content = 2;
        wire::delimited(out, STATUS, content);
        wire::integer(out, STATUS_CODE, STATUS_CODE_ERROR);
    }
    wire::fixed32(out, FLAGS, FLAG_SAMPLED);
}

/// `SpanKind` of OTLP.
fn kind(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// Attributes of the connection, by the conventions for networks and clients.
fn network(out: &mut Vec<u8>, span: &Span, text: &mut String) {
    if matches!(span.peer, Endpoint::Unix(_)) || matches!(span.local, Endpoint::Unix(_)) {
        wire::attribute(out, ATTRIBUTES, "network.transport", Value::Str("unix"));
    }
    end(out, &span.local, "network.local.address", "network.local.port", text);
    end(out, &span.peer, "network.peer.address", "network.peer.port", text);
    // What `end` left in `text` is the peer.
    if span.kind == SpanKind::Server && !text.is_empty() {
        wire::attribute(out, ATTRIBUTES, "client.address", Value::Str(text));
    }
}

fn end(out: &mut Vec<u8>, end: &Endpoint, address: &str, port: &str, text: &mut String) {
    text.clear();
    match end {
        Endpoint::Inet(ip, _) => push_ip(text, *ip),
        Endpoint::Unix(path) => text.push_str(path),
    }
    if !text.is_empty() {
        wire::attribute(out, ATTRIBUTES, address, Value::Str(text));
    }
    if let Endpoint::Inet(_, number) = end {
        wire::attribute(out, ATTRIBUTES, port, Value::Int((*number).into()));
    }
}

/// The usual text of an address. IPv4 is what most spans have, twice, and `Display` pays for
/// padding that nobody asked for.
fn push_ip(text: &mut String, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        // Writing to a string cannot fail.
        let _ = write!(text, "{ip}");
        return;
    };
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        let digit = |value: u8| char::from(b'0' + value % 10);
        if octet >= 100 {
            text.push(digit(octet / 100));
        }
        if octet >= 10 {
            text.push(digit(octet / 10));
        }
        text.push(digit(octet));
    }
}
