//! Answers of RESP2 and RESP3, nested to a bound, attributes and streamed types included.

use super::command;
use super::request::number;
use crate::protocol::text::lines::{Found, Next};
use crate::span::database::DatabaseError;

/// Aggregates in aggregates at most.
const MAX_DEPTH: usize = 64;

/// Elements of an aggregate, and bytes of a string, at most.
const MAX_ELEMENTS: u64 = 1 << 40;

/// Bytes of the first word of an error that are looked at.
const MAX_CODE: usize = 32;

/// What is kept of the first element of an aggregate.
const MAX_FIRST: usize = 16;

/// What is known of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The byte that tells its type.
    pub(super) kind: u8,
    /// It is an error; its first word.
    pub(super) error: Option<DatabaseError>,
    /// It is an error that says that there is no such command.
    pub(super) no_such_command: bool,
    /// The command was put into a transaction.
    pub(super) queued: bool,
    /// Of an aggregate: its length as announced, its first element as far as it is kept, and its third
    /// one where that is a number.
    pub(super) elements: u64,
    first: [u8; MAX_FIRST],
    first_length: usize,
    pub(super) third: Option<u64>,
}

impl Answer {
    /// The first element of an aggregate, where it is a short string.
    pub(super) fn first(&self) -> &[u8] {
        self.first.get(..self.first_length).unwrap_or_default()
    }

    fn set_first(&mut self, word: &[u8]) {
        if let Some(room) = self.first.get_mut(..word.len()) {
            room.copy_from_slice(word);
            self.first_length = word.len();
        }
    }

    fn set_error(&mut self, text: &[u8]) {
        let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let code = command::error_code(word).unwrap_or("_OTHER");
        self.error = Some(DatabaseError::Code(code.into()));
        let says = |begin: &str| {
            text.get(..begin.len()).is_some_and(|text| text.eq_ignore_ascii_case(begin.as_bytes()))
        };
        self.no_such_command = says("ERR unknown command") || says("ERR unknown subcommand");
    }
}

impl Step {
    /// At the end of an aggregate. An attribute is no element: what it is about follows.
    fn after(is_attribute: bool) -> Self {
        if is_attribute { Self::More(Next::Line) } else { Self::Element }
    }
}

/// Elements to come of an aggregate.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// `None`: until its end is told.
    left: Option<u64>,
    /// It is about the element that follows, and none itself.
    is_attribute: bool,
}

/// What comes of a line or block.
enum Step {
    /// An element is whole.
    Element,
    /// More of it follows.
    More(Next),
}

/// Reads answers.
#[derive(Debug, Default)]
pub(super) struct Reader {
    stack: Vec<Frame>,
    /// Elements of the outermost aggregate so far.
    index: u64,
    /// The string that is being read comes in pieces.
    is_streamed: bool,
    /// Type and length of the string that is being read.
    string: Option<(u8, u64)>,
    answer: Answer,
}

impl Reader {
    /// The next line or block; `None` when it makes no sense.
    pub(super) fn read(&mut self, found: Found<'_>) -> Option<Result<Answer, Next>> {
        let step = match found {
            Found::Block { crlf: false, .. } | Found::Line { crlf: false, .. } => return None,
            Found::Block { kept, .. } => self.block(kept),
            Found::Line { text, .. } if self.is_streamed => self.chunk(text)?,
            Found::Line { text, cut, .. } => self.line(text, cut)?,
        };
        Some(match step {
            Step::More(next) => Err(next),
            Step::Element if self.end_element() => {
                // One deep answer does not keep its memory for ever.
                self.stack.shrink_to(4);
                Ok(std::mem::take(&mut self.answer))
            }
            Step::Element => Err(Next::Line),
        })
    }

