//! Bounds, pieces of any size, hostile bytes, and by what the protocol is known.

use super::*;

#[test]
fn bounds() {
    let mut talk =
        Talk::new(Postgres::new(Role::Server, Limits { in_flight: 2, ..Limits::default() }));
    let one = join(&[parse("", "SELECT * FROM a"), bind("", ""), execute("")]);
    talk.bytes(Received, &join(&[one.clone(), one.clone(), one.clone(), sync()]));
    let done = join(&[simple(b'1'), simple(b'2'), complete("SELECT 0")]);
    talk.bytes(Sent, &join(&[done.repeat(3), ready(b'I')]));
    check(
        &talk,
        &[
            "? too_many_in_flight",
            "server postgresql SELECT a @10..10 [truncated duration_untrusted]",
            "server postgresql SELECT a @10..20",
            "server postgresql SELECT a @10..20",
        ],
    );
    // Far more than there is room for, all counted.
    talk.heard.exchanges.clear();
    talk.bytes(Received, &join(&[one.repeat(1000), sync()]));
    talk.bytes(Sent, &join(&[done.repeat(1000), ready(b'I')]));
    assert_eq!(talk.heard.exchanges.len(), 1000);
    assert!(talk.parser.memory() < 10_000);
    talk.heard.lines.clear();
    talk.bytes(Received, &query("SELECT * FROM t"));
    talk.bytes(Sent, &join(&[complete("SELECT 0"), ready(b'I')]));
    check_last(&talk, "server postgresql SELECT t @50..60");
    // Names.
    for number in 0..3000 {
        talk.bytes(Received, &join(&[parse(&format!("p{number}"), "SELECT 1"), sync()]));
        talk.bytes(Sent, &join(&[simple(b'1'), ready(b'I')]));
    }
    assert!(talk.text().contains("too_many_statements"));
    assert!(talk.parser.memory() < 200_000, "{}", talk.parser.memory());
}

fn check_last(talk: &Talk<Postgres>, expected: &str) {
    assert_eq!(talk.heard.lines.last().map(String::as_str), Some(expected));
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}

/// The calls without their times.
fn names(talk: &Talk<Postgres>) -> Vec<String> {
    let name = |line: &String| line.split(" @").next().unwrap_or_default().to_owned();
    talk.heard.lines.iter().map(name).collect()
}

#[test]
fn any_cut_gives_the_same_calls() {
    let mut whole = talk();
    for (direction, bytes) in conversation() {
        whole.bytes(direction, &bytes);
    }
    assert_eq!(whole.heard.exchanges.len(), 6);
    for size in 1..40 {
        let mut talk = talk();
        for (direction, bytes) in conversation() {
            for part in bytes.chunks(size) {
                talk.bytes(direction, part);
            }
        }
        assert_eq!(names(&talk), names(&whole), "pieces of {size}");
    }
}

#[test]
fn hostile_bytes_do_no_harm() {
    let mut random = Random(5);
    let mut total = 0;
    while total < 10 << 20 {
        let mut talk = talk();
        for _ in 0..20 {
            for (direction, mut bytes) in conversation() {
                match random.below(8) {
                    0 => bytes = (0..random.below(4096)).map(|_| byte(&mut random)).collect(),
                    1 => bytes.truncate(random.below(bytes.len() + 1)),
                    2..=4 => {
                        for _ in 0..=random.below(4) {
                            let at = random.below(bytes.len());
                            bytes[at] = byte(&mut random);
                        }
                    }
                    5 => bytes = bytes.repeat(1 + random.below(200)),
                    _ => {}
                }
                total += bytes.len();
                if random.below(10) == 0 {
                    let gap = [None, Some(1), Some(100)][random.below(3)];
                    talk.pieces(direction, &[Piece::Lost(gap), Piece::Bytes(&bytes)]);
                } else {
                    talk.bytes(direction, &bytes);
                }
                assert!(talk.parser.memory() < 2 << 20, "{}", talk.parser.memory());
            }
        }
        talk.end(End::Both { reset: false });
        assert!(!talk.parser.is_waiting());
    }
}

fn opening(bytes: &[u8], direction: Direction) -> Opening<'_> {
    Opening { bytes, whole: true, direction, from_start: false, local_port: 0, remote_port: 0 }
}

#[test]
fn it_is_known_by_its_bytes() {
    let check = |bytes: &[u8], direction, expected: Recognition| {
        let found = recognise::recognise(&opening(bytes, direction));
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(bytes));
    };
    for (direction, bytes) in conversation() {
        let is_middle =
            bytes.starts_with(b"d") || bytes.starts_with(b"G") || bytes.starts_with(b"R");
        if !is_middle {
            check(&bytes, direction, Recognition::Yes(Role::Client));
            check(&bytes, direction.opposite(), Recognition::Yes(Role::Server));
        }
        // Every beginning of it may still be.
        for end in 1..bytes.len().min(60) {
            let begin = recognise::recognise(&opening(&bytes[..end], direction));
            assert_ne!(begin, Recognition::Yes(Role::Server), "{end}");
            if !is_middle {
                assert_ne!(begin, Recognition::No, "{:?}", String::from_utf8_lossy(&bytes[..end]));
            }
        }
    }
    check(&[0, 0, 0, 8, 4, 210, 22, 47], Sent, Recognition::Yes(Role::Client));
    check(&[0, 0, 0, 8, 4, 210, 22, 48], Received, Recognition::Yes(Role::Server));
    check(
        &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2],
        Sent,
        Recognition::Yes(Role::Client),
    );
    for other in [
        &b"*1\r\n$4\r\nPING\r\n"[..],
        b"get key\r\n",
        b"\x21\0\0\0\x03SELECT * FROM t WHERE a = 1 AND b",
        b"Q\0\0\0\x03SELECT 1",
        b"Q\0\0\0\x0dswordfish\0",
        b"Q\0\0\0\x0aSELECT",
        b"D\0\0\0\x06X\0",
        b"\0\0\0\x10\0\x03\0\x02ab\0cd\0e\0\0",
        b"\0\0\0\x23\0\x12\0\x04\0\0\0\x01\0\x07clientXsoftware name here",
    ] {
        check(other, Sent, Recognition::No);
    }
    check(b"S\0\0\0\x04", Sent, Recognition::More);
    let mut random = Random(9);
    for _ in 0..100_000 {
        let bytes: Vec<u8> = (0..random.below(64)).map(|_| byte(&mut random)).collect();
        assert_ne!(
            recognise::recognise(&opening(&bytes, Sent)),
            Recognition::Yes(Role::Client),
            "{bytes:?}"
        );
    }
}
