//! Certificate policies along a path (RFC 5280, section 6.1), which the path builder does not
//! process.
//!
//! Mail asks for no policy: the user-initial-policy-set is any-policy, and no initial flag is set.
//! Then only an authority that requires an explicit policy (section 4.2.1.11) can make a path fail,
//! if its certificates have no policy in common. Of the policy tree only the newest level is kept,
//! since whether a level is empty depends on the one above it alone.

use std::collections::{HashMap, HashSet};

use webpki::VerifiedPath;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use crate::pki::comparison::ComparableName;
use crate::pki::x509;

const ANY_POLICY: &[u8] = &[0x55, 0x1d, 32, 0];

/// What is wrong with the policies of a path; `None` if nothing is.
pub(super) fn defect_of(path: &VerifiedPath<'_>) -> Option<&'static str> {
    let mut ders: Vec<_> = path.intermediate_certificates().map(|issuer| issuer.der()).collect();
    ders.reverse();
    ders.push(path.end_entity().der());
    if !ders.iter().any(|der| x509::has_policy_rules(der)) {
        return None;
    }
    let parsed: Option<Vec<_>> = ders.iter().map(x509::parse_deep).collect();
    let Some(parsed) = parsed else {
        return Some("policy extensions that cannot be read");
    };
    walk(&parsed).err()
}

/// The policies of one level of the tree.
struct Level {
    /// The union of the expected policy sets.
    expected: HashSet<Vec<u8>>,
    /// Whether anyPolicy is valid at this level.
    any: bool,
}

fn walk(path: &[X509Certificate<'_>]) -> Result<(), &'static str> {
    const UNREADABLE: &str = "policy extensions that cannot be read";
    let count = u32::try_from(path.len()).unwrap_or(u32::MAX);
    let (mut explicit, mut mapping, mut inhibit_any) = (count + 1, count + 1, count + 1);
    let mut level = Some(Level { expected: HashSet::new(), any: true });
    for (position, certificate) in path.iter().enumerate() {
        let is_last = position + 1 == path.len();
        let names = [certificate.issuer(), certificate.subject()];
        let [issuer, subject] = names.map(ComparableName::of);
        let is_self_issued = issuer == subject;
        let Policies { policies, mappings, constraints, inhibit } =
            Policies::of(certificate).ok_or(UNREADABLE)?;

        // (d) and (e)
        let any_counts = inhibit_any > 0 || (!is_last && is_self_issued);
        let mut valid = match (level, policies) {
            (Some(level), Some(policies)) => level.next(&policies, any_counts),
            _ => None,
        };
        // (f)
        if explicit == 0 && valid.is_none() {
            return Err("no certificate policy is valid for the whole path");
        }
        if !is_last {
            // 6.1.4 (a) and (b)
            if mappings.iter().any(|(from, to)| from == ANY_POLICY || to == ANY_POLICY) {
                return Err("a policy mapping to or from anyPolicy");
            }
            valid = valid.and_then(|level| level.mapped(&mappings, mapping > 0));
        }
        // 6.1.4 (h), and for the last one 6.1.5 (a), which asks nothing of its name.
        if is_last || !is_self_issued {
            explicit = explicit.saturating_sub(1);
            mapping = mapping.saturating_sub(1);
            inhibit_any = inhibit_any.saturating_sub(1);
        }
        let (require, inhibit_mapping) = constraints;
        match is_last {
            // 6.1.5 (b)
            true if require == Some(0) => explicit = 0,
            true => {}
            // 6.1.4 (i) and (j)
            false => {
                explicit = explicit.min(require.unwrap_or(explicit));
                mapping = mapping.min(inhibit_mapping.unwrap_or(mapping));
                inhibit_any = inhibit_any.min(inhibit.unwrap_or(inhibit_any));
            }
        }
        level = valid;
    }
    match explicit == 0 && level.is_none() {
        true => Err("no certificate policy is valid for the whole path"),
        false => Ok(()),
    }
}

impl Level {
    /// The next level, for a certificate with these policies (section 6.1.3, (d)).
    fn next(self, policies: &HashSet<Vec<u8>>, any_counts: bool) -> Option<Self> {
        let any = self.any;
        let mut expected: HashSet<_> = policies
            .iter()
            .filter(|policy| **policy != ANY_POLICY)
            .filter(|policy| any || self.expected.contains(*policy))
            .cloned()
            .collect();
        let passes_on = any_counts && policies.contains(ANY_POLICY);
        if passes_on {
            expected.extend(self.expected);
        }
        let next = Self { expected, any: any && passes_on };
        (next.any || !next.expected.is_empty()).then_some(next)
    }

    /// The level after the mappings of an authority (section 6.1.4, (b)).
    fn mapped(mut self, mappings: &[(Vec<u8>, Vec<u8>)], may_map: bool) -> Option<Self> {
        let mut targets: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
        for (from, to) in mappings {
            targets.entry(from).or_default().push(to);
        }
        let mut added = Vec::new();
        for (from, to) in targets {
            let was_valid = self.expected.remove(from);
            if may_map && (was_valid || self.any) {
                added.extend(to.into_iter().map(<[u8]>::to_vec));
            }
        }
        self.expected.extend(added);
        (self.any || !self.expected.is_empty()).then_some(self)
    }
}

/// The extensions on policies of one certificate.
struct Policies {
    policies: Option<HashSet<Vec<u8>>>,
    /// From the issuer's policy to the subject's.
    mappings: Vec<(Vec<u8>, Vec<u8>)>,
    /// requireExplicitPolicy and inhibitPolicyMapping.
    constraints: (Option<u32>, Option<u32>),
    /// inhibitAnyPolicy.
    inhibit: Option<u32>,
}

impl Policies {
    /// `None` if one of the extensions cannot be read.
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let mut policies = None;
        for extension in certificate.extensions() {
            if extension.oid.as_bytes() == &ANY_POLICY[..3] {
                let ParsedExtension::CertificatePolicies(list) = extension.parsed_extension()
                else {
                    return None;
                };
                policies = Some(list.iter().map(|it| it.policy_id.as_bytes().to_vec()).collect());
            }
        }
        let mappings = certificate.policy_mappings().ok()?;
        let mappings = mappings.map_or_else(Vec::new, |extension| {
            let pair = |it: &x509_parser::extensions::PolicyMapping<'_>| {
                let octets = |oid: &x509_parser::asn1_rs::Oid<'_>| oid.as_bytes().to_vec();
                (octets(&it.issuer_domain_policy), octets(&it.subject_domain_policy))
            };
            extension.value.mappings.iter().map(pair).collect()
        });
        let constraints = certificate.policy_constraints().ok()?.map_or((None, None), |it| {
            (it.value.require_explicit_policy, it.value.inhibit_policy_mapping)
        });
        let inhibit = certificate.inhibit_anypolicy().ok()?.map(|it| it.value.skip_certs);
        Some(Self { policies, mappings, constraints, inhibit })
    }
}
