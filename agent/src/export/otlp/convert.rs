//! A snapshot to the bytes of `ExportMetricsServiceRequest`s.
//!
//! Metrics go out once a minute, so the generated types do the encoding. A service is a resource;
//! the graph between services and vigie's own figures belong to vigie's resource.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge,
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, exemplar, metric,
    number_data_point,
};
use prost::Message as _;

use super::resource::{self, Host, OwnResource, SCOPE_ITEMS};
use super::settings::HistogramForm;
use super::wire;
use crate::metrics::durations::{Bounds, Durations};
use crate::metrics::own::{Number, OwnKind, OwnPoint};
use crate::metrics::snapshot::{self, Edge, Point, ServiceSnapshot, Snapshot};
use crate::span::Value;

/// Bytes of one request, but for the last metric in it: receivers take up to 4 MiB by default.
const MAX_REQUEST: usize = 2 << 20;
/// Data points in one metric: some 1 KiB each with all their exemplars.
const MAX_POINTS: usize = 500;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// The body of one request, with the number of its data points.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) body: Vec<u8>,
    pub(super) points: u64,
}

/// All of a snapshot in as few requests as the bound on their size allows.
pub(super) fn requests(
    snapshot: &Snapshot,
    form: HistogramForm,
    own: &OwnResource,
    host: &Host,
) -> Vec<Request> {
    let context = Context { snapshot, form };
    let mut requests = Requests::default();
    for service in &snapshot.services {
        requests.add(&resource::of_service(service, host), context.service(service));
    }
    let mut figures = context.edges();
    figures.extend(context.own());
    requests.add(&resource::of_vigie(own, host), figures);
    requests.finish()
}

/// Packs metrics into requests.
#[derive(Default)]
struct Requests {
    done: Vec<Request>,
    current: Request,
}

impl Requests {
    fn add(&mut self, resource: &[u8], metrics: Vec<Metric>) {
        let mut items = Vec::new();
        for metric in metrics {
            self.current.points += points(&metric) as u64;
            wire::bytes(&mut items, SCOPE_ITEMS, &metric.encode_to_vec());
            if self.current.body.len() + items.len() >= MAX_REQUEST {
                self.close_group(resource, &mut items);
                self.done.push(std::mem::take(&mut self.current));
            }
        }
        self.close_group(resource, &mut items);
    }

    fn close_group(&mut self, resource: &[u8], items: &mut Vec<u8>) {
        if !items.is_empty() {
            resource::group(&mut self.current.body, resource, items);
            items.clear();
        }
    }

    fn finish(mut self) -> Vec<Request> {
        if self.current.points > 0 {
            self.done.push(self.current);
        }
        self.done
    }
}

pub(super) fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::Summary(_)) | None => 0,
    }
}

/// A series of durations, wherever it comes from.
struct Series<'a> {
    attributes: Vec<KeyValue>,
    start_unix_nano: u64,
    durations: &'a Durations,
    exemplars: &'a [snapshot::Exemplar],
}

struct Context<'a> {
    snapshot: &'a Snapshot,
    form: HistogramForm,
}

