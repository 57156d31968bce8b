//! Export against receivers in this process.

mod cost;
mod delivery;
mod encoding;
mod metrics;
mod receiver;
mod settings;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::{Host, Otlp, Protocol, RetryPolicy, Settings};
use crate::metrics::{Limits, SelfMetrics, Snapshot, Store};
use crate::protocol::Call;
use crate::protocol::in_flight::CallId;
use crate::span::http::{HttpCall, HttpVersion, Method};
use crate::span::{Endpoint, Flags, Process, Service, Span, SpanId, SpanKind, TraceId};

/// Both protocols must behave alike.
const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

fn host() -> Host {
    Host { name: "node-1".to_owned(), id: Some("0123abcd".to_owned()) }
}

fn process(pid: u32, service: &str) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start_ns: 77,
        service: Arc::new(Service { name: service.into(), namespace: "shop".into() }),
        language: Some("python"),
        executable: "/usr/bin/python3".into(),
        container: Some("c0ffee".into()),
        version: Some("1.2".into()),
        resource: vec![("deployment.environment.name".into(), "test".into())],
        search: None,
    })
}

/// A usual span. `number` can be read back from its start.
fn span(process: &Arc<Process>, number: u64) -> Span {
    Span {
        id: CallId::new(number, 1),
        kind: SpanKind::Server,
        process: Arc::clone(process),
        tid: 9,
        start_unix_nano: number,
        duration_ns: 1_834_211,
        first_byte_ns: Some(1_000),
        trace_id: TraceId([7; 16]),
        span_id: SpanId([8; 8]),
        parent_span_id: Some(SpanId([9; 8])),
        local: Endpoint::Inet(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 8080),
        peer: Endpoint::Inet(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 51_234),
        peer_service: None,
        peer_name: None,
        call: Call::Http(HttpCall {
            version: HttpVersion::Http11,
            method: Method::Known("GET"),
            path: "/users/17".into(),
            host: Some("api.test:8080".into()),
            status: Some(200),
            request_body: None,
            response_body: Some(612),
            user_agent: Some("curl/8.5.0".into()),
            error: None,
        }),
        route: Some("/users/{id}".into()),
        flags: Flags::none(),
    }
}

fn spans(process: &Arc<Process>, numbers: std::ops::Range<u64>) -> Vec<Span> {
    numbers.map(|number| span(process, number)).collect()
}

/// Settings that fail and retry quickly.
fn settings(port: u16, protocol: Protocol) -> Settings {
    let endpoint = format!("http://127.0.0.1:{port}");
    let name = match protocol {
        Protocol::Grpc => "grpc",
        Protocol::HttpProtobuf => "http/protobuf",
    };
    let lookup = |variable: &str| match variable {
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(name.to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("x-token=a%2Cb".to_owned()),
        _ => None,
    };
    let mut settings = Settings::from_env(lookup, Some(&endpoint)).unwrap();
    settings.metrics = None;
    settings.trace_delay = Duration::from_millis(20);
    let (initial, max) = (Duration::from_millis(10), Duration::from_millis(40));
    settings.retry = RetryPolicy { initial, max };
    settings
}

/// Waits for a condition, for longer than any machine should need.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

/// A store that has seen these spans.
fn snapshot(spans: &[Span]) -> Snapshot {
    let mut store = Store::new(Limits::default(), &[], 1_000);
    for span in spans {
        store.record(span);
    }
    store.snapshot(2_000, SelfMetrics::default())
}

fn start(settings: &Settings) -> Otlp {
    Otlp::start(settings, &host(), || snapshot(&[])).unwrap()
}
