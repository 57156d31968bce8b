//! Route patterns: `/users/{id}`, `/static/**`. This is their only parser; `span::route` matches
//! by the [`Segment`]s that it gives.

use std::fmt;
use std::str::FromStr;

use super::text::text_value;

/// A route. Segments are literal, or `{name}` for exactly one segment, or `*` for exactly one; a
/// last segment `**` or `{name*}` stands for all that follow (none, too). A query never belongs
/// to a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoutePattern(String);

/// What stands between two slashes of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Itself.
    Literal(&'a str),
    /// `{name}` or `*`: any one segment.
    Any,
    /// `**` or `{name*}`: any number of segments, none included. The last one.
    Rest,
}

impl<'a> Segment<'a> {
    /// `None` where a brace or a star stands where none may be.
    fn read(text: &'a str) -> Option<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_name = |name: &str| !name.is_empty() && name.chars().all(word);
        match (text, text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))) {
            ("*", _) => Some(Self::Any),
            ("**", _) => Some(Self::Rest),
            (_, Some(name)) => match name.strip_suffix('*') {
                Some(name) => is_name(name).then_some(Self::Rest),
                None => is_name(name).then_some(Self::Any),
            },
            (_, None) => (!text.contains(['{', '}', '*'])).then_some(Self::Literal(text)),
        }
    }
}

/// Longest pattern in bytes.
const MAX_LENGTH: usize = 512;

/// Why a pattern could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    /// No slash in front.
    #[error("route `{0}` must begin with `/`")]
    NoSlash(String),
    /// Longer than the bound.
    #[error("route is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// White space, a query or a fragment.
    #[error("route `{0}` holds `{1}`, which no path holds")]
    BadCharacter(String, char),
    /// A brace or a star where none may be.
    #[error("route `{0}`: segment `{1}` must be literal, `{{name}}` or `*`")]
    BadSegment(String, String),
    /// A segment that stands for the rest, and something behind it.
    #[error("route `{0}`: `{1}` stands for all that follows and must come last")]
    NotLast(String, String),
}

text_value!(
    RoutePattern,
    "route",
    "a route such as /users/{id} or /static/**",
    ["/users/{id}", "/static/**"]
);

impl RoutePattern {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, empty ones left out.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        // All of them can be read, or there would be no such pattern.
        self.0.split('/').filter(|segment| !segment.is_empty()).filter_map(Segment::read)
    }
}

impl FromStr for RoutePattern {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let route = || text.to_owned();
        if text.len() > MAX_LENGTH {
            return Err(RouteError::TooLong);
        }
        let Some(path) = text.strip_prefix('/') else { return Err(RouteError::NoSlash(route())) };
        let bad = |c: &char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
        if let Some(c) = text.chars().find(bad) {
            return Err(RouteError::BadCharacter(route(), c));
        }
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            let Some(read) = Segment::read(segment) else {
                return Err(RouteError::BadSegment(route(), segment.to_owned()));
            };
            if read == Segment::Rest && segments.peek().is_some() {
                return Err(RouteError::NotLast(route(), segment.to_owned()));
            }
        }
        Ok(Self(route()))
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for good in
            ["/", "/users/{id}", "/a/*/b", "/static/**", "/files/{path*}", "/a.b/c-d", "/x/"]
        {
            assert!(good.parse::<RoutePattern>().is_ok(), "{good}");
        }
        for wrong in [
            "", "users", "/a b", "/a?x=1", "/{", "/{}", "/{*}", "/{a}{b}", "/v{n}", "/a*", "/a**",
            "/**/b", "/{p*}/b",
        ] {
            assert!(wrong.parse::<RoutePattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn segments() {
        let check = |pattern: &str, expected: &[Segment<'_>]| {
            let pattern: RoutePattern = pattern.parse().unwrap();
            assert_eq!(pattern.segments().collect::<Vec<_>>(), expected, "{pattern}");
        };
        let literal = Segment::Literal;
        check("/", &[]);
        check("/users/{id}/", &[literal("users"), Segment::Any]);
        check("/a//*/b", &[literal("a"), Segment::Any, literal("b")]);
        check("/static/**", &[literal("static"), Segment::Rest]);
        check("/files/{path*}", &[literal("files"), Segment::Rest]);
    }
}
