//! vigie's figures about itself, gathered from all stages when a snapshot is made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use vigie_common::counter::Counter;

use crate::export::otlp::{Counters as ExportCounters, DropReason, SignalCounters};
use crate::kernel::cost;
use crate::metrics::own::{OwnKind, OwnMetric, OwnPoint, SelfMetrics};
use crate::probe::counters::{Counters, Counts};
use crate::protocol::Problem;
use crate::watch::Published;

/// Everything that vigie counts about itself.
#[derive(Clone)]
pub struct Own {
    /// The kernel's counters.
    pub kernel: Arc<Counters>,
    /// What the watching thread published last.
    pub watch: Arc<Mutex<Published>>,
    /// The exporter's counters, where there is one.
    pub export: Option<Arc<ExportCounters>>,
}

/// What was seen and what is known to be lost, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Calls of which all was seen: those that have a span.
    pub seen: u64,
    /// Calls that lost a record and were counted in the kernel.
    pub undelivered: u64,
    /// What was lost, by reason; zeros included.
    pub by_reason: BTreeMap<&'static str, u64>,
}

impl Losses {
    /// From the kernel's counters and the watching thread's figures.
    pub fn of(counts: &Counts, published: &Published) -> Self {
        let flows = &published.figures.flows;
        let mut by_reason: BTreeMap<_, _> = counts.losses().collect();
        by_reason.insert("undecodable", published.undecodable);
        by_reason.insert("connection_evicted", flows.evicted);
        by_reason.insert("parser_memory", flows.relieved);
        Self {
            seen: published.figures.spans,
            undelivered: published.figures.undelivered,
            by_reason,
        }
    }

    /// What was lost in all.
    pub fn lost(&self) -> u64 {
        self.by_reason.values().sum()
    }

    /// Calls seen / (seen + known to be lost); 1 when there was nothing.
    ///
    /// What a full ring cost is known call by call: it is the number that the kernel counted. Of
    /// other losses it is not known which calls they were in, so each stands for one.
    pub fn completeness(&self) -> f64 {
        let ring_full = self.by_reason.get(Counter::LostRingFull.name()).copied().unwrap_or(0);
        let all = self.seen + self.undelivered + self.lost().saturating_sub(ring_full);
        if all == 0 { 1.0 } else { self.seen as f64 / all as f64 }
    }
}

impl Own {
    /// The figures now.
    pub fn gather(&self) -> SelfMetrics {
        let mut own = SelfMetrics::default();
        let counts = self.kernel.read();
        let published = self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kernel(&mut own, &counts);
        losses(&mut own, &Losses::of(&counts, &published));
        pipeline(&mut own, &published);
        if let Some(export) = &self.export {
            signal(&mut own, "traces", &export.traces);
            signal(&mut own, "metrics", &export.metrics);
        }
        own.set(CPU, cost::cpu_time().as_secs_f64());
        own.set(MEMORY, cost::resident_bytes());
        own
    }
}

fn kernel(own: &mut SelfMetrics, counts: &Counts) {
    own.set(SYSCALLS, counts.get(Counter::Syscalls));
    own.set(RECORDS, counts.get(Counter::Records));
    own.set(COPIED, counts.get(Counter::BytesCopied));
    own.set(UNREAD, counts.get(Counter::BytesUnread));
    own.set(PROCESS_MAP_FULL, counts.get(Counter::ProcessesFull));
    for (direction, counter) in [("received", Counter::BytesReceived), ("sent", Counter::BytesSent)]
    {
        own.set_by(TRAFFIC, "direction", direction, counts.get(counter));
    }
    for (state, counter) in [
        ("opened", Counter::ConnectionsOpened),
        ("closed", Counter::ConnectionsClosed),
        ("encrypted", Counter::ConnectionsEncrypted),
        ("uninteresting", Counter::ConnectionsUninteresting),
    ] {
        own.set_by(KERNEL_CONNECTIONS, "event", state, counts.get(counter));
    }
}

fn losses(own: &mut SelfMetrics, losses: &Losses) {
    for (reason, count) in &losses.by_reason {
        own.set_by(DROPPED, "reason", *reason, *count);
    }
    own.set(COMPLETENESS, losses.completeness());
}

