//! Bodies: a second, naive coder gives the same results; fragmentation changes nothing.

use smtp_proto::wire::body::{DotDecoder, DotEncoder, LineNormaliser};

/// First byte: fragmentation. Rest: a message as the caller has it, and again what a peer sends.
pub fn body(data: &[u8]) {
    let Some((seed, bytes)) = super::split_seed(data) else { return };
    decode(seed, bytes);
    encode(seed, bytes);
    normalise(seed, bytes);
}

/// Line ends are rewritten alike in every fragmentation, and what comes of it can be sent on.
fn normalise(seed: u8, wire: &[u8]) {
    let (mut decoder, mut lines) = (DotDecoder::new(), LineNormaliser::new());
    let (mut raw, mut message) = (Vec::new(), Vec::new());
    let (mut rest, mut sizes) = (wire, super::sizes(seed));
    let mut ended = false;
    while !rest.is_empty() && !ended {
        let mut piece = &rest[..sizes.next().expect("endless").min(rest.len())];
        let before = piece.len();
        let runs = decoder.decode(&mut piece);
        rest = &rest[before - piece.len()..];
        ended = decoder.has_ended();
        runs.clone().append_to(&mut raw);
        let runs = lines.normalise(runs);
        let (octets, before) = (runs.octets(), message.len());
        runs.append_to(&mut message);
        assert_eq!(message.len() - before, octets);
    }
    lines.finish().append_to(&mut message);
    assert!(!has_bare(&message));
    assert_eq!(message, with_crlf(&raw));
    let mut sent = Vec::new();
    let mut encoder = DotEncoder::new();
    encoder.encode(&message, &mut sent).expect("no bare CR or LF is left");
    encoder.finish(&mut sent).expect("no CR is left at the end");
}

/// CR LF, CR CR LF, LF and CR are one line end each.
fn with_crlf(mut text: &[u8]) -> Vec<u8> {
    let mut normalised = Vec::new();
    while let Some((&first, tail)) = text.split_first() {
        let line_ends = [&b"\r\r\n"[..], b"\r\n", b"\n", b"\r"];
        match line_ends.into_iter().find(|line_end| text.starts_with(line_end)) {
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

fn decode(seed: u8, wire: &[u8]) {
    let (mut decoder, mut message, mut at) = (DotDecoder::new(), Vec::new(), 0);
    let mut ended = false;
    let mut sizes = super::sizes(seed);
    'wire: while at < wire.len() {
        let end = at.saturating_add(sizes.next().expect("endless")).min(wire.len());
        while at < end {
            let mut piece = &wire[at..end];
            let runs = decoder.decode(&mut piece);
            assert!(piece.len() < end - at);
            at = end - piece.len();
            ended = decoder.has_ended();
            let octets = runs.octets();
            let before = message.len();
            runs.for_each(|run| message.extend_from_slice(run));
            assert_eq!(message.len() - before, octets);
            if ended {
                break 'wire;
            }
        }
    }
    // The message begins after the CRLF of DATA, and ends at the first CRLF . CRLF.
    let after_data = [b"\r\n", wire].concat();
    let Some(dot) = after_data.windows(5).position(|window| window == b"\r\n.\r\n") else {
        assert!(!ended);
        return;
    };
    assert!(ended);
    assert_eq!(at, dot + 3);
    let raw = &wire[..dot];
    assert_eq!(decoder.defect().is_some(), has_bare(raw));
    if !has_bare(raw) {
        let expected: Vec<u8> =
            lines(raw).flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect();
        assert_eq!(message, expected);
    }
}

fn encode(seed: u8, message: &[u8]) {
    let (mut encoder, mut wire) = (DotEncoder::new(), Vec::new());
    let mut rest = message;
    let mut result = Ok(());
    for size in super::sizes(seed) {
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        rest = tail;
        result = encoder.encode(piece, &mut wire);
        if result.is_err() || rest.is_empty() {
            break;
        }
    }
    let result = result.and_then(|()| encoder.finish(&mut wire));
    let defective = has_bare(message);
    assert_eq!(result.is_err(), defective);
    // Whatever happens, what has been written cannot be misread.
    let held = wire.strip_suffix(b"\r").unwrap_or(&wire);
    assert!(!has_bare(held));
    if defective {
        let virtual_start = [b"\r\n", &wire[..]].concat();
        assert!(!virtual_start.windows(5).any(|window| window == b"\r\n.\r\n"));
        return;
    }
    let mut expected: Vec<u8> = Vec::new();
    for line in lines(message) {
        if line.starts_with(b".") {
            expected.push(b'.');
        }
        expected.extend_from_slice(line);
    }
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    expected.extend_from_slice(b".\r\n");
    assert_eq!(wire, expected);
}

/// Lines with their CRLF.
fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = text.windows(2).position(|pair| pair == b"\r\n").map_or(text.len(), |at| at + 2);
        let (line, rest) = text.split_at(end);
        text = rest;
        Some(line)
    })
}

fn has_bare(text: &[u8]) -> bool {
    text.iter().enumerate().any(|(at, &byte)| match byte {
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || text[at - 1] != b'\r',
        _ => false,
    })
}
