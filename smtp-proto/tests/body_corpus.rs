//! End-of-data smuggling sequences and another implementation's dot-stuffing cases.

mod common;

use common::auth::decode as base64;
use common::corpora::{Verdicts, corpus};
use serde_json::Value;
use smtp_proto::wire::body::{BodyDefect, DotDecoder, DotEncoder};

/// Decodes `fragments` one after another: the message, its defect, and where the end was: the
/// fragment, and the bytes of it that were consumed.
fn decode(fragments: &[&[u8]]) -> (Vec<u8>, Option<BodyDefect>, Option<(usize, usize)>) {
    let mut decoder = DotDecoder::new();
    let mut message = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let mut rest = *fragment;
        while !rest.is_empty() {
            decoder.decode(&mut rest).for_each(|run| message.extend_from_slice(run));
            if decoder.has_ended() {
                return (message, decoder.defect(), Some((index, fragment.len() - rest.len())));
            }
        }
    }
    (message, decoder.defect(), None)
}

fn encode(body: &[u8]) -> (Vec<u8>, Result<(), BodyDefect>) {
    let mut encoder = DotEncoder::new();
    let mut wire = Vec::new();
    let result = encoder.encode(body, &mut wire).and_then(|()| encoder.finish(&mut wire));
    (wire, result)
}

fn text<'v>(row: &'v Value, field: &str) -> Option<&'v str> {
    row.get(field).and_then(Value::as_str)
}

/// None but CRLF `.` CRLF ends the message, wherever the network cuts the bytes, and none of it can
/// be sent.
#[test]
fn corpus_eod_variants() {
    let Some(rows) = corpus("eod_variants") else { return };
    let mut verdicts = Verdicts::of("eod_variants");
    verdicts.each(&rows, |_, row| {
        let sequence = base64(text(row, "seq_b64").expect("seq_b64"));
        let flag = |name: &str| row[name].as_bool().unwrap_or_else(|| panic!("{name} in {row}"));
        let terminates = flag("contains_real_terminator");
        let defective = flag("bare_cr") || flag("bare_lf");
        let before = b"Subject: a\r\n\r\nfirst";
        let smuggled = b"MAIL FROM:<b@b.example>\r\n";
        let wire = [&before[..], &sequence, smuggled, b"\r\n.\r\n"].concat();
        let expected_end = if terminates { before.len() + sequence.len() } else { wire.len() };

        for first in 0..=wire.len() {
            for second in first..=wire.len() {
                let fragments = [&wire[..first], &wire[first..second], &wire[second..]];
                let (message, defect, end) = decode(&fragments);
                let end = end.map(|(index, consumed)| {
                    fragments[..index].iter().map(|fragment| fragment.len()).sum::<usize>()
                        + consumed
                });
                assert_eq!(end, Some(expected_end), "{row}, cut at {first} and {second}");
                assert_eq!(defect.is_some(), defective, "{row}, cut at {first} and {second}");
                assert!(message.ends_with(b"\r\n"), "{row}");
            }
        }

        // The client: whatever it lets through decodes to the very body, and holds no byte that
        // ends early.
        for body in [wire.as_slice(), &wire[..before.len() + sequence.len()], &sequence] {
            for cut in 0..=body.len() {
                let mut encoder = DotEncoder::new();
                let mut sent = Vec::new();
                let result = encoder
                    .encode(&body[..cut], &mut sent)
                    .and_then(|()| encoder.encode(&body[cut..], &mut sent))
                    .and_then(|()| encoder.finish(&mut sent));
                let line_ends = sent.windows(2).filter(|pair| pair == b"\r\n").count();
                assert_eq!(sent.iter().filter(|byte| **byte == b'\r').count(), line_ends, "{row}");
                assert_eq!(sent.iter().filter(|byte| **byte == b'\n').count(), line_ends, "{row}");
                assert_eq!(result.is_err(), defective, "{row}");
                if result.is_ok() {
                    let (message, defect, end) = decode(&[&sent]);
                    assert_eq!((defect, end), (None, Some((0, sent.len()))), "{row}");
                    assert!(message.starts_with(body), "{row}");
                }
            }
        }
    });
    verdicts.done();
}

#[test]
fn corpus_mox_data_codec() {
    let Some(rows) = corpus("mox_data_codec") else { return };
    let mut verdicts = Verdicts::of("mox_data_codec");
    verdicts.each(&rows, |_, row| {
        let input = text(row, "line_input").expect("line_input").as_bytes();
        let error = text(row, "err")
            .or_else(|| row["want"].get("err").and_then(Value::as_str))
            .filter(|e| *e != "nil");
        match (text(row, "dir").expect("dir"), error) {
            // RFC 5321, section 4.1.1.4 leaves the choice: "either reject the message as invalid or
            // add <CRLF>".
            ("write", Some("errMissingCRLF")) => {
                let (wire, result) = encode(input);
                assert_eq!(result, Ok(()), "{row}");
                assert!(wire.ends_with(b"\r\n.\r\n"), "{row}");
            }
            ("write", Some(_)) => assert!(encode(input).1.is_err(), "{row}"),
            ("write", None) => {
                let want = text(row, "want").expect("want").as_bytes();
                assert_eq!(encode(input), (want.to_vec(), Ok(())), "{row}");
            }
            // There an error stops the reading; here the message is read to its end first.
            ("read", Some(_)) => {
                let (_, defect, end) = decode(&[input]);
                assert_eq!((defect.is_some(), end), (true, Some((0, input.len()))), "{row}");
            }
            ("read", None) => {
                let want = text(row, "want").expect("want").as_bytes();
                assert_eq!(
                    decode(&[input]),
                    (want.to_vec(), None, Some((0, input.len()))),
                    "{row}"
                );
            }
            (other, _) => panic!("{other} in {row}"),
        }
    });
    verdicts.done();
}
