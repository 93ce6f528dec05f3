//! Before dialling: what is known becomes a plan, and there is one plan for it.

use std::sync::Arc;

use crate::connector::OutboundConnector;
use crate::decision::{Because, Ground, Reason, Refusal, Status};
use crate::domain::{Domain, Host};
use crate::names::{Names, Reference};
use crate::posture::{Floor, Subject, Weight, Yield, Yields};
use crate::revocation::Revocation;
use crate::trust::RootsId;

/// How the host to dial was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostOrigin {
    /// From the MX look-up of the next hop, the implicit MX included (RFC 5321, 5.1).
    Mx,
    /// From the configuration: it is the next hop.
    SmartHost,
    /// The recipient domain is an address literal: it is the next hop.
    Literal,
}

/// The policy for the next hop.
#[derive(Clone, Copy, Debug)]
pub enum Policy<'a> {
    /// The connector that serves the recipient domain.
    Connector(&'a OutboundConnector),
    /// The look-up failed, or gave something malformed. That is not the same as having no policy.
    Unavailable,
}

/// A source beside the connector, such as one message that wants TLS. It can only raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Who demands, for logs.
    pub by: Arc<str>,
    /// The least that the connection must be. [`Floor::Authenticated`] brings the connector's certificate check with
    /// it, or a PKIX check for the host where it has none.
    pub floor: Floor,
}

/// What is known before dialling one host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// The policy for the recipient domain.
    pub policy: Policy<'a>,
    /// Further sources, in any order.
    pub demands: &'a [Demand],
    /// The recipient domain, whose MX look-up gave the host. For a smart host or an address literal the host itself is
    /// the next hop, whatever stands here.
    pub next_hop: &'a Host,
    /// The host to dial.
    pub host: &'a Host,
    /// How the host was found.
    pub origin: HostOrigin,
    /// TLS from the first byte, without STARTTLS (RFC 8314). That of the connector's smart host counts by itself.
    pub implicit_tls: bool,
}

impl<'a> Facts<'a> {
    /// The facts for one host of a recipient domain that this connector serves. STARTTLS, and no further demands.
    pub fn new(connector: &'a OutboundConnector, next_hop: &'a Host, host: &'a Host, origin: HostOrigin) -> Self {
        Self { policy: Policy::Connector(connector), demands: &[], next_hop, host, origin, implicit_tls: false }
    }

    /// The facts where the policy could not be looked up.
    pub fn policy_unavailable(next_hop: &'a Host, host: &'a Host, origin: HostOrigin) -> Self {
        Self { policy: Policy::Unavailable, demands: &[], next_hop, host, origin, implicit_tls: false }
    }
}

/// How TLS is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attempt {
    /// Not at all; the floor is [`Floor::Plaintext`].
    Clear,
    /// By STARTTLS, where it is offered.
    StartTls,
    /// From the first byte (RFC 8314); the floor is at least [`Floor::Encrypted`], and nothing falls back from it.
    Implicit,
}

/// The PKIX check: chain, dates, purpose, revocation, names, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pkix {
    /// The roots to which the chain must lead.
    pub roots: RootsId,
    /// The names of which the certificate must carry one.
    pub names: Names,
    /// How revocation lists are used.
    pub revocation: Revocation,
    /// What a failure means.
    pub weight: Weight,
}

/// A check of the peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// A chain to a root.
    Pkix(Pkix),
}

impl Check {
    /// What a failure means.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Pkix(pkix) => pkix.weight,
        }
    }

    fn set_weight(&mut self, weight: Weight) {
        match self {
            Self::Pkix(pkix) => pkix.weight = weight,
        }
    }

    /// Whether two checks ask the same, whatever a failure means.
    fn asks_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pkix(a), Self::Pkix(b)) => (&a.roots, &a.names, a.revocation) == (&b.roots, &b.names, b.revocation),
        }
    }
}

/// What will be done with one host: made by [`plan`] and by nothing else.
///
/// Equal plans ask for the same, for the same reasons; TLS configurations are cached by them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    floor: Floor,
    attempt: Attempt,
    checks: Vec<Check>,
    sni: Option<Domain>,
    yields: Yields,
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

    /// The name to send in the server name indication: that of the host; none for an address (RFC 6066, 3).
    pub fn sni(&self) -> Option<&Domain> {
        self.sni.as_ref()
    }

    /// When clear text may be used; [`Yields::NEVER`] above [`Floor::Plaintext`].
    pub fn yields(&self) -> Yields {
        self.yields
    }

    /// The sources that led here.
    pub fn because(&self) -> &Because {
        &self.because
    }

    /// Why the connection is in clear text although nothing failed: the plan does not try TLS.
    pub fn clear_reason(&self) -> Option<Reason> {
        (self.attempt == Attempt::Clear).then_some(Reason::TlsNotWanted)
    }
}

/// What one source contributes. Joining is commutative, associative and idempotent, and only raises.
#[derive(Clone, Debug)]
struct Contribution {
    floor: Floor,
    attempt: Attempt,
    checks: Vec<Check>,
    yields: Yields,
    ground: Ground,
}

