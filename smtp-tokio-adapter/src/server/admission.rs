//! Whether a client may send mail, by the inbound connectors of a listener.

use std::sync::Arc;

use smtp_proto::wire::path::ReversePath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::Domain;
use smtp_tls_policy::judge::{admit, admit_handshake};
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::Refusal;
use smtp_tls_policy::rules::InboundConnectors;

use crate::server::handler::Session;

/// The inbound connectors of a listener, and the trust by which client certificates are judged: for
/// [`Inbound::admission`](crate::Inbound::admission).
///
/// The server must ask its clients for certificates if a connector needs them
/// ([`asks_for_certificate`](InboundConnectors::asks_for_certificate)), and may have limits in
/// common with all of them ([`tls_limits`](InboundConnectors::tls_limits)).
#[derive(Clone)]
pub struct Admission {
    connectors: Arc<InboundConnectors>,
    trust: Arc<LiveTrust>,
}

impl Admission {
    /// Judges by these connectors and this trust.
    pub fn new(connectors: Arc<InboundConnectors>, trust: impl Into<Arc<LiveTrust>>) -> Self {
        Self { connectors, trust: trust.into() }
    }

    /// What every command of a client gets that has TLS now and whose mail no connector can take.
    pub(super) fn after_handshake(&self, session: &Session) -> Option<Response> {
        let now = UnixTime::now();
        admit_handshake(&self.connectors, &session.client_chain, &self.trust.load(), now)
            .err()
            .map(|refusal| response(session, &refusal))
    }

    /// What MAIL gets if the connector of the sender's domain refuses the client.
    pub(super) fn at_mail(&self, session: &Session, path: &ReversePath<'_>) -> Option<Response> {
        let domain = path.mailbox().and_then(|it| Domain::parse(it.domain().as_str()).ok());
        admit(
            self.connectors.find(domain.as_ref()),
            session.shown_tls(),
            &session.client_chain,
            &self.trust.load(),
            UnixTime::now(),
        )
        .err()
        .map(|refusal| response(session, &refusal))
    }
}

fn response(session: &Session, refusal: &Refusal) -> Response {
    tracing::info!(peer = ?session.peer, %refusal, "client refused");
    let status = refusal.status();
    let status = (status.class, status.subject, status.detail);
    // The text begins with code and status, which the reply has already.
    let whole = refusal.to_string();
    let text = whole.split_once(": ").map_or(&*whole, |(_, text)| text).to_owned();
    Response::new(refusal.code(), status, text)
}
