//! The server: limits, order of commands, transactions, time limits and misuse of its API.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ServerBed, accept, changed, server_config, tls_info};
use smtp_proto::channel::Channel;
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::server::{Server, ServerConfig, ServerEvent, StartTls};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Step, Want};

const TO_DATA: &[u8] =
    b"EHLO c\r\nMAIL FROM:<a@test.example>\r\nRCPT TO:<b@test.example>\r\nDATA\r\n";

fn greeted(config: ServerConfig) -> ServerBed {
    let mut bed = ServerBed::new(config);
    assert_eq!(bed.feed(b""), ["Connected"]);
    assert_eq!(bed.said(), "220 mx.test.example ESMTP ready\r\n");
    bed
}

fn offering() -> ServerConfig {
    changed(server_config(), |it| it.starttls = StartTls::Offered)
}

/// A server that has read `script`.
fn after(script: &[u8]) -> ServerBed {
    let mut bed = greeted(server_config());
    bed.feed(script);
    bed.said();
    bed
}

#[test]
fn too_many_errors() {
    let mut config = server_config();
    config.limits.errors = 3;
    for wrong in
        [&b"WHAT\r\n"[..], b"MAIL FROM:x\r\n", b"DATA\r\n", b"\r\n", b"NOOP\n", &[b'x'; 3000]]
    {
        let wrong = if wrong.len() == 3000 { [wrong, b"\r\n"].concat() } else { wrong.to_vec() };
        let mut bed = greeted(config.clone());
        for _ in 0..3 {
            // What is right between does not wipe out what is wrong.
            assert!(bed.ask(b"NOOP\r\nRSET\r\n").starts_with("250"));
            assert!(bed.ask(&wrong).starts_with('5'));
        }
        assert_eq!(bed.feed(&wrong), ["Closed"]);
        assert_eq!(bed.said(), "421 4.7.0 too many errors, closing the connection\r\n");
        assert_eq!(bed.want, Err(Error::Closed));
        assert_eq!(bed.feed(b"NOOP\r\n"), [""; 0]);
        assert_eq!(bed.said(), "");
    }
}

#[test]
fn too_many_recipients() {
    let mut config = server_config();
    config.limits.recipients = 2;
    config.limits.errors = 1;
    let mut bed = greeted(config).answering(
        |event| matches!(event, ServerEvent::Recipient { path, .. } if path.as_str().starts_with("no")),
        Response::fixed(550, (5, 1, 1), "no"),
    );
    bed.ask(b"EHLO c\r\nMAIL FROM:<>\r\n");
    assert!(bed.ask(b"RCPT TO:<a@test.example>\r\n").starts_with("250"));
    // A recipient who was refused does not count.
    assert!(bed.ask(b"RCPT TO:<no@test.example>\r\n").starts_with("550"));
    assert!(bed.ask(b"RCPT TO:<b@test.example>\r\n").starts_with("250"));
    // Being one too many is no error of the client's: RFC 5321, section 4.5.3.1.10.
    for _ in 0..5 {
        assert_eq!(bed.ask(b"RCPT TO:<c@test.example>\r\n"), "452 4.5.3 too many recipients\r\n");
    }
    assert!(bed.ask(b"DATA\r\n").starts_with("354"));
    bed.ask(b".\r\n");
    bed.ask(b"MAIL FROM:<>\r\n");
    assert!(bed.ask(b"RCPT TO:<a@test.example>\r\n").starts_with("250"));
}

#[test]
fn line_length_in_one_read_and_in_many() {
    let mut config = server_config();
    config.limits.command_line = 20;
    for (length, fits) in [(19, true), (20, true), (21, false), (22, false), (200, false)] {
        let mut line = b"NOOP ".to_vec();
        line.resize(length - 2, b'x');
        line.extend_from_slice(b"\r\n");
        let expected = if fits { "250 2.0.0 OK\r\n" } else { "500 5.5.6 line too long\r\n" };
        let mut whole = greeted(config.clone());
        assert_eq!(whole.ask(&line), expected, "{length}");
        let mut pieces = greeted(config.clone());
        pieces.feed_bytewise(&line);
        assert_eq!(pieces.said(), expected, "{length}");
        // The next line is untouched.
        assert_eq!(whole.ask(b"NOOP\r\n"), "250 2.0.0 OK\r\n");
        assert_eq!(pieces.ask(b"NOOP\r\n"), "250 2.0.0 OK\r\n");
    }
    // A line that never ends takes no memory.
    let mut bed = greeted(config);
    for _ in 0..100 {
        bed.feed(&[b'x'; 1000]);
        assert!(bed.input.len() <= 1);
    }
    assert_eq!(bed.said(), "");
}

