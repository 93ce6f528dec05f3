//! The rules as a flat list: each says when it speaks and what it asks, and none knows of another.
//! A peer must satisfy all that is asked. Written from the RFCs and the rules of the policy, not
//! from the crate.

use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::CnFallback;
use smtp_tls_policy::plan::{DnsStatus, MessageTls};
use smtp_tls_policy::rules::{DaneRule, Floor, OptionalTls, Posture, StsRule, Yield, Yields};
use smtp_tls_policy::sts::Trouble as StsTrouble;

use crate::common::sts::{self, StsPolicy};

/// The posture's knobs and what is known before dialling, in the words of the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) policy_known: bool,
    pub(crate) posture: Posture,
    pub(crate) require_tls: bool,
    /// The connector names the certificate names it expects.
    pub(crate) names: bool,
    pub(crate) cn: CnFallback,
    pub(crate) yields: Yields,
    pub(crate) dane: DaneRule,
    pub(crate) sts_rule: StsRule,
    pub(crate) optional_tls: OptionalTls,
    pub(crate) origin: Origin,
    pub(crate) mx: DnsStatus,
    pub(crate) tlsa: Records,
    /// The TLSA records were found at the expanded name of the host.
    pub(crate) alias: bool,
    /// The recipient domain is an alias.
    pub(crate) expanded: bool,
    pub(crate) sts: StsPolicy,
    pub(crate) failure: Option<StsTrouble>,
    pub(crate) message: MessageTls,
    pub(crate) implicit: bool,
    pub(crate) demand: Option<Floor>,
    pub(crate) broken: bool,
}

/// How the host was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Mx,
    /// No MX records: the domain is its own host.
    ImplicitMx,
    /// MX records that list an address.
    MxAddress,
    Smart,
    SecureSmart,
    ImplicitTlsSmart,
    Literal,
}

/// What the TLSA RRset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    Absent,
    Ee,
    Ta,
    Both,
    Unusable,
    Failed,
}

/// Something that a certificate proves or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// A chain to a root, and a name.
    Chain { private: bool, name: Whose, cn: CnFallback },
    /// One of the TLSA records, with these names for DANE-TA.
    Tlsa { ee: bool, ta: bool, names: TaNames },
    /// One of the pins.
    Pin,
}

/// The name that a chain is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Host,
    /// The next hop or what is below it.
    NextHop,
    /// What the connector says.
    Given,
}

/// The reference identifiers of DANE-TA(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaNames {
    /// The host that the records are about, by its own name.
    pub(crate) host: bool,
    /// Its expanded name.
    pub(crate) alias: bool,
    pub(crate) next_hop: bool,
    pub(crate) expanded: bool,
}

/// What a rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// No host of the domain is dialled.
    Stop(Reason),
    /// This host is not dialled.
    Skip(Reason),
    /// No clear text.
    Tls,
    /// No mail without this.
    Prove(Proof),
    /// Without this it does not count as TLS.
    Count(Proof),
    /// This is looked at and written down.
    Note(Proof),
    /// This is reported.
    Report(Reason),
}

impl Case {
    /// RFC 8689, section 4.2.2.
    fn tls_is_optional(&self) -> bool {
        self.message == MessageTls::Optional
    }

    /// The administrator lets senders take back what the administrator asked.
    fn local_is_capped(&self) -> bool {
        self.tls_is_optional() && self.optional_tls == OptionalTls::Everything
    }

    fn requires(&self) -> bool {
        self.message == MessageTls::Required
    }

    fn is_from_mx(&self) -> bool {
        matches!(self.origin, Origin::Mx | Origin::ImplicitMx | Origin::MxAddress)
    }

    fn is_smart(&self) -> bool {
        matches!(self.origin, Origin::Smart | Origin::SecureSmart | Origin::ImplicitTlsSmart)
    }

    pub(crate) fn host_is_address(&self) -> bool {
        matches!(self.origin, Origin::MxAddress | Origin::Literal)
    }

    /// No forger could have named another host.
    fn found_securely(&self) -> bool {
        match self.is_from_mx() {
            true => self.mx == DnsStatus::Secure,
            false => self.origin == Origin::SecureSmart,
        }
    }

    /// RFC 7672, section 2.2: "DANE TLS does not apply" to addresses. P3: the knob for insecure MX
    /// records.
    fn dane_speaks(&self) -> bool {
        self.posture != Posture::None
            && !self.host_is_address()
            && match self.dane {
                DaneRule::Off => false,
                DaneRule::SecureMx => self.found_securely(),
                DaneRule::AnyMx => true,
            }
    }

