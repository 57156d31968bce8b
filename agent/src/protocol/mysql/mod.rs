//! MySQL and MariaDB: the client/server protocol, version 10.
//!
//! A push parser for both directions of one connection. Each direction is a stream of packets
//! ([`lane`]); [`handshake`] is the beginning, where both sides agree on their form; then commands
//! ([`command`]) wait for their responses, which come in the same order and are followed packet by
//! packet ([`reply`]). What ends is a call ([`flight`]).
//!
//! Each command that is answered is a call: a query as its statement, an execution of a prepared
//! statement as that statement, everything else by the name of the command (`PREPARE`, `PING`,
//! `INIT_DB`). Being let in is no call; being refused is, as `CONNECT` with its error.
//!
//! The capture is not the whole stream. Rows that were skipped change nothing where the end of the
//! response is among the last bytes of a call; else the response ends with the next command, as clients
//! do not send one before. Where commands may have gone by unseen, what is in flight is reported as not
//! seen, and reading goes on at the next turn.
//!
//! Not read: TLS, compression by zstd, and what a replica gets.
#![forbid(unsafe_code)]

mod command;
mod flight;
mod handshake;
mod lane;
mod packet;
mod recognise;
mod reply;
mod requests;
mod responses;
mod statements;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use flight::{Command, Ended};
use handshake::Capabilities;
use lane::Lane;
use reply::{Form, Reply};
use statements::Statements;

use super::conversation::{Conversation, Dialect};
use super::in_flight::Look;
use super::waiting::{Asked, Waiting};
use super::{Advice, At, End, Limits, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs};
use crate::span::Flags;
use crate::span::database::{DatabaseError, Statement};

/// MySQL, MariaDB, and what speaks their protocol.
pub static DIALECT: Dialect = Dialect {
    name: "mysql",
    ports: &[3306],
    recognise: recognise::recognise,
    start: |role, limits, _| Box::new(Mysql::new(role, limits)),
};

/// Packets in a row that make no sense, after which a connection is given up.
const MAX_MALFORMED: u8 = 8;

/// Parser of one connection.
#[derive(Debug)]
pub struct Mysql {
    requests: Lane,
    responses: Lane,
    state: State,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first packet tells: a greeting, or a command where the connection is older than vigie.
    Unknown,
    /// The server has these capabilities; the client is to answer.
    Greeted(Capabilities),
    /// Both sides authenticate.
    Login,
    /// Commands and their responses.
    Commands,
}

/// What is certain of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing: no response was seen yet.
    Unproven,
    /// It is MySQL.
    Proven,
    /// It is another one.
    Wrong,
    /// Nothing more is read.
    Over,
}

/// The packets of one direction.
#[derive(Debug, Default)]
struct Side {
    /// Where the packet that is read began.
    begun: Option<At>,
    /// The next one continues it.
    continues: bool,
    /// What is to be done with the framing once the piece is read.
    next: Next,
}

/// How the framing of a direction goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Same,
    /// With a packet that begins.
    Restart,
    /// The place is lost.
    Lose,
}

/// The response to the first command that waits.
#[derive(Debug)]
enum Reading {
    /// It has not begun.
    Nothing,
    /// Packet by packet.
    Packets(Reply),
    /// Its middle was not captured.
    Blind,
}

/// The packet of the client that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Nothing,
    /// It has begun and is not whole.
    Packet,
    /// It is not whole, but was answered.
    Answered,
}

/// What a packet is that no command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unasked {
    /// A problem.
    Problem,
    /// The same one.
    Told,
    /// Of a response that was taken for ended.
    Trails,
}

/// Everything but the framing.
#[derive(Debug)]
struct State {
    role: Role,
    limits: Limits,
    standing: Standing,
    phase: Phase,
    /// What both sides have agreed on; `None` where that went by before.
    agreed: Option<Capabilities>,
    form: Form,
    sent: Side,
    received: Side,
    /// The client that wants to be let in.
    login: Option<Asked<Command>>,
    waiting: Waiting<Command>,
    /// Memory of what waits, besides the queue itself.
    bytes: usize,
    reading: Reading,
    unasked: Unasked,
    /// A request of which nothing is known but that bytes of it went by.
    missed: Option<Asked<Command>>,
    sending: Sending,
    /// The client sends a file.
    is_file: bool,
    statements: Statements,
    /// The session has the mode `NO_BACKSLASH_ESCAPES`, as the last result told.
    no_escapes: bool,
    /// The one of a command that is not known, shared by all of them.
    unknown: Arc<Statement>,
    namespace: Option<Arc<str>>,
    /// Packets in a row that make no sense.
    malformed: u8,
}

impl Mysql {
    /// A parser whose first bytes are a greeting or a command.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            requests: Lane::default(),
            responses: Lane::default(),
            state: State {
                role,
                limits,
                standing: Standing::Unproven,
                phase: Phase::Unknown,
                agreed: None,
                form: Form::default(),
                sent: Side::default(),
                received: Side::default(),
                login: None,
                waiting: Waiting::new(limits.in_flight),
                bytes: 0,
                reading: Reading::Nothing,
                unasked: Unasked::Problem,
                missed: None,
                sending: Sending::Nothing,
                is_file: false,
                statements: Statements::default(),
                no_escapes: false,
                unknown: Arc::default(),
                namespace: None,
                malformed: 0,
            },
        }
    }
}

