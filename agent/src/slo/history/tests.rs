//! From counts of the store to rows, bytes and suggestions.

use std::sync::Arc;

use vigie_slo::file::{Source, load};
use vigie_slo::select::Direction;

use super::*;
use crate::metrics::snapshot::{HttpLabels, RpcLabels};
use crate::metrics::{Limits, Store};
use crate::span::http::ErrorType;
use crate::span::rpc::GrpcStatus;
use crate::span::testing::{START, client, server};
use crate::span::{Service, SpanKind};

/// A whole ten minutes.
const T: i64 = 1_795_000_200;

fn labels(status: u16, route: &str) -> Arc<Labels> {
    Arc::new(Labels::Http(HttpLabels {
        kind: SpanKind::Server,
        protocol: "http/1.1",
        route: Some(route.into()),
        method: "GET",
        status: Some(status),
        error: (status >= 500).then_some(ErrorType::Status(status)),
        error_text: None,
        scheme: "http",
        server_address: None,
        server_port: None,
    }))
}

/// A series that has counted so many calls of 20 ms.
fn series(labels: &Arc<Labels>, count: u64) -> Counts {
    let mut buckets = [0; BUCKETS];
    buckets[2] = count;
    let service = Arc::new(Service { name: "api".into(), namespace: "shop".into() });
    let errors =
        if labels.status().is_some_and(|status| status.starts_with('5')) { count } else { 0 };
    Counts { service, labels: Arc::clone(labels), peer: None, count, errors, buckets }
}

/// So many minutes of a busy endpoint with a failure each, from `T` on.
fn observed(minutes: i64) -> History {
    let (good, bad) = (labels(200, "/a"), labels(503, "/a"));
    let mut history = History::new(T);
    for minute in 1..=minutes.unsigned_abs() {
        let counts = [series(&good, minute * 1_000), series(&bad, minute)];
        history.observe(&counts, T + minute.cast_signed() * 60 + 3);
    }
    history
}

fn all_rows(history: &History) -> (Vec<Row>, Vec<Row>) {
    let track = history.tracks.values().next().unwrap();
    (track.fine.since(i64::MIN).collect(), track.coarse.since(i64::MIN).collect())
}

#[test]
fn minutes_are_differences() {
    let mut history = observed(25);
    let (fine, coarse) = all_rows(&history);
    assert_eq!((fine.len(), coarse.len()), (25, 2));
    assert!(fine.iter().all(|row| (row.total, row.errors, row.buckets[2]) == (1_001, 1, 1_001)));
    assert_eq!(fine[0].t, T + 60);
    assert_eq!((coarse[0].t, coarse[0].total, coarse[1].errors), (T + 600, 10_010, 10));
    // The same minute again, and a clock that was set back: nothing, and nothing is lost.
    let good = labels(200, "/a");
    assert!(!history.is_due(T + 25 * 60 + 59));
    history.observe(&[series(&good, 7)], T + 25 * 60 + 59);
    history.observe(&[series(&good, 8)], T - 9_000);
    history.observe(&[series(&good, 9)], T + 26 * 60);
    assert_eq!(all_rows(&history).0[25].total, 9);
    // One that expired and came back has counted anew.
    let again = labels(200, "/a");
    history.observe(&[series(&again, 4)], T + 27 * 60);
    assert_eq!(all_rows(&history).0[26].total, 4);
    assert_eq!(history.latest.len(), 1);
}

#[test]
fn old_rows_go() {
    let mut history = observed(3 * 1_440);
    let (fine, coarse) = all_rows(&history);
    assert!((1_440..=1_500).contains(&fine.len()), "{}", fine.len());
    assert_eq!(coarse.len(), 3 * 144 - 1);
    let (steps, fine_from) = history.steps.all();
    assert_eq!(steps.iter().map(|step| step.length_s).sum::<u64>(), 3 * 86_400);
    assert!(steps.windows(2).all(|pair| pair[0].t < pair[1].t));
    assert!(steps.iter().all(|step| (step.length_s == 60) == (step.t > fine_from)));
    let suggested = history.suggest(&Options::default()).unwrap();
    assert_eq!((suggested.slos[0].total, suggested.slos[0].bad), (4_324_320, 4_320));
    // Nothing for 20 days.
    history.observe(&[], T + 23 * 86_400);
    assert!(history.is_empty());
    assert_eq!(history.steps.all().0.len(), 1);
}

