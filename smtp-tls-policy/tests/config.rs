//! Connectors read from TOML, and what is said of a wrong line.

mod common;

use std::sync::LazyLock;

use common::Authority;
use smtp_tls_policy::pki::{CnFallback, Pin, Reference, Revocation, RootsId, Trust};
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, ClientPurpose, Config, ConfigError, Faults, Floor, IdentityId,
    InboundConnector, OutboundConnector, Posture, Published, SmartHost, Yield, Yields,
};
use smtp_tls_policy::sts::Mode;
use smtp_tls_policy::{Domain, Host, Namespace, Reason};

const GOOD: &str = r#"
[[outbound]]
name = "default"
namespaces = ["*"]
posture = "deterministic"

[[outbound]]
name = "bank"
namespaces = ["bank.example", "*.bank.example"]
posture = "deterministic"
require-tls = true
names = ["mail.bank.example", ".gw.bank.example", "192.0.2.1"]
cn = "never"
roots = "bank-ca"
revocation = "hard"
identity = "ours"
smart-host = { host = "[192.0.2.1]", port = 465, implicit-tls = true }
yields = { refused = "later", untrusted = "never" }

[[inbound]]
name = "world"
namespaces = ["*"]
client-certificate = "recorded"

[[inbound]]
name = "partner"
namespaces = ["partner.example"]
require-tls = true
client-certificate = "required"
[inbound.certificate]
roots = "partner-ca"
names = ["out.partner.example"]
revocation = "soft"
"#;

/// Reads a configuration where the sets `public`, `bank-ca`, `partner-ca` and `own` are loaded,
/// `bank-ca` with a revocation list, and the identity `ours`.
fn read(text: &str) -> Result<Config, Faults<ConfigError>> {
    static TRUST: LazyLock<Trust> = LazyLock::new(|| {
        let root = Authority::new("Root");
        let mut trust = Trust::empty();
        for id in ["public", "bank-ca", "partner-ca", "own"] {
            trust.add_root_der(&RootsId::new(id), &root.der).unwrap();
        }
        trust
    });
    Config::from_toml("connectors.toml", text, &TRUST, &[IdentityId::new("ours")])
}

#[test]
fn a_file_with_every_field_is_read() {
    let config = read(GOOD).unwrap();
    let mut bank = OutboundConnector::new(
        "bank",
        vec![
            Namespace::parse("bank.example").unwrap(),
            Namespace::parse("*.bank.example").unwrap(),
        ],
        Posture::Deterministic,
    );
    bank.require_tls = true;
    bank.names = ["mail.bank.example", ".gw.bank.example", "192.0.2.1"]
        .map(|name| Reference::parse(name).unwrap())
        .to_vec();
    bank.cn = CnFallback::Never;
    bank.roots = RootsId::new("bank-ca");
    bank.revocation = Revocation::Hard;
    bank.identity = Some(IdentityId::new("ours"));
    let mut smart_host = SmartHost::new(Host::parse("[192.0.2.1]").unwrap());
    smart_host.port = 465;
    smart_host.implicit_tls = true;
    bank.smart_host = Some(smart_host);
    bank.yields = Yields { refused: Yield::Later, broken: Yield::Now, untrusted: Yield::Never };
    let found = config.outbound.find(&Host::parse("x.bank.example").unwrap());
    assert_eq!(*found, bank);
    let plain = OutboundConnector::new("default", vec![Namespace::Default], Posture::Deterministic);
    assert_eq!(config.outbound.iter().next(), Some(&plain));

    let mut partner =
        InboundConnector::new("partner", vec![Namespace::parse("partner.example").unwrap()]);
    partner.require_tls = true;
    let mut check = ClientCheck::new(RootsId::new("partner-ca"));
    check.names = vec![Reference::parse("out.partner.example").unwrap()];
    check.revocation = Revocation::Soft;
    partner.client_certificate = ClientCertificate::Required(check);
    assert_eq!(config.inbound.find(Some(&Domain::parse("partner.example").unwrap())), &partner);
}

