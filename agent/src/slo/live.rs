//! The evaluators of a running agent: ticks in, alerts on and off, figures out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vigie_alert::notice::{Notice, Seen};
use vigie_slo::alert::Alert;
use vigie_slo::duration::short;
use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::{Change, Figures, Mode, Transition};
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo_store::{Blobs, Input, Opened, Store};

use super::counting::{Counting, Totals};
use super::status::{AlertStatus, ConditionStatus, Findings, SloStatus, Status, number};
use super::telling::Firing;
use crate::discover::host::Clock;
use crate::event::MonoNs;

/// How long before the onset a process may have started to be named, in nanoseconds.
const STARTED_BEFORE_NS: u64 = 600_000_000_000;
/// How long after it.
const STARTED_AFTER_NS: u64 = 120_000_000_000;
/// Traces that are named.
const TRACES: usize = 3;

/// SLOs, shared by the thread that counts, the one that evaluates, and those that ask.
#[derive(Debug)]
pub struct Objectives {
    node: String,
    /// Folder of the state; none: it is not kept.
    folder: Option<PathBuf>,
    counting: Mutex<Counting>,
    evaluation: Mutex<Evaluation>,
    /// What was known to be lost at the last looks.
    losses: Mutex<Recent>,
}

/// The evaluators, and where their state is kept.
#[derive(Debug, Default)]
struct Evaluation {
    slos: Vec<Running>,
    store: Option<Store>,
    /// The latest time of any state that was restored, in seconds since 1970.
    last: Option<i64>,
}

#[derive(Debug)]
struct Running {
    evaluator: Evaluator,
    /// By alert: since when it fires, and when the bad calls began.
    firing: Vec<Option<Since>>,
    /// Since when the no-data alert fires, in seconds since 1970.
    no_data: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    since: i64,
    onset_ms: i64,
}

/// Calls that were seen, and what is known to be lost, both since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Calls.
    pub calls: u64,
    /// Losses that each stand for one call.
    pub lost: u64,
}

/// The last looks: what is lost may be noticed a little after the calls that it is about.
#[derive(Debug, Default)]
struct Recent {
    looks: [Known; 4],
}

impl Recent {
    /// Seen and lost calls since the oldest look that is remembered.
    fn look(&mut self, now: Known) -> Known {
        self.looks.rotate_right(1);
        if let Some(first) = self.looks.first_mut() {
            *first = now;
        }
        let [first, .., last] = self.looks;
        Known {
            calls: first.calls.saturating_sub(last.calls),
            lost: first.lost.saturating_sub(last.lost),
        }
    }
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Name of the SLO.
    pub slo: String,
    /// When, and what.
    pub transition: Transition,
    /// Name of the alert, where one began or ended.
    pub alert: Option<String>,
    /// When the bad calls began, in milliseconds since 1970, where an alert began.
    pub onset_ms: Option<i64>,
}

impl Objectives {
    /// Begins to count and to evaluate at a reading of the clock. What was kept in `folder` is restored.
    pub fn new(
        node: String,
        slos: Vec<Slo>,
        folder: Option<PathBuf>,
        clock: &Clock,
        now: MonoNs,
    ) -> Self {
        let slos: Vec<Arc<Slo>> = slos.into_iter().map(Arc::new).collect();
        let evaluation = Evaluation::open(folder.as_deref(), &slos, seconds(clock, now));
        let mut counting = Counting::default();
        counting.replace(&slos, clock, now, evaluation.last);
        Self {
            node,
            folder,
            counting: Mutex::new(counting),
            evaluation: Mutex::new(evaluation),
            losses: Mutex::default(),
        }
    }

