//! The JSON output of each command, validated by `cli.schema.json`.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value;

use crate::common::{HOST, Pki};
use crate::program::{Folder, smtp_tls, smtp_tls_with};
use crate::servers::{refused, scripted, with_tls};

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| serde_json::from_str(include_str!("../../cli.schema.json")).unwrap())
}

/// The definition that a `$ref` names, or the schema itself.
fn resolved(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str() {
        Some(reference) => definition(reference.strip_prefix("#/$defs/").unwrap()),
        None => schema,
    }
}

fn definition(name: &str) -> &'static Value {
    schema()["$defs"].get(name).unwrap_or_else(|| panic!("no definition {name}"))
}

/// The names of all fields below a definition.
pub(crate) fn fields(name: &str) -> BTreeSet<String> {
    fn collect(schema: &'static Value, found: &mut BTreeSet<String>) {
        let schema = resolved(schema);
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(name.clone());
            collect(inner, found);
        }
        if schema.get("items").is_some() {
            collect(&schema["items"], found);
        }
        schema["anyOf"].as_array().into_iter().flatten().for_each(|it| collect(it, found));
    }
    let mut found = BTreeSet::new();
    collect(definition(name), &mut found);
    found
}

/// What is wrong with a value, by the parts of JSON Schema that `cli.schema.json` uses.
fn faults(schema: &'static Value, value: &Value, place: &str, faults_found: &mut Vec<String>) {
    let schema = resolved(schema);
    for keyword in schema.as_object().unwrap().keys() {
        let known = ["type", "properties", "required", "additionalProperties", "items", "enum"];
        assert!(known.contains(&&**keyword) || keyword == "anyOf", "{keyword} is not validated");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| {
            let mut inner = Vec::new();
            faults(choice, value, place, &mut inner);
            inner.is_empty()
        });
        // The first choice tells more than that none fits.
        if !fits {
            faults(&choices[0], value, place, faults_found);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("{place}: type {other}"),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&is) {
        faults_found.push(format!("{place} is {is}, not {types:?}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        faults_found.push(format!("{place} is {value}, not one of {allowed:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        faults(&schema["items"], item, &format!("{place}[{index}]"), faults_found);
    }
    let Some(object) = value.as_object() else { return };
    let properties = schema["properties"].as_object().unwrap();
    for name in schema["required"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        if !object.contains_key(name) {
            faults_found.push(format!("{place}.{name} is missing"));
        }
    }
    for (name, inner) in object {
        match properties.get(name) {
            Some(schema) => faults(schema, inner, &format!("{place}.{name}"), faults_found),
            None => faults_found.push(format!("{place}.{name} is not in the schema")),
        }
    }
}

/// Each line, or the whole, is as the definition says.
#[track_caller]
fn is_valid(name: &str, output: &str) {
    let values: Vec<Value> = serde_json::Deserializer::from_str(output)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{name}: {error}: {output}"));
    assert!(!values.is_empty(), "{name}: no output");
    for value in values {
        let mut found = Vec::new();
        faults(definition(name), &value, name, &mut found);
        assert!(found.is_empty(), "{found:#?}: {value:#}");
    }
}

#[test]
fn a_value_that_differs_from_the_schema_is_found() {
    let good = serde_json::json!({
        "file": "c.toml", "outbound": 1, "inbound": 1, "errors": [],
        "warnings": [{"line": null, "field": "", "message": "x"}], "roots_not_checked": [],
        "identities_not_checked": ["a"], "domains_compared": null, "domains_not_compared": [],
    });
    is_valid("lint", &good.to_string());
    for (change, wanted) in [
        (serde_json::json!({"outbound": "1"}), "lint.outbound is string"),
        (serde_json::json!({"outbound": 1.5}), "lint.outbound is number"),
        (serde_json::json!({"more": 1}), "lint.more is not in the schema"),
        (serde_json::json!({"errors": [{}]}), "lint.errors[0].line is missing"),
        (serde_json::json!({"identities_not_checked": [null]}), "[0] is null"),
    ] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut found = Vec::new();
        faults(definition("lint"), &bad, "lint", &mut found);
        assert!(found[0].contains(wanted), "{found:?}");
    }
    let mut found = Vec::new();
    let decision = serde_json::json!({"rule": "", "ending": "tsl", "reason": "", "sentence": "",
        "checks": []});
    faults(definition("decision"), &decision, "decision", &mut found);
    assert!(found[0].contains("not one of"), "{found:?}");
}

#[test]
fn json_output_of_each_command_is_as_the_schema_says() {
    let (folder, pki) = (Folder::new(), Pki::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let (address, root) = (address.to_string(), folder.file("root.pem", pki.root_pem()));
    let text = format!(
        "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\", \"{HOST}\"]\nposture = \"verified\"\n"
    );
    let weak = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"none\"\n";
    let config = folder.file("c.toml", &text);
    let valid = |name: &str, arguments: &[&str]| is_valid(name, &smtp_tls(arguments).stdout);
    for file in [
        &config,
        &folder.file("errors.toml", "[[outbound]]\n"),
        &folder.file("warnings.toml", weak),
        &folder.file("roots.toml", text.replace("verified\"", "private-ca\"\nroots = \"x\"")),
    ] {
        valid("lint", &["lint", file, "--json"]);
    }
    let nowhere = refused().to_string();
    let off = folder.file("off.toml", text + "dane = \"off\"\n");
    valid("lint", &["lint", "--online", &off, "--json", "--resolver", &nowhere]);
    // An address literal needs no DNS.
    let dane = folder.file("dane.toml", weak.replace("none", "dane-only"));
    for file in [&config, &dane] {
        valid("plan", &["plan", "[192.0.2.1]", "--config", file, "--ca", &root, "--json"]);
    }
    let plain = scripted(&["220 mx", "250 mx", "221 bye"]).to_string();
    for address in [&address, &plain, &nowhere] {
        let common = ["--connect", address, "--ca", &root, "--json", "--timeout", "20"];
        valid("probe", &[&["probe", HOST][..], &common].concat());
        let test = ["test", "all", "--config", &config];
        valid("test", &[&test[..], &common].concat());
        let send = ["--send", "reader@mx.test.example"];
        valid("test", &[&test[..], &send, &common].concat());
    }
    // Without an answer.
    let unanswered = ["--resolver", &nowhere, "--ca", &root, "--json", "--timeout", "4"];
    valid("probe", &[&["probe", "a.example"][..], &unanswered].concat());
    valid("plan", &[&["plan", "a.example", "--config", &config][..], &unanswered].concat());
    valid("test", &[&["test", "all", "--config", &config][..], &unanswered].concat());
    let refuses = scripted(&["554 go away", "221 bye"]).to_string();
    let common = ["--connect", &refuses, "--ca", &root, "--json", "--timeout", "20"];
    valid("probe", &[&["probe", HOST][..], &common].concat());
    valid("test", &[&["test", "all", "--config", &config][..], &common].concat());
    let message: &[u8] = b"Received: from a.example ([192.0.2.7]) by b.example with SMTP\r\n\
        Received: from c.example (c.example [192.0.2.9])\r\n\
        \t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\
        \t(Client CN \"c.example\", Issuer \"CA\" (verified OK))\r\n\
        \tby a.example (Postfix) with ESMTPS id 1; Tue, 3 Mar 2009 11:08:33 +0000\r\n\r\n";
    for message in [message, b"Subject: x\r\n\r\n"] {
        for more in [&[][..], &["--own", "b.example"]] {
            let review = [&["review", "--json"][..], more].concat();
            is_valid("review", &smtp_tls_with(&review, message).stdout);
        }
        let summary = ["review", "--json", "--summary"];
        is_valid("review --summary", &smtp_tls_with(&summary, message).stdout);
    }
    let report = br#"{"organization-name": "x", "report-id": "1", "contact-info": "y",
        "date-range": {"start-datetime": "2016-04-01T00:00:00Z",
        "end-datetime": "2016-04-01T23:59:59Z"}, "policies": []}"#;
    is_valid("report", &smtp_tls_with(&["report", "-", "--json"], report).stdout);
    let report = folder.file("report.json", crate::report::REPORT);
    valid("report", &["report", &report, &report, "--json"]);
}
