//! What goes wrong with writing: told once when it begins and once when it ends, and counted.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The journal of ticks.
    Journal,
    /// Snapshots of SLOs.
    Snapshots,
    /// Small states of others.
    Blobs,
}

impl Part {
    const ALL: [Self; 3] = [Self::Journal, Self::Snapshots, Self::Blobs];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Journal => "the journal",
            Self::Snapshots => "snapshots",
            Self::Blobs => "other state",
        }
    }
}

/// Why something cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No space, or a quota.
    #[error("there is no space left: make room")]
    Full,
    /// It may not be written.
    #[error("it cannot be written: let vigie write there, or name another folder with --state")]
    ReadOnly,
    /// It was removed or replaced while vigie was running.
    #[error("it was removed or replaced: vigie makes it again")]
    Vanished,
    /// Another process has it.
    #[error("another vigie has taken it: name another folder with --state for one of them")]
    InUse,
    /// The journal is as long as it may get, because snapshots cannot be written.
    #[error("the journal is as long as it may get: see why snapshots cannot be written")]
    TooLong,
    /// Something else.
    #[error("{0}: see whether the disk is healthy")]
    Other(io::ErrorKind),
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind as Is;
        match error.kind() {
            Is::StorageFull | Is::QuotaExceeded | Is::FileTooLarge => Self::Full,
            Is::ReadOnlyFilesystem | Is::PermissionDenied => Self::ReadOnly,
            Is::NotFound => Self::Vanished,
            other => Self::Other(other),
        }
    }
}

/// Figures of a store, all since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What cannot be written now, and why. Evaluation goes on all the same.
    pub troubles: Vec<(Part, Cause)>,
    /// How often writing began to fail.
    pub troubles_begun: u64,
    /// Records (ticks of all SLOs) written to the journal.
    pub records: u64,
    /// Records that were never written: what they held is lost if vigie is killed before the next
    /// snapshots.
    pub records_dropped: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Blobs written.
    pub blobs: u64,
    /// Times that data was made safe (`fdatasync`) for the journal.
    pub syncs: u64,
    /// Bytes written to all files.
    pub bytes_written: u64,
    /// Files put aside because they were damaged, those at opening included.
    pub put_aside: u64,
    /// Longest that making the journal safe took, in microseconds. Nobody but the writer waits for it.
    pub longest_sync_us: u64,
}

/// Counters that the writer and the handles share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    troubles: Mutex<[Option<Cause>; 3]>,
    pub(crate) troubles_begun: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) records_dropped: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) blobs: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) put_aside: AtomicU64,
    pub(crate) longest_sync_us: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Counters {
    /// Something could not be written. Told if it is news.
    pub(crate) fn trouble(&self, part: Part, cause: Cause, folder: &Path) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = troubles.get_mut(part as usize) else { return };
        if slot.replace(cause) != Some(cause) {
            add(&self.troubles_begun, 1);
            tracing::warn!(
                folder = %folder.display(),
                "SLO state, {}: {cause}; evaluation goes on in memory, and what is new is lost if vigie \
                 ends before this is repaired",
                part.word(),
            );
        }
    }

    /// It could be written.
    pub(crate) fn fine(&self, part: Part, folder: &Path) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.get_mut(part as usize).is_some_and(|slot| slot.take().is_some()) {
            tracing::info!(folder = %folder.display(), "SLO state: {} is written again", part.word());
        }
    }

    pub(crate) fn cause(&self, part: Part) -> Option<Cause> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.get(part as usize).copied().flatten()
    }

    pub(crate) fn status(&self) -> Status {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            troubles: Part::ALL
                .into_iter()
                .filter_map(|part| Some((part, self.cause(part)?)))
                .collect(),
            troubles_begun: get(&self.troubles_begun),
            records: get(&self.records),
            records_dropped: get(&self.records_dropped),
            snapshots: get(&self.snapshots),
            blobs: get(&self.blobs),
            syncs: get(&self.syncs),
            bytes_written: get(&self.bytes_written),
            put_aside: get(&self.put_aside),
            longest_sync_us: get(&self.longest_sync_us),
        }
    }
}
