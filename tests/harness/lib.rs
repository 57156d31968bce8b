//! Shared parts of the end-to-end tests: vigie as a child process, real servers and clients, and
//! the comparison of what they say they did with what vigie says they did.
//!
//! A test reads like this: [`needs::missing`] or return, start servers, start the
//! [`agent::Agent`], let clients run, [`compare::compare`] the logs of both sides with the spans.
//! Nothing depends on how fast the machine is: every wait is for something to happen, and ends
//! with an error at a generous limit.

#![forbid(unsafe_code)]

pub mod agent;
pub mod alertmanager;
pub mod compare;
pub mod fixture;
pub mod http;
pub mod lookup;
pub mod mariadb;
pub mod needs;
pub mod nginx;
pub mod otlp;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod resolver;
pub mod rows;
pub mod secrets;
pub mod servers;
pub mod site;
pub mod span;
pub mod tally;
pub mod workload;
