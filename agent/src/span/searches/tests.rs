use std::sync::Arc;

use super::*;
use crate::span::Endpoint;
use crate::span::dns::DnsTransport;
use crate::span::testing::{self, START};

const MS: u64 = 1_000_000;

/// A look-up of thread 1, from and to these milliseconds: `A db.x NXDOMAIN`.
fn lookup(text: &str, from: u64, to: u64) -> Span {
    let mut words = text.split(' ');
    let (kind, name, code) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let mut span = testing::client("api", 200);
    span.tid = 1;
    span.start_unix_nano = START + from * MS;
    span.duration_ns = (to - from) * MS;
    span.peer = Endpoint::Inet([10, 0, 0, 53].into(), 53);
    let code = match code {
        "NXDOMAIN" => Some("NXDOMAIN"),
        "NOERROR" | "NODATA" => Some("NOERROR"),
        _ => None,
    };
    span.call = Call::Dns(Box::new(DnsCall {
        name: name.into(),
        kind: kind.into(),
        code,
        answers: code.map(|_| u16::from(text.ends_with("NOERROR"))),
        attempts: 1,
        transport: DnsTransport::Udp,
        truncated: false,
        timed_out: code.is_none(),
        search: None,
        addresses: Vec::new(),
    }));
    span
}

fn with_list(mut span: Span, list: &[&str]) -> Span {
    let list: Arc<[Box<str>]> = list.iter().map(|suffix| Box::from(*suffix)).collect();
    span.process = Arc::new(Process { search: Some(list), ..(*span.process).clone() });
    span
}

/// Takes look-ups in one after the other, and tells what each goes on with and what is over.
fn told(spans: Vec<Span>) -> (Vec<String>, Vec<String>) {
    let mut searches = Searches::new(100);
    let mut spans = spans;
    searches.finish(&mut spans);
    let tries = spans.iter().filter_map(|span| {
        let Call::Dns(call) = &span.call else { panic!("{span:?}") };
        let Search { name, before, attempts, duration_ns } = call.search.as_deref()?;
        Some(format!(
            "{} {}: {name} after {before} {attempts} {}",
            call.kind,
            call.name,
            duration_ns / MS
        ))
    });
    let tries = tries.collect();
    (tries, over(&mut searches))
}

fn over(searches: &mut Searches) -> Vec<String> {
    let tell = |search: &Searched| {
        let Searched { name, record_type, found, attempts, duration_ns, .. } = search;
        let found = found.as_deref().unwrap_or("-");
        format!("{record_type} {name} -> {found} {attempts} {}", duration_ns / MS)
    };
    searches.take_over().iter().map(tell).collect()
}

#[test]
fn a_pod_looks_for_a_service() {
    let (tries, over) = told(vec![
        lookup("A db.shop.svc.cluster.local NXDOMAIN", 0, 1),
        lookup("AAAA db.shop.svc.cluster.local NXDOMAIN", 0, 2),
        lookup("A db.svc.cluster.local NXDOMAIN", 2, 3),
        lookup("AAAA db.svc.cluster.local NXDOMAIN", 2, 4),
        lookup("A db.cluster.local NOERROR", 4, 5),
        lookup("AAAA db.cluster.local NODATA", 4, 6),
    ]);
    assert_eq!(
        tries,
        [
            "A db.svc.cluster.local: db after db.shop.svc.cluster.local 2 3",
            "AAAA db.svc.cluster.local: db after db.shop.svc.cluster.local 2 4",
            "A db.cluster.local: db after db.svc.cluster.local 3 5",
            "AAAA db.cluster.local: db after db.svc.cluster.local 3 6",
        ]
    );
    assert_eq!(over, ["A db -> db.cluster.local 3 5", "AAAA db -> - 3 6"]);
}

#[test]
fn what_is_no_search() {
    let check = |first: Span, second: Span| {
        let spans = format!("{first:?} {second:?}");
        assert_eq!(told(vec![first, second]), (Vec::new(), Vec::new()), "{spans}");
    };
    let first = || lookup("A www.a.org NXDOMAIN", 0, 1);
    // Two names of a program, as nothing is known of its list.
    check(first(), lookup("A www.b.org NOERROR", 1, 2));
    check(first(), lookup("A ftp.a.org NOERROR", 1, 2));
    check(first(), lookup("A www.a.org NOERROR", 1, 2));
    check(first(), lookup("A www-2.a.org NOERROR", 1, 2));
    // The other way around.
    check(lookup("A www.org NXDOMAIN", 0, 1), lookup("A www.a.org NOERROR", 1, 2));
    check(first(), lookup("AAAA www NOERROR", 1, 2));
    check(first(), lookup("A www NOERROR", 1000, 1001));
    check(lookup("A www.a.org NXDOMAIN", 0, 9), lookup("A www NOERROR", 5, 10));
    check(lookup("A www.a.org NOERROR", 0, 1), lookup("A www NOERROR", 1, 2));
    check(lookup("A www.a.org timeout", 0, 1), lookup("A www NOERROR", 1, 2));
    check(lookup("TXT _dmarc.a.org NXDOMAIN", 0, 1), lookup("TXT _dmarc.org NOERROR", 1, 2));
    let mut other = lookup("A www NOERROR", 1, 2);
    other.process = testing::process("web", 7);
    check(first(), other);
    let list = |span| with_list(span, &["b.org", "c.org"]);
    check(list(first()), list(lookup("A www.org NOERROR", 1, 2)));
    // Each suffix has its turn.
    let back = [lookup("A www.c.org NXDOMAIN", 0, 1), lookup("A www.b.org NOERROR", 1, 2)];
    let [first, second] = back.map(list);
    check(first, second);
}

