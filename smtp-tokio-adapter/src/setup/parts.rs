//! What the settings are made into.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::server::StartTls;
use smtp_tls_policy::pki::{LiveTrust, RootsId, Trust};
use smtp_tls_policy::rules::{
    ConfigError, Faults, IdentityId, InboundConnectors, OutboundConnector, OutboundConnectors,
};
use smtp_tls_policy::tls::{self, ClientCertificates, ServerIdentities, TlsConfigError};
use zeroize::Zeroizing;

use super::settings::{Dnssec, Files, Login, Settings};
use super::source::Source;
use crate::lookups::Lookups;
use crate::lookups::dns::{Anchors, Resolver, Servers};
use crate::pem_files::{add_lists_file, add_roots_file};
#[cfg(feature = "crlite")]
use crate::revocation::CrliteLoader;
use crate::roots::native_roots;
use crate::sender::Sender;
use crate::server::{Admission, Inbound};
use crate::store::FileStore;
#[cfg(feature = "redis")]
use crate::store::RedisStore;

/// Port of DNS servers (RFC 1035, section 4.2).
const DNS: u16 = 53;

impl Settings {
    /// Loads what there is of CRLite. If that is nothing, [`upkeep`](super::Setup::upkeep) says
    /// why, and the rules of the connectors decide.
    #[cfg(feature = "crlite")]
    pub(super) async fn crlite(
        &self,
        source: &Source<'_>,
        trust: &Arc<LiveTrust>,
    ) -> Option<CrliteLoader> {
        let folder = source.path(self.crlite.as_ref()?);
        let loader = CrliteLoader::new(Arc::clone(trust), folder);
        let _ = loader.load().await;
        Some(loader)
    }

    /// Loads the sets of roots, with the lists that are not fetched.
    pub(super) fn trust(&self, source: &Source<'_>) -> Result<Trust, Faults<ConfigError>> {
        let public = RootsId::public().to_string();
        let mut trust = match self.roots.contains_key(&public) {
            true => Trust::empty(),
            false => source.check("roots", &self.name, |_| native_roots())?,
        };
        for (set, file) in &self.roots {
            let (id, path) = (RootsId::new(set), source.path(file));
            let field = format!("roots.{set}");
            source.check(&field, file, |_| add_roots_file(&mut trust, &id, &path))?;
        }
        for (set, file) in &self.lists {
            let (id, path) = (RootsId::new(set), source.path(file));
            let field = format!("lists.{set}");
            source.check(&field, file, |_| add_lists_file(&mut trust, &id, &path))?;
        }
        Ok(trust)
    }

    /// What asks the DNS.
    pub(super) fn resolver(&self, source: &Source<'_>) -> Result<Resolver, Faults<ConfigError>> {
        let servers = match &self.resolver {
            Some(text) => source.check("resolver", text, |it| servers(it))?,
            None => source.check("resolver", &self.name, |_| Servers::of_system())?,
        };
        let anchors = match &self.trust_anchor {
            Some(file) => {
                let text = source.text("trust-anchor", file)?;
                source.check("trust-anchor", file, |_| Anchors::parse(&text))?
            }
            None => Anchors::root(),
        };
        match (self.dnssec, &self.resolver) {
            (Dnssec::Validate, _) => Ok(Resolver::validating(servers, anchors)),
            (Dnssec::Resolver, Some(text)) => {
                source.check("resolver", text, |_| Resolver::believing_local(servers))
            }
            (Dnssec::Resolver, None) => {
                source.check("resolver", &self.name, |_| Resolver::believing_local(servers))
            }
        }
    }

    /// Lets a sender remember what it finds out: on the server that the settings name, or in files.
    pub(super) async fn with_store<L: Lookups>(
        &self,
        source: &Source<'_>,
        sender: Sender<L>,
    ) -> Result<Sender<L>, Faults<ConfigError>> {
        let Some(url) = &self.store else {
            let folder = source.folder(&self.state, "policies")?;
            let store = source.check("state", &self.state, |_| FileStore::open(folder))?;
            return Ok(sender.with_store(Arc::new(store)).await);
        };
        #[cfg(feature = "redis")]
        {
            // The URL may have a password, so the message does not repeat it.
            let store = source.check("store", url, |url| {
                RedisStore::new(url).map_err(|error| {
                    format!("expected the URL of a server, such as redis://127.0.0.1:6379: {error}")
                })
            })?;
            Ok(sender.with_store(Arc::new(store)).await)
        }
        #[cfg(not(feature = "redis"))]
        source.check("store", url, |_| {
            Err("a store on a server needs the feature redis, and this program was built without it")
        })
    }

