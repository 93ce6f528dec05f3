//! A driver on `std::net` for either role: it moves the octets, inside TLS after the handshake.
//!
//! It reads only when it has nothing to send. That is good enough for messages that fit the socket
//! buffers; for large messages a driver sends with non-blocking writes, so that it can read a reply
//! that comes in the middle of the body, as the adapter does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::ProtocolVersion;
use smtp_proto::Machine;
use smtp_proto::channel::{Peer, TlsInfo};

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A stream in clear text or in TLS; both sides of rustls look alike from here.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A stream, its two buffers, and the socket below it for the time limits.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    pub(crate) socket: TcpStream,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let stream = Box::new(socket.try_clone()?);
        Ok(Self { stream, socket, input: Vec::new(), output: Vec::new() })
    }

    pub(crate) fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.stream.flush()?;
        self.output.clear();
        Ok(())
    }

    /// Sends, then reads until the machine's deadline; tells the machine about the end of the
    /// input.
    pub(crate) fn exchange(&mut self, machine: &mut impl Machine) -> Result<(), Failed> {
        self.send()?;
        let patience = machine.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        self.socket.set_read_timeout(patience)?;
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes)?;
        self.input.extend_from_slice(&bytes[..read]);
        if read == 0 {
            machine.handle_eof()?;
        }
        Ok(())
    }

    /// Goes on inside TLS.
    pub(crate) fn upgrade(
        &mut self,
        machine: &mut impl Machine,
        stream: Box<dyn Stream>,
        version: Option<ProtocolVersion>,
    ) -> Result<(), Failed> {
        let version = match version {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let tls = TlsInfo::new(Peer::Authenticated, version, "");
        machine.tls_established(Arc::new(tls), Instant::now())?;
        self.stream = stream;
        Ok(())
    }
}
