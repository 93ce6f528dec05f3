//! Commands: what is read can be written and comes back; a server sees no fragments.

use std::sync::Arc;
use std::time::Instant;

use smtp_proto::channel::Channel;
use smtp_proto::server::{BareLineEnds, Server, ServerConfig, ServerEvent, Tolerance};
use smtp_proto::wire::command::{Command, XclientName, XclientValue};
use smtp_proto::wire::params::Xtext;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Step, Want};

/// First byte: fragmentation. Rest: what a client says.
pub fn command(data: &[u8]) {
    let Some((seed, wire)) = super::split_seed(data) else { return };
    for line in wire.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for rules in [AddressRules::STRICT, AddressRules::FIELD] {
            if let Ok(command) = Command::parse(line, rules) {
                comes_back(&command, rules);
                holds_no_controls(&command);
            }
        }
    }
    let strict = converse(wire, 0, Tolerance::STRICT);
    assert_eq!(converse(wire, seed, Tolerance::STRICT), strict);
    let tolerant = converse(wire, 0, tolerance());
    assert_eq!(converse(wire, seed, tolerance()), tolerant);
    // Tolerance is for what is refused without it; 421 is for a BDAT whose size cannot be read.
    let is_refusal = |line: &[u8]| line.starts_with(b"5") || line.starts_with(b"421");
    let refused = strict.2.split(|&byte| byte == b'\n').any(is_refusal);
    if !refused {
        assert_eq!(tolerant, strict);
    }
}

/// Everything that is taken beyond the RFCs.
pub(crate) fn tolerance() -> Tolerance {
    let mut tolerance = Tolerance::STRICT;
    tolerance.bare_line_ends = BareLineEnds::Normalise;
    tolerance.bare_lf_commands = true;
    tolerance.unannounced_parameters = true;
    tolerance
}

fn comes_back(command: &Command<'_>, rules: AddressRules) {
    let mut written = Vec::new();
    command.write(&mut written);
    let line = written.strip_suffix(b"\r\n").expect("a command ends in CRLF");
    assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    assert_eq!(Command::parse(line, rules).as_ref(), Ok(command));
}

/// Decoded xtext can be put into a header field, a reply or a log.
fn holds_no_controls(command: &Command<'_>) {
    let value = |value: &Option<XclientValue<Xtext<'_>>>| match value {
        Some(XclientValue::Value(text)) => Some(text.decode()),
        _ => None,
    };
    let decoded = match command {
        Command::Mail { parameters, .. } => {
            vec![
                parameters.envelope_id.as_ref().map(Xtext::decode),
                parameters.auth.as_ref().map(Xtext::decode),
            ]
        }
        Command::Rcpt { parameters, .. } => vec![parameters.orcpt.as_ref().map(|orcpt| {
            Xtext::parse(orcpt.address()).map_or_else(|| orcpt.address().into(), |it| it.decode())
        })],
        Command::Xclient(client) => {
            vec![value(&client.name), value(&client.helo), value(&client.login)]
        }
        _ => Vec::new(),
    };
    for octets in decoded.into_iter().flatten() {
        let text = String::from_utf8(octets).expect("decoded xtext is UTF-8");
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

/// Events, finished messages and output of a server that accepts everything.
pub(crate) fn converse(
    wire: &[u8],
    seed: u8,
    tolerance: Tolerance,
) -> (Vec<String>, Vec<u8>, Vec<u8>) {
    let now = Instant::now();
    let mut config = ServerConfig::new("mx.test.example".parse().expect("a domain"));
    config.tolerance = tolerance;
    config.limits.command_line = 80;
    config.limits.errors = 3;
    config.limits.recipients = 2;
    config.size_limit = Some(60);
    (config.chunking, config.binary_mime, config.smtputf8, config.dsn) = (true, true, true, true);
    (config.etrn, config.xclient, config.burl) =
        (true, XclientName::ALL.to_vec(), Some("imap".into()));
    let mut server = Server::new(Arc::new(config), Channel::Plain, now);
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let (mut events, mut body, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut sizes) = (wire, super::sizes(seed));
    loop {
        let progress = match server.poll(&input, &mut output, now) {
            Ok(progress) => progress,
            Err(error) => {
                assert_eq!(server.poll(b"NOOP\r\n", &mut output, now).map(|_| ()), Err(error));
                events.push(error.to_string());
                break;
            }
        };
        let consumed = progress.consumed;
        let mut response = None;
        let mut wait = false;
        match progress.step {
            Step::Wait(want) => {
                assert_eq!(want, Want::Input);
                wait = true;
            }
            Step::Event(ServerEvent::Body(runs)) => {
                runs.for_each(|run| body.extend_from_slice(run))
            }
            Step::Event(event) => {
                events.push(format!("{event:?}"));
                response = match event {
                    ServerEvent::Connected | ServerEvent::Xclient(_) => Some(220),
                    ServerEvent::Data => Some(354),
                    ServerEvent::Closed => None,
                    ServerEvent::Reset | ServerEvent::BodyRefused(_) => {
                        body.clear();
                        None
                    }
                    ServerEvent::Hello { .. } => {
                        body.clear();
                        Some(250)
                    }
                    ServerEvent::EndOfBody => {
                        stored.append(&mut body);
                        Some(250)
                    }
                    _ => Some(250),
                };
            }
        }
        input.drain(..consumed);
        if let Some(code) = response {
            let response = Response::new(code, ((code / 100) as u8, 0, 0), "OK");
            server.respond(&response, &mut output).expect("a code that is allowed");
        }
        if wait {
            // Nothing but an unfinished line is left to the caller.
            assert!(input.len() <= 81, "{}", input.len());
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at(sizes.next().expect("endless").min(rest.len()));
            input.extend_from_slice(piece);
            rest = tail;
        }
    }
    (events, stored, output)
}
