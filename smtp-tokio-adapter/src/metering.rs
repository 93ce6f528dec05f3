//! What is counted and measured (feature `metrics`). Without the feature `metering_off.rs` is
//! compiled in place of this file.
//!
//! `METRICS.md` explains each metric; a test compares the page with [`METRICS`].

use std::time::Instant;

use metrics::Unit;
use smtp_proto::channel::TlsInfo;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::{DnsStatus, Ground, Plan};
use smtp_tls_policy::{Reason, sts};

/// The side of a connection on which a handshake ran.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Client,
    Server,
}

/// What a connection speaks after the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Channel {
    Tls,
    Clear,
    /// TLS was tried, and the connection carries no mail.
    Neither,
}

/// Where the connection of a delivery comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// No connection was kept for it.
    Opened,
    /// A kept connection carried it.
    Reused,
    /// A kept connection could not carry it, and a new one was opened.
    Replaced,
}

/// The limit of a pool by which a delivery is deferred.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PoolLimit {
    /// Too many deliveries wait.
    Waiting,
    /// The delivery has waited too long.
    Patience,
}

/// What a pool holds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
}

/// A metric of this crate, as a recorder gets it.
struct Metric {
    name: &'static str,
    kind: Kind,
    /// What it counts or measures.
    unit: Unit,
    /// One sentence about it.
    description: &'static str,
}

/// How the values of a metric add up.
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

const DECISIONS: &str = "smtp_tls_decisions_total";
const HANDSHAKES: &str = "smtp_tls_handshakes_total";
const HANDSHAKE_FAILURES: &str = "smtp_tls_handshake_failures_total";
const LOOKUPS: &str = "smtp_lookups_total";
const LOOKUP_SECONDS: &str = "smtp_lookup_duration_seconds";
const CONNECTIONS: &str = "smtp_server_connections";
const POOL_CONNECTIONS: &str = "smtp_pool_connections";
const POOL_IDLE: &str = "smtp_pool_idle_connections";
const POOL_WAITING: &str = "smtp_pool_waiting_deliveries";
const POOL_TURNS: &str = "smtp_pool_turns_total";
const POOL_REFUSALS: &str = "smtp_pool_refusals_total";
const LISTS: &str = "smtp_revocation_lists";
const LIST_AGE: &str = "smtp_revocation_list_age_seconds";
const LIST_EXPIRES: &str = "smtp_revocation_list_expires_seconds";
const CRLITE_LOADED: &str = "smtp_crlite_loaded";
const CRLITE_AGE: &str = "smtp_crlite_age_seconds";
const POLICIES: &str = "smtp_sts_policies";
const POLICY_AGE: &str = "smtp_sts_policy_age_seconds";

/// Every metric that this crate records.
const METRICS: &[Metric] = &[
    Metric {
        name: DECISIONS,
        kind: Kind::Counter,
        unit: Unit::Count,
        description: "Decisions about TLS on connections that were opened as a client",
    },
    Metric {
        name: HANDSHAKES,
        kind: Kind::Counter,
        unit: Unit::Count,
        description: "TLS handshakes that succeeded",
    },
    Metric {
        name: HANDSHAKE_FAILURES,
        kind: Kind::Counter,
        unit: Unit::Count,
        description: "TLS handshakes that failed or timed out",
    },
    Metric {
        name: LOOKUPS,
        kind: Kind::Counter,
        unit: Unit::Count,
        description: "Questions of deliveries to the DNS and to MTA-STS policy hosts",
    },
    Metric {
        name: LOOKUP_SECONDS,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        description: "How long the answer to a question took",
    },
    Metric {
        name: CONNECTIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "Connections that listeners serve now",
    },
    Metric {
        name: POOL_CONNECTIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "Connections of senders that are being opened, in use or idle",
    },
    Metric {
        name: POOL_IDLE,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "Connections of senders that are kept for further messages",
    },
    Metric {
        name: POOL_WAITING,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "Deliveries that wait for a connection",
    },
    Metric {
        name: POOL_TURNS,
        kind: Kind::Counter,
        unit: Unit::Count,
        description: "Deliveries that had their turn, by where their connection came from",
    },
    Metric {
        name: POOL_REFUSALS,
        kind: Kind::Counter,
        unit: Unit::Count,
        description: "Deliveries that were deferred by a limit of the pool",
    },
    Metric {
        name: LISTS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "Revocation lists that are loaded",
    },
    Metric {
        name: LIST_AGE,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        description: "Time since thisUpdate of the oldest loaded revocation list",
    },
    Metric {
        name: LIST_EXPIRES,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        description: "Time until the first nextUpdate of a loaded revocation list",
    },
    Metric {
        name: CRLITE_LOADED,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "Whether CRLite filters are loaded",
    },
    Metric {
        name: CRLITE_AGE,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        description: "Age of the loaded CRLite data",
    },
    Metric {
        name: POLICIES,
        kind: Kind::Gauge,
        unit: Unit::Count,
        description: "MTA-STS policies in the cache",
    },
    Metric {
        name: POLICY_AGE,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        description: "Time since the least recent fetch of a cached MTA-STS policy",
    },
];