    fn dane_is_mandatory(&self) -> bool {
        self.posture == Posture::DaneOnly && !self.local_is_capped()
    }

    /// P16: what the recipient publishes is only recorded, and what the administrator asks for
    /// stays.
    fn dane_counts(&self) -> bool {
        self.dane_speaks() && (!self.tls_is_optional() || self.dane_is_mandatory())
    }

    fn usable(&self) -> bool {
        matches!(self.tlsa, Records::Ee | Records::Ta | Records::Both)
    }

    pub(crate) fn by_tlsa(&self) -> Proof {
        // RFC 7672, section 3.2.2: the base domain always.
        let own_name =
            TaNames { host: !self.alias, alias: self.alias, next_hop: false, expanded: false };
        let names = match (self.is_from_mx(), self.mx == DnsStatus::Secure) {
            (true, true) => TaNames { next_hop: true, expanded: self.expanded, ..own_name },
            (true, false) => own_name,
            // "TLSA records for non-MX hostnames": the original name as well.
            (false, _) => TaNames { host: true, ..own_name },
        };
        Proof::Tlsa { ee: self.tlsa != Records::Ta, ta: self.tlsa != Records::Ee, names }
    }

    /// DNSSEC names the host and its key.
    fn dane_vouches(&self) -> bool {
        self.dane_counts() && self.usable() && self.found_securely()
    }

    fn sts_speaks(&self) -> bool {
        self.posture != Posture::None
            && self.sts_rule != StsRule::Off
            && self.origin != Origin::Literal
    }

    fn sts_counts(&self) -> bool {
        self.sts_speaks() && !self.tls_is_optional()
    }

    /// RFC 8461, section 4.1: patterns are names, and no address is one.
    fn sts_lists_host(&self) -> bool {
        !self.host_is_address()
            && matches!(
                self.sts,
                StsPolicy::Enforce { mx_matches: true } | StsPolicy::Testing { mx_matches: true }
            )
    }

    /// RFC 8461, section 4.1: public roots, DNS-ID.
    fn by_sts(&self) -> Proof {
        Proof::Chain { private: false, name: Whose::Host, cn: CnFallback::Never }
    }

    fn chain(&self, name: Whose) -> Proof {
        Proof::Chain { private: self.posture == Posture::PrivateCa, name, cn: self.cn }
    }

    /// The certificate check of the posture, if it has one.
    fn own_chain(&self) -> Option<Proof> {
        let name = match self.posture {
            Posture::Deterministic | Posture::Verified | Posture::PrivateCa => Whose::Host,
            // The next hop of a smart host or of a literal is the host.
            Posture::Secure if self.is_smart() || self.origin == Origin::Literal => Whose::Host,
            Posture::Secure => Whose::NextHop,
            _ => return None,
        };
        Some(self.chain(if self.names { Whose::Given } else { name }))
    }
}

