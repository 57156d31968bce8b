//! The past again, through the evaluator.

use std::sync::Arc;

use super::{PERIOD_S, Row, Step};
use crate::alert::Severity;
use crate::evaluate::{Evaluator, Tick};
use crate::figures::{Change, Mode};
use crate::file::{Source, load};
use crate::model::Slo;
use crate::ratio::Ratio;
use crate::rings::Resolution;

/// What an SLO counts of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) step: Step,
    /// Calls whose outcome is known.
    pub(super) total: u64,
    pub(super) bad: u64,
    /// Calls whose duration is not trusted; of latency only.
    pub(super) unknown: u64,
}

/// What the alerts of an SLO did in the past. A time with several alerts of one kind counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// How often somebody would have been called.
    pub pages: u64,
    /// How often a ticket would have been written.
    pub tickets: u64,
    /// Observed time of that past in seconds.
    pub observed_s: u64,
}

impl Alerts {
    /// `count` in this past, as many as that is in 30 days.
    pub fn per_month(&self, count: u64) -> Ratio {
        Ratio::new(u128::from(count) * u128::from(PERIOD_S), self.observed_s.into())
            .unwrap_or(Ratio::ZERO)
    }
}

/// Counts of all steps from the first with a row on: before it there was no such endpoint. `edge`: of
/// latency, the position of the threshold.
pub(super) fn counts(steps: &[Step], rows: &[Row], edge: Option<usize>) -> Vec<Count> {
    let Some(first) = rows.first().map(|row| row.t) else { return Vec::new() };
    let mut rows = rows.iter().peekable();
    let lived = steps.iter().skip_while(|step| step.t < first);
    let count = |step: &Step| {
        // Rows of steps that are not in the list are not counted.
        while rows.next_if(|row| row.t < step.t).is_some() {}
        let row = rows.next_if(|row| row.t == step.t).copied().unwrap_or_default();
        let Some(edge) = edge else {
            return Count {
                step: *step,
                total: row.total,
                bad: row.errors.min(row.total),
                unknown: 0,
            };
        };
        let sum = |all: u64, count: &u64| all.saturating_add(*count);
        let total = row.buckets.iter().fold(0, sum);
        let bad = row.buckets.iter().skip(edge + 1).fold(0, sum);
        Count { step: *step, total, bad, unknown: row.total.saturating_sub(total) }
    };
    lived.map(count).collect()
}

/// All calls and the bad ones.
pub(super) fn sums(counts: &[Count]) -> (u64, u64) {
    counts.iter().fold((0, 0), |(total, bad), count| {
        (total.saturating_add(count.total), bad.saturating_add(count.bad))
    })
}

/// Longest tick: counts of longer steps go in as spread evenly over ticks of this length.
const TICK_S: u64 = 60;

/// What the alerts of an SLO, an item in the short form, would have done. None if it cannot be read.
pub(super) fn alerts(item: &str, counts: &[Count]) -> Option<Alerts> {
    let source = Source { name: "suggested".to_owned(), text: format!("slos:\n{item}") };
    let slo = Arc::new(load(&[source]).ok()?.slos.into_iter().next()?);
    let resolution = Resolution::node(Evaluator::longest_s(&slo));
    let mut evaluator = Evaluator::new(Arc::clone(&slo), Mode::Scaled, resolution);
    let mut state = State { firing: vec![false; slo.alerts.len()], pages: 0, tickets: 0 };
    let mut transitions = Vec::new();
    for count in counts {
        for tick in ticks(count) {
            evaluator.tick(&tick, &mut transitions);
            state.pass(&slo, transitions.drain(..).map(|transition| transition.change));
        }
    }
    let observed_s = counts.iter().map(|count| count.step.length_s).sum();
    Some(Alerts { pages: state.pages, tickets: state.tickets, observed_s })
}

/// The step as ticks of at most [`TICK_S`].
pub(super) fn ticks(count: &Count) -> impl Iterator<Item = Tick> {
    let Count { step, total, bad, unknown } = *count;
    let parts = step.length_s.div_ceil(TICK_S).max(1);
    let end = move |part: u64| {
        let passed = u128::from(step.length_s) * u128::from(part) / u128::from(parts);
        u64::try_from(passed).unwrap_or(step.length_s)
    };
    let share = move |count: u64, part: u64| {
        let up_to = |part: u64| u128::from(count) * u128::from(part) / u128::from(parts);
        u64::try_from(up_to(part) - up_to(part - 1)).unwrap_or(0)
    };
    (1..=parts).map(move |part| Tick {
        t: step.t.saturating_sub_unsigned(step.length_s).saturating_add_unsigned(end(part)),
        length_s: end(part) - end(part - 1),
        good: share(total.saturating_sub(bad), part),
        bad: share(bad, part),
        unobserved: share(unknown, part),
    })
}

struct State {
    firing: Vec<bool>,
    pages: u64,
    tickets: u64,
}

impl State {
    /// Takes what changed in one tick into account.
    fn pass(&mut self, slo: &Slo, changes: impl Iterator<Item = Change>) {
        let before = (self.fires(slo, true), self.fires(slo, false));
        for change in changes {
            if let Change::Alert { index, on } = change {
                self.firing.iter_mut().skip(index).take(1).for_each(|state| *state = on);
            }
        }
        self.pages += u64::from(!before.0 && self.fires(slo, true));
        self.tickets += u64::from(!before.1 && self.fires(slo, false));
    }

    /// Whether an alert that pages fires, or one that does not.
    fn fires(&self, slo: &Slo, page: bool) -> bool {
        let mut alerts = slo.alerts.iter().zip(&self.firing);
        alerts.any(|(alert, firing)| *firing && (alert.severity == Severity::Page) == page)
    }
}
