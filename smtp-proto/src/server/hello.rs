//! What the server says of itself: the greeting and the replies to EHLO and HELO.

use super::{Server, StartTls};
use crate::Protocol;
use crate::fallback::Channel;
use crate::reply::{Response, first_line};

impl Server {
    /// RFC 5321, 4.2 and 4.1.1.1: greeting and EHLO reply begin with the server's name.
    pub(super) fn named(&self, response: &Response, protocol: &str) -> String {
        format!("{} {protocol}{}", self.config.name, response.text())
    }

    pub(super) fn greet(&self, response: &Response, output: &mut Vec<u8>) {
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let text = self.named(response, if lmtp { "LMTP " } else { "ESMTP " });
        Response::new(response.code(), (0, 0, 0), text).write(false, output);
    }

    pub(super) fn write_capabilities(&self, response: &Response, output: &mut Vec<u8>) {
        let config = &self.config;
        // Every line but the first is a keyword to the client (RFC 5321, 4.1.1.1), so the greeting has only one.
        let mut text = first_line(&self.named(response, "")).to_owned();
        let clear = matches!(self.channel, Channel::Plain);
        let with = |keyword: &str, parameter: String| format!("{keyword} {parameter}").trim_end().to_owned();
        let plain = |keyword: &str, announced: bool| announced.then(|| keyword.to_owned());
        let lines = [
            plain("PIPELINING", config.pipelining),
            config.size_limit.map(|limit| with("SIZE", limit.to_string())),
            // RFC 3207, 4.2: not offered again inside TLS.
            plain("STARTTLS", clear && config.starttls != StartTls::No),
            plain("8BITMIME", config.eight_bit_mime),
            plain("CHUNKING", config.chunking),
            plain("BINARYMIME", config.announces_binary_mime()),
            config.announce_limits.then(|| config.limits_line()),
            plain("ENHANCEDSTATUSCODES", config.enhanced_status_codes),
            plain("SMTPUTF8", config.announces_smtputf8()),
            plain("DSN", config.dsn),
            // RFC 4954, 3; outside TLS only where the configuration says so.
            self.auth_line(),
            // RFC 8689, 2: never in clear text.
            plain("REQUIRETLS", config.require_tls && !clear),
            config.mt_priority.clone().map(|profile| with("MT-PRIORITY", profile)),
            config
                .deliver_by
                .map(|minimum| with("DELIVERBY", if minimum > 0 { minimum.to_string() } else { String::new() })),
            config.future_release.map(|it| with("FUTURERELEASE", format!("{} {}", it.longest, it.last))),
            config.announced_burl().map(|parameters| with("BURL", parameters.to_owned())),
            plain("VRFY", config.vrfy),
            plain("EXPN", config.expn),
            plain("HELP", config.help),
            plain("ETRN", config.etrn),
            (!config.xclient.is_empty())
                .then(|| config.xclient.iter().fold("XCLIENT".to_owned(), |line, name| line + " " + name.as_str())),
        ];
        for line in lines.iter().flatten().chain(&config.keywords) {
            text.push('\n');
            text.extend(line.chars().map(|char| if char.is_control() { '?' } else { char }));
        }
        Response::new(250, (0, 0, 0), text).write(false, output);
    }
}
