//! Both machines in memory: the same trace whatever the fragmentation, with and without PIPELINING.

mod common;

use std::sync::Arc;

use common::auth::{Binding, make};
use common::{Scenario, Trace, accept, envelope, run};
use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::channel::TlsInfo;
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::client;
use smtp_proto::server::{ServerEvent, StartTls};
use smtp_proto::wire::params::BodyType;
use smtp_proto::wire::reply::Response;

const STEPS: [usize; 6] = [1, 2, 3, 7, 64, usize::MAX];

/// Runs a scenario at every fragmentation, with PIPELINING announced, announced but not used, and
/// not announced.
fn check_data(scenario: &Scenario) -> Trace {
    check_with(scenario, &[false])
}

/// The same with CHUNKING as well. There a refusal of DATA or of the message may come with a chunk,
/// which is another phase: such cases are not for this.
fn check(scenario: &Scenario) -> Trace {
    check_with(scenario, &[false, true])
}

fn check_with(scenario: &Scenario, chunking: &[bool]) -> Trace {
    let mut traces = Vec::new();
    for &chunking in chunking {
        for (announced, used) in [(true, true), (true, false), (false, true)] {
            let mut scenario = scenario.clone();
            scenario.server.pipelining = announced;
            scenario.client.pipelining = used;
            (scenario.server.chunking, scenario.client.chunking) = (chunking, chunking);
            for step in STEPS {
                traces.push(run(&scenario, step));
            }
        }
    }
    let first = traces.swap_remove(0);
    for trace in traces {
        assert_eq!(trace.client, first.client);
        assert_eq!(trace.stored, first.stored);
        // Without RSET, which a refused chunk needs, the server has the same events as well.
        let events = |trace: &Trace| {
            trace.server.iter().filter(|event| *event != "Reset").cloned().collect::<Vec<_>>()
        };
        assert_eq!(events(&trace), events(&first));
    }
    first
}

#[test]
fn one_message_in_clear_text() {
    let trace = check(&Scenario::new());
    assert_eq!(
        trace.client,
        ["Ready", "recipient 0: 250 2.0.0 OK", "SendBody", "accepted: 250 2.0.0 OK", "Closed"]
    );
    assert_eq!(trace.stored, [b"Subject: x\r\n\r\n.dot\r\n"]);
}

#[test]
fn server_trace_does_not_depend_on_fragmentation() {
    let scenario = Scenario::new();
    let traces = STEPS.map(|step| run(&scenario, step));
    for trace in &traces {
        assert_eq!(trace, &traces[0]);
    }
    assert!(traces[0].server.iter().any(|event| event == "EndOfBody"));
}

#[test]
fn starttls_forgets_what_was_said_before() {
    let mut scenario = Scenario::new();
    scenario.server.starttls = StartTls::Offered;
    scenario.rules = TlsRules::REQUIRED;
    let trace = check(&scenario);
    assert_eq!(trace.stored.len(), 1);
    assert_eq!(
        String::from_utf8_lossy(&trace.sent_in_clear),
        "EHLO client.test.example\r\nSTARTTLS\r\n"
    );
    let hellos = trace.server.iter().filter(|event| event.starts_with("Hello")).count();
    assert_eq!(hellos, 2);
}

#[test]
fn required_tls_never_ends_in_clear_text() {
    let refuse: common::Answer = Arc::new(|event| match event {
        ServerEvent::StartTls => Response::fixed(454, (4, 7, 0), "not now"),
        event => accept(event),
    });
    for starttls in [StartTls::No, StartTls::Offered] {
        let mut scenario = Scenario::new();
        scenario.server.starttls = starttls;
        scenario.rules = TlsRules::REQUIRED;
        scenario.answer = Arc::clone(&refuse);
        let trace = check(&scenario);
        assert!(trace.client[0].ends_with("-> Forbidden"), "{:?}", trace.client);
        assert!(
            !trace.sent_in_clear.windows(4).any(|it| it == b"MAIL"),
            "{:?}",
            trace.sent_in_clear
        );
        assert_eq!(trace.stored.len(), 0);
    }
}

