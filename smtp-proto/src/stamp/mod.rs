//! The Received field that a receiver adds on top of a message (RFC 5321, section 4.4).

mod keyword;
mod tls;

pub use tls::ClientCertificate;

use std::io::Write as _;
use std::net::IpAddr;

use crate::channel::TlsInfo;
use crate::date::Date;
use crate::wire::command::Hello;

/// The comment after `by` that names this library as the writer. It marks TLS whenever TLS was
/// used.
pub const PRODUCT: &str = "smtp-proto";

/// RFC 5322, section 2.1.1: a line should have no more characters than this. A longer line is
/// written only for a single word that is longer.
const LINE: usize = 78;
/// RFC 5321, section 4.5.3.1.2: octets of a domain; here of each name. Keeps each line below the
/// 998 of RFC 5322, section 2.1.1.
const MAX_NAME: usize = 255;
/// RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.2: octets of a local part, `@` and a domain, and the
/// brackets around them.
const MAX_PATH: usize = 64 + 1 + 255 + 2;

/// The time stamp line of RFC 5321, section 4.4, by its fields.
///
/// No value can end the header field or be read as another clause. A name that the grammar demands
/// is written with `?` for each character that could do so, and cut at 255 octets; an optional
/// value that the grammar cannot hold is left out. Outside SMTPUTF8 transactions the field is
/// ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamp<'a> {
    /// The name that the client gave in EHLO, HELO or LHLO.
    pub name: &'a str,
    /// The name of the client's address in the DNS, if the caller verified it. Written only with an
    /// address.
    pub reverse_name: Option<&'a str>,
    /// The client's address, from the connection.
    pub address: Option<IpAddr>,
    /// The name of this host.
    pub by: &'a str,
    /// The command with which the client introduced itself, for the `with` clause. Whether TLS was
    /// used follows from `tls`.
    pub hello: Hello,
    /// The client authenticated itself with AUTH (RFC 4954, section 7), for the `with` clause.
    pub auth: bool,
    /// The transaction uses SMTPUTF8 (RFC 6531, section 4.3), for the `with` clause; names may be
    /// in UTF-8.
    pub utf8: bool,
    /// The name of the transaction or the queue entry: an atom (RFC 5322, section 3.2.3).
    pub id: Option<&'a str>,
    /// The recipient, with or without angle brackets; only for a transaction with exactly one,
    /// because each of several recipients would read of the others (RFC 5321, section 7.2). Left
    /// out if it is no mailbox.
    pub recipient: Option<&'a str>,
    /// The TLS session that the message arrived in, from
    /// [`Channel::tls`](crate::channel::Channel::tls): its version is written in a comment, its
    /// cipher suite and key exchange group in the `tls` clause (RFC 8314, section 4.3). A name that
    /// cannot be a registered one is left out.
    pub tls: Option<&'a TlsInfo>,
    /// What became of the client's certificate, in the form that Postfix writes; written only with
    /// `tls`. None writes nothing.
    pub client: Option<ClientCertificate<'a>>,
    /// When the message was received.
    pub date: Date,
}

impl<'a> Stamp<'a> {
    /// A stamp with what the grammar demands: the name that the client gave in its greeting, the
    /// name of this host, the command of the greeting and the time. Without AUTH and SMTPUTF8.
    pub const fn new(name: &'a str, by: &'a str, hello: Hello, date: Date) -> Self {
        Self {
            name,
            reverse_name: None,
            address: None,
            by,
            hello,
            auth: false,
            utf8: false,
            id: None,
            recipient: None,
            tls: None,
            client: None,
            date,
        }
    }
}

impl Stamp<'_> {
    /// The registered keyword of the `with` clause. TLS, AUTH and SMTPUTF8 have keywords for ESMTP
    /// and LMTP only: with one of them, [`Hello::Helo`] (a client that said HELO inside TLS) is
    /// written as ESMTP.
    pub const fn keyword(&self) -> &'static str {
        keyword::keyword(self.hello, self.tls.is_some(), self.auth, self.utf8)
    }

    /// Appends the header field, from `Received:` to the last CRLF. It belongs on top of the
    /// message (RFC 5321, section 4.4).
    pub fn write(&self, out: &mut Vec<u8>) {
        let utf8 = self.utf8;
        let mut field = Field { line: out.len(), out };
        field.out.extend_from_slice(b"Received: from");
        field.piece(|out| name(out, self.name, utf8));
        match (self.address, self.reverse_name) {
            (Some(address), Some(reverse)) => {
                field.piece(|out| {
                    out.push(b'(');
                    name(out, reverse, utf8);
                });
                field.piece(|out| {
                    literal(out, address);
                    out.push(b')');
                });
            }
            (Some(address), None) => field.piece(|out| {
                out.push(b'(');
                literal(out, address);
                out.push(b')');
            }),
            // RFC 5321, section 4.4: TCP-info has no form without an address.
            (None, _) => {}
        }
        field.line(|out| out.extend_from_slice(b"by"));
        field.piece(|out| name(out, self.by, utf8));
        field.piece(|out| push(out, format_args!("({PRODUCT})")));
        field.words(&["with", self.keyword()]);
        if let Some(id) = self.id.filter(|id| !id.is_empty()) {
            field.piece(|out| out.extend_from_slice(b"id"));
            field.piece(|out| neutral(out, id, utf8, is_atext));
        }
        if let Some(path) = self.recipient.and_then(|path| mailbox(path, utf8)) {
            field.line(|out| out.extend_from_slice(b"for"));
            field.piece(|out| push(out, format_args!("<{path}>")));
        }
        if let Some(tls) = self.tls {
            write_tls(tls, self.client, &mut field, utf8);
        }
        field.out.push(b';');
        field.line(|out| push(out, format_args!("{}", self.date)));
        field.out.extend_from_slice(b"\r\n");
    }
}

