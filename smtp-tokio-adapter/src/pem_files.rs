//! Files with root certificates and revocation lists, and what can be wrong with a file of
//! certificates, keys or lists.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pki_types::pem::{self, PemObject};
use pki_types::{CertificateDer, CertificateRevocationListDer};
use smtp_tls_policy::pki::{CrlError, RootError, RootsId, Trust};
use smtp_tls_policy::tls::TlsConfigError;

/// Most octets of a file with an identity: a chain of
/// [`MAX_CHAIN_BYTES`](smtp_tls_policy::judge::MAX_CHAIN_BYTES) with room for text beside it.
pub const MAX_IDENTITY_FILE: u64 = 1 << 20;
/// Most octets of a file with roots or revocation lists.
pub const MAX_TRUST_FILE: u64 = 64 << 20;

/// Why a file with certificates, keys or revocation lists cannot be used, or the certificate store
/// of the operating system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFileError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is larger than [`MAX_IDENTITY_FILE`] or [`MAX_TRUST_FILE`].
    #[error("{} is larger than {limit} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The file is not PEM.
    #[error("{} is not a PEM file: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("{} has no certificate in PEM; it needs a section BEGIN CERTIFICATE", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file has no private key.
    #[error("{} has no private key that is not encrypted", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is not that of the certificate.
    #[error("the private key of {} is not that of the certificate in {}", key.display(), certificates.display())]
    Mismatch {
        /// The file with the certificate.
        certificates: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The provider cannot use the certificate or the key.
    #[error("the certificate in {} and its key cannot be used: {source}", certificates.display())]
    Unusable {
        /// The file with the certificate.
        certificates: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
    /// A certificate of the file cannot serve as a root.
    #[error("{}: {source}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with the certificate.
        source: RootError,
    },
    /// A revocation list of the file cannot be used.
    #[error("{}: {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with the list.
        source: CrlError,
    },
    /// No files were given.
    #[error(transparent)]
    None(#[from] TlsConfigError),
    /// The certificate store of the operating system cannot be read.
    #[cfg(feature = "native-certs")]
    #[error("the root certificates of the operating system cannot be loaded: {0}")]
    SystemStore(#[from] rustls_native_certs::Error),
    /// The certificate store of the operating system can be read, and holds no certificate that can
    /// serve as a root.
    #[cfg(feature = "native-certs")]
    #[error(
        "the operating system has no usable root certificates; install them (on many systems the \
         package ca-certificates), or set SSL_CERT_FILE"
    )]
    NoSystemRoots,
}

impl CertificateFileError {
    /// The file that has to be changed, if it is one.
    #[cfg(all(unix, feature = "settings"))]
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Read { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Pem { path, .. }
            | Self::NoCertificate { path }
            | Self::NoKey { path }
            | Self::Root { path, .. }
            | Self::List { path, .. } => Some(path),
            Self::Mismatch { key, .. } => Some(key),
            Self::Unusable { certificates, .. } => Some(certificates),
            Self::None(_) => None,
            #[cfg(feature = "native-certs")]
            Self::SystemStore(_) | Self::NoSystemRoots => None,
        }
    }
}

/// Trusts the root certificates of a PEM file in the set of this name. Blocks on the disk.
///
/// # Errors
///
/// A [`CertificateFileError`] about the first certificate that cannot be used, or about a file
/// without one.
pub fn add_roots_file(
    trust: &mut Trust,
    set: &RootsId,
    path: &Path,
) -> Result<(), CertificateFileError> {
    let octets = read(path, MAX_TRUST_FILE)?;
    let mut found = false;
    for root in CertificateDer::pem_slice_iter(&octets) {
        let root = root.map_err(|source| damaged(path, source))?;
        let wrong = |source| CertificateFileError::Root { path: path.to_owned(), source };
        trust.add_root_der(set, &root).map_err(wrong)?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(CertificateFileError::NoCertificate { path: path.to_owned() }),
    }
}

/// Adds the revocation lists of a file, in PEM or one in DER, to the set of this name. Blocks on
/// the disk.
///
/// # Errors
///
/// A [`CertificateFileError`] about the first list that cannot be used.
pub fn add_lists_file(
    trust: &mut Trust,
    set: &RootsId,
    path: &Path,
) -> Result<(), CertificateFileError> {
    let octets = read(path, MAX_TRUST_FILE)?;
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(&octets) {
        lists.push(list.map_err(|source| damaged(path, source))?.to_vec());
    }
    if lists.is_empty() {
        lists.push(octets);
    }
    for list in lists {
        let wrong = |source| CertificateFileError::List { path: path.to_owned(), source };
        trust.add_crl_der(set, &list).map_err(wrong)?;
    }
    Ok(())
}

pub(crate) fn damaged(path: &Path, source: pem::Error) -> CertificateFileError {
    CertificateFileError::Pem { path: path.to_owned(), source }
}

/// Reads a file of at most so many octets.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CertificateFileError> {
    let failed = |source| CertificateFileError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    // No copy of a private key is left where the buffer has grown.
    let mut octets = Vec::with_capacity(size.min(limit) as usize + 1);
    let count = file.take(limit + 1).read_to_end(&mut octets).map_err(failed)?;
    match count as u64 > limit {
        true => Err(CertificateFileError::TooLarge { path: path.to_owned(), limit }),
        false => Ok(octets),
    }
}
