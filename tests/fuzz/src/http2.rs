//! The parser of HTTP/2 on any bytes, in any pieces: it does not panic and keeps to its bounds.
//!
//! The first byte chooses role and beginning; then come [`steps`].
#![no_main]

mod steps;

use libfuzzer_sys::fuzz_target;
use steps::{Count, Step, steps};
use vigie::protocol::http2::{Begin, Http2};
use vigie::protocol::{End, Limits, Role};

/// Small, so that they are reached.
const LIMITS: Limits = Limits { head_bytes: 2048, in_flight: 8, query_text: 0 };

/// Memory at most: streams, and for each direction a table, two parts of a head and strings.
const BOUND: usize = 8 * 8 * 1024 + 2 * (8 * 2048 + 256 * 1024);

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let begin = if first & 2 == 0 { Begin::Start } else { Begin::Midway };
    let mut parser = Http2::new(role, LIMITS, begin);
    let mut count = Count::default();
    let last = steps(rest, |step| {
        match step {
            Step::Piece(direction, piece, at) => parser.piece(direction, piece, &at, &mut count),
            Step::Lossy => parser.mark_lossy(),
            Step::Placed(direction, place) => parser.placed(direction, place),
            Step::Settle(now) => parser.settle(now, &mut count),
            Step::Abandon(now) => parser.abandon(now, &mut count),
            Step::End(end, now) => parser.end(end, now, &mut count),
        }
        assert!(parser.memory() <= BOUND, "{} bytes", parser.memory());
    });
    parser.end(End::Both { reset: first & 4 != 0 }, last, &mut count);
    assert!(parser.is_over() && !parser.is_waiting());
    // Each needs a frame header.
    assert!(count.exchanges <= input.len() / 9);
});
