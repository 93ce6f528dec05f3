//! Certificates in files, and a client that tells which of them a server shows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName};
use smtp_tokio_adapter::IdentityFiles;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::{Pki, provider};

/// Writes a certificate for these names and its key into `FILE.pem` and `FILE.key`.
pub(crate) fn write(
    pki: &Pki,
    folder: &Path,
    file: &str,
    names: &[&str],
    key: &KeyPair,
) -> IdentityFiles {
    let path = |suffix| folder.join(format!("{file}.{suffix}"));
    let files = IdentityFiles::new(path("pem"), path("key"));
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(key, pki.issuer()).unwrap();
    std::fs::write(&files.certificates, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

pub(crate) fn ecdsa() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn rsa() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap()
}

/// A client that verifies by this root, and resumes no session.
pub(crate) fn client(pki: &Pki, provider: Arc<CryptoProvider>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(pki.root().clone()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// The certificate that a server with TLS from the first octet shows.
pub(crate) async fn shown(
    client: &TlsConnector,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<CertificateDer<'static>> {
    shown_on(client, TcpStream::connect(address).await?, name).await
}

/// The same after STARTTLS.
pub(crate) async fn shown_on(
    client: &TlsConnector,
    stream: TcpStream,
    name: &str,
) -> std::io::Result<CertificateDer<'static>> {
    let stream = client.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

/// The certificate in these files.
pub(crate) fn leaf(files: &IdentityFiles) -> CertificateDer<'static> {
    files.load(&provider()).unwrap().cert[0].clone()
}

/// A provider that verifies only these kinds of signatures.
pub(crate) fn verifying(rsa: bool) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&provider());
    let algorithms = provider.signature_verification_algorithms;
    let kept: Vec<_> = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| format!("{scheme:?}").starts_with("RSA") == rsa)
        .copied()
        .collect();
    let mapping = Box::leak(kept.into_boxed_slice());
    // The chain is signed by an ECDSA root all the same.
    provider.signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: algorithms.all, mapping };
    Arc::new(provider)
}
