//! Name constraints on mailboxes in subjects. The path builder compares alternative names only.

use webpki::{Error, VerifiedPath};

use crate::pki::der::{Element, OID, Offset, Reader, SEQUENCE};
use crate::pki::x509;

/// The subtrees of the form rfc822Name in name constraints.
#[derive(Default)]
struct Subtrees<'a> {
    permitted: Vec<&'a [u8]>,
    excluded: Vec<&'a [u8]>,
}

/// Most comparisons of an address with a subtree in one certificate: as many as the path builder makes at all.
const MAX_COMPARISONS: usize = 250_000;

/// RFC 5280, 4.2.1.10: "When constraints are imposed on the rfc822Name name form, but the certificate does not include a
/// subject alternative name, the rfc822Name constraint MUST be applied to the attribute of type emailAddress in the subject
/// distinguished name." What cannot be read allows nothing.
pub(super) fn check(path: &VerifiedPath<'_>) -> Result<(), Error> {
    let issuers: Vec<_> = path.intermediate_certificates().map(|issuer| issuer.der()).collect();
    let leaf = path.end_entity().der();
    let apply = |constraints: Result<Subtrees<'_>, Offset>, below: usize| {
        let constraints = constraints.map_err(unreadable)?;
        if constraints.is_empty() {
            return Ok(());
        }
        issuers
            .iter()
            .take(below)
            .chain([&leaf])
            .try_for_each(|certificate| constraints.apply(certificate))
    };
    if let Some(contents) = &path.anchor().name_constraints {
        // The path builder keeps them without the header of their SEQUENCE.
        apply(Subtrees::read(Reader::new(contents)), issuers.len())?;
    }
    for (below, issuer) in issuers.iter().enumerate() {
        if let Some(value) = x509::name_constraints(issuer).map_err(unreadable)? {
            apply(
                value
                    .reader()
                    .expect(SEQUENCE)
                    .and_then(|sequence| Subtrees::read(sequence.reader())),
                below,
            )?;
        }
    }
    Ok(())
}

fn unreadable(_: Offset) -> Error {
    Error::NameConstraintViolation
}

impl<'a> Subtrees<'a> {
    fn read(mut fields: Reader<'a>) -> Result<Self, Offset> {
        const PERMITTED: u8 = 0xa0;
        const EXCLUDED: u8 = 0xa1;
        let mut subtrees = Self::default();
        if let Some(list) = fields.optional(PERMITTED)? {
            subtrees.permitted = mailboxes(list)?;
        }
        if let Some(list) = fields.optional(EXCLUDED)? {
            subtrees.excluded = mailboxes(list)?;
        }
        Ok(subtrees)
    }

    fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    fn apply(&self, certificate: &[u8]) -> Result<(), Error> {
        let naming = x509::Naming::of(certificate).map_err(unreadable)?;
        // Alternative names are the path builder's.
        if naming.alternatives.is_some() {
            return Ok(());
        }
        let addresses = addresses(naming.subject).map_err(unreadable)?;
        if addresses.len().saturating_mul(self.permitted.len() + self.excluded.len())
            > MAX_COMPARISONS
        {
            // Another path must not hide it, as it would hide an error about a budget.
            return Err(Error::NameConstraintViolation);
        }
        match addresses.into_iter().all(|address| self.allow(address)) {
            true => Ok(()),
            false => Err(Error::NameConstraintViolation),
        }
    }

    fn allow(&self, address: &[u8]) -> bool {
        let Some(mailbox) = halves(address) else { return false };
        let within = |subtree: &&[u8]| is_within(mailbox, subtree);
        let excluded =
            self.excluded.iter().any(|subtree| within(subtree) || is_unreadable(subtree));
        !excluded && (self.permitted.is_empty() || self.permitted.iter().any(within))
    }
}

/// The names of the form rfc822Name in `GeneralSubtrees`.
fn mailboxes(list: Element<'_>) -> Result<Vec<&[u8]>, Offset> {
    const RFC822_NAME: u8 = 0x81;
    let mut found = Vec::new();
    let mut subtrees = list.reader();
    while !subtrees.is_empty() {
        let mut subtree = subtrees.expect(SEQUENCE)?.reader();
        if let Some(name) = subtree.optional(RFC822_NAME)? {
            found.push(name.contents());
        }
    }
    Ok(found)
}

/// The values of the attributes of type emailAddress (RFC 5280, 4.1.2.6) in a Name.
fn addresses(subject: &[u8]) -> Result<Vec<&[u8]>, Offset> {
    const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
    const SET: u8 = 0x31;
    let mut found = Vec::new();
    let mut names = Reader::new(subject).expect(SEQUENCE)?.reader();
    while !names.is_empty() {
        let mut attributes = names.expect(SET)?.reader();
        while !attributes.is_empty() {
            let mut attribute = attributes.expect(SEQUENCE)?.reader();
            if attribute.expect(OID)?.contents() == EMAIL_ADDRESS {
                found.push(attribute.next()?.contents());
            }
        }
    }
    Ok(found)
}

/// Local part and host of an address; `None` where it is not one of each.
fn halves(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = address.iter().rposition(|octet| *octet == b'@')?;
    let (local, host) = (&address[..at], &address[at + 1..]);
    let is_quoted = local.starts_with(b"\"");
    (!local.is_empty() && !host.is_empty() && (is_quoted || !local.contains(&b'@')))
        .then_some((local, host))
}

/// Neither a mailbox nor a host: excluded, it excludes all.
fn is_unreadable(subtree: &[u8]) -> bool {
    subtree.is_empty() || (subtree.contains(&b'@') && halves(subtree).is_none())
}

/// RFC 5280, 4.2.1.10: a subtree is a mailbox, a host, or with a period in front all hosts below a domain. Hosts are compared
/// without regard to case, and local parts to the letter (7.5).
fn is_within((local, host): (&[u8], &[u8]), subtree: &[u8]) -> bool {
    match halves(subtree) {
        Some((only, of)) => only == local && of.eq_ignore_ascii_case(host),
        None if subtree.starts_with(b".") => host
            .len()
            .checked_sub(subtree.len())
            .is_some_and(|more| more > 0 && host[more..].eq_ignore_ascii_case(subtree)),
        None => subtree.eq_ignore_ascii_case(host),
    }
}
