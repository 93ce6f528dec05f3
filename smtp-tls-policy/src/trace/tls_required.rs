//! The header field `TLS-Required: No` (RFC 8689, section 3).

use memchr::memchr;

/// Whether a message, or its header section alone, has exactly one header field `TLS-Required`, and
/// its value is `No`. A receiver tags the message with it (RFC 8689, section 4.1), for
/// [`MessageTls::new`](crate::plan::MessageTls::new).
///
/// A message with several such fields, which RFC 8689, section 3 forbids, or with any other value,
/// keeps its TLS.
///
/// ```
/// use smtp_tls_policy::trace::tls_required_no;
///
/// assert!(tls_required_no(b"Subject: your certificate\r\nTLS-Required: No\r\n\r\nhas expired\r\n"));
/// assert!(!tls_required_no(b"Subject: hello\r\n\r\nTLS-Required: No\r\n"));
/// ```
pub fn tls_required_no(message: &[u8]) -> bool {
    const NAME: &[u8] = b"TLS-Required:";
    let (mut fields, mut continues) = (0_u64, false);
    let mut value: Vec<u8> = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => break,
            // RFC 5322, section 2.2.3: folded.
            Some(b' ' | b'\t') if continues => value.extend_from_slice(line),
            Some(b' ' | b'\t') => {}
            Some(_) => {
                continues =
                    line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
                if continues {
                    fields += 1;
                    value = line[NAME.len()..].to_vec();
                }
            }
        }
    }
    // RFC 8689, section 3: [FWS] "No" CRLF. Of one field this is the whole value, looked at once,
    // however often it is folded.
    let start = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    fields == 1 && value[start..].eq_ignore_ascii_case(b"No")
}
