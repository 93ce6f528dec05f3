//! Cases from outside this project: addresses, commands, replies, real EHLO replies and
//! greetings, dialogues.
//!
//! Where this library differs from a row's verdict, `exceptions/core.txt` says why.

mod common;

use common::corpora::{Verdicts, corpus, crlf, fragmentations, text};
use common::{ClientBed, ServerBed, changed, client_against, server_config};
use serde_json::Value;
use smtp_proto::Secret;
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::server::{Answer, Question, plain};
use smtp_proto::server::{ServerEvent, StartTls};
use smtp_proto::wire::capabilities::{Capabilities, Extension};
use smtp_proto::wire::command::Command;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::path::Mailbox;
use smtp_proto::wire::reply::{Reply, ReplyError, ReplyParser, Response};

/// One reply from input that grows piece by piece.
fn parse_in(pieces: &[usize], wire: &[u8]) -> Result<Option<Vec<u8>>, ReplyError> {
    let (mut parser, mut end) = (ReplyParser::default(), 0usize);
    for piece in pieces.iter().cycle() {
        end = end.saturating_add(*piece).min(wire.len());
        match parser.parse(&wire[..end])? {
            Some(reply) => return Ok(Some(reply.as_bytes().to_vec())),
            None if end == wire.len() => return Ok(None),
            None => {}
        }
    }
    unreachable!("pieces are endless")
}

#[test]
fn corpus_isemail() {
    let Some(rows) = corpus("isemail") else { return };
    let mut verdicts = Verdicts::of("isemail");
    verdicts.each(&rows, |verdicts, row| {
        let address = text(row, "address");
        let expected = row["rfc5321_syntax_ok"].as_bool().unwrap();
        let parsed = Mailbox::parse(address, AddressRules::STRICT);
        verdicts.check(text(row, "id"), parsed.is_ok() == expected, || {
            format!("{address:?} is {parsed:?}")
        });
        // What is taken can be written and comes back.
        if parsed.is_ok() {
            let line = format!("RCPT TO:<{address}>");
            let Ok(Command::Rcpt { path, .. }) =
                Command::parse(line.as_bytes(), AddressRules::STRICT)
            else {
                panic!("{line}")
            };
            assert_eq!(path.as_str(), address);
        }
    });
    verdicts.done();
}

#[test]
fn corpus_mox_address() {
    let Some(rows) = corpus("mox_address") else { return };
    let mut verdicts = Verdicts::of("mox_address");
    verdicts.each(&rows, |verdicts, row| {
        let input = text(row, "input");
        let address = if text(row, "fn").contains("Localpart") {
            format!("{input}@test.example")
        } else {
            input.to_owned()
        };
        let parsed = Mailbox::parse(&address, AddressRules::STRICT);
        let agrees = parsed.is_ok() == row["valid"].as_bool().unwrap();
        verdicts.check(&input.escape_debug().to_string(), agrees, || format!("{parsed:?}"));
    });
    verdicts.done();
}

/// What a real server said to EHLO. Where a line in the middle has no `-` it is more than one reply
/// (RFC 5321, section 4.2.1).
fn check_ehlo(said: &str) {
    let wire = crlf(said);
    let mut rest = wire.as_str();
    while !rest.is_empty() {
        let parsed = Reply::parse(rest.as_bytes())
            .unwrap()
            .unwrap_or_else(|| panic!("incomplete: {said:?}"));
        let (reply, tail) = rest.split_at(parsed.len());
        check_ehlo_reply(&parsed, reply);
        rest = tail;
    }
}

/// All of it is kept, and known keywords are known, however it arrives.
fn check_ehlo_reply(parsed: &Reply<'_>, wire: &str) {
    let capabilities = Capabilities::of(parsed);
    let lines: Vec<&str> =
        wire.lines().skip(1).map(|line| line.get(4..).unwrap_or_default()).collect();
    let seen: Vec<(&str, &str)> = capabilities.iter().collect();
    assert_eq!(seen.len(), lines.len(), "{wire:?}");
    for (line, (keyword, parameters)) in lines.iter().zip(seen) {
        assert_eq!(
            line.replacen('=', " ", 1).trim_end(),
            format!("{keyword} {parameters}").replacen('=', " ", 1).trim_end()
        );
        if let Some(extension) = Extension::of(keyword) {
            assert!(capabilities.has(extension), "{keyword}");
            assert!(extension.keyword().eq_ignore_ascii_case(keyword));
        }
    }
    let starttls = lines.iter().any(|line| line.trim_end().eq_ignore_ascii_case("STARTTLS"));
    assert_eq!(capabilities.has(Extension::StartTls), starttls);
    for pieces in fragmentations() {
        assert_eq!(parse_in(&pieces, wire.as_bytes()), Ok(Some(wire.as_bytes().to_vec())));
    }

    let script = format!("220 mx\r\n{wire}");
    for rules in [TlsRules::Never, TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED] {
        let whole = client_against(script.as_bytes(), &[usize::MAX], rules, 1);
        let sent = String::from_utf8_lossy(&whole.1);
        assert_eq!(sent.contains("STARTTLS"), starttls && rules != TlsRules::Never);
        assert_eq!(
            sent.contains("MAIL"),
            rules == TlsRules::Never || rules == TlsRules::OPPORTUNISTIC && !starttls
        );
        for pieces in fragmentations() {
            assert_eq!(client_against(script.as_bytes(), &pieces, rules, 1), whole);
        }
    }
}

