//! Messages as drivers and servers send them, built with the BSON library.

use bson::rawdoc;

use super::super::testing::{Talk, spoilt};
use super::*;
use crate::protocol::conversation::Opening;

/// An `OP_MSG`.
fn message(request: i32, answers: i32, flags: u32, body: &bson::RawDocumentBuf) -> Vec<u8> {
    let mut payload = flags.to_le_bytes().to_vec();
    payload.push(0);
    payload.extend_from_slice(body.as_bytes());
    framed(request, answers, opcode::MSG, &payload)
}

fn framed(request: i32, answers: i32, code: i32, payload: &[u8]) -> Vec<u8> {
    let length = i32::try_from(HEADER as usize + payload.len()).unwrap();
    let mut out = Vec::new();
    for number in [length, request, answers, code] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(payload);
    out
}

fn talk() -> Talk<Mongodb> {
    Talk::new(Mongodb::new(Role::Client, Limits::default()))
}

fn ok() -> bson::RawDocumentBuf {
    rawdoc! { "ok": 1.0 }
}

#[test]
fn commands_and_their_outcome() {
    let mut talk = talk();
    let find = rawdoc! { "find": "orders", "filter": { "card": "4111" }, "$db": "shop" };
    talk.bytes(Direction::Sent, &message(1, 0, 0, &find));
    talk.bytes(Direction::Received, &message(90, 1, 0, &rawdoc! { "cursor": {}, "ok": 1.0 }));
    let drop = rawdoc! { "drop": "nothing", "$db": "shop" };
    talk.bytes(Direction::Sent, &message(2, 0, 0, &drop));
    let failure =
        rawdoc! { "ok": 0.0, "errmsg": "ns", "code": 26, "codeName": "NamespaceNotFound" };
    talk.bytes(Direction::Received, &message(91, 2, 0, &failure));
    let insert = rawdoc! { "insert": "orders", "ordered": true, "$db": "shop" };
    talk.bytes(Direction::Sent, &message(3, 0, 0, &insert));
    let twice = rawdoc! { "n": 0, "writeErrors": [{ "index": 0, "code": 11000 }], "ok": 1.0 };
    talk.bytes(Direction::Received, &message(92, 3, 0, &twice));
    let hello = rawdoc! { "hello": 1, "maxAwaitTimeMS": 10_000i64, "$db": "admin" };
    talk.bytes(Direction::Sent, &message(4, 0, flag::EXHAUST_ALLOWED, &hello));
    talk.bytes(Direction::Received, &message(93, 4, flag::MORE_TO_COME, &ok()));
    talk.bytes(Direction::Received, &message(94, 93, flag::MORE_TO_COME, &ok()));
    assert_eq!(
        talk.text(),
        "client mongodb find orders @5..20\n\
         client mongodb drop nothing 26 @25..40\n\
         client mongodb insert orders 11000 @45..60\n\
         client mongodb hello @65..80"
    );
    let waits: Vec<bool> = talk
        .heard
        .exchanges
        .iter()
        .map(|exchange| matches!(&exchange.call, Call::Database(call) if call.waits))
        .collect();
    assert_eq!(waits, [false, false, false, true]);
    assert!(!format!("{:?}", talk.heard.exchanges).contains("4111"));
}

#[test]
fn answers_come_in_any_order_and_unacknowledged_writes_have_none() {
    let mut talk = talk();
    let ping = rawdoc! { "ping": 1, "$db": "admin" };
    let count = rawdoc! { "count": "orders", "$db": "shop" };
    let write = rawdoc! { "insert": "log", "$db": "shop" };
    talk.bytes(Direction::Sent, &message(1, 0, 0, &ping));
    talk.bytes(Direction::Sent, &message(2, 0, 0, &count));
    talk.bytes(Direction::Sent, &message(3, 0, flag::MORE_TO_COME, &write));
    talk.bytes(Direction::Received, &message(8, 2, 0, &ok()));
    talk.bytes(Direction::Received, &message(9, 1, 0, &ok()));
    assert_eq!(
        talk.text(),
        "client mongodb insert log @25..30\n\
         client mongodb count orders @15..40\n\
         client mongodb ping @5..50"
    );
}

