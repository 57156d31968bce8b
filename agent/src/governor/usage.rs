//! What vigie uses, measured between two looks.

use std::time::{Duration, Instant};

use super::Usage;
use crate::kernel::cost;

/// Measures.
#[derive(Debug)]
pub struct Gauge {
    cpus: f64,
    at: Instant,
    cpu: Duration,
}

impl Gauge {
    /// From now on.
    pub fn new() -> Self {
        Self { cpus: cost::cpus() as f64, at: Instant::now(), cpu: cost::cpu_clock() }
    }

    /// What was used since the last look, and how long ago that was. `probes` is the time that the
    /// kernel programs take, in seconds per second over all CPUs.
    pub fn look(&mut self, probes: f64) -> (Usage, Duration) {
        let (at, cpu) = (Instant::now(), cost::cpu_clock());
        let elapsed = at.duration_since(self.at);
        let own = cpu.saturating_sub(self.cpu);
        (self.at, self.cpu) = (at, cpu);
        let share = if elapsed.is_zero() {
            0.0
        } else {
            (own.as_secs_f64() / elapsed.as_secs_f64() + probes) / self.cpus
        };
        (Usage { cpu: share, memory: cost::resident_bytes() }, elapsed)
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_probes_add_up() {
        let mut gauge = Gauge::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            std::hint::black_box((0..1000).sum::<u64>());
        }
        let cpus = gauge.cpus;
        let (usage, elapsed) = gauge.look(0.5 * cpus);
        assert!(elapsed >= Duration::from_millis(50));
        assert!(usage.cpu > 0.5 && usage.memory > 100_000, "{usage:?}");
    }
}
