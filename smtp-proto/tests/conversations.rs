//! Conversations as text files, run at every fragmentation of the peer's bytes.
//!
//! The head of a file says who is under test (`role`), what is configured (`config`), what the
//! handler says to an event (`answer`), and what a client is to send (`mail`, `rcpt`, `body` or
//! `uri`: one line for each piece; `command`, `xclient`; `auth` with mechanism, user and secret;
//! `idle`, `stall`: nothing for a while), in this order. `also: no-pipelining` says that the same
//! holds without PIPELINING. After `---` come `S:` and `C:` lines in the order in which they must
//! come, `TLS` where the handshake happens, `EOF` where the peer closes, and `E:` lines with all
//! events. `\r`, `\n`, `\0`, `\u{..}` are what Rust strings make of them; a line that ends in `\`
//! has no CRLF.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{
    ClientBed, ServerBed, accept, client_config, describe, describe_server, mechanisms,
    server_config,
};
use smtp_proto::channel::Channel;
use smtp_proto::client;
use smtp_proto::client::{Envelope, OverLimit, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::client::ChannelFloor;
use smtp_proto::server::{FutureRelease, StartTls};
use smtp_proto::wire::command::{Command, Uri, XclientName};
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Protocol, Step, Want};

/// What a client does when it is its turn.
enum Action {
    Mail(Envelope, Vec<Piece>),
    /// A command line.
    Command(String),
    /// What to authenticate with.
    Auth(String),
    /// Nothing, until the server says something.
    Idle,
}

/// A piece of a body.
enum Piece {
    Octets(Vec<u8>),
    /// Where it is, and whether it is the last.
    Uri(String, bool),
    /// The rest is late, and does not come.
    Stall,
}

const STEPS: [usize; 6] = [1, 2, 3, 7, 64, usize::MAX];

/// A file, taken apart.
struct Script {
    name: String,
    head: Vec<(String, String)>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Server(Vec<u8>),
    Client(Vec<u8>),
    Event(String),
    Tls,
    Eof,
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, true) => match chars.next() {
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some('0') => out.push('\0'),
                Some('u') => {
                    let code: String =
                        chars.by_ref().skip(1).take_while(|&char| char != '}').collect();
                    out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
                }
                Some(other) => out.push(other),
                None => {}
            },
            (char, false) => out.push(char),
        }
    }
    out
}

fn wire(text: &str) -> Vec<u8> {
    let whole = if text.ends_with('\\') { unescape(text) } else { unescape(text) + "\r\n" };
    whole.into_bytes()
}

