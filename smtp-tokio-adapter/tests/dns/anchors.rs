//! The keys and digests from which validation starts.

use hickory_net::proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_net::proto::rr::{RData, RecordType};
use smtp_tls_policy::Domain;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::Lookups;
use smtp_tokio_adapter::lookups::SetupError;
use smtp_tokio_adapter::lookups::dns::{Anchors, Fault, Resolver};

use crate::forger::Forger;
use crate::servers::{Dns, dns, servers};

/// What IANA publishes for the root.
const ROOT: &str =
    ".\tIN\tDS\t20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
.\tIN\tDS\t38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

fn resolver(dns: &Dns, anchors: &str) -> Resolver {
    Resolver::validating(servers(dns.plain), Anchors::parse(anchors).unwrap())
}

async fn status(resolver: &Resolver, domain: &str) -> DnsStatus {
    resolver.mx(&Domain::parse(domain).unwrap()).await.status
}

#[tokio::test]
async fn digest_of_a_key_of_the_root_is_as_good_as_the_key() {
    let Some(dns) = dns() else { return };
    let digest = dns.digest(".");
    for anchors in [
        digest.to_owned(),
        // A key or digest that the zone does not have yet, or no more, spoils nothing.
        format!("{ROOT}{digest}"),
        format!("{digest}{}", dns.anchor),
    ] {
        let resolver = resolver(dns, &anchors);
        for (domain, expected) in [
            ("secure.example", DnsStatus::Secure),
            ("nsec3.example", DnsStatus::Secure),
            ("insecure.example", DnsStatus::Insecure),
            ("island.example", DnsStatus::Insecure),
            ("bogus.example", DnsStatus::Bogus),
            ("expired.example", DnsStatus::Bogus),
        ] {
            assert_eq!(status(&resolver, domain).await, expected, "{domain} by {anchors}");
        }
    }
}

#[tokio::test]
async fn digest_of_another_key_makes_everything_bogus() {
    let Some(dns) = dns() else { return };
    // The digest with one octet changed, and that of another zone's key.
    let changed = match dns.digest(".").trim_end().strip_suffix('0') {
        Some(start) => format!("{start}1"),
        None => format!("{}0", &dns.digest(".").trim_end()[..dns.digest(".").trim_end().len() - 1]),
    };
    let other = dns.digest("secure.example.").replace("secure.example.", ".");
    for anchors in [ROOT, &changed, &other] {
        let resolver = resolver(dns, anchors);
        for domain in ["secure.example", "insecure.example"] {
            let found = resolver.look_up_mx(&Domain::parse(domain).unwrap()).await;
            assert_eq!(found.unwrap_err(), Fault::Bogus, "{domain} by {anchors}");
        }
    }
}

/// An island of security: its parent has no DS record of it.
#[tokio::test]
async fn zone_that_its_parent_does_not_vouch_for_is_secure_by_an_anchor_of_its_own() {
    let Some(dns) = dns() else { return };
    let island = "island.example.";
    let first_key = dns.keys(island).lines().next().unwrap();
    for anchor in [dns.digest(island), dns.keys(island), first_key] {
        let alone = resolver(dns, anchor);
        assert_eq!(status(&alone, "island.example").await, DnsStatus::Secure, "{anchor}");
        assert_eq!(status(&alone, "secure.example").await, DnsStatus::Insecure, "{anchor}");
        let both = resolver(dns, &format!("{anchor}\n{}", dns.digest(".")));
        assert_eq!(status(&both, "island.example").await, DnsStatus::Secure, "{anchor}");
        assert_eq!(status(&both, "secure.example").await, DnsStatus::Secure, "{anchor}");
    }
}

#[tokio::test]
async fn keys_of_an_anchored_zone_whose_signature_has_expired_are_bogus() {
    let Some(dns) = dns() else { return };
    for anchor in [dns.digest("expired.example."), dns.keys("expired.example.")] {
        let resolver = resolver(dns, anchor);
        let found = resolver.look_up_mx(&Domain::parse("expired.example").unwrap()).await;
        assert_eq!(found.unwrap_err(), Fault::Bogus, "{anchor}");
    }
}

#[tokio::test]
async fn records_are_read_in_every_form_of_a_zone_file() {
    let Some(dns) = dns() else { return };
    let words: Vec<&str> = dns.digest(".").split_ascii_whitespace().collect();
    let [".", "IN", "DS", tag, "13", "2", digest] = words[..] else { panic!("{words:?}") };
    let (start, end) = digest.split_at(20);
    let lower = digest.to_ascii_lowercase();
    for text in [
        format!(". DS {tag} 13 2 {digest}"),
        format!(". 3600 IN DS {tag} 13 2 {digest}"),
        format!(". in 1d ds {tag} ecdsap256sha256 2 {lower} ; a comment"),
        format!("; a comment (\n\n. IN DS {tag} 13 2 {start} {end}\r\n"),
        format!(". IN DS (\n  {tag} 13 ; tag\n 2 {start}\n\t{end} )\n"),
        format!(". IN DS 1 8 2 {}\n  IN DS {tag} 13 2 {digest}", "00".repeat(32)),
    ] {
        assert_eq!(
            status(&resolver(dns, &text), "secure.example").await,
            DnsStatus::Secure,
            "{text}"
        );
    }
}