impl Conversation for Mysql {
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        if self.state.is_done() {
            return;
        }
        if direction == self.state.role.request_direction() {
            self.request(piece, at, sink);
        } else {
            self.response(piece, at, sink);
        }
        self.state.sent.apply(&mut self.requests);
        self.state.received.apply(&mut self.responses);
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink) {
        let requests = self.state.role.request_direction();
        let (is_requests, reset) = match end {
            End::Received => (requests == Direction::Received, false),
            End::Sent => (requests == Direction::Sent, false),
            End::Both { reset } => (false, reset),
        };
        // What was asked before may still be answered.
        if is_requests {
            self.requests.lose();
            return;
        }
        let error =
            if reset { DatabaseError::ConnectionReset } else { DatabaseError::ConnectionClosed };
        self.state.broken(&error, time_ns, sink);
        self.state.standing = Standing::Over;
    }

    fn settle(&mut self, _: MonoNs, _: &mut dyn Sink) {}

    fn abandon(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.state.unseen(Flags::TRUNCATED, time_ns, sink);
        self.state.missed = None;
        self.state.statements.clear();
        self.requests.lose();
        self.responses.lose();
    }

    fn mark_lossy(&mut self) {
        let State { waiting, missed, login, .. } = &mut self.state;
        for asked in waiting.iter_mut().chain(missed).chain(login) {
            asked.flags.set(Flags::LOSSY);
        }
    }

    fn is_over(&self) -> bool {
        self.state.standing == Standing::Over
    }

    fn is_wrong(&self) -> bool {
        self.state.standing == Standing::Wrong
    }

    fn is_waiting(&self) -> bool {
        !self.state.waiting.is_empty()
    }

    fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        let state = &self.state;
        // What was not captured of a response may have been its end.
        let is_blind = self.responses.is_lost() || matches!(state.reading, Reading::Blind);
        if !is_blind && !state.is_done() {
            state.waiting.iter().for_each(|asked| asked.show(now, look, Command::so_far));
        }
    }

    fn memory(&self) -> usize {
        let State { waiting, bytes, statements, namespace, .. } = &self.state;
        let name = namespace.as_deref().map_or(0, str::len);
        let lanes = self.requests.memory() + self.responses.memory();
        lanes + waiting.memory() + bytes + statements.memory() + name
    }
}

// === impl Side ===

impl Side {
    /// Does with the framing what is to be done.
    fn apply(&mut self, lane: &mut Lane) {
        match std::mem::take(&mut self.next) {
            Next::Same => return,
            Next::Restart => lane.restart(),
            Next::Lose => lane.lose(),
        }
        self.continues = false;
    }
}

// === impl State ===

impl State {
    /// Whether nothing more is read, for one reason or another.
    fn is_done(&self) -> bool {
        matches!(self.standing, Standing::Wrong | Standing::Over)
    }

    /// A packet makes no sense: it is another protocol, or the place is lost.
    fn malformed(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        if self.standing == Standing::Unproven {
            self.standing = Standing::Wrong;
            return;
        }
        sink.problem(Problem::MalformedMessage);
        self.unseen(Flags::TRUNCATED, time_ns, sink);
        self.malformed += 1;
        if self.malformed >= MAX_MALFORMED {
            self.stop(sink);
        }
    }

    /// Nothing more is read.
    fn stop(&mut self, sink: &mut dyn Sink) {
        self.standing = Standing::Over;
        sink.advice(Advice::Ignore);
    }

    /// Empties the queue: how these calls ended was not seen, and will not be.
    fn unseen(&mut self, why: Flags, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.reading = Reading::Nothing;
        self.is_file = false;
        self.unasked = Unasked::Trails;
        self.bytes = 0;
        for asked in self.waiting.drain() {
            let into_call = |command: Command| command.into_call(&Ended::Unseen);
            sink.exchange(asked.into_unseen(why, time_ns, into_call));
        }
    }

    /// The connection ended, and with it what is in flight.
    fn broken(&mut self, error: &DatabaseError, time_ns: MonoNs, sink: &mut dyn Sink) {
        if matches!(self.reading, Reading::Blind) {
            // Whether this one was whole by then is not known.
            self.end_blind(&Ended::Unseen, sink);
        }
        self.login = None;
        self.missed = None;
        self.bytes = 0;
        for mut asked in self.waiting.drain() {
            if !asked.is_answered() {
                asked.flags.set(Flags::NO_RESPONSE);
            }
            asked.ended(time_ns);
            let end = Ended::Broken(error.clone());
            sink.exchange(asked.into_exchange(|command| command.into_call(&end)));
        }
    }

    /// A command waits for its response. Where there are too many, none is kept.
    fn wait(&mut self, asked: Asked<Command>, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.bytes += asked.item.memory();
        if let Some(asked) = self.waiting.push(asked) {
            sink.problem(Problem::TooManyInFlight);
            self.unseen(Flags::TRUNCATED, time_ns, sink);
            let into_call = |command: Command| command.into_call(&Ended::Unseen);
            sink.exchange(asked.into_unseen(Flags::TRUNCATED, time_ns, into_call));
        }
    }

    /// The first in the queue has ended.
    fn finish(&mut self, end: &Ended, sink: &mut dyn Sink) {
        self.reading = Reading::Nothing;
        self.is_file = false;
        if let Some(asked) = self.waiting.pop() {
            self.bytes = self.bytes.saturating_sub(asked.item.memory());
            sink.exchange(asked.into_exchange(|command| command.into_call(end)));
        }
    }

    /// The first in the queue has ended, and what was not captured may have held more of it.
    fn end_blind(&mut self, end: &Ended, sink: &mut dyn Sink) {
        if matches!(end, Ended::Unseen)
            && let Some(front) = self.waiting.front_mut()
        {
            front.flags.set(Flags::TRUNCATED);
        }
        self.unasked = Unasked::Trails;
        self.finish(end, sink);
    }
}
