//! The evaluator: one tick after the other in, transitions and figures out.

use std::sync::Arc;

use crate::figures::{Change, Figures, Mode, Transition, burn, exhausted_in_s};
use crate::model::Slo;
use crate::ratio::Ratio;
use crate::rings::{Resolution, Rings, Sums};
use crate::slices::{Count, Counter};
use crate::window::Window;
use crate::zone::Zone;

mod kept;

/// What was counted in `(t − length, t]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// End, in seconds since 1970.
    pub t: i64,
    /// Length in seconds.
    pub length_s: u64,
    /// Good events.
    pub good: u64,
    /// Bad events.
    pub bad: u64,
    /// Events of which it is not known what they were: lost, or without a trusted duration. They count
    /// on neither side, and take their share off the time that was observed.
    pub unobserved: u64,
}

/// Evaluates one SLO.
#[derive(Clone, Debug)]
pub struct Evaluator {
    slo: Arc<Slo>,
    error_budget: Ratio,
    mode: Mode,
    resolution: Resolution,
    /// None until the first tick.
    run: Option<Run>,
}

/// State from the first tick on.
#[derive(Clone, Debug)]
struct Run {
    rings: Rings,
    counter: Counter,
    period: Period,
    alerts: Vec<AlertState>,
    zone: Option<Zone>,
    no_data: bool,
    /// End of the last time that was observed.
    observed_at: i64,
    /// Came late; goes into the next tick.
    pending: Count,
    late: u64,
    overflowed: u64,
}

/// The period that is open, `(start, start + length]`, and what was counted before it.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    start: i64,
    length_s: u64,
    /// Of calendar windows.
    base: Option<Sums>,
}

#[derive(Clone, Debug, Default)]
struct AlertState {
    firing: bool,
    /// Whether the burn rates fire it; if not, it may still be held.
    burning: bool,
    /// When `firing` last changed.
    changed_at: Option<i64>,
    /// Keeps firing until so much more has been observed, in hundredths of a second.
    held_cs: u64,
    /// Since when each condition holds.
    since: Vec<Option<i64>>,
}

/// An alert that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Index in `Slo::alerts`.
    pub index: usize,
    /// Since when, in seconds since 1970: the true onset, across restarts.
    pub since: i64,
    /// Held after a restart; the burn rates alone would not fire it.
    pub held: bool,
}

impl Evaluator {
    /// One that has seen nothing.
    pub fn new(slo: Arc<Slo>, mode: Mode, resolution: Resolution) -> Self {
        Self { error_budget: slo.error_budget(), slo, mode, resolution, run: None }
    }

    /// The SLO.
    pub fn slo(&self) -> &Arc<Slo> {
        &self.slo
    }

    /// The longest time that it must look back, in seconds.
    pub fn longest_s(slo: &Slo) -> u64 {
        let windows = slo.windows_s().last().copied().unwrap_or(0);
        let rolling = match slo.window {
            Window::Rolling(length_s) => length_s,
            Window::Calendar(_) => 0,
        };
        windows.max(rolling).max(slo.no_data_after_s.unwrap_or(0)).max(300)
    }

    /// Bytes of its rings.
    pub fn memory_bytes(&self) -> usize {
        self.run.as_ref().map_or(0, |run| run.rings.memory_bytes())
    }

    /// Takes one tick. What lies between the last one and its beginning was not observed. A tick that
    /// ends at or before the last one is late: nothing that is closed is changed, its events count in
    /// the next tick.
    pub fn tick(&mut self, tick: &Tick, out: &mut Vec<Transition>) {
        let start = tick.t.saturating_sub_unsigned(tick.length_s);
        let run = self.run.get_or_insert_with(|| Run::new(&self.slo, self.resolution, start));
        let events = Count { bad: tick.bad, total: tick.good.saturating_add(tick.bad) };
        if tick.t <= run.rings.now() {
            run.late = run.late.saturating_add(events.total);
            run.pending.bad = run.pending.bad.saturating_add(events.bad);
            run.pending.total = run.pending.total.saturating_add(events.total);
            return;
        }
        if start > run.rings.now() {
            run.gap(start);
        }
        run.count(tick.t, events, tick.unobserved);
        self.evaluate(out);
    }

    /// Goes on to `t` without having observed anything.
    pub fn skip_to(&mut self, t: i64, out: &mut Vec<Transition>) {
        if let Some(run) = &mut self.run
            && t > run.rings.now()
        {
            run.gap(t);
            self.evaluate(out);
        }
    }

