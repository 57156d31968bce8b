//! The way of the data, on one screen.
//!
//! ```text
//! event -> flow (with protocol) -> exchange -> span -> { store (metrics, graph), slo, export, print }
//! ```
//!
//! The pipeline runs on one thread and owns the state of every stage up to the span. It works in
//! rounds: events as they come, then [`Pipeline::settle`], which hands out the spans of the round
//! before (see [`crate::span::assemble`] for why).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use vigie_common::exchange::{Undelivered, UndeliveredKey};

use crate::discover::host::Clock;
use crate::event::{CloseReason, ConnectionId, Event, MonoNs, ProcessKey, Resolved, Standing};
use crate::flow::{self, Connection, Flows};
use crate::metrics::{Store, undelivered};
use crate::protocol::dns::lookup::Answer;
use crate::protocol::dns::lookups::{self, Lookups, Settled};
use crate::protocol::in_flight::Looked;
use crate::protocol::{Advice, Call, Exchange, Problem};
use crate::slo::Objectives;
use crate::slo::overdue::Overdue;
use crate::span::Span;
use crate::span::assemble::{Assembler, Identified, Identify};
use crate::span::names;
use crate::span::route::{RouteStats, Routes};
use crate::span::searches::{self, Searches};

/// The stages between events and outputs.
pub struct Pipeline {
    flows: Flows,
    findings: Findings,
    searches: Searches,
    spans: Vec<Span>,
    /// Calls of `getaddrinfo` in this round.
    resolved: Vec<Resolved>,
    outputs: Outputs,
    overdue: Overdue,
    expired_ns: MonoNs,
    events: u64,
    finished: u64,
    sheds_spans: bool,
    spans_shed: u64,
    undelivered: u64,
}

/// Where finished spans go.
pub struct Outputs {
    /// Metrics and graph.
    pub store: Arc<Mutex<Store>>,
    /// Service level objectives, if there are any.
    pub slo: Option<Arc<Objectives>>,
    /// Further takers, in order; the last may keep the spans. Each is called once per round.
    pub takers: Vec<Box<dyn TakeSpans>>,
}

/// Something that takes the spans of a round.
pub trait TakeSpans: Send {
    /// Takes a round's spans. What is left in `spans` goes to the next taker.
    fn take(&mut self, spans: &mut Vec<Span>);
}

/// What the flows found in this round.
struct Findings {
    assembler: Assembler,
    lookups: Lookups,
    /// Of look-ups over TCP in this round.
    answers: Vec<Answer>,
    problems: [u64; Problem::ALL.len()],
    advice: Vec<(ConnectionId, Advice)>,
    /// Exchanges seen in part and left to the kernel to count.
    left: u64,
}

impl flow::Sink for Findings {
    fn exchange(&mut self, mut exchange: Exchange, connection: &Connection) {
        if exchange.undelivered {
            self.left += 1;
            return;
        }
        if matches!(exchange.call, Call::Dns(_)) {
            let open = connection.open.as_deref();
            let answer = open.and_then(|open| Answer::take(&mut exchange, open.network_namespace));
            self.answers.extend(answer);
            self.lookups.over_tcp(exchange, connection.open.clone());
            return;
        }
        self.assembler.take(connection.open.clone(), exchange);
    }

    fn problem(&mut self, problem: Problem, _: &Connection) {
        if let Some(count) = self.problems.get_mut(problem as usize) {
            *count += 1;
        }
    }

    fn advice(&mut self, connection: ConnectionId, advice: Advice) {
        self.advice.push((connection, advice));
    }
}

impl Findings {
    /// Look-ups that are over go the way of other exchanges, and their answers name addresses.
    fn take_lookups(&mut self) {
        let Settled { found, over_tcp, answers } = self.lookups.settle();
        for found in found {
            self.assembler.take_lookup(found);
        }
        for (exchange, open) in over_tcp {
            self.assembler.take(open, exchange);
        }
        for answer in answers.into_iter().chain(self.answers.drain(..)) {
            self.assembler.learn(&answer);
        }
    }
}

