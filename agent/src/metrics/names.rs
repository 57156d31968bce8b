//! Look-ups by name: what reports show of DNS. Names are of high cardinality, so they are in a table of
//! their own and in no metric.
//!
//! A look-up between two watched processes gives two spans and is counted once, as in the graph: by its
//! client; by its server where no watched client is known. Those that a program asks of the local stub of
//! systemd-resolved are apart, as the same name is asked again upstream.

use hashbrown::{Equivalent, HashMap};

use super::durations::{Bounds, Durations};
use super::snapshot::LookupPoint;
use crate::protocol::Call;
use crate::span::dns::{DnsCall, Search};
use crate::span::{Span, SpanKind, Status};

/// Names that are told apart. Look-ups of further ones are summed in one entry.
const MAX_NAMES: usize = 1000;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Key, State>,
    other: Option<State>,
    overflowed: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    name: Box<str>,
    kind: Box<str>,
    stub: bool,
}

#[derive(Hash)]
struct Borrowed<'a> {
    name: &'a str,
    kind: &'a str,
    stub: bool,
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.stub == key.stub && *self.name == *key.name && *self.kind == *key.kind
    }
}

#[derive(Debug)]
struct State {
    start_unix_nano: u64,
    last_seen: u64,
    count: u64,
    errors: u64,
    queries: u64,
    search_attempts: u64,
    durations: Durations,
}

impl Names {
    /// Takes a span into account, if it is a look-up. A new name begins at `start_unix_nano`.
    pub(super) fn record(&mut self, span: &Span, start_unix_nano: u64, bounds: &Bounds) {
        let Call::Dns(call) = &span.call else { return };
        if span.kind == SpanKind::Server && span.peer_service.is_some() {
            return;
        }
        let DnsCall { name, kind, .. } = &**call;
        let stub = call.asks_stub(span);
        if let Some(Search { before, attempts: 2, .. }) = call.search.as_deref() {
            // Now it is known what the first one was.
            let known = self.known.get_mut(&Borrowed { name: before, kind, stub });
            if let Some(first) = known.or(self.other.as_mut()) {
                first.search_attempts += 1;
            }
        }
        if let Some(state) = self.known.get_mut(&Borrowed { name, kind, stub }) {
            state.record(span, call, bounds);
            return;
        }
        let state = if self.known.len() < MAX_NAMES {
            let key = Key { name: name.clone(), kind: kind.clone(), stub };
            self.known.entry(key).or_insert_with(|| State::new(start_unix_nano))
        } else {
            self.overflowed += 1;
            self.other.get_or_insert_with(|| State::new(start_unix_nano))
        };
        state.record(span, call, bounds);
    }

    /// Forgets what was not seen since `oldest`, in nanoseconds of Unix time.
    pub(super) fn expire(&mut self, oldest: u64) {
        self.known.retain(|_, state| state.last_seen >= oldest);
        self.other.take_if(|state| state.last_seen < oldest);
    }

    /// Look-ups that were summed in the entry `other`.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Names that are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// All, in the order of their names.
    pub(super) fn snapshot(&self) -> Vec<LookupPoint> {
        let mut points: Vec<LookupPoint> = self
            .known
            .iter()
            .map(|(key, state)| state.point(&key.name, &key.kind, key.stub))
            .collect();
        points.sort_unstable_by(|a, b| {
            (&a.name, &a.record_type, a.stub).cmp(&(&b.name, &b.record_type, b.stub))
        });
        points.extend(self.other.as_ref().map(|state| state.point("other", "*", false)));
        points
    }
}

impl State {
    fn new(start_unix_nano: u64) -> Self {
        let durations = Durations::default();
        Self {
            start_unix_nano,
            last_seen: start_unix_nano,
            count: 0,
            errors: 0,
            queries: 0,
            search_attempts: 0,
            durations,
        }
    }

    fn record(&mut self, span: &Span, call: &DnsCall, bounds: &Bounds) {
        let end = span.start_unix_nano.saturating_add(span.duration_ns);
        self.last_seen = self.last_seen.max(end);
        self.count += 1;
        self.errors += u64::from(span.status() == Status::Error);
        self.queries += u64::from(call.attempts);
        self.search_attempts += u64::from(call.search.is_some());
        if span.duration_is_trusted() {
            self.durations.record(span.duration_ns, bounds);
        }
    }