#[test]
fn corpus_ehlo_wild() {
    let Some(rows) = corpus("ehlo_wild") else { return };
    let mut verdicts = Verdicts::of("ehlo_wild");
    verdicts.each(&rows, |_, row| {
        check_ehlo(text(row, "reply"));
        if let Some(greeting) = row["greeting"].as_str() {
            check_greeting(&crlf(greeting));
        }
    });
    verdicts.done();
}

#[test]
fn corpus_ehlo_harvest() {
    let Some(rows) = corpus("ehlo_harvest_free") else { return };
    let mut verdicts = Verdicts::of("ehlo_harvest_free");
    verdicts.each(&rows, |_, row| check_ehlo(text(row, "reply")));
    verdicts.done();
}

fn check_greeting(wire: &str) {
    for pieces in fragmentations() {
        assert_eq!(
            parse_in(&pieces, wire.as_bytes()),
            Ok(Some(wire.as_bytes().to_vec())),
            "{wire:?}"
        );
        let (events, sent) = client_against(wire.as_bytes(), &pieces, TlsRules::REQUIRED, 1);
        assert_eq!((events, &sent[..]), (vec![], &b"EHLO client.test.example\r\n"[..]), "{wire:?}");
    }
}

#[test]
fn corpus_recog_banners() {
    let Some(rows) = corpus("recog_banners") else { return };
    let mut verdicts = Verdicts::of("recog_banners");
    verdicts.each(&rows, |_, row| {
        let banner = text(row, "banner_text_after_220").replace("\r\n", "\n");
        let mut lines = banner.trim_end_matches('\n').split('\n').peekable();
        let mut wire = String::new();
        while let Some(line) = lines.next() {
            let line = line.strip_prefix("220-").or(line.strip_prefix("220 ")).unwrap_or(line);
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            wire += &format!("220{mark}{line}\r\n");
        }
        check_greeting(&wire);
    });
    verdicts.done();
}

/// Verbs and parameters of extensions that are not part of `Command` yet.
const OTHER_VERBS: [&str; 2] = ["ATRN", "XFORWARD"];
const OTHER_PARAMETERS: [&str; 4] = ["MTRK", "RRVS", "SOLICIT", "TRANSID"];

fn is_covered(line: &str) -> bool {
    let mut words = line.trim_end().split(' ').map(str::to_ascii_uppercase);
    let verb = words.next().unwrap();
    let is =
        |word: &str, keyword: &str| word == keyword || word.starts_with(&format!("{keyword}="));
    let other = |word: String| OTHER_PARAMETERS.iter().any(|keyword| is(&word, keyword));
    !(OTHER_VERBS.contains(&verb.as_str())
        || matches!(verb.as_str(), "MAIL" | "RCPT") && words.any(other))
}

/// Whether the line is a command, all of whose parameters have a meaning.
fn is_understood(line: &[u8]) -> bool {
    match Command::parse(line, AddressRules::STRICT) {
        Ok(Command::Mail { parameters, .. }) => parameters.unknown().next().is_none(),
        Ok(Command::Rcpt { parameters, .. }) => parameters.unknown().next().is_none(),
        Ok(Command::Unknown { .. }) | Err(_) => false,
        Ok(_) => true,
    }
}

/// What a server that has seen EHLO, and for RCPT a MAIL, answers to a line, and which events it
/// has.
fn answer(line: &str, pieces: &[usize]) -> (Vec<String>, String) {
    let mut config = server_config();
    (config.starttls, config.size_limit) = (StartTls::Offered, Some(1 << 40));
    (config.smtputf8, config.dsn, config.deliver_by) = (true, true, Some(0));
    (config.chunking, config.mt_priority) = (true, Some(String::new()));
    let mut bed = ServerBed::new(config);
    bed.feed(b"EHLO c\r\n");
    if line.to_ascii_uppercase().starts_with("RCPT") {
        bed.feed(b"MAIL FROM:<>\r\n");
    }
    bed.said();
    let wire = format!("{line}\r\n");
    let (mut rest, mut events) = (wire.as_bytes(), Vec::new());
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
        events.extend(bed.feed(piece));
        rest = tail;
    }
    (events, bed.said())
}

