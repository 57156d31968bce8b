//! vigie's figures about itself, gathered from all stages when a snapshot is made.

use std::sync::{Arc, Mutex, PoisonError};

use vigie_common::counter::Counter;

use crate::export::otlp::{Counters as ExportCounters, DropReason, SignalCounters};
use crate::governor::{Level, State};
use crate::kernel::cost;
use crate::loss::Losses;
use crate::metrics::own::{OwnKind, OwnMetric, OwnPoint, SelfMetrics};
use crate::pipeline::Figures;
use crate::probe::counters::{Counters, Counts};
use crate::probe::libraries;
use crate::slo::live::Known;
use crate::slo::telling::Telling;
use crate::slo::{self, Objectives};
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
    /// Service level objectives, where there are any.
    pub slo: Option<Arc<Objectives>>,
    /// Those who are told of alerts.
    pub telling: Option<Arc<Telling>>,
}

impl Own {
    /// The figures now.
    pub fn gather(&self) -> SelfMetrics {
        let mut own = SelfMetrics::default();
        let counts = self.kernel.read();
        let published = self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kernel(&mut own, &counts);
        losses(&mut own, &Losses::of(&counts, &published, self.export.as_deref()));
        pipeline(&mut own, &published);
        if let Some(export) = &self.export {
            signal(&mut own, "traces", &export.traces);
            signal(&mut own, "metrics", &export.metrics);
        }
        own.set(CPU, cost::cpu_time().as_secs_f64());
        own.set(MEMORY, cost::resident_bytes());
        libraries(&mut own, published.libraries);
        if let Some(slos) = &self.slo {
            slo::own(slos, &mut own);
        }
        if let Some(telling) = &self.telling {
            slo::alerts(telling, &mut own);
        }
        budget(&mut own, &published.budget);
        own
    }
}

impl Own {
    /// Calls seen and lost since the start, as SLOs take it.
    pub fn seen(&self) -> Known {
        let published = self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let losses = Losses::of(&self.kernel.read(), &published, None);
        Known { calls: losses.seen + losses.undelivered, lost: losses.figures() }
    }

