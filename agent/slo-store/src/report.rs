//! What was found when a store was opened.

use std::fmt;

/// Most notes that are kept; the rest are counted.
const MAX_NOTES: usize = 100;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A file was damaged, or of a version that this vigie does not read. It is put aside.
    Damaged,
    /// The counts of an SLO start anew, because it counts something else than before.
    Anew,
    /// Records are missing between two segments of the journal.
    Missing,
    /// State is later than the clock.
    Ahead,
    /// Something could not be read, put aside or removed.
    Unreadable,
    /// State of an SLO that has not been configured for long was removed.
    Removed,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub finding: Finding,
    /// What, and what was lost by it, in words.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What was found when a store was opened. None of it keeps the agent from running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// SLOs whose state was restored.
    pub restored: usize,
    /// SLOs without any.
    pub new: usize,
    /// SLOs that have state but are not configured.
    pub unused: usize,
    /// Records of the journal that were replayed.
    pub replayed: u64,
    /// Bytes of records that were being written when a process ended. Usual after a crash.
    pub torn_bytes: u64,
    /// The latest time of any state, in seconds since 1970. Ticks must begin after it, whatever the clock
    /// says: a clock that was set back is not followed.
    pub last: Option<i64>,
    /// What is out of the ordinary.
    pub notes: Vec<Note>,
    /// Notes beyond those.
    pub more_notes: u64,
}

impl Report {
    pub(crate) fn note(&mut self, finding: Finding, text: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(Note { finding, text });
        } else {
            self.more_notes += 1;
        }
    }
}
