//! Verifiers and configurations for rustls 0.23. Nothing else in this crate knows rustls.
//!
//! - Signatures of handshakes are verified at every floor, by the key that the certificate holds, also where the
//!   certificate itself is not looked at.
//! - A failed check of weight [`NotTls`](crate::Weight::NotTls) or [`Refuse`](crate::Weight::Refuse) ends the handshake; the error
//!   carries the [`Verdict`], and [`verdict_of`] finds it again. Any other error is a failed handshake.
//! - For a message with REQUIRETLS the handshake goes on, for its server is to hear QUIT (RFC 8689, 4.2.1), and
//!   [`judge_session`] alone has the word. Not where a client identity would be shown to who is not known yet.
//! - A configuration belongs to one plan, one client identity and one generation of trust, and its sessions are
//!   resumed by nobody else.
//! - A resumed session never called the verifier, and recorded checks have no part in the handshake either: call
//!   [`judge_session`] after every handshake.
//!
//! ```
//! use std::sync::Arc;
//! use smtp_tls_policy::rustls::{ClientTls, judge_session, server_name};
//! use smtp_tls_policy::*;
//!
//! # let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::Deterministic);
//! # let host = Host::parse("mx.example.com")?;
//! # let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx))?;
//! let provider = Arc::new(::rustls::crypto::aws_lc_rs::default_provider());
//! let tls = ClientTls::new(provider);
//! let trust: Arc<dyn TrustStore> = Arc::new(Trust::new());
//! let config = tls.config(&plan, connector.identity.as_ref(), &trust)?;
//! let session = ::rustls::ClientConnection::new(config, server_name(&plan, &host)?)?;
//! // ... the handshake; then, whatever kind of handshake it was:
//! let verdict = judge_session(&plan, &session, &*trust, pki_types::UnixTime::now());
//! if verdict.standing() != Standing::Acceptable {
//!     tls.forget(&plan, connector.identity.as_ref(), &trust); // and QUIT
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use ::rustls::client::{ClientConfig, Resumption};
use ::rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use ::rustls::server::ServerConfig;
use ::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use ::rustls::sign::{CertifiedKey, SingleCertAndKey};
use ::rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use ::rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use webpki::RawPublicKeyEntity;

use crate::connector::IdentityId;
use crate::domain::Host;
use crate::plan::{Plan, Requiretls};
use crate::posture::Weight;
use crate::trust::{Generation, TrustStore};
use crate::verdict::{Standing, Verdict};
use crate::x509;

/// Most configurations that a [`ClientTls`] keeps, unless set. The one least recently used goes first.
pub const DEFAULT_MAX_CONFIGS: usize = 1024;
/// Most sessions that one configuration keeps: rustls counts eight tickets a server. A plan is for one host, so that only
/// hosts without a name share a configuration.
const SESSIONS_PER_CONFIG: usize = 4 * 8;

/// Why there is no TLS configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The connector names an identity that was not added. Another one, or none, is not used instead.
    #[error("the client identity {0} is not loaded")]
    UnknownIdentity(IdentityId),
    /// The host's name is no server name to rustls.
    #[error("{0} cannot be the name of a TLS server")]
    ServerName(Host),
    /// rustls refuses the provider or the key.
    #[error(transparent)]
    Rustls(#[from] Error),
}

/// Client configurations, made from plans and cached.
#[derive(Debug)]
pub struct ClientTls {
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
    identities: HashMap<IdentityId, Arc<CertifiedKey>>,
    max_configs: usize,
    cache: Mutex<Cache>,
}

/// Everything on which a configuration depends; compared in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    plan: Plan,
    identity: Option<IdentityId>,
    trust: Generation,
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
            identities: HashMap::new(),
            max_configs: DEFAULT_MAX_CONFIGS,
            cache: Mutex::default(),
        }
    }

    /// Takes the time from here.
    #[must_use]
    pub fn with_time_provider(mut self, time: Arc<dyn TimeProvider>) -> Self {
        self.time = time;
        self
    }

    /// The time by which handshakes are judged, for [`judge_session`]; `None` if the provider has none now.
    pub fn now(&self) -> Option<UnixTime> {
        self.time.current_time()
    }

    /// Keeps at most this many configurations, and at least one.
    #[must_use]
    pub fn with_max_configs(mut self, max_configs: usize) -> Self {
        self.max_configs = max_configs.max(1);
        self
    }

    /// Adds a client identity; [`CertifiedKey::from_der`] makes one. What had this name before is used no more.
    pub fn add_identity(&mut self, id: IdentityId, identity: Arc<CertifiedKey>) {
        let cache = self.cache.get_mut().unwrap_or_else(PoisonError::into_inner);
        cache.configs.retain(|key, _| key.identity.as_ref() != Some(&id));
        self.identities.insert(id, identity);
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
        trust: &Arc<dyn TrustStore>,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let key = Key { plan: plan.clone(), identity: identity.cloned(), trust: trust.current().generation() };
        if let Some(config) = self.lock().get(&key) {
            return Ok(config);
        }
        let config = Arc::new(self.build(&key, trust)?);
        Ok(self.lock().insert(key, config, self.max_configs))
    }

    /// Drops the configuration for a plan, and with it the sessions that could be resumed: for when a resumed session
    /// is judged again and is no longer good.
    pub fn forget(&self, plan: &Plan, identity: Option<&IdentityId>, trust: &Arc<dyn TrustStore>) {
        let key = Key { plan: plan.clone(), identity: identity.cloned(), trust: trust.current().generation() };
        self.lock().configs.remove(&key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The cache is in order whenever the lock is free: nothing in it panics half-way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self, key: &Key, trust: &Arc<dyn TrustStore>) -> Result<ClientConfig, TlsConfigError> {
        let verifier = PlanVerifier {
            judges: key.plan.requiretls() != Requiretls::Needed || key.identity.is_some(),
            plan: key.plan.clone(),
            trust: Arc::clone(trust),
            algorithms: self.provider.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &key.identity {
            None => builder.with_no_client_auth(),
            Some(id) => {
                let identity = self.identities.get(id).ok_or_else(|| TlsConfigError::UnknownIdentity(id.clone()))?;
                let resolver = SingleCertAndKey::from(Arc::clone(identity));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        // One store per configuration: a session is never resumed under another plan, identity or trust.
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_CONFIG);
        Ok(config)
    }
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<ClientConfig>> {
        self.clock += 1;
        let (config, used) = self.configs.get_mut(key)?;
        *used = self.clock;
        Some(Arc::clone(config))
    }

    /// Keeps the configuration of whoever was first, for sessions are resumed within one only.
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

/// The name to give to rustls for a host: the plan's server name indication; an address, for which rustls sends none.
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

/// Judges the peer of a session, new or resumed, by the chain that the session holds.
pub fn judge_session(plan: &Plan, session: &CommonState, trust: &dyn TrustStore, now: UnixTime) -> Verdict {
    plan.judge(session.peer_certificates().unwrap_or_default(), trust, now)
}

/// The verdict for which a handshake was ended; `None` if it failed for anything else.
pub fn verdict_of(error: &Error) -> Option<&Verdict> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref(),
        _ => None,
    }
}

/// The same for an error that an adapter wrapped into an [`std::io::Error`].
pub fn verdict_of_io(error: &std::io::Error) -> Option<&Verdict> {
    verdict_of(error.get_ref()?.downcast_ref()?)
}

/// The protocol version and cipher suite of a session, as registered by IANA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionNames {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
}

