//! The client in its corners.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ClientBed, ServerBed, client_config, envelope, server_config};
use smtp_proto::Protocol;
use smtp_proto::channel::Channel;
use smtp_proto::client::MAX_PIPELINED;
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::fallback::{TlsFailure, TlsRules};
use smtp_proto::sasl::client::ChannelFloor;
use smtp_proto::timeouts::Phase;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::body::BodyDefect;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::reply::{MAX_REPLY, ReplyError, ReplyRules};

const PLAIN: &str = "250 mx\r\n";
const PIPELINING: &str = "250-mx\r\n250 PIPELINING\r\n";
const TWO: [&str; 2] = ["a@test.example", "b@test.example"];

/// A client that waits for the reply of `phase` (or in it), in clear text without PIPELINING.
fn at(phase: Phase) -> ClientBed {
    let opportunistic = || ClientBed::new(TlsRules::OPPORTUNISTIC);
    let mut bed = match phase {
        Phase::Greeting | Phase::Hello | Phase::StartTls | Phase::Handshake => opportunistic(),
        _ => ClientBed::ready(PLAIN),
    };
    match phase {
        Phase::Greeting | Phase::Idle => {}
        Phase::Auth => {
            bed = ClientBed::ready("250-mx\r\n250 AUTH EXTERNAL\r\n");
            let external = common::auth::make::external("").unwrap();
            bed.client.authenticate(external, ChannelFloor::Clear, bed.now).unwrap();
        }
        Phase::Hello => drop(bed.feed(b"220 mx\r\n")),
        Phase::StartTls => drop(bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n")),
        Phase::Handshake => drop(bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n")),
        Phase::Quit => bed.client.quit().unwrap(),
        Phase::Reset => {
            bed.start(&TWO[..1]);
            assert_eq!(bed.feed(b"250 OK\r\n550 no\r\n").last().unwrap(), "finished: NoRecipients");
        }
        _ => bed.start(&TWO[..1]),
    }
    bed.feed(match phase {
        Phase::Recipient => b"250 OK\r\n",
        Phase::Data => b"250 OK\r\n250 OK\r\n",
        Phase::Body | Phase::EndOfData => b"250 OK\r\n250 OK\r\n354 go\r\n",
        _ => b"",
    });
    if phase == Phase::EndOfData {
        bed.body(b"x\r\n");
    }
    bed.feed(b"");
    assert_eq!(bed.client.phase(), phase);
    bed.said();
    bed
}

const PHASES: [Phase; 13] = [
    Phase::Greeting,
    Phase::Hello,
    Phase::StartTls,
    Phase::Handshake,
    Phase::Auth,
    Phase::Idle,
    Phase::Mail,
    Phase::Recipient,
    Phase::Data,
    Phase::Body,
    Phase::EndOfData,
    Phase::Reset,
    Phase::Quit,
];

#[test]
fn time_runs_out_in_every_phase() {
    for phase in PHASES {
        let mut bed = at(phase);
        let started = bed.now;
        assert_eq!(bed.client.deadline(), Some(started + Timeouts::default().of(phase)), "{phase}");

        // Half a reply moves nothing. (Before the handshake any octet is an attack.)
        bed.now += Duration::from_secs(1);
        if phase != Phase::Handshake {
            assert_eq!(bed.feed(b"250-"), [""; 0]);
        }
        assert_eq!(bed.client.deadline(), Some(started + Timeouts::default().of(phase)), "{phase}");

        bed.now = bed.client.deadline().unwrap() - Duration::from_nanos(1);
        assert_eq!(bed.feed(b""), [""; 0]);
        assert!(bed.want.is_ok(), "{phase}");
        bed.now += Duration::from_nanos(1);
        assert_eq!(bed.feed(b""), [""; 0]);
        assert_eq!(bed.want, Err(Error::Timeout(phase)));
        assert_eq!(bed.client.deadline(), None);

        // Sticky, also when the reply comes after all.
        bed.feed(b"250 OK\r\n250 OK\r\n");
        assert_eq!(bed.want, Err(Error::Timeout(phase)));
        assert_eq!(bed.client.handle_eof(), Err(Error::Timeout(phase)));
        assert_eq!(bed.said(), "", "{phase}");
    }
}

#[test]
fn the_peer_goes_away_in_every_phase() {
    for phase in PHASES {
        let mut bed = at(phase);
        if phase == Phase::Quit {
            assert_eq!(bed.client.handle_eof(), Ok(()));
            assert_eq!(bed.feed(b""), ["Closed"]);
            assert_eq!(bed.want, Err(Error::Closed));
            continue;
        }
        assert_eq!(bed.client.is_in_doubt(), phase == Phase::EndOfData);
        assert_eq!(bed.client.handle_eof(), Err(Error::Eof(phase)));
        assert_eq!(bed.client.handle_eof(), Err(Error::Eof(phase)));
        bed.feed(b"250 OK\r\n");
        assert_eq!(bed.want, Err(Error::Eof(phase)));
        assert_eq!(bed.client.is_in_doubt(), phase == Phase::EndOfData);
        assert_eq!(bed.client.deadline(), None);
    }
}

/// RFC 5321, section 3.8: a server may say 421 at any time, and then it closes the connection.
#[test]
fn shutdown_in_every_phase() {
    for phase in PHASES.into_iter().filter(|&phase| phase != Phase::Handshake) {
        let mut bed = at(phase);
        let events = bed.feed(b"421-4.3.2 we are\r\n421 4.3.2 closing\r\n");
        let words = "421 4.3.2 we are / 4.3.2 closing";
        match phase {
            // The answer to QUIT, whatever it says.
            Phase::Quit => assert_eq!(events, ["Closed"]),
            Phase::Mail | Phase::Recipient | Phase::Data | Phase::Body | Phase::EndOfData => {
                assert_eq!(events, [format!("refused at {phase}: {words}"), "Closed".into()]);
            }
            Phase::Auth => {
                let failed =
                    format!("AuthenticationFailed {{ failure: Temporary, reply: Reply({words}) }}");
                assert_eq!(events, [failed, "Closed".into()]);
            }
            _ => assert_eq!(events, [format!("unwelcome at {phase}: {words}"), "Closed".into()]),
        }
        assert_eq!(bed.want, Err(Error::Closed));
        assert_eq!(bed.said(), "");
        assert!(!bed.client.is_in_doubt());
        let mail = Arc::new(envelope("", &TWO));
        assert_eq!(bed.client.start_transaction(mail, bed.now), Err(ApiMisuse::NotReady));
        assert!(!bed.client.wants_body());
    }
}

#[test]
fn the_deadline_follows_the_oldest_unanswered_command() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO);
    bed.feed(b"");
    let limits = Timeouts::default();
    assert_eq!(bed.said().lines().count(), 4);
    assert_eq!(bed.client.deadline(), Some(bed.now + limits.mail));
    for (reply, limit) in
        [(&b"250 OK\r\n"[..], limits.recipient), (b"250 OK\r\n", limits.recipient)]
    {
        bed.now += Duration::from_secs(60);
        bed.feed(reply);
        assert_eq!(bed.client.deadline(), Some(bed.now + limit));
    }
    bed.now += Duration::from_secs(60);
    bed.feed(b"250 OK\r\n");
    assert_eq!(bed.client.deadline(), Some(bed.now + limits.data));
    bed.feed(b"354 go\r\n");
    // Every piece of the body starts the clock again (RFC 5321, section 4.5.3.2.5).
    for _ in 0..3 {
        bed.now += Duration::from_secs(170);
        bed.client.write_body(b"x\r\n", &mut bed.output, bed.now).unwrap();
        assert_eq!(bed.client.deadline(), Some(bed.now + limits.body));
    }
    bed.client.end_body(&mut bed.output, bed.now).unwrap();
    assert_eq!(bed.client.deadline(), Some(bed.now + limits.end_of_data));
}

