//! An SLO as the evaluator sees it: what both forms of the file compile into.

use std::collections::BTreeMap;

use crate::alert::Alert;
use crate::ratio::Ratio;
use crate::select::Indicator;
use crate::silence::Silence;
use crate::window::Window;
use crate::zone::Zones;

/// How the budget is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeting {
    /// Events.
    Occurrences,
    /// Slices of time, each good or bad.
    Slices(Slices),
    /// Slices of time, each by its share of good events.
    RatioSlices(Slices),
}

/// Slices of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Length in seconds; slices begin at multiples of it since 1970.
    pub length_s: u64,
    /// A slice is good if at least this share of its events is. Not used by ratio time slices.
    pub target: Ratio,
    /// What a slice without an event is.
    pub empty: Empty,
}

/// What a slice without an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Empty {
    /// Good.
    Good,
    /// Not counted.
    #[default]
    Exclude,
    /// Bad.
    Bad,
}

/// A service level objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Unique among the SLOs that are loaded.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The service it is about.
    pub service: String,
    /// Labels that go with its alerts and rules.
    pub labels: BTreeMap<String, String>,
    /// What is counted.
    pub indicator: Indicator,
    /// Share of good events that is aimed at, between 0 and 1.
    pub target: Ratio,
    /// The period.
    pub window: Window,
    /// How the budget is counted.
    pub budgeting: Budgeting,
    /// Alerts on burn rates.
    pub alerts: Vec<Alert>,
    /// After so many seconds without anything observed the no-data alert fires. None: never.
    pub no_data_after_s: Option<u64>,
    /// Policy on the budget.
    pub zones: Zones,
    /// The gate refuses to judge below this coverage.
    pub min_coverage: Ratio,
    /// Maintenance windows, in which alerts are not told.
    pub silences: Vec<Silence>,
    /// What to do when it alerts.
    pub runbook_url: Option<String>,
}

impl Slo {
    /// Share of bad events that is allowed: `1 − target`.
    pub fn error_budget(&self) -> Ratio {
        self.target.complement().1.reduced()
    }

    /// Lengths in seconds of all windows that burn is shown and compared for, shortest first.
    pub fn windows_s(&self) -> Vec<u64> {
        let conditions = self.alerts.iter().flat_map(|alert| &alert.conditions);
        let mut windows: Vec<u64> = conditions.map(|condition| condition.window_s).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

/// Default of [`Slo::no_data_after_s`].
pub const NO_DATA_AFTER_S: u64 = 600;
/// Default of [`Slo::min_coverage`]: nine tenths.
pub const MIN_COVERAGE: Ratio = Ratio::percent(90);
