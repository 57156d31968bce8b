//! A conversation split at any place gives the same exchanges.

use super::*;
use crate::protocol::testing::Random;

/// Turns of a conversation: requests, then their responses.
const TURNS: &[(&str, &str)] = &[
    ("GET /a HTTP/1.1|Host: h||", "HTTP/1.1 200 OK|Content-Length: 12||HTTP/1.1 200"),
    (
        "POST /b HTTP/1.1|Transfer-Encoding: chunked||5|GET /|0|A: b||HEAD /c HTTP/1.1||",
        "HTTP/1.1 100 Continue||HTTP/1.1 200 OK|Transfer-Encoding: chunked||a|0||HTTP/|0|T: x||HTTP/1.1 200 OK|Content-Length: 9||",
    ),
    ("||PUT /d HTTP/1.1|Content-Length: 10||GET / HTTP", "HTTP/1.1 204 No Content||"),
    (
        "GET /1 HTTP/1.1||GET /2 HTTP/1.1||GET /3 HTTP/1.1||",
        "HTTP/1.1 200 OK|Content-Length: 1||1HTTP/1.1 304 x|Content-Length: 7||HTTP/1.1 500 x|Content-Length: 0||",
    ),
    ("GET /last HTTP/1.0||", "HTTP/1.0 200 OK||until the end"),
];

const EXPECTED: &[&str] = &[
    "GET /a 200 0:12",
    "POST /b 200 5:10",
    "HEAD /c 200 0:0",
    "PUT /d 204 10:0",
    "GET /1 200 0:1",
    "GET /2 304 0:0",
    "GET /3 500 0:0",
    "GET /last 200 0:13",
];

fn feed(
    parser: &mut Http1,
    direction: Direction,
    text: &str,
    random: &mut Random,
    seen: &mut Seen,
) {
    let bytes = text.replace('|', "\r\n").into_bytes();
    let mut rest = bytes.as_slice();
    let longest = 1 + random.below(80);
    let mut first = true;
    let (mut start, mut number) = (true, 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        let end = random.below(3) > 0 || after.is_empty();
        number += u64::from(start);
        let at = At { segment_start: start, segment_end: end, turn: first, ..at(number) };
        parser.piece(direction, Piece::Bytes(piece), &at, seen);
        (rest, start) = (after, end);
        first &= !end;
    }
}

#[test]
fn any_split_gives_the_same() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..3000 {
        for role in [Role::Server, Role::Client] {
            let mut seen = Seen::default();
            let mut parser = Http1::new(role, Limits::default());
            for (requests, responses) in TURNS {
                let direction = role.request_direction();
                feed(&mut parser, direction, requests, &mut random, &mut seen);
                feed(&mut parser, direction.opposite(), responses, &mut random, &mut seen);
            }
            parser.end(End::Both { reset: false }, 1000, &mut seen);
            assert_eq!(seen.exchanges, EXPECTED, "round {round}");
            assert!(seen.problems.is_empty(), "round {round}: {:?}", seen.problems);
        }
    }
}