#[test]
fn a_reply_to_no_command() {
    for reply in [&b"250 OK\r\n"[..], b"354 go\r\n", b"550 no\r\n", b"450 no\r\n"] {
        let mut bed = at(Phase::Idle);
        assert_eq!(bed.feed(reply), [""; 0]);
        assert_eq!(bed.want, Err(Error::UnsolicitedReply));
    }
    for reply in [&b"250 OK\r\n"[..], b"354 go\r\n"] {
        let mut bed = at(Phase::Body);
        assert_eq!(bed.feed(reply), [""; 0]);
        assert_eq!(bed.want, Err(Error::UnsolicitedReply));
    }
}

/// Whatever is reported about the connection afterwards, the first error stays.
#[test]
fn errors_are_sticky() {
    let mut bed = at(Phase::Idle);
    bed.feed(b"250 out of the blue\r\n");
    let error = bed.want;
    assert_eq!(error, Err(Error::UnsolicitedReply));
    bed.client.tls_failed(TlsFailure::Handshake);
    bed.client.connection_lost();
    assert_eq!(bed.client.handle_eof().unwrap_err(), error.unwrap_err());
    bed.feed(b"");
    assert_eq!(bed.want, error);
}

/// A server that has seen enough says so before the end. There is no way to stop the body but to
/// close.
#[test]
fn early_refusal_of_the_body() {
    for reply in ["552 5.3.4 too big\r\n", "451 4.3.0 disk full\r\n"] {
        let mut bed = at(Phase::Body);
        bed.client.write_body(b"half a", &mut bed.output, bed.now).unwrap();
        let events = bed.feed(reply.as_bytes());
        assert_eq!(
            events,
            [format!("refused at message body: {}", reply.trim_end()), "Closed".into()]
        );
        assert!(!bed.client.wants_body());
        let misuse = bed.client.write_body(b" line\r\n", &mut bed.output, bed.now);
        assert_eq!(misuse, Err(ApiMisuse::NoBodyWanted));
        assert_eq!(bed.client.end_body(&mut bed.output, bed.now), Err(ApiMisuse::NoBodyWanted));
        assert_eq!(bed.said(), "half a");
    }
}

