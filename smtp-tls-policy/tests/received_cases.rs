//! Received fields that were once misread, and variations of each. `CASES.md` lists them.

use smtp_tls_policy::trace::{HopVerdict, Judgement, Received, review};

const DATE: &str = "; Tue, 3 May 2016 10:11:12 -0700";

/// The verdict on a field, and its cipher suite.
fn judged(field: &str) -> (HopVerdict, Option<String>) {
    let field = format!("{field}{DATE}");
    let received = Received::parse(field.as_bytes());
    let cipher = received.tls.and_then(|tls| tls.cipher).map(|cipher| cipher.to_string());
    (received.judge().verdict(), cipher)
}

fn tls(cipher: &str) -> (HopVerdict, Option<String>) {
    (HopVerdict::Tls, Some(cipher.to_owned()))
}

const TLS: (HopVerdict, Option<String>) = (HopVerdict::Tls, None);

#[test]
fn iis_over_tls_secured_channel_is_tls() {
    let field = |words: &str| {
        format!(
            "from COL004-OMC1S1.example ([192.0.2.34]) by mail.example.net {words}with Microsoft \
             SMTPSVC(7.5.7601.23143)"
        )
    };
    assert_eq!(judged(&field("over TLS secured channel ")), TLS);
    assert_eq!(judged(&field("")).0, HopVerdict::Unknown);
    assert_eq!(judged(&field("over a slow channel ")).0, HopVerdict::Unknown);
    // A client that calls itself so changes nothing.
    let helo = "from over TLS ([192.0.2.34]) by mail.example.net with Microsoft SMTPSVC(6.0)";
    assert_eq!(judged(helo).0, HopVerdict::Unknown);
}

#[test]
fn an_encrypted_comment_in_the_with_clause_is_tls_with_its_cipher() {
    // qmail with its TLS patch.
    let qmail = "from unknown (HELO mx.example.org) (192.0.2.5) by 0 with \
                 (DHE-RSA-AES256-SHA encrypted) SMTP";
    assert_eq!(judged(qmail), tls("DHE-RSA-AES256-SHA"));
    // qpsmtpd.
    let qpsmtpd = "from pool.example.org (HELO box.local) (192.0.2.5) (smtp-auth username \
                   user@example.net, mechanism cram-md5) by mail.example.net (qpsmtpd/0.92) with \
                   (ECDHE-RSA-AES256-GCM-SHA384 encrypted) ESMTPSA";
    assert_eq!(judged(qpsmtpd), tls("ECDHE-RSA-AES256-GCM-SHA384"));
    let two_keywords = "from box.example.org (unknown [192.0.2.5]) by mail.example.net with ESMTPS \
                        (DHE-RSA-AES256-GCM-SHA384 encrypted) ESMTPA";
    assert_eq!(judged(two_keywords), tls("DHE-RSA-AES256-GCM-SHA384"));
    let tls13 = "from unknown (HELO mx.example.org) (192.0.2.5) by 0 with \
                 (TLS_AES_256_GCM_SHA384 encrypted) SMTP";
    assert_eq!(judged(tls13), tls("TLS_AES_256_GCM_SHA384"));
    // What the client says of itself is not in the with clause.
    let helo = "from unknown (HELO AES128-SHA encrypted) (192.0.2.5) by 0 with SMTP";
    assert_eq!(judged(helo).0, HopVerdict::Unknown);
}

#[test]
fn icewarp_ssl_comment_is_tls() {
    let field = |comment: &str| {
        format!(
            "from mx.example.org ([192.0.2.5]) by mail.example.net (IceWarp 12.0.1.1 x64) with \
             ESMTP {comment}id 201605031011120000 for <b@example.net>"
        )
    };
    assert_eq!(judged(&field("(SSL) ")), TLS);
    assert_eq!(judged(&field("")).0, HopVerdict::Unknown);
}

#[test]
fn courier_auth_comment_with_ssl_is_tls_with_its_cipher() {
    let field = |comment: &str| {
        format!("from box.example.org ([192.0.2.5]) ({comment}) by mail.example.net with esmtp")
    };
    let auth = "AUTH: LOGIN user@example.net, SSL: TLSv1/SSLv3,128bits,RC4-MD5";
    assert_eq!(judged(&field(auth)), tls("RC4-MD5"));
    let auth = "AUTH: CRAM-MD5 user, TLS: TLSv1.2,256bits,ECDHE-RSA-AES256-GCM-SHA384";
    assert_eq!(judged(&field(auth)), tls("ECDHE-RSA-AES256-GCM-SHA384"));
    assert_eq!(judged(&field("AUTH: LOGIN user@example.net")).0, HopVerdict::Unknown);
    // The name of a user is no mark.
    assert_eq!(judged(&field("AUTH: LOGIN TLS:")).0, HopVerdict::Unknown);
}

