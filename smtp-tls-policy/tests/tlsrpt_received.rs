//! TLS reports that others send: the example of RFC 8460, appendix B, what reporters do otherwise,
//! and what is hostile.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use smtp_tls_policy::ResultType;
use smtp_tls_policy::tlsrpt::{
    MAX_COMPLAINTS, MAX_ENCLOSED_LEN, MAX_REPORT_LEN, ReceivedReport, ReportError,
};

/// RFC 8460, appendix B, with `mx-host` as a string.
const EXAMPLE: &str = r#"{
    "organization-name": "Company-X",
    "date-range": {
        "start-datetime": "2016-04-01T00:00:00Z",
        "end-datetime": "2016-04-01T23:59:59Z"
    },
    "contact-info": "sts-reporting@company-x.example",
    "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
    "policies": [{
        "policy": {
            "policy-type": "sts",
            "policy-string": ["version: STSv1", "mode: testing",
                "mx: *.mail.company-y.example", "max_age: 86400"],
            "policy-domain": "company-y.example",
            "mx-host": "*.mail.company-y.example"
        },
        "summary": {
            "total-successful-session-count": 5326,
            "total-failure-session-count": 303
        },
        "failure-details": [{
            "result-type": "certificate-expired",
            "sending-mta-ip": "2001:db8:abcd:0012::1",
            "receiving-mx-hostname": "mx1.mail.company-y.example",
            "failed-session-count": 100
        }, {
            "result-type": "starttls-not-supported",
            "sending-mta-ip": "2001:db8:abcd:0013::1",
            "receiving-mx-hostname": "mx2.mail.company-y.example",
            "receiving-ip": "203.0.113.56",
            "failed-session-count": 200,
            "additional-information": "https://reports.company-x.example/report_info?id=5065427c"
        }, {
            "result-type": "validation-failure",
            "sending-mta-ip": "198.51.100.62",
            "receiving-ip": "203.0.113.58",
            "receiving-mx-hostname": "mx-backup.mail.company-y.example",
            "failed-session-count": 3,
            "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
        }]
    }]
}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A mail with the report in a part of this type.
fn mail(content_type: &str, name: &str, encoding: &str, body: &str) -> String {
    format!(
        "From: reports@company-x.example\r\nTo: tls@company-y.example\r\n\
         Subject: Report Domain: company-y.example\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"=_b\"\r\n\r\n\
         --=_b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n\
         --=_b\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{body}\r\n--=_b--\r\n"
    )
}

fn read(octets: impl AsRef<[u8]>) -> ReceivedReport {
    ReceivedReport::read(octets.as_ref()).unwrap()
}

fn sentences(report: &ReceivedReport) -> Vec<String> {
    report.complaints().iter().map(ToString::to_string).collect()
}

#[test]
fn example_of_the_rfc_gives_a_sentence_for_each_failure() {
    let report = read(EXAMPLE);
    assert_eq!((report.organization.as_str(), report.policies.len()), ("Company-X", 1));
    assert_eq!(
        (report.begins.as_str(), report.ends.as_str()),
        ("2016-04-01T00:00:00Z", "2016-04-01T23:59:59Z")
    );
    let policy = &report.policies[0];
    assert_eq!((policy.successful, policy.failed, &*policy.kind), (5326, 303, "sts"));
    assert_eq!(policy.mx, ["*.mail.company-y.example"]);
    assert_eq!(policy.failures[1].receiving, Some("203.0.113.56".parse().unwrap()));
    assert_eq!(
        sentences(&report),
        [
            "company-y.example: 200 sessions failed at mx2.mail.company-y.example under the MTA-STS \
             policy in mode testing: the host did not offer STARTTLS (starttls-not-supported). Turn \
             STARTTLS on for this host; if it is on, something between the two removes it.",
            "company-y.example: 100 sessions failed at mx1.mail.company-y.example under the MTA-STS \
             policy in mode testing: the certificate has expired (certificate-expired). Renew the \
             certificate of this host.",
            "company-y.example: 3 sessions failed at mx-backup.mail.company-y.example under the \
             MTA-STS policy in mode testing: TLS failed (validation-failure), \
             X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED. The reason of the reporter says more, if it \
             gave one.",
        ]
    );
}

