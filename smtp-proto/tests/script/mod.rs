//! A file of a conversation, taken apart.

use std::path::Path;

use smtp_proto::client;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::server::{FutureRelease, StartTls};
use smtp_proto::wire::command::{Command, XclientName};
use smtp_proto::wire::params::Xtext;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::{Date, Protocol};

use crate::common::{client_config, mechanisms, server_config};

/// What a client does when it is its turn.
pub(crate) enum Action {
    Mail(Envelope, Vec<Piece>),
    /// A command line.
    Command(String),
    /// What to authenticate with.
    Auth(String),
    /// Nothing, until the server says something.
    Idle,
}

/// A piece of a body.
pub(crate) enum Piece {
    Octets(Vec<u8>),
    /// Where it is, and whether it is the last.
    Uri(String, bool),
    /// The rest is late, and does not come.
    Stall,
}

/// A file, taken apart.
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) head: Vec<(String, String)>,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Server(Vec<u8>),
    Client(Vec<u8>),
    Event(String),
    Tls,
    Eof,
}

pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, true) => match chars.next() {
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some('0') => out.push('\0'),
                Some('u') => {
                    let code: String =
                        chars.by_ref().skip(1).take_while(|&char| char != '}').collect();
                    out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
                }
                Some(other) => out.push(other),
                None => {}
            },
            (char, false) => out.push(char),
        }
    }
    out
}

pub(crate) fn wire(text: &str) -> Vec<u8> {
    let whole = if text.ends_with('\\') { unescape(text) } else { unescape(text) + "\r\n" };
    whole.into_bytes()
}

