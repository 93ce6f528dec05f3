//! The stimuli of EAST ("Why TLS is better without STARTTLS"): servers that answer oddly around
//! STARTTLS.
//!
//! The rows say what the server does and not what should come of it. What must hold whatever it
//! does: no mail in clear text where TLS is required, nothing that was said before TLS used after
//! it, an end, and no panic.

mod common;

use std::time::Duration;

use common::ClientBed;
use common::corpora::{Verdicts, corpus};
use serde_json::Value;
use smtp_proto::Want;
use smtp_proto::fallback::{TlsFailure, TlsRules};

/// A server as a row describes it.
struct Server<'r> {
    row: &'r Value,
    in_tls: bool,
    /// What the client said inside TLS and outside of it, line by line.
    said: Vec<(bool, String)>,
}

/// Offered in clear text by every row here, and never inside TLS.
const BEFORE_TLS: &str = "X-BEFORE-TLS";

impl Server<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        self.row[name].as_str()
    }

    fn greeting(&self) -> String {
        self.field("greeting").unwrap_or("220 example.org\r\n").to_owned()
    }

    /// `StartTLS` and `Auth([Plain, Other("X")])` as a reply to EHLO.
    fn capabilities(&self) -> String {
        let listed = self
            .field(if self.in_tls { "capabilities_tls" } else { "capabilities_plain" })
            .unwrap_or_default();
        let mut lines = vec!["example.org".to_owned()];
        if !self.in_tls {
            lines.push(BEFORE_TLS.to_owned());
        }
        if listed.contains("StartTLS") {
            lines.push("STARTTLS".to_owned());
        }
        if let Some((_, mechanisms)) = listed.split_once("Auth([") {
            let names = mechanisms.split("])").next().unwrap_or_default().replace("Other(", "");
            let names: String = names.chars().filter(|c| !matches!(c, '"' | ')' | ',')).collect();
            lines.push(format!("AUTH {}", names.to_ascii_uppercase()));
        }
        let last = lines.len() - 1;
        let line = |(at, text): (usize, &String)| {
            format!("250{}{text}\r\n", if at == last { ' ' } else { '-' })
        };
        lines.iter().enumerate().map(line).collect()
    }

    /// The reply to a line of the client.
    fn reply(&mut self, line: &str) -> String {
        self.said.push((self.in_tls, line.to_owned()));
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let overridden = self.row["override_response"]
            .as_object()
            .and_then(|replies| {
                replies.iter().find(|(command, _)| command.eq_ignore_ascii_case(&verb))
            })
            .and_then(|(_, reply)| reply.as_str());
        if let Some(reply) = overridden {
            return reply.to_owned();
        }
        let hidden = self.row["hide_commands"].as_array().is_some_and(|commands| {
            commands.iter().any(|command| {
                command.as_str().is_some_and(|command| command.eq_ignore_ascii_case(&verb))
            })
        });
        match verb.as_str() {
            _ if hidden => "500 Syntax error, command unrecognized\r\n".to_owned(),
            "ehlo" => self.capabilities(),
            "starttls" => {
                self.field("stls_response").unwrap_or("220 Ready to start TLS\r\n").to_owned()
            }
            "data" => "354 go ahead\r\n".to_owned(),
            "quit" => "221 Bye\r\n".to_owned(),
            _ => "250 OK\r\n".to_owned(),
        }
    }
}

/// What the handshake comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    Succeeds,
    Fails,
    /// The certificate is for another host, or no trusted authority issued it.
    Untrusted,
}

