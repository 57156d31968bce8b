//! Queries, prepared statements, COPY, and what else goes over a connection.

use super::*;

#[test]
fn a_whole_connection() {
    let mut talk = talk();
    talk.bytes(Sent, &[0, 0, 0, 8, 4, 210, 22, 48]);
    talk.bytes(Received, b"N");
    talk.bytes(Sent, &[0, 0, 0, 8, 4, 210, 22, 47]);
    talk.bytes(Received, b"N");
    talk.bytes(Sent, &startup(b"user\0me\0database\0shop\0"));
    talk.bytes(Received, &message(b'R', &[0, 0, 0, 3]));
    talk.bytes(Sent, &message(b'p', b"swordfish\0"));
    let settings = message(b'S', b"TimeZone\0UTC\0");
    let key = message(b'K', &[0; 8]);
    talk.bytes(Received, &join(&[message(b'R', &[0; 4]), settings, key, ready(b'I')]));
    answered(&mut talk);
    talk.bytes(Sent, &message(b'X', b""));
    talk.end(End::Both { reset: false });
    check(&talk, &["client postgresql SELECT t @85..100"]);
    let call = call(&talk.heard.exchanges[0]);
    assert_eq!((call.namespace.as_deref(), call.rows, call.batch), (Some("shop"), Some(2), None));
    assert_eq!(call.statement.text.as_deref(), Some("SELECT a FROM t WHERE b = ?"));
    assert!(call.answered);
}

