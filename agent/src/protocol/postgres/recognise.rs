//! Whether first bytes are PostgreSQL's: a client's first message, or, on a connection that is older
//! than vigie, a turn of messages that are right to the last field.

use super::message::{
    GSS, MAJOR, SSL, header, is_backend, is_frontend, is_startup, startup, string,
};
use crate::protocol::conversation::{Opening, Recognition};
use crate::protocol::statement::operation;

/// Types of a client's messages.
const FRONTEND: &[u8] = b"BCDEFHPQSXcdfp";

/// Types of a server's messages.
const BACKEND: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";

/// How sure it is after a look at some messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At least one has fields that only such a message has; all others are possible ones.
    Certain,
    /// All are possible, and none says much.
    Possible,
    /// The last one is not whole.
    Cut {
        /// Whether those before it are certain.
        certain: bool,
    },
    /// One is none.
    Wrong,
}

pub(super) fn recognise(opening: &Opening<'_>) -> Recognition {
    let bytes = opening.bytes;
    match begin(bytes) {
        Look::Certain => return Recognition::Yes(opening.role_if_request()),
        Look::Possible | Look::Cut { .. } => return Recognition::More,
        Look::Wrong => {}
    }
    let request = walk(bytes, FRONTEND, frontend);
    let response = walk(bytes, BACKEND, backend);
    match (request, response) {
        (Look::Certain | Look::Cut { certain: true }, _) => {
            Recognition::Yes(opening.role_if_request())
        }
        (_, Look::Certain | Look::Cut { certain: true }) => {
            Recognition::Yes(opening.role_if_response())
        }
        // More may follow in the same turn.
        (Look::Possible | Look::Cut { .. }, _) | (_, Look::Possible | Look::Cut { .. }) => {
            Recognition::More
        }
        _ => Recognition::No,
    }
}

/// A whole call of messages that a client sends, the first of which begins with it.
pub(super) fn is_frontend_turn(bytes: &[u8]) -> bool {
    matches!(
        walk(bytes, FRONTEND, frontend),
        Look::Certain | Look::Possible | Look::Cut { certain: true }
    )
}

/// The message that has no type.
fn begin(bytes: &[u8]) -> Look {
    let Some((length, code)) = startup(bytes) else {
        // The length, and the upper half of the version or of the codes.
        let known = match bytes {
            [0] | [0, 0] | [0, 0, _] | [0, 0, _, _] => true,
            [0, 0, _, _, rest @ ..] => {
                [0, 3, 0].starts_with(rest) || [0x04, 0xd2, 0x16].starts_with(rest)
            }
            _ => false,
        };
        return if known { Look::Cut { certain: false } } else { Look::Wrong };
    };
    if !is_startup(length, code) {
        return Look::Wrong;
    }
    if code >> 16 != MAJOR {
        return match bytes.len() {
            8 if matches!(code, SSL | GSS) => Look::Certain,
            // The client waits for the answer to these.
            _ if matches!(code, SSL | GSS) => Look::Wrong,
            _ => Look::Certain,
        };
    }
    // Names of parameters are words; the first is usually `user`, which must be there.
    let mut rest = bytes.get(8..).unwrap_or_default();
    let whole = bytes.len() >= length as usize;
    while let Some((name, after)) = string(rest) {
        if name == b"user" {
            return Look::Certain;
        }
        let is_name = !name.is_empty()
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(byte));
        if !is_name {
            return Look::Wrong;
        }
        let Some((_, after)) = string(after) else { break };
        rest = after;
    }
    if whole { Look::Wrong } else { Look::Cut { certain: false } }
}

/// Looks at message after message.
fn walk(bytes: &[u8], kinds: &[u8], look: fn(u8, &[u8], usize) -> Look) -> Look {
    let mut rest = bytes;
    let mut certain = false;
    if rest.is_empty() {
        return Look::Wrong;
    }
    while !rest.is_empty() {
        let Some((kind, length)) = header(rest) else {
            let could_be = rest.len() < 5 && rest.first().is_some_and(|kind| kinds.contains(kind));
            return if could_be { Look::Cut { certain } } else { Look::Wrong };
        };
        let length = length as usize;
        let payload = rest.get(5..).unwrap_or_default();
        let here = payload.get(..length).unwrap_or(payload);
        match look(kind, here, length) {
            Look::Wrong => return Look::Wrong,
            Look::Certain => certain = true,
            Look::Cut { certain: this } => certain |= this,
            Look::Possible => {}
        }
        if here.len() < length {
            return Look::Cut { certain };
        }
        rest = payload.get(length..).unwrap_or_default();
    }
    if certain { Look::Certain } else { Look::Possible }
}

