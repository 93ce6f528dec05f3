//! Servers with odd replies at each command, and odd texts in their replies to EHLO.
//!
//! `golden/replies.txt` is a table of them. To write it again: `UPDATE_GOLDEN=1 cargo test -p
//! smtp-proto --test odd_servers`.

mod common;

use std::fmt::Write;

use common::{ClientBed, client_config};
use smtp_proto::channel::Channel;
use smtp_proto::fallback::TlsRules;
use smtp_proto::wire::capabilities::{Capabilities, Extension};
use smtp_proto::wire::reply::Reply;

/// What a client has heard before the odd reply. With STARTTLS it would rather have TLS.
const PHASES: [(&str, &[&str]); 8] = [
    ("greeting", &[]),
    ("EHLO", &["220 mx"]),
    ("HELO", &["220 mx", "500 what"]),
    ("STARTTLS", &["220 mx", "250-mx\r\n250 STARTTLS"]),
    ("MAIL", &["220 mx", "250 mx"]),
    ("RCPT", &["220 mx", "250 mx", "250 ok"]),
    ("DATA", &["220 mx", "250 mx", "250 ok", "250 ok"]),
    ("the dot", &["220 mx", "250 mx", "250 ok", "250 ok", "354 go"]),
];

const REPLIES: [&str; 49] = [
    "250",
    "250 ",
    "250-\r\n250 ",
    "250-\r\n250",
    "250-a\r\n251 b",
    "250-a\r\n550 b",
    "550-a\r\n250 b",
    "450-a\r\n550 b",
    "250_ok",
    "250ok",
    "250\tok",
    "2500 ok",
    "25 ok",
    "ok",
    " 250 ok",
    "",
    "000 x",
    "100 x",
    "199 x",
    "200 x",
    "220 x",
    "221 x",
    "235 x",
    "251 x",
    "252 x",
    "299 x",
    "300 x",
    "334 x",
    "354 x",
    "400 x",
    "421 x",
    "450 x",
    "452 4.5.3 x",
    "499 x",
    "500 x",
    "502 x",
    "521 x",
    "530 5.7.0 x",
    "550 5.1.1 x",
    "550 4.1.1 x",
    "450 5.1.1 x",
    "554 x",
    "556 x",
    "599 x",
    "600 x",
    "999 x",
    "250 a\0b",
    "250 \u{e4}",
    "250 \u{1b}[31m",
];

/// What the client does after the odd reply, whole or octet by octet.
fn outcome(before: &[&str], reply: &str) -> String {
    let run = |piece: usize| {
        let rules = TlsRules::OPPORTUNISTIC;
        let mut bed = ClientBed::with(client_config(), rules, Channel::Plain);
        let mut events = bed.feed_at_once(b"");
        for text in before.iter().chain([&reply]) {
            events.clear();
            bed.said();
            for piece in format!("{text}\r\n").as_bytes().chunks(piece) {
                events.extend(bed.feed_at_once(piece));
            }
            if events.iter().any(|event| event == "Ready") {
                bed.start(&["a@test.example"]);
                bed.feed_at_once(b"");
            }
            if bed.client.wants_body() {
                bed.body(b"x\r\n");
                bed.feed_at_once(b"");
            }
        }
        let said = bed.said();
        let verb = said.lines().next().unwrap_or_default();
        let verb = verb.split([' ', ':']).next().unwrap_or_default();
        let is = |start: &str| events.iter().any(|event| event.starts_with(start));
        match () {
            () if is("accepted") => "accepted".to_owned(),
            () if is("SendBody") => "the message".to_owned(),
            () if is("no TLS") && is("Closed") => "new connection".to_owned(),
            () if is("no TLS: STARTTLS is not offered") => verb.to_owned(),
            () if is("no TLS") => format!("clear, {verb}"),
            () if is("unwelcome") || is("refused") => "refused".to_owned(),
            () if bed.want == Ok(smtp_proto::Want::Handshake) => "handshake".to_owned(),
            () if bed.want.is_err() => "error".to_owned(),
            () if is("recipient") => format!("told, {verb}"),
            () if verb.is_empty() => "waits".to_owned(),
            () => verb.to_owned(),
        }
    };
    let whole = run(usize::MAX);
    assert_eq!(run(1), whole, "{before:?} {reply:?}");
    whole
}

