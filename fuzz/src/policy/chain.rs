use std::time::Duration;

use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{Pin, Revocation, RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Domain, Host, Namespace};

/// The name that the certificates must be for.
const HOST: &str = "mx.test.example";
/// 1 June 2026.
const NOW: u64 = 1_780_272_000;

/// The input is a list of DER values, each preceded by its length in two octets: a root, a
/// revocation list, and the chain that a host shows. Equal facts give equal verdicts, and a chain
/// that no root vouches for is never accepted.
pub fn chain(data: &[u8]) {
    let parts = parts(data);
    let (root, list, shown) = match &*parts {
        [] => (None, None, &[][..]),
        [root] => (Some(*root), None, &[][..]),
        [root, list, shown @ ..] => (Some(*root), Some(*list), shown),
    };
    let mut trust = Trust::empty();
    let root = root.map(CertificateDer::from);
    if let Some(root) = &root {
        let _ = trust.add_root_der(&RootsId::public(), root);
    }
    if let Some(list) = list {
        let _ = trust.add_crl_der(&RootsId::public(), list);
    }
    let chain: Vec<CertificateDer<'_>> =
        shown.iter().map(|&der| CertificateDer::from(der)).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let host = Host::parse(HOST).expect("a host");

    for posture in
        [Posture::Opportunistic, Posture::Deterministic, Posture::Verified, Posture::Secure]
    {
        for revocation in [Revocation::IfConfigured, Revocation::Hard] {
            let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
            connector.revocation = revocation;
            let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).expect("a plan");
            let verdict = plan.judge(&chain, &trust, now);
            assert_eq!(plan.judge(&chain, &trust, now), verdict);
            let alone = plan.judge(&chain, &Trust::empty(), now);
            assert!(!alone.is_authenticated(), "{alone}");
            // What is missing on this side never reads as a fault of the peer.
            assert_ne!(alone.standing(), Standing::NotTls);
            if matches!(posture, Posture::Verified | Posture::Secure) {
                assert_eq!(verdict.standing() == Standing::Acceptable, verdict.is_authenticated());
                assert_eq!(alone.standing(), Standing::LocalFault);
            }
        }
    }

    // DANE knows no roots: a record of the first octets that were sent.
    let (Some(leaf), Ok(base)) = (chain.first(), Domain::parse(HOST)) else { return };
    for selector in [0, 1] {
        for usage in [2, 3] {
            let record = TlsaRecord { usage, selector, matching: 0, data: leaf.to_vec() };
            let tlsa = TlsaFact::Found(TlsaSet::new(base.clone(), &[record]));
            let connector =
                OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
            let mut facts = Facts::new(&connector, &host, &host, HostOrigin::Mx);
            (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
            let plan = plan(&facts).expect("a plan");
            let verdict = plan.judge(&chain, &Trust::empty(), now);
            assert_eq!(plan.judge(&chain, &trust, now), verdict, "roots have no say");
            if plan.takes_raw_key() {
                let _ = plan.judge_raw_key(&SubjectPublicKeyInfoDer::from(leaf.as_ref()));
            }
        }
    }
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Pinned);
    connector.pins = vec![Pin::of_certificate(leaf)];
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).expect("a plan");
    assert!(
        plan.judge(&chain, &Trust::empty(), now).is_authenticated(),
        "it is the one that is pinned"
    );
}

fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let [high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (part, behind) = rest.split_at(length);
        parts.push(part);
        data = behind;
    }
    parts
}
