//! Connections and servers that are older than vigie are like others from the moment it says that
//! it is ready.

use std::collections::BTreeSet;

use anyhow::Result;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::{Expected, compare, report};
use vigie_tests::needs::{Need, missing};
use vigie_tests::site::{Name, Site};
use vigie_tests::span::Kind;
use vigie_tests::workload::{Exchange, Waiting, wait_for};

const NEEDS: [Need; 5] = [
    Need::Root,
    Need::Agent,
    Need::Program("nginx"),
    Need::Program("python3"),
    Need::Program("node"),
];

const SERVERS: [(Name, &str); 5] = [
    (Name::Nginx, "/static/older-nginx"),
    (Name::PythonHttp11, "/plain/older-eleven"),
    (Name::Scripted, "/plain/older-scripted"),
    (Name::ScriptedUnix, "/plain/older-unix"),
    (Name::Node, "/plain/older-node"),
];

/// Half of the connections have carried requests before, half have only been opened. All send the
/// moment `ready` is there.
#[test]
fn requests_after_ready_are_counted() -> Result<()> {
    if missing("older_connections", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let mut clients = Vec::new();
    for (name, path) in SERVERS {
        let Some(target) = site.target(name) else { continue };
        for (use_, before) in [("fresh", 0), ("used", 3)] {
            let path = format!("{path}/{use_}");
            let options = ["--wait", "--count", "10"];
            clients.push((name, path.clone(), Waiting::start(&target, &path, before, &options)?));
        }
    }
    let mut agent = Agent::spawn(&Options::default())?;
    agent.wait_ready()?;
    for (_, _, client) in &mut clients {
        client.go()?;
    }

    let (mut expected, mut watched) = (Vec::new(), BTreeSet::new());
    for (name, path, client) in clients {
        let before = client.before;
        let made = client.finish()?;
        let answered = wait_for(made.len(), || after(&site, name, &path, before))?;
        watched.extend(made.iter().chain(&answered).map(|exchange| exchange.pid));
        expected.extend(made.into_iter().map(|one| Expected::new(&path, Kind::Client, one)));
        expected.extend(answered.into_iter().map(|one| Expected::new(&path, Kind::Server, one)));
    }
    agent.settle(expected.len(), |span| watched.contains(&span.pid));
    let stopped = agent.stop()?;
    report(&compare(&expected, &stopped.spans, &watched))
}

/// What a server answered on this path, from request number `first` on.
fn after(site: &Site, name: Name, path: &str, first: usize) -> Result<Vec<Exchange>> {
    let number = |exchange: &Exchange| {
        exchange.path.strip_prefix(path)?.strip_prefix('/')?.parse::<usize>().ok()
    };
    let mut found = site.exchanges(name)?;
    found.retain(|exchange| number(exchange).is_some_and(|number| number >= first));
    Ok(found)
}

/// vigie starts in the middle of a request's head. That one cannot be known, and must not be
/// guessed; those after it are counted.
#[test]
fn a_request_under_way_is_not_guessed() -> Result<()> {
    if missing("older_connections: under way", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let path = "/plain/under-way";
    let mut client =
        Waiting::start(site.scripted.target(), path, 0, &["--wait-inside", "--count", "6"])?;
    let agent = Agent::start(&Options::default())?;
    client.go()?;
    let made = client.finish()?;
    let answered = wait_for(made.len(), || after(&site, Name::Scripted, path, 0))?;
    let watched: BTreeSet<u32> =
        made.iter().chain(&answered).map(|exchange| exchange.pid).collect();
    let expect = |kind, exchanges: Vec<Exchange>| {
        exchanges.into_iter().skip(1).map(move |exchange| Expected {
            tolerated: &["mid_stream"],
            ..Expected::new("under-way", kind, exchange)
        })
    };
    let expected: Vec<_> =
        expect(Kind::Client, made).chain(expect(Kind::Server, answered)).collect();
    agent.settle(expected.len(), |span| watched.contains(&span.pid));
    let mut spans = agent.stop()?.spans;
    // The first one may be there, as long as it says what is wrong with it and makes nothing up.
    spans.retain(|span| {
        let is_known = span.path().starts_with(path) && span.path() != format!("{path}/0");
        is_known || !span.flags.iter().any(|flag| flag == "mid_stream")
    });
    report(&compare(&expected, &spans, &watched))
}
