//! What is shown of requests in flight.

use super::*;
use crate::protocol::testing::Heard;

/// A conversation whose calls are made one by one; nothing else is said of it.
struct Conversed {
    parser: Http1,
    heard: Heard,
    number: u64,
    last: Option<char>,
}

impl Conversed {
    fn new(role: Role) -> Self {
        Self {
            parser: Http1::new(role, Limits::default()),
            heard: Heard::default(),
            number: 0,
            last: None,
        }
    }

    /// `>` and `<` are directions, `|` ends a line.
    fn say(&mut self, way: char, text: &str) {
        self.piece(way, Piece::Bytes(text.replace('|', "\r\n").as_bytes()));
    }

    fn piece(&mut self, way: char, piece: Piece<'_>) {
        self.number += 1;
        let requests = self.parser.role().request_direction();
        let direction = if way == '>' { requests } else { requests.opposite() };
        let turn = self.last.replace(way).is_some_and(|last| last != way);
        let at = At { turn, ..at(self.number) };
        self.parser.piece(direction, piece, &at, &mut self.heard);
    }

    /// `method path start..end flags` of what is in flight, and the ids.
    fn shown(&self) -> (Vec<String>, Vec<CallId>) {
        let now = self.number * 10 + 9;
        let heard = Heard::in_flight(0..MonoNs::MAX, |look| self.parser.in_flight(now, look));
        let line = |exchange: &Exchange| {
            let Call::Http(call) = &exchange.call else { panic!("{exchange:?}") };
            assert_eq!((call.status, call.response_body, call.error), (None, None, None));
            assert_eq!((exchange.first_byte_ns, exchange.undelivered), (None, false));
            let (method, path) = (call.method.original(), &call.path);
            format!("{method} {path} {}..{}", exchange.start_ns, exchange.end_ns)
        };
        (heard.exchanges.iter().map(line).collect(), heard.ids())
    }

    fn lines(&self) -> Vec<String> {
        self.shown().0
    }
}

#[test]
fn a_request_is_shown_from_its_whole_head_to_its_whole_response() {
    for (role, start) in [(Role::Server, 15), (Role::Client, 10)] {
        let mut talk = Conversed::new(role);
        talk.say('>', "POST /a HTTP/1.1|Host: h|");
        assert!(talk.lines().is_empty(), "its head is not whole");
        talk.say('>', "Content-Length: 4||bo");
        let (lines, first) = talk.shown();
        assert_eq!(lines, [format!("POST /a {start}..29")]);
        talk.say('>', "dy");
        talk.say('<', "HTTP/1.1 100 Continue||");
        talk.say('<', "HTTP/1.1 503 Service Unavailable|Content-Length: 4||bo");
        let (lines, then) = talk.shown();
        assert_eq!(lines, [format!("POST /a {start}..59")], "nothing of the response");
        assert_eq!(then, first);
        talk.say('<', "dy");
        assert!(talk.lines().is_empty());
        assert_eq!(talk.heard.ids(), first);
        assert_eq!(first[0], CallId::new(start, 1));
        talk.say('>', "GET /b HTTP/1.1||");
        assert_eq!(talk.shown().1, [CallId::new(start + 60, 2)]);
    }
}

