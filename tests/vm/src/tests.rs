//! The tests: what they are called, where they run, and what they share.

mod accuracy;
mod check;
mod counts;
mod life;
mod lookups;
mod many;
mod overload;
mod rights;
mod uring;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, Options};
use crate::backend::{self, Kernel};
use crate::bpf;

/// What a test is told.
pub(crate) struct Case {
    /// Empty for tests that are not about one.
    pub(crate) backend: String,
    /// Version of the running kernel, as far as tests depend on it.
    kernel: Kernel,
}

/// What became of a test that did not fail.
pub(crate) enum Verdict {
    Passed,
    Skipped(String),
}

/// How often a test runs on one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// On each backend that is offered.
    OnEachBackend,
    /// On each that is exact on this kernel.
    OnEachExact,
    /// On each that is exact on the kernel of the long tests; elsewhere as [`Runs::OnLastBackend`].
    OnEachInDepth,
    /// On the last backend that is exact: emulated kernels before 6.2 take half a minute to attach the
    /// first one (they look each function up in the list of all symbols).
    OnLastBackend,
    /// Once, with the backend that the agent chooses.
    Once,
}

/// One test.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) runs: Runs,
    /// Longest time; then it is killed, and has failed.
    pub(crate) limit: Duration,
    /// The only kernel that it runs on, for tests that take long.
    pub(crate) only_on: Option<Kernel>,
    pub(crate) run: fn(&Case) -> Result<Verdict>,
}

/// The kernel on which the long tests run.
pub(crate) const THOROUGH: Kernel = (6, 12);

impl Test {
    const fn new(name: &'static str, run: fn(&Case) -> Result<Verdict>) -> Self {
        let limit = Duration::from_mins(4);
        Self { name, runs: Runs::OnEachBackend, limit, only_on: None, run }
    }

    const fn exact(mut self) -> Self {
        self.runs = Runs::OnEachExact;
        self
    }

    const fn once(mut self) -> Self {
        self.runs = Runs::Once;
        self
    }

    const fn in_depth(mut self) -> Self {
        self.runs = Runs::OnEachInDepth;
        self
    }

    const fn on_last(mut self) -> Self {
        self.runs = Runs::OnLastBackend;
        self
    }

    const fn slow(mut self) -> Self {
        self.limit = Duration::from_mins(5);
        self
    }

    const fn long(mut self) -> Self {
        self.only_on = Some(THOROUGH);
        self.slow()
    }
}

/// All tests, in the order in which they run. Lockdown is last: there is no way back.
pub(crate) const TESTS: [Test; 20] = [
    Test::new("check", check::machine),
    Test::new("accuracy", accuracy::rows),
    Test::new("exact_counts", counts::exact).in_depth(),
    Test::new("older_connections", counts::older).exact(),
    Test::new("moment_of_ready", counts::moment_of_ready).in_depth(),
    Test::new("nginx", counts::nginx).in_depth(),
    Test::new("http2", counts::http2).in_depth(),
    Test::new("lookups", lookups::ways).exact(),
    Test::new("io_uring", uring::exchanges).exact(),
    Test::new("restart", life::restart).on_last(),
    Test::new("killed", life::killed).on_last(),
    Test::new("refused_probes", life::refused).slow().in_depth(),
    Test::new("overload", overload::stopped_reader).in_depth(),
    Test::new("short_connections", many::short).long().once(),
    Test::new("idle_connections", many::idle).long().once(),
    Test::new("forked_workers", many::forked).long().once(),
    Test::new("killed_ten_times", life::killed_ten_times).long().once(),
    Test::new("without_btf", check::without_btf).once(),
    Test::new("capabilities", rights::capabilities).in_depth(),
    Test::new("lockdown", rights::lockdown).in_depth(),
];

impl Case {
    pub(crate) fn new(backend: &str) -> Result<Self> {
        let backend = if backend == "-" { "" } else { backend };
        Ok(Self { backend: backend.to_owned(), kernel: kernel()? })
    }

    /// The agent's settings on this backend.
    fn options(&self) -> Options {
        Options::on(&self.backend)
    }

    /// Whether the hooks are on functions, which also see the contents of what `io_uring` moves.
    fn is_on_functions(&self) -> bool {
        ["socket-fentry", "socket-kprobe"].contains(&self.backend.as_str())
    }

