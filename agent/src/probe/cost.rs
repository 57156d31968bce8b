//! What the programs cost, by the kernel's own account (`BPF_ENABLE_STATS`, Linux 5.8).
//!
//! Accounting itself costs some 40 ns per run of every program of the machine, so it is switched on
//! for short windows only; what was measured in them stands for the rest of the time. Only what was
//! added within the windows counts: somebody else may have accounting on all the time.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::sys::{Stats, enable_stats};

/// Cost of one program, estimated for the whole time from the windows.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramCost {
    /// Name.
    pub name: String,
    /// Mean nanoseconds per run.
    pub ns_per_run: f64,
    /// Runs since the start.
    pub runs: f64,
    /// Seconds spent in it since the start.
    pub seconds: f64,
}

/// Whether the kernel gives account of programs to this process.
pub fn are_programs_accounted() -> bool {
    enable_stats(Stats::RunTime).is_ok()
}

/// Time and runs of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    time: Duration,
    runs: u64,
}

type Accounts = BTreeMap<String, Account>;

/// An open window, and the kernel's accounts when it was opened.
struct Window {
    handle: OwnedFd,
    opened: Instant,
    before: Accounts,
}

/// Opens and closes the windows.
pub struct Meter {
    started: Instant,
    window: Option<Window>,
    closed: Instant,
    measured: Duration,
    accounts: Accounts,
    /// Seconds per second that all programs took in the last window.
    load: f64,
    pause: Duration,
    hurries: bool,
    refused: bool,
}

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(100);

/// Longest time between two windows while the cost matters.
const HURRIED_PAUSE: Duration = Duration::from_millis(900);

impl Meter {
    /// Measures one window in every `pause`.
    pub fn new(pause: Duration) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            window: None,
            // The first window begins at once.
            closed: now.checked_sub(pause).unwrap_or(now),
            measured: Duration::ZERO,
            accounts: Accounts::new(),
            load: 0.0,
            pause,
            hurries: false,
            refused: false,
        }
    }

    /// To be called often: opens or closes a window when it is time.
    pub(super) fn tick(&mut self, ebpf: &Ebpf) {
        let pause = if self.hurries { self.pause.min(HURRIED_PAUSE) } else { self.pause };
        match self.window.take_if(|window| window.opened.elapsed() >= WINDOW) {
            Some(window) => self.close(window, &read(ebpf)),
            None if self.window.is_none() && !self.refused && self.closed.elapsed() >= pause => {
                self.open(ebpf);
            }
            None => {}
        }
    }

    /// Whether windows come about once per second, as the cost is near its limit.
    pub fn hurry(&mut self, hurries: bool) {
        self.hurries = hurries;
    }

    /// Seconds per second that all programs took lately, over all CPUs; 0 where the kernel does not
    /// tell.
    pub fn load(&self) -> f64 {
        self.load
    }

    fn open(&mut self, ebpf: &Ebpf) {
        match enable_stats(Stats::RunTime) {
            Ok(handle) => {
                let (opened, before) = (Instant::now(), read(ebpf));
                self.window = Some(Window { handle, opened, before });
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel does not account for programs");
                self.refused = true;
            }
        }
    }

    fn close(&mut self, window: Window, now: &Accounts) {
        drop(window.handle);
        let length = window.opened.elapsed();
        let time = add(&mut self.accounts, &window.before, now);
        self.load = time.as_secs_f64() / length.as_secs_f64().max(1e-9);
        self.measured += length;
        self.closed = Instant::now();
    }

    /// The cost so far. Programs that did not run in a window are left out.
    pub(super) fn read(&self, ebpf: &Ebpf) -> Vec<ProgramCost> {
        let (mut accounts, mut measured) = (self.accounts.clone(), self.measured);
        if let Some(window) = &self.window {
            add(&mut accounts, &window.before, &read(ebpf));
            measured += window.opened.elapsed();
        }
        let measured = measured.as_secs_f64();
        let share =
            if measured > 0.0 { self.started.elapsed().as_secs_f64() / measured } else { 0.0 };
        estimates(accounts, share)
    }
}

/// What the accounts say of the whole time, of which they cover one part in `share`.
fn estimates(accounts: Accounts, share: f64) -> Vec<ProgramCost> {
    let ran = accounts.into_iter().filter(|(_, account)| account.runs > 0);
    ran.map(|(name, Account { time, runs })| ProgramCost {
        name,
        ns_per_run: time.as_nanos() as f64 / runs as f64,
        runs: runs as f64 * share,
        seconds: time.as_secs_f64() * share,
    })
    .collect()
}

/// Adds what came to pass between two readings. Returns the time of all programs.
fn add(accounts: &mut Accounts, before: &Accounts, now: &Accounts) -> Duration {
    let mut all = Duration::ZERO;
    for (name, now) in now {
        let before = before.get(name).copied().unwrap_or_default();
        let account = accounts.entry(name.clone()).or_default();
        let time = now.time.saturating_sub(before.time);
        account.time += time;
        account.runs += now.runs.saturating_sub(before.runs);
        all += time;
    }
    all
}

/// The kernel's accounts. Programs that are not loaded have none.
fn read(ebpf: &Ebpf) -> Accounts {
    let programs = ebpf.programs().filter_map(|(name, program)| {
        let info = program.info().ok()?;
        let account = Account { time: info.run_time(), runs: info.run_count() };
        Some((name.to_owned(), account))
    });
    programs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(entries: &[(&str, u64, u64)]) -> Accounts {
        let entry = |(name, nanos, runs): &(&str, u64, u64)| {
            let time = Duration::from_nanos(*nanos);
            ((*name).to_owned(), Account { time, runs: *runs })
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn only_what_was_added_within_windows_counts() {
        let mut sum = Accounts::new();
        let (before, after) = (accounts(&[("a", 500, 5)]), accounts(&[("a", 700, 7), ("b", 9, 1)]));
        assert_eq!(add(&mut sum, &before, &after), Duration::from_nanos(209));
        // Between the windows somebody else had accounting on.
        let (before, after) = (accounts(&[("a", 9000, 90)]), accounts(&[("a", 9300, 92)]));
        assert_eq!(add(&mut sum, &before, &after), Duration::from_nanos(300));
        assert_eq!(sum, accounts(&[("a", 500, 4), ("b", 9, 1)]));
        let costs = estimates(sum, 10.0);
        assert_eq!(costs.len(), 2);
        let first = costs.first().unwrap();
        assert_eq!((first.ns_per_run, first.runs), (125.0, 40.0));
        assert!((first.seconds - 5e-6).abs() < 1e-12);
    }

    #[test]
    fn what_never_ran_has_no_figure() {
        assert_eq!(estimates(accounts(&[("a", 0, 0)]), 3.0), []);
    }
}
