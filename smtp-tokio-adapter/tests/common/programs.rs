//! The examples as programs.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Pki;

pub const MESSAGE: &str = "Subject: hello\r\n\r\n.Hello.\r\n";

pub fn example(name: &str) -> Command {
    // target/PROFILE/deps/this-test -> target/PROFILE/examples/NAME
    let test = std::env::current_exe().unwrap();
    Command::new(test.parent().unwrap().parent().unwrap().join("examples").join(name))
}

/// A folder of one test, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("smtp-examples-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("inbox")).unwrap();
        std::fs::create_dir_all(path.join("queue")).unwrap();
        Self(path)
    }

    /// The root and the certificate of `localhost`, as files in PEM.
    pub fn with_pki() -> (Self, Pki) {
        let (folder, pki) = (Self::new(), Pki::new());
        let (chain, key) = pki.identity_pem("localhost");
        for (name, pem) in [("root.pem", pki.root_pem()), ("chain.pem", &chain), ("key.pem", &key)]
        {
            std::fs::write(folder.path(name), pem).unwrap();
        }
        (folder, pki)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The files of a folder that end in `.EXTENSION`, as text.
    pub fn files(&self, folder: &str, extension: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let wanted = paths.filter(|path| path.extension().is_some_and(|it| it == extension));
        wanted.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server, killed at the end of the test.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Waits for the line with its address.
    pub fn start(command: &mut Command) -> Self {
        let (server, lines) = Self::with_output(command);
        ignore(lines);
        server
    }

    /// The same, with what it prints after that line.
    pub fn with_output(command: &mut Command) -> (Self, BufReader<ChildStdout>) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("cargo test builds it");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let address = address(&mut lines, "listening on ");
        (Self { child, address }, lines)
    }

    pub fn receive(folder: &Folder, address: &str) -> Self {
        let files = ["inbox", "chain.pem", "key.pem"].map(|name| folder.path(name));
        Self::start(example("receive").args([address, "localhost"]).args(files))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the next line.
pub fn address(lines: &mut BufReader<ChildStdout>, before: &str) -> SocketAddr {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim().strip_prefix(before).unwrap().parse().unwrap()
}

/// Reads what a server prints, which would wait for a reader otherwise.
pub fn ignore(mut lines: BufReader<ChildStdout>) {
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
}

pub fn run(command: &mut Command) -> Output {
    let (input, output) = (Stdio::piped(), Stdio::piped());
    let mut child = command.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(MESSAGE.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn send(address: SocketAddr, roots: Option<&Path>) -> Output {
    let mut command = example("send");
    command.args(["a@client.example", "b@test.example", "localhost", &address.to_string()]);
    run(command.args(roots))
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
