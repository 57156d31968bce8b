//! Base-2 exponential histogram, as in the OpenTelemetry metrics data model ("ExponentialHistogram"):
//! the source of percentiles, and ready for OTLP.
//!
//! Bucket `i` at scale `s` holds values in `(b^i, b^(i+1)]` with `b = 2^(2^-s)`, in seconds. A
//! histogram starts at [`MAX_SCALE`] and halves its resolution whenever its values would need more
//! than [`MAX_BUCKETS`] buckets, so it is as exact as its range allows: values within a factor of
//! 1,000 end at scale 4, where a percentile is off by at most 2.2 %.

/// Most buckets of one histogram.
pub const MAX_BUCKETS: usize = 160;
/// Scale that a histogram starts at.
pub const MAX_SCALE: i32 = 20;

/// Counts of durations in exponential buckets.
///
/// Durations of a `u64` of nanoseconds span 65 powers of two, so that the scale never falls below 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exponential {
    scale: i32,
    zero_count: u64,
    /// Index of the first element of `counts`.
    offset: i32,
    counts: Vec<u64>,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { scale: MAX_SCALE, zero_count: 0, offset: 0, counts: Vec::new() }
    }
}

impl Exponential {
    /// Scale in the sense of the data model.
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// Number of durations that were exactly zero.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// Index of the first bucket of [`Self::counts`].
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Counts of adjacent buckets, at most [`MAX_BUCKETS`].
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Largest relative error of [`Self::quantile_s`]: half a bucket, on the logarithmic scale.
    pub fn relative_error(&self) -> f64 {
        (0.5 * f64::from(-self.scale).exp2()).exp2() - 1.0
    }

    /// Adds one duration in nanoseconds.
    pub fn record(&mut self, duration_ns: u64) {
        self.record_many(duration_ns, 1);
    }

    /// Adds one duration in nanoseconds so many times.
    pub fn record_many(&mut self, duration_ns: u64, count: u64) {
        if duration_ns == 0 {
            self.zero_count += count;
        } else {
            self.add(index(duration_ns, self.scale), count);
        }
    }

    /// Adds all that another histogram holds. The result has the coarser scale of both, or one
    /// coarser still.
    pub fn merge(&mut self, other: &Self) {
        self.zero_count += other.zero_count;
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            self.scale = self.scale.min(other.scale);
        } else if self.scale > other.scale {
            self.downscale(self.scale.abs_diff(other.scale));
        }
        for (position, &count) in (other.offset..).zip(&other.counts) {
            if count > 0 {
                // `add` may lower the scale while this goes on.
                self.add(position >> other.scale.abs_diff(self.scale), count);
            }
        }
    }

    /// Takes away what an earlier state of the same histogram held.
    pub(super) fn subtract(&mut self, earlier: &Self) {
        self.zero_count = self.zero_count.saturating_sub(earlier.zero_count);
        let shift = earlier.scale.abs_diff(self.scale);
        for (position, &count) in (earlier.offset..).zip(&earlier.counts) {
            let slot = usize::try_from((position >> shift) - self.offset).ok();
            if let Some(slot) = slot.and_then(|slot| self.counts.get_mut(slot)) {
                *slot = slot.saturating_sub(count);
            }
        }
    }

    /// The `q`-quantile in seconds by nearest rank, as the geometric middle of its bucket; `None`
    /// while the histogram is empty.
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        let total = self.zero_count + self.counts.iter().sum::<u64>();
        if total == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ..= total")]
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total);
        let mut below = self.zero_count;
        if rank <= below {
            return Some(0.0);
        }
        for (position, &count) in (self.offset..).zip(&self.counts) {
            below += count;
            if rank <= below {
                return Some(((f64::from(position) + 0.5) * f64::from(-self.scale).exp2()).exp2());
            }
        }
        None
    }

    fn add(&mut self, mut position: i32, count: u64) {
        let Some(last) = self.last() else {
            self.offset = position;
            self.counts.push(count);
            return;
        };
        let (low, high) = (self.offset.min(position), last.max(position));
        let shift =
            (0..32).find(|shift| width(low >> shift, high >> shift) <= MAX_BUCKETS).unwrap_or(31);
        if shift > 0 {
            self.downscale(shift);
            position >>= shift;
        }
        if position < self.offset {
            let missing = width(position, self.offset) - 1;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = position;
        }
        let slot = width(self.offset, position) - 1;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, 0);
        }
        if let Some(slot) = self.counts.get_mut(slot) {
            *slot += count;
        }
    }

    /// Index of the last bucket.
    fn last(&self) -> Option<i32> {
        let more = i32::try_from(self.counts.len()).ok()?.checked_sub(1)?;
        (more >= 0).then(|| self.offset + more)
    }

    /// Joins each `2^by` neighbours.
    fn downscale(&mut self, by: u32) {
        let old = self.offset;
        self.offset = old >> by;
        let mut joined: Vec<u64> = Vec::with_capacity(self.counts.len());
        for (position, &count) in (old..).zip(&self.counts) {
            let slot = width(self.offset, position >> by) - 1;
            if slot >= joined.len() {
                joined.resize(slot + 1, 0);
            }
            if let Some(slot) = joined.get_mut(slot) {
                *slot += count;
            }
        }
        self.counts = joined;
        self.scale -= i32::try_from(by).unwrap_or(0);
    }
}

