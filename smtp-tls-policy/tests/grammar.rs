//! The texts of MTA-STS (RFC 8461, sections 3.1 and 3.2) and TLSRPT (RFC 8460, section 3) by the
//! ABNF of their RFCs: what the grammar has is read, and what it has not is refused.
//!
//! The grammars are written here as in the RFCs, for a matcher that knows all ends of a rule
//! at once. Sentences are generated, then changed in one place; the parsers must say what the
//! matcher says.

use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::select;
use smtp_tls_policy::sts::{PolicyId, PolicyText};
use smtp_tls_policy::tlsrpt;

/// From a place in a text to all places where the rule may end.
type Rule = Rc<dyn Fn(&[u8], usize) -> BTreeSet<usize>>;

fn class(has: impl Fn(u8) -> bool + 'static) -> Rule {
    Rc::new(move |text, at| {
        text.get(at).filter(|byte| has(**byte)).map(|_| at + 1).into_iter().collect()
    })
}

/// `%s"..."`
fn literal(word: &'static str) -> Rule {
    Rc::new(move |text, at| {
        text[at..].starts_with(word.as_bytes()).then_some(at + word.len()).into_iter().collect()
    })
}

fn seq(rules: Vec<Rule>) -> Rule {
    Rc::new(move |text, at| {
        rules.iter().fold(BTreeSet::from([at]), |ends, rule| {
            ends.into_iter().flat_map(|end| rule(text, end)).collect()
        })
    })
}

fn alt(rules: Vec<Rule>) -> Rule {
    Rc::new(move |text, at| rules.iter().flat_map(|rule| rule(text, at)).collect())
}

/// `min*max rule`
fn times(min: usize, max: usize, rule: Rule) -> Rule {
    Rc::new(move |text, at| {
        let (mut ends, mut now) = (BTreeSet::new(), BTreeSet::from([at]));
        for count in 0..=max {
            if count >= min {
                ends.extend(now.iter().copied());
            }
            now = now
                .into_iter()
                .flat_map(|end| rule(text, end))
                .filter(|end| !ends.contains(end))
                .collect();
            if now.is_empty() {
                break;
            }
        }
        ends
    })
}

fn many(rule: Rule) -> Rule {
    times(0, usize::MAX - 1, rule)
}

fn opt(rule: Rule) -> Rule {
    times(0, 1, rule)
}

fn matches(rule: &Rule, text: &[u8]) -> bool {
    rule(text, 0).contains(&text.len())
}

fn wsp() -> Rule {
    class(|b| b == b' ' || b == b'\t')
}

fn alphanum() -> Rule {
    class(|b| b.is_ascii_alphanumeric())
}

/// `(ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")`
fn ext_name() -> Rule {
    seq(vec![alphanum(), times(0, 31, class(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)))])
}

/// `1*(%x21-3A / %x3C / %x3E-7E)`
fn ext_value() -> Rule {
    times(1, usize::MAX - 1, class(|b| matches!(b, 0x21..=0x3a | 0x3c | 0x3e..=0x7e)))
}

/// `version 1*(field-delim field) [field-delim]`
fn record(version: &'static str, field: Rule) -> Rule {
    let delim = || seq(vec![many(wsp()), literal(";"), many(wsp())]);
    let fields = times(1, usize::MAX - 1, seq(vec![delim(), field]));
    seq(vec![literal(version), fields, opt(delim())])
}

fn sts_record() -> Rule {
    let id = seq(vec![literal("id="), times(1, 32, alphanum())]);
    record("v=STSv1", alt(vec![id, seq(vec![ext_name(), literal("="), ext_value()])]))
}

/// RFC 3986, A, as far as mailto and https need it:
/// `scheme ":" hier-part [ "?" query ] [ "#" fragment ]`, less the three characters that RFC 8460
/// takes away. Square brackets, which only an address of version 6 has, are in no sentence here.
fn uri() -> Rule {
    let pct = || {
        seq(vec![literal("%"), class(|b| b.is_ascii_hexdigit()), class(|b| b.is_ascii_hexdigit())])
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~$&'()*+=:@/".contains(&b);
    let text = move |more: &'static [u8]| {
        many(alt(vec![pct(), class(move |b| plain(b) || more.contains(&b))]))
    };
    let scheme = seq(vec![
        class(|b| b.is_ascii_alphabetic()),
        many(class(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))),
    ]);
    seq(vec![scheme, literal(":"), text(b"?"), opt(seq(vec![literal("#"), text(b"?")]))])
}

fn tlsrpt_record() -> Rule {
    let comma = seq(vec![many(wsp()), literal(","), many(wsp())]);
    let rua = seq(vec![literal("rua="), uri(), many(seq(vec![comma, uri()]))]);
    record("v=TLSRPTv1", alt(vec![rua, seq(vec![ext_name(), literal("="), ext_value()])]))
}

