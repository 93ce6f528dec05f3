//! A sender and a listener from a file of settings.

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod listener;
#[cfg(feature = "redis")]
#[path = "../store/places.rs"]
#[allow(dead_code, reason = "the tests of stores use more of it")]
mod places;
mod reload;
#[cfg(feature = "redis")]
mod shared;
mod store;
#[path = "../crl_fetch/web.rs"]
#[allow(dead_code, reason = "the tests of the fetcher use more of it")]
mod web;

use smtp_tls_policy::rules::{ConfigError, Faults};
use smtp_tokio_adapter::Setup;

use common::programs::Folder;
use common::provider;

/// Settings without a DNS server, which trust the root of the folder. They end in the table of the
/// roots.
const SETTINGS: &str = "name = \"mx.test.example\"\nstate = \".\"\nconnectors = \"connectors.toml\"\n\
                        resolver = \"127.0.0.1:9\"\n[roots]\npublic = \"root.pem\"\n";
/// A connector for all mail.
const CONNECTOR: &str =
    "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"verified\"\n";

/// Writes the settings, with these tables at their end, and these connectors.
fn write_settings(folder: &Folder, tables: &str, connectors: &str) {
    std::fs::write(folder.path("mail.toml"), format!("{SETTINGS}{tables}")).unwrap();
    std::fs::write(folder.path("connectors.toml"), connectors).unwrap();
}

async fn load(folder: &Folder) -> Result<Setup, Faults<ConfigError>> {
    Setup::load(&folder.path("mail.toml"), provider()).await
}
