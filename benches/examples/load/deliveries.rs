//! Whole deliveries by `Sender`, with kept connections and without, beside the bare connection and
//! other senders.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::client::{CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Namespace};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{PoolLimits, Sender};

use crate::Options;
use crate::certificate::{Certificate, NAME};
use crate::lab::{Lab, Peer, Server, Suite};
use crate::senders::{
    DEADLINE, Measured, Sink, Work, envelope, measured, ours, outbound, smtp_source,
};
use crate::server::Served;

/// Octets of a message.
const SIZE: usize = 1024;
/// Deliveries at once, and messages of a run; a tenth of them where each opens its connection, and
/// a twentieth by lettre.
const FAST: [(usize, usize); 3] = [(1, 4000), (10, 20_000), (100, 20_000)];
const POSTFIX: [(usize, usize); 3] = [(1, 500), (10, 2000), (100, 2000)];

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// A connection for each delivery at once, which carries all its messages.
    Connection,
    /// `Sender` with as many kept connections as there are deliveries at once.
    Pool,
    /// `Sender`, a connection for each message.
    NoReuse,
    /// Lettre's pool, with as many connections.
    Lettre,
    SmtpSource,
}

impl Way {
    const ALL: [Self; 5] =
        [Self::Connection, Self::Pool, Self::NoReuse, Self::Lettre, Self::SmtpSource];

    const fn name(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Pool => "Sender, pool",
            Self::NoReuse => "Sender, no reuse",
            Self::Lettre => "lettre, pool",
            Self::SmtpSource => "smtp-source -d",
        }
    }

    fn run(
        self,
        state: &str,
        certificate: &Certificate,
        posture: Posture,
        work: Work,
    ) -> Result<Measured, String> {
        match self {
            Self::Connection => measured(self.name(), work, || {
                let outbound = outbound(certificate, true)?;
                Ok(move |number| ours(outbound.clone(), posture, work, number))
            }),
            Self::Pool => by_sender(self, certificate, posture, work, work.connections),
            Self::NoReuse => by_sender(self, certificate, posture, work, 0),
            Self::Lettre => by_lettre(self, certificate, posture, work),
            Self::SmtpSource => smtp_source(state, work),
        }
    }
}

/// A sender to these domains, each with its host, which keeps so many connections for as many
/// messages as there are.
pub(crate) fn sender<'a>(
    certificate: &Certificate,
    posture: Posture,
    port: u16,
    hosts: impl IntoIterator<Item = (&'a str, &'a str, Ipv4Addr)>,
    limits: PoolLimits,
) -> Result<Sender<Zone>, String> {
    let parse = |name| Domain::parse(name).map_err(|error| format!("{name}: {error}"));
    let mut zone = Zone::new(DnsStatus::Insecure);
    for (domain, host, address) in hosts {
        let host = parse(host)?;
        zone.add_mx(&parse(domain)?, 10, &host).add_host(&host, [address.into()]);
    }
    let connector = OutboundConnector::new("load", vec![Namespace::Default], posture);
    let connectors = OutboundConnectors::new(vec![connector]).map_err(|it| it.to_string())?;
    let sender = Sender::new(outbound(certificate, true)?, Arc::new(connectors), zone);
    let sender = sender.map_err(|error| error.to_string())?.with_pool(limits);
    Ok(sender.with_route(|route| route.port = port))
}

fn by_sender(
    way: Way,
    certificate: &Certificate,
    posture: Posture,
    work: Work,
    kept: usize,
) -> Result<Measured, String> {
    let mut limits = PoolLimits::default();
    (limits.idle, limits.messages) = (kept, u32::MAX);
    (limits.per_key, limits.per_host) = (work.connections, work.connections);
    measured(way.name(), work, || {
        let hosts = [("test.example", NAME, Ipv4Addr::LOCALHOST)];
        let sender = Arc::new(sender(certificate, posture, work.port, hosts, limits)?);
        let message = Bytes::from(work.message());
        let envelope = Arc::new(envelope("test.example", message.len())?);
        Ok(move |number| {
            let (sender, envelope) = (Arc::clone(&sender), Arc::clone(&envelope));
            let message = message.clone();
            async move {
                for _ in 0..work.share(number) {
                    let report = sender.send(&envelope, &message).await;
                    if report.statuses()[0].to_string() != "delivered" {
                        return Err(format!("{}: {report:?}", way.name()));
                    }
                }
                Ok(())
            }
        })
    })
}

