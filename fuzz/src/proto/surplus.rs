//! Replies that no command asked for: a client and a server that says more than it should.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use smtp_proto::Step;
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientConfig, ClientEvent, Envelope, Outcome, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::wire::reply::ReplyRules;

/// The recipients of each mail. The server refuses those whose names begin with `gone`.
const MAILS: [&[&str]; 3] = [
    &["one@test.example"],
    &["gone@test.example", "good@test.example", "gone2@test.example"],
    &["gone3@test.example"],
];

/// What the server says beside its replies.
const SURPLUS: [&str; 10] = [
    "",
    "250 surplus\r\n",
    "550 surplus\r\n",
    "354 surplus\r\n",
    "220 surplus\r\n",
    "421 surplus\r\n",
    "250-surplus\r\n250 surplus\r\n",
    // Lines that answer nothing.
    "\r\n",
    "note\r\n",
    CUT,
];

/// No whole line: it spoils the line after it.
const CUT: &str = "25";

/// First byte: PIPELINING, CHUNKING, and how strictly replies are read. Second: fragmentation. Then
/// one byte for each reply of the server: the low half chooses what is said after the reply, in the
/// same read; the high half what is said in front of the next reply.
///
/// Two things must hold, by a count that knows nothing of the client's state:
///
/// - A command goes out only when every octet read so far is accounted for: it belongs to a whole
///   reply, and there are no more replies than commands before it.
/// - No recipient and no mail has the reply of another, where each reply came in one piece and none
///   was spoilt.
pub fn surplus(data: &[u8]) {
    let [options, seed, script @ ..] = data else { return };
    let mut config = ClientConfig::new("client.test.example".parse().expect("a domain"));
    config.pipelining = options & 1 == 0;
    config.chunking = options & 2 != 0;
    config.replies = if options & 4 == 0 { ReplyRules::AsTheField } else { ReplyRules::Strict };
    let mut conversation = Conversation::new(config, script);
    conversation.run(*seed);
    if *seed == 0 && !conversation.server.has_cut {
        conversation.check_mails();
    }
}

/// Octets that were read, as an independent reader of the field sees them.
#[derive(Default)]
struct Read {
    /// Whole replies.
    replies: usize,
    /// The beginning of a line or of a reply of several lines, which is not whole yet.
    open: bool,
    line: Vec<u8>,
}

impl Read {
    fn push(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.line.push(octet);
            if octet == b'\n' {
                let line = std::mem::take(&mut self.line);
                // A line without a code is part of no reply.
                if let [a, b, c, after @ (b' ' | b'-' | b'\r' | b'\n'), ..] = line[..]
                    && [a, b, c].iter().all(u8::is_ascii_digit)
                {
                    self.open = after == b'-';
                    self.replies += usize::from(!self.open);
                }
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.line.is_empty() && !self.open
    }
}

/// What the caller has heard of one mail.
#[derive(Debug, Default)]
struct Mail {
    replies: Vec<Option<String>>,
    end: Option<String>,
}

struct Conversation<'s> {
    client: Client,
    now: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    read: Read,
    /// The end of the body is to follow, once it is wanted.
    ending: bool,
    /// Commands that were sent. The greeting answers the first of them, the connection itself.
    commands: usize,
    server: Server<'s>,
    mails: Vec<Mail>,
}

/// The server: it answers each command, and says more.
struct Server<'s> {
    script: std::slice::Iter<'s, u8>,
    /// What is read next, and after that.
    wire: VecDeque<Vec<u8>>,
    in_front: &'static str,
    pipelining: bool,
    /// Recipients of the present mail that were accepted.
    accepted: usize,
    messages: usize,
    has_cut: bool,
}

impl Server<'_> {
    fn answer(&mut self, line: &str) {
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "" => "220 mx\r\n".to_owned(),
            "EHLO" if self.pipelining => "250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n".to_owned(),
            "EHLO" => "250-mx\r\n250 CHUNKING\r\n".to_owned(),
            "RCPT" if line.contains("gone") => format!("550 5.1.1 {}\r\n", &line[8..]),
            "RCPT" => {
                self.accepted += 1;
                format!("250 2.1.5 {}\r\n", &line[8..])
            }
            "DATA" => "354 go\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            "." => self.queued(),
            "BDAT" if line.ends_with("LAST") => self.queued(),
            _ => "250 ok\r\n".to_owned(),
        };
        let choice = usize::from(self.script.next().copied().unwrap_or_default());
        let mut octets = std::mem::take(&mut self.in_front).as_bytes().to_vec();
        octets.extend_from_slice(reply.as_bytes());
        let after = SURPLUS[choice % 16 % SURPLUS.len()];
        octets.extend_from_slice(after.as_bytes());
        self.in_front = SURPLUS[choice / 16 % SURPLUS.len()];
        self.has_cut |= [after, self.in_front].contains(&CUT);
        self.wire.push_back(octets);
    }

    fn queued(&mut self) -> String {
        if std::mem::take(&mut self.accepted) == 0 {
            return "554 no recipients\r\n".to_owned();
        }
        self.messages += 1;
        format!("250 queued {}\r\n", self.messages)
    }
}

impl<'s> Conversation<'s> {
    fn new(config: ClientConfig, script: &'s [u8]) -> Self {
        let now = Instant::now();
        let server = Server {
            script: script.iter(),
            wire: VecDeque::new(),
            in_front: "",
            pipelining: config.pipelining,
            accepted: 0,
            messages: 0,
            has_cut: false,
        };
        Self {
            client: Client::new(Arc::new(config), TlsRules::Never, Channel::Plain, now),
            now,
            input: Vec::new(),
            output: Vec::new(),
            read: Read::default(),
            ending: false,
            commands: 1,
            server,
            mails: Vec::new(),
        }
    }

