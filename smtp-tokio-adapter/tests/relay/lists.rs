//! Revocation lists that the relay fetches, because the certificates of its next hops name them.

use rcgen::{CertificateParams, CrlDistributionPoint, SerialNumber};
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::Inbound;
use std::sync::Arc;

use crate::Relay;
use crate::common::programs::{Folder, wait_until};
use crate::common::{HOST, Running, changed, provider, smtp, start};
use crate::queue::{submit, to};
use crate::web::{Answer, Authority, SERIAL, Web};

/// A server whose certificate has this serial number and names this list.
async fn server(root: &Authority, serial: u64, list: &str) -> Running {
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![list.to_owned()] }];
    let tls = server_config(root.0.sign(&params), ClientCertificates::None, provider()).unwrap();
    start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_fetches_the_list_that_a_chain_names_and_refuses_the_revoked_certificate() {
    let (folder, pki) = Folder::with_pki();
    let (root, web) = (Authority(pki), Web::start().await);
    let url = web.url("/1.crl");
    web.answer("/1.crl", Answer::List(root.list(1, &[SERIAL], (1, 25), &url)));
    let (revoked, good) =
        (server(&root, SERIAL, &url).await, server(&root, SERIAL + 1, &url).await);
    let rules = format!(
        "posture = \"verified\"\nroots = \"ours\"\nrevocation = \"hard\"\nnames = [\"{HOST}\"]"
    );
    let connectors = to("revoked", "*", revoked.address, &rules)
        + &to("good", "good.example", good.address, &rules);
    let resolver = "resolver = \"127.0.0.1:9\"\n";
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, resolver);
    submit(relay.address(), "a@client.example", &["b@revoked.example", "c@good.example"]);
    wait_until("the good host has it", || good.kept.messages.lock().unwrap().len() == 1);
    assert_eq!(folder.files("queue", "mail").len(), 1);
    assert_eq!(web.requests(), 1, "both hosts wait for one fetch");
    let refused = |line: &&String| line.contains("reason=\"cert-revoked\"");
    wait_until("the decision", || relay.page().iter().any(|line| refused(&line)));
    drop(relay);

    // The list is on the disk: the next run fetches nothing, and decides the same.
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, resolver);
    wait_until("the decision", || relay.page().iter().any(|line| refused(&line)));
    submit(relay.address(), "a@client.example", &["c@good.example"]);
    wait_until("the good host has it", || good.kept.messages.lock().unwrap().len() == 2);
    assert_eq!(web.requests(), 0);
    assert!(revoked.kept.messages.lock().unwrap().is_empty());
}
