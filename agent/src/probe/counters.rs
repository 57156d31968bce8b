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

    /// Counters with these values, the others 0.
    #[cfg(test)]
    pub(crate) fn of(values: &[(Counter, u64)]) -> Self {
        let value =
            |counter| values.iter().find(|(of, _)| *of == counter).map_or(0, |found| found.1);
        Self(Counter::ALL.iter().map(|&counter| value(counter)).collect())
    }
}
