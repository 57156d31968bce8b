//! Conversations that were captured whole.

use super::*;

#[test]
fn keep_alive() {
    check(
        "> GET /a?secret=1 HTTP/1.1|Host: h||
         < HTTP/1.1 200 OK|Content-Length: 5||hello
         > GET /b HTTP/1.1|Host: h||
         < HTTP/1.1 404 Not Found|Content-Length: 0||",
        "GET /a 200 1/2/2 0:5
         GET /b 404 3/4/4 0:0",
    );
}

#[test]
fn parts_of_messages() {
    check(
        "> G
         > ET /a HT
         > TP/1.1|Host: h|
         > |
         < HTTP/1.1 200
         <  OK|Content-Len
         < gth: 5||he
         < llo",
        "GET /a 200 1/5/8 0:5",
    );
    check(
        "> POST /a HTTP/1.1|Content-Length: 10||01234
         > 56789
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "POST /a 200 1/3/3 10:0",
    );
}

#[test]
fn pipelining() {
    check(
        "> GET /1 HTTP/1.1||GET /2 HTTP/1.1||POST /3 HTTP/1.1|Content-Length: 2||xxGET /4 HTTP/1.1||GET
         >  /5 HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 1||1HTTP/1.1 201 OK|Content-Length: 0||HTTP/1.1 202 OK|Content-Length: 0||
         < HTTP/1.1 203 OK|Content-Length: 0||HTTP/1.1 204 OK||",
        "GET /1 200 1/3/3 0:1
         GET /2 201 1/3/3 0:0
         POST /3 202 1/3/3 2:0
         GET /4 203 1/4/4 0:0
         GET /5 204 1/4/4 0:0",
    );
}

#[test]
fn chunked_both_ways() {
    check(
        "> POST /a HTTP/1.1|Transfer-Encoding: chunked||5;x=y|hello|
         > 3|abc|0|T: v||GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||4|abcd|
         < 0|A: b||HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||",
        "POST /a 200 1/3/4 8:4
         GET /b 200 2/4/4 0:0",
    );
}

#[test]
fn responses_without_a_body() {
    check(
        "> HEAD /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 500||
         > GET /b HTTP/1.1||
         < HTTP/1.1 304 Not Modified|Content-Length: 500||
         > DELETE /c HTTP/1.1||
         < HTTP/1.1 204 No Content||
         > HEAD /d HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||
         > GET /e HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 1||e",
        "HEAD /a 200 1/2/2 0:0
         GET /b 304 3/4/4 0:0
         DELETE /c 204 5/6/6 0:0
         HEAD /d 200 7/8/8 0:0
         GET /e 200 9/10/10 0:1",
    );
}

#[test]
fn interim_responses() {
    check(
        "> PUT /a HTTP/1.1|Expect: 100-continue|Content-Length: 4||
         < HTTP/1.1 100 Continue||
         > body
         < HTTP/1.1 103 Early Hints|Link: x||HTTP/1.1 201 Created|Content-Length: 0||",
        "PUT /a 201 1/4/4 4:0",
    );
    // Refused: the body never comes.
    check(
        "> PUT /a HTTP/1.1|Expect: 100-continue|Content-Length: 400||
         < HTTP/1.1 417 No|Content-Length: 0||
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "PUT /a 417 1/2/2 400:0
         GET /b 200 3/4/4 0:0",
    );
}

#[test]
fn closing_ends_a_body() {
    check(
        "> GET /a HTTP/1.0||
         < HTTP/1.0 200 OK||some
         <  body
         ! sent
         ! close",
        "GET /a 200 1/2/3 0:9",
    );
    check(
        "> GET /a HTTP/1.0||
         < HTTP/1.0 200 OK||some
         ! reset",
        "GET /a 200 1/2/3 0:? connection_reset",
    );
    check(
        "> GET /a HTTP/1.0|Connection: keep-alive||
         < HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 1||x
         > GET /b HTTP/1.0||
         < HTTP/1.0 200 OK|Content-Length: 1||x
         ! close",
        "GET /a 200 1/2/2 0:1
         GET /b 200 3/4/4 0:1",
    );
}

