//! MongoDB's wire protocol: `OP_MSG` (3.6 and later), the `OP_QUERY` and `OP_REPLY` that drivers still
//! greet servers with, and `OP_COMPRESSED` around them.
//!
//! A message names the request that it answers, so responses may come in any order. What is asked is in
//! the first field of a BSON document ([`body`]); values are never kept, but for the names of a
//! collection and of a database.
#![forbid(unsafe_code)]

mod body;
mod commands;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use body::{Answer, Body, Question};

use super::conversation::{Conversation, Dialect, Opening, Recognition};
use super::framer::{Found, Framing};
use super::in_flight::Look;
use super::sides::Sides;
use super::waiting::Asked;
use super::{At, Call, End, Limits, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs};
use crate::span::Flags;
use crate::span::database::{DatabaseCall, DatabaseError, Statement, System};

/// How it is told from others.
pub static DIALECT: Dialect = Dialect {
    name: "mongodb",
    ports: &[27017, 27018, 27019],
    recognise,
    start: |role, limits, _| Box::new(Mongodb::new(role, limits)),
};

/// Bytes of a message that are kept: the command comes first, and its database soon after in all but bulk
/// writes.
const KEPT: usize = 4096;

/// Largest message (`maxMessageSizeBytes`), with room for what compression adds.
const MAX_MESSAGE: u32 = 49_000_000;

/// Malformed messages after which the connection is taken for one of another protocol.
const MAX_MALFORMED: u8 = 3;

/// Bytes of the header.
const HEADER: u32 = 16;

/// Codes of messages.
mod opcode {
    pub(super) const REPLY: i32 = 1;
    pub(super) const QUERY: i32 = 2004;
    pub(super) const COMPRESSED: i32 = 2012;
    pub(super) const MSG: i32 = 2013;
}

/// Bits of an `OP_MSG`.
mod flag {
    pub(super) const CHECKSUM: u32 = 1;
    pub(super) const MORE_TO_COME: u32 = 2;
    pub(super) const EXHAUST_ALLOWED: u32 = 1 << 16;
}

/// The header that all messages have; numbers are little-endian.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// Bytes of the message, header included.
    length: u32,
    request: i32,
    answers: i32,
    opcode: i32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let header = Self {
            length: u32::try_from(number(0)?).ok()?,
            request: number(4)?,
            answers: number(8)?,
            opcode: number(12)?,
        };
        let known = [opcode::MSG, opcode::COMPRESSED, opcode::QUERY, opcode::REPLY];
        let fits = (HEADER..=MAX_MESSAGE).contains(&header.length);
        (fits && known.contains(&header.opcode)).then_some(header)
    }
}

/// The framing of both directions.
#[derive(Debug)]
struct Messages;

impl Framing for Messages {
    fn header_length(&self) -> usize {
        HEADER as usize
    }

    fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
        let header = Header::read(header)?;
        Some((u64::from(header.length - HEADER), KEPT))
    }
}

/// Strict: a known code, only known bits, and a body that begins with a document.
fn recognise(opening: &Opening<'_>) -> Recognition {
    let bytes = opening.bytes;
    let Some((_, rest)) = bytes.split_at_checked(HEADER as usize) else {
        let length = bytes.first_chunk().map(|first| u32::from_le_bytes(*first));
        let fits = length.is_none_or(|length| (26..=MAX_MESSAGE).contains(&length));
        return if fits && !bytes.is_empty() { Recognition::More } else { Recognition::No };
    };
    let Some(header) = Header::read(bytes) else { return Recognition::No };
    let role = match (header.opcode, header.answers) {
        (opcode::QUERY, 0) => opening.role_if_request(),
        (opcode::QUERY, _) | (opcode::REPLY, 0) => return Recognition::No,
        (_, 0) => opening.role_if_request(),
        _ => opening.role_if_response(),
    };
    if header.opcode != opcode::MSG {
        return Recognition::Yes(role);
    }
    let Some((bits, sections)) = rest.split_first_chunk() else { return Recognition::More };
    let known = flag::CHECKSUM | flag::MORE_TO_COME | flag::EXHAUST_ALLOWED;
    match sections.first() {
        None => Recognition::More,
        Some(0 | 1) if u32::from_le_bytes(*bits) & !known == 0 => Recognition::Yes(role),
        Some(_) => Recognition::No,
    }
}

/// A request in flight.
#[derive(Clone, Debug)]
struct Request {
    number: i32,
    statement: Arc<Statement>,
    namespace: Option<Arc<str>>,
    waits: bool,
}

/// Parser of one connection.
#[derive(Debug)]
pub struct Mongodb {
    sides: Sides,
    limits: Limits,
    waiting: VecDeque<Asked<Request>>,
    /// Of the request that came last.
    sequence: u32,
    /// Statements that were met last, to be shared.
    known: Vec<Arc<Statement>>,
    malformed: u8,
    is_wrong: bool,
}

/// Statements that are remembered on one connection.
const MAX_KNOWN: usize = 32;