#[test]
fn client_certificate_has_a_purpose_and_pins() {
    let text = GOOD.replace("roots = \"partner-ca\"\nnames = [\"out.partner.example\"]", "");
    let pin = format!("cert:sha256:{}", "ab".repeat(32));
    let check = |fields: &str| {
        let config = read(&text.replace("revocation = \"soft\"", fields)).unwrap();
        let partner = config.inbound.find(Some(&Domain::parse("partner.example").unwrap()));
        match &partner.client_certificate {
            ClientCertificate::Required(check) => check.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        check(&format!("pins = [\"{pin}\"]")),
        ClientCheck::pinned(vec![Pin::parse(&pin).unwrap()])
    );
    for (word, purpose) in
        [("client", ClientPurpose::Client), ("client-or-server", ClientPurpose::ClientOrServer)]
    {
        let mut wanted = ClientCheck::new(RootsId::new("partner-ca"));
        wanted.purpose = Some(purpose);
        assert_eq!(check(&format!("roots = \"partner-ca\"\npurpose = \"{word}\"")), wanted);
    }
}

#[test]
fn every_posture_has_its_name() {
    for posture in Posture::ALL {
        let more = match posture {
            Posture::PrivateCa => "roots = \"own\"".to_owned(),
            Posture::Pinned => format!("pins = [\"spki:sha256:{}\"]", "ab".repeat(32)),
            _ => String::new(),
        };
        let text = format!(
            "[[outbound]]\nname = \"a\"\nnamespaces = [\"*\"]\nposture = \"{posture}\"\n{more}"
        );
        let config = read(&text).unwrap();
        assert_eq!(config.outbound.iter().next().unwrap().posture, posture);
    }
}

/// A good file with one piece replaced: where the fault is, what was found, and what would be
/// right.
#[test]
fn an_error_names_place_finding_and_remedy() {
    const POSTURES: &str = "one of none, opportunistic, deterministic, encrypt, verified, secure, \
                            private-ca, dane-only, pinned";
    const OUTBOUND: &str = "name, namespaces, posture, require-tls, smart-host, names, cn, roots, \
                            revocation, list-wait, identity, yields, pins, dane, sts, \
                            optional-tls, tls, dial";
    for (old, new, line, field, message) in [
        (
            "posture = \"deterministic\"\nrequire",
            "posture = \"secur\"\nrequire",
            10,
            "outbound.posture",
            &*format!("found \"secur\"; did you mean \"secure\"? Expected {POSTURES}"),
        ),
        (
            "posture = \"deterministic\"\nrequire",
            "posture = \"banana\"\nrequire",
            10,
            "outbound.posture",
            &*format!("found \"banana\"; expected {POSTURES}"),
        ),
        (
            "posture = \"deterministic\"\nrequire",
            "require",
            7,
            "outbound.posture",
            &*format!("the field is missing; expected {POSTURES}"),
        ),
        (
            "cn = \"never\"",
            "cn = \"no\"",
            13,
            "outbound.cn",
            "found \"no\"; expected one of never, if-no-dns-san, always",
        ),
        (
            "revocation = \"hard\"",
            "revocation = 7",
            15,
            "outbound.revocation",
            "found the number 7; expected one of off, soft, if-configured, hard",
        ),
        (
            "require-tls = true\nnames",
            "require-tsl = true\nnames",
            11,
            "outbound.require-tsl",
            "there is no such field; did you mean require-tls?",
        ),
        (
            "require-tls = true\nnames",
            "flavour = true\nnames",
            11,
            "outbound.flavour",
            &*format!("there is no such field; the fields are {OUTBOUND}"),
        ),
        (
            "require-tls = true\nnames",
            "require-tls = \"yes\"\nnames",
            11,
            "outbound.require-tls",
            "found \"yes\"; expected true or false",
        ),
        (
            "port = 465",
            "port = 99999",
            17,
            "outbound.smart-host.port",
            "found the number 99999; expected a port number from 1 to 65535",
        ),
        (
            "port = 465",
            "port = 0",
            17,
            "outbound.smart-host.port",
            "found the number 0; expected a port number from 1 to 65535",
        ),
        (
            "smart-host = { host = \"[192.0.2.1]\", port = 465, implicit-tls = true }",
            "smart-host = \"gw.example\"",
            17,
            "outbound.smart-host",
            "found \"gw.example\"; expected a table, such as smart-host = { host = \"gw.example\" }",
        ),
        (
            "host = \"[192.0.2.1]\"",
            "host = \"[192.0.2]\"",
            17,
            "outbound.smart-host.host",
            "found \"[192.0.2]\"; the address literal is not valid",
        ),
        (
            "\"*.bank.example\"",
            "\"*bank.example\"",
            9,
            "outbound.namespaces",
            "found \"*bank.example\"; the name has a character that no domain name contains",
        ),
        (
            "\"*.bank.example\"",
            "\"Bank.example.\"",
            9,
            "outbound.namespaces",
            "namespace 2 of the connector is already served by the connector itself; remove one \
             of the two",
        ),
        (
            "name = \"bank\"",
            "name = \"default\"",
            8,
            "outbound.name",
            "another connector has the same name; each needs one of its own",
        ),
        (
            "name = \"bank\"",
            "name = \"\"",
            8,
            "outbound.name",
            "found an empty string; expected a name for logs, such as \"partners\"",
        ),
        (
            "[\"bank.example\", \"*.bank.example\"]",
            "[]",
            9,
            "outbound.namespaces",
            "the connector has no namespaces; name a domain, \"*.domain\" or \"*\"",
        ),
        (
            "[\"bank.example\", \"*.bank.example\"]",
            "\"bank.example\"",
            9,
            "outbound.namespaces",
            "found \"bank.example\"; expected a list, such as \
             namespaces = [\"example.com\", \"*.example.com\"]",
        ),
        (
            "\".gw.bank.example\"",
            "\".gw..example\"",
            12,
            "outbound.names",
            "found \".gw..example\"; a label of the name is empty",
        ),
        (
            "[\"mail.bank.example\", \".gw.bank.example\", \"192.0.2.1\"]",
            "[]",
            12,
            "outbound.names",
            "found an empty list; expected at least one, such as \
             names = [\"mail.example.com\", \".example.com\"], or no such field",
        ),
        (
            "roots = \"bank-ca\"",
            "roots = \"\"",
            14,
            "outbound.roots",
            "found an empty string; expected the name of a set of roots, such as \"public\"",
        ),
        (
            "roots = \"bank-ca\"",
            "roots = \"bank-ac\"",
            14,
            "outbound.roots",
            "no roots with the name \"bank-ac\" are loaded; did you mean \"bank-ca\"?",
        ),
        (
            "roots = \"bank-ca\"",
            "roots = \"elsewhere\"",
            14,
            "outbound.roots",
            "no roots with the name \"elsewhere\" are loaded; \
             loaded: \"bank-ca\", \"own\", \"partner-ca\", \"public\"",
        ),
        (
            "identity = \"ours\"",
            "identity = \"our\"",
            16,
            "outbound.identity",
            "no identity with the name \"our\" is loaded; did you mean \"ours\"?",
        ),
        (
            "untrusted = \"never\"",
            "untrusted = \"nie\"",
            18,
            "outbound.yields.untrusted",
            "found \"nie\"; expected one of now, later, never",
        ),
        (
            "roots = \"partner-ca\"",
            "",
            32,
            "inbound.certificate.names",
            "the names of the client certificate need roots; a pin asks for no name",
        ),
        (
            "roots = \"partner-ca\"",
            "roots = \"patner-ca\"",
            31,
            "inbound.certificate.roots",
            "no roots with the name \"patner-ca\" are loaded; did you mean \"partner-ca\"?",
        ),
        (
            "\"required\"",
            "\"recorded\"",
            30,
            "inbound.certificate",
            "only a required certificate is checked; set client-certificate = \"required\"",
        ),
        (
            "require-tls = true\nclient",
            "client",
            28,
            "inbound.client-certificate",
            "the required client certificate needs TLS; set require-tls = true",
        ),
        (
            "name = \"world\"",
            "",
            20,
            "inbound.name",
            "the field is missing; expected a name for logs, such as \"partners\"",
        ),
        (
            "namespaces = [\"*\"]\nposture",
            "namespaces = [\"x.example\"]\nposture",
            2,
            "outbound",
            "no connector serves the default namespace \"*\"; add it to one of them",
        ),
        (
            "namespaces = [\"*\"]\nclient",
            "namespaces = [\"x.example\"]\nclient",
            20,
            "inbound",
            "no connector serves the default namespace \"*\"; add it to one of them",
        ),
        (
            "posture = \"deterministic\"\nrequire",
            "posture = \"none\"\nrequire",
            10,
            "outbound.posture",
            "posture none never uses TLS, but the connector requires it; choose another posture",
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let text = GOOD.replacen(old, new, 1);
        let errors = read(&text).unwrap_err();
        let error = errors.iter().find(|error| error.field() == field);
        let error = error.unwrap_or_else(|| panic!("{new}: {errors}"));
        assert_eq!((error.line(), error.message()), (line, message), "{new}: {errors}");
        let shown = error.to_string();
        assert_eq!(shown, format!("connectors.toml: line {line}, field {field}: {message}"));
        assert!(!shown.contains('\n'), "{shown}");
    }
}

#[test]
fn single_brackets_are_explained() {
    let text = "[outbound]\nname = \"a\"\nnamespaces = [\"*\"]\nposture = \"none\"";
    assert_eq!(
        read(text).unwrap_err().to_string(),
        "connectors.toml: line 1, field outbound: found a table; \
         write [[outbound]], in double brackets, before each connector"
    );
    assert_eq!(
        read("").unwrap_err().to_string(),
        "connectors.toml: line 1, field outbound: there is no outbound connector; \
         write [[outbound]] for each of them"
    );
}

#[test]
fn text_that_is_no_toml_names_the_line() {
    let errors = read(&GOOD.replacen("[[inbound]]", "[[inbound]", 1)).unwrap_err();
    let error = errors.iter().next().unwrap();
    assert_eq!((error.line(), error.field()), (20, ""), "{errors}");
}

#[test]
fn all_errors_of_a_file_are_reported_at_once() {
    let text = r#"
[[outbound]]
name = "default"
namespaces = ["*", "a..example"]
posture = "secur"
rots = "public"

[[outbound]]
name = "bank"
namespaces = ["bank.example"]
posture = "verified"
roots = "bank"
identity = "theirs"
smart-host = { host = "gw.example", port = 70000 }

[[inbound]]
name = "world"
namespaces = ["world.example"]
"#;
    let errors = read(text).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line(), error.field())).collect();
    assert_eq!(
        places,
        [
            (4, "outbound.namespaces"),
            (5, "outbound.posture"),
            (6, "outbound.rots"),
            (12, "outbound.roots"),
            (13, "outbound.identity"),
            (14, "outbound.smart-host.port"),
            (16, "inbound"),
        ]
    );
    assert_eq!(errors.to_string().lines().count(), places.len());
}

