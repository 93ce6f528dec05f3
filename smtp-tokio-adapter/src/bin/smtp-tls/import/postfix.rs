//! The rules of `smtp_tls_policy_maps` (TLS_README of Postfix, "Client TLS security levels").

use std::collections::HashSet;
use std::net::IpAddr;

use smtp_tls_policy::Namespace;
use smtp_tls_policy::pki::Reference;

use super::{Rule, list, quoted};

/// Tables whose text is lines of a key and a value, by the word before their path.
const TEXT_TABLES: &[&str] = &["texthash", "hash", "btree", "cdb", "dbm", "lmdb", "sdbm"];

/// Where the rules are, as main.cf names it.
pub(super) enum Place<'a> {
    /// The text of a table is in this file.
    File(&'a str),
    /// The rules themselves: `inline:{ .. }`, `static:..`.
    Rules(Vec<Entry>),
    /// A table that has no text of this kind.
    Other(&'a str),
}

/// One rule.
pub(super) struct Entry {
    /// Where it is, such as `line 3`.
    place: String,
    /// The next hop; `*` for all.
    key: String,
    policy: String,
}

impl<'a> Place<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let Some((kind, rest)) = text.split_once(':') else { return Ok(Self::File(text)) };
        match kind.to_ascii_lowercase().as_str() {
            "inline" => inline(rest).map(Self::Rules),
            "static" => {
                let (place, key) = ("static".to_owned(), "*".to_owned());
                Ok(Self::Rules(vec![Entry { place, key, policy: unbraced(rest).to_owned() }]))
            }
            // proxymap(8) opens the same table.
            "proxy" => Self::parse(rest),
            kind if TEXT_TABLES.contains(&kind) && rest.contains(',') => {
                Err("this is a list of tables; give one at a time".to_owned())
            }
            kind if TEXT_TABLES.contains(&kind) => Ok(Self::File(rest)),
            "pcre" | "regexp" | "cidr" | "socketmap" | "tcp" | "mysql" | "pgsql" | "sqlite"
            | "ldap" | "memcache" | "mongodb" | "nis" | "nisplus" | "netinfo" | "environ"
            | "fail" | "internal" | "unionmap" | "pipemap" | "randmap" => Ok(Self::Other(kind)),
            _ => Ok(Self::File(text)),
        }
    }
}

/// The text in braces, or all of it.
fn unbraced(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text).trim()
}

/// The words of a text, parted by white space or commas outside braces.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut depth) = (Vec::new(), None, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let parts = depth == 0 && (c == ',' || c.is_ascii_whitespace());
        match (parts, start) {
            (true, Some(from)) => {
                words.push(&text[from..at]);
                start = None;
            }
            (false, None) => start = Some(at),
            (true, None) | (false, Some(_)) => {}
        }
    }
    words.extend(start.map(|from| &text[from..]));
    words
}

/// `{ { key = policy }, key=policy }` (DATABASE_README of Postfix).
fn inline(text: &str) -> Result<Vec<Entry>, String> {
    let entries = words(unbraced(text)).into_iter().enumerate().map(|(index, word)| {
        let place = format!("entry {}", index + 1);
        let (key, policy) = unbraced(word)
            .split_once('=')
            .ok_or_else(|| format!("{place}: {word} is no key = policy"))?;
        let (key, policy) = (key.trim().to_owned(), unbraced(policy).to_owned());
        Ok(Entry { place, key, policy })
    });
    entries.collect()
}

/// The entries of a table of postmap(1): a line that begins with white space continues the one
/// before, beyond empty lines and comments.
pub(super) fn table(text: &str) -> (Vec<Entry>, Vec<String>) {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut errors = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match (lines.last_mut(), line.starts_with([' ', '\t'])) {
            (Some((_, last)), true) => *last = format!("{last} {}", line.trim()),
            (None, true) => {
                errors.push(format!(
                    "line {}: it begins with white space, as if it continued \
                                     another line",
                    index + 1
                ));
            }
            (_, false) => lines.push((index + 1, line.trim_end().to_owned())),
        }
    }
    let entries = lines.into_iter().map(|(number, line)| {
        let (key, policy) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
        let (key, policy) = (key.to_owned(), policy.trim().to_owned());
        Entry { place: format!("line {number}"), key, policy }
    });
    (entries.collect(), errors)
}

