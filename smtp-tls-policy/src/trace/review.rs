//! Judges a trail of Received fields: was each hop TLS, and how is that known?
//!
//! [`Received::judge`] judges one hop, [`review`] a whole message. Nothing here is proof: the
//! writer of a field can write anything. A review therefore also says [how many](Review::trusted)
//! fields were written by hosts of your own; all others can be forged.
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

/// What a field says about the channel, wherever the hop was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// TLS.
    Tls,
    /// Clear text.
    Cleartext,
    /// The field does not say.
    Unknown,
}

/// The verdict on one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HopVerdict {
    /// TLS, wherever the hop was.
    Tls,
    /// Clear text.
    Cleartext,
    /// The field does not say, or cannot be read.
    Unknown,
    /// No network hop: loopback, or the inside of one system.
    Local,
    /// No TLS is shown, and both ends, as far as stated, are in private address space.
    PrivateNet,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Basis {
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

impl fmt::Display for Basis {
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

/// The judgement of one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: HopVerdict,
    /// What it rests on.
    pub basis: Basis,
    /// What the field says about the channel alone: equal to the verdict where that is `Tls`,
    /// `Cleartext` or `Unknown`, and the answer for callers that count local and private hops like
    /// others.
    pub channel: Channel,
}

impl Received<'_> {
    /// Judges one hop.
    pub fn judge(&self) -> Judgement {
        let (channel, basis) = self.channel();
        let judgement = |verdict, basis| Judgement { verdict, basis, channel };
        let address = self.client_address();
        if matches!(self.arrival, Arrival::Local) {
            // Also `with local-esmtps`, Exim's name for what another process on the host handed in.
            return judgement(HopVerdict::Local, Basis::SaysLocal);
        }
        match channel {
            _ if !self.names_writer => judgement(HopVerdict::Unknown, Basis::Unreadable),
            Channel::Tls => judgement(HopVerdict::Tls, basis),
            _ if address.is_some_and(|address| address.is_loopback()) => {
                judgement(HopVerdict::Local, Basis::Loopback)
            }
            // Software that hides its clients, but says that it spoke SMTP with one, is judged like
            // other software; so is any that says that the client authenticated itself.
            _ if self.arrival == Arrival::NotStated
                && !(self.speaks_smtp() && self.writer_always_marks_tls())
                && !self.client_authenticated() =>
            {
                judgement(HopVerdict::Local, Basis::NoClient)
            }
            // The server may have a public address and still be reached from inside; a client that
            // it saw under a private address came from inside, unless the server says that it is
            // itself elsewhere.
            _ if address.is_some_and(is_private) && self.by_address.is_none_or(is_private) => {
                judgement(HopVerdict::PrivateNet, Basis::PrivateAddress)
            }
            Channel::Cleartext => judgement(HopVerdict::Cleartext, basis),
            Channel::Unknown => judgement(HopVerdict::Unknown, basis),
        }
    }

    fn channel(&self) -> (Channel, Basis) {
        match (&self.tls, self.software) {
            _ if !self.names_writer => (Channel::Unknown, Basis::Unreadable),
            (Some(mark), _) => (Channel::Tls, Basis::Marked(mark.evidence)),
            (None, _) if self.says_clear_text => (Channel::Cleartext, Basis::SaysClearText),
            (None, Some(software)) if software.always_marks_tls() => {
                (Channel::Cleartext, Basis::NotMarkedBy(software))
            }
            (None, _) => (Channel::Unknown, Basis::NothingStated),
        }
    }

    fn speaks_smtp(&self) -> bool {
        self.with.is_some_and(|with| with.protocol.is_some())
    }

    fn client_authenticated(&self) -> bool {
        self.with.is_some_and(|with| with.auth)
    }

    fn writer_always_marks_tls(&self) -> bool {
        self.software.is_some_and(Software::always_marks_tls)
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.from.and_then(|from| from.address)
    }

    /// The names of the client: what the server found, then what the client called itself. An
    /// address is no name, and `unknown` is what many servers write for a name that they did not
    /// find.
    fn client_names(&self) -> impl Iterator<Item = &str> {
        let names = self.from.map(|from| [from.reverse_name.unwrap_or(from.name), from.helo]);
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

/// The hosts that you run: what they write is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnHosts<'a> {
    /// The names by which they call themselves in their Received fields.
    pub names: &'a [&'a str],
    /// The addresses from which they connect to each other; loopback need not be listed.
    pub addresses: &'a [IpAddr],
}

