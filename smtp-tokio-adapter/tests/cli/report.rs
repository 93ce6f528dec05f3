//! `smtp-tls report`.

use crate::program::{Folder, smtp_tls, smtp_tls_with};

pub(crate) const REPORT: &str = r#"{
  "organization-name": "Company-X",
  "date-range": {
    "start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"
  },
  "contact-info": "sts-reporting@company-x.example",
  "report-id": "5065427c",
  "policies": [{
    "policy": {
      "policy-type": "sts",
      "policy-string": ["version: STSv1", "mode: enforce", "max_age: 86400"],
      "policy-domain": "company-y.example"
    },
    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 100},
    "failure-details": [{
      "result-type": "certificate-expired",
      "receiving-mx-hostname": "mx1.company-y.example",
      "failed-session-count": 100
    }]
  }]
}"#;

#[test]
fn a_report_is_told_in_words_with_counts_and_what_to_do() {
    let folder = Folder::new();
    let file = folder.file("report.json", REPORT);
    let ran = smtp_tls(&["report", &file]);
    assert_eq!((ran.status, &*ran.stderr), (1, ""), "{ran:?}");
    let text = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Company-X, 2016-04-01T00:00:00Z to 2016-04-01T23:59:59Z",
        "5326 succeeded, 100 failed",
        "100 sessions failed at mx1.company-y.example under the MTA-STS policy in mode enforce",
        "Renew the certificate of this host.",
    ] {
        assert!(text.contains(part), "{part}: {ran:?}");
    }
    let ran = smtp_tls_with(&["report", "-", "--json"], REPORT.as_bytes());
    let json = ran.json();
    assert_eq!((&json["successful"], &json["failed"]), (&5326.into(), &100.into()));
    assert_eq!(json["complaints"].as_array().unwrap().len(), 1);
}

#[test]
fn a_report_without_failures_ends_with_0() {
    let good = REPORT
        .replace("\"total-failure-session-count\": 100", "\"total-failure-session-count\": 0");
    let start = good.find("\"failure-details\"").unwrap();
    let good = format!("{}\"x\": 0}}]}}", &good[..start]);
    let ran = smtp_tls_with(&["report", "-"], good.as_bytes());
    assert_eq!(ran.status, 0, "{ran:?}");
}

#[test]
fn files_that_are_no_reports_end_with_5_and_the_others_are_told() {
    let folder = Folder::new();
    let good = folder.file("report.json", REPORT);
    let bad = folder.file("bad", "{}");
    let ran = smtp_tls(&["report", &bad, &good, "/nonexistent/report"]);
    assert_eq!(ran.status, 5, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
    assert!(ran.stderr.contains("bad: ") && ran.stderr.contains("No such file"), "{ran:?}");
    assert!(ran.stdout.contains("Company-X"), "{ran:?}");
    smtp_tls_with(&["report", "-"], &[0x1f, 0x8b, 8, 0]).fails(5, "gzip");
    smtp_tls_with(&["report", "-"], b"").fails(5, "report");
}

/// The result of each report of a file.
fn each(contents: impl AsRef<[u8]>) -> Vec<(String, u64)> {
    let folder = Folder::new();
    let file = folder.file("reports", contents);
    let ran = smtp_tls(&["report", &file, "--json"]);
    let of = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let place = json["file"].as_str().unwrap().strip_prefix(&file).unwrap().to_owned();
        (place, json["failed"].as_u64().unwrap())
    };
    assert_eq!(ran.stderr, "", "{ran:?}");
    ran.stdout.lines().map(of).collect()
}

