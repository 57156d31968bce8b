//! Snapshots: the state of one SLO, with the number of the last record that is in it.

use vigie_slo::evaluate::Evaluator;
use vigie_slo::state::{Reader, Unusable, Writer};

const SNAPSHOT: &str = "slo-";
const BLOB: &str = "blob-";

/// Name of the file for the SLO that is filed under `key`.
pub(crate) fn file_name(key: &str) -> String {
    format!("{SNAPSHOT}{key}")
}

/// What an SLO is filed under, by the name of its file.
pub(crate) fn key_of(file: &str) -> Option<&str> {
    file.strip_prefix(SNAPSHOT)
}

/// Name of the file of a blob.
pub(crate) fn blob_name(name: &str) -> String {
    format!("{BLOB}{name}")
}

/// The blob in a file.
pub(crate) fn blob_of(file: &str) -> Option<&str> {
    file.strip_prefix(BLOB)
}

/// The content of a snapshot's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot<'a> {
    /// Number of the last record that is in it.
    pub(crate) seq: u64,
    /// When it was made, by the clock of ticks, in seconds since 1970.
    pub(crate) t: i64,
    /// Name of the SLO.
    pub(crate) name: &'a str,
    /// The state.
    pub(crate) state: &'a [u8],
}

/// The content for the file of an SLO.
pub(crate) fn write(seq: u64, t: i64, evaluator: &Evaluator) -> Vec<u8> {
    let mut out = Writer::default();
    out.u64(seq);
    out.signed(t);
    out.text(&evaluator.slo().name);
    out.raw(&evaluator.encode());
    out.into_bytes()
}

/// What is in such a content.
pub(crate) fn read(content: &[u8]) -> Result<Snapshot<'_>, Unusable> {
    let mut reader = Reader::new(content);
    let (seq, t, name) = (reader.u64()?, reader.time()?, reader.text()?);
    Ok(Snapshot { seq, t, name, state: reader.rest() })
}
