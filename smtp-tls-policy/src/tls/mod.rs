//! Verifiers and configurations for rustls 0.23. Nothing else in this crate knows rustls.
//!
//! - Signatures of handshakes are verified at every floor, by the key that the certificate holds,
//!   also where the certificate itself is not looked at.
//! - A failed check of weight [`NotTls`](crate::rules::posture::Weight::NotTls) or
//!   [`Refuse`](crate::rules::posture::Weight::Refuse) ends the handshake; the error carries the
//!   [`Verdict`], and [`verdict_of`] finds it again. Any other error is a failed handshake.
//! - For a message with REQUIRETLS the verifier accepts any certificate, because the client must
//!   send QUIT to a server that fails (RFC 8689, section 4.2.1), and [`judge_session`] alone
//!   decides. If the connector has a client identity, the verifier judges all the same: an unknown
//!   server must not see the identity.
//! - A configuration belongs to one plan, one client identity and one generation of trust, and its
//!   sessions are resumed under no other.
//! - The verifier uses the trust that the store holds at the moment of the handshake.
//! - A resumed session never called the verifier, and recorded checks have no part in the handshake
//!   either: call [`judge_session`] after every handshake.
//!
//! # Raw public keys
//!
//! For hosts whose TLSA records are all DANE-EE(3) SPKI(1), [`ClientTls::raw_key_config`] asks for
//! the bare key in place of a certificate (RFC 7250), and [`raw_key_server_config`] shows one. This
//! is opt-in, because rustls 0.23 has raw keys in one form only:
//!
//! - A client offers raw keys alone, or certificates alone, never the choice of both. A host that
//!   has no raw key answers with a certificate, or with the alert `handshake_failure`, and rustls
//!   ends the handshake: hence no posture asks for raw keys by itself. A caller that asks for them
//!   connects again with [`ClientTls::config`] after any failure. That is not a weaker connection,
//!   because the plan is the same.
//! - A server shows its raw key alone, or its certificate alone, for one `ServerConfig`; a client
//!   that did not offer what it shows is refused. A public host reads the ClientHello first
//!   (rustls' `Acceptor`), and chooses the configuration by [`offers_raw_key`].
//! - TLS 1.3 only: in TLS 1.2 rustls does not look at what was negotiated. Clients show
//!   certificates, never raw keys.
//!
//! ```
//! use std::sync::Arc;
//! use smtp_tls_policy::judge::Standing;
//! use smtp_tls_policy::pki::{LiveTrust, Trust};
//! use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
//! use smtp_tls_policy::rules::{OutboundConnector, Posture};
//! use smtp_tls_policy::tls::{ClientTls, judge_session, server_name};
//! use smtp_tls_policy::{Host, Namespace, pki_types};
//!
//! # let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::Deterministic);
//! # let host = Host::parse("mx.example.com")?;
//! # let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx))?;
//! let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
//! let tls = ClientTls::new(provider);
//! let trust = Arc::new(LiveTrust::new(Trust::webpki_roots()));
//! let config = tls.config(&plan, connector.identity.as_ref(), &trust)?;
//! let session = rustls::ClientConnection::new(config, server_name(&plan, &host)?)?;
//! // ... the handshake; then, whatever kind of handshake it was:
//! let verdict = judge_session(&plan, &session, &trust.load(), pki_types::UnixTime::now());
//! if verdict.standing() != Standing::Acceptable {
//!     tls.forget(&plan, connector.identity.as_ref(), &trust); // and QUIT
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod identities;
mod limits;
mod verify;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pki_types::{CertificateDer, DnsName, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, CertificateType, ClientHello, ResolvesServerCert,
    ServerConfig,
};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{
    CertificateError, CommonState, ConfigBuilder, DistinguishedName, Error, KeyLog, KeyLogFile,
    NamedGroup, OtherError, WantsVerifier,
};

use crate::domain::Host;
use crate::judge::admit::ShownTls;
use crate::judge::verdict::Verdict;
use crate::pki::live_trust::LiveTrust;
use crate::pki::trust::{Generation, Trust};
use crate::plan::Plan;
use crate::plan::facts::MessageTls;
use crate::reason::Reason;
use crate::rules::identity::IdentityId;
use crate::rules::tls_limits::TlsLimits;

pub use self::identities::ServerIdentities;
use self::identities::{ClientIdentities, ClientIdentity};
use self::limits::judge_limits;
pub use self::limits::{limited, limits_verdict_of_io};
use self::verify::{AnyClient, PlanVerifier};

