//! What a server takes although the RFCs forbid it, by its settings. `CASES.md` lists the cases.

mod common;

use common::auth::decode as base64;
use common::corpora::corpus;
use common::{ClientBed, ServerBed, changed, envelope, mechanisms, server_config};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use smtp_proto::error::ApiMisuse;
use smtp_proto::server::{BareLineEnds, ServerConfig, StartTls, Tolerance};
use smtp_proto::wire::body::{BodyDefect, DotDecoder, DotEncoder, NulRule};
use smtp_proto::wire::params::Xtext;

const OPEN: &[u8] = b"EHLO c\r\nMAIL FROM:<a@test.example>\r\nRCPT TO:<b@test.example>\r\n";

/// A server of this tolerance that has read `script`.
fn after(tolerance: Tolerance, script: &[u8]) -> ServerBed {
    let mut bed = ServerBed::new(changed(server_config(), |it| {
        it.tolerance = tolerance;
        it.chunking = true;
    }));
    bed.feed(b"");
    bed.feed(script);
    bed.said();
    bed
}

fn bare_line_ends(rule: BareLineEnds) -> Tolerance {
    let mut tolerance = Tolerance::STRICT;
    tolerance.bare_line_ends = rule;
    tolerance
}

/// What came of a message.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    /// Its octets, escaped.
    message: String,
    /// The other events.
    events: Vec<String>,
    /// The last replies.
    said: String,
}

/// Feeds `wire` in pieces of these sizes, which are repeated.
fn receive(bed: &mut ServerBed, mut wire: &[u8], sizes: &[usize]) -> Received {
    let (mut message, mut events) = (String::new(), Vec::new());
    let mut sizes = sizes.iter().cycle();
    while !wire.is_empty() {
        let (piece, rest) = wire.split_at(wire.len().min(*sizes.next().expect("a cycle")));
        for event in bed.feed(piece) {
            match event.strip_prefix("Body ") {
                Some(run) => message.push_str(run),
                None => events.push(event),
            }
        }
        wire = rest;
    }
    Received { message, events, said: bed.said() }
}

fn after_data(rule: BareLineEnds, wire: &[u8], sizes: &[usize]) -> Received {
    let mut bed = after(bare_line_ends(rule), OPEN);
    assert!(bed.ask(b"DATA\r\n").starts_with("354"));
    receive(&mut bed, wire, sizes)
}

/// Sends `message` in chunks of these sizes, the bytes cut elsewhere.
fn in_chunks(
    rule: BareLineEnds,
    mut message: &[u8],
    chunks: &[usize],
    sizes: &[usize],
) -> Received {
    let mut wire = Vec::new();
    let mut chunks = chunks.iter().cycle();
    while !message.is_empty() {
        let (chunk, rest) = message.split_at(message.len().min(*chunks.next().expect("a cycle")));
        wire.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        message = rest;
    }
    wire.extend_from_slice(b"BDAT 0 LAST\r\n");
    let mut bed = after(bare_line_ends(rule), OPEN);
    let mut received = receive(&mut bed, &wire, sizes);
    received.said = received.said.lines().last().unwrap_or_default().to_owned();
    received
}

/// CR LF, CR CR LF, LF and CR are one line end each.
fn with_crlf(mut text: &[u8]) -> Vec<u8> {
    let mut normalised = Vec::new();
    while let Some((&first, tail)) = text.split_first() {
        let line_end = [&b"\r\r\n"[..], b"\r\n", b"\n", b"\r"]
            .into_iter()
            .find(|line_end| text.starts_with(line_end));
        match line_end {
            Some(line_end) => {
                normalised.extend_from_slice(b"\r\n");
                text = &text[line_end.len()..];
            }
            None => {
                normalised.push(first);
                text = tail;
            }
        }
    }
    normalised
}

