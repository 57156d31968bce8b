//! From exchanges to spans: who did it, on which route, in which trace, and who is at the other end.
//!
//! Exchanges are held back for one round of the reader. Both ends of a call on this node report
//! through different rings, and the second end may be decoded a moment after the first has finished;
//! one round later both are known.

use std::collections::HashSet;
use std::sync::Arc;

use super::names::{self, Names};
use super::peers::Peers;
use super::route::{RouteStats, Routes};
use super::{Endpoint, Flags, Process, Service, Span, SpanId, TraceId};
use crate::discover::host::Clock;
use crate::event::{Address, ConnectionId, MonoNs, Open, ProcessKey};
use crate::protocol::dns::lookup::{Answer, Found};
use crate::protocol::{Call, Exchange, Role};

/// Tells who a process is.
pub trait Identify {
    /// The process, and which set of routes its service uses; `None` when it is not watched.
    fn identify(&mut self, process: ProcessKey) -> Option<Identified>;
}

/// A watched process.
#[derive(Clone, Debug)]
pub struct Identified {
    /// Who it is.
    pub process: Arc<Process>,
    /// Index into the sets of routes; 0 is the common one.
    pub routes: usize,
}

/// An exchange that waits for its round to end.
#[derive(Debug)]
struct Pending {
    exchange: Exchange,
    open: Option<Arc<Open>>,
    other: Other,
}

/// The process at the other end.
#[derive(Clone, Copy, Debug)]
enum Other {
    /// The one whose end has the same addresses, turned around.
    ByAddress,
    /// This one, or none on this node.
    Known(Option<ProcessKey>),
}

/// The stage's state.
pub struct Assembler {
    routes: Vec<Routes>,
    /// Paths that sets of routes which are no longer in use could not keep.
    collapsed_before: u64,
    peers: Peers,
    names: Names,
    /// Of this round.
    fresh: Vec<Pending>,
    /// Of the round before.
    settled: Vec<Pending>,
    random: fastrand::Rng,
    /// Names of unix sockets, shared by the spans.
    paths: HashSet<Arc<str>>,
}

/// Names of unix sockets that are kept for sharing.
const MAX_PATHS: usize = 1024;

impl Assembler {
    /// `routes`: the common set first. At most `max_ends` ends of connections are kept.
    pub fn new(routes: Vec<Routes>, max_ends: usize) -> Self {
        Self {
            routes,
            collapsed_before: 0,
            peers: Peers::new(max_ends),
            names: Names::new(names::MAX_NAMES),
            fresh: Vec::new(),
            settled: Vec::new(),
            random: fastrand::Rng::new(),
            paths: HashSet::new(),
        }
    }

    /// A connection was seen for the first time.
    pub fn opened(&mut self, open: &Open) {
        self.peers.seen(open, open.process);
    }

    /// A connection is over.
    pub fn ended(&mut self, connection: ConnectionId, now: MonoNs) {
        self.peers.ended(connection, now);
    }

    /// Takes a finished exchange of a connection.
    pub fn take(&mut self, open: Option<Arc<Open>>, exchange: Exchange) {
        // A connection may be handed on: the end belongs to who answers or asks on it now.
        if let Some(open) = &open
            && open.process != exchange.unit.process
        {
            self.peers.seen(open, exchange.unit.process);
        }
        self.fresh.push(Pending { exchange, open, other: Other::ByAddress });
    }

    /// Takes a look-up over UDP.
    pub fn take_lookup(&mut self, found: Found) {
        let Found { exchange, open, other } = found;
        self.fresh.push(Pending { exchange, open, other: Other::Known(other) });
    }

    /// The span of a call in flight, as it stands; `None` where its process is not watched. It is made
    /// as those of ended calls are, and nothing is remembered of it but what its end will need as well:
    /// its route, and the name of its socket. Without a trace context of the request its trace id is
    /// another one than that of the span that will come.
    pub fn in_flight(
        &mut self,
        open: Option<Arc<Open>>,
        exchange: Exchange,
        clock: &Clock,
        identify: &mut dyn Identify,
    ) -> Option<Span> {
        self.span(Pending { exchange, open, other: Other::ByAddress }, clock, identify)
    }

