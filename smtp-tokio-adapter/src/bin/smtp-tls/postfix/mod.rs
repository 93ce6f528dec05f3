//! `postfix`: connectors, DANE and MTA-STS for Postfix's `smtp_tls_policy_maps`.

mod next_hop;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smtp_tls_policy::inquiry::DomainInquiry;
use smtp_tls_policy::pki::RootsId;
use smtp_tls_policy::plan::Check;
use smtp_tls_policy::rules::{Config, DaneRule, Floor, IdentityId, OutboundConnector, Posture};
use smtp_tls_policy::sts::{CachedPolicy, Mode};
use smtp_tls_policy::{Namespace, visible};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::input::{self, TrustOptions};
use crate::network::{self, Network, hosts};
use crate::output::{self, Out};
use crate::status::{Failure, Status};

use self::next_hop::NextHop;

/// Run a service that tells Postfix which TLS each next hop needs
///
/// For smtp_tls_policy_maps of Postfix (socketmap_table(5)): your connectors, DANE and MTA-STS
/// decide, and Postfix stays the mail server. Each answer is a policy for the next hop, or a reason
/// to defer mail where DNS fails. The map QUERYwithTLSRPT adds the attributes that Postfix 3.10 and
/// later need for TLS reports. To convert the table that you have, use `smtp-tls import postfix`.
///
/// Postfix has no policy for "a good certificate, or clear text": a connector with posture
/// deterministic becomes "may", or "dane" where TLSA records count. Each name of roots or of an
/// identity in the file must be given with --ca or --identity.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls postfix --config connectors.toml --ca bank-ca=root.pem \\
    --listen 127.0.0.1:8461
  postmap -q example.com socketmap:inet:127.0.0.1:8461:QUERY

In main.cf:
  smtp_dns_support_level = dnssec
  smtp_tls_policy_maps = socketmap:inet:127.0.0.1:8461:QUERY

Runs until it is stopped. Exit status: 5 if a file cannot be read, 6 if the
address cannot be listened on.")]
pub(crate) struct Args {
    /// The file of connectors, in TOML; `smtp-tls lint --help` shows one
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The address to listen on; with port 0 a free port is used, and written to standard output
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    trust: TrustOptions,
    #[command(flatten)]
    network: network::NetworkOptions,
}

/// How long an answer is kept. MTA-STS asks for its record again before a mail is given up, and
/// Postfix comes back many times before that.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// How many answers are kept.
const MAX_KEPT: usize = 10_000;
/// The longest question: a name, a space and a next hop.
const MAX_QUESTION: usize = 1024;
/// How many MTA-STS policies are fetched again at once: a policy host may never answer.
const REFRESHES: usize = 8;
/// How often the service looks for policies that are due.
const REFRESH_PAUSE: Duration = Duration::from_secs(60);
/// How many connections are served at once. Postfix has one for each of its processes.
const MAX_CONNECTIONS: usize = 1000;

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let identities = args.trust.identities(&input::provider())?;
    let ids: Vec<IdentityId> = identities.iter().map(|(id, _)| id.clone()).collect();
    let trust = args.trust.complete()?;
    let config = input::config(&args.config, &trust, &ids)?;
    let network = Network::new(&args.network, trust)?;
    let failed = |error: std::io::Error| Failure::Network(format!("{}: {error}", args.listen));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
        let listening = format!("listening on {}", listener.local_addr().map_err(failed)?);
        match out.line(listening).and_then(|()| out.flush()) {
            // The service is for Postfix, and needs no reader of this line.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        let service = Rc::new(Service {
            config,
            network,
            roots: args
                .trust
                .ca
                .iter()
                .filter_map(|it| Some((it.name.clone()?, &it.path)))
                .map(|(name, path)| (RootsId::new(&name), path.clone()))
                .collect(),
            limit: args.network.time_limit(),
            kept: RefCell::default(),
        });
        for _ in 0..REFRESHES {
            let service = Rc::clone(&service);
            tokio::task::spawn_local(async move {
                loop {
                    service.network.refresh(output::warning).await;
                    tokio::time::sleep(REFRESH_PAUSE).await;
                }
            });
        }
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Out of file descriptors: others will be closed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let service = Rc::clone(&service);
            tokio::task::spawn_local(async move {
                let _place = place;
                // A client that breaks the protocol, or is gone, is no fault of ours.
                let _ = service.serve(stream).await;
            });
        }
    }))
}

