//! Whole pages against recorded ones, and against Prometheus' own checker.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::metrics::own::OwnMetric;
use crate::metrics::{Limits, SelfMetrics, Store};
use crate::span::testing::{START, client, process, server, service, untrusted};
use crate::span::{Process, Span};

const GAUGE: OwnMetric = OwnMetric {
    name: "vigie.completeness",
    unit: "1",
    description: "Share of what was seen in all that is known to have happened.",
    kind: OwnKind::Gauge,
};

fn snapshot() -> Snapshot {
    let mut store = Store::new(Limits::default(), &[], START);
    let mut served = server("a\"pi", 503);
    served.process = Arc::new(Process {
        language: Some("python"),
        container: Some("c0ffee".into()),
        resource: vec![
            ("deployment.environment".into(), "test\\1".into()),
            ("service.name".into(), "again".into()),
        ],
        ..(*process("a\"pi", 7)).clone()
    });
    store.record(&served);
    store.record(&untrusted(Span { process: Arc::clone(&served.process), ..server("a\"pi", 200) }));
    let mut called = client("web", 200);
    called.peer_service = Some(service("a\"pi"));
    store.record(&called);
    let mut own = SelfMetrics::default();
    own.set(GAUGE, 0.5);
    store.snapshot(START + 1_000_000_000, own)
}

/// Compares with a recorded page; with `VIGIE_BLESS` set, records it.
fn check(name: &str, page: &str) {
    let path = format!("{}/src/export/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("VIGIE_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    assert_eq!(page, recorded, "{name} differs");
}

#[test]
fn pages_are_as_recorded() {
    let snapshot = snapshot();
    check("prometheus.txt", &render(&snapshot, Format::Text));
    check("openmetrics.txt", &render(&snapshot, Format::OpenMetrics));
}

#[test]
fn an_empty_store_gives_its_own_figures_only() {
    let mut store = Store::new(Limits::default(), &[], START);
    let page = render(&store.snapshot(START, SelfMetrics::default()), Format::Text);
    assert!(page.starts_with("# HELP vigie_"), "{page}");
}

#[test]
fn promtool_finds_nothing_to_say() {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped promtool_finds_nothing_to_say: promtool cannot be run: {error}");
            return;
        }
    };
    let page = render(&snapshot(), Format::Text);
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
