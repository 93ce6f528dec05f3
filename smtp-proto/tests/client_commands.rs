//! What a client says between two transactions, and pieces of a body that are not its own.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ClientBed, changed, envelope};
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::fallback::TlsRules;
use smtp_proto::timeouts::Phase;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::body::BodyDefect;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::command::{Command, Uri, Xclient, XclientValue};
use smtp_proto::wire::params::Xtext;
use smtp_proto::wire::path::AddressRules;

const PLAIN: &str = "250 mx\r\n";
const PIPELINING: &str = "250-mx\r\n250 PIPELINING\r\n";
const TWO: [&str; 2] = ["a@test.example", "b@test.example"];

#[test]
fn what_the_machine_sends_by_itself_is_not_the_callers_to_send() {
    let own = [
        "EHLO c",
        "HELO c",
        "LHLO c",
        "STARTTLS",
        "MAIL FROM:<>",
        "RCPT TO:<a@test.example>",
        "DATA",
        "BDAT 0 LAST",
        "QUIT",
        "AUTH PLAIN",
        "XCLIENT NAME=a",
        "BURL imap://test.example/1 LAST",
    ];
    for line in own {
        let mut bed =
            ClientBed::ready("250-mx\r\n250-XCLIENT NAME\r\n250-BURL imap\r\n250 AUTH PLAIN\r\n");
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let lower = verb.to_ascii_lowercase();
        // However it is dressed.
        for command in [
            Command::parse(line.as_bytes(), AddressRules::STRICT).unwrap(),
            Command::Unknown { verb, argument },
            Command::Unknown { verb: &lower, argument },
            Command::Unknown { verb: line, argument: "" },
        ] {
            assert_eq!(
                bed.client.command(command.clone(), bed.now),
                Err(ApiMisuse::OwnCommand),
                "{command:?}"
            );
        }
        assert_eq!(bed.ask(b""), "");
    }
    // What no server would read as this command is none.
    let mut bed = ClientBed::ready(PLAIN);
    for command in
        [Command::Vrfy { text: "", smtputf8: false }, Command::Unknown { verb: "", argument: "" }]
    {
        assert!(
            matches!(bed.client.command(command.clone(), bed.now), Err(ApiMisuse::Command(_))),
            "{command:?}"
        );
    }
    assert!(matches!(bed.client.xclient(&Xclient::default(), bed.now), Err(ApiMisuse::Command(_))));
    // Two lines are one.
    bed.client.command(Command::Noop("a\r\nMAIL FROM:<>"), bed.now).unwrap();
    assert_eq!(bed.ask(b""), "NOOP a??MAIL FROM:<>\r\n");
}

#[test]
fn one_command_waits_at_a_time() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.client.command(Command::Noop(""), bed.now).unwrap();
    for _ in 0..2 {
        assert_eq!(bed.client.command(Command::Noop(""), bed.now), Err(ApiMisuse::NotReady));
        assert_eq!(
            bed.client.start_transaction(Arc::new(envelope("", &TWO)), bed.now),
            Err(ApiMisuse::NotReady)
        );
        assert_eq!(bed.client.quit(), Err(ApiMisuse::NotReady));
        bed.feed(b"");
    }
    assert_eq!(bed.said(), "NOOP\r\n");
    assert_eq!(bed.client.phase(), Phase::Command);
    assert_eq!(bed.feed(b"250 OK\r\n"), ["answered: 250 OK"]);
    bed.start(&TWO);
    assert_eq!(bed.client.command(Command::Noop(""), bed.now), Err(ApiMisuse::NotReady));

    // 3yz would want more, and there is none.
    let mut bed = ClientBed::ready(PIPELINING);
    bed.client.command(Command::Noop(""), bed.now).unwrap();
    bed.feed(b"");
    bed.feed(b"354 go\r\n");
    let phase = Phase::Command;
    assert_eq!(bed.want, Err(Error::UnexpectedCode { code: 354, phase }));
}

/// A transaction that was refused in the middle is cleared away before the command.
#[test]
fn a_command_waits_for_what_is_in_the_air() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO[..1]);
    bed.feed(b"");
    bed.said();
    bed.feed(b"550 no\r\n503 no\r\n");
    bed.client.command(Command::Vrfy { text: "a", smtputf8: false }, bed.now).unwrap();
    assert_eq!(bed.ask(b"503 no\r\n"), "RSET\r\n");
    assert_eq!(bed.ask(b"250 OK\r\n"), "VRFY a\r\n");
    assert_eq!(bed.feed(b"252 perhaps\r\n"), ["answered: 252 perhaps"]);
}

