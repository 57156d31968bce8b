//! What the parsers of databases and the like have in common, and how a connection's protocol is told
//! from its bytes.
//!
//! The kernel knows HTTP. Of everything else it only says that a turn's first bytes may be those of a
//! protocol that is read ([`Class::Candidate`](crate::event::Class::Candidate)), and copies. Here each
//! protocol is asked whether it knows them; a wrong guess is undone when the parser says so.

use super::in_flight::Look;
use super::{At, End, Limits, Piece, Role, Sink};
use crate::event::{Direction, MonoNs};

/// A parser of one connection.
///
/// Pieces come in the order in which the calls returned, both directions mixed. A parser does no I/O,
/// reads no clock, never panics and keeps bounded state, for which it accounts.
pub trait Conversation: std::fmt::Debug + Send {
    /// The next piece of one direction.
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink);

    /// One direction or both are over.
    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink);

    /// Gives out what has ended as far as can be seen; at once when `now` is the largest value.
    fn settle(&mut self, now: MonoNs, sink: &mut dyn Sink);

    /// Forgets everything in flight, because there is no room or no time to wait for it. What was not
    /// seen is reported as such.
    fn abandon(&mut self, time_ns: MonoNs, sink: &mut dyn Sink);

    /// Records of this connection were lost; where is told by [`Piece::Lost`], if ever.
    fn mark_lossy(&mut self);

    /// Whether nothing more will be read (a switch to TLS, a replication stream).
    fn is_over(&self) -> bool;

    /// Whether the bytes turned out to be of another protocol: what was held back is forgotten, and
    /// the others are asked at the next turn.
    fn is_wrong(&self) -> bool;

    /// Whether requests are in flight.
    fn is_waiting(&self) -> bool;

    /// Shows the requests that surely wait for their answers ([`super::in_flight`]), in no certain order.
    /// Allocates for those only that are wanted.
    fn in_flight(&self, now: MonoNs, look: &mut dyn Look);

    /// Memory in use besides the value itself, in bytes.
    fn memory(&self) -> usize;
}

/// First bytes of a turn on a connection whose protocol is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The bytes of the turn as far as they are here.
    pub bytes: &'a [u8],
    /// Whether a call ended with them; else more of the same call follow that are not here. A program may
    /// read a header by itself, so more may follow in any case.
    pub whole: bool,
    /// Which way they went.
    pub direction: Direction,
    /// Whether they are the first bytes of the connection, both directions considered.
    pub from_start: bool,
    /// Port of this end, 0 where there is none.
    pub local_port: u16,
    /// Port of the other end, 0 where there is none.
    pub remote_port: u16,
}

impl Opening<'_> {
    /// The role of this process if these bytes are a request's.
    pub fn role_if_request(&self) -> Role {
        match self.direction {
            Direction::Received => Role::Server,
            Direction::Sent => Role::Client,
        }
    }

    /// The role of this process if these bytes are a response's.
    pub fn role_if_response(&self) -> Role {
        self.role_if_request().opposite()
    }

    /// Whether one of the ends is at this port.
    pub fn has_port(&self, port: u16) -> bool {
        port != 0 && (self.local_port == port || self.remote_port == port)
    }
}

/// What a protocol says of first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// They are of another one.
    No,
    /// They may be; more bytes are needed.
    More,
    /// They are, and this is the role of this process.
    Yes(Role),
}

/// A protocol that is told by its bytes.
#[derive(Debug)]
pub struct Dialect {
    /// `protocol` of span lines, and its name in the configuration.
    pub name: &'static str,
    /// Where it is usually served: decides where several protocols know the same bytes.
    pub ports: &'static [u16],
    /// Whether first bytes are of this protocol. To be strict: a `Yes` takes the connection.
    pub recognise: fn(&Opening<'_>) -> Recognition,
    /// A parser, whose first piece begins with the bytes that were recognised. `from_start` as in
    /// [`Opening`].
    pub start: fn(Role, Limits, bool) -> Box<dyn Conversation>,
}

/// All of them.
pub static DIALECTS: &[&Dialect] = &[
    &super::postgres::DIALECT,
    &super::mysql::DIALECT,
    &super::redis::DIALECT,
    &super::memcached::DIALECT,
    &super::mongodb::DIALECT,
    &super::kafka::DIALECT,
    &super::dns::tcp::DIALECT,
];

/// Bytes that are enough for any [`Dialect::recognise`] to say yes or no.
pub const ENOUGH: usize = 64;
