//! The agent's coming and going: stopped and started under load, killed, with probes refused.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::{Case, Verdict, counted, expect_exactly, text, watching};
use crate::agent::{self, Agent};
use crate::bpf;
use crate::client::{Background, Client, To};
use crate::server::{self, Server};

const PLAIN: To = To::Port(server::PLAIN);
/// Ended in good order under load, and started again: the next one sees everything from its start.
pub(super) fn restart(case: &Case) -> Result<Verdict> {
    let _server = Server::start()?;
    let load = Background::start("/load");
    for _ in 0..case.size(3, 1) {
        let agent = Agent::profile(&case.options())?;
        load.wait_for(50)?;
        let report = agent.report()?;
        let seen = counted(&report, "server", "GET /load");
        ensure!(seen >= 50, "{seen} of more than 50 requests counted");
        bpf::all_gone()?;
    }
    let mut client = Client::connect(PLAIN)?;
    let report = watching(&case.options(), || (0..20).try_for_each(|_| client.get("/last")))?;
    expect_exactly(&report, "GET /last", 20)?;
    load.stop()?;
    Ok(Verdict::Passed)
}

/// `kill -9` under load: no request fails, nothing stays attached.
pub(super) fn killed(case: &Case) -> Result<Verdict> {
    kill(case, 3)
}

/// The same, as often as the issue has it that asked for it.
pub(super) fn killed_ten_times(case: &Case) -> Result<Verdict> {
    kill(case, 10)
}

fn kill(case: &Case, times: u32) -> Result<Verdict> {
    let _server = Server::start()?;
    let load = Background::start("/load");
    for _ in 0..times {
        let agent = Agent::run(&case.options())?;
        ensure!(!bpf::ids()?.is_empty(), "no program is loaded");
        load.wait_for(20)?;
        agent.signal(Signal::KILL)?;
        drop(agent);
        load.wait_for(20)?;
        bpf::all_gone()?;
    }
    println!("{} requests, all answered", load.stop()?);
    Ok(Verdict::Passed)
}

/// Names the probes that shall fail, joined by commas.
const REFUSE: &str = "VIGIE_REFUSE";

/// Each probe made to fail in turn, but on the kernels of the short tests only the last ones, which
/// are those of the backend: the agent still runs, `check` names the reason, and what the
/// agent counts is right.
pub(super) fn refused(case: &Case) -> Result<Verdict> {
    let (_, found, _) = agent::check(&case.options())?;
    let probes: Vec<String> = probes(&found)
        .filter(|probe| text(probe, "state") == "ok")
        .map(|probe| text(probe, "name").to_owned())
        .collect();
    let first = probes.first().context("no probes")?;
    let (_, found, _) = agent::check(&case.options().with(REFUSE, first))?;
    if state(&found, first).is_none_or(|(state, _)| state == "ok") {
        return Ok(Verdict::Skipped(format!("this vigie has no {REFUSE}")));
    }
    let _server = Server::start()?;
    let mut client = Client::connect(PLAIN)?;
    let skipped = probes.len().saturating_sub(case.size(100, 2) as usize);
    for probe in probes.iter().skip(skipped) {
        let options = case.options().with(REFUSE, probe);
        let (code, found, errors) = agent::check(&options)?;
        println!("{probe}: {code:?} {} {:?}", found["backend"], state(&found, probe));
        if let Some((state, reason)) = state(&found, probe) {
            ensure!(state != "ok" && !reason.is_empty(), "{probe}: {state}, {reason}");
        }
        ensure!(!found["backend"].is_null(), "no backend without {probe}: {errors}");
        let report = watching(&options, || (0..20).try_for_each(|_| client.get("/asked")))
            .with_context(|| format!("without {probe}"))?;
        for kind in ["server", "client"] {
            let got = counted(&report, kind, "GET /asked");
            // Without it the first receive of a thread that waits since before the agent is not seen.
            let least = if probe == "tcp_cleanup_rbuf" { 19 } else { 20 };
            ensure!(
                (least..=20).contains(&got),
                "without {probe}: {got} of 20 {kind} requests counted"
            );
        }
    }
    Ok(Verdict::Passed)
}

fn probes(found: &Value) -> impl Iterator<Item = &Value> {
    found["probes"].as_array().into_iter().flatten()
}

fn state<'v>(found: &'v Value, name: &str) -> Option<(&'v str, &'v str)> {
    let probe = probes(found).find(|probe| text(probe, "name") == name)?;
    Some((text(probe, "state"), text(probe, "reason")))
}
