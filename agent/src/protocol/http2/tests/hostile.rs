//! Bytes that mean harm: no panic, bounded memory, an end of the effort.

use super::split::conversation;
use super::wire::*;
use super::*;
use crate::protocol::testing::Random;

/// Memory of a parser at most: streams, two tables, two blocks with their frames, and scratch.
fn bound() -> usize {
    let Limits { head_bytes, in_flight, .. } = Limits::default();
    // A hash table has up to twice the room that it needs, and a power of two.
    in_flight * 4 * 1024 + 2 * (8 * head_bytes + 256 * 1024)
}

fn torment(parser: &mut Http2, random: &mut Random, bytes: &[u8], seen: &mut Seen) {
    let mut rest = bytes;
    let mut number = 1;
    while !rest.is_empty() {
        number += 1;
        let (piece, after) = rest.split_at((1 + random.below(4096)).min(rest.len()));
        let at = At {
            segment_start: random.below(2) == 0,
            segment_end: random.below(2) == 0,
            ..at(number)
        };
        let direction = if random.below(2) == 0 { Direction::Received } else { Direction::Sent };
        let piece = match random.below(40) {
            0 => Piece::Skipped(random.0),
            1 => Piece::Lost(Some(random.below(3000) as u64)),
            2 => Piece::Lost(None),
            _ => Piece::Bytes(piece),
        };
        parser.piece(direction, piece, &at, seen);
        assert!(parser.memory() < bound(), "{}", parser.memory());
        match random.below(500) {
            0 => parser.mark_lossy(),
            1 => parser.abandon(number, seen),
            2 => parser.settle(MonoNs::MAX, seen),
            3 => parser.end(End::Received, number, seen),
            _ => {}
        }
        if parser.is_over() || random.below(1000) == 0 {
            let begin = if random.below(2) == 0 { Begin::Start } else { Begin::Midway };
            *parser = Http2::new(parser.role, Limits::default(), begin);
        }
        rest = after;
    }
    parser.end(End::Both { reset: true }, number, seen);
    assert!(!parser.is_waiting());
}

fn torment_both(random: &mut Random, bytes: &[u8]) {
    for role in [Role::Server, Role::Client] {
        for begin in [Begin::Start, Begin::Midway] {
            let mut parser = Http2::new(role, Limits::default(), begin);
            torment(&mut parser, random, bytes, &mut Seen::default());
        }
    }
}

#[test]
fn random_bytes() {
    let mut random = Random(7);
    let bytes: Vec<u8> = (0..500_000).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    torment_both(&mut random, &bytes);
}

#[test]
fn random_frames() {
    let mut random = Random(11);
    for _ in 0..60 {
        let mut bytes = Vec::new();
        for _ in 0..300 {
            let payload: Vec<u8> =
                (0..random.below(60)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            let kind = u8::try_from(random.below(12)).unwrap();
            let flags = u8::try_from(random.below(64)).unwrap();
            bytes.extend(frame(kind, flags, u32::try_from(random.below(9)).unwrap(), &payload));
        }
        torment_both(&mut random, &bytes);
    }
}

#[test]
fn conversations_with_wrong_bits() {
    let mut random = Random(13);
    for _ in 0..60 {
        let mut bytes: Vec<u8> = Vec::new();
        for step in conversation(20, &mut random).steps {
            let (Step::Ask(more) | Step::Answer(more)) = step else { continue };
            bytes.extend(more);
        }
        for _ in 0..20 {
            let place = random.below(bytes.len());
            bytes[place] ^= 1 << random.below(8);
        }
        torment_both(&mut random, &bytes);
    }
}

fn floods(flood: impl Fn(&mut Http2, &mut Seen)) -> Seen {
    let mut seen = Seen::default();
    let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Start);
    feed(&mut parser, &start(), &mut seen);
    flood(&mut parser, &mut seen);
    assert!(parser.memory() < bound(), "{}", parser.memory());
    seen
}

