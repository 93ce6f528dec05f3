//! Connectors read from TOML. Needs the feature `serde`.
//!
//! ```
//! let config = smtp_tls_policy::rules::Config::from_toml(r#"
//!     [[outbound]]
//!     name = "everybody"
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
//!     identity = "our-client-key"         # default: none
//!     smart-host = { host = "gw.bank.example", port = 465, implicit-tls = true, secure = true }
//!     yields = { refused = "later", broken = "now", untrusted = "never" }
//!     dane = "any-mx"                     # off | secure-mx | any-mx (default)
//!     sts = "on"                          # off | unless-dane | on (default)
//!     optional-tls = "published"          # what TLS-Required: No takes back: published (default) | everything
//!
//!     [[outbound]]
//!     name = "branch"
//!     namespaces = ["branch.example"]
//!     posture = "pinned"
//!     pins = [                            # cert or spki; sha256, sha384 or sha512; any of them will do
//!         "spki:sha256:2a16f8e0b1c7d94c55e0f3ab2a16f8e0b1c7d94c55e0f3ab2a16f8e0b1c7d94c",
//!         "cert:sha256:9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08",
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
//!     certificate = { roots = "partner-ca", names = ["out.partner.example"] }
//!     # purpose = "client" or "client-or-server" (default where names are given); pins = ["spki:.."]
//! "#)?;
//! assert_eq!(config.outbound.iter().count(), 3);
//!
//! let error = smtp_tls_policy::rules::Config::from_toml(r#"
//! [[outbound]]
//! name = "everybody"
//! namespaces = ["*"]
//! posture = "secur"
//! "#).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "line 5, field outbound.posture: unknown posture \"secur\"; \
//!      one of none, opportunistic, deterministic, encrypt, verified, secure, private-ca, dane-only, pinned",
//! );
//! # Ok::<(), smtp_tls_policy::rules::ConfigError>(())
//! ```
//!
//! Unknown fields are refused. Without `[[inbound]]` nothing is asked of clients.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::{Host, Namespace};
use crate::pki::names::{CnFallback, Reference};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::rules::connector::{
    ClientCertificate, ClientCheck, ClientPurpose, ConnectorError, ConnectorErrorKind, IdentityId,
    InboundConnector, InboundConnectors, OutboundConnector, OutboundConnectors, SmartHost,
};
use crate::rules::posture::{DaneRule, OptionalTls, Posture, StsRule, Yield, Yields};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is asked of servers, by recipient domain.
    pub outbound: OutboundConnectors,
    /// What is asked of clients, by sender domain.
    pub inbound: InboundConnectors,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    line: usize,
    field: String,
    message: String,
}

impl ConfigError {
    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The field, as `outbound.posture`; empty where the text is no TOML.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a configuration.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            located(text, span, error.message())
        })?;
        file.build().map_err(|(span, message)| located(text, span, &message))
    }
}