/// A rule: its name in the table, and what it asks of a case.
pub(crate) type Rule = (&'static str, fn(&Case, &mut Vec<Ask>));

pub(crate) const RULES: &[Rule] = &[
    ("P2", |case, asks| {
        let lost =
            matches!(case.mx, DnsStatus::Bogus | DnsStatus::Indeterminate | DnsStatus::Failed);
        if case.is_from_mx() && lost {
            asks.push(Ask::Stop(Reason::MxLookupFailed));
        }
    }),
    // A fault of this side is no answer of the peer's.
    ("P0", |case, asks| {
        if case.is_from_mx() && case.mx == DnsStatus::Local {
            asks.push(Ask::Stop(Reason::LookupLocalFault));
        }
    }),
    // RFC 7672, section 2.2.1: "insecure" MX records and mandatory DANE: "delivery MUST be
    // delayed".
    ("P3, dane-only", |case, asks| {
        if case.dane_is_mandatory() && !case.found_securely() && case.origin != Origin::Literal {
            asks.push(Ask::Stop(Reason::MxInsecure));
        }
    }),
    // RFC 7672, section 2.1.2.
    ("P8", |case, asks| {
        if case.dane_counts() && case.tlsa == Records::Failed {
            asks.push(Ask::Skip(Reason::TlsaLookupFailed));
        }
    }),
    // RFC 7672, section 2.2, "unusable".
    ("P9", |case, asks| {
        if case.dane_counts() && case.tlsa == Records::Unusable {
            asks.extend([Ask::Tls, Ask::Report(Reason::TlsaUnusable)]);
            if case.dane_is_mandatory() {
                asks.push(Ask::Skip(Reason::TlsaUnusable));
            }
        }
    }),
    // RFC 7672, section 6.
    ("P10, dane-only", |case, asks| {
        if case.dane_is_mandatory() && (!case.dane_speaks() || case.tlsa == Records::Absent) {
            asks.push(Ask::Skip(Reason::DaneRequired));
        }
    }),
    // RFC 7672, section 2.2, "usable".
    ("P3, P7, P11", |case, asks| {
        if case.dane_counts() && case.usable() {
            asks.push(Ask::Prove(case.by_tlsa()));
        }
    }),
    ("P16, DANE", |case, asks| {
        if case.dane_speaks() && !case.dane_counts() && case.usable() {
            asks.push(Ask::Note(case.by_tlsa()));
        }
    }),
    // RFC 8461, section 5: neither a host that is not listed, nor one without the certificate.
    ("P14", |case, asks| {
        let instead = case.dane_vouches() && case.sts_rule == StsRule::UnlessDane;
        if case.sts_counts() && !case.sts_lists_host() {
            match case.sts {
                StsPolicy::None => {}
                StsPolicy::Enforce { .. } if !instead => {
                    asks.push(Ask::Skip(Reason::StsMxMismatch))
                }
                StsPolicy::Enforce { .. } | StsPolicy::Testing { .. } => {
                    asks.push(Ask::Report(Reason::StsMxMismatch));
                }
            }
        }
    }),
    // DANE replaces MTA-STS if one server name cannot satisfy both, or if the administrator says
    // so.
    ("P11, P15, P16", |case, asks| {
        let stands_in = case.dane_vouches() && (case.alias || case.sts_rule == StsRule::UnlessDane);
        let binding = !case.tls_is_optional() && !stands_in;
        if case.sts_speaks() && !case.host_is_address() {
            match case.sts {
                StsPolicy::None => {}
                StsPolicy::Enforce { .. } if binding => asks.push(Ask::Prove(case.by_sts())),
                StsPolicy::Enforce { .. } | StsPolicy::Testing { .. } => {
                    asks.push(Ask::Note(case.by_sts()))
                }
            }
        }
    }),
    ("P12, P13", |case, asks| {
        let instead = case.dane_vouches() && case.sts_rule == StsRule::UnlessDane;
        if let (Some(failure), true) = (case.failure, case.sts_counts()) {
            let is_unknown = failure == sts::LOCAL && case.sts == StsPolicy::None;
            asks.push(match is_unknown && !instead && !case.tls_is_optional() {
                true => Ask::Stop(failure.reason()),
                false => Ask::Report(failure.reason()),
            });
        }
    }),
    // RFC 8689, section 4.2.1, step 2.
    ("P17, the host", |case, asks| {
        let vouched = case.mx == DnsStatus::Secure
            || (case.sts_rule != StsRule::Off && case.sts_lists_host());
        if case.requires() && case.is_from_mx() && !vouched {
            asks.push(Ask::Skip(Reason::RequiretlsMxInsecure));
        }
    }),
    // Step 4: "as specified in RFC 6125 or RFC 7672, as applicable", by DNS-ID or CN-ID.
    ("P17, the certificate", |case, asks| {
        if case.requires() && !(case.dane_counts() && case.usable()) {
            let private = case.posture == Posture::PrivateCa;
            asks.push(Ask::Prove(Proof::Chain {
                private,
                name: Whose::Host,
                cn: CnFallback::IfNoDnsSan,
            }));
        }
    }),
    ("posture", |case, asks| {
        let floor = match case.posture {
            _ if case.local_is_capped() => Floor::Plaintext,
            Posture::None | Posture::Opportunistic => Floor::Plaintext,
            Posture::Deterministic if !case.require_tls => Floor::Plaintext,
            Posture::Encrypt => Floor::Encrypted,
            _ => Floor::Authenticated,
        };
        let own = match case.posture {
            Posture::Pinned => Some(Proof::Pin),
            _ => case.own_chain(),
        };
        asks.extend(own.map(|own| match floor {
            Floor::Authenticated => Ask::Prove(own),
            // "TLS-Required: No": TLS with any peer before clear text.
            _ if case.local_is_capped() => Ask::Note(own),
            _ => Ask::Count(own),
        }));
        if floor == Floor::Encrypted {
            asks.push(Ask::Tls);
        }
    }),
    ("a connector that requires TLS", |case, asks| {
        if case.require_tls && !case.local_is_capped() {
            asks.push(Ask::Tls);
        }
    }),
    // RFC 8314: there is no fallback from it.
    ("implicit TLS", |case, asks| {
        if case.implicit || case.origin == Origin::ImplicitTlsSmart {
            asks.push(Ask::Tls);
        }
    }),
    ("a further demand", |case, asks| match case.demand {
        None | Some(Floor::Plaintext) => {}
        Some(Floor::Encrypted) => asks.push(Ask::Tls),
        Some(Floor::Authenticated) => asks.push(Ask::Prove(match case.posture {
            Posture::Pinned => Proof::Pin,
            Posture::DaneOnly if case.dane_counts() && case.usable() => case.by_tlsa(),
            _ => case.own_chain().unwrap_or(case.chain(Whose::Host)),
        })),
    }),
];

/// All that is asked.
pub(crate) fn asks(case: &Case, into: &mut Vec<Ask>) {
    into.clear();
    if !case.policy_known {
        // P1: whatever else is known.
        into.push(Ask::Stop(Reason::PolicyUnavailable));
        return;
    }
    for (_, rule) in RULES {
        rule(case, into);
    }
}

/// What becomes of the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Clear,
    /// In clear text, on a later run of the queue.
    ClearLater,
    Encrypted,
    Authenticated,
    Refused,
}

