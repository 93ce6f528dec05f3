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

mod dial;
mod domains;
pub(crate) mod error;
mod limits;
mod section;
mod tables;
mod warning;

pub use self::error::ConfigError;
pub use self::warning::{ConfigWarning, Published};

use std::fmt;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::domain::Namespace;
use crate::pki::names::{CnFallback, Reference};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::pki::trust::Trust;
use crate::rules::connector::{
    ClientCertificate, ClientCheck, ClientPurpose, InboundConnector, InboundConnectors,
    OutboundConnector, OutboundConnectors,
};
use crate::rules::error::{ConnectorError, ConnectorErrorKind, Faults};
use crate::rules::identity::IdentityId;
use crate::rules::posture::{DaneRule, OptionalTls, Posture, StsRule, Yield, Yields};
use crate::rules::suggest::nearest;

use self::error::{Lines, capital, expected, found, shown};
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

const OUTBOUND: &[&str] = &[
    "name",
    "namespaces",
    "posture",
    "require-tls",
    "smart-host",
    "names",
    "cn",
    "roots",
    "revocation",
    "list-wait",
    "identity",
    "yields",
    "pins",
    "dane",
    "sts",
    "optional-tls",
    "tls",
    "dial",
];
const YIELDS: &[&str] = &["refused", "broken", "untrusted"];
const INBOUND: &[&str] =
    &["name", "namespaces", "require-tls", "client-certificate", "certificate", "tls"];
const CERTIFICATE: &[&str] = &["roots", "names", "purpose", "pins", "cn", "revocation"];

const CN: &[(&str, CnFallback)] = &[
    ("never", CnFallback::Never),
    ("if-no-dns-san", CnFallback::IfNoDnsSan),
    ("always", CnFallback::Always),
];
const REVOCATION: &[(&str, Revocation)] = &[
    ("off", Revocation::Off),
    ("soft", Revocation::Soft),
    ("if-configured", Revocation::IfConfigured),
    ("hard", Revocation::Hard),
];
const YIELD: &[(&str, Yield)] =
    &[("now", Yield::Now), ("later", Yield::Later), ("never", Yield::Never)];
const DANE: &[(&str, DaneRule)] =
    &[("off", DaneRule::Off), ("secure-mx", DaneRule::SecureMx), ("any-mx", DaneRule::AnyMx)];
const STS: &[(&str, StsRule)] =
    &[("off", StsRule::Off), ("unless-dane", StsRule::UnlessDane), ("on", StsRule::On)];
const OPTIONAL_TLS: &[(&str, OptionalTls)] =
    &[("published", OptionalTls::Published), ("everything", OptionalTls::Everything)];
const PURPOSE: &[(&str, ClientPurpose)] =
    &[("client", ClientPurpose::Client), ("client-or-server", ClientPurpose::ClientOrServer)];
const ASKING: &[(&str, Asking)] = &[
    ("not-asked", Asking::NotAsked),
    ("recorded", Asking::Recorded),
    ("required", Asking::Required),
];

#[derive(Clone, Copy)]
enum Asking {
    NotAsked,
    Recorded,
    Required,
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

    fn outbound(&mut self, section: &Section<'_>) -> OutboundConnector {
        self.unknown(section, OUTBOUND);
        let name = self.required(section, "name", "a name for logs, such as \"partners\"");
        let namespaces = self.namespaces(section);
        let posture = self.posture(section);
        let mut connector = OutboundConnector::new(
            name.unwrap_or_default(),
            namespaces.unwrap_or_default(),
            posture.unwrap_or(Posture::None),
        );
        connector.require_tls = self.boolean(section, "require-tls");
        connector.smart_host = self.smart_host(section);
        connector.names = self.names(section);
        connector.cn = self.choice(section, "cn", CN).unwrap_or_default();
        if let Some(roots) = self.text(section, "roots", ROOTS) {
            connector.roots = RootsId::new(roots);
        }
        connector.revocation = self.choice(section, "revocation", REVOCATION).unwrap_or_default();
        connector.list_wait = self.list_wait(section);
        let identity = "the name of a client identity, such as \"our-client-key\"";
        connector.identity = self.text(section, "identity", identity).map(IdentityId::new);
        if let Some(yields) = self.table(section, "yields", "{ untrusted = \"later\" }") {
            let path = section.path("yields");
            let yields = Section { path: &path, ..yields };
            self.unknown(&yields, YIELDS);
            let default = Yields::default();
            connector.yields = Yields {
                refused: self.choice(&yields, "refused", YIELD).unwrap_or(default.refused),
                broken: self.choice(&yields, "broken", YIELD).unwrap_or(default.broken),
                untrusted: self.choice(&yields, "untrusted", YIELD).unwrap_or(default.untrusted),
            };
        }
        connector.pins = self.pins(section);
        connector.dane = self.choice(section, "dane", DANE).unwrap_or_default();
        connector.sts = self.choice(section, "sts", STS).unwrap_or_default();
        connector.optional_tls =
            self.choice(section, "optional-tls", OPTIONAL_TLS).unwrap_or_default();
        connector.tls = self.tls_limits(section);
        connector.dial = self.dial(section);
        connector
    }

