//! What must hold for every input: one function for each fuzz target, without a fuzzer in it, so that plain tests can
//! replay the corpora. `proto` and `policy` test one crate each; `received` tests what one crate writes and
//! the other reads.
#![forbid(unsafe_code)]

pub mod policy;
pub mod proto;
pub mod received;
