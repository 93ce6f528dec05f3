//! A driver on `std::net` for either role: it moves the octets, inside TLS after the handshake.
//!
//! It reads only when it has nothing to send: good enough for messages that fit the socket buffers.
//! For others a driver sends without blocking, to read a reply in the middle of the body.

use std::io::{Read, Write};
use std::time::{Duration, Instant};
use std::{io, net::TcpStream, sync::Arc};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use smtp_proto::channel::{Peer, TlsInfo};
use smtp_proto::driver::{Driver, Machine, Task};
use smtp_tls_policy::tls::session_names;

use crate::Failed;

/// A stream in clear text or in TLS.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A stream, and the socket below it for the time limits.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    socket: TcpStream,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { stream: Box::new(socket.try_clone()?), socket })
    }

    /// Sends and reads what a task asks for; the caller does the other tasks.
    pub(crate) fn run(&mut self, task: Task, driver: &mut Driver<impl Machine>) -> io::Result<()> {
        match task {
            Task::Look => {
                self.socket.set_nonblocking(true)?;
                let read = driver.read_from(&mut self.stream);
                self.socket.set_nonblocking(false)?;
                read
            }
            Task::Send { deadline, .. } | Task::Receive { deadline, .. } => {
                let left = |at: Instant| at.saturating_duration_since(Instant::now());
                let patience = deadline.map(|at| left(at).max(Duration::from_millis(1)));
                self.socket.set_read_timeout(patience)?;
                self.socket.set_write_timeout(patience)?;
                driver.output().write_to(&mut self.stream)?;
                let reads = matches!(task, Task::Receive { .. });
                if reads { driver.read_from(&mut self.stream) } else { Ok(()) }
            }
            Task::Caller | Task::Handshake { .. } | Task::Closed => Ok(()),
        }
    }

    /// Runs the handshake as a client, which fails unless the server is the one of the plan.
    pub(crate) fn secure(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        deadline: Option<Instant>,
    ) -> Result<TlsInfo, Failed> {
        let mut session = ClientConnection::new(config, name)?;
        while session.is_handshaking() || session.wants_write() {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            // Fails if no time is left.
            self.socket.set_read_timeout(left)?;
            if session.wants_write() {
                session.write_tls(&mut self.socket)?;
            } else if session.read_tls(&mut self.socket)? == 0 {
                return Err("the server hung up in the handshake".into());
            } else {
                session.process_new_packets()?;
            }
        }
        let names = session_names(&session).ok_or("no name of the session")?;
        self.stream = Box::new(StreamOwned::new(session, self.socket.try_clone()?));
        Ok(TlsInfo::new(Peer::Authenticated, names.version, names.cipher))
    }
}
