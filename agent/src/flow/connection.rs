//! The state of one connection.

use std::sync::Arc;

use super::detect::Circumstances;
use super::held::Held;
use super::parser::{Parser, Protocol};
use super::track::{Pieces, Track};
use super::{Ports, Sink, Stats};
use crate::event::{
    Address, Class, Close, CloseReason, ConnectionId, Data, Direction, MonoNs, Open, Standing,
};
use crate::protocol::in_flight::Look;
use crate::protocol::{self, Advice, End, Exchange, Problem, Role};

/// Error numbers that mean the end of a connection: from `ENETDOWN` 100 to `EHOSTUNREACH` 113, the
/// ones that Linux gives out for sockets that were connected.
const BROKEN: [u8; 9] = [100, 101, 102, 103, 104, 110, 111, 112, 113];

/// `EPIPE`, after a reset or the end of the peer.
const BROKEN_PIPE: u8 = 32;

/// A connection, as the next stage sees it.
#[derive(Debug)]
pub struct Connection {
    /// Its number.
    pub id: ConnectionId,
    /// Its ends and first process; `None` when the record that told them was lost.
    pub open: Option<Arc<Open>>,
    /// Records of it that were lost so far.
    pub lost: u32,
}

/// The TCP state became CLOSE.
#[derive(Clone, Copy, Debug)]
struct Closed {
    time_ns: MonoNs,
    reset: bool,
}

#[derive(Debug)]
pub(super) struct State {
    connection: Connection,
    limits: protocol::Limits,
    received: Track,
    sent: Track,
    parser: Parser,
    last_ns: MonoNs,
    closed: Option<Closed>,
    /// A call failed because the connection was broken.
    broken: bool,
    /// The exchange of the record before, where that is told.
    standing: Standing,
}

impl State {
    pub(super) fn new(id: ConnectionId, limits: protocol::Limits, time_ns: MonoNs) -> Self {
        Self {
            limits,
            connection: Connection { id, open: None, lost: 0 },
            received: Track::default(),
            sent: Track::default(),
            parser: Parser::Undecided(Held::default()),
            last_ns: time_ns,
            closed: None,
            broken: false,
            standing: Standing::default(),
        }
    }

    pub(super) fn opened(&mut self, open: &Open) {
        if open.from_start {
            self.received.expect_all();
            self.sent.expect_all();
        }
        self.connection.open = Some(Arc::new(open.clone()));
        self.last_ns = self.last_ns.max(open.time_ns);
    }

    pub(super) fn last_ns(&self) -> MonoNs {
        self.last_ns
    }

    pub(super) fn memory(&self) -> usize {
        self.parser.memory()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Shows its requests in flight.
    pub(super) fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        // What a closed connection still has is as good as over.
        if self.closed.is_none() {
            self.parser.in_flight(now, look);
        }
    }

    pub(super) fn is_closed_since(&self, now: MonoNs, for_ns: u64) -> bool {
        self.closed.is_some_and(|closed| now.saturating_sub(closed.time_ns) >= for_ns)
    }

