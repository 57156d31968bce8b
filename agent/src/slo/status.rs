//! What the SLOs have come to, as commands and the control socket tell it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vigie_alert::notice::Share;
use vigie_slo::duration::short;
use vigie_slo::figures::Figures;
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo::window::{Unit, Window};

use super::evidence::Class;
use super::surroundings::{Cause, Started};

/// All SLOs of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of this shape: 1.
    pub version: u32,
    /// Name of the node.
    pub node: String,
    /// When this was said, seconds since 1970.
    pub t: i64,
    /// In the order of their files.
    pub slos: Vec<SloStatus>,
}

/// One SLO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloStatus {
    /// Name.
    pub name: String,
    /// The service that it is about.
    pub service: String,
    /// Share of good events that is aimed at.
    pub objective: f64,
    /// The period: `30d`, `month`.
    pub window: String,
    /// Whether a call was counted since the agent began to look, or before it was restarted.
    pub matched: bool,
    /// Events of the period, in the unit of the budget.
    pub total: u64,
    /// Bad ones of them.
    pub bad: u64,
    /// Events since the agent began of which it is not known what they were.
    pub unobserved: u64,
    /// Share of good events over the period; none without an event.
    pub sli: Option<f64>,
    /// Share of the error budget that is left; below 0 when more is spent than there was.
    pub budget_remaining: f64,
    /// Burn rates by window (`5m`); none without an event.
    pub burn: BTreeMap<String, Option<f64>>,
    /// Zone of the policy: `ship`, `careful`, `freeze`, `exhausted`.
    pub zone: String,
    /// Names of the alerts that fire.
    pub firing: Vec<String>,
    /// The same with details.
    pub alerts: Vec<AlertStatus>,
    /// Whether nothing was observed for long.
    pub no_data: bool,
    /// Share of the time that was observed.
    pub coverage: f64,
    /// Least coverage at which the gate judges.
    pub min_coverage: f64,
    /// Seconds until the budget is spent at the present pace; none: never.
    pub exhausted_in_s: Option<u64>,
    /// What to do when it alerts.
    pub runbook_url: Option<String>,
    /// What is known of the bad calls.
    pub evidence: Option<Findings>,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// Name: `page-quick`.
    pub pair: String,
    /// `page`, `ticket`.
    pub severity: String,
    /// Since when it fires, seconds since 1970.
    pub since: i64,
    /// When the bad calls began, milliseconds since 1970.
    pub onset_ms: i64,
    /// Its conditions.
    pub conditions: Vec<ConditionStatus>,
    /// Bad events of the longest window.
    pub bad: u64,
    /// Events of the longest window.
    pub total: u64,
}

/// One condition of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionStatus {
    /// `5m`.
    pub window: String,
    /// What the burn rate is compared with.
    pub factor: f64,
    /// The burn rate.
    pub burn: Option<f64>,
}

/// What is known of the bad calls of the last minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Traces of the latest.
    pub trace_ids: Vec<String>,
    /// How they failed, the most frequent first.
    pub classes: Vec<Class>,
    /// The edge that may be the cause.
    pub cause: Option<Cause>,
    /// Processes that started when it began.
    pub started: Vec<Started>,
}

impl Findings {
    /// The same as alerts tell it.
    pub fn evidence(&self, service: &str) -> vigie_alert::notice::Evidence {
        let share = |what, part: u64, all: u64| {
            Ratio::new(part.into(), all.into()).map(|share| Share { what, share })
        };
        let classes: u64 = self.classes.iter().map(|class| class.count).sum();
        vigie_alert::notice::Evidence {
            cause: self.cause.as_ref().and_then(|cause| {
                let edge = format!("{service} → {} {}", cause.peer, cause.name);
                share(edge, cause.share_percent, 100)
            }),
            trace_ids: self.trace_ids.clone(),
            error_class: self
                .classes
                .first()
                .and_then(|class| share(class.class.clone(), class.count, classes)),
            changes: self.started.iter().map(Started::text).collect(),
        }
    }
}

/// Digits after the decimal point of figures.
const PLACES: u32 = 9;

/// A ratio as a number for JSON and display; it is compared with nothing.
pub fn number(ratio: Ratio) -> Option<f64> {
    ratio.decimal(PLACES).parse().ok()
}

/// Budget remaining, likewise.
pub fn remaining(figures: &Figures) -> f64 {
    figures.remaining(PLACES).parse().unwrap_or_default()
}

/// The period in a word.
pub fn window(window: &Window) -> String {
    match window {
        Window::Rolling(seconds) => short(*seconds),
        Window::Calendar(calendar) => match calendar.unit {
            Unit::Days(1) => "day",
            Unit::Days(_) => "week",
            Unit::Months(1) => "month",
            Unit::Months(3) => "quarter",
            Unit::Months(_) => "year",
        }
        .to_owned(),
    }
}

impl SloStatus {
    /// One of which nothing is known yet.
    pub fn of(slo: &Slo) -> Self {
        Self {
            name: slo.name.clone(),
            service: slo.service.clone(),
            objective: number(slo.target).unwrap_or_default(),
            window: window(&slo.window),
            matched: false,
            total: 0,
            bad: 0,
            unobserved: 0,
            sli: None,
            budget_remaining: 1.0,
            burn: slo.windows_s().into_iter().map(|length| (short(length), None)).collect(),
            zone: vigie_slo::zone::Zone::Ship.word().to_owned(),
            firing: Vec::new(),
            alerts: Vec::new(),
            no_data: false,
            coverage: 0.0,
            min_coverage: number(slo.min_coverage).unwrap_or_default(),
            exhausted_in_s: None,
            runbook_url: slo.runbook_url.clone(),
            evidence: None,
        }
    }

    /// Sets what the evaluator found.
    pub fn set(&mut self, figures: &Figures) {
        self.total = figures.period.total;
        self.bad = figures.period.bad;
        self.matched |= figures.period.total > 0;
        let bad_share = Ratio::new(figures.period.bad.into(), figures.period.total.into());
        self.sli = bad_share.map(|share| share.complement().1).and_then(number);
        self.budget_remaining = remaining(figures);
        let burn = figures.burn.iter();
        self.burn = burn.map(|(length, rate)| (short(*length), rate.and_then(number))).collect();
        figures.zone.word().clone_into(&mut self.zone);
        self.no_data = figures.no_data;
        self.coverage = number(figures.coverage).unwrap_or_default();
        self.exhausted_in_s = figures.exhausted_in_s;
    }
}
