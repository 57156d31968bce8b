//! Kafka's protocol, client and broker.
//!
//! Requests are pipelined and answered in their order; a correlation id says so, and shows where one is
//! missing. What is asked, of which topic, and how it went is read from the beginning of a message
//! ([`api`]): the records in it are passed over.
#![forbid(unsafe_code)]

mod api;
mod read;
#[cfg(test)]
mod tests;

use api::{METADATA_KEY, Request};

use std::sync::Arc;

use super::conversation::{Conversation, Dialect, Opening, Recognition};
use super::framer::{Found, Framing};
use super::in_flight::Look;
use super::sides::Sides;
use super::waiting::{Asked, Waiting};
use super::{At, Call, End, Limits, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs};
use crate::span::Flags;
use crate::span::database::DatabaseError;
use crate::span::messaging::MessagingCall;

/// The topics whose ids this thread remembers, with their names.
pub fn remembered() -> Vec<([u8; 16], Arc<str>)> {
    api::remembered()
}

/// Remembers a topic for this thread, as if a response had told it.
pub fn remember(id: [u8; 16], name: &str) {
    api::learn(id, name);
}

/// How it is told from others.
pub static DIALECT: Dialect = Dialect {
    name: "kafka",
    ports: &[9092, 9093, 9094],
    recognise,
    start: |role, limits, _| Box::new(Kafka::new(role, limits)),
};

/// Bytes of a message that are kept: the topic comes before the records.
const KEPT: usize = 2048;

/// Of metadata all is wanted: it tells what topics are called.
const KEPT_METADATA: usize = 64 << 10;

/// Largest message that a broker takes by default, with room.
const MAX_MESSAGE: u32 = 256 << 20;

/// Malformed messages after which the connection is taken for one of another protocol.
const MAX_MALFORMED: u8 = 3;

/// Bytes of a request up to the length of its client's name.
const LEAST_REQUEST: u32 = 10;

/// Framing of one direction: a length of four bytes.
#[derive(Debug)]
struct Messages {
    least: u32,
    kept: usize,
}

impl Framing for Messages {
    fn header_length(&self) -> usize {
        4
    }

    fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
        let length = u32::from_be_bytes(*header.first_chunk()?);
        (self.least..=MAX_MESSAGE).contains(&length).then_some((length.into(), self.kept))
    }
}

/// Strict: a known call in a possible version, by a client with a printable name that fits.
fn recognise(opening: &Opening<'_>) -> Recognition {
    let Some((length, rest)) = opening.bytes.split_first_chunk() else {
        return if opening.bytes.first() == Some(&0) { Recognition::More } else { Recognition::No };
    };
    let length = u32::from_be_bytes(*length);
    if !(LEAST_REQUEST..=MAX_MESSAGE).contains(&length) {
        return Recognition::No;
    }
    let inside = usize::try_from(length).ok().and_then(|length| rest.get(..length)).unwrap_or(rest);
    match Request::read(inside) {
        Some(request) if request.correlation >= 0 && request.api.key >= 0 => {
            Recognition::Yes(opening.role_if_request())
        }
        Some(_) => Recognition::No,
        // The name may not be there as a whole, and must fit.
        None => {
            let name = inside.get(8..).and_then(|rest| rest.first_chunk());
            let name = name.map_or(0, |name| u32::from(u16::from_be_bytes(*name)));
            let plausible = inside.iter().step_by(2).take(2).all(|byte| *byte == 0);
            let is_cut = (inside.len() as u64) < u64::from(length);
            if plausible && is_cut && LEAST_REQUEST + name <= length {
                Recognition::More
            } else {
                Recognition::No
            }
        }
    }
}

/// Parser of one connection.
#[derive(Debug)]
pub struct Kafka {
    sides: Sides,
    waiting: Waiting<Request>,
    malformed: u8,
    is_wrong: bool,
}

impl Kafka {
    fn new(role: Role, limits: Limits) -> Self {
        Self {
            sides: Sides::new(role),
            waiting: Waiting::new(limits.in_flight),
            malformed: 0,
            is_wrong: false,
        }
    }

    /// The framing of the next message of a direction.
    fn messages(&self, is_request: bool) -> Messages {
        let front = self.waiting.front();
        let is_metadata = front.is_some_and(|asked| asked.item.api.key == METADATA_KEY);
        if is_request {
            Messages { least: LEAST_REQUEST, kept: KEPT }
        } else if is_metadata {
            Messages { least: 4, kept: KEPT_METADATA }
        } else {
            Messages { least: 4, kept: KEPT }
        }
    }

    /// A request is whole.
    fn asked(&mut self, payload: &[u8], time_ns: MonoNs, sink: &mut dyn Sink) {
        let Some(at) = self.sides.requests.began.take() else { return };
        let Some(request) = Request::read(payload) else {
            self.malformed(time_ns, sink);
            return;
        };
        self.malformed = 0;
        let is_silent = request.is_silent;
        let mut asked = Asked::new(self.sides.role(), &at, request);
        if is_silent {
            asked.ended(time_ns);
            sink.exchange(asked.into_exchange(|request| call(request, None, false)));
        } else if let Some(asked) = self.waiting.push(asked) {
            sink.problem(Problem::TooManyInFlight);
            sink.exchange(unseen(asked, Flags::TRUNCATED, time_ns));
        }
    }

