//! Who calls whom, and how it goes: the edges of the service graph.
//!
//! A call between two watched processes gives two spans, one at each end. It is counted once:
//!
//! - a client span counts its edge, always;
//! - a server span counts its edge only when the service of its peer is not known, as there is no
//!   client span then; it adds its duration as seen by the server in any case.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use crate::metrics::durations::{Bounds, Durations};
use crate::metrics::limits::Limits;
use crate::metrics::snapshot::{Edge, Party};
use crate::span::{Endpoint, Service, Span, SpanKind, Status};

/// All edges, bounded.
#[derive(Debug, Default)]
pub struct Edges {
    known: HashMap<EdgeKey<Arc<Service>, Arc<str>>, State>,
    overflowed: u64,
    expired: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EdgeKey<S, T> {
    client: PartyKey<S, T>,
    server: PartyKey<S, T>,
    protocol: &'static str,
}

/// An end of an edge, generic over its text, so that a look-up borrows all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PartyKey<S, T> {
    Service(S),
    /// A client: its port changes with each connection and says nothing.
    Host(IpAddr),
    Port(IpAddr, u16),
    /// A server whose address has a name.
    Named(T, u16),
    Unix(T),
    Other,
}

#[derive(Debug)]
struct State {
    start_unix_nano: u64,
    last_seen: u64,
    count: u64,
    errors: u64,
    client_durations: Durations,
    server_durations: Durations,
}

type Borrowed<'a> = EdgeKey<&'a Service, &'a str>;

impl<'a> Borrowed<'a> {
    fn of(span: &'a Span) -> Self {
        let own = PartyKey::Service(&*span.process.service);
        let peer = match (&span.peer_service, &span.peer) {
            (Some(service), _) => PartyKey::Service(&**service),
            (None, Endpoint::Inet(address, _)) if answers(span.kind) => PartyKey::Host(*address),
            (None, Endpoint::Inet(address, port)) => match span.peer_name.as_deref() {
                Some(name) => PartyKey::Named(name, *port),
                None => PartyKey::Port(*address, *port),
            },
            // The client's end of a unix connection has no name.
            (None, Endpoint::Unix(_)) if answers(span.kind) => PartyKey::Unix(""),
            (None, Endpoint::Unix(path)) => PartyKey::Unix(&**path),
        };
        let (client, server) = if answers(span.kind) { (peer, own) } else { (own, peer) };
        Self { client, server, protocol: span.protocol() }
    }

    fn overflow(span: &Span) -> Self {
        Self { client: PartyKey::Other, server: PartyKey::Other, protocol: span.protocol() }
    }
}

/// Whether spans of this kind are those of the called end.
fn answers(kind: SpanKind) -> bool {
    // A consumer asks its broker for messages.
    kind == SpanKind::Server
}

impl PartyKey<&Service, &str> {
    fn to_owned(&self, span: &Span) -> PartyKey<Arc<Service>, Arc<str>> {
        match *self {
            PartyKey::Service(service) => {
                let shared = std::iter::once(&span.process.service)
                    .chain(&span.peer_service)
                    .find(|known| ***known == *service);
                PartyKey::Service(shared.map_or_else(|| Arc::new(service.clone()), Arc::clone))
            }
            PartyKey::Host(address) => PartyKey::Host(address),
            PartyKey::Port(address, port) => PartyKey::Port(address, port),
            PartyKey::Named(name, port) => PartyKey::Named(name.into(), port),
            PartyKey::Unix(path) => PartyKey::Unix(path.into()),
            PartyKey::Other => PartyKey::Other,
        }
    }
}

impl<S: Borrow<Service>, T: Borrow<str>> PartyKey<S, T> {
    fn is(&self, other: &PartyKey<&Service, &str>) -> bool {
        match (self, other) {
            (Self::Service(a), PartyKey::Service(b)) => a.borrow() == *b,
            (Self::Host(a), PartyKey::Host(b)) => a == b,
            (Self::Port(a, a_port), PartyKey::Port(b, b_port)) => (a, a_port) == (b, b_port),
            (Self::Named(a, a_port), PartyKey::Named(b, b_port)) => {
                a.borrow() == *b && a_port == b_port
            }
            (Self::Unix(a), PartyKey::Unix(b)) => a.borrow() == *b,
            (Self::Other, PartyKey::Other) => true,
            _ => false,
        }
    }
}

