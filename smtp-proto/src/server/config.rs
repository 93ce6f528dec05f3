//! The configuration of a server: what it announces and takes.

use std::sync::Arc;

use super::tolerance::Tolerance;
use crate::Protocol;
use crate::channel::Channel;
use crate::date::Date;
use crate::sasl::server::Mechanism;
use crate::timeouts::Timeouts;
use crate::wire::command::XclientName;
use crate::wire::params::BodyType;
use crate::wire::path::{AddressRules, Domain};

/// The settings that all connections of a server share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The name in the greeting and in the EHLO reply.
    pub name: Domain<'static>,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Whether STARTTLS is offered, or demanded.
    pub starttls: StartTls,
    /// Which addresses beyond the grammar of RFC 5321 are taken; default [`AddressRules::FIELD`].
    pub addresses: AddressRules,
    /// What is taken from every client although the RFCs forbid it; default
    /// [`Tolerance::STRICT`]. [`Server::set_tolerance`](super::Server::set_tolerance) is for one
    /// client.
    pub tolerance: Tolerance,
    /// Octets of the largest message: announced with SIZE, enforced at MAIL and while the body
    /// comes (RFC 1870).
    pub size_limit: Option<u64>,
    /// Announce PIPELINING (RFC 2920). Pipelined commands are answered in order either way.
    pub pipelining: bool,
    /// Announce 8BITMIME (RFC 6152). Octets above 127 are taken either way.
    pub eight_bit_mime: bool,
    /// Announce CHUNKING (RFC 3030), and take BDAT. The events are the same as with DATA.
    pub chunking: bool,
    /// Announce BINARYMIME (RFC 3030) together with CHUNKING, and take BODY=BINARYMIME: such a
    /// message may hold any octets.
    pub binary_mime: bool,
    /// Announce `limits` with LIMITS (RFC 9422).
    pub announce_limits: bool,
    /// Announce SMTPUTF8 (RFC 6531), and take addresses that are not ASCII where MAIL says so. Goes
    /// together with `eight_bit_mime` (RFC 6531, section 3.1): without that it is not announced.
    pub smtputf8: bool,
    /// Announce DSN (RFC 3461), and take RET, ENVID, NOTIFY and ORCPT.
    pub dsn: bool,
    /// Announce REQUIRETLS inside TLS (RFC 8689, section 2), and take it there.
    pub require_tls: bool,
    /// Announce MT-PRIORITY (RFC 6710) with the name of the priority assignment profile, which may
    /// be empty.
    pub mt_priority: Option<String>,
    /// Announce DELIVERBY (RFC 2852) with the shortest time in seconds in which mail can be
    /// returned; 0 for none.
    pub deliver_by: Option<u32>,
    /// Announce FUTURERELEASE (RFC 4865); for submission servers only.
    pub future_release: Option<FutureRelease>,
    /// Announce AUTH (RFC 4954) with these mechanisms, the best first, and take it: inside TLS, and
    /// with `auth_in_clear` in clear text as well.
    pub mechanisms: Vec<Arc<dyn Mechanism>>,
    /// Announce AUTH outside TLS as well. RFC 4954, section 4: not for mechanisms that send
    /// passwords, unless something else protects them.
    pub auth_in_clear: bool,
    /// Refuse mail with 530 until the client has authenticated (RFC 4954, section 6). For
    /// submission servers.
    pub auth_required: bool,
    /// Announce ENHANCEDSTATUSCODES (RFC 2034), and write them.
    pub enhanced_status_codes: bool,
    /// Announce VRFY (RFC 5321, section 3.5.2). The command reaches the caller either way.
    pub vrfy: bool,
    /// Announce EXPN (RFC 5321, section 3.5.2). The command reaches the caller either way.
    pub expn: bool,
    /// Announce HELP (RFC 5321, section 4.1.1.8). The command reaches the caller either way.
    pub help: bool,
    /// Announce ETRN (RFC 1985), and take it.
    pub etrn: bool,
    /// Announce XCLIENT with these attributes, and take them; empty to refuse XCLIENT. The caller
    /// decides about each client: XCLIENT lets its sender claim any address, so clients other than
    /// known proxies should get 550.
    pub xclient: Vec<XclientName>,
    /// Announce BURL (RFC 4468) with its parameters, such as `imap`, and take it; for submission
    /// servers only. Goes together with `eight_bit_mime` (RFC 4468, section 4), and is not for
    /// LMTP.
    pub burl: Option<String>,
    /// Further EHLO lines, keyword and parameters. Controls become `?`.
    pub keywords: Vec<String>,
    /// Keywords of further parameters that are taken with MAIL. The event has them in
    /// `parameters.all`.
    pub mail_parameters: Vec<String>,
    /// Keywords of further parameters that are taken with RCPT. The event has them in
    /// `parameters.all`.
    pub rcpt_parameters: Vec<String>,
    /// Further verbs: their commands become [`ServerEvent::Other`](super::ServerEvent::Other).
    pub verbs: Vec<String>,
    /// Limits on what a client may send.
    pub limits: ServerLimits,
    /// Time limits; a server uses `idle`, `progress`, `body`, `auth` and `handshake`.
    pub timeouts: Timeouts,
}

