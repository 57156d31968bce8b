//! The bounded table of processes: what is remembered of each, and for how long.
//!
//! One entry per process id: of two processes with one id, only the later is of interest, and the
//! start tells which one a record speaks of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::identity::Identity;
use crate::event::MonoNs;
use crate::span::Process;

/// How long an ended process is remembered: its last spans may still be on their way, through the
/// rings (at most a second) and through connections that another process goes on using.
const LINGER: Duration = Duration::from_secs(10);

/// Processes by id.
pub(super) struct Table {
    entries: HashMap<u32, Entry>,
    capacity: usize,
    tick_ns: u64,
    /// Counts the uses, to tell what was not used for long.
    uses: u64,
    evicted: u64,
}

/// What is remembered of a process.
pub(super) struct Entry {
    start: Start,
    last_use: u64,
    /// When it ended, or was found to have ended.
    pub(super) exited_ns: Option<MonoNs>,
    /// Who it is; `None` until somebody asks.
    pub(super) identity: Option<Identity>,
    /// When it was looked at in `/proc`, 0 where it was not.
    pub(super) looked_ns: MonoNs,
    /// Whether its environment could not be read there.
    pub(super) hides_environment: bool,
    /// What is known of it until then.
    pub(super) pending: Pending,
}

/// What is known of a process that was not looked at yet.
#[derive(Clone, Default)]
pub(super) struct Pending {
    /// Name given to execve.
    pub(super) filename: String,
    /// The first arguments.
    pub(super) arguments: Vec<String>,
    /// When its environment, of which the next two are, was read.
    pub(super) environment_ns: MonoNs,
    /// `OTEL_SERVICE_NAME` of its environment.
    pub(super) service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES` of its environment.
    pub(super) resource_attributes: Option<String>,
    /// Identity and arguments of the process that made it, where it did not exec since.
    pub(super) parent: Option<(Arc<Process>, Vec<String>)>,
}

/// When a process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// As the kernel has it; 0 where it is not known.
    Exact(u64),
    /// From `/proc`: within the clock tick that began then.
    Tick(u64),
}

impl Table {
    /// For at most so many processes, with starts in ticks of so many nanoseconds.
    pub(super) fn new(capacity: usize, tick_ns: u64) -> Self {
        let (entries, uses, evicted) = (HashMap::new(), 0, 0);
        Self { entries, capacity: capacity.max(1), tick_ns, uses, evicted }
    }

    /// The process with an id and a start, if it is known.
    pub(super) fn find(&mut self, pid: u32, start: Start) -> Option<&mut Entry> {
        self.uses += 1;
        let entry =
            self.entries.get_mut(&pid).filter(|entry| entry.start.is_same(start, self.tick_ns))?;
        entry.last_use = self.uses;
        Some(entry)
    }

    /// Who has an id now, if that is known.
    pub(super) fn identity(&self, pid: u32) -> Option<&Identity> {
        self.entries.get(&pid)?.identity.as_ref()
    }

    /// The process with an id and a start, as it is known or new. An earlier process with that id
    /// is forgotten.
    pub(super) fn enter(&mut self, pid: u32, start: Start) -> &mut Entry {
        self.uses += 1;
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&pid) {
            self.evict();
        }
        let entry = self.entries.entry(pid).or_insert_with(|| Entry::new(start));
        if !entry.start.is_same(start, self.tick_ns) {
            *entry = Entry::new(start);
        }
        entry.last_use = self.uses;
        entry
    }

    /// Forgets what ended some seconds before `now_ns`.
    pub(super) fn expire(&mut self, now_ns: MonoNs) {
        let linger = u64::try_from(LINGER.as_nanos()).unwrap_or(u64::MAX);
        self.entries.retain(|_, entry| {
            entry.exited_ns.is_none_or(|exited| now_ns.saturating_sub(exited) < linger)
        });
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Number of processes.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Processes forgotten, while they may still have been running, because there were too many.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Forgets the sixteenth of the processes that was not used for the longest time, at least
    /// one: so many at once that looking through all of them is paid for by the next insertions.
    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.last_use).collect();
        let nth = self.capacity / 16;
        if nth >= uses.len() {
            return;
        }
        let (_, limit, _) = uses.select_nth_unstable(nth);
        let limit = *limit;
        let evicted = &mut self.evicted;
        self.entries.retain(|_, entry| {
            let is_kept = entry.last_use > limit;
            // One that ended would soon have been forgotten anyway.
            *evicted += u64::from(!is_kept && entry.exited_ns.is_none());
            is_kept
        });
    }
}

impl Entry {
    fn new(start: Start) -> Self {
        let pending = Pending::default();
        Self {
            start,
            last_use: 0,
            exited_ns: None,
            identity: None,
            looked_ns: 0,
            hides_environment: false,
            pending,
        }
    }
}

impl Start {
    /// Whether two starts can be of one process. One that is not known fits all. `/proc` rounds
    /// down to ticks; one tick more is allowed on each side, for rounding inside the kernel.
    pub(super) fn is_same(self, other: Self, tick_ns: u64) -> bool {
        match (self, other) {
            (Self::Exact(0), _) | (_, Self::Exact(0)) => true,
            (Self::Exact(one), Self::Exact(other)) | (Self::Tick(one), Self::Tick(other)) => {
                one == other
            }
            (Self::Tick(tick), Self::Exact(exact)) | (Self::Exact(exact), Self::Tick(tick)) => {
                exact.saturating_add(tick_ns) >= tick
                    && exact < tick.saturating_add(tick_ns.saturating_mul(2))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts() {
        use Start::{Exact, Tick};
        let check = |one: Start, other: Start, expected: bool| {
            assert_eq!(one.is_same(other, 10), expected, "{one:?} {other:?}");
            assert_eq!(other.is_same(one, 10), expected, "{other:?} {one:?}");
        };
        check(Exact(5), Exact(5), true);
        check(Exact(5), Exact(6), false);
        check(Exact(0), Exact(6), true);
        check(Exact(0), Tick(60), true);
        check(Tick(50), Tick(60), false);
        check(Tick(50), Exact(50), true);
        check(Tick(50), Exact(69), true);
        check(Tick(50), Exact(70), false);
        check(Tick(50), Exact(40), true);
        check(Tick(50), Exact(39), false);
    }

    #[test]
    fn least_used_goes_first() {
        let mut table = Table::new(32, 10);
        for pid in 0..32 {
            table.enter(pid, Start::Exact(1));
        }
        for pid in (0..32).filter(|pid| *pid != 7 && *pid != 9 && *pid != 11) {
            assert!(table.find(pid, Start::Exact(1)).is_some());
        }
        assert!(table.find(7, Start::Exact(2)).is_none());
        table.enter(100, Start::Exact(1));
        assert_eq!((table.len(), table.evicted()), (30, 3));
        assert!(table.find(7, Start::Exact(1)).is_none());
        assert!(table.find(8, Start::Exact(1)).is_some());
    }

    #[test]
    fn later_process_takes_the_place_of_an_earlier_one() {
        let mut table = Table::new(4, 10);
        table.enter(1, Start::Exact(1)).exited_ns = Some(5);
        assert_eq!(table.enter(1, Start::Exact(1)).exited_ns, Some(5));
        assert_eq!(table.enter(1, Start::Exact(2)).exited_ns, None);
        assert_eq!(table.len(), 1);
    }
}
