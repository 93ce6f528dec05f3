//! The JSON text of a report, out of its mail and its compression.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::{GzDecoder, MultiGzDecoder};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{MessageParser, MessagePart, MimeHeaders};

use super::ReportError;

/// Longest mail or compressed report that is read, in octets. Our own choice: receivers commonly
/// take ten megabytes (RFC 8460, section 5.2), which base64 makes fourteen.
pub const MAX_ENCLOSED_LEN: usize = 16 << 20;
/// Longest JSON text that is read, in octets. Our own choice: as much as receivers commonly take
/// of a report that is not compressed (RFC 8460, section 5.2).
pub const MAX_REPORT_LEN: usize = 10 << 20;

/// Most parts of a mail that are looked at, and how deep multiparts and forwarded messages may be
/// nested. A report has two parts (RFC 8460, section 5.3); lists and scanners wrap mail once or
/// twice more.
const MAX_PARTS: usize = 64;
const MAX_NESTED: usize = 4;

/// The first octets of gzip (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The JSON text in this file or mail.
pub(super) fn json(octets: &[u8]) -> Result<Cow<'_, [u8]>, ReportError> {
    if octets.len() > MAX_ENCLOSED_LEN {
        return Err(ReportError::TooLong);
    }
    if octets.starts_with(&GZIP) || is_object(octets) {
        return file(octets);
    }
    file(&enclosed(octets)?).map(|json| Cow::Owned(json.into_owned()))
}

/// The file that a mail carries, decoded.
///
/// Only headers are given to the MIME parser: it would build a tree of a whole mail, and a mail of
/// messages inside messages makes a tree so deep that dropping it overflows the stack.
fn enclosed(mail: &[u8]) -> Result<Vec<u8>, ReportError> {
    let mut parts = vec![(mail, 0)];
    let mut seen = 0;
    while let Some((octets, depth)) = parts.pop() {
        let Some(head) = MessageParser::new().parse_headers(octets) else { continue };
        let Some(part) = head.parts.first() else { continue };
        let body = body(octets);
        if is_report(part) {
            let decoded = match part.content_transfer_encoding() {
                Some(it) if it.eq_ignore_ascii_case("base64") => base64_decode(body),
                Some(it) if it.eq_ignore_ascii_case("quoted-printable") => {
                    quoted_printable_decode(body)
                }
                _ => Some(body.to_vec()),
            };
            return decoded.ok_or(ReportError::NoReport);
        }
        if part.is_content_type("message", "rfc822") && depth < MAX_NESTED && seen < MAX_PARTS {
            seen += 1;
            parts.push((body, depth + 1));
            continue;
        }
        let boundary = part.content_type().filter(|it| it.ctype() == "multipart");
        let Some(boundary) = boundary.and_then(|it| it.attribute("boundary")) else { continue };
        if depth < MAX_NESTED {
            let left = MAX_PARTS - seen;
            let children = split(body, boundary.as_bytes(), left);
            seen += children.len();
            // The first part is the first to be looked at.
            parts.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
        }
    }
    Err(ReportError::NoReport)
}

/// What follows the first empty line.
fn body(part: &[u8]) -> &[u8] {
    let mut at = 0;
    for line in part.split_inclusive(|&octet| octet == b'\n') {
        at += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
    }
    &part[at..]
}

/// Whether a part is a report by its type or by its name.
fn is_report(part: &MessagePart<'_>) -> bool {
    let is = |subtype| part.is_content_type("application", subtype);
    let name = part.attachment_name().map(str::to_ascii_lowercase).unwrap_or_default();
    let named = |end| name.ends_with(end);
    is("tlsrpt+gzip")
        || is("tlsrpt+json")
        // Some reporters have the file right and its type wrong.
        || named(".json.gz") && (is("gzip") || is("x-gzip") || is("octet-stream"))
        || named(".json") && (is("json") || is("octet-stream"))
}

/// The parts between the lines of a boundary (RFC 2046, section 5.1.1), at most so many.
fn split<'i>(body: &'i [u8], boundary: &[u8], most: usize) -> Vec<&'i [u8]> {
    let (mut parts, mut start, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|&octet| octet == b'\n') {
        let (begin, end) = (at, at + line.len());
        at = end;
        let Some(rest) = line.strip_prefix(b"--").and_then(|it| it.strip_prefix(boundary)) else {
            continue;
        };
        let is_last = rest.starts_with(b"--");
        if !is_last && !rest.trim_ascii().is_empty() {
            continue;
        }
        if let Some(start) = start.replace(end) {
            parts.push(&body[start..begin]);
        }
        if is_last || parts.len() >= most {
            return parts;
        }
    }
    // A mail that was cut off has no last boundary.
    parts.extend(start.map(|start| &body[start..]));
    parts
}

/// The JSON text in a file that may be compressed.
fn file(octets: &[u8]) -> Result<Cow<'_, [u8]>, ReportError> {
    let text = match octets.starts_with(&GZIP) {
        true => {
            // RFC 1952, section 2.2: a file may have several members. What follows the first one
            // may also be none, such as the line end of a part of a mail.
            let text = expand(MultiGzDecoder::new(octets));
            let text = text.or_else(|_| expand(GzDecoder::new(octets)));
            Cow::Owned(text.map_err(|_| ReportError::Gzip)?)
        }
        false => Cow::Borrowed(octets),
    };
    match text.len() > MAX_REPORT_LEN {
        true => Err(ReportError::TooLarge),
        false => Ok(text),
    }
}

/// At most one octet more than is taken.
fn expand(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_REPORT_LEN + 1).unwrap_or(u64::MAX);
    decoder.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

fn is_object(octets: &[u8]) -> bool {
    let text = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    text.trim_ascii_start().starts_with(b"{")
}
