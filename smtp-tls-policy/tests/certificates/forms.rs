//! Forms of certificates that RFC 5280 has and the path builder does not take.

use super::*;

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// A certificate written field by field, for the names and versions that no library writes.
struct Raw<'a> {
    version: &'a [u8],
    issuer: Vec<u8>,
    subject: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

impl<'a> Raw<'a> {
    /// Of version 3, for [`HOST`] as an alternative name.
    fn new(issuer: Vec<u8>) -> Self {
        let names = tlv(0x30, &tlv(0x82, HOST.as_bytes()));
        Self {
            version: &[0xa0, 3, 2, 1, 2],
            issuer,
            subject: name_of(UTF8, b"Host"),
            extensions: vec![extension(17, false, &names)],
        }
    }

    fn signed_by(&self, authority: &Authority) -> CertificateDer<'static> {
        use rcgen::PublicKeyData;
        let dates = [tlv(0x17, b"260501000000Z"), tlv(0x17, b"260701000000Z")].concat();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut tbs = [
            self.version,
            &tlv(2, &[SERIAL]),
            ECDSA_WITH_SHA256,
            &self.issuer,
            &tlv(0x30, &dates),
            &self.subject,
            &key.subject_public_key_info(),
        ]
        .concat();
        if !self.extensions.is_empty() {
            tbs.extend(tlv(0xa3, &tlv(0x30, &self.extensions.concat())));
        }
        certificate_of(&tlv(0x30, &tbs), authority.issuer.key())
    }
}

fn critical(id: &[u64], value: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(id, value);
    extension.set_criticality(true);
    extension
}

/// certificatePolicies with these policies, each the contents of an OBJECT IDENTIFIER.
fn policies(policies: &[&[u8]]) -> CustomExtension {
    let each: Vec<_> = policies.iter().map(|policy| tlv(0x30, &tlv(6, policy))).collect();
    critical(&[2, 5, 29, 32], tlv(0x30, &each.concat()))
}

const ANY_POLICY: &[u8] = &[0x55, 0x1d, 32, 0];
const ONE: &[u8] = &[0x2a, 3, 1];
const OTHER: &[u8] = &[0x2a, 3, 2];

/// policyConstraints with requireExplicitPolicy.
fn explicit(skip: u8) -> CustomExtension {
    critical(&[2, 5, 29, 36], tlv(0x30, &tlv(0x80, &[skip])))
}

/// policyMappings from one policy to another.
fn mapping(from: &[u8], to: &[u8]) -> CustomExtension {
    let pair = tlv(0x30, &[tlv(6, from), tlv(6, to)].concat());
    critical(&[2, 5, 29, 33], tlv(0x30, &pair))
}

/// inhibitAnyPolicy.
fn inhibit_any(skip: u8) -> CustomExtension {
    critical(&[2, 5, 29, 54], tlv(2, &[skip]))
}

/// Judges a leaf with these extensions below an issuer with those.
fn judge_policies(issuer: Vec<CustomExtension>, leaf: Vec<CustomExtension>) -> Verdict {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| params.custom_extensions = issuer);
    let mut params = leaf_params(&[HOST]);
    params.custom_extensions = leaf;
    let leaf = issuer.issue(&params);
    Bench::new(&[&root]).verdict(&[&leaf.der, &issuer.der])
}

/// Case T16b.
#[test]
fn issuer_with_critical_any_policy_is_accepted() {
    let verdict = judge_policies(vec![policies(&[ANY_POLICY])], Vec::new());
    assert_eq!(verdict.reason(), Reason::TlsOk);
}

/// Case T16d.
#[test]
fn leaf_with_critical_policies_is_accepted() {
    let verdict = judge_policies(Vec::new(), vec![policies(&[ONE, OTHER])]);
    assert_eq!(verdict.reason(), Reason::TlsOk);
    let both = judge_policies(vec![policies(&[ONE])], vec![policies(&[OTHER])]);
    assert_eq!(both.reason(), Reason::TlsOk);
}

