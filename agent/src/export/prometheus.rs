//! A snapshot as Prometheus text (exposition format 0.0.4) or `OpenMetrics` 1.0 text.
//!
//! Names follow OpenTelemetry's compatibility with Prometheus: dots become `_`, the
//! unit and `_total` become suffixes. The identity of the observed service is in the labels
//! `service_name` and `service_namespace` (absent where there is none) of each series, not in `job`
//! and `instance`: those belong to the scrape, one endpoint speaks for many services, and the
//! dashboards of like tools ask for `service_name`. `target_info` has the same labels to join by,
//! and the other resource attributes of the service.
//!
//! Histograms hold calls whose duration was seen whole; `vigie_durations_untrusted_total` says how
//! many are missing.

mod names;
mod text;

use std::collections::BTreeMap;

pub use self::text::Format;
use self::text::{Kind, Labels, Writer};
use crate::metrics::durations::Durations;
use crate::metrics::own::{Number, OwnKind, OwnPoint, Recorded};
use crate::metrics::snapshot::{Edge, Exemplar, Metric, Point, ServiceSnapshot, Snapshot};

/// The whole page.
pub fn render(snapshot: &Snapshot, format: Format) -> String {
    let mut page = Writer::new(format);
    calls(&mut page, snapshot);
    service_graph(&mut page, snapshot);
    target_info(&mut page, snapshot);
    own(&mut page, snapshot);
    recorded(&mut page, snapshot);
    page.finish()
}

fn calls(page: &mut Writer, snapshot: &Snapshot) {
    let mut families: BTreeMap<Metric, Vec<(&ServiceSnapshot, &Point)>> = BTreeMap::new();
    for service in &snapshot.services {
        for point in service.points.iter().filter(|point| point.durations.count() > 0) {
            families.entry(point.metric).or_default().push((service, point));
        }
    }
    for (metric, points) in families {
        let name = names::metric(metric.name(), metric.unit(), Kind::Histogram);
        page.family(&name, Kind::Histogram, metric.description());
        for (service, point) in points {
            let mut labels = service_labels(service);
            point.labels.attributes(|key, value| labels.add(&names::label(key), value));
            histogram(page, &name, &labels, snapshot, &point.durations, &point.exemplars);
        }
    }
}

fn service_labels(service: &ServiceSnapshot) -> Labels {
    let mut labels = Labels::default();
    labels.add("service_name", &service.service.name);
    if !service.service.namespace.is_empty() {
        labels.add("service_namespace", &service.service.namespace);
    }
    labels
}

fn histogram(
    page: &mut Writer,
    name: &str,
    labels: &Labels,
    snapshot: &Snapshot,
    durations: &Durations,
    exemplars: &[Exemplar],
) {
    let bounds = snapshot.bounds.seconds().iter().copied().chain([f64::INFINITY]);
    let mut below = 0;
    for (position, (bound, count)) in bounds.zip(durations.buckets()).enumerate() {
        below += count;
        let exemplar = exemplars.iter().find(|exemplar| exemplar.bucket == position);
        page.bucket(name, labels, bound, below, exemplar);
    }
    page.sample(name, "_sum", labels, Number::Real(durations.sum_s()));
    page.sample(name, "_count", labels, Number::Whole(durations.count()));
}

/// Name, help and values of a histogram of edges.
type Side = (&'static str, &'static str, fn(&Edge) -> &Durations);