fn write_tls(
    tls: &TlsInfo,
    client: Option<ClientCertificate<'_>>,
    field: &mut Field<'_>,
    utf8: bool,
) {
    let named = is_registered(tls.cipher, b"_");
    if named {
        field.line(|out| push(out, format_args!("tls {}", tls.cipher)));
    }
    // RFC 8314, section 4.3: not to be used except immediately after the cipher.
    if let Some(group) = tls.group.filter(|group| named && is_registered(group, b"_-")) {
        field.words(&["group", group]);
    }
    if is_registered(tls.version, b".") {
        field.piece(|out| push(out, format_args!("(version={})", tls.version)));
    }
    match client {
        None => {}
        Some(ClientCertificate::NotRequested) => {
            field.line(|out| out.extend_from_slice(b"(No"));
            field.words(&["client", "certificate", "requested)"]);
        }
        Some(ClientCertificate::NotPresented) => {
            field.line(|out| out.extend_from_slice(b"(Client"));
            field.words(&["did", "not", "present", "a", "certificate)"]);
        }
        Some(ClientCertificate::Presented { common_name, issuer, verified }) => {
            field.line(|out| out.extend_from_slice(b"(Client"));
            field.words(&["CN"]);
            field.quoted(common_name.unwrap_or_default(), utf8);
            if let Some(issuer) = issuer {
                field.out.push(b',');
                field.words(&["Issuer"]);
                field.quoted(issuer, utf8);
            }
            field.words(if verified { &["(verified", "OK))"] } else { &["(not", "verified))"] });
        }
    }
}

/// A header field that folds itself.
struct Field<'o> {
    out: &'o mut Vec<u8>,
    /// Where the current line began.
    line: usize,
}

impl Field<'_> {
    /// One word that is not divided, after a space or, if the line would be too long, on the next
    /// line.
    fn piece(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let space = self.out.len();
        self.out.push(b' ');
        write(self.out);
        // Room for the comma or the semicolon that may follow.
        if self.out.len() - self.line >= LINE {
            self.out.splice(space..=space, *b"\r\n\t");
            self.line = space + 2;
        }
    }

    /// The same on a line of its own, whatever the length.
    fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(b"\r\n\t");
        self.line = self.out.len() - 1;
        write(self.out);
    }

    fn words(&mut self, words: &[&str]) {
        for word in words {
            self.piece(|out| out.extend_from_slice(word.as_bytes()));
        }
    }

    /// A name in quotation marks, for the inside of a comment.
    fn quoted(&mut self, text: &str, utf8: bool) {
        let mut words = truncated(text, MAX_NAME).split_ascii_whitespace().peekable();
        let mut open: &[u8] = b"\"";
        loop {
            let word = words.next().unwrap_or_default();
            let last = words.peek().is_none();
            self.piece(|out| {
                out.extend_from_slice(open);
                neutral(out, word, utf8, |byte| {
                    byte.is_ascii_graphic() && !b"\"()\\".contains(&byte)
                });
                out.extend_from_slice(if last { b"\"" } else { b"" });
            });
            if last {
                return;
            }
            open = b"";
        }
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a `Vec` cannot fail.
    let _ = out.write_fmt(text);
}

fn literal(out: &mut Vec<u8>, address: IpAddr) {
    // RFC 5321, section 4.1.3.
    match address.to_canonical() {
        IpAddr::V4(address) => push(out, format_args!("[{address}]")),
        IpAddr::V6(address) => push(out, format_args!("[IPv6:{address}]")),
    }
}

/// A domain or an address literal, or what a lenient server lets pass for one.
fn name(out: &mut Vec<u8>, name: &str, utf8: bool) {
    let name = if name.is_empty() { "unknown" } else { name };
    neutral(out, name, utf8, |byte| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte));
}

/// The text with `?` for every character that is not allowed. Beyond ASCII, SMTPUTF8 allows all but
/// control characters.
fn neutral(out: &mut Vec<u8>, text: &str, utf8: bool, allowed: impl Fn(u8) -> bool) {
    for character in truncated(text, MAX_NAME).chars() {
        let kept = match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => allowed(byte),
            _ => utf8 && !character.is_control(),
        };
        let character = if kept { character } else { '?' };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn truncated(text: &str, at_most: usize) -> &str {
    if text.len() <= at_most {
        return text;
    }
    let end = (0..=at_most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

/// RFC 5322, section 3.2.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// A name of the registries that RFC 8314, section 4.3 refers to.
fn is_registered(name: &str, also: &[u8]) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
}

/// The mailbox without its brackets, if nothing in it can end the path: a quoted local part is
/// closed, and everything outside the quotes is of atoms, dots, `@` and literals.
fn mailbox(path: &str, utf8: bool) -> Option<&str> {
    if path.len() > MAX_PATH || !(utf8 || path.is_ascii()) || path.contains(char::is_control) {
        return None;
    }
    let mailbox = path.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(path);
    let rest = match mailbox.strip_prefix('"') {
        None => mailbox,
        Some(quoted) => {
            let mut bytes = quoted.bytes().enumerate();
            let end = loop {
                match bytes.next()? {
                    (end, b'"') => break end + 1,
                    (_, b'\\') => drop(bytes.next()?),
                    _ => {}
                }
            };
            &quoted[end..]
        }
    };
    let plain = |byte: u8| !byte.is_ascii() || is_atext(byte) || b".@[]:".contains(&byte);
    (!mailbox.is_empty() && rest.bytes().all(plain)).then_some(mailbox)
}
