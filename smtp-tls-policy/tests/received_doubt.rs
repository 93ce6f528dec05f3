//! Received fields that leave a doubt: none of them is read as TLS or as local.

use smtp_tls_policy::trace::{DateTime, HopVerdict, Received, review};

const DATE: &str = "; Tue, 3 May 2016 10:11:12 -0700";

fn verdict(field: &str) -> HopVerdict {
    Received::parse(format!("{field}{DATE}").as_bytes()).judge().verdict()
}

/// The client's address and name, as many servers write them.
const FROM: &str = "from a.example (a.example [198.51.100.11])";

#[test]
fn words_that_deny_tls_are_no_mark() {
    for rest in [
        "with ESMTP without TLS",
        "with SMTP no TLS",
        "with ESMTP (TLS not used)",
        "with ESMTP (TLS disabled)",
        "with ESMTP (SSL off)",
        "with ESMTP (no TLS)",
        "with ESMTP (TLS: none)",
        "with ESMTP (SSL: no)",
        "(using TLS: off) with ESMTP",
        "with ESMTP (TLSv1.2 failed)",
        "with ESMTP (version=NONE cipher=NONE bits=0 verify=NO)",
        "with ESMTP (version=3.4.1)",
        "with (not encrypted) SMTP",
        "with not encrypted SMTP",
        "with ESMTP (Cipher NONE)",
        "with ESMTP (using no cipher)",
        "with ESMTP tls none",
        "with ESMTP tls off; x",
        "with ESMTP tls",
        "with ESMTP tls for <b@example.net>",
    ] {
        let field = format!("{FROM} by mx.example {rest}");
        assert_eq!(verdict(&field), HopVerdict::Unknown, "{rest}");
    }
    for over in ["over an unsecured channel", "over TLS unsecured channel", "over no TLS channel"] {
        let field = format!("{FROM} by mx.example {over} with Microsoft SMTPSVC(7.5)");
        assert_eq!(verdict(&field), HopVerdict::Unknown, "{over}");
    }
    // Software that always marks TLS says clear text by that.
    let field = format!("{FROM} by mx.example (Postfix) with ESMTP (TLS not used) id 1");
    assert_eq!(verdict(&field), HopVerdict::Cleartext);
}

#[test]
fn marks_of_further_products_are_tls_with_their_cipher_suite() {
    for (rest, cipher) in [
        // T-Online.
        (
            "with (TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384 encrypted) esmtp id 1",
            "ECDHE-RSA-AES256-GCM-SHA384",
        ),
        // Yandex writes it after the date.
        (
            "with ESMTP id 1; Tue, 3 May 2016 10:11:12 +0300 (Using TLSv1.2 with cipher \
             ECDHE-RSA-AES128-GCM-SHA256 (128/128 bits))",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ),
        // qmail-ldap.
        ("(qmail-ldap-1.03) with DHE-RSA-AES256-SHA encrypted SMTP", "DHE-RSA-AES256-SHA"),
        // James.
        ("with ESMTP (TLSv1.3:TLS_AES_256_GCM_SHA384) ID 1", "TLS_AES_256_GCM_SHA384"),
        // Kerio.
        (
            "(Kerio Connect 9.2) (using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 \
             bits)) for <b@example.net>",
            "ECDHE-RSA-AES256-GCM-SHA384",
        ),
        // RFC 8314, section 4.3.
        ("with ESMTP tls TLS_AES_128_GCM_SHA256 group x25519", "TLS_AES_128_GCM_SHA256"),
        ("with ESMTP (version=TLS1_3 cipher=0x1301)", "0x1301"),
    ] {
        let field = format!("{FROM} by mx.example {rest}");
        let received = Received::parse(field.as_bytes());
        assert_eq!(received.judge().verdict(), HopVerdict::Tls, "{rest}");
        let shown = received.tls.and_then(|tls| tls.cipher).map(|cipher| cipher.to_string());
        assert_eq!(shown.as_deref(), Some(cipher), "{rest}");
    }
    // MailEnable.
    assert_eq!(verdict(&format!("{FROM} by mx.example with MailEnable ESMTPS")), HopVerdict::Tls);
    // OpenSMTPD before 6.5.
    let field =
        format!("{FROM} by mx.example with ESMTP id 1 TLS version=TLSv1.2 cipher=X bits=256");
    assert_eq!(verdict(&field), HopVerdict::Tls);
}