    /// As [`Self::in_flight`], of a look-up over UDP.
    pub fn lookup_in_flight(
        &mut self,
        found: Found,
        clock: &Clock,
        identify: &mut dyn Identify,
    ) -> Option<Span> {
        let Found { exchange, open, other } = found;
        self.span(Pending { exchange, open, other: Other::Known(other) }, clock, identify)
    }

    /// An answer says how addresses are called.
    pub fn learn(&mut self, answer: &Answer) {
        self.names.learn(answer);
    }

    /// Ends a round: gives the spans of the round before to `spans`.
    pub fn settle(
        &mut self,
        now: MonoNs,
        clock: &Clock,
        identify: &mut dyn Identify,
        spans: &mut Vec<Span>,
    ) {
        self.peers.expire(now);
        let mut settled = std::mem::take(&mut self.settled);
        for pending in settled.drain(..) {
            spans.extend(self.span(pending, clock, identify));
        }
        self.settled = std::mem::replace(&mut self.fresh, settled);
    }

    /// Uses other sets of routes from now on.
    pub fn set_routes(&mut self, routes: Vec<Routes>) {
        self.collapsed_before = self.route_stats().collapsed;
        self.routes = routes;
    }

    /// Ends of connections that found no room.
    pub fn refused_ends(&self) -> u64 {
        self.peers.refused
    }

    /// Addresses whose names are known, and those that were forgotten early.
    pub fn name_stats(&self) -> names::Stats {
        self.names.stats()
    }

    /// What happened to the routes of all sets.
    pub fn route_stats(&self) -> RouteStats {
        let none = RouteStats { kept: 0, collapsed: self.collapsed_before };
        self.routes.iter().map(Routes::stats).fold(none, |all, set| RouteStats {
            kept: all.kept + set.kept,
            collapsed: all.collapsed + set.collapsed,
        })
    }

    fn span(
        &mut self,
        pending: Pending,
        clock: &Clock,
        identify: &mut dyn Identify,
    ) -> Option<Span> {
        let Pending { exchange, open, other } = pending;
        let Identified { process, routes } = identify.identify(exchange.unit.process)?;
        let (local, peer, peer_service) = match open.as_deref() {
            Some(open) => (
                self.endpoint(&open.local),
                self.endpoint(&open.remote),
                self.service_at_other_end(open, other, identify),
            ),
            None => (self.unknown(), self.unknown(), None),
        };
        let peer_name = match (&peer_service, exchange.role, open.as_deref()) {
            (None, Role::Client, Some(open)) => self.names.of(open),
            _ => None,
        };
        let route = match &exchange.call {
            Call::Http(call) => self
                .routes
                .get_mut(routes)
                .and_then(|routes| routes.route(&process.service, &call.path)),
            // A method is of low cardinality by itself.
            Call::Grpc(_) | Call::Database(_) | Call::Messaging(_) | Call::Dns(_) => None,
        };
        let (trace_id, parent_span_id) = match exchange.context {
            Some(context) => (context.trace_id, Some(context.parent_span_id)),
            None => (self.trace_id(), None),
        };
        let mut flags = exchange.flags;
        if exchange.end_ns < exchange.start_ns {
            flags.set(Flags::DURATION_UNTRUSTED);
        }
        let is_older = open.as_deref().is_some_and(|open| !open.from_start);
        if is_older && flags.has(Flags::TRUNCATED | Flags::DURATION_UNTRUSTED) {
            flags.set(Flags::MID_STREAM);
        }
        Some(Span {
            id: exchange.id,
            kind: exchange.kind(),
            tid: exchange.unit.tid,
            start_unix_nano: clock.unix_nano(exchange.start_ns),
            duration_ns: exchange.end_ns.saturating_sub(exchange.start_ns),
            first_byte_ns: exchange
                .first_byte_ns
                .map(|first| first.saturating_sub(exchange.start_ns)),
            trace_id,
            span_id: self.span_id(),
            parent_span_id,
            local,
            peer,
            peer_service,
            peer_name,
            call: exchange.call,
            route,
            flags,
            process,
        })
    }

    fn service_at_other_end(
        &self,
        open: &Open,
        other: Other,
        identify: &mut dyn Identify,
    ) -> Option<Arc<Service>> {
        let process = match other {
            Other::ByAddress => self.peers.other_end(open)?,
            Other::Known(process) => process?,
        };
        identify.identify(process).map(|other| Arc::clone(&other.process.service))
    }

