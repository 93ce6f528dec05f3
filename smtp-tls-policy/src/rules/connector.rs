//! Outbound and inbound connectors by address namespace.
//!
//! A connector serves the mail domains of its namespaces. A look-up hashes the domain and each of its parents, so its
//! cost grows with the number of labels and not with the number of connectors, and it allocates nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Domain, Host, Namespace};
use crate::pki::names::{CnFallback, Reference};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::rules::posture::{DaneRule, OptionalTls, Posture, StsRule, Yields};

/// The name of a client identity: a certificate and its key, held elsewhere. Only the connector that names it uses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId(Arc<str>);

impl IdentityId {
    /// The identity of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for IdentityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A fixed next hop in place of the MX look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmartHost {
    /// Where to connect to.
    pub host: Host,
    /// The port: 25 (RFC 5321, 4.5.4.2) unless set.
    pub port: u16,
    /// TLS from the first byte, without STARTTLS (RFC 8314); there is no fallback from it.
    pub implicit_tls: bool,
    /// Whether the name counts as a secure MX record would: it did not come over a channel that a forger could reach.
    pub secure: bool,
}

impl SmartHost {
    /// The port of SMTP (RFC 5321, 4.5.4.2).
    pub const DEFAULT_PORT: u16 = 25;

    /// A smart host at port 25, with STARTTLS, whose name counts as an insecure MX record would.
    pub fn new(host: Host) -> Self {
        Self { host, port: Self::DEFAULT_PORT, implicit_tls: false, secure: false }
    }
}

/// What is asked of the servers to which mail for some namespaces goes.
///
/// Make one with [`OutboundConnector::new`], change its fields, and give it to [`OutboundConnectors::new`], which
/// refuses what makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundConnector {
    /// The name, for logs; unique among the outbound connectors.
    pub name: Arc<str>,
    /// The recipient domains that this connector serves; at least one.
    pub namespaces: Vec<Namespace>,
    /// The preset.
    pub posture: Posture,
    /// "Outbound Security: TLS". Raises the preset: its certificate check becomes
    /// [`Refuse`](crate::rules::posture::Weight::Refuse) and the floor [`Authenticated`](crate::rules::posture::Floor::Authenticated);
    /// a preset without a check gets the floor [`Encrypted`](crate::rules::posture::Floor::Encrypted).
    pub require_tls: bool,
    /// A fixed next hop in place of the MX look-up.
    pub smart_host: Option<SmartHost>,
    /// The names of which the certificate must carry one; empty: those of the posture.
    pub names: Vec<Reference>,
    /// Whether the Common Name counts: [`CnFallback::IfNoDnsSan`] unless set.
    pub cn: CnFallback,
    /// The roots to trust: [`RootsId::public`] unless set.
    pub roots: RootsId,
    /// How revocation lists are used.
    pub revocation: Revocation,
    /// The client identity to present when the server asks for one.
    pub identity: Option<IdentityId>,
    /// When clear text may be used; without effect above the floor Plaintext.
    pub yields: Yields,
    /// The certificates and keys of posture [`Posture::Pinned`], one of which the host must show.
    pub pins: Vec<Pin>,
    /// Whether the hosts' TLSA records count.
    pub dane: DaneRule,
    /// Whether the recipient domains' MTA-STS policies count.
    pub sts: StsRule,
    /// What `TLS-Required: No` takes back.
    pub optional_tls: OptionalTls,
}

impl OutboundConnector {
    /// A connector with the defaults of its posture.
    pub fn new(name: &str, namespaces: Vec<Namespace>, posture: Posture) -> Self {
        Self {
            name: name.into(),
            namespaces,
            posture,
            require_tls: false,
            smart_host: None,
            names: Vec::new(),
            cn: CnFallback::default(),
            roots: RootsId::public(),
            revocation: Revocation::default(),
            identity: None,
            yields: Yields::default(),
            pins: Vec::new(),
            dane: DaneRule::default(),
            sts: StsRule::default(),
            optional_tls: OptionalTls::default(),
        }
    }

