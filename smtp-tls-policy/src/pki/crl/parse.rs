//! Reads the fields of a list (RFC 5280, sections 5.1 to 5.3).
//!
//! What is read is what section 5 asks of applications, not what it asks of issuers: "All
//! applications conforming to this profile [..] are required to process both version 1 and version
//! 2 CRLs" of one issuer for all its certificates. So `version`, cRLNumber and the authority key
//! identifier may be absent, and a BOOLEAN that is true may be any octet but 0, as in BER.
//!
//! nextUpdate is required. RFC 5280, section 5.1.2.5, leaves the meaning of a list without one
//! open: such a list would say for ever that a certificate is good.

use std::ops::Range;

use super::CrlNumber;
use super::der::{
    BIT_STRING, CONSTRUCTED_0, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Offset,
    Reader, SEQUENCE, UTC_TIME,
};
use super::error::{CrlError, CrlErrorKind, CrlField};
use super::scope::Scope;

/// Extensions of a list (RFC 5280, section 5.2), below id-ce, 2.5.29.
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
/// Extensions of an entry (RFC 5280, section 5.3).
const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];

/// What a list consists of, as places in it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) signed: Range<usize>,
    pub(super) algorithm: Range<usize>,
    pub(super) signature: Range<usize>,
    pub(super) issuer: Range<usize>,
    pub(super) this_update: u64,
    pub(super) next_update: u64,
    /// The offsets of the serial numbers of the entries that revoke.
    pub(super) serials: Vec<u32>,
    pub(super) number: Option<CrlNumber>,
    pub(super) authority_key: Option<Range<usize>>,
    pub(super) scope: Option<Scope>,
}

pub(super) fn parse(der: &[u8]) -> Result<Parts, CrlError> {
    use CrlErrorKind::{Malformed, Missing, TooLong, Version};
    use CrlField as F;
    if u32::try_from(der.len()).is_err() {
        return Err(F::List.error(TooLong, Offset(0)));
    }
    let mut outer = Reader::new(der);
    let list = outer.expect(SEQUENCE).map_err(F::List.malformed())?;
    outer.finish().map_err(F::List.malformed())?;
    let mut parts = list.reader();
    let signed = parts.expect(SEQUENCE).map_err(F::List.malformed())?;
    let algorithm = parts.expect(SEQUENCE).map_err(F::Algorithm.malformed())?;
    let signature = parts.expect(BIT_STRING).map_err(F::Signature.malformed())?;
    parts.finish().map_err(F::List.malformed())?;
    // A BIT STRING begins with the number of its unused bits: none in a signature.
    if signature.contents().first() != Some(&0) {
        return Err(F::Signature.error(Malformed, Offset(signature.inner)));
    }

    let mut tbs = signed.reader();
    let version = tbs.offset();
    let is_version_1 = match tbs.optional(INTEGER).map_err(F::Version.malformed())? {
        None => true,
        // The number of version 2 is 1.
        Some(element) if element.contents() == [1] => false,
        Some(_) => return Err(F::Version.error(Version, version)),
    };
    let inner_algorithm = tbs.expect(SEQUENCE).map_err(F::Algorithm.malformed())?;
    if inner_algorithm.contents() != algorithm.contents() {
        // RFC 5280, section 5.1.2.2.
        return Err(F::Algorithm.error(Malformed, Offset(inner_algorithm.start)));
    }
    let issuer = tbs.expect(SEQUENCE).map_err(F::Issuer.malformed())?;
    let this_update = time(&mut tbs).map_err(F::ThisUpdate.malformed())?;
    let next = tbs.offset();
    if !matches!(tbs.peek(), Some(UTC_TIME | GENERALIZED_TIME)) {
        return Err(F::NextUpdate.error(Missing, next));
    }
    let next_update = time(&mut tbs).map_err(F::NextUpdate.malformed())?;
    let serials = match tbs.optional(SEQUENCE).map_err(F::Entry(0).malformed())? {
        Some(revoked) => entries(revoked)?,
        None => Vec::new(),
    };
    let at = tbs.offset();
    let explicit = tbs.optional(CONSTRUCTED_0).map_err(F::Extension(0).malformed())?;
    if is_version_1 && explicit.is_some() {
        // RFC 5280, section 5.1.2.7: extensions belong to version 2.
        return Err(F::Extension(0).error(Version, at));
    }
    tbs.finish().map_err(F::List.malformed())?;

    let mut parts = Parts {
        signed: signed.start..signed.end,
        algorithm: algorithm.inner..algorithm.end,
        signature: signature.inner + 1..signature.end,
        issuer: issuer.inner..issuer.end,
        this_update,
        next_update,
        serials,
        number: None,
        authority_key: None,
        scope: None,
    };
    if let Some(explicit) = explicit {
        parts.extensions(explicit)?;
    }
    Ok(parts)
}

fn time(reader: &mut Reader<'_>) -> Result<u64, Offset> {
    match reader.peek() {
        Some(UTC_TIME | GENERALIZED_TIME) => reader.next()?.seconds(),
        _ => Err(reader.offset()),
    }
}