fn policy() -> Rule {
    let delim = || seq(vec![literal(":"), many(wsp())]);
    let key = |name: &'static str, value: Rule| seq(vec![literal(name), delim(), value]);
    let let_dig = alphanum;
    let label = || {
        let more = seq(vec![many(class(|b| b.is_ascii_alphanumeric() || b == b'-')), let_dig()]);
        seq(vec![let_dig(), opt(more)])
    };
    let domain = seq(vec![label(), many(seq(vec![literal("."), label()]))]);
    // Texts are ASCII here; `UTF8-2` to `UTF8-4` have their own test.
    let vchar = || class(|b| matches!(b, 0x21..=0x7e));
    let value =
        seq(vec![vchar(), opt(seq(vec![many(class(|b| matches!(b, 0x20..=0x7e))), vchar()]))]);
    let field = || {
        alt(vec![
            key("version", literal("STSv1")),
            key("mode", alt(vec![literal("testing"), literal("enforce"), literal("none")])),
            key("max_age", times(1, 10, class(|b| b.is_ascii_digit()))),
            key("mx", seq(vec![opt(literal("*.")), domain.clone()])),
            seq(vec![ext_name(), delim(), value.clone()]),
        ])
    };
    let term = || alt(vec![literal("\r\n"), literal("\n")]);
    let line = || seq(vec![field(), many(wsp())]);
    seq(vec![line(), many(seq(vec![term(), line()])), opt(term())])
}

/// How often a key is in a text, by lines or fields.
fn count(text: &str, ends: &[char], key: &str) -> usize {
    text.split(ends).filter(|part| part.trim_start_matches([' ', '\t']).starts_with(key)).count()
}

/// One change in one place.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Insert(usize, char),
    Delete(usize),
    Replace(usize, char),
    Swap(usize),
}

fn change(alphabet: &'static str) -> impl Strategy<Value = Change> {
    let letter = move || select(alphabet.chars().collect::<Vec<_>>());
    prop_oneof![
        Just(Change::Nothing),
        (any::<usize>(), letter()).prop_map(|(at, c)| Change::Insert(at, c)),
        any::<usize>().prop_map(Change::Delete),
        (any::<usize>(), letter()).prop_map(|(at, c)| Change::Replace(at, c)),
        any::<usize>().prop_map(Change::Swap),
    ]
}

fn changed(text: &str, change: &Change) -> String {
    let mut text: Vec<char> = text.chars().collect();
    let length = text.len();
    match *change {
        Change::Nothing => {}
        Change::Insert(at, c) => text.insert(at % (length + 1), c),
        Change::Delete(at) => drop(text.remove(at % length)),
        Change::Replace(at, c) => text[at % length] = c,
        Change::Swap(at) => text.swap(at % length, (at + 1) % length),
    }
    text.into_iter().collect()
}

fn any_of(
    any: impl Strategy<Value = bool> + 'static,
    yes: &'static str,
    no: &'static str,
) -> BoxedStrategy<String> {
    any.prop_map(move |flag| if flag { yes } else { no }.to_owned()).boxed()
}

/// Fields with delimiters of all kinds, and perhaps one at the end.
fn record_text(
    version: &'static str,
    field: BoxedStrategy<String>,
) -> impl Strategy<Value = String> {
    let delim = || "[ \t]{0,2};[ \t]{0,2}";
    let fields = proptest::collection::vec((delim(), field), 1..5);
    (fields, proptest::option::of(delim())).prop_map(move |(fields, end)| {
        let mut text = version.to_owned();
        for (delim, field) in fields {
            text += &delim;
            text += &field;
        }
        text + &end.unwrap_or_default()
    })
}

