//! The machine that vigie runs on, and its clocks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::event::MonoNs;

/// The machine, as resource attributes and reports name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `host.name`; empty where the kernel does not tell.
    pub name: String,
    /// `host.id`: the machine id of systemd or D-Bus, 32 hex digits.
    pub id: Option<String>,
    /// Release of the running kernel, as `uname -r` prints it.
    pub kernel: String,
    /// Architecture by Rust's name: `x86_64`, `aarch64`.
    pub arch: &'static str,
}

impl Host {
    /// Reads what the machine says of itself.
    pub fn read() -> Self {
        let line =
            |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
        let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
        Self {
            name: line("/proc/sys/kernel/hostname").unwrap_or_default(),
            id: id.into_iter().filter_map(line).find(is_id),
            kernel: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            arch: std::env::consts::ARCH,
        }
    }
}

/// What has to be added to `CLOCK_MONOTONIC`, the clock of the kernel's records, to get others.
///
/// The offset to Unix time changes when the time of day is set or slewed, that to boot time when
/// the machine sleeps: read it again from time to time ([`Clock::read`] takes about 1 µs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    unix_offset_ns: i128,
    boot_offset_ns: i128,
}

/// Readings per clock; the one in the narrowest window is kept, so that being scheduled away in
/// the middle of one does no harm.
const READINGS: usize = 5;

impl Clock {
    /// Reads the clocks.
    pub fn read() -> Self {
        Self {
            unix_offset_ns: offset(ClockId::Realtime),
            boot_offset_ns: offset(ClockId::Boottime),
        }
    }

    /// A clock with fixed offsets in nanoseconds, for replays.
    pub const fn fixed(unix_offset_ns: i128, boot_offset_ns: i128) -> Self {
        Self { unix_offset_ns, boot_offset_ns }
    }

    /// Nanoseconds of Unix time for a time of `CLOCK_MONOTONIC`.
    pub fn unix_nano(&self, mono_ns: MonoNs) -> u64 {
        add(mono_ns, self.unix_offset_ns)
    }

    /// The time of `CLOCK_MONOTONIC` of nanoseconds of Unix time.
    pub fn monotonic(&self, unix_nano: u64) -> MonoNs {
        add(unix_nano, -self.unix_offset_ns)
    }

    /// Nanoseconds since boot (`CLOCK_BOOTTIME`) for a time of `CLOCK_MONOTONIC`.
    pub fn boot_nano(&self, mono_ns: MonoNs) -> u64 {
        add(mono_ns, self.boot_offset_ns)
    }

    /// Nanoseconds of Unix time for a time since boot, as processes' starts are given.
    pub fn unix_nano_of_boot(&self, boot_ns: u64) -> u64 {
        add(boot_ns, self.unix_offset_ns - self.boot_offset_ns)
    }

    /// Now, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn monotonic_now() -> MonoNs {
        u64::try_from(now(ClockId::Monotonic)).unwrap_or(0)
    }

    /// How far another reading is from this one: how much the time of day was set or slewed.
    pub fn drift(&self, later: &Self) -> Duration {
        let drift = (later.unix_offset_ns - self.unix_offset_ns).unsigned_abs();
        Duration::from_nanos(u64::try_from(drift).unwrap_or(u64::MAX))
    }
}

fn add(time_ns: u64, offset_ns: i128) -> u64 {
    u64::try_from(i128::from(time_ns) + offset_ns).unwrap_or(0)
}

fn now(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// `clock` minus `CLOCK_MONOTONIC`, in nanoseconds.
fn offset(clock: ClockId) -> i128 {
    let reading = || {
        let before = now(ClockId::Monotonic);
        let other = now(clock);
        let after = now(ClockId::Monotonic);
        (after - before, other - i128::midpoint(before, after))
    };
    let best = (0..READINGS).map(|_| reading()).min_by_key(|(window, _)| *window);
    best.map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn host_is_known() {
        let host = Host::read();
        assert!(!host.name.is_empty() && host.kernel.contains('.'), "{host:?}");
    }

    #[test]
    fn clocks_agree_with_the_standard_library() {
        let unix = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
            .unwrap();
        let ours = Clock::read().unix_nano(Clock::monotonic_now());
        assert!(ours.abs_diff(unix) < 100_000_000, "{ours} {unix}");
        assert!(Clock::read().drift(&Clock::read()) < Duration::from_millis(1));
    }

    #[test]
    fn fixed_offsets() {
        let clock = Clock::fixed(1000, 10);
        assert_eq!(clock.unix_nano(5), 1005);
        assert_eq!(clock.boot_nano(5), 15);
        assert_eq!(clock.unix_nano_of_boot(15), 1005);
        assert_eq!(Clock::fixed(-10, 0).unix_nano(5), 0);
    }
}
