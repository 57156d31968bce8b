//! Telling people about SLOs: what is told, to whom, when, and the sending of it.
//!
//! Everything but [`send`] is a function of its arguments: no clock, no I/O, so that tests say what the
//! time is and a restart is a value that is written and read.
//!
//! - [`notice`], [`text`], [`fields`]: what is to be told about one alert; as text, and as fields
//! - [`receiver`]: who is told, compiled from the file's `AlertNotificationTarget` objects
//! - [`desk`]: which of what fires is told to whom, once, and what is left after a restart
//! - [`shape`]: the bodies that Alertmanager, `PagerDuty`, Slack and webhooks take
//! - [`send`]: the sending
#![forbid(unsafe_code)]

pub mod desk;
pub mod fields;
pub mod notice;
mod plain;
pub mod receiver;
pub mod send;
pub mod shape;
pub mod text;
mod wording;
