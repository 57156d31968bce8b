//! Answers: lines, and behind some of them a block of data.

use super::request::{Kind, Words, mark, number};
use crate::protocol::text::lines::{Found, Next};

/// What is known of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    /// It is an error; its first word.
    pub(super) error: Option<&'static str>,
    /// Values in it.
    pub(super) values: u64,
}

/// Reads answers.
#[derive(Debug, Default)]
pub(super) struct Reader {
    answer: Answer,
    /// What is over with the block that is being read.
    is_last: bool,
    /// The answer is of values or other lines, and `END` follows.
    has_end: bool,
}

impl Reader {
    /// The next line or block; `None` when it makes no sense. `asked`: what the front of the queue
    /// wants, where that is known.
    pub(super) fn read(
        &mut self,
        found: Found<'_>,
        asked: Option<Kind>,
    ) -> Option<Result<Answer, Next>> {
        let text = match found {
            Found::Line { crlf: false, .. } | Found::Block { crlf: false, .. } => return None,
            Found::Block { .. } if self.is_last => return Some(Ok(self.whole())),
            Found::Block { .. } => return Some(Err(Next::Line)),
            Found::Line { text, .. } => text,
        };
        let mut words = Words(text);
        let first = words.next()?;
        self.answer.error = error(first);
        match first {
            _ if self.answer.error.is_some() => {}
            b"VALUE" => {
                let length = number(words.nth(2)?)?;
                self.answer.values += 1;
                self.has_end = true;
                return Some(Err(Next::Block(length, 0)));
            }
            b"VA" => {
                let length = number(words.next()?)?;
                self.answer.values += 1;
                self.is_last = true;
                return Some(Err(Next::Block(length, 0)));
            }
            b"END" => {}
            b"STAT" | b"ITEM" | b"PREFIX" => {
                self.has_end = true;
                return Some(Err(Next::Line));
            }
            b"OK" | b"RESET" | b"BUSY" if !self.has_end => {}
            _ if asked == Some(Kind::Lines) => return Some(Err(Next::Line)),
            _ if self.has_end => return None,
            b"STORED" | b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND" | b"DELETED" | b"TOUCHED"
            | b"VERSION" | b"BADCLASS" | b"NOSPARE" | b"NOTFULL" | b"UNSAFE" | b"SAME" | b"HD"
            | b"EN" | b"NF" | b"NS" | b"EX" | b"MN" | b"ME" => {}
            _ if number(first).is_some() && words.next().is_none() => {}
            _ => return None,
        }
        Some(Ok(self.whole()))
    }

    fn whole(&mut self) -> Answer {
        std::mem::take(self).answer
    }
}

fn error(word: &[u8]) -> Option<&'static str> {
    match word {
        b"ERROR" => Some("ERROR"),
        b"CLIENT_ERROR" => Some("CLIENT_ERROR"),
        b"SERVER_ERROR" => Some("SERVER_ERROR"),
        _ => None,
    }
}

/// The first line of an answer, as far as it tells which request it belongs to.
pub(super) struct First<'a> {
    word: &'a [u8],
    opaque: Option<u64>,
}

impl<'a> First<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        let mut words = Words(line);
        let word = words.next().unwrap_or_default();
        let opaque = words.find_map(|word| word.strip_prefix(b"O")).map(mark);
        Self { word, opaque }
    }

    /// Whether it may answer a request.
    pub(super) fn may_answer(&self, kind: Kind, quiet: bool, opaque: Option<u64>) -> bool {
        use super::request::Meta;
        if error(self.word).is_some() {
            return true;
        }
        let Kind::Meta(meta) = kind else {
            return !matches!(self.word, b"VA" | b"HD" | b"EN" | b"NF" | b"NS" | b"EX" | b"MN");
        };
        // Misses are not marked.
        if opaque.is_some() && opaque != self.opaque && self.word != b"EN" {
            return false;
        }
        // What is left out of quiet ones is what is usual.
        match (meta, self.word) {
            (Meta::Get, b"EN")
            | (Meta::Set | Meta::Delete | Meta::Arithmetic, b"HD")
            | (Meta::Arithmetic, b"VA") => !quiet,
            (Meta::Get, b"VA" | b"HD")
            | (Meta::Set | Meta::Delete | Meta::Arithmetic, b"EX" | b"NF")
            | (Meta::Set | Meta::Arithmetic, b"NS")
            | (Meta::NoOp, b"MN")
            | (Meta::Debug, b"ME" | b"EN") => true,
            _ => false,
        }
    }
}
