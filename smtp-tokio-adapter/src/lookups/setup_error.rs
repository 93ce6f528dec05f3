//! Why look-ups cannot be set up.

use std::io;
use std::net::SocketAddr;

/// Why look-ups cannot be set up: without name servers, trust anchors or roots that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The list of name servers is empty.
    #[error("no name server is given")]
    NoServers,
    /// The address of the name server is not of this host. Use
    /// `Resolver::believing_remote`, and read there what it takes.
    #[error("the name server {0} is not on this host, so its AD bit can be forged on the way")]
    RemoteServer(SocketAddr),
    /// The system's DNS configuration cannot be read.
    #[error("the system's DNS configuration cannot be read")]
    SystemConfig(#[from] io::Error),
    /// The system's DNS configuration cannot be understood.
    #[error("the system's DNS configuration cannot be understood: {0}")]
    SystemSyntax(String),
    /// A record is not a DNSKEY or DS record that can be used.
    #[error("line {line} of the trust anchors: {what}")]
    Anchor {
        /// The line on which the record begins, counted from 1.
        line: usize,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// There is no record in the text of the trust anchors.
    #[error("there is no trust anchor")]
    NoAnchor,
    /// The set `public` of the trust has no roots, so that no policy host could be authenticated.
    #[error(
        "the set of roots `public` is empty, so no MTA-STS policy could be fetched; \
         load roots, such as `Trust::webpki_roots`"
    )]
    NoPublicRoots,
}
