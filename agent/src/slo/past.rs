//! The history of endpoints, fed and kept: what suggestions are made from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vigie_slo::suggest::Options;
use vigie_slo_store::{Blobs, MAX_BLOB};

use super::history::{AnswerError, Form, History};
use crate::metrics::Store;

/// How often it is kept, in seconds.
const KEEP_EVERY_S: i64 = 600;
/// Blobs that it may take: the bound of a history.
const MAX_BLOBS: usize = 10;

/// The history of what this store counts.
pub struct Past {
    store: Arc<Mutex<Store>>,
    history: Mutex<History>,
    kept: Mutex<i64>,
}

impl Past {
    /// Goes on with what was kept.
    pub fn new(store: Arc<Mutex<Store>>, blobs: Option<&Blobs>, now_s: i64) -> Self {
        let kept = |number| blobs.and_then(|blobs| blobs.get(&name(number)));
        // One that is empty stands for none.
        let kept: Vec<Vec<u8>> =
            (0..MAX_BLOBS).filter_map(kept).filter(|blob| !blob.is_empty()).collect();
        let (history, errors) = History::decode(kept.iter().map(Vec::as_slice), now_s);
        for (_, error) in errors {
            tracing::warn!("a part of the history of endpoints cannot be read: {error}");
        }
        Self { store, history: Mutex::new(history), kept: Mutex::new(now_s) }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the last minute into account when it has passed, and keeps all from time to time.
    pub fn tick(&self, blobs: Option<&Blobs>, now_s: i64) {
        if !self.history().is_due(now_s) {
            return;
        }
        let counts = self.store.lock().unwrap_or_else(PoisonError::into_inner).counts();
        self.history().observe(&counts, now_s);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if now_s.saturating_sub(*kept) >= KEEP_EVERY_S {
            *kept = now_s;
            self.keep(blobs);
        }
    }

    /// Keeps all.
    pub fn keep(&self, blobs: Option<&Blobs>) {
        let Some(blobs) = blobs else { return };
        let mut parts = self.history().encode(MAX_BLOB);
        for number in 0..MAX_BLOBS {
            let part = parts.get_mut(number).map(std::mem::take).unwrap_or_default();
            // What was never there need not be emptied.
            if part.is_empty() && blobs.get(&name(number)).is_none_or(|old| old.is_empty()) {
                continue;
            }
            if let Err(error) = blobs.put(&name(number), part) {
                tracing::error!("the history of endpoints is not kept: {error}");
            }
        }
    }

    /// What it suggests.
    pub fn answer(&self, options: &Options, form: Form) -> Result<String, AnswerError> {
        self.history().answer(options, form)
    }

    /// Endpoints that found no room, so far.
    pub fn dropped(&self) -> u64 {
        self.history().dropped()
    }
}

fn name(number: usize) -> String {
    format!("history-{number}")
}
