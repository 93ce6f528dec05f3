//! Which addresses a client sends: `ClientConfig::addresses`.

mod common;

use std::sync::Arc;

use common::{ClientBed, client_config, describe, envelope};
use smtp_proto::channel::Channel;
use smtp_proto::client::{ClientConfig, Envelope, Recipient};
use smtp_proto::error::ApiMisuse;
use smtp_proto::fallback::TlsRules;
use smtp_proto::wire::path::{AddressRules, ForwardPath, PathError, ReversePath};
use smtp_proto::{Protocol, Step};

const PLAIN: &str = "250 mx\r\n";
const GOOD: &str = "good@test.example";
const DOTS: &str = "a..b.@test.example";
const UNDERSCORE: &str = "a@under_score.test.example";

fn long() -> String {
    format!("bounces+{}@test.example", "a".repeat(70))
}

fn with(rules: AddressRules, more: impl FnOnce(&mut ClientConfig), ehlo: &str) -> ClientBed {
    let mut config = client_config();
    config.addresses = rules;
    more(&mut config);
    let mut bed = ClientBed::with(config, TlsRules::Never, Channel::Plain);
    assert_eq!(bed.feed(format!("220 mx\r\n{ehlo}").as_bytes()), ["Ready"]);
    bed.said();
    bed
}

fn strict() -> ClientBed {
    with(AddressRules::STRICT, |_| {}, PLAIN)
}

/// Recipients under rules that take any of them.
fn to(recipients: &[&str]) -> Envelope {
    let mut rules = AddressRules::FIELD;
    rules.no_domain = true;
    Envelope::new(
        "sender@test.example".parse().unwrap(),
        recipients
            .iter()
            .map(|it| Recipient::from(ForwardPath::parse(it, rules).unwrap().into_owned())),
    )
}

#[test]
fn client_sends_the_addresses_of_the_field_by_default() {
    let mut bed = ClientBed::ready("250-mx\r\n250 PIPELINING\r\n");
    let recipients = [DOTS, &long(), UNDERSCORE, "Postmaster"];
    bed.client.start_transaction(Arc::new(to(&recipients)), bed.now).unwrap();
    let rcpts: String = recipients.iter().map(|it| format!("RCPT TO:<{it}>\r\n")).collect();
    assert_eq!(bed.ask(b""), format!("MAIL FROM:<sender@test.example>\r\n{rcpts}DATA\r\n"));
}

#[test]
fn each_address_rule_alone_lets_its_kind_through_and_no_other() {
    let recipients = [&long(), DOTS, UNDERSCORE, "root"];
    let errors =
        [PathError::LocalPart, PathError::LocalPart, PathError::Domain, PathError::NoDomain];
    for allowed in 0..recipients.len() {
        let mut rules = AddressRules::STRICT;
        match allowed {
            0 => rules.long_local_parts = true,
            1 => rules.any_dots = true,
            2 => rules.underscores = true,
            _ => rules.no_domain = true,
        }
        let mut bed = with(rules, |_| {}, PLAIN);
        bed.client.start_transaction(Arc::new(to(&recipients)), bed.now).unwrap();
        let expected: Vec<String> = (0..recipients.len())
            .filter(|&index| index != allowed)
            .map(|index| format!("NotSent {{ index: {index}, error: {:?} }}", errors[index]))
            .collect();
        assert_eq!(bed.feed(b""), expected);
        let sent = bed.said() + &bed.ask(b"250 sender\r\n") + &bed.ask(b"250 recipient\r\n");
        let rcpt = format!("RCPT TO:<{}>\r\n", recipients[allowed]);
        assert_eq!(sent, format!("MAIL FROM:<sender@test.example>\r\n{rcpt}DATA\r\n"));
    }
}