    /// What is wrong with this connector by itself.
    fn defect(&self) -> Option<ConnectorErrorKind> {
        let implicit = self.smart_host.as_ref().is_some_and(|smart_host| smart_host.implicit_tls);
        let public = self.roots == RootsId::public();
        let has_pkix = self.posture.pkix().is_some();
        match self.posture {
            Posture::None if self.require_tls || implicit => {
                Some(ConnectorErrorKind::NoneRequiresTls)
            }
            Posture::PrivateCa if public => Some(ConnectorErrorKind::PrivateCaWithoutRoots),
            Posture::Pinned if self.pins.is_empty() => Some(ConnectorErrorKind::PinnedWithoutPins),
            Posture::DaneOnly if self.dane == DaneRule::Off => {
                Some(ConnectorErrorKind::DaneOnlyWithoutDane)
            }
            Posture::DaneOnly
                if self.smart_host.as_ref().is_some_and(|smart_host| !smart_host.secure) =>
            {
                Some(ConnectorErrorKind::DaneOnlySmartHost)
            }
            posture if posture != Posture::Pinned && !self.pins.is_empty() => {
                Some(ConnectorErrorKind::UnusedPins)
            }
            _ if !has_pkix && (!public || !self.names.is_empty()) => {
                Some(ConnectorErrorKind::UnusedCheck)
            }
            _ => None,
        }
    }
}

/// The use for which a client's certificate must be meant (RFC 5280, section 4.2.1.12). A certificate
/// that names no use, or anyExtendedKeyUsage, is meant for every use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum ClientPurpose {
    /// For clients: id-kp-clientAuth.
    Client,
    /// For clients or for servers. Public authorities no longer issue certificates for clients, so that
    /// another mail server shows the certificate that it has as a server.
    ClientOrServer,
}

/// How a client certificate is checked.
///
/// A certificate passes if one of the pins is its own, and then nothing else is asked of it. Otherwise
/// it needs a chain to one of the roots. A certificate that is itself one of the roots needs no chain,
/// and may be marked as an authority or not; its dates, purpose and names are checked as usual.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCheck {
    /// The roots to trust; `None` if only pins count. There is no default: the public roots vouch for
    /// hosts, not for your partners.
    pub roots: Option<RootsId>,
    /// The names of which the certificate must carry one; empty: any certificate from these roots.
    pub names: Vec<Reference>,
    /// Whether the Common Name counts: [`CnFallback::IfNoDnsSan`] unless set.
    pub cn: CnFallback,
    /// How revocation lists are used.
    pub revocation: Revocation,
    /// The use for which the certificate must be meant. Unless set: for clients or for servers if
    /// `names` ties the certificate to a name, and for clients otherwise.
    pub purpose: Option<ClientPurpose>,
    /// Certificates and keys that the administrator knows.
    pub pins: Vec<Pin>,
}

impl ClientCheck {
    /// Accepts any certificate from these roots.
    pub fn new(roots: RootsId) -> Self {
        Self { roots: Some(roots), ..Self::pinned(Vec::new()) }
    }

    /// Accepts the certificates with these pins, and no others.
    pub fn pinned(pins: Vec<Pin>) -> Self {
        Self {
            roots: None,
            names: Vec::new(),
            cn: CnFallback::default(),
            revocation: Revocation::default(),
            purpose: None,
            pins,
        }
    }

    /// The purpose that holds: the one that is set, or the default.
    pub(crate) fn purpose(&self) -> ClientPurpose {
        self.purpose.unwrap_or(match self.names.is_empty() {
            true => ClientPurpose::Client,
            false => ClientPurpose::ClientOrServer,
        })
    }

    /// The same check for a certificate of any name.
    fn without_names(&self) -> Self {
        Self { names: Vec::new(), purpose: Some(self.purpose()), ..self.clone() }
    }
}

/// What an inbound connector wants of client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// None is asked for.
    NotAsked,
    /// Asked for and written down, whatever it is.
    Recorded,
    /// Mail is taken only with a certificate that passes; with names, the sender domains are tied to these.
    Required(ClientCheck),
}

/// What is asked of the clients that bring mail from some sender domains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboundConnector {
    /// The name, for logs; unique among the inbound connectors.
    pub name: Arc<str>,
    /// The sender domains (of MAIL FROM) that this connector serves; at least one.
    pub namespaces: Vec<Namespace>,
    /// Whether mail is taken over TLS only. A server that is publicly referenced must not require this of everybody
    /// (RFC 3207, 4).
    pub require_tls: bool,
    /// What is wanted of the client's certificate.
    pub client_certificate: ClientCertificate,
}

