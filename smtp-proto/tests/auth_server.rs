//! AUTH on the server's side: who may say what when, what a client can find out, and what is left of it.

mod common;

use std::sync::Arc;

use common::{ServerBed, mechanisms, server_config, tls_info};
use smtp_proto::command::XclientName;
use smtp_proto::error::{ApiMisuse, Error, Phase};
use smtp_proto::fallback::{Channel, TlsInfo};
use smtp_proto::reply::Response;
use smtp_proto::sasl::client::{Binding, Mechanism as _, ScramSha256};
use smtp_proto::sasl::server::{Answer, Decoy, Exchange, Failure, Identity, Mechanism, Offer, Question, Step};
use smtp_proto::sasl::{BindingType, ChannelBinding, Secret, server as sasl};
use smtp_proto::server::{Config, Event, StartTls};

fn base64(octets: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn config() -> Config {
    Config { mechanisms: mechanisms(), ..server_config() }
}

fn exported(data: &str) -> ChannelBinding {
    ChannelBinding { kind: BindingType::TlsExporter, data: Secret::from(data) }
}

fn bound() -> Channel {
    Channel::Implicit(Arc::new(TlsInfo { bindings: vec![exported("this channel")], ..TlsInfo::clone(&tls_info()) }))
}

/// After EHLO, inside TLS that can be bound to.
fn inside(config: Config) -> ServerBed {
    let mut bed = ServerBed::on(config, bound());
    bed.feed(b"EHLO c\r\n");
    bed.said();
    bed
}

fn say(bed: &mut ServerBed, line: impl AsRef<str>) -> String {
    bed.ask(format!("{}\r\n", line.as_ref()).as_bytes())
}

/// AUTH with an initial response.
fn auth(bed: &mut ServerBed, mechanism: &str, initial: impl AsRef<[u8]>) -> String {
    say(bed, format!("AUTH {mechanism} {}", base64(initial)))
}

const OK: &str = "235 2.7.0 authentication succeeded\r\n";
const NO: &str = "535 5.7.8 authentication credentials invalid\r\n";
const MALFORMED: &str = "501 5.5.2 malformed authentication response\r\n";
const CANCELLED: &str = "501 5.7.0 authentication cancelled\r\n";

/// Runs SCRAM with our own client to the end: the server's challenges, and its last word.
fn scram(bed: &mut ServerBed, mut client: ScramSha256) -> (Vec<String>, String) {
    let mut challenges = Vec::new();
    let initial = client.initial_response().unwrap().unwrap();
    let mut reply = auth(bed, client.name(), initial.as_bytes());
    while let Some(challenge) = reply.strip_prefix("334 ") {
        let challenge = decode(challenge.trim_end());
        challenges.push(String::from_utf8(challenge.clone()).unwrap());
        reply = match client.respond(&challenge) {
            Ok(response) => say(bed, base64(response.as_bytes())),
            Err(_) => say(bed, "*"),
        };
    }
    assert_eq!(reply == OK, client.accepted().is_ok(), "both sides believe the same");
    (challenges, reply)
}

fn client(user: &str, password: &str, binding: Binding) -> ScramSha256 {
    ScramSha256::new("", user, Secret::from(password), binding, "rOprNGfwEbeRWgbNEkqO".parse().unwrap()).unwrap()
}

#[test]
fn nothing_outside_tls_unless_it_is_allowed() {
    for starttls in [StartTls::No, StartTls::Offered, StartTls::Required] {
        let mut bed = ServerBed::new(Config { starttls, ..config() });
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
            assert_eq!(say(&mut bed, "MAIL FROM:<> AUTH=<>"), "555 5.5.4 parameter not implemented\r\n");
        }
    }
    // What needs TLS by its own rules is not offered outside it either way.
    let mut bed = ServerBed::new(Config { auth_in_clear: true, ..config() });
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

/// RFC 4954, 4: behind EHLO, and in front of others where the client begins and one round is enough.
#[test]
fn auth_in_a_group() {
    let mut bed = ServerBed::on(config(), bound());
    bed.feed(b"");
    let group = format!("EHLO c\r\nAUTH PLAIN {}\r\nMAIL FROM:<a@test.example>\r\nQUIT\r\n", base64("\0user\0pencil"));
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
    assert!(bed.said().ends_with(&format!("{OK}250 2.0.0 OK\r\n221 2.0.0 closing the connection\r\n")));
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
    let question = late.feed(format!("AUTH PLAIN {}\r\nNOOP\r\n", base64("\0user\0pencil")).as_bytes());
    assert_eq!(question, ["Authenticate(Password { user: \"user\", password: Secret(..) })"]);
    assert_eq!((late.server.deadline(), late.said().as_str()), (None, ""));
    let mut other = inside(config());
    assert_eq!(auth(&mut other, "PLAIN", "\0user\0pencil"), OK);
    late.now += std::time::Duration::from_secs(86_400);
    assert_eq!(late.ask(b"NOOP\r\n"), "");
    assert_eq!(late.server.identity(), None);

    let keys = || Answer::Keys(sasl_keys("pencil"));
    for wrong in [keys(), Answer::Other(Secret::default()), Answer::Failed(Response::fixed(235, (2, 7, 0), "ok"))] {
        assert_eq!(late.server.answer(wrong), Err(ApiMisuse::WrongAnswer));
    }
    let ok = Response::fixed(235, (2, 7, 0), "ok");
    assert_eq!(late.server.respond(&ok, &mut late.output), Err(ApiMisuse::WrongCode(235)));
    late.server.answer(Answer::Accepted("user".into())).unwrap();
    assert_eq!(late.server.answer(Answer::Accepted("user".into())), Err(ApiMisuse::NoResponseWanted));
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
                let progress = bed.server.poll(bed.now, &bed.input, &mut bed.output).unwrap();
                seen.push_str(&format!("{progress:?}\n"));
                let consumed = progress.consumed;
                let answer = match progress.step {
                    smtp_proto::Step::Event(Event::Authenticate(question)) => {
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
            assert!(!seen.contains(secret) && !seen.contains(octets.trim_matches(['[', ']'])), "{seen}");
            assert!(!seen.contains(&base64(secret)[..4]), "{seen}");
        }
    }
    let command = smtp_proto::command::Command::parse(b"AUTH PLAIN AHVzZXIAcGVuY2ls").unwrap();
    assert_eq!(format!("{command:?}"), "Auth { mechanism: \"PLAIN\", initial: Some(InitialResponse(..)) }");
    assert_eq!(format!("{:?}", sasl_keys("pencil")), "Keys(..)");
}

/// The driver is told what to wipe: every piece of a line of AUTH, whatever becomes of it.
#[test]
fn the_driver_is_told_what_to_wipe() {
    let mut bed =
        inside(Config { limits: smtp_proto::server::Limits { auth_line: 64, ..config().limits }, ..config() });
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
fn a_failed_attempt_leaves_nothing_behind() {
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
    let user = Identity { user: "user".into(), authorization: "user".into() };
    assert_eq!(bed.server.identity(), Some(&user));
    // RSET, EHLO and whatever else comes leave it alone.
    for line in ["RSET", "EHLO d", "HELO e", "MAIL FROM:<>", "RSET", "AUTH PLAIN", "AUTH PLAIN =", "XYZZY"] {
        say(&mut bed, line);
        assert_eq!(bed.server.identity(), Some(&user));
    }
}

#[test]
fn starttls_and_xclient_forget_who_it_was() {
    let config =
        Config { auth_in_clear: true, starttls: StartTls::Offered, xclient: XclientName::ALL.into(), ..config() };
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
        Event::Xclient(_) => Response::fixed(220, (2, 0, 0), "ready"),
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

    // A proxy that nobody trusts names nobody.
    let mut bed = ServerBed::new(config)
        .answering(|event| matches!(event, Event::Xclient(_)), Response::fixed(550, (5, 7, 0), "no"));
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
    assert_eq!(say(&mut bed, format!("AUTH PLAIN {}", "A".repeat(4096))), "500 5.5.6 line too long\r\n");

    for (line, said) in [
        (&b"dXNlcg==\n"[..], "500 5.5.2 line must end in CRLF\r\n"),
        (b"dXNl\rcg==\r\n", "500 5.5.2 line must end in CRLF\r\n"),
    ] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH LOGIN");
        assert_eq!(bed.ask(line), said);
    }
}

/// RFC 4954, 4: what is not base64 is refused, and not read as something that it might have meant.
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
        // Stray bits behind the last octet.
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
    for response in ["==", "A", "=AHVzZXIAcGVuY2ls", "AHVzZXIAcGVuY2ls=", "AHVzZXIAcGVu-2ls", "AHVzZXIAcGVuY2lsMR=="] {
        assert_eq!(say(&mut inside(config()), format!("AUTH PLAIN {response}")), MALFORMED, "{response:?}");
    }
    for line in ["AUTH", "AUTH ", "AUTH PLAIN AHVz ZXIA"] {
        assert_eq!(say(&mut inside(config()), line), "501 5.5.4 argument missing or out of place\r\n");
    }
}