/// A refusal that arrives after the client sent the dot, and before the server read it, is the
/// reply to the message.
#[test]
fn a_refusal_that_crosses_the_dot() {
    let mut bed = at(Phase::EndOfData);
    assert_eq!(bed.feed(b"552 5.3.4 too big\r\n"), ["refused at end of data: 552 5.3.4 too big"]);
    bed.start(&TWO[..1]);
    assert_eq!(bed.ask(b""), "MAIL FROM:<sender@test.example>\r\n");
}

#[test]
fn codes_that_make_no_sense() {
    let cases: [(Phase, &[u16]); 7] = [
        (Phase::Hello, &[354, 334]),
        (Phase::Mail, &[354, 334]),
        (Phase::Recipient, &[354]),
        (Phase::Data, &[200, 250, 334, 355]),
        (Phase::EndOfData, &[354]),
        (Phase::Greeting, &[]),
        (Phase::Reset, &[354, 334]),
    ];
    for (phase, codes) in cases {
        for &code in codes {
            let mut bed = at(phase);
            assert_eq!(bed.feed(format!("{code} what\r\n").as_bytes()), [""; 0]);
            assert_eq!(bed.want, Err(Error::UnexpectedCode { code, phase }));
        }
    }
    // Every second digit of the right class is as good as the one in the book (RFC 5321, section
    // 4.3.2).
    let mut bed = at(Phase::Mail);
    assert_eq!(
        bed.feed(b"299 OK\r\n251 will forward\r\n354 go\r\n")[0],
        "recipient 0: 251 will forward"
    );
}

