//! What a delivery does while no loaded revocation list covers the certificate: the rows of the
//! golden table, and which lists a verdict names.

mod common;

use std::time::Duration;

use common::table::section;
use common::*;
use pki_types::{CertificateDer, UnixTime};
use rcgen::{CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint};
use smtp_tls_policy::judge::{Standing, Verdict};
use smtp_tls_policy::pki::{Crl, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{
    Config, ConnectorErrorKind, DEFAULT_LIST_WAIT, MAX_LIST_WAIT, OutboundConnector,
    OutboundConnectors, Posture, Yield,
};
use smtp_tls_policy::{Host, Namespace, Reason};

const URL: &str = "http://example.com/1.crl";

fn point(url: &str) -> CrlDistributionPoint {
    CrlDistributionPoint { uris: vec![url.to_owned()] }
}

struct World {
    root: Authority,
    leaf: CertificateDer<'static>,
    trust: Trust,
}

impl World {
    fn new(urls: &[&str]) -> Self {
        let root = Authority::new("Root");
        let mut params = leaf_params(&["mx.example.net"]);
        params.crl_distribution_points = urls.iter().map(|url| point(url)).collect();
        let leaf = root.issue(&params).der;
        let mut trust = Trust::empty();
        trust.add_root_der(&RootsId::public(), &root.der).unwrap();
        Self { root, leaf, trust }
    }

    /// A list of one distribution point with this number, valid for these days.
    fn list(&self, number: u8, serials: &[u8], (from, to): (i64, i64), url: &str) -> Vec<u8> {
        let revoked = |serial: &u8| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&[*serial]),
            revocation_time: days(from),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: days(from),
            next_update: days(to),
            crl_number: rcgen::SerialNumber::from_slice(&[number]),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: point(url),
                scope: None,
            }),
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.root.issuer).unwrap().der().to_vec()
    }

    fn load(&mut self, list: &[u8]) {
        let list = std::sync::Arc::new(Crl::from_der(list).unwrap());
        self.trust.replace_crl(&RootsId::public(), list).unwrap();
    }

    fn judge(&self, plan: &Plan) -> Verdict {
        plan.judge(std::slice::from_ref(&self.leaf), &self.trust, now())
    }
}

fn connector(posture: &str, revocation: &str, list_wait: &str) -> OutboundConnector {
    let (name, require_tls) = match posture.strip_suffix("+tls") {
        Some(name) => (name, true),
        None => (posture, false),
    };
    let posture = Posture::parse(name).unwrap();
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    connector.require_tls = require_tls;
    connector.revocation = match revocation {
        "off" => Revocation::Off,
        "soft" => Revocation::Soft,
        "if-configured" => Revocation::IfConfigured,
        "hard" => Revocation::Hard,
        other => panic!("{other}"),
    };
    connector.list_wait =
        (!list_wait.is_empty()).then(|| Duration::from_secs(list_wait.parse().unwrap()));
    connector
}

fn plan_of(connector: &OutboundConnector) -> Plan {
    OutboundConnectors::new(vec![connector.clone()]).expect("a connector that makes sense");
    let (next_hop, host) =
        (Host::parse("example.com").unwrap(), Host::parse("mx.example.net").unwrap());
    plan(&Facts::new(connector, &next_hop, &host, HostOrigin::Mx)).unwrap()
}

/// The outcome in the words of the table.
fn outcome(plan: &Plan, verdict: &Verdict) -> String {
    match verdict.standing() {
        Standing::Acceptable if verdict.is_authenticated() => "TLS".into(),
        Standing::Acceptable => "tls".into(),
        Standing::NotTls if plan.yields().untrusted == Yield::Now => "clear".into(),
        Standing::NotTls => "later".into(),
        Standing::Refused | Standing::LocalFault => {
            format!("next {}", plan.status(verdict.reason()).unwrap())
        }
    }
}

#[test]
fn first_contact() {
    let (_, rows) = section("First contact");
    for row in rows {
        let [rule, posture, revocation, list_wait, loaded, first, clears, revokes, none] = row[..]
        else {
            panic!("{row:?}")
        };
        let at = format!("{rule} {posture} {revocation} {list_wait} {loaded}");
        let plan = plan_of(&connector(posture, revocation, list_wait));
        let world = || {
            let mut world = World::new(if loaded == "none, and no URL" { &[] } else { &[URL] });
            match loaded {
                "none" | "none, and no URL" => {}
                "expired" => world.load(&world.list(1, &[], (-3, -1), URL)),
                "current" => world.load(&world.list(1, &[], (-1, 1), URL)),
                "of another part" => {
                    world.load(&world.list(1, &[], (-1, 1), "http://example.com/2.crl"));
                }
                other => panic!("{other}"),
            }
            world
        };
        let verdict = world().judge(&plan);
        let found = match plan.awaited_lists(&verdict) {
            Some((missing, limit)) => {
                assert_eq!(missing.len(), 1, "{at}");
                assert_eq!(missing[0].urls, [URL], "{at}");
                format!("wait {}", limit.as_secs())
            }
            None => outcome(&plan, &verdict),
        };
        assert_eq!(found, first, "{at}");
        assert_eq!(outcome(&plan, &world().judge(&plan)), none, "{at}, and no list came");
        for (serials, expected) in [(&[][..], clears), (&[SERIAL][..], revokes)] {
            let mut world = world();
            // A certificate without a distribution point is covered by a list without one.
            let list = match loaded {
                "none, and no URL" => world.root.crl(serials),
                _ => world.list(2, serials, (-1, 2), URL),
            };
            world.load(&list);
            let verdict = world.judge(&plan);
            assert_eq!(outcome(&plan, &verdict), expected, "{at}, {serials:?} revoked");
            assert!(plan.awaited_lists(&verdict).is_none(), "{at}: waits again");
        }
    }
}

