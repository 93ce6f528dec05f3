//! The commands with which a client introduces itself.

/// The command with which a client has introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hello {
    /// HELO.
    Helo,
    /// EHLO.
    Ehlo,
    /// LHLO: the EHLO of LMTP (RFC 2033, section 4.1).
    Lhlo,
}
