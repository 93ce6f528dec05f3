//! One header, read: what it states, in facts that judge nothing.

use std::net::IpAddr;

use super::date::DateTime;
use super::protocol::With;
use super::reader::Reader;
use super::scan::{Scanner, Token};
use super::software::Software;
use super::text::Text;
use super::tls::TlsMark;

/// A Received header field, as stated by whoever wrote it. What it does not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'i> {
    pub(super) body: Text<'i>,
    /// The `from` clause.
    pub from: Option<From<'i>>,
    /// The host that wrote the header.
    pub by: Option<Text<'i>>,
    /// The address of that host.
    pub by_address: Option<IpAddr>,
    /// The `via` clause.
    pub via: Option<Text<'i>>,
    /// The `with` clause.
    pub with: Option<With<'i>>,
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

/// The `from` clause and its comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From<'i> {
    /// The word behind `from`: the name given in EHLO, or, with writers that state that in a comment (Exim, qmail), the
    /// name or address that the server found.
    pub name: Text<'i>,
    /// The name given in EHLO or HELO; the client chose it.
    pub helo: Text<'i>,
    /// The name that the server found for the address.
    pub reverse_name: Option<Text<'i>>,
    /// The client's address, from the TCP connection; never one that only EHLO named.
    pub address: Option<IpAddr>,
}

/// How a message came to the host that wrote the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// From another process over a connection: there is a `from` clause, or `invoked from network`.
    Network,
    /// From the same host, or from inside the same system.
    Local(LocalMark),
    /// Neither is said. RFC 5321, 4.4 demands a `from` clause in an SMTP environment, so this is no SMTP client of a
    /// stranger, or a `from` clause that was taken away.
    NotStated,
}

/// What says that a message did not come over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalMark {
    /// `with local`, `with local-esmtps` and their like (Exim).
    Protocol,
    /// `with mapi` (Exchange).
    Mapi,
    /// `(qmail 123 invoked by uid 111)`, `(Haraka 123 invoked for bounce)`.
    Invoked,
    /// `(Postfix, from userid 35569)`, `(from root@localhost)`.
    User,
    /// `from mail pickup service` (IIS): a file in a folder.
    Pickup,
    /// `([unix socket])` (Cyrus), `(host [local])` (OpenSMTPD).
    Socket,
    /// `(MessageSwitch)`: the inside of Exchange Hosted Services.
    MessageSwitch,
}

impl<'i> Received<'i> {
    /// Reads the body of one field: what stands behind `Received:`, folded or not.
    ///
    /// Every input has a result; time is linear in its length and nothing is allocated.
    pub fn parse(body: &'i [u8]) -> Self {
        let body = body.trim_ascii();
        let mut reader = Reader::default();
        let mut scanner = Scanner::new(body);
        let mut date = None;
        while let Some(token) = scanner.next() {
            match token {
                Token::Comment(comment) => reader.comment(comment),
                // The last semicolon counts: some writers use others before it.
                Token::Semicolon => date = Some(scanner.position()),
                Token::Word(word) if date.is_none() => {
                    let end = scanner.position();
                    reader.word(word, &body[..end]);
                }
                Token::Word(_) => {}
            }
        }
        reader.finish(body, date.and_then(|start| DateTime::parse(&body[start..])))
    }

    /// All comments in order, without their outer parentheses; a comment inside a comment is part of it.
    pub fn comments(&self) -> impl Iterator<Item = Text<'i>> + use<'i> {
        Scanner::new(self.body.raw()).filter_map(|token| match token {
            Token::Comment(comment) => Some(Text::new(comment)),
            Token::Word(_) | Token::Semicolon => None,
        })
    }
}