/// Number of buckets from `low` to `high`, both counted.
fn width(low: i32, high: i32) -> usize {
    usize::try_from(i64::from(high) - i64::from(low) + 1).unwrap_or(0)
}

/// Index of the bucket of a duration that is not zero, at a scale above 0.
fn index(duration_ns: u64, scale: i32) -> i32 {
    let seconds = duration_ns as f64 * 1e-9;
    #[expect(clippy::cast_possible_truncation, reason = "at most 2^20 times 35")]
    let above = (seconds.log2() * f64::from(1_i32 << scale)).ceil() as i32;
    above - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_upper_bound() {
        // At scale 1 the bounds are 1, 1.414, 2, 2.828, 4 s for indices -1 to 3.
        for (ns, expected) in [
            (1_000_000_000, -1),
            (1_000_000_001, 0),
            (1_414_000_000, 0),
            (1_500_000_000, 1),
            (2_000_000_000, 1),
            (4_000_000_000, 3),
            (500_000_000, -3),
        ] {
            assert_eq!(index(ns, 1), expected, "{ns} ns");
        }
        assert!(index(1, MAX_SCALE) > i32::MIN / 32 && index(u64::MAX, MAX_SCALE) < i32::MAX / 32);
    }

    fn of(durations_ns: impl IntoIterator<Item = u64>) -> Exponential {
        let mut histogram = Exponential::default();
        durations_ns.into_iter().for_each(|ns| histogram.record(ns));
        histogram
    }

    #[test]
    fn stays_within_its_bound_and_loses_nothing() {
        let all = of([1, u64::MAX, 0, 5_000, 7_000_000, 1_000_000_000]);
        assert!(all.counts().len() <= MAX_BUCKETS, "{}", all.counts().len());
        assert_eq!(all.counts().iter().sum::<u64>() + all.zero_count(), 6);
        assert!(all.scale() >= 1, "{}", all.scale());
        assert_eq!(of([]).quantile_s(0.5), None);
        assert_eq!(of([0, 0]).quantile_s(0.5), Some(0.0));
    }

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    fn quantiles_are_within_the_stated_error() {
        // 100 µs to 1 s, spread evenly on the logarithmic scale.
        let durations: Vec<u64> =
            (0..4_000).map(|step| (1e5 * 10f64.powf(f64::from(step) / 1_000.0)) as u64).collect();
        let histogram = of(durations.iter().copied());
        assert!(histogram.scale() >= 3, "{}", histogram.scale());
        assert!(histogram.relative_error() < 0.045, "{}", histogram.relative_error());
        for q in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((q * durations.len() as f64).ceil() as usize).max(1);
            let exact = durations[rank - 1] as f64 * 1e-9;
            let found = histogram.quantile_s(q).unwrap();
            let error = (found / exact - 1.0).abs();
            assert!(error <= histogram.relative_error() + 1e-9, "q {q}: {found} for {exact}");
        }
    }

    #[test]
    fn merging_equals_recording_together() {
        let (narrow, wide) = ([1_000_000, 1_000_100, 0], [10, 3_000_000_000, 1_000_050]);
        let together = of(narrow.into_iter().chain(wide));
        let mut merged = of(narrow);
        merged.merge(&of(wide));
        assert_eq!(merged, together);
        let mut merged = of(wide);
        merged.merge(&of(narrow));
        assert_eq!(merged, together);
        let mut merged = of([]);
        merged.merge(&of(wide));
        assert_eq!(merged, of(wide));
    }

    #[test]
    fn subtracting_leaves_the_later_part() {
        let mut histogram = of([1_000_000, 1_000_100, 0]);
        let earlier = histogram.clone();
        for ns in [10, 3_000_000_000] {
            histogram.record(ns);
        }
        histogram.subtract(&earlier);
        assert_eq!(histogram.counts().iter().sum::<u64>(), 2);
        assert_eq!(histogram.zero_count(), 0);
        let high = histogram.quantile_s(1.0).unwrap();
        assert!((high / 3.0 - 1.0).abs() <= histogram.relative_error());
    }
}