/// What the peer does, other than show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    NoStarttls,
    RefusesForNow,
    Broken,
}

pub(crate) const TROUBLES: [Trouble; 3] =
    [Trouble::NoStarttls, Trouble::RefusesForNow, Trouble::Broken];

pub(crate) fn needs_tls(asks: &[Ask]) -> bool {
    asks.iter().any(|ask| matches!(ask, Ask::Tls | Ask::Prove(_)))
}

/// TLS is not tried. Memory takes a host to clear text at once, which a knob may forbid.
pub(crate) fn is_silent(case: &Case, asks: &[Ask]) -> bool {
    let remembered = case.broken && yields(case).broken == Yield::Now;
    !needs_tls(asks) && (case.posture == Posture::None || remembered)
}

/// The administrator's fallback rules are among what `TLS-Required: No` takes back where it takes
/// back everything.
fn yields(case: &Case) -> Yields {
    if case.local_is_capped() { Yields::default() } else { case.yields }
}

fn clear(rule: Yield) -> Outcome {
    match rule {
        Yield::Now => Outcome::Clear,
        Yield::Later => Outcome::ClearLater,
        Yield::Never => Outcome::Refused,
    }
}

/// The outcome with a peer that shows no certificate.
pub(crate) fn in_trouble(case: &Case, asks: &[Ask], trouble: Trouble) -> Outcome {
    if is_silent(case, asks) {
        return Outcome::Clear;
    }
    if needs_tls(asks) {
        return Outcome::Refused;
    }
    match trouble {
        Trouble::NoStarttls => Outcome::Clear,
        Trouble::RefusesForNow => clear(yields(case).refused),
        Trouble::Broken => clear(yields(case).broken),
    }
}

/// The outcome with a peer that shows a certificate, of which `proves` tells what it proves.
pub(crate) fn shown(case: &Case, asks: &[Ask], proves: impl Fn(Proof) -> bool) -> Outcome {
    if is_silent(case, asks) {
        return Outcome::Clear;
    }
    let mut known = false;
    let mut counts = true;
    for ask in asks {
        match *ask {
            Ask::Prove(proof) if !proves(proof) => return Outcome::Refused,
            Ask::Count(proof) if !proves(proof) => counts = false,
            Ask::Prove(_) | Ask::Count(_) => known = true,
            Ask::Note(proof) => known |= proves(proof),
            Ask::Stop(_) | Ask::Skip(_) | Ask::Tls | Ask::Report(_) => {}
        }
    }
    match (counts, known) {
        // Clear text is closed: what does not count as TLS is TLS all the same, unless the
        // administrator would rather defer than let it lead to clear text.
        (false, _) if !needs_tls(asks) || would_defer(case) => clear(yields(case).untrusted),
        (_, true) => Outcome::Authenticated,
        (_, false) => Outcome::Encrypted,
    }
}

/// A certificate that does not count as TLS leads to no mail.
pub(crate) fn would_defer(case: &Case) -> bool {
    yields(case).untrusted == Yield::Never
}
