//! Runs the rows of the decision table that are the conversation's to keep.

mod common;
/// The table belongs to the policy, which names the rules.
#[path = "../../smtp-tls-policy/tests/common/table.rs"]
mod table;

use std::sync::Arc;
use std::time::Duration;

use common::{ClientBed, ServerBed, client_config, server_config, tls_info};
use smtp_proto::Secret;
use smtp_proto::Want;
use smtp_proto::channel::{Channel, Peer};
use smtp_proto::fallback::{TlsFailure, TlsRules};
use smtp_proto::sasl::client::{AuthRefusal, ChannelFloor};
use smtp_proto::server::{ServerEvent, StartTls};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::reply::Response;
use table::section;

#[test]
fn conversations() {
    let mut wrong = Vec::new();
    for row in section("Conversations").1 {
        let [rule, script, columns @ ..] = &row[..] else { panic!("{row:?}") };
        let rules = [TlsRules::Never, TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED];
        assert_eq!(columns.len(), rules.len());
        for (rules, expected) in rules.into_iter().zip(columns) {
            let rules = match *rule {
                "S10b" => rules.without_plain_hello(),
                rule => rules.with_tls_elsewhere(rule == "S4b"),
            };
            let came = converse(script, rules);
            if came != *expected {
                wrong.push(format!("{rule}: {script}: {rules:?}: {came:?} and not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the client says to a script, and how it ends, in the words of the table.
fn converse(script: &str, rules: TlsRules) -> String {
    let mut bed = ClientBed::with(client_config(), rules, Channel::Plain);
    let (mut said, mut events) = (Vec::new(), Vec::new());
    let mut inside = None;
    for step in script.split("; ") {
        let over =
            bed.want.is_err() || events.iter().any(|event: &String| event.starts_with("Ready"));
        let handshake = bed.want == Ok(Want::Handshake);
        match step {
            "AUTH PLAIN" => {
                if let Some(end) = authenticate(&mut bed) {
                    return format!("{}: {end}", said.join(" "));
                }
            }
            // What the script holds for TLS does not come about without it.
            "fails" | "EOF" if handshake => events.push(failed(&mut bed)),
            "EOF" if over && !bed.client.has_written_secrets() => continue,
            "EOF" => match bed.client.connection_lost() {
                Some((failure, fallback)) => {
                    events.push(format!("no TLS: {failure} -> {fallback:?}"))
                }
                None => {
                    bed.want = bed.client.handle_eof().map(|()| Want::Input);
                }
            },
            "silence" => bed.now += Duration::from_secs(3600),
            // A driver shakes hands under this deadline.
            "stalls" if handshake => {
                assert!(bed.client.deadline().is_some_and(|deadline| deadline > bed.now));
                events.push(failed(&mut bed));
            }
            "TLS" if handshake => bed.shake(),
            "TLS unknown" if handshake => {
                let mut info = (*tls_info()).clone();
                info.peer = Peer::Unauthenticated;
                bed.client.tls_established(Arc::new(info), bed.now).unwrap();
            }
            "stalls" | "fails" | "TLS" | "TLS unknown" => continue,
            _ if over || handshake => continue,
            reply => {
                let reply = reply.replace('/', "\r\n") + "\r\n";
                inside = bed.client.channel().tls().map(|_| reply.clone());
                events.extend(bed.feed(reply.as_bytes()));
            }
        }
        events.extend(bed.feed(b""));
        let lines = bed.said();
        // RFC 3207, section 4.2, and S5: what is sent with STARTTLS is nothing.
        assert!(!lines.contains("STARTTLS\r\n") || lines.ends_with("STARTTLS\r\n"), "{lines:?}");
        said.extend(lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned));
    }
    if events.iter().any(|event| event == "Ready")
        && let Some(reply) = &inside
    {
        // Only what was said inside TLS counts.
        let listed: Vec<_> = bed.client.capabilities().iter().map(|(keyword, _)| keyword).collect();
        let wanted: Vec<_> =
            reply.lines().skip(1).map(|line| line[4..].split(' ').next().unwrap()).collect();
        assert_eq!(listed, wanted);
    }
    format!("{}: {}", said.join(" "), end(&bed, &events))
}

/// The handshake did.
fn failed(bed: &mut ClientBed) -> String {
    format!("no TLS -> {:?}", bed.client.tls_failed(TlsFailure::Handshake))
}

fn end(bed: &ClientBed, events: &[String]) -> String {
    let last = events.iter().rev().find(|event| *event != "Closed").map_or("", String::as_str);
    if let Some((_, fallback)) = last.split_once(" -> ") {
        match fallback {
            "RetryPlainHello" => return "TLS again".into(),
            "ReconnectPlaintext" => return "clear again".into(),
            "Forbidden" => return "next".into(),
            other => panic!("{other} decides nothing yet"),
        }
    }
    if let Some((_, reply)) =
        last.split_once("unwelcome at ").and_then(|(_, rest)| rest.split_once(": "))
    {
        return format!("next {}", &reply[..1]);
    }
    match (last, &bed.want, bed.client.channel()) {
        ("Ready", Ok(_), Channel::Plain) => "clear".into(),
        ("Ready", Ok(_), _) => "TLS".into(),
        (_, Ok(Want::Handshake), _) => "waits".into(),
        ("" | "Ready", Err(_), _) => "next".into(),
        other => {
            // STARTTLS was sent, and not answered yet.
            assert_eq!(bed.client.phase(), Phase::StartTls, "{other:?}");
            "waits".into()
        }
    }
}

/// Tells a client that is ready to authenticate; what becomes of it, if it does not begin.
fn authenticate(bed: &mut ClientBed) -> Option<&'static str> {
    if bed.client.phase() != Phase::Idle {
        return None;
    }
    let mechanism =
        common::auth::make::plain("", "user", &Secret::from("password".to_owned())).unwrap();
    match bed.client.authenticate(mechanism, ChannelFloor::default(), bed.now) {
        Ok(()) => None,
        Err(AuthRefusal::ClearText | AuthRefusal::UnauthenticatedPeer) => {
            bed.feed(b"");
            assert_eq!(bed.said(), "");
            Some("not sent")
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn serving() {
    for row in section("Serving").1 {
        let [rule, server, script, expected] = row[..] else { panic!("{row:?}") };
        let mut config = server_config();
        config.starttls = match server {
            "offers" | "fails" => StartTls::Offered,
            "requires" => StartTls::Required,
            "lacks" => StartTls::No,
            other => panic!("{other}"),
        };
        let mut bed = ServerBed::new(config);
        if server == "fails" {
            let response = Response::fixed(454, (4, 7, 0), "TLS not available");
            bed = bed.answering(|event| matches!(event, ServerEvent::StartTls), response);
        }
        bed.feed(b"");
        bed.said();
        let mut answers = Vec::new();
        for step in script.split("; ") {
            match step {
                "TLS" => bed.shake(),
                "barred" => bed.server.bar(Response::fixed(554, (5, 7, 0), "no")),
                lines => {
                    let answer = bed.ask((lines.replace('+', "\r\n") + "\r\n").as_bytes());
                    let (code, rest) = answer.split_at(3);
                    // The enhanced code where the rules name one.
                    let enhanced = rest[1..].split(' ').next().unwrap();
                    let enhanced = if enhanced == "5.7.0" { " 5.7.0" } else { "" };
                    let end = if lines != "QUIT" && bed.want.is_err() { " end" } else { "" };
                    answers.push(format!("{code}{enhanced}{end}"));
                }
            }
        }
        assert_eq!(answers.join("; "), expected, "{rule}: {server}: {script}");
    }
}
