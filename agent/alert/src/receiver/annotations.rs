//! The annotations of one target: those that are known are taken one by one, and what is left over at the
//! end is told as unknown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vigie_slo::file::{Located, NotificationTarget, Problem};

use super::secret::Secret;

const PREFIX: &str = "vigie.dev/";
/// Likeness (Jaro-Winkler, 0 to 1) from which a name is taken for a slip of another.
const LIKENESS: f64 = 0.8;

pub(super) struct Annotations<'a> {
    target: &'a NotificationTarget,
    left: BTreeMap<&'a str, &'a Located>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Annotations<'a> {
    /// Other people's are left alone.
    pub(super) fn new(target: &'a NotificationTarget) -> Self {
        let own = target.annotations.iter();
        let own = own.filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text)));
        Self { target, left: own.collect(), problems: Vec::new() }
    }

    /// Where the kind of the target is written.
    pub(super) fn target(&self) -> &'a Located {
        &self.target.target
    }

    pub(super) fn take(&mut self, name: &str) -> Option<&'a Located> {
        self.left.remove(name)
    }

    /// All whose names begin so, without the beginning.
    pub(super) fn take_all(&mut self, prefix: &str) -> Vec<(&'a str, &'a Located)> {
        let found: Vec<&'a str> =
            self.left.keys().copied().filter(|name| name.starts_with(prefix)).collect();
        let take = |name: &'a str| Some((name.strip_prefix(prefix)?, self.left.remove(name)?));
        found.into_iter().filter_map(take).collect()
    }

    /// What `read` makes of one; its error is what to write instead. The text itself is not told, as it
    /// may be a secret.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.take(name)?;
        match read(&found.text) {
            Ok(value) => Some(value),
            Err(advice) => {
                self.wrong(found, "not taken", advice);
                None
            }
        }
    }

    /// A secret, in `NAME_file` or `NAME_env`. `in_place`: it may not be written out.
    pub(super) fn secret(&mut self, name: &str, in_place: bool) -> Option<Secret> {
        let (file, env) = (format!("{name}_file"), format!("{name}_env"));
        if !in_place && let Some(found) = self.take(name) {
            let advice = format!("write {PREFIX}{file}: PATH, or {PREFIX}{env}: NAME");
            self.wrong(found, "a secret in the file", advice);
        }
        match (self.take(&file), self.take(&env)) {
            (Some(_), Some(found)) => {
                self.wrong(found, format!("both {file} and {env}"), "keep one of the two");
                None
            }
            (Some(found), None) => self.path(found).map(Secret::File),
            (None, Some(found)) => self.variable(found).map(Secret::Env),
            (None, None) => None,
        }
    }

    pub(super) fn path(&mut self, found: &Located) -> Option<PathBuf> {
        let path = PathBuf::from(&found.text);
        if path.is_absolute() {
            return Some(path);
        }
        self.wrong(found, "a path that depends on where vigie starts", "write it from / on");
        None
    }

    pub(super) fn variable(&mut self, found: &Located) -> Option<String> {
        let name = &found.text;
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.starts_with(|first: char| first.is_ascii_digit()) && name.bytes().all(inner) {
            return Some(name.clone());
        }
        self.wrong(found, "no name of a variable", "write the name alone: PAGERDUTY_KEY");
        None
    }

    pub(super) fn wrong(
        &mut self,
        found: &Located,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.problems.push(found.problem(message, advice));
    }

    /// That something must be there.
    pub(super) fn missing(&mut self, name: &str, advice: &str) {
        let message = format!("the annotation {PREFIX}{name} is missing");
        self.problems.push(self.target.target.problem(message, advice));
    }

    /// Tells what nobody has taken. `known` are those of this kind of target.
    pub(super) fn finish(mut self, known: &[&str]) -> Vec<Problem> {
        for (name, found) in std::mem::take(&mut self.left) {
            let likeness = |right: &str| strsim::jaro_winkler(name, right);
            let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let advice = match nearest.filter(|right| likeness(right) >= LIKENESS) {
                Some(right) => format!("did you mean `{PREFIX}{right}`?"),
                None => format!("write one of: {}", known.join(", ")),
            };
            let kind = &self.target.target.text;
            self.wrong(found, format!("unknown annotation of {kind}"), advice);
        }
        self.problems
    }
}
