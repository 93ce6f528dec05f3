//! The roots that the operating system trusts. Needs the feature `native-certs`.

use smtp_tls_policy::pki::{RootsId, Trust};

use crate::pem_files::CertificateFileError;

/// Trusts, in the set `public`, the roots that the operating system trusts: those of its
/// certificate store, or of the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
///
/// Reads files, so call it once at the start. A certificate that cannot serve as a root is left
/// out, with a warning.
///
/// # Errors
///
/// A [`CertificateFileError`] if the store cannot be read, or holds no usable root: a trust without
/// roots would defer all mail.
pub fn native_roots() -> Result<Trust, CertificateFileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut trust = Trust::empty();
    for root in &found.certs {
        if let Err(error) = trust.add_root_der(&RootsId::public(), root) {
            tracing::warn!(%error, "a root certificate of the operating system is left out");
        }
    }
    let is_empty = trust.names().is_empty();
    for error in found.errors {
        if is_empty {
            return Err(error.into());
        }
        tracing::warn!(%error, "some root certificates of the operating system cannot be loaded");
    }
    if is_empty { Err(CertificateFileError::NoSystemRoots) } else { Ok(trust) }
}
