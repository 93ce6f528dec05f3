//! One connection of the delivery.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientConfig, ClientEvent};
use smtp_proto::driver::{Driver, Task, Todo};
use smtp_proto::fallback::TlsRules;
use smtp_proto::route::RecipientStatus;
use smtp_tls_policy::inquiry::Prepared;
use smtp_tls_policy::tls::{ClientTls, server_name};

use crate::{Failed, Mail, wire::Wire};

/// What is known of the mail, however the connection ends.
#[derive(Default)]
pub(crate) struct Known {
    /// What the server said of the recipient or of the message.
    pub(crate) status: Option<RecipientStatus>,
    /// The server has the message, and has not said yet whether it takes it.
    pub(crate) is_in_doubt: bool,
}

impl Mail {
    /// Sends the mail over one connection.
    pub(crate) fn converse(
        &self,
        socket: TcpStream,
        host: &Prepared,
        known: &mut Known,
    ) -> Result<(), Failed> {
        let config = Arc::new(ClientConfig::new("client.example".parse()?));
        // The posture Verified requires TLS; `smtp_tokio_adapter::tls_rules` knows them all.
        let client = Client::new(config, TlsRules::REQUIRED, Channel::Plain, Instant::now());
        let (mut driver, mut wire) = (Driver::new(client), Wire::new(socket)?);
        loop {
            let task = match driver.step(Instant::now())? {
                Todo::Task(task) => task,
                Todo::Event { event, machine, .. } => {
                    match event {
                        ClientEvent::Ready => {
                            let envelope = Arc::clone(&self.envelope);
                            machine.start_transaction(envelope, Instant::now())?;
                        }
                        ClientEvent::Recipient { reply, .. } if !reply.is_positive() => {
                            known.status = Some(RecipientStatus::refused(&reply));
                        }
                        ClientEvent::Finished(outcome) => {
                            known.status = outcome.status().or(known.status);
                            known.is_in_doubt = false;
                            machine.quit()?;
                        }
                        _ => {}
                    }
                    continue;
                }
            };
            let (client, output) = driver.parts();
            match task {
                Task::Look | Task::Send { .. } | Task::Receive { .. } => {
                    wire.run(task, &mut driver)?;
                }
                Task::Caller => {
                    client.write_body(&self.message, output, Instant::now())?;
                    client.end_body(output, Instant::now())?;
                    known.is_in_doubt = true;
                }
                Task::Handshake { deadline } => {
                    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                    let tls = ClientTls::new(provider).config(&host.plan, None, &self.trust)?;
                    let shown = wire.secure(tls, server_name(&host.plan, &host.host)?, deadline)?;
                    client.tls_established(Arc::new(shown), Instant::now())?;
                }
                Task::Closed => return Ok(()),
            }
        }
    }
}