#[test]
fn older_messages_and_compressed_ones() {
    use std::io::Write as _;

    let mut talk = talk();
    let hello = rawdoc! { "isMaster": 1, "helloOk": true };
    let mut query = b"\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff".to_vec();
    query.extend_from_slice(hello.as_bytes());
    talk.bytes(Direction::Sent, &framed(1, 0, opcode::QUERY, &query));
    let mut reply = vec![0; 20];
    reply.extend_from_slice(ok().as_bytes());
    talk.bytes(Direction::Received, &framed(7, 1, opcode::REPLY, &reply));
    let find = rawdoc! { "find": "orders", "$db": "shop" };
    let plain = message(2, 0, 0, &find);
    for (compressor, data) in [(2, deflated(&plain[HEADER as usize..])), (3, b"zstd".to_vec())] {
        let mut payload = opcode::MSG.to_le_bytes().to_vec();
        payload.extend_from_slice(&0u32.to_le_bytes());
        payload.push(compressor);
        payload.write_all(&data).unwrap();
        talk.bytes(Direction::Sent, &framed(2, 0, opcode::COMPRESSED, &payload));
        talk.bytes(Direction::Received, &message(9, 2, 0, &ok()));
    }
    assert_eq!(
        talk.text(),
        "client mongodb isMaster @5..20\n\
         client mongodb find orders @25..40\n\
         client mongodb mongodb @45..60"
    );
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;

    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn large_results_are_passed_over_and_lost_ones_reported() {
    let mut talk = talk();
    let find = message(1, 0, 0, &rawdoc! { "find": "orders", "$db": "shop" });
    let mut large = framed(7, 1, opcode::MSG, &vec![0; 100_000]);
    large.truncate(4096);
    talk.bytes(Direction::Sent, &find);
    let rest = Piece::Skipped(u64::from(HEADER + 100_000 - 4096));
    talk.pieces(Direction::Received, &[Piece::Bytes(&large), rest]);
    talk.bytes(Direction::Sent, &find);
    talk.pieces(Direction::Received, &[Piece::Lost(Some(500))]);
    talk.bytes(Direction::Sent, &find);
    talk.bytes(Direction::Received, &message(7, 1, 0, &ok()));
    talk.bytes(Direction::Sent, &find);
    talk.end(End::Both { reset: true });
    assert_eq!(
        talk.text(),
        "client mongodb find orders @5..20\n\
         client mongodb find orders @25..40 [lossy duration_untrusted]\n\
         ? resynchronised\n\
         client mongodb find orders @45..60\n\
         client mongodb find orders connection_reset @65..80 [no_response]"
    );
}

#[test]
fn any_cut_gives_the_same() {
    let request = message(1, 0, 0, &rawdoc! { "find": "orders", "$db": "shop" });
    let response = message(2, 1, 0, &ok());
    for cut in 1..request.len() {
        let mut talk = talk();
        let (first, second) = request.split_at(cut);
        talk.bytes(Direction::Sent, first);
        talk.bytes(Direction::Sent, second);
        for byte in response.chunks(1) {
            talk.bytes(Direction::Received, byte);
        }
        assert!(talk.text().starts_with("client mongodb find orders @5.."), "{}", talk.text());
    }
}

#[test]
fn its_own_bytes_are_known_and_others_are_not() {
    let request = message(1, 0, 0, &rawdoc! { "find": "orders", "$db": "shop" });
    let response = message(2, 1, 0, &ok());
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
    check(&request, Direction::Sent, Recognition::Yes(Role::Client));
    check(&request, Direction::Received, Recognition::Yes(Role::Server));
    check(&response, Direction::Sent, Recognition::Yes(Role::Server));
    check(&request[..16], Direction::Sent, Recognition::More);
    check(&request[..4], Direction::Sent, Recognition::More);
    check(b"", Direction::Sent, Recognition::No);
    check(b"*1\r\n$4\r\nPING\r\n", Direction::Sent, Recognition::No);
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Direction::Sent, Recognition::No);
}

/// Ten megabytes: valid messages with bytes changed and cut, and random bytes.
#[test]
fn broken_and_random_bytes_do_no_harm() {
    let request = message(1, 0, 0, &rawdoc! { "find": "orders", "$db": "shop" });
    let response = message(2, 1, 0, &ok());
    let (problems, wrong) = spoilt(&request, &response, talk);
    assert!(problems + wrong > 100, "{problems} problems, wrong {wrong} times");
}

#[test]
fn requests_in_flight_are_shown_whichever_is_answered_first() {
    let mut talk = talk();
    let find = rawdoc! { "find": "orders", "$db": "shop" };
    let count = rawdoc! { "count": "carts", "$db": "shop" };
    let hello = rawdoc! { "hello": 1, "maxAwaitTimeMS": 10_000i64, "$db": "admin" };
    talk.bytes(
        Direction::Sent,
        &[message(1, 0, 0, &find), message(2, 0, 0, &count), message(3, 0, 0, &hello)].concat(),
    );
    let shown = talk.in_flight();
    assert_eq!(
        shown.lines,
        ["client mongodb find orders @5..10", "client mongodb count carts @5..10"]
    );
    talk.bytes(Direction::Received, &message(8, 2, 0, &ok()));
    assert_eq!(talk.in_flight().lines, ["client mongodb find orders @5..20"]);
    talk.bytes(Direction::Received, &message(9, 1, 0, &ok()));
    assert!(talk.parser.is_waiting(), "the long poll");
    assert!(talk.in_flight().lines.is_empty());
    let ids = shown.ids();
    assert_eq!(talk.heard.ids(), [ids[1], ids[0]]);
    assert_ne!(ids[0], ids[1]);
}
