//! Settings that are read again while mail flows.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use smtp_proto::Secret;
use smtp_proto::route::RecipientStatus;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::sasl::server::{Answer as Verdict, Question, plain};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::RootsId;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{DialAttempt, Inbound, Session, Setup, serve};

use crate::certificates::{client, ecdsa, leaf, shown, write};
use crate::common::log::Log;
use crate::common::programs::Folder;
use crate::common::{HOST, Pki, Running, Taker, changed, envelope, provider, smtp, start};
use crate::listener::tables;
use crate::web::{Answer, Authority, SERIAL, Web};
use crate::{CONNECTOR, load, write_settings};

/// A server that asks clients for a certificate.
async fn server(pki: &Pki) -> Running {
    let asked = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(pki.identity(HOST), asked, provider()).unwrap();
    start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await
}

/// A connector that sends all mail to this server, and judges it by the set `ours`.
fn connector(server: SocketAddr, fields: &str) -> String {
    format!(
        "{CONNECTOR}names = [\"{HOST}\"]\nroots = \"ours\"\n{fields}\
         smart-host = {{ host = \"[127.0.0.1]\", port = {} }}\n",
        server.port()
    )
}

/// Sends a message, over one connection.
async fn send(setup: &Setup) -> (RecipientStatus, DialAttempt) {
    let message = Bytes::from("Subject: x\r\n\r\nx\r\n");
    let report = setup.sender.send(envelope(&["reader@test.example"]), &message).await;
    let [attempt] = &report.attempts[..] else { panic!("{report:?}") };
    (report.statuses()[0], attempt.clone())
}

#[tokio::test]
async fn reload_shows_new_certificates_and_a_broken_file_keeps_those_from_before() {
    let (log, _guard) = Log::record();
    let (folder, pki) = Folder::with_pki();
    let path = folder.path("");
    let files = write(&pki, &path, "mx", &[HOST], &ecdsa());
    write_settings(&folder, &tables(&["mx"]), CONNECTOR);
    let setup = load(&folder).await.unwrap();
    let server = start(changed(setup.inbound.clone(), |it| it.implicit = true)).await;
    let shows = async |name| shown(&client(&pki, provider()), server.address, name).await;
    let before = leaf(&files);
    assert_eq!(shows(HOST).await.unwrap(), before);

    write(&pki, &path, "mx", &[HOST], &ecdsa());
    let other = write(&pki, &path, "other", &["mx.other.example"], &ecdsa());
    write_settings(&folder, &tables(&["mx", "other"]), CONNECTOR);
    setup.reload().await.unwrap();
    let after = leaf(&files);
    assert_ne!(after, before);
    assert_eq!(shows(HOST).await.unwrap(), after);
    assert_eq!(shows("mx.other.example").await.unwrap(), leaf(&other));
    assert!(log.with("reload").is_empty());

    write(&pki, &path, "mx", &[HOST], &ecdsa());
    fs::write(&other.key, "").unwrap();
    let error = setup.reload().await.unwrap_err().to_string();
    assert!(error.contains("mail.toml: line 12, field certificate.key: "), "{error}");
    assert_eq!(shows(HOST).await.unwrap(), after, "all of them or none");
    let logged = log.with("what was loaded before stays in use");
    assert!(logged.len() == 1 && logged[0].contains(&error), "{logged:?}");
    assert!(logged[0].starts_with("ERROR") && logged[0].contains("certificates"), "{logged:?}");

    fs::remove_file(folder.path("mail.toml")).unwrap();
    let error = setup.reload().await.unwrap_err().to_string();
    assert!(error.contains("mail.toml: line 1: the file cannot be read"), "{error}");
    assert_eq!(shows(HOST).await.unwrap(), after);
}

