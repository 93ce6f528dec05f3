//! What each source contributes to a plan, and how contributions are joined.
//!
//! A published source (DANE, MTA-STS) may also refuse the host; the connector, the demands and the
//! message may not.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Domain, Host};
use crate::pki::names::{CnFallback, Names, Reference};
use crate::pki::roots::RootsId;
use crate::pki::tlsa::TlsaSet;
use crate::plan::attempt::Attempt;
use crate::plan::check::Check;
use crate::plan::facts::{Demand, Facts, HostOrigin, MessageTls, Policy, TlsaFact};
use crate::plan::refusal::Ground;
use crate::plan::scope::Scope;
use crate::reason::Reason;
use crate::rules::connector::OutboundConnector;
use crate::rules::list_wait::{DEFAULT_LIST_WAIT, MAX_LIST_WAIT};
use crate::rules::posture::{Floor, OptionalTls, Posture, StsRule, Subject, Weight, Yields};
use crate::rules::tls_limits::TlsLimits;
use crate::sts::Mode;
use crate::sts::messages::Trouble;

/// What one source contributes. Joining is commutative, associative and idempotent, and only
/// raises.
#[derive(Clone, Debug)]
pub(crate) struct Contribution {
    pub(crate) floor: Floor,
    pub(crate) attempt: Attempt,
    pub(crate) checks: Vec<Check>,
    pub(crate) yields: Yields,
    pub(crate) sni: Option<Domain>,
    pub(crate) limits: TlsLimits,
    pub(crate) list_wait: Duration,
    pub(crate) notes: Vec<Reason>,
    pub(crate) ground: Ground,
}

impl Contribution {
    fn new(floor: Floor, attempt: Attempt, ground: Ground) -> Self {
        Self {
            floor,
            attempt,
            checks: Vec::new(),
            yields: Yields::default(),
            sni: None,
            limits: TlsLimits::default(),
            list_wait: Duration::ZERO,
            notes: Vec::new(),
            ground,
        }
    }

    fn with(self, checks: Vec<Check>) -> Self {
        Self { checks, ..self }
    }

    /// What remains where the source is not binding: its checks are made and written down.
    fn recorded(mut self) -> Self {
        self.floor = Floor::Plaintext;
        self.yields = Yields::default();
        self.limits = TlsLimits::default();
        for check in &mut self.checks {
            check.set_weight(Weight::Recorded);
        }
        self
    }
}

/// What the sources come to for one host: contributions, or the reason for which the host is
/// refused.
pub(crate) type Sources = Result<Vec<Contribution>, (Reason, Vec<Ground>)>;

/// Asks each source in turn.
pub(crate) fn ask(connector: &OutboundConnector, facts: &Facts<'_>) -> Sources {
    let view = View::new(connector, facts);
    let own = view.connector_itself();
    let ground = own.ground.clone();
    let refuse = |reason| Err((reason, vec![ground.clone()]));
    if let Some(reason) = view.scope.refusal() {
        return refuse(reason);
    }
    if view.sts_is_unknown() {
        return Err((Reason::StsLocalFault, vec![Ground::LookupFailed]));
    }
    let mut contributions = vec![own];
    match view.dane() {
        Ok(dane) => contributions.extend(dane),
        Err(reason) => return refuse(reason),
    }
    contributions.extend(view.sts()?);
    contributions.extend(view.message()?);
    contributions.extend(facts.demands.iter().map(|demand| view.demand(demand)));
    if facts.implicit_tls || view.is_implicit_smart_host() {
        // RFC 8314, section 3: there is no negotiation, hence nothing to fall back from.
        contributions.push(Contribution::new(
            Floor::Encrypted,
            Attempt::Implicit,
            Ground::ImplicitTls,
        ));
    }
    Ok(contributions)
}

/// The connector as a source.
pub(super) fn own_ground(connector: &OutboundConnector) -> Ground {
    Ground::Connector {
        name: Arc::clone(&connector.name),
        posture: connector.posture,
        require_tls: connector.require_tls,
    }
}

impl Facts<'_> {
    /// What others publish and the connector lets count: the TLSA records, and whether the MTA-STS
    /// policy does. `None` if nothing of it is reported.
    pub(crate) fn published(&self) -> Option<(&TlsaFact, bool)> {
        let Policy::Connector(connector) = self.policy else { return None };
        let view = View::new(connector, self);
        let reported = connector.posture != Posture::None
            && self.origin != HostOrigin::Literal
            && !view.optional;
        reported.then_some((
            if view.dane_counts { self.tlsa } else { &TlsaFact::NotAsked },
            view.sts_counts(),
        ))
    }

    /// The next hop as MTA-STS sees it: the recipient domain, or the smart host.
    pub(crate) fn policy_host(&self) -> &Host {
        match self.origin {
            HostOrigin::Mx | HostOrigin::Literal => self.next_hop,
            HostOrigin::SmartHost => self.host,
        }
    }
}

