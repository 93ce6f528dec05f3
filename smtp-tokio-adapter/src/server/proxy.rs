//! The PROXY protocol, versions 1 and 2: a proxy names the client before the first octet of SMTP or
//! TLS (feature `proxy-protocol`).
//!
//! The protocol is that of HAProxy's `proxy-protocol.txt`. A header decides which address the
//! handler, the Received field and the log see, so only the proxies of listed networks may send
//! one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How long a proxy may take to send its header, unless set. The specification asks for at least 3
/// seconds, because a packet may be lost.
pub const DEFAULT_PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// Most octets of a header, unless set. A version 1 header has at most 107; that of version 2 may
/// carry details such as the proxy's view of TLS, which are not used here.
pub const DEFAULT_MAX_PROXY_HEADER: usize = 2048;

/// Most octets of a version 1 header, with its CR LF.
const MAX_V1: usize = 107;
/// Octets of the shortest version 1 header: `PROXY UNKNOWN` and CR LF.
const MIN_V1: usize = 15;
/// The first octets of a version 1 header.
const V1_START: &[u8] = b"PROXY ";
/// Octets of a version 2 header before its addresses.
const V2_FIXED: usize = 16;

/// The networks whose hosts are proxies, and the limits of their headers.
///
/// - A connection from a listed network must begin with a header, otherwise it is closed. The
///   header is read before the greeting and before implicit TLS.
/// - A connection from another network is served as usual, and closed with 421 if it begins with a
///   header.
/// - A header without addresses (`UNKNOWN`, `LOCAL`), as health checks send it, leaves the proxy's
///   own address in place. Grant that address nothing that strangers must not have.
///
/// ```
/// use smtp_tokio_adapter::ProxyProtocol;
///
/// let proxies = ProxyProtocol::new(["192.0.2.0/24", "2001:db8::7"])?;
/// assert!(proxies.lists("192.0.2.9".parse().unwrap()));
/// assert!(!proxies.lists("198.51.100.1".parse().unwrap()));
/// assert!(ProxyProtocol::new(["192.0.2.0/33"]).is_err());
/// # Ok::<(), smtp_tokio_adapter::NetworkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    networks: Arc<[IpNet]>,
    timeout: Duration,
    max_len: usize,
}

/// A text that is no address and no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no network; write an address, or an address and a prefix length such as \"192.0.2.0/24\""
)]
pub struct NetworkError(pub String);

/// Why a connection is closed before its first command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The peer is a listed proxy, and the connection begins with something else than a header.
    #[error("the connection begins without a PROXY header, which this network must send")]
    Missing,
    /// The peer is no listed proxy, and sent a header.
    #[error("a PROXY header came from a network that is not listed")]
    Unlisted,
    /// The header is longer than the limit.
    #[error("the PROXY header is longer than {limit} octets")]
    TooLong {
        /// The limit that holds.
        limit: usize,
    },
    /// The header breaks the rules of its version.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(String),
    /// The header is about a connection that is not TCP.
    #[error("the PROXY header is about a connection that is not TCP")]
    Transport,
    /// The header did not come in time.
    #[error("the PROXY header did not come within {0:?}")]
    TimedOut(Duration),
    /// The connection ended before the end of the header.
    #[error("the connection ended before the end of the PROXY header")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ProxyHeaderError {
    /// A short word for logs and metrics. It does not change between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "proxy-header-missing",
            Self::Unlisted => "proxy-header-unlisted",
            Self::TooLong { .. } => "proxy-header-too-long",
            Self::Malformed(_) => "proxy-header-malformed",
            Self::Transport => "proxy-header-transport",
            Self::TimedOut(_) => "proxy-header-timeout",
            Self::Closed => "proxy-header-closed",
            Self::Io(_) => "proxy-header-io",
        }
    }
}

