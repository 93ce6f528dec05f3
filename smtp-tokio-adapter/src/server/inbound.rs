//! The settings of a listener.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::server;

use crate::server::admission::Admission;
#[cfg(feature = "proxy-protocol")]
use crate::server::proxy::ProxyProtocol;

/// The settings that all connections of a listener share.
#[derive(Clone)]
#[non_exhaustive]
pub struct Inbound {
    /// Name, extensions and limits of the server.
    pub smtp: Arc<server::ServerConfig>,
    /// The server's certificate; needed if [`server::ServerConfig::starttls`] is not `No`, and for
    /// `implicit`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Judges each client after its TLS handshake and at MAIL. A client that it refuses does not
    /// get as far as the handler.
    pub admission: Option<Admission>,
    /// TLS from the first octet (RFC 8314, section 3.3).
    pub implicit: bool,
    /// The proxies that name the client they connect for. None unless set.
    #[cfg(feature = "proxy-protocol")]
    pub proxy: Option<ProxyProtocol>,
    /// Most connections at the same time; one more gets 421 and is closed.
    pub connections: usize,
    /// How long messages that are being received at shutdown may take.
    pub grace: Duration,
}

impl Inbound {
    /// Clear text, every client, 1000 connections, 30 seconds of grace.
    pub fn new(smtp: Arc<server::ServerConfig>) -> Self {
        Self {
            smtp,
            tls: None,
            admission: None,
            implicit: false,
            #[cfg(feature = "proxy-protocol")]
            proxy: None,
            connections: 1000,
            grace: Duration::from_secs(30),
        }
    }
}
