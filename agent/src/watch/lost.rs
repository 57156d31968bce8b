//! Counts of what was lost: from the kernel's tables into the pipeline.
//!
//! Nothing is looked at before the first record found no room or was not made. Then the tables are
//! read every second or two, until everything that lost a record has ended and is counted.

use vigie_common::counter::Counter;

use crate::event::{Close, Event, MonoNs};
use crate::pipeline::Pipeline;
use crate::probe::counters::Counts;
use crate::probe::load::Probes;
use crate::probe::undelivered::{self, SILENT_NS};

/// Time between two looks at all connections, in nanoseconds.
const LOOK_EVERY_NS: u64 = 2_000_000_000;

/// The losses that leave the counting of a call to the kernel.
const OF_RECORDS: [Counter; 2] = [Counter::LostRingFull, Counter::LostShed];

fn of_records(counts: &Counts) -> u64 {
    OF_RECORDS.iter().map(|counter| counts.get(*counter)).sum()
}

/// What is known of losses between two looks.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The kernel's counters of lost records at the last look.
    records: u64,
    /// Something that lost a record is still to be counted.
    pending: bool,
    /// The kernel's counters of lost records when it was last asked whether there are more.
    told: u64,
    looked_ns: MonoNs,
    /// Ends that come after the records that were in the rings when they were found.
    closes: Vec<Close>,
}

/// What a look gave to the pipeline.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Exchanges to count.
    pub(super) counts: undelivered::Counts,
    /// Ends of connections, to be taken in like any other.
    pub(super) closes: Vec<Event<'static>>,
}

impl Lost {
    /// Looks, if there is something to look for. `is_drained`: all rings were empty a moment ago,
    /// so that what connections say that were silent for long is not ahead of their records.
    pub(super) fn look(
        &mut self,
        probes: &mut Probes,
        pipeline: &mut Pipeline,
        counts: &Counts,
        now: MonoNs,
        is_drained: bool,
    ) -> Found {
        if !self.is_pending(counts) {
            return Found::default();
        }
        let mut found = Found::default();
        if is_drained && now.saturating_sub(self.looked_ns) >= LOOK_EVERY_NS {
            self.looked_ns = now;
            found.closes.extend(self.closes.drain(..).map(Event::Close));
            self.closes = probes.undeliveries.take_closes();
            let silent = probes.undeliveries.silent(&probes.control, now, SILENT_NS);
            pipeline.stands(&silent.standings);
            found.counts = silent.counts;
            self.pending = silent.more || !self.closes.is_empty();
        }
        // After the connections: what has left their table in the meantime is counted here.
        found.counts.extend(probes.undeliveries.counts(now));
        found
    }

    /// Whether records were lost since this was last asked.
    pub(super) fn has_more(&mut self, counts: &Counts) -> bool {
        let records = of_records(counts);
        std::mem::replace(&mut self.told, records) != records
    }

    /// Whether something lost a record that is not counted yet, by what the kernel counted so far.
    fn is_pending(&mut self, counts: &Counts) -> bool {
        let records = of_records(counts);
        self.pending |= records != self.records;
        self.records = records;
        self.pending
    }

    /// The last look: nothing is written any more, and the rings are empty.
    pub(super) fn last_look(
        &mut self,
        probes: &mut Probes,
        pipeline: &mut Pipeline,
        now: MonoNs,
    ) -> Found {
        let mut found = Found::default();
        found.closes.extend(self.closes.drain(..).map(Event::Close));
        found.closes.extend(probes.undeliveries.take_closes().into_iter().map(Event::Close));
        let silent = probes.undeliveries.silent(&probes.control, now, 0);
        pipeline.stands(&silent.standings);
        found.counts = silent.counts;
        found.counts.extend(probes.undeliveries.counts(now));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_found_no_room_and_those_that_were_shed_are_looked_for() {
        for reason in OF_RECORDS {
            let mut lost = Lost::default();
            assert!(!lost.is_pending(&Counts::of(&[(Counter::LostUserMemory, 3)])));
            assert!(lost.is_pending(&Counts::of(&[(reason, 1)])), "{reason:?}");
            assert!(lost.is_pending(&Counts::of(&[(reason, 1)])), "nobody has looked yet");
            lost.pending = false;
            assert!(!lost.is_pending(&Counts::of(&[(reason, 1)])));
            assert!(lost.is_pending(&Counts::of(&[(reason, 2)])));
        }
    }
}
