//! `smtp-tls import`.

use crate::program::{Folder, smtp_tls};

/// The configuration that an import wrote, which `lint` accepts, and the exit status.
fn import(product: &str, text: &str) -> (String, i32) {
    let folder = Folder::new();
    let file = folder.file("rules", text);
    let ran = smtp_tls(&["import", product, &file]);
    let written = folder.file("connectors.toml", &ran.stdout);
    let lint = smtp_tls(&["lint", &written]);
    assert_ne!(lint.status, 1, "{lint:?}\n{ran:?}");
    (ran.stdout, ran.status)
}

#[test]
fn each_level_of_postfix_has_its_posture() {
    let pin = "AB:".repeat(31) + "AB";
    for (line, wanted) in [
        ("a.example none", "posture = \"none\""),
        ("a.example may", "posture = \"opportunistic\"\nsts = \"off\"\ndane = \"off\""),
        ("a.example encrypt", "posture = \"encrypt\""),
        ("a.example dane", "posture = \"opportunistic\"\nsts = \"off\"\n\n"),
        ("a.example dane-only", "posture = \"dane-only\""),
        ("a.example verify", "posture = \"verified\""),
        ("a.example secure", "posture = \"secure\""),
        ("a.example secure match=hostname", "posture = \"verified\""),
        (
            "a.example secure match=mx.example:.b.example",
            "names = [\"mx.example\", \".b.example\"]",
        ),
        (&format!("a.example fingerprint match={pin}"), "pins = [\"cert:sha256:abab"),
        (".a.example\n  encrypt", "namespaces = [\"*.a.example\"]"),
    ] {
        let (toml, status) = import("postfix", &format!("{line}\n# all others\n"));
        assert!(toml.contains(wanted), "{line}: {toml}");
        // The file has no rule for other domains.
        assert_eq!(status, 3);
    }
}

