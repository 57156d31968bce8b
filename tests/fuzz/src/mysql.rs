//! The parser of MySQL on any bytes, in any pieces: it does not panic and keeps to its bounds.
//!
//! The first byte chooses role and beginning; then each step has a byte for its kind, one for its
//! length, and its bytes. So that a conversation is soon under way, the beginning may be given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigie::event::{Direction, MonoNs, ProcessKey, Unit};
use vigie::protocol::conversation::{Conversation as _, Opening, Recognition};
use vigie::protocol::mysql::{DIALECT, Mysql};
use vigie::protocol::{Advice, At, End, Exchange, Limits, Piece, Problem, Role, Sink};

/// Small, so that they are reached.
const LIMITS: Limits = Limits { head_bytes: 2048, in_flight: 8, query_text: 64 };

/// Memory at most: a packet's payload and a compressed message for each direction, statements.
const BOUND: usize = 2 * (256 << 10) + 2 * (32 << 10) + 1024 * 1024;

/// A greeting without capabilities to speak of, the client's answer, and that it is let in.
const GREETING: &[u8] = b"\x40\0\0\0\x0a10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0\x28\x82\x2d\x02\0\
    \x00\x01\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0";
const LET_IN: &[u8] = b"\x07\0\0\x02\0\0\0\x02\0\0\0";

#[derive(Default)]
struct Count {
    exchanges: usize,
}

impl Sink for Count {
    fn exchange(&mut self, exchange: Exchange) {
        assert!(exchange.end_ns >= exchange.start_ns);
        self.exchanges += 1;
    }
    fn problem(&mut self, _: Problem) {}
    fn advice(&mut self, _: Advice) {}
}

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let requests = role.request_direction();
    let responses = role.opposite().request_direction();
    let opening = Opening {
        bytes: rest,
        whole: first & 8 == 0,
        direction: requests,
        from_start: first & 16 == 0,
        local_port: 0,
        remote_port: 3306,
    };
    assert!(rest.len() < 64 || (DIALECT.recognise)(&opening) != Recognition::More);
    let mut parser = Mysql::new(role, LIMITS);
    let mut count = Count::default();
    let mut time: MonoNs = 1;
    let at = |time, kind: u8| At {
        enter_ns: time,
        exit_ns: time + 5,
        unit: Unit { process: ProcessKey { pid: 1, start_ns: 0 }, tid: 1, goroutine: 0 },
        segment_start: kind & 0x20 == 0,
        segment_end: kind & 0x40 == 0,
        turn: kind & 0x80 == 0,
    };
    if first & 2 != 0 {
        let compressed = if first & 4 == 0 { 0x00 } else { 0x20 };
        let deprecates = first >> 5 & 1;
        let mut answer = vec![0; 36];
        answer[..8].copy_from_slice(&[40, 0, 0, 1, 0x08 | compressed, 0x82, 0, deprecates]);
        answer.extend_from_slice(b"a\0\0shop\0");
        parser.piece(responses, Piece::Bytes(GREETING), &at(time, 0), &mut count);
        parser.piece(requests, Piece::Bytes(&answer), &at(time, 0), &mut count);
        parser.piece(responses, Piece::Bytes(LET_IN), &at(time, 0), &mut count);
    }
    while let [kind, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        time += 10;
        let direction = if kind & 1 == 0 { Direction::Received } else { Direction::Sent };
        let piece = match kind & 0x1e {
            2 => Piece::Skipped(u64::from(*length) * 7),
            4 => Piece::Lost(Some(u64::from(*length))),
            6 => Piece::Lost(None),
            8 => {
                parser.mark_lossy();
                Piece::Bytes(bytes)
            }
            12 if *length > 250 => {
                parser.abandon(time, &mut count);
                Piece::Bytes(bytes)
            }
            14 if *length > 250 => {
                parser.end(End::Sent, time, &mut count);
                Piece::Bytes(bytes)
            }
            _ => Piece::Bytes(bytes),
        };
        parser.piece(direction, piece, &at(time, *kind), &mut count);
        assert!(parser.memory() <= BOUND, "{} bytes", parser.memory());
    }
    parser.end(End::Both { reset: first & 4 != 0 }, time, &mut count);
    assert!(parser.is_wrong() || parser.is_over() && !parser.is_waiting());
    // Each needs a byte at least, and what is compressed holds a thousand times as many.
    assert!(first & 6 == 6 || count.exchanges <= input.len());
});