/// The message before the first CRLF `.` CRLF, without dot-stuffing; what follows the end.
fn strictly_decoded(wire: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut decoder, mut message, mut rest) = (DotDecoder::new(), Vec::new(), wire);
    while !rest.is_empty() {
        decoder.decode(&mut rest).append_to(&mut message);
        if decoder.has_ended() {
            return Some((message, rest));
        }
    }
    None
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn bare_line_ends_are_refused_for_good_for_now_or_rewritten() {
    let wire = b"Subject: x\n\ntext\r\n.\r\n";
    let refused = after_data(BareLineEnds::Refuse, wire, &[usize::MAX]);
    assert_eq!(refused.events, ["BodyRefused(BareLf)"]);
    assert_eq!(refused.said, "554 5.6.0 message has a bare CR or LF\r\n");
    let refused = after_data(BareLineEnds::RefuseForNow, wire, &[usize::MAX]);
    assert_eq!(refused.events, ["BodyRefused(BareLf)"]);
    assert_eq!(refused.said, "451 4.6.0 message has a bare CR or LF\r\n");
    let taken = after_data(BareLineEnds::Normalise, wire, &[usize::MAX]);
    assert_eq!(taken.message, r"Subject: x\r\n\r\ntext\r\n");
    assert_eq!(
        (&taken.events[..], &taken.said[..]),
        (&["EndOfBody".to_owned()][..], "250 2.0.0 OK\r\n")
    );

    let chunk = b"BDAT 4\r\na\nb\rBDAT 2 LAST\r\n\r\n";
    for (rule, said) in [
        (BareLineEnds::Refuse, "554 5.6.0 message has a bare CR or LF"),
        (BareLineEnds::RefuseForNow, "451 4.6.0 message has a bare CR or LF"),
    ] {
        let mut bed = after(bare_line_ends(rule), OPEN);
        let refused = receive(&mut bed, chunk, &[usize::MAX]);
        assert!(refused.said.starts_with(said), "{refused:?}");
    }
    let mut bed = after(bare_line_ends(BareLineEnds::Normalise), OPEN);
    let taken = receive(&mut bed, chunk, &[usize::MAX]);
    assert_eq!(taken.message, r"a\r\nb\r\n");
    assert_eq!(taken.events, ["Data", "EndOfBody"]);
    assert_eq!(taken.said, "250 2.0.0 chunk taken\r\n250 2.0.0 OK\r\n");
}

#[test]
fn each_kind_of_line_end_becomes_one_crlf() {
    for (text, expected) in [
        (&b"a\nb"[..], r"a\r\nb"),
        (b"a\rb", r"a\r\nb"),
        (b"a\r\r\nb", r"a\r\nb"),
        (b"a\r\r\r\nb", r"a\r\n\r\nb"),
        (b"a\n\rb", r"a\r\n\r\nb"),
        (b"a\r\rb", r"a\r\n\r\nb"),
        (b"a\n\nb", r"a\r\n\r\nb"),
        (b"\n.\nb", r"\r\n.\r\nb"),
        (b"\r.\rb", r"\r\n.\r\nb"),
    ] {
        for sizes in [&[1][..], &[2], &[3], &[usize::MAX]] {
            let wire = [text, b"\r\n.\r\n"].concat();
            let received = after_data(BareLineEnds::Normalise, &wire, sizes);
            assert_eq!(received.message, format!(r"{expected}\r\n"), "{}", escaped(text));
            for chunks in [&[1][..], &[2], &[usize::MAX]] {
                let received = in_chunks(BareLineEnds::Normalise, text, chunks, sizes);
                assert_eq!(received.message, expected, "{}", escaped(text));
            }
        }
    }
}

#[test]
fn a_cr_at_the_end_of_the_last_chunk_is_a_line_end_when_rewritten() {
    for (text, expected) in
        [(&b"a\r"[..], r"a\r\n"), (b"a\r\r", r"a\r\n\r\n"), (b"\r", r"\r\n"), (b"a\n", r"a\r\n")]
    {
        let received = in_chunks(BareLineEnds::Normalise, text, &[1], &[1]);
        assert_eq!((&received.message[..], &received.said[..]), (expected, "250 2.0.0 OK"));
        let refused = in_chunks(BareLineEnds::Refuse, text, &[usize::MAX], &[1]);
        assert!(refused.said.starts_with('5'), "{refused:?}");
    }
}

/// The size limit counts what is stored, not what was sent.
#[test]
fn rewritten_octets_count_for_the_size_limit() {
    let mut config = changed(server_config(), |it| it.size_limit = Some(8));
    config.tolerance = bare_line_ends(BareLineEnds::Normalise);
    for (text, said) in [
        (&b"\n\n\r\n"[..], "250 2.0.0 OK\r\n"),
        (b"\n\n\n\r\n", "250 2.0.0 OK\r\n"),
        (b"\n\n\n\n\r\n", "552 5.3.4 message exceeds the size limit\r\n"),
    ] {
        let mut bed = ServerBed::new(config.clone());
        bed.feed(b"");
        bed.feed(&[OPEN, b"DATA\r\n"].concat());
        bed.said();
        assert_eq!(bed.ask(&[text, b".\r\n"].concat()), said);
    }
}

