//! Addresses and parameters beyond the grammar of RFC 5321. `CASES.md` lists them.

use smtp_proto::client::Envelope;
use smtp_proto::wire::command::{Command, CommandError};
use smtp_proto::wire::params::{BodyType, Orcpt, Xtext};
use smtp_proto::wire::path::{AddressRules, ForwardPath, Mailbox, PathError, ReversePath};

fn long() -> String {
    format!("bounces+{}@mail.test.example", "a".repeat(70))
}

#[test]
fn addresses_of_the_field_are_taken_and_refused_by_the_strict_rules() {
    for (address, error) in [
        ("docomo..user.@test.example", PathError::LocalPart),
        (".user@test.example", PathError::LocalPart),
        (long().as_str(), PathError::LocalPart),
        ("user@under_score.test.example", PathError::Domain),
        ("user@_dmarc.test.example", PathError::Domain),
    ] {
        let mailbox = Mailbox::parse(address, AddressRules::FIELD).unwrap();
        assert!(!mailbox.is_strict() && mailbox.as_str() == address);
        assert_eq!(Mailbox::parse(address, AddressRules::STRICT), Err(error), "{address}");
        // Both directions: what a server takes, a client can send.
        let path: ForwardPath<'static> = address.parse().unwrap();
        assert_eq!(path.to_string(), format!("<{address}>"));
        let path: ReversePath<'static> = address.parse().unwrap();
        assert_eq!(path.as_str(), address);
        for command in ["MAIL FROM", "RCPT TO"] {
            let line = format!("{command}:<{address}>");
            assert!(Command::parse(line.as_bytes(), AddressRules::FIELD).is_ok(), "{line}");
            assert!(Command::parse(line.as_bytes(), AddressRules::STRICT).is_err(), "{line}");
        }
    }
}

#[test]
fn paths_without_brackets_are_taken_by_the_rules_of_the_field() {
    for line in ["MAIL FROM:a@test.example SIZE=10", "RCPT TO: a@test.example NOTIFY=NEVER"] {
        assert!(Command::parse(line.as_bytes(), AddressRules::FIELD).is_ok(), "{line}");
        let strict = Command::parse(line.as_bytes(), AddressRules::STRICT);
        let brackets = [
            Err(CommandError::Sender(PathError::Brackets)),
            Err(CommandError::Recipient(PathError::Brackets)),
        ];
        assert!(brackets.contains(&strict), "{line}: {strict:?}");
    }
    for line in ["MAIL FROM:", "MAIL FROM: SIZE=10", "MAIL FROM:a@test.example>", "RCPT TO:a@b,c@d"]
    {
        assert!(Command::parse(line.as_bytes(), AddressRules::FIELD).is_err(), "{line}");
    }
}

#[test]
fn paths_without_a_domain_need_their_own_rule() {
    let mut rules = AddressRules::STRICT;
    assert_eq!(ForwardPath::parse("root", AddressRules::FIELD), Err(PathError::NoDomain));
    rules.no_domain = true;
    assert_eq!(ForwardPath::parse("root", rules), Ok(ForwardPath::Local("root".into())));
    assert_eq!(ReversePath::parse("root", rules), Ok(ReversePath::Local("root".into())));
    assert_eq!(ReversePath::parse("", rules), Ok(ReversePath::Null));
    assert_eq!(ForwardPath::parse("Postmaster", AddressRules::STRICT).unwrap().mailbox(), None);
    let path = ReversePath::Local("root".into());
    assert_eq!((path.as_str(), path.to_string().as_str()), ("root", "<root>"));
}

#[test]
fn nothing_that_ends_a_command_is_taken_by_any_rule() {
    let mut all = AddressRules::FIELD;
    all.no_domain = true;
    for text in [
        "a\r\nRSET",
        "a b",
        "a>b",
        "a@b c",
        "a@b\0",
        "a\u{7f}@b",
        "\"a",
        "\"a\"b@c",
        "a@",
        "@",
        "<a@b",
        "a@b..c",
        "a@-b",
        "a@b_-",
        "a\\@b",
        "a,b@c",
        "(a)@b",
        "a;b@c",
    ] {
        assert!(ReversePath::parse(text, all).is_err(), "{text:?}");
        assert!(Mailbox::parse(text, all).is_err(), "{text:?}");
    }
    let over = format!("{}@test.example", "a".repeat(250));
    assert!(Mailbox::parse(&over, all).is_err());
}

#[test]
fn parameters_with_extra_spaces_or_twice_the_same_value_are_taken() {
    let parse = |line: &'static str| Command::parse(line.as_bytes(), AddressRules::STRICT);
    for line in [
        "MAIL FROM:<a@test.example>  SIZE=10   BODY=8BITMIME ",
        "MAIL FROM:<a@test.example> SIZE=10 SIZE=10",
        "MAIL FROM:<a@test.example> SMTPUTF8 SMTPUTF8",
        "MAIL FROM:<a@test.example> ENVID=AA+2b",
        "XCLIENT  NAME=a.example  ADDR=192.0.2.1",
        "XCLIENT NAME=a.example NAME=a.example",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in [
        "MAIL FROM:<a@test.example> SIZE=10 SIZE=11",
        "MAIL FROM:<a@test.example> RET=HDRS RET=FULL",
        "MAIL FROM:<a@test.example>\tSIZE=10",
        "XCLIENT NAME=a.example NAME=b.example",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

/// The relay adds its Received field, so the size that its client gave is too small by now.
#[test]
fn relayed_envelope_leaves_size_and_auth_out() {
    let line = b"MAIL FROM:<a@test.example> SIZE=10 BODY=8BITMIME ENVID=x AUTH=b@test.example";
    let Ok(Command::Mail { path, parameters }) = Command::parse(line, AddressRules::STRICT) else {
        panic!("a MAIL command");
    };
    let envelope = Envelope::relaying(path, &parameters);
    assert_eq!((envelope.size, envelope.body), (None, BodyType::EightBitMime));
    assert_eq!(envelope.envelope_id.map(|id| id.as_str().to_owned()), Some("x".into()));
    assert_eq!(envelope.auth.map(|auth| auth.as_str().to_owned()), Some("<>".into()));
}

#[test]
fn xtext_that_decodes_to_a_control_character_is_refused() {
    assert_eq!(Orcpt::parse("rfc822;a=b@test.example"), None);
    for text in ["a+0D+0AX:+20y", "a+0d+0aX", "+00", "+7F", "+1B[31m", "+C2+85", "+E2", "+FF+FE"] {
        assert_eq!(Xtext::parse(text), None, "{text}");
        assert_eq!(Orcpt::parse(&format!("rfc822;{text}")), None, "{text}");
    }
    assert_eq!(Xtext::parse("gr+C3+BCn").unwrap().decode(), "grün".as_bytes());
    // RFC 3461, sections 4.2 and 4.4: printable ASCII.
    assert_eq!(Orcpt::parse("rfc822;gr+C3+BCn@test.example"), None);
    assert!(Orcpt::parse("utf-8;gr\u{fc}n@test.example").is_some());
    assert!(Orcpt::parse(r"utf-8;gr\x{FC}n@test.example").is_some());
    for text in ["utf-8;a\u{85}b@c", r"utf-8;a\x{0D}b@c", r"utf-8;a\x{0a}b@c", r"utf-8;a\x{D800}"] {
        assert_eq!(Orcpt::parse(text), None, "{text}");
    }
}
