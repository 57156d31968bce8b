//! What this kernel is and offers: its BTF, the offsets that the programs need, its limits.
#![forbid(unsafe_code)]

pub mod btf;
pub mod cost;
pub mod machine;
pub mod offsets;
pub mod symbols;
