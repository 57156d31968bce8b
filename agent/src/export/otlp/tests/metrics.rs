//! Snapshots become requests, and reach the receiver in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, metric::Data};
use prost::Message as _;

use super::encoding::text;
use super::receiver::{Answer, Receiver, silent_port};
use super::{PROTOCOLS, eventually, host, process, settings, snapshot, span, spans};
use crate::export::otlp::settings::HistogramForm;
use crate::export::otlp::{DropReason, FLUSH_DEADLINE, Otlp, OwnResource, Settings, convert};
use crate::metrics::own::{OwnKind, OwnMetric};
use crate::metrics::{Limits, SelfMetrics, Snapshot, Store};
use crate::span::{Span, SpanKind};

fn decode(request: &convert::Request) -> ExportMetricsServiceRequest {
    let decoded = ExportMetricsServiceRequest::decode(request.body.as_slice()).unwrap();
    assert_eq!(decoded.encode_to_vec(), request.body);
    decoded
}

fn own() -> OwnResource {
    let attributes = [("service.name", "never"), ("team", "a,b"), ("host.name", "mine")];
    OwnResource {
        service_name: "lookout".to_owned(),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

fn only(snapshot: &Snapshot, form: HistogramForm) -> Vec<ResourceMetrics> {
    let requests = convert::requests(snapshot, form, &own(), &host());
    assert_eq!(requests.len(), 1);
    decode(&requests[0]).resource_metrics
}

fn attributes(group: &ResourceMetrics) -> Vec<String> {
    text(&group.resource.as_ref().unwrap().attributes)
}

fn metrics(group: &ResourceMetrics) -> BTreeMap<&str, &Metric> {
    let metrics = group.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    metrics.map(|metric| (metric.name.as_str(), metric)).collect()
}

fn calls() -> Vec<Span> {
    let (api, web) = (process(1, "api"), process(2, "web"));
    let mut slow = span(&api, 1);
    slow.duration_ns = 30_000_000;
    let mut client = span(&web, 3);
    client.kind = SpanKind::Client;
    client.peer_service = Some(Arc::clone(&api.service));
    vec![span(&api, 2), slow, client]
}

#[test]
fn services_have_their_histograms() {
    let groups = only(&snapshot(&calls()), HistogramForm::Explicit);
    let [api, web, own] = groups.as_slice() else { panic!("{} groups", groups.len()) };
    assert!(attributes(api).contains(&"service.name=api".to_owned()));
    assert!(attributes(api).contains(&"service.instance.id=0123abcd".to_owned()));
    assert!(attributes(web).contains(&"service.name=web".to_owned()));
    for expected in ["service.name=lookout", "team=a,b", "host.name=mine"] {
        assert!(attributes(own).contains(&expected.to_owned()), "{expected}");
    }
    assert!(!attributes(own).contains(&"host.name=node-1".to_owned()));
    assert!(metrics(web).contains_key("http.client.request.duration"));

    let metric = metrics(api)["http.server.request.duration"];
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    assert_eq!(histogram.aggregation_temporality, 2);
    let point = &histogram.data_points[0];
    assert_eq!(point.count, 2);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 2);
    assert_eq!(point.max, Some(0.03));
    assert!((point.sum.unwrap() - 0.031_834_211).abs() < 1e-12);
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000, 2_000));
    assert!(text(&point.attributes).contains(&"http.route=/users/{id}".to_owned()));
    assert_eq!(point.exemplars.len(), 2);
    assert_eq!(point.exemplars[0].trace_id, [7; 16]);
}

