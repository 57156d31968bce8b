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
#![expect(
    clippy::indexing_slicing,
    reason = "of JSON values, where a missing key gives null, and of buffers of a test, which may panic"
)]

mod agent;
mod backend;
mod bench;
mod bpf;
mod client;
mod init;
mod load;
mod message;
mod nginx;
mod process;
mod runner;
mod say;
mod server;
mod tests;
mod wire;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::tests::Verdict;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::run();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Skipped(reason)) => {
            println!("{reason}");
            ExitCode::from(runner::SKIPPED)
        }
        Err(error) => {
            eprintln!("{}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<Verdict> {
    match words {
        ["test", name, backend] => return tests::run(name, backend),
        ["serve"] => server::serve()?,
        ["serve-forked", workers] => server::serve_forked(workers.parse().context("workers")?)?,
        ["bench", requests, backends] => {
            bench::run(requests.parse().context("number of requests")?, backends)?;
        }
        _ => bail!("started by `cargo xtask vm`, which knows the arguments"),
    }
    Ok(Verdict::Passed)
}
