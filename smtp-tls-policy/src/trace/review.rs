//! A trace of hops: was every hop TLS, and how do we know?
//!
//! A [`Hop`] is what one Received header states, in plain values; [`Hop::judge`] says what that is worth, [`review`]
//! judges a whole trace. Nothing here is proof. Who wrote a header could write anything, so a review also says
//! [how many](Review::trusted) of the headers were written by hosts of your own; all others can be forged.
//!
//! A hop counts as TLS on any mark of it. It counts as clear text only where the header says so, or where the software
//! that wrote it is known always to mark TLS and did not; else nobody knows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a Received header states. The default states nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The names of the client, best first: what the server found out, then what the client called itself.
    pub from: [Option<&'a str>; 2],
    /// The client's address, as the server saw it.
    pub from_address: Option<IpAddr>,
    /// The host that wrote the header.
    pub by: Option<&'a str>,
    /// The address of that host.
    pub by_address: Option<IpAddr>,
    /// The mark of TLS, if there is one.
    pub tls: Option<TlsMark>,
    /// The header says in words that the channel was clear text.
    pub says_clear_text: bool,
    /// The `with` clause names SMTP or LMTP in one of their forms.
    pub smtp: bool,
    /// The software that wrote the header.
    pub writer: Writer,
    /// How the message came to that host.
    pub arrival: Arrival,
}

/// Where a header says that TLS was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMark {
    /// The `tls` clause of RFC 8314, 4.3.
    Clause,
    /// A comment with the version or the cipher suite.
    Comment,
    /// The `with` keyword of RFC 3848 or RFC 6531, 4.3: `ESMTPS`.
    Keyword,
    /// Words of the writer's own.
    Phrase,
}

/// How a message came to the host that wrote the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// Over a connection.
    Network,
    /// From the same host or the inside of the same system, in the words of the header.
    Local,
    /// The header does not say; it has no `from` clause.
    #[default]
    NotStated,
}

/// Software that writes Received headers, with its version where the answer depends on it.
///
/// Exhaustive: whether the lack of a TLS mark means clear text is decided by these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Writer {
    /// This library.
    Own,
    /// Postfix. Its headers name no version: taken as 2.3 (2006) or newer, which write `ESMTPS`.
    Postfix,
    /// Exim; marks TLS since 4.50.
    Exim(Option<(u16, u16)>),
    /// Exchange 2007 or newer; older ones say [`Other`](Self::Other) things.
    Exchange,
    /// Sendmail; marks TLS since 8.12.
    Sendmail(Option<(u16, u16)>),
    /// OpenSMTPD.
    OpenSmtpd,
    /// Haraka.
    Haraka,
    /// Stalwart.
    Stalwart,
    /// chasquid.
    Chasquid,
    /// KumoMTA.
    KumoMta,
    /// Not known, or known not to mark TLS always.
    #[default]
    Other,
}

impl Writer {
    /// Whether every hop over TLS bears a mark of it.
    pub fn always_marks_tls(self) -> bool {
        match self {
            Self::Own
            | Self::Postfix
            | Self::Exchange
            | Self::OpenSmtpd
            | Self::Haraka
            | Self::Stalwart
            | Self::Chasquid
            | Self::KumoMta => true,
            Self::Exim(version) => version.is_none_or(|version| version >= (4, 50)),
            Self::Sendmail(version) => version.is_none_or(|version| version >= (8, 12)),
            Self::Other => false,
        }
    }
}

/// What a header says about the channel, wherever the hop was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// TLS.
    Tls,
    /// Clear text.
    Cleartext,
    /// Nobody knows.
    Unknown,
}

/// What a hop is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// TLS, wherever the hop was.
    Tls,
    /// Clear text.
    Cleartext,
    /// Nobody knows.
    Unknown,
    /// No network hop: loopback, or the inside of one system.
    Local,
    /// No TLS is shown, and both ends, as far as stated, are in private address space.
    PrivateNet,
}

