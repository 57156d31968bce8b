//! All protocols that are told by content, on any bytes, in any pieces: no parser panics, and each keeps to
//! its bounds; neither do they when asked whether they know the bytes.
//!
//! The first byte chooses the protocol, the second role and beginning; then come [`steps`].
#![no_main]

mod steps;

use libfuzzer_sys::fuzz_target;
use steps::{Count, Step, steps};
use vigie::event::Direction;
use vigie::protocol::conversation::{DIALECTS, Opening};
use vigie::protocol::{End, Limits, Piece, Role};

/// Small, so that they are reached.
const LIMITS: Limits = Limits { head_bytes: 2048, in_flight: 8, query_text: 64 };

/// Memory at most of one connection.
const BOUND: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    let [which, first, rest @ ..] = input else { return };
    let dialect = DIALECTS[usize::from(*which) % DIALECTS.len()];
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    for direction in [Direction::Received, Direction::Sent] {
        let opening = Opening {
            bytes: rest,
            whole: first & 8 != 0,
            direction,
            from_start: first & 2 == 0,
            local_port: 0,
            remote_port: 0,
        };
        let _ = (dialect.recognise)(&opening);
    }
    let mut parser = (dialect.start)(role, LIMITS, first & 2 == 0);
    let mut count = Count::default();
    let mut bytes = 0;
    let last = steps(rest, |step| {
        match step {
            Step::Piece(direction, piece, at) => {
                if let Piece::Bytes(piece) = piece {
                    bytes += piece.len();
                }
                parser.piece(direction, piece, &at, &mut count);
            }
            Step::Lossy => parser.mark_lossy(),
            // Of HTTP/2 only.
            Step::Placed(..) => {}
            Step::Settle(now) => parser.settle(now, &mut count),
            Step::Abandon(now) => parser.abandon(now, &mut count),
            Step::End(end, now) => parser.end(end, now, &mut count),
        }
        assert!(parser.memory() <= BOUND, "{}: {} bytes", dialect.name, parser.memory());
    });
    parser.end(End::Both { reset: first & 4 != 0 }, last, &mut count);
    assert!(!parser.is_waiting(), "{} waits after the end", dialect.name);
    assert!(count.exchanges <= bytes, "{}: more calls than bytes", dialect.name);
});
