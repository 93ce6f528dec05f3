//! Before dialling: what is known becomes a plan, and there is one plan for it.

pub(crate) mod attempt;
pub(crate) mod broken_peers;
pub(crate) mod check;
mod explain;
pub(crate) mod facts;
pub(crate) mod refusal;
pub(crate) mod scope;
mod sources;

pub use attempt::Attempt;
pub use broken_peers::{Broken, BrokenPeers, MAX_PEERS, PeerKey, REMEMBERED_FOR};
pub use check::Check;
pub use explain::{HopEnding, explain};
pub use facts::{Demand, DnsStatus, Facts, HostOrigin, MessageTls, Policy, TlsaFact};
pub use refusal::{Because, Ground, Refusal};

use std::fmt;
use std::time::Duration;

use crate::domain::{Domain, Host};
use crate::plan::scope::Scope;
use crate::plan::sources::Contribution;
use crate::reason::{ENCRYPTION_NEEDED, Fault, Reason, Status};
use crate::rules::posture::{Floor, Weight, Yield, Yields};
use crate::rules::tls_limits::TlsLimits;

/// What will be done with one host: made by [`plan`] and by nothing else.
///
/// Equal plans ask for the same, for the same reasons; TLS configurations are cached by them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    floor: Floor,
    attempt: Attempt,
    clear_reason: Option<Reason>,
    checks: Vec<Check>,
    sni: Option<Domain>,
    yields: Yields,
    message: MessageTls,
    limits: TlsLimits,
    list_wait: Duration,
    notes: Vec<Reason>,
    because: Because,
}

impl Plan {
    /// The least that the connection must be before mail goes over it.
    pub fn floor(&self) -> Floor {
        self.floor
    }

    /// How TLS is tried.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// The checks of the peer's certificate; at least one has [`Weight::Refuse`] where the floor is
    /// [`Floor::Authenticated`], and none has [`Weight::NotTls`] above [`Floor::Plaintext`].
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The name to send in the server name indication: the TLSA base domain where there is a DANE
    /// check (RFC 7672, section 8.1), else that of the host; none for an address (RFC 6066, section
    /// 3).
    pub fn sni(&self) -> Option<&Domain> {
        self.sni.as_ref()
    }

    /// When clear text may be used; [`Yields::NEVER`] above [`Floor::Plaintext`].
    pub fn yields(&self) -> Yields {
        self.yields
    }

    /// What the message wants of TLS, and with it whether MAIL carries REQUIRETLS.
    pub fn message(&self) -> MessageTls {
        self.message
    }

    /// The TLS versions and key exchange groups that the connector allows.
    pub fn limits(&self) -> &TlsLimits {
        &self.limits
    }

    /// How long the delivery waits at most for revocation lists that are missing; zero: the mail is
    /// deferred at once.
    pub fn list_wait(&self) -> Duration {
        self.list_wait
    }

    /// What is to be reported (RFC 8460) although nothing is refused for it: an MTA-STS look-up
    /// that failed while a cached policy, or none, applies; a host that a policy in testing does
    /// not list; TLSA records that are all unusable.
    pub fn notes(&self) -> &[Reason] {
        &self.notes
    }

    /// The sources that led here.
    pub fn because(&self) -> &Because {
        &self.because
    }

    /// Why the connection is in clear text although nothing failed on it: the plan does not try
    /// TLS.
    pub fn clear_reason(&self) -> Option<Reason> {
        self.clear_reason
    }

    /// The enhanced status for a mail that this host does not get for this reason: that of the
    /// reason, a deferral. Only a message with REQUIRETLS comes back at the end (RFC 8689, section
    /// 4.2.1): 5.7.30 where the option is not offered, 5.7.10 where there is no TLS with a known
    /// peer.
    pub fn status(&self, reason: Reason) -> Option<Status> {
        let status = reason.status()?;
        match (self.message, reason) {
            // RFC 8689 is about what the peer does not offer. What is missing here may be repaired.
            _ if reason.fault() == Fault::Local => Some(status),
            // A connection that breaks says nothing about what the host can do.
            (_, Reason::TlsLost) => Some(status),
            (MessageTls::Required, Reason::RequiretlsUnsupported) => Some(status),
            (MessageTls::Required, _) => Some(ENCRYPTION_NEEDED),
            (MessageTls::Default | MessageTls::Optional | MessageTls::RequiredOfBounce, _) => {
                Some(status)
            }
        }
    }
}

