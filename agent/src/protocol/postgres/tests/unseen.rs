//! What goes by without a record.

use super::*;

#[test]
fn a_long_answer_is_ended_by_its_last_bytes() {
    let mut talk = talk();
    talk.bytes(Sent, &query("SELECT * FROM a"));
    talk.pieces(Received, &[Piece::Bytes(&join(&[columns(), row()])), Piece::Skipped(100_000)]);
    let end = join(&[complete("SELECT 1000"), ready(b'I')]);
    let last = [&b"rest of a row"[..], &end].concat();
    talk.pieces(Received, &[Piece::Skipped(100_000), Piece::Bytes(&last)]);
    answered(&mut talk);
    // An error whose beginning is not there: what became of it is not known.
    talk.bytes(Sent, &query("SELECT * FROM a"));
    talk.pieces(Received, &[Piece::Bytes(&columns()), Piece::Lost(Some(500))]);
    talk.bytes(Received, &[&b"xist\0\0"[..], &ready(b'I')].concat());
    answered(&mut talk);
    // Several statements in one group: only the last one's end is seen.
    let one = join(&[parse("", "SELECT * FROM a"), bind("", ""), execute("")]);
    talk.bytes(Sent, &join(&[one.clone(), one, sync()]));
    talk.pieces(Received, &[Piece::Bytes(&simple(b'1')), Piece::Skipped(500), Piece::Bytes(&last)]);
    answered(&mut talk);
    check(
        &talk,
        &[
            "client postgresql SELECT a @5..30 [truncated]",
            "client postgresql SELECT t @35..50",
            "client postgresql SELECT a @55..80 [lossy]",
            "client postgresql SELECT t @85..100",
            "client postgresql SELECT a @105..120 [truncated duration_untrusted]",
            "client postgresql SELECT a @105..120 [truncated duration_untrusted]",
            "client postgresql SELECT t @125..140",
        ],
    );
    let calls: Vec<_> =
        talk.heard.exchanges.iter().map(|e| (call(e).answered, call(e).rows)).collect();
    assert_eq!(calls[0], (true, Some(1000)));
    assert_eq!(calls[2], (false, None));
}

#[test]
fn long_messages_are_passed_over() {
    let mut talk = talk();
    let long = query(&format!("INSERT INTO t VALUES ('{}')", "x".repeat(300_000)));
    talk.pieces(
        Sent,
        &[Piece::Bytes(&long[..1000]), Piece::Skipped(299_000), Piece::Bytes(&long[300_000..])],
    );
    talk.bytes(Received, &join(&[complete("INSERT 0 1"), ready(b'I')]));
    // The values of a statement, and what follows them in the last bytes of the call.
    let value = [&b"\0p\0\0\0\0\x01\0\x03\0\0"[..], &vec![b'x'; 0x30000], b"\0\0"].concat();
    let all = join(&[
        parse("p", "INSERT INTO u VALUES ($1)"),
        message(b'B', &value),
        execute(""),
        sync(),
    ]);
    let split = all.len() - 64;
    talk.pieces(
        Sent,
        &[
            Piece::Bytes(&all[..100]),
            Piece::Skipped(split as u64 - 100),
            Piece::Bytes(&all[split..]),
        ],
    );
    let done = join(&[simple(b'1'), simple(b'2'), complete("INSERT 0 1"), ready(b'I')]);
    talk.bytes(Received, &done);
    check(&talk, &["client postgresql INSERT t @5..20", "client postgresql INSERT u @25..40"]);
}

