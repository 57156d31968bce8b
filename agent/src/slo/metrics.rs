//! The SLOs' figures among vigie's own: `vigie.slo.*`.

use crate::discover::host::Clock;
use crate::metrics::own::{Number, OwnKind, OwnMetric, OwnPoint, SelfMetrics};

use super::live::Objectives;
use super::status::SloStatus;

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
    let status = slos.status(&Clock::read(), Clock::monotonic_now());
    for status in &status.slos {
        figures(status, own);
    }
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
