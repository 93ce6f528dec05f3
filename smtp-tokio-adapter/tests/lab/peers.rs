//! The lab, what of it can be had here, and its servers, which stop when they are dropped.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A server ends by itself after so many seconds, should this process be killed.
const MAX_SECONDS: &str = "300";
/// Seconds in which a peer is fetched and unpacked; and in which one that is there is found.
const FETCHING: &str = "300";
const LOOKING: &str = "2";
/// How long a server may take to hand a message that it has accepted to its mail store.
const STORING: Duration = Duration::from_secs(30);

/// Which release of Debian the peers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// That of the machine.
    System,
    /// Debian 13.
    Trixie,
}

/// A program of the lab, under the name that the lab knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) suite: Suite,
}

impl Peer {
    pub(crate) const POSTFIX: Self = Self { name: "postfix", suite: Suite::System };
    pub(crate) const POSTFIX_TRIXIE: Self = Self { name: "postfix", suite: Suite::Trixie };

    /// Whether its Received headers tell TLS from clear text: these two write none, and the lab writes a line for them.
    pub(crate) fn marks_tls(self) -> bool {
        !matches!(self.name, "aiosmtpd" | "smtp-server")
    }

    /// What `install.sh` calls it.
    fn package(self) -> &'static str {
        match self.name {
            "haraka" | "smtp-server" => "node",
            name => name,
        }
    }

    fn suite_arguments(self) -> &'static [&'static str] {
        match self.suite {
            Suite::System => &[],
            Suite::Trixie => &["--suite", "trixie"],
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suite {
            Suite::System => f.write_str(self.name),
            Suite::Trixie => write!(f, "{} of trixie", self.name),
        }
    }
}

/// Where the lab is and where it keeps what it makes.
pub(crate) struct Lab {
    scripts: PathBuf,
    pub(crate) state: PathBuf,
}

/// The lab, if it can be used; a word about it if not.
pub(crate) fn lab() -> Option<&'static Lab> {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    LAB.get_or_init(|| {
        let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/lab"));
        let scripts = std::env::var_os("SMTP_LAB_DIR").map_or_else(beside, PathBuf::from);
        if !scripts.join("install.sh").is_file() {
            say(&format!("skipped: there is no mail lab at {}", scripts.display()));
            return None;
        }
        if user() != Some(0) {
            skip("the mail lab needs root: its servers are chrooted and change their user");
            return None;
        }
        let below_tmp = || std::env::temp_dir().join("smtp-lab");
        let state = std::env::var_os("SMTP_LAB_STATE").map_or_else(below_tmp, PathBuf::from);
        std::fs::create_dir_all(&state).expect("SMTP_LAB_STATE can be made");
        // Programs in it are run as root.
        assert_eq!(std::fs::metadata(&state).ok().map(|it| it.uid()), Some(0), "{} is not root's", state.display());
        let lab = Lab { scripts, state };
        let made = lab.locked(FETCHING, "pki.sh", &[&lab.pki("")]);
        if !made.status.success() {
            skip(&format!("pki.sh: {}", text(&made)));
            return None;
        }
        Some(lab)
    })
    .as_ref()
}

