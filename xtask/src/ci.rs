//! `cargo xtask ci`: everything that a change must pass, in the order of what fails fastest.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::advice;
use crate::setup::{self, Purpose};
use crate::test;
use crate::workspace::Workspace;
use crate::{command, toolchain};

/// One check: its name and how to run it.
type Check = (&'static str, fn(&Workspace) -> Result<Verdict>);

/// What became of a check.
enum Verdict {
    Passed,
    Skipped(&'static str),
}

const CHECKS: [Check; 8] = [
    ("fmt", format),
    ("fmt, kernel side", format_ebpf),
    ("clippy", clippy),
    ("clippy, kernel side", clippy_ebpf),
    ("docs", docs),
    ("deny", deny),
    ("typos", typos),
    ("tests", tests),
];

/// `cargo xtask ci`: runs every check, the later ones too when one fails.
pub(crate) fn task(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, Purpose::Run)?;
    let mut lines = Vec::new();
    let mut failed = 0;
    for (name, check) in CHECKS {
        eprintln!("ci: {name}");
        lines.push(match check(workspace) {
            Ok(Verdict::Passed) => format!("passed   {name}"),
            Ok(Verdict::Skipped(reason)) => format!("skipped  {name}: {reason}"),
            Err(error) => {
                failed += 1;
                advice::report(&error);
                format!("FAILED   {name}")
            }
        });
    }
    println!("\n{}", lines.join("\n"));
    if failed > 0 {
        bail!("{failed} of {} checks failed", CHECKS.len());
    }
    Ok(())
}

fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = toolchain::cargo();
    cargo.current_dir(workspace.root());
    cargo
}

/// Cargo in the folder of the kernel side, whose own configuration names target and flags; `None`
/// while that crate is not there.
fn cargo_ebpf(workspace: &Workspace) -> Option<Command> {
    let folder = workspace.root().join("ebpf");
    folder.join("Cargo.toml").is_file().then(|| {
        let mut cargo = toolchain::cargo();
        cargo.current_dir(folder).env("RUSTC_BOOTSTRAP", "1");
        cargo
    })
}

const NO_EBPF: Verdict = Verdict::Skipped("no ebpf/Cargo.toml");

fn passed(command: &mut Command) -> Result<Verdict> {
    command::run(command).map(|()| Verdict::Passed)
}

fn format(workspace: &Workspace) -> Result<Verdict> {
    passed(cargo(workspace).args(["fmt", "--all", "--check"]))
}

fn format_ebpf(workspace: &Workspace) -> Result<Verdict> {
    let Some(mut cargo) = cargo_ebpf(workspace) else { return Ok(NO_EBPF) };
    passed(cargo.args(["fmt", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<Verdict> {
    passed(cargo(workspace).args(["clippy", "--workspace", "--all-targets"]).args(DENY_WARNINGS))
}

fn clippy_ebpf(workspace: &Workspace) -> Result<Verdict> {
    let Some(mut cargo) = cargo_ebpf(workspace) else { return Ok(NO_EBPF) };
    let target = ["--target", "bpfel-unknown-none", "-Z", "build-std=core"];
    passed(cargo.arg("clippy").args(target).args(DENY_WARNINGS))
}

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

fn docs(workspace: &Workspace) -> Result<Verdict> {
    let mut cargo = cargo(workspace);
    passed(
        cargo
            .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn deny(workspace: &Workspace) -> Result<Verdict> {
    if command::which("cargo-deny").is_none() {
        return Ok(Verdict::Skipped("cargo-deny is not installed"));
    }
    passed(cargo(workspace).args(["deny", "check"]))
}

fn typos(workspace: &Workspace) -> Result<Verdict> {
    if command::which("typos").is_none() {
        return Ok(Verdict::Skipped("typos is not installed"));
    }
    passed(Command::new("typos").current_dir(workspace.root()))
}

fn tests(workspace: &Workspace) -> Result<Verdict> {
    test::task(workspace, &test::Args::default()).context("tests")?;
    Ok(Verdict::Passed)
}
