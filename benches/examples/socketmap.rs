//! Look-ups a second of a socketmap service, such as `smtp-tls postfix`, which answers from what it
//! keeps after the first of them.
//!
//! ```text
//! smtp-tls postfix --config FILE --listen 127.0.0.1:8461 &
//! cargo run --release -p benches --example socketmap -- 127.0.0.1:8461 QUERY [mail.example.com]
//! ```
//!
//! Each connection asks one question at a time, as each process of Postfix does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The numbers of connections that are tried, and the look-ups of each run.
const CONNECTIONS: [usize; 3] = [1, 10, 100];
const LOOK_UPS: usize = 100_000;
/// The longest answer that is read.
const MAX_ANSWER: usize = 100_000;

/// Asks once; the time that the answer took, and the answer.
fn ask(
    stream: &mut BufReader<TcpStream>,
    question: &str,
) -> Result<(Duration, Vec<u8>), std::io::Error> {
    let wrong = |what: &str| std::io::Error::other(format!("no netstring: {what}"));
    let begun = Instant::now();
    stream.get_mut().write_all(format!("{}:{question},", question.len()).as_bytes())?;
    let mut length = Vec::new();
    stream.read_until(b':', &mut length)?;
    let length = length.strip_suffix(b":").and_then(|it| std::str::from_utf8(it).ok());
    let length: usize = length.and_then(|it| it.parse().ok()).ok_or_else(|| wrong("the length"))?;
    if length > MAX_ANSWER {
        return Err(wrong("too long"));
    }
    let mut answer = vec![0; length + 1];
    stream.read_exact(&mut answer)?;
    match answer.pop() {
        Some(b',') => Ok((begun.elapsed(), answer)),
        _ => Err(wrong("the end")),
    }
}

fn connect(address: &str) -> Result<BufReader<TcpStream>, std::io::Error> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// The times of all look-ups, from the shortest to the longest.
fn load(
    address: &str,
    question: &str,
    expected: &[u8],
    connections: usize,
) -> Result<Vec<Duration>, std::io::Error> {
    let mut times = Vec::with_capacity(LOOK_UPS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = connect(address)?;
                    let mut times = Vec::with_capacity(LOOK_UPS / connections);
                    for _ in 0..LOOK_UPS / connections {
                        let (time, answer) = ask(&mut stream, question)?;
                        if answer != expected {
                            return Err(std::io::Error::other("another answer than the first"));
                        }
                        times.push(time);
                    }
                    Ok(times)
                })
            })
            .collect();
        for thread in threads {
            let ended = thread.join().map_err(|_| std::io::Error::other("a thread panicked"))?;
            times.extend(ended?);
        }
        Ok::<_, std::io::Error>(())
    })?;
    times.sort_unstable();
    Ok(times)
}

fn run(address: &str, question: &str) -> Result<(), std::io::Error> {
    let (first, answer) = ask(&mut connect(address)?, question)?;
    println!("{question}: {}, after {first:.1?}", String::from_utf8_lossy(&answer));
    for connections in CONNECTIONS {
        let begun = Instant::now();
        let times = load(address, question, &answer, connections)?;
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!(
            "{connections:>4} connections: {rate:>8.0} look-ups a second, median {:.1?}, 99 of 100 \
             below {:.1?}",
            at(50),
            at(99)
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((address, question)) = arguments.split_first().filter(|(_, rest)| !rest.is_empty())
    else {
        eprintln!("usage: socketmap ADDRESS:PORT MAP NEXT_HOP");
        return ExitCode::from(2);
    };
    match run(address, &question.join(" ")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socketmap: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}
