//! How addresses are called: by the answers of look-ups that were seen on this node.
//!
//! A name holds from its answer to the end of the answer's time to live, in the network namespace that
//! asked. A connection is named by what held when it was first seen, however long it lasts. Where several
//! names lead to one address, as with large providers, the latest answer before the connection decides;
//! who must know better has the name that an HTTP client asks for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{Address, MonoNs, Open};
use crate::protocol::dns::lookup::Answer;

/// Addresses whose names are kept.
pub const MAX_NAMES: usize = 8192;

/// What is added to a time to live: between an answer and the connection that it is for, a program may
/// try other addresses.
const GRACE_NS: u64 = 10_000_000_000;

/// How long a name is kept for connections that were first seen while it held.
const KEPT_NS: u64 = 3_600_000_000_000;

/// An address in a network namespace.
type Place = (u32, IpAddr);

#[derive(Debug)]
struct Named {
    name: Arc<str>,
    from_ns: MonoNs,
    until_ns: MonoNs,
    /// Counts the answers: an older place in the queue is passed over.
    turn: u64,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Addresses with a name.
    pub known: usize,
    /// Names that were forgotten to make room.
    pub evicted: u64,
}

/// The table.
#[derive(Debug)]
pub struct Names {
    known: HashMap<Place, Named>,
    /// In the order of their last answer.
    order: VecDeque<(MonoNs, u64, Place)>,
    limit: usize,
    turn: u64,
    evicted: u64,
}

impl Names {
    /// At most so many addresses.
    pub fn new(limit: usize) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
            turn: 0,
            evicted: 0,
        }
    }

    /// What is kept now.
    pub fn stats(&self) -> Stats {
        Stats { known: self.known.len(), evicted: self.evicted }
    }

    /// Takes in an answer.
    pub fn learn(&mut self, answer: &Answer) {
        let mut shared: Option<Arc<str>> = None;
        for (address, seconds) in &answer.addresses {
            let place = (answer.network_namespace, address.to_canonical());
            let until_ns = answer
                .time_ns
                .saturating_add(u64::from(*seconds) * 1_000_000_000)
                .saturating_add(GRACE_NS);
            self.turn += 1;
            let turn = self.turn;
            self.order.push_back((answer.time_ns, turn, place));
            if let Some(named) = self.known.get_mut(&place)
                && *named.name == *answer.question.name
            {
                named.until_ns = named.until_ns.max(until_ns);
                named.turn = turn;
            } else {
                let name = shared.get_or_insert_with(|| Arc::from(&*answer.question.name));
                let (name, from_ns) = (Arc::clone(name), answer.time_ns);
                self.known.insert(place, Named { name, from_ns, until_ns, turn });
            }
            self.make_room(answer.time_ns);
        }
    }

    /// The name of the other end of a connection.
    pub fn of(&self, open: &Open) -> Option<Arc<str>> {
        let Address::Inet { address, .. } = &open.remote else { return None };
        let named = self.known.get(&(open.network_namespace, *address))?;
        let held = named.from_ns <= open.time_ns && open.time_ns <= named.until_ns;
        held.then(|| Arc::clone(&named.name))
    }

    /// Forgets what is too old, and what is too much. The queue has an entry for each answer, so it is
    /// bounded, too.
    fn make_room(&mut self, now: MonoNs) {
        while let Some((time, turn, place)) = self.order.front().copied() {
            let is_current = self.known.get(&place).is_some_and(|named| named.turn == turn);
            let is_old = now.saturating_sub(time) >= KEPT_NS
                && self.known.get(&place).is_none_or(|named| named.until_ns <= now);
            let is_too_much = self.known.len() > self.limit || self.order.len() > 2 * self.limit;
            if is_current && !is_old && !is_too_much {
                return;
            }
            self.order.pop_front();
            if is_current {
                self.known.remove(&place);
                self.evicted += u64::from(!is_old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ConnectionId, ProcessKey};
    use crate::protocol::dns::message::Question;

    fn answer(time_ns: MonoNs, namespace: u32, name: &str, address: &str, ttl: u32) -> Answer {
        Answer {
            time_ns,
            network_namespace: namespace,
            question: Arc::new(Question { name: name.into(), kind: "A".into(), class: 1 }),
            addresses: vec![(address.parse().unwrap(), ttl)],
        }
    }

    fn open(time_ns: MonoNs, namespace: u32, address: &str) -> Open {
        let inet = |address: &str, port| Address::Inet { address: address.parse().unwrap(), port };
        Open {
            connection: ConnectionId(1),
            time_ns,
            process: ProcessKey { pid: 1, start_ns: 0 },
            comm: String::new(),
            from_start: true,
            network_namespace: namespace,
            local: inet("10.0.0.1", 40_000),
            remote: inet(address, 443),
        }
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_connection_is_named_by_what_held_when_it_began() {
        let mut names = Names::new(10);
        names.learn(&answer(5 * SECOND, 1, "api.example.com", "192.0.2.1", 60));
        let check = |names: &Names, time, namespace, address: &str, expected: Option<&str>| {
            let found = names.of(&open(time * SECOND, namespace, address));
            assert_eq!(found.as_deref(), expected, "{time} {namespace} {address}");
        };
        check(&names, 6, 1, "192.0.2.1", Some("api.example.com"));
        check(&names, 75, 1, "192.0.2.1", Some("api.example.com"));
        check(&names, 76, 1, "192.0.2.1", None);
        check(&names, 4, 1, "192.0.2.1", None);
        check(&names, 6, 2, "192.0.2.1", None);
        check(&names, 6, 1, "192.0.2.2", None);
        names.learn(&answer(70 * SECOND, 1, "api.example.com", "192.0.2.1", 60));
        check(&names, 6, 1, "192.0.2.1", Some("api.example.com"));
        check(&names, 130, 1, "192.0.2.1", Some("api.example.com"));
        names.learn(&answer(80 * SECOND, 1, "www.example.com", "192.0.2.1", 60));
        check(&names, 81, 1, "192.0.2.1", Some("www.example.com"));
        check(&names, 71, 1, "192.0.2.1", None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut names = Names::new(3);
        for number in 0..10 {
            names.learn(&answer(number, 1, "a.b", &format!("192.0.2.{number}"), 60));
        }
        assert_eq!(names.stats(), Stats { known: 3, evicted: 7 });
        for _ in 0..100 {
            names.learn(&answer(20, 1, "a.b", "192.0.2.9", 60));
        }
        assert!(names.order.len() <= 6 && names.stats().known >= 1, "{names:?}");
        names.learn(&answer(2 * KEPT_NS, 1, "c.d", "192.0.2.20", 60));
        assert_eq!(names.stats().known, 1);
    }
}
