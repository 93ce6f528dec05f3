//! The first example of the README, as a program, against Postfix.

use std::process::Command;

use smtp_tokio_adapter::test_kit::Pki;

use crate::peers::{Peer, lab, start_plain, unique};

#[test]
fn the_first_example_of_the_readme_delivers_to_postfix_over_verified_tls() {
    let Some(lab) = lab() else { return };
    let (pki, folder) = (Pki::new(), lab.state.join(unique("hello")));
    let (chain, key) = pki.identity_pem("localhost");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, pem: &str| {
        std::fs::write(folder.join(name), pem).unwrap();
        folder.join(name).display().to_string()
    };
    let (chain, key) = (file("chain.pem", &chain), file("key.pem", &key));
    let root = file("root.pem", pki.root_pem());
    let options = ["--cert", &chain, "--key", &key];
    let Some(server) = start_plain(lab, Peer::POSTFIX, &options) else { return };

    // target/PROFILE/deps/this-test -> target/PROFILE/examples/hello
    let test = std::env::current_exe().unwrap();
    let output = Command::new(test.parent().unwrap().parent().unwrap().join("examples/hello"))
        .env("SMTP_HOST", "localhost")
        .env("SMTP_PORT", server.address.port().to_string())
        .env("SSL_CERT_FILE", root)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.starts_with("delivered ("), "{output:?}");
    let stored = server.stored_text("Subject: hello");
    assert!(stored.contains("using TLSv1.3") && stored.contains("me@me.example"), "{stored}");
}
