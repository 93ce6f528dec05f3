//! The parser of paths and of MAIL and RCPT lines, against the RFC's own grammar: an interpreter
//! that is slow and simple reads the ABNF below, makes sentences of it, and judges them and what
//! mutations make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use smtp_proto::wire::command::{Command, CommandError};
use smtp_proto::wire::params::{MailParameters, Parameters};
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::path::{Domain, ForwardPath, Mailbox, ReversePath};

/// The rules of RFC 5321 and RFC 6531; comments after `;` explain each rule that differs from them.
const ABNF: &str = include_str!("grammar.abnf");

#[derive(Clone, Debug)]
enum Rule {
    Any(Vec<Rule>),
    All(Vec<Rule>),
    Repeat(usize, usize, Box<Rule>),
    Octets(u8, u8),
    Text(String),
    Name(String),
}

struct Grammar(BTreeMap<String, Rule>);

static GRAMMAR: LazyLock<Grammar> = LazyLock::new(Grammar::read);

impl Grammar {
    fn read() -> Self {
        let lines =
            ABNF.lines().filter(|line| !line.trim_start().starts_with(';') && !line.is_empty());
        let rules = lines.map(|line| {
            let (name, mut rest) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
            let rule = alternation(&mut rest);
            assert_eq!(rest, "", "{line}");
            (name.trim().to_owned(), rule)
        });
        Self(rules.collect())
    }

    /// Whether a text is a sentence of a rule: whether one of the places where the rule can end is
    /// the end of the text.
    fn takes(&self, rule: &str, text: &str) -> bool {
        self.ends(&Rule::Name(rule.into()), text.as_bytes(), &[0].into()).contains(&text.len())
    }

    /// Where a rule can end, from every place where it can begin.
    fn ends(&self, rule: &Rule, text: &[u8], starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        match rule {
            Rule::Name(name) => self.ends(&self.0[name], text, starts),
            Rule::Any(rules) => {
                rules.iter().flat_map(|rule| self.ends(rule, text, starts)).collect()
            }
            Rule::All(rules) => {
                rules.iter().fold(starts.clone(), |starts, rule| self.ends(rule, text, &starts))
            }
            Rule::Octets(from, to) => starts
                .iter()
                .filter(|&&at| text.get(at).is_some_and(|byte| (from..=to).contains(&byte)))
                .map(|at| at + 1)
                .collect(),
            // RFC 5234, section 2.3: strings in quotes are in any case.
            Rule::Text(word) => starts
                .iter()
                .map(|at| (at, at + word.len()))
                .filter(|&(&at, end)| {
                    text.get(at..end).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
                })
                .map(|(_, end)| end)
                .collect(),
            Rule::Repeat(least, most, rule) => {
                let mut ends = BTreeSet::new();
                let mut starts = starts.clone();
                for count in 0..=*most {
                    if count >= *least {
                        let known = ends.len();
                        ends.extend(&starts);
                        if ends.len() == known {
                            break;
                        }
                    }
                    starts = self.ends(rule, text, &starts);
                }
                ends
            }
        }
    }

    /// A sentence of a rule, by the choices given.
    fn sentence(&self, rule: &Rule, choices: &mut impl Iterator<Item = u8>, output: &mut Vec<u8>) {
        let mut choose = |among: usize| usize::from(choices.next().unwrap_or(0)) % among;
        match rule {
            Rule::Name(name) if name == "UTF8-non-ascii" => output.extend("é".bytes()),
            Rule::Name(name) => self.sentence(&self.0[name], choices, output),
            Rule::Any(rules) => {
                let rule = &rules[choose(rules.len())];
                self.sentence(rule, choices, output);
            }
            Rule::All(rules) => rules.iter().for_each(|rule| self.sentence(rule, choices, output)),
            Rule::Octets(from, to) => output.push(from + choose(usize::from(to - from) + 1) as u8),
            Rule::Text(word) => output.extend(word.bytes()),
            Rule::Repeat(least, most, rule) => {
                let further = choose(1 + 4.min(most - least));
                (0..least + further).for_each(|_| self.sentence(rule, choices, output));
            }
        }
    }
}

