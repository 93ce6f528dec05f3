//! Servers as they are: replies, refusals and AUTH that other clients cope with. The rows of
//! `CASES.md`.

mod common;

use common::{ClientBed, client_config};
use smtp_proto::Secret;
use smtp_proto::channel::Channel;
use smtp_proto::client::ClientConfig;
use smtp_proto::error::Error;
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::client::{ChannelFloor, ClientMechanism};
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::reply::{EnhancedCode, Reply, ReplyError, ReplyRules};

fn bed(rules: TlsRules, set: impl FnOnce(&mut ClientConfig)) -> ClientBed {
    let mut config = client_config();
    set(&mut config);
    ClientBed::with(config, rules, Channel::Plain)
}

/// Events and commands for a list of reads, each read whole and octet by octet.
fn talk(rules: TlsRules, replies: ReplyRules, reads: &[&str]) -> (Vec<String>, String) {
    let run = |piece: usize| {
        let mut bed = bed(rules, |it| it.replies = replies);
        let (mut events, mut started) = (bed.feed_at_once(b""), false);
        for read in reads {
            for piece in read.as_bytes().chunks(piece) {
                events.extend(bed.feed_at_once(piece));
            }
            if events.iter().any(|event| event == "Ready") && !started {
                started = true;
                bed.start(&["a@test.example"]);
                events.extend(bed.feed_at_once(b""));
            }
            if bed.client.wants_body() {
                bed.body(b"x\r\n");
                events.extend(bed.feed_at_once(b""));
            }
        }
        if let Err(error) = bed.want {
            events.push(format!("error: {error}"));
        }
        (events, bed.said())
    };
    let whole = run(usize::MAX);
    assert_eq!(run(1), whole);
    whole
}

const GREETED: [&str; 2] = ["220 mx\r\n", "250 mx\r\n"];
const OK: &str = "250 ok\r\n";

#[test]
fn greeting_220_then_521_is_a_refusal_with_521() {
    let greeting = "220-mx ESMTP\r\n521 5.7.1 blocked using bl.example\r\n";
    for rules in [TlsRules::Never, TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED] {
        let (events, said) = talk(rules, ReplyRules::AsTheField, &[greeting]);
        assert_eq!(
            events,
            ["unwelcome at greeting: 521 mx ESMTP / 5.7.1 blocked using bl.example"]
        );
        assert_eq!(said, "QUIT\r\n");
    }
    let (events, _) = talk(TlsRules::Never, ReplyRules::Strict, &[greeting]);
    assert_eq!(events, ["error: malformed reply: the lines have different codes"]);
}

#[test]
fn blank_line_after_the_greeting_is_passed_over() {
    for stray in ["\r\n", "\n", "welcome to mx\r\n", "\r\n\r\nno relay here\r\n"] {
        let greeting = format!("220 mx\r\n{stray}");
        let (events, said) =
            talk(TlsRules::Never, ReplyRules::AsTheField, &[&greeting, "250 mx\r\n", OK, OK]);
        assert_eq!(events, ["Ready", "recipient 0: 250 ok"], "{stray:?}");
        assert!(said.ends_with("DATA\r\n"), "{said}");
    }
}

#[test]
fn stray_line_after_the_ehlo_reply_is_passed_over() {
    let ehlo = "250-mx\r\n250 8BITMIME\r\nsmtp4dev is ready\r\n";
    let (events, _) = talk(TlsRules::Never, ReplyRules::AsTheField, &["220 mx\r\n", ehlo, OK, OK]);
    assert_eq!(events, ["Ready", "recipient 0: 250 ok"]);
}

#[test]
fn nine_stray_lines_are_an_error() {
    let stray = "hello\r\n".repeat(9);
    let (events, _) = talk(TlsRules::Never, ReplyRules::AsTheField, &[&stray]);
    assert_eq!(events, ["error: malformed reply: a line does not begin with a reply code"]);
}

