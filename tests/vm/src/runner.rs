//! Runs the tests, each in a process of its own, with a time limit, and nothing left behind.

use std::fs::{self, File};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::tests::{self, Runs, TESTS, Test};
use crate::{backend, bpf, process, say};

/// Exit code of a test that cannot run here; the last line of its log has the reason.
pub(crate) const SKIPPED: u8 = 77;
const LOG: &str = "/run/test.log";
/// Lines of a failed test's log that are shown.
const SHOWN: usize = 200;

/// Runs the tests with these names, joined by commas, or `all`, on these backends, or `all`;
/// the tests that are about no backend belong to the backend `-`.
pub(crate) fn run(names: &str, backends: &str) -> Result<()> {
    let kernel = tests::kernel()?;
    let is_chosen = |name: &str| backends == "all" || backends.split(',').any(|b| b == name);
    let offered = backend::offered(kernel);
    let exact = |backend: &&str| backend::is_exact(backend, kernel);
    // Of the parts that a kernel's backends are divided into one has it, unless tests are named.
    let may_be_last = |backend: &&str| exact(backend) && (names == "all" || is_chosen(backend));
    let last = offered.iter().copied().rfind(may_be_last);
    let is_wanted = |test: &&Test| names == "all" || names.split(',').any(|n| n == test.name);
    for test in TESTS.iter().filter(is_wanted) {
        // What was asked for by name runs on any kernel.
        if names == "all" && test.only_on.is_some_and(|only| only != kernel) {
            continue;
        }
        let is_thorough = kernel == tests::THOROUGH;
        let on: Vec<&str> = match test.runs {
            Runs::Once => vec!["-"],
            Runs::OnLastBackend => last.into_iter().collect(),
            Runs::OnEachInDepth if !is_thorough => last.into_iter().collect(),
            Runs::OnEachExact | Runs::OnEachInDepth => {
                offered.iter().copied().filter(exact).collect()
            }
            Runs::OnEachBackend => offered.clone(),
        };
        let mut on = on.into_iter().filter(|backend| is_chosen(backend));
        on.try_for_each(|backend| run_one(test, backend))?;
    }
    Ok(())
}

fn run_one(test: &Test, backend: &str) -> Result<()> {
    say::line(&format!("begin {} {backend}", test.name));
    let start = Instant::now();
    let log = File::create(LOG).context("creating a log")?;
    let errors = log.try_clone().context("a log")?;
    let mut child = Command::new("/init")
        .args(["test", test.name, backend])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .context("cannot start a test")?;
    let ended = process::wait_for("the test ends", test.limit, || {
        child.try_wait().context("waiting for a test")
    });
    clean_up()?;
    // No test may leave a program in the kernel.
    let left = bpf::all_gone();
    let seconds = start.elapsed().as_secs_f64();
    let verdict = match ended {
        Err(_) => Err(format!("not finished within {} s", test.limit.as_secs())),
        Ok(status) => judge(status),
    };
    let verdict = verdict.and_then(|ok| left.map(|()| ok).map_err(|error| format!("{error:#}")));
    let name = test.name;
    match verdict {
        Ok(None) => say::line(&format!("ok {name} {backend} {seconds:.1}")),
        Ok(Some(reason)) => say::line(&format!("skip {name} {backend} {reason}")),
        Err(reason) => {
            say::line(&format!("fail {name} {backend} {seconds:.1} {reason}"));
            show_log();
        }
    }
    Ok(())
}

/// `None` is passed, a text is why it was skipped, an error why it failed.
fn judge(status: ExitStatus) -> Result<Option<String>, String> {
    let last = || {
        let log = fs::read(LOG).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        log.lines().last().unwrap_or("nothing said").to_owned()
    };
    match status.code() {
        Some(0) => Ok(None),
        Some(code) if code == i32::from(SKIPPED) => Ok(Some(last())),
        Some(_) => Err(last()),
        None => Err(format!("{status}: {}", last())),
    }
}

fn show_log() {
    let log = fs::read(LOG).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    let lines: Vec<&str> = log.lines().collect();
    for line in lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default() {
        say::line(&format!("log {line}"));
    }
}

/// Ends every process but this one, and removes what the test wrote.
fn clean_up() -> Result<()> {
    // SAFETY: kill(2) touches no memory; -1 is every process but process 1, which this is.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    loop {
        // SAFETY: waitpid(2) with no place for a status touches no memory.
        let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        if child < 0 {
            break;
        }
    }
    for entry in fs::read_dir("/tmp").context("reading /tmp")?.flatten() {
        let path = entry.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}
