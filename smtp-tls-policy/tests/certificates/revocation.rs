//! Revocation lists: which lists count for which certificates, and missing and stale lists under
//! each rule.

use super::*;

#[test]
fn revoked_and_not_revoked() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let bench = |crl: &[u8]| Bench::new(&[&root]).crl(crl);
    for rule in [Revocation::Soft, Revocation::IfConfigured, Revocation::Hard] {
        let revoked = bench(&root.crl(&[SERIAL])).revocation(rule);
        let verdict = revoked.verdict(&[&leaf.der]);
        assert_eq!(verdict.reason(), Reason::CertRevoked);
        assert_eq!(verdict.defect().unwrap().certificate(), Some(0));
        let other = bench(&root.crl(&[SERIAL + 1])).revocation(rule);
        assert_eq!(other.judge(&[&leaf.der]), Reason::TlsOk);
    }
    let off = bench(&root.crl(&[SERIAL])).revocation(Revocation::Off);
    assert_eq!(off.judge(&[&leaf.der]), Reason::TlsOk);
}

#[test]
fn an_issuer_that_is_revoked() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7]));
    });
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root]).crl(&root.crl(&[7])).crl(&issuer.crl(&[]));
    let verdict = bench.verdict(&[&leaf.der, &issuer.der]);
    assert_eq!(verdict.reason(), Reason::CertRevoked);
    assert_eq!(verdict.defect().unwrap().certificate(), Some(1));
}

#[test]
fn unknown_is_what_the_rule_says() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let chain = [&leaf.der, &issuer.der];
    let judge = |rule, crls: &[Vec<u8>]| {
        let mut bench = Bench::new(&[&root]).revocation(rule);
        for crl in crls {
            bench = bench.crl(crl);
        }
        bench.judge(&chain)
    };
    use Revocation::*;
    // No list at all.
    assert_eq!(judge(Soft, &[]), Reason::TlsOk);
    assert_eq!(judge(IfConfigured, &[]), Reason::TlsOk);
    assert_eq!(judge(Hard, &[]), Reason::RevocationUnknown);
    // A list of one of the two issuers.
    let half = [root.crl(&[])];
    assert_eq!(judge(IfConfigured, &half), Reason::TlsOk);
    assert_eq!(judge(Hard, &half), Reason::RevocationUnknown);
    let whole = [root.crl(&[]), issuer.crl(&[])];
    assert_eq!(judge(Hard, &whole), Reason::TlsOk);
}

#[test]
fn a_list_past_its_next_update() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let judge = |rule, serials: &[u8]| {
        let stale = root.crl_dated(serials, days(-2), days(0));
        Bench::new(&[&root]).crl(&stale).revocation(rule).judge(&[&leaf.der])
    };
    use Revocation::*;
    assert_eq!(judge(IfConfigured, &[]), Reason::CrlExpired);
    assert_eq!(judge(Hard, &[]), Reason::CrlExpired);
    assert_eq!(judge(Soft, &[]), Reason::TlsOk);
    // What it revoked stays revoked.
    assert_eq!(judge(Soft, &[SERIAL]), Reason::CertRevoked);
    // A fresh list beside it settles the matter.
    let bench =
        Bench::new(&[&root]).crl(&root.crl_dated(&[], days(-2), days(0))).crl(&root.crl(&[]));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    // One from the future says nothing yet.
    let bench = Bench::new(&[&root]).crl(&root.crl_dated(&[], days(1), days(2)));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::RevocationUnknown);
}

#[test]
fn list_whose_next_update_lies_before_its_this_update_clears_nothing() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let date = |text: &str| tlv(0x17, text.as_bytes());
    for (this_update, next_update, reason) in [
        ("260602000000Z", "260531000000Z", Reason::CrlExpired),
        ("260603000000Z", "260602000000Z", Reason::RevocationUnknown),
        ("260531000000Z", "260530000000Z", Reason::CrlExpired),
        ("260601000000Z", "260601000000Z", Reason::CrlExpired),
    ] {
        let judge = |entries: &[Vec<u8>]| {
            let mut crl = RawCrl::new().entries(entries);
            (crl.this_update, crl.next_update) = (date(this_update), date(next_update));
            Bench::new(&[&root]).crl(&crl.signed_by(&root)).judge(&[&leaf.der])
        };
        assert_eq!(judge(&[]), reason, "{this_update}");
        // What it revokes is revoked, also where the revocation is dated after the judgement.
        let later = tlv(0x30, &[tlv(2, &[SERIAL]), date("260701000000Z")].concat());
        assert_eq!(judge(&[later]), Reason::CertRevoked, "{this_update}");
    }
}

