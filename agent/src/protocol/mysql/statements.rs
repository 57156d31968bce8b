//! The statements that a connection has prepared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::span::database::Statement;

/// Statements that are kept; those prepared longest ago go first. Servers allow 16,382 of all their
/// connections by default.
pub(super) const MAX_STATEMENTS: usize = 1024;

/// What `EXECUTE` names when it means the statement that was prepared last (MariaDB).
const LAST: u32 = u32::MAX;

/// By their numbers, which a server counts up.
#[derive(Debug, Default)]
pub(super) struct Statements {
    by_id: BTreeMap<u32, Arc<Statement>>,
    last: Option<Arc<Statement>>,
    /// Memory of those with a number.
    bytes: usize,
}

impl Statements {
    /// A client asks to prepare a statement.
    pub(super) fn ask(&mut self, statement: &Arc<Statement>) {
        self.last = Some(Arc::clone(statement));
    }

    /// The server has prepared it. False when another one had to go for it.
    pub(super) fn add(&mut self, id: u32, statement: Arc<Statement>) -> bool {
        self.bytes += size(&statement);
        if let Some(before) = self.by_id.insert(id, statement) {
            self.bytes -= size(&before);
        }
        if self.by_id.len() <= MAX_STATEMENTS {
            return true;
        }
        if let Some((_, oldest)) = self.by_id.pop_first() {
            self.bytes -= size(&oldest);
        }
        false
    }

    /// What a number stands for.
    pub(super) fn get(&self, id: u32) -> Option<&Arc<Statement>> {
        if id == LAST { self.last.as_ref() } else { self.by_id.get(&id) }
    }

    /// A number stands for nothing any more.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(closed) = self.by_id.remove(&id) {
            self.bytes -= size(&closed);
        }
    }

    /// All are gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Memory in use. A statement that is shared is counted with each of its owners.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.last.as_deref().map_or(0, size)
    }
}

/// Memory of a statement, and of its place in the table.
pub(super) fn size(statement: &Statement) -> usize {
    let Statement { operation, collection, summary, text } = statement;
    let text = text.as_deref().map_or(0, str::len);
    size_of::<(u32, Arc<Statement>)>()
        + size_of::<Statement>()
        + operation.len()
        + collection.len()
        + summary.len()
        + text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(operation: &str) -> Arc<Statement> {
        Arc::new(Statement { operation: operation.into(), ..Statement::default() })
    }

    #[test]
    fn the_oldest_goes_and_memory_is_right() {
        let mut statements = Statements::default();
        let one = size(&statement("SELECT"));
        for id in 1..=1024 {
            assert!(statements.add(id, statement("SELECT")));
        }
        assert!(!statements.add(1025, statement("SELECT")));
        assert!(statements.get(1).is_none() && statements.get(2).is_some());
        assert_eq!(statements.memory(), MAX_STATEMENTS * one);
        statements.add(1025, statement("INSERT"));
        assert_eq!(statements.memory(), MAX_STATEMENTS * one);
        (1..=1025).for_each(|id| statements.close(id));
        assert_eq!(statements.memory(), 0);
        statements.ask(&statement("DELETE"));
        assert_eq!(statements.get(u32::MAX).map(|last| &*last.operation), Some("DELETE"));
        statements.clear();
        assert!(statements.get(u32::MAX).is_none());
    }
}
