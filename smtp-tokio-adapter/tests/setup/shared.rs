//! Hosts that share a store on a server.

use std::sync::Arc;

use bytes::Bytes;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smtp_proto::route::RecipientStatus;
use smtp_tokio_adapter::{Inbound, Setup};

use crate::common::programs::Folder;
use crate::common::{Running, changed, envelope, provider, smtp, start};
use crate::load;
use crate::places::Redis;
use crate::store::write;

/// A server without a certificate, which breaks every handshake.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

async fn server() -> Running {
    let builder = rustls::ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let tls = builder.with_cert_resolver(Arc::new(NoCertificate));
    start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(Arc::new(tls)))).await
}

/// The setup of one host, which sends all mail to this server.
async fn host(server: &Running, store: &str) -> (Folder, Setup) {
    let (folder, _) = Folder::with_pki();
    write(&folder, store, server.address.port());
    let setup = load(&folder).await.unwrap();
    (folder, setup)
}

/// Whether a message goes in clear text on the first connection, without a handshake that breaks.
async fn knows_the_server(setup: &Setup) -> bool {
    let message = Bytes::from("Subject: x\r\n\r\nx\r\n");
    let report = setup.sender.send(envelope(&["reader@test.example"]), &message).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    report.attempts.len() == 1
}

#[tokio::test]
async fn hosts_with_one_store_share_what_they_remember() {
    let Some(redis) = Redis::start(None).await else { return };
    let server = server().await;
    let store = format!("store = \"redis://127.0.0.1:{}\"", redis.port);
    let (folder, first) = host(&server, &store).await;
    assert!(!knows_the_server(&first).await);
    let (_second_folder, second) = host(&server, &store).await;
    assert!(knows_the_server(&second).await, "the first one has told that TLS is broken");
    assert!(!folder.path("policies").exists());

    let (_third_folder, third) = host(&server, "").await;
    assert!(!knows_the_server(&third).await);
}
