//! `probe`: connects to mail servers as a client would, and sends no mail.

pub(crate) mod decide;
mod found;
pub(crate) mod observe;
pub(crate) mod page;
pub(crate) mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::html::Page;
use serde::Serialize;
use smtp_proto::wire::path::Domain;
use smtp_tls_policy::inquiry::DomainInquiry;
use smtp_tls_policy::pki::{LiveTrust, RootsId};
use smtp_tls_policy::plan::{Attempt, Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{Floor, IdentityId, OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace};
use smtp_tokio_adapter::Outbound;
use smtp_tokio_adapter::revocation::{CrlFetcher, FetchedList};

use crate::conversation::{Exchange, Recorder};
use crate::help::postures;
use crate::input::{self, TrustOptions};
use crate::network::{self, Address, Asked, Network, hosts};
use crate::output::{Out, OutputOptions, write_page};
use crate::status::{Failure, Status};

use self::decide::Decided;
use self::found::{CertificateFound, TlsFound};
use self::observe::{Observed, Outcome, Peer, Prober};

/// Connect to the mail servers of a domain, and show which TLS your mail would get
///
/// Looks up MX records with DNSSEC, TLSA records and the MTA-STS policy; connects to each host in
/// the order of its MX record; shows the replies, the versions, cipher suites and key exchange
/// groups, the certificates with the state of their revocation lists, and what each posture would
/// decide and why. Needs no configuration, and sends no mail.
///
/// With --connect the target is the host itself, and DNS is not asked unless --resolver is given.
#[derive(clap::Args)]
#[command(after_help = concat!("\
Examples:
  smtp-tls probe example.com
  smtp-tls probe bank.example --posture verified --json
  smtp-tls probe bank.example --posture verified --ca their-root.pem
  smtp-tls probe bank.example --config connectors.toml --ca bank-ca=root.pem
  smtp-tls probe mx.bank.example --connect 192.0.2.1 --trace ticket.txt
  smtp-tls probe example.com --html page.html

", postures!(), "\
Exit status: what would become of mail at the first host that takes it: 0 for
TLS, 1 for clear text; 3 if every host that answers refuses this client before
TLS, so that it cannot be told; 4 if mail is deferred, 5 if a file cannot be
read or written, 6 if no host can be reached or DNS gives no answer."))]
pub(crate) struct Args {
    /// A domain with MX records, or a host
    #[arg(value_name = "DOMAIN|HOST", value_parser = input::host)]
    target: Host,
    /// Decide by this posture: the answer and the exit status are those of mail under it. Without
    /// it and without --config, the posture is deterministic
    #[arg(long, conflicts_with = "config", value_parser = input::posture)]
    posture: Option<Posture>,
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
    /// The port of the hosts. TLS is asked for with STARTTLS, unless the connector has a smart host
    /// with implicit-tls
    #[arg(long, default_value = "25", value_parser = input::port)]
    pub(crate) port: u16,
    /// Connect to this address instead of those in DNS
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub(crate) connect: Option<Address>,
    /// The name to give in EHLO
    #[arg(long, value_name = "NAME", default_value = "localhost.localdomain")]
    pub(crate) name: Domain<'static>,
    /// Write the conversations with the time of each line to this file, to attach to a ticket: one
    /// for each version and group that is tried. It holds no message and no credentials
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Fetch the revocation lists that the certificates name, by HTTP from their authorities
    #[arg(long)]
    pub(crate) fetch_lists: bool,
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
    /// `tls`, `clear-text`, `deferred`, `refused` or `unreachable`.
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
    /// Whether there was TLS with the plainest hello; `None` if no handshake had failed before.
    pub(crate) plain_hello: Option<bool>,
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

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let setup = Setup::new(&args.options)?;
    let config = match &args.config {
        Some(path) => Some(input::config(path, &setup.trust.load(), &setup.ids())?),
        None => None,
    };
    let connector = match &config {
        Some(config) => config.outbound.find(&args.target).clone(),
        None => without_name(args.posture.unwrap_or(Posture::Deterministic)),
    };
    let rule = match (&config, &args.posture) {
        (Some(_), _) => format!("connector {}", connector.name),
        (None, Some(posture)) => format!("posture {posture}"),
        (None, None) => format!("posture {}, the default", connector.posture),
    };
    let probing = setup.probe(&connector, rule, &args.target);
    let probed = args.options.network.run(probing);
    let traced = setup.write_trace();
    let status = finish(&probed?, &args.options, out)?;
    traced.map(|()| status)
}

/// The rules of a posture alone. Sentences about it name no connector.
fn without_name(posture: Posture) -> OutboundConnector {
    OutboundConnector::new("", vec![Namespace::Default], posture)
}

/// Writes the answer, and then the page: what was found is not lost if a file cannot be written.
fn finish(answer: &Answer, options: &ProbeOptions, out: &mut Out) -> Result<Status, Failure> {
    match out.is_json() {
        true => out.json(answer)?,
        false => text::write(answer, out)?,
    }
    if let Some(path) = &options.html {
        let mut drawn = Page::new(&format!("TLS for mail to {}", answer.target));
        page::add(answer, &mut drawn);
        write_page(&drawn, path)?;
    }
    answer.status.ok_or_else(|| Failure::Network(answer.sentence.clone()))
}

/// What all connections need.
pub(crate) struct Setup<'o> {
    options: &'o ProbeOptions,
    pub(crate) trust: Arc<LiveTrust>,
    prober: Prober,
    /// `None` if lists are not fetched.
    fetcher: Option<CrlFetcher>,
    /// `None` if DNS is not asked.
    network: Option<Network>,
}

