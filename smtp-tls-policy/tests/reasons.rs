//! Codes, statuses and sentences are a promise to logs and dashboards.

mod common;

use common::*;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::plan::{Demand, Facts, HopEnding, HostOrigin, explain, plan};
use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason};

#[test]
fn codes_statuses_and_result_types_are_stable() {
    let table = [
        ("tls-ok", "none", "-", "-"),
        ("tls-not-wanted", "none", "-", "-"),
        ("undecided", "none", "-", "-"),
        ("starttls-not-offered", "peer", "4.7.4", "starttls-not-supported"),
        ("starttls-refused", "peer", "4.7.4", "starttls-not-supported"),
        ("handshake-failed", "peer", "4.7.5", "validation-failure"),
        ("handshake-timeout", "peer", "4.7.5", "validation-failure"),
        ("plaintext-injected", "peer", "4.7.5", "validation-failure"),
        ("tls-hello-failed", "peer", "4.7.5", "validation-failure"),
        ("tls-lost", "peer", "4.7.5", "validation-failure"),
        ("tls-version-not-allowed", "peer", "4.7.5", "validation-failure"),
        ("tls-group-not-allowed", "peer", "4.7.5", "validation-failure"),
        ("policy-unavailable", "local", "4.7.5", "-"),
        ("remembered-broken", "peer", "-", "-"),
        ("mx-lookup-failed", "domain", "4.4.3", "dnssec-invalid"),
        ("mx-insecure", "domain", "4.7.5", "dane-required"),
        ("address-lookup-failed", "domain", "4.4.3", "-"),
        ("lookup-local-fault", "local", "4.3.5", "-"),
        ("tlsa-lookup-failed", "domain", "4.7.5", "dnssec-invalid"),
        ("tlsa-unusable", "domain", "4.7.5", "tlsa-invalid"),
        ("dane-required", "domain", "4.7.5", "dane-required"),
        ("dane-mismatch", "peer", "4.7.5", "certificate-not-trusted"),
        ("pin-mismatch", "peer", "4.7.5", "certificate-not-trusted"),
        ("sts-fetch-failed", "domain", "-", "sts-policy-fetch-error"),
        ("sts-policy-invalid", "domain", "-", "sts-policy-invalid"),
        ("sts-webpki-invalid", "domain", "-", "sts-webpki-invalid"),
        ("sts-local-fault", "local", "4.3.5", "-"),
        ("sts-mx-mismatch", "domain", "4.7.5", "validation-failure"),
        ("requiretls-unsupported", "peer", "5.7.30", "-"),
        ("requiretls-mx-insecure", "domain", "5.7.10", "-"),
        ("cert-missing", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-unknown-issuer", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-self-signed", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-expired", "peer", "4.7.5", "certificate-expired"),
        ("cert-not-yet-valid", "peer", "4.7.5", "certificate-expired"),
        ("cert-revoked", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-name-mismatch", "peer", "4.7.5", "certificate-host-mismatch"),
        ("cert-malformed", "peer", "4.7.5", "validation-failure"),
        ("cert-unsupported", "peer", "4.7.5", "validation-failure"),
        ("cert-is-ca", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-wrong-purpose", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-bad-signature", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-constraint-violated", "peer", "4.7.5", "certificate-not-trusted"),
        ("cert-too-costly", "peer", "4.7.5", "validation-failure"),
        ("roots-missing", "local", "4.3.5", "-"),
        ("crl-expired", "local", "4.3.5", "-"),
        ("crl-invalid", "local", "4.3.5", "-"),
        ("revocation-unknown", "local", "4.3.5", "-"),
        ("algorithm-missing", "local", "4.3.5", "-"),
        ("identity-missing", "local", "4.3.5", "-"),
        ("tls-unavailable", "local", "4.3.5", "-"),
        ("source-unavailable", "local", "4.3.5", "-"),
        ("connect-local-fault", "local", "4.3.5", "-"),
        ("proxy-failed", "local", "4.3.5", "-"),
        ("tls-required", "peer", "5.7.0", "-"),
        ("client-cert-missing", "peer", "5.7.0", "-"),
        ("client-cert-name-mismatch", "peer", "5.7.1", "-"),
    ];
    let have: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| {
            let status = reason.status().map_or("-".to_owned(), |s| s.to_string());
            (reason.code(), reason.fault().as_str(), status, reason.tlsrpt().unwrap_or("-"))
        })
        .collect();
    let want: Vec<_> = table
        .iter()
        .map(|(code, fault, status, tlsrpt)| (*code, *fault, (*status).to_owned(), *tlsrpt))
        .collect();
    assert_eq!(have, want);
}

/// The page for administrators has each code once, with its status and result type, and something
/// to do; and no other.
#[test]
fn the_page_and_the_code_agree() {
    let page = include_str!("../REASONS.md");
    let mut documented = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let (code, rest) = section.split_once('\n').unwrap();
        let code = code.strip_prefix('`').and_then(|code| code.strip_suffix('`')).expect(code);
        let mut paragraphs = rest.trim().split("\n\n");
        let facts = paragraphs.next().unwrap();
        let (fault, status, tlsrpt) = facts
            .strip_prefix("Fault: ")
            .and_then(|facts| facts.strip_suffix('.'))
            .and_then(|facts| facts.split_once(". Status: "))
            .and_then(|(fault, facts)| {
                let (status, tlsrpt) = facts.split_once(". TLSRPT: ")?;
                Some((fault, status, tlsrpt))
            })
            .unwrap_or_else(|| panic!("{code}: {facts}"));
        let prose: Vec<_> =
            paragraphs.take_while(|paragraph| !paragraph.starts_with("## ")).collect();
        let [meaning @ .., advice] = &prose[..] else { panic!("{code} has no advice") };
        assert!(
            !meaning.is_empty() && !meaning.iter().any(|text| text.starts_with("**Do**")),
            "{code}"
        );
        assert!(advice.starts_with("**Do**: ") && advice.ends_with('.'), "{code}: {advice}");
        documented.push((code, fault, status, tlsrpt.trim_matches('`')));
    }
    let mut have: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| {
            let status = reason.status().map_or("none".to_owned(), |status| status.to_string());
            (reason.code(), reason.fault().as_str(), status, reason.tlsrpt().unwrap_or("none"))
        })
        .collect();
    have.sort_unstable();
    documented.sort_unstable();
    let documented: Vec<_> = documented
        .into_iter()
        .map(|(code, fault, status, tlsrpt)| (code, fault, status.to_owned(), tlsrpt))
        .collect();
    assert_eq!(documented, have);
    // Every result type is one of RFC 8460.
    for reason in Reason::ALL {
        let known = |name: &str| {
            smtp_tls_policy::ResultType::ALL.iter().any(|result| result.as_str() == name)
        };
        assert!(reason.tlsrpt().is_none_or(known), "{reason}");
    }
}