/// RFC 4616, 2.
#[test]
fn messages_of_plain() {
    for (message, reply) in [
        (&b"\0user\0pencil"[..], OK),
        (b"user\0user\0pencil", OK),
        (b"boss\0user\0pencil", OK),
        (b"root\0user\0pencil", NO),
        (b"boss\0user\0pen", NO),
        (b"\0user\0pencil\0", MALFORMED),
        (b"\0user\0pen\0cil", MALFORMED),
        (b"\0\0user\0pencil", MALFORMED),
        (b"user\0pencil", MALFORMED),
        (b"pencil", MALFORMED),
        (b"\0\0", MALFORMED),
        (b"\0user\0", MALFORMED),
        (b"\0\0pencil", MALFORMED),
        (b"", MALFORMED),
        (b"\0us\xffr\0pencil", MALFORMED),
        (b"\0user\0\xff", MALFORMED),
        // SASLprep: a control, and what becomes nothing; a name that it maps to `user`.
        (b"\0us\x07er\0pencil", NO),
        (b"\0\xc2\xad\0pencil", NO),
        (b"\0u\xc2\xadser\0pencil", OK),
    ] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH PLAIN");
        assert_eq!(say(&mut bed, base64(message)), reply, "{}", message.escape_ascii());
        let expected = (reply == OK).then(|| if message.starts_with(b"boss") { "boss" } else { "user" });
        assert_eq!(bed.server.identity().map(|identity| identity.authorization.as_str()), expected);
    }
    // No response is not an empty name.
    assert_eq!(say(&mut inside(config()), "AUTH PLAIN ="), MALFORMED);
    for (user, password) in [("", "pencil"), ("user", ""), ("a\0b", "pencil"), ("user", "a\0b")] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH LOGIN");
        let reply = say(&mut bed, base64(user));
        let reply = if reply.starts_with("334") { say(&mut bed, base64(password)) } else { reply };
        assert_eq!(reply, MALFORMED, "{user:?} {password:?}");
    }
}

