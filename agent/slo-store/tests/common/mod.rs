//! What the tests share.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vigie_slo::alert::DEFAULT_PAIRS;
use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::{Figures, Mode, Transition};
use vigie_slo::model::{Budgeting, MIN_COVERAGE, NO_DATA_AFTER_S, Slo};
use vigie_slo::select::{Criteria, ErrorClasses, Indicator, Selector, Verdict};
use vigie_slo::window::Window;
use vigie_slo::zone::Zones;
use vigie_slo_store::{Input, Opened, Report, Store};

/// Some time in 2026; a multiple of 10 s.
pub const T0: i64 = 1_795_000_000;

/// 99.9 % over 30 days, the four default alerts.
pub fn slo(name: &str) -> Slo {
    let window = Window::Rolling(30 * 86_400);
    let bad = Criteria { errors: Some(ErrorClasses::default()), ..Criteria::default() };
    Slo {
        name: name.to_owned(),
        display_name: None,
        description: None,
        service: "api".to_owned(),
        labels: std::collections::BTreeMap::new(),
        indicator: Indicator {
            name: None,
            total: Selector { service: vec!["api".to_owned()], ..Selector::default() },
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

pub fn slos(names: &[&str]) -> Vec<Arc<Slo>> {
    names.iter().map(|name| Arc::new(slo(name))).collect()
}

/// An agent that evaluates and keeps.
pub struct Agent {
    pub store: Store,
    pub evaluators: Vec<Evaluator>,
    pub report: Report,
    pub t: i64,
}

impl Agent {
    /// Goes on where the last one ended.
    pub fn start(folder: &Path, slos: &[Arc<Slo>]) -> Self {
        let mut agent = Self::start_at(folder, slos, T0 + 86_400);
        agent.t = agent.report.last.unwrap_or(T0);
        agent
    }

    pub fn start_at(folder: &Path, slos: &[Arc<Slo>], now_s: i64) -> Self {
        let opened = vigie_slo_store::open(folder, slos, Mode::Scaled, now_s).unwrap();
        let Opened { store, evaluators, report } = opened;
        let t = report.last.unwrap_or(now_s).max(now_s);
        Self { store, evaluators, report, t }
    }

    /// One tick of all; the SLO at `place` has `bad(place)` failures among 200 requests.
    pub fn tick(&mut self, bad: impl Fn(usize) -> u64) -> (u64, Vec<(usize, Transition)>) {
        self.t += 2;
        let mut inputs = Vec::new();
        let mut changes = Vec::new();
        for (place, evaluator) in self.evaluators.iter_mut().enumerate() {
            let bad = bad(place);
            let tick = Tick { t: self.t, length_s: 2, good: 200 - bad, bad, unobserved: 0 };
            let input = Input::Tick(tick);
            let mut out = Vec::new();
            input.apply(evaluator, &mut out);
            changes.extend(out.into_iter().map(|change| (place, change)));
            inputs.push((place, input));
        }
        let seq = self.store.record(&inputs);
        while let Some(place) = self.store.due() {
            self.store.snapshot(place, &self.evaluators[place]);
        }
        (seq, changes)
    }

    /// So many ticks; waits from time to time until what there is is safe, as ticks come faster than in
    /// life.
    pub fn ticks(&mut self, count: usize, bad: impl Fn(usize) -> u64) {
        for number in 1..=count {
            let (seq, _) = self.tick(&bad);
            if number % 100 == 0 || number == count {
                self.store.flush();
                self.store.wait_safe(seq, Duration::from_secs(20));
            }
        }
    }

    pub fn figures(&self) -> Vec<Option<Figures>> {
        self.evaluators.iter().map(Evaluator::figures).collect()
    }

    /// As kill −9 leaves it: nothing more is kept. What is with the writer by then may get written.
    pub fn kill(self) -> Vec<Option<Figures>> {
        let figures = self.figures();
        drop(self.store);
        figures
    }

    pub fn close(self) -> Vec<Option<Figures>> {
        let figures = self.figures();
        self.store.close(&self.evaluators);
        figures
    }
}

/// Names of the files in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
