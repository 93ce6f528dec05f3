//! What the reader of connectors says of a domain or a host that is none.

use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::rules::Config;

const REST: &str = "[[outbound]]\nname = \"rest\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";

/// A field of the second connector, and what is said of it after its value.
#[test]
fn domain_that_is_none_is_told_with_what_to_write_instead() {
    const CHARACTER: &str = "the name has a character that no domain name contains";
    let meant = |domain: &str| format!("{CHARACTER}; did you mean \"{domain}\"?");
    let connector = |namespace: &str, field: &str| {
        format!(
            "{REST}[[outbound]]\nname = \"b\"\nnamespaces = [\"{namespace}\"]\n\
             posture = \"secure\"\n{field}\n"
        )
    };
    let trust = Trust::webpki_roots();
    let mut rows = Vec::new();
    for (namespace, said) in [
        (".b.example", "write \"*.b.example\" for every domain below it".to_owned()),
        (
            "b.example, c.example",
            "write each domain in quotes of its own: \"b.example\", \"c.example\"".to_owned(),
        ),
        ("user@b.example", meant("b.example")),
        ("@b.example", meant("b.example")),
        (" b.example ", meant("b.example")),
        ("https://b.example/", meant("b.example")),
        ("b.example:25", meant("b.example")),
        ("mailto:user@b.example?subject=x", meant("b.example")),
        ("*b.example", CHARACTER.to_owned()),
        ("**", CHARACTER.to_owned()),
        ("b.*.example", CHARACTER.to_owned()),
        (" ", CHARACTER.to_owned()),
    ] {
        rows.push((connector(namespace, ""), 7, "namespaces", namespace, said));
    }
    for (name, said) in [
        ("*.b.example", "write \".b.example\" for every name below the domain".to_owned()),
        ("mx.b.example:25", meant("mx.b.example")),
        ("smtp://mx.b.example", meant("mx.b.example")),
    ] {
        let field = format!("names = [\"{name}\"]");
        rows.push((connector("b.example", &field), 9, "names", name, said));
    }
    for (host, said) in [
        (
            "[2001:db8::1]",
            "the address literal is not valid; did you mean \"2001:db8::1\"?".to_owned(),
        ),
        ("[192.0.2]", "the address literal is not valid".to_owned()),
        ("https://gw.example", meant("gw.example")),
        ("user@gw.example", meant("gw.example")),
    ] {
        let field = format!("smart-host = {{ host = \"{host}\" }}");
        rows.push((connector("b.example", &field), 9, "smart-host.host", host, said));
    }
    for (text, line, field, value, said) in rows {
        let config = Config::from_toml("connectors.toml", &text, &trust, &[]);
        let errors = config.unwrap_err().to_string();
        let place = format!("connectors.toml: line {line}, field outbound.{field}");
        assert_eq!(errors, format!("{place}: found \"{value}\"; {said}"), "{text}");
    }
}
