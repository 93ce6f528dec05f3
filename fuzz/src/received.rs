use smtp_proto::Date;
use smtp_proto::channel::{Peer, TlsInfo};
use smtp_proto::stamp::{ClientCertificate, Stamp};
use smtp_proto::wire::command::Hello;
use smtp_tls_policy::trace::{Received, fields};

/// Any octets parse; folding makes no difference; and the stamp that is written from any texts is
/// one header field, read back as TLS exactly if it was.
pub fn received(data: &[u8]) {
    let parsed = Received::parse(data);
    // RFC 5322, section 2.2.3: unfolding takes the CRLF away and nothing else.
    let folded: Vec<u8> = data
        .iter()
        .flat_map(|&byte| if byte == b' ' { b"\r\n ".to_vec() } else { vec![byte] })
        .collect();
    let unfolded: Vec<u8> =
        data.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if unfolded == data {
        let again = Received::parse(&folded);
        assert_eq!(again.tls.is_some(), parsed.tls.is_some());
        assert_eq!(again.says_clear_text, parsed.says_clear_text);
        assert_eq!(again.by_address, parsed.by_address);
    }

    let text = String::from_utf8_lossy(data);
    let mut texts = text.split('\0');
    let (helo, by) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
    let (id, recipient, common_name) = (texts.next(), texts.next(), texts.next());
    let date = Date::new(data.len() as i64, 0).expect("a date in 1970");
    let mut stamp = Stamp::new(helo, by, Hello::Ehlo, date);
    (stamp.id, stamp.recipient) = (id, recipient);
    let tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.3", "TLS_AES_128_GCM_SHA256");
    stamp.tls = common_name.map(|_| &tls);
    stamp.client = common_name.map(|name| ClientCertificate::Presented {
        common_name: Some(name),
        issuer: texts.next(),
        verified: false,
    });
    let mut header = Vec::new();
    stamp.write(&mut header);
    header.extend_from_slice(b"\r\nbody");
    let mut fields = fields(&header);
    let field = fields.next().expect("one field");
    assert!(fields.next().is_none(), "a text has broken out of its field");
    assert_eq!(Received::parse(field).tls.is_some(), common_name.is_some());
}
