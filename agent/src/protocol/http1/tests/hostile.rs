//! Bytes that mean harm: no panic, bounded memory, an end of the effort.

use super::*;
use crate::protocol::testing::Random;

/// Words that lead deep into the parser.
const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /x HTTP/1.1\r\n",
    "HEAD /x HTTP/1.0\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 x\r\n",
    "HTTP/1.1 304 x\r\n",
    "HTTP/1.1 101 x\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Content-Length: 300000\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "\r\n",
    "\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "hello",
];

fn torment(parser: &mut Http1, random: &mut Random, bytes: &[u8], seen: &mut Seen) {
    let mut rest = bytes;
    let mut number = 1;
    while !rest.is_empty() {
        number += 1;
        let (piece, after) = rest.split_at((1 + random.below(4096)).min(rest.len()));
        let at = At {
            segment_start: random.below(2) == 0,
            segment_end: random.below(2) == 0,
            turn: random.below(3) == 0,
            ..at(number)
        };
        let direction = if random.below(2) == 0 { Direction::Received } else { Direction::Sent };
        let piece = match random.below(20) {
            0 => Piece::Skipped(random.0),
            1 => Piece::Lost(Some(random.below(3000) as u64)),
            2 => Piece::Lost(None),
            _ => Piece::Bytes(piece),
        };
        parser.piece(direction, piece, &at, seen);
        let Limits { head_bytes, in_flight, .. } = Limits::default();
        assert!(parser.memory() < 2 * head_bytes + 1024 * in_flight, "{}", parser.memory());
        match random.below(500) {
            0 => parser.mark_lossy(),
            1 => parser.abandon(number, seen),
            2 => parser.settle(MonoNs::MAX, seen),
            3 => parser.end(End::Received, number, seen),
            _ => {}
        }
        if parser.is_over() || random.below(1000) == 0 {
            *parser = Http1::new(parser.role, Limits::default());
        }
        rest = after;
    }
    parser.end(End::Both { reset: true }, number, seen);
    assert!(parser.queue.is_empty());
}

#[test]
fn random_bytes() {
    let mut random = Random(7);
    let bytes: Vec<u8> = (0..1_000_000).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    for role in [Role::Server, Role::Client] {
        torment(
            &mut Http1::new(role, Limits::default()),
            &mut random,
            &bytes,
            &mut Seen::default(),
        );
    }
}

#[test]
fn random_words() {
    let mut random = Random(11);
    for _ in 0..200 {
        let text: String = (0..300).map(|_| WORDS[random.below(WORDS.len())]).collect();
        for role in [Role::Server, Role::Client] {
            torment(
                &mut Http1::new(role, Limits::default()),
                &mut random,
                text.as_bytes(),
                &mut Seen::default(),
            );
        }
    }
}

#[test]
fn a_long_head_in_single_bytes_costs_linear_effort() {
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    let mut seen = Seen::default();
    let mut parser = Http1::new(Role::Server, Limits::default());
    for byte in head.as_bytes() {
        parser.piece(Direction::Received, Piece::Bytes(&[*byte]), &at(1), &mut seen);
    }
    parser.end(End::Both { reset: false }, 10, &mut seen);
    assert_eq!(seen.exchanges, ["GET / - 0:? no_response connection_closed"]);
}