#[test]
fn verdict_names_the_missing_lists_of_the_whole_chain_and_no_others() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        params.crl_distribution_points = vec![point("http://example.com/root.crl")];
    });
    let mut params = leaf_params(&["mx.example.net"]);
    params.crl_distribution_points = vec![point(URL), point("ldap://example.com/cn=1")];
    let leaf = issuer.issue(&params).der;
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();
    let plan = plan_of(&connector("verified", "hard", ""));
    let judge = |trust: &Trust| plan.judge(&[leaf.clone(), issuer.der.clone()], trust, now());
    let urls = |verdict: &Verdict| -> Vec<String> {
        verdict.missing_lists().iter().flat_map(|list| list.urls.clone()).collect()
    };
    let verdict = judge(&trust);
    assert_eq!(verdict.reason(), Reason::RevocationUnknown);
    assert_eq!(urls(&verdict), [URL, "http://example.com/root.crl"]);
    let missing = verdict.missing_lists()[1].clone();
    assert!(!trust.has_current(&missing, now()));
    trust.add_crl_der(&RootsId::public(), &root.crl(&[])).unwrap();
    assert!(trust.has_current(&missing, now()));
    let expired = UnixTime::since_unix_epoch(Duration::from_secs(NOW + 2 * 24 * 3600));
    assert!(!trust.has_current(&missing, expired));
    assert_eq!(urls(&judge(&trust)), [URL]);
    // A chain that is refused for the peer's sake names nothing.
    let stranger = Authority::new("Stranger").issue(&params).der;
    let verdict = plan.judge(&[stranger], &trust, now());
    assert_eq!((verdict.standing(), urls(&verdict)), (Standing::Refused, Vec::new()));
}

#[test]
fn url_that_cannot_be_fetched_by_http_is_named_by_no_verdict() {
    let strange = [
        "https://example.com/1.crl",
        "http://example.com:65536/1.crl",
        "http://user@example.com/1.crl",
        "http:///1.crl",
        "http://exa%6dple.com/1.crl",
        "http://[::1/1.crl",
        "http://example.com/a b.crl",
        "http://example.com/%.crl",
    ];
    let verdict = World::new(&strange).judge(&plan_of(&connector("verified", "hard", "")));
    assert_eq!(verdict.reason(), Reason::RevocationUnknown);
    assert!(verdict.missing_lists().is_empty(), "{:?}", verdict.missing_lists());
    let good = ["HTTP://example.com:8080/1.crl", "http://[2001:db8::1]/1.crl?a=b"];
    for url in good {
        let verdict = World::new(&[url]).judge(&plan_of(&connector("verified", "hard", "")));
        assert_eq!(verdict.missing_lists()[0].urls, [url]);
    }
}

#[test]
fn verdict_names_at_most_eight_missing_lists() {
    let urls: Vec<String> = (0..100).map(|n| format!("http://example.com/{n}.crl")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let verdict = World::new(&urls).judge(&plan_of(&connector("verified", "hard", "")));
    assert_eq!(verdict.missing_lists().len(), 8);
}

#[test]
fn wait_for_lists_is_read_from_toml_with_the_place_of_each_fault() {
    let read = |fields: &str| {
        let text = format!(
            "[[outbound]]\nname = \"o\"\nnamespaces = [\"*\"]\nposture = \"verified\"\n{fields}"
        );
        Config::parse("c.toml", &text)
            .map(|config| config.outbound.iter().next().unwrap().list_wait)
            .map_err(|errors| errors.to_string())
    };
    assert_eq!(read(""), Ok(None));
    assert_eq!(read("revocation = \"hard\"\nlist-wait = 0"), Ok(Some(Duration::ZERO)));
    assert_eq!(read("revocation = \"hard\"\nlist-wait = 60"), Ok(Some(MAX_LIST_WAIT)));
    assert_eq!(read("list-wait = 7"), Ok(Some(Duration::from_secs(7))));
    let expected = "expected a number of seconds from 0 to 60";
    for (value, found) in
        [("61", "the number 61"), ("-1", "the number -1"), ("1.5", "the number 1.5")]
    {
        assert_eq!(
            read(&format!("list-wait = {value}")),
            Err(format!("c.toml: line 5, field outbound.list-wait: found {found}; {expected}"))
        );
    }
    for rule in ["off", "soft"] {
        assert_eq!(
            read(&format!("revocation = \"{rule}\"\nlist-wait = 5")),
            Err("c.toml: line 6, field outbound.list-wait: revocation \"off\" and \"soft\" never \
                 wait for a list; remove list-wait, or set revocation to \"if-configured\" or \
                 \"hard\""
                .to_owned())
        );
    }
}

#[test]
fn connector_waits_five_seconds_unless_it_says_otherwise_and_never_longer_than_a_minute() {
    let mut connector = connector("verified", "hard", "");
    assert_eq!(plan_of(&connector).list_wait(), DEFAULT_LIST_WAIT);
    assert_eq!(DEFAULT_LIST_WAIT, Duration::from_secs(5));
    connector.list_wait = Some(MAX_LIST_WAIT + Duration::from_secs(1));
    let errors = OutboundConnectors::new(vec![connector.clone()]).unwrap_err();
    let kinds: Vec<_> = errors.iter().map(|error| error.kind.clone()).collect();
    assert_eq!(kinds, [ConnectorErrorKind::ListWaitTooLong]);
    // A caller that makes plans without a set of connectors.
    let host = Host::parse("mx.example.net").unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    assert_eq!(plan.list_wait(), MAX_LIST_WAIT);
}
