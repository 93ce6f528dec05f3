//! The pages of `--html`, opened in a real browser.

use crate::browser::{is_clean, open};
use crate::common::{HOST, Pki};
use crate::program::{Folder, smtp_tls, smtp_tls_with};
use crate::servers::with_tls;

#[test]
fn a_reviewed_path_is_drawn_as_boxes_and_arrows_with_words() {
    let folder = Folder::new();
    let message = "Received: from edge.example (edge.example [192.0.2.9])\r\n\
        \tby <b>.example (Postfix) with ESMTPS id 2; Tue, 3 Mar 2009 11:08:34 +0000\r\n\
        Received: from old.example (old.example [192.0.2.7])\r\n\
        \tby edge.example (Postfix) with ESMTP id 1; Tue, 3 Mar 2009 11:08:33 +0000\r\n\r\n";
    let page = folder.file("page.html", "");
    let ran = smtp_tls_with(&["review", "-", "--html", &page], message.as_bytes());
    assert_eq!(ran.status, 1, "{ran:?}");
    let written = std::fs::read_to_string(&page).unwrap();
    // What a peer wrote is text and nothing else.
    assert!(written.contains("&lt;b&gt;.<wbr>example") && !written.contains("<b>.example"));
    let Some(opened) = open(folder.path(), &page) else { return };
    is_clean(
        &opened,
        &[
            "<div class=\"box\">old.<wbr>example [192.0.2.7]</div>",
            "<div class=\"arrow red\"><b>clear text</b>",
            "<div class=\"box\">edge.<wbr>example</div>",
            "<div class=\"arrow green\"><b>TLS</b>",
        ],
    );
}

#[test]
fn probe_and_test_draw_the_host_its_certificates_and_the_decisions() {
    let (folder, pki) = (Folder::new(), Pki::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let root = folder.file("root.pem", pki.root_pem());
    let address = address.to_string();
    let config = folder.file(
        "c.toml",
        format!(
            "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\", \"{HOST}\"]\nposture = \"verified\"\n"
        ),
    );
    let page = folder.file("page.html", "");
    for command in
        [&["probe", HOST, "--config", &config][..], &["test", "all", "--config", &config]]
    {
        let mut arguments = command.to_vec();
        arguments.extend(["--connect", &address, "--ca", &root, "--html", &page]);
        let ran = smtp_tls(&arguments);
        assert_eq!(ran.status, 0, "{ran:?}");
        let Some(opened) = open(folder.path(), &page) else { return };
        is_clean(
            &opened,
            &[
                "<div class=\"arrow green\"><b>TLS</b>",
                "TLSv1.3",
                "a chain to the roots public",
                "<td data-of=\"Posture\">none</td><td data-of=\"Decision\">clear text</td>",
            ],
        );
    }
}

#[test]
fn a_page_that_cannot_be_written_ends_with_5() {
    let message = b"Subject: x\r\n\r\n";
    let ran = smtp_tls_with(&["review", "--html", "/nonexistent/page.html"], message);
    assert_eq!(ran.status, 5, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    // What was found is not lost.
    let (folder, pki) = (Folder::new(), Pki::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let root = folder.file("root.pem", pki.root_pem());
    let address = address.to_string();
    let text = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"verified\"\n";
    let config = folder.file("c.toml", text);
    for command in [&["probe", HOST][..], &["test", "all", "--config", &config, "--domain", HOST]] {
        let more = ["--connect", &address, "--ca", &root, "--json", "--html", "/nonexistent/p"];
        let ran = smtp_tls(&[command, &more].concat());
        assert_eq!((ran.status, ran.stderr.lines().count()), (5, 1), "{ran:?}");
        assert!(ran.json().is_object(), "{ran:?}");
    }
}

/// The names of each message are five times as long on the page as in its header section.
#[test]
fn a_page_draws_a_limited_number_of_octets() {
    let folder = Folder::new();
    let (client, server) = ("a".repeat(400), "&".repeat(400));
    let field = format!(
        "Received: from {client} (x [192.0.2.1]) by {server}\n with ESMTP id 1;\n \
         Tue, 3 Mar 2009 11:08:33 +0000\n"
    );
    let mbox = format!("From x\n{}\n.\n\n", field.repeat(1000)).repeat(10);
    let page = folder.file("page.html", "");
    let ran = smtp_tls_with(&["review", "-", "--html", &page], mbox.as_bytes());
    assert_eq!(ran.stderr, "", "{:?}", ran.status);
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(written.contains(" more are not drawn.</p>"), "{}", written.len());
    assert!(written.len() < 24 << 20, "{}", written.len());
}

#[test]
fn a_page_draws_a_limited_number_of_messages() {
    let folder = Folder::new();
    let mbox = "From x\nSubject: x\n\n.\n\n".repeat(600);
    let page = folder.file("page.html", "");
    let ran = smtp_tls_with(&["review", "-", "--html", &page], mbox.as_bytes());
    assert_eq!(ran.status, 3, "{:?}", ran.stderr);
    let written = std::fs::read_to_string(&page).unwrap();
    assert_eq!(written.matches("<div class=path>").count(), 500);
    assert!(written.contains("<p>100 more are not drawn.</p>"));
}