fn alternation(rest: &mut &str) -> Rule {
    let mut rules = vec![concatenation(rest)];
    while skip(rest, "/") {
        rules.push(concatenation(rest));
    }
    if rules.len() == 1 { rules.remove(0) } else { Rule::Any(rules) }
}

fn concatenation(rest: &mut &str) -> Rule {
    let mut rules = Vec::new();
    while !rest.trim_start().starts_with(['/', ')', ']']) && !rest.trim().is_empty() {
        rules.push(repetition(rest));
    }
    Rule::All(rules)
}

fn repetition(rest: &mut &str) -> Rule {
    *rest = rest.trim_start();
    let least = digits(rest);
    if skip(rest, "*") {
        let most = digits(rest).unwrap_or(usize::MAX);
        return Rule::Repeat(least.unwrap_or(0), most, element(rest).into());
    }
    match least {
        Some(count) => Rule::Repeat(count, count, element(rest).into()),
        None => element(rest),
    }
}

fn element(rest: &mut &str) -> Rule {
    if skip(rest, "(") {
        let rule = alternation(rest);
        assert!(skip(rest, ")"));
        return rule;
    }
    if skip(rest, "[") {
        let rule = alternation(rest);
        assert!(skip(rest, "]"));
        return Rule::Repeat(0, 1, rule.into());
    }
    if skip(rest, "%d") {
        let from = digits(rest).unwrap();
        let to = if skip(rest, "-") { digits(rest).unwrap() } else { from };
        return Rule::Octets(from.try_into().unwrap(), to.try_into().unwrap());
    }
    if skip(rest, "\"") {
        let (text, tail) = rest.split_once('"').unwrap();
        *rest = tail;
        return Rule::Text(text.into());
    }
    let end =
        rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(rest.len());
    let (name, tail) = rest.split_at(end);
    assert_ne!(name, "", "{rest}");
    *rest = tail;
    Rule::Name(name.into())
}

fn skip(rest: &mut &str, word: &str) -> bool {
    let tail = rest.trim_start().strip_prefix(word);
    *rest = tail.unwrap_or(rest);
    tail.is_some()
}

fn digits(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    *rest = tail;
    digits.parse().ok()
}

/// RFC 5321, section 4.1.3: a `::` replaces two groups or more, so no more than six are left, and
/// four with a dotted quad.
fn groups_fit(literal: &str) -> bool {
    let groups =
        literal.split(':').filter(|group| !group.is_empty() && !group.contains('.')).count();
    !literal.contains("::") || groups <= if literal.contains('.') { 4 } else { 6 }
}

fn is_domain(text: &str) -> bool {
    if let Some(literal) = text.strip_prefix("[IPv6:").and_then(|text| text.strip_suffix(']')) {
        return GRAMMAR.takes("address-literal", text) && groups_fit(literal);
    }
    // RFC 5321, section 4.5.3.1.2; RFC 1035, section 2.3.4.
    GRAMMAR.takes("address-literal", text)
        || GRAMMAR.takes("Domain", text)
            && text.len() <= 255
            && text.split('.').all(|label| label.len() <= 63)
}

fn is_mailbox(text: &str) -> bool {
    // A domain has no `@`.
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    // RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3.
    GRAMMAR.takes("Mailbox", text) && local.len() <= 64 && is_domain(domain) && text.len() <= 254
}

/// `routed`, with the limits that the ABNF does not state.
fn is_routed(text: &str) -> bool {
    if is_mailbox(text) {
        return true;
    }
    // Every colon that could end the route is tried.
    text.match_indices(':').any(|(colon, _)| {
        let (route, mailbox) = (&text[..colon], &text[colon + 1..]);
        let hops = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
        hops && GRAMMAR.takes("A-d-l", route) && is_mailbox(mailbox)
    })
}

