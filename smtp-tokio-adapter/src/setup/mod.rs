//! A sender and a listener, made of one file of settings. Needs the feature `settings`.

mod live;
mod parts;
mod settings;
mod source;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use rustls::crypto::CryptoProvider;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::server::ServerConfig;
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::Domain;
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::rules::{ConfigError, Faults};
use smtp_tls_policy::tls::ClientTls;
use tokio::task::spawn_blocking;

use self::live::{Connectors, Live, absolute};
use self::source::{Source, read};
use crate::client::outbound::Outbound;
use crate::lookups::dns::Resolver;
use crate::lookups::{Combined, PolicyClient};
use crate::revocation::CrlFetcher;
#[cfg(feature = "crlite")]
use crate::revocation::CrliteLoader;
use crate::sender::Sender;
use crate::server::Inbound;

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
/// store = "redis://127.0.0.1:6379"    # where hosts share policies and broken peers (feature
///                                     # `redis`); default: a folder below `state`
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
/// [[certificate]]                     # of the listener; without any there is no STARTTLS.
/// chain = "mail-ecdsa.pem"            # The first one is for clients that ask for another name,
/// key = "mail-ecdsa.key"              # or for none
///
/// [[certificate]]                     # one with an RSA key, for clients without ECDSA,
/// chain = "mail-rsa.pem"
/// key = "mail-rsa.key"
///
/// [[certificate]]                     # and one for another name of this host
/// chain = "mx2.pem"
/// key = "mx2.key"
/// ```
///
/// The store is a server that speaks the protocol of Redis, with a user, a password and the number
/// of a database if it has them: `redis://user:password@store.example:6379/0`, or `unix:` with the
/// path of a socket. There is no TLS to it, so that other hosts reach it in a network of your own
/// only; see `store::RedisStore`. Only the program should be able to read a file with its password.
///
/// Which certificate a client gets is described at
/// [`ServerIdentities`](smtp_tls_policy::tls::ServerIdentities).
///
/// A path that does not begin with `/` is taken from the folder of the settings. The `[[inbound]]`
/// connectors are judged by the listener itself ([`Inbound::admission`]).
#[non_exhaustive]
pub struct Setup {
    /// Sends mail.
    pub sender: Sender<Combined<Arc<Resolver>, PolicyClient>>,
    /// For [`serve`](crate::serve()): the certificates and the inbound connectors. Set
    /// [`size_limit`](ServerConfig::size_limit) and what else the program wants.
    pub inbound: Inbound,
    /// The roots and the revocation lists, which may be replaced while mail flows.
    pub trust: Arc<LiveTrust>,
    /// The name of this host.
    pub name: Domain<'static>,
    /// The folder for what is kept. The program may have folders of its own in it.
    pub state: PathBuf,
    live: Arc<Live>,
    /// The connectors whose credentials come from the file, and not from the program. Held during a
    /// reload.
    of_file: Arc<tokio::sync::Mutex<BTreeSet<String>>>,
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
        let settings = source.settings()?;
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

        let tls = Arc::new(ClientTls::new(Arc::clone(&provider)));
        for (id, identity) in settings.identities(&source, &provider)? {
            tls.add_identity(id, identity);
        }
        let connectors = Connectors {
            file: source.path(&settings.connectors),
            text: source.text("connectors", &settings.connectors)?,
        };
        let config = connectors.read(&trust.load(), &tls.identities())?;

        let outbound = Outbound::new(name.clone(), Arc::clone(&provider), trust.clone());
        let outbound = outbound.with_tls(Arc::clone(&tls)).with_crl_fetcher(lists.clone());
        let policies = PolicyClient::new(Arc::clone(&provider), trust.clone());
        let policies = source.check("roots", &settings.name, |_| policies)?;
        let lookups = Combined::new(resolver, policies);
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
        let mut of_file = BTreeSet::new();
        for (connector, credentials) in settings.credentials(&source, &outbound_connectors)? {
            of_file.insert(connector.clone());
            sender = sender.with_credentials(&connector, credentials);
        }
        let sender = settings.with_store(&source, sender).await?;

