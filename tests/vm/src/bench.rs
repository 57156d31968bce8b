//! `cargo xtask bench instructions`, the part inside: what watching costs, in instructions.
//!
//! qemu advances the guest's clock by one nanosecond per instruction (`-icount shift=0`), so that
//! the kernel's own accounting of processor time counts instructions.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::agent::{self, Agent, Options};
use crate::nginx::Nginx;
use crate::{backend, bpf, init, load, process, say, tests};

const CONNECTIONS: u32 = 4;
/// Requests before each measurement, so that caches and tables are as in the long run.
const WARM_UP: u64 = 300;
const PORT: u16 = 8080;
/// Of the server that alone is watched when the first is not.
const OTHER_PORT: u16 = 8081;
/// A kernel that has just booted is busy with itself for seconds.
const QUIET_LIMIT: Duration = Duration::from_mins(1);
const COUNT_LIMIT: Duration = Duration::from_secs(20);

/// Measures with this many requests each: `all` backends, or those named, joined by commas.
pub(crate) fn run(requests: u64, wanted: &str) -> Result<()> {
    let mut backends = backend::offered(tests::kernel()?);
    backends.retain(|backend| wanted == "all" || wanted.split(',').any(|word| word == *backend));
    let nginx = Nginx::start(PORT)?;
    let other = Nginx::start(OTHER_PORT)?;
    say::line("begin bare");
    // The first one is not as those that follow.
    measure(&nginx, None, requests)?;
    let mut before = measure(&nginx, None, requests)?;
    // What the figures of the same thing differ by is what a difference must pass to mean anything.
    let mut drift = 0.0_f64;
    for backend in backends {
        say::line(&format!("begin {backend}"));
        let mut figures =
            watched(&nginx, backend, requests).with_context(|| format!("backend {backend}"))?;
        let after = measure(&nginx, None, requests)?;
        let change = after.server / before.server - 1.0;
        drift = if change.abs() > drift.abs() { change } else { drift };
        figures["server_bare"] = json!(f64::midpoint(before.server, after.server));
        figures["per_second_bare"] = json!(f64::midpoint(before.per_second, after.per_second));
        say::line(&format!("figure {figures}"));
        before = after;
    }
    say::line(&format!("figure {}", json!({"drift": drift})));
    drop(other);
    Ok(())
}

/// Figures of one load, per request.
struct Figures {
    /// Instructions of the server.
    server: f64,
    /// Instructions of the agent.
    agent: f64,
    per_second: f64,
}

fn measure(nginx: &Nginx, agent: Option<&Agent>, requests: u64) -> Result<Figures> {
    process::wait_until_idle(QUIET_LIMIT)?;
    load::ab(nginx.address, WARM_UP, CONNECTIONS)?;
    let agent_time = || agent.map_or(Ok(0), |agent| process::run_time(agent.pid()));
    let (server_before, agent_before) = (process::run_time(nginx.worker)?, agent_time()?);
    let load = load::ab(nginx.address, requests, CONNECTIONS)?;
    let (server, agent) = (process::run_time(nginx.worker)?, agent_time()?);
    ensure!(load.requests == requests, "ab sent {} requests", load.requests);
    let per_request = |from: u64, to: u64| to.saturating_sub(from) as f64 / requests as f64;
    Ok(Figures {
        server: per_request(server_before, server),
        agent: per_request(agent_before, agent),
        per_second: requests as f64 / load.seconds,
    })
}

/// All figures of a backend but those of the bare server.
fn watched(nginx: &Nginx, backend: &str, requests: u64) -> Result<Value> {
    // The load is not what is watched.
    let options = Options::on(backend).with("VIGIE_WATCH_EXCLUDE", r#"[{executable: "*/ab"}]"#);
    let mut agent = Agent::spawn_run(&options)?;
    agent.wait_ready()?;
    let until_ready = process::run_time(agent.pid())?;
    load::ab(nginx.address, 1, 1)?;
    let until_counted = process::wait_for("the first request is counted", COUNT_LIMIT, || {
        thread::sleep(Duration::from_millis(30));
        let counted = counted()? > 0;
        counted.then(|| process::run_time(agent.pid())).transpose()
    })?;
    let with = measure(nginx, Some(&agent), requests)?;
    let sent = 1 + WARM_UP + requests;
    let counted = process::wait_for("all requests are counted", COUNT_LIMIT, || {
        thread::sleep(Duration::from_millis(30));
        let counted = counted()?;
        Ok((counted >= sent).then_some(counted))
    });
    let counted = counted.or_else(|_| self::counted())?;
    let (maps, resident) = (process::map_bytes(agent.pid())?, process::resident(agent.pid())?);
    let programs = account(nginx, requests)?;
    agent.stop()?;
    drop(agent);

    let options =
        Options::on(backend).with("VIGIE_WATCH_INCLUDE", &format!("[{{port: {OTHER_PORT}}}]"));
    let mut agent = Agent::run(&options)?;
    let unwatched = measure(nginx, Some(&agent), requests)?;
    agent.stop()?;
    Ok(json!({
        "backend": backend,
        "requests": requests,
        "counted": counted as f64 / sent as f64,
        "server_with": with.server,
        "server_unwatched": unwatched.server,
        "per_second_with": with.per_second,
        "per_second_unwatched": unwatched.per_second,
        "agent": with.agent,
        "agent_until_ready": until_ready,
        "agent_until_counted": until_counted,
        "map_bytes": maps,
        "agent_rss_bytes": resident,
        "programs": programs,
    }))
}

/// Runs and instructions of each program per request, from a load of its own: the accounting costs
/// instructions, too.
fn account(nginx: &Nginx, requests: u64) -> Result<Vec<Value>> {
    init::write_setting("kernel/bpf_stats_enabled", "1")?;
    let before: BTreeMap<u32, bpf::Program> =
        bpf::programs()?.into_iter().map(|program| (program.id, program)).collect();
    load::ab(nginx.address, requests, CONNECTIONS)?;
    let after = bpf::programs()?;
    init::write_setting("kernel/bpf_stats_enabled", "0")?;
    let mut found: Vec<(String, f64, f64)> = after
        .into_iter()
        .filter_map(|program| {
            let old = before.get(&program.id);
            let since = |now: u64, then: fn(&bpf::Program) -> u64| {
                now.saturating_sub(old.map_or(0, then)) as f64 / requests as f64
            };
            let runs = since(program.runs, |program| program.runs);
            let time = since(program.time, |program| program.time);
            (runs > 0.0).then_some((program.name, runs, time))
        })
        .collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    Ok(found
        .into_iter()
        .map(|(name, runs, time)| json!({"name": name, "runs": runs, "instructions": time}))
        .collect())
}

/// Requests to the server that the agent has counted.
fn counted() -> Result<u64> {
    const METRIC: &str = "http_server_request_duration_seconds_count{";
    let text = agent::scrape()?;
    let lines = text.lines().filter(|line| line.starts_with(METRIC) && line.contains("\"nginx\""));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok(counts.sum::<f64>() as u64)
}
