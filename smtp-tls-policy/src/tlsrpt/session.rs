//! What one connection contributes to the reports (RFC 8460, section 4).

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::{Domain, Host};
use crate::judge::verdict::{Standing, Verdict};
use crate::pki::defect::Defect;
use crate::pki::names::{CnFallback, Reference};
use crate::pki::roots::RootsId;
use crate::pki::tlsa::TlsaRecord;
use crate::plan::Plan;
use crate::plan::check::Check;
use crate::plan::facts::{Facts, HostOrigin, TlsaFact};
use crate::reason::Reason;
use crate::rules::posture::Weight;
use crate::sts::{Mode, PolicyText, Trouble};

/// A policy that was applied to a connection (RFC 8460, section 4.4). Its domain is the one that
/// the report is for. Clones share what the domain published, which may be long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AppliedPolicy {
    /// `tlsa`
    Tlsa {
        /// The TLSA base domain; the host where none was found, the next hop where not even the
        /// host is known.
        domain: Domain,
        /// The records as published; none where they could not be had.
        records: Arc<[TlsaRecord]>,
    },
    /// `sts`
    Sts {
        /// The next hop.
        domain: Domain,
        /// The policy; none where it could not be had.
        policy: Option<PolicyText>,
    },
    /// `no-policy-found`
    NotFound {
        /// The next hop.
        domain: Domain,
    },
}

impl AppliedPolicy {
    /// The policy domain.
    pub fn domain(&self) -> &Domain {
        match self {
            Self::Tlsa { domain, .. } | Self::Sts { domain, .. } | Self::NotFound { domain } => {
                domain
            }
        }
    }

    /// `policy-type`
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tlsa { .. } => "tlsa",
            Self::Sts { .. } => "sts",
            Self::NotFound { .. } => "no-policy-found",
        }
    }

    /// `policy-string`
    pub fn strings(&self) -> Vec<String> {
        match self {
            Self::Tlsa { records, .. } => records.iter().map(ToString::to_string).collect(),
            Self::Sts { policy: Some(policy), .. } => {
                // RFC 8460, section 4.5.
                let mut lines =
                    vec!["version: STSv1".to_owned(), format!("mode: {}", policy.mode())];
                lines.extend(policy.mx().map(|pattern| format!("mx: {pattern}")));
                lines.push(format!("max_age: {}", policy.max_age().as_secs()));
                lines
            }
            Self::Sts { policy: None, .. } | Self::NotFound { .. } => Vec::new(),
        }
    }

    /// `mx-host`: only a policy of MTA-STS has patterns of its own.
    pub fn mx(&self) -> impl Iterator<Item = &str> {
        let policy = match self {
            Self::Sts { policy, .. } => policy.as_ref(),
            Self::Tlsa { .. } | Self::NotFound { .. } => None,
        };
        policy.into_iter().flat_map(PolicyText::mx)
    }

    /// Octets of what the domain published.
    pub(super) fn published_len(&self) -> usize {
        match self {
            Self::Tlsa { records, .. } => records.iter().map(|record| record.data.len()).sum(),
            Self::Sts { policy, .. } => policy.as_ref().map_or(0, PolicyText::mx_len),
            Self::NotFound { .. } => 0,
        }
    }
}

/// What one connection, or a host that was not dialled, came to under one policy: one final status,
/// and what failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportedSession {
    /// The policy.
    pub policy: AppliedPolicy,
    /// `receiving-mx-hostname`; none where no host is known.
    pub mx: Option<Host>,
    /// `sending-mta-ip`; none if no connection was tried.
    pub sending: Option<IpAddr>,
    /// `receiving-ip`; none if no connection was tried.
    pub receiving: Option<IpAddr>,
    /// Whether TLS was negotiated as the policy wants it.
    pub succeeded: bool,
    /// What failed; at least one thing where the session did not succeed, and not necessarily the
    /// session (RFC 8460, section 4: "failure types are non-exclusive"). In a report
    /// [`Reason::result_type`] is the `result-type`, [`Reason::code`] the `failure-reason-code`.
    pub failures: Vec<Reason>,
}

