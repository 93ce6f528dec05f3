//! Name constraints on mailboxes in subjects. The path builder compares alternative names only.

use std::borrow::Cow;

use webpki::{Error, VerifiedPath};
use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::adapted::sequence;
use crate::pki::comparison::text;
use crate::pki::x509;

/// The subtrees of the form rfc822Name in name constraints.
#[derive(Default)]
struct Subtrees<'a> {
    permitted: Vec<&'a [u8]>,
    excluded: Vec<&'a [u8]>,
}

/// Most comparisons of an address with a subtree in one certificate: as many as the path builder
/// makes at all.
const MAX_COMPARISONS: usize = 250_000;

/// Applies the constraints of a path to the mailboxes in its subjects.
///
/// RFC 5280, section 4.2.1.10: "When constraints are imposed on the rfc822Name name form, but the
/// certificate does not include a subject alternative name, the rfc822Name constraint MUST be
/// applied to the attribute of type emailAddress in the subject distinguished name." Constraints
/// and names that cannot be read allow nothing.
pub(super) fn check(path: &VerifiedPath<'_>) -> Result<(), Error> {
    let issuers: Vec<_> = path.intermediate_certificates().map(|issuer| issuer.der()).collect();
    let leaf = path.end_entity().der();
    let apply = |value: &[u8], below: usize| {
        let (_, constraints) = NameConstraints::from_der(value).map_err(|_| VIOLATION)?;
        let subtrees = Subtrees::of(&constraints)?;
        if subtrees.is_empty() {
            return Ok(());
        }
        issuers
            .iter()
            .take(below)
            .chain([&leaf])
            .try_for_each(|certificate| subtrees.apply(certificate))
    };
    if let Some(contents) = &path.anchor().name_constraints {
        // The path builder keeps them without the header of their SEQUENCE.
        apply(&sequence(contents).ok_or(VIOLATION)?, issuers.len())?;
    }
    for (below, issuer) in issuers.iter().enumerate() {
        if let Some(value) = x509::name_constraints(issuer).map_err(|_| VIOLATION)? {
            apply(value, below)?;
        }
    }
    Ok(())
}

const VIOLATION: Error = Error::NameConstraintViolation;

impl<'a> Subtrees<'a> {
    fn of(constraints: &NameConstraints<'a>) -> Result<Self, Error> {
        Ok(Self {
            permitted: mailboxes(constraints.permitted_subtrees.as_deref())?,
            excluded: mailboxes(constraints.excluded_subtrees.as_deref())?,
        })
    }

    fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    fn apply(&self, certificate: &[u8]) -> Result<(), Error> {
        let naming = x509::Naming::of(certificate).ok_or(VIOLATION)?;
        // Alternative names are the path builder's.
        if naming.alternatives.is_some() {
            return Ok(());
        }
        let (_, subject) = X509Name::from_der(naming.subject).map_err(|_| VIOLATION)?;
        let addresses = addresses(&subject);
        if addresses.len().saturating_mul(self.permitted.len() + self.excluded.len())
            > MAX_COMPARISONS
        {
            // Another path must not hide it, as it would hide an error about a budget.
            return Err(VIOLATION);
        }
        match addresses.iter().all(|address| self.allow(address)) {
            true => Ok(()),
            false => Err(VIOLATION),
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
fn mailboxes<'a>(subtrees: Option<&[GeneralSubtree<'a>]>) -> Result<Vec<&'a [u8]>, Error> {
    const RFC822_NAME: u32 = 1;
    let mut found = Vec::new();
    for subtree in subtrees.into_iter().flatten() {
        match &subtree.base {
            GeneralName::RFC822Name(name) => found.push(name.as_bytes()),
            GeneralName::Invalid(tag, _) if tag.0 == RFC822_NAME => return Err(VIOLATION),
            _ => {}
        }
    }
    Ok(found)
}

/// The values of the attributes of type emailAddress (RFC 5280, section 4.1.2.6) in a subject.
fn addresses<'a>(subject: &'a X509Name<'_>) -> Vec<Cow<'a, [u8]>> {
    subject
        .iter_email()
        .map(|attribute| match text(attribute.attr_value()) {
            Some(text) => Cow::Owned(text.into_owned().into_bytes()),
            None => Cow::Borrowed(attribute.as_slice()),
        })
        .collect()
}

/// Local part and host of an address; `None` if it does not have one of each.
fn halves(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = address.iter().rposition(|octet| *octet == b'@')?;
    let (local, host) = (&address[..at], &address[at + 1..]);
    let is_quoted = local.starts_with(b"\"");
    (!local.is_empty() && !host.is_empty() && (is_quoted || !local.contains(&b'@')))
        .then_some((local, host))
}

/// Whether a subtree is neither a mailbox nor a host. Such a one, if excluded, excludes everything.
fn is_unreadable(subtree: &[u8]) -> bool {
    subtree.is_empty() || (subtree.contains(&b'@') && halves(subtree).is_none())
}

/// RFC 5280, section 4.2.1.10: a subtree is a mailbox, a host, or with a leading period all hosts
/// below a domain. Hosts are compared without regard to case, local parts exactly (section 7.5).
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
