//! Connectors as `Get-SendConnector` and `Get-OutboundConnector` show them, in JSON.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::Value;
use smtp_tls_policy::pki::Reference;
use smtp_tls_policy::rules::SmartHost;
use smtp_tls_policy::{Host, Namespace};

use super::powershell::{self, Object};
use super::{Rule, list, quoted};

pub(super) fn rules(json: &str) -> Result<Vec<Rule>, Vec<String>> {
    let mut all = Vec::new();
    // An export that is appended to another is a second text in the file.
    for value in serde_json::Deserializer::from_str(json).into_iter::<Value>() {
        let value = value.map_err(|error| {
            vec![format!("the file is no JSON ({error}); export it with ConvertTo-Json -Depth 4")]
        })?;
        match &value {
            Value::Array(_) | Value::Object(_) => all.extend(powershell::list(&value)),
            _ => all.push(value),
        }
    }
    if all.is_empty() {
        return Err(vec!["there is no connector of Exchange in it".to_owned()]);
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (index, one) in all.iter().enumerate() {
        let built = match one {
            Value::Object(object) => rule(Object(object)),
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
    let chosen = |(index, Costly { mut rule, costs }): (usize, Costly)| {
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
        if kept.is_empty() && !costs.is_empty() {
            rule.differences.push(format!(
                "connector {}: left out: other connectors have all of its address spaces",
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
    if text.starts_with("@{") || text.starts_with("System.") {
        return Err(format!("the export was cut off at {text}; export it with -Depth 4"));
    }
    let (text, cost) = match text.split_once(';') {
        Some((text, cost)) => {
            let cost = cost.trim().parse().map_err(|_| format!("{text}: its cost is no number"));
            (text, cost)
        }
        None => (text, Ok(1)),
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
    Ok(Some((namespaces, cost?)))
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

fn rule(connector: Object<'_>) -> Result<Costly, String> {
    let name = match connector.text("Name")? {
        Some(name) => Some(name),
        None => connector.text("Identity")?,
    };
    let name = name.ok_or("this is no connector of Exchange: it has no Name")?;
    rule_of(connector, &name).map_err(|error| format!("{name}: {error}"))
}

fn rule_of(connector: Object<'_>, name: &str) -> Result<Costly, String> {
    let is = |key: &str| connector.truth(key).map(|it| it == Some(true));
    for (key, what) in [
        ("SenderDomains", "an inbound connector"),
        ("RemoteIPRanges", "a receive connector"),
        ("Bindings", "a receive connector"),
    ] {
        if connector.get(key).is_some() {
            return Err(format!("this is {what}; export send or outbound connectors"));
        }
    }
    let mut rule = Rule { name: name.to_owned(), ..Rule::default() };
    let mut differences = Vec::new();
    let mut differs = |what: &str| differences.push(format!("connector {name}: {what}"));
    let mut costs = Vec::new();
    let is_left_out = if connector.truth("Enabled")? == Some(false) {
        differs("left out: it is switched off there");
        true
    } else if is("IsTransportRuleScoped")? {
        differs("left out: only transport rules use it");
        true
    } else {
        false
    };
    for value in
        connector.list("AddressSpaces").into_iter().chain(connector.list("RecipientDomains"))
    {
        let text = address_space(&value)?;
        match space(&text)? {
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
        differs("left out: it names no domain");
    }
    for (key, what) in WITHOUT_COUNTERPART {
        if is(key)? {
            differs(what);
        }
    }
    rule.posture = posture(connector, &mut differs)?;
    standards(connector, &mut rule, &mut differs)?;
    if is_of_a_server(connector) && rule.posture != "none" && !is_left_out {
        differs(
            "Exchange Server uses neither DANE nor MTA-STS; here both are used: for the same as \
             there, set dane = \"off\" and sts = \"off\"",
        );
    }
    if let Some(domain) = connector.text("TlsDomain")? {
        // The certificate may have any name below the domain.
        let domain = domain.strip_prefix('*').unwrap_or(&domain).to_lowercase();
        match rule.posture {
            "secure" => {
                Reference::parse(&domain).map_err(|error| format!("TlsDomain: {error}"))?;
                rule.fields.push(format!("names = {}", list(&[domain])));
            }
            _ => differs("TlsDomain counts only with DomainValidation"),
        }
    }
    rule.fields.extend(smart_host(connector, &mut differs)?);
    if let Some(source) = connector.text("SourceIPAddress")? {
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
    if let Some(certificate) = connector.text("TlsCertificateName")? {
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
fn address_space(value: &Value) -> Result<String, String> {
    let unknown = || format!("an address space has a form that is not known: {value}");
    let whole = || powershell::text(value).ok_or_else(unknown);
    let Value::Object(object) = value else { return whole() };
    let space = Object(object);
    let domain = match space.text("Domain")? {
        Some(domain) => Some(domain),
        None => space.text("Address")?,
    };
    let Some(mut domain) = domain else { return whole() };
    if space.truth("IncludeSubDomains")? == Some(true) && !domain.starts_with('*') {
        domain = format!("*.{domain}");
    }
    let kind = space.text("Type")?.unwrap_or("SMTP".into());
    let cost = space.text("Cost")?.unwrap_or("1".into());
    Ok(format!("{kind}:{domain};{cost}"))
}

fn posture(connector: Object<'_>, differs: &mut impl FnMut(&str)) -> Result<&'static str, String> {
    // Online it is TlsSettings; on a server of yours TlsAuthLevel.
    let level = match connector.text("TlsSettings")? {
        Some(level) => Some(level),
        None => connector.text("TlsAuthLevel")?,
    };
    let requires = connector.truth("RequireTLS")? == Some(true);
    for key in ["IgnoreSTARTTLS", "ForceHELO"] {
        if connector.truth(key)? != Some(true) {
            continue;
        }
        if requires || level.is_some() {
            return Err(format!("{key} and a TLS level contradict each other"));
        }
        return Ok("none");
    }
    // ConvertTo-Json writes words, or the numbers of the enumeration.
    let word = level.as_ref().map(|level| level.to_ascii_lowercase());
    Ok(match word.as_deref() {
        None | Some("none" | "0") if requires => "encrypt",
        None | Some("none" | "0") => "opportunistic",
        Some("encryptiononly" | "1") => "encrypt",
        Some("certificatevalidation" | "2") => {
            differs("Exchange checks the chain and no name; here the name of the host counts too");
            "verified"
        }
        Some("domainvalidation" | "3") => "secure",
        Some(_) => return Err(format!("there is no TLS level {}", level.unwrap_or_default())),
    })
}

/// DANE and MTA-STS, as Exchange Online has them: opportunistic unless set.
fn standards(
    connector: Object<'_>,
    rule: &mut Rule,
    differs: &mut impl FnMut(&str),
) -> Result<(), String> {
    let mode = |key: &str| {
        let mode = connector.text(key)?.unwrap_or_default().to_ascii_lowercase();
        Ok::<_, String>(mode)
    };
    match mode("SmtpDaneMode")?.as_str() {
        "" | "opportunistic" => {}
        "none" => rule.fields.push("dane = \"off\"".to_owned()),
        "mandatory" => rule.posture = "dane-only",
        other => {
            differs(&format!("its SmtpDaneMode {other} is not known; set dane or the posture"))
        }
    }
    match mode("MtaStsMode")?.as_str() {
        "" | "opportunistic" => {}
        "none" => rule.fields.push("sts = \"off\"".to_owned()),
        other => differs(&format!("its MtaStsMode {other} is not known; set sts")),
    }
    Ok(())
}

/// Whether a server of the organisation's own has this connector, and not Exchange Online.
fn is_of_a_server(connector: Object<'_>) -> bool {
    let is_there = |key: &&str| connector.get(key).is_some();
    let online = ["RecipientDomains", "TlsSettings", "SmtpDaneMode", "MtaStsMode"];
    connector.get("AddressSpaces").is_some() && !online.iter().any(is_there)
}

/// The field `smart-host`.
fn smart_host(
    connector: Object<'_>,
    differs: &mut impl FnMut(&str),
) -> Result<Option<String>, String> {
    let mut values = connector.list("SmartHosts");
    if values.is_empty() {
        values = connector.list("SmartHostsString");
    }
    let mut hosts = Vec::new();
    for value in &values {
        let unknown = || format!("a smart host has a form that is not known: {value}");
        hosts.push(powershell::text(value).ok_or_else(unknown)?);
    }
    hosts.retain(|host| !host.is_empty());
    let port = match connector.text("Port")? {
        Some(port) => {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0);
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
    let is = |key: &str| connector.truth(key).map(|it| it == Some(true));
    if is("UseMXRecord")? || is("DNSRoutingEnabled")? {
        return Ok(None);
    }
    if hosts.len() > 1 {
        differs("only the first of its smart hosts is taken over");
    }
    let authenticates = connector.text("SmartHostAuthMechanism")?;
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