#[test]
fn corpus_smtp_proto_commands() {
    let Some(rows) = corpus("smtp_proto_commands") else { return };
    let mut verdicts = Verdicts::of("smtp_proto_commands");
    verdicts.each(&rows, |verdicts, row| {
        if !is_covered(text(row, "cmd")) {
            return;
        }
        let line = text(row, "cmd").trim_end_matches(['\r', '\n']);
        let agrees = is_understood(line.as_bytes()) == row["ok"].as_bool().unwrap();
        verdicts.check(line, agrees, || {
            format!("{:?}", Command::parse(line.as_bytes(), AddressRules::STRICT))
        });
        let whole = answer(line, &[usize::MAX]);
        for pieces in fragmentations() {
            assert_eq!(answer(line, &pieces), whole, "{line}");
        }
    });
    verdicts.done();
}

#[test]
fn corpus_smtp_proto_responses() {
    let Some(rows) = corpus("smtp_proto_responses") else { return };
    let mut verdicts = Verdicts::of("smtp_proto_responses");
    verdicts.each(&rows, |verdicts, row| {
        let raw = text(row, "raw");
        let wire = raw.replace("\r\n", "\n").replace('\n', "\r\n");
        let parsed = Reply::parse(wire.as_bytes());
        let agrees = match (&parsed, row["code"].as_u64()) {
            (Ok(Some(reply)), Some(code)) => {
                let enhanced = reply
                    .enhanced()
                    .map(|it| [it.class.into(), it.subject.into(), it.detail.into()]);
                let expected: Vec<u64> =
                    row["esc"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
                let prefix = reply.enhanced().map_or(String::new(), |it| format!("{it} "));
                let lines = reply.lines().map(|line| {
                    let line = String::from_utf8_lossy(line);
                    line.strip_prefix(&prefix).unwrap_or(&line).to_owned()
                });
                u64::from(reply.code()) == code
                    && enhanced.unwrap_or([0; 3]) == expected[..]
                    && lines.collect::<Vec<_>>().join("\n") == text(row, "message")
            }
            (Ok(None) | Err(_), None) => true,
            _ => false,
        };
        verdicts.check(&raw.escape_debug().to_string(), agrees, || format!("{parsed:?}"));
        let whole = parsed.map(|reply| reply.map(|reply| reply.as_bytes().to_vec()));
        for pieces in fragmentations() {
            assert_eq!(parse_in(&pieces, wire.as_bytes()), whole);
        }
    });
    verdicts.done();
}

fn next_reply(said: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = Reply::parse(said).unwrap()?.len();
    Some(said.drain(..length).collect())
}

/// A dialogue of another server's tests; the class of each reply must be the same (RFC 5321,
/// section 4.2.1: the first digit is what a client acts on). None where it needs an extension, or a
/// step that is not in the row.
fn dialogue(row: &Value, bytewise: bool) -> Option<Result<(), String>> {
    let steps = row["steps"].as_array()?;
    let setup: Vec<&str> = row["setup"].as_array()?.iter().filter_map(Value::as_str).collect();
    let covered = steps.iter().all(|step| is_covered(text(step, "send")));
    if !covered || steps.first()?.get("send").is_none() {
        return None;
    }
    let mut config = changed(server_config(), |it| {
        it.smtputf8 = true;
        it.dsn = true;
        it.chunking = true;
        it.binary_mime = true;
        it.auth_in_clear = true;
    });
    config.mechanisms = vec![plain()];
    let mut bed = ServerBed::new(config);
    bed.authority = |question| {
        let (user, password) = ("username".to_owned(), Secret::from("password"));
        let is_known = *question == Question::Password { user: user.clone(), password };
        Some(if is_known { Answer::Accepted(user) } else { Answer::Refused })
    };
    // One row has a handler that fails.
    let fails = |step: &Value| {
        ["expect_prefix", "expect_exact"].iter().any(|it| text(step, it).contains("I failed"))
    };
    if steps.iter().any(fails) {
        bed = bed.answering(
            |event| matches!(event, ServerEvent::Data),
            Response::fixed(555, (5, 0, 0), "I failed"),
        );
    }
    match setup[..] {
        ["testServerGreeted"] => drop(bed.feed(b"")),
        ["testServerEhlo"] => drop(bed.feed(b"EHLO localhost\r\n")),
        ["testServerAuthenticated"] => {
            // PLAIN of `username` and `password`.
            bed.feed(b"EHLO localhost\r\nAUTH PLAIN AHVzZXJuYW1lAHBhc3N3b3Jk\r\n");
            assert!(bed.server.identity().is_some());
        }
        _ => return None,
    }
    bed.said();
    let mut said = Vec::new();
    for step in steps {
        if let Some(sent) = step["send"].as_str() {
            if bytewise {
                bed.feed_bytewise(sent.as_bytes())
            } else {
                bed.feed(sent.as_bytes())
            };
            said.append(&mut bed.output);
        } else {
            // The text of a reply is its server's own, so of a whole line, too, the class counts.
            let expected = step["expect_prefix"].as_str().or(step["expect_exact"].as_str());
            let Some(expected) = expected else {
                return Some(Err(format!("a step that is not known: {step}")));
            };
            let mut reply = next_reply(&mut said)?;
            // Some rows leave out the go-ahead.
            if reply.starts_with(b"354") && !expected.starts_with('3') {
                reply = next_reply(&mut said)?;
            }
            if reply[0] != expected.as_bytes()[0] {
                return Some(Err(format!("expected {expected}, came {}", reply.escape_ascii())));
            }
        }
    }
    Some(Ok(()))
}

#[test]
fn corpus_gosmtp_server_scripts() {
    let Some(rows) = corpus("gosmtp_server_scripts") else { return };
    let mut verdicts = Verdicts::of("gosmtp_server_scripts");
    verdicts.each(&rows, |verdicts, row| {
        for bytewise in [false, true] {
            if let Some(result) = dialogue(row, bytewise) {
                verdicts.check(text(row, "test"), result.is_ok(), || result.unwrap_err());
            }
        }
    });
    verdicts.done();
}

/// The rows are prose with wire text in it. Client: from each reply code on, the text is what the
/// server says to STARTTLS. Server: each part is a line of the client.
#[test]
fn corpus_starttls_attacks() {
    let Some(rows) = corpus("starttls_attacks") else { return };
    let mut verdicts = Verdicts::of("starttls_attacks");
    verdicts.each(&rows, |_, row| {
        let wire = text(row, "wire").replace("\\r", "\r").replace("\\n", "\n");
        if text(row, "side") == "client" {
            let bytes = wire.as_bytes();
            let is_code = |at: usize| {
                at + 3 <= bytes.len()
                    && bytes[at..at + 3].iter().all(u8::is_ascii_digit)
                    && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric())
            };
            for at in (0..bytes.len()).filter(|&at| is_code(at)) {
                attack_client(&crlf(&wire[at..]));
            }
        } else {
            attack_server(wire.split([',', ';', '\n']).map(str::trim));
        }
    });
    verdicts.done();
}