/// The pipeline's own figures.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Events taken in.
    pub events: u64,
    /// Spans finished.
    pub spans: u64,
    /// Exchanges that lost a record and were counted by the kernel.
    pub undelivered: u64,
    /// Those of them that were seen in part.
    pub seen_in_part: u64,
    /// Problems of parsers, in the order of [`Problem::ALL`].
    pub problems: [u64; Problem::ALL.len()],
    /// Connections.
    pub flows: flow::Stats,
    /// Connections in the table.
    pub connections: usize,
    /// Ends of connections that could not be kept for joining.
    pub refused_ends: u64,
    /// Look-ups over UDP.
    pub lookups: lookups::Stats,
    /// Look-ups that several suffixes were tried for.
    pub searches: searches::Stats,
    /// Addresses and their names.
    pub named: names::Stats,
    /// Routes by heuristic.
    pub routes: RouteStats,
    /// Spans that were counted and then given to nobody, to keep within the budget.
    pub spans_shed: u64,
}

/// Requests in flight that one look shows at most, and look-ups likewise.
pub const MAX_SHOWN: usize = 4096;

/// How often idle connections are looked for, in nanoseconds.
const EXPIRE_EVERY_NS: u64 = 1_000_000_000;

impl Pipeline {
    /// A pipeline without state.
    pub fn new(limits: flow::Limits, assembler: Assembler, outputs: Outputs) -> Self {
        Self {
            flows: Flows::new(limits),
            findings: Findings {
                assembler,
                lookups: Lookups::new(lookups::MAX_WAITING),
                answers: Vec::new(),
                problems: [0; Problem::ALL.len()],
                advice: Vec::new(),
                left: 0,
            },
            searches: Searches::new(searches::MAX_OPEN),
            spans: Vec::new(),
            resolved: Vec::new(),
            outputs,
            overdue: Overdue::default(),
            expired_ns: 0,
            events: 0,
            finished: 0,
            sheds_spans: false,
            spans_shed: 0,
            undelivered: 0,
        }
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event<'_>) {
        self.events += 1;
        if let Event::Open(open) = event {
            self.findings.assembler.opened(open);
        }
        if let Event::Datagram(datagram) = event {
            self.findings.lookups.datagram(datagram);
            return;
        }
        if let Event::Resolved(resolved) = event {
            self.resolved.push(*resolved);
            return;
        }
        self.flows.event(event, &mut self.findings);
        if let Event::Close(close) = event
            && close.reason == CloseReason::Destroyed
        {
            self.findings.assembler.ended(close.connection, close.time_ns);
        }
    }

    /// Ends a round. What the kernel may profit from is given to `advise`.
    pub fn settle(
        &mut self,
        now: MonoNs,
        clock: &Clock,
        identify: &mut dyn Identify,
        mut advise: impl FnMut(ConnectionId, Advice),
    ) {
        if now.saturating_sub(self.expired_ns) >= EXPIRE_EVERY_NS {
            self.expired_ns = now;
            self.flows.expire(now, &mut self.findings);
        }
        for (connection, advice) in self.findings.advice.drain(..) {
            advise(connection, advice);
        }
        self.findings.take_lookups();
        self.findings.assembler.settle(now, clock, identify, &mut self.spans);
        self.searches.settle(clock.unix_nano(now), &mut self.spans);
        self.take_resolved(clock, identify);
        self.hand_out(clock);
    }

    /// Calls of `getaddrinfo` are in metrics only.
    fn take_resolved(&mut self, clock: &Clock, identify: &mut dyn Identify) {
        if self.resolved.is_empty() {
            return;
        }
        let mut store = self.outputs.store.lock().unwrap_or_else(PoisonError::into_inner);
        for resolved in self.resolved.drain(..) {
            let Some(Identified { process, .. }) = identify.identify(resolved.process) else {
                continue;
            };
            store.record_getaddrinfo(&process, &resolved, clock.unix_nano(resolved.exit_ns));
        }
    }