impl PartyKey<Arc<Service>, Arc<str>> {
    fn party(&self) -> Party {
        match self {
            Self::Service(service) => Party::Service(Arc::clone(service)),
            Self::Host(address) => Party::Address(address.to_string().into()),
            Self::Port(address, port) => {
                Party::Address(Endpoint::Inet(*address, *port).to_string().into())
            }
            Self::Named(name, port) => Party::Address(format!("{name}:{port}").into()),
            Self::Unix(path) => Party::Address(Endpoint::Unix(Arc::clone(path)).to_string().into()),
            Self::Other => Party::Other,
        }
    }
}

impl Equivalent<EdgeKey<Arc<Service>, Arc<str>>> for Borrowed<'_> {
    fn equivalent(&self, key: &EdgeKey<Arc<Service>, Arc<str>>) -> bool {
        key.protocol == self.protocol && key.client.is(&self.client) && key.server.is(&self.server)
    }
}

impl Edges {
    /// Takes one span into account. A new edge begins at `start_unix_nano`.
    pub fn record(&mut self, span: &Span, start_unix_nano: u64, bounds: &Bounds, limits: &Limits) {
        let end = span.start_unix_nano.saturating_add(span.duration_ns);
        let mut key = Borrowed::of(span);
        if let Some(state) = self.known.get_mut(&key) {
            state.record(span, end, bounds);
            return;
        }
        // A second look at the overflow's own entry only past the bound.
        if self.known.len() >= limits.edges {
            self.overflowed += 1;
            key = Borrowed::overflow(span);
        }
        let owned = EdgeKey {
            client: key.client.to_owned(span),
            server: key.server.to_owned(span),
            protocol: key.protocol,
        };
        self.known
            .entry(owned)
            .or_insert_with(|| State::new(start_unix_nano))
            .record(span, end, bounds);
    }

    /// Forgets what was not seen since `oldest`, in nanoseconds of Unix time.
    pub fn expire(&mut self, oldest: u64) {
        let before = self.known.len();
        self.known.retain(|_, state| state.last_seen >= oldest);
        self.expired += (before - self.known.len()) as u64;
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Calls that found no room and went to the edge `other`.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Edges that were forgotten because nothing happened on them.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// All edges in a stable order.
    pub fn snapshot(&self) -> Vec<Edge> {
        let edge = |(key, state): (&EdgeKey<_, _>, &State)| Edge {
            client: key.client.party(),
            server: key.server.party(),
            protocol: key.protocol,
            start_unix_nano: state.start_unix_nano,
            count: state.count,
            errors: state.errors,
            client_durations: state.client_durations.clone(),
            server_durations: state.server_durations.clone(),
        };
        let mut edges: Vec<Edge> = self.known.iter().map(edge).collect();
        edges.sort_unstable_by(|a, b| {
            (&a.client, &a.server, a.protocol).cmp(&(&b.client, &b.server, b.protocol))
        });
        edges
    }
}

impl State {
    fn new(start_unix_nano: u64) -> Self {
        Self {
            start_unix_nano,
            last_seen: start_unix_nano,
            count: 0,
            errors: 0,
            client_durations: Durations::default(),
            server_durations: Durations::default(),
        }
    }

    fn record(&mut self, span: &Span, end: u64, bounds: &Bounds) {
        self.last_seen = self.last_seen.max(end);
        let server_side = answers(span.kind);
        if !server_side || span.peer_service.is_none() {
            self.count += 1;
            if span.status() == Status::Error {
                self.errors += 1;
            }
        }
        if span.duration_is_trusted() {
            let durations =
                if server_side { &mut self.server_durations } else { &mut self.client_durations };
            durations.record(span.duration_ns, bounds);
        }
    }
}

#[cfg(test)]
mod tests;
