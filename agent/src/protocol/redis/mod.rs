//! Redis and Valkey: RESP2 and RESP3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! Each command is a call, those of a pipeline and of a transaction, too: inside of one the answer is
//! `QUEUED`, and `EXEC` has the number of commands that it ran. Messages of subscriptions and other
//! pushes are no answers. `MONITOR` and replication end what is read of a connection.
#![forbid(unsafe_code)]

mod answer;
mod command;
mod request;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use answer::Answer;
use command::{Kind, Topic};
use request::{Command, Read, Replies, number};

use super::conversation::{Conversation, Dialect, Opening, Recognition};
use super::text::lines::{Found, Next};
use super::text::statements::{Name, Statements};
use super::text::{Answered, Asks, Belongs, Dialogue, Namespace, Outcome, Pending, Says, Text};
use super::waiting::Waiting;
use super::{Limits, Role};
use crate::span::database::{DatabaseCall, Statement, System};

/// Redis and what speaks its protocol.
pub static DIALECT: Dialect = Dialect { name: "redis", ports: &[PORT], recognise, start };

/// Where it is usually served.
const PORT: u16 = 6379;

/// The inline command that health checks begin with.
const PING: &[u8] = b"PING\r\n";

fn start(role: Role, limits: Limits, from_start: bool) -> Box<dyn Conversation> {
    Box::new(Text::new(role, limits, from_start, Redis::new(limits, from_start)))
}

/// A request: an array of bulk strings that begins with the name of a command. Answers look alike, so
/// the command has to be a known one. Inline there is only `PING`, which health checks send first.
fn recognise(opening: &Opening<'_>) -> Recognition {
    let is_unix = opening.local_port == 0 && opening.remote_port == 0;
    let is_likely = opening.from_start || is_unix || opening.has_port(PORT);
    let role = opening.role_if_request();
    let at_wrong_end = match role {
        Role::Server => opening.remote_port == PORT && opening.local_port != PORT,
        Role::Client => opening.local_port == PORT && opening.remote_port != PORT,
    };
    if at_wrong_end {
        return Recognition::No;
    }
    if is_likely && opening.bytes.starts_with(PING) {
        return Recognition::Yes(role);
    }
    match begins_command(opening.bytes) {
        Some(true) => Recognition::Yes(role),
        Some(false) => Recognition::No,
        None => Recognition::More,
    }
}

