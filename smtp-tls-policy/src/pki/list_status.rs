//! What the loaded revocation lists say of each certificate of a chain, for people.

use std::fmt;
use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};

use crate::pki::comparison::ComparableName;
use crate::pki::crl::{Coverage, Points};
use crate::pki::date::Date;
use crate::pki::revocation::MAX_LIST_SIGNATURES;
use crate::pki::roots::RootsId;
use crate::pki::trust::Trust;
use crate::pki::x509;

/// What the loaded revocation lists say of one certificate. Made by [`Trust::list_status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListStatus {
    /// No list is needed: the certificate is a root, says that it has no lists (RFC 9608), or is
    /// valid for at most seven days.
    NotNeeded,
    /// No loaded list is about this certificate.
    NotLoaded,
    /// The lists about this certificate were not signed by its issuer, as far as its key is known.
    NotSigned,
    /// The list about this certificate was due to be replaced at this time.
    Expired(UnixTime),
    /// The list about this certificate is current until this time, and does not revoke it.
    Good(UnixTime),
    /// The list revokes the certificate.
    Revoked,
}

impl ListStatus {
    /// The code for programs, such as `not-loaded`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotNeeded => "not-needed",
            Self::NotLoaded => "not-loaded",
            Self::NotSigned => "not-signed",
            Self::Expired(_) => "expired",
            Self::Good(_) => "good",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for ListStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("no list is needed"),
            Self::NotLoaded => f.write_str("its list is not loaded"),
            Self::NotSigned => f.write_str("its list was not signed by the known issuer"),
            Self::Expired(due) => write!(f, "its list was due to be replaced on {}", Date(*due)),
            Self::Good(due) => write!(f, "not revoked by its list, current until {}", Date(*due)),
            Self::Revoked => f.write_str("revoked by its list"),
        }
    }
}

impl Trust {
    /// What the lists of a set say of each certificate of a chain, the server's own first. For
    /// people: [`Plan::judge`](crate::plan::Plan::judge) decides, and along a verified path.
    ///
    /// At most sixteen signatures of lists are verified; lists after them count as not signed.
    pub fn list_status(
        &self,
        id: &RootsId,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Vec<ListStatus> {
        let mut signatures = MAX_LIST_SIGNATURES;
        chain.iter().map(|it| self.status_of(id, chain, it, now, &mut signatures)).collect()
    }

    fn status_of(
        &self,
        id: &RootsId,
        chain: &[CertificateDer<'_>],
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        signatures: &mut usize,
    ) -> ListStatus {
        let (Some((issuer, subject)), Some(serial)) =
            (x509::names_of(certificate), x509::serial(certificate))
        else {
            return ListStatus::NotLoaded;
        };
        let name = ComparableName::of_contents(issuer);
        if name == ComparableName::of_contents(subject) {
            return ListStatus::NotNeeded;
        }
        let is_leaf = chain.first() == Some(certificate);
        let is_issuer = |it: &&CertificateDer<'_>| {
            x509::names_of(it).is_some_and(|(_, it)| ComparableName::of_contents(it) == name)
                && x509::may_sign_crls(it)
        };
        let shown = chain.iter().filter(is_issuer).filter_map(|it| x509::spki(it));
        let anchors = self.anchors(id).into_iter().flat_map(|it| it.of_name(&name));
        let roots = anchors.map(webpki::spki_for_anchor);
        let keys: Vec<Vec<u8>> =
            shown.map(|key| key.to_vec()).chain(roots.map(|key| key.to_vec())).collect();
        let points = Points::of(certificate, &name);
        let mut best = match is_leaf && x509::needs_no_list(certificate) {
            true => ListStatus::NotNeeded,
            false => ListStatus::NotLoaded,
        };
        for list in self.lists(id).into_iter().flat_map(|lists| lists.of(&name)) {
            let revokes = list.lists(serial);
            match list.covers(&points, is_leaf) {
                Coverage::None => continue,
                Coverage::Part if !revokes => continue,
                Coverage::Part | Coverage::Whole => {}
            }
            let is_signed = keys.iter().any(|key| {
                list.known_signer(key).unwrap_or_else(|| {
                    let left = signatures.checked_sub(1);
                    *signatures = left.unwrap_or_default();
                    left.is_some() && list.is_signed_by(key, self.algorithms())
                })
            });
            let (_, next_update) = list.times();
            let due = UnixTime::since_unix_epoch(Duration::from_secs(next_update));
            best = match (best, is_signed, revokes, now < due) {
                (_, true, true, _) => return ListStatus::Revoked,
                (ListStatus::Good(have), true, false, true) => {
                    ListStatus::Good(if have < due { due } else { have })
                }
                (_, true, false, true) => ListStatus::Good(due),
                (ListStatus::NotLoaded | ListStatus::NotSigned, true, false, false) => {
                    ListStatus::Expired(due)
                }
                (ListStatus::NotLoaded, false, _, _) => ListStatus::NotSigned,
                (have, ..) => have,
            };
        }
        best
    }
}
