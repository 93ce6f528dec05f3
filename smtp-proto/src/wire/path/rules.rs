//! Which addresses beyond the grammar of RFC 5321 are taken.

/// Which addresses are taken that RFC 5321 does not allow and real mail has.
///
/// Whatever the rules, no address holds a control character, a space outside quotes, or anything
/// else that could end a path or a command early, and none is longer than
/// [`MAX_MAILBOX`](super::MAX_MAILBOX).
///
/// ```
/// use smtp_proto::wire::path::{AddressRules, Mailbox, PathError};
///
/// let text = "a..b.@mail.docomo.example";
/// assert!(Mailbox::parse(text, AddressRules::FIELD).is_ok());
/// assert_eq!(Mailbox::parse(text, AddressRules::STRICT), Err(PathError::LocalPart));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AddressRules {
    /// Local parts of more than 64 octets (RFC 5321, section 4.5.3.1.1), as mailing lists make them
    /// for variable envelope return paths.
    pub long_local_parts: bool,
    /// Dots anywhere in an unquoted local part: at its ends, and several in a row. Two large
    /// Japanese carriers have issued such addresses.
    pub any_dots: bool,
    /// Underscores in domain names.
    pub underscores: bool,
    /// MAIL and RCPT without angle brackets around the path. For servers: a client always writes
    /// the brackets.
    pub bare_paths: bool,
    /// Paths without a domain, besides `<Postmaster>`: for local submission and LMTP, where the
    /// server knows what they mean. A client sends such a path only if it has this rule as well.
    pub no_domain: bool,
}

impl AddressRules {
    /// RFC 5321 as it is written.
    pub const STRICT: Self = Self {
        long_local_parts: false,
        any_dots: false,
        underscores: false,
        bare_paths: false,
        no_domain: false,
    };

    /// What most servers in the field take: all but paths without a domain.
    pub const FIELD: Self = Self {
        long_local_parts: true,
        any_dots: true,
        underscores: true,
        bare_paths: true,
        no_domain: false,
    };
}

impl Default for AddressRules {
    /// [`FIELD`](Self::FIELD).
    fn default() -> Self {
        Self::FIELD
    }
}
