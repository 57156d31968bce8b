//! From bytes in order to calls: one parser per protocol.
//!
//! A parser gets both directions of one connection as [`Piece`]s, in the order in which the system
//! calls returned, and hands back [`Exchange`]s (one request with its response), [`Problem`]s and
//! [`Advice`] to the kernel. It does no I/O, reads no clock, never panics and keeps bounded state.

pub mod conversation;
pub mod dns;
mod field;
pub mod framer;
pub mod http1;
pub mod http2;
pub mod in_flight;
pub mod kafka;
pub mod memcached;
pub mod mongodb;
pub mod mysql;
pub mod postgres;
pub mod redis;
mod rpc;
pub mod sides;
pub mod statement;
#[cfg(test)]
mod testing;
mod text;
mod traceparent;
pub mod waiting;

use in_flight::CallId;

use crate::event::{Direction, MonoNs, Unit};
use crate::span::database::DatabaseCall;
use crate::span::dns::DnsCall;
use crate::span::messaging::MessagingCall;
use crate::span::{Flags, SpanKind, TraceContext, http::HttpCall, rpc::GrpcCall};

/// Bounds of the parser of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head that are kept at most; a longer one is cut.
    pub head_bytes: usize,
    /// Requests in flight that are kept at most; further ones are counted without their responses.
    pub in_flight: usize,
    /// Bytes of a statement's text without its literals that are kept for spans; 0 for none.
    pub query_text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 64 << 10, in_flight: 1024, query_text: 0 }
    }
}

/// A stretch of one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes that were captured.
    Bytes(&'a [u8]),
    /// So many bytes went by and were, by design, not copied.
    Skipped(u64),
    /// So many bytes were lost (a dropped record); `None` when even their number is unknown.
    Lost(Option<u64>),
}

/// The circumstances of a piece.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// When the system call was entered; equals `exit_ns` where it was not seen.
    pub enter_ns: MonoNs,
    /// When the system call returned.
    pub exit_ns: MonoNs,
    /// Who called.
    pub unit: Unit,
    /// Whether this piece begins a system call's bytes (the first of its segment).
    pub segment_start: bool,
    /// Whether this piece ends a system call's bytes (the last of its segment).
    pub segment_end: bool,
    /// Whether the other direction had the word before this segment.
    pub turn: bool,
}

/// Which end of a call the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It answers.
    Server,
    /// It asks.
    Client,
}

impl Role {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }

    /// The direction in which requests go.
    pub fn request_direction(self) -> Direction {
        match self {
            Self::Server => Direction::Received,
            Self::Client => Direction::Sent,
        }
    }
}

/// How one direction, or the whole connection, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sends no more (a read returned 0).
    Received,
    /// This side sends no more.
    Sent,
    /// The connection is over in both directions; `reset` when it was aborted.
    Both {
        /// Aborted by a reset, a time-out or an error of the network.
        reset: bool,
    },
}

/// One request with its response, as one process saw them. Times are of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What tells it from others, before its end and after. Parsers leave the connection out: the flow
    /// adds it.
    pub id: CallId,
    /// Which end this process is.
    pub role: Role,
    /// Server: the first byte of the request was read. Client: it was written.
    pub start_ns: MonoNs,
    /// First byte of the final response written or read.
    pub first_byte_ns: Option<MonoNs>,
    /// Last byte of the response written or read, or the end of the connection.
    pub end_ns: MonoNs,
    /// Who read or wrote the head of the request.
    pub unit: Unit,
    /// Trace context that the request carried.
    pub context: Option<TraceContext>,
    /// What was not seen whole.
    pub flags: Flags,
    /// The call itself.
    pub call: Call,
    /// The kernel counts it, because a record of it was lost: it is no span, and is not counted
    /// again.
    pub undelivered: bool,
}

impl Exchange {
    /// SPAN KIND at this end.
    pub fn kind(&self) -> SpanKind {
        match &self.call {
            Call::Messaging(call) => call.kind(self.role),
            _ => self.role.into(),
        }
    }
}

/// What was called, by protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// HTTP of any version.
    Http(HttpCall),
    /// gRPC and its relatives.
    Grpc(Box<GrpcCall>),
    /// A database, a cache.
    Database(Box<DatabaseCall>),
    /// A message broker.
    Messaging(Box<MessagingCall>),
    /// A look-up of a name.
    Dns(Box<DnsCall>),
}

/// What a parser could not make sense of. Each is counted by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Bytes where a request head should be that are none.
    MalformedRequest,
    /// A message of a database or the like that is none.
    MalformedMessage,
    /// Bytes where a response head should be that are none.
    MalformedResponse,
    /// A chunk header that is none.
    MalformedChunk,
    /// A frame of HTTP/2 that is none.
    MalformedFrame,
    /// A header block of HTTP/2 that cannot be decoded.
    MalformedHeaders,
    /// A response without a request before it.
    ResponseWithoutRequest,
    /// A head longer than the bytes that are kept of it.
    HeadTooLong,
    /// A short header block of HTTP/2 that stands for far more fields than are looked at.
    HeaderListTooLong,
    /// A header block of HTTP/2 in more frames than anybody needs.
    ContinuationFlood,
    /// Streams of HTTP/2 that were opened and reset at once, one after the other.
    RapidResets,
    /// More requests in flight on one connection than are kept.
    TooManyInFlight,
    /// More prepared statements on one connection than are kept; their executions have no text.
    TooManyStatements,
    /// A connection was taken for one of another protocol.
    WrongGuess,
    /// The place in the stream was lost and had to be found again.
    Resynchronised,
    /// A connection is compressed in a way that is not read.
    UnreadCompression,
}

impl Problem {
    /// All problems.
    pub const ALL: &'static [Self] = &[
        Self::MalformedRequest,
        Self::MalformedMessage,
        Self::MalformedResponse,
        Self::MalformedChunk,
        Self::MalformedFrame,
        Self::MalformedHeaders,
        Self::ResponseWithoutRequest,
        Self::HeadTooLong,
        Self::HeaderListTooLong,
        Self::ContinuationFlood,
        Self::RapidResets,
        Self::TooManyInFlight,
        Self::TooManyStatements,
        Self::WrongGuess,
        Self::Resynchronised,
        Self::UnreadCompression,
    ];

    /// Name as exported.
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::MalformedMessage => "malformed_message",
            Self::MalformedResponse => "malformed_response",
            Self::MalformedChunk => "malformed_chunk",
            Self::MalformedFrame => "malformed_frame",
            Self::MalformedHeaders => "malformed_headers",
            Self::ResponseWithoutRequest => "response_without_request",
            Self::HeadTooLong => "head_too_long",
            Self::HeaderListTooLong => "header_list_too_long",
            Self::ContinuationFlood => "continuation_flood",
            Self::RapidResets => "rapid_resets",
            Self::TooManyInFlight => "too_many_in_flight",
            Self::TooManyStatements => "too_many_statements",
            Self::WrongGuess => "wrong_guess",
            Self::Resynchronised => "resynchronised",
            Self::UnreadCompression => "unread_compression",
        }
    }
}

/// What a parser can tell the kernel, to save it copying. Never needed for being right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Bytes of this direction below this position (from the parser's first byte) are body.
    SkipUntil(Direction, u64),
    /// Nothing on this connection is of interest any more (a tunnel, a websocket).
    Ignore,
}

/// Where a parser puts what it finds.
pub trait Sink {
    /// A finished exchange.
    fn exchange(&mut self, exchange: Exchange);
    /// Something that made no sense.
    fn problem(&mut self, problem: Problem);
    /// Something the kernel may profit from.
    fn advice(&mut self, advice: Advice);
}
