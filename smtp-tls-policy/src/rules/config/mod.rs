//! Connectors read from TOML. Needs the feature `serde`.
//!
//! ```
//! use smtp_tls_policy::pki::{RootsId, Trust};
//! use smtp_tls_policy::rules::{Config, IdentityId};
//!
//! # let roots = || Trust::webpki_roots().roots(&RootsId::public()).to_vec();
//! // What the connectors may name: sets of roots, with their revocation lists, and identities.
//! let mut trust = Trust::webpki_roots();
//! trust.add_roots(&RootsId::new("bank-ca"), roots());
//! trust.add_roots(&RootsId::new("partner-ca"), roots());
//! let identities = [IdentityId::new("our-client-key")];
//!
//! let config = Config::from_toml("connectors.toml", r#"
//!     [[outbound]]
//!     name = "default"
//!     namespaces = ["*"]
//!     posture = "deterministic"
//!
//!     [[outbound]]
//!     name = "bank"
//!     namespaces = ["bank.example", "*.bank.example"]
//!     posture = "deterministic"
//!     require-tls = true                  # default false
//!     names = ["mail.bank.example"]       # default: those of the posture
//!     cn = "never"                        # never | if-no-dns-san (default) | always
//!     roots = "bank-ca"                   # default "public"
//!     revocation = "hard"                 # off | soft | if-configured (default) | hard
//!     list-wait = 10                      # seconds for a missing list: 0 to 60, default 5
//!     identity = "our-client-key"         # default: none
//!     smart-host = { host = "gw.bank.example", port = 465, implicit-tls = true, secure = true }
//!     tls = { min-version = "1.3", groups = ["post-quantum"] } # default: all of the provider
//!     dial = { families = "ipv4", source-ipv4 = "192.0.2.1" }  # default: all, the system's choice
//!     yields = { refused = "later", broken = "now", untrusted = "never" }
//!     dane = "any-mx"                     # off | secure-mx | any-mx (default)
//!     sts = "on"                          # off | unless-dane | on (default)
//!     optional-tls = "published"          # for TLS-Required: No: published (default) | everything
//!
//!     [[outbound]]
//!     name = "branch"
//!     namespaces = ["branch.example"]
//!     posture = "pinned"
//!     ## cert or spki; sha256, sha384 or sha512; the host must have one of them
//!     pins = [
//!         "spki:sha256:2a16f8e0b1c7d94c55e0f3ab2a16f8e0b1c7d94c55e0f3ab2a16f8e0b1c7d94c",
//!         "cert:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
//!     ]
//!
//!     [[inbound]]
//!     name = "world"
//!     namespaces = ["*"]                  # sender domains
//!
//!     [[inbound]]
//!     name = "partner"
//!     namespaces = ["partner.example"]
//!     require-tls = true
//!     client-certificate = "required"     # not-asked (default) | recorded | required
//!     [inbound.certificate]
//!     roots = "partner-ca"                # roots, pins or both
//!     names = ["out.partner.example"]     # default: any certificate from these roots
//!     purpose = "client-or-server"        # default where names are given; otherwise client
//! "#, &trust, &identities)?;
//! assert_eq!(config.outbound.iter().count(), 3);
//!
//! let errors = Config::from_toml("connectors.toml", r#"
//! [[outbound]]
//! name = "default"
//! namespaces = ["*"]
//! posture = "secur"
//! roots = "bank"
//! "#, &trust, &identities).unwrap_err();
//! assert_eq!(
//!     errors.iter().next().unwrap().to_string(),
//!     "connectors.toml: line 5, field outbound.posture: found \"secur\"; did you mean \
//!      \"secure\"? Expected one of none, opportunistic, deterministic, encrypt, verified, \
//!      secure, private-ca, dane-only, pinned",
//! );
//! # Ok::<(), smtp_tls_policy::rules::Faults<smtp_tls_policy::rules::ConfigError>>(())
//! ```
//!
//! All faults of a file are reported at once. Unknown fields are refused, and so are empty values,
//! and names of roots and identities that are not loaded. Without `[[inbound]]` nothing is asked of
//! clients.

