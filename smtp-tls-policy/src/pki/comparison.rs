//! Distinguished names and the names of distribution points, in the form in which they are
//! compared.
//!
//! Two encodings of one name are equal here: an authority may write its name as a PrintableString
//! in its certificate and as a UTF8String in its revocation lists. RFC 5280, section 7.1, asks for
//! this of distinguished names, and section 7.4 of the URIs of distribution points.

use std::borrow::Cow;

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::x509::{RelativeDistinguishedName, X509Name};

/// A distinguished name, ready to be compared (RFC 5280, section 7.1).
///
/// The values of attributes are prepared by the string preparation of X.520, which is that of RFC
/// 4518: without regard to string type, case, or surplus white space, in Unicode normalisation form
/// KC. The attributes of one relative name are a set. A value of another type, or one that the
/// preparation prohibits, equals the same octets only, and so does a name that is not DER.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ComparableName(Box<[u8]>);

/// The first octet of a name that was read.
const READ: u8 = 1;
/// The first octet of one that is not DER, before its octets.
const UNREADABLE: u8 = 0;

impl ComparableName {
    /// The name with these contents: a Name (RFC 5280, section 4.1.2.4) without its tag and length.
    pub(crate) fn of_contents(contents: &[u8]) -> Self {
        let mut key = vec![READ];
        let mut rest = contents;
        while !rest.is_empty() {
            match RelativeDistinguishedName::from_der(rest) {
                Ok((after, relative)) => {
                    push_relative(&mut key, &relative);
                    rest = after;
                }
                Err(_) => {
                    key = vec![UNREADABLE];
                    key.extend_from_slice(contents);
                    break;
                }
            }
        }
        Self(key.into())
    }

    /// The same of a parsed name.
    pub(crate) fn of(name: &X509Name<'_>) -> Self {
        let contents = Any::from_der(name.as_raw()).map_or(&[][..], |(_, any)| any.data);
        Self::of_contents(contents)
    }
}

impl ComparableName {
    /// Whether a name lies in the subtree of another (RFC 5280, section 4.2.1.10): it begins with
    /// the relative names of that one.
    pub(crate) fn is_within(&self, subtree: &Self) -> bool {
        // Each relative name comes after its length, so that none is taken for a part of another.
        self.0.first() == Some(&READ) && self.0.starts_with(&subtree.0)
    }
}

fn push_relative(key: &mut Vec<u8>, relative: &RelativeDistinguishedName<'_>) {
    let mut attributes: Vec<_> = relative
        .iter()
        .map(|attribute| {
            let mut encoded = Vec::new();
            push(&mut encoded, attribute.attr_type().as_bytes());
            push_value(&mut encoded, attribute.attr_value());
            encoded
        })
        .collect();
    attributes.sort_unstable();
    push(key, &attributes.concat());
}

fn push_value(encoded: &mut Vec<u8>, value: &Any<'_>) {
    const TEXT: u8 = 0;
    const OTHER: u8 = 1;
    match text(value).and_then(|text| prepare(&text)) {
        Some(prepared) => {
            encoded.push(TEXT);
            push(encoded, prepared.as_bytes());
        }
        None => {
            encoded.push(OTHER);
            push(encoded, &value.tag().0.to_be_bytes());
            push(encoded, value.data);
        }
    }
}

/// Appends octets after their number, so that no two sequences of them look alike.
fn push(key: &mut Vec<u8>, octets: &[u8]) {
    key.extend_from_slice(&octets.len().to_be_bytes());
    key.extend_from_slice(octets);
}

/// The value of an attribute as text, from any of the string types; `None` if it has another type,
/// or is not text of its type.
///
/// A TeletexString is read as ISO 8859-1, as most issuers write it and most software reads it. So
/// is what an issuer wrote into one of the ASCII types in spite of their alphabet.
pub(crate) fn text<'a>(value: &Any<'a>) -> Option<Cow<'a, str>> {
    let octets: &'a [u8] = value.data;
    if value.class() != Class::Universal {
        return None;
    }
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(octets).ok().map(Cow::Borrowed),
        Tag::NumericString
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::TeletexString => Some(match std::str::from_utf8(octets) {
            Ok(text) if octets.is_ascii() => Cow::Borrowed(text),
            _ => Cow::Owned(octets.iter().map(|octet| char::from(*octet)).collect()),
        }),
        Tag::BmpString => {
            let (units, []) = octets.as_chunks::<2>() else { return None };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<String, _>>().ok().map(Cow::Owned)
        }
        Tag::UniversalString => {
            let (units, []) = octets.as_chunks::<4>() else { return None };
            let units = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            units.collect::<Option<String>>().map(Cow::Owned)
        }
        _ => None,
    }
}

