//! Clients with odd habits: commands out of place, repeated, cut short, too long or in other
//! letters, and what the server answers to each.

mod common;

use common::{ServerBed, changed, mechanisms, server_config};
use smtp_proto::Date;
use smtp_proto::server::{FutureRelease, ServerConfig};

/// A server with every extension that needs no TLS.
fn config() -> ServerConfig {
    changed(server_config(), |it| {
        it.size_limit = Some(1000);
        it.chunking = true;
        it.binary_mime = true;
        it.smtputf8 = true;
        it.dsn = true;
        it.mt_priority = Some("MIXER".into());
        it.deliver_by = Some(60);
        let last = Date::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
        it.future_release = Some(FutureRelease::new(999_999_999, last));
        it.mechanisms = mechanisms();
        it.auth_in_clear = true;
        (it.vrfy, it.expn, it.help, it.etrn) = (true, true, true, true);
    })
}

/// Code and enhanced code of each reply to these octets, after the greeting and EHLO.
fn replies(input: &[u8]) -> String {
    let run = |bytewise: bool| {
        let mut bed = ServerBed::new(config());
        bed.feed(b"EHLO c\r\n");
        bed.said();
        if bytewise {
            bed.feed_bytewise(input);
        } else {
            bed.feed(input);
        }
        bed.said()
    };
    let said = run(false);
    assert_eq!(run(true), said, "{}", input.escape_ascii());
    let codes = said.lines().filter(|line| line.get(3..4) != Some("-")).map(|line| {
        let (code, text) = line.split_at(3);
        match text.split(' ').nth(1).filter(|word| word.get(1..2) == Some(".")) {
            Some(enhanced) => format!("{code} {enhanced}"),
            None => code.to_owned(),
        }
    });
    codes.collect::<Vec<_>>().join(", ")
}

