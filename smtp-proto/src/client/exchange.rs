//! An exchange of AUTH (RFC 4954), line by line.

use super::AuthFailure;
use crate::sasl::client::ClientMechanism;
use crate::sasl::{SaslError, decode_base64, encode_base64};
use crate::secret::Secret;
use crate::wire::reply::Reply;

/// Octets of a command line with its CRLF (RFC 5321, section 4.5.3.1.4). RFC 4954, section 4: an
/// initial response that does not fit is sent after an empty challenge.
const MAX_COMMAND: usize = 512;
/// Octets of a challenge in base64. RFC 4954, section 4: 12288 are enough for every mechanism in
/// use.
pub const MAX_CHALLENGE: usize = 12288;

/// An exchange that has begun.
#[derive(Debug)]
pub(super) struct Exchange {
    mechanism: Box<dyn ClientMechanism>,
    /// The next line; none while the server has the word.
    line: Option<Line>,
    /// The initial response, if the server has to ask for it.
    initial: Option<Secret>,
    /// The initial response that was sent with AUTH, until the server has answered. Some servers
    /// pass over it and ask for it once more.
    sent: Option<Secret>,
    /// Why the exchange was cancelled.
    cancelled: Option<SaslError>,
}

#[derive(Debug)]
enum Line {
    /// AUTH with an initial response, where it fits.
    Command(Option<Secret>),
    Response(Secret),
    Cancel,
}

impl Exchange {
    pub(super) fn new(
        mut mechanism: Box<dyn ClientMechanism>,
        initial_response: bool,
    ) -> Result<Self, SaslError> {
        let initial = mechanism.initial_response()?;
        let fits = |initial: &Secret| {
            // `=` is an empty response.
            let encoded = (initial.as_bytes().len().div_ceil(3) * 4).max(1);
            "AUTH  \r\n".len() + mechanism.name().len() + encoded <= MAX_COMMAND
        };
        let (now, later) = match initial {
            Some(initial) if !initial_response || !fits(&initial) => (None, Some(initial)),
            initial => (initial, None),
        };
        let (sent, line) = (now.clone(), Some(Line::Command(now)));
        Ok(Self { mechanism, line, initial: later, sent, cancelled: None })
    }

    /// Appends the next line; how many octets, if there is one.
    pub(super) fn write_next(&mut self, output: &mut Vec<u8>) -> Option<usize> {
        let start = output.len();
        let line = self.line.take()?;
        match &line {
            Line::Command(initial) => {
                // Room for the whole line: growth later would leave a copy in freed memory.
                output.reserve(MAX_COMMAND);
                output.extend_from_slice(b"AUTH ");
                output.extend_from_slice(self.mechanism.name().as_bytes());
                match initial {
                    None => {}
                    // RFC 4954, section 4: "it MUST instead transmit the response as a single
                    // equals sign".
                    Some(initial) if initial.is_empty() => output.extend_from_slice(b" ="),
                    Some(initial) => {
                        output.push(b' ');
                        encode_base64(initial.as_bytes(), output);
                    }
                }
            }
            Line::Response(response) => {
                output.reserve(response.as_bytes().len().div_ceil(3) * 4 + 2);
                encode_base64(response.as_bytes(), output);
            }
            Line::Cancel => output.push(b'*'),
        }
        output.extend_from_slice(b"\r\n");
        Some(output.len() - start)
    }

    /// 334: answers, or cancels.
    pub(super) fn challenged(&mut self, reply: &Reply<'_>) {
        self.line = Some(match self.answer(reply) {
            Ok(response) => Line::Response(response),
            // RFC 4954, section 4: "it MUST cancel the authentication using the "*" response".
            Err(error) => {
                self.cancelled = Some(error);
                Line::Cancel
            }
        });
    }

    fn answer(&mut self, reply: &Reply<'_>) -> Result<Secret, SaslError> {
        let mut lines = reply.lines();
        let (challenge, more) = (lines.next().unwrap_or_default(), lines.next());
        // RFC 4954, section 8: `continue-req = "334" SP [base64] CRLF`, one line.
        if more.is_some() || challenge.len() > MAX_CHALLENGE {
            return Err(SaslError::Malformed);
        }
        let challenge = match decode_base64(challenge) {
            Ok(challenge) => challenge,
            Err(_) if self.mechanism.ignores_challenges() => Secret::from(challenge.to_vec()),
            Err(error) => return Err(error),
        };
        let is_request = challenge.is_empty() || self.mechanism.ignores_challenges();
        let sent = self.sent.take().filter(|_| is_request);
        match self.initial.take().or(sent) {
            // RFC 4422, section 5.1: what asks for an initial response has nothing in it.
            Some(initial) if is_request => Ok(initial),
            Some(_) => Err(SaslError::Malformed),
            None => self.mechanism.respond(challenge.as_bytes()),
        }
    }

    /// Whether the exchange was cancelled, and `*` is what was answered.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// 235: whether it can be.
    pub(super) fn accepted(&mut self) -> Result<(), SaslError> {
        if self.initial.is_some() {
            return Err(SaslError::Unproven);
        }
        self.mechanism.accepted()
    }

    /// 4yz or 5yz.
    pub(super) fn refused(&self, reply: &Reply<'_>) -> AuthFailure {
        self.cancelled.map_or_else(|| AuthFailure::of(reply), AuthFailure::Mechanism)
    }
}
