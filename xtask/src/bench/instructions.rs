//! `cargo xtask bench instructions`: what watching costs, counted in instructions.
//!
//! nginx with one worker and a page of 600 bytes under `ab -k -c 4`, in a virtual machine whose clock
//! advances by a nanosecond per instruction, so that processor time is a number of instructions: it
//! repeats within half a percent, whatever else the host does. Cache misses are not seen, nor is
//! what a processor does at once; for these there is `bench overhead`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::advice::Advice;
use crate::setup::kernels::KERNELS;
use crate::vm::image;
use crate::vm::machine::{Boot, End, Processors};
use crate::workspace::Workspace;

/// Name of the group; a benchmark's name has the backend behind a slash.
pub(super) const GROUP: &str = "instructions";
/// The kernel that the figures of others were measured on.
const KERNEL: &str = "6.12";
const SILENCE: Duration = Duration::from_mins(5);
const LIMIT: Duration = Duration::from_mins(20);

/// What the guest says of one backend. All but sizes, ratios and the counts of requests are
/// instructions, per request where not said otherwise.
#[derive(Debug, Deserialize)]
struct Figures {
    backend: String,
    requests: u64,
    counted: f64,
    server_bare: f64,
    server_with: f64,
    server_unwatched: f64,
    per_second_bare: f64,
    per_second_with: f64,
    per_second_unwatched: f64,
    agent: f64,
    agent_until_ready: u64,
    agent_until_counted: u64,
    map_bytes: u64,
    agent_rss_bytes: u64,
    programs: Vec<Program>,
}

/// One program per request, its accounting included.
#[derive(Debug, Deserialize, Serialize)]
struct Program {
    name: String,
    runs: f64,
    instructions: f64,
}

/// Result of one backend, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    name: String,
    unit: &'static str,
    /// Of the watched server.
    bare: f64,
    with: f64,
    ratio: f64,
    runs: u32,
    requests: u64,
    /// Share of the requests that the agent counted.
    counted: f64,
    /// Requests in a second of the guest, with the agent ÷ without.
    throughput_ratio: f64,
    agent_instructions: f64,
    /// A server that is not watched, while another one is.
    unwatched: f64,
    unwatched_ratio: f64,
    unwatched_throughput_ratio: f64,
    /// Instructions of the agent from its start, in all.
    agent_instructions_until_ready: u64,
    agent_instructions_until_counted: u64,
    map_bytes: u64,
    agent_rss_bytes: u64,
    programs: Vec<Program>,
}

/// Results of all backends.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) results: Vec<Measured>,
    /// By how much two measurements of the bare server, before and after a backend, differed at most.
    drift: f64,
}

impl From<Figures> for Measured {
    fn from(figures: Figures) -> Self {
        let backend = if figures.backend.is_empty() { "syscall" } else { &figures.backend };
        Self {
            name: format!("{GROUP}/{backend}"),
            unit: "instructions/request",
            bare: figures.server_bare,
            with: figures.server_with,
            ratio: figures.server_with / figures.server_bare,
            runs: 1,
            requests: figures.requests,
            counted: figures.counted,
            throughput_ratio: figures.per_second_with / figures.per_second_bare,
            agent_instructions: figures.agent,
            unwatched: figures.server_unwatched,
            unwatched_ratio: figures.server_unwatched / figures.server_bare,
            unwatched_throughput_ratio: figures.per_second_unwatched / figures.per_second_bare,
            agent_instructions_until_ready: figures.agent_until_ready,
            agent_instructions_until_counted: figures.agent_until_counted,
            map_bytes: figures.map_bytes,
            agent_rss_bytes: figures.agent_rss_bytes,
            programs: figures.programs,
        }
    }
}

/// Whether a name on the command line means this benchmark.
pub(super) fn is_meant(name: &str) -> bool {
    name == GROUP || name.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))
}

