//! Spans for tests of the stages that take them.

use std::sync::Arc;

use super::http::{HttpCall, HttpVersion, Method};
use super::rpc::{GrpcCall, GrpcStatus, GrpcTransport};
use super::{Endpoint, Flags, Process, Service, Span, SpanId, SpanKind, TraceId};
use crate::protocol::Call;
use crate::protocol::in_flight::CallId;

/// When [`server`] and [`client`] start, in nanoseconds of Unix time.
pub(crate) const START: u64 = 1_795_000_000_000_000_000;

pub(crate) fn service(name: &str) -> Arc<Service> {
    Arc::new(Service { name: name.into(), namespace: "".into() })
}

pub(crate) fn process(name: &str, pid: u32) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start_ns: 1,
        service: service(name),
        language: None,
        executable: "".into(),
        container: None,
        version: None,
        resource: Vec::new(),
        search: None,
    })
}

/// `GET /users/17` of 2 ms at 10.0.0.1:8080, asked for by 10.0.0.2:51234.
pub(crate) fn server(name: &str, status: u16) -> Span {
    Span {
        id: CallId::new(START, 1),
        kind: SpanKind::Server,
        process: process(name, 4242),
        tid: 4243,
        start_unix_nano: START,
        duration_ns: 2_000_000,
        first_byte_ns: Some(1_000_000),
        trace_id: TraceId([0xab; 16]),
        span_id: SpanId([0xcd; 8]),
        parent_span_id: None,
        local: Endpoint::Inet([10, 0, 0, 1].into(), 8080),
        peer: Endpoint::Inet([10, 0, 0, 2].into(), 51234),
        peer_service: None,
        peer_name: None,
        call: Call::Http(HttpCall {
            version: HttpVersion::Http11,
            method: Method::Known("GET"),
            path: "/users/17".into(),
            host: Some("api.example:8080".into()),
            status: Some(status),
            request_body: None,
            response_body: None,
            user_agent: None,
            error: None,
        }),
        route: Some("/users/{id}".into()),
        flags: Flags::none(),
    }
}

/// The same as seen by a client at 10.0.0.1 that asks 10.0.0.2:51234.
pub(crate) fn client(name: &str, status: u16) -> Span {
    Span { kind: SpanKind::Client, ..server(name, status) }
}

/// The same time and place, but a call of `shop.Cart/Add` that ended with `code`.
pub(crate) fn grpc(mut span: Span, code: u32) -> Span {
    span.call = Call::Grpc(Box::new(GrpcCall {
        transport: GrpcTransport::Grpc,
        method: "shop.Cart/Add".into(),
        authority: Some("api.example:8080".into()),
        status: Some(GrpcStatus::from_code(code)),
        http_status: Some(200),
        error: None,
        request_messages: Some(1),
        response_messages: Some(3),
        first_message_ns: Some(1_500_000),
        encoding: Some("gzip".into()),
        timeout_ns: Some(5_000_000_000),
        user_agent: None,
    }));
    span.route = None;
    span
}

pub(crate) fn untrusted(mut span: Span) -> Span {
    span.flags.set(Flags::DURATION_UNTRUSTED);
    span
}
