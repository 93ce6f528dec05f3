//! Policies of MTA-STS from a policy host that misbehaves (RFC 8461, section 3.3).

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType};
use smtp_tls_policy::Domain;
use smtp_tls_policy::ResultType;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{
    Cache, Discovered, Fetch, FetchError, Mode, PolicyId, StsAnswer, Trouble,
};
use smtp_tokio_adapter::lookups::{Combined, Lookups, PolicyClient, SetupError, Zone};

use crate::common::{Pki, provider};
use crate::web::{Answer, Tls, Web, response};

const DOMAIN: &str = "test.example";
const POLICY_HOST: &str = "mta-sts.test.example";
const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.test.example\nmax_age: 604800\n";

pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
}

/// The record announces a policy: what to fetch.
fn to_fetch(cache: &mut Cache, domain: &Domain) -> Fetch {
    match cache.discovered(domain, Ok(PolicyId::parse("1")), now()) {
        Discovered::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

/// A resolver that finds the policy host on loopback.
pub(crate) fn zone(host: &str) -> Zone {
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&Domain::parse(host).unwrap(), ["127.0.0.1".parse().unwrap()]);
    zone
}

/// A client that trusts this authority, and gives up soon.
pub(crate) fn client(pki: &Pki, port: u16) -> PolicyClient {
    let client = PolicyClient::new(provider(), pki.trust()).unwrap();
    client.with_port(port).with_time_limit(Duration::from_secs(10))
}

async fn fetched(lookups: &impl Lookups) -> StsAnswer {
    let domain = Domain::parse(DOMAIN).unwrap();
    let mut cache = Cache::new();
    let fetch = to_fetch(&mut cache, &domain);
    let policy = lookups.fetch(&fetch).await;
    cache.fetched(fetch, policy, now()).answer
}

/// What a fetch from a server with a good certificate ends with.
async fn answer_to(answer: Answer) -> (StsAnswer, Vec<String>) {
    let pki = Pki::new();
    let web = Web::good(&pki, POLICY_HOST, answer).await;
    let lookups = Combined::new(zone(POLICY_HOST), client(&pki, web.port));
    (fetched(&lookups).await, web.requests())
}

async fn fails(answer: Answer, error: FetchError, result: ResultType) {
    let (got, requests) = answer_to(answer).await;
    assert_eq!(got, StsAnswer { policy: None, trouble: Some(Trouble::Fetch(error)) });
    assert_eq!(got.trouble.unwrap().result_type(), Some(result));
    assert_eq!(requests.len(), 1, "one request, whatever was answered");
}

/// The port is closed, or the host has no other address.
#[tokio::test]
async fn addresses_that_this_side_could_not_look_up_are_a_local_fault() {
    let (pki, host) = (Pki::new(), Domain::parse(POLICY_HOST).unwrap());
    for (status, error) in
        [(DnsStatus::Local, FetchError::Local), (DnsStatus::Failed, FetchError::Unreachable)]
    {
        for has_other in [false, true] {
            let mut zone = if has_other { zone(POLICY_HOST) } else { zone("other.example") };
            zone.ipv6.insert(host.clone(), DnsAnswer::none(status));
            let answer = fetched(&Combined::new(zone, client(&pki, 1))).await;
            assert_eq!(answer.trouble, Some(Trouble::Fetch(error)), "{status:?} {has_other}");
        }
    }
}

async fn handshake_fails(tls: impl FnOnce(&Pki) -> Tls, error: FetchError, result: ResultType) {
    let pki = Pki::new();
    let good = Answer::Ends(response("200 OK", Some("text/plain"), POLICY));
    let web = Web::start(tls(&pki), good).await;
    let lookups = Combined::new(zone(POLICY_HOST), client(&pki, web.port));
    let got = fetched(&lookups).await;
    assert_eq!(got, StsAnswer { policy: None, trouble: Some(Trouble::Fetch(error)) });
    assert_eq!(got.trouble.unwrap().result_type(), Some(result));
    assert_eq!(web.requests(), [""; 0], "no request to a host that is not authenticated");
}

fn is_policy(answer: &StsAnswer) {
    let policy = answer.policy.as_ref().unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!((policy.policy().mode(), &answer.trouble), (Mode::Enforce, &None));
}

#[tokio::test]
async fn policy_is_fetched_with_one_plain_get() {
    let good = Answer::Keeps(response("200 OK", Some("text/plain; charset=utf-8"), POLICY));
    let (answer, requests) = answer_to(good).await;
    is_policy(&answer);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let mut lines = request.lines();
    assert_eq!(lines.next(), Some("GET /.well-known/mta-sts.txt HTTP/1.1"));
    assert!(lines.any(|line| line == format!("host: {POLICY_HOST}")), "{request}");
}

/// The same fetch once more, in a process whose environment names proxies where nothing listens.
#[test]
fn proxies_of_the_environment_are_not_used() {
    let fetch = "policies::policy_is_fetched_with_one_plain_get";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, "http://127.0.0.1:1").env(name.to_uppercase(), "http://127.0.0.1:1");
    }
    for name in ["no_proxy", "NO_PROXY"] {
        child.env_remove(name);
    }
    let output = child.args(["--exact", fetch]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

#[tokio::test]
async fn chunked_body_is_put_together() {
    let (first, second) = POLICY.split_at(20);
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    is_policy(&answer_to(Answer::Keeps(text)).await.0);
}

#[tokio::test]
async fn body_that_ends_with_the_tls_session_is_taken() {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{POLICY}");
    is_policy(&answer_to(Answer::Ends(text)).await.0);
}

/// An attacker on the way could cut the policy short.
#[tokio::test]
async fn body_that_ends_without_the_end_of_the_tls_session_is_refused() {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{POLICY}");
    fails(Answer::Breaks(text), FetchError::Unreachable, ResultType::StsPolicyFetchError).await;
}

#[tokio::test]
async fn redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let text = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: https://{POLICY_HOST}/elsewhere\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{POLICY}",
            POLICY.len()
        );
        let error = FetchError::Status(status);
        fails(Answer::Keeps(text), error, ResultType::StsPolicyFetchError).await;
    }
}