impl Script {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("---\n").expect("a head and a body");
        let content = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
        let head = content(head).into_iter().map(|line| {
            let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            (key.to_owned(), value.to_owned())
        });
        let lines = content(body).into_iter().map(|line| {
            match (line.as_str(), line.split_at(line.len().min(2))) {
                ("TLS", _) => Line::Tls,
                ("EOF", _) => Line::Eof,
                (_, (kind, rest)) => {
                    let rest = rest.strip_prefix(' ').unwrap_or(rest);
                    match kind {
                        "S:" => Line::Server(wire(rest)),
                        "C:" => Line::Client(wire(rest)),
                        "E:" => Line::Event(rest.to_owned()),
                        _ => panic!("{line}"),
                    }
                }
            }
        });
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { name, head: head.collect(), lines: lines.collect() }
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.head.iter().filter(move |(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    fn events(&self) -> Vec<&String> {
        self.lines
            .iter()
            .filter_map(|line| if let Line::Event(event) = line { Some(event) } else { None })
            .collect()
    }

    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all("config")
            .flat_map(|line| line.split(' '))
            .map(|word| word.split_once('=').unwrap_or((word, "")))
    }

    fn server_config(&self) -> smtp_proto::server::ServerConfig {
        let mut config = server_config();
        for (option, value) in self.options() {
            match option {
                "starttls" => config.starttls = StartTls::Offered,
                "size" => config.size_limit = Some(value.parse().unwrap()),
                "smtputf8" => config.smtputf8 = true,
                "dsn" => config.dsn = true,
                "requiretls" => config.require_tls = true,
                "mt-priority" => config.mt_priority = Some(value.to_owned()),
                "deliverby" => config.deliver_by = Some(value.parse().unwrap()),
                "futurerelease" => {
                    let (longest, last) = value.split_once(',').unwrap();
                    config.future_release =
                        Some(FutureRelease::new(longest.parse().unwrap(), last.parse().unwrap()));
                }
                "keyword" => config.keywords.push(value.replace(',', " ")),
                "mail-parameter" => config.mail_parameters.push(value.to_owned()),
                "rcpt-parameter" => config.rcpt_parameters.push(value.to_owned()),
                "auth" => {
                    config.mechanisms = mechanisms();
                    let names: Vec<&str> =
                        value.split(',').filter(|name| !name.is_empty()).collect();
                    config.mechanisms.retain(|it| names.is_empty() || names.contains(&it.name()));
                }
                "auth-in-clear" => config.auth_in_clear = true,
                "auth-required" => config.auth_required = true,
                "verb" => config.verbs.push(value.to_owned()),
                "no-pipelining" => config.pipelining = false,
                "no-8bitmime" => config.eight_bit_mime = false,
                "no-enhancedstatuscodes" => config.enhanced_status_codes = false,
                "starttls-required" => config.starttls = StartTls::Required,
                "vrfy" => config.vrfy = true,
                "expn" => config.expn = true,
                "help" => config.help = true,
                "etrn" => config.etrn = true,
                "xclient" => {
                    config.xclient =
                        value.split(',').map(|name| XclientName::of(name).unwrap()).collect()
                }
                "burl" => config.burl = Some(value.replace(',', " ")),
                "errors" => config.limits.errors = value.parse().unwrap(),
                "unknown-commands" => config.limits.unknown_commands = value.parse().unwrap(),
                "idle-commands" => config.limits.idle_commands = value.parse().unwrap(),
                "chunking" => config.chunking = true,
                "binarymime" => config.binary_mime = true,
                "lmtp" => config.protocol = Protocol::Lmtp,
                "limits" => {
                    let numbers: Vec<usize> =
                        value.split(',').map(|it| it.parse().unwrap()).collect();
                    config.announce_limits = true;
                    config.limits.recipients = numbers[0];
                    config.limits.transactions = Some(numbers[1]);
                    config.limits.recipient_domains = Some(numbers[2]);
                }
                _ => panic!("{}: {option}", self.name),
            }
        }
        config
    }

    fn client_config(&self) -> (client::ClientConfig, TlsRules) {
        let mut config = client_config();
        let mut rules = TlsRules::NEVER;
        for (option, _) in self.options() {
            match option {
                "no-pipelining" => config.pipelining = false,
                "chunking" => config.chunking = true,
                "lmtp" => config.protocol = Protocol::Lmtp,
                "leave" => config.over_limit = OverLimit::Leave,
                "tls" => rules = TlsRules::REQUIRED,
                "opportunistic" => rules = TlsRules::OPPORTUNISTIC,
                _ => panic!("{}: {option}", self.name),
            }
        }
        (config, rules)
    }

    /// What a client is to send.
    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (key, value) in &self.head {
            let value = unescape(value);
            match (key.as_str(), actions.last_mut()) {
                ("command", _) => actions.push(Action::Command(value)),
                ("auth", _) => actions.push(Action::Auth(value)),
                ("idle", _) => actions.push(Action::Idle),
                ("stall", Some(Action::Mail(_, pieces))) => pieces.push(Piece::Stall),
                ("xclient", _) => actions.push(Action::Command(format!("XCLIENT {value}"))),
                ("mail", _) => {
                    match Command::parse(
                        format!("MAIL FROM:{value}").as_bytes(),
                        AddressRules::STRICT,
                    )
                    .unwrap()
                    {
                        Command::Mail { path, parameters } => {
                            let auth = parameters.auth.map(Into::into);
                            actions.push(Action::Mail(
                                {
                                    let mut envelope = Envelope::relaying(path, &parameters);
                                    (envelope.auth, envelope.size) = (auth, parameters.size);
                                    envelope
                                },
                                vec![],
                            ));
                        }
                        _ => unreachable!(),
                    }
                }
                ("rcpt", Some(Action::Mail(envelope, _))) => {
                    match Command::parse(
                        format!("RCPT TO:{value}").as_bytes(),
                        AddressRules::STRICT,
                    )
                    .unwrap()
                    {
                        Command::Rcpt { path, parameters } => {
                            envelope.recipients.push(Recipient::relaying(path, &parameters));
                        }
                        _ => unreachable!(),
                    }
                }
                ("further", Some(Action::Mail(envelope, _))) => {
                    envelope.parameters = value.parse().unwrap()
                }
                ("body", Some(Action::Mail(_, pieces))) => {
                    pieces.push(Piece::Octets(value.into_bytes()))
                }
                ("uri", Some(Action::Mail(envelope, pieces))) => {
                    envelope.burl = true;
                    let uri = value.strip_suffix(" LAST");
                    pieces.push(Piece::Uri(uri.unwrap_or(&value).to_owned(), uri.is_some()));
                }
                _ => {}
            }
        }
        actions
    }
}

