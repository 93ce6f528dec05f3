//! The client's mechanisms: which of them is chosen, what they take, and what is seen of them.

mod common;

use std::sync::Arc;

use common::auth::{Binding, EHLO, SERVER_FIRST, base64, begin, challenge, exchange, inside, make};
use common::{ClientBed, tls_info};
use proptest::prelude::*;
use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::sasl::SaslError;
use smtp_proto::sasl::client::{AuthRefusal, ChannelFloor, ClientMechanism, Credentials};
use smtp_proto::sasl::scram::Keys;
use smtp_proto::sasl::server::{Answer, ExchangeStep, Question};

#[test]
fn the_best_mechanism_is_chosen() {
    let bound = |peer| {
        let binding = ChannelBinding::TlsExporter(Secret::from("exported"));
        let mut tls = TlsInfo::clone(&tls_info());
        (tls.peer, tls.bindings) = (peer, vec![binding]);
        Channel::Implicit(Arc::new(tls))
    };
    let unbound = |peer| {
        let mut tls = TlsInfo::clone(&tls_info());
        tls.peer = peer;
        Channel::Implicit(Arc::new(tls))
    };
    let (known, unknown) = (Peer::Authenticated, Peer::Unauthenticated);
    let password = Credentials::password("user", "pencil");
    let mut acting = password.clone();
    acting.authorization = "other".into();
    let token = Credentials::token("user", "token");
    let mut acting_token = token.clone();
    acting_token.authorization = "other".into();
    let strange = Credentials::password("user", "\u{7}");
    let choose = |credentials: &Credentials, channel: &Channel, offered: &str| {
        let bed = ClientBed::ready(&format!("250-mx\r\n250 AUTH {offered}\r\n"));
        let mut mechanism =
            credentials.mechanism(bed.client.capabilities(), channel, [0; 24].into())?;
        let first = mechanism.initial_response().unwrap().unwrap_or_default();
        let flag =
            mechanism.name().starts_with("SCRAM").then(|| first.as_str().unwrap()[..1].to_owned());
        Ok(format!("{} {}", mechanism.name(), flag.unwrap_or_default()))
    };
    const ALL: &str =
        "LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL XOAUTH2 OAUTHBEARER CRAM-MD5";
    for (credentials, channel, offered, chosen) in [
        (&password, bound(known), ALL, Ok("SCRAM-SHA-256-PLUS p")),
        (&password, bound(unknown), ALL, Ok("SCRAM-SHA-256-PLUS p")),
        (&password, unbound(known), ALL, Ok("SCRAM-SHA-256 n")),
        // RFC 5802, section 6: the server does not list what this side knows.
        (&password, bound(known), "LOGIN PLAIN SCRAM-SHA-256", Ok("SCRAM-SHA-256 y")),
        (&password, unbound(known), "LOGIN PLAIN SCRAM-SHA-256", Ok("SCRAM-SHA-256 n")),
        (&password, unbound(known), "SCRAM-SHA-256-PLUS", Err(AuthRefusal::NotOffered)),
        (&password, unbound(known), "LOGIN PLAIN", Ok("PLAIN ")),
        (&password, unbound(known), "LOGIN", Ok("LOGIN ")),
        (&password, unbound(unknown), "LOGIN PLAIN", Err(AuthRefusal::UnauthenticatedPeer)),
        (&password, unbound(known), "CRAM-MD5 XOAUTH2", Err(AuthRefusal::NotOffered)),
        (&acting, unbound(known), "LOGIN PLAIN", Ok("PLAIN ")),
        (&acting, unbound(known), "LOGIN", Err(AuthRefusal::NotOffered)),
        (&token, bound(known), ALL, Ok("OAUTHBEARER ")),
        (&token, bound(known), "PLAIN XOAUTH2", Ok("XOAUTH2 ")),
        (&token, bound(unknown), ALL, Err(AuthRefusal::UnauthenticatedPeer)),
        (&acting_token, bound(known), ALL, Err(AuthRefusal::NotOffered)),
        (&Credentials::certificate(), bound(unknown), ALL, Ok("EXTERNAL ")),
        (&Credentials::certificate(), bound(unknown), "PLAIN", Err(AuthRefusal::NotOffered)),
        // SASLprep prohibits it, PLAIN does not.
        (&strange, unbound(known), ALL, Ok("PLAIN ")),
        (&strange, unbound(unknown), ALL, Err(AuthRefusal::Mechanism(SaslError::Prohibited))),
    ] {
        assert_eq!(
            choose(credentials, &channel, offered).as_deref(),
            chosen.as_deref(),
            "{credentials:?} {offered}"
        );
    }
}