impl ProxyProtocol {
    /// The proxies of these networks: `192.0.2.0/24`, `2001:db8::/32`, or single addresses.
    ///
    /// # Errors
    ///
    /// A [`NetworkError`] with the first text that is no network.
    pub fn new<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, NetworkError> {
        let parse = |text: &str| {
            let network = text.parse::<IpNet>();
            let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| NetworkError(text.to_owned()))
        };
        let networks = networks.into_iter().map(parse).collect::<Result<_, _>>()?;
        let (timeout, max_len) = (DEFAULT_PROXY_TIMEOUT, DEFAULT_MAX_PROXY_HEADER);
        Ok(Self { networks, timeout, max_len })
    }

    /// Gives a proxy this long to send its header.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Takes headers of at most this many octets.
    #[must_use]
    pub fn with_max_header(self, max_len: usize) -> Self {
        Self { max_len, ..self }
    }

    /// Whether this address belongs to a listed network. An IPv4 address that is mapped into IPv6
    /// is an IPv4 address.
    pub fn lists(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Reads the header from a stream, and not one octet more. Returns the client's address, or
    /// `None` if the header has none. [`serve`](crate::serve()) does this for
    /// [`Inbound::proxy`](crate::Inbound::proxy); before [`handle`](crate::handle()) the caller
    /// does.
    ///
    /// # Errors
    ///
    /// A [`ProxyHeaderError`]; the connection cannot be used.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: octets that were read are lost with the future.
    pub async fn read(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<SocketAddr>, ProxyHeaderError> {
        let reading = self.header(stream);
        let header = tokio::time::timeout(self.timeout, reading)
            .await
            .unwrap_or(Err(ProxyHeaderError::TimedOut(self.timeout)))?;
        client(&header)
    }

    async fn header(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Vec<u8>, ProxyHeaderError> {
        let mut header = Vec::new();
        loop {
            let wanted = wanted(&header, self.max_len)?;
            let missing = wanted - header.len();
            if missing == 0 {
                return Ok(header);
            }
            let read = (&mut *stream).take(missing as u64).read_buf(&mut header).await?;
            if read == 0 {
                return Err(ProxyHeaderError::Closed);
            }
        }
    }
}

/// How many octets a header that begins like this has at least; if that many are there, it is
/// complete.
fn wanted(header: &[u8], max_len: usize) -> Result<usize, ProxyHeaderError> {
    let limited = |len| match len > max_len {
        true => Err(ProxyHeaderError::TooLong { limit: max_len }),
        false => Ok(len),
    };
    if begins(header, v2::PROTOCOL_PREFIX) {
        if header.len() < v2::PROTOCOL_PREFIX.len() {
            return Ok(v2::PROTOCOL_PREFIX.len());
        }
        return match header.get(V2_FIXED - 2..V2_FIXED) {
            Some(&[high, low]) => limited(V2_FIXED + usize::from(u16::from_be_bytes([high, low]))),
            _ => Ok(V2_FIXED),
        };
    }
    if !begins(header, V1_START) {
        return Err(ProxyHeaderError::Missing);
    }
    match header.iter().position(|octet| *octet == b'\r') {
        Some(at) if header.get(at + 1) == Some(&b'\n') => limited(header.len()),
        Some(at) if at + 1 < header.len() => {
            Err(ProxyHeaderError::Malformed("a CR without LF".to_owned()))
        }
        _ if header.len() >= MAX_V1 => Err(ProxyHeaderError::TooLong { limit: MAX_V1 }),
        Some(_) => limited(header.len() + 1),
        None if header.len() < MIN_V1 => Ok(MIN_V1),
        // Both octets of the end are still to come.
        None => limited(header.len() + 2),
    }
}

/// Whether one of the two begins with the other.
fn begins(header: &[u8], start: &[u8]) -> bool {
    header.iter().zip(start).all(|(a, b)| a == b)
}

/// The client that a complete header names.
fn client(header: &[u8]) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let address = |ip: IpAddr, port| Ok(Some(SocketAddr::new(ip.to_canonical(), port)));
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        let header = v2::Header::try_from(header)
            .map_err(|error| ProxyHeaderError::Malformed(error.to_string()))?;
        return match (header.command, header.protocol, &header.addresses) {
            (v2::Command::Local, _, _) | (_, _, v2::Addresses::Unspecified) => Ok(None),
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(it)) => {
                address(it.source_address.into(), it.source_port)
            }
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(it)) => {
                address(it.source_address.into(), it.source_port)
            }
            (v2::Command::Proxy, _, _) => Err(ProxyHeaderError::Transport),
        };
    }
    let header = v1::Header::try_from(header)
        .map_err(|error| ProxyHeaderError::Malformed(error.to_string()))?;
    match header.addresses {
        v1::Addresses::Unknown => Ok(None),
        v1::Addresses::Tcp4(it) => address(it.source_address.into(), it.source_port),
        v1::Addresses::Tcp6(it) => address(it.source_address.into(), it.source_port),
    }
}

/// Whether the first octets of a connection are a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    Header,
    /// More octets would tell.
    Open,
    Other,
}

impl Looks {
    pub(super) fn like(input: &[u8]) -> Self {
        let starts = [v2::PROTOCOL_PREFIX, V1_START];
        match starts.into_iter().find(|start| begins(input, start)) {
            None => Self::Other,
            Some(start) if input.len() < start.len() => Self::Open,
            Some(_) => Self::Header,
        }
    }
}
