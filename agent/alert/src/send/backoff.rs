//! When to try again: a back-off that doubles, with jitter, or when the receiver says.

use std::time::Duration;

use super::Policy;

/// The longest wait that a receiver may ask for.
const MAX_ASKED: Duration = Duration::from_mins(5);

pub(super) struct Backoff {
    policy: Policy,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, next: policy.first_wait }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.policy.first_wait;
    }

    /// How long to wait now: at least what was asked for, else between the half and the whole of the
    /// back-off.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.policy.max_wait);
        match asked {
            Some(asked) => asked.min(MAX_ASKED),
            None => whole / 2 + (whole / 2).mul_f64(fastrand::f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_within_its_bounds() {
        let mut backoff = Backoff::new(Policy::default());
        for whole in [1, 2, 4, 8, 16, 30, 30] {
            let (whole, wait) = (Duration::from_secs(whole), backoff.wait(None));
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        assert_eq!(backoff.wait(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.wait(Some(Duration::from_secs(100_000))), MAX_ASKED);
        backoff.reset();
        assert!(backoff.wait(None) <= Duration::from_secs(1));
    }
}
