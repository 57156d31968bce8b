//! gRPC by its C core, grpc-go and tonic: what the client says of its calls is what vigie says of both
//! ends.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT, Process};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{Server, go_grpc, grpc};

/// A library that clients and servers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    /// grpcio, by the C core.
    Core,
    /// grpc-go, from Debian.
    Go,
    /// tonic, with hyper and h2.
    Tonic,
}

impl Library {
    fn need(self) -> Option<Need> {
        match self {
            Self::Core => Some(Need::Grpcio),
            Self::Go => Some(Need::Go),
            Self::Tonic => None,
        }
    }

    fn server(self) -> Result<Command> {
        Ok(match self {
            Self::Core => grpc("grpc_server.py")?,
            Self::Go => with(Command::new(go_grpc()?), "serve"),
            Self::Tonic => with(Command::new(env!("CARGO_BIN_EXE_workload-tonic")), "serve"),
        })
    }

    fn client(self) -> Result<Command> {
        Ok(match self {
            Self::Core => grpc("grpc_client.py")?,
            Self::Go => with(Command::new(go_grpc()?), "ask"),
            Self::Tonic => with(Command::new(env!("CARGO_BIN_EXE_workload-tonic")), "ask"),
        })
    }
}

fn with(mut command: Command, argument: &str) -> Command {
    command.arg(argument);
    command
}

/// Whether something is missing that a test with these at the server's and the client's end needs.
fn lacks(name: &str, ends: [Library; 2]) -> Result<bool> {
    let mut needs = vec![Need::Root, Need::Agent];
    needs.extend(ends.into_iter().filter_map(Library::need));
    missing(&format!("grpc: {name} {ends:?}"), &needs)
}

/// What a client says at its end.
#[derive(Deserialize)]
struct Said {
    calls: BTreeMap<String, usize>,
    messages: BTreeMap<String, u64>,
}

struct Client(Process);

