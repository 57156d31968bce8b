//! What commands are called, without their arguments: made once for the commands that a connection
//! repeats.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::span::database::Statement;

/// Bytes of a command's name at most, that of its sub-command included.
pub(crate) const MAX_NAME: usize = 48;

/// Statements that a connection remembers.
const REMEMBERED: usize = 8;

/// A command's name, bounded, as it is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl Name {
    /// Nothing is known of it.
    pub(crate) const UNKNOWN: Self = Self { bytes: [0; MAX_NAME], length: 0 };

    /// Whether nothing is known of it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.length == 0
    }

    /// Its text; empty when it is not known.
    pub(crate) fn text(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// Adds a word as it is; false, and nothing is added, when it has no room.
    pub(crate) fn add(&mut self, word: &[u8]) -> bool {
        let blank: &[u8] = if self.length > 0 { b" " } else { b"" };
        let begin = self.length + blank.len();
        let Some(room) = self.bytes.get_mut(self.length..begin + word.len()) else { return false };
        let (between, room) = room.split_at_mut(blank.len());
        between.copy_from_slice(blank);
        room.copy_from_slice(word);
        self.length = begin + word.len();
        true
    }
}

/// The statements of one connection that were used last.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Each with the number of its arguments, where it has a text.
    known: Vec<(u32, Arc<Statement>)>,
    /// Whose place is taken next.
    oldest: usize,
    /// Bytes of a text, 0 for none.
    text: usize,
}

impl Statements {
    /// `text`: bytes of a statement's text that are kept, 0 for none.
    pub(crate) fn new(text: usize) -> Self {
        Self { known: Vec::new(), oldest: 0, text }
    }

    /// The statement of a command with so many arguments.
    pub(crate) fn get(&mut self, name: &Name, arguments: u32) -> Arc<Statement> {
        let arguments = if self.text == 0 { 0 } else { arguments };
        let name = name.text();
        let is_it = |(of, statement): &&(u32, Arc<Statement>)| {
            *of == arguments && &*statement.operation == name
        };
        if let Some((_, statement)) = self.known.iter().find(is_it) {
            return Arc::clone(statement);
        }
        let statement = Arc::new(Statement {
            operation: name.into(),
            collection: Box::default(),
            summary: name.into(),
            text: (self.text > 0 && !name.is_empty()).then(|| self.text(name, arguments)),
        });
        let entry = (arguments, Arc::clone(&statement));
        if let Some(place) = self.known.get_mut(self.oldest) {
            *place = entry;
        } else {
            self.known.push(entry);
        }
        self.oldest = (self.oldest + 1) % REMEMBERED;
        statement
    }

    /// `SET ? ?`.
    fn text(&self, name: &str, arguments: u32) -> Box<str> {
        let mut text = String::from(name);
        for _ in 0..arguments {
            // A text without its end says so.
            if text.len() + 4 > self.text {
                let _infallible = write!(text, " …");
                break;
            }
            text.push_str(" ?");
        }
        text.into()
    }

    /// Memory in use besides the value itself.
    pub(crate) fn memory(&self) -> usize {
        let texts = |(_, statement): &(u32, Arc<Statement>)| {
            2 * statement.operation.len() + statement.text.as_ref().map_or(0, |text| text.len())
        };
        self.known.capacity() * size_of::<(u32, Arc<Statement>)>()
            + self.known.len() * (size_of::<Statement>() + 2 * size_of::<usize>())
            + self.known.iter().map(texts).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(words: &[&str]) -> Name {
        let mut name = Name::UNKNOWN;
        assert!(words.iter().all(|word| name.add(word.as_bytes())));
        name
    }

    #[test]
    fn a_name_is_bounded() {
        let mut long = name(&["CONFIG", "GET"]);
        assert_eq!(long.text(), "CONFIG GET");
        assert!(!long.add(&[b'x'; 38]) && long.add(&[b'x'; 37]));
        assert_eq!(long.text().len(), MAX_NAME);
        assert_eq!(Name::UNKNOWN.text(), "");
    }

    #[test]
    fn a_statement_is_made_once() {
        let mut statements = Statements::new(0);
        let first = statements.get(&name(&["GET"]), 1);
        assert!(Arc::ptr_eq(&first, &statements.get(&name(&["GET"]), 2)));
        for number in 0..3 * REMEMBERED {
            statements.get(&name(&[&format!("X{number}")]), 0);
        }
        assert_eq!(statements.known.len(), REMEMBERED);
        assert!(statements.memory() < 4096);
    }

    #[test]
    fn texts_have_no_arguments() {
        let mut statements = Statements::new(16);
        let text = |statement: Arc<Statement>| statement.text.clone().unwrap();
        assert_eq!(&*text(statements.get(&name(&["SET"]), 2)), "SET ? ?");
        assert_eq!(&*text(statements.get(&name(&["MSET"]), 20_000)), "MSET ? ? ? ? ? …");
    }
}
