//! What peers show, and by hand what each of these proves.

use std::sync::LazyLock;

use pki_types::CertificateDer;
use rcgen::PublicKeyData;
use smtp_tls_policy::pki::{CnFallback, Pin, RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::TlsaFact;
use smtp_tls_policy::{Domain, pki_types};

use crate::common::*;
use crate::rules::{Case, Proof, Records, Whose};

pub(crate) const NEXT_HOP: &str = "example.com";
pub(crate) const EXPANDED: &str = "expanded.example.org";
pub(crate) const HOST: &str = "mx.example.net";
pub(crate) const ALIAS: &str = "host.elsewhere.example";
pub(crate) const GIVEN: &str = "given.example.info";
pub(crate) const ADDRESS: &str = "192.0.2.1";

/// The issuer of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Public,
    Private,
    /// An authority that only TLSA records know.
    Ta,
    Itself,
}

pub(crate) struct Shown {
    pub(crate) what: &'static str,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    by: By,
    /// Dates are in order, and nothing is revoked.
    good: bool,
    names: &'static [&'static str],
    common_name: Option<&'static str>,
    is_ee: bool,
    is_pinned: bool,
}

pub(crate) struct World {
    pub(crate) trust: Trust,
    pub(crate) shown: Vec<Shown>,
    pub(crate) pins: Vec<Pin>,
    ta: Authority,
    ee_keys: Vec<Vec<u8>>,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let (public, private, ta) =
            (Authority::new("Public"), Authority::new("Private"), Authority::new("TA"));
        let mut trust = Trust::empty();
        for (id, root) in [(RootsId::public(), &public), (RootsId::new("private"), &private)] {
            trust.add_root_der(&id, &root.der).unwrap();
        }
        trust.add_crl_der(&RootsId::public(), &public.crl(&[13])).unwrap();
        let mut world =
            Self { trust, shown: Vec::new(), pins: Vec::new(), ta, ee_keys: Vec::new() };

