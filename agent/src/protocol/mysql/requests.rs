//! What a client sends: its answer to the greeting, commands, files.

use std::sync::Arc;

use super::command::{self, Answer, Code};
use super::flight::{Command, Effect, Ended};
use super::handshake::{self, Compression, LOGIN_KEPT, Login};
use super::packet::{self, FULL, HEADER};
use super::recognise::{Likely, request as likely_request};
use super::reply::Form;
use super::{Mysql, Next, Phase, Reading, Sending, State, Unasked};
use crate::protocol::framer::{Found, Framing};
use crate::protocol::statement::{self, MAX_TEXT, Sql};
use crate::protocol::waiting::Asked;
use crate::protocol::{At, Piece, Problem, Sink};
use crate::span::Flags;
use crate::span::database::Statement;

/// Bytes of a command besides its text that are kept: attributes of a query, for the most part.
const BESIDES: usize = 1024;

/// A packet of a client.
struct Packet<'a> {
    number: u8,
    payload: &'a [u8],
    /// Bytes of the payload in all.
    length: u64,
    /// Where it began.
    begin: At,
}

/// Packets of a client, for the framer.
struct Requests<'a>(&'a mut State);

impl Framing for Requests<'_> {
    fn header_length(&self) -> usize {
        HEADER
    }

    fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
        let Self(state) = self;
        let (length, _) = packet::header(header)?;
        let keep = match state.phase {
            // What authenticates is not looked at.
            Phase::Login => 1,
            Phase::Commands if state.is_changing_user() => 1,
            Phase::Greeted(_) => LOGIN_KEPT,
            _ if state.is_file || state.sent.continues => 0,
            _ => state.limits.head_bytes.min(MAX_TEXT + 1) + BESIDES,
        };
        Some((length, keep))
    }
}

impl Mysql {
    pub(super) fn request(&mut self, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        let Self { requests, state, .. } = self;
        if requests.is_lost()
            && let Piece::Bytes(bytes) = piece
            && state.may_begin(bytes.get(requests.envelope()..).unwrap_or_default(), at)
        {
            requests.restart();
            state.sent.continues = false;
        }
        requests.push(piece, at, &mut Requests(state), |Requests(state), found, at| {
            match found {
                Found::Begin => {
                    if !state.sent.continues {
                        state.sent.begun = Some(*at);
                    }
                }
                Found::Message { header, payload, length, .. } => {
                    let number = packet::header(header).map_or(0, |(_, number)| number);
                    let begin = state.sent.begun.unwrap_or(*at);
                    state.sent(&Packet { number, payload, length, begin }, at, sink);
                }
                Found::Malformed => state.malformed(at.exit_ns, sink),
                Found::Gap(_, is_lost) => state.request_gap(is_lost, at, sink),
            }
            !state.is_done() && state.sent.next == Next::Same
        });
        state.sending = match state.sending {
            _ if requests.is_between() || requests.is_lost() => Sending::Nothing,
            Sending::Nothing => Sending::Packet,
            same => same,
        };
    }
}

impl State {
    /// Whether a command may begin with these bytes of a call, where the place is lost.
    fn may_begin(&self, bytes: &[u8], at: &At) -> bool {
        if !at.segment_start {
            return false;
        }
        let is_command = match *bytes {
            [_, _, _, 0, code, ..] => command::answer(Code(code)).is_some(),
            [_, _, _, number] => number == 0,
            _ => false,
        };
        let is_likely = || likely_request(bytes) == Likely::Yes;
        is_command && !self.is_file && (at.turn || is_likely())
    }

    /// Whether what the client sends may authenticate it as another user.
    fn is_changing_user(&self) -> bool {
        self.waiting.front().is_some_and(|front| front.item.answer == Answer::Login)
    }

