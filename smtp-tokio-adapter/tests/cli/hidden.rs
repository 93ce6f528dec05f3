//! Hidden characters that peers wrote reach no terminal, page, trace or JSON text.

use smtp_tls_policy::is_hidden;

use crate::common::{HOST, Pki};
use crate::program::{Folder, smtp_tls, smtp_tls_with};
use crate::servers::rubbish;

/// Each kind of hidden character that a text of UTF-8 lines can carry, between two letters.
fn text() -> String {
    let bidirectional = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
                         \u{2066}\u{2067}\u{2068}\u{2069}";
    let invisible = "\u{ad}\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180e}\u{200b}\u{200c}\
                     \u{200d}\u{2060}\u{2061}\u{2064}\u{206a}\u{206f}\u{3164}\u{fe00}\u{fe0f}\
                     \u{feff}\u{ffa0}\u{fff9}\u{fffb}\u{1d173}\u{e0001}\u{e0041}\u{e01ef}";
    let separators = "\u{2028}\u{2029}";
    let controls = "\u{1b}\u{7}\u{8}\u{7f}\u{85}\u{9b}";
    let hidden = [bidirectional, invisible, separators, controls].concat();
    assert!(hidden.chars().all(is_hidden));
    hidden.chars().map(|c| format!("a{c}b")).collect()
}

#[track_caller]
fn is_visible(what: &str, text: &str) {
    let hidden: Vec<char> = text.chars().filter(|c| *c != '\n' && is_hidden(*c)).collect();
    assert!(hidden.is_empty(), "{what}: {hidden:?}");
    // The letters around them are there.
    assert!(text.contains("a\u{fffd}b") || text.contains("a\\u"), "{what}: {text}");
}

#[test]
fn what_is_seen_stays_as_it_is() {
    for c in
        "a \u{a0}\u{e9}\u{301}\u{5d0}\u{627}\u{915}\u{94d}\u{e01}\u{e31}\u{4e2d}\u{1f600}".chars()
    {
        assert!(!is_hidden(c), "{c:?}");
    }
}

#[test]
fn received_fields_show_no_hidden_character() {
    let folder = Folder::new();
    let page = folder.file("page.html", "");
    // A control character ends no line of a header.
    let message = format!(
        "Received: from {0} ({0} [192.0.2.1])\r\n\tby {0} with ESMTP id {0} ({0}); \
         Tue, 3 Mar 2009 11:08:34 +0000\r\n\r\n",
        text()
    );
    let ran = smtp_tls_with(&["review", "-", "--html", &page], message.as_bytes());
    is_visible("text", &ran.stdout);
    is_visible("page", &std::fs::read_to_string(&page).unwrap());
    let ran = smtp_tls_with(&["review", "-", "--json"], message.as_bytes());
    is_visible("JSON", &ran.stdout);
    let ran = smtp_tls_with(&["review", "-", "--summary", "--json"], message.as_bytes());
    is_visible("summary", &ran.stdout);
}

#[test]
fn replies_of_a_server_show_no_hidden_character() {
    let (folder, pki) = (Folder::new(), Pki::new());
    let root = folder.file("root.pem", pki.root_pem());
    let (page, trace) = (folder.file("page.html", ""), folder.file("trace", ""));
    let banner = text().replace(|c: char| c.is_ascii_control(), "");
    let address = rubbish(format!("220 {banner}\r\n554 {banner}\r\n").into_bytes()).to_string();
    let probe = ["probe", HOST, "--connect", &address, "--ca", &root, "--timeout", "5"];
    let ran = smtp_tls(&[&probe[..], &["--html", &page, "--trace", &trace]].concat());
    is_visible("text", &ran.stdout);
    is_visible("trace", &std::fs::read_to_string(&trace).unwrap());
    let hidden = |c: char| c != '\n' && is_hidden(c);
    assert!(!std::fs::read_to_string(&page).unwrap().contains(hidden));
    assert!(!ran.stderr.contains(hidden), "{ran:?}");
    let ran = smtp_tls(&[&probe[..], &["--json"]].concat());
    assert!(!ran.stdout.contains(hidden), "{ran:?}");
}

#[test]
fn reports_show_no_hidden_character() {
    let folder = Folder::new();
    let text = serde_json::to_string(&text()).unwrap();
    let report = format!(
        r#"{{"organization-name": {text}, "contact-info": {text}, "report-id": {text}, "policies": [
            {{"policy": {{"policy-type": {text}, "policy-domain": {text}}},
              "summary": {{"total-failure-session-count": 1}},
              "failure-details": [{{"result-type": {text}, "receiving-mx-hostname": {text},
                "failure-reason-code": {text}, "failed-session-count": 1}}]}}]}}"#
    );
    let file = folder.file("report.json", report);
    is_visible("text", &smtp_tls(&["report", &file]).stdout);
    is_visible("JSON", &smtp_tls(&["report", &file, "--json"]).stdout);
}

/// The same value comes out of JSON as went in: only its spelling has escapes.
#[test]
fn json_escapes_hidden_characters_and_keeps_the_value() {
    let folder = Folder::new();
    let name = "a\u{202e}\u{e0041}\u{9b}\u{feff}b.json";
    let file = folder.file(name, r#"{"policies": []}"#);
    let ran = smtp_tls(&["report", &file, "--json"]);
    assert!(!ran.stdout.contains(|c: char| c != '\n' && is_hidden(c)), "{ran:?}");
    assert_eq!(ran.json()["file"], file);
}
