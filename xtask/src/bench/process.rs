//! What a process has used, from `/proc` (see `proc_pid_stat(5)` and `proc_pid_status(5)`), and
//! ending it in an orderly way.

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command;

/// Clock ticks per second in `/proc`: 100 on every architecture that vigie runs on (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of a process in user and kernel mode so far, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    parse_cpu(&stat).with_context(|| format!("{file} has another form than expected"))
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Now, in bytes.
    pub(super) resident: u64,
    /// The most so far, in bytes.
    pub(super) peak: u64,
}

impl Memory {
    /// Reads it.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let file = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        Self::parse(&status).with_context(|| format!("{file} has another form than expected"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self { resident: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }
}

/// Asks a process to end, and waits for it; one that does not is killed, which is an error.
pub(super) fn stop(child: &mut Child, limit: Duration) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("process id")?;
    if child.try_wait().context("looking after a process")?.is_some() {
        return Ok(());
    }
    kill_process(pid, Signal::TERM).context("asking a process to end")?;
    if command::wait_within(child, limit)?.is_none() {
        bail!("process {} did not end within {} s of SIGTERM", child.id(), limit.as_secs());
    }
    Ok(())
}

/// The name, field 2, may hold spaces and parentheses; what follows its last `)` does not.
fn parse_cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(f64::from(user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_of_a_process_with_an_odd_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 90 0 0 0 125 75 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parse_cpu("7 (a"), None);
    }

    #[test]
    fn memory_of_a_status() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(Memory::parse(status), Some(Memory { resident: 1 << 20, peak: 2 << 20 }));
        assert_eq!(Memory::parse("Name:\tkthread\n"), None);
    }

    #[test]
    fn own_figures_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(Memory::of(pid).unwrap().resident > 0);
    }
}
