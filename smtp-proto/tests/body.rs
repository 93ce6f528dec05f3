//! Dot-stuffing both ways: known answers, a byte-wise second formulation, and every fragmentation.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use smtp_proto::wire::body::{BodyDefect, DotDecoder, DotEncoder, Runs};

/// What a decoder made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Received {
    message: Vec<u8>,
    /// The same by way of `append_to`; emptied once compared.
    appended: Vec<u8>,
    defect: Option<BodyDefect>,
    end: bool,
    /// Bytes after the end.
    rest: Vec<u8>,
}

/// Feeds `input` in fragments of the given sizes (repeated) and checks what holds for every step.
fn decode(input: &[u8], sizes: &[usize]) -> Received {
    let mut decoder = DotDecoder::new();
    let mut received = Received::default();
    let mut sizes = sizes.iter().cycle();
    let mut input = input;
    while !input.is_empty() && !received.end {
        let (mut fragment, after) = input.split_at(input.len().min(*sizes.next().expect("cycle")));
        while !fragment.is_empty() && !received.end {
            let before = fragment.len();
            let mut runs = decoder.decode(&mut fragment);
            assert!(fragment.len() < before, "a step makes progress");
            runs.clone().append_to(&mut received.appended);
            while let (octets, Some(run)) = (runs.octets(), runs.next()) {
                assert!(!run.is_empty());
                assert_eq!(runs.octets(), octets - run.len());
                received.message.extend_from_slice(run);
            }
            assert_eq!((runs.octets(), runs.next()), (0, None));
            received.end = decoder.has_ended();
        }
        received.rest = fragment.to_vec();
        input = after;
    }
    assert_eq!(received.message, std::mem::take(&mut received.appended));
    received.rest.extend_from_slice(input);
    received.defect = decoder.defect();
    if received.end {
        let mut after = &b".\r\n.\r\n"[..];
        assert_eq!(decoder.decode(&mut after).octets(), 0, "the end is final");
        assert_eq!((after.len(), decoder.has_ended()), (6, true), "the end is final");
    }
    received
}

