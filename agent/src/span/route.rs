//! `http.route`: the low-cardinality form of a path.
//!
//! In this order: the patterns of the configuration; unless it is switched off, a heuristic that
//! replaces identifiers by `{id}` segment by segment; and, past a bound of routes per service, `*`. The bound is strict: a
//! service keeps the routes that it showed first, further ones become `/head/*` where `head` begins
//! a route that is known, else `/*`.
//!
//! Empty segments, a trailing slash and matrix parameters (`;jsessionid=…`) are dropped; at most
//! [`MAX_SEGMENTS`] segments are kept, and `/*` stands for the rest. Words stay as they were sent,
//! percent-encoding included.

mod identifier;
mod pattern;

use std::sync::Arc;

use hashbrown::{Equivalent, HashMap, HashSet};

use self::identifier::is_identifier;
use self::pattern::Pattern;
use super::Service;
use crate::config::RoutePattern;
use crate::metrics::own::{OwnKind, OwnMetric, SelfMetrics};

/// Segments of a route.
pub const MAX_SEGMENTS: usize = 10;

/// How many routes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// Routes by heuristic of one service.
    pub per_service: usize,
    /// Services whose routes are remembered; past it the one that was quiet longest is forgotten.
    pub services: usize,
    /// Paths whose route is remembered, in each of two generations.
    pub cached: usize,
    /// Longest path in bytes whose route is remembered. With all bounds reached the memory is
    /// 2.5 MB.
    pub cached_path: usize,
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self { per_service: 200, services: 500, cached: 4_096, cached_path: 256 }
    }
}

/// What becomes of paths that no pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// They get a route by heuristic.
    Heuristic,
    /// They have none.
    NoRoute,
}

/// Finds routes, and remembers them.
#[derive(Debug)]
pub struct Routes {
    patterns: Vec<Pattern>,
    unmatched: Unmatched,
    limits: RouteLimits,
    services: HashMap<Arc<Service>, Learned>,
    cache: Cache,
    /// Counts look-ups that the cache did not answer; the clock of `Learned::used`.
    misses: u64,
    collapsed: u64,
}

/// Routes by heuristic of one service.
#[derive(Debug, Default)]
struct Learned {
    routes: HashSet<Arc<str>>,
    /// First segments of `routes`.
    heads: HashSet<Box<str>>,
    used: u64,
}

impl Routes {
    /// With the configured patterns, the first that matches wins.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = &'a RoutePattern>,
        unmatched: Unmatched,
        limits: RouteLimits,
    ) -> Self {
        Self {
            patterns: patterns.into_iter().map(Pattern::new).collect(),
            unmatched,
            limits,
            services: HashMap::new(),
            cache: Cache::default(),
            misses: 0,
            collapsed: 0,
        }
    }

    /// The route of a path without query. `None` where there is no path (CONNECT, a path that was
    /// not seen) or, without heuristic, no pattern that matches; by heuristic `*` for the asterisk
    /// form. A path seen lately costs one look-up.
    pub fn route(&mut self, service: &Arc<Service>, path: &str) -> Option<Arc<str>> {
        let is_short = path.len() <= self.limits.cached_path;
        if is_short && let Some(Known(route)) = self.cache.get(service, path, self.limits.cached) {
            return route;
        }
        let route = self.find(service, path);
        if is_short {
            self.cache.insert(service, path.into(), Known(route.clone()), self.limits.cached);
        }
        route
    }

    /// Adds the figures about routes.
    pub fn own(&self, own: &mut SelfMetrics) {
        own.set(ROUTES, self.services.values().map(|known| known.routes.len() as u64).sum::<u64>());
        own.set(ROUTES_COLLAPSED, self.collapsed);
    }

    fn find(&mut self, service: &Arc<Service>, path: &str) -> Option<Arc<str>> {
        if path.starts_with('/')
            && let Some(route) = self.patterns.iter().find_map(|p| p.matches(segments(path)))
        {
            return Some(Arc::clone(route));
        }
        match self.unmatched {
            Unmatched::Heuristic if path == "*" => Some(path.into()),
            Unmatched::Heuristic if path.starts_with('/') => Some(self.learn(service, path)),
            Unmatched::Heuristic | Unmatched::NoRoute => None,
        }
    }

    /// The route by heuristic.
    fn learn(&mut self, service: &Arc<Service>, path: &str) -> Arc<str> {
        self.misses += 1;
        if !self.services.contains_key(service) {
            self.make_room();
        }
        let known = self.services.entry(Arc::clone(service)).or_default();
        known.used = self.misses;
        let route = generalised(path);
        if let Some(route) = known.routes.get(route.as_str()) {
            return Arc::clone(route);
        }
        let head = segments(&route).next().unwrap_or("");
        if known.routes.len() < self.limits.per_service {
            known.heads.insert(head.into());
            let route: Arc<str> = route.into();
            known.routes.insert(Arc::clone(&route));
            return route;
        }
        self.collapsed += 1;
        if known.heads.contains(head) { format!("/{head}/*").into() } else { "/*".into() }
    }

    /// Forgets the service that was quiet longest, if there are too many.
    fn make_room(&mut self) {
        if self.services.len() >= self.limits.services {
            let quiet = self.services.iter().min_by_key(|(_, known)| known.used);
            if let Some(quiet) = quiet.map(|(service, _)| Arc::clone(service)) {
                self.services.remove(&quiet);
            }
        }
    }
}