/// RFC 5280, section 6.1.
#[test]
fn explicit_policy_is_required_where_an_authority_says_so() {
    let violated = |issuer, leaf| {
        let verdict = judge_policies(issuer, leaf);
        assert_eq!(verdict.reason(), Reason::CertConstraintViolated);
        let what = "no certificate policy is valid for the whole path";
        assert_eq!(verdict.defect().unwrap().detail(), &Detail::What(what));
    };
    let good = |issuer, leaf| {
        assert_eq!(judge_policies(issuer, leaf).reason(), Reason::TlsOk);
    };
    good(vec![policies(&[ONE]), explicit(0)], vec![policies(&[ONE])]);
    good(vec![policies(&[ANY_POLICY]), explicit(0)], vec![policies(&[ONE])]);
    good(vec![policies(&[ONE]), explicit(0)], vec![policies(&[ANY_POLICY])]);
    good(vec![policies(&[ONE]), explicit(9)], Vec::new());
    violated(vec![policies(&[ONE]), explicit(0)], vec![policies(&[OTHER])]);
    violated(vec![policies(&[ONE]), explicit(0)], Vec::new());
    violated(vec![policies(&[ONE]), explicit(1)], Vec::new());
    violated(vec![explicit(0)], vec![policies(&[ONE])]);
    // What the issuer's policy is called below it.
    let mapped = || vec![policies(&[ONE]), mapping(ONE, OTHER), explicit(0)];
    good(mapped(), vec![policies(&[OTHER])]);
    violated(mapped(), vec![policies(&[ONE])]);
    good(vec![policies(&[ANY_POLICY]), mapping(ONE, OTHER), explicit(0)], vec![policies(&[OTHER])]);
    let inhibited = || vec![policies(&[ONE]), inhibit_any(0), explicit(0)];
    good(inhibited(), vec![policies(&[ONE])]);
    violated(inhibited(), vec![policies(&[ANY_POLICY])]);
    // Without a demand for an explicit policy nothing of this matters.
    good(vec![policies(&[ONE]), mapping(ONE, OTHER), inhibit_any(0)], vec![policies(&[ONE])]);
    // The host's own certificate may ask for one.
    good(vec![policies(&[ONE])], vec![policies(&[ONE]), explicit(0)]);
    violated(vec![policies(&[ONE])], vec![policies(&[OTHER]), explicit(0)]);
}

#[test]
fn mapping_of_any_policy_is_refused() {
    for mapping in [mapping(ANY_POLICY, ONE), mapping(ONE, ANY_POLICY)] {
        let verdict = judge_policies(vec![policies(&[ONE]), mapping], Vec::new());
        assert_eq!(verdict.reason(), Reason::CertConstraintViolated);
    }
}

#[test]
fn policy_extensions_that_cannot_be_read_are_refused() {
    for bad in [critical(&[2, 5, 29, 36], vec![5, 0]), critical(&[2, 5, 29, 33], vec![0x30, 1, 0])]
    {
        let verdict = judge_policies(vec![policies(&[ONE]), bad], Vec::new());
        assert_ne!(verdict.reason(), Reason::TlsOk);
    }
}

/// What is still not known is said.
#[test]
fn unknown_critical_extension_is_named_in_the_reason() {
    let unknown = critical(&[2, 5, 29, 99], vec![5, 0]);
    let verdict = judge_policies(Vec::new(), vec![policies(&[ONE]), unknown]);
    assert_eq!(verdict.reason(), Reason::CertUnsupported);
    let defect = verdict.defect().unwrap();
    assert_eq!(defect.certificate(), Some(0));
    assert!(defect.to_string().contains("unknown critical extension"), "{defect}");
}

/// The signature over the original is what counts: a policy that was changed is noticed.
#[test]
fn leaf_with_changed_policies_is_refused() {
    let root = Authority::new("Root");
    let mut params = leaf_params(&[HOST]);
    params.custom_extensions = vec![policies(&[ONE])];
    let leaf = root.issue(&params).der;
    let at = leaf.windows(ONE.len()).position(|octets| octets == ONE).unwrap();
    let mut changed = leaf.to_vec();
    changed[at + 2] ^= 1;
    assert_eq!(Bench::new(&[&root]).judge(&[&leaf]), Reason::TlsOk);
    assert_eq!(Bench::new(&[&root]).judge(&[&changed.into()]), Reason::CertBadSignature);
    // Nor may the flag itself be changed.
    let flag = leaf.windows(5).position(|octets| octets == [0x1d, 32, 1, 1, 0xff]).unwrap() + 4;
    let mut changed = leaf.to_vec();
    changed[flag] = 0;
    assert_eq!(Bench::new(&[&root]).judge(&[&changed.into()]), Reason::CertBadSignature);
}

