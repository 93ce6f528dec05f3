//! MTA-STS record, policy and fetch, and the TLSRPT record.

use std::time::Duration;

use proptest::prelude::*;
use smtp_tls_policy::TxtError;
use smtp_tls_policy::sts::*;
use smtp_tls_policy::tlsrpt::Rua;
use smtp_tls_policy::{Domain, DomainError};
use smtp_tls_policy::{ResultType, tlsrpt};

fn find(record: &str) -> Result<Option<String>, TxtError> {
    Ok(PolicyId::find(&[[record]])?.map(|id| id.as_str().to_owned()))
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[test]
fn a_record_is_read_as_the_grammar_says() {
    let missing = Err(TxtError::Missing { name: "id" });
    let field = |field| Err(TxtError::Field { field });
    let value = |field, name| Err(TxtError::Value { field, name });
    for (record, expected) in [
        ("v=STSv1;id=1", Ok(Some("1"))),
        ("v=STSv1 \t; \t id=1 \t; \t", Ok(Some("1"))),
        ("v=STSv1;a=b;id=1;id=2;c_-.=:", Ok(Some("1"))),
        (
            "v=STSv1;id=01234567890123456789012345678901",
            Ok(Some("01234567890123456789012345678901")),
        ),
        ("v=STSv1;a2345678901234567890123456789012=1;id=1", Ok(Some("1"))),
        // White space at the end of the record (RFC 8461 has none there).
        ("v=STSv1;id=1 ", Ok(Some("1"))),
        ("v=STSv1; id=1;\t ", Ok(Some("1"))),
        // Not this version: no record.
        ("v=STSv10;id=1", Ok(None)),
        ("V=STSv1;id=1", Ok(None)),
        (" v=STSv1;id=1", Ok(None)),
        ("", Ok(None)),
        // This version, and wrong.
        ("v=STSv1", missing),
        ("v=STSv1;", missing),
        ("v=STSv1;ID=1", missing),
        ("v=STSv1;id=", value(1, "id")),
        ("v=STSv1;id=a-b", value(1, "id")),
        ("v=STSv1;id=a-b;id=1", value(1, "id")),
        ("v=STSv1;id=012345678901234567890123456789012", value(1, "id")),
        ("v=STSv1;id= 1", value(1, "id")),
        ("v=STSv1;id=1;a=", value(2, "extension")),
        ("v=STSv1;id=1;a==", value(2, "extension")),
        ("v=STSv1;id=1;a=\u{fc}", value(2, "extension")),
        ("v=STSv1;id=1;;", field(2)),
        ("v=STSv1;;id=1", field(1)),
        ("v=STSv1;id=1;b", field(2)),
        ("v=STSv1;id=1;_b=1", field(2)),
        ("v=STSv1;id =1", field(1)),
        ("v=STSv1;a23456789012345678901234567890123=1;id=1", field(1)),
    ] {
        assert_eq!(find(record), expected.map(|id| id.map(str::to_owned)), "{record:?}");
    }
}

/// Found by `grammar`: what stood between the version and its semicolon was not looked at.
#[test]
fn nothing_but_white_space_follows_the_version() {
    for record in ["v=STSv1 x;id=a", "v=STSv1 id=b;id=a", "v=STSv1\tx ;id=a"] {
        assert_eq!(find(record), Err(TxtError::Field { field: 0 }), "{record}");
    }
    assert_eq!(find("v=STSv1 \t;id=a"), Ok(Some("a".to_owned())));
    assert_eq!(reports("v=TLSRPTv1 x;rua=mailto:a@b.example"), Err(TxtError::Field { field: 0 }));
}

/// RFC 3986, section 3.2.2: square brackets hold the address of an authority, and stand nowhere
/// else.
#[test]
fn brackets_in_a_uri() {
    let rua = |uri: &str| reports(&format!("v=TLSRPTv1;rua={uri}"));
    for uri in ["https://[2001:db8::1]/x", "https://[::1]:8443/x?y", "https://[::1]"] {
        assert_eq!(rua(uri), Ok((vec![Rua::Https(uri.to_owned())], 0)));
    }
    assert_eq!(rua("https://user@[::1]"), Ok((Vec::new(), 1)));
    for uri in [
        "https://[x]/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[::1]:x/",
        "https://a/[",
        "mailto:a@[192.0.2.1]",
        "x:[]",
    ] {
        assert_eq!(rua(uri), Err(TxtError::Value { field: 1, name: "rua" }), "{uri}");
    }
}

/// `Domain` of RFC 5321 may be of digits: the policy is one, and no host has that name.
#[test]
fn a_pattern_that_looks_like_an_address() {
    let policy = PolicyText::parse(
        b"version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmx: *.a.example\nmax_age: 9\n",
    )
    .unwrap();
    assert_eq!(policy.mx().collect::<Vec<_>>(), ["192.0.2.1", "*.a.example"]);
    assert!(policy.permits(&domain("mx.a.example")));
    assert_eq!(PolicyText::parse(policy.to_string().as_bytes()), Ok(policy));
}

#[test]
fn of_several_records_exactly_one_may_have_the_version() {
    let find = |records: &[&[&str]]| PolicyId::find(records).map(|id| id.map(|id| id.to_string()));
    assert_eq!(find(&[]), Ok(None));
    assert_eq!(find(&[&["v=spf1 -all"], &["v=STSv1;id=1"], &["x"]]), Ok(Some("1".to_owned())));
    assert_eq!(find(&[&["v=STSv1;id=1"], &["v=STSv1;id=1"]]), Err(TxtError::Several { count: 2 }));
    // RFC 8461, section 3.1: a broken one counts among them, and "v=STSv1;" is to the letter where
    // there are several.
    assert_eq!(find(&[&["v=STSv1;id=1"], &["v=STSv1;"]]), Err(TxtError::Several { count: 2 }));
    assert_eq!(find(&[&["v=STSv1;id=1"], &["v=STSv1 ;id=2"]]), Ok(Some("1".to_owned())));
    // Strings are joined without spaces, wherever they are cut.
    let text = "v=STSv1; id=20160831;";
    for cut in 0..=text.len() {
        assert_eq!(
            find(&[&[&text[..cut], "", &text[cut..]]]),
            Ok(Some("20160831".to_owned())),
            "{cut}"
        );
    }
}

#[test]
fn names_to_look_up() {
    let next_hop = domain("Mail.Example.com.");
    assert_eq!(record_name(&next_hop), Some(domain("_mta-sts.mail.example.com")));
    assert_eq!(policy_host(&next_hop), Some(domain("mta-sts.mail.example.com")));
    assert_eq!(tlsrpt::record_name(&next_hop), Some(domain("_smtp._tls.mail.example.com")));
    let long = domain(&format!("{}abcdefgh", "a123456789.".repeat(22)));
    assert_eq!(
        (record_name(&long), policy_host(&long), tlsrpt::record_name(&long)),
        (None, None, None)
    );
}

const GOOD: &str =
    "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n";

#[test]
fn a_policy_is_read_as_the_grammar_says() {
    let expected = PolicyText::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(expected.mode(), Mode::Enforce);
    assert_eq!(expected.max_age(), Duration::from_secs(604_800));
    assert_eq!(expected.mx().collect::<Vec<_>>(), ["mail.example.com", "*.example.net"]);
    for same in [
        GOOD.trim_end().to_owned(),
        GOOD.replace('\n', "\r\n"),
        GOOD.replacen('\n', "\r\n", 2),
        GOOD.replace(": ", ":"),
        GOOD.replace(": ", ":\t \t").replace('\n', " \t\n"),
        GOOD.replace("mail.example.com", "Mail.EXAMPLE.com"),
        format!(
            "max_age:604800\n{GOOD}max_age: forever\nmode: testing\nversion: STSv2\nx-1_.: \u{fc} y\n"
        ),
        format!("Mode: x\nMX: y\n{GOOD}"),
    ] {
        assert_eq!(PolicyText::parse(same.as_bytes()), Ok(expected.clone()), "{same:?}");
    }
    // Mode none needs no mx, and may have some.
    assert!(PolicyText::parse(b"version:STSv1\nmode:none\nmax_age:0").is_ok());
    assert!(PolicyText::parse(b"version:STSv1\nmode:none\nmax_age:0\nmx:a.example").is_ok());
}

#[test]
fn a_wrong_policy_is_refused_with_line_and_field() {
    let line = |line| PolicyError::Line { line };
    let value = |line, field| PolicyError::Value { line, field };
    let mx = |error| PolicyError::Mx { line: 3, error };
    let missing = |field| PolicyError::Missing { field };
    let with_mx = |mx: &str| GOOD.replace("mail.example.com", mx);
    let without = |field: &str| {
        GOOD.lines().filter(|l| !l.starts_with(field)).fold(String::new(), |t, l| t + l + "\n")
    };
    for (text, expected) in [
        (String::new(), missing("version")),
        ("\n".to_owned(), line(1)),
        (format!("{GOOD}\n"), line(6)),
        (format!("\u{feff}{GOOD}"), line(1)),
        (format!("{GOOD}x"), line(6)),
        (format!("{GOOD}x:"), line(6)),
        (format!("{GOOD}x: \t"), line(6)),
        (format!("{GOOD}_x: y"), line(6)),
        (format!("{GOOD}x : y"), line(6)),
        (format!("{GOOD} x: y"), line(6)),
        (format!("{GOOD}x: a\tb"), line(6)),
        (format!("{GOOD}x: a\0b"), line(6)),
        (format!("{GOOD}x: a\r"), line(6)),
        (format!("{GOOD}x: a\r\r\n"), line(6)),
        (format!("{GOOD}{}: y", "x".repeat(33)), line(6)),
        (GOOD.replace("STSv1", "stsv1"), value(1, "version")),
        (GOOD.replace("STSv1", "STSv2"), value(1, "version")),
        (GOOD.replace("enforce", "Enforce"), value(2, "mode")),
        (GOOD.replace("604800", "-1"), value(5, "max_age")),
        (GOOD.replace("604800", "+1"), value(5, "max_age")),
        (GOOD.replace("604800", "1 0"), value(5, "max_age")),
        (GOOD.replace("604800", "00000000001"), value(5, "max_age")),
        (with_mx("*"), mx(DomainError::Character)),
        (with_mx("*."), mx(DomainError::Empty)),
        (with_mx("*.*.example"), mx(DomainError::Character)),
        (with_mx("a.*.example"), mx(DomainError::Character)),
        (with_mx("a*.example"), mx(DomainError::Character)),
        (with_mx("mail..example"), mx(DomainError::EmptyLabel)),
        (with_mx("mail.example."), mx(DomainError::EmptyLabel)),
        (with_mx("-mail.example"), mx(DomainError::Hyphen)),
        (with_mx("m\u{fc}ll.example"), mx(DomainError::Character)),
        (with_mx("a.example b.example"), mx(DomainError::Character)),
        (without("version"), missing("version")),
        (without("mode"), missing("mode")),
        (without("max_age"), missing("max_age")),
        (without("mx"), missing("mx")),
        (without("mx").replace("enforce", "testing"), missing("mx")),
        ("x".repeat(MAX_POLICY_LEN + 1), PolicyError::TooLong),
    ] {
        assert_eq!(PolicyText::parse(text.as_bytes()), Err(expected), "{text:?}");
    }
    assert_eq!(PolicyText::parse(b"version: STSv1\nx: \xff"), Err(line(2)));
}

#[test]
fn enforced_policy_with_a_fault_of_one_meaning_holds_and_is_reported() {
    let good = PolicyText::parse(GOOD.as_bytes()).unwrap();
    let mx = |error| PolicyError::Mx { line: 3, error };
    for (text, defect) in [
        // S04, S05b, S05c, S15.
        (GOOD.lines().map(|line| format!("  {line}\r\n")).collect(), PolicyError::Line { line: 1 }),
        (format!("{GOOD}\n"), PolicyError::Line { line: 6 }),
        (format!("{GOOD} \t\r\n\n"), PolicyError::Line { line: 6 }),
        (GOOD.replacen('\n', "\n\n", 2), PolicyError::Line { line: 2 }),
        (GOOD.replace("example.com", "example.com."), mx(DomainError::EmptyLabel)),
    ] {
        assert_eq!(PolicyText::parse(text.as_bytes()), Err(defect), "{text:?}");
        let read = PolicyText::parse_tolerant(text.as_bytes()).unwrap();
        assert_eq!((read.mode(), read.max_age()), (good.mode(), good.max_age()));
        assert!(read.mx().eq(good.mx()), "{text:?}");
        assert_eq!(read.defect(), Some(defect), "{text:?}");
        // In a mode that asks less it stays invalid.
        for mode in ["testing", "none"] {
            let text = text.replace("enforce", mode);
            assert_eq!(PolicyText::parse_tolerant(text.as_bytes()), Err(defect), "{text:?}");
        }
    }
    assert_eq!(PolicyText::parse_tolerant(GOOD.as_bytes()).map(|it| it.defect()), Ok(None));
}

#[test]
fn enforced_policy_permits_a_host_with_an_underscore() {
    let text = GOOD.replace("*.example.net", "_dc-mx.5c2b.example.net");
    let policy = PolicyText::parse_tolerant(text.as_bytes()).unwrap();
    assert!(policy.permits(&domain("mail.example.com")));
    assert!(policy.permits(&domain("_dc-mx.5c2b.example.net")));
    let defect = PolicyError::Mx { line: 4, error: DomainError::Character };
    assert_eq!(policy.defect(), Some(defect));
    assert_eq!(PolicyText::parse_tolerant(policy.to_string().as_bytes()).unwrap().mx().count(), 2);
}

#[test]
fn enforced_policy_with_a_fault_of_many_meanings_is_refused() {
    for text in [
        GOOD.replace("mail.example.com", "https://mail.example.com"),
        GOOD.replace("mail.example.com", "mail.example.com.."),
        GOOD.replace("mail.example.com", ""),
        GOOD.replace("604800", "1 week"),
        GOOD.replace("enforce", "Enforce"),
        GOOD.replace(": ", "="),
        format!("{GOOD}<html>"),
        format!("\u{feff}{GOOD}"),
        GOOD.replace('\n', "\r"),
    ] {
        let strict = PolicyText::parse(text.as_bytes());
        assert!(strict.is_err(), "{text:?}");
        assert_eq!(PolicyText::parse_tolerant(text.as_bytes()), strict, "{text:?}");
    }
}

#[test]
fn malformed_report_uri_beside_a_good_one_is_left_out() {
    let good = || vec![Rua::Mailto("a@a.example".to_owned())];
    // P04: no scheme; P02: `!` must be percent-encoded (RFC 8460, section 3).
    for other in ["b@b.example", "mailto:b@b.example!10m", "a", ""] {
        let record = format!("v=TLSRPTv1;rua=mailto:a@a.example,{other}");
        assert_eq!(reports(&record), Ok((good(), 1)), "{record}");
    }
    let alone = reports("v=TLSRPTv1;rua=mailto:b@b.example!10m");
    assert_eq!(alone, Err(TxtError::Value { field: 1, name: "rua" }));
    assert_eq!(reports("v=TLSRPTv1;rua=mailto:a@a.example "), Ok((good(), 0)));
}

#[test]
fn the_lifetime_is_cut_to_the_maximum() {
    let age = |text: &str| {
        PolicyText::parse(GOOD.replace("604800", text).as_bytes()).unwrap().max_age().as_secs()
    };
    assert_eq!(age("0"), 0);
    assert_eq!(age("31557600"), 31_557_600);
    assert_eq!(age("31557601"), 31_557_600);
    assert_eq!(age("9999999999"), 31_557_600);
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let policy = PolicyText::parse(GOOD.as_bytes()).unwrap();
    for (host, expected) in [
        ("mail.example.com", true),
        ("MAIL.Example.COM.", true),
        ("example.com", false),
        ("a.mail.example.com", false),
        ("a.example.net", true),
        ("A.EXAMPLE.NET.", true),
        ("example.net", false),
        ("a.b.example.net", false),
        ("aexample.net", false),
        ("a.example.net.evil.test", false),
    ] {
        assert_eq!(policy.permits(&domain(host)), expected, "{host}");
    }
}

#[test]
fn a_response_counts_only_with_status_200_and_text_plain() {
    let of =
        |status, content_type, body: &[u8]| PolicyText::from_response(status, content_type, body);
    assert!(of(200, Some("Text/Plain; charset=x"), GOOD.as_bytes()).is_ok());
    for status in [0, 100, 201, 203, 206, 301, 302, 304, 307, 308, 404, 500] {
        let response = of(status, Some("text/plain"), GOOD.as_bytes());
        assert_eq!(response, Err(FetchError::Status(status)));
    }
    for content_type in
        [None, Some(""), Some("text/html"), Some("text/plain, text/html"), Some("text/plain2")]
    {
        let response = of(200, content_type, GOOD.as_bytes());
        assert_eq!(response, Err(FetchError::ContentType), "{content_type:?}");
    }
    let large = vec![b'x'; MAX_BODY_LEN + 1];
    assert_eq!(of(200, Some("text/plain"), &large), Err(FetchError::TooLarge));
    let empty = of(200, Some("text/plain"), b"");
    assert_eq!(empty, Err(FetchError::Policy(PolicyError::Missing { field: "version" })));
    assert_eq!(FetchError::Certificate.result_type(), Some(ResultType::StsWebpkiInvalid));
    assert_eq!(FetchError::Status(302).result_type(), Some(ResultType::StsPolicyFetchError));
    assert_eq!(empty.unwrap_err().result_type(), Some(ResultType::StsPolicyInvalid));
}

fn reports(record: &str) -> Result<(Vec<Rua>, usize), TxtError> {
    tlsrpt::TlsrptRecord::find(&[[record]])
        .map(|record| record.map_or((Vec::new(), 0), |r| (r.rua, r.unusable)))
}

#[test]
fn a_tlsrpt_record_says_where_reports_go() {
    let mailto = |address: &str| Rua::Mailto(address.to_owned());
    let https = |uri: &str| Rua::Https(uri.to_owned());
    for (record, rua, unusable) in [
        ("v=TLSRPTv1;rua=mailto:reports@example.com", vec![mailto("reports@example.com")], 0),
        (
            "v=TLSRPTv1; rua=https://r.example/v1?a=b#c ;",
            vec![https("https://r.example/v1?a=b#c")],
            0,
        ),
        (
            "v=TLSRPTv1;rua=HTTPS://[2001:db8::1]:8/,MailTo:a%2Bb@B.example?subject=x",
            vec![https("HTTPS://[2001:db8::1]:8/"), mailto("a+b@b.example")],
            0,
        ),
        (
            "v=TLSRPTv1;x=y;rua=mailto:a@a.example \t,\t mailto:b@b.example;rua=mailto:c@c.example",
            vec![mailto("a@a.example"), mailto("b@b.example"), mailto("c@c.example")],
            0,
        ),
        ("v=TLSRPTv1;rua=mailto:a@%5B192.0.2.1%5D", vec![mailto("a@[192.0.2.1]")], 0),
        // A URI, but no place to send anything to.
        ("v=TLSRPTv1;rua=ftp://a.example,mailto:a@a.example", vec![mailto("a@a.example")], 1),
        ("v=TLSRPTv1;rua=mailto:a%0d%0aDATA@a.example", vec![], 1),
        (
            "v=TLSRPTv1;rua=mailto:a%3E@a.example,mailto:@a.example,mailto:a,mailto:a%ff@a.example,mailto:a@192.0.2.1",
            vec![],
            5,
        ),
        ("v=TLSRPTv1;rua=https:a,https://,https:///x,https://:443/,https://u@/", vec![], 5),
        // Another port or host would be asked than the one that is meant.
        (
            "v=TLSRPTv1;rua=https://a.example:65536/,https://a.example:0/,https://a.example:x/",
            vec![],
            3,
        ),
        (
            "v=TLSRPTv1;rua=https://a%2eexample/,https://a..example/,https://u:p@a.example/",
            vec![],
            3,
        ),
        ("v=TLSRPTv2;rua=mailto:a@a.example", vec![], 0),
    ] {
        assert_eq!(reports(record), Ok((rua, unusable)), "{record:?}");
    }
    let value = Err(TxtError::Value { field: 1, name: "rua" });
    for rua in [
        "",
        ",",
        "a",
        ":a",
        "1a:b",
        "mailto:a!b@c.example",
        "mailto:%",
        "mailto:%g0",
        "a:b c",
        "a:b,",
        "a:b#c#d",
        "a:\u{fc}",
        "a:b\"",
    ] {
        assert_eq!(reports(&format!("v=TLSRPTv1;rua={rua}")), value, "{rua:?}");
    }
    assert_eq!(reports("v=TLSRPTv1"), Err(TxtError::Missing { name: "rua" }));
    assert_eq!(
        reports("v=TLSRPTv1;rua=a:b;x="),
        Err(TxtError::Value { field: 2, name: "extension" })
    );
    assert_eq!(reports("v=TLSRPTv1;rua=a:b;;"), Err(TxtError::Field { field: 2 }));
    let both = tlsrpt::TlsrptRecord::find(&[["v=TLSRPTv1;rua=a:b"], ["v=TLSRPTv1;rua=a:b"]]);
    assert_eq!(both, Err(TxtError::Several { count: 2 }));
}

#[test]
fn every_result_type_that_a_reason_has_is_in_the_registry() {
    let words: Vec<&str> = ResultType::ALL.iter().map(|result| result.as_str()).collect();
    for word in smtp_tls_policy::Reason::ALL.iter().filter_map(|reason| reason.tlsrpt()) {
        assert!(words.contains(&word), "{word}");
    }
}

proptest! {
    #[test]
    fn parsers_never_panic(text in "\\PC*|(v=STSv1|v=TLSRPTv1)[ ;=,:%@a-z/\\[\\]#.0-9]*", bytes: Vec<u8>) {
        for text in [text.as_bytes(), &bytes] {
            let _ = PolicyId::find(&[[text]]);
            let _ = tlsrpt::TlsrptRecord::find(&[[text]]);
            let _ = PolicyText::parse(text);
        }
    }

    #[test]
    fn policies_are_written_as_they_are_read(
        lines in proptest::collection::vec("(version:STSv1|mode: (none|testing|enforce)|max_age:\t[0-9]{1,10}|mx: (\\*\\.)?[a-zA-Z]{1,5}(\\.[a-z0-9]{1,3}){0,3}|x:[ a-z]{0,3}y)[ \t]{0,2}", 0..12),
        crlf: bool,
    ) {
        let text = format!("{}\nversion:STSv1\nmode:none\nmax_age:1", lines.join("\n"));
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        if let Ok(policy) = PolicyText::parse(text.trim_start().as_bytes()) {
            let written = policy.to_string();
            prop_assert_eq!(PolicyText::parse(written.as_bytes()), Ok(policy));
            prop_assert!(written.len() <= text.len());
        }
    }
}
