//! What became of everything that was to be sent, per address.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::receiver::{Address, Receiver};

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection, or it broke.
    Connect,
    /// No whole answer in time.
    Timeout,
    /// Too much at once, says the receiver: 408, 425, 429.
    Throttled,
    /// The receiver's own failure: 5xx.
    Server,
    /// Refused: any other 4xx. Not tried again.
    Refused,
    /// Sent elsewhere: 3xx. Not followed, not tried again.
    Redirected,
    /// A secret could not be read.
    Secret,
    /// A template did not render. Not tried again.
    Template,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Timeout,
        Self::Throttled,
        Self::Server,
        Self::Refused,
        Self::Redirected,
        Self::Secret,
        Self::Template,
    ];

    /// Name as exported.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Server => "server_error",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::Secret => "secret",
            Self::Template => "template",
        }
    }

    /// Whether another try may do better.
    pub const fn may_pass(self) -> bool {
        !matches!(self, Self::Refused | Self::Redirected | Self::Template)
    }
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue was full; the oldest went.
    QueueFull,
    /// A try failed that is not repeated.
    GivenUp,
    /// It could not be sent for a day.
    TooOld,
    /// Its incident was over before it could be told, for `PagerDuty`: nobody is called for nothing.
    Superseded,
    /// For Alertmanager: it was over by its own `endsAt`, or long told to others.
    Expired,
    /// The beginning that it ends was never told.
    Untold,
    /// The time for the last tries was over. Transitions are told after the next start.
    Shutdown,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::QueueFull,
        Self::GivenUp,
        Self::TooOld,
        Self::Superseded,
        Self::Expired,
        Self::Untold,
        Self::Shutdown,
    ];

    /// Name as exported.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::GivenUp => "given_up",
            Self::TooOld => "too_old",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Untold => "untold",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Figures of one address, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Name of the receiver.
    pub receiver: String,
    /// `alertmanager`, `pagerduty`, `slack` or `webhook`.
    pub kind: &'static str,
    /// Scheme and host, or where the secret is that has them.
    pub address: String,
    /// Orders that were taken.
    pub sent: u64,
    /// Tries after one that failed.
    pub retried: u64,
    /// Orders that wait.
    pub queued: u64,
    /// Tries that failed, by reason.
    pub failed: [(Failure, u64); Failure::ALL.len()],
    /// Orders that were not sent, by reason.
    pub dropped: [(DropReason, u64); DropReason::ALL.len()],
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    retried: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn sent(&self, orders: u64) {
        self.sent.fetch_add(orders, Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, failure: Failure) {
        if let Some(count) = self.failed.get(failure as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn dropped(&self, reason: DropReason, orders: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(orders, Relaxed);
        }
    }

    pub(super) fn figures(&self, receiver: &Receiver, address: &Address, queued: u64) -> Figures {
        let read = |counts: &[AtomicU64], index: usize| {
            counts.get(index).map_or(0, |count| count.load(Relaxed))
        };
        Figures {
            receiver: receiver.name.clone(),
            kind: receiver.kind.word(),
            address: address.to_string(),
            sent: self.sent.load(Relaxed),
            retried: self.retried.load(Relaxed),
            queued,
            failed: Failure::ALL.map(|failure| (failure, read(&self.failed, failure as usize))),
            dropped: DropReason::ALL.map(|reason| (reason, read(&self.dropped, reason as usize))),
        }
    }
}