fn is_line(line: &str) -> bool {
    // The limits hold for the text between the brackets: every `>` that could end the path is
    // tried.
    let Some((head, inner)) = line.split_once('<') else { return false };
    inner.match_indices('>').any(|(end, _)| {
        let (path, rest) = (&inner[..end], &inner[end + 1..]);
        let parameters = rest.trim_end_matches([' ', '\t']);
        let is_path = is_routed(path) || ["", " ", "postmaster"].contains(&&*path.to_lowercase());
        let ends = parameters
            .strip_prefix(' ')
            .map_or(parameters.is_empty(), |it| GRAMMAR.takes("Mail-parameters", &one_space(it)));
        let spaced = if parameters.is_empty() { "" } else { " " };
        let line =
            format!("{head}<{path}>{spaced}{}{}", one_space(parameters), &rest[parameters.len()..]);
        is_path && ends && ["mail", "rcpt"].iter().any(|rule| GRAMMAR.takes(rule, &line))
    })
}

/// The grammar has one SP between two parameters, and we take several.
fn one_space(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn check_line(line: &str) {
    let outcome = Command::parse(line.as_bytes(), AddressRules::STRICT);
    // What values mean is not in the grammar.
    let (value, duplicate) = (CommandError::ParameterValue, CommandError::ParameterTwice);
    let taken = matches!(outcome, Ok(Command::Mail { .. } | Command::Rcpt { .. }))
        || [Err(value), Err(duplicate)].contains(&outcome);
    assert_eq!(taken, is_line(line), "{line:?}: {outcome:?}");
    // What is wrong with a line that holds a control is that.
    if line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        assert_eq!(outcome, Err(CommandError::Control), "{line:?}");
    }
}

/// What means something somewhere in the grammar, and what never does.
const CHARS: [char; 29] = [
    '<', '>', '@', '.', ',', ':', '"', '\\', '[', ']', '-', '+', '=', ' ', '\t', '\0', '\r', '\n',
    '\x0c', '\x7f', 'a', 'F', '0', '9', '_', 'é', '(', '/', ';',
];

