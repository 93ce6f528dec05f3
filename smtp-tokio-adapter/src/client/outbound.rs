//! What connections have in common, and what one is opened for.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::client::ClientConfig;
#[cfg(doc)]
use smtp_proto::fallback::Fallback;
use smtp_proto::fallback::{TlsMode, TlsRules};
use smtp_proto::sasl::client::{Credentials, Floor};
use smtp_tls_policy::Host;
use smtp_tls_policy::pki::TrustStore;
use smtp_tls_policy::plan::Plan;
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::tls::ClientTls;

use crate::convert;

/// What all deliveries of a sender have in common. Cheap to share.
#[derive(Clone)]
pub struct Outbound {
    /// Name and time limits.
    pub smtp: Arc<ClientConfig>,
    /// TLS configurations, one for each plan and identity.
    pub tls: Arc<ClientTls>,
    /// Roots and CRLs.
    pub trust: Arc<dyn TrustStore>,
    /// How long a TCP connection may take to come up. RFC 5321 names no limit; systems wait two minutes and more.
    pub connect_timeout: Duration,
}

impl Outbound {
    /// Everything at its default: 30 seconds to connect.
    pub fn new(smtp: Arc<ClientConfig>, tls: Arc<ClientTls>, trust: Arc<dyn TrustStore>) -> Self {
        Self { smtp, tls, trust, connect_timeout: Duration::from_secs(30) }
    }
}

/// Whom to speak to, and under which rules.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its plan.
    pub plan: &'a Plan,
    /// The client certificate to show.
    pub identity: Option<&'a IdentityId>,
    /// What to authenticate with: this host's, and nobody else's. Without success no mail is sent (RFC 4954, 9). Unless they
    /// [allow clear text](Floor::Clear), TLS is required then, whatever the plan says of it.
    pub credentials: Option<&'a Credentials>,
    /// This connection takes the place of one whose TLS failed, and [`after`](smtp_proto::fallback::after) has answered
    /// [`ReconnectPlaintext`](Fallback::ReconnectPlaintext). Without effect where the plan requires TLS.
    pub retry_in_clear: bool,
}

impl Target<'_> {
    /// Whether TLS is not even asked for.
    pub(crate) fn is_clear(&self) -> bool {
        self.rules().mode == TlsMode::Never
    }

    /// Whoever asks for clear text, a plan that requires TLS keeps its rules.
    pub(super) fn rules(&self) -> TlsRules {
        let rules = rules(self.plan, self.credentials);
        match rules.mode {
            TlsMode::Opportunistic if self.retry_in_clear => TlsRules::NEVER,
            TlsMode::Never | TlsMode::Opportunistic | TlsMode::Required => rules,
        }
    }
}

/// The rules of a plan for somebody with these credentials.
pub(crate) fn rules(plan: &Plan, credentials: Option<&Credentials>) -> TlsRules {
    match credentials.map(|credentials| credentials.floor) {
        // S16: never in clear text, neither they nor the mail that they are for.
        Some(Floor::Authenticated | Floor::Encrypted) => {
            TlsRules { retry_plain_hello: false, ..TlsRules::REQUIRED }
        }
        Some(Floor::Clear) | None => convert::tls_rules(plan),
    }
}