/// RFC 7628, 3.1, and what came before it.
#[test]
fn messages_with_tokens() {
    let error = "334 ";
    let auth_pair = "auth=Bearer good-token\x01";
    for (mechanism, message, reply) in [
        ("XOAUTH2", format!("user=user\x01{auth_pair}\x01"), OK),
        ("XOAUTH2", "user=user\x01auth=bearer good-token\x01\x01".into(), OK),
        ("XOAUTH2", format!("user=boss\x01{auth_pair}\x01"), OK),
        ("XOAUTH2", format!("user=root\x01{auth_pair}\x01"), error),
        ("XOAUTH2", format!("user=\x01{auth_pair}\x01"), NO),
        ("XOAUTH2", format!("user=user\x01{auth_pair}"), MALFORMED),
        ("XOAUTH2", format!("user=user\x01{auth_pair}\x01\x01"), MALFORMED),
        ("XOAUTH2", format!("{auth_pair}user=user\x01\x01"), MALFORMED),
        ("XOAUTH2", "user=user\x01auth=Bearer good token\x01\x01".into(), MALFORMED),
        ("XOAUTH2", "user=user\x01auth=Bearer =\x01\x01".into(), MALFORMED),
        ("XOAUTH2", "user=user\x01auth=good-token\x01\x01".into(), MALFORMED),
        ("XOAUTH2", String::new(), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01{auth_pair}\x01"), OK),
        ("OAUTHBEARER", format!("y,a=user,\x01port=587\x01{auth_pair}host=mx.test.example\x01\x01"), OK),
        ("OAUTHBEARER", format!("n,a=boss,\x01{auth_pair}unknown=x y\tz\x01\x01"), OK),
        ("OAUTHBEARER", format!("n,a=root,\x01{auth_pair}\x01"), error),
        ("OAUTHBEARER", format!("n,a=b=2Cc=3D,\x01{auth_pair}\x01"), error),
        ("OAUTHBEARER", format!("n,a=b=2c,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", "n,,\x01auth=Bearer bad-token\x01\x01".into(), error),
        ("OAUTHBEARER", format!("p=tls-exporter,,\x01{auth_pair}\x01"), NO),
        ("OAUTHBEARER", format!("x,,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,a=,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,user,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01{auth_pair}"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01{auth_pair}{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01port=0587\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01port=+587\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01port=65536\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01k1=x\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01key=\0\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", "n,,\x01\x01".into(), MALFORMED),
        ("OAUTHBEARER", "\x01".into(), MALFORMED),
    ] {
        let mut bed = inside(config());
        say(&mut bed, format!("AUTH {mechanism}"));
        let said = say(&mut bed, base64(&message));
        assert!(said.starts_with(reply), "{} {said}", message.escape_debug());
        if reply == error {
            // RFC 7628, 3.2.3: the client says ^A, or nothing, or gives up; it is refused in each case.
            assert_eq!(say(&mut bed, "AQ=="), NO);
        }
        assert_eq!(bed.server.identity().is_some(), reply == OK);
    }
}

/// A stranger cannot be told from a user before the proof, nor from one server to the next.
#[test]
fn strangers_look_like_users() {
    let challenge = |user: &str, server: &mut ServerBed| {
        let (challenges, last) = scram(server, client(user, "not the password", Binding::Unsupported));
        assert_eq!((challenges.len(), last.as_str()), (1, NO), "{user}");
        challenges.into_iter().next().unwrap()
    };
    let parts = |message: &str| -> Vec<String> { message.split(',').map(str::to_owned).collect() };
    let known = parts(&challenge("user", &mut inside(config())));
    let unknown = parts(&challenge("mallory", &mut inside(config())));
    assert_eq!((known.len(), &known[0], &known[2]), (3, &unknown[0], &unknown[2]));
    assert_eq!(decode(&known[1][2..]).len(), decode(&unknown[1][2..]).len());
    // Always the same for a name, also after others and on another connection; another for another name.
    let mut bed = inside(config());
    assert_ne!(parts(&challenge("trudy", &mut bed))[1], unknown[1]);
    assert_eq!(parts(&challenge("mallory", &mut bed)), unknown);
    assert_eq!(parts(&challenge("mallory", &mut inside(config()))), unknown);
    // As whom a stranger wants to act makes no difference, either to the message or to the caller's questions.
    let mut bed = inside(config());
    let with = auth(&mut bed, "SCRAM-SHA-256", "n,a=boss,n=mallory,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(parts(std::str::from_utf8(&decode(with[4..].trim_end())).unwrap()), unknown);
    // Another secret, other salts.
    let other = sasl::ScramSha256::with_nonces(Decoy::new(Secret::from("another")), || "abc".parse().ok());
    let mut bed = inside(Config { mechanisms: other.into(), ..server_config() });
    assert_ne!(parts(&challenge("mallory", &mut bed))[1], unknown[1]);
}

/// RFC 5802, 6: each flag, with and without -PLUS, and each way in which somebody can stand in between.
#[test]
fn channel_binding() {
    let used = |data| Binding::Used(exported(data));
    let (challenges, last) = scram(&mut inside(config()), client("user", "pencil", used("this channel")));
    assert_eq!((challenges.len(), last.as_str()), (2, OK));
    // The proof is right, the channel is another one.
    assert_eq!(scram(&mut inside(config()), client("user", "pencil", used("another channel"))).1, NO);
    // A type that is not there.
    let end_point = ChannelBinding { kind: BindingType::TlsServerEndPoint, data: Secret::from("this channel") };
    let refused = scram(&mut inside(config()), client("user", "pencil", Binding::Used(end_point)));
    assert_eq!(refused, (vec![], NO.to_owned()));

    let first =
        |bed: &mut ServerBed, mechanism: &str, header: &str| auth(bed, mechanism, format!("{header},,n=user,r=abc"));
    // `y` says that -PLUS was not seen: somebody has taken it out of the list.
    assert_eq!(first(&mut inside(config()), "SCRAM-SHA-256", "y"), NO);
    let mut unbound = ServerBed::on(config(), Channel::Implicit(tls_info()));
    unbound.feed(b"EHLO c\r\n");
    unbound.said();
    assert!(first(&mut unbound, "SCRAM-SHA-256", "y").starts_with("334 "));
    say(&mut unbound, "*");
    assert_eq!(first(&mut unbound, "SCRAM-SHA-256-PLUS", "p=tls-exporter"), "504 5.5.4 mechanism not offered\r\n");
    // The flag and the name of the mechanism go together.
    for (mechanism, header) in [
        ("SCRAM-SHA-256", "p=tls-exporter"),
        ("SCRAM-SHA-256-PLUS", "n"),
        ("SCRAM-SHA-256-PLUS", "y"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique"),
        ("SCRAM-SHA-256-PLUS", "p=TLS-EXPORTER"),
    ] {
        assert_eq!(first(&mut inside(config()), mechanism, header), NO, "{mechanism} {header}");
    }
    assert!(first(&mut inside(config()), "SCRAM-SHA-256", "n").starts_with("334 "));
}

/// The last message of somebody who knows the password and sends what we do not expect (RFC 5802, 3).
fn signed(server_first: &str, without_proof: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let hmac = |key: &[u8], text: &[u8]| -> [u8; 32] {
        let mut hmac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
        hmac.update(text);
        hmac.finalize().into_bytes().into()
    };
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", common::SALT, 4096, &mut salted);
    let client_key = hmac(&salted, b"Client Key");
    let message = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{server_first},{without_proof}");
    let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signed)| key ^ signed).collect();
    format!("{without_proof},p={}", base64(proof))
}

#[test]
fn scram_to_its_last_message() {
    let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let server_first = format!("r={nonce},s={},i=4096", base64(common::SALT));
    for (last, reply) in [
        (format!("c=biws,r={nonce},p={proof}"), "334 "),
        // Another header than that of the first message, another nonce, another proof, what cannot be ignored.
        (format!("c=eSws,r={nonce},p={proof}"), NO),
        (format!("c=biwsYQ==,r={nonce},p={proof}"), NO),
        (format!("c=biws,r={nonce}x,p={proof}"), NO),
        (signed(&server_first, &format!("c=biws,r={nonce}")), "334 "),
        (signed(&server_first, &format!("c=biws,r={nonce},x=1")), "334 "),
        (signed(&server_first, &format!("c=biws,r={nonce}x")), NO),
        (signed(&server_first, &format!("c=eSws,r={nonce}")), NO),
        (format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,p={proof}"), NO),
        (format!("c=biws,r={nonce},p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), NO),
        (format!("c=biws,r={nonce},x=1,p={proof}"), NO),
        (format!("c=biws,r={nonce},m=1,p={proof}"), MALFORMED),
        (format!("c=biws,r={nonce},p={proof},x=1"), MALFORMED),
        (format!("c=biws,r={nonce}"), MALFORMED),
        (first.to_owned(), MALFORMED),
        (String::new(), MALFORMED),
    ] {
        let mut bed = inside(config());
        assert!(auth(&mut bed, "SCRAM-SHA-256", first).starts_with("334 "));
        let said = say(&mut bed, base64(&last));
        assert!(said.starts_with(reply), "{last} {said}");
        assert_eq!(bed.server.identity(), None);
        if reply == "334 " {
            // The server's proof wants an empty answer, and it is not a success before.
            assert_eq!(say(&mut bed, "YQ=="), MALFORMED);
            assert_eq!(bed.server.identity(), None);
        }
    }
    for message in
        ["", "n,,n=,r=a", "n,,n=a=2,r=a", "n,,m=1,n=user,r=a", "n,,n=us\0er,r=a", "x,,n=user,r=a", "n,,n=user"]
    {
        let mut bed = inside(config());
        say(&mut bed, "AUTH SCRAM-SHA-256");
        assert_eq!(say(&mut bed, base64(message)), MALFORMED, "{message:?}");
    }
    // Acting as somebody else is asked for when the proof is good, and only then.
    for (authorization, password, reply) in [("boss", "pencil", OK), ("root", "pencil", NO), ("boss", "pen", NO)] {
        let nonce = "rOprNGfwEbeRWgbNEkqO".parse().unwrap();
        let client = ScramSha256::new(authorization, "user", Secret::from(password), Binding::Unsupported, nonce);
        let mut bed = inside(config());
        assert_eq!(scram(&mut bed, client.unwrap()).1, reply);
        let identity = Identity { user: "user".into(), authorization: "boss".into() };
        assert_eq!(bed.server.identity(), (reply == OK).then_some(&identity));
    }
    // No random numbers, no exchange.
    let none = sasl::ScramSha256::both(Decoy::new(Secret::from("x")), || None);
    let mut bed = inside(Config { mechanisms: none.into(), ..server_config() });
    assert_eq!(auth(&mut bed, "SCRAM-SHA-256", first), "454 4.7.0 temporary authentication failure\r\n");
}

/// RFC 4954, 9: at least three attempts.
#[test]
fn attempts_have_a_limit() {
    let mut bed = inside(config());
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pen"), NO);
    // Nobody's fault.
    for _ in 0..5 {
        assert_eq!(auth(&mut bed, "PLAIN", "\0nobody-knows\0pen"), "454 4.7.0 temporary authentication failure\r\n");
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
    let mut bed =
        inside(Config { limits: smtp_proto::server::Limits { idle_commands: 3, ..config().limits }, ..config() });
    let said: Vec<String> = (0..3).map(|_| auth(&mut bed, "PLAIN", "\0nobody-knows\0x")).collect();
    assert!(said[1].starts_with("454") && said[2].starts_with("421"), "{said:?}");
}

#[test]
fn other_words_of_the_caller() {
    let mut bed = inside(config());
    assert_eq!(auth(&mut bed, "PLAIN", "\0weak\0pencil"), "534 5.7.9 mechanism is too weak\r\n");
    let events = bed.feed(format!("AUTH PLAIN {}\r\n", base64("\0bye\0pencil")).as_bytes());
    assert!(events[1].starts_with("AuthenticationFailed(Response(") && events[2] == "Closed", "{events:?}");
    assert_eq!(bed.said(), "421 4.3.2 bye\r\n");
    // A response does as well as an answer, if it is no success.
    let mut bed = inside(config());
    bed.authority = |_| None;
    auth(&mut bed, "PLAIN", "\0user\0pencil");
    bed.server.respond(&Response::fixed(432, (4, 7, 12), "a password transition is needed"), &mut bed.output).unwrap();
    assert_eq!(bed.ask(b"NOOP\r\n"), "432 4.7.12 a password transition is needed\r\n250 2.0.0 OK\r\n");
    // A name that is none is nobody.
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

/// RFC 4954, 5: with AUTH, its parameter; whom to believe is the caller's affair.
#[test]
fn the_parameter_of_mail() {
    for (parameter, reply) in [
        ("AUTH=<>", "250 2.0.0 OK\r\n"),
        ("AUTH=e+3Dmc2@example.com", "250 2.0.0 OK\r\n"),
        ("AUTH=", "501 5.5.4 bad parameter syntax\r\n"),
        ("AUTH", "501 5.5.4 bad parameter syntax\r\n"),
        ("AUTH=a+3", "501 5.5.4 bad parameter syntax\r\n"),
    ] {
        assert_eq!(say(&mut inside(config()), format!("MAIL FROM:<a@test.example> {parameter}")), reply, "{parameter}");
    }
}

/// RFC 4954, 4.1 has CRAM-MD5; this is one of our own that begins like it and asks what no mechanism of ours asks.
#[derive(Debug)]
struct Riddle;

#[derive(Debug)]
struct Riddling;

impl Mechanism for Riddle {
    fn name(&self) -> &str {
        "X-RIDDLE"
    }
    fn begin(&self, _: &Offer<'_>) -> Box<dyn Exchange> {
        Box::new(Riddling)
    }
}

impl Exchange for Riddling {
    fn first_challenge(&self) -> Vec<u8> {
        b"what have I got in my pocket?".to_vec()
    }
    fn takes_initial_response(&self) -> bool {
        false
    }
    fn respond(&mut self, response: &Secret) -> Step {
        Step::Ask(Question::Other(response.clone()))
    }
    fn answer(&mut self, answer: Answer) -> Step {
        match answer {
            Answer::Other(who) => {
                let name = who.as_str().unwrap().to_owned();
                Step::Done(Identity { user: name.clone(), authorization: name })
            }
            _ => Step::Failed(Failure::Refused),
        }
    }
}

#[test]
fn a_mechanism_of_ones_own() {
    let config = Config { mechanisms: vec![Arc::new(Riddle)], ..server_config() };
    let mut bed = inside(config);
    bed.authority = |question| match question {
        Question::Other(guess) if guess.as_bytes() == b"the ring" => Some(Answer::Other(Secret::from("bilbo"))),
        _ => Some(Answer::Refused),
    };
    // RFC 4954, 4: an initial response where the server begins.
    assert_eq!(auth(&mut bed, "X-RIDDLE", "hands"), "501 5.7.0 the mechanism has no initial response\r\n");
    assert_eq!(say(&mut bed, "AUTH x-riddle"), format!("334 {}\r\n", base64("what have I got in my pocket?")));
    assert_eq!(say(&mut bed, base64("string")), NO);
    say(&mut bed, "AUTH X-RIDDLE");
    assert_eq!(say(&mut bed, base64("the ring")), OK);
    assert_eq!(bed.server.identity().unwrap().user, "bilbo");
}

/// A challenge may be longer than a line of text; it is one line all the same.
#[test]
fn long_challenges_are_one_line() {
    let scope = "x".repeat(2000);
    let bearer = sasl::OauthBearer { scope: Some(scope), openid_configuration: Some("https://\"\\\n".into()) };
    let mut bed = inside(Config { mechanisms: vec![Arc::new(bearer)], ..server_config() });
    let said = auth(&mut bed, "OAUTHBEARER", "n,,\x01auth=Bearer bad-token\x01\x01");
    let challenge =
        String::from_utf8(decode(said.strip_prefix("334 ").unwrap().strip_suffix("\r\n").unwrap())).unwrap();
    let json: serde_json::Value = serde_json::from_str(&challenge).unwrap();
    assert_eq!((&json["status"], &json["openid-configuration"]), (&"invalid_token".into(), &"https://\"\\\n".into()));
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
    assert_eq!(bed.server.answer(Answer::Accepted("user".into())), Err(ApiMisuse::NoResponseWanted));
    assert_eq!(bed.server.identity(), None);
}

#[test]
fn lmtp_has_it_as_well() {
    let mut bed = ServerBed::on(Config { protocol: smtp_proto::Protocol::Lmtp, ..config() }, bound());
    assert!(bed.ask(b"LHLO c\r\n").contains("AUTH "));
    assert_eq!(auth(&mut bed, "PLAIN", "\0user\0pencil"), OK);
}

/// Names and passwords that SASLprep leaves as they are: with everything that a mechanism has to escape.
const NAME: &str = "[a-z0-9,=@ \\\\+\"\u{e9}\u{fc}]{1,20}";

/// What an exchange asks at last, when a client begins it so.
fn asked(mechanism: &dyn Mechanism, client: &mut dyn smtp_proto::sasl::client::Mechanism) -> Question {
    let channel = bound();
    let mut exchange = mechanism.begin(&Offer::new(&channel, &[]));
    let mut response = match client.initial_response().unwrap() {
        Some(response) => response,
        None => client.respond(&exchange.first_challenge()).unwrap(),
    };
    loop {
        match exchange.respond(&response) {
            Step::Ask(question) => return question,
            Step::Challenge(challenge) => response = client.respond(&challenge).unwrap(),
            step => panic!("{step:?}"),
        }
    }
}

proptest::proptest! {
    /// What one side says, the other understands.
    #[test]
    fn names_and_passwords_come_through(user in NAME, password in NAME, token in "[A-Za-z0-9._~+/-]{1,40}={0,2}") {
        use smtp_proto::sasl::client::{Login, OauthBearer, Plain};
        let secret = || Secret::from(password.as_str());
        let wanted = Question::Password { user: user.clone(), password: secret() };
        let plain = asked(&sasl::Plain, &mut Plain::new("", &user, &secret()).unwrap());
        proptest::prop_assert_eq!(&plain, &wanted);
        let login = asked(&sasl::Login, &mut Login::new(&user, secret()).unwrap());
        proptest::prop_assert_eq!(&login, &wanted);
        let [_, bare] = sasl::ScramSha256::both(Decoy::new(Secret::from("x")), || Some([7; 24]));
        let scram = asked(&*bare, &mut client(&user, &password, Binding::Unsupported));
        proptest::prop_assert_eq!(scram, Question::Keys { user: user.clone() });
        let bearer = asked(&sasl::OauthBearer::default(), &mut OauthBearer::new(&user, &Secret::from(token.as_str())).unwrap());
        let wanted = Question::Token { user: Some(user), token: Secret::from(token.as_str()), host: None, port: None };
        proptest::prop_assert_eq!(bearer, wanted);
    }

    /// One octet that is not what it was, and nobody is anybody.
    #[test]
    fn a_message_that_was_changed_proves_nothing(at in 0..110_usize, to in proptest::prelude::any::<u8>()) {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let mut last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").into_bytes();
        let at = at % last.len();
        let same = std::mem::replace(&mut last[at], to) == to;
        let mut bed = inside(config());
        auth(&mut bed, "SCRAM-SHA-256", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let said = say(&mut bed, base64(&last));
        proptest::prop_assert_eq!(said.starts_with("334 "), same, "{}", last.escape_ascii());
    }
}
