//! When to try again: exponential back-off with jitter, or when the receiver says.
//!
//! OTLP specification, "Failures" and "OTLP/HTTP throttling".

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The longest wait that a receiver may ask for. By then the queue has long been dropping.
const MAX_ASKED: Duration = Duration::from_mins(5);

/// Bounds of the back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Before the second try. Default 1 s.
    pub initial: Duration,
    /// Longest wait. Default 30 s.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

/// Waits between tries of one request.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: RetryPolicy,
    next: Duration,
    random: RandomState,
    tries: u64,
}

impl Backoff {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, next: policy.initial, random: RandomState::new(), tries: 0 }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.policy.initial;
    }

    /// How long to wait now: what the receiver asked for, else between the half and the whole of
    /// the back-off, which doubles up to its maximum.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.policy.max);
        if let Some(asked) = asked {
            return asked.min(MAX_ASKED);
        }
        self.tries += 1;
        // A keyed hash of a counter is random enough to keep agents from knocking together.
        let jitter = self.random.hash_one(self.tries) % 1024;
        let half = whole / 2;
        half + half * u32::try_from(jitter).unwrap_or(0) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_maximum_and_starts_anew() {
        let mut backoff = Backoff::new(RetryPolicy::default());
        for whole in [1, 2, 4, 8, 16, 30, 30] {
            let whole = Duration::from_secs(whole);
            let wait = backoff.wait(None);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.wait(None) <= Duration::from_secs(1));
    }

    #[test]
    fn the_receiver_has_the_word_within_bounds() {
        let mut backoff = Backoff::new(RetryPolicy::default());
        let asked = Duration::from_secs(7);
        assert_eq!(backoff.wait(Some(asked)), asked);
        assert_eq!(backoff.wait(Some(Duration::from_secs(100_000))), MAX_ASKED);
    }
}
