//! The `_mta-sts` TXT record (RFC 8461, section 3.1).

use std::fmt;
use std::sync::Arc;

use crate::dns_txt::{TxtError, fields, select};
use crate::domain::Domain;

/// What an MTA-STS record begins with (RFC 8461, section 3.1).
pub const RECORD_VERSION: &str = "v=STSv1";
/// Longest `id`, in bytes (RFC 8461, section 3.1).
pub const MAX_ID_LEN: usize = 32;

/// The name whose TXT records announce the policy of this domain: `_mta-sts.` and the domain.
/// `None` where that is longer than a name can be: such a domain has no policy.
///
/// The policy domain is the next hop: the recipient domain, or the smart host where one is
/// configured; never its parent, and never what a CNAME makes of it (RFC 8461, section 3.4). A
/// CNAME of the record itself is followed (3.1).
pub fn record_name(policy_domain: &Domain) -> Option<Domain> {
    Domain::parse(&format!("_mta-sts.{policy_domain}")).ok()
}

/// The `id` in an MTA-STS record, which changes whenever the policy does: 1 to 32 ASCII letters and
/// digits, case-sensitive, without an order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PolicyId(Arc<str>);

impl PolicyId {
    /// Reads an id; `None` where it is not 1 to 32 ASCII letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let good = (1..=MAX_ID_LEN).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric());
        good.then(|| Self(text.into()))
    }

    /// Finds the MTA-STS record among the TXT records of [`record_name`], and the id in it; each of
    /// them is a list of character-strings. The domain has a policy, and this is its version.
    ///
    /// `Ok(None)`: no record begins with the version. An error means no policy, too (RFC 8461,
    /// section 3.1: "senders MUST assume the recipient domain does not have an available MTA-STS
    /// Policy"), and says what is wrong with the record. Neither takes a cached policy away.
    ///
    /// ```
    /// use smtp_tls_policy::sts::PolicyId;
    ///
    /// let id = PolicyId::find(&[vec!["v=STSv1; id=2016", "0831085700Z;"]])?.expect("there is one");
    /// assert_eq!(id.as_str(), "20160831085700Z");
    /// assert_eq!(PolicyId::find(&[["v=spf1 -all"]])?, None);
    /// # Ok::<(), smtp_tls_policy::TxtError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TxtError`]: several records, or one that the grammar of RFC 8461, section 3.1 does not
    /// have.
    pub fn find<R, S>(records: &[R]) -> Result<Option<Self>, TxtError>
    where
        R: AsRef<[S]>,
        S: AsRef<[u8]>,
    {
        select(records, RECORD_VERSION)?.map(|record| Self::read(&record)).transpose()
    }

    fn read(record: &[u8]) -> Result<Self, TxtError> {
        let mut id = None;
        for field in fields(record, RECORD_VERSION) {
            let field = field?;
            if !field.is_extension() {
                return Err(TxtError::Value { field: field.index, name: known(field.name) });
            }
            // RFC 8461, section 3.2: of duplicate fields the first counts, and unknown ones are
            // ignored. Names are %s.
            if field.name == "id" && id.is_none() {
                let error = TxtError::Value { field: field.index, name: "id" };
                id = Some(Self::parse(field.value).ok_or(error)?);
            }
        }
        id.ok_or(TxtError::Missing { name: "id" })
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

fn known(name: &str) -> &'static str {
    if name == "id" { "id" } else { "extension" }
}