fn attack_client(reply: &str) {
    let script = format!("220 mx\r\n250-mx\r\n250 STARTTLS\r\n{reply}");
    for pieces in fragmentations() {
        let (events, sent) = client_against(script.as_bytes(), &pieces, TlsRules::REQUIRED, 1);
        let allowed = ["EHLO client.test.example", "STARTTLS", "QUIT"];
        assert!(
            String::from_utf8(sent).unwrap().lines().all(|line| allowed.contains(&line)),
            "{reply:?}"
        );
        assert!(!events.contains(&"Ready".to_owned()));
        let (events, sent) = client_against(script.as_bytes(), &pieces, TlsRules::OPPORTUNISTIC, 1);
        let granted = reply.starts_with("220");
        assert_eq!(
            String::from_utf8(sent).unwrap().contains("MAIL"),
            !granted && events.contains(&"Ready".to_owned())
        );
    }
    // Silence in place of the handshake.
    let mut bed = ClientBed::new(TlsRules::REQUIRED);
    bed.feed(script.as_bytes());
    bed.now += std::time::Duration::from_secs(3600);
    bed.feed(b"");
    assert!(bed.want.is_err());
}

fn attack_server<'l>(lines: impl Iterator<Item = &'l str>) {
    let mut config = server_config();
    config.starttls = StartTls::Offered;
    let mut bed = ServerBed::new(config);
    bed.feed(b"EHLO c\r\n");
    for line in lines {
        bed.feed(format!("{line}\r\n").as_bytes());
        if bed.want == Ok(smtp_proto::Want::Handshake) {
            bed.shake();
            for command in ["MAIL FROM:<>", "RCPT TO:<a@test.example>", "DATA"] {
                bed.said();
                assert!(bed.ask(format!("{command}\r\n").as_bytes()).starts_with("503"), "{line}");
            }
        }
    }
}
