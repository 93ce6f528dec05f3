//! A certificate authority for tests.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::tls::{ClientCertificates, server_config};

/// The crypto provider of the test kit: aws-lc-rs, or ring if that feature is off.
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

/// A certificate authority, made new each time, that issues certificates for tests.
#[derive(Debug)]
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Issued for the host `elsewhere.example`.
    WrongName,
    /// Expired in 2001.
    Expired,
    /// Valid from the year 4000.
    NotYetValid,
    /// Issued by itself.
    SelfSigned,
}

impl Pki {
    /// An authority with the name `Test Root`.
    ///
    /// # Panics
    ///
    /// Panics if the system has no random numbers.
    pub fn new() -> Self {
        Self::named("Test Root")
    }

    /// An authority with this Common Name.
    ///
    /// # Panics
    ///
    /// Panics if the system has no random numbers.
    pub fn named(name: &str) -> Self {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = key();
        let root = params.self_signed(&key).expect(SIGNS);
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { issuer: Issuer::new(params, key), root, root_pem }
    }

    /// The certificate of the authority.
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The certificate of the authority in PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The issuer, for certificates and lists that `rcgen` signs.
    pub const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A trust store with this authority as the only public root.
    ///
    /// # Panics
    ///
    /// Never: the authority can serve as a root.
    pub fn trust(&self) -> Trust {
        Trust::from_der([&self.root]).expect("the authority can serve as a root")
    }

    /// A good certificate for a host, and its key.
    ///
    /// # Panics
    ///
    /// Panics if the host is not ASCII, or the system has no random numbers.
    pub fn identity(&self, host: &str) -> Arc<CertifiedKey> {
        self.sign(&params(&[host]))
    }

    /// A certificate for a host with something wrong, and its key.
    ///
    /// # Panics
    ///
    /// Panics if the host is not ASCII, or the system has no random numbers.
    pub fn flawed(&self, flaw: Flaw, host: &str) -> Arc<CertifiedKey> {
        let mut params =
            params(&[if flaw == Flaw::WrongName { "elsewhere.example" } else { host }]);
        let between = |from, to| (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        match flaw {
            Flaw::WrongName => {}
            Flaw::Expired => (params.not_before, params.not_after) = between(2000, 2001),
            Flaw::NotYetValid => (params.not_before, params.not_after) = between(4000, 4001),
            Flaw::SelfSigned => {
                let key = key();
                let certificate = params.self_signed(&key).expect(SIGNS);
                return certified(certificate.der().clone(), &key);
            }
        }
        self.sign(&params)
    }

    /// A certificate with these parameters, and its key.
    ///
    /// # Panics
    ///
    /// Panics if the parameters cannot be encoded, or the system has no random numbers.
    pub fn sign(&self, params: &CertificateParams) -> Arc<CertifiedKey> {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect(SIGNS);
        certified(certificate.der().clone(), &key)
    }

    /// A good certificate for a host, and its private key, both in PEM.
    ///
    /// # Panics
    ///
    /// Panics if the host is not ASCII, or the system has no random numbers.
    pub fn identity_pem(&self, host: &str) -> (String, String) {
        let key = key();
        let certificate = params(&[host]).signed_by(&key, &self.issuer).expect(SIGNS);
        (certificate.pem(), key.serialize_pem())
    }

    /// A revocation list in DER with this number, which revokes these serial numbers. It is from
    /// 2024, and its successor is due in the year 4096.
    ///
    /// # Panics
    ///
    /// Panics if the system has no random numbers.
    pub fn crl(&self, number: u64, serials: &[u64]) -> Vec<u8> {
        let issued = date_time_ymd(2024, 1, 1);
        let revoked = |&serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: issued,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: issued,
            next_update: date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect(SIGNS).der().to_vec()
    }

    /// The TLS configuration of a server with a good certificate, which asks for none.
    ///
    /// # Panics
    ///
    /// Panics if the host is not ASCII, or the system has no random numbers.
    pub fn server_config(&self, host: &str) -> Arc<rustls::ServerConfig> {
        server_config(self.identity(host), ClientCertificates::None, provider())
            .expect("the provider has the default versions")
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

const SIGNS: &str = "parameters that can be encoded, and random numbers";

fn params(hosts: &[&str]) -> CertificateParams {
    let names: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("a host name in ASCII");
    params.distinguished_name = DistinguishedName::new();
    for host in hosts {
        params.distinguished_name.push(DnType::CommonName, *host);
    }
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("random numbers")
}

fn certified(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
    let identity = CertifiedKey::from_der(vec![certificate], key, &provider());
    Arc::new(identity.expect("a key that rcgen made"))
}
