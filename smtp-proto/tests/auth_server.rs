//! AUTH on the server's side: the order of commands, what a client can find out, and what the
//! server remembers.

mod common;

use std::sync::Arc;

use common::auth::base64;
use common::auth_server::{CANCELLED, MALFORMED, NO, OK, auth, bound, config, inside, say};
use common::{ServerBed, changed, mechanisms, server_config, tls_info};
use smtp_proto::Secret;
use smtp_proto::channel::Channel;
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::sasl::server::{Answer, Identity};
use smtp_proto::server::{ServerEvent, StartTls};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::command::XclientName;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::reply::Response;

#[test]
fn nothing_outside_tls_unless_it_is_allowed() {
    for starttls in [StartTls::No, StartTls::Offered, StartTls::Required] {
        let mut bed = ServerBed::new(changed(config(), |it| it.starttls = starttls));
        bed.feed(b"");
        bed.said();
        assert!(!bed.ask(b"EHLO c\r\n").contains("AUTH"));
        let refused = if starttls == StartTls::Required {
            "530 5.7.0 must issue a STARTTLS command first\r\n"
        } else {
            "538 5.7.11 encryption required for authentication\r\n"
        };
        for mechanism in mechanisms() {
            assert_eq!(auth(&mut bed, mechanism.name(), "\0user\0pencil"), refused);
        }
        assert_eq!(bed.server.identity(), None);
        if starttls == StartTls::Offered {
            assert_eq!(
                say(&mut bed, "MAIL FROM:<> AUTH=<>"),
                "555 5.5.4 parameter not implemented\r\n"
            );
        }
    }
    // What needs TLS by its own rules is not offered outside it either way.
    let mut bed = ServerBed::new(changed(config(), |it| it.auth_in_clear = true));
    let ehlo = bed.ask(b"EHLO c\r\n");
    assert!(ehlo.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"), "{ehlo}");
    for mechanism in ["EXTERNAL", "OAUTHBEARER", "XOAUTH2", "SCRAM-SHA-256-PLUS"] {
        assert_eq!(auth(&mut bed, mechanism, "x"), "504 5.5.4 mechanism not offered\r\n");
    }
    assert_eq!(auth(&mut bed, "plain", "\0user\0pencil"), OK);
}

#[test]
fn what_is_offered_depends_on_the_channel() {
    let all = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 EXTERNAL OAUTHBEARER XOAUTH2 PLAIN LOGIN\r\n";
    let mut bed = ServerBed::on(config(), bound());
    assert!(bed.ask(b"EHLO c\r\n").ends_with(&format!("250 {all}")));
    // Without a binding there is no -PLUS.
    let mut bed = ServerBed::on(config(), Channel::Implicit(tls_info()));
    assert!(bed.ask(b"EHLO c\r\n").contains("250 AUTH SCRAM-SHA-256 EXTERNAL "));
    // Without mechanisms there is no AUTH.
    let mut bed = ServerBed::on(server_config(), bound());
    assert!(!bed.ask(b"EHLO c\r\n").contains("AUTH"));
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), "502 5.5.1 command not implemented\r\n");
    assert_eq!(say(&mut bed, "MAIL FROM:<> AUTH=<>"), "555 5.5.4 parameter not implemented\r\n");
}

/// RFC 4954, section 4: after EHLO; before other commands if the client begins and one round is
/// enough.
#[test]
fn auth_in_a_group() {
    let mut bed = ServerBed::on(config(), bound());
    bed.feed(b"");
    let group = format!(
        "EHLO c\r\nAUTH PLAIN {}\r\nMAIL FROM:<a@test.example>\r\nQUIT\r\n",
        base64("\0user\0pencil")
    );
    let events = bed.feed(group.as_bytes());
    assert_eq!(
        events,
        [
            "Hello c",
            "Authenticate(Password { user: \"user\", password: Secret(..) })",
            "Authenticated(Identity { user: \"user\", authorization: \"user\" })",
            "Mail <a@test.example>",
            "Closed"
        ]
    );
    assert!(
        bed.said().ends_with(&format!("{OK}250 2.0.0 OK\r\n221 2.0.0 closing the connection\r\n"))
    );
    // What is not a response is not one, and never a command.
    let mut bed = inside(config());
    assert_eq!(
        bed.ask(b"AUTH LOGIN\r\nMAIL FROM:<a@test.example>\r\nNOOP\r\n"),
        format!("334 VXNlcm5hbWU6\r\n{MALFORMED}250 2.0.0 OK\r\n")
    );
}

