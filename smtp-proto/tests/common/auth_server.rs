//! A server of the tests that offers AUTH, and what a client says to it.

use std::sync::Arc;

use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::channel::{Channel, TlsInfo};
use smtp_proto::sasl::client::ClientMechanism;
use smtp_proto::server::ServerConfig;

use super::auth::{Binding, base64, decode, make};
use super::{ServerBed, changed, mechanisms, server_config, tls_info};

pub fn config() -> ServerConfig {
    changed(server_config(), |it| it.mechanisms = mechanisms())
}

pub fn exported(data: &str) -> ChannelBinding {
    ChannelBinding::TlsExporter(Secret::from(data))
}

pub fn bound() -> Channel {
    let mut tls = TlsInfo::clone(&tls_info());
    tls.bindings = vec![exported("this channel")];
    Channel::Implicit(Arc::new(tls))
}

/// After EHLO, inside TLS that can be bound to.
pub fn inside(config: ServerConfig) -> ServerBed {
    let mut bed = ServerBed::on(config, bound());
    bed.feed(b"EHLO c\r\n");
    bed.said();
    bed
}

pub fn say(bed: &mut ServerBed, line: impl AsRef<str>) -> String {
    bed.ask(format!("{}\r\n", line.as_ref()).as_bytes())
}

/// AUTH with an initial response.
pub fn auth(bed: &mut ServerBed, mechanism: &str, initial: impl AsRef<[u8]>) -> String {
    say(bed, format!("AUTH {mechanism} {}", base64(initial)))
}

pub const OK: &str = "235 2.7.0 authentication succeeded\r\n";
pub const NO: &str = "535 5.7.8 authentication credentials invalid\r\n";
pub const MALFORMED: &str = "501 5.5.2 malformed authentication response\r\n";
pub const CANCELLED: &str = "501 5.7.0 authentication cancelled\r\n";

/// Runs SCRAM with our own client to the end: the server's challenges, and its last word.
pub fn scram(bed: &mut ServerBed, mut client: Box<dyn ClientMechanism>) -> (Vec<String>, String) {
    let mut challenges = Vec::new();
    let initial = client.initial_response().unwrap().unwrap();
    let mut reply = auth(bed, client.name(), initial.as_bytes());
    while let Some(challenge) = reply.strip_prefix("334 ") {
        let challenge = decode(challenge.trim_end());
        challenges.push(String::from_utf8(challenge.clone()).unwrap());
        reply = match client.respond(&challenge) {
            Ok(response) => say(bed, base64(response.as_bytes())),
            Err(_) => say(bed, "*"),
        };
    }
    assert_eq!(reply == OK, client.accepted().is_ok(), "both sides believe the same");
    (challenges, reply)
}

pub fn client(user: &str, password: &str, binding: Binding) -> Box<dyn ClientMechanism> {
    make::scram("", user, Secret::from(password), binding).unwrap()
}