#[test]
fn what_is_no_reply() {
    let line = |length: usize| [b"220 ", vec![b'x'; length - 6].as_slice(), b"\r\n"].concat();
    assert_eq!(ClientBed::new(TlsRules::Never).feed(&line(MAX_REPLY)), [""; 0]);

    let long = b"220-x\r\n".repeat(MAX_REPLY / 7 + 1);
    let cases: [(&[u8], ReplyError); 14] = [
        (b"hello\r\n", ReplyError::Code),
        (b"\r\n", ReplyError::Code),
        (b"22\r\n", ReplyError::Code),
        (b"2200\r\n", ReplyError::Code),
        (b"120 x\r\n", ReplyError::Code),
        (b"600 x\r\n", ReplyError::Code),
        (b"2a0 x\r\n", ReplyError::Code),
        (b"220x\r\n", ReplyError::Code),
        (b"220-x\r\n221 x\r\n", ReplyError::CodesDiffer),
        (b"220-x\r\n550 x\r\n", ReplyError::CodesDiffer),
        (b"220 x\n", ReplyError::LineEnd),
        (b"220 x\ry\r\n", ReplyError::LineEnd),
        (&line(MAX_REPLY + 1), ReplyError::TooLong),
        (&long, ReplyError::TooLong),
    ];
    for (bytes, error) in cases {
        let expected = Err(Error::MalformedReply(error));
        let strict = || {
            let mut config = client_config();
            config.replies = ReplyRules::Strict;
            ClientBed::with(config, TlsRules::Never, Channel::Plain)
        };
        let mut whole = strict();
        assert_eq!(whole.feed(bytes), [""; 0]);
        assert_eq!(whole.want, expected);
        if bytes.len() < 100 {
            let mut pieces = strict();
            bytes.iter().for_each(|byte| drop(pieces.feed(&[*byte])));
            assert_eq!(pieces.want, expected);
        }
    }
    // Without an end in sight as well.
    let mut bed = ClientBed::new(TlsRules::Never);
    bed.feed(&[b'2'; MAX_REPLY + 1]);
    assert_eq!(bed.want, Err(Error::MalformedReply(ReplyError::TooLong)));
}

#[test]
fn refusals_of_many_lines_are_kept_whole() {
    let mut bed = at(Phase::Recipient);
    let events = bed.feed(b"550-5.7.1 relay not permitted:\r\n550-see\r\n550\r\n");
    assert_eq!(events[0], "recipient 0: 550 5.7.1 relay not permitted: / see / ");
}

#[test]
fn ehlo_5yz_falls_back_to_helo() {
    for code in [500, 501, 502, 503, 504, 550, 554, 571] {
        let mut bed = ClientBed::new(TlsRules::Never);
        assert_eq!(
            bed.ask(format!("220 mx\r\n{code} what?\r\n").as_bytes()),
            "EHLO client.test.example\r\nHELO client.test.example\r\n"
        );
        assert_eq!(bed.feed(b"250-mx\r\n250-PIPELINING\r\n250 SIZE 10\r\n"), ["Ready"]);
        // What looks like extensions in a reply to HELO is only text.
        assert!(!bed.client.capabilities().has(Extension::Pipelining));
        assert_eq!(bed.client.capabilities().iter().count(), 0);
        bed.start(&TWO);
        assert_eq!(bed.ask(b""), "MAIL FROM:<sender@test.example>\r\n");
    }
    // 4yz means not now, also to HELO; 521 means that the host takes no mail (RFC 7504).
    for code in [450, 451, 521] {
        let mut bed = ClientBed::new(TlsRules::Never);
        assert_eq!(
            bed.feed(format!("220 mx\r\n{code} go away\r\n").as_bytes()),
            [format!("unwelcome at EHLO: {code} go away")]
        );
        assert_eq!(bed.said(), "EHLO client.test.example\r\nQUIT\r\n");
        assert_eq!(bed.feed(b"221 bye\r\n"), ["Closed"]);
    }
    let mut bed = ClientBed::new(TlsRules::Never);
    assert_eq!(
        bed.feed(b"220 mx\r\n502 what?\r\n550 go away\r\n"),
        ["unwelcome at EHLO: 550 go away"]
    );
}

