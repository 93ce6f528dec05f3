//! What a client of the tests authenticates with.

use smtp_proto::sasl::Secret;
use smtp_proto::sasl::client::{Binding, External, Login, Mechanism, OauthBearer, Plain, ScramSha256, Xoauth2};

/// `MECHANISM user secret`, or `MECHANISM user secret authorization`; with the client's nonce of RFC 7677, 3.
pub fn mechanism(text: &str, binding: Binding) -> Box<dyn Mechanism> {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    let (user, secret, authorization) = (word(1), Secret::from(word(2)), word(3));
    match word(0) {
        "PLAIN" => Box::new(Plain::new(authorization, user, &secret).unwrap()),
        "LOGIN" => Box::new(Login::new(user, secret).unwrap()),
        "EXTERNAL" => Box::new(External::new(authorization).unwrap()),
        "XOAUTH2" => Box::new(Xoauth2::new(user, &secret).unwrap()),
        "OAUTHBEARER" => Box::new(OauthBearer::new(user, &secret).unwrap()),
        "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => {
            let nonce = "rOprNGfwEbeRWgbNEkqO".parse().unwrap();
            Box::new(ScramSha256::new(authorization, user, secret, binding, nonce).unwrap())
        }
        name => panic!("{name}"),
    }
}
