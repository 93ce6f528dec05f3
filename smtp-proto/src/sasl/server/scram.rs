//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the client proves that it knows the
//! password.

use std::fmt;
use std::sync::Arc;

use super::{
    Answer, Claim, Exchange, ExchangeStep, Failure, Identity, Mechanism, OUT_OF_TURN, Question,
    failed,
};
use crate::channel::Channel;
use crate::channel::ChannelBinding;
use crate::sasl::SaslError;
use crate::sasl::scram::{
    ClientFinal, ClientFirst, Flag, Keys, Nonce, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ServerFinal,
    ServerFirst, auth_message, verify_proof,
};
use crate::secret::Secret;

/// Where nonces come from; none if there are no random numbers.
type Nonces = dyn Fn() -> Option<Nonce> + Send + Sync;

/// SCRAM-SHA-256-PLUS and SCRAM-SHA-256: offer both (RFC 5802, section 6).
///
/// A client must not learn from the server's challenge whether a user exists. Unknown users
/// therefore have a salt as well, which is always the same for a name. It is made from
/// `decoy_secret`: random octets, kept, and the same for all servers of a service. Unknown users
/// have `decoy_iterations` and [`SALT_OCTETS`](crate::sasl::scram::SALT_OCTETS): give users as many
/// of both.
///
/// Each call of `nonces` must return 24 random octets that were never used before; if it returns
/// none, the attempt fails with 454.
///
/// ```
/// use smtp_proto::sasl::scram::MIN_ITERATIONS;
/// use smtp_proto::sasl::server;
/// use smtp_proto::server::ServerConfig;
///
/// # fn random() -> Option<[u8; 24]> { None }
/// let mut config = ServerConfig::new("mx.test.example".parse()?);
/// let secret = "random, and kept".into();
/// config.mechanisms = server::scram(secret, MIN_ITERATIONS, || random().map(Into::into)).into();
/// config.mechanisms.extend([server::plain(), server::login()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn scram(
    decoy_secret: Secret,
    decoy_iterations: u32,
    nonces: impl Fn() -> Option<Nonce> + Send + Sync + 'static,
) -> [Arc<dyn Mechanism>; 2] {
    let decoy = Decoy { secret: decoy_secret, iterations: decoy_iterations };
    let bound = ScramSha256 { plus: true, decoy: Arc::new(decoy), nonces: Arc::new(nonces) };
    let unbound = ScramSha256 { plus: false, ..bound.clone() };
    [Arc::new(bound), Arc::new(unbound)]
}

/// The salts of unknown users.
#[derive(Debug)]
struct Decoy {
    secret: Secret,
    iterations: u32,
}

/// SCRAM-SHA-256, bound to the channel or not.
#[derive(Clone)]
struct ScramSha256 {
    plus: bool,
    decoy: Arc<Decoy>,
    nonces: Arc<Nonces>,
}

impl fmt::Debug for ScramSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSha256")
            .field("plus", &self.plus)
            .field("decoy", &self.decoy)
            .finish_non_exhaustive()
    }
}

impl Mechanism for ScramSha256 {
    fn name(&self) -> &str {
        if self.plus { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 }
    }

    /// -PLUS only where there is something to bind to.
    fn is_offered(&self, channel: &Channel) -> bool {
        !self.plus || !bindings(channel).is_empty()
    }

    fn begin(&self, channel: &Channel, offered: &[&str]) -> Box<dyn Exchange> {
        Box::new(Proof {
            plus: self.plus,
            offers_plus: offered.iter().any(|name| name.eq_ignore_ascii_case(SCRAM_SHA_256_PLUS)),
            bindings: bindings(channel).to_vec(),
            decoy: Arc::clone(&self.decoy),
            nonces: Arc::clone(&self.nonces),
            claim: Claim::default(),
            state: State::First,
        })
    }
}

fn bindings(channel: &Channel) -> &[ChannelBinding] {
    channel.tls().map_or(&[], |tls| &tls.bindings)
}

struct Proof {
    plus: bool,
    offers_plus: bool,
    bindings: Vec<ChannelBinding>,
    decoy: Arc<Decoy>,
    nonces: Arc<Nonces>,
    claim: Claim,
    state: State,
}

enum State {
    /// The client's first message is due.
    First,
    /// The caller looks the keys up.
    Asked(First),
    /// The client's last message is due.
    Last(Last),
    /// The proof is good; the caller says whether the one may act as the other.
    Authorizing(ServerFinal),
    /// The server's proof is sent. SMTP has no room for it in the 235, so the client has an empty
    /// answer to give (RFC 4422, section 5.2b).
    Proven(Identity),
    Over,
}

