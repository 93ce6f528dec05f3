use smtp_tls_policy::Domain;
use smtp_tls_policy::pki::Pin;
use smtp_tls_policy::pki::{TlsaRecord, TlsaSet};
use smtp_tls_policy::sts;
use smtp_tls_policy::tlsrpt;

/// What comes from the DNS: TXT records of three kinds of strings, and RDATA of TLSA records,
/// parted by what the first byte says. Every record that is read is written as it was read.
pub fn records(data: &[u8]) {
    let Some((separator, rest)) = super::split_choice(data) else { return };
    let parts: Vec<&[u8]> = rest.split(|&byte| byte == separator).collect();
    // One record of many strings, and many of one.
    let together = [parts.clone()];
    let apart: Vec<[&[u8]; 1]> = parts.iter().map(|&part| [part]).collect();
    let whole = parts.concat();
    // RFC 8461, section 3.1 and RFC 8460, section 3: strings are joined without anything in
    // between.
    assert_eq!(sts::PolicyId::find(&together), sts::PolicyId::find(&[[&whole]]));
    assert_eq!(tlsrpt::TlsrptRecord::find(&together), tlsrpt::TlsrptRecord::find(&[[&whole]]));
    if let Ok(Some(id)) = sts::PolicyId::find(&apart) {
        let written = format!("v=STSv1;id={id}");
        assert_eq!(sts::PolicyId::find(&[[written.as_bytes()]]), Ok(Some(id)));
    }
    let _ = tlsrpt::TlsrptRecord::find(&apart);

    let read: Vec<TlsaRecord> =
        parts.iter().filter_map(|part| TlsaRecord::from_wire(part).ok()).collect();
    for record in &read {
        assert_eq!(TlsaRecord::from_wire(&record.to_wire()).as_ref(), Ok(record));
        assert_eq!(TlsaRecord::parse(&record.to_string()).as_ref(), Ok(record));
    }
    let base = Domain::parse("mx.test.example").expect("a domain");
    let (set, mut turned) = (TlsaSet::new(base.clone(), &read), read.clone());
    turned.reverse();
    // RFC 7672, section 2.2: an RRset has no order.
    let turned = TlsaSet::new(base, &turned);
    let sorted = |set: &TlsaSet| {
        let mut usable = set.usable().to_vec();
        usable.sort_unstable();
        usable
    };
    assert_eq!(sorted(&set), sorted(&turned));
    assert!(set.usable().len() + set.unusable().len() <= read.len());

    if let Ok(text) = std::str::from_utf8(rest) {
        if let Ok(record) = TlsaRecord::parse(text) {
            assert_eq!(TlsaRecord::from_wire(&record.to_wire()), Ok(record));
        }
        if let Ok(pin) = Pin::parse(text) {
            assert_eq!(Pin::parse(&pin.to_string()), Ok(pin));
        }
    }
}
