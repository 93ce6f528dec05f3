//! What must hold for every input: one function (an oracle) for each fuzz target, without a fuzzer,
//! so that plain tests can replay the corpora. `proto` and `policy` test one crate each; `received`
//! tests what one crate writes and the other reads.
#![forbid(unsafe_code)]

pub mod policy;
pub mod proto;
pub mod received;
