//! Routes that the configuration names, ready to be matched: `/users/{id}/orders`, `/static/**`.

use std::sync::Arc;

use crate::config::{RoutePattern, RouteSegment};

/// A pattern of the configuration, in the form that matching needs.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    route: Arc<str>,
    segments: Vec<Segment>,
    rest: bool,
}

#[derive(Clone, Debug)]
enum Segment {
    Any,
    Literal(Box<str>),
}

impl Pattern {
    pub(super) fn new(pattern: &RoutePattern) -> Self {
        let mut rest = false;
        let mut segments = Vec::new();
        for segment in pattern.segments() {
            match segment {
                RouteSegment::Literal(literal) => segments.push(Segment::Literal(literal.into())),
                RouteSegment::Any => segments.push(Segment::Any),
                // Always the last.
                RouteSegment::Rest => rest = true,
            }
        }
        Self { route: pattern.as_str().into(), segments, rest }
    }

    /// The route, if the segments of a path match.
    pub(super) fn matches<'a>(&self, mut path: impl Iterator<Item = &'a str>) -> Option<&Arc<str>> {
        for segment in &self.segments {
            let given = path.next()?;
            match segment {
                Segment::Literal(literal) if **literal != *given => return None,
                Segment::Literal(_) | Segment::Any => {}
            }
        }
        (self.rest || path.next().is_none()).then_some(&self.route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expected: bool) {
        let compiled = Pattern::new(&pattern.parse().unwrap());
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        assert_eq!(compiled.matches(segments).is_some(), expected, "{pattern} on {path}");
    }

    #[test]
    fn matches_by_segment() {
        for (pattern, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/users/{id}", "/users/17", true),
            ("/users/{id}", "/users/me", true),
            ("/users/{id}", "/users", false),
            ("/users/{id}", "/users/17/orders", false),
            ("/users/{id}/orders", "/users/17/orders", true),
            ("/*/health", "/api/health", true),
            ("/*/health", "/api/ready", false),
            ("/static/**", "/static", true),
            ("/static/**", "/static/a/b/c.js", true),
            ("/static/**", "/stat/a", false),
            ("/files/{path*}", "/files", true),
            ("/files/{path*}", "/files/a", true),
            ("/files/{path*}", "/files/a/b/c.js", true),
            ("/files/{path*}", "/file/a", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/a/*", "/a/b/c", false),
        ] {
            check(pattern, path, expected);
        }
    }
}