struct Service {
    config: Config,
    network: Network,
    roots: HashMap<RootsId, PathBuf>,
    limit: Duration,
    kept: RefCell<HashMap<String, (Instant, String)>>,
}

impl Service {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        while let Some(question) = read_netstring(&mut reader).await? {
            let answer = self.answer(&question).await;
            let reply = format!("{}:{answer},", answer.len());
            writer.write_all(reply.as_bytes()).await?;
        }
        Ok(())
    }

    async fn answer(&self, question: &str) -> String {
        if let Some((time, answer)) = self.kept.borrow().get(question)
            && time.elapsed() < KEPT_FOR
        {
            return answer.clone();
        }
        let (map, key) = question.split_once(' ').unwrap_or_default();
        let with_reports = map == "QUERYwithTLSRPT";
        if key.is_empty() {
            return "NOTFOUND ".to_owned();
        }
        let next_hop = match NextHop::parse(key) {
            // The answer for the domain itself was the policy.
            Ok(NextHop::Parent) => return "NOTFOUND ".to_owned(),
            Ok(next_hop) => next_hop,
            Err(why) => return temporary(&format!("next hop {key}: {why}")),
        };
        let looking = tokio::time::timeout(self.limit, self.look_up(&next_hop, with_reports));
        let answer = looking.await.unwrap_or_else(|_| Err("the look-up took too long".to_owned()));
        match answer {
            Ok(policy) => {
                let answer = format!("OK {policy}");
                let mut kept = self.kept.borrow_mut();
                if kept.len() >= MAX_KEPT {
                    kept.clear();
                }
                kept.insert(question.to_owned(), (Instant::now(), answer.clone()));
                answer
            }
            Err(why) => temporary(&why),
        }
    }

    /// The policy for a next hop.
    async fn look_up(&self, next_hop: &NextHop, with_reports: bool) -> Result<String, String> {
        let (next_hop, port) = match next_hop {
            NextHop::Domain(domain, port) => (domain, *port),
            NextHop::Host(host) => return Ok(self.of_connector(self.config.outbound.find(host))),
            NextHop::Socket | NextHop::Parent => return Ok("may".to_owned()),
        };
        let connector = self.config.outbound.find(next_hop);
        let own = self.of_connector(connector);
        if connector.posture == Posture::None {
            return Ok(own);
        }
        let mut mail = connector.clone();
        mail.namespaces = vec![Namespace::Default];
        // The transport of Postfix has chosen the next hop already.
        mail.smart_host = None;
        let inquiry = DomainInquiry::new(&mail, next_hop).with_port(port);
        let facts = self.network.domain(inquiry).await;
        let _ = self.network.asked();
        let facts = match facts.map_err(|failure| failure.to_string())? {
            Ok(facts) => facts,
            // Postfix sees for itself that the MX records are not secure.
            Err(_) if connector.posture == Posture::DaneOnly => return Ok(own),
            Err(refused) => return Err(refused.to_string()),
        };
        let Some(policy) = next_hop
            .domain()
            .and_then(|domain| self.network.sts_policy(domain))
            .filter(|policy| policy.policy().mode() == Mode::Enforce)
        else {
            return Ok(own);
        };
        // Postfix sees for itself that a domain does not exist, or takes no mail.
        let Ok(hosts) = hosts(&facts) else { return Ok(own) };
        for (_, host) in hosts {
            let prepared = self.network.host(&facts, &host).await;
            let has_dane = prepared.is_ok_and(|prepared| {
                prepared.plan.checks().iter().any(|check| matches!(check, Check::Dane { .. }))
            });
            if has_dane && connector.posture.floor() < Floor::Authenticated {
                return Ok("dane-only".to_owned());
            }
        }
        if connector.posture.floor() == Floor::Authenticated || connector.require_tls {
            // A local rule that checks the certificate is never lowered.
            return Ok(own);
        }
        Ok(of_sts(&policy, with_reports))
    }

    fn of_connector(&self, connector: &OutboundConnector) -> String {
        let dane = connector.dane != DaneRule::Off;
        let required = connector.require_tls;
        let checked = |level: &str, default: &str| {
            let names: Vec<String> = connector.names.iter().map(|name| name.to_string()).collect();
            let names = if names.is_empty() { default.to_owned() } else { names.join(":") };
            let roots = match self.roots.get(&connector.roots) {
                Some(path) => format!(" tafile={}", path.display()),
                None => String::new(),
            };
            format!("{level} match={names}{roots}")
        };
        match connector.posture {
            Posture::None => "none".to_owned(),
            Posture::Opportunistic | Posture::Deterministic if !required => {
                if dane { "dane" } else { "may" }.to_owned()
            }
            Posture::Opportunistic | Posture::Encrypt => "encrypt".to_owned(),
            Posture::Deterministic | Posture::Verified => checked("verify", "hostname"),
            Posture::Secure => checked("secure", "nexthop:dot-nexthop"),
            Posture::PrivateCa => checked("secure", "hostname"),
            Posture::DaneOnly => "dane-only".to_owned(),
            Posture::Pinned => {
                let pins: Vec<String> = connector
                    .pins
                    .iter()
                    .filter_map(|pin| fingerprint(&pin.to_string()))
                    .map(|digits| format!(" match={digits}"))
                    .collect();
                format!("fingerprint{}", pins.concat())
            }
        }
    }
}

