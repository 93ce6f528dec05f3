//! When mail may be sent in clear text: `golden/fallback.txt`, and real clients driven into each
//! of its rows.

mod common;

use std::fmt::Write as _;
use std::sync::Arc;

use common::{ClientBed, client_config, envelope, golden, tls_info};
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientEvent};
use smtp_proto::error::Error;
use smtp_proto::fallback::{ClearText, Fallback, TlsFailure, TlsRules, after};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::reply::Reply;
use smtp_proto::{Step, Want};

const INTRODUCTION: &str = "\
# What `fallback::after` answers.
#
# same:  go on in clear text on this connection
# hello: TLS with the plainest ClientHello on a new connection to the same address and port
# new:   clear text on a new connection to the same address and port
# later: clear text on a later run of the queue
# no:    never in clear text; the next host
#
# Columns: TlsRules::Never; TlsRules::Opportunistic with every yield Now, Later, Never;
# TlsRules::Required. Where clear text is wished (Never) it is `same`,
# whatever is said to have failed; every other row that cannot happen on a channel answers `no`. S4 and
# so on are the rows of the policy's decision table. The rows S10 hold with `retry_plain_hello`, the
# rows S10b without it: after the plainest ClientHello. It has no effect on the other rows.
";

const FAILURES: [(&str, TlsFailure); 12] = [
    ("TLS not wanted", TlsFailure::NotWanted),
    ("S4 STARTTLS not offered", TlsFailure::NotOffered),
    ("S7 STARTTLS refused, 4yz", TlsFailure::Refused { transient: true }),
    ("S8 STARTTLS refused, 5yz", TlsFailure::Refused { transient: false }),
    ("S9 STARTTLS 3yz, or 2yz but not 220", TlsFailure::UnexpectedReply),
    ("S6 plaintext after the 220", TlsFailure::Injected),
    ("S10 handshake failed", TlsFailure::Handshake),
    ("S10b handshake failed again", TlsFailure::Handshake),
    ("S11 certificate does not count", TlsFailure::Untrusted),
    ("S13 EHLO refused inside TLS", TlsFailure::HelloInside),
    ("S15 lost before the final dot", TlsFailure::Lost { end_of_data_sent: false }),
    ("S15 lost after the final dot", TlsFailure::Lost { end_of_data_sent: true }),
];

fn opportunistic(refused: ClearText, broken: ClearText, untrusted: ClearText) -> TlsRules {
    TlsRules::Opportunistic {
        refused,
        broken,
        untrusted,
        retry_plain_hello: false,
        tls_elsewhere: false,
    }
}

fn columns(retry_plain_hello: bool) -> [TlsRules; 5] {
    use ClearText::{Later, Never, Now};
    let columns = [
        TlsRules::Never,
        opportunistic(Now, Now, Now),
        opportunistic(Later, Later, Later),
        opportunistic(Never, Never, Never),
        TlsRules::REQUIRED,
    ];
    columns.map(|mut rules| {
        match &mut rules {
            TlsRules::Never => {}
            TlsRules::Opportunistic { retry_plain_hello: retry, .. }
            | TlsRules::Required { retry_plain_hello: retry } => *retry = retry_plain_hello,
        }
        rules
    })
}

fn word(fallback: Fallback) -> &'static str {
    match fallback {
        Fallback::RetryPlainHello => "hello",
        Fallback::ContinuePlaintext => "same",
        Fallback::ReconnectPlaintext => "new",
        Fallback::PlaintextNextRun => "later",
        Fallback::Forbidden => "no",
    }
}

