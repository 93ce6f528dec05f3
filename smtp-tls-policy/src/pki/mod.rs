//! Certificates and what vouches for them: names, pins, TLSA records, roots and revocation lists.

pub(crate) mod anchors;
pub(crate) mod channel_binding;
pub(crate) mod comparison;
pub(crate) mod crl;
pub(crate) mod crlite;
pub(crate) mod date;
pub(crate) mod defect;
pub(crate) mod list_status;
pub(crate) mod live_trust;
pub(crate) mod names;
pub(crate) mod pin;
pub(crate) mod revocation;
pub(crate) mod roots;
pub(crate) mod summary;
pub(crate) mod tlsa;
pub(crate) mod trust;
pub(crate) mod wanted;
pub(crate) mod x509;

pub use channel_binding::server_end_point;
pub use crl::{Crl, CrlError, CrlErrorKind};
pub use crlite::{Crlite, CrliteStatus, DEFAULT_CRLITE_MAX_AGE, MAX_SCTS, Sct};
pub use defect::{Defect, Detail};
pub use list_status::ListStatus;
pub use live_trust::LiveTrust;
pub use names::{CnFallback, CommonNames, Names, Reference};
pub use pin::{Pin, PinError};
pub use revocation::{ReplaceError, Replaced, Revocation};
pub use roots::RootsId;
pub use summary::CertificateSummary;
pub use tlsa::{MAX_TLSA_RECORDS, Tlsa, TlsaError, TlsaRecord, TlsaSet};
pub use trust::{Generation, RootError, Trust};
pub use wanted::{MAX_WANTED_LISTS, WANTED_FOR, WantedList};
