//! The JSON text of a report, out of its mail and its compression.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::GzDecoder;
use mail_parser::{MessageParser, MimeHeaders, PartType};

use super::ReportError;

/// Longest mail or compressed report that is read, in octets. Our own choice: receivers commonly
/// take ten megabytes (RFC 8460, section 5.2), which base64 makes fourteen.
pub const MAX_ENCLOSED_LEN: usize = 16 << 20;
/// Longest JSON text that is read, in octets. Our own choice: as much as receivers commonly take
/// of a report that is not compressed (RFC 8460, section 5.2).
pub const MAX_REPORT_LEN: usize = 10 << 20;

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
    let mail = MessageParser::new().parse(octets).ok_or(ReportError::NoReport)?;
    let part = mail.parts.iter().find(|part| {
        let is = |subtype| part.is_content_type("application", subtype);
        let named = |end| part.attachment_name().is_some_and(|name| name.ends_with(end));
        is("tlsrpt+gzip")
            || is("tlsrpt+json")
            // Some reporters have the file right and its type wrong.
            || named(".json.gz") && (is("gzip") || is("x-gzip") || is("octet-stream"))
            || named(".json") && (is("json") || is("octet-stream"))
    });
    match &part.ok_or(ReportError::NoReport)?.body {
        PartType::Binary(body) | PartType::InlineBinary(body) => {
            file(body).map(|json| Cow::Owned(json.into_owned()))
        }
        PartType::Text(text) => file(text.as_bytes()).map(|json| Cow::Owned(json.into_owned())),
        PartType::Html(_) | PartType::Message(_) | PartType::Multipart(_) => {
            Err(ReportError::NoReport)
        }
    }
}

/// The JSON text in a file that may be compressed.
fn file(octets: &[u8]) -> Result<Cow<'_, [u8]>, ReportError> {
    let text = match octets.starts_with(&GZIP) {
        true => {
            let mut text = Vec::new();
            let limit = u64::try_from(MAX_REPORT_LEN + 1).unwrap_or(u64::MAX);
            let decoder = GzDecoder::new(octets).take(limit);
            { decoder }.read_to_end(&mut text).map_err(|_| ReportError::Gzip)?;
            Cow::Owned(text)
        }
        false => Cow::Borrowed(octets),
    };
    match text.len() > MAX_REPORT_LEN {
        true => Err(ReportError::TooLarge),
        false => Ok(text),
    }
}

fn is_object(octets: &[u8]) -> bool {
    let text = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    text.trim_ascii_start().starts_with(b"{")
}
