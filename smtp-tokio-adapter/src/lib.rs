//! Tokio sockets and rustls sessions for `smtp-proto` and `smtp-tls-policy`.

pub mod connection;
pub mod deliver;
pub mod explain;
pub mod outcome;
pub mod review;
pub mod serve;
mod transport;

pub use connection::{Connection, Outbound, Target};
pub use deliver::{Attempt, Candidate, Hosts, Message, Report, deliver, measure};
pub use outcome::{Decision, Delivery, End, Failure, MessageError, Spoken};
pub use serve::{Handler, Inbound, Service, Session, serve};
pub use transport::Io;