#[test]
fn words_of_the_client_before_its_address_are_no_mark() {
    for field in [
        "from (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) (HELO x) \
         (192.0.2.5) by mail.example.net with SMTP",
        "from x (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384) (192.0.2.5) by \
         mail.example.net with SMTP",
        "from (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384) by mail.example.net with SMTP",
        "from x (TLS: TLSv1.2,256bits,AES256-SHA) by mail.example.net with SMTP",
        "from x (Client CN \"a\", Issuer \"b\" (verified OK)) by mail.example.net with SMTP",
    ] {
        let (verdict, cipher) = judged(field);
        assert_eq!((verdict, cipher), (HopVerdict::Unknown, None), "{field}");
    }
    // The server's own words follow the address.
    let postfix = "from x (unknown [192.0.2.5]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 \
                   (256/256 bits)) by mail.example.net (Postfix) with ESMTP id 1";
    assert_eq!(judged(postfix), tls("TLS_AES_256_GCM_SHA384"));
}

#[test]
fn exim_without_a_client_address_is_local() {
    let field = "from localhost by mail-03.example.net with utf8esmtp (Exim 4.96) \
                 (envelope-from <a@example.net>) id 1wPQyP-007hMj-0o";
    assert_eq!(judged(field).0, HopVerdict::Local);
    let network = "from [192.0.2.5] (helo=localhost) by mail-03.example.net with esmtp (Exim 4.96) \
                   id 1wPQyP-007hMj-0o";
    assert_eq!(judged(network).0, HopVerdict::Cleartext);
    // A user of the host, and names that a client over a network may have.
    for (from, verdict) in [
        ("Debian-exim", HopVerdict::Local),
        ("mx.example", HopVerdict::Cleartext),
        ("[192.0.2.5]", HopVerdict::Cleartext),
    ] {
        let field = format!("from {from} by mail.example.net with spam-scanned (Exim 4.96) id 1");
        assert_eq!(judged(&field).0, verdict, "{from}");
    }
    // Other software does not say so much.
    assert_eq!(judged("from localhost by h.example with SMTP").0, HopVerdict::Unknown);
}

#[test]
fn a_from_clause_with_an_address_and_no_name_is_a_network_hop() {
    let clear = "from ([198.51.100.11]) by b.example with MailEnable ESMTP";
    let received = Received::parse(clear.as_bytes());
    assert_eq!(received.judge().verdict(), HopVerdict::Unknown);
    assert_eq!(received.from_address, Some([198, 51, 100, 11].into()));
    assert_eq!(received.from.expect("a from clause"), "");
    assert_eq!(received.helo.expect("the same for lack of another"), "");
    let postfix = "from ([198.51.100.11]) by b.example (Postfix) with ESMTP id 1";
    assert_eq!(judged(postfix).0, HopVerdict::Cleartext);
    // Below a TLS hop it is not "all TLS".
    let message = format!(
        "Received: from b.example (b.example [192.0.2.1]) by c.example (Postfix) with ESMTPS id 2\
         {DATE}\r\nReceived: {clear}{DATE}\r\n\r\n"
    );
    let weakest = review(message.as_bytes(), &[], &[]).map(|hop| hop.judgement.verdict()).min();
    assert_eq!(weakest, Some(HopVerdict::Unknown));
}

#[test]
fn the_address_of_the_receiving_host_may_follow_its_name() {
    for by in ["mx.example (mx.example [203.0.113.5])", "mx.example ([203.0.113.5])"] {
        let field = format!("from a.example (a.example [10.0.0.7]) by {by} with SMTP");
        let received = Received::parse(field.as_bytes());
        assert_eq!(received.by_address, Some([203, 0, 113, 5].into()), "{by}");
        // A client under a private address, and a server that is elsewhere.
        assert_eq!(received.judge().verdict(), HopVerdict::Unknown, "{by}");
    }
}

#[test]
fn an_unreadable_field_is_neither_tls_nor_local() {
    for field in [
        "",
        "garbage",
        "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))",
        "with ESMTPS id 1",
        "from a ([192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)",
        "from a ([127.0.0.1])",
        "by",
    ] {
        let judgement = Received::parse(field.as_bytes()).judge();
        assert_eq!(judgement, Judgement::Unreadable, "{field}");
        assert_eq!(judgement.verdict(), HopVerdict::Unknown);
    }
}
