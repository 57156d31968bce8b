//! The store: spans in, snapshots out.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use vigie_slo::suggest::EDGES_MS;

use super::durations::Bounds;
use super::getaddrinfo;
use super::key::Key;
use super::limits::Limits;
use super::names::Names;
use super::own::{OwnKind, OwnMetric, OwnPoint, SelfMetrics};
use super::searches::Searches;
use super::series::{Series, ServiceSeries};
use super::snapshot::{Counts, ServiceSnapshot, Snapshot};
use super::undelivered::UndeliveredCalls;
use crate::event::Resolved;
use crate::graph::Edges;
use crate::span::searches::Searched;
use crate::span::{Process, Service, Span};

/// Least time between two attempts to make room by expiry.
const EXPIRY_PAUSE_NS: u64 = 10_000_000_000;

/// Rate, errors and durations of everything that was seen.
///
/// It reads no clock: the time is that of the spans, and the `now` of [`Store::snapshot`].
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    bounds: Bounds,
    start_unix_nano: u64,
    /// When the latest snapshot was made: the start of what begins after it.
    collected_unix_nano: u64,
    expired_unix_nano: u64,
    services: HashMap<Arc<Service>, ServiceSeries>,
    edges: Edges,
    names: Names,
    searches: Searches,
    series: usize,
    expired: u64,
    overflowed: Overflowed,
}

/// Calls that went to an overflow series, by the bound that was hit.
#[derive(Debug, Default)]
struct Overflowed {
    services: u64,
    sets_per_metric: u64,
    series: u64,
}

impl Store {
    /// An empty store. `thresholds` are those of SLOs, which become bounds of histograms.
    pub fn new(limits: Limits, thresholds: &[Duration], now_unix_nano: u64) -> Self {
        Self {
            limits,
            bounds: Bounds::new(thresholds),
            start_unix_nano: now_unix_nano,
            collected_unix_nano: now_unix_nano,
            expired_unix_nano: now_unix_nano,
            services: HashMap::new(),
            edges: Edges::default(),
            names: Names::default(),
            searches: Searches::default(),
            series: 0,
            expired: 0,
            overflowed: Overflowed::default(),
        }
    }

    /// Takes one span into account. A span of a known series allocates nothing.
    pub fn record(&mut self, span: &Span) {
        let end = span.start_unix_nano.saturating_add(span.duration_ns);
        let untrusted = u64::from(!span.duration_is_trusted());
        let key = Key::of(span);
        self.edges.record(span, self.collected_unix_nano, &self.bounds, &self.limits);
        self.names.record(span, self.collected_unix_nano, &self.bounds);
        if let Some(service) = self.services.get_mut(&*span.process.service) {
            service.meet(&span.process, end, &self.limits);
            service.count_untrusted(key.metric(), untrusted);
            if let Some(series) = service.get_mut(&key) {
                series.record(span, end, &self.bounds);
                return;
            }
        }
        let bounds = self.bounds.clone();
        self.new_series(&span.process, &key, (1, untrusted), end).record(span, end, &bounds);
    }

    /// Takes a look-up into account that took several tries of a search list, each of which is a span of
    /// its own, too.
    pub fn record_search(&mut self, search: &Searched) {
        self.searches.record(search, self.collected_unix_nano, &self.bounds);
    }

    /// Takes calls into account that the kernel counted, at about this time. They are in no edge: who
    /// was at the other end is not known.
    pub fn record_undelivered(&mut self, calls: &UndeliveredCalls<'_>, now_unix_nano: u64) {
        let key = Key::of_undelivered(calls);
        if let Some(service) = self.services.get_mut(&*calls.process.service) {
            service.meet(calls.process, now_unix_nano, &self.limits);
            service.count_untrusted(key.metric(), calls.lost.untimed);
            if let Some(series) = service.get_mut(&key) {
                series.record_undelivered(calls, now_unix_nano, &self.bounds);
                return;
            }
        }
        let bounds = self.bounds.clone();
        let number = (calls.lost.count(), calls.lost.untimed);
        self.new_series(calls.process, &key, number, now_unix_nano).record_undelivered(
            calls,
            now_unix_nano,
            &bounds,
        );
    }