impl<'o> Setup<'o> {
    pub(crate) fn new(options: &'o ProbeOptions) -> Result<Self, Failure> {
        let trust = Arc::new(LiveTrust::new(options.trust.complete()?));
        let provider = input::provider();
        let identities = options.trust.identities(&provider)?;
        let prober = Prober {
            name: options.name.clone(),
            provider,
            trust: trust.clone(),
            identities,
            recorder: Recorder::start(),
            begun: Instant::now(),
            limit: options.network.time_limit(),
        };
        // Public authorities have global addresses. What is given in their place may be internal.
        let own_roots = options.trust.ca.iter().any(|it| it.name.is_none());
        let asks = options.connect.is_none() || options.network.resolver.is_some();
        let network = match asks {
            true => Some(Network::new(&options.network, trust.clone())?),
            false => None,
        };
        let fetcher = options.fetch_lists.then(|| {
            let fetcher = CrlFetcher::new(Arc::clone(&trust));
            let fetcher = if own_roots { fetcher.with_any_address() } else { fetcher };
            match &network {
                Some(network) => fetcher.with_lookups(Arc::clone(&network.resolver)),
                None => fetcher,
            }
        });
        Ok(Self { options, trust, prober, fetcher, network })
    }

    pub(crate) fn ids(&self) -> Vec<IdentityId> {
        self.prober.identities.iter().map(|(id, _)| id.clone()).collect()
    }

    /// What the connections of a delivery have in common.
    pub(crate) fn outbound(&self) -> Outbound {
        let outbound = self.prober.outbound(input::provider().as_ref().clone());
        match &self.fetcher {
            Some(fetcher) => outbound.with_crl_fetcher(fetcher.clone()),
            None => outbound,
        }
    }

    /// Writes what was said where `--trace` says.
    pub(crate) fn write_trace(&self) -> Result<(), Failure> {
        let Some(path) = &self.options.trace else { return Ok(()) };
        let text = self.prober.recorder.text();
        std::fs::write(path, text).map_err(|error| Failure::file(path, error))
    }

    /// Probes each host of a target.
    pub(crate) async fn probe(
        &self,
        connector: &OutboundConnector,
        rule: String,
        target: &Host,
    ) -> Result<Answer, Failure> {
        let mut answer = Answer {
            target: target.to_string(),
            rule,
            ending: "deferred",
            sentence: String::new(),
            look_ups: Vec::new(),
            hosts: Vec::new(),
            status: Some(Status::Deferred),
        };
        match &self.network {
            None => {
                let found = self.host(connector, &answer.rule, target, None, None);
                answer.hosts.push(found.await);
            }
            Some(network) => {
                let probed = self.domain(network, connector, target, &mut answer).await;
                answer.look_ups = network.asked();
                match probed {
                    // What was asked is shown all the same.
                    Err(Failure::Network(why)) => {
                        (answer.ending, answer.sentence, answer.status) =
                            ("unreachable", why, None);
                    }
                    probed => probed?,
                }
            }
        }
        answer.conclude();
        Ok(answer)
    }

