//! The desk as bytes, and back: JSON, as it is written only when something changes, and people may want
//! to look at it.

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::{Desk, MAX_CASES};
use crate::receiver::Receiver;

const VERSION: u32 = 1;
/// Most bytes that are read: more than [`MAX_CASES`] notices have.
const MAX_BYTES: usize = 64 << 20;

#[derive(Serialize)]
struct Writing<'a> {
    version: u32,
    cases: &'a [Case],
}

#[derive(Deserialize)]
struct Reading {
    version: u32,
    cases: Vec<Case>,
}

/// Bytes that are no state of a desk. Begin with an empty one: what fires is then told once more.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Damaged, or of something else.
    #[error(
        "the state of alerts cannot be read ({0}); put the file aside: what fires is told again"
    )]
    Damaged(#[from] serde_json::Error),
    /// Of another version of vigie.
    #[error("the state of alerts is of version {0}; put the file aside: what fires is told again")]
    Version(u32),
    /// Too large.
    #[error("the state of alerts has {0} bytes; put the file aside: what fires is told again")]
    TooLarge(usize),
}

impl Desk {
    /// What is to be kept, if it has changed since it was asked for last. Write it before anything that
    /// [`Desk::orders`] gives is sent.
    pub fn unsaved(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.is_unsaved) {
            return None;
        }
        // Texts, numbers and lists: there is nothing in it that JSON cannot say.
        serde_json::to_vec(&Writing { version: VERSION, cases: &self.cases }).ok()
    }

    /// A desk as it was.
    pub fn restore(bytes: &[u8], receivers: &[Receiver]) -> Result<Self, StateError> {
        if bytes.len() > MAX_BYTES {
            return Err(StateError::TooLarge(bytes.len()));
        }
        let Reading { version, mut cases } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let too_many = cases.len().saturating_sub(MAX_CASES);
        cases.truncate(MAX_CASES);
        let mut desk = Self { cases, ..Self::default() };
        desk.counters.overflowed = too_many as u64;
        desk.set_receivers(receivers);
        Ok(desk)
    }
}