/// RFC 5321, sections 2.3.8 and 4.5.2, one line at a time.
fn decode_by_lines(input: &[u8]) -> Received {
    let mut received = Received::default();
    let mut rest = input;
    loop {
        let line_end = rest.windows(2).position(|pair| pair == b"\r\n").map(|cr| cr + 2);
        let line = &rest[..line_end.unwrap_or(rest.len())];
        if line == b".\r\n" {
            received.end = true;
            received.rest = rest[3..].to_vec();
            return received;
        }
        let text = &line[..line.len() - if line_end.is_some() { 2 } else { 0 }];
        // An unfinished line may end in a CR that is yet to get its LF.
        let judged =
            if line_end.is_none() { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
        received.defect = received.defect.or(judged.iter().find_map(|byte| match byte {
            b'\r' => Some(BodyDefect::BareCr),
            b'\n' => Some(BodyDefect::BareLf),
            _ => None,
        }));
        let held_back = line_end.is_none() && line == b".\r";
        if !held_back {
            received.message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        if line_end.is_none() {
            return received;
        }
        rest = &rest[line.len()..];
    }
}

/// What an encoder made of a body.
type Sent = Result<Vec<u8>, BodyDefect>;

fn encode(body: &[u8], sizes: &[usize]) -> Sent {
    let mut encoder = DotEncoder::new();
    let mut wire = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut body = body;
    while !body.is_empty() {
        let (chunk, after) = body.split_at(body.len().min(*sizes.next().expect("cycle")));
        let before = wire.clone();
        if let Err(defect) = encoder.encode(chunk, &mut wire) {
            assert_eq!(wire, before, "a refused chunk leaves no trace");
            assert_eq!(encoder.encode(b"more", &mut wire), Err(defect), "a defect is final");
            assert_eq!(encoder.segments(&mut &b"more"[..]).err(), Some(defect));
            assert_eq!(encoder.finish(&mut wire), Err(defect));
            assert_eq!(wire, before);
            assert_clean(&wire);
            return Err(defect);
        }
        assert_clean(&wire);
        body = after;
    }
    let before = wire.clone();
    encoder.finish(&mut wire).inspect_err(|_| assert_eq!(wire, before))?;
    assert_clean(&wire);
    Ok(wire)
}

/// The same without copying.
fn encode_segments(body: &[u8], sizes: &[usize]) -> Sent {
    let mut encoder = DotEncoder::new();
    let mut wire = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut rest = body;
    while !rest.is_empty() {
        let mut chunk = &rest[..rest.len().min(*sizes.next().expect("cycle"))];
        let before = chunk.len();
        let segments = encoder.segments(&mut chunk)?;
        let consumed = before - chunk.len();
        assert!(consumed > 0, "a step makes progress");
        for segment in segments {
            assert!(!segment.is_empty());
            wire.extend_from_slice(segment);
        }
        rest = &rest[consumed..];
    }
    assert_clean(&wire);
    encoder.finish(&mut wire)?;
    Ok(wire)
}

/// The client never emits a bare CR or a bare LF: not even as the last byte so far.
fn assert_clean(wire: &[u8]) {
    let crs = wire.iter().filter(|byte| **byte == b'\r').count();
    let lfs = wire.iter().filter(|byte| **byte == b'\n').count();
    let line_ends = wire.windows(2).filter(|pair| pair == b"\r\n").count();
    assert_eq!((crs, lfs), (line_ends, line_ends), "{:?}", wire.escape_ascii().to_string());
}

/// RFC 5321, section 4.5.2, one byte at a time.
fn encode_by_bytes(body: &[u8]) -> Sent {
    let mut wire = Vec::new();
    for (index, byte) in body.iter().enumerate() {
        let line_start = index == 0 || body[..index].ends_with(b"\r\n");
        match byte {
            b'\r' if body.get(index + 1) != Some(&b'\n') => return Err(BodyDefect::BareCr),
            b'\n' if index == 0 || body[index - 1] != b'\r' => return Err(BodyDefect::BareLf),
            b'.' if line_start => wire.extend_from_slice(b".."),
            byte => wire.push(*byte),
        }
    }
    if !body.is_empty() && !body.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    Ok(wire)
}

#[test]
fn known_answers_both_ways() {
    let answers: [(&[u8], &[u8]); 9] = [
        (b"", b".\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b".a\r\n.b\r\n", b"..a\r\n..b\r\n.\r\n"),
        (b"a.b\r\nc.\r\n", b"a.b\r\nc.\r\n.\r\n"),
        (b"header: abc\r\n\r\n.\r\n\r\n.\r\n", b"header: abc\r\n\r\n..\r\n\r\n..\r\n.\r\n"),
        (b". \r\n", b".. \r\n.\r\n"),
        (b"caf\xc3\xa9 \x01\x7f\xff\r\n", b"caf\xc3\xa9 \x01\x7f\xff\r\n.\r\n"),
    ];
    for (message, wire) in answers {
        for size in [1, 2, 3, usize::MAX] {
            assert_eq!(encode(message, &[size]).as_deref(), Ok(wire));
            let received = decode(&[wire, b"QUIT\r\n"].concat(), &[size]);
            assert_eq!(received.message, message);
            assert_eq!(
                (received.defect, received.end, &received.rest[..]),
                (None, true, &b"QUIT\r\n"[..])
            );
        }
    }
}

/// RFC 5321, section 4.1.1.4: added for the sake of the end of data only.
#[test]
fn a_last_line_without_crlf_gets_one() {
    assert_eq!(encode(b"a", &[9]).as_deref(), Ok(&b"a\r\n.\r\n"[..]));
    assert_eq!(encode(b".", &[9]).as_deref(), Ok(&b"..\r\n.\r\n"[..]));
}

#[test]
fn what_only_looks_like_an_end_is_read_on_and_reported() {
    use BodyDefect::{BareCr, BareLf};
    let lookalikes: [(&[u8], &[u8], Option<BodyDefect>); 16] = [
        (b"a\n.\nb", b"a\n.\nb", Some(BareLf)),
        (b"a\n.\r\nb", b"a\n.\r\nb", Some(BareLf)),
        (b"a\r\n.\nb", b"a\r\n\nb", Some(BareLf)),
        (b"a\r.\rb", b"a\r.\rb", Some(BareCr)),
        (b"a\r.\r\nb", b"a\r.\r\nb", Some(BareCr)),
        (b"a\r\n.\rb", b"a\r\n\rb", Some(BareCr)),
        (b"a\r\n.\r\r\nb", b"a\r\n\r\r\nb", Some(BareCr)),
        (b"a\r\n.\r.\r\nb", b"a\r\n\r.\r\nb", Some(BareCr)),
        (b"a\r\n\n.\r\nb", b"a\r\n\n.\r\nb", Some(BareLf)),
        (b"a\r\0\n.\r\nb", b"a\r\0\n.\r\nb", Some(BareCr)),
        (b"a\r\n.\r\0\nb", b"a\r\n\r\0\nb", Some(BareCr)),
        (b".\rX", b"\rX", Some(BareCr)),
        (b".\nX", b"\nX", Some(BareLf)),
        (b"a\r\n..\r\nb", b"a\r\n.\r\nb", None),
        (b"a\r\n.x\r\nb", b"a\r\nx\r\nb", None),
        (b"a\r\n.\0\r\nb", b"a\r\n\0\r\nb", None),
    ];
    for (wire, message, defect) in lookalikes {
        for size in [1, 2, 3, usize::MAX] {
            let open = decode(wire, &[size]);
            assert_eq!((open.message.as_slice(), open.defect, open.end), (message, defect, false));
            let closed = decode(&[wire, b"\r\n.\r\nNOOP\r\n"].concat(), &[size]);
            assert_eq!(closed.message, [message, b"\r\n"].concat());
            assert_eq!(
                (closed.defect, closed.end, &closed.rest[..]),
                (defect, true, &b"NOOP\r\n"[..])
            );
        }
    }
}

#[test]
fn a_bare_cr_in_front_of_the_end_is_a_defect_and_the_end() {
    let received = decode(b"a\r\r\n.\r\nQUIT\r\n", &[1]);
    assert_eq!(received.message, b"a\r\r\n");
    assert_eq!((received.defect, received.end), (Some(BodyDefect::BareCr), true));
}

/// A defect after the end belongs to no message.
#[test]
fn bytes_after_the_end_are_not_judged() {
    let received = decode(b"a\r\n.\r\n\n\r\r\0.\n", &[64]);
    assert_eq!(
        (received.defect, received.end, &received.rest[..]),
        (None, true, &b"\n\r\r\0.\n"[..])
    );
}

#[test]
fn the_first_defect_is_the_one_reported() {
    assert_eq!(decode(b"a\rb\nc", &[9]).defect, Some(BodyDefect::BareCr));
    assert_eq!(decode(b"a\nb\rc", &[9]).defect, Some(BodyDefect::BareLf));
    assert_eq!(encode(b"a\0\n", &[9]), Err(BodyDefect::BareLf));
    assert_eq!(encode(b"a\r\0", &[9]), Err(BodyDefect::BareCr));
    assert_eq!(encode(b"a\r", &[9]), Err(BodyDefect::BareCr));
}

/// Bytes that are clean must pass through the block path at every offset, and one bad byte must
/// not.
#[test]
fn one_byte_is_found_at_every_offset() {
    let line = b"0123456789 text of a line.\r\n";
    let clean: Vec<u8> = line.iter().copied().cycle().take(line.len() * 24).collect();
    for offset in 0..clean.len() {
        for bad in [&b"\r"[..], b"\n", b"\r\n.", b"\r\n.\r\n", b"\n.\r\n", b"\r\r\n", b"\0", b"."] {
            let mut input = clean.clone();
            input.splice(offset..offset, bad.iter().copied());
            assert_eq!(
                decode(&input, &[usize::MAX]),
                decode_by_lines(&input),
                "{bad:?} at {offset}"
            );
            assert_eq!(
                encode(&input, &[usize::MAX]),
                encode_by_bytes(&input),
                "{bad:?} at {offset}"
            );
        }
    }
}

/// Steps are bounded; larger inputs take more of them, and meet their limits at awkward places.
#[test]
fn steps_end_and_go_on() {
    let lines: [&[u8]; 5] = [b"..\r\n", b".\r\r\n", b"plain\r\n", b".\rx\r\n", b"..a\r\n"];
    for line in lines {
        for lead in 0..6 {
            let mut input = b"x".repeat(lead);
            input.extend_from_slice(b"\r\n");
            while input.len() < 100_000 {
                input.extend_from_slice(line);
            }
            input.extend_from_slice(b".\r\nQUIT\r\n");
            let received = decode(&input, &[usize::MAX]);
            assert_eq!(received, decode_by_lines(&input));
            assert!(received.end);
            if received.defect.is_none() {
                let wire = encode_by_bytes(&received.message);
                assert_eq!(encode(&received.message, &[usize::MAX]), wire);
                assert_eq!(encode_segments(&received.message, &[usize::MAX]), wire);
            }
        }
    }
}

/// A hostile body must not cost an allocation, so the events that carry runs are moved, and must
/// stay small.
#[test]
fn runs_are_small() {
    assert!(size_of::<Runs<'_>>() <= 184);
}

/// Pieces from which hostile bodies are made; plain ones long enough to fill whole blocks.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => select(vec![&b"\r"[..], b"\n", b".", b"\r\n", b"\0", b"a", b"\r\n.", b"\r\n.\r"]).prop_map(<[u8]>::to_vec),
        1 => (0usize..400).prop_map(|len| b"plain text.\r\n".iter().copied().cycle().take(len).collect()),
        1 => vec(any::<u8>(), 0..80),
    ]
}

/// A body without defects: lines, with or without a last CRLF.
fn sound_body() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        select(vec![&b""[..], b".", b"..", b".a", b"a", b"a."]).prop_map(<[u8]>::to_vec),
        vec(prop_oneof![1u8..10, 11u8..13, 14u8..=255], 0..200),
    ];
    (vec(line, 0..40), any::<bool>()).prop_map(|(lines, closed)| {
        let mut body = lines.join(&b"\r\n"[..]);
        if closed && !body.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
        body
    })
}

