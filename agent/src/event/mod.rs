//! Typed values for what the kernel programs report.
//!
//! A record from a ring is decoded into an [`Event`] once, without copying its payload. From here
//! on everything runs without a kernel: a recorded stream of events gives the same spans.

pub mod stream;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub type MonoNs = u64;

/// A connection as the kernel programs number them, unique while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// A process, told apart from later ones that get the same number by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id, in the initial namespace.
    pub pid: u32,
    /// Start in nanoseconds since boot, 0 where it is not known.
    pub start_ns: u64,
}

/// The unit of execution that did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// Process.
    pub process: ProcessKey,
    /// Thread id.
    pub tid: u32,
    /// Address of the goroutine's `g`, 0 where there is none or it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub goroutine: u64,
}

/// Direction of bytes, seen from the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Read by the process.
    Received,
    /// Written by the process.
    Sent,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Received => Self::Sent,
            Self::Sent => Self::Received,
        }
    }
}

/// What the first bytes of a connection showed the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing yet.
    Unknown,
    /// HTTP/1.x, and the process answers requests.
    Http1Server,
    /// HTTP/1.x, and the process sends requests.
    Http1Client,
    /// HTTP/2, and the process answers requests.
    Http2Server,
    /// HTTP/2, and the process sends requests.
    Http2Client,
    /// What may be another protocol that is read: its parser tells.
    Candidate,
    /// TLS or another encryption.
    Encrypted,
    /// Nothing that vigie reads.
    Uninteresting,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Address {
    /// TCP or UDP. IPv4-mapped IPv6 addresses are given as IPv4.
    Inet {
        /// Address.
        address: IpAddr,
        /// Port.
        port: u16,
    },
    /// Unix socket. An abstract name starts with `@`; an unnamed socket has an empty path.
    Unix {
        /// Path or name.
        path: String,
        /// Inode number of the socket, 0 where it is not known.
        inode: u64,
    },
}

impl Address {
    /// From what the kernel stores; mapped IPv4 addresses become IPv4.
    pub fn inet(family: u16, bytes: [u8; 16], port: u16) -> Self {
        let [a, b, c, d, ..] = bytes;
        let address = if family == 2 {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            let v6 = Ipv6Addr::from(bytes);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
        };
        Self::Inet { address, port }
    }
}

/// A connection seen for the first time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Connection.
    pub connection: ConnectionId,
    /// When it was first seen.
    pub time_ns: MonoNs,
    /// First process that used it.
    pub process: ProcessKey,
    /// Name of the thread that used it first.
    pub comm: String,
    /// Whether its first bytes in both directions were still to come.
    pub from_start: bool,
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    /// This end.
    pub local: Address,
    /// The other end.
    pub remote: Address,
}

/// Where a record stands among the exchanges of its connection, and which of them the kernel counts
/// because a record of theirs was lost (see [`vigie_common::exchange`]). On a connection that speaks
/// HTTP/2 it says where frames begin: see [`Standing::place`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Number of the exchange, from 1; 0 before the first request.
    pub exchange: u32,
    /// Exchanges before it that lost records.
    pub lost_before: u32,
    /// Whether it has lost a record itself.
    pub lost: bool,
}

/// Where the kernel knows that a frame of HTTP/2 begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// So many bytes of the record come before it.
    pub offset: u32,
    /// How often the kernel lost its place on this connection: 0 if never, so that frames are where it
    /// says; else that holds for those who agreed with it at the same number.
    pub epoch: u32,
}

impl Standing {
    /// The first frame that begins in a record of HTTP/2, if one does.
    pub fn place(self) -> Option<Place> {
        let offset = self.lost_before.checked_sub(1)?;
        Some(Place { offset, epoch: self.exchange })
    }

    /// Whether it tells nothing, as in recordings that are older than it.
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// Bytes that went over a connection in one system call, or a part of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data<'a> {
    /// Connection.
    pub connection: ConnectionId,
    /// Direction.
    pub direction: Direction,
    /// What the kernel takes the connection for.
    pub class: Class,
    /// Who called.
    pub unit: Unit,
    /// When the call was entered, 0 where that was not seen (reads).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub enter_ns: MonoNs,
    /// When the call returned.
    pub exit_ns: MonoNs,
    /// Position of the first byte in its direction.
    pub position: u64,
    /// Bytes that this record stands for.
    pub length: u32,
    /// The first bytes.
    #[serde(borrow, with = "bytes_text", default, skip_serializing_if = "bytes_text::is_empty")]
    pub head: Cow<'a, [u8]>,
    /// The last bytes, ending at `position + length`. What lies between was not copied.
    #[serde(borrow, with = "bytes_text", default, skip_serializing_if = "bytes_text::is_empty")]
    pub tail: Cow<'a, [u8]>,
    /// First of its direction after the other direction had the word.
    #[serde(default)]
    pub turn: bool,
    /// More records of the same system call follow (its bytes came in slices).
    #[serde(default)]
    pub continues: bool,
    /// The peer sends no more.
    #[serde(default)]
    pub end_of_stream: bool,
    /// Error number of a failed call, 0 when it succeeded.
    #[serde(default)]
    pub error: u8,
    /// Records of this connection lost before this one, in all.
    #[serde(default)]
    pub lost: u32,
    /// The exchange that it belongs to.
    #[serde(default, skip_serializing_if = "Standing::is_unknown")]
    pub standing: Standing,
}

