//! What a file of settings holds. The documentation of [`Setup`](super::Setup) has all fields.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use smtp_proto::route::SMTP_PORT;
use toml::Spanned;

/// The file of settings.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) other_names: Vec<Spanned<String>>,
    pub(super) connectors: Spanned<PathBuf>,
    pub(super) state: Spanned<PathBuf>,
    pub(super) store: Option<Spanned<String>>,
    pub(super) resolver: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) dnssec: Dnssec,
    pub(super) trust_anchor: Option<Spanned<PathBuf>>,
    #[serde(default = "smtp")]
    pub(super) port: u16,
    #[serde(default)]
    pub(super) roots: BTreeMap<String, Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) lists: BTreeMap<String, Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) identities: BTreeMap<String, Files>,
    #[serde(default)]
    pub(super) credentials: BTreeMap<String, Login>,
    #[serde(default, deserialize_with = "tables")]
    pub(super) certificate: Vec<Files>,
    #[cfg(feature = "crlite")]
    pub(super) crlite: Option<Spanned<PathBuf>>,
}

impl Settings {
    /// The fields that a reload does not put in force and that have another value in `now`.
    pub(super) fn changed(&self, now: &Self) -> Vec<&'static str> {
        let fields = [
            ("name", self.name != now.name),
            ("other-names", self.other_names != now.other_names),
            ("connectors", self.connectors != now.connectors),
            ("state", self.state != now.state),
            ("store", self.store != now.store),
            ("resolver", self.resolver != now.resolver),
            ("dnssec", self.dnssec != now.dnssec),
            ("trust-anchor", self.trust_anchor != now.trust_anchor),
            ("port", self.port != now.port),
            // Whether there is STARTTLS.
            ("certificate", self.certificate.is_empty() != now.certificate.is_empty()),
            #[cfg(feature = "crlite")]
            ("crlite", self.crlite != now.crlite),
        ];
        fields.into_iter().filter_map(|(field, has_changed)| has_changed.then_some(field)).collect()
    }
}

/// A user and the file with the password.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Login {
    pub(super) user: Spanned<String>,
    pub(super) password_file: Spanned<PathBuf>,
}

/// The files of a certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    pub(super) chain: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
}

/// Which part of this host validates DNSSEC.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Dnssec {
    #[default]
    Validate,
    Resolver,
}

const fn smtp() -> u16 {
    SMTP_PORT
}

/// An array of tables. To people who wrote one table, the error says how several are written.
fn tables<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Tables<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tables, each with its name in double brackets: [[name]]")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut tables: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(table) = tables.next_element()? {
                all.push(table);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_seq(Tables(PhantomData))
}
