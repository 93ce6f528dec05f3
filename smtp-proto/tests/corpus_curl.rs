//! The SMTP cases of curl's test suite. A row has the script of curl's test server, the lines that
//! curl says, and the message that it uploads: our server takes what that client says, and our
//! client says the same to that server.
//!
//! Rows are left out by their shape: AUTH, a real handshake, more than one connection or message,
//! servers that do more than answer; for our client also addresses that are none and bodies with
//! bare line ends, which it cannot be given.

mod common;

use std::sync::Arc;

use common::corpora::{Verdicts, corpus, crlf, fragmentations, text};
use common::{ClientBed, ServerBed, accept, client_config, server_config};
use serde_json::Value;
use smtp_proto::Step;
use smtp_proto::channel::Channel;
use smtp_proto::client;
use smtp_proto::client::Envelope;
use smtp_proto::error::ApiMisuse;
use smtp_proto::fallback::TlsRules;
use smtp_proto::server::{ServerEvent, StartTls};
use smtp_proto::wire::body::DotDecoder;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::params::MailParameters;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;

/// What a row says, as far as it is about one connection without AUTH.
struct Case {
    /// What the client says, line by line, with the message after DATA.
    lines: Vec<Vec<u8>>,
    /// The message with its stuffing and its end; none where there is no DATA.
    upload: Option<Vec<u8>>,
    /// EHLO keywords.
    capabilities: Vec<String>,
    /// What the server answers to a line, or to a verb: the code of the first reply, and all
    /// octets.
    replies: Vec<(String, u16, String)>,
    /// The message, or what would have become one.
    message: Vec<u8>,
}

/// The texts of the rows that are not ASCII were read as Latin-1.
fn octets(text: &str) -> Vec<u8> {
    let latin: Option<Vec<u8>> =
        text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
    latin
        .filter(|bytes| std::str::from_utf8(bytes).is_ok())
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

impl Case {
    fn of(row: &Value) -> Option<Self> {
        let protocol = octets(text(row, "protocol"));
        let lines: Vec<Vec<u8>> =
            protocol.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        let verbs: Vec<&[u8]> = lines
            .iter()
            .map(|line| line.split(|byte| byte.is_ascii_whitespace()).next().unwrap())
            .collect();
        let count = |verb: &[u8]| verbs.iter().filter(|it| it.eq_ignore_ascii_case(verb)).count();
        if count(b"EHLO") != 1
            || count(b"AUTH") > 0
            || !lines.iter().all(|line| line.ends_with(b"\r\n"))
        {
            return None;
        }
        let upload =
            row["upload"].as_str().map(octets).filter(|upload| upload.ends_with(b"\r\n.\r\n"));
        if count(b"DATA") > 1 || (count(b"DATA") == 1) != upload.is_some() {
            return None;
        }
        let starttls = count(b"STARTTLS") > 0;
        let mut decoder = DotDecoder::new();
        let (mut message, mut rest) = (Vec::new(), upload.as_deref().unwrap_or_default());
        while !rest.is_empty() {
            decoder.decode(&mut rest).append_to(&mut message);
        }
        if upload.is_none() {
            let file = row["files"][0]["data"].as_str().unwrap_or(text(row, "stdin"));
            message = crlf(file).into_bytes();
        }
        if decoder.defect().is_some() {
            return None;
        }
        let mut case =
            Self { lines, upload, capabilities: Vec::new(), replies: Vec::new(), message };
        for line in text(row, "servercmd").lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "CAPA" => case.capabilities.extend(keywords(rest)),
                "REPLY" => {
                    let (key, rest) = match rest.strip_prefix('"') {
                        Some(quoted) => quoted.split_once("\" ")?,
                        None => rest.split_once(' ')?,
                    };
                    let code = rest.get(..3)?.parse().ok()?;
                    let raw = rest.replace("\\r\\n", "\r\n").trim_end().to_owned() + "\r\n";
                    case.replies.push((key.to_owned(), code, raw));
                }
                "AUTH" => case.capabilities.push(line.to_owned()),
                "" => {}
                _ => return None,
            }
        }
        let tls = starttls && case.scripted("STARTTLS").is_none_or(|(code, _)| code == 220);
        (!tls).then_some(case)
    }

    /// What the server's script says to a line.
    fn scripted(&self, line: &str) -> Option<(u16, &str)> {
        let verb = line.split(' ').next().unwrap_or_default();
        let found = self
            .replies
            .iter()
            .find(|(key, ..)| key.eq_ignore_ascii_case(line) || key.eq_ignore_ascii_case(verb));
        found.map(|(_, code, raw)| (*code, raw.as_str()))
    }

    /// RFC 6531, sections 3.4 and 3.7.4.2: whether curl says in UTF-8 what must not be said without
    /// SMTPUTF8.
    fn violates_smtputf8(&self) -> bool {
        !self.has("SMTPUTF8") && !self.lines.iter().all(|line| line.is_ascii())
    }

    fn has(&self, keyword: &str) -> bool {
        self.capabilities
            .iter()
            .any(|line| line.split(' ').next().is_some_and(|it| it.eq_ignore_ascii_case(keyword)))
    }
}

