//! The store from spans to snapshots.

use std::fmt::Write as _;

use vigie_common::exchange::{Undelivered, UndeliveredKey, class_of};
use vigie_common::record::Class;

use super::*;
use crate::metrics::snapshot::{Labels, Metric, Point};
use crate::metrics::undelivered;
use crate::protocol::Call;
use crate::span::Endpoint;
use crate::span::route::{RouteLimits, Routes, Unmatched};
use crate::span::testing::{START, client, grpc, process, server, untrusted};

const MINUTE: u64 = 60_000_000_000;

fn store(limits: Limits) -> Store {
    Store::new(limits, &[], START)
}

fn call(span: &mut Span) -> &mut crate::span::http::HttpCall {
    let Call::Http(call) = &mut span.call else { panic!("no HTTP call") };
    call
}

fn text(labels: &Labels) -> String {
    let mut text = String::new();
    labels.attributes(|key, value| {
        let _ = write!(text, "{key}={value} ");
    });
    text.trim_end().to_owned()
}

fn points(store: &mut Store, now: u64) -> Vec<Point> {
    let snapshot = store.snapshot(now, SelfMetrics::default());
    snapshot.services.into_iter().flat_map(|service| service.points).collect()
}

fn own(store: &mut Store, name: &str) -> Vec<(String, f64)> {
    let snapshot = store.snapshot(START, SelfMetrics::default());
    let points = snapshot.own.points().iter().filter(|point| point.metric.name == name);
    points
        .map(|point| {
            let attributes: Vec<&str> =
                point.attributes.iter().map(|(_, value)| &**value).collect();
            (attributes.join(" "), point.value.as_f64())
        })
        .collect()
}

fn check_labels(span: &Span, expected: &str) {
    let mut store = store(Limits::default());
    store.record(span);
    let points = points(&mut store, START);
    assert_eq!(points.len(), 1);
    assert_eq!(text(&points[0].labels), expected);
}

#[test]
fn http_2_and_grpc_have_series_of_their_own() {
    let mut span = server("api", 200);
    call(&mut span).version = crate::span::http::HttpVersion::Http2;
    check_labels(
        &span,
        "http.request.method=GET http.response.status_code=200 http.route=/users/{id} \
         network.protocol.version=2 server.address=10.0.0.1 server.port=8080 url.scheme=http",
    );

    let span = grpc(client("api", 200), 5);
    check_labels(
        &span,
        "rpc.method=shop.Cart/Add rpc.system.name=grpc rpc.response.status_code=NOT_FOUND \
         server.address=api.example server.port=8080",
    );
    let mut store = store(Limits { sets_per_metric: 1, ..Limits::default() });
    for code in [0, 5, 13] {
        store.record(&grpc(server("api", 200), code));
        store.record(&grpc(client("api", 200), code));
    }
    let points = points(&mut store, START);
    let figures: Vec<_> =
        points.iter().map(|point| (point.metric.name(), point.count, point.errors)).collect();
    assert_eq!(
        figures,
        [
            ("rpc.server.call.duration", 1, 0),
            ("rpc.server.call.duration", 2, 1),
            ("rpc.client.call.duration", 1, 0),
            ("rpc.client.call.duration", 2, 2),
        ]
    );
}

#[test]
fn labels_follow_the_conventions() {
    check_labels(
        &server("api", 200),
        "http.request.method=GET http.response.status_code=200 http.route=/users/{id} \
         server.address=10.0.0.1 server.port=8080 url.scheme=http",
    );
    check_labels(
        &server("api", 503),
        "http.request.method=GET http.response.status_code=503 http.route=/users/{id} \
         error.type=503 server.address=10.0.0.1 server.port=8080 url.scheme=http",
    );
    check_labels(
        &client("api", 404),
        "http.request.method=GET http.response.status_code=404 http.route=/users/{id} \
         error.type=404 server.address=api.example server.port=8080 url.scheme=http",
    );
    let mut unix = server("api", 200);
    unix.local = Endpoint::Unix("/run/api.sock".into());
    unix.route = None;
    call(&mut unix).status = None;
    call(&mut unix).method = crate::span::http::Method::from_token("BREW");
    check_labels(&unix, "http.request.method=_OTHER server.address=/run/api.sock url.scheme=http");
}

#[test]
fn one_address_makes_one_series() {
    let mut store = store(Limits::default());
    for host in [Some("10.0.0.2:51234"), Some("10.0.0.2"), None] {
        let mut span = client("web", 200);
        call(&mut span).host = host.map(Into::into);
        store.record(&span);
    }
    let points = points(&mut store, START);
    assert_eq!(points.len(), 1);
    assert_eq!(points[0].count, 3);
    assert_eq!(points[0].peer.as_deref(), Some("10.0.0.2:51234"));
}

