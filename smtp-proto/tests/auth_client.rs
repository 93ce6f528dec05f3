//! AUTH on the client's side, and every way in which a server can misbehave in it.

mod common;

use std::sync::Arc;

use common::auth::{
    Binding, EHLO, NONCE, SERVER_FIRST, base64, begin, challenge, exchange, inside, make,
};
use common::{ClientBed, changed, client_config, tls_info};
use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::client::{Envelope, MAX_CHALLENGE};
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::fallback::{Fallback, TlsFailure, TlsRules};
use smtp_proto::sasl::client::{AuthRefusal, ChannelFloor, ClientMechanism, Credentials};
use smtp_proto::timeouts::Phase;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::params::{MailParameters, Xtext};
use smtp_proto::wire::path::ReversePath;

const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn stranger() -> Arc<TlsInfo> {
    let mut tls = TlsInfo::clone(&tls_info());
    tls.peer = Peer::Unauthenticated;
    Arc::new(tls)
}

fn plain() -> Box<dyn ClientMechanism> {
    make::plain("", "tim", &Secret::from("tanstaaftanstaaf")).unwrap()
}

fn login() -> Box<dyn ClientMechanism> {
    make::login("tim", Secret::from("tanstaaftanstaaf")).unwrap()
}

fn scram() -> Box<dyn ClientMechanism> {
    make::scram("", "user", Secret::from("pencil"), Binding::Unsupported).unwrap()
}

/// Every mechanism, by what makes it.
fn all() -> Vec<Box<dyn ClientMechanism>> {
    let binding = ChannelBinding::TlsExporter(Secret::from("exported"));
    let plus = make::scram("", "user", Secret::from("pencil"), Binding::Used(binding));
    vec![
        plain(),
        login(),
        make::external("").unwrap(),
        scram(),
        plus.unwrap(),
        make::xoauth2("tim", &Secret::from("ya29.tanstaaftanstaaf")).unwrap(),
        make::oauthbearer("tim", &Secret::from("ya29.tanstaaftanstaaf")).unwrap(),
    ]
}

#[test]
fn plain_is_one_message() {
    // RFC 4616, section 4, the first example.
    let (said, events) = exchange(plain(), &[b"235 2.7.0 ok\r\n"]);
    assert_eq!(
        said,
        [format!("AUTH PLAIN {}\r\n", base64("\0tim\0tanstaaftanstaaf")), String::new()]
    );
    assert_eq!(events, ["Authenticated(Reply(235 2.7.0 ok))"]);
    // RFC 4616, section 4, the second.
    let ursel = make::plain("Ursel", "Kurt", &Secret::from("xipj3plmq")).unwrap();
    let (said, _) = exchange(ursel, &[]);
    assert_eq!(said, [format!("AUTH PLAIN {}\r\n", base64("Ursel\0Kurt\0xipj3plmq"))]);
    // RFC 4954, section 4.1.
    let test = make::plain("test", "test", &Secret::from("1234")).unwrap();
    let (said, _) = exchange(test, &[]);
    assert_eq!(said, ["AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=\r\n"]);
}