#[test]
fn refused_starttls_goes_on_in_clear_text_where_allowed() {
    let mut scenario = Scenario::new();
    scenario.server.starttls = StartTls::Offered;
    scenario.rules = TlsRules::OPPORTUNISTIC;
    scenario.answer = Arc::new(|event| match event {
        ServerEvent::StartTls => Response::fixed(454, (4, 7, 0), "not now"),
        event => accept(event),
    });
    let trace = check(&scenario);
    assert_eq!(trace.client[0], "no TLS: STARTTLS was refused for now -> ContinuePlaintext");
    assert_eq!(trace.stored.len(), 1);
}

#[test]
fn several_transactions_and_every_refusal_between() {
    let mut scenario = Scenario::new();
    let body = b"x\r\n".to_vec();
    let good =
        ("sender@test.example", &["a@test.example", "refused@test.example", "b@test.example"][..]);
    scenario.mails = vec![
        (envelope("refused@test.example", good.1), body.clone()),
        (envelope(good.0, good.1), body.clone()),
        (envelope("", &["refused@test.example", "refused@test.example"]), body.clone()),
        (envelope("nodata@test.example", good.1), body.clone()),
        (envelope("nodot@test.example", good.1), body.clone()),
        (envelope(good.0, &["postmaster"]), b"last\r\n".to_vec()),
    ];
    let sender = std::sync::Mutex::new(String::new());
    scenario.answer = Arc::new(move |event| {
        let no = Response::fixed(550, (5, 7, 1), "no");
        let mut sender = sender.lock().unwrap();
        match event {
            ServerEvent::Mail { path, .. } => {
                *sender = path.to_string();
                if path.as_str().starts_with("refused") { no } else { accept(event) }
            }
            ServerEvent::Recipient { path, .. } if path.as_str().starts_with("refused") => no,
            ServerEvent::Data if sender.contains("nodata") => no,
            ServerEvent::EndOfBody if sender.contains("nodot") => no,
            event => accept(event),
        }
    });
    let trace = check_data(&scenario);
    assert_eq!(trace.stored, [b"x\r\n".to_vec(), b"last\r\n".to_vec()]);
    assert_eq!(
        trace.client.iter().filter(|event| !event.starts_with("recipient")).collect::<Vec<_>>(),
        [
            "Ready",
            "refused at MAIL: 550 5.7.1 no",
            "SendBody",
            "accepted: 250 2.0.0 OK",
            "finished: NoRecipients",
            "refused at DATA: 550 5.7.1 no",
            "SendBody",
            "refused at end of data: 550 5.7.1 no",
            "SendBody",
            "accepted: 250 2.0.0 OK",
            "Closed"
        ]
    );
}

