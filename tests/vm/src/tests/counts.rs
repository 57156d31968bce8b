//! Counts that must be exact: many requests, old connections, the moment when the agent is ready.

use anyhow::{Result, ensure};

use super::{Case, Verdict, counted, expect_exactly, watching};
use crate::agent::Agent;
use crate::client::{self, Client, To};
use crate::load;
use crate::nginx::Nginx;
use crate::server::{self, Server};

const PLAIN: To = To::Port(server::PLAIN);

/// Requests over 50 keep-alive connections, and as many new connections as a fifth of them.
pub(super) fn exact(case: &Case) -> Result<Verdict> {
    const CONNECTIONS: u32 = 50;
    let (kept, fresh) = (case.size(10_000, 1_000), case.size(2_000, 200));
    let _server = Server::start()?;
    // Room for a burst of everything, as this is about counting, not about losing.
    let options = case.options().with("VIGIE_CAPTURE_RING_BYTES", "16MiB");
    let report = watching(&options, || {
        client::kept(PLAIN, "/kept", CONNECTIONS, kept / CONNECTIONS)?;
        client::fresh(PLAIN, "/fresh", fresh)
    })?;
    expect_exactly(&report, "GET /kept", kept.into())?;
    expect_exactly(&report, "GET /fresh", fresh.into())?;
    Ok(Verdict::Passed)
}

/// Connections that were there, and used, before the agent.
pub(super) fn older(case: &Case) -> Result<Verdict> {
    let _server = Server::start()?;
    let mut clients = Vec::new();
    for to in [PLAIN, To::Six, To::Unix] {
        for _ in 0..10 {
            let mut client = Client::connect(to)?;
            client.get("/before")?;
            clients.push(client);
        }
    }
    let report = watching(&case.options(), || {
        for _ in 0..5 {
            clients.iter_mut().try_for_each(|client| client.get("/after"))?;
        }
        Ok(())
    })?;
    expect_exactly(&report, "GET /after", 150)?;
    ensure!(counted(&report, "server", "GET /before") == 0, "it saw the past");
    Ok(Verdict::Passed)
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