/// Decides, before dialling, what is asked of one host. Pure: no I/O, no clock.
///
/// # Errors
///
/// A [`Refusal`] (451 4.7.5) means that this host must not be dialled at all, and is a deferral: today, that the
/// policy could not be looked up.
pub fn plan(facts: &Facts<'_>) -> Result<Plan, Refusal> {
    let connector = match facts.policy {
        Policy::Connector(connector) => connector,
        Policy::Unavailable => {
            return Err(Refusal {
                // RFC 3463, 3.8: X.7.5; a deferral, for the look-up may work later.
                code: 451,
                status: Status::new(4, 7, 5),
                reason: Reason::PolicyUnavailable,
                defect: None,
                because: Because::new(vec![Ground::LookupFailed]),
            });
        }
    };
    let mut contributions = vec![from_connector(connector, facts)];
    contributions.extend(facts.demands.iter().map(|d| from_demand(d, connector, facts)));
    if facts.implicit_tls || is_implicit_smart_host(connector, facts) {
        contributions.push(from_implicit_tls());
    }
    Ok(join(contributions, facts.host))
}

/// Whether the host is the connector's own, configured with implicit TLS: the caller need not repeat it.
fn is_implicit_smart_host(connector: &OutboundConnector, facts: &Facts<'_>) -> bool {
    facts.origin == HostOrigin::SmartHost
        && connector.smart_host.as_ref().is_some_and(|smart_host| smart_host.implicit_tls)
}

fn from_connector(connector: &OutboundConnector, facts: &Facts<'_>) -> Contribution {
    let posture = connector.posture;
    let (floor, weight) = match (connector.require_tls, posture.pkix()) {
        (false, weight) => (posture.floor(), weight),
        (true, None) => (posture.floor().max(Floor::Encrypted), None),
        (true, Some(_)) => (Floor::Authenticated, Some(Weight::Refuse)),
    };
    Contribution {
        floor,
        attempt: if posture.tries_tls() { Attempt::StartTls } else { Attempt::Clear },
        checks: weight.map(|weight| pkix(connector, facts, weight)).into_iter().collect(),
        yields: connector.yields,
        ground: Ground::Connector { name: Arc::clone(&connector.name), posture, require_tls: connector.require_tls },
    }
}

fn from_demand(demand: &Demand, connector: &OutboundConnector, facts: &Facts<'_>) -> Contribution {
    Contribution {
        floor: demand.floor,
        attempt: match demand.floor {
            Floor::Plaintext => Attempt::Clear,
            Floor::Encrypted | Floor::Authenticated => Attempt::StartTls,
        },
        checks: match demand.floor {
            Floor::Authenticated => vec![pkix(connector, facts, Weight::Refuse)],
            Floor::Plaintext | Floor::Encrypted => Vec::new(),
        },
        yields: Yields::default(),
        ground: Ground::Demand { by: Arc::clone(&demand.by), floor: demand.floor },
    }
}

fn from_implicit_tls() -> Contribution {
    Contribution {
        // RFC 8314, 3: there is no negotiation, hence nothing to fall back from.
        floor: Floor::Encrypted,
        attempt: Attempt::Implicit,
        checks: Vec::new(),
        yields: Yields::default(),
        ground: Ground::ImplicitTls,
    }
}

/// The connector's own certificate check.
fn pkix(connector: &OutboundConnector, facts: &Facts<'_>, weight: Weight) -> Check {
    let references = if !connector.names.is_empty() {
        let mut names = connector.names.clone();
        names.sort_unstable();
        names.dedup();
        names
    } else {
        match (connector.posture.subject(), facts.origin, facts.next_hop) {
            // A forged MX answer leads to a host of the forger's, with a good certificate: the next hop counts.
            (Subject::NextHop, HostOrigin::Mx, Host::Name(next_hop)) => {
                vec![Reference::Name(next_hop.clone()), Reference::Below(next_hop.clone())]
            }
            _ => vec![Reference::from(facts.host.clone())],
        }
    };
    Check::Pkix(Pkix {
        roots: connector.roots.clone(),
        names: Names { references, cn: connector.cn },
        revocation: connector.revocation,
        weight,
    })
}

fn join(contributions: Vec<Contribution>, host: &Host) -> Plan {
    let (mut floor, mut attempt) = (Floor::Plaintext, Attempt::Clear);
    let mut yields = Yields::default();
    let mut checks: Vec<Check> = Vec::new();
    let mut grounds = Vec::with_capacity(contributions.len());
    for contribution in contributions {
        floor = floor.max(contribution.floor);
        attempt = attempt.max(contribution.attempt);
        yields = yields.join(contribution.yields);
        for check in contribution.checks {
            match checks.iter_mut().find(|have| have.asks_the_same(&check)) {
                Some(have) => have.set_weight(have.weight().max(check.weight())),
                None => checks.push(check),
            }
        }
        if !grounds.contains(&contribution.ground) {
            grounds.push(contribution.ground);
        }
    }
    if floor > Floor::Plaintext {
        // "This does not count as TLS" leads to clear text, which is no longer open: the check has no consequence. But
        // where the connector would rather defer than yield, it did not lead there, and it still refuses.
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
    grounds.sort_unstable();
    Plan {
        floor,
        attempt,
        checks,
        sni: match attempt {
            Attempt::Clear => None,
            Attempt::StartTls | Attempt::Implicit => host.domain().cloned(),
        },
        yields,
        because: Because::new(grounds),
    }
}
