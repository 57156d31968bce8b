//! Reports against recorded ones.

use super::*;
use crate::governor::Level;
use crate::loss::Loss as Lost;
use crate::metrics::{Limits, SelfMetrics, Store};
use crate::protocol::Call;
use crate::span::testing::{START, client, process, server, service, untrusted};
use crate::span::{Process, Span};

fn meta() -> Meta {
    Meta {
        host: "node-1".into(),
        kernel: "6.12.107".into(),
        backend: "syscall".into(),
        started_unix_nano: START,
        duration_s: 10.0,
        service_cpu_s: HashMap::from([(service("api"), 1.2)]),
        losses: losses(1_000, &[]),
        cost: Cost {
            agent_cpu_s: 0.05,
            agent_rss_bytes: 30_000_000,
            probe_s: 0.02,
            probe_ns_per_call: BTreeMap::from([("sys_exit".into(), 120.0)]),
            probe_runs: BTreeMap::from([("sys_exit".into(), 166_667)]),
            map_bytes: 12_500_000,
        },
        ..Meta::default()
    }
}

fn losses(seen: u64, lost: &[(Reason, u64)]) -> Losses {
    let entry = |&(reason, count): &(Reason, u64)| Lost { reason, detail: None, count };
    Losses { seen, losses: lost.iter().map(entry).collect(), ..Losses::default() }
}

fn snapshot(spans: impl IntoIterator<Item = Span>) -> Snapshot {
    let mut store = Store::new(Limits::default(), &[], START);
    spans.into_iter().for_each(|span| store.record(&span));
    store.snapshot(START + 10_000_000_000, SelfMetrics::default())
}

fn with_route(mut span: Span, route: &str, duration_ns: u64) -> Span {
    span.route = Some(route.into());
    span.duration_ns = duration_ns;
    span
}

/// 98 quick and 2 slow, failed calls of one endpoint, a few of another, and calls of both kinds.
fn incident() -> Vec<Span> {
    let python = Arc::new(Process { language: Some("python"), ..(*process("api", 4242)).clone() });
    let mut spans = Vec::new();
    for number in 0..98 {
        spans.push(with_route(server("api", 200), "/users/{id}", 1_000_000 + number * 10_000));
    }
    spans.push(with_route(server("api", 503), "/users/{id}", 900_000_000));
    spans.push(untrusted(server("api", 503)));
    spans.push(with_route(server("api", 404), "/healthz", 50_000));
    for span in &mut spans {
        span.process = Arc::clone(&python);
        span.peer_service = Some(service("web"));
    }
    for status in [200, 200, 502] {
        let mut span = with_route(client("web", status), "/users/{id}", 3_000_000);
        span.peer_service = Some(service("api"));
        spans.push(span);
    }
    let mut span =
        with_route(client("web", 200), "/a/long/path/to/{id}/that/has/no/room/here", 850);
    let Call::Http(call) = &mut span.call else { panic!("no HTTP call") };
    call.host = Some("elsewhere.example".into());
    spans.push(span);
    spans.push(with_route(server("web", 200), "/", 4_000_000));
    spans
}

/// Compares with a recorded text; with `VIGIE_BLESS` set, records it.
fn check(name: &str, text: &str) {
    let path = format!("{}/src/report/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("VIGIE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name} differs");
}

#[test]
fn tables_are_as_recorded() {
    let calm = Report::new(&snapshot([server("api", 200)]), meta());
    check("calm.txt", &table(&calm, 100));
    check("empty.txt", &table(&Report::new(&snapshot([]), meta()), 100));

    let mut lossy = meta();
    lossy.losses = losses(
        1_000,
        &[
            (Reason::RingFull, 12),
            (Reason::UserMemoryUnread, 1),
            (Reason::IovecBound, 0),
            (Reason::SpansShed, 20),
        ],
    );
    lossy.budget.highest = Level::Spans;
    lossy.budget.shed_for = std::time::Duration::from_secs(3);
    lossy.losses.undelivered = 12;
    lossy.connections_mid_stream = 3;
    lossy.exit_code = Some(7);
    let mut incident = Report::new(&snapshot(incident()), lossy);
    incident.dns.push(DnsReport {
        name: "db.local".into(),
        record_type: "A".into(),
        count: 3,
        errors: 0,
        p50_s: Some(0.0004),
        max_s: Some(0.001),
        queries: 3,
        search_attempts: 0,
        stub: false,
    });
    incident.dns_searches.push(DnsSearchReport {
        name: "db".into(),
        record_type: "A".into(),
        found: Some("db.svc.cluster.local".into()),
        count: 3,
        attempts: 6,
        p50_s: Some(0.0008),
        max_s: Some(0.002),
    });
    incident.slo.push(SloReport {
        name: "api-latency".into(),
        service: "api".into(),
        ok: false,
        verdict: SloVerdict::Broken,
        detail: "1.98 % of 101 bad, 0.1 % allowed (burn rate 19.801); slow 2".into(),
        objective: 0.999,
        total: 101,
        bad: 2,
        unobserved: 0,
        sli: Some(0.980_198_02),
        burn: Some(19.801_980_198),
    });
    for width in [80, 100, 160] {
        let table = table(&incident, width);
        assert!(table.lines().all(|line| line.chars().count() <= width), "{table}");
        check(&format!("incident-{width}.txt"), &table);
    }
}

#[test]
fn probes_that_could_not_be_measured_have_no_figure() {
    let mut meta = meta();
    meta.cost.probe_s = 0.0;
    meta.cost.probe_ns_per_call.clear();
    let text = table(&Report::new(&snapshot([]), meta), 100);
    assert!(text.contains("30.0 MB memory; probes not measured\n"), "{text}");
}

#[test]
fn json_has_the_agreed_shape() {
    let report = Report::new(&snapshot(incident()), meta());
    check("incident.json", &format!("{}\n", serde_json::to_string_pretty(&report).unwrap()));
}

#[test]
fn many_endpoints_are_summed_up() {
    let spans = (0..30).map(|number| with_route(server("api", 500), &format!("/{number}"), 1));
    let text = table(&Report::new(&snapshot(spans), meta()), 100);
    let more = text.lines().find(|line| line.starts_with("  … 10 more"));
    let figures: Vec<&str> = more.unwrap().split_whitespace().skip(3).collect();
    assert_eq!(figures, ["10", "10", "(100%)"]);
    assert_eq!(text.lines().filter(|line| line.contains("GET /")).count(), 20);
}
