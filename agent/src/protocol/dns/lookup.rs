//! One look-up over UDP: what is kept while it waits, and what comes of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::message::{INTERNET, Question, Response};
use crate::event::{Address, ConnectionId, MonoNs, Open, ProcessKey, Unit};
use crate::protocol::in_flight::CallId;
use crate::protocol::{Call, Exchange, Role};
use crate::span::Flags;
use crate::span::dns::{DnsCall, DnsTransport};

/// How long a question waits for its answer.
pub const TIMEOUT_NS: u64 = 5_000_000_000;

/// How much later it is given up: resolver libraries ask again after five seconds, too.
pub(super) const GRACE_NS: u64 = 500_000_000;

/// What a datagram has in common with its answer, beside the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageKey {
    pub(super) role: Role,
    pub(super) socket: u64,
    pub(super) id: u16,
}

/// Who asks, or is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asker {
    pub(super) role: Role,
    pub(super) process: ProcessKey,
    pub(super) question: Arc<Question>,
}

/// A question on its way to its answer.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) sequence: u32,
    pub(super) asker: Asker,
    pub(super) unit: Unit,
    pub(super) start_ns: MonoNs,
    /// Of the last attempt.
    pub(super) last_ns: MonoNs,
    pub(super) attempts: u32,
    pub(super) keys: Vec<MessageKey>,
    pub(super) network_namespace: u32,
    pub(super) local: Address,
    pub(super) remote: Option<Address>,
    /// Datagrams were lost while it waited.
    pub(super) lossy: bool,
    /// A cut answer, and when it came.
    pub(super) cut: Option<(MonoNs, Response)>,
}

/// A look-up that is over.
#[derive(Debug)]
pub struct Found {
    /// What was asked and answered.
    pub exchange: Exchange,
    /// Its ends; `None` where the other one was never told.
    pub open: Option<Arc<Open>>,
    /// The process at the other end, where it is on this node.
    pub other: Option<ProcessKey>,
}

/// An answer that names addresses, as a client got it.
#[derive(Debug)]
pub struct Answer {
    /// When.
    pub time_ns: MonoNs,
    /// Where the addresses mean something.
    pub network_namespace: u32,
    /// What was asked for.
    pub question: Arc<Question>,
    /// Addresses, with the seconds for which they hold.
    pub addresses: Vec<(IpAddr, u32)>,
}

impl Answer {
    /// Takes the addresses out of a look-up over TCP, which has no more use for them.
    pub fn take(exchange: &mut Exchange, network_namespace: u32) -> Option<Self> {
        let Call::Dns(call) = &mut exchange.call else { return None };
        let addresses = std::mem::take(&mut call.addresses);
        if exchange.role == Role::Server || addresses.is_empty() {
            return None;
        }
        let (name, kind) = (call.name.clone(), call.kind.clone());
        let question = Arc::new(Question { name, kind, class: INTERNET });
        Some(Self { time_ns: exchange.end_ns, network_namespace, question, addresses })
    }
}

impl Lookup {
    /// What tells it from others.
    pub(super) fn id(&self) -> CallId {
        CallId::new(self.start_ns, self.sequence)
    }

    /// While it waits.
    pub(super) fn so_far(&self, now: MonoNs) -> Found {
        // The flag keeps it from being one that timed out.
        let mut found = self.clone().into_found(now, None, Flags::NO_RESPONSE);
        found.exchange.flags = Flags::none();
        found
    }

    /// What came of it, with or without an answer.
    pub(super) fn into_found(
        self,
        end_ns: MonoNs,
        response: Option<&Response>,
        flags: Flags,
    ) -> Found {
        let id = self.id();
        let Self { asker, unit, local, network_namespace, .. } = self;
        let open = self.remote.map(|remote| {
            Arc::new(Open {
                connection: ConnectionId(0),
                time_ns: self.start_ns,
                process: unit.process,
                comm: String::new(),
                from_start: true,
                network_namespace,
                local,
                remote,
            })
        });
        let call = DnsCall {
            name: asker.question.name.clone(),
            kind: asker.question.kind.clone(),
            code: response.map(|response| response.code),
            answers: response.map(|response| response.answers),
            attempts: self.attempts,
            transport: DnsTransport::Udp,
            truncated: response.is_some_and(|response| response.truncated),
            timed_out: response.is_none() && !flags.has(Flags::NO_RESPONSE),
            search: None,
            addresses: Vec::new(),
        };
        let exchange = Exchange {
            id,
            role: asker.role,
            start_ns: self.start_ns,
            first_byte_ns: response.map(|_| end_ns),
            end_ns,
            unit,
            context: None,
            flags,
            call: Call::Dns(Box::new(call)),
            undelivered: false,
        };
        Found { exchange, open, other: None }
    }
}

/// When a question is given up whose last attempt was at this time.
pub(super) fn deadline(last_ns: MonoNs) -> MonoNs {
    last_ns.saturating_add(TIMEOUT_NS + GRACE_NS)
}
