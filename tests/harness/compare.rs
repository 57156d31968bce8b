//! What the programs logged against what vigie says: every exchange exactly once on each side,
//! with the right process, method, path, status, times and flags, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::span::{Kind, Span};
use crate::workload::Exchange;

/// How far apart the clocks of a workload and of vigie may be: both read the same clock, but
/// vigie converts from the monotonic one.
const CLOCK_SLACK: u64 = 5_000_000;

/// How long after the workload's own last look at the clock a call may end: a process can be
/// descheduled between its last byte and the end of its system call, never for a whole pause of
/// the workloads that have one.
const LATE_SLACK: u64 = 500_000_000;

/// A span that must be there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What it belongs to, for messages.
    pub row: String,
    /// Server or client.
    pub kind: Kind,
    /// What was logged. A client's log begins before the first byte of the request, a server's when
    /// it has the request's head; both end after the last byte of the response.
    pub exchange: Exchange,
    /// Servers: when the client began to ask, where that is known.
    pub asked: Option<u64>,
    /// The workload itself takes at least so long over it.
    pub least: Duration,
    /// `service.name`, where the process was given one.
    pub service: Option<String>,
    /// Flags that the span may carry although it was seen whole.
    pub tolerated: &'static [&'static str],
}

impl Expected {
    /// With nothing particular about it.
    pub fn new(row: &str, kind: Kind, exchange: Exchange) -> Self {
        Self {
            row: row.to_owned(),
            kind,
            exchange,
            asked: None,
            least: Duration::ZERO,
            service: None,
            tolerated: &[],
        }
    }
}

type Key = (Kind, u32, String, String);

fn key_of(span: &Span) -> Key {
    (span.kind, span.pid, span.method().to_owned(), span.path().to_owned())
}

/// `http.request.method` of the semantic conventions: unknown methods are `_OTHER`.
fn attribute(method: &str) -> &str {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    if KNOWN.contains(&method) { method } else { "_OTHER" }
}

/// Everything in which the spans of the `watched` processes differ from what is expected.
pub fn compare(expected: &[Expected], spans: &[Span], watched: &BTreeSet<u32>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut wanted: BTreeMap<Key, Vec<&Expected>> = BTreeMap::new();
    for one in expected {
        let Exchange { pid, method, path, .. } = &one.exchange;
        let method = attribute(method).to_owned();
        wanted.entry((one.kind, *pid, method, path.clone())).or_default().push(one);
    }
    let mut found: BTreeMap<Key, Vec<&Span>> = BTreeMap::new();
    for span in spans.iter().filter(|span| watched.contains(&span.pid)) {
        found.entry(key_of(span)).or_default().push(span);
    }
    for (key, wanted) in &wanted {
        let found = found.remove(key).unwrap_or_default();
        compare_group(key, wanted, &found, &mut problems);
    }
    for (key, spans) in found {
        problems.push(format!("{} span(s) that nobody made: {key:?}: {spans:?}", spans.len()));
    }
    check_ids(spans, &mut problems);
    problems
}

fn compare_group(key: &Key, wanted: &[&Expected], found: &[&Span], problems: &mut Vec<String>) {
    let Some(first) = wanted.first() else { return };
    let (kind, pid, method, path) = key;
    let what = format!("{}: {kind:?} {pid} {method} {path}", first.row);
    if wanted.len() != found.len() {
        problems.push(format!("{what}: {} made, {} counted {found:?}", wanted.len(), found.len()));
        return;
    }
    let mut statuses: Vec<_> = wanted.iter().map(|one| one.exchange.status).collect();
    let mut codes: Vec<_> = found.iter().map(|span| span.code()).collect();
    statuses.sort_unstable();
    codes.sort_unstable();
    if statuses != codes {
        problems.push(format!("{what}: statuses {statuses:?}, spans say {codes:?}"));
        return;
    }
    // Exchanges with one key are alike but for their times; in order of time they pair up.
    let mut spans = found.to_vec();
    spans.sort_unstable_by_key(|span| span.start_unix_nano);
    for (one, span) in wanted.iter().zip(spans) {
        let mut fail = |text: String| problems.push(format!("{what}: {text} {span:?}"));
        check_outcome(one, span, &mut fail);
        check_times(one, span, &mut fail);
        check_names(one, span, &mut fail);
    }
}

