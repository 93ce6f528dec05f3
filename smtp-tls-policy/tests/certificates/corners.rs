//! Fields of certificates at the edges of RFC 5280, written octet by octet.

use super::*;

const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The variable fields of a host's certificate, each a whole element.
struct Fields {
    serial: Vec<u8>,
    dates: [Vec<u8>; 2],
    subject: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

impl Fields {
    /// For [`HOST`] as an alternative name.
    fn new() -> Self {
        Self {
            serial: tlv(2, &[SERIAL]),
            dates: [tlv(UTC_TIME, b"260501000000Z"), tlv(UTC_TIME, b"260701000000Z")],
            subject: name_of(UTF8, b"Host"),
            extensions: vec![alternatives(&[tlv(0x82, HOST.as_bytes())])],
        }
    }

    fn with(extension: Vec<u8>) -> Self {
        let mut fields = Self::new();
        fields.extensions.push(extension);
        fields
    }

    fn signed_by(&self, authority: &Authority) -> CertificateDer<'static> {
        use rcgen::PublicKeyData;
        let (_, issuer) = x509_parser::parse_x509_certificate(&authority.der).unwrap();
        let tbs = [
            &[0xa0, 3, 2, 1, 2][..],
            &self.serial,
            ECDSA_WITH_SHA256,
            issuer.subject().as_raw(),
            &tlv(0x30, &self.dates.concat()),
            &self.subject,
            &rcgen::KeyPair::generate().unwrap().subject_public_key_info(),
            &tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        ]
        .concat();
        certificate_of(&tlv(0x30, &tbs), authority.issuer.key())
    }

    fn judge(&self) -> Reason {
        let root = Authority::new("Root");
        Bench::new(&[&root]).judge(&[&self.signed_by(&root)])
    }
}

/// The extension subjectAltName.
fn alternatives(names: &[Vec<u8>]) -> Vec<u8> {
    extension(17, false, &tlv(0x30, &names.concat()))
}

#[test]
fn dns_name_with_octets_that_no_host_name_has_matches_nothing() {
    for (name, good) in [
        (&b"MX.EXAMPLE.COM"[..], true),
        (b"mx.example.com.", true),
        (b"*.EXAMPLE.com.", true),
        (b"mx.example.com..", false),
        (b"mx.example.com\0", false),
        (b"mx.example.com\0.evil.example", false),
        (b"mx\0.example.com", false),
        (b" mx.example.com", false),
        (b"mx.example.com\n", false),
        (b"mx.example.com:25", false),
        (b"*.example.com\0", false),
        (b"**.example.com", false),
        (b"*.", false),
        (b"mx..example.com", false),
        (b".example.com", false),
        (b"", false),
    ] {
        let mut fields = Fields::new();
        // The Common Name is that of the host, and does not count beside any DNS name.
        fields.subject = name_of(UTF8, HOST.as_bytes());
        fields.extensions = vec![alternatives(&[tlv(0x82, name)])];
        let expected = if good { Reason::TlsOk } else { Reason::CertNameMismatch };
        assert_eq!(fields.judge(), expected, "{:?}", String::from_utf8_lossy(name));
    }
}

/// dNSName is an IA5String (RFC 5280, section 4.2.1.6). One in UTF-8 is not read as a U-label.
#[cfg(feature = "idna")]
#[test]
fn dns_name_in_utf_8_matches_nothing() {
    let root = Authority::new("Root");
    let mut fields = Fields::new();
    fields.extensions = vec![alternatives(&[tlv(0x82, "mx.b\u{fc}cher.example".as_bytes())])];
    let leaf = fields.signed_by(&root);
    for wanted in [".xn--bcher-kva.example", ".example", "mx.xn--bcher-kva.example"] {
        let bench = Bench::new(&[&root]).names(&[wanted]);
        assert_eq!(bench.judge(&[&leaf]), Reason::CertNameMismatch, "{wanted}");
    }
}