/// Where in the text, and what.
type Located = (Range<usize>, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    outbound: Vec<Spanned<Outbound>>,
    #[serde(default)]
    inbound: Vec<Spanned<Inbound>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Outbound {
    name: Spanned<String>,
    namespaces: Spanned<Vec<Spanned<String>>>,
    posture: Spanned<String>,
    #[serde(default)]
    require_tls: bool,
    smart_host: Option<RawSmartHost>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
    #[serde(default)]
    cn: CnFallback,
    roots: Option<Spanned<String>>,
    #[serde(default)]
    revocation: Revocation,
    identity: Option<String>,
    #[serde(default)]
    yields: RawYields,
    #[serde(default)]
    pins: Vec<Spanned<String>>,
    #[serde(default)]
    dane: DaneRule,
    #[serde(default)]
    sts: StsRule,
    #[serde(default)]
    optional_tls: OptionalTls,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSmartHost {
    host: Spanned<String>,
    port: Option<u16>,
    #[serde(default)]
    implicit_tls: bool,
    #[serde(default)]
    secure: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawYields {
    refused: Option<Yield>,
    broken: Option<Yield>,
    untrusted: Option<Yield>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Inbound {
    name: Spanned<String>,
    namespaces: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    require_tls: bool,
    client_certificate: Option<Spanned<Asking>>,
    certificate: Option<Spanned<Certificate>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Asking {
    NotAsked,
    Recorded,
    Required,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Certificate {
    roots: Option<String>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
    purpose: Option<ClientPurpose>,
    #[serde(default)]
    pins: Vec<Spanned<String>>,
    #[serde(default)]
    cn: CnFallback,
    #[serde(default)]
    revocation: Revocation,
}

/// Where the fields of a connector stand, for errors that a set of connectors reports.
struct Places {
    whole: Range<usize>,
    name: Range<usize>,
    namespaces: Range<usize>,
    each_namespace: Vec<Range<usize>>,
}

impl Places {
    fn new<T>(
        connector: &Spanned<T>,
        name: &Spanned<String>,
        namespaces: &Spanned<Vec<Spanned<String>>>,
    ) -> Self {
        Self {
            whole: connector.span(),
            name: name.span(),
            namespaces: namespaces.span(),
            each_namespace: namespaces.get_ref().iter().map(Spanned::span).collect(),
        }
    }

    fn locate(places: &[Self], error: ConnectorError) -> Located {
        let span = places.get(error.index).map_or(0..0, |place| match error.kind {
            ConnectorErrorKind::NoName | ConnectorErrorKind::DuplicateName => place.name.clone(),
            ConnectorErrorKind::NoNamespaces => place.namespaces.clone(),
            ConnectorErrorKind::DuplicateNamespace(position) => {
                place.each_namespace.get(position).unwrap_or(&place.namespaces).clone()
            }
            _ => place.whole.clone(),
        });
        (span, error.kind.to_string())
    }
}

impl File {
    fn build(self) -> Result<Config, Located> {
        let mut places = Vec::with_capacity(self.outbound.len());
        let mut outbound = Vec::with_capacity(self.outbound.len());
        for connector in self.outbound {
            let raw = connector.get_ref();
            places.push(Places::new(&connector, &raw.name, &raw.namespaces));
            outbound.push(connector.into_inner().build()?);
        }
        let outbound =
            OutboundConnectors::new(outbound).map_err(|error| Places::locate(&places, error))?;

        let mut places = Vec::with_capacity(self.inbound.len());
        let mut inbound = Vec::with_capacity(self.inbound.len());
        for connector in self.inbound {
            let raw = connector.get_ref();
            places.push(Places::new(&connector, &raw.name, &raw.namespaces));
            inbound.push(connector.into_inner().build()?);
        }
        if inbound.is_empty() {
            inbound.push(InboundConnector::new("default", vec![Namespace::Default]));
        }
        let inbound =
            InboundConnectors::new(inbound).map_err(|error| Places::locate(&places, error))?;
        Ok(Config { outbound, inbound })
    }
}

impl Outbound {
    fn build(self) -> Result<OutboundConnector, Located> {
        let posture = self.posture.get_ref();
        let posture = posture.parse::<Posture>().map_err(|_| {
            let known = Posture::ALL.map(Posture::as_str).join(", ");
            let message = format!("unknown posture {posture:?}; one of {known}");
            (self.posture.span(), message)
        })?;
        let namespaces = each(self.namespaces.get_ref(), Namespace::parse)?;
        let mut connector = OutboundConnector::new(self.name.get_ref(), namespaces, posture);
        connector.require_tls = self.require_tls;
        if let Some(raw) = self.smart_host {
            let mut smart_host = SmartHost::new(one(&raw.host, Host::parse)?);
            smart_host.port = raw.port.unwrap_or(SmartHost::DEFAULT_PORT);
            smart_host.implicit_tls = raw.implicit_tls;
            smart_host.secure = raw.secure;
            connector.smart_host = Some(smart_host);
        }
        connector.names = each(&self.names, Reference::parse)?;
        connector.cn = self.cn;
        if let Some(roots) = &self.roots {
            connector.roots = RootsId::new(roots.get_ref());
        }
        connector.revocation = self.revocation;
        connector.identity = self.identity.as_deref().map(IdentityId::new);
        let default = Yields::default();
        connector.yields = Yields {
            refused: self.yields.refused.unwrap_or(default.refused),
            broken: self.yields.broken.unwrap_or(default.broken),
            untrusted: self.yields.untrusted.unwrap_or(default.untrusted),
        };
        connector.pins = each(&self.pins, Pin::parse)?;
        connector.dane = self.dane;
        connector.sts = self.sts;
        connector.optional_tls = self.optional_tls;
        Ok(connector)
    }
}

impl Inbound {
    fn build(self) -> Result<InboundConnector, Located> {
        let namespaces = each(self.namespaces.get_ref(), Namespace::parse)?;
        let mut connector = InboundConnector::new(self.name.get_ref(), namespaces);
        connector.require_tls = self.require_tls;
        let asked = self.client_certificate.as_ref().map(|a| *a.get_ref());
        connector.client_certificate = match (asked.unwrap_or(Asking::NotAsked), self.certificate) {
            (Asking::NotAsked, None) => ClientCertificate::NotAsked,
            (Asking::Recorded, None) => ClientCertificate::Recorded,
            (Asking::Required, Some(raw)) => {
                if raw.get_ref().roots.is_none() && raw.get_ref().pins.is_empty() {
                    let message = "a required certificate needs `roots` or `pins`";
                    return Err((raw.span(), message.into()));
                }
                let raw = raw.into_inner();
                let mut check = ClientCheck::pinned(each(&raw.pins, Pin::parse)?);
                check.roots = raw.roots.map(|roots| RootsId::new(&roots));
                check.purpose = raw.purpose;
                check.names = each(&raw.names, Reference::parse)?;
                check.cn = raw.cn;
                check.revocation = raw.revocation;
                ClientCertificate::Required(check)
            }
            (Asking::Required, None) => {
                let span = self.client_certificate.map_or(0..0, |asked| asked.span());
                return Err((span, "a required certificate needs `certificate`".into()));
            }
            (Asking::NotAsked | Asking::Recorded, Some(raw)) => {
                let message = "only a required certificate is checked; set client-certificate";
                return Err((raw.span(), message.into()));
            }
        };
        Ok(connector)
    }
}

fn one<T, E: fmt::Display>(
    text: &Spanned<String>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Located> {
    parse(text.get_ref()).map_err(|error| (text.span(), format!("{:?}: {error}", text.get_ref())))
}

fn each<T, E: fmt::Display>(
    texts: &[Spanned<String>],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, Located> {
    texts.iter().map(|text| one(text, &parse)).collect()
}

fn located(text: &str, span: Range<usize>, message: &str) -> ConfigError {
    let before = text.get(..span.start).unwrap_or(text);
    let mut field = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        descend(table.get_ref(), span.start, &mut field);
    }
    ConfigError {
        line: before.matches('\n').count() + 1,
        field: field.join("."),
        message: message.to_owned(),
    }
}

/// Collects the keys on the way to what stands at this place of the text; true once it is found.
fn descend(table: &DeTable<'_>, at: usize, keys: &mut Vec<String>) -> bool {
    for (key, value) in table {
        keys.push(key.get_ref().to_string());
        if key.span().contains(&at) || inside(value, at, keys) {
            return true;
        }
        keys.pop();
    }
    false
}

fn inside(value: &Spanned<DeValue<'_>>, at: usize, keys: &mut Vec<String>) -> bool {
    let deeper = match value.get_ref() {
        DeValue::Table(table) => descend(table, at, keys),
        DeValue::Array(array) => array.iter().any(|value| inside(value, at, keys)),
        _ => false,
    };
    deeper || value.span().contains(&at)
}
