//! `overhead/getppid…`: what a system call that vigie has no interest in costs more while it runs.

use std::hint::black_box;
use std::os::unix::process::parent_id;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Bench;
use super::agent::{Agent, Unwatched};
use super::report::Outcome;
use super::statistics::median;

/// Calls of one batch: a few tenths of a second.
const CALLS: u32 = 1_000_000;
/// Batches of one run. The quickest counts: what disturbs a batch only ever makes it slower.
const BATCHES: u32 = 5;

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
    let mut pairs = Vec::new();
    let mut resident = 0;
    for pair in 0..bench.runs {
        let bare = run();
        let agent = Agent::start(bench, unwatched, None)?;
        let with = run();
        resident = resident.max(agent.memory()?.resident);
        agent.stop()?;
        eprintln!("bench:   pair {}: {bare:.1} -> {with:.1} ns/call", pair + 1);
        pairs.push((bare, with));
    }
    outcome(name, &pairs, resident).context("no runs")
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

fn outcome(name: &'static str, pairs: &[(f64, f64)], resident: u64) -> Option<Outcome> {
    Some(Outcome {
        name,
        bare: median(pairs.iter().map(|&(bare, _)| bare))?,
        with: median(pairs.iter().map(|&(_, with)| with))?,
        ratio: median(pairs.iter().map(|&(bare, with)| with / bare))?,
        unit: "ns/call",
        runs: pairs.len(),
        ratios: pairs.iter().map(|&(bare, with)| with / bare).collect(),
        agent_cpu_s_per_million: None,
        agent_rss_bytes: Some(resident),
        agent_rss_peak_bytes: None,
        receiver: None,
        receiver_cpu_s_per_million: None,
        records_dropped: None,
        requests: None,
        bare_p99_s: None,
        with_p99_s: None,
        added: median(pairs.iter().map(|&(bare, with)| with - bare)),
    })
}
