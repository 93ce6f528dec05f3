//! A whole delivery without a runtime: from the MX records to the status of the recipient, on
//! `std::net`, with `smtp-proto`, `smtp-tls-policy` and rustls alone.
//!
//! Four machines without I/O ask and decide, and this program answers and obeys them: a
//! [`DomainInquiry`] (MX and MTA-STS), a [`HostInquiry`] (addresses and TLSA records), a [`Route`]
//! (which address next) and a [`Client`] (the conversation).
//!
//! The driver reads only when it has nothing to send. That is good enough for messages that fit the
//! socket buffers; for large messages a driver sends with non-blocking writes, so that it can read
//! a reply that comes in the middle of the body, as the adapter does.
//!
//! ```text
//! cargo run --example blocking
//! ```

mod server;
mod wire;

use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustls::{ClientConnection, StreamOwned};
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientConfig, ClientEvent, Envelope, Outcome, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::route::{
    Ending, LOOKUP_FAILED, Mx, Next, Prepared, RecipientStatus, Route, RouteConfig, Targets,
};
use smtp_proto::wire::path::ReversePathBuf;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_proto::{Step, Want};
use smtp_tls_policy::inquiry::{
    DnsAnswer, DomainAnswer, DomainAsk, DomainFacts, DomainInquiry, HostAnswer, HostAsk,
    HostInquiry, MailFacts, MailHosts, MxRecord, NotDialled,
};
use smtp_tls_policy::pki::{Trust, TrustStore};
use smtp_tls_policy::plan::{DnsStatus, Plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::tls::{ClientTls, server_name};
use smtp_tls_policy::{Domain, Host, Namespace, inquiry};
use wire::Wire;

type Failed = Box<dyn Error + Send + Sync>;

const HOST: &str = "mx.test.example";
const MESSAGE: &[u8] = b"Subject: no runtime\r\n\r\n.one dot\r\n";

/// What a resolver would look up. Here it is one domain, whose zone is not signed.
fn mx(_: &Domain) -> Result<DnsAnswer<MxRecord>, Failed> {
    Ok(DnsAnswer::new(DnsStatus::Insecure, vec![MxRecord::new(10, Domain::parse(HOST)?)]))
}

fn ipv4(_: &Domain) -> DnsAnswer<Ipv4Addr> {
    DnsAnswer::new(DnsStatus::Insecure, vec![Ipv4Addr::LOCALHOST])
}

/// Answers the questions about a recipient domain.
fn ask_domain(mail: MailFacts<'_>) -> Result<DomainFacts<'_>, Failed> {
    let mut inquiry = DomainInquiry::new(mail);
    while let Some(ask) = inquiry.ask() {
        let answer = match ask {
            DomainAsk::Mx(domain) => DomainAnswer::Mx(mx(domain)?),
            // With HTTPS, `sts::Cache` would answer this.
            DomainAsk::Sts(_) => DomainAnswer::Sts(StsAnswer::default()),
        };
        inquiry.answer(answer);
    }
    Ok(inquiry.finish()?)
}

/// Answers the questions about one host.
#[allow(clippy::result_large_err, reason = "an error for each host, not for each octet")]
fn ask_host(domain: &DomainFacts<'_>, host: &Host) -> Result<inquiry::Prepared, NotDialled> {
    let mut inquiry = HostInquiry::new(domain, host);
    while let Some(ask) = inquiry.ask() {
        let answer = match ask {
            HostAsk::Addresses(host) => {
                HostAnswer::Addresses(ipv4(host), DnsAnswer::none(DnsStatus::Insecure))
            }
            HostAsk::Cname(_) => HostAnswer::Cname(DnsStatus::Insecure),
            HostAsk::Tlsa(_) => HostAnswer::Tlsa(DnsAnswer::none(DnsStatus::Insecure)),
        };
        inquiry.answer(answer);
    }
    inquiry.finish()
}

/// Delivers to one recipient: walks the route until the status is known.
fn deliver(
    domain: &DomainFacts<'_>,
    trust: &Arc<dyn TrustStore>,
) -> Result<RecipientStatus, Failed> {
    let name = domain.next_hop().to_string().parse()?;
    let targets = match domain.hosts() {
        MailHosts::NoSuchDomain => Targets::NoSuchDomain,
        MailHosts::NextHop => Targets::Host(name),
        MailHosts::Mx(records) => {
            let mx = |it: &MxRecord| {
                let exchange = it.exchange.as_ref().map(|host| host.as_str().parse()).transpose();
                exchange.map(|exchange| Mx { preference: it.preference, exchange })
            };
            let records = records.iter().map(mx).collect::<Result<_, _>>()?;
            Targets::Mx { domain: name, records }
        }
    };
    let mut config = RouteConfig::default();
    config.port = domain.port();
    let mut route = Route::new(targets, 1, &config);
    let mut plan = None;
    loop {
        match route.next() {
            Next::Done { statuses, .. } => return Ok(statuses[0]),
            Next::Prepare { host } => match ask_host(domain, &Host::parse(host.as_str())?) {
                Ok(found) => {
                    route.prepared(Prepared::new(found.addresses));
                    plan = Some((found.host, found.plan));
                }
                Err(refused) => {
                    let it = refused.status;
                    route.skip(EnhancedCode::new(it.class, it.subject, it.detail));
                }
            },
            Next::Dial { address, .. } => {
                let Some((host, plan)) = &plan else { return Err("not prepared".into()) };
                let Ok(socket) = TcpStream::connect(address) else {
                    route.ended(Ending::Unreachable);
                    continue;
                };
                match converse(socket, host, plan, trust) {
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
    socket: TcpStream,
    host: &Host,
    plan: &Plan,
    trust: &Arc<dyn TrustStore>,
) -> Result<Option<RecipientStatus>, Failed> {
    let config = Arc::new(ClientConfig::new("client.test.example".parse()?));
    // The posture Verified requires TLS; `smtp_tokio_adapter::tls_rules` knows them all.
    let mut client = Client::new(config, TlsRules::REQUIRED, Channel::Plain, Instant::now());
    let (mut wire, mut status) = (Wire::new(socket)?, None);
    loop {
        let progress = client.poll(&wire.input, &mut wire.output, Instant::now())?;
        let consumed = progress.consumed;
        let (mut wants, mut ready, mut body, mut finished) = (None, false, false, false);
        match progress.step {
            Step::Wait(want) => wants = Some(want),
            Step::Event(ClientEvent::Ready) => ready = true,
            Step::Event(ClientEvent::SendBody) => body = true,
            Step::Event(ClientEvent::Recipient { reply, .. }) if reply.code() >= 400 => {
                status = Some(refused(reply.code(), reply.enhanced()));
            }
            Step::Event(ClientEvent::Finished(outcome)) => {
                finished = true;
                match outcome {
                    Outcome::Accepted(_) => status = Some(RecipientStatus::Delivered),
                    Outcome::Refused { reply, .. } => {
                        status = Some(refused(reply.code(), reply.enhanced()));
                    }
                    _ => {}
                }
            }
            Step::Event(ClientEvent::Closed) => return Ok(status),
            Step::Event(_) => {}
        }
        wire.input.drain(..consumed);
        let now = Instant::now();
        if ready && status.is_none() {
            let reader: Recipient = "reader@test.example".parse()?;
            let envelope = Envelope::new(ReversePathBuf::NULL, [reader]);
            client.start_transaction(Arc::new(envelope), now)?;
        }
        if body {
            client.write_body(MESSAGE, &mut wire.output, now)?;
            client.end_body(&mut wire.output, now)?;
        }
        if finished {
            client.quit()?;
        }
        match wants {
            None => {}
            Some(Want::Handshake) => {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let tls = ClientTls::new(provider).config(plan, None, trust)?;
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

/// A reply of 4yz or 5yz as the status of a recipient.
fn refused(code: u16, enhanced: Option<EnhancedCode>) -> RecipientStatus {
    match code {
        400..500 => RecipientStatus::Deferred(enhanced.unwrap_or(EnhancedCode::new(4, 0, 0))),
        _ => RecipientStatus::Bounced(enhanced.unwrap_or(EnhancedCode::new(5, 0, 0))),
    }
}

/// A root of our own, and the server's certificate below it.
fn pki() -> Result<(Arc<dyn TrustStore>, Arc<rustls::ServerConfig>), Failed> {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let trust = Trust::from_der([params.self_signed(&key)?.der()])?;
    let (issuer, key) = (Issuer::new(params, key), KeyPair::generate()?);
    let certificate = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((Arc::new(trust), Arc::new(server)))
}

fn main() -> Result<(), Failed> {
    let (trust, server_tls) = pki()?;
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
    let port = listener.local_addr()?.port();
    let receiving = thread::spawn(move || server::receive(listener.accept()?.0, server_tls));

    let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::Verified);
    let recipient_domain = Host::parse("test.example")?;
    let mut mail = MailFacts::new(&connector, &recipient_domain);
    mail.port = port;
    let status = match ask_domain(mail) {
        Ok(domain) => deliver(&domain, &trust)?,
        Err(_) => RecipientStatus::Deferred(LOOKUP_FAILED),
    };

    writeln!(io::stdout(), "reader@test.example: {status}")?;
    let received = receiving.join().map_err(|_| "the server's thread panicked")??;
    match (status, received == MESSAGE) {
        (RecipientStatus::Delivered, true) => {
            writeln!(io::stdout(), "the message arrived over TLS, without a runtime")?;
            Ok(())
        }
        _ => Err("the message did not arrive".into()),
    }
}
