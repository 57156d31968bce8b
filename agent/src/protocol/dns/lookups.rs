//! Datagrams in, look-ups out.
//!
//! A question waits for the answer with the same identification and question on the same socket. What
//! is asked again in the meantime is another attempt of the same look-up:
//!
//! - by a client, the same question with the same identification, from the same socket or by the same
//!   thread from another one (most resolver libraries), or with another identification by the same thread
//!   after [`RETRY_NS`] (Go);
//! - for a server, the same question with the same identification of the same peer.
//!
//! An answer that was cut waits for the same question over TCP, and both are one look-up; so are a question
//! without an answer and the same one that its thread asks over TCP meanwhile (glibc asks for A and AAAA again
//! when one of the answers is cut, and does not wait for the other). A question
//! without an answer is one that timed out, [`TIMEOUT_NS`] after its last attempt, unless datagrams were
//! lost meanwhile: then nobody knows. An answer without a question is counted and passed over: it came
//! too late, twice, or its question was asked before vigie was there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ends::{Ends, Spoken};
use super::is_apart;
use super::lookup::{Answer, Asker, Found, Lookup, MessageKey, TIMEOUT_NS, deadline};
use super::message::{Content, INTERNET, Message, Question, Response};
use crate::event::{Address, Datagram, Direction, MonoNs, Open};
use crate::protocol::{Call, Exchange, Role};
use crate::span::Flags;

/// A thread that asks the same again after so long, and has no answer yet, is trying again.
const RETRY_NS: u64 = 1_000_000_000;

/// Attempts of one look-up whose answers are known as its own. More are counted only.
const MAX_KEYS: usize = 8;

/// Look-ups alike that a question is compared with at most, the latest.
const MAX_ALIKE: usize = 64;

/// Look-ups that wait, unless configured.
pub const MAX_WAITING: usize = 8192;

/// What happened, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages of DNS in datagrams.
    pub messages: u64,
    /// Datagrams that looked like DNS and were none.
    pub others: u64,
    /// Datagrams of multicast DNS and the like.
    pub apart: u64,
    /// Answers without a question.
    pub unmatched: u64,
    /// Look-ups that were given up because too many waited.
    pub evicted: u64,
}

/// All look-ups over UDP.
#[derive(Debug)]
pub struct Lookups {
    limit: usize,
    next: u64,
    waiting: HashMap<u64, Lookup>,
    by_message: HashMap<MessageKey, Vec<u64>>,
    by_asker: HashMap<Asker, Vec<u64>>,
    deadlines: BTreeSet<(MonoNs, u64)>,
    ends: Ends,
    lost: u64,
    /// Of this round, and of the round before: the other end may be heard of later.
    fresh: Vec<(Found, Option<Spoken>)>,
    settled: Vec<(Found, Option<Spoken>)>,
    /// Look-ups over TCP, likewise: the cut answer before may be heard of later.
    fresh_tcp: Vec<OverTcp>,
    settled_tcp: Vec<OverTcp>,
    answers: Vec<Answer>,
    stats: Stats,
}

/// A look-up over TCP, and its connection.
pub type OverTcp = (Exchange, Option<Arc<Open>>);

/// What a round gives.
#[derive(Debug, Default)]
pub struct Settled {
    /// Look-ups over UDP.
    pub found: Vec<Found>,
    /// Look-ups over TCP, joined with what they had of UDP.
    pub over_tcp: Vec<OverTcp>,
    /// Answers that name addresses.
    pub answers: Vec<Answer>,
}

