//! The SLOs' figures among vigie's own: `vigie.slo.*`, and the same under the names of Sloth's recording
//! rules, which many dashboards read.

use vigie_slo::model::Slo;
use vigie_slo::rules;

use super::live::Objectives;
use super::status::{SloStatus, number};
use super::telling::Telling;
use crate::discover::host::Clock;
use crate::metrics::own::{Number, OwnKind, OwnMetric, OwnPoint, Recorded, SelfMetrics};

/// Adds them.
pub fn own(slos: &Objectives, own: &mut SelfMetrics) {
    for (slo, totals) in slos.totals() {
        let counts = totals.counts;
        let known = counts.good.saturating_add(counts.bad);
        for (metric, value) in [
            (EVENTS, known),
            (BAD_EVENTS, counts.bad),
            (UNOBSERVED_EVENTS, counts.unobserved),
            (LATE_EVENTS, totals.late),
        ] {
            own.set_by(metric, "slo", slo.name.clone(), value);
        }
    }
    if let Some(status) = slos.store_status() {
        state(&status, own);
    }
    let status = slos.status(&Clock::read(), Clock::monotonic_now());
    for (status, (slo, _)) in status.slos.iter().zip(slos.totals()) {
        figures(status, own);
        if slo.name == status.name {
            sloth(&slo, status, own);
        }
    }
}

/// Sloth's names and labels, as `vigie slo rules` has them.
fn sloth(slo: &Slo, status: &SloStatus, own: &mut SelfMetrics) {
    let labels = [
        ("sloth_id", rules::id(slo)),
        ("sloth_service", slo.service.clone()),
        ("sloth_slo", slo.name.clone()),
    ];
    let budget = number(slo.error_budget()).unwrap_or_default();
    let mut record = |name: &str, window: Option<&str>, value: f64| {
        let window = window.map(|window| ("sloth_window", window.to_owned()));
        let labels = labels.iter().cloned().chain(window).collect();
        own.record(Recorded { name: name.to_owned(), labels, value });
    };
    for (window, burn) in &status.burn {
        if let Some(burn) = burn {
            let name = format!("slo:sli_error:ratio_rate{window}");
            record(&name, Some(window), burn * budget);
        }
    }
    record("slo:objective:ratio", None, status.objective);
    record("slo:error_budget:ratio", None, budget);
    record("slo:time_period:days", None, slo.window.nominal_s() as f64 / 86_400.0);
    let shortest = slo.windows_s().first().copied().map(vigie_slo::duration::short);
    if let Some(Some(burn)) = shortest.and_then(|window| status.burn.get(&window)) {
        record("slo:current_burn_rate:ratio", None, *burn);
    }
    record("slo:period_burn_rate:ratio", None, 1.0 - status.budget_remaining);
    record("slo:period_error_budget_remaining:ratio", None, status.budget_remaining);
    record("sloth_slo_info", None, 1.0);
}

/// Adds what has become of alerts, per receiver.
pub fn alerts(telling: &Telling, own: &mut SelfMetrics) {
    let (figures, counters) = telling.figures();
    for one in &figures {
        let mut point = |metric, reason: Option<&'static str>, value: u64| {
            let mut attributes = vec![
                ("receiver", one.receiver.clone().into()),
                ("address", one.address.clone().into()),
            ];
            attributes.extend(reason.map(|reason| ("reason", reason.into())));
            own.push(OwnPoint { metric, attributes, value: value.into() });
        };
        point(ALERTS_SENT, None, one.sent);
        point(ALERTS_RETRIED, None, one.retried);
        point(ALERTS_QUEUED, None, one.queued);
        for (failure, count) in one.failed {
            point(ALERTS_FAILED, Some(failure.name()), count);
        }
        for (reason, count) in one.dropped {
            point(ALERTS_DROPPED, Some(reason.name()), count);
        }
    }
    for (reason, count) in [
        ("overflowed", counters.overflowed),
        ("receiver_gone", counters.receiver_gone),
        ("forgotten", counters.forgotten),
        ("unknown_target", counters.unknown_targets),
    ] {
        own.set_by(ALERTS_UNTOLD, "reason", reason, count);
    }
}

/// Adds how the keeping of state goes.
fn state(status: &vigie_slo_store::Status, own: &mut SelfMetrics) {
    own.set(STATE_TROUBLES, status.troubles.len() as u64);
    own.set(STATE_WRITTEN, status.bytes_written);
    own.set(STATE_DROPPED, status.records_dropped);
    own.set(STATE_ASIDE, status.put_aside);
}

fn figures(status: &SloStatus, own: &mut SelfMetrics) {
    let mut gauge = |metric, value: f64| own.set_by(metric, "slo", status.name.clone(), value);
    gauge(OBJECTIVE, status.objective);
    gauge(BUDGET, status.budget_remaining);
    gauge(COVERAGE, status.coverage);
    gauge(NO_DATA, f64::from(u8::from(status.no_data)));
    for (window, burn) in &status.burn {
        let Some(burn) = burn else { continue };
        own.push(with(status, BURN, "window", window.clone(), (*burn).into()));
    }
    for (alert, severity) in &status.defined {
        own.push(OwnPoint {
            metric: FIRING,
            attributes: vec![
                ("slo", status.name.clone().into()),
                ("alert", alert.clone().into()),
                ("severity", severity.clone().into()),
            ],
            value: u64::from(status.firing.contains(alert)).into(),
        });
    }
    own.push(with(status, ZONE, "zone", status.zone.clone(), 1_u64.into()));
}

