//! What a sender asks the network before it dials.

use std::net::{Ipv4Addr, Ipv6Addr};

use smtp_proto::route::Mx;
use smtp_tls_policy::Domain;
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{Fetch, FetchError, Response};

/// The questions, answered by whatever resolver and HTTPS client there is. This crate has none.
///
/// What is `Secure` is for a validating resolver to say, on this host or at the other end of a channel that nobody can
/// forge (RFC 7672, 2.1). Who has none answers [`DnsStatus::Insecure`]: then DANE never applies.
///
/// Nothing here is given up for taking long: the time limits of the resolver count, and [`Failed`](DnsStatus::Failed) is
/// what it says of them. Names are A-labels without a dot at the end.
pub trait Lookups: Send + Sync {
    /// MX records. An exchange that cannot be a host name is left out, and where none is left the look-up has failed; the
    /// `.` of a null MX is `None` (RFC 7505).
    fn mx(&self, domain: &Domain) -> impl Future<Output = Answer<Mx>> + Send;

    /// A records, in the order in which to try them.
    fn ipv4(&self, host: &Domain) -> impl Future<Output = Answer<Ipv4Addr>> + Send;

    /// AAAA records, in the order in which to try them; who does not speak IPv6 has none to give, and says it with the
    /// status of the answer for A.
    fn ipv6(&self, host: &Domain) -> impl Future<Output = Answer<Ipv6Addr>> + Send;

    /// The status of the CNAME record of this name alone, without what it leads to (RFC 7672, 2.1.3).
    fn cname(&self, _owner: &str) -> impl Future<Output = DnsStatus> + Send {
        async { DnsStatus::Insecure }
    }

    /// TLSA records of `_25._tcp.` and the host, a CNAME followed.
    fn tlsa(&self, _owner: &str) -> impl Future<Output = Answer<TlsaRecord>> + Send {
        async { Answer::none(DnsStatus::Insecure) }
    }

    /// TXT records of `_mta-sts.` and the domain, a CNAME followed, each a list of character-strings (RFC 8461, 3.1).
    fn txt(&self, _owner: &Domain) -> impl Future<Output = Answer<Vec<Vec<u8>>>> + Send {
        async { Answer::none(DnsStatus::Insecure) }
    }

    /// GETs an MTA-STS policy by HTTPS. What must be seen to, says [`Fetch`].
    fn fetch(&self, _fetch: &Fetch) -> impl Future<Output = Result<Fetched, FetchError>> + Send {
        async { Err(FetchError::Unreachable) }
    }
}

/// An answer of the DNS, denials and failures included.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// What the resolver says of the whole answer, from the name that was asked to the records, every CNAME on the way
    /// included.
    pub status: DnsStatus,
    /// The records; none where they are denied.
    pub records: Vec<T>,
    /// The name at the end of the CNAMEs, where the one that was asked is an alias.
    pub alias: Option<Domain>,
    /// The name does not exist (NXDOMAIN).
    pub no_such_name: bool,
}

impl<T> Answer<T> {
    /// These records.
    pub fn new(status: DnsStatus, records: Vec<T>) -> Self {
        Self { status, records, alias: None, no_such_name: false }
    }

    /// The name has no such records, or the look-up failed, as the status says.
    pub fn none(status: DnsStatus) -> Self {
        Self::new(status, Vec::new())
    }

    /// The name does not exist.
    pub fn no_such_name(status: DnsStatus) -> Self {
        Self { no_such_name: true, ..Self::none(status) }
    }

    /// The same, found at the end of CNAMEs.
    #[must_use]
    pub fn through(self, alias: Domain) -> Self {
        Self { alias: Some(alias), ..self }
    }
}

/// What a policy host answered; see [`Response`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The status code.
    pub status: u16,
    /// The value of the `Content-Type` header field.
    pub content_type: Option<String>,
    /// The body: at most [`MAX_BODY_LEN`](smtp_tls_policy::sts::MAX_BODY_LEN) bytes, and one where there are more.
    pub body: Vec<u8>,
}

impl Fetched {
    pub(crate) fn response(&self) -> Response<'_> {
        Response {
            status: self.status,
            content_type: self.content_type.as_deref(),
            body: &self.body,
        }
    }
}