/// Moves lines between the script and the machine under test.
trait Side {
    /// Takes a piece of what the peer says.
    fn hear(&mut self, bytes: &[u8]);
    fn output(&mut self) -> &mut Vec<u8>;
    fn shake(&mut self);
    fn eof(&mut self);
    fn events(&self) -> &[String];
}

fn play(script: &Script, step: usize, side: &mut dyn Side, is_server: bool) {
    let at =
        |index: usize| format!("{}, step {step}, line {:?}", script.name, script.lines.get(index));
    side.hear(b"");
    let mut heard = Vec::new();
    for (index, line) in script.lines.iter().enumerate() {
        let (ours, bytes) = match line {
            Line::Server(bytes) => (is_server, bytes),
            Line::Client(bytes) => (!is_server, bytes),
            Line::Event(_) => continue,
            Line::Tls => {
                side.shake();
                side.hear(b"");
                continue;
            }
            Line::Eof => {
                side.eof();
                continue;
            }
        };
        if !ours {
            assert_eq!(
                side.output().escape_ascii().to_string(),
                "",
                "said too early, {}",
                at(index)
            );
            heard.extend_from_slice(bytes);
            let next =
                script.lines[index + 1..].iter().find(|line| !matches!(line, Line::Event(_)));
            let more = matches!(
                (next, is_server),
                (Some(Line::Client(_)), true) | (Some(Line::Server(_)), false)
            );
            if !more {
                heard.chunks(step).for_each(|piece| side.hear(piece));
                heard.clear();
            }
            continue;
        }
        let output = side.output();
        let said: Vec<u8> = output.drain(..output.len().min(bytes.len())).collect();
        assert_eq!(
            said.escape_ascii().to_string(),
            bytes.escape_ascii().to_string(),
            "{}",
            at(index)
        );
    }
    assert_eq!(side.output().escape_ascii().to_string(), "", "said more than {}", script.name);
    assert_eq!(
        side.events().iter().collect::<Vec<_>>(),
        script.events(),
        "{}, step {step}",
        script.name
    );
}

struct ServerSide {
    bed: ServerBed,
    events: Vec<String>,
}

impl ServerSide {
    fn new(script: &Script) -> Self {
        let mut bed = ServerBed::new(script.server_config());
        let answers: Vec<(String, Response)> = script
            .all("answer")
            .map(|line| {
                let (event, rest) = line.split_once(" = ").unwrap();
                let mut words = rest.splitn(3, ' ');
                let code = words.next().unwrap().parse().unwrap();
                let enhanced: Vec<u16> =
                    words.next().unwrap().split('.').map(|it| it.parse().unwrap()).collect();
                let text = unescape(words.next().unwrap_or(""));
                (
                    event.to_owned(),
                    Response::new(code, (enhanced[0] as u8, enhanced[1], enhanced[2]), text),
                )
            })
            .collect();
        bed.answer = Arc::new(move |event| {
            let name = describe_server(event);
            let found = answers.iter().find(|(start, _)| name.starts_with(start.as_str()));
            found.map_or_else(|| accept(event), |(_, response)| response.clone())
        });
        Self { bed, events: Vec::new() }
    }
}

impl Side for ServerSide {
    fn hear(&mut self, bytes: &[u8]) {
        for event in self.bed.feed(bytes) {
            // How a body is cut into events depends on the reads, and may.
            match (self.events.last_mut(), event.strip_prefix("Body ")) {
                (Some(last), Some(more)) if last.starts_with("Body ") => last.push_str(more),
                // How much is shown before a refusal as well.
                (Some(last), None)
                    if last.starts_with("Body ") && event.starts_with("BodyRefused") =>
                {
                    *last = event
                }
                _ => self.events.push(event),
            }
        }
    }
    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.bed.output
    }
    fn shake(&mut self) {
        self.bed.shake();
    }
    fn eof(&mut self) {
        let ended = self.bed.server.handle_eof();
        self.events.push(format!("eof: {ended:?}"));
    }
    fn events(&self) -> &[String] {
        &self.events
    }
}