    /// Shows the calls that began in `started` and surely wait for their answers, as they stand: their
    /// spans as they will come, but for what the answer tells; their end so far is `now`. What is left
    /// out is in [`crate::protocol::in_flight`]. Nothing is recorded, handed out or remembered.
    ///
    /// To be called when all that happened before `now` was taken in, and what the kernel says of
    /// connections that fell silent ([`Self::stands`]): else a call may be shown whose answer was read
    /// from no ring yet. Of more than [`MAX_SHOWN`] requests, and of as many look-ups, the oldest are
    /// shown; the others are counted in [`Looked::left`], and [`Looked::until`] is where the next look
    /// is to begin. Looks at ranges that follow each other show a call once. A call is missed if its
    /// head was not whole when its range was looked at: ranges may overlap, and by their ids
    /// ([`Span::id`]) those are known that are shown again.
    ///
    /// A call that was shown has a span with the same id when it ends, unless the kernel counts it after
    /// all, because a record of its answer was lost. After a loss on a connection that then falls silent,
    /// nobody knows but for HTTP/1 whether the answer was what was lost: who counts should leave out calls
    /// that began before the last loss. Its trace id is another one there, unless the
    /// request carried it.
    ///
    /// Cost: one look at each connection of the table ([`flow::Limits::connections`] at most) and at each
    /// request in flight, allocating for those in the range only; for each call that is shown about what
    /// its span will cost at its end. Meant for once in a
    /// second or two, while somebody wants it; nothing is done for it meanwhile.
    pub fn in_flight(
        &mut self,
        started: Range<MonoNs>,
        now: MonoNs,
        clock: &Clock,
        identify: &mut dyn Identify,
        each: &mut dyn FnMut(&Span),
    ) -> Looked {
        let Self { flows, findings: Findings { assembler, lookups, .. }, .. } = self;
        let begin = started.start;
        let mut shown = 0;
        let requests = flows.in_flight(started, MAX_SHOWN, now, |exchange, connection| {
            let open = &connection.open;
            if !lookups.is_shown_for(&exchange, open.as_deref())
                && let Some(span) = assembler.in_flight(open.clone(), exchange, clock, identify)
            {
                shown += 1;
                each(&span);
            }
        });
        let over_udp = lookups.in_flight(begin..requests.until, MAX_SHOWN, now, |found| {
            if let Some(span) = assembler.lookup_in_flight(found, clock, identify) {
                shown += 1;
                each(&span);
            }
        });
        Looked { shown, left: requests.left + over_udp.left, until: over_udp.until }
    }

    /// Gives up look-ups that have waited long enough. To be called when all that happened before
    /// `now` was taken in. `lost`: datagrams that were lost since the start.
    pub fn expire_lookups(&mut self, now: MonoNs, lost: u64) {
        self.findings.lookups.lost(lost);
        self.findings.lookups.expire(now);
    }

    /// Takes in what the kernel counted because records were lost.
    pub fn undelivered(
        &mut self,
        counts: &[(UndeliveredKey, Undelivered)],
        now: MonoNs,
        clock: &Clock,
        identify: &mut dyn Identify,
    ) {
        if counts.is_empty() {
            return;
        }
        let at = clock.unix_nano(now);
        let mut store = self.outputs.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counting = self.outputs.slo.as_deref().map(Objectives::counting);
        for (key, lost) in counts {
            let process = ProcessKey { pid: key.tgid, start_ns: key.process_start_ns };
            let Some(Identified { process, .. }) = identify.identify(process) else { continue };
            self.undelivered += lost.count();
            undelivered::calls(&process, key, lost, |calls| {
                store.record_undelivered(calls, at);
                if let Some(counting) = &mut counting {
                    counting.undelivered(calls, now);
                }
            });
        }
    }

