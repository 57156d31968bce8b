//! Kafka by two clients against the broker for tests that librdkafka has: both ends of each call are seen,
//! and each message that a client puts is one.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT, Process, service};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{Server, grpc as python};

const NEEDS: [Need; 3] = [Need::Root, Need::Agent, Need::Grpcio];

#[derive(Deserialize)]
struct Said {
    put: usize,
    taken: usize,
}

fn start_client(broker: &Server, options: &[&str]) -> Result<Process> {
    let mut command = python("kafka_client.py")?;
    command.args(["--target", broker.target()]).args(options);
    Process::start(&mut command)
}

fn call(span: &Span) -> String {
    format!("{} {}", span.name, span.text("error.type").unwrap_or("-"))
}

/// Both ends of the client's calls, and that each message put was one.
fn check(library: &str, wait: bool) -> Result<()> {
    let broker = Server::start(&service("broker"), &mut python("kafka_broker.py")?)?;
    let options = ["--library", library, "--messages", "200"];
    let (agent, client) = if wait {
        let mut client = start_client(&broker, &[&options[..], &["--wait"]].concat())?;
        client.wait_output("connected", |lines| {
            lines.iter().find(|line| *line == "connected").cloned()
        })?;
        let agent = Agent::start(&Options::ours(""))?;
        client.tell("go")?;
        (agent, client)
    } else {
        (Agent::start(&Options::ours(""))?, start_client(&broker, &options)?)
    };
    let pid = client.pid();
    let ended = client.wait(2 * LIMIT)?;
    let last = ended.output.last().cloned().unwrap_or_default();
    let said: Said = serde_json::from_str(&last).with_context(|| format!("it said {last}"))?;
    ensure!(said.taken == said.put + usize::from(wait), "taken: {}", said.taken);
    let broker_pid = broker.pids.first().copied().context("no process")?;
    agent.settle(2 * said.put, |span| span.protocol == "kafka");
    let spans = agent.finish()?.spans;
    let ours: Vec<Span> = spans.into_iter().filter(|span| span.protocol == "kafka").collect();
    // The broker's process asks itself, too.
    let asks = |span: &Span| span.kind != Kind::Server && span.pid == pid;
    let answers = |span: &Span| {
        span.kind == Kind::Server
            && span.pid == broker_pid
            && ours.iter().any(|other| asks(other) && other.local.port == span.peer.port)
    };
    let tally = |is: &dyn Fn(&Span) -> bool| {
        let mut tally = Tally::default();
        ours.iter().filter(|span| is(span)).for_each(|span| tally.add(call(span), 1));
        tally
    };
    let client = tally(&asks);
    client.compare("the broker", &tally(&answers))?;
    let produced = ours.iter().filter(|span| asks(span) && span.kind == Kind::Producer).count();
    ensure!(produced == said.put, "{produced} of {} messages put:\n{client}", said.put);
    let orders = |span: &&Span| span.text("messaging.destination.name") == Some("orders");
    let named = ours.iter().filter(orders).filter(|span| asks(span)).count();
    ensure!(named > said.put, "topics are missing:\n{client}");
    ensure!(!format!("{ours:?}").contains("SECRET"), "a message is shown");
    Ok(())
}

#[test]
fn a_client_in_python() -> Result<()> {
    if missing("kafka: kafka-python", &NEEDS)? {
        return Ok(());
    }
    check("kafka", false)
}

#[test]
fn a_client_in_c() -> Result<()> {
    if missing("kafka: librdkafka", &NEEDS)? {
        return Ok(());
    }
    check("confluent", false)
}

#[test]
fn connections_older_than_vigie() -> Result<()> {
    if missing("kafka: older connections", &NEEDS)? {
        return Ok(());
    }
    check("kafka", true)
}