/// Runs one conversation to its end, in pieces of so many octets.
fn converse(
    row: &Value,
    rules: TlsRules,
    handshake: Handshake,
    step: usize,
) -> Vec<(bool, String)> {
    let mut server = Server { row, in_tls: false, said: Vec::new() };
    let mut bed = ClientBed::new(rules);
    let mut reply = server.greeting();
    let mut started = false;
    for _ in 0..100 {
        let mut events = Vec::new();
        for piece in reply.as_bytes().chunks(step) {
            events.extend(bed.feed(piece));
        }
        reply.clear();
        if bed.want.is_err() {
            return server.said;
        }
        for event in &events {
            match event.as_str() {
                "Ready" if server.in_tls => {
                    let listed: Vec<_> = bed
                        .client
                        .capabilities()
                        .iter()
                        .map(|(keyword, _)| keyword.to_owned())
                        .collect();
                    assert!(
                        !listed.iter().any(|keyword| keyword == BEFORE_TLS),
                        "{row}: {listed:?}"
                    );
                }
                "SendBody" => bed.body(b"Subject: x\r\n\r\nx\r\n"),
                _ => {}
            }
            if event == "Ready" && !started {
                started = true;
                bed.start(&["reader@test.example"]);
            } else if event == "Ready"
                || event.starts_with("accepted")
                || event.starts_with("refused")
            {
                let _ = bed.client.quit();
            }
        }
        if bed.want == Ok(Want::Handshake) {
            let transition = row["make_tls_transition"] == true;
            match (handshake, transition) {
                (Handshake::Succeeds, true) => {
                    bed.shake();
                    server.in_tls = true;
                }
                (Handshake::Untrusted, true) => {
                    bed.client.tls_failed(TlsFailure::Untrusted);
                }
                (Handshake::Fails, _) | (_, false) => {
                    bed.client.tls_failed(TlsFailure::Handshake);
                }
            }
            bed.feed(b"");
        }
        events.extend(bed.feed(b""));
        let lines = bed.said();
        for line in lines.split_inclusive("\r\n") {
            let line = line.trim_end();
            // The body has no reply but that to its dot.
            if !matches!(line, "" | "Subject: x" | "x") {
                reply += &server.reply(line);
            }
        }
        if reply.is_empty() {
            // The server is silent: time ends it.
            if events.is_empty() {
                bed.now += Duration::from_secs(3600);
                bed.feed(b"");
                assert!(bed.want.is_err(), "{row}: it hangs after {:?}", server.said);
            }
        }
    }
    panic!("{row}: no end: {:?}", server.said);
}

#[test]
fn corpus_east_smtp_client() {
    let Some(rows) = corpus("east_smtp_client") else { return };
    let mut verdicts = Verdicts::of("east_smtp_client");
    verdicts.each(&rows, |_, row| {
        for handshake in [Handshake::Succeeds, Handshake::Fails, Handshake::Untrusted] {
            for step in [1, 7, usize::MAX] {
                let at = format!("{} {handshake:?} {step}", row["id"]);
                let said = converse(row, TlsRules::REQUIRED, handshake, step);
                for (in_tls, line) in &said {
                    let verb = line.split(' ').next().unwrap_or_default();
                    let harmless = matches!(verb, "EHLO" | "HELO" | "STARTTLS" | "QUIT");
                    assert!(*in_tls || harmless, "{at}: {line:?} in clear text");
                }
                assert!(
                    handshake == Handshake::Succeeds || said.iter().all(|(in_tls, _)| !in_tls),
                    "{at}: {said:?}"
                );
                // RFC 3207, section 4.2: EHLO again, and no second STARTTLS.
                let inside: Vec<_> =
                    said.iter().filter(|(in_tls, _)| *in_tls).map(|(_, line)| line).collect();
                assert!(
                    inside.first().is_none_or(|line| line.starts_with("EHLO")),
                    "{at}: {inside:?}"
                );
                assert!(inside.iter().all(|line| *line != "STARTTLS"), "{at}: {inside:?}");

                let said = converse(row, TlsRules::OPPORTUNISTIC, handshake, step);
                // After a handshake that failed both ends are in an unknown state: nothing more is
                // said there.
                if handshake != Handshake::Succeeds {
                    let granted = said.iter().position(|(_, line)| line == "STARTTLS");
                    let after = granted.map_or(&[][..], |at| &said[at + 1..]);
                    let granted = row["stls_response"].is_null()
                        && row["override_response"]["starttls"].is_null();
                    assert!(!granted || after.is_empty(), "{at}: {said:?}");
                }
                let said = converse(row, TlsRules::Never, handshake, step);
                assert!(said.iter().all(|(_, line)| line != "STARTTLS"), "{at}: {said:?}");
            }
        }
    });
    verdicts.done();
}

/// The bed itself: an ordinary server gets the mail inside TLS, and in clear text where that is
/// allowed.
#[test]
fn an_ordinary_server_gets_the_mail() {
    let row = serde_json::json!({
        "id": "ordinary",
        "capabilities_plain": "StartTLS",
        "capabilities_tls": "Auth([Plain])",
        "make_tls_transition": true,
    });
    let mail = |in_tls: bool| (in_tls, "MAIL FROM:<sender@test.example>".to_owned());
    assert!(converse(&row, TlsRules::REQUIRED, Handshake::Succeeds, 1).contains(&mail(true)));
    assert!(converse(&row, TlsRules::Never, Handshake::Succeeds, 1).contains(&mail(false)));
    let refuses = serde_json::json!({ "id": "refuses", "capabilities_plain": "StartTLS", "stls_response": "454 No\r\n" });
    assert!(
        converse(&refuses, TlsRules::OPPORTUNISTIC, Handshake::Fails, 1).contains(&mail(false))
    );
}
