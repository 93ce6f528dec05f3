//! What a delivery asks of the DNS and of policy hosts before it dials, without I/O.

mod answer;

pub use answer::{DnsAnswer, MxRecord};
