//! `import`: connectors from the rules of another product.

mod exchange;
mod postfix;
mod powershell;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use smtp_tls_policy::rules::Config;
use smtp_tls_policy::visible;

use crate::input;
use crate::output::Out;
use crate::status::{Failure, Status};

use self::postfix::Place;

/// Convert the TLS rules of Postfix or Exchange to a file of connectors
///
/// Reads the text of a smtp_tls_policy_maps table, or the connectors of Exchange in JSON, and
/// writes connectors in TOML to standard output. A table may be given as main.cf names it:
/// hash:/etc/postfix/tls_policy, or inline:{ .. }. MTA-STS is off in what comes from Postfix, which
/// has none.
///
/// Each difference in meaning is a comment above its connector. A rule without a counterpart has no
/// connector: its comment says "left out", and why. Read the comments before you use the file, and
/// check it with `smtp-tls lint`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls import postfix /etc/postfix/tls_policy > connectors.toml
  smtp-tls import exchange send.json > connectors.toml

For Exchange, in PowerShell, the first on a server of yours, the second online:
  Get-SendConnector | ConvertTo-Json -Depth 4 > send.json
  Get-OutboundConnector | ConvertTo-Json -Depth 4 > outbound.json

Exit status: 0 if each rule has a connector that means the same, 3 if comments
say what differs or is left out, 5 if the file cannot be read, or Postfix or
Exchange would not take a rule in it; then nothing is written.")]
pub(crate) struct Args {
    /// The product whose rules the file holds
    product: Product,
    /// The table of Postfix, or the JSON of Exchange
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Product {
    Postfix,
    Exchange,
}

/// A connector to be, in words of the configuration.
#[derive(Default)]
struct Rule {
    name: String,
    namespaces: Vec<String>,
    posture: &'static str,
    /// Further fields, as they are written.
    fields: Vec<String>,
    differences: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let rules = match args.product {
        Product::Postfix => of_postfix(&args.file)?,
        Product::Exchange => exchange::rules(&input::read_text(&args.file)?),
    };
    let mut rules = rules.map_err(|errors| Failure::file(&args.file, errors.join("; ")))?;
    name_apart(&mut rules);
    if !rules.iter().any(|rule| rule.namespaces.iter().any(|it| it == "*")) {
        rules.push(Rule {
            name: match rules.iter().any(|rule| rule.name == "default") {
                true => "all others".to_owned(),
                false => "default".to_owned(),
            },
            namespaces: vec!["*".to_owned()],
            posture: "opportunistic",
            differences: vec!["the file has no rule for all other domains; set its posture".into()],
            ..Rule::default()
        });
    }
    let toml = written(&rules);
    // What is written must be what `lint` accepts.
    Config::parse("the imported rules", &toml).map_err(|errors| {
        let first = errors.iter().next().map(ToString::to_string);
        Failure::file(&args.file, first.unwrap_or_default())
    })?;
    out.raw(toml.as_bytes())?;
    Ok(match rules.iter().all(|rule| rule.differences.is_empty()) {
        true => Status::Good,
        false => Status::Unsure,
    })
}

/// The rules of a table, which main.cf may name with its kind.
fn of_postfix(file: &Path) -> Result<Result<Vec<Rule>, Vec<String>>, Failure> {
    let place = match file.to_str() {
        Some(text) if !file.exists() => Place::parse(text),
        _ => Ok(Place::File("")),
    };
    let path = match place.map_err(|error| Failure::file(file, error))? {
        Place::Rules(entries) => return Ok(postfix::rules(entries, Vec::new())),
        Place::Other(kind) => {
            let what = format!("tables of kind {kind} cannot be read; give one of lines of text");
            return Err(Failure::file(file, what));
        }
        Place::File("") => file,
        Place::File(path) => Path::new(path),
    };
    let (entries, errors) = postfix::table(&input::read_text(path)?);
    Ok(postfix::rules(entries, errors))
}

/// Gives each connector that is written a name of its own.
fn name_apart(rules: &mut [Rule]) {
    let mut names = HashSet::new();
    for rule in rules.iter_mut().filter(|rule| !rule.namespaces.is_empty()) {
        let name = rule.name.clone();
        let mut number = 2;
        while !names.insert(rule.name.clone()) {
            rule.name = format!("{name} {number}");
            number += 1;
        }
    }
}

fn written(rules: &[Rule]) -> String {
    let mut toml = String::new();
    for rule in rules {
        for difference in &rule.differences {
            let line = visible(difference);
            let _ = writeln!(toml, "# {line}");
        }
        if rule.namespaces.is_empty() {
            toml.push('\n');
            continue;
        }
        let names: Vec<String> = rule.namespaces.iter().map(|it| quoted(it)).collect();
        let _ = writeln!(
            toml,
            "[[outbound]]\nname = {}\nnamespaces = [{}]\nposture = {}",
            quoted(&rule.name),
            names.join(", "),
            quoted(rule.posture),
        );
        for field in &rule.fields {
            let _ = writeln!(toml, "{field}");
        }
        toml.push('\n');
    }
    toml
}

/// A string of TOML; those of JSON are among them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", "))
}
