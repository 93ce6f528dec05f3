//! Replies that come before their command, or one too many: no recipient has the reply of another.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{client_config, envelope};
use smtp_proto::Step;
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientEvent, Outcome};
use smtp_proto::error::Error;
use smtp_proto::fallback::TlsRules;
use smtp_proto::timeouts::Phase;

const MAILS: [&[&str]; 2] =
    [&["one@test.example"], &["gone@test.example", "good@test.example", "gone2@test.example"]];

/// A server that sends surplus replies, each after the reply with this number. With PIPELINING the
/// replies to a group of commands come in one read, otherwise each reply comes in a read of its
/// own.
struct Script<'a> {
    pipelining: bool,
    surplus: &'a [(usize, &'static str)],
    /// A surplus reply comes in the read of the next reply, and not in that of the one before it.
    late: bool,
}

/// What a caller has heard of one mail: the reply to each recipient, and that to the mail.
#[derive(Debug, Default)]
struct Mail {
    replies: Vec<Option<String>>,
    end: Option<String>,
}

/// How a conversation went.
#[derive(Debug)]
struct Conversation {
    mails: Vec<Mail>,
    ended: Result<(), Error>,
    /// The replies to commands, with the greeting.
    answered: usize,
    /// Whole replies, with the surplus ones, that the client consumed before its last poll.
    consumed: usize,
}

fn converse(script: &Script<'_>) -> (Vec<Mail>, Result<(), Error>) {
    let conversation = run(script);
    (conversation.mails, conversation.ended)
}