#[test]
fn upgrades_and_tunnels() {
    check(
        "> GET /ws HTTP/1.1|Upgrade: websocket|Connection: upgrade||
         < HTTP/1.1 101 Switching Protocols|Upgrade: websocket||frames
         > more frames
         ! reset",
        "GET /ws 101 1/2/2 0:?",
    );
    check(
        "> CONNECT u:p@example.com:443 HTTP/1.1|Host: other||
         < HTTP/1.1 200 Established||
         > GET / HTTP/1.1||
         ! close",
        "CONNECT  200 1/2/2 0:?",
    );
    check(
        "> CONNECT example.com:443 HTTP/1.1||
         < HTTP/1.1 407 Proxy Authentication Required|Content-Length: 0||
         > GET / HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "CONNECT  407 1/2/2 0:0
         GET / 200 3/4/4 0:0",
    );
    let seen = run(Role::Server, "> CONNECT a:1 HTTP/1.1||\n< HTTP/1.1 200 OK||");
    assert_eq!(seen.advice, [Advice::Ignore]);
    let seen = run(Role::Client, "> PRI * HTTP/2.0||SM||\n< binary");
    assert_eq!((seen.advice, seen.problems), (vec![Advice::Ignore], vec![]));
}

#[test]
fn targets() {
    check(
        "> OPTIONS * HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||
         > GET http://u:p@h:8/x/y?q#f HTTP/1.1|Host: other||
         < HTTP/1.1 200 OK|Content-Length: 0||
         > GET http://h?q HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||
         > PURGE /a?q HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "OPTIONS * 200 1/2/2 0:0
         GET /x/y 200 3/4/4 0:0
         GET / 200 5/6/6 0:0
         PURGE /a 200 7/8/8 0:0",
    );
}

#[test]
fn bare_line_feeds_and_empty_lines() {
    let text = "> |\n> ||GET /a HTTP/1.1{LF}Host: h{LF}{LF}\n< HTTP/1.1 200 OK{LF}Content-Length: 0{LF}{LF}";
    let mut seen = Seen { timed: true, ..Seen::default() };
    let mut parser = Http1::new(Role::Server, Limits::default());
    for (number, line) in text.lines().enumerate() {
        let direction = if line.starts_with('>') { Direction::Received } else { Direction::Sent };
        let bytes = line[2..].replace('|', "\r\n").replace("{LF}", "\n");
        let at = at(number as u64 + 1);
        parser.piece(direction, Piece::Bytes(bytes.as_bytes()), &at, &mut seen);
    }
    assert_eq!(seen.exchanges, ["GET /a 200 2/3/3 0:0"]);
    assert!(seen.problems.is_empty());
}

#[test]
fn early_responses() {
    check(
        "> POST /a HTTP/1.1|Content-Length: 10||0123
         < HTTP/1.1 413 Too Large|Content-Length: 0||
         > 456789
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "POST /a 413 1/2/2 10:0
         GET /b 200 4/5/5 0:0",
    );
}

#[test]
fn connections_that_end_too_soon() {
    check("> GET /a HTTP/1.1||\n! reset", "GET /a - 1/0/2 0:? no_response connection_reset");
    check(
        "> GET /a HTTP/1.1||\n! received\n! sent",
        "GET /a - 1/0/3 0:? no_response connection_closed",
    );
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 10||0123
         ! reset",
        "GET /a 200 1/2/3 0:? connection_reset",
    );
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello|
         ! close",
        "GET /a 200 1/2/3 0:? connection_closed",
    );
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 20
         ! close",
        "GET /a - 1/0/3 0:? no_response connection_closed",
    );
    check("> GET /a HT\n! close", "? malformed_request");
    check("! close", "");
    check("> |\n! close", "");
    // Half-closed by the client, answered all the same.
    check(
        "> GET /a HTTP/1.1||
         ! received
         < HTTP/1.1 200 OK|Content-Length: 1||x
         ! close",
        "GET /a 200 1/3/3 0:1",
    );
}

#[test]
fn faulty_lengths() {
    check(
        "> POST /a HTTP/1.1|Content-Length: 4|Content-Length: 5||0123
         < HTTP/1.1 400 Bad Request|Content-Length: 0||
         ! close",
        "POST /a 400 1/2/2 ?:0
         ? malformed_request",
    );
    check(
        "> POST /a HTTP/1.1|Content-Length: 4|Transfer-Encoding: chunked||0||
         < HTTP/1.1 200 OK|Content-Length: 2, 2||ok
         ! close",
        "POST /a 200 1/2/2 0:2",
    );
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: x||ok
         < more
         ! close",
        "GET /a 200 1/2/3 0:?
         ? malformed_response",
    );
}

