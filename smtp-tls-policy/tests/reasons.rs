//! Codes, statuses and sentences are a promise to logs and dashboards.

mod common;

use common::*;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::plan::{Demand, Ending, Facts, HostOrigin, explain, plan};
use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason};

#[test]
fn codes_statuses_and_result_types_are_stable() {
    let table = [
        ("tls-ok", "-", "-"),
        ("tls-not-wanted", "-", "-"),
        ("undecided", "-", "-"),
        ("starttls-not-offered", "4.7.4", "starttls-not-supported"),
        ("starttls-refused", "4.7.4", "starttls-not-supported"),
        ("handshake-failed", "4.7.5", "validation-failure"),
        ("handshake-timeout", "4.7.5", "validation-failure"),
        ("plaintext-injected", "4.7.5", "validation-failure"),
        ("tls-hello-failed", "4.7.5", "validation-failure"),
        ("tls-lost", "4.7.5", "validation-failure"),
        ("policy-unavailable", "4.7.5", "-"),
        ("remembered-broken", "-", "-"),
        ("mx-lookup-failed", "4.4.3", "dnssec-invalid"),
        ("mx-insecure", "4.7.5", "dane-required"),
        ("tlsa-lookup-failed", "4.7.5", "dnssec-invalid"),
        ("tlsa-unusable", "4.7.5", "tlsa-invalid"),
        ("dane-required", "4.7.5", "dane-required"),
        ("dane-mismatch", "4.7.5", "certificate-not-trusted"),
        ("pin-mismatch", "4.7.5", "certificate-not-trusted"),
        ("sts-fetch-failed", "-", "sts-policy-fetch-error"),
        ("sts-policy-invalid", "-", "sts-policy-invalid"),
        ("sts-webpki-invalid", "-", "sts-webpki-invalid"),
        ("sts-mx-mismatch", "4.7.5", "validation-failure"),
        ("requiretls-unsupported", "5.7.30", "-"),
        ("requiretls-mx-insecure", "5.7.10", "-"),
        ("cert-missing", "4.7.5", "certificate-not-trusted"),
        ("cert-unknown-issuer", "4.7.5", "certificate-not-trusted"),
        ("cert-self-signed", "4.7.5", "certificate-not-trusted"),
        ("cert-expired", "4.7.5", "certificate-expired"),
        ("cert-not-yet-valid", "4.7.5", "certificate-expired"),
        ("cert-revoked", "4.7.5", "certificate-not-trusted"),
        ("cert-name-mismatch", "4.7.5", "certificate-host-mismatch"),
        ("cert-malformed", "4.7.5", "validation-failure"),
        ("cert-unsupported", "4.7.5", "validation-failure"),
        ("cert-is-ca", "4.7.5", "certificate-not-trusted"),
        ("cert-wrong-purpose", "4.7.5", "certificate-not-trusted"),
        ("cert-bad-signature", "4.7.5", "certificate-not-trusted"),
        ("cert-constraint-violated", "4.7.5", "certificate-not-trusted"),
        ("cert-too-costly", "4.7.5", "validation-failure"),
        ("roots-missing", "4.7.5", "validation-failure"),
        ("crl-expired", "4.7.5", "certificate-not-trusted"),
        ("crl-invalid", "4.7.5", "certificate-not-trusted"),
        ("revocation-unknown", "4.7.5", "certificate-not-trusted"),
        ("tls-required", "5.7.0", "-"),
        ("client-cert-missing", "5.7.0", "-"),
        ("client-cert-name-mismatch", "5.7.1", "-"),
    ];
    let have: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| {
            let status = reason.status().map_or("-".to_owned(), |s| s.to_string());
            (reason.code(), status, reason.tlsrpt().unwrap_or("-"))
        })
        .collect();
    let want: Vec<_> =
        table.iter().map(|(code, status, tlsrpt)| (*code, (*status).to_owned(), *tlsrpt)).collect();
    assert_eq!(have, want);
}