#[tokio::test]
async fn status_other_than_200_is_no_policy() {
    for status in [101, 201, 203, 204, 206, 304, 404, 500, 503, 999] {
        let text = response(&format!("{status} Status"), Some("text/plain"), POLICY);
        let error = FetchError::Status(status);
        fails(Answer::Keeps(text), error, ResultType::StsPolicyFetchError).await;
    }
}

#[tokio::test]
async fn media_type_other_than_text_plain_is_no_policy() {
    for content_type in [
        None,
        Some(""),
        Some("text/html"),
        Some("text/plainly"),
        Some("text/plain, text/html"),
        Some("text/*"),
        Some("application/text/plain"),
        Some("text / plain"),
        Some("text/plain\r\nContent-Type: text/html"),
        Some("text/plain\r\nContent-Type: text/plain"),
    ] {
        let text = response("200 OK", content_type, POLICY);
        let result = ResultType::StsPolicyFetchError;
        fails(Answer::Keeps(text), FetchError::ContentType, result).await;
    }
}

#[tokio::test]
async fn body_of_64_kib_is_read_and_one_octet_more_is_too_large() {
    let line = "comment: filling\n";
    let mut body = POLICY.to_owned();
    while body.len() + line.len() <= 64 * 1024 {
        body.push_str(line);
    }
    let rest = 64 * 1024 - body.len();
    body.insert_str(POLICY.len() - 1, &" ".repeat(rest));
    assert_eq!(body.len(), 65_536);
    is_policy(&answer_to(Answer::Keeps(response("200 OK", Some("text/plain"), &body))).await.0);
    body.insert(POLICY.len() - 1, ' ');
    let text = response("200 OK", Some("text/plain"), &body);
    fails(Answer::Keeps(text), FetchError::TooLarge, ResultType::StsPolicyFetchError).await;
}