/// With two flaws the first is told, however the bytes were cut.
#[test]
fn the_first_flaw_of_a_line_is_told() {
    let mut config = server_config();
    config.limits.command_line = 10;
    for (line, expected) in [
        (&b"NOOP x\ry and so on\r\n"[..], "500 5.5.2 bare CR in the line\r\n"),
        (b"NOOP xxxx\ry\r\n", "500 5.5.2 bare CR in the line\r\n"),
        (b"NOOP xxxxx\ry\r\n", "500 5.5.6 line too long\r\n"),
        (b"NOOP xxxx\n", "500 5.5.2 line must end in CRLF\r\n"),
        (b"NOOP xxxxx\n", "500 5.5.6 line too long\r\n"),
        (b"NOOP\r\r\n", "500 5.5.2 bare CR in the line\r\n"),
    ] {
        let mut whole = greeted(config.clone());
        assert_eq!(whole.ask(line), expected);
        let mut pieces = greeted(config.clone());
        pieces.feed_bytewise(line);
        assert_eq!(pieces.said(), expected);
    }
}

#[test]
fn browsers_are_shown_the_door() {
    for request in
        ["GET / HTTP/1.1\r\n", "post /x HTTP/1.0\r\n", "CONNECT mx.test.example:25 HTTP/1.1\r\n"]
    {
        let mut bed = greeted(server_config());
        assert_eq!(
            bed.feed(format!("{request}Host: x\r\n\r\nMAIL FROM:<a@b>\r\n").as_bytes()),
            ["Closed"]
        );
        assert_eq!(bed.said(), "421 4.7.0 this is not an HTTP server\r\n");
        // Later it is only an unknown command.
        let mut bed = after(b"NOOP\r\n");
        assert_eq!(bed.ask(request.as_bytes()), "500 5.5.1 command not recognized\r\n");
    }
}

/// Real clients send the dot and QUIT, then close their side before they read.
#[test]
fn half_closed() {
    for quit in [&b"QUIT\r\n"[..], b""] {
        let mut bed = after(TO_DATA);
        bed.feed(&[b"x\r\n.\r\n", quit].concat());
        assert_eq!(bed.server.handle_eof(), Ok(()));
        assert!(bed.said().starts_with("250 2.0.0 OK\r\n"));
        assert_eq!(bed.server.handle_eof(), Ok(()));
        bed.feed(b"");
        assert_eq!(bed.want, Err(Error::Closed));
    }
}

#[test]
fn eof_by_state() {
    assert_eq!(after(b"").server.handle_eof(), Ok(()));
    assert_eq!(after(b"EHLO c\r\nMAIL FROM:<>\r\n").server.handle_eof(), Ok(()));
    // A message that was cut off must not be taken.
    for rest in [&b""[..], b"half a message\r\n", b"half a message\r\n."] {
        let mut bed = after(TO_DATA);
        bed.feed(rest);
        assert_eq!(bed.server.handle_eof(), Err(Error::Eof(Phase::Body)));
        assert_eq!(bed.server.handle_eof(), Err(Error::Eof(Phase::Body)));
        bed.feed(b".\r\n");
        assert_eq!(bed.want, Err(Error::Eof(Phase::Body)));
    }
    let mut bed = greeted(offering());
    bed.feed(b"EHLO c\r\nSTARTTLS\r\n");
    assert_eq!(bed.server.handle_eof(), Err(Error::Eof(Phase::Handshake)));
}

