//! What a peer supports: the EHLO replies in the lab's recorded conversations.
//!
//! A file `PEER-VERSION[+MODE]-SCENARIO.txt` holds lines `C: ` and `S: ` for what went in clear
//! text, `c: ` and `s: ` for what went inside TLS, and `# ` for remarks. A mode is a setting of the
//! server other than "STARTTLS offered".

use std::collections::BTreeMap;
use std::path::Path;

use crate::matrix::Column;

/// Where a reply to EHLO was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// In clear text.
    Clear,
    /// After STARTTLS.
    StartTls,
    /// In TLS from the first byte.
    Implicit,
}

/// A setting of the server, empty for the usual one, and where in it EHLO was asked.
pub(crate) type Place = (String, Channel);

/// Every EHLO reply of one version of one peer: keywords with their parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// `PEER-VERSION`
    pub(crate) label: String,
    pub(crate) offers: BTreeMap<Place, BTreeMap<String, String>>,
}

/// Version numbers as far as labels have them.
pub(crate) type Version = (u32, u32);

/// The first two numbers of a version.
pub(crate) fn version(text: &str) -> Option<Version> {
    let number = |text: &str| text.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok();
    let (major, minor) = text.split_once('.')?;
    Some((number(major)?, number(minor)?))
}

impl Recorded {
    /// The conversations with this version of a peer, or with the last one before it.
    pub(crate) fn of(folder: &Path, peer: &str, installed: Version) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}", folder.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.sort();
        let prefix = format!("{peer}-");
        let rest = |name: &str| name.strip_prefix(&prefix).map(str::to_owned);
        let version_of = |name: &str| {
            rest(name)
                .filter(|it| it.starts_with(|it: char| it.is_ascii_digit()))
                .and_then(|it| version(&it))
        };
        let chosen =
            names.iter().filter_map(|name| version_of(name)).filter(|it| *it <= installed).max();
        let (major, minor) = chosen.ok_or_else(|| {
            format!(
                "no transcript of {peer} {}.{} or before in {}",
                installed.0,
                installed.1,
                folder.display()
            )
        })?;
        let mut recorded = Self { label: format!("{peer}-{major}.{minor}"), ..Self::default() };
        for name in names.iter().filter(|name| version_of(name) == chosen) {
            let text =
                std::fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
            let behind = name[recorded.label.len()..].strip_prefix('+');
            let mode = behind.map_or("", |behind| mode(behind, &String::from_utf8_lossy(&text)));
            recorded.read(mode, &String::from_utf8_lossy(&text));
        }
        Ok(recorded)
    }

    /// Adds the EHLO replies of one conversation.
    pub(crate) fn read(&mut self, mode: &str, text: &str) {
        let mut channel = Channel::Clear;
        // Whether EHLO waits for its reply, and the keywords of the reply that is being read.
        let (mut asked, mut reply): (bool, Option<BTreeMap<String, String>>) = (false, None);
        let mut is_first = true;
        for line in text.lines() {
            if line.starts_with("# TLS established") {
                channel = if is_first { Channel::Implicit } else { Channel::StartTls };
                (asked, reply) = (false, None);
            }
            let Some((side, line)) =
                line.split_once(": ").filter(|(side, _)| matches!(*side, "C" | "c" | "S" | "s"))
            else {
                continue;
            };
            is_first = false;
            if matches!(side, "C" | "c") {
                // Before the reply is complete nothing else matters.
                asked |= line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case("EHLO "));
                continue;
            }
            let (Some(code), Some(behind), true) = (line.get(..3), line.get(3..), asked) else {
                continue;
            };
            if code != "250" {
                // Refused; but the greeting, which an early talker has not waited for, is no reply.
                asked &= code == "220" || behind.starts_with('-');
                continue;
            }
            match &mut reply {
                // RFC 5321, section 4.1.1.1: the first line is the greeting.
                None => reply = Some(BTreeMap::new()),
                Some(keywords) => {
                    let behind = behind.get(1..).unwrap_or_default();
                    let (keyword, parameters) =
                        behind.split_once([' ', '=']).unwrap_or((behind, ""));
                    keywords.insert(keyword.to_ascii_uppercase(), parameters.trim().to_owned());
                }
            }
            if !behind.starts_with('-') {
                let keywords = reply.take().unwrap_or_default();
                self.offers.entry((mode.to_owned(), channel)).or_default().extend(keywords);
                asked = false;
            }
        }
    }

    /// Where the peer supports what a column is about: clear text before TLS, the usual setting
    /// before others.
    pub(crate) fn support(&self, column: Column) -> Option<&Place> {
        self.offers
            .iter()
            .find(|((mode, channel), offer)| match column {
                Column::Clear => mode.is_empty() && *channel == Channel::Clear,
                Column::ImplicitTls => *channel == Channel::Implicit,
                Column::StartTls => {
                    mode.is_empty() && *channel == Channel::Clear && offer.contains_key("STARTTLS")
                }
                Column::Pipelining => offer.contains_key("PIPELINING"),
                Column::Chunking => offer.contains_key("CHUNKING"),
                Column::SmtpUtf8 => offer.contains_key("SMTPUTF8"),
                Column::Dsn => offer.contains_key("DSN"),
                Column::Auth => offer.contains_key("AUTH"),
            })
            .map(|(place, _)| place)
    }
}

/// `MODE-SCENARIO.txt`, where both may hold hyphens: the first lines name the scenario.
fn mode<'n>(behind: &'n str, text: &str) -> &'n str {
    let scenario =
        text.lines().find_map(|line| line.strip_prefix("# scenario: ")).unwrap_or_default();
    let name = behind.trim_end_matches(".txt");
    name.strip_suffix(scenario).unwrap_or(name).trim_end_matches('-')
}