    fn run(&mut self, seed: u8) {
        let mut sizes = super::sizes(seed);
        self.server.answer("");
        while let Some(mut octets) = self.server.wire.pop_front() {
            // A group that was sent at once is answered at once.
            while self.server.pipelining
                && let Some(more) = self.server.wire.pop_front()
            {
                octets.extend(more);
            }
            let mut rest = &octets[..];
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                self.read.push(piece);
                self.input.extend_from_slice(piece);
                if !self.turn() {
                    return;
                }
                rest = tail;
            }
        }
    }

    /// Polls until the client waits; false once the conversation has ended.
    fn turn(&mut self) -> bool {
        loop {
            let written = self.output.len();
            let polled = self.client.poll(&self.input, &mut self.output, self.now);
            let Ok(progress) = polled else {
                assert_eq!(self.output.len(), written, "a command and an error");
                return false;
            };
            let consumed = progress.consumed;
            let (mut start, mut body, mut waits) = (false, false, false);
            match progress.step {
                Step::Wait(_) => waits = true,
                Step::Event(ClientEvent::Ready) => start = true,
                Step::Event(ClientEvent::Recipient { index, reply }) => {
                    let mail = self.mails.last_mut().expect("a mail was begun");
                    assert!(mail.replies[index].is_none(), "two replies for one recipient");
                    mail.replies[index] = Some(reply.to_string());
                }
                Step::Event(ClientEvent::SendBody) => body = true,
                Step::Event(ClientEvent::Finished(outcome)) => {
                    (start, self.ending) = (true, false);
                    let mail = self.mails.last_mut().expect("a mail was begun");
                    mail.end = Some(match outcome {
                        Outcome::Accepted(reply) | Outcome::Refused { reply, .. } => {
                            reply.to_string()
                        }
                        other => format!("{other:?}"),
                    });
                }
                Step::Event(ClientEvent::Unwelcome { .. } | ClientEvent::Closed) => {}
                Step::Event(other) => panic!("{other:?}"),
            }
            self.input.drain(..consumed);
            if self.output.len() > written {
                self.sent(written);
            }
            if start {
                self.start();
            }
            if body {
                self.send_body();
                self.ending = true;
            }
            if self.ending && self.client.wants_body() {
                self.ending = false;
                self.end_body();
                continue;
            }
            if waits {
                let output = std::mem::take(&mut self.output);
                let text = String::from_utf8(output).expect("ASCII");
                for line in text.split_terminator("\r\n").filter(|line| *line != BODY_LINE) {
                    self.server.answer(line);
                }
                return true;
            }
        }
    }

    /// Commands have just been written, from `start` on in the output.
    fn sent(&mut self, start: usize) {
        let said = || self.output[start..].escape_ascii().to_string();
        assert!(self.input.is_empty() && self.read.is_whole(), "{} before a reply's end", said());
        assert!(
            self.read.replies <= self.commands,
            "{} replies to {} commands, and then {}",
            self.read.replies,
            self.commands,
            said()
        );
        let lines = self.output[start..].split_inclusive(|&octet| octet == b'\n');
        let body = [BODY_LINE.as_bytes(), b"\r\n"].concat();
        self.commands += lines.filter(|line| *line != body).count();
    }

    fn start(&mut self) {
        let Some(recipients) = MAILS.get(self.mails.len()) else {
            let _: Result<(), _> = self.client.quit();
            return;
        };
        let recipients = recipients.iter().map(|it| it.parse::<Recipient>().expect("an address"));
        let envelope =
            Envelope::new("sender@test.example".parse().expect("an address"), recipients);
        let count = envelope.recipients.len();
        // A server that refused the message before its end gets no other one.
        if self.client.start_transaction(Arc::new(envelope), self.now).is_ok() {
            self.mails.push(Mail { replies: vec![None; count], end: None });
        }
    }

    fn send_body(&mut self) {
        let start = self.output.len();
        let body = format!("{BODY_LINE}\r\n");
        let wrote = self.client.write_body(body.as_bytes(), &mut self.output, self.now);
        wrote.expect("the body was asked for");
        self.sent(start);
    }

    fn end_body(&mut self) {
        let start = self.output.len();
        let ended = self.client.end_body(&mut self.output, self.now);
        ended.expect("the end was asked for");
        self.sent(start);
    }

    /// No transaction that came to its end has a reply of one recipient, or of one mail, at
    /// another.
    fn check_mails(&self) {
        for (number, (mail, recipients)) in self.mails.iter().zip(MAILS).enumerate() {
            // After an error no reply of the mail counts.
            let Some(end) = &mail.end else { continue };
            for (index, reply) in mail.replies.iter().enumerate() {
                for (other, recipient) in recipients.iter().enumerate() {
                    let has =
                        reply.as_ref().is_some_and(|it| it.contains(&format!("<{recipient}>")));
                    assert!(!has || other == index, "{mail:?}");
                }
            }
            assert!(!end.contains("@test.example"), "{mail:?}");
            let queued = end.strip_prefix("250 queued ");
            let before = &self.mails[..number];
            let accepted = before.iter().filter(|it| it.is_accepted()).count();
            assert!(queued.is_none_or(|it| it == (accepted + 1).to_string()), "{mail:?}");
        }
    }
}

impl Mail {
    fn is_accepted(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.starts_with("250 queued"))
    }
}

/// The one line of each message.
const BODY_LINE: &str = "Subject: x";
