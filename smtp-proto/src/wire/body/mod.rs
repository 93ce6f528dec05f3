//! The body of a message on the wire: dot-stuffing both ways (RFC 5321, section 4.5.2).
//!
//! Neither side stores a byte. [`DotDecoder`] cuts what arrives into runs of the caller's own
//! buffer, [`DotEncoder`] cuts what is to be sent into segments of it; both work in steps of
//! bounded size and allocate nothing, and their cost per byte stays within a known factor whatever
//! the bytes are.
//!
//! Line ends are strict on both sides (RFC 5321, section 2.3.8): a line ends with CRLF and with
//! nothing else, so that CRLF `.` CRLF is the only end of a message that either side can see. The
//! server reads a message with a bare CR or LF to its real end and reports the [`BodyDefect`]; the
//! message is then refused, or the peer's configuration has it rewritten by [`LineNormaliser`]. The
//! client refuses the body before such a byte leaves it. What a lenient peer might take for an end
//! of data (LF `.` LF and its relatives) therefore passes neither way.
//!
//! ```
//! use smtp_proto::wire::body::{DotDecoder, DotEncoder};
//!
//! let mut wire = Vec::new();
//! let mut encoder = DotEncoder::new();
//! encoder.encode(b"Subject: dots\r\n\r\n.hidden\r\n", &mut wire)?;
//! encoder.finish(&mut wire)?;
//! assert_eq!(wire, b"Subject: dots\r\n\r\n..hidden\r\n.\r\n");
//!
//! wire.extend_from_slice(b"QUIT\r\n");
//! let (mut decoder, mut input, mut message) = (DotDecoder::new(), &wire[..], Vec::new());
//! loop {
//!     decoder.decode(&mut input).append_to(&mut message);
//!     if decoder.has_ended() || input.is_empty() {
//!         break;
//!     }
//! }
//! assert_eq!(message, b"Subject: dots\r\n\r\n.hidden\r\n");
//! assert_eq!(decoder.defect(), None);
//! assert_eq!(input, b"QUIT\r\n");
//! # Ok::<(), smtp_proto::wire::body::BodyDefect>(())
//! ```

mod chunk;
mod cuts;
mod decode;
mod encode;
mod normalise;
mod nul;
mod runs;
mod scan;

pub(crate) use chunk::LineChecker;
pub use decode::DotDecoder;
pub use encode::DotEncoder;
pub use normalise::LineNormaliser;
pub(crate) use nul::NulChecker;
pub use nul::NulRule;
pub use runs::Runs;

/// Why a body is not taken, or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BodyDefect {
    /// A CR that no LF follows (RFC 5321, section 2.3.8).
    #[error("the body has a CR without an LF after it")]
    BareCr,
    /// An LF that does not follow a CR (RFC 5321, sections 2.3.8 and 4.1.1.4).
    #[error("the body has an LF without a CR before it")]
    BareLf,
    /// A NUL that the [`NulRule`] does not allow.
    #[error("the body has a NUL")]
    Nul,
    /// A server takes no more octets than
    /// [`ServerConfig::size_limit`](crate::server::ServerConfig::size_limit).
    #[error("the message exceeds the size limit")]
    TooLarge,
}
