//! `probe`: connects to mail servers as a client would, and sends no mail.

pub(crate) mod decide;
pub(crate) mod observe;
pub(crate) mod page;
pub(crate) mod text;

use std::path::PathBuf;
use std::sync::Arc;

use pki_types::CertificateDer;
use serde::Serialize;
use smtp_proto::wire::path::DomainBuf;
use smtp_tls_policy::inquiry::MailFacts;
use smtp_tls_policy::pki::{CertificateSummary, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{IdentityId, OutboundConnector, Posture};
use smtp_tls_policy::trace::DateTime;
use smtp_tls_policy::{Host, Namespace, pki_types};
use smtp_tokio_adapter::Outbound;
use smtp_tokio_adapter::html::Page;

use crate::help::postures;
use crate::input::{self, TrustOptions};
use crate::network::{self, Address, Asked, Network, hosts};
use crate::output::{Out, OutputOptions, write_page};
use crate::status::{Failure, Status};

use self::decide::Decided;
use self::observe::{Exchange, Observed, Outcome, Prober};

/// Connect to the mail servers of a domain, and show which TLS your mail would get
///
/// Looks up MX records with DNSSEC, TLSA records and the MTA-STS policy; connects to each host in
/// the order of its MX record; shows the replies, the version, cipher suite and key exchange group,
/// the certificates, and what each posture would decide and why. Needs no configuration, and sends
/// no mail.
///
/// With --connect the target is the host itself, and DNS is not asked unless --resolver is given.
#[derive(clap::Args)]
#[command(after_help = concat!("\
Examples:
  smtp-tls probe example.com
  smtp-tls probe bank.example --posture verified --json
  smtp-tls probe bank.example --config connectors.toml --ca bank-ca=root.pem
  smtp-tls probe mx.bank.example --connect 192.0.2.1 --trace ticket.txt
  smtp-tls probe example.com --html page.html

", postures!(), "\
Exit status: what would become of mail at the first host that takes it: 0 for
TLS, 1 for clear text; 4 if mail is deferred, 5 if a file cannot be read or
written, 6 if no host can be reached or DNS gives no answer."))]
pub(crate) struct Args {
    /// A domain with MX records, or a host
    #[arg(value_name = "DOMAIN|HOST")]
    target: Host,
    /// Decide by this posture: the answer and the exit status are those of mail under it
    #[arg(long, default_value = "deterministic", conflicts_with = "config")]
    posture: Posture,
    /// Decide by the connector in this file that serves the target
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    options: ProbeOptions,
}

/// Options of all commands that connect.
#[derive(clap::Args)]
pub(crate) struct ProbeOptions {
    /// The port of hosts that MX records name
    #[arg(long, default_value = "25")]
    pub(crate) port: u16,
    /// Connect to this address instead of those in DNS
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub(crate) connect: Option<Address>,
    /// The name to give in EHLO
    #[arg(long, value_name = "NAME", default_value = "localhost.localdomain")]
    pub(crate) name: DomainBuf,
    /// Write the conversation with the time of each line to this file, to attach to a ticket; it
    /// holds no message and no credentials
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Write a page for a browser to this file, with the hosts as boxes and arrows
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustOptions,
    #[command(flatten)]
    pub(crate) network: network::NetworkOptions,
}

/// All that was found.
#[derive(Serialize)]
pub(crate) struct Answer {
    pub(crate) target: String,
    /// The posture or the connector that decides.
    pub(crate) rule: String,
    /// `tls`, `clear-text`, `deferred` or `unreachable`.
    pub(crate) ending: &'static str,
    /// The decision in one sentence.
    pub(crate) sentence: String,
    pub(crate) look_ups: Vec<Asked>,
    pub(crate) hosts: Vec<HostFound>,
    #[serde(skip)]
    pub(crate) status: Option<Status>,
}

/// What was found of one host.
#[derive(Serialize)]
pub(crate) struct HostFound {
    pub(crate) host: String,
    pub(crate) preference: Option<u16>,
    /// The addresses that DNS or the command line names.
    pub(crate) addresses: Vec<String>,
    /// The address that was connected to.
    pub(crate) connected: Option<String>,
    /// Why there is no more, if the server could not be reached or ended the conversation.
    pub(crate) failure: Option<String>,
    pub(crate) clear_text: Vec<Exchange>,
    pub(crate) tls: Option<TlsFound>,
    /// What the server announces inside TLS.
    pub(crate) inside_tls: Vec<String>,
    pub(crate) certificates: Vec<CertificateFound>,
    /// The decision that counts.
    pub(crate) decision: Decided,
    /// What each posture would decide.
    pub(crate) postures: Vec<Decided>,
}

#[derive(Serialize)]
pub(crate) struct TlsFound {
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
    pub(crate) group: Option<&'static str>,
    /// Whether the key exchange resists quantum computers.
    pub(crate) post_quantum: bool,
    /// The cipher suite that the server takes with TLS 1.2; `None` if it does not take TLS 1.2.
    pub(crate) tls_1_2: Option<&'static str>,
}

#[derive(Serialize)]
pub(crate) struct CertificateFound {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    pub(crate) key: String,
    pub(crate) lists: Vec<String>,
    pub(crate) pin: Option<String>,
}

impl CertificateFound {
    fn new(certificate: &CertificateDer<'_>) -> Self {
        let date = |time: pki_types::UnixTime| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            DateTime::new(seconds, 0).map_or_else(String::new, |date| date.to_string())
        };
        match CertificateSummary::of(certificate) {
            Some(it) => Self {
                subject: it.subject,
                issuer: it.issuer,
                names: it.names,
                not_before: date(it.not_before),
                not_after: date(it.not_after),
                key: it.key,
                lists: it.lists,
                pin: it.pin.map(|pin| pin.to_string()),
            },
            None => Self {
                subject: "a certificate that cannot be read".to_owned(),
                issuer: String::new(),
                names: Vec::new(),
                not_before: String::new(),
                not_after: String::new(),
                key: String::new(),
                lists: Vec::new(),
                pin: None,
            },
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let setup = Setup::new(&args.options)?;
    let config = match &args.config {
        Some(path) => Some(input::config(path, &setup.trust, &setup.ids())?),
        None => None,
    };
    let connector = match &config {
        Some(config) => config.outbound.find(&args.target).clone(),
        None => OutboundConnector::new("probe", vec![Namespace::Default], args.posture),
    };
    let rule = match &config {
        Some(_) => format!("connector {}", connector.name),
        None => format!("posture {}", args.posture),
    };
    let probing = setup.probe(&connector, rule, &args.target);
    let (answer, trace) = args.options.network.run(probing)?;
    finish(&answer, &trace, &args.options, out)
}

/// Writes the answer and the trace.
fn finish(
    answer: &Answer,
    trace: &[String],
    options: &ProbeOptions,
    out: &mut Out,
) -> Result<Status, Failure> {
    write_trace(trace, options)?;
    if let Some(path) = &options.html {
        let mut drawn = Page::new(&format!("TLS for mail to {}", answer.target));
        page::add(answer, &mut drawn);
        write_page(&drawn, path)?;
    }
    match out.is_json() {
        true => out.json(answer)?,
        false => text::write(answer, out)?,
    }
    answer.status.ok_or_else(|| Failure::Network(answer.sentence.clone()))
}

/// Writes the lines of the conversations where `--trace` says.
pub(crate) fn write_trace(trace: &[String], options: &ProbeOptions) -> Result<(), Failure> {
    let Some(path) = &options.trace else { return Ok(()) };
    let text: String = trace.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, text).map_err(|error| Failure::file(path, error))
}

/// What all connections need.
pub(crate) struct Setup<'o> {
    options: &'o ProbeOptions,
    pub(crate) trust: Arc<Trust>,
    prober: Prober,
    /// `None` if DNS is not asked.
    network: Option<Network>,
}