/// `CAPA SIZE "AUTH PLAIN"`: words, or lines in quotes.
fn keywords(mut rest: &str) -> Vec<String> {
    let mut keywords = Vec::new();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        keywords.extend((!word.is_empty()).then(|| word.to_owned()));
        rest = tail.trim_start();
    }
    keywords
}

fn without_crlf(line: &[u8]) -> String {
    String::from_utf8(line.strip_suffix(b"\r\n").unwrap_or(line).to_vec()).unwrap()
}

/// The class of the answer that a line must have: what the script says, what a server that takes
/// everything says, or a refusal of what is no address.
fn class(case: &Case, line: &str) -> u16 {
    if let Some((code, _)) = case.scripted(line) {
        return code / 100;
    }
    match Command::parse(line.as_bytes(), AddressRules::STRICT) {
        Ok(Command::Data) => 3,
        Ok(Command::Vrfy { text, smtputf8 } | Command::Expn { text, smtputf8 }) => {
            // RFC 6531, section 3.7.4.2: not without the extension, and not without its parameter.
            if text.is_ascii() || smtputf8 && case.has("SMTPUTF8") { 2 } else { 5 }
        }
        Ok(Command::Mail { path, parameters }) => {
            let MailParameters { size, smtputf8, auth, .. } = parameters;
            let known = (size.is_none() || case.has("SIZE"))
                && (!smtputf8 || case.has("SMTPUTF8"))
                && auth.is_none();
            if known && (smtputf8 || path.as_str().is_ascii()) { 2 } else { 5 }
        }
        Ok(Command::Rcpt { path, .. }) => {
            if path.as_str().is_ascii() || case.has("SMTPUTF8") {
                2
            } else {
                5
            }
        }
        Ok(_) => 2,
        Err(_) => 5,
    }
}

/// Whether a handler can answer what the script says: each event has its codes, and the script's
/// EHLO keywords are its own.
fn can_be_served(case: &Case) -> bool {
    case.replies.iter().all(|(key, code, _)| match key.to_ascii_uppercase().as_str() {
        "DATA" => *code == 354 || *code >= 400,
        "WELCOME" => false,
        "EHLO" | "STARTTLS" => *code >= 400,
        _ => *code / 100 != 3,
    })
}

/// Our server against what curl says.
fn serve(case: &Case, pieces: &[usize]) -> Result<(), String> {
    let mut config = server_config();
    config.size_limit = case.has("SIZE").then_some(1 << 20);
    config.smtputf8 = case.has("SMTPUTF8");
    config.starttls = if case.has("STARTTLS") { StartTls::Offered } else { StartTls::No };
    let mut bed = ServerBed::new(config);
    let scripted: Vec<(String, Response)> = case
        .replies
        .iter()
        .map(|(key, code, raw)| {
            let words = raw.lines().next().and_then(|line| line.get(4..)).unwrap_or_default();
            (key.clone(), Response::new(*code, ((*code / 100) as u8, 0, 0), words.to_owned()))
        })
        .collect();
    bed.answer = Arc::new(move |event| {
        let verb = match event {
            ServerEvent::StartTls => "STARTTLS",
            ServerEvent::Hello { extended: true, .. } => "EHLO",
            ServerEvent::Hello { .. } => "HELO",
            ServerEvent::Mail { .. } => "MAIL",
            ServerEvent::Recipient { .. } => "RCPT",
            ServerEvent::Data => "DATA",
            ServerEvent::EndOfBody => ".",
            ServerEvent::Other(Command::Vrfy { .. }) => "VRFY",
            ServerEvent::Other(Command::Expn { .. }) => "EXPN",
            ServerEvent::Other(Command::Help(_)) => "HELP",
            _ => "",
        };
        let found = scripted.iter().find(|(key, _)| key.eq_ignore_ascii_case(verb));
        found.map_or_else(|| accept(event), |(_, response)| response.clone())
    });
    bed.feed(b"");
    bed.said();
    let mut feed = |bytes: &[u8]| {
        let (mut rest, mut sizes, mut body) = (bytes, pieces.iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            body.extend(bed.feed(piece));
            rest = tail;
        }
        (body, bed.said())
    };
    for line in &case.lines {
        let line_text = without_crlf(line);
        let (_, said) = feed(line);
        let wanted = class(case, &line_text);
        let got = said.lines().last().unwrap_or_default();
        if got.as_bytes().first() != Some(&(b'0' + wanted as u8)) {
            return Err(format!("{line_text:?} was answered with {got:?}, not {wanted}yz"));
        }
        if got.starts_with('3') {
            let (events, said) = feed(case.upload.as_deref().unwrap_or_default());
            let expected = format!("Body {}", case.message.escape_ascii());
            let body: String =
                events.iter().filter_map(|event| event.strip_prefix("Body ")).collect();
            if format!("Body {body}") != expected
                || events.last().is_none_or(|event| event != "EndOfBody")
            {
                return Err(format!("the message came as {events:?}"));
            }
            let wanted = case.scripted(".").map_or(2, |(code, _)| code / 100);
            if said.as_bytes().first() != Some(&(b'0' + wanted as u8)) {
                return Err(format!("the message was answered with {said:?}"));
            }
        }
    }
    Ok(())
}

