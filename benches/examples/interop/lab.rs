//! The mail lab: a folder of scripts that unpack and start real mail servers and clients, and the
//! state that they keep.
//!
//! Its servers stop when they are dropped, and with [`stop_all`]. Every script runs under a
//! deadline.

use std::ffi::OsStr;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A server ends by itself after so many seconds, should this process be killed.
const MAX_SECONDS: &str = "300";
/// Seconds in which a server must be up, or one be gone.
const STARTING: u32 = 60;
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

impl Suite {
    pub(crate) const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::System => &[],
            Self::Trixie => &["--suite", "trixie"],
        }
    }

    /// As the scripts want it in `SUITE`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::System => "",
            Self::Trixie => "trixie",
        }
    }
}

/// A program of the lab, under the name that the lab knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) suite: Suite,
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
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    pub(crate) scripts: PathBuf,
    pub(crate) state: PathBuf,
}

impl Lab {
    /// Whether there is a lab at all.
    pub(crate) fn is_at(scripts: &Path) -> bool {
        scripts.join("install.sh").is_file()
    }

    /// A lab that can be used: the caller is root, and the certificates are there.
    pub(crate) fn open(scripts: PathBuf, state: PathBuf) -> Result<Self, String> {
        if !Self::is_at(&scripts) {
            return Err(format!("there is no mail lab at {}", scripts.display()));
        }
        let owner = |path: &Path| std::fs::metadata(path).ok().map(|it| it.uid());
        if owner(Path::new("/proc/self")) != Some(0) {
            return Err(
                "the mail lab needs root: its servers are chrooted and change their user".into()
            );
        }
        // Programs in it are run as root.
        if owner(&state) != Some(0) {
            return Err(format!("{} is not there, or not root's", state.display()));
        }
        // The scripts must find it wherever they are run from.
        let state =
            state.canonicalize().map_err(|error| format!("{}: {error}", state.display()))?;
        let scripts =
            scripts.canonicalize().map_err(|error| format!("{}: {error}", scripts.display()))?;
        let lab = Self { scripts, state };
        lab.locked(STARTING, "pki.sh", &[&lab.pki("")])?;
        Ok(lab)
    }

    /// A file of the lab's certificates; its `pki.sh` lists them.
    pub(crate) fn pki(&self, file: &str) -> String {
        self.state.join("pki").join(file).display().to_string()
    }

    pub(crate) fn certificates(&self, file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let read = |error| format!("{file}: {error}");
        CertificateDer::pem_file_iter(self.pki(file))
            .map_err(read)?
            .map(|it| it.map_err(read))
            .collect()
    }