/// Case T24.
#[test]
fn issuer_in_another_string_type_is_found() {
    let root = Authority::new("Test CA");
    let utf16: Vec<u8> = "Test CA".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for name in [
        name_of(UTF8, b"Test CA"),
        name_of(PRINTABLE, b"Test CA"),
        name_of(IA5, b"test ca"),
        name_of(TELETEX, b"Test  CA"),
        name_of(BMP, &utf16),
    ] {
        let leaf = Raw::new(name.clone()).signed_by(&root);
        let bench = Bench::new(&[&root]);
        assert_eq!(bench.judge(&[&leaf]), Reason::TlsOk, "{name:x?}");
        // Its revocation list is found as well.
        let bench = bench.crl(&root.crl(&[SERIAL]));
        assert_eq!(bench.judge(&[&leaf]), Reason::CertRevoked, "{name:x?}");
        // Another key under the name is another authority.
        let impostor = Authority::new("Test CA");
        let leaf = Raw::new(name.clone()).signed_by(&impostor);
        assert_eq!(Bench::new(&[&root]).judge(&[&leaf]), Reason::CertBadSignature);
    }
    let stranger = Raw::new(name_of(UTF8, b"Test CB")).signed_by(&root);
    assert_eq!(Bench::new(&[&root]).judge(&[&stranger]), Reason::CertUnknownIssuer);
}

/// The same below a root, and where both spellings are among the authorities.
#[test]
fn issuers_of_one_name_in_two_string_types_are_both_tried() {
    let root = Authority::new("Root");
    let printable = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = rcgen::DnValue::PrintableString("Issuer".try_into().unwrap());
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
    };
    let (old, new) = (root.below("Issuer", |_| {}), root.below("Issuer", printable));
    let bench = Bench::new(&[&root]).crl(&old.crl(&[])).crl(&new.crl(&[])).crl(&root.crl(&[]));
    let bench = bench.revocation(Revocation::Hard);
    for issuer in [&old, &new] {
        for tag in [UTF8, PRINTABLE] {
            let leaf = Raw::new(name_of(tag, b"Issuer")).signed_by(issuer);
            assert_eq!(bench.judge(&[&leaf, &old.der, &new.der]), Reason::TlsOk);
            assert_eq!(bench.judge(&[&leaf, &new.der, &old.der, &root.der]), Reason::TlsOk);
        }
    }
}

/// Case T13.
#[test]
fn leaf_of_version_1_is_accepted() {
    let root = Authority::new("Test CA");
    let leaf = |version, extensions| Raw {
        version,
        issuer: name_of(UTF8, b"Test CA"),
        subject: name_of(UTF8, HOST.as_bytes()),
        extensions,
    };
    for version in [&[][..], &[0xa0, 3, 2, 1, 0]] {
        let der = leaf(version, Vec::new()).signed_by(&root);
        assert_eq!(Bench::new(&[&root]).judge(&[&der]), Reason::TlsOk);
        let revoked = Bench::new(&[&root]).crl(&root.crl(&[SERIAL]));
        assert_eq!(revoked.judge(&[&der]), Reason::CertRevoked);
        // Its name is a Common Name, which counts only if the connector says so.
        let bench = Bench::new(&[&root]).cn(CnFallback::Never);
        assert_eq!(bench.judge(&[&der]), Reason::CertNameMismatch);
    }
    // Extensions belong to version 3, and an authority of version 1 is none.
    let with = leaf(&[], vec![extension(15, true, &tlv(3, &[7, 0x80]))]).signed_by(&root);
    assert_eq!(Bench::new(&[&root]).judge(&[&with]), Reason::CertUnsupported);
    let below = Authority::new(HOST);
    let der = leaf(&[], Vec::new()).signed_by(&root);
    let under = Raw::new(name_of(UTF8, HOST.as_bytes())).signed_by(&below);
    assert_ne!(Bench::new(&[&root]).judge(&[&under, &der]), Reason::TlsOk);
}

