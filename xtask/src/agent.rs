//! Building the agent, and running it in place of this program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Error, Result};

use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{command, toolchain};

/// Arguments of `cargo xtask build`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// Build with optimizations
    #[arg(long)]
    release: bool,
}

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The vigie command and its arguments, after `--`
    #[arg(last = true, default_value = "run")]
    args: Vec<OsString>,
}

/// Optimizations of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// `cargo xtask build`.
pub(crate) fn build_task(workspace: &Workspace, args: &BuildArgs) -> Result<()> {
    setup::ensure(workspace, Purpose::Run)?;
    build(workspace, if args.release { Profile::Release } else { Profile::Dev })
}

/// `cargo xtask run`: never returns when all goes well, so that signals and the exit code are the
/// agent's own.
pub(crate) fn run_task(workspace: &Workspace, args: &RunArgs) -> Result<()> {
    setup::ensure(workspace, Purpose::Run)?;
    build(workspace, Profile::Release)?;
    let agent = workspace.agent();
    let failure = Command::new(&agent).args(&args.args).exec();
    Err(Error::new(failure).context(format!("cannot start {}", agent.display())))
}

/// Builds the agent; cargo's messages go to standard error.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut cargo = toolchain::cargo();
    cargo.args(["build", "--package", "vigie"]).current_dir(workspace.root());
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)
}
