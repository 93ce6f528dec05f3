//! Commands: one type, read by the server and written by the client (RFC 5321, section 4.1).

mod hello;
mod queue;
mod uri;
mod xclient;

pub use hello::Hello;
pub use queue::Queue;
use std::fmt;
pub use uri::Uri;
pub use xclient::{Xclient, XclientName, XclientValue};

use crate::wire::ascii::{is_word, push_number, put};
pub use crate::wire::fault::CommandError;
use crate::wire::params::{MailParameters, Parameters, RcptParameters};
use crate::wire::path::{AddressRules, ForwardPath, PathError, ReversePath};

/// A command line without its CRLF, taken apart and checked.
///
/// ```
/// use smtp_proto::wire::command::{Command, CommandError};
/// use smtp_proto::wire::path::{AddressRules, PathError};
///
/// let Ok(Command::Mail { path, parameters }) = Command::parse(b"MAIL FROM:<a@test.example> SIZE=10 X=1", AddressRules::STRICT) else {
///     panic!()
/// };
/// assert_eq!((path.as_str(), parameters.size), ("a@test.example", Some(10)));
///
/// let mut output = Vec::new();
/// Command::Mail { path, parameters }.write(&mut output);
/// assert_eq!(output, b"MAIL FROM:<a@test.example> SIZE=10 X=1\r\n");
///
/// assert_eq!(Command::parse(b"RCPT TO:<a@@b>", AddressRules::STRICT), Err(CommandError::Recipient(PathError::Domain)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'i> {
    /// EHLO with the name that the client gives itself. It should be a domain or an address
    /// literal, but RFC 5321, section 4.1.4 forbids to refuse mail because of it, so any printable
    /// word is taken.
    Ehlo(&'i str),
    /// HELO with the name that the client gives itself.
    Helo(&'i str),
    /// LHLO with the name that the client gives itself: the EHLO of LMTP (RFC 2033, section 4.1).
    Lhlo(&'i str),
    /// STARTTLS (RFC 3207)
    StartTls,
    /// MAIL
    Mail {
        /// The sender.
        path: ReversePath<'i>,
        /// The parameters after the path.
        parameters: MailParameters<'i>,
    },
    /// RCPT
    Rcpt {
        /// The recipient.
        path: ForwardPath<'i>,
        /// The parameters after the path.
        parameters: RcptParameters<'i>,
    },
    /// DATA
    Data,
    /// BDAT (RFC 3030, section 2)
    Bdat {
        /// Octets that follow the command line.
        size: u64,
        /// The chunk is the last of the message.
        last: bool,
    },
    /// AUTH (RFC 4954, section 4)
    Auth {
        /// The name of the mechanism, as it came.
        mechanism: &'i str,
        /// The initial response, if the command has one.
        initial: Option<InitialResponse<'i>>,
    },
    /// RSET
    Rset,
    /// NOOP, with a string that has no meaning.
    Noop(&'i str),
    /// QUIT
    Quit,
    /// VRFY
    Vrfy {
        /// Its string.
        text: &'i str,
        /// `SMTPUTF8` follows the string (RFC 6531, section 3.7.4.2): the reply may be in UTF-8.
        smtputf8: bool,
    },
    /// EXPN
    Expn {
        /// Its string.
        text: &'i str,
        /// As that of VRFY.
        smtputf8: bool,
    },
    /// HELP with its string, which may be empty.
    Help(&'i str),
    /// ETRN (RFC 1985)
    Etrn(Queue<'i>),
    /// XCLIENT, as Postfix defines it.
    Xclient(Xclient<'i>),
    /// BURL (RFC 4468): the URI names a piece of the message.
    Burl {
        /// The URI of the piece.
        uri: Uri<'i>,
        /// The piece is the last of the message.
        last: bool,
    },
    /// A verb that this library does not know.
    Unknown {
        /// The first word, as it came.
        verb: &'i str,
        /// The rest of the line.
        argument: &'i str,
    },
}

/// The initial response of AUTH, in base64; `=` for an empty one. It may hold credentials, so it is
/// not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InitialResponse<'i>(&'i str);

impl<'i> InitialResponse<'i> {
    /// The response as it is in the command.
    pub const fn as_str(self) -> &'i str {
        self.0
    }
}

impl fmt::Debug for InitialResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitialResponse(..)")
    }
}

impl<'i> Command<'i> {
    /// Reads a line without its CRLF. Verbs and keywords may be in any case.
    ///
    /// # Errors
    ///
    /// The part of the command that is against the grammar, or that the rules for addresses do not
    /// allow.
    pub fn parse(line: &'i [u8], addresses: AddressRules) -> Result<Self, CommandError> {
        let text = std::str::from_utf8(line).map_err(|_| CommandError::NotUtf8)?;
        let mut command = Self::of(text, addresses);
        // The grammar of paths and parameters has no place for a control: only a line that is
        // against it can hold one.
        if !matches!(command, Ok(Self::Mail { .. } | Self::Rcpt { .. })) && has_control(line) {
            command = Err(CommandError::Control);
        }
        command
    }

    #[inline]
    fn of(text: &'i str, addresses: AddressRules) -> Result<Self, CommandError> {
        let end = text.bytes().position(|byte| byte == b' ').unwrap_or(text.len());
        let verb = &text[..end];
        // RFC 5321, section 4.1.1: a server should tolerate trailing white space.
        let argument = trimmed(&text[end..]);
        match verb.as_bytes() {
            verb if is_word(verb, b"MAIL") => Self::mail(argument, addresses),
            verb if is_word(verb, b"RCPT") => Self::rcpt(argument, addresses),
            verb if is_word(verb, b"DATA") => no_argument(argument, Self::Data),
            verb if is_word(verb, b"EHLO") => name(argument).map(Self::Ehlo),
            verb if is_word(verb, b"HELO") => name(argument).map(Self::Helo),
            verb if is_word(verb, b"LHLO") => name(argument).map(Self::Lhlo),
            verb if is_word(verb, b"BDAT") => chunk(argument),
            verb if is_word(verb, b"AUTH") => auth(argument),
            verb if is_word(verb, b"RSET") => no_argument(argument, Self::Rset),
            verb if is_word(verb, b"QUIT") => no_argument(argument, Self::Quit),
            verb if is_word(verb, b"STARTTLS") => no_argument(argument, Self::StartTls),
            verb if is_word(verb, b"NOOP") => Ok(Self::Noop(argument)),
            verb if is_word(verb, b"HELP") => Ok(Self::Help(argument)),
            verb if is_word(verb, b"ETRN") => {
                Queue::parse(argument).map(Self::Etrn).ok_or(CommandError::Queue)
            }
            verb if is_word(verb, b"XCLIENT") => {
                Xclient::parse(argument).map(Self::Xclient).ok_or(CommandError::Attribute)
            }
            verb if is_word(verb, b"BURL") => fetch(argument),
            verb if is_word(verb, b"VRFY") => {
                name_or_list(argument).map(|(text, smtputf8)| Self::Vrfy { text, smtputf8 })
            }
            verb if is_word(verb, b"EXPN") => {
                name_or_list(argument).map(|(text, smtputf8)| Self::Expn { text, smtputf8 })
            }
            b"" => Err(CommandError::Empty),
            _ => Ok(Self::Unknown { verb, argument }),
        }
    }

    #[inline]
    fn mail(argument: &'i str, addresses: AddressRules) -> Result<Self, CommandError> {
        let text =
            after_colon(argument, b"FROM").ok_or(CommandError::Sender(PathError::Brackets))?;
        let (path, rest) =
            ReversePath::in_command(text, addresses).map_err(CommandError::Sender)?;
        Ok(Self::Mail { path, parameters: MailParameters::parse(after_path(rest)?)? })
    }

    #[inline]
    fn rcpt(argument: &'i str, addresses: AddressRules) -> Result<Self, CommandError> {
        let text =
            after_colon(argument, b"TO").ok_or(CommandError::Recipient(PathError::Brackets))?;
        let (path, rest) =
            ForwardPath::in_command(text, addresses).map_err(CommandError::Recipient)?;
        Ok(Self::Rcpt { path, parameters: RcptParameters::parse(after_path(rest)?)? })
    }

    /// Appends the command line with its CRLF. Controls in names and texts become `?`, so that the
    /// line cannot end early.
    pub fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Ehlo(name) => put_with_text(output, "EHLO", name),
            Self::Helo(name) => put_with_text(output, "HELO", name),
            Self::Lhlo(name) => put_with_text(output, "LHLO", name),
            Self::StartTls => put(output, &["STARTTLS"]),
            Self::Mail { path, parameters } => {
                return write_mail(path, parameters, &Parameters::default(), output);
            }
            Self::Rcpt { path, parameters } => {
                return write_rcpt(path, parameters, &Parameters::default(), output);
            }
            Self::Data => put(output, &["DATA"]),
            Self::Bdat { size, last } => {
                put(output, &["BDAT "]);
                push_number(output, *size);
                put(output, if *last { &[" LAST"] } else { &[] });
            }
            Self::Auth { mechanism, initial } => {
                put_with_text(output, "AUTH", mechanism);
                if let Some(initial) = initial {
                    put(output, &[" "]);
                    put_text(output, initial.0);
                }
            }
            Self::Rset => put(output, &["RSET"]),
            Self::Quit => put(output, &["QUIT"]),
            Self::Noop(text) => put_with_text(output, "NOOP", text),
            Self::Vrfy { text, smtputf8 } => {
                put_with_text(output, "VRFY", text);
                put(output, if *smtputf8 { &[" SMTPUTF8"] } else { &[] });
            }
            Self::Expn { text, smtputf8 } => {
                put_with_text(output, "EXPN", text);
                put(output, if *smtputf8 { &[" SMTPUTF8"] } else { &[] });
            }
            Self::Help(text) => put_with_text(output, "HELP", text),
            Self::Etrn(queue) => {
                put(output, &["ETRN "]);
                queue.write(output);
            }
            Self::Xclient(client) => client.write(output),
            Self::Burl { uri, last } => {
                put(output, &["BURL ", uri.as_str(), if *last { " LAST" } else { "" }])
            }
            Self::Unknown { verb, argument } => put_with_text(output, verb, argument),
        }
        put(output, &["\r\n"]);
    }
}

/// Writes MAIL with further parameters after the typed ones.
pub(crate) fn write_mail(
    path: &ReversePath<'_>,
    parameters: &MailParameters<'_>,
    further: &Parameters<'_>,
    output: &mut Vec<u8>,
) {
    put(output, &["MAIL FROM:<", path.as_str(), ">"]);
    parameters.write(output);
    further.write(output);
    put(output, &["\r\n"]);
}

/// Writes RCPT with further parameters after the typed ones.
pub(crate) fn write_rcpt(
    path: &ForwardPath<'_>,
    parameters: &RcptParameters<'_>,
    further: &Parameters<'_>,
    output: &mut Vec<u8>,
) {
    put(output, &["RCPT TO:<", path.as_str(), ">"]);
    parameters.write(output);
    further.write(output);
    put(output, &["\r\n"]);
}

fn put_with_text(output: &mut Vec<u8>, verb: &str, text: &str) {
    put_text(output, verb);
    if !text.is_empty() {
        output.push(b' ');
        put_text(output, text);
    }
}

fn put_text(output: &mut Vec<u8>, text: &str) {
    output.extend(text.bytes().map(|byte| if is_control(byte) { b'?' } else { byte }));
}

/// Without a short circuit, so that it compiles to vector code.
fn has_control(line: &[u8]) -> bool {
    line.iter().fold(false, |bad, &byte| bad | is_control(byte))
}

/// What no command line may hold; HT is white space (RFC 5234, appendix B.1).
const fn is_control(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') | (byte == 0x7f)
}

/// What follows `FROM:`; RFC 5321, section 4.1.1.2 allows no space around the colon, but many
/// clients send one.
#[inline]
fn after_colon<'i, const N: usize>(argument: &'i str, keyword: &[u8; N]) -> Option<&'i str> {
    let (head, tail) = argument.split_at_checked(N)?;
    if !is_word(head.as_bytes(), keyword) {
        return None;
    }
    Some(after_spaces(after_spaces(tail).strip_prefix(':')?))
}

