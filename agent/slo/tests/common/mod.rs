//! What the tests share: an SLO, series, and their outcomes in the words of the command.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::sync::Arc;

use vigie_slo::alert::DEFAULT_PAIRS;
use vigie_slo::figures::{Change, Figures, Mode, Transition};
use vigie_slo::model::{Budgeting, MIN_COVERAGE, NO_DATA_AFTER_S, Slo};
use vigie_slo::select::{Criteria, ErrorClasses, Indicator, Selector, Verdict};
use vigie_slo::series::{self, Cut, Row};
use vigie_slo::window::Window;
use vigie_slo::zone::Zones;

/// When, which alert, on or off.
pub type Case<'a> = (i64, &'a str, &'static str);

/// 99.9 % over 30 days, the four default alerts.
pub fn slo() -> Slo {
    let window = Window::Rolling(30 * 86_400);
    let bad = Criteria { errors: Some(ErrorClasses::default()), ..Criteria::default() };
    Slo {
        name: "api-availability".to_owned(),
        display_name: None,
        description: None,
        service: "api".to_owned(),
        labels: std::collections::BTreeMap::new(),
        indicator: Indicator {
            name: None,
            total: Selector::default(),
            exclude: Vec::new(),
            verdict: Verdict::Bad(vec![bad]),
            hung_after_ms: None,
        },
        target: "99.9%".parse().unwrap(),
        alerts: DEFAULT_PAIRS.iter().map(|pair| pair.alert(window.nominal_s())).collect(),
        window,
        budgeting: Budgeting::Occurrences,
        no_data_after_s: Some(NO_DATA_AFTER_S),
        zones: Zones::default(),
        min_coverage: MIN_COVERAGE,
        silences: Vec::new(),
        runbook_url: None,
    }
}

/// Rows that are being written.
pub struct Series {
    pub now: i64,
    step: i64,
    pub rows: Vec<Row>,
}

impl Series {
    pub fn new(from: i64, step: i64) -> Self {
        Self { now: from, step, rows: Vec::new() }
    }

    pub fn push(&mut self, good: u64, bad: u64) -> &mut Self {
        self.now += self.step;
        self.rows.push(Row { t: self.now, good, bad, unobserved: 0 });
        self
    }

    /// The same counts in each tick until `t`.
    pub fn until(&mut self, t: i64, good: u64, bad: u64) -> &mut Self {
        while self.now < t {
            self.push(good, bad);
        }
        self
    }

    /// Nothing observed until `t`.
    pub fn gap(&mut self, t: i64) -> &mut Self {
        self.now = t;
        self
    }
}

/// What came of a series.
pub struct Outcome<'a> {
    pub alerts: Vec<Case<'a>>,
    pub transitions: Vec<Transition>,
    pub figures: Figures,
}

/// Runs an SLO over a series, cut exactly and as a node cuts.
pub fn run<'a>(slo: &'a Slo, rows: &[Row], mode: Mode) -> [Outcome<'a>; 2] {
    let shared = Arc::new(slo.clone());
    [Cut::Exact, Cut::Node].map(|cut| {
        let outcome = series::run(&shared, rows, mode, cut).unwrap();
        let word = |on: bool| if on { "on" } else { "off" };
        let alerts = outcome.transitions.iter().filter_map(|transition| match transition.change {
            Change::Alert { index, on } => {
                Some((transition.t, slo.alerts[index].name.as_str(), word(on)))
            }
            _ => None,
        });
        let alerts = alerts.collect();
        Outcome { alerts, transitions: outcome.transitions, figures: outcome.figures }
    })
}