#[test]
fn decision_table() {
    let mut table = String::from(INTRODUCTION);
    for (title, channel, tls_elsewhere) in [
        ("clear text, STARTTLS not yet done", Channel::Plain, false),
        ("the same, and another address is still to be tried for TLS (S4b)", Channel::Plain, true),
        ("inside TLS after STARTTLS", Channel::StartTls(tls_info()), false),
        ("implicit TLS", Channel::Implicit(tls_info()), false),
    ] {
        writeln!(table, "\n## {title}\n\n{:<36}Never  Now    Later  Hold   Required", "").unwrap();
        for (name, failure) in FAILURES {
            let retry = name.starts_with("S10 ");
            let answers = |retry, tls_elsewhere| {
                columns(retry)
                    .map(|it| after(it.with_tls_elsewhere(tls_elsewhere), &channel, failure))
            };
            let expected = answers(retry, tls_elsewhere);
            if failure != TlsFailure::Handshake {
                assert_eq!(answers(true, tls_elsewhere), expected, "{name}");
            }
            if channel.tls().is_some() {
                assert_eq!(answers(retry, true), expected, "{name}");
            }
            let [never, now, later, hold, required] = expected.map(word);
            writeln!(table, "{name:<36}{never:<7}{now:<7}{later:<7}{hold:<7}{required}").unwrap();
        }
    }
    golden("fallback.txt", &table);
}

/// Each yield governs its own failures and no others.
#[test]
fn yields_do_not_mix() {
    use ClearText::{Never, Now};
    let inside = Channel::StartTls(tls_info());
    let refused = opportunistic(Now, Never, Never);
    let broken = opportunistic(Never, Now, Never);
    let untrusted = opportunistic(Never, Never, Now);
    let transient = TlsFailure::Refused { transient: true };
    assert_eq!(after(refused, &Channel::Plain, transient), Fallback::ContinuePlaintext);
    for failure in [TlsFailure::Injected, TlsFailure::Handshake] {
        assert_eq!(after(broken, &Channel::Plain, failure), Fallback::ReconnectPlaintext);
        assert_eq!(after(refused, &Channel::Plain, failure), Fallback::Forbidden);
        assert_eq!(after(untrusted, &Channel::Plain, failure), Fallback::Forbidden);
    }
    for channel in [&Channel::Plain, &inside] {
        assert_eq!(after(untrusted, channel, TlsFailure::Untrusted), Fallback::ReconnectPlaintext);
        assert_eq!(after(broken, channel, TlsFailure::Untrusted), Fallback::Forbidden);
        assert_eq!(after(refused, channel, TlsFailure::Untrusted), Fallback::Forbidden);
    }
    assert_eq!(after(broken, &Channel::Plain, transient), Fallback::Forbidden);
}

const OFFERED: &str = "220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n";

/// A client that has sent STARTTLS.
fn asking(rules: TlsRules) -> ClientBed {
    let mut bed = ClientBed::new(rules);
    assert_eq!(bed.feed(OFFERED.as_bytes()), [""; 0]);
    assert_eq!(bed.said(), "EHLO client.test.example\r\nSTARTTLS\r\n");
    bed
}

/// A client that waits for the handshake.
fn shaking(rules: TlsRules) -> ClientBed {
    let mut bed = asking(rules);
    assert_eq!(bed.feed(b"220 go\r\n"), [""; 0]);
    assert_eq!(bed.want, Ok(Want::Handshake));
    bed
}

/// A client that is in a transaction inside TLS and was asked for the body.
fn inside(rules: TlsRules) -> ClientBed {
    let mut bed = shaking(rules);
    bed.shake();
    bed.feed(b"250-mx\r\n250 PIPELINING\r\n");
    bed.start(&["a@test.example"]);
    bed.feed(b"250 OK\r\n250 OK\r\n354 go\r\n");
    bed
}

const DETERMINISTIC: TlsRules = TlsRules::OPPORTUNISTIC;

/// One row of the policy rules: how the client gets there, and what it must answer where TLS is
/// optional and where it is required. Only rows S10 ask for the plainest ClientHello at first.
fn row(
    name: &str,
    drive: impl Fn(TlsRules) -> (String, Fallback),
    opportunistic: Fallback,
    event: &str,
) {
    for (rules, fallback) in
        [(DETERMINISTIC, opportunistic), (TlsRules::REQUIRED, Fallback::Forbidden)]
    {
        let (seen, answer) = drive(rules.without_plain_hello());
        assert_eq!((seen.as_str(), answer), (event, fallback), "{name}");
        let (seen, answer) = drive(rules);
        let fallback = if name.starts_with("S10") { Fallback::RetryPlainHello } else { fallback };
        assert_eq!((seen.as_str(), answer), (event, fallback), "{name}, at first");
    }
}