/// Prepares a text for comparison (RFC 4518, section 2); `None` if it has a prohibited character.
fn prepare(text: &str) -> Option<String> {
    // The preparation takes no empty text.
    if text.is_empty() {
        return Some(String::new());
    }
    // With case folding the crate leaves out the normalisation that has to follow (RFC 3454,
    // section B.2).
    let folded = stringprep::x520prep(text, true).ok()?;
    if folded.is_empty() {
        return Some(String::new());
    }
    let prepared = stringprep::x520prep(&folded, false).ok()?;
    let mut words = prepared.split(' ').filter(|word| !word.is_empty());
    let mut out = String::with_capacity(prepared.len());
    out.extend(words.next());
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
    Some(out)
}

/// A name of a distribution point, ready to be compared (RFC 5280, sections 7.2 to 7.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ComparablePoint {
    /// A normalised URI.
    Uri(String),
    /// A directory name.
    Directory(Box<[u8]>),
    /// Any other form of name, which equals the same octets only.
    Other(u32, Box<[u8]>),
}

impl ComparablePoint {
    /// The name with this encoding, a GeneralName (RFC 5280, section 4.2.1.6).
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let (_, any) = Any::from_der(der).ok()?;
        Some(match GeneralName::try_from(any.clone()).ok()? {
            GeneralName::URI(uri) => Self::uri(uri),
            GeneralName::DirectoryName(name) => Self::directory(ComparableName::of(&name)),
            _ => Self::Other(any.tag().0, any.data.into()),
        })
    }

    /// The form uniformResourceIdentifier of a name.
    pub(crate) fn uri(uri: &str) -> Self {
        Self::Uri(normalised_uri(uri))
    }

    /// The form directoryName of a name.
    pub(crate) fn directory(name: ComparableName) -> Self {
        Self::Directory(name.0)
    }
}

/// A URI normalised by RFC 5280, section 7.4: scheme and host in lower case, percent-encoding and
/// dot segments normalised (RFC 3986, section 6.2.2), and of the schemes that the section names the
/// default port left out and the empty path written as `/` (section 6.2.3). A text that is no URI
/// with an authority is left as it is.
fn normalised_uri(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return uri.to_owned();
    };
    let scheme = scheme.to_ascii_lowercase();
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, query) = rest.split_at(path_end);

    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(normalised_percent(user)), host),
        None => (None, authority),
    };
    let host = normalised_percent(host).to_ascii_lowercase();
    let default_port = match &*scheme {
        "http" => Some(":80"),
        "https" => Some(":443"),
        "ftp" => Some(":21"),
        "ldap" => Some(":389"),
        _ => None,
    };
    let host = default_port
        .and_then(|port| host.strip_suffix(port))
        .or_else(|| host.strip_suffix(':'))
        .unwrap_or(&host);
    let mut path = without_dot_segments(&normalised_percent(path));
    if path.is_empty() && default_port.is_some() {
        path.push('/');
    }
    let user = user.map(|user| user + "@").unwrap_or_default();
    format!("{scheme}://{user}{host}{path}{}", normalised_percent(query))
}

