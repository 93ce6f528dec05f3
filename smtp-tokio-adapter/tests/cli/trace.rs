//! `--trace` of `probe` and `test`: the whole conversation, and nothing that must not be in a
//! ticket.

use crate::common::{HOST, Pki};
use crate::program::{Folder, smtp_tls};
use crate::servers::{refused, rubbish, with_tls};

/// Runs a command with `--trace`, and returns what is in the file without the times.
fn trace(folder: &Folder, arguments: &[&str], status: i32) -> Vec<String> {
    let file = folder.file("trace", "");
    let ran = smtp_tls(&[arguments, &["--trace", &file, "--timeout", "20"]].concat());
    assert_eq!(ran.status, status, "{ran:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut last = 0.0;
    let lines = text.lines().map(|line| {
        let (time, rest) = line.split_at_checked(9).unwrap_or_else(|| panic!("{line}"));
        let seconds: f64 = time.trim().parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(seconds >= last, "{text}");
        last = seconds;
        assert!(["C:  ", "S:  ", "--  "].iter().any(|mark| rest.starts_with(mark)), "{line}");
        rest.to_owned()
    });
    lines.collect()
}

/// These lines are there, in this order; each is named by its beginning.
#[track_caller]
fn in_order(lines: &[String], wanted: &[&str]) {
    let mut rest = lines.iter();
    for start in wanted {
        assert!(rest.any(|line| line.starts_with(start)), "{start}: {lines:#?}");
    }
}

const OPENING: &[&str] = &[
    "S:  220 ",
    "C:  EHLO localhost.localdomain",
    "S:  250-",
    "S:  250",
    "C:  STARTTLS",
    "S:  220 ",
    "--  TLSv1.3, TLS",
    "C:  (TLS) EHLO localhost.localdomain",
    "S:  (TLS) 250-",
    "S:  (TLS) 250",
];

#[test]
fn trace_of_a_probe_has_each_connection_from_the_greeting_to_quit() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let (root, address) = (folder.file("root.pem", pki.root_pem()), address.to_string());
    let probe = ["probe", HOST, "--connect", &address, "--ca", &root];
    let lines = trace(&folder, &probe, 0);
    // The date of the start, by which the seconds can be compared with another log.
    assert!(lines[0].contains("seconds since then") && lines[0].contains(" 20"), "{lines:#?}");
    let begun = format!("--  {HOST}, {address}; ");
    let connection = [&[&*begun], OPENING, &["C:  (TLS) QUIT", "S:  (TLS) 221 "]].concat();
    in_order(&lines, &connection);
    let offers = ["all that the client has", "TLSv1.2 alone", "the group secp256r1 alone"];
    let wanted: Vec<String> = offers.iter().map(|offer| format!("{begun}{offer}")).collect();
    in_order(&lines, &wanted.iter().map(|it| &**it).collect::<Vec<_>>());
}

#[test]
fn trace_of_a_test_has_the_envelope_and_the_replies_and_not_the_message() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, kept) = with_tls(pki.identity(HOST));
    let (root, address) = (folder.file("root.pem", pki.root_pem()), address.to_string());
    let config = folder.file(
        "c.toml",
        format!(
            "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\", \"{HOST}\"]\nposture = \"verified\"\n"
        ),
    );
    let to = format!("reader@{HOST}");
    let test = ["test", "all", "--config", &config, "--connect", &address, "--ca", &root];
    let lines = trace(&folder, &[&test[..], &["--send", &to]].concat(), 0);
    let message = String::from_utf8(kept.messages.lock().unwrap()[0].clone()).unwrap();
    let begun = format!("--  {HOST}, {address}");
    let sent = [
        "C:  (TLS) MAIL FROM:<>",
        "C:  (TLS) RCPT TO:<reader@",
        "C:  (TLS) (",
        "C:  (TLS) (end of the message)",
        "S:  (TLS) 250 ",
        "C:  (TLS) QUIT",
        "S:  (TLS) 221 ",
    ];
    // The probe comes first.
    let begin = lines.iter().rposition(|line| *line == begun).unwrap();
    in_order(&lines[begin..], &[&[&*begun], OPENING, &sent].concat());
    for line in message.lines().filter(|line| !line.is_empty()) {
        assert!(!lines.iter().any(|it| it.contains(line)), "{line}: {lines:#?}");
    }
}

/// What led to an error is there too.
#[test]
fn trace_of_a_connection_that_fails_says_what_came_and_why_it_failed() {
    let folder = Folder::new();
    let root = folder.file("root.pem", Pki::new().root_pem());
    for (address, wanted) in [
        (rubbish(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "S:  HTTP/1.1 400"),
        (refused(), "--  127.0.0.1:"),
    ] {
        let address = address.to_string();
        let lines = trace(&folder, &["probe", HOST, "--connect", &address, "--ca", &root], 6);
        in_order(&lines, &[&format!("--  {HOST}, {address}; "), wanted]);
        let last = lines.last().unwrap();
        assert!(last.starts_with(&format!("--  {address}: ")), "{lines:#?}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_ends_with_5() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let (root, address) = (folder.file("root.pem", pki.root_pem()), address.to_string());
    let probe = ["probe", HOST, "--connect", &address, "--ca", &root];
    let ran = smtp_tls(&[&probe[..], &["--trace", "/nonexistent/trace"]].concat());
    // What was found is not lost.
    assert_eq!((ran.status, ran.stderr.lines().count()), (5, 1), "{ran:?}");
    assert!(ran.stderr.contains("No such file"), "{ran:?}");
    assert!(ran.stdout.contains("What each posture would decide:"), "{ran:?}");
}
