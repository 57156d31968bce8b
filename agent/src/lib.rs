//! vigie: the lookout on the mast. It sees every service on a Linux node from the kernel and
//! touches none.
//!
//! The modules stand in the order of the data's way; [`pipeline`] wires them:
//!
//! ```text
//! probe -> event -> flow -> protocol -> span -> { metrics, graph } -> export
//! ```
//!
//! `kernel` and `probe` are the only modules that know aya, BTF and raw memory; `export` is the
//! only one that knows a wire format. Everything between is plain, safe code that runs the same on
//! recorded events.

pub mod allocator;
pub mod command;
pub mod config;
pub mod discover;
pub mod event;
pub mod export;
pub mod flow;
pub mod governor;
pub mod graph;
pub mod identities;
pub mod kernel;
pub mod loss;
pub mod metrics;
pub mod own;
pub mod pipeline;
pub mod probe;
pub mod protocol;
pub mod redact;
pub mod replay;
pub mod report;
pub mod session;
pub mod slo;
pub mod span;
pub mod watch;
