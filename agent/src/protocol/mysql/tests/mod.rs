//! Conversations, whole and cut, and those of connections that are older than vigie.

mod forms;
mod gaps;
mod hostile;
mod in_flight;

use super::*;
use crate::event::Direction::{Received, Sent};
use crate::protocol::Call;
use crate::protocol::testing::{Heard, Talk};

const MYSQL: u64 = 1;
const WITH_DB: u64 = 1 << 3;
const COMPRESS: u64 = 1 << 5;
const TLS: u64 = 1 << 11;
const DEPRECATE_EOF: u64 = 1 << 24;
const OPTIONAL_METADATA: u64 = 1 << 25;
const ATTRIBUTES: u64 = 1 << 27;
const CACHE_METADATA: u64 = 1 << 36;
/// What any client and server can do: protocol 4.1, a byte for the length of the secret, plug-ins.
const USUAL: u64 = 1 << 9 | 1 << 15 | 1 << 19 | WITH_DB;

const SECRET: &[u8] = b"0123456789-swordfish";

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[number], payload].concat()
}

fn greeting(capabilities: u64) -> Vec<u8> {
    let all = capabilities.to_le_bytes();
    let payload = [
        b"\x0a5.5.5-10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0".as_slice(),
        &all[..2],
        b"\x2d\x02\0",
        &all[2..4],
        b"\x15\0\0\0\0\0\0",
        &all[4..],
        b"ijklmnopqrst\0mysql_native_password\0",
    ];
    packet(0, &payload.concat())
}

fn login(capabilities: u64) -> Vec<u8> {
    let all = capabilities.to_le_bytes();
    let payload = [
        &all[..4],
        b"\0\0\0\x01\x2d",
        &[0; 19],
        &all[4..],
        b"app\0\x14",
        SECRET,
        b"shop\0mysql_native_password\0",
    ];
    packet(1, &payload.concat())
}

fn command(payload: &[u8]) -> Vec<u8> {
    packet(0, payload)
}

fn query(text: &str) -> Vec<u8> {
    command(&[b"\x03", text.as_bytes()].concat())
}

const OK_PAYLOAD: &[u8] = b"\0\0\0\x02\0\0\0";
const MORE_PAYLOAD: &[u8] = b"\0\x01\0\x0a\0\0\0";
const EOF_PAYLOAD: &[u8] = b"\xfe\0\0\x02\0";
const OK_AS_EOF: &[u8] = b"\xfe\0\0\x02\0\0\0";
const DEFINITION: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x03\x81\0\0\0\0";
const NO_TABLE: &[u8] = b"\xff\x7a\x04#42S02Table 'shop.missing' doesn't exist";

/// Packets numbered from `first` on.
fn packets(first: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let numbers = (0..=u8::MAX).cycle().skip(first.into());
    numbers.zip(payloads).flat_map(|(number, payload)| packet(number, payload)).collect()
}

/// A result of one column.
fn result(has_eof: bool, rows: usize) -> Vec<u8> {
    let mut all: Vec<&[u8]> = vec![b"\x01", DEFINITION];
    all.extend(has_eof.then_some(EOF_PAYLOAD));
    all.extend(std::iter::repeat_n(b"\x0212".as_slice(), rows));
    all.push(if has_eof { EOF_PAYLOAD } else { OK_AS_EOF });
    packets(1, &all)
}

fn talk(role: Role) -> Talk<Mysql> {
    Talk::new(Mysql::new(role, Limits::default()))
}

/// Lines without their times.
fn lines(heard: &Heard) -> Vec<String> {
    let untimed = |line: &String| {
        let words = line.split(' ').filter(|word| !word.starts_with('@'));
        words.collect::<Vec<_>>().join(" ")
    };
    heard.lines.iter().map(untimed).collect()
}

/// Client calls with what each sends and gets, after a beginning with these capabilities.
fn exchange(capabilities: u64, calls: &[(Direction, Vec<u8>)]) -> Talk<Mysql> {
    let mut talk = talk(Role::Client);
    talk.bytes(Received, &greeting(capabilities));
    talk.bytes(Sent, &login(capabilities));
    talk.bytes(Received, &packet(2, OK_PAYLOAD));
    for (direction, bytes) in calls {
        talk.bytes(*direction, bytes);
    }
    talk
}

fn check(capabilities: u64, calls: &[(Direction, Vec<u8>)], expected: &[&str]) -> Talk<Mysql> {
    let talk = exchange(capabilities, calls);
    assert_eq!(lines(&talk.heard), expected);
    assert!(!talk.parser.is_waiting() && !talk.parser.is_wrong());
    talk
}

fn call(heard: &Heard, index: usize) -> &crate::span::database::DatabaseCall {
    match &heard.exchanges[index].call {
        Call::Database(call) => call,
        other => panic!("{other:?}"),
    }
}