#[tokio::test]
async fn body_without_an_end_is_too_large() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n".into();
    let endless = Answer::Endless(head, "comment: this goes on and on\n", Duration::ZERO);
    fails(endless, FetchError::TooLarge, ResultType::StsPolicyFetchError).await;
}

#[tokio::test]
async fn slow_body_ends_at_the_time_limit_of_the_whole_fetch() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{POLICY}\r\n",
        POLICY.len()
    );
    let pki = Pki::new();
    let slow = Answer::Endless(head, "\n", Duration::from_millis(20));
    let web = Web::good(&pki, POLICY_HOST, slow).await;
    let client = client(&pki, web.port).with_time_limit(Duration::from_millis(300));
    let got = fetched(&Combined::new(zone(POLICY_HOST), client)).await;
    assert_eq!(got.trouble, Some(Trouble::Fetch(FetchError::Timeout)));
}

#[tokio::test]
async fn server_that_never_answers_ends_at_the_time_limit() {
    let pki = Pki::new();
    for tls in [Tls::Shows(pki.identity(POLICY_HOST)), Tls::Octets(Vec::new())] {
        let web = Web::start(tls, Answer::Keeps(String::new())).await;
        let client = client(&pki, web.port).with_time_limit(Duration::from_millis(300));
        let got = fetched(&Combined::new(zone(POLICY_HOST), client)).await;
        assert_eq!(got.trouble, Some(Trouble::Fetch(FetchError::Timeout)));
    }
}

#[tokio::test]
async fn truncated_answers_are_no_policy() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    for text in [
        String::new(),
        "HTTP/1.1 200".to_owned(),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n40\r\nversion: STSv1\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{POLICY}\r\n", POLICY.len()),
        format!("{head}Content-Length: 1000\r\n\r\n{POLICY}"),
    ] {
        for answer in [Answer::Ends(text.clone()), Answer::Breaks(text)] {
            fails(answer, FetchError::Unreachable, ResultType::StsPolicyFetchError).await;
        }
    }
}

#[tokio::test]
async fn answers_that_are_no_http_are_no_policy() {
    let fields = "X: y\r\n".repeat(1000);
    for text in [
        "220 mx.test.example ESMTP\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n{POLICY}"),
    ] {
        let result = ResultType::StsPolicyFetchError;
        fails(Answer::Keeps(text), FetchError::Unreachable, result).await;
    }
}

/// RFC 9110, section 15.2; RFC 9112, sections 2.3 and 6.3; RFC 9110, section 8.3.1.
#[tokio::test]
async fn unusual_answers_that_http_allows_are_taken() {
    let len = POLICY.len();
    let plain = "Content-Type: text/plain\r\n";
    let length = format!("Content-Length: {len}\r\n");
    let ok = format!("HTTP/1.1 200 OK\r\n{plain}{length}\r\n{POLICY}");
    let chunk = format!("{len:x};name=\"value\"\r\n{POLICY}\r\n0\r\nTrailer: x\r\n\r\n");
    for text in [
        format!("HTTP/1.1 100 Continue\r\n\r\n{ok}"),
        format!("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Later\r\n\r\n{ok}"),
        format!("HTTP/1.0 200 OK\r\n{plain}{length}\r\n{POLICY}"),
        format!("HTTP/1.0 200 OK\r\n{plain}\r\n{POLICY}"),
        format!("HTTP/1.1 200\r\n{plain}{length}\r\n{POLICY}"),
        format!(
            "HTTP/1.1 200 OK\r\ncontent-TYPE:\tTEXT/Plain;charset=utf-8 \r\n{length}\r\n{POLICY}"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain ; a=\"x;y\"; b\r\n{length}\r\n{POLICY}"
        ),
        format!("HTTP/1.1 200 OK\r\n{plain}Transfer-Encoding: Chunked\r\n\r\n{chunk}"),
        format!("HTTP/1.1 200 OK\r\n{plain}{length}{length}\r\n{POLICY}"),
        // The second answer is for a request that was not made.
        format!("{ok}HTTP/1.1 404 No\r\n\r\n"),
    ] {
        let answer = answer_to(Answer::Ends(text.clone())).await.0;
        assert!(answer.policy.is_some(), "{text}: {answer:?}");
    }
}

