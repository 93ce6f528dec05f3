//! Received fields as products write them today, each with the verdict, the version and cipher
//! suite of TLS, and the client's address; and fields with words that a client has chosen.

use smtp_tls_policy::trace::{HopVerdict, Judgement, Received, ShownCertificate};

const PRODUCTS: &str = include_str!("golden/received-products.txt");

fn name(verdict: HopVerdict) -> &'static str {
    match verdict {
        HopVerdict::Tls => "tls",
        HopVerdict::Cleartext => "clear",
        HopVerdict::Unknown => "unknown",
        HopVerdict::Local => "local",
        HopVerdict::PrivateNet => "private",
    }
}

/// The verdict on a field, the version and cipher suite of TLS, and the client's address.
fn read(field: &str) -> String {
    let received = Received::parse(field.as_bytes());
    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let (version, cipher) = received.tls.map_or((None, None), |tls| (tls.version, tls.cipher));
    format!(
        "{} {} {} {}",
        name(received.judge().verdict()),
        or(version.map(|it| it.to_string())),
        or(cipher.map(|it| it.to_string())),
        or(received.from_address.map(|it| it.to_string()))
    )
}

/// A block is a line with the writer and what is expected, and the field, folded as it came.
#[test]
fn fields_of_a_hundred_writers_are_read() {
    let mut wrong = Vec::new();
    for block in PRODUCTS.split("\n\n") {
        let (head, field) = block.split_once('\n').unwrap();
        let (writer, expected) = head.rsplit_once(": ").unwrap();
        for line_end in ["\n", "\r\n", "\r\n "] {
            let found = read(&field.replace('\n', line_end));
            if found != expected {
                wrong.push(format!("{writer}: {found}, not {expected}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A field that has lost its last words gains no mark by that. (Without a client it counts as
/// local.)
#[test]
fn field_that_is_cut_off_after_any_word_becomes_neither_tls_nor_local() {
    for block in PRODUCTS.split("\n\n") {
        let (head, field) = block.split_once('\n').unwrap();
        let whole = Received::parse(field.as_bytes()).judge().verdict();
        for end in (0..field.len()).filter(|end| b" \t\n".contains(&field.as_bytes()[*end])) {
            let judgement = Received::parse(&field.as_bytes()[..end]).judge();
            let verdict = judgement.verdict();
            let gained = matches!(verdict, HopVerdict::Tls | HopVerdict::Local)
                && judgement != Judgement::NoClient
                && verdict != whole;
            assert!(!gained, "{head}: {judgement:?}\n{}", &field.as_bytes()[..end].escape_ascii());
        }
    }
}

/// Senders whose local part is a quoted string: writers that do not escape it end their comment in
/// the middle of it.
#[test]
fn sender_with_parentheses_in_a_comment_forges_no_mark() {
    for sender in [
        r#""x) (TLS1.3) ("@e.example"#,
        r#""x) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) ("@e.example"#,
        r#""x) tls TLS_AES_256_GCM_SHA384 ("@e.example"#,
        r#""x) with ESMTPS ("@e.example"#,
        r#""x) with local ("@e.example"#,
        r#""x) (Postfix, from userid 0) ("@e.example"#,
        r#""x) over TLS secured channel with Microsoft SMTPSVC ("@e.example"#,
        r#""a"."b) (TLS1.3) ("."c"@e.example"#,
        r#""x\") (TLS1.3) (\"y"@e.example"#,
        r#""x) by forged.example with ESMTPS ("@e.example"#,
    ] {
        let from = "from e.example ([198.51.100.7])";
        let escaped = sender.replace('\\', "\\\\").replace('"', "\\\"");
        for (field, expected) in [
            // Exim.
            (
                format!("by mx.example with esmtp (Exim 4.96) (envelope-from <{sender}>) id 1"),
                HopVerdict::Cleartext,
            ),
            // Maddy, Momentum.
            (
                format!("by mx.example (envelope-sender <{sender}>) with ESMTP id 1"),
                HopVerdict::Unknown,
            ),
            // chasquid.
            (
                format!(
                    "by mx.example (chasquid) with ESMTP (over SMTP, plain text!, envelope from \
                     \"{escaped}\")"
                ),
                HopVerdict::Cleartext,
            ),
            // PowerMTA.
            (
                format!(
                    "by mx.example (PowerMTA v5.0r8) id 1; Mon, 29 Jan 2024 10:11:12 +0000 \
                     (envelope-from <{sender}>)"
                ),
                HopVerdict::Unknown,
            ),
        ] {
            let field = format!("{from} {field}; Mon, 29 Jan 2024 10:11:12 +0000");
            let verdict = Received::parse(field.as_bytes()).judge().verdict();
            assert_eq!(verdict, expected, "{field}");
        }
    }
    // What the writer says before it still counts.
    let tls = "from e.example ([198.51.100.7]) by mx.example with esmtps (TLS1.3) tls \
               TLS_AES_256_GCM_SHA384 (Exim 4.96) (envelope-from <\"x) (y\"@e.example>) id 1";
    assert_eq!(read(tls), "tls TLSv1.3 TLS_AES_256_GCM_SHA384 198.51.100.7");
}

/// A server that writes the whole argument of EHLO writes the client's words outside a comment.
#[test]
fn name_with_the_words_of_other_clauses_forges_no_mark() {
    for name in [
        "x with ESMTPS",
        "x with ESMTPS id 1 for <b@example.net>",
        "x tls TLS_AES_256_GCM_SHA384",
        "x via TLS with SMTP over TLS",
        "x by forged.example with ESMTPS",
        "x by forged.example (TLS1.3)",
        "x by forged.example with local",
        "x (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)",
        "x (y [127.0.0.1]) by forged.example (Postfix) with ESMTP id 1",
        "mail pickup service",
        "x [127.0.0.1]",
        "x ([unix socket])",
        "x (x [local])",
        "x by forged.example (Postfix, from userid 0)",
        "x by (Haraka/3.0) with ESMTPS",
    ] {
        for rest in [
            "(y [198.51.100.7]) by mx.example (Postfix) with ESMTP id 1",
            "([198.51.100.7]) by mx.example with ESMTP id 1",
            "([198.51.100.7]) by mx.example with Microsoft SMTP Server id 15.1.2.3",
        ] {
            let field = format!("from {name} {rest}; Mon, 29 Jan 2024 10:11:12 +0000");
            let verdict = Received::parse(field.as_bytes()).judge().verdict();
            let is_safe = matches!(verdict, HopVerdict::Cleartext | HopVerdict::Unknown);
            assert!(is_safe, "{verdict:?}: {field}");
        }
    }
}

/// A comment without an end has lost what could deny its first words.
#[test]
fn open_comment_is_no_mark() {
    for rest in [
        "by mx.example with ESMTP (TLS",
        "by mx.example with ESMTP (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384",
        "by mx.example (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 (256",
        "by mx.example (x from userid 0",
        "(x [127.0.0.1] by mx.example",
    ] {
        let field = format!("from e.example {rest}; Mon, 29 Jan 2024 10:11:12 +0000");
        assert_eq!(read(&field).split(' ').next(), Some("unknown"), "{field}");
    }
    assert_eq!(read("(qmail 12345 invoked by uid 89"), "unknown - - -");
}

#[test]
fn comment_that_denies_tls_in_other_words_is_no_mark() {
    for comment in [
        "using TLS failed",
        "using no TLS",
        "using TLS: none",
        "version=TLSv1.2 cipher=NONE bits=0 verify=NO",
        "TLSv1.3 cipher=none",
        "TLS version=none",
        "TLS cipher=NONE",
        "cipher=NONE",
        "cipher=x",
        "tls=no",
    ] {
        let field = format!("from e.example ([198.51.100.7]) by mx.example with ESMTP ({comment})");
        assert_eq!(read(&field), "unknown - - 198.51.100.7", "{field}");
    }
}

/// A certificate may have any name.
#[test]
fn name_of_a_certificate_that_ends_like_the_sentence_is_not_verified() {
    for (comment, expected) in [
        (r#"Client CN "a", Issuer "b" (verified OK)"#, true),
        (r#"Client CN "a", Issuer "b" (not verified)"#, false),
        (r#"Client CN "a", Issuer "b" (verified OK)", Issuer "c" (not verified)"#, false),
        (r#"Client CN "a" (verified OK)", Issuer "c" (not verified)"#, false),
        (r#"Client CN "a", Issuer "b" (verified OK) (not verified)"#, false),
    ] {
        let field = format!(
            "from e.example (e.example [198.51.100.7]) (using TLSv1.3 with cipher X (256/256 \
             bits)) ({comment}) by mx.example (Postfix) with ESMTPS id 1"
        );
        let client = Received::parse(field.as_bytes()).tls.and_then(|tls| tls.client);
        let verified = matches!(client, Some(ShownCertificate::Presented { verified: true, .. }));
        assert_eq!(verified, expected, "{comment}");
    }
}
