//! TLS reports on their way out (RFC 8460): counted by several machines, sent by HTTPS (feature
//! `https`), or handed to a collector on this host (feature `reports`).
//!
//! `smtp_tls_policy::tlsrpt` counts sessions and makes the reports of a day, and the mail that
//! carries one. A mail is sent as any other. What is left is here: [`SharedCounts`] keeps the
//! counts in a [`Store`](crate::store::Store), so that they survive a restart and add up over
//! machines, and has one of the machines send each report; a `ReportClient` sends a report to a
//! destination of scheme `https`; and a `Collector` hands each session to `tlsrpt-collectd`, which
//! makes the reports itself, as Postfix 3.10 does.

#[cfg(all(unix, feature = "reports"))]
mod collector;
mod counts;
#[cfg(feature = "https")]
mod post;

#[cfg(all(unix, feature = "reports"))]
pub use self::collector::Collector;
pub use self::counts::{CLAIMED_FOR, COUNTS_KEPT_FOR, SETTLING, SharedCounts};
#[cfg(feature = "https")]
pub use self::post::{DEFAULT_POST_TIMEOUT, PostError, ReportClient};