#[test]
fn plaintext_after_starttls_ends_the_connection() {
    const BROKEN: Result<Want, Error> = Err(Error::PlaintextAfterStartTls);
    for surplus in [&b"EHLO evil\r\n"[..], b"\0", b"\r\n"] {
        let mut bed = greeted(offering());
        bed.ask(b"EHLO c\r\n");
        let events = bed.feed(&[b"STARTTLS\r\n", surplus].concat());
        assert_eq!(events, ["StartTls"]);
        assert_eq!(bed.want, BROKEN);
        assert_eq!(bed.said(), "554 5.5.1 plaintext after STARTTLS, closing the connection\r\n");
        assert_eq!(bed.feed(b"EHLO c\r\n"), [""; 0]);
        assert_eq!(bed.want, BROKEN);

        // In a later read the 220 has gone out, and nothing may be said any more.
        let mut bed = greeted(offering());
        bed.ask(b"EHLO c\r\n");
        assert_eq!(bed.ask(b"STARTTLS\r\n"), "220 2.0.0 ready to start TLS\r\n");
        assert_eq!(bed.want, Ok(Want::Handshake));
        assert_eq!(bed.feed(surplus), [""; 0]);
        assert_eq!(bed.want, BROKEN);
        assert_eq!(bed.said(), "");
        assert_eq!(bed.server.tls_established(tls_info(), bed.now), Err(ApiMisuse::NoHandshake));
    }
}

