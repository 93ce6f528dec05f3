//! The proxy through which the hosts of a connector are dialled.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A SOCKS5 proxy (RFC 1928), perhaps with a user and a password (RFC 1929). Both travel to the
/// proxy in clear text.
///
/// In TOML, as a field of `dial`:
/// `socks5 = { address = "127.0.0.1:1080", user = "relay", password = "..." }`.
///
/// ```
/// use smtp_tls_policy::rules::Socks5Proxy;
///
/// let proxy = Socks5Proxy::new("127.0.0.1:1080".parse()?).with_login("relay", "open sesame");
/// assert_eq!((proxy.user(), proxy.password()), (Some("relay"), Some("open sesame")));
/// assert!(!format!("{proxy:?}").contains("sesame"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Socks5Proxy {
    /// The address and port of the proxy.
    pub address: SocketAddr,
    login: Option<Login>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Login {
    user: Arc<str>,
    password: Password,
}

/// Wiped when the last copy is dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
struct Password(Arc<Zeroizing<String>>);

impl Socks5Proxy {
    /// Most octets of a user and of a password (RFC 1929, section 2).
    pub const MAX_LOGIN_LEN: usize = 255;

    /// The proxy at this address, without a login.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, login: None }
    }

    /// Gives the proxy this user and password if it asks for them, of 1 to
    /// [`MAX_LOGIN_LEN`](Self::MAX_LOGIN_LEN) octets each; otherwise it gets none. The password is
    /// wiped when the last copy of the proxy is dropped, and never printed. A `String` is taken
    /// over; of a `&str` the original is for the caller to wipe.
    #[must_use]
    pub fn with_login(self, user: impl Into<Arc<str>>, password: impl Into<String>) -> Self {
        let password = Password(Arc::new(Zeroizing::new(password.into())));
        Self { login: Some(Login { user: user.into(), password }), ..self }
    }

    /// The user; `None` without a login.
    pub fn user(&self) -> Option<&str> {
        self.login.as_ref().map(|login| &*login.user)
    }

    /// The password; `None` without a login. A caller that copies it has to wipe the copy.
    pub fn password(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.password.0.as_str())
    }

    /// Whether the protocol has no way to send the login.
    pub(crate) fn has_impossible_login(&self) -> bool {
        let fits = |text: &str| (1..=Self::MAX_LOGIN_LEN).contains(&text.len());
        [self.user(), self.password()].into_iter().flatten().any(|text| !fits(text))
    }
}

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