#[test]
fn a_list_with_a_bad_signature() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    // Bits changed, and the right name with another key.
    let mut changed = root.crl(&[SERIAL]);
    *changed.last_mut().unwrap() ^= 1;
    let impostor = Authority::new("Root").crl(&[SERIAL]);
    for crl in [changed, impostor] {
        let judge = |rule| Bench::new(&[&root]).crl(&crl).revocation(rule).judge(&[&leaf.der]);
        // Its serial numbers are not looked at.
        assert_eq!(judge(Revocation::Soft), Reason::TlsOk);
        assert_eq!(judge(Revocation::IfConfigured), Reason::CrlInvalid);
        assert_eq!(judge(Revocation::Hard), Reason::CrlInvalid);
    }
}

#[test]
fn two_authorities_of_one_name() {
    // A key roll-over: both roots, and the lists of both.
    let (old, new) = (Authority::new("Root"), Authority::new("Root"));
    let leaf = new.issue(&leaf_params(&[HOST]));
    let bench = |old_serials: &[u8], new_serials: &[u8]| {
        Bench::new(&[&old, &new])
            .crl(&old.crl(old_serials))
            .crl(&new.crl(new_serials))
            .judge(&[&leaf.der])
    };
    assert_eq!(bench(&[], &[]), Reason::TlsOk);
    assert_eq!(bench(&[SERIAL], &[]), Reason::TlsOk);
    assert_eq!(bench(&[], &[SERIAL]), Reason::CertRevoked);
}

#[test]
fn the_same_serial_from_another_issuer() {
    let (root, other) = (Authority::new("Root"), Authority::new("Other"));
    let leaf = root.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root, &other]).crl(&other.crl(&[SERIAL]));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    let bench = bench.revocation(Revocation::Hard);
    assert_eq!(bench.judge(&[&leaf.der]), Reason::RevocationUnknown);
}

#[test]
fn an_issuer_that_may_not_sign_lists() {
    // rcgen makes no list for an issuer without cRLSign: the list comes from a twin with the same
    // key and name.
    let root = Authority::new("Root");
    let key = rcgen::KeyPair::generate().unwrap();
    let twin = rcgen::KeyPair::try_from(key.serialize_der().as_slice()).unwrap();
    let issuer = root.below("Issuer", |params| {
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    });
    drop(issuer);
    let params = |usages: Vec<rcgen::KeyUsagePurpose>| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        common_name(&mut params, "Issuer");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = usages;
        (params.not_before, params.not_after) = (days(-10), days(10));
        params
    };
    use rcgen::KeyUsagePurpose::{CrlSign, KeyCertSign};
    let shown = params(vec![KeyCertSign]);
    let shown_der = shown.signed_by(&key, &root.issuer).unwrap().der().clone();
    let issuer = Authority { issuer: rcgen::Issuer::new(shown, key), der: shown_der };
    let signer = Authority {
        issuer: rcgen::Issuer::new(params(vec![KeyCertSign, CrlSign]), twin),
        der: issuer.der.clone(),
    };
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root]).crl(&signer.crl(&[SERIAL]));
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::CrlInvalid);
}