/// The facts as the connector lets them be seen.
struct View<'a> {
    connector: &'a OutboundConnector,
    facts: &'a Facts<'a>,
    scope: Scope<'a>,
    /// Whether DNSSEC led to the host, or a configuration that counts as much.
    mx_secure: bool,
    /// Whether the host's TLSA records count, if there are any.
    dane_counts: bool,
    /// The host's TLSA records, if they count.
    tlsa: Option<&'a TlsaSet>,
    /// `TLS-Required: No`: what others publish is only recorded.
    optional: bool,
}

impl<'a> View<'a> {
    fn new(connector: &'a OutboundConnector, facts: &'a Facts<'a>) -> Self {
        let scope = Scope::of(connector, facts);
        let dane_counts = scope.dane_counts(facts.host);
        let tlsa = match facts.tlsa {
            TlsaFact::Found(set) if dane_counts => Some(set),
            _ => None,
        };
        Self {
            connector,
            facts,
            scope,
            mx_secure: scope.mx_secure(),
            dane_counts,
            tlsa,
            optional: scope.is_optional(),
        }
    }

    fn usable_tlsa(&self) -> Option<&'a TlsaSet> {
        self.tlsa.filter(|set| !set.usable().is_empty())
    }

    /// Whether the host is the connector's own, configured with implicit TLS: the caller need not
    /// repeat it.
    fn is_implicit_smart_host(&self) -> bool {
        self.facts.origin == HostOrigin::SmartHost
            && self.connector.smart_host.as_ref().is_some_and(|smart_host| smart_host.implicit_tls)
    }

    fn connector_itself(&self) -> Contribution {
        let connector = self.connector;
        let posture = connector.posture;
        let (floor, weight) = match (connector.require_tls, posture.pkix()) {
            (false, Some(weight)) => (posture.floor(), weight),
            (true, Some(_)) => (Floor::Authenticated, Weight::Refuse),
            (false, None) => (posture.floor(), Weight::Refuse),
            (true, None) => (posture.floor().max(Floor::Encrypted), Weight::Refuse),
        };
        let attempt = if posture.tries_tls() { Attempt::StartTls } else { Attempt::Clear };
        let mut own = Contribution::new(floor, attempt, own_ground(connector))
            .with(self.own_check(weight).into_iter().collect());
        own.yields = connector.yields;
        own.limits = connector.tls.clone();
        own.list_wait = connector.list_wait.unwrap_or(DEFAULT_LIST_WAIT).min(MAX_LIST_WAIT);
        match (self.optional, connector.optional_tls) {
            (true, OptionalTls::Everything) => own.recorded(),
            (true, OptionalTls::Published) | (false, _) => own,
        }
    }

    /// The check that the connector's posture makes; none where it makes none, or leaves it to the
    /// TLSA records.
    fn own_check(&self, weight: Weight) -> Option<Check> {
        match self.connector.posture {
            Posture::None | Posture::Opportunistic | Posture::Encrypt | Posture::DaneOnly => None,
            Posture::Pinned => {
                let mut pins = self.connector.pins.clone();
                pins.sort_unstable();
                pins.dedup();
                Some(Check::Pinned { pins, weight })
            }
            Posture::Deterministic | Posture::Verified | Posture::Secure | Posture::PrivateCa => {
                Some(self.pkix(weight))
            }
        }
    }

    /// The PKIX check with the connector's roots and names.
    fn pkix(&self, weight: Weight) -> Check {
        let (connector, facts) = (self.connector, self.facts);
        let references = if !connector.names.is_empty() {
            let mut names = connector.names.clone();
            names.sort_unstable();
            names.dedup();
            names
        } else {
            match (connector.posture.subject(), facts.origin, facts.next_hop) {
                // A forged MX answer leads to a host of the forger's, with a good certificate: the
                // next hop counts.
                (Subject::NextHop, HostOrigin::Mx, Host::Name(next_hop)) => {
                    vec![Reference::Name(next_hop.clone()), Reference::Below(next_hop.clone())]
                }
                _ => vec![Reference::from(facts.host.clone())],
            }
        };
        Check::Pkix {
            roots: connector.roots.clone(),
            names: Names { references, cn: connector.cn },
            revocation: connector.revocation,
            weight,
        }
    }

    /// RFC 7672.
    fn dane(&self) -> Result<Option<Contribution>, Reason> {
        let only = self.scope.is_dane_only();
        let binding = only || !self.optional;
        if self.scope.dane_binds(self.facts.host) {
            // RFC 7672, section 2.1.2: never taken for absence.
            match self.facts.tlsa {
                TlsaFact::Failed => return Err(Reason::TlsaLookupFailed),
                TlsaFact::Local => return Err(Reason::LookupLocalFault),
                TlsaFact::NotAsked | TlsaFact::Absent | TlsaFact::Found(_) => {}
            }
        }
        let Some(set) = self.tlsa else {
            return if only { Err(Reason::DaneRequired) } else { Ok(None) };
        };
        let base = set.base().clone();
        if set.usable().is_empty() {
            if only {
                return Err(Reason::TlsaUnusable);
            }
            // RFC 7672, section 2.2: a promise of TLS, which does not say how to know the peer.
            let ground = Ground::TlsaUnusable { base };
            let mut promise = Contribution::new(Floor::Encrypted, Attempt::StartTls, ground);
            promise.notes = vec![Reason::TlsaUnusable];
            return Ok(Some(self.published(promise, binding)));
        }
        let ground = Ground::Dane { base: base.clone(), mx_secure: self.mx_secure };
        let check = Check::Dane {
            records: set.usable().to_vec(),
            names: Names { references: self.dane_names(&base), cn: CnFallback::IfNoDnsSan },
            weight: Weight::Refuse,
        };
        let mut dane =
            Contribution::new(Floor::Authenticated, Attempt::StartTls, ground).with(vec![check]);
        // RFC 7672, section 8.1: the base domain, whatever the name of the host.
        dane.sni = Some(base);
        Ok(Some(self.published(dane, binding)))
    }

    /// RFC 7672, section 3.2.2.
    fn dane_names(&self, base: &Domain) -> Vec<Reference> {
        let mut names = vec![base];
        match self.facts.origin {
            HostOrigin::Mx if self.mx_secure => {
                names.extend(self.facts.next_hop.domain());
                names.extend(self.facts.expanded_next_hop);
            }
            // "When the client MTA is employing DANE TLS security despite insecure MX redirection,
            // the MX hostname is the only reference identifier."
            HostOrigin::Mx | HostOrigin::Literal => {}
            // The original next hop, where the base domain is its expansion.
            HostOrigin::SmartHost => names.extend(self.facts.host.domain()),
        }
        names.sort_unstable();
        names.dedup();
        names.into_iter().cloned().map(Reference::Name).collect()
    }

    fn sts_counts(&self) -> bool {
        self.scope.sts_counts(self.facts.policy_host())
    }

    /// The mode of the MTA-STS policy that applies, and whether the policy lists the host. An
    /// address in place of an MX host's name matches no pattern (RFC 8461, section 4.1).
    fn sts_policy(&self) -> Option<(Mode, bool)> {
        let policy = self.facts.sts.policy.as_ref()?.policy();
        let lists = || self.facts.host.domain().is_some_and(|host| policy.permits(host));
        (policy.mode() != Mode::None).then(|| (policy.mode(), lists()))
    }

    /// The usable TLSA records that may replace MTA-STS: a forger of the MX records could bring its
    /// own.
    fn secure_tlsa(&self) -> Option<&TlsaSet> {
        self.usable_tlsa().filter(|_| self.mx_secure)
    }

    fn dane_replaces_sts(&self) -> bool {
        self.connector.sts == StsRule::UnlessDane && self.secure_tlsa().is_some()
    }

    /// Whether this side failed to find out if a policy binds. That holds for the whole domain.
    fn sts_is_unknown(&self) -> bool {
        let failed = self.facts.sts.trouble.as_ref().map(Trouble::reason);
        failed == Some(Reason::StsLocalFault)
            && self.sts_policy().is_none()
            && self.sts_counts()
            && !self.optional
            && !self.dane_replaces_sts()
    }

    /// RFC 8461, section 5.
    fn sts(&self) -> Result<Option<Contribution>, (Reason, Vec<Ground>)> {
        if !self.sts_counts() {
            return Ok(None);
        }
        let (enforce, mx_matches) = match self.sts_policy() {
            None => (false, None),
            Some((mode, mx_matches)) => (mode == Mode::Enforce, Some(mx_matches)),
        };
        let (by_dane, instead) = (self.secure_tlsa(), self.dane_replaces_sts());
        let binding = enforce && !self.optional && !instead;
        let ground = Ground::Sts { enforce };
        if binding && mx_matches == Some(false) {
            return Err((Reason::StsMxMismatch, vec![ground]));
        }
        // The host shows the certificate for the base domain, which may not carry the MX name; the
        // policy's list holds all the same.
        let shows_another_name =
            by_dane.is_some_and(|set| Some(set.base()) != self.facts.host.domain());
        let binding = binding && !shows_another_name;
        let mut sts = Contribution::new(Floor::Authenticated, Attempt::StartTls, ground);
        if let (Some(_), Some(host)) = (mx_matches, self.facts.host.domain()) {
            sts.checks.push(Check::Pkix {
                roots: RootsId::public(),
                // RFC 8461, section 4.1: a DNS-ID that is the MX host's name, not the policy's
                // pattern; never the Common Name.
                names: Names {
                    references: vec![Reference::Name(host.clone())],
                    cn: CnFallback::Never,
                },
                revocation: self.connector.revocation,
                weight: Weight::Refuse,
            });
        }
        sts.notes.extend(self.facts.sts.trouble.as_ref().map(Trouble::reason));
        sts.notes.extend((mx_matches == Some(false)).then_some(Reason::StsMxMismatch));
        match (mx_matches, sts.notes.is_empty()) {
            (None, true) => Ok(None),
            _ => Ok(Some(self.published(sts, binding))),
        }
    }

    /// What others publish: in force, or only recorded. Under `TLS-Required: No` it is not reported
    /// either.
    fn published(&self, mut contribution: Contribution, binding: bool) -> Contribution {
        if self.optional {
            contribution.notes.clear();
        }
        if binding { contribution } else { contribution.recorded() }
    }

    /// RFC 8689.
    fn message(&self) -> Result<Option<Contribution>, (Reason, Vec<Ground>)> {
        let wish = |floor, attempt, ground| Contribution::new(floor, attempt, ground);
        match self.facts.message {
            MessageTls::Default => Ok(None),
            MessageTls::Optional => {
                Ok(Some(wish(Floor::Plaintext, Attempt::Clear, Ground::TlsOptional)))
            }
            MessageTls::RequiredOfBounce => {
                Ok(Some(wish(Floor::Plaintext, Attempt::Clear, Ground::Requiretls)))
            }
            MessageTls::Required => {
                let sts_vouches = self.connector.sts != StsRule::Off
                    && self.sts_policy().is_some_and(|(_, mx_matches)| mx_matches);
                // RFC 8689, section 4.2.1, 2.
                if self.facts.origin == HostOrigin::Mx && !self.mx_secure && !sts_vouches {
                    return Err((Reason::RequiretlsMxInsecure, vec![Ground::Requiretls]));
                }
                let mut required =
                    wish(Floor::Authenticated, Attempt::StartTls, Ground::Requiretls);
                // RFC 8689, section 4.2.1, 4: by RFC 7672 where that applies, else a DNS-ID or
                // CN-ID that is the host's name.
                if self.usable_tlsa().is_none() {
                    required.checks.push(Check::Pkix {
                        roots: self.connector.roots.clone(),
                        names: Names {
                            references: vec![Reference::from(self.facts.host.clone())],
                            cn: CnFallback::IfNoDnsSan,
                        },
                        revocation: self.connector.revocation,
                        weight: Weight::Refuse,
                    });
                }
                Ok(Some(required))
            }
        }
    }

    fn demand(&self, demand: &Demand) -> Contribution {
        let ground = Ground::Demand { by: Arc::clone(&demand.by), floor: demand.floor };
        let attempt = match demand.floor {
            Floor::Plaintext => Attempt::Clear,
            Floor::Encrypted | Floor::Authenticated => Attempt::StartTls,
        };
        let check = match (demand.floor, self.connector.posture) {
            (Floor::Plaintext | Floor::Encrypted, _) => None,
            // Its own check is that of the TLSA records, without which nothing is dialled.
            (Floor::Authenticated, Posture::DaneOnly) if self.scope.is_dane_only() => None,
            (Floor::Authenticated, _) => {
                Some(self.own_check(Weight::Refuse).unwrap_or_else(|| self.pkix(Weight::Refuse)))
            }
        };
        Contribution::new(demand.floor, attempt, ground).with(check.into_iter().collect())
    }
}
