//! Packets, and what the short ones among them say.
//!
//! A packet has a length of three bytes, little-endian, a number that counts the packets of a command
//! and its response, and a payload. One of 2²⁴-1 bytes is continued in the next. See "MySQL Packets" and
//! "Generic Response Packets" of the client/server protocol.

use bytes::Buf as _;

use crate::span::database::SqlState;

/// Bytes of a packet's header.
pub(super) const HEADER: usize = 4;

/// Payload of a packet that is continued in the next one.
pub(super) const FULL: u64 = 0xff_ffff;

/// First bytes of the packets that end something.
pub(super) const OK: u8 = 0x00;
pub(super) const LOCAL_INFILE: u8 = 0xfb;
pub(super) const EOF: u8 = 0xfe;
pub(super) const ERR: u8 = 0xff;

/// Payload of an EOF packet; an OK packet has seven bytes or more.
pub(super) const EOF_LENGTH: u64 = 5;

/// Bytes of a payload by which any packet that ends something is known.
pub(super) const SHORTEST: u64 = 23;

/// Error number by which MariaDB says how far it has come: the command goes on.
const PROGRESS: u16 = 0xffff;

/// `SERVER_MORE_RESULTS_EXISTS`, `SERVER_STATUS_CURSOR_EXISTS`, `SERVER_STATUS_NO_BACKSLASH_ESCAPES`.
const MORE_RESULTS: u16 = 0x0008;
const CURSOR: u16 = 0x0040;
const NO_ESCAPES: u16 = 0x0200;

/// Length of the payload and number of the packet, from its header.
pub(super) fn header(header: &[u8]) -> Option<(u64, u8)> {
    let [a, b, c, number] = *header else { return None };
    Some((u32::from_le_bytes([a, b, c, 0]).into(), number))
}

/// The server's state as the end of a result tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Another result follows.
    pub(super) more: bool,
    /// The rows are to be asked for.
    pub(super) cursor: bool,
    /// A backslash escapes nothing in the strings of statements that follow.
    pub(super) no_escapes: bool,
    /// Rows that were changed, in an OK packet.
    pub(super) changed: Option<u64>,
}

impl Status {
    fn new(flags: u16, changed: Option<u64>) -> Self {
        Self {
            more: flags & MORE_RESULTS != 0,
            cursor: flags & CURSOR != 0,
            no_escapes: flags & NO_ESCAPES != 0,
            changed,
        }
    }
}

/// What an OK packet, or an EOF packet, says. It begins with [`OK`] or [`EOF`].
pub(super) fn status(payload: &[u8], length: u64) -> Option<Status> {
    let mut rest = payload.get(1..)?;
    if length == EOF_LENGTH {
        let _warnings = rest.try_get_u16_le().ok()?;
        return Some(Status::new(rest.try_get_u16_le().ok()?, None));
    }
    let changed = integer(&mut rest)?;
    let _last_id = integer(&mut rest)?;
    let flags = rest.try_get_u16_le().ok()?;
    let _warnings = rest.try_get_u16_le().ok()?;
    Some(Status::new(flags, Some(changed)))
}

/// What there is in an ERR packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// An error.
    Code(Code),
    /// None: MariaDB's report of progress.
    Progress,
}

/// An error's number and, since version 4.1 of the protocol, its SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) number: u16,
    pub(super) state: Option<SqlState>,
}

/// What an ERR packet says.
pub(super) fn failure(payload: &[u8]) -> Option<Failure> {
    let mut rest = payload.get(1..)?;
    Some(match rest.try_get_u16_le().ok()? {
        PROGRESS => Failure::Progress,
        number => {
            let state = rest.strip_prefix(b"#").and_then(|rest| rest.first_chunk().copied());
            Failure::Code(Code { number, state: state.and_then(SqlState::new) })
        }
    })
}

/// A length-encoded integer, which is taken off. `None` where there is none.
pub(super) fn integer(rest: &mut &[u8]) -> Option<u64> {
    match rest.try_get_u8().ok()? {
        short @ 0..=0xfa => Some(short.into()),
        0xfc => Some(rest.try_get_u16_le().ok()?.into()),
        0xfd => rest.try_get_uint_le(3).ok(),
        0xfe => rest.try_get_u64_le().ok(),
        _ => None,
    }
}

/// So many bytes, which are taken off.
pub(super) fn take<'a>(rest: &mut &'a [u8], count: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(count).ok()?)?;
    *rest = after;
    Some(taken)
}

/// A string that ends with a zero byte, without it; both are taken off.
pub(super) fn until_nul<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (text, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..)?;
    Some(text)
}

