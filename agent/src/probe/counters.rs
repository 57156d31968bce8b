//! What the kernel programs counted, summed over the CPUs.

use aya::maps::{MapData, PerCpuArray};
use vigie_common::counter::Counter;

/// The per-CPU counters of the programs.
pub struct Counters(pub(super) PerCpuArray<MapData, u64>);

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Counters {
    /// Reads all counters. One that cannot be read is 0.
    pub fn read(&self) -> Counts {
        Counts(
            Counter::ALL
                .iter()
                .map(|&counter| {
                    self.0
                        .get(&(counter as u32), 0)
                        .map_or(0, |values| values.iter().copied().fold(0, u64::wrapping_add))
                })
                .collect(),
        )
    }
}

impl Counts {
    /// One counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Every reason for a loss with its count, zeros included.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL
            .iter()
            .filter(|counter| counter.is_loss())
            .map(|&counter| (counter.name(), self.get(counter)))
    }
}
