//! XOAUTH2 and OAUTHBEARER (RFC 7628): the client sends a token that an authorization server has
//! issued.

use std::sync::Arc;

use super::{
    Answer, Claim, Exchange, ExchangeStep, Failure, Mechanism, OUT_OF_TURN, Question, end, prepare,
};
use crate::channel::Channel;
use crate::sasl::SaslError;
use crate::sasl::scram::decode_name;
use crate::secret::Secret;

/// OAUTHBEARER (RFC 7628). Offered inside TLS only (RFC 7628, section 3).
///
/// A client whose token is refused is told the `scope` that a token must have and the URL of the
/// OpenID provider's configuration, where they are given (RFC 7628, section 3.2.2).
pub fn oauthbearer(scope: Option<&str>, openid_configuration: Option<&str>) -> Arc<dyn Mechanism> {
    let (scope, openid_configuration) =
        (scope.map(str::to_owned), openid_configuration.map(str::to_owned));
    Arc::new(OauthBearer { scope, openid_configuration })
}

/// XOAUTH2, which is in no RFC: the predecessor of OAUTHBEARER. Offered inside TLS only.
///
/// A client whose token is refused is told the `scope` that a token must have, if it is given.
pub fn xoauth2(scope: Option<&str>) -> Arc<dyn Mechanism> {
    Arc::new(Xoauth2 { scope: scope.map(str::to_owned) })
}

#[derive(Debug)]
struct OauthBearer {
    scope: Option<String>,
    openid_configuration: Option<String>,
}

impl Mechanism for OauthBearer {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn is_offered(&self, channel: &Channel) -> bool {
        channel.tls().is_some()
    }

    fn begin(&self, _: &Channel, _: &[&str]) -> Box<dyn Exchange> {
        let optional =
            [("scope", &self.scope), ("openid-configuration", &self.openid_configuration)];
        let optional = optional.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        // The status is from the OAuth Extensions Error Registry.
        let refusal = json([("status", "invalid_token")].into_iter().chain(optional));
        Box::new(Bearer {
            read: read_oauthbearer,
            refusal,
            claim: Claim::default(),
            state: State::Fresh,
        })
    }
}

#[derive(Debug)]
struct Xoauth2 {
    scope: Option<String>,
}

impl Mechanism for Xoauth2 {
    fn name(&self) -> &str {
        "XOAUTH2"
    }

    fn is_offered(&self, channel: &Channel) -> bool {
        channel.tls().is_some()
    }

    fn begin(&self, _: &Channel, _: &[&str]) -> Box<dyn Exchange> {
        let scope = self.scope.as_deref().map(|scope| ("scope", scope));
        let refusal = json([("status", "401"), ("schemes", "bearer")].into_iter().chain(scope));
        Box::new(Bearer {
            read: read_xoauth2,
            refusal,
            claim: Claim::default(),
            state: State::Fresh,
        })
    }
}

/// What a message says.
#[derive(Debug, Default)]
struct Said {
    user: Option<String>,
    token: Secret,
    host: Option<String>,
    port: Option<u16>,
}

#[derive(Debug)]
struct Bearer {
    read: fn(&str) -> Result<Said, SaslError>,
    /// What a refused client is told before it is refused.
    refusal: String,
    claim: Claim,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Asked,
    /// The refusal is said; whatever comes ends the exchange (RFC 7628, section 3.2.3).
    Refused,
}

impl Exchange for Bearer {
    fn respond(&mut self, response: &Secret) -> ExchangeStep {
        match self.state {
            State::Fresh => {}
            State::Asked => return OUT_OF_TURN,
            State::Refused => return ExchangeStep::Failed(Failure::Refused),
        }
        let said = response.as_str().ok_or(SaslError::Malformed).and_then(self.read);
        match said {
            Ok(Said { user, token, host, port }) => {
                self.state = State::Asked;
                self.claim.authorization.clone_from(&user);
                ExchangeStep::Ask(Question::Token { user, token, host, port })
            }
            Err(error) => ExchangeStep::Failed(error.into()),
        }
    }

