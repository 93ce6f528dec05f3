//! MTA-STS policies by HTTPS (feature `https`; RFC 8461, section 3.3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use rustls::crypto::CryptoProvider;
use smtp_tls_policy::pki::{LiveTrust, Revocation, RootsId};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{
    FETCH_TIMEOUT, Fetch, FetchError, MAX_BODY_LEN, PolicyText, WELL_KNOWN_PATH,
};
use smtp_tls_policy::{Domain, Host};

use crate::dialling::is_local;
use crate::http::{Answer, HttpsError, Tls, connect, exchange};
use crate::lookups::setup_error::SetupError;
use crate::lookups::{Lookups, PolicyFetch};

/// The port of HTTPS.
const PORT: u16 = 443;
/// Sent because some web servers refuse requests without it.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Fetches MTA-STS policies by HTTPS, under the limits of RFC 8461, section 3.3.
///
/// - The certificate of the policy host leads to a root of the set `public`, and has the host among
///   its DNS names. The Common Name never counts.
/// - Redirections are not followed, no proxy is used whatever the environment says, and nothing is
///   cached.
/// - At most 64 KiB of a policy are read, and 32 KiB of its header.
/// - One time limit covers everything from the look-up of the addresses to the last octet.
/// - The addresses of the policy host come from the resolver that [`Combined`] holds beside this
///   client. They are tried in turns, 250 ms after each other (RFC 8305).
///
/// - Every address of the policy host is connected to, private ones too, so that domains of your
///   own network can have policies. The owner of the domain names the host, as it names the MX
///   hosts; but nothing is sent to it beside a ClientHello until it has shown the certificate of
///   the policy host, which a service that is meant for others does not have.
///
/// What fails is a [`FetchError`], which knows its result type in a TLS report; the details go to
/// the log.
///
/// ```
/// use std::sync::Arc;
/// use smtp_tls_policy::pki::Trust;
/// use smtp_tls_policy::plan::DnsStatus;
/// use smtp_tokio_adapter::lookups::{Combined, PolicyClient, Zone};
///
/// let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
/// let dns = Zone::new(DnsStatus::Insecure); // or the resolver of the feature `dns`
/// let lookups = Combined::new(dns, PolicyClient::new(provider, Trust::webpki_roots())?);
/// # Ok::<(), smtp_tokio_adapter::lookups::SetupError>(())
/// ```
///
/// [`Combined`]: super::Combined
pub struct PolicyClient {
    tls: Tls,
    time_limit: Duration,
    port: u16,
}

/// Why a policy did not come, with what the log says of it.
enum Fault {
    Fetch(FetchError, String),
    /// A fault on this side.
    Local(String),
}

impl PolicyClient {
    /// A client with the algorithms of this provider, which trusts the set `public`. Revocation is
    /// checked as [`Revocation::default`] says; a fetch may take [`FETCH_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`SetupError::NoPublicRoots`]: that set is empty.
    pub fn new(
        provider: Arc<CryptoProvider>,
        trust: impl Into<Arc<LiveTrust>>,
    ) -> Result<Self, SetupError> {
        let trust = trust.into();
        if trust.load().roots(&RootsId::public()).is_empty() {
            return Err(SetupError::NoPublicRoots);
        }
        Ok(Self { tls: Tls::new(provider, trust), time_limit: FETCH_TIMEOUT, port: PORT })
    }

    /// Changes how revocation lists are used for policy hosts.
    #[must_use]
    pub fn with_revocation(mut self, revocation: Revocation) -> Self {
        self.tls.revocation = revocation;
        self
    }

    /// Gives up a fetch after this time. The sender sets [`FETCH_TIMEOUT`] whatever is set here.
    #[must_use]
    pub fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// Connects to another port than 443, for tests with a server of one's own.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    async fn get(&self, host: &Domain, dns: &impl Lookups) -> Result<PolicyText, Fault> {
        let unreachable = |error: String| Fault::Fetch(FetchError::Unreachable, error);
        let (ipv6, ipv4) = tokio::join!(dns.ipv6(host), dns.ipv4(host));
        // An address that this side could not look up may be one that answers.
        let is_unknown = [ipv6.status, ipv4.status].contains(&DnsStatus::Local);
        let stream = connect(ipv6.records, ipv4.records, self.port).await.map_err(|error| {
            match is_unknown || is_local(&error) {
                true => Fault::Local(error.to_string()),
                false => unreachable(format!("it cannot be connected to: {error}")),
            }
        })?;
        let stream = self.tls.handshake(&Host::Name(host.clone()), stream).await.map_err(
            |error| match error {
                HttpsError::Certificate(_) => {
                    Fault::Fetch(FetchError::Certificate, error.to_string())
                }
                HttpsError::Handshake(_) => unreachable(error.to_string()),
                HttpsError::Local(_) => Fault::Local(error.to_string()),
            },
        )?;
        let request = Request::get(WELL_KNOWN_PATH)
            .header(HOST, host.as_str())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "text/plain")
            .header(CONNECTION, "close")
            .body(Full::<Bytes>::default())
            .map_err(|error| Fault::Local(error.to_string()))?;
        let answer = exchange(stream, request, MAX_BODY_LEN)
            .await
            .map_err(|error| unreachable(format!("its answer is broken: {error}")))?;
        policy(&answer).map_err(|error| Fault::Fetch(error, error.to_string()))
    }
}

fn policy(answer: &Answer) -> Result<PolicyText, FetchError> {
    let mut types = answer.fields.get_all(CONTENT_TYPE).iter();
    // Of two types none counts.
    let content_type = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().ok(),
        (_, _) => None,
    };
    PolicyText::from_response(answer.status.as_u16(), content_type, &answer.body)
}

impl PolicyFetch for PolicyClient {
    async fn fetch<L: Lookups>(&self, fetch: &Fetch, dns: &L) -> Result<PolicyText, FetchError> {
        let host = fetch.host();
        let policy = tokio::time::timeout(self.time_limit, self.get(host, dns)).await;
        let timeout = || Fault::Fetch(FetchError::Timeout, "it took too long".to_owned());
        policy.unwrap_or_else(|_| Err(timeout())).map_err(|fault| match fault {
            Fault::Fetch(error, details) => {
                tracing::info!(%host, details, "no MTA-STS policy from the policy host");
                error
            }
            Fault::Local(details) => {
                tracing::error!(
                    %host,
                    details,
                    "no MTA-STS policy can be fetched because of a fault on this side"
                );
                FetchError::Local
            }
        })
    }
}
