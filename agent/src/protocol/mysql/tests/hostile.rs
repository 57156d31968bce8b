//! Ends, bounds, secrets, and bytes that are meant to do harm.

use super::*;
use crate::protocol::testing::Random;

#[test]
fn ends_of_connections() {
    let run = |end| {
        let mut talk = exchange(USUAL, &[(Sent, query("SELECT * FROM orders"))]);
        talk.end(end);
        assert!(talk.parser.is_over() && !talk.parser.is_waiting());
        lines(&talk.heard).join("\n")
    };
    let select = "client mysql SELECT orders";
    assert_eq!(run(End::Both { reset: true }), format!("{select} connection_reset [no_response]"));
    assert_eq!(run(End::Received), format!("{select} connection_closed [no_response]"));
    // What was asked before the client's end is still answered.
    let mut talk = exchange(USUAL, &[(Sent, query("SELECT * FROM orders"))]);
    talk.end(End::Sent);
    talk.bytes(Received, &result(true, 1));
    assert_eq!(lines(&talk.heard), [select]);
}

#[test]
fn too_many_in_flight() {
    let limits = Limits { in_flight: 4, ..Limits::default() };
    let mut talk = Talk::new(Mysql::new(Role::Client, limits));
    talk.bytes(Sent, &command(b"\x0e").repeat(5));
    assert_eq!(talk.heard.exchanges.len(), 5, "{:?}", talk.heard.lines);
    assert_eq!(talk.heard.lines[0], "? too_many_in_flight");
    talk.bytes(Received, &packet(1, OK_PAYLOAD).repeat(5));
    talk.bytes(Sent, &query("COMMIT"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    assert_eq!(lines(&talk.heard).last().unwrap(), "client mysql COMMIT");
}

/// Nothing that authenticates, and no literal, is anywhere in what is kept or comes out.
#[test]
fn no_secret_is_kept() {
    let limits = Limits { query_text: 1000, ..Limits::default() };
    let mut talk = Talk::new(Mysql::new(Role::Client, limits));
    let (calls, _) = everything(true);
    talk.bytes(Received, &greeting(USUAL));
    talk.bytes(Sent, &login(USUAL));
    talk.bytes(Received, &packet(2, OK_PAYLOAD));
    for (direction, bytes) in &calls {
        talk.bytes(*direction, bytes);
    }
    let said = format!("{:?}{:?}", talk.heard, talk.parser.state);
    for secret in ["swordfish", "secret", "4711", "/tmp/x", "long data", "root"] {
        assert!(!said.contains(secret), "{secret}");
    }
    assert!(said.contains("WHERE id = ?"));
}

/// Ten megabytes of random bytes, and of valid streams with bytes changed, cut and left out at random.
#[test]
fn hostile_bytes() {
    let mut random = Random(0x00c0_ffee);
    let mut bytes = 0;
    let valid = [everything(true).0, everything(false).0];
    while bytes < 10 << 20 {
        let role = if random.below(2) == 0 { Role::Client } else { Role::Server };
        let limits = Limits { head_bytes: 4096, in_flight: 8, query_text: 100 };
        let mut talk = Talk::new(Mysql::new(role, limits));
        let capabilities =
            USUAL | [0, DEPRECATE_EOF, COMPRESS, OPTIONAL_METADATA, ATTRIBUTES][random.below(5)];
        let mut calls = valid[random.below(2)].clone();
        if random.below(4) > 0 {
            let begin = [
                (Received, greeting(capabilities)),
                (Sent, login(capabilities)),
                (Received, packet(2, OK_PAYLOAD)),
            ];
            calls.splice(0..0, begin);
        }
        let is_random = random.below(4) == 0;
        let mut requests = 0;
        for (direction, mut call) in calls {
            if is_random {
                call = (0..random.below(2000)).map(|_| random.byte()).collect();
            }
            for _ in 0..random.below(3) {
                let at = random.below(call.len().max(1));
                if let Some(byte) = call.get_mut(at) {
                    *byte = random.byte();
                }
            }
            let direction = match (role, direction) {
                (Role::Client, direction) => direction,
                (Role::Server, Sent) => Received,
                (Role::Server, Received) => Sent,
            };
            requests += call.len() / 5 + 2;
            bytes += call.len();
            let (first, second) = call.split_at(random.below(call.len() + 1));
            let gap = match random.below(12) {
                0 => Piece::Skipped(random.below(1 << 20) as u64),
                1 => Piece::Lost(Some(random.below(100) as u64)),
                2 => Piece::Lost(None),
                _ => Piece::Skipped(0),
            };
            talk.pieces(direction, &[Piece::Bytes(first), gap, Piece::Bytes(second)]);
            match random.below(200) {
                0 => talk.parser.abandon(talk.now, &mut talk.heard),
                1 => talk.parser.mark_lossy(),
                2 => talk.parser.settle(talk.now, &mut talk.heard),
                3 => talk.end(End::Sent),
                _ => {}
            }
            assert!(talk.parser.memory() < 512 << 10, "{}", talk.parser.memory());
        }
        talk.end(End::Both { reset: random.below(2) == 0 });
        assert!(talk.parser.is_wrong() || talk.parser.is_over() && !talk.parser.is_waiting());
        assert!(talk.heard.exchanges.len() <= requests);
    }
}
