//! Bytes that were not seen: nothing that is reported may be wrong.

use std::collections::HashMap;

use super::split::{Conversation, conversation};
use super::wire::*;
use super::*;
use crate::protocol::testing::Random;

fn with(more: Vec<Step>) -> Vec<Step> {
    let mut steps = start();
    steps.extend(more);
    steps
}

#[test]
fn the_payload_of_data_may_be_skipped() {
    let long = frame(DATA, END, 1, &[b'x'; 10_000]);
    check(
        &with(vec![
            Step::Ask(ask(1, "/long")),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "200")]))),
            Step::Answer(long[..73].to_vec()),
            Step::Skipped(false, 9_900),
            Step::Answer(long[9_973..].to_vec()),
            Step::Ask(ask(3, "/next")),
            Step::Answer(answer(3, 0)),
        ]),
        &["GET /long 200 0:10000 4/5/8", "GET /next 200 0:0 9/10/10"],
        &[],
    );
}

#[test]
fn a_loss_within_a_frame_costs_that_frame_only() {
    let body = frame(DATA, END, 1, &[b'x'; 100]);
    check(
        &with(vec![
            Step::Ask(ask(1, "/a")),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "200")]))),
            Step::Answer(body[..20].to_vec()),
            Step::Lost(false, Some(50)),
            Step::Answer(body[70..].to_vec()),
            Step::Ask(ask(3, "/b")),
            Step::Answer(answer(3, 1)),
        ]),
        &["GET /a 200 0:100 4/5/8 lossy", "GET /b 200 0:1 9/10/10"],
        &[],
    );
}

#[test]
fn a_damaged_block_is_known_up_to_the_hole() {
    let mut encoder = Encoder::new();
    let mut random = Random(1);
    let request = ask(1, "/damaged");
    // Method, scheme and path are before byte 60.
    let at = request.len() - 6;
    let (first, last) = (request[..at].to_vec(), request[at + 3..].to_vec());
    let status = encoder.encode(&[(":status", "200")], &mut random);
    check(
        &with(vec![
            Step::Ask(first),
            Step::Lost(true, Some(3)),
            Step::Ask(last),
            Step::Answer(frame(HEADERS, WHOLE | END, 1, &status)),
            // The table is not known any more, but literal fields are.
            Step::Ask([ask(3, "/b"), frame(HEADERS, WHOLE | END, 5, &[0x82, 0x86, 0xbe])].concat()),
            Step::Answer([answer(3, 0), answer(5, 0)].concat()),
        ]),
        &["GET /damaged 200 0:0 4/7/7 lossy", "GET /b 200 0:0 8/9/9", "GET  200 0:0 8/9/9 lossy"],
        &[],
    );
}

#[test]
fn the_place_is_found_again_at_the_start_of_a_call() {
    check(
        &with(vec![
            Step::Ask([ask(1, "/a"), ask(3, "/b")].concat()),
            Step::Lost(false, None),
            // The middle of a body, then frames.
            Step::Answer(vec![b'x'; 50]),
            Step::Answer(answer(3, 2)),
            Step::Ask(ask(5, "/c")),
            Step::Answer(answer(5, 1)),
            Step::Over(false),
        ]),
        &[
            "GET /b 200 0:2 4/7/7 lossy",
            "GET /c 200 0:1 8/9/9",
            "GET /a - 0:? 4/0/10 lossy duration_untrusted",
        ],
        &["resynchronised"],
    );
}

#[test]
fn streams_whose_end_went_by_do_not_wait_for_ever() {
    let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Start);
    let mut seen = Seen::default();
    let steps = with(vec![Step::Ask(ask(1, "/a")), Step::Lost(false, Some(100))]);
    feed(&mut parser, &steps, &mut seen);
    parser.settle(HIDDEN_NS, &mut seen);
    assert!(parser.is_waiting());
    parser.settle(HIDDEN_NS + 100, &mut seen);
    assert_eq!(seen.exchanges, ["GET /a - 0:? lossy duration_untrusted"]);
    assert!(!parser.is_waiting());
}

/// Cuts a stretch out of one direction. Gives the steps with a loss where it was.
fn cut(steps: &[Step], random: &mut Random) -> Vec<Step> {
    let asks = random.below(2) == 0;
    let is_ours = |step: &Step| matches!(step, Step::Ask(_)) == asks;
    let total: usize = steps.iter().filter(|step| is_ours(step)).map(length).sum();
    let begin = random.below(total);
    let longest = [4, 40, 400, 4000][random.below(4)];
    let end = (begin + 1 + random.below(longest)).min(total);
    let known = random.below(2) == 0;
    let mut out = Vec::new();
    let mut position = 0;
    for step in steps {
        if !is_ours(step) {
            out.push(step.clone());
            continue;
        }
        let bytes = bytes(step);
        let local = |at: usize| at.saturating_sub(position).min(bytes.len());
        let (from, to) = (local(begin), local(end));
        let make = |bytes: &[u8]| {
            if asks { Step::Ask(bytes.into()) } else { Step::Answer(bytes.into()) }
        };
        if from == to {
            out.push(step.clone());
        } else {
            out.extend((from > 0).then(|| make(&bytes[..from])));
            let count = known.then_some((to - from) as u64);
            out.push(Step::Lost(asks, count));
            out.extend((to < bytes.len()).then(|| make(&bytes[to..])));
        }
        position += bytes.len();
    }
    out
}

fn bytes(step: &Step) -> &[u8] {
    match step {
        Step::Ask(bytes) | Step::Answer(bytes) => bytes,
        _ => &[],
    }
}

fn length(step: &Step) -> usize {
    bytes(step).len()
}

/// What an exchange says of path and status, and whether it says it without reserve.
fn claims(text: &str) -> (&str, &str, bool) {
    let mut words = text.split(' ');
    let _method = words.next();
    let path = words.next().unwrap();
    (path, words.next().unwrap(), !text.contains("lossy") && !text.contains("mid_stream"))
}

#[test]
fn whatever_is_cut_out_nothing_wrong_is_said() {
    let mut random = Random(77);
    let (mut whole, mut all) = (0, 0);
    for round in 0..400 {
        let Conversation { steps, expected } = conversation(12, &mut random);
        let mut right: HashMap<&str, usize> = HashMap::new();
        for text in &expected {
            *right.entry(text).or_default() += 1;
        }
        let pairs: Vec<_> = expected.iter().map(|text| claims(text)).collect();
        let mut steps = cut(&steps, &mut random);
        steps.push(Step::Over(false));
        let mut seen = Seen::default();
        feed(&mut Http2::new(Role::Server, Limits::default(), Begin::Start), &steps, &mut seen);
        assert!(seen.exchanges.len() <= expected.len() + 1, "round {round}: {seen:?}");
        for text in &seen.exchanges {
            all += 1;
            whole += usize::from(right.contains_key(text.as_str()));
            let (path, status, _) = claims(text);
            let fits = |(p, s, _): &(&str, &str, bool)| {
                (path.is_empty() || path == *p) && (status == "-" || status == *s)
            };
            // What the parser put in the place of a status that it could not see is its own.
            let by_rule = text.contains("connection_closed");
            assert!(by_rule || pairs.iter().any(fits), "round {round}: {text}\n{expected:#?}");
        }
    }
    println!("{whole} of {all} exchanges as without a gap");
}