/// How a verdict is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Because {
    /// The header bears this mark.
    Marked(TlsMark),
    /// The header says `plain text`.
    SaysClearText,
    /// This software always marks TLS, and here is no mark.
    NotMarkedBy(Writer),
    /// Nothing is marked, and the writer is not known to mark TLS always.
    NothingStated,
    /// The header says that the message came from inside.
    SaysLocal,
    /// The client's address is the host's own loopback.
    Loopback,
    /// There is no `from` clause, which RFC 5321, 4.4 demands of every SMTP server.
    NoClient,
    /// The addresses are private.
    PrivateAddress,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marked(TlsMark::Clause) => "the header has a tls clause",
            Self::Marked(TlsMark::Comment) => "a comment in the header tells of TLS",
            Self::Marked(TlsMark::Keyword) => "the protocol keyword of the header tells of TLS",
            Self::Marked(TlsMark::Phrase) => "the words of the header tell of TLS",
            Self::SaysClearText => "the header says plain text",
            Self::NotMarkedBy(_) => "software that always marks TLS marked none",
            Self::NothingStated => "the header does not say, and its writer need not have said",
            Self::SaysLocal => "the header says that the message came from inside",
            Self::Loopback => "the client was on the same host",
            Self::NoClient => "the header names no client",
            Self::PrivateAddress => "the client was on a private network",
        })
    }
}

/// A hop, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What the hop is worth.
    pub verdict: Verdict,
    /// How that is known.
    pub because: Because,
    /// What the header says about the channel alone: the same as the verdict where that is `Tls`, `Cleartext` or
    /// `Unknown`, and the answer for those who count local and private hops like others.
    pub channel: Channel,
}

impl Hop<'_> {
    /// The verdict on one hop.
    pub fn judge(&self) -> Judgement {
        let (channel, because) = self.channel();
        let judgement = |verdict, because| Judgement { verdict, because, channel };
        if self.arrival == Arrival::Local {
            // Also `with local-esmtps`: a protocol name of Exim's for what another process on the host handed in.
            return judgement(Verdict::Local, Because::SaysLocal);
        }
        match channel {
            Channel::Tls => judgement(Verdict::Tls, because),
            _ if self.from_address.is_some_and(|address| address.to_canonical().is_loopback()) => {
                judgement(Verdict::Local, Because::Loopback)
            }
            // Software that hides its clients, but says that it spoke SMTP with one, is judged like others.
            _ if self.arrival == Arrival::NotStated
                && !(self.smtp && self.writer.always_marks_tls()) =>
            {
                judgement(Verdict::Local, Because::NoClient)
            }
            // The server may have a public address and still be reached from inside; a client that it saw under a
            // private one came from inside, unless the server says that it is itself elsewhere.
            _ if self.from_address.is_some_and(is_private)
                && self.by_address.is_none_or(is_private) =>
            {
                judgement(Verdict::PrivateNet, Because::PrivateAddress)
            }
            Channel::Cleartext => judgement(Verdict::Cleartext, because),
            Channel::Unknown => judgement(Verdict::Unknown, because),
        }
    }

    fn channel(&self) -> (Channel, Because) {
        match self.tls {
            Some(mark) => (Channel::Tls, Because::Marked(mark)),
            None if self.says_clear_text => (Channel::Cleartext, Because::SaysClearText),
            None if self.writer.always_marks_tls() => {
                (Channel::Cleartext, Because::NotMarkedBy(self.writer))
            }
            None => (Channel::Unknown, Because::NothingStated),
        }
    }
}

/// The hosts that you run: what they write is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnHosts<'a> {
    /// By which names they call themselves in their headers.
    pub names: &'a [&'a str],
    /// From which addresses they connect to each other; loopback need not be named.
    pub addresses: &'a [IpAddr],
}

impl OwnHosts<'_> {
    fn wrote(&self, hop: &Hop<'_>) -> bool {
        hop.by.is_some_and(|by| self.names.iter().any(|name| same_name(name, by)))
    }

    /// Whether the client of a hop was one of these hosts. Only its address says so: anybody can call himself anything.
    fn handed_over(&self, hop: &Hop<'_>) -> bool {
        let address = hop.from_address.map(|address| address.to_canonical());
        hop.arrival == Arrival::Local
            || address.is_some_and(|address| {
                address.is_loopback()
                    || self.addresses.iter().any(|own| own.to_canonical() == address)
            })
    }
}