impl<'o> Setup<'o> {
    pub(crate) fn new(options: &'o ProbeOptions) -> Result<Self, Failure> {
        let trust = Arc::new(options.trust.complete()?);
        let provider = input::provider();
        let identities = options.trust.identities(&provider)?;
        let prober = Prober {
            name: options.name.clone(),
            provider,
            trust: trust.clone(),
            identities,
            step: options.network.step_limit(),
        };
        let asks = options.connect.is_none() || options.network.resolver.is_some();
        let network = match asks {
            true => Some(Network::new(&options.network, trust.clone())?),
            false => None,
        };
        Ok(Self { options, trust, prober, network })
    }

    pub(crate) fn ids(&self) -> Vec<IdentityId> {
        self.prober.identities.iter().map(|(id, _)| id.clone()).collect()
    }

    /// What the connections of a delivery have in common.
    pub(crate) fn outbound(&self) -> Outbound {
        self.prober.outbound(input::provider().as_ref().clone())
    }

    /// Probes each host of a target; with the lines of the conversations.
    pub(crate) async fn probe(
        &self,
        connector: &OutboundConnector,
        rule: String,
        target: &Host,
    ) -> Result<(Answer, Vec<String>), Failure> {
        let mut answer = Answer {
            target: target.to_string(),
            rule,
            ending: "deferred",
            sentence: String::new(),
            look_ups: Vec::new(),
            hosts: Vec::new(),
            status: Some(Status::Deferred),
        };
        let mut trace = Vec::new();
        match &self.network {
            None => {
                let found = self.host(connector, &answer.rule, target, None, None, &mut trace);
                answer.hosts.push(found.await);
            }
            Some(network) => {
                let mut mail = MailFacts::new(connector, target);
                mail.port = self.options.port;
                match network.domain(mail).await? {
                    Ok(facts) => {
                        for (preference, host) in hosts(&facts)? {
                            let found = self.host(
                                connector,
                                &answer.rule,
                                &host,
                                preference,
                                Some((network, target)),
                                &mut trace,
                            );
                            answer.hosts.push(found.await);
                        }
                    }
                    Err(refused) => answer.sentence = refused.to_string(),
                }
                answer.look_ups = network.asked();
            }
        }
        answer.conclude();
        Ok((answer, trace))
    }

