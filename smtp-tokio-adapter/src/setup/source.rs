//! The place of each fault of the settings: file, line and field.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use smtp_tls_policy::rules::{ConfigError, Faults};
use toml::Spanned;

use super::settings::{Files, Settings};
use crate::identities::IdentityFiles;

/// The text of a file of settings.
pub(super) fn read(file: &Path) -> Result<String, Faults<ConfigError>> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!("the file cannot be read: {error}");
        ConfigError::new(file.display().to_string(), 1, "", message).into()
    })
}

/// The text of the settings, for the places of its faults.
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The settings of the text.
    pub(super) fn settings(&self) -> Result<Settings, Faults<ConfigError>> {
        toml::from_str(self.text).map_err(|error| self.syntax(&error))
    }

    /// A path of the settings, from their folder.
    pub(super) fn path(&self, path: &Spanned<PathBuf>) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path.get_ref())
    }

    /// Loads a certificate and its key. An error is one of the field with the file at fault.
    pub(super) fn identity(
        &self,
        field: &str,
        files: &Files,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, Faults<ConfigError>> {
        let key = self.path(&files.key);
        let loaded = IdentityFiles::new(self.path(&files.chain), &key).load(provider);
        loaded.map_err(|error| {
            let (name, file) = match error.path() == Some(&key) {
                true => ("key", &files.key),
                false => ("chain", &files.chain),
            };
            self.error(file.span().start, &format!("{field}.{name}"), error)
        })
    }

    /// The text of a file that a field names.
    pub(super) fn text(
        &self,
        field: &str,
        file: &Spanned<PathBuf>,
    ) -> Result<String, Faults<ConfigError>> {
        let path = self.path(file);
        self.check(field, file, |_| {
            std::fs::read_to_string(&path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))
        })
    }

    /// A folder below `state`, which is made if it is not there.
    pub(super) fn folder(
        &self,
        state: &Spanned<PathBuf>,
        name: &str,
    ) -> Result<PathBuf, Faults<ConfigError>> {
        let folder = self.path(state).join(name);
        self.check("state", state, |_| std::fs::create_dir_all(&folder))?;
        Ok(folder)
    }

    /// Makes something of the value of a field. An error is one of this field.
    pub(super) fn check<V, T, E: Display>(
        &self,
        field: &str,
        value: &Spanned<V>,
        make: impl FnOnce(&V) -> Result<T, E>,
    ) -> Result<T, Faults<ConfigError>> {
        make(value.get_ref()).map_err(|error| self.error(value.span().start, field, error))
    }

    /// A fault that serde has found: its field is the one on the line, or its table.
    fn syntax(&self, error: &toml::de::Error) -> Faults<ConfigError> {
        let at = error.span().unwrap_or_default().start;
        let line = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[line..].lines().next().unwrap_or_default();
        let is_end = |c| c == '=' || c == '[' || c == ']';
        let field = line.trim_start_matches('[').split(is_end).next().unwrap_or_default().trim();
        self.error(at, field, error.message())
    }

    fn error(&self, at: usize, field: &str, message: impl Display) -> Faults<ConfigError> {
        let line = self.text[..at].matches('\n').count() + 1;
        ConfigError::new(self.file.display().to_string(), line, field, message).into()
    }
}
