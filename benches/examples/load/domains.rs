//! Many domains at once: 1,000 of them over 100 hosts, by one `Sender` with the limits that it has
//! unless set.
//!
//! Ten domains have most of the mail. The others show whether they wait for the busy ones, and the
//! memory whether it has a bound.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use smtp_tls_policy::rules::Posture;
use smtp_tokio_adapter::PoolLimits;

use crate::Options;
use crate::certificate::Certificate;
use crate::deliveries::sender;
use crate::process::{forget_peak, peak, resident};
use crate::senders::{DEADLINE, Work, envelope};
use crate::server::Served;

const DOMAINS: usize = 1000;
const HOSTS: usize = 100;
/// Domains with much mail, and the messages for each of them and for each other one.
const BUSY: usize = 10;
const MANY: usize = 400;
const FEW: usize = 4;

/// The channels, by their names in the arguments.
const CHANNELS: [(&str, &str, Posture); 2] =
    [("clear", "clear text", Posture::None), ("tls", "TLS 1.3", Posture::Verified)];

/// Prints how long the mail of each domain takes, and the memory for it. Each channel has a process
/// of its own, because memory that is free again stays with the process.
pub(crate) fn report(options: &Options, certificate: &Certificate) -> Result<(), String> {
    if let Some(channel) = &options.channel {
        let channel = CHANNELS.into_iter().find(|it| it.0 == channel);
        let (_, name, posture) = channel.ok_or("the channels are clear and tls")?;
        return measure(certificate, name, posture);
    }
    println!("\n{DOMAINS} domains over {HOSTS} hosts, {BUSY} of them with {MANY} messages at once");
    println!("and the others with {FEW}: messages a second; seconds until the last message of a");
    println!("quiet domain, median [lowest-highest], and of a busy one; growth of memory in MiB");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    for (channel, ..) in CHANNELS {
        let arguments = [&*options.state, "--only", "domains", "--channel", channel];
        let status = Command::new(&program).args(arguments).status();
        if !status.map_err(|error| error.to_string())?.success() {
            return Err(format!("the domains by {channel} failed"));
        }
    }
    Ok(())
}

fn measure(certificate: &Certificate, name: &str, posture: Posture) -> Result<(), String> {
    let served = Served::start(certificate)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let measured = runtime.block_on(run(certificate, posture, served.port))?;
    let Measured { messages, seconds, quiet, busy, growth } = measured;
    println!(
        "  {name:24} {:8.0}   quiet {:.2} [{:.2}-{:.2}]   busy {:.2} [{:.2}-{:.2}]   {:.1} MiB",
        messages as f64 / seconds,
        quiet[quiet.len() / 2],
        quiet[0],
        quiet[quiet.len() - 1],
        busy[busy.len() / 2],
        busy[0],
        busy[busy.len() - 1],
        growth as f64 / 1024.0
    );
    Ok(())
}

struct Measured {
    messages: usize,
    seconds: f64,
    /// When the last message of each domain was delivered, in order.
    quiet: Vec<f64>,
    busy: Vec<f64>,
    /// The most memory, above that before the first delivery, in KiB.
    growth: u64,
}

async fn run(certificate: &Certificate, posture: Posture, port: u16) -> Result<Measured, String> {
    let names: Vec<_> = (0..DOMAINS)
        .map(|domain| {
            let host = domain % HOSTS;
            let address = Ipv4Addr::new(127, 0, 1, host as u8 + 1);
            // The certificate is for one name.
            (format!("d{domain}.test.example"), format!("mx{host}.test.example"), address)
        })
        .collect();
    let hosts = names.iter().map(|(domain, host, address)| (&**domain, &**host, *address));
    let sender = Arc::new(sender(certificate, posture, port, hosts, PoolLimits::default())?);
    let work = Work { port, size: 1024, connections: 0, messages: 0 };
    let message = Bytes::from(work.message());

    let before = resident()?;
    forget_peak()?;
    let started = Instant::now();
    let mut deliveries = Vec::new();
    for (number, (domain, ..)) in names.iter().enumerate() {
        let envelope = Arc::new(envelope(domain, message.len())?);
        for _ in 0..if number < BUSY { MANY } else { FEW } {
            let (sender, envelope) = (Arc::clone(&sender), Arc::clone(&envelope));
            let message = message.clone();
            let delivery = tokio::spawn(async move {
                let report = sender.send(envelope, &message).await;
                match report.statuses()[0].to_string() {
                    status if status == "delivered" => Ok(started.elapsed().as_secs_f64()),
                    _ => Err(format!("{report:?}")),
                }
            });
            deliveries.push((number, delivery));
        }
    }
    let (messages, mut last) = (deliveries.len(), vec![0.0_f64; DOMAINS]);
    for (number, delivery) in deliveries {
        let delivered = tokio::time::timeout_at((started + DEADLINE).into(), delivery).await;
        let delivered = delivered.map_err(|_| format!("d{number}.test.example starves"))?;
        let at = delivered.map_err(|error| error.to_string())??;
        last[number] = last[number].max(at);
    }
    let (seconds, growth) = (started.elapsed().as_secs_f64(), peak()?.saturating_sub(before));
    sender.close().await;
    let mut quiet = last.split_off(BUSY);
    quiet.sort_by(f64::total_cmp);
    last.sort_by(f64::total_cmp);
    Ok(Measured { messages, seconds, quiet, busy: last, growth })
}
