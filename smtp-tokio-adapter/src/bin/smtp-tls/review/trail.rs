//! The trail of one message.

use crate::html::{Colour, Page, Step};
use serde::Serialize;
use smtp_tls_policy::trace::{self, HopVerdict, Link, ShownCertificate};

use crate::output::Out;
use crate::status::Failure;

/// What the Received fields of one message say, the oldest hop first.
#[derive(Serialize)]
pub(crate) struct Trail {
    /// The file, and for an mbox the number of the message.
    pub(crate) message: String,
    /// The answer for all hops.
    pub(crate) answer: &'static str,
    /// The answer for the hops that your own hosts wrote; `None` if there are none.
    pub(crate) answer_of_own_hosts: Option<&'static str>,
    /// The hops.
    pub(crate) hops: Vec<Hop>,
    #[serde(skip)]
    weakest: Option<HopVerdict>,
}

/// One Received field.
#[derive(Serialize)]
pub(crate) struct Hop {
    /// The client: the name that the server found, or the one that the client gave.
    pub(crate) from: Option<String>,
    /// The client's address.
    pub(crate) address: Option<String>,
    /// The host that wrote the field.
    pub(crate) by: Option<String>,
    /// `tls`, `clear-text`, `not-known`, `local` or `private-network`.
    pub(crate) verdict: &'static str,
    /// What the field says of the channel, wherever the hop was: `tls`, `clear-text`, `not-known`.
    pub(crate) channel: &'static str,
    /// What the verdict rests on.
    pub(crate) evidence: String,
    /// The `with` clause.
    pub(crate) with: Option<String>,
    /// The version of TLS.
    pub(crate) version: Option<String>,
    /// The cipher suite, as the field names it.
    pub(crate) cipher: Option<String>,
    /// The key exchange group.
    pub(crate) group: Option<String>,
    /// What the field says of the client's certificate.
    pub(crate) client_certificate: Option<String>,
    /// The software that wrote the field.
    pub(crate) software: Option<String>,
    /// When the message arrived.
    pub(crate) date: Option<String>,
    /// Whether a host of your own wrote the field.
    pub(crate) trusted: bool,
    /// Whether a field is missing between the older hop and this one.
    pub(crate) gap: bool,
}

impl Trail {
    pub(crate) fn new<'i>(message: &str, hops: impl Iterator<Item = trace::Hop<'i>>) -> Self {
        let (mut all, mut trusted) = (Vec::new(), Vec::new());
        let mut hops: Vec<Hop> = hops
            .map(|hop| {
                let verdict = hop.judgement.verdict();
                all.push(verdict);
                trusted.extend(hop.trusted.then_some(verdict));
                Hop::new(&hop)
            })
            .collect();
        hops.reverse();
        let weakest = all.into_iter().min();
        Self {
            message: message.to_owned(),
            answer: super::answer(weakest),
            answer_of_own_hosts: trusted.into_iter().min().map(|it| super::answer(Some(it))),
            hops,
            weakest,
        }
    }

    pub(crate) fn write(&self, out: &mut Out) -> Result<(), Failure> {
        let colour = match self.weakest {
            Some(HopVerdict::Tls | HopVerdict::PrivateNet) => Colour::Green,
            None | Some(HopVerdict::Local | HopVerdict::Unknown) => Colour::Amber,
            Some(HopVerdict::Cleartext) => Colour::Red,
        };
        out.coloured(colour, "", &format!("{}: ", self.answer), &self.message)?;
        let believed = self.hops.iter().position(|hop| hop.trusted);
        for (index, hop) in self.hops.iter().enumerate() {
            if hop.gap {
                out.row("     ", "gap: ", "no field tells how the message came here")?;
            }
            if believed == Some(index) && index > 0 {
                out.row("     ", "", "above: written by other hosts, and not proof")?;
            }
            hop.write(index + 1, out)?;
        }
        if self.hops.is_empty() {
            out.row("  ", "", "the message has no Received field")?;
        }
        out.gap()
    }
}

