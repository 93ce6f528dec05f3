//! The name servers that are asked.

use std::net::SocketAddr;
#[cfg(unix)]
use std::{net::SocketAddrV6, path::Path};

use crate::lookups::setup_error::SetupError;

/// The port of DNS (RFC 1035, section 4.2).
#[cfg(unix)]
const PORT: u16 = 53;

/// The recursive resolvers to ask, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers(Vec<SocketAddr>);

impl Servers {
    /// These servers.
    ///
    /// # Errors
    ///
    /// [`SetupError::NoServers`] if there are none.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, SetupError> {
        let addresses: Vec<_> = addresses.into_iter().collect();
        match addresses.is_empty() {
            true => Err(SetupError::NoServers),
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
    pub fn of_system() -> Result<Self, SetupError> {
        Self::of_file(Path::new("/etc/resolv.conf"))
    }

    /// The servers of a file in the format of `/etc/resolv.conf`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood.
    #[cfg(unix)]
    pub fn of_file(path: &Path) -> Result<Self, SetupError> {
        let syntax = |error: resolv_conf::ParseError| SetupError::SystemSyntax(error.to_string());
        let config = resolv_conf::Config::parse(std::fs::read(path)?).map_err(syntax)?;
        let servers = config.get_nameservers_or_local();
        let addresses = servers.into_iter().map(address).collect::<Result<Vec<_>, _>>()?;
        Self::new(addresses)
    }

    pub(super) fn local(&self) -> Result<(), SetupError> {
        let remote = self.0.iter().find(|server| !server.ip().to_canonical().is_loopback());
        remote.map_or(Ok(()), |server| Err(SetupError::RemoteServer(*server)))
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

#[cfg(unix)]
fn address(server: resolv_conf::ScopedIp) -> Result<SocketAddr, SetupError> {
    match server {
        resolv_conf::ScopedIp::V4(ip) => Ok((ip, PORT).into()),
        resolv_conf::ScopedIp::V6(ip, None) => Ok((ip, PORT).into()),
        resolv_conf::ScopedIp::V6(ip, Some(scope)) => {
            let wrong =
                |_| SetupError::SystemSyntax(format!("the scope {scope} of {ip} is not a number"));
            let scope = scope.parse().map_err(wrong)?;
            Ok(SocketAddrV6::new(ip, PORT, 0, scope).into())
        }
    }
}
