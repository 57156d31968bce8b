//! The one list of reasons for a loss, kernel and user, and how much was lost for each.
//!
//! A stage counts where it loses something; this module says what each count means, what to do
//! about it, and whether figures are missing (completeness) or only details. Reports, `vigie check`,
//! metrics and documents all name reasons as this list does. What is bounded without a loss (series
//! summed into one, routes with `*`) is not here.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;
use vigie_common::counter::Counter;

use crate::export::otlp::{Counters as ExportCounters, DropReason, SignalCounters};
use crate::probe::counters::Counts;
use crate::protocol::Problem;
use crate::watch::Published;

/// What a loss takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Calls may be missing in every figure: completeness falls.
    Figures,
    /// The calls that it touched are counted in the kernel, without spans: completeness falls, counts
    /// are right.
    Counted,
    /// Counts are right; names or other details are missing.
    Details,
}

macro_rules! reasons {
    ($(#[doc = $doc:literal] $name:ident = $text:literal, $unit:literal, $effect:ident, $todo:literal;)*) => {
        /// Why something was lost.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $doc] $name,)*
        }

        impl Reason {
            /// All reasons, in the order of the data's way.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Name as exported: lower case, words joined by `_`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What is counted, in the singular: `record`, `connection`, `span`.
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$name => $unit,)* }
            }

            /// What is missing because of it.
            pub const fn effect(self) -> Effect {
                match self { $(Self::$name => Effect::$effect,)* }
            }

            /// What happened, in one sentence: the comment above the reason.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $doc.trim_ascii(),)* }
            }

            /// What to do about it.
            pub const fn todo(self) -> &'static str {
                match self { $(Self::$name => $todo,)* }
            }
        }
    };
}

