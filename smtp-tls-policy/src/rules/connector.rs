//! Outbound and inbound connectors by address namespace.
//!
//! A connector serves the mail domains of its namespaces. A look-up hashes the domain and each of
//! its parents: its cost grows with the number of labels, not with the number of connectors, and it
//! allocates nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Domain, Host, Namespace};
use crate::pki::names::{CnFallback, Reference};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::pki::trust::Trust;
use crate::rules::dial::DialRules;
use crate::rules::error::{ConnectorError, ConnectorErrorKind, Faults};
use crate::rules::identity::IdentityId;
use crate::rules::list_wait::MAX_LIST_WAIT;
use crate::rules::posture::{DaneRule, Floor, OptionalTls, Posture, StsRule, Yields};
use crate::rules::tls_limits::TlsLimits;

/// A fixed next hop, used instead of the MX look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmartHost {
    /// The host to connect to.
    pub host: Host,
    /// The port: 25 (RFC 5321, section 4.5.4.2) unless set.
    pub port: u16,
    /// TLS from the first byte, without STARTTLS (RFC 8314); there is no fallback from it.
    pub implicit_tls: bool,
    /// Whether the name counts like a secure MX record, because no forger could change it on its
    /// way.
    pub secure: bool,
}

impl SmartHost {
    /// The port of SMTP (RFC 5321, section 4.5.4.2).
    pub const DEFAULT_PORT: u16 = 25;

    /// A smart host at port 25, with STARTTLS, whose name counts like an insecure MX record.
    pub fn new(host: Host) -> Self {
        Self { host, port: Self::DEFAULT_PORT, implicit_tls: false, secure: false }
    }
}

/// The rules for the servers that receive the mail of some namespaces.
///
/// Create one with [`OutboundConnector::new`], change its fields, and pass it to
/// [`OutboundConnectors::new`], which refuses contradictions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundConnector {
    /// The name, for logs; unique among the outbound connectors.
    pub name: Arc<str>,
    /// The recipient domains that this connector serves; at least one.
    pub namespaces: Vec<Namespace>,
    /// The preset that the other fields adjust.
    pub posture: Posture,
    /// "Outbound Security: TLS". Raises the preset: its certificate check gets the weight
    /// [`Refuse`](crate::rules::posture::Weight::Refuse), and the floor is
    /// [`Authenticated`](crate::rules::posture::Floor::Authenticated). A preset without a check
    /// gets the floor [`Encrypted`](crate::rules::posture::Floor::Encrypted).
    pub require_tls: bool,
    /// A fixed next hop, used instead of the MX look-up.
    pub smart_host: Option<SmartHost>,
    /// The names of which the certificate must have one; empty: those of the posture.
    pub names: Vec<Reference>,
    /// Whether the Common Name counts: [`CnFallback::IfNoDnsSan`] unless set.
    pub cn: CnFallback,
    /// The set of roots to trust: [`RootsId::public`] unless set.
    pub roots: RootsId,
    /// How revocation lists are used.
    pub revocation: Revocation,
    /// How long a delivery waits at most for revocation lists that are missing, while they are
    /// fetched, before the mail is deferred: [`DEFAULT_LIST_WAIT`](crate::rules::DEFAULT_LIST_WAIT)
    /// unless set, at most [`MAX_LIST_WAIT`]; zero does not wait. It has a meaning under the rules
    /// that refuse a certificate for want of a list. Where nothing fetches lists, nothing waits.
    pub list_wait: Option<Duration>,
    /// The client identity to show if the server asks for one.
    pub identity: Option<IdentityId>,
    /// When clear text may be used; has no effect above the floor Plaintext.
    pub yields: Yields,
    /// The certificates and keys for posture [`Posture::Pinned`]; the host must show one of them.
    pub pins: Vec<Pin>,
    /// Whether the hosts' TLSA records count.
    pub dane: DaneRule,
    /// Whether the recipient domains' MTA-STS policies count.
    pub sts: StsRule,
    /// Which requirements `TLS-Required: No` cancels.
    pub optional_tls: OptionalTls,
    /// The TLS versions and key exchange groups that are allowed: all of the provider unless set.
    pub tls: TlsLimits,
    /// How the hosts are dialled: address families, source addresses, interface and proxy.
    pub dial: DialRules,
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
            list_wait: None,
            identity: None,
            yields: Yields::default(),
            pins: Vec::new(),
            dane: DaneRule::default(),
            sts: StsRule::default(),
            optional_tls: OptionalTls::default(),
            tls: TlsLimits::default(),
            dial: DialRules::default(),
        }
    }

    /// What is wrong with this connector by itself.
    pub(crate) fn defects(&self) -> Vec<ConnectorErrorKind> {
        use ConnectorErrorKind as Kind;
        let smart_host = self.smart_host.as_ref();
        let implicit = smart_host.is_some_and(|smart_host| smart_host.implicit_tls);
        let public = self.roots == RootsId::public();
        let (posture, checks) = (self.posture, self.posture.pkix().is_some());
        let dane_only = posture == Posture::DaneOnly;
        let needs_list = match self.revocation {
            Revocation::Off | Revocation::Soft => false,
            Revocation::IfConfigured | Revocation::Hard => true,
        };
        let needs_tls = self.require_tls || implicit || posture.floor() > Floor::Plaintext;
        [
            (posture == Posture::None && (self.require_tls || implicit), Kind::NoneRequiresTls),
            (posture == Posture::PrivateCa && public, Kind::PrivateCaWithoutRoots),
            (posture == Posture::Pinned && self.pins.is_empty(), Kind::PinnedWithoutPins),
            (posture != Posture::Pinned && !self.pins.is_empty(), Kind::UnusedPins),
            (dane_only && self.dane == DaneRule::Off, Kind::DaneOnlyWithoutDane),
            (
                dane_only && smart_host.is_some_and(|smart_host| !smart_host.secure),
                Kind::DaneOnlySmartHost,
            ),
            (!needs_tls && !self.tls.is_unlimited(), Kind::LimitsWithoutTls),
            (!needs_list && self.list_wait.is_some(), Kind::UnusedListWait),
            (self.list_wait.is_some_and(|wait| wait > MAX_LIST_WAIT), Kind::ListWaitTooLong),
            (self.dial.has_impossible_address(), Kind::ImpossibleDialAddress),
            (self.dial.has_impossible_login(), Kind::ImpossibleProxyLogin),
            (self.dial.has_impossible_interface(), Kind::ImpossibleInterface),
            (self.dial.has_unused_source(), Kind::UnusedSource),
            (
                smart_host.is_some_and(|it| match it.host {
                    Host::Address(address) => !self.dial.families.has(address),
                    Host::Name(_) => false,
                }),
                Kind::SmartHostOfOtherFamily,
            ),
            (!checks && !public, Kind::UnusedRoots),
            (!checks && !self.names.is_empty(), Kind::UnusedNames),
        ]
        .into_iter()
        .filter_map(|(is_wrong, kind)| is_wrong.then_some(kind))
        .collect()
    }

    /// What this connector names and is not loaded.
    pub(crate) fn missing(
        &self,
        trust: &Trust,
        identities: &[IdentityId],
    ) -> Vec<ConnectorErrorKind> {
        let roots = self.posture.pkix().and_then(|_| missing_roots(&self.roots, trust));
        let mut missing: Vec<_> = roots.into_iter().collect();
        if let Some(identity) = &self.identity
            && !identities.contains(identity)
        {
            missing.push(ConnectorErrorKind::UnknownIdentity {
                identity: identity.clone(),
                loaded: identities.to_vec(),
            });
        }
        missing
    }
}

