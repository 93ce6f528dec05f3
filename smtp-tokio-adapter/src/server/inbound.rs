//! What all connections of a listener have in common.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::server;

/// What all connections of a listener have in common.
#[derive(Clone)]
pub struct Inbound {
    /// Name, extensions, limits.
    pub smtp: Arc<server::ServerConfig>,
    /// The server's certificate; needed where [`server::ServerConfig::starttls`] is not `No`, and
    /// for `implicit`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first byte (RFC 8314, section 3.3).
    pub implicit: bool,
    /// Connections at a time; one more is told 421 and closed.
    pub connections: usize,
    /// How long a message that is under way at shutdown may take.
    pub grace: Duration,
}

impl Inbound {
    /// Clear text, a thousand connections, half a minute of grace.
    pub fn new(smtp: Arc<server::ServerConfig>) -> Self {
        Self { smtp, tls: None, implicit: false, connections: 1000, grace: Duration::from_secs(30) }
    }
}
