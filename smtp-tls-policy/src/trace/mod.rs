//! Evidence after the fact: reads the Received fields of any product, and reviews a trail of them.

mod message;
pub mod received;
pub(crate) mod review;
mod tls_required;

pub use message::{hop, message};
pub use review::*;
pub use tls_required::tls_required_no;