#[test]
fn names_and_passwords_that_cannot_be_sent() {
    let secret = Secret::from("pencil");
    for (name, password) in [("a\0b", "p"), ("", "p"), ("a", ""), ("a", "p\0")] {
        assert_eq!(
            make::plain("", name, &Secret::from(password)).unwrap_err(),
            SaslError::Prohibited
        );
        assert_eq!(make::login(name, Secret::from(password)).unwrap_err(), SaslError::Prohibited);
        let scram = make::scram("", name, Secret::from(password), Binding::Unsupported);
        assert_eq!(scram.unwrap_err(), SaslError::Prohibited);
    }
    assert_eq!(make::plain("a\u{7}", "u", &secret).unwrap_err(), SaslError::Prohibited);
    assert_eq!(make::external("a\0").unwrap_err(), SaslError::Prohibited);
    for (user, token) in
        [("u\x01", "t"), ("u\r\n", "t"), ("u", ""), ("u", "a b"), ("u", "a\x01"), ("u", "\u{e9}")]
    {
        assert_eq!(make::xoauth2(user, &Secret::from(token)).unwrap_err(), SaslError::Prohibited);
        assert_eq!(
            make::oauthbearer(user, &Secret::from(token)).unwrap_err(),
            SaslError::Prohibited
        );
    }
    // RFC 4013, section 3: what it maps and normalises.
    let (said, _) = exchange(make::external("I\u{ad}X").unwrap(), &[]);
    assert_eq!(said[0], format!("AUTH EXTERNAL {}\r\n", base64("IX")));
}

/// Whatever is printed, no password, token or message with one is in it.
#[test]
fn nothing_secret_is_printed() {
    let binding = ChannelBinding::TlsExporter(Secret::from("exported-octets"));
    let mut tls = TlsInfo::clone(&tls_info());
    tls.bindings = vec![binding];
    let mut shown = format!("{tls:?} {:?}", Channel::Implicit(Arc::new(tls.clone())));
    let credentials = [
        Credentials::password("user", "pencil"),
        Credentials::token("user", "pencil"),
        Credentials::certificate(),
    ];
    shown += &format!("{credentials:?} {credentials:#?}");
    for replies in 0..3 {
        let pencil = Secret::from("pencil");
        let binding = Binding::Used(tls.bindings[0].clone());
        shown += &format!("{pencil:?} {pencil:#?} {binding:?}");
        let mechanisms: [Box<dyn ClientMechanism>; 5] = [
            make::plain("", "user", &pencil).unwrap(),
            make::login("user", pencil.clone()).unwrap(),
            make::xoauth2("user", &pencil).unwrap(),
            make::oauthbearer("user", &pencil).unwrap(),
            make::scram("", "user", pencil, binding).unwrap(),
        ];
        for mechanism in mechanisms {
            shown += &format!("{mechanism:?} {mechanism:#?}");
            let first = if mechanism.name().starts_with("SCRAM") {
                challenge(SERVER_FIRST)
            } else {
                challenge("")
            };
            let mut bed = inside(Arc::new(tls.clone()), EHLO);
            bed.client.authenticate(mechanism, ChannelFloor::Authenticated, bed.now).unwrap();
            shown += &format!("{:?}", bed.client);
            bed.feed(b"");
            for _ in 0..replies {
                bed.feed(&first);
                shown += &format!("{:?} {:#?}", bed.client, bed.client);
            }
        }
    }
    for secret in ["pencil", "exported", &base64("pencil"), "cGVuY2ls", "112, 101, 110", "112,\n"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// A mechanism of one's own: it counts, and says so.
#[derive(Debug)]
struct Counting(Vec<u8>);

impl ClientMechanism for Counting {
    fn name(&self) -> &str {
        "X-COUNTING"
    }
    fn reveals_secret(&self) -> bool {
        false
    }
    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        Ok(None)
    }
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        self.0.extend_from_slice(challenge);
        if self.0.len() > 3 {
            Err(SaslError::UnexpectedChallenge)
        } else {
            Ok(Secret::from(self.0.as_slice()))
        }
    }
    fn accepted(&mut self) -> Result<(), SaslError> {
        if self.0.len() == 3 { Ok(()) } else { Err(SaslError::Unproven) }
    }
}

fn counting() -> Credentials {
    Credentials::other(&["X-OTHER", "X-COUNTING"], |name, _, _| {
        assert_eq!(name, "X-COUNTING");
        Ok(Box::new(Counting(Vec::new())))
    })
}

