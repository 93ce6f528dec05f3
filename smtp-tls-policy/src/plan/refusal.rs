//! A refusal, and the sources of a decision.

use std::fmt;
use std::sync::Arc;

use crate::domain::Domain;
use crate::pki::defect::Defect;
use crate::reason::{Reason, Status};
use crate::rules::posture::{Floor, Posture};

/// One source of a decision.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(tag = "source", rename_all = "kebab-case", rename_all_fields = "kebab-case")
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ground {
    /// The posture of an outbound connector.
    Connector {
        /// The connector's name; empty if a posture was asked about without a connector.
        name: Arc<str>,
        /// Its posture.
        posture: Posture,
        /// Whether the connector also requires TLS.
        require_tls: bool,
    },
    /// A further demand, as of one message.
    Demand {
        /// The name of the source of the demand.
        by: Arc<str>,
        /// What is demanded.
        floor: Floor,
    },
    /// Usable TLSA records (RFC 7672).
    Dane {
        /// The TLSA base domain.
        base: Domain,
        /// Whether secure MX records led to the host. If not, the host is who it says it is, and
        /// yet a forger may have chosen it (RFC 7672, section 2.2.1).
        mx_secure: bool,
    },
    /// TLSA records, none of them usable: a promise of TLS (RFC 7672, section 2.2).
    TlsaUnusable {
        /// The TLSA base domain.
        base: Domain,
    },
    /// The MTA-STS policy of the next hop (RFC 8461).
    Sts {
        /// Whether it is in mode `enforce`; else in mode `testing`.
        enforce: bool,
    },
    /// The message requires TLS (RFC 8689).
    Requiretls,
    /// The message has `TLS-Required: No` (RFC 8689).
    TlsOptional,
    /// Implicit TLS from which there is no way back (RFC 8314).
    ImplicitTls,
    /// The rule of an inbound connector.
    Inbound {
        /// The connector's name.
        name: Arc<str>,
    },
    /// The rule of every inbound connector of a listener.
    EveryInbound,
    /// No policy, because its look-up failed.
    LookupFailed,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connector { name, posture, .. } if name.is_empty() => {
                write!(f, "posture {posture}")
            }
            Self::Connector { name, posture, require_tls: false } => {
                write!(f, "posture {posture} of connector {name}")
            }
            Self::Connector { name, posture, require_tls: true } => {
                write!(f, "connector {name}, which requires TLS (posture {posture})")
            }
            Self::Demand { by, floor } => {
                let what = match floor {
                    Floor::Plaintext => "nothing",
                    Floor::Encrypted => "TLS",
                    Floor::Authenticated => "TLS with a known peer",
                };
                write!(f, "{by}, which demands {what}")
            }
            Self::Dane { base, mx_secure: true } => write!(f, "DANE for {base}"),
            Self::Dane { base, mx_secure: false } => {
                write!(f, "DANE for {base}, found by insecure MX records (trusted, not verified)")
            }
            Self::TlsaUnusable { base } => write!(f, "unusable TLSA records for {base}"),
            Self::Sts { enforce: true } => f.write_str("MTA-STS"),
            Self::Sts { enforce: false } => f.write_str("MTA-STS in testing"),
            Self::Requiretls => f.write_str("REQUIRETLS"),
            Self::TlsOptional => f.write_str("TLS-Required: No"),
            Self::ImplicitTls => f.write_str("implicit TLS"),
            Self::Inbound { name } => write!(f, "inbound connector {name}"),
            Self::EveryInbound => f.write_str("every inbound connector"),
            Self::LookupFailed => {
                f.write_str("the rule that an unknown policy is not an absent one")
            }
        }
    }
}

/// The sources that led to a decision, the connector first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Because(Vec<Ground>);

impl Because {
    pub(crate) fn new(grounds: Vec<Ground>) -> Self {
        Self(grounds)
    }

    /// The name of the outbound or inbound connector, if one of the sources is a single connector.
    pub fn connector(&self) -> Option<&str> {
        let name = self.0.iter().find_map(|ground| match ground {
            Ground::Connector { name, .. } | Ground::Inbound { name } => Some(&**name),
            _ => None,
        });
        name.filter(|name| !name.is_empty())
    }

    /// The sources.
    pub fn grounds(&self) -> &[Ground] {
        &self.0
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ground) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            ground.fmt(f)?;
        }
        Ok(())
    }
}

/// A decision not to go on: what to say to the peer, or to the queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {status}: {sentence}; required by {because}", sentence = Clause(*reason, defect.as_deref()))]
pub struct Refusal {
    pub(crate) code: u16,
    pub(crate) status: Status,
    pub(crate) reason: Reason,
    /// Boxed, because a refusal is moved about in errors, and few have one.
    pub(crate) defect: Option<Box<Defect>>,
    pub(crate) because: Because,
}

impl Refusal {
    /// The SMTP reply code: 451, 530, 550 or 554 from [`admit`](crate::judge::admit::admit()), 451
    /// or 550 from [`plan`](crate::plan::plan()).
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether no host of the next hop can do better: nothing is dialled. Else the next host has
    /// its turn.
    pub fn ends_domain(&self) -> bool {
        matches!(
            self.reason,
            Reason::PolicyUnavailable
                | Reason::StsLocalFault
                | Reason::LookupLocalFault
                | Reason::MxLookupFailed
                | Reason::MxInsecure
        )
    }

    /// What is wrong with the certificate, where that is the reason.
    pub fn defect(&self) -> Option<&Defect> {
        self.defect.as_deref()
    }

    /// The rule that refuses.
    pub fn because(&self) -> &Because {
        &self.because
    }
}

/// A reason, with the detail of its defect.
pub(super) struct Clause<'a>(pub(super) Reason, pub(super) Option<&'a Defect>);

impl fmt::Display for Clause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            // A client's wrong name is the refusal's reason; the defect says which names.
            Some(defect) => defect.fmt(f),
            None => f.write_str(self.0.sentence()),
        }
    }
}
