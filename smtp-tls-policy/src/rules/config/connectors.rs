//! Reads a connector: the tables of `[[outbound]]` and `[[inbound]]`, field by field.

use toml::de::{DeTable, DeValue};

use crate::domain::Namespace;
use crate::pki::names::{CnFallback, Reference};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::rules::config::error::{expected, found};
use crate::rules::config::section::Section;
use crate::rules::config::{Reader, domains};
use crate::rules::connector::{
    ClientCertificate, ClientCheck, ClientPurpose, InboundConnector, OutboundConnector,
};
use crate::rules::identity::IdentityId;
use crate::rules::posture::{DaneRule, OptionalTls, Posture, StsRule, Yield, Yields};

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

const ROOTS: &str = "the name of a set of roots, such as \"public\"";

impl Reader<'_> {
    /// The tables of an array of tables.
    pub(super) fn sections<'a>(
        &mut self,
        table: &'a DeTable<'a>,
        key: &'a str,
    ) -> Vec<Section<'a>> {
        let Some(value) = table.get(key) else {
            return Vec::new();
        };
        let hint = format!("write [[{key}]], in double brackets, before each connector");
        let DeValue::Array(array) = value.get_ref() else {
            let found = found(value.get_ref());
            self.error(value.span().start, key, format!("found {found}; {hint}"));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for value in array.iter() {
            match value.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section { path: key, table, at: value.span().start });
                }
                other => {
                    let message = format!("found {}; {hint}", found(other));
                    self.error(value.span().start, key, message);
                }
            }
        }
        sections
    }

    pub(super) fn outbound(&mut self, section: &Section<'_>) -> OutboundConnector {
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

    pub(super) fn posture(&mut self, section: &Section<'_>) -> Option<Posture> {
        let postures = Posture::ALL.map(|posture| (posture.as_str(), posture));
        if section.get("posture").is_none() {
            let message = format!("the field is missing; {}", expected(&postures));
            self.error(section.at, section.path("posture"), message);
        }
        self.choice(section, "posture", &postures)
    }

    pub(super) fn inbound(&mut self, section: &Section<'_>) -> InboundConnector {
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

    pub(super) fn client_check(&mut self, section: &Section<'_>) -> ClientCheck {
        self.unknown(section, CERTIFICATE);
        let mut check = ClientCheck::pinned(self.pins(section));
        check.roots = self.text(section, "roots", ROOTS).map(RootsId::new);
        check.names = self.names(section);
        check.purpose = self.choice(section, "purpose", PURPOSE);
        check.cn = self.choice(section, "cn", CN).unwrap_or_default();
        check.revocation = self.choice(section, "revocation", REVOCATION).unwrap_or_default();
        check
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
}
