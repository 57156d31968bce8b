//! A distribution of durations: count, sum, extremes, explicit buckets and exponential buckets.

use std::sync::Arc;
use std::time::Duration;

use vigie_common::exchange::{Undelivered, class_bounds};

use super::exponential::Exponential;

/// Bounds in nanoseconds that every histogram has: 0, 5 ms … 10 s (telemetry.md; those of the
/// semantic conventions, and 0).
const STANDARD_NS: [u64; 15] = [
    0,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Upper, inclusive bounds of explicit buckets, in ascending order; a last bucket without a bound
/// follows. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    ns: Arc<[u64]>,
    seconds: Arc<[f64]>,
}

impl Bounds {
    /// The standard bounds, and those of the thresholds that somebody wants to ask about.
    pub fn new(thresholds: &[Duration]) -> Self {
        let further =
            thresholds.iter().map(|bound| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX));
        let mut ns: Vec<u64> = STANDARD_NS.into_iter().chain(further).collect();
        ns.sort_unstable();
        ns.dedup();
        let seconds = ns.iter().map(|&ns| seconds(ns.into())).collect();
        Self { ns: ns.into(), seconds }
    }

    /// Bounds in seconds.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// For each bucket its position among the coarser buckets that these edges make, which must be
    /// among the bounds.
    pub(super) fn positions_among(&self, edges_ms: &[u64]) -> Vec<usize> {
        let position = |bound: u64| edges_ms.partition_point(|edge| edge * 1_000_000 < bound);
        self.ns.iter().map(|bound| position(*bound)).chain([edges_ms.len()]).collect()
    }

    /// Position of the bucket that a duration belongs to.
    fn bucket(&self, duration_ns: u64) -> usize {
        self.ns.partition_point(|&bound| bound < duration_ns)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::new(&[])
    }
}

/// Nanoseconds as seconds. Divided, not multiplied by 1e-9: 5 ms become exactly 0.005.
fn seconds(ns: u128) -> f64 {
    ns as f64 / 1e9
}

/// A distribution of durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    count: u64,
    /// 64 bits would last a year at a thousand calls in flight.
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
    /// Empty until the first duration.
    buckets: Vec<u64>,
    exponential: Exponential,
}

impl Durations {
    /// Adds one duration. `bounds` must be the same at every call.
    ///
    /// Returns the position of its bucket.
    pub fn record(&mut self, duration_ns: u64, bounds: &Bounds) -> usize {
        if self.count == 0 {
            self.buckets.resize(bounds.ns.len() + 1, 0);
            self.min_ns = duration_ns;
        }
        self.count += 1;
        self.sum_ns += u128::from(duration_ns);
        self.min_ns = self.min_ns.min(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
        let bucket = bounds.bucket(duration_ns);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.exponential.record(duration_ns);
        bucket
    }

    /// Adds durations that are known by class only, with their sum and the largest of all so far.
    ///
    /// Each counts as one in the middle of its class, at most an eighth away from what it was: that
    /// is how far a bucket's count and a percentile may be off. Their number, the sum and so the
    /// mean are exact.
    pub fn record_classes(&mut self, lost: &Undelivered, bounds: &Bounds) {
        let earlier_sum_ns = self.sum_ns;
        let mut number = 0;
        for (class, &count) in lost.classes.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (from, to) = class_bounds(class);
            let middle = (from + (to - from) / 2).min(lost.max_ns);
            if self.count == 0 {
                self.buckets.resize(bounds.ns.len() + 1, 0);
                self.min_ns = from;
            }
            self.count += count;
            number += count;
            self.min_ns = self.min_ns.min(from);
            if let Some(bucket) = self.buckets.get_mut(bounds.bucket(middle)) {
                *bucket += count;
            }
            self.exponential.record_many(middle, count);
        }
        if number > 0 {
            self.sum_ns = earlier_sum_ns + u128::from(lost.sum_ns);
            self.max_ns = self.max_ns.max(lost.max_ns);
        }
    }

