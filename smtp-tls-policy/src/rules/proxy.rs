//! The proxy through which the hosts of a connector are dialled.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A SOCKS5 proxy (RFC 1928).
///
/// In TOML, as a field of `dial`:
/// `socks5 = { address = "127.0.0.1:1080", user = "relay", password = "..." }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Socks5Proxy {
    /// The address and port of the proxy.
    pub address: SocketAddr,
    /// What the proxy is given if it asks for a user and a password; by default it gets none.
    pub login: Option<ProxyLogin>,
}

impl Socks5Proxy {
    /// The proxy at this address, without a login.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, login: None }
    }
}

/// A user and password for a proxy (RFC 1929). Both travel to the proxy in clear text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProxyLogin {
    /// The user: 1 to 255 octets.
    pub user: Arc<str>,
    /// The password: 1 to 255 octets.
    pub password: Password,
}

impl ProxyLogin {
    /// Most octets of a user and of a password (RFC 1929, section 2).
    pub const MAX_LEN: usize = 255;

    /// A login with this user and password.
    pub fn new(user: impl Into<Arc<str>>, password: impl Into<Password>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// Whether the protocol has no way to send this login.
    pub(crate) fn is_impossible(&self) -> bool {
        let fits = |text: &str| (1..=Self::MAX_LEN).contains(&text.len());
        !fits(&self.user) || !fits(self.password.as_str())
    }
}

/// A password in a configuration: wiped when the last copy is dropped, and never printed.
///
/// ```
/// use smtp_tls_policy::rules::Password;
///
/// let password = Password::from("open sesame");
/// assert_eq!(password.as_str(), "open sesame");
/// assert_eq!(format!("{password:?}"), "Password(..)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<Zeroizing<String>>);

impl Password {
    /// The password. A caller that copies it has to wipe the copy.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes the memory over: nothing is copied.
impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

/// Copies; the original is for the caller to wipe.
impl From<&str> for Password {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