#[test]
fn error_names_the_line_and_what_is_expected() {
    let sha256 = "00".repeat(32);
    let key = "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3";
    for (text, line, expected) in [
        (format!("{ROOT}. IN A 192.0.2.1"), 3, "a DNSKEY or DS record of class IN, found \"A\""),
        (". CH DS 1 8 2 00".into(), 1, "of class IN, found \"CH\""),
        ("; first\n\n. IN".into(), 3, "found \"\""),
        (
            format!("IN DS 1 8 2 {sha256}"),
            1,
            "expected the name of a zone, with a dot at its end, found \"IN\"",
        ),
        (format!("  IN DS 1 8 2 {sha256}"), 1, "found \"IN\""),
        (format!("example DS 1 8 2 {sha256}"), 1, "found \"example\""),
        ("$ORIGIN .".into(), 1, "found \"$ORIGIN\""),
        (format!("a..b. DS 1 8 2 {sha256}"), 1, "\"a..b.\" is no name of a zone"),
        (". DS".into(), 1, "the key tag is missing"),
        (format!(". DS 65536 8 2 {sha256}"), 1, "the key tag \"65536\" is no number of its range"),
        (". DS 1".into(), 1, "the algorithm is missing"),
        (format!(". DS 1 1 2 {sha256}"), 1, "the algorithm \"1\" is not used here"),
        (format!(". DS 1 5 2 {sha256}"), 1, "the algorithm \"5\" is not used here"),
        (format!(". DS 1 RSASHA1-NSEC3-SHA1 2 {sha256}"), 1, "is not used here"),
        (format!(". DS 1 RSAMD5 2 {sha256}"), 1, "the algorithm \"RSAMD5\""),
        (
            format!(". DS 1 8 1 {}", "00".repeat(20)),
            1,
            "a digest of type 1 is not taken; SHA-256 (2)",
        ),
        (format!(". DS 1 8 3 {sha256}"), 1, "a digest of type 3 is not taken"),
        (". DS 1 8 2".into(), 1, "a digest of type 2 has 32 octets, and this one has 0"),
        (
            format!(". DS 1 8 4 {sha256}"),
            1,
            "a digest of type 4 has 48 octets, and this one has 32",
        ),
        (format!(". DS 1 8 2 {}", "0g".repeat(32)), 1, "is not hexadecimal"),
        (format!(". DS 1 8 2 {sha256}0"), 1, "is not hexadecimal"),
        (format!(". DNSKEY 256 3 8 {key}!"), 1, "no DNSKEY: "),
        (format!(". DNSKEY 257 2 8 {key}"), 1, "no DNSKEY: "),
        (". DNSKEY 257 3 8".into(), 1, "no DNSKEY: "),
        (format!(". DNSKEY 1 3 8 {key}"), 1, "bit 7 of its flags is not set"),
        (format!(". DNSKEY 385 3 8 {key}"), 1, "the key is revoked"),
        (format!("{ROOT}\n. DS ( 1 8 2\n {sha256}"), 4, "a parenthesis is not closed"),
        (
            format!("\n. DS 1 8 2\n {sha256} )"),
            2,
            "a digest of type 2 has 32 octets, and this one has 0",
        ),
        (format!(". DS 1 8 2 {sha256} )"), 1, "a parenthesis has no counterpart"),
        (format!(". DS ( ( 1 8 2 {sha256} )"), 1, "a parenthesis has no counterpart"),
    ] {
        match Anchors::parse(&text).unwrap_err() {
            SetupError::Anchor { line: found, what } => {
                assert_eq!(found, line, "{text}: {what}");
                assert!(what.contains(expected), "{text}: {what}");
            }
            other => panic!("{text}: {other}"),
        }
    }
    for text in ["", "\n \n; only a comment\n"] {
        let error = Anchors::parse(text).unwrap_err();
        assert!(matches!(error, SetupError::NoAnchor), "{text}");
    }
}

/// RFC 5011, section 2.1. The last of its keys, as it was before it was revoked, is `old`.
#[tokio::test]
async fn island_with_a_revoked_key_is_secure_by_its_other_key_and_not_by_that_one() {
    let Some(dns) = dns() else { return };
    let keys: Vec<&str> = dns.keys("rolled.example.").lines().collect();
    let [new, _, old] = keys[..] else { panic!("{keys:?}") };
    let both = format!("{old}\n{new}");
    for anchor in [new, dns.digest("rolled.example."), &both] {
        let resolver = resolver(dns, anchor);
        assert_eq!(status(&resolver, "rolled.example").await, DnsStatus::Secure, "{anchor}");
    }
    // RFC 5011, section 5: then it counts as if it had no anchor.
    for anchors in [old.to_owned(), format!("{old}\n{}", dns.anchor)] {
        let resolver = resolver(dns, &anchors);
        assert_eq!(status(&resolver, "rolled.example").await, DnsStatus::Insecure, "{anchors}");
    }
}