    /// Counts requests for SLOs that are in flight for too long. To be called when all that happened before
    /// `now` was taken in; it costs nothing where no SLO has a limit, and else a walk over the connections.
    /// `lost`: records were lost since the last call.
    pub fn count_overdue(
        &mut self,
        now: MonoNs,
        clock: &Clock,
        identify: &mut dyn Identify,
        lost: bool,
    ) {
        let Some(slo) = self.outputs.slo.clone() else { return };
        self.overdue.set(slo.counting().limits_ns(), now);
        if lost {
            self.overdue.lost(now);
        }
        for (index, (started, is_first)) in self.overdue.looks(now).into_iter().enumerate() {
            if started.is_empty() {
                continue;
            }
            let looked = self.in_flight(started, now, clock, identify, &mut |span| {
                slo.counting().in_flight(span, is_first, clock, now);
            });
            self.overdue.looked(index, looked.until);
        }
    }

    /// Where connections stand that fell silent after a loss.
    pub fn stands(&mut self, standings: &[(ConnectionId, Standing)]) {
        for (connection, standing) in standings {
            self.flows.stands(*connection, *standing);
        }
    }

    /// Gives out all that is held back: nothing more comes.
    pub fn finish(&mut self, now: MonoNs, clock: &Clock, identify: &mut dyn Identify) {
        self.flows.flush(&mut self.findings);
        self.findings.lookups.finish(now);
        // A look-up waits for two rounds, its other end for one.
        for _ in 0..4 {
            self.findings.take_lookups();
            self.findings.assembler.settle(now, clock, identify, &mut self.spans);
            self.searches.settle(clock.unix_nano(now), &mut self.spans);
            self.hand_out(clock);
        }
        self.searches.finish(&mut self.spans);
        self.take_resolved(clock, identify);
        self.hand_out(clock);
    }

    fn hand_out(&mut self, clock: &Clock) {
        let searches = self.searches.take_over();
        if self.spans.is_empty() && searches.is_empty() {
            return;
        }
        self.finished += self.spans.len() as u64;
        {
            let mut store = self.outputs.store.lock().unwrap_or_else(PoisonError::into_inner);
            self.spans.iter().for_each(|span| store.record(span));
            for search in &searches {
                store.record_search(search);
            }
        }
        if let Some(slo) = &self.outputs.slo {
            let mut counting = slo.counting();
            if !counting.is_empty() {
                self.spans.iter().for_each(|span| counting.span(span, clock));
            }
        }
        if !self.sheds_spans {
            for taker in &mut self.outputs.takers {
                taker.take(&mut self.spans);
            }
        } else if !self.outputs.takers.is_empty() {
            self.spans_shed += self.spans.len() as u64;
        }
        self.spans.clear();
    }

    /// Takes these ports' protocols as configured, on connections that are new from now on.
    pub fn set_ports(&mut self, ports: flow::Ports) {
        self.flows.set_ports(ports);
    }

    /// Uses other sets of routes from now on.
    pub fn set_routes(&mut self, routes: Vec<Routes>) {
        self.findings.assembler.set_routes(routes);
    }

    /// Whether spans are counted only, and neither printed nor exported.
    pub fn shed_spans(&mut self, sheds: bool) {
        self.sheds_spans = sheds;
    }

    /// Its own figures.
    pub fn figures(&self) -> Figures {
        Figures {
            events: self.events,
            spans: self.finished,
            undelivered: self.undelivered,
            seen_in_part: self.findings.left,
            problems: self.findings.problems,
            flows: *self.flows.stats(),
            connections: self.flows.len(),
            lookups: self.findings.lookups.stats(),
            searches: self.searches.stats(),
            named: self.findings.assembler.name_stats(),
            refused_ends: self.findings.assembler.refused_ends(),
            routes: self.findings.assembler.route_stats(),
            spans_shed: self.spans_shed,
        }
    }
}

#[cfg(test)]
mod tests;
