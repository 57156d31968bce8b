//! One virtual machine: qemu started, both serial ports read, the end told.
//!
//! The kernel's console is the first port, the guest's results are the second: two, so that no
//! message of the kernel cuts through a result.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::{self, Trouble};

/// How processors are emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processors {
    /// Translated, two that take turns on one host thread. With a thread for each qemu 7.2 now and
    /// then runs a breakpoint that the kernel has already taken away again, which it sets for a moment
    /// where it switches a branch (`BPF_ENABLE_STATS` does), and the kernel dies of it.
    Software,
    /// The host's own.
    Kvm,
    /// One, translated, and its clock counts instructions: one is one nanosecond.
    Counted,
}

/// What to boot.
#[derive(Debug)]
pub(crate) struct Boot<'b> {
    pub(crate) kernel: &'b Path,
    pub(crate) initramfs: &'b Path,
    /// What the guest shall do, for its `vigie.do=`.
    pub(crate) work: &'b str,
    pub(crate) processors: Processors,
    /// Longest time without a line from the guest.
    pub(crate) silence: Duration,
    /// Longest time in all.
    pub(crate) limit: Duration,
    /// Where everything that both ports say goes.
    pub(crate) log: &'b Path,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All work done, power off.
    Done,
    /// It never reached its first test.
    NoBoot(String),
    /// The kernel broke.
    Crash(String),
    /// Nothing came any more, or it took too long.
    Hang(String),
    /// It went without saying that it was done.
    Gone,
}

/// What came of a boot.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// What the kernel complained of without ending.
    pub(crate) stalls: Vec<String>,
    pub(crate) time: Duration,
}

enum Line {
    Console(String),
    Result(String),
}

impl Boot<'_> {
    fn command(&self) -> Command {
        // So that qemu goes when this program is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        // No cmpxchg16b: its emulation double-faults at boot now and then.
        let more = match self.processors {
            Processors::Software => {
                command.args(["-accel", "tcg,thread=single", "-cpu", "max,cx16=off", "-smp", "2"]);
                ""
            }
            Processors::Kvm => {
                command.args(["-accel", "kvm", "-cpu", "host", "-smp", "2"]);
                ""
            }
            Processors::Counted => {
                command.args(["-accel", "tcg,thread=single", "-cpu", "max,cx16=off", "-smp", "1"]);
                command.args(["-icount", "shift=0,sleep=off"]);
                // String instructions count one per round, which no processor would take: without
                // them the kernel copies by the word.
                "mitigations=off clearcpuid=erms,rep_good,fsrm"
            }
        };
        // The timer's check gives up where the host is too busy to deliver ten interrupts in time.
        let append = format!(
            "console=ttyS0 loglevel=5 panic=-1 oops=panic watchdog_thresh=30 no_timer_check \
             rcupdate.rcu_cpu_stall_timeout=60 random.trust_cpu=on vigie.do={} {more}",
            self.work
        );
        command.args(["-m", "1024", "-display", "none", "-monitor", "none", "-nodefaults"]);
        command.args(["-no-reboot", "-serial", "file:/dev/stderr", "-serial", "stdio"]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        command.args(["-append", append.trim()]);
        command
    }

    /// Boots it, gives each line of the guest's results to `result`, and waits for the end.
    pub(crate) fn run(&self, mut result: impl FnMut(&str)) -> Result<Outcome> {
        let mut log = File::create(self.log)
            .with_context(|| format!("creating {}", PathBuf::from(self.log).display()))?;
        let start = Instant::now();
        let mut guest = Guest::start(&mut self.command())?;
        let mut stalls = Vec::new();
        let (mut done, mut begun) = (false, false);
        let mut crash = None;
        let mut heard = Instant::now();
        let end = loop {
            let left = (heard + self.silence).min(start + self.limit);
            match guest.lines.recv_timeout(left.saturating_duration_since(Instant::now())) {
                Ok(Line::Console(line)) => {
                    writeln!(log, "{line}").context("writing the log")?;
                    match console::read(&line) {
                        Some(Trouble::Crash(line)) => _ = crash.get_or_insert(line),
                        Some(Trouble::Stall(line)) => stalls.push(line),
                        None => {}
                    }
                }
                Ok(Line::Result(line)) => {
                    writeln!(log, "> {line}").context("writing the log")?;
                    heard = Instant::now();
                    begun = true;
                    done |= line == "done";
                    result(&line);
                }
                // Both ports are closed: it has powered off, or the panic ended it.
                Err(RecvTimeoutError::Disconnected) => {
                    break match (crash, done, begun) {
                        (Some(line), ..) => End::Crash(line),
                        (None, true, _) => End::Done,
                        (None, false, true) => End::Gone,
                        (None, false, false) => End::NoBoot("it ended".to_owned()),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("nothing heard for {} s", heard.elapsed().as_secs());
                    break match (crash, done, begun) {
                        (Some(line), ..) => End::Crash(line),
                        (None, true, _) => End::Done,
                        (None, false, true) => End::Hang(what),
                        (None, false, false) => End::NoBoot(what),
                    };
                }
            }
        };
        guest.stop();
        Ok(Outcome { end, stalls, time: start.elapsed() })
    }
}

/// A running qemu; ended when dropped.
struct Guest {
    child: Child,
    lines: mpsc::Receiver<Line>,
}

impl Guest {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start setpriv and qemu-system-x86_64")?;
        let (to, lines) = mpsc::channel();
        let results = child.stdout.take().context("qemu has no output")?;
        let console = child.stderr.take().context("qemu has no standard error")?;
        pump(results, to.clone(), Line::Result);
        pump(console, to, Line::Console);
        Ok(Self { child, lines })
    }

    fn stop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
    }
}

fn pump(from: impl Read + Send + 'static, to: mpsc::Sender<Line>, kind: fn(String) -> Line) {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            if to.send(kind(text.trim_end().to_owned())).is_err() {
                return;
            }
            line.clear();
        }
    });
}
