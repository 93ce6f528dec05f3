//! Certificates and private keys in PEM files, and their replacement while the program runs.

use std::path::PathBuf;
use std::sync::Arc;

use pki_types::pem::{self, PemObject};
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::tls::ServerIdentities;

use crate::client::outbound::Outbound;
use crate::pem_files::{CertificateFileError, MAX_IDENTITY_FILE, damaged, read};

/// The files of one certificate: its chain and its private key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityFiles {
    /// The certificate, and after it the certificates of its issuers without the root.
    pub certificates: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1, not encrypted. It may be in the same file.
    pub key: PathBuf,
}

impl IdentityFiles {
    /// A chain and its key in these files.
    pub fn new(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificates: certificates.into(), key: key.into() }
    }

    /// Reads the files. They are small: the call blocks for a moment.
    ///
    /// # Errors
    ///
    /// A [`CertificateFileError`] that names the file.
    pub fn load(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, CertificateFileError> {
        let text = read(&self.certificates, MAX_IDENTITY_FILE)?;
        let chain = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| damaged(&self.certificates, error))?;
        if chain.is_empty() {
            return Err(CertificateFileError::NoCertificate { path: self.certificates.clone() });
        }
        let key = zeroize::Zeroizing::new(read(&self.key, MAX_IDENTITY_FILE)?);
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateFileError::NoKey { path: self.key.clone() },
            other => damaged(&self.key, other),
        })?;
        CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateFileError::Mismatch {
                    certificates: self.certificates.clone(),
                    key: self.key.clone(),
                }
            }
            source => {
                CertificateFileError::Unusable { certificates: self.certificates.clone(), source }
            }
        })
    }
}

/// The certificates of a server, from PEM files that are read again when they change.
///
/// ```no_run
/// use std::sync::Arc;
/// use smtp_tls_policy::tls::{ClientCertificates, server_config};
/// use smtp_tokio_adapter::{IdentityFiles, ServerCertificates};
///
/// let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
/// let files = vec![
///     IdentityFiles::new("mx.example.com-ecdsa.pem", "mx.example.com-ecdsa.key"), // the default
///     IdentityFiles::new("mx.example.com-rsa.pem", "mx.example.com-rsa.key"),
///     IdentityFiles::new("mx.example.org.pem", "mx.example.org.key"),
/// ];
/// let certificates = ServerCertificates::load(files, Arc::clone(&provider))?;
/// let tls = server_config(certificates.identities(), ClientCertificates::None, provider)?;
/// // ... `tls` goes into `Inbound::tls`. After a renewal, for example on SIGHUP:
/// if certificates.reload().is_err() {
///     // The log has the reason, and the certificates from before stay in use.
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServerCertificates {
    files: Vec<IdentityFiles>,
    provider: Arc<CryptoProvider>,
    identities: ServerIdentities,
}

impl ServerCertificates {
    /// Loads the certificates in these files, of which the first is the default. See
    /// [`ServerIdentities`] for how one of them is chosen.
    ///
    /// # Errors
    ///
    /// A [`CertificateFileError`] about the first file that cannot be used.
    pub fn load(
        files: Vec<IdentityFiles>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, CertificateFileError> {
        let identities = ServerIdentities::new(load_all(&files, &provider)?)?;
        Ok(Self { files, provider, identities })
    }

    /// What a server shows, for [`server_config`](smtp_tls_policy::tls::server_config). A reload
    /// changes it.
    pub fn identities(&self) -> ServerIdentities {
        self.identities.clone()
    }

    /// Reads the files again. The next handshake shows the new certificates; handshakes that run
    /// and connections that are open are not affected. The call blocks for a moment.
    ///
    /// # Errors
    ///
    /// A [`CertificateFileError`] about the first file that cannot be used. In that case all
    /// certificates from before stay in use, and an error in the log says so.
    pub fn reload(&self) -> Result<(), CertificateFileError> {
        let replaced = load_all(&self.files, &self.provider)
            .and_then(|identities| Ok(self.identities.replace(identities)?));
        match &replaced {
            Ok(()) => tracing::info!(certificates = self.files.len(), "certificates reloaded"),
            Err(error) => tracing::error!(
                %error,
                "the server's certificates cannot be reloaded; those from before stay in use"
            ),
        }
        replaced
    }
}

fn load_all(
    files: &[IdentityFiles],
    provider: &CryptoProvider,
) -> Result<Vec<Arc<CertifiedKey>>, CertificateFileError> {
    files.iter().map(|files| files.load(provider)).collect()
}

impl Outbound {
    /// Loads a client identity from files, under the name that connectors give it, or loads it
    /// again. The next handshake shows it. The call blocks for a moment.
    ///
    /// # Errors
    ///
    /// A [`CertificateFileError`] about the file that cannot be used. In that case the identity
    /// from before stays in use, and an error in the log says so.
    pub fn load_identity(
        &self,
        id: &IdentityId,
        files: &IdentityFiles,
    ) -> Result<(), CertificateFileError> {
        let loaded = files.load(self.tls.provider());
        match loaded {
            Ok(identity) => {
                self.tls.add_identity(id.clone(), identity);
                tracing::info!(identity = %id, "client identity loaded");
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    identity = %id,
                    %error,
                    "a client identity cannot be loaded; if there was one before, it stays in use"
                );
                Err(error)
            }
        }
    }
}
