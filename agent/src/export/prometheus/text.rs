//! The syntax of both text formats.

use std::fmt::{self, Write as _};

use crate::metrics::own::Number;
use crate::metrics::snapshot::Exemplar;

/// Which of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text exposition format 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.0, with exemplars.
    OpenMetrics,
}

impl Format {
    /// What a scraper likes best, by its `Accept` header (RFC 9110, section 12.5.1): `OpenMetrics`
    /// where it names it with a weight that no other text has more of.
    pub fn from_accept(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let weight = match parts.next() {
                Some("application/openmetrics-text") => &mut open_metrics,
                Some("text/plain") => &mut text,
                _ => continue,
            };
            let q = parts.find_map(|parameter| parameter.strip_prefix("q="));
            *weight = f64::max(*weight, q.map_or(1.0, |q| q.parse().unwrap_or(0.0)));
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// `info` of `OpenMetrics`, a gauge of 1 elsewhere.
    Info,
}

/// Labels as they stand between the braces.
#[derive(Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// Adds one. The name must be one of Prometheus.
    pub(super) fn add(&mut self, name: &str, value: impl fmt::Display) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        // Writing to a string cannot fail.
        let _ = write!(Escape(&mut self.0), "{value}");
        self.0.push('"');
    }
}

/// Writes what stands between quotes.
struct Escape<'a>(&'a mut String);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                _ => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// The page while it is written.
pub(super) struct Writer {
    page: String,
    format: Format,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Self { page: String::new(), format }
    }

    /// Begins a family. `help` is a constant without quotes, backslashes and line breaks.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (name, kind) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => {
                (name.strip_suffix("_total").unwrap_or(name), "counter")
            }
            (Format::OpenMetrics, Kind::Info) => {
                (name.strip_suffix("_info").unwrap_or(name), "info")
            }
            (Format::Text, Kind::Counter) => (name, "counter"),
            (Format::Text, Kind::Info) | (_, Kind::Gauge) => (name, "gauge"),
            (_, Kind::Histogram) => (name, "histogram"),
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        if self.format == Format::OpenMetrics
            && let Some(unit) = ["seconds", "bytes", "ratio"]
                .into_iter()
                .find(|unit| name.rsplit('_').next() == Some(unit))
        {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    /// One value.
    pub(super) fn sample(&mut self, name: &str, suffix: &str, labels: &Labels, value: Number) {
        if labels.0.is_empty() {
            self.line(format_args!("{name}{suffix} {}", Value(value)));
        } else {
            self.line(format_args!("{name}{suffix}{{{}}} {}", labels.0, Value(value)));
        }
    }

    /// One bucket of a histogram; `below` counts the smaller ones too.
    pub(super) fn bucket(
        &mut self,
        name: &str,
        labels: &Labels,
        bound: f64,
        below: u64,
        exemplar: Option<&Exemplar>,
    ) {
        let comma = if labels.0.is_empty() { "" } else { "," };
        // `1.0`, not `1`, in both formats, so that a change of format makes no new series.
        let bound = Value(Number::Real(bound));
        let _ = write!(self.page, "{name}_bucket{{{}{comma}le=\"{bound}\"}} {below}", labels.0);
        if self.format == Format::OpenMetrics
            && let Some(exemplar) = exemplar
        {
            let _ = write!(
                self.page,
                " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {}.{:03}",
                exemplar.trace_id,
                exemplar.span_id,
                Value(Number::Real(exemplar.value_s)),
                exemplar.time_unix_nano / 1_000_000_000,
                exemplar.time_unix_nano / 1_000_000 % 1_000,
            );
        }
        self.page.push('\n');
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.page.push_str("# EOF\n");
        }
        self.page
    }

    fn line(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.page.write_fmt(arguments);
        self.page.push('\n');
    }
}

/// A number as both formats write it.
struct Value(Number);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Number::Whole(value) => value.fmt(f),
            Number::Real(value) if value.is_nan() => f.write_str("NaN"),
            Number::Real(f64::INFINITY) => f.write_str("+Inf"),
            Number::Real(f64::NEG_INFINITY) => f.write_str("-Inf"),
            // Debug keeps `.0` and takes exponents for very large and very small values.
            Number::Real(value) => fmt::Debug::fmt(&value, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels() {
        for (value, expected) in [
            (Number::Whole(u64::MAX), "18446744073709551615"),
            (Number::Real(1.0), "1.0"),
            (Number::Real(0.005), "0.005"),
            (Number::Real(1e300), "1e300"),
            (Number::Real(f64::NAN), "NaN"),
            (Number::Real(f64::INFINITY), "+Inf"),
            (Number::Real(f64::NEG_INFINITY), "-Inf"),
        ] {
            assert_eq!(Value(value).to_string(), expected);
        }
        let mut labels = Labels::default();
        labels.add("a", "x\"y\\z\nw");
        labels.add("b", 1);
        assert_eq!(labels.0, "a=\"x\\\"y\\\\z\\nw\",b=\"1\"");
    }

    #[test]
    fn accept_decides_the_format() {
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("text/plain;q=0.9, application/openmetrics-text; version=1.0.0; q=0.5", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
        ] {
            assert_eq!(Format::from_accept(accept), expected, "{accept}");
        }
    }
}
