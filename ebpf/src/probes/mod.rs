//! The entry points, one module per group of hooks.

mod call;
pub(crate) mod environment;
pub(crate) mod open;
mod process;
mod reference;
pub(crate) mod resolver;
pub(crate) mod socket;
mod syscall;
mod tcp;
