//! The zones of the DNS tests, asked by `plan` and `probe`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::dns::{Dns, dns};
use crate::program::{Folder, Ran, smtp_tls};
use crate::servers;

const CONFIG: &str = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"POSTURE\"\n";

/// What each run against the zones needs.
struct Setup {
    folder: Folder,
    dns: &'static Dns,
    root: String,
    anchor: String,
    port: String,
}

impl Setup {
    fn new() -> Option<Self> {
        let (folder, dns) = (Folder::new(), dns()?);
        let root = folder.file("root.pem", dns.pki.root_pem());
        let anchor = folder.file("root.key", &dns.anchor);
        let port = dns.mail.local_addr().unwrap().port().to_string();
        Some(Self { folder, dns, root, anchor, port })
    }

    fn run(&self, command: &[&str], resolver: SocketAddr, timeout: &str) -> Ran {
        let resolver = resolver.to_string();
        let mut arguments = command.to_vec();
        arguments.extend(["--json", "--ca", &self.root, "--trust-anchor", &self.anchor]);
        arguments.extend(["--resolver", &resolver, "--port", &self.port, "--timeout", timeout]);
        smtp_tls(&arguments)
    }

    /// Lints a configuration of two connectors: one that serves the domain, and one for all others.
    fn lint(&self, domain: &str, rules: &str, more: &[&str], resolver: SocketAddr) -> Ran {
        let text = format!(
            "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"opportunistic\"\n\n\
             [[outbound]]\nname = \"partner\"\nnamespaces = [\"{domain}\"]\n{rules}\n"
        );
        let config = self.folder.file("lint.toml", text);
        let command = [&["lint", "--online", &config][..], more].concat();
        self.run(&command, resolver, "20")
    }

    fn plan(&self, domain: &str, posture: &str) -> Ran {
        let config = self.folder.file("c.toml", CONFIG.replace("POSTURE", posture));
        self.run(&["plan", domain, "--config", &config], self.dns.plain, "20")
    }
}

/// The first status of each question of a name.
fn status(json: &serde_json::Value, question: &str) -> String {
    let all = json["look_ups"].as_array().unwrap();
    let found = all.iter().find(|it| it["question"] == question);
    found.unwrap_or_else(|| panic!("{question}: {json:#}"))["status"].as_str().unwrap().to_owned()
}

#[test]
fn plan_shows_look_ups_with_their_dnssec_status_and_what_asks_for_tls() {
    let Some(setup) = Setup::new() else { return };
    let ran = setup.plan("secure.example", "opportunistic");
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let json = ran.json();
    assert_eq!(status(&json, "secure.example MX"), "secure");
    assert_eq!(status(&json, "_mta-sts.secure.example TXT"), "secure");
    assert_eq!(status(&json, &format!("_{}._tcp.mx.secure.example TLSA", setup.port)), "secure");
    assert_eq!(json["connector"], "all");
    assert_eq!(
        (&json["hosts"][0]["preference"], &json["hosts"][0]["host"]),
        (&10.into(), &"mx.secure.example".into(),)
    );
    let plan = &json["hosts"][0]["plan"];
    assert_eq!(plan["floor"], "authenticated");
    assert!(plan["because"].as_str().unwrap().contains("DANE for mx.secure.example"), "{plan}");
    // The second host has no TLSA records, so that its mail may go in clear text.
    assert_eq!(json["hosts"][1]["plan"]["floor"], "plaintext");
}

#[test]
fn plan_has_the_exit_status_of_the_first_host() {
    let Some(setup) = Setup::new() else { return };
    for (domain, posture, wanted, part) in [
        ("insecure.example", "opportunistic", 1, "clear text"),
        ("insecure.example", "verified", 0, "no mail"),
        ("insecure.example", "dane-only", 4, "MX records are not secure"),
        ("bogus.example", "opportunistic", 4, "bogus"),
        ("p8.secure.example", "opportunistic", 4, "TLSA look-up"),
        ("lame.example", "opportunistic", 4, "MX look-up"),
    ] {
        let ran = setup.plan(domain, posture);
        assert_eq!(ran.status, wanted, "{domain}: {ran:?}");
        assert!(ran.stdout.contains(part), "{domain}: {ran:?}");
    }
}

