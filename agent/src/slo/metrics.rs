//! The SLOs' figures among vigie's own: `vigie.slo.*`, and the same under the names of Sloth's recording
//! rules, which many dashboards read.

use vigie_slo::duration::short;
use vigie_slo::figures::Figures;
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo::rules;

use super::live::Objectives;
use super::status::{number, remaining};
use super::telling::Telling;
use crate::metrics::own::{Number, OwnKind, OwnMetric, OwnPoint, Recorded, SelfMetrics};

/// Adds them.
pub fn own(slos: &Objectives, own: &mut SelfMetrics) {
    if let Some(status) = slos.store_status() {
        state(&status, own);
    }
    slos.each(|slo, totals, figures| {
        let counts = totals.counts;
        for (metric, value) in [
            (EVENTS, counts.good.saturating_add(counts.bad)),
            (BAD_EVENTS, counts.bad),
            (UNOBSERVED_EVENTS, counts.unobserved),
            (LATE_EVENTS, totals.late),
        ] {
            own.set_by(metric, "slo", slo.name.clone(), value);
        }
        own.set_by(OBJECTIVE, "slo", slo.name.clone(), real(slo.target));
        if let Some(figures) = figures {
            self::figures(slo, &figures, own);
            sloth(slo, &figures, own);
        }
    });
}

/// Sloth's names and labels, as `vigie slo rules` has them.
fn sloth(slo: &Slo, figures: &Figures, own: &mut SelfMetrics) {
    let labels = [
        ("sloth_id", rules::id(slo)),
        ("sloth_service", slo.service.clone()),
        ("sloth_slo", slo.name.clone()),
    ];
    let budget = slo.error_budget();
    let mut record = |name: &str, window: Option<&str>, value: f64| {
        let window = window.map(|window| ("sloth_window", window.to_owned()));
        let labels = labels.iter().cloned().chain(window).collect();
        own.record(Recorded { name: name.to_owned(), labels, value });
    };
    for (length_s, burn) in &figures.burn {
        let error = burn.and_then(|burn| burn.checked_mul(budget));
        if let Some(error) = error {
            let window = short(*length_s);
            record(&format!("slo:sli_error:ratio_rate{window}"), Some(&window), real(error));
        }
    }
    record("slo:objective:ratio", None, real(slo.target));
    record("slo:error_budget:ratio", None, real(budget));
    record("slo:time_period:days", None, slo.window.nominal_s() as f64 / 86_400.0);
    if let Some((_, Some(burn))) = figures.burn.first() {
        record("slo:current_burn_rate:ratio", None, real(*burn));
    }
    if let Some(spent) = figures.spent {
        record("slo:period_burn_rate:ratio", None, real(spent));
    }
    record("slo:period_error_budget_remaining:ratio", None, remaining(figures));
    record("sloth_slo_info", None, 1.0);
}

fn real(ratio: Ratio) -> f64 {
    number(ratio).unwrap_or_default()
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

fn figures(slo: &Slo, figures: &Figures, own: &mut SelfMetrics) {
    let mut point = |metric, labels: &[(&'static str, &str)], value: Number| {
        let labels = labels.iter().map(|(key, text)| (*key, (*text).to_owned().into()));
        let attributes = [("slo", slo.name.clone().into())].into_iter().chain(labels).collect();
        own.push(OwnPoint { metric, attributes, value });
    };
    point(BUDGET, &[], remaining(figures).into());
    point(COVERAGE, &[], real(figures.coverage).into());
    point(NO_DATA, &[], u64::from(figures.no_data).into());
    for (length_s, burn) in &figures.burn {
        if let Some(burn) = burn {
            point(BURN, &[("window", &short(*length_s))], real(*burn).into());
        }
    }
    for (index, alert) in slo.alerts.iter().enumerate() {
        let labels = [("alert", alert.name.as_str()), ("severity", alert.severity.word())];
        point(FIRING, &labels, u64::from(figures.firing.contains(&index)).into());
    }
    point(ZONE, &[("zone", figures.zone.word())], 1_u64.into());
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
