//! Lines, and blocks whose length a line told, put together from the pieces of one direction.
//!
//! Of a line only the first bytes are kept; of a block as many as the protocol asks for. What the
//! capture skipped or lost inside of a block is passed over by its length; anywhere else the place is
//! lost, as lines may have begun or ended there.

use crate::protocol::{At, Piece};

/// Bytes of a line that are kept: a key of 250 bytes with everything that memcached takes beside it.
pub(crate) const MAX_LINE: usize = 512;

/// Bytes of a block that are kept at most.
pub(crate) const MAX_KEPT: usize = 64;

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A line.
    Line,
    /// A block of so many bytes with the line's end behind it, and how many of them are to be kept.
    Block(u64, usize),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A line without its end.
    Line {
        /// Its first bytes.
        text: &'a [u8],
        /// Whether there were more than are kept.
        cut: bool,
        /// Whether it ended with CR LF, not with LF alone.
        crlf: bool,
    },
    /// A whole block.
    Block {
        /// Its first bytes, as many as were asked for and captured.
        kept: &'a [u8],
        /// Whether bytes that were asked for were not captured.
        cut: bool,
        /// Whether CR LF came behind it, as far as that was captured.
        crlf: bool,
    },
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All of it was read.
    All,
    /// The place was lost before.
    Nothing,
    /// The place is lost with it: lines may have begun or ended in it.
    Gap,
    /// What was read is none of this protocol; the place is lost.
    Malformed,
}

#[derive(Debug)]
enum State {
    Line,
    Block(Block),
    Lost,
}

