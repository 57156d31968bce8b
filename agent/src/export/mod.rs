//! The only place that knows wire formats.

pub mod otlp;
