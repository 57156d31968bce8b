//! HTTP/1.0 and HTTP/1.1: RFC 9110 and RFC 9112.
//!
//! A push parser for both directions of one connection. Each direction is a stream of messages
//! ([`half`]); requests wait in a queue ([`in_flight`]) for their responses, which come in the same
//! order. What finished heads and bodies mean is in [`request`] and [`response`].
//!
//! The capture is not the whole stream: the middle of long segments is skipped by design and
//! records may be lost. Three rules keep what is reported true:
//!
//! - Where a body is framed by a count, a gap within it changes nothing.
//! - Where framing is lost, a message ends at what looks like a last chunk, at the next head of its
//!   direction or before the other side begins the next exchange.
//! - Where whole messages may have gone by unseen, a response is given only to a request that came
//!   after that; the requests before are reported without a status and with an untrusted duration.
#![forbid(unsafe_code)]

mod chunk;
mod framing;
mod half;
mod head;
mod in_flight;
mod request;
mod response;
mod tail;
#[cfg(test)]
mod tests;

use half::{Half, State};
use in_flight::{InFlight, Queue};

use super::in_flight::Look;
use super::{Advice, At, End, Exchange, Limits, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs, Standing};
use crate::span::Flags;
use crate::span::http::HttpError;

/// A counted body is announced to the kernel when it is longer than this.
pub const SKIP_FROM: u64 = 256 * 1024;

/// Malformed heads in a row after which a connection is given up.
pub const MAX_MALFORMED: u8 = 8;

/// After so long without a byte, a message that ended like a last chunk is taken for ended.
pub const QUIET_NS: u64 = 1_000_000_000;

/// Parser of one connection.
#[derive(Debug)]
pub struct Http1 {
    role: Role,
    requests: Half,
    responses: Half,
    queue: Queue,
    /// Number of the request whose body is being read.
    current: Option<u64>,
    /// The current request's body was never asked for: the next bytes may be the next request.
    withheld: bool,
    /// Requests of this turn cannot be matched, and why: some before them were not seen.
    unmatched: Option<Flags>,
    /// Pipelined responses went by unseen: matches may be shifted until the queue runs empty.
    shifted: bool,
    /// Whom the response that is being read answers.
    target: Target,
    /// A response without a request, until it is certain that none comes.
    orphan: Option<Orphan>,
    /// The exchange that the kernel takes the bytes that come for, where it tells.
    standing: Standing,
    /// The number of the exchange whose response is being read.
    answering: u32,
    /// The connection has become HTTP/2.
    upgrade: Option<Upgrade>,
}

/// What a parser of HTTP/2 needs to go on.
#[derive(Debug)]
pub struct Upgrade {
    /// The request that asked for it, to be answered on stream 1.
    pub request: Exchange,
    /// Bytes of the piece that came behind the response 101.
    pub rest: Vec<u8>,
}

/// Whom a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// No response is being read.
    None,
    /// The front of the queue.
    Front,
    /// A request that had no room in the queue.
    Reported,
    /// No request that was seen.
    Orphan,
}

/// A response that came before its request. With several threads the record of a fast answer can
/// overtake that of its request's write.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    status: u16,
    first_byte_ns: MonoNs,
    end_ns: MonoNs,
    body: Option<u64>,
    whole: bool,
    /// The kernel counts the exchange.
    undelivered: bool,
}

