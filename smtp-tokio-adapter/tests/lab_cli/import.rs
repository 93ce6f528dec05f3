//! The policies of `smtp_tls_policy_maps` as a Postfix of the lab keeps them, and as `probe`
//! decides by what `import postfix` makes of them, for each certificate of the lab's PKI: the
//! golden table `golden/import.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::certificates::{CERTIFICATES, HOST};
use crate::lab::Peer;
use crate::postfix::{Fate, Postfix};
use crate::program::{Folder, smtp_tls};
use crate::table::{each, golden};
use crate::world::{Tlsa, World, certificate_digest};

/// A policy: its name in the table, what follows the next hop, and the TLSA records.
struct Policy {
    name: &'static str,
    rule: String,
    tlsa: Tlsa,
    /// Whether we have revocation lists.
    lists: bool,
}

fn policies(world: &World) -> Vec<Policy> {
    let policy =
        |name, rule: &str, tlsa| Policy { name, rule: rule.to_owned(), tlsa, lists: false };
    let digest = certificate_digest(world.lab, "valid").to_ascii_uppercase();
    let pairs: Vec<&str> = (0..32).map(|at| &digest[2 * at..2 * at + 2]).collect();
    let fingerprint = format!("fingerprint match={}", pairs.join(":"));
    vec![
        policy("none", "none", Tlsa::None),
        policy("may", "may", Tlsa::None),
        policy("encrypt", "encrypt", Tlsa::None),
        policy("verify", "verify", Tlsa::None),
        Policy { lists: true, ..policy("verify, lists", "verify", Tlsa::None) },
        policy("secure", "secure", Tlsa::None),
        policy("secure hostname", "secure match=hostname", Tlsa::None),
        policy("secure domain", "secure match=.test.example", Tlsa::None),
        policy("secure other", "secure match=mail.other.example", Tlsa::None),
        policy("secure tafile", "secure tafile=/etc/tls/private-ca.pem", Tlsa::None),
        policy("fingerprint", &fingerprint, Tlsa::None),
        policy("dane, none", "dane", Tlsa::None),
        policy("dane, key", "dane", Tlsa::Key),
        policy("dane, CA", "dane", Tlsa::Authority),
        policy("dane-only, none", "dane-only", Tlsa::None),
        policy("dane-only, key", "dane-only", Tlsa::Key),
        policy("dane-only, CA", "dane-only", Tlsa::Authority),
    ]
}

/// A difference: the policies (a beginning of the name) and certificates, and what it is.
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    ("", &["weak-rsa1024"], "an RSA key below 2048 bits cannot sign a handshake here"),
    (
        "secure domain",
        &["wildcard-partial"],
        "a pattern that is part of a label is no name here, so that nothing is below the domain",
    ),
    ("verify, lists", &["revoked"], "Postfix reads no revocation lists"),
];

fn recipient(policy: usize, certificate: &str) -> String {
    format!("{certificate}@p{policy}.example")
}

/// What Postfix does with mail to each certificate by each policy.
fn deliver(world: &World, postfix: &Postfix, policies: &[Policy]) -> Vec<Vec<Fate>> {
    let (mut services, mut transport) = (String::new(), String::new());
    let mut recipients = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        writeln!(
            services,
            "p{index} unix - - n - 4 smtp -o {{ smtp_tls_policy_maps = static:{{ {} }} }}",
            policy.rule
        )
        .unwrap();
        for name in CERTIFICATES {
            let port = world.port(Some(name), policy.tlsa);
            writeln!(transport, "{} p{index}:{HOST}:{port}", recipient(index, name)).unwrap();
            recipients.push(recipient(index, name));
        }
    }
    postfix.put("etc/postfix/transport", transport.as_bytes());
    let resolver = format!("nameserver {}\noptions trust-ad edns0\n", world.resolver);
    postfix.put("etc/resolv.conf", resolver.as_bytes());
    for root in ["root-ca.pem", "private-ca.pem"] {
        postfix.put(&format!("etc/tls/{root}"), &std::fs::read(world.lab.pki(root)).unwrap());
    }
    let main = "transport_maps = texthash:/etc/postfix/transport\n\
                smtp_host_lookup = dns\nsmtp_dns_support_level = dnssec\n\
                smtp_tls_CAfile = /etc/tls/root-ca.pem\nsmtp_tls_loglevel = 1\n\
                smtp_tls_fingerprint_digest = sha256\nsmtp_connection_cache_on_demand = no\n";
    postfix.configure(main, &services);
    postfix.submit(&recipients);
    let fates = postfix.fates(&recipients);
    let of = |index| CERTIFICATES.map(|name| fates[&recipient(index, name)].clone()).to_vec();
    (0..policies.len()).map(of).collect()
}