/// Segments that count: without empty ones and without matrix parameters.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .map(|segment| segment.split_once(';').map_or(segment, |(name, _)| name))
        .filter(|segment| !segment.is_empty())
}

/// The path with `{id}` for each identifier.
fn generalised(path: &str) -> String {
    let mut route = String::with_capacity(path.len().min(128));
    for (position, segment) in segments(path).enumerate() {
        route.push('/');
        if position == MAX_SEGMENTS {
            route.push('*');
            break;
        }
        route.push_str(if is_identifier(segment) { "{id}" } else { segment });
    }
    if route.is_empty() {
        route.push('/');
    }
    route
}

/// Routes of paths seen lately, or that they have none, in two generations: when the young one is full it becomes the old
/// one, and what the old one held and nobody asked for is forgotten.
#[derive(Debug, Default)]
struct Cache {
    young: Generation,
    old: Generation,
}

type Generation = HashMap<(Arc<Service>, Box<str>), Known>;

/// What is known of a path: its route, or that it has none.
#[derive(Clone, Debug)]
struct Known(Option<Arc<str>>);

#[derive(Hash)]
struct CacheKey<'a>(&'a Service, &'a str);

impl Equivalent<(Arc<Service>, Box<str>)> for CacheKey<'_> {
    fn equivalent(&self, (service, path): &(Arc<Service>, Box<str>)) -> bool {
        *self.1 == **path && *self.0 == **service
    }
}

impl Cache {
    /// `None` when the path was not seen lately.
    fn get(&mut self, service: &Arc<Service>, path: &str, bound: usize) -> Option<Known> {
        let key = CacheKey(service, path);
        if let Some(route) = self.young.get(&key) {
            return Some(route.clone());
        }
        let ((service, path), route) = self.old.remove_entry(&key)?;
        self.insert(&service, path, route.clone(), bound);
        Some(route)
    }