    fn posture(&mut self, section: &Section<'_>) -> Option<Posture> {
        let postures = Posture::ALL.map(|posture| (posture.as_str(), posture));
        if section.get("posture").is_none() {
            let message = format!("the field is missing; {}", expected(&postures));
            self.error(section.at, section.path("posture"), message);
        }
        self.choice(section, "posture", &postures)
    }

    fn inbound(&mut self, section: &Section<'_>) -> InboundConnector {
        self.unknown(section, INBOUND);
        let name = self.required(section, "name", "a name for logs, such as \"partners\"");
        let namespaces = self.namespaces(section);
        let mut connector =
            InboundConnector::new(name.unwrap_or_default(), namespaces.unwrap_or_default());
        connector.require_tls = self.boolean(section, "require-tls");
        connector.tls = self.tls_limits(section);
        let asking = section.get("client-certificate").is_some();
        let asked = self.choice(section, "client-certificate", ASKING);
        let is_given = section.get("certificate").is_some();
        let check = self.table(section, "certificate", "{ roots = \"partner-ca\" }").map(|raw| {
            let path = section.path("certificate");
            (raw.at, self.client_check(&Section { path: &path, ..raw }))
        });
        match (asked.unwrap_or(Asking::NotAsked), check) {
            (Asking::Required, Some((_, check))) => {
                connector.client_certificate = ClientCertificate::Required(check);
            }
            (Asking::Required, None) if !is_given => {
                let (at, field) = section.place(&["client-certificate"]);
                let message = "a required certificate needs the field certificate, such as \
                               certificate = { roots = \"partner-ca\" }";
                self.error(at, field, message);
            }
            // A word that is none of those may have been meant for `required`.
            (Asking::NotAsked | Asking::Recorded, Some((at, _))) if asked.is_some() || !asking => {
                let message =
                    "only a required certificate is checked; set client-certificate = \"required\"";
                self.error(at, section.path("certificate"), message);
            }
            (Asking::Recorded, None) => connector.client_certificate = ClientCertificate::Recorded,
            (Asking::NotAsked, _) | (Asking::Required | Asking::Recorded, _) => {}
        }
        connector
    }

    fn client_check(&mut self, section: &Section<'_>) -> ClientCheck {
        self.unknown(section, CERTIFICATE);
        let mut check = ClientCheck::pinned(self.pins(section));
        check.roots = self.text(section, "roots", ROOTS).map(RootsId::new);
        check.names = self.names(section);
        check.purpose = self.choice(section, "purpose", PURPOSE);
        check.cn = self.choice(section, "cn", CN).unwrap_or_default();
        check.revocation = self.choice(section, "revocation", REVOCATION).unwrap_or_default();
        check
    }

