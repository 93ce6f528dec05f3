//! What is printed: a table for people, lines of JSON for programs, and the check against the row.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use smtp_tls_policy::trace::HopVerdict;
use smtp_tokio_adapter::Spoken;

use crate::describe::differences;
use crate::run::{Observed, Outcome};
use crate::scenario::{End, Scenario, Tlsa, Wish};

#[derive(Serialize)]
struct Line<'a> {
    scenario: &'a str,
    direction: &'a str,
    hop: &'a str,
    result: &'a str,
    tls: Option<Tls<'a>>,
    reason: &'a str,
    status: Option<String>,
    review: Option<&'a str>,
    intact: Option<bool>,
    clear_bytes_of_message: u64,
    attempts: Vec<Attempt<'a>>,
}

#[derive(Serialize)]
struct Tls<'a> {
    version: &'a str,
    cipher: &'a str,
}

#[derive(Serialize)]
struct Attempt<'a> {
    connection: usize,
    channel: &'a str,
    reason: &'a str,
}

/// One object a line, in path order.
pub fn json(
    out: &mut dyn Write,
    scenario: &Scenario,
    observed: &[Observed],
) -> std::io::Result<()> {
    for hop in observed {
        let (result, status) = result(hop);
        let line = Line {
            scenario: &scenario.name,
            direction: hop.hop.direction,
            hop: hop.hop.name,
            result,
            tls: hop.tls.map(|(version, cipher)| Tls { version, cipher }),
            reason: hop.reason.code(),
            status,
            review: hop.review.map(review),
            intact: hop.intact,
            clear_bytes_of_message: hop.clear_octets,
            attempts: hop
                .attempts
                .iter()
                .zip(1..)
                .map(|(attempt, connection)| Attempt {
                    connection,
                    channel: spoken(attempt.decision.channel),
                    reason: attempt.decision.reason.code(),
                })
                .collect(),
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

/// One line.
pub fn line(out: &mut dyn Write, scenario: &Scenario, problems: &[String]) -> std::io::Result<()> {
    match problems {
        [] => writeln!(out, "ok      {}", scenario.name),
        [first, ..] => {
            let line = format!("FAILED  {}: {first}", scenario.name);
            writeln!(out, "{}", line.chars().take(WIDTH).collect::<String>())
        }
    }
}

/// Most columns of a line for people.
const WIDTH: usize = 80;

/// Writes a text in lines of at most [`WIDTH`] columns, the first one after a label.
fn wrapped(out: &mut dyn Write, label: &str, text: &str) -> std::io::Result<()> {
    let indent = 2 + LABEL + 1;
    let mut column = indent;
    write!(out, "  {label:<LABEL$}")?;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column + width > WIDTH && column > indent {
            write!(out, "\n{:1$}", "", indent - 1)?;
            column = indent;
        }
        write!(out, " {word}")?;
        column += width + 1;
    }
    writeln!(out)
}

/// Columns of a label: that of the longest name of a hop.
const LABEL: usize = 15;

/// What is broken, and what came of each hop.
pub fn table(
    out: &mut dyn Write,
    scenario: &Scenario,
    observed: &[Observed],
    problems: &[String],
) -> std::io::Result<()> {
    let paint = Paint { on: std::io::stdout().is_terminal() };
    writeln!(out, "\n{}", paint.bold(&scenario.name))?;
    for (index, difference) in differences(scenario).iter().enumerate() {
        wrapped(out, if index == 0 { "set up" } else { "" }, difference)?;
    }
    for hop in observed {
        let channel = match (hop.result, hop.tls) {
            (Outcome::Delivered, Some((version, cipher))) => {
                paint.green(&format!("{version} {cipher}"))
            }
            (Outcome::Delivered, None) => paint.yellow("clear text"),
            _ => paint.red("-"),
        };
        let (result, status) = result(hop);
        let status = status.map(|status| format!(" {status}")).unwrap_or_default();
        let review = hop.review.map_or("-", review);
        writeln!(out, "  {:<LABEL$} {channel}", hop.hop.name)?;
        let connections = hop.attempts.len();
        let end = format!("{result}{status}; review: {review}; connections: {connections}");
        wrapped(out, "", &end)?;
        wrapped(out, "", &hop.sentence)?;
    }
    for problem in problems {
        wrapped(out, "NOT AS EXPECTED", problem)?;
    }
    Ok(())
}

/// What differs from the row. Nothing may.
pub fn problems(scenario: &Scenario, observed: &[Observed]) -> Vec<String> {
    let mut problems = Vec::new();
    for ((hop, end), setup) in observed.iter().zip(scenario.ends).zip(&scenario.setups) {
        let mut check = |holds: bool, what: &str| {
            if !holds {
                let (result, status) = result(hop);
                problems.push(format!(
                    "{}: {what} (must end {end:?}; {result} {}, {}, {} octets of the message in clear text)",
                    hop.hop.name,
                    status.unwrap_or_default(),
                    hop.reason.code(),
                    hop.clear_octets,
                ));
            }
        };
        let delivered = hop.result == Outcome::Delivered;
        if delivered {
            check(hop.intact == Some(true), "the message was changed");
            let wanted = scenario.wish == Wish::Requiretls;
            check(hop.require_tls == wanted, "MAIL is not as REQUIRETLS wants it");
        }
        let reasoned = |reason: &str| hop.reason.code() == reason;
        match end {
            End::Tls | End::TlsAfter { .. } => {
                check(delivered && hop.tls.is_some(), "not delivered over TLS");
                check(hop.review == Some(HopVerdict::Tls), "the header does not say TLS");
                check(hop.clear_octets == 0, "the message was seen in clear text");
                let (connection, first) = match end {
                    End::TlsAfter { connection, reason } => (connection, reason),
                    _ => (1, "tls-ok"),
                };
                let here = hop.attempts.len() == connection && hop.spoken() == Some(Spoken::Tls);
                check(here, "on another connection");
                let began = hop.attempts.first().map(|attempt| attempt.decision.reason.code());
                check(began == Some(first), "the first connection has another reason");
                check(reasoned("tls-ok"), "another reason");
                let by = |source: &str| hop.sentence.contains(source);
                check(by("MTA-STS") == setup.sts.is_some(), "not as the MTA-STS policy has it");
                let dane = matches!(setup.signed, Some(Tlsa::EndEntity | Tlsa::TrustAnchor));
                check(by("DANE for") == dane, "not as the TLSA records have it");
            }
            End::Clear { connection, reason } => {
                check(delivered && hop.tls.is_none(), "not delivered in clear text");
                check(
                    hop.review == Some(HopVerdict::Cleartext),
                    "the header does not say clear text",
                );
                check(
                    hop.clear_octets == hop.octets,
                    "not the whole message was seen in clear text",
                );
                let here = hop.attempts.len() == connection && hop.spoken() == Some(Spoken::Clear);
                check(here, "on another connection");
                check(reasoned(reason), "another reason");
            }
            End::Deferred { status, reason } | End::Bounced { status, reason } => {
                let as_said = match hop.result {
                    Outcome::Deferred(got) => {
                        matches!(end, End::Deferred { .. }) && got.to_string() == status
                    }
                    Outcome::Bounced(got) => {
                        matches!(end, End::Bounced { .. }) && got.to_string() == status
                    }
                    Outcome::Delivered | Outcome::NotAttempted => false,
                };
                check(as_said, "another end");
                check(hop.clear_octets == 0, "the message was seen in clear text");
                check(hop.tls.is_none() && hop.review.is_none(), "something was stored");
                check(reasoned(reason), "another reason");
            }
            End::NotAttempted => {
                check(hop.result == Outcome::NotAttempted && hop.attempts.is_empty(), "attempted");
            }
        }
    }
    if observed.len() != scenario.ends.len() {
        problems.push("a hop is missing".into());
    }
    problems
}

pub fn result(hop: &Observed) -> (&'static str, Option<String>) {
    match hop.result {
        Outcome::Delivered => ("delivered", None),
        Outcome::Deferred(status) => ("deferred", Some(status.to_string())),
        Outcome::Bounced(status) => ("bounced", Some(status.to_string())),
        Outcome::NotAttempted => ("not attempted", None),
    }
}

const fn review(verdict: HopVerdict) -> &'static str {
    match verdict {
        HopVerdict::Tls => "tls",
        HopVerdict::Cleartext => "cleartext",
        HopVerdict::Unknown => "unknown",
        HopVerdict::Local => "local",
        HopVerdict::PrivateNet => "private network",
    }
}

const fn spoken(spoken: Spoken) -> &'static str {
    match spoken {
        Spoken::Clear => "clear",
        Spoken::Tls => "tls",
    }
}

/// Colours, if the output is a terminal.
struct Paint {
    on: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn yellow(&self, text: &str) -> String {
        self.with("33", text)
    }

    fn red(&self, text: &str) -> String {
        self.with("31", text)
    }
}
