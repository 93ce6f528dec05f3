//! The senders that are compared: ours, lettre, and Postfix's smtp-source.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use smtp_proto::client::{Envelope, Recipient};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace};
use smtp_tokio_adapter::{Connection, Outbound, OutcomeBuf, Target};
use tokio::net::TcpStream;

use crate::certificate::{Certificate, NAME};
use crate::process::{children_time, own_time};

/// How long a run may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// What one run sends.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) port: u16,
    /// Octets of a message.
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) messages: usize,
}

impl Work {
    /// Messages for one of the connections.
    pub(crate) fn share(&self, connection: usize) -> usize {
        self.messages / self.connections
            + usize::from(connection < self.messages % self.connections)
    }

    /// A header and lines of 76 characters.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut text =
            b"From: <sender@client.test.example>\r\nTo: <reader@test.example>\r\nSubject: load\r\n\r\n".to_vec();
        while text.len() + 78 <= self.size {
            text.extend_from_slice(&[b'X'; 76]);
            text.extend_from_slice(b"\r\n");
        }
        text
    }
}

/// The figures of one run.
pub(crate) struct Measured {
    /// Messages a second.
    pub(crate) rate: f64,
    /// Processor time for one message.
    pub(crate) micros: f64,
}

impl Measured {
    pub(crate) fn new(messages: usize, elapsed: Duration, processor: Duration) -> Self {
        Self {
            rate: messages as f64 / elapsed.as_secs_f64(),
            micros: processor.as_secs_f64() * 1e6 / messages as f64,
        }
    }

    /// Prints the medians of some runs in one line.
    pub(crate) fn print(name: &str, results: &[Self]) {
        let [lowest, rate, highest] = spread(results.iter().map(|it| it.rate));
        let [_, micros, _] = spread(results.iter().map(|it| it.micros));
        println!("  {name:24} {rate:8.0} [{lowest:.0}-{highest:.0}] {micros:7.1} us");
    }
}

/// The lowest, the median and the highest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// How many times as fast one way is as another, round by round: what else runs on the machine
/// slows both.
pub(crate) struct Ratio {
    rates: [f64; 3],
    micros: f64,
}

impl Ratio {
    pub(crate) fn new(one: &[Measured], other: &[Measured]) -> Self {
        let pairs = || one.iter().zip(other);
        let [_, micros, _] = spread(pairs().map(|(one, other)| other.micros / one.micros));
        Self { rates: spread(pairs().map(|(one, other)| one.rate / other.rate)), micros }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lowest, median, highest] = self.rates;
        write!(f, "{median:8.2} [{lowest:.2}-{highest:.2}]   by processor time {:.2}", self.micros)
    }
}

/// A sender and its settings. All keep their connections and set TCP_NODELAY; lettre would not by
/// itself.
#[derive(Clone, Copy)]
pub(crate) enum Sender {
    Ours { pipelining: bool },
    Lettre,
    SmtpSource,
}

impl Sender {
    pub(crate) const ALL: [Self; 4] = [
        Self::Ours { pipelining: false },
        Self::Ours { pipelining: true },
        Self::Lettre,
        Self::SmtpSource,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours { pipelining: false } => "ours, no pipelining",
            Self::Ours { pipelining: true } => "ours",
            Self::Lettre => "lettre",
            Self::SmtpSource => "smtp-source -d",
        }
    }

    pub(crate) fn run(
        self,
        state: &str,
        certificate: &Certificate,
        work: Work,
    ) -> Result<Measured, String> {
        if let Self::SmtpSource = self {
            return smtp_source(state, work);
        }
        measured(self.name(), work, || {
            let pipelining = !matches!(self, Self::Ours { pipelining: false });
            let outbound = outbound(certificate, pipelining)?;
            Ok(move |number| {
                let outbound = outbound.clone();
                async move {
                    match self {
                        Self::Ours { .. } => ours(outbound, Posture::None, work, number).await,
                        _ => lettre(work, number).await,
                    }
                }
            })
        })
    }
}

/// Runs one task for each connection, on threads of their own, so that their time is that of this
/// run. What `prepare` returns makes the tasks.
pub(crate) fn measured<T, F>(
    name: &str,
    work: Work,
    prepare: impl FnOnce() -> Result<T, String>,
) -> Result<Measured, String>
where
    T: Fn(usize) -> F,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let task = prepare()?;
        let (before, started) = (own_time()?, Instant::now());
        let tasks: Vec<_> =
            (0..work.connections).map(|number| tokio::spawn(task(number))).collect();
        for task in tasks {
            let sent = tokio::time::timeout_at((started + DEADLINE).into(), task).await;
            sent.map_err(|_| format!("{name} stalls"))?.map_err(|error| error.to_string())??;
        }
        Ok(Measured::new(work.messages, started.elapsed(), own_time()?.saturating_sub(before)))
    })
}

