//! Requests whose response is not complete, in the order in which they were sent.

use std::collections::VecDeque;

use super::half::Start;
use super::head::RequestHead;
use crate::event::MonoNs;
use crate::protocol::in_flight::CallId;
use crate::protocol::rpc::Rpc;
use crate::protocol::{Call, Exchange, Role};
use crate::span::Flags;
use crate::span::http::{HttpCall, HttpError, Method};

/// Length of the queue up to which its memory is kept when it runs empty.
const KEPT_CAPACITY: usize = 4;

/// A request on its way to being an exchange.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) role: Role,
    pub(super) start_ns: MonoNs,
    pub(super) end_ns: MonoNs,
    pub(super) first_byte_ns: Option<MonoNs>,
    start: Start,
    context: Option<crate::span::TraceContext>,
    pub(super) call: HttpCall,
    pub(super) flags: Flags,
    /// Its response probably went by unseen, and why.
    pub(super) unseen: Flags,
    /// It waits for leave to send its body.
    pub(super) expects_continue: bool,
    /// Tells it from others that began with the same system call; 0 while it is not in the queue.
    sequence: u32,
    /// The number that the kernel gave it, 0 where it is not told. Pipelined requests share one.
    pub(super) number: u32,
    /// The kernel counts it.
    pub(super) undelivered: bool,
    /// It is a call of a remote procedure.
    pub(super) rpc: Option<Rpc>,
}

impl InFlight {
    pub(super) fn new(role: Role, head: RequestHead, start: Start, flags: Flags) -> Self {
        let start_ns = match role {
            Role::Server => start.exit_ns,
            Role::Client => start.enter_ns,
        };
        Self {
            role,
            start_ns,
            end_ns: start_ns,
            first_byte_ns: None,
            start,
            context: head.context,
            flags,
            unseen: Flags::none(),
            expects_continue: head.expects_continue,
            sequence: 0,
            number: 0,
            undelivered: false,
            rpc: head.rpc,
            call: HttpCall {
                version: head.version,
                method: head.method,
                path: head.path,
                host: head.host,
                status: None,
                request_body: None,
                response_body: None,
                user_agent: head.user_agent,
                error: None,
            },
        }
    }

    pub(super) fn is(&self, method: &'static str) -> bool {
        matches!(self.call.method, Method::Known(known) if known == method)
    }

    /// As it stands. Inlined, as the exchange is else copied once more on the way of each call.
    #[inline]
    pub(super) fn into_exchange(self) -> Exchange {
        Exchange {
            id: CallId::new(self.start_ns, self.sequence),
            role: self.role,
            start_ns: self.start_ns,
            first_byte_ns: self.first_byte_ns,
            end_ns: self.end_ns.max(self.start_ns),
            unit: self.start.unit,
            context: self.context,
            flags: self.flags,
            call: match self.rpc {
                Some(rpc) => Call::Grpc(Box::new(rpc.call(self.call))),
                None => Call::Http(self.call),
            },
            undelivered: self.undelivered,
        }
    }

    /// Whether its response cannot have gone by unseen, as far as is known, and it is not the kernel's.
    pub(super) fn surely_waits(&self) -> bool {
        !self.undelivered
            && self.unseen == Flags::none()
            && !self.flags.has(Flags::LOSSY | Flags::DURATION_UNTRUSTED)
    }

    /// While it is in flight: nothing of its response.
    pub(super) fn so_far(&self, now: MonoNs) -> Exchange {
        let mut entry = self.clone();
        entry.first_byte_ns = None;
        entry.end_ns = now;
        entry.call.status = None;
        if let Some(rpc) = &mut entry.rpc {
            rpc.status = None;
        }
        entry.into_exchange()
    }

    /// Its response was not seen: no status is known, and no duration.
    pub(super) fn into_unseen(mut self, why: Flags, time_ns: MonoNs) -> Exchange {
        self.flags.set(why | Flags::DURATION_UNTRUSTED);
        self.end_ns = time_ns;
        self.into_exchange()
    }

    /// The connection ended before its response was whole.
    pub(super) fn into_broken(mut self, error: HttpError, time_ns: MonoNs) -> Exchange {
        if self.call.status.is_none() {
            self.flags.set(Flags::NO_RESPONSE);
        }
        self.call.error = Some(error);
        self.end_ns = time_ns;
        self.into_exchange()
    }
}

/// The queue, of bounded length.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<InFlight>,
    limit: usize,
    /// Entries taken from the front so far.
    taken: u64,
    /// Requests behind the last entry for which there was no room. They are reported already;
    /// their responses are passed over.
    pub(super) overflow: u64,
}

impl Queue {
    /// At most so many requests.
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, taken: 0, overflow: 0 }
    }

    /// Whether another request finds room and its response can be told from those before.
    pub(super) fn has_room(&self) -> bool {
        self.overflow == 0 && self.entries.len() < self.limit
    }

    /// Adds a request and gives its number. Ask [`Self::has_room`] first.
    pub(super) fn push(&mut self, mut entry: InFlight) -> u64 {
        let number = self.taken + self.entries.len() as u64;
        // 0 is for those that never were in the queue.
        entry.sequence = u32::try_from(number & 0x7fff_ffff).map_or(0, |number| number + 1);
        self.entries.push_back(entry);
        number
    }

    /// Takes the front. Inlined, as the request is else copied once more on the way of each call.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<InFlight> {
        let entry = self.entries.pop_front()?;
        self.taken += 1;
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// Takes the front if its response went by unseen.
    pub(super) fn pop_unseen(&mut self) -> Option<InFlight> {
        let unseen = self.entries.front()?.unseen != Flags::none();
        if unseen { self.pop() } else { None }
    }

    /// Number of the front, or of the next request when there is none.
    pub(super) fn front_number(&self) -> u64 {
        self.taken
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut InFlight> {
        self.entries.front_mut()
    }

    /// The request with that number, unless it was taken.
    pub(super) fn numbered(&mut self, number: u64) -> Option<&mut InFlight> {
        let index = usize::try_from(number.checked_sub(self.taken)?).ok()?;
        self.entries.get_mut(index)
    }

    /// All, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut InFlight> {
        self.entries.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory in use besides the value itself, texts estimated.
    pub(super) fn memory(&self) -> usize {
        const TEXTS: usize = 128;
        self.entries.capacity() * size_of::<InFlight>() + self.entries.len() * TEXTS
    }
}