    /// The side of the pipeline.
    pub fn counting(&self) -> MutexGuard<'_, Counting> {
        lock(&self.counting)
    }

    /// Takes over other SLOs. Those that are the same go on; of those that changed what was kept goes on, as
    /// far as it counts the same.
    pub fn replace(&self, slos: Vec<Slo>, clock: &Clock, now: MonoNs) {
        let slos: Vec<Arc<Slo>> = slos.into_iter().map(Arc::new).collect();
        let mut evaluation = lock(&self.evaluation);
        let mut before = std::mem::take(&mut *evaluation).close();
        *evaluation = Evaluation::open(self.folder.as_deref(), &slos, seconds(clock, now));
        for one in &mut evaluation.slos {
            // Those that never stopped need not be held.
            let same = before.iter().position(|old| old.evaluator.slo() == one.evaluator.slo());
            if let Some(position) = same {
                *one = before.swap_remove(position);
            }
        }
        self.counting().replace(&slos, clock, now, evaluation.last);
    }

    /// Keeps everything and ends.
    pub fn close(&self) {
        std::mem::take(&mut *lock(&self.evaluation)).close();
    }

    /// Small states of others, in the same folder.
    pub fn blobs(&self) -> Option<Blobs> {
        lock(&self.evaluation).store.as_ref().map(Store::blobs)
    }

    /// How the keeping of state goes.
    pub fn store_status(&self) -> Option<vigie_slo_store::Status> {
        lock(&self.evaluation).store.as_ref().map(Store::status)
    }

    /// A reading of the clock: evaluates what has become complete. `seen` is asked if something has.
    pub fn tick(&self, clock: &Clock, now: MonoNs, seen: impl FnOnce() -> Known) -> Vec<Event> {
        let mut ticks: Vec<(usize, Tick)> = Vec::new();
        self.counting().clock(clock, now, |index, tick| ticks.push((index, tick)));
        if ticks.is_empty() {
            return Vec::new();
        }
        let recent = lock(&self.losses).look(seen());
        let mut events = Vec::new();
        let mut evaluation = lock(&self.evaluation);
        let Evaluation { slos, store, .. } = &mut *evaluation;
        let (mut transitions, mut inputs) = (Vec::new(), Vec::new());
        for (index, mut tick) in ticks {
            let Some(one) = slos.get_mut(index) else { continue };
            tick.unobserved = tick.unobserved.saturating_add(recent.of(tick.good, tick.bad));
            one.evaluator.tick(&tick, &mut transitions);
            inputs.push((index, Input::Tick(tick)));
            for transition in transitions.drain(..) {
                events.push(self.changed(index, one, transition));
            }
        }
        if let Some(store) = store {
            store.record(&inputs);
            if !events.is_empty() {
                store.flush();
            }
            while let Some(index) = store.due() {
                let Some(one) = slos.get(index) else { break };
                store.snapshot(index, &one.evaluator);
            }
        }
        events
    }

    fn changed(&self, index: usize, one: &mut Running, transition: Transition) -> Event {
        let slo = one.evaluator.slo();
        let mut event = Event { slo: slo.name.clone(), transition, alert: None, onset_ms: None };
        if let Change::Alert { index: alert, on } = transition.change {
            event.alert = slo.alerts.get(alert).map(|alert| alert.name.clone());
            let firing = slo.alerts.get(alert).filter(|_| on).map(|alert| {
                let onset_ms = self.onset_ms(index, slo, alert).unwrap_or(transition.t * 1_000);
                Since { since: transition.t, onset_ms }
            });
            event.onset_ms = firing.map(|firing| firing.onset_ms);
            if let Some(state) = one.firing.get_mut(alert) {
                *state = firing;
            }
        }
        event
    }

    /// When the calls began that an alert is about.
    fn onset_ms(&self, index: usize, slo: &Slo, alert: &Alert) -> Option<i64> {
        let factor = alert.conditions.iter().map(|condition| condition.factor).min()?;
        let short_s = alert.conditions.iter().map(|condition| condition.window_s).min()?;
        let share = factor.checked_mul(slo.error_budget()).unwrap_or(Ratio::ONE);
        self.counting().evidence(index)?.0.onset_ms(share, short_s)
    }

    /// What all SLOs have come to.
    pub fn status(&self, clock: &Clock, now: MonoNs) -> Status {
        let totals = self.counting().totals();
        let evaluation = lock(&self.evaluation);
        let slos = evaluation.slos.iter().enumerate().map(|(index, one)| {
            let totals = totals.get(index).copied().unwrap_or_default();
            self.status_of(index, one, totals, clock)
        });
        let t = i64::try_from(clock.unix_nano(now) / 1_000_000_000).unwrap_or_default();
        Status { version: 1, node: self.node.clone(), t, slos: slos.collect() }
    }

    fn status_of(&self, index: usize, one: &Running, totals: Totals, clock: &Clock) -> SloStatus {
        let slo = one.evaluator.slo();
        let mut status = SloStatus::of(slo);
        let counts = totals.counts;
        status.matched = counts.good + counts.bad + counts.unobserved > 0;
        status.unobserved = counts.unobserved;
        let Some(figures) = one.evaluator.figures() else { return status };
        status.set(&figures);
        for (alert, state) in slo.alerts.iter().zip(&one.firing) {
            let Some(firing) = state else { continue };
            status.firing.push(alert.name.clone());
            status.alerts.push(alert_status(alert, *firing, &one.evaluator, &figures));
        }
        let since_ms = status.alerts.iter().map(|alert| alert.onset_ms).min();
        let since_ms = since_ms.unwrap_or(figures.t.saturating_sub(300) * 1_000);
        status.evidence = self.findings(index, since_ms, clock);
        status
    }

    /// All alerts that fire, as they are to be told.
    pub fn firing(&self, clock: &Clock) -> Vec<Firing> {
        let evaluation = lock(&self.evaluation);
        let mut all = Vec::new();
        for (index, one) in evaluation.slos.iter().enumerate().filter(|(_, one)| one.fires()) {
            let Some(figures) = one.evaluator.figures() else { continue };
            let slo = one.evaluator.slo();
            let seen = |starts_at, fired_at| Seen { node: &self.node, starts_at, fired_at };
            let mut add = |alert, notice| all.push(Firing { slo: Arc::clone(slo), alert, notice });
            for (number, (alert, since)) in slo.alerts.iter().zip(&one.firing).enumerate() {
                let Some(since) = since else { continue };
                let long = one.evaluator.window(alert.long_s());
                let at = seen(since.onset_ms.div_euclid(1_000), since.since);
                let notice = Notice::burn(slo, alert, &figures, (long.bad, long.total), at);
                let findings = self.findings(index, since.onset_ms, clock).unwrap_or_default();
                add(Some(number), notice.with(findings.evidence(&slo.service)));
            }
            if let Some(since) = one.no_data {
                let for_s = slo.no_data_after_s.unwrap_or_default();
                let start = since.saturating_sub_unsigned(for_s);
                let for_s = figures.t.saturating_sub(start).unsigned_abs();
                add(None, Notice::no_data(slo, &figures, for_s, seen(start, since)));
            }
        }
        all
    }

    /// What is known of the bad calls of an SLO since a time in milliseconds since 1970.
    pub fn findings(&self, index: usize, since_ms: i64, clock: &Clock) -> Option<Findings> {
        let counting = self.counting();
        let (evidence, surroundings) = counting.evidence(index)?;
        let onset_ns = u64::try_from(since_ms).ok()?.saturating_mul(1_000_000);
        let onset_ns = clock.boot_nano(clock.monotonic(onset_ns));
        let (from, until) =
            (onset_ns.saturating_sub(STARTED_BEFORE_NS), onset_ns.saturating_add(STARTED_AFTER_NS));
        let causes = surroundings.iter().filter_map(|one| one.cause(evidence, since_ms));
        Some(Findings {
            trace_ids: evidence.trace_ids(since_ms, TRACES),
            classes: evidence.classes(since_ms),
            cause: causes.max_by_key(|cause| cause.share_percent),
            started: surroundings.iter().flat_map(|one| one.started(from, until)).collect(),
        })
    }

    /// Gives `each` the SLOs with what was counted since the start, and the figures after the last tick.
    pub fn each(&self, mut each: impl FnMut(&Slo, Totals, Option<Figures>)) {
        let totals = self.counting().totals();
        let evaluation = lock(&self.evaluation);
        for (one, totals) in evaluation.slos.iter().zip(totals) {
            each(one.evaluator.slo(), totals, one.evaluator.figures());
        }
    }

    /// What was counted since the start, with the names of the SLOs.
    pub fn totals(&self) -> Vec<(Arc<Slo>, Totals)> {
        let totals = self.counting().totals();
        let evaluation = lock(&self.evaluation);
        evaluation.slos.iter().map(|one| Arc::clone(one.evaluator.slo())).zip(totals).collect()
    }
}

