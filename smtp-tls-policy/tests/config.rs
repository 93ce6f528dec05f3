//! Connectors read from TOML, and what is said of a wrong line.

use smtp_tls_policy::pki::{CnFallback, Pin, Reference, Revocation, RootsId};
use smtp_tls_policy::rules::Config;
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, ClientPurpose, IdentityId, InboundConnector, OutboundConnector,
    Posture, SmartHost, Yield, Yields,
};
use smtp_tls_policy::{Domain, Host, Namespace, Reason};

const GOOD: &str = r#"
[[outbound]]
name = "everybody"
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

#[test]
fn everything() {
    let config = Config::from_toml(GOOD).unwrap();
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
    let plain =
        OutboundConnector::new("everybody", vec![Namespace::Default], Posture::Deterministic);
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
        let config = Config::from_toml(&text.replace("revocation = \"soft\"", fields)).unwrap();
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
        let config = Config::from_toml(&text).unwrap();
        assert_eq!(config.outbound.iter().next().unwrap().posture, posture);
    }
}

/// A good file with one piece replaced, and what is said of it.
#[test]
fn errors_name_line_and_field() {
    for (old, new, line, field, message) in [
        (
            "posture = \"deterministic\"\nrequire",
            "posture = \"secur\"\nrequire",
            10,
            "outbound.posture",
            "unknown posture \"secur\"; one of none, opportunistic, deterministic, encrypt, verified, secure, private-ca, dane-only, pinned",
        ),
        ("cn = \"never\"", "cn = \"no\"", 13, "outbound.cn", "unknown variant `no`"),
        (
            "revocation = \"hard\"",
            "revocation = 7",
            15,
            "outbound.revocation",
            "wanted string or table",
        ),
        (
            "require-tls = true\nnames",
            "require-tsl = true\nnames",
            11,
            "outbound.require-tsl",
            "unknown field `require-tsl`",
        ),
        ("port = 465", "port = 70000", 17, "outbound.smart-host.port", "invalid value"),
        (
            "host = \"[192.0.2.1]\"",
            "host = \"[192.0.2]\"",
            17,
            "outbound.smart-host.host",
            "\"[192.0.2]\": the address literal is not valid",
        ),
        (
            "\"*.bank.example\"",
            "\"*bank.example\"",
            9,
            "outbound.namespaces",
            "\"*bank.example\": the name has a character that no domain name contains",
        ),
        (
            "\"*.bank.example\"",
            "\"Bank.example.\"",
            9,
            "outbound.namespaces",
            "namespace 2 is already served",
        ),
        (
            "name = \"bank\"",
            "name = \"everybody\"",
            8,
            "outbound.name",
            "another connector has the same name",
        ),
        ("name = \"bank\"", "name = \"\"", 8, "outbound.name", "the connector has no name"),
        (
            "[\"bank.example\", \"*.bank.example\"]",
            "[]",
            9,
            "outbound.namespaces",
            "the connector has no namespaces",
        ),
        (
            "\".gw.bank.example\"",
            "\".gw..example\"",
            12,
            "outbound.names",
            "\".gw..example\": a label of the name is empty",
        ),
        (
            "untrusted = \"never\"",
            "untrusted = \"nie\"",
            18,
            "outbound.yields.untrusted",
            "unknown variant `nie`",
        ),
        (
            "roots = \"partner-ca\"",
            "",
            30,
            "inbound.certificate",
            "a required certificate needs `roots` or `pins`",
        ),
        (
            "\"required\"",
            "\"recorded\"",
            30,
            "inbound.certificate",
            "only a required certificate is checked; set client-certificate",
        ),
        (
            "require-tls = true\nclient",
            "client",
            25,
            "inbound",
            "a client certificate is required without requiring TLS",
        ),
        ("name = \"world\"", "", 20, "inbound", "missing field `name`"),
        (
            "namespaces = [\"*\"]\nposture",
            "namespaces = [\"x.example\"]\nposture",
            1,
            "",
            "no connector serves the default namespace `*`",
        ),
        ("[[inbound]]", "[[inbound]", 20, "", ""),
        (
            "posture = \"deterministic\"\nrequire",
            "posture = \"none\"\nrequire",
            7,
            "outbound",
            "posture none sends no TLS, and the connector requires it",
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let text = GOOD.replacen(old, new, 1);
        let error = Config::from_toml(&text).unwrap_err();
        assert_eq!((error.line(), error.field()), (line, field), "{new}: {error}");
        let shown = error.to_string();
        let start = match field {
            "" => format!("line {line}: "),
            _ => format!("line {line}, field {field}: "),
        };
        let said = shown.strip_prefix(&start).unwrap_or_else(|| panic!("{shown}"));
        assert!(said.starts_with(message), "{new}: {said}");
        assert!(!said.contains('\n'), "{said}");
    }
    assert!(Config::from_toml("").is_err());
}

#[test]
fn reasons_are_their_codes() {
    for reason in Reason::ALL {
        let json = serde_json::to_string(reason).unwrap();
        assert_eq!(json, format!("\"{}\"", reason.code()));
        assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), *reason);
    }
    assert!(serde_json::from_str::<Reason>("\"no-such-code\"").is_err());
}
