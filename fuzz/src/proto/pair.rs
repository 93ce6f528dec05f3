//! Two peers: a client against a hostile server, and what it says against a server of ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::client::{Client, ClientConfig, ClientEvent, Envelope, Outcome, Recipient};
use smtp_proto::error::Error;
use smtp_proto::fallback::{ClearText, Fallback, TlsFailure, TlsRules};
use smtp_proto::sasl::client::{ChannelFloor, Credentials};
use smtp_proto::server::Tolerance;
use smtp_proto::wire::command::{Command, Xclient, XclientValue};
use smtp_proto::wire::reply::ReplyRules;
use smtp_proto::{Protocol, Step, Want};

/// First byte: rules. Second: fragmentation. Third: the caller. Then one byte for each thing that
/// the server does.
pub fn pair(data: &[u8]) {
    let [rules, seed, caller, script @ ..] = data else { return };
    let scenario = Scenario {
        rules: rules_of(*rules),
        pipelining: caller & 1 == 0,
        replies: if seed & 1 == 0 { ReplyRules::AsTheField } else { ReplyRules::Strict },
        mails: caller >> 1 & 3,
        chunking: caller & 8 != 0,
        protocol: if caller & 16 == 0 { Protocol::Smtp } else { Protocol::Lmtp },
        commands: caller & 32 != 0,
        credentials: [None, Some(ChannelFloor::Authenticated), None, Some(ChannelFloor::Encrypted)]
            [usize::from(caller >> 6)],
    };
    let trace = hostile(&scenario, *seed, script);
    assert_eq!(trace, hostile(&scenario, 0, script), "fragments were seen");
    // What the client sent in clear text is a conversation to any server, and reads the same in
    // pieces.
    for tolerance in [Tolerance::STRICT, super::command::tolerance()] {
        assert_eq!(
            super::command::converse(&trace.clear, *seed, tolerance),
            super::command::converse(&trace.clear, 0, tolerance)
        );
    }
}

struct Scenario {
    rules: TlsRules,
    pipelining: bool,
    replies: ReplyRules,
    mails: u8,
    chunking: bool,
    protocol: Protocol,
    /// Before each transaction the caller sends a command of its own.
    commands: bool,
    /// Before the first transaction the caller authenticates with a password, in channels of this
    /// kind.
    credentials: Option<ChannelFloor>,
}

fn rules_of(byte: u8) -> TlsRules {
    let when = |bits: u8| {
        [ClearText::Now, ClearText::Later, ClearText::Never, ClearText::Now][usize::from(bits & 3)]
    };
    match byte & 3 {
        1 => TlsRules::Opportunistic {
            refused: when(byte >> 2),
            broken: when(byte >> 4),
            untrusted: when(byte >> 6),
            retry_plain_hello: false,
            tls_elsewhere: byte & 0x30 == 0x30,
        },
        3 => TlsRules::Never,
        _ => TlsRules::Required { retry_plain_hello: true },
    }
}

const BODY: &[u8] = b"Subject: secret\r\n\r\n.dot\r\n";

