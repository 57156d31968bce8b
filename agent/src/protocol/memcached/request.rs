//! Requests: a line, and behind some of them a block of data.
//!
//! Of a line only the command, its numbers and its flags are looked at; keys and values are passed over.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::protocol::text::lines::{Found, Next};
use crate::protocol::text::statements::Name;

/// Bytes of a block of data at most, above what memcached takes with any configuration.
const MAX_DATA: u64 = 1 << 32;

/// Bytes of a key at most, as the protocol has it.
const MAX_KEY: usize = 250;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line.
    Line,
    /// Values, and `END`.
    Values,
    /// Lines of any kind, and `END`.
    Lines,
    /// A command of the meta protocol: one line, and perhaps a value.
    Meta(Meta),
    /// One line, or nothing as the connection ends.
    Shutdown,
    /// One line, and then what is logged.
    Watch,
}

/// Commands of the meta protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Get,
    Set,
    Delete,
    Arithmetic,
    NoOp,
    Debug,
}

/// A request as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) name: Name,
    pub(super) kind: Kind,
    /// Words behind its name.
    pub(super) arguments: u32,
    /// It is not answered.
    pub(super) no_reply: bool,
    /// It is only answered when something is to be said.
    pub(super) quiet: bool,
    /// Its mark, by which its answer is known, as a number.
    pub(super) opaque: Option<u64>,
    /// Bytes of data behind the line.
    data: Option<u64>,
}

/// Reads requests.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The command whose data is being read.
    reading: Option<Command>,
}

impl Reader {
    /// The next line or block; `None` when it makes no sense. `strict`: what memcached would answer
    /// with an error makes none, either.
    pub(super) fn read(&mut self, found: Found<'_>, strict: bool) -> Option<Result<Command, Next>> {
        match found {
            Found::Line { text, cut, .. } => {
                let command = match Command::parse(text, cut) {
                    Parsed::Command(command) => command,
                    Parsed::Faulty if strict => return None,
                    Parsed::Faulty => Command::faulty(),
                    Parsed::None => return None,
                };
                let Some(length) = command.data else { return Some(Ok(command)) };
                self.reading = Some(command);
                Some(Err(Next::Block(length, 0)))
            }
            // What does not end where it should is answered with an error, and the rest is taken for
            // commands: the place is lost.
            Found::Block { crlf, .. } => self.reading.take().filter(|_| crlf).map(Ok),
        }
    }

    /// The command that is being read, of which no more is seen.
    pub(super) fn cut(&mut self) -> Option<Command> {
        self.reading.take()
    }
}

/// What a line is.
pub(super) enum Parsed {
    /// A command.
    Command(Command),
    /// Text, which memcached answers with an error.
    Faulty,
    /// No text.
    None,
}

impl Command {
    fn new(name: &[u8], kind: Kind) -> Self {
        let mut named = Name::UNKNOWN;
        named.add(name);
        Self {
            name: named,
            kind,
            arguments: 0,
            no_reply: false,
            quiet: false,
            opaque: None,
            data: None,
        }
    }

    /// Something that is answered with an error.
    fn faulty() -> Self {
        Self::new(b"", Kind::Line)
    }