    /// A certificate with its chain and its key.
    pub(crate) fn identity(
        &self,
        name: &str,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, String> {
        let key = PrivateKeyDer::from_pem_file(self.pki(&format!("{name}.key")));
        let key = key.map_err(|error| format!("{name}.key: {error}"))?;
        let chain = self.certificates(&format!("{name}-chain.pem"))?;
        CertifiedKey::from_der(chain, key, provider)
            .map(Arc::new)
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Runs a script that must not run twice at a time, in this process or in another.
    pub(crate) fn locked(
        &self,
        seconds: u32,
        script: &str,
        arguments: &[&str],
    ) -> Result<Output, String> {
        let lock = self.state.join("lock");
        let script = self.scripts.join(script);
        succeeded(run(seconds, "flock", |command| command.arg(lock).arg(script).args(arguments))?)
    }

    /// The options of a server with one of the lab's certificates.
    pub(crate) fn certificate_options(&self, name: &str) -> [String; 4] {
        [
            "--cert".into(),
            self.pki(&format!("{name}-chain.pem")),
            "--key".into(),
            self.pki(&format!("{name}.key")),
        ]
    }

    /// Starts a server that takes mail for `test.example` and calls itself `mail.test.example`.
    pub(crate) fn start(&self, peer: Peer, options: &[&str]) -> Result<Server, String> {
        self.start_in(peer, &[], options)
    }

    /// The same with further variables in its environment.
    pub(crate) fn start_in(
        &self,
        peer: Peer,
        environment: &[(&str, &OsStr)],
        options: &[&str],
    ) -> Result<Server, String> {
        let (port, name) = (free_port(), unique("server"));
        // Made first, so that a server that is half up is stopped as well.
        let server = Server::new(self, peer, name.clone(), port);
        let started =
            run(STARTING, self.scripts.join(format!("start-{}.sh", peer.name)), |command| {
                let port = port.to_string();
                let common = ["--name", &name, "--port", &port, "--max-seconds", MAX_SECONDS];
                command
                    .arg("--state")
                    .arg(&self.state)
                    .args(common)
                    .args(peer.suite.arguments())
                    .args(options);
                command.envs(environment.iter().copied())
            })?;
        succeeded(started).map_err(|error| format!("{peer} {options:?}: {error}"))?;
        Ok(server)
    }
}

/// Runs a program under a deadline. [`stop_all`] ends it.
pub(crate) fn run(
    seconds: u32,
    program: impl AsRef<OsStr>,
    arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<Output, String> {
    // It makes a process group of its own, and ends all of it.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds.to_string()]).arg(program.as_ref());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    arguments(&mut command);
    let failed = |error| format!("{}: {error}", program.as_ref().display());
    let child = {
        // Under the lock, so that none is started that `stop_all` does not see.
        let mut running = running();
        let child = command.spawn().map_err(failed)?;
        running.programs.push(child.id());
        child
    };
    let id = child.id();
    let output = child.wait_with_output();
    running().programs.retain(|&it| it != id);
    output.map_err(failed)
}

/// The output of a program that has succeeded, or what it said.
pub(crate) fn succeeded(output: Output) -> Result<Output, String> {
    if output.status.success() {
        return Ok(output);
    }
    let said =
        [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word");
    Err(format!("{}: {last}", output.status))
}

/// What must be ended when this process is.
struct Running {
    /// Process ids.
    programs: Vec<u32>,
    servers: Vec<(Lab, String)>,
}

fn running() -> MutexGuard<'static, Running> {
    static RUNNING: Mutex<Running> =
        Mutex::new(Running { programs: Vec::new(), servers: Vec::new() });
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends everything that was started here. Nothing can be started afterwards: the process is about
/// to end.
#[allow(dead_code, reason = "a test that is interrupted leaves that to `MAX_SECONDS`")]
pub(crate) fn stop_all() {
    let running = Box::leak(Box::new(running()));
    for program in running.programs.drain(..) {
        drop(Command::new("kill").arg(program.to_string()).stderr(Stdio::null()).status());
    }
    for (lab, name) in running.servers.drain(..) {
        stop(&lab, &name);
    }
}

/// Stops a server and removes what it leaves. Whether that went well.
fn stop(lab: &Lab, name: &str) -> bool {
    // Not by `run`, which `stop_all` has locked.
    let mut command = Command::new(lab.scripts.join("stop.sh"));
    let stopped =
        command.arg(&lab.state).arg(name).stdin(Stdio::null()).stdout(Stdio::null()).status();
    stopped.is_ok_and(|status| status.success())
        && std::fs::remove_dir_all(lab.state.join("run").join(name)).is_ok()
}

/// A port outside of those that the system gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 10_000) as u16;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
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
#[derive(Debug)]
pub(crate) struct Server {
    lab: Lab,
    pub(crate) peer: Peer,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
}

impl Server {
    fn new(lab: &Lab, peer: Peer, name: String, port: u16) -> Self {
        running().servers.push((lab.clone(), name.clone()));
        Self { lab: lab.clone(), peer, name, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.lab.state.join("run").join(&self.name)
    }

    /// Waits for the stored message that contains `mark`.
    pub(crate) fn stored(&self, mark: &str) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + STORING;
        loop {
            let found =
                self.messages().into_iter().find(|message| contains(message, mark.as_bytes()));
            if let Some(message) = found {
                return Ok(message);
            }
            if Instant::now() > deadline {
                return Err(format!("accepted, but not stored within {} s", STORING.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every message that is stored by now, with the line ends of the store: the files of a
    /// maildir, or the parts of an mbox without their `From ` lines.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        files(&self.folder().join("mail"), &mut |file| {
            let bytes = std::fs::read(file).unwrap_or_default();
            if bytes.starts_with(b"From ") {
                messages.extend(mbox(&bytes));
            } else {
                messages.push(bytes);
            }
        });
        messages
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let is_known = {
            let mut running = running();
            let before = running.servers.len();
            running.servers.retain(|(_, name)| *name != self.name);
            running.servers.len() < before
        };
        if is_known && !stop(&self.lab, &self.name) {
            tracing::warn!(peer = %self.peer, server = self.name, "not stopped, or not removed");
        }
    }
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The messages of an mbox as `mail.local` writes it: an empty line after each, so of line ends at
/// the end of a message one is left, and `Content-Length` as the last field of each header.
fn mbox(mut rest: &[u8]) -> Vec<Vec<u8>> {
    const BETWEEN: &[u8] = b"\n\nFrom ";
    let mut messages = Vec::new();
    while let Some(end_of_line) = rest.iter().position(|&byte| byte == b'\n') {
        rest = &rest[end_of_line + 1..];
        let end =
            rest.windows(BETWEEN.len()).position(|window| window == BETWEEN).unwrap_or(rest.len());
        messages.push([&*without_length(&rest[..end]), b"\n"].concat());
        rest = &rest[(end + 2).min(rest.len())..];
    }
    messages
}

fn without_length(message: &[u8]) -> Vec<u8> {
    let message = message.trim_ascii_end();
    let end = message.windows(2).position(|pair| pair == b"\n\n").unwrap_or(message.len());
    let (header, body) = message.split_at(end);
    let last = header.iter().rposition(|&byte| byte == b'\n').unwrap_or_default();
    let kept = if header[last..].starts_with(b"\nContent-Length: ") { last } else { end };
    [&header[..kept], body].concat()
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