#[test]
fn a_known_list_decides() {
    let list = |span| with_list(span, &["a.test", "b.test", "test"]);
    let names = ["db.a.test NXDOMAIN", "db.b.test NXDOMAIN", "db.test NXDOMAIN", "db NXDOMAIN"];
    let spans = names.iter().zip(0..);
    let spans = spans.map(|(text, at)| list(lookup(&format!("A {text}"), at, at + 1))).collect();
    assert_eq!(told(spans).1, ["A db -> - 4 4"]);
    // With fewer dots than `ndots` the name itself comes first.
    let (first, second) = (lookup("A a.b NXDOMAIN", 0, 1), lookup("A a.b.test NOERROR", 1, 2));
    assert_eq!(told(vec![list(first), list(second)]).1, ["A a.b -> a.b.test 2 2"]);
    // What is before the suffixes is the name, even where they begin alike.
    let list = |span| with_list(span, &["b.b.test", "b.test"]);
    let spans = [lookup("A a.b.b.test NXDOMAIN", 0, 1), lookup("A a.b.test NOERROR", 1, 2)];
    assert_eq!(told(spans.map(list).to_vec()).1, ["A a -> a.b.test 2 2"]);
}

#[test]
fn a_suffix_of_another_kind_at_the_end() {
    let spans = vec![
        lookup("A api.example.com.shop.svc.cluster.local NXDOMAIN", 0, 1),
        lookup("A api.example.com.svc.cluster.local NXDOMAIN", 1, 2),
        lookup("A api.example.com.ec2.internal NXDOMAIN", 2, 3),
        lookup("A api.example.com NOERROR", 3, 4),
    ];
    assert_eq!(told(spans).1, ["A api.example.com -> api.example.com 4 4"]);
}

#[test]
fn threads_go_on_with_their_own() {
    let of = |tid: u32, mut span: Span| {
        span.tid = tid;
        span
    };
    let (tries, over) = told(vec![
        of(1, lookup("A db.a.x NXDOMAIN", 0, 2)),
        of(2, lookup("A db.a.x NXDOMAIN", 0, 3)),
        of(1, lookup("A db.x NOERROR", 4, 7)),
        of(2, lookup("A db.x NOERROR", 4, 8)),
    ]);
    assert_eq!(tries, ["A db.x: db after db.a.x 2 7", "A db.x: db after db.a.x 2 8"]);
    assert_eq!(over, ["A db -> db.x 2 7", "A db -> db.x 2 8"]);
    let mut spans = vec![
        of(1, lookup("A db.a.x NXDOMAIN", 0, 2)),
        // Event loops and Go change threads.
        of(3, lookup("A db.x NOERROR", 4, 7)),
    ];
    let mut searches = Searches::new(1);
    searches.finish(&mut spans);
    assert_eq!(over_of(&mut searches), 1);
}

fn over_of(searches: &mut Searches) -> usize {
    over(searches).len()
}

#[test]
fn rounds_and_other_calls() {
    let mut searches = Searches::new(100);
    let mut spans = vec![lookup("A db.x NOERROR", 4, 7), testing::server("api", 200)];
    searches.settle(START + 8 * MS, &mut spans);
    assert_eq!(spans.len(), 1, "only look-ups wait");
    // The try before comes through another ring, a moment later.
    spans = vec![lookup("A db.a.x NXDOMAIN", 0, 2), lookup("A z.a.x NXDOMAIN", 8, 9)];
    searches.settle(START + 9 * MS, &mut spans);
    assert_eq!(spans.len(), 2);
    assert_eq!(over(&mut searches), ["A db -> db.x 2 7"]);
    spans.clear();
    searches.settle(START + 10 * MS, &mut spans);
    assert_eq!((spans.len(), searches.tries.len()), (1, 1));
    searches.settle(START + 10 * MS + WAIT_NS, &mut spans);
    assert!(searches.tries.is_empty() && searches.by_alike.is_empty());
    assert_eq!(over_of(&mut searches), 0, "one try is no search");
}

#[test]
fn they_are_bounded() {
    let mut searches = Searches::new(10);
    let mut spans: Vec<Span> =
        (0..100).map(|n| lookup(&format!("A n{n}.x NXDOMAIN"), n, n + 1)).collect();
    searches.settle(START, &mut spans);
    searches.settle(START, &mut spans.split_off(0));
    assert_eq!((searches.tries.len(), searches.by_alike.len()), (10, 10));
    assert_eq!(searches.stats().evicted, 90);
}
