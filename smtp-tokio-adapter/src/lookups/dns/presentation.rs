//! DNSKEY and DS records in the format of a zone file (RFC 1035, section 5.1; RFC 4034, sections
//! 2.2 and 5.3).

use hickory_net::proto::dnssec::rdata::{DNSKEY, DS};
use hickory_net::proto::dnssec::{Algorithm, DigestType};
use hickory_net::proto::rr::Name;
use hickory_net::proto::serialize::txt::trust_anchor::{Entry, Parser};

use super::algorithms::is_used;
use crate::lookups::setup_error::SetupError;

/// A trust anchor.
pub(super) enum Anchor {
    Key(DNSKEY),
    Digest(DS),
}

/// The mnemonics of algorithms (RFC 8624, section 3.1).
const ALGORITHMS: [(&str, u8); 8] = [
    ("RSASHA1", 5),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
];

/// The comment in which a resolver that follows RFC 5011 writes the state of a key.
const STATE: &str = "state=";

/// The state of a key (RFC 5011, section 4), by its number in the files of unbound.
fn is_trusted(state: &str) -> Result<bool, String> {
    match state {
        // START, ADDPEND, REVOKED, REMOVED
        "0" | "1" | "4" | "5" => Ok(false),
        // VALID, and MISSING, which is valid too.
        "2" | "3" => Ok(true),
        _ => Err(format!("the state {state:?} of the key is not known; 0 to 5 are")),
    }
}

/// Reads all records of a text, each with its owner. Keys that are not trusted are left out.
pub(super) fn records(text: &str) -> Result<Vec<(Name, Anchor)>, SetupError> {
    let mut found = Vec::new();
    let (mut words, mut first, mut is_open) = (Vec::<String>::new(), 1, false);
    // The owner of a line that begins with a space is that of the record before it.
    let (mut owner, mut keeps_owner) = (None, false);
    let mut state = None;
    for (index, line) in text.lines().enumerate() {
        let (content, comment) = line.split_once(';').unwrap_or((line, ""));
        if !is_open {
            state = None;
            (first, keeps_owner) = (index + 1, content.starts_with([' ', '\t']));
        }
        let line = first;
        let error = |what: String| SetupError::Anchor { line, what };
        let mut notes = comment.split(|it: char| it == ';' || it.is_ascii_whitespace());
        state = state.or_else(|| notes.find_map(|note| note.strip_prefix(STATE)));
        let spaced = content.replace('(', " ( ").replace(')', " ) ");
        for word in spaced.split_ascii_whitespace() {
            match (word, is_open) {
                ("(", false) => is_open = true,
                (")", true) => is_open = false,
                ("(" | ")", _) => return Err(error("a parenthesis has no counterpart".to_owned())),
                (word, _) => words.push(word.to_owned()),
            }
        }
        if is_open || words.is_empty() {
            continue;
        }
        let mut words = std::mem::take(&mut words).into_iter();
        let record = record(&mut words, if keeps_owner { owner.as_ref() } else { None });
        if !state.map_or(Ok(true), is_trusted).map_err(error)? {
            // The key may be one that no anchor can be, such as a revoked one.
            owner = record.map_or(owner, |(name, _)| Some(name));
            continue;
        }
        let (name, anchor) = record.map_err(error)?;
        owner = Some(name.clone());
        found.push((name, anchor));
    }
    match is_open {
        true => {
            let what = "a parenthesis is not closed".to_owned();
            Err(SetupError::Anchor { line: first, what })
        }
        false => Ok(found),
    }
}

