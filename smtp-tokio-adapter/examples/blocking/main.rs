//! A whole delivery without a runtime: from the MX records to the status of the recipient, on
//! `std::net`, with `smtp-proto`, `smtp-tls-policy` and rustls alone.
//!
//! ```text
//! cargo run --example blocking -- a@client.example b@test.example mx.test.example 192.0.2.25:25 ROOTS <FILE
//! ```
//!
//! ROOTS is a file of root certificates in PEM. Four machines without I/O ask and decide, and this
//! program answers and obeys them: a [`DomainInquiry`] (MX and MTA-STS), a [`HostInquiry`]
//! (addresses and TLSA records), a [`Route`] (which address next) and a [`Client`] (the
//! conversation).
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod wire;

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConnection, StreamOwned};
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientConfig, ClientEvent, Envelope, Outcome, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::route::{Ending, Mx, Next, Prepared, RecipientStatus, Route, RouteConfig, Targets};
use smtp_proto::wire::reply::{EnhancedCode, Reply};
use smtp_proto::{Step, Want};
use smtp_tls_policy::inquiry::{
    DnsAnswer, DomainAnswer, DomainAsk, DomainInquiry, HostAnswer, HostAsk, HostInquiry, MailFacts,
    MailHosts, MxRecord,
};
use smtp_tls_policy::pki::{Trust, TrustStore};
use smtp_tls_policy::plan::{DnsStatus, Plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::tls::{ClientTls, server_name};
use smtp_tls_policy::{Domain, Host, Namespace};
use wire::{Failed, Wire};

/// The message, and what judges the hosts.
struct Delivery {
    envelope: Arc<Envelope>,
    message: Vec<u8>,
    trust: Arc<dyn TrustStore>,
}

impl Delivery {
    /// Answers the questions of the two inquiries, and walks the route until the status is known.
    /// `exchange` and `address` are what a resolver would find in zones that are not signed.
    fn deliver(&self, exchange: &str, address: SocketAddr) -> Result<RecipientStatus, Failed> {
        let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::Verified);
        let recipient = self.envelope.recipients[0].path.borrow();
        let domain = recipient.mailbox().ok_or("the recipient has no domain")?.domain();
        let domain = Host::parse(domain.as_str())?;
        let mut inquiry = DomainInquiry::new(MailFacts::new(&connector, &domain));
        while let Some(ask) = inquiry.ask() {
            let mx = || Ok::<_, Failed>(MxRecord::new(10, Domain::parse(exchange)?));
            inquiry.answer(match ask {
                DomainAsk::Mx(_) => {
                    DomainAnswer::Mx(DnsAnswer::new(DnsStatus::Insecure, vec![mx()?]))
                }
                // With HTTPS, `sts::Cache` would answer this.
                DomainAsk::Sts(_) => DomainAnswer::Sts(StsAnswer::default()),
            });
        }
        let facts = inquiry.finish()?;
        let MailHosts::Mx(records) = facts.hosts() else { return Err("no MX records".into()) };
        let mx = |it: &MxRecord| match &it.exchange {
            Some(host) => host.as_str().parse().map(|host| Mx::new(it.preference, host)),
            None => Ok(Mx::null()),
        };
        let records = records.iter().map(mx).collect::<Result<_, _>>()?;
        let mut config = RouteConfig::default();
        config.port = address.port();
        let domain = domain.to_string().parse()?;
        let mut route = Route::new(Targets::Mx { domain, records }, 1, &config);
        let mut plan = None;
        loop {
            match route.next() {
                Next::Done { statuses, .. } => return Ok(statuses[0]),
                Next::Prepare { host } => {
                    let host = Host::parse(host.as_str())?;
                    let mut inquiry = HostInquiry::new(&facts, &host);
                    while let Some(ask) = inquiry.ask() {
                        inquiry.answer(answer(ask, address.ip()));
                    }
                    match inquiry.finish() {
                        Ok(found) => {
                            route.prepared(Prepared::new(found.addresses));
                            plan = Some((found.host, found.plan));
                        }
                        Err(refused) => {
                            let it = refused.status;
                            route.skip(EnhancedCode::new(it.class, it.subject, it.detail));
                        }
                    }
                }
                Next::Dial { address, .. } => {
                    let Some((host, plan)) = &plan else { return Err("not prepared".into()) };
                    let Ok(socket) = TcpStream::connect(address) else {
                        route.ended(Ending::Unreachable);
                        continue;
                    };
                    match self.converse(socket, host, plan) {
                        Ok(Some(status)) => {
                            route.status(0, status);
                            route.ended(Ending::Finished);
                        }
                        // TLS that fails its checks breaks the connection: no mail goes over it.
                        Ok(None) | Err(_) => route.ended(Ending::Broken),
                    }
                }
            }
        }
    }

    /// One connection: the conversation, and the status of the recipient if the server gave one.
    fn converse(
        &self,
        socket: TcpStream,
        host: &Host,
        plan: &Plan,
    ) -> Result<Option<RecipientStatus>, Failed> {
        let config = Arc::new(ClientConfig::new("client.example".parse()?));
        // The posture Verified requires TLS; `smtp_tokio_adapter::tls_rules` knows them all.
        let mut client = Client::new(config, TlsRules::REQUIRED, Channel::Plain, Instant::now());
        let (mut wire, mut status) = (Wire::new(socket)?, None);
        loop {
            let now = Instant::now();
            let progress = client.poll(&wire.input, &mut wire.output, now)?;
            let consumed = progress.consumed;
            let (mut wants, mut ready, mut body, mut finished) = (None, false, false, false);
            match progress.step {
                Step::Wait(want) => wants = Some(want),
                Step::Event(ClientEvent::Ready) => ready = true,
                Step::Event(ClientEvent::SendBody) => body = true,
                Step::Event(ClientEvent::Recipient { reply, .. }) if reply.code() >= 400 => {
                    status = Some(refused(&reply));
                }
                Step::Event(ClientEvent::Finished(outcome)) => {
                    finished = true;
                    match outcome {
                        Outcome::Accepted(_) => status = Some(RecipientStatus::Delivered),
                        Outcome::Refused { reply, .. } => status = Some(refused(&reply)),
                        _ => {}
                    }
                }
                Step::Event(ClientEvent::Closed) => return Ok(status),
                Step::Event(_) => {}
            }
            wire.input.drain(..consumed);
            if ready && status.is_none() {
                client.start_transaction(Arc::clone(&self.envelope), now)?;
            }
            if body {
                client.write_body(&self.message, &mut wire.output, now)?;
                client.end_body(&mut wire.output, now)?;
            }
            if finished {
                client.quit()?;
            }
            match wants {
                None => {}
                Some(Want::Handshake) => {
                    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                    let tls = ClientTls::new(provider).config(plan, None, &self.trust)?;
                    let session = ClientConnection::new(tls, server_name(plan, host)?)?;
                    let mut stream = StreamOwned::new(session, wire.socket.try_clone()?);
                    stream.conn.complete_io(&mut stream.sock)?;
                    let version = stream.conn.protocol_version();
                    wire.upgrade(&mut client, Box::new(stream), version)?;
                }
                Some(_) => wire.exchange(&mut client)?,
            }
        }
    }
}