#[test]
fn a_pause_was_not_observed() {
    let mut history = observed(90);
    let good = labels(200, "/a");
    history.observe(&[series(&good, 5)], T + 90 * 60 + 240);
    history.observe(&[series(&good, 6)], T + 90 * 60 + 7_200);
    let (steps, _) = history.steps.all();
    let lengths: Vec<u64> = steps.iter().rev().take(3).map(|step| step.length_s).collect();
    assert_eq!(lengths, [60, 240, 60]);
}

#[test]
fn bytes_and_back() {
    let history = observed(2_000);
    let blobs = history.encode(MAX_BLOB_BYTES);
    assert_eq!(blobs.len(), 1);
    let now = T + 2_000 * 60 + 30;
    let (mut again, errors) = History::decode(blobs.iter().map(Vec::as_slice), now);
    assert_eq!(errors, []);
    assert_eq!(again.encode(MAX_BLOB_BYTES), blobs);
    assert_eq!(all_rows(&again), all_rows(&history));
    // It goes on, the ten minutes that were open too.
    let good = labels(200, "/a");
    for minute in 1..=10_i64 {
        again.observe(&[series(&good, minute.unsigned_abs() * 100)], now + minute * 60);
    }
    let (fine, coarse) = all_rows(&again);
    assert_eq!(fine.last().unwrap().total, 100);
    assert_eq!((coarse.last().unwrap().t, coarse.last().unwrap().total), (T + 2_000 * 60, 10_010));
    // A file is what it was.
    let past = History::of_file(&blobs[0]).unwrap();
    assert_eq!((past.encode(MAX_BLOB_BYTES), past.now), (blobs.clone(), T + 2_000 * 60));
    // In the past of what was written, it is not there yet.
    let (early, _) = History::decode(blobs.iter().map(Vec::as_slice), T);
    assert!(early.is_empty());
}

#[test]
fn blobs_are_small_and_stand_alone() {
    let mut history = History::new(T);
    let all: Vec<Arc<Labels>> = (0..150).map(|n| labels(200, &format!("/route/{n}"))).collect();
    for minute in 1..=300_u64 {
        let counts: Vec<Counts> =
            all.iter().map(|labels| series(labels, minute * minute * 17)).collect();
        history.observe(&counts, T + minute.cast_signed() * 60);
    }
    let blobs = history.encode(100_000);
    assert!(blobs.len() > 3 && blobs.iter().all(|blob| blob.len() <= 100_000));
    let now = T + 301 * 60;
    let (again, errors) = History::decode(blobs.iter().rev().map(Vec::as_slice), now);
    assert_eq!((again.len(), errors.len()), (150, 0));
    assert_eq!(again.encode(100_000), blobs);
    // Without one of them, the others are read; twice the same is one.
    let some = [b"strange".as_slice(), &blobs[1], &blobs[1], &blobs[0][..40]];
    let (part, errors) = History::decode(some, now);
    assert_eq!(errors, [(0, BlobError::Foreign), (3, BlobError::Damaged)]);
    assert!((1..150).contains(&part.len()));
    let mut later = blobs[0].clone();
    later[8] = 9;
    assert_eq!(History::decode([later.as_slice()], now).1, [(0, BlobError::Version(9))]);
}