#[test]
fn responses_that_nobody_asked_for() {
    check(
        "< HTTP/1.1 200 OK|Content-Length: 5||
         < hello
         > GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 3/4/4 0:0
         ? response_without_request",
    );
    // It answered HEAD: the length is that of no body.
    check(
        "< HTTP/1.1 200 OK|Content-Length: 500||
         > GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 2/3/3 0:0
         ? response_without_request",
    );
}

#[test]
fn a_response_record_may_overtake_its_request() {
    let mut seen = Seen { timed: true, ..Seen::default() };
    let mut parser = Http1::new(Role::Client, Limits::default());
    let response = Piece::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let request = Piece::Bytes(b"GET /a HTTP/1.1\r\n\r\n");
    parser.piece(Direction::Received, response, &at(5), &mut seen);
    let late = At { exit_ns: 60, turn: true, ..at(4) };
    parser.piece(Direction::Sent, request, &late, &mut seen);
    parser.piece(Direction::Sent, request, &At { turn: true, ..at(7) }, &mut seen);
    parser.piece(Direction::Received, response, &At { turn: true, ..at(8) }, &mut seen);
    assert_eq!(seen.exchanges, ["GET /a 200 4/5/5 0:2", "GET /a 200 7/8/8 0:2"]);
    assert!(seen.problems.is_empty());
}

