//! The Received trace field (RFC 5321, section 4.4), as any product writes it.
//!
//! Reading is tolerant. [`Received::parse`] takes any bytes and says what they state, in facts that judge nothing: who
//! says hello, from where, by which software, over which protocol, and every mark of TLS. What a hop is *worth* is for
//! the reader of the facts to say; a header that was written below a host that you do not run can be forged.
//! Both directions are linear in the input; parsing allocates nothing.

mod date;
mod protocol;
mod read;
mod reader;
mod scan;
mod software;
mod text;
mod tls;

pub use date::DateTime;
pub use protocol::{Protocol, Transmission, With};
pub use read::{Arrival, From, LocalMark, Received};
pub use scan::{Fields, fields, trace};
pub use software::{Product, Software};
pub use text::Text;
pub use tls::{ClientCertificate, Evidence, TlsMark, TlsVersion};
