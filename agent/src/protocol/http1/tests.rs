//! Conversations in a compact notation against the exchanges and problems expected of them.
//!
//! One line is one system call: `>` in the request direction, `<` in the response direction, with
//! `|` for a line end and `{x*9}`, `{skip 9}`, `{lost 9}`, `{lost ?}` for repetition and gaps. `!`
//! ends (`received`, `sent`, `close`, `reset`), `~` marks a loss. Call number n is entered at
//! 10 n and returns at 10 n + 5.

mod cases;
mod gaps;
mod hostile;
mod in_flight;
mod split;

use std::fmt::Write as _;

use super::*;
use crate::event::{ProcessKey, Unit};
use crate::protocol::in_flight::CallId;
use crate::protocol::{Call, Exchange};

/// What came out, as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    exchanges: Vec<String>,
    problems: Vec<&'static str>,
    advice: Vec<Advice>,
    /// Whether times are part of the text.
    timed: bool,
}

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange) {
        let Call::Http(call) = &exchange.call else { panic!("no HTTP call") };
        let mut text = format!("{} {}", call.method.original(), call.path);
        match call.status {
            Some(status) => write!(text, " {status}").unwrap(),
            None => text.push_str(" -"),
        }
        if self.timed {
            // Call numbers; that the right one of its two times was taken is tested apart.
            let first = exchange.first_byte_ns.map_or(0, |ns| ns / 10);
            write!(text, " {}/{first}/{}", exchange.start_ns / 10, exchange.end_ns / 10).unwrap();
        }
        let size = |size: Option<u64>| size.map_or_else(|| "?".into(), |size| size.to_string());
        write!(text, " {}:{}", size(call.request_body), size(call.response_body)).unwrap();
        exchange.flags.names().for_each(|name| write!(text, " {name}").unwrap());
        if let Some(error) = call.error {
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

pub(super) fn at(number: u64) -> At {
    At {
        enter_ns: number * 10,
        exit_ns: number * 10 + 5,
        unit: Unit { process: ProcessKey { pid: 1, start_ns: 0 }, tid: 1, goroutine: 0 },
        segment_start: true,
        segment_end: true,
        turn: false,
    }
}

enum Part {
    Bytes(Vec<u8>),
    Skipped(u64),
    Lost(Option<u64>),
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest.find('}').unwrap();
        bytes.extend(rest[..open].replace('|', "\r\n").bytes());
        let inside = &rest[open + 1..close];
        if let Some((repeated, count)) = inside.split_once('*') {
            bytes.extend(repeated.replace('|', "\r\n").repeat(count.parse().unwrap()).bytes());
        } else {
            if !bytes.is_empty() {
                parts.push(Part::Bytes(std::mem::take(&mut bytes)));
            }
            parts.push(match inside.split_once(' ').unwrap() {
                ("skip", count) => Part::Skipped(count.parse().unwrap()),
                (_, count) => Part::Lost(count.parse().ok()),
            });
        }
        rest = &rest[close + 1..];
    }
    bytes.extend(rest.replace('|', "\r\n").bytes());
    if !bytes.is_empty() {
        parts.push(Part::Bytes(bytes));
    }
    parts
}

fn run(role: Role, conversation: &str) -> Seen {
    let mut seen = Seen { timed: true, ..Seen::default() };
    let mut parser = Http1::new(role, Limits::default());
    let mut last = None;
    let lines = conversation.lines().map(str::trim_start).filter(|line| !line.is_empty());
    for (index, line) in lines.enumerate() {
        let number = index as u64 + 1;
        let (kind, text) = line.split_at(1);
        let text = text.strip_prefix(' ').unwrap_or(text);
        let direction = match kind {
            ">" => role.request_direction(),
            "<" => role.request_direction().opposite(),
            "~" => {
                parser.mark_lossy();
                continue;
            }
            "!" => {
                let end = match text {
                    "received" => End::Received,
                    "sent" => End::Sent,
                    "close" => End::Both { reset: false },
                    "reset" => End::Both { reset: true },
                    "settle" => {
                        parser.settle(MonoNs::MAX, &mut seen);
                        continue;
                    }
                    "abandon" => {
                        parser.abandon(number * 10 + 5, &mut seen);
                        continue;
                    }
                    other => panic!("{other}"),
                };
                parser.end(end, number * 10 + 5, &mut seen);
                continue;
            }
            other => panic!("{other}"),
        };
        let mut at = at(number);
        at.turn = last.is_some_and(|last| last != direction);
        last = Some(direction);
        let parts = parts(text);
        // A loss before the first captured byte is not a part of this call.
        for (place, part) in parts.iter().enumerate() {
            at.segment_start = parts[..place].iter().all(|before| matches!(before, Part::Lost(_)));
            at.segment_end = place + 1 == parts.len();
            let piece = match part {
                Part::Bytes(bytes) => Piece::Bytes(bytes),
                Part::Skipped(count) => Piece::Skipped(*count),
                Part::Lost(count) => Piece::Lost(*count),
            };
            parser.piece(direction, piece, &at, &mut seen);
        }
    }
    seen
}

/// Runs a conversation; `expected` holds one exchange per line, and problems after `?`.
#[track_caller]
pub(super) fn check(conversation: &str, expected: &str) {
    for role in [Role::Server, Role::Client] {
        // The ends are seen from the process.
        let conversation = match role {
            Role::Server => conversation.to_owned(),
            Role::Client => conversation
                .replace("! received", "! x")
                .replace("! sent", "! received")
                .replace("! x", "! sent"),
        };
        let seen = run(role, &conversation);
        let lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
        let (problems, exchanges): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with('?'));
        let problems: Vec<_> = problems.iter().map(|line| line[1..].trim()).collect();
        assert_eq!(seen.exchanges, exchanges, "{role:?}: {conversation}");
        assert_eq!(seen.problems, problems, "{role:?}: {conversation}");
    }
}
