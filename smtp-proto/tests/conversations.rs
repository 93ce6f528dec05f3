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
mod script;

use std::path::Path;
use std::sync::Arc;

use common::{ClientBed, ServerBed, accept, describe, describe_server};
use script::{Action, Line, Piece, Script, unescape};
use smtp_proto::channel::Channel;
use smtp_proto::client;
use smtp_proto::sasl::client::ChannelFloor;
use smtp_proto::wire::command::{Command, Uri};
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Step, Want};

const STEPS: [usize; 6] = [1, 2, 3, 7, 64, usize::MAX];

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
