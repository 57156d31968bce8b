//! `cargo xtask test`: everything set up and built, then all tests, those in virtual machines last.
//!
//! Unit and replay tests run in parallel, end-to-end tests one at a time: they load programs into
//! the one kernel there is and count what it sees. Cargo's own output passes through; the last
//! line sums it all up. A test that cannot run here appends `NAME: REASON` to the file that
//! `VIGIE_SKIPPED` names and returns, and is counted as skipped, not as passed.
//!
//! Each cargo is told `--workspace` and which kinds of target to take, never `--package` or
//! `--exclude`: cargo joins the features that the chosen packages want of their dependencies, so
//! another choice of packages would compile the dependencies once more.

mod phases;
mod summary;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use self::phases::Phases;
use self::summary::Summary;
use crate::agent::{self, Profile};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{command, toolchain, vm};

/// Unit and replay tests: they are inside the crates.
const UNIT: [&str; 2] = ["--lib", "--bins"];
/// Integration tests: only `tests` has any, and these are the end-to-end tests.
const END_TO_END: [&str; 2] = ["--test", "*"];

/// Arguments of `cargo xtask test`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Only the end-to-end tests
    #[arg(long)]
    end_to_end: bool,
    /// Leave out the tests in virtual machines, which take about ten minutes
    #[arg(long)]
    without_vm: bool,
}

/// `cargo xtask test`.
pub(crate) fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut phases = Phases::default();
    let missing = phases.time("set-up", || setup::ensure(workspace, Purpose::Test))?;
    phases.time("agent", || agent::build(workspace, Profile::Release))?;

    let skips = workspace.target().join("skipped-tests.txt");
    fs::write(&skips, "").with_context(|| format!("writing {}", skips.display()))?;
    let suite = |targets: &[&str]| {
        let mut cargo = toolchain::cargo();
        cargo
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(targets)
            .current_dir(workspace.root())
            .env("VIGIE_SKIPPED", &skips)
            .env("VIGIE_BIN", workspace.agent())
            .env("VIGIE_SETUP", workspace.setup());
        cargo
    };
    let mut summary = Summary::default();
    if args.end_to_end {
        let mut build = suite(&END_TO_END);
        phases.time("compiling tests", || command::run(build.arg("--no-run")))?;
    } else {
        let mut build = suite(&[]);
        phases.time("compiling tests", || command::run(build.arg("--no-run")))?;
        let mut unit = suite(&UNIT);
        unit.arg("--").args(&args.filter);
        phases.time("unit tests", || stream(&mut unit, &mut summary))?;
        let mut examples = suite(&["--doc"]);
        examples.arg("--").args(&args.filter);
        phases.time("examples in the documentation", || stream(&mut examples, &mut summary))?;
    }
    let mut end_to_end = suite(&END_TO_END);
    end_to_end.args(["--", "--test-threads=1"]).args(&args.filter);
    phases.time("end-to-end tests", || stream(&mut end_to_end, &mut summary))?;

    // A name or a kind asks for less than everything.
    let with_vm = !args.without_vm && !args.end_to_end && args.filter.is_none();
    let machines = with_vm
        .then(|| phases.time("virtual machines", || vm::run(workspace, &vm::Args::default())))
        .transpose()?;

    let skipped = fs::read_to_string(&skips).with_context(|| format!("{}", skips.display()))?;
    summary.add_skipped(&skipped);
    if missing > 0 {
        println!("set-up is incomplete, see the first lines: {missing} step(s) could not be done");
    }
    if let Some(results) = machines {
        summary.add_machines(results.passed(), results.failed(), results.skipped());
        print!("\n{results}");
    }
    print!("\ntime: {phases}\n{summary}");
    if summary.failed() > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Runs one cargo, passes its output through, and counts.
fn stream(cargo: &mut Command, summary: &mut Summary) -> Result<()> {
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let mut output = BufReader::new(child.stdout.take().context("cargo test has no output")?);
    let before = summary.failed();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).context("reading from cargo test")? > 0 {
        io::stdout().write_all(&line).context("writing to standard output")?;
        summary.add_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait().context("waiting for cargo test")?;
    if !status.success() && summary.failed() == before {
        // It did not compile, or a test binary died before it could say how many failed.
        summary.add_crash();
    }
    Ok(())
}
