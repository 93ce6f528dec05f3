//! `import`: connectors from the rules of another product.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;
use smtp_tls_policy::rules::Config;

use crate::input;
use crate::output::Out;
use crate::status::{Failure, Status};

/// Convert the TLS rules of Postfix or Exchange to a file of connectors
///
/// Reads the text of a smtp_tls_policy_maps table, or the connectors of Exchange in JSON, and
/// writes connectors in TOML to standard output. Each difference in meaning is a comment above the
/// connector.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls import postfix /etc/postfix/tls_policy > connectors.toml
  smtp-tls import exchange send.json > connectors.toml

For Exchange, in PowerShell, the first on a server of yours, the second online:
  Get-SendConnector | ConvertTo-Json -Depth 4 > send.json
  Get-OutboundConnector | ConvertTo-Json -Depth 4 > outbound.json

Exit status: 0 if nothing differs in meaning, 3 if something does, 5 if the
file cannot be read.")]
pub(crate) struct Args {
    /// The product whose rules the file holds
    product: Product,
    /// The table of Postfix, or the JSON of Exchange
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Product {
    Postfix,
    Exchange,
}

/// A connector to be, in words of the configuration.
#[derive(Default)]
struct Rule {
    name: String,
    namespaces: Vec<String>,
    posture: &'static str,
    /// Further fields, as they are written.
    fields: Vec<String>,
    differences: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let text = input::read_text(&args.file)?;
    let mut rules = match args.product {
        Product::Postfix => postfix(&text).map_err(|error| Failure::file(&args.file, error))?,
        Product::Exchange => exchange(&text).map_err(|error| Failure::file(&args.file, error))?,
    };
    if !rules.iter().any(|rule| rule.namespaces.iter().any(|it| it == "*")) {
        rules.push(Rule {
            name: "default".to_owned(),
            namespaces: vec!["*".to_owned()],
            posture: "opportunistic",
            differences: vec!["the file has no rule for all other domains; set its posture".into()],
            ..Rule::default()
        });
    }
    let toml = written(&rules);
    // What is written must be what `lint` accepts.
    Config::parse("the imported rules", &toml).map_err(|errors| {
        let first = errors.iter().next().map(ToString::to_string);
        Failure::file(&args.file, first.unwrap_or_default())
    })?;
    out.raw(toml.as_bytes())?;
    Ok(match rules.iter().all(|rule| rule.differences.is_empty()) {
        true => Status::Good,
        false => Status::Unsure,
    })
}

fn written(rules: &[Rule]) -> String {
    let mut toml = String::new();
    for rule in rules {
        for difference in &rule.differences {
            let line = difference.replace(|c: char| c.is_control(), " ");
            let _ = writeln!(toml, "# {line}");
        }
        if rule.namespaces.is_empty() {
            toml.push('\n');
            continue;
        }
        let names: Vec<String> = rule.namespaces.iter().map(|it| quoted(it)).collect();
        let _ = writeln!(
            toml,
            "[[outbound]]\nname = {}\nnamespaces = [{}]\nposture = {}",
            quoted(&rule.name),
            names.join(", "),
            quoted(rule.posture),
        );
        for field in &rule.fields {
            let _ = writeln!(toml, "{field}");
        }
        toml.push('\n');
    }
    toml
}

/// A string of TOML; those of JSON are among them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", "))
}

/// A table of postmap(1): a line that begins with white space continues the one before.
fn postfix(text: &str) -> Result<Vec<Rule>, String> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => {
                *last = format!("{last} {}", line.trim());
            }
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    lines.iter().map(|(number, line)| postfix_rule(*number, line)).collect()
}

fn postfix_rule(number: usize, line: &str) -> Result<Rule, String> {
    let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let key = words.next().unwrap_or_default();
    let level = words.next().ok_or_else(|| format!("line {number}: the policy is missing"))?;
    let mut rule = Rule { name: key.to_owned(), ..Rule::default() };
    let differs = |rule: &mut Rule, what: String| {
        rule.differences.push(format!("line {number}, {key}: {what}"));
    };
    let (mut names, mut roots) = (Vec::new(), None);
    for word in words {
        match word.split_once('=') {
            Some(("match", value)) => names.extend(value.split([':', '|']).map(str::to_owned)),
            Some(("tafile", value)) => roots = Some(value.to_owned()),
            Some((attribute, _)) => {
                differs(&mut rule, format!("the attribute {attribute} has no counterpart"));
            }
            None => return Err(format!("line {number}: {word} is no attribute")),
        }
    }
    rule.fields.push("sts = \"off\"".to_owned());
    let without_dane = "dane = \"off\"".to_owned();
    rule.posture = match level {
        "none" => "none",
        "may" => "opportunistic",
        "encrypt" => "encrypt",
        "dane" => "opportunistic",
        "dane-only" => "dane-only",
        "verify" => "verified",
        "secure" if names == ["hostname"] => "verified",
        "secure" => "secure",
        "fingerprint" => "pinned",
        other => return Err(format!("line {number}: there is no level {other}")),
    };
    if !matches!(level, "dane" | "dane-only") {
        rule.fields.push(without_dane);
    }
    if level == "fingerprint" {
        // `match` was cut at the colons between the octets.
        let digits = names.concat().to_ascii_lowercase();
        let pins: Vec<String> = (0..digits.len() / 64)
            .filter_map(|at| digits.get(at * 64..at * 64 + 64))
            .flat_map(|it| [format!("cert:sha256:{it}"), format!("spki:sha256:{it}")])
            .collect();
        if pins.is_empty() || digits.len() % 64 != 0 {
            let what = "only SHA-256 fingerprints can be pinned; the pin below matches nothing, so \
                        that mail waits until you replace it";
            differs(&mut rule, what.to_owned());
            let none = format!("cert:sha256:{}", "00".repeat(32));
            rule.fields.push(format!("pins = {}", list(&[none])));
        } else {
            rule.fields.push(format!("pins = {}", list(&pins)));
        }
    } else {
        let words = ["hostname", "nexthop", "dot-nexthop"];
        if names.iter().any(|name| words.contains(&name.as_str())) {
            let is_default = match rule.posture {
                "verified" => names == ["hostname"],
                _ => names == ["nexthop", "dot-nexthop"],
            };
            if !is_default {
                let what = format!("match={} is not the same as the names here", names.join(":"));
                differs(&mut rule, what);
            }
            names.retain(|name| !words.contains(&name.as_str()));
        }
        if !names.is_empty() && matches!(rule.posture, "verified" | "secure") {
            rule.fields.push(format!("names = {}", list(&names)));
        }
    }
    if let Some(path) = roots.filter(|_| matches!(rule.posture, "verified" | "secure")) {
        rule.fields.push(format!("roots = {}", quoted(&path)));
        differs(&mut rule, format!("give the roots with --ca {path}=FILE"));
    }
    match key.strip_prefix('.') {
        Some(parent) => rule.namespaces.push(format!("*.{parent}")),
        None if key.starts_with('[') || key.contains(':') => {
            let what = "the next hop is a host; write a smart-host in the connector of its domains";
            differs(&mut rule, what.to_owned());
        }
        None => rule.namespaces.push(key.to_owned()),
    }
    Ok(rule)
}

