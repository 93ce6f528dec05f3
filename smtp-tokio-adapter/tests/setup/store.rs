//! Settings that name a store.

use crate::common::programs::Folder;
use crate::{CONNECTOR, load, write_settings};

/// Writes the settings with this field more, and a connector that sends all mail to this port.
pub(crate) fn write(folder: &Folder, store: &str, port: u16) {
    let connector = CONNECTOR.replace("verified", "opportunistic")
        + &format!("smart-host = {{ host = \"[127.0.0.1]\", port = {port} }}\n");
    write_settings(folder, "", &connector);
    let text = std::fs::read_to_string(folder.path("mail.toml")).unwrap();
    let text = text.replace("[roots]", &format!("{store}\n[roots]"));
    std::fs::write(folder.path("mail.toml"), text).unwrap();
}

#[tokio::test]
async fn store_that_is_no_server_or_needs_a_missing_feature_is_named_without_its_password() {
    #[cfg(feature = "redis")]
    let cases = [
        ("/var/lib/mail", "expected the URL of a server, such as redis://127.0.0.1:6379"),
        ("http://user:secret@store.example", "expected the URL"),
        ("redis://:secret@", "expected the URL"),
        ("rediss://:secret@store.example", "TLS"),
    ];
    #[cfg(not(feature = "redis"))]
    let cases = [("redis://:secret@store.example", "needs the feature redis")];
    for (store, expected) in cases {
        let (folder, _) = Folder::with_pki();
        write(&folder, &format!("store = \"{store}\""), 25);
        let said = load(&folder).await.map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("mail.toml: line 5, field store: "), "{said}");
        assert!(said.contains(expected) && !said.contains("secret"), "{said}");
    }
}