#[test]
fn domains_without_mail_end_with_6_and_one_line() {
    let Some(setup) = Setup::new() else { return };
    for (domain, why) in
        [("missing.secure.example", "does not exist"), ("nullmx.secure.example", "takes no mail")]
    {
        let probe = setup.run(&["probe", domain], setup.dns.plain, "20");
        for ran in [setup.plan(domain, "verified"), probe] {
            assert_eq!((ran.status, ran.stderr.lines().count()), (6, 1), "{ran:?}");
            assert!(ran.stderr.contains(domain) && ran.stderr.contains(why), "{ran:?}");
            // What DNS said is shown, with its status.
            assert_eq!(status(&ran.json(), &format!("{domain} MX")), "secure", "{ran:?}");
        }
    }
}

/// A domain that cannot be asked about must not be lost among others.
#[test]
fn test_says_no_if_one_of_several_domains_has_no_answer() {
    let Some(setup) = Setup::new() else { return };
    let good = "secure.example";
    let listener = setup.dns.mail.try_clone().unwrap();
    servers::serve_with_tls(listener, Arc::clone(&setup.dns.identity));
    let config = setup.folder.file("t.toml", CONFIG.replace("POSTURE", "opportunistic"));
    for (other, wanted, ending) in [
        ("bogus.example", 4, "deferred"),
        ("missing.secure.example", 6, "unreachable"),
        ("nullmx.secure.example", 6, "unreachable"),
    ] {
        let test = ["test", "all", "--config", &config, "--domain", good, "--domain", other];
        let ran = setup.run(&test, setup.dns.plain, "20");
        assert_eq!(ran.status, wanted, "{other}: {ran:?}");
        let json = ran.json();
        assert_eq!(json["may_be_switched_on"], false, "{json:#}");
        let targets = json["targets"].as_array().unwrap();
        let of = |name: &str| targets.iter().find(|it| it["target"] == name).unwrap();
        assert_eq!((&of(other)["ending"], &of(good)["ending"]), (&ending.into(), &"tls".into()));
    }
}

#[test]
fn a_resolver_that_does_not_answer_ends_with_6_in_time() {
    let Some(setup) = Setup::new() else { return };
    let silent = setup.dns.silent;
    let command = ["probe", "secure.example"];
    let config = setup.folder.file("c.toml", CONFIG.replace("POSTURE", "verified"));
    let plan = ["plan", "secure.example", "--config", &config];
    for (command, resolver, why) in [
        (&command[..], silent, "no answer came within the time limit"),
        (&command, servers::refused(), "DNS, secure.example MX"),
        (&plan, silent, "no answer came within the time limit"),
    ] {
        let ran = setup.run(command, resolver, "4");
        assert_eq!((ran.status, ran.stderr.lines().count()), (6, 1), "{command:?}: {ran:?}");
        assert!(ran.stderr.contains(why), "{command:?}: {ran:?}");
        // Whether a closed port is told from a silent one, the operating system decides.
        let is_known = resolver == silent;
        let status = status(&ran.json(), "secure.example MX");
        assert!(status == "indeterminate" || !is_known && status == "local-fault", "{ran:?}");
    }
}