#[test]
fn replies_with_bare_lf_are_read() {
    let reads =
        ["220 mx\n", "250-mx\n250 SIZE 9\n", "250 ok\n", "250 ok\n", "354 go\n", "250 queued\n"];
    for rules in [TlsRules::Never, TlsRules::OPPORTUNISTIC] {
        let (events, _) = talk(rules, ReplyRules::AsTheField, &reads);
        assert_eq!(events.last().unwrap(), "accepted: 250 queued", "{events:?}");
    }
    let (events, _) = talk(TlsRules::Never, ReplyRules::Strict, &reads);
    assert_eq!(events, ["error: malformed reply: a bare CR or LF in the reply"]);
}

/// Text that was converted twice. Two or more CRs anywhere else are no line end.
#[test]
fn replies_with_cr_cr_lf_are_read() {
    let reads = [
        "220 mx\r\r\n",
        "250-mx\r\r\n250 PIPELINING\r\r\n",
        "250 ok\r\r\n",
        "250 ok\r\r\n",
        "354 go\r\r\n",
        "250 queued\r\r\n",
    ];
    for rules in [TlsRules::Never, TlsRules::OPPORTUNISTIC] {
        let (events, _) = talk(rules, ReplyRules::AsTheField, &reads);
        assert_eq!(events.last().unwrap(), "accepted: 250 queued", "{events:?}");
    }
    for (rules, greeting) in [
        (ReplyRules::Strict, "220 mx\r\r\n"),
        (ReplyRules::AsTheField, "220 mx\r\r\r\n"),
        (ReplyRules::AsTheField, "220 m\r\rx\r\n"),
    ] {
        let (events, _) = talk(TlsRules::Never, rules, &[greeting]);
        assert_eq!(events, ["error: malformed reply: a bare CR or LF in the reply"]);
    }
    // The offer of STARTTLS is read strictly.
    let reads = ["220 mx\r\n", "250-mx\r\r\n250 STARTTLS\r\n"];
    let (events, said) = talk(TlsRules::OPPORTUNISTIC, ReplyRules::AsTheField, &reads);
    assert_eq!(events, ["error: malformed reply: a bare CR or LF in the reply"]);
    assert!(!said.contains("STARTTLS"), "{said}");
}

#[test]
fn different_codes_after_the_dot_count_by_the_last_line() {
    for (reply, expected) in [
        (
            "550-5.7.1 spam\r\n554 5.7.1 refused\r\n",
            "refused at end of data: 554 5.7.1 spam / 5.7.1 refused",
        ),
        ("250-ok\r\n554 5.7.1 no\r\n", "refused at end of data: 554 ok / 5.7.1 no"),
        ("451-later\r\n250 queued\r\n", "accepted: 250 later / queued"),
    ] {
        let reads = [GREETED[0], GREETED[1], OK, OK, "354 go\r\n", reply];
        let (events, _) = talk(TlsRules::Never, ReplyRules::AsTheField, &reads);
        assert_eq!(events.last().unwrap(), expected);
    }
}

#[test]
fn different_codes_before_the_dot_count_by_the_worst_line() {
    for (reply, expected) in [
        ("250-ok\r\n550 no\r\n", "recipient 0: 550 ok / no"),
        ("550-no\r\n250 ok\r\n", "recipient 0: 550 no / ok"),
        ("550-no\r\n553 no\r\n", "recipient 0: 553 no / no"),
        ("451-later\r\n550-no\r\n450 later\r\n", "recipient 0: 550 later / no / later"),
    ] {
        let reads = [GREETED[0], GREETED[1], OK, reply];
        let (events, _) = talk(TlsRules::Never, ReplyRules::AsTheField, &reads);
        assert_eq!(events[1], expected);
    }
}