/// What our client is to do for the lines that curl has said. None where it cannot be asked for
/// that.
struct Wish {
    rules: TlsRules,
    config: client::ClientConfig,
    mail: Option<Envelope>,
    commands: Vec<String>,
}

impl Wish {
    fn of(row: &Value, case: &Case) -> Option<Self> {
        let mut wish = Self {
            rules: TlsRules::Never,
            config: client_config(),
            mail: None,
            commands: Vec::new(),
        };
        for line in &case.lines {
            let line = without_crlf(line);
            match Command::parse(line.as_bytes(), AddressRules::STRICT) {
                Ok(Command::Ehlo(name)) => wish.config.name = name.parse().ok()?,
                Ok(Command::StartTls) => wish.rules = TlsRules::REQUIRED,
                Ok(Command::Helo(_) | Command::Quit | Command::Data) => {}
                Ok(Command::Mail { path, parameters }) => {
                    // What was asked for is in the command line, not in what came of it.
                    let mail = Envelope::relaying(path, &parameters);
                    let from_file = text(row, "command")
                        .split_once("-T ")
                        .is_some_and(|(_, rest)| !rest.starts_with('-'));
                    let size = from_file.then_some(case.message.len() as u64);
                    wish.mail = Some({
                        let mut envelope = mail;
                        envelope.size = size;
                        envelope
                    });
                }
                Ok(Command::Rcpt { path: ForwardPath::Mailbox(_), .. }) => {}
                Ok(_) => wish.commands.push(line),
                Err(_) => return None,
            }
        }
        let Some(mail) = &mut wish.mail else { return Some(wish) };
        let asked = String::from_utf8(octets(text(row, "command"))).ok()?;
        let mut names: Vec<&str> = asked
            .split("--mail-rcpt ")
            .skip(1)
            .filter_map(|it| it.split_whitespace().next())
            .collect();
        let said: Vec<String> = case.lines.iter().map(|line| without_crlf(line)).collect();
        // With SMTPUTF8 curl says A-labels all the same (RFC 6531, section 3.2 lets it), and ours
        // does not.
        if names.is_empty() || case.has("SMTPUTF8") {
            names = said
                .iter()
                .filter_map(|line| line.strip_prefix("RCPT TO:<")?.split('>').next())
                .collect();
        }
        for name in names {
            mail.recipients.push(name.parse().ok()?);
        }
        if mail.recipients.is_empty() {
            return None;
        }
        Some(wish)
    }
}

/// Curl's server: its reply to a line.
fn reply(case: &Case, line: &str) -> String {
    let verb = line.split(' ').next().unwrap_or_default();
    if let Some((_, raw)) = case.scripted(line) {
        return raw.to_owned();
    }
    match verb {
        "EHLO" => {
            let mut lines = vec!["mx.test.example".to_owned()];
            lines.extend(case.capabilities.iter().cloned());
            let last = lines.len() - 1;
            let mark = |at: usize| if at == last { ' ' } else { '-' };
            lines
                .iter()
                .enumerate()
                .map(|(at, line)| format!("250{}{line}\r\n", mark(at)))
                .collect()
        }
        "welcome" => "220 mx\r\n".into(),
        "DATA" => "354 go\r\n".into(),
        "QUIT" => "221 bye\r\n".into(),
        "VRFY" => "252 who knows\r\n".into(),
        "HELP" => "214 no\r\n".into(),
        _ => "250 OK\r\n".into(),
    }
}

