//! One Postfix of the lab that has a port for each certificate of its PKI, and DNS servers whose
//! zones lead to it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::certificates::{CERTIFICATES, HOST};
use crate::dns::{can_start, run_script};
use crate::lab::{Lab, Peer, free_port};
use crate::peers::lab;
use crate::postfix::Postfix;

/// The TLSA records of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tlsa {
    None,
    /// 3 1 1: the key of the server's certificate.
    Key,
    /// 2 0 1: the root and the issuing authorities of the lab.
    Authority,
}

/// A port of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    /// The certificate; `None` is clear text.
    pub(crate) certificate: Option<&'static str>,
    pub(crate) tlsa: Tlsa,
    pub(crate) number: u16,
}

pub(crate) struct World {
    pub(crate) lab: &'static Lab,
    pub(crate) ports: Vec<Port>,
    /// The DNS servers, as their script tells them.
    dns: Value,
    _script: Child,
    /// An address whose port 53 is the resolver that validates, for `resolv.conf`.
    pub(crate) resolver: IpAddr,
    _server: Postfix,
}

impl World {
    /// One for all tests that run; `None` where the lab or a DNS server is absent.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
        if !can_start() {
            return None;
        }
        let lab = lab()?;
        let mut world = WORLD.lock().unwrap();
        if let Some(running) = world.upgrade() {
            return Some(running);
        }
        let new = Arc::new(Self::start(lab)?);
        *world = Arc::downgrade(&new);
        Some(new)
    }

    fn start(lab: &'static Lab) -> Option<Self> {
        let server = Postfix::start(lab, Peer::POSTFIX)?;
        let ports: Vec<Port> = CERTIFICATES
            .iter()
            .flat_map(|name| [Tlsa::None, Tlsa::Key, Tlsa::Authority].map(|it| (Some(*name), it)))
            .chain([(None, Tlsa::None)])
            .map(|(certificate, tlsa)| Port { certificate, tlsa, number: free_port() })
            .collect();
        serve(lab, &server, &ports);
        let valid = key_digest(lab, "valid");
        let port = find(&ports, Some("valid"), Tlsa::Key);
        let records = records(lab, &ports);
        let (dns, script) = run_script(port, &format!("3 1 1 {valid}"), &records);
        let resolver = forward(dns["validating"].as_str().unwrap().parse().unwrap());
        Some(Self { lab, ports, dns, resolver, _script: script, _server: server })
    }

    /// The address of the resolver that does not validate.
    pub(crate) fn plain(&self) -> &str {
        self.dns["plain"].as_str().unwrap()
    }

    /// The keys of the root.
    pub(crate) fn anchor(&self) -> &str {
        self.dns["anchor"].as_str().unwrap()
    }

    pub(crate) fn port(&self, certificate: Option<&str>, tlsa: Tlsa) -> u16 {
        find(&self.ports, certificate, tlsa)
    }
}

fn find(ports: &[Port], certificate: Option<&str>, tlsa: Tlsa) -> u16 {
    let found = ports.iter().find(|port| port.certificate == certificate && port.tlsa == tlsa);
    found.unwrap_or_else(|| panic!("no port for {certificate:?} {tlsa:?}")).number
}

