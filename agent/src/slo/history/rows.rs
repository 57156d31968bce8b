//! The rows of one endpoint: short numbers in chunks, so that old ones go as a whole.
//!
//! A row: steps since the one before it (or the chunk's beginning), calls, bad calls, which buckets have
//! durations (a bit for each), and the number of each of these.

use std::collections::VecDeque;

use vigie_slo::suggest::{BUCKETS, Row};

use super::varint::{Reader, put};
use super::{COARSE_S, FINE_S};

/// Largest count in a row.
const MAX_COUNT: u64 = 1 << 40;

/// Rows in the order of time.
#[derive(Debug)]
pub(super) struct Rows {
    step_s: i64,
    chunk_s: i64,
    chunks: VecDeque<Chunk>,
}

/// Rows in `(base, base + chunk_s]`.
#[derive(Debug)]
struct Chunk {
    base: i64,
    /// End of the last row.
    last: i64,
    bytes: Vec<u8>,
}

/// Adds counts.
pub(super) fn add(sum: &mut Row, row: &Row) {
    sum.total = sum.total.saturating_add(row.total);
    sum.errors = sum.errors.saturating_add(row.errors);
    for (sum, count) in sum.buckets.iter_mut().zip(row.buckets) {
        *sum = sum.saturating_add(count);
    }
}

impl Rows {
    /// Of minutes, in chunks of an hour.
    pub(super) fn fine() -> Self {
        Self { step_s: FINE_S.cast_signed(), chunk_s: 3_600, chunks: VecDeque::new() }
    }

    /// Of ten minutes, in chunks of a day.
    pub(super) fn coarse() -> Self {
        Self { step_s: COARSE_S.cast_signed(), chunk_s: 86_400, chunks: VecDeque::new() }
    }

    /// Adds a row, which must end on a step after the last one; others are not taken.
    pub(super) fn push(&mut self, row: &Row) {
        let base = row.t.saturating_sub(1).div_euclid(self.chunk_s).saturating_mul(self.chunk_s);
        if row.t.rem_euclid(self.step_s) != 0 || self.last().is_some_and(|last| row.t <= last) {
            return;
        }
        if self.chunks.back().is_none_or(|chunk| chunk.base != base) {
            if let Some(full) = self.chunks.back_mut() {
                full.bytes.shrink_to_fit();
            }
            self.chunks.push_back(Chunk { base, last: base, bytes: Vec::new() });
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        let passed = row.t.saturating_sub(chunk.last) / self.step_s;
        chunk.last = row.t;
        put(&mut chunk.bytes, passed.unsigned_abs());
        put(&mut chunk.bytes, row.total.min(MAX_COUNT));
        put(&mut chunk.bytes, row.errors.min(MAX_COUNT));
        let used =
            |bits: u64, (bucket, count): (usize, &u64)| bits | u64::from(*count > 0) << bucket;
        put(&mut chunk.bytes, row.buckets.iter().enumerate().fold(0, used));
        for count in row.buckets.into_iter().filter(|count| *count > 0) {
            put(&mut chunk.bytes, count.min(MAX_COUNT));
        }
    }

    /// Rows that end after `t`.
    pub(super) fn since(&self, t: i64) -> impl Iterator<Item = Row> + '_ {
        let chunks = self.chunks.iter().filter(move |chunk| chunk.last > t);
        chunks.flat_map(|chunk| chunk.rows(self.step_s)).filter(move |row| row.t > t)
    }

    /// Forgets chunks that end at or before `t`.
    pub(super) fn expire(&mut self, t: i64) {
        while self.chunks.front().is_some_and(|chunk| chunk.base.saturating_add(self.chunk_s) <= t)
        {
            self.chunks.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// End of the last row.
    pub(super) fn last(&self) -> Option<i64> {
        self.chunks.back().map(|chunk| chunk.last)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let bytes: usize = self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Writes all chunks.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.chunks.len() as u64);
        for chunk in &self.chunks {
            put(bytes, chunk.base.div_euclid(self.chunk_s).max(0).unsigned_abs());
            put(bytes, chunk.bytes.len() as u64);
            bytes.extend_from_slice(&chunk.bytes);
        }
    }

    /// Reads all chunks into one that is empty; none if there is anything that was not written here, or
    /// a row after `now`.
    pub(super) fn decode(mut self, reader: &mut Reader<'_>, now: i64) -> Option<Self> {
        let chunks = reader.at_most(64)?;
        let mut last_base = i64::MIN;
        for _ in 0..chunks {
            let number = i64::try_from(reader.at_most(1 << 32)?).ok()?;
            let base = number.checked_mul(self.chunk_s)?;
            let bytes = reader.bytes()?;
            let mut chunk = Chunk { base, last: base, bytes: bytes.to_vec() };
            let last = chunk.check(self.step_s)?;
            let ordered =
                base > last_base && last > base && last <= base.checked_add(self.chunk_s)?;
            if !ordered {
                return None;
            }
            (last_base, chunk.last) = (base, last);
            // A clock that was set back while vigie was down.
            if last <= now {
                self.chunks.push_back(chunk);
            }
        }
        Some(self)
    }
}

impl Chunk {
    /// The rows; up to the first that is broken, of which [`Self::check`] has seen none.
    fn rows(&self, step_s: i64) -> impl Iterator<Item = Row> + '_ {
        let mut t = self.base;
        let mut reader = Reader(&self.bytes);
        std::iter::from_fn(move || {
            let row = read(&mut reader, t, step_s)?;
            t = row.t;
            Some(row)
        })
    }

    /// End of the last row, if all are right.
    fn check(&self, step_s: i64) -> Option<i64> {
        let mut t = self.base;
        let mut reader = Reader(&self.bytes);
        while !reader.is_empty() {
            t = read(&mut reader, t, step_s)?.t;
        }
        Some(t)
    }
}

fn read(reader: &mut Reader<'_>, after: i64, step_s: i64) -> Option<Row> {
    // A day of minutes at most; 0 would be the same step again.
    let passed = i64::try_from(reader.at_most(1_440)?).ok().filter(|passed| *passed > 0)?;
    let t = after.checked_add(passed.checked_mul(step_s)?)?;
    let total = reader.at_most(MAX_COUNT)?;
    let errors = reader.at_most(MAX_COUNT)?;
    let used = reader.at_most((1 << BUCKETS) - 1)?;
    let mut buckets = [0; BUCKETS];
    for (bucket, count) in buckets.iter_mut().enumerate() {
        if used >> bucket & 1 == 1 {
            *count = reader.at_most(MAX_COUNT)?;
        }
    }
    Some(Row { t, total, errors, buckets })
}
