//! A sender and a listener, made of one file of settings. Needs the feature `settings`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use rustls::crypto::CryptoProvider;
use serde::Deserialize;
use smtp_proto::route::SMTP_PORT;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::Domain;
use smtp_tls_policy::pki::{LiveTrust, RootsId, Trust};
use smtp_tls_policy::rules::{
    Config, ConfigError, Faults, IdentityId, InboundConnectors, OutboundConnector,
    OutboundConnectors,
};
use smtp_tls_policy::tls::{self, ClientCertificates, ClientTls};
use toml::Spanned;
use zeroize::Zeroizing;

use crate::client::outbound::Outbound;
use crate::identities::{IdentityFiles, ServerCertificates};
use crate::lookups::dns::{Anchors, Resolver, Servers};
use crate::lookups::{Combined, PolicyClient};
use crate::pem_files::{add_lists_file, add_roots_file};
use crate::revocation::CrlFetcher;
#[cfg(feature = "crlite")]
use crate::revocation::CrliteLoader;
use crate::roots::native_roots;
use crate::sender::Sender;
use crate::server::{Admission, Inbound};
use crate::store::FileStore;

/// Port of DNS servers (RFC 1035, section 4.2).
const DNS: u16 = 53;
/// How often [`Setup::upkeep`] looks for what is due.
const UPKEEP: Duration = Duration::from_secs(60);

/// Everything that a file of settings describes, ready for use: a [`Sender`] with DNS, DANE,
/// MTA-STS, revocation lists and a pool of connections, and the [`Inbound`] of a listener.
///
/// ```no_run
/// use std::{path::Path, sync::Arc};
/// use smtp_proto::client::{Envelope, Recipient};
/// use smtp_tokio_adapter::Setup;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
/// let setup = Arc::new(Setup::load(Path::new("mail.toml"), provider).await?);
/// tokio::spawn(Arc::clone(&setup).upkeep());
/// let to: Recipient = "you@test.example".parse()?;
/// let message = bytes::Bytes::from("Subject: hello\r\n\r\nHello.\r\n");
/// setup.sender.send(Envelope::new("me@example.com".parse()?, [to]), &message).await;
/// # Ok(())
/// # }
/// ```
///
/// # The file
///
/// ```toml
/// name = "mail.example.com"           # of this host: for EHLO, greetings and Received fields
/// other-names = ["mx2.example.com"]   # of this host in MX records: it sends no mail to itself
/// connectors = "connectors.toml"      # see `smtp_tls_policy::rules::Config`
/// state = "/var/lib/mail"             # revocation lists and MTA-STS policies are kept here
/// resolver = "127.0.0.1"              # for all look-ups; default: those of /etc/resolv.conf
/// dnssec = "validate"                 # or "resolver": believes a resolver on this host
/// trust-anchor = "root.key"           # default: the keys of the DNS root
/// port = 25                           # of the hosts that the DNS names; default 25
/// crlite = "/var/cache/upki/revocation" # CRLite filters of `upki fetch` (feature `crlite`)
///
/// [roots]                             # sets of root certificates, in PEM, that connectors name;
/// partner-ca = "partner.pem"          # `public` replaces those of the operating system
///
/// [lists]                             # revocation lists of these sets that are not fetched
/// partner-ca = "partner.crl"
///
/// [identities.our-client-key]         # client certificates that connectors name
/// chain = "client.pem"
/// key = "client.key"
///
/// [credentials.provider]              # for the smart host of the connector `provider`
/// user = "relay"
/// password-file = "provider.password" # its first line
///
/// [certificate]                       # of the listener; without it there is no STARTTLS
/// chain = "mail.pem"
/// key = "mail.key"
/// ```
///
/// A path that does not begin with `/` is taken from the folder of the settings. The `[[inbound]]`
/// connectors are judged by the listener itself ([`Inbound::admission`]).
#[non_exhaustive]
pub struct Setup {
    /// Sends mail.
    pub sender: Sender<Combined<Arc<Resolver>, PolicyClient>>,
    /// For [`serve`](crate::serve()): the certificate and the inbound connectors. Set
    /// [`size_limit`](ServerConfig::size_limit) and what else the program wants.
    pub inbound: Inbound,
    /// The certificate of the listener, to be reloaded after a renewal.
    pub certificates: Option<ServerCertificates>,
    /// The roots and the revocation lists, which may be replaced while mail flows.
    pub trust: Arc<LiveTrust>,
    /// The name of this host.
    pub name: Domain<'static>,
    /// The folder for what is kept. The program may have folders of its own in it.
    pub state: PathBuf,
    lists: CrlFetcher,
    #[cfg(feature = "crlite")]
    crlite: Option<CrliteLoader>,
}

