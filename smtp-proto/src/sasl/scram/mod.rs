//! SCRAM-SHA-256 (RFC 5802, RFC 7677): keys and messages, the same for both sides.
//!
//! ```
//! use smtp_proto::sasl::scram::Keys;
//! use smtp_proto::Secret;
//!
//! // A server stores these instead of a password. The salt is random, of 16 octets or more, and each user's own.
//! let keys = Keys::derive(&Secret::from("pencil"), b"0123456789abcdef", 4096)?;
//! let stored = keys.to_text();
//! assert_eq!(stored.as_str().unwrap().parse::<Keys>()?, keys);
//! assert!(keys.is_of(&Secret::from("pencil")) && !keys.is_of(&Secret::from("pen")));
//! # Ok::<(), smtp_proto::sasl::SaslError>(())
//! ```

mod keys;
mod message;

pub use keys::{Keys, MIN_ITERATIONS, SALT_OCTETS};
pub(crate) use keys::{SaltedPassword, proof, signature, verify_proof};
pub(crate) use message::{
    ClientFinal, ClientFirst, Flag, ServerFinal, ServerFirst, auth_message, decode_name,
};

use std::borrow::Cow;
use std::str::FromStr;

use super::{SaslError, encode_base64};

/// The mechanism that is not bound to the channel.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism that is bound to the TLS channel it runs in.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// A string that was never used before: printable ASCII without a comma (RFC 5802, section 7). The
/// core has no source of random numbers, so the caller that begins an exchange brings 24 random
/// octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<[u8; 24]> for Nonce {
    fn from(random: [u8; 24]) -> Self {
        let mut text = Vec::new();
        encode_base64(&random, &mut text);
        Self(text.into_iter().map(char::from).collect())
    }
}

/// For known answers; in use a nonce comes from random octets.
impl FromStr for Nonce {
    type Err = SaslError;
    fn from_str(text: &str) -> Result<Self, SaslError> {
        if message::is_nonce(text) { Ok(Self(text.to_owned())) } else { Err(SaslError::Malformed) }
    }
}

/// A name or a password in the form in which it is sent, stored and compared: SASLprep (RFC 4013).
/// Code points that Unicode 3.2 did not have are refused, which RFC 4013, section 2.5 asks for in
/// what is stored; so is what is empty.
pub(crate) fn prepare(text: &str) -> Result<Cow<'_, str>, SaslError> {
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared),
        _ => Err(SaslError::Prohibited),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// RFC 7677, section 3: the messages and what is derived, piece by piece.
    #[test]
    fn rfc_7677_example() {
        let (client_nonce, nonce) =
            ("rOprNGfwEbeRWgbNEkqO", "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let (header, bare) = ClientFirst::write(Flag::Unsupported, None, "user", client_nonce);
        assert_eq!(format!("{header}{bare}"), first);
        let read = ClientFirst::parse(first.as_bytes()).unwrap();
        assert_eq!(
            (read.flag, read.authorization, read.user.as_str(), read.nonce),
            (Flag::Unsupported, None, "user", client_nonce)
        );
        assert_eq!((read.header, read.bare), (&*header, &*bare));

        let server_first = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let read = ServerFirst::parse(server_first.as_bytes()).unwrap();
        assert_eq!(
            (read.write(), read.nonce, read.iterations),
            (server_first.clone(), nonce, 4096)
        );

        let password = Secret::from("pencil");
        let salted = SaltedPassword::derive(&password, &read.salt, 4096).unwrap();
        let without_proof = ClientFinal::write_without_proof(&header, b"", nonce);
        let message = auth_message(&bare, &server_first, &without_proof);
        let proof = proof(&salted.client_key(), &message);
        let client_final = ClientFinal::write(&without_proof, &proof);
        assert_eq!(
            client_final,
            format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        );
        let read = ClientFinal::parse(client_final.as_bytes()).unwrap();
        assert_eq!(
            (read.binding, read.nonce, read.without_proof),
            ("biws", nonce, &*without_proof)
        );

        let keys = Keys::derive(
            &password,
            &ServerFirst::parse(server_first.as_bytes()).unwrap().salt,
            4096,
        )
        .unwrap();
        assert!(verify_proof(&keys, &message, &read.proof));
        assert!(!verify_proof(&keys, b"another message", &read.proof));
        let server_final = ServerFinal { signature: keys.server_signature(&message) };
        assert_eq!(server_final.write(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(ServerFinal::parse(server_final.write().as_bytes()), Ok(server_final.clone()));
        assert_eq!(signature(&salted.server_key(), &message), server_final.signature);
    }

    #[test]
    fn messages_that_are_none() {
        for first in [
            "",
            "n",
            "n,",
            "n,,",
            "x,,n=u,r=a",
            "p=,,n=u,r=a",
            "p=a b,,n=u,r=a",
            "n,b=x,n=u,r=a",
            "n,a=,n=u,r=a",
            "n,,n=,r=a",
            "n,,n=u",
            "n,,r=a,n=u",
            "n,,n=u,r=",
            "n,,n=u,r=\u{e9}",
            "n,,n=a=b,r=a",
            "n,,n=a=2c,r=a",
            "n,,n=a=2,r=a",
            "n,,n=u,r=a,",
            "n,,n=u,r=a,x",
            "n,,n=u,r=a,x=",
            "n,,n=u,r=a,xy=1",
            "n,,n=u\0,r=a",
        ] {
            assert_eq!(ClientFirst::parse(first.as_bytes()), Err(SaslError::Malformed), "{first}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=a"), Err(SaslError::Malformed));
        for first in ["n,,m=1,n=u,r=a", "n,,n=u,r=a,m=1", "n,,n=u,r=a,x=1,m=1"] {
            assert_eq!(ClientFirst::parse(first.as_bytes()), Err(SaslError::Extension), "{first}");
        }
        let read =
            ClientFirst::parse("p=tls-exporter,a==3D=2C\u{e9},n=a=2Cb=3Dc,r=a,x=1,y==".as_bytes())
                .unwrap();
        assert_eq!(
            (read.flag, read.authorization.as_deref()),
            (Flag::Used("tls-exporter"), Some("=,\u{e9}"))
        );
        assert_eq!((read.user.as_str(), read.bare), ("a,b=c", "n=a=2Cb=3Dc,r=a,x=1,y=="));
        for first in [
            "",
            "r=a",
            "r=a,s=",
            "r=a,s=YQ==",
            "r=a,s=YQ==,i=",
            "r=a,s=YQ==,i=0",
            "r=a,s=YQ==,i=04096",
            "r=a,s=YQ==,i=+1",
        ] {
            assert_eq!(ServerFirst::parse(first.as_bytes()), Err(SaslError::Malformed), "{first}");
        }
        assert_eq!(ServerFirst::parse(b"r=a,s=YQ,i=1"), Err(SaslError::Base64));
        assert_eq!(
            ServerFirst::parse(b"r=a,s=YQ==,i=99999999999999999999"),
            Err(SaslError::Iterations(u32::MAX))
        );
        assert_eq!(ServerFirst::parse(b"m=1,r=a,s=YQ==,i=1"), Err(SaslError::Extension));
        for last in
            ["", "c=biws", "c=biws,r=a", "c=biws,r=a,p=", "c=biws,r=a,p=YQ==", "r=a,c=biws,p=YQ=="]
        {
            assert!(ClientFinal::parse(last.as_bytes()).is_err(), "{last}");
        }
        assert_eq!(ServerFinal::parse(b"e=other-error"), Err(SaslError::Refused));
        assert_eq!(ServerFinal::parse(b"v=YQ=="), Err(SaslError::Malformed));
    }
}
