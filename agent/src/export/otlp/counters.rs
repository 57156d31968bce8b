//! What became of everything that was to be exported.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why something was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue was full; the oldest went.
    QueueFull,
    /// The receiver refused the request, or answered what vigie does not understand.
    ExportFailed,
    /// The receiver took the request and rejected a part of it (partial success).
    Rejected,
    /// The time for the last flush was over.
    Shutdown,
    /// Metrics only: newer points of the same cumulative series took their place before the
    /// receiver could be reached. Totals are not affected.
    Superseded,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::QueueFull, Self::ExportFailed, Self::Rejected, Self::Shutdown, Self::Superseded];

    /// Name as exported.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
            Self::Superseded => "superseded",
        }
    }
}

/// Figures of one signal, since the start. Items are spans or metric data points.
///
/// At any time `offered = queued + sent + dropped`, as long as nobody is between two updates.
#[derive(Debug, Default)]
pub struct SignalCounters {
    offered: AtomicU64,
    queued: AtomicU64,
    sent: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    requests: AtomicU64,
    request_bytes: AtomicU64,
    retries: AtomicU64,
}

impl SignalCounters {
    /// Items that were handed in.
    pub fn offered(&self) -> u64 {
        self.offered.load(Relaxed)
    }

    /// Items that wait or are on their way.
    pub fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// Items that the receiver took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Items that were not delivered, by reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Items that were not delivered, in all.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Requests that the receiver took.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Bytes of these requests, before compression and framing.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes.load(Relaxed)
    }

    /// Requests that were sent once more.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    pub(super) fn add_offered(&self, items: u64) {
        self.offered.fetch_add(items, Relaxed);
    }

    pub(super) fn set_queued(&self, items: u64) {
        self.queued.store(items, Relaxed);
    }

    pub(super) fn add_dropped(&self, reason: DropReason, items: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(items, Relaxed);
        }
    }

    pub(super) fn add_accepted(&self, items: u64, rejected: u64, bytes: u64) {
        // A receiver that rejects more than it got is taken to have rejected all.
        let rejected = rejected.min(items);
        self.sent.fetch_add(items - rejected, Relaxed);
        self.add_dropped(DropReason::Rejected, rejected);
        self.requests.fetch_add(1, Relaxed);
        self.request_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }
}

/// Figures of both signals, for vigie's own metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans.
    pub traces: SignalCounters,
    /// Metric data points.
    pub metrics: SignalCounters,
}
