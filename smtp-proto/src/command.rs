//! Commands: one type, read by the server and written by the client (RFC 5321, 4.1).

mod queue;
mod uri;
mod xclient;

pub use queue::Queue;
pub use uri::{Uri, UriBuf};
pub use xclient::{Xclient, XclientName, XclientProto, XclientValue};

use crate::params::{MailParameters, ParameterError, Parameters, RcptParameters};
use crate::path::{ForwardPath, PathError, ReversePath, split_brackets};
use crate::reply::push_number;

/// A command line without its CRLF, taken apart and checked.
///
/// ```
/// use smtp_proto::command::{Command, CommandError};
/// use smtp_proto::path::PathError;
///
/// let Ok(Command::Mail { path, parameters }) = Command::parse(b"MAIL FROM:<a@test.example> SIZE=10 X=1") else {
///     panic!()
/// };
/// assert_eq!((path.as_str(), parameters.size), ("a@test.example", Some(10)));
///
/// let mut output = Vec::new();
/// Command::Mail { path, parameters }.write(&mut output);
/// assert_eq!(output, b"MAIL FROM:<a@test.example> SIZE=10 X=1\r\n");
///
/// assert_eq!(Command::parse(b"RCPT TO:<a@@b>"), Err(CommandError::Recipient(PathError::Domain)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'i> {
    /// EHLO with the name that the client gives itself. RFC 5321 wants a domain or an address literal, and forbids
    /// (4.1.4) to refuse mail because of it, so any printable word is taken.
    Ehlo(&'i str),
    /// HELO with the name that the client gives itself.
    Helo(&'i str),
    /// LHLO (RFC 2033, 4.1), which stands for EHLO in LMTP.
    Lhlo(&'i str),
    /// STARTTLS (RFC 3207)
    StartTls,
    /// MAIL
    Mail {
        /// The sender.
        path: ReversePath<'i>,
        /// What stands behind it.
        parameters: MailParameters<'i>,
    },
    /// RCPT
    Rcpt {
        /// The recipient.
        path: ForwardPath<'i>,
        /// What stands behind it.
        parameters: RcptParameters<'i>,
    },
    /// DATA
    Data,
    /// BDAT (RFC 3030, 2)
    Bdat {
        /// Octets that follow the command line.
        size: u64,
        /// They are the last of the message.
        last: bool,
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
        /// `SMTPUTF8` stands behind it (RFC 6531, 3.7.4.2): the reply may be in UTF-8.
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
    /// BURL (RFC 4468): a piece of the message is where the URI says.
    Burl {
        /// Where.
        uri: Uri<'i>,
        /// It is the last piece of the message.
        last: bool,
    },
    /// A verb without a meaning here, and what follows it.
    Unknown {
        /// The first word, as it came.
        verb: &'i str,
        /// The rest of the line.
        argument: &'i str,
    },
}

/// Why a line is not a command. [`response`](crate::server) gives each its fixed reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No verb.
    #[error("no command")]
    Empty,
    /// A control octet other than HT.
    #[error("a control character in the command")]
    Control,
    /// Octets above 127 that are not UTF-8.
    #[error("the command is not UTF-8")]
    NotUtf8,
    /// BDAT without a size that makes sense: nobody knows where the next command begins.
    #[error("the size of a chunk is malformed")]
    ChunkSize,
    /// The node or queue of ETRN.
    #[error("the name of the node or queue is malformed")]
    Queue,
    /// An attribute of XCLIENT.
    #[error("an attribute is unknown, malformed, or stands there twice")]
    Attribute,
    /// The URI of BURL.
    #[error("the URI is malformed")]
    Uri,
    /// An argument is missing, or stands where none may.
    #[error("the argument is missing or out of place")]
    Argument,
    /// The path of MAIL.
    #[error("{0}")]
    Sender(PathError),
    /// The path of RCPT.
    #[error("{0}")]
    Recipient(PathError),
    /// A parameter of MAIL or RCPT.
    #[error("{0}")]
    Parameter(#[from] ParameterError),
}

impl<'i> Command<'i> {
    /// Reads a line without its CRLF. Verbs and keywords may be in any case.
    pub fn parse(line: &'i [u8]) -> Result<Self, CommandError> {
        let text = std::str::from_utf8(line).map_err(|_| CommandError::NotUtf8)?;
        // Without a short circuit, so that it compiles to vector code.
        if line.iter().fold(false, |bad, &byte| bad | is_control(byte)) {
            return Err(CommandError::Control);
        }
        // Verbs are letters; everything of another length or kind ends in `Unknown`.
        let mut upper = [0; 8];
        let mut end = 0;
        while let Some(&byte) = line.get(end).filter(|&&byte| byte != b' ') {
            if let Some(letter) = upper.get_mut(end) {
                *letter = byte.to_ascii_uppercase();
            }
            end += 1;
        }
        let verb = &text[..end];
        // RFC 5321, 4.1.1: a server should tolerate trailing white space; only SP and HT are left of it.
        let argument = text[end..].trim_ascii();
        if end > upper.len() {
            return Ok(Self::Unknown { verb, argument });
        }
        match &upper {
            b"MAIL\0\0\0\0" => Self::mail(argument),
            b"RCPT\0\0\0\0" => Self::rcpt(argument),
            b"DATA\0\0\0\0" => no_argument(argument, Self::Data),
            b"EHLO\0\0\0\0" => name(argument).map(Self::Ehlo),
            b"HELO\0\0\0\0" => name(argument).map(Self::Helo),
            b"LHLO\0\0\0\0" => name(argument).map(Self::Lhlo),
            b"BDAT\0\0\0\0" => chunk(argument),
            b"RSET\0\0\0\0" => no_argument(argument, Self::Rset),
            b"QUIT\0\0\0\0" => no_argument(argument, Self::Quit),
            b"STARTTLS" => no_argument(argument, Self::StartTls),
            b"NOOP\0\0\0\0" => Ok(Self::Noop(argument)),
            b"HELP\0\0\0\0" => Ok(Self::Help(argument)),
            b"ETRN\0\0\0\0" => Queue::parse(argument).map(Self::Etrn).ok_or(CommandError::Queue),
            b"XCLIENT\0" => Xclient::parse(argument).map(Self::Xclient).ok_or(CommandError::Attribute),
            b"BURL\0\0\0\0" => fetch(argument),
            b"VRFY\0\0\0\0" => name_or_list(argument).map(|(text, smtputf8)| Self::Vrfy { text, smtputf8 }),
            b"EXPN\0\0\0\0" => name_or_list(argument).map(|(text, smtputf8)| Self::Expn { text, smtputf8 }),
            b"\0\0\0\0\0\0\0\0" => Err(CommandError::Empty),
            _ => Ok(Self::Unknown { verb, argument }),
        }
    }

    #[inline]
    fn mail(argument: &'i str) -> Result<Self, CommandError> {
        let (text, rest) = path_of(argument, "FROM").map_err(CommandError::Sender)?;
        let path = ReversePath::parse(text).map_err(CommandError::Sender)?;
        Ok(Self::Mail { path, parameters: MailParameters::parse(behind_path(rest)?)? })
    }

    #[inline]
    fn rcpt(argument: &'i str) -> Result<Self, CommandError> {
        let (text, rest) = path_of(argument, "TO").map_err(CommandError::Recipient)?;
        let path = ForwardPath::parse(text).map_err(CommandError::Recipient)?;
        Ok(Self::Rcpt { path, parameters: RcptParameters::parse(behind_path(rest)?)? })
    }

    /// Appends the command line with its CRLF. Controls in names and texts become `?`, so that the line cannot end
    /// early.
    pub fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Ehlo(name) => put_with_text(output, "EHLO", name),
            Self::Helo(name) => put_with_text(output, "HELO", name),
            Self::Lhlo(name) => put_with_text(output, "LHLO", name),
            Self::StartTls => put(output, &["STARTTLS"]),
            Self::Mail { path, parameters } => return write_mail(*path, parameters, Parameters::default(), output),
            Self::Rcpt { path, parameters } => return write_rcpt(*path, parameters, Parameters::default(), output),
            Self::Data => put(output, &["DATA"]),
            Self::Bdat { size, last } => {
                put(output, &["BDAT "]);
                push_number(output, *size);
                put(output, if *last { &[" LAST"] } else { &[] });
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
            Self::Burl { uri, last } => put(output, &["BURL ", uri.as_str(), if *last { " LAST" } else { "" }]),
            Self::Unknown { verb, argument } => put_with_text(output, verb, argument),
        }
        put(output, &["\r\n"]);
    }
}

/// MAIL with further parameters behind the typed ones.
pub(crate) fn write_mail(
    path: ReversePath<'_>,
    parameters: &MailParameters<'_>,
    further: Parameters<'_>,
    output: &mut Vec<u8>,
) {
    put(output, &["MAIL FROM:<", path.as_str(), ">"]);
    parameters.write(output);
    further.write(output);
    put(output, &["\r\n"]);
}

/// RCPT with further parameters behind the typed ones.
pub(crate) fn write_rcpt(
    path: ForwardPath<'_>,
    parameters: &RcptParameters<'_>,
    further: Parameters<'_>,
    output: &mut Vec<u8>,
) {
    put(output, &["RCPT TO:<", path.as_str(), ">"]);
    parameters.write(output);
    further.write(output);
    put(output, &["\r\n"]);
}

fn put(output: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
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

/// What no command line may hold; HT is white space (RFC 5234, B.1).
const fn is_control(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') | (byte == 0x7f)
}

/// `FROM:<path> rest`; RFC 5321, 4.1.1.2 allows no space around the colon, but many clients send one.
fn path_of<'i>(argument: &'i str, keyword: &str) -> Result<(&'i str, &'i str), PathError> {
    let (head, tail) = argument.split_at_checked(keyword.len()).ok_or(PathError::Brackets)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return Err(PathError::Brackets);
    }
    let tail = tail.trim_start_matches(' ').strip_prefix(':').ok_or(PathError::Brackets)?;
    split_brackets(tail.trim_start_matches(' '))
}

/// What follows the `>` must be nothing, or a space and parameters.
fn behind_path(rest: &str) -> Result<&str, ParameterError> {
    match rest.strip_prefix(' ') {
        Some(parameters) => Ok(parameters),
        None if rest.is_empty() => Ok(""),
        None => Err(ParameterError::Syntax),
    }
}

/// A printable word: one without white space, for controls were refused before.
fn name(argument: &str) -> Result<&str, CommandError> {
    let spaced = memchr::memchr2(b' ', b'\t', argument.as_bytes()).is_some();
    if spaced || argument.is_empty() { Err(CommandError::Argument) } else { Ok(argument) }
}

/// RFC 6531, 3.7.4.2: `"VRFY" SP String [SP "SMTPUTF8"]`; a lone `SMTPUTF8` is the string.
fn name_or_list(argument: &str) -> Result<(&str, bool), CommandError> {
    match argument.rsplit_once(' ') {
        _ if argument.is_empty() => Err(CommandError::Argument),
        Some((text, word)) if word.eq_ignore_ascii_case("SMTPUTF8") => Ok((text, true)),
        _ => Ok((argument, false)),
    }
}

/// RFC 3030, 2: `bdat-cmd = "BDAT" SP chunk-size [SP end-marker]`.
fn chunk(argument: &str) -> Result<Command<'_>, CommandError> {
    let (size, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((size, marker)) if marker.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return Err(CommandError::ChunkSize),
    };
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size = if digits { size.parse().ok() } else { None };
    size.map(|size| Command::Bdat { size, last }).ok_or(CommandError::ChunkSize)
}

/// RFC 4468, 3.5: `burl-cmd = "BURL" SP absolute-URI [SP end-marker]`.
fn fetch(argument: &str) -> Result<Command<'_>, CommandError> {
    let (uri, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((uri, marker)) if marker.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => (uri, true),
        Some(_) => return Err(CommandError::Argument),
    };
    Uri::parse(uri).map(|uri| Command::Burl { uri, last }).ok_or(CommandError::Uri)
}

fn no_argument<'i>(argument: &str, command: Command<'i>) -> Result<Command<'i>, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Argument) }
}