impl Known {
    /// How many more there would have been of so many, rounded up.
    fn of(self, good: u64, bad: u64) -> u64 {
        let seen = u128::from(good) + u128::from(bad);
        let lost = (seen * u128::from(self.lost)).div_ceil(u128::from(self.calls.max(1)));
        u64::try_from(lost).unwrap_or(u64::MAX)
    }
}

impl Evaluation {
    /// Evaluators with what was kept of them, if anything was.
    fn open(folder: Option<&Path>, slos: &[Arc<Slo>], now_s: i64) -> Self {
        let opened = folder.map(|folder| vigie_slo_store::open(folder, slos, MODE, now_s));
        let opened = opened.transpose().unwrap_or_else(|error| {
            tracing::error!("{error}; until then SLOs are evaluated and not kept");
            None
        });
        let Some(Opened { store, evaluators, report }) = opened else {
            let fresh = slos.iter().map(|slo| Running::new(vigie_slo_store::evaluator(slo, MODE)));
            return Self { slos: fresh.collect(), store: None, last: None };
        };
        for note in &report.notes {
            tracing::warn!("{note}");
        }
        if report.more_notes > 0 {
            tracing::warn!(notes = report.more_notes, "more was found in the state of SLOs");
        }
        let slos = evaluators.into_iter().map(Running::new).collect();
        Self { slos, store: Some(store), last: report.last }
    }

