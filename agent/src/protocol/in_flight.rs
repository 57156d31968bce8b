//! Requests that have no end yet, as they stand: for whoever must know of them before they end.
//!
//! A parser shows what is in flight to a [`Look`] without changing anything. It shows what surely waits
//! for its answer: left out are requests
//!
//! - whose head is not complete, or whose end may have gone by unseen (a loss, a part that was not
//!   copied, requests before it that were not seen);
//! - that the kernel counts ([`Exchange::undelivered`]);
//! - that wait by intent (blocking commands, long polls), or may never be answered by their own wish.
//!
//! An upgraded connection and a tunnel have no request in flight: that one ended with the upgrade.

use super::Exchange;
use crate::event::{ConnectionId, MonoNs};

/// What tells a call from the others that are or were in flight: the same while it is and when it has
/// ended.
///
/// Calls that were never in flight as far as was seen (nobody was to answer, or the answer came first)
/// have 0 as their sequence, and may share an id with others that began with the same system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    /// Its connection; 0 for look-ups over UDP, which have none.
    pub connection: ConnectionId,
    /// When it began.
    pub start_ns: MonoNs,
    /// Tells those apart that began with the same system call: a place in the order of requests, a
    /// stream, a message's own number.
    pub sequence: u32,
}

impl CallId {
    /// Of a call whose parser does not know its connection: that is added on the way.
    pub fn new(start_ns: MonoNs, sequence: u32) -> Self {
        Self { connection: ConnectionId(0), start_ns, sequence }
    }
}

/// Who looks at requests in flight.
pub trait Look {
    /// Whether a request is to be shown that began at `start_ns`. Asked once for each.
    fn wants(&mut self, start_ns: MonoNs) -> bool;

    /// A request that is wanted, as far as it is known: with nothing of an answer, and with the time of
    /// the look as its end.
    fn show(&mut self, exchange: Exchange);
}

/// When the requests began that a look could show; shows none.
#[derive(Debug)]
pub struct Starts {
    started: std::ops::Range<MonoNs>,
    starts: Vec<MonoNs>,
}

impl Starts {
    /// Of those that began in `started`.
    pub fn new(started: std::ops::Range<MonoNs>) -> Self {
        Self { started, starts: Vec::new() }
    }

    /// How many so far.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The oldest `most` of them (more only where they began in the same nanosecond).
    pub fn oldest(mut self, most: usize) -> Looked {
        let all = self.starts.len();
        if all <= most {
            return Looked { shown: all, left: 0, until: self.started.end };
        }
        let (oldest, first_left, _) = self.starts.select_nth_unstable(most);
        // Else a look that begins there would never come further.
        let least = oldest.iter().min().map_or(0, |oldest| oldest.saturating_add(1));
        let until = least.max(*first_left);
        let shown = self.starts.iter().filter(|start| **start < until).count();
        Looked { shown, left: all - shown, until }
    }
}

impl Look for Starts {
    fn wants(&mut self, start_ns: MonoNs) -> bool {
        if self.started.contains(&start_ns) {
            self.starts.push(start_ns);
        }
        false
    }

    fn show(&mut self, _: Exchange) {}
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Requests that were shown.
    pub shown: usize,
    /// Requests that were not, because there were too many.
    pub left: usize,
    /// Those that began before were shown: where the next look may begin.
    pub until: MonoNs,
}

/// Shows requests that began within a range.
#[derive(Debug)]
pub struct Shown<F> {
    /// The range.
    pub started: std::ops::Range<MonoNs>,
    /// Who takes them.
    pub each: F,
}

impl<F: FnMut(Exchange)> Look for Shown<F> {
    fn wants(&mut self, start_ns: MonoNs) -> bool {
        self.started.contains(&start_ns)
    }

    fn show(&mut self, exchange: Exchange) {
        (self.each)(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_oldest_are_shown() {
        let check = |starts: &[MonoNs], most, expected: (usize, usize, MonoNs)| {
            let mut begun = Starts::new(10..20);
            assert!(!starts.iter().any(|start| begun.wants(*start)), "none is shown yet");
            let Looked { shown, left, until } = begun.oldest(most);
            assert_eq!((shown, left, until), expected, "{starts:?} {most}");
        };
        check(&[], 2, (0, 0, 20));
        check(&[9, 10, 19, 20], 2, (2, 0, 20));
        check(&[15, 11, 13], 2, (2, 1, 15));
        check(&[15, 11, 13, 13], 2, (1, 3, 13));
        check(&[13, 13, 13, 14], 2, (3, 1, 14));
    }
}