/// Most configurations that a [`ClientTls`] keeps, unless set. The one least recently used goes
/// first.
pub const DEFAULT_MAX_CONFIGS: usize = 1024;
/// Most sessions that one configuration keeps: rustls counts eight tickets a server. A plan is for
/// one host, so that only hosts without a name share a configuration.
const SESSIONS_PER_CONFIG: usize = 4 * 8;

/// Why a TLS configuration cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The connector names an identity that was not added. Another one, or none, is not used
    /// instead.
    #[error("the client identity {0} is not loaded")]
    UnknownIdentity(IdentityId),
    /// The host's name is no server name to rustls.
    #[error("{0} cannot be the name of a TLS server")]
    ServerName(Host),
    /// The plan has a check that no raw public key can pass, or none that has to pass.
    #[error("the plan does not take a raw public key")]
    RawKeyNotTaken,
    /// The provider has nothing that the connector's limits allow.
    #[error("the TLS library of this side cannot meet the connector's limits: {0}")]
    LimitsNotMet(TlsLimits),
    /// The provider does not tell the public part of this key.
    #[error("the public key of the identity is not known to the provider")]
    NoPublicKey,
    /// A server without any certificate could not make a handshake.
    #[error("the server needs at least one certificate")]
    NoIdentity,
    /// rustls refuses the provider or the key.
    #[error(transparent)]
    Rustls(#[from] Error),
}

impl TlsConfigError {
    /// Why there is no TLS with this host: a reason of [`Fault::Local`](crate::Fault::Local), but
    /// for a host whose name TLS cannot carry.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownIdentity(_) => Reason::IdentityMissing,
            Self::ServerName(_) => Reason::HandshakeFailed,
            Self::RawKeyNotTaken
            | Self::LimitsNotMet(_)
            | Self::NoPublicKey
            | Self::NoIdentity
            | Self::Rustls(_) => Reason::TlsUnavailable,
        }
    }
}

/// Client configurations, made from plans and cached.
#[derive(Debug)]
pub struct ClientTls {
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
    identities: ClientIdentities,
    key_log: Option<Arc<dyn KeyLog>>,
    max_configs: usize,
    cache: Mutex<Cache>,
}

/// Everything on which a configuration depends; compared in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    plan: Plan,
    /// The name and the turn of the client identity: a replaced one has another turn.
    identity: Option<(IdentityId, u64)>,
    trust: Generation,
    hello: Hello,
}

/// What a ClientHello asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hello {
    /// A certificate.
    Usual,
    /// A raw public key.
    RawKey,
    /// A certificate, with as little in the ClientHello as is possible.
    Plain,
}

impl Hello {
    const ALL: [Self; 3] = [Self::Usual, Self::RawKey, Self::Plain];
}

#[derive(Debug, Default)]
struct Cache {
    configs: HashMap<Key, (Arc<ClientConfig>, u64)>,
    clock: u64,
}

