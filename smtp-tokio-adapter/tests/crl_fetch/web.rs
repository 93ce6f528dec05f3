//! An authority whose certificates name lists, and a web server for the lists that misbehaves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, KeyIdMethod, RevokedCertParams, SerialNumber,
};
use rustls::sign::CertifiedKey;
use smtp_tokio_adapter::test_kit::Pki;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::common::HOST;

pub(crate) const SERIAL: u64 = 42;

/// An authority that names and signs lists.
pub(crate) struct Authority(pub(crate) Pki);

impl Authority {
    /// The certificate of the host, which names these URLs of its list.
    pub(crate) fn leaf(&self, urls: &[String]) -> Arc<CertifiedKey> {
        self.leaf_of(SERIAL, urls)
    }

    /// The same with another serial number.
    pub(crate) fn leaf_of(&self, serial: u64, urls: &[String]) -> Arc<CertifiedKey> {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: urls.to_vec() }];
        self.0.sign(&params)
    }

    /// A list with this number, which revokes these serials, from `age` hours ago for `life` hours.
    pub(crate) fn list(
        &self,
        number: u64,
        serials: &[u64],
        (age, life): (i64, i64),
        point: &str,
    ) -> Vec<u8> {
        let this_update = OffsetDateTime::now_utc() - time::Duration::hours(age);
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update: this_update + time::Duration::hours(life),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris: vec![point.to_owned()] },
                scope: None,
            }),
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(self.0.issuer()).unwrap().der().to_vec()
    }
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    List(Vec<u8>),
    /// A list of which there is one copy.
    Long(Arc<[u8]>),
    /// The list, once the gate is open.
    Gated(Arc<Semaphore>, Vec<u8>),
    /// These octets, and the end of the connection.
    Raw(Vec<u8>),
    /// A body without an end, a piece each time.
    Endless,
    /// Nothing.
    Silence,
}

/// A web server on loopback that counts its requests.
#[derive(Clone)]
pub(crate) struct Web {
    base: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    requests: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let web = Self { base, answers: Arc::default(), requests: Arc::default() };
        let server = web.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        web
    }

    async fn serve(&self, mut stream: tokio::net::TcpStream) -> Option<()> {
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut octets = [0; 1024];
            let count = stream.read(&mut octets).await.ok().filter(|count| *count > 0)?;
            request.extend_from_slice(&octets[..count]);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let request = String::from_utf8(request).ok()?;
        let path = request.split(' ').nth(1)?;
        let answer = self.answers.lock().unwrap().get(path).cloned();
        match answer.unwrap_or(Answer::Raw(b"HTTP/1.1 404 No\r\n\r\n".to_vec())) {
            Answer::Long(list) => {
                stream.write_all(head(&list).as_bytes()).await.ok()?;
                stream.write_all(&list).await.ok()?;
            }
            Answer::List(list) => stream.write_all(&found(&list)).await.ok()?,
            Answer::Gated(gate, list) => {
                drop(gate.acquire().await.ok()?);
                stream.write_all(&found(&list)).await.ok()?;
            }
            Answer::Raw(octets) => stream.write_all(&octets).await.ok()?,
            Answer::Endless => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head).await.ok()?;
                loop {
                    stream.write_all(b"400\r\n").await.ok()?;
                    stream.write_all(&[0x30; 0x400]).await.ok()?;
                    stream.write_all(b"\r\n").await.ok()?;
                }
            }
            Answer::Silence => tokio::time::sleep(Duration::from_secs(3600)).await,
        }
        stream.shutdown().await.ok()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// How many requests came since the last call.
    pub(crate) fn requests(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }
}

fn found(list: &[u8]) -> Vec<u8> {
    [head(list).as_bytes(), list].concat()
}

fn head(list: &[u8]) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len())
}
