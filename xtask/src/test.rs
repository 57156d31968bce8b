//! `cargo xtask test`: everything set up and built, then all tests.
//!
//! Unit and replay tests run in parallel, end-to-end tests one at a time: they load programs into
//! the one kernel there is and count what it sees. Cargo's own output passes through; the last
//! line sums it all up. A test that cannot run here appends `NAME: REASON` to the file that
//! `VIGIE_SKIPPED` names and returns, and is counted as skipped, not as passed.

mod summary;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use self::summary::Summary;
use crate::agent::{self, Profile};
use crate::setup::{self, Purpose};
use crate::toolchain;
use crate::workspace::Workspace;

/// The package of the end-to-end tests.
const END_TO_END: &str = "vigie-tests";

/// Arguments of `cargo xtask test`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Only the end-to-end tests
    #[arg(long)]
    end_to_end: bool,
}

/// `cargo xtask test`.
pub(crate) fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    let missing = setup::ensure(workspace, Purpose::Test)?;
    agent::build(workspace, Profile::Release)?;

    let skips = workspace.target().join("skipped-tests.txt");
    fs::write(&skips, "").with_context(|| format!("writing {}", skips.display()))?;
    let suite = || {
        let mut cargo = toolchain::cargo();
        cargo
            .args(["test", "--no-fail-fast"])
            .current_dir(workspace.root())
            .env("VIGIE_SKIPPED", &skips)
            .env("VIGIE_BIN", workspace.agent())
            .env("VIGIE_SETUP", workspace.setup());
        cargo
    };
    let mut summary = Summary::default();
    if !args.end_to_end {
        let mut cargo = suite();
        cargo.args(["--workspace", "--exclude", END_TO_END, "--"]).args(&args.filter);
        stream(&mut cargo, &mut summary)?;
    }
    let mut cargo = suite();
    cargo.args(["--package", END_TO_END, "--", "--test-threads=1"]).args(&args.filter);
    stream(&mut cargo, &mut summary)?;

    let skipped = fs::read_to_string(&skips).with_context(|| format!("{}", skips.display()))?;
    summary.add_skipped(&skipped);
    if missing > 0 {
        println!("set-up is incomplete, see the first lines: {missing} step(s) could not be done");
    }
    print!("\n{summary}");
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