/// Has the server listen on each port.
fn serve(lab: &Lab, server: &Postfix, ports: &[Port]) {
    let mut services = String::new();
    for Port { certificate, number, .. } in ports {
        write!(services, "127.0.0.1:{number} inet n - n - - smtpd").unwrap();
        if let Some(name) = certificate {
            server.put(&format!("etc/tls/{name}.pem"), &{
                let read = |kind: &str| std::fs::read(lab.pki(&format!("{name}{kind}"))).unwrap();
                [read(".key"), read("-chain.pem")].concat()
            });
            let file = format!("/etc/tls/{name}.pem");
            write!(services, " -o smtpd_tls_security_level=may -o smtpd_tls_chain_files={file}")
                .unwrap();
        }
        services.push('\n');
    }
    // OpenSSL does not load weak keys otherwise.
    let weak = "tls_medium_cipherlist = ALL:@SECLEVEL=0\ntls_high_cipherlist = ALL:@SECLEVEL=0";
    let kept = "default_transport = discard\nrelay_transport = discard";
    server.configure(&format!("{weak}\n{kept}"), &services);
    let deadline = Instant::now() + Duration::from_secs(30);
    for port in ports {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port.number)).is_err() {
            assert!(Instant::now() < deadline, "{port:?} does not answer: {}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Standard output of `openssl`.
fn openssl(script: &str, file: &str) -> String {
    let output = Command::new("sh").args(["-c", script, "sh", file]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().trim().to_owned()
}

/// The SHA-256 of the key of a certificate.
pub(crate) fn key_digest(lab: &Lab, name: &str) -> String {
    let script = "openssl x509 -in \"$1\" -noout -pubkey | openssl pkey -pubin -outform DER | \
                  openssl dgst -sha256 -r";
    openssl(script, &lab.pki(&format!("{name}.pem")))
}

/// The SHA-256 of a certificate.
pub(crate) fn certificate_digest(lab: &Lab, name: &str) -> String {
    let script = "openssl x509 -in \"$1\" -outform DER | openssl dgst -sha256 -r";
    openssl(script, &lab.pki(&format!("{name}.pem")))
}

/// The records of the host in the signed zone `example.`.
fn records(lab: &Lab, ports: &[Port]) -> String {
    let mut text = format!("{HOST}. A 127.0.0.1\n*.test.example. A 127.0.0.1\n");
    // A domain with an MTA-STS policy; the wildcard is its policy host too.
    text.push_str("test.example. MX 10 s5.test.example.\n");
    text.push_str("_mta-sts.test.example. TXT \"v=STSv1; id=1;\"\n");
    let authorities = ["root-ca", "intermediate-ca", "expired-intermediate-ca"]
        .map(|name| certificate_digest(lab, name));
    for port in ports {
        let owner = format!("_{}._tcp.{HOST}.", port.number);
        match (port.tlsa, port.certificate) {
            (Tlsa::Key, Some(name)) => {
                writeln!(text, "{owner} TLSA 3 1 1 {}", key_digest(lab, name)).unwrap();
            }
            (Tlsa::Authority, _) => {
                for digest in &authorities {
                    writeln!(text, "{owner} TLSA 2 0 1 {digest}").unwrap();
                }
            }
            _ => {}
        }
    }
    text
}

/// Carries questions from port 53 of a loopback address, the only port that `resolv.conf` knows, to
/// a resolver. Lasts as long as the tests.
fn forward(to: SocketAddr) -> IpAddr {
    let (own, udp, tcp) = (1..=254)
        .find_map(|last| {
            let own = IpAddr::from(Ipv4Addr::new(127, 0, 53, last));
            let tcp = TcpListener::bind((own, 53)).ok()?;
            Some((own, UdpSocket::bind((own, 53)).ok()?, tcp))
        })
        .expect("root can listen on port 53");
    let udp = Arc::new(udp);
    std::thread::spawn(move || {
        let mut question = [0; 4096];
        while let Ok((size, client)) = udp.recv_from(&mut question) {
            let (udp, question) = (Arc::clone(&udp), question[..size].to_vec());
            std::thread::spawn(move || -> std::io::Result<()> {
                let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                upstream.set_read_timeout(Some(Duration::from_secs(10)))?;
                upstream.connect(to)?;
                upstream.send(&question)?;
                let mut answer = [0; 4096];
                let size = upstream.recv(&mut answer)?;
                udp.send_to(&answer[..size], client).map(drop)
            });
        }
    });
    std::thread::spawn(move || {
        for client in tcp.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let upstream = TcpStream::connect(to)?;
                let (mut from, mut into) = (client.try_clone()?, upstream.try_clone()?);
                std::thread::spawn(move || std::io::copy(&mut from, &mut into));
                std::io::copy(&mut &upstream, &mut &client).map(drop)
            });
        }
    });
    own
}
