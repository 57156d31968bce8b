//! Statements by their texts: most texts come again and again.
//!
//! Two generations: what is found or made goes into the young one; when that is full, it becomes the old
//! one, and the old one is forgotten. So what is in use stays, at the cost of one more look-up.
//!
//! Many programs write numbers into their texts, each time another. Texts that differ only in such
//! numbers are one entry.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::{MAX_TEXT, Sql, describe};
use crate::span::database::Statement;

/// Entries of one generation.
const ENTRIES: usize = 1024;

/// Bytes of texts of one generation.
const BYTES: usize = 512 << 10;

/// A text longer than this is not remembered.
const MAX_KEY: usize = 8 << 10;

thread_local! {
    static SHARED: RefCell<Statements> = RefCell::default();
}

/// As [`describe`], remembered for the thread: at most 2,048 texts with 1 MiB in all.
pub fn shared(sql: Sql, text: &[u8], cut: bool, query_text: usize) -> Arc<Statement> {
    SHARED.with(|shared| match shared.try_borrow_mut() {
        Ok(mut statements) => statements.get(sql, text, cut, query_text),
        // It is only borrowed here, and `get` calls nothing that comes back.
        Err(_) => Arc::new(describe(sql, text, cut, query_text)),
    })
}

#[derive(Debug, Default)]
pub(super) struct Statements {
    young: Generation,
    old: Generation,
    /// Working memory for a key.
    key: Vec<u8>,
}

#[derive(Debug, Default)]
struct Generation {
    by_text: HashMap<Box<[u8]>, Arc<Statement>>,
    bytes: usize,
}

impl Statements {
    pub(super) fn get(
        &mut self,
        sql: Sql,
        text: &[u8],
        cut: bool,
        query_text: usize,
    ) -> Arc<Statement> {
        let text = text.get(..MAX_TEXT + 1).unwrap_or(text);
        if text.len() > MAX_KEY {
            return Arc::new(describe(sql, text, cut, query_text));
        }
        self.key.clear();
        self.key.push((sql as u8) << 1 | u8::from(cut));
        self.key.extend_from_slice(&query_text.to_ne_bytes());
        push_without_numbers(&mut self.key, text);
        if let Some(statement) = self.young.by_text.get(self.key.as_slice()) {
            return statement.clone();
        }
        let (key, statement) =
            self.old.by_text.remove_entry(self.key.as_slice()).unwrap_or_else(|| {
                let statement = Arc::new(describe(sql, text, cut, query_text));
                (self.key.as_slice().into(), statement)
            });
        if self.young.by_text.len() >= ENTRIES || self.young.bytes + key.len() > BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += key.len();
        self.young.by_text.insert(key, statement.clone());
        statement
    }
}

/// The text with one digit for each number that stands alone. Where identifiers are quoted, they may
/// hold numbers that stand alone, and the text is taken as it is; so it is with parameters (`$1`).
fn push_without_numbers(key: &mut Vec<u8>, text: &[u8]) {
    if text.iter().any(|byte| matches!(byte, b'"' | b'`')) {
        key.extend_from_slice(text);
        return;
    }
    let is_word =
        |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_$.@:".contains(&byte);
    let mut before = b' ';
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let next = rest.get(digits).copied().unwrap_or(b' ');
        if digits > 0 && !is_word(before) && !is_word(next) {
            key.push(b'0');
            before = b'0';
            rest = rest.get(digits..).unwrap_or_default();
            continue;
        }
        key.push(byte);
        before = byte;
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        let mut key = Vec::new();
        push_without_numbers(&mut key, text.as_bytes());
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn numbers_that_stand_alone_make_no_new_entry() {
        assert_eq!(key("SELECT a1 FROM t WHERE id = 1234"), "SELECT a1 FROM t WHERE id = 0");
        assert_eq!(key("IN (12, -345,6)"), "IN (0, -0,0)");
        assert_eq!(key("x = $12 AND y=1.5e3"), "x = $12 AND y=1.5e3");
        assert_eq!(key("FROM t_12, t2"), "FROM t_12, t2");
        assert_eq!(key("FROM \"a 12\" LIMIT 3"), "FROM \"a 12\" LIMIT 3");
    }

    #[test]
    fn the_same_text_is_the_same_statement_and_old_ones_are_forgotten() {
        let mut statements = Statements::default();
        let sql = Sql::Postgresql;
        let first = statements.get(sql, b"SELECT a FROM t WHERE id = 1", false, 0);
        let again = statements.get(sql, b"SELECT a FROM t WHERE id = 22", false, 0);
        assert!(Arc::ptr_eq(&first, &again));
        let cut = statements.get(sql, b"SELECT a FROM t WHERE id = 1", true, 0);
        assert_eq!((&*first.collection, &*cut.collection), ("t", ""));
        for number in 0..10 * ENTRIES {
            statements.get(sql, format!("SELECT a FROM t{number}").as_bytes(), false, 0);
            let hot = statements.get(sql, b"SELECT a FROM t WHERE id = 333", false, 0);
            assert!(Arc::ptr_eq(&first, &hot));
        }
        assert!(
            statements.young.by_text.len() <= ENTRIES && statements.old.by_text.len() <= ENTRIES
        );
        for number in 0..1000 {
            let text = format!("SELECT {} FROM t{number}", "a, ".repeat(1000));
            statements.get(sql, text.as_bytes(), false, 0);
        }
        assert!(statements.young.bytes <= BYTES && statements.old.bytes <= BYTES);
    }
}
