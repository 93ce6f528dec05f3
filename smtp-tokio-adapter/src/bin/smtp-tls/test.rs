//! `test`: the button of a connector.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::html::{Colour, Page};
use serde::Serialize;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::path::{PathError, ReversePath};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors};
use smtp_tls_policy::{Host, Namespace};
use smtp_tokio_adapter::Sender;
use smtp_tokio_adapter::lookups::{Lookups, Zone};

use crate::help::connectors;
use crate::input;
use crate::network;
use crate::output::{Out, OutputOptions, write_page};
use crate::probe::page;
use crate::probe::text::{self, words};
use crate::probe::{Answer, ProbeOptions, Setup};
use crate::status::{Failure, Status};

/// Probe every host of a connector, and say whether the connector may be switched on
///
/// The hosts are the smart host, or those of each domain that the connector names; a namespace such
/// as *.example.com means example.com, and * needs --domain. Without --send no mail is sent; with
/// it, a real message is sent to one address by the rules of the connector.
///
/// Nothing is switched on or off: a connector is in force once it is in the file that your mail
/// server reads.
#[derive(clap::Args)]
#[command(after_help = concat!("\
Examples:
  smtp-tls test bank --config connectors.toml --ca bank-ca=root.pem
  smtp-tls test bank --config connectors.toml --ca bank-ca=root.pem \\
      --send postmaster@bank.example
  smtp-tls test default --config connectors.toml --ca bank-ca=root.pem \\
      --domain example.com

", connectors!(), "\
Exit status: 0 if the connector may be switched on: each host takes mail over
TLS, and the message, if any, was accepted; 1 if mail would go in clear text, or
the message was refused for good; 3 if a host refuses this client before TLS, so
that it cannot be told; 4 if mail would be deferred, 5 if a file cannot be read
or written, 6 if a host cannot be reached or DNS gives no answer."))]
pub(crate) struct Args {
    /// The name of an outbound connector in the file
    connector: String,
    /// The file of connectors, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A domain to probe, beside those that the connector names
    #[arg(long, value_name = "DOMAIN", value_parser = input::host)]
    domain: Vec<Host>,
    /// Send a message to this address
    #[arg(long, value_name = "ADDRESS")]
    send: Option<Recipient>,
    /// The sender of the message; <> is none
    #[arg(long, value_name = "ADDRESS", default_value = "<>", value_parser = sender)]
    from: ReversePath<'static>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    options: ProbeOptions,
}

#[derive(Serialize)]
struct Tested {
    connector: String,
    posture: &'static str,
    /// Whether every host takes mail over TLS, and the message, if any, was accepted.
    may_be_switched_on: bool,
    targets: Vec<Answer>,
    /// What became of the message.
    sent: Option<Sent>,
}

#[derive(Serialize)]
struct Sent {
    recipient: String,
    accepted: bool,
    /// Whether a server has refused it for good, so that its sender would get it back.
    #[serde(skip)]
    is_refused: bool,
    /// The status, and the reply where there was one.
    outcome: String,
    /// The decision about TLS of each connection.
    decisions: Vec<String>,
}

impl Tested {
    /// Whether this becomes of mail at some host, or of all mail to some target.
    fn has(&self, ending: &str) -> bool {
        self.targets.iter().flat_map(Answer::endings).any(|it| it == ending)
    }
}

