//! What the stamp says of the TLS channel.

use std::fmt;

/// The version of the TLS protocol. Displayed as OpenSSL and Postfix name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    const ALL: [Self; 4] = [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// The version of this name, written as `Display` writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.to_string() == name)
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls10 => "TLSv1",
            Self::Tls11 => "TLSv1.1",
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        })
    }
}

/// What became of the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate<'a> {
    /// The server did not ask for one.
    NotRequested,
    /// The server asked, and the client showed none.
    NotPresented,
    /// The client showed one.
    Presented {
        /// Its Common Name.
        common_name: Option<&'a str>,
        /// The Common Name of its issuer.
        issuer: Option<&'a str>,
        /// Whether the server found it valid.
        verified: bool,
    },
}
