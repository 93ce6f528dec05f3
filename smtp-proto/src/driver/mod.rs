//! The driver loop, without its I/O: [`Driver`] owns a machine and its buffers, and says what to do
//! next.
//!
//! ```text
//!           space, received                     unsent, sent
//!  socket ────────────────────> Driver ────────────────────────> socket
//!                        step ─>   │
//!                                  └─> Event, or Caller | Look | Send | Receive | Handshake | Closed
//! ```
//!
//! A program that moves the octets calls [`Driver::step`] again and again, and does what the
//! [`Todo`] says. The rules that are easy to get wrong are kept here, for both roles and any I/O:
//! what is queued goes out before this side waits for the peer; nothing that came in clear text is
//! read inside TLS; the end of the input is reported once everything before it is answered; buffers
//! that held credentials are wiped; a connection that waits holds no buffer; a peer that reads
//! nothing cannot make the output grow.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use smtp_proto::channel::Channel;
//! use smtp_proto::driver::{Driver, Task, Todo};
//! use smtp_proto::server::{Server, ServerConfig, ServerEvent};
//! use smtp_proto::wire::reply::Response;
//!
//! // A client that has said everything at once, and closes its side.
//! let mut socket: (&[u8], Vec<u8>) = (b"HELO client.test.example\r\nNOOP\r\nQUIT\r\n", Vec::new());
//! let config = Arc::new(ServerConfig::new("mx.test.example".parse()?));
//! let mut driver = Driver::new(Server::new(config, Channel::Plain, Instant::now()));
//! loop {
//!     match driver.step(Instant::now())? {
//!         Todo::Event { event, machine, output } => {
//!             let code = if matches!(event, ServerEvent::Connected) { 220 } else { 250 };
//!             machine.respond(&Response::fixed(code, (2, 0, 0), "hello"), output.buffer())?;
//!         }
//!         Todo::Task(Task::Send { .. } | Task::Receive { .. } | Task::Look) => {
//!             driver.output().write_to(&mut socket.1)?;
//!             driver.read_from(&mut socket.0)?;
//!         }
//!         Todo::Task(Task::Closed) => break,
//!         Todo::Task(task) => unreachable!("no message and no TLS: {task:?}"),
//!     }
//! }
//! assert!(driver.output().unsent().ends_with(b"221 2.0.0 closing the connection\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buffers;
mod machine;

pub use buffers::Output;
pub use machine::Machine;

use std::io;
use std::io::ErrorKind;
use std::time::Instant;

use crate::error::Error;
use crate::starttls::{Before, before_handshake};
use crate::{Step, Want};
use buffers::{Incoming, Input};

/// One machine with its input and its output.
#[derive(Debug)]
pub struct Driver<M> {
    machine: M,
    input: Input,
    output: Output,
    /// Octets of the input that the last step consumed. They are dropped before the next one,
    /// because an event borrows them.
    consumed: usize,
    /// Octets of the output before the last step.
    before: usize,
    /// The octets that the last step consumed may hold credentials.
    wipes: bool,
    /// The peer has closed its sending side.
    ended: bool,
    /// The last step was [`Task::Look`].
    looked: bool,
    /// The next step shows the machine no input.
    held: bool,
    /// When the last wait was to end.
    deadline: Option<Instant>,
}

/// What to do before the next step.
#[must_use]
pub enum Todo<'d, M: Machine> {
    /// Handle the event, and answer it where it asks for an answer.
    Event {
        /// What has happened, or what is asked.
        event: M::Event<'d>,
        /// The machine that takes the answer.
        machine: &'d mut M,
        /// Where the machine writes the answer. While a late answer is awaited, the output may be
        /// sent.
        output: &'d mut Output,
    },
    /// Nothing more can be done without the caller.
    Task(Task),
}

/// What the machine waits for.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The caller acts, and nothing is left to send: a client needs the next piece of the message,
    /// a server the response to its last event. See [`Want::Caller`].
    Caller,
    /// Take in what can be read without waiting, and go on if there is nothing: the peer should be
    /// silent now, and the machine must see if it is not.
    Look,
    /// Send the output.
    Send {
        /// Read meanwhile, and step again as soon as something has come: the peer may read no
        /// further before it is heard. False: read nothing, because the peer has closed its side,
        /// or reads too little.
        listens: bool,
        /// When to step again at the latest.
        deadline: Option<Instant>,
    },
    /// Read something, and send the output meanwhile.
    Receive {
        /// When to step again at the latest.
        deadline: Option<Instant>,
    },
    /// Run the TLS handshake, and tell the machine how it ended. The output is sent.
    Handshake {
        /// When the handshake must be over.
        deadline: Option<Instant>,
    },
    /// The conversation is over: send the output, then close the connection.
    Closed,
}

