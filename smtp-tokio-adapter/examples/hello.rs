//! Sends a message through the smart host that SMTP_HOST and SMTP_PORT name, over verified TLS.
use smtp_proto::client::{Envelope, Recipient};
use smtp_tls_policy::rules::Config;
use smtp_tokio_adapter::{Outbound, Sender, lookups::SystemResolver, native_roots};
use std::{env::var, io::Write};
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (host, port, trust) = (var("SMTP_HOST")?, var("SMTP_PORT")?, native_roots()?);
    let all = "[[outbound]]\nname = 'all'\nnamespaces = ['*']\nposture = 'verified'\n";
    let rules = format!("{all}smart-host = {{ host = '{host}', port = {port} }}");
    let connectors = Config::from_toml("rules", &rules, &trust, &[])?.outbound;
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let outbound = Outbound::new("me.example".parse()?, provider, trust);
    let sender = Sender::new(outbound, connectors.into(), SystemResolver)?;
    let to: Recipient = "you@test.example".parse()?;
    let message = bytes::Bytes::from("Subject: hello\r\n\r\nHello.\r\n");
    let report = sender.send(Envelope::new("me@me.example".parse()?, [to]), &message).await;
    sender.close().await;
    Ok(writeln!(std::io::stdout(), "{} ({:?})", report.recipients[0].status, report.attempts)?)
}
