//! Connectors as `Get-SendConnector` and `Get-OutboundConnector` show them, in JSON.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};
use smtp_tls_policy::pki::Reference;
use smtp_tls_policy::rules::SmartHost;
use smtp_tls_policy::{Host, Namespace};

use super::{Rule, list, quoted};

/// A field of a connector; names are compared without regard to case, as PowerShell does.
struct Connector<'a>(&'a Map<String, Value>);

impl Connector<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(text).filter(|text| !text.is_empty())
    }

    /// A truth value, as such, as a number or as a word.
    fn is(&self, key: &str) -> bool {
        match self.get(key) {
            Some(Value::Bool(value)) => *value,
            Some(Value::Number(number)) => number.as_u64() != Some(0),
            Some(Value::String(text)) => {
                text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("$true")
            }
            _ => false,
        }
    }

    fn is_false(&self, key: &str) -> bool {
        self.get(key).is_some() && !self.is(key)
    }

    /// A list, or one value in place of a list. Windows PowerShell may write a list as an object
    /// with its values.
    fn list(&self, key: &str) -> Vec<&Value> {
        match self.get(key) {
            Some(Value::Array(values)) => values.iter().filter(|it| !it.is_null()).collect(),
            Some(Value::Object(object)) => match object.get("value") {
                Some(Value::Array(values)) => values.iter().filter(|it| !it.is_null()).collect(),
                _ => self.get(key).into_iter().collect(),
            },
            Some(Value::String(text)) if text.is_empty() => Vec::new(),
            one => one.into_iter().collect(),
        }
    }
}

/// A value in words. Objects are those of Exchange: an address space, a smart host, a domain.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null => String::new(),
        Value::Object(object) => ["Address", "Domain", "SmartHost", "Name", "value"]
            .iter()
            .filter_map(|key| object.get(*key))
            .map(text)
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        other => other.to_string(),
    }
}