#[tokio::test]
async fn fault_of_one_kind_of_files_stops_no_other_kind_and_all_faults_are_told() {
    let (folder, pki) = Folder::with_pki();
    let path = folder.path("");
    let files = write(&pki, &path, "mx", &[HOST], &ecdsa());
    let us = write(&pki, &path, "us", &["us.example"], &ecdsa());
    let identity = "[identities.us]\nchain = \"us.pem\"\nkey = \"us.key\"\n";
    let settings = tables(&["mx"]) + identity;
    write_settings(&folder, &settings, CONNECTOR);
    let setup = load(&folder).await.unwrap();
    let generation = || setup.trust.load().generation();
    let before = generation();
    setup.reload().await.unwrap();
    assert_eq!(generation(), before, "nothing has changed");

    fs::write(&files.key, "").unwrap();
    fs::write(folder.path("root.pem"), Pki::new().root_pem()).unwrap();
    let faults = setup.reload().await.unwrap_err();
    let fields = |faults: &smtp_tls_policy::rules::Faults<_>| {
        let field = |it: &smtp_tls_policy::rules::ConfigError| (it.line(), it.field().to_owned());
        faults.iter().map(field).collect::<Vec<_>>()
    };
    assert_eq!(fields(&faults), [(9, "certificate.key".to_owned())]);
    assert_ne!(generation(), before);

    fs::write(folder.path("root.pem"), "").unwrap();
    fs::write(&us.certificates, "").unwrap();
    let before = generation();
    let expected = [(6, "roots.public"), (11, "identities.us.chain"), (9, "certificate.key")];
    let expected = expected.map(|(line, field)| (line, field.to_owned()));
    assert_eq!(fields(&setup.reload().await.unwrap_err()), expected);
    assert_eq!(generation(), before);
    assert_eq!(setup.trust.load().roots(&RootsId::public()).len(), 1);
}

/// What a kept connection was judged by, or has shown, holds no longer.
#[tokio::test]
async fn kept_connection_is_reused_after_a_reload_unless_the_roots_or_its_identity_have_changed() {
    let (folder, pki) = Folder::with_pki();
    let path = folder.path("");
    let server = server(&pki).await;
    let us = write(&pki, &path, "us", &["us.example"], &ecdsa());
    let tables = "ours = \"ours.pem\"\n[identities.us]\nchain = \"us.pem\"\nkey = \"us.key\"\n";
    fs::write(folder.path("ours.pem"), pki.root_pem()).unwrap();
    write_settings(&folder, tables, &connector(server.address, "identity = \"us\"\n"));
    let setup = load(&folder).await.unwrap();
    let last = || -> CertificateDer<'static> {
        server.kept.leaves.lock().unwrap().last().unwrap().clone()
    };
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, false));
    let first = leaf(&us);
    assert_eq!(last(), first);
    setup.reload().await.unwrap();
    assert!(send(&setup).await.1.is_reused);

    write(&pki, &path, "us", &["us.example"], &ecdsa());
    setup.reload().await.unwrap();
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, false));
    assert_eq!(last(), leaf(&us));
    assert_ne!(last(), first);
    assert!(send(&setup).await.1.is_reused);

    // A file that cannot be used leaves everything as it is.
    let key = fs::read(&us.key).unwrap();
    fs::write(&us.key, "").unwrap();
    let error = setup.reload().await.unwrap_err().to_string();
    assert!(error.contains("mail.toml: line 10, field identities.us.key: "), "{error}");
    assert!(send(&setup).await.1.is_reused);
    fs::write(&us.key, key).unwrap();

    // The server's authority is trusted no more.
    fs::write(folder.path("ours.pem"), Pki::named("Other").root_pem()).unwrap();
    setup.reload().await.unwrap();
    let (status, attempt) = send(&setup).await;
    assert!(matches!(status, RecipientStatus::Deferred(_)), "{status}");
    assert!(!attempt.is_reused);
    assert_eq!(attempt.decision.reason, Reason::CertUnknownIssuer);
    fs::write(folder.path("ours.pem"), pki.root_pem()).unwrap();
    setup.reload().await.unwrap();
    assert_eq!(send(&setup).await.0, RecipientStatus::Delivered);
}