#[test]
fn client_before_the_first_clause_is_a_network_hop() {
    for field in [
        "a.example ([198.51.100.11]) by b.example with MailEnable ESMTP",
        "a.example [198.51.100.11] by b.example with SMTP",
        "([198.51.100.11]) by b.example with SMTP",
        "From: a.example by b.example with SMTP",
        "(from a.example [198.51.100.11]) by b.example with SMTP",
        "(from [198.51.100.11]) by b.example with SMTP",
        "(filter 12 invoked from 198.51.100.11) by b.example with SMTP",
    ] {
        assert_eq!(verdict(field), HopVerdict::Unknown, "{field}");
    }
    let message = format!(
        "Received: {FROM} by c.example (Postfix) with ESMTPS id 2{DATE}\r\n\
         Received: a.example ([198.51.100.11]) by a.example with SMTP{DATE}\r\n\r\n"
    );
    let weakest = review(message.as_bytes(), &[], &[]).map(|hop| hop.judgement.verdict()).min();
    assert_eq!(weakest, Some(HopVerdict::Unknown));
}

#[test]
fn client_that_authenticated_itself_came_over_a_network() {
    for keyword in ["ESMTPA", "asmtp", "UTF8SMTPA"] {
        let field = format!("(Authenticated sender: a) by b.example with {keyword} id 1");
        assert_eq!(verdict(&field), HopVerdict::Unknown, "{keyword}");
    }
    assert_eq!(verdict("by b.example with ESMTPSA id 1"), HopVerdict::Tls);
    assert_eq!(verdict("by b.example with SMTP id 1"), HopVerdict::Local);
}

#[test]
fn loopback_that_a_client_names_is_not_its_address() {
    for (field, expected) in [
        // What follows the address in one comment is not the address.
        (
            "from localhost ([198.51.100.11] helo=localhost) by mx.example with esmtp (Exim 4.96)",
            HopVerdict::Cleartext,
        ),
        ("from x ([127.0.0.1]) (198.51.100.11) by mx.example with SMTP", HopVerdict::Unknown),
        ("from x [127.0.0.1] (y [198.51.100.11]) by mx.example with SMTP", HopVerdict::Unknown),
        ("from x ([10.0.0.1]) ([198.51.100.11]) by mx.example with SMTP", HopVerdict::Unknown),
        ("from x ([local]) (198.51.100.11) by mx.example with SMTP", HopVerdict::Unknown),
        ("from x (x [127.0.0.1]) by mx.example with SMTP", HopVerdict::Local),
    ] {
        assert_eq!(verdict(field), expected, "{field}");
    }
    let received = Received::parse(b"from x ([127.0.0.1]) (198.51.100.11) by mx.example with SMTP");
    assert_eq!(received.from_address, Some([198, 51, 100, 11].into()));
}

/// The trust ends at a field with two addresses of the client, one of them that of an own host.
#[test]
fn client_with_two_addresses_is_no_host_of_ours() {
    let trusted = |from: &str| {
        let message = format!(
            "Received: from x {from} by edge.example (Postfix) with ESMTPS id 2{DATE}\r\n\
             Received: {FROM} by edge.example (Postfix) with ESMTPS id 1{DATE}\r\n\r\n"
        );
        let own = [203, 0, 113, 9].into();
        review(message.as_bytes(), &["edge.example"], &[own]).filter(|hop| hop.trusted).count()
    };
    assert_eq!(trusted("(y [203.0.113.9])"), 2);
    assert_eq!(trusted("([203.0.113.9]) (198.51.100.11)"), 1);
    assert_eq!(trusted("([127.0.0.1]) (198.51.100.11)"), 1);
}

#[cfg(feature = "idna")]
#[test]
fn own_host_is_known_in_both_spellings_of_an_internationalised_name() {
    let message = |by: &str| format!("Received: {FROM} by {by} with ESMTPS id 2{DATE}\r\n\r\n");
    for (own, by) in [
        ("mx.b\u{fc}cher.example", "mx.xn--bcher-kva.example"),
        ("mx.xn--bcher-kva.example", "MX.B\u{dc}CHER.example."),
    ] {
        let is_own = |by| review(message(by).as_bytes(), &[own], &[]).all(|hop| hop.trusted);
        assert!(is_own(by), "{by}");
        assert!(!is_own("mx.bucher.example"));
    }
}

#[test]
fn obsolete_white_space_in_a_time_is_read() {
    let date = DateTime::new(1_236_078_513, 0);
    for text in [
        "Tue , 3 Mar 2009 11 : 08 : 33 +0000",
        "Tue, 3 Mar 2009 11:08(minutes) :33 GMT",
        "3 Mar 2009 11: 08:33",
    ] {
        assert_eq!(DateTime::parse(text.as_bytes()), date, "{text}");
    }
    for text in ["3 Mar 2009 11 08 33 +0000", "3 Mar 2009 11::08 +0000", "3 Mar 2009 11:08: +0000"]
    {
        assert_eq!(DateTime::parse(text.as_bytes()), None, "{text}");
    }
}