    /// What is given up at the moment to keep within the budget, in one line; none if nothing is.
    pub fn sheds(&self) -> Option<String> {
        let state = self.watch.lock().unwrap_or_else(PoisonError::into_inner).budget;
        (state.level > Level::Full).then(|| {
            let State { budget, level, usage, .. } = state;
            format!(
                "over budget, level {}: {} (CPU {:.1} % of {:.1} %, memory {} of {} MiB)",
                level.name(),
                level.gives_up(),
                usage.cpu * 100.0,
                budget.cpu * 100.0,
                usage.memory >> 20,
                budget.memory >> 20
            )
        })
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
    for loss in &losses.losses {
        let mut attributes = vec![("reason", loss.reason.name().into())];
        attributes.extend(loss.detail.map(|(key, value)| (key, value.into())));
        own.push(OwnPoint { metric: DROPPED, attributes, value: loss.count.into() });
    }
    own.set(COMPLETENESS, losses.completeness());
}

fn budget(own: &mut SelfMetrics, state: &State) {
    own.set(SHED_LEVEL, state.level as u64);
    own.set(SHED_TIME, state.shed_for.as_secs_f64());
    own.set(CPU_SHARE, state.usage.cpu);
}

fn libraries(own: &mut SelfMetrics, stats: libraries::Stats) {
    for (state, count) in
        [("attached", stats.attached), ("refused", stats.refused), ("left_out", stats.left_out)]
    {
        own.set_by(LIBRARIES, "state", state, count);
    }
}

fn lookups(own: &mut SelfMetrics, figures: &Figures) {
    let stats = &figures.lookups;
    for (kind, count) in [
        ("read", stats.messages),
        ("other", stats.others),
        ("apart", stats.apart),
        ("unmatched", stats.unmatched),
        ("evicted", stats.evicted),
    ] {
        own.set_by(DNS_MESSAGES, "kind", kind, count);
    }
    own.set(SEARCHES, figures.searches.searches);
    own.set(SEARCH_ATTEMPTS, figures.searches.attempts);
    own.set(SEARCHES_EVICTED, figures.searches.evicted);
    own.set(NAMED_ADDRESSES, figures.named.known as u64);
    own.set(NAMED_EVICTED, figures.named.evicted);
}

fn pipeline(own: &mut SelfMetrics, published: &Published) {
    let figures = &published.figures;
    own.set(EVENTS, figures.events);
    own.set(SPANS, figures.spans);
    own.set(UNDELIVERED, figures.undelivered);
    own.set(SEEN_IN_PART, figures.seen_in_part);
    own.set(CONNECTIONS, figures.connections as u64);
    lookups(own, figures);
    own.set(MID_STREAM, figures.flows.mid_stream);
    own.set(EXPIRED, figures.flows.expired);
    own.set(WITHOUT_OPEN, figures.flows.without_open);
    own.set(RECORDS_LOST, figures.flows.records_lost);
    own.set(MISSING, figures.flows.bytes_lost);
    own.set(ROUTES, figures.routes.kept);
    own.set(ROUTES_COLLAPSED, figures.routes.collapsed);
    let processes = &published.processes;
    own.set(PROCESSES, processes.known as u64);
    own.set(INSPECTED, processes.inspected);
    own.set(VANISHED, processes.vanished);
    own.set(EVICTED, processes.evicted);
    own.set(KERNEL_CONNECTIONS_HELD, published.kernel_connections);
    for (event, count) in [("idle", published.kernel_idle), ("evicted", published.kernel_evicted)] {
        own.set_by(KERNEL_CONNECTIONS, "event", event, count);
    }
    for map in &published.maps {
        own.set_by(MAP_MEMORY, "map", map.name.clone(), map.bytes);
        own.set_by(MAP_CAPACITY, "map", map.name.clone(), map.max_entries);
    }
    for program in &published.cost {
        own.set_by(PROBE_TIME, "program", program.name.clone(), program.seconds);
        own.set_by(PROBE_RUNS, "program", program.name.clone(), program.runs.round());
        own.set_by(PROBE_MEAN, "program", program.name.clone(), program.ns_per_run / 1e9);
    }
}

fn signal(own: &mut SelfMetrics, name: &'static str, counters: &SignalCounters) {
    own.set_by(EXPORT_QUEUED, "signal", name, counters.queued());
    own.set_by(EXPORT_SENT, "signal", name, counters.sent());
    own.set_by(EXPORT_RETRIES, "signal", name, counters.retries());
    own.set_by(EXPORT_SUPERSEDED, "signal", name, counters.dropped(DropReason::Superseded));
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
const DROPPED: OwnMetric = counter(
    "vigie.records.dropped",
    "{item}",
    "What was lost, by reason; docs/capture.md says of each what is counted.",
);
const SHED_LEVEL: OwnMetric = gauge(
    "vigie.shed.level",
    "{level}",
    "What is given up to keep within the budget: 0 nothing, 1 payload, 2 spans, 3 all but counts.",
);
const SHED_TIME: OwnMetric =
    counter("vigie.shed.time", "s", "Time for which something was given up.");
const CPU_SHARE: OwnMetric = gauge(
    "vigie.cpu.usage",
    "1",
    "CPU time of vigie and its kernel programs in the last second, as a share of the machine.",
);
const KERNEL_CONNECTIONS_HELD: OwnMetric =
    gauge("vigie.kernel.connections.held", "{connection}", "Connections in the kernel's table.");
const MAP_MEMORY: OwnMetric =
    gauge("vigie.kernel.map.memory", "By", "Memory of each map, as the kernel accounts it.");
const MAP_CAPACITY: OwnMetric = gauge(
    "vigie.kernel.map.capacity",
    "{entry}",
    "Entries that each map holds at most; bytes of a ring.",
);
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
const CONNECTIONS: OwnMetric =
    gauge("vigie.connections", "{connection}", "Connections in the table.");
const DNS_MESSAGES: OwnMetric = OwnMetric {
    name: "vigie.dns.messages",
    unit: "{message}",
    description: "Datagrams that look like DNS: messages read; others that are none; those of multicast \
                  DNS and the like, left apart; answers without a question; questions given up \
                  because too many waited.",
    kind: OwnKind::Counter,
};
const SEARCHES: OwnMetric = counter(
    "vigie.dns.searches",
    "{search}",
    "Searches: names that were looked up with several suffixes of a search list.",
);
const SEARCH_ATTEMPTS: OwnMetric =
    counter("vigie.dns.search.attempts", "{lookup}", "Look-ups that searches took.");
const SEARCHES_EVICTED: OwnMetric = counter(
    "vigie.dns.searches.evicted",
    "{lookup}",
    "Look-ups in vain that were forgotten early to make room: a next try is shown by itself.",
);
const LIBRARIES: OwnMetric = counter(
    "vigie.dns.getaddrinfo.libraries",
    "{library}",
    "C libraries whose getaddrinfo is measured, could not be attached to, or were too many.",
);
const NAMED_ADDRESSES: OwnMetric = OwnMetric {
    name: "vigie.dns.addresses",
    unit: "{address}",
    description: "Addresses whose names are known from answers.",
    kind: OwnKind::Gauge,
};
const NAMED_EVICTED: OwnMetric = OwnMetric {
    name: "vigie.dns.addresses.evicted",
    unit: "{address}",
    description: "Names of addresses that were forgotten to make room.",
    kind: OwnKind::Counter,
};
const MID_STREAM: OwnMetric = counter(
    "vigie.connections.mid_stream",
    "{connection}",
    "Connections that were older than vigie.",
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
const RECORDS_LOST: OwnMetric = counter(
    "vigie.connections.records_lost",
    "{record}",
    "Records lost on connections that were seen; they are in vigie.records.dropped, too.",
);
const MISSING: OwnMetric = counter("vigie.missing", "By", "Bytes missing between captured ones.");
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
const PROBE_RUNS: OwnMetric =
    counter("vigie.probe.runs", "{run}", "Runs of each kernel program, estimated likewise.");
const PROBE_MEAN: OwnMetric =
    gauge("vigie.probe.run.duration", "s", "Mean time of one run of each kernel program.");
const EXPORT_QUEUED: OwnMetric =
    gauge("vigie.export.queued", "{item}", "What waits to be exported.");
const EXPORT_SENT: OwnMetric =
    counter("vigie.export.sent", "{item}", "What the receiver has accepted.");
const EXPORT_RETRIES: OwnMetric =
    counter("vigie.export.retries", "{request}", "Requests that were tried again.");
const EXPORT_SUPERSEDED: OwnMetric = counter(
    "vigie.export.superseded",
    "{item}",
    "Points whose place was taken by newer ones of the same series; totals are not affected.",
);
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
    fn a_full_table_of_processes_is_no_loss() {
        let losses = Losses::of(&Counts::default(), &Published::default(), None);
        let name = Counter::ProcessesFull.name();
        assert!(losses.losses.iter().all(|loss| loss.reason.name() != name));
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
