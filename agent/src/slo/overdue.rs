//! When to look at requests in flight, and at which.
//!
//! A request is looked at once for each limit that somebody set, when it has crossed it: looks at one limit
//! follow one another. They overlap a little, for requests whose heads took long to come; who counts knows
//! them by their ids.

use std::ops::Range;

use crate::event::MonoNs;

/// Most limits that are told apart; what comes in between is looked at with the next longer one.
const MAX_LIMITS: usize = 16;
/// How far looks overlap, in nanoseconds.
const OVERLAP_NS: u64 = 5_000_000_000;

/// Where the looks are.
#[derive(Debug, Default)]
pub struct Overdue {
    /// By limit in nanoseconds, the shortest first: where the next look begins.
    limits: Vec<(u64, MonoNs)>,
    /// Requests that began before this may have been answered unseen.
    lost_ns: MonoNs,
}

impl Overdue {
    /// Sets the limits, in nanoseconds. Those that stay go on.
    pub fn set(&mut self, mut limits: Vec<u64>, now: MonoNs) {
        limits.sort_unstable();
        limits.dedup();
        while limits.len() > MAX_LIMITS {
            // The two that are closest become one.
            let gaps = limits.iter().zip(limits.iter().skip(1)).map(|(short, long)| long - short);
            let Some((closest, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else { break };
            limits.remove(closest);
        }
        let before = std::mem::take(&mut self.limits);
        let from = |limit: u64| {
            let same = before.iter().find(|(known, _)| *known == limit);
            same.map_or(now.saturating_sub(limit), |(_, from)| *from)
        };
        self.limits = limits.into_iter().map(|limit| (limit, from(limit))).collect();
    }

    /// Records were lost: an answer may have been among them.
    pub fn lost(&mut self, now: MonoNs) {
        self.lost_ns = now;
    }

    /// Times of beginning to be looked at, and whether it is for the shortest limit.
    pub fn looks(&self, now: MonoNs) -> Vec<(Range<MonoNs>, bool)> {
        let looks = self.limits.iter().enumerate().map(|(index, (limit, from))| {
            let from = from.saturating_sub(OVERLAP_NS).max(self.lost_ns);
            (from..now.saturating_sub(*limit), index == 0)
        });
        looks.collect()
    }

    /// The look with this index came to an end at this time.
    pub fn looked(&mut self, index: usize, until: MonoNs) {
        if let Some((_, from)) = self.limits.get_mut(index) {
            *from = (*from).max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn looks_follow_one_another() {
        let mut overdue = Overdue::default();
        overdue.set(vec![30 * SECOND, SECOND, SECOND], 100 * SECOND);
        let seconds = |looks: Vec<(Range<u64>, bool)>| -> Vec<(u64, u64, bool)> {
            looks.into_iter().map(|(r, first)| (r.start / SECOND, r.end / SECOND, first)).collect()
        };
        assert_eq!(seconds(overdue.looks(101 * SECOND)), [(94, 100, true), (65, 71, false)]);
        overdue.looked(0, 100 * SECOND);
        overdue.lost(99 * SECOND);
        assert_eq!(seconds(overdue.looks(110 * SECOND)), [(99, 109, true), (99, 80, false)]);
        overdue.set(vec![SECOND], 110 * SECOND);
        assert_eq!(seconds(overdue.looks(120 * SECOND)), [(99, 119, true)]);
    }

    #[test]
    fn limits_are_bounded() {
        let mut overdue = Overdue::default();
        overdue.set((1..=20).map(|n| n * n * SECOND).collect(), 0);
        assert_eq!(overdue.limits.len(), MAX_LIMITS);
        assert_eq!(overdue.limits.first().map(|limit| limit.0 / SECOND), Some(25));
    }
}
