//! Channel bindings (RFC 5056) of rustls sessions.

use std::sync::{Arc, Mutex, PoisonError};

use pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{ConnectionCommon, ProtocolVersion};
use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_tls_policy::pki::server_end_point;
use zeroize::Zeroizing;

/// RFC 9266, sections 4.1 and 4.2.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const OCTETS: usize = 32;

/// Every binding of a session whose handshake is over, the best first. `certificate` is the
/// server's.
pub(crate) fn bindings<D>(
    session: &ConnectionCommon<D>,
    certificate: Option<&CertificateDer<'_>>,
) -> Vec<ChannelBinding> {
    // RFC 9266, section 4.2: in TLS 1.2 the exporter is safe only with the extended master secret,
    // and rustls does not say whether there is one.
    let is_tls13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let exporter = is_tls13.then(|| {
        let mut exported = Zeroizing::new([0; OCTETS]);
        session.export_keying_material(&mut *exported, LABEL, Some(b"")).ok()?;
        Some(ChannelBinding::TlsExporter(Secret::from(exported.as_slice())))
    });
    let end_point = certificate
        .and_then(server_end_point)
        .map(|hash| ChannelBinding::TlsServerEndPoint(hash.into()));
    exporter.flatten().into_iter().chain(end_point).collect()
}

/// Remembers which certificate a server has shown, because rustls does not say afterwards.
#[derive(Debug)]
pub(crate) struct Shown {
    resolver: Arc<dyn ResolvesServerCert>,
    certificate: Mutex<Option<CertificateDer<'static>>>,
}

impl Shown {
    /// A configuration for one connection, and what it will have shown.
    pub(crate) fn watch(config: &ServerConfig) -> (Arc<ServerConfig>, Arc<Self>) {
        let shown = Arc::new(Self {
            resolver: Arc::clone(&config.cert_resolver),
            certificate: Mutex::default(),
        });
        let mut config = config.clone();
        config.cert_resolver = Arc::clone(&shown) as Arc<dyn ResolvesServerCert>;
        (Arc::new(config), shown)
    }

    pub(crate) fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.resolver.resolve(hello)?;
        let certificate = key.cert.first().cloned();
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
        Some(key)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.resolver.only_raw_public_keys()
    }
}
