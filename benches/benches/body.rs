//! Dot-stuffing both ways over 1 MiB: ours, two peers, and the limits that memory and `memchr` set.
//!
//! The peers and the search for the dot lines do not check line ends; ours do. No peer's writer is
//! public. `random dot lines` is the hostile body that no branch predictor learns.

#![allow(missing_docs, reason = "`criterion_group!` writes an undocumented function")]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use memchr::{memchr_iter, memmem};
use smtp_proto::wire::body::{DotDecoder, DotEncoder};
use stalwart_smtp_proto::request::receiver::DataReceiver;

const SIZE: usize = 1 << 20;

/// Name and body; no line of it stuffed.
fn bodies() -> [(&'static str, Vec<u8>); 4] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog, again. And then once more. ";
    // A linear congruential generator: the same bodies in every run.
    let mut seed = 1u32;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % below
    };
    let mut base64 = Vec::new();
    let mut text = Vec::new();
    let mut short = Vec::new();
    let mut uneven = Vec::new();
    while base64.len() < SIZE {
        base64.extend((0..76).map(|_| DIGITS[random(64)]));
        base64.extend_from_slice(b"\r\n");
    }
    while text.len() < SIZE {
        let start: &[u8] = if random(100) == 0 { b"." } else { b"" };
        text.extend_from_slice(start);
        text.extend_from_slice(&TEXT[..40 + random(TEXT.len() - 40)]);
        text.extend_from_slice(b"\r\n");
    }
    while short.len() < SIZE {
        short.extend_from_slice(b".a\r\n");
    }
    while uneven.len() < SIZE {
        uneven.extend_from_slice(&b".abcdefgh"[..1 + random(8)]);
        uneven.extend_from_slice(b"\r\n");
    }
    [
        ("base64", base64),
        ("text, 1 % dot lines", text),
        ("only .a lines", short),
        ("random dot lines", uneven),
    ]
}

fn stuffed(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut encoder = DotEncoder::new();
    encoder.encode(body, &mut wire).expect("the body is sound");
    encoder.finish(&mut wire).expect("the body is sound");
    wire
}

fn limits(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    input: &[u8],
    output: &mut Vec<u8>,
) {
    group.bench_function(format!("{name}/limit: memcpy"), |bencher| {
        bencher.iter(|| {
            output.clear();
            output.extend_from_slice(black_box(input));
        });
    });
    group.bench_function(format!("{name}/limit: memchr of each LF"), |bencher| {
        bencher.iter(|| memchr_iter(b'\n', black_box(input)).fold(0, |sum, lf| sum ^ lf));
    });
    group.bench_function(format!("{name}/limit: memmem and memcpy"), |bencher| {
        bencher.iter(|| {
            output.clear();
            let mut from = 0;
            for lf in memmem::find_iter(black_box(input), b"\n.") {
                output.extend_from_slice(&input[from..=lf]);
                from = lf + 2;
            }
            output.extend_from_slice(&input[from..]);
        });
    });
}

fn unstuff(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unstuff");
    for (name, body) in bodies() {
        let wire = stuffed(&body);
        let mut message = Vec::with_capacity(2 * wire.len());
        group.throughput(Throughput::BytesDecimal(wire.len() as u64));

        let ours = |input: &[u8], message: &mut Vec<u8>| {
            message.clear();
            let (mut decoder, mut input) = (DotDecoder::new(), input);
            loop {
                decoder.decode(&mut input).append_to(message);
                if decoder.has_ended() {
                    return;
                }
            }
        };
        ours(&wire, &mut message);
        assert_eq!(message, body);
        group.bench_function(format!("{name}/ours"), |bencher| {
            bencher.iter(|| ours(black_box(&wire), &mut message));
        });
        group.bench_function(format!("{name}/ours, run by run"), |bencher| {
            bencher.iter(|| {
                message.clear();
                let (mut decoder, mut input) = (DotDecoder::new(), black_box(&wire[..]));
                loop {
                    let runs = decoder.decode(&mut input);
                    runs.for_each(|run| message.extend_from_slice(run));
                    if decoder.has_ended() {
                        return;
                    }
                }
            });
        });
        group.bench_function(format!("{name}/ours, without a copy"), |bencher| {
            bencher.iter(|| {
                let (mut decoder, mut input) = (DotDecoder::new(), black_box(&wire[..]));
                loop {
                    black_box(decoder.decode(&mut input));
                    if decoder.has_ended() {
                        return;
                    }
                }
            });
        });
        group.bench_function(format!("{name}/smtp-proto 0.2 (Stalwart)"), |bencher| {
            bencher.iter(|| {
                message.clear();
                let ended = DataReceiver::new().ingest(&mut black_box(&wire).iter(), &mut message);
                assert!(ended);
            });
        });
        group.bench_function(format!("{name}/mailrs"), |bencher| {
            bencher.iter(|| black_box(mailrs_smtp_proto::unstuff_data(black_box(&wire))));
        });
        limits(&mut group, name, &wire, &mut message);
    }
    group.finish();
}

fn stuff(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stuff");
    for (name, body) in bodies() {
        let mut wire = Vec::with_capacity(2 * body.len());
        group.throughput(Throughput::BytesDecimal(body.len() as u64));
        group.bench_function(format!("{name}/ours"), |bencher| {
            bencher.iter(|| {
                wire.clear();
                let mut encoder = DotEncoder::new();
                encoder.encode(black_box(&body), &mut wire).expect("the body is sound");
                encoder.finish(&mut wire).expect("the body is sound");
            });
        });
        group.bench_function(format!("{name}/ours, segments without a copy"), |bencher| {
            bencher.iter(|| {
                let (mut encoder, mut chunk) = (DotEncoder::new(), black_box(&body[..]));
                while !chunk.is_empty() {
                    let segments = encoder.segments(&mut chunk).expect("the body is sound");
                    black_box(&segments);
                }
            });
        });
        limits(&mut group, name, &body, &mut wire);
    }
    group.finish();
}

criterion_group!(body, unstuff, stuff);
criterion_main!(body);