impl Mongodb {
    fn new(role: Role, limits: Limits) -> Self {
        Self {
            sides: Sides::new(role),
            limits,
            waiting: VecDeque::new(),
            sequence: 0,
            known: Vec::new(),
            malformed: 0,
            is_wrong: false,
        }
    }

    /// A request is whole.
    fn asked(&mut self, header: Header, payload: &[u8], sink: &mut dyn Sink) {
        let Some(at) = self.sides.requests.began.take() else { return };
        let Body { flags, document } = body::of(header.opcode, payload).unwrap_or_default();
        let question = Question::read(&document);
        let request = Request {
            number: header.request,
            statement: self.statement(&question),
            namespace: question.database,
            waits: question.waits,
        };
        let mut asked = Asked::new(self.sides.role(), &at, request);
        if flags & flag::MORE_TO_COME != 0 {
            // An unacknowledged write: nobody answers.
            asked.ended(at.exit_ns);
            sink.exchange(asked.into_exchange(|request| call(request, None, false)));
            return;
        }
        if self.waiting.len() >= self.limits.in_flight {
            sink.problem(Problem::TooManyInFlight);
            sink.exchange(
                asked.into_unseen(Flags::TRUNCATED, at.exit_ns, |request| {
                    call(request, None, false)
                }),
            );
            return;
        }
        self.sequence = self.sequence.wrapping_add(1).max(1);
        asked.sequence = self.sequence;
        self.waiting.push_back(asked);
    }

    fn statement(&mut self, question: &Question) -> Arc<Statement> {
        let known = self.known.iter().find(|known| {
            *known.operation == *question.command && *known.collection == *question.collection
        });
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let statement = Arc::new(question.statement());
        if self.known.len() >= MAX_KNOWN {
            self.known.remove(0);
        }
        self.known.push(Arc::clone(&statement));
        statement
    }

    /// A response is whole.
    fn answered(&mut self, header: Header, payload: &[u8], at: &At, sink: &mut dyn Sink) {
        let began = self.sides.responses.began.take().unwrap_or(*at);
        let found = self.waiting.iter().position(|asked| asked.item.number == header.answers);
        // Of an exhausted cursor all but the first response answer no request; older requests were
        // sent before vigie.
        let Some(mut asked) = found.and_then(|index| self.waiting.remove(index)) else { return };
        asked.answered(&began);
        asked.answered(at);
        let answer = match body::of(header.opcode, payload) {
            Ok(body) => Answer::read(&body.document),
            Err(body::Unseen) => Answer::default(),
        };
        sink.exchange(asked.into_exchange(|request| call(request, answer.error, true)));
    }

    fn malformed(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        sink.problem(Problem::MalformedMessage);
        self.malformed += 1;
        self.report_all(Flags::TRUNCATED, time_ns, sink);
        self.is_wrong = self.malformed >= MAX_MALFORMED;
    }

    /// What is in flight stays without an answer.
    fn report_all(&mut self, why: Flags, time_ns: MonoNs, sink: &mut dyn Sink) {
        for asked in std::mem::take(&mut self.waiting) {
            sink.exchange(asked.into_unseen(why, time_ns, |request| call(request, None, false)));
        }
    }
}

fn call(request: Request, error: Option<DatabaseError>, answered: bool) -> Call {
    Call::Database(Box::new(DatabaseCall {
        system: System::Mongodb,
        statement: request.statement,
        namespace: request.namespace,
        error,
        sqlstate: None,
        answered,
        rows: None,
        batch: None,
        waits: request.waits,
    }))
}

impl Conversation for Mongodb {
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        let is_request = self.sides.is_request(direction);
        let side = self.sides.side(is_request);
        let mut framer = std::mem::take(&mut side.framer);
        let begins = matches!(piece, Piece::Bytes(bytes) if Header::read(bytes).is_some());
        if framer.is_lost() && at.segment_start && begins {
            framer.restart();
            sink.problem(Problem::Resynchronised);
        }
        framer.push(piece, at, &mut Messages, |_, found, at| {
            let side = self.sides.side(is_request);
            match found {
                Found::Begin => side.began = Some(*at),
                Found::Message { header, payload, .. } => {
                    let Some(header) = Header::read(header) else { return true };
                    self.malformed = 0;
                    if is_request {
                        self.asked(header, payload, sink);
                    } else {
                        self.answered(header, payload, at, sink);
                    }
                }
                Found::Malformed => self.malformed(at.exit_ns, sink),
                Found::Gap(_, is_lost) => {
                    side.began = None;
                    if !is_request {
                        let why = if is_lost { Flags::LOSSY } else { Flags::TRUNCATED };
                        self.report_all(why, at.exit_ns, sink);
                    }
                }
            }
            true
        });
        let side = self.sides.side(is_request);
        side.framer = framer;
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink) {
        let Some(error) = self.sides.end(end) else { return };
        for mut asked in std::mem::take(&mut self.waiting) {
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
        const TEXTS: usize = 64;
        self.sides.memory()
            + self.waiting.capacity() * size_of::<Asked<Request>>()
            + self.known.len() * (size_of::<Statement>() + TEXTS)
    }
}