#[test]
fn login_answers_two_questions() {
    let (said, events) =
        exchange(login(), &[b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n"]);
    assert_eq!(said, ["AUTH LOGIN\r\n", "dGlt\r\n", "dGFuc3RhYWZ0YW5zdGFhZg==\r\n", ""]);
    assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
}

#[test]
fn external_says_nothing_or_a_name() {
    // RFC 4954, section 4.1.
    let (said, events) = exchange(make::external("").unwrap(), &[b"235 2.7.0 ok\r\n"]);
    assert_eq!(said[0], "AUTH EXTERNAL =\r\n");
    assert_eq!(events, ["Authenticated(Reply(235 2.7.0 ok))"]);
    // RFC 4422, A.2.
    let (said, _) = exchange(make::external("fred@example.com").unwrap(), &[]);
    assert_eq!(said[0], format!("AUTH EXTERNAL {}\r\n", base64("fred@example.com")));
}

#[test]
fn scram_proves_and_wants_proof() {
    let replies = [challenge(SERVER_FIRST), challenge(SERVER_FINAL), b"235 2.7.0 ok\r\n".to_vec()];
    let replies: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
    let (said, events) = exchange(scram(), &replies);
    assert_eq!(
        said[0],
        format!("AUTH SCRAM-SHA-256 {}\r\n", base64(format!("n,,n=user,r={NONCE}")))
    );
    assert_eq!(said[1], format!("{}\r\n", base64(CLIENT_FINAL)));
    // RFC 4954, section 4: the server's signature is a challenge, and its answer is an empty line.
    assert_eq!(said[2..], ["\r\n", ""]);
    assert_eq!(events, ["Authenticated(Reply(235 2.7.0 ok))"]);
}

#[test]
fn tokens_are_one_message() {
    // RFC 7628, section 4.3, without host and port.
    let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    let (said, events) =
        exchange(make::oauthbearer("user@example.com", &token).unwrap(), &[b"235 ok\r\n"]);
    let message =
        "n,a=user@example.com,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
    assert_eq!(said[0], format!("AUTH OAUTHBEARER {}\r\n", base64(message)));
    assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
    let (said, _) = exchange(make::oauthbearer("", &token).unwrap(), &[]);
    assert_eq!(
        said[0],
        format!("AUTH OAUTHBEARER {}\r\n", base64(message.replace("a=user@example.com", "")))
    );
    let (said, _) = exchange(make::oauthbearer("a=b,c", &token).unwrap(), &[]);
    assert_eq!(
        said[0],
        format!(
            "AUTH OAUTHBEARER {}\r\n",
            base64(message.replace("user@example.com", "a=3Db=2Cc"))
        )
    );

    // Google's documentation of XOAUTH2.
    let xoauth2 = make::xoauth2(
        "someuser@example.com",
        &Secret::from("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"),
    );
    let (said, events) = exchange(xoauth2.unwrap(), &[b"235 ok\r\n"]);
    let message = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1sem\
                   RHRXVZMjl0Q2cBAQ==";
    assert_eq!(said[0], format!("AUTH XOAUTH2 {message}\r\n"));
    assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
}

#[test]
fn a_refused_token_is_answered_as_each_mechanism_wants_it() {
    let refusal =
        challenge(r#"{"status":"401","schemes":"bearer","scope":"https://mail.example.com/"}"#);
    let token = Secret::from("expired");
    let mechanisms: [(Box<dyn ClientMechanism>, &str); 2] = [
        (make::xoauth2("tim", &token).unwrap(), "\r\n"),
        // RFC 7628, section 3.2.3.
        (make::oauthbearer("tim", &token).unwrap(), "AQ==\r\n"),
    ];
    for (mechanism, answer) in mechanisms {
        let (said, events) = exchange(mechanism, &[&refusal, b"535 5.7.8 no\r\n"]);
        assert_eq!(said[1..], [answer, ""]);
        assert_eq!(
            events,
            ["AuthenticationFailed { failure: Credentials, reply: Reply(535 5.7.8 no) }"]
        );
    }
    // Twice is once too often, and what was refused cannot have succeeded.
    let xoauth2 = || make::xoauth2("tim", &token).unwrap();
    let (said, events) = exchange(xoauth2(), &[&refusal, &refusal, b"501 5.7.0 cancelled\r\n"]);
    assert_eq!(said[1..], ["\r\n", "*\r\n", ""]);
    assert_eq!(
        events,
        [
            "AuthenticationFailed { failure: Mechanism(UnexpectedChallenge), reply: Reply(501 5.7.0 cancelled) }"
        ]
    );
    let (said, events) = exchange(xoauth2(), &[&refusal, b"235 ok\r\n"]);
    assert_eq!(said[1..], ["\r\n", "QUIT\r\n"]);
    assert_eq!(
        events,
        ["AuthenticationFailed { failure: Mechanism(Refused), reply: Reply(235 ok) }"]
    );
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let first = challenge(SERVER_FIRST);
    let cancelled = |error: &str| {
        [format!("AuthenticationFailed {{ failure: Mechanism({error}), reply: Reply(501 no) }}")]
    };

    // A signature that is wrong, none at all, and something else.
    let wrong = challenge("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=");
    let short = challenge("v=6rriTRBi");
    let other = challenge(format!("v={}", base64([7; 32])));
    let refused = challenge("e=invalid-proof");
    for (last, error) in [
        (wrong, "Base64"),
        (short, "Malformed"),
        (other, "Signature"),
        (challenge(""), "Malformed"),
        (refused, "Refused"),
    ] {
        let (said, events) = exchange(scram(), &[&first, &last, b"501 no\r\n"]);
        assert_eq!(said[2..], ["*\r\n", ""], "{error}");
        assert_eq!(events, cancelled(error));
    }
    // 235 at once, and 235 without a signature: no success, and no mail for such a server.
    for replies in [&[b"235 ok\r\n".as_slice()] as &[_], &[first.as_slice(), b"235 ok\r\n"]] {
        let (said, events) = exchange(scram(), replies);
        assert_eq!(said.last().unwrap(), "QUIT\r\n");
        assert_eq!(
            events,
            ["AuthenticationFailed { failure: Mechanism(Unproven), reply: Reply(235 ok) }"]
        );
    }
    // Iterations that would take for ever, that are too few, and that are just right.
    for (iterations, error) in [
        (u32::MAX.to_string(), format!("Iterations({})", u32::MAX)),
        ("2147483648".into(), "Iterations(2147483648)".into()),
        ("99999999999999999999".into(), format!("Iterations({})", u32::MAX)),
        ("1000001".into(), "Iterations(1000001)".into()),
        ("4095".into(), "Iterations(4095)".into()),
        ("1".into(), "Iterations(1)".into()),
    ] {
        let first = challenge(SERVER_FIRST.replace("i=4096", &format!("i={iterations}")));
        let (said, events) = exchange(scram(), &[&first, b"501 no\r\n"]);
        assert_eq!((said[1].as_str(), &*events), ("*\r\n", &cancelled(&error)[..]));
    }
    // A nonce that is not ours, and one that is ours alone.
    for nonce in
        ["r=xOprNGfwEbeRWgbNEkqO%hv,", &format!("r={NONCE},"), "r=,", "r=rOprNGfwEbeRWgbNEkq,"]
    {
        let (_, rest) = SERVER_FIRST.split_once(',').unwrap();
        let (said, events) =
            exchange(scram(), &[&challenge(format!("{nonce}{rest}")), b"501 no\r\n"]);
        assert_eq!(said[1], "*\r\n");
        assert_eq!(events, cancelled(if nonce == "r=," { "Malformed" } else { "Nonce" }));
    }
    // A challenge after the signature.
    let last = challenge(SERVER_FINAL);
    let (said, events) = exchange(scram(), &[&first, &last, &last, b"501 no\r\n"]);
    assert_eq!(said[2..], ["\r\n", "*\r\n", ""]);
    assert_eq!(events, cancelled("UnexpectedChallenge"));
}

#[test]
fn scram_is_bound_to_its_channel() {
    let binding = ChannelBinding::TlsExporter(Secret::from("exported"));
    let start = |binding| {
        let mechanism = make::scram("a,b", "user", Secret::from("pencil"), binding).unwrap();
        exchange(mechanism, &[&challenge(SERVER_FIRST)]).0
    };
    let said = start(Binding::Used(binding));
    let first = format!("p=tls-exporter,a=a=2Cb,n=user,r={NONCE}");
    assert_eq!(said[0], format!("AUTH SCRAM-SHA-256-PLUS {}\r\n", base64(first)));
    let start_of_final = format!("c={},r=", base64("p=tls-exporter,a=a=2Cb,exported"));
    assert!(said[1].starts_with(base64(start_of_final).trim_end_matches('=').get(..40).unwrap()));
    let said = start(Binding::Unoffered);
    assert_eq!(
        said[0],
        format!("AUTH SCRAM-SHA-256 {}\r\n", base64(format!("y,a=a=2Cb,n=user,r={NONCE}")))
    );
}

#[test]
fn more_questions_than_a_mechanism_has_answers_are_cancelled() {
    for mechanism in all() {
        let name = mechanism.name().to_owned();
        let mut bed = inside(tls_info(), EHLO);
        begin(&mut bed, mechanism);
        let mut rounds = 0;
        loop {
            assert_eq!(bed.feed(b"334 \r\n"), [""; 0]);
            match bed.said().as_str() {
                "*\r\n" => break,
                answer => assert!(answer.ends_with("\r\n") && !answer.contains('*'), "{answer}"),
            }
            rounds += 1;
        }
        assert!(rounds <= 2, "{name}");
        let events = bed.feed(b"501 5.7.0 cancelled\r\n");
        assert!(events[0].starts_with("AuthenticationFailed { failure: Mechanism("), "{events:?}");
        // The connection lives on.
        bed.start(&["a@test.example"]);
        assert!(bed.ask(b"").starts_with("MAIL"));
    }
}

#[test]
fn what_does_not_fit_a_command_line_waits_for_a_question() {
    let token = |length| Secret::from(vec![b'x'; length]);
    // `AUTH XOAUTH2 ` and CRLF leave 497 octets, and base64 takes 4 for 3: 372 octets of message.
    let longest = 372 - "user=tim\x01auth=Bearer \x01\x01".len();
    let (said, _) = exchange(make::xoauth2("tim", &token(longest)).unwrap(), &[]);
    assert_eq!(said[0].len(), 511);
    let (said, events) =
        exchange(make::xoauth2("tim", &token(longest + 1)).unwrap(), &[b"334 \r\n", b"235 ok\r\n"]);
    assert_eq!((said[0].as_str(), said[1].len()), ("AUTH XOAUTH2\r\n", 502));
    assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
    // The old way to say nothing: without a space.
    let long = || make::xoauth2("tim", &token(4000)).unwrap();
    assert!(exchange(long(), &[b"334\r\n"]).0[1].len() > 4000);
    // A challenge that is not empty does not ask for the initial response, and a server that
    // accepts without that response has not read the token.
    let (said, _) = exchange(long(), &[b"334 eA==\r\n"]);
    assert_eq!(said[1], "*\r\n");
    let (said, events) = exchange(long(), &[b"235 ok\r\n"]);
    assert_eq!(said[1], "QUIT\r\n");
    assert_eq!(
        events,
        ["AuthenticationFailed { failure: Mechanism(Unproven), reply: Reply(235 ok) }"]
    );
}

#[test]
fn malformed_challenges_are_cancelled() {
    let long = format!("334 {}\r\n", "A".repeat(MAX_CHALLENGE + 4));
    for bad in [
        "334 =AAA\r\n",
        "334 AAA=BBB\r\n",
        "334 AAA\r\n",
        "334 AA==AA==\r\n",
        "334 AB==\r\n",
        "334 Not base64!\r\n",
        "334 QUFB QUFB\r\n",
        "334  QUFB\r\n",
        "334 QUFB \r\n",
        "334-QUFB\r\n334 QUFB\r\n",
        &long,
    ] {
        let (said, events) = exchange(scram(), &[bad.as_bytes(), b"501 5.7.0 cancelled\r\n"]);
        assert_eq!(said[1..], ["*\r\n", ""], "{bad}");
        let failed = events[0].strip_prefix("AuthenticationFailed { failure: Mechanism(").unwrap();
        assert!(failed.starts_with("Base64)") || failed.starts_with("Malformed)"), "{failed}");
    }
    let longest = format!("334 {}\r\n", "A".repeat(MAX_CHALLENGE));
    assert_eq!(exchange(login(), &[longest.as_bytes()]).0[1], "dGlt\r\n");
}

#[test]
fn every_refusal_has_its_class() {
    for (reply, class) in [
        ("432 4.7.12 change", "PasswordTransition"),
        ("454 4.7.0 later", "Temporary"),
        ("451 4.3.0 later", "Temporary"),
        ("500 5.5.6 too long", "Refused"),
        ("501 5.5.2 what", "Refused"),
        ("504 5.5.4 what", "UnknownMechanism"),
        ("530 5.7.0 no", "Refused"),
        ("534 5.7.9 weak", "TooWeak"),
        ("535 5.7.8 no", "Credentials"),
        ("538 5.7.11 clear", "EncryptionNeeded"),
    ] {
        let mut bed = inside(tls_info(), EHLO);
        begin(&mut bed, plain());
        let events = bed.feed(format!("{reply}\r\n").as_bytes());
        assert_eq!(
            events,
            [format!("AuthenticationFailed {{ failure: {class}, reply: Reply({reply}) }}")]
        );
        assert!(!bed.client.is_authenticated() && !bed.client.has_written_secrets());
        // RFC 4954, section 4: "the client MAY try another authentication mechanism".
        assert_eq!(begin(&mut bed, login()), "AUTH LOGIN\r\n");
    }
}

#[test]
fn codes_that_make_no_sense_end_the_connection() {
    for code in [200, 220, 250, 334, 354] {
        let mut bed = inside(tls_info(), EHLO);
        begin(&mut bed, scram());
        // To the cancelling as well, where 334 makes no sense either.
        if code == 334 {
            bed.feed(b"334 eA==\r\n");
            assert_eq!(bed.said(), "*\r\n");
        }
        assert_eq!(bed.feed(format!("{code} x\r\n").as_bytes()), [""; 0]);
        let phase = Phase::Auth;
        assert_eq!(bed.want, Err(Error::UnexpectedCode { code, phase }));
        assert_eq!(bed.said(), "");
    }
    // Nor can what was cancelled succeed.
    let mut bed = inside(tls_info(), EHLO);
    begin(&mut bed, scram());
    bed.feed(b"334 eA==\r\n235 ok\r\n");
    let unexpected = Error::UnexpectedCode { code: 235, phase: Phase::Auth };
    assert_eq!(bed.want, Err(unexpected));
    assert!(!bed.client.is_authenticated());
}

#[test]
fn the_end_of_the_connection_is_one_failure() {
    for before in [b"".as_slice(), b"334 VXNlcm5hbWU6\r\n"] {
        let mut bed = inside(tls_info(), EHLO);
        begin(&mut bed, login());
        bed.feed(before);
        let events = bed.feed(b"421 4.3.2 bye\r\n");
        assert_eq!(
            events,
            ["AuthenticationFailed { failure: Temporary, reply: Reply(421 4.3.2 bye) }", "Closed"]
        );
        assert_eq!(bed.want, Err(Error::Closed));

        let mut bed = inside(tls_info(), EHLO);
        begin(&mut bed, login());
        bed.feed(before);
        let started = bed.now;
        assert_eq!(bed.client.phase(), Phase::Auth);
        assert_eq!(bed.client.deadline(), Some(started + Timeouts::default().auth));
        bed.now = started + Timeouts::default().auth;
        assert_eq!(bed.feed(b""), [""; 0]);
        assert_eq!(bed.want, Err(Error::Timeout(Phase::Auth)));
    }
    // 421 before AUTH was even sent.
    let mut bed = inside(tls_info(), EHLO);
    bed.client.authenticate(plain(), ChannelFloor::Authenticated, bed.now).unwrap();
    bed.input.extend_from_slice(b"421 4.3.2 bye\r\n");
    assert_eq!(
        bed.feed(b""),
        ["AuthenticationFailed { failure: Temporary, reply: Reply(421 4.3.2 bye) }", "Closed"]
    );
}

#[test]
fn auth_has_its_place() {
    let mut bed =
        ClientBed::with(client_config(), TlsRules::REQUIRED, Channel::Implicit(tls_info()));
    let authenticate = |bed: &mut ClientBed| {
        bed.client.authenticate(plain(), ChannelFloor::Authenticated, bed.now)
    };
    assert_eq!(authenticate(&mut bed), Err(AuthRefusal::Misuse(ApiMisuse::NotReady)));
    bed.feed(format!("220 mx\r\n{EHLO}").as_bytes());
    bed.said();
    // RFC 4954, section 4: not in a transaction.
    bed.start(&["a@test.example"]);
    assert_eq!(authenticate(&mut bed), Err(AuthRefusal::Misuse(ApiMisuse::NotReady)));
    bed.feed(b"250 ok\r\n550 no\r\n");
    assert!(bed.said().ends_with("RCPT TO:<a@test.example>\r\nRSET\r\n"));
    // After a transaction AUTH may start; it is sent once RSET is answered.
    assert_eq!(authenticate(&mut bed), Ok(()));
    assert_eq!(bed.ask(b""), "");
    assert!(bed.ask(b"250 reset\r\n").starts_with("AUTH PLAIN "));
    assert_eq!(authenticate(&mut bed), Err(AuthRefusal::Misuse(ApiMisuse::NotReady)));
    let envelope = Arc::new(common::envelope("sender@test.example", &["a@test.example"]));
    assert_eq!(bed.client.start_transaction(envelope, bed.now), Err(ApiMisuse::NotReady));
    assert_eq!(bed.client.quit(), Err(ApiMisuse::NotReady));
    assert_eq!(bed.feed(b"235 ok\r\n"), ["Authenticated(Reply(235 ok))"]);
    assert!(bed.client.is_authenticated());
    // RFC 4954, section 4: "no more AUTH commands may be issued in the same session".
    assert_eq!(authenticate(&mut bed), Err(AuthRefusal::Misuse(ApiMisuse::AlreadyAuthenticated)));
    bed.start(&["a@test.example"]);
    assert!(bed.ask(b"").starts_with("MAIL FROM:<sender@test.example>"));
}

#[test]
fn only_what_is_offered_is_used() {
    for ehlo in [
        "250 mx\r\n",
        "250-mx\r\n250 AUTH\r\n",
        "250-mx\r\n250-AUTHPLAIN\r\n250 AUTH LOGIN PLAINER\r\n",
    ] {
        let mut bed = inside(tls_info(), ehlo);
        let refused = bed.client.authenticate(plain(), ChannelFloor::Clear, bed.now);
        assert_eq!((refused, bed.ask(b"")), (Err(AuthRefusal::NotOffered), String::new()));
    }
    for ehlo in [
        "250-mx\r\n250 auth login plain\r\n",
        "250-mx\r\n250-AUTH LOGIN\r\n250 AUTH=LOGIN PLAIN\r\n",
    ] {
        assert!(begin(&mut inside(tls_info(), ehlo), plain()).starts_with("AUTH PLAIN "));
    }
    let mut bed = ClientBed::new(TlsRules::Never);
    bed.feed(b"220 mx\r\n500 what\r\n250 mx\r\n");
    assert_eq!(
        bed.client.authenticate(plain(), ChannelFloor::Clear, bed.now),
        Err(AuthRefusal::NotOffered)
    );
}

/// Every way to have no TLS: whatever the rules of the connection are, no octet of AUTH is sent.
#[test]
fn credentials_are_never_sent_in_clear_text_unless_told() {
    let lax = TlsRules::OPPORTUNISTIC;
    let auth = "250-mx\r\n250 AUTH PLAIN LOGIN EXTERNAL SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER\r\n";
    let both = auth.replacen("250-mx\r\n", "250-mx\r\n250-STARTTLS\r\n", 1);
    let stripped = format!("220 mx\r\n{auth}");
    let refused = format!("220 mx\r\n{both}454 no\r\n");
    let unknown = format!("220 mx\r\n{both}502 no\r\n");
    for script in [&stripped, &refused, &unknown] {
        for mechanism in all() {
            let mut bed = ClientBed::new(lax);
            assert_eq!(bed.feed(script.as_bytes()).last().unwrap(), "Ready");
            bed.said();
            let refused = bed.client.authenticate(mechanism, ChannelFloor::Encrypted, bed.now);
            assert_eq!(refused, Err(AuthRefusal::ClearText));
            assert_eq!(bed.feed(b""), [""; 0]);
            assert_eq!(bed.said(), "");
        }
        for credentials in [
            Credentials::password("u", "pencil"),
            Credentials::token("u", "token"),
            Credentials::certificate(),
        ] {
            let mut bed = ClientBed::new(lax);
            bed.feed(script.as_bytes());
            let nonce = [0; 24].into();
            let chosen =
                credentials.mechanism(bed.client.capabilities(), bed.client.channel(), nonce);
            assert_eq!(chosen.unwrap_err(), AuthRefusal::ClearText);
        }
        // The floor `Clear` allows it.
        let mut bed = ClientBed::new(lax);
        bed.feed(script.as_bytes());
        bed.client.authenticate(plain(), ChannelFloor::Clear, bed.now).unwrap();
        assert!(
            bed.ask(b"")
                .ends_with(&format!("AUTH PLAIN {}\r\n", base64("\0tim\0tanstaaftanstaaf")))
        );
    }

    // Injected, broken and untrusted: there is no conversation in which it could be said.
    for after_220 in [Some("250-mx\r\n250 AUTH PLAIN\r\n"), None] {
        let mut bed = ClientBed::new(lax);
        bed.feed(format!("220 mx\r\n{both}220 go\r\n").as_bytes());
        match after_220 {
            Some(injected) => drop(bed.feed(injected.as_bytes())),
            None => assert_eq!(
                bed.client.tls_failed(TlsFailure::Untrusted),
                Fallback::ReconnectPlaintext
            ),
        }
        bed.said();
        assert_eq!(
            bed.client.authenticate(plain(), ChannelFloor::Clear, bed.now),
            Err(AuthRefusal::Misuse(ApiMisuse::NotReady))
        );
        assert_eq!(bed.ask(b""), "");
    }

    // AUTH in clear text and not inside TLS.
    let mut bed = ClientBed::new(lax);
    bed.feed(format!("220 mx\r\n{both}220 go\r\n").as_bytes());
    bed.shake();
    bed.feed(b"250 mx\r\n");
    bed.said();
    assert_eq!(
        bed.client.authenticate(plain(), ChannelFloor::Authenticated, bed.now),
        Err(AuthRefusal::NotOffered)
    );
    assert_eq!(bed.ask(b""), "");
}

#[test]
fn secrets_are_not_shown_to_just_anybody() {
    for mechanism in all() {
        let (name, reveals) = (mechanism.name().to_owned(), mechanism.reveals_secret());
        let mut bed = inside(stranger(), EHLO);
        let begun = bed.client.authenticate(mechanism, ChannelFloor::Authenticated, bed.now);
        let keeps = ["EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"].contains(&&*name);
        assert_eq!(reveals, !keeps);
        assert_eq!(
            begun,
            if keeps { Ok(()) } else { Err(AuthRefusal::UnauthenticatedPeer) },
            "{name}"
        );
        assert_eq!(bed.ask(b"").is_empty(), !keeps);
    }
    let mut bed = inside(stranger(), EHLO);
    bed.client.authenticate(plain(), ChannelFloor::Encrypted, bed.now).unwrap();
    assert!(bed.ask(b"").starts_with("AUTH PLAIN "));
}

#[test]
fn no_clear_text_takes_the_place_of_a_connection_with_credentials() {
    let lost = |begin: Option<ChannelFloor>| {
        let mut bed = ClientBed::new(TlsRules::OPPORTUNISTIC);
        bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n");
        bed.shake();
        bed.feed(EHLO.as_bytes());
        if let Some(floor) = begin {
            bed.client.authenticate(plain(), floor, bed.now).unwrap();
            bed.feed(b"535 5.7.8 no\r\n");
        }
        bed.client.connection_lost().unwrap().1
    };
    assert_eq!(lost(None), Fallback::ReconnectPlaintext);
    assert_eq!(lost(Some(ChannelFloor::Authenticated)), Fallback::Forbidden);
    assert_eq!(lost(Some(ChannelFloor::Encrypted)), Fallback::Forbidden);
    assert_eq!(lost(Some(ChannelFloor::Clear)), Fallback::ReconnectPlaintext);
}

/// The output has the room that a line with credentials needs before the line is written: growth
/// leaves copies in freed memory.
#[test]
fn output_with_credentials_never_grows() {
    let message = |length: usize| make::xoauth2("tim", &Secret::from(vec![b'x'; length])).unwrap();
    for length in [1, 100, 300, 5000] {
        let mut bed = inside(tls_info(), EHLO);
        bed.output = Vec::new();
        bed.client.authenticate(message(length), ChannelFloor::Authenticated, bed.now).unwrap();
        bed.feed(b"");
        assert!(bed.client.has_written_secrets());
        if length > 300 {
            bed.output = Vec::new();
            bed.feed(b"334 \r\n");
        }
        // One allocation, of what was asked for.
        let asked = if length > 300 { bed.output.len() } else { 512 };
        assert_eq!(bed.output.capacity(), asked, "{length}");
        bed.feed(b"235 ok\r\n");
        assert!(!bed.client.has_written_secrets());
    }
}

/// RFC 4954, section 5: a relay sends AUTH=<> to a server on which it has authenticated, which
/// would otherwise take the relay for the submitter. It does not repeat what its client claimed.
#[test]
fn relay_sends_auth_parameter_only_after_authenticating() {
    let mail = |authenticates: bool, change: fn(&mut Envelope)| {
        let auth = Xtext::parse("ceo@test.example");
        let mut envelope = Envelope::relaying(
            ReversePath::Null,
            &changed(MailParameters::default(), |it| it.auth = auth),
        );
        envelope.recipients = vec!["a@test.example".parse().unwrap()];
        change(&mut envelope);
        let mut bed = inside(tls_info(), EHLO);
        if authenticates {
            begin(&mut bed, make::external("").unwrap());
            assert_eq!(bed.feed(b"235 ok\r\n").len(), 1);
        }
        bed.client.start_transaction(Arc::new(envelope), bed.now).unwrap();
        bed.ask(b"")
    };
    assert_eq!(mail(true, |_| ()), "MAIL FROM:<> AUTH=<>\r\n");
    assert_eq!(mail(false, |_| ()), "MAIL FROM:<>\r\n");
    // A relay that trusts its client names the submitter.
    let trusted = |envelope: &mut Envelope| envelope.auth = Xtext::parse("user@test.example");
    for authenticates in [true, false] {
        assert_eq!(mail(authenticates, trusted), "MAIL FROM:<> AUTH=user@test.example\r\n");
    }
    // A submission of one's own.
    assert_eq!(mail(true, |envelope| envelope.auth = None), "MAIL FROM:<>\r\n");
}

/// Each attempt has one event, also if the server refuses RSET before AUTH is sent.
#[test]
fn refused_rset_before_auth_fails_the_attempt() {
    let ehlo = EHLO.replacen("250-mx\r\n", "250-mx\r\n250-PIPELINING\r\n", 1);
    let mut bed = inside(tls_info(), &ehlo);
    bed.start(&["a@test.example"]);
    bed.ask(b"");
    assert_eq!(bed.feed(b"550 no sender\r\n").len(), 1);
    // Replies to RCPT and DATA are outstanding, and RSET comes before AUTH.
    bed.client
        .authenticate(make::external("").unwrap(), ChannelFloor::Authenticated, bed.now)
        .unwrap();
    assert_eq!(bed.ask(b"503 no\r\n503 no\r\n"), "RSET\r\n");
    let events = bed.feed(b"550 no\r\n");
    assert!(
        matches!(&events[..], [event] if event.starts_with("AuthenticationFailed")),
        "{events:?}"
    );
    assert!(!bed.client.has_written_secrets());
    assert_eq!(bed.said(), "QUIT\r\n");
}