    /// A packet of a client is whole.
    fn sent(&mut self, packet: &Packet<'_>, at: &At, sink: &mut dyn Sink) {
        let continues = std::mem::replace(&mut self.sent.continues, packet.length == FULL);
        if continues {
            if let Some(asked) = self.waiting.back_mut() {
                asked.item.number = Some(packet.number);
            }
            return;
        }
        if std::mem::replace(&mut self.sending, Sending::Nothing) == Sending::Answered {
            return;
        }
        if self.is_file {
            // An empty packet ends the file.
            self.is_file = packet.length > 0;
            if let Some(asked) = self.waiting.front_mut() {
                asked.item.number = Some(packet.number);
            }
            return;
        }
        match self.phase {
            Phase::Greeted(server) => self.answers_greeting(packet, server, sink),
            Phase::Login if packet.number > 0 => {}
            Phase::Unknown => {
                self.phase = Phase::Commands;
                self.command(packet, at, sink);
            }
            Phase::Login | Phase::Commands => self.command(packet, at, sink),
        }
    }

    fn answers_greeting(
        &mut self,
        packet: &Packet<'_>,
        server: handshake::Capabilities,
        sink: &mut dyn Sink,
    ) {
        match handshake::login(packet.payload, packet.length, server) {
            Some(Login::Tls) => self.stop(sink),
            Some(Login::Plain { capabilities, database }) => {
                self.phase = Phase::Login;
                self.agreed = Some(capabilities);
                self.form = Form {
                    has_eof: Some(capabilities.has_eof()),
                    metadata: capabilities.metadata(),
                };
                self.namespace.clone_from(&database);
                let command = Command::connect(database);
                self.login = Some(Asked::new(self.role, &packet.begin, command));
            }
            None => self.malformed(packet.begin.exit_ns, sink),
        }
    }

    fn command(&mut self, packet: &Packet<'_>, at: &At, sink: &mut dyn Sink) {
        if packet.number > 0 && (self.is_changing_user() || self.unasked == Unasked::Trails) {
            return;
        }
        let known = packet.payload.split_first().and_then(|(code, arguments)| {
            Some((Code(*code), command::answer(Code(*code))?, arguments))
        });
        let Some((code, answer, arguments)) = known.filter(|_| packet.number == 0) else {
            self.sent.next = Next::Lose;
            return self.malformed(at.exit_ns, sink);
        };
        // A client waits for the whole response before it sends more.
        if matches!(self.reading, Reading::Blind) {
            self.end_blind(&Ended::Unseen, sink);
        }
        if self.waiting.is_empty() {
            self.received.next = Next::Restart;
        }
        self.missed = None;
        if self.unasked == Unasked::Told {
            self.unasked = Unasked::Problem;
        }
        if answer == Answer::Replication {
            return self.stop(sink);
        }
        if answer == Answer::Nothing {
            if let (Code::CLOSE, Some(id)) = (code, command::statement_id(arguments)) {
                self.statements.close(id);
            }
            return;
        }
        let mut asked = Asked::new(
            self.role,
            &packet.begin,
            Command::new(answer, Arc::clone(&self.unknown), self.namespace.clone()),
        );
        asked.item.number = Some(packet.number);
        let is_cut = packet.length > packet.payload.len() as u64;
        self.describe(code, arguments, is_cut, &mut asked);
        self.wait(asked, at.exit_ns, sink);
    }

    /// What a command is about, and what it changes.
    fn describe(&mut self, code: Code, arguments: &[u8], is_cut: bool, asked: &mut Asked<Command>) {
        let Asked { item, flags, .. } = asked;
        match code {
            Code::QUERY | Code::PREPARE => {
                let attributes = match (code, self.agreed) {
                    (Code::PREPARE, _) => Some(false),
                    (_, agreed) => agreed.map(handshake::Capabilities::has_query_attributes),
                };
                let Some(text) = command::text(arguments, attributes) else {
                    flags.set(Flags::TRUNCATED);
                    return;
                };
                let sql = if self.no_escapes { Sql::MysqlNoEscapes } else { Sql::Mysql };
                let statement = statement::shared(sql, text, is_cut, self.limits.query_text);
                if code == Code::PREPARE {
                    item.statement = about("PREPARE", &statement);
                    self.statements.ask(&statement);
                    item.effect = Effect::Prepared(statement);
                } else {
                    if is_use(text) {
                        item.effect = Effect::Database(used(text));
                    }
                    item.statement = statement;
                }
                return;
            }
            Code::EXECUTE | Code::BULK_EXECUTE | Code::FETCH | Code::RESET => {
                let id = command::statement_id(arguments);
                let name = command::name(code);
                item.statement = match id.and_then(|id| self.statements.get(id)) {
                    Some(statement) if name == "EXECUTE" => Arc::clone(statement),
                    Some(statement) => about(name, statement),
                    None => {
                        // It was prepared before vigie saw the connection, or is one of too many.
                        let is_older = self.agreed.is_none();
                        flags.set(if is_older { Flags::MID_STREAM } else { Flags::TRUNCATED });
                        statement::of_operation(name)
                    }
                };
                return;
            }
            Code::INIT_DB => {
                let name = handshake::name(arguments).filter(|_| !is_cut);
                item.namespace.clone_from(&name);
                item.effect = Effect::Database(name);
            }
            Code::CHANGE_USER => item.effect = Effect::User(handshake::changed_user(arguments)),
            Code::RESET_CONNECTION => item.effect = Effect::Reset,
            _ => {}
        }
        item.statement = statement::of_operation(command::name(code));
    }