#[test]
fn tolerance_never_reads_across_starttls() {
    for (greeting, ehlo) in [
        ("220 mx\n", "250-mx\r\n250 STARTTLS\r\n"),
        ("220 mx\r\n\r\n", "250-mx\r\n250 STARTTLS\r\n"),
        ("220 mx\r\n", "250-mx\n250 STARTTLS\n"),
        ("220 mx\r\n", "250-mx\r\n250-STARTTLS\r\n251 SIZE\r\n"),
        ("220 mx\r\n", "250-mx\r\nhello\r\n250 STARTTLS\r\n"),
    ] {
        for rules in [TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED] {
            let (events, said) = talk(rules, ReplyRules::AsTheField, &[greeting, ehlo]);
            assert_eq!(said, "EHLO client.test.example\r\n", "{greeting:?} {ehlo:?}");
            assert!(events[0].starts_with("error: "), "{events:?}");
        }
    }
    // The reply to STARTTLS itself, and what comes with it.
    for reply in ["220 go\n", "220-go\r\n250 go\r\n", "\r\n220 go\r\n", "go\r\n220 go\r\n"] {
        let reads = ["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", reply];
        let (events, said) = talk(TlsRules::OPPORTUNISTIC, ReplyRules::AsTheField, &reads);
        assert!(events[0].starts_with("error: malformed reply"), "{reply:?}: {events:?}");
        assert_eq!(said, "EHLO client.test.example\r\nSTARTTLS\r\n");
    }
    for surplus in ["\r\n", "\n", "hello\r\n", "250 mx\r\n"] {
        let mut bed = bed(TlsRules::OPPORTUNISTIC, |_| {});
        bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n");
        let events = bed.feed_at_once(format!("220 go\r\n{surplus}").as_bytes());
        assert!(events[0].starts_with("no TLS: plaintext"), "{events:?}");
    }
}

#[test]
fn refused_ehlo_and_helo_count_by_the_first_refusal() {
    let (events, said) = talk(
        TlsRules::Never,
        ReplyRules::AsTheField,
        &["220 mx\r\n", "550 5.7.1 no\r\n", "451 4.3.0 later\r\n"],
    );
    assert_eq!(events, ["unwelcome at EHLO: 451 4.3.0 later"]);
    assert!(said.contains("HELO"));
    let mut bed = bed(TlsRules::Never, |_| {});
    bed.feed(b"220 mx\r\n550 5.7.1 no\r\n");
    bed.input.extend_from_slice(b"451 4.3.0 later\r\n");
    let progress = bed.client.poll(&bed.input, &mut bed.output, bed.now).unwrap();
    let event = format!("{:?}", progress.step);
    assert!(event.contains("EnhancedCode { class: 5, subject: 7, detail: 1 }"), "{event}");
}

#[test]
fn rset_500_ends_the_connection() {
    let mut bed = ClientBed::ready("250 mx\r\n");
    bed.start(&["a@test.example"]);
    bed.feed(b"250 ok\r\n550 no\r\n");
    bed.start(&["b@test.example"]);
    assert_eq!(bed.feed(b"500 what\r\n"), ["refused at RSET: 500 what"]);
    assert!(bed.said().ends_with("RSET\r\nQUIT\r\n"));
}

fn enhanced(reply: &str) -> Option<EnhancedCode> {
    Reply::parse(reply.as_bytes()).unwrap().unwrap().enhanced()
}

#[test]
fn enhanced_code_with_punctuation_or_on_the_last_line_is_read() {
    for (reply, detail) in [
        ("550 5.1.1: no such user\r\n", Some((1, 1))),
        ("552 5.2.2, mailbox full\r\n", Some((2, 2))),
        ("552 5.2.2; mailbox full\r\n", Some((2, 2))),
        ("550-rejected\r\n550 5.7.1 by policy\r\n", Some((7, 1))),
        ("550-5.7.1 by policy\r\n550 5.1.1 other\r\n", Some((7, 1))),
        ("550 5.7.1x\r\n", None),
        ("550 5.7.1.9 version\r\n", None),
        ("550 4.7.1 other class\r\n", None),
    ] {
        let expected = detail.map(|(subject, detail)| EnhancedCode::new(5, subject, detail));
        assert_eq!(enhanced(reply), expected, "{reply}");
    }
}

