//! What an administrator writes: postures, connectors and their address namespaces.
//!
//! A posture is a named preset of a floor, weighted checks and fallback rules:
//!
//! | posture | TLS | floor | certificate check | names compared | when it fails |
//! |---|---|---|---|---|---|
//! | [`None`](Posture::None) | never sent | plaintext | | | |
//! | [`Opportunistic`](Posture::Opportunistic) | if offered | plaintext | | | clear text |
//! | [`Deterministic`](Posture::Deterministic) | if offered | plaintext | PKIX, [`NotTls`](Weight::NotTls) | the host | clear text |
//! | [`Encrypt`](Posture::Encrypt) | required | encrypted | | | next host |
//! | [`Verified`](Posture::Verified) | required | authenticated | PKIX, [`Refuse`](Weight::Refuse) | the host | next host |
//! | [`Secure`](Posture::Secure) | required | authenticated | PKIX, [`Refuse`](Weight::Refuse) | the next hop and what is below it | next host |
//! | [`PrivateCa`](Posture::PrivateCa) | required | authenticated | PKIX with roots of its own, [`Refuse`](Weight::Refuse) | the host | next host |
//! | [`DaneOnly`](Posture::DaneOnly) | required | authenticated | the host's TLSA records, which must be there | by record | next host |
//! | [`Pinned`](Posture::Pinned) | required | authenticated | pins, [`Refuse`](Weight::Refuse) | | next host |
//!
//! A connector can name the certificate names that it expects; these are compared instead. "PKIX"
//! is the chain, the dates, the purpose, the revocation lists and the name, in this order.
//!
//! The last column is about faults of the peer. If a check cannot be made because of a fault of
//! this side, such as missing roots ([`Fault::Local`](crate::Fault::Local)), mail is deferred under
//! every posture.

#[cfg(feature = "serde")]
pub(crate) mod config;
pub(crate) mod connector;
pub(crate) mod dial;
pub(crate) mod error;
pub(crate) mod identity;
pub(crate) mod list_wait;
pub(crate) mod posture;
pub(crate) mod proxy;
mod suggest;
pub(crate) mod tls_limits;

#[cfg(feature = "serde")]
pub use config::{Config, ConfigError, ConfigWarning, Published};
pub use connector::{
    ClientCertificate, ClientCheck, ClientPurpose, InboundConnector, InboundConnectors,
    OutboundConnector, OutboundConnectors, SmartHost,
};
pub use dial::{DialRules, Families};
pub use error::{ConnectorError, ConnectorErrorKind, Faults};
pub use identity::IdentityId;
pub use list_wait::{DEFAULT_LIST_WAIT, MAX_LIST_WAIT};
pub use posture::{DaneRule, Floor, OptionalTls, Posture, StsRule, Weight, Yield, Yields};
pub use proxy::Socks5Proxy;
pub use tls_limits::{KeyGroup, MinTlsVersion, TlsLimits};
