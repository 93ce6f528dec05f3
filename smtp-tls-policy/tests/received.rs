//! The Received field, read as many products write it.

mod common;

use std::net::IpAddr;

use common::cost::ends;
use proptest::prelude::*;
use smtp_tls_policy::trace::{
    Arrival, DateTime, Protocol, Received, Software, TlsVersion, fields, trace,
};

#[test]
fn registered_keywords_are_read_in_any_case() {
    // RFC 5321, RFC 3848, RFC 6531, section 4.3: all of the registry.
    let table = [
        ("SMTP", Protocol::Smtp, false, false, false),
        ("ESMTP", Protocol::Esmtp, false, false, false),
        ("ESMTPA", Protocol::Esmtp, false, false, true),
        ("ESMTPS", Protocol::Esmtp, false, true, false),
        ("ESMTPSA", Protocol::Esmtp, false, true, true),
        ("LMTP", Protocol::Lmtp, false, false, false),
        ("LMTPA", Protocol::Lmtp, false, false, true),
        ("LMTPS", Protocol::Lmtp, false, true, false),
        ("LMTPSA", Protocol::Lmtp, false, true, true),
        ("UTF8SMTP", Protocol::Esmtp, true, false, false),
        ("UTF8SMTPA", Protocol::Esmtp, true, false, true),
        ("UTF8SMTPS", Protocol::Esmtp, true, true, false),
        ("UTF8SMTPSA", Protocol::Esmtp, true, true, true),
        ("UTF8LMTP", Protocol::Lmtp, true, false, false),
        ("UTF8LMTPA", Protocol::Lmtp, true, false, true),
        ("UTF8LMTPS", Protocol::Lmtp, true, true, false),
        ("UTF8LMTPSA", Protocol::Lmtp, true, true, true),
    ];
    for (keyword, protocol, utf8, tls, auth) in table {
        for keyword in [keyword.to_owned(), keyword.to_lowercase()] {
            let body = format!("from a by b with {keyword} id c; Thu, 1 Jan 1970 00:00:00 +0000");
            let read = Received::parse(body.as_bytes());
            assert_eq!(read.with.unwrap(), &*keyword);
            let said = (read.protocol, read.auth, read.utf8);
            assert_eq!(said, (Some(protocol), auth, utf8), "{keyword}");
            assert_eq!(read.tls.is_some(), tls, "{keyword}");
        }
    }
    for odd in ["ESMTPX", "UTF8", "ESMTP-TLSX", "SMTPSVC", "xsmtp"] {
        let body = format!("from a by b with {odd} id c");
        assert_eq!(Received::parse(body.as_bytes()).protocol, None, "{odd}");
    }
}

#[test]
fn what_a_client_calls_itself_is_no_mark() {
    // As other writers would put it.
    for body in [
        "from unknown (HELO using TLSv1.3 with cipher X) (192.0.2.7) by h with SMTP; x",
        "from x (HELO [127.0.0.1]) (192.0.2.7) by h with SMTP; x",
        "from a ([192.0.2.7] helo=[127.0.0.1]) by h with esmtp (Exim 4.98) id 1; x",
        "from a ([192.0.2.7]:25 helo=(TLS1.3)) by h with esmtp (Exim 4.98) id 1; x",
        "from a (127.0.0.1 [192.0.2.7]) by h (Postfix) with ESMTP id 1; x",
        "from a (TLSv1.3 [192.0.2.7]) by h (Postfix) with ESMTP id 1; x",
        "from a (192.0.2.7) by h (over SMTP, plain text!, envelope from \"TLS-1.3\") with SMTP; x",
    ] {
        let read = Received::parse(body.as_bytes());
        assert_eq!(read.tls, None, "{body}");
        assert_eq!(read.from_address, Some(IpAddr::from([192, 0, 2, 7])), "{body}");
    }
    // With no address by the writer, there is none: EHLO may say anything.
    let read = Received::parse(b"from [127.0.0.1] by h with ESMTP id 1; x");
    assert_eq!(read.from_address, None);
}

/// One shape of a header and the facts in it.
struct Shape {
    header: &'static str,
    software: Option<Software>,
    version: Option<TlsVersion>,
    cipher: Option<&'static str>,
    /// Any mark of TLS.
    tls: bool,
}

