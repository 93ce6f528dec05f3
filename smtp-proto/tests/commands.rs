//! Every command in every state of the server: `golden/commands.txt`, written to be read.

mod common;

use std::fmt::Write as _;

use common::{ServerBed, golden, mechanisms, server_config, tls_info};
use smtp_proto::channel::Channel;
use smtp_proto::server::{ServerEvent, StartTls};
use smtp_proto::wire::command::XclientName;
use smtp_proto::wire::reply::Response;

const INTRODUCTION: &str = "\
# What the server makes of every command in every state.
#
# A cell is what the server says by itself (reply code and enhanced code), or the event that asks the caller for the
# response, or both. `closed`: the connection ends. `-`: this state cannot be reached.
# The columns are the server's STARTTLS settings; inside TLS the first column is a connection with implicit TLS.
#
# Read against: order of commands RFC 5321, sections 4.1.4 and 3.3 (503; 554 to DATA without a recipient); 4.2.4 (500, 501, 502);
# 3.1 (after a 554 greeting 503 to everything but QUIT); 2.3.8 (a line ends in CRLF only); RFC 3207, section 4 (STARTTLS takes
# no argument: 501; 530 to everything but NOOP, EHLO, STARTTLS and QUIT) and 4.2 (inside TLS nothing from before counts,
# and STARTTLS is not available: 503); enhanced codes RFC 3463, section 3; AUTH RFC 4954, section 4 (503 in a transaction and after a
# success, 504 for a mechanism that is not offered, 501 for a response that is not base64, 500 for one that is too long)
# and 6 (538 outside TLS).
";

const COMMANDS: [(&str, &[u8]); 31] = [
    ("EHLO", b"EHLO client.test.example\r\n"),
    ("HELO", b"HELO client.test.example\r\n"),
    ("LHLO", b"LHLO client.test.example\r\n"),
    ("STARTTLS", b"STARTTLS\r\n"),
    ("STARTTLS argument", b"STARTTLS now\r\n"),
    ("MAIL", b"MAIL FROM:<a@test.example>\r\n"),
    ("RCPT", b"RCPT TO:<b@test.example>\r\n"),
    ("DATA", b"DATA\r\n"),
    ("BDAT", b"BDAT 3\r\nx\r\n"),
    ("BDAT LAST", b"BDAT 3 LAST\r\nx\r\n"),
    ("BURL LAST", b"BURL imap://test.example/1 LAST\r\n"),
    ("ETRN", b"ETRN test.example\r\n"),
    ("XCLIENT", b"XCLIENT NAME=c.test.example\r\n"),
    ("AUTH", b"AUTH PLAIN\r\n"),
    ("AUTH unknown", b"AUTH CRAM-MD5\r\n"),
    ("malformed AUTH", b"AUTH\r\n"),
    ("RSET", b"RSET\r\n"),
    ("NOOP", b"NOOP\r\n"),
    ("QUIT", b"QUIT\r\n"),
    ("VRFY", b"VRFY b\r\n"),
    ("EXPN", b"EXPN list\r\n"),
    ("HELP", b"HELP\r\n"),
    ("unknown", b"XYZZY plugh\r\n"),
    ("malformed MAIL", b"MAIL FROM:<a@@test.example>\r\n"),
    ("malformed ETRN", b"ETRN two words\r\n"),
    ("malformed XCLIENT", b"XCLIENT NAME\r\n"),
    ("malformed BURL", b"BURL no-uri\r\n"),
    ("empty line", b"\r\n"),
    ("overlong line", &[b'N'; 4096]),
    ("bare LF", b"NOOP\n"),
    ("bare CR", b"NOOP\rRSET\r\n"),
];

struct State {
    title: &'static str,
    tls: bool,
    script: &'static [u8],
}

const STATES: [State; 14] = [
    State { title: "the greeting is not answered yet", tls: false, script: b"" },
    State { title: "greeted", tls: false, script: b"" },
    State { title: "after EHLO", tls: false, script: b"EHLO c\r\n" },
    State { title: "after HELO", tls: false, script: b"HELO c\r\n" },
    State { title: "after MAIL", tls: false, script: b"EHLO c\r\nMAIL FROM:<>\r\n" },
    State {
        title: "after RCPT",
        tls: false,
        script: b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@test.example>\r\n",
    },
    State {
        title: "in the body, and what the dot then leads to",
        tls: false,
        script: b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@test.example>\r\nDATA\r\n",
    },
    State {
        title: "between two chunks",
        tls: false,
        script: b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@test.example>\r\nBDAT 3\r\nx\r\n",
    },
    State {
        title: "after a chunk that was refused",
        tls: false,
        script: b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<x@test.example>\r\nBDAT 2\r\n\n\n",
    },
    State { title: "after a 554 greeting", tls: false, script: b"" },
    State { title: "inside TLS, before EHLO", tls: true, script: b"" },
    State { title: "inside TLS, after EHLO", tls: true, script: b"EHLO c\r\n" },
    State { title: "inside TLS, in an exchange", tls: true, script: b"EHLO c\r\nAUTH PLAIN\r\n" },
    State {
        title: "inside TLS, authenticated",
        tls: true,
        // PLAIN of `user` and `pencil`.
        script: b"EHLO c\r\nAUTH PLAIN AHVzZXIAcGVuY2ls\r\n",
    },
];