    /// End of the last tick, in seconds since 1970; none before the first.
    pub fn now(&self) -> Option<i64> {
        self.run.as_ref().map(|run| run.rings.now())
    }

    /// After a restart: alerts that fire keep firing until one of their short windows has been observed
    /// again, though the gap lowers their burn rates. Those that were being held already are held for
    /// what is left of it, so that restarts in a row do not hold them for good.
    pub fn hold(&mut self) {
        let Self { slo, run: Some(run), .. } = self else { return };
        for (alert, state) in slo.alerts.iter().zip(&mut run.alerts) {
            if state.firing && (state.burning || state.held_cs == 0) {
                state.held_cs = alert.short_s().saturating_mul(100);
            }
        }
    }

    /// The alerts that fire.
    pub fn firing(&self) -> impl Iterator<Item = Firing> {
        let run = self.run.iter();
        run.flat_map(|run| run.alerts.iter().enumerate().map(|alert| (run.rings.now(), alert)))
            .filter(|(_, (_, state))| state.firing)
            .map(|(now, (index, state))| Firing {
                index,
                since: state.changed_at.unwrap_or(now),
                held: !state.burning,
            })
    }

    /// When nothing can change any more without a tick: every window has gone past what was counted.
    pub fn settled_at(&self) -> Option<i64> {
        let run = self.run.as_ref()?;
        let longest = self.resolution.longest_s().max(self.slo.window.nominal_s() * 2);
        Some(run.observed_at.saturating_add_unsigned(longest))
    }

    fn evaluate(&mut self, out: &mut Vec<Transition>) {
        let Self { slo, run: Some(run), error_budget, mode, .. } = self else { return };
        let t = run.rings.now();
        run.turn_period(slo);
        let (period, spent) = run.spent(*mode, *error_budget);
        for (index, alert) in slo.alerts.iter().enumerate() {
            let mut all = true;
            let Some(state) = run.alerts.get_mut(index) else { continue };
            for (condition, since) in alert.conditions.iter().zip(&mut state.since) {
                let sums = run.rings.window(condition.window_s);
                let holds = burn(*mode, sums, condition.window_s, *error_budget)
                    .is_some_and(|burn| condition.holds(burn));
                *since = if holds { since.or(Some(t)) } else { None };
                all &= since.is_some_and(|since| {
                    t.saturating_sub(since).unsigned_abs() >= condition.after_s
                });
            }
            let guards = &alert.guards;
            let long = run.rings.window(alert.long_s());
            all &= long.bad >= guards.min_bad && long.total >= guards.min_total;
            if let Some(least) = guards.min_budget_spend {
                let part = Sums { bad: long.bad, ..period };
                all &= burn(*mode, part, run.period.length_s, *error_budget)
                    .is_some_and(|spend| spend >= least);
            }
            state.burning = all;
            let on = all || state.firing && state.held_cs > 0;
            if on != state.firing {
                state.firing = on;
                state.changed_at = Some(t);
                out.push(Transition { t, change: Change::Alert { index, on } });
            }
        }
        let silent = t.saturating_sub(run.observed_at).unsigned_abs();
        let no_data = slo.no_data_after_s.is_some_and(|after_s| silent >= after_s);
        if no_data != run.no_data {
            run.no_data = no_data;
            out.push(Transition { t, change: Change::NoData { on: no_data } });
        }
        let zone = slo.zones.zone(spent.unwrap_or(Ratio::ZERO), run.zone);
        if run.zone.replace(zone).is_some_and(|before| before != zone) {
            out.push(Transition { t, change: Change::Zone { zone } });
        }
    }

    /// What was counted in the latest `length_s` seconds.
    pub fn window(&self, length_s: u64) -> Sums {
        self.run.as_ref().map(|run| run.rings.window(length_s)).unwrap_or_default()
    }