#[test]
fn hostile_bytes_do_no_harm() {
    let blob = observed(200).encode(MAX_BLOB_BYTES).remove(0);
    let now = T + 200 * 60;
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..3_000 {
        let mut bytes = blob.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(9..bytes.len());
            match rng.u8(0..4) {
                0 => bytes.truncate(at.max(12)),
                1 => bytes[at] = 0xff,
                _ => bytes[at] = rng.u8(..),
            }
        }
        let _ = History::of_file(&bytes).map(|history| history.suggest(&Options::default()));
        let (mut history, _) = History::decode([bytes.as_slice()], now);
        history.observe(&[series(&labels(200, "/a"), 1)], now + 60);
        let _ = history.suggest(&Options { min_span_s: 0, routes: 2 });
    }
}

#[test]
fn the_least_active_go() {
    let mut history = History::new(T);
    let all: Vec<Arc<Labels>> = (0..300).map(|n| labels(200, &format!("/{n}"))).collect();
    for minute in 1..=3_u64 {
        let counts = all.iter().zip(1..).map(|(labels, n)| series(labels, minute * n));
        history.observe(&counts.collect::<Vec<_>>(), T + minute.cast_signed() * 60);
    }
    assert_eq!(history.len(), MAX_ENDPOINTS);
    assert!(history.dropped() >= 100);
    let routes = history.tracks.keys().filter_map(|endpoint| endpoint.route.as_deref());
    let least = routes.map(|route| route[1..].parse::<u32>().unwrap()).min();
    assert_eq!(least, Some(100));
}

#[test]
fn memory_is_bounded() {
    let mut history = History::new(T);
    let all: Vec<Arc<Labels>> = (0..200).map(|n| labels(200, &format!("/{n}"))).collect();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut sums = vec![series(&all[0], 0); 200];
    for (sum, labels) in sums.iter_mut().zip(&all) {
        sum.labels = Arc::clone(labels);
    }
    let mut most = 0;
    for minute in 1..=700 {
        for (index, sum) in sums.iter_mut().enumerate() {
            for bucket in &mut sum.buckets {
                let more = rng.u64(1..200 * (1 + index as u64));
                *bucket += more;
                sum.count += more;
            }
        }
        history.observe(&sums, T + minute * 60);
        most = most.max(history.row_bytes());
    }
    assert!(most <= MAX_ROW_BYTES, "{most}");
    assert!(history.dropped() > 0, "all 15 buckets of 200 endpoints: {most} bytes");
    let blobs = history.encode(MAX_BLOB_BYTES);
    assert!(blobs.iter().all(|blob| blob.len() <= MAX_BLOB_BYTES));
    assert!(blobs.len() <= 8);
}

/// What the documentation says of memory.
#[test]
fn sizes_that_are_told() {
    assert!(size_of::<Counts>() <= 168, "{}", size_of::<Counts>());
    // 10,000 series in a table of 16,384 places.
    assert!((size_of::<(usize, Latest)>() + 1) * 16_384 <= 1_500_000);
}

