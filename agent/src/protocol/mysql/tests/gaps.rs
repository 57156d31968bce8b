//! Where bytes of a conversation are missing.

use super::*;

/// The middle of large results is not copied: the end of the last call tells how it ended.
#[test]
fn results_with_a_gap() {
    let run = |end: &[u8]| {
        let mut talk = exchange(USUAL, &[(Sent, query("SELECT * FROM orders"))]);
        let begin = packets(1, &[b"\x01", DEFINITION, EOF_PAYLOAD, b"\x011"]);
        talk.bytes(Received, &begin);
        talk.pieces(Received, &[Piece::Skipped(16_000), Piece::Bytes(b"row\x05\0\0")]);
        talk.pieces(Received, &[Piece::Skipped(16_000), Piece::Bytes(end)]);
        talk.bytes(Sent, &query("COMMIT"));
        talk.bytes(Received, &packet(1, OK_PAYLOAD));
        talk.text()
    };
    let commit = "\nclient mysql COMMIT @75..90";
    let end = [b"a row".as_slice(), &packet(77, EOF_PAYLOAD)].concat();
    assert_eq!(run(&end), format!("client mysql SELECT orders @35..70{commit}"));
    let failed = [b"a row".as_slice(), &packet(77, b"\xff\x25\x05#70100cancelled")].concat();
    assert_eq!(run(&failed), format!("client mysql SELECT orders 1317 @35..70{commit}"));
    let more = packet(77, b"\xfe\0\0\x0a\0");
    assert_eq!(run(&more), format!("client mysql SELECT orders @35..70 [truncated]{commit}"));
    assert_eq!(run(b"row"), format!("client mysql SELECT orders @35..70 [truncated]{commit}"));
}

#[test]
fn a_gap_inside_of_a_row_changes_nothing() {
    let mut talk = exchange(USUAL, &[(Sent, query("SELECT * FROM orders"))]);
    let reply = packets(1, &[b"\x01", DEFINITION, EOF_PAYLOAD, &[b'x'; 300], EOF_PAYLOAD]);
    let (begin, rest) = reply.split_at(100);
    let pieces = [Piece::Bytes(begin), Piece::Skipped(200), Piece::Bytes(&rest[200..])];
    talk.pieces(Received, &pieces);
    assert_eq!(lines(&talk.heard), ["client mysql SELECT orders"]);
    assert_eq!(call(&talk.heard, 0).rows, Some(1));
}