/// Only a DNS name, or a name that cannot be read, takes the Common Name's place.
#[test]
fn common_name_counts_beside_alternative_names_that_are_no_dns_names() {
    let service = [tlv(6, &[0x2b, 6, 1, 5, 5, 7, 8, 7]), tlv(0xa0, &tlv(0x16, b"_smtp.example"))];
    for (names, good) in [
        (vec![], true),
        (vec![tlv(0x81, b"a@b.example")], true),
        (vec![tlv(0x86, b"smtp://other.example")], true),
        (vec![tlv(0xa0, &service.concat())], true),
        (vec![tlv(0x87, &[192, 0, 2, 1])], true),
        (vec![tlv(0x82, b"other.example")], false),
        (vec![tlv(0x8a, b"x")], false),
    ] {
        let mut fields = Fields::new();
        fields.subject = name_of(UTF8, HOST.as_bytes());
        fields.extensions = vec![alternatives(&names)];
        let expected = if good { Reason::TlsOk } else { Reason::CertNameMismatch };
        assert_eq!(fields.judge(), expected, "{names:x?}");
    }
}

/// RFC 5280, section 4.2.1.3: a key is used for nothing that its key usage does not have.
#[test]
fn key_usage_of_a_host_must_allow_a_handshake() {
    for (bits, good) in [
        (&[7, 0x80][..], true),
        (&[5, 0x20], true),
        (&[3, 0x08], true),
        (&[0, 0xa1], true),
        // nonRepudiation, dataEncipherment, keyCertSign, cRLSign, decipherOnly.
        (&[6, 0x40], false),
        (&[4, 0x10], false),
        (&[2, 0x04], false),
        (&[1, 0x02], false),
        (&[7, 0, 0x80], false),
        (&[0], false),
        (&[], false),
    ] {
        for critical in [false, true] {
            let reason = Fields::with(extension(15, critical, &tlv(3, bits))).judge();
            let expected = if good { Reason::TlsOk } else { Reason::CertWrongPurpose };
            assert_eq!(reason, expected, "{bits:x?} {critical}");
        }
    }
}

#[test]
fn dates_at_the_edges_of_their_forms() {
    let (utc, general) = (|text: &[u8]| tlv(UTC_TIME, text), |text| tlv(GENERALIZED_TIME, text));
    let old = || utc(b"260501000000Z");
    for (dates, expected) in [
        // RFC 5280, section 4.1.2.5: a UTCTime is of 1950 to 2049.
        ([utc(b"500101000000Z"), utc(b"491231235959Z")], Reason::TlsOk),
        ([utc(b"691231235959Z"), general(b"20500101000000Z")], Reason::TlsOk),
        ([general(b"19000101000000Z"), general(b"99991231235959Z")], Reason::TlsOk),
        ([utc(b"500101000000Z"), utc(b"500102000000Z")], Reason::CertExpired),
        ([general(b"20260501000000Z"), general(b"20260701000000Z")], Reason::TlsOk),
        // Both ends belong to the time.
        ([utc(b"260601000000Z"), utc(b"260601000000Z")], Reason::TlsOk),
        ([utc(b"260601000001Z"), utc(b"260701000000Z")], Reason::CertNotYetValid),
        ([utc(b"260701000000Z"), old()], Reason::CertMalformed),
        ([old(), general(b"20260701000000.5Z")], Reason::CertMalformed),
        ([old(), utc(b"2607010000Z")], Reason::CertMalformed),
        ([old(), utc(b"260701000000+0000")], Reason::CertMalformed),
        ([old(), utc(b"260631000000Z")], Reason::CertMalformed),
    ] {
        let text = format!("{dates:x?}");
        let mut fields = Fields::new();
        fields.dates = dates;
        assert_eq!(fields.judge(), expected, "{text}");
    }
}

/// RFC 5280, section 4.1.2.2: users "SHOULD be prepared to gracefully handle" such numbers.
#[test]
fn serial_number_that_no_issuer_should_use_is_accepted() {
    for serial in [&[0][..], &[0x80], &[0x7f; 20], &[1; 21], &[1; 100]] {
        let mut fields = Fields::new();
        fields.serial = tlv(2, serial);
        assert_eq!(fields.judge(), Reason::TlsOk, "{serial:x?}");
    }
}
