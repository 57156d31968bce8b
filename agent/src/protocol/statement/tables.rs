//! Operation, tables and summary of a statement, from its tokens.
//!
//! Tables are the names behind `FROM`, `JOIN`, `INTO`, `UPDATE`, `TABLE` and the like; one pass with a
//! stack of parentheses. Names of common table expressions are none, functions are none.

use super::MAX_SUMMARY;
use super::lexeme::{Class, Item};
use super::words::{CLAUSES, FRAMES, MODIFIERS, ROUTINES, WITH_FROM, WITHOUT_TABLES};

/// Of a statement, or of several.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) operation: &'static str,
    pub(super) collection: String,
    pub(super) summary: String,
    /// Something that begins like no statement is among them.
    pub(super) strange: bool,
}

/// Reads all statements. `whole`: nothing is missing at the end.
pub(super) fn analyse(items: &[Item<'_>], whole: bool) -> Found {
    let mut found = Found::default();
    let mut tables: Vec<String> = Vec::new();
    let mut certain = whole;
    let mut rest = items;
    while !rest.is_empty() {
        let mut walk = Walk::default();
        let used = walk.statement(rest);
        let is_last = used >= rest.len();
        found.strange |= walk.operation.is_empty() && walk.begun;
        rest = rest.get(used..).unwrap_or_default();
        let frames = FRAMES.contains(&found.operation);
        let is_frame = walk.operation.is_empty() || FRAMES.contains(&walk.operation);
        if found.operation.is_empty() || frames && !is_frame {
            found.operation = walk.operation;
        }
        certain |= is_last && walk.no_more_tables;
        for table in walk.tables {
            if !walk.expressions.iter().any(|name| name.eq_ignore_ascii_case(&table)) {
                add_table(&mut tables, table);
            }
        }
        let parts = walk.summary.iter().filter(|part| {
            part.is_operation
                || !walk.expressions.iter().any(|name| name.eq_ignore_ascii_case(&part.text))
        });
        for (index, part) in parts.enumerate() {
            let between = match index {
                0 if found.summary.is_empty() => "",
                0 => "; ",
                _ => " ",
            };
            if found.summary.len() + between.len() + part.text.len() > MAX_SUMMARY {
                break;
            }
            found.summary.push_str(between);
            found.summary.push_str(&part.text);
        }
    }
    if let ([table], true) = (tables.as_mut_slice(), certain) {
        found.collection = std::mem::take(table);
    }
    found
}

fn add_table(tables: &mut Vec<String>, table: String) {
    if !tables.iter().any(|known| known.eq_ignore_ascii_case(&table)) {
        tables.push(table);
    }
}

/// A word of the summary.
#[derive(Debug)]
struct Part {
    text: String,
    is_operation: bool,
}

/// Inside of parentheses, or outside of all.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// In a list of tables: behind a comma is another one.
    from: bool,
    /// In the arguments of a function that has `FROM` among them.
    function: bool,
    /// Where the parenthesis opened.
    open: usize,
}

/// One statement.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what is to come and what was are independent")]
struct Walk {
    operation: &'static str,
    tables: Vec<String>,
    /// Names of common table expressions.
    expressions: Vec<String>,
    summary: Vec<Part>,
    /// No table can follow what was read.
    no_more_tables: bool,
    level: Level,
    outer: Vec<Level>,
    /// A table is to come.
    expect: bool,
    /// What is to come may be followed by columns in parentheses and is no function.
    columns: bool,
    has_with: bool,
    /// There is a word, or something else.
    begun: bool,
}

