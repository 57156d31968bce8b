//! Errors that say what to do: one line for what went wrong, one for the way out.

use std::fmt;

use anyhow::Error;

/// An error with its remedy.
#[derive(Debug)]
pub(crate) struct Advice {
    what: String,
    todo: String,
}

impl Advice {
    /// Pairs `what` went wrong with what `todo` about it; both lower-case, no full stop.
    pub(crate) fn error(what: impl Into<String>, todo: impl Into<String>) -> Error {
        Error::new(Self { what: what.into(), todo: todo.into() })
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Advice {}

/// Prints an error to standard error: the chain of causes on one line, the remedy on the next.
pub(crate) fn report(error: &Error) {
    eprintln!("error: {error:#}");
    if let Some(todo) = remedy(error) {
        eprintln!("  what to do: {todo}");
    }
}

/// The remedy nearest to the root of the chain, which knows most.
pub(crate) fn remedy(error: &Error) -> Option<&str> {
    error.chain().filter_map(|cause| cause.downcast_ref::<Advice>()).last().map(|a| a.todo.as_str())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn remedy_survives_context() {
        let error = Err::<(), _>(Advice::error("no mirror", "add one")).context("rust-src");
        let error = error.unwrap_err();
        assert_eq!(format!("{error:#}"), "rust-src: no mirror");
        assert_eq!(remedy(&error), Some("add one"));
    }

    #[test]
    fn plain_errors_have_no_remedy() {
        assert_eq!(remedy(&anyhow::anyhow!("plain")), None);
    }
}