struct ClientSide {
    bed: ClientBed,
    actions: std::vec::IntoIter<Action>,
    /// What is left of the body; none between bodies.
    body: Option<std::vec::IntoIter<Piece>>,
    pieces: Vec<Piece>,
    events: Vec<String>,
}

impl ClientSide {
    fn new(script: &Script, pipelining: bool) -> Self {
        let (mut config, rules) = script.client_config();
        config.pipelining &= pipelining;
        let bed = ClientBed::with(config, rules, Channel::Plain);
        let actions = script.actions().into_iter();
        Self { bed, actions, body: None, pieces: Vec::new(), events: Vec::new() }
    }

    fn write_body(&mut self) {
        let ClientBed { client, output, now, .. } = &mut self.bed;
        while client.wants_body()
            && let Some(body) = &mut self.body
        {
            match body.next() {
                Some(Piece::Octets(piece)) => client.write_body(&piece, output, *now).unwrap(),
                Some(Piece::Stall) => self.body = None,
                Some(Piece::Uri(uri, last)) => {
                    client.write_uri(Uri::parse(&uri).unwrap(), last, output, *now).unwrap();
                    if last {
                        self.body = None;
                    }
                }
                None => {
                    client.end_body(output, *now).unwrap();
                    self.body = None;
                }
            }
        }
    }

    /// Does what comes next. What is misuse is an event here.
    fn act(&mut self) {
        let (client, now) = (&mut self.bed.client, self.bed.now);
        match self.actions.next() {
            Some(Action::Command(line)) => {
                let sent = match Command::parse(line.as_bytes(), AddressRules::STRICT).unwrap() {
                    Command::Xclient(attributes) => client.xclient(&attributes, now),
                    command => client.command(command, now),
                };
                if let Err(misuse) = sent {
                    self.events.push(format!("misuse: {misuse}"));
                    self.act();
                }
            }
            Some(Action::Mail(envelope, pieces)) => {
                self.pieces = pieces;
                let _ = client.start_transaction(Arc::new(envelope), now);
            }
            Some(Action::Auth(text)) => {
                let mechanism = common::auth::mechanism(&text, common::auth::Binding::Unsupported);
                if let Err(refusal) =
                    client.authenticate(mechanism, ChannelFloor::Authenticated, now)
                {
                    self.events.push(format!("not begun: {refusal}"));
                    self.act();
                }
            }
            Some(Action::Idle) => {}
            None => drop(client.quit()),
        }
    }
}

impl Side for ClientSide {
    fn hear(&mut self, bytes: &[u8]) {
        self.bed.input.extend_from_slice(bytes);
        loop {
            self.write_body();
            let ClientBed { client, input, output, now, .. } = &mut self.bed;
            let progress = match client.poll(input, output, *now) {
                Ok(progress) => progress,
                Err(smtp_proto::error::Error::Closed) => return,
                Err(error) => return self.events.push(format!("error: {error}")),
            };
            let consumed = progress.consumed;
            let (mut next, mut waits) = (false, false);
            match progress.step {
                Step::Wait(want) => {
                    self.bed.want = Ok(want);
                    waits = true;
                }
                Step::Event(event) => {
                    self.events.push(describe(&event));
                    match event {
                        client::ClientEvent::Ready | client::ClientEvent::Finished(_) => {
                            next = true
                        }
                        client::ClientEvent::Authenticated(_)
                        | client::ClientEvent::AuthenticationFailed { .. } => next = true,
                        // After the 220 to XCLIENT the client is ready once more.
                        client::ClientEvent::Answered(reply) => next = reply.code() != 220,
                        client::ClientEvent::SendBody => {
                            self.body = Some(std::mem::take(&mut self.pieces).into_iter())
                        }
                        _ => {}
                    }
                }
            }
            self.bed.input.drain(..consumed);
            if next {
                self.body = None;
                self.act();
            }
            if waits && !(self.bed.client.wants_body() && self.body.is_some()) {
                return;
            }
        }
    }
    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.bed.output
    }
    fn shake(&mut self) {
        assert_eq!(self.bed.want, Ok(Want::Handshake));
        self.bed.shake();
    }
    fn eof(&mut self) {
        let ended = self.bed.client.handle_eof();
        self.events.push(format!("eof: {ended:?}"));
    }
    fn events(&self) -> &[String] {
        &self.events
    }
}

