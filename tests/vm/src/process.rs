//! Processes from outside: their processor time, children, memory.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Processor time of all threads of a process, in nanoseconds. With instruction counting these are
/// instructions, those of the kernel on its behalf included.
pub(crate) fn run_time(pid: u32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))?.flatten() {
        // A thread may end in between.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let first = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        sum += first.context("/proc/PID/task/TID/schedstat has another form than expected")?;
    }
    Ok(sum)
}

/// Children of a process.
pub(crate) fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything; the parent is the second field after it.
        let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| {
            rest.split(' ').nth(1).and_then(|field| field.parse::<u32>().ok())
        });
        if parent_of == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// What the eBPF maps that a process holds take in kernel memory, in bytes.
pub(crate) fn map_bytes(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for text in descriptors(pid)? {
        if field(&text, "map_type").is_some() {
            sum += field(&text, "memlock").unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

/// Waits until `state` gives something, which is looked at every 2 ms.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut state: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = state()? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the processors have next to nothing to do.
pub(crate) fn wait_until_idle(limit: Duration) -> Result<()> {
    const WINDOW: Duration = Duration::from_millis(200);
    let mut before = idle()?;
    wait_for("nothing runs but the benchmark", limit, || {
        thread::sleep(WINDOW);
        let now = idle()?;
        let (idle, all) = (now.0 - before.0, now.1 - before.1);
        before = now;
        Ok((idle * 10 >= all * 9).then_some(()))
    })
}

/// Ticks that the processors were idle, and all ticks, since boot.
fn idle() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    let idle = ticks.get(3).context("/proc/stat has another form than expected")?;
    Ok((*idle, ticks.iter().sum()))
}

fn descriptors(pid: u32) -> Result<Vec<String>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(Path::new(&folder)).with_context(|| format!("reading {folder}"))?;
    Ok(entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect())
}

/// A number in `/proc/PID/fdinfo/FD`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}
