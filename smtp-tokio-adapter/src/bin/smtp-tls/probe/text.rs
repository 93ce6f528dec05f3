//! What was found, as text.
use crate::html::Colour;

use crate::output::Out;
use crate::plan::look_ups;
use crate::status::Failure;

use super::decide::Decided;
use super::found::{CertificateFound, taken};
use super::{Answer, HostFound};

/// The words and the colour of an ending.
pub(crate) fn words(ending: &str) -> (&'static str, Colour) {
    match ending {
        "tls" => ("TLS", Colour::Green),
        "clear-text" => ("clear text", Colour::Red),
        "deferred" => ("deferred", Colour::Amber),
        "refused" => ("refused", Colour::Amber),
        _ => ("unreachable", Colour::Red),
    }
}

pub(crate) fn write(answer: &Answer, out: &mut Out) -> Result<(), Failure> {
    out.title(format!("{} ({})", answer.target, answer.rule))?;
    let (word, colour) = words(answer.ending);
    // Without an answer, the error says so.
    if answer.status.is_some() {
        out.coloured(colour, "  ", &format!("{word}: "), &answer.sentence)?;
    }
    look_ups(&answer.look_ups, out)?;
    for found in &answer.hosts {
        out.gap()?;
        host(found, out)?;
    }
    Ok(())
}

fn host(found: &HostFound, out: &mut Out) -> Result<(), Failure> {
    let preference = found.preference.map_or(String::new(), |it| format!(" (MX {it})"));
    out.title(format!("{}{preference}", found.host))?;
    if !found.addresses.is_empty() {
        out.row("  ", "addresses   ", found.addresses.join(", "))?;
    }
    if let Some(address) = &found.connected {
        out.row("  ", "connected   ", address)?;
    }
    if let Some(failure) = &found.failure {
        let (label, colour) = match found.ending() {
            "refused" => ("refused     ", Colour::Amber),
            _ => ("failed      ", Colour::Red),
        };
        out.coloured(colour, "  ", label, failure)?;
    }
    for exchange in &found.clear_text {
        if !exchange.command.is_empty() {
            out.row("  ", "client      ", &exchange.command)?;
        }
        for line in &exchange.reply {
            out.row("  ", "server      ", line)?;
        }
    }
    if let Some(was_taken) = found.plain_hello {
        let text = match was_taken {
            true => "TLS came with the plainest hello only, after a failed handshake",
            false => "no TLS with the plainest hello either, after a failed handshake",
        };
        out.coloured(Colour::Amber, "  ", "second try  ", text)?;
    }
    match &found.tls {
        Some(tls) => {
            let group = tls.group.unwrap_or("group not known");
            let quantum = if tls.post_quantum { ", post-quantum" } else { "" };
            let text = format!("{}, {}, {group}{quantum}", tls.version, tls.cipher);
            out.coloured(Colour::Green, "  ", "TLS         ", text)?;
            for it in &tls.versions {
                let cipher = it.cipher.map(|cipher| format!(": {cipher}")).unwrap_or_default();
                let text = format!("{}{cipher}", taken(it.taken));
                out.row("  ", &format!("{:<12}", it.version), text)?;
            }
            for it in &tls.groups {
                let quantum = if it.post_quantum { " (post-quantum)" } else { "" };
                let text = format!("{}{quantum}: {}", it.group, taken(it.taken));
                out.row("  ", "group       ", text)?;
            }
            out.row("  ", "inside TLS  ", found.inside_tls.join(", "))?;
        }
        None if found.connected.is_some() && found.failure.is_none() => {
            out.coloured(Colour::Red, "  ", "TLS         ", "none")?;
        }
        None => {}
    }
    for (index, certificate) in found.certificates.iter().enumerate() {
        write_certificate(index + 1, certificate, out)?;
    }
    decision(&found.decision, out)?;
    if found.postures.is_empty() {
        return Ok(());
    }
    out.row("  ", "", "What each posture would decide:")?;
    for decided in &found.postures {
        let (word, colour) = words(decided.ending);
        out.coloured(colour, "    ", &format!("{:<14}{word:<12}", decided.rule), decided.reason)?;
        out.row("      ", "", &decided.sentence)?;
    }
    Ok(())
}

fn write_certificate(
    number: usize,
    certificate: &CertificateFound,
    out: &mut Out,
) -> Result<(), Failure> {
    out.row("  ", &format!("cert. {number:<6}"), &certificate.subject)?;
    for (label, text) in [
        ("issuer      ", certificate.issuer.clone()),
        ("names       ", certificate.names.join(", ")),
        ("valid from  ", certificate.not_before.clone()),
        ("valid to    ", certificate.not_after.clone()),
        ("key         ", certificate.key.clone()),
        ("lists       ", certificate.lists.join(", ")),
        ("list status ", certificate.list_finding.clone()),
    ] {
        if !text.is_empty() {
            out.row("    ", label, text)?;
        }
    }
    match &certificate.pin {
        Some(pin) => out.row("    ", "pin         ", pin),
        None => Ok(()),
    }
}

fn decision(decided: &Decided, out: &mut Out) -> Result<(), Failure> {
    for check in &decided.checks {
        let (colour, label) = match check.passed {
            true => (Colour::Green, "passed      "),
            false => (Colour::Red, "failed      "),
        };
        out.coloured(colour, "  ", label, &check.check)?;
        if !check.passed {
            out.row("              ", "", &check.finding)?;
        }
    }
    let (word, colour) = words(decided.ending);
    out.coloured(colour, "  ", &format!("{word}: "), &decided.sentence)
}