fn with(
    status: &SloStatus,
    metric: OwnMetric,
    key: &'static str,
    attribute: String,
    value: Number,
) -> OwnPoint {
    let attributes = vec![("slo", status.name.clone().into()), (key, attribute.into())];
    OwnPoint { metric, attributes, value }
}

const EVENTS: OwnMetric = OwnMetric {
    name: "vigie.slo.events",
    unit: "{event}",
    description: "Events that an SLO counts, good and bad.",
    kind: OwnKind::Counter,
};
const BAD_EVENTS: OwnMetric = OwnMetric {
    name: "vigie.slo.bad_events",
    unit: "{event}",
    description: "Bad events of an SLO.",
    kind: OwnKind::Counter,
};
const UNOBSERVED_EVENTS: OwnMetric = OwnMetric {
    name: "vigie.slo.unobserved_events",
    unit: "{event}",
    description: "Events of an SLO of which it is not known whether they were good: on neither side.",
    kind: OwnKind::Counter,
};
const LATE_EVENTS: OwnMetric = OwnMetric {
    name: "vigie.slo.late_events",
    unit: "{event}",
    description: "Events of an SLO that came after their tick and were counted in the next one.",
    kind: OwnKind::Counter,
};
const FIRING: OwnMetric = OwnMetric {
    name: "vigie.slo.alert.firing",
    unit: "{alert}",
    description: "1 while an alert of an SLO fires, else 0.",
    kind: OwnKind::Gauge,
};
const OBJECTIVE: OwnMetric = OwnMetric {
    name: "vigie.slo.objective",
    unit: "1",
    description: "Share of good events that an SLO aims at.",
    kind: OwnKind::Gauge,
};
const BUDGET: OwnMetric = OwnMetric {
    name: "vigie.slo.budget.remaining",
    unit: "1",
    description: "Share of an SLO's error budget that is left; below 0 when more is spent than there was.",
    kind: OwnKind::Gauge,
};
const COVERAGE: OwnMetric = OwnMetric {
    name: "vigie.slo.coverage",
    unit: "1",
    description: "Share of an SLO's time that was observed.",
    kind: OwnKind::Gauge,
};
const NO_DATA: OwnMetric = OwnMetric {
    name: "vigie.slo.no_data",
    unit: "{alert}",
    description: "1 while nothing is observed for an SLO for too long, else 0.",
    kind: OwnKind::Gauge,
};
const BURN: OwnMetric = OwnMetric {
    name: "vigie.slo.burn_rate",
    unit: "{rate}",
    description: "Burn rate of an SLO by window; absent without an event.",
    kind: OwnKind::Gauge,
};
const ZONE: OwnMetric = OwnMetric {
    name: "vigie.slo.zone",
    unit: "{zone}",
    description: "1 for the zone of the policy that an SLO's budget is in.",
    kind: OwnKind::Gauge,
};
const ALERTS_SENT: OwnMetric = OwnMetric {
    name: "vigie.alerts.sent",
    unit: "{alert}",
    description: "Messages about alerts that a receiver has taken.",
    kind: OwnKind::Counter,
};
const ALERTS_RETRIED: OwnMetric = OwnMetric {
    name: "vigie.alerts.retried",
    unit: "{request}",
    description: "Tries after one that failed.",
    kind: OwnKind::Counter,
};
const ALERTS_QUEUED: OwnMetric = OwnMetric {
    name: "vigie.alerts.queued",
    unit: "{alert}",
    description: "Messages about alerts that wait.",
    kind: OwnKind::Gauge,
};
const ALERTS_FAILED: OwnMetric = OwnMetric {
    name: "vigie.alerts.failed",
    unit: "{request}",
    description: "Tries that failed, by reason.",
    kind: OwnKind::Counter,
};
const ALERTS_DROPPED: OwnMetric = OwnMetric {
    name: "vigie.alerts.dropped",
    unit: "{alert}",
    description: "Messages about alerts that were not sent, by reason.",
    kind: OwnKind::Counter,
};
const ALERTS_UNTOLD: OwnMetric = OwnMetric {
    name: "vigie.alerts.untold",
    unit: "{alert}",
    description: "Alerts that found no way to a receiver, by reason.",
    kind: OwnKind::Counter,
};
const STATE_TROUBLES: OwnMetric = OwnMetric {
    name: "vigie.slo.state.troubles",
    unit: "{trouble}",
    description: "Kinds of state of SLOs that cannot be written now; evaluation goes on.",
    kind: OwnKind::Gauge,
};
const STATE_WRITTEN: OwnMetric = OwnMetric {
    name: "vigie.slo.state.written",
    unit: "By",
    description: "State of SLOs written to files.",
    kind: OwnKind::Counter,
};
const STATE_DROPPED: OwnMetric = OwnMetric {
    name: "vigie.slo.state.dropped",
    unit: "{record}",
    description: "Ticks of SLOs that could not be written to the journal.",
    kind: OwnKind::Counter,
};
const STATE_ASIDE: OwnMetric = OwnMetric {
    name: "vigie.slo.state.put_aside",
    unit: "{file}",
    description: "Damaged files of state that were put aside.",
    kind: OwnKind::Counter,
};