/// Tells the recorder the unit and the description of each metric. Call it once, after the
/// recorder is installed.
pub fn describe_metrics() {
    for Metric { name, kind, unit, description } in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, *description),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, *description),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, *description),
        }
    }
}

impl Channel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Clear => "clear",
            Self::Neither => "none",
        }
    }
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Seconds from one time to another; negative if the second is earlier.
#[expect(clippy::cast_precision_loss, reason = "seconds fit, and gauges are floating-point")]
fn seconds(from: UnixTime, to: UnixTime) -> f64 {
    to.as_secs() as f64 - from.as_secs() as f64
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point")]
fn count(number: usize) -> f64 {
    number as f64
}

/// The decision about TLS on a connection as a client: what the connection speaks, and why.
pub(crate) fn decision(plan: &Plan, channel: Channel, reason: Reason) {
    let posture = plan.because().grounds().iter().find_map(|ground| match ground {
        Ground::Connector { posture, .. } => Some(posture.as_str()),
        _ => None,
    });
    let posture = posture.unwrap_or("none");
    let (channel, reason) = (channel.as_str(), reason.code());
    metrics::counter!(
        DECISIONS, "channel" => channel, "posture" => posture, "reason" => reason
    )
    .increment(1);
}

/// A handshake succeeded.
pub(crate) fn handshake(role: Role, tls: &TlsInfo) {
    metrics::counter!(
        HANDSHAKES,
        "role" => role.as_str(),
        "version" => tls.version,
        "group" => tls.group.unwrap_or("none")
    )
    .increment(1);
}

/// A handshake failed, or did not end in time.
pub(crate) fn handshake_failed(role: Role) {
    metrics::counter!(HANDSHAKE_FAILURES, "role" => role.as_str()).increment(1);
}

/// An answer whose outcome has a name.
pub(crate) trait Outcome {
    fn outcome(&self) -> &'static str;
}

impl Outcome for DnsStatus {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Bogus => "bogus",
            Self::Indeterminate => "indeterminate",
            Self::Failed => "failed",
            Self::Local => "local-fault",
        }
    }
}

impl<T> Outcome for DnsAnswer<T> {
    fn outcome(&self) -> &'static str {
        self.status.outcome()
    }
}

impl<T, E> Outcome for Result<T, E> {
    fn outcome(&self) -> &'static str {
        if self.is_ok() { "fetched" } else { "failed" }
    }
}

/// Waits for the answer to a question of a delivery, and counts it.
pub(crate) async fn lookup<T: Outcome>(
    question: &'static str,
    asking: impl Future<Output = T>,
) -> T {
    let asked = Instant::now();
    let answer = asking.await;
    metrics::histogram!(LOOKUP_SECONDS, "question" => question).record(asked.elapsed());
    metrics::counter!(LOOKUPS, "question" => question, "outcome" => answer.outcome()).increment(1);
    answer
}

