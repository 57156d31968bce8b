//! Child processes that cannot outlive their test, and whose output is there to wait for.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long anything may take that should take moments.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A name of a service that no other program of tests has at the same time.
pub fn service(name: &str) -> String {
    format!("{name}-of-{}", std::process::id())
}

/// Lines that a child has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Waits until `found` finds something in the lines from number `from` on.
    pub fn wait<T>(
        &self,
        from: usize,
        limit: Duration,
        mut found: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        let mut lines = self.lock();
        loop {
            if let Some(value) = found(lines.get(from..).unwrap_or_default()) {
                return Some(value);
            }
            let left = end.checked_duration_since(Instant::now())?;
            lines = self.0.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn collect(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let own = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                own.lock().push(text);
                own.0.more.notify_all();
                line.clear();
            }
        })
    }
}

/// A child in a process group of its own. Dropping it kills the whole group.
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    input: Option<ChildStdin>,
    readers: Vec<JoinHandle<()>>,
    /// Standard output.
    pub output: Lines,
    /// Standard error.
    pub errors: Lines,
}

/// How a child ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Standard output.
    pub output: Vec<String>,
    /// Standard error.
    pub errors: Vec<String>,
}

impl Process {
    /// Starts it with all three streams piped.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let group = Pid::from_child(&child);
        let (output, errors) = (Lines::default(), Lines::default());
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stream| output.collect(stream)));
        readers.extend(child.stderr.take().map(|stream| errors.collect(stream)));
        let input = child.stdin.take();
        Ok(Self { name, child, group, input, readers, output, errors })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to standard input.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("standard input is closed")?;
        writeln!(input, "{line}")?;
        input.flush()?;
        Ok(())
    }

    /// Waits for something in the lines of standard output.
    pub fn wait_output<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(value) = self.output.wait(0, Duration::from_millis(200), &mut found) {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                // What it wrote last may still be on its way to the reader.
                let _gone_is_good = kill_process_group(self.group, Signal::KILL);
                self.join();
                return found(&self.output.all())
                    .ok_or_else(|| anyhow!("{} ended ({status}): {}", self.name, self.said()));
            }
            if Instant::now() > end {
                bail!("{}: no {what} in {LIMIT:?}: {}", self.name, self.said());
            }
        }
    }

    /// Sends SIGHUP to the process, not to its group.
    pub fn hang_up(&self) -> Result<()> {
        kill_process(self.group, Signal::HUP).with_context(|| format!("SIGHUP to {}", self.name))
    }

    /// Sends SIGUSR1 to the process, not to its group.
    pub fn user_signal(&self) -> Result<()> {
        kill_process(self.group, Signal::USR1).with_context(|| format!("SIGUSR1 to {}", self.name))
    }

    /// Sends SIGTERM to the process, not to its group, and waits.
    pub fn terminate(self, limit: Duration) -> Result<Ended> {
        kill_process(self.group, Signal::TERM)
            .with_context(|| format!("SIGTERM to {}", self.name))?;
        self.wait(limit)
    }

    /// Waits for its end.
    pub fn wait(mut self, limit: Duration) -> Result<Ended> {
        drop(self.input.take());
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                bail!("{} has not ended in {limit:?}: {}", self.name, self.said());
            }
            thread::sleep(Duration::from_millis(2));
        };
        // What is left of its group holds the pipes open.
        let _gone_is_good = kill_process_group(self.group, Signal::KILL);
        self.join();
        Ok(Ended { status, output: self.output.all(), errors: self.errors.all() })
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// The last lines of both streams, for messages.
    pub fn said(&self) -> String {
        let tell = |name: &str, lines: &Lines| {
            let all = lines.all();
            let last = all.get(all.len().saturating_sub(20)..).unwrap_or_default();
            format!("\n--- {name} ---\n{}", last.join("\n"))
        };
        tell("output", &self.output) + &tell("errors", &self.errors)
    }

    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader only fails by panicking, which its lines then show.
            drop(reader.join());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group is gone when the child and all of its children have been waited for.
        let _gone_is_good = kill_process_group(self.group, Signal::KILL);
        let _status = self.child.wait();
    }
}

/// Runs a command to its end and wants it to succeed.
pub fn run(command: &mut Command) -> Result<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    let process = Process::start(command)?;
    let ended = process.wait(2 * LIMIT)?;
    if !ended.status.success() {
        bail!(
            "{name} failed ({}):\n{}\n{}",
            ended.status,
            ended.output.join("\n"),
            ended.errors.join("\n")
        );
    }
    Ok(ended)
}

/// Waits until `done` says so.
pub fn until(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    while !done()? {
        if Instant::now() > end {
            bail!("{what}: not in {limit:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
