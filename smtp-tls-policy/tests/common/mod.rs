//! What several tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod cost;
#[path = "../../../smtp-proto/tests/common/folder.rs"]
mod folder;
pub(crate) mod sts;
pub(crate) mod table;
pub(crate) mod tls;

use serde_json::Value;

/// The rows of a corpus; `None`, said aloud, where the corpora are absent.
pub(crate) fn corpus(file: &str) -> Option<Vec<Value>> {
    let text = folder::read(file)?;
    let rows = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect::<Vec<_>>();
    assert!(!rows.is_empty(), "{file} is empty");
    Some(rows)
}

/// A session that meets no limits but the widest.
pub(crate) const TLS: smtp_tls_policy::judge::ShownTls<'static> =
    smtp_tls_policy::judge::ShownTls::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", Some("X25519"));

/// Decodes standard base64.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' | b'\n' => continue,
            other => panic!("not base64: {other}"),
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// A point of time in the life of the certificates made here: 1 June 2026.
pub(crate) const NOW: u64 = 1_780_272_000;

pub(crate) fn now() -> pki_types::UnixTime {
    pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW))
}

/// Days after [`NOW`].
pub(crate) fn days(days: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(NOW as i64).unwrap() + time::Duration::days(days)
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) der: pki_types::CertificateDer<'static>,
}

fn authority_params(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (days(-100), days(100));
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(authority_params(name))
    }

    pub(crate) fn with(params: rcgen::CertificateParams) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let issuer = rcgen::Issuer::new(params, key);
        Self { issuer, der }
    }

    /// An authority below this one.
    pub(crate) fn below(
        &self,
        name: &str,
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let issuer = rcgen::Issuer::new(params, key);
        Self { issuer, der }
    }

    pub(crate) fn issue(&self, params: &rcgen::CertificateParams) -> Leaf {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Leaf { der, key }
    }

    /// A list that revokes these serial numbers.
    pub(crate) fn crl(&self, serials: &[u8]) -> Vec<u8> {
        self.crl_dated(serials, days(-1), days(1))
    }

    pub(crate) fn crl_dated(
        &self,
        serials: &[u8],
        this_update: time::OffsetDateTime,
        next_update: time::OffsetDateTime,
    ) -> Vec<u8> {
        self.crl_scoped(serials, this_update, next_update, None)
    }

    pub(crate) fn crl_scoped(
        &self,
        serials: &[u8],
        this_update: time::OffsetDateTime,
        next_update: time::OffsetDateTime,
        scope: Option<rcgen::CrlIssuingDistributionPoint>,
    ) -> Vec<u8> {
        let revoked = |serial: &u8| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&[*serial]),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: rcgen::SerialNumber::from_slice(&[1]),
            issuing_distribution_point: scope,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

/// A certificate and its key.
pub(crate) struct Leaf {
    pub(crate) der: pki_types::CertificateDer<'static>,
    pub(crate) key: rcgen::KeyPair,
}

/// The serial number of every leaf made here.
pub(crate) const SERIAL: u8 = 42;

/// Parameters of a host's certificate with these alternative names.
pub(crate) fn leaf_params(names: &[&str]) -> rcgen::CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Test");
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[SERIAL]));
    (params.not_before, params.not_after) = (days(-10), days(10));
    params
}

pub(crate) fn common_name(params: &mut rcgen::CertificateParams, name: &str) {
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
}

/// Signs `tbs` (a whole SEQUENCE) with ECDSA P-256 and SHA-256, and wraps it as a certificate.
pub(crate) fn certificate_of(
    tbs: &[u8],
    key: &rcgen::KeyPair,
) -> pki_types::CertificateDer<'static> {
    use rcgen::SigningKey;
    let signature = key.sign(tbs).unwrap();
    let mut body = tbs.to_vec();
    body.extend_from_slice(ECDSA_WITH_SHA256);
    let mut bits = vec![0];
    bits.extend_from_slice(&signature);
    body.extend(tlv(0x03, &bits));
    tlv(0x30, &body).into()
}

