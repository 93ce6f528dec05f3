//! The channel binding of a certificate (RFC 5929, section 4: `tls-server-end-point`).

use pki_types::CertificateDer;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_parser::signature_algorithm::SignatureAlgorithm;

use crate::pki::x509;

/// The hash of a server's certificate, as both ends of a TLS session compute it. None where RFC
/// 5929, section 4.1 leaves it undefined: where the certificate's signature uses no hash, as that
/// of Ed25519, or more than one.
pub fn server_end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = x509::parse(certificate)?;
    let signature = &parsed.signature_algorithm;
    let oid = match SignatureAlgorithm::try_from(signature) {
        Ok(SignatureAlgorithm::RSASSA_PSS(pss)) => {
            let hash = pss.hash_algorithm_oid();
            let same = pss.mask_gen_algorithm().is_ok_and(|mask| mask.hash == *hash);
            same.then(|| hash.to_id_string())?
        }
        _ => signature.algorithm.to_id_string(),
    };
    let octets = certificate.as_ref();
    // The OIDs are those of RFC 8017, section A.2.4 and C, RFC 5758, section 3.2, RFC 3279, section
    // 2.2 and RFC 5754, section 2.
    Some(match oid.as_str() {
        // RFC 5929, section 4.1: "if the hash function is either MD5 or SHA-1, then use SHA-256".
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.2.840.10040.4.3"
        | "1.3.14.3.2.26" => Sha256::digest(octets).to_vec(),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" | "2.16.840.1.101.3.4.2.4" => {
            Sha224::digest(octets).to_vec()
        }
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" | "2.16.840.1.101.3.4.2.1" => {
            Sha256::digest(octets).to_vec()
        }
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            Sha384::digest(octets).to_vec()
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            Sha512::digest(octets).to_vec()
        }
        _ => return None,
    })
}