impl Plan {
    /// The plan for an address of the host where a handshake failed or stalled a short while ago:
    /// clear text at once, if the plan would end there anyway. Above the floor
    /// [`Floor::Plaintext`], and if its connector does not yield to clear text, the plan is the
    /// same.
    #[must_use]
    pub fn remembering_broken(self) -> Self {
        let may_be_clear = self.floor == Floor::Plaintext && self.yields.broken == Yield::Now;
        if !may_be_clear || self.attempt != Attempt::StartTls {
            return self;
        }
        let clear_reason = Some(Reason::RememberedBroken);
        Self { attempt: Attempt::Clear, clear_reason, sni: None, ..self }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match (self.attempt, self.clear_reason) {
            (Attempt::Clear, reason) => reason.map_or("clear text", |reason| match reason {
                Reason::RememberedBroken => {
                    "clear text at once, for TLS with this host is remembered to be broken"
                }
                _ => "clear text",
            }),
            (Attempt::StartTls, _) => "STARTTLS",
            (Attempt::Implicit, _) => "implicit TLS",
        };
        f.write_str(way)?;
        if self.attempt != Attempt::Clear {
            f.write_str(match self.floor {
                Floor::Plaintext => ", or clear text",
                Floor::Encrypted => ", or no mail",
                Floor::Authenticated => " with a known peer, or no mail",
            })?;
        }
        for check in &self.checks {
            let weight = match check.weight() {
                Weight::Recorded => "recorded",
                Weight::NotTls => "else it does not count as TLS",
                Weight::Refuse => "else no mail",
            };
            write!(f, "; {check} ({weight})")?;
        }
        if !self.limits.is_unlimited() {
            write!(f, "; {}", self.limits)?;
        }
        write!(f, "; under {}", self.because)
    }
}

/// Decides, before dialling, what is asked of one host. Pure: no I/O, no clock.
///
/// # Errors
///
/// A [`Refusal`] means that this host must not be dialled at all, or no host of the domain
/// ([`Refusal::ends_domain`]). It is a deferral, 451, save for a message with REQUIRETLS, which has
/// 550 5.7.10 once no host is left:
///
/// - [`Reason::StsLocalFault`]: a fault of this side, without a cached policy;
/// - [`Reason::LookupLocalFault`]: this side could not ask the DNS;
/// - [`Reason::PolicyUnavailable`], [`Reason::MxLookupFailed`], [`Reason::TlsaLookupFailed`]: a
///   look-up failed. That is never taken for absence, and stays a deferral.
/// - [`Reason::MxInsecure`], [`Reason::DaneRequired`], [`Reason::TlsaUnusable`]: posture
///   `dane-only`.
/// - [`Reason::StsMxMismatch`]: the host is not in the domain's MTA-STS policy. Look at the TXT
///   record again before the mail is given up: the policy may have changed (RFC 8461, section 5.1).
/// - [`Reason::RequiretlsMxInsecure`]: neither DNSSEC nor MTA-STS vouches for the host.
pub fn plan(facts: &Facts<'_>) -> Result<Plan, Refusal> {
    let connector = match facts.policy {
        Policy::Connector(connector) => connector,
        Policy::Unavailable => {
            return Err(policy_unavailable(facts.message));
        }
    };
    let contributions = sources::ask(connector, facts)
        .map_err(|(reason, grounds)| refusal(facts.message, reason, grounds))?;
    Ok(join(contributions, facts.host, facts.message))
}

/// The refusal of a whole domain, whichever host it is about.
pub(crate) fn domain_refusal(scope: &Scope<'_>) -> Option<Refusal> {
    let ground = sources::own_ground(scope.connector);
    scope.refusal().map(|reason| refusal(scope.message, reason, vec![ground]))
}

