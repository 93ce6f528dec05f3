//! Every reason under every posture: whose fault it is, and what becomes of the mail. Runs the
//! golden table `golden/faults.md` through the public API.

mod common;

use std::sync::{Arc, LazyLock};

use common::sts::StsPolicy;
use common::*;
use pki_types::CertificateDer;
use smtp_tls_policy::inquiry::{Answer, Ask, DnsAnswer, DomainInquiry, HostInquiry, NotDialled};
use smtp_tls_policy::judge::{ShownTls, Standing, admit};
use smtp_tls_policy::pki::{
    CnFallback, LiveTrust, Pin, Reference, Revocation, RootsId, TlsaRecord, TlsaSet, Trust,
};
use smtp_tls_policy::plan::{
    Attempt, DnsStatus, Facts, HopEnding, HostOrigin, MessageTls, Plan, TlsaFact, explain, plan,
};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, ConnectorErrorKind, Floor, IdentityId, InboundConnector,
    OutboundConnector, OutboundConnectors, Posture, TlsLimits, Yield, Yields,
};
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::tls::{ClientTls, TlsConfigError, is_local_fault};
use smtp_tls_policy::{Fault, Host, Namespace, Reason, pki_types};

const NAME: &str = "mx.example.net";

static ROOT: LazyLock<Authority> = LazyLock::new(|| Authority::new("Root"));
static GOOD: LazyLock<Leaf> = LazyLock::new(|| ROOT.issue(&leaf_params(&[NAME])));

/// What this side has, and what the peer shows.
struct World {
    trust: Trust,
    revocation: Revocation,
    chain: Vec<CertificateDer<'static>>,
}

fn roots(trust: &mut Trust) {
    for id in [RootsId::public(), RootsId::new("private")] {
        trust.add_root_der(&id, &ROOT.der).unwrap();
    }
}

impl World {
    fn new() -> Self {
        let mut trust = Trust::empty();
        roots(&mut trust);
        Self { trust, revocation: Revocation::IfConfigured, chain: vec![GOOD.der.clone()] }
    }

    fn list(&mut self, list: &[u8], revocation: Revocation) {
        for id in [RootsId::public(), RootsId::new("private")] {
            self.trust.add_crl_der(&id, list).unwrap();
        }
        self.revocation = revocation;
    }

    /// The situation of a row in which a handshake is judged; `None` for any other row.
    fn of(reason: Reason, given: &str) -> Option<Self> {
        let mut world = Self::new();
        let mut params = leaf_params(&[NAME]);
        let rule = match given {
            "revocation if-configured" => Revocation::IfConfigured,
            "revocation soft" => Revocation::Soft,
            _ => Revocation::Hard,
        };
        let stale = || ROOT.crl_dated(&[], days(-2), days(-1));
        match reason {
            Reason::TlsOk => return Some(world),
            // The good certificate is none of those that DNS or the connector list: see `facts`.
            Reason::DaneMismatch | Reason::PinMismatch => return Some(world),
            Reason::RootsMissing => world.trust = Trust::empty(),
            Reason::CrlExpired => world.list(&stale(), rule),
            Reason::CrlInvalid => world.list(&Authority::new("Root").crl(&[]), rule),
            Reason::RevocationUnknown => world.revocation = rule,
            Reason::AlgorithmMissing => world.trust = world.trust.with_algorithms(&[]),
            Reason::CertMissing => world.chain.clear(),
            Reason::CertUnknownIssuer => {
                world.chain = vec![Authority::new("Other").issue(&params).der]
            }
            Reason::CertSelfSigned => world.chain = vec![Authority::with(params.clone()).der],
            Reason::CertExpired => params.not_after = days(-1),
            Reason::CertNotYetValid => params.not_before = days(1),
            Reason::CertRevoked => {
                params.serial_number = Some(rcgen::SerialNumber::from_slice(&[13]));
                world.list(&ROOT.crl(&[13]), Revocation::IfConfigured);
            }
            Reason::CertNameMismatch => params = leaf_params(&["mx.example.org"]),
            Reason::CertMalformed => {
                world.chain = vec![CertificateDer::from(GOOD.der[..GOOD.der.len() - 1].to_vec())]
            }
            Reason::CertUnsupported => {
                let mut extension =
                    rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                params.custom_extensions.push(extension);
            }
            Reason::CertIsCa => world.chain = vec![ROOT.below("Below", |_| {}).der],
            Reason::CertWrongPurpose => {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection]
            }
            Reason::CertBadSignature => {
                world.chain = vec![Authority::new("Root").issue(&params).der]
            }
            Reason::CertConstraintViolated => {
                let below = ROOT.below("Below", |params| {
                    params.name_constraints = Some(rcgen::NameConstraints {
                        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName(
                            "a.example".into(),
                        )],
                        excluded_subtrees: vec![],
                    });
                });
                world.chain = vec![below.issue(&params).der, below.der];
            }
            Reason::CertTooCostly => world.chain = vec![GOOD.der.clone(); 1000],
            _ => return None,
        }
        if world.chain == [GOOD.der.clone()] && reason.fault() == Fault::Peer {
            world.chain = vec![ROOT.issue(&params).der];
        }
        Some(world)
    }
}