#[inline]
fn after_spaces(text: &str) -> &str {
    let spaces = text.bytes().take_while(|&byte| byte == b' ').count();
    &text[spaces..]
}

/// Without SP and HT on either side.
#[inline]
fn trimmed(text: &str) -> &str {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.as_bytes().iter().position(is_text).unwrap_or(text.len());
    let end = text.as_bytes().iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}

/// What follows the `>` must be nothing, or a space and parameters.
fn after_path(rest: &str) -> Result<&str, CommandError> {
    match rest.strip_prefix(' ') {
        Some(parameters) => Ok(after_spaces(parameters)),
        None if rest.is_empty() => Ok(""),
        None => Err(CommandError::Parameter),
    }
}

/// A printable word: one without white space, for controls are refused besides.
fn name(argument: &str) -> Result<&str, CommandError> {
    let spaced = memchr::memchr2(b' ', b'\t', argument.as_bytes()).is_some();
    if spaced || argument.is_empty() { Err(CommandError::Argument) } else { Ok(argument) }
}

/// RFC 6531, section 3.7.4.2: `"VRFY" SP String [SP "SMTPUTF8"]`; a lone `SMTPUTF8` is the string.
fn name_or_list(argument: &str) -> Result<(&str, bool), CommandError> {
    match argument.rsplit_once(' ') {
        _ if argument.is_empty() => Err(CommandError::Argument),
        Some((text, word)) if word.eq_ignore_ascii_case("SMTPUTF8") => Ok((text, true)),
        _ => Ok((argument, false)),
    }
}