/// A server that takes mail from users with this password.
async fn authenticating(pki: &Pki, password: Arc<Mutex<&'static str>>) -> SocketAddr {
    let mut inbound = Inbound::new(Arc::new(changed(smtp(), |it| {
        it.mechanisms = vec![plain()];
        it.auth_required = true;
    })));
    inbound.tls = Some(pki.server_config(HOST));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = move |_: SocketAddr| {
        let password = Arc::clone(&password);
        let taker = Taker::new(|_: &Session| Response::fixed(250, (2, 0, 0), "taken"));
        taker.with_users(move |_: &Session, question| match question {
            Question::Password { user, password: said }
                if said == Secret::from(*password.lock().unwrap()) =>
            {
                Verdict::Accepted(user)
            }
            _ => Verdict::Refused,
        })
    };
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    address
}

#[tokio::test]
async fn reload_reads_the_password_of_a_smart_host_again() {
    let (folder, pki) = Folder::with_pki();
    let password = Arc::new(Mutex::new("pencil"));
    let address = authenticating(&pki, Arc::clone(&password)).await;
    let login = "[credentials.all]\nuser = \"relay\"\npassword-file = \"password\"\n";
    let tables = format!("ours = \"root.pem\"\n{login}");
    fs::write(folder.path("password"), "pencil\n").unwrap();
    write_settings(&folder, &tables, &connector(address, ""));
    let setup = load(&folder).await.unwrap();
    assert_eq!(send(&setup).await.0, RecipientStatus::Delivered);
    setup.reload().await.unwrap();
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, true));

    *password.lock().unwrap() = "eraser";
    fs::write(folder.path("password"), "eraser\n").unwrap();
    setup.reload().await.unwrap();
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, false));

    fs::remove_file(folder.path("password")).unwrap();
    let error = setup.reload().await.unwrap_err().to_string();
    assert!(error.contains("mail.toml: line 10, field credentials.all: "), "{error}");
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, true));

    write_settings(&folder, "ours = \"root.pem\"\n", &connector(address, ""));
    setup.reload().await.unwrap();
    assert_ne!(send(&setup).await.0, RecipientStatus::Delivered, "without credentials");

    // What the program has set itself is not the file's to take away.
    setup.sender.replace_credentials("all", Some(Credentials::password("relay", "eraser")));
    setup.reload().await.unwrap();
    assert_eq!(send(&setup).await.0, RecipientStatus::Delivered);
}

#[tokio::test]
async fn credentials_that_are_replaced_during_a_delivery_are_those_of_the_next_one() {
    let (folder, pki) = Folder::with_pki();
    let password = Arc::new(Mutex::new("pencil"));
    let address = authenticating(&pki, Arc::clone(&password)).await;
    write_settings(&folder, "ours = \"root.pem\"\n", &connector(address, ""));
    let setup = load(&folder).await.unwrap();
    let replace = |new: &'static str| {
        *password.lock().unwrap() = new;
        setup.sender.replace_credentials("all", Some(Credentials::password("relay", new)));
    };
    replace("pencil");
    let message = Bytes::from("Subject: x\r\n\r\nx\r\n");
    // The outcome is told while the delivery still goes on.
    let sending = setup.sender.send_with(envelope(&["reader@test.example"]), &message, &[], {
        let mut news = ["eraser"].into_iter();
        move |_, _| news.next().into_iter().for_each(replace)
    });
    assert_eq!(sending.await.recipients[0].status, RecipientStatus::Delivered);
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, false));
}

