//! `cargo xtask bench slo`: what 200 SLOs of 30 days take, full, with the default alerts: memory, processor
//! time at ticks of 2 s, how long whoever evaluates is held up by keeping state, and what is written.
//!
//! An hour is simulated as fast as it goes; processor time is that of the thread and of the process, so that
//! others at work on the machine change it little. The longest times are of the clock: they are what a
//! busy machine makes of them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;
use crate::{command, toolchain};

/// Name of the benchmark; those of its results have what they are about behind a slash.
pub(super) const GROUP: &str = "slo";
const SLOS: &str = "200";
/// Most that all may take, in bytes.
const MEMORY_LIMIT: f64 = 40e6;
/// Largest share of one core.
const SHARE_LIMIT: f64 = 0.01;
const EXAMPLE: &str = "slo_bench";

/// What the program prints. Times in seconds.
#[derive(Debug, Deserialize)]
struct Figures {
    simulated_s: f64,
    rings_bytes: f64,
    rss_before_bytes: f64,
    rss_peak_bytes: f64,
    evaluating_cpu_s: f64,
    process_cpu_s: f64,
    longest_evaluation_s: f64,
    longest_hold_s: f64,
    longest_hold_cpu_s: f64,
    longest_sync_s: f64,
    written_bytes: f64,
    records_dropped: u64,
    reopened: Reopened,
}

/// Of a process that opens what the first one left.
#[derive(Debug, Deserialize)]
struct Reopened {
    opening_s: f64,
    rss_peak_growth_bytes: f64,
}

/// One result, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    name: &'static str,
    unit: &'static str,
    /// Without keeping state; of memory, before there is an SLO.
    bare: f64,
    with: f64,
    ratio: f64,
    runs: u32,
    /// Not to be exceeded by `with`, of memory by `with − bare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    /// What it is, for people.
    #[serde(skip)]
    words: String,
}

impl Measured {
    fn new(name: &'static str, unit: &'static str, bare: f64, with: f64, words: String) -> Self {
        let ratio = if bare > 0.0 { with / bare } else { 0.0 };
        Self { name, unit, bare, with, ratio, runs: 1, limit: None, words }
    }

    fn at_most(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

/// All results.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) results: Vec<Measured>,
}

/// Whether a name asks for this.
pub(super) fn is_meant(name: &str) -> bool {
    name == GROUP
}

/// Builds the program, runs it, and gives its figures.
pub(super) fn measure(workspace: &Workspace) -> Result<Table> {
    let mut cargo = toolchain::cargo();
    cargo
        .args(["build", "--release", "--package", "vigie-slo-store", "--example", EXAMPLE])
        .current_dir(workspace.root());
    command::run(&mut cargo)?;
    eprintln!("bench: {GROUP}");
    let folder = workspace.target().join("bench").join("slo-state");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let program = workspace.target().join("release/examples").join(EXAMPLE);
    let figures = run(&program, &folder)?;
    if figures.records_dropped > 0 {
        bail!(
            "the disk did not keep up with an hour in some seconds: {} ticks were not written",
            figures.records_dropped
        );
    }
    Ok(Table { results: results(&figures) })
}

fn run(program: &Path, folder: &Path) -> Result<Figures> {
    let mut command = Command::new(program);
    command.arg(folder).arg(SLOS).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", program.display(), output.status);
    }
    serde_json::from_slice(&output.stdout).context("reading what the program printed")
}

fn results(figures: &Figures) -> Vec<Measured> {
    let Figures { simulated_s, reopened, .. } = figures;
    let before = figures.rss_before_bytes;
    let share = |cpu_s: f64| cpu_s / simulated_s;
    let memory = format!(
        "{:.1} MB more than before, {:.1} MB of it counts; restarted, at most {:.1} MB",
        (figures.rss_peak_bytes - before) / 1e6,
        figures.rings_bytes / 1e6,
        reopened.rss_peak_growth_bytes / 1e6,
    );
    let cpu = format!(
        "evaluation {:.3} %, with keeping and writing {:.3} % of one core",
        share(figures.evaluating_cpu_s) * 100.0,
        share(figures.process_cpu_s) * 100.0,
    );
    let hold = format!(
        "longest tick {:.1} ms, then held up by {:.1} ms ({:.1} ms of work; longest sync {:.0} ms)",
        figures.longest_evaluation_s * 1e3,
        figures.longest_hold_s * 1e3,
        figures.longest_hold_cpu_s * 1e3,
        figures.longest_sync_s * 1e3,
    );
    let per_hour = figures.written_bytes * 3_600.0 / simulated_s;
    let written = format!("{:.1} MB an hour", per_hour / 1e6);
    let opening = format!("{:.0} ms until all state is there again", reopened.opening_s * 1e3);
    vec![
        Measured::new("slo/memory", "bytes", before, figures.rss_peak_bytes, memory)
            .at_most(MEMORY_LIMIT),
        Measured::new(
            "slo/cpu",
            "share of one core",
            share(figures.evaluating_cpu_s),
            share(figures.process_cpu_s),
            cpu,
        )
        .at_most(SHARE_LIMIT),
        Measured::new(
            "slo/hold",
            "s",
            figures.longest_evaluation_s,
            figures.longest_evaluation_s + figures.longest_hold_s,
            hold,
        ),
        Measured::new("slo/written", "bytes/h", 0.0, per_hour, written),
        Measured::new("slo/opening", "s", 0.0, reopened.opening_s, opening),
    ]
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{SLOS} SLOs of 30 days, full, four alerts each, ticks of 2 s\n")?;
        for result in &self.results {
            write!(f, "{:<12} {}", result.name, result.words)?;
            let used = if result.unit == "bytes" { result.with - result.bare } else { result.with };
            match result.limit {
                Some(limit) if used > limit => writeln!(f, "  ABOVE THE LIMIT")?,
                _ => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_its_limit_is_said() {
        let printed = serde_json::json!({
            "simulated_s": 3_600.0, "rings_bytes": 34.6e6, "rss_before_bytes": 3e6,
            "rss_peak_bytes": 39e6, "evaluating_cpu_s": 1.3, "process_cpu_s": 1.8,
            "longest_evaluation_s": 0.01, "longest_hold_s": 0.005, "longest_hold_cpu_s": 0.001,
            "longest_sync_s": 0.02, "written_bytes": 19e6, "records_dropped": 0,
            "reopened": {"opening_s": 0.1, "rss_peak_growth_bytes": 36e6},
        });
        let mut figures: Figures = serde_json::from_value(printed).unwrap();
        let table = Table { results: results(&figures) };
        assert!(!table.to_string().contains("LIMIT"), "{table}");
        assert!(table.to_string().contains("evaluation 0.036 %"), "{table}");
        figures.rss_peak_bytes = 44e6;
        let table = Table { results: results(&figures) }.to_string();
        assert_eq!(table.matches("LIMIT").count(), 1, "{table}");
        assert!(is_meant("slo") && !is_meant("slo/memory"));
    }
}