    /// Bytes of a client are missing in which commands may have gone by.
    fn request_gap(&mut self, is_lost: bool, at: &At, sink: &mut dyn Sink) {
        let why = if is_lost { Flags::LOSSY } else { Flags::TRUNCATED };
        self.sent.continues = false;
        if matches!(self.phase, Phase::Greeted(_)) {
            // What both sides agree on is not known, as on a connection that is older.
            self.phase = Phase::Commands;
            self.unasked = Unasked::Trails;
            return;
        }
        // A file is so long; what comes of it, the server says.
        if self.is_file && !is_lost || self.phase != Phase::Commands {
            return;
        }
        if self.waiting.is_empty() {
            // There was one at least if a response comes.
            let begin = self.sent.begun.take().unwrap_or(*at);
            let command = Command::unseen(self.namespace.clone());
            let mut asked = Asked::new(self.role, &begin, command);
            asked.flags.set(why | Flags::DURATION_UNTRUSTED);
            self.missed.get_or_insert(asked);
        } else {
            self.unseen(why, at.exit_ns, sink);
        }
    }

    /// What is true of the connection after a command that went well.
    pub(super) fn takes_effect(
        &mut self,
        effect: Effect,
        prepared: Option<u32>,
        sink: &mut dyn Sink,
    ) {
        match effect {
            Effect::Nothing => {}
            Effect::Database(name) => self.namespace = name,
            Effect::User(name) => {
                self.namespace = name;
                self.statements.clear();
            }
            Effect::Reset => self.statements.clear(),
            Effect::Prepared(statement) => {
                if let Some(id) = prepared
                    && !self.statements.add(id, statement)
                {
                    sink.problem(Problem::TooManyStatements);
                }
            }
        }
    }

    /// Whether what both sides have agreed on can be read.
    pub(super) fn compression(&self) -> Compression {
        self.agreed.map_or(Compression::None, handshake::Capabilities::compression)
    }
}

/// A command about a statement: its name, and the table of the statement.
fn about(operation: &'static str, statement: &Statement) -> Arc<Statement> {
    let Statement { collection, text, .. } = statement;
    let summary = match &**collection {
        "" => operation.into(),
        collection => format!("{operation} {collection}").into(),
    };
    Arc::new(Statement {
        operation: operation.into(),
        collection: collection.clone(),
        summary,
        text: text.clone(),
    })
}

/// Whether a text begins with `USE`.
fn is_use(text: &[u8]) -> bool {
    text.trim_ascii_start().split_at_checked(3).is_some_and(|(word, rest)| {
        word.eq_ignore_ascii_case(b"USE") && rest.first().is_some_and(u8::is_ascii_whitespace)
    })
}

/// The database of `USE database`. `None` where the text is more than that: which one is in use behind it
/// is not known.
fn used(text: &[u8]) -> Option<Arc<str>> {
    let rest = text.trim_ascii().get(3..)?.trim_ascii();
    let rest = rest.strip_suffix(b";").unwrap_or(rest).trim_ascii_end();
    let quoted = rest.strip_prefix(b"`").and_then(|rest| rest.strip_suffix(b"`"));
    let is_plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"_$".contains(byte) || !byte.is_ascii();
    match quoted {
        Some(name) if !name.contains(&b'`') => handshake::name(name),
        None if rest.iter().all(is_plain) => handshake::name(rest),
        _ => None,
    }
}