/// A client's message, of which `payload` is here.
fn frontend(kind: u8, payload: &[u8], length: usize) -> Look {
    let whole = payload.len() == length;
    if !is_frontend(kind, u32::try_from(length).unwrap_or(u32::MAX)) {
        return Look::Wrong;
    }
    match kind {
        b'Q' => match (string(payload), whole) {
            (Some((text, [])), true) if is_statement(text) => Look::Certain,
            (None, false) if is_beginning(payload) => Look::Cut { certain: true },
            (None, false) if payload.len() < 16 => Look::Cut { certain: false },
            _ => Look::Wrong,
        },
        b'P' => {
            let parts = string(payload).map(|(_, rest)| (rest, string(rest)));
            match parts {
                Some((_, Some((text, types)))) if whole => {
                    let [high, low, rest @ ..] = types else { return Look::Wrong };
                    let count = usize::from(u16::from_be_bytes([*high, *low]));
                    let right = rest.len() == 4 * count && is_statement(text);
                    if right { Look::Certain } else { Look::Wrong }
                }
                Some((text, None)) if !whole && is_beginning(text) => Look::Cut { certain: true },
                Some((text, Some((whole_text, _)))) if !whole && is_statement(whole_text) => {
                    Look::Cut { certain: text.len() > 4 }
                }
                _ if !whole && payload.len() < 64 => Look::Cut { certain: false },
                _ => Look::Wrong,
            }
        }
        b'B' => bind(payload, whole),
        b'C' | b'D' => match payload {
            [b'S' | b'P', rest @ ..] if whole => certain_if(matches!(string(rest), Some((_, [])))),
            [b'S' | b'P', ..] => Look::Cut { certain: false },
            _ => Look::Wrong,
        },
        b'E' => match string(payload) {
            Some((_, rest)) if whole => certain_if(rest.len() == 4),
            _ if whole => Look::Wrong,
            _ => Look::Cut { certain: false },
        },
        _ => Look::Possible,
    }
}

fn certain_if(right: bool) -> Look {
    if right { Look::Certain } else { Look::Wrong }
}

/// Formats are 0 or 1, lengths of values add up.
fn bind(payload: &[u8], whole: bool) -> Look {
    let cut = Look::Cut { certain: false };
    let wrong = if whole { Look::Wrong } else { cut };
    let Some((_, rest)) = string(payload) else { return wrong };
    let Some((_, rest)) = string(rest) else { return wrong };
    let Some(mut rest) = formats(rest) else { return Look::Wrong };
    let Some((count, values)) = rest.split_first_chunk() else { return wrong };
    rest = values;
    for _ in 0..u16::from_be_bytes(*count) {
        let Some((length, value)) = rest.split_first_chunk() else { return wrong };
        // -1 is NULL.
        let length = i32::from_be_bytes(*length);
        if length < -1 {
            return Look::Wrong;
        }
        let Some(after) = value.get(usize::try_from(length).unwrap_or(0)..) else { return wrong };
        rest = after;
    }
    match formats(rest) {
        Some([]) if whole => Look::Certain,
        Some(_) if !whole => cut,
        _ => Look::Wrong,
    }
}

/// What follows format codes. `None` when one is none; an empty rest when they are cut.
fn formats(bytes: &[u8]) -> Option<&[u8]> {
    let Some((count, mut rest)) = bytes.split_first_chunk() else { return Some(&[]) };
    for _ in 0..u16::from_be_bytes(*count) {
        let Some((code, after)) = rest.split_first_chunk() else { return Some(&[]) };
        if u16::from_be_bytes(*code) > 1 {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

/// Whether a text begins like a statement.
fn is_statement(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    if text.is_empty()
        || text.starts_with(b"--")
        || text.starts_with(b"/*")
        || text.starts_with(b"(")
    {
        return true;
    }
    let end = text.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(text.len());
    let word = text.get(..end).and_then(|word| std::str::from_utf8(word).ok());
    word.is_some_and(|word| operation(word).is_some())
}

/// Whether these are the first bytes of a statement: enough to be sure, and none that texts do not have.
fn is_beginning(text: &[u8]) -> bool {
    let is_text = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace();
    text.len() >= 12 && is_statement(text) && text.iter().all(is_text)
}

/// A server's message.
fn backend(kind: u8, payload: &[u8], length: usize) -> Look {
    let whole = payload.len() == length;
    if !is_backend(kind, u32::try_from(length).unwrap_or(u32::MAX)) {
        return Look::Wrong;
    }
    match kind {
        b'Z' => match payload {
            [] => Look::Cut { certain: false },
            [status] => certain_if(b"ITE".contains(status)),
            _ => Look::Wrong,
        },
        b'D' => row(payload, whole),
        b'C' => match string(payload) {
            Some((tag, [])) if tag.first().is_some_and(u8::is_ascii_uppercase) => Look::Possible,
            None if !whole => Look::Cut { certain: false },
            _ => Look::Wrong,
        },
        b'E' | b'N' => match payload {
            [b'S', rest @ ..] if rest.first().is_none_or(u8::is_ascii_uppercase) => Look::Possible,
            [] => Look::Cut { certain: false },
            _ => Look::Wrong,
        },
        _ => Look::Possible,
    }
}

/// Lengths of values add up.
fn row(payload: &[u8], whole: bool) -> Look {
    let wrong = if whole { Look::Wrong } else { Look::Cut { certain: false } };
    let Some((count, mut rest)) = payload.split_first_chunk() else { return wrong };
    for _ in 0..u16::from_be_bytes(*count) {
        let Some((length, value)) = rest.split_first_chunk() else { return wrong };
        let length = i32::from_be_bytes(*length);
        if length < -1 {
            return Look::Wrong;
        }
        let Some(after) = value.get(usize::try_from(length).unwrap_or(0)..) else { return wrong };
        rest = after;
    }
    if whole && rest.is_empty() { Look::Possible } else { wrong }
}
