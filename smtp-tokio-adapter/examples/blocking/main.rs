//! A whole delivery without a runtime: from the MX records to the status of the recipient, on
//! `std::net`, with `smtp-proto`, `smtp-tls-policy` and rustls alone.
//!
//! ```text
//! cargo run --example blocking -- a@client.example b@test.example mx.test.example 192.0.2.25:25 ROOTS <FILE
//! ```
//!
//! ROOTS is a file of root certificates in PEM. Four machines without I/O ask and decide, and this
//! program answers and obeys them: a `DomainInquiry` (MX and MTA-STS), a `HostInquiry` (addresses
//! and TLSA records) and a `Route` (which address next) in `delivery.rs`, and a `Client` (the
//! conversation) in `conversation.rs`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod conversation;
mod delivery;
mod wire;

use std::io::Read;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_tls_policy::pki::{LiveTrust, Trust};

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The message, and what judges the hosts.
pub(crate) struct Mail {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) message: Vec<u8>,
    pub(crate) trust: Arc<LiveTrust>,
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, host, address, roots] = &arguments[..] else {
        return Err("usage: blocking SENDER RECIPIENT HOST ADDRESS:PORT ROOTS".into());
    };
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    let envelope = Arc::new(Envelope::new(from.parse()?, [to.parse::<Recipient>()?]));
    let roots = CertificateDer::pem_file_iter(roots)?.collect::<Result<Vec<_>, _>>()?;
    let trust = Trust::from_der(&roots)?.into();
    let (_, domain) = to.rsplit_once('@').ok_or("the recipient has no domain")?;
    let mail = Mail { envelope, message, trust };
    let status = mail.deliver(&domain.parse()?, &host.parse()?, address.parse()?)?;
    println!("{to}: {status}");
    match status {
        RecipientStatus::Delivered => Ok(()),
        status => Err(status.to_string().into()),
    }
}
