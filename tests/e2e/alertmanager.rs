//! Alerts of SLOs as Alertmanager itself takes them: grouped, with the true onset, once after a kill, and
//! resolved after repair.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_alert::desk::{Desk, Firing};
use vigie_alert::notice::{Evidence, Notice, Seen, Share};
use vigie_alert::receiver::{Receiver, compile};
use vigie_alert::send::{Policy, Senders};
use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::{Figures, Mode};
use vigie_slo::file::{Loaded, Source, load};
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo::rings::Resolution;
use vigie_tests::alertmanager::{Alertmanager, PROGRAM};
use vigie_tests::http;
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT, until};

const FILE: &str = "
slos:
  - name: checkout
    service: api
    objective: 99.9%
    window: 30d
    availability: true
    runbook_url: https://runbooks.example/checkout
    labels: {app.kubernetes.io/part-of: shop, slo: not-this}
  - name: login
    service: api
    objective: 99.9%
    window: 30d
    availability: true
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: on-call
  annotations:
    vigie.dev/url: URLS
spec:
  target: alertmanager
";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Seconds of outage after which the quick page fires, and a little.
const OUTAGE_S: i64 = 70;

/// The figures after an hour without and [`OUTAGE_S`] of nothing but errors, which end at `now`.
fn figures(slo: &Slo, now: i64) -> Result<(Figures, (u64, u64))> {
    let slo = Arc::new(slo.clone());
    let node = Resolution::node(Evaluator::longest_s(&slo));
    let mut evaluator = Evaluator::new(slo, Mode::Scaled, node);
    let mut changes = Vec::new();
    let mut sums = (0, 0);
    for t in (now - 3_590..=now).step_by(10) {
        let bad = u64::from(t > now - OUTAGE_S) * 1_000;
        sums = (sums.0 + bad, sums.1 + 1_000);
        let tick = Tick { t, length_s: 10, good: 1_000 - bad, bad, unobserved: 0 };
        evaluator.tick(&tick, &mut changes);
    }
    Ok((evaluator.figures().context("ticks")?, sums))
}

fn firing(slo: &Slo, now: i64) -> Result<Firing<'_>> {
    let (figures, sums) = figures(slo, now)?;
    ensure!(figures.firing.first() == Some(&0), "{figures:?}");
    let alert = slo.alerts.first().context("alerts")?;
    let seen = Seen { node: "node-1", starts_at: now - OUTAGE_S, fired_at: now - 10 };
    let share = |what: &str| Some(Share { what: what.to_owned(), share: Ratio::percent(92) });
    let evidence = Evidence {
        cause: share("api → payments POST /charge"),
        trace_ids: vec![TRACE.to_owned()],
        error_class: share("http 503"),
        changes: Vec::new(),
    };
    let notice = Notice::burn(slo, alert, &figures, sums, seen).with(evidence);
    Ok(Firing { slo, alert: Some(alert), notice })
}

fn loaded(urls: &str) -> Result<(Loaded, Vec<Receiver>)> {
    let source = Source { name: "slo.yaml".to_owned(), text: FILE.replace("URLS", urls) };
    let loaded = load(&[source]).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let receivers = compile(&loaded.targets).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    Ok((loaded, receivers))
}

/// Rounded down to a tick.
fn now() -> Result<i64> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(i64::try_from(seconds)? / 10 * 10)
}

fn send(desk: &mut Desk, senders: &Senders, now: i64) -> usize {
    let orders = desk.orders(now);
    senders.hand(&orders);
    orders.len()
}

/// `name=value` of one alert's labels.
fn labels(alert: &Value) -> Vec<String> {
    let all = alert.get("labels").and_then(Value::as_object).into_iter().flatten();
    all.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect()
}

