//! Requests that wait for their responses, which come in the same order: what the parsers of
//! [`super::conversation`] share.

use std::collections::VecDeque;

use super::in_flight::{CallId, Look};
use super::{At, Call, Exchange, Role};
use crate::event::{MonoNs, Unit};
use crate::span::Flags;

/// A request on its way to being an exchange.
#[derive(Debug)]
pub struct Asked<T> {
    role: Role,
    start_ns: MonoNs,
    first_byte_ns: Option<MonoNs>,
    end_ns: MonoNs,
    unit: Unit,
    /// Tells it from others that began with the same system call; 0 while it does not wait.
    pub sequence: u32,
    /// What was not seen whole.
    pub flags: Flags,
    /// What the protocol knows of it.
    pub item: T,
}

impl<T> Asked<T> {
    /// A request that began at `at`, the circumstances of its first byte.
    pub fn new(role: Role, at: &At, item: T) -> Self {
        let start_ns = match role {
            Role::Server => at.exit_ns,
            Role::Client => at.enter_ns,
        };
        Self {
            role,
            start_ns,
            first_byte_ns: None,
            end_ns: start_ns,
            unit: at.unit,
            sequence: 0,
            flags: Flags::none(),
            item,
        }
    }

    /// Bytes of its response went by. The first of them are told apart from the others.
    pub fn answered(&mut self, at: &At) {
        self.first_byte_ns.get_or_insert(at.exit_ns);
        self.end_ns = self.end_ns.max(at.exit_ns);
    }

    /// Whether a byte of its response was seen.
    pub fn is_answered(&self) -> bool {
        self.first_byte_ns.is_some()
    }

    /// The connection ended, or it is given up.
    pub fn ended(&mut self, time_ns: MonoNs) {
        self.end_ns = self.end_ns.max(time_ns);
    }

    /// The exchange, with what was called. `call` is made from the item.
    pub fn into_exchange(self, call: impl FnOnce(T) -> Call) -> Exchange {
        Exchange {
            id: CallId::new(self.start_ns, self.sequence),
            role: self.role,
            start_ns: self.start_ns,
            first_byte_ns: self.first_byte_ns,
            end_ns: self.end_ns,
            unit: self.unit,
            context: None,
            flags: self.flags,
            call: call(self.item),
            undelivered: false,
        }
    }

    /// Shows it as it stands, unless its end may have gone by unseen. `call` is made from the item.
    pub fn show(&self, now: MonoNs, look: &mut dyn Look, call: impl FnOnce(&T) -> Call) {
        let is_unsure = self.flags.has(Flags::LOSSY | Flags::DURATION_UNTRUSTED);
        if is_unsure || !look.wants(self.start_ns) {
            return;
        }
        look.show(Exchange {
            id: CallId::new(self.start_ns, self.sequence),
            role: self.role,
            start_ns: self.start_ns,
            first_byte_ns: None,
            end_ns: now.max(self.start_ns),
            unit: self.unit,
            context: None,
            flags: self.flags,
            call: call(&self.item),
            undelivered: false,
        });
    }

    /// As [`Self::into_exchange`], of one whose response was not seen whole: its duration is not
    /// trusted.
    pub fn into_unseen(
        mut self,
        why: Flags,
        time_ns: MonoNs,
        call: impl FnOnce(T) -> Call,
    ) -> Exchange {
        self.flags.set(why | Flags::DURATION_UNTRUSTED);
        self.ended(time_ns);
        self.into_exchange(call)
    }
}

/// The queue, of bounded length.
#[derive(Debug)]
pub struct Waiting<T> {
    entries: VecDeque<Asked<T>>,
    limit: usize,
    /// Requests behind the last entry for which there was no room. They are reported already; their
    /// responses are passed over.
    overflow: u64,
    /// Sequence of the last entry so far.
    sequence: u32,
}

/// Length up to which memory is kept when the queue runs empty.
const KEPT_CAPACITY: usize = 4;

impl<T> Waiting<T> {
    /// At most so many requests.
    pub fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, overflow: 0, sequence: 0 }
    }

    /// Adds a request. Gives it back when there is no room: it is to be reported at once
    /// ([`super::Problem::TooManyInFlight`]), and its response is passed over in its turn.
    #[must_use]
    pub fn push(&mut self, mut asked: Asked<T>) -> Option<Asked<T>> {
        if self.overflow > 0 || self.entries.len() >= self.limit {
            self.overflow += 1;
            return Some(asked);
        }
        // 0 is for those that never waited.
        self.sequence = self.sequence.wrapping_add(1).max(1);
        asked.sequence = self.sequence;
        self.entries.push_back(asked);
        None
    }

    /// The request whose response comes next; `None` when there is none, or it is one that had no room.
    pub fn front_mut(&mut self) -> Option<&mut Asked<T>> {
        self.entries.front_mut()
    }

    /// The request whose response comes next.
    pub fn front(&self) -> Option<&Asked<T>> {
        self.entries.front()
    }

    /// The request that was sent last.
    pub fn back_mut(&mut self) -> Option<&mut Asked<T>> {
        if self.overflow > 0 { None } else { self.entries.back_mut() }
    }

    /// A response is whole: takes the request that it answers. `None` when that had no room, or there is
    /// none; [`Self::is_empty`] tells these apart before.
    pub fn pop(&mut self) -> Option<Asked<T>> {
        let Some(asked) = self.entries.pop_front() else {
            self.overflow = self.overflow.saturating_sub(1);
            return None;
        };
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        Some(asked)
    }

    /// Takes all, and forgets those that had no room.
    pub fn drain(&mut self) -> VecDeque<Asked<T>> {
        self.overflow = 0;
        std::mem::take(&mut self.entries)
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Asked<T>> {
        self.entries.iter()
    }

    /// All, the oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Asked<T>> {
        self.entries.iter_mut()
    }

    /// Requests that wait, those without room included.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64 + self.overflow
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory in use besides the value itself and what the items own.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Asked<T>>()
    }
}