    /// Keeps everything. Gives the evaluators.
    fn close(self) -> Vec<Running> {
        if let Some(store) = self.store {
            store.close(self.slos.iter().map(|one| &one.evaluator));
        }
        self.slos
    }
}

/// How ratios count time that was not observed.
const MODE: Mode = Mode::Scaled;

fn seconds(clock: &Clock, now: MonoNs) -> i64 {
    i64::try_from(clock.unix_nano(now) / 1_000_000_000).unwrap_or_default()
}

impl Running {
    fn fires(&self) -> bool {
        self.no_data.is_some() || self.firing.iter().any(Option::is_some)
    }

    fn new(evaluator: Evaluator) -> Self {
        let mut firing = vec![None; evaluator.slo().alerts.len()];
        for alert in evaluator.firing() {
            if let Some(state) = firing.get_mut(alert.index) {
                *state = Some(Since { since: alert.since, onset_ms: alert.since * 1_000 });
            }
        }
        let figures = evaluator.figures().filter(|figures| figures.no_data);
        Self { firing, no_data: figures.map(|figures| figures.t), evaluator }
    }
}

fn alert_status(
    alert: &Alert,
    firing: Since,
    evaluator: &Evaluator,
    figures: &Figures,
) -> AlertStatus {
    let conditions = alert.conditions.iter().map(|condition| {
        let burn = figures.burn.iter().find(|(length, _)| *length == condition.window_s);
        ConditionStatus {
            window: short(condition.window_s),
            factor: number(condition.factor).unwrap_or_default(),
            burn: burn.and_then(|(_, burn)| burn.and_then(number)),
        }
    });
    let long = evaluator.window(alert.long_s());
    AlertStatus {
        pair: alert.name.clone(),
        severity: alert.severity.word().to_owned(),
        since: firing.since,
        onset_ms: firing.onset_ms,
        conditions: conditions.collect(),
        bad: long.bad,
        total: long.total,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
