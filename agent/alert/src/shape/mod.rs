//! The bodies that receivers take, as functions of what is told.

mod alertmanager;
mod pagerduty;
mod slack;
mod webhook;

pub use alertmanager::{alerts, labels};
pub use pagerduty::event;
pub use slack::message;
pub use webhook::body;