#[test]
fn report_reads_the_same_as_json_gzip_and_mail() {
    let expected = read(EXAMPLE);
    let packed = gzip(EXAMPLE.as_bytes());
    let text = STANDARD.encode(&packed);
    let folded: String = text
        .as_bytes()
        .chunks(76)
        .flat_map(|line| [line, b"\r\n"].concat())
        .map(char::from)
        .collect();
    assert_eq!(read(&packed), expected);
    assert_eq!(read(format!("\u{feff}{EXAMPLE}")), expected);
    let quoted = EXAMPLE.replace('=', "=3D").replace('\n', "\r\n");
    for (content_type, name, encoding, body) in [
        ("application/tlsrpt+gzip", "a!b!1!2.json.gz", "base64", &*folded),
        ("application/tlsrpt+json", "a!b!1!2.json", "7bit", EXAMPLE),
        ("application/tlsrpt+json", "a!b!1!2.json", "base64", &*STANDARD.encode(EXAMPLE)),
        ("application/tlsrpt+json", "a!b!1!2.json", "quoted-printable", &*quoted),
        ("application/gzip", "a!b!1!2.json.gz", "base64", &*folded),
        ("application/octet-stream", "a!b!1!2.json.gz", "base64", &*folded),
        ("application/json", "a!b!1!2.json", "7bit", EXAMPLE),
    ] {
        assert_eq!(
            read(mail(content_type, name, encoding, body)),
            expected,
            "{content_type} {encoding}"
        );
    }
}

#[test]
fn report_that_is_the_whole_mail_is_read() {
    let head =
        "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: application/tlsrpt+json\r\n\r\n";
    assert_eq!(read(format!("{head}{EXAMPLE}")), read(EXAMPLE));
}

#[test]
fn failures_of_several_senders_at_one_host_are_one_complaint() {
    let json = r#"{"policies": [{"policy": {"policy-type": "tlsa", "policy-domain": "mx.example"},
        "summary": {"total-successful-session-count": 1, "total-failure-session-count": 5},
        "failure-details": [
            {"result-type": "tlsa-invalid", "sending-mta-ip": "192.0.2.1",
             "receiving-mx-hostname": "mx.example", "failed-session-count": 2},
            {"result-type": "tlsa-invalid", "sending-mta-ip": "192.0.2.2",
             "receiving-mx-hostname": "mx.example", "failed-session-count": 1}
        ]}]}"#;
    let complaints = read(json).complaints();
    let counts: Vec<_> = complaints.iter().map(|it| (it.sessions, it.result_type())).collect();
    assert_eq!(counts, [(3, Some(ResultType::TlsaInvalid)), (2, None)]);
    assert_eq!(
        complaints[1].to_string(),
        "mx.example: 2 sessions failed under the TLSA records (DANE): the report gives no cause. \
         Look into the log of this host for the time of the report."
    );
}

#[test]
fn every_result_type_has_a_sentence_of_its_own() {
    let mut seen = std::collections::HashSet::new();
    for result in ResultType::ALL {
        let json = EXAMPLE.replace("certificate-expired", result.as_str());
        let complaint = read(json).complaints().into_iter().find(|it| it.sessions == 100).unwrap();
        assert_eq!(complaint.result_type(), Some(*result));
        assert!(seen.insert(complaint.to_string()), "{complaint}");
    }
}

#[test]
fn report_without_failures_has_no_complaint() {
    let json = r#"{"organization-name": "X", "report-id": 7, "unknown": [{}],
        "policies": [{"policy": {"policy-type": "no-policy-found", "policy-domain": "a.example"},
        "summary": {"total-successful-session-count": "12", "total-failure-session-count": null},
        "failure-details": null}]}"#;
    let report = read(json);
    assert_eq!((report.id.as_str(), report.policies[0].successful), ("7", 12));
    assert!(report.complaints().is_empty());
}

#[test]
fn policy_as_one_string_is_read_as_its_lines() {
    let json = EXAMPLE.replace(
        r#"["version: STSv1", "mode: testing",
                "mx: *.mail.company-y.example", "max_age: 86400"]"#,
        r#""version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\n""#,
    );
    let report = read(json);
    assert_eq!(report.policies[0].strings, ["version: STSv1", "mode: enforce", "max_age: 86400"]);
    assert_eq!(report.complaints()[0].mode.as_deref(), Some("enforce"));
}