/// Everything that a client does, with EOF packets or without: what is sent and received, and what is
/// to come of it.
fn everything(has_eof: bool) -> (Vec<(Direction, Vec<u8>)>, Vec<&'static str>) {
    let eof = has_eof.then_some(EOF_PAYLOAD);
    let end = if has_eof { EOF_PAYLOAD } else { OK_AS_EOF };
    let more_end: &[u8] = if has_eof { b"\xfe\0\0\x0a\0" } else { b"\xfe\0\0\x0a\0\0\0" };
    let join =
        |parts: &[Option<&[u8]>]| packets(1, &parts.iter().copied().flatten().collect::<Vec<_>>());
    let definition = Some(DEFINITION);
    // One parameter and two columns.
    let prepared = join(&[
        Some(b"\0\x01\0\0\0\x02\0\x01\0\0\0\0"),
        definition,
        eof,
        definition,
        definition,
        eof,
    ]);
    // Where the rows are to be fetched there is one end only.
    let opened: &[u8] = if has_eof { b"\xfe\0\0\x42\0" } else { b"\xfe\0\0\x42\0\0\0" };
    let cursor = join(&[Some(b"\x01"), definition, Some(opened)]);
    let several = join(&[
        Some(MORE_PAYLOAD),
        Some(b"\x01"),
        definition,
        eof,
        Some(b"\x011"),
        Some(more_end),
        Some(b"\xff\x7a\x04#42S02no"),
    ]);
    let calls = vec![
        (Sent, query("SELECT name FROM orders WHERE id = 4711")),
        (Received, result(has_eof, 3)),
        (Sent, query("INSERT INTO orders VALUES ('secret')")),
        (Received, packet(1, b"\0\x02\x07\x02\0\0\0")),
        (Sent, query("SELECT * FROM missing")),
        (Received, packet(1, NO_TABLE)),
        (Sent, command(b"\x16SELECT a, b FROM orders WHERE id = ?")),
        (Received, prepared),
        (Sent, command(b"\x18\x01\0\0\0\0\0long data")),
        (Sent, command(b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x03\0\x07\0\0\0")),
        (Received, result(has_eof, 1)),
        (Sent, command(b"\x17\x01\0\0\0\x01\x01\0\0\0\0\x01\x03\0\x07\0\0\0")),
        (Received, cursor),
        (Sent, command(b"\x1c\x01\0\0\0\x02\0\0\0")),
        (Received, packets(1, &[b"\0\0\x01a", b"\0\0\x01b", end])),
        (Sent, command(b"\x1a\x01\0\0\0")),
        (Received, packet(1, OK_PAYLOAD)),
        // A close has no answer and may stand in front of the next command.
        (Sent, [command(b"\x19\x01\0\0\0"), command(b"\x0e")].concat()),
        (Received, packet(1, OK_PAYLOAD)),
        (Sent, query("INSERT INTO a VALUES (1); SELECT 1; SELECT * FROM missing")),
        (Received, several),
        (Sent, command(b"\x02other")),
        (Received, packet(1, OK_PAYLOAD)),
        (Sent, query("SELECT 1")),
        (Received, result(has_eof, 1)),
        (Sent, query("LOAD DATA LOCAL INFILE '/tmp/x' INTO TABLE loaded")),
        (Received, packet(1, b"\xfb/tmp/x")),
        (Sent, packet(2, b"\x03SELECT 1 FROM a_file")),
        (Sent, [packet(3, b"more"), packet(4, b"")].concat()),
        (Received, packet(5, b"\0\x02\0\x02\0\0\0")),
        // Another way to authenticate is asked for, and given.
        (Sent, command(b"\x11root\0\x03abcthird\0\x2d\0mysql_native_password\0")),
        (Received, packet(1, b"\xfemysql_native_password\0challenge\0")),
        (Sent, packet(2, SECRET)),
        (Received, packet(3, OK_PAYLOAD)),
        (Sent, command(b"\x04orders\0")),
        (Received, packets(1, &[DEFINITION, DEFINITION, end])),
        (Sent, command(b"\x09")),
        (Received, packet(1, b"Uptime: 17  Threads: 1")),
        (Sent, command(b"\x1b\0\0")),
        (Received, packet(1, if has_eof { EOF_PAYLOAD } else { OK_AS_EOF })),
        (Sent, command(b"\x1f")),
        (Received, packet(1, OK_PAYLOAD)),
        // MariaDB tells how far it is.
        (Sent, query("ALTER TABLE orders ENGINE=Aria")),
        (Received, packets(1, &[b"\xff\xff\xff\x01\x01\x02\0\0\0\x04copy", OK_PAYLOAD])),
        (Sent, command(b"\x01")),
    ];
    let expected = vec![
        "client mysql SELECT orders",
        "client mysql INSERT orders",
        "client mysql SELECT missing 1146",
        "client mysql PREPARE orders",
        "client mysql SELECT orders",
        "client mysql SELECT orders",
        "client mysql FETCH orders",
        "client mysql RESET orders",
        "client mysql PING",
        "client mysql INSERT 1146",
        "client mysql INIT_DB",
        "client mysql SELECT",
        "client mysql LOAD loaded",
        "client mysql CHANGE_USER",
        "client mysql FIELD_LIST",
        "client mysql STATISTICS",
        "client mysql SET_OPTION",
        "client mysql RESET_CONNECTION",
        "client mysql ALTER orders",
    ];
    (calls, expected)
}

fn capabilities(has_eof: bool) -> u64 {
    USUAL | if has_eof { 0 } else { DEPRECATE_EOF }
}

#[test]
fn everything_that_a_client_does() {
    for has_eof in [true, false] {
        let (calls, expected) = everything(has_eof);
        let talk = check(capabilities(has_eof), &calls, &expected);
        let rows: Vec<_> = (0..expected.len()).map(|at| call(&talk.heard, at).rows).collect();
        assert_eq!(rows[..3], [Some(3), Some(2), None]);
        assert_eq!(rows[4..7], [Some(1), Some(0), Some(2)]);
        assert_eq!(call(&talk.heard, 9).batch, Some(3));
        let databases: Vec<_> =
            (8..15).map(|at| call(&talk.heard, at).namespace.as_deref()).collect();
        let expected = ["shop", "shop", "other", "other", "other", "other", "third"].map(Some);
        assert_eq!(databases, expected);
        // Each from its own first byte to its own last one: ten and fifteen nanoseconds.
        let first = &talk.heard.exchanges[0];
        assert_eq!((first.start_ns, first.end_ns), (35, 50));
    }
}

#[test]
fn the_server_sees_the_same() {
    let (calls, expected) = everything(true);
    let mut talk = talk(Role::Server);
    talk.bytes(Sent, &greeting(USUAL));
    talk.bytes(Received, &login(USUAL));
    talk.bytes(Sent, &packet(2, OK_PAYLOAD));
    for (direction, bytes) in &calls {
        let (head, rest) = bytes.split_at(4);
        match direction {
            // A server reads a header by itself.
            Sent => {
                talk.bytes(Received, head);
                talk.bytes(Received, rest);
            }
            Received => talk.bytes(Sent, bytes),
        }
    }
    let expected: Vec<_> = expected.iter().map(|line| line.replace("client", "server")).collect();
    assert_eq!(lines(&talk.heard), expected);
}

#[test]
fn any_cut_gives_the_same() {
    for has_eof in [true, false] {
        let (calls, expected) = everything(has_eof);
        let capabilities = capabilities(has_eof);
        for cut_call in 0..calls.len() {
            for cut in 1..calls[cut_call].1.len() {
                let cut_one = |(index, (direction, bytes)): (usize, &(Direction, Vec<u8>))| {
                    let at = if index == cut_call { cut } else { bytes.len() };
                    let (first, second) = bytes.split_at(at);
                    [(*direction, first.to_vec()), (*direction, second.to_vec())]
                };
                let cut_calls: Vec<_> = calls
                    .iter()
                    .enumerate()
                    .flat_map(cut_one)
                    .filter(|(_, bytes)| !bytes.is_empty())
                    .collect();
                let talk = exchange(capabilities, &cut_calls);
                assert_eq!(lines(&talk.heard), expected, "call {cut_call} cut at {cut}");
            }
        }
    }
}

/// On a connection that is older, the form of results is learnt from the first of them.
#[test]
fn older_connections() {
    for has_eof in [true, false] {
        let (mut calls, mut expected) = everything(has_eof);
        let mut talk = talk(Role::Client);
        // A statement that was prepared before.
        calls.insert(0, (Sent, command(b"\x17\x09\0\0\0\0\x01\0\0\0")));
        calls.insert(1, (Received, result(has_eof, 2)));
        expected.insert(0, "client mysql EXECUTE [mid_stream]");
        for (direction, bytes) in &calls {
            talk.bytes(*direction, bytes);
        }
        assert_eq!(lines(&talk.heard), expected);
    }
}

/// Whether an EOF follows the definitions of a prepared statement is not known before one was seen.
#[test]
fn an_older_connection_that_prepares_first() {
    let (calls, _) = everything(true);
    let mut talk = talk(Role::Client);
    for (direction, bytes) in &calls[6..11] {
        talk.bytes(*direction, bytes);
    }
    let expected = ["client mysql PREPARE orders", "client mysql SELECT orders"];
    assert_eq!(lines(&talk.heard), expected);
    assert_eq!(call(&talk.heard, 1).rows, Some(1));
}

#[test]
fn what_is_no_mysql_is_told() {
    let mut talk = talk(Role::Client);
    talk.bytes(Sent, &command(b"\x0e"));
    talk.bytes(Received, b"PONG\r\nwhat is this");
    assert!(talk.parser.is_wrong());
    assert!(talk.heard.lines.is_empty());
    let mut talk = self::talk(Role::Client);
    talk.bytes(Received, b"\x20\0\0\0\x0anot a greeting at all, but as long");
    assert!(talk.parser.is_wrong());
}