fn connector(name: &str, reason: Reason, revocation: Revocation) -> OutboundConnector {
    let (posture, require_tls) = match name.strip_suffix("+tls") {
        Some(posture) => (posture, true),
        None => (name, false),
    };
    let posture = Posture::parse(posture).unwrap();
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    connector.require_tls = require_tls;
    connector.revocation = revocation;
    if matches!(reason, Reason::TlsVersionNotAllowed | Reason::TlsGroupNotAllowed) {
        connector.tls = TlsLimits::post_quantum();
    }
    match posture {
        Posture::PrivateCa => connector.roots = RootsId::new("private"),
        Posture::Pinned if reason == Reason::PinMismatch => {
            connector.pins = vec![Pin::of_certificate(&ROOT.der)]
        }
        Posture::Pinned => connector.pins = vec![Pin::of_key(&GOOD.der).unwrap()],
        _ => {}
    }
    connector
}

/// The session that a connector with limits refuses for this reason.
fn shown(reason: Reason) -> ShownTls<'static> {
    match reason {
        Reason::TlsVersionNotAllowed => {
            ShownTls::new("TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Some("X25519"))
        }
        _ => ShownTls::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", Some("X25519")),
    }
}

fn tlsa(usage: u8, data: Vec<u8>) -> TlsaFact {
    let record = TlsaRecord { usage, selector: 0, matching: 0, data };
    let host = Host::parse(NAME).unwrap();
    TlsaFact::Found(TlsaSet::new(host.domain().unwrap().clone(), &[record]))
}

