//! When each SLO's snapshot is due: one after the other, never all at once. Goes by the time of ticks.

/// From one snapshot of an SLO to its next, in seconds. What a restart must replay of the journal is at most
/// about this; what is written grows as it gets less (about 7 MB for 200 full SLOs each time).
pub(crate) const ROUND_S: i64 = 1_800;
/// From a snapshot that could not be written to the next try.
const RETRY_S: i64 = 30;

/// When snapshots are due.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Per SLO. One that has no snapshot is due at once.
    due: Vec<i64>,
    /// Time of the last tick that asked, and how many it was given.
    asked: (i64, usize),
    /// Where the search begins, so that each SLO has its turn.
    cursor: usize,
}

impl Schedule {
    /// By when the snapshots that there are were made.
    pub(crate) fn new(made: &[Option<i64>]) -> Self {
        let due = made.iter().map(|made| made.map_or(i64::MIN, |t| t.saturating_add(ROUND_S)));
        Self { due: due.collect(), asked: (i64::MIN, 0), cursor: 0 }
    }

    /// An SLO whose snapshot is due at `t`. At most as many at each tick as a round of 10 s ticks needs.
    pub(crate) fn next(&mut self, t: i64) -> Option<usize> {
        let count = self.due.len();
        let most = 1 + count / 180;
        if self.asked.0 != t {
            self.asked = (t, 0);
        }
        if self.asked.1 >= most {
            return None;
        }
        for step in 0..count {
            let slo = (self.cursor + step) % count;
            if let Some(due) = self.due.get_mut(slo)
                && *due <= t
            {
                self.cursor = slo + 1;
                self.asked.1 += 1;
                *due = t.saturating_add(ROUND_S);
                return Some(slo);
            }
        }
        None
    }

    /// The snapshot could not be written.
    pub(crate) fn failed(&mut self, slo: usize) {
        if let Some(due) = self.due.get_mut(slo) {
            *due = self.asked.0.saturating_add(RETRY_S);
        }
    }

    /// All are due soon: the journal has a gap that only snapshots close.
    pub(crate) fn all(&mut self) {
        let (t, count) = (self.asked.0.max(0), self.due.len());
        for (slo, due) in self.due.iter_mut().enumerate() {
            *due = t.saturating_add(spread(slo, count, RETRY_S)).min(*due);
        }
    }
}

fn spread(slo: usize, count: usize, over_s: i64) -> i64 {
    let part = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    part(slo + 1).saturating_mul(over_s) / part(count).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_and_never_all_at_once() {
        for count in [1, 7, 200, 1_000] {
            for made in [None, Some(1_794_999_000), Some(5)] {
                let mut schedule = Schedule::new(&vec![made; count]);
                let mut given = vec![0; count];
                for tick in 0..2 * ROUND_S / 2 {
                    let mut at_once = 0;
                    while let Some(slo) = schedule.next(1_795_000_000 + tick * 2) {
                        given[slo] += 1;
                        at_once += 1;
                    }
                    assert!(at_once <= 1 + count / 180);
                }
                assert!(given.iter().all(|times| *times == 2), "{count}: {given:?}");
            }
        }
    }

    #[test]
    fn what_failed_comes_again_soon() {
        let mut schedule = Schedule::new(&[None; 3]);
        assert_eq!((schedule.next(9_000), schedule.next(9_000)), (Some(0), None));
        schedule.failed(0);
        assert_eq!([9_002, 9_004, 9_006].map(|t| schedule.next(t)), [Some(1), Some(2), None]);
        assert_eq!(schedule.next(9_030), Some(0));
        schedule.all();
        assert_eq!([9_040, 9_050, 9_060].map(|t| schedule.next(t)), [Some(0), Some(1), Some(2)]);
    }
}
