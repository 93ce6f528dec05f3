//! What the domains of a configuration publish, compared with what the connectors ask for.

use std::rc::Rc;

use serde::Serialize;
use smtp_tls_policy::inquiry::DomainInquiry;
use smtp_tls_policy::rules::{
    Config, ConfigWarning, DaneRule, Floor, OutboundConnector, Posture, Published, StsRule,
};
use smtp_tls_policy::{Host, Namespace};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use crate::network::{Network, hosts};
use crate::status::Failure;

use super::Args;

/// How many domains are asked about at once.
const AT_ONCE: usize = 16;

/// A domain about which the network gave no answer.
#[derive(Clone, Serialize)]
pub(super) struct NotCompared {
    pub(super) domain: String,
    /// Why there is no answer.
    pub(super) reason: String,
}

/// What was found online.
#[derive(Default)]
pub(super) struct Found {
    pub(super) warnings: Vec<ConfigWarning>,
    /// How many domains were compared: those that answered, and those whose connector keeps nothing
    /// from counting, which need no question.
    pub(super) asked: usize,
    pub(super) not_compared: Vec<NotCompared>,
}

/// Asks about each domain that an outbound connector names, within the time of the run.
pub(super) fn ask(
    config: &Config,
    text: &str,
    network: Network,
    args: &Args,
) -> Result<Found, Failure> {
    let network = Rc::new(network);
    let mut found = Found::default();
    let mut published = Vec::new();
    let waiting: Vec<_> =
        config.outbound.iter().flat_map(|connector| domains(connector, args.port)).collect();
    let options = &args.network;
    let (step, whole) = (options.step_limit(), options.time_limit() / 10 * 9);
    options.run(LocalSet::new().run_until(async {
        let end = tokio::time::Instant::now() + whole;
        let places = Rc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for asked in waiting {
            let (network, places) = (Rc::clone(&network), Rc::clone(&places));
            tasks.spawn_local(async move {
                let asking = async {
                    let _place = places.acquire().await;
                    tokio::time::timeout(step, of(&asked, &network)).await
                };
                let answer = match tokio::time::timeout_at(end, asking).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) | Err(_) => Err("no answer in time; use --timeout".to_owned()),
                };
                (asked.domain, answer)
            });
        }
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok((_, Ok(answer))) => published.push(answer),
                Ok((domain, Err(reason))) => {
                    found.not_compared.push(NotCompared { domain: domain.to_string(), reason });
                }
                Err(error) => return Err(Failure::Network(error.to_string())),
            }
        }
        Ok(())
    }))?;
    found.asked = published.len();
    found.not_compared.sort_by(|a, b| a.domain.cmp(&b.domain));
    found.warnings = config.weaker_than_published(text, &published);
    Ok(found)
}

/// A domain to ask about.
struct Asked {
    /// The connector that serves it.
    connector: OutboundConnector,
    domain: Host,
    /// The domain itself is meant, and not only those below it.
    is_exact: bool,
    port: u16,
}

/// The domains that a connector names, each once.
fn domains(connector: &OutboundConnector, port: u16) -> Vec<Asked> {
    let mut domains: Vec<Asked> = connector
        .namespaces
        .iter()
        .filter_map(|namespace| match namespace {
            Namespace::Exact(domain) => Some((domain, true)),
            Namespace::Subdomains(domain) => Some((domain, false)),
            Namespace::Default => None,
        })
        .map(|(domain, is_exact)| {
            let domain = Host::Name(domain.clone());
            Asked { connector: connector.clone(), domain, is_exact, port }
        })
        .collect();
    domains.sort_by(|a, b| a.domain.cmp(&b.domain).then(b.is_exact.cmp(&a.is_exact)));
    domains.dedup_by(|a, b| a.domain == b.domain);
    domains
}

/// What one domain publishes beside the rules of its connector.
async fn of(asked: &Asked, network: &Network) -> Result<Published, String> {
    let Asked { connector, domain, .. } = asked;
    let never = connector.posture == Posture::None;
    let (without_dane, without_sts) =
        (never || connector.dane == DaneRule::Off, never || connector.sts == StsRule::Off);
    // What the connector's own rules come to, with TLSA records alone, and with MTA-STS alone.
    let mut bare = connector.clone();
    (bare.dane, bare.sts) = (DaneRule::Off, StsRule::Off);
    if never {
        bare.posture = Posture::Opportunistic;
    }
    let (mut with_dane, mut with_sts) = (bare.clone(), bare);
    with_dane.dane = DaneRule::default();
    with_sts.sts = StsRule::default();

    let ask = async |connector: &OutboundConnector| {
        floors(asked, connector, network).await.map(Vec::into_iter)
    };
    let own = match without_dane || without_sts {
        // Nothing is kept from counting, so that nothing needs to be asked.
        false => None,
        true => ask(connector).await?.min(),
    };
    let own = own.unwrap_or(Floor::Authenticated);
    let mut published = Published::new(connector.name.clone(), domain.clone(), own);
    if without_dane {
        published.by_dane = ask(&with_dane).await?.max();
    }
    if without_sts {
        let by_sts = ask(&with_sts).await?.max();
        let policy = domain.domain().and_then(|domain| network.sts_policy(domain));
        published.by_sts = policy.map(|policy| policy.policy().mode()).zip(by_sts);
    }
    let _ = network.asked();
    Ok(published)
}

/// The minimum protection at each host of a domain, by the plan that a connector leads to.
async fn floors(
    asked: &Asked,
    connector: &OutboundConnector,
    network: &Network,
) -> Result<Vec<Floor>, String> {
    let inquiry = DomainInquiry::new(connector, &asked.domain).with_port(asked.port);
    let facts = network.domain(inquiry).await;
    let facts = facts.map_err(|failure| failure.to_string())?;
    let facts = facts.map_err(|refused| refused.to_string())?;
    let hosts = match hosts(&facts) {
        Ok(hosts) => hosts,
        // The domains below it may have mail.
        Err(_) if !asked.is_exact => return Ok(Vec::new()),
        Err(failure) => return Err(failure.to_string()),
    };
    let mut floors = Vec::new();
    for (_, host) in hosts {
        let ready = network.host(&facts, &host).await.map_err(|refused| refused.to_string())?;
        floors.push(ready.plan.floor());
    }
    Ok(floors)
}
