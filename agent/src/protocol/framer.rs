//! Messages with a length in a header of fixed size, as most binary protocols have them: put together
//! from the pieces of one direction.
//!
//! Of long messages only the first bytes are kept, as many as the protocol asks for; the rest, and what
//! the capture skipped or lost of it, is passed over by its length. Where a stretch is missing in which
//! a header may have been, the place is lost, and the caller is told; it says where to go on.

use super::{At, Piece};

/// Longest header.
pub const MAX_HEADER: usize = 16;

/// How messages are framed.
pub trait Framing {
    /// Bytes of the header that the next message has, 1 to [`MAX_HEADER`].
    fn header_length(&self) -> usize;

    /// Bytes that follow this header, and how many of them are to be kept; `None` when it is no header.
    fn payload(&self, header: &[u8]) -> Option<(u64, usize)>;
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The first byte of a message; the piece's [`At`] is that of its beginning.
    Begin,
    /// A whole message.
    Message {
        /// Its header.
        header: &'a [u8],
        /// The first bytes of its payload: as many as were asked for and captured.
        payload: &'a [u8],
        /// Bytes of its payload in all.
        length: u64,
        /// Whether bytes that were asked for were not captured.
        cut: bool,
    },
    /// Bytes that are no header. Nothing more comes out until [`Framer::restart`].
    Malformed,
    /// Bytes are missing in which messages may have begun or ended: so many, where that is known, and
    /// whether they were lost rather than skipped. Nothing more comes out until [`Framer::restart`].
    Gap(Option<u64>, bool),
}

/// One direction.
#[derive(Debug, Default)]
pub struct Framer {
    header: [u8; MAX_HEADER],
    /// Bytes of the header that are here.
    have: usize,
    payload: Vec<u8>,
    /// Bytes of the payload: in all, still to come, and still to be kept.
    length: u64,
    left: u64,
    wanted: usize,
    cut: bool,
    /// Whether the header is whole, and the payload is being read.
    inside: bool,
    /// The place is lost.
    lost: bool,
}

impl Framer {
    /// Whether the next byte begins a message.
    pub fn is_between(&self) -> bool {
        !self.lost && self.have == 0 && !self.inside
    }

    /// Whether the place is lost.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The next byte begins a message.
    pub fn restart(&mut self) {
        *self = Self { payload: std::mem::take(&mut self.payload), ..Self::default() };
        self.payload.clear();
    }

    /// The place is not known until [`Framer::restart`].
    pub fn lose(&mut self) {
        self.restart();
        self.lost = true;
    }

    /// Memory in use besides the value itself.
    pub fn memory(&self) -> usize {
        self.payload.capacity()
    }

    /// Takes in the next piece. What comes out is given to `each` with the framing, which may change
    /// with a message; `each` returns whether to go on with the next message of this piece. Returns the
    /// bytes of the piece that were not used because it did not.
    pub fn push<'p, F: Framing>(
        &mut self,
        piece: Piece<'p>,
        at: &At,
        framing: &mut F,
        mut each: impl FnMut(&mut F, Found<'_>, &At) -> bool,
    ) -> &'p [u8] {
        let (gap, is_lost) = match piece {
            Piece::Bytes(bytes) => return self.bytes(bytes, at, framing, &mut each),
            Piece::Skipped(count) => (Some(count), false),
            Piece::Lost(count) => (count, true),
        };
        if self.lost {
            return &[];
        }
        match gap {
            Some(count) if self.inside && count < self.left => {
                self.left -= count;
                self.cut |= self.wanted > 0;
                self.wanted = 0;
            }
            // Exactly to the end of the message.
            Some(count) if self.inside && count == self.left => {
                self.left = 0;
                self.cut |= self.wanted > 0;
                self.finish(at, framing, &mut each);
            }
            Some(0) => {}
            _ => {
                self.lose();
                each(framing, Found::Gap(gap, is_lost), at);
            }
        }
        &[]
    }

    fn bytes<'p, F: Framing>(
        &mut self,
        mut bytes: &'p [u8],
        at: &At,
        framing: &mut F,
        each: &mut impl FnMut(&mut F, Found<'_>, &At) -> bool,
    ) -> &'p [u8] {
        while !bytes.is_empty() && !self.lost {
            if !self.inside {
                let wanted = framing.header_length().clamp(1, MAX_HEADER);
                if self.have == 0 {
                    each(framing, Found::Begin, at);
                }
                let take = wanted.saturating_sub(self.have).min(bytes.len());
                let (now, rest) = bytes.split_at(take);
                if let Some(into) = self.header.get_mut(self.have..self.have + take) {
                    into.copy_from_slice(now);
                }
                self.have += take;
                bytes = rest;
                if self.have < wanted {
                    break;
                }
                let header = self.header.get(..wanted).unwrap_or_default();
                let Some((length, keep)) = framing.payload(header) else {
                    self.lose();
                    each(framing, Found::Malformed, at);
                    return bytes;
                };
                self.inside = true;
                self.length = length;
                self.left = length;
                self.wanted = usize::try_from(length).unwrap_or(usize::MAX).min(keep);
            }
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            let keep = now.get(..self.wanted.min(take)).unwrap_or(now);
            self.payload.extend_from_slice(keep);
            self.wanted -= keep.len();
            self.left -= take as u64;
            bytes = rest;
            if self.left == 0 && !self.finish(at, framing, each) {
                return bytes;
            }
        }
        if self.lost { &[] } else { bytes }
    }

    /// Hands out a whole message.
    fn finish<F: Framing>(
        &mut self,
        at: &At,
        framing: &mut F,
        each: &mut impl FnMut(&mut F, Found<'_>, &At) -> bool,
    ) -> bool {
        let header = self.header.get(..self.have).unwrap_or_default();
        let message =
            Found::Message { header, payload: &self.payload, length: self.length, cut: self.cut };
        let goes_on = each(framing, message, at);
        self.have = 0;
        self.inside = false;
        self.cut = false;
        self.wanted = 0;
        self.payload.clear();
        // One long message does not keep its memory for ever.
        self.payload.shrink_to(KEPT_CAPACITY);
        goes_on
    }
}

