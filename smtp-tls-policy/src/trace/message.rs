//! From parsed Received headers to the hops that the policy crate judges.

use std::net::IpAddr;

use super::received::{self, Evidence, Product, Received, Software};
use super::review::{self, Hop, OwnHosts, Review, TlsMark, Writer};

/// What a header states, in the words of the policy crate. A name that is not UTF-8 counts as not stated.
pub fn hop<'i>(received: &Received<'i>) -> Hop<'i> {
    let from = received.from.map_or([None; 2], |from| {
        let found_out = from.reverse_name.or(Some(from.name));
        [found_out, Some(from.helo)]
            .map(|name| name.and_then(|name| name.as_str()).filter(|name| is_name(name)))
    });
    Hop {
        from,
        from_address: received.from.and_then(|from| from.address),
        by: received.by.and_then(|by| by.as_str()),
        by_address: received.by_address,
        tls: received.tls.map(|tls| match tls.evidence {
            Evidence::Clause => TlsMark::Clause,
            Evidence::Comment => TlsMark::Comment,
            Evidence::Keyword => TlsMark::Keyword,
            Evidence::Phrase => TlsMark::Phrase,
        }),
        says_clear_text: received.says_clear_text,
        smtp: received.with.is_some_and(|with| with.transmission.is_some()),
        writer: received.software.map_or(Writer::Other, writer),
        arrival: match received.arrival {
            received::Arrival::Network => review::Arrival::Network,
            received::Arrival::Local(_) => review::Arrival::Local,
            received::Arrival::NotStated => review::Arrival::NotStated,
        },
    }
}

/// An address is no name, and `unknown` is what many servers write for a name that they did not find.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('[')
        && name != "unknown"
        && name.parse::<IpAddr>().is_err()
}

const fn writer(software: Software) -> Writer {
    match software.product {
        Product::Own => Writer::Own,
        Product::Postfix => Writer::Postfix,
        Product::Exim => Writer::Exim(software.version),
        Product::Exchange => Writer::Exchange,
        Product::Sendmail => Writer::Sendmail(software.version),
        Product::OpenSmtpd => Writer::OpenSmtpd,
        Product::Haraka => Writer::Haraka,
        Product::Stalwart => Writer::Stalwart,
        Product::Chasquid => Writer::Chasquid,
        Product::KumoMta => Writer::KumoMta,
        Product::MicrosoftSmtpSvc | Product::Dovecot | Product::Qmail | Product::MessageSwitch => {
            Writer::Other
        }
    }
}

/// Reviews the Received headers of a message, or of its header section alone.
pub fn message(message: &[u8], own: &OwnHosts<'_>) -> Review {
    let headers: Vec<_> = received::trace(message).collect();
    let hops: Vec<_> = headers.iter().map(hop).collect();
    review::review(&hops, own)
}
