//! What must hold for every input: one function for each fuzz target, without a fuzzer in it, so that plain tests can
//! replay the corpora. Each module is one crate's.
#![forbid(unsafe_code)]

pub mod policy;
pub mod proto;