/// The refusal of a whole domain whose policy could not be looked up.
pub(crate) fn policy_unavailable(message: MessageTls) -> Refusal {
    refusal(message, Reason::PolicyUnavailable, vec![Ground::LookupFailed])
}

/// The refusal of a host whose addresses could not be looked up, for this reason; or that of DANE,
/// if it refuses the host for it, with the status of a failed look-up.
pub(crate) fn addresses_failed(
    policy: &Policy<'_>,
    reason: Reason,
    by_dane: Option<Refusal>,
) -> Refusal {
    let ground = match policy {
        Policy::Connector(connector) => sources::own_ground(connector),
        Policy::Unavailable => Ground::LookupFailed,
    };
    let failed = refusal(MessageTls::Default, reason, vec![ground]);
    match by_dane {
        Some(refused) => Refusal { status: failed.status, ..refused },
        None => failed,
    }
}

fn refusal(message: MessageTls, reason: Reason, grounds: Vec<Ground>) -> Refusal {
    let lookup_failed = matches!(
        reason,
        Reason::PolicyUnavailable
            | Reason::StsLocalFault
            | Reason::LookupLocalFault
            | Reason::MxLookupFailed
            | Reason::AddressLookupFailed
            | Reason::TlsaLookupFailed
    );
    let (code, status) = match (message, reason.status()) {
        // RFC 8689, section 4.2.1: what cannot be had is reported to the sender.
        (MessageTls::Required, _) if !lookup_failed => (550, ENCRYPTION_NEEDED),
        // RFC 3463, section 3.8: X.7.5, where the reason has none of its own.
        (_, status) => (451, status.unwrap_or(Status::new(4, 7, 5))),
    };
    Refusal { code, status, reason, defect: None, because: Because::new(grounds) }
}

fn join(contributions: Vec<Contribution>, host: &Host, message: MessageTls) -> Plan {
    let (mut floor, mut attempt) = (Floor::Plaintext, Attempt::Clear);
    let mut yields = Yields::default();
    let mut limits = TlsLimits::default();
    let mut list_wait = Duration::ZERO;
    let mut sni = host.domain().cloned();
    let mut checks: Vec<Check> = Vec::new();
    let mut notes = Vec::new();
    let mut grounds = Vec::with_capacity(contributions.len());
    for contribution in contributions {
        floor = floor.max(contribution.floor);
        attempt = attempt.max(contribution.attempt);
        yields = yields.join(contribution.yields);
        // One source at most, the connector, has limits.
        if !contribution.limits.is_unlimited() {
            limits = contribution.limits;
        }
        list_wait = list_wait.max(contribution.list_wait);
        // One source at most, DANE, has a name of its own.
        sni = contribution.sni.or(sni);
        for check in contribution.checks {
            match checks.iter_mut().find(|have| have.asks_the_same(&check)) {
                Some(have) => have.set_weight(have.weight().max(check.weight())),
                None => checks.push(check),
            }
        }
        notes.extend(contribution.notes);
        if !grounds.contains(&contribution.ground) {
            grounds.push(contribution.ground);
        }
    }
    if floor > Floor::Plaintext {
        // "This does not count as TLS" leads to clear text, which is no longer open: the check has
        // no consequence. But where the connector would rather defer than yield, it did not lead
        // there, and it still refuses.
        for check in checks.iter_mut().filter(|c| c.weight() == Weight::NotTls) {
            match yields.untrusted {
                Yield::Now | Yield::Later => check.set_weight(Weight::Recorded),
                Yield::Never => {
                    check.set_weight(Weight::Refuse);
                    floor = Floor::Authenticated;
                }
            }
        }
        yields = Yields::NEVER;
    }
    // One order, whatever the order of the sources.
    checks.sort_unstable();
    notes.sort_unstable();
    grounds.sort_unstable();
    let (clear_reason, sni) = match attempt {
        Attempt::Clear => (Some(Reason::TlsNotWanted), None),
        Attempt::StartTls | Attempt::Implicit => (None, sni),
    };
    let because = Because::new(grounds);
    Plan {
        floor,
        attempt,
        clear_reason,
        checks,
        sni,
        yields,
        message,
        limits,
        list_wait,
        notes,
        because,
    }
}