impl Script {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("---\n").expect("a head and a body");
        let content = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
        let head = content(head).into_iter().map(|line| {
            let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            (key.to_owned(), value.to_owned())
        });
        let lines = content(body).into_iter().map(|line| {
            match (line.as_str(), line.split_at(line.len().min(2))) {
                ("TLS", _) => Line::Tls,
                ("EOF", _) => Line::Eof,
                (_, (kind, rest)) => {
                    let rest = rest.strip_prefix(' ').unwrap_or(rest);
                    match kind {
                        "S:" => Line::Server(wire(rest)),
                        "C:" => Line::Client(wire(rest)),
                        "E:" => Line::Event(rest.to_owned()),
                        _ => panic!("{line}"),
                    }
                }
            }
        });
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { name, head: head.collect(), lines: lines.collect() }
    }

    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.head.iter().filter(move |(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn events(&self) -> Vec<&String> {
        self.lines
            .iter()
            .filter_map(|line| if let Line::Event(event) = line { Some(event) } else { None })
            .collect()
    }

    pub(crate) fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all("config")
            .flat_map(|line| line.split(' '))
            .map(|word| word.split_once('=').unwrap_or((word, "")))
    }

    pub(crate) fn server_config(&self) -> smtp_proto::server::ServerConfig {
        let mut config = server_config();
        for (option, value) in self.options() {
            match option {
                "starttls" => config.starttls = StartTls::Offered,
                "size" => config.size_limit = Some(value.parse().unwrap()),
                "smtputf8" => config.smtputf8 = true,
                "dsn" => config.dsn = true,
                "requiretls" => config.require_tls = true,
                "mt-priority" => config.mt_priority = Some(value.to_owned()),
                "deliverby" => config.deliver_by = Some(value.parse().unwrap()),
                "futurerelease" => {
                    let (longest, last) = value.split_once(',').unwrap();
                    config.future_release = Some(FutureRelease::new(
                        longest.parse().unwrap(),
                        Date::parse_rfc3339(last).unwrap(),
                    ));
                }
                "keyword" => config.keywords.push(value.replace(',', " ")),
                "mail-parameter" => config.mail_parameters.push(value.to_owned()),
                "rcpt-parameter" => config.rcpt_parameters.push(value.to_owned()),
                "auth" => {
                    config.mechanisms = mechanisms();
                    let names: Vec<&str> =
                        value.split(',').filter(|name| !name.is_empty()).collect();
                    config.mechanisms.retain(|it| names.is_empty() || names.contains(&it.name()));
                }
                "auth-in-clear" => config.auth_in_clear = true,
                "auth-required" => config.auth_required = true,
                "verb" => config.verbs.push(value.to_owned()),
                "no-pipelining" => config.pipelining = false,
                "no-8bitmime" => config.eight_bit_mime = false,
                "no-enhancedstatuscodes" => config.enhanced_status_codes = false,
                "starttls-required" => config.starttls = StartTls::Required,
                "vrfy" => config.vrfy = true,
                "expn" => config.expn = true,
                "help" => config.help = true,
                "etrn" => config.etrn = true,
                "xclient" => {
                    config.xclient =
                        value.split(',').map(|name| XclientName::of(name).unwrap()).collect()
                }
                "burl" => config.burl = Some(value.replace(',', " ")),
                "errors" => config.limits.errors = value.parse().unwrap(),
                "unknown-commands" => config.limits.unknown_commands = value.parse().unwrap(),
                "idle-commands" => config.limits.idle_commands = value.parse().unwrap(),
                "chunking" => config.chunking = true,
                "binarymime" => config.binary_mime = true,
                "lmtp" => config.protocol = Protocol::Lmtp,
                "limits" => {
                    let numbers: Vec<usize> =
                        value.split(',').map(|it| it.parse().unwrap()).collect();
                    config.announce_limits = true;
                    config.limits.recipients = numbers[0];
                    config.limits.transactions = Some(numbers[1]);
                    config.limits.recipient_domains = Some(numbers[2]);
                }
                _ => panic!("{}: {option}", self.name),
            }
        }
        config
    }

    pub(crate) fn client_config(&self) -> (client::ClientConfig, TlsRules) {
        let mut config = client_config();
        let mut rules = TlsRules::Never;
        for (option, _) in self.options() {
            match option {
                "no-pipelining" => config.pipelining = false,
                "chunking" => config.chunking = true,
                "lmtp" => config.protocol = Protocol::Lmtp,
                "leave" => config.leave_over_limit = true,
                "tls" => rules = TlsRules::REQUIRED,
                "opportunistic" => rules = TlsRules::OPPORTUNISTIC,
                _ => panic!("{}: {option}", self.name),
            }
        }
        (config, rules)
    }

    /// What a client is to send.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (key, value) in &self.head {
            let value = unescape(value);
            match (key.as_str(), actions.last_mut()) {
                ("command", _) => actions.push(Action::Command(value)),
                ("auth", _) => actions.push(Action::Auth(value)),
                ("idle", _) => actions.push(Action::Idle),
                ("stall", Some(Action::Mail(_, pieces))) => pieces.push(Piece::Stall),
                ("xclient", _) => actions.push(Action::Command(format!("XCLIENT {value}"))),
                ("mail", _) => {
                    match Command::parse(
                        format!("MAIL FROM:{value}").as_bytes(),
                        AddressRules::STRICT,
                    )
                    .unwrap()
                    {
                        Command::Mail { path, parameters } => {
                            let auth = parameters.auth.clone().map(Xtext::into_owned);
                            actions.push(Action::Mail(
                                {
                                    let mut envelope = Envelope::relaying(path, &parameters);
                                    (envelope.auth, envelope.size) = (auth, parameters.size);
                                    envelope
                                },
                                vec![],
                            ));
                        }
                        _ => unreachable!(),
                    }
                }
                ("rcpt", Some(Action::Mail(envelope, _))) => {
                    match Command::parse(
                        format!("RCPT TO:{value}").as_bytes(),
                        AddressRules::STRICT,
                    )
                    .unwrap()
                    {
                        Command::Rcpt { path, parameters } => {
                            envelope.recipients.push(Recipient::relaying(path, &parameters));
                        }
                        _ => unreachable!(),
                    }
                }
                ("further", Some(Action::Mail(envelope, _))) => {
                    envelope.parameters = value.parse().unwrap()
                }
                ("body", Some(Action::Mail(_, pieces))) => {
                    pieces.push(Piece::Octets(value.into_bytes()))
                }
                ("uri", Some(Action::Mail(envelope, pieces))) => {
                    envelope.burl = true;
                    let uri = value.strip_suffix(" LAST");
                    pieces.push(Piece::Uri(uri.unwrap_or(&value).to_owned(), uri.is_some()));
                }
                _ => {}
            }
        }
        actions
    }
}
