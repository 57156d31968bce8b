//! Counts that must be exact: many requests, old connections, the moment when the agent is ready.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Case, Verdict, counted, expect_exactly, number, watching};
use crate::agent::Agent;
use crate::client::{self, Client, To};
use crate::load;
use crate::nginx::Nginx;
use crate::server::{self, Server};

const PLAIN: To = To::Port(server::PLAIN);

/// Requests over 50 keep-alive connections, and as many new connections as a fifth of them. Over unix
/// sockets as well: threads that wait on these may take up what a kernel follows of their calls.
pub(super) fn exact(case: &Case) -> Result<Verdict> {
    const CONNECTIONS: u32 = 50;
    let (kept, fresh) = (case.size(10_000, 1_000), case.size(2_000, 200));
    let _server = Server::start()?;
    // Room for a burst of everything, as this is about counting, not about losing.
    let options = case.options().with("VIGIE_CAPTURE_RING_BYTES", "16MiB");
    let report = watching(&options, || {
        client::kept(PLAIN, "/kept", CONNECTIONS, kept / CONNECTIONS)?;
        client::fresh(PLAIN, "/fresh", fresh)?;
        client::kept(To::Unix, "/unix", CONNECTIONS, kept / CONNECTIONS)
    })?;
    expect_exactly(&report, "GET /kept", kept.into())?;
    expect_exactly(&report, "GET /fresh", fresh.into())?;
    expect_exactly(&report, "GET /unix", kept.into())?;
    Ok(Verdict::Passed)
}

/// Connections that were there, and used, before the agent.
pub(super) fn older(case: &Case) -> Result<Verdict> {
    let _server = Server::start()?;
    let report = after_before(case, &[(PLAIN, "/four"), (To::Six, "/six"), (To::Unix, "/unix")])?;
    ensure!(counted(&report, "server", "GET /before") == 0, "it saw the past");
    if !case.is_on_functions() {
        for name in ["GET /four", "GET /six", "GET /unix"] {
            expect_exactly(&report, name, 50)?;
        }
        return Ok(Verdict::Passed);
    }
    for (kind, name) in [
        ("server", "GET /four"),
        ("client", "GET /four"),
        ("server", "GET /six"),
        ("client", "GET /six"),
    ] {
        let got = counted(&report, kind, name);
        ensure!(got == 50, "{got} of 50 {kind} {name} counted; loss: {}", report["loss"]);
    }
    // A thread that waits on a unix socket is in a call whose return such a backend does not see
    // (docs/backends.md). What it misses must show, and nothing be invented.
    let (got, reasons) = (counted(&report, "server", "GET /unix"), &report["loss"]["by_reason"]);
    let missed = number(reasons, "parser_problem") + number(reasons, "return_missed");
    ensure!(got <= 50 && got + missed >= 50, "{got} of 50 counted; loss: {}", report["loss"]);
    Ok(Verdict::Passed)
}

/// Ten connections to each of these that had a request before the agent began, and then five for the
/// path.
fn after_before(case: &Case, to: &[(To, &str)]) -> Result<Value> {
    let mut clients = Vec::new();
    for (to, path) in to {
        for _ in 0..10 {
            let mut client = Client::connect(*to)?;
            client.get("/before")?;
            clients.push((client, path));
        }
    }
    watching(&case.options(), || {
        for _ in 0..5 {
            clients.iter_mut().try_for_each(|(client, path)| client.get(path))?;
        }
        Ok(())
    })
}

/// From the line `ready` on nothing is missed: the next request, on an old connection and on a new
/// one, is counted; and several times over, as it is about a moment.
pub(super) fn moment_of_ready(case: &Case) -> Result<Verdict> {
    let _server = Server::start()?;
    let mut old = Client::connect(PLAIN)?;
    for _ in 0..case.size(3, 2) {
        let agent = Agent::profile(&case.options())?;
        old.get("/old")?;
        Client::connect(PLAIN)?.get("/new")?;
        let report = agent.report()?;
        expect_exactly(&report, "GET /old", 1)?;
        expect_exactly(&report, "GET /new", 1)?;
    }
    Ok(Verdict::Passed)
}

/// A server and a client that others wrote.
pub(super) fn nginx(case: &Case) -> Result<Verdict> {
    let nginx = Nginx::start(8080)?;
    let requests = case.size(500, 200);
    let report = watching(&case.options(), || {
        load::ab(nginx.address, requests.into(), 4)?;
        Ok(())
    })?;
    expect_exactly(&report, "GET /", requests.into())?;
    Ok(Verdict::Passed)
}

/// The same over HTTP/2.
pub(super) fn http2(case: &Case) -> Result<Verdict> {
    let nginx = Nginx::start(8080)?;
    let requests = case.size(500, 200).into();
    let report = watching(&case.options(), || load::h2load(nginx.http2, requests))?;
    expect_exactly(&report, "GET /", requests)?;
    Ok(Verdict::Passed)
}