#[test]
fn requests_that_were_not_seen_are_counted_by_their_answers() {
    let mut talk = talk();
    let one = join(&[bind("", "p"), execute("")]);
    talk.bytes(Sent, &join(&[parse("p", "UPDATE t SET a = $1"), one.clone(), one.clone()]));
    talk.pieces(
        Sent,
        &[Piece::Skipped(one.len() as u64 * 5 - 20), Piece::Bytes(&one[one.len() - 20..])],
    );
    talk.bytes(Sent, &sync());
    let done = join(&[simple(b'2'), complete("UPDATE 1")]);
    talk.bytes(Received, &[&simple(b'1')[..], &done.repeat(4)].concat());
    talk.bytes(Received, &[done.repeat(3), ready(b'I')].concat());
    answered(&mut talk);
    let unseen = "client postgresql UPDATE";
    let expected: Vec<String> = std::iter::once("? resynchronised".to_owned())
        .chain((0..2).map(|_| "client postgresql UPDATE t @5..40".to_owned()))
        .chain((0..2).map(|_| format!("{unseen} @35..40 [truncated duration_untrusted]")))
        .chain((0..3).map(|_| format!("{unseen} @45..50 [truncated duration_untrusted]")))
        .chain(["client postgresql SELECT t @55..70".to_owned()])
        .collect();
    assert_eq!(talk.heard.lines, expected);
}

#[test]
fn a_long_copy_goes_on_with_the_next_request() {
    let mut talk = talk();
    talk.bytes(Sent, &query("COPY t FROM STDIN"));
    talk.bytes(Received, &message(b'G', b"\0\0\0"));
    let data = message(b'd', &[b'x'; 90]);
    talk.pieces(Sent, &[Piece::Bytes(&data), Piece::Skipped(1000), Piece::Bytes(&data[50..])]);
    talk.pieces(
        Sent,
        &[Piece::Skipped(1000), Piece::Bytes(&join(&[data[50..].to_vec(), simple(b'c')]))],
    );
    talk.bytes(Received, &join(&[complete("COPY 2"), ready(b'I')]));
    answered(&mut talk);
    check(&talk, &["client postgresql COPY t @5..50", "client postgresql SELECT t @55..70"]);
}

#[test]
fn answers_that_were_lost() {
    let mut talk = talk();
    // Of two groups in flight: which one's end is seen cannot be said.
    let one = join(&[parse("", "SELECT * FROM a"), bind("", ""), execute(""), sync()]);
    talk.bytes(Sent, &join(&[one.clone(), one.clone()]));
    talk.pieces(Received, &[Piece::Lost(None)]);
    talk.bytes(Sent, &one);
    talk.bytes(Received, &join(&[complete("SELECT 1"), ready(b'I')]));
    answered(&mut talk);
    check(
        &talk,
        &[
            "? resynchronised",
            "client postgresql SELECT a @5..20 [lossy duration_untrusted]",
            "client postgresql SELECT a @5..20 [lossy duration_untrusted]",
            "client postgresql SELECT a @25..30 [truncated duration_untrusted]",
            "client postgresql SELECT t @45..60",
        ],
    );
}

#[test]
fn a_connection_that_is_older_than_vigie() {
    let mut talk = older();
    talk.bytes(Received, &join(&[row(), complete("SELECT 2"), ready(b'I')]));
    answered(&mut talk);
    check(&talk, &["? response_without_request", "client postgresql SELECT t @15..30"]);
    // Its answers are seen later than its requests.
    let mut talk = older();
    for table in ["a", "b", "c", "d"] {
        talk.bytes(Sent, &query(&format!("SELECT * FROM {table}")));
    }
    for _ in 0..2 {
        talk.bytes(Received, &join(&[complete("SELECT 1"), ready(b'I')]));
        talk.bytes(Sent, &query("SELECT * FROM e"));
    }
    check(
        &talk,
        &[
            "client postgresql SELECT a @5..50 [duration_untrusted]",
            "client postgresql SELECT b @15..60 [truncated duration_untrusted]",
            "client postgresql SELECT c @25..60 [truncated duration_untrusted]",
            "client postgresql SELECT d @35..60 [truncated duration_untrusted]",
            "client postgresql SELECT e @55..70",
        ],
    );
    // Another protocol after all.
    let mut talk = older();
    for _ in 0..3 {
        talk.bytes(Sent, b"get key\r\n");
        talk.bytes(Received, b"END\r\n");
    }
    assert!(talk.parser.is_wrong());
}
