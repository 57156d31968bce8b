//! Look-ups that wait, as they stand.

use std::ops::Range;

use super::{Lookup, Lookups, spoken};
use crate::event::{MonoNs, Open};
use crate::protocol::Exchange;
use crate::protocol::dns::lookup::Found;
use crate::protocol::in_flight::{Look, Looked, Starts};

impl Lookups {
    /// Shows the look-ups over UDP that began in `started` and surely wait for their answers, of more
    /// than `most` the oldest. One whose answer was cut waits no more: it is asked again over TCP.
    /// Changes nothing; looks at each that waits.
    pub fn in_flight(
        &self,
        started: Range<MonoNs>,
        most: usize,
        now: MonoNs,
        mut each: impl FnMut(Found),
    ) -> Looked {
        let waits = |lookup: &&Lookup| !lookup.lossy && lookup.cut.is_none();
        let mut begun = Starts::new(started.clone());
        for lookup in self.waiting.values().filter(waits) {
            begun.wants(lookup.start_ns);
        }
        let looked = begun.oldest(most);
        if looked.shown == 0 {
            return looked;
        }
        let shown = started.start..looked.until;
        for lookup in self.waiting.values().filter(waits) {
            if shown.contains(&lookup.start_ns) {
                let mut found = lookup.so_far(now);
                let (question, role) = (&lookup.asker.question, lookup.asker.role);
                let spoken = lookup
                    .keys
                    .first()
                    .and_then(|key| spoken(*key, question, &lookup.local, lookup.remote.as_ref()));
                found.other = spoken.and_then(|spoken| self.ends.other(&spoken, role));
                each(found);
            }
        }
        looked
    }

    /// Whether a question in flight over TCP is shown as one over UDP already: it has the same thread's
    /// question as a part.
    pub fn is_shown_for(&self, exchange: &Exchange, open: Option<&Open>) -> bool {
        let part = self.part(exchange, open).and_then(|number| self.waiting.get(&number));
        part.is_some_and(|lookup| lookup.cut.is_none())
    }
}
