//! Totals over many messages.

use std::collections::BTreeMap;

use crate::html::Colour;
use serde::Serialize;
use smtp_tls_policy::trace::{Hop, HopVerdict};

use crate::output::Out;
use crate::status::{Failure, Status};

/// How many partners are counted by name. Our own choice: 10 MiB of names at most.
const MAX_PARTNERS: usize = 10_000;
/// The longest name, in characters: a client may call itself by as much as a header section holds.
const MAX_NAME: usize = 255;
const OTHERS: &str = "(others)";

/// Messages by their answer, and hops by partner: the host that handed a message to yours.
#[derive(Default)]
pub(super) struct Partners {
    messages: u64,
    tls: u64,
    clear_text: u64,
    not_known: u64,
    no_hops: u64,
    partners: BTreeMap<String, Counts>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Counts {
    tls: u64,
    clear_text: u64,
    not_known: u64,
}

#[derive(Serialize)]
struct Answer<'a> {
    messages: u64,
    not_read: u64,
    tls: u64,
    clear_text: u64,
    not_known: u64,
    no_network_hop: u64,
    partners: Vec<Partner<'a>>,
}

#[derive(Serialize)]
struct Partner<'a> {
    name: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

impl Partners {
    pub(super) fn add<'i>(&mut self, hops: impl Iterator<Item = Hop<'i>>) {
        let is_network = |verdict| !matches!(verdict, HopVerdict::Local | HopVerdict::PrivateNet);
        // The oldest hop that your hosts wrote; without such, the newest network hop.
        let mut partner = None;
        let weakest = hops
            .map(|hop| {
                let verdict = hop.judgement.verdict();
                if hop.trusted || partner.is_none() && is_network(verdict) {
                    partner = Some(hop);
                }
                verdict
            })
            .min();
        self.messages += 1;
        match weakest {
            None | Some(HopVerdict::Local) => self.no_hops += 1,
            Some(HopVerdict::Cleartext) => self.clear_text += 1,
            Some(HopVerdict::Unknown) => self.not_known += 1,
            Some(HopVerdict::PrivateNet | HopVerdict::Tls) => self.tls += 1,
        }
        let Some(Hop { field, judgement, .. }) = partner else { return };
        let Some(helo) = field.helo.filter(|_| is_network(judgement.verdict())) else { return };
        let name = match (field.reverse_name, field.from_address) {
            (Some(name), _) if name != "unknown" => name.to_string(),
            (_, None) => helo.to_string(),
            (_, Some(address)) if helo.raw().is_empty() => address.to_string(),
            (_, Some(address)) => format!("{helo} [{address}]"),
        };
        let mut name: String = name.to_ascii_lowercase().chars().take(MAX_NAME).collect();
        if self.partners.len() >= MAX_PARTNERS && !self.partners.contains_key(&name) {
            name = OTHERS.to_owned();
        }
        let counts = self.partners.entry(name).or_default();
        match judgement.verdict() {
            HopVerdict::Tls => counts.tls += 1,
            HopVerdict::Cleartext => counts.clear_text += 1,
            HopVerdict::Unknown | HopVerdict::Local | HopVerdict::PrivateNet => {
                counts.not_known += 1;
            }
        }
    }

    pub(super) fn status(&self, not_read: u64) -> Status {
        match self {
            Self { clear_text: 1.., .. } => Status::Bad,
            _ if not_read > 0 => Status::Unread,
            Self { not_known: 0, no_hops: 0, .. } => Status::Good,
            _ => Status::Unsure,
        }
    }

    pub(super) fn write(&self, not_read: u64, out: &mut Out) -> Result<(), Failure> {
        let mut partners: Vec<Partner<'_>> =
            self.partners.iter().map(|(name, counts)| Partner { name, counts: *counts }).collect();
        let order = |it: &Partner<'_>| (it.counts.clear_text, it.counts.not_known);
        partners.sort_by(|a, b| order(b).cmp(&order(a)).then(a.name.cmp(b.name)));
        if out.is_json() {
            return out.json(&Answer {
                messages: self.messages,
                not_read,
                tls: self.tls,
                clear_text: self.clear_text,
                not_known: self.not_known,
                no_network_hop: self.no_hops,
                partners,
            });
        }
        // The words are those of the table below, of the answer for one message, and of JSON.
        out.title("Messages, by all of their network hops")?;
        out.row("", &format!("{:>9} ", self.messages), "in all")?;
        for (colour, number, what) in [
            (Colour::Green, self.tls, "TLS: on every network hop"),
            (Colour::Red, self.clear_text, "clear text: on one network hop or more"),
            (Colour::Amber, self.not_known, "not known: one network hop or more does not say"),
            (Colour::Amber, self.no_hops, "no network hop"),
            (Colour::Red, not_read, "not read: see the errors"),
        ] {
            out.coloured(colour, "", &format!("{number:>9} "), what)?;
        }
        if partners.is_empty() {
            return Ok(());
        }
        out.gap()?;
        out.title("Messages, by the hop from each partner to your hosts")?;
        out.title(format!("{:>9} {:>10} {:>9}  partner", "TLS", "clear text", "not known"))?;
        for Partner { name, counts: Counts { tls, clear_text, not_known } } in partners {
            let colour = match (clear_text, not_known) {
                (1.., _) => Colour::Red,
                (0, 1..) => Colour::Amber,
                (0, 0) => Colour::Green,
            };
            let label = format!("{tls:>9} {clear_text:>10} {not_known:>9}  ");
            out.coloured(colour, "", &label, name)?;
        }
        Ok(())
    }
}
