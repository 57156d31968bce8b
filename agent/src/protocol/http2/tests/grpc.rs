//! gRPC calls of all kinds, and how they end.

use super::wire::*;
use super::*;

const METHOD: &str = "/shop.Orders/Get";

fn call(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", "orders:50051"),
        ("te", "trailers"),
        ("content-type", "application/grpc+proto"),
    ];
    fields.extend(more);
    frame(HEADERS, WHOLE, stream, &block(&fields))
}

fn message(length: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, length];
    bytes.extend(vec![1; length.into()]);
    bytes
}

fn head(stream: u32) -> Vec<u8> {
    let fields = [(":status", "200"), ("content-type", "application/grpc")];
    frame(HEADERS, WHOLE, stream, &block(&fields))
}

fn trailers(stream: u32, status: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE | END, stream, &block(&[("grpc-status", status), ("grpc-message", "x")]))
}

fn with(more: Vec<Step>) -> Vec<Step> {
    let mut steps = start();
    steps.extend(more);
    steps
}

#[test]
fn unary_and_streaming() {
    let three = [message(3), message(0), message(200)].concat();
    let (a, b) = three.split_at(7);
    check(
        &with(vec![
            Step::Ask([call(1, &[]), frame(DATA, END, 1, &message(10))].concat()),
            Step::Answer([head(1), frame(DATA, 0, 1, &message(20)), trailers(1, "0")].concat()),
            // Both ways, messages cut by frames.
            Step::Ask([call(3, &[]), frame(DATA, 0, 3, a)].concat()),
            Step::Answer([head(3), frame(DATA, 0, 3, &message(1))].concat()),
            Step::Ask(frame(DATA, END, 3, b)),
            Step::Answer([frame(DATA, 0, 3, &message(1)), trailers(3, "5")].concat()),
        ]),
        &["grpc shop.Orders/Get OK 1:1 4/5/5", "grpc shop.Orders/Get NOT_FOUND 3:2 6/7/9"],
        &[],
    );
}

#[test]
fn trailers_only_and_missing_status() {
    let only =
        |stream, fields: &[(&str, &str)]| frame(HEADERS, WHOLE | END, stream, &block(fields));
    check(
        &with(vec![
            Step::Ask([call(1, &[]), call(3, &[]), call(5, &[]), call(7, &[])].concat()),
            Step::Answer(only(1, &[(":status", "200"), ("grpc-status", "12")])),
            Step::Answer(only(3, &[(":status", "503")])),
            Step::Answer(only(5, &[(":status", "200")])),
            Step::Answer(only(7, &[(":status", "200"), ("grpc-status", "77")])),
        ]),
        &[
            "grpc shop.Orders/Get UNIMPLEMENTED 0:0 4/5/5",
            "grpc shop.Orders/Get UNAVAILABLE 0:0 4/6/6",
            "grpc shop.Orders/Get UNKNOWN 0:0 4/7/7",
            "grpc shop.Orders/Get UNKNOWN 0:0 4/8/8",
        ],
        &[],
    );
}

#[test]
fn cancelled_timed_out_refused_and_lost() {
    check(
        &with(vec![
            Step::Ask([call(1, &[]), call(3, &[("grpc-timeout", "10n")])].concat()),
            Step::Ask([call(5, &[]), call(7, &[])].concat()),
            Step::Ask(frame(RESET, 0, 1, &8_u32.to_be_bytes())),
            Step::Ask(frame(RESET, 0, 3, &8_u32.to_be_bytes())),
            Step::Answer(frame(RESET, 0, 5, &7_u32.to_be_bytes())),
            Step::Answer(head(7)),
            Step::Over(true),
        ]),
        &[
            "grpc shop.Orders/Get CANCELLED 0:0 4/0/6 no_response CANCEL",
            "grpc shop.Orders/Get DEADLINE_EXCEEDED 0:0 4/0/7 no_response CANCEL",
            "grpc shop.Orders/Get UNAVAILABLE 0:0 5/0/8 no_response REFUSED_STREAM",
            "grpc shop.Orders/Get UNAVAILABLE 0:0 5/9/10 connection_reset",
        ],
        &[],
    );
}

