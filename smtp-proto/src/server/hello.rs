//! The greeting, and the replies to EHLO and HELO.

use std::fmt::{self, Write as _};

use super::{FutureRelease, Server, StartTls};
use crate::Protocol;
use crate::channel::Channel;
use crate::wire::reply::{Response, first_line};

impl Server {
    /// RFC 5321, sections 4.2 and 4.1.1.1: greeting and EHLO reply begin with the server's name.
    pub(super) fn named(&self, response: &Response, protocol: &str) -> String {
        let mut text = self.config.name.to_string();
        // RFC 5321, sections 4.2 and 4.1.1.1: no space at the end.
        for word in [protocol, response.text()].into_iter().filter(|word| !word.is_empty()) {
            text.push(' ');
            text.push_str(word);
        }
        text
    }

    pub(super) fn greet(&self, response: &Response, output: &mut Vec<u8>) {
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let text = self.named(response, if lmtp { "LMTP" } else { "ESMTP" });
        Response::new(response.code(), (0, 0, 0), text).write(false, output);
    }

    pub(super) fn write_capabilities(&self, response: &Response, output: &mut Vec<u8>) {
        let config = &self.config;
        let clear = matches!(self.channel, Channel::Plain);
        let mut lines = Lines::new(self.named(response, ""));
        lines.push_if(config.pipelining, "PIPELINING");
        if let Some(limit) = config.size_limit {
            lines.push(format_args!("SIZE {limit}"));
        }
        // RFC 3207, section 4.2: not offered again inside TLS.
        lines.push_if(clear && config.starttls != StartTls::No, "STARTTLS");
        lines.push_if(config.eight_bit_mime, "8BITMIME");
        lines.push_if(config.chunking, "CHUNKING");
        lines.push_if(config.announces_binary_mime(), "BINARYMIME");
        if config.announce_limits {
            lines.push(format_args!("{}", config.limits_line()));
        }
        lines.push_if(config.enhanced_status_codes, "ENHANCEDSTATUSCODES");
        lines.push_if(config.announces_smtputf8(), "SMTPUTF8");
        lines.push_if(config.dsn, "DSN");
        // RFC 4954, section 3; outside TLS only where the configuration says so.
        lines.push_words("AUTH", config.offered(&self.channel).map(|mechanism| mechanism.name()));
        // RFC 8689, section 2: never in clear text.
        lines.push_if(config.require_tls && !clear, "REQUIRETLS");
        if let Some(profile) = &config.mt_priority {
            let space = if profile.is_empty() { "" } else { " " };
            lines.push(format_args!("MT-PRIORITY{space}{profile}"));
        }
        match config.deliver_by {
            None => {}
            Some(0) => lines.push(format_args!("DELIVERBY")),
            Some(minimum) => lines.push(format_args!("DELIVERBY {minimum}")),
        }
        if let Some(FutureRelease { longest, last }) = config.future_release {
            lines.push(format_args!("FUTURERELEASE {longest} {}", last.rfc3339()));
        }
        if let Some(parameters) = config.announced_burl() {
            lines.push(format_args!("BURL {parameters}"));
        }
        lines.push_if(config.vrfy, "VRFY");
        lines.push_if(config.expn, "EXPN");
        lines.push_if(config.help, "HELP");
        lines.push_if(config.etrn, "ETRN");
        lines.push_words("XCLIENT", config.xclient.iter().map(|name| name.as_str()));
        for keyword in &config.keywords {
            lines.push(format_args!("{keyword}"));
        }
        Response::new(250, (0, 0, 0), lines.text).write(false, output);
    }
}

/// The text of an EHLO reply, allocated once.
struct Lines {
    text: String,
}

impl Lines {
    /// Every line but the first is a keyword to the client (RFC 5321, section 4.1.1.1), so the
    /// greeting has only one.
    fn new(mut greeting: String) -> Self {
        greeting.truncate(first_line(&greeting).len());
        greeting.reserve(512);
        Self { text: greeting }
    }

    fn push_if(&mut self, announced: bool, keyword: &str) {
        if announced {
            self.text.push('\n');
            self.text.push_str(keyword);
        }
    }

    /// A line with these words; no line if there are none.
    fn push_words<'w>(&mut self, keyword: &str, words: impl IntoIterator<Item = &'w str>) {
        for (index, word) in words.into_iter().enumerate() {
            self.push_if(index == 0, keyword);
            self.text.push(' ');
            self.text.push_str(word);
        }
    }

    /// A line with what the configuration says: it has no white space at its end, and controls
    /// become `?`.
    fn push(&mut self, line: fmt::Arguments<'_>) {
        self.text.push('\n');
        let start = self.text.len();
        // A `String` takes everything.
        let _ = self.text.write_fmt(line);
        if self.text[start..].contains(char::is_control) {
            let line = self.text.split_off(start);
            self.text.extend(line.chars().map(|char| if char.is_control() { '?' } else { char }));
        }
        self.text.truncate(self.text.trim_end().len());
    }
}
