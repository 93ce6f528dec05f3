//! What is wrong with connectors.

use std::fmt;
use std::sync::Arc;

use crate::pki::roots::RootsId;
use crate::rules::identity::IdentityId;
use crate::rules::list_wait::MAX_LIST_WAIT;
use crate::rules::suggest::{Quoted, nearest};

/// A fault of one connector of a set, or of the set as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConnectorError {
    /// The position of the connector in the list that was given, from 0; the length of the list if
    /// the set as a whole is wrong.
    pub index: usize,
    /// The name of the connector; empty if it has none, or if the set as a whole is wrong.
    pub connector: Arc<str>,
    /// What is wrong.
    pub kind: ConnectorErrorKind,
}

impl fmt::Display for ConnectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &*self.connector) {
            (ConnectorErrorKind::NoDefault, _) => {}
            (_, "") => write!(f, "connector {}: ", self.index + 1)?,
            (_, name) => write!(f, "connector {name:?}: ")?,
        }
        self.kind.fmt(f)
    }
}

/// Everything that is wrong with a configuration file (`ConfigError`) or with
/// a set of connectors ([`ConnectorError`]); at least one fault. `Display` is one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults<E>(pub(super) Vec<E>);

impl<E> Faults<E> {
    /// `Ok` if nothing is wrong.
    pub(crate) fn check(errors: Vec<E>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The faults, in the order of the lines of the file or of the connectors.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.0.iter()
    }

    /// Adds the faults of something else that was read at the same time.
    pub fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl<E> From<E> for Faults<E> {
    fn from(error: E) -> Self {
        Self(vec![error])
    }
}

impl<E: fmt::Display> fmt::Display for Faults<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Faults<E> {}

/// What is wrong with a connector, or with a set of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorErrorKind {
    /// The name is empty.
    #[error("the connector has no name; logs and errors need one")]
    NoName,
    /// Another connector has this name.
    #[error("another connector has the same name; each needs one of its own")]
    DuplicateName,
    /// The connector serves nothing.
    #[error("the connector has no namespaces; name a domain, \"*.domain\" or \"*\"")]
    NoNamespaces,
    /// A namespace of the connector is already served, by this or another connector.
    #[error(
        "namespace {} of the connector is already served by {}; remove one of the two",
        position + 1,
        by.as_ref().map_or("the connector itself".to_owned(), |by| format!("connector \"{by}\""))
    )]
    DuplicateNamespace {
        /// The position in the connector's list, counted from 0.
        position: usize,
        /// The other connector; `None` if it is this one.
        by: Option<Arc<str>>,
    },
    /// No connector serves the namespace `*`, so that some domains would have no rule.
    #[error("no connector serves the default namespace \"*\"; add it to one of them")]
    NoDefault,
    /// Posture `none`, and yet TLS is required, or used from the first byte.
    #[error("posture none never uses TLS, but the connector requires it; choose another posture")]
    NoneRequiresTls,
    /// Posture `private-ca` with the public roots.
    #[error("posture private-ca needs roots of its own; name a set other than \"public\"")]
    PrivateCaWithoutRoots,
    /// A client certificate is required, and TLS is not.
    #[error("the required client certificate needs TLS; set require-tls = true")]
    CertificateWithoutTls,
    /// A client certificate is required, and there are neither roots nor pins to accept one.
    #[error("the required client certificate has neither roots nor pins; name one of them")]
    CertificateWithoutTrust,
    /// Names are set for a client certificate that is accepted by its pin only, which asks for
    /// none.
    #[error("the names of the client certificate need roots; a pin asks for no name")]
    NamesWithoutRoots,
    /// Roots are set, and the posture judges no certificate: a connector that seems to check, and
    /// does not.
    #[error("the posture checks no certificate chain, so it has no use for roots; remove them")]
    UnusedRoots,
    /// Names are set, and the posture compares none.
    #[error("the posture checks no certificate chain, so it has no use for names; remove them")]
    UnusedNames,
    /// Posture `pinned` without a pin.
    #[error("posture pinned needs pins, such as \"spki:sha256:...\"")]
    PinnedWithoutPins,
    /// Pins under another posture, which would not look at them.
    #[error("only posture pinned looks at pins; remove them, or choose that posture")]
    UnusedPins,
    /// Posture `dane-only` where DANE is switched off.
    #[error("posture dane-only needs DANE, which the connector switches off")]
    DaneOnlyWithoutDane,
    /// Posture `dane-only` with a smart host whose name does not count as secure.
    #[error("posture dane-only needs a smart host that is declared secure")]
    DaneOnlySmartHost,
    /// Versions or groups of TLS are limited, and TLS is not required: a peer that cannot meet the
    /// limits would get the mail in clear text.
    #[error(
        "the limits of TLS need TLS, because a peer that cannot meet them would use clear text; \
         set require-tls = true"
    )]
    LimitsWithoutTls,
    /// A wait for revocation lists is set, and the rule passes certificates without a list.
    #[error(
        "revocation \"off\" and \"soft\" never wait for a list; remove list-wait, or set revocation \
         to \"if-configured\" or \"hard\""
    )]
    UnusedListWait,
    /// The wait for revocation lists is longer than
    /// [`MAX_LIST_WAIT`].
    #[error("a delivery waits for a revocation list for at most {} s", MAX_LIST_WAIT.as_secs())]
    ListWaitTooLong,
    /// A source address or the address of the proxy is unspecified or multicast, or has port 0.
    #[error(
        "a connection can have no unspecified or multicast address, and no port 0; write an \
         address of this machine, or the address and port of the proxy"
    )]
    ImpossibleDialAddress,
    /// The proxy's user or password is empty or longer than 255 octets.
    #[error(
        "a SOCKS5 proxy takes a user and a password of 1 to 255 octets each; write both of them, \
         or none"
    )]
    ImpossibleProxyLogin,
    /// No interface can have this name.
    #[error(
        "no network interface has such a name; write 1 to 15 octets without spaces and slashes, \
         such as \"eth1\""
    )]
    ImpossibleInterface,
    /// A source address is of a family that the connector does not dial, or that the proxy is not
    /// reached by.
    #[error(
        "no connection can have the source address, because the connector or its proxy uses only \
         the other family; remove it"
    )]
    UnusedSource,
    /// The smart host is an address of a family that the connector does not dial.
    #[error("the connector does not dial addresses of the smart host's family; change families")]
    SmartHostOfOtherFamily,
    /// No roots of this name are loaded.
    #[error("no roots with the name \"{roots}\" are loaded; {}", hint(roots.as_str(), loaded))]
    UnknownRoots {
        /// The name in the connector.
        roots: RootsId,
        /// The sets that are loaded.
        loaded: Vec<RootsId>,
    },
    /// No client identity of this name is loaded.
    #[error("no identity with the name \"{identity}\" is loaded; {}", hint(identity.as_str(), loaded))]
    UnknownIdentity {
        /// The name in the connector.
        identity: IdentityId,
        /// The identities that are loaded.
        loaded: Vec<IdentityId>,
    },
}