/// BURL: the next piece is not seen here, so a CR before it cannot be judged.
#[test]
fn a_cr_before_burl_is_refused_by_every_rule() {
    for (rule, code) in [
        (BareLineEnds::Refuse, "554"),
        (BareLineEnds::RefuseForNow, "451"),
        (BareLineEnds::Normalise, "554"),
    ] {
        let mut config = changed(server_config(), |it| it.chunking = true);
        config.burl = Some("imap".into());
        config.tolerance = bare_line_ends(rule);
        let mut bed = ServerBed::new(config);
        bed.feed(b"");
        bed.feed(OPEN);
        bed.said();
        let said = bed.ask(b"BDAT 2\r\na\rBURL imap://c/m LAST\r\n");
        assert!(said.lines().last().unwrap_or_default().starts_with(code), "{said}");
    }
}

#[test]
fn binary_bodies_are_not_rewritten() {
    let mut config = changed(server_config(), |it| {
        it.chunking = true;
        it.binary_mime = true;
    });
    config.tolerance = bare_line_ends(BareLineEnds::Normalise);
    config.tolerance.nul = NulRule::Refuse;
    let mut bed = ServerBed::new(config);
    bed.feed(b"");
    bed.feed(b"EHLO c\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<b@test.example>\r\n");
    bed.said();
    let received = receive(&mut bed, b"BDAT 5 LAST\r\n\0\n\ra\r", &[1]);
    assert_eq!(received.message, r"\x00\n\ra\r");
    assert_eq!(received.said, "250 2.0.0 OK\r\n");
}

/// A rule that is set for a peer holds from its next message on, until STARTTLS.
#[test]
fn a_rule_may_be_set_for_one_peer_until_starttls() {
    let mut config = changed(server_config(), |it| it.starttls = StartTls::Offered);
    config.tolerance.bare_lf_commands = false;
    let mut bed = ServerBed::new(config);
    bed.feed(b"");
    let mut tolerance = bare_line_ends(BareLineEnds::Normalise);
    tolerance.bare_lf_commands = true;
    bed.server.set_tolerance(tolerance);
    bed.feed(OPEN);
    bed.said();
    assert!(bed.ask(b"DATA\r\n").starts_with("354"));
    // The message under way keeps the rule that it began with.
    bed.server.set_tolerance(bare_line_ends(BareLineEnds::Refuse));
    assert_eq!(bed.ask(b"a\nb\r\n.\r\n"), "250 2.0.0 OK\r\n");
    assert_eq!(bed.ask(b"NOOP\n"), "500 5.5.2 line must end in CRLF\r\n");
    bed.server.set_tolerance(tolerance);
    assert_eq!(bed.ask(b"NOOP\n"), "250 2.0.0 OK\r\n");
    bed.feed(b"STARTTLS\r\n");
    bed.shake();
    bed.said();
    assert_eq!(bed.ask(b"NOOP\n"), "500 5.5.2 line must end in CRLF\r\n");
    bed.feed(&[OPEN, b"DATA\r\n"].concat());
    bed.said();
    assert!(bed.ask(b"a\nb\r\n.\r\n").starts_with("554 5.6.0"));
}

#[test]
fn commands_in_bare_lf_are_taken_by_their_setting() {
    let mut tolerance = Tolerance::STRICT;
    let script =
        b"EHLO c\nMAIL FROM:<a@test.example>\nRCPT TO:<b@test.example>\nDATA\nx\r\n.\r\nQUIT\n";
    let strict = after(tolerance, b"").ask(b"NOOP\n");
    assert_eq!(strict, "500 5.5.2 line must end in CRLF\r\n");
    tolerance.bare_lf_commands = true;
    for sizes in [&[1][..], &[2], &[usize::MAX]] {
        let received = receive(&mut after(tolerance, b""), script, sizes);
        assert_eq!(received.message, r"x\r\n");
        let codes: Vec<_> = received.said.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes[codes.len() - 5..], ["250", "250", "354", "250", "221"]);
        // A bare CR is no line end, and the limit holds.
        assert!(after(tolerance, b"").ask(b"NOOP\rNOOP\n").starts_with("500 5.5.2 bare CR"));
        let long = [&b"NOOP ".repeat(1000)[..], b"\n"].concat();
        assert!(after(tolerance, b"").ask(&long).starts_with("500 5.5.6"));
    }
    // The body stays strict: LF . LF does not end it.
    let mut bed = after(tolerance, &[OPEN, b"DATA\n"].concat());
    assert_eq!(bed.ask(b"x\n.\nQUIT\n"), "");
    assert_eq!(bed.ask(b"\r\n.\r\n"), "554 5.6.0 message has a bare CR or LF\r\n");
    // AUTH, with its responses.
    let mut config = changed(server_config(), |it| {
        it.auth_in_clear = true;
        it.mechanisms = mechanisms();
    });
    config.tolerance = tolerance;
    let mut bed = ServerBed::new(config);
    bed.feed(b"EHLO c\n");
    bed.said();
    assert_eq!(bed.ask(b"AUTH PLAIN\n"), "334 \r\n");
    assert!(bed.ask(b"AHVzZXIAcGVuY2ls\n").starts_with("235"));
}

