//! The stamp that `smtp-proto` writes, read back by the reader of `smtp-tls-policy`.

mod common;

use std::net::IpAddr;

use common::changed;
use proptest::prelude::*;
use smtp_proto::Date;
use smtp_proto::channel::{Peer, TlsInfo};
use smtp_proto::stamp::{ClientCertificate, Stamp};
use smtp_proto::wire::command::Hello;
use smtp_tls_policy::trace::{self, Arrival, Evidence, Software, fields, trace};

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

/// What the writer promises whatever is in its fields.
fn well_formed(header: &str) -> Result<(), TestCaseError> {
    prop_assert!(header.ends_with("\r\n") && header.starts_with("Received: from"));
    let lines: Vec<_> = header.strip_suffix("\r\n").unwrap().split("\r\n").collect();
    for (index, line) in lines.iter().enumerate() {
        prop_assert!(index == 0 || line.starts_with('\t'), "no continuation line: {line:?}");
        prop_assert!(!line.trim().is_empty() && line.len() <= 998);
        prop_assert!(!line.contains(['\r', '\n', '\0']));
        // Longer than 78 only for the sake of one word or one path.
        prop_assert!(
            line.len() <= 78 || line.starts_with("\t<") || line.trim().split(' ').count() <= 2,
            "could be folded: {line:?}"
        );
    }
    // One field, and nothing after it.
    let mut message = header.as_bytes().to_vec();
    message.extend_from_slice(b"Subject: x\r\n\r\nReceived: in the body\r\n");
    prop_assert_eq!(fields(&message).count(), 1);
    Ok(())
}

#[test]
fn reads_back_what_it_writes() {
    let header = written(&stamp());
    let read = trace(header.as_bytes()).next().unwrap();
    assert_eq!(read.helo.unwrap(), "mail.contoso.example");
    assert_eq!(read.reverse_name.unwrap(), "out.contoso.example");
    assert_eq!(read.from_address, Some(IpAddr::from([192, 0, 2, 7])));
    assert_eq!(read.by.unwrap(), "mx.ehs.example");
    assert_eq!(read.software, Some(Software::Own));
    assert_eq!(read.with.unwrap(), "ESMTPS");
    assert_eq!(read.id.unwrap(), "4f3a");
    assert_eq!(read.recipient.unwrap(), "<user@online.example>");
    assert_eq!(read.date.map(|date| date.to_string()), Some(stamp().date.to_string()));
    assert_eq!(read.arrival, Arrival::Network);
    let tls = read.tls.unwrap();
    assert_eq!((tls.evidence, tls.version), (Evidence::Clause, Some(trace::TlsVersion::Tls13)));
    assert_eq!(tls.cipher.unwrap(), "TLS_AES_256_GCM_SHA384");
    assert_eq!(tls.group.unwrap(), "X25519");
    let Some(trace::ShownCertificate::Presented {
        common_name: Some(name),
        issuer: Some(issuer),
        verified: true,
    }) = tls.client
    else {
        panic!("{tls:?}")
    };
    assert_eq!(
        (name.as_str(), issuer.as_str()),
        (Some("mail.contoso.example"), Some("Contoso CA"))
    );
}

#[test]
fn what_cannot_be_written_is_left_out_or_neutralised() {
    let evil = "a)\r\n\r\nbody (";
    let header = written(&changed(stamp(), |it| {
        it.name = evil;
        it.reverse_name = Some(evil);
        it.by = evil;
        it.id = Some(evil);
    }));
    assert!(header.starts_with(
        "Received: from a?????body?? (a?????body?? [192.0.2.7])\r\n\tby a?????body?? (smtp-proto)"
    ));
    for recipient in [
        "a@b> (x",
        "\"a@b",
        "a b@c",
        "a@b;",
        "",
        "<>",
        "a\r\n@b",
        "\"a\\",
        "gr\u{fc}n@b",
        "a@b>\r\nX: y",
    ] {
        let header = written(&changed(stamp(), |it| it.recipient = Some(recipient)));
        assert!(!header.contains("\r\n\tfor "), "{recipient:?}: {header}");
    }
    for recipient in ["\"a b\"@c", "<\"a>\\\" b\"@c>", "a+b=c@[192.0.2.1]", "a@[IPv6:2001:db8::1]"]
    {
        let header = written(&changed(stamp(), |it| it.recipient = Some(recipient)));
        let read = trace(header.as_bytes()).next().unwrap();
        let inner = recipient
            .strip_prefix('<')
            .and_then(|path| path.strip_suffix('>'))
            .unwrap_or(recipient);
        assert_eq!(read.recipient.unwrap().as_str(), Some(format!("<{inner}>").as_str()));
    }
    for cipher in ["", "ECDHE-RSA-AES128-SHA", "1X", "TLS_A (b", "TLS_A\r\n"] {
        let header = written(&changed(stamp(), |it| it.tls = Some(tls(cipher))));
        // A group is written only after a cipher.
        assert!(
            !header.contains("\ttls ")
                && !header.contains("group")
                && header.contains("(version=TLSv1.3)"),
            "{header}"
        );
    }
}

