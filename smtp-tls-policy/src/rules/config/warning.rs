//! What is allowed in a configuration, and probably not meant.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use pki_types::UnixTime;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::{Host, Namespace};
use crate::pki::date::Date;
use crate::pki::roots::RootsId;
use crate::pki::trust::Trust;
use crate::rules::config::Config;
use crate::rules::config::error::Lines;
use crate::rules::connector::{ClientCertificate, OutboundConnector};
use crate::rules::posture::{DaneRule, Floor, Posture, StsRule};
use crate::sts::policy::Mode;

/// Something that is allowed in a configuration and probably not meant: where it is, and what to
/// do. Made by [`Config::warnings`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigWarning {
    /// The line, counted from 1; `None` if the warning is about no line of the file.
    pub line: Option<usize>,
    /// The field, such as `outbound.namespaces`; empty if the warning is about no field.
    pub field: String,
    /// What was found, its effect, and what to do, in one line.
    pub message: String,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, field {}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// What a domain publishes about the TLS of its mail, beside what the connector that serves it asks
/// for. [`Config::weaker_than_published`] compares the two.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The name of the outbound connector.
    pub connector: Arc<str>,
    /// The domain.
    pub domain: Host,
    /// The minimum protection that the connector's rules ask for.
    pub own: Floor,
    /// The minimum protection that the TLSA records of a host ask for; `None` if there are none, or
    /// the connector lets them count.
    pub by_dane: Option<Floor>,
    /// The mode of the MTA-STS policy, and the minimum protection that it asks for; `None` if there
    /// is none, or the connector lets it count.
    pub by_sts: Option<(Mode, Floor)>,
}

impl Published {
    /// A domain that publishes nothing.
    pub fn new(connector: Arc<str>, domain: Host, own: Floor) -> Self {
        Self { connector, domain, own, by_dane: None, by_sts: None }
    }
}

impl Config {
    /// The connectors that ask for less than the domains publish which they serve, and whose rules
    /// keep what is published from counting: in the order of the lines, each with what to change.
    ///
    /// `text` is what the configuration was read from.
    pub fn weaker_than_published(&self, text: &str, published: &[Published]) -> Vec<ConfigWarning> {
        let places = Places::of(text);
        let mut warnings = Vec::new();
        for domain in published {
            let found = self.outbound.iter().enumerate();
            let Some((index, connector)) =
                found.into_iter().find(|(_, it)| it.name == domain.connector)
            else {
                continue;
            };
            let dane = domain.by_dane.filter(|floor| *floor > domain.own).map(|floor| {
                format!("its hosts have TLSA records, which ask for {}", words(floor))
            });
            let sts = domain.by_sts.and_then(|(mode, floor)| match mode {
                Mode::Enforce if floor > domain.own => {
                    Some(format!("its MTA-STS policy (mode enforce) asks for {}", words(floor)))
                }
                Mode::Testing if domain.own < Floor::Authenticated => {
                    let later = words(Floor::Authenticated);
                    Some(format!("its MTA-STS policy (mode testing) may soon ask for {later}"))
                }
                Mode::None | Mode::Testing | Mode::Enforce => None,
            });
            let mut warn = |key, published: &[&String], fix: &str| {
                let published: Vec<&str> = published.iter().map(|it| it.as_str()).collect();
                let message = format!(
                    "mail for \"{}\" needs only {}, although {}; {fix}",
                    domain.domain,
                    words(domain.own),
                    published.join(", and "),
                );
                warnings.push(places.warning(index, key, 0, message));
            };
            if connector.posture == Posture::None {
                let causes: Vec<_> = dane.iter().chain(&sts).collect();
                let is_off = |off: bool, line| if off { line } else { "" };
                let fix = format!(
                    "choose posture \"opportunistic\"{}{}",
                    is_off(
                        dane.is_some() && connector.dane == DaneRule::Off,
                        ", without dane = \"off\""
                    ),
                    is_off(
                        sts.is_some() && connector.sts == StsRule::Off,
                        ", without sts = \"off\""
                    ),
                );
                if !causes.is_empty() {
                    warn("posture", &causes, &fix);
                }
                continue;
            }
            if let Some(dane) = &dane {
                warn("dane", &[dane], "remove dane = \"off\"");
            }
            if let Some(sts) = &sts {
                warn("sts", &[sts], "remove sts = \"off\"");
            }
        }
        warnings.sort_by_key(|warning| warning.line);
        warnings
    }