impl<M: Machine> Driver<M> {
    /// A driver with empty buffers.
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            input: Input::default(),
            output: Output::default(),
            consumed: 0,
            before: 0,
            wipes: false,
            ended: false,
            looked: false,
            held: false,
            deadline: None,
        }
    }

    /// Advances the machine, and returns what to do next.
    ///
    /// # Errors
    ///
    /// The conversation is over: send the output, because a 421 may be in it, and close the
    /// connection. Errors are sticky.
    pub fn step(&mut self, now: Instant) -> Result<Todo<'_, M>, Error> {
        self.drop_consumed();
        self.before = self.output.octets.len();
        // A peer that reads too little is not heard, and is owed no further reply, until it reads:
        // what it sends would only pile up.
        let is_full = self.output.unsent().len() > M::MAX_QUEUED;
        // Between an answer and the next wait the machine has no deadline; the last one goes on.
        let deadline = self.machine.deadline().or(self.deadline);
        if is_full && deadline.is_some_and(|deadline| now < deadline) {
            return Ok(Todo::Task(Task::Send { listens: false, deadline }));
        }
        let (looked, held) = (std::mem::take(&mut self.looked), std::mem::take(&mut self.held));
        if !looked && self.machine.expects_silence() {
            self.looked = true;
            return Ok(Todo::Task(Task::Look));
        }
        let held = held || is_full;
        loop {
            let start = if held { self.input.end } else { self.input.start + self.consumed };
            let unread = &self.input.octets[start..self.input.end];
            let polled = self.machine.poll(unread, &mut self.output.octets, now);
            if self.machine.has_handled_secrets() {
                (self.wipes, self.input.secret, self.output.secret) = (true, true, true);
            }
            let progress = polled?;
            self.consumed += progress.consumed;
            let want = match progress.step {
                Step::Event(event) if M::is_closed(&event) => return Ok(Todo::Task(Task::Closed)),
                Step::Event(event) => {
                    let (machine, output) = (&mut self.machine, &mut self.output);
                    return Ok(Todo::Event { event, machine, output });
                }
                Step::Wait(want) => want,
            };
            let deadline = self.machine.deadline();
            self.deadline = deadline;
            let is_sent = self.output.unsent().is_empty();
            return Ok(Todo::Task(match want {
                // The last replies are still sent: real clients close their side before they read.
                Want::Input if self.ended && !is_sent => Task::Send { listens: false, deadline },
                Want::Handshake if is_sent || !self.ended => {
                    match before_handshake(is_sent, looked, self.machine.expects_silence()) {
                        Before::Send => Task::Send { listens: true, deadline },
                        Before::Look => {
                            self.looked = true;
                            Task::Look
                        }
                        Before::Handshake => Task::Handshake { deadline },
                    }
                }
                Want::Input | Want::Caller | Want::Handshake if self.ended => {
                    self.machine.handle_eof()?;
                    continue;
                }
                _ if is_full => Task::Send { listens: false, deadline },
                Want::Input => Task::Receive { deadline },
                Want::Caller if is_sent => Task::Caller,
                Want::Caller | Want::Handshake => Task::Send { listens: true, deadline },
            }));
        }
    }

    /// Shows the machine no input in the next step: for a caller that must see more of the input
    /// before it decides what it is.
    pub fn hold_input(&mut self) {
        self.held = true;
    }

    /// Room for octets that are read now. [`received`](Self::received) must follow.
    pub fn space(&mut self) -> &mut [u8] {
        self.drop_consumed();
        let incoming = self.incoming();
        self.input.space(incoming)
    }

    /// So many octets were read to the start of the [`space`](Self::space). 0: the peer has closed
    /// its sending side.
    ///
    /// # Panics
    ///
    /// If the space was shorter.
    pub fn received(&mut self, octets: usize) {
        assert!(octets <= self.input.octets.len() - self.input.end, "more octets than the space");
        self.input.received(octets, self.incoming());
        self.ended |= octets == 0;
    }

    /// Whether commands or replies come next, and no credentials: such octets may also be read to a
    /// buffer elsewhere, and be [taken in](Self::take_in). A connection then needs no room while it
    /// waits for them.
    pub fn hears_lines(&self) -> bool {
        self.incoming() == Incoming::Lines
    }

    /// Takes in octets that were read elsewhere: [`hears_lines`](Self::hears_lines). None: the peer
    /// has closed its sending side.
    pub fn take_in(&mut self, octets: &[u8]) {
        self.drop_consumed();
        self.input.push(octets);
        self.ended |= octets.is_empty();
    }

    /// Reads once from a stream whose reads block. Returns without octets if the stream's own time
    /// limit passes before there are some: the next step knows what that means.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn read_from(&mut self, stream: &mut impl io::Read) -> io::Result<()> {
        match stream.read(self.space()) {
            Ok(read) => self.received(read),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Frees the buffer of the input if there is nothing in it, for a wait that may take minutes.
    pub fn release(&mut self) {
        self.drop_consumed();
        if self.incoming() == Incoming::Lines {
            self.input.release();
        }
    }

    fn incoming(&self) -> Incoming {
        match self.machine.secret_line() {
            _ if self.machine.reads_message() => Incoming::Message,
            Some(longest) => Incoming::Secrets(longest),
            None => Incoming::Lines,
        }
    }

    fn drop_consumed(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        self.input.advance(consumed, std::mem::take(&mut self.wipes));
    }

    /// What was read and is not consumed yet.
    pub fn unread(&self) -> &[u8] {
        &self.input.unread()[self.consumed..]
    }

    /// What the last step consumed, for a log; until the next step or read. It may hold
    /// credentials: [`Machine::has_handled_secrets`].
    pub fn heard(&self) -> &[u8] {
        &self.input.unread()[..self.consumed]
    }

    /// What the last step wrote, for a log; until it is sent. It may hold credentials, as what was
    /// [`heard`](Self::heard).
    pub fn said(&self) -> &[u8] {
        self.output.octets.get(self.before..).unwrap_or_default()
    }

    /// Whether the peer has closed its sending side.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// The machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, to change it.
    pub const fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// What must be sent.
    pub const fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The machine and the buffer that its methods write to.
    pub fn parts(&mut self) -> (&mut M, &mut Vec<u8>) {
        (&mut self.machine, self.output.buffer())
    }
}
