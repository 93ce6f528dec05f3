//! A Postfix of the lab with a configuration of the test's own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Peer, Server, free_port};
use crate::peers::start_plain;

/// How long Postfix may take to read its configuration, or to deliver or defer all messages.
const PATIENCE: Duration = Duration::from_secs(90);

const MAIN: &str = "etc/postfix/main.cf";
const MASTER: &str = "etc/postfix/master.cf";

/// What became of the mail to one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// `sent`, `deferred` or `bounced`.
    pub(crate) status: String,
    /// The text after the status.
    pub(crate) detail: String,
    /// `Verified`, `Trusted`, `Untrusted` or `Anonymous`; `None` without TLS.
    pub(crate) tls: Option<String>,
}

/// A Postfix that takes mail in clear text from this host.
pub(crate) struct Postfix {
    server: Server,
    /// Where mail is submitted. The port of the start script may be served by a process that has
    /// read the first configuration.
    submission: u16,
}

impl Postfix {
    pub(crate) fn start(lab: &Lab, peer: Peer) -> Option<Self> {
        let options = ["--starttls", "none", "--store", "discard"];
        start_plain(lab, peer, &options).map(|server| Self { server, submission: free_port() })
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.server.folder().join("root").join(inside)
    }

    /// Writes a file of Postfix's root. Files there are links to those of other servers, so that
    /// none is written in place.
    pub(crate) fn put(&self, inside: &str, contents: &[u8]) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, contents).unwrap();
    }

    /// Sets parameters in main.cf and adds services to master.cf, and has Postfix read them. All
    /// mail from this host is relayed.
    pub(crate) fn configure(&self, main: &str, services: &str) {
        let main = format!(
            "mynetworks = 127.0.0.0/8\nvirtual_mailbox_domains =\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n{main}\n"
        );
        let name = |line: &str| line.split_once('=').map(|(name, _)| name.trim().to_owned());
        let set: Vec<_> = main.lines().filter_map(name).collect();
        let read = |file: &str| std::fs::read_to_string(self.path(file)).unwrap();
        // Each parameter once: master(8) logs those that it reads twice for each service, and waits
        // forever for a log that it has not started again yet.
        let kept: String = read(MAIN)
            .lines()
            .filter(|line| name(line).is_none_or(|name| !set.contains(&name)))
            .map(|line| format!("{line}\n"))
            .collect();
        self.put(MAIN, format!("{kept}{main}").as_bytes());
        let submission = format!("127.0.0.1:{} inet n - n - - smtpd\n", self.submission);
        self.put(MASTER, format!("{}{submission}{services}", read(MASTER)).as_bytes());
        let read = self.log().matches("reload -- version").count();
        let pid = std::fs::read_to_string(self.path("var/spool/postfix/pid/master.pid")).unwrap();
        let status = Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap();
        assert!(status.success());
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches("reload -- version").count() == read
            || TcpStream::connect((Ipv4Addr::LOCALHOST, self.submission)).is_err()
        {
            assert!(Instant::now() < deadline, "not read: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.path("var/log/postfix.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Submits one message to all recipients.
    pub(crate) fn submit(&self, recipients: &[String]) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.submission)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut stream = stream;
        let mut reply = |wanted: &str| {
            let last = replies.find(|line| line.as_ref().unwrap().as_bytes()[3] == b' ');
            let last = last.unwrap().unwrap();
            assert!(last.starts_with(wanted), "{last}");
        };
        reply("220");
        let mut say = |line: &str, wanted: &str| {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            reply(wanted);
        };
        say("EHLO client.test.example", "250");
        say("MAIL FROM:<sender@client.test.example>", "250");
        for recipient in recipients {
            say(&format!("RCPT TO:<{recipient}>"), "250");
        }
        say("DATA", "354");
        say("Subject: policy\r\n\r\none line\r\n.", "250");
        say("QUIT", "221");
    }

    /// Waits until each recipient has a status, and returns what became of the mail. No two of the
    /// recipients have the same transport and next hop.
    pub(crate) fn fates(&self, recipients: &[String]) -> BTreeMap<String, Fate> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let fates: BTreeMap<String, Fate> = recipients
                .iter()
                .filter_map(|recipient| Some((recipient.clone(), fate(&log, recipient)?)))
                .collect();
            if fates.len() == recipients.len() {
                return fates;
            }
            let missing: Vec<_> = recipients.iter().filter(|it| !fates.contains_key(*it)).collect();
            assert!(Instant::now() < deadline, "no status of {missing:?}: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The first status of a recipient, and the TLS session of its delivery.
fn fate(log: &str, recipient: &str) -> Option<Fate> {
    let to = format!("to=<{recipient}>,");
    let (before, line) = {
        let at = log.lines().position(|line| line.contains(&to) && line.contains(" status="))?;
        (log.lines().take(at), log.lines().nth(at)?)
    };
    let (status, detail) = line.split_once(" status=")?.1.split_once(' ')?;
    // One process handles one delivery at a time: `postfix/NAME/smtp[PID]:`.
    let process = line.split_whitespace().find(|part| part.starts_with("postfix/"))?;
    let of_process: Vec<&str> = before.filter(|line| line.contains(process)).collect();
    let begin =
        of_process.iter().rposition(|line| line.contains(" status=")).map_or(0, |at| at + 1);
    let session = of_process[begin..].iter().find_map(|line| {
        let (start, _) = line.split_once(" TLS connection established to ")?;
        start.rsplit(' ').next()
    });
    Some(Fate {
        status: status.to_owned(),
        detail: detail.to_owned(),
        tls: session.map(str::to_owned),
    })
}
