//! The same core without a runtime: both roles on `std::net`, one thread each, with STARTTLS by rustls.
//!
//! The driver loop is the whole of it: poll, send, read, and a handshake in between. A driver that reads only when it
//! has nothing to send is good enough for messages that fit the socket buffers; one for large messages sends with
//! non-blocking writes, so that it can read a reply that comes in the middle of the body (see the adapter's own).
//!
//! ```text
//! cargo run --example blocking
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::client;
use smtp_proto::client::{Client, ClientEvent, Envelope, Outcome, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::server;
use smtp_proto::server::{Server, ServerEvent as Asked, StartTls};
use smtp_proto::wire::path::ReversePathBuf;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Step, Want};

type Failed = Box<dyn Error + Send + Sync>;

const HOST: &str = "mx.test.example";
const MESSAGE: &[u8] = b"Subject: no runtime\r\n\r\n.one dot\r\n";

/// Clear text or TLS; both sides of rustls look alike from here.
enum Stream {
    Plain(TcpStream),
    Tls(Box<dyn ReadWrite>),
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A stream, its two buffers, and the socket below for its time limits.
struct Wire {
    stream: Stream,
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let stream = Stream::Plain(socket.try_clone()?);
        Ok(Self { stream, socket, input: Vec::new(), output: Vec::new() })
    }

    fn send(&mut self) -> io::Result<()> {
        let stream: &mut dyn ReadWrite = match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream,
        };
        stream.write_all(&self.output)?;
        stream.flush()?;
        self.output.clear();
        Ok(())
    }

    /// Sends, then reads until the deadline; false at the end of the input.
    fn exchange(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        self.send()?;
        self.socket
            .set_read_timeout(deadline.map(|at| at.saturating_duration_since(Instant::now())))?;
        let mut bytes = [0; 4096];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut bytes)?,
            Stream::Tls(stream) => stream.read(&mut bytes)?,
        };
        self.input.extend_from_slice(&bytes[..read]);
        Ok(read > 0)
    }
}

fn tls_info(version: Option<rustls::ProtocolVersion>) -> Arc<TlsInfo> {
    let version =
        if version == Some(rustls::ProtocolVersion::TLSv1_2) { "TLSv1.2" } else { "TLSv1.3" };
    Arc::new(TlsInfo::new(Peer::Authenticated, version, ""))
}

fn send(stream: TcpStream, tls: Arc<rustls::ClientConfig>) -> Result<String, Failed> {
    let config = Arc::new(client::ClientConfig::new("client.test.example".parse()?));
    let mut client = Client::new(config, TlsRules::REQUIRED, Channel::Plain, Instant::now());
    let mut wire = Wire::new(stream)?;
    let mut word = String::from("no word");
    loop {
        let progress = client.poll(&wire.input, &mut wire.output, Instant::now())?;
        let (mut start, mut body, mut quit) = (false, false, false);
        let mut wait = None;
        match progress.step {
            Step::Event(ClientEvent::Ready) => start = true,
            Step::Event(ClientEvent::SendBody) => body = true,
            Step::Event(ClientEvent::Finished(outcome)) => {
                quit = true;
                if let Outcome::Accepted(reply) = outcome {
                    word = reply.to_string();
                }
            }
            Step::Event(ClientEvent::Closed) => return Ok(word),
            Step::Event(_) => {}
            Step::Wait(want) => wait = Some(want),
        }
        wire.input.drain(..progress.consumed);
        let now = Instant::now();
        if start {
            let reader: Recipient = "reader@test.example".parse()?;
            let mut envelope = Envelope::new(ReversePathBuf::NULL, [reader]);
            envelope.size = Some(MESSAGE.len() as u64);
            client.start_transaction(Arc::new(envelope), now)?;
        }
        if body {
            client.write_body(MESSAGE, &mut wire.output, now)?;
            client.end_body(&mut wire.output, now)?;
        }
        if quit {
            client.quit()?;
        }
        match wait {
            Some(Want::Handshake) => {
                let session = ClientConnection::new(Arc::clone(&tls), ServerName::try_from(HOST)?)?;
                let mut stream = StreamOwned::new(session, wire.socket.try_clone()?);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                client.tls_established(tls_info(stream.conn.protocol_version()), Instant::now())?;
                wire.stream = Stream::Tls(Box::new(stream));
            }
            Some(_) if !wire.exchange(client.deadline())? => client.handle_eof()?,
            _ => {}
        }
    }
}

fn receive(stream: TcpStream, tls: Arc<rustls::ServerConfig>) -> Result<Vec<u8>, Failed> {
    let config = server::ServerConfig {
        starttls: StartTls::Offered,
        ..server::ServerConfig::new(HOST.parse()?)
    };
    let mut server = Server::new(Arc::new(config), Channel::Plain, Instant::now());
    let mut wire = Wire::new(stream)?;
    let mut message = Vec::new();
    loop {
        let progress = server.poll(&wire.input, &mut wire.output, Instant::now())?;
        let mut wait = None;
        let response = match progress.step {
            Step::Event(Asked::Connected | Asked::StartTls) => {
                Some(Response::fixed(220, (2, 0, 0), "go ahead"))
            }
            Step::Event(Asked::Data) => Some(Response::fixed(354, (3, 0, 0), "go ahead")),
            Step::Event(Asked::Body(runs)) => {
                runs.append_to(&mut message);
                None
            }
            Step::Event(Asked::Reset | Asked::BodyRefused(_)) => None,
            Step::Event(Asked::Closed) => {
                wire.send()?;
                return Ok(message);
            }
            Step::Event(_) => Some(Response::fixed(250, (2, 0, 0), "OK")),
            Step::Wait(want) => {
                wait = Some(want);
                None
            }
        };
        wire.input.drain(..progress.consumed);
        if let Some(response) = response {
            server.respond(&response, &mut wire.output)?;
        }
        match wait {
            Some(Want::Handshake) => {
                wire.send()?;
                let session = ServerConnection::new(Arc::clone(&tls))?;
                let mut stream = StreamOwned::new(session, wire.socket.try_clone()?);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                server.tls_established(tls_info(stream.conn.protocol_version()), Instant::now())?;
                wire.stream = Stream::Tls(Box::new(stream));
            }
            Some(_) if !wire.exchange(server.deadline())? => {
                server.handle_eof()?;
                return Ok(message);
            }
            _ => {}
        }
    }
}

/// A certificate for [`HOST`], and both configurations that go with it.
fn tls() -> Result<(Arc<rustls::ClientConfig>, Arc<rustls::ServerConfig>), Failed> {
    let key = rcgen::KeyPair::generate()?;
    let certificate: CertificateDer<'static> =
        rcgen::CertificateParams::new(vec![HOST.to_owned()])?.self_signed(&key)?.der().clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone())?;
    let provider = Arc::new(default_provider());
    let client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok((Arc::new(client), Arc::new(server)))
}

fn main() -> Result<(), Failed> {
    let (client_tls, server_tls) = tls()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let receiving = thread::spawn(move || receive(listener.accept()?.0, server_tls));
    let word = send(TcpStream::connect(address)?, client_tls)?;
    let received = receiving.join().map_err(|_| "the server's thread panicked")??;
    let intact = if received == MESSAGE { "intact" } else { "changed" };
    writeln!(
        io::stdout(),
        "the server says: {word}\nthe message arrived {intact}, over TLS, without a runtime"
    )?;
    if received == MESSAGE { Ok(()) } else { Err("the message was changed".into()) }
}