fn extension() -> impl Strategy<Value = String> {
    ("[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}", "[!-:<>-~]{1,12}")
        .prop_map(|(name, value)| format!("{name}={value}"))
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 20_000, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn sts_records(
        text in record_text("v=STSv1", prop_oneof![1 => "id=[a-zA-Z0-9]{1,32}", 3 => extension()].boxed()),
        change in change("v=STSv1;id aZ9-_.%:<>\t\u{0}\u{7f}\u{e9}"),
    ) {
        let text = changed(&text, &change);
        // Of two ids the first counts: which of two rules a broken one matches, the grammar leaves
        // open.
        prop_assume!(count(&text, &[';'], "id=") <= 1);
        let has_id = count(&text, &[';'], "id=") == 1 && {
            let id = text.split(';').find_map(|field| field.trim_start_matches([' ', '\t']).strip_prefix("id="));
            let id = id.unwrap().trim_end_matches([' ', '\t']);
            (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        // White space at the end of the record is taken beyond the grammar.
        let trimmed = text.trim_end_matches([' ', '\t']);
        let expected = matches(&sts_record(), trimmed.as_bytes()) && has_id;
        let read = PolicyId::find(&[[&text]]);
        prop_assert_eq!(matches!(read, Ok(Some(_))), expected, "{:?}: {:?}", text, read);
        // Where the strings of a record are parted says nothing.
        let (start, rest) = text.split_at(text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at));
        prop_assert_eq!(PolicyId::find(&[[start, rest]]), read);
    }

    #[test]
    fn tlsrpt_records(
        text in record_text(
            "v=TLSRPTv1",
            prop_oneof![
                "rua=mailto:[a-z]{1,5}@[a-z]{1,5}\\.example([ \t]?,[ \t]?https://[a-z]{1,5}\\.example/[a-z]{0,4}(\\?[a-z]{1,3})?){0,2}",
                "rua=(tel|mailto|x-y):[a-z%20]{0,6}",
                extension(),
            ]
            .boxed(),
        ),
        change in change("v=TLSRPTv1;rua mailto:,@%2#!?/[]\t\u{0}\u{7f}\u{e9}"),
    ) {
        let text = changed(&text, &change);
        // White space before the first destination is taken beyond the grammar, as at the end.
        let parts = text.split(';').map(|part| match part.trim_start_matches([' ', '\t']).strip_prefix("rua=") {
            Some(value) => format!("rua={}", value.trim_start_matches([' ', '\t'])),
            None => part.to_owned(),
        });
        let plain = parts.collect::<Vec<_>>().join(";");
        // Known names follow their own rule, whatever else they would match.
        let fields: Vec<_> = plain.split(';').skip(1).map(|field| field.trim_matches([' ', '\t'])).collect();
        let rua = |field: &&&str| field.starts_with("rua=");
        let comma = seq(vec![many(wsp()), literal(","), many(wsp())]);
        let rule = seq(vec![literal("rua="), uri(), many(seq(vec![comma, uri()]))]);
        let all_good = fields.iter().filter(rua).all(|field| matches(&rule, field.as_bytes()));
        let trimmed = plain.trim_end_matches([' ', '\t']);
        let expected =
            matches(&tlsrpt_record(), trimmed.as_bytes()) && all_good && fields.iter().filter(rua).count() > 0;
        let read = tlsrpt::TlsrptRecord::find(&[[&text]]);
        // Beside a good destination a malformed one is left out.
        let left_out = |it: &tlsrpt::TlsrptRecord| !it.rua.is_empty() && it.unusable > 0;
        if !matches!(&read, Ok(Some(record)) if !expected && left_out(record)) {
            prop_assert_eq!(matches!(read, Ok(Some(_))), expected, "{:?}: {:?}", text, read);
        }
    }

    #[test]
    fn policies(
        (mode, max_age) in (select(&["testing", "enforce", "none"][..]), 0..9_999_999_999u64),
        hosts in proptest::collection::vec("(\\*\\.)?[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\\.[a-zA-Z0-9]{1,5}){0,2}", 0..4),
        others in proptest::collection::vec("[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}:[ \t]{0,2}[!-~]([ -~]{0,6}[!-~])?", 0..3),
        space in "[ \t]{0,2}",
        crlf in any_of(any::<bool>(), "\r\n", "\n"),
        last in any::<bool>(),
        change in change("versionmodemxmax_age: STSv1enforce*.-09aZ\r\n\t\u{0}\u{7f}"),
        order in any::<prop::sample::Index>(),
    ) {
        let mut lines = vec![format!("version:{space}STSv1"), format!("mode:{space}{mode}"), format!("max_age:{max_age}{space}")];
        lines.extend(hosts.iter().map(|host| format!("mx:{space}{host}{space}")));
        lines.extend(others);
        let by = order.index(lines.len());
        lines.rotate_left(by);
        let text = lines.join(&crlf) + if last { &crlf } else { "" };
        let text = changed(&text, &change);
        // Twice the same key: the first counts, and which rule a broken one matches, the grammar
        // leaves open.
        let keys = ["version:", "mode:", "max_age:"];
        let ends = ['\n'];
        let seen = keys.map(|key| count(&text, &ends, key));
        prop_assume!(seen.iter().all(|times| *times <= 1));
        // A name of digits and dots alone is a name by the grammar.
        let known = |line: &str| {
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.trim_matches([' ', '\t', '\r']);
            let label = |label: &str| {
                label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && label.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            };
            match key {
                "version" => value == "STSv1",
                "mode" => ["testing", "enforce", "none"].contains(&value),
                "max_age" => (1..=10).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()),
                "mx" => value.strip_prefix("*.").unwrap_or(value).split('.').all(label),
                _ => true,
            }
        };
        let mode_none = text.lines().any(|line| line.split_once(':').is_some_and(|(key, value)| {
            key == "mode" && value.trim_matches([' ', '\t', '\r']) == "none"
        }));
        let complete = seen.iter().all(|times| *times == 1) && (mode_none || count(&text, &ends, "mx:") > 0);
        let expected = matches(&policy(), text.as_bytes()) && text.lines().all(known) && complete;
        let read = PolicyText::parse(text.as_bytes());
        prop_assert_eq!(read.is_ok(), expected, "{:?}: {:?}", text, read);
    }
}

/// The rest of `sts-policy-vchar`.
#[test]
fn a_policy_may_have_utf_8_in_what_is_not_known() {
    let policy = |value: &[u8]| {
        let text = [&b"version: STSv1\nmode: none\nmax_age: 1\nnote: "[..], value, b"\n"].concat();
        PolicyText::parse(&text).is_ok()
    };
    assert!(policy("gr\u{fc}n \u{20ac} \u{1f600}".as_bytes()));
    assert!(!policy(b"\xff"));
    assert!(!policy(b"a\xc3"));
    assert!(!policy(b"a\x01b"));
}
