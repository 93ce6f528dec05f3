//! What goes wrong on the way to an answer ends with one clear line, and the status of its kind.

use std::fs::File;
use std::process::Stdio;

use crate::common::{HOST, Pki};
use crate::program::{Folder, command, smtp_tls};
use crate::servers::{refused, scripted};

/// A file of 100 MiB that takes no room.
fn huge(folder: &Folder, name: &str) -> String {
    let path = folder.file(name, "");
    File::options().write(true).open(&path).unwrap().set_len(100 << 20).unwrap();
    path
}

/// Each command that reads a configuration, with files that are none.
#[test]
fn a_configuration_that_cannot_be_read_ends_with_5_and_its_line() {
    let folder = Folder::new();
    let root = folder.file("root.pem", Pki::new().root_pem());
    let nowhere = refused().to_string();
    let bad = folder.file(
        "bad.toml",
        "[[outbound]]\nname = \"a\"\nnamespaces = [\"*\"]\nposture = \"secur\"\n",
    );
    let syntax = folder.file("syntax.toml", "[[outbound]\n");
    let binary = folder.file("binary.toml", [0xff, 0, 0xfe, b'\n']);
    let huge = huge(&folder, "huge.toml");
    let missing = "/nonexistent/connectors.toml".to_owned();
    for command in [
        &["plan", "a.example", "--resolver", &nowhere][..],
        &["probe", HOST, "--connect", &nowhere],
        &["test", "a", "--connect", &nowhere],
        &["postfix", "--listen", "127.0.0.1:0", "--resolver", &nowhere],
    ] {
        for (file, why) in [
            (&bad, "line 4"),
            (&syntax, "line 1"),
            (&binary, "not text in UTF-8"),
            (&huge, "larger than 64 MiB"),
            (&missing, "No such file"),
        ] {
            let more = ["--config", file, "--ca", &root, "--timeout", "4"];
            smtp_tls(&[command, &more].concat()).fails(5, why);
        }
    }
}

#[test]
fn files_of_certificates_that_cannot_be_read_end_with_5() {
    let folder = Folder::new();
    let nowhere = refused().to_string();
    let pem = Pki::new().root_pem().to_owned();
    // The end of the file is missing.
    let truncated = folder.file("truncated.pem", &pem[..pem.len() / 2]);
    let binary = folder.file("binary.pem", [0xff, 0, 0xfe, b'\n']);
    let huge = huge(&folder, "huge.pem");
    for (option, file, why) in [
        ("--ca", &truncated, "PEM"),
        ("--ca", &binary, "has no certificate"),
        ("--ca", &huge, "larger than 67108864 octets"),
        ("--crl", &binary, "binary.pem"),
        ("--identity", &truncated, "PEM"),
        ("--trust-anchor", &binary, "not text in UTF-8"),
    ] {
        let probe = ["probe", HOST, "--connect", &nowhere, "--resolver", &nowhere, option, file];
        let root = folder.file("root.pem", &pem);
        let more: &[&str] = if option == "--ca" { &[] } else { &["--ca", &root] };
        smtp_tls(&[&probe[..], more].concat()).fails(5, why);
    }
}

#[test]
fn messages_and_reports_that_cannot_be_read_end_with_5() {
    let folder = Folder::new();
    let huge = huge(&folder, "huge");
    smtp_tls(&["review", &huge]).fails(5, "no message");
    smtp_tls(&["report", &huge]).fails(5, "larger than 64 MiB");
    // The first octets of a gzip file (RFC 1952, section 2.3.1), and nothing more.
    let cut = folder.file("cut.json.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    smtp_tls(&["report", &cut]).fails(5, "cut.json.gz");
    smtp_tls(&["import", "postfix", &huge]).fails(5, "larger than 64 MiB");
}

/// A folder that no user can read, the superuser included.
#[cfg(unix)]
#[test]
fn a_folder_that_leads_to_itself_ends_with_5() {
    let folder = Folder::new();
    let itself = folder.path().join("itself");
    std::os::unix::fs::symlink(&itself, &itself).unwrap();
    let itself = itself.to_str().unwrap();
    for command in [&["review", itself][..], &["review", "--summary", itself], &["lint", itself]] {
        smtp_tls(command).fails(5, "symbolic links");
    }
}

/// The server takes each step, and then says nothing.
#[test]
fn a_server_that_stalls_at_any_step_is_told_within_the_time_limit() {
    let folder = Folder::new();
    let root = folder.file("root.pem", Pki::new().root_pem());
    for (replies, status, why) in [
        (&[][..], 6, "greeting"),
        (&["220 mx"], 6, "EHLO"),
        (&["220 mx", "250-mx\r\n250 STARTTLS"], 6, "STARTTLS"),
        (&["220 mx", "250-mx\r\n250 STARTTLS", "220 go"], 4, ""),
    ] {
        let address = scripted(replies).to_string();
        let probe = ["probe", HOST, "--connect", &address, "--ca", &root, "--timeout", "3"];
        let ran = smtp_tls(&[&probe[..], &["--posture", "verified"]].concat());
        assert_eq!(ran.status, status, "{replies:?}: {ran:?}");
        assert!(ran.stderr.contains(why), "{replies:?}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), usize::from(status == 6), "{replies:?}: {ran:?}");
        // Not by the time limit of the whole run, which knows no reason.
        assert!(!ran.stderr.contains("--timeout"), "{replies:?}: {ran:?}");
    }
}

/// As with `head`, which has seen enough.
#[test]
fn a_reader_that_closes_the_output_is_no_error() {
    let folder = Folder::new();
    let mbox = "From x Tue Mar  3 11:08:33 2009\nSubject: x\n\n.\n\n".repeat(2000);
    let file = folder.file("mbox", mbox);
    for arguments in [&["review", &file][..], &["review", "--json", &file], &["man"]] {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}

/// A disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_ends_with_5() {
    let folder = Folder::new();
    let file = folder.file("c.toml", "[[outbound]]\n");
    for arguments in [&["lint", &file][..], &["lint", "--json", &file], &["completions", "bash"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = command(arguments).stdout(full).stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(5), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("smtp-tls: standard output cannot be written: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
