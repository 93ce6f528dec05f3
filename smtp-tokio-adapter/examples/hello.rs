//! Sends a message through the smart host that SMTP_HOST and SMTP_PORT name, over verified TLS.
use smtp_proto::client::{Envelope, Recipient};
use smtp_tls_policy::{Host, Namespace, rules::*};
use smtp_tokio_adapter::{Outbound, Sender, lookups::SystemResolver, native_roots};
use std::{env::var, io::Write, sync::Arc};
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut smart_host = SmartHost::new(Host::parse(&var("SMTP_HOST")?)?);
    smart_host.port = var("SMTP_PORT")?.parse()?;
    let mut all = OutboundConnector::new("all", vec![Namespace::Default], Posture::Verified);
    all.smart_host = Some(smart_host);
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let outbound = Outbound::new("me.example".parse()?, provider, Arc::new(native_roots()?));
    let sender = Sender::new(outbound, OutboundConnectors::new(vec![all])?.into(), SystemResolver)?;
    let to: Recipient = "you@test.example".parse()?;
    let message = bytes::Bytes::from("Subject: hello\r\n\r\nHello.\r\n");
    let report = sender.send(&Envelope::new("me@me.example".parse()?, [to]), &message).await;
    sender.close().await;
    Ok(writeln!(std::io::stdout(), "{} ({:?})", report.recipients[0].status, report.attempts)?)
}
