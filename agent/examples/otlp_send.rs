//! Sends made-up spans and metrics to an OTLP receiver, to try one out:
//! `cargo run -p vigie --example otlp_send -- 1000` with `OTEL_EXPORTER_OTLP_*` set.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use vigie::export::otlp::{FLUSH_DEADLINE, Host, Otlp, Settings};
use vigie::metrics::{Limits, SelfMetrics, Store};
use vigie::protocol::Call;
use vigie::protocol::in_flight::CallId;
use vigie::span::http::{HttpCall, HttpVersion, Method};
use vigie::span::{Endpoint, Flags, Process, Service, Span, SpanId, SpanKind, TraceId};

const START: u64 = 1_795_000_000_000_000_000;

fn process(pid: u32, name: &str) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start_ns: 1,
        service: Arc::new(Service { name: name.into(), namespace: "".into() }),
        language: None,
        executable: "/usr/bin/example".into(),
        container: None,
        version: None,
        resource: Vec::new(),
        search: None,
    })
}

fn span(process: &Arc<Process>, number: u64) -> Span {
    Span {
        id: CallId::new(START + number, 1),
        kind: SpanKind::Server,
        process: Arc::clone(process),
        tid: process.pid,
        start_unix_nano: START + number * 1_000_000,
        duration_ns: 2_000_000,
        first_byte_ns: None,
        trace_id: TraceId([7; 16]),
        span_id: SpanId((number + 1).to_be_bytes()),
        parent_span_id: None,
        local: Endpoint::Inet([10, 0, 0, 1].into(), 8080),
        peer: Endpoint::Inet([10, 0, 0, 2].into(), 51_234),
        peer_service: None,
        peer_name: None,
        call: Call::Http(HttpCall {
            version: HttpVersion::Http11,
            method: Method::from_token("GET"),
            path: "/users/17".into(),
            host: None,
            status: Some(200),
            request_body: None,
            response_body: Some(612),
            user_agent: None,
            error: None,
        }),
        route: Some("/users/{id}".into()),
        flags: Flags::none(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse::<u64>())?;
    let settings = Settings::from_env(|name| std::env::var(name).ok(), None)?;
    ensure!(settings.is_on(), "no receiver; set OTEL_EXPORTER_OTLP_ENDPOINT");
    let services = [process(1, "api"), process(2, "web")];
    let mut spans: Vec<Span> =
        (0..count).zip(services.iter().cycle()).map(|(at, process)| span(process, at)).collect();
    let seen = spans.clone();
    let snapshot = move || {
        let mut store = Store::new(Limits::default(), &[], START);
        for span in &seen {
            store.record(span);
        }
        store.snapshot(START + 1_000_000_000, SelfMetrics::default())
    };
    let host = Host { name: "example".to_owned(), id: None };
    let otlp = Otlp::start(&settings, &host, snapshot)?;
    otlp.traces().context("traces are off")?.offer(&mut spans);
    let counters = otlp.shutdown(FLUSH_DEADLINE).await;
    for (name, signal) in [("spans", &counters.traces), ("data points", &counters.metrics)] {
        ensure!(signal.sent() == signal.offered(), "{name}: {} not sent", signal.dropped_total());
        tracing::info!(name, sent = signal.sent());
    }
    Ok(())
}