impl Setup {
    /// Reads a file of settings and the files that it names, which blocks for a moment, and loads
    /// what an earlier run has kept.
    ///
    /// # Errors
    ///
    /// The first fault of the settings, or all faults of the connectors, each with file, line and
    /// field.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, folders below `state` may have been made, and nothing else.
    pub async fn load(
        file: &Path,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Faults<ConfigError>> {
        let text = read(file)?;
        let source = Source { file, text: &text };
        let settings: Settings = toml::from_str(&text).map_err(|error| source.syntax(&error))?;
        let name: Domain<'static> = source.check("name", &settings.name, |it| it.parse())?;
        let state = source.path(&settings.state);

        let trust = Arc::new(LiveTrust::new(settings.trust(&source)?));
        let resolver = Arc::new(settings.resolver(&source)?);
        let lists = CrlFetcher::new(Arc::clone(&trust)).with_lookups(Arc::clone(&resolver));
        let lists = lists.with_directory(source.folder(&settings.state, "lists")?);
        let kept = lists.load(UnixTime::now()).await;
        source.check("state", &settings.state, |_| kept)?;
        #[cfg(feature = "crlite")]
        let crlite = settings.crlite(&source, &trust).await;

        let tls = ClientTls::new(Arc::clone(&provider));
        for (name, files) in &settings.identities {
            let field = format!("identities.{name}");
            let loaded =
                source.check(&field, &files.chain, |_| source.identity(files).load(&provider))?;
            tls.add_identity(IdentityId::new(name), loaded);
        }
        let connectors = source.path(&settings.connectors);
        let config = source.text("connectors", &settings.connectors)?;
        let file = connectors.display().to_string();
        let config = Config::from_toml(&file, &config, &trust.load(), &tls.identities())?;

        let outbound = Outbound::new(name.clone(), Arc::clone(&provider), trust.clone());
        let outbound = outbound.with_tls(tls).with_crl_fetcher(lists.clone());
        let policies = PolicyClient::new(Arc::clone(&provider), trust.clone());
        let policies = source.check("roots", &settings.name, |_| policies)?;
        let lookups = Combined::new(resolver, policies);
        let store = source.folder(&settings.state, "policies")?;
        let store = source.check("state", &settings.state, |_| FileStore::open(store))?;
        let outbound_connectors = Arc::new(config.outbound);
        let sender = Sender::new(outbound, Arc::clone(&outbound_connectors), lookups);
        let sender = source.check("connectors", &settings.connectors, |_| sender)?;
        let other_names = settings
            .other_names
            .iter()
            .map(|other| source.check("other-names", other, |it| it.parse::<HostName>()));
        let other_names = other_names.collect::<Result<Vec<_>, _>>()?;
        let mut sender = sender.with_route(|route| {
            route.port = settings.port;
            route.own_names.extend(other_names);
        });
        for (connector, login) in &settings.credentials {
            let credentials = login.credentials(&source, connector, &outbound_connectors)?;
            sender = sender.with_credentials(connector, credentials);
        }
        let sender = sender.with_store(Arc::new(store)).await;

        let mut inbound = Inbound::new(Arc::new(ServerConfig::new(name.clone())));
        let certificates =
            settings.listen(&source, &mut inbound, config.inbound, trust.clone(), provider)?;
        Ok(Self {
            sender,
            inbound,
            certificates,
            trust,
            name,
            state,
            lists,
            #[cfg(feature = "crlite")]
            crlite,
        })
    }

    /// Does what is due in the background, for ever: fetches revocation lists, and MTA-STS policies
    /// before they expire, and loads CRLite filters when they change. Let it run beside the
    /// deliveries.
    ///
    /// # Cancel safety
    ///
    /// What is due stays due, and the next call does it.
    pub async fn upkeep(self: Arc<Self>) -> Infallible {
        let policies = async {
            loop {
                self.sender.refresh().await;
                tokio::time::sleep(UPKEEP).await;
            }
        };
        tokio::select! {
            never = self.watch_filters() => never,
            never = self.lists.run() => never,
            never = policies => never,
        }
    }

    /// Loads CRLite filters when they change, if the settings name a cache.
    async fn watch_filters(&self) -> Infallible {
        #[cfg(feature = "crlite")]
        if let Some(crlite) = &self.crlite {
            return crlite.run().await;
        }
        std::future::pending().await
    }
}

/// The file of settings.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    name: Spanned<String>,
    #[serde(default)]
    other_names: Vec<Spanned<String>>,
    connectors: Spanned<PathBuf>,
    state: Spanned<PathBuf>,
    resolver: Option<Spanned<String>>,
    #[serde(default)]
    dnssec: Dnssec,
    trust_anchor: Option<Spanned<PathBuf>>,
    #[serde(default = "smtp")]
    port: u16,
    #[serde(default)]
    roots: BTreeMap<String, Spanned<PathBuf>>,
    #[serde(default)]
    lists: BTreeMap<String, Spanned<PathBuf>>,
    #[serde(default)]
    identities: BTreeMap<String, Files>,
    #[serde(default)]
    credentials: BTreeMap<String, Login>,
    certificate: Option<Files>,
    #[cfg(feature = "crlite")]
    crlite: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Login {
    user: Spanned<String>,
    password_file: Spanned<PathBuf>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    chain: Spanned<PathBuf>,
    key: Spanned<PathBuf>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Dnssec {
    #[default]
    Validate,
    Resolver,
}

const fn smtp() -> u16 {
    SMTP_PORT
}

impl Settings {
    /// Loads what there is of CRLite. If that is nothing, [`Setup::upkeep`] says why, and the rules
    /// of the connectors decide.
    #[cfg(feature = "crlite")]
    async fn crlite(&self, source: &Source<'_>, trust: &Arc<LiveTrust>) -> Option<CrliteLoader> {
        let folder = source.path(self.crlite.as_ref()?);
        let loader = CrliteLoader::new(Arc::clone(trust), folder);
        let _ = loader.load().await;
        Some(loader)
    }

    fn trust(&self, source: &Source<'_>) -> Result<Trust, Faults<ConfigError>> {
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

    fn resolver(&self, source: &Source<'_>) -> Result<Resolver, Faults<ConfigError>> {
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

    /// Prepares the listener: its certificate, and what its connectors ask of clients.
    fn listen(
        &self,
        source: &Source<'_>,
        inbound: &mut Inbound,
        connectors: InboundConnectors,
        trust: Arc<LiveTrust>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<ServerCertificates>, Faults<ConfigError>> {
        let asks = connectors.asks_for_certificate();
        let needs_tls = connectors.iter().any(|it| it.require_tls) || asks;
        let limits = connectors.tls_limits();
        let starttls = match connectors.requires_tls() {
            true => StartTls::Required,
            false => StartTls::Offered,
        };
        inbound.admission = Some(Admission::new(Arc::new(connectors), trust));
        let Some(files) = &self.certificate else {
            return match needs_tls {
                false => Ok(None),
                true => source.check("certificate", &self.connectors, |_| {
                    Err("an inbound connector asks for TLS, and the listener has no certificate")
                }),
            };
        };
        let (loaded, tls) = source.check("certificate", &files.chain, |_| {
            let provider = tls::limited(&provider, &limits).map_err(|it| it.to_string())?;
            let files = vec![source.identity(files)];
            let loaded = ServerCertificates::load(files, Arc::clone(&provider));
            let loaded = loaded.map_err(|error| error.to_string())?;
            let asked = match asks {
                true => ClientCertificates::Request { hints: Vec::new() },
                false => ClientCertificates::None,
            };
            let tls = tls::server_config(loaded.identities(), asked, provider);
            Ok::<_, String>((loaded, tls.map_err(|error| error.to_string())?))
        })?;
        inbound.tls = Some(tls);
        Arc::make_mut(&mut inbound.smtp).starttls = starttls;
        Ok(Some(loaded))
    }
}

/// An address of a resolver, with or without a port.
fn servers(text: &str) -> Result<Servers, String> {
    let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| (ip, DNS).into()));
    let expected = "expected an address, such as 192.0.2.1 or [2001:db8::1]:53";
    let address: SocketAddr = address.map_err(|_| format!("found \"{text}\"; {expected}"))?;
    Servers::new([address]).map_err(|error| error.to_string())
}

fn read(file: &Path) -> Result<String, Faults<ConfigError>> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!("the file cannot be read: {error}");
        ConfigError::new(file.display().to_string(), 1, "", message).into()
    })
}

