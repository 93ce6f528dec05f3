//! An HTTPS server that does what it is told, right or wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::common::{Pki, provider};

/// What the server does once it has the request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Sends this, and ends the TLS session as it should.
    Ends(String),
    /// Sends this, and ends the TCP connection in the middle of the TLS session.
    Breaks(String),
    /// Sends this, and keeps the connection.
    Keeps(String),
    /// Sends this, and then a piece in chunked coding again and again, with a pause before each.
    Endless(String, &'static str, Duration),
}

/// What the server does with a connection.
#[derive(Clone)]
pub(crate) enum Tls {
    /// A handshake with this certificate.
    Shows(Arc<CertifiedKey>),
    /// These octets, whatever the client says.
    Octets(Vec<u8>),
}

/// A server on loopback, and the requests that came.
pub(crate) struct Web {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(crate) async fn start(tls: Tls, answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer) = (tls.clone(), answer.clone());
                let kept = Arc::clone(&kept);
                tokio::spawn(async move { serve(stream, tls, answer, &kept).await });
            }
        });
        Self { port, requests }
    }

    /// A server with a good certificate for this host.
    pub(crate) async fn good(pki: &Pki, host: &str, answer: Answer) -> Self {
        Self::start(Tls::Shows(pki.identity(host)), answer).await
    }

    /// Header and body of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A response with a length.
pub(crate) fn response(status: &str, content_type: Option<&str>, body: &str) -> String {
    let content_type = content_type.map(|it| format!("Content-Type: {it}\r\n")).unwrap_or_default();
    let len = body.len();
    format!("HTTP/1.1 {status}\r\n{content_type}Content-Length: {len}\r\n\r\n{body}")
}

async fn serve(
    mut stream: TcpStream,
    tls: Tls,
    answer: Answer,
    requests: &Mutex<Vec<String>>,
) -> Option<()> {
    let identity = match tls {
        Tls::Shows(identity) => identity,
        Tls::Octets(octets) => {
            let _ = stream.read(&mut [0; 4096]).await.ok()?;
            stream.write_all(&octets).await.ok()?;
            // Until the client has had enough.
            return stream.read(&mut [0; 4096]).await.ok().map(|_| ());
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()?;
    let request = request(&mut stream).await?;
    requests.lock().unwrap().push(request);
    match answer {
        Answer::Ends(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            stream.shutdown().await.ok()?;
        }
        Answer::Breaks(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
            let (tcp, _) = stream.into_inner();
            drop(tcp);
        }
        Answer::Keeps(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
            let _ = stream.read(&mut [0; 16]).await;
        }
        Answer::Endless(text, piece, pause) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            loop {
                tokio::time::sleep(pause).await;
                let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                stream.write_all(chunk.as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
            }
        }
    }
    Some(())
}

/// Reads a request with the body that its length announces.
async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut octets = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        octets.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&octets);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let len: usize = len.map_or(0, |len| len.parse().unwrap());
        if octets.len() >= head.len() + 4 + len {
            return Some(text.into_owned());
        }
    }
}
