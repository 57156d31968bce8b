//! Beginnings, and what only some servers and clients do.

use super::*;

#[test]
fn refused_clients() {
    let mut talk = talk(Role::Client);
    talk.bytes(Received, &greeting(USUAL));
    talk.bytes(Sent, &login(USUAL));
    talk.bytes(Received, &packet(2, b"\xff\x15\x04#28000Access denied for user 'app'"));
    assert_eq!(talk.text(), "client mysql CONNECT 1045 @15..30");
    assert!(talk.parser.is_over());

    let mut talk = self::talk(Role::Client);
    talk.bytes(Received, &packet(0, b"\xff\x10\x04Too many connections"));
    assert_eq!(talk.text(), "client mysql CONNECT 1040 @5..10 [duration_untrusted]");
}

#[test]
fn tls_is_not_read() {
    let mut talk = talk(Role::Client);
    talk.bytes(Received, &greeting(USUAL | TLS));
    talk.bytes(Sent, &packet(1, &login(USUAL | TLS)[4..36]));
    assert!(talk.parser.is_over() && !talk.parser.is_wrong());
    talk.bytes(Sent, b"\x16\x03\x01\x02\0\x01");
    assert!(talk.heard.lines.is_empty());
}

#[test]
fn definitions_that_are_left_out() {
    // MySQL says so in front of the number of columns.
    let both = USUAL | MYSQL | DEPRECATE_EOF | OPTIONAL_METADATA;
    let calls = [
        (Sent, query("SELECT 1")),
        (Received, packets(1, &[b"\0\x01", b"\x011", OK_AS_EOF])),
        (Sent, query("SELECT 1")),
        (Received, packets(1, &[b"\x01\x01", DEFINITION, b"\x011", OK_AS_EOF])),
        (Sent, command(b"\x16SELECT 1")),
        (Received, packet(1, b"\0\x01\0\0\0\x01\0\0\0\0\0\0\0")),
        (Sent, command(b"\x0e")),
        (Received, packet(1, OK_PAYLOAD)),
    ];
    let expected =
        ["client mysql SELECT", "client mysql SELECT", "client mysql PREPARE", "client mysql PING"];
    let talk = check(both, &calls, &expected);
    assert_eq!(call(&talk.heard, 0).rows, Some(1));
    // MariaDB behind it.
    for has_eof in [true, false] {
        let eof = has_eof.then_some(EOF_PAYLOAD);
        let end = if has_eof { EOF_PAYLOAD } else { OK_AS_EOF };
        let without = [Some(b"\x01\0".as_slice()), eof, Some(b"\0\0\x011"), Some(end)];
        let with = [Some(b"\x01\x01".as_slice()), Some(DEFINITION), eof, Some(end)];
        let join = |parts: &[Option<&[u8]>]| {
            packets(1, &parts.iter().copied().flatten().collect::<Vec<_>>())
        };
        let calls = [
            (Sent, command(b"\x17\xff\xff\xff\xff\0\x01\0\0\0")),
            (Received, join(&without)),
            (Sent, command(b"\x17\xff\xff\xff\xff\0\x01\0\0\0")),
            (Received, join(&with)),
        ];
        let expected = ["client mysql EXECUTE [truncated]"; 2];
        let talk = check(capabilities(has_eof) | CACHE_METADATA, &calls, &expected);
        assert_eq!(call(&talk.heard, 0).rows, Some(1));
        assert_eq!(call(&talk.heard, 1).rows, Some(0));
    }
}

/// MariaDB's clients prepare and execute in one go.
#[test]
fn commands_in_a_row() {
    let both = [
        command(b"\x16DELETE FROM orders WHERE id = ?"),
        command(b"\x17\xff\xff\xff\xff\0\x01\0\0\0"),
        query("COMMIT"),
    ];
    let prepared = packets(1, &[b"\0\x05\0\0\0\0\0\x01\0\0\0\0", DEFINITION, EOF_PAYLOAD]);
    let replies = [prepared, packet(1, OK_PAYLOAD), packet(1, OK_PAYLOAD)];
    let expected =
        ["client mysql PREPARE orders", "client mysql DELETE orders", "client mysql COMMIT"];
    check(USUAL, &[(Sent, both.concat()), (Received, replies.concat())], &expected);
}

