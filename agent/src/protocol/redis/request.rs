//! Requests: arrays of bulk strings, and inline commands.
//!
//! Of a command only its name is kept, with the sub-command where that belongs to the name. Keys, values,
//! user names and passwords are passed over by their lengths.

use super::command::{Kind, MAX_WORD, add_sub_command, add_word, is_container};
use crate::protocol::text::lines::{Found, Next};
use crate::protocol::text::statements::Name;

/// Arguments of a command, and bytes of one, at most: above what Redis takes with any configuration.
const MAX_ARGUMENTS: u64 = i32::MAX as u64;
const MAX_BULK: u64 = 1 << 40;

/// A command as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) name: Name,
    pub(super) kind: Kind,
    /// Arguments behind its name.
    pub(super) arguments: u32,
    /// It waits by intent.
    pub(super) waits: bool,
    /// `SELECT`: the database.
    pub(super) database: Option<u32>,
    /// `CLIENT REPLY`: what is to be answered.
    pub(super) replies: Option<Replies>,
}

/// What the client wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replies {
    On,
    Off,
    Skip,
}

/// What came of a line or block.
#[derive(Debug)]
pub(super) enum Read {
    More(Next),
    /// An empty command, which is not answered.
    Nothing,
    Command(Command),
}

/// Reads commands.
#[derive(Debug, Default)]
pub(super) struct Reader {
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// Arguments in all, its name included, and the number of the next one.
    total: u32,
    index: u32,
    /// Bytes of the next one.
    length: u64,
    command: Command,
    /// No more options come before keys and values.
    options_over: bool,
}

impl Reading {
    fn new(total: u32) -> Self {
        let command = Command {
            name: Name::UNKNOWN,
            kind: Kind::Plain,
            arguments: total.saturating_sub(1),
            waits: false,
            database: None,
            replies: None,
        };
        Self { total, index: 0, length: 0, command, options_over: false }
    }

    /// Bytes to keep of the next argument.
    fn keep(&self) -> usize {
        let is_wanted = match (self.index, self.command.kind) {
            (0, _) | (1, Kind::Select) => true,
            (_, Kind::Read) => !self.options_over,
            (1, _) => is_container(self.command.name.text()),
            (2, Kind::Client) => self.command.replies.is_some(),
            _ => false,
        };
        if is_wanted { MAX_WORD } else { 0 }
    }

    /// Takes the next argument; `whole` if all of it is here.
    fn argument(&mut self, word: &[u8], whole: bool) {
        let command = &mut self.command;
        let is = |name: &str| whole && word.eq_ignore_ascii_case(name.as_bytes());
        match (self.index, command.kind) {
            (0, _) if whole && add_word(&mut command.name, word) => {
                command.kind = Kind::of(command.name.text());
                command.waits = command.kind == Kind::Blocking;
            }
            (0, _) => {}
            (1, Kind::Select) => {
                let digits = str::from_utf8(word).ok().filter(|_| whole);
                command.database = digits.and_then(|digits| digits.parse().ok());
            }
            (_, Kind::Read) if !self.options_over => {
                command.waits |= is("BLOCK");
                self.options_over = is("STREAMS") || is("BLOCK");
            }
            (1, _)
                if is_container(command.name.text())
                    && whole
                    && add_sub_command(&mut command.name, word) =>
            {
                command.arguments = command.arguments.saturating_sub(1);
                if command.kind == Kind::Client && is("REPLY") {
                    command.replies = Some(Replies::On);
                }
            }
            (2, Kind::Client) if command.replies.is_some() => {
                command.replies = match () {
                    () if is("OFF") => Some(Replies::Off),
                    () if is("SKIP") => Some(Replies::Skip),
                    () => Some(Replies::On),
                };
            }
            _ => {}
        }
        self.index += 1;
    }
}

impl Reader {
    /// The next line or block; `None` when it makes no sense.
    pub(super) fn read(&mut self, found: Found<'_>) -> Option<Read> {
        let Some(reading) = &mut self.reading else {
            let Found::Line { text, cut, crlf } = found else { return None };
            return self.first_line(text, cut, crlf);
        };
        match found {
            Found::Line { text, cut: false, crlf: true } => {
                let length = number(text.strip_prefix(b"$")?, MAX_BULK)?;
                reading.length = length;
                Some(Read::More(Next::Block(length, reading.keep())))
            }
            Found::Block { kept, cut, crlf: true } => {
                reading.argument(kept, !cut && kept.len() as u64 == reading.length);
                if reading.index < reading.total {
                    return Some(Read::More(Next::Line));
                }
                let command = reading.command;
                self.reading = None;
                Some(Read::Command(command))
            }
            _ => None,
        }
    }

    fn first_line(&mut self, text: &[u8], cut: bool, crlf: bool) -> Option<Read> {
        let Some(count) = text.strip_prefix(b"*") else { return inline(text, cut) };
        if count.first() == Some(&b'-') || count == b"0" {
            return number(count.strip_prefix(b"-").unwrap_or(count), MAX_ARGUMENTS)
                .map(|_| Read::Nothing);
        }
        if !crlf || cut {
            return None;
        }
        let count = u32::try_from(number(count, MAX_ARGUMENTS)?).ok()?;
        self.reading = Some(Reading::new(count));
        Some(Read::More(Next::Line))
    }

    /// The command that is being read, of which no more is seen; `None` when there is none.
    pub(super) fn cut(&mut self) -> Option<Command> {
        let reading = self.reading.take()?;
        Some(reading.command).filter(|command| !command.name.is_unknown())
    }
}

/// A line of words, as people type them.
fn inline(text: &[u8], cut: bool) -> Option<Read> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let count = u32::try_from(words.clone().count()).ok()?;
    if count == 0 && !cut {
        return Some(Read::Nothing);
    }
    let mut reading = Reading::new(count);
    reading.argument(words.next()?, true);
    if reading.command.name.is_unknown() {
        return None;
    }
    words.for_each(|word| reading.argument(word, true));
    Some(Read::Command(reading.command))
}

/// A number without a sign.
pub(super) fn number(digits: &[u8], max: u64) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_number)?;
    digits.parse().ok().filter(|number| *number <= max)
}
