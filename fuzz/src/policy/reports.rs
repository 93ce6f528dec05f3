use smtp_tls_policy::tlsrpt::{MAX_COMPLAINTS, ReceivedReport};

/// Longest text of a report, in characters.
const MAX_TEXT: usize = 1024;

/// TLS reports from others, as JSON, compressed or in a mail: what is read can be shown, and reads
/// the same however it is wrapped.
pub fn reports(data: &[u8]) {
    let read = ReceivedReport::read(data);
    match &read {
        Ok(report) => check(report),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
    // A mail around a JSON text, and white space before it, change nothing.
    if data.trim_ascii_start().starts_with(b"{") {
        assert_eq!(ReceivedReport::read(&[b"\r\n\t ", data].concat()).ok(), read.clone().ok());
        let mail = [b"Content-Type: application/tlsrpt+json\r\n\r\n", data].concat();
        let enclosed = ReceivedReport::read(&mail);
        assert_eq!(enclosed.ok(), read.clone().ok(), "in a mail");
        let head = "Content-Type: multipart/report; boundary=\"=_b\"\r\n\r\n--=_b\r\n\
             Content-Type: text/plain\r\n\r\nA report.\r\n--=_b\r\n\
             Content-Type: application/tlsrpt+json\r\n\r\n";
        let parts = [head.as_bytes(), data, b"\r\n--=_b--\r\n"].concat();
        // A line of the text may be a boundary, which cuts it.
        let is_cut = data.windows(5).any(|octets| octets == b"--=_b");
        assert!(is_cut || ReceivedReport::read(&parts).ok() == read.ok(), "in a part");
    }
}

fn check(report: &ReceivedReport) {
    let ReceivedReport { organization, contact, id, begins, ends, policies, .. } = report;
    for text in [organization, contact, id, begins, ends] {
        assert!(is_text(text), "{text:?}");
    }
    for policy in policies {
        assert!(is_text(&policy.kind) && is_text(&policy.domain), "{policy:?}");
        assert!(policy.strings.iter().chain(&policy.mx).all(|text| is_text(text)), "{policy:?}");
        for failure in &policy.failures {
            let texts = [&failure.mx, &failure.helo, &failure.information, &failure.reason];
            assert!(is_text(&failure.result), "{failure:?}");
            assert!(texts.into_iter().flatten().all(|text| is_text(text)), "{failure:?}");
        }
    }
    let complaints = report.complaints();
    assert!(complaints.len() <= MAX_COMPLAINTS);
    for complaint in &complaints {
        let sentence = complaint.to_string();
        assert!(!sentence.is_empty() && !sentence.contains(char::is_control), "{sentence:?}");
    }
    // A report without failures is no reason to complain.
    let failed = policies.iter().any(|it| it.failed > 0 || !it.failures.is_empty());
    assert!(failed || complaints.is_empty(), "{complaints:?}");
}

fn is_text(text: &str) -> bool {
    !text.contains(char::is_control) && text.chars().count() <= MAX_TEXT
}