    async fn host(
        &self,
        connector: &OutboundConnector,
        rule: &str,
        host: &Host,
        preference: Option<u16>,
        dns: Option<(&Network, &Host)>,
        trace: &mut Vec<String>,
    ) -> HostFound {
        let prepared = self.prepare(connector, host, dns).await;
        let mut port = self.options.port;
        if let Some(smart_host) = &connector.smart_host {
            port = smart_host.port;
        }
        let mut addresses = match &self.options.connect {
            Some(address) => vec![address.with_port(port)],
            None => match &prepared {
                Ok((addresses, _)) => {
                    addresses.iter().map(|ip| std::net::SocketAddr::new(*ip, port)).collect()
                }
                Err(_) => Vec::new(),
            },
        };
        addresses.dedup();
        let mut found = HostFound {
            host: host.to_string(),
            preference,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            connected: None,
            failure: None,
            clear_text: Vec::new(),
            tls: None,
            inside_tls: Vec::new(),
            certificates: Vec::new(),
            decision: Decided::refused(rule.to_owned(), None, "the host has no address".to_owned()),
            postures: Vec::new(),
        };
        let plan = match prepared {
            Ok((_, plan)) => plan,
            Err(refused) => {
                found.decision = refused.named(rule);
                return found;
            }
        };
        let mut observed: Option<Observed> = None;
        for address in addresses {
            let now = self.prober.observe(connector, host, address).await;
            trace.push(format!("-- {host}, {address}"));
            trace.extend(now.trace.iter().cloned());
            let is_over = !matches!(now.outcome, Outcome::Ended(_));
            observed = Some(now);
            if is_over {
                break;
            }
        }
        let Some(observed) = observed else { return found };
        found.decision = Decided::new(rule.to_owned(), &plan, &observed, &self.trust);
        match &observed.outcome {
            Outcome::Ended(why) => found.failure = Some(why.clone()),
            Outcome::Tls | Outcome::NoTls(..) => {
                found.connected = Some(observed.address.to_string());
                for posture in Posture::ALL {
                    found
                        .postures
                        .extend(self.decide(posture, connector, host, dns, &observed).await);
                }
            }
        }
        if let Some((version, cipher, group)) = observed.tls {
            let tls_1_2 = match version {
                "TLSv1.2" => Some(cipher),
                _ => self.prober.takes_tls12(connector, host, observed.address).await,
            };
            let post_quantum = group.is_some_and(|group| group.contains("MLKEM"));
            found.tls = Some(TlsFound { version, cipher, group, post_quantum, tls_1_2 });
        }
        found.certificates = observed.chain.iter().map(CertificateFound::new).collect();
        found.clear_text = observed.exchanges;
        found.inside_tls = observed.inside;
        found
    }