/// No reading of bytes that differs between hosts reaches across the hand-over.
#[test]
fn starttls_in_bare_lf_is_refused_by_every_setting() {
    for tolerant in [false, true] {
        let mut config = changed(server_config(), |it| it.starttls = StartTls::Offered);
        config.tolerance.bare_lf_commands = tolerant;
        let mut bed = ServerBed::new(config);
        bed.feed(b"");
        bed.feed(b"EHLO c\r\n");
        bed.said();
        assert_eq!(bed.ask(b"STARTTLS\n"), "500 5.5.2 line must end in CRLF\r\n");
        // Commands after STARTTLS are plaintext where the handshake is due.
        let said = bed.ask(b"STARTTLS\r\nNOOP\n");
        assert_eq!(said, "554 5.5.1 plaintext after STARTTLS, closing the connection\r\n");
        assert!(bed.want.is_err());
    }
}

#[test]
fn parameters_that_were_not_announced_are_taken_by_their_setting() {
    let mail = |parameter: &str| format!("MAIL FROM:<a@test.example> {parameter}\r\n");
    let bare = || {
        let mut config = ServerConfig::new("mx.test.example".parse().unwrap());
        config.eight_bit_mime = false;
        config
    };
    let said = |tolerant: bool, hello: &str, line: &str| {
        let mut config = bare();
        config.tolerance.unannounced_parameters = tolerant;
        let mut bed = ServerBed::new(config);
        bed.feed(b"");
        bed.feed(hello.as_bytes());
        bed.said();
        bed.ask(line.as_bytes())
    };
    for hello in ["HELO c\r\n", "EHLO c\r\n"] {
        for parameter in [
            "SIZE=100",
            "BODY=7BIT",
            "BODY=8BITMIME",
            "AUTH=<>",
            "RET=HDRS",
            "ENVID=x",
            "MT-PRIORITY=3",
        ] {
            assert!(said(false, hello, &mail(parameter)).starts_with("555"), "{parameter}");
            assert!(said(true, hello, &mail(parameter)).starts_with("250"), "{parameter}");
        }
        // What could not be kept, and what is not known, is refused all the same.
        for parameter in
            ["BODY=BINARYMIME", "SMTPUTF8", "REQUIRETLS", "BY=100;R", "HOLDFOR=10", "X-UNKNOWN=1"]
        {
            assert!(said(true, hello, &mail(parameter)).starts_with("555"), "{parameter}");
        }
        for parameter in ["NOTIFY=NEVER", "ORCPT=rfc822;b@test.example"] {
            let line = format!("MAIL FROM:<>\r\nRCPT TO:<b@test.example> {parameter}\r\n");
            let last = |said: String| said.lines().last().unwrap_or_default().to_owned();
            assert!(last(said(false, hello, &line)).starts_with("555"), "{parameter}");
            assert!(last(said(true, hello, &line)).starts_with("250"), "{parameter}");
        }
    }
}

/// RFC 4954, section 5: without authentication AUTH= counts as empty, also where it was not
/// announced.
#[test]
fn unannounced_auth_parameter_names_no_submitter() {
    let mut config = server_config();
    config.tolerance.unannounced_parameters = true;
    let mut bed = ServerBed::new(config);
    bed.answer = std::sync::Arc::new(|event| {
        if let smtp_proto::server::ServerEvent::Mail { parameters, .. } = event {
            assert_eq!(parameters.auth.as_ref().map(Xtext::decode), Some(b"<>".to_vec()));
        }
        common::accept(event)
    });
    bed.feed(b"HELO c\r\n");
    assert_eq!(bed.feed(b"MAIL FROM:<> AUTH=boss@test.example\r\n"), ["Mail <>"]);
}

