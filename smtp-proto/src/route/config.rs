//! How a route is walked.

use crate::wire::host::HostName;

/// The port of SMTP (RFC 5321, section 4.5.4.2).
pub const SMTP_PORT: u16 = 25;

/// How a route is walked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteConfig {
    /// Names of this host: they and every worse or equal preference are left out (RFC 5321,
    /// section 5.1).
    pub own_names: Vec<HostName>,
    /// The port of every host. 25 by default.
    pub port: u16,
    /// Most connections, retries included; 0 counts as 1. 20 by default: RFC 5321, section 5.1
    /// wants at least two addresses tried.
    pub dials: usize,
    /// Most hosts, each of which may have to be looked up; 0 counts as 1. 50 by default: an MX
    /// answer of 64 KiB holds thousands.
    pub hosts: usize,
    /// Whether each address of a host is tried for TLS before mail goes to one of them in clear
    /// text: where a handshake failed, and where STARTTLS was refused or not offered. On by
    /// default. If off, clear text follows at once. Other hosts are not tried, not even those of
    /// equal preference: each of them has rules of its own.
    pub tls_at_each_address: bool,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            own_names: Vec::new(),
            port: SMTP_PORT,
            dials: 20,
            hosts: 50,
            tls_at_each_address: true,
        }
    }
}
