//! What a span costs, by hand and with the generated types:
//! `cargo test --release -p vigie --lib otlp::tests::cost -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Proto};
use prost::Message as _;

use super::receiver::Receiver;
use super::{PROTOCOLS, host, process, settings, spans};
use crate::export::otlp::{FLUSH_DEADLINE, encode};
use crate::span::{Endpoint, Span, Value};

const SPANS: u64 = 5_000;
const ROUNDS: u32 = 100;

fn text(key: &str, value: String) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

fn number(key: &str, value: i64) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::IntValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

fn generated(span: &Span) -> Proto {
    let mut attributes = Vec::new();
    span.attributes(|key, value| {
        attributes.push(match value {
            Value::Int(value) => number(key, value),
            Value::Double(value) => KeyValue {
                key: key.to_owned(),
                value: Some(AnyValue { value: Some(any_value::Value::DoubleValue(value)) }),
            },
            other => text(key, other.to_string()),
        });
    });
    let ends = [
        (&span.local, "network.local.address", "network.local.port"),
        (&span.peer, "network.peer.address", "network.peer.port"),
    ];
    for (end, address, port) in ends {
        if let Endpoint::Inet(ip, value) = end {
            attributes.push(text(address, ip.to_string()));
            attributes.push(number(port, (*value).into()));
        }
    }
    if let Endpoint::Inet(ip, _) = span.peer {
        attributes.push(text("client.address", ip.to_string()));
    }
    Proto {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        parent_span_id: span.parent_span_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        name: span.name(),
        kind: 2,
        start_time_unix_nano: span.start_unix_nano,
        end_time_unix_nano: span.start_unix_nano + span.duration_ns,
        attributes,
        flags: 1,
        ..Proto::default()
    }
}

fn measure(what: &str, mut body: impl FnMut() -> usize) {
    black_box(body());
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        bytes = black_box(body());
    }
    let each = start.elapsed().as_nanos() / u128::from(ROUNDS) / u128::from(SPANS);
    println!("{what}: {each} ns per span, {} bytes per span", bytes as u64 / SPANS);
}

#[test]
#[ignore = "a measurement, for release builds"]
fn encoding() {
    let spans = spans(&process(1, "api"), 0..SPANS);
    measure("by hand", || encode::request(spans.iter(), &host()).len());
    measure("generated types", || {
        let spans = spans.iter().map(generated).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().len()
    });
}

/// CPU time of this thread, from the scheduler.
fn thread_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

/// The whole way with a receiver in another thread: `offer` here, the exporter on a runtime whose
/// only thread tells its CPU time.
#[test]
#[ignore = "a measurement, for release builds"]
fn from_offer_to_socket() {
    for protocol in PROTOCOLS {
        let receiving = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let receiver = receiving.block_on(Receiver::start());
        let sending = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let settings = settings(receiver.port, protocol);
        let process = process(1, "api");
        let mut offered = 0;
        let total = 40 * SPANS;
        let exporter_ns = sending.block_on(async {
            let otlp = super::start(&settings);
            let (traces, counters) = (otlp.traces().unwrap(), otlp.counters());
            let mut exporter_ns = 0;
            while counters.traces.sent() < total {
                if offered < total && counters.traces.queued() < 20_000 {
                    let mut batch = spans(&process, offered..offered + 500);
                    let start = thread_cpu_ns();
                    traces.offer(&mut batch);
                    exporter_ns += thread_cpu_ns() - start;
                    offered += 500;
                }
                let start = thread_cpu_ns();
                tokio::time::sleep(std::time::Duration::from_micros(100)).await;
                exporter_ns += thread_cpu_ns() - start;
            }
            otlp.shutdown(FLUSH_DEADLINE).await;
            exporter_ns
        });
        println!("{protocol:?}: {} ns CPU per span", exporter_ns / total);
        drop(receiver);
    }
}