    /// Takes a call of `getaddrinfo` into account that returned at this time.
    pub fn record_getaddrinfo(
        &mut self,
        process: &Arc<Process>,
        resolved: &Resolved,
        end_unix_nano: u64,
    ) {
        let key = Key::Getaddrinfo { error: getaddrinfo::error(resolved.code) };
        let duration = getaddrinfo::duration_ns(resolved);
        let untrusted = u64::from(duration.is_none());
        let bounds = self.bounds.clone();
        if let Some(service) = self.services.get_mut(&*process.service) {
            service.meet(process, end_unix_nano, &self.limits);
            service.count_untrusted(key.metric(), untrusted);
            if let Some(series) = service.get_mut(&key) {
                series.record_getaddrinfo(resolved.code != 0, duration, end_unix_nano, &bounds);
                return;
            }
        }
        self.new_series(process, &key, (1, untrusted), end_unix_nano).record_getaddrinfo(
            resolved.code != 0,
            duration,
            end_unix_nano,
            &bounds,
        );
    }

    /// The rare way: a series that is not known yet, or finds no room. `calls` go to it, so many of
    /// them with an untrusted duration.
    fn new_series(
        &mut self,
        process: &Arc<Process>,
        key: &Key<&str>,
        (calls, untrusted): (u64, u64),
        end: u64,
    ) -> &mut Series {
        let metric = key.metric();
        let full = self.series >= self.limits.series
            || self.services.len() >= self.limits.services
            || self
                .services
                .get(&*process.service)
                .is_some_and(|service| service.sets(metric) >= self.limits.sets_per_metric);
        if full && end.saturating_sub(self.expired_unix_nano) >= EXPIRY_PAUSE_NS {
            self.expire(end);
        }

        let known = self.services.contains_key(&*process.service);
        let service = if known || self.services.len() < self.limits.services {
            Arc::clone(&process.service)
        } else {
            self.overflowed.services += calls;
            Arc::new(Service { name: "other".into(), namespace: "".into() })
        };
        let turned_away = service != process.service;
        let series = self
            .services
            .entry(Arc::clone(&service))
            .or_insert_with(|| ServiceSeries::new(service));
        if !known && !turned_away {
            series.meet(process, end, &self.limits);
            series.count_untrusted(metric, untrusted);
        }

        let overflow = key.overflow();
        let mut key = key;
        if turned_away {
            key = &overflow;
        } else if series.sets(metric) >= self.limits.sets_per_metric {
            self.overflowed.sets_per_metric += calls;
            key = &overflow;
        } else if self.series >= self.limits.series {
            self.overflowed.series += calls;
            key = &overflow;
        }
        let (found, is_new) = series.get_or_insert(key, metric, self.collected_unix_nano);
        self.series += usize::from(is_new);
        found
    }

    /// Forgets what was not seen for [`Limits::expiry`].
    fn expire(&mut self, now_unix_nano: u64) {
        self.expired_unix_nano = now_unix_nano;
        let oldest = now_unix_nano.saturating_sub(self.limits.expiry_ns());
        let mut gone = 0;
        self.services.retain(|_, service| {
            gone += service.expire(oldest);
            service.len() > 0
        });
        self.series = self.series.saturating_sub(gone);
        self.expired += gone as u64;
        self.edges.expire(oldest);
        self.names.expire(oldest);
        self.searches.expire(oldest);
    }

    /// Everything at this time, after what is too old was forgotten. `own` are the figures of the
    /// other stages; those of the store are added.
    pub fn snapshot(&mut self, now_unix_nano: u64, mut own: SelfMetrics) -> Snapshot {
        self.expire(now_unix_nano);
        self.collected_unix_nano = now_unix_nano;
        self.add_own(&mut own);
        let mut services: Vec<ServiceSnapshot> =
            self.services.values().map(ServiceSeries::snapshot).collect();
        services.sort_unstable_by(|a, b| {
            (&a.service.namespace, &a.service.name).cmp(&(&b.service.namespace, &b.service.name))
        });
        Snapshot {
            start_unix_nano: self.start_unix_nano,
            time_unix_nano: now_unix_nano,
            bounds: self.bounds.clone(),
            services,
            edges: self.edges.snapshot(),
            lookups: self.names.snapshot(),
            searches: self.searches.snapshot(),
            own,
        }
    }

