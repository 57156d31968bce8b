//! The end of a response of which the middle was not copied: the last messages of a call.

use super::message::{header, is_backend, sqlstate, tag};

/// Bytes of the end of a call that are kept.
const KEPT: usize = 128;

/// The last bytes that came, as long as none between is missing.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

/// What the end of a call shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// What the last command did: its rows, or the code of its error. `None` when that is not seen.
    pub(super) outcome: Option<Result<Option<u64>, Box<str>>>,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let last = bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or_default();
        let keep = KEPT - last.len();
        let drop = self.bytes.len().saturating_sub(keep);
        self.bytes.drain(..drop);
        self.bytes.extend_from_slice(last);
    }

    /// Bytes are missing.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Whether it ends with `ReadyForQuery`, and what is before that.
    pub(super) fn ending(&self) -> Option<Ending> {
        let (before, ready) = self.bytes.split_last_chunk::<6>()?;
        if !matches!(ready, [b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E']) {
            return None;
        }
        // The longest chain of whole messages up to there that has an outcome.
        let chain = (0..before.len()).filter_map(|begin| outcome(before.get(begin..)?));
        Some(Ending { outcome: chain.into_iter().next() })
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The outcome in a chain of messages that ends with the bytes, and begins with the one that has it.
fn outcome(mut bytes: &[u8]) -> Option<Result<Option<u64>, Box<str>>> {
    let mut outcome = None;
    while !bytes.is_empty() {
        let (kind, length) = header(bytes)?;
        let payload = bytes.get(5..)?.get(..length as usize)?;
        if !is_backend(kind, length) {
            return None;
        }
        match kind {
            b'C' if payload.last() == Some(&0) && payload.iter().all(u8::is_ascii) => {
                outcome = Some(Ok(tag(payload).1));
            }
            b'E' => outcome = Some(Err(sqlstate(payload)?.into())),
            // Others may follow, but the outcome comes first.
            _ => _ = outcome.as_ref()?,
        }
        bytes = bytes.get(5 + length as usize..)?;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(pieces: &[&[u8]]) -> Option<Ending> {
        let mut tail = Tail::default();
        for piece in pieces {
            tail.push(piece);
        }
        tail.ending()
    }

    #[test]
    fn the_end_of_a_call_shows_what_became_of_the_command() {
        let complete: &[u8] = b"C\0\0\0\x0eSELECT 12\0Z\0\0\0\x05I";
        let rows = Some(Ending { outcome: Some(Ok(Some(12))) });
        assert_eq!(ending(&[b"some of a row", complete]), rows);
        assert_eq!(ending(&[&[b'x'; 1000], complete]), rows);
        for cut in 0..complete.len() {
            let (first, second) = complete.split_at(cut);
            assert_eq!(ending(&[b"row", first, second]), rows);
        }
        let error = b"E\0\0\0\x16SERROR\0C42P01\0Mx\0\0Z\0\0\0\x05E";
        let code = Some(Ending { outcome: Some(Err("42P01".into())) });
        assert_eq!(ending(&[b"row", error]), code);
        assert_eq!(ending(&[b"row Z\0\0\0\x05I"]), Some(Ending { outcome: None }));
        assert_eq!(ending(&[b"row Z\0\0\0\x05X"]), None);
        assert_eq!(ending(&[b"Z\0\0\0"]), None);
    }
}