fn run(script: &Script<'_>) -> Conversation {
    let now = Instant::now();
    let mut client = Client::new(Arc::new(client_config()), TlsRules::Never, Channel::Plain, now);
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut wire: std::collections::VecDeque<Vec<u8>> = [].into();
    let (mut said, mut in_body, mut late) = (0, false, Vec::new());
    let (mut dots, mut consumed) = (0, 0);
    let mut answer = |line: &str, wire: &mut std::collections::VecDeque<Vec<u8>>| {
        let reply = match line.split([' ', ':']).next().unwrap() {
            "" => "220 mx\r\n".to_owned(),
            "EHLO" if script.pipelining => "250-mx\r\n250 PIPELINING\r\n".to_owned(),
            "EHLO" => "250 mx\r\n".to_owned(),
            "RCPT" if line.contains("gone") => format!("550 5.1.1 {}\r\n", &line[8..]),
            "RCPT" => format!("250 2.1.5 {}\r\n", &line[8..]),
            "DATA" => "354 go\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            "." => {
                dots += 1;
                format!("250 queued {dots}\r\n")
            }
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
        said
    };
    let mut answered = answer("", &mut wire);
    let mut mails: Vec<Mail> = Vec::new();
    loop {
        let progress = match client.poll(&input, &mut output, now) {
            Ok(progress) => progress,
            Err(error) => {
                let ended = if error == Error::Closed { Ok(()) } else { Err(error) };
                return Conversation { mails, ended, answered, consumed };
            }
        };
        // A reply ends where no hyphen continues it: only that to EHLO has two lines.
        consumed += input[..progress.consumed]
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| line.get(3) != Some(&b'-'))
            .count();
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
                        answered = answer(line, &mut wire);
                    }
                }
                match wire.pop_front() {
                    Some(read) => input.extend(read),
                    None => return Conversation { mails, ended: Ok(()), answered, consumed },
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

/// No transaction that came to its end has a reply of one recipient, or of one mail, at another.
fn check(script: &Script<'_>, conversation: &Conversation) {
    let Conversation { mails, ended, .. } = conversation;
    let context = || {
        format!(
            "{:?} pipelining {} late {}: {mails:?} {ended:?}",
            script.surplus, script.pipelining, script.late
        )
    };
    for (number, (mail, recipients)) in mails.iter().zip(MAILS).enumerate() {
        // After an error no reply of the mail counts.
        let Some(end) = &mail.end else { continue };
        for (index, reply) in mail.replies.iter().enumerate() {
            for (other, recipient) in recipients.iter().enumerate() {
                let has =
                    reply.as_ref().is_some_and(|reply| reply.contains(&format!("<{recipient}>")));
                assert!(!has || other == index, "{}", context());
            }
        }
        assert!(!end.contains("@test.example"), "{}", context());
        let queued = end.strip_prefix("250 queued ");
        assert!(queued.is_none_or(|it| it == (number + 1).to_string()), "{}", context());
    }
}

/// The surplus replies of the model.
const SURPLUS: [&str; 5] =
    ["250 surplus\r\n", "550 surplus\r\n", "354 surplus\r\n", "220 surplus\r\n", "421 surplus\r\n"];
/// The most replies to commands, with the greeting, of any conversation of the model. The
/// conversation without surplus replies has 14: greeting, EHLO, MAIL, RCPT, DATA, dot, MAIL, three
/// RCPTs, DATA, dot, QUIT.
const PLACES: usize = 14;

/// How many series of at most `left` surplus replies there are at places from `place` on.
fn series(place: usize, left: usize) -> u64 {
    if left == 0 {
        return 1;
    }
    1 + (place..PLACES).map(|at| SURPLUS.len() as u64 * series(at, left - 1)).sum::<u64>()
}

#[derive(Debug, Default)]
struct Count {
    /// Series of surplus replies whose conversation was run.
    run: u64,
    /// Series whose conversation is that of a series which was run.
    same: u64,
}

/// Runs the conversation with these surplus replies, then each with further ones after them.
fn explore(script: &Script<'_>, longest: usize, count: &mut Count) {
    let conversation = run(script);
    check(script, &conversation);
    assert!(conversation.answered <= PLACES, "{conversation:?}");
    count.run += 1;
    let left = longest - script.surplus.len();
    if left == 0 {
        return;
    }
    // The client has read at most one reply for each command, and one more that it refused. It
    // looks at the beginning of the next reply that is not 421.
    let shutdowns = script.surplus.iter().filter(|(_, reply)| reply.starts_with("421")).count();
    let seen = conversation.consumed.max(conversation.answered) + 2 + shutdowns;
    for place in script.surplus.last().map_or(0, |&(place, _)| place)..PLACES {
        let before = place + 1 + script.surplus.len();
        if place >= conversation.answered || before >= seen {
            count.same += SURPLUS.len() as u64 * series(place, left - 1);
            continue;
        }
        for reply in SURPLUS {
            let mut surplus = script.surplus.to_vec();
            surplus.push((place, reply));
            explore(&Script { surplus: &surplus, ..*script }, longest, count);
        }
    }
}

/// Every series of at most `longest` surplus replies out of 250, 550, 354, 220 and 421,
/// distributed in every way over the places after the replies of a conversation with two
/// transactions; with and without PIPELINING; in the read of the reply before or after it. A
/// series whose end the client cannot have seen, because the connection had ended before, is not
/// run: the conversation is the same without that end. `total` is the number of all series, run or
/// not, in each of the four ways.
fn explore_all(longest: usize, total: u64) {
    assert_eq!(series(0, longest), total);
    for pipelining in [false, true] {
        for late in [false, true] {
            let mut count = Count::default();
            explore(&Script { pipelining, late, surplus: &[] }, longest, &mut count);
            assert_eq!(count.run + count.same, total, "{count:?}");
        }
    }
}

#[test]
fn no_series_of_four_surplus_replies_gives_a_recipient_the_reply_of_another() {
    explore_all(4, 1_560_196);
}

#[test]
#[ignore = "takes minutes: the same with six surplus replies"]
fn no_series_of_six_surplus_replies_gives_a_recipient_the_reply_of_another() {
    explore_all(6, 452_272_696);
}

#[test]
fn without_surplus_replies_both_mails_are_accepted() {
    for pipelining in [false, true] {
        let (mails, ended) = converse(&Script { pipelining, late: false, surplus: &[] });
        assert_eq!(ended, Ok(()));
        assert!(
            mails.iter().all(|mail| mail.end.as_deref().is_some_and(|end| end.starts_with("250"))),
            "{mails:?}"
        );
    }
}

#[test]
fn second_reply_to_the_dot_ends_the_connection_before_the_next_mail() {
    let (mails, ended) =
        converse(&Script { pipelining: false, late: false, surplus: &[(5, "250 again\r\n")] });
    assert_eq!(mails[0].end.as_deref(), Some("250 queued 1"));
    assert_eq!(mails[1].replies, [None, None, None]);
    assert_eq!(ended, Err(Error::UnsolicitedReply));
}

#[test]
fn reply_after_the_ehlo_reply_is_unsolicited() {
    for pipelining in [false, true] {
        let (mails, ended) =
            converse(&Script { pipelining, late: false, surplus: &[(1, "250 ok\r\n")] });
        assert!(mails.iter().all(|mail| mail.end.is_none()), "{mails:?}");
        assert_eq!(ended, Err(Error::UnsolicitedReply));
    }
}

#[test]
fn reply_after_354_does_not_answer_the_dot() {
    let (mails, ended) =
        converse(&Script { pipelining: false, late: false, surplus: &[(4, "250 queued\r\n")] });
    assert_eq!((mails[0].end.as_deref(), ended), (None, Err(Error::UnsolicitedReply)));
    // A refusal is one, though the message was not sent yet.
    let (mails, _) =
        converse(&Script { pipelining: false, late: false, surplus: &[(4, "554 no\r\n")] });
    assert_eq!(mails[0].end.as_deref(), Some("554 no"));
    // Not where DATA was sent ahead: the 354 may have been the surplus reply.
    let (mails, ended) =
        converse(&Script { pipelining: true, late: false, surplus: &[(4, "554 no\r\n")] });
    assert_eq!((mails[0].end.as_deref(), ended), (None, Err(Error::UnsolicitedReply)));
}

#[test]
fn positive_code_of_another_command_is_an_error() {
    for (greeting, phase, code) in [
        ("250 mx\r\n", Phase::Greeting, 250),
        ("220 mx\r\n220 mx\r\n", Phase::Hello, 220),
        ("220 mx\r\n221 bye\r\n", Phase::Hello, 221),
    ] {
        let mut bed = common::ClientBed::new(TlsRules::Never);
        bed.feed(greeting.as_bytes());
        assert_eq!(bed.want, Err(Error::UnexpectedCode { code, phase }));
    }
    // Codes of no command count by their first digit.
    let mut bed = common::ClientBed::ready("250 mx\r\n");
    bed.start(&["a@test.example"]);
    bed.feed(b"200 ok\r\n252 ok\r\n354 go\r\n");
    assert_eq!(bed.client.phase(), Phase::Body);
}

/// The third line of `250 250 550 550 note 354` belongs to the first recipient, and the fourth to
/// the second: a stray line does not hide the reply too many after it.
#[test]
fn reply_too_many_after_a_line_without_a_code_is_unsolicited() {
    for stray in ["", "note\r\n", "\r\nnote\nnote\r\n"] {
        let mut bed = common::ClientBed::ready("250-mx\r\n250 PIPELINING\r\n");
        bed.start(&["a@test.example", "b@test.example"]);
        bed.feed_at_once(b"");
        let replies =
            format!("250 sender\r\n250 surplus\r\n550 no a\r\n550 no b\r\n{stray}354 go\r\n");
        let events = bed.feed_at_once(replies.as_bytes());
        assert_eq!(events, ["recipient 0: 250 surplus", "recipient 1: 550 no a"], "{stray:?}");
        assert_eq!(bed.want, Err(Error::UnsolicitedReply), "{stray:?}");
    }
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
    assert_eq!(bed.want, Err(Error::UnsolicitedReply));
}
