//! DNS over TCP (RFC 7766): each message has its length before it, several questions may be in flight,
//! and answers come in any order.
//!
//! A message says by itself what it is, so connections that are older than vigie, and those with gaps,
//! are read from the next message that begins a call. An answer without a question is passed over: a
//! transfer of a zone has many.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lookup::{TIMEOUT_NS, deadline};
use super::message::{Content, Message, Question, Response};
use crate::event::{Direction, MonoNs};
use crate::protocol::conversation::{Conversation, Dialect, ENOUGH, Opening, Recognition};
use crate::protocol::framer::{Found, Framer, Framing};
use crate::protocol::in_flight::Look;
use crate::protocol::waiting::Asked;
use crate::protocol::{At, Call, End, Limits, Piece, Problem, Role, Sink};
use crate::span::Flags;
use crate::span::dns::{DnsCall, DnsTransport};

/// DNS over TCP.
pub static DIALECT: Dialect = Dialect { name: DnsCall::PROTOCOL, ports: &[53], recognise, start };

/// Bytes of the length before a message.
const PREFIX: usize = 2;

/// Bytes of a header, which a refusal may be without anything else.
const HEADER: usize = 12;

/// Shortest message by which the protocol is told: the header, and a question for the root.
const SHORTEST: usize = HEADER + 5;

/// Bytes of a message that are kept: of an answer only the first records are of use.
const KEPT: usize = 4096;

fn start(role: Role, limits: Limits, _from_start: bool) -> Box<dyn Conversation> {
    Box::new(Tcp::new(role, limits))
}

fn recognise(opening: &Opening<'_>) -> Recognition {
    let bytes = opening.bytes;
    let Some((prefix, message)) = bytes.split_first_chunk::<PREFIX>() else {
        return Recognition::More;
    };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if length < SHORTEST || !may_begin(message) {
        return Recognition::No;
    }
    let is_whole = message.len() >= length;
    if !is_whole && bytes.len() < ENOUGH {
        return Recognition::More;
    }
    // Of a long question only what is there can be looked at; as an answer, it is not read to its end.
    let shown = message.get(..length).unwrap_or(message);
    let asks = shown.get(2).is_some_and(|flags| flags & 0x80 == 0);
    let known =
        Message::parse(shown, is_whole).is_some() || !is_whole && asks && has_question(shown);
    match (known, asks) {
        (false, _) => Recognition::No,
        (true, true) => Recognition::Yes(opening.role_if_request()),
        (true, false) => Recognition::Yes(opening.role_if_response()),
    }
}

/// Whether these may be the first bytes of a header: an ordinary query with one question.
fn may_begin(message: &[u8]) -> bool {
    let is = |at: usize, fits: fn(u8) -> bool| message.get(at).copied().is_none_or(fits);
    is(2, |flags| flags & 0x78 == 0)
        && is(3, |flags| flags & 0x40 == 0)
        && is(4, |questions| questions == 0)
        && is(5, |questions| questions == 1)
}

/// Whether a question can be read in the first bytes of a message that asks.
fn has_question(shown: &[u8]) -> bool {
    let mut as_answer = shown.to_vec();
    if let Some(flags) = as_answer.get_mut(2) {
        *flags |= 0x80;
    }
    Message::parse(&as_answer, false).is_some()
}

/// The length before each message.
#[derive(Debug)]
struct Prefixed;

impl Framing for Prefixed {
    fn header_length(&self) -> usize {
        PREFIX
    }

    fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
        let length = usize::from(u16::from_be_bytes(header.try_into().ok()?));
        (length >= HEADER).then_some((length as u64, KEPT))
    }
}

/// A question in flight.
#[derive(Debug)]
struct Item {
    id: u16,
    question: Arc<Question>,
    start_ns: MonoNs,
    lossy: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    framer: Framer,
    /// Where the message began that is being read.
    began: Option<At>,
}

/// A connection.
#[derive(Debug)]
pub struct Tcp {
    role: Role,
    limits: Limits,
    received: Half,
    sent: Half,
    waiting: VecDeque<Asked<Item>>,
    /// Of the question that came last.
    sequence: u32,
    last_ns: MonoNs,
    /// Whether a message of either direction was understood.
    understood: bool,
    wrong: bool,
}

