//! Our client, their servers: one message for each cell, sent by `deliver` through a relay that
//! keeps what passes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::wire::params::{BodyType, Notify, Orcpt, Ret, Xtext};
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{
    IdentityId, OutboundConnector, OutboundConnectors, Posture, SmartHost,
};
use smtp_tls_policy::tls::ClientTls;
use smtp_tls_policy::{Domain, Host, Namespace};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{Decision, Outbound, Sender};
use tokio::runtime::Runtime;

use crate::lab::{Lab, Peer, Server, contains};
use crate::matrix::{Cell, Column, Role, Row};
use crate::message::{Mail, intact};
use crate::our_server::{PASSWORD, USER};
use crate::peers::installed;
use crate::tap::Tap;
use crate::transcripts::{Channel, Place, Recorded};
use crate::wire::{Seen, Tls};

/// The name in the lab's certificates.
const HOST: &str = "mail.test.example";
const SENDER: &str = "sender@client.test.example";
const RECIPIENT: &str = "reader@test.example";
const SENDER_UTF8: &str = "j\u{fc}rgen@client.test.example";
const RECIPIENT_UTF8: &str = "\u{3b4}\u{3bf}\u{3ba}\u{3b9}\u{3bc}\u{3ae}@test.example";
const ENVELOPE_ID: &str = "interop=1+1";
/// How long one message may take.
const DELIVERY: Duration = Duration::from_secs(60);
/// Lines of 900 octets: more than one chunk.
const MANY_LINES: usize = 300;

/// The row of one server. None where it is not installed and need not be.
pub(crate) fn row(lab: &Lab, runtime: &Runtime, peer: Peer) -> Option<Row> {
    let row = |name: String, cells| Some(Row { role: Role::Server, peer: name, cells });
    let nothing = |why: &str| Column::ALL.map(|_| Cell::Blank(why.to_owned()));
    let Some(version) = installed(lab, peer) else {
        let is_optional = !peer.suite.name().is_empty();
        return if is_optional { None } else { row(peer.to_string(), nothing("not installed")) };
    };
    let recorded = match Recorded::of(&lab.scripts.join("transcripts"), peer.name, version) {
        Ok(recorded) => recorded,
        Err(why) => return row(peer.to_string(), nothing(&why)),
    };
    let places = Column::ALL.map(|column| {
        // The lab has AUTH off there; it can be had all the same.
        let shown = (column, peer.name) == (Column::Auth, "smtp-server");
        recorded
            .support(column)
            .cloned()
            .or_else(|| shown.then(|| (String::new(), Channel::StartTls)))
    });
    let mut cells = Column::ALL.map(|_| Cell::Unsupported);
    let mut settings: Vec<Setting> = Vec::new();
    for (column, place) in Column::ALL.into_iter().zip(&places) {
        if let Some(place) = place {
            let setting = Setting::of(&recorded, column, place);
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
    }
    for setting in settings {
        let server = setting.start(lab, peer);
        for ((column, place), cell) in Column::ALL.into_iter().zip(&places).zip(&mut cells) {
            let Some(place) =
                place.as_ref().filter(|place| Setting::of(&recorded, column, place) == setting)
            else {
                continue;
            };
            let result = match &server {
                Ok(server) => send(lab, runtime, server, column, place),
                Err(why) => Err(why.clone()),
            };
            *cell = result.into();
        }
    }
    row(recorded.label.clone(), cells)
}

/// How a server must be started for a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Setting {
    /// With STARTTLS, or without any TLS if it has none.
    Usual {
        starttls: bool,
    },
    ImplicitTls,
    /// With STARTTLS and a user of ours, without whose password no mail is taken.
    Demanding,
    /// A mode of the transcripts.
    Mode(String),
}

impl Setting {
    fn of(recorded: &Recorded, column: Column, (mode, channel): &Place) -> Self {
        match (column, channel) {
            (_, Channel::Implicit) => Self::ImplicitTls,
            (Column::Auth, _) => Self::of_auth(mode),
            _ if mode.is_empty() => {
                Self::Usual { starttls: recorded.support(Column::StartTls).is_some() }
            }
            _ => Self::Mode(mode.clone()),
        }
    }

    /// In its usual setting the lab offers no mechanism.
    fn of_auth(mode: &str) -> Self {
        if mode.is_empty() { Self::Demanding } else { Self::Mode(mode.to_owned()) }
    }