/// It verifies the same certificate, and chooses the options of its sockets itself.
fn by_lettre(
    way: Way,
    certificate: &Certificate,
    posture: Posture,
    work: Work,
) -> Result<Measured, String> {
    let failed = |error: lettre::transport::smtp::Error| format!("lettre: {error}");
    measured(way.name(), work, || {
        let tls = match posture {
            Posture::None => Tls::None,
            _ => {
                let root = certificate.root().to_vec();
                let root = lettre::transport::smtp::client::Certificate::from_der(root);
                let parameters = TlsParameters::builder(NAME.to_owned())
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(root.map_err(failed)?);
                Tls::Required(parameters.build_rustls().map_err(failed)?)
            }
        };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
            .port(work.port)
            .hello_name(ClientId::Domain("client.test.example".into()))
            .tls(tls)
            .timeout(Some(DEADLINE))
            .pool_config(PoolConfig::new().max_size(work.connections as u32))
            .build();
        let parse = |address: &str| address.parse().map_err(|error| format!("{address}: {error}"));
        let (from, to) = (parse("sender@client.test.example")?, parse("reader@test.example")?);
        let envelope = lettre::address::Envelope::new(Some(from), vec![to]);
        let envelope = Arc::new(envelope.map_err(|error| error.to_string())?);
        let message: Arc<[u8]> = work.message().into();
        Ok(move |number| {
            let (transport, envelope) = (transport.clone(), Arc::clone(&envelope));
            let message = Arc::clone(&message);
            async move {
                for _ in 0..work.share(number) {
                    transport.send_raw(&envelope, &message).await.map_err(failed)?;
                }
                Ok(())
            }
        })
    })
}

/// Prints the rates of all ways to all servers.
pub(crate) fn report(options: &Options, certificate: &Certificate) -> Result<(), String> {
    println!("\ndeliveries of {SIZE} octets, a second: median [lowest-highest], and as above");
    let sink = Sink::start(&options.state)?;
    let clear = [Posture::None];
    table(options, certificate, "smtp-sink", sink.port, &clear, FAST)?;
    drop(sink);
    let served = Served::start(certificate)?;
    let both = [Posture::None, Posture::Verified];
    table(options, certificate, "our server", served.port, &both, FAST)?;
    drop(served);
    let postfix = postfix(options, certificate)?;
    table(options, certificate, "Postfix", postfix.address.port(), &both, POSTFIX)
}

fn postfix(options: &Options, certificate: &Certificate) -> Result<Server, String> {
    let lab = Lab::open(options.scripts.clone(), options.state.clone().into())?;
    let [chain, key] = certificate.files();
    let arguments = ["--cert", &chain, "--key", &key, "--store", "discard"];
    lab.start(Peer { name: "postfix", suite: Suite::System }, &arguments)
}

fn table(
    options: &Options,
    certificate: &Certificate,
    server: &str,
    port: u16,
    postures: &[Posture],
    rows: [(usize, usize); 3],
) -> Result<(), String> {
    for &posture in postures {
        let channel = if posture == Posture::None { "clear text" } else { "TLS 1.3" };
        for (at_once, messages) in rows {
            println!("\n{server}, {channel}, {at_once} at once");
            // smtp-source speaks no TLS.
            let ways = Way::ALL.map(|way| {
                (way != Way::SmtpSource || posture == Posture::None).then_some((way, Vec::new()))
            });
            let mut ways: Vec<_> = ways.into_iter().flatten().collect();
            for _ in 0..options.runs {
                for (way, results) in &mut ways {
                    let share = match way {
                        Way::NoReuse => 0.1,
                        // Its sockets wait for delayed acknowledgements, 40 ms a message.
                        Way::Lettre => 0.05,
                        Way::Connection | Way::Pool | Way::SmtpSource => 1.0,
                    };
                    let messages = (messages as f64 * options.scale * share) as usize;
                    let messages = messages.max(at_once);
                    let work = Work { port, size: SIZE, connections: at_once, messages };
                    results.push(way.run(&options.state, certificate, posture, work)?);
                }
            }
            let mut rates = Vec::new();
            for (way, results) in ways {
                rates.push((way, Measured::print(way.name(), results)));
            }
            let rate = |wanted| rates.iter().find(|(way, _)| *way == wanted).map_or(0.0, |it| it.1);
            println!(
                "  Sender with the pool: {:.2} times Connection, {:.1} times Sender without reuse",
                rate(Way::Pool) / rate(Way::Connection),
                rate(Way::Pool) / rate(Way::NoReuse)
            );
        }
    }
    Ok(())
}
