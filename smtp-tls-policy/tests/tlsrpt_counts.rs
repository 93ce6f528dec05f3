//! Counts of TLS reports as records of a store, which add up over writers.

use std::time::Duration;

use pki_types::UnixTime;
use serde_json::Value;
use smtp_tls_policy::pki::{TlsaRecord, TlsaSet};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::sts::{CachedPolicy, PolicyId, PolicyText, StsAnswer};
use smtp_tls_policy::tlsrpt::{
    Aggregate, AppliedPolicy, ReportId, ReportedSession, Reporting, Submitter, day_of,
};
use smtp_tls_policy::{Domain, Host, Namespace, Reason, UnreadableRecord, pki_types};

/// 2016-04-01T12:00:00Z
const NOON: u64 = 1_459_512_000;
const DAY: u64 = 24 * 3600;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Sessions with a host of y.example under MTA-STS, under DANE and without a policy.
fn sessions(reason: Reason, receiving: &str) -> Vec<ReportedSession> {
    let (domain, host) = (Host::parse("y.example").unwrap(), Host::parse("mx.y.example").unwrap());
    let text =
        b"version: STSv1\nmode: testing\nmx: *.y.example\nmx: mx.z.example\nmax_age: 86400\n";
    let policy = PolicyText::parse(text).unwrap();
    let id = PolicyId::parse("1").unwrap();
    let cached = CachedPolicy::new(Domain::parse("y.example").unwrap(), id, at(NOON), policy);
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![0xab; 32] };
    let tlsa = TlsaFact::Found(TlsaSet::new(host.domain().unwrap().clone(), &[record]));
    let mut found = Vec::new();
    for (sts, tlsa) in [
        (StsAnswer { policy: Some(cached), trouble: None }, &TlsaFact::Absent),
        (StsAnswer::default(), &tlsa),
        (StsAnswer::default(), &TlsaFact::Absent),
    ] {
        let mut facts = Facts::new(&connector, &domain, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (DnsStatus::Secure, tlsa);
        facts.sts = &sts;
        let (sending, receiving) = (Some("192.0.2.1".parse().unwrap()), receiving.parse().unwrap());
        let plan = plan(&facts).unwrap();
        found.extend(Reporting::of(&facts).no_tls(&plan, reason, None, sending, receiving));
    }
    found
}

fn json(mut aggregate: Aggregate) -> Vec<Value> {
    let submitter = Submitter::new("X", "tls@x.example").unwrap();
    let id = ReportId::parse("1").unwrap();
    let reports = aggregate.finished(at(NOON + DAY));
    reports
        .iter()
        .map(|report| serde_json::to_value(report.json(&submitter, &id)).unwrap())
        .collect()
}

#[test]
fn records_of_two_writers_give_the_report_of_one_that_counted_everything() {
    let (mut one, mut other, mut both) = (Aggregate::new(), Aggregate::new(), Aggregate::new());
    for (reason, address) in [
        (Reason::StarttlsNotOffered, "192.0.2.9"),
        (Reason::StarttlsNotOffered, "2001:db8::9"),
        (Reason::HandshakeFailed, "192.0.2.9"),
    ] {
        for session in sessions(reason, address) {
            for (writer, times) in [(&mut one, 2), (&mut other, 3), (&mut both, 5)] {
                (0..times).for_each(|_| writer.record(&session, at(NOON)));
            }
        }
    }
    let mut sum = Aggregate::new();
    for record in one.unsaved().into_iter().chain(other.unsaved()) {
        assert_eq!(record.day, day_of(at(NOON)));
        assert!(record.value.is_ascii() && record.value.len() < 128 << 10);
        let restored = sum.restore(record.day, &record.domain, &record.value);
        assert!(matches!(restored, Ok(6 | 9)), "{restored:?}");
    }
    let expected = json(both);
    // y.example has MTA-STS and no policy; its host has TLSA records.
    assert_eq!(expected.len(), 2);
    assert_eq!(json(sum), expected);
}

#[test]
fn record_is_unsaved_until_its_last_change_is_saved() {
    let mut aggregate = Aggregate::new();
    let session = &sessions(Reason::HandshakeFailed, "192.0.2.9")[0];
    assert!(aggregate.unsaved().is_empty());
    aggregate.record(session, at(NOON));
    let first = aggregate.unsaved().remove(0);
    aggregate.record(session, at(NOON));
    aggregate.saved(&first);
    let second = aggregate.unsaved().remove(0);
    assert_eq!(second.number, first.number);
    assert_ne!(second.value, first.value);
    aggregate.saved(&second);
    // An answer that comes late takes nothing back.
    aggregate.saved(&first);
    assert!(aggregate.unsaved().is_empty());
    // Saved days that are over are dropped, and no others.
    aggregate.drop_saved(second.day);
    assert_eq!(json(aggregate.clone()).len(), 1);
    aggregate.record(session, at(NOON + DAY));
    aggregate.drop_saved(second.day + 2);
    let left = aggregate.unsaved();
    assert_eq!(left.iter().map(|record| record.day).collect::<Vec<_>>(), [second.day + 1]);
    assert_ne!(left[0].number, first.number);
    assert_eq!((aggregate.drop_all(second.day + 1), aggregate.drop_all(second.day + 2)), (0, 1));
    assert!(aggregate.unsaved().is_empty());
}

