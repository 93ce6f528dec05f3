//! Opens pages in a real browser.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What the browser made of a page.
pub(crate) struct Opened {
    dom: String,
    log: String,
    /// What was asked of the network, other than by the browser for itself.
    asked: Vec<String>,
}

/// Opens a page in chromium without a window, with a profile in this folder; `None` where it is not
/// installed, which is said, and fails in CI.
pub(crate) fn open(folder: &Path, page: &str) -> Option<Opened> {
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
    let profile = folder.join("profile");
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
    // An empty line is a connection that the browser opened ahead of need, and asked nothing on.
    let asked: Vec<_> =
        asked.lock().unwrap().iter().filter(|line| !line.is_empty()).cloned().collect();
    Some(Opened {
        dom: String::from_utf8(output.stdout).unwrap(),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
        asked: asked.into_iter().filter(|line| !own.iter().any(|it| line.contains(it))).collect(),
    })
}

/// The browser has nothing to complain of, the page asked for nothing, and these parts are in it.
#[track_caller]
pub(crate) fn is_clean(opened: &Opened, parts: &[&str]) {
    assert!(!opened.log.contains("CONSOLE"), "{}", opened.log);
    assert!(opened.asked.is_empty(), "{:?}", opened.asked);
    for part in parts {
        assert!(opened.dom.contains(part), "{part}: {}", opened.dom);
    }
    for reference in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!opened.dom.contains(reference), "{reference}");
    }
}