/// A datagram that may be of DNS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datagram<'a> {
    /// Its socket, unique while that is open.
    pub socket: u64,
    /// Direction.
    pub direction: Direction,
    /// Who called.
    pub unit: Unit,
    /// Name of the thread.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comm: String,
    /// When the call was entered, 0 where that was not seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub enter_ns: MonoNs,
    /// When the call returned.
    pub exit_ns: MonoNs,
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    /// This end; its address is all zero where the socket is bound to none.
    pub local: Address,
    /// The other end, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Address>,
    /// Bytes of the datagram.
    pub length: u32,
    /// Its first bytes.
    #[serde(borrow, with = "bytes_text")]
    pub head: Cow<'a, [u8]>,
}

/// Why a connection, or one direction of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// This side sends no more; it may still read.
    SentEnd,
    /// The TCP state became CLOSE; bytes that arrived before may still be read.
    Closed,
    /// The socket is gone; nothing follows.
    Destroyed,
}

/// A connection, or one direction of it, ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Close {
    /// Connection.
    pub connection: ConnectionId,
    /// Why.
    pub reason: CloseReason,
    /// When.
    pub time_ns: MonoNs,
    /// Bytes received in all.
    pub received: u64,
    /// Bytes sent in all.
    pub sent: u64,
    /// The socket's error: 104 after a reset, 0 after an orderly end.
    pub error: u32,
    /// Records of this connection lost, in all.
    pub lost: u32,
    /// The last exchange.
    #[serde(default, skip_serializing_if = "Standing::is_unknown")]
    pub standing: Standing,
}

/// A process became another program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Process.
    pub process: ProcessKey,
    /// When.
    pub time_ns: MonoNs,
    /// Name as given to execve.
    pub filename: String,
    /// The first arguments, as many as fitted.
    pub arguments: Vec<String>,
}

/// A process made another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// The new process.
    pub process: ProcessKey,
    /// Process id of its parent.
    pub parent: u32,
    /// When.
    pub time_ns: MonoNs,
}

/// A process ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Process.
    pub process: ProcessKey,
    /// When.
    pub time_ns: MonoNs,
}

/// A call of the C library's `getaddrinfo` returned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// Process.
    pub process: ProcessKey,
    /// When it was called; 0 when that is not known.
    pub enter_ns: MonoNs,
    /// When it returned.
    pub exit_ns: MonoNs,
    /// What it returned: 0, or one of `EAI_*`.
    pub code: i32,
}

/// What a process was told by who started it, as far as it says who the process is. Nothing else of
/// its environment is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Process.
    pub process: ProcessKey,
    /// When.
    pub time_ns: MonoNs,
    /// `OTEL_SERVICE_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_attributes: Option<String>,
}

/// Who a process is. Not from the kernel: user space finds it, and a recorded stream keeps it, so
/// that the stream replays without the processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Process.
    pub process: ProcessKey,
    /// `service.name`.
    pub service: String,
    /// `service.namespace`, empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `telemetry.sdk.language` value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Path of the executable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub executable: String,
    /// Container id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What its resolver library appends to names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Vec<Box<str>>>,
}

/// Everything that the later stages hear of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A connection seen for the first time.
    Open(Open),
    /// Bytes.
    #[serde(borrow)]
    Data(Data<'a>),
    /// The end of a connection or of one direction.
    Close(Close),
    /// A datagram.
    #[serde(borrow)]
    Datagram(Datagram<'a>),
    /// A process became another program.
    Exec(Exec),
    /// A process made another one.
    Fork(Fork),
    /// A process ended.
    Exit(Exit),
    /// A program asked its C library for addresses.
    Resolved(Resolved),
    /// What a process was told.
    Environment(Environment),
    /// Who a process is.
    Identity(Identity),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Payload in recorded streams: text where it is printable, so that a fixture can be read and
/// written by hand; `\xNN` for other bytes, `\\` for a backslash.
mod bytes_text {
    use std::borrow::Cow;
    use std::fmt::Write as _;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn is_empty(bytes: &[u8]) -> bool {
        bytes.is_empty()
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len());
        for &byte in bytes {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'\r' | b'\n' | b'\t' | b' '..=b'~' => text.push(char::from(byte)),
                // Writing to a string cannot fail.
                _ => drop(write!(text, "\\x{byte:02x}")),
            }
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'a, [u8]>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'\\' {
                bytes.push(byte);
                continue;
            }
            match rest.next() {
                Some(b'\\') => bytes.push(b'\\'),
                Some(b'x') => {
                    let digit = |byte: Option<u8>| {
                        byte.and_then(|byte| char::from(byte).to_digit(16))
                            .ok_or_else(|| D::Error::custom("two hex digits must follow `\\x`"))
                    };
                    let value = digit(rest.next())? * 16 + digit(rest.next())?;
                    bytes.push(u8::try_from(value).map_err(D::Error::custom)?);
                }
                _ => return Err(D::Error::custom("`\\` must be followed by `\\` or `x`")),
            }
        }
        Ok(Cow::Owned(bytes))
    }
}
