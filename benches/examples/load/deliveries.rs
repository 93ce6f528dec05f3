//! Whole deliveries by `Sender`, with kept connections and without, beside the bare connection and
//! other senders.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::client::{CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use smtp_proto::route::RecipientStatus;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Namespace};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{PoolLimits, Sender};

use crate::Options;
use crate::certificate::{Certificate, NAME};
use crate::lab::{Lab, Peer, Server, Suite};
use crate::senders::{
    DEADLINE, Measured, Ratio, Sink, Work, envelope, measured, ours, ours_open, outbound,
    smtp_source,
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
    /// A connection for each message, without a `Sender`: what the connections by themselves cost.
    Connections,
    /// `Sender` with as many kept connections as there are deliveries at once.
    Pool,
    /// `Sender`, a connection for each message.
    NoReuse,
    /// Lettre's pool, with as many connections.
    Lettre,
    SmtpSource,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Connection,
        Self::Pool,
        Self::NoReuse,
        Self::Connections,
        Self::Lettre,
        Self::SmtpSource,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Connections => "Connection, no reuse",
            Self::Pool => "Sender, pool",
            Self::NoReuse => "Sender, no reuse",
            Self::Lettre => "lettre, pool",
            Self::SmtpSource => "smtp-source -d",
        }
    }

    /// Its name in the arguments.
    const fn key(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Connections => "connections",
            Self::Pool => "pool",
            Self::NoReuse => "no-reuse",
            Self::Lettre => "lettre",
            Self::SmtpSource => "smtp-source",
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
            Self::Connections => measured(self.name(), work, || {
                let outbound = outbound(certificate, true)?;
                let one = Work { connections: 1, messages: 1, ..work };
                Ok(move |number| {
                    let outbound = outbound.clone();
                    async move {
                        for _ in 0..work.share(number) {
                            let connection = ours_open(&outbound, posture, one).await?;
                            // As in a delivery, nothing waits for the reply to QUIT.
                            tokio::spawn(connection.quit());
                        }
                        Ok(())
                    }
                })
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
        Ok(move |number| {
            let sender = Arc::clone(&sender);
            async move {
                let message = Bytes::from(work.message());
                let envelope = Arc::new(envelope("test.example", message.len())?);
                for _ in 0..work.share(number) {
                    let report = sender.send(Arc::clone(&envelope), &message).await;
                    let [attempt] = &report.attempts[..] else {
                        return Err(format!("{}: {report:?}", way.name()));
                    };
                    let is_tls = attempt.decision.tls.is_some();
                    if report.recipients[0].status != RecipientStatus::Delivered
                        || is_tls != (posture != Posture::None)
                        || kept == 0 && attempt.is_reused
                    {
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
    println!(
        "\ndeliveries of {SIZE} octets, a second: median [lowest-highest], and as above. Ratios of"
    );
    println!(
        "the rates, median of the rounds [lowest-highest], and of the processor time. The bound is"
    );
    println!(
        "what reuse gains where a delivery costs nothing: Connection with it to Connection without"
    );
    let is_wanted = |name: &str| {
        options.servers.as_ref().is_none_or(|servers| servers.iter().any(|it| it == name))
    };
    let both = [Posture::None, Posture::Verified];
    if is_wanted("sink") {
        let sink = Sink::start(&options.state)?;
        table(options, certificate, "smtp-sink", sink.port, &both[..1], FAST)?;
    }
    if is_wanted("ours") {
        let served = Served::start(certificate)?;
        table(options, certificate, "our server", served.port, &both, FAST)?;
    }
    if is_wanted("postfix") {
        let postfix = postfix(options, certificate)?;
        table(options, certificate, "Postfix", postfix.address.port(), &both, POSTFIX)?;
    }
    Ok(())
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
        let (key, channel) = match posture {
            Posture::None => ("clear", "clear text"),
            _ => ("tls", "TLS 1.3"),
        };
        if options.channel.as_ref().is_some_and(|wanted| wanted != key) {
            continue;
        }
        for (at_once, messages) in rows {
            let wanted = options.at_once.as_ref();
            if wanted.is_some_and(|wanted| !wanted.contains(&at_once.to_string())) {
                continue;
            }
            println!("\n{server}, {channel}, {at_once} at once");
            // smtp-source speaks no TLS.
            let is_wanted = |way: &Way| {
                let wanted = options.ways.as_ref();
                wanted.is_none_or(|ways| ways.iter().any(|it| it == way.key()))
                    && (*way != Way::SmtpSource || posture == Posture::None)
            };
            let ways = Way::ALL.into_iter().filter(is_wanted);
            let mut ways: Vec<_> = ways.map(|way| (way, Vec::new())).collect();
            let all = ways.len();
            for round in 0..options.runs {
                // No way always comes first.
                for turn in 0..all {
                    let (way, results) = &mut ways[(round + turn) % all];
                    let share = match way {
                        Way::NoReuse | Way::Connections => 0.1,
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
            for (way, results) in &ways {
                Measured::print(way.name(), results);
            }
            let times = |of: Way, others: Way| {
                let of_way = |way| ways.iter().find(|it| it.0 == way).map(|it| &it.1[..]);
                of_way(of).zip(of_way(others)).map(|(one, other)| Ratio::new(one, other))
            };
            for (name, of, others) in [
                ("pool, to Connection", Way::Pool, Way::Connection),
                ("pool, to no reuse", Way::Pool, Way::NoReuse),
                ("bound of the latter", Way::Connection, Way::Connections),
            ] {
                if let Some(ratio) = times(of, others) {
                    println!("  {name:24} {ratio}");
                }
            }
        }
    }
    Ok(())
}
