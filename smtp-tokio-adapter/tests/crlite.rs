//! CRLite filters from a cache as `upki fetch` keeps it. The filters are made here, with the
//! builder that makes the real ones.
#![cfg(feature = "crlite")]

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clubcard::builder::{ApproximateRibbon, ClubcardBuilder, ExactRibbon};
use clubcard_crlite::builder::CRLiteBuilderItem;
use clubcard_crlite::{CRLiteClubcard, CRLiteCoverage, CRLiteQuery, Encoding, IssuerSpkiHash};
use common::log::Log;
use common::{HOST, Pki, changed, connector, plan_for, provider, send, smtp, start};
use rcgen::{CertificateParams, CustomExtension, PublicKeyData, SerialNumber};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{CrliteStatus, LiveTrust, Revocation, RootsId};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::revocation::{CrliteError, CrliteLoader, MAX_CRLITE_FILTERS};
use smtp_tokio_adapter::{Inbound, Outbound};

const REVOKED: u8 = 42;
const GOOD: u8 = 43;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn now() -> u64 {
    UnixTime::now().as_secs()
}

fn seconds(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

fn key_hash(pki: &Pki) -> [u8; 32] {
    Sha256::digest(pki.issuer().key().subject_public_key_info()).into()
}

/// A filter of one log, whose id is all zeros, up to this time. It knows for each issuer which
/// serial numbers are revoked, and that 256 others are not.
fn filter(issuers: &[([u8; 32], &[u8])], newest: u64, encoding: Encoding) -> Vec<u8> {
    let mut builder = ClubcardBuilder::new();
    let others = || (0..256u16).map(|number| [&[0x7f][..], &number.to_be_bytes()].concat());
    let mut approximate = Vec::new();
    for (issuer, revoked) in issuers {
        let mut ribbon = builder.new_approx_builder(issuer);
        for serial in *revoked {
            ribbon.insert(CRLiteBuilderItem::revoked(IssuerSpkiHash(*issuer), vec![*serial]));
        }
        ribbon.set_universe_size(256 + revoked.len());
        approximate.push(ApproximateRibbon::from(ribbon));
    }
    builder.collect_approx_ribbons(approximate);
    let mut exact = Vec::new();
    for (issuer, revoked) in issuers {
        let mut ribbon = builder.new_exact_builder(issuer);
        for serial in *revoked {
            ribbon.insert(CRLiteBuilderItem::revoked(IssuerSpkiHash(*issuer), vec![*serial]));
        }
        for serial in others().chain([vec![GOOD]]).filter(|it| !revoked.contains(&it[0])) {
            ribbon.insert(CRLiteBuilderItem::not_revoked(IssuerSpkiHash(*issuer), serial));
        }
        exact.push(ExactRibbon::from(ribbon));
    }
    builder.collect_exact_ribbons(exact);
    let log = format!("{}=", "A".repeat(43));
    let (oldest, newest) = ((newest - 100 * DAY) * 1000, newest * 1000);
    let logs = format!(
        "[{{\"LogID\":\"{log}\",\"MinTimestamp\":{oldest},\"MaxTimestamp\":{newest},\
         \"MMD\":0,\"MinEntry\":0}}]"
    );
    let coverage = CRLiteCoverage::from_mozilla_ct_logs_json(logs.as_bytes());
    let card = builder.build::<CRLiteQuery<'_>>(coverage, ());
    CRLiteClubcard::from(card).to_bytes(encoding).unwrap()
}

/// A certificate for the host with this serial number, and an SCT of this log and time if any.
fn certificate(pki: &Pki, serial: u8, sct: Option<(u8, u64)>) -> Arc<CertifiedKey> {
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from_slice(&[serial]));
    if let Some((log, time)) = sct {
        let time = (time * 1000).to_be_bytes();
        let sct = [&[0][..], &[log; 32], &time, &[0, 0, 4, 3, 0, 1, 0xaa]].concat();
        let vector = |it: &[u8]| [&(it.len() as u16).to_be_bytes(), it].concat();
        let list = vector(&vector(&sct));
        let value = [&[0x04, list.len() as u8][..], &list].concat();
        let id = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
        params.custom_extensions.push(CustomExtension::from_oid_content(&id, value));
    }
    pki.sign(&params)
}