    fn start(&self, lab: &Lab, peer: Peer) -> Result<Server, String> {
        let certificate = lab.certificate_options("valid");
        let certificate = certificate.each_ref().map(String::as_str);
        let client_ca = lab.pki("client-ca.pem");
        match self {
            Self::Usual { starttls: false } => lab.start(peer, &["--starttls", "none"]),
            Self::Usual { starttls: true } => lab.start(peer, &certificate),
            Self::ImplicitTls => {
                lab.start(peer, &[certificate.as_slice(), &["--starttls", "implicit"]].concat())
            }
            Self::Demanding => {
                let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/interop/servers");
                // A library for the one, a module for the other; NODE_PATH is where the module
                // finds the server.
                let require = format!("--require={}", ours.join("demand-auth.js").display());
                let modules = lab.state.join("node/node_modules");
                let environment = [
                    ("PYTHONPATH", ours.as_os_str()),
                    ("NODE_OPTIONS", require.as_ref()),
                    ("NODE_PATH", modules.as_os_str()),
                    ("INTEROP_USER", USER.as_ref()),
                    ("INTEROP_PASSWORD", PASSWORD.as_ref()),
                ];
                match peer.name {
                    "aiosmtpd" | "smtp-server" => lab.start_in(peer, &environment, &certificate),
                    name => Err(format!("no user can be made for {name}")),
                }
            }
            Self::Mode(mode) if mode.starts_with("cert-request") => {
                let asking = ["--client-cert", "request", "--client-ca", &client_ca];
                lab.start(peer, &[certificate.as_slice(), &asking].concat())
            }
            Self::Mode(mode) => Err(format!("the transcripts show it only in the mode {mode}")),
        }
    }
}

/// Sends one message and looks at what was stored, and at what passed on the way.
fn send(
    lab: &Lab,
    runtime: &Runtime,
    server: &Server,
    column: Column,
    place: &Place,
) -> Result<String, String> {
    let utf8 = column == Column::SmtpUtf8;
    let (sender, recipient) =
        if utf8 { (SENDER_UTF8, RECIPIENT_UTF8) } else { (SENDER, RECIPIENT) };
    let mail =
        Mail::new(sender, recipient, if column == Column::Chunking { MANY_LINES } else { 0 });
    let envelope = envelope(&mail, column, sender, recipient)?;
    let outbound = outbound(lab, column)?;
    let credentials = credentials(column, &place.0);
    let message = Bytes::from(mail.text.clone());
    let (report, conversations) = runtime.block_on(async {
        let tap = Tap::start(server.address).await?;
        let connector = connector(column, place.1, tap.address.port())?;
        let sender = self::sender(outbound, connector, credentials)?;
        let report = tokio::time::timeout(DELIVERY, sender.send(envelope, &message)).await;
        let report = report.map_err(|_| format!("no end within {} s", DELIVERY.as_secs()))?;
        sender.close().await;
        Ok::<_, String>((report, tap.take().await))
    })?;
    let seen: Vec<Seen> = conversations.iter().map(Seen::of).collect();
    let [attempt] = &*report.attempts else {
        return Err(format!("{} connections", report.attempts.len()));
    };
    if report.statuses() != [RecipientStatus::Delivered] {
        return Err(format!(
            "{:?}: {}; {}",
            report.statuses(),
            attempt.decision.sentence,
            refusals(&seen)
        ));
    }
    let [seen] = &*seen else { return Err(format!("{} connections passed the relay", seen.len())) };
    let stored = server.stored(&mail.end())?;
    intact(&stored, mail.text.as_bytes())?;
    let seen = shows(seen, &attempt.decision, column, place.1)?;
    if column == Column::Auth && !matches!(Setting::of_auth(&place.0), Setting::Demanding) {
        // RFC 3848: A for AUTH.
        let says = |protocol: &str| contains(&stored, protocol.as_bytes());
        return if says("with ESMTPSA ") {
            Ok(format!("{seen}, ESMTPSA"))
        } else {
            Err("not stored as ESMTPSA".into())
        };
    }
    Ok(seen)
}

/// What the server did not accept, to find the fault by.
fn refusals(seen: &[Seen]) -> String {
    let refused = seen.iter().flat_map(|it| &it.commands).filter(|it| !it.is_accepted());
    let words: Vec<_> =
        refused.map(|it| format!("{} {:?}", it.line.escape_ascii(), it.code)).collect();
    words.join(", ")
}

/// Whether a conversation was what its column says; in a word what was seen of it.
fn shows(
    seen: &Seen,
    decision: &Decision,
    column: Column,
    channel: Channel,
) -> Result<String, String> {
    let expected = match (column, channel) {
        (Column::ImplicitTls, _) | (_, Channel::Implicit) => Tls::FromTheFirstByte,
        (Column::StartTls, _) | (_, Channel::StartTls) => Tls::Upgraded,
        (_, Channel::Clear) => Tls::None,
    };
    if seen.tls != expected || seen.records != (expected != Tls::None) {
        return Err(format!("TLS was {:?}, records {}", seen.tls, seen.records));
    }
    if (expected == Tls::None) != decision.tls.is_none() {
        return Err(format!("the client takes it for {:?}", decision.tls));
    }
    match column {
        Column::Clear => exactly_one(seen, "DATA").map(|_| "clear text".into()),
        Column::StartTls | Column::ImplicitTls => match &decision.tls {
            Some(tls) if seen.all("MAIL").next().is_none() => {
                Ok(format!("{} {}", tls.version, tls.cipher))
            }
            _ => Err("MAIL was sent in clear text".into()),
        },
        Column::Pipelining => seen.pipelined(),
        Column::Chunking => seen.chunked(),
        Column::SmtpUtf8 => seen.smtputf8(),
        Column::Dsn => {
            let (mail, rcpt) = (exactly_one(seen, "MAIL")?, exactly_one(seen, "RCPT")?);
            let asked = mail.has("RET=HDRS")
                && mail.has("ENVID=INTEROP+3D1+2B1")
                && rcpt.has("NOTIFY=FAILURE,DELAY")
                && rcpt.has("ORCPT=RFC822;READER@TEST.EXAMPLE");
            if !asked || !mail.is_accepted() || !rcpt.is_accepted() {
                return Err(format!("{mail:?}, {rcpt:?}"));
            }
            Ok("RET, ENVID, NOTIFY, ORCPT".into())
        }
        // With credentials no mail is sent without 235, and it is inside TLS, where the relay
        // cannot see it.
        Column::Auth => Ok("authenticated".into()),
    }
}