#[test]
fn what_is_kept_of_a_call() {
    struct Keep(Option<Exchange>);
    impl Sink for Keep {
        fn exchange(&mut self, exchange: Exchange) {
            self.0 = Some(exchange);
        }
        fn problem(&mut self, _: Problem) {}
        fn advice(&mut self, _: Advice) {}
    }
    let mut keep = Keep(None);
    let mut parser = Http2::new(Role::Client, Limits::default(), Begin::Start);
    let more = [
        ("grpc-timeout", "3S"),
        ("grpc-encoding", "gzip"),
        ("user-agent", "grpc-c/1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let steps = with(vec![
        Step::Ask([call(1, &more), frame(DATA, END, 1, &message(10))].concat()),
        Step::Answer(head(1)),
        Step::Answer(frame(DATA, 0, 1, &message(10))),
        Step::Answer(trailers(1, "0")),
    ]);
    for (number, step) in steps.iter().enumerate() {
        let (direction, bytes) = match step {
            Step::Ask(bytes) => (Direction::Sent, bytes),
            Step::Answer(bytes) => (Direction::Received, bytes),
            _ => continue,
        };
        parser.piece(direction, Piece::Bytes(bytes), &at(number as u64 + 1), &mut keep);
    }
    let exchange = keep.0.unwrap();
    assert!(exchange.context.is_some_and(|context| context.sampled));
    let Call::Grpc(call) = exchange.call else { panic!() };
    assert_eq!(call.authority.as_deref(), Some("orders:50051"));
    assert_eq!(call.user_agent.as_deref(), Some("grpc-c/1"));
    assert_eq!(call.encoding.as_deref(), Some("gzip"));
    assert_eq!((call.timeout_ns, call.http_status), (Some(3_000_000_000), Some(200)));
    // Written from 40 on; the first message was read by call 6, which returned at 65.
    assert_eq!(call.first_message_ns, Some(25));
}

#[test]
fn calls_with_unknown_fields_are_known_by_their_shape() {
    // POST, http, and what only the peers know; the same in head and trailers of the response.
    let ask = |stream, body: &[u8]| {
        let head = frame(HEADERS, WHOLE, stream, &[0x83, 0x86, 0xbe, 0xbf, 0xc0]);
        Step::Ask([head, frame(DATA, END, stream, body)].concat())
    };
    let answer = |stream, body: &[u8]| {
        let head = frame(HEADERS, WHOLE, stream, &[0x88, 0xbe]);
        let trailers = frame(HEADERS, WHOLE | END, stream, &[0xbf]);
        Step::Answer([head, frame(DATA, 0, stream, body), trailers].concat())
    };
    check_older(
        &[
            ask(101, &message(10)),
            answer(101, &[message(3), message(0)].concat()),
            ask(103, b"{\"some\": \"JSON\"}"),
            answer(103, &message(7)),
            ask(105, &message(10)),
            answer(105, &message(10)[..12]),
        ],
        &[
            "grpc  - 1:2 1/2/2 mid_stream",
            "POST  200 16:12 3/4/4 mid_stream",
            "POST  200 15:12 5/6/6 mid_stream",
        ],
        &[],
    );
}

/// Fields of a request, those of its response, and what comes of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a str);

/// How these end is in the body, but for what the heads tell.
#[test]
fn web_and_connect() {
    let web = ("content-type", "application/grpc-web+proto");
    let connect = ("content-type", "application/connect+proto");
    let json = ("content-type", "application/json");
    let version = ("connect-protocol-version", "1");
    let ok = (":status", "200");
    let cases: [Case<'_>; 9] = [
        (&[web], &[ok, web], "web a.B/C - ?:?"),
        (&[web], &[ok, web, ("grpc-status", "5")], "web a.B/C NOT_FOUND ?:?"),
        (&[web], &[(":status", "503")], "web a.B/C UNAVAILABLE ?:?"),
        (&[connect], &[ok, connect], "connect a.B/C - ?:?"),
        (&[version, json], &[(":status", "404"), json], "connect a.B/C NOT_FOUND ?:?"),
        (&[json, version], &[ok, json], "connect a.B/C OK ?:?"),
        (&[json, version], &[(":status", "400"), json], "connect a.B/C - ?:?"),
        (&[json], &[ok, json], "POST /a.B/C 200 0:4"),
        (&[], &[ok, web], "web a.B/C - ?:?"),
    ];
    let mut steps = start();
    for (number, (request, response, _)) in (0..).zip(&cases) {
        let id = 2 * number + 1;
        let asks = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C")];
        let asks = [&asks[..], request].concat();
        steps.push(Step::Ask(frame(HEADERS, WHOLE | END, id, &block(&asks))));
        let head = frame(HEADERS, WHOLE, id, &block(response));
        steps.push(Step::Answer([head, frame(DATA, END, id, b"body")].concat()));
    }
    let mut seen = Seen::default();
    feed(&mut Http2::new(Role::Server, Limits::default(), Begin::Start), &steps, &mut seen);
    assert_eq!(seen.exchanges, cases.map(|(_, _, expected)| expected));
}

#[test]
fn a_reset_of_web_and_connect() {
    for (code, expected) in [
        (8, "web a.B/C CANCELLED ?:? no_response CANCEL"),
        (7, "web a.B/C UNAVAILABLE ?:? no_response REFUSED_STREAM"),
    ] {
        let asks = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a.B/C"),
            ("content-type", "application/grpc-web"),
        ];
        let mut steps = start();
        steps.push(Step::Ask(frame(HEADERS, WHOLE | END, 1, &block(&asks))));
        steps.push(Step::Ask(frame(RESET, 0, 1, &[0, 0, 0, code])));
        let mut seen = Seen::default();
        feed(&mut Http2::new(Role::Server, Limits::default(), Begin::Start), &steps, &mut seen);
        assert_eq!(seen.exchanges, [expected]);
    }
}
