//! Where revocations come from: lists that judged chains name, and CRLite filters.
//!
//! # Fetched lists
//!
//! Feature `crl-fetch`. Certificates name the lists of their issuer by URLs. Judgements record them
//! ([`Trust::wanted`](smtp_tls_policy::pki::Trust::wanted)); a `CrlFetcher` fetches those that are
//! due, keeps them on disk, and puts them into the `LiveTrust` without a pause for the handshakes
//! that run. A list is fetched again when three quarters of its life are over.
//!
//! Of the URLs of a list each is tried until one brings a newer list that is signed by the right
//! key and has not expired. A list that has expired already is refused unless it replaces one, and
//! a list that no judgement has named for two weeks is dropped when it expires, with its file:
//! certificates that pass without a list would fail because of it. If there is no room for another
//! list in memory, such a list goes before it expires. Lists that an administrator
//! loaded stay, and so does a fetched list that is still wanted: when they expire, the rule of the
//! connector says so.
//!
//! # First contact
//!
//! What happens before a list is there is for the connector's
//! [`Revocation`](smtp_tls_policy::pki::Revocation). `soft` and `if-configured` let the mail pass,
//! and the list is fetched for the next judgement. `hard` refuses the certificate, and so does
//! `if-configured` when the list that is loaded has expired: then a delivery whose
//! [`Outbound`](crate::Outbound) has the fetcher waits for the list, at most as long as the
//! connector says ([`list_wait`](smtp_tls_policy::rules::OutboundConnector::list_wait)), and
//! connects again. Deliveries that want the same list wait for one fetch. If the list does not
//! come in time, the mail is deferred with 4.3.5, and the fetch goes on for the next attempt. A
//! list that could not be fetched a short while ago is not waited for. A missing list never leads
//! to clear text.
//!
//! A client certificate on the receiving side is judged without a wait: `hard` answers 451, and
//! the list is there when the client comes again.
//!
//! ```
//! # #[cfg(feature = "crl-fetch")]
//! # fn example(outbound: smtp_tokio_adapter::Outbound) -> smtp_tokio_adapter::Outbound {
//! use std::sync::Arc;
//! use smtp_tls_policy::pki::{LiveTrust, Trust};
//! use smtp_tokio_adapter::revocation::CrlFetcher;
//!
//! let trust = Arc::new(LiveTrust::new(Trust::webpki_roots())); // shared with `Outbound`
//! let fetcher = CrlFetcher::new(Arc::clone(&trust)).with_directory("crls");
//! let outbound = outbound.with_crl_fetcher(fetcher.clone());
//! tokio::spawn(async move { fetcher.run().await });
//! # outbound
//! # }
//! ```
//!
//! # CRLite
//!
//! Feature `crlite`. CRLite filters say of every certificate that the public authorities have
//! issued to hosts whether it is revoked, some 10 MB for all of them. Mozilla makes them several
//! times a day; the program `upki` of the rustls project fetches them. What list and filter say
//! together is rule S11d of the policy crate.
//!
//! One cache serves all programs of a machine. Let the system run `upki fetch` every two hours (see
//! its `PACKAGING.md`), and give the folder `revocation` of its `cache-dir` to a `CrliteLoader`,
//! such as `/var/cache/upki/revocation`. The loader reads the manifest and its filters into memory,
//! in a thread of its own, and puts them into the `LiveTrust`; it looks every minute whether the
//! manifest has changed. A handshake reads memory only.
//!
//! - Every file must have the length and the digest that the manifest lists. If one is missing or
//!   damaged, the filters that are loaded stay, and the log says so as an error: filters count
//!   together, because a newer one holds only what was revoked since the one before.
//! - The data is as old as the manifest, or as the newest SCT that the filters cover, if that is
//!   older. Data of more than ten days clears no certificate ([`DEFAULT_CRLITE_MAX_AGE`]), and what
//!   it revokes stays revoked.
//! - Until filters are loaded the source has no data: findings say so, and the connector's rule
//!   decides.
//! - Filters know certificates of hosts. Under `hard` the authorities of a chain still need lists,
//!   so let a `CrlFetcher` fetch those.
//!
//! The crate `upki` itself is not used, only `clubcard-crlite`, which reads a filter: the `Store`
//! of `upki` opens and parses its files in every check, which would block a handshake, and it needs
//! a second rustls-webpki. `clubcard-crlite` and `clubcard` have the licence MPL-2.0, which is a
//! duty only towards their own files; a program without the feature does not contain them.
//!
//! [`DEFAULT_CRLITE_MAX_AGE`]: smtp_tls_policy::pki::DEFAULT_CRLITE_MAX_AGE
//!
//! ```
//! # #[cfg(feature = "crlite")]
//! # fn example() -> std::sync::Arc<smtp_tls_policy::pki::LiveTrust> {
//! use std::sync::Arc;
//! use smtp_tls_policy::pki::{LiveTrust, Trust};
//! use smtp_tokio_adapter::revocation::CrliteLoader;
//!
//! let trust = Arc::new(LiveTrust::new(Trust::webpki_roots())); // shared with `Outbound`
//! let loader = CrliteLoader::new(Arc::clone(&trust), "/var/cache/upki/revocation");
//! tokio::spawn(async move { loader.run().await });
//! # trust
//! # }
//! ```

#[cfg(feature = "crlite")]
mod crlite;
#[cfg(feature = "crl-fetch")]
mod fetcher;
#[cfg(feature = "crl-fetch")]
mod fetching;
#[cfg(feature = "crl-fetch")]
mod http;
#[cfg(feature = "crl-fetch")]
mod store;

#[cfg(feature = "crlite")]
pub use crlite::{
    CrliteError, CrliteLoaded, CrliteLoader, DEFAULT_CRLITE_INTERVAL, DEFAULT_MAX_CRLITE_LEN,
    MAX_CRLITE_FILTERS,
};
#[cfg(feature = "crl-fetch")]
pub use fetcher::{
    CrlFetcher, DEFAULT_FETCH_TIMEOUT, DEFAULT_INTERVAL, DEFAULT_MAX_LIST_LEN, DEFAULT_MAX_MEMORY,
    FetchedList,
};
#[cfg(feature = "crl-fetch")]
pub use http::CrlFetchError;
