//! Gaps, overlaps, and the bounds of the table.

use super::*;
use crate::event::{Address, CloseReason, Direction, ProcessKey, Unit};

pub(super) const PROCESS: ProcessKey = ProcessKey { pid: 1, start_ns: 1 };

pub(super) fn open(id: u64, time_ns: u64) -> Event<'static> {
    let address = Address::inet(2, [0; 16], 80);
    Event::Open(Open {
        connection: ConnectionId(id),
        time_ns,
        process: PROCESS,
        comm: String::new(),
        from_start: true,
        network_namespace: 0,
        local: address.clone(),
        remote: address,
    })
}

pub(super) fn data(
    id: u64,
    direction: Direction,
    time_ns: u64,
    position: u64,
    head: &str,
) -> Data<'_> {
    Data {
        connection: ConnectionId(id),
        direction,
        class: Class::Http1Server,
        unit: Unit { process: PROCESS, tid: 1, goroutine: 0 },
        enter_ns: 0,
        exit_ns: time_ns,
        position,
        length: u32::try_from(head.len()).unwrap(),
        head: head.as_bytes().into(),
        tail: (&[]).into(),
        turn: false,
        continues: false,
        end_of_stream: false,
        error: 0,
        lost: 0,
        standing: Standing::default(),
    }
}

fn destroyed(id: u64, time_ns: u64) -> Event<'static> {
    Event::Close(Close {
        connection: ConnectionId(id),
        reason: CloseReason::Destroyed,
        time_ns,
        received: 0,
        sent: 0,
        error: 0,
        lost: 0,
        standing: Standing::default(),
    })
}

const GET: &str = "GET / HTTP/1.1\r\n\r\n";

#[test]
fn the_longest_idle_make_room() {
    let mut flows = Flows::new(Limits { connections: 3, ..Limits::default() });
    let mut seen = Seen::default();
    for id in 1..=3 {
        flows.event(&open(id, id), &mut seen);
        flows.event(&Event::Data(data(id, Direction::Received, 10 - id, 0, GET)), &mut seen);
    }
    flows.event(&open(4, 20), &mut seen);
    assert_eq!(flows.len(), 3);
    assert_eq!(flows.stats().evicted, 1);
    assert_eq!(seen.text, "3 server GET / - 7+13 truncated duration_untrusted\n");
    flows.event(&open(4, 21), &mut seen);
    assert_eq!(flows.stats().opened, 4);
}

#[test]
fn closed_connections_are_forgotten_soon_and_idle_ones_later() {
    let mut flows = Flows::new(Limits { idle_ns: 100, closed_ns: 10, ..Limits::default() });
    let mut seen = Seen::default();
    flows.event(&open(1, 0), &mut seen);
    flows.event(&open(2, 0), &mut seen);
    flows.event(&Event::Data(data(1, Direction::Received, 1, 0, GET)), &mut seen);
    let Event::Close(close) = destroyed(1, 5) else { unreachable!() };
    let close = Close { reason: CloseReason::Closed, error: 104, ..close };
    flows.event(&Event::Close(close), &mut seen);
    flows.expire(14, &mut seen);
    assert_eq!(flows.len(), 2);
    flows.expire(15, &mut seen);
    assert_eq!(seen.text, "1 server GET / - 1+4 no_response connection_reset\n");
    flows.expire(99, &mut seen);
    assert_eq!(flows.len(), 1);
    flows.expire(100, &mut seen);
    assert_eq!((flows.len(), flows.stats().expired, flows.stats().closed), (0, 1, 1));
}

#[test]
fn parser_memory_is_bounded_over_all_connections() {
    let mut flows = Flows::new(Limits { parser_bytes: 20_000, ..Limits::default() });
    let mut seen = Seen::default();
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(4000));
    for id in 1..=20 {
        flows.event(&open(id, 1), &mut seen);
        flows.event(&Event::Data(data(id, Direction::Received, 2, 0, &long)), &mut seen);
        assert!(flows.parser_bytes <= 20_000);
    }
    assert!(flows.stats().relieved > 10);
    for id in 1..=20 {
        flows.event(&destroyed(id, 9), &mut seen);
    }
    assert_eq!((flows.len(), flows.parser_bytes), (0, 0));
}

#[test]
fn overlaps_are_trimmed() {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    flows.event(&open(1, 1), &mut seen);
    let first = data(1, Direction::Received, 2, 0, "GET /a HTT");
    let again = data(1, Direction::Received, 3, 4, "/a HTTP/1.1\r\n\r\n");
    let within = data(1, Direction::Received, 4, 6, "xx");
    for event in [first, again, within] {
        flows.event(&Event::Data(event), &mut seen);
    }
    let answer = data(1, Direction::Sent, 5, 0, "HTTP/1.1 204 x\r\n\r\n");
    flows.event(&Event::Data(answer), &mut seen);
    assert_eq!(seen.text, "1 server GET /a 204 2+3 first+3\n");
}

#[test]
fn head_middle_and_tail() {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    let mut request =
        data(1, Direction::Received, 2, 900, "POST /a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    request.length = 1_000_000;
    request.tail = [b'x'; 64].to_vec().into();
    flows.event(&Event::Data(request), &mut seen);
    assert_eq!(
        seen.advice,
        [(ConnectionId(1), Advice::SkipUntil(Direction::Received, 900 + 45 + 1_000_000))]
    );
    // The body's last 45 bytes and the next request; its tail overlaps what the head holds.
    let text = format!("{}{GET}", "x".repeat(45));
    let next = data(1, Direction::Received, 3, 1_000_900, &text);
    flows.event(&Event::Data(next), &mut seen);
    let answers = "HTTP/1.1 204 x\r\n\r\nHTTP/1.1 205 x\r\nContent-Length: 0\r\n\r\n";
    flows.event(&Event::Data(data(1, Direction::Sent, 4, 0, answers)), &mut seen);
    assert_eq!(
        seen.text,
        "1 server POST /a 204 2+2 first+2 (no open)\n1 server GET / 205 3+1 first+1 (no open)\n"
    );
    assert_eq!(flows.stats().without_open, 1);
}

#[test]
fn bytes_of_undecided_connections_are_bounded() {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    for index in 0..100 {
        let mut unknown = data(1, Direction::Received, 2, index * 100, "");
        let bytes = [b'G'; 100];
        unknown.length = 100;
        unknown.head = (&bytes).into();
        unknown.class = Class::Unknown;
        flows.event(&Event::Data(unknown), &mut seen);
        assert!(flows.parser_bytes < 4096);
    }
    assert!(flows.stats().undecided > 0);
    let request = data(1, Direction::Received, 3, 10_000, GET);
    // The bytes before were dropped together with those that made them too many.
    flows.event(&Event::Data(Data { turn: true, ..request }), &mut seen);
    let mut gone = data(1, Direction::Received, 4, 10_018, "");
    gone.class = Class::Uninteresting;
    flows.event(&Event::Data(gone), &mut seen);
    assert_eq!((flows.len(), flows.parser_bytes), (0, 0));
}

#[test]
fn totals_tell_what_was_lost_at_the_end() {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    flows.event(&open(1, 1), &mut seen);
    flows.event(&Event::Data(data(1, Direction::Received, 2, 0, GET)), &mut seen);
    let Event::Close(close) = destroyed(1, 5) else { unreachable!() };
    flows.event(&Event::Close(Close { received: 18, sent: 40, lost: 1, ..close }), &mut seen);
    assert_eq!(seen.text, "1 server GET / - 2+3 lossy duration_untrusted\n");
    assert_eq!((flows.stats().records_lost, flows.stats().bytes_lost), (1, 40));
}
