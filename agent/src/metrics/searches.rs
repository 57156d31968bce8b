//! Searches by name: what reports show of look-ups that took several tries of a search list. As with
//! [`super::names`], they are in no metric.

use std::collections::HashMap;
use std::sync::Arc;

use super::durations::{Bounds, Durations};
use super::snapshot::SearchPoint;
use crate::span::searches::Searched;

/// Names that are told apart, by type and result. Further ones are summed in one entry.
const MAX_NAMES: usize = 1000;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Searches {
    known: HashMap<Key, State>,
    other: Option<State>,
    overflowed: u64,
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    name: Arc<str>,
    record_type: &'static str,
    found: Option<Arc<str>>,
}

#[derive(Debug)]
struct State {
    start_unix_nano: u64,
    last_seen: u64,
    count: u64,
    attempts: u64,
    durations: Durations,
}

impl Searches {
    /// Takes a search into account. A new name begins at `start_unix_nano`.
    pub(super) fn record(&mut self, search: &Searched, start_unix_nano: u64, bounds: &Bounds) {
        let key = Key {
            name: Arc::clone(&search.name),
            record_type: search.record_type,
            found: search.found.clone(),
        };
        let state = if self.known.len() < MAX_NAMES || self.known.contains_key(&key) {
            self.known.entry(key).or_insert_with(|| State::new(start_unix_nano))
        } else {
            self.overflowed += 1;
            self.other.get_or_insert_with(|| State::new(start_unix_nano))
        };
        let end = search.start_unix_nano.saturating_add(search.duration_ns);
        state.last_seen = state.last_seen.max(end);
        state.count += 1;
        state.attempts += u64::from(search.attempts);
        state.durations.record(search.duration_ns, bounds);
    }

    /// Forgets what was not seen since `oldest`, in nanoseconds of Unix time.
    pub(super) fn expire(&mut self, oldest: u64) {
        self.known.retain(|_, state| state.last_seen >= oldest);
        self.other.take_if(|state| state.last_seen < oldest);
    }

    /// Searches that were summed in the entry `other`.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// All, in the order of their names.
    pub(super) fn snapshot(&self) -> Vec<SearchPoint> {
        let mut known: Vec<(&Key, &State)> = self.known.iter().collect();
        known.sort_unstable_by_key(|(key, _)| *key);
        let point = |(key, state): (&Key, &State)| {
            state.point(&key.name, key.record_type, key.found.as_ref())
        };
        let mut points: Vec<SearchPoint> = known.into_iter().map(point).collect();
        let other = Arc::from("other");
        points.extend(self.other.as_ref().map(|state| state.point(&other, "*", None)));
        points
    }
}

impl State {
    fn new(start_unix_nano: u64) -> Self {
        let durations = Durations::default();
        Self { start_unix_nano, last_seen: start_unix_nano, count: 0, attempts: 0, durations }
    }

    fn point(
        &self,
        name: &Arc<str>,
        record_type: &'static str,
        found: Option<&Arc<str>>,
    ) -> SearchPoint {
        SearchPoint {
            name: Arc::clone(name),
            record_type,
            found: found.map(Arc::clone),
            start_unix_nano: self.start_unix_nano,
            count: self.count,
            attempts: self.attempts,
            durations: self.durations.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(name: &str, found: Option<&str>, attempts: u32) -> Searched {
        Searched {
            name: name.into(),
            record_type: "A",
            found: found.map(Into::into),
            attempts,
            start_unix_nano: 1,
            duration_ns: 1_000,
        }
    }

    #[test]
    fn results_are_told_apart_and_names_bounded() {
        let (mut searches, bounds) = (Searches::default(), Bounds::new(&[]));
        for (found, attempts) in [(Some("db.x"), 2), (None, 4), (Some("db.x"), 3)] {
            searches.record(&search("db", found, attempts), 0, &bounds);
        }
        let short = |searches: &Searches| -> Vec<(String, Option<String>, u64, u64)> {
            let short = |it: &SearchPoint| {
                let found = it.found.as_deref().map(str::to_owned);
                (it.name.to_string(), found, it.count, it.attempts)
            };
            searches.snapshot().iter().map(short).collect()
        };
        let found = Some("db.x".to_owned());
        assert_eq!(short(&searches), [("db".into(), None, 1, 4), ("db".into(), found, 2, 5)]);
        for number in 0..MAX_NAMES + 5 {
            searches.record(&search(&format!("n{number}"), None, 2), 0, &bounds);
        }
        assert_eq!((searches.known.len(), searches.overflowed()), (MAX_NAMES, 7));
        assert_eq!(short(&searches).last().unwrap(), &("other".into(), None, 7, 14));
        searches.expire(u64::MAX);
        assert!(short(&searches).is_empty());
    }
}