#[test]
fn odd_replies_at_each_command() {
    let mut table = String::from(
        "# What the client does after an odd reply, by the command that it has sent.\n\
         #\n\
         # A verb is the command that follows; `waits`: the line is passed over; `told`: the reply\n\
         # is that of the recipient; `clear`: STARTTLS was refused, and TLS is optional; `error`:\n\
         # the connection is over, and the mail is tried again.\n\n",
    );
    write!(table, "{:<18}", "").unwrap();
    PHASES.iter().for_each(|(phase, _)| write!(table, "{phase:<16}").unwrap());
    for reply in REPLIES {
        let shown = format!("{reply:?}").replace("\\r\\n", "|");
        write!(table, "\n{shown:<18}").unwrap();
        PHASES
            .iter()
            .for_each(|(_, before)| write!(table, "{:<16}", outcome(before, reply)).unwrap());
    }
    let table: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/replies.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), table);
}

fn capabilities(lines: &[&str]) -> Capabilities {
    let (last, first) = lines.split_last().unwrap();
    let mut reply = String::from("250-mx\r\n");
    first.iter().for_each(|line| reply.push_str(&format!("250-{line}\r\n")));
    let reply = format!("{reply}250 {last}\r\n");
    Capabilities::of(&Reply::parse(reply.as_bytes()).unwrap().unwrap())
}

#[test]
fn keywords_are_read_in_any_case_with_any_space_around_them() {
    for (line, offered) in [
        ("STARTTLS", true),
        ("starttls", true),
        ("StartTLS ", true),
        (" STARTTLS", true),
        ("\t STARTTLS\t", true),
        ("STARTTLS REQUIRED", true),
        ("STARTTLS=1", true),
        ("STARTTLSX", false),
        ("XSTARTTLS", false),
        ("START TLS", false),
        ("-STARTTLS", false),
        ("XXXXXXXA", false),
        ("X STARTTLS", false),
        ("", false),
    ] {
        for lines in [&[line][..], &["X", line], &[line, "X"], &[line, line]] {
            assert_eq!(capabilities(lines).has(Extension::StartTls), offered, "{lines:?}");
        }
    }
    // The first line is the greeting (RFC 5321, section 4.1.1.1).
    let reply = Reply::parse(b"250-STARTTLS\r\n250 SIZE\r\n").unwrap().unwrap();
    assert!(!Capabilities::of(&reply).has(Extension::StartTls));
}

#[test]
fn parameters_of_keywords_are_read_with_any_space_around_them() {
    for (line, limit) in [
        ("SIZE", None),
        ("SIZE 0", None),
        ("SIZE 1000", Some(1000)),
        ("SIZE=1000", Some(1000)),
        (" size  1000 ", Some(1000)),
        ("SIZE 99999999999999999999", Some(u64::MAX)),
        ("SIZE 1000k", None),
        ("SIZE -1", None),
        ("SIZE 1 000", None),
    ] {
        let read = capabilities(&[line]);
        assert!(read.has(Extension::Size), "{line:?}");
        assert_eq!(read.size_limit(), limit, "{line:?}");
    }
    for (lines, mechanisms) in [
        (&["AUTH PLAIN LOGIN"][..], &["PLAIN", "LOGIN"][..]),
        (&["AUTH=PLAIN LOGIN"], &["PLAIN", "LOGIN"]),
        (&["AUTH  PLAIN   LOGIN "], &["PLAIN", "LOGIN"]),
        (&["auth plain"], &["plain"]),
        (&[" AUTH PLAIN"], &["PLAIN"]),
        (&["AUTH"], &[]),
        (&["AUTH PLAIN", "AUTH=LOGIN"], &["PLAIN", "LOGIN"]),
        (&["AUTHPLAIN"], &[]),
    ] {
        assert!(capabilities(lines).mechanisms().eq(mechanisms.iter().copied()), "{lines:?}");
    }
    for (line, recipients) in [
        ("LIMITS RCPTMAX=5", Some(5)),
        ("limits rcptmax=5 MAILMAX=1", Some(5)),
        ("LIMITS  MAILMAX=1  RCPTMAX=5", Some(5)),
        ("LIMITS RCPTMAX=0", None),
        ("LIMITS RCPTMAX=05", None),
        ("LIMITS RCPTMAX=1000000", None),
        ("LIMITS RCPTMAX", None),
        ("LIMITS RCPTMAX=5;MAILMAX=1", None),
    ] {
        assert_eq!(capabilities(&[line]).recipient_limit(), recipients, "{line:?}");
    }
}