fn word(fate: &Fate) -> &'static str {
    match (fate.status.as_str(), &fate.tls) {
        ("sent", Some(_)) => "tls",
        ("sent", None) => "clear",
        ("deferred", _) => "wait",
        _ => "bounce",
    }
}

/// What we do by the imported configuration.
fn decide(world: &World, folder: &Folder, policies: &[Policy]) -> Vec<Vec<&'static str>> {
    let anchor = folder.file("root.key", world.anchor());
    let resolver = world.plain();
    let [root, private, lists] =
        ["root-ca.pem", "private-ca.pem", "crls.pem"].map(|file| world.lab.pki(file));
    let private = format!("/etc/tls/private-ca.pem={private}");
    let configs: Vec<String> = (policies.iter().enumerate())
        .map(|(index, policy)| {
            let rules = folder.file(&format!("{index}.cf"), format!("{HOST} {}\n", policy.rule));
            let imported = smtp_tls(&["import", "postfix", &rules]);
            assert_eq!(imported.status, 3, "{imported:?}");
            folder.file(&format!("{index}.toml"), imported.stdout)
        })
        .collect();
    let jobs = (0..policies.len()).flat_map(|at| CERTIFICATES.map(|name| (at, name)));
    let found = each(jobs, |(at, name)| {
        let port = world.port(Some(name), policies[at].tlsa).to_string();
        let command = ["probe", HOST, "--config", &configs[at], "--port", &port, "--json"];
        let trust = ["--ca", &root, "--ca", &private, "--trust-anchor", &anchor];
        let lists: &[&str] = if policies[at].lists { &["--crl", &lists] } else { &[] };
        let network = ["--resolver", resolver, "--timeout", "40"];
        let ran = smtp_tls(&[&command[..], &trust, &network, lists].concat());
        match (ran.json()["ending"].as_str(), ran.status) {
            (Some("tls"), 0) => "tls",
            (Some("clear-text"), 1) => "clear",
            (Some("deferred"), 4) => "wait",
            _ => panic!("{name}: {ran:?}"),
        }
    });
    found.chunks(CERTIFICATES.len()).map(<[_]>::to_vec).collect()
}

#[test]
fn imported_policies_decide_as_postfix_does_but_for_the_named_differences() {
    let Some(world) = World::shared() else { return };
    let policies = policies(&world);
    let folder = Folder::new();
    let postfix = Postfix::start(world.lab, Peer::POSTFIX).unwrap();
    let theirs = deliver(&world, &postfix, &policies);
    let ours = decide(&world, &folder, &policies);
    let (mut text, mut used, mut unnamed) = (String::new(), BTreeSet::new(), Vec::new());
    for (at, policy) in policies.iter().enumerate() {
        let mut groups = BTreeMap::<String, Vec<&str>>::new();
        for (certificate, (fate, own)) in CERTIFICATES.iter().zip(theirs[at].iter().zip(&ours[at]))
        {
            let postfix = word(fate);
            let known = DIFFERENCES.iter().position(|(name, certificates, _)| {
                policy.name.starts_with(name) && certificates.contains(certificate)
            });
            let outcome = match known {
                _ if postfix == *own => postfix.to_owned(),
                Some(known) => {
                    used.insert(known);
                    format!("Postfix {postfix}, here {own}: {}", DIFFERENCES[known].2)
                }
                None => {
                    unnamed.push((policy.name, *certificate, fate.clone(), *own));
                    continue;
                }
            };
            groups.entry(outcome).or_default().push(certificate);
        }
        writeln!(text, "{}", policy.name).unwrap();
        for (outcome, certificates) in groups {
            writeln!(text, "  {outcome}: {}", certificates.join(", ")).unwrap();
        }
    }
    assert!(unnamed.is_empty(), "differences without a name: {unnamed:#?}");
    assert_eq!(used.len(), DIFFERENCES.len(), "a named difference is none: {used:?}");
    golden("import.txt", &text);
}