#[test]
fn reads_the_shapes_of_others() {
    use Software::*;
    use TlsVersion::*;
    let shape =
        |header, software, version, cipher| Shape { header, software, version, cipher, tls: true };
    let plain =
        |header, software| Shape { header, software, version: None, cipher: None, tls: false };
    let shapes = [
        shape(
            "from a.example (b.example [192.0.2.1])\r\n (using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits))\r\n (Client did not present a certificate)\r\n by h.example (Postfix) with ESMTPS id 4X for <u@h.example>; Tue, 3 Mar 2009 11:08:33 +0000 (UTC)",
            Some(Postfix),
            Some(Tls12),
            Some("ECDHE-RSA-AES256-GCM-SHA384"),
        ),
        shape(
            "from a ([192.0.2.1]) by h with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384\r\n\t(Exim 4.98) id 1-2; x",
            Some(Exim(Some((4, 98)))),
            Some(Tls13),
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        shape(
            "from a ([192.0.2.1]) by h with esmtps (TLSv1:RC4-SHA:128) (Exim 4.80) id 1; x",
            Some(Exim(Some((4, 80)))),
            Some(Tls10),
            Some("RC4-SHA"),
        ),
        shape(
            "from a ([192.0.2.1]) by h with esmtp (Cipher TLSv1:DES-CBC3-SHA:168) (Exim 4.34) id 1; x",
            Some(Exim(Some((4, 34)))),
            Some(Tls10),
            Some("DES-CBC3-SHA"),
        ),
        shape(
            "from a ([192.0.2.1]) by h with esmtps (UNKNOWN:ECDHE-RSA-AES256-GCM-SHA384:256) (Exim 4.72) id 1; x",
            Some(Exim(Some((4, 72)))),
            None,
            Some("ECDHE-RSA-AES256-GCM-SHA384"),
        ),
        shape(
            "from a (192.0.2.1) by h (192.0.2.2) with Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384) id 15.20.1.2 via Frontend Transport; x",
            Some(Exchange(Some((15, 20)))),
            Some(Tls12),
            Some("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        ),
        shape(
            "from a (192.0.2.1) by h (192.0.2.2) with Microsoft SMTP Server (TLS) id 14.3.439.0; x",
            Some(Exchange(Some((14, 3)))),
            None,
            None,
        ),
        shape(
            "from a (a. [192.0.2.1]) by mx.google.com with ESMTPS id X for <r@h>\r\n (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 bits=128/128); x",
            None,
            Some(Tls13),
            Some("TLS_AES_128_GCM_SHA256"),
        ),
        shape(
            "from a (b [192.0.2.1]) by h (8.15.2/8.15.2) with ESMTP id X (version=TLSv1.2 cipher=DHE-RSA-AES256-SHA bits=256 verify=NOT); x",
            Some(Sendmail((8, 15))),
            Some(Tls12),
            Some("DHE-RSA-AES256-SHA"),
        ),
        shape(
            "from a (b [192.0.2.1]) by h (OpenSMTPD) with ESMTPS id 0123abcd (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) for <u@h>; x",
            Some(OpenSmtpd),
            Some(Tls13),
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        shape(
            "from a (b [192.0.2.1])\r\n\t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\r\n\tby h (Stalwart SMTP) with ESMTPS id 1; x",
            Some(Stalwart),
            Some(Tls13),
            Some("TLS13_AES_256_GCM_SHA384"),
        ),
        shape(
            "from a ([192.0.2.1]) by h ([192.0.2.2]) with ESMTPS (requiretls) id X (TLS1.3 TLS_AES_128_GCM_SHA256) for <u@h>; x",
            None,
            Some(Tls13),
            Some("TLS_AES_128_GCM_SHA256"),
        ),
        shape(
            "from a (b [192.0.2.1]) by h (KumoMTA 192.0.2.2) with ESMTPS (TLSv1_3:TLS13_AES_256_GCM_SHA384)  id X; x",
            Some(KumoMta),
            Some(Tls13),
            Some("TLS13_AES_256_GCM_SHA384"),
        ),
        shape(
            "from a (b [192.0.2.1]) by h (Haraka/3.0.0) with ESMTPS id U envelope-from <s@a> tls TLS_AES_256_GCM_SHA384; x",
            Some(Haraka(Some((3, 0)))),
            None,
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        shape(
            "from a by h (chasquid) with ESMTPS\r\n\ttls TLS_AES_128_GCM_SHA256\r\n\t(over SMTP, TLS-1.3, envelope from \"s@a\")\r\n\t; x",
            Some(Chasquid),
            Some(Tls13),
            Some("TLS_AES_128_GCM_SHA256"),
        ),
        shape(
            "from a ([192.0.2.1]) by h with ESMTP/TLS/ECDHE-RSA-AES256-GCM-SHA384; x",
            None,
            None,
            Some("ECDHE-RSA-AES256-GCM-SHA384"),
        ),
        shape(
            "from [192.0.2.1] by h with ECDHE-RSA-AES256-GCM-SHA384 encrypted SMTP id X; x",
            None,
            None,
            Some("ECDHE-RSA-AES256-GCM-SHA384"),
        ),
        shape(
            "from a (b [192.0.2.1]) by h with ESMTP with STARTTLS (version=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384) id X; x",
            None,
            Some(Tls13),
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        shape(
            "from a (b [192.0.2.1])\r\n  (TLS: TLSv1/SSLv3, 168bits,DES-CBC3-SHA)\r\n  by h with esmtp; x",
            None,
            Some(Tls1OrSsl3),
            Some("DES-CBC3-SHA"),
        ),
        shape(
            "from a (unknown [192.0.2.1]) by h with smtp\r\n\t (TLS: TLSv1/SSLv3,256bits,AES256-SHA)\r\n\t id X; x",
            None,
            Some(Tls1OrSsl3),
            Some("AES256-SHA"),
        ),
        shape(
            "from a ([192.0.2.1]) by h (using TLS: TLSv1.2, AES256-SHA) id <B1@h>; x",
            None,
            Some(Tls12),
            Some("AES256-SHA"),
        ),
        shape("from a ([192.0.2.1]) by h with ESMTP-TLS id X; x", None, None, None),
        shape(
            "from a ([192.0.2.1])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\tby h (Dovecot) with LMTPS id X; x",
            Some(Dovecot),
            Some(Tls13),
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        shape("from a ([192.0.2.1]) by h with SMTPSA id X; x", None, None, None),
        shape("from a ([192.0.2.1]) by h with UTF8ESMTPS id X; x", None, None, None),
        shape("from a by h with ESMTP (TLS encrypted); x", None, None, None),
        shape("from a by h with SMTP over TLS id X; x", None, None, None),
        shape(
            "from a by h with ESMTP id X (TLSv1.2 with cipher AES256-SHA); x",
            None,
            Some(Tls12),
            Some("AES256-SHA"),
        ),
        shape(
            "from a by h with ESMTP id X (TLSv1.2 cipher AES256-SHA); x",
            None,
            Some(Tls12),
            Some("AES256-SHA"),
        ),
        plain(
            "from a (192.0.2.1) by h (192.0.2.2) with Microsoft SMTP Server id 8.1.340.0; x",
            Some(Exchange(Some((8, 1)))),
        ),
        plain(
            "from a ([192.0.2.1]) by h with Microsoft SMTPSVC(6.0.3790.3959); x",
            Some(MicrosoftSmtpSvc),
        ),
        plain("from a (b [192.0.2.1]) by h (Postfix) with ESMTP id X; x", Some(Postfix)),
        plain(
            "from a ([192.0.2.1]) by h with asmtp (Exim 4.34) id X; x",
            Some(Exim(Some((4, 34)))),
        ),
        plain("from a (TLS) by h with SMTP (SimpleEmailService-d-X) id Y; x", None),
        // `with cipher` inside a comment is not the `with` clause, and no mark without a version.
        plain("from a (b [192.0.2.1]) by h (using nothing with cipher X) with ESMTP id Y; x", None),
        plain("(qmail 123 invoked from network); x", Some(Qmail)),
    ];
    for Shape { header, software, version, cipher, tls } in shapes {
        let read = Received::parse(header.as_bytes());
        assert_eq!(read.software, software, "{header}");
        assert_eq!(read.tls.is_some(), tls, "{header}");
        assert_eq!(read.tls.and_then(|tls| tls.version), version, "{header}");
        assert_eq!(
            read.tls.and_then(|tls| tls.cipher).map(|cipher| cipher.to_string()).as_deref(),
            cipher,
            "{header}"
        );
    }
}

#[test]
fn reads_how_a_message_arrived() {
    for (header, arrival) in [
        ("from wk by h with local (Exim 4.84) id 1; x", Arrival::Local),
        ("from a ([192.0.2.1]) by h with local-esmtps (TLS1.3) id 1; x", Arrival::Local),
        ("from a (192.0.2.1) by a (192.0.2.1) with mapi id 15.20.0218.015; x", Arrival::Local),
        ("(qmail 1 invoked by uid 111); x", Arrival::Local),
        ("(Haraka 1 invoked for bounce); x", Arrival::Local),
        ("by h (Postfix, from userid 35569)\r\n\tid 19B32800D; x", Arrival::Local),
        ("(from root@localhost)\r\n\tby h (8.14.4/8.14.4/Submit) id X; x", Arrival::Local),
        ("by h (MessageSwitch) id 1; x", Arrival::Local),
        ("by h (MessageSwitch) id 1; x", Arrival::Local),
        ("from mail pickup service by h with Microsoft SMTPSVC; x", Arrival::Local),
        ("from a ([unix socket]) by h (Cyrus v2.2.12) with LMTPA; x", Arrival::Local),
        ("from localhost (h [local]) by h (OpenSMTPD) with ESMTPA id 1; x", Arrival::Local),
        ("from mail (pickup service [192.0.2.1]) by h with SMTP; x", Arrival::Network),
        ("(qmail 1 invoked from network); x", Arrival::Network),
        ("from locality by h with locals; x", Arrival::Network),
        ("by 192.0.2.1 with SMTP id X; x", Arrival::NotStated),
        ("", Arrival::NotStated),
    ] {
        assert_eq!(Received::parse(header.as_bytes()).arrival, arrival, "{header}");
    }
}

#[test]
fn reads_clauses_and_comments() {
    let read = Received::parse(
        b"from helo.example (IDENT:joe@ptr.example [IPv6:2001:db8::7] (may be forged))\r\n by h.example ([192.0.2.9]) via TCP over wire with (a (nested \\) one)) Microsoft SMTP\r\n Server (x) more id <\"a;b\"@c> for \"q \\\" s\"@d ; Tue, 3 Mar 2009 11:08 GMT",
    );
    assert_eq!(read.from.unwrap(), "helo.example");
    assert_eq!((read.helo, read.reverse_name), (read.from, None));
    assert_eq!(read.from_address, Some("2001:db8::7".parse().unwrap()));
    assert_eq!(read.by_address, Some(IpAddr::from([192, 0, 2, 9])));
    assert_eq!(read.via.unwrap(), "TCP over wire");
    assert_eq!(read.with.unwrap(), "Microsoft SMTP Server");
    assert_eq!(read.id.unwrap(), "<\"a;b\"@c>");
    assert_eq!(read.recipient.unwrap(), "\"q \\\" s\"@d");
    assert_eq!(read.date, DateTime::new(1_236_078_480, 0));
    let comments: Vec<_> = read.comments().map(|comment| comment.to_string()).collect();
    assert_eq!(comments[1..], ["[192.0.2.9]", "a (nested \\) one)", "x"]);

    let read = Received::parse(b"from rdns.example (HELO name) (192.0.2.1) by h with SMTP; x");
    assert_eq!(read.helo.unwrap(), "name");
    assert_eq!(read.reverse_name.unwrap(), "rdns.example");
    let read =
        Received::parse(b"from [192.0.2.1] (port=1 helo=name) by h with esmtp (Exim 4.98); x");
    assert_eq!(read.helo.unwrap(), "name");
    assert_eq!((read.reverse_name, read.from_address), (None, Some([192, 0, 2, 1].into())));
    let read =
        Received::parse(b"from unknown (HELO name) (joe@192.0.2.1 with login) by h with SMTP; x");
    assert_eq!((read.reverse_name, read.from_address), (None, Some([192, 0, 2, 1].into())));
    // A clause without its value, as Haraka and others write it.
    let read = Received::parse(b"from a by  (Haraka/2.8.16) with ESMTPSA id 1; x");
    assert_eq!((read.by, read.with.unwrap().as_str()), (None, Some("ESMTPSA")));
    let read = Received::parse(b"from a by ; x");
    assert_eq!(read.by, None);
}

#[test]
fn finds_the_fields_of_a_header_section() {
    let message = b"Return-Path: <>\r\nReceived: from a\r\n\tby b; x\r\nX-Received: no\r\nrEcEiVeD : from c\n by d; x\nReceivedX: no\r\nSubject: Received: no\r\n\r\nReceived: from body by b\r\n";
    let hops: Vec<_> = trace(message).map(|hop| hop.by.unwrap().to_string()).collect();
    assert_eq!(hops, ["b", "d"]);
    assert_eq!(fields(b"Received: from a\r\n by b").next(), Some(&b"from a\r\n by b"[..]));
    assert_eq!(fields(b"\nReceived: from a\r\n").next(), None);
    assert_eq!(fields(b"").next(), None);
}

#[test]
fn text_is_shown_unfolded_and_harmless() {
    let read = Received::parse(b"from a (x\r\n\t \x1b[31m y\xff) by b; x");
    assert_eq!(read.comments().next().unwrap().to_string(), "x \u{fffd}[31m y\u{fffd}");
}

#[test]
fn dates_as_others_write_them() {
    let at = |seconds, offset| DateTime::new(seconds, offset);
    for (text, date) in [
        ("Tue, 3 Mar 2009 11:08:33 +0000", at(1_236_078_513, 0)),
        ("Tue,  3\r\n Mar 2009 11:08:33 +0000 (UCT)", at(1_236_078_513, 0)),
        ("3 Mar 2009 03:08:33 -0800", at(1_236_078_513, -480)),
        ("Fri, 25 Sep 92 14:13:02 PDT", at(717_455_582, -420)),
        ("25 Sep 2022 08:49 +0200", at(1_664_088_540, 120)),
        ("(comment) Thu, 1 Jan 1970 00:00:00", at(0, 0)),
        ("29 Feb 2000 23:59:60 GMT", at(951_868_800, 0)),
        ("31 Dec 49 00:00:00 Z", at(2_524_521_600, 0)),
        ("1 Jan 101 00:00:00 +0000", at(978_307_200, 0)),
        ("29 Feb 1900 00:00:00 +0000", None),
        ("31 Apr 2009 00:00:00 +0000", None),
        ("0 Apr 2009 00:00:00 +0000", None),
        ("1 Apr 2009 24:00:00 +0000", None),
        ("1 Apr 2009 00:60:00 +0000", None),
        ("1 Apr 2009 00:00:00 +0060", None),
        ("1 Apr 2009 00:00:00 +99999", None),
        ("1 Apr 20099 00:00:00 +0000", None),
        ("1 Apr 1899 00:00:00 +0000", None),
        ("1 Foo 2009 00:00:00 +0000", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(DateTime::parse(text.as_bytes()), date, "{text}");
    }
    assert_eq!(at(-2_208_988_800, 0).unwrap().to_string(), "Mon, 1 Jan 1900 00:00:00 +0000");
    assert_eq!(at(253_402_300_799, 0).unwrap().to_string(), "Fri, 31 Dec 9999 23:59:59 +0000");
    assert_eq!(at(951_782_400, 0).unwrap().to_string(), "Tue, 29 Feb 2000 00:00:00 +0000");
    assert_eq!(at(-1, -570).unwrap().to_string(), "Wed, 31 Dec 1969 14:29:59 -0930");
    assert_eq!(
        (at(-2_208_988_801, 0), at(253_402_300_800, 0), at(0, 6000), at(i64::MAX, 1)),
        (None, None, None, None)
    );
}

/// Each of these is quadratic for a reader that looks again.
#[test]
fn hostile_bodies_of_four_million_octets_are_read() {
    for piece in [
        "(", ")", "\"", "<", "<\"", "\"<", "\\", "(\\", "from ", "with a ", "tls ", ";", "( ",
        "(helo=", "<\"\" ", "x\"", "(a,(",
    ] {
        let body = piece.repeat(4_000_000 / piece.len());
        let is_read = move || Received::parse(body.as_bytes()).comments().count() < body.len();
        assert!(ends(piece, is_read), "{piece:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_parse(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let read = Received::parse(&bytes);
        let _ = format!("{read:?}");
        prop_assert!(trace(&bytes).count() <= bytes.len());
    }

    #[test]
    fn folding_changes_nothing(
        words in proptest::collection::vec(
            prop_oneof![
                "from|by|with|via|id|for|tls|group|;|ESMTPS|Microsoft|SMTP|\\(Postfix\\)|\\(|\\)|\"|<|>",
                "\\(using TLSv1.3 with cipher X_Y \\(256/256 bits\\)\\)|\\(version=TLS1_2, cipher=A\\)|\\(a \\[192.0.2.1\\]\\)",
                "Tue, 3 Mar 2009 11:08:33 \\+0000|\\(Client CN \"a b\", Issuer \"c d\" \\(verified OK\\)\\)",
                "[a-z.\\[\\]()<>\"=:,;-]{1,8}",
            ],
            0..30,
        ),
        folds in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let unfolded = words.join(" ");
        let mut folded = String::new();
        for (index, word) in unfolded.split(' ').enumerate() {
            if index > 0 {
                folded.push_str(if folds[index % folds.len()] { "\r\n\t" } else { " " });
            }
            folded.push_str(word);
        }
        prop_assert_eq!(Received::parse(folded.as_bytes()), Received::parse(unfolded.as_bytes()));
    }

    #[test]
    fn dates_written_then_parsed_are_the_same(seconds in -2_208_900_000_i64..253_402_000_000, offset in -5999_i16..6000) {
        if let Some(date) = DateTime::new(seconds, offset) {
            prop_assert_eq!(DateTime::parse(date.to_string().as_bytes()), Some(date));
        }
    }
}
