//! `smtp-tls postfix`, asked as Postfix asks (socketmap_table(5)).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use crate::common::Pki;
use crate::dns::dns;
use crate::program::{Folder, command, smtp_tls};
use crate::servers::{policy_host, refused};

/// The service, stopped at the end of the test.
struct Running {
    child: Child,
    address: SocketAddr,
    _folder: Folder,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(config: &str, more: &[&str]) -> Running {
    start_with_roots(Pki::new().root_pem(), config, more)
}

fn start_with_roots(root: &str, config: &str, more: &[&str]) -> Running {
    let folder = Folder::new();
    let config = folder.file("c.toml", config);
    let root = folder.file("root.pem", root);
    let (own, public) = (format!("partner={root}"), root);
    let mut arguments = vec!["postfix", "--config", &config, "--listen", "127.0.0.1:0"];
    arguments.extend(["--ca", &public, "--ca", &own]);
    arguments.extend(more);
    let mut child = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    Running { child, address, _folder: folder }
}

impl Running {
    /// The answers to several questions on one connection.
    fn ask(&self, questions: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        questions.iter().map(|question| ask(&mut stream, question)).collect()
    }
}

fn ask(stream: &mut TcpStream, question: &str) -> String {
    stream.write_all(format!("{}:{question},", question.len()).as_bytes()).unwrap();
    let mut length = String::new();
    loop {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        match octet[0] {
            b':' => break,
            digit => length.push(digit.into()),
        }
    }
    let mut text = vec![0; length.parse::<usize>().unwrap() + 1];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(text.pop(), Some(b','));
    String::from_utf8(text).unwrap()
}

fn connector(name: &str, rest: &str) -> String {
    format!("[[outbound]]\nname = \"{name}\"\nnamespaces = [\"{name}.example\"]\n{rest}\n\n")
}

#[test]
fn each_posture_has_its_policy_of_postfix() {
    let pin = "spki:sha256:".to_owned() + &"ab".repeat(32);
    let rows = [
        ("none", "posture = \"none\"".to_owned(), "none"),
        ("open", "posture = \"opportunistic\"".into(), "dane"),
        ("nodane", "posture = \"opportunistic\"\ndane = \"off\"".into(), "may"),
        ("good", "posture = \"deterministic\"".into(), "dane"),
        (
            "goodtls",
            "posture = \"deterministic\"\nrequire-tls = true".into(),
            "verify match=hostname",
        ),
        ("tls", "posture = \"encrypt\"".into(), "encrypt"),
        (
            "verified",
            "posture = \"verified\"\nnames = [\"a.example\", \".b.example\"]".into(),
            "verify match=a.example:.b.example",
        ),
        ("secure", "posture = \"secure\"".into(), "secure match=nexthop:dot-nexthop"),
        (
            "own",
            "posture = \"private-ca\"\nroots = \"partner\"".into(),
            "secure match=hostname tafile=",
        ),
        ("danely", "posture = \"dane-only\"".into(), "dane-only"),
        ("pin", format!("posture = \"pinned\"\npins = [\"{pin}\"]"), "fingerprint match=AB:AB:AB"),
    ];
    let config: String = rows.iter().map(|(name, rest, _)| connector(name, rest)).collect();
    let config =
        config + "[[outbound]]\nname = \"rest\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";
    // A next hop in brackets is a host, about which DNS is not asked.
    let nowhere = refused().to_string();
    let running = start(&config, &["--resolver", &nowhere, "--timeout", "4"]);
    for (name, _, policy) in &rows {
        let answers = running.ask(&[&format!("QUERY [{name}.example]:25")]);
        assert!(answers[0].starts_with(&format!("OK {policy}")), "{name}: {answers:?}");
    }
    let answers = running.ask(&["QUERY [else.example]", "QUERY .else.example", "QUERY"]);
    assert_eq!(answers, ["OK encrypt", "NOTFOUND ", "NOTFOUND "]);
    // Where DNS does not answer, the mail waits.
    let answers = running.ask(&["QUERY verified.example"]);
    assert!(answers[0].starts_with("TEMP DNS, verified.example MX: "), "{answers:?}");
}

#[test]
fn dns_decides_between_a_policy_and_a_deferral() {
    let Some(dns) = dns() else { return };
    let folder = Folder::new();
    let anchor = folder.file("root.key", &dns.anchor);
    let resolver = dns.plain.to_string();
    let config =
        "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"opportunistic\"\n";
    let running = start(config, &["--resolver", &resolver, "--trust-anchor", &anchor]);
    let answers = running.ask(&["QUERY secure.example", "QUERY insecure.example"]);
    assert_eq!(answers, ["OK dane", "OK dane"]);
    let answers = running.ask(&["QUERY bogus.example"]);
    assert!(answers[0].starts_with("TEMP ") && answers[0].contains("bogus"), "{answers:?}");
}

/// The TLSA records of a host are those of the port of the next hop.
#[test]
fn port_of_the_next_hop_decides_which_tlsa_records_count() {
    let Some(dns) = dns() else { return };
    let (folder, modes) =
        (Folder::new(), &[("sts-dane.secure.example", "enforce", "*.secure.example")]);
    let names = vec!["mta-sts.sts-dane.secure.example".to_owned()];
    let identity = dns.pki.sign(&rcgen::CertificateParams::new(names).unwrap());
    let policies = policy_host(identity, modes).port().to_string();
    let anchor = folder.file("root.key", &dns.anchor);
    let (resolver, port) = (dns.plain.to_string(), dns.mail.local_addr().unwrap().port());
    let config =
        "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"opportunistic\"\n";
    let more = ["--resolver", &resolver, "--trust-anchor", &anchor, "--policy-port", &policies];
    let running = start_with_roots(dns.pki.root_pem(), config, &more);
    let answers = running.ask(&[
        "QUERY sts-dane.secure.example",
        &format!("QUERY sts-dane.secure.example:{port}"),
        &format!("QUERY STS-dane.Secure.Example.:{port}"),
        "QUERY sts-dane.secure.example:submission",
    ]);
    let sts = "OK secure match=.secure.example servername=hostname";
    assert_eq!(answers, [sts, "OK dane-only", "OK dane-only", sts]);
}

#[test]
fn each_form_of_a_next_hop_is_answered_for_its_host() {
    let nowhere = refused().to_string();
    let config = connector("a", "posture = \"secure\"")
        + "[[outbound]]\nname = \"rest\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";
    let running = start(&config, &["--resolver", &nowhere]);
    for (next_hop, wanted) in [
        ("[a.example]", "OK secure match=nexthop:dot-nexthop"),
        ("[A.Example.]:submission", "OK secure match=nexthop:dot-nexthop"),
        ("[192.0.2.1]:587", "OK encrypt"),
        ("[ipv6:2001:db8::1]", "OK encrypt"),
        ("[IPv6:2001:db8::1]:25", "OK encrypt"),
        ("[2001:db8::1]:25", "OK encrypt"),
        ("inet:[127.0.0.1]:24", "OK encrypt"),
        ("unix:private/dovecot-lmtp", "OK may"),
        (".a.example", "NOTFOUND "),
        ("[a.example", "TEMP next hop [a.example: a bracket is not closed"),
        (
            "a.example:no-service",
            "TEMP next hop a.example:no-service: the service \"no-service\" is not known",
        ),
        ("\u{202e}\"a\"", "TEMP next hop \u{fffd}\"a\": "),
    ] {
        let answers = running.ask(&[&format!("QUERY {next_hop}")]);
        assert!(answers[0].starts_with(wanted), "{next_hop}: {answers:?}");
    }
}

#[test]
fn what_is_no_netstring_ends_the_connection_and_not_the_service() {
    let nowhere = refused().to_string();
    let config = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";
    let running = start(config, &["--resolver", &nowhere]);
    for rubbish in ["x", ":", "99999:", "5:abc", "3:abcd", "4:ab\u{fffd},"] {
        let mut stream = TcpStream::connect(running.address).unwrap();
        stream.write_all(rubbish.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rubbish}: {rest:?}");
    }
    assert_eq!(running.ask(&["QUERY [a.example]"]), ["OK encrypt"]);
}

/// Ten thousand questions on one connection have one answer each.
#[test]
fn many_questions_are_answered_from_what_is_kept() {
    let nowhere = refused().to_string();
    let config = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";
    let running = start(config, &["--resolver", &nowhere]);
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.set_nodelay(true).unwrap();
    for _ in 0..10_000 {
        assert_eq!(ask(&mut stream, "QUERY [a.example]"), "OK encrypt");
    }
}

#[test]
fn an_address_that_is_taken_ends_with_6() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";
    let config = folder.file("c.toml", config);
    let root = folder.file("root.pem", Pki::new().root_pem());
    let ran = smtp_tls(&["postfix", "--config", &config, "--listen", &address, "--ca", &root]);
    ran.fails(6, "in use");
}

/// A service has no reader of its output as a rule.
#[test]
fn the_service_goes_on_if_its_output_is_closed() {
    let folder = Folder::new();
    let config = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n";
    let config = folder.file("c.toml", config);
    let root = folder.file("root.pem", Pki::new().root_pem());
    let address = refused();
    let listen = address.to_string();
    let arguments = ["postfix", "--config", &config, "--listen", &listen, "--ca", &root];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command(&arguments).stdout(writer).spawn().unwrap();
    let mut running = Running { child, address, _folder: folder };
    while TcpStream::connect(address).is_err() {
        assert_eq!(running.child.try_wait().unwrap(), None, "the service has ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(running.ask(&["QUERY [a.example]"]), ["OK encrypt"]);
}
