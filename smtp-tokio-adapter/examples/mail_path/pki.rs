//! The certificate authorities, certificates and CRLs of the run, made new each time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CertificateRevocationList, CertificateRevocationListParams,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tokio_adapter::test_kit;
use time::OffsetDateTime;

use crate::Failed;

const DAY: Duration = Duration::from_secs(24 * 3600);
const REVOKED: u64 = 4711;
/// Revoked by the list that writes the issuer's name in another string type.
const REVOKED_ELSEWHERE: u64 = 4712;

/// What is wrong with a certificate, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    Good,
    /// Issued by a CA that only some connectors trust.
    PrivateCa,
    /// The same, and the CA's own certificate is sent along.
    PrivateCaChain,
    SelfSigned,
    Expired,
    NotYetValid,
    Revoked,
    /// Revoked by a list that writes its issuer as a PrintableString, while certificates have a
    /// UTF8String.
    RevokedElsewhere,
    WrongName,
    /// The name is in the Common Name, and there is no SAN.
    CnOnly,
    /// Meant for servers only, as public authorities issue them.
    ServerOnly,
}

const PUBLIC_NAME: &str = "Example Public Root";

/// The public authority, and one that only some connectors trust.
pub struct Pki {
    public: test_kit::Pki,
    private: test_kit::Pki,
    provider: Arc<CryptoProvider>,
}

/// The roots that the private-ca connector trusts.
pub fn private_roots() -> RootsId {
    RootsId::new("contoso-private")
}

impl Pki {
    pub fn new(provider: Arc<CryptoProvider>) -> Result<Self, Failed> {
        Ok(Self {
            public: test_kit::Pki::named(PUBLIC_NAME),
            private: test_kit::Pki::named("Contoso Private Root"),
            provider,
        })
    }

    /// What all hosts trust: the public root with its lists, and the private root in a set of its
    /// own.
    pub fn trust(&self) -> Result<Trust, Failed> {
        let mut trust = Trust::from_der([self.public.root()])?;
        trust.add_root_der(&private_roots(), self.private.root())?;
        let crl = revoking(REVOKED, self.public.issuer())?;
        trust.add_crl_der(&RootsId::public(), crl.der())?;
        let printable = DnValue::PrintableString(PUBLIC_NAME.try_into()?);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, printable);
        let key = KeyPair::try_from(self.public.issuer().key().serialize_der())?;
        let crl = revoking(REVOKED_ELSEWHERE, &Issuer::new(params, key))?;
        trust.add_crl_der(&RootsId::public(), crl.der())?;
        Ok(trust)
    }

    /// The list of the public root that should have had a successor a day ago.
    pub fn stale_list(&self) -> Result<Vec<u8>, Failed> {
        let next_update = OffsetDateTime::from(SystemTime::now()) - DAY;
        Ok(revoking_until(REVOKED, self.public.issuer(), next_update)?.der().to_vec())
    }

    /// The certificate of the private CA.
    pub fn private_ca(&self) -> &CertificateDer<'static> {
        self.private.root()
    }

    /// A certificate and its key for a host, good for a server and for a client.
    pub fn identity(&self, kind: Certificate, host: &str) -> Result<Arc<CertifiedKey>, Failed> {
        let key = KeyPair::generate()?;
        let now = OffsetDateTime::from(SystemTime::now());
        let name = if kind == Certificate::WrongName { "elsewhere.example" } else { host };
        let sans = if kind == Certificate::CnOnly { vec![] } else { vec![name.to_owned()] };
        let mut params = CertificateParams::new(sans)?;
        params.distinguished_name = common_name(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match kind {
            Certificate::ServerOnly => vec![ExtendedKeyUsagePurpose::ServerAuth],
            _ => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = match kind {
            Certificate::Expired => (now - 20 * DAY, now - 10 * DAY),
            Certificate::NotYetValid => (now + 10 * DAY, now + 20 * DAY),
            _ => (now - DAY, now + 30 * DAY),
        };
        params.serial_number = match kind {
            Certificate::Revoked => Some(SerialNumber::from(REVOKED)),
            Certificate::RevokedElsewhere => Some(SerialNumber::from(REVOKED_ELSEWHERE)),
            _ => None,
        };
        let certificate = match kind {
            Certificate::SelfSigned => params.self_signed(&key)?,
            Certificate::PrivateCa | Certificate::PrivateCaChain => {
                params.signed_by(&key, self.private.issuer())?
            }
            _ => params.signed_by(&key, self.public.issuer())?,
        };
        let mut chain = vec![certificate.der().clone()];
        chain.extend((kind == Certificate::PrivateCaChain).then(|| self.private.root().clone()));
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(Failed::from_text)?;
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &self.provider)?))
    }
}

/// A current list that revokes one certificate.
fn revoking(
    serial: u64,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<CertificateRevocationList, Failed> {
    let next_update = OffsetDateTime::from(SystemTime::now()) + 7 * DAY;
    revoking_until(serial, issuer, next_update)
}

/// The same with another date for its successor.
fn revoking_until(
    serial: u64,
    issuer: &Issuer<'_, KeyPair>,
    next_update: OffsetDateTime,
) -> Result<CertificateRevocationList, Failed> {
    let issued = next_update - 8 * DAY;
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: issued,
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: issued,
        next_update,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer)?)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