/// The failure and the fallback of the one `NoTls` event.
fn no_tls(bed: &mut ClientBed, bytes: &[u8]) -> (String, Fallback) {
    let mut rest = bytes;
    loop {
        // One reply after the other, unless it is a handshake that must come next.
        if bed.input.is_empty() && !rest.is_empty() {
            let length = match Reply::parse(rest) {
                Ok(Some(reply)) if !reply.to_string().starts_with("220 go") => reply.len(),
                _ => rest.len(),
            };
            bed.input.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
        let progress = bed.client.poll(&bed.input, &mut bed.output, bed.now).unwrap();
        match progress.step {
            Step::Event(ClientEvent::NoTls { failure, fallback, .. }) => {
                return (failure.to_string(), fallback);
            }
            Step::Event(event) => panic!("{event:?}"),
            Step::Wait(want) => assert!(want == Want::Handshake || !rest.is_empty(), "no event"),
        }
        bed.input.drain(..progress.consumed);
    }
}

fn told(failure: Option<(TlsFailure, Fallback)>) -> (String, Fallback) {
    let (failure, fallback) = failure.unwrap();
    (failure.to_string(), fallback)
}

#[test]
fn clients_reach_every_row() {
    use Fallback::{ContinuePlaintext, Forbidden, ReconnectPlaintext};
    row(
        "S2: EHLO not known",
        |rules| no_tls(&mut ClientBed::new(rules), b"220 mx\r\n502 what?\r\n"),
        ContinuePlaintext,
        "STARTTLS is not offered",
    );
    row(
        "S4: not offered",
        |rules| no_tls(&mut ClientBed::new(rules), b"220 mx\r\n250-mx\r\n250 SIZE\r\n"),
        ContinuePlaintext,
        "STARTTLS is not offered",
    );
    row(
        "S6: bytes after the 220, in the same read",
        |rules| no_tls(&mut asking(rules), b"220 go\r\n250 mx\r\n"),
        ReconnectPlaintext,
        "plaintext came after the 220 to STARTTLS",
    );
    row(
        "S6: bytes after the 220, in a later read",
        |rules| no_tls(&mut shaking(rules), b"\0"),
        ReconnectPlaintext,
        "plaintext came after the 220 to STARTTLS",
    );
    row(
        "S7: 4yz",
        |rules| no_tls(&mut asking(rules), b"454 not now\r\n"),
        ContinuePlaintext,
        "STARTTLS was refused for now",
    );
    row(
        "S8: 5yz",
        |rules| no_tls(&mut asking(rules), b"502 no\r\n"),
        ContinuePlaintext,
        "STARTTLS was refused",
    );
    for reply in [&b"250 ok\r\n"[..], b"221 bye\r\n", b"334 ok\r\n", b"354-go\r\n354 on\r\n"] {
        row(
            "S9: neither 220 nor a refusal",
            |rules| no_tls(&mut asking(rules), reply),
            ReconnectPlaintext,
            "STARTTLS was neither granted with 220 nor refused",
        );
    }
    row(
        "S10: alert",
        |rules| ("".into(), shaking(rules).client.tls_failed(TlsFailure::Handshake)),
        ReconnectPlaintext,
        "",
    );
    row(
        "S10: the connection breaks",
        |rules| told(shaking(rules).client.connection_lost()),
        ReconnectPlaintext,
        "the TLS handshake failed",
    );
    row(
        "S10: EOF",
        |rules| {
            let mut bed = shaking(rules);
            assert_eq!(bed.client.handle_eof(), Err(Error::Eof(Phase::Handshake)));
            told(bed.client.connection_lost())
        },
        ReconnectPlaintext,
        "the TLS handshake failed",
    );
    row(
        "S10: stall",
        |rules| {
            let mut bed = shaking(rules);
            bed.now = bed.client.deadline().unwrap();
            bed.feed(b"");
            assert_eq!(bed.want, Err(Error::Timeout(Phase::Handshake)));
            told(bed.client.connection_lost())
        },
        ReconnectPlaintext,
        "the TLS handshake failed",
    );
    row(
        "S10: the server's alert comes after the client's end of the handshake (TLS 1.3)",
        |rules| {
            let mut bed = shaking(rules);
            bed.shake();
            bed.feed(b"");
            told(bed.client.connection_lost())
        },
        ReconnectPlaintext,
        "the TLS handshake failed",
    );
    row(
        "S10: garbage in place of the EHLO reply inside TLS",
        |rules| {
            let mut bed = shaking(rules);
            bed.shake();
            bed.feed(b"\x15\x03\x03\x00\x02\x02\x28\r\n");
            assert!(bed.want.is_err_and(|error| error.is_misbehaviour()));
            told(bed.client.connection_lost())
        },
        ReconnectPlaintext,
        "the TLS handshake failed",
    );
    row(
        "S11: the certificate does not count",
        |rules| ("".into(), shaking(rules).client.tls_failed(TlsFailure::Untrusted)),
        ReconnectPlaintext,
        "",
    );
    for reply in
        [&b"502 what?\r\n"[..], b"454 not now\r\n", b"421 bye\r\n", b"554-no\r\n554 no\r\n"]
    {
        row(
            "S13: EHLO refused inside TLS",
            |rules| {
                let mut bed = shaking(rules);
                bed.shake();
                bed.feed(b"");
                no_tls(&mut bed, reply)
            },
            ReconnectPlaintext,
            "EHLO was refused inside TLS",
        );
    }
    row(
        "S15: lost in the body",
        |rules| told(inside(rules).client.connection_lost()),
        ReconnectPlaintext,
        "the TLS session was lost",
    );
    row(
        "S15: lost after the final dot",
        |rules| {
            let mut bed = inside(rules);
            bed.body(b"x\r\n");
            assert!(bed.client.is_in_doubt());
            assert_eq!(bed.client.handle_eof(), Err(Error::Eof(Phase::EndOfData)));
            told(bed.client.connection_lost())
        },
        Forbidden,
        "the TLS session was lost",
    );
}

/// A server that said 250 may have begun TLS.
#[test]
fn starttls_250_or_354_ends_connection_without_a_further_command() {
    for reply in ["250 go", "250-go\r\n250 on", "221 bye", "235 ok", "354 go", "334 "] {
        for rules in [TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED] {
            let mut bed = asking(rules);
            let fallback = after(rules, &Channel::Plain, TlsFailure::UnexpectedReply);
            let events = bed.feed(format!("{reply}\r\n250 OK\r\n").as_bytes());
            assert_eq!(events.last().unwrap(), "Closed", "{reply}");
            assert!(events[0].ends_with(&format!("-> {fallback:?}")), "{reply}: {events:?}");
            press(&mut bed);
            assert_eq!(bed.said(), "", "{reply}");
        }
    }
}

/// RFC 5321, section 4.2.1: there are no 1yz replies, so that this is no reply at all.
#[test]
fn starttls_1yz_is_an_error_and_no_way_to_clear_text() {
    for rules in [TlsRules::OPPORTUNISTIC, TlsRules::REQUIRED] {
        let mut bed = asking(rules);
        bed.feed(b"120 wait\r\n220 go\r\n");
        assert!(bed.want.is_err_and(|error| error.is_misbehaviour()), "{:?}", bed.want);
        assert_eq!(bed.client.connection_lost(), None);
        press(&mut bed);
        assert_eq!(bed.said(), "");
    }
}

/// S7 with its knob: deferred, or not at all.
#[test]
fn a_refusal_for_now_can_wait() {
    for (when, expected) in
        [(ClearText::Later, Fallback::PlaintextNextRun), (ClearText::Never, Fallback::Forbidden)]
    {
        let mut bed = asking(opportunistic(when, ClearText::Now, ClearText::Now));
        assert_eq!(no_tls(&mut bed, b"454 not now\r\n").1, expected);
        bed.input.clear();
        bed.feed(b"");
        assert_eq!(bed.said(), "QUIT\r\n");
        assert_eq!(bed.feed(b"221 bye\r\n"), ["Closed"]);
    }
}

/// Nothing to fall back from: the conversation is in clear text, or has ended, or the peer broke it
/// inside TLS.
#[test]
fn a_loss_elsewhere_is_no_matter_of_tls() {
    let mut bed = ClientBed::ready("250 mx\r\n");
    assert_eq!(bed.client.connection_lost(), None);

    // A server that hangs up before its 221, or instead of a TLS close_notify, has still taken the
    // message.
    for answered in [false, true] {
        let mut bed = inside(TlsRules::OPPORTUNISTIC);
        bed.body(b"x\r\n");
        assert_eq!(bed.feed(b"250 queued\r\n"), ["accepted: 250 queued"]);
        bed.client.quit().unwrap();
        bed.feed(if answered { b"221 bye\r\n" } else { b"" });
        assert_eq!(bed.client.connection_lost(), None);
    }

    let mut bed = inside(TlsRules::OPPORTUNISTIC);
    bed.feed(b"\0nonsense\r\n");
    assert!(bed.want.is_err_and(|error| error.is_misbehaviour()));
    assert_eq!(bed.client.connection_lost(), None);
}

/// RFC 8689, section 4.2.1: "the client MUST issue a QUIT".
#[test]
fn untrusted_server_gets_quit_inside_tls() {
    for (rules, fallback) in [
        (TlsRules::OPPORTUNISTIC, Fallback::ReconnectPlaintext),
        (TlsRules::REQUIRED, Fallback::Forbidden),
    ] {
        let mut bed = shaking(rules);
        bed.said();
        assert_eq!(bed.client.tls_untrusted(tls_info(), bed.now), Ok(fallback));
        assert_eq!(bed.ask(b""), "QUIT\r\n");
        assert!(
            bed.client
                .start_transaction(Arc::new(envelope("", &["a@b.example"])), bed.now)
                .is_err()
        );
        assert_eq!(bed.client.connection_lost(), None);
        assert_eq!(bed.feed(b"221 bye\r\n"), ["Closed"]);
        assert_eq!(bed.said(), "");
    }
    // Out of place it changes nothing.
    let mut bed = asking(TlsRules::OPPORTUNISTIC);
    assert!(bed.client.tls_untrusted(tls_info(), bed.now).is_err());
    assert_eq!(bed.ask(b"502 no\r\n"), "");
}

/// Implicit TLS: no ending of it may lead to clear text.
#[test]
fn implicit_tls_has_no_fallback() {
    let rules = TlsRules::OPPORTUNISTIC.without_plain_hello();
    let implicit = || ClientBed::with(client_config(), rules, Channel::Implicit(tls_info()));
    assert_eq!(
        implicit().client.connection_lost(),
        Some((TlsFailure::Handshake, Fallback::Forbidden))
    );
    assert_eq!(implicit().client.tls_failed(TlsFailure::Untrusted), Fallback::Forbidden);
    let mut bed = implicit();
    assert_eq!(bed.feed(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n"), ["Ready"]);
    assert_eq!(bed.said(), "EHLO client.test.example\r\n");
    assert_eq!(
        bed.client.connection_lost(),
        Some((TlsFailure::Lost { end_of_data_sent: false }, Fallback::Forbidden))
    );
}

/// Everything a hostile server can put in the way of a Required rule.
const WAYS_AROUND: [&[u8]; 22] = [
    b"220 mx\r\n250 mx\r\n",
    b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250-XXXXXXXA\r\n250 SIZE\r\n250 OK\r\n250 OK\r\n354 go\r\n250 OK\r\n",
    b"220 mx\r\n502 what?\r\n250 mx\r\n250 OK\r\n250 OK\r\n354 go\r\n250 OK\r\n",
    b"220 mx\r\n500 what?\r\n250 HELO\r\n250 OK\r\n",
    b"220 mx\r\n421 no\r\n",
    b"220 mx\r\n550 no\r\n250 mx\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n454 not now\r\n250 OK\r\n250 OK\r\n354 go\r\n250 OK\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n502 no\r\n250 OK\r\n250 OK\r\n354 go\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n250 OK\r\n250-mx\r\n250 PIPELINING\r\n250 OK\r\n354 go\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n354 go\r\n250 OK\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n421 bye\r\n250 OK\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n250-mx\r\n250 PIPELINING\r\n250 OK\r\n354 go\r\n250 OK\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220-go\r\n220 go\r\n250 mx\r\n354 go\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\n250 mx\r\n",
    b"220 mx\r\n250-mx\r\n250-STARTTLS\r\n250 X\r\n220 go\r\n",
    b"220 mx\r\n250-mx\r\n250 starttls\r\n220 go\r\n\x16\x03\x01",
    b"220 mx\r\n250-STARTTLS\r\n250 OK\r\n250 OK\r\n354 go\r\n",
    b"250 mx\r\n250 mx\r\n250 OK\r\n250 OK\r\n354 go\r\n250 OK\r\n",
    b"354 mx\r\n354 mx\r\n354 OK\r\n354 OK\r\n",
    b"554 no\r\n250 OK\r\n250 OK\r\n354 go\r\n",
    b"220 mx\r\n354 mx\r\n250 OK\r\n354 go\r\n",
    b"220 mx\r\n",
];

#[test]
fn required_never_sends_a_transaction_in_clear_text() {
    let allowed = ["EHLO client.test.example", "STARTTLS", "QUIT"];
    for script in WAYS_AROUND {
        for piece in [1, 2, 3, 7, usize::MAX] {
            for pipelining in [false, true] {
                let mut config = client_config();
                config.pipelining = pipelining;
                let rules = TlsRules::REQUIRED.without_plain_hello();
                let sent = push_through(config, rules, script, piece);
                let text = String::from_utf8(sent).unwrap();
                for line in text.lines() {
                    assert!(
                        allowed.contains(&line),
                        "{line:?} after {:?}",
                        script.escape_ascii().to_string()
                    );
                }
            }
        }
    }
}

/// Drives a client over `script` and tries at every step to get a message out.
fn push_through(
    config: smtp_proto::client::ClientConfig,
    rules: TlsRules,
    script: &[u8],
    piece: usize,
) -> Vec<u8> {
    let mut bed = ClientBed::with(config, rules, Channel::Plain);
    for part in script.chunks(piece.min(script.len())) {
        bed.feed(part);
        press(&mut bed);
        bed.feed(b"");
    }
    // Every ending, and pressing on after it.
    for ending in 0..4 {
        match ending {
            0 => drop(bed.client.handle_eof()),
            1 => assert_eq!(bed.client.tls_failed(TlsFailure::Handshake), Fallback::Forbidden),
            2 => assert!(
                bed.client
                    .connection_lost()
                    .is_none_or(|(_, fallback)| fallback == Fallback::Forbidden)
            ),
            _ => bed.now += std::time::Duration::from_secs(3600),
        }
        press(&mut bed);
        bed.feed(b"250 OK\r\n");
    }
    bed.output
}

fn press(bed: &mut ClientBed) {
    let mail = Arc::new(envelope("sender@test.example", &["a@test.example"]));
    let client: &mut Client = &mut bed.client;
    let _ = client.start_transaction(mail, bed.now);
    let _ = client.write_body(b"secret\r\n", &mut bed.output, bed.now);
    let _ = client.end_body(&mut bed.output, bed.now);
}