/// The names of what was negotiated; `None` before the handshake is over.
pub fn session_names(session: &CommonState) -> Option<SessionNames> {
    let version = match session.protocol_version()? {
        ::rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ::rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => return None,
    };
    let suite = session.negotiated_cipher_suite()?.suite();
    // rustls has names of its own for the suites of TLS 1.3 (RFC 8446, B.4).
    let cipher = match suite {
        ::rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        ::rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        ::rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        ::rustls::CipherSuite::TLS13_AES_128_CCM_SHA256 => "TLS_AES_128_CCM_SHA256",
        ::rustls::CipherSuite::TLS13_AES_128_CCM_8_SHA256 => "TLS_AES_128_CCM_8_SHA256",
        other => other.as_str()?,
    };
    Some(SessionNames { version, cipher })
}

/// Whether a server asks its clients for certificates.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// No CertificateRequest is sent.
    None,
    /// Asked for, never insisted on: what is shown is judged by [`admit`](crate::admit()).
    Request {
        /// The authorities to name to the client; empty: it may choose freely.
        hints: Vec<DistinguishedName>,
    },
}

/// A server configuration: TLS 1.2 and 1.3 with the suites and groups of this provider, and this certificate.
///
/// # Errors
///
/// What rustls says about the provider.
pub fn server_config(
    identity: Arc<CertifiedKey>,
    client_certificates: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match client_certificates {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Request { hints } => {
            builder.with_client_cert_verifier(Arc::new(AnyClient { hints, algorithms }))
        }
    };
    let resolver = SingleCertAndKey::from(identity);
    Ok(Arc::new(builder.with_cert_resolver(Arc::new(resolver))))
}

/// Judges a server's certificate by one plan, inside the handshake.
#[derive(Debug)]
struct PlanVerifier {
    /// Else [`judge_session`] does, after the handshake.
    judges: bool,
    plan: Plan,
    trust: Arc<dyn TrustStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PlanVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_recorded = |check: &crate::check::Check| check.weight() == Weight::Recorded;
        if !self.judges || self.plan.checks().iter().all(is_recorded) {
            return Ok(ServerCertVerified::assertion());
        }
        let chain: Vec<_> =
            std::iter::once(end_entity).chain(intermediates).map(|der| CertificateDer::from(der.as_ref())).collect();
        let verdict = self.plan.judge(&chain, &*self.trust, now);
        match verdict.standing() {
            Standing::Acceptable => Ok(ServerCertVerified::assertion()),
            Standing::NotTls | Standing::Refused => {
                Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(verdict)))))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(&self.algorithms, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Takes any client certificate whose key the client holds, or none; what it is worth is judged at MAIL.
#[derive(Debug)]
struct AnyClient {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(&self.algorithms, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies the signature of a TLS 1.3 handshake with the key of the certificate. The scheme names the curve
/// (RFC 8446, 4.2.3), and rustls refuses those that TLS 1.3 does not have.
fn verify_tls13(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = x509::spki(cert).ok_or(CertificateError::BadEncoding)?;
    verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms)
}

/// Verifies the signature of a TLS 1.2 handshake with the key of the certificate. The scheme names the hash and the
/// kind of key, and not the curve (RFC 5246, 7.4.1.4.1): every algorithm of the scheme is tried.
fn verify_tls12(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let candidates = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == dss.scheme)
        .map(|(_, candidates)| *candidates)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let spki = x509::spki(cert).ok_or(CertificateError::BadEncoding)?;
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
    candidates
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok())
        .then(HandshakeSignatureValid::assertion)
        .ok_or_else(|| CertificateError::BadSignature.into())
}
