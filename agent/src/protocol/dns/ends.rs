//! Which two processes of this node spoke with each other.
//!
//! The socket of a resolver is usually bound to no address, and that of who asks often neither, so
//! addresses do not join both ends. What they said does: the port that was asked from, the
//! identification and the question. No addresses are compared, as each end may see others (a container's
//! bridge, a resolver's own rules).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::message::Question;
use crate::event::{MonoNs, ProcessKey};
use crate::protocol::Role;

/// What both ends of a look-up know of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spoken {
    /// Port that was asked from.
    pub port: u16,
    /// Identification.
    pub id: u16,
    /// What was asked for.
    pub question: Arc<Question>,
}

/// The ends, of the last seconds.
#[derive(Debug)]
pub struct Ends {
    known: HashMap<Spoken, [Option<ProcessKey>; 2]>,
    /// In the order in which they were first heard of.
    order: VecDeque<(MonoNs, Spoken)>,
    limit: usize,
    /// Ends that were forgotten early to make room: they are shown by address.
    pub evicted: u64,
}

/// How long an end is remembered.
const LINGER_NS: u64 = 10_000_000_000;

impl Ends {
    /// At most so many look-ups.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), limit: limit.max(1), evicted: 0 }
    }

    /// A process has this role in a look-up.
    pub fn seen(&mut self, spoken: &Spoken, role: Role, process: ProcessKey, now: MonoNs) {
        if let Some(ends) = self.known.get_mut(spoken) {
            *of(ends, role) = Some(process);
            return;
        }
        self.expire(now);
        if self.known.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.evicted += 1;
        }
        let mut ends = [None; 2];
        *of(&mut ends, role) = Some(process);
        self.known.insert(spoken.clone(), ends);
        self.order.push_back((now, spoken.clone()));
    }

    /// The process at the other end of a look-up in which `role` is this one's.
    pub fn other(&self, spoken: &Spoken, role: Role) -> Option<ProcessKey> {
        let mut ends = *self.known.get(spoken)?;
        *of(&mut ends, role.opposite())
    }

    fn expire(&mut self, now: MonoNs) {
        while let Some((time, _)) = self.order.front()
            && now.saturating_sub(*time) >= LINGER_NS
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn of(ends: &mut [Option<ProcessKey>; 2], role: Role) -> &mut Option<ProcessKey> {
    let [client, server] = ends;
    match role {
        Role::Client => client,
        Role::Server => server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(id: u16) -> Spoken {
        let question = Question { name: "a.b".into(), kind: "A".into(), class: 1 };
        Spoken { port: 40_000, id, question: Arc::new(question) }
    }

    fn process(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: 0 }
    }

    #[test]
    fn both_ends_find_each_other() {
        let mut ends = Ends::new(10);
        ends.seen(&spoken(1), Role::Client, process(1), 0);
        assert_eq!(ends.other(&spoken(1), Role::Client), None);
        ends.seen(&spoken(1), Role::Server, process(2), 5);
        assert_eq!(ends.other(&spoken(1), Role::Client), Some(process(2)));
        assert_eq!(ends.other(&spoken(1), Role::Server), Some(process(1)));
        assert_eq!(ends.other(&spoken(2), Role::Server), None);
    }

    #[test]
    fn they_are_bounded_and_forgotten() {
        let mut ends = Ends::new(2);
        for id in 0..3 {
            ends.seen(&spoken(id), Role::Client, process(1), 0);
        }
        assert_eq!((ends.known.len(), ends.evicted), (2, 1));
        ends.seen(&spoken(9), Role::Client, process(1), LINGER_NS);
        assert_eq!((ends.known.len(), ends.order.len(), ends.evicted), (1, 1, 1));
    }
}