/// What becomes of the mail of one posture.
fn outcome(reason: Reason, given: &str, posture: &str) -> String {
    let world = World::of(reason, given);
    let revocation = world.as_ref().map_or(Revocation::IfConfigured, |world| world.revocation);
    let connector = connector(posture, reason, revocation);
    if connector.tls != TlsLimits::default()
        && let Err(errors) = OutboundConnectors::new(vec![connector.clone()])
    {
        let errors: Vec<_> = errors.iter().map(|error| &error.kind).collect();
        assert_eq!(errors, [&ConnectorErrorKind::LimitsWithoutTls], "{posture}");
        return "-".to_owned();
    }
    let host = Host::parse(NAME).unwrap();
    if reason == Reason::AddressLookupFailed {
        return without_addresses(&connector, &host, reason);
    }
    let dane_only = posture == "dane-only";
    let records = match reason {
        Reason::DaneMismatch => tlsa(3, ROOT.der.to_vec()),
        Reason::TlsaLookupFailed => TlsaFact::Failed,
        Reason::TlsaUnusable => tlsa(1, GOOD.der.to_vec()),
        Reason::DaneRequired => TlsaFact::Absent,
        _ if dane_only => tlsa(3, GOOD.der.to_vec()),
        _ => TlsaFact::Absent,
    };
    let mut facts = match reason {
        Reason::PolicyUnavailable => Facts::policy_unavailable(&host, &host, HostOrigin::Mx),
        _ => Facts::new(&connector, &host, &host, HostOrigin::Mx),
    };
    let mx = match reason {
        Reason::MxLookupFailed => DnsStatus::Bogus,
        Reason::LookupLocalFault => DnsStatus::Local,
        Reason::MxInsecure | Reason::RequiretlsMxInsecure => DnsStatus::Insecure,
        _ => DnsStatus::Secure,
    };
    (facts.mx, facts.tlsa) = (mx, &records);
    if matches!(reason, Reason::RequiretlsUnsupported | Reason::RequiretlsMxInsecure) {
        facts.message = MessageTls::Required;
    }
    let sts = match reason {
        Reason::StsFetchFailed => sts::failed(sts::UNREACHABLE),
        Reason::StsPolicyInvalid => sts::failed(sts::INVALID),
        Reason::StsWebpkiInvalid => sts::failed(sts::CERTIFICATE),
        Reason::StsLocalFault => sts::failed(sts::LOCAL),
        Reason::StsMxMismatch => StsPolicy::Enforce { mx_matches: false }.answer(&[]),
        _ => StsAnswer::default(),
    };
    facts.sts = &sts;
    let plan = match plan(&facts) {
        Ok(plan) if reason == Reason::RememberedBroken => plan.remembering_broken(),
        Ok(plan) => plan,
        Err(refusal) => {
            // Posture dane-only itself refuses what no signed MX record leads to.
            if !(dane_only && reason == Reason::RequiretlsMxInsecure) {
                assert_eq!(refusal.reason(), reason, "{posture}");
            }
            let what = if refusal.ends_domain() { "stop" } else { "next" };
            return format!("{what} {}", refusal.status());
        }
    };
    if matches!(reason, Reason::SourceUnavailable | Reason::ConnectLocalFault | Reason::ProxyFailed)
    {
        return defer(&plan, reason);
    }
    if plan.attempt() == Attempt::Clear {
        // The reason is one of TLS, which is not tried; or it is why it is not.
        let is_clear = plan.clear_reason() == Some(reason) || reason.fault() == Fault::Domain;
        return if is_clear { "clear" } else { "-" }.to_owned();
    }
    match reason {
        // The posture is not none.
        Reason::TlsNotWanted => "-".to_owned(),
        Reason::StarttlsNotOffered | Reason::StarttlsRefused => fallback(&plan, Yield::Now, reason),
        Reason::HandshakeFailed
        | Reason::HandshakeTimeout
        | Reason::PlaintextInjected
        | Reason::TlsHelloFailed
        | Reason::TlsLost => fallback(&plan, plan.yields().broken, reason),
        Reason::RequiretlsUnsupported => next(&plan, reason),
        Reason::TlsVersionNotAllowed | Reason::TlsGroupNotAllowed => {
            assert_eq!(
                plan.limits().refusal(shown(reason).version, shown(reason).group),
                Some(reason)
            );
            next(&plan, reason)
        }
        Reason::IdentityMissing => {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let trust: Arc<LiveTrust> = Trust::webpki_roots().into();
            let lost = IdentityId::new("lost");
            let error = ClientTls::new(provider).config(&plan, Some(&lost), &trust).unwrap_err();
            assert_eq!((&error, error.reason()), (&TlsConfigError::UnknownIdentity(lost), reason));
            defer(&plan, reason)
        }
        Reason::TlsUnavailable => {
            for error in
                [rustls::Error::FailedToGetCurrentTime, rustls::Error::FailedToGetRandomBytes]
            {
                assert!(is_local_fault(&error), "{error}");
                assert_eq!(TlsConfigError::Rustls(error).reason(), reason);
            }
            assert!(!is_local_fault(&rustls::Error::DecryptError));
            defer(&plan, reason)
        }
        _ => {
            let world = world.unwrap_or_else(World::new);
            let verdict = plan.judge(&world.chain, &world.trust, now());
            match verdict.standing() {
                Standing::Acceptable if verdict.is_authenticated() => "TLS".to_owned(),
                Standing::Acceptable => "tls".to_owned(),
                Standing::NotTls => {
                    assert_eq!(verdict.reason(), reason, "{posture}");
                    fallback(&plan, plan.yields().untrusted, reason)
                }
                Standing::Refused => next(&plan, verdict.reason()),
                Standing::LocalFault => {
                    assert_eq!(verdict.reason(), reason, "{posture}");
                    defer(&plan, reason)
                }
            }
        }
    }
}

/// What becomes of the mail if the addresses of the host cannot be looked up.
fn without_addresses(connector: &OutboundConnector, host: &Host, reason: Reason) -> String {
    let answer = |ask: Ask<'_>| match ask {
        Ask::Mx(_) => Answer::Mx(DnsAnswer::none(DnsStatus::Secure)),
        Ask::Sts(_) => Answer::Sts(StsAnswer::default()),
        Ask::Addresses { .. } => Answer::addresses(DnsStatus::Failed, []),
        Ask::Cname(_) | Ask::Tlsa(_) => panic!("{ask:?}"),
    };
    let domain = DomainInquiry::new(connector, host).resolve(answer).unwrap();
    let failed = HostInquiry::new(&domain, host).resolve(answer);
    let NotDialled { refusal, session, .. } = failed.unwrap_err();
    assert_eq!((refusal.reason(), session), (reason, None));
    let what = if refusal.ends_domain() { "stop" } else { "next" };
    format!("{what} {}", refusal.status())
}

