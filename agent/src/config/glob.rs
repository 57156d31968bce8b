//! Globs over paths, names and command lines.
//!
//! Written here rather than taken from a crate: matching happens once per process, and `/` is an
//! ordinary character, which path globs of the usual crates make a case of its own.

use std::fmt;
use std::str::FromStr;

use super::text::text_value;

/// Longest glob in characters; matching costs at most its length times the text's.
const MAX_LENGTH: usize = 512;

/// A pattern: `*` stands for any characters (`/` too), `?` for one, `[a-z]` and `[!a-z]` for one
/// of a set, `\` takes the next character as it is. The whole text must match.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

/// Why a glob could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GlobError {
    /// Nothing there.
    #[error("an empty glob matches nothing, leave the key out or write `*`")]
    Empty,
    /// Longer than the bound.
    #[error("the glob is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// A set without its end.
    #[error("glob `{0}`: `[` without `]`, write `\\[` for the character itself")]
    OpenSet(String),
    /// A set of nothing.
    #[error("glob `{0}`: empty set `[]` or a range that runs backwards")]
    EmptySet(String),
    /// Nothing to take as it is.
    #[error("glob `{0}`: `\\` at the end, write `\\\\` for the character itself")]
    TrailingEscape(String),
}

text_value!(Glob, "glob", "a glob such as */nginx or api-*", ["*/nginx", "api-*"]);

impl Glob {
    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        // Where to go on after the last `*`: its place, and the text that it has not eaten yet.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        let mut part = 0;
        let mut rest = text.chars();
        loop {
            let here = rest.clone();
            let fits = match (self.parts.get(part), rest.next()) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    part += 1;
                    rest = here.clone();
                    retry = Some((part, here));
                    continue;
                }
                (Some(wanted), Some(found)) => wanted.fits(found),
                _ => false,
            };
            if fits {
                part += 1;
                continue;
            }
            // Let the last `*` eat one character more.
            let Some((after, mut from)) = retry.take() else { return false };
            if from.next().is_none() {
                return false;
            }
            part = after;
            rest = from.clone();
            retry = Some((after, from));
        }
    }

    /// Whether a path matches: the whole path, or its last component where the glob has no `/`.
    pub fn matches_path(&self, path: &str) -> bool {
        let name =
            if self.text.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
        self.matches(name)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Part {
    fn fits(&self, found: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(wanted) => *wanted == found,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&found)) != *negated
            }
        }
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.chars().count() > MAX_LENGTH {
            return Err(GlobError::TooLong);
        }
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            parts.push(match c {
                // `**` is no more than `*`, and would cost more.
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '[' => set(text, &mut rest)?,
                '\\' => match rest.next() {
                    Some(c) => Part::Char(c),
                    None => return Err(GlobError::TrailingEscape(text.to_owned())),
                },
                c => Part::Char(c),
            });
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

/// Reads a set after its `[`.
fn set(text: &str, rest: &mut std::str::Chars<'_>) -> Result<Part, GlobError> {
    let open = || GlobError::OpenSet(text.to_owned());
    let empty = || GlobError::EmptySet(text.to_owned());
    let mut ranges = Vec::new();
    let mut next = rest.next().ok_or_else(open)?;
    let negated = next == '!';
    if negated {
        next = rest.next().ok_or_else(open)?;
    }
    while next != ']' {
        let low = next;
        next = rest.next().ok_or_else(open)?;
        if next != '-' {
            ranges.push((low, low));
            continue;
        }
        next = rest.next().ok_or_else(open)?;
        if next == ']' {
            // A `-` at the end stands for itself.
            ranges.extend([(low, low), ('-', '-')]);
        } else if low <= next {
            ranges.push((low, next));
            next = rest.next().ok_or_else(open)?;
        } else {
            return Err(empty());
        }
    }
    if ranges.is_empty() { Err(empty()) } else { Ok(Part::Set { negated, ranges }) }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        let check = |glob: &str, text: &str, expected: bool| {
            assert_eq!(glob.parse::<Glob>().unwrap().matches(text), expected, "{glob} on {text}");
        };
        check("*", "", true);
        check("*", "any/thing", true);
        check("nginx", "nginx", true);
        check("nginx", "nginx2", false);
        check("*/wrk", "/usr/bin/wrk", true);
        check("*/wrk", "/usr/bin/wrk2", false);
        check("api-*", "api-7", true);
        check("a*b*c", "a1b2b3c", true);
        check("a*b*c", "a1b2b3", false);
        check("**a", "bba", true);
        check("p?thon", "python", true);
        check("p?thon", "pthon", false);
        check("python3.[0-9]", "python3.9", true);
        check("python3.[!0-9]", "python3.9", false);
        check("[a-]", "-", true);
        check(r"\*", "*", true);
        check(r"\*", "a", false);
        check("ü?", "üä", true);
        check("*a*a*a*a*a*a*a*b", &"a".repeat(200), false);
    }

    #[test]
    fn paths() {
        let check = |glob: &str, path: &str, expected: bool| {
            assert_eq!(glob.parse::<Glob>().unwrap().matches_path(path), expected, "{glob}");
        };
        check("wrk", "/usr/bin/wrk", true);
        check("wr*", "/usr/bin/wrk", true);
        check("usr*", "/usr/bin/wrk", false);
        check("/usr/*", "/usr/bin/wrk", true);
    }

    #[test]
    fn wrong() {
        for wrong in ["", "[", "[a", "[]", "[b-a]", "a\\", "[!]", "[!", "[a-"] {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong}");
        }
        assert!("a".repeat(513).parse::<Glob>().is_err());
    }
}