    /// Refuses fields that there are not.
    fn unknown(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let field = match section.path {
                "" => shown(name),
                path => format!("{path}.{}", shown(name)),
            };
            let message = match nearest(name, known.iter().copied()) {
                Some(word) => {
                    self.in_doubt.push(section.path(word));
                    format!("there is no such field; did you mean {word}?")
                }
                None => format!("there is no such field; the fields are {}", known.join(", ")),
            };
            self.error(key.span().start, field, message);
        }
    }

    fn wrong_type(&mut self, section: &Section<'_>, key: &str, expected: &str) {
        let Some(value) = section.get(key) else { return };
        let message = format!("found {}; expected {expected}", found(value.get_ref()));
        self.error(value.span().start, section.path(key), message);
    }

    /// A text that is not empty, if the field is there.
    fn text<'a>(&mut self, section: &Section<'a>, key: &str, expected: &str) -> Option<&'a str> {
        match section.get(key)?.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.wrong_type(section, key, expected);
                None
            }
        }
    }

    fn required<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        expected: &str,
    ) -> Option<&'a str> {
        if section.get(key).is_none() {
            let message = format!("the field is missing; expected {expected}");
            self.error(section.at, section.path(key), message);
        }
        self.text(section, key, expected)
    }

    fn boolean(&mut self, section: &Section<'_>, key: &str) -> bool {
        match section.get(key).map(Spanned::get_ref) {
            None => false,
            Some(DeValue::Boolean(value)) => *value,
            Some(_) => {
                self.wrong_type(section, key, "true or false");
                false
            }
        }
    }

    fn port(&mut self, section: &Section<'_>, key: &str) -> Option<u16> {
        let value = section.get(key)?.get_ref();
        let port =
            value.as_integer().and_then(|it| u16::from_str_radix(it.as_str(), it.radix()).ok());
        let port = port.filter(|port| *port != 0);
        if port.is_none() {
            self.wrong_type(section, key, "a port number from 1 to 65535");
        }
        port
    }

    /// One of a few words.
    fn choice<T: Copy>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = section.get(key)?;
        let text = value.get_ref().as_str();
        if let Some((_, choice)) = words.iter().find(|(word, _)| Some(*word) == text) {
            return Some(*choice);
        }
        let meant = text.and_then(|text| nearest(text, words.iter().map(|(word, _)| *word)));
        let (found, expected) = (found(value.get_ref()), expected(words));
        let message = match meant {
            Some(word) => format!("found {found}; did you mean \"{word}\"? {}", capital(&expected)),
            None if text.is_none() && words.iter().all(|(it, _)| it.starts_with('1')) => {
                format!("found {found}; {expected}, in quotes")
            }
            None => format!("found {found}; {expected}"),
        };
        self.error(value.span().start, section.path(key), message);
        None
    }

    fn table<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        example: &str,
    ) -> Option<Section<'a>> {
        let value = section.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { path: "", table, at: value.span().start }),
            _ => {
                self.wrong_type(section, key, &format!("a table, such as {key} = {example}"));
                None
            }
        }
    }

    /// A list of texts, each of them parsed; empty if the field is not there.
    fn list<T, E: fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(value) = section.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(section, key, &format!("a list, such as {key} = [{example}]"));
            return Vec::new();
        };
        let array: &DeArray<'_> = array;
        let mut items = Vec::with_capacity(array.len());
        for value in array.iter() {
            let result = match value.get_ref() {
                DeValue::String(text) => {
                    parse(text).map_err(|error| format!("found \"{}\"; {error}", shown(text)))
                }
                other => {
                    Err(format!("found {}; expected a string, such as {example}", found(other)))
                }
            };
            match result {
                Ok(item) => items.push(item),
                Err(message) => self.error(value.span().start, section.path(key), message),
            }
        }
        items
    }

    fn namespaces(&mut self, section: &Section<'_>) -> Option<Vec<Namespace>> {
        let example = "\"example.com\", \"*.example.com\"";
        if section.get("namespaces").is_none() {
            let message =
                format!("the field is missing; expected a list, such as [{example}] or [\"*\"]");
            self.error(section.at, section.path("namespaces"), message);
            return None;
        }
        Some(self.list(section, "namespaces", example, domains::namespace))
    }

    fn names(&mut self, section: &Section<'_>) -> Vec<Reference> {
        self.given(section, "names", "\"mail.example.com\", \".example.com\"", domains::reference)
    }

    fn pins(&mut self, section: &Section<'_>) -> Vec<Pin> {
        self.given(section, "pins", "\"spki:sha256:...\"", Pin::parse)
    }

    /// A list that is not empty, if the field is there: an empty one would check nothing.
    fn given<T, E: fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        if section.get(key).and_then(|it| it.get_ref().as_array()).is_some_and(|it| it.is_empty()) {
            let expected = format!("at least one, such as {key} = [{example}], or no such field");
            self.wrong_type(section, key, &expected);
        }
        self.list(section, key, example, parse)
    }

    fn parsed<T, E: fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let (at, field) = section.place(&[key]);
                self.error(at, field, format!("found \"{}\"; {error}", shown(text)));
                None
            }
        }
    }
}

const ROOTS: &str = "the name of a set of roots, such as \"public\"";
