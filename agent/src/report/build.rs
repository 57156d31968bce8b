//! From a snapshot to a report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{
    BudgetReport, DnsReport, DnsSearchReport, DurationReport, EdgeReport, EndpointReport, Loss,
    Meta, Report, ServiceReport,
};
use crate::governor::State;
use crate::metrics::durations::Durations;
use crate::metrics::snapshot::{Edge, LookupPoint, Point, SearchPoint, ServiceSnapshot, Snapshot};
use crate::span::{Service, SpanKind};

pub(super) fn report(snapshot: &Snapshot, meta: Meta) -> Report {
    let mut error = 0.0;
    let mut services: Vec<ServiceReport> = snapshot
        .services
        .iter()
        .map(|service| service_report(service, &meta.service_cpu_s, meta.duration_s, &mut error))
        .collect();
    services.sort_by_cached_key(|service| {
        let weights = service.endpoints.iter().map(weight);
        let total = weights.fold((0, 0), |(e, t), (errors, time)| (e + errors, t + time));
        (Reverse(total), service.name.clone(), service.namespace.clone())
    });
    let mut edges: Vec<&Edge> = snapshot.edges.iter().filter(|edge| edge.count > 0).collect();
    edges.sort_by_key(|edge| Reverse((edge.errors, nanoseconds(seen(edge).sum_s()))));
    let edges = edges.into_iter().map(|edge| edge_report(edge, &mut error)).collect();

    let dns = dns(&snapshot.lookups, &mut error);
    let dns_searches = dns_searches(&snapshot.searches, &mut error);

    Report {
        version: 1,
        host: meta.host,
        kernel: meta.kernel,
        backend: meta.backend,
        started_unix_nano: meta.started_unix_nano,
        duration_s: meta.duration_s,
        services,
        edges,
        dns,
        dns_searches,
        slo: meta.slo,
        loss: Loss {
            records_dropped: meta.losses.lost(),
            by_reason: meta.losses.by_reason(),
            completeness: meta.losses.completeness(),
            calls_undelivered: meta.losses.undelivered,
            connections_mid_stream: meta.connections_mid_stream,
        },
        cost: meta.cost,
        budget: budget(&meta.budget),
        percentile_error: error,
        exit_code: meta.exit_code,
    }
}

fn dns(lookups: &[LookupPoint], error: &mut f64) -> Vec<DnsReport> {
    let mut lookups: Vec<&LookupPoint> = lookups.iter().collect();
    lookups.sort_by_key(|lookup| Reverse((lookup.errors, nanoseconds(lookup.durations.sum_s()))));
    let report = |lookup: &LookupPoint| {
        let durations = duration_report(&lookup.durations, error);
        DnsReport {
            name: lookup.name.to_string(),
            record_type: lookup.record_type.to_string(),
            count: lookup.count,
            errors: lookup.errors,
            p50_s: durations.map(|durations| durations.p50),
            max_s: durations.map(|durations| durations.max),
            queries: lookup.queries,
            search_attempts: lookup.search_attempts,
            stub: lookup.stub,
        }
    };
    lookups.into_iter().map(report).collect()
}

fn dns_searches(searches: &[SearchPoint], error: &mut f64) -> Vec<DnsSearchReport> {
    let mut searches: Vec<&SearchPoint> = searches.iter().collect();
    searches.sort_by_key(|search| Reverse(nanoseconds(search.durations.sum_s())));
    let report = |search: &SearchPoint| {
        let durations = duration_report(&search.durations, error);
        DnsSearchReport {
            name: search.name.to_string(),
            record_type: search.record_type.to_owned(),
            found: search.found.as_deref().map(str::to_owned),
            count: search.count,
            attempts: search.attempts,
            p50_s: durations.map(|durations| durations.p50),
            max_s: durations.map(|durations| durations.max),
        }
    };
    searches.into_iter().map(report).collect()
}

fn budget(state: &State) -> BudgetReport {
    BudgetReport {
        cpu: state.budget.cpu,
        memory_bytes: state.budget.memory,
        level: state.level.name(),
        highest_level: state.highest.name(),
        shed_s: state.shed_for.as_secs_f64(),
    }
}

