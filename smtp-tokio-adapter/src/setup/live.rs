//! What a reload replaces while mail flows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::pki::{LiveTrust, Trust};
use smtp_tls_policy::rules::{Config, ConfigError, Faults, IdentityId, OutboundConnectors};
use smtp_tls_policy::tls::{ClientTls, ServerIdentities};
use tokio::task::JoinError;

use super::settings::Settings;
use super::source::{Source, read};

/// What stays if the file of settings itself has a fault.
const ALL: &str = "everything";

/// What a setup was made of, and what of it may be replaced.
pub(super) struct Live {
    /// The file of settings, and what it said at the start.
    pub(super) file: PathBuf,
    pub(super) settings: Settings,
    /// The connectors at the start, by which the sender and the listener go on.
    pub(super) connectors: Connectors,
    pub(super) outbound: Arc<OutboundConnectors>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) trust: Arc<LiveTrust>,
    pub(super) tls: Arc<ClientTls>,
    /// None if the listener began without a certificate.
    pub(super) certificates: Option<ServerIdentities>,
}

/// The file of the connectors and its text.
pub(super) struct Connectors {
    pub(super) file: PathBuf,
    pub(super) text: String,
}

impl Connectors {
    /// The same, with a path that does not depend on the working directory.
    pub(super) fn absolute(self) -> Self {
        Self { file: absolute(&self.file), ..self }
    }

    /// The connectors, if this trust and these client identities have all that they name.
    pub(super) fn read(
        &self,
        trust: &Trust,
        identities: &[IdentityId],
    ) -> Result<Config, Faults<ConfigError>> {
        Config::from_toml(&self.file.display().to_string(), &self.text, trust, identities)
    }
}

/// The path, from the root of the file system: the program may change its working directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What became of a reload.
#[derive(Default)]
pub(super) struct Reloaded {
    /// What could not be replaced, and why.
    pub(super) kept: Vec<(&'static str, Faults<ConfigError>)>,
    /// The settings that have changed and take effect at the next start.
    pub(super) later: Vec<&'static str>,
    /// The credentials for each smart host, by connector; `None` if they have a fault.
    pub(super) credentials: Option<Vec<(String, Credentials)>>,
}

impl Live {
    /// Reads the files again and replaces what they hold, each kind as a whole or not at all. It
    /// blocks on the disk.
    pub(super) fn reload(&self) -> Reloaded {
        let mut reloaded = Reloaded::default();
        if let Err(faults) = self.reload_all(&mut reloaded) {
            reloaded.kept.push((ALL, faults));
        }
        reloaded
    }

    /// The outcome of a reload whose thread has ended before its time.
    pub(super) fn broken(&self, error: &JoinError) -> Reloaded {
        let message = format!("the reload was not done: {error}");
        let fault = ConfigError::new(self.file.display().to_string(), 1, "", message);
        Reloaded { kept: vec![(ALL, fault.into())], ..Reloaded::default() }
    }

    fn reload_all(&self, reloaded: &mut Reloaded) -> Result<(), Faults<ConfigError>> {
        let text = read(&self.file)?;
        let source = Source { file: &self.file, text: &text };
        let settings = source.settings()?;
        reloaded.later = self.settings.changed(&settings);
        let connectors = std::fs::read_to_string(&self.connectors.file);
        // If the file cannot be read now, that matters at the next start.
        if connectors.is_ok_and(|text| text != self.connectors.text)
            && !reloaded.later.contains(&"connectors")
        {
            reloaded.later.push("connectors");
        }
        for (what, result) in [
            ("roots and lists", self.reload_trust(&source, &settings)),
            ("identities", self.reload_identities(&source, &settings)),
            ("certificates", self.reload_certificates(&source, &settings)),
        ] {
            reloaded.kept.extend(result.err().map(|faults| (what, faults)));
        }
        match settings.credentials(&source, &self.outbound) {
            Ok(credentials) => reloaded.credentials = Some(credentials),
            Err(faults) => reloaded.kept.push(("credentials", faults)),
        }
        Ok(())
    }

    fn reload_trust(
        &self,
        source: &Source<'_>,
        settings: &Settings,
    ) -> Result<(), Faults<ConfigError>> {
        let trust = settings.trust(source)?;
        // What the connectors name must not go.
        self.connectors.read(&trust, &self.tls.identities())?;
        self.trust.update(|current| current.reload(trust));
        Ok(())
    }

    fn reload_identities(
        &self,
        source: &Source<'_>,
        settings: &Settings,
    ) -> Result<(), Faults<ConfigError>> {
        let loaded = settings.identities(source, &self.provider)?;
        let names: Vec<IdentityId> = loaded.iter().map(|(id, _)| id.clone()).collect();
        self.connectors.read(&self.trust.load(), &names)?;
        for (id, identity) in loaded {
            // Of an equal certificate the key is equal. Its connections and sessions stay.
            let current = self.tls.current_identity(&id);
            if current.is_none_or(|current| current.cert != identity.cert) {
                self.tls.add_identity(id, identity);
            }
        }
        Ok(())
    }

    fn reload_certificates(
        &self,
        source: &Source<'_>,
        settings: &Settings,
    ) -> Result<(), Faults<ConfigError>> {
        let (Some(certificates), Some(default)) =
            (&self.certificates, settings.certificate.first())
        else {
            return Ok(());
        };
        let loaded = settings.certificates(source, &self.provider)?;
        source.check("certificate", &default.chain, |_| certificates.replace(loaded))
    }
}
