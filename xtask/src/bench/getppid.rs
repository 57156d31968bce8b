//! `overhead/getppid…`: what a system call that vigie has no interest in costs more while it runs.
//!
//! The call is one of the cheapest there are, so the figure is the price of the probes alone. A run
//! is several batches of which the quickest counts: what disturbs a batch only ever makes it
//! slower.

use std::hint::black_box;
use std::os::unix::process::parent_id;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Bench;
use super::agent::{Agent, Unwatched};
use super::report::Outcome;
use super::rounds::{self, Round};

/// Calls of one batch: a few milliseconds, so that some batches fall between the disturbances.
const CALLS: u32 = 20_000;
const BATCHES: u32 = 250;

/// Whether the agent watches the process that calls, which is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Unwatched,
    Watched,
}

/// Runs the benchmark.
pub(super) fn measure(bench: &Bench, name: &'static str, caller: Caller) -> Result<Outcome> {
    let unwatched = match caller {
        Caller::Unwatched => Unwatched(&["*/xtask"]),
        Caller::Watched => Unwatched(&[]),
    };
    run();
    let mut rounds = Vec::new();
    let mut resident = 0;
    for number in 0..bench.runs {
        let round = rounds::round(
            bench,
            number,
            || Ok(run()),
            || {
                let agent = Agent::start(bench, unwatched, None)?;
                let with = run();
                resident = resident.max(agent.memory()?.resident);
                agent.stop()?;
                Ok(with)
            },
        )?;
        eprintln!("bench:   round {}: {} ns/call", number + 1, round.shown(1));
        rounds.push(round);
    }
    outcome(name, &rounds, resident).context("no runs")
}

/// Nanoseconds per call, of the quickest batch.
fn run() -> f64 {
    (0..BATCHES).map(|_| batch()).fold(f64::INFINITY, f64::min)
}

fn batch() -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        // getppid(2): the C library keeps no copy of its answer, so each is a system call.
        black_box(parent_id());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn outcome(name: &'static str, rounds: &[Round<f64, f64>], resident: u64) -> Option<Outcome> {
    Some(Outcome {
        added: rounds::subtract(rounds),
        figure: Some(format!("minimum over {BATCHES} batches in each run")),
        agent_rss_bytes: Some(resident),
        ..Outcome::new(name, "ns/call", rounds::compare(rounds)?)
    })
}
