//! A span as one JSON line, for `--print spans` and `--spans FILE`.
//!
//! Written by hand into a buffer that the caller keeps: a line is made for every call of the node,
//! and a tree of values for each would cost more than the rest of its way.

use std::fmt;
use std::io::Write as _;

use crate::span::{Endpoint, Service, Span, Value};

/// Appends the line, newline included.
pub fn write(span: &Span, line: &mut Vec<u8>) {
    let process = &span.process;
    line.extend_from_slice(b"{\"name\":");
    text(line, &span.name());
    line.extend_from_slice(b",\"kind\":");
    text(line, span.kind.name());
    line.extend_from_slice(b",\"protocol\":");
    text(line, span.protocol());
    line.extend_from_slice(b",\"service\":");
    text(line, &process.service.name);
    line.extend_from_slice(b",\"namespace\":");
    text(line, &process.service.namespace);
    plain(
        line,
        format_args!(
            ",\"pid\":{},\"tid\":{},\"start_unix_nano\":{},\"duration_ns\":{},\"status\":\"{}\"",
            process.pid,
            span.tid,
            span.start_unix_nano,
            span.duration_ns,
            span.status().name()
        ),
    );
    plain(
        line,
        format_args!(",\"trace_id\":\"{}\",\"span_id\":\"{}\"", span.trace_id, span.span_id),
    );
    match span.parent_span_id {
        Some(parent) => plain(line, format_args!(",\"parent_span_id\":\"{parent}\"")),
        None => line.extend_from_slice(b",\"parent_span_id\":null"),
    }
    line.extend_from_slice(b",\"local\":{");
    endpoint(line, &span.local);
    line.extend_from_slice(b"},\"peer\":{");
    if endpoint(line, &span.peer) {
        line.push(b',');
    }
    if let Some(name) = &span.peer_name {
        line.extend_from_slice(b"\"name\":");
        text(line, name);
        line.push(b',');
    }
    peer_service(line, span.peer_service.as_deref());
    line.extend_from_slice(b"},\"attributes\":{");
    let mut first = true;
    span.attributes(|key, value| {
        separate(line, &mut first);
        text(line, key);
        line.push(b':');
        match value {
            Value::Str(value) => text(line, value),
            Value::Int(_) | Value::Double(_) | Value::Bool(_) => {
                plain(line, format_args!("{value}"));
            }
            Value::Digits(_) => plain(line, format_args!("\"{value}\"")),
        }
    });
    line.extend_from_slice(b"},\"flags\":[");
    let mut first = true;
    for flag in span.flags.names() {
        separate(line, &mut first);
        text(line, flag);
    }
    line.extend_from_slice(b"]}\n");
}

fn separate(line: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        line.push(b',');
    }
}

fn peer_service(line: &mut Vec<u8>, service: Option<&Service>) {
    line.extend_from_slice(b"\"service\":");
    match service {
        Some(service) => text(line, &service.name),
        None => line.extend_from_slice(b"null"),
    }
}

/// Address and port; the path alone of a unix socket; nothing for an unnamed one. Returns whether
/// something was written.
fn endpoint(line: &mut Vec<u8>, endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Inet(address, port) => {
            plain(line, format_args!("\"address\":\"{address}\",\"port\":{port}"));
        }
        Endpoint::Unix(path) if path.is_empty() => return false,
        Endpoint::Unix(path) => {
            line.extend_from_slice(b"\"address\":");
            text(line, path);
        }
    }
    true
}

/// Appends what needs no escaping.
fn plain(line: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = line.write_fmt(arguments);
}