impl Context<'_> {
    fn service(&self, service: &ServiceSnapshot) -> Vec<Metric> {
        let mut by_metric: BTreeMap<snapshot::Metric, Vec<&Point>> = BTreeMap::new();
        for point in &service.points {
            by_metric.entry(point.metric).or_default().push(point);
        }
        let mut metrics = Vec::new();
        for (metric, points) in by_metric {
            let series = points.into_iter().map(|point| {
                let mut attributes = Vec::new();
                point.labels.attributes(|key, value| attributes.push(key_value(key, value)));
                Series {
                    attributes,
                    start_unix_nano: point.start_unix_nano,
                    durations: &point.durations,
                    exemplars: &point.exemplars,
                }
            });
            let about = About {
                name: metric.name(),
                unit: metric.unit(),
                description: metric.description(),
            };
            self.histogram(&mut metrics, about, series);
        }
        metrics
    }

    /// The service graph, under the names that Tempo gave its metrics.
    fn edges(&self) -> Vec<Metric> {
        const REQUESTS: About = About {
            name: "traces_service_graph_request_total",
            unit: "1",
            description: "Calls between two services.",
        };
        const FAILED: About = About {
            name: "traces_service_graph_request_failed_total",
            unit: "1",
            description: "Failed calls between two services.",
        };
        const CLIENT: About = About {
            name: "traces_service_graph_request_client_seconds",
            unit: "s",
            description: "Duration of calls between two services, as the client saw them.",
        };
        const SERVER: About = About {
            name: "traces_service_graph_request_server_seconds",
            unit: "s",
            description: "Duration of calls between two services, as the server saw them.",
        };
        let mut metrics = Vec::new();
        let edges = &self.snapshot.edges;
        for (about, count) in
            [(REQUESTS, (|edge| edge.count) as fn(&Edge) -> u64), (FAILED, |edge| edge.errors)]
        {
            let points = edges.iter().map(|edge| {
                let value = number_data_point::Value::AsInt(saturate(count(edge)));
                self.number(edge_attributes(edge), edge.start_unix_nano, value)
            });
            sums(&mut metrics, about, points);
        }
        for (about, durations) in [
            (CLIENT, (|edge| &edge.client_durations) as fn(&Edge) -> &Durations),
            (SERVER, |edge| &edge.server_durations),
        ] {
            let series = edges.iter().map(|edge| Series {
                attributes: edge_attributes(edge),
                start_unix_nano: edge.start_unix_nano,
                durations: durations(edge),
                exemplars: &[],
            });
            self.histogram(&mut metrics, about, series);
        }
        metrics
    }

    /// vigie's own figures.
    fn own(&self) -> Vec<Metric> {
        let mut by_name: BTreeMap<&str, Vec<&OwnPoint>> = BTreeMap::new();
        for point in self.snapshot.own.points() {
            by_name.entry(point.metric.name).or_default().push(point);
        }
        let mut metrics = Vec::new();
        for points in by_name.into_values() {
            let Some(metric) = points.first().map(|point| point.metric) else { continue };
            let about =
                About { name: metric.name, unit: metric.unit, description: metric.description };
            let points = points.into_iter().map(|point| {
                let attributes = point.attributes.iter();
                let attributes =
                    attributes.map(|(key, value)| key_value(key, Value::Str(value))).collect();
                let value = match point.value {
                    Number::Whole(value) => number_data_point::Value::AsInt(saturate(value)),
                    Number::Real(value) => number_data_point::Value::AsDouble(value),
                };
                self.number(attributes, self.snapshot.start_unix_nano, value)
            });
            match metric.kind {
                OwnKind::Counter => sums(&mut metrics, about, points),
                OwnKind::Gauge => gauges(&mut metrics, about, points),
            }
        }
        metrics
    }

    fn number(
        &self,
        attributes: Vec<KeyValue>,
        start: u64,
        value: number_data_point::Value,
    ) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: self.snapshot.time_unix_nano,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    /// Series without a duration (all their calls were seen in part only) are left out.
    fn histogram<'s>(
        &self,
        metrics: &mut Vec<Metric>,
        about: About,
        series: impl Iterator<Item = Series<'s>>,
    ) {
        let series = series.filter(|series| series.durations.count() > 0);
        let time = self.snapshot.time_unix_nano;
        match self.form {
            HistogramForm::Explicit => {
                let bounds = &self.snapshot.bounds;
                chunks(series.map(|series| explicit(series, bounds, time)), |data_points| {
                    let histogram = Histogram { data_points, aggregation_temporality: CUMULATIVE };
                    metrics.push(about.metric(metric::Data::Histogram(histogram)));
                });
            }
            HistogramForm::Exponential => {
                chunks(series.map(|series| exponential(series, time)), |data_points| {
                    let histogram =
                        ExponentialHistogram { data_points, aggregation_temporality: CUMULATIVE };
                    metrics.push(about.metric(metric::Data::ExponentialHistogram(histogram)));
                });
            }
        }
    }
}

