//! Replies that come before their command, or one too many: no recipient has the reply of another.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{client_config, envelope};
use smtp_proto::Step;
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientEvent, Outcome};
use smtp_proto::error::{Error, PeerMisbehaved};
use smtp_proto::fallback::TlsRules;
use smtp_proto::timeouts::Phase;

const MAILS: [&[&str]; 2] =
    [&["one@test.example"], &["gone@test.example", "good@test.example", "gone2@test.example"]];

/// A server that says these surplus replies, each behind the reply with this number, and how its
/// bytes are cut: at each read of the client, or reply by reply.
struct Script<'a> {
    pipelining: bool,
    surplus: &'a [(usize, &'static str)],
    /// A surplus reply comes with the next reply, and not with the one before it.
    late: bool,
}

/// What became of each mail: a code for each recipient, as a caller would count it.
#[derive(Debug, Default)]
struct Mail {
    replies: Vec<Option<String>>,
    end: Option<String>,
}

fn converse(script: &Script<'_>) -> (Vec<Mail>, Result<(), Error>) {
    let now = Instant::now();
    let mut client = Client::new(Arc::new(client_config()), TlsRules::NEVER, Channel::Plain, now);
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut wire: std::collections::VecDeque<Vec<u8>> = [].into();
    let (mut said, mut in_body, mut late) = (0, false, Vec::new());
    let mut answer = |line: &str, wire: &mut std::collections::VecDeque<Vec<u8>>| {
        let reply = match line.split([' ', ':']).next().unwrap() {
            "" => "220 mx\r\n".to_owned(),
            "EHLO" if script.pipelining => "250-mx\r\n250 PIPELINING\r\n".to_owned(),
            "EHLO" => "250 mx\r\n".to_owned(),
            "RCPT" if line.contains("gone") => format!("550 5.1.1 {}\r\n", &line[8..]),
            "RCPT" => format!("250 2.1.5 {}\r\n", &line[8..]),
            "DATA" => "354 go\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "250 ok\r\n".to_owned(),
        };
        let mut read = std::mem::take(&mut late);
        read.extend_from_slice(reply.as_bytes());
        for (_, surplus) in script.surplus.iter().filter(|(at, _)| *at == said) {
            let end = if script.late { &mut late } else { &mut read };
            end.extend_from_slice(surplus.as_bytes());
        }
        wire.push_back(read);
        said += 1;
    };
    answer("", &mut wire);
    let mut mails: Vec<Mail> = Vec::new();
    loop {
        let progress = match client.poll(&input, &mut output, now) {
            Ok(progress) => progress,
            Err(Error::Closed) => return (mails, Ok(())),
            Err(error) => return (mails, Err(error)),
        };
        let (mut start, mut body) = (false, false);
        match progress.step {
            Step::Event(ClientEvent::Ready) => start = true,
            Step::Event(ClientEvent::Recipient { index, reply }) => {
                mails.last_mut().unwrap().replies[index] = Some(reply.to_string());
            }
            Step::Event(ClientEvent::SendBody) => body = true,
            Step::Event(ClientEvent::Finished(outcome)) => {
                start = true;
                mails.last_mut().unwrap().end = Some(match outcome {
                    Outcome::Accepted(reply) => reply.to_string(),
                    Outcome::Refused { reply, .. } => reply.to_string(),
                    other => format!("{other:?}"),
                });
            }
            Step::Event(ClientEvent::Unwelcome { .. }) => {}
            Step::Event(ClientEvent::Closed) => {}
            Step::Event(other) => panic!("{other:?}"),
            Step::Wait(_) => {
                input.drain(..progress.consumed);
                let text = String::from_utf8(std::mem::take(&mut output)).unwrap();
                for line in text.split_terminator("\r\n") {
                    if !in_body || line == "." {
                        in_body = false;
                        answer(line, &mut wire);
                    }
                }
                match wire.pop_front() {
                    Some(read) => input.extend(read),
                    None => return (mails, Ok(())),
                }
                // A group that was sent at once is answered at once.
                while script.pipelining && !wire.is_empty() {
                    input.extend(wire.pop_front().unwrap());
                }
                continue;
            }
        }
        input.drain(..progress.consumed);
        if start {
            match MAILS.get(mails.len()) {
                Some(recipients) => {
                    let envelope = envelope("sender@test.example", recipients);
                    // A server that refused the message before its end gets no other one.
                    if client.start_transaction(Arc::new(envelope), now).is_ok() {
                        mails.push(Mail { replies: vec![None; recipients.len()], end: None });
                    }
                }
                None => drop(client.quit()),
            }
        }
        if body {
            client.write_body(b"x\r\n", &mut output, now).unwrap();
            client.end_body(&mut output, now).unwrap();
            in_body = true;
        }
    }
}

/// No transaction that came to its end has a reply of one recipient at another.
fn check(script: &Script<'_>) {
    let (mails, ended) = converse(script);
    let context = || {
        format!(
            "{:?} pipelining {} late {}: {mails:?} {ended:?}",
            script.surplus, script.pipelining, script.late
        )
    };
    for (mail, recipients) in mails.iter().zip(MAILS) {
        if mail.end.is_none() {
            // An error ended it: the replies are not to be believed.
            continue;
        }
        for (index, reply) in mail.replies.iter().enumerate() {
            for (other, recipient) in recipients.iter().enumerate() {
                let has =
                    reply.as_ref().is_some_and(|reply| reply.contains(&format!("<{recipient}>")));
                assert!(!has || other == index, "{}", context());
            }
        }
        let end = mail.end.as_ref().unwrap();
        assert!(!end.contains("@test.example"), "{}", context());
    }
}

