//! Templates in the language of Jinja, over the [fields](crate::fields) of a notice. One is tried with
//! samples of every kind of notice when it is loaded, so that a slip in it is told then and not at night.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Map;

use crate::fields::{fields, samples};

/// Bytes of a template.
pub const MAX_TEMPLATE: usize = 16 << 10;
/// Bytes that one may render.
pub const MAX_RENDERED: usize = 64 << 10;
/// Instructions that one may run: some thousand values.
const FUEL: u64 = 100_000;
/// The name that errors would show; its own, as the target's is before it.
const NAME: &str = "template";

/// How values are written into what a template renders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As JSON: a text with its quotes.
    Json,
    /// `&`, `<` and `>` as Slack wants them.
    Slack,
    /// As they are.
    None,
}

/// A template that has been tried.
#[derive(Clone)]
pub struct Template {
    environment: Arc<Environment<'static>>,
    escape: Escape,
}

/// A template that is no use. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Larger than is taken.
    #[error("longer than {MAX_TEMPLATE} bytes; shorten it")]
    TooLong,
    /// It cannot be read, or asks for what is not there.
    #[error("line {line}: {problem}; the fields are in docs/alerts.md")]
    Wrong {
        /// Line from 1.
        line: usize,
        /// What the reader says.
        problem: String,
    },
    /// It renders more than is sent, or does not come to an end.
    #[error("renders more than {MAX_RENDERED} bytes, or runs too long; shorten it")]
    TooMuch,
    /// What it renders is not JSON.
    #[error(
        "renders what is not JSON ({0}); values are JSON already: write {{{{ title }}}} without quotes around it"
    )]
    NotJson(String),
}

impl Template {
    /// One that renders each of the samples.
    pub fn try_new(source: &str, escape: Escape) -> Result<Self, TemplateError> {
        if source.len() > MAX_TEMPLATE {
            return Err(TemplateError::TooLong);
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(move |_| match escape {
            Escape::Json => AutoEscape::Json,
            Escape::Slack | Escape::None => AutoEscape::None,
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| wrong(&error))?;
        let template = Self { environment: Arc::new(environment), escape };
        for sample in samples() {
            template.render(fields(&sample, "sample.firing", "sample"))?;
        }
        Ok(template)
    }

    /// What it makes of fields.
    pub fn render(
        &self,
        mut fields: Map<String, serde_json::Value>,
    ) -> Result<String, TemplateError> {
        if self.escape == Escape::Slack {
            fields.values_mut().for_each(escape_slack);
        }
        let template = self.environment.get_template(NAME).map_err(|error| wrong(&error))?;
        let mut out = Bounded::default();
        let rendered = template.render_captured_to(Serde(&fields), &mut out);
        if out.is_over {
            return Err(TemplateError::TooMuch);
        }
        rendered.map_err(|error| wrong(&error))?;
        let text = String::from_utf8_lossy(&out.bytes).into_owned();
        if self.escape == Escape::Json {
            serde_json::from_str::<serde_json::Value>(&text)
                .map_err(|error| TemplateError::NotJson(error.to_string()))?;
        }
        Ok(text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("escape", &self.escape).finish_non_exhaustive()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.environment, &other.environment)
    }
}

fn wrong(error: &minijinja::Error) -> TemplateError {
    if error.kind() == minijinja::ErrorKind::OutOfFuel {
        return TemplateError::TooMuch;
    }
    let problem = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    TemplateError::Wrong { line: error.line().unwrap_or(1), problem }
}

/// Writes `&`, `<` and `>` as Slack wants them, in all texts. Names of routes could mention people.
pub(crate) fn escape_slack(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            *text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(escape_slack),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(escape_slack),
        _ => {}
    }
}

/// Takes [`MAX_RENDERED`] bytes and refuses the next.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > MAX_RENDERED {
            self.is_over = true;
            return Err(io::Error::other("too much"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_ones_are_refused_when_they_are_loaded() {
        let error =
            |source: &str, escape| Template::try_new(source, escape).unwrap_err().to_string();
        for (source, escape, said) in [
            ("{{ titles }}", Escape::None, "line 1: undefined value"),
            ("a\n{{ title", Escape::None, "line 2: syntax error"),
            ("{\"text\": \"{{ title }}\"}", Escape::Json, "without quotes"),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
                Escape::None,
                "runs too long",
            ),
            ("{% include 'x' %}", Escape::None, "line 1"),
            ("{{ \"0123456789abcdef\" * 9999 }}", Escape::None, "renders more than"),
            ("{{ \"x\" * 99999999999999 }}", Escape::None, "too large"),
        ] {
            let error = error(source, escape);
            assert!(error.contains(said), "{source}: {error}");
        }
        assert_eq!(
            error(&"x".repeat(MAX_TEMPLATE + 1), Escape::None),
            TemplateError::TooLong.to_string()
        );
    }

    #[test]
    fn values_cannot_break_out() {
        let notice = &samples()[0];
        let render = |source: &str, escape| {
            Template::try_new(source, escape).unwrap().render(fields(notice, "i", "n")).unwrap()
        };
        assert_eq!(
            render("{\"who\": {{ service }}}", Escape::Json),
            "{\"who\": \"sa\\\"mp\\\\le\"}"
        );
        assert_eq!(
            render("{% for route in routes %}{{ route }}{% endfor %}", Escape::Slack),
            "/sample/{id}/&lt;other&gt;&amp;"
        );
        assert_eq!(
            render("{% if runbook_url %}{{ runbook_url }}{% endif %} {{ bad }}", Escape::None),
            "https://runbooks.example/sample 19"
        );
    }
}