/// An answer by which Postfix defers the mail.
fn temporary(why: &str) -> String {
    format!("TEMP {}", visible(why))
}

/// The SHA-256 digits of a pin, as Postfix writes them; it knows one digest at a time.
fn fingerprint(pin: &str) -> Option<String> {
    let (_, digits) = pin.split_once(":sha256:")?;
    let digits = digits.to_ascii_uppercase();
    let pairs: Vec<&str> =
        (0..digits.len()).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    Some(pairs.join(":"))
}

/// A policy of MTA-STS: one of the patterns of the policy, by the host's name (RFC 8461, section
/// 4.1).
fn of_sts(policy: &CachedPolicy, with_reports: bool) -> String {
    let patterns: Vec<&str> = policy.policy().mx().collect();
    let names: Vec<&str> =
        patterns.iter().map(|pattern| pattern.strip_prefix('*').unwrap_or(pattern)).collect();
    let mut text = format!("secure match={} servername=hostname", names.join(":"));
    if with_reports {
        let seconds = policy.policy().max_age().as_secs();
        let domain = policy.domain();
        text.push_str(&format!(
            " policy_type=sts policy_domain={domain} policy_ttl={seconds} \
             {{ policy_string = version: STSv1 }} {{ policy_string = mode: enforce }}"
        ));
        for pattern in &patterns {
            text.push_str(&format!(" {{ policy_string = mx: {pattern} }}"));
        }
        text.push_str(&format!(" {{ policy_string = max_age: {seconds} }}"));
        for pattern in &patterns {
            text.push_str(&format!(" mx_host_pattern={pattern}"));
        }
    }
    text
}

/// Reads `LENGTH:TEXT,`; `None` at the end. Anything else is an error, and ends the connection.
async fn read_netstring(
    reader: &mut (impl AsyncBufReadExt + Unpin),
) -> std::io::Result<Option<String>> {
    let wrong = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut length = 0_usize;
    let mut digits = 0;
    loop {
        match reader.read_u8().await {
            Err(_) if digits == 0 => return Ok(None),
            Err(error) => return Err(error),
            Ok(b':') if digits > 0 => break,
            Ok(digit @ b'0'..=b'9') if digits < 5 => {
                length = length * 10 + usize::from(digit - b'0');
                digits += 1;
            }
            Ok(_) => return Err(wrong()),
        }
    }
    if length > MAX_QUESTION {
        return Err(wrong());
    }
    let mut text = vec![0; length + 1];
    reader.read_exact(&mut text).await?;
    match text.pop() {
        Some(b',') => String::from_utf8(text).map(Some).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