fn check_outcome(one: &Expected, span: &Span, fail: &mut impl FnMut(String)) {
    let Exchange { status, whole, .. } = one.exchange;
    let failed_from = if one.kind == Kind::Server { 500 } else { 400 };
    if whole {
        let surplus: Vec<_> =
            span.flags.iter().filter(|flag| !one.tolerated.contains(&flag.as_str())).collect();
        if !surplus.is_empty() {
            fail(format!("seen whole, but flagged {surplus:?}"));
        }
        let wanted = match status {
            Some(code) if code >= failed_from => "error",
            _ => "ok",
        };
        if span.status != wanted {
            fail(format!("status `{}`, should be `{wanted}`", span.status));
        }
    } else {
        if span.text("error.type").is_none() {
            fail("not whole, but no error.type".to_owned());
        }
        if status.is_none() && !span.flags.iter().any(|flag| flag == "no_response") {
            fail("no response, but not flagged so".to_owned());
        }
    }
}

fn check_times(one: &Expected, span: &Span, fail: &mut impl FnMut(String)) {
    let Exchange { start, end, .. } = one.exchange;
    if u128::from(span.duration_ns) < one.least.as_nanos() {
        fail(format!("shorter than the workload's own {:?}", one.least));
    }
    let asked = if one.kind == Kind::Client { start } else { one.asked };
    if let Some(asked) = asked
        && span.start_unix_nano + CLOCK_SLACK < asked
    {
        fail(format!("starts {} ns before it was asked for", asked - span.start_unix_nano));
    }
    if let Some(start) = start
        && one.kind == Kind::Server
        && span.start_unix_nano > start + CLOCK_SLACK
    {
        fail(format!("starts {} ns after its head was read", span.start_unix_nano - start));
    }
    if let Some(end) = end
        && span.end_unix_nano() > end + LATE_SLACK
    {
        fail(format!("ends {} ns after it was over", span.end_unix_nano() - end));
    }
}

fn check_names(one: &Expected, span: &Span, fail: &mut impl FnMut(String)) {
    let Exchange { method, path, local_port, peer_port, .. } = &one.exchange;
    if span.protocol != "http/1.1" {
        fail(format!("protocol `{}`", span.protocol));
    }
    if path.starts_with('/') {
        let route = route(path);
        // The conventions name a span of an unknown method `HTTP`.
        let method = if attribute(method) == method { method } else { "HTTP" };
        if span.text("http.route") != Some(&route) {
            fail(format!("route should be `{route}`"));
        }
        if span.name != format!("{method} {route}") {
            fail(format!("name should be `{method} {route}`"));
        }
    }
    for (what, logged, seen) in
        [("local", local_port, span.local.port), ("peer", peer_port, span.peer.port)]
    {
        if logged.is_some() && *logged != seen {
            fail(format!("{what} port should be {logged:?}"));
        }
    }
    if let Some(service) = &one.service
        && span.service != *service
    {
        fail(format!("service should be `{service}`"));
    }
}