/// The text of the settings, for the places of its faults.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// A path of the settings, from their folder.
    fn path(&self, path: &Spanned<PathBuf>) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path.get_ref())
    }

    fn identity(&self, files: &Files) -> IdentityFiles {
        IdentityFiles::new(self.path(&files.chain), self.path(&files.key))
    }

    /// The text of a file that a field names.
    fn text(&self, field: &str, file: &Spanned<PathBuf>) -> Result<String, Faults<ConfigError>> {
        let path = self.path(file);
        self.check(field, file, |_| {
            std::fs::read_to_string(&path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))
        })
    }

    /// A folder below `state`, which is made if it is not there.
    fn folder(&self, state: &Spanned<PathBuf>, name: &str) -> Result<PathBuf, Faults<ConfigError>> {
        let folder = self.path(state).join(name);
        self.check("state", state, |_| std::fs::create_dir_all(&folder))?;
        Ok(folder)
    }

    /// Makes something of the value of a field. An error is one of this field.
    fn check<V, T, E: Display>(
        &self,
        field: &str,
        value: &Spanned<V>,
        make: impl FnOnce(&V) -> Result<T, E>,
    ) -> Result<T, Faults<ConfigError>> {
        make(value.get_ref()).map_err(|error| self.error(value.span().start, field, error))
    }

    /// A fault that serde has found: its field is the one on the line.
    fn syntax(&self, error: &toml::de::Error) -> Faults<ConfigError> {
        let at = error.span().unwrap_or_default().start;
        let line = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[line..].lines().next().unwrap_or_default();
        let field = line.split_once('=').map_or("", |(key, _)| key.trim());
        self.error(at, field, error.message())
    }

    fn error(&self, at: usize, field: &str, message: impl Display) -> Faults<ConfigError> {
        let line = self.text[..at].matches('\n').count() + 1;
        ConfigError::new(self.file.display().to_string(), line, field, message).into()
    }
}