/// One connector, as `ConvertTo-Json` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Connector {
    name: String,
    /// Get-SendConnector: `SMTP:contoso.com;1`.
    #[serde(default)]
    address_spaces: Vec<serde_json::Value>,
    /// Get-OutboundConnector.
    #[serde(default)]
    recipient_domains: Vec<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default, rename = "RequireTLS")]
    require_tls: Option<bool>,
    #[serde(default, rename = "IgnoreSTARTTLS")]
    ignore_starttls: Option<bool>,
    #[serde(default, alias = "TlsAuthLevel")]
    tls_settings: Option<serde_json::Value>,
    #[serde(default)]
    tls_domain: Option<String>,
    #[serde(default)]
    smart_hosts: Vec<serde_json::Value>,
}

fn exchange(text: &str) -> Result<Vec<Rule>, String> {
    let json = text.trim_start_matches('\u{feff}');
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("the file is no JSON: {error}"))?;
    let all = match value {
        serde_json::Value::Array(all) => all,
        one => vec![one],
    };
    all.into_iter()
        .map(|one| {
            let connector: Connector = serde_json::from_value(one)
                .map_err(|error| format!("this is no connector of Exchange: {error}"))?;
            exchange_rule(&connector)
        })
        .collect()
}

fn exchange_rule(connector: &Connector) -> Result<Rule, String> {
    let mut rule = Rule { name: connector.name.clone(), ..Rule::default() };
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(object) => ["Address", "Domain", "SmartHost"]
            .iter()
            .find_map(|key| object.get(*key)?.as_str().map(str::to_owned))
            .unwrap_or_default(),
        other => other.to_string(),
    };
    let spaces = connector.address_spaces.iter().map(text).map(|space| {
        let space = space.split_once(':').map_or(space.as_str(), |(_, rest)| rest);
        space.split(';').next().unwrap_or_default().to_owned()
    });
    rule.namespaces = spaces.chain(connector.recipient_domains.iter().cloned()).collect();
    let mut differs = |what: &str| {
        rule.differences.push(format!("connector {}: {what}", connector.name));
    };
    if connector.enabled == Some(false) {
        differs("it is switched off there");
    }
    let level = match &connector.tls_settings {
        // Exchange writes the words, or the numbers of its enumeration.
        Some(serde_json::Value::Number(number)) => match number.as_u64() {
            Some(1) => "EncryptionOnly".to_owned(),
            Some(2) => "CertificateValidation".to_owned(),
            Some(3) => "DomainValidation".to_owned(),
            _ => {
                return Err(format!(
                    "connector {}: there is no TLS level {number}",
                    connector.name
                ));
            }
        },
        Some(serde_json::Value::String(level)) => level.clone(),
        _ => String::new(),
    };
    rule.posture = match level.as_str() {
        _ if connector.ignore_starttls == Some(true) => "none",
        "" if connector.require_tls == Some(true) => "encrypt",
        "" => "opportunistic",
        "EncryptionOnly" => "encrypt",
        "CertificateValidation" => {
            differs("Exchange checks the chain and no name; here the name of the host counts too");
            "verified"
        }
        "DomainValidation" => "secure",
        other => {
            return Err(format!("connector {}: there is no TLS level {other}", connector.name));
        }
    };
    if let Some(domain) = connector.tls_domain.as_ref().filter(|it| !it.is_empty()) {
        let name = domain.strip_prefix('*').unwrap_or(domain);
        if matches!(rule.posture, "verified" | "secure") {
            rule.fields.push(format!("names = {}", list(&[name.to_owned()])));
        }
    }
    let hosts: Vec<String> = connector.smart_hosts.iter().map(text).collect();
    if let Some(host) = hosts.first().filter(|host| !host.is_empty()) {
        rule.fields.push(format!("smart-host = {{ host = {} }}", quoted(host)));
        if hosts.len() > 1 {
            differs("only the first of its smart hosts is taken over");
        }
    }
    Ok(rule)
}
