//! `cargo xtask`: the one door to everything done with a checkout of vigie.
//!
//! Every command sets up what it needs first ([`setup`]), so that a clean clone on a machine with
//! rustup and apt needs no other step. Set-up and build messages go to standard error; standard
//! output carries only what the command was asked for.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool for developers: its output is its purpose"
)]

mod advice;
mod agent;
mod bench;
mod ci;
mod command;
mod setup;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set up, build, run and check vigie"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Get everything that builds and tests need; quick when there is nothing to do
    Setup(setup::Args),
    /// Set up, then build the agent
    Build(agent::BuildArgs),
    /// Set up, build with optimizations, then run `vigie run`, or the vigie command given
    Run(agent::RunArgs),
    /// Set up, build, then run all tests
    Test(test::Args),
    /// Everything that a change must pass: format, lints on both targets, docs, tests, deny, typos
    Ci,
    /// Measure what vigie costs what it watches
    Bench(bench::Args),
    /// Tests on stock kernels, each in a virtual machine
    Vm(vm::Args),
    /// Release packages (not there yet)
    #[command(hide = true)]
    Package(Rest),
}

/// Arguments of a task that is not there yet.
#[derive(Debug, clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _args: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            advice::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match cli.task {
        Task::Setup(args) => setup::task(&workspace, &args)?,
        Task::Build(args) => agent::build_task(&workspace, &args)?,
        Task::Run(args) => agent::run_task(&workspace, &args)?,
        Task::Test(args) => test::task(&workspace, &args)?,
        Task::Ci => ci::task(&workspace)?,
        Task::Bench(args) => bench::task(&workspace, &args)?,
        Task::Vm(args) => vm::task(&workspace, &args)?,
        Task::Package(_) => return Ok(not_there_yet("package", "the first release")),
    }
    Ok(ExitCode::SUCCESS)
}

fn not_there_yet(task: &str, comes_with: &str) -> ExitCode {
    eprintln!("cargo xtask {task}: not there yet: comes with {comes_with}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
