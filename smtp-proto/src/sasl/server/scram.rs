//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the client proves that it knows the
//! password.

use std::fmt;
use std::sync::Arc;

use super::{
    Answer, Claim, Exchange, ExchangeStep, Failure, Identity, Mechanism, OUT_OF_TURN, Offer,
    Question, failed,
};
use crate::channel::Channel;
use crate::channel::ChannelBinding;
use crate::sasl::SaslError;
use crate::sasl::scram::{
    ClientFinal, ClientFirst, Flag, Keys, MIN_ITERATIONS, Nonce, SCRAM_SHA_256, SCRAM_SHA_256_PLUS,
    ServerFinal, ServerFirst, auth_message, verify_proof,
};
use crate::secret::Secret;

/// Where nonces come from; none if there are no random numbers.
type Nonces = dyn Fn() -> Option<Nonce> + Send + Sync;

/// What strangers are shown, so that they cannot find out who is a user: a salt that is always the
/// same for a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decoy {
    /// From which the salts of strangers are made: random, the same for all servers of a service,
    /// and kept.
    pub secret: Secret,
    /// The iterations that users have. Salts of strangers have
    /// [`SALT_OCTETS`](crate::sasl::scram::SALT_OCTETS): give users as many.
    pub iterations: u32,
}

impl Decoy {
    /// With the fewest iterations there may be, which is what strangers then must see with users as
    /// well.
    pub fn new(secret: Secret) -> Self {
        Self { secret, iterations: MIN_ITERATIONS }
    }
}

/// SCRAM-SHA-256, bound to the channel or not. Offer both (RFC 5802, section 6):
/// [`ScramSha256::both`].
#[derive(Clone)]
pub struct ScramSha256 {
    plus: bool,
    decoy: Arc<Decoy>,
    nonces: Arc<Nonces>,
}

impl ScramSha256 {
    /// SCRAM-SHA-256-PLUS and SCRAM-SHA-256. Each call of `nonces` must give 24 random octets that
    /// were never used before; if it has none, the attempt fails with 454.
    pub fn both(
        decoy: Decoy,
        nonces: impl Fn() -> Option<[u8; 24]> + Send + Sync + 'static,
    ) -> [Arc<dyn Mechanism>; 2] {
        Self::with_nonces(decoy, move || nonces().map(Nonce::from))
    }

    /// The same with nonces of any form, for known answers.
    pub fn with_nonces(
        decoy: Decoy,
        nonces: impl Fn() -> Option<Nonce> + Send + Sync + 'static,
    ) -> [Arc<dyn Mechanism>; 2] {
        let bound = Self { plus: true, decoy: Arc::new(decoy), nonces: Arc::new(nonces) };
        let unbound = Self { plus: false, ..bound.clone() };
        [Arc::new(bound), Arc::new(unbound)]
    }
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

    fn begin(&self, offer: &Offer<'_>) -> Box<dyn Exchange> {
        Box::new(Proof {
            plus: self.plus,
            offers_plus: offer.find(SCRAM_SHA_256_PLUS).is_some(),
            bindings: bindings(offer.channel()).to_vec(),
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
            ClientFinal::binding(header, data.map_or(b"", |binding| binding.data.as_bytes()));
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
                let found = self.bindings.iter().find(|binding| binding.kind.name() == name);
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