#[tokio::test]
async fn reload_that_takes_away_what_a_connector_names_is_refused() {
    let (folder, pki) = Folder::with_pki();
    let server = server(&pki).await;
    write(&pki, &folder.path(""), "us", &["us.example"], &ecdsa());
    let roots = "ours = \"root.pem\"\n";
    let identity = "[identities.us]\nchain = \"us.pem\"\nkey = \"us.key\"\n";
    let connector = connector(server.address, "identity = \"us\"\n");
    write_settings(&folder, &format!("{roots}{identity}"), &connector);
    let setup = load(&folder).await.unwrap();
    for (tables, expected) in [
        (
            identity,
            "connectors.toml: line 6, field outbound.roots: no roots with the name \"ours\"",
        ),
        (
            roots,
            "connectors.toml: line 7, field outbound.identity: no identity with the name \"us\"",
        ),
    ] {
        write_settings(&folder, tables, &connector);
        let error = setup.reload().await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
        assert_eq!(send(&setup).await.0, RecipientStatus::Delivered);
    }
}

#[tokio::test]
async fn fetched_revocation_list_survives_a_reload_of_the_roots() {
    let (folder, pki) = Folder::with_pki();
    let (root, web) = (Authority(pki), Web::start().await);
    let url = web.url("/1.crl");
    web.answer("/1.crl", Answer::List(root.list(1, &[SERIAL], (1, 25), &url)));
    let tls = |serial| {
        let leaf = root.leaf_of(serial, std::slice::from_ref(&url));
        server_config(leaf, ClientCertificates::None, provider()).unwrap()
    };
    let start =
        |serial| start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls(serial))));
    let (good, revoked) = (start(SERIAL + 1).await, start(SERIAL).await);
    let others = connector(good.address, "revocation = \"hard\"\n");
    let revoked = connector(revoked.address, "revocation = \"hard\"\n")
        .replace("\"all\"", "\"revoked\"")
        .replace("\"*\"", "\"revoked.example\"");
    fs::write(folder.path("ours.pem"), root.0.root_pem()).unwrap();
    write_settings(&folder, "ours = \"ours.pem\"\n", &(others + &revoked));
    let setup = load(&folder).await.unwrap();
    assert_eq!(send(&setup).await.0, RecipientStatus::Delivered);
    assert_eq!(web.requests(), 1);
    let pem = root.0.root_pem().to_owned() + Pki::named("Other").root_pem();
    fs::write(folder.path("ours.pem"), pem).unwrap();
    setup.reload().await.unwrap();
    assert_eq!(setup.trust.load().roots(&RootsId::new("ours")).len(), 2);
    let (status, attempt) = send(&setup).await;
    assert_eq!((status, attempt.is_reused), (RecipientStatus::Delivered, false));
    let message = Bytes::from("Subject: x\r\n\r\nx\r\n");
    let report = setup.sender.send(envelope(&["reader@revoked.example"]), &message).await;
    assert_eq!(report.attempts[0].decision.reason, Reason::CertRevoked);
    assert_eq!(web.requests(), 0, "the list is still there");
    assert_eq!(fs::read_dir(folder.path("lists")).unwrap().count(), 1);
}

#[tokio::test]
async fn changed_settings_that_a_reload_does_not_read_are_named_in_the_log() {
    let (log, _guard) = Log::record();
    let (folder, pki) = Folder::with_pki();
    write(&pki, &folder.path(""), "mx", &[HOST], &ecdsa());
    write_settings(&folder, "", CONNECTOR);
    let setup = load(&folder).await.unwrap();
    setup.reload().await.unwrap();
    assert!(log.with("").is_empty());
    write_settings(&folder, &tables(&["mx"]), &format!("{CONNECTOR}require-tls = true\n"));
    let text = fs::read_to_string(folder.path("mail.toml")).unwrap();
    fs::write(folder.path("mail.toml"), format!("port = 26\n{text}")).unwrap();
    setup.reload().await.unwrap();
    let logged = log.with("take effect when the program starts again");
    let [logged] = &logged[..] else { panic!("{logged:?}") };
    assert!(logged.starts_with("WARN"), "{logged}");
    assert!(logged.contains("settings=\"port, certificate, connectors\""), "{logged}");
}