    fn answer(&mut self, answer: Answer) -> ExchangeStep {
        match end(self.claim.judge(answer)) {
            ExchangeStep::Failed(Failure::Refused) => {
                self.state = State::Refused;
                ExchangeStep::Challenge(std::mem::take(&mut self.refusal).into_bytes())
            }
            step => step,
        }
    }
}

/// `user=NAME^Aauth=Bearer TOKEN^A^A`
fn read_xoauth2(message: &str) -> Result<Said, SaslError> {
    let mut said = Said::default();
    let pairs = message.strip_suffix("\x01\x01").ok_or(SaslError::Malformed)?;
    let pair = |part: Option<&_>, name: &str| -> Result<_, SaslError> {
        let (key, value) = <str>::split_once(part.copied().ok_or(SaslError::Malformed)?, '=')
            .ok_or(SaslError::Malformed)?;
        if key == name { Ok(value) } else { Err(SaslError::Malformed) }
    };
    let parts: Vec<&str> = pairs.splitn(3, '\x01').collect();
    if parts.len() > 2 {
        return Err(SaslError::Malformed);
    }
    said.user = Some(prepare(pair(parts.first(), "user")?)?.into_owned());
    said.token = bearer(pair(parts.get(1), "auth")?)?;
    Ok(said)
}

/// RFC 7628, section 3.1: `gs2-header kvsep *kvpair kvsep`.
fn read_oauthbearer(message: &str) -> Result<Said, SaslError> {
    let mut said = Said::default();
    let (header, rest) = message.split_once('\x01').ok_or(SaslError::Malformed)?;
    // RFC 5801, section 4, without the flag of mechanisms that are not standard.
    let (flag, authorization) =
        header.strip_suffix(',').and_then(|it| it.split_once(',')).ok_or(SaslError::Malformed)?;
    match flag {
        "n" | "y" => {}
        // There is no channel binding in this mechanism.
        flag if flag.starts_with("p=") => return Err(SaslError::ChannelBinding),
        _ => return Err(SaslError::Malformed),
    }
    if !authorization.is_empty() {
        let name = decode_name(authorization.strip_prefix("a=").ok_or(SaslError::Malformed)?)?;
        said.user = Some(prepare(&name)?.into_owned());
    }
    // Each pair has its separator, and one more ends the list.
    let pairs = rest.strip_suffix('\x01').ok_or(SaslError::Malformed)?;
    let mut token = None;
    for pair in pairs.strip_suffix('\x01').ok_or(SaslError::Malformed)?.split('\x01') {
        let (key, value) = pair.split_once('=').ok_or(SaslError::Malformed)?;
        let is_value =
            |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if key.is_empty()
            || !key.bytes().all(|byte| byte.is_ascii_alphabetic())
            || !value.bytes().all(is_value)
        {
            return Err(SaslError::Malformed);
        }
        let twice = match key {
            "auth" => token.replace(bearer(value)?).is_some(),
            "host" => said.host.replace(value.to_owned()).is_some(),
            "port" => said.port.replace(port(value)?).is_some(),
            // RFC 7628, section 3.1: unknown pairs are ignored.
            _ => false,
        };
        if twice {
            return Err(SaslError::Malformed);
        }
    }
    said.token = token.ok_or(SaslError::Malformed)?;
    Ok(said)
}

/// RFC 7628, section 3.1: "a decimal positive integer string without leading zeros".
fn port(digits: &str) -> Result<u16, SaslError> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_number).ok_or(SaslError::Malformed)
}

/// RFC 6750, section 2.1: `Bearer` and a b64token; the scheme in any case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Result<Secret, SaslError> {
    let (scheme, token) = value.split_once(' ').ok_or(SaslError::Malformed)?;
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if !scheme.eq_ignore_ascii_case("Bearer") || body.is_empty() || !body.bytes().all(is_token) {
        return Err(SaslError::Malformed);
    }
    Ok(Secret::from(token))
}

/// An object of strings (RFC 8259).
fn json<'s>(members: impl Iterator<Item = (&'s str, &'s str)>) -> String {
    let mut text = String::new();
    for (name, value) in members {
        text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
        text.push_str(name);
        text.push_str("\":\"");
        for char in value.chars() {
            match char {
                '"' | '\\' => text.extend(['\\', char]),
                char if char.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(char))),
                char => text.push(char),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}
