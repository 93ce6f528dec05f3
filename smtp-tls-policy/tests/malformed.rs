//! What is malformed is refused with what is wrong, in which part, and where.

mod common;

use common::*;
use pki_types::CertificateDer;
use proptest::prelude::*;
use smtp_tls_policy::judge::Verdict;
use smtp_tls_policy::pki::{Defect, Detail, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

fn leaf() -> CertificateDer<'static> {
    Authority::new("Root").issue(&leaf_params(&["mx.example.com"])).der
}

/// Where the fields of a certificate begin, from the serial number on.
fn fields(der: &[u8]) -> Vec<(&'static str, usize)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    let tbs = &certificate.tbs_certificate;
    let at = |part: &[u8]| part.as_ptr() as usize - der.as_ptr() as usize;
    vec![
        ("serialNumber", at(tbs.raw_serial()) - 2),
        ("issuer", at(tbs.issuer().as_raw())),
        ("subject", at(tbs.subject().as_raw())),
        ("subjectPublicKeyInfo", at(tbs.public_key().raw)),
        ("signature", at(&certificate.signature_value.data) - 3),
    ]
}

fn judge(der: &[u8]) -> Verdict {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
    let host = Host::parse("mx.example.com").unwrap();
    let trust = Trust::webpki_roots();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    plan.judge(&[CertificateDer::from(der)], &trust, now())
}

/// A field whose tag is wrong is named, by a verdict and as a root alike.
#[test]
fn a_certificate_says_which_field_and_where() {
    let der = leaf();
    for (field, offset) in fields(&der) {
        let mut damaged = der.to_vec();
        damaged[offset] = 0x1f;
        let verdict = judge(&damaged);
        let defect = verdict.defect().unwrap();
        assert_eq!((defect.reason(), defect.certificate()), (Reason::CertMalformed, Some(0)));
        let Detail::Field { field: said, offset: at, .. } = defect.detail() else {
            panic!("{defect}")
        };
        assert_eq!((*said, *at), (field, Some(offset)), "{defect}");
        assert!(verdict.to_string().contains(&format!("{field} at octet {offset}")), "{verdict}");

        let error = Trust::empty().add_root_der(&RootsId::public(), &damaged.into()).unwrap_err();
        assert_eq!((error.field, error.offset), (field, Some(offset)), "{error}");
    }
}

#[test]
fn a_root_says_what_is_wrong() {
    let der = leaf();
    let error = |der: &[u8]| {
        Trust::empty()
            .add_root_der(&RootsId::public(), &der.to_vec().into())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(&[]), "the root certificate cannot be used: encoding (certificate, octet 0)");
    assert_eq!(
        error(&der[..der.len() - 1]),
        "the root certificate cannot be used: encoding (certificate, octet 0)"
    );
    let mut behind = der.to_vec();
    behind.push(0);
    assert_eq!(
        error(&behind),
        format!("the root certificate cannot be used: encoding (certificate, octet {})", der.len())
    );
    // Sound outside, and a date that is none.
    let mut dated = der.to_vec();
    let at = dated.windows(2).position(|tag| tag == [0x17, 13]).unwrap();
    dated[at + 4] = b'9';
    let verdict = judge(&dated);
    assert!(verdict.to_string().contains("validity at octet"), "{verdict}");
}

#[test]
fn the_place_in_the_chain_is_said_too() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&["mx.example.com"])).der;
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
    let host = Host::parse("mx.example.com").unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let mut damaged = issuer.der.to_vec();
    damaged.truncate(40);
    let verdict = plan.judge(&[leaf, damaged.into()], &trust, now());
    assert_eq!(
        verdict.to_string(),
        "the certificate is malformed (issuer 1, encoding, certificate at octet 0)"
    );
}

proptest! {
    #[test]
    fn wherever_a_certificate_is_cut(cut: prop::sample::Index, changed: prop::sample::Index, octet: u8) {
        let der = leaf();
        let error = Trust::empty().add_root_der(&RootsId::public(), &der[..cut.index(der.len())].to_vec().into()).unwrap_err();
        prop_assert!(error.offset.is_some_and(|offset| offset < der.len()), "{}", error);
        let mut damaged = der.to_vec();
        damaged[changed.index(der.len())] = octet;
        if let Some(Detail::Field { offset: Some(offset), .. }) = judge(&damaged).defect().map(Defect::detail) {
            prop_assert!(*offset <= der.len());
        }
    }
}
