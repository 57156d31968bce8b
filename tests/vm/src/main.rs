//! What runs inside the virtual machines of `cargo xtask vm`, as one static program.
//!
//! As process 1 it is init: it mounts what is needed, runs what the kernel's command line asks for,
//! says the results on the second serial port ([`say`]), and powers off. Each test is a process of
//! its own, this program again with the arguments `test NAME BACKEND`, so that a test that hangs or
//! dies takes nothing with it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test prints is its log, which is shown when it fails"
)]

mod agent;
mod bench;
mod bpf;
mod init;
mod load;
mod nginx;
mod process;
mod say;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::run();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["bench", requests, backends] => {
            bench::run(requests.parse().context("number of requests")?, backends)
        }
        _ => bail!("started by `cargo xtask vm`, which knows the arguments"),
    }
}