/// Whatever contradicts itself in its length, or has no bound, is no policy.
#[tokio::test]
async fn answers_with_doubtful_or_endless_framing_are_no_policy() {
    let len = POLICY.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let body = format!("{len:x}\r\n{POLICY}\r\n");
    for text in [
        format!("{head}Content-Length: {len}\r\nContent-Length: 9\r\n\r\n{POLICY}"),
        format!("{head}Content-Length: {len}, 9\r\n\r\n{POLICY}"),
        format!("{head}Content-Length: -1\r\n\r\n{POLICY}"),
        format!("{head}Content-Length: 0x80\r\n\r\n{POLICY}"),
        format!("{head}Content-Length: 99999999999999999999999\r\n\r\n{POLICY}"),
        format!("{head}Content-Length: {}\r\n\r\n{POLICY}", len + 1),
        format!("{chunked}fffffffffffffffff\r\n{POLICY}\r\n0\r\n\r\n"),
        format!("{chunked}-1\r\n{POLICY}\r\n0\r\n\r\n"),
        format!("{chunked}{:x}\r\n{POLICY}\r\n0\r\n\r\n", len - 1),
        format!("{chunked}{len:x};{}\r\n{POLICY}\r\n0\r\n\r\n", "x".repeat(1 << 20)),
        format!("{chunked}{body}0\r\n{}\r\n", "X: y\r\n".repeat(100_000)),
        format!("{head}X: a\r\n b\r\n\r\n{POLICY}"),
        format!("{head}X\0: a\r\n\r\n{POLICY}"),
        format!("{head}Y y: a\r\n\r\n{POLICY}"),
    ] {
        let (answer, _) = answer_to(Answer::Ends(text.clone())).await;
        let shown = &text[..text.len().min(200)];
        let trouble = Some(Trouble::Fetch(FetchError::Unreachable));
        assert_eq!(answer, StsAnswer { policy: None, trouble }, "{shown}");
    }
}

/// RFC 8461, section 3.2 has no place for a byte order mark, and no coding of the content.
#[tokio::test]
async fn policy_with_a_byte_order_mark_or_a_content_coding_is_invalid() {
    let marked = format!("\u{feff}{POLICY}");
    let coded = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n";
    for text in [
        response("200 OK", Some("text/plain"), &marked),
        format!("{coded}Content-Length: 4\r\n\r\n\u{1f}\u{7f}\u{8}\0"),
    ] {
        let got = answer_to(Answer::Ends(text)).await.0;
        assert!(matches!(got.trouble, Some(Trouble::Fetch(FetchError::Policy(_)))), "{got:?}");
        assert_eq!(got.policy, None);
    }
}

