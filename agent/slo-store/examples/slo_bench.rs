//! What `cargo xtask bench slo` runs: SLOs of 30 days with the default alerts, full, evaluated and kept at ticks
//! of 2 s for some hours of simulated time. Prints one JSON object.
//!
//! `slo_bench FOLDER SLOS`, with a folder that is empty or not there; `slo_bench FOLDER SLOS reopen` opens
//! what a run left.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unchecked_time_subtraction,
    reason = "a program of the benchmark, which has nobody to tell but whoever runs it"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{T0, slo};
use fastrand::Rng;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::{Mode, Transition};
use vigie_slo::model::Slo;
use vigie_slo_store::{Input, Opened, Store};

const DAY: i64 = 86_400;
/// Simulated seconds that are measured: two rounds of snapshots.
const MEASURED_S: i64 = 3_600;
const TICK_S: i64 = 2;
/// Pause after each simulated tick: time goes 700 times as fast as in life, the disk does not.
const PAUSE: Duration = Duration::from_millis(3);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(&arguments[0]);
    let count: usize = arguments[1].parse().unwrap();
    let slos: Vec<Arc<Slo>> = (0..count).map(|n| Arc::new(slo(&format!("slo-{n}")))).collect();
    let printed =
        if arguments.len() > 2 { reopen(folder, &slos) } else { run(folder, &arguments, &slos) };
    println!("{printed}");
}

/// `VmRSS` and the like of this process, in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kib: u64 = line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap();
    kib * 1_024
}

fn cpu(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap()
}

fn tick(rng: &mut Rng, t: i64, length_s: u64) -> Tick {
    let total = rng.u64(50 * length_s..150 * length_s);
    let bad = if rng.u8(0..4) == 0 { rng.u64(0..=total / 500) } else { 0 };
    Tick { t, length_s, good: total - bad, bad, unobserved: 0 }
}

fn fill(evaluators: &mut [Evaluator], rng: &mut Rng) {
    let mut out = Vec::new();
    for evaluator in evaluators {
        for t in (T0 - 31 * DAY..T0 - DAY / 4).step_by(300) {
            evaluator.tick(&tick(rng, t + 300, 300), &mut out);
        }
        for t in (T0 - DAY / 4..T0).step_by(10) {
            evaluator.tick(&tick(rng, t + 10, 10), &mut out);
        }
        out.clear();
    }
}

/// What the measured time came to.
#[derive(Default)]
struct Measured {
    ticks: u64,
    evaluating: Duration,
    longest_evaluation: Duration,
    keeping: Duration,
    longest_hold: Duration,
    longest_hold_cpu: Duration,
}

fn measure(evaluators: &mut [Evaluator], store: &mut Store, rng: &mut Rng) -> Measured {
    let mut measured = Measured::default();
    let mut out: Vec<Transition> = Vec::new();
    for t in (T0..T0 + MEASURED_S).step_by(2) {
        let inputs: Vec<(usize, Input)> = (0..evaluators.len())
            .map(|place| (place, Input::Tick(tick(rng, t + TICK_S, 2))))
            .collect();
        let (before, before_cpu) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
        for (evaluator, (_, input)) in evaluators.iter_mut().zip(&inputs) {
            input.apply(evaluator, &mut out);
        }
        let (between, between_cpu) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
        store.record(&inputs);
        while let Some(place) = store.due() {
            store.snapshot(place, &evaluators[place]);
        }
        let (held, held_cpu) = (between.elapsed(), cpu(ClockId::ThreadCPUTime) - between_cpu);
        measured.ticks += 1;
        measured.evaluating += between_cpu - before_cpu;
        measured.longest_evaluation = measured.longest_evaluation.max(between - before);
        measured.keeping += held_cpu;
        measured.longest_hold = measured.longest_hold.max(held);
        measured.longest_hold_cpu = measured.longest_hold_cpu.max(held_cpu);
        out.clear();
        sleep(PAUSE);
    }
    measured
}

fn run(folder: &Path, arguments: &[String], slos: &[Arc<Slo>]) -> Value {
    let mut rng = Rng::with_seed(1);
    let before = memory("VmRSS");
    let Opened { mut store, mut evaluators, .. } =
        vigie_slo_store::open(folder, slos, Mode::Scaled, T0).unwrap();
    fill(&mut evaluators, &mut rng);
    let filled = memory("VmRSS");
    let process = cpu(ClockId::ProcessCPUTime);
    let measured = measure(&mut evaluators, &mut store, &mut rng);
    let process = cpu(ClockId::ProcessCPUTime) - process;
    let after = memory("VmRSS");
    let rings: usize = evaluators.iter().map(Evaluator::memory_bytes).sum();
    let status = store.status();
    let closing = Instant::now();
    store.close(&evaluators);
    let closing = closing.elapsed();
    let peak = memory("VmHWM");
    drop(evaluators);
    let reopened = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .arg("reopen")
        .output()
        .unwrap();
    json!({
        "slos": slos.len(),
        "simulated_s": MEASURED_S,
        "ticks": measured.ticks,
        "rings_bytes": rings,
        "rss_before_bytes": before,
        "rss_filled_bytes": filled,
        "rss_after_bytes": after,
        "rss_peak_bytes": peak,
        "evaluating_cpu_s": measured.evaluating.as_secs_f64(),
        "keeping_cpu_s": measured.keeping.as_secs_f64(),
        "process_cpu_s": process.as_secs_f64(),
        "longest_evaluation_s": measured.longest_evaluation.as_secs_f64(),
        "longest_hold_s": measured.longest_hold.as_secs_f64(),
        "longest_hold_cpu_s": measured.longest_hold_cpu.as_secs_f64(),
        "longest_sync_s": Duration::from_micros(status.longest_sync_us).as_secs_f64(),
        "written_bytes": status.bytes_written,
        "snapshots": status.snapshots,
        "records_dropped": status.records_dropped,
        "closing_s": closing.as_secs_f64(),
        "reopened": serde_json::from_slice::<Value>(&reopened.stdout).unwrap(),
    })
}

fn reopen(folder: &Path, slos: &[Arc<Slo>]) -> Value {
    let before = memory("VmRSS");
    let opening = Instant::now();
    let opened = vigie_slo_store::open(folder, slos, Mode::Scaled, T0 + MEASURED_S).unwrap();
    let opening = opening.elapsed();
    assert_eq!((opened.report.restored, opened.report.notes.len()), (slos.len(), 0));
    json!({
        "opening_s": opening.as_secs_f64(),
        "rss_growth_bytes": memory("VmRSS") - before,
        "rss_peak_growth_bytes": memory("VmHWM") - before,
    })
}
