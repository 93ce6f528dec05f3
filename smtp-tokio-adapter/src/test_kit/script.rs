//! What a scripted peer says and expects, step by step.

use std::time::Duration;

use tokio::sync::watch;

use crate::test_kit::tls::{Role, Tls};

/// What a scripted peer says and expects, in order. Each method adds a step.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(Vec<u8>),
    Expect(String),
    ExpectReply(String),
    ExpectMessage,
    ExpectOctets(usize),
    ExpectEnd,
    Tls(Tls),
    Ignore,
    Pause(Duration),
    WaitFor(watch::Receiver<bool>),
    Stall,
    EndOutput,
    Close,
}

impl Script {
    /// No steps. At the end of a script the connection stays open until the [`Peer`] is dropped.
    ///
    /// [`Peer`]: crate::test_kit::Peer
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds all steps of another script.
    pub fn and(mut self, other: &Self) -> Self {
        self.steps.extend_from_slice(&other.steps);
        self
    }

    /// Sends these lines, each with CR LF, in one write. Lines are separated by `\n` in the text.
    pub fn say(self, text: &str) -> Self {
        let lines = text.lines().flat_map(|line| [line, "\r\n"]);
        self.then(Step::Send(lines.collect::<String>().into_bytes()))
    }

    /// Sends these octets as they are, for example a line without its end.
    pub fn send(self, octets: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Send(octets.into()))
    }

    /// Sends this many octets that are neither SMTP nor TLS: the same ones each time, with NUL,
    /// 8-bit octets, and bare line ends among them.
    pub fn garbage(self, octets: usize) -> Self {
        // A linear congruential generator; its high bits are random enough.
        let mut state = 0x2545_f491_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        self.then(Step::Send((0..octets).map(next).collect()))
    }

    /// Reads a line. It must begin with this text, in any case.
    pub fn expect(self, prefix: &str) -> Self {
        self.then(Step::Expect(prefix.to_owned()))
    }

    /// Reads a whole reply, of one line or more. The code of its last line must begin with this
    /// text.
    pub fn expect_reply(self, code: &str) -> Self {
        self.then(Step::ExpectReply(code.to_owned()))
    }

    /// Reads a message up to the line with one dot. [`Peer::messages`] has it.
    ///
    /// [`Peer::messages`]: crate::test_kit::Peer::messages
    pub fn expect_message(self) -> Self {
        self.then(Step::ExpectMessage)
    }

    /// Reads this many octets, of any value.
    pub fn expect_octets(self, count: usize) -> Self {
        self.then(Step::ExpectOctets(count))
    }

    /// Expects that the other side closes the connection, and sends nothing before.
    pub fn expect_end(self) -> Self {
        self.then(Step::ExpectEnd)
    }

    /// STARTTLS and the handshake: in the role of a server, expects the command and answers 220; in
    /// the role of a client, sends the command and expects 220.
    pub fn starttls(self, tls: Tls) -> Self {
        let injected = tls.injected.as_deref().unwrap_or_default();
        let script = match tls.role {
            Role::Server(_) => self.expect("STARTTLS").say(&format!("220 go ahead\n{injected}")),
            Role::Client(..) => self.say(&format!("STARTTLS\n{injected}")),
        };
        script.then(Step::Tls(Tls { reads_reply: true, ..tls }))
    }

    /// The handshake alone: as the first step for implicit TLS.
    pub fn tls(self, tls: Tls) -> Self {
        self.then(Step::Tls(tls))
    }

    /// Reads and drops everything until the other side closes the connection. Answers nothing.
    pub fn ignore(self) -> Self {
        self.then(Step::Ignore)
    }

    /// Neither reads nor sends for this long. In memory, and with the time of tokio
    /// [paused](https://docs.rs/tokio/latest/tokio/time/fn.pause.html), this takes no time.
    pub fn pause(self, time: Duration) -> Self {
        self.then(Step::Pause(time))
    }

    /// Neither reads nor sends until the value is true, or its sender is dropped.
    pub fn wait_for(self, value: watch::Receiver<bool>) -> Self {
        self.then(Step::WaitFor(value))
    }

    /// Neither reads nor sends any more, and keeps the connection open. The last step.
    pub fn stall(self) -> Self {
        self.then(Step::Stall)
    }

    /// Closes the sending side only.
    pub fn end_output(self) -> Self {
        self.then(Step::EndOutput)
    }

    /// Closes the connection, whatever the other side is doing. The last step.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }
}
