//! What a server takes from a client although the RFCs forbid it.

use crate::wire::body::NulRule;

/// What a server takes from a client although the RFCs forbid it; for one peer or for all of them.
///
/// [`ServerConfig::tolerance`](super::ServerConfig::tolerance) is for all peers,
/// [`Server::set_tolerance`](super::Server::set_tolerance) for one. Addresses have a setting of
/// their own, [`AddressRules`](crate::wire::path::AddressRules).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tolerance {
    /// What becomes of a message with a bare CR or LF.
    pub bare_line_ends: BareLineEnds,
    /// Whether a message may hold NULs. Give the client that relays the mail the same rule, so that
    /// it can send what was taken. BINARYMIME may hold NULs in any case.
    pub nul: NulRule,
    /// Takes commands and AUTH responses that end in LF in place of CRLF. STARTTLS itself must end
    /// in CRLF: no reading of bytes that differs between hosts may reach across the hand-over.
    pub bare_lf_commands: bool,
    /// Takes parameters of MAIL and RCPT although the extension was not announced: SIZE, BODY=7BIT,
    /// BODY=8BITMIME, AUTH, RET, ENVID, NOTIFY, ORCPT and MT-PRIORITY. The event has them, and the
    /// caller may ignore them.
    ///
    /// BODY=BINARYMIME, SMTPUTF8, REQUIRETLS, BY, HOLDFOR and HOLDUNTIL are refused all the same:
    /// a server without the extension cannot keep what they ask for.
    pub unannounced_parameters: bool,
}

impl Tolerance {
    /// Nothing that the RFCs forbid.
    pub const STRICT: Self = Self {
        bare_line_ends: BareLineEnds::Refuse,
        nul: NulRule::Carry,
        bare_lf_commands: false,
        unannounced_parameters: false,
    };
}

impl Default for Tolerance {
    /// [`STRICT`](Self::STRICT).
    fn default() -> Self {
        Self::STRICT
    }
}

/// What becomes of a message with a bare CR or LF (RFC 5321, section 2.3.8), after DATA or BDAT.
///
/// Whatever the rule, the message ends at CRLF `.` CRLF, or with its last chunk, and nowhere else.
/// BINARYMIME may hold any octets in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BareLineEnds {
    /// 554: the client bounces it. No two hosts can read the message differently.
    #[default]
    Refuse,
    /// 451: the client tries again later. Use it while the peer's administrator mends the peer.
    RefuseForNow,
    /// It is taken with every line end as CRLF; see
    /// [`LineNormaliser`](crate::wire::body::LineNormaliser). A signature over the body (DKIM,
    /// OpenPGP) may no longer verify. With BURL, a piece must not end in a CR.
    Normalise,
}
