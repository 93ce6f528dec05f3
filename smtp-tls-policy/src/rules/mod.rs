//! What an administrator writes: postures, connectors and their address namespaces.
//!
//! Named presets: each one a floor, a set of weighted checks and the fallback rules, nothing else.
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
//! A connector that names the certificate names it expects has these compared instead. "PKIX" is the chain, the
//! dates, the purpose, the revocation lists and the name, in this order.

#[cfg(feature = "serde")]
pub(crate) mod config;
pub(crate) mod connector;
pub(crate) mod error;
pub(crate) mod identity;
pub(crate) mod posture;
mod suggest;

#[cfg(feature = "serde")]
pub use config::{Config, ConfigError, ConfigErrors};
pub use connector::{
    ClientCertificate, ClientCheck, ClientPurpose, InboundConnector, InboundConnectors,
    OutboundConnector, OutboundConnectors, SmartHost,
};
pub use error::{ConnectorError, ConnectorErrorKind, ConnectorErrors};
pub use identity::IdentityId;
pub use posture::{
    DaneRule, Floor, OptionalTls, Posture, StsRule, UnknownPosture, Weight, Yield, Yields,
};