        let mut inbound = Inbound::new(Arc::new(ServerConfig::new(name.clone())));
        let certificates =
            settings.listen(&source, &mut inbound, config.inbound, trust.clone(), &provider)?;
        let live = Live {
            file: absolute(file),
            connectors: connectors.absolute(),
            outbound: outbound_connectors,
            settings,
            provider,
            trust: Arc::clone(&trust),
            tls,
            certificates,
        };
        Ok(Self {
            sender,
            inbound,
            trust,
            name,
            state,
            live: Arc::new(live),
            of_file: Arc::new(tokio::sync::Mutex::new(of_file)),
            lists,
            #[cfg(feature = "crlite")]
            crlite,
        })
    }

    /// Reads the file of settings again, with the roots, the lists, the client certificates, the
    /// certificates of the listener and the passwords that it names, and replaces what is in use by
    /// them: for SIGHUP, or after a certificate was renewed. Connections and deliveries go on.
    ///
    /// - The roots together with the lists, the client certificates, the certificates of the
    ///   listener, and the credentials are each replaced as a whole, or stay as they are because
    ///   one of their files has a fault.
    /// - The next handshake uses what is new. A kept connection of the sender is not used again if
    ///   the roots, the lists, its client certificate or its credentials have changed. What has not
    ///   changed keeps its connections and sessions.
    /// - Revocation lists that were fetched stay, also if they are newer than the file of a list.
    /// - Credentials that the program has set itself stay, if the connector has none in the file.
    /// - The connectors and all other settings take effect when the program starts again. Of those
    ///   that have changed and wait for that a warning in the log has the names.
    ///
    /// The files are read in a thread where that holds up nothing. Of several calls at once each
    /// waits for the one before.
    ///
    /// # Errors
    ///
    /// The first fault of each of the four, with file, line and field. What each is about stays as
    /// it was, and the log says so as an error; the others are replaced. If the file of settings
    /// itself has a fault, everything stays.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the reload goes on, but the credentials stay as they were, and the
    /// log does not have its faults.
    pub async fn reload(&self) -> Result<(), Faults<ConfigError>> {
        let turn = Arc::clone(&self.of_file).lock_owned().await;
        let live = Arc::clone(&self.live);
        // The thread has the turn: if this future is dropped, the next reload waits all the same.
        let reloaded = match spawn_blocking(move || (live.reload(), turn)).await {
            Ok((mut reloaded, mut of_file)) => {
                if let Some(credentials) = reloaded.credentials.take() {
                    self.replace_credentials(credentials, &mut of_file);
                }
                reloaded
            }
            Err(error) => self.live.broken(&error),
        };
        if !reloaded.later.is_empty() {
            tracing::warn!(
                settings = reloaded.later.join(", "),
                "settings have changed that a reload does not read; they take effect when the \
                 program starts again"
            );
        }
        let mut all: Option<Faults<ConfigError>> = None;
        for (what, faults) in reloaded.kept {
            for error in faults.iter() {
                tracing::error!(
                    what,
                    %error,
                    "settings cannot be reloaded; what was loaded before stays in use"
                );
            }
            match &mut all {
                Some(all) => all.append(faults),
                None => all = Some(faults),
            }
        }
        match all {
            Some(faults) => Err(faults),
            None => {
                tracing::info!("settings reloaded");
                Ok(())
            }
        }
    }

    /// Puts the credentials of the file in force, and ends those that it does not have any more.
    fn replace_credentials(
        &self,
        credentials: Vec<(String, Credentials)>,
        of_file: &mut BTreeSet<String>,
    ) {
        let before = std::mem::take(of_file);
        for (connector, new) in credentials {
            self.sender.replace_credentials(&connector, Some(new));
            of_file.insert(connector);
        }
        for gone in before.difference(of_file) {
            self.sender.replace_credentials(gone, None);
        }
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
