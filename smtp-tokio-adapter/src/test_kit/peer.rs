//! One connection of a scripted peer.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::test_kit::script::{Script, Step};
use crate::test_kit::tls::{Role, Tls};
use crate::wire::Io;

/// How long each step waits for the other side. Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// A ClientHello beyond this is large. A key share of X25519MLKEM768 alone has 1,216 octets.
const LARGE_HELLO: usize = 1024;
/// Octets of a line that the transcript shows.
const SHOWN: usize = 200;

/// One connection of a scripted peer, with its transcript.
pub struct Peer {
    /// None once the script has closed the connection.
    stream: Option<Box<dyn Io>>,
    input: Vec<u8>,
    transcript: String,
    messages: Vec<Vec<u8>>,
    received: u64,
    stop: Option<watch::Receiver<bool>>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("transcript", &self.transcript).finish_non_exhaustive()
    }
}

/// A script that could not be played to its end, with the conversation up to that point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step {step} of the script {problem}; the conversation (> sent by the script, < received):\n\
     {transcript}"
)]
#[non_exhaustive]
pub struct ScriptError {
    /// The number of the step that failed. The first one has number 1.
    pub step: usize,
    /// What the step expects, and what happened.
    pub problem: String,
    /// The conversation up to that point.
    pub transcript: String,
}

impl Peer {
    /// A peer at one end of a stream.
    pub fn new(stream: impl Io + 'static) -> Self {
        let stream: Option<Box<dyn Io>> = Some(Box::new(stream));
        let (input, messages) = (Vec::new(), Vec::new());
        Self { stream, input, transcript: String::new(), messages, received: 0, stop: None }
    }

