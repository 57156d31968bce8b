//! From a text to tokens, of which it is known which are literals.

use std::any::TypeId;

use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::Sql;

/// What a token is to those who read statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class<'t> {
    /// A keyword, or an identifier without quotes.
    Word(&'t str),
    /// A quoted identifier, without its quotes.
    Quoted(&'t str),
    /// A string, a number.
    Literal,
    /// A parameter: `?`, `$1`, `:name`.
    Placeholder,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `.`
    Period,
    /// `;`
    End,
    /// An operator.
    Other,
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'t> {
    pub(super) class: Class<'t>,
    pub(super) token: &'t Token,
    /// Whether white space or a comment is before it.
    pub(super) space: bool,
}

impl Item<'_> {
    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self.class, Class::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether it is one of these keywords.
    pub(super) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }
}

/// MySQL's rules but for backslashes, which are characters like others: what the tokenizer asks for.
#[derive(Debug)]
struct NoEscapes;

impl Dialect for NoEscapes {
    fn dialect(&self) -> TypeId {
        TypeId::of::<MySqlDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        MySqlDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        MySqlDialect {}.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        MySqlDialect {}.is_delimited_identifier_start(ch)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        false
    }

    fn supports_numeric_prefix(&self) -> bool {
        MySqlDialect {}.supports_numeric_prefix()
    }

    fn supports_multiline_comment_hints(&self) -> bool {
        MySqlDialect {}.supports_multiline_comment_hints()
    }

    fn requires_single_line_comment_whitespace(&self) -> bool {
        MySqlDialect {}.requires_single_line_comment_whitespace()
    }
}

/// The tokens of a text.
#[derive(Debug)]
pub(super) struct Lexed {
    tokens: Vec<TokenWithSpan>,
    whole: bool,
}

impl Lexed {
    /// As many tokens as can be told. `cut`: the text goes on behind its end.
    pub(super) fn new(sql: Sql, text: &str, cut: bool) -> Self {
        let dialect: &dyn Dialect = match sql {
            Sql::Postgresql => &PostgreSqlDialect {},
            Sql::Mysql => &MySqlDialect {},
            Sql::MysqlNoEscapes => &NoEscapes,
        };
        let mut tokens = Vec::new();
        let result = Tokenizer::new(dialect, text).tokenize_with_location_into_buf(&mut tokens);
        if sql == Sql::Postgresql
            && let Some(first) = tokens.iter().position(|token| ends_in_backslash(&token.token))
        {
            // Where `standard_conforming_strings` is off, the string goes on, and what looks like words
            // behind it may be strings.
            tokens.truncate(first + 1);
            return Self { tokens, whole: false };
        }
        let mut lexed = Self { tokens, whole: !cut };
        if cut {
            // It may be the beginning of a longer one.
            lexed.tokens.pop();
        } else if result.is_err() {
            // A string that does not end.
            lexed.distrust();
        }
        lexed
    }

    /// Forgets what is behind the first string: another rule for quotes may be in force than the default
    /// one, or the text is in an encoding in which `\` and quotes are parts of characters, so that what looks
    /// like words may be in strings.
    pub(super) fn distrust(&mut self) {
        let first = self.tokens.iter().position(|token| is_string(&token.token));
        self.tokens.truncate(first.map_or(self.tokens.len(), |first| first + 1));
        self.whole = false;
    }

    /// Whether these are all tokens of the text.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The tokens without white space and comments.
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        let mut items: Vec<Item<'_>> = Vec::with_capacity(self.tokens.len());
        let mut space = false;
        for TokenWithSpan { token, .. } in &self.tokens {
            let class = match token {
                Token::Whitespace(
                    Whitespace::Space
                    | Whitespace::Newline
                    | Whitespace::Tab
                    | Whitespace::SingleLineComment { .. }
                    | Whitespace::MultiLineComment(_),
                )
                | Token::EOF => {
                    space = true;
                    continue;
                }
                Token::Word(Word { value, quote_style: None, .. }) if is_number(value) => {
                    Class::Literal
                }
                Token::Word(Word { value, quote_style: None, .. }) => Class::Word(value),
                Token::Word(Word { value, .. }) => Class::Quoted(value),
                Token::Placeholder(_) | Token::Question => Class::Placeholder,
                Token::LParen => Class::Open,
                Token::RParen => Class::Close,
                Token::Comma => Class::Comma,
                Token::Period => Class::Period,
                Token::SemiColon => Class::End,
                Token::Number(..) => Class::Literal,
                token if is_string(token) => Class::Literal,
                _ => Class::Other,
            };
            // `0b101` and `1_000` are numbers of which the tokenizer makes a number and a word.
            let is_rest = !space
                && matches!(class, Class::Word(_) | Class::Literal)
                && items.last().is_some_and(|last| matches!(last.token, Token::Number(..)));
            if !is_rest {
                items.push(Item { class, token, space });
            }
            space = false;
        }
        items
    }
}

fn ends_in_backslash(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(text) | Token::NationalStringLiteral(text)
        if text.ends_with('\\'))
}

/// Whether what the tokenizer of MySQL, where identifiers may begin with digits, takes for a word is a
/// number: `0b101`, `0X1F`, `1e5`, `12_000`.
fn is_number(word: &str) -> bool {
    let all = |bytes: &[u8], more: &[u8]| {
        bytes.iter().all(|byte| byte.is_ascii_digit() || more.contains(byte))
    };
    match word.as_bytes() {
        [b'0', b'b' | b'B' | b'o' | b'O' | b'x' | b'X', rest @ ..] => all(rest, b"abcdefABCDEF_"),
        [b'0'..=b'9', rest @ ..] => all(rest, b"eE_"),
        _ => false,
    }
}

fn is_string(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}
