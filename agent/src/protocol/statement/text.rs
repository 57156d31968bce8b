//! The text of a statement without its literals.

use std::fmt::Write as _;

use sqlparser::tokenizer::Token;

use super::lexeme::{Class, Item};

/// Writes the tokens down with a `?` for each literal, at most `limit` bytes. White space and comments
/// become one blank, lists of literals one `?`, further rows of `VALUES` like the first are left out.
pub(super) fn without_literals(items: &[Item<'_>], limit: usize) -> String {
    let items = match items {
        [rest @ .., last] if last.class == Class::End => rest,
        all => all,
    };
    let mut out = String::new();
    let mut sets = gives_values(items);
    let mut rest = items;
    while let Some((item, after)) = rest.split_first() {
        if out.len() >= limit {
            break;
        }
        if item.space && !out.is_empty() {
            out.push(' ');
        }
        write_token(&mut out, item);
        rest = after;
        if item.class == Class::End {
            sets = gives_values(rest);
        } else if item.is("IN") {
            rest = fold_list(&mut out, rest, Class::Open);
        } else if *item.token == Token::LBracket {
            rest = fold_elements(&mut out, rest, &Token::RBracket);
        } else if item.is("VALUES") {
            rest = fold_rows(&mut out, rest, limit);
        } else if sets && (matches!(item.token, Token::Eq | Token::Assignment) || item.is("TO")) {
            out.push_str(if item.is("TO") { " ?" } else { "?" });
            break;
        }
    }
    if out.len() > limit {
        let end = (0..=limit).rev().find(|end| out.is_char_boundary(*end)).unwrap_or(0);
        out.truncate(end);
    }
    out
}

/// Whether the statement that begins here gives something a value, which may be one without quotes: what
/// follows is then not written.
fn gives_values(items: &[Item<'_>]) -> bool {
    match items {
        [first, ..] if first.is("SET") => true,
        [first, kind, ..] => {
            first.is("ALTER") && kind.is_any(&["SYSTEM", "ROLE", "USER", "DATABASE"])
        }
        _ => false,
    }
}

fn write_token(out: &mut String, item: &Item<'_>) {
    match item.class {
        Class::Literal => out.push('?'),
        // Writing to a string does not fail.
        _ => _ = write!(out, "{}", item.token),
    }
}

/// After `IN`: a list of literals in parentheses becomes `(?)`.
fn fold_list<'i, 't>(out: &mut String, items: &'i [Item<'t>], open: Class<'_>) -> &'i [Item<'t>] {
    let Some((first, elements)) = items.split_first() else { return items };
    if first.class != open || list_end(elements, &Token::RParen).is_none() {
        return items;
    }
    if first.space {
        out.push(' ');
    }
    out.push('(');
    fold_elements(out, elements, &Token::RParen)
}

/// A list of literals up to `close` becomes `?`, if it is nothing else.
fn fold_elements<'i, 't>(out: &mut String, items: &'i [Item<'t>], close: &Token) -> &'i [Item<'t>] {
    match list_end(items, close) {
        Some(end) => {
            out.push('?');
            items.get(end..).unwrap_or_default()
        }
        None => items,
    }
}

/// Where `close` is, if only literals and parameters with commas are before it.
fn list_end(items: &[Item<'_>], close: &Token) -> Option<usize> {
    let end = items.iter().position(|item| {
        let is_element = matches!(item.class, Class::Literal | Class::Placeholder | Class::Comma)
            || matches!(item.token, Token::Minus | Token::Plus);
        !is_element
    })?;
    (end > 0 && items.get(end).is_some_and(|item| item.token == close)).then_some(end)
}

/// After `VALUES`: of rows that read the same without their literals, the first.
fn fold_rows<'i, 't>(out: &mut String, mut items: &'i [Item<'t>], limit: usize) -> &'i [Item<'t>] {
    let Some(end) = row_end(items) else { return items };
    let begin = out.len();
    write_row(out, items.get(..end).unwrap_or_default(), limit);
    let first = out.get(begin..).unwrap_or_default().trim_start().to_owned();
    items = items.get(end..).unwrap_or_default();
    let mut next = String::new();
    while let Some((comma, row)) = items.split_first()
        && comma.class == Class::Comma
        && let Some(end) = row_end(row)
    {
        next.clear();
        write_row(&mut next, row.get(..end).unwrap_or_default(), limit);
        if next.trim_start() != first {
            break;
        }
        items = row.get(end..).unwrap_or_default();
    }
    items
}

/// Where the row that begins here ends.
fn row_end(items: &[Item<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, item) in items.iter().enumerate() {
        match item.class {
            Class::Open => depth += 1,
            Class::Close => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn write_row(out: &mut String, items: &[Item<'_>], limit: usize) {
    let begin = out.len();
    for item in items {
        if out.len() - begin > limit {
            break;
        }
        if item.space {
            out.push(' ');
        }
        write_token(out, item);
    }
}