/// While a look-up takes its time nothing more is parsed on this connection, and others go on.
#[test]
fn late_answers() {
    let mut late = inside(config());
    late.authority = |_| None;
    let question =
        late.feed(format!("AUTH PLAIN {}\r\nNOOP\r\n", base64("\0user\0pencil")).as_bytes());
    assert_eq!(question, ["Authenticate(Password { user: \"user\", password: Secret(..) })"]);
    assert_eq!((late.server.deadline(), late.said().as_str()), (None, ""));
    let mut other = inside(config());
    assert_eq!(auth(&mut other, "PLAIN", "\0user\0pencil"), OK);
    late.now += std::time::Duration::from_secs(86_400);
    assert_eq!(late.ask(b"NOOP\r\n"), "");
    assert_eq!(late.server.identity(), None);

    let keys = || Answer::Keys(sasl_keys("pencil"));
    for wrong in [
        keys(),
        Answer::Other(Secret::default()),
        Answer::Failed(Response::fixed(235, (2, 7, 0), "ok")),
    ] {
        assert_eq!(late.server.answer(wrong), Err(ApiMisuse::WrongAnswer));
    }
    let ok = Response::fixed(235, (2, 7, 0), "ok");
    assert_eq!(late.server.respond(&ok, &mut late.output), Err(ApiMisuse::WrongCode(235)));
    late.server.answer(Answer::Accepted("user".into())).unwrap();
    assert_eq!(
        late.server.answer(Answer::Accepted("user".into())),
        Err(ApiMisuse::NoResponseWanted)
    );
    assert_eq!(late.ask(b""), format!("{OK}250 2.0.0 OK\r\n250 2.0.0 OK\r\n"));
    assert_eq!(late.server.answer(Answer::Refused), Err(ApiMisuse::NoResponseWanted));

    // The keys cannot be accepted unseen.
    let mut late = inside(config());
    late.authority = |_| None;
    late.feed(format!("AUTH SCRAM-SHA-256 {}\r\n", base64("n,,n=user,r=abc")).as_bytes());
    assert_eq!(late.server.answer(Answer::Accepted("user".into())), Err(ApiMisuse::WrongAnswer));
    late.server.answer(keys()).unwrap();
    assert!(late.ask(b"").starts_with("334 "));
}

fn sasl_keys(password: &str) -> smtp_proto::sasl::scram::Keys {
    smtp_proto::sasl::scram::Keys::derive(&Secret::from(password), common::SALT, 4096).unwrap()
}

