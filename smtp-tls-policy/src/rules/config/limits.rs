//! Reads the limits of a connector: what it asks of TLS itself, and how long it waits.

use std::time::Duration;

use crate::rules::config::Reader;
use crate::rules::config::section::Section;
use crate::rules::list_wait::MAX_LIST_WAIT;
use crate::rules::tls_limits::{KeyGroup, MinTlsVersion, TlsLimits};

const LIMITS: &[&str] = &["min-version", "groups"];
const POST_QUANTUM: &str = "post-quantum";

impl Reader<'_> {
    /// The field `tls` of a connector.
    pub(super) fn tls_limits(&mut self, section: &Section<'_>) -> TlsLimits {
        let mut limits = TlsLimits::default();
        let Some(raw) = self.table(section, "tls", "{ min-version = \"1.3\" }") else {
            return limits;
        };
        let path = section.path("tls");
        let raw = Section { path: &path, ..raw };
        self.unknown(&raw, LIMITS);
        let versions = MinTlsVersion::ALL.map(|version| (version.as_str(), version));
        limits.min_version = self.choice(&raw, "min-version", &versions).unwrap_or_default();
        let groups = self.given(&raw, "groups", "\"post-quantum\", \"X25519\"", groups);
        for group in groups.into_iter().flatten() {
            if !limits.groups.contains(&group) {
                limits.groups.push(group);
            }
        }
        limits
    }
}

impl Reader<'_> {
    /// The field `list-wait` of a connector, in seconds.
    pub(super) fn list_wait(&mut self, section: &Section<'_>) -> Option<Duration> {
        let value = section.get("list-wait")?.get_ref();
        let max = MAX_LIST_WAIT.as_secs();
        let seconds =
            value.as_integer().and_then(|it| u64::from_str_radix(it.as_str(), it.radix()).ok());
        let seconds = seconds.filter(|seconds| *seconds <= max);
        if seconds.is_none() {
            self.wrong_type(section, "list-wait", &format!("a number of seconds from 0 to {max}"));
        }
        seconds.map(Duration::from_secs)
    }
}

/// The groups that a text of the list means.
fn groups(text: &str) -> Result<Vec<KeyGroup>, String> {
    if text == POST_QUANTUM {
        return Ok(KeyGroup::post_quantum().collect());
    }
    let found = KeyGroup::ALL.iter().copied().find(|group| group.as_str() == text);
    found.map(|group| vec![group]).ok_or_else(|| {
        let names: Vec<_> = KeyGroup::ALL.iter().map(|group| group.as_str()).collect();
        format!("expected one of {POST_QUANTUM}, {}", names.join(", "))
    })
}
