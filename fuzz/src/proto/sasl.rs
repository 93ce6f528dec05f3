//! AUTH: a client that does not know the password is never authenticated, and a server that does
//! not know it is never believed, whatever either of them sends.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::sasl::client::{ClientMechanism, Credentials};
use smtp_proto::sasl::scram::{Keys, MIN_ITERATIONS};
use smtp_proto::sasl::server::{self as sasl, Answer, Identity, Question};
use smtp_proto::server::{Server, ServerConfig, ServerEvent};
use smtp_proto::wire::capabilities::Capabilities;
use smtp_proto::wire::reply::{Reply, Response};
use smtp_proto::{Step, Want};

const NAMES: [&str; 7] =
    ["PLAIN", "LOGIN", "EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER"];
const LINE: usize = 600;
/// Of RFC 7677, section 3.
const SALT: [u8; 16] = [
    0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81,
];

/// First byte: fragmentation. Second: bit 7 says that the rest is what a client sends after EHLO,
/// as it is. Otherwise its lines are messages, sent in base64, the first of them of the mechanism
/// that the lower bits name; with bit 6 it comes with AUTH.
pub fn sasl(data: &[u8]) {
    let Some((seed, data)) = super::split_seed(data) else { return };
    let Some((&mode, text)) = data.split_first() else { return };
    let mut wire = b"EHLO c\r\n".to_vec();
    if mode & 0x80 != 0 {
        wire.extend_from_slice(text);
    } else {
        let name = NAMES[usize::from(mode & 0x3f) % NAMES.len()];
        wire.extend_from_slice(
            format!("AUTH {name}{}", if mode & 0x40 != 0 { " " } else { "\r\n" }).as_bytes(),
        );
        for message in text.split(|&byte| byte == b'\n') {
            let empty = message.is_empty() && wire.ends_with(b" ");
            wire.extend_from_slice(if empty { b"=" } else { b"" });
            encode(message, &mut wire);
            wire.extend_from_slice(b"\r\n");
        }
    }
    assert_eq!(converse(&wire, seed), converse(&wire, 0));
    for challenges in [text, b"".as_slice()] {
        ask(challenges);
    }
}

fn encode(octets: &[u8], output: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, &octet| bits << 8 | u32::from(octet))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at) & 0x3f) as usize;
            output.push(if at > chunk.len() { b'=' } else { ALPHABET[index] });
        }
    }
}

fn binding() -> ChannelBinding {
    ChannelBinding::TlsExporter(Secret::from("exported"))
}

fn authority(question: &Question) -> Answer {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    match question {
        Question::Password { user, password }
            if user == "user" && *password == Secret::from("pencil") =>
        {
            Answer::Accepted("user".into())
        }
        Question::Keys { user } if user == "user" => Answer::Keys(
            KEYS.get_or_init(|| Keys::derive(&Secret::from("pencil"), &SALT, 4096).expect("keys"))
                .clone(),
        ),
        Question::Token { token, .. } if *token == Secret::from("good-token") => {
            Answer::Accepted("user".into())
        }
        Question::External { .. } => Answer::Accepted("user".into()),
        Question::Authorize { authorization, .. } if authorization == "boss" => {
            Answer::Accepted("boss".into())
        }
        Question::Password { user, .. } if user == "later" => Answer::Unavailable,
        Question::Password { user, .. } if user == "weak" => {
            Answer::Failed(Response::fixed(534, (5, 7, 9), "mechanism is too weak"))
        }
        _ => Answer::Refused,
    }
}

