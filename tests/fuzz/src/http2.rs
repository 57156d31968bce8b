//! The parser of HTTP/2 on any bytes, in any pieces: it does not panic and keeps to its bounds.
//!
//! The first byte chooses role and beginning; then each step has a byte for its kind, one for its
//! length, and its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigie::event::{Direction, MonoNs, Place, ProcessKey, Unit};
use vigie::protocol::http2::{Begin, Http2};
use vigie::protocol::{Advice, At, End, Exchange, Limits, Piece, Problem, Role, Sink};

/// Small, so that they are reached.
const LIMITS: Limits = Limits { head_bytes: 2048, in_flight: 8 };

/// Memory at most: streams, and for each direction a table, two parts of a head and strings.
const BOUND: usize = 8 * 8 * 1024 + 2 * (8 * 2048 + 256 * 1024);

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
    let begin = if first & 2 == 0 { Begin::Start } else { Begin::Midway };
    let mut parser = Http2::new(role, LIMITS, begin);
    let mut count = Count::default();
    let mut time: MonoNs = 1;
    while let [kind, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        time += 10;
        let unit =
            Unit { process: ProcessKey { pid: 1, start_ns: 0 }, tid: 1, goroutine: 0 };
        let at = At {
            enter_ns: time,
            exit_ns: time + 5,
            unit,
            segment_start: kind & 0x20 == 0,
            segment_end: kind & 0x40 == 0,
            turn: false,
        };
        let direction = if kind & 1 == 0 { Direction::Received } else { Direction::Sent };
        let piece = match kind & 0x1e {
            2 => Piece::Skipped(u64::from(*length) * 7),
            4 => Piece::Lost(Some(u64::from(*length))),
            6 => Piece::Lost(None),
            8 => {
                parser.mark_lossy();
                Piece::Bytes(bytes)
            }
            10 => {
                parser.settle(if *length > 250 { MonoNs::MAX } else { time }, &mut count);
                Piece::Bytes(bytes)
            }
            12 if *length > 250 => {
                parser.abandon(time, &mut count);
                Piece::Bytes(bytes)
            }
            14 if *length > 250 => {
                parser.end(End::Received, time, &mut count);
                Piece::Bytes(bytes)
            }
            16 => {
                let place = |byte: &u8| {
                    Place { offset: u32::from(*byte) & 63, epoch: u32::from(*length) & 1 }
                };
                parser.placed(direction, bytes.first().map(place));
                Piece::Bytes(bytes)
            }
            _ => Piece::Bytes(bytes),
        };
        parser.piece(direction, piece, &at, &mut count);
        assert!(parser.memory() <= BOUND, "{} bytes", parser.memory());
    }
    parser.end(End::Both { reset: first & 4 != 0 }, time, &mut count);
    assert!(parser.is_over() && !parser.is_waiting());
    // Each needs a frame header.
    assert!(count.exchanges <= input.len() / 9);
});
