//! The name servers that are asked.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::{net::SocketAddrV6, path::Path};

/// The port of DNS (RFC 1035, section 4.2).
#[cfg(unix)]
const PORT: u16 = 53;

/// The recursive resolvers to ask, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers(Vec<SocketAddr>);

/// Why there are no servers to ask.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// The list is empty.
    #[error("no name server is given")]
    None,
    /// The address is not of this host. Use [`Resolver::believing_remote`], and read there what it
    /// takes.
    ///
    /// [`Resolver::believing_remote`]: super::Resolver::believing_remote
    #[error("the name server {0} is not on this host, so its AD bit can be forged on the way")]
    NotLocal(SocketAddr),
    /// The system's configuration cannot be read.
    #[error("the system's DNS configuration cannot be read")]
    System(#[from] io::Error),
    /// The system's configuration cannot be understood.
    #[error("the system's DNS configuration cannot be understood: {0}")]
    Syntax(String),
}

impl Servers {
    /// These servers.
    ///
    /// # Errors
    ///
    /// [`ServersError::None`] if there are none.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, ServersError> {
        let addresses: Vec<_> = addresses.into_iter().collect();
        match addresses.is_empty() {
            true => Err(ServersError::None),
            false => Ok(Self(addresses)),
        }
    }

    /// The servers of `/etc/resolv.conf`; the one on this host if it names none. Its other settings
    /// have no effect: domain names of mail are complete, and the time limit is the resolver's.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood.
    #[cfg(unix)]
    pub fn of_system() -> Result<Self, ServersError> {
        Self::of_file(Path::new("/etc/resolv.conf"))
    }

    /// The servers of a file in the format of `/etc/resolv.conf`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood.
    #[cfg(unix)]
    pub fn of_file(path: &Path) -> Result<Self, ServersError> {
        let syntax = |error: resolv_conf::ParseError| ServersError::Syntax(error.to_string());
        let config = resolv_conf::Config::parse(std::fs::read(path)?).map_err(syntax)?;
        let servers = config.get_nameservers_or_local();
        let addresses = servers.into_iter().map(address).collect::<Result<Vec<_>, _>>()?;
        Self::new(addresses)
    }

    pub(super) fn local(&self) -> Result<(), ServersError> {
        let remote = self.0.iter().find(|server| !server.ip().to_canonical().is_loopback());
        remote.map_or(Ok(()), |server| Err(ServersError::NotLocal(*server)))
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

#[cfg(unix)]
fn address(server: resolv_conf::ScopedIp) -> Result<SocketAddr, ServersError> {
    match server {
        resolv_conf::ScopedIp::V4(ip) => Ok((ip, PORT).into()),
        resolv_conf::ScopedIp::V6(ip, None) => Ok((ip, PORT).into()),
        resolv_conf::ScopedIp::V6(ip, Some(scope)) => {
            let wrong =
                |_| ServersError::Syntax(format!("the scope {scope} of {ip} is not a number"));
            let scope = scope.parse().map_err(wrong)?;
            Ok(SocketAddrV6::new(ip, PORT, 0, scope).into())
        }
    }
}
