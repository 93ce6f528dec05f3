//! Warnings and errors for authors and administrators.

mod common;

use std::sync::Arc;

use common::log::Log;
use common::{HOST, Pki, changed, connector, provider, send, smtp, start};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::pki::{LiveTrust, RootsId};
use smtp_tls_policy::rules::Posture;
use smtp_tokio_adapter::{Handler, Inbound, Outbound, Session, handle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Gives one answer that its command does not allow.
struct Wrong(&'static str);

impl Wrong {
    fn answer(&self, command: &str, right: u16) -> Response {
        let code = if self.0 == command { 399 } else { right };
        Response::new(code, ((code / 100) as u8, 0, 0), "as told")
    }
}

impl Handler for Wrong {
    async fn connected(&mut self, _: &Session) -> Response {
        self.answer("the greeting", 220)
    }
    async fn hello(&mut self, _: &Session) -> Response {
        self.answer("EHLO", 250)
    }
    async fn mail(&mut self, _: &Session, _: ReversePath<'_>, _: MailParameters<'_>) -> Response {
        self.answer("MAIL", 250)
    }
    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        self.answer("RCPT", 250)
    }
    async fn data(&mut self, _: &Session) -> Response {
        self.answer("DATA", 354)
    }
    async fn body(&mut self, _: Runs<'_>) {}
    async fn end_of_body(&mut self, _: &Session) -> Response {
        self.answer("the end of the message", 250)
    }
    async fn other(&mut self, _: &Session, _: Command<'_>) -> Response {
        self.answer("VRFY", 252)
    }
}

#[tokio::test]
async fn wrong_answer_of_a_handler_is_an_error_that_names_its_command() {
    let commands =
        ["the greeting", "EHLO", "VRFY", "MAIL", "RCPT", "DATA", "the end of the message"];
    for command in commands {
        let (log, _guard) = Log::record();
        let (mut ours, theirs) = tokio::io::duplex(1 << 12);
        let (_leave, leaving) = watch::channel(false);
        let inbound = Inbound::new(Arc::new(smtp()));
        let script = "EHLO c.example\r\nVRFY x\r\nMAIL FROM:<>\r\nRCPT TO:<r@test.example>\r\n\
                      DATA\r\n\r\n.\r\nQUIT\r\n";
        ours.write_all(script.as_bytes()).await.unwrap();
        ours.shutdown().await.unwrap();
        handle(&inbound, Wrong(command), theirs, None, leaving).await;
        let mut said = String::new();
        ours.read_to_string(&mut said).await.unwrap();
        assert!(said.contains("421 4.3.0 internal error"), "{command}: {said}");
        let errors = log.with("ERROR");
        assert_eq!(errors.len(), 1, "{command}: {errors:?}");
        assert!(errors[0].contains(&format!("command={command:?}")), "{errors:?}");
        assert!(errors[0].contains("code 399"), "{errors:?}");
    }
}

#[tokio::test]
async fn list_without_a_known_issuer_is_warned_about_once_for_each_change() {
    let (log, _guard) = Log::record();
    let (pki, stranger) = (Pki::new(), Pki::named("Stranger"));
    let trust = Arc::new(LiveTrust::new(pki.trust()));
    let public = RootsId::public();
    trust.update(|it| it.add_crl_der(&public, &pki.crl(1, &[]))).unwrap();
    let server =
        start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(pki.server_config(HOST))))
            .await;
    let outbound = Outbound::new("c.test.example".parse().unwrap(), provider(), trust.clone());
    let by = connector(Posture::Verified);
    let deliver = || send(&outbound, server.address, &by, "\r\n");
    let warnings = || log.with("revocation list has no effect");

    deliver().await;
    assert_eq!(warnings(), Vec::<String>::new(), "the list of the root");

    trust.update(|it| it.add_crl_der(&public, &stranger.crl(1, &[]))).unwrap();
    deliver().await;
    deliver().await;
    assert_eq!(warnings().len(), 1, "{:?}", warnings());
    assert!(warnings()[0].starts_with("WARN"), "{:?}", warnings());
    assert!(warnings()[0].contains("roots=public"), "{:?}", warnings());
    assert!(warnings()[0].contains("CN=Stranger"), "{:?}", warnings());

    // Another change: the first stranger is named once only.
    trust.update(|it| it.add_crl_der(&public, &Pki::named("Another").crl(1, &[]))).unwrap();
    deliver().await;
    assert_eq!(warnings().len(), 2, "{:?}", warnings());
    assert!(warnings()[1].contains("CN=Another"), "{:?}", warnings());
}
