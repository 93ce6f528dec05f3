//! Reads what a connector asks of TLS itself.

use crate::rules::config::{Reader, Section};
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