/// One record; `owner` is the one that it has if it does not begin with one.
fn record(
    words: &mut impl Iterator<Item = String>,
    owner: Option<&Name>,
) -> Result<(Name, Anchor), String> {
    let mut words = words.peekable();
    let name = match (words.next_if(|word| word.ends_with('.')), owner) {
        (Some(word), _) => name(&word)?,
        (None, Some(owner)) => owner.clone(),
        (None, None) => {
            let word = words.next().unwrap_or_default();
            return Err(format!(
                "expected the name of a zone, with a dot at its end, found {word:?}"
            ));
        }
    };
    let is_time = |word: &String| {
        word.starts_with(|it: char| it.is_ascii_digit())
            && word.chars().all(|it| it.is_ascii_digit() || "smhdwSMHDW".contains(it))
    };
    let is_class = |word: &String| word.eq_ignore_ascii_case("IN");
    // The class and the time to live may be there or not, in either order.
    let optional = |word: &String| is_time(word) || is_class(word);
    for _ in 0..2 {
        words.next_if(optional);
    }
    let kind = words.next().unwrap_or_default();
    let data: Vec<String> = words.collect();
    let anchor = match kind.to_ascii_uppercase().as_str() {
        "DNSKEY" => Anchor::Key(key(&data)?),
        "DS" => Anchor::Digest(digest(&data)?),
        _ => return Err(format!("expected a DNSKEY or DS record of class IN, found {kind:?}")),
    };
    Ok((name, anchor))
}

fn name(word: &str) -> Result<Name, String> {
    Name::from_ascii(word).map_err(|error| format!("{word:?} is no name of a zone: {error}"))
}

fn algorithm(word: &str) -> Result<Algorithm, String> {
    let named = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    let number = named.map(|(_, number)| *number).or_else(|| word.parse().ok());
    let algorithm = number.map(Algorithm::from_u8).filter(|algorithm| is_used(*algorithm));
    algorithm
        .ok_or_else(|| format!("the algorithm {word:?} is not used here; 8, 10, 13, 14 and 15 are"))
}

fn number<T: std::str::FromStr>(data: &[String], index: usize, field: &str) -> Result<T, String> {
    let word = data.get(index).ok_or_else(|| format!("the {field} is missing"))?;
    word.parse().map_err(|_| format!("the {field} {word:?} is no number of its range"))
}

/// flags, protocol, algorithm, key
fn key(data: &[String]) -> Result<DNSKEY, String> {
    let flags: u16 = number(data, 0, "flags field")?;
    let protocol: u8 = number(data, 1, "protocol field")?;
    let word = data.get(2).ok_or_else(|| "the algorithm is missing".to_owned())?;
    let algorithm = u8::from(algorithm(word)?);
    let key = data.get(3..).unwrap_or_default().concat();
    let normal = format!(". IN DNSKEY {flags} {protocol} {algorithm} {key}");
    let parsed = Parser::new(normal).parse().map_err(|error| format!("no DNSKEY: {error}"))?;
    let Some(Entry::DNSKEY(record)) = parsed.into_iter().next() else {
        return Err("no DNSKEY".to_owned());
    };
    let key = record.data().clone();
    match (key.zone_key(), key.revoke()) {
        (false, _) => Err("the key is not one of a zone: bit 7 of its flags is not set".to_owned()),
        (true, true) => Err("the key is revoked: bit 8 of its flags is set".to_owned()),
        (true, false) => Ok(key),
    }
}

/// key tag, algorithm, digest type, digest
fn digest(data: &[String]) -> Result<DS, String> {
    let tag: u16 = number(data, 0, "key tag")?;
    let word = data.get(1).ok_or_else(|| "the algorithm is missing".to_owned())?;
    let algorithm = algorithm(word)?;
    let kind: u8 = number(data, 2, "digest type")?;
    let (digest_type, len) = match DigestType::from(kind) {
        DigestType::SHA256 => (DigestType::SHA256, 32),
        DigestType::SHA384 => (DigestType::SHA384, 48),
        _ => {
            return Err(format!(
                "a digest of type {kind} is not taken; SHA-256 (2) and SHA-384 (4) are"
            ));
        }
    };
    let text = data.get(3..).unwrap_or_default().concat();
    let octets = hex(&text).ok_or_else(|| format!("the digest {text:?} is not hexadecimal"))?;
    match octets.len() == len {
        true => Ok(DS::new(tag, algorithm, digest_type, octets)),
        false => Err(format!(
            "a digest of type {kind} has {len} octets, and this one has {}",
            octets.len()
        )),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}