impl ServerConfig {
    /// No TLS, no size limit, PIPELINING, 8BITMIME and ENHANCEDSTATUSCODES, no other extension.
    pub fn new(name: Domain<'static>) -> Self {
        Self {
            name,
            protocol: Protocol::Smtp,
            starttls: StartTls::No,
            addresses: AddressRules::FIELD,
            tolerance: Tolerance::STRICT,
            size_limit: None,
            pipelining: true,
            eight_bit_mime: true,
            chunking: false,
            binary_mime: false,
            announce_limits: false,
            smtputf8: false,
            dsn: false,
            require_tls: false,
            mt_priority: None,
            deliver_by: None,
            future_release: None,
            mechanisms: Vec::new(),
            auth_in_clear: false,
            auth_required: false,
            enhanced_status_codes: true,
            vrfy: false,
            expn: false,
            help: false,
            etrn: false,
            xclient: Vec::new(),
            burl: None,
            keywords: Vec::new(),
            mail_parameters: Vec::new(),
            rcpt_parameters: Vec::new(),
            verbs: Vec::new(),
            limits: ServerLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl ServerConfig {
    /// RFC 6531, section 3.1: a server that announces SMTPUTF8 must announce 8BITMIME.
    pub(super) fn announces_smtputf8(&self) -> bool {
        self.smtputf8 && self.eight_bit_mime
    }

    /// RFC 3030, section 3: BINARYMIME needs CHUNKING.
    pub(super) fn announces_binary_mime(&self) -> bool {
        self.binary_mime && self.chunking
    }

    /// RFC 4468, section 4: a server that announces BURL must announce 8BITMIME. RFC 4468, section
    /// 3.1: BURL is for submission.
    pub(super) fn announced_burl(&self) -> Option<&str> {
        self.burl.as_deref().filter(|_| self.eight_bit_mime && self.protocol == Protocol::Smtp)
    }

    /// The mechanisms that are offered on this channel.
    pub(super) fn offered(&self, channel: &Channel) -> impl Iterator<Item = &dyn Mechanism> {
        let clear = matches!(channel, Channel::Plain);
        let all: &[_] = if clear && !self.auth_in_clear { &[] } else { &self.mechanisms };
        all.iter().map(|mechanism| &**mechanism).filter(move |it| it.is_offered(channel))
    }

    /// RFC 6152, section 3 and RFC 3030, section 3: BODY is the parameter of both.
    pub(super) fn takes(&self, body: BodyType) -> bool {
        match body {
            BodyType::SevenBit | BodyType::EightBitMime => self.eight_bit_mime,
            BodyType::BinaryMime => self.announces_binary_mime(),
        }
    }

    /// RFC 9422, section 4: numbers of at most six digits.
    pub(super) fn limits_line(&self) -> String {
        let ServerLimits { recipients, transactions, recipient_domains, .. } = self.limits;
        let limits = [
            ("MAILMAX", transactions),
            ("RCPTMAX", Some(recipients)),
            ("RCPTDOMAINMAX", recipient_domains),
        ];
        let mut line = "LIMITS".to_owned();
        for (name, limit) in
            limits.into_iter().filter_map(|(name, limit)| Some((name, limit.filter(|&it| it > 0)?)))
        {
            line.push_str(&format!(" {name}={}", limit.min(MAX_LIMIT)));
        }
        line
    }
}

/// Whether a server offers STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartTls {
    /// Not offered.
    No,
    /// Offered.
    Offered,
    /// Until STARTTLS, every command but NOOP, EHLO, STARTTLS and QUIT gets 530. RFC 3207, section
    /// 4: a server that is publicly referenced must not do this.
    Required,
}

/// How long a message can be held (RFC 4865, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FutureRelease {
    /// Seconds, at most 999 999 999.
    pub longest: u32,
    /// The last point in time. It is announced; the handler compares HOLDUNTIL with it and with the
    /// time of BY (RFC 4865, section 5.2.2), because the machine has no clock.
    pub last: Date,
}

impl FutureRelease {
    /// A message can be held for so many seconds, and until this point in time.
    pub const fn new(longest: u32, last: Date) -> Self {
        Self { longest, last }
    }
}

const MAX_LIMIT: usize = crate::wire::capabilities::Limits::MAX as usize;

/// Limits on what a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Octets of a command line with its CRLF. RFC 5321, section 4.5.3.1.4: at least 512, more with
    /// extensions; 2048 is what Postfix takes.
    pub command_line: usize,
    /// Octets of a line of AUTH, its command included, with its CRLF. RFC 4954, section 4: 12288 is
    /// enough for all mechanisms. A client must not send a longer command than elsewhere, but
    /// tokens make many do so.
    pub auth_line: usize,
    /// Attempts to authenticate that may fail by the client's fault; one more ends the connection
    /// with 421. RFC 4954, section 9: at least 3.
    pub failed_attempts: usize,
    /// Recipients of a transaction. RFC 5321, section 4.5.3.1.8: at least 100.
    pub recipients: usize,
    /// Different domains among the recipients of a transaction; none for no limit (RFC 9422,
    /// section 4.3).
    pub recipient_domains: Option<usize>,
    /// Transactions on a connection; none for no limit (RFC 9422, section 4.1).
    pub transactions: Option<usize>,
    /// Commands that were refused for syntax or order; one more ends the connection with 421. RFC
    /// 5321, section 4.3.2 leaves the number open; 20 is what Postfix takes.
    pub errors: usize,
    /// Commands with unknown verbs; one more ends the connection with 421. They count as errors as
    /// well. Clients that probe for extensions send a few; programs that do not speak SMTP send
    /// nothing else.
    pub unknown_commands: usize,
    /// Commands between two messages that bring none forward: NOOP, RSET, EHLO, VRFY, EXPN, HELP,
    /// ETRN, XCLIENT and those of [`ServerConfig::verbs`]. One more ends the connection with 421.
    /// 100 is what Postfix takes.
    pub idle_commands: usize,
    /// Octets a second at which a message must arrive on average, after a grace of
    /// [`Timeouts::body`](crate::timeouts::Timeouts::body); 0 for no limit. Time that the caller
    /// takes does not count. RFC 5321, section 4.5.3.2 bounds the silence between two pieces only,
    /// so that one octet every three minutes would hold a connection for years. 100 is a fifth of
    /// what Postfix wants under stress.
    pub body_rate: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            command_line: 2048,
            auth_line: 12288,
            failed_attempts: 3,
            recipients: 1000,
            recipient_domains: None,
            transactions: None,
            errors: 20,
            unknown_commands: 10,
            idle_commands: 100,
            body_rate: 100,
        }
    }
}
