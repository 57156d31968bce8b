//! What endpoints did: how many calls, how many bad ones, how many durations per bucket; per minute for
//! 24 hours and per ten minutes for 14 days. `vigie slo suggest` is made of it.
//!
//! Whoever owns it calls [`History::observe`] once a minute with what the store has counted
//! ([`Store::counts`](crate::metrics::Store::counts)), and keeps [`History::encode`] where it survives a
//! restart. It reads no clock and does no I/O.
//!
//! Memory: at most [`MAX_ROW_BYTES`] for rows (of 200 endpoints with calls in each minute: rows are
//! written as short numbers, some 10 to 20 bytes each), and 1.5 MB for the latest counts of 10,000 series:
//! less than 8 MB; for a moment each minute 1.7 MB more, which the caller has read. Past a bound the least
//! active endpoint goes, and is counted.
//!
//! Turned down: a clone of the store's snapshot each minute (exponential buckets and exemplars are nine
//! tenths of it, and it takes the store's lock for longer), and rows of fixed size (50 MB).

mod answer;
mod blob;
mod endpoint;
mod rows;
mod steps;
#[cfg(test)]
mod tests;
mod varint;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use vigie_slo::suggest::{
    BUCKETS, Endpoint, History as Past, Options, Row, SuggestError, Suggested, suggest,
};

pub use answer::{AnswerError, Form};
pub use blob::{BlobError, MAX_BLOB_BYTES};

use crate::metrics::snapshot::{Counts, Labels};
use rows::Rows;
use steps::Steps;

/// Length of a fine step in seconds.
pub const FINE_S: u64 = 60;
/// How far back fine steps reach, in seconds.
pub const FINE_SPAN_S: u64 = 86_400;
/// Length of a coarse step in seconds.
pub const COARSE_S: u64 = 600;
/// How far back coarse steps reach, in seconds.
pub const COARSE_SPAN_S: u64 = 14 * 86_400;
/// Most endpoints.
pub const MAX_ENDPOINTS: usize = 200;
/// Most bytes of rows.
pub const MAX_ROW_BYTES: usize = 6 << 20;
/// Longest text that an endpoint may have, in bytes.
const MAX_TEXT: usize = 1_024;
/// A pause above this is one in which nothing was observed, not one long step. In seconds.
const MAX_PAUSE_S: u64 = 300;

/// What endpoints did.
#[derive(Debug)]
pub struct History {
    tracks: HashMap<Endpoint, Track>,
    steps: Steps,
    /// Up to when calls are counted, in seconds since 1970; a whole minute.
    now: i64,
    /// By the address of the labels, which are kept, so that no other series gets it.
    latest: HashMap<usize, Latest>,
    round: u32,
    dropped: u64,
}

/// What is kept of one endpoint.
#[derive(Debug)]
struct Track {
    fine: Rows,
    coarse: Rows,
    /// Calls per minute, the latest 64 minutes or so, in 1/1024 of one call.
    activity: u64,
}

/// What a series had counted when it was read last. The lower half of each number: what came since is a
/// difference, exact as long as it is below 2³².
#[derive(Debug)]
struct Latest {
    labels: Arc<Labels>,
    round: u32,
    count: u32,
    errors: u32,
    buckets: [u32; BUCKETS],
}

impl Track {
    fn new() -> Self {
        Self { fine: Rows::fine(), coarse: Rows::coarse(), activity: 0 }
    }

    fn memory_bytes(&self) -> usize {
        self.fine.memory_bytes() + self.coarse.memory_bytes()
    }
}

/// The minute that a time lies in, by its beginning.
fn minute(unix_s: i64) -> i64 {
    unix_s.saturating_sub(unix_s.rem_euclid(60))
}

impl History {
    /// An empty one, from this time on (seconds since 1970).
    pub fn new(now_unix_s: i64) -> Self {
        Self {
            tracks: HashMap::new(),
            steps: Steps::default(),
            now: minute(now_unix_s),
            latest: HashMap::new(),
            round: 0,
            dropped: 0,
        }
    }

    /// Whether a minute has passed, so that [`Self::observe`] has something to do.
    pub fn is_due(&self, now_unix_s: i64) -> bool {
        minute(now_unix_s) > self.now
    }

    /// Takes into account what all series have counted. Before a minute has passed it does nothing, and
    /// so while a wall clock that was set back has not come as far again: nothing is lost by that, it
    /// counts in the next step.
    pub fn observe(&mut self, counts: &[Counts], now_unix_s: i64) {
        if !self.is_due(now_unix_s) {
            return;
        }
        let before = std::mem::replace(&mut self.now, minute(now_unix_s));
        let passed = self.now.saturating_sub(before).unsigned_abs();
        let length_s = if passed > MAX_PAUSE_S { FINE_S } else { passed };
        let rows = self.since(counts);
        self.close_coarse();
        self.steps.push_fine(self.now, length_s);
        for track in self.tracks.values_mut() {
            track.activity -= track.activity / 64;
        }
        for (endpoint, row) in rows {
            self.push(endpoint, &row);
        }
        self.expire();
        self.trim();
    }

