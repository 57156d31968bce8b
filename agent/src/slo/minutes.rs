//! Sums by minute for the latest few, and the usual: what is older, of which half is forgotten with every ten
//! minutes.

/// Length of a minute in milliseconds.
pub(super) const MINUTE_MS: i64 = 60_000;
/// How many minutes are told apart.
const MINUTES: usize = 6;
const LATEST_MS: i64 = MINUTES.cast_signed() as i64 * MINUTE_MS;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minutes<const N: usize> {
    /// The newest minute, by its beginning.
    pub(super) newest_ms: i64,
    /// The newest first.
    latest: [[u64; N]; MINUTES],
    usual: [u64; N],
}

impl<const N: usize> Default for Minutes<N> {
    fn default() -> Self {
        Self { newest_ms: i64::MIN, latest: [[0; N]; MINUTES], usual: [0; N] }
    }
}

impl<const N: usize> Minutes<N> {
    pub(super) fn add(&mut self, at_ms: i64, amounts: [u64; N]) {
        self.turn(at_ms);
        let back = self.newest_ms.saturating_sub(at_ms.div_euclid(MINUTE_MS) * MINUTE_MS);
        let minute = usize::try_from(back / MINUTE_MS).unwrap_or(0).min(MINUTES - 1);
        if let Some(sums) = self.latest.get_mut(minute) {
            add(sums, amounts);
        }
    }

    /// Goes on to the minute of a time. The usual is halved with each ten minutes, so that it follows.
    fn turn(&mut self, at_ms: i64) {
        let minute_ms = at_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        if self.newest_ms == i64::MIN {
            self.newest_ms = minute_ms;
        }
        let passed = minute_ms.saturating_sub(self.newest_ms) / MINUTE_MS;
        if passed <= 0 {
            return;
        }
        let steps = usize::try_from(passed).unwrap_or(MINUTES).min(MINUTES);
        for _ in 0..steps {
            self.latest.rotate_right(1);
            if let Some(first) = self.latest.first_mut() {
                add(&mut self.usual, std::mem::replace(first, [0; N]));
            }
        }
        let tens = minute_ms.div_euclid(10 * MINUTE_MS) - self.newest_ms.div_euclid(10 * MINUTE_MS);
        let halvings = u32::try_from(tens).unwrap_or(0).min(63);
        self.usual = self.usual.map(|sum| sum >> halvings);
        self.newest_ms = minute_ms;
    }

    /// Sums of the minutes that end after `since_ms`.
    pub(super) fn since(&self, now_ms: i64, since_ms: i64) -> [u64; N] {
        let mut sums = [0; N];
        let mut start = self.newest_ms;
        for minute in &self.latest {
            let is_recent = now_ms.saturating_sub(start) < LATEST_MS;
            if start.saturating_add(MINUTE_MS) > since_ms && is_recent {
                add(&mut sums, *minute);
            }
            start = start.saturating_sub(MINUTE_MS);
        }
        sums
    }

    /// What came before `since_ms`.
    pub(super) fn before(&self, since_ms: i64) -> [u64; N] {
        let mut sums = self.usual;
        let mut start = self.newest_ms;
        for minute in &self.latest {
            if start.saturating_add(MINUTE_MS) <= since_ms {
                add(&mut sums, *minute);
            }
            start = start.saturating_sub(MINUTE_MS);
        }
        sums
    }
}

fn add<const N: usize>(sums: &mut [u64; N], amounts: [u64; N]) {
    for (sum, amount) in sums.iter_mut().zip(amounts) {
        *sum = sum.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_become_the_usual() {
        let mut sums = Minutes::<1>::default();
        for minute in 0..10 {
            sums.add(minute * MINUTE_MS, [1]);
        }
        let now = 9 * MINUTE_MS;
        assert_eq!(sums.since(now, 0), [6]);
        assert_eq!(sums.since(now, 8 * MINUTE_MS), [2]);
        assert_eq!(sums.before(8 * MINUTE_MS), [8]);
        assert_eq!(sums.since(now + LATEST_MS, 0), [0], "too old to be recent");
        sums.add(2 * MINUTE_MS, [1]);
        assert_eq!(sums.since(now, 0), [7], "late, with the oldest that is told apart");
        sums.add(60 * MINUTE_MS, [1]);
        assert_eq!(sums.before(60 * MINUTE_MS), [0], "11 halved six times");
    }
}