#[test]
fn encryption_ends_it() {
    let mut talk = talk();
    talk.bytes(Sent, &[0, 0, 0, 8, 4, 210, 22, 47]);
    talk.bytes(Received, b"S");
    assert!(talk.parser.is_over());
    let mut talk = self::talk();
    talk.bytes(Sent, &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert!(talk.parser.is_over());
    check(&talk, &[]);
}

#[test]
fn a_query_of_several_statements_is_one_call() {
    let mut talk = talk();
    talk.bytes(Sent, &query("BEGIN; UPDATE a SET b = 1; COMMIT"));
    talk.bytes(Received, &join(&[complete("BEGIN"), complete("UPDATE 3")]));
    talk.bytes(Received, &join(&[complete("COMMIT"), ready(b'I')]));
    talk.bytes(Sent, &query(""));
    talk.bytes(Received, &join(&[simple(b'I'), ready(b'I')]));
    talk.bytes(Sent, &query("SELECT 1; SELECT * FROM missing; SELECT 2"));
    let rows = [columns(), row(), complete("SELECT 1")].concat();
    talk.bytes(Received, &join(&[rows, error("42P01"), ready(b'I')]));
    check(
        &talk,
        &[
            "client postgresql UPDATE a @5..30",
            "client postgresql postgresql @35..50",
            "client postgresql SELECT missing 42P01 @55..70",
        ],
    );
    let calls: Vec<_> =
        talk.heard.exchanges.iter().map(|e| (call(e).batch, call(e).rows)).collect();
    assert_eq!(calls, [(Some(3), Some(3)), (None, None), (Some(2), Some(1))]);
}

#[test]
fn prepared_statements() {
    let mut talk = talk();
    talk.bytes(Sent, &join(&[parse("p1", "SELECT * FROM orders"), describe(b'S', "p1"), sync()]));
    let parameters = message(b't', b"\0\0");
    talk.bytes(Received, &join(&[simple(b'1'), parameters, columns(), ready(b'I')]));
    for _ in 0..2 {
        talk.bytes(Sent, &join(&[bind("", "p1"), execute(""), sync()]));
        talk.bytes(Received, &join(&[simple(b'2'), row(), complete("SELECT 1"), ready(b'I')]));
    }
    // A portal with a name, read in parts.
    talk.bytes(Sent, &join(&[bind("c", "p1"), describe(b'P', "c"), execute("c"), sync()]));
    talk.bytes(Received, &join(&[simple(b'2'), columns(), row(), simple(b's'), ready(b'T')]));
    talk.bytes(Sent, &join(&[execute("c"), sync()]));
    talk.bytes(Received, &join(&[complete("SELECT 0"), ready(b'T')]));
    // Closed, and unknown from now on.
    talk.bytes(Sent, &join(&[message(b'C', b"Sp1\0"), sync()]));
    talk.bytes(Received, &join(&[simple(b'3'), ready(b'I')]));
    talk.bytes(Sent, &join(&[bind("", "before"), execute(""), sync()]));
    talk.bytes(Received, &join(&[simple(b'2'), complete("INSERT 0 5"), ready(b'I')]));
    check(
        &talk,
        &[
            "client postgresql SELECT orders @25..40",
            "client postgresql SELECT orders @45..60",
            "client postgresql SELECT orders @65..80",
            "client postgresql SELECT orders @85..100",
            "client postgresql INSERT @125..140",
        ],
    );
}

#[test]
fn copying() {
    let mut talk = talk();
    let data = message(b'd', b"swordfish\n");
    talk.bytes(Sent, &query("COPY t FROM STDIN"));
    talk.bytes(Received, &message(b'G', b"\0\0\0"));
    talk.bytes(Sent, &join(&[data.clone(), data.clone(), simple(b'c')]));
    talk.bytes(Received, &join(&[complete("COPY 2"), ready(b'I')]));
    talk.bytes(Sent, &query("COPY t TO STDOUT"));
    let out = join(&[message(b'H', b"\0\0\0"), data.clone(), simple(b'c')]);
    talk.bytes(Received, &join(&[out, complete("COPY 1"), ready(b'I')]));
    // Extended: the first `Sync` is passed over by the server.
    let copy = join(&[parse("", "COPY t FROM STDIN"), bind("", ""), execute(""), sync()]);
    talk.bytes(Sent, &copy);
    talk.bytes(Received, &join(&[simple(b'1'), simple(b'2'), message(b'G', b"\0\0\0")]));
    talk.bytes(Sent, &join(&[data.clone(), simple(b'c'), sync()]));
    talk.bytes(Received, &join(&[complete("COPY 1"), ready(b'I')]));
    // It fails in the middle of the data.
    talk.bytes(Sent, &copy);
    talk.bytes(Received, &join(&[simple(b'1'), simple(b'2'), message(b'G', b"\0\0\0")]));
    talk.bytes(Sent, &data);
    talk.bytes(Received, &error("22P04"));
    talk.bytes(Sent, &join(&[data, simple(b'c'), sync()]));
    talk.bytes(Received, &ready(b'I'));
    answered(&mut talk);
    check(
        &talk,
        &[
            "client postgresql COPY t @5..40",
            "client postgresql COPY t @45..60",
            "client postgresql COPY t @65..100",
            "client postgresql COPY t 22P04 @105..140",
            "client postgresql SELECT t @165..180",
        ],
    );
}

#[test]
fn other_messages() {
    let mut talk = talk();
    // Whatever comes between.
    let notice = message(b'N', b"SNOTICE\0C00000\0\0");
    let notification = message(b'A', b"\0\0\0\x01swordfish\0x\0");
    talk.bytes(Received, &notification);
    talk.bytes(Sent, &query("LISTEN topic"));
    talk.bytes(Received, &join(&[notice, complete("LISTEN"), ready(b'I'), notification]));
    talk.bytes(Sent, &message(b'F', &[0; 12]));
    talk.bytes(Received, &join(&[message(b'V', &[0xff; 4]), ready(b'I')]));
    // An error of the connection, not of a call.
    talk.bytes(Received, &error("57P01"));
    talk.end(End::Received);
    check(&talk, &["client postgresql LISTEN @15..30", "client postgresql postgresql @35..50"]);
    let mut talk = self::talk();
    talk.bytes(Sent, &query("START_REPLICATION SLOT x LOGICAL 0/0"));
    talk.bytes(Received, &message(b'W', b"\0\0\0"));
    assert!(talk.parser.is_over());
    check(&talk, &["client postgresql postgresql @5..20"]);
    assert!(call(&talk.heard.exchanges[0]).waits);
}

#[test]
fn ends_of_connections() {
    let mut talk = talk();
    talk.bytes(Sent, &query("SELECT * FROM a"));
    talk.end(End::Both { reset: true });
    check(&talk, &["client postgresql SELECT a connection_reset @5..20 [no_response]"]);
    let mut talk = self::talk();
    talk.bytes(Sent, &query("SELECT * FROM a"));
    talk.bytes(Received, &columns());
    talk.end(End::Received);
    talk.end(End::Both { reset: false });
    check(&talk, &["client postgresql SELECT a connection_closed @5..30"]);
}
