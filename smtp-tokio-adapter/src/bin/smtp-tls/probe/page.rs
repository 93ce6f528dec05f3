//! What was found, as a page.

use crate::html::{Colour, Page, Step};

use super::found::taken;
use super::text::words;
use super::{Answer, HostFound};

/// Adds a target, with each of its hosts.
pub(crate) fn add(answer: &Answer, page: &mut Page) {
    let (word, colour) = words(answer.ending);
    page.heading(&format!("{} ({})", answer.target, answer.rule));
    page.line(colour, &format!("{word}: {}", answer.sentence));
    let rows: Vec<_> = answer
        .look_ups
        .iter()
        .map(|it| {
            let colour = match it.status {
                "secure" | "fetched" => Colour::Green,
                "insecure" => Colour::Amber,
                _ => Colour::Red,
            };
            (Some(colour), vec![it.question.clone(), it.status.to_owned(), it.answer.clone()])
        })
        .collect();
    page.table(&["Look-up", "Status", "Answer"], &rows);
    for found in &answer.hosts {
        host(found, page);
    }
}

fn host(found: &HostFound, page: &mut Page) {
    let (word, colour) = words(found.ending());
    let mut notes = Vec::new();
    if let Some(tls) = &found.tls {
        notes.push(format!("{}, {}, {}", tls.version, tls.cipher, tls.group.unwrap_or_default()));
    }
    if found.plain_hello.is_some() {
        notes.push("a first handshake failed; then the plainest hello was tried".to_owned());
    }
    notes.push(found.decision.sentence.clone());
    let preference = found.preference.map_or(String::new(), |it| format!(" (MX {it})"));
    let to = match &found.connected {
        Some(address) => format!("{}\n{address}", found.host),
        None => found.host.clone(),
    };
    let mut step = Step::new(colour, word, to);
    step.notes = notes;
    page.path(&format!("{}{preference}", found.host), "this host", &[step]);
    let rows: Vec<_> = found
        .certificates
        .iter()
        .map(|it| {
            let dates = format!("{} to {}", it.not_before, it.not_after);
            let names = it.names.join(", ");
            let cells = [&it.subject, &it.issuer, &names, &dates, &it.key, &it.list_finding];
            let colour = (it.list_status == "revoked").then_some(Colour::Red);
            (colour, cells.map(Clone::clone).to_vec())
        })
        .collect();
    page.table(&["Certificate", "Issuer", "Names", "Valid", "Key", "Revocation"], &rows);
    if let Some(tls) = &found.tls {
        let versions = tls.versions.iter().map(|it| (it.version.to_owned(), it.taken, it.cipher));
        let groups = tls.groups.iter().map(|it| {
            let kind = if it.post_quantum { "post-quantum" } else { "" };
            (it.group.clone(), it.taken, Some(kind))
        });
        let rows: Vec<_> = versions
            .chain(groups)
            .map(|(offered, was_taken, more)| {
                let more = more.unwrap_or_default().to_owned();
                (None, vec![offered, taken(was_taken).to_owned(), more])
            })
            .collect();
        page.table(&["Offered alone", "Result", "With"], &rows);
    }
    let rows: Vec<_> = found
        .decision
        .checks
        .iter()
        .map(|it| {
            let (colour, word) = match it.passed {
                true => (Colour::Green, "passed"),
                false => (Colour::Red, "failed"),
            };
            (Some(colour), vec![it.check.clone(), word.to_owned(), it.finding.clone()])
        })
        .collect();
    page.table(&["Check", "Result", "Finding"], &rows);
    let rows: Vec<_> = found
        .postures
        .iter()
        .map(|it| {
            let (word, colour) = words(it.ending);
            (Some(colour), vec![it.rule.clone(), word.to_owned(), it.sentence.clone()])
        })
        .collect();
    page.table(&["Posture", "Decision", "Why"], &rows);
}