    /// What in this configuration is probably not meant, in the order of the lines: a namespace
    /// without effect, a narrow namespace with weaker rules than the wide one around it, a
    /// connector that never uses TLS, a set of roots that no connector names, a revocation list
    /// that is past its next update, and CRLite filters that are out of date.
    ///
    /// `text` is what the configuration was read from. `trust` holds the sets of roots, other than
    /// the public ones, the revocation lists and the filters.
    pub fn warnings(&self, text: &str, trust: &Trust, now: UnixTime) -> Vec<ConfigWarning> {
        let mut warnings = Vec::new();
        let (places, wide) = (Places::of(text), self.wide());
        for (index, connector) in self.outbound.iter().enumerate() {
            if connector.posture == Posture::None {
                let message = format!(
                    "connector \"{}\" never uses TLS; choose posture \"opportunistic\" unless that \
                     is meant",
                    connector.name
                );
                warnings.push(places.warning(index, "posture", 0, message));
            }
            for (position, namespace) in connector.namespaces.iter().enumerate() {
                if let Some(message) = shadow(&wide, connector, namespace) {
                    warnings.push(places.warning(index, "namespaces", position, message));
                }
            }
        }
        warnings.sort_by_key(|warning| warning.line);
        for id in trust.names() {
            if *id != RootsId::public() && !self.names_roots(id) {
                warnings.push(ConfigWarning {
                    line: None,
                    field: String::new(),
                    message: format!("no connector uses the roots \"{id}\"; name or remove them"),
                });
            }
            for list in trust.crls(id) {
                if list.next_update() < now {
                    let due = Date(list.next_update());
                    warnings.push(ConfigWarning {
                        line: None,
                        field: String::new(),
                        message: format!(
                            "a revocation list of the roots \"{id}\" was due to be replaced on \
                             {due}; load the current one"
                        ),
                    });
                }
            }
        }
        if let Some(crlite) = trust.crlite()
            && let Some(made) = crlite.made().filter(|_| !crlite.is_current(now))
        {
            warnings.push(ConfigWarning {
                line: None,
                field: String::new(),
                message: format!(
                    "the CRLite data is of {} and clears no certificate; fetch the current data",
                    Date(made)
                ),
            });
        }
        warnings
    }

    /// The connector of each namespace that holds all domains below one.
    fn wide(&self) -> Wide<'_> {
        let all = self.outbound.iter().flat_map(|connector| {
            connector.namespaces.iter().filter_map(move |namespace| match namespace {
                Namespace::Subdomains(parent) => Some((parent.as_str(), (namespace, connector))),
                Namespace::Exact(_) | Namespace::Default => None,
            })
        });
        all.collect()
    }

    fn names_roots(&self, id: &RootsId) -> bool {
        let outbound = self.outbound.iter().any(|connector| connector.roots == *id);
        outbound
            || self.inbound.iter().any(|connector| match &connector.client_certificate {
                ClientCertificate::Required(check) => check.roots.as_ref() == Some(id),
                ClientCertificate::NotAsked | ClientCertificate::Recorded => false,
            })
    }
}

/// Namespaces of all domains below one, by that domain.
type Wide<'c> = HashMap<&'c str, (&'c Namespace, &'c OutboundConnector)>;

/// Why a namespace of a connector has no effect, or a weaker one than that around it.
fn shadow(wide: &Wide<'_>, connector: &OutboundConnector, namespace: &Namespace) -> Option<String> {
    let domain = match namespace {
        Namespace::Exact(domain) | Namespace::Subdomains(domain) => domain,
        Namespace::Default => return None,
    };
    // The narrowest other namespace that holds all domains of this one.
    let (around, outer) = domain.suffixes().skip(1).find_map(|parent| wide.get(parent))?;
    if outer.name == connector.name {
        return Some(format!(
            "\"{namespace}\" has no effect, because the same connector serves \"{around}\"; \
             remove it"
        ));
    }
    let (inner, outside) = (strength(connector), strength(outer));
    (inner < outside).then(|| {
        format!(
            "mail for \"{namespace}\" needs only {}, although connector \"{}\" asks for {} for \
             \"{around}\"; raise the posture, or remove the namespace",
            words(inner),
            outer.name,
            words(outside),
        )
    })
}

/// The least that a connector asks for, whatever else a domain publishes.
fn strength(connector: &OutboundConnector) -> Floor {
    match connector.require_tls {
        // A posture with a check has its check decide then, as `plan` does.
        true if connector.posture == Posture::Deterministic => Floor::Authenticated,
        true => connector.posture.floor().max(Floor::Encrypted),
        false => connector.posture.floor(),
    }
}

fn words(floor: Floor) -> &'static str {
    match floor {
        Floor::Plaintext => "clear text",
        Floor::Encrypted => "TLS with any certificate",
        Floor::Authenticated => "TLS with a checked certificate",
    }
}

/// Finds the lines of a text that was read without an error.
struct Places<'t> {
    table: Option<Spanned<DeTable<'t>>>,
    lines: Lines,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Self {
        Self { table: DeTable::parse(text).ok(), lines: Lines::of(text) }
    }

    /// A warning about an item of a field of an outbound connector; the items of a field that is no
    /// list have its place.
    fn warning(&self, index: usize, key: &str, item: usize, message: String) -> ConfigWarning {
        let at = || {
            let table = self.table.as_ref()?.get_ref();
            let connectors = table.get("outbound")?.get_ref().as_array()?.get(index)?;
            let value = connectors.get_ref().as_table()?.get(key)?;
            let item = match value.get_ref() {
                DeValue::Array(items) => items.get(item).map(|it| it.span().start),
                _ => None,
            };
            Some(item.unwrap_or(value.span().start))
        };
        let line = at().map(|at| self.lines.at(at));
        ConfigWarning { line, field: format!("outbound.{key}"), message }
    }
}
