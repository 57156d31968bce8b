use super::super::testing::{answer, ask, refuse};
use super::*;
use crate::protocol::testing::{Random, Talk};

use Direction::{Received, Sent};

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(message);
    bytes
}

fn talk(role: Role) -> Talk<Tcp> {
    Talk::new(Tcp::new(role, Limits::default()))
}

/// `A a.b NOERROR 0..30 flags` for each look-up.
fn calls(talk: &Talk<Tcp>) -> Vec<String> {
    let line = |exchange: &crate::protocol::Exchange| {
        let Call::Dns(call) = &exchange.call else { panic!("{exchange:?}") };
        let result = if call.timed_out { "timeout" } else { call.code.unwrap_or("-") };
        let times = format!("{}..{}", exchange.start_ns, exchange.end_ns);
        let mut text = format!("{} {} {result} {times}", call.kind, call.name);
        for flag in exchange.flags.names() {
            text = text + " " + flag;
        }
        text
    };
    talk.heard.exchanges.iter().map(line).collect()
}

#[test]
fn answers_come_in_any_order_and_cut_anywhere() {
    let asked: Vec<u8> = [framed(&ask(1, "a.b", "A")), framed(&ask(2, "a.b", "AAAA"))].concat();
    let answered: Vec<u8> = [
        framed(&answer(2, "a.b", "AAAA", 3, &[])),
        framed(&answer(1, "a.b", "A", 0, &["10.0.0.1"])),
    ]
    .concat();
    for cut in 0..=answered.len() {
        let mut talk = talk(Role::Client);
        talk.bytes(Sent, &asked);
        let (first, second) = answered.split_at(cut);
        talk.bytes(Received, first);
        talk.bytes(Received, second);
        let found = calls(&talk);
        assert_eq!(found.len(), 2, "cut at {cut}");
        assert!(found[0].starts_with("AAAA a.b NXDOMAIN 5.."), "{found:?}");
        assert!(found[1].starts_with("A a.b NOERROR 5.."), "{found:?}");
        assert!(!talk.parser.is_waiting() && !talk.parser.is_wrong());
    }
}

#[test]
fn a_server_reads_the_length_by_itself() {
    let mut talk = talk(Role::Server);
    let asked = framed(&ask(1, "a.b", "A"));
    talk.bytes(Received, &asked[..2]);
    talk.bytes(Received, &asked[2..]);
    talk.bytes(Sent, &framed(&answer(1, "a.b", "A", 0, &[])));
    assert_eq!(calls(&talk), ["A a.b NOERROR 10..30"]);
}

#[test]
fn what_is_lost() {
    let (one, two) = (framed(&ask(1, "a.b", "A")), framed(&ask(2, "c.d", "A")));
    let answered = framed(&answer(2, "c.d", "A", 0, &[]));
    let mut lost = talk(Role::Client);
    lost.bytes(Sent, &one);
    lost.pieces(Received, &[Piece::Lost(Some(40))]);
    lost.bytes(Sent, &two);
    lost.bytes(Received, &answered);
    let expected = ["A a.b - 5..20 lossy duration_untrusted", "A c.d NOERROR 25..40"];
    assert_eq!(calls(&lost), expected);
    // A lost question costs its answer only.
    let mut lost = talk(Role::Client);
    lost.pieces(Sent, &[Piece::Lost(None)]);
    lost.bytes(Received, &framed(&answer(1, "a.b", "A", 0, &[])));
    lost.bytes(Sent, &two);
    lost.bytes(Received, &answered);
    assert_eq!(calls(&lost), ["A c.d NOERROR 25..40"]);
}

#[test]
fn no_answer() {
    let mut ended = talk(Role::Client);
    ended.bytes(Sent, &framed(&ask(1, "a.b", "A")));
    ended.end(End::Received);
    assert_eq!(calls(&ended), ["A a.b - 5..20 duration_untrusted no_response"]);
    let mut late = talk(Role::Server);
    late.bytes(Received, &framed(&ask(1, "a.b", "A")));
    let (parser, heard) = (&mut late.parser, &mut late.heard);
    parser.settle(TIMEOUT_NS, heard);
    assert!(heard.exchanges.is_empty());
    parser.settle(2 * TIMEOUT_NS, heard);
    assert_eq!(calls(&late), ["A a.b timeout 10..5000000010"]);
}

#[test]
fn a_refusal_may_leave_out_the_question() {
    let mut refused = talk(Role::Client);
    refused.bytes(Sent, &framed(&ask(7, "a.b", "A")));
    refused.bytes(Received, &framed(&refuse(7, 1)));
    assert_eq!(calls(&refused), ["A a.b FORMERR 5..20"]);
}