/// Case T09.
#[test]
fn common_name_is_read_in_every_string_type() {
    let root = Authority::new("Test CA");
    let utf16: Vec<u8> = HOST.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf32: Vec<u8> = HOST.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let ascii = HOST.as_bytes();
    for (tag, name) in [
        (UTF8, ascii),
        (PRINTABLE, ascii),
        (IA5, ascii),
        (TELETEX, ascii),
        (BMP, &utf16),
        (UNIVERSAL, &utf32),
    ] {
        let mut raw = Raw::new(name_of(UTF8, b"Test CA"));
        raw.extensions.clear();
        raw.subject = name_of(tag, name);
        let bench = Bench::new(&[&root]);
        let leaf = raw.signed_by(&root);
        assert_eq!(bench.judge(&[&leaf]), Reason::TlsOk, "{tag:x}");
        let shown = CommonNames::of(&leaf);
        assert_eq!(shown.subject.as_deref(), Some(HOST), "{tag:x}");
        assert_eq!(shown.issuer.as_deref(), Some("Test CA"), "{tag:x}");
        raw.subject = name_of(tag, &name[..name.len() - 4]);
        assert_eq!(bench.judge(&[&raw.signed_by(&root)]), Reason::CertNameMismatch, "{tag:x}");
    }
    for (tag, name) in [(BMP, &utf16[1..]), (UNIVERSAL, &[0, 0x11, 0, 0]), (4, ascii)] {
        let mut raw = Raw::new(name_of(UTF8, b"Test CA"));
        raw.extensions.clear();
        raw.subject = name_of(tag, name);
        assert_eq!(
            Bench::new(&[&root]).judge(&[&raw.signed_by(&root)]),
            Reason::CertNameMismatch,
            "{tag:x}"
        );
    }
}