/// How long the server may take to answer QUIT.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let setup = Setup::new(&args.options)?;
    let config = input::config(&args.config, &setup.trust.load(), &setup.ids())?;
    let send_to = match &args.send {
        Some(recipient) => Some((recipient, domain(recipient)?)),
        None => None,
    };
    let connector = config.outbound.iter().find(|it| *it.name == *args.connector);
    let Some(connector) = connector else {
        let known: Vec<&str> = config.outbound.iter().map(|it| &*it.name).collect();
        return Err(Failure::Usage(format!(
            "no outbound connector is called {}; there are {}",
            args.connector,
            known.join(", ")
        )));
    };
    let targets = targets(connector, &args.domain);
    if targets.is_empty() {
        let why = "the connector names no domain; give one with --domain";
        return Err(Failure::Usage(why.to_owned()));
    }
    let mut tested = Tested {
        connector: connector.name.to_string(),
        posture: connector.posture.as_str(),
        may_be_switched_on: false,
        targets: Vec::new(),
        sent: None,
    };
    let tested_all = args.options.network.run(async {
        for target in &targets {
            let rule = format!("connector {}", connector.name);
            tested.targets.push(setup.probe(connector, rule, target).await?);
        }
        if let Some((recipient, domain)) = &send_to {
            tested.sent = Some(send(args, &setup, connector, recipient, domain).await?);
        }
        Ok(())
    });
    let traced = setup.write_trace();
    tested_all?;
    let any = |ending: &str| tested.has(ending);
    let accepted = tested.sent.as_ref().is_none_or(|sent| sent.accepted);
    let is_refused = tested.sent.as_ref().is_some_and(|sent| sent.is_refused);
    let all_tls = tested.targets.iter().flat_map(Answer::endings).all(|ending| ending == "tls");
    let unreachable = tested.targets.iter().find_map(Answer::unreachable).map(str::to_owned);
    let status = match (any("clear-text"), any("deferred")) {
        (true, _) => Some(Status::Bad),
        (false, true) => Some(Status::Deferred),
        (false, false) if unreachable.is_some() => None,
        (false, false) if is_refused => Some(Status::Bad),
        (false, false) if !accepted => Some(Status::Deferred),
        (false, false) if any("refused") => Some(Status::Unsure),
        (false, false) => Some(Status::Good),
    };
    tested.may_be_switched_on = all_tls && accepted;
    match out.is_json() {
        true => out.json(&tested)?,
        false => write(&tested, out)?,
    }
    if let Some(path) = &args.options.html {
        let mut drawn = Page::new(&format!("TLS of connector {}", tested.connector));
        let (colour, text) = verdict(&tested);
        drawn.line(colour, &text);
        for answer in &tested.targets {
            page::add(answer, &mut drawn);
        }
        write_page(&drawn, path)?;
    }
    traced?;
    status.ok_or_else(|| Failure::Network(unreachable.unwrap_or_default()))
}

/// Reads a sender, with or without brackets.
fn sender(text: &str) -> Result<ReversePath<'static>, PathError> {
    text.trim_matches(['<', '>']).parse()
}

/// The domain of a recipient.
fn domain(recipient: &Recipient) -> Result<Host, Failure> {
    let path = &recipient.path;
    let domain = path.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
    Host::parse(domain)
        .map_err(|error| Failure::Usage(format!("--send: the domain of the address: {error}")))
}

/// The domains whose hosts the connector serves.
fn targets(connector: &OutboundConnector, more: &[Host]) -> Vec<Host> {
    let mut targets: Vec<Host> = more.to_vec();
    match &connector.smart_host {
        Some(smart_host) => targets.push(smart_host.host.clone()),
        None => targets.extend(connector.namespaces.iter().filter_map(|it| match it {
            Namespace::Exact(domain) | Namespace::Subdomains(domain) => {
                Some(Host::Name(domain.clone()))
            }
            Namespace::Default => None,
        })),
    }
    targets.sort();
    targets.dedup();
    targets
}

/// Sends a message to one recipient by the rules of the connector alone.
async fn send(
    args: &Args,
    setup: &Setup<'_>,
    connector: &OutboundConnector,
    recipient: &Recipient,
    domain: &Host,
) -> Result<Sent, Failure> {
    let mut alone = connector.clone();
    alone.namespaces = vec![Namespace::Default];
    let Some(address) = args.options.connect.map(|it| it.with_port(args.options.port)) else {
        let lookups = network::lookups(&args.options.network, setup.trust.clone())?;
        return deliver(args, setup, alone, recipient, lookups, args.options.port).await;
    };
    let mut zone = Zone::new(DnsStatus::Insecure);
    if let Some(smart_host) = &mut alone.smart_host {
        smart_host.port = address.port();
    }
    let host = alone.smart_host.as_ref().map_or(domain, |it| &it.host);
    if let Host::Name(host) = host {
        zone.add_host(host, [address.ip()]);
    }
    deliver(args, setup, alone, recipient, zone, address.port()).await
}

