//! What the server's mechanisms make of what a client says: known answers, strangers, channels that
//! do not fit.

mod common;

use std::sync::Arc;

use common::auth::{Binding, base64, decode, make};
use common::auth_server::{
    MALFORMED, NO, OK, auth, bound, client, config, exported, inside, say, scram,
};
use common::{ServerBed, changed, server_config, tls_info};
use smtp_proto::Secret;
use smtp_proto::channel::Channel;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::sasl::scram::MIN_ITERATIONS;
use smtp_proto::sasl::server as sasl;
use smtp_proto::sasl::server::{
    Answer, Exchange, ExchangeStep, Failure, Identity, Mechanism, Question,
};

/// RFC 4616, section 2.
#[test]
fn messages_of_plain() {
    for (message, reply) in [
        (&b"\0user\0pencil"[..], OK),
        (b"user\0user\0pencil", OK),
        (b"boss\0user\0pencil", OK),
        (b"root\0user\0pencil", NO),
        (b"boss\0user\0pen", NO),
        (b"\0user\0pencil\0", MALFORMED),
        (b"\0user\0pen\0cil", MALFORMED),
        (b"\0\0user\0pencil", MALFORMED),
        (b"user\0pencil", MALFORMED),
        (b"pencil", MALFORMED),
        (b"\0\0", MALFORMED),
        (b"\0user\0", MALFORMED),
        (b"\0\0pencil", MALFORMED),
        (b"", MALFORMED),
        (b"\0us\xffr\0pencil", MALFORMED),
        (b"\0user\0\xff", MALFORMED),
        // SASLprep: a control, and what becomes nothing; a name that it maps to `user`.
        (b"\0us\x07er\0pencil", NO),
        (b"\0\xc2\xad\0pencil", NO),
        (b"\0u\xc2\xadser\0pencil", OK),
    ] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH PLAIN");
        assert_eq!(say(&mut bed, base64(message)), reply, "{}", message.escape_ascii());
        let expected =
            (reply == OK).then(|| if message.starts_with(b"boss") { "boss" } else { "user" });
        assert_eq!(bed.server.identity().map(|identity| identity.authorization.as_str()), expected);
    }
    // No response is not an empty name.
    assert_eq!(say(&mut inside(config()), "AUTH PLAIN ="), MALFORMED);
    for (user, password) in [("", "pencil"), ("user", ""), ("a\0b", "pencil"), ("user", "a\0b")] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH LOGIN");
        let reply = say(&mut bed, base64(user));
        let reply = if reply.starts_with("334") { say(&mut bed, base64(password)) } else { reply };
        assert_eq!(reply, MALFORMED, "{user:?} {password:?}");
    }
}