#[tokio::test]
async fn text_that_is_no_policy_is_invalid() {
    let got = answer_to(Answer::Keeps(response("200 OK", Some("text/plain"), "v=STSv1"))).await.0;
    assert!(matches!(got.trouble, Some(Trouble::Fetch(FetchError::Policy(_)))), "{got:?}");
    assert_eq!(got.trouble.unwrap().result_type(), Some(ResultType::StsPolicyInvalid));
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused() {
    let shows = |_: &Pki| Tls::Shows(Pki::new().identity(POLICY_HOST));
    handshake_fails(shows, FetchError::Certificate, ResultType::StsWebpkiInvalid).await;
}

#[tokio::test]
async fn self_signed_certificate_is_refused() {
    let shows = |_: &Pki| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![POLICY_HOST.to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let identity = rustls::sign::CertifiedKey::from_der(vec![der], key, &provider()).unwrap();
        Tls::Shows(Arc::new(identity))
    };
    handshake_fails(shows, FetchError::Certificate, ResultType::StsWebpkiInvalid).await;
}

#[tokio::test]
async fn certificate_outside_its_dates_is_refused() {
    for (from, to) in [(2020, 2021), (4090, 4096)] {
        let shows = |pki: &Pki| {
            let mut params = CertificateParams::new(vec![POLICY_HOST.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
            Tls::Shows(pki.sign(&params))
        };
        handshake_fails(shows, FetchError::Certificate, ResultType::StsWebpkiInvalid).await;
    }
}

#[tokio::test]
async fn certificate_for_another_name_is_refused() {
    for name in [DOMAIN, "mta-sts.other.example", "*.mta-sts.test.example", "*.example"] {
        let shows = |pki: &Pki| Tls::Shows(pki.identity(name));
        handshake_fails(shows, FetchError::Certificate, ResultType::StsWebpkiInvalid).await;
    }
}

#[tokio::test]
async fn certificate_with_a_common_name_only_is_refused() {
    let shows = |pki: &Pki| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, POLICY_HOST);
        Tls::Shows(pki.sign(&params))
    };
    handshake_fails(shows, FetchError::Certificate, ResultType::StsWebpkiInvalid).await;
}

#[tokio::test]
async fn wildcard_certificate_of_the_domain_is_taken() {
    let pki = Pki::new();
    let good = Answer::Keeps(response("200 OK", Some("text/plain"), POLICY));
    let web = Web::good(&pki, "*.test.example", good).await;
    is_policy(&fetched(&Combined::new(zone(POLICY_HOST), client(&pki, web.port))).await);
}

/// A ServerHello of TLS 1.1, an alert, and what a web server without TLS says.
#[tokio::test]
async fn server_without_tls_1_2_is_no_policy_host() {
    let mut hello = vec![2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    let mut tls_1_1 = vec![22, 3, 2, 0, u8::try_from(hello.len()).unwrap()];
    tls_1_1.extend(hello);
    let alert = vec![21, 3, 1, 0, 2, 2, 70];
    for octets in [tls_1_1, alert, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()] {
        let error = FetchError::Unreachable;
        let tls = |_: &Pki| Tls::Octets(octets);
        handshake_fails(tls, error, ResultType::StsPolicyFetchError).await;
    }
}

#[tokio::test]
async fn policy_host_without_an_address_is_unreachable() {
    let pki = Pki::new();
    let lookups = Combined::new(Zone::new(DnsStatus::Insecure), client(&pki, 1));
    let got = fetched(&lookups).await;
    assert_eq!(got.trouble, Some(Trouble::Fetch(FetchError::Unreachable)));
}

/// The first address does not answer, and the second one has no server.
#[tokio::test]
async fn next_address_is_tried_where_one_has_no_server() {
    let pki = Pki::new();
    let good = Answer::Keeps(response("200 OK", Some("text/plain"), POLICY));
    let web = Web::good(&pki, POLICY_HOST, good).await;
    let mut zone = Zone::new(DnsStatus::Insecure);
    let addresses = ["192.0.2.1", "127.0.0.2", "127.0.0.1"].map(|it| it.parse().unwrap());
    zone.add_host(&Domain::parse(POLICY_HOST).unwrap(), addresses);
    is_policy(&fetched(&Combined::new(zone, client(&pki, web.port))).await);
}

#[test]
fn client_without_public_roots_is_not_made() {
    let made = PolicyClient::new(provider(), Trust::empty());
    assert!(matches!(made.err(), Some(SetupError::NoPublicRoots)));
}
