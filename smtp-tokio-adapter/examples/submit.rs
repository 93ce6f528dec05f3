//! Submits one message from standard input to a provider's server, with a user name and a password.
//! The password is sent only inside TLS, after the certificate was judged and accepted.
//!
//! ```text
//! SMTP_PASSWORD=... cargo run --example submit -- smtp.test.example:587 USER SENDER RECIPIENT <FILE
//! ```
//!
//! Port 465 means TLS from the first byte, any other port STARTTLS. A fifth argument names a file
//! of root certificates in PEM that replace the public ones.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture, SmartHost};
use smtp_tls_policy::{Host, Namespace};
use smtp_tokio_adapter::{Outbound, Sender, add_roots_file, lookups::SystemResolver};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, user, from, to, roots @ ..] = &arguments[..] else {
        return Err("usage: submit HOST:PORT USER SENDER RECIPIENT [ROOTS]".into());
    };
    let mut trust = Trust::webpki_roots();
    if let Some(file) = roots.first() {
        trust.clear_roots(&RootsId::public());
        add_roots_file(&mut trust, &RootsId::public(), Path::new(file))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let outbound = Outbound::new("client.example".parse()?, provider, trust);

    let (host, port) = server.split_once(':').ok_or("HOST:PORT has no port")?;
    let mut smart_host = SmartHost::new(Host::parse(host)?);
    smart_host.port = port.parse()?;
    smart_host.implicit_tls = smart_host.port == 465;
    let mut connector =
        OutboundConnector::new("provider", vec![Namespace::Default], Posture::Verified);
    connector.smart_host = Some(smart_host);

    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    let envelope = Envelope::new(from.parse()?, [to.parse::<Recipient>()?]);
    let credentials = Credentials::password(user, std::env::var("SMTP_PASSWORD")?);
    let connectors = Arc::new(OutboundConnectors::new(vec![connector])?);
    let sender = Sender::new(outbound, connectors, SystemResolver)?
        .with_credentials("provider", credentials);
    let report = sender.send(envelope, &bytes::Bytes::from(message)).await;
    sender.close().await;
    for attempt in &report.attempts {
        println!("{} {}: {}", attempt.host, attempt.address, attempt.decision.sentence);
    }
    println!("{to}: {}", report.recipients[0].status);
    match report.recipients[0].status {
        RecipientStatus::Delivered => Ok(()),
        status => Err(status.to_string().into()),
    }
}
