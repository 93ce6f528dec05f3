//! The certificate of all servers, in files.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use smtp_tls_policy::pki::Trust;
use smtp_tokio_adapter::test_kit::Pki;

/// The name of all servers.
pub(crate) const NAME: &str = "mail.test.example";

/// A certificate for [`NAME`] and the other names below `test.example`, its key, and the root that
/// issued it. The files are removed when this is dropped.
pub(crate) struct Certificate {
    folder: PathBuf,
    pki: Pki,
}

impl Certificate {
    pub(crate) fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("smtp-load-{}", std::process::id()));
        let made = Self { folder, pki: Pki::new() };
        let (chain, key) = made.pki.identity_pem("*.test.example");
        std::fs::create_dir_all(&made.folder)
            .and_then(|()| std::fs::write(made.folder.join("chain.pem"), chain))
            .and_then(|()| std::fs::write(made.folder.join("key.pem"), key))
            .map_err(|error| format!("{}: {error}", made.folder.display()))?;
        Ok(made)
    }

    /// The chain and the key.
    pub(crate) fn files(&self) -> [String; 2] {
        ["chain.pem", "key.pem"].map(|file| self.folder.join(file).display().to_string())
    }

    pub(crate) fn trust(&self) -> Trust {
        self.pki.trust()
    }

    pub(crate) const fn root(&self) -> &CertificateDer<'static> {
        self.pki.root()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("load: {}: {error}", self.folder.display());
        }
    }
}
