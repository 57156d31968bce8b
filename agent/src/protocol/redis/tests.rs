//! Talks of clients and servers, and what comes of them.

mod gaps;
mod hostile;
mod in_flight;

use super::*;
use crate::event::Direction;
use crate::protocol::testing::{Random, Talk};
use crate::protocol::{Call, End, Piece};

const MS: Limits = Limits { head_bytes: 1024, in_flight: 1024, query_text: 0 };

type Redises = Talk<Text<Redis>>;

fn talk(role: Role, from_start: bool) -> Redises {
    Talk::new(Text::new(role, MS, from_start, Redis::new(MS, from_start)))
}

/// `GET a` as an array of bulk strings.
fn command(words: &str) -> String {
    let words: Vec<String> =
        words.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

fn ask(talk: &mut Redises, commands: &[&str]) {
    let bytes: String = commands.iter().map(|words| command(words)).collect();
    talk.bytes(Direction::Received, bytes.as_bytes());
}

fn say(talk: &mut Redises, answers: &str) {
    talk.bytes(Direction::Sent, answers.as_bytes());
}

/// Requests and answers in turn, from the start of a connection, at the server.
fn run(turns: &[(&[&str], &str)]) -> Redises {
    let mut talk = talk(Role::Server, true);
    for (commands, answers) in turns {
        if !commands.is_empty() {
            ask(&mut talk, commands);
        }
        if !answers.is_empty() {
            say(&mut talk, answers);
        }
    }
    talk
}

/// As `run`; what was heard, without times.
fn check(turns: &[(&[&str], &str)], expected: &[&str]) {
    let talk = run(turns);
    let lines: Vec<String> = talk.heard.lines.iter().map(|line| without_times(line)).collect();
    let lines: Vec<&str> =
        lines.iter().map(|line| line.strip_prefix("server redis ").unwrap_or(line)).collect();
    assert_eq!(lines, expected);
}

fn without_times(line: &str) -> String {
    line.split(' ').filter(|word| !word.starts_with('@')).collect::<Vec<_>>().join(" ")
}

fn calls(talk: &Redises) -> Vec<&DatabaseCall> {
    talk.heard
        .exchanges
        .iter()
        .filter_map(|exchange| match &exchange.call {
            Call::Database(call) => Some(&**call),
            _ => None,
        })
        .collect()
}

#[test]
fn commands_and_their_answers() {
    check(
        &[
            (&["set a 1"], "+OK\r\n"),
            (&["GET a"], "$1\r\n1\r\n"),
            (&["GET none"], "$-1\r\n"),
            (&["LPUSH l a b"], ":2\r\n"),
            (&["GET l"], "-WRONGTYPE Operation against a key\r\n"),
            (&["MGET a b"], "*2\r\n$1\r\n1\r\n$-1\r\n"),
            (&["KEYS *"], "*0\r\n"),
            (&["CONFIG get maxmemory"], "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"),
            (&["XINFO STREAM s"], "-ERR no such key\r\n"),
            (&["GET x"], "-MOVED 3999 127.0.0.1:6381\r\n"),
            (&["EVAL return_1 0"], "-my own error\r\n"),
            (&["secret 1"], "-ERR unknown command 'secret', with args\r\n"),
            (&["p@ss 1"], "-ERR unknown command 'p@ss'\r\n"),
            (&["SCAN 0"], "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"),
        ],
        &[
            "SET",
            "GET",
            "GET",
            "LPUSH",
            "GET WRONGTYPE",
            "MGET",
            "KEYS",
            "CONFIG GET",
            "XINFO STREAM ERR",
            "GET MOVED",
            "EVAL _OTHER",
            "redis ERR",
            "redis ERR",
            "SCAN",
        ],
    );
}

#[test]
fn times_are_of_each_command() {
    let mut talk = talk(Role::Client, true);
    let both = [command("SET a 1"), command("GET a")].concat();
    let (first, second) = both.as_bytes().split_at(20);
    talk.bytes(Direction::Sent, first);
    talk.bytes(Direction::Sent, second);
    talk.bytes(Direction::Received, b"+O");
    talk.bytes(Direction::Received, b"K\r\n$1");
    talk.bytes(Direction::Received, b"\r\n1\r\n");
    // A client's begin with the entry of the call, five before its return.
    assert_eq!(talk.text(), "client redis SET @5..40\nclient redis GET @15..50");
    assert_eq!(talk.heard.exchanges[0].first_byte_ns, Some(30));
    assert_eq!(talk.heard.exchanges[1].first_byte_ns, Some(40));
    assert_eq!(talk.parser.memory() - talk.parser.memory().min(2000), 0);
}

#[test]
fn answers_of_every_type() {
    let all = [
        "+simple\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.14e-5\r\n",
        ",-inf\r\n",
        "(-3492890328409238509324850943850943825024385\r\n",
        "$5\r\nhe\r\no\r\n",
        "=8\r\ntxt:some\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:-2\r\n",
        "~2\r\n+a\r\n#f\r\n",
        "*3\r\n*2\r\n:1\r\n:2\r\n*0\r\n*-1\r\n",
        "$?\r\n;4\r\nfour\r\n;1\r\nx\r\n;0\r\n",
        "*?\r\n:1\r\n*?\r\n.\r\n$?\r\n;0\r\n.\r\n",
        "%?\r\n+a\r\n:1\r\n.\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
        "*2\r\n|1\r\n+k\r\n*2\r\n:1\r\n:2\r\n:5\r\n:6\r\n",
        "|0\r\n+x\r\n",
    ];
    for answer in all {
        check(&[(&["GET a"], answer), (&["PING"], "+PONG\r\n")], &["GET", "PING"]);
    }
    check(&[(&["EVAL x 0"], "!21\r\nSYNTAX invalid syntax\r\n")], &["EVAL _OTHER"]);
    check(
        &[(&["GET a", "PING"], ">2\r\n+invalidate\r\n*1\r\n+a\r\n+x\r\n+y\r\n")],
        &["GET", "PING"],
    );
    let deep = "*1\r\n".repeat(60) + ":1\r\n";
    check(&[(&["EVAL x 0"], &deep)], &["EVAL"]);
}

#[test]
fn any_cut_gives_the_same() {
    let asked =
        [command("SET key value"), "PING\r\n".to_owned(), command("XREAD BLOCK 5 STREAMS s 0")]
            .concat();
    let said = "+OK\r\n+PONG\r\n*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    for of_asked in 0..=asked.len() {
        let mut talk = talk(Role::Server, true);
        let (first, second) = asked.as_bytes().split_at(of_asked);
        talk.bytes(Direction::Received, first);
        talk.bytes(Direction::Received, second);
        let (first, second) = said.as_bytes().split_at(of_asked.min(said.len()));
        talk.bytes(Direction::Sent, first);
        talk.bytes(Direction::Sent, second);
        let heard: Vec<String> = talk.heard.lines.iter().map(|line| without_times(line)).collect();
        assert_eq!(heard, ["server redis SET", "server redis PING", "server redis XREAD"]);
    }
    let mut talk = talk(Role::Server, true);
    asked.as_bytes().chunks(1).for_each(|byte| talk.bytes(Direction::Received, byte));
    said.as_bytes().chunks(1).for_each(|byte| talk.bytes(Direction::Sent, byte));
    assert_eq!(talk.heard.exchanges.len(), 3, "{}", talk.text());
}