    /// What every series has counted, without what a snapshot has beyond it: 168 bytes for each, so that
    /// whoever reads it holds the lock for a short time. Nothing is forgotten by it.
    pub fn counts(&self) -> Vec<Counts> {
        let positions = self.bounds.positions_among(&EDGES_MS);
        let services = self.services.values();
        services.flat_map(|service| service.counts(&positions)).collect()
    }

    fn add_own(&self, own: &mut SelfMetrics) {
        own.set(SERIES, self.series as u64);
        own.set(SERIES_EXPIRED, self.expired);
        for (reason, calls) in [
            ("services", self.overflowed.services),
            ("sets_per_metric", self.overflowed.sets_per_metric),
            ("series", self.overflowed.series),
        ] {
            own.set_by(SERIES_OVERFLOWED, "reason", reason, calls);
        }
        own.set(EDGES, self.edges.len() as u64);
        own.set(EDGES_EXPIRED, self.edges.expired());
        own.set(EDGES_OVERFLOWED, self.edges.overflowed());
        own.set(NAMES, self.names.len() as u64);
        own.set(NAMES_OVERFLOWED, self.names.overflowed());
        own.set(SEARCHES_OVERFLOWED, self.searches.overflowed());

        let mut untrusted: Vec<_> = self
            .services
            .values()
            .flat_map(|service| {
                service.untrusted().map(|(metric, calls)| (service.service(), metric, calls))
            })
            .collect();
        untrusted.sort_unstable();
        for (service, metric, calls) in untrusted {
            let mut attributes = vec![("service.name", service.name.to_string().into())];
            if !service.namespace.is_empty() {
                attributes.push(("service.namespace", service.namespace.to_string().into()));
            }
            attributes.push(("metric", metric.name().into()));
            own.push(OwnPoint { metric: UNTRUSTED, attributes, value: calls.into() });
        }
    }
}

const SERIES: OwnMetric = OwnMetric {
    name: "vigie.series",
    unit: "{series}",
    description: "Series that the metrics store holds.",
    kind: OwnKind::Gauge,
};
const SERIES_EXPIRED: OwnMetric = OwnMetric {
    name: "vigie.series.expired",
    unit: "{series}",
    description: "Series forgotten because they were not seen any more.",
    kind: OwnKind::Counter,
};
const SERIES_OVERFLOWED: OwnMetric = OwnMetric {
    name: "vigie.series.overflowed",
    unit: "{call}",
    description: "Calls summed in an overflow series, by the bound that was hit.",
    kind: OwnKind::Counter,
};
const EDGES: OwnMetric = OwnMetric {
    name: "vigie.edges",
    unit: "{edge}",
    description: "Edges that the service graph holds.",
    kind: OwnKind::Gauge,
};
const EDGES_EXPIRED: OwnMetric = OwnMetric {
    name: "vigie.edges.expired",
    unit: "{edge}",
    description: "Edges forgotten because they were not seen any more.",
    kind: OwnKind::Counter,
};
const EDGES_OVERFLOWED: OwnMetric = OwnMetric {
    name: "vigie.edges.overflowed",
    unit: "{call}",
    description: "Calls summed in the edge `other` because there was no room.",
    kind: OwnKind::Counter,
};
const NAMES: OwnMetric = OwnMetric {
    name: "vigie.dns.names",
    unit: "{name}",
    description: "Names that were looked up and are told apart in reports, by type.",
    kind: OwnKind::Gauge,
};
const NAMES_OVERFLOWED: OwnMetric = OwnMetric {
    name: "vigie.dns.names.overflowed",
    unit: "{call}",
    description: "Look-ups summed in the name `other` because there was no room.",
    kind: OwnKind::Counter,
};
const SEARCHES_OVERFLOWED: OwnMetric = OwnMetric {
    name: "vigie.dns.searches.overflowed",
    unit: "{search}",
    description: "Searches summed in the name `other` because there was no room.",
    kind: OwnKind::Counter,
};
const UNTRUSTED: OwnMetric = OwnMetric {
    name: "vigie.durations.untrusted",
    unit: "{call}",
    description: "Calls that are missing in a duration histogram, as their duration was not seen \
                  whole.",
    kind: OwnKind::Counter,
};

#[cfg(test)]
mod tests;
