//! From ticks to what the budget counts: events, or slices of time.

use crate::model::{Budgeting, Empty, Slices};

/// What one whole slice counts as with ratio time slices: its bad share in such parts, rounded to the
/// nearest. A year of slices of 10 s stays far below 2⁴⁸.
pub const SLICE_PARTS: u64 = 10_000_000;

/// Bad and all, in the unit of the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bad.
    pub bad: u64,
    /// All.
    pub total: u64,
}

/// The slice that is open, if slices are what is counted.
#[derive(Clone, Debug)]
pub struct Counter {
    budgeting: Budgeting,
    /// End of the open slice.
    end: i64,
    open: Count,
    observed: bool,
}

impl Counter {
    /// Begins at `origin`.
    pub fn new(budgeting: Budgeting, origin: i64) -> Self {
        let mut counter = Self { budgeting, end: origin, open: Count::default(), observed: false };
        if let Budgeting::Slices(slices) | Budgeting::RatioSlices(slices) = budgeting {
            counter.end = end(slices, origin.saturating_add(1));
        }
        counter
    }

    /// The slice that is open: its end, what is in it, and whether any of it was observed.
    pub(crate) const fn open(&self) -> (i64, Count, bool) {
        (self.end, self.open, self.observed)
    }

    /// One with this slice open.
    pub(crate) const fn restore(
        budgeting: Budgeting,
        (end, open, observed): (i64, Count, bool),
    ) -> Self {
        Self { budgeting, end, open, observed }
    }

    /// A tick that ends at `t`; none if it was not observed. Gives what is counted at `t`: with slices,
    /// those that have ended since the last tick.
    pub fn tick(&mut self, t: i64, events: Option<Count>) -> Count {
        let (slices, by_share) = match self.budgeting {
            Budgeting::Occurrences => return events.unwrap_or_default(),
            Budgeting::Slices(slices) => (slices, false),
            Budgeting::RatioSlices(slices) => (slices, true),
        };
        let mut counted = Count::default();
        if t > self.end {
            counted = self.close(slices, by_share);
            // Slices that ended without a tick were not observed.
            self.end = end(slices, t);
        }
        if let Some(events) = events {
            self.observed = true;
            self.open.bad = self.open.bad.saturating_add(events.bad);
            self.open.total = self.open.total.saturating_add(events.total);
        }
        if t == self.end {
            let closed = self.close(slices, by_share);
            counted.bad += closed.bad;
            counted.total += closed.total;
            self.end = self.end.saturating_add_unsigned(slices.length_s);
        }
        counted
    }

    fn close(&mut self, slices: Slices, by_share: bool) -> Count {
        let Count { bad, total } = std::mem::take(&mut self.open);
        let observed = std::mem::take(&mut self.observed);
        let whole = if by_share { SLICE_PARTS } else { 1 };
        let bad = if !observed {
            return Count::default();
        } else if total == 0 {
            match slices.empty {
                Empty::Good => 0,
                Empty::Exclude => return Count::default(),
                Empty::Bad => whole,
            }
        } else if by_share {
            let (bad, total) = (u128::from(bad), u128::from(total));
            let parts = (bad * u128::from(whole) + total / 2) / total;
            u64::try_from(parts).unwrap_or(whole)
        } else {
            let (num, den) = slices.target.parts();
            u64::from(u128::from(total - bad.min(total)) * den < num * u128::from(total))
        };
        Count { bad, total: whole }
    }
}

/// End of the slice that `t` lies in: slices are `(start, end]`.
fn end(slices: Slices, t: i64) -> i64 {
    let length = i64::try_from(slices.length_s).unwrap_or(i64::MAX).max(1);
    t.saturating_sub(1).div_euclid(length).saturating_add(1).saturating_mul(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(budgeting: Budgeting, ticks: &[(i64, Option<(u64, u64)>)]) -> Vec<(i64, u64, u64)> {
        let mut counter = Counter::new(budgeting, 0);
        let mut all = Vec::new();
        for (t, events) in ticks {
            let events = events.map(|(bad, total)| Count { bad, total });
            let Count { bad, total } = counter.tick(*t, events);
            if total > 0 {
                all.push((*t, bad, total));
            }
        }
        all
    }

    fn slices(empty: Empty) -> Slices {
        Slices { length_s: 60, target: "0.95".parse().unwrap(), empty }
    }

    #[test]
    fn a_slice_is_good_at_its_target() {
        let ticks = [(30, Some((5, 50))), (60, Some((0, 50))), (120, Some((6, 100)))];
        let counted = run(Budgeting::Slices(slices(Empty::Exclude)), &ticks);
        assert_eq!(counted, [(60, 0, 1), (120, 1, 1)]);
        let counted = run(Budgeting::RatioSlices(slices(Empty::Exclude)), &ticks);
        assert_eq!(counted, [(60, 500_000, 10_000_000), (120, 600_000, 10_000_000)]);
    }

    #[test]
    fn empty_slices_and_slices_not_observed() {
        let ticks = [(60, Some((0, 0))), (120, None), (200, Some((1, 1))), (300, Some((0, 0)))];
        let good = [(60, 0, 1), (300, 1, 1)];
        // The slice (180, 240] ends unseen; (240, 300] is empty.
        let ticks_good = run(Budgeting::Slices(slices(Empty::Good)), &ticks);
        assert_eq!(ticks_good, [good[0], (300, 1, 2)]);
        assert_eq!(run(Budgeting::Slices(slices(Empty::Exclude)), &ticks), [(300, 1, 1)]);
        assert_eq!(run(Budgeting::Slices(slices(Empty::Bad)), &ticks), [(60, 1, 1), (300, 2, 2)]);
    }
}