/// Our client against curl's server: what it has said, and the misuse that it told of.
fn send(case: &Case, wish: Wish, pieces: &[usize]) -> (Vec<u8>, Vec<ApiMisuse>) {
    let mut bed = ClientBed::with(wish.config, wish.rules, Channel::Plain);
    let (mut mail, mut commands) = (wish.mail, wish.commands.into_iter());
    let (mut sent, mut misuse, mut unread) =
        (Vec::new(), Vec::new(), reply(case, "welcome").into_bytes());
    let mut sizes = pieces.iter().cycle();
    let mut seen = 0;
    let mut in_body = false;
    loop {
        let mut next = false;
        match bed.client.poll(&bed.input, &mut bed.output, bed.now) {
            Err(_) => return (sent, misuse),
            Ok(progress) => {
                let consumed = progress.consumed;
                match progress.step {
                    Step::Event(
                        client::ClientEvent::Ready
                        | client::ClientEvent::Finished(_)
                        | client::ClientEvent::Answered(_),
                    ) => {
                        next = true;
                    }
                    Step::Event(client::ClientEvent::SendBody) => {
                        bed.client.write_body(&case.message, &mut bed.output, bed.now).unwrap();
                        bed.client.end_body(&mut bed.output, bed.now).unwrap();
                    }
                    Step::Event(_) => {}
                    Step::Wait(_) => {
                        sent.append(&mut bed.output);
                        // The server answers each line, and the message once.
                        while let Some(at) = sent[seen..].iter().position(|&byte| byte == b'\n') {
                            let line = without_crlf(&sent[seen..=seen + at]);
                            seen += at + 1;
                            if !in_body || line == "." {
                                let answer = reply(case, &line);
                                in_body = answer.starts_with("354");
                                unread.extend_from_slice(answer.as_bytes());
                            }
                        }
                        if unread.is_empty() {
                            return (sent, misuse);
                        }
                        let piece = unread.len().min(*sizes.next().unwrap());
                        bed.input.extend(unread.drain(..piece));
                    }
                }
                bed.input.drain(..consumed);
            }
        }
        while next {
            next = false;
            if let Some(mail) = mail.take() {
                bed.client.start_transaction(Arc::new(mail), bed.now).unwrap();
            } else if let Some(line) = commands.next() {
                if let Err(error) = bed.client.command(
                    Command::parse(line.as_bytes(), AddressRules::STRICT).unwrap(),
                    bed.now,
                ) {
                    misuse.push(error);
                    next = true;
                }
            } else {
                let _ = bed.client.quit();
            }
        }
    }
}

/// Every line that curl says, and the message after DATA.
fn expected(case: &Case) -> Vec<u8> {
    let mut expected = Vec::new();
    for line in &case.lines {
        expected.extend_from_slice(line);
        if line.eq_ignore_ascii_case(b"DATA\r\n") {
            expected.extend_from_slice(case.upload.as_deref().unwrap_or_default());
        }
    }
    expected
}

#[test]
fn corpus_curl_smtp_server() {
    let Some(rows) = corpus("curl_smtp") else { return };
    let mut verdicts = Verdicts::of("curl_smtp");
    verdicts.each(&rows, |verdicts, row| {
        let Some(case) = Case::of(row).filter(can_be_served) else { return };
        let all = fragmentations().iter().find_map(|pieces| serve(&case, pieces).err());
        verdicts.check(&row["test"].to_string(), all.is_none(), || all.unwrap_or_default());
    });
    verdicts.done();
}

#[test]
fn corpus_curl_smtp_client() {
    let Some(rows) = corpus("curl_smtp") else { return };
    let mut verdicts = Verdicts::of("curl_smtp_client");
    verdicts.each(&rows, |verdicts, row| {
        let Some(case) = Case::of(row) else { return };
        for pieces in fragmentations() {
            let Some(wish) = Wish::of(row, &case) else { continue };
            let (sent, misuse) = send(&case, wish, &pieces);
            // Where curl breaks RFC 6531 ours says EHLO and QUIT, and what is missing.
            let lines = expected(&case);
            let is_kept = |line: &&[u8]| {
                !case.violates_smtputf8() || line.starts_with(b"EHLO") || line.starts_with(b"QUIT")
            };
            let wanted: Vec<u8> = lines
                .split_inclusive(|&byte| byte == b'\n')
                .filter(is_kept)
                .flatten()
                .copied()
                .collect();
            let refused = misuse.iter().all(|it| *it == ApiMisuse::NotOffered(Extension::SmtpUtf8));
            // RFC 5321, section 4.1.1.10: a client says QUIT; curl does not always where it fails.
            let quits = |sent: &[u8]| {
                sent.to_ascii_uppercase().strip_suffix(b"QUIT\r\n").map_or(sent.len(), <[u8]>::len)
            };
            let fails = !text(row, "errorcode").is_empty();
            let (ours, theirs) =
                if fails { (quits(&sent), quits(&wanted)) } else { (sent.len(), wanted.len()) };
            let agrees = refused && sent[..ours].eq_ignore_ascii_case(&wanted[..theirs]);
            let detail = || {
                format!("said {} for {}, {misuse:?}", sent.escape_ascii(), wanted.escape_ascii())
            };
            verdicts.check(&row["test"].to_string(), agrees, detail);
        }
    });
    verdicts.done();
}