#[tokio::test]
async fn island_whose_only_key_is_revoked_is_insecure_unless_another_anchor_is_left() {
    let Some(dns) = dns() else { return };
    let keys: Vec<&str> = dns.keys("revoked.example.").lines().collect();
    let [_, old] = keys[..] else { panic!("{keys:?}") };
    for anchors in [old, dns.digest("revoked.example.")] {
        let resolver = resolver(dns, &format!("{anchors}\n{}", dns.anchor));
        assert_eq!(status(&resolver, "revoked.example").await, DnsStatus::Insecure, "{anchors}");
        assert_eq!(status(&resolver, "secure.example").await, DnsStatus::Secure, "{anchors}");
    }
    // A key that the zone has not revoked, and does not have.
    let other = dns.keys("island.example.").replace("island", "revoked");
    let resolver = resolver(dns, &format!("{old}\n{other}"));
    assert_eq!(status(&resolver, "revoked.example").await, DnsStatus::Bogus);
}

/// A revocation counts by a signature of the key itself.
#[tokio::test]
async fn island_whose_keys_are_only_said_to_be_revoked_is_bogus() {
    let Some(dns) = dns() else { return };
    let island = "island.example.";
    let forger = Forger::between(dns.plain, move |query, answer| {
        if query.query_type() == RecordType::DNSKEY && query.name().to_ascii() == island {
            for record in &mut answer.answers {
                if let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &record.data {
                    let revoked = DNSKEY::with_flags(key.flags() | 0x80, key.public_key().clone());
                    record.data = RData::DNSSEC(DNSSECRData::DNSKEY(revoked));
                }
            }
        }
    })
    .await;
    for anchors in [dns.keys(island), dns.digest(island)] {
        let anchors = Anchors::parse(anchors).unwrap();
        let resolver = Resolver::validating(servers(forger.address), anchors);
        assert_eq!(status(&resolver, "island.example").await, DnsStatus::Bogus);
    }
}

/// The lines of a file that unbound keeps up to date, with this state of the keys.
fn auto_trust(keys: &str, state: &str) -> String {
    let mut text =
        "; autotrust trust anchor file\n;;id: . 1\n;;last_queried: 1700000000\n".to_owned();
    for key in keys.lines() {
        text += &format!("{key} ;{{id = 1 (ksk), size = 256b}} ;;state={state} ;;count=0\n");
    }
    text
}

/// RFC 5011, section 4.2.
#[tokio::test]
async fn key_that_is_not_valid_in_the_file_of_a_resolver_is_no_anchor() {
    let Some(dns) = dns() else { return };
    let root = dns.anchor.lines().next().unwrap();
    for state in ["2 [  VALID  ]", "3 [ MISSING ]"] {
        let resolver = resolver(dns, &auto_trust(root, state));
        assert_eq!(status(&resolver, "secure.example").await, DnsStatus::Secure, "{state}");
    }
    let other = ". IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3";
    let revoked = other.replace("257", "385");
    for state in ["0 [  START  ]", "1 [ ADDPEND ]", "4 [ REVOKED ]", "5 [ REMOVED ]"] {
        for key in [root, other, &revoked] {
            let only = auto_trust(key, state);
            let error = Anchors::parse(&only).unwrap_err();
            assert!(matches!(error, SetupError::NoAnchor), "{only}");
        }
        // Beside a valid key, each of them spoils nothing.
        let valid = auto_trust(other, "2 [  VALID  ]");
        let resolver = resolver(dns, &format!("{}{valid}", auto_trust(root, state)));
        assert_eq!(status(&resolver, "secure.example").await, DnsStatus::Bogus, "{state}");
    }
    match Anchors::parse(&auto_trust(root, "7")).unwrap_err() {
        SetupError::Anchor { line: 4, what } => assert!(what.contains("the state \"7\"")),
        error => panic!("{error}"),
    }
}

/// RFC 7672, section 2.1.1.
#[tokio::test]
async fn what_is_below_no_trust_anchor_is_insecure() {
    let Some(dns) = dns() else { return };
    let other = dns.anchor.lines().map(|line| format!("other{line}\n")).collect::<String>();
    let anchors = Anchors::parse(&other).unwrap();
    let resolver = Resolver::validating(servers(dns.plain), anchors);
    let answer = resolver.mx(&Domain::parse("secure.example").unwrap()).await;
    assert_eq!((answer.status, answer.records.len()), (DnsStatus::Insecure, 2));
}

#[tokio::test]
async fn with_the_keys_of_another_root_everything_is_bogus() {
    let Some(dns) = dns() else { return };
    let resolver = Resolver::validating(servers(dns.plain), Anchors::root());
    for domain in ["secure.example", "insecure.example"] {
        let found = resolver.look_up_mx(&Domain::parse(domain).unwrap()).await;
        assert_eq!(found.unwrap_err(), Fault::Bogus, "{domain}");
    }
}
