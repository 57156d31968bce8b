//! The wire formats: the only place that knows any of them.

#![forbid(unsafe_code)]

pub mod otlp;
pub mod prometheus;
pub mod serve;
pub mod span_line;
