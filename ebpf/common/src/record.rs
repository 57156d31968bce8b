//! The records in the rings: one header per kind, payload behind it where there is one.
//!
//! All times are nanoseconds of `CLOCK_MONOTONIC`. Process starts are nanoseconds of boot time, as
//! the kernel keeps them. Addresses are in network order, ports in host order. A record of one
//! connection always goes into the same ring, so records of a connection arrive in their order.

/// Most rings that there can be; the programs use a power of two of them.
pub const RINGS: usize = 4;

/// Payload bytes from the end of a segment that are kept when its middle is not.
pub const TAIL_BYTES: usize = 64;

/// Largest payload of one record. A longer segment is split over several records.
pub const MAX_PAYLOAD: usize = 4096;

/// Bytes of an environment that are kept at most.
pub const MAX_ENVIRONMENT: usize = 16 * 1024;

/// Bytes of a datagram that are kept at most: what resolvers ask for over UDP at most.
pub const DATAGRAM_BYTES: usize = 4096;

/// First four bytes of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`Data`] and payload.
    Data = 1,
    /// [`Open`].
    Open = 2,
    /// [`Close`].
    Close = 3,
    /// [`Exec`].
    Exec = 4,
    /// [`Fork`].
    Fork = 5,
    /// [`Exit`].
    Exit = 6,
    /// [`Environment`] and payload.
    Environment = 7,
    /// [`Datagram`] and payload.
    Datagram = 8,
    /// [`Resolved`].
    Resolved = 9,
}

/// Direction of bytes, seen from the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Read by the process.
    Received = 0,
    /// Written by the process.
    Sent = 1,
}

/// What the first bytes of a connection showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Nothing yet.
    Unknown = 0,
    /// HTTP/1.x, and the process answers requests.
    Http1Server = 1,
    /// HTTP/1.x, and the process sends requests.
    Http1Client = 2,
    /// HTTP/2, and the process answers requests.
    Http2Server = 3,
    /// HTTP/2, and the process sends requests.
    Http2Client = 4,
    /// What may be another protocol that is read; user space tells which, and who asks.
    Candidate = 5,
    /// TLS or another encryption.
    Encrypted = 6,
    /// Nothing that vigie reads.
    Uninteresting = 7,
}

/// Bits of [`Data::flags`].
pub mod data_flags {
    /// The last record of its segment; the others of the segment follow each other directly.
    pub const LAST_SLICE: u8 = 1;
    /// First segment of a turn: the other direction had the word before.
    pub const TURN: u8 = 2;
    /// `length` is 0 because the peer sent nothing more (read returned 0).
    pub const END_OF_STREAM: u8 = 4;
    /// The call failed with a connection error; `error` holds it.
    pub const ERROR: u8 = 8;
    /// Some of the bytes could not be read from user memory.
    pub const UNREADABLE: u8 = 16;
    /// The exchange lost a record before this one.
    pub const EXCHANGE_LOST: u8 = 32;
}

/// Bytes that went over a connection in one system call, or a slice of them.
///
/// Payload: `head` bytes from position `position` on, then `tail` bytes that end at
/// `position + length`. What lies between was not copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Data {
    /// [`Kind::Data`].
    pub kind: u32,
    /// A [`Direction`].
    pub direction: u8,
    /// A [`Class`].
    pub class: u8,
    /// Bits from [`data_flags`].
    pub flags: u8,
    /// Error number of a failed call, else 0 (all error numbers of sockets are below 256).
    pub error: u8,
    /// Connection, unique while the agent runs.
    pub connection: u64,
    /// When the call was entered; 0 when that was not seen.
    pub enter_ns: u64,
    /// When the call returned.
    pub exit_ns: u64,
    /// Position of the first byte in its direction, from the first byte that vigie saw or, where
    /// the kernel tells, from the first byte of the connection.
    pub position: u64,
    /// Bytes that this record stands for, as the kernel returned them.
    pub length: u32,
    /// Payload bytes from the start.
    pub head: u32,
    /// Payload bytes from the end.
    pub tail: u32,
    /// Data records of this connection that were lost before this one, in all.
    pub lost: u32,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Address of the running goroutine's `g`, 0 where there is none or it is not known.
    pub goroutine: u64,
    /// Number of the exchange on its connection (see [`crate::exchange`]). HTTP/2: how often the kernel
    /// lost its place among the frames; 0 where it has known it since the connection's first byte.
    pub exchange: u32,
    /// Exchanges before it that lost records. HTTP/2: where in the payload the first frame begins, plus 1;
    /// 0 where none begins or the kernel does not know.
    pub lost_before: u32,
}

/// Bits of [`Open::flags`].
pub mod open_flags {
    /// The connection's first byte in both directions was still to come when it was first seen.
    pub const FROM_START: u32 = 1;
}