#[test]
fn continuations_without_end() {
    let seen = floods(|parser, seen| {
        let first = frame(HEADERS, END, 1, &block(&get("/flood")));
        feed(parser, &[Step::Ask(first)], seen);
        for _ in 0..100_000 {
            feed(parser, &[Step::Ask(frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']))], seen);
        }
        feed(parser, &[Step::Ask(frame(CONTINUATION, WHOLE, 1, &[]))], seen);
        // The next block can be read all the same.
        feed(parser, &[Step::Ask(ask(3, "/next")), Step::Answer(answer(3, 0))], seen);
        parser.end(End::Both { reset: false }, 100, seen);
    });
    assert_eq!(seen.problems, ["continuation_flood", "head_too_long"]);
    assert_eq!(
        seen.exchanges,
        ["GET /next 200 0:0", "GET /flood - 0:? truncated no_response connection_closed"]
    );
}

#[test]
fn a_list_of_a_megabyte() {
    let seen = floods(|parser, seen| {
        let mut fields = get("/large").to_vec();
        let value = "v".repeat(1000);
        fields.extend((0..1000).map(|_| ("name", value.as_str())));
        let block = block(&fields);
        let mut frames: Vec<_> = block.chunks(16_384).collect();
        let (first, last) = (frames.remove(0), frames.pop().unwrap());
        let mut bytes = frame(HEADERS, END, 1, first);
        for part in frames {
            bytes.extend(frame(CONTINUATION, 0, 1, part));
        }
        bytes.extend(frame(CONTINUATION, WHOLE, 1, last));
        // In one piece of a megabyte, then the answer.
        feed(parser, &[Step::Ask(bytes), Step::Answer(answer(1, 0))], seen);
        // In one frame, which the peer may have allowed.
        let one = frame(HEADERS, END | WHOLE, 3, &block);
        for part in one.chunks(10_000) {
            feed(parser, &[Step::Ask(part.to_vec())], seen);
        }
        feed(parser, &[Step::Answer(answer(3, 0))], seen);
    });
    assert_eq!(seen.problems, ["head_too_long"; 2]);
    assert_eq!(seen.exchanges, ["GET /large 200 0:0 truncated"; 2]);
}

#[test]
fn bombs() {
    let seen = floods(|parser, seen| {
        let mut bomb = block(&get("/bomb"));
        bomb.extend([0x40, 1, b'n', 0x7f, 0x81, 0x1e]);
        bomb.extend([b'x'; 3968]);
        bomb.extend([0xbe; 12_000]);
        feed(parser, &[Step::Ask(frame(HEADERS, END | WHOLE, 1, &bomb))], seen);
        feed(parser, &[Step::Answer(answer(1, 0))], seen);
    });
    assert_eq!(seen.problems, ["header_list_too_long"]);
    assert_eq!(seen.exchanges, ["GET /bomb 200 0:0 truncated"]);
}

#[test]
fn rapid_resets() {
    let seen = floods(|parser, seen| {
        for stream in (1..2000).step_by(2) {
            let reset = frame(RESET, 0, stream, &8_u32.to_be_bytes());
            feed(parser, &[Step::Ask([ask(stream, "/reset"), reset].concat())], seen);
        }
    });
    assert_eq!(seen.problems, ["rapid_resets"; 10]);
    assert_eq!(seen.exchanges.len(), 1000);
}

#[test]
fn more_streams_than_are_kept() {
    let seen = floods(|parser, seen| {
        let streams: Vec<u32> = (1..2100).step_by(2).collect();
        for stream in &streams {
            feed(parser, &[Step::Ask(ask(*stream, "/many"))], seen);
        }
        for stream in &streams {
            feed(parser, &[Step::Answer(answer(*stream, 0))], seen);
        }
        assert!(!parser.is_waiting());
    });
    assert_eq!(seen.problems, ["too_many_in_flight"; 26]);
    let unseen = seen.exchanges.iter().filter(|text| text.contains("duration_untrusted")).count();
    assert_eq!((seen.exchanges.len(), unseen), (1050, 26));
}

#[test]
fn what_is_no_http2_is_given_up() {
    let mut seen = Seen::default();
    let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Midway);
    for _ in 0..5000 {
        feed(&mut parser, &[Step::Ask(vec![0xfe; 20])], &mut seen);
    }
    assert!(parser.is_over());
    assert_eq!(seen.advice, [Advice::Ignore]);
    assert!(seen.exchanges.is_empty() && seen.problems.is_empty());
}