/// Boots, measures, and gives the results of the backends that `names` asks for.
pub(super) fn measure(
    workspace: &Workspace,
    names: &[&str],
    requests: u32,
    agent: Option<&Path>,
) -> Result<Table> {
    let kernel = KERNELS.iter().find(|kernel| kernel.version == KERNEL);
    let kernel = kernel.context("the kernel of the benchmark is not in the matrix")?;
    let kernel = kernel.image(&workspace.setup());
    if !kernel.is_file() {
        return Err(Advice::error(
            format!("no kernel {KERNEL}"),
            "see set-up's messages: the package could not be had",
        ));
    }
    image::build(workspace)?;
    let folder = crate::vm::folder(workspace)?;
    let initramfs = folder.join("bench.cpio");
    image::write(workspace, &initramfs, agent)?;
    // `all`, or backends joined by commas.
    let mut backends: Vec<&str> =
        names.iter().filter_map(|name| name.strip_prefix("instructions/")).collect();
    if backends.is_empty() || names.contains(&GROUP) {
        backends = vec!["all"];
    }
    let work = format!("bench:{requests}:{}", backends.join(","));
    let log = folder.join("bench.log");
    let boot = Boot {
        kernel: &kernel,
        initramfs: &initramfs,
        work: &work,
        processors: Processors::Counted,
        silence: SILENCE,
        limit: LIMIT,
        log: &log,
    };
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    let outcome = boot.run(|line| {
        if let Some(figure) = line.strip_prefix("figure ") {
            lines.push(figure.to_owned());
        } else if let Some(failure) = line.strip_prefix("fail ") {
            failures.push(failure.to_owned());
        } else if let Some(progress) = line.strip_prefix("begin ") {
            eprintln!("bench: {GROUP}: {progress}");
        }
    })?;
    if outcome.end != End::Done || !failures.is_empty() {
        return Err(Advice::error(
            format!("the virtual machine: {:?} {}", outcome.end, failures.join("; ")),
            format!("see {}", log.display()),
        ));
    }
    read(&lines)
}

fn read(lines: &[String]) -> Result<Table> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Line {
        Drift { drift: f64 },
        Figures(Box<Figures>),
    }
    let mut table = Table { results: Vec::new(), drift: 0.0 };
    for line in lines {
        match serde_json::from_str(line).with_context(|| format!("a figure: {line}"))? {
            Line::Drift { drift } => table.drift = drift,
            Line::Figures(figures) => table.results.push((*figures).into()),
        }
    }
    if table.results.is_empty() {
        bail!("the virtual machine measured nothing: no backend of these names");
    }
    Ok(table)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Linux {KERNEL}, one nginx worker, 600-byte page, ab -k -c 4; instructions per request\n"
        )?;
        writeln!(
            f,
            "{:<31} {:>6} {:>6} {:>6} {:>6} {:>6} {:>9} {:>6} {:>7}",
            "", "bare", "with", "ratio", "thru", "agent", "unwatched", "maps", "start"
        )?;
        for result in &self.results {
            writeln!(
                f,
                "{:<31} {:>6.0} {:>6.0} {:>6.3} {:>6.3} {:>6.0} {:>9.3} {:>4.1}Mi {:>6.0}M",
                result.name,
                result.bare,
                result.with,
                result.ratio,
                result.throughput_ratio,
                result.agent_instructions,
                result.unwatched_ratio,
                result.map_bytes as f64 / f64::from(1 << 20),
                result.agent_instructions_until_counted as f64 / 1e6,
            )?;
        }
        for result in &self.results {
            writeln!(
                f,
                "\n{}: counted {:.2} %, unwatched throughput {:.3}, agent's memory {:.0} MB\n  \
                 programs, a request (their accounting included):",
                result.name,
                result.counted * 100.0,
                result.unwatched_throughput_ratio,
                result.agent_rss_bytes as f64 / 1e6,
            )?;
            for program in &result.programs {
                writeln!(
                    f,
                    "  {:<16} {:>6.2} runs {:>7.0} instructions",
                    program.name, program.runs, program.instructions
                )?;
            }
        }
        writeln!(
            f,
            "\nthe bare server, before and after each: {:+.2} % at most",
            self.drift * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: &str = r#"{"backend":"socket-fentry","requests":1000,"counted":1.0,
        "server_bare":46000.0,"server_with":55200.0,"server_unwatched":46460.0,
        "per_second_bare":8000.0,"per_second_with":6400.0,"per_second_unwatched":7920.0,
        "agent":9000.0,"agent_until_ready":200000000,"agent_until_counted":210000000,
        "map_bytes":10485760,"agent_rss_bytes":30000000,
        "programs":[{"name":"vigie_sent","runs":2.0,"instructions":4000.0}]}"#;

    #[test]
    fn ratios_are_with_by_bare() {
        let table = read(&[FIGURES.to_owned(), r#"{"drift":0.001}"#.to_owned()]).unwrap();
        let json = serde_json::to_value(&table.results[0]).unwrap();
        assert_eq!(json["name"], "instructions/socket-fentry");
        assert!((json["ratio"].as_f64().unwrap() - 1.2).abs() < 1e-9);
        assert!((json["throughput_ratio"].as_f64().unwrap() - 0.8).abs() < 1e-9);
        let text = table.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.contains("vigie_sent         2.00 runs    4000 instructions"), "{text}");
        assert!(text.contains("+0.10 %"), "{text}");
    }

    #[test]
    fn group_and_members_are_meant() {
        assert!(is_meant("instructions") && is_meant("instructions/syscall"));
        assert!(!is_meant("instruction") && !is_meant("overhead"));
    }
}
