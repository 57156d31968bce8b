//! What vigie itself costs: CPU time and memory, as the kernel accounts them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// CPU time of this process so far, user and system.
pub fn cpu_time() -> Duration {
    cpu_of("self").unwrap_or_default()
}

/// The same to the nanosecond, by this process's CPU clock.
pub fn cpu_clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// Number of CPUs of the machine that are online, whichever of them this process may use.
pub fn cpus() -> usize {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    match count_list(&online) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// Members of a list as the kernel writes it: `0-3,6`.
fn count_list(list: &str) -> usize {
    let parts = list.trim().split(',').filter_map(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high): (usize, usize) = (low.parse().ok()?, high.parse().ok()?);
        Some((high + 1).saturating_sub(low))
    });
    parts.sum()
}

/// CPU time of every process so far, by process id.
pub fn cpu_of_processes() -> HashMap<u32, Duration> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let name = name.to_str()?;
            Some((name.parse().ok()?, cpu_of(name)?))
        })
        .collect()
}

fn cpu_of(process: &str) -> Option<Duration> {
    // Fields 14 and 15 of stat, in clock ticks; the name before them may hold spaces.
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks: u64 = text.rsplit_once(')').map_or(0, |(_, rest)| {
        rest.split_ascii_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum()
    });
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks.saturating_mul(1000) / per_second))
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        text.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_counted() {
        for (list, expected) in [("0-1\n", 2), ("0", 1), ("0-3,6,8-9", 7), ("", 0), ("x", 0)] {
            assert_eq!(count_list(list), expected, "{list}");
        }
        assert!(cpus() > 0);
    }

    #[test]
    fn this_process_costs_something() {
        assert!(resident_bytes() > 100_000);
        let begin = std::time::Instant::now();
        while cpu_time().is_zero() && begin.elapsed() < Duration::from_secs(10) {
            std::hint::black_box((0..100_000).sum::<u64>());
        }
        assert!(!cpu_time().is_zero());
    }
}