/// A server in the given state; none if the client cannot bring it there.
fn reach(state: &State, starttls: StartTls) -> Option<ServerBed> {
    let mut config = server_config();
    config.starttls = starttls;
    (config.chunking, config.etrn, config.burl) = (true, true, Some("imap".into()));
    config.xclient = vec![XclientName::Name];
    config.mechanisms = mechanisms();
    let implicit = state.tls && starttls == StartTls::No;
    let channel = if implicit { Channel::Implicit(tls_info()) } else { Channel::Plain };
    let mut bed = ServerBed::on(config, channel);
    match state.title {
        "the greeting is not answered yet" => return Some(bed),
        "after a 554 greeting" => {
            bed = bed.answering(
                |event| matches!(event, ServerEvent::Connected),
                Response::fixed(554, (5, 0, 0), "no"),
            );
        }
        _ => {}
    }
    bed.feed(b"");
    if state.tls && !implicit {
        bed.feed(b"EHLO c\r\nSTARTTLS\r\n");
        bed.shake();
    }
    bed.said();
    // The chunk goes with its command.
    let chunk = state.script.windows(4).position(|it| it == b"BDAT").unwrap_or(state.script.len());
    let (lines, chunk) = state.script.split_at(chunk);
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let reply = bed.ask(line);
        if !reply.starts_with(['2', '3']) {
            return None;
        }
    }
    let taken = bed.ask(chunk);
    assert!(
        chunk.is_empty()
            || taken.starts_with(if state.title.contains("refused") { "554" } else { "250" })
    );
    Some(bed)
}

fn cell(state: &State, starttls: StartTls, command: &[u8]) -> String {
    let Some(mut bed) = reach(state, starttls) else { return "-".into() };
    if state.title.starts_with("the greeting") {
        // The caller has not answered `Connected`: nothing may be parsed.
        let (mut output, mut events) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let progress = bed.server.poll(command, &mut output, bed.now).unwrap();
            assert_eq!(progress.consumed, 0);
            events.push(format!("{:?}", progress.step));
        }
        assert_eq!(events, ["Event(Connected)", "Wait(Caller)", "Wait(Caller)"]);
        assert_eq!(output, b"");
        return "waits".into();
    }
    let mut events = bed.feed(command);
    if command.iter().all(|&byte| byte == b'N') {
        events.extend(bed.feed(b"\r\n"));
    }
    if state.title.starts_with("in the body") {
        events.extend(bed.feed(b"\r\n.\r\n"));
    }
    let asked =
        events.iter().any(|event| !matches!(event.as_str(), "Reset" | "Closed" | "BodyRefused"));
    let mut parts: Vec<String> = Vec::new();
    let said = bed.said();
    for event in &events {
        let name = event.split([' ', '(']).next().unwrap();
        match name {
            "Closed" => parts.push("closed".into()),
            "Body" if parts.iter().any(|part| part == "Body") => {}
            name => parts.push(name.into()),
        }
    }
    let refusals = ["BodyRefused", "AuthenticationFailed"];
    let refused =
        events.iter().any(|event| refusals.iter().any(|refusal| event.starts_with(refusal)));
    if !asked || refused {
        let last = said.lines().last().unwrap();
        let mut words = last.split(' ');
        let code = words.next().unwrap();
        let enhanced = words.next().filter(|word| word.split('.').count() == 3).unwrap_or("");
        parts.insert(0, format!("{code} {enhanced}").trim_end().into());
    }
    parts.join(" ")
}

#[test]
fn every_command_in_every_state() {
    let mut table = String::from(INTRODUCTION);
    for state in &STATES {
        writeln!(table, "\n## {}\n", state.title).unwrap();
        writeln!(
            table,
            "{:<20}{:<32}{:<32}Required",
            "",
            if state.tls { "implicit" } else { "No" },
            "Offered"
        )
        .unwrap();
        for (name, command) in COMMANDS {
            let [no, offered, required] = [StartTls::No, StartTls::Offered, StartTls::Required]
                .map(|starttls| cell(state, starttls, command));
            writeln!(table, "{name:<20}{no:<32}{offered:<32}{required}").unwrap();
        }
    }
    golden("commands.txt", &table);
}