    /// Asks DNS, and probes each host of a domain.
    async fn domain(
        &self,
        network: &Network,
        connector: &OutboundConnector,
        target: &Host,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let inquiry = DomainInquiry::new(connector, target).with_port(self.options.port);
        match network.domain(inquiry).await? {
            Ok(facts) => {
                for (preference, host) in hosts(&facts)? {
                    let dns = Some((network, target));
                    let found = self.host(connector, &answer.rule, &host, preference, dns).await;
                    answer.hosts.push(found);
                }
            }
            Err(refused) => answer.sentence = refused.to_string(),
        }
        Ok(())
    }

    async fn host(
        &self,
        connector: &OutboundConnector,
        rule: &str,
        host: &Host,
        preference: Option<u16>,
        dns: Option<(&Network, &Host)>,
    ) -> HostFound {
        // What was found must be told in time. A look-up without an answer leaves room for another.
        let no_time = |what: &str| Err(Refused(None, format!("{what}; use --timeout")));
        let most = self.prober.step() * 3 / 2;
        let preparing = tokio::time::timeout(most, self.prepare(connector, host, dns));
        let (prepared, is_unanswered) = match self.prober.is_late() {
            true => (no_time("not probed, for the time is over"), true),
            false => match preparing.await {
                Ok(prepared) => (prepared, false),
                Err(_) => (no_time("not probed, for DNS gave no answer in time"), true),
            },
        };
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
        let mut none = "the host has no address".to_owned();
        if let (false, Some(address)) =
            (addresses.iter().all(|it| connector.dial.families.has(it.ip())), &self.options.connect)
        {
            none = format!(
                "connector {} does not dial addresses of the family of {}",
                connector.name,
                address.with_port(port).ip()
            );
            addresses.clear();
        }
        let mut found = HostFound {
            host: host.to_string(),
            preference,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            connected: None,
            failure: None,
            plain_hello: None,
            clear_text: Vec::new(),
            tls: None,
            inside_tls: Vec::new(),
            certificates: Vec::new(),
            decision: Decided::refused(rule.to_owned(), None, none),
            postures: Vec::new(),
        };
        let plan = match prepared {
            Ok((_, plan)) => plan,
            Err(refused) => {
                found.failure = is_unanswered.then(|| format!("{host}: {}", refused.1));
                found.decision = refused.named(rule);
                return found;
            }
        };
        let requires_tls = plan.floor() != Floor::Plaintext;
        let peer = |address| Peer { connector, host, address, requires_tls };
        // As in a delivery: TLS is looked for at each address before clear text is chosen, and
        // another address may have what the rule requires.
        let mut best: Option<(Observed, Decided, Vec<FetchedList>)> = None;
        for address in addresses {
            let observed = self.prober.observe(peer(address)).await;
            let fetched = self.fetch_lists(connector, host, &observed).await;
            let decided = Decided::new(rule.to_owned(), &plan, &observed, &self.trust.load());
            let is_over = match (&observed.outcome, decided.ending) {
                (Outcome::OwnFault(_), _) | (_, "tls") => true,
                (_, "clear-text") => {
                    connector.dial.clear_text_at_once || plan.attempt() == Attempt::Clear
                }
                _ => false,
            };
            let rank = rank(&observed, &decided);
            if best.as_ref().is_none_or(|(before, it, _)| rank > self::rank(before, it)) {
                best = Some((observed, decided, fetched));
            }
            if is_over {
                break;
            }
        }
        let Some((observed, decided, fetched)) = best else { return found };
        let trust = self.trust.load();
        found.decision = decided;
        match &observed.outcome {
            Outcome::Ended(why) => found.failure = Some(why.clone()),
            Outcome::Refused(why) => {
                found.connected = Some(observed.address.to_string());
                found.failure = Some(why.clone());
            }
            Outcome::OwnFault(_) => {}
            Outcome::Tls | Outcome::NoTls(..) => {
                found.connected = Some(observed.address.to_string());
                for posture in Posture::ALL {
                    found
                        .postures
                        .extend(self.decide(posture, connector, host, dns, &observed).await);
                }
            }
        }
        found.plain_hello = observed.plain_hello;
        found.tls = TlsFound::of(&self.prober, peer(observed.address), &observed).await;
        let lists = trust.list_status(&connector.roots, &observed.chain, input::now());
        found.certificates = observed
            .chain
            .iter()
            .zip(lists)
            .map(|(certificate, list)| CertificateFound::new(certificate, list, &fetched))
            .collect();
        found.clear_text = observed.exchanges;
        found.inside_tls = observed.inside;
        found
    }

