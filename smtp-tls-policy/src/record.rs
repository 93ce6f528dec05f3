//! The first line of each record of a store, and why a record cannot be read.

/// Why a record of a store cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// A later version of this library wrote it. Leave it alone: other machines may need it.
    #[error("the record is of a later version of this library")]
    Newer,
    /// No version of this library writes such a record.
    #[error("the record is damaged")]
    Damaged,
}

/// What follows the first line of a record, which has the form and the number of its version.
pub(crate) fn body<'r>(
    record: &'r [u8],
    form: &str,
    version: u32,
) -> Result<&'r [u8], UnreadableRecord> {
    let end = record.iter().position(|octet| *octet == b'\n').ok_or(UnreadableRecord::Damaged)?;
    let number = std::str::from_utf8(&record[..end]).ok().and_then(|line| line.strip_prefix(form));
    let digits = number.filter(|it| it.bytes().all(|octet| octet.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(number) if number == version => Ok(&record[end + 1..]),
        Some(number) if number > version => Err(UnreadableRecord::Newer),
        Some(_) | None => Err(UnreadableRecord::Damaged),
    }
}
