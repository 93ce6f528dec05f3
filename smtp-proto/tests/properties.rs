//! What holds for any input: write and parse are inverse, fragmentation changes nothing, nothing
//! panics.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{ServerBed, changed, client_against, server_config};
use proptest::prelude::*;
use smtp_proto::channel::Channel;
use smtp_proto::client::Client;
use smtp_proto::fallback::{TlsFailure, TlsRules};
use smtp_proto::server::{Server, ServerConfig, ServerEvent, StartTls};
use smtp_proto::wire::capabilities::{Capabilities, Extension};
use smtp_proto::wire::command::{Command, Hello, Queue, Uri, Xclient, XclientName, XclientValue};
use smtp_proto::wire::params::{MailParameters, Parameters, RcptParameters, Xtext};
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::path::{Domain, ForwardPath, Mailbox, ReversePath};
use smtp_proto::wire::reply::{Reply, ReplyParser, Response};
use smtp_proto::{Step, Want};

fn label() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9\u{fc}]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?"
}

fn domain() -> impl Strategy<Value = String> {
    let name = prop::collection::vec(label(), 1..5).prop_map(|labels| labels.join("."));
    let v4 = any::<std::net::Ipv4Addr>().prop_map(|address| format!("[{address}]"));
    let v6 = any::<std::net::Ipv6Addr>().prop_map(|address| format!("[IPv6:{address}]"));
    prop_oneof![4 => name, 1 => v4, 1 => v6]
}

fn local() -> impl Strategy<Value = String> {
    let atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\u{e4}-]{1,8}";
    let dots = prop::collection::vec(atom, 1..4).prop_map(|atoms| atoms.join("."));
    let quoted = prop::collection::vec(prop_oneof!["[ !#-\\[\\]-~\u{e4}]", "\\\\[ -~]"], 0..20)
        .prop_map(|parts| format!("\"{}\"", parts.concat()));
    prop_oneof![3 => dots, 1 => quoted]
}

fn mailbox() -> impl Strategy<Value = String> {
    (local(), domain()).prop_map(|(local, domain)| format!("{local}@{domain}"))
}

fn parameters() -> impl Strategy<Value = String> {
    let other = "X[A-Za-z0-9-]{0,8}(=[!-<>-~]{1,12})?";
    let size = (0u64..).prop_map(|size| format!("SIZE={size}"));
    let body = prop_oneof![Just("BODY=8BITMIME".to_owned()), Just("body=7bit".to_owned())];
    (prop::option::of(size), prop::option::of(body), prop::collection::vec(other, 0..3)).prop_map(
        |(size, body, others)| {
            size.into_iter().chain(body).chain(others).collect::<Vec<_>>().join(" ")
        },
    )
}

fn written(command: &Command<'_>) -> Vec<u8> {
    let mut output = Vec::new();
    command.write(&mut output);
    output
}

/// What was written is one line, and reads as what was meant.
fn comes_back(command: Command<'_>) -> Result<(), TestCaseError> {
    let line = written(&command);
    let text = line.strip_suffix(b"\r\n").expect("a command ends in CRLF");
    prop_assert!(!text.contains(&b'\r') && !text.contains(&b'\n') && !text.contains(&0));
    prop_assert_eq!(
        Command::parse(text, AddressRules::STRICT),
        Ok(command),
        "{}",
        line.escape_ascii()
    );
    Ok(())
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..20, 1..20)
}

