//! Reports on their way out: file, mail and datagram, each read again.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use pki_types::UnixTime;
use serde_json::{Value, json};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::sts::{CachedPolicy, PolicyId, PolicyText, StsAnswer};
use smtp_tls_policy::tlsrpt::{
    Aggregate, AppliedPolicy, DailyReport, ReceivedReport, ReportId, ReportedSession, Reporting,
    Submitter, TlsrptRecord, datagram,
};
use smtp_tls_policy::trace::tls_required_no;
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types};

/// 2016-04-01T12:00:00Z
const NOON: u64 = 1_459_512_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// One connection to a host that did not offer STARTTLS, under an MTA-STS policy.
fn session() -> ReportedSession {
    let (domain, host) = (Host::parse("y.example").unwrap(), Host::parse("mx.y.example").unwrap());
    let text = b"version: STSv1\nmode: testing\nmx: *.y.example\nmax_age: 86400\n";
    let policy = PolicyText::parse(text).unwrap();
    let id = PolicyId::parse("1").unwrap();
    let cached = CachedPolicy::new(Domain::parse("y.example").unwrap(), id, at(NOON), policy);
    let sts = StsAnswer { policy: Some(cached), trouble: None };
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let mut facts = Facts::new(&connector, &domain, &host, HostOrigin::Mx);
    facts.sts = &sts;
    let (sending, receiving) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    let (reporting, plan) = (Reporting::of(&facts), plan(&facts).unwrap());
    let reason = Reason::StarttlsNotOffered;
    reporting.no_tls(&plan, reason, None, Some(sending), receiving).remove(0)
}

fn report() -> DailyReport {
    let mut aggregate = Aggregate::new();
    for _ in 0..3 {
        aggregate.record(&session(), at(NOON));
    }
    aggregate.finished(at(NOON + 24 * 3600)).remove(0)
}

fn submitter() -> Submitter {
    Submitter::new("Company \"X\" <\u{e9}>\r\nBcc: x", "tls-reports@x.example").unwrap()
}

fn id() -> ReportId {
    ReportId::parse("5065427c-23d3-47ca-b6e0-946ea0e8c4be").unwrap()
}

#[test]
fn file_is_the_json_of_the_report_compressed() {
    let mut text = String::new();
    let file = report().gzip(&submitter(), &id()).unwrap();
    GzDecoder::new(&file[..]).read_to_string(&mut text).unwrap();
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read, serde_json::to_value(report().json(&submitter(), &id())).unwrap());
}

#[test]
fn mail_has_the_fields_of_the_rfc_and_is_read_again() {
    let mail = report().mail(&submitter(), &id(), "tls@y.example", at(NOON + 100_000)).unwrap();
    let text = String::from_utf8(mail.clone()).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        head.split("\r\n").collect::<Vec<_>>(),
        [
            "From: tls-reports@x.example",
            "To: tls@y.example",
            "Date: Sat, 2 Apr 2016 15:46:40 +0000",
            "Message-ID: <5065427c-23d3-47ca-b6e0-946ea0e8c4be.tlsrpt@x.example>",
            "Subject: Report Domain: y.example",
            " Submitter: x.example",
            " Report-ID: <5065427c-23d3-47ca-b6e0-946ea0e8c4be@x.example>",
            "TLS-Report-Domain: y.example",
            "TLS-Report-Submitter: x.example",
            "TLS-Required: No",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=\"tlsrpt\";",
            " boundary=\"=_tlsrpt_5065427c-23d3-47ca-b6e0-946ea0e8c4be\"",
        ]
    );
    assert!(text.contains(
        "filename=\"x.example!y.example!1459468800!1459555199!5065427c23d347cab6e0946ea0e8c4be.json.gz\""
    ));
    // Every line ends as mail wants it, and the part in base64 is short of line.
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    assert!(text.lines().all(|line| line.len() <= 998) && text.is_ascii());
    // Neither DANE nor MTA-STS keeps it from the domain that it is about (RFC 8460, section 3).
    assert!(tls_required_no(&mail));

    let read = ReceivedReport::read(&mail).unwrap();
    assert_eq!(read, ReceivedReport::read(&report().gzip(&submitter(), &id()).unwrap()).unwrap());
    assert_eq!((read.contact.as_str(), read.id.as_str()), ("tls-reports@x.example", id().as_str()));
    assert_eq!(
        read.complaints()[0].to_string(),
        "y.example: 3 sessions failed at mx.y.example under the MTA-STS policy in mode testing: \
         the host did not offer STARTTLS (starttls-not-supported), starttls-not-offered. Turn \
         STARTTLS on for this host; if it is on, something between the two removes it."
    );
}

#[test]
fn names_of_the_longest_kind_keep_the_lines_within_the_limit() {
    let label = "l".repeat(63);
    let long = format!("{label}.{label}.{label}.{}", "l".repeat(61));
    let submitter = Submitter::new("X", &format!("r@{long}")).unwrap();
    let id = ReportId::parse(&"i".repeat(60)).unwrap();
    let mail = report().mail(&submitter, &id, &format!("r@{long}"), at(NOON)).unwrap();
    assert!(mail.split(|octet| *octet == b'\n').all(|line| line.len() <= 998));
    assert_eq!(ReceivedReport::read(&mail).unwrap().policies.len(), 1);
}

#[test]
fn contacts_and_ids_that_would_break_the_mail_are_refused() {
    for contact in ["x", "x@[192.0.2.1]", "a b@x.example", "a@x.example\r\nBcc: b@c.example", "@x"]
    {
        assert!(Submitter::new("X", contact).is_none(), "{contact}");
    }
    for id in ["", "a b", "a@b", "a\r\nb", "a=_b", &"i".repeat(61)] {
        assert!(ReportId::parse(id).is_none(), "{id}");
    }
}

/// The form of libtlsrpt 0.5, which tlsrpt-reporter reads.
#[test]
fn datagram_has_the_form_of_libtlsrpt() {
    let text = "v=TLSRPTv1; rua=mailto:tls@y.example";
    let record =
        TlsrptRecord::find(&[["v=TLSRPTv1; rua=", "mailto:tls@y.example"]]).unwrap().unwrap();
    assert_eq!(record.text, text);
    let domain = Domain::parse("y.example").unwrap();
    let mut good = session();
    good.policy = AppliedPolicy::NotFound { domain: domain.clone() };
    (good.succeeded, good.failures) = (true, Vec::new());
    let sent = datagram(&domain, &record, &[session(), good]).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&sent).unwrap(),
        json!({
            "d": "y.example",
            "pr": text,
            "policies": [{
                "policy-type": 2,
                "policy-domain": "y.example",
                "policy-string": ["version: STSv1", "mode: testing", "mx: *.y.example", "max_age: 86400"],
                "mx-host": ["*.y.example"],
                "failure-details": [{
                    "c": 201,
                    "s": "192.0.2.1",
                    "n": "mx.y.example",
                    "r": "2001:db8::1",
                    "f": "starttls-not-offered"
                }],
                "t": 1,
                "f": 1
            }, {
                "policy-type": 9,
                "policy-domain": "y.example",
                "t": 0,
                "f": 0
            }]
        })
    );
    assert_eq!(datagram(&domain, &record, &[]), None);
}