async fn deliver(
    args: &Args,
    setup: &Setup<'_>,
    connector: OutboundConnector,
    recipient: &Recipient,
    lookups: impl Lookups,
    port: u16,
) -> Result<Sent, Failure> {
    let envelope = Envelope::new(args.from.clone(), [recipient.clone()]);
    let message = bytes::Bytes::from(format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: Test of TLS for connector {}\r\n\r\n\
         This message was sent by smtp-tls to test a connector.\r\n",
        args.from.as_str(),
        recipient.path.as_str(),
        connector.name,
    ));
    let wrong = |errors: &dyn std::fmt::Display| Failure::File(errors.to_string());
    let connectors = OutboundConnectors::new(vec![connector]).map_err(|errors| wrong(&errors))?;
    let sender = Sender::new(setup.outbound(), Arc::new(connectors), lookups)
        .map_err(|errors| wrong(&errors))?
        .with_route(|route| route.port = port);
    let report = sender.send(envelope, &message).await;
    // The message is accepted or not, whatever the server says to QUIT.
    let _ = tokio::time::timeout(GOODBYE, sender.close()).await;
    let outcome = report.recipients.first();
    let words = outcome.map(|outcome| {
        let reply = outcome.reply.as_ref().map(|reply| format!(": {reply}")).unwrap_or_default();
        format!("{}{reply}", outcome.status)
    });
    Ok(Sent {
        recipient: recipient.path.as_str().to_owned(),
        accepted: outcome.is_some_and(|it| it.status == RecipientStatus::Delivered),
        is_refused: outcome.is_some_and(|it| matches!(it.status, RecipientStatus::Bounced(_))),
        outcome: words.unwrap_or_default(),
        decisions: report.attempts.iter().map(|it| it.decision.sentence.clone()).collect(),
    })
}

fn write(tested: &Tested, out: &mut Out) -> Result<(), Failure> {
    for answer in &tested.targets {
        text::write(answer, out)?;
        out.gap()?;
    }
    out.title(format!("Connector {}, posture {}", tested.connector, tested.posture))?;
    for target in &tested.targets {
        let names = target.hosts.iter().map(|host| &host.host);
        let whole = target.hosts.is_empty().then_some(&target.target);
        for (ending, name) in target.endings().zip(names.chain(whole)) {
            let (word, colour) = words(ending);
            out.coloured(colour, "  ", &format!("{word:<12}"), name)?;
        }
    }
    if let Some(sent) = &tested.sent {
        let colour = if sent.accepted { Colour::Green } else { Colour::Red };
        let text = format!("to {}: {}", sent.recipient, sent.outcome);
        out.coloured(colour, "  ", "test message", text)?;
        for decision in &sent.decisions {
            out.row("              ", "", decision)?;
        }
    }
    let (colour, text) = verdict(tested);
    out.coloured(colour, "  ", "", text)
}

fn verdict(tested: &Tested) -> (Colour, String) {
    if tested.may_be_switched_on {
        return (Colour::Green, "yes: the connector may be switched on".to_owned());
    }
    let why = if tested.has("clear-text") {
        "some mail would go in clear text"
    } else if tested.has("deferred") {
        "some mail would be deferred"
    } else if tested.has("unreachable") {
        "a host or a domain cannot be reached"
    } else if tested.has("refused") {
        "a host refuses this client, so that its TLS cannot be told"
    } else {
        "the test message was not accepted"
    };
    (Colour::Red, format!("no: do not switch the connector on; {why}"))
}
