//! What the programs cost, by the kernel's own account (`BPF_ENABLE_STATS`, Linux 5.8).
//!
//! Accounting itself costs some 40 ns per run, so it is switched on for short windows only; what
//! was measured in them stands for the rest of the time.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::sys::{Stats, enable_stats};

/// Cost of one program, estimated for the whole time from the windows.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramCost {
    /// Name.
    pub name: &'static str,
    /// Mean nanoseconds per run.
    pub ns_per_run: f64,
    /// Seconds spent in it since the start.
    pub seconds: f64,
}

/// Opens and closes the windows.
pub struct Meter {
    started: Instant,
    window: Option<(OwnedFd, Instant)>,
    closed: Instant,
    measured: Duration,
    pause: Duration,
    refused: bool,
}

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(100);

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
            pause,
            refused: false,
        }
    }

    /// To be called often: opens or closes a window when it is time.
    pub fn tick(&mut self) {
        match &self.window {
            Some((_, opened)) if opened.elapsed() >= WINDOW => self.close(),
            None if !self.refused && self.closed.elapsed() >= self.pause => {
                match enable_stats(Stats::RunTime) {
                    Ok(handle) => self.window = Some((handle, Instant::now())),
                    Err(error) => {
                        tracing::debug!(%error, "the kernel does not account for programs");
                        self.refused = true;
                    }
                }
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        if let Some((handle, opened)) = self.window.take() {
            drop(handle);
            self.measured += opened.elapsed();
            self.closed = Instant::now();
        }
    }

    /// The cost so far. Programs that did not run in a window are left out.
    pub(super) fn read(
        &self,
        ebpf: &Ebpf,
        programs: impl Iterator<Item = &'static str>,
    ) -> Vec<ProgramCost> {
        let open = self.window.as_ref().map_or(Duration::ZERO, |(_, opened)| opened.elapsed());
        let measured = (self.measured + open).as_secs_f64();
        let share =
            if measured > 0.0 { self.started.elapsed().as_secs_f64() / measured } else { 0.0 };
        programs
            .filter_map(|name| {
                let info = ebpf.program(name)?.info().ok()?;
                let (time, runs) = (info.run_time(), info.run_count());
                (runs > 0).then(|| ProgramCost {
                    name,
                    ns_per_run: time.as_nanos() as f64 / runs as f64,
                    seconds: time.as_secs_f64() * share,
                })
            })
            .collect()
    }
}