/// Case T22b.
#[test]
fn leaf_for_any_purpose_is_accepted() {
    let root = Authority::new("Root");
    let mut params = leaf_params(&[HOST]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    assert_eq!(Bench::new(&[&root]).judge(&[&root.issue(&params).der]), Reason::TlsOk);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    assert_eq!(Bench::new(&[&root]).judge(&[&root.issue(&params).der]), Reason::CertWrongPurpose);
}

/// A self-signed certificate for this host, as `openssl req -x509` writes it.
fn self_signed(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Authority {
    let mut params = leaf_params(&[HOST]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    change(&mut params);
    Authority::with(params)
}

/// Case T15.
#[test]
fn certificate_that_is_itself_a_root_is_accepted() {
    let judge = |change: fn(&mut rcgen::CertificateParams)| {
        let host = self_signed(change);
        Bench::new(&[&host]).revocation(Revocation::Hard).judge(&[&host.der])
    };
    assert_eq!(judge(|_| {}), Reason::TlsOk);
    assert_eq!(judge(|params| params.is_ca = IsCa::NoCa), Reason::TlsOk);
    assert_eq!(judge(|params| params.is_ca = IsCa::ExplicitNoCa), Reason::TlsOk);
    // The rest is checked as ever.
    assert_eq!(judge(|params| params.not_after = days(-1)), Reason::CertExpired);
    assert_eq!(judge(|params| params.not_before = days(1)), Reason::CertNotYetValid);
    assert_eq!(
        judge(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        Reason::CertWrongPurpose
    );
    assert_eq!(
        judge(|params| {
            params.subject_alt_names =
                vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
        }),
        Reason::CertNameMismatch
    );
    assert_eq!(
        judge(|params| params.custom_extensions = vec![critical(&[2, 5, 29, 99], vec![5, 0])]),
        Reason::CertUnsupported
    );
    let host = self_signed(|params| params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign]);
    let revoked = Bench::new(&[&host]).crl(&host.crl(&[SERIAL]));
    assert_eq!(revoked.judge(&[&host.der]), Reason::CertRevoked);

    // As an anchor without its certificate.
    let mut bench = Bench::new(&[]);
    let anchor = webpki::anchor_from_trusted_cert(&host.der).unwrap().to_owned();
    bench.trust.add_roots(&RootsId::public(), [anchor]);
    assert_eq!(bench.judge(&[&host.der]), Reason::TlsOk);
    // Another certificate of that name and key that the key did not sign is not that root.
    let mut forged = host.der.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_ne!(bench.judge(&[&forged.into()]), Reason::TlsOk);
    let twin = self_signed(|_| {});
    assert_eq!(bench.judge(&[&twin.der]), Reason::CertSelfSigned);
    // An authority that is trusted does not make another authority a host.
    let below = host.below("Below", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(HOST.try_into().unwrap())];
    });
    assert_eq!(bench.judge(&[&below.der]), Reason::CertIsCa);
}

#[test]
fn certificate_of_another_issuer_that_was_added_as_a_root_is_accepted() {
    let issuer = Authority::new("Issuer");
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let mut bench = Bench::new(&[]);
    bench.trust.add_root_der(&RootsId::public(), &leaf.der).unwrap();
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    let sibling = issuer.issue(&leaf_params(&[HOST]));
    assert_eq!(bench.judge(&[&sibling.der]), Reason::CertUnknownIssuer);
}

/// The base of a subtree that is a directory name.
fn directory(relative: &[(u8, &[u8])]) -> Vec<u8> {
    let sets = relative.iter().map(|(tag, value)| {
        let attribute = [tlv(6, &[0x55, 4, 3]), tlv(*tag, value)].concat();
        tlv(0x31, &tlv(0x30, &attribute))
    });
    tlv(0xa4, &tlv(0x30, &sets.collect::<Vec<_>>().concat()))
}

fn constraints(permitted: &[Vec<u8>], excluded: &[Vec<u8>]) -> CustomExtension {
    let list = |tag, bases: &[Vec<u8>]| match bases.is_empty() {
        true => Vec::new(),
        false => tlv(tag, &bases.iter().map(|base| tlv(0x30, base)).collect::<Vec<_>>().concat()),
    };
    let value = [list(0xa0, permitted), list(0xa1, excluded)].concat();
    critical(&[2, 5, 29, 30], tlv(0x30, &value))
}

/// Judges a leaf below an issuer with these constraints: once those of an issuer below the root,
/// once those of the root.
fn judge_constraints(
    constraints: &CustomExtension,
    change: impl Fn(&mut rcgen::CertificateParams),
) -> Reason {
    let constrain = |params: &mut rcgen::CertificateParams| {
        params.custom_extensions = vec![constraints.clone()];
    };
    let root = Authority::new("Root");
    let issuer = root.below("Example", constrain);
    let mut params = leaf_params(&[HOST]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    let leaf = issuer.issue(&params);
    let below = Bench::new(&[&root]).judge(&[&leaf.der, &issuer.der]);
    // As a root that constrains what is below it.
    let own = Bench::new(&[&issuer]).judge(&[&leaf.der]);
    assert_eq!(below, own);
    below
}

/// A peer that can guess how certificates are rewritten for the path builder sends the rewritten
/// one itself, next to the genuine one whose signature it borrows.
#[test]
fn rewritten_copy_of_a_constrained_issuer_does_not_replace_it() {
    let directory = directory(&[(UTF8, b"Other")]);
    let mailbox = tlv(0x81, b"other.com");
    for (base, rewritten) in [(directory, 0xa3), (mailbox, 0x88)] {
        let constraints = constraints(std::slice::from_ref(&base), &[]);
        let root = Authority::new("Root");
        let issuer = root.below("Example", |params| params.custom_extensions = vec![constraints]);
        let mut params = leaf_params(&[HOST]);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Example");
        params.custom_extensions = vec![];
        let leaf = issuer.issue(&params);
        let mut copy = issuer.der.to_vec();
        let at = copy.windows(base.len()).position(|part| *part == base).unwrap();
        copy[at] = rewritten;
        let copy = CertificateDer::from(copy);
        let bench = Bench::new(&[&root]);
        let genuine = bench.judge(&[&leaf.der, &issuer.der]);
        for chain in [
            &[&leaf.der, &copy][..],
            &[&leaf.der, &copy, &issuer.der],
            &[&leaf.der, &issuer.der, &copy],
        ] {
            assert_ne!(bench.judge(chain), Reason::TlsOk, "{rewritten:#x}, alone: {genuine:?}");
        }
    }
}

#[test]
fn directory_name_constraints_are_processed() {
    use rcgen::{DnType, DnValue};
    let named = |names: &'static [&'static str]| {
        move |params: &mut rcgen::CertificateParams| {
            // One relative name each: only the first is a Common Name in rcgen's order.
            for (position, name) in names.iter().enumerate() {
                let kind = match position {
                    0 => DnType::CommonName,
                    _ => DnType::OrganizationName,
                };
                params
                    .distinguished_name
                    .push(kind, DnValue::PrintableString((*name).try_into().unwrap()));
            }
        }
    };
    let example = || directory(&[(UTF8, b"example")]);
    let other = || directory(&[(UTF8, b"Other")]);
    let permit = |bases: &[Vec<u8>]| constraints(bases, &[]);
    let exclude = |bases: &[Vec<u8>]| constraints(&[], bases);
    let dns = || tlv(0x82, b"example.com");
    for (constraints, names, reason) in [
        (permit(&[example()]), &["Example"][..], Reason::TlsOk),
        (permit(&[example()]), &["EXAMPLE", "Unit"], Reason::TlsOk),
        (permit(&[example(), dns()]), &["Example"], Reason::TlsOk),
        (permit(&[other(), example()]), &["Example"], Reason::TlsOk),
        // An empty subject has no name that a constraint could be about.
        (permit(&[example()]), &[], Reason::TlsOk),
        (permit(&[directory(&[])]), &["Example"], Reason::TlsOk),
        (exclude(&[other()]), &["Example"], Reason::TlsOk),
        (permit(&[other()]), &["Example"], Reason::CertConstraintViolated),
        (
            permit(&[example(), tlv(0x82, b"other.com")]),
            &["Example"],
            Reason::CertConstraintViolated,
        ),
        (exclude(&[example()]), &["example"], Reason::CertConstraintViolated),
        (exclude(&[example()]), &["Example", "Unit"], Reason::CertConstraintViolated),
        (exclude(&[directory(&[])]), &["Example"], Reason::CertConstraintViolated),
        (
            permit(&[directory(&[(UTF8, b"Example"), (UTF8, b"Below")])]),
            &["Example"],
            Reason::CertConstraintViolated,
        ),
    ] {
        assert_eq!(judge_constraints(&constraints, named(names)), reason, "{names:?}");
    }
    // An alternative name of this form is within the subtrees too.
    let alternative = |name: &[u8]| {
        let general = [tlv(0x82, HOST.as_bytes()), directory(&[(UTF8, name)])].concat();
        move |params: &mut rcgen::CertificateParams| {
            params.subject_alt_names.clear();
            let value = tlv(0x30, &general);
            params.custom_extensions =
                vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], value)];
        }
    };
    assert_eq!(judge_constraints(&permit(&[example()]), alternative(b"Example")), Reason::TlsOk);
    assert_eq!(
        judge_constraints(&permit(&[example()]), alternative(b"Other")),
        Reason::CertConstraintViolated
    );
}