#[cfg(feature = "serde")]
impl ConnectorErrorKind {
    /// The field of the connector that is wrong, as in a configuration file.
    pub(crate) fn field(&self) -> &'static [&'static str] {
        match self {
            Self::NoName | Self::DuplicateName => &["name"],
            Self::NoNamespaces | Self::DuplicateNamespace { .. } | Self::NoDefault => {
                &["namespaces"]
            }
            Self::NoneRequiresTls | Self::PinnedWithoutPins => &["posture"],
            Self::PrivateCaWithoutRoots | Self::UnusedRoots => &["roots"],
            Self::CertificateWithoutTls => &["client-certificate"],
            Self::CertificateWithoutTrust => &["certificate"],
            Self::NamesWithoutRoots => &["certificate", "names"],
            Self::UnusedNames => &["names"],
            Self::UnusedPins => &["pins"],
            Self::LimitsWithoutTls => &["tls"],
            Self::UnusedListWait | Self::ListWaitTooLong => &["list-wait"],
            Self::DaneOnlyWithoutDane => &["dane"],
            Self::DaneOnlySmartHost => &["smart-host"],
            Self::ImpossibleDialAddress | Self::UnusedSource => &["dial"],
            Self::ImpossibleProxyLogin => &["dial", "socks5"],
            Self::ImpossibleInterface => &["dial", "interface"],
            Self::SmartHostOfOtherFamily => &["dial", "families"],
            // In an inbound connector the roots are those of the certificate.
            Self::UnknownRoots { .. } => &["certificate", "roots"],
            Self::UnknownIdentity { .. } => &["identity"],
        }
    }

    /// The fields of the connector that it is found by.
    pub(crate) fn depends_on(&self) -> &'static [&'static str] {
        match self {
            Self::NoName | Self::DuplicateName => &["name"],
            Self::NoNamespaces | Self::DuplicateNamespace { .. } | Self::NoDefault => {
                &["namespaces"]
            }
            Self::NoneRequiresTls => &["posture", "require-tls", "smart-host"],
            Self::PrivateCaWithoutRoots | Self::UnusedRoots => &["posture", "roots"],
            Self::CertificateWithoutTls => &["require-tls", "client-certificate"],
            Self::CertificateWithoutTrust | Self::NamesWithoutRoots => {
                &["client-certificate", "certificate"]
            }
            Self::UnusedNames => &["posture", "names"],
            Self::PinnedWithoutPins | Self::UnusedPins => &["posture", "pins"],
            Self::DaneOnlyWithoutDane => &["posture", "dane"],
            Self::DaneOnlySmartHost => &["posture", "smart-host"],
            Self::LimitsWithoutTls => &["posture", "require-tls", "smart-host", "tls"],
            Self::UnusedListWait | Self::ListWaitTooLong => &["revocation", "list-wait"],
            Self::ImpossibleDialAddress
            | Self::ImpossibleInterface
            | Self::ImpossibleProxyLogin
            | Self::UnusedSource => &["dial"],
            Self::SmartHostOfOtherFamily => &["smart-host", "dial"],
            Self::UnknownRoots { .. } => &["posture", "roots", "certificate"],
            Self::UnknownIdentity { .. } => &["identity"],
        }
    }
}

/// `did you mean "bank-ca"?`, or what is there.
fn hint<T: fmt::Display>(found: &str, loaded: &[T]) -> String {
    let names: Vec<String> = loaded.iter().map(ToString::to_string).collect();
    match nearest(found, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None if names.is_empty() => "none at all are loaded".to_owned(),
        None => format!("loaded: {}", Quoted(&names)),
    }
}
