//! What the tests of the parsers share.

use std::fmt::Write as _;
use std::ops::Range;

use super::conversation::Conversation;
use super::in_flight::{CallId, Look, Shown};
use super::{Advice, At, Call, End, Exchange, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs, ProcessKey, Unit};
use crate::span::database;

/// Small, deterministic, good enough for choosing places: xorshift64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

/// What came of a talk, one line for each call and problem:
/// `client postgresql SELECT orders 42P01 @10..25 [truncated]`.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) lines: Vec<String>,
    pub(super) exchanges: Vec<Exchange>,
}

impl Sink for Heard {
    fn exchange(&mut self, exchange: Exchange) {
        let role = if exchange.role == Role::Server { "server" } else { "client" };
        let mut line = match &exchange.call {
            Call::Database(call) => {
                let name = call.system.name();
                let endpoint = database::endpoint(
                    call.system,
                    &call.statement.operation,
                    &call.statement.collection,
                );
                let error = call.error_type().map(|error| format!(" {error}")).unwrap_or_default();
                format!("{role} {name} {endpoint}{error}")
            }
            call => format!("{role} {call:?}"),
        };
        write!(line, " @{}..{}", exchange.start_ns, exchange.end_ns).unwrap();
        let flags: Vec<&str> = exchange.flags.names().collect();
        if !flags.is_empty() {
            write!(line, " [{}]", flags.join(" ")).unwrap();
        }
        self.lines.push(line);
        self.exchanges.push(exchange);
    }

    fn problem(&mut self, problem: Problem) {
        self.lines.push(format!("? {}", problem.name()));
    }

    fn advice(&mut self, _: Advice) {}
}

impl Heard {
    /// The ids of all exchanges.
    pub(super) fn ids(&self) -> Vec<CallId> {
        self.exchanges.iter().map(|exchange| exchange.id).collect()
    }

    /// What a parser shows of the requests that began in `started`.
    pub(super) fn in_flight(started: Range<MonoNs>, show: impl FnOnce(&mut dyn Look)) -> Self {
        let mut heard = Self::default();
        show(&mut Shown { started, each: |exchange| heard.exchange(exchange) });
        heard
    }
}

/// Both directions of a connection, given to a parser: each call takes ten nanoseconds, and its last
/// five are those in the kernel.
#[derive(Debug)]
pub(super) struct Talk<C> {
    pub(super) parser: C,
    pub(super) heard: Heard,
    pub(super) now: MonoNs,
    last: Option<Direction>,
}

impl<C: Conversation> Talk<C> {
    pub(super) fn new(parser: C) -> Self {
        Self { parser, heard: Heard::default(), now: 0, last: None }
    }

    /// One call's bytes, whole.
    pub(super) fn bytes(&mut self, direction: Direction, bytes: &[u8]) {
        self.pieces(direction, &[Piece::Bytes(bytes)]);
    }

    /// One call's bytes, in pieces.
    pub(super) fn pieces(&mut self, direction: Direction, pieces: &[Piece<'_>]) {
        self.now += 10;
        let turn = self.last.replace(direction) != Some(direction);
        for (index, piece) in pieces.iter().enumerate() {
            let at = At {
                enter_ns: self.now - 5,
                exit_ns: self.now,
                unit: Unit { process: ProcessKey { pid: 1, start_ns: 1 }, tid: 1, goroutine: 0 },
                segment_start: index == 0,
                segment_end: index + 1 == pieces.len(),
                turn,
            };
            self.parser.piece(direction, *piece, &at, &mut self.heard);
        }
    }

    /// The connection ends.
    pub(super) fn end(&mut self, end: End) {
        self.now += 10;
        self.parser.end(end, self.now, &mut self.heard);
    }

    /// What is in flight now.
    pub(super) fn in_flight(&self) -> Heard {
        Heard::in_flight(0..MonoNs::MAX, |look| self.parser.in_flight(self.now, look))
    }

    /// What came out so far.
    pub(super) fn text(&self) -> String {
        self.heard.lines.join("\n")
    }
}

/// Bytes of messages that [`spoilt`] gives.
const SPOILT_BYTES: usize = 10 << 20;

/// What comes of many connections with a request and its response in turns, of which bytes are changed,
/// cut off or replaced: how many problems were told, and how many connections were given up as another
/// protocol's. None of them takes a MiB of memory.
pub(super) fn spoilt<C: Conversation>(
    request: &[u8],
    response: &[u8],
    talk: impl Fn() -> Talk<C>,
) -> (usize, usize) {
    let mut random = Random(7);
    let (mut total, mut problems, mut wrong) = (0, 0, 0);
    while total < SPOILT_BYTES {
        let mut talk = talk();
        for round in 0..=random.below(40) {
            let is_request = round % 2 == 0;
            let mut bytes = if is_request { request } else { response }.to_vec();
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
            if random.below(4) == 0 {
                bytes.truncate(1 + random.below(bytes.len()));
            } else if random.below(10) == 0 {
                bytes = (0..=random.below(4000)).map(|_| random.byte()).collect();
            }
            total += bytes.len();
            talk.bytes(if is_request { Direction::Sent } else { Direction::Received }, &bytes);
            assert!(talk.parser.memory() < 1 << 20);
        }
        wrong += usize::from(talk.parser.is_wrong());
        problems += talk.heard.lines.iter().filter(|line| line.starts_with('?')).count();
    }
    (problems, wrong)
}
