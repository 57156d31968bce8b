//! Conversations that were captured whole.

use super::wire::*;
use super::*;
use crate::protocol::in_flight::CallId;

fn with(more: Vec<Step>) -> Vec<Step> {
    let mut steps = start();
    steps.extend(more);
    steps
}

#[test]
fn interleaved_streams() {
    let response = |stream| frame(HEADERS, WHOLE, stream, &block(&[(":status", "200")]));
    check(
        &with(vec![
            Step::Ask(ask(1, "/a?secret=1")),
            Step::Ask([ask(3, "/b"), ask(5, "/c")].concat()),
            Step::Answer([response(5), response(1), frame(DATA, 0, 1, b"one")].concat()),
            Step::Answer(frame(DATA, 0, 5, b"five")),
            Step::Answer(answer(3, 0)),
            Step::Answer([frame(DATA, END, 1, b""), frame(DATA, END, 5, b"!")].concat()),
        ]),
        &["GET /b 200 0:0 5/8/8", "GET /a 200 0:3 4/6/9", "GET /c 200 0:5 5/6/9"],
        &[],
    );
}

#[test]
fn bodies_padding_trailers_and_interim_responses() {
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/p"), ("host", "h")];
    let padded = [&[3][..], b"data", &[0; 3]].concat();
    check(
        &with(vec![
            Step::Ask(frame(HEADERS, WHOLE, 1, &block(&post))),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "100")]))),
            Step::Ask(frame(DATA, PADDED, 1, &padded)),
            Step::Ask(frame(DATA, PADDED, 1, &[0])),
            Step::Ask(frame(HEADERS, WHOLE | END, 1, &block(&[("checksum", "1")]))),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "103")]))),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "201")]))),
            Step::Answer(frame(DATA, PADDED, 1, &padded)),
            Step::Answer(frame(WINDOW, 0, 0, &[0, 0, 1, 0])),
            Step::Answer(frame(PING, 0, 0, &[0; 8])),
            Step::Answer(frame(0x20, 0xff, 7, b"an extension")),
            Step::Answer(frame(HEADERS, WHOLE | END, 1, &block(&[("checksum", "2")]))),
        ]),
        &["POST /p 201 4:4 4/10/15"],
        &[],
    );
}

#[test]
fn blocks_in_parts() {
    let request = block(&get("/parts"));
    let (a, b) = request.split_at(10);
    let first = [&[2][..], &[0, 0, 0, 0, 16], a, &[0, 0]].concat();
    check(
        &with(vec![
            Step::Ask(frame(HEADERS, END | PADDED | PRIORITY, 1, &first)),
            Step::Ask(frame(CONTINUATION, 0, 1, &[])),
            Step::Ask(frame(CONTINUATION, WHOLE, 1, b)),
            Step::Answer(answer(1, 5)),
        ]),
        &["GET /parts 200 0:5 4/7/7"],
        &[],
    );
}

#[test]
fn pushes_are_no_calls() {
    let promise = [&2_u32.to_be_bytes()[..], &block(&get("/pushed"))].concat();
    check(
        &with(vec![
            Step::Ask(ask(1, "/a")),
            Step::Answer(frame(PROMISE, WHOLE, 1, &promise)),
            Step::Answer([answer(2, 3), answer(1, 4)].concat()),
        ]),
        &["GET /a 200 0:4 4/6/6"],
        &[],
    );
}

#[test]
fn resets() {
    let response = frame(HEADERS, WHOLE, 5, &block(&[(":status", "200")]));
    check(
        &with(vec![
            Step::Ask([ask(1, "/a"), ask(3, "/b"), ask(5, "/c"), ask(7, "/d")].concat()),
            Step::Ask(frame(RESET, 0, 1, &8_u32.to_be_bytes())),
            Step::Answer(frame(RESET, 0, 3, &2_u32.to_be_bytes())),
            Step::Answer([response, frame(DATA, 0, 5, b"part")].concat()),
            Step::Answer(frame(RESET, 0, 5, &99_u32.to_be_bytes())),
            // Nothing is left of it.
            Step::Ask(frame(RESET, 0, 5, &8_u32.to_be_bytes())),
            Step::Answer([answer(7, 1), frame(RESET, 0, 7, &[0; 4])].concat()),
        ]),
        &[
            "GET /a - 0:? 4/0/5 no_response CANCEL",
            "GET /b - 0:? 4/0/6 no_response INTERNAL_ERROR",
            "GET /c 200 0:? 4/7/8 stream_reset",
            "GET /d 200 0:1 4/10/10",
        ],
        &[],
    );
}

#[test]
fn goaway_and_the_end_of_the_connection() {
    let goaway = [&1_u32.to_be_bytes()[..], &[0; 4], b"debug data"].concat();
    check(
        &with(vec![
            Step::Ask([ask(1, "/a"), ask(3, "/b")].concat()),
            Step::Answer(frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
            Step::Answer(frame(GOAWAY, 0, 0, &goaway)),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "500")]))),
            Step::Over(false),
        ]),
        &[
            "GET /b - 0:? 4/0/6 no_response REFUSED_STREAM",
            "GET /a 500 0:? 4/7/8 connection_closed",
        ],
        &[],
    );
    check(
        &with(vec![Step::Ask(ask(1, "/a")), Step::Over(true)]),
        &["GET /a - 0:? 4/0/5 no_response connection_reset"],
        &[],
    );
}

