//! A recorded stream without what its spans do not show.
//!
//! A recording has the bytes of requests and responses, and with them whatever secrets they hold. Here each
//! byte is replaced without which the same spans come out: stretches first, then halves of them, down to
//! single bytes, each time by sending the connection through its parser again. So no protocol needs rules
//! of its own for what is a secret: what is left is what the parsers need to find the same calls, and what
//! the spans of this configuration show. The price is time, which grows with the square of a connection's
//! bytes; it is meant for recordings of a few connections.
//!
//! Turned down: rules per protocol for what to replace (each would be one more place to forget something),
//! and classes of characters (lengths and types are bytes, too).
//!
//! A connection that cannot be redacted is left out: one that takes too long ([`MAX_WORK`]), and one with
//! compressed messages, of which every byte is needed. Left as they are: datagrams, which have names that
//! were looked up, addresses, and who a process is. Arguments of programs and attributes of resources are
//! taken away.
#![forbid(unsafe_code)]

mod connection;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use connection::Redacted;

use crate::event::{ConnectionId, Event};
use crate::flow::{Connection, Flows, Limits, Sink};
use crate::protocol::{Advice, Exchange, Problem, kafka};

/// Bytes that a connection may cost, each time that one is sent through the parser counting as one, and
/// each time at all as [`TIME_COST`].
pub const MAX_WORK: u64 = 256 << 20;

/// What it costs to send nothing through the parser, in bytes.
const TIME_COST: u64 = 4 << 10;

/// What came of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that are left.
    pub events: usize,
    /// Bytes of payload that there were.
    pub bytes: u64,
    /// Those that are still the same.
    pub kept: u64,
    /// Connections left out because they would have taken too long.
    pub too_long: usize,
    /// Connections left out because they have compressed messages.
    pub compressed: usize,
}

/// The redacted recording would not give the same spans.
#[derive(Debug, thiserror::Error)]
#[error("the redacted recording does not give the same spans as the recording")]
pub struct Differs;

/// A topic's id and its name.
type Topic = ([u8; 16], Arc<str>);

/// Redacts a recording. `limits` are those with which it is replayed.
pub fn redact(
    mut events: Vec<Event<'static>>,
    limits: Limits,
) -> Result<(Vec<Event<'static>>, Report), Differs> {
    let (before, topics) = replayed(&events.iter().collect::<Vec<_>>(), limits, &[]);
    let mut report = Report::default();
    let mut left_out = BTreeSet::new();
    for (id, mut of) in by_connection(&mut events) {
        match connection::redact(&mut of, limits, &topics) {
            Redacted::Done { bytes, kept } => {
                report.bytes += bytes;
                report.kept += kept;
            }
            Redacted::TooLong => {
                report.too_long += 1;
                left_out.insert(id);
            }
            Redacted::Compressed => {
                report.compressed += 1;
                left_out.insert(id);
            }
        }
    }
    events.retain(|event| connection_of(event).is_none_or(|id| !left_out.contains(&id)));
    for event in &mut events {
        match event {
            Event::Exec(exec) => exec.arguments.clear(),
            Event::Environment(environment) => environment.resource_attributes = None,
            _ => {}
        }
    }
    report.events = events.len();
    let (after, _) = replayed(&events.iter().collect::<Vec<_>>(), limits, &[]);
    let is_same = before.iter().filter(|(id, _)| !left_out.contains(id)).eq(after.iter());
    if is_same { Ok((events, report)) } else { Err(Differs) }
}

/// The connection that an event is of.
fn connection_of(event: &Event<'_>) -> Option<ConnectionId> {
    match event {
        Event::Open(open) => Some(open.connection),
        Event::Data(data) => Some(data.connection),
        Event::Close(close) => Some(close.connection),
        Event::Datagram(_)
        | Event::Exec(_)
        | Event::Fork(_)
        | Event::Exit(_)
        | Event::Environment(_)
        | Event::Resolved(_)
        | Event::Identity(_) => None,
    }
}

/// The events of each connection, in their order.
fn by_connection<'e>(
    events: &'e mut [Event<'static>],
) -> BTreeMap<ConnectionId, Vec<&'e mut Event<'static>>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        if let Some(id) = connection_of(event) {
            all.entry(id).or_default().push(event);
        }
    }
    all
}

/// All that comes of events, by connection, and the topics that are known in the end. Each time in a thread
/// of its own, as parsers remember statements and topics for their thread; `topics` are known from the
/// beginning.
fn replayed(
    events: &[&Event<'static>],
    limits: Limits,
    topics: &[Topic],
) -> (BTreeMap<ConnectionId, String>, Vec<Topic>) {
    let run = || {
        for (id, name) in topics {
            kafka::remember(*id, name);
        }
        let mut flows = Flows::new(limits);
        let mut seen = Seen::default();
        for event in events {
            flows.event(event, &mut seen);
        }
        flows.flush(&mut seen);
        (seen.0, kafka::remembered())
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Everything that is found on each connection.
#[derive(Debug, Default)]
struct Seen(BTreeMap<ConnectionId, String>);

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange, connection: &Connection) {
        // Writing to a string does not fail.
        _ = writeln!(self.0.entry(connection.id).or_default(), "{exchange:?}");
    }

    fn problem(&mut self, problem: Problem, connection: &Connection) {
        _ = writeln!(self.0.entry(connection.id).or_default(), "{problem:?}");
    }

    fn advice(&mut self, _: ConnectionId, _: Advice) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::stream::Reader;

    fn fixture(name: &str) -> Vec<Event<'static>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
        let file = std::fs::read(format!("{folder}/{name}.jsonl")).unwrap();
        Reader::new(file.as_slice()).collect::<Result<_, _>>().unwrap()
    }

    fn text(events: &[Event<'_>]) -> String {
        let mut text = String::new();
        for event in events {
            if let Event::Data(data) = event {
                text.push_str(&String::from_utf8_lossy(&data.head));
            }
        }
        text
    }

    #[test]
    fn what_no_span_shows_is_gone() {
        let events = fixture("keep_alive");
        let before = text(&events);
        assert!(before.contains("?token=x") && before.contains("hello"));
        let (redacted, report) = redact(events, Limits::default()).unwrap();
        let after = text(&redacted);
        assert!(after.contains("GET /users/17?xxxxxxx HTTP/1."), "{after}");
        assert!(!after.contains("token") && !after.contains("hello"), "{after}");
        assert_eq!(before.len(), after.len());
        assert!(report.kept > 0 && report.kept < report.bytes, "{report:?}");
    }
}
