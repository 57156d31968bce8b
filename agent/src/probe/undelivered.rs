//! What the kernel knows of exchanges that lost a record: the counts of those that are over, the one
//! that a silent connection ended with, and ends of connections for which the ring had no room.
//!
//! Counts are sums since their key was made; what is given out is what came since the last look. A
//! key that did not change for a minute is deleted to make room, and begins at zero when it is made
//! again.

use std::collections::HashMap as Table;

use aya::maps::{HashMap, MapData};
use vigie_common::exchange::{Undelivered, UndeliveredKey, class_of, exchange_flags};
use vigie_common::record::Close as CloseRecord;

use super::control::Control;
use super::wire::{self, Value};
use crate::event::{Close, ConnectionId, MonoNs, Standing};

/// A key is deleted after so many nanoseconds without a change.
const KEEP_NS: u64 = 60_000_000_000;

/// A connection counts as silent after so many nanoseconds without a byte. What comes later of the
/// response is not in the duration any more.
pub const SILENT_NS: u64 = 2_000_000_000;

/// The tables.
pub struct Undeliveries {
    pub(super) undelivered: HashMap<MapData, Value<UndeliveredKey>, Value<Undelivered>>,
    pub(super) settled: HashMap<MapData, u64, u32>,
    pub(super) closes: HashMap<MapData, u64, Value<CloseRecord>>,
    /// What was seen of `undelivered`, and when it changed last.
    known: Table<UndeliveredKey, (Undelivered, MonoNs)>,
    /// What is in `settled`.
    counted: Table<u64, u32>,
}

/// Exchanges to count, as [`Undeliveries`] gives them out.
pub type Counts = Vec<(UndeliveredKey, Undelivered)>;

/// What looking at all connections gave.
#[derive(Debug, Default)]
pub struct Silent {
    /// Exchanges that are over as far as can be seen, to be counted now.
    pub counts: Counts,
    /// Where connections stand that lost a record and fell silent.
    pub standings: Vec<(ConnectionId, Standing)>,
    /// Whether some that lost a record are not counted yet.
    pub more: bool,
}

impl Undeliveries {
    pub(super) fn new(
        undelivered: HashMap<MapData, Value<UndeliveredKey>, Value<Undelivered>>,
        settled: HashMap<MapData, u64, u32>,
        closes: HashMap<MapData, u64, Value<CloseRecord>>,
    ) -> Self {
        Self { undelivered, settled, closes, known: Table::new(), counted: Table::new() }
    }

    /// What the kernel counted since the last call.
    pub fn counts(&mut self, now: MonoNs) -> Counts {
        let mut counts = Counts::new();
        let mut old = Vec::new();
        for (Value(key), Value(value)) in self.undelivered.iter().filter_map(Result::ok) {
            let (before, changed_ns) = self.known.entry(key).or_insert((NOTHING, now));
            if value.count() != before.count() {
                counts.push((key, since(&value, before)));
                (*before, *changed_ns) = (value, now);
            } else if now.saturating_sub(*changed_ns) >= KEEP_NS {
                old.push(key);
            }
        }
        for key in old {
            // One that cannot be deleted stays, and is known.
            if self.undelivered.remove(&Value(key)).is_ok() {
                self.known.remove(&key);
            }
        }
        counts
    }

    /// Takes the ends of connections for which the ring had no room. They come after all records of
    /// their connection that are in the rings now.
    pub fn take_closes(&mut self) -> Vec<Close> {
        let found: Vec<(u64, CloseRecord)> = self
            .closes
            .iter()
            .filter_map(Result::ok)
            .map(|(id, Value(record))| (id, record))
            .collect();
        for (id, _) in &found {
            // Only this thread removes them.
            drop(self.closes.remove(id));
        }
        found.iter().filter_map(|(_, record)| wire::close(record)).collect()
    }

    /// Looks for connections whose last exchange lost a record and on which nothing went by for
    /// `idle_ns`. The kernel learns that such an exchange is counted, and does not count it again.
    pub fn silent(&mut self, control: &Control, now: MonoNs, idle_ns: u64) -> Silent {
        let mut found = Silent::default();
        let mut present = Table::new();
        for (key, entry) in control.entries() {
            let exchange = &entry.exchange;
            present.insert(entry.id.0, exchange.number);
            if exchange.flags & exchange_flags::LOST == 0 || exchange.number == 0 {
                continue;
            }
            if now.saturating_sub(entry.last_ns) < idle_ns {
                found.more = true;
                continue;
            }
            let (number, lost_before) = (exchange.number, exchange.lost_before);
            found
                .standings
                .push((entry.id, Standing { exchange: number, lost_before, lost: true }));
            if exchange.flags & exchange_flags::RESPONDED == 0 {
                found.more = true;
                continue;
            }
            if self.counted.get(&entry.id.0) == Some(&number) {
                continue;
            }
            let is_told = self.settled.insert(entry.id.0, number, 0).is_ok();
            // The kernel may have gone on in the meantime, and counted it.
            let unchanged = control.entry(key).is_some_and(|again| {
                (again.id, again.exchange.number, again.last_ns)
                    == (entry.id, number, entry.last_ns)
            });
            if !is_told || !unchanged {
                found.more = true;
                continue;
            }
            self.counted.insert(entry.id.0, number);
            let duration_ns = entry.last_ns.saturating_sub(exchange.start_ns);
            found.counts.push((exchange.key(), one(duration_ns)));
        }
        let settled = &mut self.settled;
        self.counted.retain(|id, number| {
            let keep = present.get(id) == Some(number);
            if !keep {
                drop(settled.remove(id));
            }
            keep
        });
        found
    }
}

const NOTHING: Undelivered =
    Undelivered { untimed: 0, sum_ns: 0, max_ns: 0, classes: [0; vigie_common::exchange::CLASSES] };

/// One exchange of this duration.
fn one(duration_ns: u64) -> Undelivered {
    let mut one = Undelivered { sum_ns: duration_ns, max_ns: duration_ns, ..NOTHING };
    if let Some(class) = one.classes.get_mut(class_of(duration_ns)) {
        *class = 1;
    }
    one
}

/// What came after an earlier state. The largest duration is that of both.
fn since(now: &Undelivered, before: &Undelivered) -> Undelivered {
    let mut rest = *now;
    rest.untimed = now.untimed.wrapping_sub(before.untimed);
    rest.sum_ns = now.sum_ns.wrapping_sub(before.sum_ns);
    for (class, before) in rest.classes.iter_mut().zip(&before.classes) {
        *class = class.wrapping_sub(*before);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel adds to the sum of durations first, and counts by one addition after it: user space may
    /// read between the two.
    #[test]
    fn a_read_between_two_additions_counts_nothing_twice() {
        let half = Undelivered { sum_ns: 3_000_000, max_ns: 3_000_000, ..NOTHING };
        assert_eq!(half.count(), NOTHING.count(), "it is taken with the next read");
        let part = since(&one(3_000_000), &half);
        assert_eq!((part.count(), part.untimed, part.sum_ns), (1, 0, 0));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (mut now, before) = (one(3_000_000), one(1_000));
        now.sum_ns += 1_000;
        now.classes[class_of(1_000)] += 1;
        assert_eq!(since(&now, &before), one(3_000_000));
        assert_eq!(since(&now, &NOTHING), now);
    }
}