/// The set of roots, if it is not loaded. Lists are not looked for: they come and go while mail
/// flows.
fn missing_roots(roots: &RootsId, trust: &Trust) -> Option<ConnectorErrorKind> {
    trust.roots(roots).is_empty().then(|| ConnectorErrorKind::UnknownRoots {
        roots: roots.clone(),
        loaded: trust.names().into_iter().cloned().collect(),
    })
}

/// The use for which a client's certificate must be meant (RFC 5280, section 4.2.1.12). A
/// certificate that names no use, or anyExtendedKeyUsage, is meant for every use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientPurpose {
    /// For clients: id-kp-clientAuth.
    Client,
    /// For clients or for servers. Public authorities no longer issue certificates for clients, so
    /// that another mail server shows the certificate that it has as a server.
    ClientOrServer,
}

/// How a client certificate is checked.
///
/// A certificate passes if one of the pins is its own, and then nothing else is asked of it.
/// Otherwise it needs a chain to one of the roots. A certificate that is itself one of the roots
/// needs no chain, and may be marked as an authority or not; its dates, purpose and names are
/// checked as usual.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCheck {
    /// The roots to trust; `None` if only pins count. There is no default: the public roots vouch
    /// for hosts, not for your partners.
    pub roots: Option<RootsId>,
    /// The names of which the certificate must have one; empty: any certificate from these roots.
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

/// What an inbound connector asks of client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// No certificate is asked for.
    NotAsked,
    /// A certificate is asked for and recorded; any certificate is accepted, and none as well.
    Recorded,
    /// Mail is accepted only with a certificate that passes. Names tie the sender domains to them.
    Required(ClientCheck),
}

