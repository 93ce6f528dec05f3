//! Every question against every kind of zone, in both modes: the golden table `golden/answers.txt`.

use std::fmt::Write;
use std::path::Path;

use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tokio_adapter::lookups::dns::{Fault, Resolver};

use crate::servers::dns;

/// What is asked, by what it shows.
const QUESTIONS: &[(&str, &[&str])] = &[
    (
        "signed, NSEC",
        &[
            "MX secure.example",
            "A mx.secure.example",
            "AAAA mx.secure.example",
            "CNAME mx.secure.example",
            "CNAME alias7.secure.example",
            "TLSA _25._tcp.mx.secure.example",
            "TLSA _25._tcp.lametlsa.secure.example",
            "TXT _mta-sts.secure.example",
            "MX self.secure.example",
            "MX nothing.secure.example",
            "MX below.nothing.secure.example",
            "A _tcp.mx.secure.example",
            "AAAA secure.example",
        ],
    ),
    (
        "signed, wildcards",
        &[
            "A any.wild.secure.example",
            "AAAA any.wild.secure.example",
            "A closer.wild.secure.example",
            "TLSA closer.wild.secure.example",
            "TLSA any.wild.secure.example",
            "A any.name.wild.secure.example",
            "AAAA any.name.wild.secure.example",
            "A zzz.wild.secure.example",
            "A alias.aliases.secure.example",
            "TLSA alias.aliases.secure.example",
            "TLSA _25._tcp.any.secure.example",
        ],
    ),
    (
        "signed, NSEC3",
        &[
            "MX nsec3.example",
            "AAAA mx.nsec3.example",
            "A nothing.nsec3.example",
            "A deep.name.nsec3.example",
            "A any.wild.nsec3.example",
            "AAAA any.wild.nsec3.example",
            "A any.name.wild.nsec3.example",
            "MX mx.nsec3.example",
            "A below.nothing.nsec3.example",
        ],
    ),
    (
        "signed, NSEC3 with opt-out",
        &[
            "A www.optout",
            "AAAA www.optout",
            "MX nothing.optout",
            "MX signed.optout",
            "AAAA mx.signed.optout",
            "MX plain.optout",
            "AAAA mx.plain.optout",
            "A any.wild.optout",
            "MX nothing.plain.optout",
        ],
    ),
    (
        "not signed",
        &[
            "MX insecure.example",
            "A mx.insecure.example",
            "AAAA mx.insecure.example",
            "MX nothing.insecure.example",
            "MX island.example",
            "AAAA mx.island.example",
            "MX unknown.example",
            "AAAA mx.unknown.example",
        ],
    ),
    (
        "aliases",
        &[
            "MX alias.secure.example",
            "MX toinsecure.secure.example",
            "A alias7.secure.example",
            "AAAA alias7.secure.example",
            "A alias6.secure.example",
            "CNAME alias6.secure.example",
            "CNAME alias6.insecure.example",
            "A alias6.insecure.example",
            "A alias.insecure.example",
            "A nowhere.secure.example",
            "A badalias.secure.example",
            "CNAME badalias.secure.example",
            "A loop1.secure.example",
            "A chain0.secure.example",
            "A chain1.secure.example",
            "A oddalias.secure.example",
        ],
    ),
    (
        "aliases by DNAME",
        &[
            "A host.moved.secure.example",
            "AAAA host.moved.secure.example",
            "A nothing.moved.secure.example",
            "CNAME host.moved.secure.example",
            "A mx.away.secure.example",
            "CNAME mx.away.secure.example",
            "A host.moved.insecure.example",
            "A host.badmoved.secure.example",
            "MX moved.secure.example",
            "A mx.moved.nsec3.example",
            "MX moved.nsec3.example",
        ],
    ),
    (
        "bogus, expired",
        &[
            "MX bogus.example",
            "A mx.bogus.example",
            "A good.bogus.example",
            "MX expired.example",
            "AAAA mx.expired.example",
            "AAAA badaaaa.secure.example",
            "A badaaaa.secure.example",
        ],
    ),
    ("no answer", &["MX lame.example", "A mx.lame.example"]),
    (
        "many and odd records",
        &[
            "TXT large.secure.example",
            "MX many.secure.example",
            "MX oddmx.secure.example",
            "MX nomx.secure.example",
            "MX nullmx.secure.example",
        ],
    ),
];

#[tokio::test]
async fn every_zone_has_the_status_of_the_golden_table_in_both_modes() {
    let Some(dns) = dns() else { return };
    let port = dns.mail.local_addr().unwrap().port();
    let (validates, believes) = (dns.validates(), dns.believes());
    let mut table = String::new();
    for (kind, questions) in QUESTIONS {
        writeln!(table, "# {kind}").unwrap();
        for question in *questions {
            let (record, name) = question.split_once(' ').unwrap();
            let name = name.replace("_25.", &format!("_{port}."));
            let here = ask(&validates, record, &name).await;
            let there = ask(&believes, record, &name).await;
            writeln!(table, "{question}").unwrap();
            match here == there {
                true => writeln!(table, "    {here}").unwrap(),
                false => writeln!(table, "    {here}\n    AD: {there}").unwrap(),
            }
            // What is kept says the same as what was fetched.
            assert_eq!(ask(&validates, record, &name).await, here, "{question}");
            assert_eq!(ask(&believes, record, &name).await, there, "{question}");
        }
    }
    golden("answers.txt", &table);
}

pub(crate) fn golden(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dns/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{}: found\n{found}\nexpected\n{expected}", file.display());
}

/// One question, and the answer in a line.
async fn ask(resolver: &Resolver, record: &str, name: &str) -> String {
    let domain = Domain::parse(name).unwrap();
    match record {
        "MX" => line(resolver.look_up_mx(&domain).await, |mx| {
            let exchange = mx.exchange.as_ref().map_or(".", |name| name.as_str());
            format!("{} {exchange}", mx.preference)
        }),
        "A" => line(resolver.look_up_ipv4(&domain).await, ToString::to_string),
        "AAAA" => line(resolver.look_up_ipv6(&domain).await, ToString::to_string),
        "TLSA" => line(resolver.look_up_tlsa(name).await, |it| {
            format!("{} {} {}", it.usage, it.selector, it.matching)
        }),
        "TXT" => line(resolver.look_up_txt(&domain).await, |strings| {
            String::from_utf8(strings.concat()).unwrap()
        }),
        "CNAME" => match resolver.look_up_cname(name).await {
            Ok(status) => format!("{status:?}"),
            Err(fault) => failed(fault),
        },
        other => unreachable!("{other}"),
    }
}

fn failed(fault: Fault) -> String {
    format!("{:?}: {} ({fault})", fault.status(), fault.code())
}

fn line<T>(answer: Result<DnsAnswer<T>, Fault>, show: impl Fn(&T) -> String) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => return failed(fault),
    };
    let mut records: Vec<_> = answer.records.iter().map(show).collect();
    records.sort();
    let mut line = format!("{:?}:", answer.status);
    if let Some(alias) = &answer.alias {
        write!(line, " alias of {alias},").unwrap();
    }
    match (records.len(), answer.no_such_name) {
        (0, true) => line + " no such name",
        (0, false) => line + " no such records",
        (1..=5, _) => format!("{line} {}", records.join(", ")),
        (count, _) => format!("{line} {count} records"),
    }
}