fn pipeline(own: &mut SelfMetrics, published: &Published) {
    let figures = &published.figures;
    own.set(EVENTS, figures.events);
    own.set(SPANS, figures.spans);
    own.set(UNDELIVERED, figures.undelivered);
    own.set(SEEN_IN_PART, figures.seen_in_part);
    for (problem, count) in Problem::ALL.iter().zip(figures.problems) {
        own.set_by(PROBLEMS, "problem", problem.name(), count);
    }
    own.set(CONNECTIONS, figures.connections as u64);
    own.set(MID_STREAM, figures.flows.mid_stream);
    own.set(EXPIRED, figures.flows.expired);
    own.set(WITHOUT_OPEN, figures.flows.without_open);
    own.set(UNDECIDED, figures.flows.undecided);
    own.set(RECORDS_LOST, figures.flows.records_lost);
    own.set(MISSING, figures.flows.bytes_lost);
    own.set(UNJOINED, figures.refused_ends);
    own.set(ROUTES, figures.routes.kept);
    own.set(ROUTES_COLLAPSED, figures.routes.collapsed);
    let processes = &published.processes;
    own.set(PROCESSES, processes.known as u64);
    own.set(INSPECTED, processes.inspected);
    own.set(VANISHED, processes.vanished);
    own.set(EVICTED, processes.evicted);
    for program in &published.cost {
        own.set_by(PROBE_TIME, "program", program.name, program.seconds);
        own.set_by(PROBE_MEAN, "program", program.name, program.ns_per_run / 1e9);
    }
}

fn signal(own: &mut SelfMetrics, name: &'static str, counters: &SignalCounters) {
    own.set_by(EXPORT_QUEUED, "signal", name, counters.queued());
    own.set_by(EXPORT_SENT, "signal", name, counters.sent());
    own.set_by(EXPORT_RETRIES, "signal", name, counters.retries());
    for reason in DropReason::ALL {
        own.push(OwnPoint {
            metric: EXPORT_DROPPED,
            attributes: vec![("signal", name.into()), ("reason", reason.name().into())],
            value: counters.dropped(reason).into(),
        });
    }
}

const fn counter(name: &'static str, unit: &'static str, description: &'static str) -> OwnMetric {
    OwnMetric { name, unit, description, kind: OwnKind::Counter }
}

const fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> OwnMetric {
    OwnMetric { name, unit, description, kind: OwnKind::Gauge }
}

const SYSCALLS: OwnMetric =
    counter("vigie.syscalls", "{call}", "System calls of watched processes that were looked at.");
const RECORDS: OwnMetric =
    counter("vigie.records", "{record}", "Records handed over by the kernel programs.");
const COPIED: OwnMetric =
    counter("vigie.copied", "By", "Payload bytes copied by the kernel programs.");
const UNREAD: OwnMetric = counter(
    "vigie.unread",
    "By",
    "Bytes moved without user memory (sendfile, splice), counted by length.",
);
const PROCESS_MAP_FULL: OwnMetric = counter(
    "vigie.kernel.process_map_full",
    "{call}",
    "System calls of processes that found no room in the kernel's table; nothing is lost but time.",
);
const TRAFFIC: OwnMetric =
    counter("vigie.traffic", "By", "Bytes that went over connections of known protocols.");
const KERNEL_CONNECTIONS: OwnMetric = counter(
    "vigie.kernel.connections",
    "{connection}",
    "What happened to connections in the kernel programs.",
);
const DROPPED: OwnMetric = counter("vigie.records.dropped", "{record}", "Losses by reason.");
const COMPLETENESS: OwnMetric =
    gauge("vigie.completeness", "1", "Calls seen / (seen + known to be lost).");
const EVENTS: OwnMetric = counter("vigie.events", "{event}", "Events taken in by the pipeline.");
const SPANS: OwnMetric = counter("vigie.spans", "{span}", "Spans finished.");
const UNDELIVERED: OwnMetric = counter(
    "vigie.calls.undelivered",
    "{call}",
    "Calls that lost a record: counted by the kernel, without a span.",
);
const SEEN_IN_PART: OwnMetric = counter(
    "vigie.calls.seen_in_part",
    "{call}",
    "Calls of vigie.calls.undelivered of which some records came through.",
);
const PROBLEMS: OwnMetric =
    counter("vigie.problems", "{problem}", "What parsers could not make sense of.");
const CONNECTIONS: OwnMetric =
    gauge("vigie.connections", "{connection}", "Connections in the table.");
const MID_STREAM: OwnMetric = counter(
    "vigie.connections.mid_stream",
    "{connection}",
    "Connections that were older than vigie.",
);
const UNJOINED: OwnMetric = counter(
    "vigie.connections.unjoined",
    "{connection}",
    "Ends of connections that could not be kept for joining.",
);
const EXPIRED: OwnMetric = counter(
    "vigie.connections.expired",
    "{connection}",
    "Connections forgotten because they were idle for long.",
);
const WITHOUT_OPEN: OwnMetric = counter(
    "vigie.connections.without_open",
    "{connection}",
    "Connections whose opening record was not there before their first bytes.",
);
const UNDECIDED: OwnMetric = counter(
    "vigie.connections.undecided",
    "{time}",
    "Times that first bytes were dropped because it was not known in time what they were.",
);
const RECORDS_LOST: OwnMetric = counter(
    "vigie.connections.records_lost",
    "{record}",
    "Records lost on connections that were seen; they are in vigie.records.dropped, too.",
);
const MISSING: OwnMetric =
    counter("vigie.missing", "By", "Bytes missing between captured ones because of lost records.");
