//! Defects of certificates, for logs and refusals.

use std::fmt;

use pki_types::{CertificateDer, UnixTime};

use super::crlite::CrliteStatus;
use super::date::Date;
use super::names::Reference;
use super::roots::RootsId;
use super::wanted::WantedList;
use super::x509;
use crate::reason::Reason;

/// Which certificate of a chain a defect is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The peer's own certificate.
    Leaf,
    /// The certificate at this position of the chain as it was sent, counted from 1.
    Issuer(usize),
    /// The chain as a whole.
    Chain,
    /// No certificate: the TLS session.
    #[cfg_attr(
        not(feature = "rustls"),
        allow(dead_code, reason = "only what judges a TLS session has it")
    )]
    Session,
}

impl Place {
    pub(crate) fn of(der: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Self {
        match chain.iter().position(|sent| sent == der) {
            Some(0) => Self::Leaf,
            Some(position) => Self::Issuer(position),
            None => Self::Chain,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf => f.write_str("leaf"),
            Self::Issuer(position) => write!(f, "issuer {position}"),
            Self::Chain => f.write_str("chain"),
            Self::Session => f.write_str("session"),
        }
    }
}

/// A defect of a certificate. `Display` is one clause for a log, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    reason: Reason,
    place: Place,
    detail: Detail,
    /// `None` in nearly all defects, which are moved about in errors.
    revocation: Option<Box<Revocation>>,
}

/// What a defect that concerns revocation says beside its detail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Revocation {
    /// The revocation lists for want of which the certificate could not be judged.
    missing_lists: Vec<WantedList>,
    crlite: Option<CrliteStatus>,
}

/// Details of a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// There are none.
    None,
    /// The date that is past, or to come.
    Date(UnixTime),
    /// The names that were wanted, and those of the certificate.
    Names {
        /// The names of which the certificate should have one.
        wanted: Vec<Reference>,
        /// The first few host names that the certificate has, as A-labels, perhaps with a wildcard.
        presented: Vec<String>,
    },
    /// What exactly is wrong.
    What(&'static str),
    /// The set of roots that is not loaded.
    Roots(RootsId),
    /// The issuer of the certificate, whose revocation list is missing or unusable: the start of
    /// its name, with a question mark for each character that a log should not hold.
    Issuer(String),
    /// What exactly is wrong, and in which field.
    Field {
        /// What is wrong.
        what: &'static str,
        /// The field of the certificate (RFC 5280, section 4.1), such as `serialNumber`.
        field: &'static str,
        /// The octet of the certificate, counted from 0; `None` if it cannot be told.
        offset: Option<usize>,
    },
}

impl Detail {
    /// Most characters of an issuer's name that are written down.
    const MAX_NAME_LEN: usize = 128;

    /// The issuer of this certificate. The name is the peer's text.
    pub(crate) fn issuer_of(der: &CertificateDer<'_>) -> Self {
        let Some(certificate) = x509::parse(der) else {
            return Self::None;
        };
        let printable =
            |c: char| if c == ' ' || c.is_ascii_graphic() && c != '"' { c } else { '?' };
        let name = certificate.issuer().to_string();
        Self::Issuer(name.chars().take(Self::MAX_NAME_LEN).map(printable).collect())
    }
}

impl Defect {
    pub(crate) fn at(reason: Reason, place: Place) -> Self {
        Self { reason, place, detail: Detail::None, revocation: None }
    }

    pub(crate) fn with(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// The same defect, with what CRLite says of the certificate.
    pub(crate) fn with_crlite(mut self, crlite: Option<CrliteStatus>) -> Self {
        if crlite.is_some() {
            self.revocation.get_or_insert_default().crlite = crlite;
        }
        self
    }

    /// The same defect, with the lists that are missing.
    pub(crate) fn with_missing_lists(mut self, lists: Vec<WantedList>) -> Self {
        if !lists.is_empty() {
            self.revocation.get_or_insert_default().missing_lists = lists;
        }
        self
    }

    /// The reason, which has a stable code.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The position of the certificate that has the defect in the chain as it was sent; 0 is the
    /// peer's own. `None` if the chain as a whole has it, or the TLS session.
    pub fn certificate(&self) -> Option<usize> {
        match self.place {
            Place::Leaf => Some(0),
            Place::Issuer(position) => Some(position),
            Place::Chain | Place::Session => None,
        }
    }

    /// The same, and whether it is the chain or the session.
    #[cfg(feature = "serde")]
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Details, such as the date or the names.
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// What CRLite says of the peer's own certificate, if the defect is that it is revoked, or that
    /// it cannot be told whether it is. `None` if CRLite was not asked.
    pub fn crlite(&self) -> Option<CrliteStatus> {
        self.revocation.as_ref()?.crlite
    }

    /// The revocation lists that the chain names and that are not loaded, or have expired, if the
    /// certificate could not be judged without them; at most eight.
    pub fn missing_lists(&self) -> &[WantedList] {
        self.revocation.as_ref().map_or(&[], |it| &it.missing_lists)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.reason.sentence(), self.place)?;
        match &self.detail {
            Detail::None => {}
            Detail::Date(time) => write!(f, ", {}", Date(*time))?,
            Detail::Names { wanted, presented } => {
                f.write_str(", wanted")?;
                list(f, wanted)?;
                f.write_str(", has")?;
                list(f, presented)?;
            }
            Detail::What(what) => write!(f, ", {what}")?,
            Detail::Roots(roots) => write!(f, ", set of roots \"{roots}\"")?,
            Detail::Issuer(issuer) => write!(f, ", issuer \"{issuer}\"")?,
            Detail::Field { what, field, offset } => {
                write!(f, ", {what}, {field}")?;
                if let Some(offset) = offset {
                    write!(f, " at octet {offset}")?;
                }
            }
        }
        if let Some(crlite) = self.crlite() {
            write!(f, ", {crlite}")?;
        }
        f.write_str(")")
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, names: &[T]) -> fmt::Result {
    if names.is_empty() {
        return f.write_str(" no host name");
    }
    for (index, name) in names.iter().enumerate() {
        write!(f, "{} {name}", if index == 0 { "" } else { " or" })?;
    }
    Ok(())
}