/// What is kept of the client's first message.
struct First {
    user: String,
    nonce: String,
    bare: String,
    /// The `c=` that must come.
    binding: String,
}

struct Last {
    first: First,
    /// The whole nonce.
    nonce: String,
    server_first: String,
    keys: Keys,
    /// They are a user's.
    known: bool,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("plus", &self.plus)
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

impl Exchange for Proof {
    fn respond(&mut self, response: &Secret) -> ExchangeStep {
        let step = match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.on_first(response.as_bytes()),
            State::Last(last) => self.on_last(&last, response.as_bytes()),
            State::Proven(identity) if response.is_empty() => Ok(ExchangeStep::Done(identity)),
            _ => Ok(OUT_OF_TURN),
        };
        step.unwrap_or_else(|error| ExchangeStep::Failed(error.into()))
    }

    fn answer(&mut self, answer: Answer) -> ExchangeStep {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(first) => self.on_keys(first, answer),
            State::Authorizing(signature) => match self.claim.judge(answer) {
                Ok(identity) => self.show_proof(identity, &signature),
                Err(step) => step,
            },
            _ => OUT_OF_TURN,
        }
    }
}

impl Proof {
    fn on_first(&mut self, message: &[u8]) -> Result<ExchangeStep, SaslError> {
        let ClientFirst { flag, authorization, user, nonce, header, bare } =
            ClientFirst::parse(message)?;
        let data = self.binding(flag)?;
        let binding =
            ClientFinal::binding(header, data.map_or(b"", |binding| binding.data().as_bytes()));
        // RFC 5802, section 5.1: prepared for the look-up, as it came for the hashes.
        self.claim = Claim::new(&user, authorization.as_deref())?;
        let user = self.claim.user.clone();
        let first =
            First { user: user.clone(), nonce: nonce.to_owned(), bare: bare.to_owned(), binding };
        self.state = State::Asked(first);
        Ok(ExchangeStep::Ask(Question::Keys { user }))
    }

    /// RFC 5802, section 6: the binding that the client has chosen.
    fn binding(&self, flag: Flag<'_>) -> Result<Option<&ChannelBinding>, SaslError> {
        match flag {
            Flag::Used(name) if self.plus => {
                let found = self.bindings.iter().find(|binding| binding.name() == name);
                found.map(Some).ok_or(SaslError::ChannelBinding)
            }
            Flag::Unsupported if !self.plus => Ok(None),
            // The client did not see our -PLUS: an attacker has taken it out of the list.
            Flag::Unoffered if !self.plus && !self.offers_plus => Ok(None),
            Flag::Used(_) | Flag::Unsupported | Flag::Unoffered => Err(SaslError::ChannelBinding),
        }
    }

    fn on_keys(&mut self, first: First, answer: Answer) -> ExchangeStep {
        let (keys, known) = match answer {
            Answer::Keys(keys) => (keys, true),
            Answer::Refused => (
                Keys::of_unknown_user(&self.decoy.secret, &first.user, self.decoy.iterations),
                false,
            ),
            answer => return failed(answer),
        };
        let Some(ours) = (self.nonces)() else { return ExchangeStep::Failed(Failure::Unavailable) };
        let nonce = format!("{}{}", first.nonce, ours.as_str());
        let message = ServerFirst {
            nonce: &nonce,
            salt: keys.salt().to_vec(),
            iterations: keys.iterations(),
        }
        .write();
        self.state = State::Last(Last { first, nonce, server_first: message.clone(), keys, known });
        ExchangeStep::Challenge(message.into_bytes())
    }

    fn on_last(&mut self, last: &Last, message: &[u8]) -> Result<ExchangeStep, SaslError> {
        let Last { first, nonce, server_first, keys, known } = last;
        let message = ClientFinal::parse(message)?;
        if message.nonce != nonce {
            return Err(SaslError::Nonce);
        }
        if Secret::from(message.binding) != Secret::from(first.binding.as_str()) {
            return Err(SaslError::ChannelBinding);
        }
        let signed = auth_message(&first.bare, server_first, message.without_proof);
        // A stranger costs as much as a user.
        if !(verify_proof(keys, &signed, &message.proof) & *known) {
            return Ok(ExchangeStep::Failed(Failure::Refused));
        }
        let signature = ServerFinal { signature: keys.server_signature(&signed) };
        let user = self.claim.user.clone();
        Ok(match self.claim.prove(user) {
            Ok(identity) => self.show_proof(identity, &signature),
            Err(step) => {
                self.state = State::Authorizing(signature);
                step
            }
        })
    }

    fn show_proof(&mut self, identity: Identity, signature: &ServerFinal) -> ExchangeStep {
        self.state = State::Proven(identity);
        ExchangeStep::Challenge(signature.write().into_bytes())
    }
}