#[test]
fn an_unwelcome_greeting_is_answered_with_quit() {
    for code in [354, 450, 521, 554] {
        let mut bed = ClientBed::new(TlsRules::OPPORTUNISTIC);
        assert_eq!(
            bed.feed(format!("{code} no\r\n").as_bytes()),
            [format!("unwelcome at greeting: {code} no")]
        );
        assert_eq!(bed.said(), "QUIT\r\n");
        assert_eq!(bed.feed(b"221 bye\r\n"), ["Closed"]);
    }
}

#[test]
fn tls_forgets_everything() {
    let mut bed = ClientBed::new(TlsRules::OPPORTUNISTIC);
    bed.feed(
        b"220 mx\r\n250-old.test.example\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1\r\n220 go\r\n",
    );
    assert!(bed.client.capabilities().has(Extension::Pipelining));
    bed.said();
    bed.shake();
    assert_eq!(bed.client.capabilities().peer_name(), None);
    assert_eq!(bed.client.capabilities().size_limit(), None);
    // No greeting is awaited, EHLO is said again, and STARTTLS that is offered again is not taken.
    assert_eq!(bed.ask(b""), "EHLO client.test.example\r\n");
    assert_eq!(bed.feed(b"250-new.test.example\r\n250 STARTTLS\r\n"), ["Ready"]);
    assert_eq!(bed.said(), "");
    assert_eq!(bed.client.capabilities().peer_name(), Some("new.test.example"));
    assert!(!bed.client.capabilities().has(Extension::Pipelining));
    assert!(matches!(bed.client.channel(), Channel::StartTls(_)));
    assert_eq!(
        bed.client.tls_established(common::tls_info(), bed.now),
        Err(ApiMisuse::NoHandshake)
    );
}

/// RFC 2920, section 3.1: a 354 without accepted recipients is answered with a lone dot.
#[test]
fn data_granted_although_every_recipient_was_refused() {
    for verdict in ["554 no valid recipients\r\n", "250 OK\r\n"] {
        let mut bed = ClientBed::ready(PIPELINING);
        bed.start(&TWO);
        assert!(bed.ask(b"").ends_with("DATA\r\n"));
        let events = bed.feed(b"250 OK\r\n550 no\r\n550 no\r\n");
        assert_eq!(events, ["recipient 0: 550 no", "recipient 1: 550 no"]);
        assert_eq!(bed.ask(b"354 go\r\n"), ".\r\n");
        assert_eq!(bed.client.phase(), Phase::EndOfData);
        // The transaction is over when each of its commands is answered.
        assert_eq!(bed.feed(verdict.as_bytes()), ["finished: NoRecipients"]);
        bed.start(&TWO[..1]);
        assert_eq!(
            bed.ask(b""),
            "RSET\r\nMAIL FROM:<sender@test.example>\r\nRCPT TO:<a@test.example>\r\nDATA\r\n"
        );
        assert_eq!(
            bed.feed(b"250 OK\r\n250 OK\r\n250 OK\r\n354 go\r\n"),
            ["recipient 0: 250 OK", "SendBody"]
        );
    }
}

#[test]
fn pipelined_refusals_are_cleared_away() {
    // DATA refused as well: nothing to answer, RSET before the next MAIL.
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO[..1]);
    bed.feed(b"250 OK\r\n550 no\r\n503 no recipients\r\n");
    assert!(bed.said().ends_with("DATA\r\nRSET\r\n"));
    bed.start(&TWO[..1]);
    assert!(bed.ask(b"").starts_with("MAIL"));

    // MAIL refused: RCPT and DATA are in the air.
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO);
    bed.said();
    assert_eq!(bed.feed(b"550 no\r\n"), ["refused at MAIL: 550 no"]);
    assert_eq!(bed.feed(b"503 no\r\n503 no\r\n503 no\r\n"), [""; 0]);
    bed.start(&TWO);
    bed.said();
    assert_eq!(bed.feed(b""), [""; 0]);
    assert_eq!(
        bed.feed(b"250 reset\r\n250 OK\r\n250 OK\r\n451 later\r\n354 go\r\n").last().unwrap(),
        "SendBody"
    );
}

