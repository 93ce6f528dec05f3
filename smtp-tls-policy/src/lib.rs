//! Deterministic TLS for SMTP: what is known before dialling, plus what the peer shows, leads to
//! exactly one decision.
//!
//! This crate judges. It knows certificates and policies; it knows no sockets, no DNS, no clock and
//! no SMTP connection. Nothing in it does I/O, and equal inputs give equal answers. The one
//! exception is the module `tls` (feature `rustls`): rustls asks the system for the time, and a key
//! log is a file.
//!
//! # The order of decision
//!
//! Sending:
//!
//! 1. **Connector.** [`OutboundConnectors::find`] gives the rule for the recipient domain: the
//!    exact name, else the longest subdomain wildcard, else the default.
//! 2. **Facts.** Connector, next hop, host and how it was found, implicit TLS, and further demands,
//!    are put together as [`Facts`], once per host.
//! 3. **Plan.** [`plan()`] joins the sources. Each one has a floor, checks and fallback rules. The
//!    floor of the plan is the highest one, its checks are those of all sources, and of two
//!    fallback rules the stricter one holds: sources raise, none lowers, in whatever order they
//!    come. If the joined floor is above [`Floor::Plaintext`], checks of weight [`Weight::NotTls`]
//!    are only recorded, since the clear text to which they lead is not open any more. A
//!    [`Refusal`] means that the host must not be dialled.
//! 4. **Attempt.** The plan says whether TLS is tried ([`Plan::attempt`]) and when clear text may
//!    be used instead ([`Plan::yields`]). Under implicit TLS (RFC 8314), and above the floor
//!    Plaintext, never.
//! 5. **Handshake.** The signature of the handshake is verified at every floor, also where no
//!    certificate is checked: without that, anyone could replay a public certificate.
//! 6. **Verdict.** [`Plan::judge`] makes one finding per check. A PKIX check asks, in this order:
//!    is the chain within the limits; does it lead to one of the roots, with dates, purposes,
//!    constraints and signatures in order; is no certificate of it revoked; is it for one of the
//!    names. The weightiest failure decides: refused, or not TLS, or acceptable. A check that
//!    cannot be made because of a fault of this side, such as missing roots, is none of these: the
//!    mail is deferred, and never sent in clear text for it ([`Standing::LocalFault`]). A resumed
//!    session is judged again, because dates pass and lists change. What is trusted may change
//!    meanwhile ([`LiveTrust`]): a judgement uses one [`Trust`] from start to end. A raw public key
//!    in place of a certificate is judged by [`Plan::judge_raw_key`].
//! 7. **Reason.** Every ending has a [`Reason`] with a stable code, the side whose [`Fault`] it is,
//!    an SMTP status and a TLSRPT result type. [`explain`] makes it a sentence.
//! 8. **Report.** [`tlsrpt::Reporting`] records the result of a connection under each policy that
//!    was published for it. [`tlsrpt::Aggregate`] turns the results of a day into the reports that
//!    domains ask for.
//!
//! Receiving: the sender domain is known at MAIL only. [`admit_handshake`] refuses a client right
//! after the handshake if none of its MAIL commands could succeed; [`admit`](admit()) decides at
//! MAIL.
//!
//! Beside the decisions: [`inquiry`] says what to look up, [`sts`] finds and keeps MTA-STS
//! policies, [`BrokenPeers`](plan::BrokenPeers) knows peers whose TLS broke, [`trace`] reads what
//! the hops of a message say of TLS; with the feature `rustls`, `tls` has configurations, raw
//! public keys (RFC 7250) included, and with `serde`, `rules::Config` reads connectors from TOML.
//!
//! ```
//! use smtp_tls_policy::judge::Standing;
//! use smtp_tls_policy::pki::Trust;
//! use smtp_tls_policy::plan::{Attempt, HopEnding, Facts, HostOrigin, explain, plan};
//! use smtp_tls_policy::rules::{Floor, OutboundConnector, OutboundConnectors, Posture};
//! use smtp_tls_policy::{Host, Namespace, pki_types};
//!
//! let connectors = OutboundConnectors::new(vec![
//!     OutboundConnector::new("default", vec![Namespace::Default], Posture::Deterministic),
//! ])?;
//! let (next_hop, host) = (Host::parse("example.com")?, Host::parse("mx1.example.com")?);
//! let facts = Facts::new(connectors.find(&next_hop), &next_hop, &host, HostOrigin::Mx);
//! let plan = plan(&facts)?;
//! assert_eq!(plan.floor(), Floor::Plaintext);
//! assert_eq!(plan.attempt(), Attempt::StartTls);
//! assert_eq!(plan.because().to_string(), "posture deterministic of connector default");
//!
//! // The handshake shows a chain; here it shows none.
//! let trust = Trust::webpki_roots();
//! let verdict = plan.judge(&[], &trust, pki_types::UnixTime::now());
//! assert_eq!(verdict.standing(), Standing::NotTls);
//! assert_eq!(
//!     explain(&plan, HopEnding::ClearText, verdict.reason(), verdict.defect()),
//!     "clear text, because the peer showed no certificate (chain); \
//!      allowed by posture deterministic of connector default",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(doc)]
use crate::{
    judge::{Standing, admit, admit_handshake},
    pki::{LiveTrust, Trust},
    plan::{Facts, Plan, Refusal, explain, plan},
    rules::{Floor, OutboundConnectors, Weight},
};

mod dns_txt;
mod domain;
mod http_url;
pub mod inquiry;
pub mod judge;
pub mod pki;
pub mod plan;
mod reason;
mod record;
pub mod rules;
#[cfg(feature = "serde")]
mod serde;
pub mod sts;
#[cfg(feature = "rustls")]
pub mod tls;
pub mod tlsrpt;
pub mod trace;
mod visible;

pub use pki_types;

pub use dns_txt::{MAX_FIELD_NAME_LEN, TxtError};
pub use domain::{Domain, DomainError, Host, MAX_DOMAIN_LEN, MAX_LABEL_LEN, Namespace};
pub use http_url::{HttpUrl, HttpUrlError};
pub use reason::{Fault, Reason, ResultType, Status};
pub use record::UnreadableRecord;
pub use visible::{is_hidden, visible};