    /// A response is whole.
    fn answered(&mut self, payload: &[u8], at: &At, sink: &mut dyn Sink) {
        let began = self.sides.responses.began.take().unwrap_or(*at);
        let Some((correlation, body)) = payload.split_first_chunk() else { return };
        let correlation = i32::from_be_bytes(*correlation);
        // One that was sent before vigie, or had no room.
        if !self.waiting.iter_mut().any(|asked| asked.item.correlation == correlation) {
            if self.waiting.front().is_none() {
                self.waiting.pop();
            }
            return;
        }
        while let Some(mut asked) = self.waiting.pop() {
            if asked.item.correlation != correlation {
                sink.exchange(unseen(asked, Flags::TRUNCATED, at.exit_ns));
                continue;
            }
            asked.answered(&began);
            asked.answered(at);
            let response = asked.item.response(body);
            let error =
                api::error_name(response.error).map(|name| DatabaseError::Code(name.into()));
            asked.item.topic = asked.item.topic.take().or(response.topic);
            sink.exchange(asked.into_exchange(|request| call(request, error, true)));
            return;
        }
    }

    fn malformed(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        sink.problem(Problem::MalformedMessage);
        self.malformed += 1;
        self.report_all(Flags::TRUNCATED, time_ns, sink);
        self.is_wrong = self.malformed >= MAX_MALFORMED;
    }

    /// What is in flight stays without an answer.
    fn report_all(&mut self, why: Flags, time_ns: MonoNs, sink: &mut dyn Sink) {
        for asked in self.waiting.drain() {
            sink.exchange(unseen(asked, why, time_ns));
        }
    }
}

fn unseen(asked: Asked<Request>, why: Flags, time_ns: MonoNs) -> super::Exchange {
    asked.into_unseen(why, time_ns, |request| call(request, None, false))
}

fn call(request: Request, error: Option<DatabaseError>, answered: bool) -> Call {
    Call::Messaging(Box::new(MessagingCall {
        operation: request.api.name,
        destination: request.topic,
        group: request.group,
        error,
        answered,
        waits: request.waits,
    }))
}

impl Conversation for Kafka {
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        let is_request = self.sides.is_request(direction);
        let mut messages = self.messages(is_request);
        let mut framer = std::mem::take(&mut self.sides.side(is_request).framer);
        if framer.is_lost() && at.segment_start && begins(piece, is_request, &messages) {
            framer.restart();
            sink.problem(Problem::Resynchronised);
        }
        framer.push(piece, at, &mut messages, |messages, found, at| {
            match found {
                Found::Begin => self.sides.side(is_request).began = Some(*at),
                Found::Message { payload, .. } => {
                    if is_request {
                        self.asked(payload, at.exit_ns, sink);
                    } else {
                        self.answered(payload, at, sink);
                    }
                    *messages = self.messages(is_request);
                }
                Found::Malformed => self.malformed(at.exit_ns, sink),
                Found::Gap(_, is_lost) => {
                    self.sides.side(is_request).began = None;
                    if !is_request {
                        let why = if is_lost { Flags::LOSSY } else { Flags::TRUNCATED };
                        self.report_all(why, at.exit_ns, sink);
                    }
                }
            }
            true
        });
        self.sides.side(is_request).framer = framer;
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink) {
        let Some(error) = self.sides.end(end) else { return };
        for mut asked in self.waiting.drain() {
            asked.flags.set(Flags::NO_RESPONSE);
            asked.ended(time_ns);
            let error = Some(error.clone());
            sink.exchange(asked.into_exchange(|request| call(request, error, false)));
        }
    }

    fn settle(&mut self, _: MonoNs, _: &mut dyn Sink) {}

    fn abandon(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.report_all(Flags::TRUNCATED, time_ns, sink);
        self.sides.lose();
    }

    fn mark_lossy(&mut self) {
        self.waiting.iter_mut().for_each(|asked| asked.flags.set(Flags::LOSSY));
    }

    fn is_over(&self) -> bool {
        self.sides.is_over()
    }

    fn is_wrong(&self) -> bool {
        self.is_wrong
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        if self.sides.responses.framer.is_lost() {
            return;
        }
        for asked in self.waiting.iter().filter(|asked| !asked.item.waits) {
            asked.show(now, look, |request| call(request.clone(), None, false));
        }
    }

    fn memory(&self) -> usize {
        self.sides.memory() + self.waiting.memory()
    }
}

/// Whether a call's bytes begin a message: after a gap only that shows where the next one is.
fn begins(piece: Piece<'_>, is_request: bool, messages: &Messages) -> bool {
    let Piece::Bytes(bytes) = piece else { return false };
    let Some((header, rest)) = bytes.split_at_checked(4) else { return false };
    let Some((length, _)) = messages.payload(header) else { return false };
    if is_request { Request::read(rest).is_some() } else { length == rest.len() as u64 }
}