    /// Fetches the lists that the chain of a server names, if that is asked for.
    async fn fetch_lists(
        &self,
        connector: &OutboundConnector,
        host: &Host,
        observed: &Observed,
    ) -> Vec<FetchedList> {
        let Some(fetcher) = &self.fetcher else { return Vec::new() };
        let mut verified = without_name(Posture::Verified);
        verified.roots = connector.roots.clone();
        let now = input::now();
        if let Ok(plan) = plan(&Facts::new(&verified, host, host, HostOrigin::Mx)) {
            // The judgement notes which lists are wanted.
            let _ = plan.judge(&observed.chain, &self.trust.load(), now);
        }
        let fetching = tokio::time::timeout(self.prober.step(), fetcher.refresh(now));
        fetching.await.unwrap_or_default()
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
                let inquiry = DomainInquiry::new(connector, target).with_port(self.options.port);
                let refused = |it: Box<smtp_tls_policy::inquiry::NotDialled>| {
                    Refused(Some(it.refusal.reason()), it.to_string())
                };
                let silent = |failure: Failure| Refused(None, failure.to_string());
                let facts = network.domain(inquiry).await.map_err(silent)?.map_err(refused)?;
                let ready = network.host(&facts, host).await.map_err(refused)?;
                Ok((ready.addresses, ready.plan))
            }
        }
    }

    /// What a posture would decide; `None` if it needs roots or pins that are not given, or DNS
    /// that is not asked.
    async fn decide(
        &self,
        posture: Posture,
        connector: &OutboundConnector,
        host: &Host,
        dns: Option<(&Network, &Host)>,
        observed: &Observed,
    ) -> Option<Decided> {
        let mut other = without_name(posture);
        other.smart_host = connector.smart_host.clone();
        other.dial = connector.dial.clone();
        match posture {
            Posture::DaneOnly if dns.is_none() => return None,
            Posture::PrivateCa => {
                let trust = self.trust.load();
                let names = trust.names();
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
            Ok((_, plan)) => Decided::new(rule, &plan, observed, &self.trust.load()),
            Err(refused) => refused.named(&rule),
        })
    }
}

/// Which of several addresses decides: TLS before clear text, an answer before none; among equals
/// the first.
fn rank(observed: &Observed, decided: &Decided) -> u8 {
    match (&observed.outcome, decided.ending) {
        (_, "tls") => 4,
        (_, "clear-text") => 3,
        (Outcome::Ended(_), _) => 0,
        (Outcome::Refused(_), _) => 1,
        _ => 2,
    }
}

/// Why a host is not dialled.
struct Refused(Option<smtp_tls_policy::Reason>, String);

impl Refused {
    fn named(self, rule: &str) -> Decided {
        Decided::refused(rule.to_owned(), self.0, self.1)
    }
}

impl HostFound {
    /// `tls`, `clear-text`, `deferred`, `refused` or `unreachable`.
    pub(crate) fn ending(&self) -> &'static str {
        match (&self.failure, self.decision.ending) {
            (Some(_), "deferred") => "unreachable",
            (_, ending) => ending,
        }
    }
}

impl Answer {
    /// What becomes of mail at each host; without hosts, of all mail to the target.
    pub(crate) fn endings(&self) -> impl Iterator<Item = &'static str> {
        let whole = self.hosts.is_empty().then_some(self.ending);
        self.hosts.iter().map(HostFound::ending).chain(whole)
    }

    /// Why the target or one of its hosts was not reached.
    pub(crate) fn unreachable(&self) -> Option<&str> {
        match self.hosts.is_empty() {
            true => (self.ending == "unreachable").then_some(&*self.sentence),
            false => {
                let host = self.hosts.iter().find(|host| host.ending() == "unreachable");
                host.and_then(|host| host.failure.as_deref())
            }
        }
    }

    /// What becomes of mail: the first host that takes it decides; without such, the first that
    /// showed whether it has TLS, and then one that refuses this client.
    fn conclude(&mut self) {
        let takes = |found: &&HostFound| matches!(found.decision.ending, "tls" | "clear-text");
        let reached = |found: &&HostFound| found.failure.is_none();
        let refused = |found: &&HostFound| found.ending() == "refused";
        let mut hosts = self.hosts.iter();
        let decisive = hosts.clone().find(takes).or_else(|| hosts.clone().find(reached));
        let decisive = decisive.or_else(|| hosts.find(refused));
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