#[test]
fn recipient_that_cannot_be_sent_is_told_before_mail_and_the_others_get_the_message() {
    for recipients in [[DOTS, GOOD], [GOOD, DOTS]] {
        let bad = recipients.iter().position(|it| *it == DOTS).unwrap();
        for (ehlo, to_data, to_end) in [
            (PLAIN, "354 go\r\n", ""),
            ("250-mx\r\n250 PIPELINING\r\n", "354 go\r\n", ""),
            ("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "", "250 chunk\r\n"),
        ] {
            let mut bed = with(AddressRules::STRICT, |it| it.chunking = true, ehlo);
            bed.client.start_transaction(Arc::new(to(&recipients)), bed.now).unwrap();
            // Before anything is written: the output is empty at the first event.
            let first = bed.client.poll(b"", &mut bed.output, bed.now).unwrap();
            let Step::Event(event) = first.step else { panic!("an event") };
            assert_eq!(describe(&event), format!("NotSent {{ index: {bad}, error: LocalPart }}"));
            assert_eq!(bed.said(), "");
            let replies = format!("250 sender\r\n250 recipient\r\n{to_data}");
            let mut events = bed.feed(replies.as_bytes());
            bed.body(b"x\r\n");
            events.extend(bed.feed(format!("{to_end}250 kept\r\n").as_bytes()));
            let recipient = format!("recipient {}: 250 recipient", 1 - bad);
            assert_eq!(events, [recipient.as_str(), "SendBody", "accepted: 250 kept"]);
            let said = bed.said();
            assert!(said.contains(GOOD) && !said.contains(".."), "{said}");
        }
    }
}

#[test]
fn lmtp_has_no_reply_for_a_recipient_that_was_not_sent() {
    let lmtp = |config: &mut ClientConfig| config.protocol = Protocol::Lmtp;
    let mut bed = with(AddressRules::STRICT, lmtp, PLAIN);
    bed.client.start_transaction(Arc::new(to(&[GOOD, DOTS, "b@test.example"])), bed.now).unwrap();
    bed.feed(b"250 sender\r\n250 one\r\n250 two\r\n354 go\r\n");
    bed.body(b"x\r\n");
    assert_eq!(
        bed.feed(b"250 kept\r\n451 later\r\n"),
        ["delivered 0: 250 kept", "delivered 2: 451 later", "finished: PerRecipient"]
    );
}

#[test]
fn nothing_is_sent_where_no_recipient_can_be_sent() {
    for ehlo in ["250-mx\r\n250 LIMITS MAILMAX=1\r\n", "250-mx\r\n250 CHUNKING\r\n"] {
        let mut bed = with(AddressRules::STRICT, |it| it.chunking = true, ehlo);
        bed.client.start_transaction(Arc::new(to(&[DOTS, "root"])), bed.now).unwrap();
        assert_eq!(
            bed.feed(b""),
            [
                "NotSent { index: 0, error: LocalPart }",
                "NotSent { index: 1, error: NoDomain }",
                "finished: NoRecipients"
            ]
        );
        assert_eq!(bed.said(), "");
        // No RSET comes before the next transaction, and the server has had none so far.
        bed.start(&[GOOD]);
        assert_eq!(bed.ask(b""), "MAIL FROM:<sender@test.example>\r\n");
    }
}

/// A 354 to a DATA that was sent ahead is still to be answered when the next transaction starts.
#[test]
fn nothing_is_sent_for_it_while_replies_of_the_transaction_before_are_outstanding() {
    let mut bed = with(AddressRules::STRICT, |_| {}, "250-mx\r\n250 PIPELINING\r\n");
    bed.start(&[GOOD]);
    bed.ask(b"");
    let finished = bed.feed(b"550 no sender\r\n");
    assert_eq!(finished, ["refused at MAIL: 550 no sender"]);
    bed.client.start_transaction(Arc::new(to(&[DOTS])), bed.now).unwrap();
    assert_eq!(bed.feed(b""), ["NotSent { index: 0, error: LocalPart }"]);
    assert_eq!(bed.feed(b"503 no\r\n503 no\r\n"), ["finished: NoRecipients"]);
    let said = bed.said();
    assert!(!said.contains("MAIL"), "{said}");
}

#[test]
fn sender_that_cannot_be_sent_is_refused_and_the_connection_stays_as_it_was() {
    let mut bed = strict();
    for (sender, error) in [
        (long(), PathError::LocalPart),
        (DOTS.to_owned(), PathError::LocalPart),
        (UNDERSCORE.to_owned(), PathError::Domain),
        ("root".to_owned(), PathError::NoDomain),
    ] {
        let mut rules = AddressRules::FIELD;
        rules.no_domain = true;
        let mut envelope = to(&[GOOD]);
        envelope.reverse_path = ReversePath::parse(&sender, rules).unwrap().into_owned();
        let refused = bed.client.start_transaction(Arc::new(envelope), bed.now);
        assert_eq!(refused, Err(ApiMisuse::Sender(error)), "{sender}");
        assert_eq!(bed.ask(b""), "", "{sender}");
    }
    // The null path breaks no rule.
    bed.client.start_transaction(Arc::new(envelope("", &[GOOD])), bed.now).unwrap();
    assert_eq!(bed.ask(b""), "MAIL FROM:<>\r\n");
}

/// The variants of the path types can be made without the parser.
#[test]
fn path_made_by_hand_that_would_end_its_command_is_not_sent() {
    let mut rules = AddressRules::FIELD;
    rules.no_domain = true;
    for (text, error) in [
        ("a>\r\nRSET", "Domain"),
        ("a> SIZE=1", "Domain"),
        ("a b", "Domain"),
        ("", "LocalPart"),
        ("a\0", "LocalPart"),
    ] {
        let mut bed = with(rules, |_| {}, PLAIN);
        let mut mail = to(&[GOOD]);
        mail.recipients.push(ForwardPath::Local(text.into()).into_owned().into());
        bed.client.start_transaction(Arc::new(mail), bed.now).unwrap();
        let events = bed.feed(b"250 sender\r\n");
        let not_sent = format!("NotSent {{ index: 1, error: {error} }}");
        assert_eq!(events, [not_sent], "{text:?}");
        assert_eq!(
            bed.said(),
            format!("MAIL FROM:<sender@test.example>\r\nRCPT TO:<{GOOD}>\r\n"),
            "{text:?}"
        );
        if !text.is_empty() {
            let mut mail = to(&[GOOD]);
            mail.reverse_path = ReversePath::Local(text.into()).into_owned();
            let mut bed = with(rules, |_| {}, PLAIN);
            let refused = bed.client.start_transaction(Arc::new(mail), bed.now);
            assert!(matches!(refused, Err(ApiMisuse::Sender(_))), "{text:?}: {refused:?}");
        }
    }
}

#[test]
fn recipients_that_are_not_sent_do_not_count_towards_the_limit_of_the_server() {
    let leave = |config: &mut ClientConfig| config.leave_over_limit = true;
    for limit in ["RCPTMAX=1", "RCPTDOMAINMAX=1"] {
        let ehlo = format!("250-mx\r\n250 LIMITS {limit}\r\n");
        let mut bed = with(AddressRules::STRICT, leave, &ehlo);
        let recipients = ["a..b@other.example", GOOD, "b@third.example"];
        bed.client.start_transaction(Arc::new(to(&recipients)), bed.now).unwrap();
        assert_eq!(
            bed.feed(b""),
            ["NotSent { index: 0, error: LocalPart }", "Left { index: 2 }"],
            "{limit}"
        );
        bed.said();
        assert_eq!(bed.ask(b"250 sender\r\n"), format!("RCPT TO:<{GOOD}>\r\n"));
    }
}

#[test]
fn recipient_that_is_not_sent_does_not_demand_smtputf8_for_the_others() {
    let mut bed = strict();
    let recipients = ["gr\u{fc}n..@test.example", GOOD];
    bed.client.start_transaction(Arc::new(to(&recipients)), bed.now).unwrap();
    assert_eq!(bed.feed(b""), ["NotSent { index: 0, error: LocalPart }"]);
    assert_eq!(bed.said(), "MAIL FROM:<sender@test.example>\r\n");
}

/// RFC 6531, section 3.2: a server without SMTPUTF8 is shown A-labels, where that is enough.
#[test]
#[cfg(feature = "idna")]
fn a_labels_do_where_only_the_domain_is_not_ascii() {
    let sent = |ehlo: &str, sender: &str, recipient: &str| {
        let mut bed = ClientBed::ready(ehlo);
        bed.client.start_transaction(Arc::new(envelope(sender, &[recipient])), bed.now).unwrap();
        let events = bed.feed(b"250 OK\r\n");
        (events, bed.said())
    };
    let (utf8, ascii) = ("a@b\u{fc}cher.example", "a@xn--bcher-kva.example");
    let lines = |sender: &str, parameter: &str, recipient: &str| {
        format!("MAIL FROM:<{sender}>{parameter}\r\nRCPT TO:<{recipient}>\r\n")
    };
    assert_eq!(sent(PLAIN, utf8, utf8), (vec![], lines(ascii, "", ascii)));
    assert_eq!(sent(PLAIN, "", "postmaster"), (vec![], lines("", "", "postmaster")));
    assert_eq!(
        sent("250-mx\r\n250 SMTPUTF8\r\n", utf8, utf8),
        (vec![], lines(utf8, " SMTPUTF8", utf8))
    );
    let refused = vec!["finished: Unsupported(SmtpUtf8)".to_owned()];
    for (sender, recipient) in
        [("gr\u{fc}n@test.example", "a@test.example"), (utf8, "gr\u{fc}n@test.example")]
    {
        let mut bed = ClientBed::ready(PLAIN);
        bed.client.start_transaction(Arc::new(envelope(sender, &[recipient])), bed.now).unwrap();
        assert_eq!((bed.feed(b""), bed.said()), (refused.clone(), String::new()));
    }
    // No A-label begins with a combining mark (RFC 5891, section 4.2.3.2).
    let mut bed = ClientBed::ready(PLAIN);
    let mail = envelope("a@\u{301}b.example", &["a@test.example"]);
    bed.client.start_transaction(Arc::new(mail), bed.now).unwrap();
    assert_eq!(bed.feed(b""), refused);
}
