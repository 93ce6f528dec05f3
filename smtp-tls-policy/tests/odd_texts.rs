//! Texts of MTA-STS and TLSRPT, and names of domains, as they are found: `golden/odd-texts.txt`
//! shows what is read of each. To write it again: `UPDATE_GOLDEN=1 cargo test -p smtp-tls-policy
//! --all-features --test odd_texts`.
#![cfg(feature = "idna")]

use std::fmt::{Debug, Write};

use smtp_tls_policy::sts::{PolicyId, PolicyText};
use smtp_tls_policy::tlsrpt::TlsrptRecord;
use smtp_tls_policy::{Domain, Host};

/// What comes after `v=TLSRPTv1;rua=`.
const RUA: &[&str] = &[
    "mailto:a@b.example",
    "MAILTO:a@b.example",
    "mailto:a@b.example,https://r.example/x",
    "mailto:a@b.example , https://r.example/x",
    "mailto:a@b.example,",
    ",mailto:a@b.example",
    "mailto:a@b.example,c@b.example",
    "mailto:a@b.example?subject=x",
    "mailto:a@b.example;c=d",
    "mailto:a+tls@b.example",
    "mailto:a@b_c.example",
    "mailto:",
    "mailto:a",
    "mailto:@b.example",
    "mailto:a@",
    "mailto:a@[192.0.2.1]",
    "mailto:a%2Cb@b.example",
    "mailto:a%0D%0Ab@b.example",
    "mailto:a%00@b.example",
    "mailto:a%20b@b.example",
    "mailto:a%40b@c.example",
    "mailto:a@b.example!10m",
    "mailto:\u{fc}@b.example",
    "https://r.example",
    "HTTPS://R.example/x?y=z#f",
    "https://r.example:8443/x",
    "https://192.0.2.1/x",
    "https://[2001:db8::1]/x",
    "https:///x",
    "https:r.example",
    "https://r.example/x,y",
    "https://r.example/%zz",
    "https://r.example/a b",
    "http://r.example/x",
    "ftp://r.example/x",
    "a@b.example",
    "",
];

/// What comes after `v=`, with `TLSRPTv1` and `rua=mailto:a@b.example` or with `STSv1` and `id=1`.
const RECORDS: &[&str] = &[
    "VERSION; FIELD;",
    "VERSION;FIELD",
    "VERSION ;FIELD",
    "VERSION\t;\tFIELD\t;",
    "VERSION; FIELD; ",
    "VERSION; FIELD;;",
    "VERSION;; FIELD",
    "VERSION",
    "VERSION;",
    "VERSION FIELD",
    "VERSION, FIELD",
    "VERSION: FIELD",
    "VERSION\\; FIELD",
    "VERSION. FIELD",
    "VERSION; x=y; FIELD",
    "VERSION; FIELD; x=y",
    "VERSION; FIELD; FIELD",
    "VERSION; FIELD; x",
    "VERSION; FIELD; x=",
    "VERSION; FIELD; x=a b",
    "VERSION; FIELD; x=a=b",
    "VERSION; FIELD; _x=a",
    "VERSION;\r\nFIELD",
    " VERSION; FIELD",
];

/// Replacements in a policy of four lines.
const POLICIES: &[(&str, &str)] = &[
    ("", ""),
    ("\n", "\r\n"),
    ("86400\n", "86400"),
    ("86400\n", "86400\n\n"),
    ("86400\n", "86400\r"),
    ("86400\n", "86400 \t\n"),
    (": ", ":"),
    (": ", ":\t "),
    (": ", " : "),
    ("mx: ", "MX: "),
    ("version: STSv1\n", ""),
    ("STSv1", "STSv1.0"),
    ("STSv1", "stsv1"),
    ("enforce", "enforced"),
    ("mx.b.example", "*.b.example"),
    ("mx.b.example", "*"),
    ("mx.b.example", "*.*.example"),
    ("mx.b.example", "mx*.b.example"),
    ("mx.b.example", ".b.example"),
    ("mx.b.example", "mx.b.example."),
    ("mx.b.example", "192.0.2.1"),
    ("mx.b.example", "[192.0.2.1]"),
    ("mx.b.example", "mx.b\u{fc}cher.example"),
    ("mx.b.example", "mx.xn--bcher-kva.example"),
    ("mx.b.example", "mx.b.example:25"),
    ("mx.b.example", "mx.b.example, mx2.b.example"),
    ("mx.b.example", "mx.b.example mx2.b.example"),
    ("mx.b.example", "localhost"),
    ("mx.b.example", "-x.b.example"),
    ("mx.b.example", "\"mx.b.example\""),
    ("mx: mx.b.example\n", ""),
    ("86400", "0"),
    ("86400", "31557601"),
    ("86400", "10000000000"),
    ("86400", "-1"),
    ("86400", "1e6"),
    ("86400", "86,400"),
    ("86400", "086400"),
    ("86400\n", "86400\nmax_age: 5\n"),
    ("86400\n", "86400\nmode: none\n"),
    ("86400\n", "86400\nmode: bogus\n"),
    ("86400\n", "86400\nx: y\n"),
    ("86400\n", "86400\nx:\n"),
    ("86400\n", "86400\n# comment\n"),
    ("86400\n", "86400\nx_1.-y: z\n"),
    ("86400\n", "86400\n-x: z\n"),
    ("86400\n", "86400\nx: \u{7f}\n"),
    ("86400\n", "86400\nx: a\tb\n"),
    ("86400\n", "86400\n mx: mx2.b.example\n"),
];

