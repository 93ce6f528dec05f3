//! The Received field that a receiver adds: what is written. Reading back is tested in the adapter.

mod common;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use common::changed;
use smtp_proto::Date;
use smtp_proto::channel::{Peer, TlsInfo};
use smtp_proto::stamp::{ClientCertificate, Stamp};
use smtp_proto::wire::command::Hello;

/// TLS 1.3 with this cipher suite.
fn tls(cipher: &str) -> &'static TlsInfo {
    let cipher = cipher.to_owned().leak();
    let mut tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.3", cipher);
    tls.group = Some("X25519");
    Box::leak(Box::new(tls))
}

fn stamp() -> Stamp<'static> {
    let date = Date::new(1_236_078_513, -480).unwrap();
    let mut stamp = Stamp::new("mail.contoso.example", "mx.ehs.example", Hello::Ehlo, date);
    stamp.reverse_name = Some("out.contoso.example");
    stamp.address = Some(IpAddr::from([192, 0, 2, 7]));
    stamp.id = Some("4f3a");
    stamp.recipient = Some("user@online.example");
    stamp.tls = Some(tls("TLS_AES_256_GCM_SHA384"));
    stamp.client = Some(ClientCertificate::Presented {
        common_name: Some("mail.contoso.example"),
        issuer: Some("Contoso CA"),
        verified: true,
    });
    stamp
}

fn written(stamp: &Stamp<'_>) -> String {
    let mut out = Vec::new();
    stamp.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn writes_every_clause() {
    assert_eq!(
        written(&stamp()),
        "Received: from mail.contoso.example (out.contoso.example [192.0.2.7])\r\n\
         \tby mx.ehs.example (smtp-proto) with ESMTPS id 4f3a\r\n\
         \tfor <user@online.example>\r\n\
         \ttls TLS_AES_256_GCM_SHA384 group X25519 (version=TLSv1.3)\r\n\
         \t(Client CN \"mail.contoso.example\", Issuer \"Contoso CA\" (verified OK));\r\n\
         \tTue, 3 Mar 2009 03:08:33 -0800\r\n"
    );
}

#[test]
fn writes_the_least() {
    let least = changed(
        Stamp::new("[IPv6:2001:db8::1]", "mx.example", Hello::Helo, Date::new(0, 0).unwrap()),
        |it| it.reverse_name = Some("never.without.an.address.example"),
    );
    assert_eq!(
        written(&least),
        "Received: from [IPv6:2001:db8::1]\r\n\tby mx.example (smtp-proto) with SMTP;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"
    );
}

#[test]
fn keywords_are_the_registered_ones() {
    // RFC 5321, RFC 3848, RFC 6531, section 4.3: all of the registry.
    let table = [
        ("SMTP", Hello::Helo, false, false, false),
        ("ESMTP", Hello::Ehlo, false, false, false),
        ("ESMTPA", Hello::Ehlo, false, false, true),
        ("ESMTPS", Hello::Ehlo, false, true, false),
        ("ESMTPSA", Hello::Ehlo, false, true, true),
        ("LMTP", Hello::Lhlo, false, false, false),
        ("LMTPA", Hello::Lhlo, false, false, true),
        ("LMTPS", Hello::Lhlo, false, true, false),
        ("LMTPSA", Hello::Lhlo, false, true, true),
        ("UTF8SMTP", Hello::Ehlo, true, false, false),
        ("UTF8SMTPA", Hello::Ehlo, true, false, true),
        ("UTF8SMTPS", Hello::Ehlo, true, true, false),
        ("UTF8SMTPSA", Hello::Ehlo, true, true, true),
        ("UTF8LMTP", Hello::Lhlo, true, false, false),
        ("UTF8LMTPA", Hello::Lhlo, true, false, true),
        ("UTF8LMTPS", Hello::Lhlo, true, true, false),
        ("UTF8LMTPSA", Hello::Lhlo, true, true, true),
    ];
    let tls = tls("TLS_AES_128_GCM_SHA256");
    for (keyword, hello, utf8, is_tls, auth) in table {
        let stamp = changed(stamp(), |it| {
            (it.hello, it.auth, it.utf8) = (hello, auth, utf8);
            it.tls = is_tls.then_some(tls);
        });
        assert_eq!(stamp.keyword(), keyword);
    }
    // HELO inside TLS has no keyword of its own.
    assert_eq!(changed(stamp(), |it| it.hello = Hello::Helo).keyword(), "ESMTPS");
}

#[test]
fn a_time_of_the_system_clock_is_written_in_utc_and_none_before_1970() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_780_272_000_999);
    let date = Date::utc(time).unwrap();
    assert_eq!(date, Date::new(1_780_272_000, 0).unwrap());
    assert_eq!(Date::utc(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
}
