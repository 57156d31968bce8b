//! Prepared statements and portals of a connection, and what they do.

use std::collections::HashMap;
use std::sync::Arc;

use super::message::MAX_NAME;
use crate::span::database::Statement;

/// Named statements that are kept; further ones are executed without a text.
const MAX_STATEMENTS: usize = 1024;

/// Named portals that are kept. Most programs use none with a name.
const MAX_PORTALS: usize = 256;

/// What a table of names takes for each, besides names and texts.
const ENTRY: usize = 80;

/// A statement of which nothing is known.
pub(super) fn unknown() -> Arc<Statement> {
    Arc::default()
}

#[derive(Debug, Default)]
pub(super) struct Names {
    unnamed_statement: Option<Arc<Statement>>,
    unnamed_portal: Option<Arc<Statement>>,
    statements: HashMap<Box<[u8]>, Arc<Statement>>,
    portals: HashMap<Box<[u8]>, Arc<Statement>>,
    bytes: usize,
}

impl Names {
    /// A statement was prepared. False when there was no room for it.
    pub(super) fn parse(&mut self, name: &[u8], statement: Arc<Statement>) -> bool {
        if name.is_empty() {
            self.unnamed_statement = Some(statement);
            return true;
        }
        insert(&mut self.statements, &mut self.bytes, MAX_STATEMENTS, name, statement)
    }

    /// A statement was bound to a portal. False when there was no room for it.
    pub(super) fn bind(&mut self, portal: &[u8], statement: &[u8]) -> bool {
        let statement = self.statement(statement);
        if portal.is_empty() {
            self.unnamed_portal = Some(statement);
            return true;
        }
        insert(&mut self.portals, &mut self.bytes, MAX_PORTALS, portal, statement)
    }

    /// A statement by its name; the unknown one where it was prepared before vigie.
    pub(super) fn statement(&self, name: &[u8]) -> Arc<Statement> {
        let known = match name {
            [] => self.unnamed_statement.as_ref(),
            name => self.statements.get(name),
        };
        known.cloned().unwrap_or_else(unknown)
    }

    /// What a portal executes.
    pub(super) fn portal(&self, name: &[u8]) -> Arc<Statement> {
        let known = match name {
            [] => self.unnamed_portal.as_ref(),
            name => self.portals.get(name),
        };
        known.cloned().unwrap_or_else(unknown)
    }

    /// A statement (`S`) or a portal (`P`) was closed.
    pub(super) fn close(&mut self, kind: u8, name: &[u8]) {
        let table = if kind == b'S' { &mut self.statements } else { &mut self.portals };
        if let Some((name, statement)) = table.remove_entry(name) {
            self.bytes = self.bytes.saturating_sub(size(&name, &statement));
        }
    }

    /// Outside of a transaction there are no portals.
    pub(super) fn close_portals(&mut self) {
        for (name, statement) in self.portals.drain() {
            self.bytes = self.bytes.saturating_sub(size(&name, &statement));
        }
    }

    /// Memory in use, besides the value itself.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }
}

fn size(name: &[u8], statement: &Statement) -> usize {
    let text = statement.text.as_ref().map_or(0, |text| text.len());
    ENTRY + name.len() + text + statement.summary.len() + statement.collection.len()
}

/// Puts an entry in, in the place of one with that name.
fn insert(
    table: &mut HashMap<Box<[u8]>, Arc<Statement>>,
    bytes: &mut usize,
    limit: usize,
    name: &[u8],
    statement: Arc<Statement>,
) -> bool {
    let new = size(name, &statement);
    if let Some(known) = table.get_mut(name) {
        *bytes = (*bytes + new).saturating_sub(size(name, known));
        *known = statement;
        return true;
    }
    if table.len() >= limit || name.len() > MAX_NAME {
        return false;
    }
    *bytes += new;
    table.insert(name.into(), statement);
    true
}