    /// What came since the last time, by endpoint.
    fn since(&mut self, counts: &[Counts]) -> BTreeMap<Endpoint, Row> {
        let mut rows: BTreeMap<Endpoint, Row> = BTreeMap::new();
        self.round = self.round.wrapping_add(1);
        for series in counts {
            let Some(delta) = self.delta(series) else { continue };
            let Some(endpoint) = endpoint::of(series) else { continue };
            let sum = rows.entry(endpoint).or_insert(Row { t: self.now, ..Row::default() });
            rows::add(sum, &delta);
        }
        let round = self.round;
        self.latest.retain(|_, latest| latest.round == round);
        rows
    }

    /// What one series counted since the last time; none if that is nothing.
    fn delta(&mut self, series: &Counts) -> Option<Row> {
        let address = Arc::as_ptr(&series.labels).addr();
        let latest = self.latest.entry(address).or_insert_with(|| Latest {
            labels: Arc::clone(&series.labels),
            round: 0,
            count: 0,
            errors: 0,
            buckets: [0; BUCKETS],
        });
        latest.round = self.round;
        let total = step(&mut latest.count, series.count);
        let errors = step(&mut latest.errors, series.errors);
        let mut row = Row { t: self.now, total, errors, ..Row::default() };
        for ((delta, before), count) in
            row.buckets.iter_mut().zip(&mut latest.buckets).zip(series.buckets)
        {
            *delta = step(before, count);
        }
        row.errors = endpoint::bad(&latest.labels, &row);
        (total > 0).then_some(row)
    }

    fn push(&mut self, endpoint: Endpoint, row: &Row) {
        let calls = row.total.saturating_mul(1_024);
        // A newcomer counts as if it had been there for eight minutes: where there is no room, it takes
        // the place of one that is eight times less active.
        let times = if self.tracks.contains_key(&endpoint) { 1 } else { 8 };
        let track = self.tracks.entry(endpoint).or_insert_with(Track::new);
        track.activity = track.activity.saturating_add(calls.saturating_mul(times));
        track.fine.push(row);
    }

    /// Sums up the ten minutes that ended with the last step, if the next one is in others.
    fn close_coarse(&mut self) {
        let Some((start, end)) = self.steps.close_coarse(self.now) else { return };
        for track in self.tracks.values_mut() {
            let mut sum = Row { t: end, ..Row::default() };
            for row in track.fine.since(start).filter(|row| row.t <= end) {
                rows::add(&mut sum, &row);
            }
            if sum.total > 0 {
                track.coarse.push(&sum);
            }
        }
    }

    /// Forgets what is older than is kept.
    fn expire(&mut self) {
        let (fine, coarse) = (
            self.now.saturating_sub_unsigned(FINE_SPAN_S),
            self.now.saturating_sub_unsigned(COARSE_SPAN_S),
        );
        self.steps.expire(fine, coarse);
        self.tracks.retain(|_, track| {
            track.fine.expire(fine);
            track.coarse.expire(coarse);
            !track.fine.is_empty() || !track.coarse.is_empty()
        });
    }

    /// Drops the least active endpoints until the bounds are kept.
    fn trim(&mut self) {
        let mut bytes = self.row_bytes();
        if self.tracks.len() <= MAX_ENDPOINTS && bytes <= MAX_ROW_BYTES {
            return;
        }
        let mut order: Vec<(u64, Endpoint)> = self
            .tracks
            .iter()
            .map(|(endpoint, track)| (track.activity, endpoint.clone()))
            .collect();
        order.sort_unstable();
        for (_, endpoint) in order {
            if self.tracks.len() <= MAX_ENDPOINTS && bytes <= MAX_ROW_BYTES {
                break;
            }
            if let Some(track) = self.tracks.remove(&endpoint) {
                bytes = bytes.saturating_sub(track.memory_bytes());
                self.dropped += 1;
            }
        }
    }

    /// Bytes of all rows.
    pub fn row_bytes(&self) -> usize {
        self.tracks.values().map(Track::memory_bytes).sum()
    }

    /// Endpoints that are kept.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Endpoints that were dropped because there was no room, since it was made.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// SLOs that this past has kept.
    pub fn suggest(&self, options: &Options) -> Result<Suggested, SuggestError> {
        let mut all: Vec<(&Endpoint, &Track)> = self.tracks.iter().collect();
        all.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        let endpoints: Vec<Endpoint> =
            all.iter().map(|(endpoint, _)| (*endpoint).clone()).collect();
        let (steps, fine_from) = self.steps.all();
        let rows = |index: usize| {
            let Some((_, track)) = all.get(index) else { return Vec::new() };
            let coarse = track.coarse.since(i64::MIN).take_while(|row| row.t <= fine_from);
            coarse.chain(track.fine.since(fine_from)).collect()
        };
        suggest(&Past { steps: &steps, endpoints: &endpoints, rows: &rows }, options)
    }
}

/// What came since `before`, which becomes what it is now.
fn step(before: &mut u32, now: u64) -> u64 {
    let low = u32::try_from(now & u64::from(u32::MAX)).unwrap_or_default();
    let earlier = std::mem::replace(before, low);
    low.wrapping_sub(earlier).into()
}