/// Series of one endpoint, joined.
#[derive(Default)]
struct Endpoint {
    count: u64,
    errors: u64,
    untrusted: u64,
    durations: Durations,
    statuses: BTreeMap<String, u64>,
}

impl Endpoint {
    fn add(&mut self, point: &Point) {
        self.count += point.count;
        self.errors += point.errors;
        self.untrusted += point.untrusted;
        self.durations.merge(&point.durations);
        if let Some(status) = point.labels.status() {
            *self.statuses.entry(status).or_default() += point.count;
        }
    }
}

fn service_report(
    service: &ServiceSnapshot,
    cpu_s: &HashMap<Arc<Service>, f64>,
    duration_s: f64,
    error: &mut f64,
) -> ServiceReport {
    let mut joined: BTreeMap<(SpanKind, &'static str, String, Option<&str>), Endpoint> =
        BTreeMap::new();
    for point in &service.points {
        let labels = &point.labels;
        let identity = (labels.kind(), labels.protocol(), labels.endpoint(), point.peer.as_deref());
        joined.entry(identity).or_default().add(point);
    }
    let mut endpoints: Vec<(SpanKind, EndpointReport)> = joined
        .into_iter()
        .map(|((kind, protocol, name, peer), endpoint)| {
            let report = EndpointReport {
                kind: kind.name(),
                protocol,
                name,
                count: endpoint.count,
                errors: endpoint.errors,
                rate_per_s: if duration_s > 0.0 { endpoint.count as f64 / duration_s } else { 0.0 },
                duration_s: duration_report(&endpoint.durations, error),
                peer: peer.map(ToOwned::to_owned),
                statuses: endpoint.statuses,
                untrusted: endpoint.untrusted,
            };
            (kind, report)
        })
        .collect();
    // The sort is stable: those that weigh the same stay in the order of their names.
    endpoints.sort_by_key(|(kind, endpoint)| (*kind, Reverse(weight(endpoint))));

    let mut pids: Vec<u32> = service.processes.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let representative = service.representative();
    ServiceReport {
        name: service.service.name.to_string(),
        namespace: service.service.namespace.to_string(),
        pids,
        language: representative.and_then(|process| process.language).map(ToOwned::to_owned),
        container: representative
            .and_then(|process| process.container.as_deref())
            .map(ToOwned::to_owned),
        endpoints: endpoints.into_iter().map(|(_, endpoint)| endpoint).collect(),
        cpu_s: cpu_s.get(&service.service).copied(),
    }
}

/// What an endpoint is sorted by: errors, then time in all.
fn weight(endpoint: &EndpointReport) -> (u64, u64) {
    let mean = endpoint.duration_s.map_or(0.0, |durations| durations.mean);
    (endpoint.errors, nanoseconds(mean * (endpoint.count - endpoint.untrusted) as f64))
}

/// Seconds as something that can be ordered.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn duration_report(durations: &Durations, error: &mut f64) -> Option<DurationReport> {
    let report = DurationReport {
        min: durations.min_s()?,
        mean: durations.mean_s()?,
        p50: durations.quantile_s(0.5)?,
        p90: durations.quantile_s(0.9)?,
        p99: durations.quantile_s(0.99)?,
        max: durations.max_s()?,
    };
    *error = f64::max(*error, durations.exponential().relative_error());
    Some(report)
}

/// The client's view of an edge where there is one.
fn seen(edge: &Edge) -> &Durations {
    if edge.client_durations.count() > 0 { &edge.client_durations } else { &edge.server_durations }
}

fn edge_report(edge: &Edge, error: &mut f64) -> EdgeReport {
    let durations = duration_report(seen(edge), error);
    EdgeReport {
        client: edge.client.name().to_owned(),
        server: edge.server.name().to_owned(),
        protocol: edge.protocol,
        count: edge.count,
        errors: edge.errors,
        p50_s: durations.map(|durations| durations.p50),
        p99_s: durations.map(|durations| durations.p99),
    }
}