/// Neither events nor the machine print what they hold, at any stage of any mechanism.
#[test]
fn credentials_are_not_printed() {
    let secrets = ["pencil", "good-token", "bad-token"];
    let conversations: [&[Vec<u8>]; 5] = [
        &[b"AUTH PLAIN".to_vec(), base64("\0user\0pencil").into()],
        &[format!("AUTH PLAIN {}", base64("boss\0user\0pencil")).into()],
        &[b"AUTH LOGIN".to_vec(), base64("user").into(), base64("pencil").into()],
        &[b"AUTH XOAUTH2".to_vec(), base64("user=user\x01auth=Bearer bad-token\x01\x01").into()],
        &[format!("AUTH OAUTHBEARER {}", base64("n,,\x01auth=Bearer good-token\x01\x01")).into()],
    ];
    for lines in conversations {
        let mut bed = inside(config());
        let mut seen = String::new();
        for line in lines {
            bed.input.extend_from_slice(line);
            bed.input.extend_from_slice(b"\r\n");
            loop {
                let progress = bed.server.poll(&bed.input, &mut bed.output, bed.now).unwrap();
                seen.push_str(&format!("{progress:?}\n"));
                let consumed = progress.consumed;
                let answer = match progress.step {
                    smtp_proto::Step::Event(ServerEvent::Authenticate(question)) => {
                        let answer = common::authority(&question);
                        seen.push_str(&format!("{question:?} {answer:?}\n"));
                        Some(answer)
                    }
                    smtp_proto::Step::Wait(_) => {
                        bed.input.drain(..consumed);
                        break;
                    }
                    _ => None,
                };
                seen.push_str(&format!("{:?}\n", bed.server));
                bed.input.drain(..consumed);
                if let Some(answer) = answer {
                    bed.server.answer(answer).unwrap();
                }
                seen.push_str(&format!("{:?}\n", bed.server));
            }
        }
        for secret in secrets {
            // As it is, and as Debug prints octets.
            let octets = format!("{:?}", secret.as_bytes());
            assert!(
                !seen.contains(secret) && !seen.contains(octets.trim_matches(['[', ']'])),
                "{seen}"
            );
            assert!(!seen.contains(&base64(secret)[..4]), "{seen}");
        }
    }
    let command = smtp_proto::wire::command::Command::parse(
        b"AUTH PLAIN AHVzZXIAcGVuY2ls",
        AddressRules::STRICT,
    )
    .unwrap();
    assert_eq!(
        format!("{command:?}"),
        "Auth { mechanism: \"PLAIN\", initial: Some(InitialResponse(..)) }"
    );
    assert_eq!(format!("{:?}", sasl_keys("pencil")), "Keys(..)");
}

/// The driver is told what to wipe: every piece of a line of AUTH, whatever becomes of it.
#[test]
fn the_driver_is_told_what_to_wipe() {
    let mut bed = inside(changed(config(), |it| {
        it.limits = changed(config().limits, |it| it.auth_line = 64)
    }));
    let mut polls = |bytes: &[u8]| {
        bed.feed(bytes);
        bed.server.has_read_secrets()
    };
    assert!(!polls(b"NOOP\r\n"));
    assert!(!polls(b"AUT"));
    assert!(polls(b"H PLAIN"));
    assert!(polls(&[b'A'; 3000]));
    // The front of the line is dropped; its end is still a part of it.
    assert!(polls(b"AAAA"));
    bed.feed(b"\r\n");
    assert_eq!(bed.said(), "250 2.0.0 OK\r\n500 5.5.6 line too long\r\n");
    let mut polls = |bytes: &[u8]| {
        bed.feed(bytes);
        bed.server.has_read_secrets()
    };
    assert!(!polls(b"NOOP\r\nNO"));
    assert!(!polls(b"OP\r\n"));
    polls(b"AUTH LOGIN\r\n");
    assert!(polls(b"dXNl"));
    assert_eq!(bed.server.phase(), Phase::Auth);
}