fn fallback(plan: &Plan, rule: Yield, reason: Reason) -> String {
    match (plan.floor(), rule) {
        (Floor::Plaintext, Yield::Now) => "clear".to_owned(),
        (Floor::Plaintext, Yield::Later) => "later".to_owned(),
        _ => next(plan, reason),
    }
}

fn next(plan: &Plan, reason: Reason) -> String {
    format!("next {}", plan.status(reason).expect("a failure has a status"))
}

/// A fault of this side, as an adapter treats it: the sentence says so as well.
fn defer(plan: &Plan, reason: Reason) -> String {
    assert_eq!(reason.fault(), Fault::Local);
    let sentence = explain(plan, HopEnding::NotDelivered, reason, None);
    assert!(sentence.contains("; the fault is on this side; under "), "{sentence}");
    format!("defer {}", plan.status(reason).expect("a failure has a status"))
}

/// What a client hears at MAIL under a connector that requires a certificate for one name.
fn received(reason: Reason, given: &str) -> String {
    if matches!(reason, Reason::TlsVersionNotAllowed | Reason::TlsGroupNotAllowed) {
        let mut connector = InboundConnector::new("c", vec![Namespace::Default]);
        connector.require_tls = true;
        connector.tls = TlsLimits::post_quantum();
        let (chain, trust, tls) = (&[], &Trust::empty(), Some(shown(reason)));
        let refusal = admit(&connector, tls, chain, trust, now());
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.reason(), reason);
        return format!("{} {}", refusal.code(), refusal.status());
    }
    let (world, tls) = match (reason, World::of(reason, given)) {
        (Reason::TlsRequired, _) => (World::new(), false),
        (Reason::ClientCertMissing, _) => (World { chain: Vec::new(), ..World::new() }, true),
        (Reason::ClientCertNameMismatch, _) => {
            let chain = vec![ROOT.issue(&leaf_params(&["mx.example.org"])).der];
            (World { chain, ..World::new() }, true)
        }
        (Reason::CertMissing | Reason::CertNameMismatch, _) | (_, None) => return String::new(),
        (Reason::TlsOk | Reason::DaneMismatch | Reason::PinMismatch, _) => return String::new(),
        (_, Some(world)) => (world, true),
    };
    let mut connector = InboundConnector::new("c", vec![Namespace::Default]);
    connector.require_tls = true;
    let mut check = ClientCheck::new(RootsId::new("private"));
    check.names = vec![Reference::parse(NAME).unwrap()];
    check.cn = CnFallback::Never;
    check.revocation = world.revocation;
    connector.client_certificate = ClientCertificate::Required(check);
    match admit(&connector, tls.then_some(TLS), &world.chain, &world.trust, now()) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => {
            assert_eq!(refusal.reason(), reason);
            format!("{} {}", refusal.code(), refusal.status())
        }
    }
}

fn rows() -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
    let cells =
        |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let table = include_str!("golden/faults.md");
    let start = table.find("| reason |").expect("the table");
    let mut rows = table[start..].lines().filter(|line| line.starts_with('|'));
    let header = cells(rows.next().expect("a header"));
    (header, rows.skip(1).map(cells).collect())
}

#[test]
fn every_reason_has_its_outcome_under_every_posture() {
    let (header, rows) = rows();
    let mut wrong = Vec::new();
    for row in &rows {
        let (code, given, fault, status) = (row[0], row[1], row[2], row[3]);
        let reason = *Reason::ALL.iter().find(|reason| reason.code() == code).expect(code);
        let mut have = vec![code.to_owned(), given.to_owned(), reason.fault().to_string()];
        have.push(reason.status().map_or_else(|| "-".to_owned(), |status| status.to_string()));
        for posture in &header[4..header.len() - 1] {
            have.push(match (reason, reason.status()) {
                // The connection ended before TLS, so no rule about TLS applies.
                (Reason::Undecided, _) => "next".to_owned(),
                (Reason::TlsRequired | Reason::ClientCertMissing, _)
                | (Reason::ClientCertNameMismatch, _) => String::new(),
                _ => outcome(reason, given, posture),
            });
        }
        have.push(received(reason, given));
        if have != *row {
            wrong.push(format!("| {} |", have.join(" | ")));
        }
        assert_eq!(fault == "local" && status == "4.3.5", status == "4.3.5", "{code}");
    }
    assert!(wrong.is_empty(), "these rows come out otherwise:\n{}", wrong.join("\n"));
    // Each reason has a row.
    for reason in Reason::ALL {
        assert!(rows.iter().any(|row| row[0] == reason.code()), "{reason} has no row");
    }
}