#[test]
fn ignored_keyword_is_as_good_as_not_announced() {
    let ehlo = "250-mx\r\n250-PIPELINING\r\n250-SIZE 100\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";
    let mut bed = bed(TlsRules::Never, |it| {
        it.ignored_keywords =
            ["pipelining", "AUTH", "SIZE", "STARTTLS", "XNONE"].map(String::from).into();
    });
    bed.feed(format!("220 mx\r\n{ehlo}").as_bytes());
    let capabilities = bed.client.capabilities();
    for extension in [Extension::Pipelining, Extension::Auth, Extension::Size] {
        assert!(!capabilities.has(extension));
    }
    assert!(!capabilities.has_mechanism("PLAIN") && capabilities.size_limit().is_none());
    // Clear text would follow from it.
    assert!(capabilities.has(Extension::StartTls));
    assert_eq!(capabilities.iter().collect::<Vec<_>>(), [("STARTTLS", "")]);
    assert_eq!(capabilities.peer_name(), Some("mx"));
}

fn authenticate(
    mechanism: Box<dyn ClientMechanism>,
    initial_response: bool,
    replies: &[&str],
) -> (Vec<String>, Vec<String>) {
    let mut bed = bed(TlsRules::Never, |it| it.initial_response = initial_response);
    bed.feed(b"220 mx\r\n250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
    bed.client.authenticate(mechanism, ChannelFloor::Clear, bed.now).unwrap();
    bed.said();
    let (mut said, mut events) = (vec![bed.ask(b"")], Vec::new());
    for reply in replies {
        events.extend(bed.feed(reply.as_bytes()));
        said.push(bed.said());
    }
    (said, events)
}

fn plain() -> Box<dyn ClientMechanism> {
    common::auth::make::plain("", "user", &Secret::from("pencil")).unwrap()
}

#[test]
fn login_prompts_may_be_any_text() {
    for (user, password) in [
        ("334 Username:\r\n", "334 Password:\r\n"),
        ("334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"),
        ("334 \r\n", "334\r\n"),
        ("334 =AAA\r\n", "334 your password, please\r\n"),
    ] {
        let login = common::auth::make::login("user", Secret::from("pencil")).unwrap();
        let (said, events) = authenticate(login, true, &[user, password, "235 ok\r\n"]);
        assert_eq!(said, ["AUTH LOGIN\r\n", "dXNlcg==\r\n", "cGVuY2ls\r\n", ""]);
        assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
    }
}

#[test]
fn initial_response_is_sent_again_to_an_empty_challenge() {
    let (said, events) = authenticate(plain(), true, &["334 \r\n", "235 ok\r\n"]);
    assert_eq!(said, ["AUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "AHVzZXIAcGVuY2ls\r\n", ""]);
    assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
    // Once only.
    let (said, _) = authenticate(plain(), true, &["334 \r\n", "334 \r\n"]);
    assert_eq!(said[2], "*\r\n");
}

#[test]
fn initial_response_can_be_switched_off() {
    for prompt in ["334 \r\n", "334\r\n", "334 Go ahead\r\n", "334 dXNlcg==\r\n"] {
        let (said, events) = authenticate(plain(), false, &[prompt, "235 ok\r\n"]);
        assert_eq!(said, ["AUTH PLAIN\r\n", "AHVzZXIAcGVuY2ls\r\n", ""], "{prompt}");
        assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
    }
}

#[test]
fn plain_prompt_after_the_initial_response_may_be_any_text() {
    let prompt = "334 your credentials, please\r\n";
    let (said, events) = authenticate(plain(), true, &[prompt, "235 ok\r\n"]);
    assert_eq!(said, ["AUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "AHVzZXIAcGVuY2ls\r\n", ""]);
    assert_eq!(events, ["Authenticated(Reply(235 ok))"]);
    let (said, _) = authenticate(plain(), true, &[prompt, prompt]);
    assert_eq!(said[2], "*\r\n");
}

#[test]
fn strict_rules_end_the_connection_at_a_stray_line() {
    let mut bed = bed(TlsRules::Never, |it| it.replies = ReplyRules::Strict);
    bed.feed_at_once(b"220 mx\r\n\r\n");
    assert_eq!(bed.want, Err(Error::MalformedReply(ReplyError::Code)));
}