impl ClientTls {
    /// TLS 1.2 and 1.3 with the suites and groups of this provider, and the time of the system.
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            time: Arc::new(DefaultTimeProvider),
            identities: ClientIdentities::default(),
            key_log: None,
            max_configs: DEFAULT_MAX_CONFIGS,
            cache: Mutex::default(),
        }
    }

    /// The provider of suites, groups and random numbers.
    pub fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Takes the time from this provider.
    #[must_use]
    pub fn with_time_provider(mut self, time: Arc<dyn TimeProvider>) -> Self {
        self.time = time;
        self
    }

    /// The time by which handshakes are judged, for [`judge_session`]; `None` if the provider has
    /// none now.
    pub fn now(&self) -> Option<UnixTime> {
        self.time.current_time()
    }

    /// Keeps at most this many configurations, and at least one.
    #[must_use]
    pub fn with_max_configs(mut self, max_configs: usize) -> Self {
        self.max_configs = max_configs.max(1);
        self
    }

    /// Writes the secrets of each session to the file that the environment variable `SSLKEYLOGFILE`
    /// names, if it is set, so that a tool such as Wireshark can decrypt recorded connections.
    /// Without this call no secret is written, whatever the environment says.
    #[must_use]
    pub fn with_key_log_file(mut self) -> Self {
        self.key_log = Some(Arc::new(KeyLogFile::new()));
        self
    }

    /// Adds a client identity; [`CertifiedKey::from_der`] makes one. It replaces the identity that
    /// had this name before, also while deliveries run: the next handshake shows the new one, and
    /// no session of the old one is resumed.
    pub fn add_identity(&self, id: IdentityId, identity: Arc<CertifiedKey>) {
        self.identities.put(&id, identity);
        // The turn keeps the old configurations from being used again; this frees them.
        self.lock().configs.retain(|key, _| key.identity.as_ref().is_none_or(|(it, _)| *it != id));
    }

    /// The names of the client identities, in order.
    pub fn identities(&self) -> Vec<IdentityId> {
        self.identities.names()
    }

    /// The client identity that has this name now.
    pub fn current_identity(&self, id: &IdentityId) -> Option<Arc<CertifiedKey>> {
        self.identities.find(id).map(|identity| identity.key)
    }

    /// The identity that is loaded under this name now.
    fn identity(&self, id: Option<&IdentityId>) -> Result<Option<ClientIdentity>, TlsConfigError> {
        let unknown = |id: &IdentityId| TlsConfigError::UnknownIdentity(id.clone());
        id.map(|id| self.identities.find(id).ok_or_else(|| unknown(id))).transpose()
    }

    /// The configuration for a plan, with the identity of the connector, if it has one.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError::UnknownIdentity`], or what rustls says about the provider.
    pub fn config(
        &self,
        plan: &Plan,
        identity: Option<&IdentityId>,
        trust: &Arc<LiveTrust>,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        self.cached(plan, identity, trust, Hello::Usual)
    }

    /// The configuration for the second try after a failed handshake: without post-quantum groups,
    /// whose key shares make a ClientHello larger than one packet, and without resumption. The
    /// checks of the plan are the same.
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config).
    pub fn plain_hello_config(
        &self,
        plan: &Plan,
        identity: Option<&IdentityId>,
        trust: &Arc<LiveTrust>,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        self.cached(plan, identity, trust, Hello::Plain)
    }

    /// The configuration that asks the server for a raw public key in place of a certificate, in
    /// TLS 1.3. See the [module](self) for when that is wise. Judge the session with
    /// [`judge_raw_key_session`].
    ///
    /// # Errors
    ///
    /// [`TlsConfigError::RawKeyNotTaken`] unless the plan [takes one](Plan::takes_raw_key), or as
    /// [`config`](Self::config).
    pub fn raw_key_config(
        &self,
        plan: &Plan,
        identity: Option<&IdentityId>,
        trust: &Arc<LiveTrust>,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        match plan.takes_raw_key() {
            true => self.cached(plan, identity, trust, Hello::RawKey),
            false => Err(TlsConfigError::RawKeyNotTaken),
        }
    }

    fn cached(
        &self,
        plan: &Plan,
        identity: Option<&IdentityId>,
        trust: &Arc<LiveTrust>,
        hello: Hello,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let loaded = self.identity(identity)?;
        let key = Key::new(plan, identity.zip(loaded.as_ref()), trust, hello);
        if let Some(config) = self.lock().get(&key) {
            return Ok(config);
        }
        let config = Arc::new(self.build(&key, loaded, trust)?);
        Ok(self.lock().insert(key, config, self.max_configs))
    }

    /// Drops the configurations for a plan, and with them the sessions that could be resumed: for
    /// when a resumed session is judged again and is no longer good.
    pub fn forget(&self, plan: &Plan, identity: Option<&IdentityId>, trust: &Arc<LiveTrust>) {
        // Of an identity that is not loaded there is no configuration.
        let Ok(loaded) = self.identity(identity) else { return };
        let mut cache = self.lock();
        for hello in Hello::ALL {
            let key = Key::new(plan, identity.zip(loaded.as_ref()), trust, hello);
            cache.configs.remove(&key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The cache is in order whenever the lock is free: nothing in it panics half-way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(
        &self,
        key: &Key,
        identity: Option<ClientIdentity>,
        trust: &Arc<LiveTrust>,
    ) -> Result<ClientConfig, TlsConfigError> {
        let verifier = PlanVerifier {
            judges: key.plan.message() != MessageTls::Required || key.identity.is_some(),
            plan: key.plan.clone(),
            trust: Arc::clone(trust),
            algorithms: self.provider.signature_verification_algorithms,
            raw_key: key.hello == Hello::RawKey,
        };
        let provider = limited(&self.provider, key.plan.limits())?;
        let provider = match key.hello {
            Hello::Plain => Arc::new(without_post_quantum(&provider)),
            Hello::Usual | Hello::RawKey => provider,
        };
        let builder = ClientConfig::builder_with_details(provider, Arc::clone(&self.time));
        let builder = match key.hello {
            Hello::RawKey => builder.with_protocol_versions(&[&rustls::version::TLS13])?,
            Hello::Usual | Hello::Plain => builder.with_safe_default_protocol_versions()?,
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let resolver = SingleCertAndKey::from(identity.key);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        if let Some(key_log) = &self.key_log {
            config.key_log = Arc::clone(key_log);
        }
        // One store per configuration: a session is never resumed under another plan, identity or
        // trust.
        config.resumption = match key.hello {
            Hello::Plain => Resumption::disabled(),
            Hello::Usual | Hello::RawKey => Resumption::in_memory_sessions(SESSIONS_PER_CONFIG),
        };
        Ok(config)
    }
}

/// The same provider without groups of post-quantum key exchange. A provider that has no other
/// groups keeps them, because its administrator wants nothing less.
fn without_post_quantum(provider: &CryptoProvider) -> CryptoProvider {
    let is_classical = |name: NamedGroup| {
        matches!(
            name,
            NamedGroup::X25519
                | NamedGroup::X448
                | NamedGroup::secp256r1
                | NamedGroup::secp384r1
                | NamedGroup::secp521r1
                | NamedGroup::FFDHE2048
                | NamedGroup::FFDHE3072
                | NamedGroup::FFDHE4096
                | NamedGroup::FFDHE6144
                | NamedGroup::FFDHE8192
        )
    };
    let mut plain = provider.clone();
    plain.kx_groups.retain(|group| is_classical(group.name()));
    match plain.kx_groups.is_empty() {
        true => provider.clone(),
        false => plain,
    }
}

impl Key {
    fn new(
        plan: &Plan,
        identity: Option<(&IdentityId, &ClientIdentity)>,
        trust: &Arc<LiveTrust>,
        hello: Hello,
    ) -> Self {
        Self {
            plan: plan.clone(),
            identity: identity.map(|(id, loaded)| (id.clone(), loaded.turn)),
            trust: trust.generation(),
            hello,
        }
    }
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<ClientConfig>> {
        self.clock += 1;
        let (config, used) = self.configs.get_mut(key)?;
        *used = self.clock;
        Some(Arc::clone(config))
    }

    /// Keeps the configuration that was inserted first, because sessions are resumed within one
    /// configuration only.
    fn insert(&mut self, key: Key, config: Arc<ClientConfig>, max: usize) -> Arc<ClientConfig> {
        if let Some(config) = self.get(&key) {
            return config;
        }
        if self.configs.len() >= max {
            let oldest = self.configs.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.configs.remove(&oldest);
            }
        }
        self.configs.insert(key, (Arc::clone(&config), self.clock));
        config
    }
}

/// The server name of a host for rustls: the plan's server name indication, or an address, for
/// which rustls sends none.
///
/// # Errors
///
/// [`TlsConfigError::ServerName`] if the name is none to rustls, as with a last label of digits.
pub fn server_name(plan: &Plan, host: &Host) -> Result<ServerName<'static>, TlsConfigError> {
    let name = match (plan.sni(), host) {
        (Some(name), _) | (None, Host::Name(name)) => name,
        (None, Host::Address(address)) => return Ok(ServerName::IpAddress((*address).into())),
    };
    DnsName::try_from(name.as_str().to_owned())
        .map(ServerName::DnsName)
        .map_err(|_| TlsConfigError::ServerName(host.clone()))
}

/// Judges the peer of a session, new or resumed, by the chain that the session holds, and the
/// session by the [limits](Plan::limits) of the plan.
pub fn judge_session(plan: &Plan, session: &CommonState, trust: &Trust, now: UnixTime) -> Verdict {
    let verdict = plan.judge(session.peer_certificates().unwrap_or_default(), trust, now);
    judge_limits(plan, session, verdict)
}

/// Judges the peer of a session of a [raw key configuration](ClientTls::raw_key_config).
pub fn judge_raw_key_session(plan: &Plan, session: &CommonState) -> Verdict {
    // Anything but one key is judged as an empty key, which passes no check.
    let key = match session.peer_certificates().unwrap_or_default() {
        [key] => SubjectPublicKeyInfoDer::from(key.as_ref()),
        _ => SubjectPublicKeyInfoDer::from(&[][..]),
    };
    judge_limits(plan, session, plan.judge_raw_key(&key))
}

/// The verdict for which a handshake was ended; `None` if it failed for anything else.
pub fn verdict_of(error: &Error) -> Option<&Verdict> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            other.downcast_ref()
        }
        _ => None,
    }
}