#[test]
fn nul_is_taken_and_sent_by_the_rule_of_the_side() {
    for (rule, text, allowed) in [
        (NulRule::Carry, &b"a\0b\r\n"[..], true),
        (NulRule::Carry, b"a\r\n\0.\r\n", false),
        (NulRule::Carry, b"\0\r\n", false),
        (NulRule::Refuse, b"a\0b\r\n", false),
        (NulRule::Refuse, b"a\r\n", true),
    ] {
        let mut tolerance = Tolerance::STRICT;
        tolerance.nul = rule;
        let mut config = common::client_config();
        config.nul = rule;
        for chunking in [false, true] {
            config.chunking = chunking;
            let said = if chunking {
                let mut bed = after(tolerance, OPEN);
                bed.ask(&[format!("BDAT {} LAST\r\n", text.len()).as_bytes(), text].concat())
            } else {
                let mut bed = after(tolerance, &[OPEN, b"DATA\r\n"].concat());
                bed.ask(&[text, b".\r\n"].concat())
            };
            let expected =
                if allowed { "250 2.0.0 OK\r\n" } else { "554 5.6.0 message has a NUL\r\n" };
            assert_eq!(said, expected, "{rule:?} {}", escaped(text));
            let sent = send(config.clone(), text);
            let refused = Err(ApiMisuse::Defect(BodyDefect::Nul));
            assert_eq!(sent, if allowed { Ok(()) } else { refused }, "{rule:?}");
        }
    }
}

/// Whether a client with this configuration sends the message.
fn send(config: smtp_proto::client::ClientConfig, message: &[u8]) -> Result<(), ApiMisuse> {
    let chunking = config.chunking;
    let mut bed = ClientBed::with(
        config,
        smtp_proto::fallback::TlsRules::Never,
        smtp_proto::channel::Channel::Plain,
    );
    bed.feed(b"220 mx\r\n250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n");
    let mail = std::sync::Arc::new(envelope("a@test.example", &["b@test.example"]));
    bed.client.start_transaction(mail, bed.now).unwrap();
    bed.feed(b"");
    bed.feed(if chunking { b"250 OK\r\n250 OK\r\n" } else { b"250 OK\r\n250 OK\r\n354 go\r\n" });
    assert!(bed.client.wants_body());
    bed.client.write_body(message, &mut bed.output, bed.now)?;
    bed.client.end_body(&mut bed.output, bed.now)
}

/// Every end-of-data sequence that attacks are known to use, at every cut.
#[test]
fn corpus_eod_variants_when_rewritten() {
    let Some(rows) = corpus("eod_variants") else {
        return;
    };
    let smuggled = b"MAIL FROM:<evil@test.example>\r\n";
    for row in rows {
        let sequence = base64(row["seq_b64"].as_str().expect("seq_b64"));
        let wire = [&b"Subject: a\r\n\r\nfirst"[..], &sequence, smuggled, b"\r\n.\r\n"].concat();
        let (content, rest) = strictly_decoded(&wire).expect("an end");
        let terminates = row["contains_real_terminator"].as_bool().expect("a flag");
        assert_eq!(rest.is_empty(), !terminates, "{row}");
        let message = with_crlf(&content);
        for cut in 1..wire.len() {
            let sizes = [cut, wire.len() - cut];
            let received = after_data(BareLineEnds::Normalise, &wire, &sizes);
            if received.said.starts_with("554 5.6.0 message has a NUL") {
                assert!(row["nul"].as_bool().expect("a flag"), "{row}");
                continue;
            }
            // A real end is followed by MAIL, as it is for every other server.
            let expected: &[&str] = if terminates {
                &["EndOfBody", "Mail <evil@test.example>"]
            } else {
                &["EndOfBody"]
            };
            assert_eq!(received.events, expected, "{row}, cut at {cut}");
            assert_eq!(received.message, escaped(&message), "{row}, cut at {cut}");
        }
        // In chunks nothing ends a message but LAST.
        for body in [&wire[..], &sequence] {
            for chunk in 1..=body.len() {
                let received = in_chunks(BareLineEnds::Normalise, body, &[chunk], &[7]);
                if received.events.iter().any(|event| event == "BodyRefused(Nul)") {
                    assert!(row["nul"].as_bool().expect("a flag"), "{row}");
                    continue;
                }
                assert_eq!(received.events, ["Data", "EndOfBody"], "{row}");
                assert_eq!(received.message, escaped(&with_crlf(body)), "{row}");
            }
        }
        // Sent on, the message is one message.
        let mut sent = Vec::new();
        let mut encoder = DotEncoder::new();
        encoder.encode(&message, &mut sent).expect("the message is sound");
        encoder.finish(&mut sent).expect("the message is sound");
        assert_eq!(strictly_decoded(&sent), Some((message, &b""[..])), "{row}");
        assert_eq!(sent.windows(3).filter(|it| it == b"\n.\n" || it == b"\r.\r").count(), 0);
    }
}