fn user() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|it| it.uid())
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

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Lab {
    /// A file of the lab's certificates; its `pki.sh` lists them.
    pub(crate) fn pki(&self, file: &str) -> String {
        self.state.join("pki").join(file).display().to_string()
    }

    pub(crate) fn certificates(&self, file: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.pki(file)).unwrap().map(Result::unwrap).collect()
    }

    /// A certificate with its chain and its key.
    pub(crate) fn identity(&self, name: &str, provider: &CryptoProvider) -> Arc<CertifiedKey> {
        let key = PrivateKeyDer::from_pem_file(self.pki(&format!("{name}.key"))).unwrap();
        let chain = self.certificates(&format!("{name}-chain.pem"));
        Arc::new(CertifiedKey::from_der(chain, key, provider).unwrap())
    }

    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.scripts.join(name));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a script that must not run twice at a time, in this process or in another.
    fn locked(&self, seconds: &str, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("flock");
        command.arg(self.state.join("lock")).args(["timeout", seconds]).arg(self.scripts.join(script)).args(arguments);
        command.stdin(Stdio::null()).output().expect("flock of util-linux")
    }

    /// Fetches a peer, unless it is there. It takes a network, and package lists that are not stale.
    pub(crate) fn has(&self, peer: Peer) -> bool {
        static KNOWN: Mutex<Vec<(Peer, bool)>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, here)) = known.iter().find(|(it, _)| *it == peer) {
            return *here;
        }
        // Where one could not be fetched, the others need not try for minutes: what is there takes no time.
        let seconds = if known.iter().all(|(_, here)| *here) { FETCHING } else { LOOKING };
        let state = self.state.display().to_string();
        let arguments = [&[state.as_str()], peer.suite_arguments(), &[peer.package()]].concat();
        let output = self.locked(seconds, "install.sh", &arguments);
        let here = output.status.success();
        known.push((peer, here));
        if !here {
            let text = text(&output);
            let last = text.lines().rfind(|line| !line.is_empty()).unwrap_or("no word");
            skip(&format!("{peer} cannot be installed (apt-get update helps often): {last}"));
        }
        here
    }

    /// Starts a server that takes mail for `test.example` and calls itself `mail.test.example`. `None` if it cannot be
    /// installed.
    pub(crate) fn start(&'static self, peer: Peer, options: &[&str]) -> Option<Server> {
        self.has(peer).then(|| {
            let (port, name) = (free_port(), unique("server"));
            let output = self
                .script(&format!("start-{}.sh", peer.name))
                .arg("--state")
                .arg(&self.state)
                .args(["--name", &name, "--port", &port.to_string(), "--max-seconds", MAX_SECONDS])
                .args(peer.suite_arguments())
                .args(options)
                .output()
                .unwrap();
            // Made first, so that a server that is half up is stopped as well.
            let server = Server { lab: self, peer, name, address: (Ipv4Addr::LOCALHOST, port).into() };
            assert!(output.status.success(), "{peer} {options:?}: {}", text(&output));
            server
        })
    }
}

/// A port outside of those that the system gives to outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (first - 20_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A word that nothing else on this machine has.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A server that runs.
pub(crate) struct Server {
    lab: &'static Lab,
    pub(crate) peer: Peer,
    name: String,
    pub(crate) address: SocketAddr,
}

impl Server {
    fn folder(&self) -> PathBuf {
        self.lab.state.join("run").join(&self.name)
    }

    /// The stored message that contains `mark`, with LF line ends.
    pub(crate) fn stored(&self, mark: &str) -> String {
        let deadline = Instant::now() + STORING;
        loop {
            let found = self.messages().into_iter().find(|message| message.contains(mark));
            if let Some(message) = found {
                return message;
            }
            assert!(Instant::now() < deadline, "{}: no message with {mark}", self.name);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every message that is stored by now: the files of a maildir, or the parts of an mbox.
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        files(&self.folder().join("mail"), &mut |file| {
            let text = String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).replace("\r\n", "\n");
            match text.strip_prefix("From ") {
                Some(mbox) => messages.extend(mbox.split("\n\nFrom ").map(|part| {
                    // Without the rest of the `From ` line.
                    part.split_once('\n').unwrap_or_default().1.to_owned()
                })),
                None => messages.push(text),
            }
        });
        messages
    }
}

/// Calls `see` with every file below a folder, but those that are still being written.
pub(crate) fn files(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if entry.file_name() != "tmp" => files(&path, see),
            true => {}
            false => see(&path),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.lab.script("stop.sh").arg(&self.lab.state).arg(&self.name).output();
        if std::thread::panicking() {
            say(&format!("logs and mail are in {}", self.folder().display()));
        } else {
            assert!(stopped.is_ok_and(|output| output.status.success()), "stop.sh {}", self.name);
            std::fs::remove_dir_all(self.folder()).expect("what a stopped server leaves");
        }
    }
}