mod connectors;
mod dial;
mod domains;
pub(crate) mod error;
mod limits;
mod section;
mod values;
mod warning;

pub use self::error::ConfigError;
pub use self::warning::{ConfigWarning, Published};

use toml::de::DeTable;

use crate::domain::Namespace;
use crate::pki::trust::Trust;
use crate::rules::connector::{InboundConnector, InboundConnectors, OutboundConnectors};
use crate::rules::error::{ConnectorError, ConnectorErrorKind, Faults};
use crate::rules::identity::IdentityId;

use self::error::Lines;
use self::section::{Doubts, Section};

/// The connectors of a configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is asked of servers, by recipient domain.
    pub outbound: OutboundConnectors,
    /// What is asked of clients, by sender domain.
    pub inbound: InboundConnectors,
    /// Whether the file has inbound connectors. Without them `inbound` holds one that asks nothing
    /// of clients.
    pub has_inbound: bool,
}

impl Config {
    /// Reads a configuration. `file` is the name of the file, for errors.
    ///
    /// The connectors may name the roots and lists of this trust, and these client identities. A
    /// trust whose contents change later may lose what was there now: then mail is deferred.
    ///
    /// # Errors
    ///
    /// All that is wrong with the text, or with what it names.
    pub fn from_toml(
        file: &str,
        text: &str,
        trust: &Trust,
        identities: &[IdentityId],
    ) -> Result<Self, Faults<ConfigError>> {
        Self::read(file, text, Some((trust, identities)))
    }

    /// Reads a configuration without asking whether the roots and identities that it names are
    /// loaded; otherwise as [`from_toml`](Self::from_toml).
    ///
    /// # Errors
    ///
    /// All that is wrong with the text.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults<ConfigError>> {
        Self::read(file, text, None)
    }

    fn read(file: &str, text: &str, loaded: Loaded<'_>) -> Result<Self, Faults<ConfigError>> {
        let mut reader =
            Reader { file, text, lines: Lines::of(text), errors: Vec::new(), in_doubt: Vec::new() };
        let config = reader.config(loaded);
        match config.filter(|_| reader.errors.is_empty()) {
            Some(config) => Ok(config),
            None => {
                reader.errors.sort_by_key(|error| error.line);
                Err(Faults(reader.errors))
            }
        }
    }
}

/// The roots and identities that a connector may name; `None` if they are not known.
type Loaded<'a> = Option<(&'a Trust, &'a [IdentityId])>;

/// Reads what it can, and writes down what it cannot.
struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    lines: Lines,
    errors: Vec<ConfigError>,
    /// The fields, by their paths, that are wrong or that another name was probably meant for.
    in_doubt: Vec<String>,
}

