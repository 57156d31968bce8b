//! The history as bytes, in blobs of bounded size: any of them can be read without the others.
//!
//! A blob: eight letters, the version, the steps, then endpoints with their rows. What was not written here
//! is refused as a whole, whatever it is; counters in it have bounds, so that no reading takes more memory
//! than the blob is long.

use hashbrown::hash_map::Entry;
use vigie_slo::select::Direction;
use vigie_slo::suggest::Endpoint;

use super::rows::Rows;
use super::steps::Steps;
use super::varint::{Reader, put};
use super::{History, MAX_ENDPOINTS, MAX_TEXT, Track, minute};

const LETTERS: &[u8; 8] = b"vigiehst";
const VERSION: u8 = 1;

/// Largest blob of [`History::encode`] for a store of blobs. An endpoint has at most 0.5 MB.
pub const MAX_BLOB_BYTES: usize = 1 << 20;

/// Bytes that are no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not written by vigie.
    #[error("not a history")]
    Foreign,
    /// By a later vigie, or an earlier one.
    #[error("a history of version {0}, this vigie reads {VERSION}")]
    Version(u8),
    /// Damaged.
    #[error("a damaged history")]
    Damaged,
}

impl History {
    /// All of it as blobs of at most `most` bytes (as long as one endpoint fits in), at least one.
    pub fn encode(&self, most: usize) -> Vec<Vec<u8>> {
        let mut head = LETTERS.to_vec();
        head.push(VERSION);
        self.steps.encode(&mut head);
        let mut blobs = Vec::new();
        let mut blob = head.clone();
        let mut all: Vec<_> = self.tracks.iter().collect();
        all.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        for (endpoint, track) in all {
            let mut part = Vec::new();
            write(&mut part, endpoint, track);
            if blob.len() + part.len() > most && blob.len() > head.len() {
                blobs.push(std::mem::replace(&mut blob, head.clone()));
            }
            blob.extend(part);
        }
        blobs.push(blob);
        blobs
    }

    /// Reads blobs; goes on at this time (seconds since 1970). What is later than it is left out. Of an
    /// endpoint that is in several blobs, written at different times, the latest counts.
    ///
    /// The errors are of blobs that are left out, by their position.
    pub fn decode<'a>(
        blobs: impl IntoIterator<Item = &'a [u8]>,
        now_unix_s: i64,
    ) -> (Self, Vec<(usize, BlobError)>) {
        let mut history = Self::new(now_unix_s);
        let mut errors = Vec::new();
        for (index, blob) in blobs.into_iter().enumerate() {
            match read(blob, minute(now_unix_s)) {
                Ok((steps, tracks)) => history.take(steps, tracks),
                Err(error) => errors.push((index, error)),
            }
        }
        history.expire();
        history.trim();
        (history, errors)
    }

    /// Reads one blob as it was when it was written, however old it is.
    pub fn of_file(blob: &[u8]) -> Result<Self, BlobError> {
        let (steps, tracks) = read(blob, i64::MAX)?;
        let mut history = Self::new(steps.last().unwrap_or_default());
        history.take(steps, tracks);
        history.trim();
        Ok(history)
    }

    fn take(&mut self, steps: Steps, tracks: Vec<(Endpoint, Track)>) {
        self.steps.merge(steps);
        for (endpoint, track) in tracks {
            match self.tracks.entry(endpoint) {
                Entry::Vacant(vacant) => drop(vacant.insert(track)),
                Entry::Occupied(mut known) if known.get().fine.last() < track.fine.last() => {
                    known.insert(track);
                }
                Entry::Occupied(_) => {}
            }
        }
    }
}

fn write(bytes: &mut Vec<u8>, endpoint: &Endpoint, track: &Track) {
    let Endpoint { service, namespace, direction, protocol, peer, route, method } = endpoint;
    for text in [service, namespace, protocol] {
        put(bytes, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.push(match direction {
        Direction::Server => 0,
        Direction::Client => 1,
    });
    for text in [peer, route, method] {
        // None is written as an empty text, which is no name.
        let text = text.as_deref().unwrap_or_default();
        put(bytes, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
    }
    put(bytes, track.activity);
    track.fine.encode(bytes);
    track.coarse.encode(bytes);
}

type Parts = (Steps, Vec<(Endpoint, Track)>);

fn read(blob: &[u8], now: i64) -> Result<Parts, BlobError> {
    let rest = blob.strip_prefix(LETTERS.as_slice()).ok_or(BlobError::Foreign)?;
    let (version, rest) = rest.split_first().ok_or(BlobError::Damaged)?;
    if *version != VERSION {
        return Err(BlobError::Version(*version));
    }
    let mut reader = Reader(rest);
    let mut parts = || {
        let steps = Steps::decode(&mut reader, now)?;
        let mut tracks = Vec::new();
        while !reader.is_empty() {
            if tracks.len() >= MAX_ENDPOINTS {
                return None;
            }
            tracks.push(endpoint(&mut reader, now)?);
        }
        Some((steps, tracks))
    };
    parts().ok_or(BlobError::Damaged)
}

fn endpoint(reader: &mut Reader<'_>, now: i64) -> Option<(Endpoint, Track)> {
    let (service, namespace, protocol) = (text(reader)?, text(reader)?, text(reader)?);
    let direction = match reader.number()? {
        0 => Direction::Server,
        1 => Direction::Client,
        _ => return None,
    };
    let mut optional = || text(reader).map(|text| Some(text).filter(|text| !text.is_empty()));
    let (peer, route, method) = (optional()?, optional()?, optional()?);
    let endpoint = Endpoint { service, namespace, direction, protocol, peer, route, method };
    let activity = reader.number()?;
    let fine = Rows::fine().decode(reader, now)?;
    let coarse = Rows::coarse().decode(reader, now)?;
    Some((endpoint, Track { fine, coarse, activity }))
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    let bytes = reader.bytes().filter(|bytes| bytes.len() <= MAX_TEXT)?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