/// A cache as `upki fetch` writes it.
struct Cache(PathBuf);

impl Cache {
    /// An absent directory.
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("crlite-{name}"));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn write(&self, name: &str, octets: &[u8]) {
        std::fs::create_dir_all(&self.0).unwrap();
        let new = self.0.join("file.new");
        std::fs::write(&new, octets).unwrap();
        std::fs::rename(new, self.0.join(name)).unwrap();
    }

    /// Writes a manifest of this time, which lists these filters, but not the filters.
    fn list(&self, made: u64, filters: &[(&str, &[u8])]) {
        let files: Vec<_> = filters
            .iter()
            .map(|(name, octets)| {
                let hash = hex(&Sha256::digest(octets));
                serde_json::json!({ "filename": name, "size": octets.len(), "hash": hash })
            })
            .collect();
        let manifest =
            serde_json::json!({ "generated_at": made, "comment": "a test", "files": files });
        self.write("manifest.json", &serde_json::to_vec(&manifest).unwrap());
    }

    fn publish(&self, made: u64, filters: &[(&str, &[u8])]) {
        for (name, octets) in filters {
            self.write(name, octets);
        }
        self.list(made, filters);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct World {
    pki: Pki,
    trust: Arc<LiveTrust>,
    cache: Cache,
    loader: CrliteLoader,
}

impl World {
    fn new(name: &str) -> Self {
        let pki = Pki::new();
        let trust = Arc::new(LiveTrust::new(pki.trust()));
        let cache = Cache::new(name);
        let loader = CrliteLoader::new(Arc::clone(&trust), &cache.0);
        Self { pki, trust, cache, loader }
    }

    /// A filter in which the authority has revoked these.
    fn filter(&self, revoked: &[u8]) -> Vec<u8> {
        filter(&[(key_hash(&self.pki), revoked)], now() - HOUR, Encoding::V4)
    }

    /// The reason of a judgement under this rule, and what the finding says of CRLite.
    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        revocation: Revocation,
    ) -> (Reason, Option<CrliteStatus>) {
        let plan = plan_for(&rule(revocation), false);
        let verdict = plan.judge(chain, &self.trust.load(), UnixTime::now());
        (verdict.reason(), verdict.findings()[0].crlite)
    }

    fn status(&self, serial: u8) -> Option<CrliteStatus> {
        let certified = certificate(&self.pki, serial, Some((0, now() - DAY)));
        self.judge(&certified.cert, Revocation::Soft).1
    }
}

fn rule(revocation: Revocation) -> OutboundConnector {
    let mut connector = connector(Posture::Verified);
    connector.revocation = revocation;
    connector
}

