use super::*;
use crate::protocol::conversation::{Opening, Recognition};
use crate::protocol::testing::{Random, Talk};
use crate::protocol::{Call, Exchange};
use crate::span::database::DatabaseCall;
use Direction::{Received, Sent};

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(u32::try_from(payload.len()).unwrap() + 4).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let mut bytes = (u32::try_from(parameters.len()).unwrap() + 9).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 3, 0, 0]);
    bytes.extend_from_slice(parameters);
    bytes.push(0);
    bytes
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    let values = b"\0\0\0\0\x01\0\0\0\x09swordfish\0\0";
    message(b'B', &[portal.as_bytes(), b"\0", name.as_bytes(), &values[..]].concat())
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0\0\0\0\0"].concat())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn simple(kind: u8) -> Vec<u8> {
    message(kind, b"")
}

fn row() -> Vec<u8> {
    message(b'D', b"\0\x01\0\0\0\x01x")
}

fn columns() -> Vec<u8> {
    message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

fn error(code: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{code}\0Mswordfish\0\0").as_bytes())
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// Of a connection that is known from its beginning.
fn talk() -> Talk<Postgres> {
    let mut talk = older();
    talk.parser.calls.settled = true;
    talk
}

/// Of one that is older than vigie.
fn older() -> Talk<Postgres> {
    Talk::new(Postgres::new(Role::Client, Limits { query_text: 200, ..Limits::default() }))
}

/// As many lines as there are calls and problems, in order.
fn check(talk: &Talk<Postgres>, expected: &[&str]) {
    assert_eq!(talk.heard.lines, expected);
    let all = format!("{:?}", talk.heard.exchanges);
    assert!(!all.contains("swordfish"), "{all}");
}

fn call(exchange: &Exchange) -> &DatabaseCall {
    match &exchange.call {
        Call::Database(call) => call,
        call => panic!("{call:?}"),
    }
}

/// One query and its answer.
fn answered(talk: &mut Talk<Postgres>) {
    talk.bytes(Sent, &query("SELECT a FROM t WHERE b = 'swordfish'"));
    talk.bytes(Received, &join(&[columns(), row(), row(), complete("SELECT 2"), ready(b'I')]));
}

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
fn a_pipeline_has_the_times_of_each() {
    let mut talk = talk();
    let one =
        |name| join(&[parse("", &format!("SELECT * FROM {name}")), bind("", ""), execute("")]);
    talk.bytes(Sent, &one("a"));
    talk.bytes(Sent, &one("b"));
    talk.bytes(Sent, &join(&[one("c"), sync()]));
    let done = join(&[simple(b'1'), simple(b'2'), complete("SELECT 0")]);
    talk.bytes(Received, &done);
    talk.bytes(Received, &[&done[..], &done[..7]].concat());
    talk.bytes(Received, &[&done[7..], &ready(b'I')].concat());
    check(
        &talk,
        &[
            "client postgresql SELECT a @5..40",
            "client postgresql SELECT b @15..50",
            "client postgresql SELECT c @25..60",
        ],
    );
}

#[test]
fn errors_in_a_pipeline() {
    let mut talk = talk();
    let one =
        |name| join(&[parse("", &format!("SELECT * FROM {name}")), bind("", ""), execute("")]);
    let done = join(&[simple(b'1'), simple(b'2'), complete("SELECT 0")]);
    // While being executed, while being prepared; the rest of the group is passed over, the next is not.
    talk.bytes(Sent, &join(&[one("a"), one("b"), one("c"), sync(), one("d"), sync()]));
    let group = join(&[done.clone(), simple(b'1'), simple(b'2'), error("22012"), ready(b'I')]);
    talk.bytes(Received, &[group, done.clone(), ready(b'I')].concat());
    talk.bytes(Sent, &join(&[one("e"), one("f"), sync()]));
    talk.bytes(Received, &join(&[error("42P01"), ready(b'I')]));
    // The error comes before the rest is sent.
    talk.bytes(Sent, &one("g"));
    talk.bytes(Received, &error("42601"));
    talk.bytes(Sent, &join(&[one("h"), sync()]));
    talk.bytes(Received, &ready(b'I'));
    talk.bytes(Sent, &join(&[one("i"), sync()]));
    talk.bytes(Received, &join(&[done, ready(b'I')]));
    check(
        &talk,
        &[
            "client postgresql SELECT a @5..20",
            "client postgresql SELECT b 22012 @5..20",
            "client postgresql SELECT c pipeline_aborted @5..20 [duration_untrusted]",
            "client postgresql SELECT d @5..20",
            "client postgresql SELECT e 42P01 @25..40",
            "client postgresql SELECT f pipeline_aborted @25..40 [duration_untrusted]",
            "client postgresql SELECT g 42601 @45..60",
            "client postgresql SELECT h pipeline_aborted @65..65 [duration_untrusted]",
            "client postgresql SELECT i @85..100",
        ],
    );
}

#[test]
fn what_fails_without_being_executed_is_a_call() {
    let mut talk = talk();
    talk.bytes(Sent, &join(&[parse("p", "SELECT * FROM missing"), describe(b'S', "p"), sync()]));
    talk.bytes(Received, &join(&[error("42P01"), ready(b'I')]));
    // The same, but flushed: what follows is passed over.
    talk.bytes(Sent, &join(&[parse("p", "SELECT * FROM missing"), simple(b'H')]));
    talk.bytes(Received, &error("42P01"));
    talk.bytes(Sent, &sync());
    talk.bytes(Received, &ready(b'I'));
    // Sent in two parts, with the error between: one call.
    talk.bytes(Sent, &parse("", "SELECT * FROM missing"));
    talk.bytes(Received, &error("42P01"));
    talk.bytes(Sent, &join(&[bind("", ""), execute(""), sync()]));
    talk.bytes(Received, &ready(b'I'));
    // A commit that fails.
    talk.bytes(
        Sent,
        &join(&[parse("", "INSERT INTO t VALUES (1)"), bind("", ""), execute(""), sync()]),
    );
    let done = join(&[simple(b'1'), simple(b'2'), complete("INSERT 0 1")]);
    talk.bytes(Received, &join(&[done, error("23503"), ready(b'I')]));
    answered(&mut talk);
    check(
        &talk,
        &[
            "client postgresql SELECT missing 42P01 @5..20",
            "client postgresql SELECT missing 42P01 @25..40",
            "client postgresql SELECT missing 42P01 @85..85 [duration_untrusted]",
            "client postgresql INSERT t @105..120",
            "client postgresql postgresql 23503 @115..115 [duration_untrusted]",
            "client postgresql SELECT t @125..140",
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

/// A talk of every kind, as both sides send it: requests and answers in turns.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let data = message(b'd', b"data\n");
    let one =
        join(&[parse("p", "UPDATE t SET a = $1"), bind("", "p"), describe(b'P', ""), execute("")]);
    let done = join(&[simple(b'1'), simple(b'2'), simple(b'n'), complete("UPDATE 1")]);
    vec![
        (Sent, startup(b"user\0me\0")),
        (Received, join(&[message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), ready(b'I')])),
        (Sent, query("SELECT * FROM t")),
        (Received, join(&[columns(), row(), complete("SELECT 1"), ready(b'I')])),
        (Sent, join(&[one.clone(), one, sync()])),
        (Received, join(&[done.clone(), done, ready(b'I')])),
        (Sent, query("COPY t FROM STDIN")),
        (Received, message(b'G', b"\0\0\0")),
        (Sent, join(&[data.clone(), data, simple(b'c')])),
        (Received, join(&[complete("COPY 2"), ready(b'I')])),
        (Sent, join(&[parse("", "SELECT * FROM missing"), bind("", ""), execute(""), sync()])),
        (Received, join(&[error("42P01"), ready(b'I')])),
        (Sent, query("SELECT 1")),
        (Received, join(&[columns(), row(), complete("SELECT 1"), ready(b'I')])),
    ]
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
