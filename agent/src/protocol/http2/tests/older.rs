//! Connections that are older than vigie.

use super::split::{Conversation, conversation};
use super::wire::*;
use super::*;
use crate::protocol::testing::Random;

#[test]
fn what_refers_to_the_past_is_not_known() {
    let mut client = Encoder::new();
    let mut random = Random(3);
    // Before vigie: the client's table has learned this.
    client.encode(&[(":path", "/old"), ("user-agent", "x"), (":authority", "h")], &mut random);
    let old = frame(HEADERS, WHOLE | END, 7, &[0x82, 0x86, 0xbf, 0xbe]);
    check_older(
        &[
            // A response to a request before, then a new call.
            Step::Answer(answer(5, 3)),
            Step::Ask(old),
            Step::Answer(answer(7, 1)),
            Step::Ask(ask(9, "/new")),
            Step::Answer(answer(9, 1)),
        ],
        &["GET  200 0:1 2/3/3 mid_stream", "GET /new 200 0:1 4/5/5"],
        &["response_without_request"],
    );
}

#[test]
fn entries_seen_since_are_known() {
    let learn = [&[0x82, 0x86, 0x44][..], &[6], b"/learn"].concat();
    check_older(
        &[
            Step::Ask(frame(HEADERS, WHOLE | END, 101, &learn)),
            Step::Answer(answer(101, 0)),
            Step::Ask(frame(HEADERS, WHOLE | END, 103, &[0x82, 0x86, 0xbe])),
            Step::Answer(answer(103, 0)),
            // A size update to 0 and back: all is known from here on.
            Step::Ask(frame(HEADERS, WHOLE | END, 105, &[0x20, 0x3f, 0xe1, 0x1f, 0x82, 0x84])),
            Step::Answer(answer(105, 0)),
        ],
        &["GET /learn 200 0:0 1/2/2", "GET /learn 200 0:0 3/4/4", "GET / 200 0:0 5/6/6"],
        &[],
    );
}

#[test]
fn the_preface_makes_a_connection_new() {
    let mut steps = start();
    steps.extend([Step::Ask(ask(1, "/a")), Step::Answer(answer(1, 2))]);
    // The server's settings may be read first.
    steps.swap(0, 1);
    check_older(&steps, &["GET /a 200 0:2 4/5/5"], &[]);
    // Without it, what looks like the start of a connection is not.
    let rest = steps[2..].to_vec();
    let seen = run(Role::Server, Begin::Start, &rest);
    assert_eq!(seen.exchanges, ["GET /a 200 0:2 2/3/3"]);
}

#[test]
fn frames_are_followed_where_calls_do_not_hold_them_whole() {
    let long = answer(5, 3000);
    let next = [answer(7, 300), answer(9, 5)].concat();
    check_older(
        &[
            Step::Ask([ask(5, "/a"), ask(7, "/b"), ask(9, "/c"), ask(11, "/d")].concat()),
            // A header, and the payload by itself.
            Step::Answer(long[..9].to_vec()),
            Step::Answer(long[9..2000].to_vec()),
            Step::Answer([&long[2000..], &next].concat()),
            Step::Answer(answer(11, 1)),
            Step::Over(false),
        ],
        &[
            // The head of its response was passed over.
            "GET /a - 0:? 1/0/4 mid_stream",
            "GET /b 200 0:300 1/4/4",
            "GET /c 200 0:5 1/4/4",
            "GET /d 200 0:1 1/5/5",
        ],
        &[],
    );
}

#[test]
fn heads_tell_who_asks() {
    // What the server wrote first was taken for a request, and the server for a client.
    let mut parser = Http2::new(Role::Client, Limits::default(), Begin::Midway);
    let mut seen = Seen { timed: true, ..Seen::default() };
    let steps = [
        Step::Ask([answer(5, 3), answer(7, 3)].concat()),
        Step::Answer([ask(9, "/a"), ask(11, "/b")].concat()),
        Step::Ask([answer(9, 1), answer(11, 2)].concat()),
    ];
    let (reads, writes) = (Direction::Received, Direction::Sent);
    for (number, step) in (1..).zip(&steps) {
        let (direction, bytes) = match step {
            Step::Ask(bytes) => (writes, bytes),
            Step::Answer(bytes) => (reads, bytes),
            _ => continue,
        };
        parser.piece(direction, Piece::Bytes(bytes), &at(number), &mut seen);
    }
    assert_eq!(parser.role, Role::Server);
    assert_eq!(seen.exchanges, ["GET /a 200 0:1 2/3/3", "GET /b 200 0:2 2/3/3"]);
    assert_eq!(seen.problems, ["response_without_request"; 2]);
}

#[test]
fn begun_at_any_call_every_later_stream_is_counted() {
    let mut random = Random(99);
    let (mut named, mut all) = (0, 0);
    for round in 0..200 {
        let Conversation { steps, expected } = conversation(30, &mut random);
        let begin = 3 + random.below(steps.len() - 3);
        let mut seen = Seen::default();
        let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Midway);
        feed(&mut parser, &steps[begin..], &mut seen);
        assert!(!parser.is_waiting(), "round {round}");
        let asked = count_asked(&steps[begin..]);
        assert_eq!(seen.exchanges.len(), asked, "round {round}: {seen:#?}");
        for text in &seen.exchanges {
            // What is not known to be gRPC is shown as HTTP.
            let path = text.split(' ').nth(1).unwrap().trim_start_matches('/');
            all += 1;
            if path.is_empty() {
                assert!(text.contains("mid_stream"), "{text}");
                continue;
            }
            named += 1;
            let told = |expected: &String| {
                expected.split(' ').nth(1).map(|it| it.trim_start_matches('/')) == Some(path)
            };
            assert!(expected.iter().any(told), "round {round}: {text}");
        }
    }
    println!("{named} of {all} calls with their path");
}

/// Requests in these bytes, by their frame headers.
fn count_asked(steps: &[Step]) -> usize {
    let mut highest = 0;
    let mut count = 0;
    for step in steps {
        let Step::Ask(bytes) = step else { continue };
        let mut rest = bytes.as_slice();
        while rest.len() >= 9 {
            let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
            let stream = u32::from_be_bytes(rest[5..9].try_into().unwrap());
            if rest[3] == HEADERS && stream > highest {
                highest = stream;
                count += 1;
            }
            rest = &rest[9 + length..];
        }
    }
    count
}

#[test]
fn the_first_block_tells_which_end_it_is() {
    // What follows the block in its piece belongs to the same direction.
    let mut steps = vec![Step::Ask([ask(9, "/a"), ask(11, "/b")].concat())];
    steps.extend([Step::Answer([answer(9, 1), answer(11, 2)].concat())]);
    let swapped: Vec<Step> = steps
        .iter()
        .map(|step| match step.clone() {
            Step::Ask(bytes) => Step::Answer(bytes),
            Step::Answer(bytes) => Step::Ask(bytes),
            other => other,
        })
        .collect();
    for steps in [steps, swapped] {
        let seen = run(Role::Server, Begin::Midway, &steps);
        assert_eq!(seen.exchanges, ["GET /a 200 0:1 1/2/2", "GET /b 200 0:2 1/2/2"]);
        assert!(seen.problems.is_empty(), "{:?}", seen.problems);
    }
}
