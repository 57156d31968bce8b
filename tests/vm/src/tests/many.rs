//! Many of something: short connections, idle ones, processes. Counts right, memory within bounds.

use anyhow::{Result, ensure};

use super::{Case, Verdict, expect_exactly};
use crate::agent::Agent;
use crate::client::{self, Client, To};
use crate::process;
use crate::server::{self, Server};

const PLAIN: To = To::Port(server::PLAIN);
/// What all maps may take, as the issue that asked for the bound has it.
const MAPS: u64 = 32 << 20;
/// How much more memory the agent may have after than at its start: spans are written to a file, and
/// what is kept of each connection, process and series is bounded.
const GROWTH: u64 = 32 << 20;

fn watched(case: &Case, name: &str, count: u32, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let agent = Agent::profile(&case.options())?;
    let memory = || -> Result<(u64, u64)> {
        Ok((process::map_bytes(agent.pid())?, process::resident(agent.pid())?))
    };
    let before = memory()?;
    work()?;
    let after = memory()?;
    println!("maps and resident memory: {before:?} -> {after:?}");
    let report = agent.report()?;
    expect_exactly(&report, name, count.into())?;
    ensure!(after.0 <= MAPS, "maps of {} bytes", after.0);
    ensure!(after.1 <= before.1 + GROWTH, "memory {} -> {} bytes", before.1, after.1);
    Ok(())
}

/// 20,000 connections with one request each, at full speed: no thread is started for any.
pub(super) fn short(case: &Case) -> Result<Verdict> {
    const COUNT: u32 = 20_000;
    const WORKERS: u32 = 4;
    let _server = Server::start_forked(WORKERS)?;
    let to = To::Port(server::FORKED);
    watched(case, "GET /short", COUNT, || client::fresh(to, "/short", COUNT))?;
    Ok(Verdict::Passed)
}

/// 5,000 connections that are open together and do nothing but one request each.
pub(super) fn idle(case: &Case) -> Result<Verdict> {
    const COUNT: u32 = 5_000;
    let _server = Server::start()?;
    watched(case, "GET /idle", COUNT, || {
        let mut clients = Vec::new();
        for _ in 0..COUNT {
            let mut client = Client::connect(PLAIN)?;
            client.get("/idle")?;
            clients.push(client);
        }
        Ok(())
    })?;
    Ok(Verdict::Passed)
}

/// 500 forked processes behind one port.
pub(super) fn forked(case: &Case) -> Result<Verdict> {
    const WORKERS: u32 = 500;
    const COUNT: u32 = 2_000;
    let server = Server::start_forked(WORKERS)?;
    println!("{WORKERS} workers of {}", server.pid());
    let to = To::Port(server::FORKED);
    watched(case, "GET /forked", COUNT, || client::fresh(to, "/forked", COUNT))?;
    Ok(Verdict::Passed)
}
