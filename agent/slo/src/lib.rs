//! Service level objectives: what a file says of them, and their evaluation.
//!
//! The evaluator is a function: a series of `(t, good, bad, unobserved)` goes in, transitions and
//! figures come out. No clock, no I/O, no threads; whoever owns those calls it. So the agent, a replay
//! of a file and the tests run the same code.
//!
//! - [`ratio`]: exact arithmetic; no comparison is made in binary floating point
//! - [`model`], [`select`], [`alert`], [`window`], [`zone`], [`silence`]: what an SLO is
//! - [`file`](mod@file): OpenSLO v1 and the short form, read with line, field and remedy for what is wrong
//! - [`intake`]: from events and clocks to ticks
//! - [`rings`], [`slices`], [`evaluate`]: from ticks to transitions and figures
//! - [`state`]: an evaluator as bytes, and back
//! - [`series`]: a whole series at once
//! - [`rules`], [`parity`]: the same for Prometheus, and the proof of it
//! - [`suggest`]: SLOs from a past that kept them
#![forbid(unsafe_code)]

pub mod alert;
pub mod duration;
pub mod evaluate;
pub mod figures;
pub mod file;
pub mod intake;
pub mod model;
pub mod parity;
pub mod ratio;
pub mod rings;
pub mod rules;
pub mod select;
pub mod series;
pub mod silence;
pub mod slices;
pub mod state;
pub mod suggest;
pub mod window;
pub mod zone;