impl Http1 {
    /// A parser that expects both directions to be between messages.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            requests: Half::new(limits.head_bytes),
            responses: Half::new(limits.head_bytes),
            queue: Queue::new(limits.in_flight),
            current: None,
            withheld: false,
            unmatched: None,
            shifted: false,
            target: Target::None,
            orphan: None,
            standing: Standing::default(),
            answering: 0,
            upgrade: None,
        }
    }

    /// Which end this process is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What is left for HTTP/2, once, after the connection has become that.
    pub fn take_upgrade(&mut self) -> Option<Upgrade> {
        self.upgrade.take()
    }

    /// The next piece of one direction.
    pub fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut impl Sink) {
        let is_request = direction == self.role.request_direction();
        let half = if is_request { &mut self.requests } else { &mut self.responses };
        let count = match piece {
            Piece::Bytes(bytes) => Some(bytes.len() as u64),
            Piece::Skipped(count) => Some(count),
            Piece::Lost(count) => count,
        };
        half.position = half.position.saturating_add(count.unwrap_or(0));
        match (piece, is_request) {
            (Piece::Bytes(bytes), true) => self.request_bytes(bytes, at, sink),
            (Piece::Bytes(bytes), false) => self.response_bytes(bytes, at, sink),
            (Piece::Skipped(_), true) => self.request_gap(count, Flags::TRUNCATED, at, sink),
            (Piece::Skipped(_), false) => self.response_gap(count, Flags::TRUNCATED, at, sink),
            (Piece::Lost(_), true) => self.request_gap(count, Flags::LOSSY, at, sink),
            (Piece::Lost(_), false) => self.response_gap(count, Flags::LOSSY, at, sink),
        }
    }

    /// Records of this connection were lost; where is told by [`Piece::Lost`], if ever.
    pub fn mark_lossy(&mut self) {
        self.queue.iter_mut().for_each(|entry| entry.flags.set(Flags::LOSSY));
    }

    /// The exchange that the bytes that come belong to, as the kernel sees it.
    pub fn stands(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// The kernel counts the exchange with this number.
    pub fn is_undelivered(&mut self, number: u32) {
        let is_read = self.answering == number;
        match (self.target, &mut self.orphan) {
            (Target::Front, _) if is_read => {
                if let Some(entry) = self.queue.front_mut() {
                    entry.undelivered = true;
                }
                return;
            }
            (Target::Orphan, Some(orphan)) if is_read => {
                orphan.undelivered = true;
                return;
            }
            _ => {}
        }
        let being_read = usize::from(self.target == Target::Front);
        let waits = |entry: &&mut InFlight| !entry.undelivered;
        let has_it = self
            .queue
            .iter_mut()
            .skip(being_read)
            .filter(waits)
            .any(|entry| entry.number == number);
        // Pipelined requests have the number of the first; their responses have later ones, and come
        // in the same order.
        let it = self
            .queue
            .iter_mut()
            .skip(being_read)
            .filter(waits)
            .find(|entry| if has_it { entry.number == number } else { entry.number < number });
        if let Some(entry) = it {
            entry.undelivered = true;
        }
    }

    /// One direction or both are over.
    pub fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut impl Sink) {
        let (ended, reset) = match end {
            End::Received => (Some(Direction::Received), false),
            End::Sent => (Some(Direction::Sent), false),
            End::Both { reset } => (None, reset),
        };
        let requests = self.role.request_direction();
        if ended.is_none_or(|ended| ended == requests) {
            if self.requests.in_head() {
                sink.problem(Problem::MalformedRequest);
            }
            self.requests.forget_head();
            self.requests.state = State::Over;
        }
        if ended.is_none_or(|ended| ended != requests) {
            let error =
                if reset { HttpError::ConnectionReset } else { HttpError::ConnectionClosed };
            self.responses_end(error, time_ns, sink);
        }
    }

    /// Gives out a response that has ended as far as can be seen, once nothing followed it for
    /// [`QUIET_NS`], or at once when `now` is the largest value.
    pub fn settle(&mut self, now: MonoNs, sink: &mut impl Sink) {
        let ended = matches!(&self.responses.state, State::Blind(blind) if blind.ended);
        let last = self.queue.front_mut().map(|entry| entry.end_ns);
        if ended
            && self.target == Target::Front
            && last.is_some_and(|last| now.saturating_sub(last) >= QUIET_NS)
        {
            self.finish_response(sink);
            self.responses.state = State::Resync { counted: false };
        }
    }

    /// Forgets everything in flight, because there is no room or no time to wait for it. What was
    /// not seen is reported as such.
    pub fn abandon(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        self.settle(MonoNs::MAX, sink);
        if self.target == Target::Front
            && let Some(entry) = self.queue.pop()
        {
            sink.exchange(entry.into_unseen(Flags::TRUNCATED, time_ns));
        }
        self.target = Target::None;
        self.report_all(Flags::TRUNCATED, time_ns, sink);
        for half in [&mut self.requests, &mut self.responses] {
            half.forget_head();
            if !matches!(half.state, State::Over) {
                half.state = State::Resync { counted: true };
            }
        }
    }

    /// Whether nothing more will be read.
    pub fn is_over(&self) -> bool {
        matches!((&self.requests.state, &self.responses.state), (State::Over, State::Over))
    }

    /// Whether requests are in flight.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Shows the requests that surely wait for their responses, in their order.
    pub fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        if self.queue.is_empty() || self.shifted {
            return;
        }
        // Where the framing of a response is lost, it may be over.
        let is_blind =
            self.target == Target::Front && matches!(self.responses.state, State::Blind(_));
        for entry in self.queue.iter().skip(usize::from(is_blind)) {
            if entry.surely_waits() && look.wants(entry.start_ns) {
                look.show(entry.so_far(now));
            }
        }
    }

    /// Memory in use besides the value itself, in bytes. Bounded by the limits of this module.
    pub fn memory(&self) -> usize {
        self.requests.memory() + self.responses.memory() + self.queue.memory()
    }

    /// The connection stops being HTTP/1, or is given up.
    fn stop(&mut self, sink: &mut impl Sink) {
        for half in [&mut self.requests, &mut self.responses] {
            half.forget_head();
            half.state = State::Over;
        }
        sink.advice(Advice::Ignore);
    }

    /// Empties the queue without responses.
    fn report_all(&mut self, why: Flags, time_ns: MonoNs, sink: &mut impl Sink) {
        self.queue.overflow = 0;
        while let Some(entry) = self.queue.pop() {
            sink.exchange(entry.into_unseen(why, time_ns));
        }
    }

    /// Empties the queue up to the first request whose response was not missed.
    fn report_unseen(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        while let Some(entry) = self.queue.pop_unseen() {
            let why = entry.unseen;
            sink.exchange(entry.into_unseen(why, time_ns));
        }
    }

    /// No request comes any more that the orphan could belong to.
    fn report_orphan(&mut self, sink: &mut impl Sink) {
        if self.orphan.take().is_some() {
            sink.problem(Problem::ResponseWithoutRequest);
        }
    }
}

/// What the kernel is told about a counted body that begins `ahead` bytes before `position`.
fn skip_advice(direction: Direction, position: u64, ahead: usize, length: u64) -> Option<Advice> {
    let begin = position.saturating_sub(ahead as u64);
    (length > SKIP_FROM).then(|| Advice::SkipUntil(direction, begin.saturating_add(length)))
}