/// The offsets of the serial numbers that are revoked.
fn entries(revoked: Element<'_>) -> Result<Vec<u32>, CrlError> {
    let mut serials = Vec::new();
    let mut reader = revoked.reader();
    let mut position = 0;
    while !reader.is_empty() {
        position += 1;
        let field = CrlField::Entry(position);
        let entry = reader.expect(SEQUENCE).map_err(field.malformed())?;
        let mut parts = entry.reader();
        let serial = parts.expect(INTEGER).map_err(field.malformed())?;
        if serial.contents().is_empty() {
            return Err(field.error(CrlErrorKind::Malformed, Offset(serial.start)));
        }
        time(&mut parts).map_err(field.malformed())?;
        // Some authorities write an empty SEQUENCE where there are no extensions.
        let is_revoked = match parts.optional(SEQUENCE).map_err(field.malformed())? {
            Some(list) => entry_extensions(list, field)?,
            None => true,
        };
        parts.finish().map_err(field.malformed())?;
        if is_revoked {
            serials.push(u32::try_from(serial.start).unwrap_or(u32::MAX));
        }
    }
    Ok(serials)
}

/// RFC 5280, section 5.3: "If a CRL contains a critical CRL entry extension that the application
/// cannot process, then the application MUST NOT use that CRL to determine the status of any
/// certificates."
///
/// Returns whether the certificate is revoked: not if the reason is removeFromCRL, which belongs in
/// a delta list (section 5.3.1) and means the same in a complete one (section 6.3.3, (k)).
fn entry_extensions(list: Element<'_>, field: CrlField) -> Result<bool, CrlError> {
    /// `ENUMERATED` 8
    const REMOVE_FROM_CRL: &[u8] = &[0x0a, 1, 8];
    let mut is_revoked = None;
    let mut reader = list.reader();
    while !reader.is_empty() {
        let extension = Extension::read(&mut reader).map_err(field.malformed())?;
        match extension.id {
            REASON_CODE => {
                let revokes = extension.value.contents() != REMOVE_FROM_CRL;
                // RFC 5280, section 4.2: one extension of a kind.
                let twice = field.error(CrlErrorKind::Malformed, extension.at);
                once(&mut is_revoked, revokes, twice)?;
            }
            // Whatever it says, the certificate is revoked now.
            INVALIDITY_DATE => {}
            CERTIFICATE_ISSUER => return Err(field.error(CrlErrorKind::Indirect, extension.at)),
            _ if extension.critical => {
                return Err(field.error(CrlErrorKind::CriticalExtension, extension.at));
            }
            _ => {}
        }
    }
    Ok(is_revoked.unwrap_or(true))
}

struct Extension<'a> {
    at: Offset,
    id: &'a [u8],
    critical: bool,
    value: Element<'a>,
}

impl<'a> Extension<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Offset> {
        const BOOLEAN: u8 = 0x01;
        let extension = reader.expect(SEQUENCE)?;
        let mut parts = extension.reader();
        let id = parts.expect(OID)?.contents();
        let critical = match parts.optional(BOOLEAN)? {
            // FALSE is the default and should be absent, and yet is not always (X.690, section
            // 11.5).
            Some(flag) => flag.boolean()?,
            None => false,
        };
        let value = parts.expect(OCTET_STRING)?;
        parts.finish()?;
        Ok(Self { at: Offset(extension.start), id, critical, value })
    }
}

impl Parts {
    fn extensions(&mut self, explicit: Element<'_>) -> Result<(), CrlError> {
        use CrlField as F;
        let mut wrapped = explicit.reader();
        let list = wrapped.expect(SEQUENCE).map_err(F::Extension(0).malformed())?;
        wrapped.finish().map_err(F::Extension(0).malformed())?;
        let mut reader = list.reader();
        let mut position = 0;
        while !reader.is_empty() {
            position += 1;
            let field = F::Extension(position);
            let extension = Extension::read(&mut reader).map_err(field.malformed())?;
            let twice = |field: F| field.error(CrlErrorKind::Malformed, extension.at);
            let value = extension.value.inner..extension.value.end;
            match extension.id {
                CRL_NUMBER => {
                    let number = number(extension.value).map_err(F::CrlNumber.malformed())?;
                    once(&mut self.number, number, twice(F::CrlNumber))?;
                }
                DELTA_CRL_INDICATOR => {
                    return Err(F::DeltaCrlIndicator.error(CrlErrorKind::Delta, extension.at));
                }
                ISSUING_DISTRIBUTION_POINT => {
                    let scope = Scope::read(extension.value)?;
                    once(&mut self.scope, scope, twice(F::IssuingDistributionPoint))?;
                }
                AUTHORITY_KEY_IDENTIFIER => once(&mut self.authority_key, value, twice(field))?,
                _ if extension.critical => {
                    return Err(field.error(CrlErrorKind::CriticalExtension, extension.at));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, value: T, twice: CrlError) -> Result<(), CrlError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice),
    }
}

fn number(value: Element<'_>) -> Result<CrlNumber, Offset> {
    let mut reader = value.reader();
    let integer = reader.expect(INTEGER)?;
    reader.finish()?;
    let wrong = Offset(integer.inner);
    let digits = match integer.contents() {
        [] | [0x80..=0xff, ..] => return Err(wrong),
        [0, rest @ ..] => rest,
        digits => digits,
    };
    let mut number = [0; 20];
    let start = number.len().checked_sub(digits.len()).ok_or(wrong)?;
    number[start..].copy_from_slice(digits);
    Ok(CrlNumber(number))
}