impl Lookups {
    /// At most `limit` that wait.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            next: 0,
            waiting: HashMap::new(),
            by_message: HashMap::new(),
            by_asker: HashMap::new(),
            deadlines: BTreeSet::new(),
            ends: Ends::new(limit),
            lost: 0,
            fresh: Vec::new(),
            settled: Vec::new(),
            fresh_tcp: Vec::new(),
            settled_tcp: Vec::new(),
            answers: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Look-ups that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes in a datagram.
    pub fn datagram(&mut self, datagram: &Datagram<'_>) {
        if is_apart(datagram) {
            self.stats.apart += 1;
            return;
        }
        let is_whole = datagram.head.len() as u64 == u64::from(datagram.length);
        let Some(message) = Message::parse(&datagram.head, is_whole) else {
            self.stats.others += 1;
            return;
        };
        self.stats.messages += 1;
        let asks = matches!(message.content, Content::Question(_));
        let role = match (datagram.direction, asks) {
            (Direction::Sent, true) | (Direction::Received, false) => Role::Client,
            (Direction::Received, true) | (Direction::Sent, false) => Role::Server,
        };
        let key = MessageKey { role, socket: datagram.socket, id: message.id };
        match message.content {
            Content::Question(question) => self.asked(key, question, datagram),
            Content::Answer(question, response) => {
                self.answered(key, question.as_ref(), datagram, response);
            }
        }
    }

    /// Notes who has this part in a look-up.
    fn note_end(&mut self, key: MessageKey, question: &Arc<Question>, datagram: &Datagram<'_>) {
        if let Some(spoken) = spoken(key, question, &datagram.local, datagram.remote.as_ref()) {
            self.ends.seen(&spoken, key.role, datagram.unit.process, datagram.exit_ns);
        }
    }

    fn asked(&mut self, key: MessageKey, question: Arc<Question>, datagram: &Datagram<'_>) {
        self.note_end(key, &question, datagram);
        let time_ns = match key.role {
            Role::Client if datagram.enter_ns > 0 => datagram.enter_ns,
            _ => datagram.exit_ns,
        };
        let asker = Asker { role: key.role, process: datagram.unit.process, question };
        if let Some(number) = self.tried_before(&asker, key, datagram, time_ns)
            && let Some(lookup) = self.waiting.get_mut(&number)
        {
            lookup.attempts += 1;
            self.deadlines.remove(&(deadline(lookup.last_ns), number));
            lookup.last_ns = lookup.last_ns.max(time_ns);
            self.deadlines.insert((deadline(lookup.last_ns), number));
            if lookup.keys.len() < MAX_KEYS && !lookup.keys.contains(&key) {
                lookup.keys.push(key);
                self.by_message.entry(key).or_default().push(number);
            }
            return;
        }
        if self.waiting.len() >= self.limit
            && let Some((_, oldest)) = self.deadlines.first().copied()
        {
            self.stats.evicted += 1;
            self.give_up(oldest, time_ns);
        }
        let number = self.next;
        self.next += 1;
        self.by_asker.entry(asker.clone()).or_default().push(number);
        self.by_message.entry(key).or_default().push(number);
        self.deadlines.insert((deadline(time_ns), number));
        let lookup = Lookup {
            // 0 is for those that never waited.
            sequence: u32::try_from(number & 0x7fff_ffff).map_or(0, |number| number + 1),
            asker,
            unit: datagram.unit,
            start_ns: time_ns,
            last_ns: time_ns,
            attempts: 1,
            keys: vec![key],
            network_namespace: datagram.network_namespace,
            local: datagram.local.clone(),
            remote: datagram.remote.clone(),
            lossy: false,
            cut: None,
        };
        self.waiting.insert(number, lookup);
    }

    /// The look-up that this question is another attempt of.
    fn tried_before(
        &self,
        asker: &Asker,
        key: MessageKey,
        datagram: &Datagram<'_>,
        time_ns: MonoNs,
    ) -> Option<u64> {
        let is_attempt = |number: &&u64| {
            let Some(lookup) = self.waiting.get(number).filter(|known| known.cut.is_none()) else {
                return false;
            };
            if lookup.keys.contains(&key) {
                return key.role == Role::Client || lookup.remote == datagram.remote;
            }
            let same_id = lookup.keys.iter().any(|known| known.id == key.id);
            let waits_ns = time_ns.saturating_sub(lookup.last_ns);
            key.role == Role::Client
                && lookup.unit == datagram.unit
                && (same_id || waits_ns >= RETRY_NS)
        };
        self.by_asker.get(asker)?.iter().rev().take(MAX_ALIKE).find(is_attempt).copied()
    }