/// The workloads' paths have words and numbers only.
fn route(path: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    path.split('/')
        .map(|part| if is_number(part) { "{id}" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

fn check_ids(spans: &[Span], problems: &mut Vec<String>) {
    let is_id = |text: &str, length| {
        text.len() == length
            && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
            && text.bytes().any(|byte| byte != b'0')
    };
    let mut seen = BTreeSet::new();
    for span in spans {
        if !is_id(&span.trace_id, 32) || !is_id(&span.span_id, 16) {
            problems.push(format!("ids of the wrong form: {span:?}"));
        }
        if !seen.insert(&span.span_id) {
            problems.push(format!("two spans with one id: {span:?}"));
        }
    }
}

/// Ends a test: all problems at once, of each row (what stands before the first colon) the first
/// few, so that a row with many does not hide the others.
pub fn report(problems: &[String]) -> anyhow::Result<()> {
    const SHOWN_OF_EACH: usize = 3;
    if problems.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for problem in problems {
        let row = problem.split(':').next().unwrap_or_default();
        let count = counts.entry(row).or_default();
        *count += 1;
        if *count <= SHOWN_OF_EACH {
            text += "\n";
            text += problem;
        }
    }
    for (row, count) in counts.into_iter().filter(|(_, count)| *count > SHOWN_OF_EACH) {
        text.extend(["\n", row, ": ", &(count - SHOWN_OF_EACH).to_string(), " more like these"]);
    }
    anyhow::bail!("{} problem(s):{text}", problems.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn exchange(number: u64) -> Exchange {
        Exchange {
            pid: 7,
            method: "GET".to_owned(),
            path: format!("/plain/row/{number}"),
            status: Some(200),
            whole: true,
            start: Some(number * 10 * SECOND + 2000),
            end: Some((number * 10 + 1) * SECOND),
            local_port: Some(80),
            peer_port: Some(5000),
        }
    }

    fn span(number: u64) -> Span {
        serde_json::from_value(json!({
            "name": "GET /plain/row/{id}", "kind": "server", "protocol": "http/1.1",
            "service": "api", "namespace": "", "pid": 7, "tid": 8,
            "start_unix_nano": number * 10 * SECOND + 1000, "duration_ns": SECOND / 2,
            "status": "ok", "trace_id": format!("{:032x}", number + 1),
            "span_id": format!("{:016x}", number + 1), "parent_span_id": null,
            "local": {"address": "127.0.0.1", "port": 80},
            "peer": {"address": "127.0.0.1", "port": 5000, "service": null},
            "attributes": {
                "http.request.method": "GET", "url.path": format!("/plain/row/{number}"),
                "http.route": "/plain/row/{id}", "http.response.status_code": 200
            },
            "flags": []
        }))
        .unwrap()
    }

    /// Two exchanges and their spans, changed by `change`: it must be found, and told with `word`.
    #[track_caller]
    fn check(word: &str, change: impl FnOnce(&mut Vec<Span>)) {
        let expected: Vec<_> = (0..2)
            .map(|number| Expected {
                least: Duration::from_millis(400),
                asked: Some(number * 10 * SECOND),
                service: Some("api".to_owned()),
                ..Expected::new("row", Kind::Server, exchange(number))
            })
            .collect();
        let mut spans = vec![span(0), span(1)];
        change(&mut spans);
        let problems = compare(&expected, &spans, &BTreeSet::from([7]));
        if word.is_empty() {
            assert_eq!(problems, Vec::<String>::new());
        } else {
            assert!(problems.iter().any(|problem| problem.contains(word)), "{word}: {problems:?}");
        }
    }

    #[test]
    fn every_difference_is_found() {
        check("", |_| {});
        check("", |spans| spans.reverse());
        check("1 made, 0 counted", |spans| drop(spans.pop()));
        check("1 made, 2 counted", |spans| spans.push(span(1)));
        check("nobody made", |spans| spans.push(span(2)));
        check("nobody made", |spans| spans[0].kind = Kind::Client);
        check("spans say [Some(500)]", |spans| {
            spans[0].attributes.insert("http.response.status_code".to_owned(), 500.into());
        });
        check("flagged", |spans| spans[0].flags.push("lossy".to_owned()));
        check("should be `ok`", |spans| spans[0].status = "unset".to_owned());
        check("shorter than", |spans| spans[0].duration_ns = SECOND / 10);
        check("before it was asked for", |spans| spans[1].start_unix_nano = 9 * SECOND);
        check("after its head was read", |spans| spans[1].start_unix_nano += SECOND / 100);
        check("after it was over", |spans| spans[1].duration_ns = 9 * SECOND);
        check("route should be", |spans| drop(spans[0].attributes.remove("http.route")));
        check("name should be", |spans| spans[0].name = "GET".to_owned());
        check("local port", |spans| spans[0].local.port = Some(81));
        check("peer port", |spans| spans[0].peer.port = None);
        check("service should be", |spans| spans[0].service = "web".to_owned());
        check("wrong form", |spans| spans[0].span_id = "0".repeat(16));
        check("one id", |spans| spans[0].span_id.clone_from(&span(1).span_id));
    }

    #[test]
    fn what_is_not_whole_must_say_so() {
        let cut = Exchange { status: None, whole: false, ..exchange(0) };
        let check = |expected: usize, change: &dyn Fn(&mut Span)| {
            let mut seen = span(0);
            seen.attributes.remove("http.response.status_code");
            change(&mut seen);
            let expected_span = Expected::new("row", Kind::Server, cut.clone());
            let problems = compare(&[expected_span], &[seen], &BTreeSet::from([7]));
            assert_eq!(problems.len(), expected, "{problems:?}");
        };
        let error = |span: &mut Span| {
            span.attributes.insert("error.type".to_owned(), "connection_reset".into());
        };
        let flag = |span: &mut Span| span.flags.push("no_response".to_owned());
        check(2, &|_| {});
        check(1, &error);
        check(1, &flag);
        check(0, &|span| {
            error(span);
            flag(span);
        });
    }
}