#[test]
fn tunnels_end_with_the_response_head() {
    let connect =
        frame(HEADERS, WHOLE, 1, &block(&[(":method", "CONNECT"), (":authority", "a:1")]));
    check(
        &with(vec![
            Step::Ask(connect),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "200")]))),
            Step::Ask(frame(DATA, 0, 1, b"tunnelled")),
            Step::Over(true),
        ]),
        &["CONNECT  200 ?:0 4/5/5"],
        &[],
    );
}

#[test]
fn early_responses() {
    let post = frame(HEADERS, WHOLE, 1, &block(&[(":method", "POST"), (":path", "/p")]));
    check(
        &with(vec![
            Step::Ask([post, frame(DATA, 0, 1, b"some of it")].concat()),
            Step::Answer(frame(HEADERS, WHOLE | END, 1, &block(&[(":status", "413")]))),
            Step::Answer(frame(RESET, 0, 1, &[0; 4])),
            Step::Ask(frame(DATA, END, 1, b"the rest")),
        ]),
        &["POST /p 413 ?:0 4/5/5"],
        &[],
    );
}

#[test]
fn a_response_can_overtake_its_request() {
    let steps = with(vec![
        Step::Answer(answer(1, 2)),
        Step::Ask(ask(1, "/fast")),
        Step::Answer(answer(3, 2)),
        Step::Ask(ask(5, "/next")),
        Step::Answer(answer(5, 0)),
    ]);
    let client = run(Role::Client, Begin::Start, &steps);
    assert_eq!(client.exchanges, ["GET /fast 200 0:2 5/4/5", "GET /next 200 0:0 7/8/8"]);
    assert_eq!(client.problems, ["response_without_request"]);
    // A server reads before it answers.
    let server = run(Role::Server, Begin::Start, &steps);
    assert_eq!(server.problems, ["response_without_request"; 2]);
}

#[test]
fn each_direction_has_its_own_time() {
    let (server, client) = (run_times(Role::Server), run_times(Role::Client));
    // The request of call 4, entered at 40 and left at 45; the response of call 5.
    assert_eq!((server.0, server.1, server.2), (45, Some(55), 55));
    assert_eq!((client.0, client.1, client.2), (40, Some(55), 55));
}

fn run_times(role: Role) -> (MonoNs, Option<MonoNs>, MonoNs) {
    struct Times(Option<(MonoNs, Option<MonoNs>, MonoNs)>);
    impl Sink for Times {
        fn exchange(&mut self, exchange: Exchange) {
            self.0 = Some((exchange.start_ns, exchange.first_byte_ns, exchange.end_ns));
        }
        fn problem(&mut self, problem: Problem) {
            panic!("{problem:?}");
        }
        fn advice(&mut self, _: Advice) {}
    }
    let mut times = Times(None);
    let mut parser = Http2::new(role, Limits::default(), Begin::Start);
    let requests = role.request_direction();
    let steps = with(vec![Step::Ask(ask(1, "/")), Step::Answer(answer(1, 1))]);
    for (number, step) in steps.iter().enumerate() {
        let (direction, bytes) = match step {
            Step::Ask(bytes) => (requests, bytes),
            Step::Answer(bytes) => (requests.opposite(), bytes),
            _ => continue,
        };
        parser.piece(direction, Piece::Bytes(bytes), &at(number as u64 + 1), &mut times);
    }
    times.0.unwrap()
}

#[test]
fn after_an_upgrade() {
    let request = Exchange {
        id: CallId::new(1, 7),
        role: Role::Server,
        start_ns: 1,
        first_byte_ns: None,
        end_ns: 1,
        unit: at(1).unit,
        context: None,
        flags: Flags::none(),
        call: Call::Http(crate::span::http::HttpCall {
            version: crate::span::http::HttpVersion::Http11,
            method: crate::span::http::Method::Known("GET"),
            path: "/up".into(),
            host: None,
            status: None,
            request_body: Some(0),
            response_body: None,
            user_agent: None,
            error: None,
        }),
        undelivered: false,
    };
    let mut steps = start();
    steps.insert(0, Step::Answer([frame(SETTINGS, 0, 0, &[]), answer(1, 3)].concat()));
    steps.extend([Step::Ask(ask(3, "/b")), Step::Answer(answer(3, 1))]);
    let seen = run(Role::Server, Begin::Upgrade(Box::new(request)), &steps);
    assert_eq!(seen.exchanges, ["GET /up 200 0:3 0/1/1", "GET /b 200 0:1 5/6/6"]);
    assert!(seen.problems.is_empty(), "{:?}", seen.problems);
}