    fn answered(
        &mut self,
        key: MessageKey,
        question: Option<&Arc<Question>>,
        datagram: &Datagram<'_>,
        response: Response,
    ) {
        let may_be = |number: &&u64| {
            let Some(lookup) = self.waiting.get(number) else { return false };
            let same_end = match (&lookup.remote, &datagram.remote) {
                (Some(asked), Some(answered)) => key.role == Role::Client || asked == answered,
                _ => true,
            };
            same_end && question.is_none_or(|question| lookup.asker.question == *question)
        };
        let numbers = self.by_message.get(&key);
        let Some(number) = numbers.and_then(|numbers| numbers.iter().find(may_be)).copied() else {
            self.stats.unmatched += 1;
            return;
        };
        let Some(question) = self.waiting.get(&number).map(|it| Arc::clone(&it.asker.question))
        else {
            return;
        };
        self.note_end(key, &question, datagram);
        if key.role == Role::Client && !response.addresses.is_empty() {
            self.answers.push(Answer {
                time_ns: datagram.exit_ns,
                network_namespace: datagram.network_namespace,
                question: Arc::clone(&question),
                addresses: response.addresses.clone(),
            });
        }
        let end_ns = datagram.exit_ns;
        if response.truncated {
            let Some(lookup) = self.waiting.get_mut(&number) else { return };
            self.deadlines.remove(&(deadline(lookup.last_ns), number));
            lookup.last_ns = end_ns;
            self.deadlines.insert((deadline(end_ns), number));
            lookup.cut = Some((end_ns, response));
            lookup.remote = lookup.remote.take().or_else(|| datagram.remote.clone());
            for key in std::mem::take(&mut lookup.keys) {
                unlist(&mut self.by_message, &key, number);
            }
            return;
        }
        let Some(mut lookup) = self.remove(number) else { return };
        if key.role == Role::Client || lookup.remote.is_none() {
            // Where the answer came from; where several were asked, that is the one.
            lookup.remote = datagram.remote.clone().or(lookup.remote);
            lookup.local = datagram.local.clone();
        }
        let spoken = spoken(key, &question, &lookup.local, lookup.remote.as_ref());
        self.give_out(lookup, spoken, end_ns, Some(&response), Flags::none());
    }

    /// Takes in a look-up over TCP.
    pub fn over_tcp(&mut self, exchange: Exchange, open: Option<Arc<Open>>) {
        self.fresh_tcp.push((exchange, open));
    }

    /// The look-up over UDP that is a part of one over TCP, because its answer was cut or not waited for.
    fn part(&self, exchange: &Exchange, open: Option<&Open>) -> Option<u64> {
        let Call::Dns(call) = &exchange.call else { return None };
        let address = |end: Option<&Address>| match end {
            Some(Address::Inet { address, .. }) => Some(*address),
            _ => None,
        };
        let remote = address(open.map(|open| &open.remote));
        // Its class is not in the call; there is hardly another one than that of the Internet.
        let question =
            Question { name: call.name.clone(), kind: call.kind.clone(), class: INTERNET };
        let asker = Asker {
            role: exchange.role,
            process: exchange.unit.process,
            question: Arc::new(question),
        };
        let is_it = |number: &&u64| {
            self.waiting.get(number).is_some_and(|lookup| {
                let other = address(lookup.remote.as_ref());
                let was_left = lookup.unit == exchange.unit
                    && lookup.last_ns <= exchange.start_ns
                    && exchange.role == Role::Client;
                (lookup.cut.is_some() || was_left)
                    && (other == remote || other.is_none() || remote.is_none())
            })
        };
        self.by_asker.get(&asker)?.iter().find(is_it).copied()
    }

    /// Joins a look-up over TCP with its part over UDP.
    fn join(&mut self, (exchange, open): &mut OverTcp) {
        let Some(number) = self.part(exchange, open.as_deref()) else { return };
        let Some(lookup) = self.remove(number) else { return };
        if lookup.cut.is_none() {
            // It is what was shown while both were in flight.
            exchange.id = lookup.id();
        }
        let Call::Dns(call) = &mut exchange.call else { return };
        exchange.start_ns = exchange.start_ns.min(lookup.start_ns);
        call.attempts = call.attempts.saturating_add(lookup.attempts);
        call.truncated = lookup.cut.is_some();
    }