#[tokio::test]
async fn certificates_are_revoked_good_not_covered_or_not_enrolled_in_both_encodings() {
    for encoding in [Encoding::V3, Encoding::V4] {
        let world = World::new(&format!("answers-{encoding:?}"));
        let made = now() - 2 * HOUR;
        let octets = filter(&[(key_hash(&world.pki), &[REVOKED])], now() - HOUR, encoding);
        world.cache.publish(made, &[("20261129-0-default.filter", &octets)]);
        let loaded = world.loader.load().await.unwrap();
        assert_eq!((loaded.filters, loaded.made, loaded.is_new), (1, seconds(made), true));
        assert!(!world.loader.load().await.unwrap().is_new);
        let covered = Some((0, now() - DAY));
        use CrliteStatus as C;
        for (name, serial, sct, expected, soft, hard) in [
            ("revoked", REVOKED, covered, C::Revoked, Reason::CertRevoked, Reason::CertRevoked),
            ("good", GOOD, covered, C::Good, Reason::TlsOk, Reason::TlsOk),
            (
                "too new",
                REVOKED,
                Some((0, now())),
                C::NotCovered,
                Reason::TlsOk,
                Reason::RevocationUnknown,
            ),
            (
                "too old",
                REVOKED,
                Some((0, now() - 200 * DAY)),
                C::NotCovered,
                Reason::TlsOk,
                Reason::RevocationUnknown,
            ),
            (
                "another log",
                REVOKED,
                Some((1, now() - DAY)),
                C::NotCovered,
                Reason::TlsOk,
                Reason::RevocationUnknown,
            ),
            ("no SCT", REVOKED, None, C::NoScts, Reason::TlsOk, Reason::RevocationUnknown),
        ] {
            let chain = &certificate(&world.pki, serial, sct).cert;
            let judged = world.judge(chain, Revocation::Soft);
            assert_eq!(judged, (soft, Some(expected)), "{name}");
            let judged = world.judge(chain, Revocation::Hard);
            assert_eq!(judged, (hard, Some(expected)), "{name}");
        }
        let other = Pki::named("Other Root");
        world.trust.update(|trust| trust.add_root_der(&RootsId::public(), other.root()).unwrap());
        let chain = &certificate(&other, REVOKED, covered).cert;
        let judged = world.judge(chain, Revocation::Soft);
        assert_eq!(judged, (Reason::TlsOk, Some(C::NotEnrolled)));
    }
}

#[tokio::test]
async fn any_filter_of_the_manifest_revokes_and_one_that_knows_the_issuer_clears() {
    let world = World::new("together");
    let whole = world.filter(&[7]);
    let later = world.filter(&[REVOKED]);
    let others = filter(&[([9; 32], &[REVOKED])], now() - HOUR, Encoding::V4);
    let covers_nothing = filter(&[(key_hash(&world.pki), &[1])], 101 * DAY, Encoding::V4);
    let names = ["a.filter", "b.delta", "c.delta"];
    for (files, serial, expected) in [
        ([&whole, &later, &others], REVOKED, CrliteStatus::Revoked),
        ([&others, &later, &whole], REVOKED, CrliteStatus::Revoked),
        ([&whole, &later, &others], GOOD, CrliteStatus::Good),
        ([&others, &covers_nothing, &whole], GOOD, CrliteStatus::Good),
        ([&covers_nothing, &others, &covers_nothing], GOOD, CrliteStatus::NotEnrolled),
    ] {
        let listed: Vec<_> = names.into_iter().zip(files.map(|it| &it[..])).collect();
        world.cache.publish(now() - HOUR, &listed);
        assert!(world.loader.load().await.unwrap().is_new);
        assert_eq!(world.status(serial), Some(expected));
    }
}

#[tokio::test]
async fn absent_cache_is_no_data_until_it_is_there() {
    let world = World::new("absent");
    let good = certificate(&world.pki, GOOD, Some((0, now() - DAY)));
    let no_data = Some(CrliteStatus::NoData);
    for _ in 0..2 {
        // The second time there is a directory without a manifest.
        let error = world.loader.load().await.unwrap_err();
        assert!(matches!(error, CrliteError::NoData(_)), "{error}");
        assert_eq!(world.judge(&good.cert, Revocation::Soft), (Reason::TlsOk, no_data));
        let hard = world.judge(&good.cert, Revocation::Hard);
        assert_eq!(hard, (Reason::RevocationUnknown, no_data));
        std::fs::create_dir_all(&world.cache.0).unwrap();
    }
    world.cache.publish(now(), &[("a.filter", &world.filter(&[REVOKED]))]);
    assert!(world.loader.load().await.unwrap().is_new);
    let good = world.judge(&good.cert, Revocation::Hard);
    assert_eq!(good, (Reason::TlsOk, Some(CrliteStatus::Good)));
    // A cache that vanishes takes nothing away.
    std::fs::remove_dir_all(&world.cache.0).unwrap();
    assert!(matches!(world.loader.load().await, Err(CrliteError::NoData(_))));
    assert_eq!(world.status(REVOKED), Some(CrliteStatus::Revoked));
}