impl InboundConnector {
    /// A connector that asks for nothing.
    pub fn new(name: &str, namespaces: Vec<Namespace>) -> Self {
        Self {
            name: name.into(),
            namespaces,
            require_tls: false,
            client_certificate: ClientCertificate::NotAsked,
        }
    }
}

/// Which connector of a set is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connector {}: {kind}", index + 1)]
pub struct ConnectorError {
    /// Its position in the list that was given, from 0; the length of the list where the set as a whole is wrong.
    pub index: usize,
    /// What is wrong.
    pub kind: ConnectorErrorKind,
}

/// What is wrong with a connector, or with a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorErrorKind {
    /// The name is empty.
    #[error("the connector has no name")]
    NoName,
    /// Another connector has this name.
    #[error("another connector has the same name")]
    DuplicateName,
    /// The connector serves nothing.
    #[error("the connector has no namespaces")]
    NoNamespaces,
    /// The namespace at this position of the connector's list is already served, by this or another connector.
    #[error("namespace {} is already served", .0 + 1)]
    DuplicateNamespace(usize),
    /// No connector serves the namespace `*`, so that some domains would have no rule.
    #[error("no connector serves the default namespace `*`")]
    NoDefault,
    /// Posture `none`, and yet TLS is required, or used from the first byte.
    #[error("posture none sends no TLS, and the connector requires it")]
    NoneRequiresTls,
    /// Posture `private-ca` with the public roots.
    #[error("posture private-ca needs roots of its own")]
    PrivateCaWithoutRoots,
    /// A client certificate is required, and TLS is not.
    #[error("a client certificate is required without requiring TLS")]
    CertificateWithoutTls,
    /// A client certificate is required, and there are neither roots nor pins to accept one.
    #[error("the required client certificate has neither roots nor pins")]
    CertificateWithoutTrust,
    /// Names are set for a client certificate that is accepted by its pin only, which asks for none.
    #[error("the names of the client certificate need roots; a pin asks for no name")]
    NamesWithoutRoots,
    /// Names or roots are set, and the posture looks at no certificate: a connector that seems to check, and does not.
    #[error("the posture checks no certificate; names and roots belong to one that does")]
    UnusedCheck,
    /// Posture `pinned` without a pin.
    #[error("posture pinned needs pins")]
    PinnedWithoutPins,
    /// Pins under another posture, which would not look at them.
    #[error("pins belong to posture pinned")]
    UnusedPins,
    /// Posture `dane-only` where DANE is switched off.
    #[error("posture dane-only with dane switched off")]
    DaneOnlyWithoutDane,
    /// Posture `dane-only` with a smart host whose name does not count as secure.
    #[error("posture dane-only needs a smart host that is declared secure")]
    DaneOnlySmartHost,
}

/// Where each namespace leads.
#[derive(Clone, Debug)]
struct Index {
    exact: HashMap<Domain, usize>,
    below: HashMap<Domain, usize>,
    default: usize,
}

// Look-ups go by `&str` suffixes of a `Domain`.
impl std::borrow::Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Index {
    fn new<'a>(
        connectors: impl ExactSizeIterator<Item = (&'a str, &'a [Namespace])>,
    ) -> Result<Self, ConnectorError> {
        let count = connectors.len();
        let mut names = std::collections::HashSet::with_capacity(count);
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        let mut default = None;
        for (index, (name, namespaces)) in connectors.enumerate() {
            let error = |kind| ConnectorError { index, kind };
            if name.is_empty() {
                return Err(error(ConnectorErrorKind::NoName));
            }
            if !names.insert(name) {
                return Err(error(ConnectorErrorKind::DuplicateName));
            }
            if namespaces.is_empty() {
                return Err(error(ConnectorErrorKind::NoNamespaces));
            }
            for (position, namespace) in namespaces.iter().enumerate() {
                let taken = match namespace {
                    Namespace::Exact(domain) => exact.insert(domain.clone(), index).is_some(),
                    Namespace::Subdomains(parent) => below.insert(parent.clone(), index).is_some(),
                    Namespace::Default => default.replace(index).is_some(),
                };
                if taken {
                    return Err(error(ConnectorErrorKind::DuplicateNamespace(position)));
                }
            }
        }
        let default =
            default.ok_or(ConnectorError { index: count, kind: ConnectorErrorKind::NoDefault })?;
        Ok(Self { exact, below, default })
    }

    fn find(&self, domain: Option<&Domain>) -> usize {
        let Some(domain) = domain else {
            return self.default;
        };
        if let Some(&index) = self.exact.get(domain.as_str()) {
            return index;
        }
        domain
            .suffixes()
            .skip(1)
            .find_map(|parent| self.below.get(parent).copied())
            .unwrap_or(self.default)
    }
}