/// Whether bytes begin a command: `*2\r\n$3\r\nGET\r\n`; `None` when they are too few to say.
fn begins_command(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    let mut header = |kind: u8, max: u64| -> Option<Option<u64>> {
        let (first, after) = rest.split_first()?;
        if *first != kind {
            return Some(None);
        }
        let Some(end) = after.iter().position(|byte| *byte == b'\n') else {
            let is_begin = after.len() <= 10
                && after.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\r');
            return if is_begin { None } else { Some(None) };
        };
        let (line, after) = after.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let count = line.strip_suffix(b"\r").and_then(|digits| number(digits, max));
        Some(count.filter(|count| *count > 0))
    };
    let Some(count) = header(b'*', 1 << 20)? else { return Some(false) };
    let Some(length) = header(b'$', command::MAX_WORD as u64)? else { return Some(false) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some((word, end)) = rest.split_at_checked(length) else {
        let may_be = rest.iter().all(u8::is_ascii_graphic);
        return if may_be { None } else { Some(false) };
    };
    let expected: &[u8] = if count > 1 { b"\r\n$" } else { b"\r\n" };
    let seen = end.get(..expected.len().min(end.len())).unwrap_or_default();
    if !expected.starts_with(seen) || !command::is_known(word) {
        return Some(false);
    }
    (seen == expected).then_some(true)
}

/// A command in flight.
#[derive(Debug)]
struct Request {
    statement: Arc<Statement>,
    kind: Kind,
    waits: bool,
    database: Option<u32>,
    /// Answers that it gets; `None` when that is told by how many subscriptions there are.
    answers: Option<u32>,
}

/// What is known of a connection.
#[derive(Debug)]
struct Redis {
    requests: request::Reader,
    answers: answer::Reader,
    statements: Statements,
    /// What is to be answered, of the commands that come next.
    replies: Replies,
    /// The number of the database, after the answers so far; `None` where it is not known.
    namespace: Namespace,
    /// Commands in the transaction so far.
    queued: u32,
    /// Subscriptions to channels, patterns and shards.
    subscriptions: [u64; 3],
    /// All of them are known.
    knows_subscriptions: bool,
    /// No answer was read so far, and the connection is older than vigie.
    is_doubtful: bool,
}

impl Redis {
    fn new(limits: Limits, from_start: bool) -> Self {
        Self {
            requests: request::Reader::default(),
            answers: answer::Reader::default(),
            statements: Statements::new(limits.query_text),
            replies: Replies::On,
            namespace: from_start.then(|| database(0)),
            queued: 0,
            subscriptions: [0; 3],
            knows_subscriptions: from_start,
            is_doubtful: !from_start,
        }
    }

    fn request(&mut self, command: &Command) -> Request {
        let answers = match command.kind {
            Kind::Topic(_, false) if command.arguments == 0 => None,
            Kind::Topic(..) => Some(command.arguments.max(1)),
            _ => Some(1),
        };
        Request {
            statement: self.statements.get(&command.name, command.arguments),
            kind: command.kind,
            waits: command.waits,
            database: command.database,
            answers,
        }
    }

    /// Whether a command is answered, and what that means for those behind it.
    fn answered(&mut self, command: &Command) -> Answered {
        let before = self.replies;
        match (command.replies, before) {
            (Some(Replies::Skip), Replies::Off) => {}
            (Some(replies), _) => self.replies = replies,
            (None, Replies::Skip) => self.replies = Replies::On,
            (None, _) if command.kind == Kind::Reset => self.replies = Replies::On,
            (None, _) => {}
        }
        let is_answered = match (command.replies, before) {
            (Some(replies), _) => replies == Replies::On,
            (None, Replies::Off) => command.kind == Kind::Reset,
            (None, before) => before == Replies::On,
        };
        if is_answered { Answered::InTurn } else { Answered::Never }
    }

    fn count(&mut self, topic: Topic) -> Option<&mut u64> {
        self.subscriptions.get_mut(topic as usize)
    }

    /// One of the answers to `request`, which is about subscriptions.
    fn confirmed(
        &mut self,
        request: &mut Request,
        topic: Topic,
        begins: bool,
        total: Option<u64>,
    ) -> Belongs {
        let known = self.count(topic).map_or(0, |count| *count);
        // It is told how many there are of channels and patterns together.
        let before = match topic {
            Topic::Shard => known,
            Topic::Channel | Topic::Pattern => self.subscriptions.iter().take(2).sum(),
        };
        let total = total.unwrap_or(0);
        if let Some(count) = self.count(topic) {
            match (begins, total > before, total < before) {
                (true, true, _) => *count += 1,
                (false, _, true) => *count = count.saturating_sub(1),
                _ => {}
            }
        }
        let all = if self.knows_subscriptions { known.max(1) } else { total.saturating_add(1) };
        let left = request.answers.unwrap_or(u32::try_from(all).unwrap_or(u32::MAX));
        request.answers = Some(left.saturating_sub(1));
        if left <= 1 { Belongs::Whole } else { Belongs::Part }
    }

    fn is_subscribed(&self) -> bool {
        !self.knows_subscriptions || self.subscriptions.iter().any(|count| *count > 0)
    }

    /// What a command has done to the connection, which went well.
    fn done(&mut self, request: &Request, queued: bool) {
        match request.kind {
            Kind::Select if queued => self.namespace = None,
            Kind::Select => self.namespace = request.database.map(database),
            Kind::Reset => {
                self.namespace = Some(database(0));
                self.subscriptions = [0; 3];
                self.knows_subscriptions = true;
            }
            _ => {}
        }
    }

    /// What a command may have done to the connection.
    fn may_have_done(&mut self, kind: Kind) {
        match kind {
            Kind::Select | Kind::Reset => self.namespace = None,
            Kind::Topic(..) => self.knows_subscriptions = false,
            _ => {}
        }
    }
}

/// The number of a database as text; those that are there by default are made once.
fn database(number: u32) -> Arc<str> {
    static NUMBERS: LazyLock<Vec<Arc<str>>> =
        LazyLock::new(|| (0..16).map(|number: u32| number.to_string().into()).collect());
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    NUMBERS.get(index).map_or_else(|| number.to_string().into(), Arc::clone)
}

impl Dialogue for Redis {
    type Request = Request;
    type Answer = Answer;

    fn ask(&mut self, found: Found<'_>) -> Option<Asks<Request>> {
        Some(match self.requests.read(found)? {
            Read::More(next) => Asks::More(next),
            Read::Nothing => Asks::Nothing(Next::Line),
            Read::Command(command) => {
                let answered = self.answered(&command);
                let request = self.request(&command);
                Asks::Request(Next::Line, request, answered)
            }
        })
    }

    fn cut_request(&mut self) -> Option<Request> {
        self.namespace = None;
        self.knows_subscriptions = false;
        let command = self.requests.cut()?;
        Some(self.request(&command))
    }

    fn unknown_request(&mut self) -> Request {
        Request {
            statement: self.statements.get(&Name::UNKNOWN, 0),
            kind: Kind::Plain,
            waits: false,
            database: None,
            answers: Some(1),
        }
    }

    fn begins_request(&self, bytes: &[u8]) -> bool {
        begins_command(bytes) != Some(false)
    }

    fn say(&mut self, found: Found<'_>, _: Option<&Request>) -> Option<Says<Answer>> {
        Some(match self.answers.read(found)? {
            Ok(answer) => Says::Answer(Next::Line, answer),
            Err(next) => Says::More(next),
        })
    }

    fn passed_over(&self, _: &[u8], _: &Waiting<Pending<Request>>) -> usize {
        0
    }

    fn belongs(&mut self, answer: &Answer, asked: Option<&mut Request>) -> Belongs {
        let is_doubtful = std::mem::take(&mut self.is_doubtful);
        let is_list = answer.kind == b'*';
        let is_push = answer.kind == b'>';
        let first = answer.first();
        if is_list && is_doubtful && first.eq_ignore_ascii_case(b"REPLCONF") {
            // A replica tells its master how far it is: what looked like requests are changes.
            return Belongs::Foreign;
        }
        if is_list && is_doubtful && answer.elements > 0 && command::is_known(first) {
            return Belongs::Reversed;
        }
        let topic = if is_list || is_push { Kind::topic(first) } else { None };
        // With RESP2, few commands are allowed while there are subscriptions.
        let is_allowed = |request: &Request| {
            matches!(request.kind, Kind::Topic(..) | Kind::Quit | Kind::Reset)
                || &*request.statement.operation == "PING"
        };
        let may_be_pushed = self.is_subscribed() && asked.as_deref().is_none_or(is_allowed);
        if let Some((topic, begins)) = topic {
            if let Some(request) = asked
                && request.kind == Kind::Topic(topic, begins)
            {
                return self.confirmed(request, topic, begins, answer.third);
            }
            return if is_push || may_be_pushed { Belongs::Pushed } else { Belongs::Whole };
        }
        let is_message = match first {
            b"message" | b"smessage" => answer.elements == 3,
            b"pmessage" => answer.elements == 4,
            _ => false,
        };
        if is_push || (is_list && is_message && may_be_pushed) {
            return Belongs::Pushed;
        }
        let Some(request) = asked else { return Belongs::Whole };
        if request.kind == Kind::Stream && answer.error.is_none() && !answer.queued {
            return Belongs::Last;
        }
        Belongs::Whole
    }

    fn forget(&mut self) {
        self.answers = answer::Reader::default();
    }

    fn call(&mut self, request: Request, outcome: Outcome<Answer>) -> DatabaseCall {
        let mut call = DatabaseCall {
            system: System::Redis,
            statement: Arc::clone(&request.statement),
            namespace: None,
            error: None,
            sqlstate: None,
            answered: true,
            rows: None,
            batch: None,
            waits: request.waits,
        };
        let obeyed = matches!(&outcome, Outcome::Answer(answer) if !answer.no_such_command);
        if !command::may_be_shown(&call.statement.operation, obeyed) {
            call.statement = self.statements.get(&Name::UNKNOWN, 0);
        }
        match outcome {
            Outcome::Answer(answer) => {
                call.waits &= !answer.queued;
                if answer.queued {
                    self.queued = self.queued.saturating_add(1);
                } else if matches!(request.kind, Kind::Multi | Kind::Exec | Kind::Reset) {
                    let ran = std::mem::take(&mut self.queued);
                    call.batch = Some(ran).filter(|_| request.kind == Kind::Exec);
                }
                if answer.error.is_none() {
                    self.done(&request, answer.queued);
                }
                call.error = answer.error;
            }
            Outcome::Begun => {}
            Outcome::Unseen => {
                call.answered = false;
                self.may_have_done(request.kind);
            }
            Outcome::Broken(error) => {
                call.answered = false;
                call.error = Some(error).filter(|_| request.kind != Kind::Quit);
            }
        }
        call.namespace.clone_from(&self.namespace);
        call
    }

    fn may_wait(&self, asked: &Request) -> bool {
        asked.waits
    }

    fn so_far(&self, asked: &Request) -> DatabaseCall {
        let is_shown = command::may_be_shown(&asked.statement.operation, false);
        DatabaseCall {
            system: System::Redis,
            statement: if is_shown { Arc::clone(&asked.statement) } else { Arc::default() },
            namespace: self.namespace.clone(),
            error: None,
            sqlstate: None,
            answered: false,
            rows: None,
            batch: None,
            waits: false,
        }
    }

    fn memory(&self) -> usize {
        self.statements.memory() + self.answers.memory()
    }
}
