//! Bounds of the store, in one place.

use std::time::Duration;

/// How much the store keeps. What finds no room is summed in an overflow series or edge and counted.
///
/// A series takes 0.5 to 2 KB (its attributes, 16 explicit and at most 160 exponential buckets, an
/// exemplar for each explicit bucket that is in use), so that the default bounds end at about 20 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services. Calls of further ones go to the overflow series of the service `other`.
    pub services: usize,
    /// Attribute sets of one metric of one service.
    pub sets_per_metric: usize,
    /// Series of all metrics and services.
    pub series: usize,
    /// Processes that are remembered of one service.
    pub processes_per_service: usize,
    /// Edges.
    pub edges: usize,
    /// Series, edges and processes unseen for so long are forgotten.
    pub expiry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 500,
            sets_per_metric: 2_000,
            series: 10_000,
            processes_per_service: 64,
            edges: 1_000,
            expiry: Duration::from_mins(5),
        }
    }
}

impl Limits {
    /// Expiry in nanoseconds.
    pub(crate) fn expiry_ns(&self) -> u64 {
        u64::try_from(self.expiry.as_nanos()).unwrap_or(u64::MAX)
    }
}
