//! A command in flight, and the call that comes of it.

use std::sync::Arc;

use super::command::Answer;
use super::packet::{Code, Tail};
use super::reply::Outcome;
use super::statements::size;
use crate::protocol::Call;
use crate::protocol::statement;
use crate::span::database::{DatabaseCall, DatabaseError, Statement, System};

/// What is known of a command that waits for its response.
#[derive(Debug)]
pub(super) struct Command {
    /// What answers it.
    pub(super) answer: Answer,
    /// Its statement.
    pub(super) statement: Arc<Statement>,
    /// The database that was in use.
    pub(super) namespace: Option<Arc<str>>,
    /// What is different once it has gone well.
    pub(super) effect: Effect,
    /// The number of its last packet; `None` where it was not seen.
    pub(super) number: Option<u8>,
}

/// What a command changes on its connection.
#[derive(Debug)]
pub(super) enum Effect {
    Nothing,
    /// Another database is in use; `None`: it is not known which, or none.
    Database(Option<Arc<str>>),
    /// Another database is in use, and all prepared statements are gone.
    User(Option<Arc<str>>),
    /// All prepared statements are gone.
    Reset,
    /// This statement is prepared.
    Prepared(Arc<Statement>),
}

impl Command {
    /// One whose statement is this.
    pub(super) fn new(
        answer: Answer,
        statement: Arc<Statement>,
        namespace: Option<Arc<str>>,
    ) -> Self {
        Self { answer, statement, namespace, effect: Effect::Nothing, number: None }
    }

    /// The wish to be let in.
    pub(super) fn connect(namespace: Option<Arc<str>>) -> Self {
        Self::new(Answer::Login, statement::of_operation("CONNECT"), namespace)
    }

    /// One that was not seen.
    pub(super) fn unseen(namespace: Option<Arc<str>>) -> Self {
        Self::new(Answer::Results, Arc::default(), namespace)
    }

    /// Memory besides the value itself.
    pub(super) fn memory(&self) -> usize {
        size(&self.statement) + self.namespace.as_deref().map_or(0, str::len)
    }

    /// The call while it is in flight.
    pub(super) fn so_far(&self) -> Call {
        let command = Self::new(self.answer, Arc::clone(&self.statement), self.namespace.clone());
        command.into_call(&Ended::Unseen)
    }

    /// The call, with the outcome as far as it is known.
    pub(super) fn into_call(self, end: &Ended) -> Call {
        let mut call = DatabaseCall {
            system: System::Mysql,
            statement: self.statement,
            namespace: self.namespace,
            error: None,
            sqlstate: None,
            answered: false,
            rows: None,
            batch: None,
            waits: false,
        };
        match end {
            Ended::Whole(outcome) => {
                call.answered = true;
                if let Some(code) = outcome.error {
                    fail(&mut call, code);
                }
                call.rows = rows(&call.statement, outcome);
                // Each statement of a text has a result; so has each of a procedure.
                let results = Some(outcome.results).filter(|results| *results > 1);
                call.batch = results.filter(|_| &*call.statement.operation != "CALL");
            }
            Ended::Tail(Tail::End(_)) => call.answered = true,
            Ended::Tail(Tail::Failed(code)) => {
                call.answered = true;
                fail(&mut call, *code);
            }
            Ended::Unseen => {}
            Ended::Broken(error) => call.error = Some(error.clone()),
        }
        Call::Database(Box::new(call))
    }
}

/// How a call came to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// Its response was seen as a whole.
    Whole(Outcome),
    /// The end of its response was seen.
    Tail(Tail),
    /// It is not known how it ended.
    Unseen,
    /// The connection ended.
    Broken(DatabaseError),
}

/// `error.type` and `db.response.status_code`: the number, as the conventions for MySQL ask for; several
/// numbers share an SQLSTATE.
fn fail(call: &mut DatabaseCall, Code { number, state }: Code) {
    call.error = Some(DatabaseError::Code(number.to_string().into()));
    call.sqlstate = state;
}

/// Rows that were returned, or else changed by a statement that changes rows: every OK has their number.
fn rows(statement: &Statement, outcome: &Outcome) -> Option<u64> {
    const CHANGING: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"];
    let is_told = outcome.changed > 0 || CHANGING.contains(&&*statement.operation);
    outcome.returned.or((is_told && outcome.error.is_none()).then_some(outcome.changed))
}