#[test]
fn failed_attempt_leaves_no_state() {
    let mut bed = inside(config());
    // Half a LOGIN, then one that starts anew.
    say(&mut bed, "AUTH LOGIN");
    assert_eq!(say(&mut bed, base64("user")), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(say(&mut bed, "*"), CANCELLED);
    assert_eq!(say(&mut bed, "AUTH LOGIN"), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(say(&mut bed, base64("mallory")), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(say(&mut bed, base64("pencil")), NO);
    // An authorization that was refused.
    assert_eq!(auth(&mut bed, "PLAIN", "root\0user\0pencil"), NO);
    assert_eq!(bed.server.identity(), None);
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
    let user = Identity::new("user", "user");
    assert_eq!(bed.server.identity(), Some(&user));
    // RSET, EHLO and whatever else comes leave it alone.
    for line in
        ["RSET", "EHLO d", "HELO e", "MAIL FROM:<>", "RSET", "AUTH PLAIN", "AUTH PLAIN =", "XYZZY"]
    {
        say(&mut bed, line);
        assert_eq!(bed.server.identity(), Some(&user));
    }
}

#[test]
fn starttls_and_xclient_forget_the_identity() {
    let config = changed(config(), |it| {
        it.auth_in_clear = true;
        it.starttls = StartTls::Offered;
        it.xclient = XclientName::ALL.into();
    });
    let mut bed = ServerBed::new(config.clone());
    bed.feed(b"EHLO c\r\n");
    bed.said();
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
    bed.feed(b"STARTTLS\r\n");
    bed.shake();
    assert_eq!(bed.server.identity(), None);
    bed.feed(b"EHLO c\r\n");
    bed.said();
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);

    let mut bed = ServerBed::new(config.clone());
    bed.answer = Arc::new(|event| match event {
        ServerEvent::Xclient(_) => Response::fixed(220, (2, 0, 0), "ready"),
        event => common::accept(event),
    });
    bed.feed(b"EHLO c\r\n");
    bed.said();
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
    say(&mut bed, "XCLIENT ADDR=192.0.2.1");
    assert_eq!(bed.server.identity(), None);
    say(&mut bed, "XCLIENT LOGIN=a+2Bb");
    assert_eq!(bed.server.identity().unwrap().user, "a+b");
    say(&mut bed, "XCLIENT LOGIN=[UNAVAILABLE]");
    assert_eq!(bed.server.identity(), None);

    // A proxy that is refused names no user.
    let mut bed = ServerBed::new(config).answering(
        |event| matches!(event, ServerEvent::Xclient(_)),
        Response::fixed(550, (5, 7, 0), "no"),
    );
    bed.feed(b"EHLO c\r\nXCLIENT LOGIN=root\r\n");
    assert_eq!(bed.server.identity(), None);
}

#[test]
fn the_client_may_give_up_at_each_stage() {
    let first = base64("n,,n=user,r=abc");
    let stages: [&[&str]; 9] = [
        &["AUTH PLAIN"],
        &["AUTH LOGIN"],
        &["AUTH LOGIN", "dXNlcg=="],
        &["AUTH EXTERNAL"],
        &["AUTH XOAUTH2"],
        &["AUTH OAUTHBEARER"],
        &["AUTH XOAUTH2", &base64("user=user\x01auth=Bearer bad-token\x01\x01")],
        &["AUTH SCRAM-SHA-256"],
        &["AUTH SCRAM-SHA-256", &first],
    ];
    for lines in stages {
        let mut bed = inside(config());
        for line in lines {
            assert!(say(&mut bed, line).starts_with("334 "), "{line}");
        }
        assert_eq!(say(&mut bed, "*"), CANCELLED, "{lines:?}");
        assert_eq!(say(&mut bed, "*"), "500 5.5.1 command not recognized\r\n");
        assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
    }
    // With the command it is no base64.
    assert_eq!(say(&mut inside(config()), "AUTH PLAIN *"), MALFORMED);
}

#[test]
fn lines_of_auth_have_a_limit_of_their_own() {
    let limit = config().limits.auth_line;
    assert_eq!(limit, 12288);
    // A password that makes the line exactly so long, then the next longer one that base64 has.
    let message = |line: usize, head: usize| {
        let octets = (line - head - 2) / 4 * 3;
        let mut message = b"\0user\0".to_vec();
        message.resize(octets, b'x');
        base64(message)
    };
    let mut bed = inside(config());
    say(&mut bed, "AUTH PLAIN");
    assert_eq!(say(&mut bed, message(limit, 0)), NO);
    assert_eq!(say(&mut bed, format!("AUTH PLAIN {}", message(limit, "AUTH PLAIN ".len()))), NO);
    for step in [1, 7, usize::MAX] {
        let mut bed = inside(config());
        let mut feed = |line: String| {
            let mut events = Vec::new();
            line.as_bytes().chunks(step).for_each(|piece| events.extend(bed.feed(piece)));
            (events, bed.said(), bed.input.len())
        };
        feed("AUTH PLAIN\r\n".into());
        let (events, said, _) = feed(message(limit + 4, 0) + "\r\n");
        assert_eq!(events, ["AuthenticationFailed(LineTooLong)"]);
        assert_eq!(said, "500 5.5.6 authentication exchange line is too long\r\n");
        let (events, said, _) = feed(format!("AUTH PLAIN {}\r\n", message(limit + 16, 0)));
        assert_eq!((events.len(), said.as_str()), (0, "500 5.5.6 line too long\r\n"));
        // Nothing of it is kept.
        feed("AUTH PLAIN\r\n".into());
        let (_, _, kept) = feed("A".repeat(10 * limit));
        assert_eq!(kept, 0);
    }
    // Other commands are as short as ever, and so is this one where there is no AUTH.
    let mut bed = ServerBed::on(server_config(), bound());
    bed.feed(b"EHLO c\r\n");
    bed.said();
    assert_eq!(
        say(&mut bed, format!("AUTH PLAIN {}", "A".repeat(4096))),
        "500 5.5.6 line too long\r\n"
    );

    for (line, said) in [
        (&b"dXNlcg==\n"[..], "500 5.5.2 line must end in CRLF\r\n"),
        (b"dXNl\rcg==\r\n", "500 5.5.2 line must end in CRLF\r\n"),
    ] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH LOGIN");
        assert_eq!(bed.ask(line), said);
    }
}

/// RFC 4954, section 4: what is not base64 is refused, and not read as something that it might have
/// meant.
#[test]
fn base64_is_read_strictly() {
    let good = base64("\0user\0pencil");
    assert_eq!(good, "AHVzZXIAcGVuY2ls");
    let responses = [
        "=",
        "==",
        "====",
        "A",
        "AH",
        "AHV",
        "AHV=",
        "AHVzZXIAcGVuY2l",
        "=AHVzZXIAcGVuY2ls",
        "AHVzZXIA=cGVuY2ls",
        "AHVzZXIAcGVuY2ls=",
        "AHVzZXIAcGVuY2ls====",
        "AHVz ZXIAcGVuY2ls",
        " AHVzZXIAcGVuY2ls",
        "AHVzZXIAcGVuY2ls ",
        "AHVzZXIAcGVuY2ls\t",
        "AHVzZXIAcGVuY2ls\0",
        "AHVzZXIAcGVu-2ls",
        "AHVzZXIAcGVu_2ls",
        "AHVzZXIAcGVu\u{e9}",
        // Stray bits after the last octet.
        "AHVzZXIAcGVuY2lsMR==",
        "AHVzZXIAcGVuY2lsMTJ=",
        "**",
        "* ",
    ];
    for response in responses {
        let mut bed = inside(config());
        say(&mut bed, "AUTH PLAIN");
        assert_eq!(say(&mut bed, response), MALFORMED, "{response:?}");
        assert_eq!(bed.server.identity(), None);
    }
    for response in [
        "==",
        "A",
        "=AHVzZXIAcGVuY2ls",
        "AHVzZXIAcGVuY2ls=",
        "AHVzZXIAcGVu-2ls",
        "AHVzZXIAcGVuY2lsMR==",
    ] {
        assert_eq!(
            say(&mut inside(config()), format!("AUTH PLAIN {response}")),
            MALFORMED,
            "{response:?}"
        );
    }
    for line in ["AUTH", "AUTH ", "AUTH PLAIN AHVz ZXIA"] {
        assert_eq!(
            say(&mut inside(config()), line),
            "501 5.5.4 argument missing or out of place\r\n"
        );
    }
}

/// RFC 4954, section 9: at least three attempts.
#[test]
fn attempts_have_a_limit() {
    let mut bed = inside(config());
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pen"), NO);
    // Not the client's fault.
    for _ in 0..5 {
        assert_eq!(
            auth(&mut bed, "PLAIN", "\0nobody-knows\0pen"),
            "454 4.7.0 temporary authentication failure\r\n"
        );
    }
    say(&mut bed, "AUTH LOGIN");
    assert_eq!(say(&mut bed, "*"), CANCELLED);
    assert_eq!(say(&mut bed, "AUTH PLAIN !"), MALFORMED);
    say(&mut bed, "NOOP");
    let events = bed.feed(format!("AUTH PLAIN {}\r\nNOOP\r\n", base64("\0user\0pen")).as_bytes());
    assert_eq!(bed.said(), "421 4.7.0 too many failed authentications, closing the connection\r\n");
    assert_eq!(events[1..], ["AuthenticationFailed(Refused)", "Closed"]);
    // The last attempt that is allowed may succeed.
    let mut bed = inside(config());
    for _ in 0..3 {
        assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pen"), NO);
    }
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
    // Look-ups that fail by themselves bring no message forward either.
    let mut bed = inside(changed(config(), |it| {
        it.limits = changed(config().limits, |it| it.idle_commands = 3)
    }));
    let said: Vec<String> = (0..3).map(|_| auth(&mut bed, "PLAIN", "\0nobody-knows\0x")).collect();
    assert!(said[1].starts_with("454") && said[2].starts_with("421"), "{said:?}");
}

#[test]
fn other_words_of_the_caller() {
    let mut bed = inside(config());
    assert_eq!(auth(&mut bed, "PLAIN", "\0weak\0pencil"), "534 5.7.9 mechanism is too weak\r\n");
    let events = bed.feed(format!("AUTH PLAIN {}\r\n", base64("\0bye\0pencil")).as_bytes());
    assert!(
        events[1].starts_with("AuthenticationFailed(Response(") && events[2] == "Closed",
        "{events:?}"
    );
    assert_eq!(bed.said(), "421 4.3.2 bye\r\n");
    // A response does as well as an answer, if it is no success.
    let mut bed = inside(config());
    bed.authority = |_| None;
    auth(&mut bed, "PLAIN", "\0user\0pencil");
    bed.server
        .respond(
            &Response::fixed(432, (4, 7, 12), "a password transition is needed"),
            &mut bed.output,
        )
        .unwrap();
    assert_eq!(
        bed.ask(b"NOOP\r\n"),
        "432 4.7.12 a password transition is needed\r\n250 2.0.0 OK\r\n"
    );
    // An empty name is no user.
    let mut bed = inside(config());
    bed.authority = |_| Some(Answer::Accepted(String::new()));
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), NO);
    assert_eq!(bed.server.identity(), None);
    // Shutdown in an exchange.
    let mut bed = inside(config());
    say(&mut bed, "AUTH PLAIN");
    bed.server.close(&Response::fixed(421, (4, 3, 2), "bye"), &mut bed.output);
    assert_eq!(bed.feed(base64("\0user\0pencil").as_bytes()), ["Closed"]);
}