#[test]
fn transactions_are_calls_and_exec_has_their_number() {
    let turns: &[(&[&str], &str)] = &[
        (&["MULTI"], "+OK\r\n"),
        (&["SET a 1", "BLPOP l 0"], "+QUEUED\r\n+QUEUED\r\n"),
        (&["SET"], "-ERR wrong number of arguments for 'set' command\r\n"),
        (&["EXEC"], "-EXECABORT Transaction discarded\r\n"),
        (
            &["MULTI", "SET a 1", "INCR a", "EXEC"],
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:2\r\n",
        ),
        (&["MULTI", "GET a", "DISCARD"], "+OK\r\n+QUEUED\r\n+OK\r\n"),
        (&["MULTI", "EXEC"], "+OK\r\n*-1\r\n"),
    ];
    let talk = run(turns);
    let batches: Vec<_> = calls(&talk)
        .into_iter()
        .filter(|call| &*call.statement.operation == "EXEC")
        .map(|call| (call.batch, call.error_type().unwrap_or("-").to_owned()))
        .collect();
    let expected =
        [(Some(2), "EXECABORT".to_owned()), (Some(2), "-".to_owned()), (Some(0), "-".to_owned())];
    assert_eq!(batches, expected);
    assert_eq!(talk.heard.exchanges.len(), 14);
    assert!(calls(&talk).iter().all(|call| !call.waits), "a queued BLPOP does not wait");
}

