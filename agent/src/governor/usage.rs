//! What vigie uses, measured between two looks.

use std::time::{Duration, Instant};

use super::{Budget, Usage};
use crate::allocator;
use crate::kernel::cost;

/// Shortest time between two times that freed memory is given back.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);

/// Measures.
#[derive(Debug)]
pub struct Gauge {
    cpus: f64,
    at: Instant,
    cpu: Duration,
    /// When freed memory was given back last.
    given_back: Option<Instant>,
}

impl Gauge {
    /// From now on.
    pub fn new() -> Self {
        Self {
            cpus: cost::cpus() as f64,
            at: Instant::now(),
            cpu: cost::cpu_clock(),
            given_back: None,
        }
    }

    /// What was used since the last look, and how long ago that was. `probes` is the time that the
    /// kernel programs take, in seconds per second over all CPUs. Memory that is only kept for later
    /// is given back first where `budget` has little left.
    pub fn look(&mut self, probes: f64, budget: Budget) -> (Usage, Duration) {
        let (at, cpu) = (Instant::now(), cost::cpu_clock());
        let elapsed = at.duration_since(self.at);
        let own = cpu.saturating_sub(self.cpu);
        (self.at, self.cpu) = (at, cpu);
        let share = if elapsed.is_zero() {
            0.0
        } else {
            (own.as_secs_f64() / elapsed.as_secs_f64() + probes) / self.cpus
        };
        (Usage { cpu: share, memory: self.memory(at, budget) }, elapsed)
    }

    fn memory(&mut self, now: Instant, budget: Budget) -> u64 {
        let resident = cost::resident_bytes();
        let is_late = self.given_back.is_none_or(|at| now.duration_since(at) >= GIVE_BACK_EVERY);
        if resident <= budget.calm_memory() || !is_late {
            return resident;
        }
        self.given_back = Some(now);
        allocator::give_back();
        cost::resident_bytes()
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
        let (usage, elapsed) = gauge.look(0.5 * cpus, Budget::default());
        assert!(elapsed >= Duration::from_millis(50));
        assert!(usage.cpu > 0.5 && usage.memory > 100_000, "{usage:?}");
    }
}