const NAMES: &[&str] = &[
    "b.example",
    "B.Example.",
    "b.example..",
    ".",
    "",
    "b",
    "b..c",
    ".b",
    "b.-c",
    "b-.c",
    "ab--c.example",
    "_b.example",
    "b_c.example",
    "b.example:25",
    "b.example/",
    "b c",
    "b\tc",
    "b\0c",
    "*.b.example",
    "b\u{fc}cher.example",
    "B\u{dc}CHER.example",
    "fa\u{df}.example",
    "b\u{301}.example",
    "b\u{ad}.example",
    "a\u{200d}b.example",
    "\u{4f8b}\u{3048}\u{3002}\u{30c6}\u{30b9}\u{30c8}",
    "b\u{ff0e}example",
    "xn--bcher-kva.example",
    "XN--BCHER-KVA.example",
    "xn--.example",
    "xn--b\u{fc}cher.example",
    "192.0.2.1",
    "192.0.2.1.",
    "[192.0.2.1]",
    "2001:db8::1",
    "[IPv6:2001:db8::1]",
    "1.2.3",
    "256.1.1.1",
    "example.1",
];

fn row(table: &mut String, text: &str, read: impl Debug) {
    writeln!(table, "{text:?}\n    {read:?}").unwrap();
}

#[test]
fn texts_and_names_as_they_are_found() {
    let mut table =
        String::from("# Report addresses of a TLSRPT record, and how many are left out\n");
    let reports =
        |record: &str| TlsrptRecord::find(&[[record]]).map(|it| it.map(|it| (it.rua, it.unusable)));
    for rua in RUA {
        row(&mut table, rua, reports(&format!("v=TLSRPTv1;rua={rua}")));
    }
    table.push_str("\n# Records of TLSRPT, and of MTA-STS\n");
    for record in RECORDS {
        let of = |version: &str, field: &str| {
            let record = record.replace("VERSION", version).replace("FIELD", field);
            if record.starts_with(' ') {
                format!(" v={}", record.trim())
            } else {
                format!("v={record}")
            }
        };
        let rua = reports(&of("TLSRPTv1", "rua=mailto:a@b.example"));
        let rua = rua.map(|it| it.map(|(rua, _)| rua.len()));
        row(&mut table, record, (rua, PolicyId::find(&[[of("STSv1", "id=1")]])));
    }
    table.push_str("\n# Policies of MTA-STS: mode, seconds, hosts, defect\n");
    let good = "version: STSv1\nmode: enforce\nmx: mx.b.example\nmax_age: 86400\n";
    for (old, new) in POLICIES {
        let text = if old.is_empty() { good.to_owned() } else { good.replace(old, new) };
        let policy = PolicyText::parse_tolerant(text.as_bytes()).map(|it| {
            let mx: Vec<_> = it.mx().map(str::to_owned).collect();
            (it.mode(), it.max_age().as_secs(), mx, it.defect())
        });
        row(&mut table, new, policy);
    }
    table.push_str("\n# Names: as a domain, and as a host\n");
    for name in NAMES {
        let domain = Domain::parse(name).map(|it| it.to_string());
        row(&mut table, name, (domain, Host::parse(name).map(|it| it.to_string())));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/odd-texts.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), table);
}

/// RFC 1035, section 2.3.4: 63 octets between two dots, and 253 of all without a dot at the end.
#[test]
fn names_at_their_limits() {
    let name = |last: usize| {
        let label = "a".repeat(63);
        format!("{label}.{label}.{label}.{}", "b".repeat(last))
    };
    for (name, is_good) in [
        (name(61), true),
        (name(61) + ".", true),
        (name(62), false),
        (format!("{}.example", "a".repeat(63)), true),
        (format!("{}.example", "a".repeat(64)), false),
        // Its A-label has 63 octets, and then 64.
        (format!("{}.example", "\u{fc}".repeat(57)), true),
        (format!("{}.example", "\u{fc}".repeat(58)), false),
    ] {
        assert_eq!(Domain::parse(&name).is_ok(), is_good, "{name}");
        assert_eq!(Host::parse(&name).is_ok(), is_good, "{name}");
    }
}