        let mut add = |what: &'static str,
                       by,
                       names: &'static [&'static str],
                       change: fn(&mut rcgen::CertificateParams)| {
            let mut params = leaf_params(names);
            change(&mut params);
            let key = rcgen::KeyPair::generate().unwrap();
            let good = params.not_after > days(0)
                && params.serial_number != Some(rcgen::SerialNumber::from_slice(&[13]));
            let common_name = params
                .distinguished_name
                .iter()
                .find_map(|(kind, _)| (*kind == rcgen::DnType::CommonName).then_some(HOST));
            let chain = match by {
                By::Public => vec![params.signed_by(&key, &public.issuer).unwrap().der().clone()],
                By::Private => vec![params.signed_by(&key, &private.issuer).unwrap().der().clone()],
                By::Ta => vec![
                    params.signed_by(&key, &world.ta.issuer).unwrap().der().clone(),
                    world.ta.der.clone(),
                ],
                By::Itself => vec![params.self_signed(&key).unwrap().der().clone()],
            };
            let is_ee = what.contains("EE");
            if is_ee {
                world.ee_keys.push(key.subject_public_key_info());
            }
            let is_pinned = what.contains("pin");
            if is_pinned {
                world.pins.push(Pin::of_certificate(&chain[0]));
            }
            world.shown.push(Shown { what, chain, by, good, names, common_name, is_ee, is_pinned });
        };
        let nothing: fn(&mut rcgen::CertificateParams) = |_| {};
        let expired: fn(&mut rcgen::CertificateParams) = |params| params.not_after = days(-1);
        let named: fn(&mut rcgen::CertificateParams) = |params| common_name(params, HOST);
        add("host", By::Public, &[HOST], nothing);
        add("next hop", By::Public, &[NEXT_HOP], nothing);
        add("below the next hop", By::Public, &["a.b.example.com"], nothing);
        add("expanded next hop", By::Public, &[EXPANDED], nothing);
        add("host and next hop", By::Public, &[HOST, NEXT_HOP], nothing);
        add("host, next hop, EE, pin", By::Public, &[HOST, NEXT_HOP], nothing);
        add("alias", By::Public, &[ALIAS], nothing);
        add("host and alias, EE", By::Public, &[HOST, ALIAS], nothing);
        add("given", By::Public, &[GIVEN], nothing);
        add("address", By::Public, &[ADDRESS], nothing);
        add("other", By::Public, &["mx.example.org"], nothing);
        add("expired", By::Public, &[HOST], expired);
        add("expired, EE", By::Public, &[HOST], expired);
        add("revoked", By::Public, &[HOST], |params| {
            params.serial_number = Some(rcgen::SerialNumber::from_slice(&[13]))
        });
        add("Common Name", By::Public, &[], named);
        add("Common Name beside another", By::Public, &["mx.example.org"], named);
        add("private host", By::Private, &[HOST], nothing);
        add("private host, EE", By::Private, &[HOST], nothing);
        add("private address", By::Private, &[ADDRESS], nothing);
        add("self-signed", By::Itself, &[HOST], nothing);
        add("self-signed, other, EE", By::Itself, &["mx.example.org"], nothing);
        add("self-signed, other, pin", By::Itself, &["mx.example.org"], nothing);
        add("TA, host", By::Ta, &[HOST], nothing);
        add("TA, alias", By::Ta, &[ALIAS], nothing);
        add("TA, next hop", By::Ta, &[NEXT_HOP], nothing);
        add("TA, below the next hop", By::Ta, &["a.b.example.com"], nothing);
        add("TA, expanded next hop", By::Ta, &[EXPANDED], nothing);
        add("TA, other", By::Ta, &["mx.example.org"], nothing);
        add("TA, host, expired", By::Ta, &[HOST], expired);
        add("TA, Common Name", By::Ta, &[], named);
        add("TA, host, pin", By::Ta, &[HOST], nothing);
        let v1 = version_1();
        world.ee_keys.push(v1.key.subject_public_key_info());
        world.shown.push(Shown {
            what: "X.509 version 1, EE",
            chain: vec![v1.der],
            by: By::Itself,
            good: true,
            names: &[],
            common_name: None,
            is_ee: true,
            is_pinned: false,
        });
        world
    }

    /// The RRset of a case.
    pub(crate) fn tlsa(&self, records: Records, base: &str) -> TlsaFact {
        let ee = self.ee_keys.iter().map(|key| TlsaRecord {
            usage: 3,
            selector: 1,
            matching: 0,
            data: key.clone(),
        });
        let ta = TlsaRecord { usage: 2, selector: 0, matching: 0, data: self.ta.der.to_vec() };
        let records = match records {
            Records::Absent => return TlsaFact::Absent,
            Records::Failed => return TlsaFact::Failed,
            Records::Ee => ee.collect(),
            Records::Ta => vec![ta],
            Records::Both => ee.chain([ta]).collect(),
            // PKIX-TA(0) and PKIX-EE(1), a digest that is too short, an unknown selector.
            Records::Unusable => ["0 0 1", "1 1 1", "3 1 1", "3 2 1"]
                .map(|head| TlsaRecord::parse(&format!("{head} 00")).unwrap())
                .to_vec(),
        };
        TlsaFact::Found(TlsaSet::new(Domain::parse(base).unwrap(), &records))
    }
}

impl Shown {
    /// By hand: the rules of names and chains, not the crate's.
    pub(crate) fn proves(&self, case: &Case, proof: Proof) -> bool {
        match proof {
            Proof::Pin => self.is_pinned,
            Proof::Chain { private, name, cn } => {
                let wanted = |presented: &str| match name {
                    Whose::Host if case.host_is_address() => presented == ADDRESS,
                    Whose::Host if case.origin == crate::rules::Origin::ImplicitMx => {
                        presented == NEXT_HOP
                    }
                    Whose::Host => presented == HOST,
                    Whose::NextHop => presented == NEXT_HOP || presented.ends_with(".example.com"),
                    Whose::Given => presented == GIVEN,
                };
                let by = if private { By::Private } else { By::Public };
                self.by == by && self.good && self.carries(wanted, cn)
            }
            Proof::Tlsa { ee, ta, names } => {
                let host =
                    if case.origin == crate::rules::Origin::ImplicitMx { NEXT_HOP } else { HOST };
                let wanted = |presented: &str| {
                    (names.host && presented == host)
                        || (names.alias && presented == ALIAS)
                        || (names.next_hop && presented == NEXT_HOP)
                        || (names.expanded && presented == EXPANDED)
                };
                // RFC 7672, section 3.2.3: CN-ID where there is no DNS-ID.
                let by_ta =
                    self.by == By::Ta && self.good && self.carries(wanted, CnFallback::IfNoDnsSan);
                (ee && self.is_ee) || (ta && by_ta)
            }
        }
    }

    fn carries(&self, wanted: impl Fn(&str) -> bool, cn: CnFallback) -> bool {
        let counts = match cn {
            CnFallback::Never => false,
            CnFallback::IfNoDnsSan => self.names.is_empty(),
            CnFallback::Always => true,
        };
        self.names.iter().any(|name| wanted(name))
            || (counts && self.common_name.is_some_and(wanted))
    }
}
