//! Name constraints on mailboxes and directory names (RFC 5280, section 4.2.1.10). Those on host
//! names and addresses are the path builder's.

use std::borrow::Cow;

use webpki::Error;
use x509_parser::extensions::{
    GeneralName, GeneralSubtree, NameConstraints, SubjectAlternativeName,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::webpki_copies::{Originals, sequence};
use crate::pki::comparison::{ComparableName, text};
use crate::pki::x509;

/// The subtrees of the two forms in name constraints.
#[derive(Default)]
struct Subtrees<'a> {
    mailboxes: Lists<&'a [u8]>,
    directories: Lists<ComparableName>,
}

/// What is permitted, and what is excluded.
struct Lists<T> {
    permitted: Vec<T>,
    excluded: Vec<T>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { permitted: Vec::new(), excluded: Vec::new() }
    }
}

impl<T> Lists<T> {
    fn len(&self) -> usize {
        self.permitted.len() + self.excluded.len()
    }

    /// Whether a name is in no excluded subtree, and in a permitted one if there are any.
    fn allow(&self, is_within: impl Fn(&T) -> bool) -> bool {
        !self.excluded.iter().any(&is_within)
            && (self.permitted.is_empty() || self.permitted.iter().any(&is_within))
    }
}

/// The names of the two forms that a certificate has.
struct Names<'a> {
    mailboxes: Vec<Cow<'a, [u8]>>,
    directories: Vec<ComparableName>,
}

/// Most comparisons of a name with a subtree in one certificate: as many as the path builder makes
/// at all.
const MAX_COMPARISONS: usize = 250_000;

const VIOLATION: Error = Error::NameConstraintViolation;

/// Applies the constraints of a path to the names of the certificates below them.
///
/// Mailboxes are those of the alternative names. "When constraints are imposed on the rfc822Name
/// name form, but the certificate does not include a subject alternative name, the rfc822Name
/// constraint MUST be applied to the attribute of type emailAddress in the subject distinguished
/// name" (RFC 5280, section 4.2.1.10). Directory names are the subject and those among the
/// alternative names; a self-issued certificate of an authority is exempt (section 6.1.3, (b)).
/// Constraints and names that cannot be read allow nothing.
pub(super) fn check(path: &Originals<'_>) -> Result<(), Error> {
    if let Some(contents) = &path.anchor.name_constraints {
        // The path builder keeps them without the header of their SEQUENCE.
        apply(&sequence(contents).ok_or(VIOLATION)?, path, path.issuers.len())?;
    }
    for (below, issuer) in path.issuers.iter().enumerate() {
        if let Some(value) = x509::name_constraints(issuer).map_err(|_| VIOLATION)? {
            apply(value, path, below)?;
        }
    }
    Ok(())
}

/// Applies constraints to the leaf and to as many issuers above it.
fn apply(value: &[u8], path: &Originals<'_>, issuers: usize) -> Result<(), Error> {
    let (_, constraints) = NameConstraints::from_der(value).map_err(|_| VIOLATION)?;
    let mut subtrees = Subtrees::default();
    let Subtrees { mailboxes, directories } = &mut subtrees;
    read(constraints.permitted_subtrees, &mut mailboxes.permitted, &mut directories.permitted)?;
    read(constraints.excluded_subtrees, &mut mailboxes.excluded, &mut directories.excluded)?;
    if subtrees.mailboxes.len() + subtrees.directories.len() == 0 {
        return Ok(());
    }
    subtrees.apply(&Names::of(path.leaf, true)?)?;
    let mut below = path.issuers.iter().take(issuers);
    below.try_for_each(|issuer| subtrees.apply(&Names::of(issuer, false)?))
}

/// Reads `GeneralSubtrees`.
fn read<'a>(
    subtrees: Option<Vec<GeneralSubtree<'a>>>,
    mailboxes: &mut Vec<&'a [u8]>,
    directories: &mut Vec<ComparableName>,
) -> Result<(), Error> {
    for subtree in subtrees.into_iter().flatten() {
        match subtree.base {
            GeneralName::RFC822Name(name) => mailboxes.push(name.as_bytes()),
            GeneralName::DirectoryName(name) => directories.push(ComparableName::of(&name)),
            GeneralName::Invalid(..) => return Err(VIOLATION),
            _ => {}
        }
    }
    Ok(())
}

impl<'a> Names<'a> {
    fn of(certificate: &'a [u8], is_leaf: bool) -> Result<Self, Error> {
        let naming = x509::Naming::of(certificate).ok_or(VIOLATION)?;
        let (_, subject) = X509Name::from_der(naming.subject).map_err(|_| VIOLATION)?;
        let mut names = Self { mailboxes: Vec::new(), directories: Vec::new() };
        if subject.iter().next().is_some() && (is_leaf || !naming.is_self_issued()) {
            names.directories.push(ComparableName::of(&subject));
        }
        let Some(alternatives) = naming.alternatives else {
            names.mailboxes = addresses(&subject);
            return Ok(names);
        };
        let (_, alternatives) =
            SubjectAlternativeName::from_der(alternatives).map_err(|_| VIOLATION)?;
        for name in alternatives.general_names {
            match name {
                GeneralName::RFC822Name(name) => names.mailboxes.push(name.as_bytes().into()),
                GeneralName::DirectoryName(name) => {
                    names.directories.push(ComparableName::of(&name));
                }
                GeneralName::Invalid(..) => return Err(VIOLATION),
                _ => {}
            }
        }
        Ok(names)
    }
}

impl Subtrees<'_> {
    fn apply(&self, names: &Names<'_>) -> Result<(), Error> {
        let comparisons = names.mailboxes.len().saturating_mul(self.mailboxes.len());
        let more = names.directories.len().saturating_mul(self.directories.len());
        if comparisons.saturating_add(more) > MAX_COMPARISONS {
            // Another path must not hide it, as it would hide an error about a budget.
            return Err(VIOLATION);
        }
        let directories =
            |name: &ComparableName| self.directories.allow(|subtree| name.is_within(subtree));
        let allowed = names.mailboxes.iter().all(|address| self.allow_mailbox(address))
            && names.directories.iter().all(directories);
        if allowed { Ok(()) } else { Err(VIOLATION) }
    }

    fn allow_mailbox(&self, address: &[u8]) -> bool {
        if self.mailboxes.len() == 0 {
            return true;
        }
        let Some(mailbox) = halves(address) else { return false };
        let excluded = &self.mailboxes.excluded;
        !excluded.iter().any(|subtree| is_unreadable(subtree))
            && self.mailboxes.allow(|subtree| is_within(mailbox, subtree))
    }
}

/// The values of the attributes of type emailAddress (RFC 5280, section 4.1.2.6) in a subject.
fn addresses<'a>(subject: &X509Name<'a>) -> Vec<Cow<'a, [u8]>> {
    subject
        .iter_email()
        .map(|attribute| match text(attribute.attr_value()) {
            Some(text) => Cow::Owned(text.into_owned().into_bytes()),
            None => Cow::Owned(attribute.as_slice().to_vec()),
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