/// The fields of the errors of a file, in the order of their lines.
fn fields(text: &str) -> Vec<String> {
    read(text).unwrap_err().iter().map(|error| error.field().to_owned()).collect()
}

const REST: &str = "[[outbound]]\nname = \"rest\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";

#[test]
fn a_wrong_field_hides_no_error_of_other_fields_or_connectors() {
    let outbound = |lines: &str| format!("{REST}[[outbound]]\n{lines}");
    let base = "name = \"a\"\nnamespaces = [\"a.example\"]\n";
    for (lines, wanted) in [
        // Of the same connector: a contradiction of two fields that are right.
        (
            "posture = \"dane-only\"\nnames = [\"a..b\"]\ndane = \"off\"",
            &["outbound.names", "outbound.dane"][..],
        ),
        (
            "posture = \"none\"\nrequire-tls = true\nlist-wait = 99",
            &["outbound.posture", "outbound.list-wait"],
        ),
        (
            "posture = \"verified\"\nroots = \"bank\"\ncn = \"maybe\"",
            &["outbound.roots", "outbound.cn"],
        ),
        ("posture = \"pinned\"\nstts = \"on\"", &["outbound.posture", "outbound.stts"]),
        (
            "posture = \"verified\"\nsmart-host = { host = \"a..b\", port = 0, secure = 1 }",
            &["outbound.smart-host.host", "outbound.smart-host.port", "outbound.smart-host.secure"],
        ),
        // Of another connector, which is complete.
        (
            "posture = \"secur\"\n[[outbound]]\nname = \"a\"\nnamespaces = [\"a.example\"]\n\
             posture = \"none\"\nrequire-tls = true",
            &["outbound.posture", "outbound.name", "outbound.namespaces", "outbound.posture"],
        ),
    ] {
        assert_eq!(fields(&outbound(&format!("{base}{lines}"))), wanted, "{lines}");
    }
    // A default that is missing for certain is told beside other errors.
    let text = REST.replace("*", "a.example").replace("encrypt", "encrypted");
    assert_eq!(fields(&text), ["outbound", "outbound.posture"]);
    let inbound = "[[inbound]]\nname = \"in\"\nnamespaces = [\"in.example\"]\n";
    assert_eq!(fields(&format!("{text}{inbound}")), ["outbound", "outbound.posture", "inbound"]);
    // The fields of a certificate that nothing asks for are read too.
    let text = "name = \"in\"\nnamespaces = [\"*\"]\ncertificate = { roots = 1, nmes = [] }\n";
    assert_eq!(
        fields(&format!("{REST}[[inbound]]\n{text}")),
        ["inbound.certificate.nmes", "inbound.certificate.roots", "inbound.certificate"]
    );
}

