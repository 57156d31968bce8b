//! One series, and the series of one service.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use vigie_slo::suggest::BUCKETS;

use super::durations::{Bounds, Durations};
use super::key::Key;
use super::limits::Limits;
use super::snapshot::{Counts, Exemplar, Labels, Metric, Point, ServiceSnapshot};
use super::undelivered::UndeliveredCalls;
use crate::span::{Endpoint, Process, Service, Span, SpanKind, Status};

/// Calls that share all attributes.
#[derive(Debug)]
pub(super) struct Series {
    metric: Metric,
    labels: Arc<Labels>,
    start_unix_nano: u64,
    last_seen: u64,
    count: u64,
    errors: u64,
    untrusted: u64,
    durations: Durations,
    exemplars: Vec<Exemplar>,
    peer: Option<Peer>,
}

/// Who answered last.
#[derive(Debug)]
enum Peer {
    /// Name of its address, and port.
    Named(Arc<str>, u16),
    Service(Arc<Service>),
    Endpoint(Endpoint),
}

impl Series {
    pub(super) fn new(metric: Metric, labels: Labels, start_unix_nano: u64) -> Self {
        Self {
            metric,
            labels: Arc::new(labels),
            start_unix_nano,
            last_seen: start_unix_nano,
            count: 0,
            errors: 0,
            untrusted: 0,
            durations: Durations::default(),
            exemplars: Vec::new(),
            peer: None,
        }
    }

    pub(super) fn record(&mut self, span: &Span, end_unix_nano: u64, bounds: &Bounds) {
        self.last_seen = self.last_seen.max(end_unix_nano);
        self.count += 1;
        if span.status() == Status::Error {
            self.errors += 1;
        }
        if span.kind == SpanKind::Client {
            self.meet(span);
        }
        if !span.duration_is_trusted() {
            self.untrusted += 1;
            return;
        }
        let bucket = self.durations.record(span.duration_ns, bounds);
        let exemplar = Exemplar {
            bucket,
            value_s: span.duration_ns as f64 / 1e9,
            time_unix_nano: end_unix_nano,
            trace_id: span.trace_id,
            span_id: span.span_id,
        };
        match self.exemplars.iter_mut().find(|known| known.bucket == bucket) {
            Some(known) => *known = exemplar,
            None => self.exemplars.push(exemplar),
        }
    }

    /// Adds exchanges that the kernel counted.
    pub(super) fn record_undelivered(
        &mut self,
        calls: &UndeliveredCalls<'_>,
        now: u64,
        bounds: &Bounds,
    ) {
        self.last_seen = self.last_seen.max(now);
        let count = calls.lost.count();
        self.count += count;
        if calls.error_type().is_some() {
            self.errors += count;
        }
        self.untrusted += calls.lost.untimed;
        self.durations.record_classes(calls.lost, bounds);
    }

    /// Adds a call of `getaddrinfo`.
    pub(super) fn record_getaddrinfo(
        &mut self,
        failed: bool,
        duration_ns: Option<u64>,
        end_unix_nano: u64,
        bounds: &Bounds,
    ) {
        self.last_seen = self.last_seen.max(end_unix_nano);
        self.count += 1;
        self.errors += u64::from(failed);
        match duration_ns {
            Some(duration_ns) => {
                self.durations.record(duration_ns, bounds);
            }
            None => self.untrusted += 1,
        }
    }

    fn meet(&mut self, span: &Span) {
        match (&self.peer, &span.peer_service) {
            (Some(Peer::Service(known)), Some(service)) if Arc::ptr_eq(known, service) => {}
            (_, Some(service)) => self.peer = Some(Peer::Service(Arc::clone(service))),
            (Some(Peer::Named(known, at)), None)
                if span.peer_name.as_deref() == Some(&**known) && *at == port(span) => {}
            (_, None) if span.peer_name.is_some() => {
                self.peer = span.peer_name.as_ref().map(|name| {
                    let at = port(span);
                    Peer::Named(Arc::clone(name), at)
                });
            }
            (Some(Peer::Endpoint(known)), None) if *known == span.peer => {}
            (_, None) => self.peer = Some(Peer::Endpoint(span.peer.clone())),
        }
    }

    fn point(&self) -> Point {
        Point {
            metric: self.metric,
            labels: Arc::clone(&self.labels),
            start_unix_nano: self.start_unix_nano,
            count: self.count,
            errors: self.errors,
            untrusted: self.untrusted,
            durations: self.durations.clone(),
            exemplars: self.exemplars.clone(),
            peer: self.peer.as_ref().map(|peer| match peer {
                Peer::Service(service) => Arc::clone(&service.name),
                Peer::Named(name, port) => format!("{name}:{port}").into(),
                Peer::Endpoint(endpoint) => endpoint.to_string().into(),
            }),
        }
    }
}

