//! What can be wrong with a configuration, told so that a person can mend it.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used. The exit code is 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration file: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than [`super::MAX_FILE_BYTES`].
    #[error("{}: larger than {} bytes", path.display(), super::MAX_FILE_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A value is wrong.
    #[error(transparent)]
    Invalid(#[from] Box<Invalid>),
}

impl ConfigError {
    /// What to do, for the second line on standard error.
    pub fn advice(&self) -> &str {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "give an existing file with --config, or leave it out to run with the defaults"
            }
            Self::Read { .. } => "make the file readable for the user that runs vigie",
            Self::TooLarge { .. } => "split off what is not configuration of vigie",
            Self::Invalid(invalid) => invalid
                .advice
                .as_deref()
                .unwrap_or("see `vigie config reference` for every key, its unit and its default"),
        }
    }
}

impl From<Invalid> for ConfigError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

/// A wrong value, where it comes from, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Who set it.
    pub origin: Origin,
    /// The key, as in `watch.exclude[0].pid`.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: Option<String>,
}

impl Invalid {
    pub(super) fn new(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin, key: None, message: message.into(), advice: None }
    }

    pub(super) fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    pub(super) fn maybe_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    pub(super) fn maybe_advice(self, advice: Option<String>) -> Self {
        Self { advice, ..self }
    }
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.origin, self.message),
            None => write!(f, "{}: {}", self.origin, self.message),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A place in the file, line and column counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Likeness (Jaro-Winkler, 0 to 1) from which a word is taken for a slip of another. Below it a
/// suggestion would be a guess: `zzz` is no slip of `log`.
const LIKENESS: f64 = 0.75;

/// The word among `known` that was most likely meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Advice from serde's own words for an unknown variant: the wrong word comes first, the right
/// ones follow, each in backticks.
pub(super) fn nearest_in_message(message: &str) -> Option<String> {
    if !message.starts_with("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    nearest(wrong, quoted).map(|right| format!("did you mean `{right}`?"))
}

/// Message and location of an error, line and column from 1.
pub(super) fn split(error: &serde_yaml_ng::Error) -> (String, (usize, usize)) {
    let message = error.to_string();
    match error.location() {
        Some(location) => {
            let suffix = format!(" at line {} column {}", location.line(), location.column());
            // The YAML scanner ends some of its messages with a second place, of the context.
            let message = match message.find(&suffix) {
                Some(end) => message.get(..end).unwrap_or(&message).to_owned(),
                None => message,
            };
            (message, (location.line().max(1), location.column().max(1)))
        }
        None => (message, (1, 1)),
    }
}

/// Splits the reader's `path.to[0].key: message`.
pub(super) fn split_key(message: &str) -> (Option<String>, &str) {
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']' | '-'))
    };
    match message.split_once(": ") {
        Some((key, rest)) if is_key(key) => (Some(key.to_owned()), rest),
        _ => (None, message),
    }
}