#[test]
fn too_many_at_once() {
    let limits = Limits { in_flight: 2, ..Limits::default() };
    let mut many = Talk::new(Tcp::new(Role::Client, limits));
    for id in 0..4 {
        many.bytes(Sent, &framed(&ask(id, "a.b", "A")));
    }
    for id in 0..4 {
        many.bytes(Received, &framed(&answer(id, "a.b", "A", 0, &[])));
    }
    assert_eq!(many.heard.exchanges.len(), 4, "{}", many.text());
}

#[test]
fn first_bytes() {
    let check = |bytes: &[u8], direction, expected: Recognition| {
        let opening = Opening {
            bytes,
            whole: true,
            direction,
            from_start: false,
            local_port: 0,
            remote_port: 0,
        };
        assert_eq!(recognise(&opening), expected, "{bytes:?}");
    };
    let asked = framed(&ask(1, "a-name-that-is-not-short.example.org", "AAAA"));
    let answered = framed(&answer(1, "example.org", "A", 0, &["10.0.0.1"; 9]));
    check(&asked, Sent, Recognition::Yes(Role::Client));
    check(&asked, Received, Recognition::Yes(Role::Server));
    check(&answered, Sent, Recognition::Yes(Role::Server));
    check(&answered[..70], Received, Recognition::Yes(Role::Client));
    for length in 0..asked.len().min(60) {
        check(&asked[..length], Sent, Recognition::More);
    }
    let mut long = ask(1, &["label"; 20].join("."), "A");
    long.extend([0; 40]);
    long[11] = 1;
    check(&framed(&long)[..64], Sent, Recognition::No);
    check(&framed(&long), Sent, Recognition::No);
    let mut two = asked.clone();
    two[7] = 2;
    check(&two, Sent, Recognition::No);
    check(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", Sent, Recognition::No);
    check(&[0; 64], Sent, Recognition::No);
    check(b"\0\0\0\x08\x04\xd2\x16\x2f", Sent, Recognition::No);
}

#[test]
fn hostile_bytes() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut taken = 0;
    while taken < 10 << 20 {
        let role = if random.below(2) == 0 { Role::Client } else { Role::Server };
        let mut hostile = talk(role);
        for _ in 0..50 {
            let id = u16::try_from(random.below(20)).unwrap();
            let mut bytes = match random.below(4) {
                0 => (0..random.below(2000))
                    .map(|_| u8::try_from(random.below(256)).unwrap())
                    .collect(),
                1 => framed(&ask(id, "host.example.org", "A")),
                2 => framed(&answer(id, "host.example.org", "A", 0, &["10.0.0.1"; 20])),
                _ => [framed(&ask(id, "a.b", "A")), framed(&ask(id, "c.d", "A"))].concat(),
            };
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            let (first, second) = bytes.split_at(random.below(bytes.len() + 1));
            let direction = if random.below(2) == 0 { Sent } else { Received };
            let gap = match random.below(20) {
                0 => Piece::Lost(None),
                1 => Piece::Lost(Some(random.below(100) as u64)),
                2 => Piece::Skipped(random.below(100) as u64),
                _ => Piece::Bytes(&[]),
            };
            hostile.pieces(direction, &[Piece::Bytes(first), gap, Piece::Bytes(second)]);
            taken += bytes.len();
            assert!(hostile.parser.memory() < 1 << 20);
        }
        hostile.end(End::Both { reset: true });
        assert!(!hostile.parser.is_waiting());
    }
}

#[test]
fn questions_in_flight_are_shown() {
    let mut talk = talk(Role::Client);
    talk.bytes(Sent, &[framed(&ask(1, "a.b", "A")), framed(&ask(2, "a.b", "AAAA"))].concat());
    let shown = talk.in_flight();
    let line = |exchange: &crate::protocol::Exchange| {
        let Call::Dns(call) = &exchange.call else { panic!("{exchange:?}") };
        assert!(!call.timed_out && call.code.is_none());
        format!("{} {} {}..{}", call.kind, call.name, exchange.start_ns, exchange.end_ns)
    };
    let lines: Vec<_> = shown.exchanges.iter().map(line).collect();
    assert_eq!(lines, ["A a.b 5..10", "AAAA a.b 5..10"]);
    talk.bytes(Received, &framed(&answer(2, "a.b", "AAAA", 0, &[])));
    talk.bytes(Received, &framed(&answer(1, "a.b", "A", 0, &[])));
    assert!(talk.in_flight().exchanges.is_empty());
    let ids = shown.ids();
    assert_eq!(talk.heard.ids(), [ids[1], ids[0]]);
    assert_ne!(ids[0], ids[1]);
}
