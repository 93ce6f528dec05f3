//! Verifiers of certificates and handshake signatures for rustls.

use std::sync::Arc;

use pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use webpki::RawPublicKeyEntity;

use crate::judge::verdict::Standing;
use crate::pki::live_trust::LiveTrust;
use crate::pki::x509;
use crate::plan::Plan;
use crate::rules::posture::Weight;

/// Judges a server's certificate by one plan, inside the handshake.
#[derive(Debug)]
pub(super) struct PlanVerifier {
    /// Whether the chain is judged in the handshake. Otherwise
    /// [`judge_session`](super::judge_session) judges it afterwards.
    pub(super) judges: bool,
    pub(super) plan: Plan,
    pub(super) trust: Arc<LiveTrust>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// The server shows a raw public key and no certificate (RFC 7250); rustls then calls the key
    /// its certificate.
    pub(super) raw_key: bool,
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
        let is_recorded = |check: &crate::plan::check::Check| check.weight() == Weight::Recorded;
        if !self.judges || self.plan.checks().iter().all(is_recorded) {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict = match self.raw_key {
            true => self.plan.judge_raw_key(&raw_key_of(end_entity, intermediates)?),
            false => {
                let chain = std::iter::once(end_entity).chain(intermediates);
                let chain: Vec<_> = chain.map(|der| CertificateDer::from(der.as_ref())).collect();
                self.plan.judge(&chain, &self.trust.load(), now)
            }
        };
        match verdict.standing() {
            Standing::Acceptable => Ok(ServerCertVerified::assertion()),
            Standing::NotTls | Standing::Refused | Standing::LocalFault => Err(
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(verdict)))),
            ),
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
        match self.raw_key {
            true => {
                let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
                verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
            }
            false => verify_tls13(&self.algorithms, message, cert, dss),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw_key
    }
}

/// RFC 8446, section 4.4.2: "If the RawPublicKey certificate type was negotiated, then the
/// certificate_list MUST contain no more than one CertificateEntry".
pub(super) fn raw_key_of<'a>(
    first: &'a CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    match others.is_empty() {
        true => Ok(SubjectPublicKeyInfoDer::from(first.as_ref())),
        false => Err(CertificateError::BadEncoding.into()),
    }
}

/// Accepts any client certificate whose key the client holds, and clients without one. The
/// certificate is judged at MAIL.
#[derive(Debug)]
pub(super) struct AnyClient {
    pub(super) hints: Vec<DistinguishedName>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
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

/// Verifies the signature of a TLS 1.3 handshake with the key of the certificate. The scheme names
/// the curve (RFC 8446, section 4.2.3), and rustls refuses those that TLS 1.3 does not have.
fn verify_tls13(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = x509::spki(cert).ok_or(CertificateError::BadEncoding)?;
    verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms)
}

/// Verifies the signature of a TLS 1.2 handshake with the key of the certificate. The scheme names
/// the hash and the kind of key, and not the curve (RFC 5246, section 7.4.1.4.1): every algorithm
/// of the scheme is tried.
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
