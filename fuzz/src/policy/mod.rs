//! `smtp-tls-policy`.

mod chain;
mod crl;
mod records;
mod reports;
mod texts;

pub use chain::chain;
pub use crl::crl;
pub use records::records;
pub use reports::reports;
pub use texts::texts;

/// Takes the first byte as a choice.
fn split_choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(&choice, rest)| (choice, rest))
}