#[test]
fn counts_are_exact_and_untrusted_durations_stay_out() {
    let mut store = store(Limits::default());
    store.record(&untrusted(server("api", 500)));
    store.record(&server("api", 500));
    store.record(&server("api", 200));
    let points = points(&mut store, START);
    let figures: Vec<_> = points
        .iter()
        .map(|point| (point.count, point.errors, point.untrusted, point.durations.count()))
        .collect();
    assert_eq!(figures, [(1, 0, 0, 1), (2, 2, 1, 1)]);
    assert_eq!(
        own(&mut store, "vigie.durations.untrusted"),
        [("api http.server.request.duration".to_owned(), 1.0)]
    );
}

#[test]
fn exemplars_are_the_latest_of_each_bucket() {
    let mut store = store(Limits::default());
    for ms in [1, 2, 3_000, 4] {
        let mut span = server("api", 200);
        span.duration_ns = ms * 1_000_000;
        store.record(&span);
    }
    let points = points(&mut store, START);
    let values: Vec<_> = points[0].exemplars.iter().map(|found| found.value_s).collect();
    assert_eq!(values, [0.004, 3.0]);
}

#[test]
fn past_the_bounds_calls_are_summed_and_counted() {
    let mut store =
        store(Limits { services: 2, sets_per_metric: 3, series: 6, ..Limits::default() });
    for status in 200..210 {
        store.record(&server("api", status));
        store.record(&server("web", status));
        store.record(&server("third", status));
    }
    let snapshot = store.snapshot(START, SelfMetrics::default());
    let found: Vec<_> = snapshot
        .services
        .iter()
        .map(|service| {
            let overflow = service.points.iter().filter(|point| point.labels.is_overflow());
            (
                service.service.name.to_string(),
                service.points.len(),
                service.points.iter().map(|point| point.count).sum::<u64>(),
                overflow.map(|point| point.count).sum::<u64>(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("api".to_owned(), 4, 10, 7),
            ("other".to_owned(), 1, 10, 10),
            ("web".to_owned(), 3, 10, 8)
        ]
    );
    assert_eq!(
        own(&mut store, "vigie.series.overflowed"),
        [
            ("services".to_owned(), 10.0),
            ("sets_per_metric".to_owned(), 7.0),
            ("series".to_owned(), 8.0)
        ]
    );
}

#[test]
fn series_expire_and_start_anew() {
    let mut store = store(Limits::default());
    store.record(&server("api", 200));
    assert_eq!(points(&mut store, START + MINUTE)[0].start_unix_nano, START);
    assert_eq!(points(&mut store, START + 5 * MINUTE).len(), 1);
    assert!(points(&mut store, START + 6 * MINUTE).is_empty());
    assert_eq!(own(&mut store, "vigie.series.expired"), [(String::new(), 1.0)]);
    let _ = points(&mut store, START + 7 * MINUTE);
    let mut later = server("api", 200);
    later.start_unix_nano += 8 * MINUTE;
    store.record(&later);
    let again = points(&mut store, START + 9 * MINUTE);
    assert_eq!(again[0].start_unix_nano, START + 7 * MINUTE);
    assert_eq!(again[0].count, 1);
}

#[test]
fn a_full_store_makes_room_without_a_snapshot() {
    let mut store = store(Limits { sets_per_metric: 1, ..Limits::default() });
    store.record(&server("api", 200));
    let mut later = server("api", 404);
    later.start_unix_nano += 6 * MINUTE;
    store.record(&later);
    let points = points(&mut store, START + 6 * MINUTE);
    assert_eq!(points.len(), 1);
    assert!(!points[0].labels.is_overflow());
}

#[test]
fn processes_are_bounded_and_the_latest_stands_for_the_service() {
    let mut store = store(Limits { processes_per_service: 2, ..Limits::default() });
    for pid in [1, 2, 3, 2] {
        let mut span = server("api", 200);
        span.process = process("api", pid);
        store.record(&span);
    }
    let snapshot = store.snapshot(START, SelfMetrics::default());
    let pids: Vec<u32> = snapshot.services[0].processes.iter().map(|known| known.pid).collect();
    assert_eq!(pids, [3, 2]);
    assert_eq!(snapshot.services[0].representative().map(|process| process.pid), Some(2));
}

/// What one call costs. `cargo test -p vigie --lib --config profile.test.package.vigie.opt-level=3
/// -- --ignored --nocapture measure_a_call`: about 35 ns for a known route and 250 ns for the store, edges
/// included, on the project's machine.
#[test]
#[ignore = "a measurement"]
fn measure_a_call() {
    let mut store = store(Limits::default());
    let mut routes = Routes::new([], Unmatched::Heuristic, RouteLimits::default());
    let mut spans = Vec::new();
    for number in 0..64 {
        let mut span = if number % 2 == 0 { server("api", 200) } else { client("web", 200) };
        call(&mut span).path = format!("/users/{number}/orders").into();
        span.process = process(&span.process.service.name, 1);
        span.duration_ns += number * 100_000;
        spans.push(span);
    }
    let first = Arc::clone(&spans[0].process);
    let second = Arc::clone(&spans[1].process);
    for (number, span) in spans.iter_mut().enumerate() {
        span.process = Arc::clone(if number % 2 == 0 { &first } else { &second });
    }
    let calls = 5_000_000;
    for what in ["route", "record"] {
        let start = std::time::Instant::now();
        for span in spans.iter().cycle().take(calls) {
            if what == "record" {
                store.record(span);
            } else {
                let Call::Http(call) = &span.call else { panic!("no HTTP call") };
                std::hint::black_box(routes.route(&span.process.service, &call.path));
            }
        }
        println!("{what}: {} ns", start.elapsed().as_nanos() / calls as u128);
    }
}

/// Calls of 3 ms each as the kernel counts them.
fn lost(count: u64) -> Undelivered {
    let mut lost =
        Undelivered { sum_ns: count * 3_000_000, max_ns: 3_000_000, ..Undelivered::default() };
    lost.classes[class_of(3_000_000)] = count;
    lost
}

fn record_lost(store: &mut Store, key: &UndeliveredKey, lost: &Undelivered) {
    let process = process("api", 4242);
    undelivered::calls(&process, key, lost, |calls| store.record_undelivered(calls, START));
}

const LOST_GET: UndeliveredKey =
    UndeliveredKey { process_start_ns: 1, tgid: 4242, status: 503, class: 1, method: 1 };

#[test]
fn what_the_kernel_counted_is_counted_without_a_route() {
    let mut store = store(Limits::default());
    store.record(&server("api", 503));
    record_lost(&mut store, &LOST_GET, &lost(40));
    record_lost(&mut store, &LOST_GET, &lost(2));
    let points = points(&mut store, START);
    let [without, seen] = points.as_slice() else { panic!("{points:?}") };
    assert_eq!(
        text(&without.labels),
        "http.request.method=GET http.response.status_code=503 error.type=503 url.scheme=http"
    );
    assert_eq!((without.count, without.errors, without.untrusted), (42, 42, 0));
    assert_eq!((seen.count, seen.errors), (1, 1));
    let durations = &without.durations;
    assert_eq!((durations.count(), durations.sum_s()), (42, 0.126));
    assert_eq!(durations.buckets().get(1), Some(&42), "between 0 and 5 ms");
    let median = durations.quantile_s(0.5).unwrap();
    assert!((median / 0.003 - 1.0).abs() <= 0.125, "{median}");
    assert_eq!(durations.max_s(), Some(0.003));
}

/// Nothing but their number is known, not even that they failed.
#[test]
fn lost_calls_of_http2_have_neither_status_nor_duration() {
    let mut store = store(Limits::default());
    let some = Undelivered { untimed: 7, ..Undelivered::default() };
    for class in [Class::Http2Server, Class::Http2Client] {
        let key = UndeliveredKey { status: 0, class: class as u8, method: 0, ..LOST_GET };
        record_lost(&mut store, &key, &some);
    }
    let points = points(&mut store, START);
    let [server, client] = points.as_slice() else { panic!("{points:?}") };
    assert_eq!(client.metric, Metric::HttpClientRequestDuration);
    assert_eq!(server.metric, Metric::HttpServerRequestDuration);
    for point in &points {
        let labels = "http.request.method=_OTHER network.protocol.version=2 url.scheme=http";
        assert_eq!(text(&point.labels), labels);
        assert_eq!((point.count, point.errors, point.untrusted), (7, 0, 7));
    }
}

#[test]
fn calls_without_a_response_have_no_duration() {
    let mut store = store(Limits::default());
    let mut some = lost(2);
    some.untimed += 3;
    record_lost(&mut store, &UndeliveredKey { status: 0, class: 2, method: 0, ..LOST_GET }, &some);
    let points = points(&mut store, START);
    let found: Vec<_> = points
        .iter()
        .map(|point| (text(&point.labels), point.count, point.errors, point.untrusted))
        .collect();
    assert_eq!(
        found,
        [
            ("http.request.method=_OTHER url.scheme=http".to_owned(), 2, 0, 0),
            (
                "http.request.method=_OTHER error.type=connection_closed url.scheme=http"
                    .to_owned(),
                3,
                3,
                3
            ),
        ]
    );
    assert!(points.iter().all(|point| point.metric == Metric::HttpClientRequestDuration));
}

#[test]
fn what_the_kernel_counted_may_overflow() {
    let mut store = store(Limits { sets_per_metric: 1, ..Limits::default() });
    store.record(&server("api", 200));
    record_lost(&mut store, &LOST_GET, &lost(5));
    let overflow = points(&mut store, START).into_iter().find(|point| point.labels.is_overflow());
    assert_eq!(overflow.map(|point| (point.count, point.errors)), Some((5, 5)));
    assert!(own(&mut store, "vigie.series.overflowed").contains(&("sets_per_metric".into(), 5.0)));
}
