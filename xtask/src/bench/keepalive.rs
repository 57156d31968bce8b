//! `overhead/nginx-keepalive…` and `overhead/h2`: one nginx worker at saturation, small answers over
//! connections that stay open.
//!
//! The server's processor is the bottleneck, so the ratio of throughputs is what the agent's
//! probes, and its own share of the two processors, take from it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::agent::{Agent, Unwatched};
use super::nginx::Nginx;
use super::receiver::{Kind, Receiver};
use super::report::{Outcome, Requests};
use super::rounds::{self, Round};
use super::statistics::median;
use super::{Bench, h2load, prometheus, wrk};

/// Before the first run, so that no run pays for cold caches.
const WARM_UP: Duration = Duration::from_secs(1);
/// After the load: what is still in queues belongs to the measured processor time.
const DRAIN: Duration = Duration::from_secs(1);
/// How long to wait for the agent's count to stand still.
const COUNT_LIMIT: Duration = Duration::from_secs(3);
const COUNT_PAUSE: Duration = Duration::from_millis(250);

const COUNTED: &str = "http_server_request_duration_seconds_count";
const DROPPED: &str = "vigie_records_dropped_total";

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// HTTP/1.1, over as many connections as asked for.
    Wrk,
    /// HTTP/2, over one connection.
    H2load,
}

impl Load {
    /// Loads `nginx` for as long as said; any failed request is an error.
    fn run(self, bench: &Bench, nginx: &Nginx, length: Duration) -> Result<wrk::Run> {
        match self {
            Self::Wrk => wrk::run(&nginx.url(), bench.connections, length),
            Self::H2load => h2load::run(&nginx.http2_url(), length),
        }
    }
}

/// What the agent does with what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Exports spans; the load counts as one on another machine.
    Spans,
    /// Keeps metrics only; the load counts as one on another machine.
    Metrics,
    /// Exports spans, and the load is watched too.
    SpansOfBothEnds,
}

impl Mode {
    /// The benchmark's own programs are never of interest.
    fn unwatched(self) -> Unwatched<'static> {
        match self {
            Self::Spans | Self::Metrics => {
                Unwatched(&["*/wrk", "*/h2load", "*/xtask", "*/rotel-agent"])
            }
            Self::SpansOfBothEnds => Unwatched(&["*/xtask", "*/rotel-agent"]),
        }
    }
}

/// Figures of one watched run.
struct Watched {
    load: wrk::Run,
    agent_cpu: f64,
    receiver_cpu: Option<f64>,
    resident: u64,
    peak: u64,
    served: u64,
    counted: Option<f64>,
    dropped: f64,
}

/// Runs the benchmark.
pub(super) fn measure(
    bench: &Bench,
    name: &'static str,
    load: Load,
    mode: Mode,
) -> Result<Outcome> {
    let nginx = Nginx::start(&bench.folder, bench.page)?;
    let receiver = match mode {
        Mode::Spans | Mode::SpansOfBothEnds => Some(Receiver::start(bench)?),
        Mode::Metrics => None,
    };
    load.run(bench, &nginx, WARM_UP)?;
    let mut rounds = Vec::new();
    for number in 0..bench.runs {
        let round = rounds::round(
            bench,
            number,
            || load.run(bench, &nginx, bench.length),
            || watched_run(bench, load, mode, &nginx, receiver.as_ref()),
        )?;
        eprintln!(
            "bench:   round {}: {} requests/s, agent {:.2} s CPU",
            number + 1,
            rates(&round).shown(0),
            round.watched.agent_cpu
        );
        rounds.push(round);
    }
    let receiver = receiver.map(|_| bench.receiver);
    outcome(name, receiver, &rounds).context("no runs")
}

/// Throughputs of a round, in requests per second.
fn rates(round: &Round<wrk::Run, Watched>) -> Round<f64, f64> {
    Round {
        bare: round.bare.rate,
        reference: round.reference.map(|run| run.rate),
        watched: round.watched.load.rate,
    }
}

fn watched_run(
    bench: &Bench,
    load: Load,
    mode: Mode,
    nginx: &Nginx,
    receiver: Option<&Receiver>,
) -> Result<Watched> {
    let receiver_cpu = || receiver.map(Receiver::cpu_seconds).transpose();
    let served_before = nginx.requests()?;
    let agent = Agent::start(bench, mode.unwatched(), receiver.map(Receiver::address))?;
    let (agent_before, receiver_before) = (agent.cpu_seconds()?, receiver_cpu()?);
    let load = load.run(bench, nginx, bench.length)?;
    thread::sleep(DRAIN);
    let (agent_after, receiver_after) = (agent.cpu_seconds()?, receiver_cpu()?);
    let memory = agent.memory()?;
    let metrics = settled_metrics(&agent)?;
    agent.stop()?;
    Ok(Watched {
        load,
        agent_cpu: agent_after - agent_before,
        receiver_cpu: receiver_after.zip(receiver_before).map(|(after, before)| after - before),
        resident: memory.resident,
        peak: memory.peak,
        // The last question counts itself, and came when the agent was gone.
        served: nginx.requests()?.saturating_sub(served_before + 1),
        counted: counted(&metrics),
        dropped: prometheus::sum(&metrics, DROPPED).unwrap_or(0.0),
    })
}

/// The agent's metrics once its count of requests stands still.
fn settled_metrics(agent: &Agent) -> Result<String> {
    let end = Instant::now() + COUNT_LIMIT;
    let mut metrics = agent.scrape()?;
    loop {
        thread::sleep(COUNT_PAUSE);
        let later = agent.scrape()?;
        let still = counted(&later) == counted(&metrics);
        metrics = later;
        if still || Instant::now() >= end {
            return Ok(metrics);
        }
    }
}

/// Requests that the agent counted for nginx; for all services when none has that name.
fn counted(metrics: &str) -> Option<f64> {
    let is_nginx = |labels: &str| labels.contains("\"nginx\"");
    prometheus::sum_where(metrics, COUNTED, is_nginx).or_else(|| prometheus::sum(metrics, COUNTED))
}

fn outcome(
    name: &'static str,
    receiver: Option<Kind>,
    rounds: &[Round<wrk::Run, Watched>],
) -> Option<Outcome> {
    let per_million = |seconds: f64, run: &Watched| seconds * 1e6 / run.load.requests as f64;
    let watched = || rounds.iter().map(|round| &round.watched);
    let counts: Option<Vec<f64>> = watched().map(|run| run.counted).collect();
    let rates: Vec<Round<f64, f64>> = rounds.iter().map(rates).collect();
    Some(Outcome {
        agent_cpu_s_per_million: median(watched().map(|run| per_million(run.agent_cpu, run))),
        agent_rss_bytes: watched().map(|run| run.resident).max(),
        agent_rss_peak_bytes: watched().map(|run| run.peak).max(),
        receiver,
        receiver_cpu_s_per_million: median(
            watched().filter_map(|run| Some(per_million(run.receiver_cpu?, run))),
        ),
        records_dropped: Some(watched().map(|run| run.dropped).sum()),
        requests: Some(Requests {
            sent: watched().map(|run| run.load.requests).sum(),
            served: watched().map(|run| run.served).sum(),
            counted: counts.map(|counts| counts.iter().sum()),
        }),
        bare_p99_s: median(rounds.iter().filter_map(|round| round.bare.p99)),
        with_p99_s: median(watched().filter_map(|run| run.load.p99)),
        ..Outcome::new(name, "requests/s", rounds::compare(&rates)?)
    })
}
