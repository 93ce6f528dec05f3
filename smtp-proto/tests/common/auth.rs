//! What a client of the tests authenticates with, and to which server.

use std::sync::Arc;

use smtp_proto::Secret;
use smtp_proto::channel::{Channel, TlsInfo};
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::client::{
    Binding, ClientExternal, ClientLogin, ClientMechanism, ClientOauthBearer, ClientPlain,
    ClientScramSha256, ClientXoauth2, Floor,
};

use super::{ClientBed, client_config, tls_info};

/// `MECHANISM user secret`, or `MECHANISM user secret authorization`; with the client's nonce of
/// RFC 7677, section 3.
pub fn mechanism(text: &str, binding: Binding) -> Box<dyn ClientMechanism> {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    let (user, secret, authorization) = (word(1), Secret::from(word(2)), word(3));
    match word(0) {
        "PLAIN" => Box::new(ClientPlain::new(authorization, user, &secret).unwrap()),
        "LOGIN" => Box::new(ClientLogin::new(user, secret).unwrap()),
        "EXTERNAL" => Box::new(ClientExternal::new(authorization).unwrap()),
        "XOAUTH2" => Box::new(ClientXoauth2::new(user, &secret).unwrap()),
        "OAUTHBEARER" => Box::new(ClientOauthBearer::new(user, &secret).unwrap()),
        "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => {
            let nonce = "rOprNGfwEbeRWgbNEkqO".parse().unwrap();
            Box::new(ClientScramSha256::new(authorization, user, secret, binding, nonce).unwrap())
        }
        name => panic!("{name}"),
    }
}

pub const EHLO: &str = "250-mx\r\n250 AUTH PLAIN LOGIN EXTERNAL SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER\r\n";
/// RFC 7677, section 3.
pub const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
pub const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

pub fn base64(octets: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

pub fn decode(base64: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

pub fn challenge(octets: impl AsRef<[u8]>) -> Vec<u8> {
    format!("334 {}\r\n", base64(octets)).into_bytes()
}

/// A client inside TLS that has heard `ehlo`.
pub fn inside(tls: Arc<TlsInfo>, ehlo: &str) -> ClientBed {
    let mut bed = ClientBed::with(client_config(), TlsRules::REQUIRED, Channel::Implicit(tls));
    assert_eq!(bed.feed(format!("220 mx\r\n{ehlo}").as_bytes()), ["Ready"]);
    bed.said();
    bed
}

pub fn begin(bed: &mut ClientBed, mechanism: Box<dyn ClientMechanism>) -> String {
    bed.client.authenticate(mechanism, Floor::Authenticated, bed.now).unwrap();
    bed.ask(b"")
}

/// What a client says to each piece, inside TLS, and its events.
pub fn exchange(
    mechanism: Box<dyn ClientMechanism>,
    replies: &[&[u8]],
) -> (Vec<String>, Vec<String>) {
    let mut bed = inside(tls_info(), EHLO);
    let mut said = vec![begin(&mut bed, mechanism)];
    let mut events = Vec::new();
    for reply in replies {
        events.extend(bed.feed(reply));
        said.push(bed.said());
    }
    (said, events)
}
