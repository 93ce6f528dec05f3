//! Certificates chosen by the client's hello, and replaced while connections come and go.

#[path = "common/certificates.rs"]
mod certificates;
mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use certificates::{client, ecdsa, leaf, rsa, shown, verifying};
use common::log::Log;
use common::{HOST, Pki, changed, connector, provider, send, smtp, start};
use rcgen::KeyPair;
use smtp_tls_policy::pki::CommonNames;
use smtp_tls_policy::rules::{IdentityId, Posture};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config, with_key_log_file};
use smtp_tokio_adapter::{
    CertificateFileError, IdentityFiles, Inbound, Outbound, ServerCertificates,
};

/// A folder of this test binary.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("identities").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a certificate for these names and its key into files of this name.
fn write(pki: &Pki, folder: &str, file: &str, names: &[&str], key: &KeyPair) -> IdentityFiles {
    certificates::write(pki, &self::folder(folder), file, names, key)
}

/// A listener with TLS from the first octet.
async fn listen(certificates: &ServerCertificates) -> common::Running {
    let tls =
        server_config(certificates.identities(), ClientCertificates::None, provider()).unwrap();
    start(changed(Inbound::new(Arc::new(smtp())), |it| {
        it.tls = Some(tls);
        it.implicit = true;
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_under_50_connections_fails_no_handshake_and_is_seen_at_once() {
    const CLIENTS: usize = 50;
    let pki = Arc::new(Pki::new());
    let files = write(&pki, "reload", "mx", &[HOST], &ecdsa());
    let before = leaf(&files);
    let certificates = ServerCertificates::load(vec![files.clone()], provider()).unwrap();
    let server = listen(&certificates).await;
    let (reloaded, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, address) = (client(&pki, provider()), server.address);
        let (reloaded, stop) = (Arc::clone(&reloaded), Arc::clone(&stop));
        let (seen, before) = (Arc::clone(&seen), before.clone());
        clients.spawn(async move {
            loop {
                let must_be_new = reloaded.load(Ordering::SeqCst);
                let shown = shown(&client, address, HOST).await.expect("a handshake");
                let is_new = shown != before;
                assert!(is_new || !must_be_new, "the old certificate after the reload");
                seen[usize::from(is_new)].fetch_add(1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) && must_be_new {
                    return;
                }
            }
        });
    }
    let until = async |index: usize| {
        while seen[index].load(Ordering::SeqCst) < CLIENTS {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    until(0).await;
    write(&pki, "reload", "mx", &[HOST], &ecdsa());
    certificates.reload().unwrap();
    reloaded.store(true, Ordering::SeqCst);
    let after = shown(&client(&pki, provider()), server.address, HOST).await.unwrap();
    assert_eq!(after, leaf(&files));
    until(1).await;
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn certificate_is_chosen_by_server_name_with_a_default() {
    let pki = Pki::new();
    let default = write(&pki, "sni", "default", &[HOST, "other.example"], &ecdsa());
    let exact = write(&pki, "sni", "exact", &["mx.b.example"], &ecdsa());
    let wild = write(&pki, "sni", "wild", &["*.b.example"], &ecdsa());
    let files = vec![default.clone(), wild.clone(), exact.clone()];
    let certificates = ServerCertificates::load(files, provider()).unwrap();
    let server = listen(&certificates).await;
    let client = client(&pki, provider());
    let shown = async |name| shown(&client, server.address, name).await;
    assert_eq!(shown(HOST).await.unwrap(), leaf(&default));
    assert_eq!(shown("mx.b.example").await.unwrap(), leaf(&exact));
    assert_eq!(shown("MX.B.Example").await.unwrap(), leaf(&exact));
    assert_eq!(shown("other.b.example").await.unwrap(), leaf(&wild));
    // The default is for another name, and so is the wildcard two labels up: the client objects.
    for name in ["unknown.example", "a.mx.b.example", "127.0.0.1"] {
        let error = shown(name).await.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
        assert!(error.contains("other.example"), "the default is shown: {error}");
    }
}

#[tokio::test]
async fn rsa_certificate_is_for_clients_that_know_no_ecdsa() {
    let pki = Pki::new();
    let ecdsa = write(&pki, "kinds", "ecdsa", &[HOST], &ecdsa());
    let rsa = write(&pki, "kinds", "rsa", &[HOST], &rsa());
    let certificates =
        ServerCertificates::load(vec![ecdsa.clone(), rsa.clone()], provider()).unwrap();
    let server = listen(&certificates).await;
    for (provider, files) in
        [(provider(), &ecdsa), (verifying(false), &ecdsa), (verifying(true), &rsa)]
    {
        let shown = shown(&client(&pki, provider), server.address, HOST).await.unwrap();
        assert_eq!(shown, leaf(files), "{}", files.key.display());
    }
    // Without a certificate that it can use, a client gets an alert.
    let only = ServerCertificates::load(vec![ecdsa], provider()).unwrap();
    let server = listen(&only).await;
    shown(&client(&pki, verifying(true)), server.address, HOST).await.unwrap_err();
}

#[tokio::test]
async fn failed_reload_keeps_the_certificates_and_says_so() {
    let (log, _guard) = Log::record();
    let pki = Pki::new();
    let files = write(&pki, "failing", "mx", &[HOST], &ecdsa());
    let (pem, key) = (&files.certificates, &files.key);
    let certificates = ServerCertificates::load(vec![files.clone()], provider()).unwrap();
    let server = listen(&certificates).await;
    let before = leaf(&files);
    let (good_pem, good_key) = (std::fs::read(pem).unwrap(), std::fs::read(key).unwrap());
    type Case<'a> =
        (&'a str, Option<&'a [u8]>, Option<&'a [u8]>, fn(&CertificateFileError) -> bool);
    let other = ecdsa().serialize_pem();
    let unknown = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let large = vec![b'x'; (1 << 20) + 1];
    let cases: [Case<'_>; 8] = [
        ("no file", None, Some(&good_key), |it| matches!(it, CertificateFileError::Read { .. })),
        ("no key file", Some(&good_pem), None, |it| {
            matches!(it, CertificateFileError::Read { .. })
        }),
        ("empty", Some(b""), Some(&good_key), |it| {
            matches!(it, CertificateFileError::NoCertificate { .. })
        }),
        ("half a file", Some(&good_pem[..good_pem.len() / 2]), Some(&good_key), |it| {
            matches!(it, CertificateFileError::Pem { .. })
        }),
        ("large", Some(&large), Some(&good_key), |it| {
            matches!(it, CertificateFileError::TooLarge { .. })
        }),
        ("no key", Some(&good_pem), Some(&good_pem), |it| {
            matches!(it, CertificateFileError::NoKey { .. })
        }),
        ("another key", Some(&good_pem), Some(other.as_bytes()), |it| {
            matches!(it, CertificateFileError::Mismatch { .. })
        }),
        ("unknown key", Some(&good_pem), Some(unknown.as_bytes()), |it| {
            matches!(it, CertificateFileError::Unusable { .. })
        }),
    ];
    let put = |path: &PathBuf, contents: Option<&[u8]>| match contents {
        Some(contents) => std::fs::write(path, contents).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    };
    for (index, (name, certificate, private, is_right)) in cases.into_iter().enumerate() {
        put(pem, certificate);
        put(key, private);
        let error = certificates.reload().unwrap_err();
        assert!(is_right(&error), "{name}: {error:?}");
        let folder = files.key.parent().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(folder), "{name}: {error}");
        let logged = log.with("those from before stay in use");
        assert_eq!(logged.len(), index + 1, "{name}: {logged:?}");
        assert!(logged[index].starts_with("ERROR"), "{logged:?}");
        assert!(logged[index].contains(&error.to_string()), "{logged:?}");
        let shown = shown(&client(&pki, provider()), server.address, HOST).await.unwrap();
        assert_eq!(shown, before, "{name}");
        put(pem, Some(&good_pem));
        put(key, Some(&good_key));
    }
    certificates.reload().unwrap();
}

#[tokio::test]
async fn replaced_client_identity_is_shown_in_the_next_handshake() {
    let (log, _guard) = Log::record();
    let pki = Pki::new();
    let files = write(&pki, "client", "us", &["first.example"], &ecdsa());
    let request = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(pki.identity(HOST), request, provider()).unwrap();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
    let tls = Arc::new(ClientTls::new(provider()));
    let outbound = Outbound::new("c.test.example".parse().unwrap(), provider(), pki.trust())
        .with_tls(Arc::clone(&tls));
    let id = IdentityId::new("us");
    outbound.load_identity(&id, &files).unwrap();
    assert_eq!(tls.identities(), std::slice::from_ref(&id));
    let by = changed(connector(Posture::Verified), |it| it.identity = Some(id.clone()));
    let deliver = async || {
        send(&outbound, server.address, &by, "\r\n").await;
        server.kept.leaves.lock().unwrap().last().cloned().unwrap()
    };
    let first = leaf(&files);
    assert_eq!(deliver().await, first);
    // The session is resumed, with the same identity.
    assert_eq!(deliver().await, first);

    write(&pki, "client", "us", &["second.example"], &ecdsa());
    outbound.load_identity(&id, &files).unwrap();
    assert_eq!(deliver().await, leaf(&files));
    assert_ne!(leaf(&files), first);

    let second = leaf(&files);
    std::fs::write(&files.key, "").unwrap();
    let error = outbound.load_identity(&id, &files).unwrap_err();
    assert!(matches!(error, CertificateFileError::NoKey { .. }), "{error:?}");
    assert_eq!(log.with("it stays in use").len(), 1);
    assert_eq!(deliver().await, second);
    assert_eq!(CommonNames::of(&second).issuer.as_deref(), Some("Test Root"));
}

const KEY_LOG: &str = "SSLKEYLOGFILE";

/// Run by the test below, in a process with the environment variable.
#[tokio::test]
async fn child_that_logs_keys() {
    let Ok(who) = std::env::var("TEST_LOGS_KEYS") else { return };
    let pki = Pki::new();
    let mut tls = pki.server_config(HOST);
    let mut client = ClientTls::new(provider());
    match who.as_str() {
        "server" => tls = with_key_log_file(&tls),
        "client" => client = client.with_key_log_file(),
        _ => {}
    }
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
    let outbound = common::outbound_with(&pki, client);
    let by = connector(Posture::Verified);
    let report = send(&outbound, server.address, &by, "\r\n").await;
    assert!(report.statuses()[0].to_string().starts_with("delivered"), "{report:?}");
}

#[test]
fn keys_are_logged_only_when_the_program_asks() {
    for (who, logs) in [("nothing", false), ("server", true), ("client", true)] {
        let file = folder("keys").join(format!("{who}.log"));
        let _ = std::fs::remove_file(&file);
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_logs_keys"])
            .env("TEST_LOGS_KEYS", who)
            .env(KEY_LOG, &file)
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let logged = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(logged.contains("CLIENT_TRAFFIC_SECRET_0"), logs, "{who}: {logged}");
    }
}