/// A report is to name what is wrong in the DNS, so it must survive the store.
#[test]
fn tlsa_record_without_data_is_kept() {
    let mut session = sessions(Reason::HandshakeFailed, "192.0.2.9").remove(0);
    let record =
        |data: &[u8]| TlsaRecord { usage: 3, selector: 1, matching: 1, data: data.to_vec() };
    let records = [record(&[]), record(&[7; 32])];
    let domain = session.policy.domain().clone();
    session.policy = AppliedPolicy::Tlsa { domain, records: records.into() };
    let mut writer = Aggregate::new();
    writer.record(&session, at(NOON));
    let written = writer.unsaved().remove(0);
    let mut sum = Aggregate::new();
    assert_eq!(sum.restore(written.day, &written.domain, &written.value), Ok(1));
    assert_eq!(json(sum), json(writer));
}

#[test]
fn damaged_record_adds_nothing() {
    let mut writer = Aggregate::new();
    for session in sessions(Reason::HandshakeFailed, "192.0.2.9") {
        writer.record(&session, at(NOON));
    }
    for record in writer.unsaved() {
        let text = String::from_utf8(record.value.clone()).unwrap();
        let mut damaged: Vec<Vec<u8>> = vec![
            Vec::new(),
            b"tlsa".to_vec(),
            vec![0xff; 40],
            text.replace("failed 1", "failed -1").into(),
            text.replace("failed 1", "failed 18446744073709551616").into(),
            text.replace("failed 1", "failed 1\nfailed 1").into(),
            text.replace("192.0.2.9", "192.0.2").into(),
            text.replace("192.0.2.9", "192.0.2.9 x").into(),
            text.replace("y.example\n", "x.y.example\n").into(),
            text.replacen("counts 1", "counts 0", 1).into(),
            text.replacen("counts 1", "counts -1", 1).into(),
            text.replacen("counts 1", "counts", 1).into(),
            text.replacen("smtp-tls-counts 1\n", "", 1).into(),
        ];
        // Cut off before the totals are complete.
        let totals = text.find("failed").unwrap();
        damaged.extend((0..totals).map(|len| text.as_bytes()[..len].to_vec()));
        for value in damaged {
            let mut sum = Aggregate::new();
            let shown = String::from_utf8_lossy(&value).into_owned();
            let restored = sum.restore(record.day, &record.domain, &value);
            assert_eq!(restored, Err(UnreadableRecord::Damaged), "{shown}");
            assert!(json(sum).is_empty(), "{shown}");
        }
        let other = Domain::parse("other.example").unwrap();
        let restored = Aggregate::new().restore(record.day, &other, &record.value);
        assert_eq!(restored, Err(UnreadableRecord::Damaged));
    }
}

/// A machine that was not updated yet must not take the records of the others for damaged.
#[test]
fn record_of_a_later_version_adds_nothing_and_is_not_taken_for_damaged() {
    let mut writer = Aggregate::new();
    for session in sessions(Reason::HandshakeFailed, "192.0.2.9") {
        writer.record(&session, at(NOON));
    }
    for record in writer.unsaved() {
        let text = String::from_utf8(record.value.clone()).unwrap();
        let (form, rest) = text.split_once('\n').unwrap();
        let (_, after_kind) = rest.split_once(' ').unwrap();
        let newer: [Vec<u8>; 7] = [
            text.replacen("counts 1", "counts 2", 1).into(),
            text.replacen("counts 1", "counts 4294967295", 1).into(),
            b"smtp-tls-counts 2\n\xff\0 something else".to_vec(),
            format!("{form}\ndane-ee {after_kind}").into(),
            format!("{text}policy-seconds 7\n").into(),
            text.replace("handshake-failed", "no-such-reason").into(),
            // A reason that this version does not report.
            text.replace("handshake-failed", "tls-ok").into(),
        ];
        for value in newer {
            let shown = String::from_utf8_lossy(&value).into_owned();
            let mut sum = Aggregate::new();
            let restored = sum.restore(record.day, &record.domain, &value);
            assert_eq!(restored, Err(UnreadableRecord::Newer), "{shown}");
            assert!(json(sum).is_empty(), "{shown}");
        }
    }
}

#[test]
fn sessions_beyond_the_limits_are_left_out_and_counted() {
    let mut one = Aggregate::new().with_max_policies(1);
    let sessions = sessions(Reason::HandshakeFailed, "192.0.2.9");
    for session in sessions.iter().chain(&sessions) {
        one.record(session, at(NOON));
    }
    assert_eq!((one.take_left_out(), one.take_left_out()), (4, 0));
    let mut writer = Aggregate::new();
    sessions.iter().for_each(|session| writer.record(session, at(NOON)));
    assert_eq!(writer.take_left_out(), 0);
    for record in writer.unsaved() {
        let restored = one.restore(record.day, &record.domain, &record.value);
        assert_eq!(restored, Ok(1));
    }
    assert_eq!(one.take_left_out(), 2);
}

#[test]
fn record_is_bounded_whatever_was_counted() {
    let empty = Aggregate::new().with_max_failures(10_000);
    let mut writer = empty.clone();
    for number in 0..3000 {
        let address = format!("2001:db8::{number:x}");
        let session = sessions(Reason::HandshakeFailed, &address).remove(0);
        writer.record(&session, at(NOON));
    }
    let record = writer.unsaved().remove(0);
    assert!(record.value.len() < 128 << 10, "{}", record.value.len());
    let mut sum = empty;
    assert_eq!(sum.restore(record.day, &record.domain, &record.value), Ok(3000));
    let policy = &json(sum)[0]["policies"][0];
    assert_eq!(policy["summary"]["total-failure-session-count"], 3000);
    // The adder's own limit of kinds holds too.
    let mut sum = Aggregate::new().with_max_policies(1).with_max_failures(7);
    assert_eq!(sum.restore(record.day, &record.domain, &record.value), Ok(3000));
    assert_eq!(json(sum)[0]["policies"][0]["failure-details"].as_array().unwrap().len(), 7);
}