#[test]
fn what_waits_says_so() {
    let turns: &[(&[&str], &str)] = &[
        (&["BLPOP l 1"], "*-1\r\n"),
        (&["XREAD COUNT 2 BLOCK 100 STREAMS s $"], "*-1\r\n"),
        (&["XREADGROUP GROUP g c STREAMS BLOCK >"], "*-1\r\n"),
        (&["xread streams s 0"], "*-1\r\n"),
        (&["WAIT 1 100"], ":0\r\n"),
        (&["LPOP l"], "$-1\r\n"),
    ];
    let talk = run(turns);
    let waits: Vec<bool> = calls(&talk).iter().map(|call| call.waits).collect();
    assert_eq!(waits, [true, true, false, false, true, false]);
}

#[test]
fn subscriptions_resp2() {
    check(
        &[
            (
                &["SUBSCRIBE a b"],
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
            ),
            (&[], "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"),
            (&["PSUBSCRIBE *"], "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:3\r\n"),
            (&[], "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$5\r\nhello\r\n"),
            (
                &["PING"],
                "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n",
            ),
            (
                &["UNSUBSCRIBE"],
                "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n",
            ),
            (&["PUNSUBSCRIBE", "PUNSUBSCRIBE"], "*3\r\n$12\r\npunsubscribe\r\n$1\r\n*\r\n:0\r\n"),
            (&[], "*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n"),
            (&["LRANGE l 0 2"], "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
            (&["SUBSCRIBE"], "-ERR wrong number of arguments\r\n"),
            (&["GET a"], "$-1\r\n"),
        ],
        &[
            "SUBSCRIBE",
            "PSUBSCRIBE",
            "PING",
            "UNSUBSCRIBE",
            "PUNSUBSCRIBE",
            "PUNSUBSCRIBE",
            "LRANGE",
            "SUBSCRIBE ERR",
            "GET",
        ],
    );
}

/// Of an older connection it is not known whether there are subscriptions.
#[test]
fn what_may_be_a_message_is_none_where_it_cannot_be() {
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n";
    let mut older = talk(Role::Server, false);
    ask(&mut older, &["LRANGE l 0 2"]);
    say(&mut older, message);
    ask(&mut older, &["PING"]);
    say(&mut older, message);
    say(&mut older, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert_eq!(older.text(), "server redis LRANGE @10..20\nserver redis PING @30..50");
}

#[test]
fn subscriptions_resp3() {
    check(
        &[
            (&["HELLO 3 AUTH user hush"], "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
            (
                &["SUBSCRIBE a b", "GET x"],
                ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
            ),
            (&[], ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"),
            (&[], "_\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"),
            (&["UNSUBSCRIBE a"], ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n"),
            (&["PUBLISH b x"], ">3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\nx\r\n:1\r\n"),
        ],
        &["HELLO", "SUBSCRIBE", "GET", "UNSUBSCRIBE", "PUBLISH"],
    );
}

#[test]
fn answers_that_are_switched_off() {
    check(
        &[
            (&["CLIENT REPLY OFF", "SET a 1", "CLIENT REPLY SKIP", "GET a"], ""),
            (&["CLIENT REPLY ON", "GET a"], "+OK\r\n$1\r\n1\r\n"),
            (&["CLIENT REPLY SKIP", "SET b 1", "GET b"], "$1\r\n1\r\n"),
            (&["client reply off", "GET a", "RESET", "PING"], "+RESET\r\n+PONG\r\n"),
        ],
        &[
            "CLIENT REPLY [duration_untrusted]",
            "SET [duration_untrusted]",
            "CLIENT REPLY [duration_untrusted]",
            "GET [duration_untrusted]",
            "CLIENT REPLY",
            "GET",
            "CLIENT REPLY [duration_untrusted]",
            "SET [duration_untrusted]",
            "GET",
            "CLIENT REPLY [duration_untrusted]",
            "GET [duration_untrusted]",
            "RESET",
            "PING",
        ],
    );
}

#[test]
fn the_database_is_known_from_the_start_or_once_chosen() {
    let turns: &[(&[&str], &str)] = &[
        (&["GET a"], "$-1\r\n"),
        (&["SELECT 3", "GET a", "SELECT 99", "GET a"], "+OK\r\n$-1\r\n-ERR x\r\n$-1\r\n"),
        (&["RESET", "GET a"], "+RESET\r\n$-1\r\n"),
    ];
    let of = |talk: &Redises| -> Vec<String> {
        calls(talk).iter().map(|call| call.namespace.as_deref().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(of(&run(turns)), ["0", "3", "3", "3", "3", "0", "0"]);
    let mut older = talk(Role::Server, false);
    ask(&mut older, &["GET a", "SELECT 1", "GET a"]);
    say(&mut older, "$-1\r\n+OK\r\n$-1\r\n");
    assert_eq!(of(&older), ["-", "1", "1"]);
}

#[test]
fn recognised_by_a_whole_command() {
    let opening = |bytes: &'static [u8], from_start: bool, remote_port: u16| Opening {
        bytes,
        whole: true,
        direction: Direction::Sent,
        from_start,
        local_port: 40_000,
        remote_port,
    };
    let is = |bytes, from_start, port| recognise(&opening(bytes, from_start, port));
    let client = Recognition::Yes(Role::Client);
    assert_eq!(is(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", false, 7000), client);
    assert_eq!(is(b"*1\r\n$4\r\nping\r\n", false, 7000), client);
    assert_eq!(is(b"*2\r\n$9\r\nFT.SEARCH\r\n$", false, 7000), client);
    assert_eq!(is(b"PING\r\n", true, 7000), client);
    assert_eq!(is(b"PING\r\n", false, 6379), client);
    assert_eq!(is(b"PING\r\n", false, 4222), Recognition::No);
    for bytes in [
        &b"*2\r\n$5\r\nhowdy\r\n$5\r\nworld\r\n"[..],
        b"*2\r\n:1\r\n:2\r\n",
        b"*0\r\n",
        b"+OK\r\n",
        b"$3\r\nGET\r\n",
        b"*2\r\n$3\r\nGET\r\nx",
        b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"\x00\x01",
    ] {
        assert_eq!(is(bytes, false, 7000), Recognition::No, "{bytes:?}");
    }
    let whole = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    for cut in 1..whole.len() {
        let expected = if cut < 14 { Recognition::More } else { client };
        assert_eq!(is(&whole[..cut], false, 7000), expected, "{cut}");
    }
    let at_server = Opening { local_port: 6379, remote_port: 40_000, ..opening(whole, false, 0) };
    assert_eq!(recognise(&at_server), Recognition::No, "a server does not ask");
}

#[test]
fn an_answer_taken_for_a_request_is_found_out() {
    let mut talk = talk(Role::Client, false);
    // The answer to LRANGE of a list of words.
    talk.bytes(Direction::Sent, command("get info").as_bytes());
    talk.bytes(Direction::Received, command("SET a 1").as_bytes());
    talk.bytes(Direction::Sent, b"+OK\r\n");
    assert_eq!(talk.text(), "server redis SET @20..30");
}

#[test]
fn other_protocols_are_found_out() {
    let mut talk = talk(Role::Server, true);
    talk.bytes(Direction::Received, command("GET a").as_bytes());
    talk.bytes(Direction::Sent, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(talk.parser.is_wrong());
    assert_eq!(talk.text(), "? malformed_message");
}

#[test]
fn texts_have_no_arguments() {
    let limits = Limits { query_text: 100, ..MS };
    let mut talk = Talk::new(Text::new(Role::Server, limits, true, Redis::new(limits, true)));
    ask(&mut talk, &["SET secret hush", "CONFIG SET requirepass hush", "AUTH me hush", "PING"]);
    say(&mut talk, "+OK\r\n+OK\r\n+OK\r\n+PONG\r\n");
    let texts: Vec<_> =
        calls(&talk).iter().map(|call| call.statement.text.clone().unwrap()).collect();
    assert_eq!(
        texts.iter().map(|text| &**text).collect::<Vec<_>>(),
        ["SET ? ?", "CONFIG SET ? ?", "AUTH ? ?", "PING"]
    );
    assert!(!format!("{talk:?}").contains("hush") && !format!("{talk:?}").contains("secret"));
}
