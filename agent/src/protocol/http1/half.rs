//! One direction of a connection: where in the stream of messages it stands.
//!
//! Both directions read heads and bodies alike; what a finished head or body means is decided in
//! `request` and `response`.

use super::chunk::{Chunked, Progress};
use super::framing::Framing;
use super::head::Outcome;
use super::tail::Tail;
use crate::event::{MonoNs, Unit};
use crate::protocol::At;

/// Where a direction stands.
#[derive(Debug)]
pub(super) enum State {
    /// Between messages or in a head.
    Head,
    /// So many bytes of the body to come.
    Counted(u64),
    Chunked(Chunked),
    /// The body ends with the connection.
    UntilEnd,
    /// In a body whose framing is not known, or was lost.
    Blind(Box<Blind>),
    /// The place is lost: a head at the start of a segment is waited for. Whether finding it is a
    /// problem to count.
    Resync {
        counted: bool,
    },
    /// Nothing more is read.
    Over,
}

/// A body whose framing is not known.
#[derive(Debug, Default)]
pub(super) struct Blind {
    tail: Tail,
    /// The last segment ended like a last chunk: the message is over unless more follows.
    pub(super) ended: bool,
}

/// The circumstances of a message's first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) enter_ns: MonoNs,
    pub(super) exit_ns: MonoNs,
    pub(super) unit: Unit,
    /// Whether it was the first after the other direction had the word.
    pub(super) turn: bool,
}

impl Start {
    pub(super) fn new(at: &At, fresh: bool) -> Self {
        Self { enter_ns: at.enter_ns, exit_ns: at.exit_ns, unit: at.unit, turn: at.turn && fresh }
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) state: State,
    /// Circumstances of the head being read.
    pub(super) start: Option<Start>,
    /// A head that came in parts; empty otherwise.
    pub(super) partial: Vec<u8>,
    /// Length of `partial` when it was last parsed.
    tried: usize,
    /// Bytes of this direction so far, the current piece included.
    pub(super) position: u64,
    /// Bytes of the current counted body, as framed.
    pub(super) framed: Option<u64>,
    /// Whether a byte of the current body was seen.
    pub(super) body_begun: bool,
    /// Malformed heads without a good one between.
    pub(super) malformed: u8,
    /// Bytes of a head that are kept at most.
    head_bytes: usize,
}

/// What reading a head came to.
pub(super) enum Found<H> {
    /// The head, and how many bytes of the piece belong to it.
    Head(H, usize),
    /// All bytes are used, more are to come.
    More,
    Malformed,
    /// More bytes than are kept of a head; those kept are in `partial`.
    TooLong,
}

/// What reading a body came to.
pub(super) enum Step {
    More,
    /// The body ended after so many bytes of the piece.
    Done(usize),
    Malformed,
}

