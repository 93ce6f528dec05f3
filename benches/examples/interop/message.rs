//! The message that is sent, and whether what was stored is the same.

use std::borrow::Cow;

use crate::lab::unique;

/// A message that is easily damaged on its way.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// A word that no other message has.
    pub(crate) mark: String,
    /// Header and body, lines ended by CRLF, the last one too.
    pub(crate) text: String,
}

impl Mail {
    /// From one address to another, without brackets. `filling`: lines of 900 octets more.
    pub(crate) fn new(from: &str, to: &str, filling: usize) -> Self {
        let mark = unique("interop");
        // RFC 6531, section 3.4: with SMTPUTF8 a header may hold what an address may.
        let greeting = if from.is_ascii() { "Greetings" } else { "Gr\u{fc}\u{df}e" };
        // RFC 5321, section 4.5.3.1.6 allows 998; Haraka folds lines of more than 990, Sendmail
        // reports one of 990 as an error.
        let long = "x".repeat(980);
        let filling = format!("{}\r\n", "0123456789".repeat(90)).repeat(filling);
        let text = format!(
            "From: <{from}>\r\nTo: <{to}>\r\nSubject: {greeting} {mark}\r\n\
             Date: Tue, 3 Mar 2009 11:08:33 +0000\r\nMessage-ID: <{mark}@client.test.example>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             One line.\r\n.\r\n..\r\n.dot\r\n..two dots\r\n\r\n{long}\r\n{filling}\
             \ttab, trailing space \r\nQUIT\r\n gr\u{fc}\u{df}e\r\n.\r\nend of {mark}\r\n"
        );
        Self { mark, text }
    }

    /// The line that the stored message ends with.
    pub(crate) fn end(&self) -> String {
        format!("end of {}", self.mark)
    }
}

/// Stores of Unix keep LF for CRLF. No message sent here has a bare LF, so that loses nothing.
fn with_crlf(stored: &[u8]) -> Cow<'_, [u8]> {
    if stored.windows(2).any(|pair| pair == b"\r\n") {
        return stored.into();
    }
    let mut lines = Vec::with_capacity(stored.len() + stored.len() / 32);
    for &byte in stored {
        if byte == b'\n' {
            lines.push(b'\r');
        }
        lines.push(byte);
    }
    lines.into()
}

/// Whether a stored message is the one that was sent, octet by octet, below header fields that the
/// server has added.
pub(crate) fn intact(stored: &[u8], sent: &[u8]) -> Result<(), String> {
    let stored = with_crlf(stored);
    if stored.ends_with(sent) {
        // The first of our fields begins a line, or else it is the value of another.
        let added = &stored[..stored.len() - sent.len()];
        if added.is_empty() || added.ends_with(b"\r\n") {
            return Ok(());
        }
    }
    let same = stored
        .iter()
        .rev()
        .zip(sent.iter().rev())
        .take_while(|(stored, sent)| stored == sent)
        .count();
    let show = |bytes: &[u8]| {
        let end = bytes.len().saturating_sub(same);
        bytes[end.saturating_sub(40)..end].escape_ascii().to_string()
    };
    Err(format!(
        "not as sent: stored \"{}\" for \"{}\", {same} octets before the end",
        show(&stored),
        show(sent)
    ))
}