/// What a server may do; a byte of the script chooses.
const DEEDS: [Deed; 40] = [
    Deed::Say(b"220 mx\r\n"),
    Deed::Say(b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
    Deed::Say(b"250-mx\r\n250 PIPELINING\r\n"),
    Deed::Say(b"250 mx\r\n"),
    Deed::Say(b"220 go\r\n"),
    Deed::Say(b"250 OK\r\n"),
    Deed::Say(b"354 go\r\n"),
    Deed::Say(b"421 bye\r\n"),
    Deed::Say(b"454 not now\r\n"),
    Deed::Say(b"502 what?\r\n"),
    Deed::Say(b"550 5.1.1 no\r\n"),
    Deed::Say(b"452 4.2.2 full\r\n"),
    Deed::Say(b"221 bye\r\n"),
    Deed::Say(b"334 what\r\n"),
    Deed::Say(b"250-"),
    Deed::Say(b"250"),
    Deed::Say(b"\r\n"),
    Deed::Say(b"\r"),
    Deed::Say(b"\n"),
    Deed::Say(b"\x16\x03\x01\0"),
    Deed::Say(b"554 no\r\n"),
    Deed::Say(b"250-mx\r\n250-SIZE 100\r\n250-CHUNKING\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
    Deed::Handshake,
    Deed::Say(b"250-mx\r\n250-XCLIENT NAME PORT\r\n250 STARTTLS\r\n"),
    Deed::Fail(TlsFailure::Handshake),
    Deed::Fail(TlsFailure::Untrusted),
    Deed::Eof,
    Deed::Lose,
    Deed::Time(1),
    Deed::Time(200),
    Deed::Time(700),
    Deed::Press,
    Deed::Say(b"250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n"),
    Deed::Say(b"250-mx\r\n250-AUTH LOGIN\r\n250 STARTTLS\r\n"),
    Deed::Say(b"250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n"),
    Deed::Say(b"235 2.7.0 ok\r\n"),
    Deed::Say(b"334 \r\n"),
    Deed::Say(b"535 5.7.8 no\r\n"),
    // SCRAM's challenge to the nonce of no octets but 0, and the signature of a server that does
    // not know the password.
    Deed::Say(b"334 cj1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQXgscz1BQUFBLGk9NDA5Ng==\r\n"),
    Deed::Say(b"334 dj1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBPQ==\r\n"),
];

#[derive(Clone, Copy)]
enum Deed {
    Say(&'static [u8]),
    /// The handshake succeeds, where one is under way.
    Handshake,
    Fail(TlsFailure),
    Eof,
    /// The connection breaks.
    Lose,
    /// Seconds pass.
    Time(u64),
    /// The caller tries to send whatever the state.
    Press,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    events: Vec<String>,
    /// What was sent before TLS.
    clear: Vec<u8>,
    inside: Vec<u8>,
}

struct Driver<'s> {
    scenario: &'s Scenario,
    client: Client,
    now: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    left: u8,
    /// The command before the next transaction has been sent.
    asked: bool,
    /// The mechanism of the attempt to authenticate, while it lasts.
    exchange: Option<String>,
    /// There was one.
    tried: bool,
    /// What is left of the body, and its end.
    body: Option<&'static [u8]>,
    /// Transactions that were started and have not finished.
    open: u32,
    /// `after` has let the conversation go on without TLS.
    released: bool,
    error: Option<Error>,
    trace: Trace,
}

fn hostile(scenario: &Scenario, seed: u8, script: &[u8]) -> Trace {
    let mut config = ClientConfig::new("client.test.example".parse().expect("a domain"));
    config.pipelining = scenario.pipelining;
    config.replies = scenario.replies;
    config.chunking = scenario.chunking;
    config.protocol = scenario.protocol;
    let now = Instant::now();
    let mut driver = Driver {
        scenario,
        client: Client::new(Arc::new(config), scenario.rules, Channel::Plain, now),
        now,
        input: Vec::new(),
        output: Vec::new(),
        left: scenario.mails,
        asked: false,
        exchange: None,
        tried: false,
        body: None,
        open: 0,
        released: false,
        error: None,
        trace: Trace::default(),
    };
    driver.turn();
    let mut sizes = super::sizes(seed);
    for &deed in script.iter().take(200) {
        match DEEDS[usize::from(deed) % DEEDS.len()] {
            Deed::Say(mut bytes) => {
                while !bytes.is_empty() {
                    let (piece, rest) =
                        bytes.split_at(sizes.next().expect("endless").min(bytes.len()));
                    driver.input.extend_from_slice(piece);
                    driver.turn();
                    bytes = rest;
                }
            }
            Deed::Handshake => {
                let tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.3", "TLS_AES_128_GCM_SHA256");
                let plain = matches!(driver.client.channel(), Channel::Plain);
                if driver.client.tls_established(Arc::new(tls), driver.now).is_ok() {
                    assert!(plain && driver.input.is_empty());
                    assert_eq!(driver.client.capabilities().iter().count(), 0);
                }
            }
            Deed::Fail(failure) => {
                let fallback = driver.client.tls_failed(failure);
                driver.judge(fallback);
            }
            Deed::Eof => {
                let ended = driver.client.handle_eof();
                driver.trace.events.push(format!("eof: {ended:?}"));
            }
            Deed::Lose => {
                let lost = driver.client.connection_lost();
                if let Some((_, fallback)) = lost {
                    driver.judge(fallback);
                }
                driver.trace.events.push(format!("lost: {lost:?}"));
            }
            Deed::Time(seconds) => driver.now += Duration::from_secs(seconds),
            Deed::Press => driver.press(),
        }
        driver.turn();
    }
    driver.trace
}

impl Driver<'_> {
    /// Polls until the client waits, doing what a caller does.
    fn turn(&mut self) {
        let mut polls = 0;
        loop {
            polls += 1;
            assert!(polls < 1000, "the client spins");
            self.write_body();
            let written = self.output.len();
            let polled = self.client.poll(&self.input, &mut self.output, self.now);
            // No reply that is there before its command is taken for the answer to it.
            assert!(
                self.output.len() == written
                    || polled.as_ref().is_ok_and(|it| it.consumed == self.input.len()),
                "a command went out although there was input"
            );
            let progress = match polled {
                Ok(progress) => progress,
                Err(error) => {
                    assert!(self.error.is_none_or(|earlier| earlier == error), "errors are sticky");
                    if self.error.replace(error).is_none() {
                        self.trace.events.push(format!("error: {error:?}"));
                    }
                    self.send();
                    return;
                }
            };
            assert!(self.error.is_none());
            assert!(progress.consumed <= self.input.len());
            let consumed = progress.consumed;
            let mut next = false;
            match progress.step {
                Step::Wait(want) => {
                    assert_eq!(want == Want::Caller, self.client.wants_body());
                    assert!(want != Want::Handshake || consumed == self.input.len());
                    assert!(self.client.deadline().is_some_and(|deadline| deadline > self.now));
                    self.input.drain(..consumed);
                    if self.body.is_some() && self.client.wants_body() {
                        continue;
                    }
                    self.send();
                    return;
                }
                Step::Event(event) => {
                    self.trace.events.push(format!("{event:?}"));
                    match event {
                        ClientEvent::NoTls { fallback, .. } => {
                            self.released |= fallback == Fallback::ContinuePlaintext
                        }
                        ClientEvent::Ready => next = true,
                        ClientEvent::SendBody => self.body = Some(BODY),
                        ClientEvent::Finished(outcome) => {
                            assert_eq!(self.open, 1, "finished once, and only what was started");
                            self.open = 0;
                            next = true;
                            self.body = None;
                            if matches!(outcome, Outcome::Accepted(_) | Outcome::PerRecipient) {
                                let sent = self.inside();
                                let ended = sent.ends_with(b"\r\n.\r\n")
                                    || sent.ends_with(b"BDAT 0 LAST\r\n");
                                assert!(ended, "accepted before it was sent");
                            }
                        }
                        ClientEvent::Recipient { .. }
                        | ClientEvent::NotSent { .. }
                        | ClientEvent::Left { .. }
                        | ClientEvent::Delivered { .. } => {
                            assert!(self.open == 1 && self.exchange.is_none());
                        }
                        ClientEvent::Answered(_) => {
                            assert_eq!(self.open, 0, "a command within a transaction");
                            next = true;
                        }
                        ClientEvent::Authenticated(_) => {
                            let mechanism = self.exchange.take().expect("one end for each attempt");
                            assert_ne!(mechanism, "SCRAM-SHA-256", "the server has proven nothing");
                            next = true;
                        }
                        ClientEvent::AuthenticationFailed { .. } => {
                            self.exchange.take().expect("one end for each attempt");
                            next = true;
                        }
                        ClientEvent::Unwelcome { .. } | ClientEvent::Closed => {}
                    }
                }
            }
            self.input.drain(..consumed);
            if next {
                self.next();
            }
        }
    }

    /// As much of the body as is wanted, in two pieces.
    fn write_body(&mut self) {
        while let Some(body) = self.body.take_if(|_| self.client.wants_body()) {
            if body.is_empty() {
                self.client.end_body(&mut self.output, self.now).expect("the body was asked for");
                return;
            }
            let (piece, rest) = body.split_at(body.len().min(20));
            self.client
                .write_body(piece, &mut self.output, self.now)
                .expect("the body was asked for");
            self.body = Some(rest);
        }
    }

    fn next(&mut self) {
        if let Some(floor) = self.scenario.credentials.filter(|_| !self.tried) {
            let mut credentials = Credentials::password("user", "pencil");
            credentials.floor = floor;
            let nonce = [0; 24].into();
            let mechanism =
                credentials.mechanism(self.client.capabilities(), self.client.channel(), nonce);
            self.trace.events.push(format!(
                "mechanism: {:?}",
                mechanism.as_ref().map(|it| it.name().to_owned())
            ));
            if let Ok(mechanism) = mechanism {
                let name = mechanism.name().to_owned();
                // To anybody at all goes no more than a proof.
                assert!(floor == ChannelFloor::Encrypted || name == "SCRAM-SHA-256");
                if self.client.authenticate(mechanism, floor, self.now).is_ok() {
                    (self.tried, self.exchange) = (true, Some(name));
                    return;
                }
            }
        }
        if self.left == 0 {
            let _ = self.client.quit();
            return;
        }
        if self.scenario.commands && !std::mem::take(&mut self.asked) {
            self.asked = true;
            let mut proxy = Xclient::default();
            proxy.port = Some(XclientValue::Value(25));
            let sent = self.client.xclient(&proxy, self.now).is_ok();
            if sent
                || self
                    .client
                    .command(Command::Vrfy { text: "a", smtputf8: false }, self.now)
                    .is_ok()
            {
                return;
            }
        }
        self.left -= 1;
        let mut envelope = Envelope::new(
            "sender@test.example".parse().expect("a path"),
            ["a@test.example", "b@test.example"]
                .map(|path| path.parse::<Recipient>().expect("a path")),
        );
        envelope.size = Some(BODY.len() as u64);
        if self.client.start_transaction(Arc::new(envelope), self.now).is_ok() {
            assert_eq!(self.open, 0);
            self.open = 1;
        }
    }

    /// A caller who does not look at the state.
    fn press(&mut self) {
        // Never its own to send.
        let mail = Command::Unknown { verb: "MAIL", argument: "FROM:<>" };
        assert!(self.client.command(mail, self.now).is_err());
        self.next();
        let _ = self.client.write_body(BODY, &mut self.output, self.now);
    }

    /// Everything that was written belongs to the channel that is now.
    fn send(&mut self) {
        let output = std::mem::take(&mut self.output);
        if !matches!(self.client.channel(), Channel::Plain) {
            self.trace.inside.extend_from_slice(&output);
            return;
        }
        self.trace.clear.extend_from_slice(&output);
        assert!(!output.windows(4).any(|octets| octets == b"AUTH"), "credentials in clear text");
        let harmless = |line: &[u8]| {
            let hello =
                [&b"EHLO "[..], b"HELO ", b"LHLO "].iter().any(|verb| line.starts_with(verb));
            hello && line.ends_with(b" client.test.example")
                || matches!(line, b"STARTTLS" | b"QUIT" | b"")
        };
        let held = output
            .split(|&byte| byte == b'\n')
            .all(|line| harmless(line.strip_suffix(b"\r").unwrap_or(line)));
        match self.scenario.rules {
            TlsRules::Required { .. } => assert!(held, "past the floor: {}", output.escape_ascii()),
            TlsRules::Opportunistic { .. } => {
                assert!(held || self.released, "in clear text without leave");
            }
            TlsRules::Never => {}
        }
    }

    /// The present channel's octets, sent or about to be.
    fn inside(&self) -> Vec<u8> {
        let plain = matches!(self.client.channel(), Channel::Plain);
        let sent = if plain { &self.trace.clear } else { &self.trace.inside };
        [sent, &self.output[..]].concat()
    }

    fn judge(&self, fallback: Fallback) {
        let required = matches!(self.scenario.rules, TlsRules::Required { .. });
        assert!(
            !(required || self.tried)
                || matches!(fallback, Fallback::Forbidden | Fallback::RetryPlainHello),
            "past the floor: {fallback:?}"
        );
    }
}
