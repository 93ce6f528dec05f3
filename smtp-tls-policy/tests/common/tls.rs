//! rustls at both ends, in memory.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, Error, ServerConnection, SupportedProtocolVersion};
use smtp_tls_policy::plan::Plan;
use smtp_tls_policy::tls::*;
use smtp_tls_policy::{Host, pki_types};

use super::NOW;

pub(crate) const HOST: &str = "mx.example.com";
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[derive(Debug)]
pub(crate) struct Clock(pub(crate) AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A provider that offers one protocol version, which is that of its suites.
pub(crate) fn provider_of(version: &SupportedProtocolVersion) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.version().version == version.version);
    Arc::new(provider)
}

pub(crate) fn signing_key(key: &rcgen::KeyPair) -> Arc<dyn SigningKey> {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    aws_lc_rs::sign::any_supported_type(&der).unwrap()
}

pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &rcgen::KeyPair,
) -> Arc<CertifiedKey> {
    // `CertifiedKey::new` asks nothing of the certificate, so that any can be shown.
    Arc::new(CertifiedKey::new(chain, signing_key(key)))
}

pub(crate) fn client_tls(provider: Arc<CryptoProvider>) -> (ClientTls, Arc<Clock>) {
    let clock = Arc::new(Clock(AtomicU64::new(NOW)));
    let tls = ClientTls::new(provider).with_time_provider(clock.clone());
    (tls, clock)
}

pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// Moves bytes until the handshake is over on both sides, or fails on one.
pub(crate) fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    plan: &Plan,
) -> Result<Pair, Error> {
    let name = server_name(plan, &Host::parse(HOST).unwrap()).unwrap();
    let mut pair = Pair {
        client: ClientConnection::new(client, name).unwrap(),
        server: ServerConnection::new(server).unwrap(),
    };
    for _ in 0..10 {
        let mut wire = Vec::new();
        while pair.client.wants_write() {
            pair.client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            pair.server.read_tls(&mut rest).unwrap();
            pair.server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while pair.server.wants_write() {
            pair.server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            pair.client.read_tls(&mut rest).unwrap();
            pair.client.process_new_packets()?;
        }
    }
    assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
    pair.client.writer().write_all(b"EHLO").unwrap();
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    pair.server.read_tls(&mut &wire[..]).unwrap();
    pair.server.process_new_packets()?;
    let mut read = [0; 4];
    pair.server.reader().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"EHLO");
    Ok(pair)
}