#[test]
fn recipients_are_told_apart_and_the_rest_goes_on() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO);
    let events = bed.feed(b"250 OK\r\n452 4.2.2 full\r\n250 OK\r\n354 go\r\n");
    assert_eq!(events, ["recipient 0: 452 4.2.2 full", "recipient 1: 250 OK", "SendBody"]);
}

#[test]
fn a_group_is_one_write_and_stays_small() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO);
    assert_eq!(
        bed.ask(b""),
        "MAIL FROM:<sender@test.example>\r\nRCPT TO:<a@test.example>\r\nRCPT TO:<b@test.example>\r\nDATA\r\n"
    );

    let mut bed = ClientBed::ready(PIPELINING);
    let many: Vec<String> = (0..500).map(|n| format!("recipient{n}@test.example")).collect();
    bed.start(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let mut in_the_air = bed.ask(b"").len();
    assert!(in_the_air <= MAX_PIPELINED && in_the_air > MAX_PIPELINED - 50);
    let mut answered = "MAIL FROM:<sender@test.example>\r\n".len();
    for index in 0..500 {
        in_the_air += bed.ask(b"250 OK\r\n").len();
        assert!(in_the_air - answered <= MAX_PIPELINED, "{index}");
        answered += format!("RCPT TO:<recipient{index}@test.example>\r\n").len();
    }
}

#[test]
fn quit_waits_for_what_is_in_the_air() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO);
    bed.feed(b"550 no\r\n");
    bed.said();
    bed.client.quit().unwrap();
    assert_eq!(bed.client.quit(), Ok(()));
    assert_eq!(bed.ask(b"503 no\r\n503 no\r\n"), "");
    // The lone dot still has to be sent, RSET no longer.
    assert_eq!(bed.ask(b"354 go\r\n"), ".\r\n");
    assert_eq!(bed.ask(b"554 no\r\n"), "QUIT\r\n");
    assert_eq!(bed.feed(b"221 bye\r\n"), ["Closed"]);
    assert_eq!(bed.client.quit(), Err(ApiMisuse::NotReady));
}

#[test]
fn a_server_that_cannot_reset_gets_nothing_more() {
    let mut bed = ClientBed::ready(PIPELINING);
    bed.start(&TWO[..1]);
    bed.feed(b"250 OK\r\n550 no\r\n503 no\r\n");
    bed.start(&TWO[..1]);
    bed.feed(b"");
    bed.said();
    assert_eq!(bed.feed(b"500 what?\r\n"), ["refused at RSET: 500 what?"]);
    // MAIL, RCPT and DATA were sent with RSET: their replies belong to no transaction any more, and
    // a 354 among them is answered with the lone dot.
    assert_eq!(bed.ask(b"250 OK\r\n250 OK\r\n354 go\r\n"), ".\r\n");
    assert_eq!(bed.ask(b"250 queued as nothing\r\n"), "QUIT\r\n");
    assert_eq!(bed.feed(b"221 bye\r\n"), ["Closed"]);
}