    /// Reads a line.
    pub(super) fn parse(text: &[u8], cut: bool) -> Parsed {
        if !text.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte >= 0x80) {
            return Parsed::None;
        }
        let mut words = Words(text);
        let Some(first) = words.next() else { return Parsed::Faulty };
        let parsed = match first {
            // The line may have more keys than are kept of it.
            b"get" | b"gets" => Self::keys(first, words, cut),
            b"gat" | b"gats" => is_time(words.next()).and_then(|()| Self::keys(first, words, cut)),
            _ if cut => None,
            b"set" | b"add" | b"replace" | b"append" | b"prepend" => Self::storage(first, words, 4),
            b"cas" => Self::storage(first, words, 5),
            b"mg" | b"ms" | b"md" | b"ma" | b"me" | b"mn" => Self::meta(first, words),
            _ => Self::plain(first, words),
        };
        match parsed {
            Some(mut command) => {
                command.arguments = u32::try_from(Words(text).count()).unwrap_or(0) - 1;
                Parsed::Command(command)
            }
            None => Parsed::Faulty,
        }
    }

    fn keys(name: &[u8], mut keys: Words<'_>, cut: bool) -> Option<Self> {
        let first = keys.next()?;
        // The last one may be cut.
        (is_key(first) && (cut || keys.all(is_key))).then(|| Self::new(name, Kind::Values))
    }

    /// `set KEY FLAGS EXPTIME BYTES [noreply]`: so many words but for the last one.
    fn storage(name: &[u8], mut words: Words<'_>, count: usize) -> Option<Self> {
        let mut command = Self::new(name, Kind::Line);
        is_key(words.next()?).then_some(())?;
        u32::try_from(number(words.next()?)?).ok()?;
        is_time(words.next())?;
        command.data = Some(number(words.next()?).filter(|length| *length <= MAX_DATA)?);
        if count == 5 {
            number(words.next()?)?;
        }
        command.no_reply = words.next().is_some_and(|word| word == b"noreply");
        Some(command)
    }

    fn meta(name: &[u8], mut words: Words<'_>) -> Option<Self> {
        let meta = match name {
            b"mg" => Meta::Get,
            b"ms" => Meta::Set,
            b"md" => Meta::Delete,
            b"ma" => Meta::Arithmetic,
            b"me" => Meta::Debug,
            _ => return Some(Self::new(name, Kind::Meta(Meta::NoOp))),
        };
        let mut command = Self::new(name, Kind::Meta(meta));
        is_key(words.next()?).then_some(())?;
        if meta == Meta::Set {
            command.data = Some(number(words.next()?).filter(|length| *length <= MAX_DATA)?);
        }
        for flag in words {
            flag.first().filter(|first| first.is_ascii_alphabetic())?;
            command.quiet |= flag == b"q";
            if let Some(opaque) = flag.strip_prefix(b"O") {
                command.opaque = Some(mark(opaque));
            }
        }
        Some(command)
    }

    fn plain(name: &[u8], mut words: Words<'_>) -> Option<Self> {
        let kind = match name {
            b"delete" => is_key(words.next()?).then_some(Kind::Line)?,
            b"incr" | b"decr" => {
                is_key(words.next()?).then_some(())?;
                number(words.next()?).map(|_| Kind::Line)?
            }
            b"touch" => {
                is_key(words.next()?).then_some(())?;
                is_time(words.next()).map(|()| Kind::Line)?
            }
            b"stats" | b"lru_crawler" => Kind::Lines,
            b"shutdown" | b"quit" => Kind::Shutdown,
            b"watch" => Kind::Watch,
            b"version" | b"flush_all" | b"verbosity" | b"cache_memlimit" | b"slabs" | b"lru" => {
                Kind::Line
            }
            _ => return None,
        };
        let mut command = Self::new(name, kind);
        command.no_reply = name == b"quit" || words.last().is_some_and(|word| word == b"noreply");
        Some(command)
    }
}

/// What tells a mark from another: it is never shown.
pub(super) fn mark(opaque: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    opaque.hash(&mut hasher);
    hasher.finish()
}

/// The words of a line.
#[derive(Clone)]
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let begin = self.0.iter().position(|byte| *byte != b' ')?;
        let rest = self.0.get(begin..)?;
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        Some(word)
    }
}

/// A number without a sign.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn is_key(word: &[u8]) -> bool {
    (1..=MAX_KEY).contains(&word.len())
}

/// A time may be negative: the item is expired at once.
fn is_time(word: Option<&[u8]>) -> Option<()> {
    let word = word?;
    number(word.strip_prefix(b"-").unwrap_or(word)).map(|_| ())
}
