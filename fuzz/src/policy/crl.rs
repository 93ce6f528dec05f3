use smtp_tls_policy::pki::Crl;
use webpki::{BorrowedCertRevocationList, RevocationReason};

/// An error points into the list. A list that is taken is one to rustls-webpki as well, save for
/// what it does not support, and revokes what it revokes there.
pub fn crl(data: &[u8]) {
    let crl = match Crl::from_der(data) {
        Ok(crl) => crl,
        Err(error) => return assert!(error.offset <= data.len(), "{error}"),
    };
    assert!(!crl.is_older_than(&crl) && crl.is_of_the_same_kind(&crl));
    // What rustls-webpki does not support: some scopes, and years before 1970, which are long past
    // either way.
    use webpki::Error::{BadDerTime, UnsupportedCrlIssuingDistributionPoint};
    let peer = match BorrowedCertRevocationList::from_der(data) {
        Ok(peer) => peer,
        Err(UnsupportedCrlIssuingDistributionPoint | BadDerTime) => return,
        Err(error) => panic!("rustls-webpki refuses it: {error}"),
    };
    let (mut revoked, mut unread) = (0, 0);
    for entry in &peer {
        match entry {
            // RFC 5280, section 6.3.3, (k).
            Ok(entry) if entry.reason_code == Some(RevocationReason::RemoveFromCrl) => {}
            Ok(entry) => {
                assert!(crl.lists(entry.serial_number));
                revoked += 1;
            }
            Err(error) => {
                assert_eq!(error, BadDerTime);
                unread += 1;
            }
        }
    }
    assert!((revoked..=revoked + unread).contains(&crl.len()));
}