    /// Whether this is the kernel of the long tests.
    fn is_thorough(&self) -> bool {
        self.kernel == THOROUGH
    }

    /// `many` on the kernel of the long tests, `few` on the others.
    fn size(&self, many: u32, few: u32) -> u32 {
        if self.is_thorough() { many } else { few }
    }
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel() -> Result<Kernel> {
    let name = rustix::system::uname();
    let text = name.release().to_string_lossy().into_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    next().zip(next()).with_context(|| format!("kernel version {text}"))
}

/// Runs the test of this name in this process.
pub(crate) fn run(name: &str, backend: &str) -> Result<Verdict> {
    let test = TESTS.iter().find(|test| test.name == name);
    let test = test.with_context(|| format!("no test is called {name}"))?;
    match (test.run)(&Case::new(backend)?) {
        // Not a failure of what was tested, and not a success.
        Err(error) if error.is::<LeftOut>() => Ok(Verdict::Skipped(error.to_string())),
        verdict => verdict,
    }
}

/// Requests of one kind (`server`, `client`) and name that a report counts, over all services.
fn counted(report: &Value, kind: &str, name: &str) -> u64 {
    endpoints(report)
        .filter(|endpoint| text(endpoint, "kind") == kind && text(endpoint, "name") == name)
        .map(|endpoint| number(endpoint, "count"))
        .sum()
}

/// Requests of one kind, whatever their name.
fn counted_in_all(report: &Value, kind: &str) -> u64 {
    endpoints(report)
        .filter(|endpoint| text(endpoint, "kind") == kind)
        .map(|endpoint| number(endpoint, "count"))
        .sum()
}

fn endpoints(report: &Value) -> impl Iterator<Item = &Value> {
    let services = report["services"].as_array().into_iter().flatten();
    services.flat_map(|service| service["endpoints"].as_array().into_iter().flatten())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Both sides of every request of this name were counted, and nothing was lost.
fn expect_exactly(report: &Value, name: &str, wanted: u64) -> Result<()> {
    for kind in ["server", "client"] {
        let got = counted(report, kind, name);
        ensure!(
            got == wanted,
            "{got} instead of {wanted} {kind} {name} counted; loss: {}",
            report["loss"]
        );
    }
    let completeness = report["loss"]["completeness"].as_f64();
    ensure!(completeness == Some(1.0), "all counted, yet loss: {}", report["loss"]);
    Ok(())
}

/// The kernel left out runs of vigie's programs (docs/backends.md): nothing can be exact.
#[derive(Debug)]
pub(crate) struct LeftOut(u64, String);

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the kernel left out {} runs of vigie's programs; loss: {}", self.0, self.1)
    }
}

impl std::error::Error for LeftOut {}

/// An error of its own where the kernel left out runs, vigie says so, and it was to be expected of this
/// backend.
fn excuse(report: &Value) -> Result<()> {
    let loss = &report["loss"];
    let left_out = number(&loss["by_reason"], "skipped_by_kernel");
    if left_out == 0 {
        return Ok(());
    }
    let completeness = loss["completeness"].as_f64();
    ensure!(completeness.is_some_and(|share| share < 1.0), "left out, yet complete: {loss}");
    let is_exact = backend::is_exact(text(report, "backend"), kernel()?);
    ensure!(!is_exact, "left out runs on a backend that is called exact: {loss}");
    Err(LeftOut(left_out, loss.to_string()).into())
}

/// Starts the agent, does the work, and gives the agent's report of it.
fn watching(options: &Options, work: impl FnOnce() -> Result<()>) -> Result<Value> {
    let agent = Agent::profile(options)?;
    work()?;
    let programs = bpf::programs()?;
    for program in programs.iter().filter(|program| program.missed > 0) {
        println!("left out: {} runs of {}", program.missed, program.name);
    }
    let missed: u64 = programs.iter().map(|program| program.missed).sum();
    let report = agent.report()?;
    let reasons = &report["loss"]["by_reason"];
    let told = number(reasons, "skipped_by_kernel") + number(reasons, "life_skipped");
    ensure!(told >= missed, "the kernel left out {missed} runs, and vigie says {told}");
    excuse(&report)?;
    Ok(report)
}