#[test]
fn unknown_types_are_kept_as_they_are() {
    let json = EXAMPLE.replace("\"sts\"", "\"dnssec\"").replace("certificate-expired", "bad-moon");
    let report = read(json);
    assert_eq!(report.policies[0].kind, "dnssec");
    assert!(sentences(&report)[1].contains("under a policy of type dnssec: bad-moon."));
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let json = EXAMPLE
        .replace("Company-X", r"\u001b[2J\u202eevil\n\u0085")
        .replace("X509_V_ERR_PROXY", &r"\u001b]0;x\u0007".repeat(500));
    let report = read(json);
    let shown = format!("{} {}", report.organization, sentences(&report).join(" "));
    assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
    assert_eq!(report.policies[0].failures[2].reason.as_ref().unwrap().chars().count(), 1024);
}

#[test]
fn bomb_of_gzip_stops_at_the_limit() {
    let bomb = gzip(&vec![b' '; 256 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(ReceivedReport::read(&bomb), Err(ReportError::TooLarge));
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let details = r#"{"result-type":"x"},"#.repeat(200_000);
    let json = format!(r#"{{"policies":[{{"failure-details":[{details}{{}}]}}]}}"#);
    assert!(json.len() < MAX_REPORT_LEN);
    assert_eq!(ReceivedReport::read(json.as_bytes()), Err(ReportError::TooMany));
}

#[test]
fn damaged_and_foreign_inputs_have_errors_of_their_own() {
    let packed = gzip(EXAMPLE.as_bytes());
    let mut changed = packed.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    for damaged in [&packed[..packed.len() / 2], &packed[..12], &packed[..2], &changed] {
        assert_eq!(ReceivedReport::read(damaged), Err(ReportError::Gzip));
    }
    for foreign in ["", "Subject: hello\r\n\r\nHello.\r\n", "\0\0\0", "[1]"] {
        assert_eq!(ReceivedReport::read(foreign.as_bytes()), Err(ReportError::NoReport));
    }
    let long = vec![b' '; MAX_ENCLOSED_LEN + 1];
    assert_eq!(ReceivedReport::read(&long), Err(ReportError::TooLong));
    let long = format!("{{{}}}", " ".repeat(MAX_REPORT_LEN));
    assert_eq!(ReceivedReport::read(long.as_bytes()), Err(ReportError::TooLarge));
    for text in ["{", "{}", r#"{"policies": 1}"#, r#"{"policies": [{}]}"#, &EXAMPLE[..500]] {
        let error = ReceivedReport::read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, ReportError::Json(_)), "{error}");
    }
    let deep = "[".repeat(100_000);
    let error = ReceivedReport::read(format!("{{\"x\": {deep}").as_bytes()).unwrap_err();
    assert!(matches!(error, ReportError::Json(_)), "{error}");
}

#[test]
fn mail_of_messages_inside_messages_and_of_countless_parts_has_no_report() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(100_000) + "a: b\n\nx";
    let digest = "Content-Type: multipart/digest; boundary=a\n\n--a\n\n".repeat(100_000);
    let parts =
        format!("Content-Type: multipart/mixed; boundary=a\n\n{}", "--a\n\n".repeat(1_000_000));
    for mail in [nested, digest, parts] {
        let reader = std::thread::Builder::new().stack_size(128 << 10);
        let error = reader.spawn(move || ReceivedReport::read(mail.as_bytes()).unwrap_err());
        assert_eq!(error.unwrap().join().unwrap(), ReportError::NoReport);
    }
}