/// What the last bytes of a call say, where the packets before them were not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// A result set ended.
    End(Status),
    /// The response ended with an error.
    Failed(Code),
}

/// Looks for a packet at the end of a call's bytes that ends a response: EOF, OK in the place of EOF, or
/// an error. `has_eof`: whether the connection has EOF packets, where that is known.
pub(super) fn tail(bytes: &[u8], has_eof: Option<bool>) -> Option<Tail> {
    // The whole payload has to be there, so one byte is enough for its length.
    (EOF_LENGTH..=0xff).find_map(|length| {
        let begin = bytes.len().checked_sub(usize::try_from(length).ok()? + HEADER)?;
        let mut rest = bytes.get(begin..)?;
        let (said, _) = header(take(&mut rest, HEADER as u64)?)?;
        if said != length {
            return None;
        }
        match *rest.first()? {
            EOF if has_eof.is_none_or(|has_eof| has_eof == (length == EOF_LENGTH)) => {
                status(rest, length).map(Tail::End)
            }
            // An error has an SQLSTATE, behind its number.
            ERR if rest.get(3) == Some(&b'#') => match failure(rest)? {
                Failure::Code(code) => Some(Tail::Failed(code)),
                Failure::Progress => None,
            },
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_all_lengths() {
        let check = |bytes: &[u8], expected: Option<u64>, left: usize| {
            let mut rest = bytes;
            assert_eq!(integer(&mut rest), expected, "{bytes:x?}");
            assert_eq!(rest.len(), left, "{bytes:x?}");
        };
        check(b"\xfa!", Some(250), 1);
        check(b"\xfc\x01\x02!", Some(0x201), 1);
        check(b"\xfd\x01\x02\x03!", Some(0x3_0201), 1);
        check(b"\xfe\x01\0\0\0\0\0\0\x80", Some(0x8000_0000_0000_0001), 0);
        check(b"\xfb!", None, 1);
        check(b"\xff", None, 0);
        check(b"", None, 0);
        check(b"\xfc\x01", None, 1);
    }

    #[test]
    fn ends_of_results() {
        let more = Status { more: true, ..Status::default() };
        assert_eq!(status(b"\xfe\0\0\x08\0", 5), Some(more));
        let changed = |rows| Some(Status { changed: Some(rows), ..Status::default() });
        assert_eq!(status(b"\0\x03\0\x02\0\0\0", 7), changed(3));
        assert_eq!(status(b"\0\xfc\x01\x02\xfe\0\0\0\0\0\0\0\0\x02\0\0\0rows", 23), changed(0x201));
        assert_eq!(status(b"\xfe\0\0\x40\0\0\0", 7).map(|status| status.cursor), Some(true));
        assert_eq!(status(b"\0\x03\0\x02", 7), None, "cut");
        let code = |number, state: Option<&[u8; 5]>| {
            Some(Failure::Code(Code { number, state: state.copied().and_then(SqlState::new) }))
        };
        assert_eq!(failure(b"\xff\x7a\x04#42S02no table"), code(1146, Some(b"42S02")));
        assert_eq!(failure(b"\xff\x10\x04too many"), code(1040, None), "of an old server");
        assert_eq!(failure(b"\xff\x7a\x04#42"), code(1146, None), "cut");
        assert_eq!(failure(b"\xff\x7a\x04#42s 2no table"), code(1146, None), "not a state");
        assert_eq!(status(b"\xfe\0\0\0\x02", 5).map(|status| status.no_escapes), Some(true));
        assert_eq!(failure(b"\xff\xff\xff\x01"), Some(Failure::Progress));
    }

    #[test]
    fn tails_of_calls() {
        let end = Some(Tail::End(Status::default()));
        let changed = Some(Tail::End(Status { changed: Some(0), ..Status::default() }));
        assert_eq!(tail(b"abc\x05\0\0\x09\xfe\0\0\x02\0", None), end);
        assert_eq!(tail(b"abc\x05\0\0\x09\xfe\0\0\x02\0", Some(false)), None);
        assert_eq!(tail(b"abc\x07\0\0\x09\xfe\0\0\x02\0\0\0", Some(false)), changed);
        assert_eq!(tail(b"abc\x07\0\0\x09\xfe\0\0\x02\0\0\0", Some(true)), None);
        let error = b"row\x12\0\0\x09\xff\x25\x05#70100cancelled";
        let state = SqlState::new(*b"70100");
        assert_eq!(tail(error, None), Some(Tail::Failed(Code { number: 1317, state })));
        assert_eq!(tail(b"abc\x05\0\0\x09\xfe\0\0\x02\0x", None), None);
        assert_eq!(tail(b"", None), None);
    }
}
