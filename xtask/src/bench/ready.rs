//! A program that runs beside a measurement: started, awaited until it says `ready`, and ended.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::process;
use crate::advice::Advice;

const START_LIMIT: Duration = Duration::from_secs(30);
/// The agent itself flushes for at most 10 s.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// After `ready`: what a start leaves to do must not fall into the measured time.
const SETTLE: Duration = Duration::from_millis(500);

/// Such a program; ends when dropped.
pub(super) struct Running {
    name: &'static str,
    child: Child,
    stopped: bool,
}

impl Running {
    /// Starts `command` and waits until a line of its messages begins with `ready`. The messages
    /// go to the file `log`; `name` is for the errors.
    pub(super) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let program = Path::new(command.get_program()).to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let messages = child.stderr.take();
        let running = Self { name, child, stopped: false };
        await_ready(name, messages.context("no standard error")?, log)?;
        thread::sleep(SETTLE);
        Ok(running)
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in an orderly way.
    pub(super) fn stop(mut self) -> Result<()> {
        self.stopped = true;
        process::stop(&mut self.child, STOP_LIMIT)
            .with_context(|| format!("stopping {}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.stopped
            && let Err(error) = process::stop(&mut self.child, STOP_LIMIT)
        {
            eprintln!("bench: {}: {error:#}", self.name);
        }
    }
}

/// Copies a program's messages to a file, and returns once one of them says `ready`.
fn await_ready(name: &str, messages: ChildStderr, log: &Path) -> Result<()> {
    let mut file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let (ready, heard) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(messages).lines().map_while(Result::ok) {
            // A log that cannot be written must not stop the program's own writes.
            writeln!(file, "{line}").ok();
            if says_ready(&line) {
                ready.send(()).ok();
            }
        }
    });
    let advice = |what: String| Advice::error(what, format!("see {}", log.display()));
    match heard.recv_timeout(START_LIMIT) {
        Ok(()) => Ok(()),
        Err(RecvTimeoutError::Timeout) => Err(advice(format!("{name} does not say `ready`"))),
        Err(RecvTimeoutError::Disconnected) => {
            let said = fs::read_to_string(log).unwrap_or_default();
            match said.lines().last() {
                Some(last) => bail!("{name} ended before it was ready: {last}"),
                None => Err(advice(format!("{name} ended before it was ready"))),
            }
        }
    }
}

fn says_ready(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches([':', ',']) == "ready"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Result<Running> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        Running::start("the script", command.args(["-c", script]), &folder.path().join("log"))
    }

    #[test]
    fn ready_is_the_first_word() {
        assert!(says_ready("ready: prometheus 127.0.0.1:9464"));
        assert!(says_ready("ready reference"));
        assert!(!says_ready("not ready"));
        assert!(!says_ready("already running"));
    }

    #[test]
    fn a_program_that_says_ready_runs_until_it_is_stopped() {
        let script = "trap 'exit 0' TERM; echo ready reference >&2; while :; do sleep 0.01; done";
        start(script).unwrap().stop().unwrap();
    }

    #[test]
    fn a_program_that_ends_early_is_quoted() {
        let error = start("echo unknown command: debug >&2; exit 2").err().unwrap();
        let text = format!("{error:#}");
        assert!(text.contains("the script ended") && text.contains("unknown command"), "{text}");
    }
}