/// The verdict for which a handshake was ended, in an error that is wrapped into an
/// [`std::io::Error`].
pub fn verdict_of_io(error: &std::io::Error) -> Option<&Verdict> {
    verdict_of(error.get_ref()?.downcast_ref()?)
}

/// Whether a handshake failed for a fault of this side, about which the peer can do nothing: no
/// time, no random numbers, a key that does not sign. Such a failure is no reason for clear text.
pub fn is_local_fault(error: &Error) -> bool {
    matches!(
        error,
        Error::EncryptError
            | Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::General(_)
            | Error::BadMaxFragmentSize
            | Error::InconsistentKeys(_)
    )
}

/// The same for an error that an adapter wrapped into an [`std::io::Error`].
pub fn is_local_fault_io(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(is_local_fault)
}

/// The names of what was negotiated; `None` before the handshake is over.
pub fn session_names(session: &CommonState) -> Option<ShownTls<'static>> {
    let version = match session.protocol_version()? {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => return None,
    };
    let suite = session.negotiated_cipher_suite()?.suite();
    // rustls has names of its own for the suites of TLS 1.3 (RFC 8446, section B.4).
    let cipher = match suite {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        rustls::CipherSuite::TLS13_AES_128_CCM_SHA256 => "TLS_AES_128_CCM_SHA256",
        rustls::CipherSuite::TLS13_AES_128_CCM_8_SHA256 => "TLS_AES_128_CCM_8_SHA256",
        other => other.as_str()?,
    };
    let group = session.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
    Some(ShownTls::new(version, cipher, group))
}

