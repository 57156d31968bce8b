//! Talks of clients and servers, and what comes of them. The answers are those of memcached 1.6.

use super::*;
use crate::event::Direction;
use crate::protocol::testing::{Random, Talk};
use crate::protocol::{Call, End, Piece};

const LIMITS: Limits = Limits { head_bytes: 1024, in_flight: 1024, query_text: 100 };

type Talking = Talk<Text<Memcached>>;

fn talk(role: Role, from_start: bool) -> Talking {
    Talk::new(Text::new(role, LIMITS, from_start, Memcached::new(LIMITS)))
}

/// Requests and answers in turn, from the start of a connection, at the server.
fn run(turns: &[(&str, &str)]) -> Talking {
    let mut talk = talk(Role::Server, true);
    for (requests, answers) in turns {
        for (direction, text) in [(Direction::Received, requests), (Direction::Sent, answers)] {
            if !text.is_empty() {
                talk.bytes(direction, text.replace('|', "\r\n").as_bytes());
            }
        }
    }
    talk
}

/// As `run`, with `|` for the ends of lines; what was heard, without times, and the values returned.
fn check(turns: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(heard(&run(turns)), expected);
}

fn heard(talk: &Talking) -> Vec<String> {
    let mut calls = talk.heard.exchanges.iter();
    let line = |line: &String| {
        let rows = (!line.starts_with('?'))
            .then(|| calls.next().and_then(|exchange| call(exchange).rows))
            .flatten()
            .map(|rows| format!(" ={rows}"));
        let words = line.split(' ').filter(|word| !word.starts_with('@'));
        let text = words.collect::<Vec<_>>().join(" ");
        let text = text.strip_prefix("server memcached ").unwrap_or(&text).to_owned();
        text + &rows.unwrap_or_default()
    };
    talk.heard.lines.iter().map(line).collect()
}

