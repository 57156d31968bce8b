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

/// Cost of one program. Runs and seconds are estimated for the whole time from the windows, and only
/// grow.
#[derive(Clone, Debug, Default, PartialEq)]
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

/// What the windows say of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Estimate {
    /// Within the windows.
    measured: Account,
    /// In all.
    seconds: f64,
    runs: f64,
}

/// What the windows say of all programs.
#[derive(Debug, Default)]
struct Estimates {
    programs: BTreeMap<String, Estimate>,
    /// What came to pass in the last window, and its length in seconds.
    last: (Accounts, f64),
}

impl Estimates {
    /// A window of `length` ended that stands for `stretch`.
    fn window(&mut self, happened: Accounts, length: Duration, stretch: Duration) {
        for (name, account) in &happened {
            let estimate = self.programs.entry(name.clone()).or_default();
            estimate.measured.time += account.time;
            estimate.measured.runs += account.runs;
        }
        self.last = (happened, length.as_secs_f64().max(1e-9));
        self.extend(stretch);
    }

    /// The last window stands for `stretch`, too.
    fn extend(&mut self, stretch: Duration) {
        let (happened, length) = &self.last;
        let factor = stretch.as_secs_f64() / length.max(1e-9);
        for (name, account) in happened {
            let estimate = self.programs.entry(name.clone()).or_default();
            estimate.seconds += account.time.as_secs_f64() * factor;
            estimate.runs += account.runs as f64 * factor;
        }
    }

    /// Seconds per second that all programs took in the last window.
    fn load(&self) -> f64 {
        let (happened, length) = &self.last;
        let time: Duration = happened.values().map(|account| account.time).sum();
        time.as_secs_f64() / length.max(1e-9)
    }

    /// Programs that did not run in a window are left out.
    fn costs(&self) -> Vec<ProgramCost> {
        let ran = self.programs.iter().filter(|(_, estimate)| estimate.measured.runs > 0);
        ran.map(|(name, Estimate { measured, seconds, runs })| ProgramCost {
            name: name.clone(),
            ns_per_run: measured.time.as_nanos() as f64 / measured.runs as f64,
            runs: *runs,
            seconds: *seconds,
        })
        .collect()
    }
}

/// An open window, and the kernel's accounts when it was opened.
struct Window {
    handle: OwnedFd,
    opened: Instant,
    before: Accounts,
}

/// Opens and closes the windows.
pub struct Meter {
    window: Option<Window>,
    /// Until when the estimates reach.
    covered: Instant,
    /// Whether there was a window yet.
    began: bool,
    estimates: Estimates,
    pause: Duration,
    hurries: bool,
    refused: bool,
}

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(100);

/// Longest time between two windows while the cost matters.
const HURRIED_PAUSE: Duration = Duration::from_millis(900);

impl Meter {
    /// Measures one window in every `pause`, the first at once.
    pub fn new(pause: Duration) -> Self {
        Self {
            window: None,
            covered: Instant::now(),
            began: false,
            estimates: Estimates::default(),
            pause,
            hurries: false,
            refused: false,
        }
    }

    /// To be called often: opens or closes a window when it is time.
    pub(super) fn tick(&mut self, ebpf: &Ebpf) {
        let pause = if self.hurries { self.pause.min(HURRIED_PAUSE) } else { self.pause };
        let is_due = !self.began || self.covered.elapsed() >= pause;
        match self.window.take_if(|window| window.opened.elapsed() >= WINDOW) {
            Some(window) => self.close(window, &read(ebpf)),
            None if self.window.is_none() && !self.refused && is_due => self.open(ebpf),
            None => {}
        }
    }

    /// The programs are about to be detached: what is known stands for the time up to now.
    pub(super) fn finish(&mut self, ebpf: &Ebpf) {
        // A few milliseconds say less than the window before, if there was one.
        let is_enough = |opened: Instant| opened.elapsed() >= WINDOW / 4;
        let is_first = self.estimates.programs.is_empty();
        match self.window.take().filter(|window| is_first || is_enough(window.opened)) {
            Some(window) => self.close(window, &read(ebpf)),
            None => self.estimates.extend(self.covered.elapsed()),
        }
        self.covered = Instant::now();
    }

    /// Whether windows come about once per second, as the cost is near its limit.
    pub fn hurry(&mut self, hurries: bool) {
        self.hurries = hurries;
    }

    /// Seconds per second that all programs took lately, over all CPUs; 0 where the kernel does not
    /// tell.
    pub fn load(&self) -> f64 {
        self.estimates.load()
    }

    /// The cost up to the last window.
    pub fn costs(&self) -> Vec<ProgramCost> {
        self.estimates.costs()
    }

    fn open(&mut self, ebpf: &Ebpf) {
        match enable_stats(Stats::RunTime) {
            Ok(handle) => {
                let (opened, before) = (Instant::now(), read(ebpf));
                self.window = Some(Window { handle, opened, before });
                self.began = true;
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel does not account for programs");
                self.refused = true;
            }
        }
    }

    fn close(&mut self, window: Window, now: &Accounts) {
        drop(window.handle);
        let happened = difference(&window.before, now);
        self.estimates.window(happened, window.opened.elapsed(), self.covered.elapsed());
        self.covered = Instant::now();
    }
}

/// What came to pass between two readings.
fn difference(before: &Accounts, now: &Accounts) -> Accounts {
    let entry = |(name, now): (&String, &Account)| {
        let before = before.get(name).copied().unwrap_or_default();
        let time = now.time.saturating_sub(before.time);
        (name.clone(), Account { time, runs: now.runs.saturating_sub(before.runs) })
    };
    now.iter().map(entry).collect()
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
        let second = Duration::from_secs(1);
        let mut estimates = Estimates::default();
        let before = accounts(&[("a", 500, 5)]);
        let first = difference(&before, &accounts(&[("a", 700, 7), ("b", 9, 1), ("c", 0, 0)]));
        assert_eq!(first, accounts(&[("a", 200, 2), ("b", 9, 1), ("c", 0, 0)]));
        estimates.window(first, WINDOW, second);
        assert!((estimates.load() - 209e-9 / 0.1).abs() < 1e-12);
        // Between the windows somebody else had accounting on, and vigie had less to do after.
        let before = accounts(&[("a", 9000, 90), ("b", 99, 9)]);
        let second_window = difference(&before, &accounts(&[("a", 9300, 92), ("b", 99, 9)]));
        estimates.window(second_window, WINDOW, 4 * second);
        let costs = estimates.costs();
        assert_eq!(costs.len(), 2, "{costs:?}");
        let a = costs.first().unwrap();
        assert!((a.ns_per_run - 125.0).abs() < 1e-9);
        assert!((a.runs - (20.0 + 80.0)).abs() < 1e-9, "{a:?}");
        assert!((a.seconds - (2e-6 + 12e-6)).abs() < 1e-12, "{a:?}");
        estimates.extend(second);
        let a = estimates.costs().swap_remove(0);
        assert!((a.runs - 120.0).abs() < 1e-9, "{a:?}");
    }
}
