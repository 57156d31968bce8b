//! Requests in flight on many connections.

use std::ops::Range;

use super::bounds::{data, open};
use super::*;
use crate::event::{CloseReason, Direction};
use crate::protocol::in_flight::{CallId, Looked};

const REQUEST: &str = "GET / HTTP/1.1\r\n\r\n";

/// So many connections with two requests each, which began at ten times the connection's number.
fn flows(connections: u64) -> Flows {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    for id in 1..=connections {
        flows.event(&open(id, 1), &mut seen);
        let two = REQUEST.repeat(2);
        flows.event(&Event::Data(data(id, Direction::Received, id * 10, 0, &two)), &mut seen);
    }
    flows
}

fn look(flows: &Flows, started: Range<MonoNs>, most: usize) -> (Looked, Vec<CallId>) {
    let mut ids = Vec::new();
    let looked = flows.in_flight(started, most, 1000, |exchange, connection| {
        assert_eq!(exchange.id.connection, connection.id);
        assert_eq!((exchange.start_ns, exchange.end_ns), (exchange.id.start_ns, 1000));
        ids.push(exchange.id);
    });
    ids.sort_by_key(|id| (id.start_ns, id.sequence));
    (looked, ids)
}

fn id(connection: u64, sequence: u32) -> CallId {
    CallId { connection: ConnectionId(connection), start_ns: connection * 10, sequence }
}

#[test]
fn looks_that_follow_each_other_show_each_request_once() {
    let flows = flows(5);
    let (looked, ids) = look(&flows, 0..31, 100);
    assert_eq!(looked, Looked { shown: 6, left: 0, until: 31 });
    assert_eq!(ids, [id(1, 1), id(1, 2), id(2, 1), id(2, 2), id(3, 1), id(3, 2)]);
    let (looked, ids) = look(&flows, looked.until..u64::MAX, 100);
    assert_eq!((looked.shown, ids.len()), (4, 4));
    assert_eq!(ids[0], id(4, 1));
}

#[test]
fn of_too_many_the_oldest_are_shown_and_the_next_look_goes_on_there() {
    let flows = flows(5);
    let mut all = Vec::new();
    let mut begin = 0;
    for (shown, left) in [(4, 6), (4, 2), (2, 0)] {
        let (looked, ids) = look(&flows, begin..100, 4);
        assert_eq!((looked.shown, looked.left), (shown, left));
        begin = looked.until;
        all.extend(ids);
    }
    let expected: Vec<CallId> = (1..=5).flat_map(|number| [id(number, 1), id(number, 2)]).collect();
    assert_eq!(all, expected);
    assert_eq!(begin, 100);
}

#[test]
fn the_end_has_the_same_id_and_a_closed_connection_shows_nothing() {
    let mut flows = flows(2);
    let mut ended = Ends::default();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    flows.event(&Event::Data(data(2, Direction::Sent, 50, 0, answer)), &mut ended);
    assert_eq!(ended.0, [id(2, 1)]);
    let close = Close {
        connection: ConnectionId(1),
        reason: CloseReason::Closed,
        time_ns: 60,
        received: 0,
        sent: 0,
        error: 104,
        lost: 0,
        standing: Standing::default(),
    };
    flows.event(&Event::Close(close), &mut ended);
    assert_eq!(look(&flows, 0..100, 10).1, [id(2, 2)]);
    flows.expire(60 + Limits::default().closed_ns, &mut ended);
    assert_eq!(ended.0[1..], [id(1, 1), id(1, 2)]);
}

#[derive(Default)]
struct Ends(Vec<CallId>);

impl Sink for Ends {
    fn exchange(&mut self, exchange: Exchange, _: &Connection) {
        self.0.push(exchange.id);
    }

    fn problem(&mut self, problem: Problem, _: &Connection) {
        panic!("{problem:?}");
    }

    fn advice(&mut self, _: ConnectionId, _: Advice) {}
}