#[test]
fn histograms_can_be_exponential() {
    let groups = only(&snapshot(&calls()), HistogramForm::Exponential);
    let metric = metrics(&groups[0])["http.server.request.duration"];
    let Some(Data::ExponentialHistogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    let point = &histogram.data_points[0];
    let positive = point.positive.as_ref().unwrap();
    assert_eq!(positive.bucket_counts.iter().sum::<u64>() + point.zero_count, 2);
    // The first bucket holds the shortest duration, by the definition of the data model.
    let bound = |index: i32| (f64::from(index) * f64::from(-point.scale).exp2()).exp2();
    let shortest = point.min.unwrap();
    assert!(bound(positive.offset) < shortest && shortest <= bound(positive.offset + 1));
}

#[test]
fn the_graph_and_own_figures_are_vigies() {
    const LOST: OwnMetric = OwnMetric {
        name: "vigie.records.lost",
        unit: "{record}",
        description: "Records lost.",
        kind: OwnKind::Counter,
    };
    let mut snapshot = snapshot(&calls());
    snapshot.own.set_by(LOST, "reason", "ring_full", 3u64);
    snapshot.own.set_by(LOST, "reason", "other", 4u64);
    let groups = only(&snapshot, HistogramForm::Explicit);
    let own = metrics(groups.last().unwrap());

    let Some(Data::Sum(lost)) = &own["vigie.records.lost"].data else { panic!("{own:?}") };
    assert!(lost.is_monotonic);
    let values: Vec<_> = lost.data_points.iter().map(|point| point.value).collect();
    assert_eq!(values, [Some(Value::AsInt(3)), Some(Value::AsInt(4))]);
    assert_eq!(text(&lost.data_points[0].attributes), ["reason=ring_full"]);

    let Some(Data::Sum(requests)) = &own["traces_service_graph_request_total"].data else {
        panic!("{own:?}")
    };
    let edge = requests.data_points.iter().find(|point| {
        let attributes = text(&point.attributes);
        ["client=web", "server=api"].iter().all(|text| attributes.iter().any(|a| a == text))
    });
    assert_eq!(edge.unwrap().value, Some(Value::AsInt(1)));
    assert!(own.contains_key("traces_service_graph_request_client_seconds"));
}

#[test]
fn large_snapshots_are_split_and_nothing_is_left_out() {
    let mut all = Vec::new();
    for service in 0..6 {
        let process = process(service, &format!("service-{service}"));
        for route in 0..1_200 {
            let mut span = span(&process, 1);
            span.route = Some(format!("/{}/{route}", "long".repeat(50)).into());
            all.push(span);
        }
    }
    let snapshot = snapshot(&all);
    let requests = convert::requests(&snapshot, HistogramForm::Explicit, &own(), &host());
    assert!(requests.len() > 1);
    let mut series = 0;
    for request in &requests {
        assert!(request.body.len() < 4 << 20, "{}", request.body.len());
        let mut points = 0;
        for group in decode(request).resource_metrics {
            for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                points += convert::points(&metric) as u64;
                if metric.name == "http.server.request.duration" {
                    series += convert::points(&metric);
                }
            }
        }
        assert_eq!(points, request.points);
    }
    let expected: usize = snapshot.services.iter().map(|service| service.points.len()).sum();
    assert_eq!(series, expected);
}

/// Settings with metrics on.
fn with_metrics(port: u16, protocol: crate::export::otlp::Protocol) -> Settings {
    let mut settings = settings(port, protocol);
    let mut signal = settings.traces.clone().unwrap();
    if protocol == crate::export::otlp::Protocol::HttpProtobuf {
        signal.endpoint = format!("http://127.0.0.1:{port}/v1/metrics").parse().unwrap();
    }
    settings.metrics = Some(signal);
    settings.metric_interval = Duration::from_mins(1);
    settings
}

fn one_service() -> Snapshot {
    snapshot(&[span(&process(1, "api"), 1)])
}

#[tokio::test]
async fn the_last_figures_are_sent_at_the_end_over_the_same_connection() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start().await;
        let settings = with_metrics(receiver.port, protocol);
        let otlp = Otlp::start(&settings, &host(), one_service).unwrap();
        otlp.traces().unwrap().offer(&mut spans(&process(1, "api"), 0..1));
        let sent = otlp.counters();
        eventually("spans", || sent.traces.sent() == 1).await;
        let counters = otlp.shutdown(FLUSH_DEADLINE).await;
        let log = &receiver.log;
        assert_eq!(log.metrics.lock().unwrap().len(), 1, "{protocol:?}");
        assert!(counters.metrics.sent() > 0);
        assert_eq!(counters.metrics.offered(), counters.metrics.sent());
        assert_eq!(log.connections.load(SeqCst), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn metrics_go_out_by_interval_and_newer_ones_replace_those_that_wait() {
    for protocol in PROTOCOLS {
        let script = [Answer::Unavailable, Answer::Unavailable];
        let receiver = Receiver::with_script(script).await;
        let mut settings = with_metrics(receiver.port, protocol);
        settings.metric_interval = Duration::from_millis(50);
        // The first retry would come too late: the next figures go instead.
        settings.retry.initial = Duration::from_mins(1);
        settings.retry.max = Duration::from_mins(1);
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let source = move || {
            counted.fetch_add(1, SeqCst);
            let mut store = Store::new(Limits::default(), &[], 1_000);
            store.record(&span(&process(1, "api"), 1));
            store.snapshot(2_000, SelfMetrics::default())
        };
        let otlp = Otlp::start(&settings, &host(), source).unwrap();
        let log = &receiver.log;
        eventually("two exports", || log.metrics.lock().unwrap().len() >= 2).await;
        let counters = otlp.shutdown(FLUSH_DEADLINE).await;
        let superseded = counters.metrics.dropped(DropReason::Superseded);
        assert!(superseded > 0);
        assert_eq!(counters.metrics.offered(), counters.metrics.sent() + superseded);
        assert!(calls.load(SeqCst) >= 4);
    }
}

#[tokio::test]
async fn the_last_figures_are_counted_when_nobody_takes_them() {
    let (_socket, port) = silent_port();
    let otlp = Otlp::start(&with_metrics(port, PROTOCOLS[0]), &host(), one_service).unwrap();
    let counters = otlp.shutdown(Duration::from_millis(200)).await;
    assert!(counters.metrics.offered() > 0);
    assert_eq!(counters.metrics.dropped(DropReason::Shutdown), counters.metrics.offered());
}
