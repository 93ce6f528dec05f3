//! The settings of the relay, in TOML:
//!
//! ```toml
//! name = "relay.example"              # resolves to this host
//! listen = "127.0.0.1:2525"           # of the loopback: the relay asks for no password
//! metrics = "127.0.0.1:9925"          # default: any free port of the loopback
//! state = "/var/lib/relay"            # the queue, the revocation lists and the policies
//! connectors = "connectors.toml"      # see `smtp_tls_policy::rules::Config`
//! resolver = "127.0.0.1:53"           # default: those of /etc/resolv.conf
//! trust-anchor = "root.key"           # default: the keys of the DNS root
//! port = 25                           # of the hosts that the DNS names
//!
//! [roots]                             # further sets, and `public` in place of Mozilla's
//! partner-ca = "partner.pem"
//!
//! [certificate]                       # default: the relay offers no STARTTLS
//! chain = "relay.pem"
//! key = "relay.key"
//! ```
//!
//! The relay looks at the `[[outbound]]` connectors only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::rules::{Config, OutboundConnectors};
use smtp_tokio_adapter::IdentityFiles;
use smtp_tokio_adapter::lookups::dns::{Anchors, Resolver, Servers};

use crate::Failed;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    #[serde(default = "any_port")]
    pub(crate) metrics: SocketAddr,
    state: PathBuf,
    connectors: PathBuf,
    resolver: Option<SocketAddr>,
    trust_anchor: Option<PathBuf>,
    #[serde(default = "smtp")]
    pub(crate) port: u16,
    #[serde(default)]
    roots: BTreeMap<String, PathBuf>,
    pub(crate) certificate: Option<Certificate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
}

impl From<&Certificate> for IdentityFiles {
    fn from(files: &Certificate) -> Self {
        Self::new(&files.chain, &files.key)
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

const fn smtp() -> u16 {
    25
}

impl Settings {
    pub(crate) fn read(file: &Path) -> Result<Self, Failed> {
        toml::from_str(&read(file)?).map_err(|error| format!("{}: {error}", file.display()).into())
    }

    /// A folder below `state`, which is made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failed> {
        let folder = self.state.join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        Ok(folder)
    }

    pub(crate) fn trust(&self) -> Result<Trust, Failed> {
        let mut trust = Trust::webpki_roots();
        if self.roots.contains_key("public") {
            trust.clear_roots(&RootsId::public());
        }
        for (set, file) in &self.roots {
            let wrong = |error: String| format!("{}: {error}", file.display());
            for root in CertificateDer::pem_slice_iter(read(file)?.as_bytes()) {
                let root = root.map_err(|error| wrong(error.to_string()))?;
                let added = trust.add_root_der(&RootsId::new(set), &root);
                added.map_err(|error| wrong(error.to_string()))?;
            }
        }
        Ok(trust)
    }

    pub(crate) fn connectors(&self, trust: &Trust) -> Result<OutboundConnectors, Failed> {
        let name = self.connectors.display().to_string();
        Ok(Config::from_toml(&name, &read(&self.connectors)?, trust, &[])?.outbound)
    }

    /// Validates what the resolver says.
    pub(crate) fn resolver(&self) -> Result<Resolver, Failed> {
        let servers = match self.resolver {
            Some(address) => Servers::new([address])?,
            None => Servers::of_system()?,
        };
        let anchors = match &self.trust_anchor {
            Some(file) => Anchors::parse(&read(file)?)?,
            None => Anchors::root(),
        };
        Ok(Resolver::validating(servers, anchors))
    }
}

fn read(file: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()).into())
}
