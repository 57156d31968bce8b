//! What the kernel programs counted, summed over the CPUs.

use aya::maps::{MapData, PerCpuArray};
use vigie_common::counter::Counter;

/// The values of one CPU, by [`Counter`].
pub(super) type OfCpu = [u64; Counter::ALL.len()];

/// The per-CPU counters of the programs.
pub struct Counters(pub(super) PerCpuArray<MapData, OfCpu>);

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Counters {
    /// Reads all counters. If they cannot be read they are 0.
    pub fn read(&self) -> Counts {
        let mut sums = vec![0_u64; Counter::ALL.len()];
        if let Ok(values) = self.0.get(&0, 0) {
            for of_cpu in values.iter() {
                for (sum, value) in sums.iter_mut().zip(of_cpu) {
                    *sum = sum.wrapping_add(*value);
                }
            }
        }
        Counts(sums)
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
