//! Conversations as text files, run at every fragmentation of the peer's bytes.
//!
//! The head of a file says who is under test (`role`), what is configured (`config`), what the handler says to an event
//! (`answer`), and what a client is to send (`mail`, `rcpt`, `body`: one line for each piece). Behind `---` stand `S:`
//! and `C:` lines in the order in which they must come, `TLS` where the handshake happens, `EOF` where the peer closes,
//! and `E:` lines with all events. `\r`, `\n`, `\0`, `\u{..}` stand for themselves; a line that ends in `\` has no CRLF.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{ClientBed, ServerBed, accept, client_config, describe, describe_server, server_config};
use smtp_proto::client::{self, Envelope, OverLimit, Recipient};
use smtp_proto::command::Command;
use smtp_proto::fallback::{Channel, TlsRules};
use smtp_proto::reply::Response;
use smtp_proto::server::{FutureRelease, StartTls};
use smtp_proto::{Protocol, Step, Want};

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
                    let code: String = chars.by_ref().skip(1).take_while(|&char| char != '}').collect();
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
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
        };
        let head = content(head).into_iter().map(|line| {
            let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            (key.to_owned(), value.to_owned())
        });
        let lines = content(body).into_iter().map(|line| match (line.as_str(), line.split_at(line.len().min(2))) {
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
        });
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { name, head: head.collect(), lines: lines.collect() }
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.head.iter().filter(move |(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all("config").flat_map(|line| line.split(' ')).map(|word| word.split_once('=').unwrap_or((word, "")))
    }

    fn server_config(&self) -> smtp_proto::server::Config {
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
                        Some(FutureRelease { longest: longest.parse().unwrap(), last: last.parse().unwrap() });
                }
                "keyword" => config.keywords.push(value.replace(',', " ")),
                "mail-parameter" => config.mail_parameters.push(value.to_owned()),
                "rcpt-parameter" => config.rcpt_parameters.push(value.to_owned()),
                "verb" => config.verbs.push(value.to_owned()),
                "no-pipelining" => config.pipelining = false,
                "chunking" => config.chunking = true,
                "binarymime" => config.binary_mime = true,
                "lmtp" => config.protocol = Protocol::Lmtp,
                "limits" => {
                    let numbers: Vec<usize> = value.split(',').map(|it| it.parse().unwrap()).collect();
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

    fn client_config(&self) -> (client::Config, TlsRules) {
        let mut config = client_config();
        let mut rules = TlsRules::NEVER;
        for (option, _) in self.options() {
            match option {
                "no-pipelining" => config.pipelining = false,
                "chunking" => config.chunking = true,
                "lmtp" => config.protocol = Protocol::Lmtp,
                "leave" => config.over_limit = OverLimit::Leave,
                "tls" => rules = TlsRules::REQUIRED,
                _ => panic!("{}: {option}", self.name),
            }
        }
        (config, rules)
    }

    /// Envelope and pieces of the body of each transaction.
    fn mails(&self) -> Vec<(Envelope, Vec<Vec<u8>>)> {
        let mut mails: Vec<(Envelope, Vec<Vec<u8>>)> = Vec::new();
        for (key, value) in &self.head {
            let value = unescape(value);
            match key.as_str() {
                "mail" => match Command::parse(format!("MAIL FROM:{value}").as_bytes()).unwrap() {
                    Command::Mail { path, parameters } => mails.push((Envelope::relaying(path, &parameters), vec![])),
                    _ => unreachable!(),
                },
                "rcpt" => match Command::parse(format!("RCPT TO:{value}").as_bytes()).unwrap() {
                    Command::Rcpt { path, parameters } => {
                        mails.last_mut().unwrap().0.recipients.push(Recipient::relaying(path, &parameters));
                    }
                    _ => unreachable!(),
                },
                "further" => mails.last_mut().unwrap().0.parameters = value.parse().unwrap(),
                "body" => mails.last_mut().unwrap().1.push(value.into_bytes()),
                _ => {}
            }
        }
        mails
    }
}

/// Moves lines between the script and whoever is under test.
trait Side {
    /// Takes a piece of what the peer says.
    fn hear(&mut self, bytes: &[u8]);
    fn output(&mut self) -> &mut Vec<u8>;
    fn shake(&mut self);
    fn eof(&mut self);
    fn events(&self) -> &[String];
}

fn play(script: &Script, step: usize, side: &mut dyn Side, is_server: bool) {
    let at = |index: usize| format!("{}, step {step}, line {:?}", script.name, script.lines.get(index));
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
            assert_eq!(side.output().escape_ascii().to_string(), "", "said too early, {}", at(index));
            heard.extend_from_slice(bytes);
            let next = script.lines[index + 1..].iter().find(|line| !matches!(line, Line::Event(_)));
            let more = matches!((next, is_server), (Some(Line::Client(_)), true) | (Some(Line::Server(_)), false));
            if !more {
                heard.chunks(step).for_each(|piece| side.hear(piece));
                heard.clear();
            }
            continue;
        }
        let output = side.output();
        let said: Vec<u8> = output.drain(..output.len().min(bytes.len())).collect();
        assert_eq!(said.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{}", at(index));
    }
    assert_eq!(side.output().escape_ascii().to_string(), "", "said more than {}", script.name);
    let expected: Vec<&String> =
        script.lines.iter().filter_map(|line| if let Line::Event(event) = line { Some(event) } else { None }).collect();
    assert_eq!(side.events().iter().collect::<Vec<_>>(), expected, "{}, step {step}", script.name);
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
                let enhanced: Vec<u16> = words.next().unwrap().split('.').map(|it| it.parse().unwrap()).collect();
                let text = unescape(words.next().unwrap_or(""));
                (event.to_owned(), Response::new(code, (enhanced[0] as u8, enhanced[1], enhanced[2]), text))
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
                (Some(last), None) if last.starts_with("Body ") && event.starts_with("BodyRefused") => *last = event,
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
    mails: std::vec::IntoIter<(Envelope, Vec<Vec<u8>>)>,
    /// What is left of the body; none between bodies.
    body: Option<std::vec::IntoIter<Vec<u8>>>,
    pieces: Vec<Vec<u8>>,
    events: Vec<String>,
}

