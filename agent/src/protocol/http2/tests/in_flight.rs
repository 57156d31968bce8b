//! What is shown of streams that are open.

use super::wire::*;
use super::*;
use crate::protocol::in_flight::CallId;
use crate::protocol::testing::Heard;

fn parser(role: Role, steps: &[Step]) -> (Http2, Seen) {
    let (mut parser, mut seen) =
        (Http2::new(role, Limits::default(), Begin::Start), Seen::default());
    feed(&mut parser, &[start(), steps.to_vec()].concat(), &mut seen);
    (parser, seen)
}

/// `name start..end` of what is shown, in the order of streams, and the ids.
fn shown(parser: &Http2) -> (Vec<String>, Vec<CallId>) {
    let mut heard = Heard::in_flight(0..MonoNs::MAX, |look| parser.in_flight(99, look));
    heard.exchanges.sort_by_key(|exchange| exchange.id.sequence);
    let line = |exchange: &Exchange| {
        assert_eq!(exchange.first_byte_ns, None);
        let name = match &exchange.call {
            Call::Http(call) => {
                assert_eq!((call.status, call.error, call.response_body), (None, None, None));
                format!("{} {}", call.method.original(), call.path)
            }
            Call::Grpc(call) => {
                assert_eq!((call.status, call.error, call.response_messages), (None, None, None));
                format!("grpc {}", call.method)
            }
            call => panic!("{call:?}"),
        };
        format!("{name} {}..{}", exchange.start_ns, exchange.end_ns)
    };
    (heard.exchanges.iter().map(line).collect(), heard.ids())
}

/// The ids that calls have when they end.
#[derive(Default)]
struct Ends(Vec<CallId>);

impl Sink for Ends {
    fn exchange(&mut self, exchange: Exchange) {
        self.0.push(exchange.id);
    }

    fn problem(&mut self, problem: Problem) {
        panic!("{problem:?}");
    }

    fn advice(&mut self, _: Advice) {}
}

#[test]
fn open_streams_are_shown_until_their_responses_are_whole() {
    for (role, starts) in [(Role::Server, [45, 55]), (Role::Client, [40, 50])] {
        let begun = frame(HEADERS, WHOLE, 1, &block(&[(":status", "500")]));
        let steps = [
            Step::Ask(ask(1, "/a")),
            Step::Ask([ask(3, "/b"), ask(5, "/c")].concat()),
            Step::Answer([begun, answer(5, 3)].concat()),
        ];
        let (mut parser, _) = parser(role, &steps[..2]);
        let expected = [(1, starts[0]), (3, starts[1]), (5, starts[1])];
        let expected = expected.map(|(stream, start)| CallId::new(start, stream));
        assert_eq!(shown(&parser).1, expected);
        let requests = role.request_direction();
        let mut ends = Ends::default();
        let Step::Answer(bytes) = &steps[2] else { unreachable!() };
        parser.piece(requests.opposite(), Piece::Bytes(bytes), &at(7), &mut ends);
        let (lines, ids) = shown(&parser);
        assert_eq!(
            lines,
            [format!("GET /a {}..99", starts[0]), format!("GET /b {}..99", starts[1])]
        );
        assert_eq!(ids, expected[..2]);
        let rest = [frame(DATA, END, 1, b"x"), answer(3, 1)].concat();
        parser.piece(requests.opposite(), Piece::Bytes(&rest), &at(8), &mut ends);
        assert!(shown(&parser).0.is_empty());
        assert_eq!(ends.0, [expected[2], expected[0], expected[1]]);
    }
}

#[test]
fn a_stream_of_grpc_is_shown_as_its_method() {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Cart/Watch"),
        ("content-type", "application/grpc"),
    ];
    let (parser, _) = parser(
        Role::Server,
        &[
            Step::Ask(frame(HEADERS, WHOLE, 1, &block(&fields))),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "200")]))),
        ],
    );
    assert_eq!(shown(&parser).0, ["grpc shop.Cart/Watch 45..99"]);
}

#[test]
fn what_may_be_over_and_what_was_not_asked_is_not_shown() {
    let (hidden, _) = parser(
        Role::Server,
        &[Step::Ask(ask(1, "/a")), Step::Lost(false, Some(500)), Step::Ask(ask(3, "/b"))],
    );
    assert!(shown(&hidden).0.is_empty(), "the responses may be what was lost");
    let answered = frame(HEADERS, WHOLE, 1, &block(&[(":status", "200")]));
    let (early, _) = parser(Role::Client, &[Step::Answer(answered)]);
    assert!(early.is_waiting() && shown(&early).0.is_empty());
    let connect = [(":method", "CONNECT"), (":authority", "db:5432")];
    let (tunnel, seen) = parser(
        Role::Client,
        &[
            Step::Ask(frame(HEADERS, WHOLE, 1, &block(&connect))),
            Step::Answer(frame(HEADERS, WHOLE, 1, &block(&[(":status", "200")]))),
        ],
    );
    assert!(shown(&tunnel).0.is_empty());
    assert_eq!(seen.exchanges.len(), 1);
}