#[test]
fn differences_in_meaning_are_comments() {
    let rules = "[mail.example]:587 secure\na.example encrypt ciphers=high\n\
        b.example secure match=nexthop:mx.example\nc.example fingerprint match=00:11\n";
    let (toml, status) = import("postfix", rules);
    assert_eq!(status, 3);
    for part in [
        "# line 1, [mail.example]:587: left out: the next hop is a host",
        "# line 2, a.example: the attribute ciphers has no counterpart",
        "names = [\"b.example\", \"mx.example\"]",
        "# line 4, c.example: only SHA-256, SHA-384 and SHA-512 fingerprints can be pinned",
        "posture = \"pinned\"\nsts = \"off\"\ndane = \"off\"\npins = [\"cert:sha256:0000",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
}

/// What is written for a table, without the connector for all others, and the exit status.
fn of_table(text: &str) -> (String, i32) {
    let (toml, status) = import("postfix", text);
    let (first, rest) = toml.split_once("# the file has no rule for all other domains").unwrap();
    assert!(rest.contains("namespaces = [\"*\"]"), "{toml}");
    (first.trim().to_owned(), status)
}

#[test]
fn lines_of_a_table_are_read_as_postmap_reads_them() {
    let sha = "ab".repeat(32);
    for (text, wanted) in [
        // Comments and empty lines do not end a rule that continues.
        ("a.example secure\n# why\n\n\tmatch=mx.example", "names = [\"mx.example\"]"),
        ("a.example\tencrypt  \n   # no more", "posture = \"encrypt\""),
        ("A.Example   EnCrypt", "namespaces = [\"a.example\"]\nposture = \"encrypt\""),
        (
            "a.example secure  match=mx.example , MATCH=.b.example",
            "names = [\"mx.example\", \".b.example\"]",
        ),
        (
            "a.example secure match=mx.example:.b.example:nexthop",
            "[\"mx.example\", \".b.example\", \"a.example\"]",
        ),
        ("a.example secure match=nexthop", "names = [\"a.example\"]"),
        ("a.example verify match=dot-nexthop", "names = [\".a.example\"]"),
        ("a.example secure { match = mx.example }", "names = [\"mx.example\"]"),
        (
            "a.example encrypt\r\nb.example none\r\n",
            "namespaces = [\"b.example\"]\nposture = \"none\"",
        ),
        (".a.example dane-only", "namespaces = [\"*.a.example\"]\nposture = \"dane-only\""),
        ("b\u{fc}cher.example encrypt", "namespaces = [\"b\u{fc}cher.example\"]"),
        (
            &*format!("a.example fingerprint match={sha}|{}", "CD:".repeat(47) + "CD"),
            &*format!("pins = [\"cert:sha256:{sha}\", \"spki:sha256:{sha}\", \"cert:sha384:cdcd"),
        ),
        (
            &*format!("a.example fingerprint match={sha} match={}", "ef".repeat(64)),
            &*format!("\"spki:sha256:{sha}\", \"cert:sha512:efef"),
        ),
        ("a.example encrypt protocols=>=TLSv1.3", "tls = { min-version = \"1.3\" }"),
        ("a.example secure protocols=TLSv1.3", "tls = { min-version = \"1.3\" }"),
        (
            "a.example verify protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1:!TLSv1.2",
            "min-version = \"1.3\"",
        ),
        ("a.example encrypt protocols=>=0x0304", "tls = { min-version = \"1.3\" }"),
        ("\u{feff}a.example encrypt", "namespaces = [\"a.example\"]"),
        ("default encrypt", "name = \"default\"\nnamespaces = [\"default\"]"),
    ] {
        let (toml, _) = of_table(text);
        assert!(toml.contains(wanted), "{text}: {toml}");
        assert!(!toml.contains('#'), "{text}: {toml}");
    }
}

#[test]
fn what_differs_from_postfix_is_a_comment() {
    let sha = "ab".repeat(32);
    for (text, comments, posture) in [
        ("a.example encrypt protocols=>=TLSv1.2", &[][..], "encrypt"),
        ("a.example encrypt protocols=!SSLv2:!SSLv3", &["versions before TLS 1.2"], "encrypt"),
        (
            "a.example may protocols=TLSv1.3",
            &["only be refused where TLS is required"],
            "opportunistic",
        ),
        (
            "a.example encrypt protocols=<=TLSv1.2:>=TLSv1.2",
            &["TLS 1.3 cannot be refused"],
            "encrypt",
        ),
        (
            "a.example encrypt protocols=TLSv1",
            &["before TLS 1.2", "none of its versions"],
            "encrypt",
        ),
        ("a.example none ciphers=high", &["ignores the attributes of level none"], "none"),
        (
            "a.example encrypt exclude=aNULL servername=hostname",
            &["attribute exclude", "attribute servername"],
            "encrypt",
        ),
        ("a.example encrypt connection_reuse=yes", &["attribute connection_reuse"], "encrypt"),
        (
            "a.example secure match=hostname:mx.example",
            &["there are no names for hostname"],
            "secure",
        ),
        (".a.example secure match=nexthop", &["match=nexthop is not the same"], "secure"),
        (
            "a.example verify tafile=/a.pem tafile=/b.pem",
            &["--ca /a.pem=FILE", "/a.pem, /b.pem"],
            "verified",
        ),
        (
            &*format!("a.example fingerprint match={sha} match=00:11"),
            &["00:11 is no SHA-256"],
            "pinned",
        ),
        ("a.example fingerprint", &["the pin below matches nothing"], "pinned"),
        (
            "a.example encrypt\nA.EXAMPLE none",
            &["line 2, a.example: left out: a line before this one"],
            "encrypt",
        ),
    ] {
        let (toml, status) = of_table(text);
        let found: Vec<&str> = toml.lines().filter(|line| line.starts_with("# ")).collect();
        assert_eq!(found.len(), comments.len(), "{text}: {toml}");
        for (found, wanted) in found.iter().zip(comments) {
            assert!(found.contains(wanted), "{text}: {found}");
        }
        assert!(toml.contains(&format!("posture = \"{posture}\"")), "{text}: {toml}");
        assert_eq!(status, 3);
    }
    // Next hops that are no domain have no connector, and their policy is told.
    for key in [
        "[mx.example]",
        "[mx.example]:587",
        "[192.0.2.1]",
        "192.0.2.1",
        "2001:db8::1",
        "a.example:submission",
    ] {
        let (toml, _) = of_table(&format!("{key} secure match=mx.example"));
        let what = format!("line 1, {key}: left out: the next hop is a host or has a port");
        assert!(
            toml.contains(&what) && toml.contains("the policy: secure match=mx.example"),
            "{toml}"
        );
        assert!(!toml.contains("[[outbound]]"), "{toml}");
    }
    // A key with a dot in front means the domains below one; with an asterisk it means nothing.
    for (key, more) in [
        ("*", "Postfix never asks for it"),
        ("*.a.example", "the key is .a.example"),
        ("*a.example", "Postfix never asks for it"),
    ] {
        let (toml, status) = of_table(&format!("{key} encrypt"));
        assert!(toml.starts_with(&format!("# line 1, {key}: left out: ")), "{toml}");
        assert!(toml.contains(more) && !toml.contains("[[outbound]]"), "{toml}");
        assert_eq!(status, 3);
    }
}

/// Postfix defers mail by a policy that it cannot read. All of them are told at once.
#[test]
fn policies_that_postfix_refuses_end_with_5() {
    let folder = Folder::new();
    for (text, why) in [
        ("a.example secured", "line 1: there is no level secured"),
        ("a.example", "line 1: the policy is missing"),
        ("a.example ,", "line 1: the policy is missing"),
        ("a.example encrypt match=mx.example", "line 1: Postfix takes no match at level encrypt"),
        ("a.example dane match=mx.example", "Postfix takes no match at level dane"),
        ("a.example fingerprint tafile=/a.pem", "takes no tafile at level fingerprint"),
        ("a.example secure match", "line 1: match is no attribute"),
        ("a.example secure match=", "the attribute match has no value"),
        ("a.example secure macth=mx.example", "Postfix knows no attribute macth"),
        ("a.example secure match=a..b", "match=a..b: "),
        ("a.example fingerprint match=xyz", "match=xyz is no fingerprint"),
        ("a.example encrypt protocols=TLSv1.4", "there is no version tlsv1.4"),
        ("a.example encrypt protocols=>=0x0399", "there is no version 0x0399"),
        ("a.example encrypt protocols=TLSv1.2 protocols=TLSv1.3", "protocols is there twice"),
        ("  a.example encrypt", "line 1: it begins with white space"),
        ("smtp_tls_policy_maps = hash:/etc/postfix/tls_policy", "this is a line of main.cf"),
        ("/example/ encrypt", "tables of patterns cannot be read"),
        ("user@a.example encrypt", "user@a.example: "),
        (
            "a.example x\nb.example encrypt\nc.example y",
            "line 1: there is no level x; line 3: there is no level y",
        ),
    ] {
        let file = folder.file("rules", text);
        smtp_tls(&["import", "postfix", &file]).fails(5, why);
    }
}

#[test]
fn tables_are_read_as_main_cf_names_them() {
    let folder = Folder::new();
    let file = folder.file("tls_policy", "a.example encrypt\n");
    for kind in ["hash", "texthash", "lmdb", "btree", "cdb", "proxy:hash"] {
        let ran = smtp_tls(&["import", "postfix", &format!("{kind}:{file}")]);
        assert!(ran.stdout.contains("namespaces = [\"a.example\"]"), "{kind}: {ran:?}");
    }
    let inline = "inline:{ { a.example = secure match=mx.example }, b.example=none, {[c.example]:587 = encrypt} }";
    let ran = smtp_tls(&["import", "postfix", inline]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(
        ran.stdout.contains(
            "posture = \"secure\"\nsts = \"off\"\ndane = \"off\"\nnames = [\"mx.example\"]"
        )
    );
    assert!(ran.stdout.contains("namespaces = [\"b.example\"]\nposture = \"none\""), "{ran:?}");
    assert!(ran.stdout.contains("# entry 3, [c.example]:587: "), "{ran:?}");
    let ran = smtp_tls(&["import", "postfix", "static:{encrypt protocols=>=TLSv1.2}"]);
    assert!(ran.stdout.contains("namespaces = [\"*\"]\nposture = \"encrypt\""), "{ran:?}");
    assert_eq!(ran.status, 0, "{ran:?}");
    for kind in ["pcre", "regexp", "proxy:ldap", "mongodb", "socketmap"] {
        let table = format!("{kind}:{file}");
        let why = format!("tables of kind {} cannot be read", kind.trim_start_matches("proxy:"));
        smtp_tls(&["import", "postfix", &table]).fails(5, &why);
    }
    let two = format!("hash:{file}, regexp:/etc/postfix/p");
    smtp_tls(&["import", "postfix", &two]).fails(5, "this is a list of tables");
    smtp_tls(&["import", "postfix", "inline:{ a.example }"])
        .fails(5, "entry 1: a.example is no key");
}

#[test]
fn connectors_of_exchange_are_taken_over() {
    let json = r#"[
      {"Name": "Internet", "AddressSpaces": ["SMTP:*;1"], "RequireTLS": false, "SmartHosts": []},
      {"Name": "Bank", "AddressSpaces": ["SMTP:bank.example;1", "smtp:*.bank.example;5"],
       "TlsAuthLevel": "DomainValidation", "TlsDomain": "mail.bank.example", "RequireTLS": true,
       "SmartHosts": ["gw.bank.example"]},
      {"Name": "Cloud", "RecipientDomains": ["cloud.example"], "TlsSettings": 1, "Enabled": true}
    ]"#;
    let (toml, status) = import("exchange", json);
    assert_eq!(status, 3, "{toml}");
    assert_eq!(other_differences(&toml), [""; 0]);
    for part in [
        "name = \"Internet\"\nnamespaces = [\"*\"]\nposture = \"opportunistic\"",
        "namespaces = [\"bank.example\", \"*.bank.example\"]\nposture = \"secure\"",
        "names = [\"mail.bank.example\"]\nsmart-host = { host = \"gw.bank.example\" }",
        "namespaces = [\"cloud.example\"]\nposture = \"encrypt\"",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
}

/// What every connector of a server has, and no connector of Exchange Online.
const NO_STANDARDS: &str = "Exchange Server uses neither DANE nor MTA-STS";

/// All differences but that one.
fn other_differences(toml: &str) -> Vec<&str> {
    let comments = toml.lines().filter(|line| line.starts_with('#'));
    comments.filter(|line| !line.contains(NO_STANDARDS)).collect()
}

#[test]
fn connector_of_a_server_says_that_dane_and_mta_sts_are_new() {
    let any = r#""AddressSpaces": ["SMTP:*;1"]"#;
    for (fields, is_named) in [
        (any.to_owned(), true),
        (format!(r#"{any}, "TlsAuthLevel": "DomainValidation", "RequireTLS": true"#), true),
        (format!(r#"{any}, "SmtpDaneMode": null, "MtaStsMode": null"#), true),
        // There is no TLS, or no connector.
        (format!(r#"{any}, "IgnoreSTARTTLS": true"#), false),
        (format!(r#"{any}, "Enabled": false"#), false),
        // Exchange Online.
        (r#""RecipientDomains": ["*"]"#.to_owned(), false),
        (format!(r#"{any}, "SmtpDaneMode": "Opportunistic""#), false),
        (format!(r#"{any}, "MtaStsMode": "None""#), false),
        (format!(r#"{any}, "TlsSettings": "EncryptionOnly""#), false),
    ] {
        let (toml, status) = of_exchange(&fields);
        assert_eq!(toml.contains(NO_STANDARDS), is_named, "{fields}: {toml}");
        if is_named {
            let line = format!("# connector C: {NO_STANDARDS}; here both are used");
            assert!(toml.starts_with(&line), "{toml}");
            assert_eq!(status, 3, "{fields}");
        }
    }
}

/// What is written for one connector that serves all domains or one, and the exit status.
fn of_exchange(fields: &str) -> (String, i32) {
    let (toml, status) = import("exchange", &format!("{{\"Name\": \"C\", {fields}}}"));
    (toml.split("# the file has no rule for all").next().unwrap().trim().to_owned(), status)
}

#[test]
fn connectors_of_exchange_come_in_many_shapes() {
    let any = r#""AddressSpaces": ["SMTP:*;1"]"#;
    for (fields, wanted) in [
        // One value in place of a list, objects, null, an object with the values.
        (r#""AddressSpaces": "SMTP:*;1""#.to_owned(), "namespaces = [\"*\"]"),
        (r#""AddressSpaces": {"value": ["SMTP:*;1"], "Count": 1}"#.into(), "namespaces = [\"*\"]"),
        (r#""AddressSpaces": [{"Type": "SMTP", "Domain": "*", "Cost": 1}]"#.into(), "[\"*\"]"),
        (
            r#""AddressSpaces": [{"Domain": "a.example", "IncludeSubDomains": true}, "SMTP:*;1"]"#
                .into(),
            "[\"a.example\", \"*.a.example\", \"*\"]",
        ),
        (r#""RecipientDomains": "*""#.into(), "namespaces = [\"*\"]"),
        (
            r#""RecipientDomains": ["*"], "AddressSpaces": null, "SmartHosts": null"#.into(),
            "[\"*\"]",
        ),
        // An address space with a wildcard has the domain itself in it.
        (
            r#""AddressSpaces": ["smtp:*.A.Example;5", "*"]"#.into(),
            "[\"a.example\", \"*.a.example\", \"*\"]",
        ),
        (format!(r#"{any}, "SmartHosts": "[192.0.2.1]""#), "smart-host = { host = \"192.0.2.1\" }"),
        (
            format!(r#"{any}, "SmartHosts": ["2001:DB8::1"], "Port": 587"#),
            "{ host = \"2001:db8::1\", port = 587 }",
        ),
        (
            format!(r#"{any}, "SmartHosts": [{{"Domain": "GW.example"}}]"#),
            "{ host = \"gw.example\" }",
        ),
        (format!(r#"{any}, "SmartHostsString": "gw.example""#), "{ host = \"gw.example\" }"),
        (
            format!(r#"{any}, "SmartHosts": [], "SmartHostsString": """#),
            "posture = \"opportunistic\"",
        ),
        (
            format!(r#"{any}, "SmartHosts": ["gw.example"], "UseMXRecord": true"#),
            "posture = \"opportunistic\"",
        ),
        (
            format!(r#"{any}, "TlsAuthLevel": 3, "TlsDomain": "*.A.example""#),
            "names = [\".a.example\"]",
        ),
        (format!(r#"{any}, "TlsSettings": "domainvalidation""#), "posture = \"secure\""),
        (format!(r#"{any}, "TlsSettings": null, "TlsAuthLevel": 1"#), "posture = \"encrypt\""),
        (format!(r#"{any}, "RequireTLS": "True", "TlsAuthLevel": """#), "posture = \"encrypt\""),
        (format!(r#"{any}, "requiretls": 1"#), "posture = \"encrypt\""),
        // Enumerations and switches from another machine, a list with one level, lists as texts.
        (
            format!(r#"{any}, "TlsSettings": {{"value": 3, "Value": "DomainValidation"}}"#),
            "posture = \"secure\"",
        ),
        (format!(r#"{any}, "TlsSettings": {{"Value": "DomainValidation"}}"#), "\"secure\""),
        (format!(r#"{any}, "TlsSettings": ["EncryptionOnly"]"#), "posture = \"encrypt\""),
        (format!(r#"{any}, "TlsSettings": {{}}, "TlsAuthLevel": "3""#), "posture = \"secure\""),
        (format!(r#"{any}, "RequireTLS": {{"IsPresent": true}}"#), "posture = \"encrypt\""),
        (format!(r#"{any}, "RequireTLS": {{"Value": true}}"#), "posture = \"encrypt\""),
        (format!(r#"{any}, "RequireTLS": [true]"#), "posture = \"encrypt\""),
        (
            r#""AddressSpaces": "SMTP:*;1 smtp:A.example;2, b.example""#.into(),
            "[\"*\", \"a.example\", \"b.example\"]",
        ),
        (
            r#""AddressSpaces": {"Value": [{"domain": "*", "cost": 3}], "Count": 1}"#.into(),
            "[\"*\"]",
        ),
        (
            format!(
                r#"{any}, "SmartHosts": [{{"Address": {{"Address": 16974016, "AddressFamily": 2,
                    "IPAddressToString": "192.0.2.1"}}, "Domain": null}}]"#
            ),
            "{ host = \"192.0.2.1\" }",
        ),
        (
            format!(r#"{any}, "SourceIPAddress": {{"IPAddressToString": "192.0.2.9"}}"#),
            "dial = { source-ipv4 = \"192.0.2.9\" }",
        ),
        (format!(r#"{any}, "IgnoreSTARTTLS": true, "RequireTLS": false"#), "posture = \"none\""),
        (format!(r#"{any}, "ForceHELO": true"#), "posture = \"none\""),
        (format!(r#"{any}, "SmtpDaneMode": "Mandatory""#), "posture = \"dane-only\""),
        (
            format!(r#"{any}, "SmtpDaneMode": "None", "MtaStsMode": "None""#),
            "posture = \"opportunistic\"\ndane = \"off\"\nsts = \"off\"",
        ),
        (
            format!(r#"{any}, "SmtpDaneMode": "Opportunistic", "MtaStsMode": "Opportunistic""#),
            "posture = \"opportunistic\"",
        ),
        (
            format!(r#"{any}, "SourceIPAddress": "192.0.2.9""#),
            "dial = { source-ipv4 = \"192.0.2.9\" }",
        ),
        (
            format!(
                r#"{any}, "SourceIPAddress": "0.0.0.0", "Region": "NotSpecified", "New": [{{}}]"#
            ),
            "[\"*\"]",
        ),
    ] {
        let (toml, status) = of_exchange(&fields);
        assert!(toml.contains(wanted), "{fields}: {toml}");
        assert_eq!(other_differences(&toml), [""; 0], "{fields}");
        let wanted = if toml.contains(NO_STANDARDS) { 3 } else { 0 };
        assert_eq!(status, wanted, "{fields}: {toml}");
    }
}

#[test]
fn what_differs_from_exchange_is_a_comment() {
    let any = r#""AddressSpaces": ["SMTP:*;1"]"#;
    for (fields, wanted) in [
        (format!(r#"{any}, "TlsAuthLevel": 2"#), "checks the chain and no name"),
        (
            format!(r#"{any}, "RequireTLS": true, "TlsDomain": "a.example""#),
            "TlsDomain counts only with",
        ),
        (
            format!(r#"{any}, "SmartHosts": ["a.example", "b.example"]"#),
            "only the first of its smart hosts",
        ),
        (
            format!(r#"{any}, "SmartHosts": "a.example, b.example""#),
            "only the first of its smart hosts",
        ),
        (
            format!(r#"{any}, "SmartHosts": ["a.example"], "SmartHostAuthMechanism": 2"#),
            "credentials",
        ),
        (format!(r#"{any}, "Port": 2525"#), "another port than 25"),
        (format!(r#"{any}, "SmtpDaneMode": 2"#), "its SmtpDaneMode 2 is not known"),
        (format!(r#"{any}, "MtaStsMode": {{"value": 1}}"#), "its MtaStsMode 1 is not known"),
        (format!(r#"{any}, "CloudServicesMailEnabled": true"#), "headers of Exchange"),
        (format!(r#"{any}, "DomainSecureEnabled": true"#), "Domain Security"),
        (format!(r#"{any}, "IsScopedConnector": true"#), "only servers of its site"),
        (
            format!(r#"{any}, "TlsCertificateName": "<I>CN=CA<S>CN=mail.a.example""#),
            "set an identity",
        ),
        (r#""AddressSpaces": ["X400:C=US;1", "SMTP:*;1"]"#.to_owned(), "names no domain of SMTP"),
        (r#""AddressSpaces": ["--;1"]"#.to_owned(), "names no domain of SMTP"),
        (r#""RecipientDomains": []"#.to_owned(), "left out: it names no domain"),
    ] {
        let (toml, status) = of_exchange(&fields);
        assert!(toml.contains(wanted), "{fields}: {toml}");
        assert_eq!(status, 3, "{fields}: {toml}");
    }
}

/// A connector that Exchange does not use must not take the place of one that it uses.
#[test]
fn a_namespace_has_the_connector_that_exchange_uses() {
    let json = r#"[
      {"Name": "off", "AddressSpaces": ["SMTP:*;1"], "Enabled": false, "IgnoreSTARTTLS": true},
      {"Name": "backup", "AddressSpaces": ["SMTP:*;10"], "IgnoreSTARTTLS": true},
      {"Name": "main", "AddressSpaces": ["SMTP:*;2"], "RequireTLS": true},
      {"Name": "rules", "RecipientDomains": ["a.example"], "IsTransportRuleScoped": true}
    ]"#;
    let (toml, status) = import("exchange", json);
    assert_eq!(status, 3);
    assert_eq!(toml.matches("[[outbound]]").count(), 1, "{toml}");
    assert!(
        toml.contains("name = \"main\"\nnamespaces = [\"*\"]\nposture = \"encrypt\""),
        "{toml}"
    );
    for part in [
        "# connector off: left out: it is switched off there",
        "# connector backup: * is left to connector main, which Exchange prefers",
        "# connector backup: left out: other connectors have all of its address spaces",
        "# connector rules: left out: only transport rules use it",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
}

#[test]
fn what_is_no_send_connector_ends_with_5() {
    let folder = Folder::new();
    for (json, why) in [
        ("[]", "no connector"),
        ("{}", "no connector"),
        ("[null]", "no connector"),
        ("5", "no connector"),
        ("[5]", "connector 1: this is no connector"),
        (r#"{"Name": "R", "Bindings": ["0.0.0.0:25"]}"#, "R: this is a receive connector"),
        (r#"{"Name": "I", "SenderDomains": ["smtp:*;1"]}"#, "I: this is an inbound connector"),
        (r#"{"Name": "a", "TlsAuthLevel": 7}"#, "there is no TLS level 7"),
        (r#"{"Name": "a", "RequireTLS": true, "IgnoreSTARTTLS": true}"#, "contradict"),
        (r#"{"Name": "a", "SmartHosts": ["a..b"]}"#, "smart host a..b: "),
        (r#"{"Name": "a", "SmartHosts": ["a.b"], "Port": 0}"#, "no port"),
        (r#"{"Name": "a", "AddressSpaces": ["SMTP:a*.example;1"]}"#, "a*.example: "),
        (r#"[{"Name": "a", "TlsAuthLevel": 7}, {}]"#, "connector 2: this is no connector"),
        (r#"{"Name": "a""#, "no JSON"),
        (r#"{"Name": "a"} x"#, "no JSON"),
        ("Name : Internet\nAddressSpaces : {SMTP:*;1}", "export it with ConvertTo-Json -Depth 4"),
        (r#"{"Name": "a", "AddressSpaces": ["SMTP:*;x"]}"#, "SMTP:*: its cost is no number"),
        (r#"{"Name": "a", "AddressSpaces": ["SMTP:*;99999999999999999999"]}"#, "no number"),
        // A value whose form is not known must not make the rule a weaker one.
        (r#"{"Name": "a", "TlsAuthLevel": {"Rank": 3}}"#, "TlsAuthLevel has a form that is not"),
        (r#"{"Name": "a", "TlsSettings": [1, 3]}"#, "TlsSettings has a form that is not known"),
        (r#"{"Name": "a", "RequireTLS": "Always"}"#, "RequireTLS has a form that is not known"),
        (r#"{"Name": "a", "RequireTLS": 2}"#, "RequireTLS has a form that is not known"),
        (r#"{"Name": "a", "RequireTLS": {"Set": true}}"#, "RequireTLS has a form that is not"),
        (
            r#"{"Name": "a", "SmartHosts": [{"Address": 3221225985, "AddressFamily": 2}]}"#,
            "a smart host has a form that is not known",
        ),
        (r#"{"Name": "a", "AddressSpaces": ["System.Object[]"]}"#, "export it with -Depth 4"),
        (r#"{"Name": "a", "AddressSpaces": "@{Type=SMTP; Domain=*}"}"#, "export it with -Depth 4"),
    ] {
        let file = folder.file("rules.json", json);
        smtp_tls(&["import", "exchange", &file]).fails(5, why);
    }
}

/// `>>` appends a second export to the first.
#[test]
fn exports_one_after_the_other_are_read_together() {
    let json = r#"{"Name": "a", "AddressSpaces": ["SMTP:*;1"]}
        [{"Name": "b", "RecipientDomains": ["b.example"], "TlsSettings": 3}]"#;
    let (toml, status) = import("exchange", json);
    assert_eq!((status, toml.matches("[[outbound]]").count()), (3, 2), "{toml}");
    assert!(toml.contains("namespaces = [\"b.example\"]\nposture = \"secure\""), "{toml}");
}

/// The `>` of Windows PowerShell writes UTF-16 with a byte order mark.
#[test]
fn connectors_in_utf_16_are_read() {
    let json = r#"[{"Name": "Bänk", "AddressSpaces": ["SMTP:*;1"], "RequireTLS": false}]"#;
    let folder = Folder::new();
    let little = ["\u{feff}", json].concat().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big = ["\u{feff}", json].concat().encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (little, big): (Vec<u8>, Vec<u8>) = (little, big);
    // With the mark and without it.
    for octets in [little.clone(), big.clone(), little[2..].to_vec(), big[2..].to_vec()] {
        let file = folder.file("connectors.json", &octets);
        assert!(smtp_tls(&["import", "exchange", &file]).stdout.contains("name = \"Bänk\""));
        let cut = folder.file("cut.json", &octets[..octets.len() - 1]);
        smtp_tls(&["import", "exchange", &cut]).fails(5, "not text in UTF-8 or UTF-16");
    }
}

#[test]
fn files_that_are_no_rules_end_with_5() {
    let folder = Folder::new();
    for (product, text, why) in [
        ("postfix", "a.example", "line 1: the policy is missing"),
        ("postfix", "a.example verry", "line 1: there is no level verry"),
        ("postfix", "a..example may", "a..example"),
        ("exchange", "x", "no JSON"),
        ("exchange", "[{}]", "no connector of Exchange"),
        ("exchange", r#"{"Name": "a", "TlsSettings": "Best"}"#, "no TLS level Best"),
    ] {
        let file = folder.file("rules", text);
        smtp_tls(&["import", product, &file]).fails(5, why);
    }
}
