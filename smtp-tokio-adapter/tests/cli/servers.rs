//! Mail servers for the program to connect to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rustls::sign::CertifiedKey;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Inbound, serve};
use tokio::runtime::Runtime;

use crate::common::{Kept, Taker, provider, smtp, start};

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// A server that offers STARTTLS with this certificate, and lasts as long as the tests.
pub(crate) fn with_tls(identity: Arc<CertifiedKey>) -> (SocketAddr, Arc<Kept>) {
    serve_tls(server_config(identity, ClientCertificates::None, provider()).unwrap())
}

fn serve_tls(tls: Arc<rustls::ServerConfig>) -> (SocketAddr, Arc<Kept>) {
    let mut inbound = Inbound::new(Arc::new(smtp()));
    inbound.tls = Some(tls);
    let running = runtime().block_on(start(inbound));
    let (address, kept) = (running.address, Arc::clone(&running.kept));
    // Dropping the sender would stop the server.
    std::mem::forget(running.stop);
    (address, kept)
}

/// Serves with this certificate on a listener that is there already.
pub(crate) fn serve_with_tls(listener: TcpListener, identity: Arc<CertifiedKey>) {
    let mut inbound = Inbound::new(Arc::new(smtp()));
    inbound.tls = Some(server_config(identity, ClientCertificates::None, provider()).unwrap());
    runtime().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let service = |_: SocketAddr| Taker::new(|_| Response::fixed(554, (5, 0, 0), "no mail"));
        serve(listener, inbound, service, std::future::pending::<()>()).await
    });
}

/// A filter before a server. It counts the connections; if it `closes`, those whose ClientHello is
/// larger than one packet, as one with a post-quantum key share is, are closed.
pub(crate) fn filtered(server: SocketAddr, closes: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = on_each_connection(move |mut client| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut server = TcpStream::connect(server)?;
        let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            to_client.shutdown(Shutdown::Both)
        });
        let mut octets = [0; 4096];
        loop {
            let read = client.read(&mut octets)?;
            // RFC 8446, section 5.1: a handshake record begins with the octet 22 and the version 3.
            if read == 0 || (closes && octets.starts_with(&[22, 3]) && read > 1000) {
                return server.shutdown(Shutdown::Both);
            }
            server.write_all(&octets[..read])?;
        }
    });
    (address, count)
}

/// A server that takes this version and these groups only.
pub(crate) fn with_tls_of(
    identity: Arc<CertifiedKey>,
    version: &'static rustls::SupportedProtocolVersion,
    groups: &[&str],
) -> SocketAddr {
    let mut provider = provider().as_ref().clone();
    provider.kx_groups.retain(|it| groups.contains(&&*format!("{:?}", it.name())));
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
    serve_tls(Arc::new(tls)).0
}

/// A web server that has this file, and counts how often it is asked for.
pub(crate) fn web(file: Arc<Mutex<Vec<u8>>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = on_each_connection(move |mut stream| {
        let mut input = BufReader::new(stream.try_clone()?);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if input.read_line(&mut request)? == 0 {
                return Ok(());
            }
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let file = file.lock().unwrap().clone();
        let length = file.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
        stream.write_all(&file)
    });
    (address, count)
}

/// A server that says these lines: the greeting, then one reply for each line that comes. After the
/// last of them it says nothing, and keeps the connection until the client is gone.
pub(crate) fn scripted(replies: &'static [&'static str]) -> SocketAddr {
    on_each_connection(move |mut stream| {
        let mut input = BufReader::new(stream.try_clone()?);
        for reply in replies {
            stream.write_all(format!("{reply}\r\n").as_bytes())?;
            if input.skip_until(b'\n')? == 0 {
                return Ok(());
            }
        }
        std::io::copy(&mut input, &mut std::io::sink())?;
        Ok(())
    })
}

/// A server that takes no TLS, on this listener; it notes from where each client comes.
pub(crate) fn plain_on(listener: TcpListener) -> Arc<Mutex<Vec<IpAddr>>> {
    let clients = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&clients);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            seen.lock().unwrap().push(stream.peer_addr().unwrap().ip());
            let _ = (|| {
                let mut input = BufReader::new(stream.try_clone()?);
                for reply in ["220 mx", "250 mx", "221 bye"] {
                    stream.write_all(format!("{reply}\r\n").as_bytes())?;
                    input.skip_until(b'\n')?;
                }
                std::io::Result::Ok(())
            })();
        }
    });
    clients
}

/// A SOCKS5 proxy (RFC 1928) that makes the connections it is asked for, and counts them.
pub(crate) fn socks5() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = on_each_connection(move |mut client| {
        let mut hello = [0; 2];
        client.read_exact(&mut hello)?;
        client.read_exact(&mut vec![0; hello[1].into()])?;
        client.write_all(&[5, 0])?;
        // Version, CONNECT, reserved, IPv4, address, port.
        let mut request = [0; 10];
        client.read_exact(&mut request)?;
        assert_eq!(request[..4], [5, 1, 0, 1]);
        counted.fetch_add(1, Ordering::Relaxed);
        let ip: [u8; 4] = request[4..8].try_into().unwrap();
        let port = u16::from_be_bytes([request[8], request[9]]);
        let mut server = TcpStream::connect((IpAddr::from(ip), port))?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            to_client.shutdown(Shutdown::Both)
        });
        std::io::copy(&mut client, &mut server)?;
        server.shutdown(Shutdown::Both)
    });
    (address, count)
}

/// A server that answers STARTTLS with 220, and the handshake with something else.
pub(crate) fn rubbish_after_starttls() -> SocketAddr {
    scripted(&["220 mx", "250-mx\r\n250 STARTTLS", "220 go ahead", "what is this?"])
}

/// A server that sends these octets and closes.
pub(crate) fn rubbish(octets: Vec<u8>) -> SocketAddr {
    on_each_connection(move |mut stream| stream.write_all(&octets))
}

/// A policy host of MTA-STS (RFC 8461, section 3.3) for each of these domains, with the mode and
/// the MX pattern of its policy.
pub(crate) fn policy_host(
    identity: Arc<CertifiedKey>,
    policies: &'static [(&'static str, &'static str, &'static str)],
) -> SocketAddr {
    let config = server_config(identity, ClientCertificates::None, provider()).unwrap();
    on_each_connection(move |mut stream| {
        let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = rustls::Stream::new(&mut session, &mut stream);
        let mut request = String::new();
        let mut input = BufReader::new(&mut tls);
        while !request.ends_with("\r\n\r\n") {
            if input.read_line(&mut request)? == 0 {
                return Ok(());
            }
        }
        let asks = |domain: &str| request.contains(&format!("mta-sts.{domain}"));
        let asked = policies.iter().find(|(domain, ..)| asks(domain));
        let (_, mode, mx) = asked.unwrap_or_else(|| panic!("{request}"));
        let policy = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
        let length = policy.len();
        let header = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
        write!(tls, "{header}Content-Length: {length}\r\n\r\n{policy}")?;
        session.send_close_notify();
        session.write_tls(&mut stream)?;
        Ok(())
    })
}

fn on_each_connection(
    serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            // A client that has gone is no fault of the test.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    address
}

/// An address where nothing listens.
pub(crate) fn refused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