    async fn prepare(
        &self,
        connector: &OutboundConnector,
        host: &Host,
        dns: Option<(&Network, &Host)>,
    ) -> Result<(Vec<std::net::IpAddr>, smtp_tls_policy::plan::Plan), Refused> {
        match dns {
            None => {
                let smart = connector.smart_host.is_some();
                let origin = if smart { HostOrigin::SmartHost } else { HostOrigin::Mx };
                match plan(&Facts::new(connector, host, host, origin)) {
                    Ok(plan) => Ok((Vec::new(), plan)),
                    Err(refusal) => Err(Refused(Some(refusal.reason()), refusal.to_string())),
                }
            }
            Some((network, target)) => {
                let mut mail = MailFacts::new(connector, target);
                mail.port = self.options.port;
                let refused = |it: Box<smtp_tls_policy::inquiry::NotDialled>| {
                    let reason = it.refusal.as_ref().map(|refusal| refusal.reason());
                    Refused(reason, it.to_string())
                };
                let silent = |failure: Failure| Refused(None, failure.to_string());
                let facts = network.domain(mail).await.map_err(silent)?.map_err(refused)?;
                let ready = network.host(&facts, host).await.map_err(refused)?;
                Ok((ready.addresses, ready.plan))
            }
        }
    }

    /// What a posture would decide; `None` if it needs roots or pins that are not given.
    async fn decide(
        &self,
        posture: Posture,
        connector: &OutboundConnector,
        host: &Host,
        dns: Option<(&Network, &Host)>,
        observed: &Observed,
    ) -> Option<Decided> {
        let mut other = OutboundConnector::new(&connector.name, vec![Namespace::Default], posture);
        other.smart_host = connector.smart_host.clone();
        match posture {
            Posture::PrivateCa => {
                let names = self.trust.names();
                let given = names.into_iter().find(|id| **id != RootsId::public())?;
                other.roots = given.clone();
            }
            Posture::Pinned => {
                if connector.pins.is_empty() {
                    return None;
                }
                other.pins.clone_from(&connector.pins);
            }
            _ => {}
        }
        let rule = posture.to_string();
        Some(match self.prepare(&other, host, dns).await {
            Ok((_, plan)) => Decided::new(rule, &plan, observed, &self.trust),
            Err(refused) => refused.named(&rule),
        })
    }
}

/// Why a host is not dialled.
struct Refused(Option<smtp_tls_policy::Reason>, String);

impl Refused {
    fn named(self, rule: &str) -> Decided {
        Decided::refused(rule.to_owned(), self.0, self.1)
    }
}

impl Answer {
    /// What becomes of mail: the first host that takes it decides.
    fn conclude(&mut self) {
        let takes = |found: &&HostFound| found.decision.ending != "deferred";
        let reached = |found: &&HostFound| found.failure.is_none();
        let decisive = self.hosts.iter().find(takes).or_else(|| self.hosts.iter().find(reached));
        match decisive {
            Some(found) => {
                self.ending = found.decision.ending;
                self.sentence = format!("{}: {}", found.host, found.decision.sentence);
                self.status = Some(found.decision.status());
            }
            None if self.hosts.is_empty() => {}
            None => {
                let why = self.hosts.iter().filter_map(|found| found.failure.as_deref());
                (self.ending, self.sentence) = ("unreachable", why.collect::<Vec<_>>().join("; "));
                self.status = None;
            }
        }
    }
}
