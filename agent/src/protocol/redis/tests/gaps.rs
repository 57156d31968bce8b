//! Ends of connections and of what is read of them, and stretches that are missing.

use super::*;

#[test]
fn ends_of_what_is_read() {
    for (last, answers) in [
        ("MONITOR", "+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n"),
        ("PSYNC ? -1", "+FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 1\r\n$3\r\nabc"),
        ("SYNC", "$3\r\nREDIS"),
    ] {
        let mut talk = talk(Role::Server, true);
        ask(&mut talk, &["PING", last]);
        say(&mut talk, "+PONG\r\n");
        say(&mut talk, answers);
        if last != "SYNC" {
            assert!(talk.parser.is_over() && !talk.parser.is_wrong());
            assert_eq!(talk.heard.exchanges.len(), 2, "{}", talk.text());
        }
    }
    // Of a replica's stream in the middle no call is made up.
    let mut talk = talk(Role::Client, false);
    talk.bytes(Direction::Sent, (command("SELECT 0") + &command("SET a 1")).as_bytes());
    talk.bytes(Direction::Received, command("REPLCONF ACK 42").as_bytes());
    talk.bytes(Direction::Sent, command("SET a 1").as_bytes());
    talk.end(End::Both { reset: false });
    assert_eq!(talk.text(), "");
}

#[test]
fn ends_of_connections() {
    let mut talk = run(&[(&["GET a", "BLPOP l 0"], "$-1\r\n")]);
    talk.end(End::Both { reset: true });
    assert_eq!(
        without_times(&talk.heard.lines[1]),
        "server redis BLPOP connection_reset [no_response]"
    );
    let mut talk = run(&[(&["QUIT"], "")]);
    talk.end(End::Sent);
    assert!(talk.parser.is_over());
    assert_eq!(without_times(&talk.text()), "server redis QUIT [no_response]");
    let mut talk = run(&[(&["GET a"], "$10\r\nabc")]);
    talk.end(End::Received);
    assert_eq!(talk.text(), "", "the client sends no more, but reads");
    talk.end(End::Both { reset: false });
    assert_eq!(without_times(&talk.text()), "server redis GET connection_closed");
}

#[test]
fn long_values_are_passed_over() {
    let mut talk = talk(Role::Server, true);
    let head = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10000000\r\nxxxx";
    talk.pieces(
        Direction::Received,
        &[Piece::Bytes(head), Piece::Skipped(9_999_990), Piece::Bytes(b"xxxxxx\r\n")],
    );
    talk.bytes(Direction::Received, command("GET a").as_bytes());
    talk.bytes(Direction::Sent, b"+OK\r\n$10000000\r\nxx");
    talk.pieces(Direction::Sent, &[Piece::Skipped(9_999_998), Piece::Bytes(b"\r\n")]);
    assert_eq!(talk.text(), "server redis SET @10..30\nserver redis GET @20..40");
}

#[test]
fn a_long_list_ends_before_the_next_request() {
    let mut talk = run(&[(&["LRANGE l 0 -1"], "*100000\r\n$3\r\nabc\r\n$3\r\nab")]);
    talk.pieces(Direction::Sent, &[Piece::Skipped(900_000), Piece::Bytes(b"bc\r\n$3\r\nabc\r\n")]);
    assert!(talk.parser.is_waiting());
    ask(&mut talk, &["GET a"]);
    say(&mut talk, "$-1\r\n");
    assert_eq!(talk.text(), "server redis LRANGE @10..30\nserver redis GET @40..50");
    // Without one, after a while.
    let mut talk = run(&[(&["LRANGE l 0 -1"], "*100000\r\n$3\r\nabc\r\n$3\r\nab")]);
    talk.pieces(Direction::Sent, &[Piece::Skipped(900_000), Piece::Bytes(b"abc\r\n")]);
    talk.parser.settle(talk.now + 10, &mut talk.heard);
    assert_eq!(talk.text(), "");
    talk.parser.settle(talk.now + 2_000_000_000, &mut talk.heard);
    assert_eq!(talk.text(), "server redis LRANGE @10..30");
}

#[test]
fn where_answers_were_missed_nothing_is_guessed() {
    let mut talk = run(&[(&["GET a", "GET b", "GET c"], "$1\r\n1\r\n")]);
    talk.pieces(Direction::Sent, &[Piece::Lost(Some(7)), Piece::Bytes(b"$1\r\n1\r\n")]);
    ask(&mut talk, &["PING"]);
    say(&mut talk, "+PONG\r\n");
    let unseen = "server redis GET @10..30 [lossy duration_untrusted]";
    let expected = [
        "server redis GET @10..20",
        unseen,
        unseen,
        "? resynchronised",
        "server redis PING @40..50",
    ];
    assert_eq!(talk.heard.lines, expected);
}

#[test]
fn where_requests_were_missed_their_answers_count() {
    let mut talk = talk(Role::Server, true);
    let both = [command("GET a"), command("MSET k v")].concat();
    let cut = both.len() - 5;
    talk.pieces(
        Direction::Received,
        &[Piece::Bytes(&both.as_bytes()[..cut]), Piece::Skipped(100), Piece::Bytes(b"\n")],
    );
    say(&mut talk, "$-1\r\n+OK\r\n-ERR x\r\n:1\r\n");
    ask(&mut talk, &["PING"]);
    say(&mut talk, "+PONG\r\n");
    let expected = [
        "server redis GET @10..20",
        "server redis MSET @10..20 [truncated]",
        "server redis redis @20..20 [truncated duration_untrusted]",
        "server redis redis @20..20 [truncated duration_untrusted]",
        "server redis PING @30..40",
    ];
    assert_eq!(talk.heard.lines, expected);
}

#[test]
fn a_fast_answer_may_overtake_its_request() {
    let mut talk = talk(Role::Client, true);
    talk.bytes(Direction::Received, b"+OK\r\n");
    talk.now -= 7;
    talk.bytes(Direction::Sent, command("SET a 1").as_bytes());
    talk.bytes(Direction::Received, b"+OK\r\n");
    talk.bytes(Direction::Sent, command("GET a").as_bytes());
    assert_eq!(talk.text(), "client redis SET @8..10\n? response_without_request");
    assert!(talk.parser.is_waiting());
}

#[test]
fn in_flight_is_bounded() {
    let limits = Limits { in_flight: 2, ..MS };
    let mut talk = Talk::new(Text::new(Role::Server, limits, true, Redis::new(limits, true)));
    ask(&mut talk, &["GET a", "GET b", "GET c"]);
    say(&mut talk, "$-1\r\n$-1\r\n$-1\r\n");
    ask(&mut talk, &["PING"]);
    say(&mut talk, "+PONG\r\n");
    let lines: Vec<String> = talk.heard.lines.iter().map(|line| without_times(line)).collect();
    let unseen = "server redis GET [truncated duration_untrusted]";
    let expected = [
        "? too_many_in_flight",
        unseen,
        "server redis GET",
        "server redis GET",
        "server redis PING",
    ];
    assert_eq!(lines, expected);
}
