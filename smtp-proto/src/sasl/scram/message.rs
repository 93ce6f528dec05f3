//! The four messages (RFC 5802, section 7), read as strictly as the ABNF has them.

use super::keys::{Hash, decode_hash};
use crate::sasl::{SaslError, decode_base64, encode_base64};
use crate::secret::Secret;

/// What a client says of channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag<'m> {
    /// `n`: it has none.
    Unsupported,
    /// `y`: it could, but the server did not offer it.
    Unoffered,
    /// `p=`: this type of binding is used.
    Used(&'m str),
}

/// client-first-message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst<'m> {
    pub(crate) flag: Flag<'m>,
    /// The authorization identity; none if it is the authentication identity.
    pub(crate) authorization: Option<String>,
    pub(crate) user: String,
    pub(crate) nonce: &'m str,
    /// The GS2 header with its last comma.
    pub(crate) header: &'m str,
    /// client-first-message-bare.
    pub(crate) bare: &'m str,
}

impl<'m> ClientFirst<'m> {
    pub(crate) fn parse(message: &'m [u8]) -> Result<Self, SaslError> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(SaslError::Malformed)?;
        let (authorization, bare) = rest.split_once(',').ok_or(SaslError::Malformed)?;
        let flag = match flag {
            "n" => Flag::Unsupported,
            "y" => Flag::Unoffered,
            flag => Flag::Used(
                flag.strip_prefix("p=")
                    .filter(|name| is_binding_name(name))
                    .ok_or(SaslError::Malformed)?,
            ),
        };
        let authorization = match authorization {
            "" => None,
            name => Some(decode_name(name.strip_prefix("a=").ok_or(SaslError::Malformed)?)?),
        };
        let mut attributes = Attributes(Some(bare));
        let user = decode_name(attributes.take('n')?)?;
        let nonce = attributes.nonce()?;
        attributes.finish()?;
        Ok(Self {
            flag,
            authorization,
            user,
            nonce,
            header: &text[..text.len() - bare.len()],
            bare,
        })
    }

    /// The GS2 header and client-first-message-bare.
    pub(crate) fn write(
        flag: Flag<'_>,
        authorization: Option<&str>,
        user: &str,
        nonce: &str,
    ) -> (String, String) {
        let mut header = match flag {
            Flag::Unsupported => "n,".to_owned(),
            Flag::Unoffered => "y,".to_owned(),
            Flag::Used(name) => format!("p={name},"),
        };
        if let Some(authorization) = authorization {
            header.push_str("a=");
            encode_name(authorization, &mut header);
        }
        header.push(',');
        let mut bare = "n=".to_owned();
        encode_name(user, &mut bare);
        bare.push_str(",r=");
        bare.push_str(nonce);
        (header, bare)
    }
}

/// server-first-message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFirst<'m> {
    /// The client's nonce, followed by the server's.
    pub(crate) nonce: &'m str,
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
}

impl<'m> ServerFirst<'m> {
    pub(crate) fn parse(message: &'m [u8]) -> Result<Self, SaslError> {
        let mut attributes = Attributes(Some(text(message)?));
        let nonce = attributes.nonce()?;
        let salt = decode_base64(attributes.take('s')?.as_bytes())?.as_bytes().to_vec();
        let digits = attributes.take('i')?;
        attributes.finish()?;
        if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SaslError::Malformed);
        }
        // What does not fit is more than anybody needs.
        let iterations = digits.parse().map_err(|_| SaslError::Iterations(u32::MAX))?;
        Ok(Self { nonce, salt, iterations })
    }

    pub(crate) fn write(&self) -> String {
        format!("r={},s={},i={}", self.nonce, base64(&self.salt), self.iterations)
    }
}

/// client-final-message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFinal<'m> {
    /// The `c=` attribute, in base64.
    pub(crate) binding: &'m str,
    pub(crate) nonce: &'m str,
    pub(crate) proof: Hash,
    /// client-final-message-without-proof.
    pub(crate) without_proof: &'m str,
}

impl<'m> ClientFinal<'m> {
    pub(crate) fn parse(message: &'m [u8]) -> Result<Self, SaslError> {
        let text = text(message)?;
        // The proof is the last attribute.
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(SaslError::Malformed)?;
        let mut attributes = Attributes(Some(without_proof));
        let binding = attributes.take('c')?;
        let nonce = attributes.nonce()?;
        attributes.finish()?;
        Ok(Self { binding, nonce, proof: *decode_hash(proof)?, without_proof })
    }

