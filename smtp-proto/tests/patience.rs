//! How long a client can hold a connection without bringing a message forward: never for ever,
//! whatever it does.

mod common;

use std::time::Duration;

use common::{ServerBed, changed, server_config};
use smtp_proto::error::Error;
use smtp_proto::server::{ServerConfig, ServerEvent};
use smtp_proto::wire::reply::Response;

const TO_RCPT: &[u8] = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\n";

fn bed(config: ServerConfig, script: &[u8]) -> ServerBed {
    let mut bed = ServerBed::new(config);
    bed.feed(script);
    bed.said();
    bed
}

/// Repeats what a client does every so often, until it is sent away: what it is told last, and
/// after how long.
fn until_sent_away(
    mut bed: ServerBed,
    every: Duration,
    mut act: impl FnMut(&mut ServerBed),
) -> (String, Duration) {
    let started = bed.now;
    for _ in 0..100_000 {
        bed.now += every;
        act(&mut bed);
        if bed.want.is_err() {
            return (bed.said().lines().last().unwrap_or_default().to_owned(), bed.now - started);
        }
    }
    panic!("it holds the connection still");
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn commands_that_do_nothing_are_bounded_by_their_number() {
    for command in [
        &b"NOOP\r\n"[..],
        b"RSET\r\n",
        b"VRFY a\r\n",
        b"EXPN a\r\n",
        b"HELP\r\n",
        b"EHLO c\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<>\r\nRSET\r\n",
        b"MAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nEHLO c\r\n",
    ] {
        let mut sent = 0;
        let (last, _) =
            until_sent_away(bed(server_config(), b"EHLO c\r\n"), Duration::ZERO, |bed| {
                sent += 1;
                bed.feed(command);
            });
        assert_eq!(last, "421 4.7.0 too many commands without a message, closing the connection");
        assert_eq!(sent, 100, "EHLO counted as well");
    }
}

#[test]
fn commands_that_do_nothing_are_bounded_by_time() {
    let timeouts = server_config().timeouts;
    let mut config = server_config();
    config.limits.idle_commands = usize::MAX;
    for command in [&b"NOOP\r\n"[..], b"MAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nRSET\r\n"] {
        let (last, held) = until_sent_away(bed(config.clone(), b"EHLO c\r\n"), MINUTE, |bed| {
            drop(bed.feed(command))
        });
        assert_eq!(last, "421 4.4.2 no message for too long, closing the connection");
        assert!(held <= timeouts.progress + 2 * MINUTE, "{held:?}");
    }
    // Refused recipients are no progress either.
    let refused = bed(config, b"EHLO c\r\nMAIL FROM:<>\r\n").answering(
        |event| matches!(event, ServerEvent::Recipient { .. }),
        Response::fixed(550, (5, 1, 1), "no"),
    );
    let (last, held) =
        until_sent_away(refused, MINUTE, |bed| drop(bed.feed(b"RCPT TO:<a@test.example>\r\n")));
    assert_eq!(last, "421 4.4.2 no message for too long, closing the connection");
    assert!(held <= timeouts.progress + 2 * MINUTE, "{held:?}");
}

#[test]
fn half_a_command_moves_no_deadline() {
    let mut bed = bed(server_config(), b"EHLO c\r\n");
    let deadline = bed.server.deadline();
    for byte in b"MAIL FROM:<a.sender@test.ex" {
        bed.now += Duration::from_secs(1);
        bed.feed(&[*byte]);
        assert_eq!(bed.server.deadline(), deadline);
    }
    let (last, held) = until_sent_away(bed, MINUTE, |bed| drop(bed.feed(b"x")));
    assert_eq!(last, "421 4.4.2 idle for too long, closing the connection");
    assert!(held <= server_config().timeouts.idle);
}

#[test]
fn a_message_that_trickles_is_too_slow() {
    for (chunking, script) in [(false, &b"DATA\r\n"[..]), (true, b"BDAT 1000000\r\n")] {
        let config = changed(server_config(), |it| it.chunking = chunking);
        let slow = bed(config, &[TO_RCPT, script].concat());
        let (last, held) = until_sent_away(slow, 2 * MINUTE, |bed| drop(bed.feed(b"x")));
        assert_eq!(last, "421 4.4.2 the message comes too slowly, closing the connection");
        assert_eq!(held, 4 * MINUTE);
    }
    // Chunks without octets bring nothing either.
    let empty = bed(changed(server_config(), |it| it.chunking = true), TO_RCPT);
    let (last, held) = until_sent_away(empty, MINUTE, |bed| drop(bed.feed(b"BDAT 0\r\n")));
    assert_eq!(last, "421 4.4.2 the message comes too slowly, closing the connection");
    assert!(held <= 5 * MINUTE, "{held:?}");
}

/// Octets are read to the end of a chunk or of a message whatever is wrong with it, but not for
/// ever.
#[test]
fn dropped_chunks_and_bodies_count_as_no_progress() {
    let chunking = || changed(server_config(), |it| it.chunking = true);
    let small = || changed(chunking(), |it| it.size_limit = Some(1000));
    let endless = &b"BDAT 18446744073709551615\r\n"[..];
    for (config, script) in [
        // There is no transaction.
        (chunking(), endless.to_vec()),
        (server_config(), endless.to_vec()),
        // It is too large.
        (small(), [TO_RCPT, endless].concat()),
        (small(), [TO_RCPT, b"DATA\r\n"].concat()),
        // It has a bare LF.
        (chunking(), [TO_RCPT, b"DATA\r\na\nb\r\n"].concat()),
    ] {
        let progress = config.timeouts.progress;
        let (last, held) = until_sent_away(bed(config, &script), MINUTE, |bed| {
            drop(bed.feed(&b"0123456789abcdef\r\n".repeat(400)))
        });
        assert_eq!(last, "421 4.4.2 no message for too long, closing the connection");
        assert!(held <= progress + 2 * MINUTE, "{held:?}");
    }
}

#[test]
fn a_message_that_comes_at_its_pace_may_take_long() {
    let mut bed = bed(server_config(), &[TO_RCPT, b"DATA\r\n"].concat());
    // Two hours at the slowest pace that is allowed.
    for _ in 0..120 {
        bed.now += MINUTE;
        bed.feed(&b"0123456789abcdefgh\r\n".repeat(300));
        assert!(bed.want.is_ok());
    }
    assert!(bed.ask(b".\r\n").starts_with("250"));
    // And then another.
    bed.now += 4 * MINUTE;
    assert!(bed.ask(&[TO_RCPT, b"DATA\r\nx\r\n.\r\n"].concat()).ends_with("250 2.0.0 OK\r\n"));
}

#[test]
fn time_that_the_caller_takes_is_not_the_clients() {
    let mut bed = bed(server_config(), &[TO_RCPT, b"DATA\r\n"].concat());
    let mut output = Vec::new();
    for _ in 0..3 {
        let progress = bed.server.poll(b"x", &mut output, bed.now).unwrap();
        assert_eq!(progress.consumed, 1);
        // Storing it takes an hour.
        bed.now += 60 * MINUTE;
        bed.feed(b"");
        assert!(bed.want.is_ok());
    }
    // Nor is the reply to the message.
    let progress = bed.server.poll(b"\r\n.\r\n", &mut output, bed.now).unwrap();
    assert_eq!(progress.consumed, 5);
    drop(bed.server.poll(b"", &mut output, bed.now).unwrap());
    bed.now += 60 * MINUTE;
    bed.server.respond(&Response::fixed(250, (2, 0, 0), "OK"), &mut output).unwrap();
    assert!(bed.ask(b"NOOP\r\n").starts_with("250"));
    assert!(bed.server.deadline().is_some_and(|deadline| deadline >= bed.now + 5 * MINUTE));
}

#[test]
fn recipients_are_no_message() {
    let mut number = 0;
    let (last, held) =
        until_sent_away(bed(server_config(), b"EHLO c\r\nMAIL FROM:<>\r\n"), MINUTE, |bed| {
            number += 1;
            bed.feed(format!("RCPT TO:<r{number}@test.example>\r\n").as_bytes());
        });
    assert_eq!(last, "421 4.4.2 no message for too long, closing the connection");
    assert!(held <= server_config().timeouts.progress + MINUTE, "{held:?}");
}

#[test]
fn limits_can_be_switched_off() {
    let mut config = server_config();
    config.limits.body_rate = 0;
    let mut bed = bed(config, &[TO_RCPT, b"DATA\r\n"].concat());
    for _ in 0..1000 {
        bed.now += 2 * MINUTE;
        bed.feed(b"x");
        assert!(bed.want.is_ok());
    }
    bed.now += 4 * MINUTE;
    bed.feed(b"");
    assert!(matches!(bed.want, Err(Error::Timeout(_))));
}
