//! The uses for which a certificate must be meant (RFC 5280, section 4.2.1.12).

use webpki::{ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage};

/// What the peer uses its certificate for.
///
/// A certificate without the extension is meant for every use, and so is one with
/// anyExtendedKeyUsage: RFC 5280 lets an application refuse the latter, and there is no harm in
/// what the authority says in so many words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A server: id-kp-serverAuth.
    Server,
    /// A client: id-kp-clientAuth.
    Client,
    /// A client, which may use the certificate that it has as a server.
    ClientOrServer,
}

const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const ANY: &[u8] = &[0x55, 0x1d, 37, 0];

impl Purpose {
    /// Whether a key purpose includes this use.
    pub(super) fn is_met_by(self, oid: &[u8]) -> bool {
        match oid {
            ANY => true,
            SERVER_AUTH => matches!(self, Self::Server | Self::ClientOrServer),
            CLIENT_AUTH => matches!(self, Self::Client | Self::ClientOrServer),
            _ => false,
        }
    }

    fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::server_auth(),
            Self::Client | Self::ClientOrServer => KeyUsage::client_auth(),
        }
    }
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let taken: Vec<_> = [SERVER_AUTH, CLIENT_AUTH, ANY]
            .into_iter()
            .filter(|oid| self.is_met_by(oid))
            .map(KeyPurposeId::new)
            .collect();
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if taken.contains(&purpose) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        match present.is_empty() {
            true => Ok(()),
            false => {
                Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext {
                    required: self.usage(),
                    present,
                }))
            }
        }
    }
}
