//! What the tests of fetched lists begin with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};
use smtp_tls_policy::pki::{LiveTrust, Revocation, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason};
use smtp_tokio_adapter::revocation::CrlFetcher;
use smtp_tokio_adapter::test_kit::Pki;

use crate::common::HOST;
use crate::web::{Answer, Authority, Web};

/// A certificate that names a list, the server of the list, and the trust by which it is judged.
pub(crate) struct World {
    pub(crate) web: Web,
    pub(crate) root: Authority,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) trust: Arc<LiveTrust>,
}

impl World {
    /// A leaf with one list, which is there and wanted.
    pub(crate) async fn with_wanted_list() -> Self {
        let world = Self::new(&["/1.crl"]).await;
        let url = world.web.url("/1.crl");
        world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
        world.judge();
        world
    }

    /// A leaf whose list has these paths.
    pub(crate) async fn new(paths: &[&str]) -> Self {
        let (web, root) = (Web::start().await, Authority(Pki::new()));
        let urls: Vec<_> = paths.iter().map(|path| web.url(path)).collect();
        let leaf = root.leaf(&urls).cert[0].clone();
        let trust = Arc::new(LiveTrust::new(Trust::from_der([root.0.root()]).unwrap()));
        Self { web, root, leaf, trust }
    }

    /// What the rule `hard` says now.
    pub(crate) fn judge(&self) -> Reason {
        self.judge_by(&self.trust)
    }

    /// The same by another trust.
    pub(crate) fn judge_by(&self, trust: &LiveTrust) -> Reason {
        self.judge_for(&connector(Revocation::Hard), trust)
    }

    pub(crate) fn judge_for(&self, connector: &OutboundConnector, trust: &LiveTrust) -> Reason {
        judge(&self.leaf, connector, trust, UnixTime::now())
    }

    /// What a rule says at this time.
    pub(crate) fn judge_at(&self, rule: Revocation, now: UnixTime) -> Reason {
        judge(&self.leaf, &connector(rule), &self.trust, now)
    }

    /// A trust that has seen nothing yet, and its fetcher.
    pub(crate) fn restart(&self, folder: &Folder) -> (Arc<LiveTrust>, CrlFetcher) {
        let trust = Arc::new(LiveTrust::new(Trust::from_der([self.root.0.root()]).unwrap()));
        let fetcher = CrlFetcher::new(Arc::clone(&trust)).with_directory(&folder.0);
        (trust, fetcher.with_any_address())
    }

    /// What the folder holds after a restart, without the network.
    pub(crate) async fn judge_after_restart(&self, folder: &Folder) -> (usize, Reason) {
        let (trust, fetcher) = self.restart(folder);
        let loaded = fetcher.load(UnixTime::now()).await.unwrap();
        (loaded, self.judge_by(&trust))
    }

    pub(crate) fn fetcher(&self) -> CrlFetcher {
        let fetcher = CrlFetcher::new(Arc::clone(&self.trust)).with_any_address();
        fetcher.with_timeout(Duration::from_secs(5))
    }
}

/// A rule that wants TLS with a certificate of the public set.
pub(crate) fn connector(rule: Revocation) -> OutboundConnector {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
    connector.revocation = rule;
    connector
}

/// What is said of a certificate for the host.
pub(crate) fn judge(
    leaf: &CertificateDer<'static>,
    connector: &OutboundConnector,
    trust: &LiveTrust,
    now: UnixTime,
) -> Reason {
    let host = Host::parse(HOST).unwrap();
    let plan = plan(&Facts::new(connector, &host, &host, HostOrigin::Mx)).unwrap();
    plan.judge(std::slice::from_ref(leaf), &trust.load(), now).reason()
}

/// So many seconds from now.
pub(crate) fn in_seconds(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(UnixTime::now().duration() + Duration::from_secs(seconds))
}

pub(crate) trait SinceEpoch {
    fn duration(&self) -> Duration;
}

impl SinceEpoch for UnixTime {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.as_secs())
    }
}

/// A folder that is gone when this is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.0).into_iter().flatten();
        let files = files.map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|it| it == suffix)).collect()
    }

    /// How many files were set aside.
    pub(crate) fn damaged(&self) -> usize {
        std::fs::read_dir(self.0.join(".damaged")).into_iter().flatten().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