    /// The figures after the last tick; none before the first.
    pub fn figures(&self) -> Option<Figures> {
        let run = self.run.as_ref()?;
        let rate = |length_s: u64| {
            burn(self.mode, run.rings.window(length_s), length_s, self.error_budget)
        };
        let (period, spent) = run.spent(self.mode, self.error_budget);
        let windows = self.slo.windows_s();
        let pace = windows.iter().rev().find(|window| **window <= 3_600).or(windows.first());
        let exhausted_in_s = pace.and_then(|window| rate(*window)).and_then(|burn| {
            exhausted_in_s(spent.unwrap_or(Ratio::ZERO), burn, run.period.length_s)
        });
        let firing = run.alerts.iter().enumerate();
        Some(Figures {
            t: run.rings.now(),
            period,
            burn: windows.into_iter().map(|length_s| (length_s, rate(length_s))).collect(),
            spent,
            exhausted_in_s,
            zone: run.zone.unwrap_or(Zone::Ship),
            coverage: run.coverage(period),
            firing: firing.filter(|(_, state)| state.firing).map(|(index, _)| index).collect(),
            no_data: run.no_data,
            late: run.late,
            overflowed: run.overflowed,
        })
    }
}

impl Run {
    fn new(slo: &Slo, resolution: Resolution, origin: i64) -> Self {
        let state =
            |conditions| AlertState { since: vec![None; conditions], ..AlertState::default() };
        Self {
            rings: Rings::new(resolution, origin),
            counter: Counter::new(slo.budgeting, origin),
            period: Period::default(),
            alerts: slo.alerts.iter().map(|alert| state(alert.conditions.len())).collect(),
            zone: None,
            no_data: false,
            observed_at: origin,
            pending: Count::default(),
            late: 0,
            overflowed: 0,
        }
    }

    /// Nothing was observed up to `t`.
    fn gap(&mut self, t: i64) {
        let Count { bad, total } = self.counter.tick(t, None);
        self.rings.advance(t, Sums { bad, total, observed_cs: 0 });
    }

    /// What was counted up to `t`, and late before it.
    fn count(&mut self, t: i64, events: Count, unobserved: u64) {
        let late = std::mem::take(&mut self.pending);
        let mut known = Count {
            bad: events.bad.saturating_add(late.bad),
            total: events.total.saturating_add(late.total),
        };
        let length_s = t.saturating_sub(self.rings.now()).unsigned_abs();
        let mut observed_cs = observed_cs(length_s, events.total, unobserved);
        if !self.rings.has_room(known.total) {
            self.overflowed = self.overflowed.saturating_add(known.total);
            (known, observed_cs) = (Count::default(), 0);
        }
        let observed = observed_cs > 0;
        let Count { bad, total } =
            self.counter.tick(t, (observed || known.total > 0).then_some(known));
        self.rings.advance(t, Sums { bad, total, observed_cs });
        if observed {
            self.observed_at = t;
        }
        for alert in &mut self.alerts {
            alert.held_cs = alert.held_cs.saturating_sub(observed_cs);
        }
    }

    /// Begins a new calendar period where one has ended.
    fn turn_period(&mut self, slo: &Slo) {
        let now = self.rings.now();
        match &slo.window {
            Window::Rolling(length_s) => {
                let start = now.saturating_sub_unsigned(*length_s);
                self.period = Period { start, length_s: *length_s, base: None };
            }
            Window::Calendar(calendar) => {
                let end = self.period.start.saturating_add_unsigned(self.period.length_s);
                if self.period.base.is_some() && now <= end {
                    return;
                }
                let Some((start, end)) = calendar.period(now) else { return };
                let length_s = end.saturating_sub(start).unsigned_abs();
                self.period = Period { start, length_s, base: Some(self.rings.at(start)) };
            }
        }
    }

    /// What was counted within the period, and the share of the budget that it spent.
    fn spent(&self, mode: Mode, error_budget: Ratio) -> (Sums, Option<Ratio>) {
        let Period { start, length_s, base } = self.period;
        let base = base.unwrap_or_else(|| self.rings.at(start));
        let sums = self.rings.from(start, base);
        (sums, burn(mode, sums, length_s, error_budget))
    }

    fn coverage(&self, period: Sums) -> Ratio {
        let from = self.period.start.max(self.rings.origin());
        let lived_cs = u128::from(self.rings.now().saturating_sub(from).unsigned_abs()) * 100;
        Ratio::new(period.observed_cs.into(), lived_cs).unwrap_or(Ratio::ZERO).min(Ratio::ONE)
    }
}

/// Hundredths of a second that count as observed, rounded down: the share of the events that is known.
fn observed_cs(length_s: u64, known: u64, unobserved: u64) -> u64 {
    let all = u128::from(known) + u128::from(unobserved);
    let whole_cs = length_s.saturating_mul(100);
    if unobserved == 0 || all == 0 {
        return whole_cs;
    }
    u64::try_from(u128::from(whole_cs) * u128::from(known) / all).unwrap_or(whole_cs)
}