/// A surplus reply may come after each reply of a conversation with two transactions; the 13
/// replies without one are greeting, EHLO, MAIL, RCPT, DATA, dot, MAIL, three RCPTs, DATA, dot,
/// QUIT.
#[test]
fn surplus_replies_never_reach_another_recipient() {
    const SURPLUS: [&str; 4] = ["250 ok\r\n", "550 no\r\n", "354 go\r\n", "451 later\r\n"];
    for pipelining in [false, true] {
        for late in [false, true] {
            for at in 0..13 {
                for first in SURPLUS {
                    check(&Script { pipelining, late, surplus: &[(at, first)] });
                    for second in SURPLUS {
                        for again in at..13 {
                            let surplus = [(at, first), (again, second)];
                            check(&Script { pipelining, late, surplus: &surplus });
                        }
                    }
                }
            }
            // Up to six at one place, and six spread over all places in every way.
            for count in 1..=6 {
                for at in 0..13 {
                    for code in SURPLUS {
                        check(&Script { pipelining, late, surplus: &vec![(at, code); count] });
                    }
                }
            }
            for places in 0u32..1 << 13 {
                if places.count_ones() <= 6 {
                    let surplus: Vec<_> = (0..13)
                        .filter(|at| places & 1 << at != 0)
                        .map(|at| (at, SURPLUS[at % SURPLUS.len()]))
                        .collect();
                    check(&Script { pipelining, late, surplus: &surplus });
                }
            }
        }
    }
}

#[test]
fn without_surplus_replies_both_mails_are_accepted() {
    for pipelining in [false, true] {
        let (mails, ended) = converse(&Script { pipelining, late: false, surplus: &[] });
        assert_eq!(ended, Ok(()));
        assert!(mails.iter().all(|mail| mail.end.as_deref() == Some("250 ok")), "{mails:?}");
    }
}

#[test]
fn second_reply_to_the_dot_ends_the_connection_before_the_next_mail() {
    let (mails, ended) =
        converse(&Script { pipelining: false, late: false, surplus: &[(5, "250 again\r\n")] });
    assert_eq!(mails[0].end.as_deref(), Some("250 ok"));
    assert_eq!(mails[1].replies, [None, None, None]);
    assert_eq!(ended, Err(PeerMisbehaved::UnsolicitedReply.into()));
}

#[test]
fn reply_after_the_ehlo_reply_is_unsolicited() {
    for pipelining in [false, true] {
        let (mails, ended) =
            converse(&Script { pipelining, late: false, surplus: &[(1, "250 ok\r\n")] });
        assert!(mails.iter().all(|mail| mail.end.is_none()), "{mails:?}");
        assert_eq!(ended, Err(PeerMisbehaved::UnsolicitedReply.into()));
    }
}

#[test]
fn reply_after_354_does_not_answer_the_dot() {
    let (mails, ended) =
        converse(&Script { pipelining: false, late: false, surplus: &[(4, "250 queued\r\n")] });
    assert_eq!(
        (mails[0].end.as_deref(), ended),
        (None, Err(PeerMisbehaved::UnsolicitedReply.into()))
    );
    // A refusal is one, though the message was not sent yet.
    let (mails, _) =
        converse(&Script { pipelining: false, late: false, surplus: &[(4, "554 no\r\n")] });
    assert_eq!(mails[0].end.as_deref(), Some("554 no"));
    // Not where DATA was sent ahead: the 354 may have been the surplus reply.
    let (mails, ended) =
        converse(&Script { pipelining: true, late: false, surplus: &[(4, "554 no\r\n")] });
    assert_eq!(
        (mails[0].end.as_deref(), ended),
        (None, Err(PeerMisbehaved::UnsolicitedReply.into()))
    );
}

#[test]
fn positive_code_of_another_command_is_an_error() {
    for (greeting, phase, code) in [
        ("250 mx\r\n", Phase::Greeting, 250),
        ("220 mx\r\n220 mx\r\n", Phase::Hello, 220),
        ("220 mx\r\n221 bye\r\n", Phase::Hello, 221),
    ] {
        let mut bed = common::ClientBed::new(TlsRules::NEVER);
        bed.feed(greeting.as_bytes());
        assert_eq!(bed.want, Err(PeerMisbehaved::UnexpectedCode { code, phase }.into()));
    }
    // Codes of no command count by their first digit.
    let mut bed = common::ClientBed::ready("250 mx\r\n");
    bed.start(&["a@test.example"]);
    bed.feed(b"200 ok\r\n252 ok\r\n354 go\r\n");
    assert_eq!(bed.client.phase(), Phase::Body);
}

#[test]
fn connection_is_idle_only_without_unread_input() {
    let mut bed = common::ClientBed::ready("250 mx\r\n");
    assert!(bed.client.is_idle(b""));
    assert!(!bed.client.is_idle(b"2"));
    bed.start(&["a@test.example"]);
    assert!(!bed.client.is_idle(b""));
    bed.feed(b"250 ok\r\n250 ok\r\n354 go\r\n");
    bed.body(b"x\r\n");
    bed.feed_at_once(b"");
    // The reply is consumed, and half a reply more is left.
    bed.feed_at_once(b"250 queued\r\n25");
    assert!(!bed.client.is_idle(&bed.input));
}

#[test]
fn cut_surplus_reply_holds_the_next_command_back() {
    let mut bed = common::ClientBed::ready("250 mx\r\n");
    bed.feed_at_once(b"25");
    bed.start(&["a@test.example"]);
    bed.feed_at_once(b"0 ok");
    assert_eq!(bed.said(), "");
    bed.feed_at_once(b"\r\n");
    assert_eq!(bed.said(), "");
    assert_eq!(bed.want, Err(PeerMisbehaved::UnsolicitedReply.into()));
}
