//! stub
#![forbid(unsafe_code)]
pub(crate) mod attributes;