#[test]
fn misuse_is_told_and_changes_nothing() {
    let mut bed = ClientBed::new(TlsRules::Never);
    let mail = || Arc::new(envelope("", &TWO));
    assert_eq!(bed.client.start_transaction(mail(), bed.now), Err(ApiMisuse::NotReady));
    assert_eq!(bed.client.quit(), Err(ApiMisuse::NotReady));
    assert_eq!(
        bed.client.tls_established(common::tls_info(), bed.now),
        Err(ApiMisuse::NoHandshake)
    );
    bed.feed(format!("220 mx\r\n{PLAIN}").as_bytes());
    assert_eq!(
        bed.client.start_transaction(Arc::new(envelope("", &[])), bed.now),
        Err(ApiMisuse::NoRecipients)
    );
    bed.said();
    for data in [&b"250 OK\r\n"[..], b"250 OK\r\n", b"354 go\r\n"] {
        if bed.client.phase() == Phase::Idle {
            bed.start(&TWO[..1]);
            bed.feed(b"");
        }
        assert_eq!(
            bed.client.write_body(b"x", &mut bed.output, bed.now),
            Err(ApiMisuse::NoBodyWanted)
        );
        assert_eq!(bed.client.end_body(&mut bed.output, bed.now), Err(ApiMisuse::NoBodyWanted));
        assert_eq!(bed.client.start_transaction(mail(), bed.now), Err(ApiMisuse::NotReady));
        assert_eq!(bed.client.quit(), Err(ApiMisuse::NotReady));
        bed.feed(data);
    }
    assert!(bed.client.wants_body());
    bed.said();
    bed.body(b".x\r\n");
    assert_eq!(bed.said(), "..x\r\n.\r\n");
    assert!(!bed.client.wants_body());
    assert_eq!(bed.client.write_body(b"x", &mut bed.output, bed.now), Err(ApiMisuse::NoBodyWanted));
    assert_eq!(bed.client.end_body(&mut bed.output, bed.now), Err(ApiMisuse::NoBodyWanted));
    assert_eq!(bed.feed(b"250 queued\r\n"), ["accepted: 250 queued"]);
}

/// A body that another host might read as two messages never gets its end.
#[test]
fn a_broken_body_ends_the_connection_without_a_dot() {
    for (body, defect) in [
        (&b"x\r\nbare\ny\r\n"[..], BodyDefect::BareLf),
        (b"x\r\nbare\ry\r\n", BodyDefect::BareCr),
        (b"x\r\n\0nul\r\n", BodyDefect::Nul),
    ] {
        let mut bed = at(Phase::Body);
        assert_eq!(
            bed.client.write_body(body, &mut bed.output, bed.now),
            Err(ApiMisuse::Defect(defect))
        );
        assert_eq!(bed.client.end_body(&mut bed.output, bed.now), Err(ApiMisuse::NoBodyWanted));
        assert_eq!(bed.feed(b""), ["Closed"]);
        assert!(!bed.said().contains("\r\n.\r\n"));
    }
    // A CR that the end of the body leaves alone.
    let mut bed = at(Phase::Body);
    bed.client.write_body(b"x\r", &mut bed.output, bed.now).unwrap();
    assert_eq!(
        bed.client.end_body(&mut bed.output, bed.now),
        Err(ApiMisuse::Defect(BodyDefect::BareCr))
    );
    assert_eq!(bed.feed(b""), ["Closed"]);
    assert_eq!(bed.said(), "x");
}

#[test]
fn parameters_are_sent_only_where_they_are_known() {
    use smtp_proto::wire::params::BodyType;
    for (ehlo, expected) in [
        ("250-mx\r\n250-SIZE 1000\r\n250 8BITMIME\r\n", "MAIL FROM:<> SIZE=99 BODY=8BITMIME\r\n"),
        ("250-mx\r\n250-SIZE\r\n250 8bitmime\r\n", "MAIL FROM:<> SIZE=99 BODY=8BITMIME\r\n"),
        ("250-mx\r\n250 8BITMIME\r\n", "MAIL FROM:<> BODY=8BITMIME\r\n"),
    ] {
        let mut bed = ClientBed::ready(ehlo);
        let mut mail = envelope("", &TWO);
        mail.size = Some(99);
        mail.body = BodyType::EightBitMime;
        bed.client.start_transaction(Arc::new(mail), bed.now).unwrap();
        assert_eq!(bed.ask(b""), expected);
    }
}

#[test]
fn pipelining_can_be_left_alone() {
    let mut config = client_config();
    config.pipelining = false;
    let mut bed = ClientBed::with(config, TlsRules::Never, Channel::Plain);
    bed.feed(format!("220 mx\r\n{PIPELINING}").as_bytes());
    bed.said();
    bed.start(&TWO);
    for expected in ["MAIL", "RCPT", "RCPT", "DATA"] {
        let said = bed.ask(if expected == "MAIL" { b"" } else { b"250 OK\r\n" });
        assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}");
    }
}