/// Appends a JSON string (RFC 8259, section 7).
fn text(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    let mut rest = text;
    while let Some(position) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        let (before, after) = rest.split_at(position);
        line.extend_from_slice(before.as_bytes());
        let mut after = after.chars();
        match after.next() {
            Some(escaped @ ('"' | '\\')) => line.extend_from_slice(&[b'\\', escaped as u8]),
            Some(control) => plain(line, format_args!("\\u{:04x}", u32::from(control))),
            None => {}
        }
        rest = after.as_str();
    }
    line.extend_from_slice(rest.as_bytes());
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Call;
    use crate::span::testing::{client, grpc, server, service};
    use crate::span::{Flags, SpanId};

    fn check(span: &Span, expected: &str) {
        let mut line = Vec::new();
        write(span, &mut line);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line, format!("{expected}\n"));
        let _: serde_json::Value = serde_json::from_str(&line).unwrap();
    }

    #[test]
    fn lines_have_the_agreed_shape() {
        check(
            &server("api", 200),
            concat!(
                r#"{"name":"GET /users/{id}","kind":"server","protocol":"http/1.1","#,
                r#""service":"api","namespace":"","pid":4242,"tid":4243,"#,
                r#""start_unix_nano":1795000000000000000,"duration_ns":2000000,"status":"ok","#,
                r#""trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd","#,
                r#""parent_span_id":null,"local":{"address":"10.0.0.1","port":8080},"#,
                r#""peer":{"address":"10.0.0.2","port":51234,"service":null},"#,
                r#""attributes":{"http.request.method":"GET","url.path":"/users/17","#,
                r#""http.route":"/users/{id}","http.response.status_code":200,"#,
                r#""network.protocol.version":"1.1","url.scheme":"http","#,
                r#""server.address":"api.example","server.port":8080,"#,
                r#""vigie.http.time_to_first_byte":0.001},"flags":[]}"#
            ),
        );
    }

    #[test]
    fn errors_unix_sockets_and_flags() {
        let mut span = client("we\"b\n", 404);
        span.local = Endpoint::Unix("".into());
        span.peer = Endpoint::Unix("/run/é\\x.sock".into());
        span.peer_service = Some(service("api"));
        span.parent_span_id = Some(SpanId([1; 8]));
        span.route = None;
        span.flags.set(Flags::MID_STREAM);
        span.flags.set(Flags::LOSSY);
        let Call::Http(call) = &mut span.call else { panic!("no HTTP call") };
        call.host = None;
        check(
            &span,
            concat!(
                r#"{"name":"GET","kind":"client","protocol":"http/1.1","#,
                r#""service":"we\"b\u000a","namespace":"","pid":4242,"tid":4243,"#,
                r#""start_unix_nano":1795000000000000000,"duration_ns":2000000,"status":"error","#,
                r#""trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd","#,
                r#""parent_span_id":"0101010101010101","local":{},"#,
                r#""peer":{"address":"/run/é\\x.sock","service":"api"},"#,
                r#""attributes":{"http.request.method":"GET","url.path":"/users/17","#,
                r#""http.response.status_code":404,"network.protocol.version":"1.1","#,
                r#""url.scheme":"http","vigie.http.time_to_first_byte":0.001,"#,
                r#""error.type":"404"},"flags":["mid_stream","lossy"]}"#
            ),
        );
    }

    #[test]
    fn grpc_calls() {
        let span = grpc(client("web", 200), 5);
        check(
            &span,
            concat!(
                r#"{"name":"shop.Cart/Add","kind":"client","protocol":"grpc","#,
                r#""service":"web","namespace":"","pid":4242,"tid":4243,"#,
                r#""start_unix_nano":1795000000000000000,"duration_ns":2000000,"status":"error","#,
                r#""trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd","#,
                r#""parent_span_id":null,"local":{"address":"10.0.0.1","port":8080},"#,
                r#""peer":{"address":"10.0.0.2","port":51234,"service":null},"#,
                r#""attributes":{"rpc.system.name":"grpc","rpc.method":"shop.Cart/Add","#,
                r#""rpc.response.status_code":"NOT_FOUND","server.address":"api.example","#,
                r#""server.port":8080,"vigie.rpc.request.messages":1,"#,
                r#""vigie.rpc.response.messages":3,"vigie.rpc.encoding":"gzip","#,
                r#""vigie.rpc.timeout":5,"vigie.rpc.time_to_first_message":0.0015,"#,
                r#""error.type":"NOT_FOUND"},"flags":[]}"#
            ),
        );
    }
}