fn call(exchange: &crate::protocol::Exchange) -> &DatabaseCall {
    match &exchange.call {
        Call::Database(call) => call,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_of_the_text_protocol() {
    check(
        &[
            ("set a 0 0 2|hi|", "STORED|"),
            ("add a 0 0 2|ho|", "NOT_STORED|"),
            ("replace a 0 0 1|x|append a 0 0 1|y|", "STORED|STORED|"),
            ("prepend a 0 -1 0||", "STORED|"),
            ("cas a 0 0 2 7|ab|", "EXISTS|"),
            ("get a|", "VALUE a 0 2|hi|END|"),
            ("get a b c|gets a|", "VALUE a 0 2|\r\n|VALUE b 0 3|END|END|VALUE a 1 0 99||END|"),
            ("get none|gat 100 a|", "END|END|"),
            ("incr n 1|decr n 2|incr x 1|", "5|3|NOT_FOUND|"),
            ("incr a 1|", "CLIENT_ERROR cannot increment or decrement non-numeric value|"),
            ("delete a|touch a 100|", "DELETED|TOUCHED|"),
            ("version|verbosity 1|flush_all 10|", "VERSION 1.6.18|OK|OK|"),
            ("stats|", "STAT pid 1|STAT uptime 2|END|"),
            ("stats reset|stats items|", "RESET|END|"),
            ("lru_crawler metadump all|lru_crawler crawl all|", "key=b exp=-1|END|OK|"),
            ("stats cachedump 1 10|", "ITEM b [1 b; 0 s]|END|"),
            ("foo|set a|", "ERROR|ERROR|"),
            ("set b 0 0 4|abcd|", "SERVER_ERROR out of memory storing object|"),
        ],
        &[
            "set",
            "add",
            "replace",
            "append",
            "prepend",
            "cas",
            "get =1",
            "get =2",
            "gets =1",
            "get =0",
            "gat =0",
            "incr",
            "decr",
            "incr",
            "incr CLIENT_ERROR",
            "delete",
            "touch",
            "version",
            "verbosity",
            "flush_all",
            "stats",
            "stats",
            "stats",
            "lru_crawler",
            "lru_crawler",
            "stats",
            "memcached ERROR",
            "memcached ERROR",
            "set SERVER_ERROR",
        ],
    );
}

#[test]
fn what_is_not_answered_by_its_own_wish() {
    let unseen = "[duration_untrusted]";
    let expected: Vec<String> = [
        format!("set {unseen}"),
        format!("delete {unseen}"),
        format!("incr {unseen}"),
        format!("flush_all {unseen}"),
        "get =0".to_owned(),
        format!("quit {unseen}"),
    ]
    .into();
    let mut talk = run(&[
        (
            "set a 0 0 7 noreply|noreply|delete a noreply|incr a 1 noreply|flush_all noreply|get a|",
            "END|",
        ),
        ("quit|", ""),
    ]);
    talk.end(End::Both { reset: false });
    assert_eq!(heard(&talk), expected);
}

#[test]
fn commands_of_the_meta_protocol() {
    check(
        &[
            ("mg a v|mg a|mg a t|mg none v|", "VA 2|hi|HD|HD t-1|EN|"),
            ("ms a 2|hi|ms a 2 ME|hi|ms a 2 C5|ho|", "HD|NS|EX|"),
            ("md a|md none|ma n|ma n v|ma none|", "HD|NF|HD|VA 1|7|NF|"),
            ("mn|me a|me none|", "MN|ME a exp=-1 la=2|EN|"),
            ("mg|", "ERROR|"),
            ("ma a|", "CLIENT_ERROR cannot increment or decrement non-numeric value|"),
        ],
        &[
            "mg =1",
            "mg =0",
            "mg =0",
            "mg =0",
            "ms",
            "ms",
            "ms",
            "md",
            "md",
            "ma",
            "ma",
            "ma",
            "mn",
            "me",
            "me",
            "memcached ERROR",
            "ma CLIENT_ERROR",
        ],
    );
}

#[test]
fn quiet_commands_are_answered_or_not() {
    let unseen = "[duration_untrusted]";
    // By their order: what cannot be theirs is not.
    check(
        &[("mg a v q|ms b 1 q|x|md c q|mg d v q|mn|", "VA 2|hi|VA 1|d|MN|"), ("mg a|", "HD|")],
        &["mg =1", &format!("ms {unseen}"), &format!("md {unseen}"), "mg =1", "mn", "mg =0"],
    );
    // By their marks.
    check(
        &[("mg a v q O1|mg b v q O2|mg c v q O3|mn|", "VA 2 O2|hi|MN|")],
        &[&format!("mg {unseen}"), "mg =1", &format!("mg {unseen}"), "mn"],
    );
}

#[test]
fn any_cut_gives_the_same() {
    let asked = b"set key 0 0 6\r\nab\r\ncd\r\nget key other\r\nmg key v O7\r\n";
    let said = b"STORED\r\nVALUE key 0 6\r\nab\r\ncd\r\nEND\r\nVA 6 O7\r\nEND\r\n1\r\n";
    for cut in 0..=said.len() {
        let mut talk = talk(Role::Server, true);
        let (first, second) = asked.split_at(cut.min(asked.len()));
        talk.bytes(Direction::Received, first);
        talk.bytes(Direction::Received, second);
        let (first, second) = said.split_at(cut);
        talk.bytes(Direction::Sent, first);
        talk.bytes(Direction::Sent, second);
        assert_eq!(heard(&talk), ["set", "get =1", "mg =1"]);
    }
    let mut talk = talk(Role::Server, true);
    asked.chunks(1).for_each(|byte| talk.bytes(Direction::Received, byte));
    said.chunks(1).for_each(|byte| talk.bytes(Direction::Sent, byte));
    assert_eq!(heard(&talk), ["set", "get =1", "mg =1"]);
}

#[test]
fn long_values_are_passed_over() {
    let mut talk = talk(Role::Client, true);
    let head = b"set a 0 0 1000000\r\nxxxx";
    talk.pieces(
        Direction::Sent,
        &[Piece::Bytes(head), Piece::Skipped(999_990), Piece::Bytes(b"xxxxxx\r\n")],
    );
    talk.bytes(Direction::Received, b"STORED\r\n");
    talk.bytes(Direction::Sent, b"get a b\r\n");
    talk.bytes(Direction::Received, b"VALUE a 0 1000000\r\nxx");
    talk.pieces(Direction::Received, &[Piece::Skipped(999_998), Piece::Bytes(b"\r\nEND\r\n")]);
    assert_eq!(talk.text(), "client memcached set @5..20\nclient memcached get @25..50");
}

#[test]
fn a_value_may_be_refused_before_it_was_read() {
    check(
        &[
            ("set a 0 0 10|ab", "SERVER_ERROR object too large for cache|"),
            ("cdefghij|get a|", "END|"),
        ],
        &["set SERVER_ERROR", "get =0"],
    );
}

#[test]
fn many_keys_are_more_than_are_kept() {
    let keys = " some-key".repeat(300);
    check(&[(&format!("get{keys}|"), "END|")], &["get =0"]);
}

#[test]
fn texts_have_no_arguments() {
    let talk = run(&[("set secret 0 0 4|hush|get secret|", "STORED|END|")]);
    let texts: Vec<_> = talk
        .heard
        .exchanges
        .iter()
        .map(|exchange| call(exchange).statement.text.as_deref().unwrap_or_default())
        .collect();
    assert_eq!(texts, ["set ? ? ? ?", "get ?"]);
    assert!(!format!("{talk:?}").contains("hush") && !format!("{talk:?}").contains("secret"));
}

#[test]
fn recognised_by_a_whole_line() {
    let is = |bytes: &str, from_start: bool, local_port: u16| {
        let bytes = bytes.replace('|', "\r\n");
        recognise(&Opening {
            bytes: bytes.as_bytes(),
            whole: true,
            direction: Direction::Received,
            from_start,
            local_port,
            remote_port: 40_000,
        })
    };
    let server = Recognition::Yes(Role::Server);
    for line in
        ["get a|", "gets a b|", "set a 0 0 5|hello|", "incr a 1|", "mg a v|", "ms a 5|", "gat 1 a|"]
    {
        assert_eq!(is(line, false, 7000), server, "{line}");
    }
    for line in ["delete a|", "version|", "stats|", "flush_all 5|", "touch a 1|", "mn|"] {
        assert_eq!(is(line, false, 7000), Recognition::No, "{line}");
        assert_eq!(is(line, true, 7000), server, "{line}");
        assert_eq!(is(line, false, 11211), server, "{line}");
    }
    for line in [
        "GET / HTTP/1.1|",
        "set a b c d|",
        "get|",
        "set a 0 0|",
        "STORED|",
        "get a\n",
        "get \x01|",
        "incr a|",
    ] {
        assert_eq!(is(line, true, 11211), Recognition::No, "{line}");
    }
    for line in ["g", "get", "get a", "set a 0 0 5\r"] {
        assert_eq!(is(line, false, 7000), Recognition::More, "{line}");
    }
}

#[test]
fn other_protocols_are_found_out() {
    let talk = run(&[("get a|", "220 mail.example ESMTP|")]);
    assert!(talk.parser.is_wrong());
    assert_eq!(talk.text(), "? malformed_message");
    let talk = run(&[("get a|hello there|", "")]);
    assert!(talk.parser.is_wrong());
}

#[test]
fn what_is_logged_is_not_read() {
    let talk = run(&[("get a|watch|", "END|OK|ts=1 gid=1 type=item_get|")]);
    assert!(talk.parser.is_over() && !talk.parser.is_wrong());
    assert_eq!(heard(&talk), ["get =0", "watch"]);
}

/// Streams of requests and answers, of which parts are changed, cut and left out.
#[test]
fn hostile_bytes() {
    let requests = [
        "get a|",
        "set a 0 0 2|hi|",
        "set a 0 0 2 noreply|hi|",
        "mg a v q|",
        "mg a v q O1|",
        "mn|",
        "ms a 2 q|hi|",
        "stats|",
        "incr a 1|",
        "foo|",
        "get a b c|",
        "touch a 1|",
    ];
    let answers = [
        "END|",
        "STORED|",
        "VALUE a 0 2|hi|END|",
        "VA 2|hi|",
        "VA 2 O1|hi|",
        "MN|",
        "HD|",
        "STAT a b|END|",
        "5|",
        "ERROR|",
        "VALUE a 0 4294967296|",
        "NOT_FOUND|",
    ];
    let mut random = Random(5);
    let mut bytes = 0;
    while bytes < 10_000_000 {
        let role = if random.below(2) == 0 { Role::Server } else { Role::Client };
        let mut talk = talk(role, random.below(2) == 0);
        for _ in 0..random.below(300) {
            if talk.parser.is_over() {
                break;
            }
            let is_request = random.below(2) == 0;
            let mut part: Vec<u8> = (0..random.below(60))
                .flat_map(|_| match random.below(80) {
                    0 => (0..random.below(100))
                        .map(|_| u8::try_from(random.below(256)).unwrap())
                        .collect(),
                    _ if is_request => {
                        requests[random.below(requests.len())].replace('|', "\r\n").into_bytes()
                    }
                    _ => answers[random.below(answers.len())].replace('|', "\r\n").into_bytes(),
                })
                .collect();
            if !part.is_empty() && random.below(4) == 0 {
                let place = random.below(part.len());
                part[place] = u8::try_from(random.below(256)).unwrap();
            }
            bytes += part.len();
            let (first, second) = part.split_at(random.below(part.len() + 1));
            let gap = match random.below(20) {
                0 => Piece::Skipped(random.below(100) as u64),
                1 => Piece::Lost(Some(random.below(100) as u64)),
                2 => Piece::Lost(None),
                _ => Piece::Skipped(0),
            };
            let requests = role.request_direction();
            let direction = if is_request == (random.below(20) > 0) {
                requests
            } else {
                role.opposite().request_direction()
            };
            talk.pieces(direction, &[Piece::Bytes(first), gap, Piece::Bytes(second)]);
            assert!(talk.parser.memory() < 400_000, "{}", talk.parser.memory());
            match random.below(200) {
                0 => talk.parser.mark_lossy(),
                1 => talk.parser.abandon(talk.now, &mut talk.heard),
                2 => talk.parser.settle(u64::MAX, &mut talk.heard),
                3 => talk.end(End::Received),
                _ => {}
            }
        }
        talk.end(End::Both { reset: random.below(2) == 0 });
        assert!(talk.parser.is_over() && !talk.parser.is_waiting());
        let ends = |exchange: &crate::protocol::Exchange| exchange.end_ns >= exchange.start_ns;
        assert!(talk.heard.exchanges.iter().all(ends));
    }
}

#[test]
fn requests_in_flight_are_shown_but_for_those_that_need_no_answer() {
    let mut talk = talk(Role::Server, true);
    talk.bytes(Direction::Received, b"get a\r\nincr n 1\r\nmg b q\r\nset c 0 0 1 noreply\r\nx\r\n");
    let shown = talk.in_flight();
    assert_eq!(shown.lines, ["server memcached get @10..10", "server memcached incr @10..10"]);
    talk.bytes(Direction::Sent, b"VALUE a 0 1\r\nx\r\nEND\r\n");
    assert_eq!(talk.in_flight().ids(), shown.ids()[1..]);
    talk.bytes(Direction::Sent, b"5\r\n");
    assert!(talk.in_flight().lines.is_empty());
    let ended: Vec<_> = talk.heard.ids().into_iter().filter(|id| id.sequence > 0).collect();
    assert_eq!(ended, shown.ids());
}