fn answer(ask: HostAsk<'_>, address: IpAddr) -> HostAnswer {
    let unsigned = DnsStatus::Insecure;
    match ask {
        HostAsk::Addresses(_) => {
            let (mut ipv4, mut ipv6) = (DnsAnswer::none(unsigned), DnsAnswer::none(unsigned));
            match address {
                IpAddr::V4(address) => ipv4 = DnsAnswer::new(unsigned, vec![address]),
                IpAddr::V6(address) => ipv6 = DnsAnswer::new(unsigned, vec![address]),
            }
            HostAnswer::Addresses(ipv4, ipv6)
        }
        HostAsk::Cname(_) => HostAnswer::Cname(unsigned),
        HostAsk::Tlsa(_) => HostAnswer::Tlsa(DnsAnswer::none(unsigned)),
    }
}

/// A reply of 4yz or 5yz as the status of a recipient.
fn refused(reply: &Reply<'_>) -> RecipientStatus {
    match reply.code() {
        400..500 => {
            RecipientStatus::Deferred(reply.enhanced().unwrap_or(EnhancedCode::new(4, 0, 0)))
        }
        _ => RecipientStatus::Bounced(reply.enhanced().unwrap_or(EnhancedCode::new(5, 0, 0))),
    }
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, host, address, roots] = &arguments[..] else {
        return Err("usage: blocking SENDER RECIPIENT HOST ADDRESS:PORT ROOTS".into());
    };
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    let envelope = Arc::new(Envelope::new(from.parse()?, [to.parse::<Recipient>()?]));
    let trust = Arc::new(Trust::from_der(&[CertificateDer::from_pem_file(roots)?])?);
    let status = Delivery { envelope, message, trust }.deliver(host, address.parse()?)?;
    println!("{to}: {status}");
    match status {
        RecipientStatus::Delivered => Ok(()),
        status => Err(status.to_string().into()),
    }
}
