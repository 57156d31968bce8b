//! Service level objectives on what is seen here: calls in, alerts and figures out.
//!
//! ```text
//! span -> judge (is it of this SLO, is it bad?) -> counting (ticks of 2 s) -> live (evaluators) -> status
//!                                              \-> evidence, surroundings (which were bad; the cause)
//! ```
//!
//! What an SLO says, and its evaluation, are in the crate `vigie-slo`, which knows no span. Calls are
//! counted on the pipeline's thread ([`counting`]); evaluation has a thread of its own ([`live`]) and holds
//! nothing up.

#![forbid(unsafe_code)]

pub mod counting;
pub mod evidence;
mod facts;
pub mod history;
mod judge;
pub mod live;
mod metrics;
mod minutes;
pub mod overdue;
pub mod past;
pub mod status;
pub mod surroundings;
pub mod telling;
pub mod ticker;
mod verdict;
pub mod words;

pub use live::Objectives;
pub use metrics::{alerts, own};
pub use verdict::{present, verdicts};
