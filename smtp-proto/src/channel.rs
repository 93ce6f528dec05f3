//! The channel of a connection: clear text or TLS, and what the handshake showed.

use std::sync::Arc;

use crate::secret::Secret;

/// What the bytes of a connection travel in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Clear text, so far.
    Plain,
    /// TLS after STARTTLS.
    StartTls(Arc<TlsInfo>),
    /// TLS from the first byte (RFC 8314, section 3). There is no fallback from it.
    Implicit(Arc<TlsInfo>),
}

impl Channel {
    /// What the handshake showed; none in clear text.
    pub fn tls(&self) -> Option<&TlsInfo> {
        match self {
            Self::Plain => None,
            Self::StartTls(tls) | Self::Implicit(tls) => Some(tls),
        }
    }
}

/// What the handshake showed. The core only carries it to the places that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// Whether the peer's certificate was judged and accepted.
    pub peer: Peer,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The IANA name of the cipher suite.
    pub cipher: &'static str,
    /// The key exchange group, such as `X25519MLKEM768`; `None` if it is not known.
    pub group: Option<&'static str>,
    /// The channel bindings of the session, the best first; empty if it has none or they are not
    /// known.
    pub bindings: Vec<ChannelBinding>,
}

impl TlsInfo {
    /// A session with this peer, version (`TLSv1.2` or `TLSv1.3`) and cipher suite (its IANA name).
    pub const fn new(peer: Peer, version: &'static str, cipher: &'static str) -> Self {
        Self { peer, version, cipher, group: None, bindings: Vec::new() }
    }
}

/// Whether the peer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Its certificate was not checked, or is not for the wanted name.
    Unauthenticated,
    /// Its certificate was judged and is for the wanted name.
    Authenticated,
}

/// What both ends of one TLS channel know, and a third party with two channels cannot make equal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelBinding {
    /// `tls-exporter` (RFC 9266): 32 octets from the exporter of the session.
    TlsExporter(Secret),
    /// `tls-server-end-point` (RFC 5929, section 4): a hash of the server's certificate.
    TlsServerEndPoint(Secret),
}

impl ChannelBinding {
    /// The IANA name of its type, as it follows `p=` in SCRAM.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TlsExporter(_) => "tls-exporter",
            Self::TlsServerEndPoint(_) => "tls-server-end-point",
        }
    }

    /// Its octets.
    pub const fn data(&self) -> &Secret {
        match self {
            Self::TlsExporter(data) | Self::TlsServerEndPoint(data) => data,
        }
    }
}
