//! TLS reports on their way out (RFC 8460): by HTTPS (feature `https`), and to a collector on this
//! host (feature `reports`).
//!
//! `smtp_tls_policy::tlsrpt` counts sessions and makes the reports of a day, and the mail that
//! carries one. A mail is sent as any other. What is left is here: a [`ReportClient`] sends a
//! report to a destination of scheme `https`, and a [`Collector`] hands each session to
//! `tlsrpt-collectd`, which makes the reports itself, as Postfix 3.10 does.

#[cfg(all(unix, feature = "reports"))]
mod collector;
#[cfg(feature = "https")]
mod post;

#[cfg(all(unix, feature = "reports"))]
pub use self::collector::Collector;
#[cfg(feature = "https")]
pub use self::post::{DEFAULT_POST_TIMEOUT, PostError, ReportClient};