/// RFC 3030, section 2: `bdat-cmd = "BDAT" SP chunk-size [SP end-marker]`.
fn chunk(argument: &str) -> Result<Command<'_>, CommandError> {
    let (size, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((size, marker)) if marker.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => {
            (size, true)
        }
        Some(_) => return Err(CommandError::ChunkSize),
    };
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size = if digits { size.parse().ok() } else { None };
    size.map(|size| Command::Bdat { size, last }).ok_or(CommandError::ChunkSize)
}

/// RFC 4468, section 3.5: `burl-cmd = "BURL" SP absolute-URI [SP end-marker]`.
fn fetch(argument: &str) -> Result<Command<'_>, CommandError> {
    let (uri, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((uri, marker)) if marker.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => {
            (uri, true)
        }
        Some(_) => return Err(CommandError::Argument),
    };
    Uri::parse(uri).map(|uri| Command::Burl { uri, last }).ok_or(CommandError::Uri)
}

/// RFC 4954, section 8: `"AUTH" SP sasl-mech [SP initial-response]`.
fn auth(argument: &str) -> Result<Command<'_>, CommandError> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => {
            Ok(Command::Auth { mechanism, initial: initial.map(InitialResponse) })
        }
        _ => Err(CommandError::Argument),
    }
}

fn no_argument<'i>(argument: &str, command: Command<'i>) -> Result<Command<'i>, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Argument) }
}