/// Each row: what the client sends after EHLO, `|` for CRLF, and what the server answers.
#[track_caller]
fn check(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(input, expected)| {
            let found = replies(input.replace('|', "\r\n").as_bytes());
            (found != *expected).then(|| format!("{input}\n  {found}\n  not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const OK: &str = "250 2.0.0";

/// The row with `MAIL` and `RCPT` before it, both taken.
#[track_caller]
fn check_in_transaction(rows: &[(&str, &str)]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|(input, expected)| {
            (
                format!("MAIL FROM:<a@test.example>|RCPT TO:<b@test.example>|{input}"),
                format!("{OK}, {OK}, {expected}"),
            )
        })
        .collect();
    check(&rows.iter().map(|(input, expected)| (&input[..], &expected[..])).collect::<Vec<_>>());
}

#[test]
fn commands_that_change_nothing_leave_the_transaction_open() {
    check_in_transaction(&[
        (
            "NOOP|NOOP x|HELP|HELP MAIL|VRFY b|EXPN b|DATA|x|.|",
            "250 2.0.0, 250 2.0.0, 252 2.5.2, 252 2.5.2, 252 2.5.2, 252 2.5.2, 354, 250 2.0.0",
        ),
        ("WHAT|DATA|x|.|", "500 5.5.1, 354, 250 2.0.0"),
        ("MAIL FROM:<c@test.example>|DATA|x|.|", "503 5.5.1, 354, 250 2.0.0"),
        ("AUTH PLAIN AHVzZXIAcGVuY2ls|DATA|x|.|", "503 5.5.1, 354, 250 2.0.0"),
        ("ETRN test.example|DATA|x|.|", "503 5.5.1, 354, 250 2.0.0"),
        ("EHLO|DATA|x|.|", "501 5.5.4, 354, 250 2.0.0"),
        ("HELO a b|DATA|x|.|", "501 5.5.4, 354, 250 2.0.0"),
        ("RSET x|DATA|x|.|", "501 5.5.4, 354, 250 2.0.0"),
        ("QUIT x|DATA|x|.|", "501 5.5.4, 354, 250 2.0.0"),
        ("DATA x|DATA|x|.|", "501 5.5.4, 354, 250 2.0.0"),
        ("STARTTLS|DATA|x|.|", "502 5.5.1, 354, 250 2.0.0"),
        ("RCPT TO:<@>|DATA|x|.|", "501 5.1.3, 354, 250 2.0.0"),
        ("|DATA|x|.|", "500 5.5.2, 354, 250 2.0.0"),
    ]);
}

#[test]
fn hello_reset_and_the_end_of_the_message_end_the_transaction() {
    check_in_transaction(&[
        ("RSET|DATA|", "250 2.0.0, 503 5.5.1"),
        ("EHLO c|DATA|", "250, 503 5.5.1"),
        ("HELO c|DATA|", "250, 503 5.5.1"),
        ("HELO c|RCPT TO:<b@test.example>|", "250, 503 5.5.1"),
        ("DATA|x|.|RCPT TO:<b@test.example>|", "354, 250 2.0.0, 503 5.5.1"),
        ("DATA|x|.|MAIL FROM:<>|RCPT TO:<b@test.example>|", "354, 250 2.0.0, 250 2.0.0, 250 2.0.0"),
        ("QUIT|MAIL FROM:<>|NOOP|", "221 2.0.0"),
        ("LHLO c|DATA|x|.|", "500 5.5.1, 354, 250 2.0.0"),
    ]);
    check(&[
        ("DATA|", "503 5.5.1"),
        ("RCPT TO:<b@test.example>|", "503 5.5.1"),
        ("MAIL FROM:<>|DATA|", "250 2.0.0, 554 5.5.1"),
        ("HELO c|AUTH PLAIN AHVzZXIAcGVuY2ls|", "250, 503 5.5.1"),
    ]);
}

#[test]
fn authentication_out_of_place_is_refused_and_can_be_repeated_after_a_failure() {
    check(&[
        ("AUTH PLAIN AHVzZXIAcGVuY2ls|AUTH PLAIN AHVzZXIAcGVuY2ls|", "235 2.7.0, 503 5.5.1"),
        (
            "AUTH PLAIN AHVzZXIAcGVuY2ls|EHLO c|AUTH PLAIN AHVzZXIAcGVuY2ls|",
            "235 2.7.0, 250, 503 5.5.1",
        ),
        ("AUTH PLAIN AHVzZXIAY3JheW9u|AUTH PLAIN AHVzZXIAcGVuY2ls|", "535 5.7.8, 235 2.7.0"),
        ("AUTH PLAIN =|", "501 5.5.2"),
        ("AUTH PLAIN|*|NOOP|", "334, 501 5.7.0, 250 2.0.0"),
        ("AUTH PLAIN|AHVzZXIAcGVuY2ls|", "334, 235 2.7.0"),
        ("AUTH PLAIN| AHVzZXIAcGVuY2ls|", "334, 501 5.5.2"),
        ("AUTH PLAIN *|", "501 5.5.2"),
        ("AUTH LOGIN|dXNlcg==|cGVuY2ls|", "334, 334, 235 2.7.0"),
        ("AUTH LOGIN dXNlcg==|cGVuY2ls|", "334, 235 2.7.0"),
        ("AUTH LOGIN|NOOP|", "334, 501 5.5.2"),
        ("auth  plain  AHVzZXIAcGVuY2ls|", "235 2.7.0"),
        ("AUTH|AUTH NTLM|AUTH PLAIN a b|", "501 5.5.4, 504 5.5.4, 501 5.5.4"),
        ("AUTH=PLAIN AHVzZXIAcGVuY2ls|", "500 5.5.1"),
    ]);
}

#[test]
fn chunks_in_odd_places_and_sizes() {
    check_in_transaction(&[
        ("BDAT 0 LAST|", "250 2.0.0"),
        ("BDAT 0|BDAT 0|BDAT 0 LAST|", "250 2.0.0, 250 2.0.0, 250 2.0.0"),
        ("BDAT 3|x|BDAT 0 LAST|", "250 2.0.0, 250 2.0.0"),
        ("BDAT 2|x|", "250 2.0.0, 500 5.5.2"),
        ("BDAT 1 LAST|xNOOP|", "250 2.0.0, 250 2.0.0"),
        ("BDAT 3|x|DATA|BDAT 0 LAST|", "250 2.0.0, 503 5.5.1, 250 2.0.0"),
        (
            "BDAT 3|x|RCPT TO:<c@test.example>|MAIL FROM:<>|BDAT 0 LAST|",
            "250 2.0.0, 503 5.5.1, 503 5.5.1, 250 2.0.0",
        ),
        ("BDAT 3|x|RSET|BDAT 3 LAST|x|NOOP|", "250 2.0.0, 250 2.0.0, 503 5.5.1, 250 2.0.0"),
        ("BDAT 3|x|NOOP|VRFY b|BDAT 3 LAST|x|", "250 2.0.0, 250 2.0.0, 252 2.5.2, 250 2.0.0"),
        ("BDAT 3|x|EHLO c|BDAT 3 LAST|x|", "250 2.0.0, 250, 503 5.5.1"),
        ("BDAT 3|x|QUIT|", "250 2.0.0, 221 2.0.0"),
        ("BDAT 11 LAST|QUIT|.||NOOP|", "250 2.0.0, 250 2.0.0"),
        ("BDAT 6 LAST|.|.|NOOP|", "250 2.0.0, 250 2.0.0"),
        ("bdat  3   last|x|", "250 2.0.0"),
        ("BDAT 0000000003 LAST|x|", "250 2.0.0"),
        ("BDAT 18446744073709551616 LAST|", "421 4.5.2"),
        ("BDAT -1|", "421 4.5.2"),
        ("BDAT +1|", "421 4.5.2"),
        ("BDAT 0x3|", "421 4.5.2"),
        ("BDAT 3,LAST|", "421 4.5.2"),
        ("BDAT 3 LAST LAST|", "421 4.5.2"),
        ("BDAT 3 FIRST|", "421 4.5.2"),
        ("BDAT LAST|", "421 4.5.2"),
        ("BDAT|", "421 4.5.2"),
        ("BDATA 3|", "500 5.5.1"),
    ]);
    check(&[
        ("BDAT 6|NOOP|NOOP|", "503 5.5.1, 250 2.0.0"),
        ("MAIL FROM:<>|BDAT 6 LAST|NOOP|NOOP|", "250 2.0.0, 503 5.5.1, 250 2.0.0"),
        (
            "MAIL FROM:<> BODY=BINARYMIME|RCPT TO:<b@test.example>|DATA|BDAT 3 LAST|x\ry",
            "250 2.0.0, 250 2.0.0, 503 5.5.1, 250 2.0.0",
        ),
    ]);
}

#[test]
fn lines_that_are_no_commands_are_answered_once_each() {
    check(&[
        ("NOOP\0|NOOP|", "500 5.5.2, 250 2.0.0"),
        ("\u{7f}|NOOP|", "500 5.5.2, 250 2.0.0"),
        (" NOOP|NOOP|", "500 5.5.2, 250 2.0.0"),
        ("NOOP \t |", "250 2.0.0"),
        ("MAIL\tFROM:<a@test.example>|", "500 5.5.1"),
        ("MAIL FROM:\t<a@test.example>|", "501 5.1.7"),
        ("NOOP\nNOOP|NOOP|", "500 5.5.2, 250 2.0.0, 250 2.0.0"),
        ("NOOP\rNOOP|NOOP|", "500 5.5.2, 250 2.0.0"),
        ("EHLO \u{1}|NOOP|", "500 5.5.2, 250 2.0.0"),
        ("EHLO b\u{fc}cher.example|", "250"),
        ("MAIL|MAIL FROM|MAIL FROM:|RCPT|", "501 5.1.7, 501 5.1.7, 501 5.1.7, 501 5.1.3"),
        ("MAIL TO:<a@test.example>|RCPT FROM:<a@test.example>|", "501 5.1.7, 501 5.1.3"),
    ]);
    let longest = format!("NOOP {}|NOOP|", "x".repeat(2048 - 7));
    let longer = format!("NOOP {}|NOOP|", "x".repeat(2048 - 6));
    check(&[(&longest, "250 2.0.0, 250 2.0.0"), (&longer, "500 5.5.6, 250 2.0.0")]);
    // Not UTF-8.
    assert_eq!(replies(b"MAIL FROM:<\xfc@test.example>\r\nNOOP\r\n"), "500 5.5.2, 250 2.0.0");
    assert_eq!(replies(b"RCPT TO:<\xff\xfe@test.example>\r\n"), "500 5.5.2");
}

/// What follows `MAIL FROM:<a@test.example> `.
#[test]
fn parameters_of_mail_at_their_limits() {
    let id = |length: usize| format!("ENVID={}", "x".repeat(length));
    let rows = [
        ("SIZE=0", "250 2.0.0"),
        ("SIZE=1000", "250 2.0.0"),
        ("SIZE=1001", "552 5.3.4"),
        ("SIZE=00000000000000001000", "250 2.0.0"),
        ("SIZE=99999999999999999999", "552 5.3.4"),
        ("SIZE=100000000000000000000", "501 5.5.4"),
        ("SIZE=", "501 5.5.4"),
        ("SIZE", "501 5.5.4"),
        ("SIZE=-1", "501 5.5.4"),
        ("SIZE=1 SIZE=2", "501 5.5.4"),
        ("size=1 body=8bitmime smtputf8", "250 2.0.0"),
        ("BODY=7BIT", "250 2.0.0"),
        ("BODY=BINARYMIME", "250 2.0.0"),
        ("BODY=9BIT", "501 5.5.4"),
        ("BODY", "501 5.5.4"),
        ("SMTPUTF8=1", "501 5.5.4"),
        ("REQUIRETLS", "555 5.7.30"),
        ("RET=HDRS", "250 2.0.0"),
        ("ret=full", "250 2.0.0"),
        ("RET=NONE", "501 5.5.4"),
        (&id(100), "250 2.0.0"),
        (&id(101), "501 5.5.4"),
        ("ENVID=a+4", "501 5.5.4"),
        ("ENVID=a+4Z", "501 5.5.4"),
        ("ENVID=+C3+BC", "501 5.5.4"),
        ("ENVID=+20+7E", "250 2.0.0"),
        ("ENVID=+7F", "501 5.5.4"),
        ("AUTH=<>", "250 2.0.0"),
        ("AUTH=e+3Dmc2@example.com", "250 2.0.0"),
        ("AUTH=", "501 5.5.4"),
        ("AUTH=a=b", "501 5.5.4"),
        ("MT-PRIORITY=9", "250 2.0.0"),
        ("MT-PRIORITY=-9", "250 2.0.0"),
        ("MT-PRIORITY=0", "250 2.0.0"),
        ("MT-PRIORITY=10", "501 5.5.4"),
        ("MT-PRIORITY=-0", "501 5.5.4"),
        ("MT-PRIORITY=+1", "501 5.5.4"),
        ("MT-PRIORITY=05", "501 5.5.4"),
        ("BY=60;R", "250 2.0.0"),
        ("BY=59;R", "554 5.5.4"),
        ("BY=+60;rt", "250 2.0.0"),
        ("BY=0;N", "250 2.0.0"),
        ("BY=0;R", "501 5.5.4"),
        ("BY=-1;R", "501 5.5.4"),
        ("BY=-999999999;NT", "250 2.0.0"),
        ("BY=999999999;N", "250 2.0.0"),
        ("BY=1000000000;N", "501 5.5.4"),
        ("BY=60", "501 5.5.4"),
        ("BY=60;", "501 5.5.4"),
        ("BY=;R", "501 5.5.4"),
        ("BY=60;TR", "501 5.5.4"),
        ("BY=60;RTT", "501 5.5.4"),
        ("BY=+-60;R", "501 5.5.4"),
        ("HOLDFOR=1", "250 2.0.0"),
        ("HOLDFOR=999999999", "250 2.0.0"),
        ("HOLDFOR=1000000000", "501 5.5.4"),
        ("HOLDFOR=01", "501 5.5.4"),
        ("HOLDUNTIL=2029-12-31T23:59:60Z", "250 2.0.0"),
        ("HOLDUNTIL=2029-12-31t23:59:59z", "250 2.0.0"),
        ("HOLDUNTIL=2029-12-31T23:59:59.123Z", "250 2.0.0"),
        ("HOLDUNTIL=2029-12-31T23:59:59-23:59", "250 2.0.0"),
        ("HOLDUNTIL=2029-12-31T23:59:59-24:00", "501 5.5.4"),
        ("HOLDUNTIL=2029-12-31T23:59:59+00:60", "501 5.5.4"),
        ("HOLDUNTIL=2029-12-31T24:00:00Z", "501 5.5.4"),
        ("HOLDUNTIL=2029-12-31T23:59:59.Z", "501 5.5.4"),
        ("HOLDUNTIL=2029-12-31T23:59Z", "501 5.5.4"),
        ("HOLDUNTIL=2029-12-31 23:59:59Z", "501 5.5.4"),
        ("X=1", "555 5.5.4"),
        ("X", "555 5.5.4"),
        ("-X", "501 5.5.4"),
        ("=1", "501 5.5.4"),
        ("X==", "501 5.5.4"),
        ("NOTIFY=NEVER", "555 5.5.4"),
        ("ORCPT=rfc822;a", "555 5.5.4"),
    ];
    let rows: Vec<_> = rows
        .iter()
        .map(|(text, expected)| (format!("MAIL FROM:<a@test.example> {text}|"), *expected))
        .collect();
    check(&rows.iter().map(|(input, expected)| (&input[..], *expected)).collect::<Vec<_>>());
}

/// What follows `RCPT TO:<b@test.example> `.
#[test]
fn parameters_of_rcpt_at_their_limits() {
    let orcpt = |length: usize| format!("ORCPT=rfc822;{}", "x".repeat(length - 7));
    let rows = [
        ("NOTIFY=NEVER", "250 2.0.0"),
        ("notify=success,failure,delay", "250 2.0.0"),
        ("NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("NOTIFY=SUCCESS,SUCCESS", "501 5.5.4"),
        ("NOTIFY=SUCCESS,,DELAY", "501 5.5.4"),
        ("NOTIFY=,SUCCESS", "501 5.5.4"),
        ("NOTIFY=", "501 5.5.4"),
        ("NOTIFY=ALWAYS", "501 5.5.4"),
        ("NOTIFY=SUCCESS NOTIFY=DELAY", "501 5.5.4"),
        ("ORCPT=rfc822;b+40test.example", "250 2.0.0"),
        ("ORCPT=RFC822;b@test.example", "250 2.0.0"),
        ("ORCPT=x400;/c+3Dus/s+3Dx/", "250 2.0.0"),
        ("ORCPT=x400;/c=us/", "501 5.5.4"),
        ("ORCPT=unknown;1+20234", "250 2.0.0"),
        ("ORCPT=utf-8;b\\x{FC}@test.example", "250 2.0.0"),
        ("ORCPT=utf-8;b\\x{A}@test.example", "501 5.5.4"),
        ("ORCPT=rfc822;b+0Ac", "501 5.5.4"),
        ("ORCPT=rfc822;", "501 5.5.4"),
        ("ORCPT=;b@test.example", "501 5.5.4"),
        ("ORCPT=b@test.example", "501 5.5.4"),
        ("ORCPT=a.b;c", "501 5.5.4"),
        (&orcpt(500), "250 2.0.0"),
        (&orcpt(501), "501 5.5.4"),
        ("SIZE=1", "555 5.5.4"),
        ("RET=HDRS", "555 5.5.4"),
    ];
    let rows: Vec<_> = rows
        .iter()
        .map(|(text, expected)| {
            let input = format!("MAIL FROM:<a@test.example>|RCPT TO:<b@test.example> {text}|");
            (input, format!("{OK}, {expected}"))
        })
        .collect();
    check(&rows.iter().map(|(input, expected)| (&input[..], &expected[..])).collect::<Vec<_>>());
}

/// What follows `MAIL FROM:`, and `RCPT TO:` in a transaction without SMTPUTF8.
#[test]
fn paths_at_their_limits() {
    // 63 + 1 + 63 + 1 + 63 + 1 + the rest.
    let domain = |length: usize| {
        let label = "d".repeat(63);
        format!("{label}.{label}.{label}.{}", "e".repeat(length - 192))
    };
    let (fits, too_long) = (format!("<b@{}>", domain(252)), format!("<b@{}>", domain(253)));
    let label = |length: usize| format!("<b@{}.example>", "d".repeat(length));
    let (label63, label64) = (label(63), label(64));
    let quoted = format!("<\"{}\"@test.example>", "\\\"".repeat(31));
    for (path, taken) in [
        ("<b@test.example>", true),
        ("b@test.example", true),
        (" <b@test.example>", true),
        ("<b@TEST.EXAMPLE>", true),
        ("<b@localhost>", true),
        ("<b@1.2.3.4>", true),
        ("<b@[192.0.2.1]>", true),
        ("<b@[192.0.2.256]>", false),
        ("<b@[192.0.2]>", false),
        ("<b@[192.0.2.1>", false),
        ("<b@192.0.2.1]>", false),
        ("<b@[IPv6:::1]>", true),
        ("<b@[ipv6:2001:db8::192.0.2.1]>", true),
        ("<b@[IPv6:1:2:3:4:5:6:7:8]>", true),
        ("<b@[IPv6:1:2:3:4:5:6:7::]>", false),
        ("<b@[IPv6:1::2::3]>", false),
        ("<b@[IPv6:12345::]>", false),
        ("<b@[2001:db8::1]>", false),
        ("<b@[x400:c]>", false),
        ("<b@[]>", false),
        ("<@r.example,@s.example:b@test.example>", true),
        ("<@r.example:@s.example:b@test.example>", false),
        ("<@r.example b@test.example>", false),
        ("<@:b@test.example>", false),
        ("<\"b c\"@test.example>", true),
        ("<\"b\\\"c\\\\\"@test.example>", true),
        ("<\"\"@test.example>", true),
        ("<\"b>\"@test.example>", true),
        ("<\"b@test.example>", false),
        ("<\"b\"c@test.example>", false),
        ("<b\"c\"@test.example>", false),
        ("<b c@test.example>", false),
        ("<b(c)@test.example>", false),
        ("<b@test.example(c)>", false),
        ("<b,c@test.example>", false),
        ("<b;c@test.example>", false),
        ("<b:c@test.example>", false),
        ("<b\\c@test.example>", false),
        ("<b@c@test.example>", false),
        ("<b@>", false),
        ("<b@.>", false),
        ("<b@.test.example>", false),
        ("<b@test..example>", false),
        ("<b@-test.example>", false),
        ("<b@test-.example>", false),
        ("<b@test.example.>", false),
        ("<b@te_st.example>", true),
        ("<b@te st.example>", false),
        ("<!#$%&'*+-/=?^_`{|}~@test.example>", true),
        ("<.b.@test.example>", true),
        ("<<b@test.example>>", false),
        ("<b@test.example", false),
        ("b@test.example>", false),
        ("<b@test.example>>", false),
        ("<b@test.example> <c@test.example>", false),
        ("<b@test.example>,<c@test.example>", false),
        ("Bob <b@test.example>", false),
        ("\"Bob\" <b@test.example>", false),
        ("mailto:b@test.example", false),
        (&fits, true),
        (&too_long, false),
        (&label63, true),
        (&label64, false),
        (&quoted, true),
    ] {
        // `|` is a character of a local part, too.
        let line = |command: &str| format!("{command}{path}\r\n");
        let mail = replies(line("MAIL FROM:").as_bytes());
        let rcpt = replies(format!("MAIL FROM:<>\r\n{}", line("RCPT TO:")).as_bytes());
        assert_eq!(mail == OK, taken, "{path}: {mail}");
        assert_eq!(rcpt == format!("{OK}, {OK}"), taken, "{path}: {rcpt}");
        assert!(mail == OK || mail.starts_with("501 5."), "{path}: {mail}");
    }
    check(&[
        ("MAIL FROM:<>|RCPT TO:<>|", "250 2.0.0, 501 5.1.3"),
        ("MAIL FROM:< >|RCPT TO:< >|", "250 2.0.0, 501 5.1.3"),
        (
            "MAIL FROM:<>|RCPT TO:<postMASTER>|RCPT TO:postmaster|",
            "250 2.0.0, 250 2.0.0, 250 2.0.0",
        ),
        ("MAIL FROM:<postmaster>|", "501 5.1.7"),
        ("MAIL FROM:<>|RCPT TO:<abuse>|", "250 2.0.0, 501 5.1.3"),
        ("MAIL FROM:<\u{fc}@test.example>|", "553 5.6.7"),
        (
            "MAIL FROM:<\u{fc}@test.example> SMTPUTF8|RCPT TO:<\u{fc}@test.example>|",
            "250 2.0.0, 250 2.0.0",
        ),
        ("MAIL FROM:<a@test.example>|RCPT TO:<b@\u{fc}.example>|", "250 2.0.0, 553 5.6.7"),
        ("MAIL FROM:<a@test.example>|RCPT TO:<b@xn--tda.example>|", "250 2.0.0, 250 2.0.0"),
        ("VRFY \u{fc}|VRFY \u{fc} SMTPUTF8|", "553 5.6.7, 252 2.5.2"),
        ("MAIL FROM:<a@test.example>SIZE=1|", "501 5.5.4"),
        ("MAIL FROM:<a@test.example>  SIZE=1  |", "250 2.0.0"),
        ("MAIL FROM : <a@test.example>|", "250 2.0.0"),
        (
            "mail from:<a@test.example>|rcpt to:<b@test.example>|data|x|.|quit|",
            "250 2.0.0, 250 2.0.0, 354, 250 2.0.0, 221 2.0.0",
        ),
    ]);
}

#[test]
fn ends_of_the_message_at_every_cut() {
    check_in_transaction(&[
        ("DATA|.|NOOP|", "354, 250 2.0.0, 250 2.0.0"),
        ("DATA|..|.|", "354, 250 2.0.0"),
        ("DATA|. |.x|..|.|", "354, 250 2.0.0"),
        ("DATA|x\n.\ny|.|", "354, 554 5.6.0"),
        ("DATA|x\r.\ry|.|", "354, 554 5.6.0"),
        ("DATA|x\n.|y|.|", "354, 554 5.6.0"),
        ("DATA|x|.\nMAIL FROM:<>|.|", "354, 554 5.6.0"),
        ("DATA|x|.\rMAIL FROM:<>|.|", "354, 554 5.6.0"),
        ("DATA|MAIL FROM:<>|RCPT TO:<c@test.example>|DATA|QUIT|.|", "354, 250 2.0.0"),
        ("DATA|x|.|.|", "354, 250 2.0.0, 500 5.5.1"),
    ]);
    let too_large = format!("DATA|{}.|NOOP|", "xxxxxxxxxx|".repeat(84));
    let fits = format!("DATA|{}.|NOOP|", "xxxxxxxxxx|".repeat(83));
    check_in_transaction(&[
        (&too_large, "354, 552 5.3.4, 250 2.0.0"),
        (&fits, "354, 250 2.0.0, 250 2.0.0"),
    ]);
}
