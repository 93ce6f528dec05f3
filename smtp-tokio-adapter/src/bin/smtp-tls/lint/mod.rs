//! `lint`: what is wrong with a configuration.

mod online;

use std::path::PathBuf;

use crate::html::Colour;
use serde::Serialize;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::rules::{Config, ConfigWarning, IdentityId};

use crate::help::{connectors, postures};
use crate::input::{self, TrustOptions};
use crate::network::{Network, NetworkOptions};
use crate::output::{Out, OutputOptions};
use crate::status::{Failure, Status};

use self::online::{Found, NotCompared};

/// Check a file of connectors, and say what to mend
///
/// All errors are told at once, each with its line, its field and what would be right. Warnings
/// say what is allowed and probably not meant: namespaces without effect or with weaker rules than
/// those around them, roots that no connector uses, revocation lists and CRLite filters that are
/// out of date.
///
/// With --online, DNS and MTA-STS are asked about each domain whose connector may be weaker than
/// what the domain publishes: one that has posture none, or switches off DANE or MTA-STS. A warning
/// says which. No mail server is connected to.
///
/// The roots and identities that the file names are looked for among those given with --ca, --crl
/// and --identity; without any of these options the file is read by itself.
#[derive(clap::Args)]
#[command(after_help = concat!("\
Examples:
  smtp-tls lint connectors.toml
  smtp-tls lint --online connectors.toml
  smtp-tls lint connectors.toml --ca bank-ca=root.pem --crl bank-ca=bank.crl

", connectors!(), postures!(), "\
Exit status: 0 without errors and warnings, 1 with errors, 3 with warnings only,
5 if a file cannot be read, 6 if --online had no answer for some domain; the
findings are shown all the same."))]
pub(crate) struct Args {
    /// The file of connectors, in TOML
    file: PathBuf,
    /// Warn of connectors that are weaker than what their domains publish by DANE or MTA-STS
    #[arg(long)]
    online: bool,
    /// The port of hosts that MX records name, which their TLSA records are for
    #[arg(long, default_value = "25", value_parser = input::port)]
    port: u16,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    trust: TrustOptions,
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Serialize)]
struct Answer {
    file: String,
    outbound: usize,
    inbound: usize,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    /// Roots that the file names and that were not looked for.
    roots_not_checked: Vec<String>,
    /// Identities that the file names and that were not looked for.
    identities_not_checked: Vec<String>,
    /// How many domains were compared with what they publish; `None` without `--online`.
    domains_compared: Option<usize>,
    /// The domains about which the network gave no answer.
    domains_not_compared: Vec<NotCompared>,
}

#[derive(Serialize)]
struct Finding {
    line: Option<usize>,
    field: String,
    message: String,
}

