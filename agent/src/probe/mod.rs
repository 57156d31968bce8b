//! The kernel side seen from user space: load and attach the programs, set policies and hints, read
//! the rings and the counters.
//!
//! Only this module and `kernel` know aya. Unsafe code is confined to [`wire`].

pub mod cost;
pub mod counters;
pub mod load;
pub mod reader;
mod wire;

pub use load::{LoadError, ProbeState, Probes, Status};