/// RFC 8689, section 4.2.1: an offer in clear text does not count.
#[test]
fn requiretls_is_refused_before_anything_is_sent() {
    for (ehlo, tls, expected) in [
        ("250-mx\r\n250 REQUIRETLS\r\n", false, ""),
        (PLAIN, true, ""),
        ("250-mx\r\n250 REQUIRETLS\r\n", true, "MAIL FROM:<> REQUIRETLS\r\n"),
    ] {
        let channel = if tls { Channel::Implicit(common::tls_info()) } else { Channel::Plain };
        let mut bed = ClientBed::with(client_config(), TlsRules::Never, channel);
        assert_eq!(bed.feed(format!("220 mx\r\n{ehlo}").as_bytes()), ["Ready"]);
        bed.said();
        let mut mail = envelope("", &TWO);
        mail.require_tls = true;
        bed.client.start_transaction(Arc::new(mail), bed.now).unwrap();
        let events = bed.feed(b"");
        assert_eq!(bed.said(), expected);
        assert_eq!(events.is_empty(), !expected.is_empty(), "{events:?}");
    }
}

/// RFC 2033, section 4.2 does not say how many replies the dot of a message without recipients has,
/// so a 354 to its DATA ends an LMTP connection. A transaction or command that was started
/// meanwhile ends with an error.
#[test]
fn a_late_354_in_lmtp_does_not_swallow_the_next_transaction() {
    let mut config = client_config();
    config.protocol = Protocol::Lmtp;
    let begin = || {
        let mut bed = ClientBed::with(config.clone(), TlsRules::Never, Channel::Plain);
        bed.feed(b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n");
        bed.start(&["a@test.example"]);
        bed.feed(b"");
        let events = bed.feed(b"550 no\r\n503 no\r\n");
        assert_eq!(events.len(), 1, "{events:?}");
        bed
    };
    // Nothing else waits: the connection ends in good order.
    assert_eq!(begin().feed(b"354 go\r\n"), ["Closed"]);
    let mut bed = ClientBed::with(config.clone(), TlsRules::Never, Channel::Plain);
    bed.feed(b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n");
    bed.start(&["a@test.example"]);
    let events = bed.feed(b"250 ok\r\n550 no\r\n354 go\r\n");
    assert_eq!(events, ["recipient 0: 550 no", "finished: NoRecipients", "Closed"]);
    let mut bed = begin();
    bed.start(&["b@test.example"]);
    assert_eq!(bed.feed(b"354 go\r\n"), [""; 0]);
    let unexpected = Error::UnexpectedCode { code: 354, phase: Phase::Data };
    assert_eq!(bed.want, Err(unexpected));
    let mut bed = begin();
    bed.client.command(Command::Noop(""), bed.now).unwrap();
    assert_eq!(bed.feed(b"354 go\r\n"), [""; 0]);
    assert_eq!(bed.want, Err(unexpected));
}

/// The longest duration means no limit.
#[test]
fn a_limit_without_end_is_no_panic() {
    let forever = Duration::MAX;
    let mut timeouts = Timeouts::default();
    timeouts.greeting = forever;
    timeouts.idle = forever;
    timeouts.progress = forever;
    timeouts.body = forever;
    let mut config = client_config();
    config.timeouts = timeouts.clone();
    let mut bed = ClientBed::with(config, TlsRules::Never, Channel::Plain);
    bed.feed(b"");
    let deadline = bed.client.deadline().unwrap();
    assert!(deadline > bed.now + Duration::from_secs(24 * 60 * 60));
    assert_eq!(timeouts.deadline(Phase::Data, bed.now), bed.now + timeouts.data);

    let mut config = server_config();
    config.timeouts = timeouts;
    let mut bed = ServerBed::new(config);
    bed.feed(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nDATA\r\nx");
    assert!(bed.server.deadline().unwrap() > bed.now);
    bed.feed(b"\r\n.\r\n");
    assert!(bed.server.deadline().unwrap() > bed.now);
}