impl Client {
    fn start(library: Library, server: &Server, options: &[&str], jobs: &[&str]) -> Result<Self> {
        let mut command = library.client()?;
        command
            .args(["--target", server.target()])
            .args(options)
            .args(jobs)
            .env("OTEL_SERVICE_NAME", "client");
        Ok(Self(Process::start(&mut command)?))
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn finish(self) -> Result<Said> {
        let ended = self.0.wait(2 * LIMIT)?;
        let last = ended.output.last().cloned().unwrap_or_default();
        serde_json::from_str(&last)
            .with_context(|| format!("the client said {last}: {:?}", ended.errors))
    }
}

fn start_server(library: Library) -> Result<Server> {
    Server::start("cart", &mut library.server()?)
}

/// The rings are large, as a debug build on a busy machine is slow.
fn start_agent() -> Result<Agent> {
    let config = Some("capture: {ring_bytes: 32MiB}\n".to_owned());
    Agent::start(&Options { config, ..Options::default() })
}

/// Method and code.
fn call(span: &Span) -> String {
    format!("{} {}", span.name, span.text("rpc.response.status_code").unwrap_or("-"))
}

fn tally(spans: &[Span], kind: Kind, pid: u32) -> Tally {
    Tally::of(spans, kind, &[pid], call)
}

fn methods_and_codes(ends: [Library; 2]) -> Result<()> {
    if lacks("methods", ends)? {
        return Ok(());
    }
    let [at_server, at_client] = ends;
    let server = start_server(at_server)?;
    let agent = start_agent()?;
    let client = Client::start(
        at_client,
        &server,
        &[],
        &[
            "Get:1000:10",
            "Get:50:5:code=3",
            "Get:50:5:code=5",
            "Get:50:5:code=13",
            "Get:50:5:code=14",
            "Get:50:5:code=16",
            "Get:5:1:code=1",
            "Get:5:1:code=2",
            "Get:5:1:code=4",
            "List:5:1:code=6",
            "List:5:1:code=7",
            "Get:5:1:code=8",
            "Put:5:1:code=9:2",
            "Put:5:1:code=10:2",
            "Get:5:1:code=11",
            "Chat:5:1:code=12:1",
            "Chat:5:1:code=15:1",
            "List:2:1:count=10000",
            "Put:5:1:x=y:100",
            "Chat:3:3:bytes=10:20",
            "List:2:1:count=3&bytes=10000000",
            "Put:3:3:pad=100000:100",
        ],
    )?;
    let pid = client.pid();
    let said = client.finish()?;
    let expected: Tally = said.calls.into_iter().collect();
    agent.settle(2 * expected.total(), |span| span.protocol == "grpc");
    let spans = agent.stop()?.spans;
    expected.compare("the client", &tally(&spans, Kind::Client, pid))?;
    let server_pid = server.pids.first().copied().context("no process")?;
    expected.compare("the server", &tally(&spans, Kind::Server, server_pid))?;

    for span in spans.iter().filter(|span| [pid, server_pid].contains(&span.pid)) {
        ensure!(span.flags.is_empty(), "{} has flags {:?}", span.name, span.flags);
        let messages = |name: &str| span.attributes.get(name).and_then(serde_json::Value::as_u64);
        let sent = messages("vigie.rpc.request.messages");
        let has_failed = span.text("rpc.response.status_code") != Some("OK");
        let expected = match span.name.as_str() {
            "shop.Cart/Put" if has_failed => 2,
            "shop.Cart/Put" => 100,
            "shop.Cart/Chat" if !has_failed => 20,
            _ => 1,
        };
        ensure!(sent == Some(expected), "{} sent {sent:?} messages", span.name);
    }
    for kind in [Kind::Client, Kind::Server] {
        for method in ["shop.Cart/List", "shop.Cart/Chat"] {
            let received: Option<u64> = spans
                .iter()
                .filter(|span| span.kind == kind && span.name == method)
                .map(|span| span.attributes.get("vigie.rpc.response.messages")?.as_u64())
                .sum();
            let expected = said.messages.get(method).copied();
            ensure!(
                received == expected,
                "{kind:?} {method}: {received:?} of {expected:?} messages"
            );
        }
    }
    Ok(())
}

#[test]
fn methods_and_codes_of_grpcio() -> Result<()> {
    methods_and_codes([Library::Core, Library::Core])
}

#[test]
fn methods_and_codes_of_go() -> Result<()> {
    methods_and_codes([Library::Go, Library::Go])
}

#[test]
fn methods_and_codes_of_tonic() -> Result<()> {
    methods_and_codes([Library::Tonic, Library::Tonic])
}

#[test]
fn methods_and_codes_of_two_libraries() -> Result<()> {
    methods_and_codes([Library::Go, Library::Core])?;
    methods_and_codes([Library::Core, Library::Tonic])?;
    methods_and_codes([Library::Tonic, Library::Go])
}

/// What ends a call early is told by the client's own rules. The server may learn of it in another way,
/// or have answered by then.
fn cancelled(ends: [Library; 2]) -> Result<()> {
    if lacks("cancelled", ends)? {
        return Ok(());
    }
    let [at_server, at_client] = ends;
    let server = start_server(at_server)?;
    let agent = start_agent()?;
    let jobs = [
        "DEADLINE:Get:10:5:sleep=1",
        "CANCEL:Get:10:5:sleep=1",
        "CANCEL:List:5:5:sleep=1",
        "Get:10:1",
    ];
    let client = Client::start(at_client, &server, &[], &jobs)?;
    let pid = client.pid();
    let said = client.finish()?.calls;
    // tonic calls a deadline a cancellation.
    let told = |call: String| match at_client {
        Library::Tonic => call.replace("DEADLINE_EXCEEDED", "CANCELLED"),
        _ => call,
    };
    let mut expected = Tally::default();
    for (call, count) in said {
        expected.add(told(call), count);
    }
    agent.settle(2 * expected.total(), |span| span.protocol == "grpc");
    let spans = agent.stop()?.spans;
    let seen = Tally::of(&spans, Kind::Client, &[pid], |span| told(call(span)));
    expected.compare("the client", &seen)?;
    let answered = tally(&spans, Kind::Server, server.pids.first().copied().context("no process")?);
    ensure!(answered.total() == expected.total(), "the server has\n{answered}");
    Ok(())
}

#[test]
fn cancelled_calls_and_deadlines() -> Result<()> {
    cancelled([Library::Core, Library::Core])?;
    cancelled([Library::Go, Library::Go])?;
    cancelled([Library::Tonic, Library::Tonic])
}

/// Connections that are older than vigie: every call from then on is counted on both ends with its
/// status, the method where the connection's compression allows to know it, and never another one.
#[expect(clippy::print_stdout, reason = "figures for the documentation")]
fn older(library: Library) -> Result<()> {
    if lacks("older", [library; 2])? {
        return Ok(());
    }
    let server = start_server(library)?;
    let jobs = ["Get:200:10", "Get:20:2:code=5", "Put:20:2:x=y:3", "List:5:1:count=10"];
    let mut clients = Vec::new();
    for before in ["0", "20"] {
        let mut client = Client::start(library, &server, &["--before", before], &jobs)?;
        client.0.wait_output("word that it waits", |lines| {
            lines.iter().any(|line| line.contains("\"waiting\"")).then_some(())
        })?;
        clients.push(client);
    }
    let agent = start_agent()?;
    let mut expected = Vec::new();
    for mut client in clients {
        client.0.tell("go")?;
        let pid = client.pid();
        let tally: Tally = client.finish()?.calls.into_iter().collect();
        expected.push((pid, tally));
    }
    let all: usize = expected.iter().map(|(_, tally)| tally.total()).sum();
    agent.settle(2 * all, |span| ["grpc", "http/2"].contains(&span.protocol.as_str()));
    let spans = agent.stop()?.spans;
    let server_pid = server.pids.first().copied().context("no process")?;
    for (who, pid, kind, wanted) in expected
        .iter()
        .map(|(pid, tally)| ("a client", *pid, Kind::Client, tally.total()))
        .chain([("the server", server_pid, Kind::Server, all)])
    {
        let of: Vec<&Span> =
            spans.iter().filter(|span| span.kind == kind && span.pid == pid).collect();
        ensure!(of.len() == wanted, "{who} has {} of {wanted} calls", of.len());
        let known = of.iter().filter(|span| span.name.starts_with("shop.Cart/")).count();
        let paths = of.iter().filter(|span| span.name.contains("shop.Cart/")).count();
        println!(
            "{library:?}: {who}: of {wanted} calls the method of {known} and the path of {paths} is \
             known"
        );
        for (method, calls) in [("Get", 220), ("Put", 20), ("List", 5)] {
            // As gRPC or, where that is not known, as HTTP/2.
            let named =
                of.iter().filter(|span| span.name.ends_with(&format!("shop.Cart/{method}")));
            let (named, made) = (named.count(), calls * wanted / 245);
            ensure!(
                named <= made,
                "{who}: {named} calls of {method}, which was called {made} times"
            );
        }
        for span in of.iter().filter(|span| !span.name.starts_with("shop.Cart/")) {
            ensure!(
                span.flags.iter().any(|flag| flag == "mid_stream"),
                "{} without a method and without a flag",
                span.name
            );
        }
    }
    Ok(())
}

#[test]
fn connections_older_than_vigie() -> Result<()> {
    older(Library::Core)?;
    older(Library::Go)?;
    older(Library::Tonic)
}
