//! The certificates of the listener.

use std::fs;

use crate::certificates::{client, ecdsa, leaf, rsa, shown, verifying, write};
use crate::common::programs::Folder;
use crate::common::{HOST, changed, provider, start};
use crate::{CONNECTOR, load, write_settings};

/// Tables for the certificates in files of these names.
pub(crate) fn tables(names: &[&str]) -> String {
    let table = |name| format!("[[certificate]]\nchain = \"{name}.pem\"\nkey = \"{name}.key\"\n");
    names.iter().map(table).collect()
}

#[tokio::test]
async fn certificate_is_chosen_by_server_name_and_kind_of_key_and_the_first_one_is_the_default() {
    let (folder, pki) = Folder::with_pki();
    let path = folder.path("");
    let default = write(&pki, &path, "ecdsa", &[HOST], &ecdsa());
    let rsa = write(&pki, &path, "rsa", &[HOST], &rsa());
    let other = write(&pki, &path, "other", &["mx.other.example"], &ecdsa());
    write_settings(&folder, &tables(&["ecdsa", "rsa", "other"]), CONNECTOR);
    let setup = load(&folder).await.unwrap();
    let server = start(changed(setup.inbound, |it| it.implicit = true)).await;
    for (provider, name, files) in [
        (provider(), HOST, &default),
        (verifying(false), HOST, &default),
        (verifying(true), HOST, &rsa),
        (provider(), "mx.other.example", &other),
    ] {
        let shown = shown(&client(&pki, provider), server.address, name).await.unwrap();
        assert_eq!(shown, leaf(files), "{name} {}", files.key.display());
    }
    let unknown = shown(&client(&pki, provider()), server.address, "unknown.example").await;
    let error = unknown.unwrap_err().to_string();
    assert!(error.contains(HOST), "the default is shown: {error}");
}

#[tokio::test]
async fn fault_of_a_certificate_names_the_line_and_the_field_of_its_table() {
    let (folder, pki) = Folder::with_pki();
    let path = folder.path("");
    write(&pki, &path, "first", &[HOST], &ecdsa());
    write(&pki, &path, "second", &[HOST], &ecdsa());
    fs::write(folder.path("empty.pem"), "").unwrap();
    let good = tables(&["first", "second"]);
    for (before, after, expected) in [
        ("second.pem", "lost.pem", "mail.toml: line 11, field certificate.chain: "),
        ("second.pem", "empty.pem", "mail.toml: line 11, field certificate.chain: "),
        ("second.key", "lost.key", "mail.toml: line 12, field certificate.key: "),
        ("second.key", "second.pem", "mail.toml: line 12, field certificate.key: "),
        ("second.key", "first.key", "mail.toml: line 12, field certificate.key: the private key"),
        ("first.pem", "second.pem", "mail.toml: line 9, field certificate.key: the private key"),
        ("key = \"second.key\"", "", "mail.toml: line 10, field certificate: missing field `key`"),
        ("key = \"second", "keys = \"second", "mail.toml: line 12, field keys: unknown field"),
    ] {
        write_settings(&folder, &good.replacen(before, after, 1), CONNECTOR);
        let said = load(&folder).await.map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(expected), "{expected} is not in {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    write_settings(
        &folder,
        &tables(&["first"]).replace("[[certificate]]", "[certificate]"),
        CONNECTOR,
    );
    let said = load(&folder).await.map(|_| ()).unwrap_err().to_string();
    let expected = "mail.toml: line 7, field certificate: ";
    assert!(said.contains(expected) && said.contains("double brackets"), "{said}");
}