/// RFC 4954, section 5: AUTH announces its parameter; the caller decides whether to believe it.
#[test]
fn the_parameter_of_mail() {
    for (parameter, reply) in [
        ("AUTH=<>", "250 2.0.0 OK\r\n"),
        ("AUTH=e+3Dmc2@example.com", "250 2.0.0 OK\r\n"),
        ("AUTH=", "501 5.5.4 bad parameter syntax\r\n"),
        ("AUTH", "501 5.5.4 bad parameter syntax\r\n"),
        ("AUTH=a+3", "501 5.5.4 bad parameter syntax\r\n"),
    ] {
        assert_eq!(
            say(&mut inside(config()), format!("MAIL FROM:<a@test.example> {parameter}")),
            reply,
            "{parameter}"
        );
    }
}

/// RFC 4954, section 5: "if the client is not authenticated, then the server MUST behave as if the
/// AUTH=<> parameter was supplied".
#[test]
fn unauthenticated_auth_parameter_counts_as_empty() {
    let submitter = |authenticated: bool, parameter: &str| {
        let mut bed = inside(config());
        if authenticated {
            assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
        }
        let line = format!("MAIL FROM:<a@test.example> {parameter}\r\n");
        let progress = bed.server.poll(line.as_bytes(), &mut bed.output, bed.now).unwrap();
        let smtp_proto::Step::Event(ServerEvent::Mail { parameters, .. }) = progress.step else {
            panic!("{:?}", progress.step)
        };
        assert_eq!(
            format!("MAIL FROM:<a@test.example> {}\r\n", parameters.all.as_str()),
            line,
            "for a log"
        );
        parameters.auth.map(|auth| auth.as_str().to_owned())
    };
    assert_eq!(submitter(false, "AUTH=ceo@test.example").as_deref(), Some("<>"));
    assert_eq!(submitter(false, "AUTH=<>").as_deref(), Some("<>"));
    assert_eq!(submitter(false, "BODY=8BITMIME"), None);
    assert_eq!(submitter(true, "AUTH=ceo@test.example").as_deref(), Some("ceo@test.example"));
    assert_eq!(submitter(true, "AUTH=<>").as_deref(), Some("<>"));
}

