//! What all connections of a client have in common.

use crate::Protocol;
use crate::timeouts::Timeouts;
use crate::wire::body::NulRule;
use crate::wire::path::{AddressRules, Domain};
use crate::wire::reply::ReplyRules;

/// What all connections of a client have in common.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The name in EHLO: a domain that resolves to this host, or its address literal (RFC 5321,
    /// section 4.1.4).
    pub name: Domain<'static>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Whether PIPELINING is used where offered. The events are the same either way.
    pub pipelining: bool,
    /// Whether CHUNKING (RFC 3030) is used where offered: BDAT in place of DATA. A body of the type
    /// BINARYMIME needs it and uses it in any case. The events are the same, but for a server that
    /// refuses DATA or the first chunk.
    pub chunking: bool,
    /// Which addresses beyond the grammar of RFC 5321 are sent; default [`AddressRules::FIELD`].
    /// Give a client that relays mail the rules of the server that took the mail.
    ///
    /// A recipient that breaks the rules is not sent, and has its
    /// [`NotSent`](super::ClientEvent::NotSent); the others are sent. A sender that breaks them
    /// makes [`start_transaction`](super::Client::start_transaction) fail.
    pub addresses: AddressRules,
    /// How replies that break the grammar are read.
    pub replies: ReplyRules,
    /// Whether AUTH carries the initial response of the mechanism. Off for servers that fail on it:
    /// they ask for it with an empty challenge (RFC 4954, section 4).
    pub initial_response: bool,
    /// EHLO keywords that are read as if the server did not announce them, in any case of letters:
    /// for servers whose extension does not work. STARTTLS cannot be ignored, because clear text
    /// would follow from it.
    pub ignored_keywords: Vec<String>,
    /// Whether a body may hold NULs. BINARYMIME may in any case.
    pub nul: NulRule,
    /// Whether recipients over the server's limits for one transaction (RFC 9422, section 4.2 and
    /// section 4.3) are left for another one: those who fit are sent, and each of the others has
    /// its [`Left`](super::ClientEvent::Left). Off by default: nothing is sent, the transaction is
    /// [`Unsupported`](super::Outcome::Unsupported), and the caller splits the envelope.
    pub leave_over_limit: bool,
}

impl ClientConfig {
    /// Everything at its default.
    pub fn new(name: Domain<'static>) -> Self {
        Self {
            name,
            timeouts: Timeouts::default(),
            protocol: Protocol::Smtp,
            pipelining: true,
            chunking: false,
            addresses: AddressRules::FIELD,
            replies: ReplyRules::AsTheField,
            initial_response: true,
            ignored_keywords: Vec::new(),
            nul: NulRule::Carry,
            leave_over_limit: false,
        }
    }
}