#[test]
fn many_recipients_stay_under_the_pipeline_limit() {
    let mut scenario = Scenario::new();
    let recipients: Vec<String> =
        (0..900).map(|n| format!("recipient-number-{n}@test.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    scenario.mails = vec![(envelope("sender@test.example", &recipients), b"x\r\n".to_vec())];
    let trace = check(&scenario);
    assert_eq!(trace.stored.len(), 1);
    assert_eq!(trace.client.len(), 900 + 4);
}

#[test]
fn shutdown_by_421_anywhere_tells_the_transaction_first() {
    type Matches = fn(&ServerEvent<'_>) -> bool;
    let cases: [(Matches, &[&str]); 6] = [
        (
            |event| matches!(event, ServerEvent::Connected),
            &["unwelcome at greeting: 421 mx.test.example ESMTP bye", "Closed"],
        ),
        (
            |event| matches!(event, ServerEvent::Hello { .. }),
            &["unwelcome at EHLO: 421 bye", "Closed"],
        ),
        (
            |event| matches!(event, ServerEvent::Mail { .. }),
            &["Ready", "refused at MAIL: 421 4.3.2 bye", "Closed"],
        ),
        (
            |event| matches!(event, ServerEvent::Recipient { .. }),
            &["Ready", "refused at RCPT: 421 4.3.2 bye", "Closed"],
        ),
        (
            |event| matches!(event, ServerEvent::Data),
            &["Ready", "recipient 0: 250 2.0.0 OK", "refused at DATA: 421 4.3.2 bye", "Closed"],
        ),
        (
            |event| matches!(event, ServerEvent::EndOfBody),
            &[
                "Ready",
                "recipient 0: 250 2.0.0 OK",
                "SendBody",
                "refused at end of data: 421 4.3.2 bye",
                "Closed",
            ],
        ),
    ];
    for (here, expected) in cases {
        let mut scenario = Scenario::new();
        scenario.answer = Arc::new(move |event| {
            if here(event) { Response::fixed(421, (4, 3, 2), "bye") } else { accept(event) }
        });
        assert_eq!(check_data(&scenario).client, expected);
    }
}

#[test]
fn what_the_server_lacks_is_said_before_anything_is_sent() {
    let mut scenario = Scenario::new();
    scenario.server.size_limit = Some(100);
    scenario.server.eight_bit_mime = false;
    let mail = envelope("sender@test.example", &["a@test.example"]);
    let with = |size, body| {
        (
            {
                let mut envelope = mail.clone();
                envelope.size = size;
                envelope.body = body;
                envelope
            },
            b"x\r\n".to_vec(),
        )
    };
    scenario.mails = vec![
        with(Some(101), BodyType::SevenBit),
        with(Some(100), BodyType::EightBitMime),
        (envelope("gr\u{fc}n@test.example", &["a@test.example"]), b"x\r\n".to_vec()),
        with(Some(100), BodyType::SevenBit),
    ];
    let trace = check(&scenario);
    assert_eq!(
        trace.client[..4],
        [
            "Ready",
            "finished: Unsupported(Size { limit: 100 })",
            "finished: Unsupported(EightBitMime)",
            "finished: Unsupported(SmtpUtf8)"
        ]
    );
    assert_eq!(trace.stored.len(), 1);
    assert!(
        String::from_utf8_lossy(&trace.sent_in_clear)
            .contains("MAIL FROM:<sender@test.example> SIZE=100\r\n")
    );
}

#[test]
fn a_message_over_the_limit_is_read_to_its_end_and_refused() {
    let mut scenario = Scenario::new();
    scenario.server.size_limit = Some(10);
    scenario.mails = vec![
        (envelope("", &["a@test.example"]), b"0123456789\r\n".to_vec()),
        (envelope("", &["a@test.example"]), b"01234567\r\n".to_vec()),
    ];
    let trace = check_data(&scenario);
    assert!(
        trace.client.contains(
            &"refused at end of data: 552 5.3.4 message exceeds the size limit".to_owned()
        )
    );
    assert_eq!(trace.stored, [b"01234567\r\n"]);
}

/// RFC 3030, section 2: a refused chunk is read to its end, what was sent ahead is answered, RSET
/// clears the state, and the next transaction is untouched by all that. The caller hears of one
/// end.
#[test]
fn a_refused_chunk_ends_its_transaction_once() {
    for first_chunk in [true, false] {
        let mut scenario = Scenario::new();
        scenario.client.chunking = true;
        scenario.server.chunking = true;
        if !first_chunk {
            scenario.server.size_limit = Some(10);
        }
        let mail = envelope("a@test.example", &["b@test.example"]);
        scenario.mails =
            vec![(mail.clone(), b"0123456789abc\r\n".to_vec()), (mail, b"x\r\n".to_vec())];
        let data = std::sync::atomic::AtomicUsize::new(0);
        scenario.answer = Arc::new(move |event| match event {
            ServerEvent::Data
                if first_chunk
                    && data
                        .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
                        .is_multiple_of(2) =>
            {
                Response::fixed(552, (5, 3, 4), "message exceeds the size limit")
            }
            event => accept(event),
        });
        for pipelining in [true, false] {
            scenario.server.pipelining = pipelining;
            for step in STEPS {
                let trace = run(&scenario, step);
                assert_eq!(trace.stored, [b"x\r\n"], "step {step}");
                let refused =
                    trace.client.iter().filter(|event| event.contains("552 5.3.4")).count();
                assert_eq!((refused, trace.client.len()), (1, 2 * 3 + 2), "{:?}", trace.client);
            }
        }
    }
}

/// RFC 3030, section 3: any octets, and nothing of them is changed.
#[test]
fn a_binary_body_comes_through_as_it_is() {
    let mut scenario = Scenario::new();
    scenario.server.chunking = true;
    scenario.server.binary_mime = true;
    let body = b"\0bare \r and \n\r\n.\r\n..no line end".to_vec();
    let mail = {
        let mut envelope = scenario.mails[0].0.clone();
        envelope.body = BodyType::BinaryMime;
        envelope
    };
    scenario.mails = vec![(mail, body.clone())];
    for step in STEPS {
        let trace = run(&scenario, step);
        assert_eq!(trace.stored, [&body[..]]);
        assert!(trace.sent_in_clear.windows(16).any(|it| it == b" BODY=BINARYMIME"));
    }
    scenario.server.chunking = false;
    assert_eq!(run(&scenario, 7).client[1], "finished: Unsupported(BinaryMime)");
}

/// RFC 9422: recipients over the limit are left for another transaction, or nothing is sent.
#[test]
fn limits_are_honoured() {
    let mut scenario = Scenario::new();
    scenario.server.announce_limits = true;
    scenario.server.limits.recipients = 2;
    scenario.server.limits.recipient_domains = Some(1);
    scenario.server.limits.transactions = Some(2);
    let to = |recipients: &[&str]| (envelope("", recipients), b"x\r\n".to_vec());
    scenario.mails = vec![
        to(&["a@a.example", "b@b.example", "c@A.example", "postmaster", "d@a.example"]),
        to(&["a@a.example"]),
        to(&["a@a.example"]),
    ];
    scenario.client.leave_over_limit = true;
    let trace = check(&scenario);
    assert_eq!(
        trace.client,
        [
            "Ready",
            "Left { index: 1 }",
            "Left { index: 3 }",
            "Left { index: 4 }",
            "recipient 0: 250 2.0.0 OK",
            "recipient 2: 250 2.0.0 OK",
            "SendBody",
            "accepted: 250 2.0.0 OK",
            "recipient 0: 250 2.0.0 OK",
            "SendBody",
            "accepted: 250 2.0.0 OK",
            "finished: Unsupported(Transactions { limit: 2 })",
            "Closed"
        ]
    );
    scenario.client.leave_over_limit = false;
    assert_eq!(check(&scenario).client[1], "finished: Unsupported(RecipientDomains { limit: 1 })");
    scenario.mails = vec![to(&["a@a.example", "postmaster", "d@a.example"])];
    assert_eq!(check(&scenario).client[1], "finished: Unsupported(Recipients { limit: 2 })");
}

/// RFC 2033, section 4.2: one reply for each accepted recipient, with DATA and with BDAT.
#[test]
fn lmtp_has_a_word_for_each_recipient() {
    let mut scenario = Scenario::new();
    scenario.server.protocol = smtp_proto::Protocol::Lmtp;
    scenario.client.protocol = smtp_proto::Protocol::Lmtp;
    let recipients = ["a@test.example", "refused@test.example", "b@test.example"];
    scenario.mails = vec![
        (envelope("", &recipients), b"x\r\n".to_vec()),
        (envelope("", &recipients[1..2]), b"x\r\n".to_vec()),
        (envelope("", &recipients), b"a\r\nb\r\n".to_vec()),
    ];
    scenario.server.size_limit = Some(5);
    scenario.answer = Arc::new(|event| match event {
        ServerEvent::Recipient { path, .. } if path.as_str().starts_with("refused") => {
            Response::fixed(550, (5, 1, 1), "no")
        }
        event => accept(event),
    });
    let trace = check_data(&scenario);
    let one = [
        "recipient 0: 250 2.0.0 OK",
        "recipient 1: 550 5.1.1 no",
        "recipient 2: 250 2.0.0 OK",
        "SendBody",
        "delivered 0: 250 2.0.0 OK",
        "delivered 2: 250 2.0.0 OK",
        "finished: PerRecipient",
    ];
    let none = ["recipient 0: 550 5.1.1 no", "finished: NoRecipients"];
    let mut expected = vec!["Ready"];
    expected.extend(one.iter().chain(&none).chain(&one));
    let refused = "552 5.3.4 message exceeds the size limit";
    let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
    for (at, index) in [(14, 0), (15, 2)] {
        expected[at] = format!("delivered {index}: {refused}");
    }
    expected.push("Closed".into());
    assert_eq!(trace.client, expected);
    assert_eq!(trace.stored, [b"x\r\n"]);

    scenario.mails.truncate(2);
    expected.truncate(1 + one.len() + none.len());
    expected.push("Closed".into());
    assert_eq!(check(&scenario).client, expected);
}

/// Every mechanism with what is right, then with what is wrong, cut anyhow: both sides come to the
/// same end.
#[test]
fn both_sides_agree_on_the_identity() {
    type Attempt = fn() -> Box<dyn client::ClientMechanism>;
    fn scram(password: &str, binding: Binding) -> Box<dyn client::ClientMechanism> {
        make::scram("", "user", Secret::from(password), binding).unwrap()
    }
    fn exported(data: &str) -> ChannelBinding {
        ChannelBinding::TlsExporter(Secret::from(data))
    }
    fn plain(authorization: &str, user: &str, password: &str) -> Box<dyn client::ClientMechanism> {
        make::plain(authorization, user, &Secret::from(password)).unwrap()
    }
    let right: [Attempt; 9] = [
        || plain("", "user", "pencil"),
        || plain("boss", "user", "pencil"),
        || make::login("user", Secret::from("pencil")).unwrap(),
        || make::external("").unwrap(),
        || make::external("boss").unwrap(),
        || scram("pencil", Binding::Unsupported),
        || scram("pencil", Binding::Used(exported("this channel"))),
        || make::xoauth2("user", &Secret::from("good-token")).unwrap(),
        || make::oauthbearer("user", &Secret::from("good-token")).unwrap(),
    ];
    let wrong: [Attempt; 10] = [
        || plain("", "user", "pen"),
        || plain("", "stranger", "pencil"),
        || plain("root", "user", "pencil"),
        || make::login("user", Secret::from("pen")).unwrap(),
        || make::external("root").unwrap(),
        || scram("pen", Binding::Unsupported),
        // An attacker relays between two channels, or has taken -PLUS out of the list.
        || scram("pencil", Binding::Used(exported("another channel"))),
        || scram("pencil", Binding::Unoffered),
        || make::xoauth2("user", &Secret::from("bad-token")).unwrap(),
        || make::oauthbearer("user", &Secret::from("bad-token")).unwrap(),
    ];
    let mut scenario = Scenario::new();
    scenario.server.starttls = StartTls::Offered;
    scenario.server.mechanisms = common::mechanisms();
    scenario.server.auth_required = true;
    scenario.rules = TlsRules::REQUIRED;
    let bindings = vec![exported("this channel")];
    let mut tls = TlsInfo::clone(&scenario.tls);
    tls.bindings = bindings;
    scenario.tls = Arc::new(tls);
    for attempt in right {
        scenario.attempts = vec![attempt];
        let trace = check(&scenario);
        assert_eq!(trace.client[1], "Authenticated(Reply(235 2.7.0 authentication succeeded))");
        assert_eq!(trace.stored.len(), 1);
        let who = trace.server.iter().filter(|event| event.starts_with("Authenticated(")).count();
        assert_eq!(who, 1);
        assert_eq!(
            String::from_utf8_lossy(&trace.sent_in_clear),
            "EHLO client.test.example\r\nSTARTTLS\r\n"
        );
    }
    for attempt in wrong {
        scenario.attempts = vec![attempt];
        let trace = check(&scenario);
        assert!(
            trace.client[1].starts_with("AuthenticationFailed { failure: Credentials"),
            "{:?}",
            trace.client
        );
        assert!(trace.client[2].starts_with("refused at MAIL: 530 5.7.0"), "{:?}", trace.client);
        assert!(trace.server.contains(&"AuthenticationFailed(Refused)".to_owned()));
        assert_eq!(trace.stored.len(), 0);
        // A failed attempt does not prevent a later one from succeeding.
        scenario.attempts.push(right[0]);
        assert_eq!(check(&scenario).stored.len(), 1);
    }
    // In clear text there is nothing to be had, and nothing is tried.
    scenario.rules = TlsRules::Never;
    scenario.attempts = vec![right[5]];
    let trace = check(&scenario);
    assert!(trace.client[1].starts_with("not tried: "), "{:?}", trace.client);
    assert!(!String::from_utf8_lossy(&trace.sent_in_clear).contains("AUTH"));
    assert_eq!(trace.stored.len(), 0);
}