/// A connection seen for the first time; precedes its first [`Data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Open {
    /// [`Kind::Open`].
    pub kind: u32,
    /// Bits from [`open_flags`].
    pub flags: u32,
    /// Connection.
    pub connection: u64,
    /// When.
    pub time_ns: u64,
    /// Inode number of the socket.
    pub inode: u64,
    /// Unix sockets: inode number of the peer socket, 0 where not known.
    pub peer_inode: u64,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process that used it first.
    pub tgid: u32,
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    /// `AF_INET` 2, `AF_INET6` 10, `AF_UNIX` 1.
    pub family: u16,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// Bytes of `path` in use.
    pub path_length: u16,
    /// Local address, the first four bytes for IPv4.
    pub local: [u8; 16],
    /// Remote address.
    pub remote: [u8; 16],
    /// Unix sockets: the bound name of this socket or, for a client, of its peer. A first byte of
    /// 0 marks an abstract name.
    pub path: [u8; 108],
    /// Name of the thread.
    pub comm: [u8; 16],
    /// Reserved, zero.
    pub reserved: u32,
}

/// Why a [`Close`] was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseReason {
    /// This side sends no more (FIN sent); it may still read.
    SentEnd = 1,
    /// The TCP state became CLOSE; bytes that arrived before may still be read.
    Closed = 2,
    /// The socket is gone; nothing follows.
    Destroyed = 3,
}

/// A connection ends, or one direction of it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Close {
    /// [`Kind::Close`].
    pub kind: u32,
    /// A [`CloseReason`].
    pub reason: u32,
    /// Connection.
    pub connection: u64,
    /// When.
    pub time_ns: u64,
    /// Bytes received in all.
    pub received: u64,
    /// Bytes sent in all.
    pub sent: u64,
    /// `sk_err` of the socket: 104 after a reset, 0 after an orderly end.
    pub error: u32,
    /// Data records of this connection that were lost, in all.
    pub lost: u32,
    /// Number of the last exchange.
    pub exchange: u32,
    /// Exchanges before it that lost records.
    pub lost_before: u32,
    /// 1 when the last exchange lost a record.
    pub exchange_lost: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

/// A process became another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Exec {
    /// [`Kind::Exec`].
    pub kind: u32,
    /// Process.
    pub tgid: u32,
    /// When.
    pub time_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Bytes of `filename` in use.
    pub filename_length: u32,
    /// Bytes of `arguments` in use.
    pub arguments_length: u32,
    /// Name as given to execve.
    pub filename: [u8; 128],
    /// First bytes of the arguments, each ended by a zero byte.
    pub arguments: [u8; 256],
}

/// A process made another one. Threads are not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fork {
    /// [`Kind::Fork`].
    pub kind: u32,
    /// The new process.
    pub tgid: u32,
    /// Its parent.
    pub parent: u32,
    /// Reserved, zero.
    pub reserved: u32,
    /// When.
    pub time_ns: u64,
    /// Start of the new process.
    pub process_start_ns: u64,
}

/// A process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exit {
    /// [`Kind::Exit`].
    pub kind: u32,
    /// Process.
    pub tgid: u32,
    /// When.
    pub time_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
}

/// The environment of a process, once, just before the first [`Open`] that names it: a process that
/// lives for a few milliseconds is gone before user space can ask for it.
///
/// Payload: the first `length` bytes of the environment, each variable ended by a zero byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Environment {
    /// [`Kind::Environment`].
    pub kind: u32,
    /// Process.
    pub tgid: u32,
    /// When.
    pub time_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Bytes of payload.
    pub length: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

/// A call of the C library's `getaddrinfo` returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Resolved {
    /// [`Kind::Resolved`].
    pub kind: u32,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// What it returned: 0, or one of `EAI_*`.
    pub code: i32,
    /// When it was called; 0 when that was forgotten.
    pub enter_ns: u64,
    /// When it returned.
    pub exit_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
}

/// Bits of [`Datagram::flags`].
pub mod datagram_flags {
    /// The other end is known.
    pub const REMOTE_KNOWN: u8 = 1;
}

/// A datagram that may be of DNS.
///
/// Payload: its first `head` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Datagram {
    /// [`Kind::Datagram`].
    pub kind: u32,
    /// A [`Direction`].
    pub direction: u8,
    /// Bits from [`datagram_flags`].
    pub flags: u8,
    /// Of the socket: `AF_INET` 2, `AF_INET6` 10.
    pub family: u16,
    /// Inode number of the socket.
    pub socket: u64,
    /// When the call was entered; 0 when that was not seen.
    pub enter_ns: u64,
    /// When the call returned.
    pub exit_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Address of the running goroutine's `g`, 0 where there is none or it is not known.
    pub goroutine: u64,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    /// Bytes of the datagram.
    pub length: u32,
    /// Bytes of payload.
    pub head: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// Family of the remote address.
    pub remote_family: u16,
    /// Reserved, zero.
    pub reserved: [u16; 3],
    /// Local address, the first four bytes for IPv4; zero for a socket that is bound to none.
    pub local: [u8; 16],
    /// Remote address.
    pub remote: [u8; 16],
    /// Name of the thread.
    pub comm: [u8; 16],
}
