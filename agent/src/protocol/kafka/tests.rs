//! Messages by the protocol's guide, older versions and flexible ones.

use super::super::testing::{Talk, spoilt};
use super::*;

/// A message that is put together field by field.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn request(key: i16, version: i16, correlation: i32) -> Self {
        Self::default().i16(key).i16(version).i32(correlation).string("client-1")
    }

    fn response(correlation: i32) -> Self {
        Self::default().i32(correlation)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn i16(self, number: i16) -> Self {
        self.raw(&number.to_be_bytes())
    }

    fn i32(self, number: i32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    fn string(self, text: &str) -> Self {
        self.i16(i16::try_from(text.len()).unwrap()).raw(text.as_bytes())
    }

    fn compact(self, text: &str) -> Self {
        self.raw(&[u8::try_from(text.len() + 1).unwrap()]).raw(text.as_bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let length = i32::try_from(self.0.len()).unwrap();
        [&length.to_be_bytes()[..], &self.0].concat()
    }
}

fn talk() -> Talk<Kafka> {
    Talk::new(Kafka::new(Role::Client, Limits::default()))
}

/// `operation destination group error waits` of what came out.
fn calls(talk: &Talk<Kafka>) -> Vec<String> {
    let calls = talk.heard.exchanges.iter().map(|exchange| {
        let Call::Messaging(call) = &exchange.call else { panic!("{exchange:?}") };
        let flags: Vec<_> = exchange.flags.names().collect();
        let end = format!("@{}..{} {}", exchange.start_ns, exchange.end_ns, flags.join(" "));
        let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("-").to_owned();
        format!(
            "{} {} {} {} {} {end}",
            call.operation,
            name(&call.destination),
            name(&call.group),
            call.error_type().unwrap_or("-"),
            if call.waits { "waits" } else { "-" },
        )
    });
    calls.map(|call| call.trim_end().to_owned()).collect()
}

/// A produce request of one topic.
fn produce(correlation: i32, acks: i16, topic: &str) -> Message {
    Message::request(0, 3, correlation)
        .i16(-1)
        .i16(acks)
        .i32(1000)
        .i32(1)
        .string(topic)
        .i32(1)
        .i32(0)
}

/// And its answer.
fn produced(correlation: i32, topic: &str, error: i16) -> Message {
    Message::response(correlation)
        .i32(1)
        .string(topic)
        .i32(1)
        .i32(0)
        .i16(error)
        .raw(&[0; 16])
        .i32(0)
}

fn fetch(correlation: i32, topics: i32) -> Message {
    let head = Message::request(1, 11, correlation).i32(-1).i32(500).i32(1).i32(1 << 20);
    let head = head.raw(&[0]).i32(0).i32(0).i32(topics);
    if topics == 1 { head.string("orders").i32(0) } else { head }
}

#[test]
fn calls_and_their_outcome() {
    let mut talk = talk();
    talk.bytes(Direction::Sent, &produce(1, 1, "orders").bytes());
    talk.bytes(Direction::Received, &produced(1, "orders", 0).bytes());
    talk.bytes(Direction::Sent, &produce(2, -1, "orders").bytes());
    talk.bytes(Direction::Received, &produced(2, "orders", 10).bytes());
    talk.bytes(Direction::Sent, &produce(3, 0, "log").bytes());
    talk.bytes(Direction::Sent, &fetch(4, 1).bytes());
    let fetched = Message::response(4).i32(0).i16(0).i32(0).i32(1).string("orders").i32(1).i32(0);
    talk.bytes(Direction::Received, &fetched.i16(1).bytes());
    let join = Message::request(11, 5, 5).string("billing").i32(1000);
    talk.bytes(Direction::Sent, &join.bytes());
    talk.bytes(Direction::Received, &Message::response(5).i32(0).i16(79).bytes());
    let heartbeat = Message::request(12, 3, 6).string("billing").i32(7);
    talk.bytes(Direction::Sent, &heartbeat.bytes());
    talk.bytes(Direction::Received, &Message::response(6).i32(0).i16(27).bytes());
    assert_eq!(
        calls(&talk),
        [
            "produce orders - - - @5..20",
            "produce orders - MESSAGE_TOO_LARGE - @25..40",
            "produce log - - - @45..50",
            "fetch orders - OFFSET_OUT_OF_RANGE waits @55..70",
            "join_group - billing - waits @75..90",
            "heartbeat - billing REBALANCE_IN_PROGRESS - @95..110",
        ]
    );
}

#[test]
fn flexible_versions_and_topics_by_id() {
    let mut talk = talk();
    let id: [u8; 16] = *b"0123456789abcdef";
    // Metadata 12: one broker, one topic with an id and a partition.
    let ask = Message::request(3, 12, 1).raw(&[0, 0, 0, 0, 0]);
    talk.bytes(Direction::Sent, &ask.bytes());
    let partition = Message::default().i16(0).i32(0).i32(1).i32(0).raw(&[2, 0, 0, 0, 1, 1, 1, 0]);
    let topic = Message::default().i16(0).compact("orders").raw(&id).raw(&[0, 2]);
    let topic = topic.raw(&partition.0).i32(0).raw(&[0]);
    let broker = Message::default().i32(1).compact("broker").i32(9092).raw(&[0, 0]);
    let told = Message::response(1).raw(&[0]).i32(0).raw(&[2]).raw(&broker.0).compact("cluster");
    let told = told.i32(1).raw(&[2]).raw(&topic.0).raw(&[0]);
    talk.bytes(Direction::Received, &told.bytes());
    // Fetch 15 has no replica, and topics by id.
    let ask = Message::request(1, 15, 2).raw(&[0]).i32(500).i32(1).i32(1).raw(&[0]).i32(0).i32(0);
    talk.bytes(Direction::Sent, &ask.raw(&[2]).raw(&id).raw(&[1]).bytes());
    let told = Message::response(2).raw(&[0]).i32(0).i16(0).i32(0).raw(&[1, 0]);
    talk.bytes(Direction::Received, &told.bytes());
    // Produce 9: null transaction, and tagged fields.
    let ask = Message::request(0, 9, 3).raw(&[1, 0, 2, 65, 66]).raw(&[0]).i16(1).i32(9).raw(&[2]);
    talk.bytes(Direction::Sent, &ask.compact("invoices").raw(&[1, 0, 0]).bytes());
    let told = Message::response(3).raw(&[0, 2]).compact("invoices").raw(&[2]).i32(0).i16(3);
    talk.bytes(Direction::Received, &told.bytes());
    assert_eq!(
        calls(&talk),
        [
            "metadata - - - - @5..20",
            "fetch orders - - waits @25..40",
            "produce invoices - UNKNOWN_TOPIC_OR_PARTITION - @45..60",
        ]
    );
}

#[test]
fn pipelined_requests_have_their_own_times() {
    let mut talk = talk();
    for correlation in 1..=3 {
        talk.bytes(Direction::Sent, &produce(correlation, 1, "orders").bytes());
    }
    let together = [produced(1, "orders", 0).bytes(), produced(2, "orders", 0).bytes()].concat();
    talk.bytes(Direction::Received, &together);
    talk.bytes(Direction::Received, &produced(3, "orders", 0).bytes());
    assert_eq!(
        calls(&talk),
        [
            "produce orders - - - @5..40",
            "produce orders - - - @15..40",
            "produce orders - - - @25..50",
        ]
    );
}

#[test]
fn large_messages_are_passed_over_and_lost_ones_reported() {
    let mut talk = talk();
    let whole = produce(1, 1, "orders").raw(&vec![7; 100_000]).bytes();
    let (copied, rest) = whole.split_at(4096);
    talk.pieces(Direction::Sent, &[Piece::Bytes(copied), Piece::Skipped(rest.len() as u64)]);
    talk.bytes(Direction::Received, &produced(1, "orders", 0).bytes());
    talk.bytes(Direction::Sent, &produce(2, 1, "orders").bytes());
    talk.pieces(Direction::Received, &[Piece::Lost(Some(60))]);
    talk.bytes(Direction::Sent, &produce(3, 1, "orders").bytes());
    talk.bytes(Direction::Received, &produced(3, "orders", 0).bytes());
    talk.bytes(Direction::Sent, &fetch(4, 0).bytes());
    talk.end(End::Both { reset: false });
    assert_eq!(
        calls(&talk),
        [
            "produce orders - - - @5..20",
            "produce orders - - - @25..40 lossy duration_untrusted",
            "produce orders - - - @45..60",
            "fetch - - connection_closed waits @65..80 no_response",
        ]
    );
}

#[test]
fn any_cut_gives_the_same() {
    let (request, response) = (produce(1, 1, "orders").bytes(), produced(1, "orders", 3).bytes());
    for cut in 1..request.len() {
        let mut talk = talk();
        let (first, second) = request.split_at(cut);
        talk.bytes(Direction::Sent, first);
        talk.bytes(Direction::Sent, second);
        response.chunks(1).for_each(|byte| talk.bytes(Direction::Received, byte));
        let [call] = &calls(&talk)[..] else { panic!("cut at {cut}") };
        assert!(call.starts_with("produce orders - UNKNOWN_TOPIC_OR_PARTITION - @5.."), "{call}");
    }
}

#[test]
fn its_own_bytes_are_known_and_others_are_not() {
    let request = produce(1, 1, "orders").bytes();
    let check = |bytes: &[u8], expected: Recognition| {
        let opening = Opening {
            bytes,
            whole: true,
            direction: Direction::Received,
            from_start: false,
            local_port: 0,
            remote_port: 0,
        };
        assert_eq!(recognise(&opening), expected, "{bytes:?}");
    };
    check(&request, Recognition::Yes(Role::Server));
    for cut in 1..22 {
        check(&request[..cut], Recognition::More);
    }
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Recognition::No);
    check(b"*1\r\n$4\r\nPING\r\n", Recognition::No);
    // PostgreSQL's start-up message.
    check(b"\0\0\0\x10\0\x03\0\0user\0a\0\0", Recognition::No);
}

/// Ten megabytes: valid messages with bytes changed and cut, and random bytes.
#[test]
fn broken_and_random_bytes_do_no_harm() {
    let (request, response) = (fetch(1, 1).bytes(), produced(1, "orders", 0).bytes());
    let (problems, wrong) = spoilt(&request, &response, talk);
    assert!(problems > 100 && wrong > 100, "{problems} problems, wrong {wrong} times");
}

#[test]
fn requests_in_flight_are_shown_but_for_long_polls() {
    let mut talk = talk();
    let both = [produce(1, 1, "orders").bytes(), produce(2, -1, "carts").bytes()].concat();
    talk.bytes(Direction::Sent, &both);
    talk.bytes(Direction::Sent, &fetch(3, 1).bytes());
    let shown = talk.in_flight();
    let topics = shown.exchanges.iter().map(|exchange| {
        let Call::Messaging(call) = &exchange.call else { panic!("{exchange:?}") };
        assert!(!call.answered && call.error.is_none() && exchange.first_byte_ns.is_none());
        (call.operation, call.destination.as_deref(), exchange.start_ns, exchange.end_ns)
    });
    let expected = [("produce", Some("orders"), 5, 20), ("produce", Some("carts"), 5, 20)];
    assert_eq!(topics.collect::<Vec<_>>(), expected);
    talk.bytes(Direction::Received, &produced(1, "orders", 0).bytes());
    assert_eq!(talk.in_flight().ids(), shown.ids()[1..]);
    talk.bytes(Direction::Received, &produced(2, "carts", 0).bytes());
    assert!(talk.parser.is_waiting() && talk.in_flight().lines.is_empty());
    assert_eq!(talk.heard.ids(), shown.ids());
    let ids = shown.ids();
    assert_ne!(ids[0], ids[1]);
}