    /// Prepares the listener: its certificates, and what its connectors ask of clients.
    pub(super) fn listen(
        &self,
        source: &Source<'_>,
        inbound: &mut Inbound,
        connectors: InboundConnectors,
        trust: Arc<LiveTrust>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<ServerIdentities>, Faults<ConfigError>> {
        let asks = connectors.asks_for_certificate();
        let needs_tls = connectors.iter().any(|it| it.require_tls) || asks;
        let limits = connectors.tls_limits();
        let starttls = match connectors.requires_tls() {
            true => StartTls::Required,
            false => StartTls::Offered,
        };
        inbound.admission = Some(Admission::new(Arc::new(connectors), trust));
        let Some(default) = self.certificate.first() else {
            return match needs_tls {
                false => Ok(None),
                true => source.check("certificate", &self.connectors, |_| {
                    Err("an inbound connector asks for TLS, and the listener has no certificate")
                }),
            };
        };
        let loaded = self.certificates(source, provider)?;
        let (identities, tls) = source.check("certificate", &default.chain, |_| {
            let provider = tls::limited(provider, &limits)?;
            let identities = ServerIdentities::new(loaded)?;
            let asked = match asks {
                true => ClientCertificates::Request { hints: Vec::new() },
                false => ClientCertificates::None,
            };
            let tls = tls::server_config(identities.clone(), asked, provider)?;
            Ok::<_, TlsConfigError>((identities, tls))
        })?;
        inbound.tls = Some(tls);
        Arc::make_mut(&mut inbound.smtp).starttls = starttls;
        Ok(Some(identities))
    }

    /// Loads the client certificates that connectors may name.
    pub(super) fn identities(
        &self,
        source: &Source<'_>,
        provider: &CryptoProvider,
    ) -> Result<Vec<(IdentityId, Arc<CertifiedKey>)>, Faults<ConfigError>> {
        let load = |(name, files): (&String, &Files)| {
            let loaded = source.identity(&format!("identities.{name}"), files, provider)?;
            Ok((IdentityId::new(name), loaded))
        };
        self.identities.iter().map(load).collect()
    }

    /// The credentials for each smart host, by connector.
    pub(super) fn credentials(
        &self,
        source: &Source<'_>,
        connectors: &OutboundConnectors,
    ) -> Result<Vec<(String, Credentials)>, Faults<ConfigError>> {
        let load = |(connector, login): (&String, &Login)| {
            Ok((connector.clone(), login.credentials(source, connector, connectors)?))
        };
        self.credentials.iter().map(load).collect()
    }

    /// Loads the certificates of the listener, of which the first is the default.
    pub(super) fn certificates(
        &self,
        source: &Source<'_>,
        provider: &CryptoProvider,
    ) -> Result<Vec<Arc<CertifiedKey>>, Faults<ConfigError>> {
        let load = |files| source.identity("certificate", files, provider);
        self.certificate.iter().map(load).collect()
    }
}

/// An address of a resolver, with or without a port.
fn servers(text: &str) -> Result<Servers, String> {
    let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| (ip, DNS).into()));
    let expected = "expected an address, such as 192.0.2.1 or [2001:db8::1]:53";
    let address: SocketAddr = address.map_err(|_| format!("found \"{text}\"; {expected}"))?;
    Servers::new([address]).map_err(|error| error.to_string())
}

impl Login {
    /// The credentials for the smart host of this connector.
    fn credentials(
        &self,
        source: &Source<'_>,
        connector: &str,
        connectors: &OutboundConnectors,
    ) -> Result<Credentials, Faults<ConfigError>> {
        let field = format!("credentials.{connector}");
        let is_known = |it: &OutboundConnector| *it.name == *connector && it.smart_host.is_some();
        source.check(&field, &self.user, |user| match connectors.iter().any(is_known) {
            false => Err(format!("no outbound connector \"{connector}\" has a smart host")),
            true if user.is_empty() => Err("the user is empty".to_owned()),
            true => Ok(()),
        })?;
        let password = Zeroizing::new(source.text(&field, &self.password_file)?);
        let password = password.lines().next().unwrap_or_default();
        Ok(Credentials::password(self.user.get_ref(), password.to_owned()))
    }
}