    /// Adds all that another distribution with the same bounds holds.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
        self.exponential.merge(&other.exponential);
    }

    /// What came after an earlier state of the same distribution. Its extremes are those of the
    /// whole, as only they are known.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        rest.count = rest.count.saturating_sub(earlier.count);
        if rest.count == 0 {
            return Self::default();
        }
        rest.sum_ns = rest.sum_ns.saturating_sub(earlier.sum_ns);
        for (count, less) in rest.buckets.iter_mut().zip(&earlier.buckets) {
            *count = count.saturating_sub(*less);
        }
        rest.exponential.subtract(&earlier.exponential);
        rest
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum in seconds.
    pub fn sum_s(&self) -> f64 {
        seconds(self.sum_ns)
    }

    /// Mean in seconds.
    pub fn mean_s(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64 / 1e9)
    }

    /// Shortest in seconds.
    pub fn min_s(&self) -> Option<f64> {
        (self.count > 0).then(|| seconds(self.min_ns.into()))
    }

    /// Longest in seconds.
    pub fn max_s(&self) -> Option<f64> {
        (self.count > 0).then(|| seconds(self.max_ns.into()))
    }

    /// Counts by explicit bucket, each by itself: one more than there are bounds, or none while
    /// [`Self::count`] is 0.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The same durations in exponential buckets.
    pub fn exponential(&self) -> &Exponential {
        &self.exponential
    }

    /// The `q`-quantile in seconds, within [`Exponential::relative_error`] and never outside the
    /// extremes.
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        let estimate = self.exponential.quantile_s(q)?;
        Some(estimate.clamp(seconds(self.min_ns.into()), seconds(self.max_ns.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_exact() {
        let bounds = Bounds::new(&[Duration::from_millis(300), Duration::from_millis(5)]);
        assert_eq!(bounds.seconds().len(), 16);
        assert!(bounds.seconds().contains(&0.3) && bounds.seconds().contains(&0.005));
        for (ns, bucket) in [
            (0, 0),
            (1, 1),
            (5_000_000, 1),
            (5_000_001, 2),
            (300_000_000, 8),
            (10_000_000_000, 15),
            (10_000_000_001, 16),
            (u64::MAX, 16),
        ] {
            assert_eq!(bounds.bucket(ns), bucket, "{ns} ns");
        }
    }

    #[test]
    fn the_edges_of_suggestions_are_among_the_bounds() {
        let edges_ms = &vigie_slo::suggest::EDGES_MS;
        let standard: Vec<u64> = edges_ms.iter().map(|edge| edge * 1_000_000).collect();
        assert_eq!(standard, STANDARD_NS[1..]);
        let bounds = Bounds::new(&[Duration::from_millis(300), Duration::from_millis(1)]);
        let positions = bounds.positions_among(edges_ms);
        for ns in [0, 1, 999_999, 5_000_000, 260_000_000, 300_000_001, 10_000_000_000, u64::MAX] {
            let expected = standard.partition_point(|edge| *edge < ns);
            assert_eq!(positions[bounds.bucket(ns)], expected, "{ns} ns");
        }
    }

    fn of(durations_ns: &[u64]) -> Durations {
        let bounds = Bounds::default();
        let mut durations = Durations::default();
        for &ns in durations_ns {
            durations.record(ns, &bounds);
        }
        durations
    }

    #[test]
    fn figures_are_exact() {
        let durations = of(&[2_000_000, 4_000_000, 12_000_000]);
        assert_eq!(durations.count(), 3);
        assert_eq!(durations.sum_ns, 18_000_000);
        assert_eq!(durations.mean_s(), Some(0.006));
        assert_eq!(durations.min_s(), Some(0.002));
        assert_eq!(durations.max_s(), Some(0.012));
        assert_eq!(durations.buckets()[..5], [0, 2, 0, 1, 0]);
        assert_eq!(of(&[]).min_s(), None);
        assert_eq!(of(&[7_000_000; 5]).quantile_s(0.99), Some(0.007));
    }

    #[test]
    fn merging_and_subtracting() {
        let (first, second) = (of(&[2_000_000, 12_000_000]), of(&[4_000_000]));
        let all = of(&[2_000_000, 12_000_000, 4_000_000]);
        let mut merged = first.clone();
        merged.merge(&second);
        assert_eq!(merged, all);
        let mut merged = Durations::default();
        merged.merge(&second);
        assert_eq!(merged, second);
        let rest = all.since(&first);
        assert_eq!((rest.count(), rest.buckets()), (1, second.buckets()));
        assert_eq!(all.since(&all), Durations::default());
    }
}