/// The page for administrators has each code once, with its status and result type, and something to do; and no other.
#[test]
fn the_page_and_the_code_agree() {
    let page = include_str!("../REASONS.md");
    let mut documented = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let (code, rest) = section.split_once('\n').unwrap();
        let code = code.strip_prefix('`').and_then(|code| code.strip_suffix('`')).expect(code);
        let mut paragraphs = rest.trim().split("\n\n");
        let facts = paragraphs.next().unwrap();
        let (status, tlsrpt) = facts
            .strip_prefix("Status: ")
            .and_then(|facts| facts.strip_suffix('.'))
            .and_then(|facts| facts.split_once(". TLSRPT: "))
            .unwrap_or_else(|| panic!("{code}: {facts}"));
        let prose: Vec<_> =
            paragraphs.take_while(|paragraph| !paragraph.starts_with("## ")).collect();
        let [meaning @ .., advice] = &prose[..] else { panic!("{code} has no advice") };
        assert!(
            !meaning.is_empty() && !meaning.iter().any(|text| text.starts_with("**Do**")),
            "{code}"
        );
        assert!(advice.starts_with("**Do**: ") && advice.ends_with('.'), "{code}: {advice}");
        documented.push((code, status, tlsrpt.trim_matches('`')));
    }
    let mut have: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| {
            let status = reason.status().map_or("none".to_owned(), |status| status.to_string());
            (reason.code(), status, reason.tlsrpt().unwrap_or("none"))
        })
        .collect();
    have.sort_unstable();
    documented.sort_unstable();
    let documented: Vec<_> = documented
        .into_iter()
        .map(|(code, status, tlsrpt)| (code, status.to_owned(), tlsrpt))
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
    let plan_of = |posture, require_tls, demands: &[Demand]| {
        let mut connector = OutboundConnector::new("partners", vec![Namespace::Default], posture);
        connector.require_tls = require_tls;
        let mut facts = Facts::new(&connector, &host, &host, HostOrigin::Mx);
        facts.demands = demands;
        plan(&facts).unwrap()
    };
    let root = Authority::new("Root");
    let mut params = leaf_params(&["mx.example.com"]);
    params.not_after = days(-1);
    let expired = root.issue(&params).der;
    let mut trust = Trust::new();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();

    let lax = plan_of(Posture::Deterministic, false, &[]);
    let verdict = lax.judge(std::slice::from_ref(&expired), &trust, now());
    assert_eq!(
        explain(&lax, Ending::ClearText, verdict.reason(), verdict.defect()),
        "clear text, because the certificate has expired (leaf, 2026-05-31T00:00:00Z); \
         allowed by posture deterministic of connector partners"
    );
    let strict = plan_of(Posture::Deterministic, true, &[]);
    assert_eq!(
        explain(&strict, Ending::NotDelivered, Reason::StarttlsNotOffered, None),
        "not delivered, because the peer does not offer STARTTLS; \
         required by connector partners, which requires TLS (posture deterministic)"
    );
    assert_eq!(
        explain(&strict, Ending::Tls, Reason::TlsOk, None),
        "TLS, because the certificate passed every required check; \
         under connector partners, which requires TLS (posture deterministic)"
    );
    let any = plan_of(Posture::Opportunistic, false, &[]);
    assert_eq!(
        explain(&any, Ending::Tls, Reason::TlsOk, None),
        "TLS, without a check of the certificate; \
         under posture opportunistic of connector partners"
    );
    let none = plan_of(Posture::None, false, &[]);
    assert_eq!(
        explain(&none, Ending::ClearText, none.clear_reason().unwrap(), None),
        "clear text, because TLS is never tried; allowed by posture none of connector partners"
    );

    // Raised above Plaintext, the failed check is recorded and said.
    let raised = plan_of(
        Posture::Deterministic,
        false,
        &[Demand { by: "message 7".into(), floor: Floor::Encrypted }],
    );
    let verdict = raised.judge(&[expired], &trust, now());
    assert_eq!(verdict.standing(), Standing::Acceptable);
    assert_eq!(
        explain(&raised, Ending::Tls, verdict.reason(), verdict.defect()),
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
