//! What was found of TLS and of certificates, for the output.

use pki_types::{CertificateDer, UnixTime};
use rustls::ProtocolVersion;
use serde::Serialize;
use smtp_tls_policy::pki::{CertificateSummary, ListStatus};
use smtp_tls_policy::rules::KeyGroup;
use smtp_tls_policy::trace::DateTime;
use smtp_tokio_adapter::revocation::FetchedList;

use super::observe::{Observed, Peer, Prober, version_name};

/// Versions that are tried one by one.
const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2];
/// Most groups that are tried one by one. With the two connections of a delivery and the one for
/// the other version a host is connected to at most nine times.
const MAX_GROUPS: usize = 6;

/// What the server does in TLS.
#[derive(Serialize)]
pub(crate) struct TlsFound {
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
    pub(crate) group: Option<&'static str>,
    /// Whether the key exchange resists quantum computers.
    pub(crate) post_quantum: bool,
    /// Each version, offered alone.
    pub(crate) versions: Vec<VersionFound>,
    /// Each key exchange group, offered alone.
    pub(crate) groups: Vec<GroupFound>,
}

#[derive(Serialize)]
pub(crate) struct VersionFound {
    pub(crate) version: &'static str,
    /// Whether the server takes it; `None` if it cannot be told.
    pub(crate) taken: Option<bool>,
    pub(crate) cipher: Option<&'static str>,
}

#[derive(Serialize)]
pub(crate) struct GroupFound {
    pub(crate) group: String,
    pub(crate) post_quantum: bool,
    /// Whether the server takes it; `None` if it cannot be told.
    pub(crate) taken: Option<bool>,
}

impl TlsFound {
    /// Tries each version and each group that the first connection has not shown already; `None` if
    /// there was no TLS.
    pub(crate) async fn of(prober: &Prober, peer: Peer<'_>, observed: &Observed) -> Option<Self> {
        let (version, cipher, group) = observed.tls?;
        let mut versions = Vec::new();
        for each in VERSIONS {
            let name = version_name(each);
            let taken = match name {
                _ if name == version => Some(Some(cipher)),
                // The server chose the older version, although both were offered.
                "TLSv1.3" => Some(None),
                _ => prober.takes_version(peer, each).await,
            };
            let (taken, cipher) = (taken.map(|it| it.is_some()), taken.flatten());
            versions.push(VersionFound { version: name, taken, cipher });
        }
        let mut groups = Vec::new();
        let all: Vec<String> =
            prober.provider.kx_groups.iter().map(|it| format!("{:?}", it.name())).collect();
        for name in all.into_iter().take(MAX_GROUPS) {
            let taken = match group == Some(&*name) {
                true => Some(true),
                false => prober.takes_group(peer, &name).await,
            };
            groups.push(GroupFound { post_quantum: is_post_quantum(&name), group: name, taken });
        }
        let post_quantum = group.is_some_and(is_post_quantum);
        Some(Self { version, cipher, group, post_quantum, versions, groups })
    }
}

fn is_post_quantum(group: &str) -> bool {
    KeyGroup::post_quantum().any(|it| it.as_str() == group)
}

/// Whether the server takes something, in words.
pub(crate) fn taken(taken: Option<bool>) -> &'static str {
    match taken {
        Some(true) => "taken",
        Some(false) => "not taken",
        None => "cannot be told",
    }
}

/// One certificate of the chain.
#[derive(Serialize)]
pub(crate) struct CertificateFound {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    pub(crate) key: String,
    /// Where its revocation lists are.
    pub(crate) lists: Vec<String>,
    /// What the loaded lists say, in one word.
    pub(crate) list_status: &'static str,
    /// The same in words.
    pub(crate) list_finding: String,
    pub(crate) pin: Option<String>,
}

impl CertificateFound {
    pub(crate) fn new(
        certificate: &CertificateDer<'_>,
        list: ListStatus,
        fetched: &[FetchedList],
    ) -> Self {
        let date = |time: UnixTime| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            DateTime::new(seconds, 0).map_or_else(String::new, |date| date.to_string())
        };
        let mut found = Self {
            subject: "a certificate that cannot be read".to_owned(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: String::new(),
            not_after: String::new(),
            key: String::new(),
            lists: Vec::new(),
            list_status: list.code(),
            list_finding: list.to_string(),
            pin: None,
        };
        let Some(it) = CertificateSummary::of(certificate) else { return found };
        (found.subject, found.issuer, found.names) = (it.subject, it.issuer, it.names);
        (found.not_before, found.not_after) = (date(it.not_before), date(it.not_after));
        (found.key, found.lists) = (it.key, it.lists);
        found.pin = it.pin.map(|pin| pin.to_string());
        let failed = fetched.iter().filter(|it| found.lists.contains(&it.url));
        for error in failed.filter_map(|it| it.outcome.as_ref().err()) {
            found.list_finding = format!("{}: {error}", found.list_finding);
        }
        found
    }
}