    /// A line that begins an element, or ends an aggregate.
    fn line(&mut self, text: &[u8], cut: bool) -> Option<Step> {
        let (kind, rest) = text.split_first()?;
        let outermost = self.stack.is_empty();
        let is_attribute = *kind == b'|';
        if outermost && !is_attribute {
            self.answer = Answer { kind: *kind, ..Answer::default() };
            self.index = 0;
        }
        match kind {
            b'+' => self.answer.queued |= outermost && rest == b"QUEUED",
            b'-' if outermost => self.answer.set_error(rest),
            b'-' => {}
            b':' => {
                let digits = rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(b"+"));
                let value = number(digits.unwrap_or(rest), u64::MAX)?;
                if self.stack.len() == 1 && self.index == 2 {
                    self.answer.third = Some(value);
                }
            }
            b'_' if rest.is_empty() => {}
            b'#' if matches!(rest, b"t" | b"f") => {}
            b',' if !rest.is_empty() && rest.iter().all(|byte| is_of_double(*byte)) => {}
            b'(' if cut || is_whole_number(rest) => {}
            b'$' | b'*' if rest == b"-1" => {}
            b'$' if rest == b"?" => {
                self.is_streamed = true;
                return Some(Step::More(Next::Line));
            }
            b'$' | b'!' | b'=' => {
                let length = number(rest, MAX_ELEMENTS)?;
                self.string = Some((*kind, length));
                let keep = match (kind, self.stack.len()) {
                    (b'!', 0) => 2 * MAX_CODE,
                    (b'$', 1) if self.index == 0 => MAX_FIRST,
                    _ => 0,
                };
                return Some(Step::More(Next::Block(length, keep)));
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => return self.aggregate(*kind, rest, outermost),
            b'.' if rest.is_empty() => {
                let frame = self.stack.pop().filter(|frame| frame.left.is_none())?;
                return Some(Step::after(frame.is_attribute));
            }
            _ => return None,
        }
        Some(Step::Element)
    }

    fn aggregate(&mut self, kind: u8, rest: &[u8], outermost: bool) -> Option<Step> {
        let is_attribute = kind == b'|';
        let left = if rest == b"?" {
            None
        } else {
            let pairs = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            Some(number(rest, MAX_ELEMENTS)? * pairs)
        };
        if outermost && !is_attribute {
            self.answer.elements = left.unwrap_or(0);
        }
        if left == Some(0) {
            return Some(Step::after(is_attribute));
        }
        if self.stack.len() >= MAX_DEPTH {
            return None;
        }
        self.stack.push(Frame { left, is_attribute });
        Some(Step::More(Next::Line))
    }

    /// The length of the next piece of a streamed string.
    fn chunk(&mut self, text: &[u8]) -> Option<Step> {
        let length = number(text.strip_prefix(b";")?, MAX_ELEMENTS)?;
        self.is_streamed = length > 0;
        Some(if length > 0 { Step::More(Next::Block(length, 0)) } else { Step::Element })
    }

    fn block(&mut self, kept: &[u8]) -> Step {
        if self.is_streamed {
            return Step::More(Next::Line);
        }
        match self.string.take() {
            Some((b'!', _)) if self.stack.is_empty() => self.answer.set_error(kept),
            Some((b'$', length))
                if self.stack.len() == 1 && self.index == 0 && length == kept.len() as u64 =>
            {
                self.answer.set_first(kept);
            }
            _ => {}
        }
        Step::Element
    }

    /// An element is whole: whether the answer is.
    fn end_element(&mut self) -> bool {
        loop {
            if self.stack.len() == 1 {
                self.index += 1;
            }
            let Some(frame) = self.stack.last_mut() else { return true };
            let Some(left) = &mut frame.left else { return false };
            *left = left.saturating_sub(1);
            if *left > 0 {
                return false;
            }
            let is_attribute = frame.is_attribute;
            self.stack.pop();
            if is_attribute {
                return false;
            }
        }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        self.stack.capacity() * size_of::<Frame>()
    }
}

fn is_of_double(byte: u8) -> bool {
    byte.is_ascii_digit() || b"+-.eEinfaN".contains(&byte)
}

fn is_whole_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