fn service_graph(page: &mut Writer, snapshot: &Snapshot) {
    const REQUEST: &str = "traces_service_graph_request_total";
    const FAILED: &str = "traces_service_graph_request_failed_total";
    const CLIENT: &str = "traces_service_graph_request_client_seconds";
    const SERVER: &str = "traces_service_graph_request_server_seconds";

    let edges: Vec<(Labels, Edge)> =
        snapshot.service_graph().into_iter().map(|edge| (edge_labels(&edge), edge)).collect();
    if edges.is_empty() {
        return;
    }
    page.family(REQUEST, Kind::Counter, "Calls between two services.");
    for (labels, edge) in &edges {
        page.sample(REQUEST, "", labels, Number::Whole(edge.count));
    }
    page.family(FAILED, Kind::Counter, "Calls between two services that failed.");
    for (labels, edge) in &edges {
        page.sample(FAILED, "", labels, Number::Whole(edge.errors));
    }
    let sides: [Side; 2] = [
        (CLIENT, "Duration of calls between two services as seen by the client.", |edge| {
            &edge.client_durations
        }),
        (SERVER, "Duration of calls between two services as seen by the server.", |edge| {
            &edge.server_durations
        }),
    ];
    for (name, help, side) in sides {
        if edges.iter().any(|(_, edge)| side(edge).count() > 0) {
            page.family(name, Kind::Histogram, help);
        }
        for (labels, edge) in edges.iter().filter(|(_, edge)| side(edge).count() > 0) {
            histogram(page, name, labels, snapshot, side(edge), &[]);
        }
    }
}

fn edge_labels(edge: &Edge) -> Labels {
    let mut labels = Labels::default();
    labels.add("client", edge.client.name());
    labels.add("server", edge.server.name());
    for (key, namespace) in [
        ("client_service_namespace", edge.client.namespace()),
        ("server_service_namespace", edge.server.namespace()),
    ] {
        if !namespace.is_empty() {
            labels.add(key, namespace);
        }
    }
    if let Some(connection_type) = edge.connection_type() {
        labels.add("connection_type", connection_type);
    }
    labels
}

fn target_info(page: &mut Writer, snapshot: &Snapshot) {
    if snapshot.services.is_empty() {
        return;
    }
    page.family("target_info", Kind::Info, "Resource attributes of an observed service.");
    for service in &snapshot.services {
        let mut labels = service_labels(service);
        // Sorted, and one of those that become the same label.
        let mut resource: BTreeMap<String, &str> = BTreeMap::new();
        if let Some(process) = service.representative() {
            let known = [
                ("telemetry.sdk.language", process.language),
                ("service.version", process.version.as_deref()),
                ("container.id", process.container.as_deref()),
            ];
            let asked_for = process.resource.iter().map(|(key, value)| (&**key, Some(&**value)));
            for (key, value) in known.into_iter().chain(asked_for) {
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    resource.entry(names::label(key)).or_insert(value);
                }
            }
        }
        resource.remove("service_name");
        resource.remove("service_namespace");
        for (key, value) in &resource {
            labels.add(key, value);
        }
        page.sample("target_info", "", &labels, Number::Whole(1));
    }
}

fn own(page: &mut Writer, snapshot: &Snapshot) {
    let mut families: BTreeMap<&str, Vec<&OwnPoint>> = BTreeMap::new();
    for point in snapshot.own.points() {
        families.entry(point.metric.name).or_default().push(point);
    }
    for points in families.values() {
        let Some(metric) = points.first().map(|point| point.metric) else { continue };
        let kind = match metric.kind {
            OwnKind::Counter => Kind::Counter,
            OwnKind::Gauge => Kind::Gauge,
        };
        let name = names::metric(metric.name, metric.unit, kind);
        page.family(&name, kind, metric.description);
        for point in points {
            let mut labels = Labels::default();
            for (key, value) in &point.attributes {
                labels.add(&names::label(key), value);
            }
            page.sample(&name, "", &labels, point.value);
        }
    }
}

/// Under the names that dashboards for recording rules read.
fn recorded(page: &mut Writer, snapshot: &Snapshot) {
    let mut families: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for value in snapshot.own.recorded() {
        families.entry(&value.name).or_default().push(value);
    }
    for (name, values) in families {
        page.family(name, Kind::Gauge, "As recording rules of SLOs name it.");
        for value in values {
            let mut labels = Labels::default();
            for (key, text) in &value.labels {
                labels.add(key, text);
            }
            page.sample(name, "", &labels, Number::Real(value.value));
        }
    }
}

#[cfg(test)]
mod tests;
