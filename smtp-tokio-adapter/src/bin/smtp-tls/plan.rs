//! `plan`: what would be done for a domain, without a connection.

use std::path::PathBuf;

use crate::html::Colour;
use serde::Serialize;
use smtp_tls_policy::Host;
use smtp_tls_policy::inquiry::DomainInquiry;
use smtp_tls_policy::plan::Plan;
use smtp_tls_policy::rules::{Floor, IdentityId};

use crate::help::connectors;
use crate::input::{self, TrustOptions};
use crate::network::{self, Asked, Network, hosts};
use crate::output::{Out, OutputOptions};
use crate::status::{Failure, Status};

/// Show what your connectors ask for mail to a domain, and why
///
/// Looks up MX records with DNSSEC, TLSA records and the MTA-STS policy, and joins them with the
/// connector that serves the domain: the least that each host must offer, each check of its
/// certificate, and the rule, record or policy that asks for it. Connects to no mail server; to see
/// what the servers really do, use `smtp-tls probe`.
#[derive(clap::Args)]
#[command(after_help = concat!("\
Examples:
  smtp-tls plan bank.example --config connectors.toml --ca bank-ca=root.pem
  smtp-tls plan example.com --config connectors.toml --ca bank-ca=root.pem \\
      --json

", connectors!(), "\
Exit status: 0 if TLS is required at the first host that may be dialled, 1 if
clear text may be used, 4 if no host may be dialled, 5 if a file cannot be read
or the configuration has errors, 6 if DNS gives no answer."))]
pub(crate) struct Args {
    /// The domain of a recipient, or an address literal such as [192.0.2.1]
    #[arg(value_parser = input::host)]
    domain: Host,
    /// The file of connectors, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The port of hosts that MX records name
    #[arg(long, default_value = "25", value_parser = input::port)]
    port: u16,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    trust: TrustOptions,
    #[command(flatten)]
    network: network::NetworkOptions,
}

#[derive(Serialize)]
struct Answer {
    domain: String,
    connector: String,
    posture: &'static str,
    /// The recipient domain or the smart host.
    next_hop: Option<String>,
    port: Option<u16>,
    look_ups: Vec<Asked>,
    /// Why no host is dialled, if so.
    refusal: Option<String>,
    hosts: Vec<HostPlan>,
}

#[derive(Serialize)]
struct HostPlan {
    host: String,
    preference: Option<u16>,
    addresses: Vec<String>,
    /// What is asked of a connection; `None` if the host is not dialled.
    plan: Option<PlanWords>,
    /// Why the host is not dialled.
    refusal: Option<String>,
}

/// A plan in words.
#[derive(Serialize)]
pub(crate) struct PlanWords {
    /// `plaintext`, `encrypted` or `authenticated`: the least that is enough.
    pub(crate) floor: String,
    /// Each check of the certificate.
    pub(crate) checks: Vec<String>,
    /// The rules, records and policies that ask for it.
    pub(crate) because: String,
    /// All of it in one sentence.
    pub(crate) sentence: String,
}

