//! Descriptors that are reused, duplicated, inherited and passed on: every request belongs to the
//! process that made or answered it, and to the connection that carried it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::{Expected, compare, report};
use vigie_tests::needs::{Need, missing};
use vigie_tests::span::Kind;
use vigie_tests::workload::{Exchange, Server, logging_client, python, wait_for};

/// What a client does with its descriptors, and how many requests it makes.
const CLIENTS: [(&str, usize); 6] =
    [("reuse", 30), ("dup", 15), ("dup2", 15), ("passed", 10), ("fork", 9), ("execute", 6)];

/// What a server does with its connections.
const SERVERS: [(&str, &[&str]); 2] =
    [("forked", &["--workers", "4"]), ("handed-on", &["--workers", "2", "--pass-connections"])];

#[test]
fn every_request_belongs_to_its_process() -> Result<()> {
    if missing("descriptors", &[Need::Root, Need::Agent, Need::Program("python3")])? {
        return Ok(());
    }
    let agent = Agent::start(&Options::default())?;
    let mut expected = Vec::new();
    for (scenario, count) in CLIENTS {
        expected.extend(client_scenario(scenario, count)?);
    }
    for (scenario, arguments) in SERVERS {
        expected.extend(server_scenario(scenario, arguments)?);
    }
    let watched: BTreeSet<u32> = expected.iter().map(|one| one.exchange.pid).collect();
    agent.settle(expected.len(), |span| watched.contains(&span.pid));
    let stopped = agent.stop()?;
    report(&compare(&expected, &stopped.spans, &watched))
}

/// The same without vigie: the workloads themselves.
#[test]
fn workloads_do_what_they_promise() -> Result<()> {
    if missing("descriptors: workloads", &[Need::Program("python3")])? {
        return Ok(());
    }
    for (scenario, count) in CLIENTS {
        client_scenario(scenario, count)?;
    }
    for (scenario, arguments) in SERVERS {
        server_scenario(scenario, arguments)?;
    }
    Ok(())
}

fn client_scenario(scenario: &str, count: usize) -> Result<Vec<Expected>> {
    let (a, b) = (
        Server::python("a", "scripted_server.py", &[])?,
        Server::python("b", "scripted_server.py", &[])?,
    );
    let mut command = python("descriptors.py")?;
    let made = logging_client(command.args([scenario, a.target(), b.target()]))?;
    let answered = wait_for(count, || Ok([a.exchanges()?, b.exchanges()?].concat()))?;
    ensure!(made.len() == count, "{scenario}: client made {} of {count}", made.len());
    both_sides(scenario, made, answered)
}

fn server_scenario(scenario: &str, arguments: &[&str]) -> Result<Vec<Expected>> {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 5;
    let server = Server::python(scenario, "http_server.py", arguments)?;
    let mut made = Vec::new();
    for number in 0..CONNECTIONS {
        let path = format!("/plain/{scenario}/{number}");
        let mut command = python("client.py")?;
        command.args(["--target", server.target(), "--path", &path, "--count", &EACH.to_string()]);
        made.extend(logging_client(&mut command)?);
    }
    let answered = wait_for(CONNECTIONS * EACH, || server.exchanges())?;
    for exchange in &answered {
        let is_worker = server.pids.contains(&exchange.pid);
        ensure!(is_worker, "{scenario}: answered by no worker: {exchange:?}");
    }
    both_sides(scenario, made, answered)
}

/// The spans that must be there, once the logs of both sides agree.
fn both_sides(
    scenario: &str,
    made: Vec<Exchange>,
    answered: Vec<Exchange>,
) -> Result<Vec<Expected>> {
    let paths = |exchanges: &[Exchange]| {
        let mut paths: Vec<_> = exchanges
            .iter()
            .map(|exchange| (exchange.path.clone(), exchange.status, exchange.whole))
            .collect();
        paths.sort();
        paths
    };
    let (asked, told) = (paths(&made), paths(&answered));
    ensure!(asked == told, "{scenario}: client: {asked:?}\nserver: {told:?}");
    let made = made.into_iter().map(|one| Expected::new(scenario, Kind::Client, one));
    let answered = answered.into_iter().map(|one| Expected::new(scenario, Kind::Server, one));
    Ok(made.chain(answered).collect())
}