impl Tcp {
    /// A connection on which this process has a role.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            received: Half::default(),
            sent: Half::default(),
            waiting: VecDeque::new(),
            sequence: 0,
            last_ns: 0,
            understood: false,
            wrong: false,
        }
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        }
    }

    /// A whole message, or what was kept of it.
    fn message(
        &mut self,
        direction: Direction,
        payload: &[u8],
        is_whole: bool,
        (began, ended): (&At, &At),
        sink: &mut dyn Sink,
    ) {
        let asks = direction == self.role.request_direction();
        let Some(message) = Message::parse(payload, is_whole) else {
            self.strange(sink);
            return;
        };
        match message.content {
            Content::Question(question) if asks => {
                self.understood = true;
                self.asked(message.id, question, began, sink);
            }
            Content::Answer(question, response) if !asks => {
                self.understood = true;
                self.answered(message.id, question.as_ref(), &response, (began, ended), sink);
            }
            // Each side has its part.
            _ => self.strange(sink),
        }
    }

    fn strange(&mut self, sink: &mut dyn Sink) {
        if self.understood {
            sink.problem(Problem::MalformedMessage);
        } else {
            self.wrong = true;
        }
    }

    fn asked(&mut self, id: u16, question: Arc<Question>, at: &At, sink: &mut dyn Sink) {
        let start_ns = match self.role {
            Role::Server => at.exit_ns,
            Role::Client => at.enter_ns,
        };
        let mut asked = Asked::new(self.role, at, Item { id, question, start_ns, lossy: false });
        if self.waiting.len() >= self.limits.in_flight {
            sink.problem(Problem::TooManyInFlight);
            let why = Flags::NO_RESPONSE;
            sink.exchange(asked.into_unseen(why, at.exit_ns, |item| call(&item, None, false)));
            return;
        }
        self.sequence = self.sequence.wrapping_add(1).max(1);
        asked.sequence = self.sequence;
        self.waiting.push_back(asked);
    }

    fn answered(
        &mut self,
        id: u16,
        question: Option<&Arc<Question>>,
        response: &Response,
        (began, ended): (&At, &At),
        sink: &mut dyn Sink,
    ) {
        let is_it = |asked: &Asked<Item>| {
            let item = &asked.item;
            item.id == id && question.is_none_or(|question| item.question == *question)
        };
        let Some(index) = self.waiting.iter().position(is_it) else { return };
        let Some(mut asked) = self.waiting.remove(index) else { return };
        asked.answered(began);
        asked.answered(ended);
        sink.exchange(asked.into_exchange(|item| call(&item, Some(response), false)));
    }

    /// Answers may have gone by unseen, or none will come: all that wait are given out.
    fn give_up(&mut self, why: Flags, time_ns: MonoNs, sink: &mut dyn Sink) {
        for asked in self.waiting.drain(..) {
            let why = if asked.item.lossy { why | Flags::LOSSY } else { why };
            sink.exchange(asked.into_unseen(why, time_ns, |item| call(&item, None, false)));
        }
    }
}

impl Conversation for Tcp {
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        self.last_ns = self.last_ns.max(at.exit_ns);
        let half = self.half(direction);
        if half.framer.is_lost() {
            // A message usually begins a call.
            let begins = matches!(piece, Piece::Bytes(bytes) if at.segment_start
                && bytes.get(PREFIX..).is_some_and(may_begin));
            if !begins {
                return;
            }
            half.framer.restart();
        }
        let mut framer = std::mem::take(&mut half.framer);
        let mut began = half.began.take();
        framer.push(piece, at, &mut Prefixed, |_, found, at| {
            match found {
                Found::Begin => began = Some(*at),
                Found::Message { payload, length, cut, .. } => {
                    let is_whole = !cut && payload.len() as u64 == length;
                    let first = began.take().unwrap_or(*at);
                    self.message(direction, payload, is_whole, (&first, at), sink);
                }
                Found::Malformed => self.strange(sink),
                Found::Gap(..) if direction != self.role.request_direction() => {
                    self.give_up(Flags::LOSSY, at.exit_ns, sink);
                }
                Found::Gap(..) => {}
            }
            !self.wrong
        });
        let half = self.half(direction);
        half.framer = framer;
        half.began = began;
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink) {
        let no_answer = match end {
            End::Both { .. } => true,
            End::Received => self.role == Role::Client,
            End::Sent => self.role == Role::Server,
        };
        if no_answer {
            self.give_up(Flags::NO_RESPONSE, time_ns, sink);
        }
    }

    fn settle(&mut self, now: MonoNs, sink: &mut dyn Sink) {
        if now == MonoNs::MAX {
            self.give_up(Flags::NO_RESPONSE, self.last_ns, sink);
            return;
        }
        // The oldest comes first.
        while let Some(Item { start_ns, lossy, .. }) = self.waiting.front().map(|asked| &asked.item)
            && deadline(*start_ns) <= now
        {
            let (end_ns, lossy) = (start_ns.saturating_add(TIMEOUT_NS), *lossy);
            let Some(mut asked) = self.waiting.pop_front() else { return };
            if lossy {
                let why = Flags::LOSSY | Flags::NO_RESPONSE;
                sink.exchange(asked.into_unseen(why, end_ns, |item| call(&item, None, false)));
            } else {
                asked.ended(end_ns);
                sink.exchange(asked.into_exchange(|item| call(&item, None, true)));
            }
        }
    }

    fn abandon(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.give_up(Flags::NO_RESPONSE, time_ns, sink);
    }

    fn mark_lossy(&mut self) {
        self.waiting.iter_mut().for_each(|asked| asked.item.lossy = true);
    }

    fn is_over(&self) -> bool {
        false
    }

    fn is_wrong(&self) -> bool {
        self.wrong
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        let answers = match self.role {
            Role::Server => &self.sent,
            Role::Client => &self.received,
        };
        if answers.framer.is_lost() {
            return;
        }
        for asked in self.waiting.iter().filter(|asked| !asked.item.lossy) {
            asked.show(now, look, |item| call(item, None, false));
        }
    }

    fn memory(&self) -> usize {
        let texts = |asked: &Asked<Item>| {
            let question = &asked.item.question;
            size_of::<Question>() + question.name.len() + question.kind.len()
        };
        self.received.framer.memory()
            + self.sent.framer.memory()
            + self.waiting.capacity() * size_of::<Asked<Item>>()
            + self.waiting.iter().map(texts).sum::<usize>()
    }
}

fn call(item: &Item, response: Option<&Response>, timed_out: bool) -> Call {
    Call::Dns(Box::new(DnsCall {
        name: item.question.name.clone(),
        kind: item.question.kind.clone(),
        code: response.map(|response| response.code),
        answers: response.map(|response| response.answers),
        attempts: 1,
        transport: DnsTransport::Tcp,
        truncated: false,
        timed_out,
        search: None,
        addresses: response.map(|response| response.addresses.clone()).unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests;
