//! The parser of a connection, whichever it is.

use super::held::Held;
use crate::event::{Direction, MonoNs, Place, Standing};
use crate::protocol::http1::Http1;
use crate::protocol::http2::{Begin, Http2};
use crate::protocol::{At, End, Limits, Piece, Role, Sink};

/// What reads a connection.
#[derive(Debug)]
pub(super) enum Parser {
    /// The kernel does not know yet what it is.
    Undecided(Held),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    /// Nothing of interest any more.
    Done,
}

/// The protocols that are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Parser {
    /// The parser of a protocol. `from_start`: its first byte is the first of the connection.
    pub(super) fn new(protocol: Protocol, role: Role, limits: Limits, from_start: bool) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(Box::new(Http1::new(role, limits))),
            Protocol::Http2 => {
                let begin = if from_start { Begin::Start } else { Begin::Midway };
                Self::Http2(Box::new(Http2::new(role, limits, begin)))
            }
        }
    }

    /// The next piece of one direction.
    pub(super) fn piece(
        &mut self,
        direction: Direction,
        piece: Piece<'_>,
        at: &At,
        limits: Limits,
        sink: &mut impl Sink,
    ) {
        match self {
            Self::Http1(http1) => {
                http1.piece(direction, piece, at, sink);
                let Some(upgrade) = http1.take_upgrade() else { return };
                let begin = Begin::Upgrade(Box::new(upgrade.request));
                let mut http2 = Box::new(Http2::new(http1.role(), limits, begin));
                let at = At { segment_start: false, ..*at };
                http2.piece(direction, Piece::Bytes(&upgrade.rest), &at, sink);
                *self = Self::Http2(http2);
            }
            Self::Http2(http2) => http2.piece(direction, piece, at, sink),
            Self::Undecided(_) | Self::Done => {}
        }
    }

    /// One direction or both are over.
    pub(super) fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut impl Sink) {
        match self {
            Self::Http1(http1) => http1.end(end, time_ns, sink),
            Self::Http2(http2) => http2.end(end, time_ns, sink),
            Self::Undecided(_) | Self::Done => {}
        }
    }

    /// Gives out what has ended as far as can be seen.
    pub(super) fn settle(&mut self, now: MonoNs, sink: &mut impl Sink) {
        match self {
            Self::Http1(http1) => http1.settle(now, sink),
            Self::Http2(http2) => http2.settle(now, sink),
            Self::Undecided(_) | Self::Done => {}
        }
    }

    /// Forgets what is in flight.
    pub(super) fn abandon(&mut self, now: MonoNs, sink: &mut impl Sink) {
        match self {
            Self::Undecided(held) => *held = Held::default(),
            Self::Http1(http1) => http1.abandon(now, sink),
            Self::Http2(http2) => http2.abandon(now, sink),
            Self::Done => {}
        }
    }

    /// Records of the connection were lost.
    pub(super) fn mark_lossy(&mut self) {
        match self {
            Self::Http1(http1) => http1.mark_lossy(),
            Self::Http2(http2) => http2.mark_lossy(),
            Self::Undecided(_) | Self::Done => {}
        }
    }

    /// The exchange that the bytes that come belong to, as the kernel sees it.
    pub(super) fn stands(&mut self, now: Standing) {
        if let Self::Http1(http1) = self {
            http1.stands(now);
        }
    }

    /// Where in the next bytes of a direction the kernel knows that a frame of HTTP/2 begins.
    pub(super) fn placed(&mut self, direction: Direction, place: Option<Place>) {
        if let Self::Http2(http2) = self {
            http2.placed(direction, place);
        }
    }

    /// Whether nothing is read any more and nothing waits.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_over() && !http1.is_waiting(),
            Self::Http2(http2) => http2.is_over() && !http2.is_waiting(),
            Self::Undecided(_) => false,
            Self::Done => true,
        }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Undecided(held) => held.memory(),
            Self::Http1(http1) => http1.memory(),
            Self::Http2(http2) => http2.memory(),
            Self::Done => 0,
        }
    }
}
