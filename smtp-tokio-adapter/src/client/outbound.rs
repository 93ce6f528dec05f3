//! What connections have in common, and what one is opened for.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use smtp_proto::client::ClientConfig;
#[cfg(doc)]
use smtp_proto::fallback::Fallback;
use smtp_proto::fallback::{TlsMode, TlsRules};
use smtp_proto::sasl::client::{Credentials, Floor};
use smtp_proto::wire::path::DomainBuf;
use smtp_tls_policy::Host;
use smtp_tls_policy::pki::TrustStore;
use smtp_tls_policy::plan::Plan;
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::tls::ClientTls;

use crate::convert;
use crate::lists::ListWatch;

/// What all connections of a sender have in common: name, time limits, TLS and trust. Cheap to
/// clone.
#[derive(Clone)]
pub struct Outbound {
    pub(crate) smtp: Arc<ClientConfig>,
    pub(crate) tls: Arc<ClientTls>,
    pub(crate) trust: Arc<dyn TrustStore>,
    pub(crate) connect_timeout: Duration,
    pub(crate) lists: Arc<ListWatch>,
}

impl Outbound {
    /// `name` is the name in EHLO: a domain that resolves to this host. Certificates are judged by
    /// `trust`, with the algorithms of `provider`. 30 seconds to connect.
    pub fn new(name: DomainBuf, provider: Arc<CryptoProvider>, trust: Arc<dyn TrustStore>) -> Self {
        Self {
            smtp: Arc::new(ClientConfig::new(name)),
            tls: Arc::new(ClientTls::new(provider)),
            trust,
            connect_timeout: Duration::from_secs(30),
            lists: Arc::default(),
        }
    }

    /// Changes how SMTP is spoken: time limits, LMTP, pipelining, and others.
    #[must_use]
    pub fn with_smtp(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(Arc::make_mut(&mut self.smtp));
        self
    }

    /// Uses this source of TLS configurations, for example one with client certificates.
    #[must_use]
    pub fn with_tls(self, tls: ClientTls) -> Self {
        Self { tls: Arc::new(tls), ..self }
    }

    /// Waits this long for a TCP connection. RFC 5321 names no limit; systems wait two minutes and
    /// more.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }
}

/// The host of one connection, and the rules for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its plan.
    pub plan: &'a Plan,
    /// The client certificate to show. None by default.
    pub identity: Option<&'a IdentityId>,
    /// What to authenticate with at this host, and at no other. None by default. Without success no
    /// mail is sent (RFC 4954, section 9). Unless they [allow clear text](Floor::Clear),
    /// credentials require TLS, whatever the plan says of it.
    pub credentials: Option<&'a Credentials>,
    /// TLS failed at this address, and [`after`](smtp_proto::fallback::after) has answered
    /// [`ReconnectPlaintext`](Fallback::ReconnectPlaintext). Off by default; without effect if the
    /// plan requires TLS.
    pub retry_in_clear: bool,
}

impl<'a> Target<'a> {
    /// A host with its plan: a first try, without client certificate and credentials.
    pub fn new(host: &'a Host, plan: &'a Plan) -> Self {
        Self { host, plan, identity: None, credentials: None, retry_in_clear: false }
    }
}

impl Target<'_> {
    /// Whether TLS is not even asked for.
    pub(crate) fn is_clear(&self) -> bool {
        self.rules().mode == TlsMode::Never
    }

    /// `retry_in_clear` never overrides a plan that requires TLS.
    pub(super) fn rules(&self) -> TlsRules {
        let rules = rules(self.plan, self.credentials);
        match rules.mode {
            TlsMode::Opportunistic if self.retry_in_clear => TlsRules::NEVER,
            TlsMode::Never | TlsMode::Opportunistic | TlsMode::Required => rules,
        }
    }
}

/// The rules of a plan, raised by what the credentials need.
pub(crate) fn rules(plan: &Plan, credentials: Option<&Credentials>) -> TlsRules {
    match credentials.map(|credentials| credentials.floor) {
        // S16: never in clear text, neither they nor the mail that they are for.
        Some(Floor::Authenticated | Floor::Encrypted) => {
            TlsRules { retry_plain_hello: false, ..TlsRules::REQUIRED }
        }
        Some(Floor::Clear) | None => convert::tls_rules(plan),
    }
}