impl PlanWords {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            floor: plan.floor().to_string(),
            checks: plan.checks().iter().map(ToString::to_string).collect(),
            because: plan.because().to_string(),
            sentence: plan.to_string(),
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let provider = input::provider();
    let identities = args.trust.identities(&provider)?;
    let ids: Vec<IdentityId> = identities.iter().map(|(id, _)| id.clone()).collect();
    let trust = args.trust.complete()?;
    let config = input::config(&args.config, &trust, &ids)?;
    let network = Network::new(&args.network, trust)?;
    let connector = config.outbound.find(&args.domain);
    // The rest of the time is for the answer.
    let (options, whole) = (&args.network, args.network.time_limit() / 10 * 9);
    let (answer, failure) = options.run(async {
        let end = tokio::time::Instant::now() + whole;
        let mut answer = Answer {
            domain: args.domain.to_string(),
            connector: connector.name.to_string(),
            posture: connector.posture.as_str(),
            next_hop: None,
            port: None,
            look_ups: Vec::new(),
            refusal: None,
            hosts: Vec::new(),
        };
        let inquiry = DomainInquiry::new(connector, &args.domain).with_port(args.port);
        let late = || {
            let why = format!("{}: DNS gave no answer in time; use --timeout", args.domain);
            Err(Failure::Network(why))
        };
        let asking = tokio::time::timeout_at(end, network.domain(inquiry)).await;
        let asked = match asking.unwrap_or_else(|_| late()) {
            Ok(asked) => asked,
            Err(failure) => return Ok(unanswered(answer, &network, failure)),
        };
        match asked {
            Ok(facts) => {
                answer.next_hop = Some(facts.next_hop().to_string());
                answer.port = Some(facts.port());
                let found = match hosts(&facts) {
                    Ok(found) => found,
                    Err(failure) => return Ok(unanswered(answer, &network, failure)),
                };
                for (preference, host) in found {
                    let mut found = HostPlan {
                        host: host.to_string(),
                        preference,
                        addresses: Vec::new(),
                        plan: None,
                        refusal: None,
                    };
                    let asked = tokio::time::timeout_at(end, network.host(&facts, &host)).await;
                    let Ok(asked) = asked else {
                        let why = format!("{host}: DNS gave no answer in time; use --timeout");
                        return Ok(unanswered(answer, &network, Failure::Network(why)));
                    };
                    match asked {
                        Ok(ready) => {
                            found.addresses =
                                ready.addresses.iter().map(ToString::to_string).collect();
                            if found.addresses.is_empty() {
                                found.refusal = Some("the host has no address".to_owned());
                            }
                            found.plan = Some(PlanWords::new(&ready.plan));
                        }
                        Err(refused) => found.refusal = Some(refused.to_string()),
                    }
                    answer.hosts.push(found);
                }
            }
            Err(refused) => answer.refusal = Some(refused.to_string()),
        }
        answer.look_ups = network.asked();
        Ok((answer, None))
    })?;
    match out.is_json() {
        true => out.json(&answer)?,
        false => write(&answer, out)?,
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let first = answer.hosts.iter().find(|host| host.refusal.is_none());
    Ok(match first.and_then(|host| host.plan.as_ref()) {
        Some(plan) if plan.floor == Floor::Plaintext.to_string() => Status::Bad,
        Some(_) => Status::Good,
        None => Status::Deferred,
    })
}

/// The look-ups up to the one without an answer, or without hosts.
fn unanswered(
    mut answer: Answer,
    network: &Network,
    failure: Failure,
) -> (Answer, Option<Failure>) {
    answer.look_ups = network.asked();
    answer.refusal = Some(failure.to_string());
    (answer, Some(failure))
}

fn write(answer: &Answer, out: &mut Out) -> Result<(), Failure> {
    out.title(format!("Mail to {}", answer.domain))?;
    out.row("  ", "connector  ", format!("{}, posture {}", answer.connector, answer.posture))?;
    if let (Some(next_hop), Some(port)) = (&answer.next_hop, answer.port) {
        out.row("  ", "next hop   ", format!("{next_hop}, port {port}"))?;
    }
    look_ups(&answer.look_ups, out)?;
    if let Some(refusal) = &answer.refusal {
        out.gap()?;
        out.coloured(Colour::Red, "", "no host is dialled: ", refusal)?;
    }
    for host in &answer.hosts {
        out.gap()?;
        let preference = host.preference.map_or(String::new(), |it| format!(" (MX {it})"));
        out.title(format!("{}{preference}", host.host))?;
        if !host.addresses.is_empty() {
            out.row("  ", "addresses  ", host.addresses.join(", "))?;
        }
        if let Some(plan) = &host.plan {
            let colour = match plan.floor.as_str() {
                "plaintext" => Colour::Amber,
                _ => Colour::Green,
            };
            out.coloured(colour, "  ", "at least   ", &plan.floor)?;
            for check in &plan.checks {
                out.row("  ", "check      ", check)?;
            }
            out.row("  ", "because    ", &plan.because)?;
            out.row("  ", "plan       ", &plan.sentence)?;
        }
        if let Some(refusal) = &host.refusal {
            out.coloured(Colour::Red, "  ", "not dialled: ", refusal)?;
        }
    }
    Ok(())
}

/// The table of look-ups.
pub(crate) fn look_ups(asked: &[Asked], out: &mut Out) -> Result<(), Failure> {
    if asked.is_empty() {
        return Ok(());
    }
    out.gap()?;
    out.title("Look-ups")?;
    for Asked { question, status, answer } in asked {
        let colour = match *status {
            "secure" | "fetched" => Colour::Green,
            "insecure" => Colour::Amber,
            _ => Colour::Red,
        };
        out.row("  ", "", question)?;
        out.coloured(colour, "    ", &format!("{status}: "), answer)?;
    }
    Ok(())
}