/// A connection that a listener serves, until it is dropped.
pub(crate) struct Served(());

impl Served {
    pub(crate) fn begin() -> Self {
        metrics::gauge!(CONNECTIONS).increment(1);
        Self(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1);
    }
}

/// A pool has changed. The gauges have the sum of all pools of the process.
pub(crate) fn pool_changed(before: PoolCounts, after: PoolCounts) {
    let change = |name: &'static str, before: usize, after: usize| {
        if before != after {
            metrics::gauge!(name).increment(count(after) - count(before));
        }
    };
    change(POOL_CONNECTIONS, before.open, after.open);
    change(POOL_IDLE, before.idle, after.idle);
    change(POOL_WAITING, before.waiting, after.waiting);
}

/// A delivery has had its turn.
pub(crate) fn pool_turn(turn: Turn) {
    let connection = match turn {
        Turn::Opened => "opened",
        Turn::Reused => "reused",
        Turn::Replaced => "replaced",
    };
    metrics::counter!(POOL_TURNS, "connection" => connection).increment(1);
}

/// A delivery gets no connection.
pub(crate) fn pool_refused(limit: PoolLimit) {
    let limit = match limit {
        PoolLimit::Waiting => "waiting",
        PoolLimit::Patience => "patience",
    };
    metrics::counter!(POOL_REFUSALS, "limit" => limit).increment(1);
}

/// The ages of the lists of each set of roots.
pub(crate) fn lists(trust: &Trust, now: UnixTime) {
    for roots in trust.list_sets() {
        let lists = || trust.crls(roots);
        let set = roots.to_string();
        metrics::gauge!(LISTS, "roots" => set.clone()).set(count(lists().count()));
        if let Some(oldest) = lists().map(|list| list.this_update()).min() {
            metrics::gauge!(LIST_AGE, "roots" => set.clone()).set(seconds(oldest, now));
        }
        if let Some(first) = lists().map(|list| list.next_update()).min() {
            metrics::gauge!(LIST_EXPIRES, "roots" => set).set(seconds(now, first));
        }
    }
}

/// The age of the CRLite data, if CRLite is wanted at all.
pub(crate) fn crlite(trust: &Trust, now: UnixTime) {
    let Some(crlite) = trust.crlite() else { return };
    metrics::gauge!(CRLITE_LOADED).set(count(usize::from(crlite.made().is_some())));
    if let Some(made) = crlite.made() {
        metrics::gauge!(CRLITE_AGE).set(seconds(made, now));
    }
}

/// The number and the age of the cached MTA-STS policies.
pub(crate) fn policies(cache: &sts::Cache, now: UnixTime) {
    metrics::gauge!(POLICIES).set(count(cache.len()));
    let oldest = cache.policies().map(|cached| cached.fetched()).min();
    metrics::gauge!(POLICY_AGE).set(oldest.map_or(0.0, |fetched| seconds(fetched, now)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Kind, METRICS};

    /// `tests/metrics.rs` compares the labels, as they are recorded.
    #[test]
    fn page_has_exactly_the_metrics_of_the_code() {
        let page = include_str!("../METRICS.md");
        let rows = page.lines().filter(|line| line.starts_with("| `smtp_"));
        let row = |line: &'static str| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            Some((cells.next()?.trim_matches('`'), cells.next()?))
        };
        let kind = |kind: &Kind| match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let code: BTreeSet<_> = METRICS.iter().map(|it| (it.name, kind(&it.kind))).collect();
        assert_eq!(code.len(), METRICS.len(), "a name is there twice");
        assert_eq!(code, rows.map(|line| row(line).unwrap()).collect());
        for metric in METRICS {
            // In the table, and in its explanation.
            assert!(page.matches(&format!("`{}`", metric.name)).count() >= 2, "{}", metric.name);
        }
    }
}
