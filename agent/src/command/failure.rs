//! What went wrong with a command, for the person who typed it: one line that says what, one that
//! says what to do.

use std::fmt;

/// Exit codes of cli.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It failed while it ran.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// The machine does not allow it.
    NotAllowed = 3,
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: Code,
    /// What went wrong.
    pub what: String,
    /// What to do about it.
    pub todo: String,
}

impl Failure {
    /// Failed while it ran.
    pub fn failed(what: impl fmt::Display, todo: impl fmt::Display) -> Self {
        Self { code: Code::Failed, what: what.to_string(), todo: todo.to_string() }
    }

    /// Wrong arguments or configuration.
    pub fn usage(what: impl fmt::Display, todo: impl fmt::Display) -> Self {
        Self { code: Code::Usage, what: what.to_string(), todo: todo.to_string() }
    }

    /// The machine does not allow it.
    pub fn not_allowed(what: impl fmt::Display, todo: impl fmt::Display) -> Self {
        Self { code: Code::NotAllowed, what: what.to_string(), todo: todo.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n   do: {}", self.what, self.todo)
    }
}
