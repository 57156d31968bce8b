//! Look-ups over UDP and TCP from any bytes: they do not panic and keep to their bounds.
//!
//! The first byte chooses the role over TCP. Then each step has a byte for its kind and direction, one
//! for its length, and its bytes; those of a datagram are a message as a whole.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use vigie::event::{Address, Datagram, Direction, MonoNs, ProcessKey, Unit};
use vigie::protocol::conversation::Conversation as _;
use vigie::protocol::dns::lookups::Lookups;
use vigie::protocol::dns::tcp::Tcp;
use vigie::protocol::{Advice, At, End, Exchange, Limits, Piece, Problem, Role, Sink};

/// Look-ups that wait at most, few so that it is reached.
const WAITING: usize = 8;

/// Memory of a connection at most: two messages, and questions with names of 1 KiB as they are escaped.
const BOUND: usize = 2 * 8192 + WAITING * 4096;

struct Check;

impl Sink for Check {
    fn exchange(&mut self, exchange: Exchange) {
        assert!(exchange.end_ns >= exchange.start_ns);
    }
    fn problem(&mut self, _: Problem) {}
    fn advice(&mut self, _: Advice) {}
}

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let limits = Limits { in_flight: WAITING, ..Limits::default() };
    let (mut tcp, mut lookups) = (Tcp::new(role, limits), Lookups::new(WAITING));
    let mut time: MonoNs = 1;
    while let [kind, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        time += u64::from(kind >> 4) * 200_000_000 + 10;
        let unit = Unit { process: ProcessKey { pid: 1, start_ns: 0 }, tid: 1, goroutine: 0 };
        let direction = if kind & 1 == 0 { Direction::Received } else { Direction::Sent };
        let at = At {
            enter_ns: time,
            exit_ns: time + 5,
            unit,
            segment_start: kind & 0x20 == 0,
            segment_end: kind & 0x40 == 0,
            turn: false,
        };
        let piece = match kind & 0xe {
            2 => Piece::Skipped(u64::from(*length) * 7),
            4 => Piece::Lost(Some(u64::from(*length))),
            6 => Piece::Lost(None),
            8 => {
                tcp.mark_lossy();
                lookups.lost(time);
                Piece::Bytes(bytes)
            }
            10 => {
                tcp.settle(time, &mut Check);
                lookups.expire(time);
                Piece::Bytes(bytes)
            }
            _ => Piece::Bytes(bytes),
        };
        let inet = |port| Address::Inet { address: [127, 0, 0, 1].into(), port };
        let datagram = Datagram {
            socket: u64::from(kind >> 6),
            direction,
            unit,
            comm: String::new(),
            enter_ns: 0,
            exit_ns: time,
            network_namespace: 1,
            local: inet(40_000),
            remote: (kind & 0x10 == 0).then(|| inet(53)),
            length: u32::from(*length),
            head: Cow::Borrowed(bytes),
        };
        lookups.datagram(&datagram);
        tcp.piece(direction, piece, &at, &mut Check);
        lookups.settle();
        assert!(tcp.memory() <= BOUND && lookups.len() <= WAITING);
    }
    tcp.end(End::Both { reset: false }, time + 10, &mut Check);
    assert!(!tcp.is_waiting());
    lookups.finish(time);
    assert!(lookups.is_empty());
});