/// Authorities cut their lists into a hundred parts; that costs a handshake one signature, and no
/// budget.
#[test]
fn many_parts() {
    let root = Authority::new("Root");
    let part = |number: usize| rcgen::CrlIssuingDistributionPoint {
        distribution_point: rcgen::CrlDistributionPoint {
            uris: vec![format!("http://example.com/{number}.crl")],
        },
        scope: None,
    };
    let mut trust = Bench::new(&[&root]).trust;
    for number in 0..40 {
        let serials = if number == 39 { &[7][..] } else { &[] };
        let crl = root.crl_scoped(serials, days(-1), days(1), Some(part(number)));
        trust.add_crl_der(&RootsId::public(), &crl).unwrap();
    }
    let judge = |serial: u8, points: &[usize]| {
        let mut bench = Bench::new(&[]);
        bench.trust = trust.clone();
        let mut params = leaf_params(&[HOST]);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[serial]));
        params.crl_distribution_points =
            points.iter().map(|number| part(*number).distribution_point).collect();
        bench.judge(&[&root.issue(&params).der])
    };
    assert_eq!(judge(7, &[]), Reason::CertRevoked);
    assert_eq!(judge(8, &[]), Reason::RevocationUnknown);
    assert_eq!(judge(8, &[30]), Reason::TlsOk);
    assert_eq!(judge(8, &(0..40).collect::<Vec<_>>()), Reason::TlsOk);
    assert_eq!(judge(7, &(0..40).collect::<Vec<_>>()), Reason::CertRevoked);
}

#[test]
fn a_list_for_some_certificates() {
    use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};
    let root = Authority::new("Root");
    let point = |uri: &str| CrlDistributionPoint { uris: vec![uri.to_owned()] };
    let judge = |serials: &[u8], scope, points: &[&str]| {
        let scope = CrlIssuingDistributionPoint {
            distribution_point: point("http://example.com/1.crl"),
            scope,
        };
        let crl = root.crl_scoped(serials, days(-1), days(1), Some(scope));
        let mut params = leaf_params(&[HOST]);
        params.crl_distribution_points = points.iter().map(|uri| point(uri)).collect();
        Bench::new(&[&root]).crl(&crl).judge(&[&root.issue(&params).der])
    };
    let (own, other) = ("http://example.com/1.crl", "http://example.com/2.crl");
    for (scope, points, in_scope) in [
        (None, &[own][..], true),
        (None, &[other, own], true),
        (None, &[other], false),
        (Some(CrlScope::UserCertsOnly), &[own], true),
        (Some(CrlScope::CaCertsOnly), &[own], false),
    ] {
        let (revoked, clear) = match in_scope {
            true => (Reason::CertRevoked, Reason::TlsOk),
            false => (Reason::RevocationUnknown, Reason::RevocationUnknown),
        };
        assert_eq!(judge(&[SERIAL], scope, points), revoked, "{points:?}");
        assert_eq!(judge(&[], scope, points), clear, "{points:?}");
    }
    // RFC 5280, section 6.3.3: a certificate without distribution points has that of its issuer's
    // name. A list for another one may be a part of many: it revokes, and clears no certificate.
    assert_eq!(judge(&[SERIAL], None, &[]), Reason::CertRevoked);
    assert_eq!(judge(&[], None, &[]), Reason::RevocationUnknown);
    let (_, parsed) = x509_parser::parse_x509_certificate(&root.der).unwrap();
    let name = tlv(0xa0, &tlv(0xa0, &tlv(0xa4, parsed.subject().as_raw())));
    let crl =
        RawCrl::new().number(1).with(&[extension(28, true, &tlv(0x30, &name))]).signed_by(&root);
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    assert_eq!(Bench::new(&[&root]).crl(&crl).judge(&[&leaf]), Reason::TlsOk);

    // A list for hosts says nothing of an authority.
    let issuer = root.below("Issuer", |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7]));
    });
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    for (scope, reason) in [
        (CrlScope::UserCertsOnly, Reason::RevocationUnknown),
        (CrlScope::CaCertsOnly, Reason::CertRevoked),
    ] {
        let scope =
            CrlIssuingDistributionPoint { distribution_point: point(own), scope: Some(scope) };
        let crl = root.crl_scoped(&[7], days(-1), days(1), Some(scope));
        let verdict = Bench::new(&[&root]).crl(&crl).verdict(&[&leaf.der, &issuer.der]);
        assert_eq!(verdict.reason(), reason);
        assert_eq!(verdict.defect().unwrap().certificate(), Some(1));
    }
}