#[tokio::test]
async fn damaged_cache_has_a_typed_error_and_the_loaded_filters_stay() {
    let world = World::new("damaged");
    let (old, new) = (world.filter(&[REVOKED]), world.filter(&[GOOD]));
    let made = now() - HOUR;
    world.cache.publish(made, &[("a.filter", &old)]);
    world.loader.load().await.unwrap();
    // Within the first log that it covers.
    let cut = &new[..20];
    let mut changed = new.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut version = new.clone();
    version[0] = 9;
    // A block that claims eight columns of a filter that has none.
    let log = [&[0, 1][..], &[0; 32], &[0; 8], &[0xff; 8]].concat();
    let block = [&[0, 0, 0, 1][..], &[5; 32], &[0, 0, 0, 1, 8], &[0; 15]].concat();
    let beyond = [&[4, 0][..], &log, &block, &[0], &[0; 4]].concat();
    let put = |octets: &[u8], listed: &[u8]| {
        world.cache.write("b.filter", octets);
        world.cache.list(made + 1, &[("b.filter", listed)]);
    };
    let mut errors = Vec::new();
    for (octets, listed) in [
        (cut, &new[..]),
        (&[&new[..], &[0]].concat(), &new),
        (&changed, &new),
        (cut, cut),
        (&version, &version),
        (&beyond, &beyond),
        (&[], &[]),
    ] {
        put(octets, listed);
        errors.push(world.loader.load().await.unwrap_err().to_string());
        assert_eq!(world.status(REVOKED), Some(CrliteStatus::Revoked));
        assert_eq!(world.status(GOOD), Some(CrliteStatus::Good));
    }
    let len = new.len();
    let unusable = "the CRLite filter b.filter cannot be used";
    assert_eq!(
        errors,
        [
            format!("the CRLite filter b.filter has 20 octets instead of {len}"),
            format!("the CRLite filter b.filter has {} octets instead of {len}", len + 1),
            "the CRLite filter b.filter is not the one that the manifest lists: its hash differs"
                .to_owned(),
            format!("{unusable}: failed to deserialize clubcard: not enough bytes for LogId"),
            format!("{unusable}: unsupported clubcard version (9)"),
            format!("{unusable}: the index of its issuers exceeds the filter"),
            format!("{unusable}: failed to deserialize clubcard: not enough bytes for Encoding"),
        ]
    );
    std::fs::remove_file(world.cache.0.join("b.filter")).unwrap();
    let error = world.loader.load().await.unwrap_err();
    assert!(matches!(&error, CrliteError::Io { path, .. } if path.ends_with("b.filter")));
    std::fs::create_dir(world.cache.0.join("b.filter")).unwrap();
    let error = world.loader.load().await.unwrap_err();
    assert!(matches!(&error, CrliteError::Io { .. }), "{error}");
    std::fs::remove_dir(world.cache.0.join("b.filter")).unwrap();
    // It is mended, under the same manifest.
    put(&new, &new);
    assert!(world.loader.load().await.unwrap().is_new);
    assert_eq!(world.status(GOOD), Some(CrliteStatus::Revoked));
}

/// Every prefix of a filter, with a manifest that lists it, is refused.
#[tokio::test]
async fn filter_cut_anywhere_is_refused() {
    for encoding in [Encoding::V3, Encoding::V4] {
        let world = World::new(&format!("cut-{encoding:?}"));
        let whole = filter(&[([1; 32], &[REVOKED])], now() - HOUR, encoding);
        for len in 0..whole.len() {
            world.cache.publish(now(), &[("a.filter", &whole[..len])]);
            let error = world.loader.load().await.unwrap_err();
            assert!(matches!(error, CrliteError::Filter { .. }), "{len} octets: {error}");
        }
    }
}

