//! The status of one recipient, and the codes that the route itself gives.

use std::fmt;

use crate::wire::reply::{EnhancedCode, Reply, Severity};

/// The status of one recipient.
///
/// ```
/// use smtp_proto::route::RecipientStatus;
/// use smtp_proto::wire::reply::EnhancedCode;
///
/// assert_eq!(RecipientStatus::Delivered.to_string(), "delivered");
/// let deferred = RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5));
/// assert_eq!(deferred.to_string(), "deferred: 4.7.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientStatus {
    /// A server has accepted the message.
    Delivered,
    /// Not delivered now; to be tried again later.
    Deferred(EnhancedCode),
    /// Not deliverable; the sender is to be told.
    Bounced(EnhancedCode),
}

impl RecipientStatus {
    /// What a reply that is not 2yz means for a recipient: 5yz is final, and everything else is
    /// tried again later.
    ///
    /// ```
    /// use smtp_proto::route::RecipientStatus;
    /// use smtp_proto::wire::reply::{EnhancedCode, Reply};
    ///
    /// let status = |text: &[u8]| RecipientStatus::refused(&Reply::parse(text).unwrap().unwrap());
    /// let code = EnhancedCode::new;
    /// assert_eq!(status(b"550 5.1.1 no such user\r\n"), RecipientStatus::Bounced(code(5, 1, 1)));
    /// assert_eq!(status(b"451 later\r\n"), RecipientStatus::Deferred(code(4, 0, 0)));
    /// ```
    pub fn refused(reply: &Reply<'_>) -> Self {
        match reply.severity() {
            Severity::Permanent => Self::Bounced(reply.status()),
            Severity::Positive | Severity::Intermediate | Severity::Transient => {
                Self::Deferred(EnhancedCode { class: 4, ..reply.status() })
            }
        }
    }
}

impl fmt::Display for RecipientStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Deferred(status) => write!(f, "deferred: {status}"),
            Self::Bounced(status) => write!(f, "bounced: {status}"),
        }
    }
}

/// RFC 3463, section 3.2 and RFC 5321, section 3.6.1: the domain does not exist.
pub const NO_SUCH_DOMAIN: EnhancedCode = EnhancedCode::new(5, 1, 2);
/// RFC 7505, section 4.2: the domain accepts no mail.
pub const NULL_MX: EnhancedCode = EnhancedCode::new(5, 1, 10);
/// RFC 3463, section 3.5: no host of the route has an address.
pub const NO_ADDRESS: EnhancedCode = EnhancedCode::new(5, 4, 4);
/// RFC 3463, section 3.5: every host of the route is this one.
pub const LOOP: EnhancedCode = EnhancedCode::new(5, 4, 6);
/// RFC 3463, section 3.5: a look-up failed for now.
pub const LOOKUP_FAILED: EnhancedCode = EnhancedCode::new(4, 4, 3);
/// RFC 3463, section 3.5: no connection.
pub const NO_ANSWER: EnhancedCode = EnhancedCode::new(4, 4, 1);
/// RFC 3463, section 3.5: the connection broke.
pub const BAD_CONNECTION: EnhancedCode = EnhancedCode::new(4, 4, 2);
