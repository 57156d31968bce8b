//! From events and clocks to ticks.
//!
//! Ticks are laid by the wall clock, so that nodes and restarts agree on them, but advance by the
//! monotonic clock, which events have their times of. A wall clock that is set back is not followed: ticks
//! go on by the monotonic clock. One that is set forward leaves a gap that was not observed. A tick stays
//! open for [`GRACE_MS`] past its end; an event that comes later counts in the tick that is open then, and
//! in a counter. A closed tick is never changed.

use crate::evaluate::Tick;

/// Length of a node's tick in seconds: with the grace, an alert begins at most 4 s after its condition is
/// met.
pub const TICK_S: u64 = 2;
/// How long an event may be late.
pub const GRACE_MS: i64 = 2_000;
const TICK_MS: i64 = TICK_S.cast_signed() * 1_000;
/// Ticks that may be open at once: the oldest, those that are filled during the grace, and one for a
/// clock that is read late.
const OPEN: usize = 4;

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

/// Events by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good ones.
    pub good: u64,
    /// Bad ones.
    pub bad: u64,
    /// Not known.
    pub unobserved: u64,
}

impl Counts {
    /// Adds so many events.
    pub fn add(&mut self, outcome: Outcome, events: u64) {
        let count = match outcome {
            Outcome::Good => &mut self.good,
            Outcome::Bad => &mut self.bad,
            Outcome::Unobserved => &mut self.unobserved,
        };
        *count = count.saturating_add(events);
    }
}

/// Ticks that are being filled.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Time of the ticks, in milliseconds since 1970, at `monotonic_ms`.
    now_ms: i64,
    monotonic_ms: i64,
    /// End of the oldest open tick in milliseconds; a multiple of its length.
    end_ms: i64,
    /// From when on the oldest open tick is observed.
    seen_from_ms: i64,
    /// The oldest open tick, and those after it.
    open: [Counts; OPEN],
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
            open: [Counts::default(); OPEN],
            late: 0,
        }
    }

    /// Events that came after their tick had been closed.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// So many events that ended at `monotonic_ms`.
    pub fn events(&mut self, monotonic_ms: i64, outcome: Outcome, events: u64) {
        let wall_ms = monotonic_ms.saturating_sub(self.monotonic_ms).saturating_add(self.now_ms);
        if wall_ms <= self.seen_from_ms {
            // Before the open tick: of one that is closed, or from before the start.
            self.late = self.late.saturating_add(events);
        }
        let after = wall_ms.saturating_sub(self.end_ms).saturating_add(TICK_MS - 1);
        let tick = usize::try_from(after.div_euclid(TICK_MS)).unwrap_or(0).min(OPEN - 1);
        if let Some(counts) = self.open.get_mut(tick) {
            counts.add(outcome, events);
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
        if ahead > JUMP_MS {
            return Some(self.jump(expected));
        }
        (self.now_ms >= self.end_ms.saturating_add(GRACE_MS)).then(|| self.close())
    }

    fn close(&mut self) -> Tick {
        let Counts { good, bad, unobserved } = self.open.first().copied().unwrap_or_default();
        let tick = Tick { t: self.end_ms / 1_000, length_s: TICK_S, good, bad, unobserved };
        self.open.rotate_left(1);
        if let Some(last) = self.open.last_mut() {
            *last = Counts::default();
        }
        self.seen_from_ms = self.end_ms;
        self.end_ms = self.end_ms.saturating_add(TICK_MS);
        tick
    }

    /// Closes what is open as one tick, only as long as it was seen, and begins anew with the next whole
    /// one after the jump.
    fn jump(&mut self, until_ms: i64) -> Tick {
        let mut all = Counts::default();
        for counts in self.open {
            all.add(Outcome::Good, counts.good);
            all.add(Outcome::Bad, counts.bad);
            all.add(Outcome::Unobserved, counts.unobserved);
        }
        let start_s = self.seen_from_ms / 1_000;
        let length_s = (until_ms / 1_000).saturating_sub(start_s).max(1);
        let Counts { good, bad, unobserved } = all;
        *self = Self { late: self.late, ..Self::new(self.now_ms, self.monotonic_ms) };
        let t = start_s.saturating_add(length_s);
        Tick { t, length_s: length_s.unsigned_abs(), good, bad, unobserved }
    }
}

/// A wall clock that is further ahead than this was set.
const JUMP_MS: i64 = 10_000;

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
        intake.events(1_000, Outcome::Good, 1);
        assert_eq!(ticks(&mut intake, &[(103, 3)]), []);
        intake.events(2_000, Outcome::Bad, 1);
        intake.events(2_500, Outcome::Good, 2);
        intake.events(4_001, Outcome::Good, 3);
        assert_eq!(ticks(&mut intake, &[(104, 4)]), [(102, 1, 1)]);
        intake.events(1_900, Outcome::Bad, 1);
        assert_eq!(intake.late(), 1);
        assert_eq!(ticks(&mut intake, &[(109, 9)]), [(104, 2, 1), (106, 3, 0)]);
    }

    #[test]
    fn a_clock_that_is_read_late_mixes_no_ticks() {
        let mut intake = Intake::new(100_000, 0);
        for second in [1, 3, 5, 7] {
            intake.events(second * 1_000, Outcome::Good, 1);
        }
        let all = [(102, 1, 0), (104, 1, 0), (106, 1, 0), (108, 1, 0)];
        assert_eq!(ticks(&mut intake, &[(110, 10)]), all);
    }

    #[test]
    fn a_clock_set_back_is_held() {
        let mut intake = Intake::new(100_000, 0);
        assert_eq!(ticks(&mut intake, &[(104, 4)]), [(102, 0, 0)]);
        // An hour back: ticks go on, and events are not late.
        intake.events(5_000, Outcome::Bad, 1);
        assert_eq!(ticks(&mut intake, &[(-3_494, 6), (-3_492, 8)]), [(104, 0, 0), (106, 0, 1)]);
        assert_eq!(intake.late(), 0);
    }

    #[test]
    fn a_clock_set_forward_is_a_gap() {
        let mut intake = Intake::new(100_000, 0);
        intake.events(1_000, Outcome::Bad, 1);
        intake.events(2_500, Outcome::Good, 1);
        let tick = Tick { t: 103, length_s: 3, good: 1, bad: 1, unobserved: 0 };
        assert_eq!(intake.clock(3_705_000, 3_000), Some(tick), "three seconds of it were seen");
        assert_eq!(ticks(&mut intake, &[(3_710, 8)]), [(3_708, 0, 0)]);
    }
}