/// What a metric is.
#[derive(Clone, Copy)]
struct About {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
}

impl About {
    fn metric(self, data: metric::Data) -> Metric {
        Metric {
            name: self.name.to_owned(),
            description: self.description.to_owned(),
            unit: self.unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }
}

/// Hands points over in portions of at most [`MAX_POINTS`].
fn chunks<T>(mut points: impl Iterator<Item = T>, mut each: impl FnMut(Vec<T>)) {
    loop {
        let chunk: Vec<T> = points.by_ref().take(MAX_POINTS).collect();
        if chunk.is_empty() {
            return;
        }
        each(chunk);
    }
}

fn sums(metrics: &mut Vec<Metric>, about: About, points: impl Iterator<Item = NumberDataPoint>) {
    chunks(points, |data_points| {
        let sum = Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true };
        metrics.push(about.metric(metric::Data::Sum(sum)));
    });
}

fn gauges(metrics: &mut Vec<Metric>, about: About, points: impl Iterator<Item = NumberDataPoint>) {
    chunks(points, |data_points| {
        metrics.push(about.metric(metric::Data::Gauge(Gauge { data_points })));
    });
}

fn explicit(series: Series<'_>, bounds: &Bounds, time: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        exemplars: exemplars(&series),
        attributes: series.attributes,
        start_time_unix_nano: series.start_unix_nano,
        time_unix_nano: time,
        count: series.durations.count(),
        sum: Some(series.durations.sum_s()),
        bucket_counts: series.durations.buckets().to_vec(),
        explicit_bounds: bounds.seconds().to_vec(),
        flags: 0,
        min: series.durations.min_s(),
        max: series.durations.max_s(),
    }
}

fn exponential(series: Series<'_>, time: u64) -> ExponentialHistogramDataPoint {
    let buckets = series.durations.exponential();
    ExponentialHistogramDataPoint {
        exemplars: exemplars(&series),
        attributes: series.attributes,
        start_time_unix_nano: series.start_unix_nano,
        time_unix_nano: time,
        count: series.durations.count(),
        sum: Some(series.durations.sum_s()),
        scale: buckets.scale(),
        zero_count: buckets.zero_count(),
        positive: Some(Buckets {
            offset: buckets.offset(),
            bucket_counts: buckets.counts().to_vec(),
        }),
        negative: None,
        flags: 0,
        min: series.durations.min_s(),
        max: series.durations.max_s(),
        zero_threshold: 0.0,
    }
}

fn exemplars(series: &Series<'_>) -> Vec<Exemplar> {
    let convert = |exemplar: &snapshot::Exemplar| Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.time_unix_nano,
        span_id: exemplar.span_id.0.to_vec(),
        trace_id: exemplar.trace_id.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value_s)),
    };
    series.exemplars.iter().map(convert).collect()
}

fn edge_attributes(edge: &Edge) -> Vec<KeyValue> {
    let texts = [
        ("client", edge.client.name()),
        ("server", edge.server.name()),
        ("client_service_namespace", edge.client.namespace()),
        ("server_service_namespace", edge.server.namespace()),
        ("connection_type", edge.connection_type().unwrap_or_default()),
    ];
    let known = texts.into_iter().filter(|(_, text)| !text.is_empty());
    known.map(|(key, text)| key_value(key, Value::Str(text))).collect()
}

fn key_value(key: &str, value: Value<'_>) -> KeyValue {
    let value = match value {
        Value::Str(text) => any_value::Value::StringValue(text.to_owned()),
        Value::Int(number) => any_value::Value::IntValue(number),
        Value::Double(number) => any_value::Value::DoubleValue(number),
        Value::Bool(truth) => any_value::Value::BoolValue(truth),
        Value::Digits(number) => any_value::Value::StringValue(number.to_string()),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// OTLP counts in signed numbers.
fn saturate(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