const ROUTES: OwnMetric =
    gauge("vigie.routes", "{route}", "Routes found by heuristic that are kept.");
const ROUTES_COLLAPSED: OwnMetric = counter(
    "vigie.routes.collapsed",
    "{path}",
    "Paths that were given a route with `*` because their service has too many.",
);
const PROCESSES: OwnMetric = gauge("vigie.processes", "{process}", "Processes that are known.");
const INSPECTED: OwnMetric =
    counter("vigie.processes.inspected", "{process}", "Processes looked at in /proc.");
const VANISHED: OwnMetric = counter(
    "vigie.processes.vanished",
    "{process}",
    "Processes that were gone before they were looked at, known from what the kernel told.",
);
const EVICTED: OwnMetric = counter(
    "vigie.processes.evicted",
    "{process}",
    "Processes forgotten because there were too many; they are looked at again.",
);
const PROBE_TIME: OwnMetric = counter(
    "vigie.probe.time",
    "s",
    "Time spent in each kernel program, estimated from short windows.",
);
const PROBE_MEAN: OwnMetric =
    gauge("vigie.probe.run.duration", "s", "Mean time of one run of each kernel program.");
const EXPORT_QUEUED: OwnMetric =
    gauge("vigie.export.queued", "{item}", "What waits to be exported.");
const EXPORT_SENT: OwnMetric =
    counter("vigie.export.sent", "{item}", "What the receiver has accepted.");
const EXPORT_RETRIES: OwnMetric =
    counter("vigie.export.retries", "{request}", "Requests that were tried again.");
const EXPORT_DROPPED: OwnMetric =
    counter("vigie.export.dropped", "{item}", "What was not exported, by reason.");
const CPU: OwnMetric = counter("vigie.cpu.time", "s", "CPU time of vigie.");
const MEMORY: OwnMetric = gauge("vigie.memory.resident", "By", "Resident memory of vigie.");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover;
    use crate::flow;
    use crate::pipeline::Figures;
    use crate::span::route::RouteStats;

    #[test]
    fn completeness_is_seen_of_all() {
        for (seen, undelivered, ring_full, other, expected) in [
            (0, 0, 0, 0, 1.0),
            (3, 1, 900, 0, 0.75),
            (3, 0, 900, 1, 0.75),
            (0, 5, 5, 0, 0.0),
            (3, 0, 7, 0, 1.0),
        ] {
            let by_reason =
                BTreeMap::from([("ring_full", ring_full), ("user_memory_unread", other)]);
            let losses = Losses { seen, undelivered, by_reason };
            assert!((losses.completeness() - expected).abs() < 1e-12, "{losses:?}");
        }
    }

    #[test]
    fn a_full_table_of_processes_is_no_loss() {
        let losses = Losses::of(&Counts::default(), &Published::default());
        assert!(losses.by_reason.contains_key("connection_map_full"));
        assert!(!losses.by_reason.contains_key(Counter::ProcessesFull.name()));
        let mut own = SelfMetrics::default();
        kernel(&mut own, &Counts::default());
        let name = "vigie.kernel.process_map_full";
        assert!(own.points().iter().any(|point| point.metric.name == name));
    }

    #[test]
    fn what_is_counted_is_exported() {
        let flows = flow::Stats {
            expired: 1,
            without_open: 2,
            undecided: 3,
            records_lost: 4,
            bytes_lost: 5,
            ..flow::Stats::default()
        };
        let routes = RouteStats { kept: 6, collapsed: 7 };
        let processes = discover::Stats { known: 8, inspected: 9, vanished: 10, evicted: 11 };
        let figures = Figures { flows, routes, ..Figures::default() };
        let published = Published { figures, processes, ..Published::default() };
        let mut own = SelfMetrics::default();
        pipeline(&mut own, &published);
        for (name, expected) in [
            ("vigie.connections.expired", 1),
            ("vigie.connections.without_open", 2),
            ("vigie.connections.undecided", 3),
            ("vigie.connections.records_lost", 4),
            ("vigie.missing", 5),
            ("vigie.routes", 6),
            ("vigie.routes.collapsed", 7),
            ("vigie.processes", 8),
            ("vigie.processes.inspected", 9),
            ("vigie.processes.vanished", 10),
            ("vigie.processes.evicted", 11),
        ] {
            let point = own.points().iter().find(|point| point.metric.name == name);
            assert_eq!(point.map(|point| point.value), Some(expected.into()), "{name}");
        }
    }
}