/// The rule that the table must keep, whatever its rows say.
#[test]
fn a_local_fault_never_leads_to_clear_text() {
    let (header, rows) = rows();
    assert_eq!(header.len(), 15);
    for row in rows.iter().filter(|row| row[2] == "local") {
        for (posture, cell) in header.iter().zip(row).skip(5) {
            assert_ne!(*cell, "clear", "{} under {posture}", row[0]);
        }
        let reason = Reason::ALL.iter().find(|reason| reason.code() == row[0]).unwrap();
        assert_eq!(reason.tlsrpt(), None, "{reason} is not the peer's failure");
        assert_eq!(reason.status().unwrap().class, 4, "{reason} is a deferral");
    }
}

/// Clear text on a later run of the queue is clear text as well.
#[test]
fn missing_roots_with_any_yields_are_a_local_fault() {
    for when in [Yield::Now, Yield::Later, Yield::Never] {
        let mut connector = connector("deterministic", Reason::RootsMissing, Revocation::Off);
        connector.yields = Yields { refused: when, broken: when, untrusted: when };
        let host = Host::parse(NAME).unwrap();
        let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
        for chain in [&[][..], std::slice::from_ref(&GOOD.der)] {
            let verdict = plan.judge(chain, &Trust::empty(), now());
            assert_eq!(verdict.standing(), Standing::LocalFault);
            assert_eq!(
                verdict.to_string(),
                "the trusted roots that the certificate is judged by are not loaded here \
                 (chain, set of roots \"public\")"
            );
        }
        // A set that lost its roots is as good as none.
        let mut trust = Trust::from_der([&ROOT.der]).unwrap();
        trust.clear_roots(&RootsId::public());
        let verdict = plan.judge(std::slice::from_ref(&GOOD.der), &trust, now());
        assert_eq!(verdict.standing(), Standing::LocalFault);
    }
}

#[test]
fn a_stale_list_is_named_by_its_issuer() {
    let mut world = World::new();
    world.list(&ROOT.crl_dated(&[], days(-2), days(-1)), Revocation::Hard);
    let connector = connector("deterministic", Reason::CrlExpired, Revocation::Hard);
    let host = Host::parse(NAME).unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let verdict = plan.judge(&world.chain, &world.trust, now());
    assert_eq!(
        verdict.to_string(),
        "the revocation list loaded here for the issuer is past its next update \
         (leaf, issuer \"CN=Root\")"
    );
}

/// The chain has two paths. On one the issuer is revoked, on the other its list is stale: once that
/// list is renewed the certificate may pass, so it is this side that cannot tell.
#[test]
fn a_stale_list_on_one_path_outweighs_a_revocation_on_another() {
    let (first, second) = (Authority::new("First"), Authority::new("Second"));
    let issuer = first.below("Issuer", |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[13]));
    });
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    common_name(&mut params, "Issuer");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (days(-100), days(100));
    let again = params.signed_by(issuer.issuer.key(), &second.issuer).unwrap().der().clone();
    let chain = [issuer.issue(&leaf_params(&[NAME])).der, issuer.der.clone(), again];

    let mut trust = Trust::from_der([&first.der, &second.der]).unwrap();
    trust.add_crl_der(&RootsId::public(), &first.crl(&[13])).unwrap();
    trust.add_crl_der(&RootsId::public(), &second.crl_dated(&[], days(-2), days(-1))).unwrap();
    let connector = connector("deterministic", Reason::CrlExpired, Revocation::IfConfigured);
    let host = Host::parse(NAME).unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let verdict = plan.judge(&chain, &trust, now());
    assert_eq!((verdict.standing(), verdict.reason()), (Standing::LocalFault, Reason::CrlExpired));
}