pub(super) fn rules(json: &str) -> Result<Vec<Rule>, Vec<String>> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| vec![format!("the file is no JSON: {error}")])?;
    let all = match value {
        Value::Array(all) => all,
        Value::Object(mut object) => match object.remove("value") {
            Some(Value::Array(all)) => all,
            _ => vec![Value::Object(object)],
        },
        _ => Vec::new(),
    };
    if all.is_empty() {
        return Err(vec!["there is no connector of Exchange in it".to_owned()]);
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (index, one) in all.iter().enumerate() {
        let built = match one {
            Value::Object(object) => rule(&Connector(object)),
            _ => Err("this is no connector of Exchange".to_owned()),
        };
        match built {
            Ok(built) => found.push(built),
            Err(error) => errors.push(format!("connector {}: {error}", index + 1)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(cheapest(found))
}

/// A connector, with the cost of each of its namespaces.
struct Costly {
    rule: Rule,
    costs: Vec<u64>,
}

/// Leaves a namespace to the connector that Exchange chooses: the one with the lowest cost, and
/// among equals the first by name.
fn cheapest(all: Vec<Costly>) -> Vec<Rule> {
    let mut best: HashMap<String, (u64, String, usize)> = HashMap::new();
    for (index, Costly { rule, costs }) in all.iter().enumerate() {
        for (namespace, cost) in rule.namespaces.iter().zip(costs) {
            let offer = (*cost, rule.name.clone(), index);
            let taken = best.entry(namespace.clone()).or_insert_with(|| offer.clone());
            if offer < *taken {
                *taken = offer;
            }
        }
    }
    let chosen = |(index, Costly { mut rule, .. }): (usize, Costly)| {
        let (kept, left): (Vec<_>, Vec<_>) = std::mem::take(&mut rule.namespaces)
            .into_iter()
            .partition(|it| best.get(it).is_some_and(|(.., at)| *at == index));
        for namespace in left {
            let by = best.get(&namespace).map_or("", |(_, name, _)| name);
            rule.differences.push(format!(
                "connector {}: {namespace} is left to connector {by}, which Exchange prefers",
                rule.name
            ));
        }
        rule.namespaces = kept;
        rule
    };
    all.into_iter().enumerate().map(chosen).collect()
}

/// The namespaces of an address space, and its cost. `*.example.com` has the domain itself in it.
fn space(text: &str) -> Result<Option<(Vec<String>, u64)>, String> {
    let (text, cost) = match text.split_once(';') {
        Some((text, cost)) => (text, cost.trim().parse().unwrap_or(1)),
        None => (text, 1),
    };
    let domain = match text.split_once(':') {
        Some((kind, domain)) if kind.trim().eq_ignore_ascii_case("smtp") => domain,
        Some(_) => return Ok(None),
        None => text,
    };
    let domain = domain.trim().to_lowercase();
    let namespaces = match domain.strip_prefix("*.") {
        Some(parent) => vec![parent.to_owned(), domain.clone()],
        None => vec![domain.clone()],
    };
    if domain == "--" {
        return Ok(None);
    }
    for namespace in &namespaces {
        Namespace::parse(namespace).map_err(|error| format!("{domain}: {error}"))?;
    }
    Ok(Some((namespaces, cost)))
}

/// What Exchange has beside TLS, or beyond what a connector has here.
const WITHOUT_COUNTERPART: &[(&str, &str)] = &[
    ("DomainSecureEnabled", "it uses Domain Security (mutual TLS); set an identity"),
    ("IsScopedConnector", "only servers of its site use it"),
    ("RouteAllMessagesViaOnPremises", "all mail goes through the organisation's own servers"),
    ("AllAcceptedDomains", "it serves all accepted domains; add them to its namespaces"),
    ("CloudServicesMailEnabled", "it keeps headers of Exchange; here none are removed or added"),
    ("TestMode", "it is in test mode there"),
];

fn rule(connector: &Connector<'_>) -> Result<Costly, String> {
    let name = connector.text("Name").or_else(|| connector.text("Identity"));
    let name = name.ok_or("this is no connector of Exchange: it has no Name")?;
    for (key, what) in [
        ("SenderDomains", "an inbound connector"),
        ("RemoteIPRanges", "a receive connector"),
        ("Bindings", "a receive connector"),
    ] {
        if connector.get(key).is_some() {
            return Err(format!("{name} is {what}; export send or outbound connectors"));
        }
    }
    let mut rule = Rule { name: name.clone(), ..Rule::default() };
    let mut differences = Vec::new();
    let mut differs = |what: &str| differences.push(format!("connector {name}: {what}"));
    let mut costs = Vec::new();
    let is_left_out = if connector.is_false("Enabled") {
        differs("it is switched off there, and left out");
        true
    } else if connector.is("IsTransportRuleScoped") {
        differs("only transport rules use it; it is left out");
        true
    } else {
        false
    };
    for value in
        connector.list("AddressSpaces").into_iter().chain(connector.list("RecipientDomains"))
    {
        let text = address_space(value);
        match space(&text).map_err(|error| format!("{name}: {error}"))? {
            Some((namespaces, cost)) => {
                for namespace in namespaces {
                    if !rule.namespaces.contains(&namespace) {
                        rule.namespaces.push(namespace);
                        costs.push(cost);
                    }
                }
            }
            None => differs(&format!(
                "the address space {text} is left out: it names no domain of SMTP"
            )),
        }
    }
    if rule.namespaces.is_empty() && !is_left_out {
        differs("it names no domain; it is left out");
    }
    for (key, what) in WITHOUT_COUNTERPART {
        if connector.is(key) {
            differs(what);
        }
    }
    rule.posture = posture(connector, &mut differs).map_err(|error| format!("{name}: {error}"))?;
    if let Some(domain) = connector.text("TlsDomain") {
        // The certificate may have any name below the domain.
        let domain = domain.strip_prefix('*').unwrap_or(&domain).to_lowercase();
        match rule.posture {
            "secure" => {
                Reference::parse(&domain).map_err(|error| format!("{name}: TlsDomain: {error}"))?;
                rule.fields.push(format!("names = {}", list(&[domain])));
            }
            _ => differs("TlsDomain counts only with DomainValidation"),
        }
    }
    if let Some(field) =
        smart_host(connector, &mut differs).map_err(|it| format!("{name}: {it}"))?
    {
        rule.fields.push(field);
    }
    if let Some(source) = connector.text("SourceIPAddress") {
        match source.parse() {
            Ok(IpAddr::V4(it)) if !it.is_unspecified() => {
                rule.fields.push(format!("dial = {{ source-ipv4 = \"{it}\" }}"));
            }
            Ok(IpAddr::V6(it)) if !it.is_unspecified() => {
                rule.fields.push(format!("dial = {{ source-ipv6 = \"{it}\" }}"));
            }
            _ => {}
        }
    }
    if let Some(certificate) = connector.text("TlsCertificateName") {
        differs(&format!("it shows the client certificate {certificate}; set an identity"));
    }
    rule.differences = differences;
    if is_left_out {
        rule.namespaces.clear();
        costs.clear();
    }
    Ok(Costly { rule, costs })
}

/// `SMTP:example.com;1`, from a text or from an object with its parts.
fn address_space(value: &Value) -> String {
    let Value::Object(object) = value else { return text(value) };
    let part = |key: &str| object.get(key).map(text).filter(|it| !it.is_empty());
    let domain = part("Domain").or_else(|| part("Address"));
    let Some(mut domain) = domain else { return text(value) };
    if object.get("IncludeSubDomains") == Some(&Value::Bool(true)) && !domain.starts_with('*') {
        domain = format!("*.{domain}");
    }
    let (kind, cost) = (part("Type").unwrap_or("SMTP".into()), part("Cost").unwrap_or("1".into()));
    format!("{kind}:{domain};{cost}")
}

fn posture(
    connector: &Connector<'_>,
    differs: &mut impl FnMut(&str),
) -> Result<&'static str, String> {
    // Online it is TlsSettings; on a server of yours TlsAuthLevel.
    let level = ["TlsSettings", "TlsAuthLevel"].iter().find_map(|key| connector.text(key));
    let requires = connector.is("RequireTLS");
    for key in ["IgnoreSTARTTLS", "ForceHELO"] {
        if !connector.is(key) {
            continue;
        }
        if requires || level.is_some() {
            return Err(format!("{key} and a TLS level contradict each other"));
        }
        return Ok("none");
    }
    // ConvertTo-Json writes words, or the numbers of the enumeration.
    let level = level.map(|level| level.to_ascii_lowercase());
    Ok(match level.as_deref() {
        None | Some("none" | "0") if requires => "encrypt",
        None | Some("none" | "0") => "opportunistic",
        Some("encryptiononly" | "1") => "encrypt",
        Some("certificatevalidation" | "2") => {
            differs("Exchange checks the chain and no name; here the name of the host counts too");
            "verified"
        }
        Some("domainvalidation" | "3") => "secure",
        Some(_) => {
            let level = ["TlsSettings", "TlsAuthLevel"].iter().find_map(|key| connector.text(key));
            return Err(format!("there is no TLS level {}", level.unwrap_or_default()));
        }
    })
}

/// The field `smart-host`.
fn smart_host(
    connector: &Connector<'_>,
    differs: &mut impl FnMut(&str),
) -> Result<Option<String>, String> {
    let mut hosts: Vec<String> = connector.list("SmartHosts").into_iter().map(text).collect();
    if hosts.is_empty() {
        let all = connector.text("SmartHostsString").unwrap_or_default();
        hosts = all.split(',').map(|it| it.trim().to_owned()).collect();
    }
    hosts.retain(|host| !host.is_empty());
    let port = match connector.get("Port") {
        Some(port) => {
            let port = text(port).parse::<u16>().ok().filter(|port| *port != 0);
            port.ok_or("its Port is no port")?
        }
        None => SmartHost::DEFAULT_PORT,
    };
    let Some(host) = hosts.first() else {
        if port != SmartHost::DEFAULT_PORT {
            differs("it sends to another port than 25; only a smart host has a port here");
        }
        return Ok(None);
    };
    // By DNS: the smart hosts are those that were set before.
    if connector.is("UseMXRecord") || connector.is("DNSRoutingEnabled") {
        return Ok(None);
    }
    if hosts.len() > 1 {
        differs("only the first of its smart hosts is taken over");
    }
    let authenticates = connector.text("SmartHostAuthMechanism");
    if authenticates.is_some_and(|it| !it.eq_ignore_ascii_case("none") && it != "0") {
        differs("it authenticates at its smart host; give credentials to the program that sends");
    }
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let inner = match inner.parse::<Ipv6Addr>() {
        Ok(address) => address.to_string(),
        Err(_) => inner.to_lowercase(),
    };
    Host::parse(&inner).map_err(|error| format!("smart host {host}: {error}"))?;
    let port = match port {
        SmartHost::DEFAULT_PORT => String::new(),
        port => format!(", port = {port}"),
    };
    Ok(Some(format!("smart-host = {{ host = {}{port} }}", quoted(&inner))))
}