#[test]
fn anyone_can_write_a_mechanism() {
    let credentials = counting();
    assert_eq!(credentials, credentials.clone());
    assert_ne!(credentials, counting());
    for (challenges, end) in [(1, "Unproven"), (2, "Unproven"), (3, ""), (4, "UnexpectedChallenge")]
    {
        let mut bed = inside(tls_info(), "250-mx\r\n250 AUTH PLAIN X-COUNTING\r\n");
        let (capabilities, channel) = (bed.client.capabilities(), bed.client.channel());
        let mechanism = credentials.mechanism(capabilities, channel, [0; 24].into()).unwrap();
        assert_eq!(begin(&mut bed, mechanism), "AUTH X-COUNTING\r\n");
        for _ in 0..challenges {
            bed.feed(b"334 eA==\r\n");
        }
        let said = bed.said();
        let events = bed.feed(if challenges == 4 { b"501 no\r\n" } else { b"235 ok\r\n" });
        assert!(
            said.starts_with("eA==\r\n") && said.ends_with("*\r\n") == (challenges == 4),
            "{said}"
        );
        match end {
            "" => assert_eq!(events, ["Authenticated(Reply(235 ok))"]),
            end => assert!(events[0].contains(&format!("Mechanism({end})")), "{events:?}"),
        }
    }
    // A mechanism that the server does not list, and one whose name is malformed.
    #[derive(Debug)]
    struct Nameless(&'static str);
    impl ClientMechanism for Nameless {
        fn name(&self) -> &str {
            self.0
        }
        fn reveals_secret(&self) -> bool {
            false
        }
        fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
            Ok(None)
        }
        fn respond(&mut self, _: &[u8]) -> Result<Secret, SaslError> {
            Ok(Secret::default())
        }
        fn accepted(&mut self) -> Result<(), SaslError> {
            Ok(())
        }
    }
    for name in ["", "plain", "PLAIN X", "PLAIN\r\nQUIT", "X\u{e9}", "A-NAME-OF-TWENTY-1-OCTS"] {
        let mut bed =
            inside(tls_info(), "250-mx\r\n250 AUTH PLAIN X X\u{e9} A-NAME-OF-TWENTY-1-OCTS\r\n");
        let begun = bed.client.authenticate(Box::new(Nameless(name)), ChannelFloor::Clear, bed.now);
        assert_eq!((begun, bed.ask(b"")), (Err(AuthRefusal::NotOffered), String::new()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Both ends of SCRAM agree if they have the same password, and only then.
    #[test]
    fn both_ends_of_scram_agree(user in "[ -~]{1,20}", password in "\\PC{1,20}", other in "\\PC{1,20}", bound in any::<bool>()) {
        let binding = ChannelBinding::TlsExporter(Secret::from("exported"));
        let used = if bound { Binding::Used(binding.clone()) } else { Binding::Unsupported };
        let (password, other) = (Secret::from(password), Secret::from(other));
        let made = make::scram("", &user, password.clone(), used.clone());
        let keys = Keys::derive(&password, b"0123456789abcdef", 4096);
        // What one side prohibits, the other does.
        prop_assert_eq!(made.is_ok(), keys.is_ok());
        let (Ok(client), Ok(keys)) = (made, keys) else { return Ok(()) };
        let mut tls = TlsInfo::clone(&tls_info());
    tls.bindings = vec![binding];
        let channel = Channel::Implicit(Arc::new(tls));
        let mechanisms = common::mechanisms();
        let ends = |mut client: Box<dyn ClientMechanism>| {
            let names: Vec<&str> = mechanisms.iter().map(|it| it.name()).collect();
            let mechanism = mechanisms.iter().find(|it| it.name() == client.name()).unwrap();
            let mut exchange = mechanism.begin(&channel, &names);
            let mut response = client.initial_response().unwrap().unwrap();
            loop {
                let mut step = exchange.respond(&response);
                while let ExchangeStep::Ask(question) = step {
                    step = exchange.answer(match question {
                        Question::Keys { .. } => Answer::Keys(keys.clone()),
                        question => panic!("{question:?}"),
                    });
                }
                match step {
                    ExchangeStep::Challenge(challenge) => match client.respond(&challenge) {
                        Ok(next) => response = next,
                        Err(_) => return (false, false),
                    },
                    end => return (matches!(end, ExchangeStep::Done(_)), client.accepted().is_ok()),
                }
            }
        };
        prop_assert_eq!(ends(client), (true, true));
        if let Ok(client) = make::scram("", &user, other.clone(), used) {
            let same = keys.is_of(&other);
            prop_assert_eq!(ends(client), (same, same));
        }
    }
}
