//! Connections: one state each, from events to the parser's pieces and from its findings to
//! exchanges with the connection they went over.
//!
//! - [`track`]: one direction's positions; turns a Data event into pieces, gaps included
//! - [`detect`]: which protocol it is, where the kernel cannot tell
//! - [`held`]: the first bytes of a connection, until the kernel knows what it is
//! - [`parser`]: the parser of one connection, whichever it is
//! - [`connection`]: the state of one connection
//! - [`in_flight`]: requests that have no end yet, of all connections
//!
//! The table of connections is bounded; the longest idle ones make room. So is the memory of all
//! parsers together: a parser that would pass the bound forgets what it has in flight.
#![forbid(unsafe_code)]

mod connection;
mod detect;
mod held;
mod in_flight;
mod parser;
#[cfg(test)]
mod tests;
mod track;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub use connection::Connection;
use connection::State;

use crate::event::{Class, Close, ConnectionId, Data, Event, MonoNs, Open, Standing};
use crate::protocol::{self, Advice, Exchange, Problem};

/// Where the findings go.
pub trait Sink {
    /// A finished exchange.
    fn exchange(&mut self, exchange: Exchange, connection: &Connection);
    /// Something that made no sense.
    fn problem(&mut self, problem: Problem, connection: &Connection);
    /// Something that the kernel may profit from. Positions are those of the connection.
    fn advice(&mut self, connection: ConnectionId, advice: Advice);
}

/// Bounds of [`Flows`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are kept.
    pub connections: usize,
    /// Bytes that all parsers together may keep of incomplete heads and of requests in flight.
    pub parser_bytes: usize,
    /// Bounds of each parser.
    pub protocol: protocol::Limits,
    /// A connection is forgotten after so many nanoseconds without an event.
    pub idle_ns: u64,
    /// A connection whose TCP state is CLOSE is forgotten after so many nanoseconds, in which bytes
    /// that arrived before may still be read.
    pub closed_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            parser_bytes: 32 * 1024 * 1024,
            protocol: protocol::Limits::default(),
            idle_ns: 900_000_000_000,
            closed_ns: 2_000_000_000,
        }
    }
}

/// What happened to connections, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections first heard of.
    pub opened: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Connections forgotten because they were idle for long.
    pub expired: u64,
    /// Connections forgotten because the table was full.
    pub evicted: u64,
    /// Connections whose opening was not heard of.
    pub without_open: u64,
    /// Connections that were older than the agent.
    pub mid_stream: u64,
    /// Times that first bytes of a connection were dropped because the kernel had not told what
    /// they were before they were too many.
    pub undecided: u64,
    /// Times that a parser had to forget what was in flight, for want of memory.
    pub relieved: u64,
    /// Records that the kernel lost on the connections that were seen.
    pub records_lost: u64,
    /// Bytes missing between captured ones.
    pub bytes_lost: u64,
    /// Gaps between captured bytes on connections on which no record was lost.
    pub gaps: u64,
}

