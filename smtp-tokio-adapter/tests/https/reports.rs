//! TLS reports by POST (RFC 8460, section 5.4).

use std::net::IpAddr;
use std::time::Duration;

use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::{Domain, HttpUrlError};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::tls_reports::{PostError, ReportClient};

use crate::common::{Pki, provider};
use crate::policies::zone;
use crate::web::{Answer, Tls, Web, response};

const HOST: &str = "reports.test.example";

/// A client that connects to global addresses alone.
fn outward(pki: &Pki) -> ReportClient {
    ReportClient::new(provider(), pki.trust()).with_time_limit(Duration::from_secs(10))
}

fn client(pki: &Pki) -> ReportClient {
    outward(pki).with_any_address()
}

fn uri(web: &Web) -> String {
    format!("https://{HOST}:{}/v1/tlsrpt?a=b", web.port)
}

#[tokio::test]
async fn report_is_posted_with_its_media_type() {
    let pki = Pki::new();
    for status in ["200 OK", "201 Created", "204 No Content"] {
        let web = Web::good(&pki, HOST, Answer::Keeps(response(status, None, ""))).await;
        let client = client(&pki).with_certificates();
        client.post(&uri(&web), "the report", &zone(HOST)).await.unwrap();
        let [request] = &web.requests()[..] else { panic!("{:?}", web.requests()) };
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("POST /v1/tlsrpt?a=b HTTP/1.1"));
        assert!(lines.any(|line| line == "content-type: application/tlsrpt+gzip"), "{head}");
        assert!(head.contains(&format!("host: {HOST}:{}", web.port)), "{head}");
        assert_eq!(body, "the report");
    }
}

/// RFC 8460, section 7: a domain that got its certificates wrong must learn of it.
#[tokio::test]
async fn certificate_counts_only_if_the_caller_says_so() {
    let (pki, other) = (Pki::new(), Pki::new());
    let ok = Answer::Keeps(response("200 OK", None, ""));
    let web = Web::good(&other, "other.example", ok).await;
    let nothing = ReportClient::new(provider(), Trust::empty()).with_any_address();
    nothing.post(&uri(&web), "x", &zone(HOST)).await.unwrap();
    let strict = client(&pki).with_certificates();
    let error = strict.post(&uri(&web), "x", &zone(HOST)).await.unwrap_err();
    assert!(matches!(error, PostError::Tls(_)), "{error}");
    assert_eq!(error.code(), "report-post-tls");
    assert_eq!(web.requests().len(), 1);
}

#[tokio::test]
async fn other_statuses_are_failures_and_redirects_are_not_followed() {
    let pki = Pki::new();
    for (status, code) in [("302 Found\r\nLocation: /", 302), ("404 No", 404), ("503 Later", 503)] {
        let web = Web::good(&pki, HOST, Answer::Keeps(response(status, None, ""))).await;
        let error = client(&pki).post(&uri(&web), "x", &zone(HOST)).await.unwrap_err();
        assert!(matches!(error, PostError::Status(got) if got == code), "{error}");
        assert_eq!(error.code(), "report-post-status");
        assert_eq!(web.requests().len(), 1);
    }
}

#[tokio::test]
async fn hostile_destinations_have_typed_errors() {
    let pki = Pki::new();
    let short = || client(&pki).with_time_limit(Duration::from_millis(400));
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".to_owned();
    type Is = fn(&PostError) -> bool;
    let (http, timeout): (Is, Is) =
        (|e| matches!(e, PostError::Http(_)), |e| matches!(e, PostError::Timeout(_)));
    for (answer, is, code) in [
        (Answer::Ends("220 mx ESMTP\r\n".into()), http, "report-post-http"),
        (Answer::Ends(String::new()), http, "report-post-http"),
        (Answer::Keeps(endless), timeout, "report-post-timeout"),
    ] {
        let web = Web::good(&pki, HOST, answer).await;
        let error = short().post(&uri(&web), "x", &zone(HOST)).await.unwrap_err();
        assert!(is(&error), "{error}");
        assert_eq!(error.code(), code);
    }
    let web =
        Web::start(Tls::Octets(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Answer::Keeps("".into()));
    let error = short().post(&uri(&web.await), "x", &zone(HOST)).await.unwrap_err();
    assert!(matches!(error, PostError::Tls(_)), "{error}");
    assert_eq!(error.code(), "report-post-tls");
    let nowhere = Zone::new(DnsStatus::Insecure);
    let error = short().post(&format!("https://{HOST}/"), "x", &nowhere).await.unwrap_err();
    assert!(matches!(error, PostError::Connect(_)), "{error}");
    assert_eq!(error.code(), "report-post-connection");
    for (uri, expected) in [
        ("http://reports.test.example/", HttpUrlError::Scheme),
        ("mailto:a@b.example", HttpUrlError::Scheme),
        ("https:///x", HttpUrlError::Host),
        ("https://reports.test.example:65536/", HttpUrlError::Port),
        ("https://user:password@reports.test.example/", HttpUrlError::UserInfo),
        ("", HttpUrlError::Scheme),
    ] {
        let error = short().post(uri, "x", &nowhere).await.unwrap_err();
        assert!(matches!(error, PostError::Uri(why) if why == expected), "{uri}: {error}");
        assert_eq!(error.code(), "report-post-uri");
    }
}

/// An endless answer to a POST is not read.
#[tokio::test]
async fn body_of_the_answer_is_not_read() {
    let pki = Pki::new();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let web = Web::good(&pki, HOST, Answer::Endless(head, "thanks", Duration::ZERO)).await;
    client(&pki).post(&uri(&web), "x", &zone(HOST)).await.unwrap();
}

/// What the owner of a domain publishes must not reach into the network of the sender.
#[tokio::test]
async fn report_is_not_posted_to_an_address_that_is_not_global() {
    let pki = Pki::new();
    let web = Web::good(&pki, HOST, Answer::Keeps(response("200 OK", None, ""))).await;
    let strict = outward(&pki);
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    let error = strict.post(&uri(&web), "x", &zone(HOST)).await.unwrap_err();
    assert!(matches!(error, PostError::NotGlobal(refused) if refused == loopback), "{error}");
    assert_eq!(error.code(), "report-post-not-global");
    for literal in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.168.1.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ] {
        let uri = format!("https://{literal}:{}/", web.port);
        let error = strict.post(&uri, "x", &zone(HOST)).await.unwrap_err();
        assert!(matches!(error, PostError::NotGlobal(_)), "{literal}: {error}");
        assert_eq!(error.code(), "report-post-not-global");
    }
    // One address of the two families is enough to refuse the other.
    let host = Domain::parse(HOST).unwrap();
    let mut both = Zone::new(DnsStatus::Insecure);
    both.add_host(&host, ["fd00::1".parse().unwrap(), loopback]);
    let error = strict.post(&uri(&web), "x", &both).await.unwrap_err();
    assert!(matches!(error, PostError::NotGlobal(_)), "{error}");
    assert_eq!(error.code(), "report-post-not-global");
    assert!(web.requests().is_empty());
    client(&pki).post(&uri(&web), "x", &zone(HOST)).await.unwrap();
    assert_eq!(web.requests().len(), 1);
}