    fn endpoint(&mut self, address: &Address) -> Endpoint {
        match address {
            Address::Inet { address, port } => Endpoint::Inet(*address, *port),
            Address::Unix { path, .. } => Endpoint::Unix(self.path(path)),
        }
    }

    /// An end whose `Open` record was lost.
    fn unknown(&mut self) -> Endpoint {
        Endpoint::Unix(self.path(""))
    }

    fn path(&mut self, path: &str) -> Arc<str> {
        if let Some(known) = self.paths.get(path) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = path.into();
        if self.paths.len() < MAX_PATHS {
            self.paths.insert(Arc::clone(&shared));
        }
        shared
    }

    fn trace_id(&mut self) -> TraceId {
        loop {
            let id = self.random.u128(..);
            // All zero is no id (W3C Trace Context, section 3.2.2.3).
            if id != 0 {
                return TraceId(id.to_be_bytes());
            }
        }
    }

    fn span_id(&mut self) -> SpanId {
        loop {
            let id = self.random.u64(..);
            if id != 0 {
                return SpanId(id.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Unit;
    use crate::protocol::in_flight::CallId;
    use crate::span::route::{RouteLimits, Unmatched};
    use crate::span::testing;

    struct Everybody;

    impl Identify for Everybody {
        fn identify(&mut self, process: ProcessKey) -> Option<Identified> {
            Some(Identified { process: testing::process("api", process.pid), routes: 0 })
        }
    }

    fn open(from_start: bool) -> Open {
        let inet = |port| Address::Inet { address: [127, 0, 0, 1].into(), port };
        Open {
            connection: ConnectionId(1),
            time_ns: 0,
            process: ProcessKey { pid: 1, start_ns: 1 },
            comm: String::new(),
            from_start,
            network_namespace: 1,
            local: inet(80),
            remote: inet(40_000),
        }
    }

    fn exchange(flags: Flags) -> Exchange {
        Exchange {
            id: CallId::new(1, 1),
            role: Role::Server,
            start_ns: 1,
            first_byte_ns: Some(2),
            end_ns: 3,
            unit: Unit { process: ProcessKey { pid: 1, start_ns: 1 }, tid: 1, goroutine: 0 },
            context: None,
            flags,
            call: testing::server("api", 200).call,
            undelivered: false,
        }
    }

    #[test]
    fn figures_of_routes_outlive_a_reload() {
        let routes = || {
            let limits = RouteLimits { per_service: 1, ..RouteLimits::default() };
            vec![Routes::new([], Unmatched::Heuristic, limits)]
        };
        let mut assembler = Assembler::new(routes(), 10);
        let service = testing::service("api");
        for path in ["/a", "/b"] {
            assembler.routes[0].route(&service, path);
        }
        assert_eq!(assembler.route_stats(), RouteStats { kept: 1, collapsed: 1 });
        assembler.set_routes(routes());
        assert_eq!(assembler.route_stats(), RouteStats { kept: 0, collapsed: 1 });
    }

    #[test]
    fn older_connections_are_told_where_something_is_not_known() {
        let check = |from_start: Option<bool>, flags: Flags, expected: bool| {
            let mut assembler = Assembler::new(Vec::new(), 10);
            assembler.take(from_start.map(open).map(Arc::new), exchange(flags));
            let mut spans = Vec::new();
            for _ in 0..2 {
                assembler.settle(4, &Clock::fixed(0, 0), &mut Everybody, &mut spans);
            }
            let [span] = spans.as_slice() else { panic!("{spans:?}") };
            assert_eq!(span.flags.has(Flags::MID_STREAM), expected, "{from_start:?} {flags:?}");
        };
        for (from_start, flags, expected) in [
            (Some(false), Flags::TRUNCATED, true),
            (Some(false), Flags::DURATION_UNTRUSTED, true),
            (Some(false), Flags::LOSSY | Flags::TRUNCATED, true),
            (Some(false), Flags::none(), false),
            (Some(false), Flags::NO_RESPONSE, false),
            (Some(true), Flags::TRUNCATED, false),
            (None, Flags::DURATION_UNTRUSTED, false),
        ] {
            check(from_start, flags, expected);
        }
    }
}