/// Several look-ups of a host may each take half of the time.
#[test]
fn a_smart_host_without_an_answer_of_dns_is_named_and_the_look_ups_are_shown() {
    let Some(setup) = Setup::new() else { return };
    let text = CONFIG.replace("POSTURE", "verified") + "smart-host = { host = \"gw.example\" }\n";
    let config = setup.folder.file("smart.toml", text);
    for (command, place) in [("plan", "/refusal"), ("probe", "/hosts/0/failure")] {
        let ran = setup.run(&[command, "a.example", "--config", &config], setup.dns.silent, "4");
        assert_eq!((ran.status, ran.stderr.lines().count()), (6, 1), "{command}: {ran:?}");
        assert!(ran.stderr.contains("gw.example: "), "{command}: {ran:?}");
        let json = ran.json();
        let why = json.pointer(place).and_then(|it| it.as_str()).unwrap_or_default();
        assert!(why.contains("DNS gave no answer in time; use --timeout"), "{command}: {json:#}");
    }
}

/// The golden rows: the zones of the DNS tests against one mail server.
#[test]
fn probe_decides_by_what_the_zones_say() {
    let Some(setup) = Setup::new() else { return };
    let listener = setup.dns.mail.try_clone().unwrap();
    servers::serve_with_tls(listener, Arc::clone(&setup.dns.identity));
    for (domain, posture, ending, status) in [
        ("secure.example", "opportunistic", "tls", 0),
        ("secure.example", "dane-only", "tls", 0),
        ("self.secure.example", "dane-only", "tls", 0),
        ("mismatch.secure.example", "opportunistic", "deferred", 4),
        ("bogus.example", "opportunistic", "deferred", 4),
        ("insecure.example", "deterministic", "tls", 0),
        ("insecure.example", "dane-only", "deferred", 4),
        ("p7.secure.example", "dane-only", "tls", 0),
        ("p8.secure.example", "opportunistic", "deferred", 4),
        ("p9.secure.example", "opportunistic", "tls", 0),
    ] {
        let command = ["probe", domain, "--posture", posture];
        let ran = setup.run(&command, setup.dns.plain, "20");
        assert_eq!(ran.status, status, "{domain} {posture}: {ran:?}");
        assert_eq!(ran.json()["ending"], ending, "{domain} {posture}: {ran:?}");
    }
    let ran = setup.run(&["probe", "mismatch.secure.example"], setup.dns.plain, "20");
    let json = ran.json();
    let of = |posture: &str| {
        let all = json["hosts"][0]["postures"].as_array().unwrap();
        let found = all.iter().find(|it| it["rule"] == posture).unwrap();
        (found["ending"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("none"), ("clear-text".into(), "tls-not-wanted".into()));
    assert_eq!(of("opportunistic"), ("deferred".into(), "dane-mismatch".into()));
    assert_eq!(of("dane-only"), ("deferred".into(), "dane-mismatch".into()));
}

/// Each row: the domain, the rules of its connector, and the lines, fields and remedies of the
/// warnings.
#[test]
fn lint_online_warns_of_connectors_that_are_weaker_than_what_the_domain_publishes() {
    let Some(setup) = Setup::new() else { return };
    let modes = &[
        ("sts-enforce.secure.example", "enforce", "*.secure.example"),
        ("sts-testing.secure.example", "testing", "*.secure.example"),
    ];
    let names = modes.iter().map(|(domain, ..)| format!("mta-sts.{domain}")).collect::<Vec<_>>();
    let identity = setup.dns.pki.sign(&rcgen::CertificateParams::new(names).unwrap());
    let port = servers::policy_host(identity, modes).port().to_string();
    let (dane, sts) = ("secure.example", "sts-enforce.secure.example");
    let deterministic = "posture = \"deterministic\"";
    let off = |key: &str, posture: &str| format!("posture = \"{posture}\"\n{key} = \"off\"");
    for (domain, rules, wanted) in [
        // What is published counts.
        (dane, deterministic.to_owned(), vec![]),
        (sts, deterministic.to_owned(), vec![]),
        // The rules ask for as much by themselves.
        (dane, off("dane", "verified"), vec![]),
        (sts, off("sts", "secure"), vec![]),
        // Nothing is published.
        ("p10.secure.example", off("dane", "opportunistic"), vec![]),
        ("insecure.example", off("dane", "opportunistic"), vec![]),
        (dane, off("dane", "deterministic"), vec![(10, "dane", "remove dane = \"off\"")]),
        (dane, off("dane", "encrypt"), vec![(10, "dane", "only TLS with any certificate")]),
        // A namespace below the domain.
        ("*.secure.example", off("dane", "opportunistic"), vec![(10, "dane", "TLSA records")]),
        (sts, off("sts", "deterministic"), vec![(10, "sts", "(mode enforce) asks for")]),
        (
            "sts-testing.secure.example",
            off("sts", "deterministic"),
            vec![(10, "sts", "(mode testing) may soon ask for")],
        ),
        (
            dane,
            "posture = \"none\"".to_owned(),
            vec![(9, "posture", "never uses TLS"), (9, "posture", "\"opportunistic\"")],
        ),
    ] {
        let ran = setup.lint(domain, &rules, &["--policy-port", &port], setup.dns.plain);
        let json = ran.json();
        let found = json["warnings"].as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{domain} {rules}: {ran:?}");
        for (found, (line, field, part)) in found.iter().zip(&wanted) {
            assert_eq!(found["line"], *line, "{domain} {rules}: {found}");
            assert_eq!(found["field"], format!("outbound.{field}"), "{domain} {rules}");
            assert!(found["message"].as_str().unwrap().contains(part), "{domain} {rules}: {found}");
        }
        let status = if wanted.is_empty() { 0 } else { 3 };
        assert_eq!((ran.status, &*ran.stderr), (status, ""), "{domain} {rules}: {ran:?}");
        assert_eq!(json["domains_compared"], 1, "{ran:?}");
    }
}

#[test]
fn lint_online_names_domains_without_an_answer_and_ends_with_6() {
    let Some(setup) = Setup::new() else { return };
    let off = "posture = \"opportunistic\"\ndane = \"off\"";
    for (domain, resolver, why) in [
        ("bogus.example", setup.dns.plain, "bogus"),
        ("lame.example", setup.dns.plain, "MX look-up"),
        ("missing.secure.example", setup.dns.plain, "does not exist"),
        ("secure.example", servers::refused(), "DNS, secure.example MX"),
    ] {
        let ran = setup.lint(domain, off, &[], resolver);
        assert_eq!((ran.status, ran.stderr.lines().count()), (6, 1), "{domain}: {ran:?}");
        assert!(ran.stderr.contains(why), "{domain}: {ran:?}");
        let json = ran.json();
        assert_eq!(json["domains_not_compared"][0]["domain"], domain, "{ran:?}");
        assert_eq!(
            (&json["domains_compared"], &json["errors"]),
            (&0.into(), &Vec::<u8>::new().into())
        );
    }
    // The namespaces below a domain that has no mail itself.
    let ran = setup.lint("*.missing.secure.example", off, &[], setup.dns.plain);
    assert_eq!(ran.status, 0, "{ran:?}");
}

/// A resolver that says nothing costs one domain its answer, and not the others.
#[test]
fn lint_online_ends_in_time_with_a_resolver_that_is_silent() {
    let Some(setup) = Setup::new() else { return };
    let text = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\", \"NAMES\"]\n\
                posture = \"opportunistic\"\nsts = \"off\"\n";
    let names: Vec<String> = (0..40).map(|number| format!("d{number}.example")).collect();
    let config = setup.folder.file("c.toml", text.replace("NAMES", &names.join("\", \"")));
    let ran = setup.run(&["lint", "--online", &config], setup.dns.silent, "4");
    assert_eq!(ran.status, 6, "{ran:?}");
    assert!(ran.stderr.contains("(and 39 more domains)"), "{ran:?}");
    assert_eq!(ran.json()["domains_not_compared"].as_array().unwrap().len(), 40);
}