#[test]
fn pipelined_requests_are_shown_in_their_order_and_told_apart() {
    let mut talk = Conversed::new(Role::Server);
    talk.say('>', "GET /a HTTP/1.1||GET /b HTTP/1.1||GET /c HTTP/1.1||");
    let (lines, ids) = talk.shown();
    assert_eq!(lines, ["GET /a 15..19", "GET /b 15..19", "GET /c 15..19"]);
    talk.say('<', "HTTP/1.1 200 OK|Content-Length: 0||HTTP/1.1 404 Not Found|Content-Length: 0||");
    assert_eq!(talk.lines(), ["GET /c 15..29"]);
    talk.say('<', "HTTP/1.1 200 OK|Content-Length: 0||");
    assert!(talk.lines().is_empty());
    assert_eq!(talk.heard.ids(), ids);
    assert_eq!(ids.iter().map(|id| id.sequence).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn only_what_began_in_the_range_is_shown() {
    let mut talk = Conversed::new(Role::Server);
    talk.say('>', "GET /a HTTP/1.1||");
    talk.say('>', "GET /b HTTP/1.1||");
    let shown = |started| {
        Heard::in_flight(started, |look| talk.parser.in_flight(100, look)).exchanges.len()
    };
    assert_eq!((shown(0..15), shown(15..25), shown(15..26), shown(26..99)), (0, 1, 2, 0));
}

#[test]
fn what_the_kernel_counts_and_what_may_be_over_is_not_shown() {
    let mut counted = Conversed::new(Role::Server);
    counted.parser.stands(Standing { exchange: 1, ..Standing::default() });
    counted.say('>', "GET /a HTTP/1.1||");
    assert_eq!(counted.lines().len(), 1);
    counted.parser.is_undelivered(1);
    assert!(counted.lines().is_empty());

    let mut lost = Conversed::new(Role::Server);
    lost.say('>', "GET /a HTTP/1.1||");
    lost.parser.mark_lossy();
    assert!(lost.lines().is_empty(), "its response may be what was lost");

    let mut unseen = Conversed::new(Role::Server);
    unseen.say('>', "GET /a HTTP/1.1||");
    unseen.piece('<', Piece::Skipped(200));
    assert!(unseen.lines().is_empty(), "where its response ends was not seen");

    let mut blind = Conversed::new(Role::Server);
    blind.say('>', "GET /a HTTP/1.1||");
    blind.say('<', "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|he");
    assert_eq!(blind.lines().len(), 1);
    blind.piece('<', Piece::Skipped(2000));
    assert!(blind.lines().is_empty(), "what was not copied may hold the last chunk");
}

#[test]
fn upgraded_connections_and_tunnels_have_none() {
    let mut upgraded = Conversed::new(Role::Server);
    upgraded.say('>', "GET /chat HTTP/1.1|Connection: Upgrade|Upgrade: websocket||");
    assert_eq!(upgraded.lines(), ["GET /chat 15..19"]);
    upgraded.say('<', "HTTP/1.1 101 Switching Protocols|Upgrade: websocket||");
    assert!(upgraded.lines().is_empty());
    let mut tunnel = Conversed::new(Role::Client);
    tunnel.say('>', "CONNECT db:5432 HTTP/1.1||");
    assert_eq!(tunnel.lines(), ["CONNECT  10..19"]);
    tunnel.say('<', "HTTP/1.1 200 OK||");
    assert!(tunnel.lines().is_empty());
}

#[test]
fn a_call_of_a_remote_procedure_is_shown_as_one() {
    let mut talk = Conversed::new(Role::Server);
    talk.say('>', "POST /shop.Cart/Add HTTP/1.1|Content-Type: application/grpc-web|");
    talk.say('>', "Content-Length: 0||");
    let heard = Heard::in_flight(0..99, |look| talk.parser.in_flight(50, look));
    let [Exchange { call: Call::Grpc(call), .. }] = heard.exchanges.as_slice() else {
        panic!("{heard:?}")
    };
    assert_eq!((&*call.method, call.status), ("shop.Cart/Add", None));
}

#[test]
fn a_request_that_asks_for_http_2_keeps_its_id() {
    use crate::protocol::http2::{Begin, Http2};
    let mut talk = Conversed::new(Role::Server);
    talk.say('>', "GET / HTTP/1.1||");
    talk.say('<', "HTTP/1.1 200 OK|Content-Length: 0||");
    talk.say('>', "GET /a HTTP/1.1|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|");
    talk.say('>', "HTTP2-Settings: AAMAAABkAAQAAP__||");
    let (_, ids) = talk.shown();
    talk.say('<', "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: h2c||");
    assert!(talk.lines().is_empty());
    let request = Box::new(talk.parser.take_upgrade().unwrap().request);
    let http2 = Http2::new(Role::Server, Limits::default(), Begin::Upgrade(request));
    assert_eq!(Heard::in_flight(0..99, |look| http2.in_flight(99, look)).ids(), ids);
    assert_eq!(ids[0].sequence, 2);
}
