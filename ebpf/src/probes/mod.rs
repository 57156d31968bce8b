//! The entry points, one module per group of hooks.

pub(crate) mod environment;
pub(crate) mod open;
mod process;
mod reference;
mod syscall;
mod tcp;