impl ClientSide {
    fn new(script: &Script) -> Self {
        let (config, rules) = script.client_config();
        let bed = ClientBed::with(config, rules, Channel::Plain);
        Self { bed, mails: script.mails().into_iter(), body: None, pieces: Vec::new(), events: Vec::new() }
    }

    fn write_body(&mut self) {
        let ClientBed { client, output, now, .. } = &mut self.bed;
        while client.wants_body()
            && let Some(body) = &mut self.body
        {
            match body.next() {
                Some(piece) => client.write_body(&piece, output, *now).unwrap(),
                None => {
                    client.end_body(output, *now).unwrap();
                    self.body = None;
                }
            }
        }
    }

    fn next_mail(&mut self) {
        match self.mails.next() {
            Some((envelope, pieces)) => {
                self.pieces = pieces;
                let _ = self.bed.client.start_transaction(Arc::new(envelope), self.bed.now);
            }
            None => drop(self.bed.client.quit()),
        }
    }
}

impl Side for ClientSide {
    fn hear(&mut self, bytes: &[u8]) {
        self.bed.input.extend_from_slice(bytes);
        loop {
            self.write_body();
            let ClientBed { client, input, output, now, .. } = &mut self.bed;
            let progress = match client.poll(*now, input, output) {
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
                        client::Event::Ready | client::Event::Finished(_) => next = true,
                        client::Event::SendBody => self.body = Some(std::mem::take(&mut self.pieces).into_iter()),
                        _ => {}
                    }
                }
            }
            self.bed.input.drain(..consumed);
            if next {
                self.body = None;
                self.next_mail();
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

fn run(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let script = Script::read(&folder.join(name).with_extension("txt"));
    for step in STEPS {
        match script.all("role").next() {
            Some("server") => play(&script, step, &mut ServerSide::new(&script), true),
            Some("client") => play(&script, step, &mut ClientSide::new(&script), false),
            role => panic!("{name}: {role:?}"),
        }
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
    client_binarymime
    client_chunking
    client_deliverby
    client_dsn
    client_futurerelease
    client_limits
    client_lmtp
    client_mt_priority
    client_requiretls
    client_smtputf8
    server_binarymime
    server_chunking
    server_deliverby
    server_dsn
    server_futurerelease
    server_limits
    server_lmtp
    server_mt_priority
    server_requiretls
    server_smtputf8
    server_unknown
}
