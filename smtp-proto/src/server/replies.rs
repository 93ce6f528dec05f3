//! Replies that the server sends by itself. Texts are short: the enhanced code carries the meaning
//! (RFC 3463, RFC 5248).

use crate::sasl::server::Failure;
use crate::wire::command::CommandError;
use crate::wire::line::LineError;
use crate::wire::reply::Response;

pub(super) const OK: Response = Response::fixed(250, (2, 0, 0), "OK");
pub(super) const BYE: Response = Response::fixed(221, (2, 0, 0), "closing the connection");
pub(super) const READY_FOR_TLS: Response = Response::fixed(220, (2, 0, 0), "ready to start TLS");

pub(super) const UNKNOWN_COMMAND: Response =
    Response::fixed(500, (5, 5, 1), "command not recognized");
pub(super) const NOT_OFFERED: Response = Response::fixed(502, (5, 5, 1), "command not implemented");
pub(super) const BARRED: Response = Response::fixed(503, (5, 5, 1), "no service here, only QUIT");
pub(super) const HELLO_FIRST: Response = Response::fixed(503, (5, 5, 1), "EHLO first");
pub(super) const MAIL_FIRST: Response = Response::fixed(503, (5, 5, 1), "MAIL first");
pub(super) const NESTED_MAIL: Response =
    Response::fixed(503, (5, 5, 1), "a transaction is open already");
// RFC 5321, section 3.3: 503 or 554 where every RCPT was refused.
pub(super) const NO_RECIPIENTS: Response = Response::fixed(554, (5, 5, 1), "no valid recipients");
// RFC 3030, section 2 and RFC 2033, section 4.2: 503 for BDAT, and in LMTP for DATA, without a
// recipient.
pub(super) const RCPT_FIRST: Response = Response::fixed(503, (5, 5, 1), "no valid recipients");
pub(super) const RSET_FIRST: Response =
    Response::fixed(503, (5, 5, 1), "RSET first, a chunk was refused");
// RFC 3030, section 2: DATA and BDAT cannot be used in the same transaction; 3: DATA is not for
// BINARYMIME.
pub(super) const BDAT_ONLY: Response = Response::fixed(503, (5, 5, 1), "BDAT only");
pub(super) const BODY_BEGUN: Response = Response::fixed(503, (5, 5, 1), "the message has begun");
pub(super) const CHUNK_TAKEN: Response = Response::fixed(250, (2, 0, 0), "chunk taken");
pub(super) const TLS_ALREADY: Response = Response::fixed(503, (5, 5, 1), "TLS is active already");
// RFC 3207, section 4: the text is the RFC's.
pub(super) const TLS_FIRST: Response =
    Response::fixed(530, (5, 7, 0), "must issue a STARTTLS command first");
pub(super) const PLAINTEXT_AFTER_STARTTLS: Response =
    Response::fixed(554, (5, 5, 1), "plaintext after STARTTLS, closing the connection");

// RFC 4954, section 6 has the codes and names what they mean.
pub(super) const AUTHENTICATED: Response =
    Response::fixed(235, (2, 7, 0), "authentication succeeded");
pub(super) const AUTH_FIRST: Response = Response::fixed(530, (5, 7, 0), "authentication required");
pub(super) const ENCRYPTION_FIRST: Response =
    Response::fixed(538, (5, 7, 11), "encryption required for authentication");
// RFC 4954, section 4: 503 after a success and in a transaction, 504 and 5.5.4 for a mechanism that
// is not offered.
pub(super) const AUTHENTICATED_ALREADY: Response =
    Response::fixed(503, (5, 5, 1), "authenticated already");
pub(super) const UNKNOWN_MECHANISM: Response =
    Response::fixed(504, (5, 5, 4), "mechanism not offered");
// RFC 4954, section 9.
pub(super) const TOO_MANY_ATTEMPTS: Response =
    Response::fixed(421, (4, 7, 0), "too many failed authentications, closing the connection");

pub(super) fn failure(failure: &Failure) -> Response {
    match failure {
        // RFC 4954, section 4 has these, and "SHOULD reject [..] with a 535 reply unless a more
        // specific error code is appropriate".
        Failure::Cancelled => Response::fixed(501, (5, 7, 0), "authentication cancelled"),
        Failure::InitialResponse => {
            Response::fixed(501, (5, 7, 0), "the mechanism has no initial response")
        }
        Failure::Malformed => Response::fixed(501, (5, 5, 2), "malformed authentication response"),
        Failure::LineTooLong => {
            Response::fixed(500, (5, 5, 6), "authentication exchange line is too long")
        }
        Failure::BrokenLine => Response::fixed(500, (5, 5, 2), "line must end in CRLF"),
        Failure::Refused => Response::fixed(535, (5, 7, 8), "authentication credentials invalid"),
        Failure::Unavailable => Response::fixed(454, (4, 7, 0), "temporary authentication failure"),
        Failure::Response(response) => response.clone(),
    }
}

// RFC 1870, sections 6.1 and 6.3.
pub(super) const TOO_LARGE: Response =
    Response::fixed(552, (5, 3, 4), "message exceeds the size limit");
// RFC 9422, sections 4.1 and 4.3.
pub(super) const TOO_MANY_TRANSACTIONS: Response =
    Response::fixed(452, (4, 5, 0), "too many messages on this connection");
