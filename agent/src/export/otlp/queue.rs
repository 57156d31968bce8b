//! Spans that wait for export: bounded in number and bytes, the oldest go first.
//!
//! The thread that offers spans moves them into chunks; the exporter takes whole chunks, so that
//! the lock is held for moments only. Spans that the exporter holds count as queued until their
//! fate is known: while a receiver is away they are the oldest, and the first to go.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::counters::{DropReason, SignalCounters};
use super::encode::size_estimate;
use crate::span::Span;

/// Spans in one chunk: some 70 KiB, what one short lock moves.
const CHUNK_SPANS: usize = 256;
/// Estimated bytes past which a chunk takes no further span, so that large spans make small chunks.
const CHUNK_BYTES: usize = 256 << 10;
/// Empty chunks kept for reuse: a batch's worth.
const SPARE_CHUNKS: usize = 8;

/// Bounds of the queue and of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Spans that wait or are on their way. Default 65,536.
    pub spans: usize,
    /// Estimated bytes of these. Default 48 MiB.
    pub bytes: usize,
    /// Spans in one request. Default 2,048.
    pub batch_spans: usize,
    /// Estimated bytes of one request. Default 1 MiB: receivers take up to 4 MiB by default, and
    /// larger buffers leave the processor's cache and cost more per span.
    pub batch_bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { spans: 65_536, bytes: 48 << 20, batch_spans: 2_048, batch_bytes: 1 << 20 }
    }
}

#[derive(Debug, Default)]
struct Chunk {
    spans: VecDeque<Span>,
    bytes: usize,
}

impl Chunk {
    fn with_room() -> Self {
        Self { spans: VecDeque::with_capacity(CHUNK_SPANS), bytes: 0 }
    }

    fn push(&mut self, span: Span, bytes: usize) {
        self.bytes += bytes;
        self.spans.push_back(span);
    }

    fn pop(&mut self) -> Option<Span> {
        let span = self.spans.pop_front()?;
        self.bytes = self.bytes.saturating_sub(size_estimate(&span));
        Some(span)
    }
}

/// Spans that the exporter took and tries to deliver.
#[derive(Debug, Default)]
pub(super) struct Batch {
    chunks: VecDeque<Chunk>,
    spans: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.spans
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Span> {
        self.chunks.iter().flat_map(|chunk| &chunk.spans)
    }