fn alerts(group: &Value) -> &[Value] {
    group.get("alerts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn seconds(text: &str) -> Result<i64> {
    Ok(text.parse::<jiff::Timestamp>().with_context(|| format!("no time: {text}"))?.as_second())
}

#[test]
fn alertmanager_takes_groups_and_resolves_alerts() -> Result<()> {
    if missing("alertmanager", &[Need::Program(PROGRAM)])? {
        return Ok(());
    }
    let mut real = Alertmanager::start(&["alertname", "service"])?;
    // A replica that is down keeps nothing from the other.
    let down = http::free_address()?;
    let (loaded, receivers) = loaded(&format!("http://{down}, {}", real.url()))?;
    let senders = Senders::start(&receivers, Policy::default())?;
    let mut desk = Desk::new(&receivers);
    let start = now()?;
    let firing: Vec<Firing<'_>> =
        loaded.slos.iter().map(|slo| firing(slo, start)).collect::<Result<_>>()?;

    desk.tick(start, &firing);
    let kept = desk.unsaved().context("something to keep")?;
    ensure!(send(&mut desk, &senders, start) == 2);
    let is = |status: &str, count: usize| {
        let status = status.to_owned();
        move |group: &Value| text(group, "/status") == status && alerts(group).len() == count
    };
    let group = real.wait("both alerts in one group", is("firing", 2))?;
    ensure!(text(&group, "/groupLabels/service") == "api", "{group:#?}");
    let checkout = alerts(&group).iter().find(|alert| text(alert, "/labels/slo") == "checkout");
    let checkout = checkout.context("checkout")?;
    ensure!(
        labels(checkout)
            == [
                "alertname=SloBurnRate",
                "app_kubernetes_io_part_of=shop",
                "service=api",
                "severity=page",
                "slo=checkout",
                "sloth_id=api-checkout",
                "sloth_service=api",
                "sloth_severity=page",
                "sloth_slo=checkout",
                "vigie_node=node-1",
                "vigie_pair=page-quick",
                "vigie_scope=node",
            ],
        "{checkout:#?}"
    );
    ensure!(seconds(text(checkout, "/startsAt"))? == start - OUTAGE_S, "{checkout:#?}");
    let summary = text(checkout, "/annotations/summary");
    ensure!(summary == "page: api: 1.9 % of requests failing, 0.1 % allowed", "{summary}");
    let description = text(checkout, "/annotations/description");
    for line in [
        "7000 of 360000 requests failing in 1h",
        TRACE,
        "probable cause: api → payments POST /charge, 92 %",
    ] {
        ensure!(description.contains(line), "{line}: {description}");
    }
    ensure!(text(checkout, "/annotations/runbook_url") == "https://runbooks.example/checkout");

    // Killed and started again: the same alerts, not others.
    drop(senders);
    let senders = Senders::start(&receivers, Policy::default())?;
    let mut desk = Desk::restore(&kept, &receivers)?;
    desk.tick(start + 10, &firing);
    ensure!(send(&mut desk, &senders, start + 10) == 2);
    until("the posts arrive", LIMIT, || {
        Ok(senders.figures().iter().any(|figures| figures.sent == 2))
    })?;
    let active = real.alerts()?;
    ensure!(active.len() == 2, "{active:#?}");
    for alert in &active {
        ensure!(seconds(text(alert, "/startsAt"))? == start - OUTAGE_S, "{alert:#?}");
        ensure!(seconds(text(alert, "/endsAt"))? == start + 10 + 240, "{alert:#?}");
    }

    // Repaired.
    let end = now()?;
    desk.tick(end, &[]);
    ensure!(send(&mut desk, &senders, end) == 2);
    let group = real.wait("both are resolved", is("resolved", 2))?;
    for alert in alerts(&group) {
        ensure!(seconds(text(alert, "/startsAt"))? == start - OUTAGE_S, "{alert:#?}");
        ensure!(seconds(text(alert, "/endsAt"))? == end, "{alert:#?}");
    }
    ensure!(real.alerts()?.is_empty());
    let told = real.told();
    ensure!(told.len() == 2, "one page, and its end: {told:#?}");
    let figures = senders.figures();
    let [lost, reached] = figures.as_slice() else { anyhow::bail!("{figures:?}") };
    ensure!(lost.sent == 0 && lost.queued == 2, "{lost:?}");
    ensure!(reached.sent == 4 && reached.dropped.iter().all(|(_, count)| *count == 0));
    senders.close(Duration::ZERO);
    Ok(())
}