impl From<ConfigWarning> for Finding {
    fn from(warning: ConfigWarning) -> Self {
        Self { line: warning.line, field: warning.field, message: warning.message }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let (file, text) = input::config_text(&args.file)?;
    let given = args.trust.given()?;
    let identities = args.trust.identities(&input::provider())?;
    let ids: Vec<IdentityId> = identities.iter().map(|(id, _)| id.clone()).collect();
    let is_alone = args.trust.is_empty();
    let config = match is_alone {
        true => Config::parse(&file, &text),
        false => Config::from_toml(&file, &text, &with_public(&given), &ids),
    };
    let mut answer = Answer {
        file,
        outbound: 0,
        inbound: 0,
        errors: Vec::new(),
        warnings: Vec::new(),
        roots_not_checked: Vec::new(),
        identities_not_checked: Vec::new(),
        domains_compared: None,
        domains_not_compared: Vec::new(),
    };
    match &config {
        Ok(config) => {
            answer.outbound = config.outbound.iter().count();
            answer.inbound = if config.has_inbound { config.inbound.iter().count() } else { 0 };
            let mut warnings = config.warnings(&text, &given, input::now());
            if args.online {
                let network = Network::new(&args.network, args.trust.complete()?)?;
                let found = online::ask(config, &text, network, args)?;
                let Found { warnings: more, asked, not_compared } = found;
                warnings.extend(more);
                // Those without a line come last.
                warnings.sort_by_key(|warning| (warning.line.is_none(), warning.line));
                (answer.domains_compared, answer.domains_not_compared) =
                    (Some(asked), not_compared);
            }
            answer.warnings = warnings.into_iter().map(Finding::from).collect();
            if is_alone {
                (answer.roots_not_checked, answer.identities_not_checked) = input::named(config);
            }
        }
        Err(errors) => {
            answer.errors = errors
                .iter()
                .map(|it| Finding {
                    line: Some(it.line()),
                    field: it.field().to_owned(),
                    message: it.message().to_owned(),
                })
                .collect();
        }
    }
    match out.is_json() {
        true => out.json(&answer)?,
        false => write(&answer, out)?,
    }
    match (&*answer.errors, &*answer.domains_not_compared, &*answer.warnings) {
        ([_, ..], ..) => Ok(Status::Bad),
        ([], [first, rest @ ..], _) => {
            let NotCompared { domain, reason } = first;
            let more = match rest.len() {
                0 => String::new(),
                more => format!(" (and {})", count(more, "more domain")),
            };
            Err(Failure::Network(format!("{domain} could not be asked about: {reason}{more}")))
        }
        ([], [], [_, ..]) => Ok(Status::Unsure),
        ([], [], []) => Ok(Status::Good),
    }
}

/// A connector may always name the public roots, whichever they are on the host that sends.
fn with_public(given: &Trust) -> Trust {
    let (mut trust, public) = (given.clone(), RootsId::public());
    if trust.roots(&public).is_empty() {
        trust.add_roots(&public, Trust::webpki_roots().roots(&public).to_vec());
    }
    trust
}

fn write(answer: &Answer, out: &mut Out) -> Result<(), Failure> {
    for (colour, kind, findings) in
        [(Colour::Red, "error: ", &answer.errors), (Colour::Amber, "warning: ", &answer.warnings)]
    {
        for Finding { line, field, message } in findings {
            let place = match line {
                Some(line) if field.is_empty() => format!("{}: line {line}: ", answer.file),
                Some(line) => format!("{}: line {line}, {field}: ", answer.file),
                None => String::new(),
            };
            out.coloured(colour, "", kind, format!("{place}{message}"))?;
        }
    }
    for (names, what, option) in [
        (&answer.roots_not_checked, "roots", "--ca"),
        (&answer.identities_not_checked, "identities", "--identity"),
    ] {
        if !names.is_empty() {
            let text = format!("give {option} NAME=FILE to check the {what} {}", names.join(", "));
            out.row("", "note: ", text)?;
        }
    }
    if let Some(asked) = answer.domains_compared {
        for NotCompared { domain, reason } in &answer.domains_not_compared {
            out.coloured(Colour::Red, "", "not compared: ", format!("{domain}: {reason}"))?;
        }
        out.row(
            "",
            "note: ",
            format!("{} compared with what is published", count(asked, "domain")),
        )?;
    }
    let Answer { file, outbound, inbound, .. } = answer;
    match (answer.errors.len(), answer.warnings.len()) {
        (0, 0) => {
            // What a domain publishes may be more than its connector asks for.
            let (colour, label) = match answer.domains_not_compared.is_empty() {
                true => (Colour::Green, "in order: "),
                false => (Colour::Amber, "in order by itself: "),
            };
            let text = format!(
                "{file}, {} and {}",
                count(*outbound, "outbound connector"),
                count(*inbound, "inbound connector")
            );
            out.coloured(colour, "", label, text)
        }
        (errors, warnings) => {
            out.line(format!("{file}: {}, {}", count(errors, "error"), count(warnings, "warning")))
        }
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