/// Decodes what need not be encoded, and writes the rest in upper case (RFC 3986, section 6.2.2).
fn normalised_percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3).filter(|d| d.bytes().all(|d| d.is_ascii_hexdigit()));
        match digits.and_then(|digits| Some((digits, u8::from_str_radix(digits, 16).ok()?))) {
            Some((_, octet))
                if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') =>
            {
                out.push(char::from(octet));
                rest = &rest[at + 3..];
            }
            Some((digits, _)) => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// RFC 3986, section 5.2.4.
fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." => {}
            // The first segment is the empty one before the leading slash.
            ".." => {
                if segments.len() > 1 {
                    segments.pop();
                }
            }
            part => {
                segments.push(part);
                continue;
            }
        }
        if is_last {
            segments.push("");
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        assert!(contents.len() < 128);
        [&[tag, contents.len() as u8], contents].concat()
    }

    fn attribute(id: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        tlv(0x30, &[tlv(6, &[0x55, 4, id]), tlv(tag, value)].concat())
    }

    fn name(relative: &[&[Vec<u8>]]) -> ComparableName {
        let sets = relative.iter().map(|attributes| tlv(0x31, &attributes.concat()));
        ComparableName::of_contents(&sets.collect::<Vec<_>>().concat())
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    fn utf32(text: &str) -> Vec<u8> {
        text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()
    }

    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;

    #[test]
    fn names_in_any_string_type_are_equal() {
        let one = |tag, value: &[u8]| name(&[&[attribute(3, tag, value)]]);
        let wanted = one(UTF8, b"Test CA");
        for tag in [PRINTABLE, IA5, TELETEX] {
            assert_eq!(one(tag, b"Test CA"), wanted, "{tag:x}");
        }
        assert_eq!(one(BMP, &utf16("Test CA")), wanted);
        assert_eq!(one(UNIVERSAL, &utf32("Test CA")), wanted);
        assert_eq!(one(TELETEX, b"M\xfcller"), one(UTF8, "Müller".as_bytes()));
        assert_eq!(one(BMP, &utf16("Größe")), one(UTF8, "GRÖSSE".as_bytes()));
    }

    #[test]
    fn case_and_white_space_do_not_part_names() {
        let one = |value: &str| name(&[&[attribute(3, UTF8, value.as_bytes())]]);
        let wanted = one("Test CA 1");
        for value in ["TEST ca 1", "  Test  CA\t1 ", "Test\u{a0}CA 1", "Te\u{ad}st CA 1"] {
            assert_eq!(one(value), wanted, "{value:?}");
        }
        // Composed and decomposed.
        assert_eq!(one("Caf\u{e9}"), one("Cafe\u{301}"));
        for value in ["TestCA 1", "Test CA 2", "Test CA 1.", ""] {
            assert_ne!(one(value), wanted, "{value:?}");
        }
    }

    #[test]
    fn order_counts_between_relative_names_and_not_within_one() {
        let (a, b) = (&[attribute(3, UTF8, b"a")], &[attribute(10, UTF8, b"b")]);
        let both = [a[0].clone(), b[0].clone()];
        assert_eq!(name(&[&both]), name(&[&[b[0].clone(), a[0].clone()]]));
        assert_ne!(name(&[a, b]), name(&[b, a]));
        assert_ne!(name(&[a, b]), name(&[&both]));
        assert_ne!(name(&[&[attribute(10, UTF8, b"a")]]), name(&[a]));
    }

    #[test]
    fn what_is_not_text_equals_the_same_octets_only() {
        let one = |tag, value: &[u8]| name(&[&[attribute(3, tag, value)]]);
        for (tag, value) in [(4, &b"AB"[..]), (UTF8, b"\xff"), (BMP, b"\0"), (UNIVERSAL, b"\0a")] {
            assert_eq!(one(tag, value), one(tag, value));
            assert_ne!(one(tag, value), one(4, b"ab"));
        }
        assert_ne!(one(4, b"AB"), one(4, b"ab"));
        // A private use character is prohibited, and so is a noncharacter.
        for text in ["A\u{e000}", "A\u{fdd0}"] {
            assert_ne!(one(UTF8, text.as_bytes()), one(UTF8, text.to_lowercase().as_bytes()));
        }
        // Not DER at all.
        let raw = ComparableName::of_contents;
        assert_eq!(raw(&[0x31, 5, 1]), raw(&[0x31, 5, 1]));
        assert_ne!(raw(&[0x31, 5, 1]), raw(&[0x31, 5, 2]));
    }

    #[test]
    fn uris_of_distribution_points_are_normalised() {
        let wanted = "http://crl.example.com/a/b%2F.crl";
        for uri in [
            "HTTP://CRL.Example.COM/a/b%2f.crl",
            "http://crl.example.com:80/a/b%2F.crl",
            "http://crl.example.com:/a/b%2F.crl",
            "http://crl.example.com/x/../a/./b%2F.crl",
            "http://crl.example.com/%61/b%2F%2Ecrl",
        ] {
            assert_eq!(normalised_uri(uri), wanted, "{uri}");
        }
        assert_eq!(normalised_uri("http://a"), "http://a/");
        assert_eq!(normalised_uri("ldap://A:389/CN=x?c"), "ldap://a/CN=x?c");
        assert_eq!(normalised_uri("ldap:///CN=x"), "ldap:///CN=x");
        for other in [
            "http://crl.example.com/A/b%2F.crl",
            "http://crl.example.com:8080/a/b%2F.crl",
            "https://crl.example.com/a/b%2F.crl",
            "http://crl.example.com/a/b/.crl",
            "http://crl.example.com/a/b%2F.crl?",
            "a/b",
            "%",
            "http://%",
            "http://a/%4",
            "http://a/..",
            "http://a/%é",
        ] {
            assert_ne!(normalised_uri(other), wanted, "{other}");
        }
    }
}