    /// client-final-message-without-proof. `data` is the channel binding's, empty if none is used.
    pub(crate) fn write_without_proof(header: &str, data: &[u8], nonce: &str) -> String {
        format!("c={},r={nonce}", Self::binding(header, data))
    }

    /// The `c=` attribute that must be present (RFC 5802, section 5.1).
    pub(crate) fn binding(header: &str, data: &[u8]) -> String {
        base64(Secret::concat(&[header.as_bytes(), data]).as_bytes())
    }

    pub(crate) fn write(without_proof: &str, proof: &Hash) -> String {
        format!("{without_proof},p={}", base64(proof))
    }
}

/// server-final-message of a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFinal {
    pub(crate) signature: Hash,
}

impl ServerFinal {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, SaslError> {
        let mut attributes = Attributes(Some(text(message)?));
        if attributes.take('e').is_ok() {
            return Err(SaslError::Refused);
        }
        let signature = *decode_hash(attributes.take('v')?)?;
        attributes.finish()?;
        Ok(Self { signature })
    }

    pub(crate) fn write(&self) -> String {
        format!("v={}", base64(&self.signature))
    }
}

/// What both sides sign.
pub(crate) fn auth_message(
    client_first_bare: &str,
    server_first: &str,
    without_proof: &str,
) -> Vec<u8> {
    [client_first_bare, server_first, without_proof].join(",").into_bytes()
}

fn text(message: &[u8]) -> Result<&str, SaslError> {
    // RFC 5802, section 7: UTF-8 without NUL.
    let text = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
    if text.contains('\0') { Err(SaslError::Malformed) } else { Ok(text) }
}

fn base64(octets: &[u8]) -> String {
    let mut text = Vec::new();
    encode_base64(octets, &mut text);
    text.into_iter().map(char::from).collect()
}

/// `p=` names (RFC 5802, section 7: cb-name).
fn is_binding_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

/// Printable ASCII without a comma.
pub(super) fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// RFC 5802, section 5.1: `,` and `=` are sent as `=2C` and `=3D`, and no other `=` may be there.
pub(crate) fn decode_name(text: &str) -> Result<String, SaslError> {
    let mut pieces = text.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (char, rest) = match piece.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(SaslError::Malformed),
        };
        name.push(char);
        name.push_str(rest);
    }
    if name.is_empty() { Err(SaslError::Malformed) } else { Ok(name) }
}

fn encode_name(name: &str, output: &mut String) {
    for char in name.chars() {
        match char {
            ',' => output.push_str("=2C"),
            '=' => output.push_str("=3D"),
            char => output.push(char),
        }
    }
}

/// Attributes that are still to be read; none at the end.
struct Attributes<'m>(Option<&'m str>);

impl<'m> Attributes<'m> {
    /// The value of the next attribute, which must have this name. Left alone otherwise.
    fn take(&mut self, name: char) -> Result<&'m str, SaslError> {
        let rest = self.0.ok_or(SaslError::Malformed)?;
        let (attribute, behind) = match rest.split_once(',') {
            Some((attribute, behind)) => (attribute, Some(behind)),
            None => (rest, None),
        };
        match split_attribute(attribute)? {
            (found, value) if found == name => {
                self.0 = behind;
                Ok(value)
            }
            // RFC 5802, section 5.1: an extension that must be understood.
            ('m', _) => Err(SaslError::Extension),
            _ => Err(SaslError::Malformed),
        }
    }

    fn nonce(&mut self) -> Result<&'m str, SaslError> {
        let nonce = self.take('r')?;
        if is_nonce(nonce) { Ok(nonce) } else { Err(SaslError::Malformed) }
    }

    /// RFC 5802, section 5.1: what is left are extensions, which are ignored unless they must be
    /// understood.
    fn finish(self) -> Result<(), SaslError> {
        for attribute in self.0.into_iter().flat_map(|rest| rest.split(',')) {
            if split_attribute(attribute)?.0 == 'm' {
                return Err(SaslError::Extension);
            }
        }
        Ok(())
    }
}

/// attr-val.
fn split_attribute(attribute: &str) -> Result<(char, &str), SaslError> {
    let (name, value) = attribute.split_once('=').ok_or(SaslError::Malformed)?;
    match name.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() && !value.is_empty() => {
            Ok((char::from(*letter), value))
        }
        _ => Err(SaslError::Malformed),
    }
}
