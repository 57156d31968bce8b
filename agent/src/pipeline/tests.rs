//! Calls in flight in recorded streams, against the spans that they come to.

use std::collections::HashMap;
use std::path::PathBuf;

use super::*;
use crate::event::stream::Reader;
use crate::metrics;
use crate::protocol::in_flight::CallId;
use crate::replay::time_of;
use crate::span::route::{RouteLimits, Unmatched};
use crate::span::{Flags, SpanId, TraceId, testing};

/// Everybody is watched.
struct Everybody;

impl Identify for Everybody {
    fn identify(&mut self, process: ProcessKey) -> Option<Identified> {
        let name = format!("service-{}", process.pid);
        Some(Identified { process: testing::process(&name, process.pid), routes: 0 })
    }
}

struct Keep(Arc<Mutex<Vec<Span>>>);

impl TakeSpans for Keep {
    fn take(&mut self, spans: &mut Vec<Span>) {
        self.0.lock().unwrap().append(spans);
    }
}

fn pipeline() -> (Pipeline, Arc<Mutex<Vec<Span>>>) {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::new(Mutex::new(Store::new(metrics::Limits::default(), &[], 0)));
    let outputs = Outputs { store, slo: None, takers: vec![Box::new(Keep(Arc::clone(&ended)))] };
    let routes = Routes::new([], Unmatched::Heuristic, RouteLimits::default());
    let assembler = Assembler::new(vec![routes], 100);
    (Pipeline::new(flow::Limits::default(), assembler, outputs), ended)
}

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    std::fs::read(fixtures.join(format!("{name}.jsonl"))).unwrap()
}

fn look(pipeline: &mut Pipeline, now: MonoNs, each: &mut dyn FnMut(&Span)) -> Looked {
    pipeline.in_flight(0..MonoNs::MAX, now, &Clock::fixed(0, 0), &mut Everybody, each)
}

/// Without the ids that are made up.
fn without_made_up(span: &Span) -> Span {
    let mut span = span.clone();
    if span.parent_span_id.is_none() {
        span.trace_id = TraceId([0; 16]);
    }
    span.span_id = SpanId([0; 8]);
    span
}

/// What a span is while nothing of the answer is known.
fn without_answer(span: &Span) -> Span {
    let mut span = without_made_up(span);
    (span.duration_ns, span.first_byte_ns, span.flags) = (0, None, Flags::none());
    match &mut span.call {
        Call::Http(call) => {
            (call.status, call.error) = (None, None);
            (call.request_body, call.response_body) = (None, None);
        }
        Call::Grpc(call) => {
            (call.status, call.http_status, call.error) = (None, None, None);
            (call.request_messages, call.response_messages) = (None, None);
            call.first_message_ns = None;
        }
        Call::Database(call) => {
            (call.error, call.sqlstate, call.answered) = (None, None, false);
            (call.rows, call.batch) = (None, None);
        }
        Call::Messaging(call) => (call.error, call.answered) = (None, false),
        Call::Dns(call) => {
            (call.code, call.answers) = (None, None);
            (call.timed_out, call.truncated) = (false, false);
        }
    }
    span
}

/// Names that only the answer told are taken over: what a statement did, a topic.
fn learn(before: &mut Span, after: &Span) {
    match (&mut before.call, &after.call) {
        (Call::Database(before), Call::Database(after))
            if before.statement.operation.is_empty() =>
        {
            before.statement = Arc::clone(&after.statement);
        }
        (Call::Messaging(before), Call::Messaging(after)) if before.destination.is_none() => {
            before.destination.clone_from(&after.destination);
        }
        _ => {}
    }
}

/// Looks after each event of a fixture. What is shown must be the span that comes later, and is not
/// shown again after that; the number of spans that were shown, and of all.
#[track_caller]
fn check(name: &str) -> (usize, usize) {
    let (mut pipeline, ended) = pipeline();
    let mut shown: HashMap<CallId, Span> = HashMap::new();
    let mut now = 0;
    for event in Reader::new(fixture(name).as_slice()) {
        let event = event.unwrap();
        now = now.max(time_of(&event));
        pipeline.event(&event);
        pipeline.settle(now, &Clock::fixed(0, 0), &mut Everybody, |_, _| {});
        let ended: Vec<CallId> = ended.lock().unwrap().iter().map(|span| span.id).collect();
        let mut ids = Vec::new();
        let looked = look(&mut pipeline, now, &mut |span| {
            assert!(!ended.contains(&span.id), "{name}: {span:?} is over");
            assert_eq!(span.start_unix_nano + span.duration_ns, now, "{name}: {span:?}");
            assert!(span.duration_is_trusted(), "{name}: {span:?}");
            ids.push(span.id);
            shown.insert(span.id, span.clone());
        });
        assert_eq!((looked.shown, looked.left), (ids.len(), 0));
        ids.sort_by_key(|id| (id.connection, id.start_ns, id.sequence));
        ids.dedup();
        assert_eq!(ids.len(), looked.shown, "{name}: ids are not unique");
    }
    pipeline.finish(now + 10_000_000_000, &Clock::fixed(0, 0), &mut Everybody);
    let ended = ended.lock().unwrap();
    let mut were_shown = 0;
    for span in ended.iter() {
        if let Some(before) = shown.get_mut(&span.id) {
            learn(before, span);
            were_shown += 1;
            assert_eq!(without_answer(before), without_answer(span), "{name}");
        }
    }
    (were_shown, ended.len())
}

#[test]
fn what_is_shown_is_what_comes() {
    for (name, shown, all) in [
        ("keep_alive", 3, 3),
        ("chunked_client", 2, 2),
        ("one_byte_reads", 1, 1),
        ("sendfile", 2, 2),
        ("unix_socket", 1, 1),
        ("resets", 13, 13),
        ("websocket", 1, 1),
        ("mid_stream", 1, 1),
        ("lost_records", 4, 4),
        ("counted_by_kernel", 2, 2),
        ("http2", 2, 2),
        ("grpc", 8, 8),
        ("postgres", 13, 13),
        // Not being let in is a call, but is not shown as one: most are let in.
        ("mysql", 11, 12),
        ("redis", 7, 7),
        ("memcached", 6, 6),
        ("mongodb", 2, 2),
        ("kafka", 4, 4),
        ("dns", 6, 6),
    ] {
        assert_eq!(check(name), (shown, all), "{name}");
    }
}

#[test]
fn looks_change_nothing() {
    for name in ["resets", "http2", "grpc", "postgres", "mysql", "redis", "memcached", "dns"] {
        let run = |looks: usize| {
            let (mut pipeline, ended) = pipeline();
            let mut now = 0;
            for event in Reader::new(fixture(name).as_slice()) {
                let event = event.unwrap();
                now = now.max(time_of(&event));
                pipeline.event(&event);
                for _ in 0..looks {
                    look(&mut pipeline, now, &mut |_| {});
                }
            }
            pipeline.finish(now, &Clock::fixed(0, 0), &mut Everybody);
            let spans: Vec<Span> = ended.lock().unwrap().iter().map(without_made_up).collect();
            (spans, format!("{:?}", pipeline.figures()))
        };
        assert!(run(0) == run(3), "{name}");
    }
}