#[test]
fn times_by_role() {
    struct Times(Vec<(u64, Option<u64>, u64)>);
    impl Sink for Times {
        fn exchange(&mut self, exchange: Exchange) {
            self.0.push((exchange.start_ns, exchange.first_byte_ns, exchange.end_ns));
        }
        fn problem(&mut self, problem: Problem) {
            panic!("{problem:?}");
        }
        fn advice(&mut self, _: Advice) {}
    }
    for (role, start) in [(Role::Server, 15), (Role::Client, 10)] {
        let mut times = Times(Vec::new());
        let mut parser = Http1::new(role, Limits::default());
        let requests = role.request_direction();
        for (number, direction, bytes) in [
            (1, requests, "G"),
            (2, requests, "ET / HTTP/1.1\r\n\r\n"),
            (3, requests.opposite(), "HTTP/1.1 103 Early\r\n\r\n"),
            (4, requests.opposite(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
            (5, requests.opposite(), "ok"),
        ] {
            parser.piece(direction, Piece::Bytes(bytes.as_bytes()), &at(number), &mut times);
        }
        assert_eq!(times.0, [(start, Some(45), 55)]);
    }
}

#[test]
fn what_is_kept_of_a_head() {
    struct Kept(Vec<Exchange>);
    impl Sink for Kept {
        fn exchange(&mut self, exchange: Exchange) {
            self.0.push(exchange);
        }
        fn problem(&mut self, problem: Problem) {
            panic!("{problem:?}");
        }
        fn advice(&mut self, _: Advice) {}
    }
    let mut kept = Kept(Vec::new());
    let mut parser = Http1::new(Role::Server, Limits::default());
    let request = format!(
        "GET /{} HTTP/1.0\r\nHOST: api:80\r\nuser-agent: {}\r\nX: y\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        "é".repeat(600),
        "u".repeat(300)
    );
    parser.piece(Direction::Received, Piece::Bytes(request.as_bytes()), &at(1), &mut kept);
    parser.piece(Direction::Sent, Piece::Bytes(b"HTTP/1.1 204 x\r\n\r\n"), &at(2), &mut kept);
    let Call::Http(call) = &kept.0[0].call else { panic!("no HTTP call") };
    assert_eq!(call.path.len(), 1023);
    assert_eq!(call.host.as_deref(), Some("api:80"));
    assert_eq!(call.user_agent.as_deref().map(str::len), Some(256));
    assert_eq!(call.version_name(), "1.0");
    assert!(kept.0[0].context.unwrap().sampled);
}

#[test]
fn many_headers_and_long_heads() {
    check(
        "> GET /a HTTP/1.1|{A: b|*1000}|
         < HTTP/1.1 200 OK|{A: b|*1000}Content-Length: 0||",
        "GET /a 200 1/2/2 0:0",
    );
    check(
        "> GET /a HTTP/1.1|Host: h|X: {x*70000}
         > {y*70000}||
         < HTTP/1.1 431 Too Large|Content-Length: 0||
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 431 1/3/3 ?:0 truncated
         GET /b 200 4/5/5 0:0
         ? head_too_long",
    );
}

#[test]
fn malformed_input() {
    check(
        "> \u{1}\u{2}\u{3} garbage
         < HTTP/1.1 400 Bad Request|Content-Length: 0||
         > GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 3/4/4 0:0
         ? malformed_request
         ? resynchronised
         ? response_without_request",
    );
    check(
        "> GET /a HTTP/1.1||
         < garbage
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a - 1/0/3 0:? truncated duration_untrusted
         GET /b 200 3/4/4 0:0
         ? malformed_response
         ? resynchronised",
    );
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||zz|
         < more
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 1/2/3 0:? truncated
         GET /b 200 4/5/5 0:0
         ? malformed_chunk",
    );
    let mut text = String::new();
    for _ in 0..8 {
        text.push_str("> GET / HTTP/3.0||\n< HTTP/1.1 400 x|Content-Length: 0||\n> GET\n");
    }
    let seen = run(Role::Server, &text);
    assert!(seen.advice.contains(&Advice::Ignore), "{seen:?}");
}

#[test]
fn more_in_flight_than_is_kept() {
    let mut seen = Seen::default();
    let mut parser = Http1::new(Role::Server, Limits::default());
    let limit = Limits::default().in_flight;
    let count = limit + 10;
    for _ in 0..count {
        let piece = Piece::Bytes(b"GET /a HTTP/1.1\r\n\r\n");
        parser.piece(Direction::Received, piece, &at(1), &mut seen);
    }
    for _ in 0..count {
        let piece = Piece::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        parser.piece(Direction::Sent, piece, &at(2), &mut seen);
    }
    let whole = seen.exchanges.iter().filter(|text| *text == "GET /a 200 0:0").count();
    assert_eq!((seen.exchanges.len(), whole), (count, limit));
    assert_eq!(seen.problems, vec!["too_many_in_flight"; 10]);
    assert!(parser.memory() < 1024, "{}", parser.memory());
}

#[test]
fn advice_for_long_bodies() {
    let seen = run(
        Role::Server,
        "> POST /a HTTP/1.1|Content-Length: 300000||x
         < HTTP/1.1 200 OK|Content-Length: 262144||",
    );
    assert_eq!(seen.advice, [Advice::SkipUntil(Direction::Received, 300_044)]);
}

#[test]
fn calls_of_remote_procedures() {
    #[derive(Default)]
    struct Calls(Vec<String>);
    impl Sink for Calls {
        fn exchange(&mut self, exchange: Exchange) {
            let Call::Grpc(call) = exchange.call else { return self.0.push("http".into()) };
            let status = call.status.map_or("-", |status| status.name());
            self.0.push(format!("{:?} {} {status}", call.transport, call.method));
        }
        fn problem(&mut self, _: Problem) {}
        fn advice(&mut self, _: Advice) {}
    }
    let mut calls = Calls::default();
    let mut parser = Http1::new(Role::Server, Limits::default());
    let cases = [
        ("Content-Type: application/grpc-web+proto", "200 OK", ""),
        ("Content-Type: application/grpc-web+proto", "200 OK", "grpc-status: 5\r\n"),
        ("content-type: application/grpc-web-text", "503 x", ""),
        ("Connect-Protocol-Version: 1\r\nContent-Type: application/json", "404 x", ""),
        ("Content-Type: application/json\r\nConnect-Protocol-Version: 1", "400 x", ""),
        ("Content-Type: application/connect+proto", "200 OK", ""),
        ("Content-Type: application/json\r\nConnect-Protocol-Version: 1", "200 OK", ""),
        ("Content-Type: application/json", "200 OK", ""),
    ];
    for (number, (request, status, response)) in (1..).zip(cases) {
        let request = format!("POST /a.B/C HTTP/1.1\r\n{request}\r\nContent-Length: 0\r\n\r\n");
        let response = format!("HTTP/1.1 {status}\r\n{response}Content-Length: 0\r\n\r\n");
        let at = At { turn: true, ..at(number) };
        parser.piece(Direction::Received, Piece::Bytes(request.as_bytes()), &at, &mut calls);
        parser.piece(Direction::Sent, Piece::Bytes(response.as_bytes()), &at, &mut calls);
    }
    let expected = [
        "Web a.B/C -",
        "Web a.B/C NOT_FOUND",
        "Web a.B/C UNAVAILABLE",
        "Connect a.B/C NOT_FOUND",
        "Connect a.B/C -",
        "Connect a.B/C -",
        "Connect a.B/C OK",
        "http",
    ];
    assert_eq!(calls.0, expected);
}