reasons! {
    /// The reader was too slow for a burst, and a ring had no room.
    RingFull = "ring_full", "record", Counted, "raise `capture.ring_bytes`, or give vigie more CPU";
    /// Working memory of a CPU was in use by the call that this one interrupted.
    ScratchBusy = "scratch_busy", "call", Figures, "nothing; report it if it is more than a few";
    /// The kernel left out a run of a program: another thread was preempted in the middle of it.
    SkippedByKernel = "skipped_by_kernel", "run", Figures, "set `capture.backend` to one that `vigie check` calls exact; see docs/backends.md";
    /// The kernel left out a run of a program that sees processes and connections come and go.
    LifeSkipped = "life_skipped", "run", Details, "nothing; what ended is found by its age";
    /// The bytes of a call were in a kind of memory that vigie does not read.
    IteratorUnread = "iterator_unread", "call", Figures, "report it with the program and the kernel";
    /// Too many calls at once for the table of the kprobe backend.
    InFlightFull = "in_flight_full", "call", Figures, "nothing; report it with the kernel's release";
    /// The kernel did not follow a call to its return.
    ReturnMissed = "return_missed", "call", Figures, "set `capture.backend` to another one";
    /// Too many connections at once; new ones were not seen.
    ConnectionMapFull = "connection_map_full", "call", Figures, "raise `capture.max_connections`";
    /// Bytes were not in memory, or not there any more.
    UserMemoryUnread = "user_memory_unread", "read", Figures, "nothing; it is rare";
    /// A call had more pieces of memory within the budget than are followed.
    IovecBound = "iovec_bound", "call", Figures, "nothing";
    /// A `sendmmsg` or `recvmmsg` had more messages than are followed.
    MessageBound = "message_bound", "call", Figures, "nothing";
    /// A kernel structure on the way to a socket could not be read.
    KernelMemoryUnread = "kernel_memory_unread", "call", Figures, "report it with the kernel's release";
    /// A call of a 32-bit program, which is not read.
    CompatSyscall = "compat_syscall", "call", Figures, "nothing; 32-bit programs are not captured";
    /// Records were not made because the budget was spent.
    Shed = "shed", "record", Counted, "raise `limits.cpu` or `limits.memory`, or watch fewer processes";
    /// A call that lost a record could not be counted in the kernel: the table for it was full.
    UndeliveredMapFull = "undelivered_map_full", "call", Figures, "raise `capture.ring_bytes`";
    /// A record of HTTP/2 was lost where the kernel did not know where frames begin: its calls are not counted.
    Http2Lost = "http2_lost", "read or write", Figures, "raise `capture.ring_bytes`, or give vigie more CPU";
    /// A record of a connection of a database or the like was lost: those calls are not counted in the kernel.
    DatabaseLost = "database_lost", "read or write", Figures, "raise `capture.ring_bytes`, or give vigie more CPU";
    /// A datagram of DNS found no room in a ring, or was left out because the budget was spent.
    DnsLost = "dns_lost", "datagram", Figures, "raise `capture.ring_bytes`, or give vigie more CPU";
    /// The end of a connection found room neither in a ring nor in the table for it.
    CloseMapFull = "close_map_full", "connection", Figures, "raise `capture.ring_bytes`";
    /// User space did not know a record: a fault in vigie.
    Undecodable = "undecodable", "record", Figures, "report it";
    /// Too many connections; those idle for longest were forgotten, with what was in flight.
    ConnectionEvicted = "connection_evicted", "connection", Figures, "raise `capture.max_connections`";
    /// All parsers together reached their memory; one forgot what it had in flight.
    ParserMemory = "parser_memory", "connection", Figures, "raise `limits.parser_memory`";
    /// Bytes of a connection are missing that no lost record explains: before it was recognised.
    FlowGap = "flow_gap", "gap", Details, "nothing";
    /// First bytes were dropped because it was not known in time what they were.
    ClassUndecided = "class_undecided", "connection", Details, "nothing";
    /// A parser could not make sense of a message.
    ParserProblem = "parser_problem", "message", Details, "see the problem's name in docs/capture.md";
    /// An end of a connection could not be kept for joining; its peer is shown by address.
    PeerTableFull = "peer_table_full", "connection", Details, "raise `capture.max_connections`";
    /// Spans were neither printed nor exported because the budget was spent; they are counted.
    SpansShed = "spans_shed", "span", Details, "raise `limits.cpu` or `limits.memory`";
    /// The export queue was full; the oldest went.
    QueueFull = "queue_full", "item", Details, "look at the receiver, or raise `otlp.queue_bytes`";
    /// The receiver refused the request, or answered what vigie does not understand.
    ExportFailed = "export_failed", "item", Details, "look at the receiver and at vigie's log";
    /// The receiver took the request and rejected a part of it.
    ExportRejected = "export_rejected", "item", Details, "look at the receiver's log";
    /// The time for the last flush was over.
    ExportShutdown = "export_shutdown", "item", Details, "look at the receiver";
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Reason {
    /// The reason that a counter of the kernel programs stands for, if it does for one.
    pub const fn of_kernel(counter: Counter) -> Option<Self> {
        match counter {
            Counter::LostRingFull => Some(Self::RingFull),
            Counter::LostScratchBusy => Some(Self::ScratchBusy),
            Counter::LostIteratorUnread => Some(Self::IteratorUnread),
            Counter::LostConnectionsFull => Some(Self::ConnectionMapFull),
            Counter::LostUserMemory => Some(Self::UserMemoryUnread),
            Counter::LostIovecBound => Some(Self::IovecBound),
            Counter::LostMessageBound => Some(Self::MessageBound),
            Counter::LostKernelMemory => Some(Self::KernelMemoryUnread),
            Counter::LostCompatSyscall => Some(Self::CompatSyscall),
            Counter::LostInFlightFull => Some(Self::InFlightFull),
            Counter::LostReturnMissed => Some(Self::ReturnMissed),
            Counter::LostShed => Some(Self::Shed),
            Counter::LostUndeliveredFull => Some(Self::UndeliveredMapFull),
            Counter::LostClosesFull => Some(Self::CloseMapFull),
            Counter::LostHttp2 => Some(Self::Http2Lost),
            Counter::LostDatabase => Some(Self::DatabaseLost),
            Counter::LostDns => Some(Self::DnsLost),
            Counter::Syscalls
            | Counter::BytesReceived
            | Counter::BytesSent
            | Counter::Records
            | Counter::BytesCopied
            | Counter::ConnectionsOpened
            | Counter::ConnectionsClosed
            | Counter::ConnectionsEncrypted
            | Counter::ConnectionsUninteresting
            | Counter::ProcessesFull
            | Counter::BytesUnread => None,
        }
    }

    /// The reason that the exporter's stands for; none where totals are not affected.
    const fn of_export(reason: DropReason) -> Option<Self> {
        match reason {
            DropReason::QueueFull => Some(Self::QueueFull),
            DropReason::ExportFailed => Some(Self::ExportFailed),
            DropReason::Rejected => Some(Self::ExportRejected),
            DropReason::Shutdown => Some(Self::ExportShutdown),
            DropReason::Superseded => None,
        }
    }
}

/// How much was lost for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: Reason,
    /// What tells it from others of the same reason: `("problem", "malformed_request")`,
    /// `("signal", "traces")`.
    pub detail: Option<(&'static str, &'static str)>,
    /// How much, in [`Reason::unit`].
    pub count: u64,
}

/// What was seen and what is known to be lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Calls of which all was seen: those that have a span.
    pub seen: u64,
    /// Calls that lost a record and were counted in the kernel.
    pub undelivered: u64,
    /// Each reason once, or once for each detail; zeros included.
    pub losses: Vec<Loss>,
}

