//! Service level objectives on the node: what the agent keeps for them. What an SLO is, and its
//! evaluation, is the crate `vigie-slo`.
#![forbid(unsafe_code)]

pub mod history;
