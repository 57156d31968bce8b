//! PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2:
//! <https://www.postgresql.org/docs/18/protocol.html>.
//!
//! A call is what a client calls a statement: a `Query` with all its commands, an `Execute`, a function
//! call. Preparing and describing are calls only where they fail before anything was executed. The way:
//! [`message`] frames and reads messages, [`calls`] keeps what is asked and [`answers`] holds what is
//! answered against it, [`names`] knows prepared statements, [`unseen`] is for what went by without a
//! record, and [`tail`] finds the end of an answer of which the middle was
//! not copied. Passwords, parameters and copied data are never kept.
#![forbid(unsafe_code)]

mod answers;
mod calls;
mod message;
mod names;
mod recognise;
mod step;
mod tail;
#[cfg(test)]
mod tests;
mod unseen;

use calls::Calls;
use message::{Backend, Frontend, GSS, MAJOR, SSL};
use tail::Tail;

use super::conversation::{Conversation, Dialect};
use super::framer::{Found, Framer};
use super::in_flight::Look;
use super::{Advice, At, End, Limits, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs};
use crate::span::Flags;
use crate::span::database::DatabaseError;

/// How it is told from others.
pub static DIALECT: Dialect = Dialect {
    name: "postgresql",
    ports: &[5432, 6432],
    recognise: recognise::recognise,
    start: |role, limits, _| Box::new(Postgres::new(role, limits)),
};

/// Malformed messages, with no call between, after which the connection is taken for one of another
/// protocol.
const MAX_MALFORMED: u8 = 3;

/// Parser of one connection.
#[derive(Debug)]
pub struct Postgres {
    role: Role,
    calls: Calls,
    requests: Framer,
    frontend: Frontend,
    /// Circumstances of the first byte of the message that is being read.
    request_begin: Option<At>,
    responses: Framer,
    response_begin: Option<At>,
    /// The last bytes of the server.
    tail: Tail,
    /// Why the middle of an answer was not copied, while its end is looked for.
    blind: Option<Flags>,
    /// The first message has not been seen.
    fresh: bool,
    /// The server answers with one byte whether the connection becomes encrypted.
    negotiates: bool,
    malformed: u8,
}

impl Postgres {
    /// A parser whose first piece begins with a message of either side.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            calls: Calls::new(role, limits),
            requests: Framer::default(),
            frontend: Frontend { starting: false },
            request_begin: None,
            responses: Framer::default(),
            response_begin: None,
            tail: Tail::default(),
            blind: None,
            fresh: true,
            negotiates: false,
            malformed: 0,
        }
    }

    fn request(&mut self, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        if at.turn && at.segment_start {
            self.begin_turn(piece, at, sink);
        }
        if let (true, Piece::Bytes([first, ..])) = (self.requests.is_between(), piece)
            && (self.fresh || self.frontend.starting)
        {
            // Types of messages are letters; the length of the first one begins with a zero.
            self.frontend.starting = *first == 0;
            self.fresh = false;
        }
        let mut left = piece;
        loop {
            let (rest, trouble) = self.messages(left, at, sink);
            if let Some(trouble) = trouble {
                self.requests_lost(&trouble, at, sink);
                break;
            }
            if rest.is_empty() || self.calls.is_over() {
                break;
            }
            left = Piece::Bytes(rest);
        }
    }

    /// Reads messages up to one behind which they are framed otherwise; returns what follows it.
    fn messages<'p>(
        &mut self,
        piece: Piece<'p>,
        at: &At,
        sink: &mut dyn Sink,
    ) -> (&'p [u8], Option<Trouble>) {
        let Self { calls, requests, frontend, request_begin, negotiates, .. } = self;
        let mut trouble = None;
        let rest = requests.push(piece, at, frontend, |frontend, found, at| {
            match found {
                Found::Begin => *request_begin = Some(*at),
                Found::Message { header, payload, cut, length } => {
                    let begin = request_begin.take().unwrap_or(*at);
                    if frontend.starting {
                        let code = message::startup(header).map_or(0, |(_, code)| code);
                        frontend.starting = matches!(code, SSL | GSS);
                        *negotiates = frontend.starting;
                        if code >> 16 == MAJOR {
                            calls.startup(payload);
                        } else if !frontend.starting {
                            // A request to cancel: nothing follows.
                            calls.stop();
                        }
                        return false;
                    }
                    let cut = cut || (payload.len() as u64) < length;
                    let kind = header.first().copied().unwrap_or(0);
                    calls.request(kind, payload, cut, &begin, sink);
                }
                found => trouble = Some(found.into()),
            }
            true
        });
        (rest, trouble)
    }

    /// The client has the word again. When the server has said all, whatever was missed is over.
    fn begin_turn(&mut self, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        let missed = self.blind.is_some()
            || self.requests.is_lost()
            || self.calls.is_unseen()
            || self.calls.is_behind();
        let Piece::Bytes(bytes) = piece else { return };
        if !missed {
            return;
        }
        if !recognise::is_frontend_turn(bytes) {
            self.malformed = self.malformed.saturating_add(u8::from(self.malformed > 0));
            return;
        }
        if !self.calls.is_ready() {
            return;
        }
        self.calls.resume(at.exit_ns, sink);
        self.blind = None;
        self.requests.restart();
        self.responses.restart();
    }

    fn requests_lost(&mut self, trouble: &Trouble, at: &At, sink: &mut dyn Sink) {
        self.requests.lose();
        self.request_begin = None;
        match trouble {
            // Between the data that is copied into a table nothing else comes.
            Trouble::Gap(_) if self.calls.copies_in() => {}
            Trouble::Gap(_) => {
                sink.problem(Problem::Resynchronised);
                self.calls.lose_requests();
            }
            Trouble::Malformed => {
                sink.problem(Problem::MalformedMessage);
                self.malformed = self.malformed.saturating_add(1);
                self.calls.lose(Flags::TRUNCATED, false, at.exit_ns, sink);
            }
        }
    }

    fn response(&mut self, mut piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        self.fresh = false;
        match piece {
            Piece::Bytes(bytes) => {
                if std::mem::take(&mut self.negotiates) {
                    let Some((&answer, rest)) = bytes.split_first() else { return };
                    match answer {
                        b'S' | b'G' => return self.calls.stop(),
                        b'N' => piece = Piece::Bytes(rest),
                        // An old server sends an error.
                        _ => {}
                    }
                }
                self.tail.push(bytes);
            }
            Piece::Skipped(0) => {}
            Piece::Skipped(_) | Piece::Lost(_) => self.tail.clear(),
        }
        let Self { calls, responses, response_begin, malformed, .. } = self;
        let mut trouble = None;
        responses.push(piece, at, &mut Backend, |_, found, at| {
            match found {
                Found::Begin => *response_begin = Some(*at),
                Found::Message { header, payload, .. } => {
                    let begin = response_begin.take().unwrap_or(*at);
                    let kind = header.first().copied().unwrap_or(0);
                    if kind == b'Z' {
                        *malformed = 0;
                    }
                    calls.response(kind, payload, &begin, at, sink);
                }
                found => trouble = Some(found.into()),
            }
            !calls.is_over()
        });
        if let Some(trouble) = trouble {
            self.responses_lost(&trouble, at, sink);
        }
        if let Some(why) = self.blind
            && at.segment_end
            && let Some(ending) = self.tail.ending()
        {
            self.ends_blindly(&ending, why, at, sink);
        }
    }

    fn responses_lost(&mut self, trouble: &Trouble, at: &At, sink: &mut dyn Sink) {
        self.responses.lose();
        self.response_begin = None;
        let why = match trouble {
            Trouble::Gap(why) => *why,
            Trouble::Malformed => {
                sink.problem(Problem::MalformedMessage);
                self.malformed = self.malformed.saturating_add(1);
                Flags::TRUNCATED
            }
        };
        self.blind = Some(why);
        // Of several answers it cannot be said which the end is of that will be seen.
        if self.calls.ready_to_come() > 1 && !self.calls.is_unseen() {
            sink.problem(Problem::Resynchronised);
            self.calls.lose(why, false, at.exit_ns, sink);
        }
    }

    /// The server has sent its last message for now.
    fn ends_blindly(&mut self, ending: &tail::Ending, why: Flags, at: &At, sink: &mut dyn Sink) {
        if self.calls.answered_blindly(ending, why, at, sink) {
            self.blind = None;
            self.responses.restart();
        } else {
            if !self.calls.is_unseen() {
                sink.problem(Problem::Resynchronised);
                self.calls.lose(why, false, at.exit_ns, sink);
            }
            self.calls.seems_ready();
        }
    }
}

