//! Odd servers before each client, and before ours.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture, SmartHost};
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tls_policy::{Domain, Host, Namespace};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{Outbound, Sender};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::odd_server::{Odd, OddServer};
use super::table::{OURS, Row, Side};
use crate::clients::{Client, Ports};
use crate::lab::{Lab, Suite};
use crate::our_server::{PASSWORD, USER};

/// The name in the lab's certificates.
const HOST: &str = "mail.test.example";
/// How long one message may take.
const DELIVERY: Duration = Duration::from_secs(60);

/// The row of one client of the lab. None where it is not installed.
pub(crate) fn row(lab: &Lab, runtime: &Runtime, client: &Client) -> Result<Option<Row>, String> {
    let Some((way, _)) = client.runs.first().filter(|_| client.is_installed(lab)) else {
        return Ok(None);
    };
    let mut cells = Vec::new();
    for odd in Odd::ALL {
        let server = runtime.block_on(OddServer::start(odd, None))?;
        let port = server.address.port();
        let said = if odd.wants_auth() {
            match client.authenticates_in_clear(lab, port) {
                Some(said) => said,
                None => {
                    cells.push("-".to_owned());
                    continue;
                }
            }
        } else {
            client.send(lab, *way, Ports { usual: port, implicit: port }).map(drop)
        };
        cells.push(verdict(client.name, server.has_taken(), said.err().as_deref()).to_owned());
    }
    let name = client.name;
    let peer =
        if client.suite == Suite::Trixie { format!("{name} of trixie") } else { name.into() };
    Ok(Some(Row { side: Side::Server, peer, cells }))
}

/// What a client makes of its message, by what the server has seen and what the client reports. A
/// client that keeps no queue can only fail.
fn verdict(client: &str, taken: bool, error: Option<&str>) -> &'static str {
    let Some(error) = error.filter(|_| !taken) else {
        return if taken { "delivered" } else { "lost" };
    };
    // What they write in their logs.
    let (bounced, deferred) = match client {
        "postfix" | "sendmail" => ("dsn=5", "dsn=4"),
        "exim" => ("** ", "== "),
        "opensmtpd" => ("PermFail", "TempFail"),
        _ => return "failed",
    };
    match error {
        _ if error.contains(bounced) => "bounced",
        _ if error.contains(deferred) => "deferred",
        _ => "failed",
    }
}

/// The row of our client.
pub(crate) fn ours(lab: &Lab, runtime: &Runtime) -> Result<Row, String> {
    let mut cells = Vec::new();
    for odd in Odd::ALL {
        cells.push(runtime.block_on(send(lab, odd))?.to_owned());
    }
    Ok(Row { side: Side::Server, peer: OURS.to_owned(), cells })
}

async fn send(lab: &Lab, odd: Odd) -> Result<&'static str, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Our client authenticates inside TLS only.
    let acceptor = if odd.wants_auth() {
        let identity = lab.identity("valid", &provider)?;
        let tls = server_config(identity, ClientCertificates::None, Arc::clone(&provider));
        Some(TlsAcceptor::from(tls.map_err(|error| error.to_string())?))
    } else {
        None
    };
    let is_tls = acceptor.is_some();
    let server = OddServer::start(odd, acceptor).await?;
    let trust = Trust::from_der(&lab.certificates("root-ca.pem")?)
        .map_err(|error| format!("root-ca.pem: {error}"))?;
    let name = "client.test.example".parse().map_err(|_| "client name")?;
    let outbound = Outbound::new(name, provider, trust);
    let recipient: Recipient =
        "reader@test.example".parse().map_err(|error| format!("recipient: {error}"))?;
    let sender = "sender@client.test.example".parse().map_err(|error| format!("{error}"))?;
    let envelope = Envelope::new(sender, [recipient]);
    let sender = self::sender(outbound, server.address.port(), is_tls)?;
    let message = Bytes::from_static(b"Subject: odd\r\n\r\nHello.\r\n");
    let report = tokio::time::timeout(DELIVERY, sender.send(envelope, &message)).await;
    let report = report.map_err(|_| format!("no end within {} s", DELIVERY.as_secs()))?;
    Ok(match (report.statuses().as_slice(), server.has_taken()) {
        ([RecipientStatus::Delivered], true) => "delivered",
        ([RecipientStatus::Delivered], false) => "lost",
        ([RecipientStatus::Deferred(_)], _) => "deferred",
        _ => "bounced",
    })
}

/// A sender to one smart host, the odd server.
fn sender(outbound: Outbound, port: u16, is_tls: bool) -> Result<Sender<Zone>, String> {
    let posture = if is_tls { Posture::Verified } else { Posture::None };
    let mut connector = OutboundConnector::new("lab", vec![Namespace::Default], posture);
    let host = Domain::parse(HOST).map_err(|error| format!("{HOST}: {error}"))?;
    let mut smart_host = SmartHost::new(Host::Name(host.clone()));
    (smart_host.port, smart_host.implicit_tls) = (port, is_tls);
    connector.smart_host = Some(smart_host);
    let connectors = OutboundConnectors::new(vec![connector]).map_err(|error| error.to_string())?;
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    let sender = Sender::new(outbound, Arc::new(connectors), zone);
    let sender = sender.map_err(|error| error.to_string())?;
    Ok(match is_tls {
        true => sender.with_credentials("lab", Credentials::password(USER, PASSWORD)),
        false => sender,
    })
}
