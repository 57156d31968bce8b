//! What a client has asked for and the server answers in the same order.

use std::sync::Arc;

use crate::protocol::waiting::Asked;
use crate::protocol::{At, Call};
use crate::span::database::{DatabaseCall, DatabaseError, Statement, System};

/// A message of the client that the server answers.
#[derive(Debug)]
pub(super) enum Step {
    /// The first message; up to `ReadyForQuery`.
    Startup,
    /// A statement is prepared.
    Parse(Box<Asked<Arc<Statement>>>),
    Bind,
    /// A statement or a portal is described.
    Describe(Arc<Statement>),
    Close,
    /// A call, up to the end of its command.
    Execute,
    /// The end of a group; after an error the server passes over everything up to here.
    Sync,
    /// A call, up to `ReadyForQuery`.
    Query,
    /// A call, up to `ReadyForQuery`.
    Function,
    /// Messages that were not seen, until the server has answered all.
    Unseen,
}

impl Step {
    /// Whether `ReadyForQuery` answers it.
    pub(super) fn has_ready(&self) -> bool {
        matches!(self, Self::Startup | Self::Sync | Self::Query | Self::Function)
    }

    /// Whether it is a call.
    pub(super) fn is_call(&self) -> bool {
        matches!(self, Self::Execute | Self::Query | Self::Function)
    }
}

/// A call.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) statement: Arc<Statement>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) error: Option<DatabaseError>,
    /// The end of the answer was seen.
    pub(super) answered: bool,
    pub(super) rows: Option<u64>,
    /// Commands that were completed.
    pub(super) commands: u32,
    pub(super) waits: bool,
}

impl Item {
    pub(super) fn new(statement: Arc<Statement>, namespace: Option<Arc<str>>) -> Self {
        Self {
            statement,
            namespace,
            error: None,
            answered: false,
            rows: None,
            commands: 0,
            waits: false,
        }
    }

    /// A command of it was completed.
    pub(super) fn completed(&mut self, operation: Option<&'static str>, rows: Option<u64>) {
        self.commands = self.commands.saturating_add(1);
        if let Some(rows) = rows {
            self.rows = Some(self.rows.unwrap_or(0).saturating_add(rows));
        }
        if let Some(operation) = operation.filter(|_| self.statement.operation.is_empty()) {
            self.statement = crate::protocol::statement::of_operation(operation);
        }
    }

    pub(super) fn failed(&mut self, error: DatabaseError) {
        self.commands = self.commands.saturating_add(1);
        self.error.get_or_insert(error);
    }

    pub(super) fn into_call(self) -> Call {
        Call::Database(Box::new(DatabaseCall {
            system: System::Postgresql,
            statement: self.statement,
            namespace: self.namespace,
            answered: self.answered,
            error: self.error,
            sqlstate: None,
            rows: self.rows,
            batch: (self.commands > 1).then_some(self.commands),
            waits: self.waits,
        }))
    }
}

/// What failed in a group, of which the rest is passed over by the server.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: DatabaseError,
    /// The statement that could not be prepared or described, and when that was asked for.
    pub(super) asked: Option<Box<Asked<Arc<Statement>>>>,
    /// Circumstances of the error.
    pub(super) at: At,
    /// No call has it yet.
    pub(super) open: bool,
}