#[test]
fn a_file_of_several_reports_tells_each_of_them() {
    let report = |failed: u64| {
        format!(
            r#"{{"policies": [{{"policy": {{"policy-type": "sts", "policy-domain": "a.example"}},
                "summary": {{"total-failure-session-count": {failed}}}}}]}}"#
        )
    };
    let mail = |failed: u64| {
        let json = report(failed);
        format!(
            "Subject: r\nMIME-Version: 1.0\nContent-Type: application/tlsrpt+json\n\n{json}\n\n"
        )
    };
    let from = "From a@b.example Tue Mar  3 11:08:33 2026\n";
    let both = [(", report 1".to_owned(), 1), (", report 2".to_owned(), 2)];
    let (one, two) = (report(1), report(2));
    assert_eq!(each(&one), [(String::new(), 1)]);
    assert_eq!(each(format!("[{one}, {two}]")), both);
    assert_eq!(each(format!("\u{feff}{one}\n{two}\n")), both);
    assert_eq!(each(format!("{from}{}{from}{}", mail(1), mail(2))), both);
    assert_eq!(each(format!("{from}{}", mail(1))), [(String::new(), 1)]);
    // Archives compress whatever they keep.
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(each(gzip(&one)), [(String::new(), 1)]);
    assert_eq!(each(gzip(&mail(1))), [(String::new(), 1)]);
    assert_eq!(each(gzip(&format!("[{one}, {two}]"))), both);
    assert_eq!(each(gzip(&format!("{from}{}{from}{}", mail(1), mail(2)))), both);
    // As PowerShell writes text.
    let utf_16 = |text: &str| -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    assert_eq!(each(utf_16(&one)), [(String::new(), 1)]);
    assert_eq!(each(utf_16(&format!("[{one}, {two}]"))), both);
    // RFC 1952, section 2.2: a file may have several members.
    assert_eq!(each([gzip(&one), gzip(&two)].concat()), both);
    // One that is broken does not hide the others.
    let folder = Folder::new();
    let file = folder.file("reports", format!("{from}{}{from}x\n\n{from}{}", mail(1), mail(2)));
    let ran = smtp_tls(&["report", &file, "--json"]);
    assert_eq!((ran.status, ran.stdout.lines().count()), (5, 2), "{ran:?}");
    assert!(ran.stderr.contains("reports, report 2: "), "{ran:?}");
}

/// As reporters send them: with and without a multipart, in each encoding.
#[test]
fn a_report_in_a_mail_is_read_in_each_encoding() {
    let json = REPORT.replace('\n', "");
    let quoted = json.replace('=', "=3D").replace(", ", ",=\r\n ");
    let base64 = base64(json.as_bytes());
    for (encoding, body) in [("8bit", &json), ("quoted-printable", &quoted), ("BASE64", &base64)] {
        let part = format!(
            "Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: {encoding}\r\n\
             \r\n{body}\r\n"
        );
        let alone = format!("Subject: r\r\nMIME-Version: 1.0\r\n{part}");
        let multipart = format!(
            "Subject: r\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report;\r\n\
             \treport-type=tlsrpt; boundary=\"x y\"\r\n\r\n--x y\r\n\r\nwords\r\n--x y\r\n{part}"
        );
        for mail in [&alone, &format!("{multipart}--x y--\r\n"), &multipart] {
            assert_eq!(each(mail), [(String::new(), 100)], "{mail}");
        }
    }
}

/// RFC 4648, section 4.
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, three) in octets.chunks(3).enumerate() {
        if index > 0 && index % 19 == 0 {
            text.push_str("\r\n");
        }
        let bits = three.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..4 {
            text.push(match digit <= three.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]),
                false => '=',
            });
        }
    }
    text
}

#[test]
fn fields_that_a_report_does_not_have_are_said_not_to_be_stated() {
    let ran = smtp_tls_with(&["report", "-"], br#"{"policies": []}"#);
    assert!(ran.stdout.starts_with("organisation not stated\n"), "{ran:?}");
    assert_eq!(ran.status, 0, "{ran:?}");
    let dates = br#"{"date-range": {"start-datetime": "2016-04-01"}, "policies": []}"#;
    let ran = smtp_tls_with(&["report", "-"], dates);
    let title = "organisation not stated, 2016-04-01 to not stated\n";
    assert!(ran.stdout.starts_with(title), "{ran:?}");
}

#[test]
fn a_file_of_another_kind_is_named_with_what_to_do() {
    let folder = Folder::new();
    for (contents, why) in [
        (&b"PK\x03\x04\x14\0"[..], "ZIP archive; unpack it first"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\xff\xfe{", "text in UTF-16"),
        (b"\xff\xfe{\0", "no TLS report"),
        (b"[", "neither JSON"),
        (b"[]", "neither JSON"),
        (b"", "neither JSON"),
    ] {
        let file = folder.file("report", contents);
        smtp_tls(&["report", &file]).fails(5, why);
    }
}