/// XCLIENT changes nothing about TLS: a connection that breaks
/// after it is no failed handshake.
#[test]
fn a_proxy_that_is_turned_away_inside_tls_does_not_fall_back() {
    let mut bed = ClientBed::new(TlsRules::OPPORTUNISTIC);
    bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n");
    bed.shake();
    bed.feed(b"250-mx\r\n250 XCLIENT NAME\r\n");
    let name = Xtext::parse("c.test.example").map(XclientValue::Value);
    bed.client.xclient(&changed(Xclient::default(), |it| it.name = name), bed.now).unwrap();
    bed.feed(b"");
    assert_eq!(bed.feed(b"220 again\r\n"), ["answered: 220 again"]);
    assert_eq!(bed.feed(b"554 not you\r\n"), ["unwelcome at EHLO: 554 not you"]);
    assert_eq!(bed.client.connection_lost(), None);
}

#[test]
fn pieces_that_the_server_fetches() {
    let envelope = || {
        Arc::new({
            let mut envelope = envelope("", &TWO[..1]);
            envelope.burl = true;
            envelope
        })
    };
    let uri = Uri::parse("imap://test.example/1").unwrap();
    let mut bed = ClientBed::ready("250-mx\r\n250 BURL imap\r\n");
    assert_eq!(
        bed.client.write_uri(uri, true, &mut bed.output, bed.now),
        Err(ApiMisuse::NoBodyWanted)
    );
    bed.client.start_transaction(envelope(), bed.now).unwrap();
    bed.feed(b"");
    bed.feed(b"250 OK\r\n250 OK\r\n");
    bed.said();
    // Without CHUNKING there is nothing but URIs.
    let chunks = Err(ApiMisuse::NotOffered(Extension::Chunking));
    assert_eq!(bed.client.write_body(b"x\r\n", &mut bed.output, bed.now), chunks);
    bed.client.write_uri(uri, false, &mut bed.output, bed.now).unwrap();
    assert_eq!(bed.ask(b"250 OK\r\n"), "BURL imap://test.example/1\r\n");
    assert_eq!(bed.client.end_body(&mut bed.output, bed.now), chunks);
    bed.client.write_uri(uri, true, &mut bed.output, bed.now).unwrap();
    assert_eq!(bed.said(), "BURL imap://test.example/1 LAST\r\n");
    assert_eq!(bed.feed(b"250 OK\r\n"), ["accepted: 250 OK"]);

    // An envelope that says nothing of URIs has none, and no piece lends its line end to another.
    let mut bed = ClientBed::ready("250-mx\r\n250-CHUNKING\r\n250 BURL imap\r\n");
    bed.start(&TWO[..1]);
    bed.feed(b"");
    bed.feed(b"250 OK\r\n250 OK\r\n354 go\r\n");
    let none = Err(ApiMisuse::NoUriAnnounced);
    assert_eq!(bed.client.write_uri(uri, true, &mut bed.output, bed.now), none);
    bed.body(b"x\r\n");
    bed.feed(b"250 OK\r\n");
    bed.client.start_transaction(envelope(), bed.now).unwrap();
    bed.feed(b"");
    bed.feed(b"250 OK\r\n250 OK\r\n");
    bed.client.write_body(b"x\r", &mut bed.output, bed.now).unwrap();
    bed.feed(b"250 a chunk\r\n");
    let bare = Err(ApiMisuse::Defect(BodyDefect::BareCr));
    assert_eq!(bed.client.write_uri(uri, true, &mut bed.output, bed.now), bare);
}

#[test]
fn a_command_has_its_time() {
    let mut bed = ClientBed::ready(PLAIN);
    let started = bed.now;
    bed.client.command(Command::Help(""), bed.now).unwrap();
    bed.feed(b"");
    let limit = Timeouts::default().command;
    assert_eq!(bed.client.deadline(), Some(started + limit));
    // Half a reply moves nothing.
    bed.now += Duration::from_secs(1);
    bed.feed(b"214-commands:\r\n");
    assert_eq!(bed.client.deadline(), Some(started + limit));
    bed.now = started + limit;
    bed.feed(b"");
    assert_eq!(bed.want, Err(Error::Timeout(Phase::Command)));
}

/// TLS works before XCLIENT: a server that refuses EHLO after it refuses the client, which is no
/// reason for clear text.
#[test]
fn refused_ehlo_after_xclient_never_falls_back_to_clear_text() {
    for refusal in ["421 4.3.2 bye\r\n", "550 5.7.1 no\r\n"] {
        let mut bed = ClientBed::new(TlsRules::OPPORTUNISTIC);
        bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n");
        bed.shake();
        bed.feed(b"");
        assert_eq!(bed.feed(b"250-mx\r\n250 XCLIENT NAME\r\n"), ["Ready"]);
        let name = Some(XclientValue::Unavailable);
        bed.client.xclient(&changed(Xclient::default(), |it| it.name = name), bed.now).unwrap();
        bed.feed(b"");
        assert_eq!(bed.feed(b"220 mx\r\n").len(), 1);
        let events = bed.feed(refusal.as_bytes());
        assert!(events[0].starts_with("unwelcome at EHLO"), "{events:?}");
        assert!(!events.iter().any(|event| event.starts_with("no TLS")), "{events:?}");
    }
}
