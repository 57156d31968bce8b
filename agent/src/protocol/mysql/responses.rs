//! What a server sends: its greeting, what it thinks of a client, responses to commands.

use super::flight::{Command, Effect, Ended};
use super::handshake::{self, Compression};
use super::packet::{self, ERR, FULL, Failure, HEADER, OK, Tail};
use super::reply::{Reply, Step};
use super::{Mysql, Next, Phase, Reading, Sending, Standing, State, Unasked};
use crate::protocol::framer::{Found, Framing};
use crate::protocol::waiting::Asked;
use crate::protocol::{At, Piece, Problem, Sink};
use crate::span::Flags;

/// Bytes of a packet that are kept: numbers of an OK packet, or an error's.
const KEPT: usize = 32;

/// Bytes of a greeting that are kept.
const GREETING_KEPT: usize = 256;

/// A packet of a server.
#[derive(Clone, Copy)]
struct Packet<'a> {
    number: u8,
    payload: &'a [u8],
    /// Bytes of the payload in all.
    length: u64,
    /// Bytes that matter were not captured.
    cut: bool,
}

/// Packets of a server, for the framer.
struct Responses<'a>(&'a mut State);

impl Framing for Responses<'_> {
    fn header_length(&self) -> usize {
        HEADER
    }

    fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
        let Self(state) = self;
        let (length, number) = packet::header(header)?;
        // The first response shows whether it is MySQL at all, and before the whole of it came.
        let follows = |front: &Asked<Command>| {
            front.item.number.is_none_or(|last| last.wrapping_add(1) == number)
        };
        let is_first =
            state.standing == Standing::Unproven && matches!(state.reading, Reading::Nothing);
        if is_first && !state.waiting.front().is_none_or(follows) {
            return None;
        }
        Some((length, if state.phase == Phase::Unknown { GREETING_KEPT } else { KEPT }))
    }
}

impl Mysql {
    pub(super) fn response(&mut self, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        let mut at = *at;
        let mut piece = piece;
        loop {
            let Self { requests, responses, state } = self;
            if responses.is_lost() && matches!(state.reading, Reading::Blind) {
                return state.blind(piece, responses.is_compressed(), &at, sink);
            }
            let each = |Responses(state): &mut Responses<'_>, found: Found<'_>, at: &At| {
                match found {
                    Found::Begin => state.answer_begins(at),
                    Found::Message { header, payload, length, cut } => {
                        let number = packet::header(header).map_or(0, |(_, number)| number);
                        state.received.continues = length == FULL;
                        return state.received(&Packet { number, payload, length, cut }, at, sink);
                    }
                    Found::Malformed => state.malformed(at.exit_ns, sink),
                    Found::Gap(_, is_lost) => state.response_gap(is_lost, at, sink),
                }
                true
            };
            let rest = responses.push(piece, &at, &mut Responses(state), each);
            if state.received.next == Next::Lose {
                state.received.apply(responses);
            }
            if state.phase == Phase::Commands
                && state.compression() == Compression::Zlib
                && !responses.is_compressed()
            {
                requests.compress();
                responses.compress();
            }
            if rest.is_empty() || state.is_done() {
                return;
            }
            piece = Piece::Bytes(rest);
            at.segment_start = false;
        }
    }
}

impl State {
    /// The first byte of a packet of a server.
    fn answer_begins(&mut self, at: &At) {
        if !self.received.continues {
            self.received.begun = Some(*at);
        }
        let is_trailing = self.unasked == Unasked::Trails;
        if let Some(front) = self.waiting.front_mut().filter(|_| !is_trailing) {
            front.answered(at);
        }
    }

    /// A packet of a server is whole. False where the form of what follows it may be another one.
    fn received(&mut self, packet: &Packet<'_>, at: &At, sink: &mut dyn Sink) -> bool {
        let payload = packet.payload;
        match self.phase {
            Phase::Unknown => self.greets(payload, at, sink),
            Phase::Greeted(_) => self.refuses(payload, at, sink),
            Phase::Login => {
                match payload.first() {
                    Some(&OK) => self.lets_in(sink),
                    Some(&ERR) => self.refuses(payload, at, sink),
                    // A challenge, or another way to authenticate.
                    _ => {}
                }
            }
            Phase::Commands => {
                self.answers(*packet, at, sink);
                return !self.is_done() && self.received.next != Next::Lose;
            }
        }
        false
    }

    fn greets(&mut self, payload: &[u8], at: &At, sink: &mut dyn Sink) {
        match handshake::greeting(payload) {
            Some(server) => {
                self.phase = Phase::Greeted(server);
                self.standing = Standing::Proven;
            }
            None if payload.first() == Some(&ERR) => self.refuses(payload, at, sink),
            None => self.standing = Standing::Wrong,
        }
    }

    /// The client is let in.
    fn lets_in(&mut self, sink: &mut dyn Sink) {
        self.login = None;
        self.phase = Phase::Commands;
        if self.compression() == Compression::Zstd {
            sink.problem(Problem::UnreadCompression);
            self.stop(sink);
        }
    }

