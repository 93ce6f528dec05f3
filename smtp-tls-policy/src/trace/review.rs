//! Judges a trail of Received fields: was each hop TLS, and how is that known?
//!
//! [`Received::judge`] judges one hop, [`review`] a whole message. Nothing here is proof: the
//! writer of a field can write anything. A review therefore also says which fields
//! [were written by hosts of your own](Hop::trusted); all others can be forged.
//!
//! A hop counts as TLS on any mark of it. It counts as clear text only where the field says so, or
//! where the software that wrote it is known always to mark TLS and did not. Otherwise it is
//! unknown; so is a field that does not name the host that wrote it.

use std::fmt;
use std::net::IpAddr;

use super::address::Reach;
use super::reader::trace;
use super::received::{Arrival, Received};
use super::software::Software;
use super::tls::Evidence;
use crate::domain::Domain;

/// The verdict on one hop. The weakest comes first: the least of the verdicts on the hops of a
/// message is the verdict on its whole path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HopVerdict {
    /// Clear text.
    Cleartext,
    /// The field does not say, or cannot be read.
    Unknown,
    /// No TLS is shown, and both ends, as far as stated, are in private address space.
    PrivateNet,
    /// TLS, wherever the hop was.
    Tls,
    /// No network hop: loopback, or the inside of one system.
    Local,
}

/// What a verdict rests on. [`Display`](fmt::Display) is a sentence for administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Judgement {
    /// The field bears a mark of TLS in this place.
    Marked(Evidence),
    /// The field says `plain text`.
    SaysClearText,
    /// This software always marks TLS, and the field bears no mark.
    NotMarkedBy(Software),
    /// The field bears no mark, and its writer is not known to mark TLS always.
    NothingStated,
    /// The field does not name the host that wrote it, so that nothing in it can be placed.
    Unreadable,
    /// The field says that the message came from inside.
    SaysLocal,
    /// The client's address is the host's own loopback.
    Loopback,
    /// There is no `from` clause, which RFC 5321, section 4.4 demands of every SMTP server.
    NoClient,
    /// The addresses are private.
    PrivateAddress,
}

impl Judgement {
    /// The verdict.
    pub const fn verdict(self) -> HopVerdict {
        match self {
            Self::Marked(_) => HopVerdict::Tls,
            Self::SaysClearText | Self::NotMarkedBy(_) => HopVerdict::Cleartext,
            Self::NothingStated | Self::Unreadable => HopVerdict::Unknown,
            Self::SaysLocal | Self::Loopback | Self::NoClient => HopVerdict::Local,
            Self::PrivateAddress => HopVerdict::PrivateNet,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marked(Evidence::Clause) => "the field has a tls clause",
            Self::Marked(Evidence::Comment) => "a comment in the field names TLS",
            Self::Marked(Evidence::Keyword) => "the protocol keyword of the field means TLS",
            Self::Marked(Evidence::Phrase) => "the words of the field name TLS",
            Self::SaysClearText => "the field says plain text",
            Self::NotMarkedBy(_) => "the software that wrote the field marks TLS and marked none",
            Self::NothingStated => "the field does not say, and its writer may leave TLS unmarked",
            Self::Unreadable => "the field does not name the host that wrote it",
            Self::SaysLocal => "the field says that the message came from the same system",
            Self::Loopback => "the client was on the same host",
            Self::NoClient => "the field names no client",
            Self::PrivateAddress => "the client was on a private network",
        })
    }
}

impl Received<'_> {
    /// Judges one hop.
    pub fn judge(&self) -> Judgement {
        if matches!(self.arrival, Arrival::Local) {
            // Also `with local-esmtps`, Exim's name for what another process on the host handed in.
            return Judgement::SaysLocal;
        }
        let channel = self.channel();
        match channel {
            Judgement::Unreadable | Judgement::Marked(_) => channel,
            _ if self.from_address.is_some_and(|address| address.is_loopback()) => {
                Judgement::Loopback
            }
            // Software that hides its clients, but says that it spoke SMTP with one, is judged like
            // other software; so is any that says that the client authenticated itself.
            _ if self.arrival == Arrival::NotStated
                && !(self.protocol.is_some() && self.writer_always_marks_tls())
                && !self.auth =>
            {
                Judgement::NoClient
            }
            // The server may have a public address and still be reached from inside; a client that
            // it saw under a private address came from inside, unless the server says that it is
            // itself elsewhere.
            _ if self.from_address.is_some_and(is_private)
                && self.by_address.is_none_or(is_private) =>
            {
                Judgement::PrivateAddress
            }
            _ => channel,
        }
    }

    /// What the field says about the channel, wherever the hop was: for callers that count local
    /// and private hops like others. The verdict is `Tls`, `Cleartext` or `Unknown`.
    pub fn channel(&self) -> Judgement {
        match (&self.tls, self.software) {
            _ if !self.names_writer => Judgement::Unreadable,
            (Some(mark), _) => Judgement::Marked(mark.evidence),
            (None, _) if self.says_clear_text => Judgement::SaysClearText,
            (None, Some(software)) if software.always_marks_tls() => {
                Judgement::NotMarkedBy(software)
            }
            (None, _) => Judgement::NothingStated,
        }
    }

    fn writer_always_marks_tls(&self) -> bool {
        self.software.is_some_and(Software::always_marks_tls)
    }

    /// The names of the client: what the server found, then what the client called itself. An
    /// address is no name, and `unknown` is what many servers write for a name that they did not
    /// find.
    fn client_names(&self) -> impl Iterator<Item = &str> {
        let names = [self.reverse_name.or(self.from), self.helo];
        names.into_iter().flatten().filter_map(|name| name.as_str()).filter(|name| {
            !name.is_empty()
                && !name.starts_with('[')
                && *name != "unknown"
                && name.parse::<IpAddr>().is_err()
        })
    }

    fn host(&self) -> Option<&str> {
        self.by.and_then(|by| by.as_str())
    }
}

