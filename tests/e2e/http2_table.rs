//! HTTP/2 in clear text: so many streams at once, times bodies of so many bytes, times so many codes of
//! resets. Each request is in the figures of both ends, with its sizes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{LIMIT, Process};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{Server, go_http2, script};

/// Streams at once on one connection.
const STREAMS: [usize; 5] = [1, 3, 10, 30, 100];

/// Bytes of bodies: none, what is copied whole and what is not, frames that are full and one byte more,
/// more than a window.
const SIZES: [usize; 9] = [0, 1, 100, 1_024, 1_025, 16_384, 16_385, 100_000, 1_000_000];

/// Codes of RFC 9113, section 7, and one that it does not know.
const CODES: [(u32, &str); 15] = [
    (0, "NO_ERROR"),
    (1, "PROTOCOL_ERROR"),
    (2, "INTERNAL_ERROR"),
    (3, "FLOW_CONTROL_ERROR"),
    (4, "SETTINGS_TIMEOUT"),
    (5, "STREAM_CLOSED"),
    (6, "FRAME_SIZE_ERROR"),
    (7, "REFUSED_STREAM"),
    (8, "CANCEL"),
    (9, "COMPRESSION_ERROR"),
    (10, "CONNECT_ERROR"),
    (11, "ENHANCE_YOUR_CALM"),
    (12, "INADEQUATE_SECURITY"),
    (13, "HTTP_1_1_REQUIRED"),
    (99, "stream_reset"),
];

/// Requests of each cell.
fn requests(streams: usize, size: usize) -> usize {
    // A megabyte a hundred times is enough.
    if size < 1_000_000 { 2 * streams } else { streams }
}

/// Asks for each path so many times and gives the process that asked.
fn ask(
    program: &dyn Fn() -> Command,
    port: u16,
    streams: usize,
    wanted: &[(String, usize)],
) -> Result<u32> {
    let ask = Process::start(
        program()
            .args(["ask", &port.to_string(), &streams.to_string()])
            .args(wanted.iter().map(|(path, count)| format!("{path}={count}"))),
    )?;
    let pid = ask.pid();
    let ended = ask.wait(2 * LIMIT)?;
    ensure!(ended.status.success(), "{:?}", ended.errors);
    Ok(pid)
}

/// The rings are large, as a debug build on a busy machine is slow.
fn start_agent() -> Result<Agent> {
    let config = Some("capture: {ring_bytes: 32MiB}\n".to_owned());
    Agent::start(&Options { config, ..Options::default() })
}

/// Path and, by what the path says, the bytes of the request's or the response's body.
fn with_size(span: &Span) -> String {
    let of = if span.path().starts_with("/put") { "request" } else { "response" };
    let size = span.attributes.get(&format!("http.{of}.body.size"));
    // A request without a body has no size.
    let none = if span.path().starts_with("/put/0/") { "0" } else { "-" };
    let size = size.map_or_else(|| none.to_owned(), ToString::to_string);
    format!("{} {} {size} {:?}", span.path(), span.code().unwrap_or(0), span.flags)
}

fn sizes(name: &str, program: &dyn Fn() -> Command) -> Result<()> {
    let server = Server::start("server", program().arg("serve"))?;
    let agent = start_agent()?;
    let (mut expected, mut clients) = (Tally::default(), Vec::new());
    for streams in STREAMS {
        let mut wanted = Vec::new();
        for size in SIZES {
            for what in ["bytes", "put"] {
                let path = format!("/{what}/{size}/by/{streams}");
                let count = requests(streams, size);
                expected.add(format!("{path} 200 {size} []"), count);
                wanted.push((path, count));
            }
        }
        clients.push(ask(program, server.port(), streams, &wanted)?);
    }
    agent.settle(2 * expected.total(), |span| span.protocol == "http/2");
    let spans = agent.stop()?.spans;
    for (kind, pids) in [(Kind::Client, &clients), (Kind::Server, &server.pids)] {
        let seen = Tally::of(&spans, kind, pids, with_size);
        expected.compare(&format!("{kind:?} of {name}"), &seen)?;
    }
    Ok(())
}

fn node() -> Result<impl Fn() -> Command> {
    let node = needs::find("node").context("no node")?;
    Ok(move || {
        let mut command = Command::new(&node);
        command.arg(script("node_http2.js"));
        command
    })
}

#[test]
fn sizes_of_node() -> Result<()> {
    if missing("http2: sizes, node", &[Need::Root, Need::Agent, Need::Program("node")])? {
        return Ok(());
    }
    sizes("node", &node()?)
}

#[test]
fn sizes_of_go() -> Result<()> {
    if missing("http2: sizes, go", &[Need::Root, Need::Agent, Need::Go])? {
        return Ok(());
    }
    let program = go_http2()?;
    sizes("go", &|| Command::new(&program))
}

#[test]
fn sizes_of_hyper() -> Result<()> {
    if missing("http2: sizes, hyper", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    sizes("hyper", &|| Command::new(env!("CARGO_BIN_EXE_workload-hyper")))
}

/// The client resets its streams, after the head of the response or before it, while others go on.
#[test]
fn resets_with_every_code() -> Result<()> {
    if missing("http2: resets", &[Need::Root, Need::Agent, Need::Program("node")])? {
        return Ok(());
    }
    let program = node()?;
    let server = Server::start("server", program().arg("serve"))?;
    let agent = start_agent()?;
    let (mut expected, mut clients) = (Tally::default(), Vec::new());
    for streams in STREAMS {
        let mut wanted = Vec::new();
        for (code, name) in CODES {
            for (path, status, error, count) in [
                (format!("/hold/{code}/by/{streams}"), "200", name, 5),
                (format!("/wait/{code}/by/{streams}"), "-", name, 5),
                (format!("/between/{code}/by/{streams}"), "200", "-", 3),
            ] {
                expected.add(format!("{path} {status} {error}"), count);
                wanted.push((path, count));
            }
        }
        clients.push(ask(&program, server.port(), streams, &wanted)?);
    }
    agent.settle(2 * expected.total(), |span| span.protocol == "http/2");
    let spans = agent.stop()?.spans;
    let ended = |span: &Span| {
        let code = span.code().map_or_else(|| "-".to_owned(), |code| code.to_string());
        format!("{} {code} {}", span.path(), span.text("error.type").unwrap_or("-"))
    };
    for (kind, pids) in [(Kind::Client, &clients), (Kind::Server, &server.pids)] {
        expected.compare(&format!("{kind:?}"), &Tally::of(&spans, kind, pids, ended))?;
    }
    Ok(())
}
