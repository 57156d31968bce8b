//! gRPC over HTTP/2: its messages, and the status of calls that ended without one.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use crate::span::rpc::GrpcStatus;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How much earlier than its deadline a call may end because of it, at most: the client counts from
/// before it wrote the timeout.
const MAX_SLACK_NS: u64 = 5_000_000;

/// Counts the messages of one direction of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the message to come.
    left: u64,
    count: u64,
    /// Where the messages begin is not known any more, or they are none.
    lost: bool,
}

impl Messages {
    /// Takes in bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost {
            let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
            self.left -= passed as u64;
            rest = rest.get(passed..).unwrap_or_default();
            let Some((byte, after)) = rest.split_first() else { return };
            if let Some(place) = self.prefix.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
            rest = after;
            if self.have == PREFIX {
                let [compressed, length @ ..] = self.prefix;
                self.have = 0;
                self.left = u32::from_be_bytes(length).into();
                self.count += 1;
                self.lost = compressed > 1;
            }
        }
    }

    /// So many bytes went by unseen.
    pub(super) fn gap(&mut self, count: Option<u32>) {
        match count.and_then(|count| self.left.checked_sub(count.into())) {
            Some(left) if self.have == 0 => self.left = left,
            _ => self.lost = true,
        }
    }

    /// More of them went by unseen than can be told.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether the first one has begun.
    pub(super) fn has_begun(&self) -> bool {
        !self.lost && self.count > 0
    }

    /// Whether there are some, each as long as it says, and nothing else.
    pub(super) fn are_whole(&self) -> bool {
        self.has_begun() && self.have == 0 && self.left == 0
    }

    /// Messages so far, where they could all be told apart.
    pub(super) fn count(&self) -> Option<u64> {
        (!self.lost).then_some(self.count)
    }
}

/// What stands for the status of a call whose stream was reset with this code, after so long.
pub(super) fn of_reset(code: u32, spent_ns: u64, timeout_ns: Option<u64>) -> GrpcStatus {
    match code {
        7 => GrpcStatus::UNAVAILABLE,
        8 if timeout_ns.is_some_and(|timeout_ns| is_over(spent_ns, timeout_ns)) => {
            GrpcStatus::DEADLINE_EXCEEDED
        }
        8 => GrpcStatus::CANCELLED,
        11 => GrpcStatus::RESOURCE_EXHAUSTED,
        12 => GrpcStatus::PERMISSION_DENIED,
        0..=4 | 6 | 9 | 10 => GrpcStatus::INTERNAL,
        _ => GrpcStatus::UNKNOWN,
    }
}

fn is_over(spent_ns: u64, timeout_ns: u64) -> bool {
    spent_ns.saturating_add((timeout_ns / 20).min(MAX_SLACK_NS)) >= timeout_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, length];
        bytes.extend(vec![1; length.into()]);
        bytes
    }

    #[test]
    fn messages_are_counted_over_any_boundary() {
        let bytes: Vec<u8> = [3, 0, 200, 1].into_iter().flat_map(message).collect();
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            bytes.chunks(size).for_each(|bytes| messages.read(bytes));
            assert_eq!(messages.count(), Some(4), "{size}");
            assert!(messages.are_whole());
        }
    }

    #[test]
    fn what_was_skipped_within_a_message_changes_nothing() {
        let mut messages = Messages::default();
        messages.read(&message(100)[..20]);
        messages.gap(Some(85));
        messages.read(&message(2));
        assert_eq!(messages.count(), Some(2));
        messages.gap(Some(1));
        assert_eq!(messages.count(), None);
    }

    #[test]
    fn bytes_without_prefixes_are_not_counted() {
        let mut messages = Messages::default();
        messages.read(b"{\"json\": true}");
        assert_eq!(messages.count(), None);
    }

    #[test]
    fn resets_and_deadlines() {
        let name = |code, spent, timeout| of_reset(code, spent, timeout).name();
        assert_eq!(name(8, 50_000_000, None), "CANCELLED");
        assert_eq!(name(8, 50_000_000, Some(100_000_000)), "CANCELLED");
        assert_eq!(name(8, 99_000_000, Some(100_000_000)), "DEADLINE_EXCEEDED");
        assert_eq!(name(7, 0, None), "UNAVAILABLE");
        assert_eq!(name(2, 0, None), "INTERNAL");
    }
}