/// Pieces from which hostile bodies are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => select(vec![&b"\r"[..], b"\n", b".", b"\r\n", b"\0", b"a", b"\r\n.", b"\r\n.\r", b"\r\r\n"])
            .prop_map(<[u8]>::to_vec),
        1 => (0usize..300).prop_map(|len| b"plain text.\r\n".iter().copied().cycle().take(len).collect()),
        1 => vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn rewriting_after_data_equals_the_model_in_every_fragmentation(
        pieces in vec(piece(), 0..25),
        sizes in vec(1usize..60, 1..6),
    ) {
        let wire = [&pieces.concat()[..], b"\r\n.\r\n"].concat();
        let (content, rest) = strictly_decoded(&wire).expect("an end");
        let wire = &wire[..wire.len() - rest.len()];
        let expected = with_crlf(&content);
        let whole = after_data(BareLineEnds::Normalise, wire, &[usize::MAX]);
        for sizes in [&sizes[..], &[1]] {
            let other = after_data(BareLineEnds::Normalise, wire, sizes);
            prop_assert_eq!((&other.events, &other.said), (&whole.events, &whole.said));
            if whole.events == ["EndOfBody"] {
                prop_assert_eq!(&other.message, &whole.message);
            }
        }
        let begins_with_nul = expected.starts_with(b"\0")
            || expected.windows(3).any(|it| it == b"\r\n\0");
        if begins_with_nul {
            prop_assert_eq!(whole.said, "554 5.6.0 message has a NUL\r\n");
        } else {
            prop_assert_eq!(whole.message, escaped(&expected));
            prop_assert_eq!(whole.said, "250 2.0.0 OK\r\n");
        }
    }

    #[test]
    fn rewriting_chunks_equals_the_model_in_every_fragmentation(
        pieces in vec(piece(), 0..25),
        chunks in vec(1usize..60, 1..6),
        sizes in vec(1usize..60, 1..6),
    ) {
        let message = pieces.concat();
        let expected = with_crlf(&message);
        let received = in_chunks(BareLineEnds::Normalise, &message, &chunks, &sizes);
        let begins_with_nul = expected.starts_with(b"\0")
            || expected.windows(3).any(|it| it == b"\r\n\0");
        if begins_with_nul {
            prop_assert!(received.events.contains(&"BodyRefused(Nul)".to_owned()));
        } else {
            prop_assert_eq!(&received.message, &escaped(&expected));
            prop_assert_eq!(received.said, "250 2.0.0 OK");
        }
    }

    /// What a server takes by any rule, a client with the same rule for NUL can send on.
    #[test]
    fn what_a_server_takes_a_client_can_send(
        pieces in vec(piece(), 0..15),
        rule in select(vec![BareLineEnds::Refuse, BareLineEnds::Normalise]),
        nul in select(vec![NulRule::Carry, NulRule::Refuse]),
        chunked in any::<bool>(),
    ) {
        let content = pieces.concat();
        let mut tolerance = bare_line_ends(rule);
        tolerance.nul = nul;
        let mut bed = after(tolerance, OPEN);
        let received = if chunked {
            let head = format!("BDAT {} LAST\r\n", content.len());
            receive(&mut bed, &[head.as_bytes(), &content].concat(), &[usize::MAX])
        } else {
            bed.ask(b"DATA\r\n");
            receive(&mut bed, &[&content[..], b"\r\n.\r\n"].concat(), &[usize::MAX])
        };
        if received.events.iter().any(|event| event == "EndOfBody") {
            let mut octets = content;
            if !chunked {
                octets = [&octets[..], b"\r\n.\r\n"].concat();
                octets = strictly_decoded(&octets).expect("an end").0;
            }
            let message = match rule {
                BareLineEnds::Normalise => with_crlf(&octets),
                _ => octets,
            };
            for chunking in [false, true] {
                let mut config = common::client_config();
                (config.nul, config.chunking) = (nul, chunking);
                prop_assert_eq!(send(config, &message), Ok(()));
            }
        }
    }
}
