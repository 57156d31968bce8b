//! The commands of a client: their names, what answers them, and where their text is.
//!
//! See "Text Protocol" and "Prepared Statements" of the client/server protocol; MariaDB adds the bulk
//! execution.

use bytes::Buf as _;

use super::packet::{integer, take};

/// First byte of a command's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u8);

impl Code {
    pub(super) const QUIT: Self = Self(0x01);
    pub(super) const INIT_DB: Self = Self(0x02);
    pub(super) const QUERY: Self = Self(0x03);
    pub(super) const FIELD_LIST: Self = Self(0x04);
    pub(super) const STATISTICS: Self = Self(0x09);
    pub(super) const PING: Self = Self(0x0e);
    pub(super) const CHANGE_USER: Self = Self(0x11);
    pub(super) const BINLOG_DUMP: Self = Self(0x12);
    pub(super) const PREPARE: Self = Self(0x16);
    pub(super) const EXECUTE: Self = Self(0x17);
    pub(super) const SEND_LONG_DATA: Self = Self(0x18);
    pub(super) const CLOSE: Self = Self(0x19);
    pub(super) const RESET: Self = Self(0x1a);
    pub(super) const SET_OPTION: Self = Self(0x1b);
    pub(super) const FETCH: Self = Self(0x1c);
    pub(super) const BINLOG_DUMP_GTID: Self = Self(0x1e);
    pub(super) const RESET_CONNECTION: Self = Self(0x1f);
    pub(super) const BULK_EXECUTE: Self = Self(0xfa);
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing: it is no call.
    Nothing,
    /// One or more results, each with rows or without.
    Results,
    /// Rows, or definitions, up to an EOF or OK in its place.
    Rows,
    /// What a statement is known by from now on.
    Prepared,
    /// OK, EOF or an error.
    Status,
    /// A line of text.
    Text,
    /// What authenticates, up to OK or an error.
    Login,
    /// The server's log, without an end: nothing more is read.
    Replication,
}

/// What answers a command; `None` when it is none.
pub(super) fn answer(code: Code) -> Option<Answer> {
    Some(match code {
        Code::QUIT | Code::SEND_LONG_DATA | Code::CLOSE => Answer::Nothing,
        // 0x0a is the list of processes.
        Code::QUERY | Code::EXECUTE | Code::BULK_EXECUTE | Code(0x0a) => Answer::Results,
        Code::FIELD_LIST | Code::FETCH => Answer::Rows,
        Code::PREPARE => Answer::Prepared,
        Code::STATISTICS => Answer::Text,
        Code::CHANGE_USER => Answer::Login,
        Code::BINLOG_DUMP | Code::BINLOG_DUMP_GTID => Answer::Replication,
        Code::INIT_DB
        | Code::PING
        | Code::RESET
        | Code::SET_OPTION
        | Code::RESET_CONNECTION
        | Code(0x05..=0x08 | 0x0c | 0x0d | 0x15) => Answer::Status,
        Code(_) => return None,
    })
}

/// `db.operation.name` of a command that has no text of its own.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::INIT_DB => "INIT_DB",
        Code::FIELD_LIST => "FIELD_LIST",
        Code(0x05) => "CREATE_DB",
        Code(0x06) => "DROP_DB",
        Code(0x07) => "REFRESH",
        Code(0x08) => "SHUTDOWN",
        Code::STATISTICS => "STATISTICS",
        Code(0x0a) => "PROCESS_INFO",
        Code(0x0c) => "PROCESS_KILL",
        Code(0x0d) => "DEBUG",
        Code::PING => "PING",
        Code::CHANGE_USER => "CHANGE_USER",
        Code(0x15) => "REGISTER_REPLICA",
        Code::PREPARE => "PREPARE",
        Code::EXECUTE | Code::BULK_EXECUTE => "EXECUTE",
        Code::RESET => "RESET",
        Code::SET_OPTION => "SET_OPTION",
        Code::FETCH => "FETCH",
        Code::RESET_CONNECTION => "RESET_CONNECTION",
        Code(_) => "",
    }
}

/// The statement that a command is about, from what follows its first byte.
pub(super) fn statement_id(mut arguments: &[u8]) -> Option<u32> {
    arguments.try_get_u32_le().ok()
}

/// The text of a query from what follows its first byte. Attributes stand in front of it where both
/// sides have agreed on that; where it is not known, their form tells, as no text begins with it.
/// `None` when the attributes were cut off.
pub(super) fn text(arguments: &[u8], has_attributes: Option<bool>) -> Option<&[u8]> {
    let looks_like = matches!(*arguments, [0..=8, 1, ..]);
    if !has_attributes.unwrap_or(looks_like) {
        return Some(arguments);
    }
    let mut rest = arguments;
    let count = integer(&mut rest)?;
    let _sets = integer(&mut rest)?;
    if count > 0 {
        attributes(&mut rest, count)?;
    }
    Some(rest)
}

/// Passes over `count` attributes.
fn attributes(rest: &mut &[u8], count: u64) -> Option<()> {
    let nulls = take(rest, count.div_ceil(8))?;
    if rest.try_get_u8().ok()? != 1 {
        return None;
    }
    // Types and names first, then the values.
    let mut types = Vec::new();
    for index in 0..count {
        let kind = rest.try_get_u16_le().ok()? & 0xff;
        let name = integer(rest)?;
        take(rest, name)?;
        let byte = nulls.get(usize::try_from(index / 8).ok()?)?;
        if byte >> (index % 8) & 1 == 0 {
            types.push(kind);
        }
    }
    for kind in types {
        let length = match kind {
            // MYSQL_TYPE_NULL
            6 => 0,
            // TINY, BOOL
            1 | 0xf4 => 1,
            // SHORT, YEAR
            2 | 13 => 2,
            // LONG, FLOAT, INT24
            3 | 4 | 9 => 4,
            // DOUBLE, LONGLONG
            5 | 8 => 8,
            // TIMESTAMP, DATE, TIME, DATETIME
            7 | 10 | 11 | 12 => rest.try_get_u8().ok()?.into(),
            _ => integer(rest)?,
        };
        take(rest, length)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stand_in_front_of_the_text() {
        let check = |arguments: &[u8], known, expected: Option<&[u8]>| {
            assert_eq!(text(arguments, known), expected, "{arguments:x?}");
        };
        check(b"SELECT 1", None, Some(b"SELECT 1"));
        check(b"\0\x01SELECT 1", None, Some(b"SELECT 1"));
        check(b"\0\x01SELECT 1", Some(true), Some(b"SELECT 1"));
        check(b"\nSELECT 1", None, Some(b"\nSELECT 1"));
        // Three: a string, one that is NULL, a date.
        let three = b"\x03\x01\x02\x01\xfd\0\x01a\x03\0\x01b\x0c\0\0\x02xy\x04\xe8\x07\x01\x01DO 0";
        check(three, Some(true), Some(b"DO 0"));
        check(three, None, Some(b"DO 0"));
        check(&three[..12], Some(true), None);
        // More than there is room for ends at the end of the bytes.
        check(b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x01", Some(true), None);
    }
}
