//! What a client of the tests authenticates with, and to which server.

use std::sync::Arc;

use smtp_proto::Secret;
use smtp_proto::channel::{Channel, ChannelBinding, TlsInfo};
use smtp_proto::fallback::TlsRules;
use smtp_proto::sasl::client::{ChannelFloor, ClientMechanism};

use super::{ClientBed, client_config, tls_info};

/// What a client of SCRAM knows of channel binding (RFC 5802, section 6).
#[derive(Clone, Debug)]
pub enum Binding {
    /// `n`: the channel has none.
    Unsupported,
    /// `y`: the channel has one, but the server does not list the -PLUS.
    Unoffered,
    /// `p=`: the mechanism is the -PLUS.
    Used(ChannelBinding),
}

/// Each mechanism of the library, made by credentials for a server that offers nothing else. SCRAM
/// has the client's nonce of RFC 7677, section 3.
pub mod make {
    use std::sync::Arc;

    use smtp_proto::Secret;
    use smtp_proto::channel::{Channel, ChannelBinding, TlsInfo};
    use smtp_proto::sasl::SaslError;
    use smtp_proto::sasl::client::{AuthRefusal, ClientMechanism, Credentials};
    use smtp_proto::wire::capabilities::Capabilities;
    use smtp_proto::wire::reply::Reply;

    use super::{Binding, NONCE, tls_info};

    type Made = Result<Box<dyn ClientMechanism>, SaslError>;

    fn named(
        mut credentials: Credentials,
        authorization: &str,
        name: &str,
        binding: Option<ChannelBinding>,
    ) -> Made {
        credentials.authorization = authorization.to_owned();
        let reply = format!("250-mx\r\n250 AUTH {name}\r\n");
        let reply = Reply::parse(reply.as_bytes()).unwrap().unwrap();
        let mut tls = TlsInfo::clone(&tls_info());
        tls.bindings = Vec::from_iter(binding);
        let channel = Channel::Implicit(Arc::new(tls));
        let (capabilities, nonce) = (Capabilities::of(&reply), NONCE.parse().unwrap());
        credentials.mechanism_named(name, &capabilities, &channel, nonce).map_err(|refusal| {
            match refusal {
                AuthRefusal::Mechanism(error) => error,
                refusal => panic!("{refusal}"),
            }
        })
    }

    pub fn plain(authorization: &str, user: &str, password: &Secret) -> Made {
        named(Credentials::password(user, password.clone()), authorization, "PLAIN", None)
    }

    pub fn login(user: &str, password: Secret) -> Made {
        named(Credentials::password(user, password), "", "LOGIN", None)
    }

    pub fn external(authorization: &str) -> Made {
        named(Credentials::certificate(), authorization, "EXTERNAL", None)
    }

    pub fn xoauth2(user: &str, token: &Secret) -> Made {
        named(Credentials::token(user, token.clone()), "", "XOAUTH2", None)
    }

    pub fn oauthbearer(user: &str, token: &Secret) -> Made {
        named(Credentials::token(user, token.clone()), "", "OAUTHBEARER", None)
    }

    pub fn scram(authorization: &str, user: &str, password: Secret, binding: Binding) -> Made {
        let credentials = Credentials::password(user, password);
        let some = ChannelBinding::TlsExporter(Secret::from("exported"));
        let (name, binding) = match binding {
            Binding::Unsupported => ("SCRAM-SHA-256", None),
            Binding::Unoffered => ("SCRAM-SHA-256", Some(some)),
            Binding::Used(binding) => ("SCRAM-SHA-256-PLUS", Some(binding)),
        };
        named(credentials, authorization, name, binding)
    }
}

/// `MECHANISM user secret`, or `MECHANISM user secret authorization`; with the client's nonce of
/// RFC 7677, section 3.
pub fn mechanism(text: &str, binding: Binding) -> Box<dyn ClientMechanism> {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    let (user, secret, authorization) = (word(1), Secret::from(word(2)), word(3));
    match word(0) {
        "PLAIN" => make::plain(authorization, user, &secret).unwrap(),
        "LOGIN" => make::login(user, secret).unwrap(),
        "EXTERNAL" => make::external(authorization).unwrap(),
        "XOAUTH2" => make::xoauth2(user, &secret).unwrap(),
        "OAUTHBEARER" => make::oauthbearer(user, &secret).unwrap(),
        "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => {
            make::scram(authorization, user, secret, binding).unwrap()
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
    bed.client.authenticate(mechanism, ChannelFloor::Authenticated, bed.now).unwrap();
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
