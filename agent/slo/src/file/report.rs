//! What is wrong with a file, told so that a person can mend it.

use std::fmt;

use super::yaml::Place;

/// Something wrong, or a warning: where it is, what it is, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Line and column from 1.
    pub place: Place,
    /// The field, as in `spec.objectives[0].target`. Empty: the file as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place: Place { line, column }, field, message, .. } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        f.write_str(message)
    }
}

/// Problems and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) file: String,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Report {
    pub(super) fn wrong(&mut self, at: &At, message: impl Into<String>, advice: impl Into<String>) {
        let problem = self.problem(at, &message.into(), &advice.into());
        self.problems.push(problem);
    }

    pub(super) fn warn(&mut self, at: &At, message: impl Into<String>, advice: impl Into<String>) {
        let problem = self.problem(at, &message.into(), &advice.into());
        self.warnings.push(problem);
    }

    fn problem(&self, at: &At, message: &str, advice: &str) -> Problem {
        let file = at.file.clone().unwrap_or_else(|| self.file.clone());
        let [field, message, advice] = [&at.path, message, advice].map(one_line);
        Problem { file, place: at.place, field, message, advice }
    }
}

/// Longest text that is told, in characters.
const MAX_TEXT: usize = 500;

/// A text in which a file may have put anything: on one line, without what a terminal acts on, and cut
/// where it is too long to be read.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_TEXT));
    for (index, char) in text.chars().enumerate() {
        if index == MAX_TEXT {
            line.push('…');
            break;
        }
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

/// A place and its field.
#[derive(Clone, Debug, Default)]
pub(super) struct At {
    /// Another file than the one that is read.
    pub(super) file: Option<String>,
    pub(super) place: Place,
    pub(super) path: String,
}

/// Likeness (Jaro-Winkler, 0 to 1) from which a word is taken for a slip of another.
const LIKENESS: f64 = 0.75;

/// Advice for a word that is none of those known.
pub(super) fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let likeness = |right: &str| strsim::jaro_winkler(&plain(word), &plain(right));
    let nearest = known
        .clone()
        .map(|right| (likeness(right), right))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, right)) => format!("did you mean `{right}`?"),
        None => format!("write one of: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
