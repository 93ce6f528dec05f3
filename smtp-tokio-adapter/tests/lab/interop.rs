//! The example `interop` as a program; CI runs all of its matrix.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::unique;
use crate::peers::{Lab, Peer, Suite, has, lab};

fn command(lab: &Lab, arguments: &[&str]) -> Command {
    // target/PROFILE/deps/this-test -> target/PROFILE/examples/interop
    let test = std::env::current_exe().unwrap();
    let mut command =
        Command::new(test.parent().unwrap().parent().unwrap().join("examples").join("interop"));
    command.env("SMTP_LAB_DIR", &lab.scripts).arg(&lab.state).args(arguments).stdin(Stdio::null());
    command
}

/// The cells of a run as (peer, column, result, detail).
fn cells(output: &[u8]) -> Vec<[String; 4]> {
    let text = String::from_utf8_lossy(output);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines.map(|line| ["peer", "column", "result", "detail"].map(|name| word(&line, name))).collect()
}

/// The folders of servers that one process has started.
fn left_behind(lab: &Lab, process: u32) -> Vec<PathBuf> {
    let prefix = format!("server-{process}-");
    let running = std::fs::read_dir(lab.state.join("run")).into_iter().flatten().flatten();
    running
        .map(|it| it.path())
        .filter(|it| it.file_name().unwrap().to_string_lossy().starts_with(&prefix))
        .collect()
}

#[test]
fn a_server_and_a_client() {
    let Some(lab) = lab() else { return };
    if !has(lab, Peer::POSTFIX) {
        return;
    }
    let arguments = ["--server", "postfix", "--client", "smtplib", "--json"];
    let child = command(lab, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    let cells = cells(&output.stdout);
    assert!(output.status.success(), "{cells:#?}");
    for (column, detail) in [
        ("clear", "clear text"),
        ("STARTTLS", "TLSv1.3 TLS_"),
        ("implicit TLS", "TLSv1.3 TLS_"),
        ("pipelining", "MAIL, RCPT and DATA in one write"),
        ("chunking", "BDAT "),
        ("SMTPUTF8", "SMTPUTF8 with addresses in UTF-8"),
        ("DSN", "RET, ENVID, NOTIFY, ORCPT"),
    ] {
        let found =
            cells.iter().find(|cell| cell[0].starts_with("postfix-") && cell[1] == column).unwrap();
        assert!(found[2] == "delivered" && found[3].starts_with(detail), "{found:?}");
    }
    assert!(
        cells.iter().any(|cell| cell[0] == "smtplib" && cell[1] == "DSN" && cell[2] == "delivered"),
        "{cells:#?}"
    );
    assert!(left_behind(lab, id).is_empty());
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The lab as it is, but for one transcript that promises more than the server does.
fn lab_that_promises(lab: &Lab, transcript: &str, keyword: &str) -> Folder {
    let folder = Folder(lab.state.join(unique("promises")));
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to).unwrap();
    std::fs::create_dir_all(folder.0.join("transcripts")).unwrap();
    for entry in std::fs::read_dir(&lab.scripts).unwrap().map(Result::unwrap) {
        if entry.file_name() != "transcripts" {
            link(&entry.path(), &folder.0.join(entry.file_name()));
        }
    }
    for entry in std::fs::read_dir(lab.scripts.join("transcripts")).unwrap().map(Result::unwrap) {
        let copy = folder.0.join("transcripts").join(entry.file_name());
        if entry.file_name().to_string_lossy() == transcript {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
            assert!(text.contains("S: 250 HELP"), "{transcript}");
            std::fs::write(
                copy,
                text.replace("S: 250 HELP", &format!("S: 250-HELP\nS: 250 {keyword}")),
            )
            .unwrap();
        } else {
            link(&entry.path(), &copy);
        }
    }
    folder
}

/// What a peer is said to support and does not do is a blank, and a failure.
#[test]
fn a_promise_that_is_not_kept() {
    let Some(lab) = lab() else { return };
    if !has(lab, Peer { name: "aiosmtpd", suite: Suite::System }) {
        return;
    }
    let folder = lab_that_promises(lab, "aiosmtpd-1.4-cleartext.txt", "CHUNKING");
    let output = command(lab, &["--server", "aiosmtpd", "--json"])
        .env("SMTP_LAB_DIR", &folder.0)
        .output()
        .unwrap();
    let cells = cells(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{cells:#?}");
    let result =
        |column: &str| cells.iter().find(|cell| cell[1] == column).map(|cell| cell[2].clone());
    assert_eq!(result("chunking").as_deref(), Some(""), "{cells:#?}");
    assert_eq!(result("clear").as_deref(), Some("delivered"), "{cells:#?}");
    assert_eq!(result("DSN").as_deref(), Some("-"), "{cells:#?}");
}

#[test]
fn an_interrupted_run_stops_its_servers() {
    let Some(lab) = lab() else { return };
    if !has(lab, Peer::POSTFIX) {
        return;
    }
    let mut child = command(lab, &["--server", "postfix"]).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while left_behind(lab, child.id()).is_empty() {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "no server was started"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // The server is about to start.
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(left_behind(lab, child.id()).is_empty());
}
