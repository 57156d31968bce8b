//! Room in the kernel's table of connections.
//!
//! TCP connections leave it by themselves when they end; a unix socket whose process was killed does
//! not, and a machine may simply have more connections than places. So connections are forgotten by
//! age, from user space, as the programs cannot walk their table:
//!
//! - more than half full: those idle for 15 minutes, looked for once a minute;
//! - more than 7/8 full: the longest idle, until it is 3/4 full, looked for every five seconds, or at
//!   once when a connection found no room.
//!
//! One that is used again is seen as a new one. A look costs two system calls per connection.

use vigie_common::counter::Counter;

use super::control::Control;
use super::counters::Counts;
use crate::event::MonoNs;

/// A connection may be forgotten after so many nanoseconds without use.
const IDLE_NS: u64 = 900_000_000_000;

/// Time between two looks for idle connections, in nanoseconds.
const AGED_EVERY_NS: u64 = 60_000_000_000;

/// Time between two looks for the longest idle ones, in nanoseconds.
const CROWDED_EVERY_NS: u64 = 5_000_000_000;

/// Entry of a connection: its key, and when it was used last.
type Age = (u64, MonoNs);

/// What was forgotten so far, and when it was looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Idle for long: nothing is lost.
    pub idle: u64,
    /// Removed to make room.
    pub evicted: u64,
    refused: u64,
    aged_ns: MonoNs,
    crowded_ns: MonoNs,
}

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Idle,
    /// So many may stay.
    Longest {
        stay: u64,
    },
}

impl Swept {
    /// Connections in the table.
    pub fn used(&self, counts: &Counts) -> u64 {
        let left = counts.get(Counter::ConnectionsClosed) + self.idle + self.evicted;
        counts.get(Counter::ConnectionsOpened).saturating_sub(left)
    }

    /// Whether it is time for a look, and for which.
    fn due(&mut self, counts: &Counts, max: u64, now: MonoNs) -> Option<Look> {
        let used = self.used(counts);
        let refused = counts.get(Counter::LostConnectionsFull);
        let is_past = |then: MonoNs, every: u64| then == 0 || now.saturating_sub(then) >= every;
        if used > max / 8 * 7
            && (refused > self.refused || is_past(self.crowded_ns, CROWDED_EVERY_NS))
        {
            (self.refused, self.crowded_ns) = (refused, now);
            return Some(Look::Longest { stay: max / 4 * 3 });
        }
        if used > max / 2 && is_past(self.aged_ns, AGED_EVERY_NS) {
            self.aged_ns = now;
            return Some(Look::Idle);
        }
        None
    }
}

impl Control {
    /// Makes room where it is short. To be called about once per second.
    pub fn sweep(&mut self, counts: &Counts, now: MonoNs) {
        let Some(look) = self.swept.due(counts, self.max_connections, now) else { return };
        let mut ages: Vec<Age> = self.entries().map(|(key, entry)| (key, entry.last_ns)).collect();
        let (idle, evicted) = choose(&mut ages, look, now);
        for key in idle {
            self.swept.idle += u64::from(self.connections.remove(&key).is_ok());
        }
        for key in evicted {
            self.swept.evicted += u64::from(self.connections.remove(&key).is_ok());
        }
    }

    /// What was forgotten so far.
    pub fn swept(&self) -> Swept {
        self.swept
    }
}

/// Keys of the connections that go because they are idle, and of those that go to make room.
fn choose(ages: &mut Vec<Age>, look: Look, now: MonoNs) -> (Vec<u64>, Vec<u64>) {
    let before = ages.len();
    let is_idle = |last: MonoNs| now.saturating_sub(last) > IDLE_NS;
    let idle = ages.iter().filter(|(_, last)| is_idle(*last)).map(|(key, _)| *key).collect();
    ages.retain(|(_, last)| !is_idle(*last));
    let Look::Longest { stay } = look else { return (idle, Vec::new()) };
    let stay = usize::try_from(stay).unwrap_or(usize::MAX).min(before);
    let surplus = ages.len().saturating_sub(stay);
    if surplus > 0 && surplus < ages.len() {
        ages.select_nth_unstable_by_key(surplus - 1, |(_, last)| *last);
    }
    (idle, ages.iter().take(surplus).map(|(key, _)| *key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonoNs = 10 * IDLE_NS;
    const SECOND: MonoNs = 1_000_000_000;

    /// Connections numbered from 0, the first used last so many seconds ago, each one second later.
    fn ages(count: u64, first: u64) -> Vec<Age> {
        (0..count).map(|number| (number, NOW - (first - number) * SECOND)).collect()
    }

    #[test]
    fn the_idle_go_first_and_then_the_longest_unused() {
        let (idle, evicted) = choose(&mut ages(8, 903), Look::Idle, NOW);
        assert_eq!((idle, evicted), (vec![0, 1, 2], vec![]));
        let (idle, mut evicted) = choose(&mut ages(8, 903), Look::Longest { stay: 3 }, NOW);
        evicted.sort_unstable();
        assert_eq!((idle, evicted), (vec![0, 1, 2], vec![3, 4]));
        let (idle, evicted) = choose(&mut ages(8, 10), Look::Longest { stay: 0 }, NOW);
        assert_eq!((idle.len(), evicted.len()), (0, 8));
        let (idle, evicted) = choose(&mut ages(8, 10), Look::Longest { stay: 9 }, NOW);
        assert_eq!((idle.len(), evicted.len()), (0, 0));
    }

    #[test]
    fn looks_are_rare() {
        let counts = |opened, refused| {
            Counts::of(&[
                (Counter::ConnectionsOpened, opened),
                (Counter::LostConnectionsFull, refused),
            ])
        };
        let mut swept = Swept::default();
        assert_eq!(swept.due(&counts(50, 0), 100, NOW), None);
        assert_eq!(swept.due(&counts(51, 0), 100, NOW), Some(Look::Idle));
        assert_eq!(swept.due(&counts(60, 0), 100, NOW + 59 * SECOND), None);
        assert_eq!(swept.due(&counts(60, 0), 100, NOW + 60 * SECOND), Some(Look::Idle));
        let crowded = Some(Look::Longest { stay: 75 });
        let now = NOW + 61 * SECOND;
        assert_eq!(swept.due(&counts(90, 0), 100, now), crowded);
        assert_eq!(swept.due(&counts(90, 0), 100, now + SECOND), None);
        assert_eq!(swept.due(&counts(90, 3), 100, now + SECOND), crowded);
        assert_eq!(swept.due(&counts(90, 3), 100, now + 2 * SECOND), None);
        assert_eq!(swept.due(&counts(90, 3), 100, now + 6 * SECOND), crowded);
        swept.evicted = 60;
        assert_eq!(swept.due(&counts(90, 3), 100, now + 60 * SECOND), None);
    }
}