/// What the peer's bytes become on their way: some characters are lost, doubled or exchanged.
fn mutate(text: &str, mutations: &[(u8, u16, u8)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for &(kind, at, char) in mutations {
        let char = CHARS[usize::from(char) % CHARS.len()];
        // Half of them where the grammar has its joints.
        let joints: Vec<usize> =
            (0..chars.len()).filter(|&at| !chars[at].is_alphanumeric()).collect();
        let at = match usize::from(at) {
            at if at % 2 == 1 && !joints.is_empty() => joints[at / 2 % joints.len()],
            at => at / 2 % (chars.len() + 1),
        };
        match kind % 4 {
            0 => chars.insert(at, char),
            1 => chars.truncate(at.max(chars.len() / 2)),
            _ if at == chars.len() => {}
            2 => chars[at] = char,
            _ => drop(chars.remove(at)),
        }
    }
    chars.into_iter().collect()
}

fn text_of(rule: &'static str) -> impl Strategy<Value = String> {
    let choices = prop::collection::vec(any::<u8>(), 0..120);
    let mutations = prop::collection::vec(any::<(u8, u16, u8)>(), 0..3);
    (choices, mutations).prop_map(move |(choices, mutations)| {
        let mut output = Vec::new();
        GRAMMAR.sentence(&Rule::Name(rule.into()), &mut choices.into_iter(), &mut output);
        mutate(&String::from_utf8(output).unwrap(), &mutations)
    })
}

#[test]
fn the_interpreter_reads_the_grammar() {
    for (rule, yes, no) in [
        ("Domain", &["a", "a-b.c", "1.é"][..], &["", "a.", ".a", "a..b", "-a", "a-", "a_b"][..]),
        ("Snum", &["0", "01", "001", "99", "199", "249", "255"], &["", "256", "300", "0001", "a"]),
        (
            "IPv6-addr",
            &["::", "1::", "::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"],
            &[":", "1", "1:2:3:4:5:6:7", "12345::"],
        ),
        (
            "Local-part",
            &["a.b", "\"\"", "\"a\\\" b\"", "!#$"],
            &["", "a.", "\"", "\"\\\"", "a\"b\"", "a b"],
        ),
        (
            "mail",
            &["mail from:<>", "MAIL FROM:<@a,@b:c@d> X Y=1 "],
            &["MAIL FROM:", "MAIL FROM:<>X", "MAIL FROM:<>  X"],
        ),
    ] {
        yes.iter().for_each(|text| assert!(GRAMMAR.takes(rule, text), "{rule}: {text}"));
        no.iter().for_each(|text| assert!(!GRAMMAR.takes(rule, text), "{rule}: {text}"));
    }
    assert!(
        groups_fit("1:2:3:4:5::6")
            && !groups_fit("1:2:3:4:5:6::7")
            && !groups_fit("1:2:3::4:5:1.2.3.4")
    );
}

/// Each limit from both sides.
#[test]
fn lengths() {
    let label = |length| "a".repeat(length);
    let domain = |length: usize| [label(63), label(63), label(61), label(length - 190)].join(".");
    for (text, valid) in [(label(63), true), (label(64), false), (domain(253), true)] {
        assert_eq!(is_domain(&text), valid);
        assert_eq!(Domain::parse(&text).is_ok(), valid, "{text}");
    }
    for (last, valid) in [("b", true), ("bb", false)] {
        let text = format!("{}.{last}", domain(253));
        assert_eq!((is_domain(&text), Domain::parse(&text).is_ok()), (valid, valid), "{text}");
    }
    for (local, domain, valid) in [
        (64, label(9), true),
        (65, label(9), false),
        (1, domain(252), true),
        (1, domain(253), false),
    ] {
        let text = format!("{}@{domain}", label(local));
        assert_eq!(
            (is_mailbox(&text), Mailbox::parse(&text, AddressRules::STRICT).is_ok()),
            (valid, valid),
            "{text}"
        );
        check_line(&format!("MAIL FROM:<@a:{text}>"));
    }
}

/// A character lost, added or exchanged, at every place.
#[test]
fn lines_with_a_flaw() {
    for line in [
        "MAIL FROM:<@a,@b.c:d.e@f-g> X=1",
        "RCPT TO:<\"a\\b\"@[127.0.0.1]> Y",
        "mail from:<a@[IPv6:1::2]>",
    ] {
        check_line(line);
        let chars: Vec<char> = line.chars().collect();
        for at in 0..chars.len() {
            let with = |middle: &[char], rest: usize| {
                check_line(
                    &[&chars[..at], middle, &chars[rest..]].concat().iter().collect::<String>(),
                )
            };
            with(&[], at + 1);
            for char in CHARS {
                with(&[char], at);
                with(&[char], at + 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn domains(text in prop_oneof![
        text_of("Domain"),
        text_of("address-literal"),
        "[a-z.-]{0,80}",
        "\\[IPv6:[a-f0-9:.]{0,20}\\]",
    ]) {
        prop_assert_eq!(Domain::parse(&text).is_ok(), is_domain(&text));
    }

    #[test]
    fn mailboxes(text in text_of("Mailbox")) {
        prop_assert_eq!(Mailbox::parse(&text, AddressRules::STRICT).is_ok(), is_mailbox(&text));
    }

    #[test]
    fn paths(text in text_of("routed")) {
        let valid = is_routed(&text);
        prop_assert_eq!(ReversePath::parse(&text, AddressRules::STRICT).is_ok(), valid || matches!(text.as_str(), "" | " "));
        prop_assert_eq!(ForwardPath::parse(&text, AddressRules::STRICT).is_ok(), valid || text.eq_ignore_ascii_case("postmaster"));
    }

    #[test]
    fn parameters(text in text_of("Mail-parameters")) {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let begins = words.is_empty() || !text.starts_with(' ');
        // The place of the first word against the grammar.
        let fault = words.iter().position(|word| !GRAMMAR.takes("Mail-parameters", word));
        let fault = if begins { fault } else { Some(0) };
        let syntax = fault.map(|_| CommandError::Parameter);
        prop_assert_eq!(Parameters::parse(&text).err(), syntax);
        // The first fault is named: a bad value or a repeated keyword before that place, otherwise
        // the fault at that place. What values mean is not in the grammar.
        let before = words[..fault.unwrap_or(words.len())].join(" ");
        let value = MailParameters::parse(&before).err();
        prop_assert_ne!(value, Some(CommandError::Parameter));
        prop_assert_eq!(MailParameters::parse(&text).err(), value.or(syntax));
    }

    #[test]
    fn lines(line in prop_oneof![text_of("mail"), text_of("rcpt")]) {
        check_line(&line);
    }
}