/// How a hop continues the one before it (the next field further down).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// The host that wrote the older field is the client of this hop, or calls itself so.
    Continuous,
    /// It is another: a field is missing, a host has two names, or one of the two fields is not
    /// true.
    Gap,
    /// One of the two fields does not say, or there is no older one.
    NotStated,
}

/// One hop of a message. Made by [`review`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop<'i> {
    /// What its field states.
    pub field: Received<'i>,
    /// The judgement.
    pub judgement: Judgement,
    /// Whether a host of your own wrote the field. The first hop that is not trusted is the trust
    /// boundary: its field and all below could have been forged by the client that handed the
    /// message to your hosts.
    pub trusted: bool,
    /// Whether the trail has a gap below this field.
    pub link: Link,
}

/// Judges the Received fields of a message, or of its header section alone, the newest first. Only
/// two fields are held at a time: a message may have a great many.
///
/// What the hosts that you run write is believed. `own_names` are the names by which they call
/// themselves in their Received fields, `own_addresses` the addresses from which they connect to
/// each other; loopback need not be listed.
///
/// The least of the [verdicts](HopVerdict) is that on the whole path, as far as the fields below
/// the trust boundary are true.
pub fn review<'i>(
    message: &'i [u8],
    own_names: &[&str],
    own_addresses: &[IpAddr],
) -> impl Iterator<Item = Hop<'i>> {
    let mut fields = trace(message).peekable();
    // A field is believed if it names a host of yours and was on top when the message reached the
    // next one. That is known only while each hop above it was handed over by a host of yours:
    // otherwise a client can send a field in your name along with its message.
    let mut handed_over = true;
    std::iter::from_fn(move || {
        let field = fields.next()?;
        let wrote = |by| own_names.iter().any(|name| same_name(name, by));
        let trusted = handed_over && field.host().is_some_and(wrote);
        handed_over = trusted && is_handed_over(&field, own_addresses);
        let link = fields.peek().map_or(Link::NotStated, |older| link(&field, older));
        Some(Hop { judgement: field.judge(), trusted, link, field })
    })
}

/// Whether the client of a hop was one of your hosts. Only its address proves that: a client can
/// call itself anything.
fn is_handed_over(field: &Received<'_>, own_addresses: &[IpAddr]) -> bool {
    let address = field.from_address.filter(|_| !field.names_client_twice);
    let address = address.map(|address| address.to_canonical());
    matches!(field.arrival, Arrival::Local)
        || address.is_some_and(|address| {
            address.is_loopback() || own_addresses.iter().any(|own| own.to_canonical() == address)
        })
}

fn link(newer: &Received<'_>, older: &Received<'_>) -> Link {
    let address = newer.from_address;
    let stays =
        newer.arrival != Arrival::Network || address.is_some_and(|address| address.is_loopback());
    let mut clients = newer.client_names().chain(newer.host().filter(|_| stays)).peekable();
    let stated = clients.peek().is_some();
    let Some(by) = older.host() else {
        return Link::NotStated;
    };
    let same_address = address.is_some() && address == older.by_address;
    if same_address || clients.any(|client| same_host(client, by)) {
        Link::Continuous
    } else if stated {
        Link::Gap
    } else {
        Link::NotStated
    }
}

fn same_name(one: &str, other: &str) -> bool {
    let relative = |name: &str| name.strip_suffix('.').unwrap_or(name).len();
    one[..relative(one)].eq_ignore_ascii_case(&other[..relative(other)])
        // One of them may be an internationalised name that is not written as A-labels.
        || one.is_ascii() != other.is_ascii()
            && Domain::parse(one).is_ok_and(|one| Domain::parse(other) == Ok(one))
}

fn is_private(address: IpAddr) -> bool {
    Reach::of(address) < Reach::Public
}

/// Also where one of them is written without its domain.
fn same_host(one: &str, other: &str) -> bool {
    let host = |name: &str| name.find('.').unwrap_or(name.len());
    let short = host(one) == one.len() || host(other) == other.len();
    same_name(one, other) || short && one[..host(one)].eq_ignore_ascii_case(&other[..host(other)])
}
