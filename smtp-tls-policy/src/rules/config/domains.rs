//! Domains and hosts as administrators write them, and what is said of those that are none.

use std::fmt;
use std::net::IpAddr;

use crate::domain::{Host, Namespace};
use crate::pki::names::Reference;

/// Reads a namespace. The error says what to write instead, where that is clear.
pub(super) fn namespace(text: &str) -> Result<Namespace, String> {
    let is_namespace = |text: &str| Namespace::parse(text).is_ok();
    Namespace::parse(text).map_err(|error| match text.strip_prefix('.') {
        Some(domain) if is_namespace(domain) => {
            format!("write \"*.{domain}\" for every domain below it")
        }
        _ if text.contains(',') && text.split(',').all(|part| is_namespace(part.trim())) => {
            let parts: Vec<_> =
                text.split(',').map(|part| format!("\"{}\"", part.trim())).collect();
            format!("write each domain in quotes of its own: {}", parts.join(", "))
        }
        _ => with_suggestion(text, error, is_namespace),
    })
}

/// Reads a name that a certificate must have.
pub(super) fn reference(text: &str) -> Result<Reference, String> {
    let is_reference = |text: &str| Reference::parse(text).is_ok();
    Reference::parse(text).map_err(|error| match text.strip_prefix('*') {
        Some(below) if is_reference(below) => {
            format!("write \"{below}\" for every name below the domain")
        }
        _ => with_suggestion(text, error, is_reference),
    })
}

/// Reads the host of a smart host.
pub(super) fn smart_host(text: &str) -> Result<Host, String> {
    let is_host = |text: &str| Host::parse(text).is_ok();
    Host::parse(text).map_err(|error| match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && is_host(host) => {
            format!("write the port as a field of its own: host = \"{host}\", port = {port}")
        }
        _ => match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(address) if address.parse::<IpAddr>().is_ok() => {
                format!("{error}; did you mean \"{address}\"?")
            }
            _ => with_suggestion(text, error, is_host),
        },
    })
}

/// The error, and the domain that is meant by a URL, the address of a mailbox, or a name with a
/// port or with spaces around it.
fn with_suggestion(
    text: &str,
    error: impl fmt::Display,
    is_right: impl Fn(&str) -> bool,
) -> String {
    let rest = text.trim();
    let rest = rest.split_once("://").map_or(rest, |(_scheme, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_user, rest)| rest);
    let rest = rest.rsplit_once(':').map_or(rest, |(host, _port)| host);
    match rest.trim() {
        meant if meant != text && !meant.is_empty() && is_right(meant) => {
            format!("{error}; did you mean \"{meant}\"?")
        }
        _ => error.to_string(),
    }
}