/// Events, output, and the identity.
fn converse(wire: &[u8], seed: u8) -> (Vec<String>, Vec<u8>, Option<Identity>) {
    let now = Instant::now();
    let mut config = ServerConfig::new("mx.test.example".parse().expect("a domain"));
    config.limits.command_line = 80;
    config.limits.auth_line = LINE;
    let nonce = || "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".parse().ok();
    config.mechanisms = sasl::scram(Secret::from("decoy"), MIN_ITERATIONS, nonce).into();
    config.mechanisms.extend([
        sasl::external(),
        sasl::oauthbearer(None, None),
        sasl::xoauth2(None),
        sasl::plain(),
        sasl::login(),
    ]);
    let mut tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.3", "");
    tls.bindings = vec![binding()];
    let mut server = Server::new(Arc::new(config), Channel::Implicit(Arc::new(tls)), now);
    let (mut input, mut output, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut sizes) = (wire, super::sizes(seed));
    // What the caller has said yes to since AUTH.
    let (mut proven, mut authorized) = (false, false);
    loop {
        let Ok(progress) = server.poll(&input, &mut output, now) else { break };
        let consumed = progress.consumed;
        let (mut answer, mut response, mut wait) = (None, None, false);
        match progress.step {
            Step::Wait(want) => {
                assert_eq!(want, Want::Input);
                wait = true;
            }
            Step::Event(ServerEvent::Authenticate(question)) => {
                events.push(format!("{question:?}"));
                let said = authority(&question);
                match (&question, &said) {
                    (Question::Authorize { .. }, Answer::Accepted(_)) => authorized = true,
                    (_, Answer::Accepted(_) | Answer::Keys(_)) => proven = true,
                    _ => {}
                }
                answer = Some(said);
            }
            Step::Event(event) => {
                events.push(format!("{event:?}"));
                response = match event {
                    ServerEvent::Authenticated(identity) => {
                        assert!(proven && identity.user == "user");
                        assert_eq!(
                            identity.authorization,
                            if authorized { "boss" } else { "user" }
                        );
                        assert_eq!(server.identity(), Some(&identity));
                        None
                    }
                    ServerEvent::AuthenticationFailed(_) => {
                        assert_eq!(server.identity(), None);
                        (proven, authorized) = (false, false);
                        None
                    }
                    ServerEvent::Connected => Some(220),
                    ServerEvent::Data => Some(354),
                    ServerEvent::Closed
                    | ServerEvent::Reset
                    | ServerEvent::Body(_)
                    | ServerEvent::BodyRefused(_) => None,
                    _ => Some(250),
                };
            }
        }
        input.drain(..consumed);
        if let Some(answer) = answer {
            server.answer(answer).expect("an answer to the question");
        }
        if let Some(code) = response {
            let response = Response::new(code, ((code / 100) as u8, 0, 0), "OK");
            server.respond(&response, &mut output).expect("a code that is allowed");
        }
        if wait {
            assert!(input.len() <= LINE + 1, "{}", input.len());
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at(sizes.next().expect("endless").min(rest.len()));
            input.extend_from_slice(piece);
            rest = tail;
        }
    }
    (events, output, server.identity().cloned())
}

/// The mechanism of this name, for a server that offers no other, on a channel with or without a
/// binding.
fn client(credentials: &Credentials, name: &str, bound: bool) -> Box<dyn ClientMechanism> {
    let reply = format!("250-mx\r\n250 AUTH {name}\r\n");
    let reply = Reply::parse(reply.as_bytes()).expect("a reply").expect("a whole one");
    let mut tls = TlsInfo::new(Peer::Authenticated, "TLSv1.3", "");
    tls.bindings = bound.then(binding).into_iter().collect();
    let channel = Channel::Implicit(Arc::new(tls));
    let nonce = "rOprNGfwEbeRWgbNEkqO".parse().expect("a nonce");
    credentials
        .mechanism_named(name, &Capabilities::of(&reply), &channel, nonce)
        .expect("credentials for the mechanism")
}

/// Clients whose password no input knows, and a server that says what it likes.
fn ask(challenges: &[u8]) {
    let mut password = Credentials::password("user", "known to no input");
    password.max_iterations = MIN_ITERATIONS;
    for (name, bound) in
        [("SCRAM-SHA-256", false), ("SCRAM-SHA-256", true), ("SCRAM-SHA-256-PLUS", true)]
    {
        let mut client = client(&password, name, bound);
        client.initial_response().expect("a first message").expect("the client begins");
        for challenge in challenges.split(|&byte| byte == b'\n') {
            if client.respond(challenge).is_err() {
                break;
            }
        }
        client.accepted().expect_err("the server has proven nothing");
    }
    let token = Credentials::token("user", "token");
    for (credentials, name) in [(&password, "LOGIN"), (&token, "XOAUTH2"), (&token, "OAUTHBEARER")]
    {
        let mut client = client(credentials, name, false);
        let _ = client.initial_response();
        // A server that goes on without end must be cut off.
        let answered = challenges
            .split(|&byte| byte == b'\n')
            .take_while(|it| client.respond(it).is_ok())
            .count();
        assert!(answered <= 3, "{answered}");
        let _ = client.accepted();
    }
}