/// How a hop continues the one before it (the next header further down).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// The host that wrote the older header is the client of this hop, or calls itself so.
    Continuous,
    /// It is another: a header is missing, a host has two names, or one of the two headers is not true.
    Gap,
    /// One of the two headers does not say, or there is no older one.
    NotStated,
}

/// One hop of a [`Review`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopReview {
    /// The verdict.
    pub judgement: Judgement,
    /// Whether a host of your own wrote the header.
    pub trusted: bool,
    /// Whether the trace has a gap below this header.
    pub link: Link,
}

/// A whole trace, in one word: the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Summary {
    /// No header tells of a network hop.
    NoHops,
    /// A hop was clear text.
    Cleartext,
    /// No hop is known to have been clear text, but of one nobody knows.
    Unknown,
    /// Every hop was TLS, apart from some on private networks.
    TlsOutsidePrivateNets,
    /// Every network hop was TLS.
    AllTls,
}

/// A trace, judged. Made by [`review`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The hops in the order of the headers: the newest first.
    pub hops: Vec<HopReview>,
    /// The trust boundary: this many headers, counted from the top, were written by hosts of your own. Everything below
    /// could have been forged by whoever handed the message to them.
    pub trusted: usize,
}

impl Review {
    /// The answer for all hops, as far as the headers below the trust boundary are true.
    pub fn summary(&self) -> Summary {
        summary(&self.hops)
    }

    /// The answer for the hops above the trust boundary.
    pub fn trusted_summary(&self) -> Summary {
        summary(&self.hops[..self.trusted])
    }
}

/// Judges the hops of a message, in the order of its headers: the newest first.
pub fn review(hops: &[Hop<'_>], own: &OwnHosts<'_>) -> Review {
    // A header is believed if it names a host of yours and was on top when the message reached the next one: that is
    // known only while each hop above it was handed over by a host of yours. Else a stranger can send a header in your
    // name along with his message.
    let mut handed_over = true;
    let trusted = hops
        .iter()
        .take_while(|hop| {
            let believed = handed_over && own.wrote(hop);
            handed_over = own.handed_over(hop);
            believed
        })
        .count();
    let hops = hops
        .iter()
        .enumerate()
        .map(|(index, hop)| HopReview {
            judgement: hop.judge(),
            trusted: index < trusted,
            link: hops.get(index + 1).map_or(Link::NotStated, |older| link(hop, older)),
        })
        .collect();
    Review { hops, trusted }
}

fn summary(hops: &[HopReview]) -> Summary {
    let any = |verdict| hops.iter().any(|hop| hop.judgement.verdict == verdict);
    if any(Verdict::Cleartext) {
        Summary::Cleartext
    } else if any(Verdict::Unknown) {
        Summary::Unknown
    } else if any(Verdict::PrivateNet) {
        Summary::TlsOutsidePrivateNets
    } else if any(Verdict::Tls) {
        Summary::AllTls
    } else {
        Summary::NoHops
    }
}

fn link(newer: &Hop<'_>, older: &Hop<'_>) -> Link {
    let stays = newer.arrival != Arrival::Network
        || newer.from_address.is_some_and(|address| address.is_loopback());
    let mut clients =
        newer.from.into_iter().chain([newer.by.filter(|_| stays)]).flatten().peekable();
    let stated = clients.peek().is_some();
    let Some(by) = older.by else {
        return Link::NotStated;
    };
    let same_address = newer.from_address.is_some() && newer.from_address == older.by_address;
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
}

/// Also where one of them is written without its domain.
fn same_host(one: &str, other: &str) -> bool {
    let host = |name: &str| name.find('.').unwrap_or(name.len());
    let short = host(one) == one.len() || host(other) == other.len();
    same_name(one, other) || short && one[..host(one)].eq_ignore_ascii_case(&other[..host(other)])
}

/// RFC 1918, RFC 3927, RFC 4193, RFC 4291 (2.5.6), and loopback.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => v4_is_private(address),
        IpAddr::V6(address) => v6_is_private(address),
    }
}

fn v4_is_private(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_link_local() || address.is_loopback()
}

fn v6_is_private(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
}