/// A text that is there once is not copied for each of countless failures.
#[test]
fn report_with_countless_kinds_of_failures_has_the_most_frequent_complaints() {
    let failures: Vec<String> = (1..=50_000)
        .map(|at| format!(r#"{{"result-type":"x{at}","failed-session-count":{at}}}"#))
        .collect();
    let domain = "d".repeat(4_000);
    let report = read(format!(
        r#"{{"organization-name":"o","report-id":"i","policies":[{{"policy":{{"policy-type":"sts","policy-domain":"{domain}"}},"summary":{{"total-successful-session-count":0,"total-failure-session-count":0}},"failure-details":[{}]}}]}}"#,
        failures.join(",")
    ));
    let complaints = report.complaints();
    assert_eq!(complaints.len(), MAX_COMPLAINTS);
    assert_eq!((complaints[0].sessions, complaints[999].sessions), (50_000, 49_001));
}

/// `EXAMPLE` with each pair of texts replaced.
fn changed(pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn values_of_other_json_types_with_one_meaning_are_read() {
    let expected = read(EXAMPLE);
    for (from, to) in [
        ("5326", "5326.0"),
        ("5326", "5.326e3"),
        ("5326", "\" 5326 \""),
        (
            "\"sending-mta-ip\": \"198.51.100.62\",",
            "\"sending-mta-ip\": \"198.51.100.62\", \"receiving-mx-helo\": null,",
        ),
        (
            "\"policy-domain\"",
            "\"later-field\": {\"a\": [[{}, -1.5e300, true]]}, \"policy-domain\"",
        ),
    ] {
        assert_eq!(read(changed(&[(from, to)])), expected, "{to}");
    }
    for (value, id) in [("true", "true"), ("-7", "-7"), ("1.5", "1.5"), ("null", ""), ("7", "7")] {
        let quoted = "\"5065427c-23d3-47ca-b6e0-946ea0e8c4be\"";
        assert_eq!(read(changed(&[(quoted, value)])).id, id);
    }
    let nulls = r#"{"date-range": null, "policies": [{"policy": {"policy-type": "sts",
        "policy-string": null, "policy-domain": "a.example", "mx-host": null},
        "summary": null, "failure-details": null}]}"#;
    let policy = &read(nulls).policies[0];
    assert_eq!((policy.successful, policy.failed, policy.failures.len()), (0, 0, 0));
}

#[test]
fn counts_that_are_no_whole_numbers_and_fields_that_come_twice_are_refused() {
    for (from, to) in [
        ("5326", "5326.5"),
        ("5326", "-1"),
        ("5326", "18446744073709551616"),
        ("5326", "1e30"),
        ("5326", "1e999"),
        ("5326", "\"many\""),
        ("5326", "[5326]"),
        ("\"report-id\"", "\"report-id\": \"1\", \"report-id\""),
        ("\"policy\": {", "\"policy\": [["),
    ] {
        let error = ReceivedReport::read(changed(&[(from, to)]).as_bytes()).unwrap_err();
        assert!(matches!(error, ReportError::Json(_)), "{to}: {error}");
    }
}

#[test]
fn report_in_a_forwarded_message_or_an_odd_part_is_read() {
    let expected = read(EXAMPLE);
    let packed = STANDARD.encode(gzip(EXAMPLE.as_bytes()));
    let plain = mail("application/tlsrpt+gzip", "a!b!1!2.json.gz", "base64", &packed);
    let forwarded = format!(
        "From: a@b.example\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\r\nSee below.\r\n\
         --outer\r\nContent-Type: message/rfc822\r\n\r\n{plain}\r\n--outer--\r\n"
    );
    let (one, two) = EXAMPLE.split_at(700);
    let members = [gzip(one.as_bytes()), gzip(two.as_bytes())].concat();
    let members = STANDARD.encode(members);
    for message in [
        forwarded.clone(),
        format!("Content-Type: message/rfc822\r\n\r\n{forwarded}"),
        mail("Application/TLSRPT+GZIP", "x", "BASE64", &packed),
        mail("application/octet-stream", "A!B!1!2.JSON.GZ", "base64", &packed),
        mail("application/tlsrpt+gzip", "a.json.gz", "base64", &members),
        mail("application/tlsrpt+json; charset=utf-8", "a.json", "binary", EXAMPLE),
        plain.replace("\r\n", "\n"),
        // The file is not what its type says.
        mail("application/tlsrpt+json", "a.json", "base64", &packed),
        mail("application/tlsrpt+gzip", "a.json.gz", "8bit", EXAMPLE),
    ] {
        assert_eq!(read(&message), expected, "{message}");
    }
    let binary = mail("application/tlsrpt+gzip", "a.json.gz", "binary", "HERE");
    let (before, after) = binary.split_once("HERE").unwrap();
    let packed = gzip(EXAMPLE.as_bytes());
    assert_eq!(read([before.as_bytes(), &packed, after.as_bytes()].concat()), expected);
}
