//! The beginning of a connection: the server's greeting (protocol 10) and the client's answer.
//!
//! What authenticates is passed over by its length and never kept. See "Connection Phase" of the
//! client/server protocol, and MariaDB's page "Connection".

use std::sync::Arc;

use bytes::Buf as _;

use super::packet::{integer, take, until_nul};

/// First byte of a greeting: the version of the protocol.
pub(super) const VERSION: u8 = 10;

/// Bytes of an answer that are looked at: all in front of the database's name is bounded by them.
pub(super) const LOGIN_KEPT: usize = 1024;

/// Longest name of a database that is kept, in bytes: 64 characters of up to four bytes.
const MAX_NAME: usize = 256;

const CONNECT_WITH_DB: u64 = 1 << 3;
const COMPRESS: u64 = 1 << 5;
const PROTOCOL_41: u64 = 1 << 9;
const SSL: u64 = 1 << 11;
const SECURE_CONNECTION: u64 = 1 << 15;
const PLUGIN_AUTH_LENENC: u64 = 1 << 21;
const DEPRECATE_EOF: u64 = 1 << 24;
const OPTIONAL_METADATA: u64 = 1 << 25;
const ZSTD: u64 = 1 << 26;
const QUERY_ATTRIBUTES: u64 = 1 << 27;
/// The first of MariaDB's own, which begin at bit 32, is about progress; this one lets the server leave
/// out definitions that the client has.
const CACHE_METADATA: u64 = 1 << 36;
/// Set by MySQL, and by clients that mean MySQL; where it is not set, MariaDB's own are meaningful.
const CLIENT_MYSQL: u64 = 1;

/// Bytes of an answer up to the name of the user; a request for TLS ends there.
const FIXED: usize = 32;

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

impl Capabilities {
    fn has(self, one: u64) -> bool {
        self.0 & one != 0
    }

    /// Whether definitions and rows end with EOF packets.
    pub(super) fn has_eof(self) -> bool {
        !self.has(DEPRECATE_EOF)
    }

    /// Whether a byte says that definitions are left out, and where it is.
    pub(super) fn metadata(self) -> Metadata {
        if self.has(OPTIONAL_METADATA) {
            Metadata::FlagBefore
        } else if self.has(CACHE_METADATA) {
            Metadata::FlagBehind
        } else {
            Metadata::Always
        }
    }

    /// Whether the text of a query has attributes in front of it.
    pub(super) fn has_query_attributes(self) -> bool {
        self.has(QUERY_ATTRIBUTES)
    }

    /// How packets are compressed once the client is let in.
    pub(super) fn compression(self) -> Compression {
        if self.has(COMPRESS) {
            Compression::Zlib
        } else if self.has(ZSTD) {
            Compression::Zstd
        } else {
            Compression::None
        }
    }
}

/// Whether the definitions of a result's columns may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Metadata {
    /// They are always there.
    #[default]
    Always,
    /// MySQL: a byte before the number of columns says so.
    FlagBefore,
    /// MariaDB: a byte behind the number of columns says so.
    FlagBehind,
}

/// The compressed protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib,
    /// Not read.
    Zstd,
}

/// The server's capabilities from its greeting; `None` when it is none.
pub(super) fn greeting(mut payload: &[u8]) -> Option<Capabilities> {
    let rest = &mut payload;
    if rest.try_get_u8().ok()? != VERSION {
        return None;
    }
    let version = until_nul(rest)?;
    if version.is_empty() || !version.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let _thread_and_challenge = take(rest, 4 + 8)?;
    if rest.try_get_u8().ok()? != 0 {
        return None;
    }
    let low = u64::from(rest.try_get_u16_le().ok()?);
    // Older servers end here.
    let mut after = || {
        let _charset_and_status = take(rest, 1 + 2)?;
        let high = u64::from(rest.try_get_u16_le().ok()?);
        let _challenge_length_and_reserved = take(rest, 1 + 6)?;
        Some((high, u64::from(rest.try_get_u32_le().ok()?)))
    };
    let (high, own) = after().unwrap_or_default();
    let all = low | high << 16;
    Some(Capabilities(if all & CLIENT_MYSQL == 0 { all | own << 32 } else { all }))
}

/// What the client answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// It wants TLS: nothing more can be read.
    Tls,
    /// It wants to be let in.
    Plain {
        /// What both sides can do.
        capabilities: Capabilities,
        /// The database that it wants to use.
        database: Option<Arc<str>>,
    },
}

/// Reads the answer to a greeting of a server with these capabilities; `None` when it is none.
pub(super) fn login(mut payload: &[u8], length: u64, server: Capabilities) -> Option<Login> {
    let mut begin = payload;
    let rest = &mut payload;
    let flags = u64::from(begin.try_get_u32_le().ok()?);
    if flags & PROTOCOL_41 == 0 {
        // The form of before 4.1, whose capabilities are the low half.
        let capabilities = Capabilities(flags & 0xffff & server.0);
        let ends = flags & SSL != 0 && length <= 5;
        return Some(if ends { Login::Tls } else { Login::Plain { capabilities, database: None } });
    }
    if flags & SSL != 0 && length == FIXED as u64 {
        return Some(Login::Tls);
    }
    let fixed = take(rest, FIXED as u64)?;
    let own = u64::from(fixed.get(FIXED - 4..)?.try_get_u32_le().ok()?);
    let all = if flags & CLIENT_MYSQL == 0 { flags | own << 32 } else { flags };
    let mut database = || {
        let _user = until_nul(rest)?;
        let secret = if flags & PLUGIN_AUTH_LENENC != 0 {
            integer(rest)?
        } else if flags & SECURE_CONNECTION != 0 {
            rest.try_get_u8().ok()?.into()
        } else {
            until_nul(rest)?;
            0
        };
        take(rest, secret)?;
        name(until_nul(rest)?)
    };
    let database = if flags & CONNECT_WITH_DB != 0 { database() } else { None };
    Some(Login::Plain { capabilities: Capabilities(all & server.0), database })
}

/// The database that a client changes to with its user: what follows [`super::command`]'s first byte.
pub(super) fn changed_user(mut payload: &[u8]) -> Option<Arc<str>> {
    let rest = &mut payload;
    let _user = until_nul(rest)?;
    let secret = rest.try_get_u8().ok()?;
    take(rest, secret.into())?;
    name(until_nul(rest)?)
}

/// The name of a database; `None` where it is none, or not one to be kept.
pub(super) fn name(text: &[u8]) -> Option<Arc<str>> {
    if text.is_empty() || text.len() > MAX_NAME {
        return None;
    }
    std::str::from_utf8(text).ok().filter(|text| !text.contains(char::is_control)).map(Arc::from)
}