/// The outbound connectors, by recipient domain.
///
/// ```
/// use smtp_tls_policy::{Host, Namespace};
/// use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
///
/// let connectors = OutboundConnectors::new(vec![
///     OutboundConnector::new("everybody", vec![Namespace::Default], Posture::Deterministic),
///     OutboundConnector::new("bank", vec![Namespace::parse("*.bank.example")?], Posture::Verified),
/// ])?;
/// assert_eq!(&*connectors.find(&Host::parse("eu.mail.Bank.example.")?).name, "bank");
/// assert_eq!(&*connectors.find(&Host::parse("bank.example")?).name, "everybody");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OutboundConnectors {
    connectors: Vec<OutboundConnector>,
    index: Index,
}

impl OutboundConnectors {
    /// A set of connectors; one of them serves the default namespace.
    pub fn new(connectors: Vec<OutboundConnector>) -> Result<Self, ConnectorError> {
        for (index, connector) in connectors.iter().enumerate() {
            if let Some(kind) = connector.defect() {
                return Err(ConnectorError { index, kind });
            }
        }
        let index = Index::new(connectors.iter().map(|c| (&*c.name, &*c.namespaces)))?;
        Ok(Self { connectors, index })
    }

    /// The connector for a recipient domain; address literals have the default one.
    pub fn find(&self, recipient: &Host) -> &OutboundConnector {
        &self.connectors[self.index.find(recipient.domain())]
    }

    /// All of them, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &OutboundConnector> {
        self.connectors.iter()
    }
}

/// The inbound connectors of one listener, by sender domain.
#[derive(Clone, Debug)]
pub struct InboundConnectors {
    connectors: Vec<InboundConnector>,
    index: Index,
    gate: Option<Vec<ClientCheck>>,
}

impl InboundConnectors {
    /// A set of connectors; one of them serves the default namespace.
    pub fn new(connectors: Vec<InboundConnector>) -> Result<Self, ConnectorError> {
        for (index, connector) in connectors.iter().enumerate() {
            let ClientCertificate::Required(check) = &connector.client_certificate else {
                continue;
            };
            let error = |kind| Err(ConnectorError { index, kind });
            if !connector.require_tls {
                return error(ConnectorErrorKind::CertificateWithoutTls);
            }
            if check.roots.is_none() && check.pins.is_empty() {
                return error(ConnectorErrorKind::CertificateWithoutTrust);
            }
            if check.roots.is_none() && !check.names.is_empty() {
                return error(ConnectorErrorKind::NamesWithoutRoots);
            }
        }
        let index = Index::new(connectors.iter().map(|c| (&*c.name, &*c.namespaces)))?;
        let gate = gate(&connectors);
        Ok(Self { connectors, index, gate })
    }

    /// The connector for a sender domain; `None` (the null reverse-path, an address literal) has the default one.
    pub fn find(&self, sender: Option<&Domain>) -> &InboundConnector {
        &self.connectors[self.index.find(sender)]
    }

    /// All of them, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &InboundConnector> {
        self.connectors.iter()
    }

    /// Whether the listener must ask clients for a certificate at all.
    pub fn asks_for_certificate(&self) -> bool {
        self.iter().any(|c| !matches!(c.client_certificate, ClientCertificate::NotAsked))
    }

    /// Whether no mail at all is taken without TLS: 530 to every command but NOOP, EHLO, STARTTLS and QUIT
    /// (RFC 3207, 4).
    pub fn requires_tls(&self) -> bool {
        self.iter().all(|c| c.require_tls)
    }

    /// The distinct checks of which a client certificate must pass one, lest every MAIL be refused; `None` if some
    /// connector takes mail without a certificate.
    pub(crate) fn gate(&self) -> Option<&[ClientCheck]> {
        self.gate.as_deref()
    }
}

fn gate(connectors: &[InboundConnector]) -> Option<Vec<ClientCheck>> {
    let mut gate = Vec::new();
    for connector in connectors {
        let ClientCertificate::Required(check) = &connector.client_certificate else {
            return None;
        };
        let check = check.without_names();
        if !gate.contains(&check) {
            gate.push(check);
        }
    }
    Some(gate)
}