/// What ended the reading of messages.
#[derive(Debug)]
enum Trouble {
    Malformed,
    Gap(Flags),
}

impl From<Found<'_>> for Trouble {
    fn from(found: Found<'_>) -> Self {
        match found {
            Found::Gap(_, true) => Self::Gap(Flags::LOSSY),
            Found::Gap(_, false) => Self::Gap(Flags::TRUNCATED),
            _ => Self::Malformed,
        }
    }
}

impl Conversation for Postgres {
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        if self.calls.is_over() {
            return;
        }
        if direction == self.role.request_direction() {
            self.request(piece, at, sink);
        } else {
            self.response(piece, at, sink);
        }
        if self.calls.is_over() {
            self.calls.report_unseen(Flags::TRUNCATED, at.exit_ns, sink);
            sink.advice(Advice::Ignore);
        }
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink) {
        let (ended, error) = match end {
            End::Received => (Some(Direction::Received), DatabaseError::ConnectionClosed),
            End::Sent => (Some(Direction::Sent), DatabaseError::ConnectionClosed),
            End::Both { reset: false } => (None, DatabaseError::ConnectionClosed),
            End::Both { reset: true } => (None, DatabaseError::ConnectionReset),
        };
        // A client that sends no more still reads.
        if ended != Some(self.role.request_direction()) {
            if let Some(why) = self.blind {
                self.calls.report_unseen(why, time_ns, sink);
            }
            self.calls.end(&error, time_ns, sink);
            self.calls.stop();
        }
    }

    fn settle(&mut self, _: MonoNs, _: &mut dyn Sink) {}

    fn abandon(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.calls.lose(Flags::TRUNCATED, false, time_ns, sink);
        self.requests.lose();
        self.responses.lose();
        self.blind = Some(Flags::TRUNCATED);
    }

    fn mark_lossy(&mut self) {
        self.calls.mark_lossy();
    }

    fn is_over(&self) -> bool {
        self.calls.is_over()
    }

    fn is_wrong(&self) -> bool {
        self.malformed >= MAX_MALFORMED
    }

    fn is_waiting(&self) -> bool {
        self.calls.is_waiting()
    }

    fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        // While the end of an answer is looked for, it may have come.
        if self.blind.is_none() {
            self.calls.in_flight(now, look);
        }
    }

    fn memory(&self) -> usize {
        self.calls.memory() + self.requests.memory() + self.responses.memory() + self.tail.memory()
    }
}
