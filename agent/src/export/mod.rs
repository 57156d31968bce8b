//! The wire formats: the only place that knows any of them.

#![forbid(unsafe_code)]

pub mod prometheus;
pub mod span_line;
//! The only place that knows wire formats.
pub mod otlp;
