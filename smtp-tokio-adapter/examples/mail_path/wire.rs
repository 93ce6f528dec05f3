//! The recorder on the wire: a relay between two peers that keeps every byte and counts what it can
//! read.
//!
//! It is no part of either peer and believes neither: it follows the conversation in clear text,
//! counts the octets of the message that it sees there, and takes for TLS only what is framed as
//! TLS records from the first byte to the last (RFC 8446, section 5.1).

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Failed;

/// What was seen on all connections of one hop.
#[derive(Default)]
struct Seen {
    /// Octets of messages in clear text, without dot-stuffing and the final dot.
    clear_octets: i64,
    capture: Option<std::fs::File>,
    /// The first error in writing it.
    capture_error: Option<std::io::Error>,
}

impl Seen {
    fn keep(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.capture
            && let Err(error) = file.write_all(bytes)
        {
            self.capture_error.get_or_insert(error);
        }
    }
}

/// A relay to the servers of one host: one server at each of its addresses.
pub struct Recorder {
    /// The port, which is the same at each address.
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    relays: JoinSet<()>,
}

impl Recorder {
    /// Listens at 127.0.0.1, 127.0.0.2 and so on, one address for each server. `capture`: where
    /// every byte of both directions goes, in the order of its coming.
    pub async fn start(servers: &[SocketAddr], capture: Option<&Path>) -> Result<Self, Failed> {
        let (port, listeners) = listen(servers.len()).await?;
        let capture = capture.map(std::fs::File::create).transpose()?;
        let seen = Arc::new(Mutex::new(Seen { capture, ..Seen::default() }));
        let mut relays = JoinSet::new();
        for (listener, &server) in listeners.into_iter().zip(servers) {
            let shared = Arc::clone(&seen);
            relays.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    connections.spawn(relay(client, server, Arc::clone(&shared)));
                }
            });
        }
        Ok(Self { port, seen, relays })
    }

    /// Stops; the octets of messages that were seen in clear text.
    pub async fn finish(mut self) -> Result<u64, Failed> {
        self.relays.shutdown().await;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.capture_error.take() {
            Some(error) => Err(error.into()),
            None => Ok(seen.clear_octets.unsigned_abs()),
        }
    }
}

/// The address of this number on the loopback network, from 0.
pub fn loopback(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number as u32))
}

/// Listeners at so many addresses, on one port that is free at all of them.
async fn listen(addresses: usize) -> Result<(u16, Vec<TcpListener>), Failed> {
    'again: loop {
        let first = TcpListener::bind((loopback(0), 0)).await?;
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        for number in 1..addresses {
            match TcpListener::bind((loopback(number), port)).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => continue 'again,
                Err(error) => return Err(error.into()),
            }
        }
        return Ok((port, listeners));
    }
}

async fn relay(client: TcpStream, server: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    // A relay must not add the delays that it is there to rule out.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let watching = Arc::clone(&seen);
    let up = async move {
        let mut watch = Watch::default();
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            {
                let mut seen = watching.lock().unwrap_or_else(PoisonError::into_inner);
                seen.keep(&bytes[..read]);
                seen.clear_octets += watch.look(&bytes[..read]);
            }
            if to_server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
        let _: std::io::Result<()> = to_server.shutdown().await;
    };
    let down = async move {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            seen.lock().unwrap_or_else(PoisonError::into_inner).keep(&bytes[..read]);
            if to_client.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
        let _: std::io::Result<()> = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// Follows what a client sends.
#[derive(Default)]
struct Watch {
    state: Reading,
    line: Vec<u8>,
}

#[derive(Default)]
enum Reading {
    #[default]
    Commands,
    /// After DATA; whether the last octets were CR LF, as they are at the start.
    Message(Tail),
    /// After STARTTLS: the next octet must begin a TLS record.
    Tls(Record),
}

/// The last octets of a message, as far as they may belong to CRLF.CRLF.
#[derive(Clone, Copy, PartialEq)]
enum Tail {
    Text,
    Cr,
    CrLf,
    CrLfDot,
    CrLfDotCr,
}

/// Where the octets of a record layer stand.
#[derive(Default)]
struct Record {
    header: Vec<u8>,
    /// Octets of the record's body that are still to come.
    body: usize,
}

/// Change cipher spec, alert, handshake, application data (RFC 8446, section 5.1).
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;

impl Watch {
    /// The octets of a message in clear text among these; less those of earlier ones that turn out
    /// to be none.
    fn look(&mut self, bytes: &[u8]) -> i64 {
        let mut clear = 0;
        for &byte in bytes {
            match &mut self.state {
                Reading::Commands => {
                    self.line.push(byte);
                    if byte == b'\n' {
                        if self.line.eq_ignore_ascii_case(b"DATA\r\n") {
                            self.state = Reading::Message(Tail::CrLf);
                        } else if self.line.eq_ignore_ascii_case(b"STARTTLS\r\n") {
                            self.state = Reading::Tls(Record::default());
                        }
                        self.line.clear();
                    }
                }
                Reading::Message(tail) => {
                    clear += 1;
                    *tail = match (*tail, byte) {
                        (Tail::CrLf, b'.') => Tail::CrLfDot,
                        (Tail::CrLfDot, b'\r') => Tail::CrLfDotCr,
                        (Tail::CrLfDotCr, b'\n') => {
                            clear -= 3;
                            self.state = Reading::Commands;
                            continue;
                        }
                        (Tail::Cr, b'\n') => Tail::CrLf,
                        (before, byte) => {
                            // The dot before this octet was stuffing.
                            clear -= i64::from(matches!(before, Tail::CrLfDot | Tail::CrLfDotCr));
                            if byte == b'\r' { Tail::Cr } else { Tail::Text }
                        }
                    };
                }
                Reading::Tls(record) if record.body > 0 => record.body -= 1,
                Reading::Tls(record) => {
                    record.header.push(byte);
                    let [kind, major, _, high, low] = record.header[..] else {
                        if !RECORD_TYPES.contains(&record.header[0]) {
                            // STARTTLS was refused and this is the next command, or one side does
                            // not speak TLS.
                            self.line = std::mem::take(&mut record.header);
                            self.state = Reading::Commands;
                        }
                        continue;
                    };
                    if !RECORD_TYPES.contains(&kind) || major != 3 {
                        // Not TLS after all: from here on everything counts.
                        self.state = Reading::Message(Tail::Text);
                        continue;
                    }
                    record.body = usize::from(u16::from_be_bytes([high, low]));
                    record.header.clear();
                }
            }
        }
        clear
    }
}