#[tokio::test]
async fn damaged_manifest_is_refused() {
    let world = World::new("manifest");
    let hash = "ab".repeat(32);
    let file = |name: &str, size: &str, hash: &str| {
        format!("{{\"filename\": \"{name}\", \"size\": {size}, \"hash\": \"{hash}\"}}")
    };
    let manifest = |files: &str| format!("{{\"generated_at\": 1, \"files\": [{files}]}}");
    let many = vec![file("a", "1", &hash); MAX_CRLITE_FILTERS + 1].join(",");
    for (text, expected) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{\"files\": []}", "missing field `generated_at` at line 1 column 13"),
        (&manifest(""), "it lists 0 filters instead of 1 to 1024"),
        (&manifest(&many), "it lists 1025 filters instead of 1 to 1024"),
        (&manifest(&file("../a", "1", &hash)), "\"../a\" is no file name"),
        (&manifest(&file("..", "1", &hash)), "\"..\" is no file name"),
        (&manifest(&file("", "1", &hash)), "\"\" is no file name"),
        (&manifest(&file("a\\u0000", "1", &hash)), "\"a\\0\" is no file name"),
        (&manifest(&file("a", "1", "ab")), "the hash of a is not one of SHA-256"),
        (&manifest(&file("a", "1", &hash[1..])), "the hash of a is not one of SHA-256"),
        (&manifest(&file("a", "1", &"xy".repeat(32))), "the hash of a is not one of SHA-256"),
    ] {
        world.cache.write("manifest.json", text.as_bytes());
        let error = world.loader.load().await.unwrap_err();
        let expected = format!("the manifest of the CRLite data is damaged: {expected}");
        assert_eq!(error.to_string(), expected);
    }
    world.cache.write("manifest.json", &[b' '; (1 << 20) + 1]);
    let error = world.loader.load().await.unwrap_err();
    let expected = "the manifest of the CRLite data has more than 1048576 octets";
    assert_eq!(error.to_string(), expected);
    // What the manifest claims is never read or allocated.
    let file = file("a", &u64::MAX.to_string(), &hash);
    world.cache.write("manifest.json", manifest(&format!("{file},{file}")).as_bytes());
    let error = world.loader.load().await.unwrap_err();
    assert_eq!(error.to_string(), "the CRLite data has more than 134217728 octets");
    let octets = world.filter(&[REVOKED]);
    world.cache.publish(now(), &[("a.filter", &octets)]);
    let len = octets.len() as u64;
    let limited = |limit| world.loader.clone().with_max_len(limit);
    assert!(matches!(limited(len - 1).load().await, Err(CrliteError::TooLarge { .. })));
    assert!(limited(len).load().await.is_ok());
}

#[tokio::test]
async fn data_is_as_old_as_the_manifest_or_the_newest_sct_that_it_covers() {
    let world = World::new("age");
    let issuers = [(key_hash(&world.pki), &[REVOKED][..])];
    // A mirror that writes new manifests for old filters does not make them younger.
    let stopped = filter(&issuers, now() - 11 * DAY, Encoding::V4);
    world.cache.publish(now() - HOUR, &[("a.filter", &stopped)]);
    let made = world.loader.load().await.unwrap().made;
    assert!(made < seconds(now() - 10 * DAY) && made >= seconds(now() - 12 * DAY));
    let sct = Some((0, now() - 20 * DAY));
    let status = |serial| world.judge(&certificate(&world.pki, serial, sct).cert, Revocation::Soft);
    assert_eq!(status(GOOD), (Reason::TlsOk, Some(CrliteStatus::OutOfDate(made))));
    assert_eq!(status(REVOKED), (Reason::CertRevoked, Some(CrliteStatus::Revoked)));
    // An older manifest is not taken back; a newer one is.
    world.cache.publish(now() - DAY, &[("b.filter", &world.filter(&[REVOKED]))]);
    assert!(matches!(world.loader.load().await, Err(CrliteError::Older { .. })));
    world.cache.publish(now(), &[("b.filter", &world.filter(&[REVOKED]))]);
    world.loader.load().await.unwrap();
    assert_eq!(status(GOOD), (Reason::TlsOk, Some(CrliteStatus::Good)));
    let strict = world.loader.clone().with_max_age(Duration::from_secs(60));
    world.cache.publish(now() + 1, &[("b.filter", &world.filter(&[REVOKED]))]);
    let made = strict.load().await.unwrap().made;
    assert_eq!(status(GOOD), (Reason::TlsOk, Some(CrliteStatus::OutOfDate(made))));
}