impl Half {
    pub(super) fn new(head_bytes: usize) -> Self {
        Self {
            state: State::Head,
            start: None,
            partial: Vec::new(),
            tried: 0,
            position: 0,
            framed: None,
            body_begun: false,
            malformed: 0,
            head_bytes,
        }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        let body = match &self.state {
            State::Chunked(chunked) => chunked.memory(),
            State::Blind(_) => size_of::<Blind>() + 2 * vigie_common::record::TAIL_BYTES,
            _ => 0,
        };
        self.partial.capacity() + body
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn in_head(&self) -> bool {
        matches!(self.state, State::Head) && !self.partial.is_empty()
    }

    /// Reads on in a head: in place where it came whole, else from `partial`.
    pub(super) fn read_head<H>(
        &mut self,
        bytes: &[u8],
        start: Start,
        parse: impl Fn(&[u8]) -> Outcome<H>,
    ) -> Found<H> {
        if !self.partial.is_empty() {
            return self.read_partial(bytes, parse);
        }
        // Empty lines before a start line are passed over (RFC 9112, section 2.2); they do not
        // begin a message.
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = bytes.get(blank..).unwrap_or_default();
        if bytes.is_empty() {
            return Found::More;
        }
        self.start = Some(start);
        match parse(bytes) {
            Outcome::Complete(head, length) => Found::Head(head, blank + length),
            Outcome::Malformed => Found::Malformed,
            Outcome::Partial => {
                self.partial.extend_from_slice(bytes.get(..self.head_bytes).unwrap_or(bytes));
                self.tried = self.partial.len();
                if bytes.len() > self.head_bytes { Found::TooLong } else { Found::More }
            }
        }
    }

    fn read_partial<H>(&mut self, bytes: &[u8], parse: impl Fn(&[u8]) -> Outcome<H>) -> Found<H> {
        let before = self.partial.len();
        let room = self.head_bytes.saturating_sub(before);
        self.partial.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let full = bytes.len() > room;
        // Parsing starts from the beginning each time: it is worth it when the head may be complete
        // or when enough came since to keep the whole effort linear.
        let worth = full
            || self.partial.len() >= self.tried.saturating_mul(2)
            || has_empty_line(self.partial.get(before.saturating_sub(2)..).unwrap_or_default());
        if !worth {
            return Found::More;
        }
        self.tried = self.partial.len();
        match parse(&self.partial) {
            Outcome::Complete(head, length) => {
                self.forget_head();
                Found::Head(head, length.saturating_sub(before))
            }
            Outcome::Malformed => Found::Malformed,
            Outcome::Partial if full => Found::TooLong,
            Outcome::Partial => Found::More,
        }
    }

    /// The head is done with, in one way or another.
    pub(super) fn forget_head(&mut self) {
        self.partial = Vec::new();
        self.tried = 0;
    }

    /// Starts reading a body whose first byte is at `position`. Gives the state that follows when
    /// there is none.
    pub(super) fn begin_body(&mut self, framing: Framing) {
        self.body_begun = false;
        self.framed = match framing {
            Framing::None => Some(0),
            Framing::Counted(bytes) => Some(bytes),
            Framing::Chunked | Framing::UntilEnd | Framing::Faulty => None,
        };
        self.state = match framing {
            Framing::None => State::Head,
            Framing::Counted(bytes) => State::Counted(bytes),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilEnd => State::UntilEnd,
            Framing::Faulty => State::Blind(Box::default()),
        };
    }

    /// Goes on without framing.
    pub(super) fn go_blind(&mut self) {
        self.framed = None;
        self.state = State::Blind(Box::default());
    }

    /// Reads on in a body. In the states without one nothing is used.
    pub(super) fn read_body(&mut self, bytes: &[u8], fresh: bool, at: &At) -> Step {
        self.body_begun = true;
        match &mut self.state {
            State::Counted(left) => {
                let available = bytes.len() as u64;
                if available < *left {
                    *left -= available;
                    return Step::More;
                }
                // Fits: it is at most the length of a slice.
                let used = usize::try_from(*left).unwrap_or(bytes.len());
                self.state = State::Head;
                Step::Done(used)
            }
            State::Chunked(chunked) => match chunked.read(bytes) {
                Progress::More => Step::More,
                Progress::Done(used) => {
                    self.framed = Some(chunked.bytes);
                    self.state = State::Head;
                    Step::Done(used)
                }
                Progress::Malformed => Step::Malformed,
            },
            State::Blind(blind) => {
                blind.tail.push(bytes, fresh);
                blind.ended = at.segment_end && blind.tail.is_last_chunk();
                Step::More
            }
            State::UntilEnd => {
                self.framed = self.framed.unwrap_or(0).checked_add(bytes.len() as u64);
                Step::More
            }
            State::Head | State::Resync { .. } | State::Over => Step::More,
        }
    }

    /// Passes over bytes that were not seen, `None` for an unknown number.
    pub(super) fn skip_body(&mut self, count: Option<u64>) -> Skip {
        self.body_begun = true;
        match (&mut self.state, count) {
            (State::Counted(left), Some(count)) if count < *left => {
                *left -= count;
                Skip::Within
            }
            (State::Counted(left), Some(count)) => {
                let beyond = count - *left;
                self.state = State::Head;
                if beyond == 0 { Skip::ToEnd } else { Skip::Beyond }
            }
            (State::Counted(_), None) => {
                self.state = State::Head;
                Skip::Beyond
            }
            (State::Chunked(chunked), count) => {
                if count.is_some_and(|count| chunked.skip(count)) {
                    return Skip::Within;
                }
                self.go_blind();
                Skip::Blinded
            }
            (State::Blind(blind), _) => {
                blind.tail.gap();
                blind.ended = false;
                Skip::Blinded
            }
            (State::UntilEnd, count) => {
                self.framed = self.framed.unwrap_or(0).checked_add(count.unwrap_or(u64::MAX));
                Skip::Within
            }
            (State::Head | State::Resync { .. } | State::Over, _) => Skip::Within,
        }
    }
}

/// What passing over bytes in a body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// The place in the body is known as before.
    Within,
    /// The body ended with the last of them.
    ToEnd,
    /// The body ended among them, and more was not seen.
    Beyond,
    /// Where the body ends is not known any more.
    Blinded,
}

fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}
