//! MongoDB by pymongo: what the driver says of its commands is what vigie says of both ends. The server
//! is a small one of the tests.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT, Process, service};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{Server, grpc as python};

const NEEDS: [Need; 3] = [Need::Root, Need::Agent, Need::Grpcio];

fn start_server() -> Result<Server> {
    Server::start(&service("store"), python("mongo_server.py")?.arg("0"))
}

fn client(server: &Server, options: &[&str]) -> Result<Command> {
    let mut command = python("mongo_client.py")?;
    command.args(["--target", server.target()]).args(options);
    Ok(command)
}

/// Operation, collection and error of the calls that the driver's listener is told of.
fn tally(spans: &[Span], kind: Kind, pid: u32) -> Tally {
    let greets = |span: &Span| matches!(span.name.as_str(), "hello" | "isMaster" | "ismaster");
    let ours: Vec<Span> = spans.iter().filter(|span| !greets(span)).cloned().collect();
    Tally::of(&ours, kind, &[pid], |span| {
        format!("{} {}", span.name, span.text("error.type").unwrap_or("-"))
    })
}

fn said(output: &[String]) -> Result<Tally> {
    let last = output.last().cloned().unwrap_or_default();
    let counts: BTreeMap<String, usize> =
        serde_json::from_str(&last).with_context(|| format!("the client said {last}"))?;
    Ok(counts.into_iter().collect())
}

#[test]
fn commands_are_exact_on_both_ends() -> Result<()> {
    if missing("mongodb", &NEEDS)? {
        return Ok(());
    }
    for options in [&["--rounds", "300"][..], &["--rounds", "50", "--zlib"]] {
        let server = start_server()?;
        let agent = Agent::start(&Options::ours(""))?;
        let client = Process::start(&mut client(&server, options)?)?;
        let pid = client.pid();
        let ended = client.wait(2 * LIMIT)?;
        let expected = said(&ended.output)?;
        agent.settle(2 * expected.total(), |span| span.protocol == "mongodb");
        let spans = agent.finish()?.spans;
        expected.compare("the client", &tally(&spans, Kind::Client, pid))?;
        let server_pid = server.pids.first().copied().context("no process")?;
        expected.compare("the server", &tally(&spans, Kind::Server, server_pid))?;
        for span in spans.iter().filter(|span| span.protocol == "mongodb") {
            ensure!(span.flags.is_empty(), "{} has flags {:?}", span.name, span.flags);
            ensure!(!format!("{span:?}").contains("SECRET"), "a value is shown: {span:?}");
        }
    }
    Ok(())
}

#[test]
fn connections_older_than_vigie() -> Result<()> {
    if missing("mongodb: older connections", &NEEDS)? {
        return Ok(());
    }
    let server = start_server()?;
    let mut command = client(&server, &["--rounds", "100", "--wait"])?;
    let mut client = Process::start(&mut command)?;
    client.wait_output("connected", |lines| {
        lines.iter().find(|line| *line == "connected").cloned()
    })?;
    let agent = Agent::start(&Options::ours(""))?;
    client.tell("go")?;
    let pid = client.pid();
    let ended = client.wait(2 * LIMIT)?;
    let expected = said(&ended.output)?;
    agent.settle(2 * expected.total(), |span| span.protocol == "mongodb");
    let spans = agent.finish()?.spans;
    expected.compare("the client", &tally(&spans, Kind::Client, pid))?;
    let server_pid = server.pids.first().copied().context("no process")?;
    expected.compare("the server", &tally(&spans, Kind::Server, server_pid))
}