#[test]
fn decisions_in_one_sentence() {
    let host = Host::parse("mx.example.com").unwrap();
    let plan_under = |name, posture, require_tls, demands: &[Demand]| {
        let mut connector = OutboundConnector::new(name, vec![Namespace::Default], posture);
        connector.require_tls = require_tls;
        let mut facts = Facts::new(&connector, &host, &host, HostOrigin::Mx);
        facts.demands = demands;
        plan(&facts).unwrap()
    };
    let plan_of = |posture, require_tls, demands: &[Demand]| {
        plan_under("partners", posture, require_tls, demands)
    };
    let root = Authority::new("Root");
    let mut params = leaf_params(&["mx.example.com"]);
    params.not_after = days(-1);
    let expired = root.issue(&params).der;
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();

    let lax = plan_of(Posture::Deterministic, false, &[]);
    let verdict = lax.judge(std::slice::from_ref(&expired), &trust, now());
    assert_eq!(
        explain(&lax, HopEnding::ClearText, verdict.reason(), verdict.defect()),
        "clear text, because the certificate has expired (leaf, 2026-05-31T00:00:00Z); \
         allowed by posture deterministic of connector partners"
    );
    let strict = plan_of(Posture::Deterministic, true, &[]);
    assert_eq!(
        explain(&strict, HopEnding::NotDelivered, Reason::StarttlsNotOffered, None),
        "not delivered, because the peer does not offer STARTTLS; \
         required by connector partners, which requires TLS (posture deterministic)"
    );
    assert_eq!(
        explain(&strict, HopEnding::Tls, Reason::TlsOk, None),
        "TLS, because the certificate passed every required check; \
         under connector partners, which requires TLS (posture deterministic)"
    );
    let any = plan_of(Posture::Opportunistic, false, &[]);
    assert_eq!(
        explain(&any, HopEnding::Tls, Reason::TlsOk, None),
        "TLS, without a check of the certificate; \
         under posture opportunistic of connector partners"
    );
    let none = plan_of(Posture::None, false, &[]);
    assert_eq!(
        explain(&none, HopEnding::ClearText, none.clear_reason().unwrap(), None),
        "clear text, because TLS is never tried; allowed by posture none of connector partners"
    );
    let unnamed = plan_under("", Posture::None, false, &[]);
    assert_eq!(unnamed.to_string(), "clear text; under posture none");
    assert_eq!(unnamed.because().connector(), None);
    assert_eq!(none.because().connector(), Some("partners"));

    // Raised above Plaintext, the failed check is recorded and said.
    let raised = plan_of(
        Posture::Deterministic,
        false,
        &[Demand { by: "message 7".into(), floor: Floor::Encrypted }],
    );
    let verdict = raised.judge(&[expired], &trust, now());
    assert_eq!(verdict.standing(), Standing::Acceptable);
    assert_eq!(
        explain(&raised, HopEnding::Tls, verdict.reason(), verdict.defect()),
        "TLS, although the certificate has expired (leaf, 2026-05-31T00:00:00Z); \
         under posture deterministic of connector partners and message 7, which demands TLS"
    );

    let refusal = plan(&Facts::policy_unavailable(&host, &host, HostOrigin::Mx)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "451 4.7.5: the policy for the next hop could not be looked up; \
         required by the rule that an unknown policy is not an absent one"
    );
}
