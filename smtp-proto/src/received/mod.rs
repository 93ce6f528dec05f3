//! The Received trace header (RFC 5321, 4.4): written here, read from everybody.
//!
//! Writing is strict. A [`Stamp`] is the RFC's `Stamp` by its fields; whatever a peer put into them, the result is one
//! header field of folded lines:
//!
//! ```
//! use smtp_proto::received::{CipherSuite, DateTime, Protocol, Received, Stamp, TlsStamp, TlsVersion, Transmission};
//!
//! let stamp = Stamp {
//!     helo: "mail.contoso.example",
//!     reverse_name: None,
//!     address: Some([192, 0, 2, 7].into()),
//!     by: "mx.example",
//!     transmission: Transmission { protocol: Protocol::Esmtp, auth: false, utf8: false },
//!     id: Some("4f3a"),
//!     recipient: Some("user@online.example"),
//!     tls: Some(TlsStamp {
//!         version: TlsVersion::Tls13,
//!         cipher: CipherSuite::Name("TLS_AES_256_GCM_SHA384"),
//!         group: Some("X25519"),
//!         client: None,
//!     }),
//!     date: DateTime::new(1_236_078_513, 0).expect("a date in 2009"),
//! };
//! let mut message = Vec::new();
//! stamp.write(&mut message);
//! assert_eq!(
//!     String::from_utf8_lossy(&message),
//!     "Received: from mail.contoso.example ([192.0.2.7])\r\n\
//!      \tby mx.example (smtp-proto) with ESMTPS id 4f3a\r\n\
//!      \tfor <user@online.example>\r\n\
//!      \ttls TLS_AES_256_GCM_SHA384 group X25519 (version=TLSv1.3);\r\n\
//!      \tTue, 3 Mar 2009 11:08:33 +0000\r\n"
//! );
//!
//! let hop = smtp_proto::received::trace(&message).next().expect("one header");
//! assert_eq!(hop.tls.and_then(|tls| tls.version), Some(TlsVersion::Tls13));
//! ```
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
mod stamp;
mod text;
mod tls;

pub use date::DateTime;
pub use protocol::{Protocol, Transmission, With};
pub use read::{Arrival, From, LocalMark, Received};
pub use scan::{Fields, fields, trace};
pub use software::{Product, Software};
pub use stamp::{CipherSuite, PRODUCT, Stamp, TlsStamp};
pub use text::Text;
pub use tls::{ClientCertificate, Evidence, TlsMark, TlsVersion};
