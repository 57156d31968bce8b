//! The parser of a connection, whichever it is.

use super::detect::{Circumstances, Detect, Told};
use super::held::Held;
use crate::event::{Direction, MonoNs, Place, Standing};
use crate::protocol::conversation::{Conversation, DIALECTS};
use crate::protocol::http1::Http1;
use crate::protocol::http2::{Begin, Http2};
use crate::protocol::in_flight::Look;
use crate::protocol::{Advice, At, End, Limits, Piece, Problem, Role, Sink};

/// What reads a connection.
#[derive(Debug)]
pub(super) enum Parser {
    /// The kernel does not know yet what it is.
    Undecided(Held),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    /// It is none of these; which it is must be told.
    Detecting(Box<Detecting>),
    /// One that is told by content.
    Told(Box<Talk>),
    /// Nothing of interest any more.
    Done,
}

/// A connection whose protocol is to be told.
#[derive(Debug)]
pub(super) struct Detecting {
    detect: Detect,
    circumstances: Circumstances,
}

/// A connection whose protocol was told.
#[derive(Debug)]
pub(super) struct Talk {
    parser: Box<dyn Conversation>,
    /// Index of the protocol.
    dialect: usize,
    /// Protocols that were wrong before, and turns that none knew.
    past: (u32, u8),
    circumstances: Circumstances,
}

/// The protocols that the kernel tells.
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

    /// Of a connection whose protocol is to be told.
    pub(super) fn detecting(circumstances: Circumstances) -> Self {
        Self::Detecting(Box::new(Detecting { detect: Detect::default(), circumstances }))
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
            Self::Detecting(_) => self.detect(direction, piece, at, limits, sink),
            Self::Told(talk) => {
                talk.parser.piece(direction, piece, at, sink);
                self.undo(sink);
            }
            Self::Undecided(_) | Self::Done => {}
        }
    }

    /// One direction or both are over.
    pub(super) fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut impl Sink) {
        match self {
            Self::Http1(http1) => http1.end(end, time_ns, sink),
            Self::Http2(http2) => http2.end(end, time_ns, sink),
            Self::Told(talk) => talk.parser.end(end, time_ns, sink),
            Self::Undecided(_) | Self::Detecting(_) | Self::Done => {}
        }
    }

    /// Gives out what has ended as far as can be seen.
    pub(super) fn settle(&mut self, now: MonoNs, sink: &mut impl Sink) {
        match self {
            Self::Http1(http1) => http1.settle(now, sink),
            Self::Http2(http2) => http2.settle(now, sink),
            Self::Told(talk) => talk.parser.settle(now, sink),
            Self::Undecided(_) | Self::Detecting(_) | Self::Done => {}
        }
    }

    /// Shows the requests in flight.
    pub(super) fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        match self {
            Self::Http1(http1) => http1.in_flight(now, look),
            Self::Http2(http2) => http2.in_flight(now, look),
            Self::Told(talk) => talk.parser.in_flight(now, look),
            Self::Undecided(_) | Self::Detecting(_) | Self::Done => {}
        }
    }

    /// Forgets what is in flight.
    pub(super) fn abandon(&mut self, now: MonoNs, sink: &mut impl Sink) {
        match self {
            Self::Undecided(held) => *held = Held::default(),
            Self::Http1(http1) => http1.abandon(now, sink),
            Self::Http2(http2) => http2.abandon(now, sink),
            Self::Detecting(detecting) => detecting.detect = Detect::default(),
            Self::Told(talk) => talk.parser.abandon(now, sink),
            Self::Done => {}
        }
    }

    /// Records of the connection were lost.
    pub(super) fn mark_lossy(&mut self) {
        match self {
            Self::Http1(http1) => http1.mark_lossy(),
            Self::Http2(http2) => http2.mark_lossy(),
            Self::Told(talk) => talk.parser.mark_lossy(),
            Self::Undecided(_) | Self::Detecting(_) | Self::Done => {}
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
            Self::Told(talk) => talk.parser.is_over() && !talk.parser.is_waiting(),
            Self::Undecided(_) | Self::Detecting(_) => false,
            Self::Done => true,
        }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Undecided(held) => held.memory(),
            Self::Http1(http1) => http1.memory(),
            Self::Http2(http2) => http2.memory(),
            Self::Detecting(detecting) => detecting.detect.memory(),
            Self::Told(talk) => talk.parser.memory() + PARSER,
            Self::Done => 0,
        }
    }

    /// Shows a piece to the protocols, and begins with the one that knows it.
    fn detect(
        &mut self,
        direction: Direction,
        piece: Piece<'_>,
        at: &At,
        limits: Limits,
        sink: &mut impl Sink,
    ) {
        let Self::Detecting(detecting) = self else { return };
        let circumstances = detecting.circumstances;
        match detecting.detect.piece(direction, piece, at, circumstances) {
            Told::Nothing => {}
            Told::Strange => {
                sink.advice(Advice::Ignore);
                *self = Self::Done;
            }
            Told::Protocol { dialect, role, from_start, held } => {
                let Some(known) = DIALECTS.get(dialect) else { return };
                let past = detecting.detect.past();
                let mut parser = (known.start)(role, limits, from_start);
                held.replay(|direction, piece, at| parser.piece(direction, piece, at, sink));
                parser.piece(direction, piece, at, sink);
                *self = Self::Told(Box::new(Talk { parser, dialect, past, circumstances }));
                self.undo(sink);
            }
        }
    }

    /// Undoes a wrong guess.
    fn undo(&mut self, sink: &mut impl Sink) {
        let Self::Told(talk) = self else { return };
        if !talk.parser.is_wrong() {
            return;
        }
        sink.problem(Problem::WrongGuess);
        let detect = Detect::again(talk.past.0, talk.dialect, talk.past.1);
        let circumstances = talk.circumstances;
        *self = Self::Detecting(Box::new(Detecting { detect, circumstances }));
    }
}

/// Estimate of a parser's own size.
const PARSER: usize = 512;
