//! What a message says: the command of a request and the outcome of a response, from a BSON document of
//! which only the beginning may be there.

use std::borrow::Cow;
use std::io::Read as _;
use std::sync::Arc;

use bson::{RawBsonRef, RawDocument};

use super::{commands, opcode};
use crate::span::database::{DatabaseError, Statement};

/// The compression of the body is not read, or it is none that can be.
#[derive(Debug)]
pub(super) struct Unseen;

/// A message without its frame.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    /// Bits of an `OP_MSG`, else 0.
    pub(super) flags: u32,
    /// Its document, as far as it is there.
    pub(super) document: Cow<'a, [u8]>,
}

/// Bytes that a compressed body is taken apart to at most.
const INFLATED: u64 = 4096;

/// The body of a message with that code, as far as it was kept.
pub(super) fn of(code: i32, payload: &[u8]) -> Result<Body<'_>, Unseen> {
    match code {
        opcode::MSG => {
            let (bits, mut rest) = payload.split_first_chunk().ok_or(Unseen)?;
            // Bulk writes may have their documents first (kind 1): bounded by what was kept.
            loop {
                let (kind, section) = rest.split_first().ok_or(Unseen)?;
                if *kind == 0 {
                    let flags = u32::from_le_bytes(*bits);
                    return Ok(Body { flags, document: Cow::Borrowed(section) });
                }
                let length = section.first_chunk().map(|length| u32::from_le_bytes(*length));
                let length = usize::try_from(length.ok_or(Unseen)?).map_err(|_| Unseen)?;
                rest = section.get(length.max(4)..).ok_or(Unseen)?;
            }
        }
        opcode::QUERY => {
            // Flags, name of the collection, two numbers.
            let name = payload.get(4..).ok_or(Unseen)?;
            let end = name.iter().position(|byte| *byte == 0).ok_or(Unseen)?;
            let document = name.get(end + 9..).ok_or(Unseen)?;
            Ok(Body { flags: 0, document: Cow::Borrowed(document) })
        }
        opcode::REPLY => {
            let document = payload.get(20..).ok_or(Unseen)?;
            Ok(Body { flags: 0, document: Cow::Borrowed(document) })
        }
        opcode::COMPRESSED => {
            const ZLIB: u8 = 2;
            let original = payload.first_chunk().map(|code| i32::from_le_bytes(*code));
            let original = original.filter(|code| *code != opcode::COMPRESSED).ok_or(Unseen)?;
            if payload.get(8) != Some(&ZLIB) {
                return Err(Unseen);
            }
            let mut inflated = Vec::new();
            // An error at the end is that of a body that is not there as a whole.
            let _ = flate2::read::ZlibDecoder::new(payload.get(9..).unwrap_or_default())
                .take(INFLATED)
                .read_to_end(&mut inflated);
            let body = of(original, &inflated)?;
            Ok(Body { flags: body.flags, document: Cow::Owned(body.document.into_owned()) })
        }
        _ => Err(Unseen),
    }
}

/// Gives the fields of a document to `each`, until it returns false or what is there ends.
fn fields(document: &[u8], mut each: impl FnMut(&str, RawBsonRef<'_>) -> bool) {
    let Some(length) = document.first_chunk().map(|length| u32::from_le_bytes(*length)) else {
        return;
    };
    let whole = usize::try_from(length).ok().and_then(|length| document.get(..length));
    let cut;
    let bytes = if let Some(whole) = whole {
        whole
    } else {
        // Ended where it is cut: a field in the middle shows as an error.
        let mut ended = document.to_vec();
        ended.push(0);
        let Ok(length) = u32::try_from(ended.len()) else { return };
        if let Some(first) = ended.first_chunk_mut() {
            *first = length.to_le_bytes();
        }
        cut = ended;
        &cut
    };
    let Ok(document) = RawDocument::from_bytes(bytes) else { return };
    for field in document {
        let Ok((key, value)) = field else { return };
        if !each(key.as_str(), value) {
            return;
        }
    }
}

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// The command; empty where it was not seen.
    pub(super) command: Box<str>,
    /// The collection; empty where there is none.
    pub(super) collection: Box<str>,
    /// The database.
    pub(super) database: Option<Arc<str>>,
    /// It waits by intent: a monitor's `hello`, a cursor that follows.
    pub(super) waits: bool,
}

/// Longest name that is kept.
const MAX_NAME: usize = 128;

impl Question {
    pub(super) fn read(document: &[u8]) -> Self {
        let mut question = Self::default();
        let mut is_first = true;
        fields(document, |key, value| {
            if std::mem::take(&mut is_first) {
                // Any other word may be anything, a secret, too.
                let Some(command) = commands::known(key) else { return false };
                question.command = command.into();
                if let RawBsonRef::String(name) = value
                    && has_collection(key)
                {
                    question.collection = bounded(name).into();
                }
                return true;
            }
            match (key, value) {
                ("$db", RawBsonRef::String(name)) => question.database = Some(bounded(name).into()),
                ("collection", RawBsonRef::String(name)) if &*question.command == "getMore" => {
                    question.collection = bounded(name).into();
                }
                ("maxAwaitTimeMS" | "awaitData", _) => question.waits = true,
                _ => {}
            }
            true
        });
        question
    }

    pub(super) fn statement(&self) -> Statement {
        let summary = if self.collection.is_empty() {
            self.command.clone()
        } else {
            format!("{} {}", self.command, self.collection).into()
        };
        Statement {
            operation: self.command.clone(),
            collection: self.collection.clone(),
            summary,
            text: None,
        }
    }
}

/// Whether a command's value is the name of a collection. Others have a number there, or a secret.
fn has_collection(command: &str) -> bool {
    const COMMANDS: [&str; 22] = [
        "find",
        "insert",
        "update",
        "delete",
        "aggregate",
        "findAndModify",
        "findandmodify",
        "count",
        "distinct",
        "create",
        "drop",
        "createIndexes",
        "dropIndexes",
        "listIndexes",
        "killCursors",
        "mapReduce",
        "collStats",
        "validate",
        "compact",
        "collMod",
        "bulkWrite",
        "reIndex",
    ];
    COMMANDS.contains(&command)
}

fn bounded(name: &str) -> &str {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The error, where there was one.
    pub(super) error: Option<DatabaseError>,
}

impl Answer {
    /// `ok` is 0 with a `code` and, since 3.4, its `codeName`; a write that failed for some documents
    /// has `ok` 1 and their codes in `writeErrors`.
    pub(super) fn read(document: &[u8]) -> Self {
        let (mut failed, mut code) = (false, None);
        fields(document, |key, value| {
            match (key, value) {
                ("ok", RawBsonRef::Double(ok)) => failed |= ok == 0.0,
                ("ok", RawBsonRef::Int32(ok)) => failed |= ok == 0,
                ("code", RawBsonRef::Int32(number)) => {
                    code.get_or_insert(number);
                }
                ("writeErrors", RawBsonRef::Array(errors)) => {
                    let first = errors.into_iter().flatten().next();
                    if let Some(RawBsonRef::Document(error)) = first
                        && let Ok(number) = error.get_i32("code")
                    {
                        failed = true;
                        code = Some(number);
                    }
                }
                _ => {}
            }
            true
        });
        let error = failed.then(|| {
            let text = code.map_or_else(|| "_OTHER".to_owned(), |code| code.to_string());
            DatabaseError::Code(text.into())
        });
        Self { error }
    }
}
