//! What happened between two snapshots, for views that show the present.

use std::collections::HashMap;

use super::snapshot::{Edge, LookupPoint, Point, SearchPoint, ServiceSnapshot, Snapshot};

impl Snapshot {
    /// What came after an earlier snapshot of the same store: counts and distributions of the time
    /// between, without series and edges on which nothing happened. Shortest and longest durations
    /// remain those of the whole series, as only they are known; vigie's own figures remain
    /// cumulative.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before: HashMap<_, &ServiceSnapshot> =
            earlier.services.iter().map(|service| (&*service.service, service)).collect();
        let services = self.services.iter().filter_map(|service| {
            let points = points(service, before.get(&*service.service).copied());
            (!points.is_empty()).then(|| ServiceSnapshot { points, ..service.clone() })
        });
        let before: HashMap<_, &Edge> =
            earlier.edges.iter().map(|edge| (identity(edge), edge)).collect();
        let edges = self.edges.iter().filter_map(|edge| {
            let edge = match before.get(&identity(edge)) {
                Some(before) => Edge {
                    count: edge.count.saturating_sub(before.count),
                    errors: edge.errors.saturating_sub(before.errors),
                    client_durations: edge.client_durations.since(&before.client_durations),
                    server_durations: edge.server_durations.since(&before.server_durations),
                    ..edge.clone()
                },
                None => edge.clone(),
            };
            (edge.count > 0).then_some(edge)
        });
        let before: HashMap<_, &LookupPoint> =
            earlier.lookups.iter().map(|lookup| (name(lookup), lookup)).collect();
        let lookups = self.lookups.iter().filter_map(|lookup| {
            let lookup = match before.get(&name(lookup)) {
                Some(before) => LookupPoint {
                    count: lookup.count.saturating_sub(before.count),
                    errors: lookup.errors.saturating_sub(before.errors),
                    queries: lookup.queries.saturating_sub(before.queries),
                    search_attempts: lookup.search_attempts.saturating_sub(before.search_attempts),
                    durations: lookup.durations.since(&before.durations),
                    ..lookup.clone()
                },
                None => lookup.clone(),
            };
            (lookup.count > 0).then_some(lookup)
        });
        let before: HashMap<_, &SearchPoint> =
            earlier.searches.iter().map(|search| (searched(search), search)).collect();
        let searches = self.searches.iter().filter_map(|search| {
            let search = match before.get(&searched(search)) {
                Some(before) => SearchPoint {
                    count: search.count.saturating_sub(before.count),
                    attempts: search.attempts.saturating_sub(before.attempts),
                    durations: search.durations.since(&before.durations),
                    ..search.clone()
                },
                None => search.clone(),
            };
            (search.count > 0).then_some(search)
        });
        Self {
            start_unix_nano: earlier.time_unix_nano,
            time_unix_nano: self.time_unix_nano,
            bounds: self.bounds.clone(),
            services: services.collect(),
            edges: edges.collect(),
            lookups: lookups.collect(),
            searches: searches.collect(),
            own: self.own.clone(),
        }
    }
}

/// What tells edges apart; the start, as an edge that came back counts from zero.
fn identity(edge: &Edge) -> impl Eq + std::hash::Hash + '_ {
    (&edge.client, &edge.server, edge.protocol, edge.start_unix_nano)
}

/// What tells names apart, likewise.
fn name(lookup: &LookupPoint) -> impl Eq + std::hash::Hash + '_ {
    (&lookup.name, &lookup.record_type, lookup.stub, lookup.start_unix_nano)
}

fn searched(search: &SearchPoint) -> impl Eq + std::hash::Hash + '_ {
    (&search.name, search.record_type, &search.found, search.start_unix_nano)
}

fn points(service: &ServiceSnapshot, before: Option<&ServiceSnapshot>) -> Vec<Point> {
    let before = before.map_or(&[][..], |before| &before.points);
    let points = service.points.iter().filter_map(|point| {
        // Both are sorted by metric and labels.
        let position = before
            .binary_search_by(|old| (old.metric, &old.labels).cmp(&(point.metric, &point.labels)));
        let old = position
            .ok()
            .and_then(|position| before.get(position))
            .filter(|old| old.start_unix_nano == point.start_unix_nano);
        let point = match old {
            Some(old) => Point {
                count: point.count.saturating_sub(old.count),
                errors: point.errors.saturating_sub(old.errors),
                untrusted: point.untrusted.saturating_sub(old.untrusted),
                durations: point.durations.since(&old.durations),
                ..point.clone()
            },
            None => point.clone(),
        };
        (point.count > 0).then_some(point)
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Limits, SelfMetrics, Snapshot, Store};
    use crate::span::testing::{START, client, server};

    const SECOND: u64 = 1_000_000_000;

    fn calls(snapshot: &Snapshot) -> Vec<(String, u64, u64)> {
        let points = snapshot.services.iter().flat_map(|service| {
            service.points.iter().map(|point| {
                (service.service.name.to_string(), point.count, point.durations.count())
            })
        });
        let edges = snapshot.edges.iter().map(|edge| {
            (format!("{} -> {}", edge.client.name(), edge.server.name()), edge.count, edge.errors)
        });
        points.chain(edges).collect()
    }

    #[test]
    fn only_what_came_later_remains() {
        let mut store = Store::new(Limits::default(), &[], START);
        for _ in 0..3 {
            store.record(&server("api", 503));
        }
        store.record(&client("web", 200));
        let first = store.snapshot(START + SECOND, SelfMetrics::default());
        store.record(&server("api", 503));
        store.record(&server("api", 200));
        let second = store.snapshot(START + 2 * SECOND, SelfMetrics::default());
        let between = second.since(&first);
        assert_eq!(
            calls(&between),
            [
                ("api".to_owned(), 1, 1),
                ("api".to_owned(), 1, 1),
                ("10.0.0.2 -> api".to_owned(), 2, 1)
            ]
        );
        assert_eq!(between.start_unix_nano, START + SECOND);
        assert!(calls(&second.since(&second)).is_empty());
    }

    #[test]
    fn a_series_that_came_back_counts_from_zero() {
        let mut store = Store::new(Limits::default(), &[], START);
        store.record(&server("api", 200));
        let first = store.snapshot(START + SECOND, SelfMetrics::default());
        let _ = store.snapshot(START + 400 * SECOND, SelfMetrics::default());
        let mut later = server("api", 200);
        later.start_unix_nano += 500 * SECOND;
        store.record(&later);
        let last = store.snapshot(START + 501 * SECOND, SelfMetrics::default());
        assert_eq!(calls(&last.since(&first)).first(), Some(&("api".to_owned(), 1, 1)));
    }
}
