//! A server under load, with and without the agent: what the benchmarks of throughput have in common.
//!
//! The server's processor is the bottleneck, so the ratio of throughputs is what the agent's
//! probes, and its own share of the two processors, take from it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::agent::{Agent, Unwatched};
use super::receiver::{Kind, Receiver};
use super::report::{Outcome, Requests};
use super::rounds::{self, Round};
use super::statistics::median;
use super::{Bench, prometheus, wrk};

/// Before the first run, so that no run pays for cold caches.
const WARM_UP: Duration = Duration::from_secs(1);
/// After the load: what is still in queues belongs to the measured processor time.
const DRAIN: Duration = Duration::from_secs(1);
/// How long to wait for the agent's count to stand still.
const COUNT_LIMIT: Duration = Duration::from_secs(3);
const COUNT_PAUSE: Duration = Duration::from_millis(250);

const DROPPED: &str = "vigie_records_dropped_total";

/// A server and who asks it.
pub(super) trait Subject {
    /// Loads it for as long as said; any failed request is an error.
    fn load(&self, length: Duration) -> Result<wrk::Run>;

    /// Requests that it has served since its start, this question among them.
    fn served(&self) -> Result<u64>;

    /// Requests that the agent counted for it, by its metrics.
    fn counted(&self, metrics: &str) -> Option<f64>;
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

/// Runs a benchmark. With a receiver, the agent exports its spans to it.
pub(super) fn measure(
    bench: &Bench,
    name: &'static str,
    subject: &dyn Subject,
    unwatched: Unwatched<'_>,
    receiver: Option<&Receiver>,
) -> Result<Outcome> {
    subject.load(WARM_UP)?;
    let mut rounds = Vec::new();
    for number in 0..bench.runs {
        let round = rounds::round(
            bench,
            number,
            || subject.load(bench.length),
            || watched_run(bench, subject, unwatched, receiver),
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
    subject: &dyn Subject,
    unwatched: Unwatched<'_>,
    receiver: Option<&Receiver>,
) -> Result<Watched> {
    let receiver_cpu = || receiver.map(Receiver::cpu_seconds).transpose();
    let served_before = subject.served()?;
    let agent = Agent::start(bench, unwatched, receiver.map(Receiver::address))?;
    let (agent_before, receiver_before) = (agent.cpu_seconds()?, receiver_cpu()?);
    let load = subject.load(bench.length)?;
    thread::sleep(DRAIN);
    let (agent_after, receiver_after) = (agent.cpu_seconds()?, receiver_cpu()?);
    let memory = agent.memory()?;
    let metrics = settled_metrics(&agent, subject)?;
    agent.stop()?;
    Ok(Watched {
        load,
        agent_cpu: agent_after - agent_before,
        receiver_cpu: receiver_after.zip(receiver_before).map(|(after, before)| after - before),
        resident: memory.resident,
        peak: memory.peak,
        // The last question counts itself, and came when the agent was gone.
        served: subject.served()?.saturating_sub(served_before + 1),
        counted: subject.counted(&metrics),
        dropped: prometheus::sum(&metrics, DROPPED).unwrap_or(0.0),
    })
}

/// The agent's metrics once its count of requests stands still.
fn settled_metrics(agent: &Agent, subject: &dyn Subject) -> Result<String> {
    let end = Instant::now() + COUNT_LIMIT;
    let mut metrics = agent.scrape()?;
    loop {
        thread::sleep(COUNT_PAUSE);
        let later = agent.scrape()?;
        let still = subject.counted(&later) == subject.counted(&metrics);
        metrics = later;
        if still || Instant::now() >= end {
            return Ok(metrics);
        }
    }
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
