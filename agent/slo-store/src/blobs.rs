//! Small states of others, such as what the alerts' receivers were told: bytes under a name.

use std::sync::Arc;

use crate::folder::Folder;
use crate::frame::{self, Kind};
use crate::name;
use crate::snapshot;
use crate::status::add;
use crate::writer::Shared;

/// Most bytes of a blob.
pub const MAX_BLOB: usize = 1 << 20;
/// Most blobs.
pub const MAX_BLOBS: usize = 32;

/// A blob that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Its name.
    #[error("{0:?} is no name for a blob: use a to z, digits and -, at most 64")]
    Name(String),
    /// Its size.
    #[error("a blob of {0} bytes is too large: keep at most {MAX_BLOB}")]
    TooLarge(usize),
    /// There are too many.
    #[error("there are {MAX_BLOBS} blobs already: use fewer names")]
    TooMany,
}

/// Puts and gets blobs. Cheap to clone, for any thread.
#[derive(Clone, Debug)]
pub struct Blobs {
    shared: Arc<Shared>,
}

impl Blobs {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Replaces a blob, soon and at once: after a crash it is the old or the new one. Never waits for the
    /// disk; where it cannot be written the latest one waits in memory.
    pub fn put(&self, name: &str, content: Vec<u8>) -> Result<(), BlobError> {
        if !name::is_blob(name) {
            return Err(BlobError::Name(name.to_owned()));
        }
        if content.len() > MAX_BLOB {
            return Err(BlobError::TooLarge(content.len()));
        }
        let mut queue = self.shared.lock();
        if !queue.blob_names.contains(name) {
            if queue.blob_names.len() >= MAX_BLOBS {
                return Err(BlobError::TooMany);
            }
            queue.blob_names.insert(name.to_owned());
        }
        queue.blobs.insert(name.to_owned(), content);
        drop(queue);
        self.shared.wake();
        Ok(())
    }

    /// The blob that was last put, in this run or an earlier one. None if there is none, or if it is
    /// damaged: then it is put aside, which is told and counted. Reads the disk.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        if !name::is_blob(name) {
            return None;
        }
        if let Some(waiting) = self.shared.lock().blobs.get(name) {
            return Some(waiting.clone());
        }
        let file = snapshot::blob_name(name);
        let folder = Folder::borrowed(self.shared.folder.clone());
        let bytes = match folder.read(&file) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!("state {file} cannot be read ({error}): it starts anew");
                return None;
            }
        };
        match frame::unseal(Kind::Blob, &bytes) {
            Ok(content) => Some(content.to_vec()),
            Err(why) => {
                tracing::warn!("state {file} is put aside, {why}: it starts anew");
                if folder.put_aside(&file).is_ok() {
                    add(&self.shared.counters.put_aside, 1);
                }
                None
            }
        }
    }
}
