//! Both machines joined in memory, on virtual time: the test bed for everything.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod auth;
pub mod auth_server;
mod client_bed;
pub mod corpora;
pub mod folder;
mod server_bed;

pub use self::client_bed::*;
pub use self::server_bed::*;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use smtp_proto::Secret;
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::client;
use smtp_proto::client::{Client, Envelope, Outcome, Recipient};
use smtp_proto::error::Error;
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::client as client_sasl;
use smtp_proto::sasl::scram::Keys;
use smtp_proto::sasl::scram::MIN_ITERATIONS;
use smtp_proto::sasl::server as sasl;
use smtp_proto::sasl::server::{Mechanism, Question};
use smtp_proto::server;
use smtp_proto::server::Server;
use smtp_proto::wire::reply::{Reply, Response};
use smtp_proto::{Step, Want};

pub fn tls_info() -> Arc<TlsInfo> {
    Arc::new(TlsInfo::new(Peer::Authenticated, "TLSv1.3", "TLS_AES_256_GCM_SHA384"))
}

pub fn client_config() -> client::ClientConfig {
    client::ClientConfig::new("client.test.example".parse().unwrap())
}

pub fn server_config() -> server::ServerConfig {
    server::ServerConfig::new("mx.test.example".parse().unwrap())
}

/// The value with this change.
pub fn changed<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

pub fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope::new(
        sender.parse().unwrap(),
        recipients.iter().map(|it| it.parse::<Recipient>().unwrap()),
    )
}