#[test]
fn a_refused_starttls_leaves_the_rest_of_the_group_alone() {
    let refusal = Response::fixed(454, (4, 7, 0), "TLS not available");
    let mut bed =
        greeted(offering()).answering(|event| matches!(event, ServerEvent::StartTls), refusal);
    assert_eq!(
        bed.feed(b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<>\r\n"),
        ["Hello c", "StartTls", "Mail <>"]
    );
    assert!(bed.said().ends_with("454 4.7.0 TLS not available\r\n250 2.0.0 OK\r\n"));
}

#[test]
fn tls_forgets_everything() {
    let mut bed = greeted(offering());
    assert!(bed.ask(b"EHLO c\r\n").contains("STARTTLS"));
    bed.ask(b"MAIL FROM:<a@test.example>\r\nRCPT TO:<b@test.example>\r\nSTARTTLS\r\n");
    bed.shake();
    // No second greeting (RFC 3207, section 4.2), and nothing of what was said counts.
    assert_eq!(bed.feed(b""), [""; 0]);
    for command in ["DATA\r\n", "RCPT TO:<b@test.example>\r\n", "MAIL FROM:<>\r\n"] {
        assert_eq!(bed.ask(command.as_bytes()), "503 5.5.1 EHLO first\r\n");
    }
    assert!(!bed.ask(b"EHLO c\r\n").contains("STARTTLS"));
    assert_eq!(bed.ask(b"DATA\r\n"), "503 5.5.1 MAIL first\r\n");
    assert!(matches!(bed.server.channel(), Channel::StartTls(_)));
}

#[test]
fn a_barred_client_can_only_quit() {
    let mut bed = greeted(offering());
    bed.feed(b"EHLO c\r\nSTARTTLS\r\n");
    bed.shake();
    bed.server.bar(Response::fixed(554, (5, 7, 0), "no certificate, no service"));
    bed.said();
    for command in
        [&b"EHLO c\r\n"[..], b"MAIL FROM:<>\r\n", b"NOOP\r\n", b"MAIL oops\r\n", b"\r\n", b"NOOP\n"]
    {
        assert_eq!(bed.ask(command), "554 5.7.0 no certificate, no service\r\n");
    }
    assert_eq!(bed.feed(b"QUIT\r\n"), ["Closed"]);
    assert_eq!(bed.said(), "221 2.0.0 closing the connection\r\n");
}

#[test]
fn time_runs_out() {
    let limits = server_config().timeouts;
    for (script, rest, phase, which) in [
        (&b"EHLO c\r\n"[..], &b"MAIL FR"[..], Phase::Idle, "idle for too long"),
        (b"", b"", Phase::Idle, "idle for too long"),
        (TO_DATA, b"", Phase::Body, "the message has stalled"),
    ] {
        let mut bed = after(script);
        let started = bed.now;
        assert_eq!(bed.server.deadline(), Some(started + limits.of(phase)));
        // Half a command moves nothing.
        bed.now += Duration::from_secs(1);
        bed.feed(rest);
        assert_eq!(bed.server.deadline(), Some(started + limits.of(phase)));
        bed.now = started + limits.of(phase) - Duration::from_nanos(1);
        bed.feed(b"");
        assert_eq!(bed.want, Ok(Want::Input));
        bed.now += Duration::from_nanos(1);
        assert_eq!(bed.ask(b""), format!("421 4.4.2 {which}, closing the connection\r\n"));
        assert_eq!(bed.want, Err(Error::Timeout(phase)));
        assert_eq!(bed.server.deadline(), None);
        assert_eq!(bed.ask(b"NOOP\r\n"), "");
        assert_eq!(bed.want, Err(Error::Timeout(phase)));
        assert_eq!(bed.server.handle_eof(), Err(Error::Timeout(phase)));
    }

    // In a body every block counts (RFC 5321, section 4.5.3.2.5).
    let mut bed = after(TO_DATA);
    for _ in 0..3 {
        bed.now += limits.body - Duration::from_secs(1);
        assert!(!bed.feed(&b"x\r\n".repeat(6000)).is_empty());
    }

    // Nothing can be said in the middle of a handshake.
    let mut bed = greeted(offering());
    bed.feed(b"EHLO c\r\nSTARTTLS\r\n");
    bed.said();
    bed.now += limits.handshake;
    assert_eq!(bed.ask(b""), "");
    assert_eq!(bed.want, Err(Error::Timeout(Phase::Handshake)));
}

/// While the caller thinks no clock runs against the client, and nothing is parsed.
#[test]
fn late_answers() {
    let config = Arc::new(server_config());
    let mut now = std::time::Instant::now();
    let (mut server, mut output) = (Server::new(config, Channel::Plain, now), Vec::new());
    let input = b"EHLO c\r\nNOOP\r\n";
    assert!(matches!(
        server.poll(input, &mut output, now).unwrap().step,
        Step::Event(ServerEvent::Connected)
    ));
    assert_eq!(server.deadline(), None);
    now += Duration::from_secs(86_400);
    for _ in 0..2 {
        let progress = server.poll(input, &mut output, now).unwrap();
        assert_eq!(progress.consumed, 0);
        assert!(matches!(progress.step, Step::Wait(Want::Caller)));
    }
    assert_eq!(output, b"");
    server.respond(&accept(&ServerEvent::Connected), &mut output).unwrap();
    let again = server.respond(&accept(&ServerEvent::Connected), &mut output);
    assert_eq!(again, Err(ApiMisuse::NoResponseWanted));
    let progress = server.poll(b"", &mut output, now).unwrap();
    assert!(matches!(progress.step, Step::Wait(Want::Input)));
    assert_eq!(server.deadline(), Some(now + server_config().timeouts.idle));
}

#[test]
fn only_sensible_codes_are_taken() {
    type Is = fn(&ServerEvent<'_>) -> bool;
    let questions: [(&[u8], Is, &[u16]); 8] = [
        (b"", |event| matches!(event, ServerEvent::Connected), &[220, 421, 554]),
        (
            b"EHLO c\r\n",
            |event| matches!(event, ServerEvent::Hello { .. }),
            &[250, 421, 450, 504, 550],
        ),
        (
            b"EHLO c\r\nSTARTTLS\r\n",
            |event| matches!(event, ServerEvent::StartTls),
            &[220, 421, 454, 554],
        ),
        (
            b"EHLO c\r\nMAIL FROM:<>\r\n",
            |event| matches!(event, ServerEvent::Mail { .. }),
            &[250, 421, 451, 550],
        ),
        (
            b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@y>\r\n",
            |event| matches!(event, ServerEvent::Recipient { .. }),
            &[250, 251, 421, 450, 550],
        ),
        (TO_DATA, |event| matches!(event, ServerEvent::Data), &[354, 421, 451, 554]),
        (
            &[TO_DATA, b".\r\n"].concat(),
            |event| matches!(event, ServerEvent::EndOfBody),
            &[250, 421, 451, 554],
        ),
        (
            b"VRFY x\r\n",
            |event| matches!(event, ServerEvent::Other(_)),
            &[250, 251, 252, 214, 421, 502, 550],
        ),
    ];
    for (script, is, good) in questions {
        for code in [
            100, 199, 200, 214, 220, 221, 250, 251, 252, 299, 300, 334, 354, 399, 421, 450, 451,
            454, 502, 504, 550, 554, 600, 999,
        ] {
            let mut bed = ServerBed::new(offering());
            bed.answer = Arc::new(move |event| {
                if is(event) { Response::fixed(599, (5, 0, 0), "marker") } else { accept(event) }
            });
            // Drive by hand up to the question.
            let (mut input, mut output) = (script.to_vec(), Vec::new());
            loop {
                let progress = bed.server.poll(&input, &mut output, bed.now).unwrap();
                let consumed = progress.consumed;
                let Step::Event(event) = progress.step else { panic!("{:?}", progress.step) };
                let (found, answer) =
                    (is(&event), common::wants_answer(&event).then(|| accept(&event)));
                input.drain(..consumed);
                if found {
                    break;
                }
                if let Some(answer) = answer {
                    bed.server.respond(&answer, &mut output).unwrap();
                }
            }
            let before = output.len();
            let response = Response::new(code, ((code / 100) as u8, 0, 0), "word");
            match bed.server.respond(&response, &mut output) {
                Ok(()) => assert!((200..600).contains(&code), "{code}"),
                Err(misuse) => {
                    assert_eq!(misuse, ApiMisuse::WrongCode(code));
                    assert!(!good.contains(&code), "{code} after {}", script.escape_ascii());
                    // Nothing was said, and the question still stands.
                    assert_eq!(output.len(), before);
                    let progress = bed.server.poll(b"", &mut output, bed.now).unwrap();
                    assert!(matches!(progress.step, Step::Wait(Want::Caller)));
                    continue;
                }
            }
            let closes = matches!(
                bed.server.poll(b"", &mut output, bed.now).unwrap().step,
                Step::Event(ServerEvent::Closed)
            );
            assert_eq!(closes, code == 421);
        }
    }
}

#[test]
fn close_in_every_state() {
    let shutdown = Response::fixed(421, (4, 3, 2), "shutting down");
    let word = b"421 4.3.2 shutting down\r\n";
    for script in [
        &b""[..],
        b"EHLO c\r\n",
        b"EHLO c\r\nMAIL FROM:<>\r\n",
        TO_DATA,
        b"NOO",
        &[TO_DATA, b"half"].concat(),
    ] {
        let mut bed = after(script);
        bed.server.close(&shutdown, &mut bed.output);
        bed.server.close(&shutdown, &mut bed.output);
        assert_eq!(bed.output, word);
        assert_eq!(bed.feed(b"NOOP\r\n"), ["Closed"]);
        assert_eq!(bed.output, word);
        assert_eq!(
            bed.server.respond(&shutdown, &mut bed.output),
            Err(ApiMisuse::NoResponseWanted)
        );
        bed.server.close(&shutdown, &mut bed.output);
        assert_eq!(bed.output, word);
    }
    // A fresh one, and one whose caller owes an answer.
    let now = std::time::Instant::now();
    for polled in [false, true] {
        let (mut server, mut output) =
            (Server::new(Arc::new(server_config()), Channel::Plain, now), Vec::new());
        if polled {
            let _ = server.poll(b"", &mut output, now).unwrap();
        }
        server.close(&shutdown, &mut output);
        assert_eq!(output, word);
        assert!(matches!(
            server.poll(b"", &mut output, now).unwrap().step,
            Step::Event(ServerEvent::Closed)
        ));
    }
    // In the handshake nothing can be said.
    let mut bed = greeted(offering());
    bed.feed(b"EHLO c\r\nSTARTTLS\r\n");
    bed.said();
    bed.server.close(&shutdown, &mut bed.output);
    assert_eq!(bed.feed(b""), ["Closed"]);
    assert_eq!(bed.said(), "");
}

#[test]
fn size_is_refused_at_mail_and_in_the_body() {
    let mut bed = greeted(changed(server_config(), |it| it.size_limit = Some(10)));
    assert!(bed.ask(b"EHLO c\r\n").contains("250-SIZE 10\r\n"));
    for size in ["11", "99999999999999999999", "18446744073709551616"] {
        let said = bed.ask(format!("MAIL FROM:<> SIZE={size}\r\n").as_bytes());
        assert_eq!(said, "552 5.3.4 message exceeds the size limit\r\n");
    }
    for size in ["", "=", "=-1", "=1x", "=123456789012345678901"] {
        let said = bed.ask(format!("MAIL FROM:<> SIZE{size}\r\n").as_bytes());
        assert_eq!(said, "501 5.5.4 bad parameter syntax\r\n", "{size}");
    }
    let open = b"MAIL FROM:<> SIZE=10\r\nRCPT TO:<a@test.example>\r\nDATA\r\n";
    // Stuffed dots do not count (RFC 1870, section 5).
    assert!(bed.ask(open).contains("354"));
    let events = bed.feed(b"..\r\n12345\r\n.\r\n");
    assert_eq!(events.last().unwrap(), "EndOfBody", "{events:?}");
    bed.said();
    for bytewise in [false, true] {
        bed.ask(open);
        let wire = b"..\r\n123456\r\n.\r\nNOOP\r\n";
        let events = if bytewise { bed.feed_bytewise(wire) } else { bed.feed(wire) };
        assert_eq!(events.last().unwrap(), "BodyRefused(TooLarge)", "{events:?}");
        assert_eq!(bed.said(), "552 5.3.4 message exceeds the size limit\r\n250 2.0.0 OK\r\n");
    }
}

#[test]
fn bodies_with_bare_line_ends_are_read_to_their_real_end() {
    for body in [
        &b"a\nb\r\n"[..],
        b"a\rb\r\n",
        b"a\n.\nMAIL FROM:<evil@test.example>\r\n",
        b"a\n.\r\nMAIL FROM:<evil@test.example>\r\n",
        b"a\r.\rMAIL FROM:<evil@test.example>\r\n",
        b"a\r\n.\nMAIL FROM:<evil@test.example>\r\n",
        b"a\r\n.\rMAIL FROM:<evil@test.example>\r\n",
    ] {
        for bytewise in [false, true] {
            let mut bed = after(TO_DATA);
            let wire = [body, b".\r\nNOOP\r\n"].concat();
            let events = if bytewise { bed.feed_bytewise(&wire) } else { bed.feed(&wire) };
            let others: Vec<_> =
                events.iter().filter(|event| !event.starts_with("Body ")).collect();
            assert_eq!(others.len(), 1, "{events:?}");
            assert!(others[0].starts_with("BodyRefused(Bare"), "{events:?}");
            assert_eq!(bed.said(), "554 5.6.0 message has a bare CR or LF\r\n250 2.0.0 OK\r\n");
            // The transaction is over.
            assert_eq!(bed.ask(b"DATA\r\n"), "503 5.5.1 MAIL first\r\n");
        }
    }
}

#[test]
fn hello_and_rset_end_a_transaction() {
    let open = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\n";
    for command in [&b"EHLO c\r\n"[..], b"HELO c\r\n", b"RSET\r\n"] {
        let mut bed = after(open);
        assert!(bed.ask(command).starts_with("250"));
        assert_eq!(bed.ask(b"DATA\r\n"), "503 5.5.1 MAIL first\r\n");
        assert!(bed.ask(b"MAIL FROM:<>\r\n").starts_with("250"));
        assert_eq!(bed.ask(b"DATA\r\n"), "554 5.5.1 no valid recipients\r\n");
    }
    // An EHLO that is refused changes nothing (RFC 5321, section 4.1.4).
    let mut bed = after(open);
    let no = Response::fixed(504, (5, 5, 4), "no");
    bed = bed.answering(|event| matches!(event, ServerEvent::Hello { .. }), no);
    assert_eq!(bed.ask(b"EHLO x\r\n"), "504 no\r\n");
    assert!(bed.ask(b"DATA\r\n").starts_with("354"));
}

#[test]
fn addresses_and_parameters_that_are_not_taken() {
    let mut bed = after(b"EHLO c\r\n");
    for (command, expected) in [
        ("MAIL FROM:<gr\u{fc}n@test.example>\r\n", "553 5.6.7"),
        ("MAIL FROM:<a@gr\u{fc}n.example>\r\n", "553 5.6.7"),
        ("MAIL FROM:<> SIZE=1\r\n", "555 5.5.4"),
        ("MAIL FROM:<> X=1\r\n", "555 5.5.4"),
        ("MAIL FROM:<> BODY=BINARYMIME\r\n", "555 5.5.4"),
        ("MAIL FROM:<> BODY=9BIT\r\n", "501 5.5.4"),
        ("MAIL FROM:<> BODY=7BIT BODY=8BITMIME\r\n", "501 5.5.4"),
        ("MAIL FROM:<>X\r\n", "501 5.5.4"),
        ("MAIL FROM:<> BODY=8bitmime \r\n", "250 2.0.0"),
        ("RCPT TO:<>\r\n", "501 5.1.3"),
        ("RCPT TO:<a@b> X=1\r\n", "555 5.5.4"),
        ("RCPT TO:<gr\u{fc}n@test.example>\r\n", "553 5.6.7"),
        ("RCPT TO:<PostMaster>\r\n", "250 2.0.0"),
        ("rcpt  to : <@x,@y:a@b>\r\n", "250 2.0.0"),
    ] {
        assert!(bed.ask(command.as_bytes()).starts_with(expected), "{command}");
    }
    assert!(bed.ask(b"MAIL FROM:<\xff@test.example>\r\n").starts_with("500 5.5.2"));
}

#[test]
fn messages_one_after_another() {
    let mut bed = after(b"EHLO c\r\n");
    for _ in 0..3 {
        let events = bed.feed(b"MAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nDATA\r\n..\r\n.\r\n");
        assert_eq!(
            events,
            ["Mail <>", "Recipient <a@test.example>", "Data", "Body .\\r\\n", "EndOfBody"]
        );
    }
    // An empty one.
    let events = bed.feed(b"MAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nDATA\r\n.\r\n");
    assert_eq!(events.last().unwrap(), "EndOfBody");
}

/// A client that speaks before its turn gets the same replies, and the caller can ask about it.
#[test]
fn early_talkers_are_noticed() {
    use smtp_proto::server::EarlyTalk::{BeforeGreeting, Unannounced};
    // In the input before the greeting was written, or read before it was sent.
    let mut bed = ServerBed::new(server_config());
    bed.feed(b"EHLO c\r\n");
    assert_eq!(bed.server.early_talk(), Some(BeforeGreeting));
    let mut server = Server::new(Arc::new(server_config()), Channel::Plain, bed.now);
    let mut output = Vec::new();
    let connected = server.poll(b"", &mut output, bed.now).unwrap().step;
    assert!(matches!(connected, Step::Event(ServerEvent::Connected)));
    server.respond(&Response::fixed(220, (2, 0, 0), "ready"), &mut output).unwrap();
    assert!(server.poll(b"E", &mut output, bed.now).is_ok());
    assert_eq!(server.early_talk(), Some(BeforeGreeting));

    let talk = |config: ServerConfig, script: &[&[u8]]| {
        let mut bed = greeted(config);
        for piece in script {
            bed.feed(piece);
        }
        assert!(bed.said().ends_with("250 2.0.0 OK\r\n"));
        bed.server.early_talk()
    };
    let silent = changed(server_config(), |it| it.pipelining = false);
    assert_eq!(talk(server_config(), &[b"EHLO c\r\n", b"NOOP\r\nNOOP\r\n"]), None);
    assert_eq!(talk(server_config(), &[b"EHLO c\r\nNOOP\r\n"]), Some(Unannounced));
    assert_eq!(talk(server_config(), &[b"HELO c\r\n", b"NOOP\r\nNOOP\r\n"]), Some(Unannounced));
    assert_eq!(talk(silent.clone(), &[b"EHLO c\r\n", b"NOOP\r\n", b"NOOP\r\n"]), None);
    assert_eq!(talk(silent, &[b"EHLO c\r\n", b"NOOP\r\nN", b"OOP\r\n"]), Some(Unannounced));
    // The final dot may be followed by anything only where commands may.
    let chunks = changed(server_config(), |it| {
        it.pipelining = false;
        it.chunking = true;
    });
    let mail: [&[u8]; 4] =
        [b"EHLO c\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b>\r\n", b"BDAT 2 LAST\r\nxx"];
    assert_eq!(talk(chunks, &mail), None, "a chunk follows its command");
}

/// RFC 3030, section 2: what follows a line that was meant as BDAT may be a chunk. It is never read
/// as commands, whatever is wrong with the line and however its octets arrive.
#[test]
fn chunk_after_a_broken_bdat_line_is_not_read_as_commands() {
    let long = [&b"BDAT "[..], &[b'6'; 5000], b"\r\n"].concat();
    let lines: &[&[u8]] = &[
        b"BDAT 60 LAST\n",
        b"BDAT 6\r0 LAST\r\n",
        b"bdat\t60\r\n",
        b"BDAT\r\n",
        b"Bdat 60\0\r\n",
        b"BDAT \xff\r\n",
        b"BDAT x\r\n",
        &long,
    ];
    for line in lines {
        let wire = [line, &b"VRFY chunk\r\n"[..]].concat();
        for size in [1, 3, wire.len()] {
            let mut config = server_config();
            config.chunking = true;
            let mut bed = greeted(config);
            bed.feed(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@test.example>\r\n");
            bed.said();
            let mut events = Vec::new();
            for piece in wire.chunks(size) {
                events.extend(bed.feed(piece));
            }
            assert_eq!(
                (bed.said().as_str(), events),
                ("421 4.5.2 malformed BDAT, closing the connection\r\n", vec!["Closed".into()]),
                "{}",
                line.escape_ascii()
            );
        }
    }
    // Another verb that begins alike is refused as any unknown one.
    let mut bed = greeted(server_config());
    bed.feed(b"EHLO c\r\n");
    bed.said();
    bed.feed(b"BDATA 3\n");
    assert_eq!(bed.said(), "500 5.5.2 line must end in CRLF\r\n");
}

/// RFC 2033, section 4.2: one reply for each accepted recipient, and no other number of them.
#[test]
fn lmtp_takes_a_response_for_each_recipient() {
    let config = changed(server_config(), |it| it.protocol = smtp_proto::Protocol::Lmtp);
    let mut server = Server::new(Arc::new(config), Channel::Plain, std::time::Instant::now());
    let (now, mut output) = (std::time::Instant::now(), Vec::new());
    let mut input =
        &b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\nDATA\r\nx\r\n.\r\n"[..];
    loop {
        let progress = server.poll(input, &mut output, now).unwrap();
        input = &input[progress.consumed..];
        match progress.step {
            Step::Event(ServerEvent::EndOfBody) => break,
            Step::Event(event) if common::wants_answer(&event) => {
                server.respond(&accept(&event), &mut output).unwrap()
            }
            step => assert!(matches!(step, Step::Event(ServerEvent::Body(_)))),
        }
    }
    output.clear();
    let ok = Response::fixed(250, (2, 0, 0), "OK");
    let full = Response::fixed(452, (4, 2, 2), "mailbox full");
    let wrong = Response::fixed(354, (3, 0, 0), "go on");
    assert_eq!(
        server.respond_each(std::slice::from_ref(&ok), &mut output),
        Err(ApiMisuse::ResponseCount { expected: 2 })
    );
    assert_eq!(
        server.respond_each(&[ok.clone(), wrong], &mut output),
        Err(ApiMisuse::WrongCode(354))
    );
    server.respond_each(&[ok.clone(), full.clone()], &mut output).unwrap();
    assert_eq!(output, b"250 2.0.0 OK\r\n452 4.2.2 mailbox full\r\n");
    assert_eq!(server.respond_each(&[ok, full], &mut output), Err(ApiMisuse::NoResponseWanted));
}
