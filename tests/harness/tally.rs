//! Calls by what they were and how they ended: what programs say that count their calls but do not
//! log each one.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};

use crate::span::{Kind, Span};

/// How many calls there were, by a text that says what they were and how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, usize>);

impl Tally {
    /// Adds calls.
    pub fn add(&mut self, what: impl Into<String>, calls: usize) {
        *self.0.entry(what.into()).or_default() += calls;
    }

    /// Whether there are any of these.
    pub fn has(&self, what: &str) -> bool {
        self.0.contains_key(what)
    }

    /// How many there are in all.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Gives each kind of call with its number.
    pub fn each(&self, mut each: impl FnMut(&str, usize)) {
        self.0.iter().for_each(|(what, calls)| each(what, *calls));
    }

    /// Adds the calls of another one.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, calls)| self.add(what.clone(), *calls));
    }

    /// The spans of a kind and process, as `text` tells them.
    pub fn of(spans: &[Span], kind: Kind, pids: &[u32], text: impl Fn(&Span) -> String) -> Self {
        let mut tally = Self::default();
        for span in spans.iter().filter(|span| span.kind == kind && pids.contains(&span.pid)) {
            tally.add(text(span), 1);
        }
        tally
    }

    /// An error that shows the difference, where there is one.
    pub fn compare(&self, who: &str, seen: &Self) -> Result<()> {
        let (wanted, found) = (self.without(seen), seen.without(self));
        ensure!(self == seen, "{who} should have\n{wanted}but has\n{found}");
        Ok(())
    }

    /// What is not the same in another one.
    fn without(&self, other: &Self) -> Self {
        let differs = |(what, calls): &(&String, &usize)| other.0.get(*what) != Some(*calls);
        Self(self.0.iter().filter(differs).map(|(what, calls)| (what.clone(), *calls)).collect())
    }
}

impl<S: Into<String>> FromIterator<(S, usize)> for Tally {
    fn from_iter<I: IntoIterator<Item = (S, usize)>>(calls: I) -> Self {
        let mut tally = Self::default();
        calls.into_iter().for_each(|(what, number)| tally.add(what, number));
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, calls)| writeln!(f, "  {calls} {what}"))
    }
}
