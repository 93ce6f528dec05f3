//! The conversation of a client, for the log: each command and each reply.
//!
//! The events have the level TRACE and the target [`TARGET`]. Credentials and the octets of
//! messages are never in them; addresses are. Hidden characters are shown as U+FFFD.

use smtp_proto::channel::TlsInfo;
use smtp_tls_policy::visible;
use tracing::Level;

const TARGET: &str = "smtp_tokio_adapter::conversation";
/// Most octets that are logged of input that is no reply.
const MAX_REST: usize = 1024;

/// Whether anything listens.
pub(super) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// One step of the machine: the input, how much of it was a reply (`None` if it is none), and what
/// the machine said then.
pub(super) fn step(input: &[u8], consumed: Option<usize>, output: &[u8], has_secrets: bool) {
    let heard = match consumed {
        Some(consumed) => input.get(..consumed).unwrap_or_default(),
        None => input.get(..MAX_REST).unwrap_or(input),
    };
    for line in lines(heard) {
        let line = if has_secrets { codes(&line) } else { line };
        tracing::trace!(target: TARGET, server = &*line);
    }
    if has_secrets && !output.is_empty() {
        tracing::trace!(target: TARGET, client = "(credentials)");
        return;
    }
    for line in lines(output) {
        tracing::trace!(target: TARGET, client = &*line);
    }
}

/// A piece of a message goes out, or the end of it.
pub(super) fn message(octets: usize) {
    let text = match octets {
        0 => "(end of the message)".to_owned(),
        _ => format!("({octets} octets of the message)"),
    };
    tracing::trace!(target: TARGET, client = &*text);
}

/// TLS is up: from here everything is said inside it.
pub(super) fn tls(tls: &TlsInfo) {
    let TlsInfo { version, cipher, group, .. } = tls;
    tracing::trace!(target: TARGET, version, cipher, group = group.unwrap_or("not known"));
}

/// The codes of a reply in an AUTH exchange. The rest may be what a password can be guessed by, or
/// what the server repeats of it.
fn codes(line: &str) -> String {
    let is_code = |word: &&str| word.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let mut words: Vec<_> = line.split([' ', '-']).take(2).take_while(is_code).collect();
    words.push("(hidden)");
    words.join(" ")
}

fn lines(octets: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(octets).lines().map(visible).collect()
}