/// Capacity for payload that is kept from message to message.
const KEPT_CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::event::{ProcessKey, Unit};

    /// A length of two bytes; of each payload, three bytes are kept. 0xffff is none.
    struct Short;

    impl Framing for Short {
        fn header_length(&self) -> usize {
            2
        }

        fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
            let length = u16::from_be_bytes(header.try_into().ok()?);
            (length != u16::MAX).then_some((length.into(), 3))
        }
    }

    fn at() -> At {
        At {
            enter_ns: 1,
            exit_ns: 2,
            unit: Unit { process: ProcessKey { pid: 1, start_ns: 1 }, tid: 1, goroutine: 0 },
            segment_start: true,
            segment_end: true,
            turn: true,
        }
    }

    fn run(pieces: &[Piece<'_>]) -> String {
        let mut framer = Framer::default();
        let mut out = String::new();
        for piece in pieces {
            framer.push(*piece, &at(), &mut Short, |_, found, _| {
                match found {
                    Found::Begin => out.push('('),
                    Found::Message { payload, length, cut, .. } => {
                        let cut = if cut { "~" } else { "" };
                        let text = String::from_utf8_lossy(payload);
                        write!(out, "{text}{cut}/{length})").unwrap();
                    }
                    Found::Malformed => out.push('!'),
                    Found::Gap(count, lost) => write!(out, "gap {count:?} {lost}").unwrap(),
                }
                true
            });
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_messages() {
        let stream = b"\0\x02ab\0\0\0\x05abcde\0\x01x";
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let out = run(&[Piece::Bytes(first), Piece::Bytes(second)]);
            assert_eq!(out, "(ab/2)(/0)(abc/5)(x/1)", "cut at {cut}");
        }
        let bytes: Vec<Piece<'_>> = stream.chunks(1).map(Piece::Bytes).collect();
        assert_eq!(run(&bytes), "(ab/2)(/0)(abc/5)(x/1)");
    }

    #[test]
    fn gaps_inside_of_a_message_change_nothing_but_what_is_kept() {
        let check = |pieces: &[Piece<'_>], expected: &str| assert_eq!(run(pieces), expected);
        let begin = Piece::Bytes(b"\0\x06ab");
        check(&[begin, Piece::Skipped(3), Piece::Bytes(b"f\0\x01x")], "(ab~/6)(x/1)");
        check(&[begin, Piece::Skipped(4), Piece::Bytes(b"\0\x01x")], "(ab~/6)(x/1)");
        check(&[Piece::Bytes(b"\0\x06abc"), Piece::Lost(Some(3))], "(abc/6)");
        check(&[begin, Piece::Skipped(5), Piece::Bytes(b"\0\x01x")], "(gap Some(5) false");
        check(&[begin, Piece::Lost(None)], "(gap None true");
        check(&[Piece::Bytes(b"\xff\xff")], "(!");
    }
}
