//! Traces and metrics through an OTLP receiver that others wrote: all that vigie counted arrives,
//! over both protocols, and also when the receiver comes up late.

use std::time::Duration;

use anyhow::{Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, span::SpanKind as Kind,
};
use prost::Message as _;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::http::post;
use vigie_tests::needs::{Need, missing};
use vigie_tests::otlp::{Addresses, Protocol, Receiver, Sink, histogram_count, text};
use vigie_tests::process::until;
use vigie_tests::workload::{Server, logging_client, python};

const NEEDS: [Need; 4] = [Need::Root, Need::Agent, Need::Rotel, Need::Program("python3")];

/// Longest time from the moment the receiver is there until all has come: vigie's back-off and
/// its interval of export are in it.
const ARRIVAL: Duration = Duration::from_mins(1);

#[test]
fn grpc_brings_all() -> Result<()> {
    check(Protocol::Grpc, Start::Before)
}

#[test]
fn http_brings_all() -> Result<()> {
    check(Protocol::Http, Start::Before)
}

#[test]
fn grpc_brings_all_to_a_late_receiver() -> Result<()> {
    check(Protocol::Grpc, Start::AfterTheRequests)
}

#[test]
fn http_brings_all_to_a_late_receiver() -> Result<()> {
    check(Protocol::Http, Start::AfterTheRequests)
}

/// When the receiver comes up.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Before,
    AfterTheRequests,
}

fn check(protocol: Protocol, start: Start) -> Result<()> {
    const COUNT: usize = 200;
    if missing("otlp_receiver", &NEEDS)? {
        return Ok(());
    }
    let sink = Sink::start()?;
    let addresses = Addresses::choose()?;
    let mut receiver = None;
    if start == Start::Before {
        receiver = Some(Receiver::start(addresses, &sink)?);
    }
    let agent = Agent::start(&Options {
        environment: [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", addresses.endpoint(protocol).as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.name()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        ..Options::default()
    })?;
    let server = Server::python("api", "scripted_server.py", &[])?;
    let mut client = python("client.py")?;
    client.args(["--target", server.target(), "--path", "/plain/export"]);
    let made = logging_client(client.args(["--count", &COUNT.to_string()]))?;
    ensure!(made.len() == COUNT, "client made {}", made.len());
    if start == Start::AfterTheRequests {
        // Long enough for attempts to fail, and for vigie to have to try again.
        std::thread::sleep(Duration::from_secs(5));
        receiver = Some(Receiver::start(addresses, &sink)?);
    }

    let seen = || Seen::in_sink(&sink);
    let wanted =
        Seen { server_spans: COUNT, client_spans: COUNT, server_calls: COUNT, client_calls: COUNT };
    let arrived = until("all in the sink", ARRIVAL, || Ok(seen() == wanted));
    let reasons = agent.metrics()?.reasons();
    agent.stop()?;
    let problems = sink.look(|received| received.problems.clone());
    let last = seen();
    drop(receiver);
    arrived.map_err(|error| error.context(format!("{last:?}, {problems:?}, {reasons:?}")))?;
    ensure!(last == wanted, "after the last flush: {last:?}");
    ensure!(problems.is_empty(), "{problems:?}");
    Ok(())
}

/// What has arrived of the calls of this test.
#[derive(Debug, PartialEq)]
struct Seen {
    server_spans: usize,
    client_spans: usize,
    server_calls: usize,
    client_calls: usize,
}

impl Seen {
    fn in_sink(sink: &Sink) -> Self {
        sink.look(|received| {
            let spans = |service: &str, kind: Kind| {
                received
                    .spans
                    .iter()
                    .filter(|(resource, span)| {
                        text(&resource.attributes, "service.name") == Some(service)
                            && span.kind == kind as i32
                            && text(&span.attributes, "http.route") == Some("/plain/export/{id}")
                    })
                    .count()
            };
            // Cumulative: the largest is the last.
            let calls = |service: &str, name: &str| {
                let counts = received
                    .metrics
                    .iter()
                    .filter(|(resource, metric)| {
                        text(&resource.attributes, "service.name") == Some(service)
                            && metric.name == name
                    })
                    .map(|(_, metric)| {
                        histogram_count(metric, |attributes| {
                            text(attributes, "http.route") == Some("/plain/export/{id}")
                        })
                    });
                usize::try_from(counts.max().unwrap_or_default()).unwrap_or(usize::MAX)
            };
            Self {
                server_spans: spans("api", Kind::Server),
                client_spans: spans("client", Kind::Client),
                server_calls: calls("api", "http.server.request.duration"),
                client_calls: calls("client", "http.client.request.duration"),
            }
        })
    }
}

/// The receiver by itself: what goes in comes out at the sink.
#[test]
fn receiver_passes_on() -> Result<()> {
    if missing("otlp_receiver: receiver", &[Need::Rotel])? {
        return Ok(());
    }
    let sink = Sink::start()?;
    let addresses = Addresses::choose()?;
    let _receiver = Receiver::start(addresses, &sink)?;
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /a".to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let status = post(addresses.http(), "/v1/traces", "application/x-protobuf", &body)?;
    ensure!(status == 200, "receiver answered {status}");
    until("span in the sink", ARRIVAL, || Ok(sink.look(|received| received.spans.len() == 1)))
}
