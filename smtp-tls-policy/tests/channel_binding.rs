//! `tls-server-end-point` for every kind of signature (RFC 5929, section 4.1).

mod common;

use pki_types::CertificateDer;
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PKCS_RSA_SHA384, PKCS_RSA_SHA512, SignatureAlgorithm,
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use smtp_tls_policy::pki::server_end_point;

fn certificate(algorithm: &'static SignatureAlgorithm) -> CertificateDer<'static> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["mx.test.example".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

#[test]
fn the_hash_is_that_of_the_signature() {
    let sha256 = |octets: &[u8]| Sha256::digest(octets).to_vec();
    let sha384 = |octets: &[u8]| Sha384::digest(octets).to_vec();
    let sha512 = |octets: &[u8]| Sha512::digest(octets).to_vec();
    for (algorithm, hash) in [
        (&PKCS_ECDSA_P256_SHA256, Some(sha256 as fn(&[u8]) -> Vec<u8>)),
        (&PKCS_ECDSA_P384_SHA384, Some(sha384)),
        (&PKCS_RSA_SHA256, Some(sha256)),
        (&PKCS_RSA_SHA384, Some(sha384)),
        (&PKCS_RSA_SHA512, Some(sha512)),
        // No hash, hence no binding.
        (&PKCS_ED25519, None),
    ] {
        let certificate = certificate(algorithm);
        assert_eq!(
            server_end_point(&certificate),
            hash.map(|hash| hash(&certificate)),
            "{algorithm:?}"
        );
    }
}

/// Old hashes are replaced by SHA-256.
#[test]
fn md5_and_sha_1_are_not_used() {
    // sha256WithRSAEncryption, of which only the last octet is another.
    const OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let octets = certificate(&PKCS_RSA_SHA256).to_vec();
    for (last, known) in [(4, true), (5, true), (0x0e, true), (2, false), (0x63, false)] {
        let mut octets = octets.clone();
        for start in (0..octets.len() - OID.len())
            .filter(|&at| octets[at..].starts_with(OID))
            .collect::<Vec<_>>()
        {
            octets[start + OID.len() - 1] = last;
        }
        let hash = server_end_point(&CertificateDer::from(octets.clone()));
        match (last, known) {
            (0x0e, _) => assert_eq!(hash, Some(sha2::Sha224::digest(&octets).to_vec())),
            (_, true) => assert_eq!(hash, Some(Sha256::digest(&octets).to_vec())),
            (_, false) => assert_eq!(hash, None),
        }
    }
}

#[test]
fn pss_names_its_hash_in_its_parameters() {
    // RSASSA-PSS with SHA-384 and MGF1 with SHA-384.
    let octets = common::base64(PSS);
    assert_eq!(
        server_end_point(&CertificateDer::from(octets.clone())),
        Some(Sha384::digest(&octets).to_vec())
    );
    // Another hash in MGF1, which makes two: the last id-sha384 of each AlgorithmIdentifier.
    const OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
    let mut two = octets;
    let at: Vec<usize> =
        (0..two.len() - OID.len()).filter(|&at| two[at..].starts_with(OID)).collect();
    for &start in at.iter().skip(1).step_by(2) {
        two[start + OID.len() - 1] = 1;
    }
    assert_eq!(server_end_point(&CertificateDer::from(two)), None);
}

#[test]
fn what_is_no_certificate_has_no_hash() {
    for octets in [&b""[..], b"0", b"\x30\x00", b"hello"] {
        assert_eq!(server_end_point(&CertificateDer::from(octets)), None);
    }
}

const PSS: &str = "MIICXDCCAZGgAwIBAgIUU94vjJRZesZ2mJqWKThoTbxqv5owQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqG\
    SIb3DQEBCDANBglghkgBZQMEAgIFAKIDAgFOMAwxCjAIBgNVBAMMAXgwIBcNMjYxMTI1MTUyNjA3WhgPMjEyNjExMDExNTI2MDda\
    MAwxCjAIBgNVBAMMAXgwgZ0wCwYJKoZIhvcNAQEKA4GNADCBiQKBgQCw7NWCQP5uEHoVe1O9IqiWsOTagfNJNP3+MH1gD/sy00n6\
    jZyDYpkOSU+0oPBGJeFSL7GG1z/ZAGlX1v9MC/z3ZYohOG29hb5K8FoaprFo/YIo68XigFMSI0LrTxBC8+/TPu84Q0Q5Lh4yL/Rx\
    ur3zsj9RvFA4jMi2e458FihpYwIDAQABo1MwUTAdBgNVHQ4EFgQUQTUfwOusuOThN5eyHJXEdxQjVKAwHwYDVR0jBBgwFoAUQTUf\
    wOusuOThN5eyHJXEdxQjVKAwDwYDVR0TAQH/BAUwAwEB/zBBBgkqhkiG9w0BAQowNKAPMA0GCWCGSAFlAwQCAgUAoRwwGgYJKoZI\
    hvcNAQEIMA0GCWCGSAFlAwQCAgUAogMCAU4DgYEAUFCY2jNRrmrTXCvUyyveX5IpHGdlR+7aubUGLAnAm28JEdUeNTO2n+5qrBgN\
    jbZhE4K8I04DoC4xLFLf8AdJ5oGTZkltVkPtEA8RJKYIs7SMKwEYmG6NbcEgYsZMe4sXZZiwUMByULmS/5fWOo3CDYfTdQgNcBs6\
    wDXNlukJAhA=";