fn exactly_one<'s>(seen: &'s Seen, verb: &'s str) -> Result<&'s crate::wire::Command, String> {
    let mut all = seen.all(verb);
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (first, _) => {
            Err(format!("{} {verb}", if first.is_some() { "more than one" } else { "no" }))
        }
    }
}

fn envelope(
    mail: &Mail,
    column: Column,
    sender: &str,
    recipient: &str,
) -> Result<Envelope, String> {
    let dsn = column == Column::Dsn;
    let xtext = |text: &str| Xtext::parse(&Xtext::encode(text.as_bytes())).map(Xtext::into_owned);
    let mut to: Recipient = recipient.parse().map_err(|error| format!("{recipient}: {error}"))?;
    let mut notify = Notify::NEVER;
    (notify.failure, notify.delay) = (true, true);
    to.notify = dsn.then_some(notify);
    if dsn {
        to.orcpt = Orcpt::parse(&format!("rfc822;{recipient}")).map(Orcpt::into_owned);
    }
    Ok({
        let mut envelope =
            Envelope::new(sender.parse().map_err(|error| format!("{sender}: {error}"))?, [to]);
        envelope.size = Some(mail.text.len() as u64);
        envelope.body = BodyType::EightBitMime;
        envelope.smtputf8 = column == Column::SmtpUtf8;
        envelope.ret = dsn.then_some(Ret::Headers);
        envelope.envelope_id = xtext(ENVELOPE_ID).filter(|_| dsn);
        envelope
    })
}

fn outbound(lab: &Lab, column: Column) -> Result<Outbound, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = Trust::from_der(&lab.certificates("root-ca.pem")?)
        .map_err(|error| format!("root-ca.pem: {error}"))?;
    let tls = ClientTls::new(Arc::clone(&provider));
    tls.add_identity(IdentityId::new(IDENTITY), lab.identity(IDENTITY, &provider)?);
    let name = "client.test.example".parse().map_err(|_| "client name")?;
    let outbound = Outbound::new(name, provider, trust).with_tls(tls);
    Ok(outbound.with_smtp(|smtp| {
        smtp.pipelining = matches!(column, Column::Pipelining | Column::Chunking);
        smtp.chunking = column == Column::Chunking;
    }))
}

/// The client certificate that is shown to a server that asks.
const IDENTITY: &str = "client-valid";

/// The connector with the server as its smart host: with TLS and a certificate that counts, or in
/// clear text.
fn connector(column: Column, channel: Channel, port: u16) -> Result<OutboundConnector, String> {
    let over_tls = channel != Channel::Clear || column == Column::StartTls;
    let posture = if over_tls { Posture::Verified } else { Posture::None };
    let mut connector = OutboundConnector::new("lab", vec![Namespace::Default], posture);
    connector.require_tls = over_tls;
    connector.identity = over_tls.then(|| IdentityId::new(IDENTITY));
    let host = Host::parse(HOST).map_err(|error| format!("{HOST}: {error}"))?;
    let mut smart_host = SmartHost::new(host);
    (smart_host.port, smart_host.implicit_tls) = (port, channel == Channel::Implicit);
    connector.smart_host = Some(smart_host);
    Ok(connector)
}

/// A sender with this connector that finds its smart host on loopback.
fn sender(
    outbound: Outbound,
    connector: OutboundConnector,
    credentials: Option<Credentials>,
) -> Result<Sender<Zone>, String> {
    let name = Arc::clone(&connector.name);
    let connectors = OutboundConnectors::new(vec![connector]).map_err(|error| error.to_string())?;
    let host = Domain::parse(HOST).map_err(|error| format!("{HOST}: {error}"))?;
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    let sender = Sender::new(outbound, Arc::new(connectors), zone);
    let sender = sender.map_err(|error| error.to_string())?;
    Ok(match credentials {
        Some(credentials) => sender.with_credentials(&name, credentials),
        None => sender,
    })
}

/// What the AUTH column of a server authenticates with.
fn credentials(column: Column, mode: &str) -> Option<Credentials> {
    (column == Column::Auth).then(|| match Setting::of_auth(mode) {
        Setting::Demanding => Credentials::password(USER, PASSWORD),
        // The other mode is about certificates.
        _ => Credentials::certificate(),
    })
}
