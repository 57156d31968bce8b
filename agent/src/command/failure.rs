//! What went wrong with a command, for the person who typed it: one line that says what, one that
//! says what to do.

use std::fmt;

/// Exit codes of cli.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It failed while it ran.
    Failed,
    /// Wrong arguments or configuration.
    Usage,
    /// The machine does not allow it.
    NotAllowed,
    /// A command that vigie started ended with this code, which is passed on.
    PassedOn(u8),
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

impl Failure {
    /// The exit code of a command that vigie started; nothing is said.
    pub fn passed_on(code: i32) -> Self {
        let code = u8::try_from(code & 0xff).unwrap_or(1);
        Self { code: Code::PassedOn(code), what: String::new(), todo: String::new() }
    }

    /// Exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self.code {
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NotAllowed => 3,
            Code::PassedOn(code) => code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n   do: {}", self.what, self.todo)
    }
}
