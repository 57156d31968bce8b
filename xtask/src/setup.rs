//! Set-up: everything that builds and tests need, got once and kept below `target/setup`.
//!
//! Each step looks first whether its result is there and works, so that a set-up with nothing to
//! do takes a fraction of a second and every other task can begin with it. What a build needs is
//! an error when it cannot be had; what only tests need is reported and left out, and the tests
//! that miss it say so.

mod apt_sources;
mod bpf_linker;
pub(crate) mod kernels;
mod npm;
mod packages;
mod private_apt;
mod promtool;
mod rust_src;
mod venv;

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::advice;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to set up for; `test` is everything
    #[arg(long = "for", value_enum, default_value = "test")]
    purpose: Purpose,
}

/// What a set-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Building and running the agent
    Run,
    /// That, and everything that tests and benchmarks start
    Test,
}

/// What the steps share.
struct Context {
    folder: PathBuf,
    toolchain: Toolchain,
}

impl Context {
    fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }
}

type Step = (&'static str, fn(&Context) -> Result<()>);

/// Steps that a build cannot do without.
const FOR_BUILDS: [Step; 2] = [("rust-src", rust_src::ensure), ("bpf-linker", bpf_linker::ensure)];
/// Steps that only tests and benchmarks need.
const FOR_TESTS: [Step; 5] = [
    ("packages", packages::ensure),
    ("rotel", venv::ensure),
    ("npm", npm::ensure),
    ("kernels", kernels::ensure),
    ("promtool", promtool::ensure),
];

/// `cargo xtask setup`.
pub(crate) fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    let start = Instant::now();
    let missing = ensure(workspace, args.purpose)?;
    if missing > 0 {
        bail!("set-up is incomplete: {missing} step(s) above could not be done");
    }
    eprintln!("setup: ready ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Sets up for a purpose. Gives the number of steps that only tests need and that failed; these
/// have been reported on standard error.
pub(crate) fn ensure(workspace: &Workspace, purpose: Purpose) -> Result<usize> {
    let folder = workspace.setup();
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // Two xtasks in one checkout: the second waits, then finds everything done.
    let lock = File::create(folder.join("lock")).context("creating the lock file of set-up")?;
    lock.lock().context("waiting for another set-up of this checkout")?;

    let context = Context { folder, toolchain: Toolchain::find()? };
    for (name, step) in FOR_BUILDS {
        step(&context).with_context(|| format!("setup: {name}"))?;
    }
    let mut missing = 0;
    if purpose == Purpose::Test {
        for (name, step) in FOR_TESTS {
            if let Err(error) = step(&context) {
                advice::report(&error.context(format!("setup: {name}")));
                missing += 1;
            }
        }
    }
    Ok(missing)
}

/// Progress of a step that takes a while.
fn say(step: &str, message: &str) {
    eprintln!("setup: {step}: {message}");
}
