//! The server's replies on the wire.

mod common;

use std::sync::Arc;

use common::{ServerBed, changed, server_config};
use smtp_proto::server::ServerEvent;
use smtp_proto::wire::reply::{Reply, Response};

const TO_DATA: &[u8] =
    b"EHLO c\r\nMAIL FROM:<a@test.example>\r\nRCPT TO:<b@test.example>\r\nDATA\r\n";

/// A server that has sent its greeting.
fn greeted() -> ServerBed {
    let mut bed = ServerBed::new(server_config());
    bed.feed(b"");
    bed.said();
    bed
}

/// RFC 2034, section 4: not in the greeting, not in replies to EHLO and HELO, not in 3yz; nowhere
/// if not announced.
#[test]
fn enhanced_codes_only_where_allowed() {
    for announced in [true, false] {
        let mut bed =
            ServerBed::new(changed(server_config(), |it| it.enhanced_status_codes = announced));
        bed.feed(b"HELO c\r\n");
        bed.feed(TO_DATA);
        bed.feed(b"x\r\n.\r\nVRFY x\r\nNOOP\r\nWHAT\r\nEXPN\r\nQUIT\r\n");
        let said = bed.said();
        assert_eq!(said.contains("ENHANCEDSTATUSCODES"), announced);
        let with: Vec<&str> = said
            .lines()
            .filter(|line| line.get(5..6) == Some("."))
            .map(|line| &line[..9])
            .collect();
        let expected: &[&str] = if announced {
            &[
                "250 2.0.0",
                "250 2.0.0",
                "250 2.0.0",
                "252 2.5.2",
                "250 2.0.0",
                "500 5.5.1",
                "501 5.5.4",
                "221 2.0.0",
            ]
        } else {
            &[]
        };
        assert_eq!(with, expected, "{said}");
        assert!(said.contains("\r\n354 go ahead\r\n"));
    }
}

/// The reply to VRFY on the wire, for a response with this text.
fn worded(text: &str) -> Vec<u8> {
    let mut bed = greeted();
    let response = Response::new(252, (2, 5, 2), text.to_owned());
    bed.answer = Arc::new(move |_| response.clone());
    bed.feed(b"VRFY x\r\n");
    bed.output
}

#[test]
fn texts_cannot_break_a_response() {
    assert_eq!(worded("plain"), b"252 2.5.2 plain\r\n");
    assert_eq!(worded(""), b"252 2.5.2 \r\n");
    assert_eq!(worded("a\nb"), b"252-2.5.2 a\r\n252 2.5.2 b\r\n");
    assert_eq!(worded("a\r\n250 OK\r\nb"), b"252-2.5.2 a?\r\n252-2.5.2 250 OK?\r\n252 2.5.2 b\r\n");
    assert_eq!(worded("a\0b\x07\x7f\tc\r"), b"252 2.5.2 a?b???c?\r\n");
    assert_eq!(worded("a\n"), b"252-2.5.2 a\r\n252 2.5.2 \r\n");
}

#[test]
fn long_texts_go_on_in_the_next_line() {
    for (char, count) in [
        ("x", 512),
        ("x", 5000),
        ("\u{fc}", 700),
        ("\u{20ac}", 700),
        ("\u{1f4e7}", 700),
        ("x", 484),
        ("x", 497),
    ] {
        let text = char.repeat(count);
        let wire = worded(&text);
        let reply = Reply::parse(&wire).unwrap().unwrap();
        assert_eq!(reply.len(), wire.len());
        let mut joined = String::new();
        for line in wire.split_inclusive(|&byte| byte == b'\n') {
            assert!(line.len() <= 512);
            let line = std::str::from_utf8(line).expect("cut at a character");
            joined.push_str(line.trim_end().get(10..).unwrap());
        }
        assert_eq!(joined, text);
    }
}

/// A handler that repeats a client's name cannot be made to announce extensions.
#[test]
fn the_greeting_of_ehlo_is_one_line() {
    let long = "x".repeat(1000);
    for text in ["hello\nSTARTTLS", &format!("hello {long}")] {
        let mut bed = greeted();
        let response = Response::new(250, (2, 0, 0), text.to_owned());
        bed.answer = Arc::new(move |_| response.clone());
        let said = bed.ask(b"EHLO c\r\n");
        let keywords: Vec<&str> = said.lines().skip(1).map(|line| &line[4..]).collect();
        assert_eq!(keywords, ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]);
    }
    let mut bed = ServerBed::new(changed(server_config(), |it| {
        it.keywords = vec!["X-ONE a\r\nX-TWO".into()]
    }));
    assert!(bed.ask(b"EHLO c\r\n").ends_with("250 X-ONE a??X-TWO\r\n"));
}

/// RFC 5321, sections 4.2 and 4.1.1.1.
#[test]
fn empty_text_leaves_no_space_at_the_end_of_a_line() {
    let silent = |config| {
        let mut bed = ServerBed::new(config);
        bed.answer = Arc::new(|event| {
            Response::fixed(
                if matches!(event, ServerEvent::Connected) { 220 } else { 250 },
                (2, 0, 0),
                "",
            )
        });
        bed
    };
    let config = changed(server_config(), |it| it.mt_priority = Some(String::new()));
    assert_eq!(silent(config.clone()).ask(b""), "220 mx.test.example ESMTP\r\n");
    assert_eq!(
        silent(config.clone()).ask(b"EHLO c\r\n"),
        "220 mx.test.example ESMTP\r\n250-mx.test.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
         250-ENHANCEDSTATUSCODES\r\n250 MT-PRIORITY\r\n"
    );
    assert_eq!(
        silent(config).ask(b"HELO c\r\n"),
        "220 mx.test.example ESMTP\r\n250 mx.test.example\r\n"
    );
}
