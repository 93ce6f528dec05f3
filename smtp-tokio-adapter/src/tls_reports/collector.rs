//! Sessions to a collector of the tlsrpt-reporter, by datagram.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use smtp_tls_policy::Domain;
use smtp_tls_policy::tlsrpt::{ReportedSession, TlsrptRecord, datagram};

/// Hands sessions to `tlsrpt-collectd` on this host, in the form of libtlsrpt.
///
/// It never waits: a collector that is away or slow costs sessions in a report, and no mail.
#[derive(Debug)]
pub struct Collector {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Collector {
    /// The collector that listens on this socket; it need not run yet.
    ///
    /// # Errors
    ///
    /// The system has no socket for us.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.into() })
    }

    /// Hands over the sessions of one connection: the domain that was mailed to, the record with
    /// which it asks for reports, and [`Report::sessions`](crate::Report::sessions).
    ///
    /// # Errors
    ///
    /// The collector does not listen, or its queue is full: the sessions are lost.
    pub fn send(
        &self,
        domain: &Domain,
        record: &TlsrptRecord,
        sessions: &[ReportedSession],
    ) -> io::Result<()> {
        let Some(datagram) = datagram(domain, record, sessions) else { return Ok(()) };
        self.socket.send_to(datagram.as_bytes(), &self.path).map(|_| ())
    }
}