impl Losses {
    /// From the kernel's counters, the watching thread's figures and, where there is one, the
    /// exporter's.
    pub fn of(counts: &Counts, published: &Published, export: Option<&ExportCounters>) -> Self {
        let figures = &published.figures;
        let flows = &figures.flows;
        let kernel = Counter::ALL.iter().filter_map(|&counter| {
            Reason::of_kernel(counter).map(|reason| (reason, counts.get(counter)))
        });
        let user = [
            (Reason::SkippedByKernel, published.skipped_runs.calls),
            (Reason::LifeSkipped, published.skipped_runs.life),
            (Reason::Undecodable, published.undecodable),
            (Reason::ConnectionEvicted, flows.evicted + published.kernel_evicted),
            (Reason::ParserMemory, flows.relieved),
            (Reason::FlowGap, flows.gaps),
            (Reason::ClassUndecided, flows.undecided),
            (Reason::PeerTableFull, figures.refused_ends),
            (Reason::SpansShed, figures.spans_shed),
        ];
        let whole = kernel.chain(user).map(|(reason, count)| Loss { reason, detail: None, count });
        let problems = Problem::ALL.iter().zip(figures.problems).map(|(problem, count)| {
            let detail = Some(("problem", problem.name()));
            Loss { reason: Reason::ParserProblem, detail, count }
        });
        let mut losses: Vec<Loss> = whole.chain(problems).collect();
        if let Some(export) = export {
            losses.extend(of_signal("traces", &export.traces));
            losses.extend(of_signal("metrics", &export.metrics));
        }
        Self { seen: figures.spans, undelivered: figures.undelivered, losses }
    }

    /// How much was lost for each reason, zeros left out.
    pub fn by_reason(&self) -> BTreeMap<Reason, u64> {
        let mut by_reason = BTreeMap::new();
        for loss in self.losses.iter().filter(|loss| loss.count > 0) {
            *by_reason.entry(loss.reason).or_default() += loss.count;
        }
        by_reason
    }

    /// What was lost that costs more than details.
    pub fn lost(&self) -> u64 {
        self.sum(Effect::Figures) + self.sum(Effect::Counted)
    }

    /// Calls seen / (seen + known to be lost); 1 when there was nothing.
    ///
    /// What a full ring cost is known call by call: it is the number that the kernel counted. Of
    /// other losses it is not known which calls they were in, so each stands for one.
    pub fn completeness(&self) -> f64 {
        let all = self.seen + self.undelivered + self.sum(Effect::Figures);
        if all == 0 { 1.0 } else { self.seen as f64 / all as f64 }
    }

    /// Losses that may have cost a call in every figure, each of which stands for one.
    pub fn figures(&self) -> u64 {
        self.sum(Effect::Figures)
    }

    fn sum(&self, effect: Effect) -> u64 {
        self.losses
            .iter()
            .filter(|loss| loss.reason.effect() == effect)
            .map(|loss| loss.count)
            .sum()
    }
}

fn of_signal(signal: &'static str, counters: &SignalCounters) -> impl Iterator<Item = Loss> {
    DropReason::ALL.into_iter().filter_map(move |reason| {
        let count = counters.dropped(reason);
        Reason::of_export(reason).map(|reason| Loss {
            reason,
            detail: Some(("signal", signal)),
            count,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{flow, pipeline::Figures};

    #[test]
    fn every_reason_is_named_once_and_explained() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(!reason.meaning().is_empty() && !reason.todo().is_empty(), "{reason:?}");
        }
    }

    #[test]
    fn a_kernel_counter_and_its_reason_have_one_name() {
        for counter in Counter::ALL {
            if let Some(reason) = Reason::of_kernel(*counter) {
                assert_eq!(reason.name(), counter.name());
            }
        }
        assert_eq!(Reason::of_kernel(Counter::ProcessesFull), None);
    }

    #[test]
    fn the_documents_list_every_reason() {
        let text = include_str!("../../docs/capture.md");
        for reason in Reason::ALL {
            let line = format!("| `{}` |", reason.name());
            assert!(text.contains(&line), "docs/capture.md has no {line}");
        }
    }

    #[test]
    fn every_reason_is_counted_exactly_once() {
        let export = ExportCounters::default();
        let losses = Losses::of(&Counts::default(), &Published::default(), Some(&export));
        for reason in Reason::ALL {
            let mut entries = losses.losses.iter().filter(|loss| loss.reason == *reason);
            assert!(entries.clone().next().is_some(), "{reason:?} is never counted");
            let mut details = HashSet::new();
            assert!(entries.all(|loss| details.insert(loss.detail)), "{reason:?} counted twice");
        }
    }

    #[test]
    fn details_do_not_lower_completeness() {
        let flows = flow::Stats { undecided: 5, gaps: 6, evicted: 2, ..flow::Stats::default() };
        let figures = Figures { flows, spans_shed: 7, ..Figures::default() };
        let published = Published { figures, kernel_evicted: 1, ..Published::default() };
        let losses = Losses { seen: 9, ..Losses::of(&Counts::default(), &published, None) };
        assert_eq!(losses.lost(), 3);
        assert!((losses.completeness() - 0.75).abs() < 1e-9);
        // Of a full ring the calls count, not the records.
        let ring = Loss { reason: Reason::RingFull, detail: None, count: 900 };
        let full = Losses { seen: 3, undelivered: 1, losses: vec![ring] };
        assert_eq!(full.lost(), 900);
        assert!((full.completeness() - 0.75).abs() < 1e-9);
        assert_eq!(losses.by_reason().get(&Reason::SpansShed), Some(&7));
    }
}
