//! What one Received field states; nothing is judged here.

use std::net::IpAddr;

use super::date::DateTime;
use super::protocol::Protocol;
use super::software::Software;
use super::text::Text;
use super::tls::TlsMark;

/// What a Received field states. A fact that the field does not state is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'i> {
    pub(super) body: Text<'i>,
    /// The field names the one host that wrote it, or at least its software: `by
    /// (Haraka/2.8.16)`.
    pub(super) names_writer: bool,
    /// The `from` clause has two addresses, of which the client may have chosen one.
    pub(super) names_client_twice: bool,
    /// The word after `from`: the name given in EHLO, or, with writers that state that in a comment
    /// (Exim, qmail), the name or address that the server found. Empty where only comments follow;
    /// `None` without a `from` clause, as are the other facts about the client.
    pub from: Option<Text<'i>>,
    /// The client's address, from the TCP connection; never one that only EHLO named.
    pub from_address: Option<IpAddr>,
    /// The name given in EHLO or HELO; the client chose it.
    pub helo: Option<Text<'i>>,
    /// The name that the server found for the client's address.
    pub reverse_name: Option<Text<'i>>,
    /// The host that wrote the header.
    pub by: Option<Text<'i>>,
    /// The address of that host.
    pub by_address: Option<IpAddr>,
    /// The `via` clause.
    pub via: Option<Text<'i>>,
    /// The `with` clause up to its first comment or the next clause: `ESMTPS`, but also `Microsoft
    /// SMTP Server`.
    pub with: Option<Text<'i>>,
    /// What is spoken, if the first word of the `with` clause is a keyword of RFC 3848 or RFC 6531
    /// or near to one.
    pub protocol: Option<Protocol>,
    /// That keyword says that the client authenticated itself with AUTH (RFC 4954).
    pub auth: bool,
    /// That keyword says that the transaction uses SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// The `id` clause.
    pub id: Option<Text<'i>>,
    /// The `for` clause, angle brackets included where it has them.
    pub recipient: Option<Text<'i>>,
    /// When the message was received.
    pub date: Option<DateTime>,
    /// TLS, if the header shows any mark of it.
    pub tls: Option<TlsMark<'i>>,
    /// The header says in words that the channel was clear text, as chasquid does: `plain text!`.
    pub says_clear_text: bool,
    /// Which software wrote it.
    pub software: Option<Software>,
    /// How the message came to the host.
    pub arrival: Arrival,
}

/// How a message came to the host that wrote the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// From another process over a connection: there is a `from` clause, or `invoked from network`.
    Network,
    /// From the same host, or from inside the same system:
    ///
    /// - `with local`, `with local-esmtps` and their like (Exim); `with mapi` (Exchange);
    /// - `(qmail 123 invoked by uid 111)`, `(Haraka 123 invoked for bounce)`;
    /// - `(Postfix, from userid 35569)`, `(from root@localhost)`: a user of the host;
    /// - `from mail pickup service` (IIS): a file in a folder;
    /// - `([unix socket])` (Cyrus), `(host [local])` (OpenSMTPD);
    /// - `(MessageSwitch)`: the inside of Exchange Hosted Services.
    Local,
    /// Neither is said. RFC 5321, section 4.4 demands a `from` clause in an SMTP environment, so
    /// this is no SMTP client of a stranger, or a `from` clause that was taken away.
    NotStated,
}