#[test]
fn utf8_only_in_smtputf8_transactions() {
    let name = "x1.h\u{e9}.example";
    let ascii = written(&changed(stamp(), |it| {
        it.name = name;
        it.recipient = Some("gr\u{fc}n@b");
    }));
    assert!(ascii.is_ascii() && ascii.contains("x1.h?.example"));
    let header = written(&changed(stamp(), |it| {
        it.name = name;
        it.recipient = Some("gr\u{fc}n@b");
        it.utf8 = true;
    }));
    assert!(header.contains("UTF8SMTPS") && header.contains("for <gr\u{fc}n@b>"));
    assert_eq!(trace(header.as_bytes()).next().unwrap().helo.unwrap(), name);
}

#[test]
fn a_client_cannot_forge_marks_by_its_names() {
    // A client that calls itself a keyword, a product, an address or TLS changes no other fact.
    for helo in [
        "by",
        "with",
        "ESMTPS",
        "TLSv1.3",
        "tls",
        "version=TLSv1.3",
        "[127.0.0.1]",
        "127.0.0.1",
        "localhost",
    ] {
        let header = written(&changed(stamp(), |it| {
            it.name = helo;
            it.tls = None;
            it.reverse_name = Some("tlsv1.3");
        }));
        let read = trace(header.as_bytes()).next().unwrap();
        assert_eq!(read.tls, None, "{header}");
        assert_eq!(read.by.unwrap(), "mx.ehs.example");
        assert_eq!(read.from_address, Some(IpAddr::from([192, 0, 2, 7])));
    }
}

/// How the client introduced itself, and whether it used AUTH and SMTPUTF8.
fn hello() -> impl Strategy<Value = (Hello, bool, bool)> {
    let hello = proptest::sample::select(vec![Hello::Helo, Hello::Ehlo, Hello::Lhlo]);
    (hello, any::<bool>(), any::<bool>())
}

fn version() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
}

prop_compose! {
    /// Fields that the grammar can hold as they are.
    fn clean()(
        names in ("[a-z0-9-]{1,60}(\\.[a-z0-9-]{1,60}){0,2}", proptest::option::of("[a-z]{1,9}(\\.[a-z]{1,9}){1,3}"), "[a-z0-9.-]{1,80}"),
        address in proptest::option::of(any::<IpAddr>()),
        hello in hello(),
        id in proptest::option::of("[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,90}"),
        recipient in proptest::option::of("([a-z+=]{1,40}|\"([a-z <>();,]|\\\\[\\\\\"]){0,40}\")@[a-z0-9.]{1,60}"),
        tls in proptest::option::of((
            version(),
            "TLS_[A-Z0-9_]{1,57}",
            proptest::option::of("[A-Za-z][A-Za-z0-9_-]{0,30}"),
            proptest::option::of((0..3, "[a-z=,;.*@-]{1,50}( [a-z;*]{1,50}){0,3}", proptest::option::of("[a-z]{1,40}( [a-z]{1,50}){0,3}"), any::<bool>())),
        )),
        date in (-2_208_900_000_i64..253_402_000_000, -1439_i16..1440),
    ) -> (OwnedStamp, Date) {
        (OwnedStamp { names, address, hello, id, recipient, tls }, Date::new(date.0, date.1).unwrap())
    }
}

type OwnedTls = (&'static str, String, Option<String>, Option<(i32, String, Option<String>, bool)>);

#[derive(Debug)]
struct OwnedStamp {
    names: (String, Option<String>, String),
    address: Option<IpAddr>,
    hello: (Hello, bool, bool),
    id: Option<String>,
    recipient: Option<String>,
    tls: Option<OwnedTls>,
}

impl OwnedStamp {
    fn stamp(&self, date: Date) -> Stamp<'_> {
        let tls = self.tls.as_ref().map(|(version, cipher, group, client)| {
            let cipher = cipher.clone().leak();
            let mut tls = TlsInfo::new(Peer::Unauthenticated, version, cipher);
            tls.group = group.clone().map(|group| &*group.leak());
            let client = client.as_ref().map(|(kind, name, issuer, verified)| match kind {
                0 => ClientCertificate::NotRequested,
                1 => ClientCertificate::NotPresented,
                _ => ClientCertificate::Presented {
                    common_name: Some(name.as_str()),
                    issuer: issuer.as_deref(),
                    verified: *verified,
                },
            });
            (&*Box::leak(Box::new(tls)), client)
        });
        let mut stamp = Stamp::new(&self.names.0, &self.names.2, self.hello.0, date);
        (stamp.auth, stamp.utf8) = (self.hello.1, self.hello.2);
        stamp.reverse_name = self.names.1.as_deref();
        stamp.address = self.address;
        stamp.id = self.id.as_deref();
        stamp.recipient = self.recipient.as_deref();
        stamp.tls = tls.map(|(tls, _)| tls);
        stamp.client = tls.and_then(|(_, client)| client);
        stamp
    }
}

