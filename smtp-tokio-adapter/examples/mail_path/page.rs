//! The page of `--html`: each scenario with its paths as boxes and arrows.

use crate::html::{Colour, Page, Step};

use crate::describe::differences;
use crate::report::result;
use crate::run::{Observed, Outcome};
use crate::scenario::Scenario;

/// The scenarios that have run.
#[derive(Default)]
pub struct Drawing(Vec<Drawn>);

/// One scenario.
struct Drawn {
    name: String,
    differences: Vec<String>,
    problems: Vec<String>,
    /// The outbound path and the inbound one: a title, the first box, and the steps.
    paths: Vec<(&'static str, String, Vec<Step>)>,
}

impl Drawing {
    pub fn add(&mut self, scenario: &Scenario, observed: &[Observed], problems: &[String]) {
        let mut paths: Vec<(&'static str, String, Vec<Step>)> = Vec::new();
        for hop in observed {
            let title = match hop.hop.direction {
                "outbound" => "From On-Premise to Online",
                _ => "From Online to On-Premise",
            };
            let (from, to) = hop.hop.name.split_once('>').unwrap_or((hop.hop.name, ""));
            let to = place(to, hop.hop.server);
            match paths.last_mut().filter(|(last, ..)| *last == title) {
                Some((_, _, steps)) => steps.push(step(hop, to)),
                None => paths.push((title, place(from, hop.hop.client), vec![step(hop, to)])),
            }
        }
        self.0.push(Drawn {
            name: scenario.name.clone(),
            differences: differences(scenario),
            problems: problems.to_vec(),
            paths,
        });
    }

    /// The page, as HTML.
    pub fn page(&self, failed: usize) -> String {
        let mut page = Page::new("One message, both ways: On-Premise, EHS, Online");
        let all = self.0.len();
        let colour = if failed == 0 { Colour::Green } else { Colour::Red };
        page.line(colour, &format!("{} of {all} scenarios ended as they must", all - failed));
        page.text(
            "Each arrow is one hop between two mail servers. Green: TLS. Amber: the message waits \
             or came back, and no octet of it went in clear text. Red: clear text, which the rules \
             of that hop allow.",
        );
        for drawn in &self.0 {
            page.heading(&drawn.name);
            for difference in &drawn.differences {
                page.text(difference);
            }
            for problem in &drawn.problems {
                page.line(Colour::Red, &format!("not as it must be: {problem}"));
            }
            for (title, from, steps) in &drawn.paths {
                page.path(title, from, steps);
            }
        }
        page.to_string()
    }
}

/// The name of a place on the path, and its host below.
fn place(name: &str, host: &str) -> String {
    let name = match name {
        "on-premise" => "On-Premise",
        "ehs" => "EHS",
        "online" => "Online",
        other => other,
    };
    format!("{name}\n{host}")
}

fn step(hop: &Observed, to: String) -> Step {
    let (result, status) = result(hop);
    let status = status.map(|status| format!(" {status}")).unwrap_or_default();
    let (colour, word) = match (hop.result, hop.tls) {
        (Outcome::Delivered, Some(_)) => (Colour::Green, "TLS".to_owned()),
        (Outcome::Delivered, None) => (Colour::Red, "clear text".to_owned()),
        _ => (Colour::Amber, format!("{result}{status}")),
    };
    let mut step = Step::new(colour, word, to);
    if let Some((version, cipher)) = hop.tls {
        step.notes.push(format!("{version}, {cipher}"));
    }
    step.notes.push(hop.sentence.clone());
    if hop.attempts.len() > 1 {
        for (attempt, number) in hop.attempts.iter().zip(1..) {
            let sentence = &attempt.decision.sentence;
            step.notes.push(format!("connection {number}: {sentence}"));
        }
    }
    for certificate in &hop.certificates {
        step.notes.push(format!("certificate: {certificate}"));
    }
    step
}
