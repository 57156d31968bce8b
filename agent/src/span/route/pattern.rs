//! Routes that the configuration names: `/users/{id}/orders`, `/static/**`.

use std::sync::Arc;

use thiserror::Error;

/// Why a pattern was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("route pattern `{0}` must begin with `/`")]
    NoSlash(String),
    /// `**` elsewhere than at the end.
    #[error("route pattern `{0}` has `**` before its end; use `*` for one segment")]
    RestBeforeEnd(String),
    /// A brace that is not closed, or does not take the whole segment.
    #[error("route pattern `{0}` has braces that do not enclose a whole segment like `{{id}}`")]
    Braces(String),
}

/// A pattern: literal segments, `{name}` and `*` for any one segment, `**` at the end for any
/// number of them, none included.
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
    pub(super) fn try_new(pattern: &str) -> Result<Self, PatternError> {
        let Some(path) = pattern.strip_prefix('/') else {
            return Err(PatternError::NoSlash(pattern.to_owned()));
        };
        let (path, rest) = match path.strip_suffix("**") {
            Some(before) if before.is_empty() || before.ends_with('/') => (before, true),
            _ => (path, false),
        };
        let segments = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| match segment {
                "*" => Ok(Segment::Any),
                _ if segment.contains("**") => Err(PatternError::RestBeforeEnd(pattern.to_owned())),
                _ => match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                        Ok(Segment::Any)
                    }
                    None if !segment.contains(['{', '}']) => Ok(Segment::Literal(segment.into())),
                    _ => Err(PatternError::Braces(pattern.to_owned())),
                },
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { route: pattern.into(), segments, rest })
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
        let compiled = Pattern::try_new(pattern).unwrap();
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
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/a/*", "/a/b/c", false),
        ] {
            check(pattern, path, expected);
        }
    }

    #[test]
    fn refuses_what_it_would_not_match_as_meant() {
        for (pattern, error) in [
            ("users", PatternError::NoSlash("users".into())),
            ("", PatternError::NoSlash(String::new())),
            ("/a/**/b", PatternError::RestBeforeEnd("/a/**/b".into())),
            ("/a**", PatternError::RestBeforeEnd("/a**".into())),
            ("/a/{id", PatternError::Braces("/a/{id".into())),
            ("/a/x{id}", PatternError::Braces("/a/x{id}".into())),
            ("/a/{}", PatternError::Braces("/a/{}".into())),
        ] {
            assert_eq!(Pattern::try_new(pattern).unwrap_err(), error);
        }
    }
}