/// TLS with a verified certificate, or clear text.
pub(crate) fn rules(posture: Posture) -> Result<(Host, Plan), String> {
    let connector = OutboundConnector::new("load", vec![Namespace::Default], posture);
    let parse = |name| Host::parse(name).map_err(|error| format!("{name}: {error}"));
    let (domain, host) = (parse("test.example")?, parse(NAME)?);
    let plan = plan(&Facts::new(&connector, &domain, &host, HostOrigin::Mx))
        .map_err(|error| format!("{error:?}"))?;
    Ok((host, plan))
}

pub(crate) fn outbound(certificate: &Certificate, pipelining: bool) -> Result<Outbound, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let name = "client.test.example".parse().map_err(|_| "client name")?;
    let outbound = Outbound::new(name, provider, certificate.trust());
    Ok(outbound.with_smtp(|smtp| smtp.pipelining = pipelining))
}

pub(crate) fn envelope(domain: &str, size: usize) -> Result<Envelope, String> {
    let recipient = format!("reader@{domain}").parse::<Recipient>();
    let mut envelope = Envelope::new(
        "sender@client.test.example".parse().map_err(|_| "sender")?,
        [recipient.map_err(|_| "recipient")?],
    );
    envelope.size = Some(size as u64);
    Ok(envelope)
}

/// A share of the messages over one connection.
pub(crate) async fn ours(
    outbound: Outbound,
    posture: Posture,
    work: Work,
    number: usize,
) -> Result<(), String> {
    let share = Work { connections: 1, messages: work.share(number), ..work };
    ours_open(&outbound, posture, share).await?.quit().await;
    Ok(())
}

/// The messages over one connection, which is left open.
pub(crate) async fn ours_open(
    outbound: &Outbound,
    posture: Posture,
    work: Work,
) -> Result<Connection<TcpStream>, String> {
    let (host, plan) = rules(posture)?;
    let target = Target::new(&host, &plan);
    let stream = connect(work.port).await?;
    let connection = outbound.open(&target, stream).await;
    let mut connection = connection.map_err(|error| error.to_string())?;
    let message = work.message();
    let envelope = Arc::new(envelope("test.example", message.len())?);
    for number in 0..work.messages {
        if number > 0 && !connection.is_reusable().await {
            return Err("ours: the connection is over".into());
        }
        let delivery = connection.send(Arc::clone(&envelope), &mut message.as_slice()).await;
        if !matches!(delivery.end, Ok(OutcomeBuf::Accepted(_))) {
            return Err(format!("ours: {delivery:?}"));
        }
    }
    Ok(connection)
}

pub(crate) async fn connect(port: u16) -> Result<TcpStream, String> {
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

async fn lettre(work: Work, number: usize) -> Result<(), String> {
    let failed = |error: lettre::transport::smtp::Error| format!("lettre: {error}");
    let hello = ClientId::Domain("client.test.example".into());
    let stream = connect(work.port).await?;
    let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello)
        .await
        .map_err(failed)?;
    let parse = |address: &str| address.parse().map_err(|error| format!("{address}: {error}"));
    let (from, to) = (parse("sender@client.test.example")?, parse("reader@test.example")?);
    let envelope =
        lettre::address::Envelope::new(Some(from), vec![to]).map_err(|error| error.to_string())?;
    let message = work.message();
    for _ in 0..work.share(number) {
        connection.send(&envelope, &message).await.map_err(failed)?;
    }
    connection.quit().await.map_err(failed).map(drop)
}

pub(crate) fn smtp_source(state: &str, work: Work) -> Result<Measured, String> {
    let (before, started) = (children_time()?, Instant::now());
    let status = Command::new("timeout")
        .arg(DEADLINE.as_secs().to_string())
        .arg(format!("{state}/bin/smtp-source"))
        .args([
            "-d",
            "-M",
            "client.test.example",
            "-f",
            "sender@client.test.example",
            "-t",
            "reader@test.example",
        ])
        .args([
            "-m",
            &work.messages.to_string(),
            "-l",
            &work.size.to_string(),
            "-s",
            &work.connections.to_string(),
        ])
        .arg(format!("127.0.0.1:{}", work.port))
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("smtp-source: {error}"))?;
    if !status.success() {
        return Err(format!("smtp-source: {status}"));
    }
    Ok(Measured::new(work.messages, started.elapsed(), children_time()?.saturating_sub(before)))
}

/// smtp-sink, which discards what it gets. It ends when this is dropped.
pub(crate) struct Sink {
    pub(crate) port: u16,
    process: Child,
}

impl Sink {
    pub(crate) fn start(state: &str) -> Result<Self, String> {
        let failed = |error| format!("smtp-sink: {error}");
        // The port was free a moment ago; no other program takes it in between.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|it| it.local_addr())
            .map_err(failed)?;
        let process = Command::new(format!("{state}/bin/smtp-sink"))
            // It will not run as root; the option is refused to others.
            .args(if is_root() { &["-u", "nobody"][..] } else { &[] })
            .args([&format!("127.0.0.1:{}", free.port()), "1024"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let sink = Self { port: free.port(), process };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, sink.port)).is_err() {
            if Instant::now() > deadline {
                return Err("smtp-sink does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(sink)
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.process.kill().and_then(|()| self.process.wait()).is_err() {
            eprintln!("load: smtp-sink goes on");
        }
    }
}
