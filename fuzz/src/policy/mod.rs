//! `smtp-tls-policy`.

mod chain;
mod crl;
mod records;
mod texts;

pub use chain::chain;
pub use crl::crl;
pub use records::records;
pub use texts::texts;

/// Takes the first byte as a choice.
fn split_choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(&choice, rest)| (choice, rest))
}
