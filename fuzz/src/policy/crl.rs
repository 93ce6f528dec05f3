use smtp_tls_policy::pki::Crl;
use webpki::BorrowedCertRevocationList;

/// An error points into the list. A list that is taken is one to rustls-webpki as well, save for
/// what it does not support, and revokes what it revokes there.
pub fn crl(data: &[u8]) {
    let crl = match Crl::from_der(data) {
        Ok(crl) => crl,
        Err(error) => return assert!(error.offset <= data.len(), "{error}"),
    };
    assert!(!crl.version().is_older_than(&crl.version()) && crl.is_of_the_same_kind(&crl));
    // What rustls-webpki does not support: some scopes, and years before 1970, which are long past
    // either way.
    use webpki::Error::{BadDerTime, UnsupportedCrlIssuingDistributionPoint};
    let peer = match BorrowedCertRevocationList::from_der(data) {
        Ok(peer) => peer,
        Err(UnsupportedCrlIssuingDistributionPoint | BadDerTime) => return,
        Err(error) => panic!("rustls-webpki refuses it: {error}"),
    };
    let mut entries = 0;
    for entry in &peer {
        match entry {
            Ok(entry) => assert!(crl.lists(entry.serial_number)),
            Err(error) => assert_eq!(error, BadDerTime),
        }
        entries += 1;
    }
    assert_eq!(crl.len(), entries);
}