pub(super) const TOO_MANY_DOMAINS: Response =
    Response::fixed(452, (4, 5, 3), "recipients of too many domains");
// RFC 5321, section 4.5.3.1.10.
pub(super) const TOO_MANY_RECIPIENTS: Response =
    Response::fixed(452, (4, 5, 3), "too many recipients");
// RFC 5321, section 2.3.8: CR and LF appear only together. Taking such a message would let it mean
// one thing here and another at the next host.
pub(super) const BARE_LINE_END: Response =
    Response::fixed(554, (5, 6, 0), "message has a bare CR or LF");
pub(super) const BARE_LINE_END_FOR_NOW: Response =
    Response::fixed(451, (4, 6, 0), "message has a bare CR or LF");
pub(super) const NUL_IN_BODY: Response = Response::fixed(554, (5, 6, 0), "message has a NUL");
// RFC 5321, section 4.1.1.11 and RFC 1869, section 6.1.
pub(super) const UNKNOWN_PARAMETER: Response =
    Response::fixed(555, (5, 5, 4), "parameter not implemented");
// RFC 8689, section 4.2.1 names the status; the parameter is not known here, hence 555.
pub(super) const NO_REQUIRETLS: Response =
    Response::fixed(555, (5, 7, 30), "REQUIRETLS support required");
// RFC 2852, section 2: "will be rejected with a permanent failure (55z)".
pub(super) const TOO_SOON: Response =
    Response::fixed(554, (5, 5, 4), "cannot return mail in so short a time");
// RFC 4865, section 4: 501 and 5.5.4.
pub(super) const TOO_LATE: Response =
    Response::fixed(501, (5, 5, 4), "cannot hold mail for so long");
pub(super) const HELD_BEYOND_DELIVER_BY: Response =
    Response::fixed(501, (5, 5, 4), "the deliver-by time would be over before the release");
// What follows such a line may be a message or commands: to read on would be to guess.
pub(super) const MALFORMED_BDAT: Response =
    Response::fixed(421, (4, 5, 2), "malformed BDAT, closing the connection");
// RFC 6531, section 3.5.
pub(super) const NON_ASCII_ADDRESS: Response =
    Response::fixed(553, (5, 6, 7), "address must be ASCII");

// RFC 1985, section 5: ETRN is illegal within a transaction; for XCLIENT Postfix says the same.
pub(super) const TRANSACTION_OPEN: Response =
    Response::fixed(503, (5, 5, 1), "not within a transaction");
pub(super) const UNKNOWN_ATTRIBUTE: Response =
    Response::fixed(501, (5, 5, 4), "attribute not implemented");

pub(super) const IDLE: Response =
    Response::fixed(421, (4, 4, 2), "idle for too long, closing the connection");
pub(super) const STALLED: Response =
    Response::fixed(421, (4, 4, 2), "the message has stalled, closing the connection");
pub(super) const TOO_SLOW: Response =
    Response::fixed(421, (4, 4, 2), "the message comes too slowly, closing the connection");
pub(super) const NO_PROGRESS: Response =
    Response::fixed(421, (4, 4, 2), "no message for too long, closing the connection");
pub(super) const TOO_MANY_UNKNOWN: Response =
    Response::fixed(421, (4, 7, 0), "too many unknown commands, closing the connection");
pub(super) const TOO_MANY_IDLE: Response =
    Response::fixed(421, (4, 7, 0), "too many commands without a message, closing the connection");
pub(super) const TOO_MANY_ERRORS: Response =
    Response::fixed(421, (4, 7, 0), "too many errors, closing the connection");
pub(super) const NOT_HTTP: Response = Response::fixed(421, (4, 7, 0), "this is not an HTTP server");

pub(super) const fn line(error: LineError) -> Response {
    match error {
        LineError::TooLong => Response::fixed(500, (5, 5, 6), "line too long"),
        LineError::BareCr => Response::fixed(500, (5, 5, 2), "bare CR in the line"),
        LineError::BareLf => Response::fixed(500, (5, 5, 2), "line must end in CRLF"),
    }
}

pub(super) const fn command(error: CommandError) -> Response {
    match error {
        CommandError::Empty => Response::fixed(500, (5, 5, 2), "no command"),
        CommandError::Control => {
            Response::fixed(500, (5, 5, 2), "control character in the command")
        }
        CommandError::NotUtf8 => Response::fixed(500, (5, 5, 2), "command is not UTF-8"),
        CommandError::ChunkSize => MALFORMED_BDAT,
        CommandError::Queue => Response::fixed(501, (5, 5, 4), "bad node or queue name"),
        CommandError::Attribute => Response::fixed(501, (5, 5, 4), "bad attribute"),
        CommandError::Uri => Response::fixed(501, (5, 5, 4), "bad URI"),
        CommandError::Argument => {
            Response::fixed(501, (5, 5, 4), "argument missing or out of place")
        }
        // RFC 3463, section 3.2: X.1.7 bad sender's, X.1.3 bad recipient's address syntax.
        CommandError::Sender(_) => Response::fixed(501, (5, 1, 7), "bad sender address syntax"),
        CommandError::Recipient(_) => {
            Response::fixed(501, (5, 1, 3), "bad recipient address syntax")
        }
        CommandError::Parameter | CommandError::ParameterValue | CommandError::ParameterTwice => {
            Response::fixed(501, (5, 5, 4), "bad parameter syntax")
        }
    }
}
