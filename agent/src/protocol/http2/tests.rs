//! Conversations in frames against the exchanges and problems expected of them.
//!
//! Call number n is entered at 10 n and returns at 10 n + 5, as in the tests of HTTP/1.

mod cases;
mod gaps;
mod grpc;
mod hostile;
mod in_flight;
mod lost;
mod older;
mod speed;
mod split;
mod wire;

use std::fmt::Write as _;

use super::*;
use crate::event::{ProcessKey, Unit};
use crate::protocol::Call;
use crate::span::rpc::GrpcTransport;

/// What came out, as text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    exchanges: Vec<String>,
    problems: Vec<&'static str>,
    advice: Vec<Advice>,
    /// Whether times are part of the text.
    timed: bool,
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "?".into(), |number| number.to_string())
}

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange) {
        let mut text = String::new();
        let error = match &exchange.call {
            Call::Database(_) | Call::Messaging(_) | Call::Dns(_) => panic!("none is sent here"),
            Call::Http(call) => {
                assert_eq!(call.protocol(), "http/2");
                write!(text, "{} {}", call.method.original(), call.path).unwrap();
                match call.status {
                    Some(status) => write!(text, " {status}").unwrap(),
                    None => text.push_str(" -"),
                }
                let (request, response) = (number(call.request_body), number(call.response_body));
                write!(text, " {request}:{response}").unwrap();
                call.error
            }
            Call::Grpc(call) => {
                let status = call.status.map_or("-", |status| status.name());
                let asked = number(call.request_messages);
                let answered = number(call.response_messages);
                let transport = match call.transport {
                    GrpcTransport::Grpc => "grpc",
                    GrpcTransport::Web => "web",
                    GrpcTransport::Connect => "connect",
                };
                write!(text, "{transport} {} {status} {asked}:{answered}", call.method).unwrap();
                call.error
            }
        };
        if self.timed {
            let first = exchange.first_byte_ns.map_or(0, |ns| ns / 10);
            write!(text, " {}/{first}/{}", exchange.start_ns / 10, exchange.end_ns / 10).unwrap();
        }
        exchange.flags.names().for_each(|name| write!(text, " {name}").unwrap());
        if let Some(error) = error {
            write!(text, " {}", error.name()).unwrap();
        }
        self.exchanges.push(text);
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem.name());
    }

    fn advice(&mut self, advice: Advice) {
        self.advice.push(advice);
    }
}

fn at(number: u64) -> At {
    At {
        enter_ns: number * 10,
        exit_ns: number * 10 + 5,
        unit: Unit { process: ProcessKey { pid: 1, start_ns: 0 }, tid: 1, goroutine: 0 },
        segment_start: true,
        segment_end: true,
        turn: false,
    }
}

/// What happens on a connection, in order.
#[derive(Clone, Debug)]
enum Step {
    /// Bytes in the request direction, in one call.
    Ask(Vec<u8>),
    /// Bytes in the response direction, in one call.
    Answer(Vec<u8>),
    /// So many bytes of a direction (true: requests) were not copied.
    Skipped(bool, u64),
    /// Bytes of a direction were lost.
    Lost(bool, Option<u64>),
    /// The connection is over, with a reset or without.
    Over(bool),
}

fn feed(parser: &mut Http2, steps: &[Step], seen: &mut Seen) {
    let requests = parser.role.request_direction();
    let direction = |asks: bool| if asks { requests } else { requests.opposite() };
    for (index, step) in steps.iter().enumerate() {
        let at = at(index as u64 + 1);
        match step {
            Step::Ask(bytes) => parser.piece(direction(true), Piece::Bytes(bytes), &at, seen),
            Step::Answer(bytes) => parser.piece(direction(false), Piece::Bytes(bytes), &at, seen),
            Step::Skipped(asks, count) => {
                parser.piece(direction(*asks), Piece::Skipped(*count), &at, seen);
            }
            Step::Lost(asks, count) => {
                parser.mark_lossy();
                parser.piece(direction(*asks), Piece::Lost(*count), &at, seen);
            }
            Step::Over(reset) => parser.end(End::Both { reset: *reset }, at.exit_ns, seen),
        }
    }
}

fn run(role: Role, begin: Begin, steps: &[Step]) -> Seen {
    let mut seen = Seen { timed: true, ..Seen::default() };
    feed(&mut Http2::new(role, Limits::default(), begin), steps, &mut seen);
    seen
}

/// Runs a conversation from the start of its connection, as server and as client.
#[track_caller]
fn check(steps: &[Step], exchanges: &[&str], problems: &[&str]) {
    for role in [Role::Server, Role::Client] {
        let seen = run(role, Begin::Start, steps);
        assert_eq!(seen.exchanges, exchanges, "{role:?}");
        assert_eq!(seen.problems, problems, "{role:?}");
    }
}

/// The same, begun in the middle of a connection.
#[track_caller]
fn check_older(steps: &[Step], exchanges: &[&str], problems: &[&str]) {
    for role in [Role::Server, Role::Client] {
        let seen = run(role, Begin::Midway, steps);
        assert_eq!(seen.exchanges, exchanges, "{role:?}");
        assert_eq!(seen.problems, problems, "{role:?}");
    }
}