#[test]
fn from_the_store() {
    let mut store = Store::new(Limits::default(), &[std::time::Duration::from_millis(300)], START);
    let mut history = History::new(T);
    for status in [200, 200, 404, 503] {
        store.record(&server("api", status));
        store.record(&client("web", status));
    }
    history.observe(&store.counts(), T + 60);
    store.record(&client("web", 200));
    history.observe(&store.counts(), T + 120);
    let mut rows: Vec<_> = history.tracks.iter().collect();
    rows.sort_by_key(|(endpoint, _)| *endpoint);
    let [(api, api_rows), (web, web_rows)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((api.direction, api.peer.as_deref()), (Direction::Server, None));
    assert_eq!(api.route.as_deref(), Some("/users/{id}"));
    assert_eq!((api.protocol.as_str(), api.method.as_deref()), ("http", Some("GET")));
    assert_eq!(web.direction, Direction::Client);
    assert!(web.peer.is_some());
    let rows = |track: &Track| -> Vec<_> {
        let rows = track.fine.since(i64::MIN);
        rows.map(|row| (row.total, row.errors, row.buckets.iter().sum::<u64>())).collect()
    };
    assert_eq!(rows(api_rows), [(4, 1, 4)]);
    // A 404 is no failure of whom the client calls.
    assert_eq!(rows(web_rows), [(4, 1, 4), (1, 0, 1)]);
}

#[test]
fn what_is_bad_by_default() {
    let row = Row { total: 5, errors: 2, ..Row::default() };
    let rpc = |code: Option<u32>| {
        Labels::Rpc(RpcLabels {
            kind: SpanKind::Server,
            system: "grpc",
            method: None,
            status: code.map(GrpcStatus::from_code),
            server_address: None,
            server_port: None,
        })
    };
    for (labels, bad) in [
        (labels(404, "/").as_ref().clone(), 0),
        (labels(500, "/").as_ref().clone(), 5),
        (rpc(Some(5)), 0),
        (rpc(Some(14)), 5),
        (rpc(None), 2),
        (Labels::Overflow { kind: SpanKind::Client, protocol: "redis" }, 2),
    ] {
        assert_eq!(endpoint::bad(&labels, &row), bad, "{labels:?}");
    }
}

#[test]
fn answers() {
    let options = Options::default();
    let error = observed(20).answer(&options, Form::Text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "observed for 20 min of the 1 h that suggestions need: 40 min more are missing"
    );
    let history = observed(90);
    let text = history.answer(&options, Form::Text).unwrap();
    let loaded = load(&[Source { name: "slo.yaml".to_owned(), text }]).unwrap();
    assert_eq!(loaded.slos.len(), 2);
    let json = history.answer(&options, Form::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let slo = &json["slos"][0];
    assert_eq!((&slo["service"], &slo["namespace"]), (&"api".into(), &"shop".into()));
    assert_eq!((&slo["objective"], &slo["bad"]), (&0.995.into(), &90.into()));
    assert_eq!(slo["alerts"]["pages_in_30d"], 0.0);
    assert_eq!(json["slos"][1]["threshold_ms"], 25);
    assert_eq!(json["observed_s"], 5_400);
}

/// Seven hours of a shop: a busy route with an outage of three minutes, a slow one, and one that is hardly
/// used.
fn shop() -> History {
    let [checkout, failed, report, admin] =
        [(200, "/checkout"), (503, "/checkout"), (200, "/report"), (200, "/admin")]
            .map(|(status, route)| labels(status, route));
    let mut sums = [&checkout, &failed, &report, &admin].map(|labels| series(labels, 0));
    sums[3].service = Arc::new(Service { name: "back-office".into(), namespace: "".into() });
    let mut history = History::new(T);
    for minute in 1..=420 {
        let outage = (200..203).contains(&minute);
        let calls: [&[(usize, u64)]; 4] = [
            if outage { &[] } else { &[(1, 250), (2, 300), (6, 50)] },
            if outage { &[(0, 600)] } else { &[] },
            &[(9, 20), (10, 10)],
            if minute % 2 == 0 { &[(0, 1)] } else { &[] },
        ];
        for (sum, calls) in sums.iter_mut().zip(calls) {
            for (bucket, count) in calls {
                sum.buckets[*bucket] += count;
                sum.count += count;
                sum.errors +=
                    if sum.labels.status().as_deref() == Some("503") { *count } else { 0 };
            }
        }
        history.observe(&sums, T + minute * 60);
    }
    history
}

/// What end-to-end tests and docs/slo.md use is this.
#[test]
fn the_fixture_is_the_shop() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/history.bin");
    let blobs = shop().encode(MAX_BLOB_BYTES);
    assert_eq!(blobs.len(), 1);
    if std::env::var_os("VIGIE_WRITE_FIXTURE").is_some() {
        std::fs::write(&path, &blobs[0]).unwrap();
    }
    let right = std::fs::read(&path).unwrap() == blobs[0];
    assert!(right, "VIGIE_WRITE_FIXTURE=1 writes it anew");
}
