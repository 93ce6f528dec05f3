//! The pages of `--html`, opened in a real browser.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::{HOST, Pki};
use crate::program::{Folder, smtp_tls, smtp_tls_with};
use crate::servers::with_tls;

/// What the browser made of a page.
struct Opened {
    dom: String,
    log: String,
    /// What was asked of the network, other than by the browser for itself.
    asked: Vec<String>,
}

/// Opens a page in chromium without a window; `None` where it is not installed, which is said, and
/// fails in CI.
fn open(folder: &Folder, page: &str) -> Option<Opened> {
    // Every request to the network comes here.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in proxy.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(stream).read_line(&mut line);
            seen.lock().unwrap().push(line);
        }
    });
    let profile = folder.path().join("profile");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", "--disable-extensions", "--enable-logging=stderr", "--v=0"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--proxy-server=http://{address}"))
        .args(["--window-size=390,844", "--dump-dom"])
        .arg(format!("file://{page}"))
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "in CI the pages must be opened: chromium (package chromium): {error}"
            );
            // Past libtest, which hides what a test prints as long as it passes.
            let why = "skipped: chromium is not installed (package chromium)";
            let _ = writeln!(std::io::stderr(), "{why}");
            return None;
        }
    };
    let own = ["google", "gstatic", "googleapis", "gvt1", "chromium"];
    let asked = asked.lock().unwrap().clone();
    Some(Opened {
        dom: String::from_utf8(output.stdout).unwrap(),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
        asked: asked.into_iter().filter(|line| !own.iter().any(|it| line.contains(it))).collect(),
    })
}

#[track_caller]
fn is_clean(opened: &Opened, parts: &[&str]) {
    assert!(!opened.log.contains("CONSOLE"), "{}", opened.log);
    assert!(opened.asked.is_empty(), "{:?}", opened.asked);
    for part in parts {
        assert!(opened.dom.contains(part), "{part}: {}", opened.dom);
    }
    for reference in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!opened.dom.contains(reference), "{reference}");
    }
}

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
    assert!(written.contains("&lt;b&gt;.example") && !written.contains("<b>.example"));
    let Some(opened) = open(&folder, &page) else { return };
    is_clean(
        &opened,
        &[
            "<div class=\"box\">old.example [192.0.2.7]</div>",
            "<div class=\"arrow red\"><b>clear text</b>",
            "<div class=\"box\">edge.example</div>",
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
        let Some(opened) = open(&folder, &page) else { return };
        is_clean(
            &opened,
            &[
                "<div class=\"arrow green\"><b>TLS</b>",
                "TLSv1.3",
                "a chain to the roots public",
                "<td>dane-only</td><td>deferred</td>",
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
