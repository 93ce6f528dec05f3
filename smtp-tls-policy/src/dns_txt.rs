//! What the TXT records of MTA-STS (RFC 8461, section 3.1) and of TLSRPT (RFC 8460, section 3) have
//! in common: which record of a set counts, and the grammar of its fields.

/// Longest name of a field, in bytes (RFC 8461, section 3.1 and RFC 8460, section 3: one character
/// and up to 31 more).
pub const MAX_FIELD_NAME_LEN: usize = 32;

/// Why a set of TXT records announces nothing, although a record in it seems to.
///
/// Fields are counted from 0, which is the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxtError {
    /// More than one record begins with the version.
    #[error("{count} records begin with the version; exactly one may")]
    Several {
        /// How many there are.
        count: usize,
    },
    /// A field is not `name=value` in the characters that the grammar allows.
    #[error("field {field} is not a name, an equals sign and a value")]
    Field {
        /// Which one.
        field: usize,
    },
    /// A known field has a value that it must not have.
    #[error("the value of field {field} ({name}) is not valid")]
    Value {
        /// Which one.
        field: usize,
        /// Its name.
        name: &'static str,
    },
    /// A required field is absent.
    #[error("the required field {name} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
}

/// The one record of a set that has this version, its strings joined without spaces; `None` where
/// none has.
pub(crate) fn select<R, S>(records: &[R], version: &str) -> Result<Option<Vec<u8>>, TxtError>
where
    R: AsRef<[S]>,
    S: AsRef<[u8]>,
{
    let begins = |record: &&R| {
        let mut bytes = record.as_ref().iter().flat_map(|string| string.as_ref()).copied();
        let versioned = version.bytes().all(|expected| bytes.next() == Some(expected));
        // RFC 8461, section 3.1: of several records only those count that begin with "v=STSv1;", to
        // the letter. A record that is alone may have what the grammar allows in front of its first
        // semicolon.
        versioned
            && match bytes.next() {
                Some(b';') => true,
                Some(b' ' | b'\t') | None => records.len() == 1,
                Some(_) => false,
            }
    };
    let mut found = records.iter().filter(begins);
    let Some(record) = found.next() else { return Ok(None) };
    match found.count() {
        0 => Ok(Some(record.as_ref().iter().flat_map(|string| string.as_ref()).copied().collect())),
        more => Err(TxtError::Several { count: more + 1 }),
    }
}

/// One field after the version.
pub(crate) struct Field<'t> {
    pub(crate) index: usize,
    pub(crate) name: &'t str,
    pub(crate) value: &'t str,
}

impl Field<'_> {
    /// Whether the value is one that every field may have: `1*(%x21-3A / %x3C / %x3E-7E)`.
    pub(crate) fn is_extension(&self) -> bool {
        !self.value.is_empty()
            && self.value.bytes().all(|b| matches!(b, 0x21..=0x3a | 0x3c | 0x3e..=0x7e))
    }
}

/// The fields after the version of a record that [`select`] chose by it. Values are not looked at.
pub(crate) fn fields<'t>(
    record: &'t [u8],
    version: &'static str,
) -> impl Iterator<Item = Result<Field<'t>, TxtError>> {
    let mut parts = record.split(|&b| b == b';').enumerate().peekable();
    std::iter::from_fn(move || {
        loop {
            let (index, part) = parts.next()?;
            let is_last = parts.peek().is_none();
            // *WSP ";" *WSP. White space at the end of the record, as DNS panels leave it, is
            // beyond the grammar and cannot mean anything.
            let part = trim_end(part);
            let part = if index == 0 { part } else { trim_start(part) };
            match (index, part) {
                // A record of nothing else lacks its fields, and the caller says which.
                (0, part) if part == version.as_bytes() => {}
                (0, _) => return Some(Err(TxtError::Field { field: 0 })),
                // [sts-field-delim] at the end.
                (_, b"") if is_last => return None,
                _ => return Some(field(index, part)),
            }
        }
    })
}

fn field(index: usize, part: &[u8]) -> Result<Field<'_>, TxtError> {
    let error = TxtError::Field { field: index };
    let text = std::str::from_utf8(part).map_err(|_| error)?;
    let (name, value) = text.split_once('=').ok_or(error)?;
    if !is_name(name) {
        return Err(error);
    }
    Ok(Field { index, name, value })
}

/// `(ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")`: a field's name, in a TXT record and in a
/// policy alike.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= MAX_FIELD_NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

const fn is_wsp(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_wsp(*first)
    {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_wsp(*last)
    {
        text = rest;
    }
    text
}
