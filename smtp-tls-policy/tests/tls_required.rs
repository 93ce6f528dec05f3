//! The header field `TLS-Required` (RFC 8689, sections 3 and 4.1).

mod common;

use common::cost::ends;
use proptest::prelude::*;
use smtp_tls_policy::plan::MessageTls;
use smtp_tls_policy::trace::tls_required_no;

#[test]
fn one_field_that_says_no() {
    for header in [
        "TLS-Required: No\r\n",
        "tls-required:no\r\n",
        "TLS-Required:\r\n\tNO\r\n",
        "TLS-Required: \r\n No\r\n",
        "Subject: x\r\n folded\r\nTLS-Required: No\r\nTo: y\r\n",
        // Not CRLF, as in a spool.
        "Subject: x\nTLS-Required: No\n\nbody",
        "TLS-Required: No",
    ] {
        assert!(tls_required_no(header.as_bytes()), "{header:?}");
    }
}

#[test]
fn whatever_else_takes_no_tls_from_anybody() {
    for header in [
        "",
        "\r\nTLS-Required: No\r\n",
        "Subject: x\r\n\r\nTLS-Required: No\r\n",
        "TLS-Required: Yes\r\n",
        "TLS-Required:\r\n",
        "TLS-Required: No way\r\n",
        "TLS-Required: No\r\n way\r\n",
        "TLS-Required: (comment) No\r\n",
        "TLS-Required : No\r\n",
        "X-TLS-Required: No\r\n",
        "Subject: x\r\n TLS-Required: No\r\n",
        "TLS-Required: No\r\nTLS-Required: No\r\n",
        "TLS-Required: No\r\nSubject: x\r\ntls-required: Yes\r\n",
    ] {
        assert!(!tls_required_no(header.as_bytes()), "{header:?}");
    }
}

/// A value in a million lines of nothing is read once, and not once a line.
#[test]
fn a_field_that_is_folded_without_end() {
    for (end, expected) in [("", false), (" No\r\n", true)] {
        let field = format!("TLS-Required:\r\n{}{end}", " \r\n".repeat(1_000_000));
        assert_eq!(ends("folded", move || tls_required_no(field.as_bytes())), expected);
    }
}

#[test]
fn requiretls_overrules_the_header() {
    assert_eq!(MessageTls::new(true, false, true), MessageTls::Required);
    assert_eq!(MessageTls::new(true, true, true), MessageTls::RequiredOfBounce);
    assert_eq!(MessageTls::new(false, false, true), MessageTls::Optional);
}

proptest! {
    /// Other fields around it, and a body after it, change nothing.
    #[test]
    fn only_the_field_counts(
        before in "([A-Z][a-z]{0,5}: [ -~]{0,20}\r\n( [ -~]{0,10}\r\n)?){0,3}",
        behind in "([A-Z][a-z]{0,5}: [ -~]{0,20}\r\n){0,3}",
        body in "[ -~\r\n]{0,40}",
        said in any::<bool>(),
    ) {
        let field = if said { "TLS-Required: No\r\n" } else { "" };
        let message = format!("{before}{field}{behind}\r\n{body}");
        prop_assert_eq!(tls_required_no(message.as_bytes()), said);
    }

    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        tls_required_no(&bytes);
    }
}