    fn insert(&mut self, service: &Arc<Service>, path: Box<str>, route: Known, bound: usize) {
        if self.young.len() >= bound {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert((Arc::clone(service), path), route);
    }
}

const ROUTES: OwnMetric = OwnMetric {
    name: "vigie.routes",
    unit: "{route}",
    description: "Routes found by heuristic that are kept.",
    kind: OwnKind::Gauge,
};
const ROUTES_COLLAPSED: OwnMetric = OwnMetric {
    name: "vigie.routes.collapsed",
    unit: "{path}",
    description: "Times that a path was given a route with `*` because its service has too many.",
    kind: OwnKind::Counter,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::testing::service;

    fn patterns(patterns: &[&str]) -> Vec<RoutePattern> {
        patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
    }

    fn routes(given: &[&str], limits: RouteLimits) -> Routes {
        Routes::new(&patterns(given), Unmatched::Heuristic, limits)
    }

    #[test]
    fn without_heuristic_only_patterns_give_routes() {
        let given = patterns(&["/users/{name}", "/files/{path*}"]);
        let mut routes = Routes::new(&given, Unmatched::NoRoute, RouteLimits::default());
        let api = service("api");
        for (path, expected) in [
            ("/users/17", Some("/users/{name}")),
            ("/files/a/b", Some("/files/{path*}")),
            ("/orders/17", None),
            ("/", None),
            ("*", None),
            ("", None),
        ] {
            for time in ["first", "cached"] {
                assert_eq!(routes.route(&api, path).as_deref(), expected, "{path} {time}");
            }
        }
        assert!(routes.services.is_empty());
    }

    #[test]
    fn paths_become_routes() {
        let mut routes = routes(&["/users/{name}/avatar", "/static/**"], RouteLimits::default());
        let api = service("api");
        for (path, expected) in [
            ("", None),
            ("api.example:443", None),
            ("*", Some("*")),
            ("/", Some("/")),
            ("//", Some("/")),
            ("/users", Some("/users")),
            ("/users/", Some("/users")),
            ("//users//17/", Some("/users/{id}")),
            (
                "/users/17/orders/550e8400-e29b-41d4-a716-446655440000",
                Some("/users/{id}/orders/{id}"),
            ),
            ("/users/17/avatar", Some("/users/{name}/avatar")),
            ("/static/app.3f2a9c1b.js", Some("/static/**")),
            ("/api/v1/items", Some("/api/v1/items")),
            ("/shop;jsessionid=A1B2C3/cart;x=1", Some("/shop/cart")),
            ("/;jsessionid=A1B2C3", Some("/")),
            ("/caf%C3%A9/menu", Some("/caf%C3%A9/menu")),
            ("/a/b/c/d/e/f/g/h/i/j", Some("/a/b/c/d/e/f/g/h/i/j")),
            ("/a/b/c/d/e/f/g/h/i/j/k/l", Some("/a/b/c/d/e/f/g/h/i/j/*")),
        ] {
            for time in ["first", "cached"] {
                assert_eq!(routes.route(&api, path).as_deref(), expected, "{path} {time}");
            }
        }
    }

    #[test]
    fn past_the_bound_routes_end_in_a_star() {
        let mut routes =
            routes(&["/fixed/{x}"], RouteLimits { per_service: 2, ..RouteLimits::default() });
        let (api, web) = (service("api"), service("web"));
        for (service, path, expected) in [
            (&api, "/users/17", "/users/{id}"),
            (&api, "/", "/"),
            (&api, "/users/names", "/users/*"),
            (&api, "/films", "/*"),
            (&api, "/users/18", "/users/{id}"),
            (&api, "/fixed/y", "/fixed/{x}"),
            (&web, "/films", "/films"),
        ] {
            assert_eq!(routes.route(service, path).as_deref(), Some(expected), "{path}");
        }
        let mut own = SelfMetrics::default();
        routes.own(&mut own);
        let values: Vec<f64> = own.points().iter().map(|point| point.value.as_f64()).collect();
        assert_eq!(values, [3.0, 2.0]);
    }

    #[test]
    fn everything_is_bounded() {
        let limits = RouteLimits { services: 2, cached: 10, cached_path: 20, per_service: 5 };
        let mut routes = routes(&[], limits);
        let busy = service("busy");
        for number in 0..100 {
            routes.route(&service(&format!("service-{number}")), &format!("/users/{number}"));
            routes.route(&busy, &format!("/things/{number}"));
            routes.route(&busy, "/a-path-that-is-too-long-to-be-cached");
        }
        assert_eq!(routes.services.len(), 2);
        assert!(routes.services.contains_key(&busy));
        assert!(routes.cache.young.len() <= 10 && routes.cache.old.len() <= 10);
    }
}
