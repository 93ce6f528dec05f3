//! What ties an exchange to the TLS channel it runs in (RFC 5056).

use super::Secret;

/// The kind of a channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindingType {
    /// `tls-exporter` (RFC 9266): 32 octets from the exporter of the session.
    TlsExporter,
    /// `tls-server-end-point` (RFC 5929, 4): a hash of the server's certificate.
    TlsServerEndPoint,
}

impl BindingType {
    /// The IANA name, as it stands behind `p=` in SCRAM.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    /// The type of a name, written exactly so.
    pub fn of(name: &str) -> Option<Self> {
        [Self::TlsExporter, Self::TlsServerEndPoint].into_iter().find(|kind| kind.name() == name)
    }
}

/// What both ends of one TLS channel know, and a third party with two channels cannot make equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelBinding {
    /// Its kind.
    pub kind: BindingType,
    /// Its octets.
    pub data: Secret,
}