    /// So many datagrams were lost since the start. Nothing is said of what waited meanwhile.
    pub fn lost(&mut self, total: u64) {
        if total > self.lost {
            self.waiting.values_mut().for_each(|lookup| lookup.lossy = true);
        }
        self.lost = total;
    }

    /// Gives up what has waited long enough. All that was there by `now` has to be taken in.
    pub fn expire(&mut self, now: MonoNs) {
        while let Some((deadline, number)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.give_up(number, now);
        }
    }

    /// Nothing more comes: what waits is given out as far as it is known.
    pub fn finish(&mut self, now: MonoNs) {
        for over_tcp in [&mut self.fresh_tcp, &mut self.settled_tcp].map(std::mem::take) {
            for mut one in over_tcp {
                self.join(&mut one);
                self.settled_tcp.push(one);
            }
        }
        self.expire(now);
        while let Some((_, number)) = self.deadlines.first().copied() {
            self.give_up(number, now);
        }
    }

    /// The look-ups of the round before, and the answers of this one.
    pub fn settle(&mut self) -> Settled {
        let settled = std::mem::replace(&mut self.settled, std::mem::take(&mut self.fresh));
        let found = settled.into_iter().map(|(mut found, spoken)| {
            let role = found.exchange.role;
            found.other = spoken.and_then(|spoken| self.ends.other(&spoken, role));
            found
        });
        let found = found.collect();
        let fresh = std::mem::take(&mut self.fresh_tcp);
        let mut over_tcp = std::mem::replace(&mut self.settled_tcp, fresh);
        for one in &mut over_tcp {
            self.join(one);
        }
        Settled { found, over_tcp, answers: std::mem::take(&mut self.answers) }
    }

    /// Gives out a look-up without a whole answer.
    fn give_up(&mut self, number: u64, now: MonoNs) {
        let Some(mut lookup) = self.remove(number) else { return };
        let (key, question) = (lookup.keys.first(), &lookup.asker.question);
        let remote = lookup.remote.as_ref();
        let spoken = key.and_then(|key| spoken(*key, question, &lookup.local, remote));
        if let Some((end_ns, response)) = lookup.cut.take() {
            self.give_out(lookup, spoken, end_ns, Some(&response), Flags::none());
        } else if lookup.lossy {
            let flags = Flags::LOSSY | Flags::NO_RESPONSE | Flags::DURATION_UNTRUSTED;
            self.give_out(lookup, spoken, now, None, flags);
        } else if now >= deadline(lookup.last_ns) {
            let end_ns = lookup.last_ns.saturating_add(TIMEOUT_NS);
            self.give_out(lookup, spoken, end_ns, None, Flags::none());
        } else {
            let flags = Flags::NO_RESPONSE | Flags::DURATION_UNTRUSTED;
            self.give_out(lookup, spoken, now, None, flags);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Lookup> {
        let lookup = self.waiting.remove(&number)?;
        self.deadlines.remove(&(deadline(lookup.last_ns), number));
        unlist(&mut self.by_asker, &lookup.asker, number);
        for key in &lookup.keys {
            unlist(&mut self.by_message, key, number);
        }
        Some(lookup)
    }

    fn give_out(
        &mut self,
        lookup: Lookup,
        spoken: Option<Spoken>,
        end_ns: MonoNs,
        response: Option<&Response>,
        flags: Flags,
    ) {
        self.fresh.push((lookup.into_found(end_ns, response, flags), spoken));
    }
}

fn unlist<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<u64>>, key: &K, number: u64) {
    if let Some(numbers) = lists.get_mut(key) {
        numbers.retain(|known| *known != number);
        if numbers.is_empty() {
            lists.remove(key);
        }
    }
}

fn spoken(
    key: MessageKey,
    question: &Arc<Question>,
    local: &Address,
    remote: Option<&Address>,
) -> Option<Spoken> {
    let end = match key.role {
        Role::Client => local,
        Role::Server => remote?,
    };
    let Address::Inet { port, .. } = end else { return None };
    Some(Spoken { port: *port, id: key.id, question: Arc::clone(question) })
}

mod in_flight;
#[cfg(test)]
mod tests;
