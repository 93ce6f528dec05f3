//! The lab as tests use it: what cannot be had here is skipped, in CI it fails.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) use crate::lab::{Lab, Peer, Server, Suite, files, unique};

/// Seconds in which a peer is fetched and unpacked; and in which one that is there is found.
const FETCHING: u32 = 300;
const LOOKING: u32 = 2;

impl Peer {
    pub(crate) const POSTFIX: Self = Self { name: "postfix", suite: Suite::System };
    pub(crate) const POSTFIX_TRIXIE: Self = Self { name: "postfix", suite: Suite::Trixie };

    /// What `install.sh` calls it.
    fn package(self) -> &'static str {
        match self.name {
            "haraka" | "smtp-server" => "node",
            name => name,
        }
    }

    /// Whether its Received headers tell TLS from clear text: these two write none, and the lab
    /// writes a line for them.
    pub(crate) fn marks_tls(self) -> bool {
        !matches!(self.name, "aiosmtpd" | "smtp-server")
    }
}

/// Where the scripts of the lab would be.
pub(crate) fn scripts() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/lab"));
    std::env::var_os("SMTP_LAB_DIR").map_or_else(beside, PathBuf::from)
}

/// The lab, if it can be used; a word about it if not.
pub(crate) fn lab() -> Option<&'static Lab> {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    LAB.get_or_init(|| {
        let scripts = scripts();
        if !Lab::is_at(&scripts) {
            say(&format!("skipped: there is no mail lab at {}", scripts.display()));
            return None;
        }
        let below_tmp = || std::env::temp_dir().join("smtp-lab");
        let state = std::env::var_os("SMTP_LAB_STATE").map_or_else(below_tmp, PathBuf::from);
        std::fs::create_dir_all(&state).expect("SMTP_LAB_STATE can be made");
        Lab::open(scripts, state).map_err(|error| skip(&error)).ok()
    })
    .as_ref()
}

/// A test, or a part of one, that cannot be run although the lab is there.
fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "in CI the lab must work: {why}");
    say(&format!("skipped: {why}"));
}

/// Past libtest, which hides what a test prints as long as it passes.
fn say(line: &str) {
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{line}");
}

impl Lab {
    /// Fetches a peer, unless it is there. It takes a network, and package lists that are not
    /// stale.
    fn install(&self, seconds: u32, peer: Peer) -> Result<(), String> {
        let state = self.state.display().to_string();
        let arguments = [&[state.as_str()], peer.suite.arguments(), &[peer.package()]].concat();
        self.locked(seconds, "install.sh", &arguments).map(drop)
    }
}

/// Whether a peer is there, or can be fetched.
pub(crate) fn has(lab: &Lab, peer: Peer) -> bool {
    static KNOWN: Mutex<Vec<(Peer, bool)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, here)) = known.iter().find(|(it, _)| *it == peer) {
        return *here;
    }
    // Where one could not be fetched, the others need not try for minutes: what is there takes no
    // time.
    let seconds = if known.iter().all(|(_, here)| *here) { FETCHING } else { LOOKING };
    let installed = lab.install(seconds, peer);
    let here = installed.is_ok();
    known.push((peer, here));
    if let Err(error) = installed {
        skip(&format!("{peer} cannot be installed (apt-get update helps often): {error}"));
    }
    here
}

/// Starts a server. `None` if it cannot be installed.
pub(crate) fn start_plain(lab: &Lab, peer: Peer, options: &[&str]) -> Option<Server> {
    has(lab, peer).then(|| lab.start(peer, options).unwrap())
}

/// Starts a server with one of the lab's certificates.
pub(crate) fn start(lab: &Lab, peer: Peer, name: &str, options: &[&str]) -> Option<Server> {
    let certificate = lab.certificate_options(name);
    start_plain(
        lab,
        peer,
        &[certificate.each_ref().map(String::as_str).as_slice(), options].concat(),
    )
}

impl Server {
    /// The stored message that contains `mark`, with LF line ends.
    pub(crate) fn stored_text(&self, mark: &str) -> String {
        text(self.stored(mark).unwrap_or_else(|error| {
            panic!("{} in {}: {error}", self.peer, self.folder().display())
        }))
    }

    /// Every message that is stored by now, with LF line ends.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.messages().into_iter().map(text).collect()
    }
}

fn text(message: Vec<u8>) -> String {
    String::from_utf8_lossy(&message).replace("\r\n", "\n")
}