/// Bytes that look like what a peer says, now and then.
fn babble(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

const SERVER_WORDS: &[&str] = &[
    "220 mx\r\n",
    "250 OK\r\n",
    "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    "250-mx\r\n250 PIPELINING\r\n",
    "250-x\r\n",
    "250",
    "-",
    " ",
    "354 go\r\n",
    "421 bye\r\n",
    "454 no\r\n",
    "550 5.1.1 no\r\n",
    "502 what?\r\n",
    "221 bye\r\n",
    "\r\n",
    "\r",
    "\n",
    "220 go\r\n",
];

const CLIENT_WORDS: &[&str] = &[
    "EHLO c\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@test.example>\r\n",
    "RCPT TO:<b@test.example>\r\n",
    "DATA\r\n",
    "STARTTLS\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "VRFY x\r\n",
    ".\r\n",
    "..x\r\n",
    "text\r\n",
    "\r\n.\r\n",
    "\r",
    "\n",
    "MAIL FROM:<> SIZE=10\r\n",
    "x",
    "NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
    "NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "\ry\r\n",
    "BDAT 4 LAST\r\n",
    "BDAT 3\r\nx\r\n",
    "BURL imap://test.example/1\r\n",
    "BURL imap://test.example/2 LAST\r\n",
    "ETRN test.example\r\n",
    "XCLIENT NAME=a\r\n",
    "MAIL FROM:<a@test.example> SMTPUTF8 BODY=BINARYMIME\r\n",
];

/// What a server says and sees, and the octets of the messages that came to their end.
fn server_trace(config: &ServerConfig, wire: &[u8], pieces: &[usize]) -> (String, Vec<u8>, String) {
    let mut bed = ServerBed::new(config.clone());
    let (mut events, mut body, mut stored) = (String::new(), Vec::new(), Vec::new());
    let mut rest = wire;
    let mut sizes = pieces.iter().copied().cycle();
    loop {
        let (piece, tail) = rest.split_at(sizes.next().unwrap().min(rest.len()));
        rest = tail;
        bed.input.extend_from_slice(piece);
        loop {
            let Ok(progress) = bed.server.poll(&bed.input, &mut bed.output, bed.now) else {
                let error = bed.server.poll(b"", &mut bed.output, bed.now).unwrap_err();
                return (format!("{events} {error:?}"), stored, bed.said());
            };
            let consumed = progress.consumed;
            assert!(consumed <= bed.input.len());
            let mut wait = None;
            let mut response = None;
            match progress.step {
                Step::Wait(want) => wait = Some(want),
                // How much of a refused message is seen before its flaw depends on the reads, and
                // may.
                Step::Event(ServerEvent::Body(runs)) => {
                    runs.for_each(|run| body.extend_from_slice(run))
                }
                Step::Event(event) => {
                    match event {
                        ServerEvent::BodyRefused(_) => body.clear(),
                        ServerEvent::EndOfBody => stored.append(&mut body),
                        _ => {}
                    }
                    events += &format!("{event:?}\n");
                    response = common::wants_answer(&event).then(|| common::accept(&event));
                }
            }
            bed.input.drain(..consumed);
            if let Some(response) = response {
                bed.server.respond(&response, &mut bed.output).unwrap();
            }
            match wait {
                None => {}
                // Whether bytes after STARTTLS come with it or later decides which replies may
                // still follow.
                Some(Want::Handshake) => return (events, stored, String::new()),
                Some(_) => break,
            }
        }
        if rest.is_empty() {
            let ended = bed.server.handle_eof();
            return (format!("{events} {ended:?}"), stored, bed.said());
        }
    }
}

proptest! {
    #[test]
    fn paths_come_back(text in mailbox()) {
        let Ok(mailbox) = Mailbox::parse(&text, AddressRules::STRICT) else {
            prop_assert!(text.len() > 254 || text.find('@').is_some_and(|at| at > 64) || text.starts_with('"'));
            return Ok(());
        };
        prop_assert_eq!(mailbox.as_str(), &text);
        prop_assert_eq!(format!("{}@{}", mailbox.local(), mailbox.domain()), text.as_str());
        let owned = mailbox.clone().into_owned();
        prop_assert_eq!(&owned, &mailbox);
        let domain = mailbox.domain();
        prop_assert_eq!(Domain::parse(domain.as_str()), Ok(domain.clone()));
        comes_back(Command::Mail { path: ReversePath::Mailbox(mailbox.clone()), parameters: MailParameters::default() })?;
        comes_back(Command::Rcpt { path: ForwardPath::Mailbox(mailbox), parameters: RcptParameters::default() })?;
        let routed = format!("@a.example,@[192.0.2.1],@[IPv6:::1]:{text}");
        prop_assert_eq!(ForwardPath::parse(&routed, AddressRules::STRICT), ForwardPath::parse(&text, AddressRules::STRICT));
    }

    #[test]
    fn parameters_come_back(text in parameters()) {
        let mail = MailParameters::parse(&text).unwrap();
        comes_back(Command::Mail { path: ReversePath::Null, parameters: mail.clone() })?;
        let parameters = RcptParameters::parse(&text).unwrap();
        comes_back(Command::Rcpt { path: ForwardPath::Local("Postmaster".into()), parameters })?;
        // Typed fields without the text are written, and read as the same.
        let typed = changed(mail.clone(), |it| it.all = Parameters::default());
        let line = written(&Command::Mail { path: ReversePath::Null, parameters: typed });
        let Ok(Command::Mail { parameters, .. }) = Command::parse(line.trim_ascii_end(), AddressRules::STRICT) else { panic!() };
        prop_assert_eq!((parameters.size, parameters.body), (mail.size, mail.body));
    }

    #[test]
    fn commands_come_back(name in "[!-~\u{fc}]{1,30}", text in "[!-~\u{fc}]([ -~\t\u{fc}]{0,30}[!-~])?") {
        for command in [
            Command::Ehlo(&name), Command::Helo(&name), Command::StartTls, Command::Data, Command::Rset, Command::Quit,
            Command::Noop(&text), Command::Noop(""), Command::Help(&text),
            Command::Vrfy { text: &text, smtputf8: false }, Command::Vrfy { text: &text, smtputf8: true },
            Command::Expn { text: &text, smtputf8: false }, Command::Expn { text: &text, smtputf8: true },
            Command::Etrn(Queue::Named("uucp")), Command::Etrn(Queue::Subdomains(Domain::parse("test.example").unwrap())),
            Command::Help(""), Command::Unknown { verb: "XYZZY", argument: &text },
            Command::Mail { path: ReversePath::Null, parameters: MailParameters::default() },
        ] {
            comes_back(command)?;
        }
    }

    #[test]
    fn proxies_come_back(
        text in "[!-*,-<>-~]{1,20}", number in any::<u16>(), address in any::<u128>(), four in any::<u32>(), there in any::<u8>(),
    ) {
        let encoded = Xtext::encode(text.as_bytes());
        let text = Xtext::parse(&encoded).unwrap();
        let some = |bit: u8| there >> bit & 1 == 0;
        let mut sent = Xclient::default();
        sent.name = some(0).then_some(XclientValue::Value(text));
        sent.addr = some(1).then_some(XclientValue::Value(std::net::IpAddr::V6(address.into())));
        sent.port = some(2).then_some(XclientValue::Value(number));
        sent.proto = some(3).then_some(Hello::Ehlo);
        sent.helo = some(4).then_some(XclientValue::TemporarilyUnavailable);
        sent.login = some(5).then_some(XclientValue::Unavailable);
        sent.dest_addr = some(6).then_some(XclientValue::Value(std::net::IpAddr::V4(four.into())));
        sent.dest_port = Some(XclientValue::Value(number));
        comes_back(Command::Xclient(sent.clone()))?;
        prop_assert_eq!(sent.names().count(), 1 + (0..7).filter(|&bit| some(bit)).count());
    }

    #[test]
    fn uris_come_back(scheme in "[a-z][a-z0-9+.-]{0,8}", rest in "[!$-;=?-Z_a-z~\\[\\]]{1,40}", last in any::<bool>()) {
        let text = format!("{scheme}:{rest}");
        let uri = Uri::parse(&text).unwrap();
        prop_assert!(uri.is_scheme(&scheme.to_ascii_uppercase()));
        comes_back(Command::Burl { uri, last })?;
    }

    /// Whatever is put into a command, one line comes out.
    #[test]
    fn a_written_command_is_one_line(text in ".{0,20}\\PC{0,5}[\r\n\0\u{7f}]{0,3}.{0,20}") {
        for command in [Command::Ehlo(&text), Command::Noop(&text), Command::Help(&text),
            Command::Vrfy { text: &text, smtputf8: true }, Command::Unknown { verb: &text, argument: &text }] {
            let line = written(&command);
            let text = line.strip_suffix(b"\r\n").unwrap();
            prop_assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }

    /// Any line either fails, or reads as something that comes back.
    #[test]
    fn any_line(line in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "(MAIL FROM|RCPT TO|EHLO|NOOP|VRFY|ETRN|BURL|XCLIENT NAME=|XCLIENT ADDR=) ?:? ?<?[ -~]{0,40}>?[ -~]{0,10}".prop_map(String::into_bytes),
    ]) {
        if let Ok(command) = Command::parse(&line, AddressRules::STRICT) {
            comes_back(command)?;
        }
    }

    #[test]
    fn responses_read_as_what_was_said(code in 200u16..600, text in "[ -~\u{fc}\n]{0,1200}") {
        let code = if code / 100 == 3 { 250 } else { code };
        let mut server = Server::new(Arc::new(server_config()), Channel::Plain, Instant::now());
        let mut wire = Vec::new();
        server.close(&Response::new(code, ((code / 100) as u8, 1, 23), text.clone()), &mut wire);
        let reply = Reply::parse(&wire).unwrap().unwrap();
        prop_assert_eq!(reply.len(), wire.len());
        prop_assert_eq!(reply.code(), code);
        prop_assert_eq!(reply.enhanced().unwrap().to_string(), format!("{}.1.23", code / 100));
        let said: String = reply.lines().map(|line| std::str::from_utf8(&line[7..]).unwrap()).collect();
        prop_assert_eq!(said, text.replace('\n', ""));
        prop_assert!(wire.split_inclusive(|&byte| byte == b'\n').all(|line| line.len() <= 512));
    }

    #[test]
    fn replies_in_pieces(wire in babble(SERVER_WORDS), cut in pieces()) {
        let whole = Reply::parse(&wire).map(|reply| reply.map(|reply| reply.as_bytes().to_vec()));
        let mut parser = ReplyParser::default();
        let mut end = 0;
        for piece in cut.iter().cycle() {
            end = (end + piece).min(wire.len());
            match parser.parse(&wire[..end]) {
                Ok(None) if end == wire.len() => {
                    prop_assert_eq!(whole, Ok(None));
                    break;
                }
                Ok(None) => {}
                Ok(Some(reply)) => {
                    prop_assert_eq!(whole, Ok(Some(reply.as_bytes().to_vec())));
                    let capabilities = Capabilities::of(&reply);
                    // Lines that are not UTF-8 are left out.
                    let readable = reply.lines().skip(1).filter(|line| std::str::from_utf8(line).is_ok());
                    prop_assert_eq!(capabilities.iter().count(), readable.count());
                    prop_assert_eq!(
                        capabilities.has(Extension::StartTls),
                        capabilities.iter().any(|(keyword, _)| keyword.eq_ignore_ascii_case("starttls"))
                    );
                    break;
                }
                Err(error) => {
                    prop_assert_eq!(whole, Err(error));
                    break;
                }
            }
        }
    }

    #[test]
    fn a_client_does_not_see_fragments(wire in babble(SERVER_WORDS), cut in pieces(), mails in 0usize..3) {
        for rules in [TlsRules::Never, TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED] {
            let whole = client_against(&wire, &[usize::MAX], rules, mails);
            prop_assert_eq!(&client_against(&wire, &cut, rules, mails), &whole);
            prop_assert_eq!(&client_against(&wire, &[1], rules, mails), &whole);
        }
    }

    #[test]
    fn a_server_does_not_see_fragments(wire in babble(CLIENT_WORDS), cut in pieces()) {
        for starttls in [StartTls::No, StartTls::Offered, StartTls::Required] {
            let mut config = server_config();
            config.starttls = starttls;
            config.size_limit = Some(20);
            config.limits.command_line = 40;
            config.limits.errors = 5;
            // Bytes after STARTTLS are refused either way; the reply depends on the read.
            let trace = |pieces: &[usize]| {
                let (events, body, said) = server_trace(&config, &wire, pieces);
                if events.contains("StartTls") {
                    (events.split("StartTls").next().unwrap().to_owned(), body, String::new())
                } else {
                    (events, body, said)
                }
            };
            let whole = trace(&[usize::MAX]);
            prop_assert_eq!(&trace(&cut), &whole);
            prop_assert_eq!(&trace(&[1]), &whole);
        }
    }

    /// After RSET the server remembers nothing of the transaction, however it ended.
    #[test]
    fn no_transaction_leaks_into_the_next(wire in babble(CLIENT_WORDS)) {
        let mut config = server_config();
        (config.chunking, config.binary_mime, config.smtputf8) = (true, true, true);
        (config.etrn, config.burl, config.xclient) = (true, Some("imap".into()), vec![XclientName::Name]);
        config.limits.errors = usize::MAX;
        config.limits.unknown_commands = usize::MAX;
        config.limits.recipient_domains = Some(1);
        config.limits.recipients = 1;
        let mut bed = ServerBed::new(config);
        bed.feed(&wire);
        // Whatever is open is closed: a chunk, a body, a line.
        for _ in 0..6 {
            bed.feed(b"\r\n.\r\n");
        }
        bed.feed(b"EHLO c\r\nRSET\r\n");
        bed.said();
        prop_assume!(bed.want == Ok(Want::Input));
        let events = bed.feed("RCPT TO:<a@test.example>\r\nMAIL FROM:<>\r\nRCPT TO:<\u{fc}@other.example>\r\nDATA\r\n\
            RCPT TO:<b@other.example>\r\nDATA\r\nx\r\n.\r\n".as_bytes());
        prop_assert_eq!(events, ["Mail <>", "Recipient <b@other.example>", "Data", "Body x\\r\\n", "EndOfBody"]);
        let codes: Vec<String> = bed.said().lines().map(|line| line[..3].to_owned()).collect();
        prop_assert_eq!(codes, ["503", "250", "553", "554", "250", "354", "250"]);
    }

    /// Every call in any order, on any bytes: nothing panics, nothing is consumed that is not
    /// there, nothing spins.
    #[test]
    fn no_order_of_calls_panics(wire in babble(SERVER_WORDS), calls in prop::collection::vec(any::<u8>(), 0..60)) {
        let now = Instant::now();
        let mut client = Client::new(Arc::new(common::client_config()), TlsRules::OPPORTUNISTIC, Channel::Plain, now);
        let mut server = Server::new(Arc::new(server_config()), Channel::Plain, now);
        let (mut input, mut output) = (&wire[..], Vec::new());
        for call in calls {
            match call % 19 {
                16 => drop(client.command(Command::Vrfy { text: "a", smtputf8: false }, now)),
                17 => drop(client.xclient(&Xclient::default(), now)),
                18 => drop(client.write_uri(Uri::parse("imap:x").unwrap(), call > 100, &mut output, now)),
                0..5 => {
                    if let Ok(progress) = client.poll(input, &mut output, now) {
                        prop_assert!(progress.consumed <= input.len());
                        input = &input[progress.consumed..];
                    }
                }
                5 => drop(client.start_transaction(Arc::new(common::envelope("", &["a@test.example"])), now)),
                6 => drop(client.write_body(&wire, &mut output, now)),
                7 => drop(client.end_body(&mut output, now)),
                8 => drop(client.quit()),
                9 => drop(client.tls_established(common::tls_info(), now)),
                10 => drop(client.connection_lost()),
                11 => drop(if call > 128 { client.handle_eof().is_ok() } else { client.is_in_doubt() }),
                12 => drop(if call > 200 { Some(client.tls_failed(TlsFailure::Untrusted)) } else { None }),
                13 => drop(server.poll(input, &mut output, now).is_ok()),
                14 => drop(server.respond(&Response::fixed(250, (2, 0, 0), "x"), &mut output)),
                _ => drop(server.tls_established(common::tls_info(), now)),
            }
            let _ = (client.deadline(), client.phase(), server.deadline(), server.phase());
        }
    }
}