#[tokio::test]
async fn filter_that_is_in_memory_is_not_read_again() {
    let world = World::new("kept");
    let (whole, later) = (world.filter(&[7]), world.filter(&[REVOKED]));
    world.cache.publish(now() - 5, &[("a.filter", &whole)]);
    world.loader.load().await.unwrap();
    std::fs::remove_file(world.cache.0.join("a.filter")).unwrap();
    world.cache.write("b.delta", &later);
    world.cache.list(now(), &[("a.filter", &whole), ("b.delta", &later)]);
    assert_eq!(world.loader.load().await.unwrap().filters, 2);
    assert_eq!(world.status(7), Some(CrliteStatus::Revoked));
    assert_eq!(world.status(REVOKED), Some(CrliteStatus::Revoked));
}

#[tokio::test]
async fn program_that_replaces_the_whole_trust_gets_crlite_back() {
    let world = World::new("back");
    world.cache.publish(now(), &[("a.filter", &world.filter(&[REVOKED]))]);
    world.loader.load().await.unwrap();
    world.trust.update(|trust| *trust = world.pki.trust());
    assert_eq!(world.status(REVOKED), None);
    assert!(!world.loader.load().await.unwrap().is_new);
    assert_eq!(world.status(REVOKED), Some(CrliteStatus::Revoked));
}

/// Waits until this holds, while a loader runs.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect(what);
}

#[tokio::test]
async fn running_loader_takes_a_new_manifest_and_says_once_why_it_keeps_the_old_filters() {
    let (log, _guard) = Log::record();
    let world = World::new("running");
    let loader = world.loader.clone().with_interval(Duration::from_millis(1));
    let running = tokio::spawn(async move { loader.run().await });
    let (first, second) = (world.filter(&[REVOKED]), world.filter(&[GOOD]));
    let said = |text| until(text, || !log.with(text).is_empty());
    let good = certificate(&world.pki, GOOD, Some((0, now() - DAY)));
    let status = || world.judge(&good.cert, Revocation::Soft).1;
    said("does not exist; run `upki fetch`").await;
    world.cache.publish(now() - 9, &[("a.filter", &first)]);
    until("the first filter", || status() == Some(CrliteStatus::Good)).await;
    // The new filter is cut short.
    world.cache.write("b.filter", &second[..9]);
    world.cache.list(now() - 8, &[("b.filter", &second)]);
    said("octets instead of").await;
    assert_eq!(status(), Some(CrliteStatus::Good));
    world.cache.write("b.filter", &second);
    until("the second filter", || status() == Some(CrliteStatus::Revoked)).await;
    running.abort();
    // Each fault once, however often it was met.
    let faults = log.with("CRLite data is missing, damaged or old");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|line| line.starts_with("ERROR")), "{faults:?}");
}

#[tokio::test]
async fn running_loader_says_that_the_data_is_old() {
    let (log, _guard) = Log::record();
    let world = World::new("old");
    world.cache.publish(now() - 11 * DAY, &[("a.filter", &world.filter(&[REVOKED]))]);
    let loader = world.loader.clone();
    let running = tokio::spawn(async move { loader.run().await });
    let text = "the data is older than 864000 s, and clears no certificate";
    until(text, || !log.with(text).is_empty()).await;
    running.abort();
}