/// The rules for the clients that send mail of some sender domains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboundConnector {
    /// The name, for logs; unique among the inbound connectors.
    pub name: Arc<str>,
    /// The sender domains (of MAIL FROM) that this connector serves; at least one.
    pub namespaces: Vec<Namespace>,
    /// Whether mail is accepted over TLS only. A publicly referenced server must not require this
    /// of all clients (RFC 3207, section 4).
    pub require_tls: bool,
    /// What is asked of the client's certificate.
    pub client_certificate: ClientCertificate,
    /// The TLS versions and key exchange groups with which mail is accepted: all unless set.
    pub tls: TlsLimits,
}

impl InboundConnector {
    /// A connector without requirements.
    pub fn new(name: &str, namespaces: Vec<Namespace>) -> Self {
        Self {
            name: name.into(),
            namespaces,
            require_tls: false,
            client_certificate: ClientCertificate::NotAsked,
            tls: TlsLimits::default(),
        }
    }

    /// What is wrong with this connector by itself.
    pub(crate) fn defects(&self) -> Vec<ConnectorErrorKind> {
        use ConnectorErrorKind as Kind;
        let limited = !self.tls.is_unlimited() && !self.require_tls;
        let mut defects: Vec<_> = limited.then_some(Kind::LimitsWithoutTls).into_iter().collect();
        let ClientCertificate::Required(check) = &self.client_certificate else {
            return defects;
        };
        let no_roots = check.roots.is_none();
        let certificate = [
            (!self.require_tls, Kind::CertificateWithoutTls),
            (no_roots && check.pins.is_empty(), Kind::CertificateWithoutTrust),
            (no_roots && !check.names.is_empty(), Kind::NamesWithoutRoots),
        ];
        defects.extend(
            certificate.into_iter().filter_map(|(is_wrong, kind)| is_wrong.then_some(kind)),
        );
        defects
    }