/// Whether a server asks its clients for certificates.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// No CertificateRequest is sent.
    None,
    /// The server asks for a certificate and does not insist: a certificate is judged by
    /// [`admit`](crate::judge::admit::admit()).
    Request {
        /// The authorities to name to the client; empty: it may choose freely.
        hints: Vec<DistinguishedName>,
    },
}

/// A server configuration: TLS 1.2 and 1.3 with the suites and groups of this provider, and one
/// certificate, or the [`ServerIdentities`] from which the client's wishes choose.
///
/// # Errors
///
/// What rustls says about the provider.
pub fn server_config(
    identity: impl Into<ServerIdentities>,
    client_certificates: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let algorithms = provider.signature_verification_algorithms;
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(server(builder, algorithms, client_certificates, Arc::new(identity.into())))
}

fn server(
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    client_certificates: ClientCertificates,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Arc<ServerConfig> {
    let builder = match client_certificates {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Request { hints } => {
            builder.with_client_cert_verifier(Arc::new(AnyClient { hints, algorithms }))
        }
    };
    Arc::new(builder.with_cert_resolver(resolver))
}

/// A server configuration that shows the raw public key of this key, in TLS 1.3, and no certificate
/// (RFC 7250). A client that did not offer to take one is refused: see [`offers_raw_key`].
///
/// # Errors
///
/// [`TlsConfigError::NoPublicKey`] if the provider does not tell it, or what rustls says about the
/// provider.
pub fn raw_key_server_config(
    key: Arc<dyn SigningKey>,
    client_certificates: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let public = key.public_key().ok_or(TlsConfigError::NoPublicKey)?;
    let shown = CertificateDer::from(public.as_ref().to_vec());
    let identity = Arc::new(CertifiedKey::new(vec![shown], key));
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let resolver = AlwaysResolvesServerRawPublicKeys::new(identity);
    Ok(server(builder, algorithms, client_certificates, Arc::new(resolver)))
}

/// The same configuration, whose sessions also write their secrets to the file that the environment
/// variable `SSLKEYLOGFILE` names, if it is set, as [`ClientTls::with_key_log_file`] does for
/// clients.
pub fn with_key_log_file(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.key_log = Arc::new(KeyLogFile::new());
    Arc::new(config)
}

/// Whether a client takes the server's raw public key: for a listener that has a configuration of
/// either kind.
pub fn offers_raw_key(hello: &ClientHello<'_>) -> bool {
    hello.server_cert_types().is_some_and(|types| types.contains(&CertificateType::RawPublicKey))
}
