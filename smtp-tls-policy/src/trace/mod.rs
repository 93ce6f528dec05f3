//! Evidence after the fact: reads the Received fields of any product, and reviews a trail of them.
//!
//! [`trace`] reads the fields of a message. [`Received`] holds what one field states, in facts that
//! judge nothing: the client and its address, the host that wrote the field, its software, the
//! protocol, and every mark of TLS. [`review()`] judges the whole trail hop by hop.
//!
//! Reading is tolerant: any octets have a result. Time is linear in the input; parsing allocates
//! nothing.
//!
//! ```
//! use smtp_tls_policy::trace::{Hop, HopVerdict, review};
//!
//! let message = b"Received: from mail.contoso.example (mail.contoso.example [192.0.2.7])\r\n\
//!     \tby mx.example (Postfix) with ESMTPS id 4f3a; Tue, 3 Mar 2009 11:08:33 +0000\r\n\
//!     Subject: hello\r\n\r\n";
//! let hops: Vec<Hop<'_>> = review(message, &["mx.example"], &[]).collect();
//! assert_eq!(hops[0].field.helo.unwrap(), "mail.contoso.example");
//! assert!(hops[0].trusted);
//! // The weakest hop decides for the whole path.
//! let verdict = hops.iter().map(|hop| hop.judgement.verdict()).min();
//! assert_eq!(verdict, Some(HopVerdict::Tls));
//! ```

mod address;
pub(crate) mod date;
mod protocol;
mod reader;
mod received;
mod review;
mod scan;
mod software;
mod text;
mod tls;
mod tls_required;

pub use date::DateTime;
pub use protocol::Protocol;
pub use reader::trace;
pub use received::{Arrival, Received};
pub use review::{Hop, HopVerdict, Judgement, Link, review};
pub use scan::fields;
pub use software::Software;
pub use text::Text;
pub use tls::{Evidence, ShownCertificate, TlsMark, TlsVersion};
pub use tls_required::tls_required_no;