    /// What this connector names and is not loaded.
    pub(crate) fn missing(&self, trust: &Trust) -> Vec<ConnectorErrorKind> {
        match &self.client_certificate {
            ClientCertificate::Required(ClientCheck { roots: Some(roots), .. }) => {
                missing_roots(roots, trust).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The connector of each namespace, by its position.
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
        connectors: impl ExactSizeIterator<Item = (&'a Arc<str>, &'a [Namespace])>,
        errors: &mut Vec<ConnectorError>,
    ) -> Self {
        let count = connectors.len();
        let mut names = std::collections::HashSet::with_capacity(count);
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        let mut default = None;
        let mut in_order = Vec::with_capacity(count);
        for (index, (name, namespaces)) in connectors.enumerate() {
            in_order.push(name);
            let mut error =
                |kind| errors.push(ConnectorError { index, connector: Arc::clone(name), kind });
            if name.is_empty() {
                error(ConnectorErrorKind::NoName);
            } else if !names.insert(name) {
                error(ConnectorErrorKind::DuplicateName);
            }
            if namespaces.is_empty() {
                error(ConnectorErrorKind::NoNamespaces);
            }
            for (position, namespace) in namespaces.iter().enumerate() {
                let taken = match namespace {
                    Namespace::Exact(domain) => exact.insert(domain.clone(), index),
                    Namespace::Subdomains(parent) => below.insert(parent.clone(), index),
                    Namespace::Default => default.replace(index),
                };
                if let Some(other) = taken {
                    let by = (other != index).then(|| Arc::clone(in_order[other]));
                    error(ConnectorErrorKind::DuplicateNamespace { position, by });
                }
            }
        }
        if default.is_none() {
            let kind = ConnectorErrorKind::NoDefault;
            errors.push(ConnectorError { index: count, connector: "".into(), kind });
        }
        Self { exact, below, default: default.unwrap_or_default() }
    }

    fn find(&self, domain: Option<&Domain>) -> usize {
        let Some(domain) = domain else {
            return self.default;
        };
        if let Some(&index) = self.exact.get(domain.as_str()) {
            return index;
        }
        if self.below.is_empty() {
            return self.default;
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
///     OutboundConnector::new("default", vec![Namespace::Default], Posture::Deterministic),
///     OutboundConnector::new("bank", vec![Namespace::parse("*.bank.example")?], Posture::Verified),
/// ])?;
/// assert_eq!(&*connectors.find(&Host::parse("eu.mail.Bank.example.")?).name, "bank");
/// assert_eq!(&*connectors.find(&Host::parse("bank.example")?).name, "default");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OutboundConnectors {
    connectors: Vec<OutboundConnector>,
    index: Index,
}

impl OutboundConnectors {
    /// A set of connectors; one of them serves the default namespace.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the connectors by themselves. What they name may still be
    /// missing: see [`check`](Self::check).
    pub fn new(connectors: Vec<OutboundConnector>) -> Result<Self, Faults<ConnectorError>> {
        let mut errors = Vec::new();
        for (index, connector) in connectors.iter().enumerate() {
            errors.extend(located(index, &connector.name, connector.defects()));
        }
        let index = Index::new(connectors.iter().map(|c| (&c.name, &*c.namespaces)), &mut errors);
        Faults::check(errors)?;
        Ok(Self { connectors, index })
    }

    /// Checks that the roots and client identities that the connectors name are loaded. Call it
    /// before the first delivery: mail that a connector with a missing set of roots serves would be
    /// deferred.
    ///
    /// Revocation lists are not checked. They are replaced and fetched while mail flows; if one
    /// that a rule asks for is missing then, mail is deferred, with an error in the log.
    ///
    /// # Errors
    ///
    /// Everything that is missing, by connector.
    pub fn check(
        &self,
        trust: &Trust,
        identities: &[IdentityId],
    ) -> Result<(), Faults<ConnectorError>> {
        let missing = self.iter().enumerate().flat_map(|(index, connector)| {
            located(index, &connector.name, connector.missing(trust, identities))
        });
        Faults::check(missing.collect())
    }

    /// The connector for a recipient domain; for an address literal, the default one.
    pub fn find(&self, recipient: &Host) -> &OutboundConnector {
        &self.connectors[self.index.find(recipient.domain())]
    }

    /// The connectors, in the order given.
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
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the connectors by themselves. What they name may still be
    /// missing: see [`check`](Self::check).
    pub fn new(connectors: Vec<InboundConnector>) -> Result<Self, Faults<ConnectorError>> {
        let mut errors = Vec::new();
        for (index, connector) in connectors.iter().enumerate() {
            errors.extend(located(index, &connector.name, connector.defects()));
        }
        let index = Index::new(connectors.iter().map(|c| (&c.name, &*c.namespaces)), &mut errors);
        Faults::check(errors)?;
        let gate = gate(&connectors);
        Ok(Self { connectors, index, gate })
    }

    /// Checks that the roots and revocation lists that the connectors name are loaded. Call it
    /// before the first client connects: a client that must show a certificate would hear 451.
    ///
    /// # Errors
    ///
    /// Everything that is missing, by connector.
    pub fn check(&self, trust: &Trust) -> Result<(), Faults<ConnectorError>> {
        let missing = self.iter().enumerate().flat_map(|(index, connector)| {
            located(index, &connector.name, connector.missing(trust))
        });
        Faults::check(missing.collect())
    }

    /// The connector for a sender domain; for `None` (the null reverse-path or an address literal),
    /// the default one.
    pub fn find(&self, sender: Option<&Domain>) -> &InboundConnector {
        &self.connectors[self.index.find(sender)]
    }

    /// The connectors, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &InboundConnector> {
        self.connectors.iter()
    }

    /// Whether the listener must ask clients for a certificate at all.
    pub fn asks_for_certificate(&self) -> bool {
        self.iter().any(|c| !matches!(c.client_certificate, ClientCertificate::NotAsked))
    }

    /// The limits to which the listener can restrict itself, because every connector has them or
    /// stricter ones: give them to [`limited`](crate::tls::limited). A listener that offers no more
    /// than the connectors allow negotiates a post-quantum group with each client that has one.
    pub fn tls_limits(&self) -> TlsLimits {
        let min_version = self.iter().map(|c| c.tls.min_version).min().unwrap_or_default();
        let mut groups = Vec::new();
        if self.iter().all(|c| !c.tls.groups.is_empty()) {
            groups.extend(self.iter().flat_map(|c| c.tls.groups.iter().copied()));
            groups.sort_unstable();
            groups.dedup();
        }
        TlsLimits { min_version, groups }
    }

    /// Whether no mail at all is accepted without TLS: 530 to every command except NOOP, EHLO,
    /// STARTTLS and QUIT (RFC 3207, section 4).
    pub fn requires_tls(&self) -> bool {
        self.iter().all(|c| c.require_tls)
    }

    /// The distinct checks of which a client certificate must pass one; otherwise every MAIL would
    /// be refused. `None` if some connector accepts mail without a certificate.
    pub(crate) fn gate(&self) -> Option<&[ClientCheck]> {
        self.gate.as_deref()
    }
}

fn located<'a>(
    index: usize,
    connector: &'a Arc<str>,
    kinds: Vec<ConnectorErrorKind>,
) -> impl Iterator<Item = ConnectorError> + 'a {
    kinds.into_iter().map(move |kind| ConnectorError {
        index,
        connector: Arc::clone(connector),
        kind,
    })
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