    /// The client is not let in.
    fn refuses(&mut self, payload: &[u8], at: &At, sink: &mut dyn Sink) {
        let failure = payload.first().filter(|first| **first == ERR);
        let Some(Failure::Code(code)) = failure.and_then(|_| packet::failure(payload)) else {
            return self.malformed(at.exit_ns, sink);
        };
        let mut asked = self.login.take().unwrap_or_else(|| {
            // Nothing was asked: the time that the client waited is not known.
            let begin = self.received.begun.unwrap_or(*at);
            let mut asked = Asked::new(self.role, &begin, Command::connect(None));
            asked.flags.set(Flags::DURATION_UNTRUSTED);
            asked
        });
        asked.answered(at);
        let end = Ended::Tail(Tail::Failed(code));
        sink.exchange(asked.into_exchange(|command| command.into_call(&end)));
        self.stop(sink);
    }

    /// A packet of a response.
    fn answers(&mut self, packet: Packet<'_>, at: &At, sink: &mut dyn Sink) {
        let Packet { number, payload, length, cut } = packet;
        if self.waiting.is_empty()
            && let Some(asked) = self.missed.take().or_else(|| self.early())
        {
            self.wait(asked, at.exit_ns, sink);
        }
        let Some(front) = self.waiting.front_mut() else {
            return self.unasked(number, payload, length, sink);
        };
        if matches!(self.reading, Reading::Nothing) {
            let follows = front.item.number.is_none_or(|last| last.wrapping_add(1) == number);
            if !follows && self.unasked == Unasked::Trails {
                return self.trails(payload, length);
            }
            self.unasked = Unasked::Problem;
            self.reading = Reading::Packets(Reply::new(front.item.answer));
        }
        if cut && (payload.len() as u64) < packet::SHORTEST.min(length) {
            // What it is was in the bytes that are missing.
            self.received.next = Next::Lose;
            return self.response_gap(false, at, sink);
        }
        let Reading::Packets(reply) = &mut self.reading else { return };
        front.answered(at);
        let step = reply.packet(payload, length, &mut self.form);
        match step {
            Step::More => {}
            Step::File => self.is_file = true,
            Step::Done(outcome) | Step::Perhaps(outcome) => {
                let effect = std::mem::replace(&mut front.item.effect, Effect::Nothing);
                if matches!(step, Step::Perhaps(_)) {
                    self.unasked = Unasked::Trails;
                }
                self.standing = Standing::Proven;
                self.malformed = 0;
                self.no_escapes = outcome.no_escapes.unwrap_or(self.no_escapes);
                if outcome.error.is_none() {
                    self.takes_effect(effect, outcome.prepared, sink);
                }
                self.finish(&Ended::Whole(outcome), sink);
            }
            Step::Malformed => {
                self.received.next = Next::Lose;
                self.malformed(at.exit_ns, sink);
            }
        }
    }

    /// The request that is answered before it was whole.
    fn early(&mut self) -> Option<Asked<Command>> {
        if self.sending != Sending::Packet || self.unasked == Unasked::Trails {
            return None;
        }
        self.sending = Sending::Answered;
        let command = Command::unseen(self.namespace.clone());
        let mut asked = Asked::new(self.role, self.sent.begun.as_ref()?, command);
        asked.flags.set(Flags::TRUNCATED);
        Some(asked)
    }

    /// A packet of the response before, which was taken for ended.
    fn trails(&mut self, payload: &[u8], length: u64) {
        if payload.first() == Some(&packet::EOF) && length == packet::EOF_LENGTH {
            self.form.has_eof.get_or_insert(true);
        }
    }

    /// A packet that nobody waits for.
    fn unasked(&mut self, number: u8, payload: &[u8], length: u64, sink: &mut dyn Sink) {
        // By an error with another number a server says why it closes the connection.
        let is_farewell = payload.first() == Some(&ERR) || number > 1;
        match self.unasked {
            Unasked::Trails => self.trails(payload, length),
            Unasked::Problem if !is_farewell => {
                self.unasked = Unasked::Told;
                sink.problem(Problem::ResponseWithoutRequest);
            }
            Unasked::Problem | Unasked::Told => {}
        }
    }

    /// Bytes of a server are missing in which a response may have ended.
    fn response_gap(&mut self, is_lost: bool, at: &At, sink: &mut dyn Sink) {
        self.received.continues = false;
        if self.phase == Phase::Login {
            // Commands that come show that the client was let in.
            self.phase = Phase::Commands;
            self.login = None;
        }
        if self.waiting.is_empty() && self.missed.is_none() {
            return;
        }
        if is_lost || self.waiting.len() != 1 {
            let why = if is_lost { Flags::LOSSY } else { Flags::TRUNCATED };
            self.missed = None;
            return self.unseen(why, at.exit_ns, sink);
        }
        self.reading = Reading::Blind;
        if let Some(front) = self.waiting.front_mut() {
            front.answered(at);
        }
    }

    /// A response whose middle was not captured.
    fn blind(&mut self, piece: Piece<'_>, is_compressed: bool, at: &At, sink: &mut dyn Sink) {
        let Some(front) = self.waiting.front_mut() else { return };
        front.answered(at);
        let Piece::Bytes(bytes) = piece else { return };
        if !at.segment_end || is_compressed {
            return;
        }
        let tail = packet::tail(bytes, self.form.has_eof);
        if let Some(Tail::End(status)) = &tail {
            self.no_escapes = status.no_escapes;
        }
        match tail {
            Some(Tail::End(status)) if status.more => {}
            Some(tail) => self.end_blind(&Ended::Tail(tail), sink),
            None => {}
        }
    }
}
