//! TLS of a scripted peer, with its defects.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use smtp_tls_policy::tls::{ClientCertificates, server_config};

use crate::test_kit::pki::provider;

/// A handshake of a scripted peer: its role, its certificate, and what is wrong with it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Tls {
    pub(super) role: Role,
    pub(super) injected: Option<String>,
    pub(super) closes: bool,
    pub(super) refuses_large_hello: bool,
    pub(super) is_refused: bool,
    /// A client reads the reply to STARTTLS before its hello.
    pub(super) reads_reply: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Role {
    Server(Arc<rustls::ServerConfig>),
    /// With the server's name.
    Client(Arc<rustls::ClientConfig>, String),
}

impl Tls {
    /// A server with this certificate, which asks for none. See [`Pki::identity`] and
    /// [`Pki::flawed`].
    ///
    /// [`Pki::identity`]: crate::test_kit::Pki::identity
    /// [`Pki::flawed`]: crate::test_kit::Pki::flawed
    ///
    /// # Panics
    ///
    /// Panics if the crypto provider has no protocol version in common with rustls.
    pub fn server(identity: Arc<CertifiedKey>) -> Self {
        let config = server_config(identity, ClientCertificates::None, provider());
        Self::server_with(config.expect("the provider has the default versions"))
    }

    /// A server with a configuration of your own.
    pub fn server_with(config: Arc<rustls::ServerConfig>) -> Self {
        Self::new(Role::Server(config))
    }

    /// A client that trusts this root, expects this name, and has no certificate.
    ///
    /// # Panics
    ///
    /// Panics if the root cannot be read, or the crypto provider has no protocol version in common
    /// with rustls.
    pub fn client(root: &CertificateDer<'_>, server_name: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned()).expect("a certificate that can be a root");
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::client_with(Arc::new(config), server_name)
    }

    /// A client with a configuration of your own.
    pub fn client_with(config: Arc<rustls::ClientConfig>, server_name: &str) -> Self {
        Self::new(Role::Client(config, server_name.to_owned()))
    }

    fn new(role: Role) -> Self {
        Self {
            role,
            injected: None,
            closes: false,
            refuses_large_hello: false,
            is_refused: false,
            reads_reply: false,
        }
    }

    /// Sends this line in clear text in one write with the 220, or as a client with STARTTLS, as an
    /// attacker on the way would. Only [`Script::starttls`] does so.
    ///
    /// [`Script::starttls`]: crate::test_kit::Script::starttls
    pub fn injecting(self, line: &str) -> Self {
        Self { injected: Some(line.to_owned()), ..self }
    }

    /// Closes the connection during the handshake: a server after the client's first message, a
    /// client after its own. The last step of a script.
    pub fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// A server that closes the connection if the ClientHello has more than 1,024 octets, as it has
    /// with a post-quantum key share. A smaller hello succeeds.
    pub fn refusing_large_hello(self) -> Self {
        Self { refuses_large_hello: true, ..self }
    }

    /// Expects that the other side does not complete this handshake, or, as a server, answers
    /// STARTTLS with another reply than 220. The last step of a script.
    pub fn refused(self) -> Self {
        Self { is_refused: true, ..self }
    }
}
