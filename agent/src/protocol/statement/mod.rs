//! What a statement of SQL does, and its text without literals.
//!
//! The text is cut into tokens ([`lexeme`]) by the tokenizer of `sqlparser`, so that what is a literal
//! is decided by the rules of the database and not by guessing. [`tables`] reads the operation and the
//! tables from the tokens, [`text`] writes them down again without literals, and [`cache`] remembers
//! both for the texts that come again. A parser of the whole grammar was turned down: it fails at what
//! it does not know, of each vendor and version, and a name and the tables need no tree.
//!
//! No literal comes out of here: operations are taken from a list, tables from identifiers, and in the
//! text every literal is a `?`. Comments are left out, as they may hold anything.
//!
//! Conventions: `db.operation.name`, `db.collection.name`, `db.query.summary` and `db.query.text` of
//! OpenTelemetry's semantic conventions for databases.
#![forbid(unsafe_code)]

mod cache;
mod lexeme;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::sync::Arc;

pub use cache::shared;

use crate::span::database::Statement;

/// Bytes of a text that are looked at; a longer one counts as cut.
pub const MAX_TEXT: usize = 16 << 10;

/// Bytes of a summary at most.
pub const MAX_SUMMARY: usize = 255;

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sql {
    /// PostgreSQL: `"` quotes identifiers, strings may be quoted by `$tag$`.
    Postgresql,
    /// MySQL and MariaDB with their default modes: `"` quotes strings, `\` escapes in them.
    Mysql,
    /// The same in the mode `NO_BACKSLASH_ESCAPES`.
    MysqlNoEscapes,
}

/// Describes a text: what it does, to which table, and the text without literals, of which
/// `query_text` bytes are kept (0: none). `cut`: the end of the text is missing.
///
/// What begins like no statement may be anything, so such a text is not given.
///
/// Of several statements the operation is that of the first which is no transaction control. The
/// collection is given where the whole text names exactly one table. Of a cut text it is given where
/// no other table can follow: past the `VALUES` of an `INSERT`, and of `COPY`.
pub fn describe(sql: Sql, text: &[u8], cut: bool, query_text: usize) -> Statement {
    let kept = text.get(..MAX_TEXT).unwrap_or(text);
    let cut = cut || kept.len() < text.len();
    let is_foreign = match str::from_utf8(kept) {
        Ok(_) => false,
        Err(error) => !cut || error.error_len().is_some(),
    };
    let kept = String::from_utf8_lossy(kept);
    let mut lexed = lexeme::Lexed::new(sql, &kept, cut);
    if is_foreign {
        lexed.distrust();
    }
    let items = lexed.items();
    let found = tables::analyse(&items, lexed.is_whole());
    Statement {
        operation: found.operation.into(),
        collection: found.collection.into(),
        summary: found.summary.into(),
        text: (query_text > 0 && !found.strange)
            .then(|| text::without_literals(&items, query_text).into()),
    }
}

/// A statement whose text is not known, only what it does: `operation` is taken as it is and must come
/// from a list.
pub fn of_operation(operation: &'static str) -> Arc<Statement> {
    Arc::new(Statement {
        operation: operation.into(),
        summary: operation.into(),
        ..Statement::default()
    })
}

/// The operation that this word names, in capitals; `None` for anything else.
pub fn operation(word: &str) -> Option<&'static str> {
    words::OPERATIONS.iter().find(|name| name.eq_ignore_ascii_case(word)).copied()
}
