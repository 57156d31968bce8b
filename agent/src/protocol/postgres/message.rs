//! Messages of PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2: how they are framed, and
//! their fields. <https://www.postgresql.org/docs/18/protocol-message-formats.html>
//!
//! A message is a type of one byte, a length of four that includes itself, and a payload. Only the
//! first message of a client has no type.

use crate::protocol::framer::Framing;
use crate::protocol::statement::MAX_TEXT;

/// Longest message: what the server allocates at most.
const MAX_LENGTH: u32 = 0x3fff_ffff;

/// Longest start-up message (`MAX_STARTUP_PACKET_LENGTH`).
const MAX_STARTUP: u32 = 10_000;

/// Bytes that are kept of the names of a statement and a portal.
pub(super) const MAX_NAME: usize = 255;

/// Bytes that are kept of an error: its code is among the first fields.
const ERROR: usize = 256;

/// `CancelRequest`, in the place of a version.
pub(super) const CANCEL: u32 = 80_877_102;
/// `SSLRequest`.
pub(super) const SSL: u32 = 80_877_103;
/// `GSSENCRequest`.
pub(super) const GSS: u32 = 80_877_104;
/// Protocol version 3.
pub(super) const MAJOR: u32 = 3;

/// What a client sends.
#[derive(Debug)]
pub(super) struct Frontend {
    /// The next message has no type.
    pub(super) starting: bool,
}

/// What a server sends.
#[derive(Debug)]
pub(super) struct Backend;

/// Type and length of the payload of a header of five bytes.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, u32)> {
    let (&kind, length) = bytes.split_first()?;
    let length = u32::from_be_bytes(*length.first_chunk()?);
    (length <= MAX_LENGTH).then_some((kind, length.checked_sub(4)?))
}

/// Whether a client's message of this type may have a payload of so many bytes.
pub(super) fn is_frontend(kind: u8, length: u32) -> bool {
    match kind {
        b'Q' | b'p' => length >= 1,
        b'P' | b'F' => length >= 4,
        b'B' => length >= 8,
        b'C' | b'D' => length >= 2,
        b'E' => length >= 5,
        b'H' | b'S' | b'X' | b'c' => length == 0,
        b'f' => (1..=1 << 20).contains(&length),
        b'd' => true,
        _ => false,
    }
}

/// Whether a server's message of this type may have a payload of so many bytes.
pub(super) fn is_backend(kind: u8, length: u32) -> bool {
    match kind {
        b'1' | b'2' | b'3' | b'I' | b'c' | b'n' | b's' => length == 0,
        b'Z' => length == 1,
        b'C' => (1..=255).contains(&length),
        b'D' | b'T' | b't' => length >= 2,
        b'E' | b'N' => (1..=1 << 20).contains(&length),
        b'A' => (6..=1 << 14).contains(&length),
        b'G' | b'H' | b'W' => (3..=1 << 16).contains(&length),
        b'K' => (8..=260).contains(&length),
        b'R' => (4..=1 << 16).contains(&length),
        b'S' => (2..=1 << 16).contains(&length),
        b'V' => length >= 4,
        b'v' => (8..=1 << 16).contains(&length),
        b'd' => true,
        _ => false,
    }
}

/// Whether these may be the length and the version of a client's first message.
pub(super) fn is_startup(length: u32, code: u32) -> bool {
    match code {
        SSL | GSS => length == 8,
        // The key has 4 bytes, up to 256 since version 3.2.
        CANCEL => (16..=268).contains(&length),
        version => version >> 16 == MAJOR && (9..=MAX_STARTUP).contains(&length),
    }
}

impl Framing for Frontend {
    fn header_length(&self) -> usize {
        if self.starting { 8 } else { 5 }
    }

    fn payload(&self, bytes: &[u8]) -> Option<(u64, usize)> {
        if self.starting {
            let (length, code) = startup(bytes)?;
            let keep = if code >> 16 == MAJOR { MAX_STARTUP as usize } else { 0 };
            let rest = length.checked_sub(8)?;
            return is_startup(length, code).then_some((rest.into(), keep));
        }
        let (kind, length) = header(bytes)?;
        // Passwords, values of parameters and copied data are not kept.
        let keep = match kind {
            b'Q' => MAX_TEXT + 1,
            b'P' => MAX_NAME + 1 + MAX_TEXT + 1,
            b'B' => 2 * (MAX_NAME + 1),
            b'C' | b'D' | b'E' => MAX_NAME + 2,
            _ => 0,
        };
        is_frontend(kind, length).then_some((length.into(), keep))
    }
}

impl Framing for Backend {
    fn header_length(&self) -> usize {
        5
    }

    fn payload(&self, bytes: &[u8]) -> Option<(u64, usize)> {
        let (kind, length) = header(bytes)?;
        let keep = match kind {
            b'C' | b'E' => ERROR,
            b'Z' => 1,
            _ => 0,
        };
        is_backend(kind, length).then_some((length.into(), keep))
    }
}

/// Length and version of a client's first message.
pub(super) fn startup(bytes: &[u8]) -> Option<(u32, u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let code = rest.first_chunk::<4>()?;
    Some((u32::from_be_bytes(*length), u32::from_be_bytes(*code)))
}

/// A string that ends with a zero, and what follows it; `None` when its end is not there.
pub(super) fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// The value of a parameter of the start-up message.
pub(super) fn parameter<'a>(mut bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    while let Some((name, rest)) = string(bytes) {
        if name.is_empty() {
            return None;
        }
        let (value, rest) = string(rest)?;
        if name == wanted {
            return Some(value);
        }
        bytes = rest;
    }
    None
}

/// The SQLSTATE of an error's fields: five digits or capitals. `None` when it is not there.
pub(super) fn sqlstate(mut fields: &[u8]) -> Option<&str> {
    while let Some((&kind, rest)) = fields.split_first() {
        let (value, rest) = string(rest)?;
        if kind == b'C' {
            let is_code = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
            let is_one = value.len() == 5 && value.iter().all(is_code);
            return std::str::from_utf8(value).ok().filter(|_| is_one);
        }
        fields = rest;
    }
    None
}

/// The first word and the last number of a command tag: `INSERT 0 5`, `SELECT 5`, `CREATE TABLE`.
pub(super) fn tag(payload: &[u8]) -> (Option<&'static str>, Option<u64>) {
    let text = payload.strip_suffix(b"\0").unwrap_or(payload);
    let Ok(text) = std::str::from_utf8(text) else { return (None, None) };
    let operation = text.split(' ').next().and_then(crate::protocol::statement::operation);
    let rows = text.rsplit(' ').next().and_then(|last| last.parse().ok());
    (operation, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(tag(b"INSERT 0 5\0"), (Some("INSERT"), Some(5)));
        assert_eq!(tag(b"SELECT 12\0"), (Some("SELECT"), Some(12)));
        assert_eq!(tag(b"CREATE TABLE\0"), (Some("CREATE"), None));
        assert_eq!(tag(b"swordfish\0"), (None, None));
        assert_eq!(sqlstate(b"SERROR\0VERROR\0C42P01\0Mno\0\0"), Some("42P01"));
        assert_eq!(sqlstate(b"SERROR\0VERROR\0C42P0"), None);
        assert_eq!(sqlstate(b"C4 P01\0"), None);
        assert_eq!(parameter(b"user\0me\0database\0shop\0\0", b"database"), Some(&b"shop"[..]));
        assert_eq!(parameter(b"user\0database\0\0", b"database"), None);
        assert_eq!(parameter(b"user\0me", b"user"), None);
    }
}
