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

/// Probes without which a backend is nothing.
fn required(backend: &str) -> &'static [&'static str] {
    match backend {
        "socket-fentry" => &["inet_sendmsg", "inet_recvmsg"],
        "socket-kprobe" => &["release_sock", "tcp_cleanup_rbuf", "inet_sendmsg", "inet_recvmsg"],
        "socket-tracepoint" => &["sock_send_length", "sock_recv_length"],
        _ => &["sys_exit"],
    }
}

/// Probes on the life of processes and connections, which all backends share.
const SHARED: [&str; 5] = [
    "sched_process_exit",
    "sched_process_exec",
    "sched_process_fork",
    "tcp_destroy_sock",
    "inet_sock_set_state",
];

/// The backend on which each of [`SHARED`] is refused by itself: it starts quickest.
const SHARED_ON: &str = "syscall";

/// Each probe made to fail in turn. Those that all backends share fail one by one on one backend, and
/// together on the others. Short: all at once that a backend can do without. The agent still runs, `check`
/// names each reason, and what the agent counts is right.
pub(super) fn refused(case: &Case) -> Result<Verdict> {
    let (_, found, _) = agent::check(&case.options())?;
    let mut names: Vec<&str> = Vec::new();
    for probe in probes(&found).filter(|probe| text(probe, "state") == "ok") {
        let name = text(probe, "name");
        // Entry and return of one function are refused together.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let required = required(&case.backend);
    for name in required.iter().chain(&SHARED) {
        ensure!(names.contains(name), "{name} is not among {names:?}");
    }
    let _server = Server::start()?;
    let mut client = Client::connect(PLAIN)?;
    if !case.is_thorough() {
        names.retain(|name| !required.contains(name));
        without(case, &names, &mut client)?;
        return Ok(Verdict::Passed);
    }
    if case.backend != SHARED_ON {
        names.retain(|name| !SHARED.contains(name));
        without(case, &SHARED, &mut client)?;
    }
    for name in names {
        without(case, &[name], &mut client)?;
    }
    Ok(Verdict::Passed)
}

/// What becomes of the agent without these probes.
fn without(case: &Case, names: &[&str], client: &mut Client) -> Result<()> {
    let options = case.options().with(REFUSE, &names.join(","));
    let (code, found, errors) = agent::check(&options)?;
    println!("without {names:?}: {code:?}, backend {}", found["backend"]);
    for name in names {
        if let Some((state, reason)) = state(&found, name) {
            println!("  {name}: {state}, {reason}");
            ensure!(state != "ok" && !reason.is_empty(), "{name}: {state}, {reason}");
        }
    }
    let is_other = names.iter().any(|name| required(&case.backend).contains(name));
    let backend = text(&found, "backend");
    ensure!(!backend.is_empty(), "no backend without {names:?}: {errors}");
    ensure!((backend != case.backend) == is_other, "backend {backend} without {names:?}");
    let report = watching(&options, || (0..20).try_for_each(|_| client.get("/asked")))
        .with_context(|| format!("without {names:?}"))?;
    // Without this one the first receive of a thread that waits since before the agent is not seen.
    let is_blind = backend == "socket-fentry" && names.contains(&"tcp_cleanup_rbuf");
    let least = if is_blind { 19 } else { 20 };
    for kind in ["server", "client"] {
        let got = counted(&report, kind, "GET /asked");
        ensure!(
            (least..=20).contains(&got),
            "without {names:?}: {got} of 20 {kind} requests counted; loss: {}",
            report["loss"]
        );
    }
    Ok(())
}

fn probes(found: &Value) -> impl Iterator<Item = &Value> {
    found["probes"].as_array().into_iter().flatten()
}

fn state<'v>(found: &'v Value, name: &str) -> Option<(&'v str, &'v str)> {
    let probe = probes(found).find(|probe| text(probe, "name") == name)?;
    Some((text(probe, "state"), text(probe, "reason")))
}