#[test]
fn a_value_in_another_form_is_told_in_the_right_form() {
    let rest = REST.replace("encrypt", "verified");
    for (lines, wanted) in [
        ("names = [\"*.a.example\"]", "write \".a.example\" for every name below the domain"),
        (
            "smart-host = { host = \"gw.example:587\" }",
            "write the port as a field of its own: host = \"gw.example\", port = 587",
        ),
        ("tls = { min-version = 1.3 }", "expected one of 1.2, 1.3, in quotes"),
        (
            "[[outbound]]\nname = \"b\"\nnamespaces = [\"*\"]\nposture = \"none\"",
            "namespace 1 of the connector is already served by connector \"rest\"",
        ),
    ] {
        let errors = read(&format!("{rest}{lines}")).unwrap_err().to_string();
        assert!(errors.contains(wanted), "{lines}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

/// The time grows with the file: the places of errors and of warnings are looked up, not counted.
#[test]
fn ten_thousand_connectors_with_an_error_or_a_warning_each_are_told() {
    let connector = |posture: &str, index: usize| {
        format!(
            "[[outbound]]\nname = \"n{index}\"\nnamespaces = [\"d{index}.example\"]\n\
             posture = \"{posture}\"\n"
        )
    };
    let all = |posture: &str| -> String {
        (0..10_000).map(|index| connector(posture, index)).collect::<String>() + REST
    };
    let errors = read(&all("secur")).unwrap_err();
    let lines: Vec<_> = errors.iter().map(|error| error.line()).collect();
    assert_eq!(lines, (0..10_000).map(|index| 4 * index + 4).collect::<Vec<_>>());
    let text = all("none");
    let warnings = read(&text).unwrap().warnings(&text, &Trust::empty(), UnixTime::now());
    let lines: Vec<_> = warnings.iter().filter_map(|warning| warning.line).collect();
    assert_eq!(lines, (0..10_000).map(|index| 4 * index + 4).collect::<Vec<_>>());
}

#[test]
fn an_error_that_another_error_may_explain_is_not_told() {
    for (text, wanted) in [
        // Each of these could be the default connector.
        (REST.replace("\"*\"", "\"*.\""), &["outbound.namespaces"][..]),
        (REST.replace("namespaces", "namespace"), &["outbound.namespaces", "outbound.namespace"]),
        (REST.replace("[[outbound]]", "[[outbond]]"), &["outbond"]),
        (REST.replace("[[outbound]]", "[outbound]"), &["outbound"]),
        // The misspelt field may be the one that the check asks for.
        (
            format!("{REST}requre-tls = true\ntls = {{ min-version = \"1.3\" }}"),
            &["outbound.requre-tls"],
        ),
        (
            REST.replace("encrypt", "opportunistic")
                + "requre-tls = true\ntls = { min-version = \"1.3\" }",
            &["outbound.requre-tls"],
        ),
        (REST.replace("\"*\"", ""), &["outbound.namespaces"]),
        (REST.replace("encrypt", "pinned") + "pin = []", &["outbound.pin"]),
        (
            REST.replace("encrypt", "pined") + "pins = [\"x\"]",
            &["outbound.posture", "outbound.pins"],
        ),
        (
            format!(
                "{REST}[[inbound]]\nname = \"a\"\nnamespaces = [\"*\"]\nrequire-tls = 1\n\
                client-certificate = \"required\"\ncertificate = 5"
            ),
            &["inbound.require-tls", "inbound.certificate"],
        ),
        (
            format!(
                "{REST}[[inbound]]\nname = \"a\"\nnamespaces = [\"*\"]\nrequire-tls = true\n\
                client-certificate = \"require\"\ncertificate = {{ roots = \"own\" }}"
            ),
            &["inbound.client-certificate"],
        ),
    ] {
        assert_eq!(fields(&text), wanted, "{text}");
    }
}

#[test]
fn values_of_any_length_and_kind_stay_one_short_line() {
    for value in [
        format!("\"{}\"", "x".repeat(100_000)),
        "\"a\\nb\\u0007\"".to_owned(),
        "1979-05-27".to_owned(),
        "1e9".to_owned(),
        "[[[]]]".to_owned(),
        "{ a = {} }".to_owned(),
    ] {
        for field in ["cn", "roots", "posture", "yields", "pins", "require-tls", "other"] {
            let text = GOOD.replacen("cn = \"never\"", &format!("{field} = {value}"), 1);
            for error in read(&text).unwrap_err().iter() {
                let shown = error.to_string();
                assert!(shown.len() < 500 && !shown.contains(char::is_control), "{shown}");
            }
        }
    }
}

#[test]
fn a_reason_is_written_as_its_code() {
    for reason in Reason::ALL {
        let json = serde_json::to_string(reason).unwrap();
        assert_eq!(json, format!("\"{}\"", reason.code()));
        assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), *reason);
    }
    assert!(serde_json::from_str::<Reason>("\"no-such-code\"").is_err());
}

/// What keeps a published rule from counting is named with its line, and what to write instead.
#[test]
fn a_connector_that_is_weaker_than_published_is_warned_of_with_line_and_remedy() {
    let text = r#"
[[outbound]]
name = "default"
namespaces = ["*"]
posture = "opportunistic"

[[outbound]]
name = "never"
namespaces = ["a.example"]
posture = "none"
sts = "off"

[[outbound]]
name = "alone"
namespaces = ["b.example"]
posture = "deterministic"
dane = "off"
sts = "off"
"#;
    let config = read(text).unwrap();
    let published = |connector: &str, own, dane, sts| {
        let mut published =
            Published::new(connector.into(), Host::parse("x.example").unwrap(), own);
        (published.by_dane, published.by_sts) = (dane, sts);
        published
    };
    let enforce = Some((Mode::Enforce, Floor::Authenticated));
    let warned = |published: Published| -> Vec<(Option<usize>, String, String)> {
        let warnings = config.weaker_than_published(text, &[published]);
        warnings.into_iter().map(|it| (it.line, it.field, it.message)).collect()
    };
    let clear = Floor::Plaintext;
    assert_eq!(
        warned(published("never", clear, None, enforce)),
        [(
            Some(10),
            "outbound.posture".to_owned(),
            "mail for \"x.example\" needs only clear text, although its MTA-STS policy (mode \
             enforce) asks for TLS with a checked certificate; choose posture \"opportunistic\", \
             without sts = \"off\""
                .to_owned()
        )]
    );
    let both = warned(published("alone", clear, Some(Floor::Encrypted), enforce));
    let fields: Vec<_> = both.iter().map(|(line, field, _)| (*line, &**field)).collect();
    assert_eq!(fields, [(Some(17), "outbound.dane"), (Some(18), "outbound.sts")]);
    assert!(both[0].2.contains("TLSA records, which ask for TLS with any certificate"));
    assert!(both[0].2.ends_with("; remove dane = \"off\""), "{both:?}");
    let testing = Some((Mode::Testing, clear));
    let soon = warned(published("alone", clear, None, testing));
    assert!(soon[0].2.contains("(mode testing) may soon ask for"), "{soon:?}");
    // The connector asks for as much by itself, or the policy asks for nothing.
    for (own, dane, sts) in [
        (Floor::Authenticated, Some(Floor::Authenticated), enforce),
        (Floor::Encrypted, Some(Floor::Encrypted), None),
        (Floor::Authenticated, None, testing),
        (clear, None, Some((Mode::None, clear))),
        (clear, None, None),
    ] {
        assert_eq!(warned(published("alone", own, dane, sts)), []);
    }
}