impl Reader<'_> {
    fn error(&mut self, at: usize, field: impl Into<String>, message: impl Into<String>) {
        let field = field.into();
        self.in_doubt.push(field.clone());
        self.errors.push(ConfigError {
            file: self.file.to_owned(),
            line: self.lines.at(at),
            field,
            message: message.into().replace('\n', " "),
        });
    }

    fn config(&mut self, loaded: Loaded<'_>) -> Option<Config> {
        let (table, syntax) = DeTable::parse_recoverable(self.text);
        for error in &syntax {
            self.error(error.span().unwrap_or_default().start, "", error.message());
        }
        if !syntax.is_empty() {
            return None;
        }
        let table = table.get_ref();
        self.unknown(&Section { path: "", table, at: 0 }, &["outbound", "inbound"]);

        let sections = self.sections(table, "outbound");
        if sections.is_empty() && !self.is_unread("outbound") {
            let message = "there is no outbound connector; write [[outbound]] for each of them";
            self.error(0, "outbound", message);
        }
        let built = self.built(&sections, Self::outbound);
        if let Some((trust, identities)) = loaded {
            for (section, (connector, doubts)) in sections.iter().zip(&built) {
                self.missing(section, doubts, connector.missing(trust, identities));
            }
        }
        let (connectors, doubts): (Vec<_>, Vec<_>) = built.into_iter().unzip();
        let outbound = self.set(OutboundConnectors::new(connectors), &sections, &doubts);

        let sections = self.sections(table, "inbound");
        let built = self.built(&sections, Self::inbound);
        if let Some((trust, _)) = loaded {
            for (section, (connector, doubts)) in sections.iter().zip(&built) {
                self.missing(section, doubts, connector.missing(trust));
            }
        }
        let (mut connectors, doubts): (Vec<_>, Vec<_>) = built.into_iter().unzip();
        let has_inbound = !sections.is_empty();
        if !has_inbound {
            connectors.push(InboundConnector::new("default", vec![Namespace::Default]));
        }
        let inbound = self.set(InboundConnectors::new(connectors), &sections, &doubts);
        Some(Config { outbound: outbound?, inbound: inbound?, has_inbound })
    }

    /// Each connector as far as it can be read, with the fields of it that are in doubt.
    fn built<T>(
        &mut self,
        sections: &[Section<'_>],
        read: fn(&mut Self, &Section<'_>) -> T,
    ) -> Vec<(T, Doubts)> {
        let mut built = Vec::with_capacity(sections.len());
        for section in sections {
            let before = self.in_doubt.len();
            let connector = read(self, section);
            let prefix = format!("{}.", section.path);
            let doubts = self.in_doubt[before..]
                .iter()
                .filter_map(|path| path.strip_prefix(&prefix)?.split('.').next())
                .map(str::to_owned)
                .collect();
            built.push((connector, doubts));
        }
        built
    }

    /// Whether some connector of this kind could not be read at all.
    fn is_unread(&self, kind: &str) -> bool {
        self.in_doubt.iter().any(|path| path.strip_prefix('.').unwrap_or(path) == kind)
    }

    /// What a connector names and is not loaded.
    fn missing(&mut self, section: &Section<'_>, doubts: &Doubts, kinds: Vec<ConnectorErrorKind>) {
        for kind in kinds.into_iter().filter(|kind| !doubts.concern(kind)) {
            let (at, field) = section.place(kind.field());
            self.error(at, field, kind.to_string());
        }
    }

    /// What is wrong with a set of connectors, save what only follows from fields in doubt.
    fn set<T>(
        &mut self,
        set: Result<T, Faults<ConnectorError>>,
        sections: &[Section<'_>],
        doubts: &[Doubts],
    ) -> Option<T> {
        let errors = match set {
            Ok(set) => return Some(set),
            Err(errors) => errors,
        };
        // A connector that cannot be read at all may serve any namespace.
        let unread = sections.first().is_some_and(|first| self.is_unread(first.path));
        let serves_nothing =
            errors.iter().any(|error| error.kind == ConnectorErrorKind::NoNamespaces);
        for error in errors.iter() {
            if matches!(error.kind, ConnectorErrorKind::NoDefault) {
                let Some(first) = sections.first() else { continue };
                let is_explained = unread
                    || serves_nothing
                    || doubts.iter().any(|doubts| doubts.concern(&error.kind));
                if !is_explained {
                    self.error(first.at, first.path, error.kind.to_string());
                }
                continue;
            }
            let (Some(section), Some(doubts)) =
                (sections.get(error.index), doubts.get(error.index))
            else {
                continue;
            };
            if doubts.concern(&error.kind) {
                continue;
            }
            let (mut at, field) = section.place(error.kind.field());
            if let ConnectorErrorKind::DuplicateNamespace { position, .. } = error.kind {
                let list = section.get("namespaces").and_then(|value| value.get_ref().as_array());
                at = list
                    .and_then(|list| list.get(position))
                    .map_or(at, |namespace| namespace.span().start);
            }
            self.error(at, field, error.kind.to_string());
        }
        None
    }
}