impl Trail {
    /// Draws the path, from the oldest hop to the newest.
    pub(crate) fn draw(&self, page: &mut Page) {
        let steps: Vec<Step> = self
            .hops
            .iter()
            .map(|hop| {
                let (colour, word) = hop.words();
                let mut notes = vec![hop.evidence.clone()];
                notes.extend(hop.parts());
                if hop.gap {
                    notes.push("a field before this one is missing".to_owned());
                }
                if !hop.trusted && self.answer_of_own_hosts.is_some() {
                    notes.push("written by another host, and not proof".to_owned());
                }
                let to = hop.by.clone().unwrap_or_else(|| "not stated".to_owned());
                let mut step = Step::new(colour, word, to);
                step.notes = notes;
                step
            })
            .collect();
        let from = self.hops.first().map(Hop::client).unwrap_or_else(|| "not stated".to_owned());
        page.path(&format!("{}: {}", self.message, self.answer), &from, &steps);
    }
}

impl Hop {
    fn new(hop: &trace::Hop<'_>) -> Self {
        let field = &hop.field;
        let tls = field.tls.as_ref();
        let client = match (field.reverse_name, field.helo) {
            (Some(name), _) if name != "unknown" => Some(name),
            (_, Some(helo)) if !helo.raw().is_empty() => Some(helo),
            _ => field.from,
        };
        Self {
            from: client.map(|name| name.to_string()).filter(|name| !name.is_empty()),
            address: field.from_address.map(|address| address.to_string()),
            by: field.by.map(|by| by.to_string()),
            verdict: word(hop.judgement.verdict()),
            channel: word(field.channel().verdict()),
            evidence: hop.judgement.to_string(),
            with: field.with.map(|with| with.to_string()),
            version: tls.and_then(|tls| tls.version).map(|version| version.to_string()),
            cipher: tls.and_then(|tls| tls.cipher).map(|cipher| cipher.to_string()),
            group: tls.and_then(|tls| tls.group).map(|group| group.to_string()),
            client_certificate: tls.and_then(|tls| tls.client).map(certificate),
            software: field.software.map(|software| software.to_string()),
            date: field.date.map(|date| date.to_string()),
            trusted: hop.trusted,
            gap: hop.link == Link::Gap,
        }
    }

    fn words(&self) -> (Colour, &'static str) {
        match self.verdict {
            "tls" => (Colour::Green, "TLS"),
            "clear-text" => (Colour::Red, "clear text"),
            "local" => (Colour::Green, "local"),
            "private-network" => (Colour::Amber, "private network"),
            _ => (Colour::Amber, "not known"),
        }
    }

    fn client(&self) -> String {
        let from = self.from.clone().unwrap_or_else(|| "not stated".to_owned());
        match &self.address {
            Some(address) if !from.contains(address) => format!("{from} [{address}]"),
            _ => from,
        }
    }

    /// What the field says of the channel, in one line.
    fn parts(&self) -> Option<String> {
        let parts =
            [&self.with, &self.version, &self.cipher, &self.group, &self.client_certificate];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn write(&self, number: usize, out: &mut Out) -> Result<(), Failure> {
        let (colour, verdict) = self.words();
        let by = self.by.clone().unwrap_or_else(|| "not stated".to_owned());
        out.row("", &format!("{number:>3}. "), format!("{} -> {by}", self.client()))?;
        out.coloured(colour, "     ", verdict, format!(": {}", self.evidence))?;
        if let Some(parts) = self.parts() {
            out.row("     ", "", parts)?;
        }
        match &self.date {
            Some(date) => out.row("     ", "", date),
            None => Ok(()),
        }
    }
}

fn word(verdict: HopVerdict) -> &'static str {
    match verdict {
        HopVerdict::Tls => "tls",
        HopVerdict::Cleartext => "clear-text",
        HopVerdict::Unknown => "not-known",
        HopVerdict::Local => "local",
        HopVerdict::PrivateNet => "private-network",
    }
}

fn certificate(shown: ShownCertificate<'_>) -> String {
    match shown {
        ShownCertificate::NotRequested => "client certificate not requested".to_owned(),
        ShownCertificate::NotPresented => "no client certificate".to_owned(),
        ShownCertificate::Presented { common_name, issuer, verified } => {
            let mut text = "client certificate".to_owned();
            if let Some(name) = common_name {
                text = format!("{text} {name}");
            }
            if let Some(issuer) = issuer {
                text = format!("{text} of {issuer}");
            }
            format!("{text}, {}", if verified { "verified" } else { "not verified" })
        }
    }
}
