//! `cargo xtask bench`: what vigie costs what it watches, as ratios within one invocation.
//!
//! Absolute figures of a shared machine mean little, so every benchmark alternates runs without
//! anything, with an empty pair of tracepoints, and with the agent, and reports the medians of what
//! each round says; see [`rounds`]. There are two exceptions: [`instructions`] counts instructions
//! instead, and [`slo`] measures the evaluation of SLOs on its own.

mod agent;
mod getppid;
mod h2load;
mod http;
mod instructions;
mod keepalive;
mod load;
mod nginx;
mod postgres;
mod process;
mod prometheus;
mod ready;
mod receiver;
mod redis;
mod report;
mod rounds;
mod slo;
mod statistics;
mod wrk;

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::getppid::Caller;
use self::keepalive::{Load, Mode};
use self::nginx::Page;
use self::receiver::Kind;
use self::report::{Machine, Outcome, Report};
use crate::advice::Advice;
use crate::agent::Profile;
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Benchmarks, or groups such as `overhead`; all when none is given
    names: Vec<String>,
    /// Also write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds, each with a run without and one with the agent
    #[arg(long, default_value = "5")]
    runs: NonZeroU32,
    /// Length of a run
    #[arg(long, default_value = "3")]
    seconds: NonZeroU32,
    /// Connections that the load keeps open
    #[arg(long, default_value = "50")]
    connections: NonZeroU32,
    /// Requests of each measurement of `instructions`
    #[arg(long, default_value = "2000")]
    requests: NonZeroU32,
    /// Where nginx's answer comes from
    #[arg(long, value_enum, default_value = "file")]
    page: Page,
    /// Who receives the spans
    #[arg(long, value_enum, default_value = "sink")]
    receiver: Kind,
    /// Leave out the runs with an empty pair of tracepoints, which are a third of the time
    #[arg(long)]
    no_reference: bool,
    /// Measure this agent instead of building the one in this checkout; `instructions` wants a static
    /// one
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// What the benchmarks share.
struct Bench {
    runs: u32,
    length: Duration,
    connections: u32,
    page: Page,
    receiver: Kind,
    /// Whether to measure an empty pair of tracepoints, too.
    reference: bool,
    agent: PathBuf,
    rotel: PathBuf,
    /// Configurations and logs of the programs started; left behind for a look.
    folder: PathBuf,
}

type Benchmark = (&'static str, fn(&Bench, &'static str) -> Result<Outcome>);

const BENCHMARKS: [Benchmark; 8] = [
    ("overhead/nginx-keepalive", |bench, name| {
        keepalive::measure(bench, name, Load::Wrk, Mode::Spans)
    }),
    ("overhead/nginx-keepalive-metrics", |bench, name| {
        keepalive::measure(bench, name, Load::Wrk, Mode::Metrics)
    }),
    ("overhead/nginx-keepalive-both-ends", |bench, name| {
        keepalive::measure(bench, name, Load::Wrk, Mode::SpansOfBothEnds)
    }),
    ("overhead/h2", |bench, name| keepalive::measure(bench, name, Load::H2load, Mode::Metrics)),
    ("overhead/postgres", postgres::measure),
    ("overhead/redis", redis::measure),
    ("overhead/getppid", |bench, name| getppid::measure(bench, name, Caller::Unwatched)),
    ("overhead/getppid-watched", |bench, name| getppid::measure(bench, name, Caller::Watched)),
];

/// `cargo xtask bench`.
pub(crate) fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    let asked: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let (slo, others): (Vec<&str>, Vec<&str>) = asked.iter().partition(|name| slo::is_meant(name));
    let (counted, timed): (Vec<&str>, Vec<&str>) =
        others.iter().partition(|name| instructions::is_meant(name));
    let only_exceptions = timed.is_empty() && !asked.is_empty();
    let chosen = if only_exceptions { Vec::new() } else { choose(&timed)? };
    // Before the build, whose own load is gone when the runs begin.
    let machine = Machine::read()?;
    setup::ensure(workspace, Purpose::Test)?;
    let mut report = Report::new(machine);
    if !chosen.is_empty() {
        time(workspace, args, chosen, &mut report)?;
        print!("{report}");
    }
    let mut json = serde_json::to_value(&report).context("writing JSON")?;
    let mut add = |results: serde_json::Result<serde_json::Value>| -> Result<()> {
        let results = results.context("writing JSON")?;
        let all = json.get_mut("results").and_then(|all| all.as_array_mut());
        if let (Some(all), Some(results)) = (all, results.as_array()) {
            all.extend(results.iter().cloned());
        }
        Ok(())
    };
    if asked.is_empty() || !slo.is_empty() {
        let table = slo::measure(workspace).context("bench slo")?;
        print!("{table}");
        add(serde_json::to_value(&table.results))?;
    }
    if asked.is_empty() || !counted.is_empty() {
        let agent = args.agent.as_deref();
        let table = instructions::measure(workspace, &counted, args.requests.get(), agent)
            .context("bench instructions")?;
        print!("{table}");
        add(serde_json::to_value(&table.results))?;
    }
    if let Some(file) = &args.json {
        let mut json = serde_json::to_string_pretty(&json).context("writing JSON")?;
        json.push('\n');
        fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// The benchmarks that measure time, on this machine itself.
fn time(
    workspace: &Workspace,
    args: &Args,
    chosen: Vec<Benchmark>,
    report: &mut Report,
) -> Result<()> {
    let agent = if let Some(agent) = &args.agent {
        agent.clone()
    } else {
        crate::agent::build(workspace, Profile::Release)?;
        workspace.agent()
    };
    let folder = workspace.target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let bench = Bench {
        runs: args.runs.get(),
        length: Duration::from_secs(u64::from(args.seconds.get())),
        connections: args.connections.get(),
        page: args.page,
        receiver: args.receiver,
        reference: !args.no_reference,
        agent,
        rotel: workspace.setup().join("venv/bin/rotel"),
        folder,
    };
    for (name, measure) in chosen {
        eprintln!("bench: {name}");
        report.results.push(measure(&bench, name).with_context(|| format!("bench {name}"))?);
    }
    Ok(())
}

/// The benchmarks with these names, or in the groups of these names.
fn choose(names: &[&str]) -> Result<Vec<Benchmark>> {
    let is_asked = |benchmark: &str, name: &str| {
        benchmark.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for name in names {
        if !BENCHMARKS.iter().any(|(benchmark, _)| is_asked(benchmark, name)) {
            let mut all: Vec<&str> = BENCHMARKS.iter().map(|(benchmark, _)| *benchmark).collect();
            all.extend([instructions::GROUP, slo::GROUP]);
            return Err(Advice::error(
                format!("no benchmark is called {name}"),
                format!("choose from: {}", all.join(", ")),
            ));
        }
    }
    let chosen = BENCHMARKS.into_iter().filter(|(benchmark, _)| {
        names.is_empty() || names.iter().any(|&name| is_asked(benchmark, name))
    });
    Ok(chosen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Vec<&'static str> {
        choose(names).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_are_whole_and_groups_are_folders() {
        assert_eq!(chosen(&["overhead/getppid"]), ["overhead/getppid"]);
        assert_eq!(chosen(&["overhead"]).len(), BENCHMARKS.len());
        assert_eq!(chosen(&[]).len(), BENCHMARKS.len());
    }

    #[test]
    fn unknown_name_lists_the_known_ones() {
        let error = choose(&["overhead/nginx"]).unwrap_err();
        assert!(crate::advice::remedy(&error).unwrap().contains("overhead/nginx-keepalive"));
    }
}