    fn point(&self, name: &str, kind: &str, stub: bool) -> LookupPoint {
        LookupPoint {
            name: name.into(),
            record_type: kind.into(),
            stub,
            start_unix_nano: self.start_unix_nano,
            count: self.count,
            errors: self.errors,
            queries: self.queries,
            search_attempts: self.search_attempts,
            durations: self.durations.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::testing;
    use crate::span::{Endpoint, dns::DnsTransport};

    fn lookup(kind: SpanKind, name: &str, code: &'static str, server: [u8; 4]) -> Span {
        let mut span = testing::server("api", 200);
        span.kind = kind;
        let there = Endpoint::Inet(server.into(), 53);
        if kind == SpanKind::Client {
            span.peer = there;
        } else {
            span.local = there;
        }
        span.call = Call::Dns(Box::new(DnsCall {
            name: name.into(),
            kind: "A".into(),
            code: Some(code),
            answers: Some(1),
            attempts: 1,
            transport: DnsTransport::Udp,
            truncated: false,
            timed_out: false,
            search: None,
            addresses: Vec::new(),
        }));
        span
    }

    fn short(names: &Names) -> Vec<String> {
        let text = |point: &LookupPoint| {
            let LookupPoint { name, record_type, stub, count, errors, .. } = point;
            format!("{name} {record_type} {stub} {count} {errors}")
        };
        names.snapshot().iter().map(text).collect()
    }

    #[test]
    fn each_look_up_is_counted_once() {
        let (mut names, bounds) = (Names::default(), Bounds::new(&[]));
        let resolver = [10, 0, 0, 53];
        names.record(&lookup(SpanKind::Client, "a.b", "NOERROR", resolver), 0, &bounds);
        names.record(&lookup(SpanKind::Client, "a.b", "NXDOMAIN", resolver), 0, &bounds);
        let mut seen_twice = lookup(SpanKind::Server, "a.b", "NXDOMAIN", resolver);
        seen_twice.peer_service = Some(testing::service("client"));
        names.record(&seen_twice, 0, &bounds);
        names.record(&lookup(SpanKind::Server, "c.d", "NOERROR", resolver), 0, &bounds);
        names.record(&lookup(SpanKind::Client, "a.b", "NOERROR", [127, 0, 0, 53]), 0, &bounds);
        names.record(&testing::server("api", 200), 0, &bounds);
        assert_eq!(short(&names), ["a.b A false 2 1", "a.b A true 1 0", "c.d A false 1 0"]);
    }

    #[test]
    fn questions_and_tries_of_search_lists() {
        let (mut names, bounds) = (Names::default(), Bounds::new(&[]));
        let mut record = |name: &str, before: Option<(&str, u32)>| {
            let mut span = lookup(SpanKind::Client, name, "NXDOMAIN", [10, 0, 0, 53]);
            let Call::Dns(call) = &mut span.call else { panic!("{span:?}") };
            call.attempts = 2;
            call.search = before.map(|(before, attempts)| {
                let (name, before) = ("a".into(), before.into());
                Box::new(Search { name, before, attempts, duration_ns: 1 })
            });
            names.record(&span, 0, &bounds);
        };
        record("a.x", None);
        record("a.x", None);
        record("a.y", Some(("a.x", 2)));
        record("a.z", Some(("a.y", 3)));
        let found = names.snapshot();
        let found = found.iter().map(|it| (&*it.name, it.count, it.queries, it.search_attempts));
        assert!(found.eq([("a.x", 2, 4, 1), ("a.y", 1, 2, 1), ("a.z", 1, 2, 1)]));
    }

    #[test]
    fn names_are_bounded() {
        let (mut names, bounds) = (Names::default(), Bounds::new(&[]));
        for number in 0..MAX_NAMES + 5 {
            let name = format!("n{number}");
            names.record(&lookup(SpanKind::Client, &name, "NOERROR", [10, 0, 0, 1]), 0, &bounds);
        }
        assert_eq!((names.len(), names.overflowed()), (MAX_NAMES, 5));
        assert_eq!(short(&names).last().unwrap(), "other * false 5 0");
        names.expire(u64::MAX);
        assert!(short(&names).is_empty());
    }
}