#[test]
fn query_attributes_are_no_text() {
    let calls = [
        (Sent, command(b"\x03\x01\x01\0\x01\xfd\0\x05trace\x06secretSELECT * FROM orders")),
        (Received, result(true, 1)),
        (Sent, command(b"\x03\0\x01DELETE FROM orders")),
        (Received, packet(1, OK_PAYLOAD)),
    ];
    let expected = ["client mysql SELECT orders", "client mysql DELETE orders"];
    check(USUAL | ATTRIBUTES, &calls, &expected);
}

#[test]
fn use_changes_the_database() {
    let run = |text: &str| {
        let calls = [
            (Sent, query(text)),
            (Received, packet(1, OK_PAYLOAD)),
            (Sent, query("COMMIT")),
            (Received, packet(1, OK_PAYLOAD)),
        ];
        let talk = exchange(USUAL, &calls);
        call(&talk.heard, 1).namespace.as_deref().map(str::to_owned)
    };
    assert_eq!(run("use other").as_deref(), Some("other"));
    assert_eq!(run(" USE `my-db` ;").as_deref(), Some("my-db"));
    assert_eq!(run("USE other; SELECT 1"), None, "which is in use then is not looked for");
    assert_eq!(run("SELECT 1").as_deref(), Some("shop"));
}

#[test]
fn packets_that_are_continued() {
    let long = [b"\x03INSERT INTO blobs VALUES ('".as_slice(), &vec![b'x'; 0xff_ffff]].concat();
    let (first, second) = long.split_at(0xff_ffff);
    let row = [b"\xfe\xff\xff\xff\0\0\0\0\0".as_slice(), &vec![b'y'; 0xff_ffff]].concat();
    let (row_first, row_second) = row.split_at(0xff_ffff);
    let calls = [
        (Sent, [packet(0, first), packet(1, second)].concat()),
        (Received, packet(2, OK_PAYLOAD)),
        (Sent, query("SELECT * FROM blobs")),
        (
            Received,
            packets(1, &[b"\x01", DEFINITION, EOF_PAYLOAD, row_first, row_second, EOF_PAYLOAD]),
        ),
    ];
    let expected = ["client mysql INSERT blobs", "client mysql SELECT blobs"];
    let talk = check(USUAL, &calls, &expected);
    assert_eq!(call(&talk.heard, 1).rows, Some(1));
    assert!(talk.parser.memory() < 4096, "{}", talk.parser.memory());
}

#[test]
fn the_compressed_protocol() {
    use std::io::Write as _;
    let wrap = |bytes: &[u8], compressed: bool| {
        let mut payload = bytes.to_vec();
        let mut whole = [0, 0, 0, 0];
        if compressed {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            payload = encoder.finish().unwrap();
            whole = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        }
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&length[..3], &[0], &whole[..3], &payload].concat()
    };
    for has_eof in [true, false] {
        let (calls, expected) = everything(has_eof);
        for compressed in [true, false] {
            let calls: Vec<_> = calls
                .iter()
                .map(|(direction, bytes)| (*direction, wrap(bytes, compressed)))
                .collect();
            check(capabilities(has_eof) | COMPRESS, &calls, &expected);
        }
    }
    // A message of which the end was not captured: the response ends with the next command.
    let mut talk =
        exchange(USUAL | COMPRESS, &[(Sent, wrap(&query("SELECT * FROM orders"), true))]);
    let reply = wrap(&result(true, 1000), true);
    let (begin, rest) = reply.split_at(40);
    talk.pieces(Received, &[Piece::Bytes(begin), Piece::Skipped(rest.len() as u64)]);
    talk.bytes(Sent, &wrap(&query("COMMIT"), false));
    talk.bytes(Received, &wrap(&packet(1, OK_PAYLOAD), false));
    let expected = ["client mysql SELECT orders [truncated]", "client mysql COMMIT"];
    assert_eq!(lines(&talk.heard), expected);
}