    /// Lets a stall end when the value turns true.
    pub(super) fn stalling_until(self, stop: watch::Receiver<bool>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// The conversation so far. Lines that the script sent begin with `>`, lines that it received
    /// with `<`, and notes about the connection with `-`.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// The messages that [`Script::expect_message`] has read, as they came, without the final dot.
    pub fn messages(&self) -> &[Vec<u8>] {
        &self.messages
    }

    /// How many octets were read, or read and ignored; inside TLS, of clear text.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Reads one line and returns it without its end, for a peer that reacts to what it reads. None
    /// once the other side has closed the connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no octet is lost.
    pub async fn next_line(&mut self) -> Option<String> {
        let line = self.line("a line").await.ok()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Plays a script from its first step to its last. A [stall](Script::stall) has no end.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] if the other side does not do what a step expects, closes the connection, or
    /// sends nothing for 30 seconds.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a step may have been half done.
    pub async fn play(&mut self, script: &Script) -> Result<(), ScriptError> {
        for (index, step) in script.steps.iter().enumerate() {
            let played = match step {
                Step::Stall => {
                    self.stall().await;
                    Ok(())
                }
                Step::Pause(time) => {
                    self.note("paused");
                    tokio::time::sleep(*time).await;
                    Ok(())
                }
                Step::WaitFor(value) => {
                    self.note("waits");
                    let _: Result<_, _> = value.clone().wait_for(|&it| it).await;
                    Ok(())
                }
                Step::Ignore => self.ignore().await,
                _ => tokio::time::timeout(PATIENCE, self.step(step))
                    .await
                    .unwrap_or_else(|_| Err(format!("waits for {}", expectation(step)))),
            };
            played.map_err(|problem| ScriptError {
                step: index + 1,
                problem,
                transcript: self.transcript.clone(),
            })?;
        }
        Ok(())
    }

    /// Serves as a mail server that takes every message, until the other side says QUIT or closes
    /// the connection, or a script has closed it. Where `instead` returns a script for a line, that
    /// is played in place of the usual reply. The greeting is not part of it.
    ///
    /// The usual replies: `250 mx` to EHLO and LHLO, 354 to DATA and 250 to the message, 221 to
    /// QUIT, 250 to every other line.
    ///
    /// # Errors
    ///
    /// As [`play`](Self::play).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`play`](Self::play).
    pub async fn serve(
        &mut self,
        mut instead: impl FnMut(&str) -> Option<Script>,
    ) -> Result<(), ScriptError> {
        while let Some(line) = self.next_line().await {
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let script = instead(&line).unwrap_or_else(|| {
                let reply = Script::new();
                match verb.as_str() {
                    "EHLO" | "LHLO" => reply.say("250 mx"),
                    "DATA" => reply.say("354 go ahead").expect_message().say("250 kept"),
                    "QUIT" => reply.say("221 bye"),
                    _ => reply.say("250 ok"),
                }
            });
            self.play(&script).await?;
            if verb == "QUIT" {
                if self.stream.is_some() {
                    self.close();
                }
                break;
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let wanted = expectation(step);
        match step {
            Step::Send(octets) => self.send(octets).await,
            Step::Expect(prefix) => {
                let line = self.line(&wanted).await?;
                begins(&line, prefix, &wanted)
            }
            Step::ExpectReply(code) => loop {
                let line = self.line(&wanted).await?;
                if line.get(3) != Some(&b'-') {
                    return begins(&line, code, &wanted);
                }
            },
            Step::ExpectMessage => self.message(&wanted).await,
            Step::ExpectOctets(count) => {
                while self.input.len() < *count {
                    self.more(&wanted).await?;
                }
                self.input.drain(..count);
                self.note(&format!("{count} octets received"));
                Ok(())
            }
            Step::ExpectEnd => {
                if self.input.is_empty() && !matches!(self.fill().await, Ok(1..)) {
                    return Ok(());
                }
                let sent = shown(&self.input);
                Err(format!("expects {wanted}, but the other side sent {sent}"))
            }
            Step::Tls(tls) => self.handshake(tls).await,
            Step::EndOutput => {
                let ended = self.stream()?.shutdown().await;
                self.note("output ended");
                ended.map_err(|error| format!("cannot end the output: {error}"))
            }
            Step::Close => {
                // What does not reach a peer that has gone is of no use to it.
                let _: io::Result<()> = self.stream()?.shutdown().await;
                self.close();
                Ok(())
            }
            Step::Ignore | Step::Pause(_) | Step::WaitFor(_) | Step::Stall => Ok(()),
        }
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), String> {
        for line in octets.split_inclusive(|&octet| octet == b'\n') {
            self.record('>', line);
        }
        let stream = self.stream()?;
        let sent = async {
            stream.write_all(octets).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| format!("cannot send {}: {error}", shown(octets)))
    }

    async fn message(&mut self, wanted: &str) -> Result<(), String> {
        let mut at = 0;
        let end = loop {
            // The dot may be the first line.
            let from = at.max(2) - 2;
            let dot = self.input[from..].windows(5).position(|it| it == b"\r\n.\r\n");
            match dot {
                _ if self.input.starts_with(b".\r\n") => break 0,
                Some(found) => break from + found + 2,
                None => at = self.input.len().saturating_sub(2),
            }
            self.more(wanted).await?;
        };
        let message: Vec<u8> = self.input.drain(..end + 3).take(end).collect();
        self.note(&format!("message of {} octets received", message.len()));
        self.messages.push(message);
        Ok(())
    }

    async fn ignore(&mut self) -> Result<(), String> {
        self.note("everything else is read and ignored");
        self.input.clear();
        while self.stream.is_some() && self.fill().await.is_ok_and(|read| read > 0) {
            self.input.clear();
        }
        Ok(())
    }

    async fn stall(&mut self) {
        self.note("stalled");
        match &mut self.stop {
            // The sender lives as long as the listener.
            Some(stop) => drop(stop.wait_for(|&it| it).await),
            None => std::future::pending().await,
        }
    }

    /// Reads a line, and returns it without its end.
    async fn line(&mut self, wanted: &str) -> Result<Vec<u8>, String> {
        let mut searched = 0;
        let end = loop {
            if let Some(found) = self.input[searched..].iter().position(|&it| it == b'\n') {
                break searched + found + 1;
            }
            searched = self.input.len();
            self.more(wanted).await?;
        };
        let mut line: Vec<u8> = self.input.drain(..end).collect();
        self.record('<', &line);
        line.truncate(line.strip_suffix(b"\r\n").map_or(end - 1, <[u8]>::len));
        Ok(line)
    }

    async fn more(&mut self, wanted: &str) -> Result<(), String> {
        let ended = match self.fill().await {
            Ok(0) => "the other side closed the connection".to_owned(),
            Ok(_) => return Ok(()),
            Err(error) => format!("reading failed: {error}"),
        };
        let input = std::mem::take(&mut self.input);
        if !input.is_empty() {
            self.record('<', &input);
        }
        self.note(&ended);
        Err(format!("expects {wanted}, but {ended}"))
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        let read = stream.read_buf(&mut self.input).await?;
        self.received += read as u64;
        Ok(read)
    }

    async fn handshake(&mut self, tls: &Tls) -> Result<(), String> {
        let done = match &tls.role {
            Role::Server(config) => self.accept(config.clone(), tls).await,
            Role::Client(config, name) => self.connect(config.clone(), name, tls).await,
        };
        match (done, tls.is_refused || tls.closes) {
            (Ok(()), false) | (Err(None), _) => Ok(()),
            (Ok(()), true) => {
                Err("expects that the other side refuses the TLS handshake, but it succeeded"
                    .into())
            }
            (Err(Some(error)), true) => {
                self.close();
                self.note(&format!("the TLS handshake failed: {error}"));
                Ok(())
            }
            (Err(Some(error)), false) => {
                Err(format!("expects a TLS handshake, but it failed: {error}"))
            }
        }
    }

    /// An error without a cause: the defect asks for it.
    async fn accept(
        &mut self,
        config: std::sync::Arc<rustls::ServerConfig>,
        tls: &Tls,
    ) -> Result<(), Option<io::Error>> {
        if tls.closes || tls.refuses_large_hello {
            // RFC 8446, section 5.1: a record has a header of 5 octets, which ends with the length.
            let length = |input: &[u8]| match input {
                [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
                _ => 5,
            };
            while self.input.len() < length(&self.input) {
                if self.fill().await? == 0 {
                    return Err(Some(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            if tls.closes || self.input.len() > LARGE_HELLO {
                self.note(&format!("closed after a hello of {} octets", self.input.len()));
                self.close();
                return Err(None);
            }
        }
        let stream = self.take()?;
        let accepted = TlsAcceptor::from(config).accept(stream).await?;
        self.established(Box::new(accepted));
        Ok(())
    }

    async fn connect(
        &mut self,
        config: std::sync::Arc<rustls::ClientConfig>,
        name: &str,
        tls: &Tls,
    ) -> Result<(), Option<io::Error>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        if tls.reads_reply {
            let wanted = "a reply with the code 220";
            let line = self.line(wanted).await.map_err(io::Error::other)?;
            begins(&line, "220", wanted).map_err(io::Error::other)?;
        }
        let mut stream = self.take()?;
        if tls.closes {
            let mut hello = Vec::new();
            let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
            session.write_tls(&mut hello)?;
            stream.write_all(&hello).await?;
            stream.flush().await?;
            self.note("closed after the hello");
            return Err(None);
        }
        let mut connected = TlsConnector::from(config).connect(name, stream).await?;
        if tls.is_refused {
            // In TLS 1.3 the refusal of a server comes after the client's handshake is done.
            let mut first = [0];
            if connected.read(&mut first).await? == 0 {
                return Err(Some(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.established(Box::new(connected));
        Ok(())
    }

    fn established(&mut self, stream: Box<dyn Io>) {
        self.note("TLS established");
        self.stream = Some(stream);
    }

    /// The stream, with the octets that were read already.
    fn take(&mut self) -> io::Result<Box<dyn Io>> {
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        let input = io::Cursor::new(std::mem::take(&mut self.input));
        let (read, write) = tokio::io::split(stream);
        Ok(Box::new(tokio::io::join(input.chain(read), write)))
    }

    fn stream(&mut self) -> Result<&mut Box<dyn Io>, String> {
        self.stream.as_mut().ok_or_else(|| "comes after the connection was closed".to_owned())
    }

    fn close(&mut self) {
        self.stream = None;
        self.note("closed");
    }

    fn record(&mut self, mark: char, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (shown, more) = line.split_at(line.len().min(SHOWN));
        let _ = write!(self.transcript, "{mark} {}", shown.escape_ascii());
        if !more.is_empty() {
            let _ = write!(self.transcript, "... ({} octets)", line.len());
        }
        self.transcript.push('\n');
    }

    fn note(&mut self, note: &str) {
        let _ = writeln!(self.transcript, "- {note}");
    }
}

fn begins(line: &[u8], prefix: &str, wanted: &str) -> Result<(), String> {
    let begins = |line: &[u8]| line.eq_ignore_ascii_case(prefix.as_bytes());
    if line.get(..prefix.len()).is_some_and(begins) {
        return Ok(());
    }
    Err(format!("expects {wanted}, but the other side sent {}", shown(line)))
}

fn shown(octets: &[u8]) -> String {
    format!("\"{}\"", octets[..octets.len().min(SHOWN)].escape_ascii())
}

/// What a step waits for, in words.
fn expectation(step: &Step) -> String {
    match step {
        Step::Expect(prefix) => format!("a line that begins with {prefix:?}"),
        Step::ExpectReply(code) => format!("a reply with the code {code}"),
        Step::ExpectMessage => "a message up to the line with one dot".into(),
        Step::ExpectOctets(count) => format!("{count} octets"),
        Step::ExpectEnd => "that the other side closes the connection".into(),
        Step::Tls(_) => "a TLS handshake".into(),
        Step::Send(_) | Step::EndOutput | Step::Close => "room to send".into(),
        Step::Ignore | Step::Pause(_) | Step::WaitFor(_) | Step::Stall => "nothing".into(),
    }
}