impl Walk {
    /// Reads up to the end of a statement, and says how many items that were.
    fn statement(&mut self, items: &[Item<'_>]) -> usize {
        let begin = items
            .iter()
            .position(|item| !matches!(item.class, Class::Open | Class::End))
            .unwrap_or(items.len());
        self.begun = begin < items.len();
        if !items.get(begin).is_some_and(|item| self.begin(item)) {
            return pass_over(items, begin);
        }
        let routine = self.operation == "CREATE"
            && items.iter().skip(begin).take(8).any(|item| item.is_any(ROUTINES));
        if matches!(self.operation, "CREATE" | "DROP" | "ALTER")
            && let Some(kind) = items.get(begin + 1)
            && kind.is_any(&["TABLE", "INDEX", "VIEW", "DATABASE", "SCHEMA", "SEQUENCE", "TYPE"])
            && let Class::Word(kind) = kind.class
        {
            self.add_operation(&kind.to_ascii_uppercase());
        }
        if routine {
            return items.len();
        }
        if WITHOUT_TABLES.contains(&self.operation) {
            return pass_over(items, begin);
        }
        let mut index = begin + 1;
        while let Some(item) = items.get(index) {
            if item.class == Class::End && self.outer.is_empty() {
                break;
            }
            index = self.item(items, index, item);
        }
        index
    }

    /// The first word. False when it is none that begins a statement.
    fn begin(&mut self, item: &Item<'_>) -> bool {
        let Class::Word(word) = item.class else { return false };
        let Some(operation) = super::operation(word) else { return false };
        self.operation = operation;
        if operation == "WITH" {
            self.has_with = true;
        } else {
            self.add_operation(operation);
        }
        self.expect = matches!(
            operation,
            "INSERT"
                | "REPLACE"
                | "UPDATE"
                | "TRUNCATE"
                | "COPY"
                | "LOCK"
                | "TABLE"
                | "DESCRIBE"
                | "DESC"
                | "VACUUM"
                | "ANALYZE"
        );
        self.level.from =
            matches!(operation, "UPDATE" | "TRUNCATE" | "LOCK" | "VACUUM" | "ANALYZE");
        self.columns = matches!(operation, "INSERT" | "REPLACE" | "COPY" | "VACUUM" | "ANALYZE");
        true
    }

    /// Reads one item, or a name of several; returns the index of the next.
    fn item(&mut self, items: &[Item<'_>], index: usize, item: &Item<'_>) -> usize {
        match item.class {
            Class::Open => {
                let before = index.checked_sub(1).and_then(|before| items.get(before));
                let level = Level {
                    from: self.expect,
                    function: before.is_some_and(|before| before.is_any(WITH_FROM)),
                    open: index,
                };
                self.outer.push(std::mem::replace(&mut self.level, level));
                self.note_expression(items, index);
            }
            Class::Close => {
                let open = self.level.open;
                self.level = self.outer.pop().unwrap_or_default();
                self.expect = false;
                self.note_expression_with_columns(items, open, index);
            }
            Class::Comma => {
                self.expect = self.level.from;
                self.columns = false;
            }
            Class::Word(_) | Class::Quoted(_) if self.expect => return self.name(items, index),
            Class::Word(word) => self.keyword(items, index, word),
            Class::Literal | Class::Placeholder | Class::Other => self.expect = false,
            Class::Quoted(_) | Class::Period | Class::End => {}
        }
        index + 1
    }

    /// A word where a table is to come.
    fn name(&mut self, items: &[Item<'_>], begin: usize) -> usize {
        let Some(first) = items.get(begin) else { return begin + 1 };
        if first.is_any(MODIFIERS) {
            self.columns |= first.is("INTO");
            return begin + 1;
        }
        self.expect = false;
        if first.is_any(CLAUSES) || first.is("INSERT") || first.is("FROM") {
            if let Class::Word(word) = first.class {
                self.keyword(items, begin, word);
            }
            return begin + 1;
        }
        let mut name = String::new();
        let mut next = begin;
        while let Some(Class::Word(part) | Class::Quoted(part)) =
            items.get(next).map(|item| item.class)
        {
            name.push_str(part);
            next += 1;
            if items.get(next).is_none_or(|item| item.class != Class::Period) {
                break;
            }
            name.push('.');
            next += 1;
        }
        let is_called = items.get(next).is_some_and(|item| item.class == Class::Open);
        let is_name = !name.starts_with('@') && !name.ends_with('.') && name.len() <= MAX_SUMMARY;
        if (!is_called || self.columns) && is_name {
            self.summary.push(Part { text: name.clone(), is_operation: false });
            self.tables.push(name);
        }
        self.no_more_tables |= self.operation == "COPY" && self.outer.is_empty();
        next
    }

    /// A word where no table is to come.
    fn keyword(&mut self, items: &[Item<'_>], index: usize, word: &str) {
        let before = index.checked_sub(1).and_then(|before| items.get(before));
        if before.is_some_and(|before| before.class == Class::Period) {
            return;
        }
        let after_any = |words: &[&str]| before.is_some_and(|before| before.is_any(words));
        let next_is = |word: &str| items.get(index + 1).is_some_and(|next| next.is(word));
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        let mut table_follows = |columns: bool, list: bool| {
            self.expect = true;
            self.columns = columns;
            self.level.from |= list;
        };
        let makes = matches!(self.operation, "CREATE" | "DROP" | "ALTER");
        if is("FROM") {
            let is_copy = self.operation == "COPY" && self.outer.is_empty();
            if !is_copy && !self.level.function && !after_any(&["DISTINCT"]) {
                table_follows(false, true);
            }
        } else if is("JOIN") || is("STRAIGHT_JOIN") {
            table_follows(false, false);
        } else if is("INTO") {
            table_follows(true, false);
        } else if is("TABLE") || is("TABLES") {
            table_follows(true, !matches!(self.operation, "CREATE" | "ALTER" | "LOAD"));
        } else if is("USING") {
            let is_list = matches!(self.operation, "DELETE" | "MERGE");
            let is_columns = items.get(index + 1).is_some_and(|next| next.class == Class::Open);
            if is_list && !is_columns {
                table_follows(false, true);
            }
        } else if is("ON") && makes && self.tables.is_empty() && self.outer.is_empty() {
            table_follows(true, false);
        } else if is("UPDATE") {
            if !after_any(&["FOR", "DO", "KEY", "ON", "THEN", "OR", "BEFORE", "AFTER"]) && !makes {
                table_follows(false, true);
                self.nested("UPDATE");
            }
        } else if is("DELETE") && next_is("FROM") {
            self.nested("DELETE");
        } else if is("INSERT") && next_is("INTO") {
            self.nested("INSERT");
        } else if is("MERGE") && next_is("INTO") {
            self.nested("MERGE");
        } else if is("SELECT") {
            self.level.from = false;
            self.nested("SELECT");
        } else if is("WITH") {
            self.has_with = true;
        } else if self.operation == "EXPLAIN" && is("REPLACE") {
            table_follows(true, false);
        } else {
            self.no_more_tables |= matches!(self.operation, "INSERT" | "REPLACE")
                && (is("VALUES") || is("VALUE"))
                && self.outer.is_empty()
                && !self.has_with;
            if CLAUSES.iter().any(|clause| is(clause)) && !is("ON") && !is("AS") {
                self.level.from = false;
            }
        }
    }

    /// The operation of a part of the statement. Behind `WITH` the first outside of parentheses is that
    /// of the statement.
    fn nested(&mut self, operation: &'static str) {
        if self.operation == "WITH" && self.outer.is_empty() {
            self.operation = operation;
        }
        self.add_operation(operation);
    }

    fn add_operation(&mut self, operation: &str) {
        self.summary.push(Part { text: operation.to_owned(), is_operation: true });
    }

    /// `name AS [NOT] [MATERIALIZED] (`
    fn note_expression(&mut self, items: &[Item<'_>], open: usize) {
        if let Some(end) = self.before_as(items, open)
            && let Some(Class::Word(name) | Class::Quoted(name)) =
                end.checked_sub(1).and_then(|name| items.get(name)).map(|item| item.class)
        {
            self.expressions.push(name.to_owned());
        }
    }

    /// `name (columns) AS [NOT] [MATERIALIZED] (`: where the columns end, it is seen that they were some.
    fn note_expression_with_columns(&mut self, items: &[Item<'_>], open: usize, close: usize) {
        let mut next = items.iter().skip(close + 1);
        if !self.has_with || !next.next().is_some_and(|item| item.is("AS")) {
            return;
        }
        let then = next.find(|item| !item.is_any(&["NOT", "MATERIALIZED"]));
        if then.is_some_and(|item| item.class == Class::Open)
            && let Some(Class::Word(name) | Class::Quoted(name)) =
                open.checked_sub(1).and_then(|name| items.get(name)).map(|item| item.class)
        {
            self.expressions.push(name.to_owned());
        }
    }

    /// Where the `AS` is that the parenthesis belongs to.
    fn before_as(&self, items: &[Item<'_>], open: usize) -> Option<usize> {
        if !self.has_with {
            return None;
        }
        let mut at = open.checked_sub(1)?;
        while items.get(at)?.is_any(&["NOT", "MATERIALIZED"]) {
            at = at.checked_sub(1)?;
        }
        items.get(at)?.is("AS").then_some(at)
    }
}

/// Where the statement ends in which `begin` is.
fn pass_over(items: &[Item<'_>], begin: usize) -> usize {
    let end = items.iter().skip(begin).position(|item| item.class == Class::End);
    end.map_or(items.len(), |end| begin + end)
}