impl OwnHosts<'_> {
    fn wrote(&self, hop: &Received<'_>) -> bool {
        hop.host().is_some_and(|by| self.names.iter().any(|name| same_name(name, by)))
    }

    /// Whether the client of a hop was one of these hosts. Only its address proves that: a client
    /// can call itself anything.
    fn handed_over(&self, hop: &Received<'_>) -> bool {
        let address = hop.client_address().filter(|_| !hop.names_client_twice);
        let address = address.map(|address| address.to_canonical());
        matches!(hop.arrival, Arrival::Local)
            || address.is_some_and(|address| {
                address.is_loopback()
                    || self.addresses.iter().any(|own| own.to_canonical() == address)
            })
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

/// One hop of a [`Review`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopReview {
    /// The judgement.
    pub judgement: Judgement,
    /// Whether a host of your own wrote the field.
    pub trusted: bool,
    /// Whether the trail has a gap below this field.
    pub link: Link,
}

/// The answer for a whole trail: the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Summary {
    /// No field tells of a network hop.
    NoHops,
    /// A hop was clear text.
    Cleartext,
    /// No hop is known to have been clear text, and at least one is unknown.
    Unknown,
    /// Every hop was TLS, apart from some on private networks.
    TlsOutsidePrivateNets,
    /// Every network hop was TLS.
    AllTls,
}

/// The judgement of a whole trail. Made by [`review`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The hops in the order of the fields: the newest first.
    pub hops: Vec<HopReview>,
    /// The trust boundary: this many fields, counted from the top, were written by hosts of your
    /// own. Everything below could have been forged by the client that handed the message to them.
    pub trusted: usize,
}

impl Review {
    /// The answer for all hops, as far as the fields below the trust boundary are true.
    pub fn summary(&self) -> Summary {
        summary(&self.hops)
    }

    /// The answer for the hops above the trust boundary.
    pub fn trusted_summary(&self) -> Summary {
        summary(&self.hops[..self.trusted])
    }
}

/// Judges the Received fields of a message, or of its header section alone. Only two fields are
/// held at a time: a message may have a great many.
pub fn review(message: &[u8], own: &OwnHosts<'_>) -> Review {
    let mut fields = trace(message).peekable();
    let mut hops = Vec::new();
    // A field is believed if it names a host of yours and was on top when the message reached the
    // next one. That is known only while each hop above it was handed over by a host of yours:
    // otherwise a client can send a field in your name along with its message.
    let mut handed_over = true;
    while let Some(hop) = fields.next() {
        let trusted = handed_over && own.wrote(&hop);
        handed_over = trusted && own.handed_over(&hop);
        let link = fields.peek().map_or(Link::NotStated, |older| link(&hop, older));
        hops.push(HopReview { judgement: hop.judge(), trusted, link });
    }
    let trusted = hops.iter().take_while(|hop| hop.trusted).count();
    Review { hops, trusted }
}

fn summary(hops: &[HopReview]) -> Summary {
    let any = |verdict| hops.iter().any(|hop| hop.judgement.verdict == verdict);
    if any(HopVerdict::Cleartext) {
        Summary::Cleartext
    } else if any(HopVerdict::Unknown) {
        Summary::Unknown
    } else if any(HopVerdict::PrivateNet) {
        Summary::TlsOutsidePrivateNets
    } else if any(HopVerdict::Tls) {
        Summary::AllTls
    } else {
        Summary::NoHops
    }
}

fn link(newer: &Received<'_>, older: &Received<'_>) -> Link {
    let address = newer.client_address();
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