proptest! {
    #[test]
    fn decoding_equals_the_second_formulation(pieces in vec(piece(), 0..30), sizes in vec(1usize..200, 1..8)) {
        let input = pieces.concat();
        let whole = decode(&input, &[usize::MAX]);
        prop_assert_eq!(&whole, &decode_by_lines(&input));
        prop_assert_eq!(&whole, &decode(&input, &sizes));
        prop_assert_eq!(&whole, &decode(&input, &[1]));
    }

    #[test]
    fn encoding_equals_the_second_formulation(pieces in vec(piece(), 0..12), sizes in vec(1usize..200, 1..8)) {
        let body = pieces.concat();
        let whole = encode(&body, &[usize::MAX]);
        prop_assert_eq!(&whole, &encode_by_bytes(&body));
        prop_assert_eq!(&whole, &encode(&body, &sizes));
        prop_assert_eq!(&whole, &encode(&body, &[1]));
        prop_assert_eq!(&whole, &encode_segments(&body, &[usize::MAX]));
        prop_assert_eq!(&whole, &encode_segments(&body, &sizes));
    }

    #[test]
    fn decode_inverts_encode(body in sound_body(), sizes in vec(1usize..300, 1..8), after in vec(any::<u8>(), 0..20)) {
        let mut wire = encode(&body, &sizes).expect("the body is sound");
        prop_assert_eq!(encode_segments(&body, &sizes), Ok(wire.clone()));
        wire.extend_from_slice(&after);
        let received = decode(&wire, &sizes);
        let mut message = body;
        if !message.is_empty() && !message.ends_with(b"\r\n") {
            message.extend_from_slice(b"\r\n");
        }
        prop_assert_eq!(received, Received { message, end: true, rest: after, ..Received::default() });
    }
}