#[test]
fn mailbox_constraints_are_applied_to_alternative_names() {
    let mailbox = |text: &str| {
        let name = rcgen::SanType::Rfc822Name(text.to_owned().try_into().unwrap());
        move |params: &mut rcgen::CertificateParams| params.subject_alt_names.push(name.clone())
    };
    let base = |text: &str| vec![tlv(0x81, text.as_bytes())];
    let bad = Reason::CertConstraintViolated;
    for (permitted, excluded, name, reason) in [
        ("example.com", "", "a@example.com", Reason::TlsOk),
        ("a@example.com", "", "a@EXAMPLE.com", Reason::TlsOk),
        (".example.com", "", "a@mx.example.com", Reason::TlsOk),
        ("", "other.example", "a@example.com", Reason::TlsOk),
        ("example.com", "", "a@other.example", bad),
        ("a@example.com", "", "A@example.com", bad),
        (".example.com", "", "a@example.com", bad),
        ("", "example.com", "a@example.com", bad),
    ] {
        let list = |text: &str| if text.is_empty() { Vec::new() } else { base(text) };
        let constraints = constraints(&list(permitted), &list(excluded));
        assert_eq!(judge_constraints(&constraints, mailbox(name)), reason, "{permitted} {name}");
    }
}

/// What is not processed is refused (RFC 5280, section 4.2.1.10).
#[test]
fn constraint_of_a_form_that_is_not_processed_is_refused_where_such_a_name_appears() {
    let uri = |text: &str| {
        let name = rcgen::SanType::URI(text.to_owned().try_into().unwrap());
        move |params: &mut rcgen::CertificateParams| params.subject_alt_names.push(name.clone())
    };
    let constraints = constraints(&[tlv(0x86, b"example.com")], &[]);
    assert_eq!(judge_constraints(&constraints, |_| {}), Reason::TlsOk);
    assert_eq!(
        judge_constraints(&constraints, uri("http://example.com/")),
        Reason::CertConstraintViolated
    );
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| params.custom_extensions = vec![constraints]);
    let mut params = leaf_params(&[HOST]);
    uri("http://example.com/")(&mut params);
    let verdict = Bench::new(&[&root]).verdict(&[&issuer.issue(&params).der, &issuer.der]);
    let what = "name constraints, one of a form that is not supported";
    assert_eq!(verdict.defect().unwrap().detail(), &Detail::What(what));
}