#[cfg(all(unix, feature = "settings"))]
#[tokio::test]
async fn settings_name_the_cache() {
    let world = World::new("settings");
    world.cache.publish(now(), &[("a.filter", &world.filter(&[REVOKED]))]);
    let write = |name: &str, text: &str| std::fs::write(world.cache.0.join(name), text).unwrap();
    write("root.pem", world.pki.root_pem());
    write(
        "connectors.toml",
        "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\n\
        posture = \"verified\"\n",
    );
    let text = "name = \"mail.test.example\"\nconnectors = \"connectors.toml\"\nstate = \".\"\n\
        resolver = \"127.0.0.1\"\ndnssec = \"resolver\"\n";
    for (crlite, expected) in [
        ("crlite = \".\"\n", Some(CrliteStatus::Revoked)),
        ("crlite = \"absent\"\n", Some(CrliteStatus::NoData)),
        ("", None),
    ] {
        write("mail.toml", &format!("{text}{crlite}[roots]\npublic = \"root.pem\"\n"));
        let file = world.cache.0.join("mail.toml");
        let setup = smtp_tokio_adapter::Setup::load(&file, provider()).await.unwrap();
        let chain = certificate(&world.pki, REVOKED, Some((0, now() - DAY)));
        let plan = plan_for(&rule(Revocation::Soft), false);
        let verdict = plan.judge(&chain.cert, &setup.trust.load(), UnixTime::now());
        assert_eq!(verdict.findings()[0].crlite, expected, "{crlite}");
    }
}

#[tokio::test]
async fn list_and_filter_that_disagree_revoke() {
    let world = World::new("disagree");
    world.cache.publish(now(), &[("a.filter", &world.filter(&[REVOKED]))]);
    world.loader.load().await.unwrap();
    for (serial, on_list) in [(REVOKED, GOOD), (GOOD, GOOD)] {
        let list = world.pki.crl(1, &[u64::from(on_list)]);
        world.trust.update(|trust| {
            trust.clear_crls(&RootsId::public());
            trust.add_crl_der(&RootsId::public(), &list).unwrap();
        });
        let certified = certificate(&world.pki, serial, Some((0, now() - DAY)));
        for rule in [Revocation::Soft, Revocation::IfConfigured, Revocation::Hard] {
            assert_eq!(world.judge(&certified.cert, rule).0, Reason::CertRevoked);
        }
        assert_eq!(world.judge(&certified.cert, Revocation::Off), (Reason::TlsOk, None));
    }
}

#[tokio::test]
async fn delivery_to_a_host_whose_certificate_crlite_revokes_is_refused() {
    let world = World::new("delivery");
    let sct = Some((0, now() - DAY));
    let name = "client.test.example";
    let outbound = Outbound::new(name.parse().unwrap(), provider(), world.trust.clone());
    let mut servers = Vec::new();
    for serial in [REVOKED, GOOD] {
        let certified = certificate(&world.pki, serial, sct);
        let tls = server_config(certified, ClientCertificates::None, provider()).unwrap();
        servers.push(start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await);
    }
    let [revoked, good] = &servers[..] else { panic!("two servers") };
    let message = &b"Subject: hello\r\n\r\n"[..];
    let deliver = async |address, revocation| {
        let report = send(&outbound, address, &rule(revocation), message).await;
        (report.statuses()[0], report.attempts[0].decision.reason)
    };
    let deferred = |code| RecipientStatus::Deferred(code);
    let delivered = (RecipientStatus::Delivered, Reason::TlsOk);
    // No data: the rule decides. It is our own fault, so the peer's certificate is not to blame.
    let unknown = (deferred(EnhancedCode::new(4, 3, 5)), Reason::RevocationUnknown);
    assert_eq!(deliver(good.address, Revocation::Hard).await, unknown);
    assert_eq!(deliver(revoked.address, Revocation::Soft).await, delivered);
    world.cache.publish(now(), &[("a.filter", &world.filter(&[REVOKED]))]);
    world.loader.load().await.unwrap();
    // The TLS session of the delivery before is not resumed.
    let refused = (deferred(EnhancedCode::new(4, 7, 5)), Reason::CertRevoked);
    for revocation in [Revocation::Soft, Revocation::IfConfigured, Revocation::Hard] {
        assert_eq!(deliver(revoked.address, revocation).await, refused);
        assert_eq!(deliver(good.address, revocation).await, delivered);
    }
    assert_eq!(revoked.kept.messages.lock().unwrap().len(), 1);
    assert_eq!(good.kept.messages.lock().unwrap().len(), 3);
}