#[derive(Debug)]
struct Block {
    /// Bytes to come, its end included.
    left: u64,
    /// Bytes to be kept, of those to come.
    wanted: usize,
    cut: bool,
    crlf: bool,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Lines {
    state: State,
    /// The first bytes of a line or block that is not whole.
    partial: Vec<u8>,
    /// Bytes of the line so far, and whether the last of them is CR.
    length: usize,
    ends_with_cr: bool,
    /// Circumstances of the first byte of the line or block.
    begin: Option<At>,
}

impl Lines {
    /// The next byte begins a line.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Line,
            partial: Vec::new(),
            length: 0,
            ends_with_cr: false,
            begin: None,
        }
    }

    /// The next byte begins a line.
    pub(crate) fn restart(&mut self) {
        *self = Self::new();
    }

    /// Nothing is read until [`Self::restart`].
    pub(crate) fn lose(&mut self) {
        *self = Self { state: State::Lost, ..Self::new() };
    }

    /// Whether the place is lost.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Whether bytes of a line or block were read that is not whole.
    pub(crate) fn is_inside(&self) -> bool {
        self.begin.is_some() || matches!(self.state, State::Block(_))
    }

    /// Memory in use besides the value itself.
    pub(crate) fn memory(&self) -> usize {
        self.partial.capacity()
    }

    /// Takes in the next piece. `each` gets what was found with the circumstances of its first byte, and
    /// says what comes next; `None` when what was found makes no sense, or nothing more is to be read.
    pub(crate) fn push(
        &mut self,
        piece: Piece<'_>,
        at: &At,
        mut each: impl FnMut(Found<'_>, &At) -> Option<Next>,
    ) -> Taken {
        if self.is_lost() {
            return Taken::Nothing;
        }
        let count = match piece {
            Piece::Bytes(bytes) => return self.bytes(bytes, at, &mut each),
            Piece::Skipped(0) | Piece::Lost(Some(0)) => return Taken::All,
            Piece::Skipped(count) => Some(count),
            Piece::Lost(count) => count,
        };
        if let (State::Block(block), Some(count)) = (&mut self.state, count)
            && count <= block.left
        {
            block.left -= count;
            block.cut |= block.wanted > 0;
            block.wanted = 0;
            if block.left == 0 && !self.end_block(at, &mut each) {
                return Taken::Malformed;
            }
            return Taken::All;
        }
        self.lose();
        Taken::Gap
    }

    fn bytes(
        &mut self,
        mut bytes: &[u8],
        at: &At,
        each: &mut impl FnMut(Found<'_>, &At) -> Option<Next>,
    ) -> Taken {
        while !bytes.is_empty() {
            let goes_on = match &mut self.state {
                State::Lost => return Taken::Malformed,
                State::Line => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.keep_line(bytes, at);
                        return Taken::All;
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    self.end_line(line, at, each)
                }
                State::Block(block) => {
                    let begin = *self.begin.get_or_insert(*at);
                    let whole = usize::try_from(block.left).unwrap_or(usize::MAX);
                    let (now, rest) = bytes.split_at(whole.min(bytes.len()));
                    bytes = rest;
                    block.look_at_end(now);
                    block.left -= now.len() as u64;
                    let kept = now.get(..block.wanted.min(now.len())).unwrap_or_default();
                    block.wanted -= kept.len();
                    if block.left == 0 && self.partial.is_empty() {
                        // All that is to be kept is here.
                        let (cut, crlf) = (block.cut, block.crlf);
                        self.begin = None;
                        let next = each(Found::Block { kept, cut, crlf }, &begin);
                        self.go_on(next)
                    } else {
                        let is_whole = block.left == 0;
                        self.partial.extend_from_slice(kept);
                        !is_whole || self.end_block(at, each)
                    }
                }
            };
            if !goes_on {
                return Taken::Malformed;
            }
        }
        Taken::All
    }

    /// Keeps the beginning of a line whose end is not here.
    fn keep_line(&mut self, bytes: &[u8], at: &At) {
        self.begin.get_or_insert(*at);
        let room = MAX_LINE.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        self.length = self.length.saturating_add(bytes.len());
        self.ends_with_cr = bytes.last() == Some(&b'\r');
    }

    fn end_line(
        &mut self,
        line: &[u8],
        at: &At,
        each: &mut impl FnMut(Found<'_>, &At) -> Option<Next>,
    ) -> bool {
        let begin = self.begin.take().unwrap_or(*at);
        if self.length == 0 {
            let crlf = line.last() == Some(&b'\r');
            let line = line.get(..line.len() - usize::from(crlf)).unwrap_or_default();
            let text = line.get(..MAX_LINE).unwrap_or(line);
            let next = each(Found::Line { text, cut: text.len() < line.len(), crlf }, &begin);
            return self.go_on(next);
        }
        if !line.is_empty() {
            self.keep_line(line, at);
            self.begin = None;
        }
        let crlf = self.ends_with_cr;
        let length = self.length - usize::from(crlf);
        let partial = std::mem::take(&mut self.partial);
        self.length = 0;
        self.ends_with_cr = false;
        let text = partial.get(..length.min(partial.len())).unwrap_or_default();
        let next = each(Found::Line { text, cut: text.len() < length, crlf }, &begin);
        self.go_on(next)
    }

    fn end_block(
        &mut self,
        at: &At,
        each: &mut impl FnMut(Found<'_>, &At) -> Option<Next>,
    ) -> bool {
        let State::Block(block) = &self.state else { return false };
        let (cut, crlf) = (block.cut, block.crlf);
        let begin = self.begin.take().unwrap_or(*at);
        let kept = std::mem::take(&mut self.partial);
        let next = each(Found::Block { kept: &kept, cut, crlf }, &begin);
        self.go_on(next)
    }

    fn go_on(&mut self, next: Option<Next>) -> bool {
        self.state = match next {
            None => {
                self.lose();
                return false;
            }
            Some(Next::Line) => State::Line,
            Some(Next::Block(length, keep)) => State::Block(Block {
                left: length.saturating_add(2),
                wanted: usize::try_from(length).unwrap_or(usize::MAX).min(keep).min(MAX_KEPT),
                cut: false,
                crlf: true,
            }),
        };
        true
    }
}

impl Block {
    /// Whether its last two bytes, as far as they are among the next ones, are CR LF.
    fn look_at_end(&mut self, now: &[u8]) {
        for (from_end, expected) in [(2, b'\r'), (1, b'\n')] {
            let index = self.left.checked_sub(from_end).and_then(|index| index.try_into().ok());
            let byte = index.and_then(|index: usize| now.get(index));
            self.crlf &= byte.is_none_or(|byte| *byte == expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::event::{ProcessKey, Unit};

    fn at(time: u64) -> At {
        At {
            enter_ns: time,
            exit_ns: time,
            unit: Unit { process: ProcessKey { pid: 1, start_ns: 1 }, tid: 1, goroutine: 0 },
            segment_start: true,
            segment_end: true,
            turn: true,
        }
    }

    /// A line `+N` is followed by a block of N bytes of which three are kept.
    fn run(pieces: &[Piece<'_>]) -> String {
        let mut lines = Lines::new();
        let mut out = String::new();
        for (time, piece) in pieces.iter().enumerate() {
            let taken = lines.push(*piece, &at(time as u64), |found, begin| {
                let begin = begin.enter_ns;
                match found {
                    Found::Line { text, cut, crlf } => {
                        let text = String::from_utf8_lossy(text);
                        let cut = if cut { "~" } else { "" };
                        let lf = if crlf { "" } else { "!" };
                        write!(out, "{text}{cut}{lf}@{begin} ").unwrap();
                        let length = text.strip_prefix('+').map(str::parse);
                        match length {
                            None => Some(Next::Line),
                            Some(length) => Some(Next::Block(length.ok()?, 3)),
                        }
                    }
                    Found::Block { kept, cut, crlf } => {
                        let text = String::from_utf8_lossy(kept);
                        let cut = if cut { "~" } else { "" };
                        let lf = if crlf { "" } else { "!" };
                        write!(out, "[{text}{cut}{lf}@{begin}] ").unwrap();
                        Some(Next::Line)
                    }
                }
            });
            if taken != Taken::All {
                write!(out, "{taken:?}").unwrap();
            }
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same() {
        let stream = b"one\r\n+5\r\nabcde\r\n\r\n+0\r\n\r\n+1\r\nx\r\ntwo\n";
        let whole = run(&[Piece::Bytes(stream)]);
        assert_eq!(whole, "one@0 +5@0 [abc@0] @0 +0@0 [@0] +1@0 [x@0] two!@0 ");
        let without_times = |text: &str| text.replace("@1", "@0");
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let out = run(&[Piece::Bytes(first), Piece::Bytes(second)]);
            assert_eq!(without_times(&out), whole, "cut at {cut}");
        }
        let singly: Vec<Piece<'_>> = stream.chunks(1).map(Piece::Bytes).collect();
        let out = run(&singly);
        assert!(out.starts_with("one@0 +5@5 [abc@9] @16 +0@18 [@22] "), "{out}");
    }

    #[test]
    fn gaps_inside_of_a_block_change_nothing_but_what_is_kept() {
        let check = |pieces: &[Piece<'_>], expected: &str| assert_eq!(run(pieces), expected);
        let begin = Piece::Bytes(b"+6\r\nab");
        check(&[begin, Piece::Skipped(4), Piece::Bytes(b"\r\nx\r\n")], "+6@0 [ab~@0] x@2 ");
        check(&[begin, Piece::Skipped(5), Piece::Bytes(b"\nx\r\n")], "+6@0 [ab~@0] x@2 ");
        check(&[begin, Piece::Lost(Some(6)), Piece::Bytes(b"x\r\n")], "+6@0 [ab~@0] x@2 ");
        check(&[begin, Piece::Skipped(7), Piece::Bytes(b"x\r\n")], "+6@0 GapNothing");
        check(&[begin, Piece::Lost(None)], "+6@0 Gap");
        check(&[Piece::Bytes(b"ab"), Piece::Skipped(1)], "Gap");
        check(&[Piece::Bytes(b"+x\r\n"), Piece::Bytes(b"y\r\n")], "+x@0 MalformedNothing");
        check(&[Piece::Bytes(b"+1\r\nabc")], "+1@0 [a!@0] ");
    }

    #[test]
    fn long_lines_are_cut() {
        let line = "y".repeat(MAX_LINE + 3);
        for end in ["\r\n", "\n"] {
            let whole = format!("{line}{end}z\r\n");
            for cut in [1, 500, MAX_LINE, MAX_LINE + 3, MAX_LINE + 4] {
                let (first, second) = whole.as_bytes().split_at(cut);
                let out = run(&[Piece::Bytes(first), Piece::Bytes(second)]);
                assert!(out.contains(&format!("{}~", "y".repeat(MAX_LINE))), "{out}");
                assert!(out.contains("z@1"), "{out}");
            }
        }
    }
}