#[test]
fn time_and_input_may_end_in_an_exchange() {
    let mut bed = inside(config());
    say(&mut bed, "AUTH LOGIN");
    let began = bed.now;
    let limit = config().timeouts.auth;
    assert_eq!(bed.server.deadline(), Some(began + limit));
    // Half a line moves nothing.
    bed.now += limit / 2;
    bed.feed(b"dXNl");
    assert_eq!(bed.server.deadline(), Some(began + limit));
    bed.now = began + limit;
    assert_eq!(bed.ask(b""), "421 4.4.2 idle for too long, closing the connection\r\n");
    assert_eq!(bed.want, Err(Error::Timeout(Phase::Auth)));

    let mut bed = inside(config());
    say(&mut bed, "AUTH LOGIN");
    assert_eq!(bed.server.handle_eof(), Ok(()));
    // Nor does an answer that comes too late for anybody to hear it make a difference.
    let mut bed = inside(config());
    bed.authority = |_| None;
    auth(&mut bed, "PLAIN", "\0user\0pencil");
    assert_eq!(bed.server.handle_eof(), Ok(()));
    assert_eq!(
        bed.server.answer(Answer::Accepted("user".into())),
        Err(ApiMisuse::NoResponseWanted)
    );
    assert_eq!(bed.server.identity(), None);
}

#[test]
fn lmtp_has_it_as_well() {
    let mut bed =
        ServerBed::on(changed(config(), |it| it.protocol = smtp_proto::Protocol::Lmtp), bound());
    assert!(bed.ask(b"LHLO c\r\n").contains("AUTH "));
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
}

/// Xtext can encode what no SASL name, header field or log may hold.
#[test]
fn xclient_login_with_controls_or_not_in_utf_8_is_refused() {
    let config = changed(config(), |it| it.xclient = XclientName::ALL.into());
    for (login, user) in [
        ("a+2Bb", Some("a+b")),
        ("a+0D+0Ab", None),
        ("a+00b", None),
        ("+FF", None),
        ("a+C2+85b", None),
    ] {
        let mut bed = inside(config.clone());
        let code = if user.is_some() { "220" } else { "501" };
        assert!(say(&mut bed, format!("XCLIENT LOGIN={login}")).starts_with(code), "{login}");
        assert_eq!(bed.server.identity().map(|identity| identity.user.as_str()), user, "{login}");
    }
}
