//! Sends one message from standard input to one recipient, as a mail server does: TLS if the host
//! offers it with a good certificate, otherwise clear text, and the reason for either.
//!
//! ```text
//! cargo run --example send -- a@client.example b@test.example mx.test.example 192.0.2.25:25 <FILE
//! ```
//!
//! A fifth argument names a file of root certificates in PEM that replace the public ones.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Namespace};
use smtp_tokio_adapter::{Outbound, Sender, add_roots_file, lookups::Zone};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, host, address, roots @ ..] = &arguments[..] else {
        return Err("usage: send SENDER RECIPIENT HOST ADDRESS:PORT [ROOTS]".into());
    };
    let mut trust = Trust::webpki_roots();
    if let Some(file) = roots.first() {
        trust.clear_roots(&RootsId::public());
        add_roots_file(&mut trust, &RootsId::public(), Path::new(file))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let outbound = Outbound::new("client.example".parse()?, provider, trust);

    // The DNS in memory: the recipient's domain has this one host. A server asks a resolver.
    let recipient: Recipient = to.parse()?;
    let mailbox = recipient.path.mailbox().ok_or("the recipient has no domain")?;
    let domain = Domain::parse(mailbox.domain().as_str())?;
    let (host, address) = (Domain::parse(host)?, address.parse::<SocketAddr>()?);
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [address.ip()]);
    let everyone = vec![Namespace::Default];
    let connector = OutboundConnector::new("everyone", everyone, Posture::Deterministic);
    let connectors = Arc::new(OutboundConnectors::new(vec![connector])?);
    let sender =
        Sender::new(outbound, connectors, zone)?.with_route(|route| route.port = address.port());

    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    let envelope = Envelope::new(from.parse()?, [recipient]);
    let report = sender.send(envelope, &bytes::Bytes::from(message)).await;
    sender.close().await;
    for attempt in &report.attempts {
        println!("{} {}: {}", attempt.host, attempt.address, attempt.decision.sentence);
    }
    for (host, why) in &report.skipped {
        println!("{host} was not dialled: {why}");
    }
    println!("{to}: {}", report.recipients[0].status);
    match report.recipients[0].status {
        RecipientStatus::Delivered => Ok(()),
        status => Err(status.to_string().into()),
    }
}
