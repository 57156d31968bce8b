//! Both directions of a connection whose messages are framed ([`super::framer`]), and their ends: what
//! parsers without a beginning of their own share.

use super::framer::Framer;
use super::{At, End, Role};
use crate::event::Direction;
use crate::span::database::DatabaseError;

/// One direction.
#[derive(Debug, Default)]
pub struct Side {
    /// Its messages.
    pub framer: Framer,
    /// Circumstances of the first byte of the message being read.
    pub began: Option<At>,
    /// Nothing more comes.
    is_over: bool,
}

/// Both directions.
#[derive(Debug)]
pub struct Sides {
    role: Role,
    /// What the client sends.
    pub requests: Side,
    /// What the server sends.
    pub responses: Side,
}

impl Sides {
    /// Of a process in this role.
    pub fn new(role: Role) -> Self {
        Self { role, requests: Side::default(), responses: Side::default() }
    }

    /// The role of this process.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether requests go this way.
    pub fn is_request(&self, direction: Direction) -> bool {
        direction == self.role.request_direction()
    }

    /// That of the requests, or that of the responses.
    pub fn side(&mut self, is_request: bool) -> &mut Side {
        if is_request { &mut self.requests } else { &mut self.responses }
    }

    /// One direction or both are over. Returns what that is to the requests in flight, once no response can
    /// come any more.
    pub fn end(&mut self, end: End) -> Option<DatabaseError> {
        let (of, reset) = match end {
            End::Received => (Some(Direction::Received), false),
            End::Sent => (Some(Direction::Sent), false),
            End::Both { reset } => (None, reset),
        };
        let requests = self.role.request_direction();
        self.requests.is_over |= of.is_none_or(|of| of == requests);
        self.responses.is_over |= of.is_none_or(|of| of != requests);
        let error =
            if reset { DatabaseError::ConnectionReset } else { DatabaseError::ConnectionClosed };
        self.responses.is_over.then_some(error)
    }

    /// Whether nothing more comes either way.
    pub fn is_over(&self) -> bool {
        self.requests.is_over && self.responses.is_over
    }

    /// The places in both are not known any more.
    pub fn lose(&mut self) {
        self.requests.framer.lose();
        self.responses.framer.lose();
    }

    /// Memory in use besides the value itself, in bytes.
    pub fn memory(&self) -> usize {
        self.requests.framer.memory() + self.responses.framer.memory()
    }
}