#[test]
fn lost_records() {
    let select = || (Sent, query("SELECT * FROM orders"));
    let ok = || (Received, packet(1, OK_PAYLOAD));
    // Of a response: it is not known how it ended.
    let mut talk = exchange(USUAL, &[select()]);
    talk.pieces(Received, &[Piece::Lost(Some(100))]);
    talk.bytes(Received, b"the rest");
    talk.bytes(Sent, &query("COMMIT"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    let expected = ["client mysql SELECT orders [lossy duration_untrusted]", "client mysql COMMIT"];
    assert_eq!(lines(&talk.heard), expected);
    // Of a request: that there was one, its response shows.
    let mut talk = exchange(USUAL, &[select(), ok()]);
    talk.pieces(Sent, &[Piece::Lost(Some(30))]);
    talk.bytes(Received, &packet(1, NO_TABLE));
    talk.bytes(Sent, &query("COMMIT"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    let expected = [
        "client mysql SELECT orders",
        "client mysql mysql 1146 [lossy duration_untrusted]",
        "client mysql COMMIT",
    ];
    assert_eq!(lines(&talk.heard), expected);
    // Of both: nothing is made up.
    let mut talk = exchange(USUAL, &[select(), ok()]);
    talk.pieces(Sent, &[Piece::Lost(None)]);
    talk.pieces(Received, &[Piece::Lost(None)]);
    talk.bytes(Sent, &query("COMMIT"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    assert_eq!(lines(&talk.heard), ["client mysql SELECT orders", "client mysql COMMIT"]);
}

/// Long data in many calls, of which the middle was not copied, and the execution behind them.
#[test]
fn requests_with_a_gap() {
    let (calls, _) = everything(true);
    let mut talk = exchange(USUAL, &calls[6..8]);
    let data = command(&[b"\x18\x01\0\0\0\0\0".as_slice(), &[b'x'; 200]].concat());
    talk.bytes(Sent, &data);
    for _ in 0..3 {
        let (_, tail) = data.split_at(data.len() - 64);
        talk.pieces(Sent, &[Piece::Skipped(data.len() as u64 - 64), Piece::Bytes(tail)]);
    }
    talk.bytes(Sent, &command(b"\x17\x01\0\0\0\0\x01\0\0\0"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    talk.bytes(Sent, &command(b"\x0e"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    let expected =
        ["client mysql PREPARE orders", "client mysql SELECT orders", "client mysql PING"];
    assert_eq!(lines(&talk.heard), expected);
}

/// A file whose middle was not copied: it ends with the server's answer.
#[test]
fn a_file_with_a_gap() {
    let load = query("LOAD DATA LOCAL INFILE 'x' INTO TABLE loaded");
    let mut talk = exchange(USUAL, &[(Sent, load), (Received, packet(1, b"\xfbx"))]);
    talk.bytes(Sent, &packet(2, b"1,a\n"));
    talk.pieces(Sent, &[Piece::Skipped(100_000), Piece::Bytes(b"\x05\0\0\0\x03SELECT 1")]);
    talk.bytes(Received, &packet(77, b"\0\xfc\x10\x27\0\x02\0\0\0"));
    talk.bytes(Sent, &command(b"\x0e"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    assert_eq!(lines(&talk.heard), ["client mysql LOAD loaded", "client mysql PING"]);
    assert_eq!(call(&talk.heard, 0).rows, Some(10_000));
}

/// A packet that is too long is refused before it is whole.
#[test]
fn an_early_answer() {
    let long = query(&format!("SELECT LENGTH('{}')", "x".repeat(1000)));
    let (begin, rest) = long.split_at(500);
    let calls = [
        (Sent, begin.to_vec()),
        (Received, packet(1, b"\xff\x81\x04#08S01too big")),
        (Sent, rest.to_vec()),
        (Sent, query("COMMIT")),
        (Received, packet(1, OK_PAYLOAD)),
    ];
    check(USUAL, &calls, &["client mysql mysql 1153 [truncated]", "client mysql COMMIT"]);
}

/// Where a record of the beginning is lost, the connection is like one that is older.
#[test]
fn a_beginning_with_a_gap() {
    let gap = [Piece::Lost(Some(100))];
    for lost in 0..3 {
        let mut talk = talk(Role::Client);
        talk.bytes(Received, &greeting(USUAL));
        match lost {
            0 => talk.pieces(Sent, &gap),
            _ => talk.bytes(Sent, &login(USUAL)),
        }
        match lost {
            1 => talk.pieces(Received, &gap),
            _ => talk.bytes(Received, &packet(2, OK_PAYLOAD)),
        }
        for _ in 0..2 {
            talk.bytes(Sent, &query("SELECT * FROM orders"));
            talk.bytes(Received, &result(true, 3));
        }
        assert_eq!(lines(&talk.heard), ["client mysql SELECT orders"; 2], "{lost}");
        assert_eq!(call(&talk.heard, 1).rows, Some(3));
    }
}

/// Packets that make no sense: what is in flight is given up, and reading goes on with the next turn.
#[test]
fn malformed_packets() {
    let mut talk = exchange(USUAL, &[(Sent, query("SELECT * FROM orders"))]);
    talk.bytes(Received, &packets(1, &[b"\xfc", b"no definition"]));
    talk.bytes(Sent, &[packet(0, b"\x77what"), query("SELECT * FROM items")].concat());
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    talk.bytes(Sent, &query("COMMIT"));
    talk.bytes(Received, &packet(1, OK_PAYLOAD));
    let expected = [
        "? malformed_message",
        "client mysql SELECT orders [truncated duration_untrusted]",
        "? malformed_message",
        "client mysql COMMIT",
    ];
    assert_eq!(lines(&talk.heard), expected);
    // A connection that only makes no sense is given up.
    for _ in 0..MAX_MALFORMED {
        talk.bytes(Sent, &command(b"\x0e"));
        talk.bytes(Received, &packet(1, b"what"));
    }
    assert!(talk.parser.is_over());
}