/// A handler's answer to an event that wants one.
pub type Answer = Arc<dyn Fn(&server::ServerEvent<'_>) -> Response + Send + Sync>;

pub fn accept(event: &server::ServerEvent<'_>) -> Response {
    match event {
        server::ServerEvent::Connected => Response::fixed(220, (2, 0, 0), "ready"),
        server::ServerEvent::Xclient(_) => Response::fixed(220, (2, 0, 0), "ready again"),
        server::ServerEvent::StartTls => Response::fixed(220, (2, 0, 0), "go ahead"),
        server::ServerEvent::Data => Response::fixed(354, (3, 0, 0), "go ahead"),
        server::ServerEvent::Other(_) => Response::fixed(252, (2, 5, 2), "try it"),
        _ => Response::fixed(250, (2, 0, 0), "OK"),
    }
}

/// What is known of users, to [`mechanisms`].
pub fn authority(question: &Question) -> sasl::Answer {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys =
        || KEYS.get_or_init(|| Keys::derive(&Secret::from("pencil"), SALT, 4096).unwrap()).clone();
    match question {
        Question::Password { user, .. } | Question::Keys { user } if user == "nobody-knows" => {
            sasl::Answer::Unavailable
        }
        Question::Password { user, .. } if user == "weak" => {
            sasl::Answer::Failed(Response::fixed(534, (5, 7, 9), "mechanism is too weak"))
        }
        Question::Password { user, .. } if user == "bye" => {
            sasl::Answer::Failed(Response::fixed(421, (4, 3, 2), "bye"))
        }
        Question::Password { user, password }
            if user == "user" && *password == Secret::from("pencil") =>
        {
            sasl::Answer::Accepted(user.clone())
        }
        Question::Keys { user } if user == "user" => sasl::Answer::Keys(keys()),
        Question::Token { token, .. } if *token == Secret::from("good-token") => {
            sasl::Answer::Accepted("user".into())
        }
        Question::External { .. } => sasl::Answer::Accepted("user".into()),
        Question::Authorize { user, authorization }
            if user == "user" && authorization == "boss" =>
        {
            sasl::Answer::Accepted(authorization.clone())
        }
        _ => sasl::Answer::Refused,
    }
}

/// The salt of RFC 7677, section 3.
pub const SALT: &[u8] = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81";

/// All mechanisms, the best first, with the server's nonce of RFC 7677, section 3.
pub fn mechanisms() -> Vec<Arc<dyn Mechanism>> {
    let secret = Secret::from("the server's own secret");
    let nonce = || "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".parse().ok();
    let scram = sasl::scram(secret, MIN_ITERATIONS, nonce);
    let mut mechanisms: Vec<Arc<dyn Mechanism>> = scram.into();
    mechanisms.extend([
        sasl::external(),
        sasl::oauthbearer(Some("mail"), None),
        sasl::xoauth2(None),
        sasl::plain(),
        sasl::login(),
    ]);
    mechanisms
}

#[derive(Clone)]
pub struct Scenario {
    pub client: client::ClientConfig,
    pub server: server::ServerConfig,
    pub rules: TlsRules,
    /// What the handshake shows.
    pub tls: Arc<TlsInfo>,
    /// How the client tries to authenticate, one attempt after the other until one succeeds.
    pub attempts: Vec<fn() -> Box<dyn client_sasl::ClientMechanism>>,
    pub floor: client_sasl::ChannelFloor,
    /// Envelope and body of each transaction.
    pub mails: Vec<(Envelope, Vec<u8>)>,
    pub answer: Answer,
}

impl Scenario {
    pub fn new() -> Self {
        Self {
            client: client_config(),
            server: server_config(),
            rules: TlsRules::Never,
            tls: tls_info(),
            attempts: Vec::new(),
            floor: client_sasl::ChannelFloor::Authenticated,
            mails: vec![(
                envelope("sender@test.example", &["reader@test.example"]),
                b"Subject: x\r\n\r\n.dot\r\n".to_vec(),
            )],
            answer: Arc::new(accept),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub client: Vec<String>,
    pub server: Vec<String>,
    /// Messages that the server took.
    pub stored: Vec<Vec<u8>>,
    /// Octets that the client sent while the channel was clear.
    pub sent_in_clear: Vec<u8>,
}

/// Runs both machines to the end of both conversations, moving at most `step` octets each way at a
/// time.
pub fn run(scenario: &Scenario, step: usize) -> Trace {
    let mut pair = Pair::new(scenario, step);
    let mut idle = 0;
    while !(pair.client_over && pair.server_over) {
        let progressed = pair.turn();
        idle = if progressed { 0 } else { idle + 1 };
        assert!(idle < 3, "stuck: {:?}", pair.trace);
    }
    pair.trace
}

struct Pair<'s> {
    scenario: &'s Scenario,
    step: usize,
    now: Instant,
    client: Client,
    server: Server,
    client_input: Vec<u8>,
    client_output: Vec<u8>,
    server_input: Vec<u8>,
    server_output: Vec<u8>,
    mails: std::vec::IntoIter<(Envelope, Vec<u8>)>,
    attempts: std::vec::IntoIter<fn() -> Box<dyn client_sasl::ClientMechanism>>,
    body: Option<Vec<u8>>,
    /// What is left of the body that is being sent.
    sending: Option<Vec<u8>>,
    collected: Vec<u8>,
    client_shakes: bool,
    server_shakes: bool,
    client_over: bool,
    server_over: bool,
    trace: Trace,
}

impl<'s> Pair<'s> {
    fn new(scenario: &'s Scenario, step: usize) -> Self {
        let now = Instant::now();
        Self {
            scenario,
            step,
            now,
            client: Client::new(
                Arc::new(scenario.client.clone()),
                scenario.rules,
                Channel::Plain,
                now,
            ),
            server: Server::new(Arc::new(scenario.server.clone()), Channel::Plain, now),
            client_input: Vec::new(),
            client_output: Vec::new(),
            server_input: Vec::new(),
            server_output: Vec::new(),
            mails: scenario.mails.clone().into_iter(),
            attempts: scenario.attempts.clone().into_iter(),
            body: None,
            sending: None,
            collected: Vec::new(),
            client_shakes: false,
            server_shakes: false,
            client_over: false,
            server_over: false,
            trace: Trace::default(),
        }
    }

    /// One round: both machines speak as far as they can, then bytes move.
    fn turn(&mut self) -> bool {
        self.now += Duration::from_millis(1);
        let mut progressed = self.turn_client();
        progressed |= self.turn_server();
        progressed |= transfer(&mut self.server_output, &mut self.client_input, self.step);
        if matches!(self.client.channel(), Channel::Plain) {
            let moved = self.client_output.len().min(self.step);
            self.trace.sent_in_clear.extend_from_slice(&self.client_output[..moved]);
        }
        progressed |= transfer(&mut self.client_output, &mut self.server_input, self.step);
        if self.client_shakes && self.server_shakes && self.server_output.is_empty() {
            self.client.tls_established(Arc::clone(&self.scenario.tls), self.now).unwrap();
            self.server.tls_established(Arc::clone(&self.scenario.tls), self.now).unwrap();
            self.client_shakes = false;
            self.server_shakes = false;
            progressed = true;
        }
        if self.server_over
            && self.server_output.is_empty()
            && self.client_input.is_empty()
            && !self.client_over
        {
            progressed |= self.client.handle_eof().is_ok();
        }
        if self.client_over
            && self.client_output.is_empty()
            && self.server_input.is_empty()
            && !self.server_over
        {
            self.server_over = self.server.handle_eof().is_ok();
            progressed = true;
        }
        progressed
    }

    fn turn_client(&mut self) -> bool {
        let mut progressed = false;
        while !self.client_over {
            progressed |= self.write_body();
            let polled = self.client.poll(&self.client_input, &mut self.client_output, self.now);
            let progress = match polled {
                Ok(progress) => progress,
                Err(error) => {
                    self.trace.client.push(format!("error: {error}"));
                    self.client_over = true;
                    return true;
                }
            };
            let consumed = progress.consumed;
            let (mut next, mut attempt) = (None, None);
            match progress.step {
                Step::Wait(want) => {
                    self.client_shakes = want == Want::Handshake;
                    self.client_input.drain(..consumed);
                    if self.sending.is_some() && self.client.wants_body() {
                        continue;
                    }
                    break;
                }
                Step::Event(event) => {
                    self.trace.client.push(describe(&event));
                    match event {
                        client::ClientEvent::Ready
                        | client::ClientEvent::AuthenticationFailed { .. } => {
                            next = Some(());
                            attempt = self.attempts.next();
                        }
                        client::ClientEvent::Authenticated(_)
                        | client::ClientEvent::Finished(_) => next = Some(()),
                        client::ClientEvent::SendBody => self.sending = self.body.clone(),
                        client::ClientEvent::Closed => self.client_over = true,
                        _ => {}
                    }
                }
            }
            self.client_input.drain(..consumed);
            progressed = true;
            if let Some(attempt) = attempt {
                match self.client.authenticate(attempt(), self.scenario.floor, self.now) {
                    Ok(()) => next = None,
                    Err(refusal) => self.trace.client.push(format!("not tried: {refusal}")),
                }
            }
            if next.is_some() {
                self.sending = None;
                match self.mails.next() {
                    Some((envelope, body)) => {
                        self.body = Some(body);
                        let _ = self.client.start_transaction(Arc::new(envelope), self.now);
                    }
                    None => {
                        let _ = self.client.quit();
                    }
                }
            }
        }
        progressed
    }

    /// As much of the body as is wanted, in pieces of one step.
    fn write_body(&mut self) -> bool {
        let mut wrote = false;
        while let Some(mut body) = self.sending.take_if(|_| self.client.wants_body()) {
            wrote = true;
            if body.is_empty() {
                self.client.end_body(&mut self.client_output, self.now).unwrap();
                break;
            }
            let rest = body.split_off(body.len().min(self.step));
            self.client.write_body(&body, &mut self.client_output, self.now).unwrap();
            self.sending = Some(rest);
        }
        wrote
    }

    fn turn_server(&mut self) -> bool {
        let mut progressed = false;
        while !self.server_over {
            let polled = self.server.poll(&self.server_input, &mut self.server_output, self.now);
            let progress = match polled {
                Ok(progress) => progress,
                Err(error) => {
                    self.trace.server.push(format!("error: {error}"));
                    self.server_over = true;
                    return true;
                }
            };
            let consumed = progress.consumed;
            match progress.step {
                Step::Wait(want) => {
                    self.server_shakes = want == Want::Handshake;
                    self.server_input.drain(..consumed);
                    break;
                }
                Step::Event(server::ServerEvent::Body(runs)) => {
                    // How a body is cut into events depends on the reads, and may.
                    runs.for_each(|run| self.collected.extend_from_slice(run));
                }
                Step::Event(event) => {
                    self.trace.server.push(format!("{event:?}"));
                    match &event {
                        server::ServerEvent::Closed => self.server_over = true,
                        server::ServerEvent::BodyRefused(_) => self.collected.clear(),
                        server::ServerEvent::Reset
                        | server::ServerEvent::Authenticated(_)
                        | server::ServerEvent::AuthenticationFailed(_) => {}
                        server::ServerEvent::Authenticate(question) => {
                            self.server.answer(authority(question)).unwrap()
                        }
                        _ => {
                            let response = (self.scenario.answer)(&event);
                            if matches!(event, server::ServerEvent::EndOfBody) {
                                let message = std::mem::take(&mut self.collected);
                                if response.code() == 250 {
                                    self.trace.stored.push(message);
                                }
                            }
                            self.server.respond(&response, &mut self.server_output).unwrap();
                        }
                    }
                }
            }
            self.server_input.drain(..consumed);
            progressed = true;
        }
        progressed
    }
}

fn transfer(from: &mut Vec<u8>, to: &mut Vec<u8>, step: usize) -> bool {
    let moved = from.len().min(step);
    to.extend(from.drain(..moved));
    moved > 0
}

/// Compares a table with its golden file; the table as it came out is left beside the test
/// binaries.
pub fn golden(name: &str, actual: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if actual == expected {
        return;
    }
    let came_out = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&came_out, actual).unwrap();
    let pairs = expected.lines().zip(actual.lines());
    let first = pairs.enumerate().find(|(_, (expected, actual))| expected != actual);
    panic!("{name} differs, first at {first:?}; the whole table is in {}", came_out.display());
}