    pub(super) fn data(
        &mut self,
        data: &Data<'_>,
        ports: &Ports,
        stats: &mut Stats,
        sink: &mut impl Sink,
    ) {
        self.last_ns = self.last_ns.max(data.exit_ns);
        self.note_lost(data.lost, stats);
        if matches!(self.parser, Parser::Done) {
            return;
        }
        let is_http2 = matches!(data.class, Class::Http2Server | Class::Http2Client);
        if !is_http2 {
            self.stands(data.standing);
        }
        self.decide(data.class, ports, sink);
        let track = match data.direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        };
        if is_http2 {
            let place = data.standing.place().filter(|_| track.is_new(data.position));
            self.parser.placed(data.direction, place);
        }
        if data.length > 0 {
            let (lost, pieces) = track.take(data);
            self.note_missing(lost, stats);
            self.feed(data.direction, pieces, stats, sink);
        }
        self.ends_of_calls(data, sink);
    }

    /// Takes in the end of the connection or of a direction. True when nothing follows.
    pub(super) fn close(&mut self, close: &Close, stats: &mut Stats, sink: &mut impl Sink) -> bool {
        self.last_ns = self.last_ns.max(close.time_ns);
        self.stands(close.standing);
        if close.lost > self.connection.lost {
            self.note_lost(close.lost, stats);
            self.missing_at_end(close, stats, sink);
        }
        let reset = close.error != 0 || self.broken;
        match close.reason {
            CloseReason::SentEnd => self.end(End::Sent, close.time_ns, sink),
            CloseReason::Closed => {
                self.closed = Some(Closed { time_ns: close.time_ns, reset });
                // Nothing can be sent any more, but what came before may still be read.
                if !reset {
                    self.end(End::Sent, close.time_ns, sink);
                }
            }
            CloseReason::Destroyed => {
                let at = self.closed.map_or(close.time_ns, |closed| closed.time_ns);
                let reset = self.closed.map_or(reset, |closed| closed.reset || reset);
                self.end(End::Both { reset }, at, sink);
                return true;
            }
        }
        false
    }

    /// The time in which bytes could be read after CLOSE is over.
    pub(super) fn end_closed(&mut self, sink: &mut impl Sink) {
        if let Some(closed) = self.closed {
            self.end(End::Both { reset: closed.reset }, closed.time_ns, sink);
        }
    }

    pub(super) fn settle(&mut self, now: MonoNs, sink: &mut impl Sink) {
        self.with_parser(sink, |parser, sink| parser.settle(now, sink));
    }

    /// The connection is forgotten.
    pub(super) fn abandon(&mut self, now: MonoNs, sink: &mut impl Sink) {
        self.with_parser(sink, |parser, sink| parser.abandon(now, sink));
        self.parser = Parser::Done;
    }

    /// Gives memory back.
    pub(super) fn relieve(&mut self, now: MonoNs, sink: &mut impl Sink) {
        self.with_parser(sink, |parser, sink| parser.abandon(now, sink));
    }

    /// Starts the parser once the class is known, with what was held back.
    fn decide(&mut self, class: Class, ports: &Ports, sink: &mut impl Sink) {
        let (protocol, role) = match class {
            Class::Http1Server => (Protocol::Http1, Role::Server),
            Class::Http1Client => (Protocol::Http1, Role::Client),
            Class::Http2Server => (Protocol::Http2, Role::Server),
            Class::Http2Client => (Protocol::Http2, Role::Client),
            Class::Candidate => {
                self.decide_by_content(ports, sink);
                return;
            }
            Class::Unknown | Class::Encrypted | Class::Uninteresting => return,
        };
        let Parser::Undecided(held) = &mut self.parser else { return };
        let held = std::mem::take(held);
        let from_start = self.is_from_start();
        let limits = self.limits;
        self.parser = Parser::new(protocol, role, limits, from_start);
        self.parser.stands(self.standing);
        self.with_parser(sink, |parser, sink| {
            held.replay(|direction, piece, at| parser.piece(direction, piece, at, limits, sink));
        });
    }

    /// The kernel does not know the protocol: the parsers are asked.
    fn decide_by_content(&mut self, ports: &Ports, sink: &mut impl Sink) {
        let Parser::Undecided(held) = &mut self.parser else { return };
        let held = std::mem::take(held);
        let port = |address: &Address| match address {
            Address::Inet { port, .. } => *port,
            Address::Unix { .. } => 0,
        };
        let open = self.connection.open.as_deref();
        let local_port = open.map_or(0, |open| port(&open.local));
        let remote_port = open.map_or(0, |open| port(&open.remote));
        let circumstances = Circumstances {
            from_start: self.is_from_start(),
            local_port,
            remote_port,
            only: ports.protocol([local_port, remote_port]),
        };
        let limits = self.limits;
        self.parser = Parser::detecting(circumstances);
        self.with_parser(sink, |parser, sink| {
            held.replay(|direction, piece, at| parser.piece(direction, piece, at, limits, sink));
        });
    }

    /// Whether the connection is seen from its first byte on, both ways.
    fn is_from_start(&self) -> bool {
        self.connection.open.as_ref().is_some_and(|open| open.from_start)
            && self.received.is_from_first()
            && self.sent.is_from_first()
    }

    fn feed(
        &mut self,
        direction: Direction,
        pieces: Pieces<'_>,
        stats: &mut Stats,
        sink: &mut impl Sink,
    ) {
        if let Parser::Undecided(held) = &mut self.parser {
            let mut kept = true;
            pieces.each(|piece, at| kept &= held.push(direction, piece, at));
            if !kept {
                // Not what vigie reads, or a stretch is missing: start anew with what comes.
                *held = Held::default();
                stats.undecided += 1;
                self.received.rebase();
                self.sent.rebase();
            }
            return;
        }
        let limits = self.limits;
        self.with_parser(sink, |parser, sink| {
            pieces.each(|piece, at| parser.piece(direction, piece, at, limits, sink));
        });
    }

    /// Ends that calls brought to light: a read of nothing, an error.
    fn ends_of_calls(&mut self, data: &Data<'_>, sink: &mut impl Sink) {
        let reset = BROKEN.contains(&data.error);
        self.broken |= reset;
        if reset && data.direction == Direction::Received {
            self.end(End::Both { reset: true }, data.exit_ns, sink);
        } else if data.error == BROKEN_PIPE {
            // The peer is gone, but what it sent before may still be read.
            self.broken = true;
        } else if data.end_of_stream && data.direction == Direction::Received {
            self.end(End::Received, data.exit_ns, sink);
        }
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut impl Sink) {
        self.with_parser(sink, |parser, sink| parser.end(end, time_ns, sink));
        if matches!(end, End::Both { .. }) {
            self.parser = Parser::Done;
        }
    }

    fn note_lost(&mut self, lost: u32, stats: &mut Stats) {
        let more = lost.saturating_sub(self.connection.lost);
        if more == 0 {
            return;
        }
        self.connection.lost = lost;
        stats.records_lost += u64::from(more);
        self.parser.mark_lossy();
    }

    /// Bytes are missing. Where a record was lost, its loss is counted already, with its reason.
    fn note_missing(&self, bytes: u64, stats: &mut Stats) {
        stats.bytes_lost += bytes;
        stats.gaps += u64::from(bytes > 0 && self.connection.lost == 0);
    }

    /// Takes note of the exchanges that lost records since the record before, and are counted by
    /// the kernel. To be called before the bytes are parsed: they may end the exchange before.
    pub(super) fn stands(&mut self, now: Standing) {
        let before = std::mem::replace(&mut self.standing, now);
        let Parser::Http1(http1) = &mut self.parser else { return };
        http1.stands(now);
        if now.exchange == before.exchange {
            if now.lost && !before.lost {
                http1.is_undelivered(now.exchange);
            }
            return;
        }
        // Of those between nothing was seen, so all of them lost records; if there are more, the one
        // before them is the other.
        let between = now.exchange.saturating_sub(before.exchange).saturating_sub(1);
        let lost = now
            .lost_before
            .saturating_sub(before.lost_before)
            .saturating_sub(u32::from(before.lost));
        if lost > between {
            http1.is_undelivered(before.exchange);
        }
        // Only requests that wait can be among them.
        let waiting = u32::try_from(self.limits.in_flight).unwrap_or(u32::MAX);
        for step in 1..=lost.min(between).min(waiting) {
            if !http1.is_waiting() {
                break;
            }
            http1.is_undelivered(before.exchange.saturating_add(step));
        }
        if now.lost {
            http1.is_undelivered(now.exchange);
        }
    }

    /// The last records of a connection were lost: its totals tell how much was in them.
    fn missing_at_end(&mut self, close: &Close, stats: &mut Stats, sink: &mut impl Sink) {
        let at = protocol::At {
            enter_ns: close.time_ns,
            exit_ns: close.time_ns,
            unit: crate::event::Unit {
                process: crate::event::ProcessKey { pid: 0, start_ns: 0 },
                tid: 0,
                goroutine: 0,
            },
            segment_start: false,
            segment_end: true,
            turn: false,
        };
        for (direction, missing) in [
            (Direction::Received, self.received.missing(close.received)),
            (Direction::Sent, self.sent.missing(close.sent)),
        ] {
            if missing > 0 {
                self.note_missing(missing, stats);
                let piece = protocol::Piece::Lost(Some(missing));
                let limits = self.limits;
                self.with_parser(sink, |parser, sink| {
                    parser.piece(direction, piece, &at, limits, sink);
                });
            }
        }
    }

    /// Runs the parser with a sink that knows the connection.
    fn with_parser<S: Sink>(
        &mut self,
        sink: &mut S,
        run: impl FnOnce(&mut Parser, &mut Adapter<'_, S>),
    ) {
        let mut adapter = Adapter {
            connection: &self.connection,
            received: &self.received,
            sent: &self.sent,
            sink,
        };
        run(&mut self.parser, &mut adapter);
        if self.parser.is_done() {
            self.parser = Parser::Done;
        }
    }
}

/// The parser's sink: adds the connection and translates positions.
struct Adapter<'a, S> {
    connection: &'a Connection,
    received: &'a Track,
    sent: &'a Track,
    sink: &'a mut S,
}

impl<S: Sink> protocol::Sink for Adapter<'_, S> {
    fn exchange(&mut self, mut exchange: Exchange) {
        exchange.id.connection = self.connection.id;
        self.sink.exchange(exchange, self.connection);
    }

    fn problem(&mut self, problem: Problem) {
        self.sink.problem(problem, self.connection);
    }

    fn advice(&mut self, advice: Advice) {
        let advice = match advice {
            Advice::SkipUntil(direction, position) => {
                let track = match direction {
                    Direction::Received => self.received,
                    Direction::Sent => self.sent,
                };
                Advice::SkipUntil(direction, track.absolute(position))
            }
            Advice::Ignore => Advice::Ignore,
        };
        self.sink.advice(self.connection.id, advice);
    }
}
