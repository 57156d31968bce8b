//! The types that cross the boundary between the kernel programs and user space.
//!
//! Everything here is `repr(C)`, `no_std` and free of padding that either side would have to guess.
//! Both sides are always built from the same commit and the object is embedded in the agent, so
//! there is no versioning: a change here changes both.
//!
//! - [`record`]: what the kernel programs put into the rings
//! - [`params`]: what user space tells the programs before they are loaded (offsets, limits)
//! - [`policy`]: what user space tells them while they run, per process and per connection
//! - [`exchange`]: what the kernel knows of requests and responses, and counts when records are lost
//! - [`counter`]: what they count, and the one list of reasons for a loss
#![no_std]

pub mod counter;
pub mod exchange;
pub mod params;
pub mod policy;
pub mod record;
