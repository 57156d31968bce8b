//! From events and clocks to ticks.
//!
//! Ticks are laid by the wall clock, so that nodes and restarts agree on them, but advance by the
//! monotonic clock, which events have their times of. A wall clock that is set back is not followed: ticks
//! go on by the monotonic clock. One that is set forward leaves a gap that was not observed. A tick stays open for [`GRACE_MS`] past its
//! end; an event that comes later counts in the tick that is open then, and in a counter. A closed
//! tick is never changed.

use crate::evaluate::Tick;
use crate::rings::FINE_S;

/// How long an event may be late.
pub const GRACE_MS: i64 = 2_000;
const TICK_MS: i64 = FINE_S.cast_signed() * 1_000;

/// What an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Not known: lost, or without a trusted duration.
    Unobserved,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    good: u64,
    bad: u64,
    unobserved: u64,
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Good => self.good += 1,
            Outcome::Bad => self.bad += 1,
            Outcome::Unobserved => self.unobserved += 1,
        }
    }
}

/// Ticks of 10 s that are being filled.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Time of the ticks, in milliseconds since 1970, at `monotonic_ms`.
    now_ms: i64,
    monotonic_ms: i64,
    /// End of the oldest open tick in milliseconds; a multiple of 10 s.
    end_ms: i64,
    /// From when on the oldest open tick is observed.
    seen_from_ms: i64,
    /// The oldest open tick, and the one after it, which is filled during the grace.
    open: [Counts; 2],
    late: u64,
}

impl Intake {
    /// Starts at a reading of both clocks. The first tick is the next whole one: what came before it
    /// began is part of a tick that was not seen whole.
    pub fn new(wall_ms: i64, monotonic_ms: i64) -> Self {
        let start_ms = (wall_ms.saturating_add(TICK_MS - 1)).div_euclid(TICK_MS) * TICK_MS;
        Self {
            now_ms: wall_ms,
            monotonic_ms,
            end_ms: start_ms.saturating_add(TICK_MS),
            seen_from_ms: start_ms,
            open: [Counts::default(); 2],
            late: 0,
        }
    }

    /// Events that came after their tick had been closed.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// An event that ended at `monotonic_ms`.
    pub fn event(&mut self, monotonic_ms: i64, outcome: Outcome) {
        let wall_ms = monotonic_ms.saturating_sub(self.monotonic_ms).saturating_add(self.now_ms);
        if wall_ms <= self.seen_from_ms {
            // Before the open tick: of one that is closed, or from before the start.
            self.late += 1;
        }
        let second = usize::from(wall_ms > self.end_ms);
        if let Some(counts) = self.open.get_mut(second) {
            counts.add(outcome);
        }
    }

    /// A reading of both clocks. Gives the tick that is closed by it, if one is; ask again until there
    /// is none. Seconds that passed without being seen (the wall clock was set forward, or the machine
    /// slept) are a gap before the next tick.
    pub fn clock(&mut self, wall_ms: i64, monotonic_ms: i64) -> Option<Tick> {
        let passed = monotonic_ms.saturating_sub(self.monotonic_ms).max(0);
        let expected = self.now_ms.saturating_add(passed);
        self.monotonic_ms = monotonic_ms.max(self.monotonic_ms);
        let ahead = wall_ms.saturating_sub(expected);
        // A small lead is the usual correction of clocks.
        self.now_ms = expected.max(wall_ms);
        if ahead > TICK_MS {
            return Some(self.jump(expected));
        }
        (self.now_ms >= self.end_ms.saturating_add(GRACE_MS)).then(|| self.close())
    }

    fn close(&mut self) -> Tick {
        let [Counts { good, bad, unobserved }, next] = self.open;
        let tick = Tick { t: self.end_ms / 1_000, length_s: FINE_S, good, bad, unobserved };
        self.open = [next, Counts::default()];
        self.seen_from_ms = self.end_ms;
        self.end_ms = self.end_ms.saturating_add(TICK_MS);
        tick
    }

    /// Closes the open tick and begins anew with the next whole one after the jump; what was counted
    /// for the tick after the open one goes there.
    fn jump(&mut self, until_ms: i64) -> Tick {
        // Only as long as it was seen; what is before its beginning is a gap, too.
        let seen_s = until_ms.saturating_sub(self.seen_from_ms).clamp(1_000, TICK_MS) / 1_000;
        let tick = Tick { length_s: seen_s.unsigned_abs(), ..self.close() };
        let carried = self.open;
        *self =
            Self { late: self.late, open: carried, ..Self::new(self.now_ms, self.monotonic_ms) };
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends and counts of the ticks that are closed at readings of `(wall, monotonic)` seconds.
    fn ticks(intake: &mut Intake, readings: &[(i64, i64)]) -> Vec<(i64, u64, u64)> {
        let mut all = Vec::new();
        for (wall, monotonic) in readings {
            while let Some(tick) = intake.clock(wall * 1_000, monotonic * 1_000) {
                all.push((tick.t, tick.good, tick.bad));
            }
        }
        all
    }

    #[test]
    fn a_tick_waits_for_late_events() {
        let mut intake = Intake::new(100_000, 0);
        intake.event(5_000, Outcome::Good);
        assert_eq!(ticks(&mut intake, &[(111, 11)]), []);
        intake.event(10_000, Outcome::Bad);
        intake.event(10_500, Outcome::Good);
        assert_eq!(ticks(&mut intake, &[(112, 12)]), [(110, 1, 1)]);
        intake.event(9_000, Outcome::Bad);
        assert_eq!(intake.late(), 1);
        assert_eq!(ticks(&mut intake, &[(122, 22)]), [(120, 1, 1)]);
    }

    #[test]
    fn a_clock_set_back_is_held() {
        let mut intake = Intake::new(100_000, 0);
        assert_eq!(ticks(&mut intake, &[(112, 12)]), [(110, 0, 0)]);
        // An hour back: ticks go on, and events are not late.
        intake.event(15_000, Outcome::Bad);
        assert_eq!(ticks(&mut intake, &[(-3_478, 22), (-3_468, 32)]), [(120, 0, 1), (130, 0, 0)]);
        assert_eq!(intake.late(), 0);
    }

    #[test]
    fn a_clock_set_forward_is_a_gap() {
        let mut intake = Intake::new(100_000, 0);
        intake.event(5_000, Outcome::Bad);
        let tick = Tick { t: 110, length_s: 6, good: 0, bad: 1, unobserved: 0 };
        assert_eq!(intake.clock(3_705_000, 6_000), Some(tick), "six seconds of it were seen");
        assert_eq!(ticks(&mut intake, &[(3_722, 23)]), [(3_720, 0, 0)]);
    }
}