    fn drop_oldest(&mut self, count: usize) {
        for _ in 0..count {
            while self.chunks.front().is_some_and(|chunk| chunk.spans.is_empty()) {
                self.chunks.pop_front();
            }
            if self.chunks.front_mut().and_then(Chunk::pop).is_some() {
                self.spans -= 1;
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    spans: usize,
    bytes: usize,
    /// What the exporter holds, less what it must give up.
    held_spans: usize,
    held_bytes: usize,
    /// Held spans that are to be dropped unless the request on its way is accepted.
    forfeit: usize,
    spare: Vec<Chunk>,
    closed: bool,
}

impl State {
    fn queued(&self) -> u64 {
        (self.spans + self.held_spans + self.forfeit) as u64
    }

    fn is_full(&self, limits: &QueueLimits, bytes: usize) -> bool {
        self.spans + self.held_spans >= limits.spans
            || self.bytes + self.held_bytes + bytes > limits.bytes
    }

    /// Makes room by the oldest span. Returns 1 when one was dropped for good.
    fn drop_oldest(&mut self) -> u64 {
        // The held spans' own sizes are out of reach: take the average.
        if let Some(average) = self.held_bytes.checked_div(self.held_spans) {
            self.held_bytes -= average;
            self.held_spans -= 1;
            self.forfeit += 1;
            return 0;
        }
        let Some(front) = self.chunks.front_mut() else { return 0 };
        let before = front.bytes;
        let dropped = front.pop().is_some();
        self.bytes -= before - front.bytes;
        self.spans -= usize::from(dropped);
        if front.spans.is_empty() {
            self.chunks.pop_front();
        }
        u64::from(dropped)
    }

    fn push(&mut self, span: Span, bytes: usize) {
        let has_room = |chunk: &Chunk| chunk.spans.len() < CHUNK_SPANS && chunk.bytes < CHUNK_BYTES;
        if !self.chunks.back().is_some_and(has_room) {
            self.chunks.push_back(self.spare.pop().unwrap_or_else(Chunk::with_room));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(span, bytes);
            self.spans += 1;
            self.bytes += bytes;
        }
    }

    fn has_batch(&self, limits: &QueueLimits) -> bool {
        self.spans >= limits.batch_spans || self.bytes >= limits.batch_bytes
    }
}

/// The queue between the pipeline and the exporter.
#[derive(Debug)]
pub(super) struct SpanQueue {
    limits: QueueLimits,
    state: Mutex<State>,
}

impl SpanQueue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all spans in, dropping the oldest where there is no room. Returns whether a whole
    /// batch has come together by them.
    pub(super) fn offer(&self, spans: &mut Vec<Span>, counters: &SignalCounters) -> bool {
        counters.add_offered(spans.len() as u64);
        let mut state = self.lock();
        if state.closed {
            counters.add_dropped(DropReason::Shutdown, spans.len() as u64);
            spans.clear();
            return false;
        }
        let was_ready = state.has_batch(&self.limits);
        let mut dropped = 0;
        for span in spans.drain(..) {
            let bytes = size_estimate(&span);
            while state.is_full(&self.limits, bytes) && state.spans + state.held_spans > 0 {
                dropped += state.drop_oldest();
            }
            state.push(span, bytes);
        }
        counters.set_queued(state.queued());
        let has_batch = state.has_batch(&self.limits);
        drop(state);
        counters.add_dropped(DropReason::QueueFull, dropped);
        has_batch && !was_ready
    }

    /// Whether a whole batch waits.
    pub(super) fn has_batch(&self) -> bool {
        self.lock().has_batch(&self.limits)
    }

    /// Hands the oldest spans to the exporter, at most one batch of them.
    pub(super) fn take(&self) -> Batch {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some(front) = state.chunks.front() {
            let fits = batch.spans + front.spans.len() <= self.limits.batch_spans
                && bytes + front.bytes <= self.limits.batch_bytes;
            if !fits && batch.spans > 0 {
                break;
            }
            batch.spans += front.spans.len();
            bytes += front.bytes;
            batch.chunks.extend(state.chunks.pop_front());
        }
        state.spans -= batch.spans;
        state.bytes -= bytes;
        state.held_spans = batch.spans;
        state.held_bytes = bytes;
        batch
    }

    /// Drops from a batch what had to make room while its request was on its way. Returns whether
    /// anything was dropped.
    pub(super) fn settle(&self, batch: &mut Batch, counters: &SignalCounters) -> bool {
        let mut state = self.lock();
        let forfeit = std::mem::take(&mut state.forfeit);
        counters.set_queued(state.queued());
        drop(state);
        batch.drop_oldest(forfeit);
        counters.add_dropped(DropReason::QueueFull, forfeit as u64);
        forfeit > 0
    }

    /// A batch's fate is known: it counts as queued no more.
    pub(super) fn release(&self, mut batch: Batch, counters: &SignalCounters) {
        // The spans are freed here, without the lock.
        for chunk in &mut batch.chunks {
            chunk.spans.clear();
            chunk.bytes = 0;
        }
        let mut state = self.lock();
        state.held_spans = 0;
        state.held_bytes = 0;
        state.forfeit = 0;
        counters.set_queued(state.queued());
        let room = SPARE_CHUNKS.saturating_sub(state.spare.len());
        state.spare.extend(batch.chunks.drain(..).take(room));
    }

    /// Takes no further spans.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Drops everything that still waits, and what the exporter held.
    pub(super) fn clear(&self, counters: &SignalCounters) {
        let mut state = self.lock();
        counters.add_dropped(DropReason::Shutdown, state.queued());
        *state = State { closed: true, ..State::default() };
        counters.set_queued(0);
    }
}
