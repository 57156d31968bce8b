//! memcached: its text protocol and its meta protocol (<https://docs.memcached.org/protocols/>).
//!
//! A request for several keys is one call. A request that is not answered by its own wish (`noreply`)
//! is counted, and its duration is not known; so is a quiet one of the meta protocol, unless it was
//! answered. The binary protocol is not read.
#![forbid(unsafe_code)]

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use answer::{Answer, First};
use request::{Command, Kind, Parsed};

use super::conversation::{Conversation, Dialect, Opening, Recognition};
use super::text::lines::{Found, Next};
use super::text::statements::{Name, Statements};
use super::text::{Answered, Asks, Belongs, Dialogue, Outcome, Pending, Says, Text};
use super::waiting::Waiting;
use super::{Limits, Role};
use crate::span::database::{DatabaseCall, DatabaseError, Statement, System};

/// memcached.
pub static DIALECT: Dialect = Dialect { name: "memcached", ports: &[PORT], recognise, start };

/// Where it is usually served.
const PORT: u16 = 11211;

fn start(role: Role, limits: Limits, from_start: bool) -> Box<dyn Conversation> {
    Box::new(Text::new(role, limits, from_start, Memcached::new(limits)))
}

/// A whole line that is a request in every word. Some of them may be those of other protocols of lines:
/// they are taken at the beginning of a connection or at the usual port.
fn recognise(opening: &Opening<'_>) -> Recognition {
    let is_likely = opening.from_start || opening.has_port(PORT);
    match begins_request(opening.bytes, is_likely) {
        Some(true) => Recognition::Yes(opening.role_if_request()),
        Some(false) => Recognition::No,
        None => Recognition::More,
    }
}

/// Commands that no other protocol has.
const OWN: [&[u8]; 16] = [
    b"get", b"gets", b"gat", b"gats", b"set", b"add", b"replace", b"append", b"prepend", b"cas",
    b"incr", b"decr", b"mg", b"ms", b"md", b"ma",
];

/// Commands that others may have, too.
const SHARED: [&[u8]; 7] = [b"delete", b"touch", b"version", b"stats", b"flush_all", b"me", b"mn"];

/// Whether bytes begin a request; `None` when they are too few to say.
fn begins_request(bytes: &[u8], is_likely: bool) -> Option<bool> {
    let is_command = |word: &[u8]| OWN.contains(&word) || (is_likely && SHARED.contains(&word));
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        let may_be = word.len() <= 9
            && bytes.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte == b'\r')
            && (is_command(word) || word.len() == bytes.len());
        return if may_be { None } else { Some(false) };
    };
    let Some(line) = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")) else {
        return Some(false);
    };
    let is_request = matches!(
        Command::parse(line, false),
        Parsed::Command(command) if is_command(command.name.text().as_bytes())
    );
    Some(is_request)
}

/// A request in flight.
#[derive(Debug)]
struct Request {
    statement: Arc<Statement>,
    kind: Kind,
    quiet: bool,
    opaque: Option<u64>,
}

/// What is known of a connection.
#[derive(Debug)]
struct Memcached {
    requests: request::Reader,
    answers: answer::Reader,
    statements: Statements,
    /// An answer to a request was read.
    is_certain: bool,
    /// Requests were sent that are only answered when something is to be said.
    has_quiet: bool,
}

impl Memcached {
    fn new(limits: Limits) -> Self {
        Self {
            requests: request::Reader::default(),
            answers: answer::Reader::default(),
            statements: Statements::new(limits.query_text),
            is_certain: false,
            has_quiet: false,
        }
    }

    fn request(&mut self, command: &Command) -> Request {
        self.has_quiet |= command.quiet;
        Request {
            statement: self.statements.get(&command.name, command.arguments),
            kind: command.kind,
            quiet: command.quiet,
            opaque: command.opaque,
        }
    }
}

impl Dialogue for Memcached {
    type Request = Request;
    type Answer = Answer;

    fn ask(&mut self, found: Found<'_>) -> Option<Asks<Request>> {
        Some(match self.requests.read(found, !self.is_certain)? {
            Err(next) => Asks::More(next),
            Ok(command) => {
                let answered = if command.no_reply { Answered::Never } else { Answered::InTurn };
                Asks::Request(Next::Line, self.request(&command), answered)
            }
        })
    }

    fn cut_request(&mut self) -> Option<Request> {
        let command = self.requests.cut()?;
        Some(self.request(&command))
    }

    fn unknown_request(&mut self) -> Request {
        Request {
            statement: self.statements.get(&Name::UNKNOWN, 0),
            kind: Kind::Line,
            quiet: false,
            opaque: None,
        }
    }

    fn begins_request(&self, bytes: &[u8]) -> bool {
        begins_request(bytes, true) != Some(false)
    }

    fn say(&mut self, found: Found<'_>, asked: Option<&Request>) -> Option<Says<Answer>> {
        Some(match self.answers.read(found, asked.map(|request| request.kind))? {
            Ok(answer) => Says::Answer(Next::Line, answer),
            Err(next) => Says::More(next),
        })
    }

    fn passed_over(&self, line: &[u8], asked: &Waiting<Pending<Request>>) -> usize {
        if !self.has_quiet {
            return 0;
        }
        let first = First::new(line);
        let may_answer =
            |request: &Request| first.may_answer(request.kind, request.quiet, request.opaque);
        asked.iter().position(|asked| may_answer(&asked.item.request)).unwrap_or(0)
    }

    fn belongs(&mut self, answer: &Answer, asked: Option<&mut Request>) -> Belongs {
        let Some(request) = asked else { return Belongs::Whole };
        self.is_certain = true;
        let is_last = request.kind == Kind::Watch && answer.error.is_none();
        if is_last { Belongs::Last } else { Belongs::Whole }
    }

    fn forget(&mut self) {
        self.answers = answer::Reader::default();
    }

    fn call(&mut self, request: Request, outcome: Outcome<Answer>) -> DatabaseCall {
        let mut call = DatabaseCall {
            system: System::Memcached,
            statement: request.statement,
            namespace: None,
            error: None,
            sqlstate: None,
            answered: true,
            rows: None,
            batch: None,
            waits: false,
        };
        match outcome {
            Outcome::Answer(answer) => {
                call.error = answer.error.map(|code| DatabaseError::Code(code.into()));
                let returns_values =
                    matches!(request.kind, Kind::Values | Kind::Meta(request::Meta::Get));
                call.rows = (returns_values && answer.error.is_none()).then_some(answer.values);
            }
            Outcome::Begun => {}
            Outcome::Unseen => call.answered = false,
            Outcome::Broken(error) => {
                call.answered = false;
                call.error = Some(error).filter(|_| request.kind != Kind::Shutdown);
            }
        }
        call
    }

    fn may_wait(&self, asked: &Request) -> bool {
        asked.quiet
    }

    fn so_far(&self, asked: &Request) -> DatabaseCall {
        DatabaseCall {
            system: System::Memcached,
            statement: Arc::clone(&asked.statement),
            namespace: None,
            error: None,
            sqlstate: None,
            answered: false,
            rows: None,
            batch: None,
            waits: false,
        }
    }

    fn memory(&self) -> usize {
        self.statements.memory()
    }
}