/// Ports whose protocol is configured, by the protocol's name.
#[derive(Clone, Debug, Default)]
pub struct Ports(Vec<(u16, &'static str)>);

impl FromIterator<(u16, &'static str)> for Ports {
    fn from_iter<I: IntoIterator<Item = (u16, &'static str)>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Ports {
    /// The protocol of a connection between these ports.
    fn protocol(&self, ends: [u16; 2]) -> Option<&'static str> {
        self.0.iter().find(|(port, _)| ends.contains(port)).map(|(_, protocol)| *protocol)
    }
}

/// All connections.
#[derive(Debug)]
pub struct Flows {
    limits: Limits,
    ports: Ports,
    connections: HashMap<ConnectionId, Box<State>, BuildHasherDefault<IdHasher>>,
    /// Memory of all parsers.
    parser_bytes: usize,
    stats: Stats,
}

impl Flows {
    /// No connections yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ports: Ports::default(),
            connections: HashMap::default(),
            parser_bytes: 0,
            stats: Stats::default(),
        }
    }

    /// Takes these ports' protocols as configured, on connections that are new from now on.
    pub fn set_ports(&mut self, ports: Ports) {
        self.ports = ports;
    }

    /// Takes in an event. Events come in the order in which they happened, per connection.
    pub fn event(&mut self, event: &Event<'_>, sink: &mut impl Sink) {
        match event {
            Event::Data(data) => self.data(data, sink),
            Event::Open(open) => self.open(open, sink),
            Event::Close(close) => self.close(close, sink),
            Event::Datagram(_)
            | Event::Exec(_)
            | Event::Fork(_)
            | Event::Exit(_)
            | Event::Resolved(_)
            | Event::Environment(_)
            | Event::Identity(_) => {}
        }
    }

    /// Forgets connections that were idle for long or closed, and gives out what has ended as far
    /// as can be seen. To be called about once per second.
    pub fn expire(&mut self, now: MonoNs, sink: &mut impl Sink) {
        let Self { limits, connections, parser_bytes, stats, .. } = self;
        connections.retain(|_, state| {
            let before = state.memory();
            let keep = if state.is_closed_since(now, limits.closed_ns) {
                state.end_closed(sink);
                stats.closed += 1;
                false
            } else if now.saturating_sub(state.last_ns()) >= limits.idle_ns {
                state.abandon(now, sink);
                stats.expired += 1;
                false
            } else {
                state.settle(now, sink);
                true
            };
            let after = if keep { state.memory() } else { 0 };
            *parser_bytes = (*parser_bytes + after).saturating_sub(before);
            keep
        });
    }

    /// Gives out what has ended as far as can be seen, without waiting for more: the agent ends.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        for state in self.connections.values_mut() {
            state.settle(MonoNs::MAX, sink);
        }
    }

    /// The kernel's table tells where a connection stands of which every record was taken in: what
    /// was lost at its end is known without a further record.
    pub fn stands(&mut self, connection: ConnectionId, standing: Standing) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.stands(standing);
        }
    }

    /// Number of connections in the table.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// What happened so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn open(&mut self, open: &Open, sink: &mut impl Sink) {
        self.make_room(open.connection, open.time_ns, sink);
        self.stats.mid_stream += u64::from(!open.from_start);
        let state = self.connections.entry(open.connection).or_insert_with(|| {
            self.stats.opened += 1;
            Box::new(State::new(open.connection, self.limits.protocol, open.time_ns))
        });
        state.opened(open);
    }

    fn data(&mut self, data: &Data<'_>, sink: &mut impl Sink) {
        if matches!(data.class, Class::Encrypted | Class::Uninteresting) {
            if let Some(state) = self.connections.remove(&data.connection) {
                self.parser_bytes = self.parser_bytes.saturating_sub(state.memory());
            }
            return;
        }
        if let Some(state) = self.connections.get_mut(&data.connection) {
            let before = state.memory();
            state.data(data, &self.ports, &mut self.stats, sink);
            let mut after = state.memory();
            if after > before
                && self.parser_bytes.saturating_add(after - before) > self.limits.parser_bytes
            {
                state.relieve(data.exit_ns, sink);
                self.stats.relieved += 1;
                after = state.memory();
            }
            self.parser_bytes = (self.parser_bytes + after).saturating_sub(before);
            return;
        }
        self.make_room(data.connection, data.exit_ns, sink);
        self.stats.opened += 1;
        self.stats.without_open += 1;
        let state = Box::new(State::new(data.connection, self.limits.protocol, data.exit_ns));
        self.connections.insert(data.connection, state);
        // It is in the table now: this ends at once.
        self.data(data, sink);
    }

    fn close(&mut self, close: &Close, sink: &mut impl Sink) {
        let Some(state) = self.connections.get_mut(&close.connection) else { return };
        let before = state.memory();
        let gone = state.close(close, &mut self.stats, sink);
        let after = if gone { 0 } else { state.memory() };
        self.parser_bytes = (self.parser_bytes + after).saturating_sub(before);
        if gone {
            self.connections.remove(&close.connection);
            self.stats.closed += 1;
        }
    }

    /// Forgets the longest idle connections when the table is full: a batch of them, so that
    /// looking for them costs little per connection.
    fn make_room(&mut self, wanted: ConnectionId, now: MonoNs, sink: &mut impl Sink) {
        let full = self.connections.len() >= self.limits.connections.max(1);
        if !full || self.connections.contains_key(&wanted) {
            return;
        }
        let mut idle: Vec<_> =
            self.connections.iter().map(|(id, state)| (state.last_ns(), *id)).collect();
        let batch = (idle.len() / 64).max(1);
        if batch < idle.len() {
            idle.select_nth_unstable(batch - 1);
        }
        for (_, id) in idle.iter().take(batch) {
            if let Some(mut state) = self.connections.remove(id) {
                self.parser_bytes = self.parser_bytes.saturating_sub(state.memory());
                state.abandon(now, sink);
                self.stats.evicted += 1;
            }
        }
    }
}

/// Connection ids are counted by the kernel programs: spreading their bits is enough.
#[derive(Clone, Copy, Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // 2^64 divided by the golden ratio; the table takes its bits from both ends.
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