/// RFC 7628, section 3.1, and what came before it.
#[test]
fn messages_with_tokens() {
    let error = "334 ";
    let auth_pair = "auth=Bearer good-token\x01";
    for (mechanism, message, reply) in [
        ("XOAUTH2", format!("user=user\x01{auth_pair}\x01"), OK),
        ("XOAUTH2", "user=user\x01auth=bearer good-token\x01\x01".into(), OK),
        ("XOAUTH2", format!("user=boss\x01{auth_pair}\x01"), OK),
        ("XOAUTH2", format!("user=root\x01{auth_pair}\x01"), error),
        ("XOAUTH2", format!("user=\x01{auth_pair}\x01"), NO),
        ("XOAUTH2", format!("user=user\x01{auth_pair}"), MALFORMED),
        ("XOAUTH2", format!("user=user\x01{auth_pair}\x01\x01"), MALFORMED),
        ("XOAUTH2", format!("{auth_pair}user=user\x01\x01"), MALFORMED),
        ("XOAUTH2", "user=user\x01auth=Bearer good token\x01\x01".into(), MALFORMED),
        ("XOAUTH2", "user=user\x01auth=Bearer =\x01\x01".into(), MALFORMED),
        ("XOAUTH2", "user=user\x01auth=good-token\x01\x01".into(), MALFORMED),
        ("XOAUTH2", String::new(), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01{auth_pair}\x01"), OK),
        (
            "OAUTHBEARER",
            format!("y,a=user,\x01port=587\x01{auth_pair}host=mx.test.example\x01\x01"),
            OK,
        ),
        ("OAUTHBEARER", format!("n,a=boss,\x01{auth_pair}unknown=x y\tz\x01\x01"), OK),
        ("OAUTHBEARER", format!("n,a=root,\x01{auth_pair}\x01"), error),
        ("OAUTHBEARER", format!("n,a=b=2Cc=3D,\x01{auth_pair}\x01"), error),
        ("OAUTHBEARER", format!("n,a=b=2c,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", "n,,\x01auth=Bearer bad-token\x01\x01".into(), error),
        ("OAUTHBEARER", format!("p=tls-exporter,,\x01{auth_pair}\x01"), NO),
        ("OAUTHBEARER", format!("x,,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,a=,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,user,\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01{auth_pair}"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01{auth_pair}{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01port=0587\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01port=+587\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01port=65536\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01k1=x\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", format!("n,,\x01key=\0\x01{auth_pair}\x01"), MALFORMED),
        ("OAUTHBEARER", "n,,\x01\x01".into(), MALFORMED),
        ("OAUTHBEARER", "\x01".into(), MALFORMED),
    ] {
        let mut bed = inside(config());
        say(&mut bed, format!("AUTH {mechanism}"));
        let said = say(&mut bed, base64(&message));
        assert!(said.starts_with(reply), "{} {said}", message.escape_debug());
        if reply == error {
            // RFC 7628, section 3.2.3: the client says ^A, or nothing, or gives up; it is refused
            // in each case.
            assert_eq!(say(&mut bed, "AQ=="), NO);
        }
        assert_eq!(bed.server.identity().is_some(), reply == OK);
    }
}

/// A stranger cannot be told from a user before the proof, nor from one server to the next.
#[test]
fn strangers_look_like_users() {
    let challenge = |user: &str, server: &mut ServerBed| {
        let (challenges, last) =
            scram(server, client(user, "not the password", Binding::Unsupported));
        assert_eq!((challenges.len(), last.as_str()), (1, NO), "{user}");
        challenges.into_iter().next().unwrap()
    };
    let parts = |message: &str| -> Vec<String> { message.split(',').map(str::to_owned).collect() };
    let known = parts(&challenge("user", &mut inside(config())));
    let unknown = parts(&challenge("mallory", &mut inside(config())));
    assert_eq!((known.len(), &known[0], &known[2]), (3, &unknown[0], &unknown[2]));
    assert_eq!(decode(&known[1][2..]).len(), decode(&unknown[1][2..]).len());
    // Always the same for a name, also after others and on another connection; another for another
    // name.
    let mut bed = inside(config());
    assert_ne!(parts(&challenge("trudy", &mut bed))[1], unknown[1]);
    assert_eq!(parts(&challenge("mallory", &mut bed)), unknown);
    assert_eq!(parts(&challenge("mallory", &mut inside(config()))), unknown);
    // The authorization identity of an unknown user makes no difference, either to the message or
    // to the caller's questions.
    let mut bed = inside(config());
    let with = auth(&mut bed, "SCRAM-SHA-256", "n,a=boss,n=mallory,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(parts(std::str::from_utf8(&decode(with[4..].trim_end())).unwrap()), unknown);
    // Another secret, other salts.
    let other = sasl::scram(Secret::from("another"), MIN_ITERATIONS, || "abc".parse().ok());
    let mut bed = inside(changed(server_config(), |it| it.mechanisms = other.into()));
    assert_ne!(parts(&challenge("mallory", &mut bed))[1], unknown[1]);
}

/// RFC 5802, section 6: each flag, with and without -PLUS, and each attack from between client and
/// server.
#[test]
fn channel_binding() {
    let used = |data| Binding::Used(exported(data));
    let (challenges, last) =
        scram(&mut inside(config()), client("user", "pencil", used("this channel")));
    assert_eq!((challenges.len(), last.as_str()), (2, OK));
    // The proof is right, the channel is another one.
    assert_eq!(
        scram(&mut inside(config()), client("user", "pencil", used("another channel"))).1,
        NO
    );
    // A type that is not there.
    let end_point = ChannelBinding::TlsServerEndPoint(Secret::from("this channel"));
    let refused = scram(&mut inside(config()), client("user", "pencil", Binding::Used(end_point)));
    assert_eq!(refused, (vec![], NO.to_owned()));

    let first = |bed: &mut ServerBed, mechanism: &str, header: &str| {
        auth(bed, mechanism, format!("{header},,n=user,r=abc"))
    };
    // `y` says that the client did not see -PLUS: an attacker has taken it out of the list.
    assert_eq!(first(&mut inside(config()), "SCRAM-SHA-256", "y"), NO);
    let mut unbound = ServerBed::on(config(), Channel::Implicit(tls_info()));
    unbound.feed(b"EHLO c\r\n");
    unbound.said();
    assert!(first(&mut unbound, "SCRAM-SHA-256", "y").starts_with("334 "));
    say(&mut unbound, "*");
    assert_eq!(
        first(&mut unbound, "SCRAM-SHA-256-PLUS", "p=tls-exporter"),
        "504 5.5.4 mechanism not offered\r\n"
    );
    // The flag and the name of the mechanism go together.
    for (mechanism, header) in [
        ("SCRAM-SHA-256", "p=tls-exporter"),
        ("SCRAM-SHA-256-PLUS", "n"),
        ("SCRAM-SHA-256-PLUS", "y"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique"),
        ("SCRAM-SHA-256-PLUS", "p=TLS-EXPORTER"),
    ] {
        assert_eq!(first(&mut inside(config()), mechanism, header), NO, "{mechanism} {header}");
    }
    assert!(first(&mut inside(config()), "SCRAM-SHA-256", "n").starts_with("334 "));
}

/// The last message of a client that knows the password and sends what the server does not expect
/// (RFC 5802, section 3).
fn signed(server_first: &str, without_proof: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let hmac = |key: &[u8], text: &[u8]| -> [u8; 32] {
        let mut hmac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
        hmac.update(text);
        hmac.finalize().into_bytes().into()
    };
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", common::SALT, 4096, &mut salted);
    let client_key = hmac(&salted, b"Client Key");
    let message = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{server_first},{without_proof}");
    let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
    let proof: Vec<u8> =
        client_key.iter().zip(signature).map(|(key, signed)| key ^ signed).collect();
    format!("{without_proof},p={}", base64(proof))
}

#[test]
fn scram_to_its_last_message() {
    let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let server_first = format!("r={nonce},s={},i=4096", base64(common::SALT));
    for (last, reply) in [
        (format!("c=biws,r={nonce},p={proof}"), "334 "),
        // Another header than that of the first message, another nonce, another proof, what cannot
        // be ignored.
        (format!("c=eSws,r={nonce},p={proof}"), NO),
        (format!("c=biwsYQ==,r={nonce},p={proof}"), NO),
        (format!("c=biws,r={nonce}x,p={proof}"), NO),
        (signed(&server_first, &format!("c=biws,r={nonce}")), "334 "),
        (signed(&server_first, &format!("c=biws,r={nonce},x=1")), "334 "),
        (signed(&server_first, &format!("c=biws,r={nonce}x")), NO),
        (signed(&server_first, &format!("c=eSws,r={nonce}")), NO),
        (format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,p={proof}"), NO),
        (format!("c=biws,r={nonce},p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), NO),
        (format!("c=biws,r={nonce},x=1,p={proof}"), NO),
        (format!("c=biws,r={nonce},m=1,p={proof}"), MALFORMED),
        (format!("c=biws,r={nonce},p={proof},x=1"), MALFORMED),
        (format!("c=biws,r={nonce}"), MALFORMED),
        (first.to_owned(), MALFORMED),
        (String::new(), MALFORMED),
    ] {
        let mut bed = inside(config());
        assert!(auth(&mut bed, "SCRAM-SHA-256", first).starts_with("334 "));
        let said = say(&mut bed, base64(&last));
        assert!(said.starts_with(reply), "{last} {said}");
        assert_eq!(bed.server.identity(), None);
        if reply == "334 " {
            // The server's proof wants an empty answer, and it is not a success before.
            assert_eq!(say(&mut bed, "YQ=="), MALFORMED);
            assert_eq!(bed.server.identity(), None);
        }
    }
    for message in [
        "",
        "n,,n=,r=a",
        "n,,n=a=2,r=a",
        "n,,m=1,n=user,r=a",
        "n,,n=us\0er,r=a",
        "x,,n=user,r=a",
        "n,,n=user",
    ] {
        let mut bed = inside(config());
        say(&mut bed, "AUTH SCRAM-SHA-256");
        assert_eq!(say(&mut bed, base64(message)), MALFORMED, "{message:?}");
    }
    // The caller is asked about another authorization identity only once the proof is good.
    for (authorization, password, reply) in
        [("boss", "pencil", OK), ("root", "pencil", NO), ("boss", "pen", NO)]
    {
        let client =
            make::scram(authorization, "user", Secret::from(password), Binding::Unsupported);
        let mut bed = inside(config());
        assert_eq!(scram(&mut bed, client.unwrap()).1, reply);
        let identity = Identity::new("user", "boss");
        assert_eq!(bed.server.identity(), (reply == OK).then_some(&identity));
    }
    // No random numbers, no exchange.
    let none = sasl::scram(Secret::from("x"), MIN_ITERATIONS, || None);
    let mut bed = inside(changed(server_config(), |it| it.mechanisms = none.into()));
    assert_eq!(
        auth(&mut bed, "SCRAM-SHA-256", first),
        "454 4.7.0 temporary authentication failure\r\n"
    );
}

/// RFC 4954, section 4.1 has CRAM-MD5; this is one of our own that begins like it and asks what no
/// mechanism of ours asks.
#[derive(Debug)]
struct Riddle;

#[derive(Debug)]
struct Riddling;

impl Mechanism for Riddle {
    fn name(&self) -> &str {
        "X-RIDDLE"
    }
    fn begin(&self, _: &Channel, _: &[&str]) -> Box<dyn Exchange> {
        Box::new(Riddling)
    }
}

impl Exchange for Riddling {
    fn first_challenge(&self) -> Vec<u8> {
        b"what have I got in my pocket?".to_vec()
    }
    fn takes_initial_response(&self) -> bool {
        false
    }
    fn respond(&mut self, response: &Secret) -> ExchangeStep {
        ExchangeStep::Ask(Question::Other(response.clone()))
    }
    fn answer(&mut self, answer: Answer) -> ExchangeStep {
        match answer {
            Answer::Other(who) => {
                let name = who.as_str().unwrap().to_owned();
                ExchangeStep::Done(Identity::new(name.clone(), name))
            }
            _ => ExchangeStep::Failed(Failure::Refused),
        }
    }
}

#[test]
fn a_mechanism_of_ones_own() {
    let config = changed(server_config(), |it| it.mechanisms = vec![Arc::new(Riddle)]);
    let mut bed = inside(config);
    bed.authority = |question| match question {
        Question::Other(guess) if guess.as_bytes() == b"the ring" => {
            Some(Answer::Other(Secret::from("bilbo")))
        }
        _ => Some(Answer::Refused),
    };
    // RFC 4954, section 4: an initial response where the server begins.
    assert_eq!(
        auth(&mut bed, "X-RIDDLE", "hands"),
        "501 5.7.0 the mechanism has no initial response\r\n"
    );
    assert_eq!(
        say(&mut bed, "AUTH x-riddle"),
        format!("334 {}\r\n", base64("what have I got in my pocket?"))
    );
    assert_eq!(say(&mut bed, base64("string")), NO);
    say(&mut bed, "AUTH X-RIDDLE");
    assert_eq!(say(&mut bed, base64("the ring")), OK);
    assert_eq!(bed.server.identity().unwrap().user, "bilbo");
}

/// A challenge may be longer than a line of text; it is one line all the same.
#[test]
fn long_challenges_are_one_line() {
    let scope = "x".repeat(2000);
    let bearer = sasl::oauthbearer(Some(&scope), Some("https://\"\\\n"));
    let mut bed = inside(changed(server_config(), |it| it.mechanisms = vec![bearer]));
    let said = auth(&mut bed, "OAUTHBEARER", "n,,\x01auth=Bearer bad-token\x01\x01");
    let challenge =
        String::from_utf8(decode(said.strip_prefix("334 ").unwrap().strip_suffix("\r\n").unwrap()))
            .unwrap();
    let json: serde_json::Value = serde_json::from_str(&challenge).unwrap();
    assert_eq!(
        (&json["status"], &json["openid-configuration"]),
        (&"invalid_token".into(), &"https://\"\\\n".into())
    );
}

/// Names and passwords that SASLprep leaves as they are: with everything that a mechanism has to
/// escape.
const NAME: &str = "[a-z0-9,=@ \\\\+\"\u{e9}\u{fc}]{1,20}";

/// What an exchange asks at last, when a client begins it so.
fn asked(
    mechanism: &dyn Mechanism,
    client: &mut dyn smtp_proto::sasl::client::ClientMechanism,
) -> Question {
    let channel = bound();
    let mut exchange = mechanism.begin(&channel, &[mechanism.name()]);
    let mut response = match client.initial_response().unwrap() {
        Some(response) => response,
        None => client.respond(&exchange.first_challenge()).unwrap(),
    };
    loop {
        match exchange.respond(&response) {
            ExchangeStep::Ask(question) => return question,
            ExchangeStep::Challenge(challenge) => response = client.respond(&challenge).unwrap(),
            step => panic!("{step:?}"),
        }
    }
}

proptest::proptest! {
    /// What one side says, the other understands.
    #[test]
    fn names_and_passwords_come_through(user in NAME, password in NAME, token in "[A-Za-z0-9._~+/-]{1,40}={0,2}") {
        let secret = || Secret::from(password.as_str());
        let wanted = Question::Password { user: user.clone(), password: secret() };
        let plain = asked(&*sasl::plain(), &mut *make::plain("", &user, &secret()).unwrap());
        proptest::prop_assert_eq!(&plain, &wanted);
        let login = asked(&*sasl::login(), &mut *make::login(&user, secret()).unwrap());
        proptest::prop_assert_eq!(&login, &wanted);
        let [_, bare] = sasl::scram(Secret::from("x"), MIN_ITERATIONS, || Some([7; 24].into()));
        let scram = asked(&*bare, &mut *client(&user, &password, Binding::Unsupported));
        proptest::prop_assert_eq!(scram, Question::Keys { user: user.clone() });
        let bearer = asked(&*sasl::oauthbearer(None, None), &mut *make::oauthbearer(&user, &Secret::from(token.as_str())).unwrap());
        let wanted = Question::Token { user: Some(user), token: Secret::from(token.as_str()), host: None, port: None };
        proptest::prop_assert_eq!(bearer, wanted);
    }

    /// A message with one changed octet authenticates no user.
    #[test]
    fn a_message_that_was_changed_proves_nothing(at in 0..110_usize, to in proptest::prelude::any::<u8>()) {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let mut last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").into_bytes();
        let at = at % last.len();
        let same = std::mem::replace(&mut last[at], to) == to;
        let mut bed = inside(config());
        auth(&mut bed, "SCRAM-SHA-256", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let said = say(&mut bed, base64(&last));
        proptest::prop_assert_eq!(said.starts_with("334 "), same, "{}", last.escape_ascii());
    }
}