proptest! {
    #[test]
    fn written_then_parsed_is_the_same((owned, date) in clean()) {
        let stamp = owned.stamp(date);
        let header = written(&stamp);
        well_formed(&header)?;
        let read = trace(header.as_bytes()).next().unwrap();
        let shown = |text: Option<trace::Text<'_>>| text.map(|text| text.to_string());
        let owned = |text: Option<&str>| text.map(str::to_owned);
        prop_assert_eq!(read.helo.unwrap().to_string(), stamp.name);
        let address = stamp.address.map(|address| address.to_canonical());
        prop_assert_eq!(read.from_address, address);
        prop_assert_eq!(shown(read.reverse_name), owned(stamp.reverse_name.filter(|name| address.is_some() && *name != "unknown")));
        prop_assert_eq!(shown(read.by), owned(Some(stamp.by)));
        prop_assert_eq!(shown(read.id), owned(stamp.id));
        let recipient = read.recipient.and_then(|path| path.as_str()).map(str::to_owned);
        prop_assert_eq!(recipient, stamp.recipient.map(|path| format!("<{path}>")));
        prop_assert_eq!(read.date.map(|read| read.to_string()), Some(date.to_string()));
        prop_assert_eq!(read.software, Some(Software::Own));
        prop_assert_eq!(read.arrival, Arrival::Network);
        prop_assert_eq!(read.with.unwrap(), stamp.keyword());
        prop_assert!(read.protocol.is_some());
        prop_assert_eq!((read.auth, read.utf8), (stamp.auth, stamp.utf8));
        prop_assert_eq!(read.tls.is_some(), stamp.tls.is_some());
        if let (Some(read), Some(tls)) = (read.tls, stamp.tls) {
            prop_assert_eq!(read.version.map(|read| read.to_string()), Some(tls.version.to_owned()));
            prop_assert_eq!(shown(read.cipher), Some(tls.cipher.to_owned()));
            prop_assert_eq!(shown(read.group), owned(tls.group));
            match (read.client, stamp.client) {
                (
                    Some(trace::ShownCertificate::Presented { common_name, issuer, verified }),
                    Some(ClientCertificate::Presented { common_name: name, issuer: by, verified: ok }),
                ) => {
                    prop_assert_eq!(shown(common_name), owned(name));
                    prop_assert_eq!(shown(issuer), owned(by));
                    prop_assert_eq!(verified, ok);
                }
                (Some(trace::ShownCertificate::NotRequested), Some(ClientCertificate::NotRequested))
                | (Some(trace::ShownCertificate::NotPresented), Some(ClientCertificate::NotPresented))
                | (None, None) => {}
                (read, wrote) => prop_assert!(false, "wrote {wrote:?}, read {read:?}"),
            }
        }
    }

    #[test]
    fn no_field_breaks_out(
        texts in proptest::collection::vec("[a-z\\r\\n\\x00 ()<>\"\\\\;,:@\u{85}\u{e9}]{0,40}|\\PC{0,400}|(?s).{0,300}", 8),
        utf8 in any::<bool>(),
    ) {
        let client = ClientCertificate::Presented {
            common_name: Some(&texts[2]),
            issuer: Some(&texts[3]),
            verified: false,
        };
        let leaked = |text: &String| -> &'static str { text.clone().leak() };
        let mut tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.2", leaked(&texts[0]));
        tls.group = Some(leaked(&texts[1]));
        let stamp = changed(stamp(), |it| {
            it.name = &texts[4];
            it.reverse_name = Some(&texts[5]);
            it.by = "mx.example";
            it.id = Some(&texts[6]);
            it.recipient = Some(&texts[7]);
            it.utf8 = utf8;
            it.tls = Some(&tls);
            it.client = Some(client);
        });
        let header = written(&stamp);
        well_formed(&header)?;
        prop_assert!(utf8 || header.is_ascii());
        // All that the server itself knows is still read, so nothing escaped from its place.
        let read = trace(header.as_bytes()).next().unwrap();
        prop_assert_eq!(read.from_address, stamp.address);
        prop_assert_eq!(read.by.unwrap(), "mx.example");
        prop_assert_eq!(read.with.unwrap(), stamp.keyword());
        prop_assert_eq!(read.date.map(|read| read.to_string()), Some(stamp.date.to_string()));
        let read = read.tls.unwrap();
        prop_assert_eq!(read.version, Some(trace::TlsVersion::Tls12));
        let presented = matches!(read.client, Some(trace::ShownCertificate::Presented { verified: false, .. }));
        prop_assert!(presented);
    }
}