/// Makes the sessions with one host. Empty where nothing is reported: posture `none`, address
/// literals, and messages with `TLS-Required: No`, whose sender has asked for no policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporting {
    mx: Option<Host>,
    next_hop: Option<Domain>,
    applied: Vec<Applied>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Applied {
    policy: AppliedPolicy,
    /// An MTA-STS policy in mode enforce.
    enforce: bool,
    /// What failed before anybody was dialled.
    failures: Vec<Reason>,
}

/// How far a connection came.
#[derive(Clone, Copy)]
enum Outcome<'a> {
    /// TLS is up, and this was the judgement.
    Tls(&'a Verdict),
    /// There is no TLS, for this reason; with the judgement, where the certificate is the reason.
    NoTls(Reason, Option<&'a Verdict>),
}

impl Reporting {
    /// The policies for the host of these facts.
    pub fn of(facts: &Facts<'_>) -> Self {
        let next_hop = match facts.origin {
            HostOrigin::SmartHost => facts.host.domain(),
            HostOrigin::Mx | HostOrigin::Literal => facts.next_hop.domain(),
        };
        let (Some(next_hop), Some((tlsa, sts_counts))) = (next_hop, facts.published()) else {
            return Self::default();
        };
        let mut applied = Vec::new();
        if let TlsaFact::Found(set) = tlsa {
            let unusable = failure(Reason::TlsaUnusable).filter(|_| set.usable().is_empty());
            applied.push(Applied {
                policy: AppliedPolicy::Tlsa {
                    domain: set.base().clone(),
                    records: Arc::clone(set.shared_records()),
                },
                enforce: false,
                failures: unusable.into_iter().collect(),
            });
        }
        let policy = facts.sts.policy.as_ref().map(|cached| cached.policy());
        let trouble = facts.sts.trouble.as_ref().map(Trouble::reason);
        let failures: Vec<_> = trouble.and_then(failure).into_iter().collect();
        if sts_counts && (policy.is_some() || !failures.is_empty()) {
            let enforce = policy.is_some_and(|policy| policy.mode() == Mode::Enforce);
            applied.push(Applied {
                policy: AppliedPolicy::Sts {
                    domain: next_hop.clone(),
                    policy: policy.map(PolicyText::without_defect),
                },
                enforce,
                failures,
            });
        }
        if applied.is_empty() {
            let policy = AppliedPolicy::NotFound { domain: next_hop.clone() };
            applied.push(Applied { policy, enforce: false, failures: Vec::new() });
        }
        // Without MX records the host of the report is not known.
        let knows_host = facts.origin == HostOrigin::SmartHost || !facts.mx.is_failure();
        Self {
            mx: knows_host.then(|| facts.host.clone()),
            next_hop: Some(next_hop.clone()),
            applied,
        }
    }

    /// A connection under this plan that has TLS, with the judgement: one session for each policy
    /// of which it says something.
    pub fn tls(
        &self,
        plan: &Plan,
        verdict: &Verdict,
        sending: Option<IpAddr>,
        receiving: IpAddr,
    ) -> Vec<ReportedSession> {
        self.sessions(plan, Outcome::Tls(verdict), sending, receiving)
    }

    /// A connection under this plan that has no TLS, for this reason; with the judgement where the
    /// certificate is the reason. One session for each policy of which it says something.
    pub fn no_tls(
        &self,
        plan: &Plan,
        reason: Reason,
        verdict: Option<&Verdict>,
        sending: Option<IpAddr>,
        receiving: IpAddr,
    ) -> Vec<ReportedSession> {
        self.sessions(plan, Outcome::NoTls(reason, verdict), sending, receiving)
    }

    fn sessions(
        &self,
        plan: &Plan,
        outcome: Outcome<'_>,
        sending: Option<IpAddr>,
        receiving: IpAddr,
    ) -> Vec<ReportedSession> {
        let sessions = self.applied.iter().filter_map(|applied| {
            let (succeeded, failures) = match self.found(applied, plan, outcome)? {
                Ok(()) => (true, applied.failures.clone()),
                Err(failure) => {
                    (false, applied.failures.iter().copied().chain([failure]).collect())
                }
            };
            let (policy, mx) = (applied.policy.clone(), self.mx.clone());
            Some(ReportedSession {
                policy,
                mx,
                sending,
                receiving: Some(receiving),
                succeeded,
                failures,
            })
        });
        sessions.collect()
    }

    /// A host, or a whole domain, that was not dialled for this reason.
    pub fn refusal(&self, reason: Reason) -> Option<ReportedSession> {
        let (failure, next_hop) = (failure(reason)?, self.next_hop.as_ref()?);
        let mut policies = self.applied.iter().map(|applied| &applied.policy);
        let policy = match reason {
            Reason::StsMxMismatch => {
                policies.find(|policy| matches!(policy, AppliedPolicy::Sts { .. }))
            }
            // RFC 8460, section 4.3.2.1: all others are about TLSA records.
            _ => policies.find(|policy| matches!(policy, AppliedPolicy::Tlsa { .. })),
        };
        let policy = policy.cloned().unwrap_or_else(|| AppliedPolicy::Tlsa {
            domain: self.mx.as_ref().and_then(Host::domain).unwrap_or(next_hop).clone(),
            records: Arc::new([]),
        });
        let (mx, failures) = (self.mx.clone(), vec![failure]);
        Some(ReportedSession {
            policy,
            mx,
            sending: None,
            receiving: None,
            succeeded: false,
            failures,
        })
    }

    /// The final status under one policy; none where the connection says nothing about it.
    fn found(
        &self,
        applied: &Applied,
        plan: &Plan,
        outcome: Outcome<'_>,
    ) -> Option<Result<(), Reason>> {
        let (reason, verdict) = match outcome {
            Outcome::Tls(verdict) => (None, verdict),
            Outcome::NoTls(reason, Some(verdict)) => (Some(reason), verdict),
            Outcome::NoTls(reason, None) => return failure(reason).map(Err),
        };
        let of = |asks: &dyn Fn(&Check) -> bool| {
            let mut pairs = plan.checks().iter().zip(verdict.findings());
            pairs
                .find(|(check, _)| asks(check))
                .map(|(check, finding)| (check.weight(), &finding.result))
        };
        let result = match &applied.policy {
            AppliedPolicy::Tlsa { .. } => of(&|check| matches!(check, Check::Dane { .. })),
            AppliedPolicy::Sts { .. } if plan.notes().contains(&Reason::StsMxMismatch) => {
                return failure(Reason::StsMxMismatch).map(Err);
            }
            // If DANE replaces it, the certificate need not be the one that the policy
            // wants (RFC 8461, section 2).
            AppliedPolicy::Sts { .. } => of(&|check| self.is_of_sts(check))
                .filter(|(weight, _)| !applied.enforce || *weight != Weight::Recorded),
            AppliedPolicy::NotFound { .. } => None,
        };
        match (result, reason) {
            (Some((_, Err(defect))), _) => failure(Defect::reason(defect)).map(Err),
            (Some((_, Ok(()))) | None, None) => Some(Ok(())),
            // Another source has refused a certificate that is good enough for this policy.
            (Some((_, Ok(()))), Some(_)) => None,
            // The administrator's own rule. One that lets the message go on in clear text is no
            // failure.
            (None, Some(reason)) => match applied.policy {
                AppliedPolicy::NotFound { .. } if verdict.standing() == Standing::Refused => {
                    failure(reason).map(Err)
                }
                AppliedPolicy::NotFound { .. }
                | AppliedPolicy::Tlsa { .. }
                | AppliedPolicy::Sts { .. } => None,
            },
        }
    }

    /// RFC 8461, section 4.2: a chain to a public root, and the host's name as a DNS-ID.
    fn is_of_sts(&self, check: &Check) -> bool {
        let Check::Pkix { roots, names, .. } = check else { return false };
        let is_host = |reference: &Reference| {
            let host = self.mx.as_ref().and_then(Host::domain);
            matches!(reference, Reference::Name(name) if Some(name) == host)
        };
        *roots == RootsId::public()
            && names.cn == CnFallback::Never
            && matches!(&names.references[..], [reference] if is_host(reference))
    }
}

/// The reason, if reports have a result type for it.
pub(super) fn failure(reason: Reason) -> Option<Reason> {
    reason.result_type().map(|_| reason)
}