impl Series {
    /// `positions`: for each bucket, where it is counted.
    fn counts(&self, service: &Arc<Service>, positions: &[usize]) -> Counts {
        let mut buckets = [0; BUCKETS];
        for (count, position) in self.durations.buckets().iter().zip(positions) {
            buckets.iter_mut().skip(*position).take(1).for_each(|sum| *sum += count);
        }
        Counts {
            service: Arc::clone(service),
            labels: Arc::clone(&self.labels),
            peer: self.peer.as_ref().map(|peer| match peer {
                Peer::Service(service) => Arc::clone(&service.name),
                Peer::Named(name, _) => Arc::clone(name),
                Peer::Endpoint(Endpoint::Inet(address, _)) => address.to_string().into(),
                Peer::Endpoint(Endpoint::Unix(path)) => path.to_string().into(),
            }),
            count: self.count,
            errors: self.errors,
            buckets,
        }
    }
}

/// Port of the other end of a span whose address has a name.
fn port(span: &Span) -> u16 {
    match span.peer {
        Endpoint::Inet(_, port) => port,
        Endpoint::Unix(_) => 0,
    }
}

/// Everything of one service.
#[derive(Debug)]
pub(super) struct ServiceSeries {
    service: Arc<Service>,
    /// With the time of their last call; the latest to appear last.
    processes: VecDeque<(Arc<Process>, u64)>,
    series: HashMap<Key<Arc<str>>, Series>,
    /// Attribute sets by metric, without overflow series.
    sets: HashMap<Metric, usize>,
    /// Calls with an untrusted duration, by metric; those of expired series too.
    untrusted: HashMap<Metric, u64>,
}

impl ServiceSeries {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            processes: VecDeque::new(),
            series: HashMap::new(),
            sets: HashMap::new(),
            untrusted: HashMap::new(),
        }
    }

    pub(super) fn get_mut(&mut self, key: &Key<&str>) -> Option<&mut Series> {
        self.series.get_mut(key)
    }

    /// Attribute sets of one metric.
    pub(super) fn sets(&self, metric: Metric) -> usize {
        self.sets.get(&metric).copied().unwrap_or(0)
    }

    /// The series of a key, made where there is none, and whether it was.
    pub(super) fn get_or_insert(
        &mut self,
        key: &Key<&str>,
        metric: Metric,
        start: u64,
    ) -> (&mut Series, bool) {
        match self.series.entry(key.to_owned()) {
            Entry::Occupied(known) => (known.into_mut(), false),
            Entry::Vacant(vacant) => {
                let key = vacant.key();
                if !key.is_overflow() {
                    *self.sets.entry(metric).or_default() += 1;
                }
                let labels = key.labels();
                (vacant.insert(Series::new(metric, labels, start)), true)
            }
        }
    }

    pub(super) fn count_untrusted(&mut self, metric: Metric, calls: u64) {
        if calls > 0 {
            *self.untrusted.entry(metric).or_default() += calls;
        }
    }

    /// Remembers that a process did something.
    pub(super) fn meet(&mut self, process: &Arc<Process>, time: u64, limits: &Limits) {
        // Mostly the latest one, or one of a few workers.
        let known = self.processes.iter().rposition(|(known, _)| Arc::ptr_eq(known, process));
        if let Some((_, last_seen)) = known.and_then(|position| self.processes.get_mut(position)) {
            *last_seen = time.max(*last_seen);
            return;
        }
        // The same process with newly found properties takes the old one's place.
        self.processes
            .retain(|(known, _)| (known.pid, known.start_ns) != (process.pid, process.start_ns));
        if self.processes.len() >= limits.processes_per_service {
            self.processes.pop_front();
        }
        self.processes.push_back((Arc::clone(process), time));
    }

    /// Forgets what was not seen since `oldest` and returns how many series went.
    pub(super) fn expire(&mut self, oldest: u64) -> usize {
        let before = self.series.len();
        let sets = &mut self.sets;
        self.series.retain(|key, series| {
            let keep = series.last_seen >= oldest;
            if !keep && !key.is_overflow() {
                let count = sets.entry(series.metric).or_default();
                *count = count.saturating_sub(1);
            }
            keep
        });
        self.processes.retain(|(_, last_seen)| *last_seen >= oldest);
        before - self.series.len()
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn untrusted(&self) -> impl Iterator<Item = (Metric, u64)> + '_ {
        self.untrusted.iter().map(|(metric, count)| (*metric, *count))
    }

    pub(super) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub(super) fn counts<'a>(
        &'a self,
        positions: &'a [usize],
    ) -> impl Iterator<Item = Counts> + 'a {
        self.series.values().map(|series| series.counts(&self.service, positions))
    }

    pub(super) fn snapshot(&self) -> ServiceSnapshot {
        let mut points: Vec<Point> = self.series.values().map(Series::point).collect();
        points.sort_unstable_by(|a, b| (a.metric, &a.labels).cmp(&(b.metric, &b.labels)));
        ServiceSnapshot {
            service: Arc::clone(&self.service),
            processes: self.processes.iter().map(|(process, _)| Arc::clone(process)).collect(),
            points,
        }
    }
}