/// The connectors that mean the same.
pub(super) fn rules(
    entries: Vec<Entry>,
    mut errors: Vec<String>,
) -> Result<Vec<Rule>, Vec<String>> {
    let (mut rules, mut seen) = (Vec::new(), HashSet::new());
    for Entry { place, key, policy } in entries {
        let key = key.to_lowercase();
        let built = match (key.as_str(), policy.starts_with('=')) {
            (_, true) => Err("this is a line of main.cf; give the table that \
                              smtp_tls_policy_maps names there"
                .to_owned()),
            (pattern, false) if pattern.starts_with('/') => {
                Err("tables of patterns cannot be read; write the domains".to_owned())
            }
            _ => rule(&key, &policy, &place),
        };
        match built {
            Ok(rule) if !seen.insert(key.clone()) => {
                let what = format!(
                    "{place}, {key}: left out: a line before this one has the same key, and \
                     Postfix takes that"
                );
                rules.push(Rule { name: rule.name, differences: vec![what], ..Rule::default() });
            }
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(format!("{place}: {error}")),
        }
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

/// A level that checks a certificate chain, or a list of fingerprints.
const MATCHING: &[&str] = &["fingerprint", "verify", "secure"];

/// The attributes of a policy.
#[derive(Default)]
struct Attributes {
    names: Vec<String>,
    roots: Vec<String>,
    protocols: Option<String>,
    /// Those without a counterpart.
    others: Vec<String>,
}

/// Postfix defers mail by a policy that it cannot read; so do these errors end the import.
fn attributes(level: &str, words: &[&str]) -> Result<Attributes, String> {
    let mut found = Attributes::default();
    for word in words {
        let Some((name, value)) = unbraced(word).split_once('=') else {
            return Err(format!("{word} is no attribute"));
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if value.is_empty() {
            return Err(format!("the attribute {name} has no value"));
        }
        let invalid = || format!("Postfix takes no {name} at level {level}, and defers the mail");
        match name.as_str() {
            "match" if !MATCHING.contains(&level) => return Err(invalid()),
            "match" if level == "fingerprint" => {
                found.names.extend(value.split('|').map(str::to_owned));
            }
            "match" => found.names.extend(value.split(':').map(str::to_ascii_lowercase)),
            "tafile" if !matches!(level, "verify" | "secure") => return Err(invalid()),
            "tafile" => found.roots.push(value.to_owned()),
            "protocols" if found.protocols.replace(value.to_owned()).is_some() => {
                return Err("the attribute protocols is there twice".to_owned());
            }
            "protocols" => {}
            "ciphers" | "exclude" | "servername" | "connection_reuse" | "enable_rpk"
            | "policy_type" | "policy_domain" | "policy_ttl" | "policy_string"
            | "mx_host_pattern" | "policy_failure" => found.others.push(name),
            _ => return Err(format!("Postfix knows no attribute {name}, and defers the mail")),
        }
    }
    found.others.dedup();
    Ok(found)
}

fn rule(key: &str, policy: &str, place: &str) -> Result<Rule, String> {
    let words = words(policy);
    let (level, rest) = words.split_first().ok_or("the policy is missing")?;
    let level = level.to_ascii_lowercase();
    let mut rule = Rule { name: key.to_owned(), ..Rule::default() };
    let mut differs = |what: String| rule.differences.push(format!("{place}, {key}: {what}"));
    rule.posture = match level.as_str() {
        "none" => "none",
        "may" | "dane" => "opportunistic",
        "encrypt" => "encrypt",
        "dane-only" => "dane-only",
        "verify" => "verified",
        "secure" => "secure",
        "fingerprint" => "pinned",
        other => return Err(format!("there is no level {other}")),
    };
    let found = match level.as_str() {
        "none" if !rest.is_empty() => {
            differs("Postfix ignores the attributes of level none".to_owned());
            Attributes::default()
        }
        level => attributes(level, rest)?,
    };
    for name in &found.others {
        differs(format!("the attribute {name} has no counterpart"));
    }
    rule.fields.push("sts = \"off\"".to_owned());
    if !matches!(&*level, "dane" | "dane-only") {
        rule.fields.push("dane = \"off\"".to_owned());
    }
    let is_required = !matches!(&*level, "none" | "may" | "dane");
    if let Some(text) = &found.protocols {
        let (tls, differences) = protocols(text, is_required)?;
        rule.fields.extend(tls.map(str::to_owned));
        differences.into_iter().for_each(|what| differs(what.to_owned()));
    }
    match level.as_str() {
        "fingerprint" => {
            let (pins, left) = pins(&found.names)?;
            if !left.is_empty() || pins.is_empty() {
                differs(match pins.is_empty() {
                    true => {
                        "only SHA-256, SHA-384 and SHA-512 fingerprints can be pinned; the pin \
                             below matches nothing, so that mail waits until you replace it"
                            .to_owned()
                    }
                    false => format!(
                        "{} is no SHA-256, SHA-384 or SHA-512, and cannot be pinned",
                        left.join(", ")
                    ),
                });
            }
            let none = vec![format!("cert:sha256:{}", "00".repeat(32))];
            rule.fields
                .push(format!("pins = {}", list(if pins.is_empty() { &none } else { &pins })));
        }
        "verify" | "secure" => {
            if found.names == ["hostname"] {
                rule.posture = "verified";
            } else if let Some(names) = names(&level, key, &found.names, &mut differs)? {
                rule.fields.push(format!("names = {}", list(&names)));
            }
        }
        _ => {}
    }
    if let Some(path) = found.roots.first() {
        rule.fields.push(format!("roots = {}", quoted(path)));
        differs(format!("give the roots with --ca {path}=FILE"));
        if found.roots.len() > 1 {
            differs(format!("that FILE needs the certificates of {}", found.roots.join(", ")));
        }
    }
    if key.starts_with('*') && place != "static" {
        rule.differences.push(match key.strip_prefix("*.") {
            Some(parent) => format!(
                "{place}, {key}: left out: Postfix never asks for it; for the domains below \
                 {parent} the key is .{parent}"
            ),
            None => format!("{place}, {key}: left out: Postfix never asks for it"),
        });
        return Ok(Rule { name: rule.name, differences: rule.differences, ..Rule::default() });
    }
    let namespace = match key.strip_prefix('.') {
        Some(parent) => format!("*.{parent}"),
        None => key.to_owned(),
    };
    if key.starts_with('[') || key.contains(':') || key.parse::<IpAddr>().is_ok() {
        rule.differences.push(format!(
            "{place}, {key}: left out: the next hop is a host or has a port; write a smart-host in \
             the connector of its domains, with the policy: {policy}"
        ));
    } else {
        Namespace::parse(&namespace).map_err(|error| format!("{key}: {error}"))?;
        rule.namespaces.push(namespace);
    }
    Ok(rule)
}

/// The names of which the certificate must have one; `None` for those of the posture.
fn names(
    level: &str,
    key: &str,
    matches: &[String],
    differs: &mut impl FnMut(String),
) -> Result<Option<Vec<String>>, String> {
    let is_default = match level {
        "verify" => matches == ["hostname"],
        _ => matches == ["nexthop", "dot-nexthop"] || matches == ["dot-nexthop", "nexthop"],
    };
    if matches.is_empty() || is_default {
        return Ok(None);
    }
    let (mut names, mut left) = (Vec::new(), Vec::new());
    for name in matches {
        match name.as_str() {
            // The next hop is known only where the rule is for one domain.
            "nexthop" if !key.starts_with(['.', '*', '[']) => names.push(key.to_owned()),
            "dot-nexthop" if !key.starts_with(['.', '*', '[']) => names.push(format!(".{key}")),
            "nexthop" | "dot-nexthop" | "hostname" => left.push(name.as_str()),
            name => {
                Reference::parse(name).map_err(|error| format!("match={name}: {error}"))?;
                names.push(name.to_owned());
            }
        }
    }
    if !left.is_empty() {
        let all = matches.join(":");
        differs(match names.is_empty() {
            true => format!("match={all} is not the same as the names of the posture"),
            false => {
                format!("match={all} is not the same: there are no names for {}", left.join(":"))
            }
        });
    }
    Ok((!names.is_empty()).then_some(names))
}

/// The pins of fingerprints, each of a certificate or of a key, and those that cannot be pinned.
fn pins(fingerprints: &[String]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut pins, mut left) = (Vec::new(), Vec::new());
    for fingerprint in fingerprints.iter().map(|it| it.trim()).filter(|it| !it.is_empty()) {
        let digits = fingerprint.replace(':', "").to_ascii_lowercase();
        if !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(format!("match={fingerprint} is no fingerprint"));
        }
        let digest = match digits.len() {
            64 => "sha256",
            96 => "sha384",
            128 => "sha512",
            _ => {
                left.push(fingerprint.to_owned());
                continue;
            }
        };
        pins.extend(["cert", "spki"].map(|of| format!("{of}:{digest}:{digits}")));
    }
    Ok((pins, left))
}

/// The versions, the oldest first.
const VERSIONS: [&str; 6] = ["sslv2", "sslv3", "tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"];

/// The field `tls` for `protocols`, and what it does not say.
fn protocols(
    text: &str,
    is_required: bool,
) -> Result<(Option<&'static str>, Vec<&'static str>), String> {
    let version = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        let found = match name.strip_prefix("0x") {
            // RFC 8446, section 4.2.1: TLS 1.0 is 0x0301.
            Some(code) => u16::from_str_radix(code, 16)
                .ok()
                .and_then(|it| Some(it.checked_sub(0x2ff)?.into())),
            None => VERSIONS.iter().position(|it| *it == name),
        };
        let found = found.filter(|at| *at < VERSIONS.len());
        found.ok_or_else(|| format!("protocols={text}: there is no version {name}"))
    };
    let (mut allowed, mut named) = ([true; 6], None::<[bool; 6]>);
    for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        if let Some(name) = word.strip_prefix(">=") {
            allowed[..version(name)?].fill(false);
        } else if let Some(name) = word.strip_prefix("<=") {
            allowed[version(name)? + 1..].fill(false);
        } else if let Some(name) = word.strip_prefix('!') {
            allowed[version(name)?] = false;
        } else {
            named.get_or_insert_default()[version(word)?] = true;
        }
    }
    let is_allowed = |at: usize| allowed[at] && named.is_none_or(|named| named[at]);
    let (before, tls12, tls13) = ((0..4).any(is_allowed), is_allowed(4), is_allowed(5));
    let mut differences = Vec::new();
    if before {
        differences.push("versions before TLS 1.2 are not spoken here");
    }
    let tls = match (tls12, tls13) {
        (true, true) => None,
        (false, true) if is_required => Some("tls = { min-version = \"1.3\" }"),
        (false, true) => {
            differences.push("TLS 1.2 can only be refused where TLS is required");
            None
        }
        (true, false) => {
            differences.push("TLS 1.3 cannot be refused here");
            None
        }
        (false, false) => {
            differences.push("none of its versions of TLS is spoken here: TLS 1.2 and 1.3");
            None
        }
    };
    Ok((tls, differences))
}