/// How the peer's lines are grouped, whatever the script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// A server gets every command with the one before it (RFC 2920).
    Together,
    /// One at a time: a line to a server, a reply to a client.
    Apart,
}

/// Plays a script without regard to the order between the two sides: all lines and all events must
/// be the same.
fn play_loosely(script: &Script, grouping: Grouping, side: &mut dyn Side, is_server: bool) {
    side.hear(b"");
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    for line in &script.lines {
        match line {
            Line::Server(bytes) | Line::Client(bytes)
                if is_server == matches!(line, Line::Server(_)) =>
            {
                said.extend_from_slice(bytes);
            }
            Line::Server(bytes) | Line::Client(bytes) => {
                heard.extend_from_slice(bytes);
                let unfinished = !is_server && bytes.get(3) == Some(&b'-');
                if grouping == Grouping::Apart && !unfinished {
                    side.hear(&std::mem::take(&mut heard));
                }
            }
            Line::Event(_) => {}
            Line::Tls | Line::Eof => {
                side.hear(&std::mem::take(&mut heard));
                if *line == Line::Tls {
                    side.shake()
                } else {
                    side.eof()
                }
                side.hear(b"");
            }
        }
    }
    side.hear(&heard);
    let at = format!("{}, {grouping:?}", script.name);
    assert_eq!(side.output().escape_ascii().to_string(), said.escape_ascii().to_string(), "{at}");
    assert_eq!(side.events().iter().collect::<Vec<_>>(), script.events(), "{at}");
}

fn run(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let script = Script::read(&folder.join(name).with_extension("txt"));
    let is_server = match script.all("role").next() {
        Some("server") => true,
        Some("client") => false,
        role => panic!("{name}: {role:?}"),
    };
    for step in STEPS {
        match is_server {
            true => play(&script, step, &mut ServerSide::new(&script), true),
            false => play(&script, step, &mut ClientSide::new(&script, true), false),
        }
    }
    if is_server {
        for grouping in [Grouping::Together, Grouping::Apart] {
            play_loosely(&script, grouping, &mut ServerSide::new(&script), true);
        }
    }
    if script.all("also").any(|it| it == "no-pipelining") {
        play_loosely(&script, Grouping::Apart, &mut ClientSide::new(&script, false), false);
    }
}

macro_rules! conversations {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        /// Every file is run.
        #[test]
        fn no_conversation_is_forgotten() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
            let mut files: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            files.sort();
            assert_eq!(files, [$(stringify!($name)),*]);
        }
    };
}

conversations! {
    client_421_body
    client_421_command
    client_421_greeting
    client_421_recipient
    client_8bitmime
    client_8bitmime_not_offered
    client_auth_closed
    client_auth_external
    client_auth_login
    client_auth_not_begun
    client_auth_plain
    client_auth_scram
    client_auth_token
    client_auth_xclient
    client_bdat_refused_for_good
    client_binarymime
    client_burl
    client_burl_not_offered
    client_burl_without_chunking
    client_chunking
    client_commands
    client_deliverby
    client_dsn
    client_early_refusal
    client_early_reply
    client_enhancedstatuscodes
    client_etrn
    client_futurerelease
    client_helo
    client_limits
    client_lmtp
    client_lmtp_starttls
    client_mt_priority
    client_no_recipients
    client_pipelining
    client_refusal_of_all
    client_requiretls
    client_size
    client_smtputf8
    client_starttls
    client_starttls_not_offered
    client_temporary_refusals
    client_unasked_reply
    client_unasked_reply_in_body
    client_unknown
    client_xclient
    client_xclient_closed
    client_xclient_hello_refused
    server_421
    server_8bitmime
    server_8bitmime_not_offered
    server_auth_external
    server_auth_login
    server_auth_plain
    server_auth_required
    server_auth_scram
    server_auth_token
    server_binarymime
    server_burl
    server_burl_not_offered
    server_chunking
    server_commands
    server_deliverby
    server_dsn
    server_enhancedstatuscodes
    server_enhancedstatuscodes_not_offered
    server_errors
    server_etrn
    server_etrn_not_offered
    server_futurerelease
    server_helo
    server_idle_commands
    server_leak
    server_limits
    server_lines
    server_lmtp
    server_lmtp_starttls
    server_mt_priority
    server_pipelining
    server_recipients
    server_requiretls
    server_size
    server_smtputf8
    server_starttls
    server_starttls_refused
    server_unknown
    server_unknown_commands
    server_xclient
    server_xclient_closed
    server_xclient_refused
}