/// A revocation list field by field, for those that no library makes.
pub(crate) struct RawCrl {
    pub(crate) version: Vec<u8>,
    /// A whole Name; `None`: the subject of the authority that signs.
    pub(crate) issuer: Option<Vec<u8>>,
    pub(crate) this_update: Vec<u8>,
    pub(crate) next_update: Vec<u8>,
    /// Each a whole entry; see [`entry`].
    pub(crate) entries: Vec<u8>,
    /// Each a whole extension; see [`extension`].
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl RawCrl {
    /// Version 2, current on [`NOW`], without entries and extensions.
    pub(crate) fn new() -> Self {
        Self {
            version: vec![2, 1, 1],
            issuer: None,
            this_update: tlv(0x17, b"260531000000Z"),
            next_update: tlv(0x18, b"20260602000000Z"),
            entries: Vec::new(),
            extensions: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, extensions: &[Vec<u8>]) -> Self {
        self.extensions.extend_from_slice(extensions);
        self
    }

    pub(crate) fn number(self, number: u8) -> Self {
        self.with(&[extension(20, false, &tlv(2, &[number]))])
    }

    pub(crate) fn entries(mut self, entries: &[Vec<u8>]) -> Self {
        self.entries = entries.concat();
        self
    }

    pub(crate) fn signed_by(&self, authority: &Authority) -> Vec<u8> {
        let (_, issuer) = x509_parser::parse_x509_certificate(&authority.der).unwrap();
        let mut tbs = self.version.clone();
        tbs.extend_from_slice(ECDSA_WITH_SHA256);
        match &self.issuer {
            Some(name) => tbs.extend_from_slice(name),
            None => tbs.extend_from_slice(issuer.subject().as_raw()),
        }
        tbs.extend_from_slice(&self.this_update);
        tbs.extend_from_slice(&self.next_update);
        if !self.entries.is_empty() {
            tbs.extend(tlv(0x30, &self.entries));
        }
        if !self.extensions.is_empty() {
            tbs.extend(tlv(0xa0, &tlv(0x30, &self.extensions.concat())));
        }
        certificate_of(&tlv(0x30, &tbs), authority.issuer.key()).to_vec()
    }
}

/// A Name of one Common Name, in the string type with this tag.
pub(crate) fn name_of(tag: u8, common_name: &[u8]) -> Vec<u8> {
    let attribute = [tlv(6, &[0x55, 4, 3]), tlv(tag, common_name)].concat();
    tlv(0x30, &tlv(0x31, &tlv(0x30, &attribute)))
}

/// An extension below id-ce.
pub(crate) fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    tlv(0x30, &[&[6, 3, 0x55, 0x1d, id], flag, &tlv(4, value)].concat())
}

/// An entry of a list: serial number, date, and extensions where there are any.
pub(crate) fn entry(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut entry = [tlv(2, serial), tlv(0x17, b"260531000000Z")].concat();
    if !extensions.is_empty() {
        entry.extend(tlv(0x30, &extensions.concat()));
    }
    tlv(0x30, &entry)
}

/// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758, section 3.2).
pub(crate) const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        length @ 0..=127 => out.push(length as u8),
        length @ 128..=255 => out.extend([0x81, length as u8]),
        length @ 256..=0xffff => out.extend([0x82, (length >> 8) as u8, length as u8]),
        length @ 0x1_0000..=0xff_ffff => {
            out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8])
        }
        length => {
            out.push(0x84);
            out.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(contents);
    out
}

/// A self-signed X.509 version 1 certificate: no version, no extensions, no names of hosts.
pub(crate) fn version_1() -> Leaf {
    use rcgen::PublicKeyData;
    let key = rcgen::KeyPair::generate().unwrap();
    // Name: one RDN, O = "v1".
    let attribute = tlv(0x30, &[&tlv(0x06, b"\x55\x04\x0a")[..], &tlv(0x0c, b"v1")].concat());
    let name = tlv(0x30, &tlv(0x31, &attribute));
    let dates = [tlv(0x17, b"260501000000Z"), tlv(0x17, b"260701000000Z")].concat();
    let tbs = [
        tlv(0x02, &[SERIAL]),
        ECDSA_WITH_SHA256.to_vec(),
        name.clone(),
        tlv(0x30, &dates),
        name,
        key.subject_public_key_info(),
    ]
    .concat();
    let der = certificate_of(&tlv(0x30, &tbs), &key);
    Leaf { der, key }
}
